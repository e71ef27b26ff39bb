//! `numeric`: decimal numbers of any length, with the number of digits after the point they show.
//!
//! PostgreSQL keeps with each number how many digits after the point are to be shown: `1.50` is not
//! `1.5`. Here that is the scale of the [`BigDecimal`], which is never negative.

pub mod convert;
pub mod wire;

use std::cmp::Ordering;

use bigdecimal::num_bigint::{BigInt, Sign};
use bigdecimal::{BigDecimal, RoundingMode, Zero};
use bytes::BytesMut;

use super::boolean::{is_space, is_space_byte};
use super::decimal::{self, TrailingZeros};
use super::types::{NO_TYPMOD, TYPMOD_HEADER};
use crate::error::{SqlError, SqlResult};
use crate::sqlstate;

/// The most digits after the point.
const SCALE_MAX: i64 = 16_383;

/// The greatest power of ten that a digit can stand for.
const POWER_MAX: i64 = 131_071;

/// Exponents beyond this are refused unseen.
const EXPONENT_MAX: i64 = (i32::MAX / 2) as i64;

/// Rounding to a type modifier keeps at most this many digits after the point, so that a number which
/// begins further behind is zero.
const VANISHING_SCALE: i64 = 20_000;

/// A number of type `numeric`.
#[derive(Clone, Debug, PartialEq)]
pub enum Numeric {
    /// Below all other numbers.
    NegativeInfinity,
    /// A number; its scale is how many digits after the point are shown.
    Finite(BigDecimal),
    /// Above all other numbers.
    Infinity,
    /// Not a number; equal to itself and above all else.
    NaN,
}

/// Precision and scale of `numeric(p, s)`. The scale can be negative or exceed the precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modifier {
    /// Digits in all.
    pub precision: i32,
    /// Digits after the point.
    pub scale: i32,
}

impl Modifier {
    /// What a type modifier says.
    pub fn from_typmod(typmod: i32) -> Option<Modifier> {
        if typmod < TYPMOD_HEADER {
            return None;
        }
        let packed = typmod - TYPMOD_HEADER;
        Some(Modifier { precision: (packed >> 16) & 0xffff, scale: ((packed & 0x7ff) ^ 1024) - 1024 })
    }
}

impl From<i64> for Numeric {
    fn from(value: i64) -> Numeric {
        Numeric::Finite(BigDecimal::from(value))
    }
}

impl Numeric {
    /// A number that is stored as an integer of so many units of the last digit.
    pub fn from_scaled(units: BigInt, scale: i64) -> Numeric {
        let value = BigDecimal::new(units, scale);
        Numeric::Finite(if scale < 0 { value.with_scale(0) } else { value })
    }

    /// Zero with so many digits after the point.
    fn zero(scale: i64) -> Numeric {
        Numeric::from_scaled(BigInt::zero(), scale.max(0))
    }

    /// Reads a number.
    pub fn parse(text: &str, typmod: i32) -> SqlResult<Numeric> {
        let start = text.trim_start_matches(is_space);
        if let Some((special, rest)) = parse_special(start) {
            if !rest.chars().all(is_space) {
                return Err(SqlError::invalid_text("numeric", text));
            }
            return special.constrain(typmod);
        }
        let literal = Literal::parse(start.as_bytes(), text)?;
        if !literal.rest.iter().all(|byte| is_space_byte(*byte)) {
            return Err(SqlError::invalid_text("numeric", text));
        }
        literal.evaluate(typmod)
    }

    /// Rounds to the digits of a `numeric(p, s)`, or says that they do not suffice.
    pub fn constrain(self, typmod: i32) -> SqlResult<Numeric> {
        let Some(modifier) = Modifier::from_typmod(typmod) else {
            return Ok(self);
        };
        match self {
            Numeric::NaN => Ok(Numeric::NaN),
            Numeric::Infinity | Numeric::NegativeInfinity => {
                let Modifier { precision, scale } = modifier;
                Err(field_overflow(format!(
                    "A field with precision {precision}, scale {scale} cannot hold an infinite value."
                )))
            }
            Numeric::Finite(value) => {
                let rounded = round(&value, i64::from(modifier.scale));
                if digits_before_point(&rounded) > i64::from(modifier.precision - modifier.scale) {
                    return Err(precision_overflow(modifier));
                }
                Ok(Numeric::Finite(rounded))
            }
        }
    }

    /// Writes a number with all digits that it shows.
    pub fn write(&self, out: &mut BytesMut) {
        match self {
            Numeric::NaN => out.extend_from_slice(b"NaN"),
            Numeric::Infinity => out.extend_from_slice(b"Infinity"),
            Numeric::NegativeInfinity => out.extend_from_slice(b"-Infinity"),
            Numeric::Finite(value) => {
                let (units, scale) = value.as_bigint_and_scale();
                let digits = units.magnitude().to_string();
                let scale = usize::try_from(scale).expect("a numeric's scale is not negative");
                let is_negative = units.sign() == Sign::Minus;
                decimal::write_digits(out, is_negative, digits.as_bytes(), scale, TrailingZeros::Keep);
            }
        }
    }

    /// The order of PostgreSQL: infinities outside, NaN above all and equal to itself.
    pub fn compare(&self, other: &Numeric) -> Ordering {
        match (self, other) {
            (Numeric::Finite(left), Numeric::Finite(right)) => left.cmp(right),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Numeric::NegativeInfinity => 0,
            Numeric::Finite(_) => 1,
            Numeric::Infinity => 2,
            Numeric::NaN => 3,
        }
    }
}

