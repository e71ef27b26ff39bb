//! One value of any type.

use std::sync::Arc;

use super::PgType;
use super::interval::Interval;
use super::numeric::Numeric;

/// A value as PostgreSQL knows values; which of two types of a family it has (`text` or `varchar`,
/// `oid` or `regclass`) is said by the [`PgType`] that goes with it.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    /// no value
    Null,
    /// `bool`
    Bool(bool),
    /// `int2`
    Int2(i16),
    /// `int4`
    Int4(i32),
    /// `int8`
    Int8(i64),
    /// `float4`
    Float4(f32),
    /// `float8`
    Float8(f64),
    /// `numeric`
    Numeric(Numeric),
    /// `text`, `varchar`, `bpchar`, `name`, `unknown`, and types that are only text to us
    Text(String),
    /// `bytea`
    Bytea(Vec<u8>),
    /// `"char"`
    Char(u8),
    /// `oid`, `xid`, `cid` and the `reg` types
    Oid(u32),
    /// a `reg` type whose name was looked up: it is written by its name, and is its oid elsewhere
    Reg(u32, Arc<str>),
    /// `date`, days since 1970-01-01
    Date(i32),
    /// `time`, microseconds since midnight
    Time(i64),
    /// `timetz`
    Timetz(Timetz),
    /// `timestamp`, microseconds since 1970-01-01
    Timestamp(i64),
    /// `timestamptz`, microseconds since 1970-01-01 UTC
    Timestamptz(i64),
    /// `interval`
    Interval(Interval),
    /// `uuid`
    Uuid([u8; 16]),
    /// `json`, the text as it was given
    Json(String),
    /// `jsonb`, the text in PostgreSQL's normal form
    Jsonb(String),
    /// arrays, `int2vector` and `oidvector`
    Array(ArrayDatum),
    /// `record`
    Record(Vec<(PgType, Datum)>),
    /// what functions return that return nothing
    Void,
}

/// A time of day where a zone is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timetz {
    /// Microseconds since midnight, local time.
    pub time_us: i64,
    /// The zone, in seconds east of Greenwich.
    pub offset_seconds: i32,
}

/// An array of any number of dimensions.
#[derive(Clone, Debug, PartialEq)]
pub struct ArrayDatum {
    /// The type of its elements.
    pub element: PgType,
    /// Outermost first; an empty array has none.
    pub dimensions: Vec<Dimension>,
    /// All elements, the last dimension running fastest.
    pub values: Vec<Datum>,
}

/// One dimension of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dimension {
    /// How many elements it has.
    pub length: i32,
    /// The subscript of the first of them.
    pub lower_bound: i32,
}

impl ArrayDatum {
    /// A one-dimensional array that counts from 1.
    pub fn list(element: PgType, values: Vec<Datum>) -> ArrayDatum {
        let dimensions = match i32::try_from(values.len()) {
            Ok(0) => Vec::new(),
            Ok(length) => vec![Dimension { length, lower_bound: 1 }],
            Err(_) => unreachable!("arrays have fewer elements than a message has bytes"),
        };
        ArrayDatum { element, dimensions, values }
    }
}

impl Datum {
    /// Whether it is no value.
    pub fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }
}
