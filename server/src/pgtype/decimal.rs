//! Arrow's decimals: integers of so many units of the last digit.
//!
//! The hot ways are here, for numbers of at most 38 digits and without an allocation; what does not
//! fit them goes by way of [`Numeric`], which also knows every error.

use arrow::datatypes::i256;
use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;
use bytes::{BufMut, BytesMut};
use tidemark_catalog::types::{NUMERIC_UNCONSTRAINED, NumericModifier};

use super::numeric::{self, Modifier, Numeric, wire};
use crate::error::{SqlError, SqlResult};

/// The most digits that 256 bits can have.
const DIGITS_MAX: usize = 80;

/// Decimal digits that surely fit an `i128`.
const I128_DIGITS: usize = 38;

/// 10³⁸, the power of ten by which 256 bits are taken apart.
const TEN_TO_38: i128 = 10_i128.pow(38);

/// What is done with zeros at the end of the digits after the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrailingZeros {
    /// They are written: the type has that many digits.
    Keep,
    /// They are not: the type has no fixed number of digits.
    Trim,
    /// As many digits are written as PostgreSQL gives a quotient, which depends on its size.
    Quotient,
}

/// The type of quotients of numerics: no column has it.
pub const QUOTIENT: NumericModifier = NumericModifier { precision: 75, scale: 20 };

impl TrailingZeros {
    /// Columns of `numeric` without precision have a scale only because Arrow needs one.
    pub fn of_arrow_type(precision: u8, scale: i8) -> TrailingZeros {
        let NumericModifier { precision: unconstrained_precision, scale: unconstrained_scale } =
            NUMERIC_UNCONSTRAINED;
        if precision == unconstrained_precision && i16::from(scale) == i16::from(unconstrained_scale) {
            TrailingZeros::Trim
        } else if precision == QUOTIENT.precision && i16::from(scale) == i16::from(QUOTIENT.scale) {
            TrailingZeros::Quotient
        } else {
            TrailingZeros::Keep
        }
    }
}

/// Which form a number is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `-12.50`
    Text,
    /// `numeric_send`
    Binary,
}

/// How numbers of a decimal array are written.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Of the Arrow type. Negative where the units are tens or more.
    pub scale: i8,
    /// See [`TrailingZeros`].
    pub zeros: TrailingZeros,
    /// Text or binary.
    pub form: Form,
}

/// Writes a number of up to 128 bits.
pub fn write_i128(out: &mut BytesMut, value: i128, layout: Layout) {
    let mut buffer = itoa::Buffer::new();
    write_magnitude(out, value < 0, buffer.format(value.unsigned_abs()).as_bytes(), layout);
}

/// Writes a number of 256 bits.
pub fn write_i256(out: &mut BytesMut, value: i256, layout: Layout) {
    if let Some(small) = value.to_i128() {
        return write_i128(out, small, layout);
    }
    let ten_to_38 = i256::from_i128(TEN_TO_38);
    let part = |value: i256| (value % ten_to_38).to_i128().map_or(0, i128::unsigned_abs);
    let upper = value / ten_to_38;
    let mut digits = [b'0'; DIGITS_MAX];
    place(&mut digits[..DIGITS_MAX - 2 * I128_DIGITS], part(upper / ten_to_38));
    place(&mut digits[DIGITS_MAX - 2 * I128_DIGITS..DIGITS_MAX - I128_DIGITS], part(upper));
    place(&mut digits[DIGITS_MAX - I128_DIGITS..], part(value));
    let first = digits.iter().position(|digit| *digit != b'0').unwrap_or(DIGITS_MAX - 1);
    write_magnitude(out, value.is_negative(), &digits[first..], layout);
}

/// Writes digits at the end of a row of zeros.
fn place(zeros: &mut [u8], value: u128) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(value).as_bytes();
    let start = zeros.len() - text.len();
    zeros[start..].copy_from_slice(text);
}

fn write_magnitude(out: &mut BytesMut, is_negative: bool, digits: &[u8], layout: Layout) {
    if layout.zeros == TrailingZeros::Quotient {
        let (digits, scale) = quotient_digits(digits, usize::from(layout.scale.unsigned_abs()));
        return write_form(out, is_negative, &digits, scale, layout.form);
    }
    let (digits, scale) = match usize::try_from(layout.scale) {
        Ok(scale) => trimmed(digits, scale, layout.zeros),
        Err(_) => {
            let zeros = usize::from(layout.scale.unsigned_abs());
            let mut longer = digits.to_vec();
            longer.resize(digits.len() + if digits == b"0" { 0 } else { zeros }, b'0');
            return write_form(out, is_negative, &longer, 0, layout.form);
        }
    };
    write_form(out, is_negative, digits, scale, layout.form);
}

