//! InfluxDB line protocol: `cpu,host=a usage=0.5,count=3i 1700000000000000000`.
//!
//! ```text
//!  body ──scan──▶ lines ──▶ rows by measurement ──▶ collections and columns made where missing
//!                  │                                  └──▶ one commit for the whole request
//!                  └── series: the bytes before the fields, looked up as a whole
//! ```
//!
//! | module | does |
//! | --- | --- |
//! | [`scan`] | the grammar of a line |
//! | [`series`] | what the bytes before the fields mean, remembered over requests |
//! | [`fields`] | values of fields, column by column |
//! | [`request`] | the lines of a request, by measurement |
//! | [`write`] | what is missing is made, and all is committed, or nothing |
//! | [`tcp`] | lines over a plain connection |
//!
//! A request is all or nothing: the first bad line refuses it, by number and reason, before anything
//! is made or written.

use std::fmt;

pub mod fields;
pub mod request;
pub mod scan;
pub mod series;
pub mod tcp;
pub mod write;

/// The unit of timestamps in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 10⁻⁹ s
    Nanosecond,
    /// 10⁻⁶ s
    Microsecond,
    /// 10⁻³ s
    Millisecond,
    /// s
    Second,
    /// 60 s
    Minute,
    /// 3,600 s
    Hour,
}

impl Precision {
    /// The unit that a client names, as versions 1 and 2 of the API do.
    pub fn from_name(name: &str) -> Option<Precision> {
        Some(match name {
            "n" | "ns" | "nanosecond" => Precision::Nanosecond,
            "u" | "us" | "µ" | "microsecond" => Precision::Microsecond,
            "ms" | "millisecond" => Precision::Millisecond,
            "s" | "second" => Precision::Second,
            "m" => Precision::Minute,
            "h" => Precision::Hour,
            _ => return None,
        })
    }

    /// Nanoseconds in the unit.
    pub fn nanoseconds(self) -> i64 {
        match self {
            Precision::Nanosecond => 1,
            Precision::Microsecond => 1_000,
            Precision::Millisecond => 1_000_000,
            Precision::Second => 1_000_000_000,
            Precision::Minute => 60_000_000_000,
            Precision::Hour => 3_600_000_000_000,
        }
    }
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    /// Its number in the request, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

impl LineError {
    /// What is wrong with a line of this number.
    pub fn new(line: usize, reason: impl Into<String>) -> LineError {
        LineError { line, reason: reason.into() }
    }
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl std::error::Error for LineError {}
