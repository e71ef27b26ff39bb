//! The types that columns can have: PostgreSQL's, plus `SYMBOL` and nanosecond timestamps.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The resolution of a timestamp column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TimeUnit {
    /// 10⁻⁶ s since 1970-01-01 UTC, PostgreSQL's resolution.
    Microsecond,
    /// 10⁻⁹ s since 1970-01-01 UTC: the years 1677 to 2262.
    Nanosecond,
}

impl TimeUnit {
    /// How many of this unit make a second.
    pub const fn per_second(self) -> i64 {
        match self {
            TimeUnit::Microsecond => 1_000_000,
            TimeUnit::Nanosecond => 1_000_000_000,
        }
    }
}

/// Precision and scale of a `numeric(p, s)` column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NumericModifier {
    /// Decimal digits in all, 1 to [`NUMERIC_PRECISION_MAX`].
    pub precision: u8,
    /// Digits after the point, 0 to `precision`.
    pub scale: u8,
}

/// The most decimal digits a numeric column can hold (a 256-bit integer).
pub const NUMERIC_PRECISION_MAX: u8 = 76;

/// What a `numeric` column without precision and scale holds: 56 digits before the point and 20
/// after it. PostgreSQL's is wider; a value that does not fit is refused, never rounded unseen.
pub const NUMERIC_UNCONSTRAINED: NumericModifier =
    NumericModifier { precision: NUMERIC_PRECISION_MAX, scale: 20 };

/// The type of a column.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ColumnType {
    /// `boolean`
    Bool,
    /// `smallint`
    Int2,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `real`
    Float4,
    /// `double precision`
    Float8,
    /// `numeric`, with or without `(precision, scale)`
    Numeric(Option<NumericModifier>),
    /// `text`
    Text,
    /// `character varying`, with or without a limit in characters
    Varchar(Option<u32>),
    /// `SYMBOL`: text that repeats, kept as a number into a dictionary; `text` to clients
    Symbol,
    /// `bytea`
    Bytea,
    /// `date`
    Date,
    /// `timestamp without time zone`; `timestamp(9)` has nanoseconds
    Timestamp(TimeUnit),
    /// `timestamp with time zone`; `timestamptz(9)` has nanoseconds
    Timestamptz(TimeUnit),
    /// `interval`
    Interval,
    /// `uuid`
    Uuid,
    /// `json`: the text as it was given
    Json,
    /// `jsonb`: the text in PostgreSQL's normal form
    Jsonb,
    /// One-dimensional array of another type
    Array(Box<ColumnType>),
}

impl ColumnType {
    /// The resolution, for a type that can be a time key.
    pub fn time_unit(&self) -> Option<TimeUnit> {
        match self {
            ColumnType::Timestamp(unit) | ColumnType::Timestamptz(unit) => Some(*unit),
            _ => None,
        }
    }
}

/// Writes the type as PostgreSQL's `format_type` does.
impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnType::Bool => f.write_str("boolean"),
            ColumnType::Int2 => f.write_str("smallint"),
            ColumnType::Int4 => f.write_str("integer"),
            ColumnType::Int8 => f.write_str("bigint"),
            ColumnType::Float4 => f.write_str("real"),
            ColumnType::Float8 => f.write_str("double precision"),
            ColumnType::Numeric(None) => f.write_str("numeric"),
            ColumnType::Numeric(Some(m)) => write!(f, "numeric({},{})", m.precision, m.scale),
            ColumnType::Text | ColumnType::Symbol => f.write_str("text"),
            ColumnType::Varchar(None) => f.write_str("character varying"),
            ColumnType::Varchar(Some(limit)) => write!(f, "character varying({limit})"),
            ColumnType::Bytea => f.write_str("bytea"),
            ColumnType::Date => f.write_str("date"),
            ColumnType::Timestamp(TimeUnit::Microsecond) => f.write_str("timestamp without time zone"),
            ColumnType::Timestamp(TimeUnit::Nanosecond) => f.write_str("timestamp(9) without time zone"),
            ColumnType::Timestamptz(TimeUnit::Microsecond) => f.write_str("timestamp with time zone"),
            ColumnType::Timestamptz(TimeUnit::Nanosecond) => f.write_str("timestamp(9) with time zone"),
            ColumnType::Interval => f.write_str("interval"),
            ColumnType::Uuid => f.write_str("uuid"),
            ColumnType::Json => f.write_str("json"),
            ColumnType::Jsonb => f.write_str("jsonb"),
            ColumnType::Array(element) => write!(f, "{element}[]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_written_as_format_type_writes_them() {
        let cases = [
            (ColumnType::Numeric(Some(NumericModifier { precision: 10, scale: 2 })), "numeric(10,2)"),
            (ColumnType::Array(Box::new(ColumnType::Varchar(Some(5)))), "character varying(5)[]"),
            (ColumnType::Timestamptz(TimeUnit::Nanosecond), "timestamp(9) with time zone"),
            (ColumnType::Symbol, "text"),
        ];
        for (column_type, text) in cases {
            assert_eq!(column_type.to_string(), text);
        }
    }
}
