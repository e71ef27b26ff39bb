//! Keys of rows as bytes that are equal when the keys are.
//!
//! Symbols stand in keys by their numbers: the dictionary of a column of a `dedup_key` has no limit but
//! memory, so every text has one. When the column becomes one of text, keys are others from then on, and all
//! that was made of the old ones is made anew.

use std::sync::Arc;

use arrow::array::{ArrayRef, new_null_array};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::ColumnId;

use crate::batch::WriteBatch;
use crate::types::write_type;

/// Makes keys of the columns of a collection's `dedup_key`.
#[derive(Debug)]
pub(crate) struct KeyEncoder {
    columns: Vec<(ColumnId, DataType)>,
    converter: RowConverter,
}

impl KeyEncoder {
    /// For rows that are seen by themselves, in the form that they have.
    pub(crate) fn of_batch(collection: &Collection, batch: &WriteBatch) -> Result<KeyEncoder, ArrowError> {
        let given = |id: ColumnId| batch.columns().iter().find(|(column, _)| *column == id);
        let mut encoder = KeyEncoder::new(collection)?;
        for (id, data_type) in &mut encoder.columns {
            if let Some((_, array)) = given(*id) {
                *data_type = array.data_type().clone();
            }
        }
        let fields = encoder.columns.iter().map(|(_, data_type)| SortField::new(data_type.clone()));
        encoder.converter = RowConverter::new(fields.collect())?;
        Ok(encoder)
    }

    /// For a collection that has such a key.
    pub(crate) fn new(collection: &Collection) -> Result<KeyEncoder, ArrowError> {
        let columns = collection.timeseries().dedup_key.iter().map(|id| {
            let column = collection.schema.column(*id).expect("an invariant of the catalog");
            (*id, write_type(&column.column_type))
        });
        let columns: Vec<(ColumnId, DataType)> = columns.collect();
        let fields = columns.iter().map(|(_, data_type)| SortField::new(data_type.clone()));
        let converter = RowConverter::new(fields.collect())?;
        Ok(KeyEncoder { columns, converter })
    }

    /// The columns of the key.
    pub(crate) fn columns(&self) -> impl Iterator<Item = ColumnId> {
        self.columns.iter().map(|(id, _)| *id)
    }

    /// The keys of rows, from the arrays of the key's columns as memtables and blocks have them. A
    /// column that is not there is NULL: a key never changes, so its columns were there before the first
    /// row and have no missing value.
    pub(crate) fn encode(
        &self,
        row_count: usize,
        array: impl Fn(ColumnId) -> Option<ArrayRef>,
    ) -> Result<Rows, ArrowError> {
        let arrays = self.columns.iter().map(|(id, data_type)| {
            let array = array(*id).unwrap_or_else(|| new_null_array(data_type, row_count));
            if array.data_type() == data_type {
                return Ok(array);
            }
            let found = array.data_type();
            Err(ArrowError::SchemaError(format!("a key column as {found}: its dictionary is full")))
        });
        let arrays = arrays.collect::<Result<Vec<_>, ArrowError>>()?;
        self.converter.convert_columns(&arrays.iter().map(Arc::clone).collect::<Vec<_>>())
    }
}
