//! Operators on values whose types were settled: NULL gives NULL.

use std::cmp::Ordering;

use bigdecimal::num_bigint::Sign;
use bigdecimal::{BigDecimal, Zero};

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::patterns;
use crate::pg_catalog::run::Run;
use crate::pgtype::calendar::{US_PER_DAY, civil_from_days, days_from_civil, days_in_month};
use crate::pgtype::cast::{instant_to_local, integer_out_of_range, local_to_instant};
use crate::pgtype::compare::compare;
use crate::pgtype::datum::{ArrayDatum, Datum};
use crate::pgtype::interval::Interval;
use crate::pgtype::numeric::{Numeric, round};
use crate::sqlstate;

/// An operator with two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Compare(Comparison),
    Arithmetic(Arithmetic),
    Like {
        insensitive: bool,
        negated: bool,
    },
    Regex {
        insensitive: bool,
        negated: bool,
    },
    /// Texts one after the other.
    Concat,
    /// Arrays one after the other, or an element before or after one.
    ArrayConcat,
    /// `@>`, of arrays
    Contains,
    /// `<@`
    ContainedBy,
    /// `&&`
    Overlaps,
    BitAnd,
    BitOr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Comparison {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Comparison::Equal => order.is_eq(),
            Comparison::NotEqual => order.is_ne(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
        }
    }
}

impl Operator {
    pub(crate) fn apply(self, run: &Run<'_>, left: &Datum, right: &Datum) -> SqlResult<Datum> {
        if left.is_null() || right.is_null() {
            return match self {
                Operator::ArrayConcat => Ok(concat_arrays(left, right)),
                _ => Ok(Datum::Null),
            };
        }
        Ok(match self {
            Operator::Compare(comparison) => {
                compare(left, right).map_or(Datum::Null, |order| Datum::Bool(comparison.holds(order)))
            }
            Operator::Arithmetic(arithmetic) => arithmetic.apply(run, left, right)?,
            Operator::Like { insensitive, negated } => {
                Datum::Bool(patterns::like(text(left), text(right), insensitive)? != negated)
            }
            Operator::Regex { insensitive, negated } => {
                let pattern = patterns::regex(run, text(right), insensitive)?;
                Datum::Bool(pattern.is_match(text(left)) != negated)
            }
            Operator::Concat => Datum::Text(format!("{}{}", text(left), text(right))),
            Operator::ArrayConcat => concat_arrays(left, right),
            Operator::Contains => Datum::Bool(contains(left, right)),
            Operator::ContainedBy => Datum::Bool(contains(right, left)),
            Operator::Overlaps => {
                Datum::Bool(elements(left).iter().any(|one| is_among(one, elements(right))))
            }
            Operator::BitAnd => bits(left, right, |a, b| a & b)?,
            Operator::BitOr => bits(left, right, |a, b| a | b)?,
        })
    }
}

/// The text of a value that is one.
pub(crate) fn text(value: &Datum) -> &str {
    match value {
        Datum::Text(text) | Datum::Json(text) | Datum::Jsonb(text) => text,
        Datum::Reg(_, name) => name,
        _ => "",
    }
}

fn elements(value: &Datum) -> &[Datum] {
    match value {
        Datum::Array(array) => &array.values,
        _ => &[],
    }
}

fn is_among(one: &Datum, others: &[Datum]) -> bool {
    others.iter().any(|other| compare(one, other) == Some(Ordering::Equal))
}

fn contains(left: &Datum, right: &Datum) -> bool {
    elements(right).iter().all(|one| is_among(one, elements(left)))
}

fn bits(left: &Datum, right: &Datum, combine: impl Fn(i64, i64) -> i64) -> SqlResult<Datum> {
    Ok(match (left, right) {
        (Datum::Int2(a), Datum::Int2(b)) => Datum::Int2(combine(i64::from(*a), i64::from(*b)) as i16),
        (Datum::Int4(a), Datum::Int4(b)) => Datum::Int4(combine(i64::from(*a), i64::from(*b)) as i32),
        (Datum::Int8(a), Datum::Int8(b)) => Datum::Int8(combine(*a, *b)),
        _ => return Err(SqlError::internal("bits of what is no integer")),
    })
}

fn concat_arrays(left: &Datum, right: &Datum) -> Datum {
    match (left, right) {
        (Datum::Array(left), Datum::Array(right)) => {
            if left.values.is_empty() {
                return Datum::Array(right.clone());
            }
            let mut joined = left.clone();
            joined.values.extend(right.values.iter().cloned());
            if let (Some(outer), Some(added)) = (joined.dimensions.first_mut(), right.dimensions.first()) {
                outer.length += added.length;
            }
            Datum::Array(joined)
        }
        (Datum::Array(array), Datum::Null) | (Datum::Null, Datum::Array(array)) => {
            Datum::Array(array.clone())
        }
        _ => Datum::Null,
    }
}

