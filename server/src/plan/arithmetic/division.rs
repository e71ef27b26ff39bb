//! Quotients of numerics.
//!
//! PostgreSQL computes at least sixteen digits that count, by what it knows of the operands: their first groups
//! of four digits and where these stand. A quotient here is rounded where PostgreSQL rounds it, but never
//! further behind than its type has digits. How many zeros at its end are shown is told by the number alone
//! ([`TrailingZeros::Quotient`]), which is not always as many as PostgreSQL shows.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Decimal256Array};
use datafusion::arrow::datatypes::{DataType, Decimal256Type, i256};
use datafusion::common::{Result, exec_datafusion_err};

use super::{division_by_zero, overflows};
use crate::pgtype::decimal::{QUOTIENT, TrailingZeros};

/// Digits that count, at least.
const DIGITS_MIN: i32 = 16;

/// Digits of a group.
const GROUP_DIGITS: i32 = 4;

/// Quotients of decimals of 256 bits, half away from zero.
pub(super) fn divide(left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef> {
    let (left_type, right_type) = (Operands::of(left)?, Operands::of(right)?);
    let (left, right) = (left.as_primitive::<Decimal256Type>(), right.as_primitive::<Decimal256Type>());
    let quotients = left.iter().zip(right.iter()).map(|pair| match pair {
        (Some(left), Some(right)) => quotient((left, left_type), (right, right_type)).map(Some),
        _ => Ok(None),
    });
    let quotients = quotients.collect::<Result<Vec<Option<i256>>>>()?;
    let array: Decimal256Array = quotients.into_iter().collect();
    let array = array.with_precision_and_scale(QUOTIENT.precision, QUOTIENT.scale.cast_signed());
    Ok(Arc::new(array.map_err(|_| overflows())?))
}

/// What is the same for all values of an operand.
#[derive(Clone, Copy, Debug)]
struct Operands {
    scale: i32,
    zeros: TrailingZeros,
}

impl Operands {
    fn of(array: &ArrayRef) -> Result<Operands> {
        match array.data_type() {
            DataType::Decimal256(precision, scale) => Ok(Operands {
                scale: i32::from(*scale),
                zeros: TrailingZeros::of_arrow_type(*precision, *scale),
            }),
            other => Err(exec_datafusion_err!("a decimal was expected, not {other}")),
        }
    }

    /// How many digits after its point are shown of a value.
    fn shown(self, units: i256) -> i32 {
        if self.zeros == TrailingZeros::Keep {
            return self.scale;
        }
        let ten = i256::from_i128(10);
        let (mut units, mut shown) = (units, self.scale);
        while shown > 0 && units.wrapping_rem(ten) == i256::ZERO {
            (units, shown) = (units.wrapping_div(ten), shown - 1);
        }
        shown
    }
}

fn quotient((left, left_type): (i256, Operands), (right, right_type): (i256, Operands)) -> Result<i256> {
    if right == i256::ZERO {
        return Err(division_by_zero());
    }
    let scale_max = i32::from(QUOTIENT.scale);
    let scale = scale((left, left_type), (right, right_type)).min(scale_max);
    let shift = scale + right_type.scale - left_type.scale;
    let power = power_of_ten(shift.unsigned_abs())?;
    let (dividend, divisor) = match shift >= 0 {
        true => (left.checked_mul(power), Some(right)),
        false => (Some(left), right.checked_mul(power)),
    };
    let (Some(dividend), Some(divisor)) = (dividend, divisor) else { return Err(overflows()) };
    let (quotient, rest) = (dividend.wrapping_div(divisor), dividend.wrapping_rem(divisor));
    let (rest, whole) = (rest.wrapping_abs(), divisor.wrapping_abs());
    let rounded = if rest < whole.wrapping_sub(rest) {
        Some(quotient)
    } else {
        let is_negative = (dividend < i256::ZERO) != (divisor < i256::ZERO);
        quotient.checked_add(if is_negative { i256::MINUS_ONE } else { i256::ONE })
    };
    let zeros = power_of_ten((scale_max - scale).unsigned_abs())?;
    rounded.and_then(|quotient| quotient.checked_mul(zeros)).ok_or_else(overflows)
}

fn power_of_ten(exponent: u32) -> Result<i256> {
    i256::from_i128(10).checked_pow(exponent).ok_or_else(overflows)
}

/// How many digits after its point PostgreSQL computes of a quotient.
fn scale((left, left_type): (i256, Operands), (right, right_type): (i256, Operands)) -> i32 {
    let (left_group, left_first) = first_group(left, left_type.scale);
    let (right_group, right_first) = first_group(right, right_type.scale);
    let group = left_group - right_group - i32::from(left_first <= right_first);
    let counted = DIGITS_MIN - group * GROUP_DIGITS;
    counted.max(left_type.shown(left)).max(right_type.shown(right)).max(0)
}

/// Where the first group of digits of a number stands, 0 being that before the point, and what it is.
fn first_group(units: i256, scale: i32) -> (i32, i128) {
    let magnitude = units.wrapping_abs();
    if magnitude == i256::ZERO {
        return (0, 0);
    }
    let digits = match magnitude.to_i128() {
        Some(small) => small.ilog10().cast_signed() + 1,
        None => i32::try_from(magnitude.to_string().len()).expect("256 bits are 78 digits"),
    };
    let exponent = digits - 1 - scale;
    let group = exponent.div_euclid(GROUP_DIGITS);
    let wanted = exponent.rem_euclid(GROUP_DIGITS) + 1;
    let ten = i256::from_i128(10);
    let first = match wanted >= digits {
        true => magnitude.wrapping_mul(ten.wrapping_pow((wanted - digits).unsigned_abs())),
        false => magnitude.wrapping_div(ten.wrapping_pow((digits - wanted).unsigned_abs())),
    };
    (group, first.to_i128().expect("four digits are a small number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_group_of_a_number_is_found_wherever_it_stands() {
        let cases = [
            (0, 0, (0, 0)),
            (1, 0, (0, 1)),
            (9999, 0, (0, 9999)),
            (10_000, 0, (1, 1)),
            (123_456_789, 2, (1, 123)),
            (-15, 1, (0, 1)),
            (15, 2, (-1, 1500)),
            (5, 3, (-1, 50)),
            (1, 4, (-1, 1)),
            (1, 5, (-2, 1000)),
        ];
        for (units, scale, expected) in cases {
            assert_eq!(first_group(i256::from_i128(units), scale), expected, "{units} / 10^{scale}");
        }
        let large = i256::from_i128(i128::MAX).wrapping_mul(i256::from_i128(100_000));
        assert_eq!(first_group(large, 4), (9, 1701));
    }
}