/// Writes the number as PostgreSQL does.
impl std::fmt::Display for Numeric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = BytesMut::new();
        self.write(&mut out);
        f.write_str(&String::from_utf8_lossy(&out))
    }
}

/// Rounds half away from zero; the result has the scale, or none if that is negative.
pub fn round(value: &BigDecimal, scale: i64) -> BigDecimal {
    let rounded = value.with_scale_round(scale, RoundingMode::HalfUp);
    if scale < 0 { rounded.with_scale(0) } else { rounded }
}

/// How many digits a number has before its point: 0 for 0.5, less for 0.05.
fn digits_before_point(value: &BigDecimal) -> i64 {
    if value.is_zero() {
        return i64::MIN;
    }
    let (_, scale) = value.as_bigint_and_scale();
    i64::try_from(value.digits()).expect("fewer digits than bytes") - scale
}

/// Tells that a number has too many digits before its point for its type.
pub fn precision_overflow(Modifier { precision, scale }: Modifier) -> SqlError {
    let limit = match precision - scale {
        0 => "1".to_owned(),
        digits => format!("10^{digits}"),
    };
    field_overflow(format!(
        "A field with precision {precision}, scale {scale} must round to an absolute value less than {limit}."
    ))
}

/// Tells that a number does not fit its type.
pub fn field_overflow(detail: String) -> SqlError {
    SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow").with_detail(detail)
}

fn format_overflow() -> SqlError {
    SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
}

/// A word for a number that is none, and what follows it.
fn parse_special(text: &str) -> Option<(Numeric, &str)> {
    let words = [
        ("nan", Numeric::NaN),
        ("infinity", Numeric::Infinity),
        ("+infinity", Numeric::Infinity),
        ("-infinity", Numeric::NegativeInfinity),
        ("inf", Numeric::Infinity),
        ("+inf", Numeric::Infinity),
        ("-inf", Numeric::NegativeInfinity),
    ];
    words.into_iter().find_map(|(word, special)| {
        let start = text.get(..word.len())?;
        start.eq_ignore_ascii_case(word).then(|| (special, &text[word.len()..]))
    })
}

/// A number as it is written: `digits × 10^-scale`.
struct Literal<'a> {
    is_negative: bool,
    /// Without leading zeros and point.
    digits: Vec<u8>,
    scale: i64,
    rest: &'a [u8],
}

impl<'a> Literal<'a> {
    fn parse(bytes: &'a [u8], text: &str) -> SqlResult<Literal<'a>> {
        let invalid = || SqlError::invalid_text("numeric", text);
        let (is_negative, number) = match bytes {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let first_digit = usize::from(number.first() == Some(&b'.'));
        if !number.get(first_digit).is_some_and(u8::is_ascii_digit) {
            return Err(invalid());
        }
        let mut digits = Vec::with_capacity(number.len());
        let (mut scale, mut has_point, mut used) = (0, false, 0);
        for byte in number {
            match byte {
                b'0'..=b'9' => {
                    if *byte != b'0' || !digits.is_empty() {
                        digits.push(*byte);
                    }
                    scale += i64::from(has_point);
                }
                b'.' if has_point => return Err(invalid()),
                b'.' => has_point = true,
                _ => break,
            }
            used += 1;
        }
        let mut rest = &number[used..];
        if let [b'e' | b'E', power @ ..] = rest {
            let (exponent, after) = parse_exponent(power).ok_or_else(invalid)?;
            if exponent.abs() >= EXPONENT_MAX {
                return Err(format_overflow());
            }
            scale -= exponent;
            rest = after;
        }
        Ok(Literal { is_negative, digits, scale, rest })
    }

    fn evaluate(&self, typmod: i32) -> SqlResult<Numeric> {
        let is_constrained = typmod != NO_TYPMOD;
        let digit_count = i64::try_from(self.digits.len()).expect("fewer digits than bytes");
        let shown = self.scale.max(0);
        if self.digits.is_empty() || (is_constrained && self.scale - digit_count > VANISHING_SCALE) {
            if !is_constrained && shown > SCALE_MAX {
                return Err(format_overflow());
            }
            return Numeric::zero(shown.min(SCALE_MAX)).constrain(typmod);
        }
        if digit_count - self.scale > POWER_MAX + 1 {
            return Err(match Modifier::from_typmod(typmod) {
                Some(modifier) => precision_overflow(modifier),
                None => format_overflow(),
            });
        }
        if !is_constrained && shown > SCALE_MAX {
            return Err(format_overflow());
        }
        Numeric::from_scaled(self.units(), self.scale).constrain(typmod)
    }

    fn units(&self) -> BigInt {
        let text = std::str::from_utf8(&self.digits).expect("digits are ASCII");
        let magnitude = match text.parse::<u64>() {
            Ok(small) => BigInt::from(small),
            Err(_) => BigInt::parse_bytes(&self.digits, 10).expect("there are only digits"),
        };
        if self.is_negative { -magnitude } else { magnitude }
    }
}

/// Reads an exponent as C's `strtol` does: blanks and a sign may precede it, and it saturates.
fn parse_exponent(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let start = bytes.iter().position(|byte| !is_space_byte(*byte))?;
    let (sign, number) = match &bytes[start..] {
        [b'-', rest @ ..] => (-1, rest),
        [b'+', rest @ ..] => (1, rest),
        rest => (1, rest),
    };
    let count = number.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let value = number[..count]
        .iter()
        .fold(0_i64, |value, byte| value.saturating_mul(10).saturating_add(i64::from(byte - b'0')));
    Some((sign * value, &number[count..]))
}
