//! `numeric` to and from the other numbers.

use bigdecimal::ToPrimitive;

use super::Numeric;
use crate::error::{SqlError, SqlResult};
use crate::pgtype::cast::integer_out_of_range;
use crate::pgtype::float;
use crate::pgtype::types::NO_TYPMOD;
use crate::sqlstate;

/// Digits that a double keeps in any case; more are not taken for digits of the number.
const F64_DIGITS: usize = 15;

/// The same for a `float4`.
const F32_DIGITS: usize = 6;

/// The integer nearest to a number, half away from zero.
pub fn to_i64(value: &Numeric, type_name: &str) -> SqlResult<i64> {
    let refused = |what: &str| {
        let message = format!("cannot convert {what} to {type_name}");
        Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message))
    };
    match value {
        Numeric::NaN => refused("NaN"),
        Numeric::Infinity | Numeric::NegativeInfinity => refused("infinity"),
        Numeric::Finite(value) => {
            super::round(value, 0).to_i64().ok_or_else(|| integer_out_of_range(type_name))
        }
    }
}

/// The double nearest to a number, if there is one.
pub fn to_f64(value: &Numeric) -> SqlResult<f64> {
    float::parse_f64(&value.to_string())
}

/// The `float4` nearest to a number, if there is one.
pub fn to_f32(value: &Numeric) -> SqlResult<f32> {
    float::parse_f32(&value.to_string())
}

/// The first fifteen digits of a double.
pub fn from_f64(value: f64) -> SqlResult<Numeric> {
    match value {
        _ if value.is_nan() => Ok(Numeric::NaN),
        f64::INFINITY => Ok(Numeric::Infinity),
        f64::NEG_INFINITY => Ok(Numeric::NegativeInfinity),
        _ => from_digits(&format!("{value:.*e}", F64_DIGITS - 1)),
    }
}

/// The first six digits of a `float4`.
pub fn from_f32(value: f32) -> SqlResult<Numeric> {
    match value {
        _ if value.is_nan() => Ok(Numeric::NaN),
        f32::INFINITY => Ok(Numeric::Infinity),
        f32::NEG_INFINITY => Ok(Numeric::NegativeInfinity),
        _ => from_digits(&format!("{value:.*e}", F32_DIGITS - 1)),
    }
}

/// Zeros at the end are not digits of the number.
fn from_digits(text: &str) -> SqlResult<Numeric> {
    let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    Numeric::parse(&format!("{digits}e{exponent}"), NO_TYPMOD)
}

impl Numeric {
    /// The double nearest to a number, an infinity or zero if it is out of range.
    pub fn to_f64_lossy(&self) -> f64 {
        match self {
            Numeric::NaN => f64::NAN,
            Numeric::Infinity => f64::INFINITY,
            Numeric::NegativeInfinity => f64::NEG_INFINITY,
            finite => finite.to_string().parse().unwrap_or(f64::NAN),
        }
    }
}
