//! Rows on their way in.

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType,
};
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::ColumnId;

use crate::error::WriteError;
use crate::types::write_type;

/// Rows for one collection, column by column. A column that is not in it is NULL in every row.
#[derive(Clone, Debug)]
pub struct WriteBatch {
    row_count: usize,
    columns: Vec<(ColumnId, ArrayRef)>,
    time_min: i64,
    time_max: i64,
}

/// Instants that PostgreSQL writes `-infinity` and `infinity`; no row can be there.
const INFINITIES: [i64; 2] = [i64::MIN, i64::MAX];

impl WriteBatch {
    /// Checks that the columns fit the collection: known, distinct, of the type that
    /// [`write_type`] gives, equally long, with no NULL where none may be and a time in every row.
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
            if *array.data_type() != write_type(&column.column_type) || array.len() != row_count {
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
        Ok(WriteBatch { row_count, columns, time_min, time_max })
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
        rising.then_some(WriteBatch { row_count, columns, time_min, time_max })
    }

    /// A batch of no collection, for tests of what lies below collections.
    #[cfg(test)]
    pub(crate) fn unchecked_for_tests(columns: Vec<(ColumnId, ArrayRef)>) -> WriteBatch {
        WriteBatch { row_count: columns[0].1.len(), columns, time_min: 0, time_max: 0 }
    }

    /// How many rows.
    pub fn row_count(&self) -> usize {
        self.row_count
    }

    /// The columns, by rising id.
    pub fn columns(&self) -> &[(ColumnId, ArrayRef)] {
        &self.columns
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
