//! Dates, times and timestamps.
//!
//! Text comes in by two ways: [`iso`] reads the one form that programs write, without an allocation;
//! everything else that PostgreSQL takes for a time goes the long way:
//!
//! 1. [`fields`] splits the text into fields of digits, letters and signs.
//! 2. [`decode`] goes through them from the left and finds out, from each one's form and from what was
//!    found before, what it says: a year, a time of day, a zone, a word like `tomorrow`. [`number`]
//!    knows about fields of digits, [`keywords`] about words.
//! 3. [`decode`] checks that together they make a date or a time and finds the offset of the zone.
//! 4. [`parse`] makes it a value of the type asked for, in its resolution and its range.
//!
//! [`write`] is the way out.

pub mod decode;
pub mod fields;
pub mod iso;
pub mod keywords;
pub mod labelled;
pub mod number;
pub mod parse;
pub mod parts;
pub mod scan;
pub mod write;

use super::calendar::US_PER_SECOND;
use crate::error::SqlError;
use crate::sqlstate;

/// What is wrong with the text of a date, a time or an interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is none.
    Format,
    /// A part has a value that it cannot have.
    FieldOverflow,
    /// A month or a day has a value that it cannot have: perhaps they are the other way round.
    MonthDayOverflow,
    /// An interval is too long.
    IntervalOverflow,
    /// A zone is too far from Greenwich.
    ZoneOverflow,
    /// There is no zone of this name.
    UnknownZone(String),
}

impl Fault {
    /// The error as a client is told.
    pub fn sql_error(self, type_name: &str, text: &str) -> SqlError {
        let field_overflow = |what: &str| format!("{what} out of range: \"{text}\"");
        match self {
            Fault::Format => {
                let message = format!("invalid input syntax for type {type_name}: \"{text}\"");
                SqlError::new(sqlstate::INVALID_DATETIME_FORMAT, message)
            }
            Fault::FieldOverflow => {
                let message = field_overflow("date/time field value");
                SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, message)
            }
            Fault::MonthDayOverflow => {
                let message = field_overflow("date/time field value");
                SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, message)
                    .with_hint("Perhaps you need a different \"datestyle\" setting.")
            }
            Fault::IntervalOverflow => {
                let message = field_overflow("interval field value");
                SqlError::new(sqlstate::INTERVAL_FIELD_OVERFLOW, message)
            }
            Fault::ZoneOverflow => {
                let message = field_overflow("time zone displacement");
                SqlError::new(sqlstate::INVALID_TIME_ZONE_DISPLACEMENT, message)
            }
            Fault::UnknownZone(name) => {
                let message = format!("time zone \"{name}\" not recognized");
                SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
            }
        }
    }
}

/// So many digits are a double exactly, and so is the power of ten they are divided by; the quotient
/// is then the double nearest to what was written.
const EXACT_DIGITS_MAX: usize = 15;

/// Powers of ten.
const POWERS_OF_TEN: [f64; EXACT_DIGITS_MAX + 1] =
    [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// A fraction of a second in both resolutions, because each is rounded from what was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fraction {
    /// Up to 1,000,000: rounding can make it a whole second.
    pub micros: i64,
    /// Up to 1,000,000,000.
    pub nanos: i64,
}

impl Fraction {
    /// So many microseconds.
    pub fn from_micros(micros: i64) -> Fraction {
        Fraction { micros, nanos: micros * 1000 }
    }

    /// Reads digits after a point. Up to the resolution they are exact; what is beyond is rounded,
    /// for microseconds as PostgreSQL does: by way of a double, half to even.
    pub fn parse(digits: &[u8]) -> Option<Fraction> {
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let rounded = |part: f64| (part * US_PER_SECOND as f64).round_ties_even() as i64;
        let scaled = |count: usize| {
            (0..count)
                .fold(0_i64, |sum, at| sum * 10 + i64::from(digits.get(at).map_or(0, |digit| digit - b'0')))
        };
        let micros = match digits.len() {
            0..=6 => scaled(6),
            count @ 7..=EXACT_DIGITS_MAX => {
                let digits_as_number = scaled(count) as f64;
                rounded(digits_as_number / POWERS_OF_TEN[count])
            }
            _ => rounded(format!("0.{}", std::str::from_utf8(digits).ok()?).parse().ok()?),
        };
        let is_above_half = digits.get(9).is_some_and(|digit| *digit >= b'5');
        Some(Fraction { micros, nanos: scaled(9) + i64::from(is_above_half) })
    }
}
