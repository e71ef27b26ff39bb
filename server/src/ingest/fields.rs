//! The values of a field in the rows of a request.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BooleanBuilder, Float32Array, Float64Builder, Int16Array, Int32Array,
    Int64Builder, ListBuilder, StringViewBuilder, TimestampMicrosecondArray, TimestampNanosecondArray,
};
use tidemark_catalog::ids::ColumnId;
use tidemark_catalog::types::{ColumnType, TimeUnit};
use tidemark_engine::error::WriteError;
use tidemark_engine::memtable::dictionaries::SymbolDictionaries;
use tidemark_engine::types::UTC;

/// A value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// A number.
    Float(f64),
    /// A whole number.
    Integer(i64),
    /// True or false.
    Bool(bool),
    /// Text.
    Text(Cow<'a, str>),
    /// Text that repeats.
    Symbol(Cow<'a, str>),
    /// JSON in its normal form.
    Json(Cow<'a, str>),
    /// An instant, in ns since 1970.
    Instant(i64),
    /// Numbers.
    Floats(&'a [f64]),
    /// Whole numbers.
    Integers(&'a [i64]),
    /// No value, for a column of this type.
    Missing(ColumnType),
}

impl Value<'_> {
    /// The type of the column that is made for it.
    pub fn column_type(&self) -> ColumnType {
        match self {
            Value::Float(_) => ColumnType::Float8,
            Value::Integer(_) => ColumnType::Int8,
            Value::Bool(_) => ColumnType::Bool,
            Value::Text(_) => ColumnType::Text,
            Value::Symbol(_) => ColumnType::Symbol,
            Value::Json(_) => ColumnType::Jsonb,
            Value::Instant(_) => ColumnType::Timestamptz(TimeUnit::Nanosecond),
            Value::Floats(_) => ColumnType::Array(Box::new(ColumnType::Float8)),
            Value::Integers(_) => ColumnType::Array(Box::new(ColumnType::Int8)),
            Value::Missing(column_type) => column_type.clone(),
        }
    }
}

/// Why a value is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldError {
    /// The row has a value of this field already.
    Twice,
    /// It is not one for this column.
    Wrong(String),
}

impl From<&str> for FieldError {
    fn from(reason: &str) -> FieldError {
        FieldError::Wrong(reason.to_owned())
    }
}

impl From<String> for FieldError {
    fn from(reason: String) -> FieldError {
        FieldError::Wrong(reason)
    }
}

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
    Json(StringViewBuilder),
    Instant(Int64Builder),
    Floats(ListBuilder<Float64Builder>),
    Integers(ListBuilder<Int64Builder>),
}

impl Values {
    /// For a column of a type; `None` where no protocol has values for it.
    fn new(column_type: &ColumnType) -> Option<Values> {
        Some(match column_type {
            ColumnType::Float4 | ColumnType::Float8 => Values::Float(Float64Builder::new()),
            ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 => Values::Integer(Int64Builder::new()),
            ColumnType::Bool => Values::Bool(BooleanBuilder::new()),
            ColumnType::Text | ColumnType::Varchar(_) => Values::Text(StringViewBuilder::new()),
            // What repeats is kept once, as what a sender says of itself, which comes with every row.
            ColumnType::Symbol => Values::Text(StringViewBuilder::new().with_deduplicate_strings()),
            ColumnType::Json | ColumnType::Jsonb => {
                Values::Json(StringViewBuilder::new().with_deduplicate_strings())
            }
            ColumnType::Timestamptz(_) => Values::Instant(Int64Builder::new()),
            ColumnType::Array(element) if **element == ColumnType::Float8 => {
                Values::Floats(ListBuilder::new(Float64Builder::new()))
            }
            ColumnType::Array(element) if **element == ColumnType::Int8 => {
                Values::Integers(ListBuilder::new(Int64Builder::new()))
            }
            _ => return None,
        })
    }

    fn builder(&mut self) -> &mut dyn ArrayBuilder {
        match self {
            Values::Float(values) => values,
            Values::Integer(values) | Values::Instant(values) => values,
            Values::Bool(values) => values,
            Values::Text(values) | Values::Json(values) => values,
            Values::Floats(values) => values,
            Values::Integers(values) => values,
        }
    }

    fn len(&self) -> usize {
        match self {
            Values::Float(values) => values.len(),
            Values::Integer(values) | Values::Instant(values) => values.len(),
            Values::Bool(values) => values.len(),
            Values::Text(values) | Values::Json(values) => values.len(),
            Values::Floats(values) => values.len(),
            Values::Integers(values) => values.len(),
        }
    }

    fn append_nulls(&mut self, count: usize) {
        match self {
            Values::Float(values) => values.append_nulls(count),
            Values::Integer(values) | Values::Instant(values) => values.append_nulls(count),
            Values::Bool(values) => values.append_nulls(count),
            Values::Text(values) | Values::Json(values) => (0..count).for_each(|_| values.append_null()),
            Values::Floats(values) => (0..count).for_each(|_| values.append_null()),
            Values::Integers(values) => (0..count).for_each(|_| values.append_null()),
        }
    }
}

impl FieldColumn {
    /// A field of a column of this type.
    ///
    /// # Errors
    /// No field has values for a column of this type.
    pub fn new(name: String, column_type: ColumnType) -> Result<FieldColumn, String> {
        match Values::new(&column_type) {
            Some(values) => Ok(FieldColumn { name, column_type, values }),
            None => Err(format!("column \"{name}\" is of type {column_type}, which a field cannot have")),
        }
    }

    fn pad(&mut self, row: usize) {
        let missing = row - self.values.len();
        if missing > 0 {
            self.values.append_nulls(missing);
        }
    }

    /// Whether a row has a value.
    pub fn has(&self, row: usize) -> bool {
        self.values.len() > row
    }

    /// The value in a row; rows come in their order. Gives the bytes that it takes besides its place.
    ///
    /// # Errors
    /// The value is not of the column's type, or the row has one already. It is as if it was not given.
    pub fn set(&mut self, row: usize, value: &Value<'_>) -> Result<usize, FieldError> {
        if self.has(row) {
            return Err(FieldError::Twice);
        }
        self.pad(row);
        match (&mut self.values, value) {
            (Values::Float(values), Value::Float(value)) => values.append_value(*value),
            (Values::Integer(values), Value::Integer(value)) => {
                check_range(&self.name, &self.column_type, *value)?;
                values.append_value(*value);
            }
            (Values::Bool(values), Value::Bool(value)) => values.append_value(*value),
            (Values::Text(values), Value::Text(text) | Value::Symbol(text)) => {
                check_text(&self.name, &self.column_type, text)?;
                values.append_value(text.as_ref());
                return Ok(text.len());
            }
            (Values::Json(values), Value::Json(text)) => {
                values.append_value(text.as_ref());
                return Ok(text.len());
            }
            (Values::Instant(values), Value::Instant(nanoseconds)) => {
                values.append_value(to_unit(*nanoseconds, &self.column_type));
            }
            (Values::Floats(values), Value::Floats(numbers)) => {
                values.append_value(numbers.iter().copied().map(Some));
                return Ok(size_of_val(*numbers));
            }
            (Values::Integers(values), Value::Integers(numbers)) => {
                values.append_value(numbers.iter().copied().map(Some));
                return Ok(size_of_val(*numbers));
            }
            (_, Value::Missing(_)) => {}
            (_, value) => return Err(self.mismatch(value).into()),
        }
        Ok(0)
    }

    fn mismatch(&self, value: &Value<'_>) -> String {
        let (name, value_type, column_type) = (&self.name, value.column_type(), &self.column_type);
        format!("field \"{name}\" is of type {value_type} but column \"{name}\" is of type {column_type}")
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
            (Values::Integer(mut values), ColumnType::Int2) => {
                let narrow = |value: i64| i16::try_from(value).expect("checked when it was set");
                Arc::new(values.finish().iter().map(|value| value.map(narrow)).collect::<Int16Array>())
            }
            (Values::Integer(mut values), ColumnType::Int4) => {
                let narrow = |value: i64| i32::try_from(value).expect("checked when it was set");
                Arc::new(values.finish().iter().map(|value| value.map(narrow)).collect::<Int32Array>())
            }
            (Values::Text(mut values), ColumnType::Symbol) => {
                let texts = values.finish();
                match symbols.get(column) {
                    Some(dictionary) => Arc::new(dictionary.intern_array(texts.iter())?),
                    // It became one of text since the rows were read.
                    None => Arc::new(texts),
                }
            }
            (Values::Instant(mut values), ColumnType::Timestamptz(TimeUnit::Microsecond)) => {
                let values = values.finish().reinterpret_cast();
                Arc::new(TimestampMicrosecondArray::with_timezone(values, UTC))
            }
            (Values::Instant(mut values), _) => {
                let values = values.finish().reinterpret_cast();
                Arc::new(TimestampNanosecondArray::with_timezone(values, UTC))
            }
            (mut values, _) => values.builder().finish(),
        })
    }
}

/// An instant in the unit of its column.
fn to_unit(nanoseconds: i64, column_type: &ColumnType) -> i64 {
    match column_type.time_unit() {
        Some(TimeUnit::Microsecond) => nanoseconds.div_euclid(1000),
        Some(TimeUnit::Nanosecond) | None => nanoseconds,
    }
}

fn check_range(name: &str, column_type: &ColumnType, value: i64) -> Result<(), String> {
    let fits = match column_type {
        ColumnType::Int2 => i16::try_from(value).is_ok(),
        ColumnType::Int4 => i32::try_from(value).is_ok(),
        _ => true,
    };
    if fits {
        return Ok(());
    }
    Err(format!("value {value} is out of range for column \"{name}\" of type {column_type}"))
}

fn check_text(name: &str, column_type: &ColumnType, text: &str) -> Result<(), String> {
    if memchr::memchr(0, text.as_bytes()).is_some() {
        return Err(format!("field \"{name}\" has a zero byte, which no text can have"));
    }
    match column_type {
        ColumnType::Varchar(Some(limit)) if text.chars().count() > *limit as usize => {
            Err(format!("value too long for column \"{name}\" of type {column_type}"))
        }
        _ => Ok(()),
    }
}