/// The digits of a quotient that PostgreSQL shows, as far as the quotient tells: sixteen that count and up
/// to four more, as they are in groups of four. One is written as if it were below one, and so is every
/// power of 10,000. What is not zero is shown: it was rounded where PostgreSQL does.
fn quotient_digits(digits: &[u8], scale: usize) -> (Vec<u8>, usize) {
    if digits == b"0" {
        return (digits.to_vec(), scale);
    }
    let before = digits.len().saturating_sub(scale);
    let is_power = digits[0] == b'1' && digits[1..].iter().all(|digit| *digit == b'0') && before % 4 == 1;
    let groups = before.div_ceil(4) - usize::from(is_power && before > 0);
    let zeros = digits.iter().rev().take_while(|digit| **digit == b'0').count();
    let kept = scale.saturating_sub(4 * groups).max(scale.saturating_sub(zeros));
    let (head, tail) = digits.split_at(digits.len() - (scale - kept).min(digits.len()));
    let mut rounded = head.to_vec();
    if tail.first().is_some_and(|digit| *digit >= b'5') {
        carry(&mut rounded);
    }
    if rounded.is_empty() {
        rounded.push(b'0');
    }
    (rounded, kept)
}

/// One more in the last digit.
fn carry(digits: &mut Vec<u8>) {
    for digit in digits.iter_mut().rev() {
        if *digit < b'9' {
            *digit += 1;
            return;
        }
        *digit = b'0';
    }
    digits.insert(0, b'1');
}

fn write_form(out: &mut BytesMut, is_negative: bool, digits: &[u8], scale: usize, form: Form) {
    match form {
        Form::Text => write_digits(out, is_negative, digits, scale, TrailingZeros::Keep),
        Form::Binary => {
            let scale = i32::try_from(scale).expect("a scale is at most 127");
            wire::write_digits(out, is_negative, digits, scale);
        }
    }
}

/// Cuts zeros off the end of the digits after the point.
fn trimmed(digits: &[u8], scale: usize, zeros: TrailingZeros) -> (&[u8], usize) {
    if zeros != TrailingZeros::Trim || digits == b"0" {
        return (digits, if zeros == TrailingZeros::Trim { 0 } else { scale });
    }
    let count = digits.iter().rev().take(scale).take_while(|digit| **digit == b'0').count();
    (&digits[..digits.len() - count], scale - count)
}

/// Writes digits with a point so far from their end.
pub fn write_digits(
    out: &mut BytesMut,
    is_negative: bool,
    digits: &[u8],
    scale: usize,
    zeros: TrailingZeros,
) {
    let (digits, scale) = trimmed(digits, scale, zeros);
    if is_negative {
        out.put_u8(b'-');
    }
    let before = digits.len().saturating_sub(scale);
    match before {
        0 => out.put_u8(b'0'),
        _ => out.extend_from_slice(&digits[..before]),
    }
    if scale > 0 {
        out.put_u8(b'.');
        out.put_bytes(b'0', scale.saturating_sub(digits.len()));
        out.extend_from_slice(&digits[before..]);
    }
}

/// Reads a plain number, `-12.50`, as units of its last digit; `None` where that takes more care.
pub fn parse_plain(text: &[u8]) -> Option<(i128, u32)> {
    let (is_negative, number) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    if number.is_empty() || number.len() > I128_DIGITS || number == b"." {
        return None;
    }
    let mut value = 0_i128;
    let (mut chunk, mut chunk_base) = (0_u64, 1_u64);
    let (mut scale, mut has_point) = (0_u32, false);
    for byte in number {
        match byte.wrapping_sub(b'0') {
            digit @ 0..=9 => {
                chunk = chunk * 10 + u64::from(digit);
                chunk_base *= 10;
                scale += u32::from(has_point);
                // The chunk is folded in before it can overflow.
                if chunk_base == 10_u64.pow(18) {
                    value = value * i128::from(chunk_base) + i128::from(chunk);
                    (chunk, chunk_base) = (0, 1);
                }
            }
            _ if *byte == b'.' && !has_point => has_point = true,
            _ => return None,
        }
    }
    value = value * i128::from(chunk_base) + i128::from(chunk);
    Some((if is_negative { -value } else { value }, scale))
}

/// What a decimal column can hold.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    modifier: Option<NumericModifier>,
}

impl Target {
    /// Of a column of type `numeric`, with or without precision and scale.
    pub fn new(modifier: Option<NumericModifier>) -> Target {
        Target { modifier }
    }

    fn effective(self) -> NumericModifier {
        self.modifier.unwrap_or(NUMERIC_UNCONSTRAINED)
    }

