//! Functions of numbers and of any values.

use std::cmp::Ordering;

use bigdecimal::{BigDecimal, RoundingMode, Signed, ToPrimitive, Zero};

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::functions::{ScalarBody, SetBody, any, int, int4, text, texted};
use crate::pgtype::compare::compare;
use crate::pgtype::datum::Datum;
use crate::pgtype::numeric::Numeric;
use crate::sqlstate;

pub(super) const FUNCTIONS: &[(&str, ScalarBody)] = &[
    ("to_hex(int4) text", |_, values| match values[0] {
        Datum::Int4(value) => texted(format!("{:x}", value.cast_unsigned())),
        _ => Ok(Datum::Null),
    }),
    ("to_hex(int8) text", |_, values| texted(format!("{:x}", int(values, 0).cast_unsigned()))),
    ("scale(numeric) int4", |_, values| Ok(finite(values, 0).map_or(Datum::Null, |it| count(scale_of(it))))),
    ("min_scale(numeric) int4", |_, values| {
        Ok(finite(values, 0).map_or(Datum::Null, |it| count(scale_of(&trimmed(it)))))
    }),
    ("trim_scale(numeric) numeric", |_, values| {
        Ok(finite(values, 0).map_or_else(|| values[0].clone(), |it| numeric(trimmed(it))))
    }),
    ("width_bucket(numeric,numeric,numeric,int4) int4", bucket_of_numerics),
    ("width_bucket(float8,float8,float8,int4) int4", bucket_of_floats),
    ("width_bucket(anyelement,anyarray) int4", |_, values| {
        let Datum::Array(thresholds) = &values[1] else { return Ok(Datum::Null) };
        if thresholds.values.iter().any(Datum::is_null) {
            let message = "thresholds array must not contain NULLs";
            return Err(SqlError::new(sqlstate::NULL_VALUE_NOT_ALLOWED, message));
        }
        let reached = |it: &&Datum| compare(&values[0], it).is_some_and(Ordering::is_ge);
        Ok(int4(thresholds.values.iter().take_while(reached).count()))
    }),
    ("sind(float8) float8", |_, values| Ok(in_degrees(values, f64::sin))),
    ("cosd(float8) float8", |_, values| Ok(in_degrees(values, f64::cos))),
    ("tand(float8) float8", |_, values| Ok(in_degrees(values, f64::tan))),
    ("asind(float8) float8", |_, values| Ok(to_degrees(values, f64::asin))),
    ("acosd(float8) float8", |_, values| Ok(to_degrees(values, f64::acos))),
    ("atand(float8) float8", |_, values| Ok(to_degrees(values, f64::atan))),
    ("*num_nulls(variadic any) int4", |_, values| nulls(values, true)),
    ("*num_nonnulls(variadic any) int4", |_, values| nulls(values, false)),
    ("unistr(text) text", |_, values| unescaped(text(values, 0))),
];

pub(super) const SETS: &[(&str, SetBody)] = &[
    ("generate_series(numeric,numeric) setof numeric", |_, values| {
        series(values, &Datum::Numeric(Numeric::from(1_i64)))
    }),
    ("generate_series(numeric,numeric,numeric) setof numeric", |_, values| series(values, &values[2])),
];

/// A series has so many values at most.
const SERIES_MAX: usize = 1_000_000;

fn numeric(value: BigDecimal) -> Datum {
    Datum::Numeric(Numeric::Finite(value))
}

fn finite(values: &[Datum], at: usize) -> Option<&BigDecimal> {
    match values.get(at) {
        Some(Datum::Numeric(Numeric::Finite(value))) => Some(value),
        _ => None,
    }
}

fn scale_of(value: &BigDecimal) -> i64 {
    value.fractional_digit_count().max(0)
}

fn count(value: i64) -> Datum {
    i32::try_from(value).map_or(Datum::Null, Datum::Int4)
}

/// Without zeros at the end of the digits after the point.
fn trimmed(value: &BigDecimal) -> BigDecimal {
    let normal = value.normalized();
    let scale = normal.fractional_digit_count().max(0);
    normal.with_scale(scale)
}

fn bucket_error(message: &str) -> SqlError {
    SqlError::new(sqlstate::INVALID_ARGUMENT_FOR_WIDTH_BUCKET, message)
}

fn buckets(values: &[Datum]) -> SqlResult<i64> {
    let count = int(values, 3);
    if count <= 0 { Err(bucket_error("count must be greater than zero")) } else { Ok(count) }
}

fn bucket(number: Option<i64>) -> SqlResult<Datum> {
    let number = number.and_then(|it| i32::try_from(it).ok());
    number.map(Datum::Int4).ok_or_else(|| crate::pgtype::cast::integer_out_of_range("integer"))
}