impl Arithmetic {
    fn apply(self, run: &Run<'_>, left: &Datum, right: &Datum) -> SqlResult<Datum> {
        match (left, right) {
            (Datum::Int2(a), Datum::Int2(b)) => {
                let result = self.integer(i64::from(*a), i64::from(*b))?;
                narrowed(result, "smallint", Datum::Int2)
            }
            (Datum::Int4(a), Datum::Int4(b)) => {
                let result = self.integer(i64::from(*a), i64::from(*b))?;
                narrowed(result, "integer", Datum::Int4)
            }
            (Datum::Int8(a), Datum::Int8(b)) => {
                let result = self.integer(*a, *b)?;
                narrowed(result, "bigint", Datum::Int8)
            }
            (Datum::Float8(a), Datum::Float8(b)) => self.float(*a, *b).map(Datum::Float8),
            (Datum::Numeric(Numeric::Finite(a)), Datum::Numeric(Numeric::Finite(b))) => self.numeric(a, b),
            _ => self.time(run, left, right),
        }
    }

    /// `None` where 64 bits do not suffice.
    fn integer(self, a: i64, b: i64) -> SqlResult<Option<i64>> {
        if b == 0 && matches!(self, Arithmetic::Divide | Arithmetic::Modulo) {
            return Err(division_by_zero());
        }
        Ok(match self {
            Arithmetic::Add => a.checked_add(b),
            Arithmetic::Subtract => a.checked_sub(b),
            Arithmetic::Multiply => a.checked_mul(b),
            Arithmetic::Divide => a.checked_div(b),
            Arithmetic::Modulo => Some(a.checked_rem(b).unwrap_or(0)),
        })
    }

    fn float(self, a: f64, b: f64) -> SqlResult<f64> {
        let result = match self {
            Arithmetic::Add => a + b,
            Arithmetic::Subtract => a - b,
            Arithmetic::Multiply => a * b,
            Arithmetic::Divide if b == 0.0 && !a.is_nan() => return Err(division_by_zero()),
            Arithmetic::Divide => a / b,
            Arithmetic::Modulo => return Err(SqlError::internal("% of floats")),
        };
        let out_of_range = |what| {
            let message = format!("value out of range: {what}");
            Err(SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message))
        };
        if result.is_infinite() && a.is_finite() && b.is_finite() {
            return out_of_range("overflow");
        }
        let multiplies = matches!(self, Arithmetic::Multiply | Arithmetic::Divide);
        if multiplies && result == 0.0 && a != 0.0 && b != 0.0 && b.is_finite() {
            return out_of_range("underflow");
        }
        Ok(result)
    }

    fn numeric(self, a: &BigDecimal, b: &BigDecimal) -> SqlResult<Datum> {
        if b.is_zero() && matches!(self, Arithmetic::Divide | Arithmetic::Modulo) {
            return Err(division_by_zero());
        }
        let shown = a.fractional_digit_count().max(b.fractional_digit_count());
        let value = match self {
            Arithmetic::Add => (a + b).with_scale(shown),
            Arithmetic::Subtract => (a - b).with_scale(shown),
            Arithmetic::Multiply => {
                (a * b).with_scale(a.fractional_digit_count() + b.fractional_digit_count())
            }
            Arithmetic::Divide => divide(a, b),
            Arithmetic::Modulo => (a % b).with_scale(shown),
        };
        Ok(Datum::Numeric(Numeric::Finite(value)))
    }

    fn time(self, run: &Run<'_>, left: &Datum, right: &Datum) -> SqlResult<Datum> {
        let subtracts = self == Arithmetic::Subtract;
        Ok(match (left, right) {
            (Datum::Date(a), Datum::Date(b)) if subtracts => Datum::Int4(a.wrapping_sub(*b)),
            (Datum::Date(a), Datum::Int4(b)) => {
                let days = if subtracts { a.checked_sub(*b) } else { a.checked_add(*b) };
                Datum::Date(
                    days.ok_or_else(|| {
                        SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "date out of range")
                    })?,
                )
            }
            (Datum::Timestamp(a), Datum::Timestamp(b)) | (Datum::Timestamptz(a), Datum::Timestamptz(b)) => {
                let us = a.checked_sub(*b).ok_or_else(|| integer_out_of_range("interval"))?;
                let days = us / US_PER_DAY;
                let days = i32::try_from(days).map_err(|_| integer_out_of_range("interval"))?;
                Datum::Interval(Interval { months: 0, days, micros: us % US_PER_DAY })
            }
            (Datum::Timestamp(us), Datum::Interval(interval)) => {
                Datum::Timestamp(shift(*us, signed(*interval, subtracts))?)
            }
            (Datum::Timestamptz(us), Datum::Interval(interval)) => {
                let format = &run.context.format;
                let interval = signed(*interval, subtracts);
                // Months and days are those of the session's calendar, hours are elapsed time.
                let calendar = Interval { micros: 0, ..interval };
                let moved = if calendar == Interval::default() {
                    *us
                } else {
                    local_to_instant(shift(instant_to_local(*us, format)?, calendar)?, format)?
                };
                Datum::Timestamptz(shift(moved, Interval { micros: interval.micros, ..Interval::default() })?)
            }
            (left, right) => {
                return Err(SqlError::internal(format!("no arithmetic of {left:?} and {right:?}")));
            }
        })
    }
}

