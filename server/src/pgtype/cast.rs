//! Assignment casts: how a value of one type becomes one of another when it is put into a column.
//!
//! Between which types there is one is PostgreSQL's catalog of casts: numbers to numbers, dates and
//! times to each other, anything to text, and nothing from text but other texts.

use super::PgType;
use super::calendar::{TIMESTAMP_END, TIMESTAMP_MIN, US_PER_DAY, US_PER_SECOND};
use super::datetime::parse::{round_time, round_timestamp, value_out_of_range};
use super::datum::{ArrayDatum, Datum, Timetz};
use super::interval::{self, Interval};
use super::numeric::{Numeric, convert};
use super::settings::FormatSettings;
use super::text;
use super::types::{Family, element_type_of, family};
use super::{json, jsonb};
use crate::error::{SqlError, SqlResult};
use crate::sqlstate;

/// Why a value could not be put into a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CastError {
    /// Values of its type cannot be; who knows the column's name tells the client.
    NoCast,
    /// This one cannot be.
    Value(SqlError),
}

impl From<SqlError> for CastError {
    fn from(error: SqlError) -> CastError {
        CastError::Value(error)
    }
}

/// Makes a value one of another type, as an assignment does.
pub fn assign(
    datum: Datum,
    target: &PgType,
    typmod: i32,
    settings: &FormatSettings,
) -> Result<Datum, CastError> {
    match (datum, family(target)) {
        (Datum::Null, _) => Ok(Datum::Null),
        (datum @ (Datum::Bool(_) | Datum::Void), family) if family == natural_family(&datum) => Ok(datum),
        (Datum::Array(array), Family::Array | Family::Vector) => {
            assign_array(array, target, typmod, settings)
        }
        (datum, Family::Text | Family::Varchar | Family::Bpchar | Family::Name) => {
            Ok(Datum::Text(to_text_type(&datum, target, typmod, settings)?))
        }
        (datum, Family::Int2 | Family::Int4 | Family::Int8 | Family::Oid | Family::Reg) => {
            to_integer(&datum, family(target))
        }
        (datum, Family::Float4 | Family::Float8) => to_float(&datum, family(target)),
        (datum, Family::Numeric) => Ok(Datum::Numeric(to_numeric(datum)?.constrain(typmod)?)),
        (
            datum,
            Family::Date
            | Family::Time
            | Family::Timetz
            | Family::Timestamp
            | Family::Timestamptz
            | Family::Interval,
        ) => to_time(datum, family(target), typmod, settings),
        (Datum::Json(value), Family::Jsonb) => Ok(Datum::Jsonb(jsonb::normalise(&value)?)),
        (Datum::Jsonb(value), Family::Json) => {
            json::validate(&value)?;
            Ok(Datum::Json(value))
        }
        (Datum::Text(value), Family::Char) => Ok(Datum::Char(text::parse_char(&value))),
        (datum, family) if family == natural_family(&datum) => Ok(datum),
        _ => Err(CastError::NoCast),
    }
}

/// The family of the types that a value can be of as it is.
pub fn natural_family(datum: &Datum) -> Family {
    match datum {
        Datum::Null | Datum::Text(_) => Family::Text,
        Datum::Bool(_) => Family::Bool,
        Datum::Int2(_) => Family::Int2,
        Datum::Int4(_) => Family::Int4,
        Datum::Int8(_) => Family::Int8,
        Datum::Float4(_) => Family::Float4,
        Datum::Float8(_) => Family::Float8,
        Datum::Numeric(_) => Family::Numeric,
        Datum::Bytea(_) => Family::Bytea,
        Datum::Char(_) => Family::Char,
        Datum::Oid(_) => Family::Oid,
        Datum::Reg(..) => Family::Reg,
        Datum::Date(_) => Family::Date,
        Datum::Time(_) => Family::Time,
        Datum::Timetz(_) => Family::Timetz,
        Datum::Timestamp(_) => Family::Timestamp,
        Datum::Timestamptz(_) => Family::Timestamptz,
        Datum::Interval(_) => Family::Interval,
        Datum::Uuid(_) => Family::Uuid,
        Datum::Json(_) => Family::Json,
        Datum::Jsonb(_) => Family::Jsonb,
        Datum::Array(_) => Family::Array,
        Datum::Record(_) => Family::Record,
        Datum::Void => Family::Void,
    }
}

/// A type that a value can be of as it is.
fn natural_type(datum: &Datum) -> PgType {
    match natural_family(datum) {
        Family::Bool => PgType::BOOL,
        Family::Char => PgType::CHAR,
        Family::Oid => PgType::OID,
        Family::Record => PgType::RECORD,
        _ => PgType::TEXT,
    }
}

