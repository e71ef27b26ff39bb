//! Text of dates and times to values.

use super::decode::decode;
use super::fields::{self, DATE_OR_TIME_LEN_MAX, TIMESTAMP_LEN_MAX};
use super::parts::{Decoded, Scope, Special};
use super::{Fault, Fraction, iso};
use crate::error::{SqlError, SqlResult};
use crate::pgtype::calendar::{
    DATE_MAX, DATE_MIN, POSTGRES_EPOCH_US, SECONDS_PER_DAY, TIMESTAMP_END, TIMESTAMP_MIN, US_PER_SECOND,
};
use crate::pgtype::datum::Timetz;
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::types::NO_TYPMOD;
use crate::sqlstate;

/// Digits after the point of a second that PostgreSQL's types have.
const PRECISION_MAX: i32 = 6;

/// Nanoseconds of a second.
const NS_PER_SECOND: i64 = 1_000_000_000;

/// A timestamp before it has a resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// `-infinity`
    Early,
    /// `infinity`
    Late,
    /// A point in time.
    Finite {
        /// Since 1970.
        seconds: i64,
        /// Of the second.
        fraction: Fraction,
    },
}

impl Moment {
    /// Microseconds since 1970, if PostgreSQL and 64 bits have them.
    pub fn micros(self) -> Option<i64> {
        self.scaled(US_PER_SECOND, |fraction| fraction.micros)
            .filter(|us| matches!(*us, i64::MIN | i64::MAX) || *us >= TIMESTAMP_MIN)
    }

    /// Nanoseconds since 1970, if 64 bits have them.
    pub fn nanos(self) -> Option<i64> {
        self.scaled(NS_PER_SECOND, |fraction| fraction.nanos)
    }

    fn scaled(self, per_second: i64, part: fn(Fraction) -> i64) -> Option<i64> {
        match self {
            Moment::Early => Some(i64::MIN),
            Moment::Late => Some(i64::MAX),
            Moment::Finite { seconds, fraction } => {
                // In two steps a time that just fits might not.
                let value = i128::from(seconds) * i128::from(per_second) + i128::from(part(fraction));
                i64::try_from(value).ok().filter(|value| *value != i64::MIN && *value < TIMESTAMP_END)
            }
        }
    }
}

/// Reads a `timestamp`; a zone is read over.
pub fn timestamp(text: &str, settings: &FormatSettings) -> SqlResult<Moment> {
    if let Some(parsed) = iso::timestamp(text.as_bytes()) {
        return Ok(Moment::Finite { seconds: parsed.local_seconds, fraction: parsed.fraction });
    }
    moment(text, settings, "timestamp", |_| 0)
}

/// Reads a `timestamptz`; without a zone it is a time of the session's.
pub fn timestamptz(text: &str, settings: &FormatSettings) -> SqlResult<Moment> {
    if let Some(parsed) = iso::timestamp(text.as_bytes()) {
        let offset = match parsed.offset_seconds {
            Some(offset) => offset,
            None => settings.time_zone.offset_at_local(parsed.local_seconds),
        };
        let seconds = parsed.local_seconds - i64::from(offset);
        return Ok(Moment::Finite { seconds, fraction: parsed.fraction });
    }
    moment(text, settings, "timestamp with time zone", |decoded| decoded.offset_seconds)
}

fn moment(
    text: &str,
    settings: &FormatSettings,
    type_name: &str,
    offset_of: impl Fn(&Decoded) -> i32,
) -> SqlResult<Moment> {
    let decoded = fields::split(text, TIMESTAMP_LEN_MAX)
        .and_then(|fields| decode(&fields, Scope::DateTime, settings))
        .map_err(|fault| fault.sql_error(type_name, text))?;
    match decoded.special {
        Some(Special::Early) => Ok(Moment::Early),
        Some(Special::Late) => Ok(Moment::Late),
        Some(Special::Epoch) => Ok(Moment::Finite { seconds: 0, fraction: Fraction::default() }),
        None => {
            let days = decoded.days().ok_or_else(|| out_of_range("timestamp", text))?;
            let local_seconds = days * SECONDS_PER_DAY + decoded.second_of_day();
            let seconds = local_seconds - i64::from(offset_of(&decoded));
            Ok(Moment::Finite { seconds, fraction: decoded.fraction })
        }
    }
}

/// A date or timestamp that its type cannot hold, told with its text.
pub fn out_of_range(type_name: &str, text: &str) -> SqlError {
    SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, format!("{type_name} out of range: \"{text}\""))
}

