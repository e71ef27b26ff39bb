//! The values of a field in the rows of a request.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float32Array, Float64Builder, Int16Array, Int32Array, Int64Builder,
    StringViewBuilder,
};
use tidemark_catalog::ids::ColumnId;
use tidemark_catalog::types::ColumnType;
use tidemark_engine::collection::SymbolDictionaries;
use tidemark_engine::error::WriteError;

use crate::lineprotocol::scan::Value;

/// A field's values, row by row; rows that do not have the field are NULL.
#[derive(Debug)]
pub struct FieldColumn {
    /// Its name.
    pub name: String,
    /// The type of its column; of a column that is yet to be made, as its first value says.
    pub column_type: ColumnType,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Float(Float64Builder),
    Integer(Int64Builder),
    Bool(BooleanBuilder),
    Text(StringViewBuilder),
}

impl FieldColumn {
    /// A field of a column that there is.
    ///
    /// # Errors
    /// Line protocol has no values for a column of this type.
    pub fn existing(name: String, column_type: ColumnType) -> Result<FieldColumn, String> {
        let values = match &column_type {
            ColumnType::Float4 | ColumnType::Float8 => Values::Float(Float64Builder::new()),
            ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 => Values::Integer(Int64Builder::new()),
            ColumnType::Bool => Values::Bool(BooleanBuilder::new()),
            ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Symbol => {
                Values::Text(StringViewBuilder::new())
            }
            other => return Err(format!("column \"{name}\" is of type {other}, which a field cannot have")),
        };
        Ok(FieldColumn { name, column_type, values })
    }

    /// A field of a column that is yet to be made, of the type of its first value.
    pub fn new(name: String, first: &Value<'_>) -> FieldColumn {
        let (column_type, values) = match first {
            Value::Float(_) => (ColumnType::Float8, Values::Float(Float64Builder::new())),
            Value::Integer(_) => (ColumnType::Int8, Values::Integer(Int64Builder::new())),
            Value::Bool(_) => (ColumnType::Bool, Values::Bool(BooleanBuilder::new())),
            Value::Text(_) => (ColumnType::Text, Values::Text(StringViewBuilder::new())),
        };
        FieldColumn { name, column_type, values }
    }

    fn len(&self) -> usize {
        match &self.values {
            Values::Float(values) => arrow::array::ArrayBuilder::len(values),
            Values::Integer(values) => arrow::array::ArrayBuilder::len(values),
            Values::Bool(values) => arrow::array::ArrayBuilder::len(values),
            Values::Text(values) => arrow::array::ArrayBuilder::len(values),
        }
    }

    fn pad(&mut self, row: usize) {
        let missing = row - self.len();
        if missing == 0 {
            return;
        }
        match &mut self.values {
            Values::Float(values) => values.append_nulls(missing),
            Values::Integer(values) => values.append_nulls(missing),
            Values::Bool(values) => values.append_nulls(missing),
            Values::Text(values) => (0..missing).for_each(|_| values.append_null()),
        }
    }

    /// The value in a row; rows come in their order.
    ///
    /// # Errors
    /// The value is not of the column's type, or the row has one already.
    pub fn set(&mut self, row: usize, value: &Value<'_>) -> Result<(), String> {
        if self.len() > row {
            return Err(format!("field \"{}\" is given twice", self.name));
        }
        self.pad(row);
        match (&mut self.values, value) {
            (Values::Float(values), Value::Float(value)) => values.append_value(*value),
            (Values::Integer(values), Value::Integer(value)) if fits(&self.column_type, *value) => {
                values.append_value(*value);
            }
            (Values::Integer(_), Value::Integer(value)) => {
                return Err(format!(
                    "value {value} is out of range for column \"{}\" of type {}",
                    self.name, self.column_type
                ));
            }
            (Values::Bool(values), Value::Bool(value)) => values.append_value(*value),
            (Values::Text(values), Value::Text(value)) => {
                check_length(&self.name, &self.column_type, value)?;
                values.append_value(value.as_ref());
            }
            (_, value) => {
                return Err(format!(
                    "field \"{}\" is of type {} but column \"{}\" is of type {}",
                    self.name,
                    value.type_name(),
                    self.name,
                    self.column_type
                ));
            }
        }
        Ok(())
    }

    /// The values of so many rows, as the engine takes them for the column.
    ///
    /// # Errors
    /// A dictionary is full.
    pub fn finish(
        mut self,
        row_count: usize,
        column: ColumnId,
        symbols: &SymbolDictionaries,
    ) -> Result<ArrayRef, WriteError> {
        self.pad(row_count);
        Ok(match (self.values, &self.column_type) {
            (Values::Float(mut values), ColumnType::Float4) => {
                let values = values.finish();
                Arc::new(values.iter().map(|value| value.map(|value| value as f32)).collect::<Float32Array>())
            }
            (Values::Float(mut values), _) => Arc::new(values.finish()),
            (Values::Integer(mut values), ColumnType::Int2) => {
                let narrow = |value: i64| i16::try_from(value).expect("checked when it was set");
                Arc::new(values.finish().iter().map(|value| value.map(narrow)).collect::<Int16Array>())
            }
            (Values::Integer(mut values), ColumnType::Int4) => {
                let narrow = |value: i64| i32::try_from(value).expect("checked when it was set");
                Arc::new(values.finish().iter().map(|value| value.map(narrow)).collect::<Int32Array>())
            }
            (Values::Integer(mut values), _) => Arc::new(values.finish()),
            (Values::Bool(mut values), _) => Arc::new(values.finish()),
            (Values::Text(mut values), ColumnType::Symbol) => {
                let texts = values.finish();
                let dictionary = symbols.get(column).ok_or(WriteError::NoSuchColumn(column))?;
                Arc::new(dictionary.intern_array(texts.iter())?)
            }
            (Values::Text(mut values), _) => Arc::new(values.finish()),
        })
    }
}

fn fits(column_type: &ColumnType, value: i64) -> bool {
    match column_type {
        ColumnType::Int2 => i16::try_from(value).is_ok(),
        ColumnType::Int4 => i32::try_from(value).is_ok(),
        _ => true,
    }
}

fn check_length(name: &str, column_type: &ColumnType, text: &str) -> Result<(), String> {
    match column_type {
        ColumnType::Varchar(Some(limit)) if text.chars().count() > *limit as usize => {
            Err(format!("value too long for column \"{name}\" of type {column_type}"))
        }
        _ => Ok(()),
    }
}