fn assign_array(
    array: ArrayDatum,
    target: &PgType,
    typmod: i32,
    settings: &FormatSettings,
) -> Result<Datum, CastError> {
    let element = element_type_of(target).unwrap_or(PgType::TEXT);
    let mut values = Vec::with_capacity(array.values.len());
    for value in array.values {
        values.push(assign(value, &element, typmod, settings)?);
    }
    Ok(Datum::Array(ArrayDatum { element, dimensions: array.dimensions, values }))
}

fn to_text_type(
    datum: &Datum,
    target: &PgType,
    typmod: i32,
    settings: &FormatSettings,
) -> Result<String, CastError> {
    let written = match datum {
        Datum::Text(value) => value.clone(),
        // Unlike its output, the cast spells the word.
        Datum::Bool(value) => value.to_string(),
        other => text::to_text(other, &natural_type(other), settings),
    };
    match text::parse_text(&written, target, typmod, settings)? {
        Datum::Text(value) => Ok(value),
        _ => Err(CastError::NoCast),
    }
}

fn to_integer(datum: &Datum, family: Family) -> Result<Datum, CastError> {
    let type_name = match family {
        Family::Int2 => "smallint",
        Family::Int4 => "integer",
        Family::Oid | Family::Reg => "OID",
        _ => "bigint",
    };
    let value = match datum {
        Datum::Int2(value) => i64::from(*value),
        Datum::Int4(value) => i64::from(*value),
        Datum::Int8(value) => *value,
        Datum::Oid(value) | Datum::Reg(value, _) => i64::from(*value),
        _ if type_name == "OID" => return Err(CastError::NoCast),
        Datum::Float4(value) => rounded_float(f64::from(*value), type_name)?,
        Datum::Float8(value) => rounded_float(*value, type_name)?,
        Datum::Numeric(value) => convert::to_i64(value, type_name)?,
        _ => return Err(CastError::NoCast),
    };
    let narrowed = match family {
        Family::Int2 => i16::try_from(value).ok().map(Datum::Int2),
        Family::Int4 => i32::try_from(value).ok().map(Datum::Int4),
        // An int4 becomes an oid by its bits.
        Family::Oid | Family::Reg => {
            let bits = i32::try_from(value).map(i32::cast_unsigned);
            bits.or_else(|_| u32::try_from(value)).ok().map(Datum::Oid)
        }
        _ => Some(Datum::Int8(value)),
    };
    narrowed.ok_or_else(|| CastError::Value(integer_out_of_range(type_name)))
}

/// Tells that a number is no integer of its type.
pub fn integer_out_of_range(type_name: &str) -> SqlError {
    SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, format!("{type_name} out of range"))
}

/// Rounds half to even.
fn rounded_float(value: f64, type_name: &str) -> SqlResult<i64> {
    let rounded = value.round_ties_even();
    // 2⁶³ is a float, and the first that is too large.
    let end = -(i64::MIN as f64);
    if rounded >= -end && rounded < end { Ok(rounded as i64) } else { Err(integer_out_of_range(type_name)) }
}

fn to_float(datum: &Datum, family: Family) -> Result<Datum, CastError> {
    let is_single = family == Family::Float4;
    Ok(match datum {
        Datum::Float4(value) if is_single => Datum::Float4(*value),
        Datum::Float8(value) if is_single => Datum::Float4(narrowed_float(*value)?),
        Datum::Numeric(value) if is_single => Datum::Float4(convert::to_f32(value)?),
        // Each integer is rounded once, not by way of a double.
        Datum::Int2(value) if is_single => Datum::Float4(f32::from(*value)),
        Datum::Int4(value) if is_single => Datum::Float4(*value as f32),
        Datum::Int8(value) if is_single => Datum::Float4(*value as f32),
        Datum::Float4(value) => Datum::Float8(f64::from(*value)),
        Datum::Float8(value) => Datum::Float8(*value),
        Datum::Numeric(value) => Datum::Float8(convert::to_f64(value)?),
        Datum::Int2(value) => Datum::Float8(f64::from(*value)),
        Datum::Int4(value) => Datum::Float8(f64::from(*value)),
        Datum::Int8(value) => Datum::Float8(*value as f64),
        _ => return Err(CastError::NoCast),
    })
}

fn narrowed_float(value: f64) -> SqlResult<f32> {
    let narrowed = value as f32;
    let message = match (narrowed.is_infinite(), narrowed == 0.0) {
        (true, _) if !value.is_infinite() => "value out of range: overflow",
        (_, true) if value != 0.0 => "value out of range: underflow",
        _ => return Ok(narrowed),
    };
    Err(SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message))
}

fn to_numeric(datum: Datum) -> Result<Numeric, CastError> {
    Ok(match datum {
        Datum::Numeric(value) => value,
        Datum::Int2(value) => Numeric::from(i64::from(value)),
        Datum::Int4(value) => Numeric::from(i64::from(value)),
        Datum::Int8(value) => Numeric::from(value),
        Datum::Float4(value) => convert::from_f32(value)?,
        Datum::Float8(value) => convert::from_f64(value)?,
        _ => return Err(CastError::NoCast),
    })
}