/// A date or timestamp that its type cannot hold.
pub fn value_out_of_range(type_name: &str) -> SqlError {
    SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, format!("{type_name} out of range"))
}

/// Reads a `timestamp` as microseconds.
pub fn timestamp_us(text: &str, typmod: i32, settings: &FormatSettings) -> SqlResult<i64> {
    let us = timestamp(text, settings)?.micros().ok_or_else(|| out_of_range("timestamp", text))?;
    round_timestamp(us, typmod)
}

/// Reads a `timestamptz` as microseconds.
pub fn timestamptz_us(text: &str, typmod: i32, settings: &FormatSettings) -> SqlResult<i64> {
    let us = timestamptz(text, settings)?.micros().ok_or_else(|| out_of_range("timestamp", text))?;
    round_timestamp(us, typmod)
}

/// Reads a `date` as days since 1970.
pub fn date(text: &str, settings: &FormatSettings) -> SqlResult<i32> {
    if let Some(days) = iso::date(text.as_bytes()) {
        return Ok(i32::try_from(days).expect("years of four digits have days of 32 bits"));
    }
    let decoded = fields::split(text, DATE_OR_TIME_LEN_MAX)
        .and_then(|fields| decode(&fields, Scope::DateTime, settings))
        .map_err(|fault| fault.sql_error("date", text))?;
    match decoded.special {
        Some(Special::Early) => Ok(i32::MIN),
        Some(Special::Late) => Ok(i32::MAX),
        Some(Special::Epoch) => Ok(0),
        None => decoded
            .days()
            .and_then(|days| i32::try_from(days).ok())
            .filter(|days| (DATE_MIN..=DATE_MAX).contains(days))
            .ok_or_else(|| out_of_range("date", text)),
    }
}

/// Reads a `time` as microseconds since midnight.
pub fn time(text: &str, typmod: i32, settings: &FormatSettings) -> SqlResult<i64> {
    let decoded = time_of_day(text, settings).map_err(|fault| fault.sql_error("time", text))?;
    Ok(round_time(time_us(&decoded), typmod))
}

/// Reads a `timetz`.
pub fn timetz(text: &str, typmod: i32, settings: &FormatSettings) -> SqlResult<Timetz> {
    let decoded =
        time_of_day(text, settings).map_err(|fault| fault.sql_error("time with time zone", text))?;
    Ok(Timetz { time_us: round_time(time_us(&decoded), typmod), offset_seconds: decoded.offset_seconds })
}

fn time_of_day(text: &str, settings: &FormatSettings) -> Result<Decoded, Fault> {
    let fields = fields::split(text, DATE_OR_TIME_LEN_MAX)?;
    decode(&fields, Scope::TimeOfDay, settings)
}

fn time_us(decoded: &Decoded) -> i64 {
    decoded.second_of_day() * US_PER_SECOND + decoded.fraction.micros
}

/// Rounds to the digits of `timestamp(p)`. PostgreSQL counts from 2000 and rounds half away from
/// there.
pub fn round_timestamp(us: i64, typmod: i32) -> SqlResult<i64> {
    let Some(step) = rounding_step(typmod) else {
        return Ok(us);
    };
    if us == i64::MIN || us == i64::MAX {
        return Ok(us);
    }
    let from_2000 = i128::from(us) - i128::from(POSTGRES_EPOCH_US);
    let rounded = round_half_away(from_2000, i128::from(step)) + i128::from(POSTGRES_EPOCH_US);
    i64::try_from(rounded)
        .ok()
        .filter(|us| *us < TIMESTAMP_END)
        .ok_or_else(|| value_out_of_range("timestamp"))
}

/// Rounds to the digits of `time(p)`.
pub fn round_time(us: i64, typmod: i32) -> i64 {
    match rounding_step(typmod) {
        Some(step) => (us + step / 2) / step * step,
        None => us,
    }
}

/// How many microseconds the last digit of `(p)` is worth.
pub fn rounding_step(typmod: i32) -> Option<i64> {
    if typmod == NO_TYPMOD || !(0..PRECISION_MAX).contains(&typmod) {
        return None;
    }
    Some(10_i64.pow((PRECISION_MAX - typmod).unsigned_abs()))
}

/// Rounds to a multiple of a step, half away from zero.
pub fn round_half_away(value: i128, step: i128) -> i128 {
    value.signum() * ((value.abs() + step / 2) / step * step)
}
