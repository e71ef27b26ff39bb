//! Values that every row needs: who needs them, and the error for a row without one.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::Int32Type;
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::ColumnId;
use tidemark_catalog::schema::{Column, Nullability};
use tidemark_engine::error::WriteError;
use tidemark_engine::memtable::dictionaries::SymbolDictionaries;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::scalar::datum_from_array;
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::text::to_text;
use crate::pgtype::types::column_pg_type;
use crate::sql::rows::Target;
use crate::sql::rows::errors::write_error;

/// Values in the error are cut to this.
const SHOWN_BYTES_MAX: usize = 64;

/// Columns of some rows, by id.
pub type Block = [(ColumnId, ArrayRef)];

impl Target {
    /// The columns of the statement of which every row needs a value, by place.
    pub fn required(&self) -> Vec<usize> {
        (0..self.columns.len()).filter(|at| is_required(&self.collection, self.column(*at))).collect()
    }

    /// A column that the statement leaves out though every row needs a value of it, and has no default.
    pub fn required_elsewhere(&self) -> Option<&Column> {
        let columns = self.collection.schema.columns().iter();
        let is_given = |id| self.columns.contains(&id) || self.fill.columns().any(|filled| filled == id);
        let mut missing = columns.filter(|column| !is_given(column.id));
        missing.find(|column| is_required(&self.collection, column))
    }

    /// The first of some rows that has no value where one is needed, and where that is.
    pub fn first_missing_value(&self, block: &Block) -> Option<(usize, &Column)> {
        if let Some(column) = self.required_elsewhere() {
            return Some((0, column));
        }
        let missing = self.required().into_iter().filter_map(|at| {
            let (_, array) = block.iter().find(|(id, _)| *id == self.columns[at])?;
            let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0)?;
            Some(((0..array.len()).find(|row| nulls.is_null(*row))?, at))
        });
        missing.min().map(|(row, at)| (row, self.column(at)))
    }
}

fn is_required(collection: &Collection, column: &Column) -> bool {
    column.nullability == Nullability::Required || column.id == collection.timeseries().time_key
}

/// The error for a row of a block that has no value where one is needed.
pub fn null_violation(
    collection: &Collection,
    column: &Column,
    (block, row): (&Block, usize),
    symbols: &SymbolDictionaries,
    format: &FormatSettings,
) -> SqlError {
    let error = write_error(&WriteError::NullInRequiredColumn {
        relation: collection.name.clone(),
        column: column.name.clone(),
    });
    match described(collection, block, row, symbols, format) {
        Ok(values) => error.with_detail(format!("Failing row contains ({values}).")),
        // What cannot be shown does not change what is wrong.
        Err(_) => error,
    }
}

fn described(
    collection: &Collection,
    block: &Block,
    row: usize,
    symbols: &SymbolDictionaries,
    format: &FormatSettings,
) -> SqlResult<String> {
    let values = collection.schema.columns().iter().map(|column| {
        let array = block.iter().find(|(id, _)| *id == column.id).map(|(_, array)| array);
        let Some(array) = array.filter(|array| array.is_valid(row)) else { return Ok("null".to_owned()) };
        let text = match (symbols.of_numbers(column.id), array.as_primitive_opt::<Int32Type>()) {
            (Some(dictionary), Some(numbers)) => {
                let number = numbers.value(row);
                let number = usize::try_from(number).map_err(SqlError::internal)?;
                dictionary.values().value(number).to_owned()
            }
            _ => {
                let pg_type = column_pg_type(&column.column_type);
                to_text(&datum_from_array(array, row, &pg_type)?, &pg_type, format)
            }
        };
        if text.len() <= SHOWN_BYTES_MAX {
            return Ok(text);
        }
        Ok(format!("{}...", &text[..text.floor_char_boundary(SHOWN_BYTES_MAX)]))
    });
    Ok(values.collect::<SqlResult<Vec<_>>>()?.join(", "))
}