fn to_time(datum: Datum, family: Family, typmod: i32, settings: &FormatSettings) -> Result<Datum, CastError> {
    Ok(match (datum, family) {
        (Datum::Date(days), Family::Date) => Datum::Date(days),
        (Datum::Date(days), Family::Timestamp) => Datum::Timestamp(midnight(days)?),
        (Datum::Date(days), Family::Timestamptz) => {
            Datum::Timestamptz(local_to_instant(midnight(days)?, settings)?)
        }
        (Datum::Timestamp(us), Family::Date) => Datum::Date(date_of(us)),
        (Datum::Timestamp(us), Family::Time) => time_of(us).map_or(Datum::Null, Datum::Time),
        (Datum::Timestamp(us), Family::Timestamp) => Datum::Timestamp(round_timestamp(us, typmod)?),
        (Datum::Timestamp(us), Family::Timestamptz) => {
            Datum::Timestamptz(round_timestamp(local_to_instant(us, settings)?, typmod)?)
        }
        (Datum::Timestamptz(us), Family::Timestamptz) => Datum::Timestamptz(round_timestamp(us, typmod)?),
        (Datum::Timestamptz(us), Family::Timestamp) => {
            Datum::Timestamp(round_timestamp(instant_to_local(us, settings)?, typmod)?)
        }
        (Datum::Timestamptz(us), Family::Date) => Datum::Date(date_of(instant_to_local(us, settings)?)),
        (Datum::Timestamptz(us), Family::Time) => {
            time_of(instant_to_local(us, settings)?).map_or(Datum::Null, Datum::Time)
        }
        (Datum::Timestamptz(us), Family::Timetz) => match time_of(instant_to_local(us, settings)?) {
            Some(time_us) => Datum::Timetz(Timetz { time_us, offset_seconds: offset_at(us, settings) }),
            None => Datum::Null,
        },
        (Datum::Time(us), Family::Time) => Datum::Time(round_time(us, typmod)),
        (Datum::Time(us), Family::Interval) => Datum::Interval(Interval { months: 0, days: 0, micros: us }),
        (Datum::Time(us), Family::Timetz) => {
            Datum::Timetz(Timetz { time_us: us, offset_seconds: offset_at(settings.now_us, settings) })
        }
        (Datum::Timetz(value), Family::Timetz) => {
            Datum::Timetz(Timetz { time_us: round_time(value.time_us, typmod), ..value })
        }
        (Datum::Timetz(value), Family::Time) => Datum::Time(round_time(value.time_us, typmod)),
        (Datum::Interval(value), Family::Interval) => {
            Datum::Interval(interval::parse::constrain(value, typmod)?)
        }
        (Datum::Interval(value), Family::Time) => Datum::Time(value.micros.rem_euclid(US_PER_DAY)),
        _ => return Err(CastError::NoCast),
    })
}

fn midnight(days: i32) -> SqlResult<i64> {
    match days {
        i32::MIN => Ok(i64::MIN),
        i32::MAX => Ok(i64::MAX),
        days => i64::from(days)
            .checked_mul(US_PER_DAY)
            .filter(|us| (TIMESTAMP_MIN..TIMESTAMP_END).contains(us))
            .ok_or_else(|| {
                SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "date out of range for timestamp")
            }),
    }
}

fn date_of(us: i64) -> i32 {
    match us {
        i64::MIN => i32::MIN,
        i64::MAX => i32::MAX,
        us => i32::try_from(us.div_euclid(US_PER_DAY)).expect("days of a timestamp have 32 bits"),
    }
}

/// Infinity has no time of day.
fn time_of(us: i64) -> Option<i64> {
    match us {
        i64::MIN | i64::MAX => None,
        us => Some(us.rem_euclid(US_PER_DAY)),
    }
}

fn offset_at(us: i64, settings: &FormatSettings) -> i32 {
    settings.time_zone.offset_at(us.div_euclid(US_PER_SECOND))
}

/// What the session's clocks show at an instant, as if that were UTC.
pub fn instant_to_local(us: i64, settings: &FormatSettings) -> SqlResult<i64> {
    shifted(us, i64::from(offset_at(us, settings)))
}

/// The instant at which the session's clocks show a time.
pub fn local_to_instant(us: i64, settings: &FormatSettings) -> SqlResult<i64> {
    shifted(us, -i64::from(settings.time_zone.offset_at_local(us.div_euclid(US_PER_SECOND))))
}

fn shifted(us: i64, seconds: i64) -> SqlResult<i64> {
    if us == i64::MIN || us == i64::MAX {
        return Ok(us);
    }
    us.checked_add(seconds * US_PER_SECOND)
        .filter(|us| (TIMESTAMP_MIN..TIMESTAMP_END).contains(us))
        .ok_or_else(|| value_out_of_range("timestamp"))
}
