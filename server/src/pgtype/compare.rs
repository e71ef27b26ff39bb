//! The order of values, as PostgreSQL's comparison operators have it.

use std::cmp::Ordering;

use super::calendar::US_PER_DAY;
use super::datum::{ArrayDatum, Datum, Timetz};
use super::numeric::Numeric;

/// The order of two values: `None` where one is NULL or they cannot be compared. Numbers of different
/// types are compared as numbers; texts by their bytes; NaN equals itself and is above all.
pub fn compare(left: &Datum, right: &Datum) -> Option<Ordering> {
    if left.is_null() || right.is_null() {
        return None;
    }
    if let (Some(left), Some(right)) = (Number::of(left), Number::of(right)) {
        return Some(left.compare(&right));
    }
    match (left, right) {
        (Datum::Bool(left), Datum::Bool(right)) => Some(left.cmp(right)),
        (Datum::Char(left), Datum::Char(right)) => Some(left.cmp(right)),
        (Datum::Text(left), Datum::Text(right)) => Some(left.as_bytes().cmp(right.as_bytes())),
        (Datum::Jsonb(left), Datum::Jsonb(right)) => Some(left.as_bytes().cmp(right.as_bytes())),
        (Datum::Bytea(left), Datum::Bytea(right)) => Some(left.cmp(right)),
        (Datum::Time(left), Datum::Time(right)) => Some(left.cmp(right)),
        (Datum::Timetz(left), Datum::Timetz(right)) => Some(compare_timetz(*left, *right)),
        (Datum::Timestamptz(left), Datum::Timestamptz(right)) => Some(left.cmp(right)),
        (Datum::Interval(left), Datum::Interval(right)) => Some(left.compare(right)),
        (Datum::Uuid(left), Datum::Uuid(right)) => Some(left.cmp(right)),
        (Datum::Array(left), Datum::Array(right)) => compare_arrays(left, right),
        (Datum::Record(left), Datum::Record(right)) => {
            let fields = left.iter().zip(right).map(|((_, left), (_, right))| (left, right));
            compare_parts(fields).map(|order| order.then(left.len().cmp(&right.len())))
        }
        (Datum::Void, Datum::Void) => Some(Ordering::Equal),
        _ => Some(local_time(left)?.cmp(&local_time(right)?)),
    }
}

/// A date is its midnight; infinities keep their place.
fn local_time(datum: &Datum) -> Option<i128> {
    match datum {
        Datum::Date(i32::MIN) => Some(i128::from(i64::MIN)),
        Datum::Date(i32::MAX) => Some(i128::from(i64::MAX)),
        // A date can be beyond all timestamps, but not beyond infinity.
        Datum::Date(days) => {
            let us = i128::from(*days) * i128::from(US_PER_DAY);
            Some(us.clamp(i128::from(i64::MIN) + 1, i128::from(i64::MAX) - 1))
        }
        Datum::Timestamp(us) => Some(i128::from(*us)),
        _ => None,
    }
}

/// Times of day are ordered by the instant, and then by the zone.
fn compare_timetz(left: Timetz, right: Timetz) -> Ordering {
    let instant = |value: Timetz| value.time_us - i64::from(value.offset_seconds) * 1_000_000;
    instant(left).cmp(&instant(right)).then((-left.offset_seconds).cmp(&-right.offset_seconds))
}

fn compare_arrays(left: &ArrayDatum, right: &ArrayDatum) -> Option<Ordering> {
    let order = compare_parts(left.values.iter().zip(&right.values))?;
    let shape = |array: &ArrayDatum| {
        let bounds: Vec<(i32, i32)> =
            array.dimensions.iter().map(|dimension| (dimension.length, dimension.lower_bound)).collect();
        (array.values.len(), array.dimensions.len(), bounds)
    };
    Some(order.then_with(|| shape(left).cmp(&shape(right))))
}

/// The first difference decides. In arrays and records NULL equals NULL and is above all values.
fn compare_parts<'a>(parts: impl Iterator<Item = (&'a Datum, &'a Datum)>) -> Option<Ordering> {
    for (left, right) in parts {
        let order = match (left.is_null(), right.is_null()) {
            (false, false) => compare(left, right)?,
            (left_is_null, right_is_null) => left_is_null.cmp(&right_is_null),
        };
        if order != Ordering::Equal {
            return Some(order);
        }
    }
    Some(Ordering::Equal)
}

/// A value of a numeric type.
enum Number<'a> {
    Integer(i64),
    Float(f64),
    Numeric(&'a Numeric),
}

impl<'a> Number<'a> {
    fn of(datum: &'a Datum) -> Option<Number<'a>> {
        Some(match datum {
            Datum::Int2(value) => Number::Integer(i64::from(*value)),
            Datum::Int4(value) => Number::Integer(i64::from(*value)),
            Datum::Int8(value) => Number::Integer(*value),
            Datum::Oid(value) | Datum::Reg(value, _) => Number::Integer(i64::from(*value)),
            Datum::Float4(value) => Number::Float(f64::from(*value)),
            Datum::Float8(value) => Number::Float(*value),
            Datum::Numeric(value) => Number::Numeric(value),
            _ => return None,
        })
    }

    /// Where one is a float both are, as PostgreSQL's implicit casts have it.
    fn compare(&self, other: &Number<'_>) -> Ordering {
        match (self, other) {
            (Number::Integer(left), Number::Integer(right)) => left.cmp(right),
            (Number::Numeric(left), Number::Numeric(right)) => left.compare(right),
            (Number::Numeric(left), Number::Integer(right)) => left.compare(&Numeric::from(*right)),
            (Number::Integer(left), Number::Numeric(right)) => Numeric::from(*left).compare(right),
            _ => compare_floats(self.as_f64(), other.as_f64()),
        }
    }

    fn as_f64(&self) -> f64 {
        match self {
            Number::Integer(value) => *value as f64,
            Number::Float(value) => *value,
            Number::Numeric(value) => value.to_f64_lossy(),
        }
    }
}

/// NaN equals itself and is above all; -0 equals 0.
pub fn compare_floats(left: f64, right: f64) -> Ordering {
    left.partial_cmp(&right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
}