fn bucket_of_numerics(_: &crate::pg_catalog::run::Run<'_>, values: &[Datum]) -> SqlResult<Datum> {
    let count = buckets(values)?;
    if values[..3].iter().any(|it| matches!(it, Datum::Numeric(Numeric::NaN))) {
        return Err(bucket_error("operand, lower bound, and upper bound cannot be NaN"));
    }
    let (Some(low), Some(high)) = (finite(values, 1), finite(values, 2)) else {
        return Err(bucket_error("lower and upper bounds must be finite"));
    };
    let Some(operand) = finite(values, 0) else {
        let is_high = matches!(values[0], Datum::Numeric(Numeric::Infinity)) == (low < high);
        return bucket(Some(if is_high { count + 1 } else { 0 }));
    };
    if low == high {
        return Err(bucket_error("lower bound cannot equal upper bound"));
    }
    let is_rising = low < high;
    let (distance, width) = if is_rising { (operand - low, high - low) } else { (low - operand, low - high) };
    if distance.is_negative() {
        return bucket(Some(0));
    }
    if distance >= width {
        return bucket(Some(count + 1));
    }
    let place = (distance * BigDecimal::from(count)) / width;
    bucket(place.with_scale_round(0, RoundingMode::Floor).to_i64().map(|it| it + 1))
}

fn bucket_of_floats(_: &crate::pg_catalog::run::Run<'_>, values: &[Datum]) -> SqlResult<Datum> {
    let count = buckets(values)?;
    let float = |at: usize| match values[at] {
        Datum::Float8(value) => value,
        _ => f64::NAN,
    };
    let (operand, low, high) = (float(0), float(1), float(2));
    if operand.is_nan() || low.is_nan() || high.is_nan() {
        return Err(bucket_error("operand, lower bound, and upper bound cannot be NaN"));
    }
    if !low.is_finite() || !high.is_finite() {
        return Err(bucket_error("lower and upper bounds must be finite"));
    }
    if low == high {
        return Err(bucket_error("lower bound cannot equal upper bound"));
    }
    let is_rising = low < high;
    let (is_before, is_behind) =
        if is_rising { (operand < low, operand >= high) } else { (operand > low, operand <= high) };
    if is_before {
        return bucket(Some(0));
    }
    if is_behind {
        return bucket(Some(count + 1));
    }
    let part = if is_rising { (operand - low) / (high - low) } else { (low - operand) / (low - high) };
    // Rounding must not lead out of the last bucket.
    bucket(Some(((part * count as f64) as i64 + 1).min(count)))
}

/// Angles that have exact values get them.
fn in_degrees(values: &[Datum], function: fn(f64) -> f64) -> Datum {
    let Datum::Float8(degrees) = values[0] else { return Datum::Null };
    let value = function(degrees.to_radians());
    let rounded = (value * 2.0).round() / 2.0;
    Datum::Float8(if (value - rounded).abs() < 1e-15 { rounded } else { value })
}

fn to_degrees(values: &[Datum], function: fn(f64) -> f64) -> Datum {
    let Datum::Float8(value) = values[0] else { return Datum::Null };
    let degrees = function(value).to_degrees();
    let rounded = degrees.round();
    Datum::Float8(if (degrees - rounded).abs() < 1e-12 { rounded } else { degrees })
}

fn nulls(values: &[Datum], wanted: bool) -> SqlResult<Datum> {
    let mut found = 0;
    for value in values {
        found += usize::from(any(value)?.1.is_null() == wanted);
    }
    Ok(int4(found))
}

/// `\XXXX`, `\+XXXXXX`, `\uXXXX` and `\UXXXXXXXX` are characters.
fn unescaped(source: &str) -> SqlResult<Datum> {
    let invalid = || {
        SqlError::new(sqlstate::SYNTAX_ERROR, "invalid Unicode escape")
            .with_hint("Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX.")
    };
    let mut out = String::new();
    let mut rest = source;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('\\') {
            out.push('\\');
            rest = after;
            continue;
        }
        let (skipped, digits) = match after.bytes().next() {
            Some(b'+') => (1, 6),
            Some(b'u') => (1, 4),
            Some(b'U') => (1, 8),
            _ => (0, 4),
        };
        let digits_end = skipped + digits;
        let code = after.get(skipped..digits_end).and_then(|it| u32::from_str_radix(it, 16).ok());
        out.push(code.and_then(char::from_u32).ok_or_else(invalid)?);
        rest = &after[digits_end..];
    }
    out.push_str(rest);
    texted(out)
}

fn series(values: &[Datum], step: &Datum) -> SqlResult<Vec<Vec<Datum>>> {
    let refused = |what: &str| Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, what));
    let (Some(start), Some(stop)) = (finite(values, 0), finite(values, 1)) else {
        return refused("start and stop values must be finite");
    };
    let Some(step) = finite(std::slice::from_ref(step), 0) else {
        return refused("step size must be finite");
    };
    if step.is_zero() {
        return refused("step size cannot equal zero");
    }
    // All have as many digits as the one with the most.
    let scale = scale_of(start).max(scale_of(step));
    let mut rows = Vec::new();
    let mut value = start.with_scale(scale);
    while if step.is_positive() { value <= *stop } else { value >= *stop } {
        if rows.len() == SERIES_MAX {
            let message = format!("a series of more than {SERIES_MAX} values");
            return Err(SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
        }
        rows.push(vec![numeric(value.clone())]);
        value = (&value + step).with_scale(scale);
    }
    Ok(rows)
}
