//! How column types lie in memory: the Arrow type of each.
//!
//! Three forms of a column exist, and only symbols, intervals and UUIDs differ between them:
//!
//! | type | in a memtable and in the log | in a segment | to a reader |
//! | --- | --- | --- | --- |
//! | `SYMBOL` | `Int32`, a number into the collection's dictionary | text, dictionary-encoded | `Dictionary<Int32, Utf8>` |
//! | `interval` | `Interval(MonthDayNano)` | its 16 bytes | `Interval(MonthDayNano)` |
//! | others | the reader's | the reader's | see [`read_type`] |

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit as ArrowTimeUnit};
use tidemark_catalog::types::{ColumnType, NUMERIC_UNCONSTRAINED, TimeUnit};

/// The time zone in the Arrow type of `timestamptz`: values are instants, so it is always UTC.
pub const UTC: &str = "UTC";

/// The longest decimal that 128 bits hold.
const DECIMAL128_PRECISION_MAX: u8 = 38;

/// The Arrow type in which readers get a column.
pub fn read_type(column_type: &ColumnType) -> DataType {
    match column_type {
        ColumnType::Bool => DataType::Boolean,
        ColumnType::Int2 => DataType::Int16,
        ColumnType::Int4 => DataType::Int32,
        ColumnType::Int8 => DataType::Int64,
        ColumnType::Float4 => DataType::Float32,
        ColumnType::Float8 => DataType::Float64,
        ColumnType::Numeric(modifier) => {
            let modifier = modifier.unwrap_or(NUMERIC_UNCONSTRAINED);
            let scale = i8::try_from(modifier.scale).expect("a scale is at most 76");
            if modifier.precision <= DECIMAL128_PRECISION_MAX {
                DataType::Decimal128(modifier.precision, scale)
            } else {
                DataType::Decimal256(modifier.precision, scale)
            }
        }
        ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Json | ColumnType::Jsonb => {
            DataType::Utf8View
        }
        ColumnType::Symbol => symbol_type(),
        ColumnType::Bytea => DataType::BinaryView,
        ColumnType::Date => DataType::Date32,
        ColumnType::Timestamp(unit) => DataType::Timestamp(arrow_time_unit(*unit), None),
        ColumnType::Timestamptz(unit) => DataType::Timestamp(arrow_time_unit(*unit), Some(Arc::from(UTC))),
        ColumnType::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
        ColumnType::Uuid => DataType::FixedSizeBinary(16),
        ColumnType::Array(element) => DataType::List(element_field(read_type(element))),
    }
}

/// The Arrow type of a column in a memtable and in a [`crate::batch::WriteBatch`].
pub fn write_type(column_type: &ColumnType) -> DataType {
    match column_type {
        ColumnType::Symbol => DataType::Int32,
        other => read_type(other),
    }
}

/// What readers get for a `SYMBOL` column.
pub fn symbol_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

/// The field inside a list.
pub fn element_field(element: DataType) -> FieldRef {
    Arc::new(Field::new_list_field(element, true))
}

fn arrow_time_unit(unit: TimeUnit) -> ArrowTimeUnit {
    match unit {
        TimeUnit::Microsecond => ArrowTimeUnit::Microsecond,
        TimeUnit::Nanosecond => ArrowTimeUnit::Nanosecond,
    }
}