fn signed(interval: Interval, negative: bool) -> Interval {
    if !negative {
        return interval;
    }
    Interval {
        months: interval.months.wrapping_neg(),
        days: interval.days.wrapping_neg(),
        micros: interval.micros.wrapping_neg(),
    }
}

/// The instant so long before another, in microseconds, by the calendar of UTC.
///
/// # Errors
/// There is no such instant.
pub fn before(us: i64, interval: Interval) -> SqlResult<i64> {
    shift(us, signed(interval, true))
}

/// A time of the calendar, moved; the last day of a month stands for those it does not have.
fn shift(us: i64, interval: Interval) -> SqlResult<i64> {
    if us == i64::MIN || us == i64::MAX {
        return Ok(us);
    }
    let out_of_range = || SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "timestamp out of range");
    let (mut days, time) = (us.div_euclid(US_PER_DAY), us.rem_euclid(US_PER_DAY));
    if interval.months != 0 {
        let date = civil_from_days(days);
        let months = date.year * 12 + i64::from(date.month) - 1 + i64::from(interval.months);
        let (year, month) = (months.div_euclid(12), u32::try_from(months.rem_euclid(12)).unwrap_or(0) + 1);
        days = days_from_civil(year, month, date.day.min(days_in_month(year, month)));
    }
    days += i64::from(interval.days);
    let us = days.checked_mul(US_PER_DAY).and_then(|us| us.checked_add(time));
    us.and_then(|us| us.checked_add(interval.micros)).ok_or_else(out_of_range)
}

fn narrowed<T: TryFrom<i64>>(
    value: Option<i64>,
    type_name: &str,
    datum: impl Fn(T) -> Datum,
) -> SqlResult<Datum> {
    let narrowed = value.and_then(|value| T::try_from(value).ok());
    narrowed.map(datum).ok_or_else(|| integer_out_of_range(type_name))
}

fn division_by_zero() -> SqlError {
    SqlError::new(sqlstate::DIVISION_BY_ZERO, "division by zero")
}

/// The quotient with as many digits as PostgreSQL gives: sixteen that matter, by groups of four.
fn divide(a: &BigDecimal, b: &BigDecimal) -> BigDecimal {
    let (weight_a, first_a) = leading(a);
    let (weight_b, first_b) = leading(b);
    let mut weight = weight_a - weight_b;
    if first_a <= first_b {
        weight -= 1;
    }
    let shown = a.fractional_digit_count().max(b.fractional_digit_count());
    let scale = (16 - weight * 4).max(shown).clamp(0, 1000);
    // More digits than are kept, cut off and then rounded by hand, so that nothing is rounded twice.
    let extra = scale + 1;
    let (units_a, scale_a) = a.as_bigint_and_exponent();
    let (units_b, scale_b) = b.as_bigint_and_exponent();
    let power = extra + scale_b - scale_a;
    let ten = bigdecimal::num_bigint::BigInt::from(10);
    let factor = ten.pow(u32::try_from(power.abs()).unwrap_or(0));
    let quotient = if power >= 0 { units_a * factor / units_b } else { units_a / (units_b * factor) };
    round(&BigDecimal::new(quotient, extra), scale)
}

/// The weight and the value of the first group of four digits.
fn leading(value: &BigDecimal) -> (i64, u32) {
    let (units, scale) = value.as_bigint_and_exponent();
    if units.sign() == Sign::NoSign {
        return (0, 0);
    }
    let digits = units.magnitude().to_string();
    let before = i64::try_from(digits.len()).unwrap_or(i64::MAX) - scale;
    // How many digits of the first group there are: groups are aligned at the point.
    let width = (before - 1).rem_euclid(4) + 1;
    let weight = (before - 1).div_euclid(4);
    let group: String = digits.chars().chain(std::iter::repeat('0')).take(width as usize).collect();
    (weight, group.parse().unwrap_or(0))
}

/// An element before or after the others of an array.
pub(crate) fn with_element(array: &Datum, element: &Datum, of: &crate::pgtype::PgType, last: bool) -> Datum {
    let mut array = match array {
        Datum::Array(array) => array.clone(),
        _ => ArrayDatum::list(of.clone(), Vec::new()),
    };
    array.values.insert(if last { array.values.len() } else { 0 }, element.clone());
    Datum::Array(ArrayDatum::list(array.element, array.values))
}
