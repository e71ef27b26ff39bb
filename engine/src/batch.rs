//! Rows on their way in.

use std::collections::BTreeSet;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, new_null_array};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::{ColumnId, SchemaVersion};
use tidemark_catalog::schema::Column;
use tidemark_catalog::types::ColumnType;

use crate::error::WriteError;
use crate::memtable::dictionaries::SymbolDictionaries;
use crate::types::write_type;

/// Rows for one collection, column by column. A column that is not in it has its missing value in every
/// row, which is NULL unless the column was added with another.
#[derive(Clone, Debug)]
pub struct WriteBatch {
    row_count: usize,
    columns: Vec<(ColumnId, ArrayRef)>,
    time_min: i64,
    time_max: i64,
    /// What the writer knew of the collection.
    schema_version: SchemaVersion,
}

/// Instants that PostgreSQL writes `-infinity` and `infinity`; no row can be there.
const INFINITIES: [i64; 2] = [i64::MIN, i64::MAX];

impl WriteBatch {
    /// Checks that the columns fit the collection: known, distinct, of the type that
    /// [`write_type`] gives or, for symbols, texts, equally long, with no NULL where none may be and a time in every row.
    ///
    /// # Errors
    /// The first thing that does not fit. An empty batch is one of them.
    pub fn new(
        collection: &Collection,
        mut columns: Vec<(ColumnId, ArrayRef)>,
    ) -> Result<WriteBatch, WriteError> {
        columns.sort_by_key(|(id, _)| *id);
        let row_count = columns.first().map_or(0, |(_, array)| array.len());
        if row_count == 0 {
            return Err(WriteError::EmptyBatch);
        }
        for pair in columns.windows(2) {
            if pair[0].0 == pair[1].0 {
                return Err(WriteError::ColumnGivenTwice(pair[0].0));
            }
        }
        for (id, array) in &columns {
            let column = collection.schema.column(*id).ok_or(WriteError::NoSuchColumn(*id))?;
            let is_right = *array.data_type() == write_type(&column.column_type)
                // The column is not one of symbols any more, of which the writer has not heard.
                || column.column_type == ColumnType::Symbol && *array.data_type() == DataType::Utf8View;
            if !is_right || array.len() != row_count {
                return Err(WriteError::WrongArray {
                    column: column.name.clone(),
                    expected: write_type(&column.column_type),
                    found: array.data_type().clone(),
                });
            }
        }
        for column in collection.schema.columns() {
            let required = column.nullability == tidemark_catalog::schema::Nullability::Required
                || column.id == collection.timeseries().time_key;
            let given = columns.iter().find(|(id, _)| *id == column.id);
            if required && given.is_none_or(|(_, array)| array.null_count() > 0) {
                return Err(WriteError::NullInRequiredColumn {
                    relation: collection.name.clone(),
                    column: column.name.clone(),
                });
            }
        }
        let time = columns.iter().find(|(id, _)| *id == collection.timeseries().time_key);
        let (_, time) = time.expect("the time key was just found to be given");
        let values = timestamp_values(time);
        if values.iter().any(|value| INFINITIES.contains(value)) {
            return Err(WriteError::InfiniteTime(collection.time_column().name.clone()));
        }
        let time_min = values.iter().copied().min().expect("the batch has rows");
        let time_max = values.iter().copied().max().expect("the batch has rows");
        // Without a NULL that is said, the rows would have the missing value.
        for column in collection.schema.columns().iter().filter(|column| column.missing.is_some()) {
            if let Err(at) = columns.binary_search_by_key(&column.id, |(id, _)| *id) {
                columns.insert(at, (column.id, new_null_array(&write_type(&column.column_type), row_count)));
            }
        }
        let schema_version = collection.schema.version();
        Ok(WriteBatch { row_count, columns, time_min, time_max, schema_version })
    }