    /// Brings a number to the column's scale; `None` where that takes more care.
    pub fn rescale(self, value: i128, scale: u32) -> Option<i128> {
        let NumericModifier { precision, scale: target_scale } = self.effective();
        let target_scale = u32::from(target_scale);
        let rescaled = if scale <= target_scale {
            value.checked_mul(10_i128.checked_pow(target_scale - scale)?)?
        } else {
            let beyond = 10_i128.checked_pow(scale - target_scale)?;
            let (kept, cut) = (value / beyond, value % beyond);
            if cut == 0 {
                kept
            } else if self.modifier.is_none() {
                return None;
            } else {
                // Half and more goes away from zero.
                kept + if cut.abs() >= beyond - cut.abs() { value.signum() } else { 0 }
            }
        };
        let fits = usize::from(precision) > I128_DIGITS
            || rescaled.unsigned_abs() < 10_u128.pow(u32::from(precision));
        fits.then_some(rescaled)
    }

    /// Brings any number to units of the column's last digit.
    pub fn units(self, value: &Numeric) -> SqlResult<BigInt> {
        let number = match value {
            Numeric::Finite(number) => number,
            Numeric::NaN => return Err(not_finite("NaN")),
            Numeric::Infinity | Numeric::NegativeInfinity => return Err(not_finite("an infinite value")),
        };
        let NumericModifier { precision, scale } = self.effective();
        let rounded = numeric::round(number, i64::from(scale));
        if self.modifier.is_none() && rounded != *number {
            return Err(unconstrained_overflow());
        }
        let (units, _) = rounded.into_bigint_and_scale();
        if units.magnitude() < BigInt::from(10).pow(u32::from(precision)).magnitude() {
            return Ok(units);
        }
        Err(match self.modifier {
            None => unconstrained_overflow(),
            Some(_) => numeric::precision_overflow(Modifier {
                precision: i32::from(precision),
                scale: i32::from(scale),
            }),
        })
    }
}

/// PostgreSQL's `numeric` columns can hold what is no number, Arrow's cannot.
fn not_finite(what: &str) -> SqlError {
    numeric::field_overflow(format!("A column of type numeric cannot hold {what}."))
}

fn unconstrained_overflow() -> SqlError {
    let NumericModifier { precision, scale } = NUMERIC_UNCONSTRAINED;
    let before = precision - scale;
    numeric::field_overflow(format!(
        "A column of type numeric without precision and scale holds {before} digits before the decimal \
         point and {scale} after it."
    ))
    .with_hint(format!(
        "Round the value, or declare the column as numeric(precision, scale) with a precision of up to \
         {precision}."
    ))
}

/// Brings a number to units of so many digits after the point, rounded if it has more.
pub fn units(value: &Numeric, precision: u8, scale: i8) -> SqlResult<BigInt> {
    let Numeric::Finite(number) = value else {
        return Err(not_finite("what is not a finite number"));
    };
    let rounded = number.with_scale_round(i64::from(scale), bigdecimal::RoundingMode::HalfUp);
    let (units, _) = rounded.into_bigint_and_scale();
    if units.magnitude() < BigInt::from(10).pow(u32::from(precision)).magnitude() {
        return Ok(units);
    }
    Err(numeric::precision_overflow(Modifier { precision: i32::from(precision), scale: i32::from(scale) }))
}

/// An integer of 256 bits; `None` if it has more.
pub fn to_i256(value: &BigInt) -> Option<i256> {
    let bytes = value.to_signed_bytes_le();
    let fill = if value.sign() == bigdecimal::num_bigint::Sign::Minus { 0xff } else { 0 };
    let mut padded = [fill; 32];
    padded.get_mut(..bytes.len())?.copy_from_slice(&bytes);
    Some(i256::from_le_bytes(padded))
}

/// A number of a decimal array.
pub fn numeric_of(value: i256, scale: i8, zeros: TrailingZeros) -> Numeric {
    let units = BigInt::from_signed_bytes_le(&value.to_le_bytes());
    let units_text = match zeros {
        TrailingZeros::Quotient => units.magnitude().to_string(),
        _ => String::new(),
    };
    let number = BigDecimal::new(units, i64::from(scale));
    match zeros {
        TrailingZeros::Quotient if scale >= 0 => {
            let (digits, scale) = quotient_digits(units_text.as_bytes(), usize::from(scale.unsigned_abs()));
            let digits = String::from_utf8_lossy(&digits).parse().unwrap_or_default();
            let magnitude = BigDecimal::new(digits, i64::try_from(scale).unwrap_or(0));
            Numeric::Finite(if value.is_negative() { -magnitude } else { magnitude })
        }
        TrailingZeros::Keep if scale >= 0 => Numeric::Finite(number),
        TrailingZeros::Keep | TrailingZeros::Quotient => Numeric::Finite(number.with_scale(0)),
        TrailingZeros::Trim => {
            let normal = number.normalized();
            let scale = normal.fractional_digit_count().max(0);
            Numeric::Finite(normal.with_scale(scale))
        }
    }
}