    /// Rows that were checked when they were first written. `None` when they have no time.
    pub(crate) fn from_log(
        collection: &Collection,
        columns: Vec<(ColumnId, ArrayRef)>,
        row_count: usize,
    ) -> Option<WriteBatch> {
        let time_key = collection.timeseries().time_key;
        let (_, time) = columns.iter().find(|(id, _)| *id == time_key)?;
        let values = timestamp_values(time);
        let time_min = values.iter().copied().min()?;
        let time_max = values.iter().copied().max()?;
        let rising = columns.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let schema_version = collection.schema.version();
        rising.then_some(WriteBatch { row_count, columns, time_min, time_max, schema_version })
    }

    /// A batch of no collection, for tests of what lies below collections.
    #[cfg(test)]
    pub(crate) fn unchecked_for_tests(columns: Vec<(ColumnId, ArrayRef)>) -> WriteBatch {
        let (row_count, schema_version) = (columns[0].1.len(), SchemaVersion(1));
        WriteBatch { row_count, columns, time_min: 0, time_max: 0, schema_version }
    }

    /// How many rows.
    pub fn row_count(&self) -> usize {
        self.row_count
    }

    /// The columns, by rising id.
    pub fn columns(&self) -> &[(ColumnId, ArrayRef)] {
        &self.columns
    }

    /// The same rows with columns in the form that the dictionaries say.
    ///
    /// # Errors
    /// A dictionary is full.
    pub(crate) fn fitted(self, symbols: &SymbolDictionaries) -> Result<WriteBatch, WriteError> {
        match symbols.fitted(&self.columns)? {
            None => Ok(self),
            Some(columns) => Ok(WriteBatch { columns, ..self }),
        }
    }

    pub(crate) fn into_columns(self) -> Vec<(ColumnId, ArrayRef)> {
        self.columns
    }

    /// The first and the last instant, in the unit of the time key.
    pub fn time_bounds(&self) -> (i64, i64) {
        (self.time_min, self.time_max)
    }

    /// Bytes of memory behind the columns.
    pub fn memory_bytes(&self) -> usize {
        self.columns.iter().map(|(_, array)| array.get_array_memory_size()).sum()
    }
}

/// Where rows have no values.
#[derive(Debug)]
pub(crate) struct Gaps {
    /// Columns that every batch has.
    given: BTreeSet<ColumnId>,
    /// Columns that are NULL in some row.
    null: BTreeSet<ColumnId>,
    /// The oldest version that a writer knew.
    schema_version: SchemaVersion,
}

impl Gaps {
    pub(crate) fn of(batch: &WriteBatch) -> Gaps {
        let columns = batch.columns.iter();
        let null = columns.clone().filter(|(_, array)| array.null_count() > 0);
        Gaps {
            given: columns.map(|(id, _)| *id).collect(),
            null: null.map(|(id, _)| *id).collect(),
            schema_version: batch.schema_version,
        }
    }

    /// The gaps of both.
    #[must_use]
    pub(crate) fn and(mut self, mut other: Gaps) -> Gaps {
        self.given.retain(|id| other.given.contains(id));
        self.null.append(&mut other.null);
        self.schema_version = self.schema_version.min(other.schema_version);
        self
    }

    pub(crate) fn schema_version(&self) -> SchemaVersion {
        self.schema_version
    }

    /// Whether the column is NULL in some row.
    pub(crate) fn has(&self, column: &Column) -> bool {
        let absent = !self.given.contains(&column.id) && column.missing.is_none();
        absent || self.null.contains(&column.id)
    }
}

/// The numbers in a timestamp array.
///
/// # Panics
/// The array is not one of timestamps in µs or ns.
pub(crate) fn timestamp_values(array: &dyn Array) -> &[i64] {
    fn values<T: ArrowPrimitiveType>(array: &dyn Array) -> &PrimitiveArray<T> {
        array.as_primitive::<T>()
    }
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => values::<TimestampMicrosecondType>(array).values(),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => values::<TimestampNanosecondType>(array).values(),
        other => panic!("the catalog checks that time keys are timestamps, this is {other}"),
    }
}
