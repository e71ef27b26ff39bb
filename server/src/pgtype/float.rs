//! `float4` and `float8`.
//!
//! Since version 12 PostgreSQL writes the shortest digits that read back as the same number, and
//! lays them out like C's `%g` with the precision that all numbers of the type have (15 or 6): a
//! point within the digits while the exponent is small, `e+20` otherwise.
//!
//! It asks for more than others do: the digits must read back even with a reader that rounds halves
//! differently. Where the shortest digits lie exactly between two floats (1e23 does), more are
//! written (9.999999999999999e+22).

use bytes::{BufMut, BytesMut};

use super::boolean::is_space;
use crate::error::{SqlError, SqlResult};
use crate::sqlstate;

/// The most digits that tell two doubles apart.
const DIGITS_MAX: usize = 17;

/// What an error names: PostgreSQL is not the same for both types.
enum Named {
    /// The number alone.
    Number,
    /// All of the text.
    Text,
}

/// A finite float of either width, as digits and exponent need it.
trait Binary: Copy {
    /// `%g` writes an exponent from this power of ten on.
    const PRECISION: i32;
    /// The type's name in messages.
    const TYPE_NAME: &'static str;
    /// What is named when a number is out of range.
    const NAMED: Named;
    /// Shortest digits in any layout.
    fn shortest(self, buffer: &mut zmij::Buffer) -> &str;
    /// The number as `mantissa × 2^exponent`.
    fn parts(self) -> (u64, i32);
    /// So many digits, rounded from the exact value: `d.ddde-dd`.
    fn rounded(self, digits: usize) -> String;
    /// Whether the text is read as this number.
    fn reads_back(self, text: &str) -> bool;
}

impl Binary for f64 {
    const PRECISION: i32 = 15;
    const TYPE_NAME: &'static str = "double precision";
    const NAMED: Named = Named::Number;

    fn shortest(self, buffer: &mut zmij::Buffer) -> &str {
        buffer.format_finite(self)
    }

    fn parts(self) -> (u64, i32) {
        let bits = self.to_bits();
        let fraction = bits & ((1 << 52) - 1);
        match ((bits >> 52) & 0x7ff) as i32 {
            0 => (fraction, -1074),
            exponent => (fraction | 1 << 52, exponent - 1075),
        }
    }

    fn rounded(self, digits: usize) -> String {
        format!("{self:.*e}", digits - 1)
    }

    fn reads_back(self, text: &str) -> bool {
        text.parse::<f64>() == Ok(self)
    }
}

impl Binary for f32 {
    const PRECISION: i32 = 6;
    const TYPE_NAME: &'static str = "real";
    const NAMED: Named = Named::Text;

    fn shortest(self, buffer: &mut zmij::Buffer) -> &str {
        buffer.format_finite(self)
    }

    fn parts(self) -> (u64, i32) {
        let bits = self.to_bits();
        let fraction = u64::from(bits & ((1 << 23) - 1));
        match ((bits >> 23) & 0xff) as i32 {
            0 => (fraction, -149),
            exponent => (fraction | 1 << 23, exponent - 150),
        }
    }

    fn rounded(self, digits: usize) -> String {
        format!("{self:.*e}", digits - 1)
    }

    fn reads_back(self, text: &str) -> bool {
        text.parse::<f32>() == Ok(self)
    }
}

/// Decimal digits without leading or trailing zeros: `0.d₁d₂d₃… × 10^(exponent + 1)`.
struct Digits {
    digits: [u8; DIGITS_MAX],
    len: usize,
    /// The power of ten of the first digit.
    exponent: i32,
}

/// Writes a `float8`.
pub fn write_f64(out: &mut BytesMut, value: f64, extra_float_digits: i32) {
    if value.is_finite() {
        write_finite(out, value, value.is_sign_negative(), extra_float_digits);
    } else {
        out.extend_from_slice(non_finite(value.is_nan(), value.is_sign_negative()));
    }
}

/// Writes a `float4`.
pub fn write_f32(out: &mut BytesMut, value: f32, extra_float_digits: i32) {
    if value.is_finite() {
        write_finite(out, value, value.is_sign_negative(), extra_float_digits);
    } else {
        out.extend_from_slice(non_finite(value.is_nan(), value.is_sign_negative()));
    }
}

fn non_finite(is_nan: bool, is_negative: bool) -> &'static [u8] {
    match (is_nan, is_negative) {
        (true, _) => b"NaN",
        (false, true) => b"-Infinity",
        (false, false) => b"Infinity",
    }
}

fn write_finite<F: Binary>(out: &mut BytesMut, value: F, is_negative: bool, extra_float_digits: i32) {
    if is_negative {
        out.put_u8(b'-');
    }
    if value.parts().0 == 0 {
        out.put_u8(b'0');
    } else if extra_float_digits > 0 {
        write_general(out, &shortest_digits(value), F::PRECISION);
    } else {
        let precision = (F::PRECISION + extra_float_digits).max(1);
        let count = usize::try_from(precision).expect("at least 1");
        write_general(out, &digits_of(&value.rounded(count)), precision);
    }
}

fn shortest_digits<F: Binary>(value: F) -> Digits {
    let digits = digits_of(value.shortest(&mut zmij::Buffer::new()));
    if !is_between_floats(&digits, value.parts()) {
        return digits;
    }
    (digits.len + 1..=DIGITS_MAX)
        .map(|count| value.rounded(count))
        .find(|text| value.reads_back(text) && !is_between_floats(&digits_of(text), value.parts()))
        .map_or(digits, |text| digits_of(&text))
}

/// Whether digits are exactly half way from a float to one of its neighbours.
///
/// With `mantissa × 2^exponent` the float, that is `(2 × mantissa ± 1) × 2^(exponent - 1)`: an odd
/// number times a power of two, so it is enough to compare powers of two first and the odd rest then.
fn is_between_floats(digits: &Digits, (mantissa, exponent): (u64, i32)) -> bool {
    let power_of_ten = digits.exponent + 1 - i32::try_from(digits.len).expect("at most 17");
    // Such an odd number has at most 54 bits, and so do digits that are as many as a power of five.
    if !(-2..=23).contains(&power_of_ten) {
        return false;
    }
    let integer =
        digits.digits[..digits.len].iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let twos = i32::try_from(integer.trailing_zeros()).expect("at most 64");
    if twos + power_of_ten != exponent - 1 {
        return false;
    }
    let odd = u128::from(integer >> integer.trailing_zeros());
    let halves = [u128::from(2 * mantissa - 1), u128::from(2 * mantissa + 1)];
    let Some(fives) = 5_u128.checked_pow(power_of_ten.unsigned_abs()) else {
        return false;
    };
    if power_of_ten >= 0 {
        odd.checked_mul(fives).is_some_and(|product| halves.contains(&product))
    } else {
        halves.iter().any(|half| half.checked_mul(fives) == Some(odd))
    }
}

/// Reads the digits of a positive number out of any layout.
fn digits_of(text: &str) -> Digits {
    let (number, power) = match text.split_once(['e', 'E']) {
        Some((number, power)) => (number, power.parse().unwrap_or(0)),
        None => (text, 0),
    };
    let mut read = Digits { digits: [b'0'; DIGITS_MAX], len: 0, exponent: power - 1 };
    let mut is_after_point = false;
    let mut len_with_zeros = 0;
    for byte in number.bytes() {
        match byte {
            b'.' => is_after_point = true,
            b'0' if len_with_zeros == 0 => read.exponent -= i32::from(is_after_point),
            b'0'..=b'9' => {
                if len_with_zeros < DIGITS_MAX {
                    read.digits[len_with_zeros] = byte;
                    if byte != b'0' {
                        read.len = len_with_zeros + 1;
                    }
                }
                len_with_zeros += 1;
                read.exponent += i32::from(!is_after_point);
            }
            _ => {}
        }
    }
    read
}

/// Lays digits out as `%g` does.
fn write_general(out: &mut BytesMut, digits: &Digits, precision: i32) {
    let text = &digits.digits[..digits.len];
    let exponent = digits.exponent;
    if exponent < -4 || exponent >= precision {
        out.put_u8(text[0]);
        if text.len() > 1 {
            out.put_u8(b'.');
            out.extend_from_slice(&text[1..]);
        }
        out.put_u8(b'e');
        out.put_u8(if exponent < 0 { b'-' } else { b'+' });
        if exponent.abs() < 10 {
            out.put_u8(b'0');
        }
        super::integer::write(out, exponent.unsigned_abs());
        return;
    }
    match usize::try_from(exponent) {
        Ok(before_last) => {
            let before = before_last + 1;
            out.extend_from_slice(&text[..before.min(text.len())]);
            out.put_bytes(b'0', before.saturating_sub(text.len()));
            if text.len() > before {
                out.put_u8(b'.');
                out.extend_from_slice(&text[before..]);
            }
        }
        Err(_) => {
            out.extend_from_slice(b"0.");
            out.put_bytes(b'0', exponent.unsigned_abs() as usize - 1);
            out.extend_from_slice(text);
        }
    }
}

/// The most digits that a number of 53 bits surely holds.
const EXACT_DIGITS_F64: usize = 15;

/// The most digits that a number of 24 bits surely holds.
const EXACT_DIGITS_F32: usize = 7;

/// A number of few digits and no exponent: its digits, whether it is negative, and how many of them are
/// after the point. Nearly all numbers are like that.
///
/// Digits and power of ten are both exact as floats then, so their quotient, which is rounded once, is the
/// float nearest to the number.
fn short_decimal(text: &str, digits_max: usize) -> Option<(u64, bool, usize)> {
    let (is_negative, unsigned) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    if unsigned.is_empty() || unsigned.len() > digits_max + 1 {
        return None;
    }
    let (mut value, mut after_point, mut has_point) = (0_u64, 0, false);
    for byte in unsigned {
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            value = value * 10 + u64::from(digit);
            after_point += usize::from(has_point);
        } else if *byte == b'.' && !has_point {
            has_point = true;
        } else {
            return None;
        }
    }
    let digits = unsigned.len() - usize::from(has_point);
    (digits > 0 && digits <= digits_max).then_some((value, is_negative, after_point))
}

/// Reads a `float8`.
pub fn parse_f64(text: &str) -> SqlResult<f64> {
    const POWERS: [f64; EXACT_DIGITS_F64 + 1] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    if let Some((digits, is_negative, after_point)) = short_decimal(text, EXACT_DIGITS_F64) {
        let value = digits as f64 / POWERS[after_point];
        return Ok(if is_negative { -value } else { value });
    }
    let number = text.trim_matches(is_space);
    match number.parse::<f64>() {
        Ok(value) if value.is_normal() || is_as_written(number, value == 0.0, value.is_infinite()) => {
            Ok(value)
        }
        _ => Err(explain::<f64>(text, |number| {
            let value = number.parse::<f64>().ok()?;
            Some((value == 0.0, value.is_infinite()))
        })),
    }
}

/// Reads a `float4`.
pub fn parse_f32(text: &str) -> SqlResult<f32> {
    const POWERS: [f32; EXACT_DIGITS_F32 + 1] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7];
    if let Some((digits, is_negative, after_point)) = short_decimal(text, EXACT_DIGITS_F32) {
        let value = digits as f32 / POWERS[after_point];
        return Ok(if is_negative { -value } else { value });
    }
    let number = text.trim_matches(is_space);
    match number.parse::<f32>() {
        Ok(value) if value.is_normal() || is_as_written(number, value == 0.0, value.is_infinite()) => {
            Ok(value)
        }
        _ => Err(explain::<f32>(text, |number| {
            let value = number.parse::<f32>().ok()?;
            Some((value == 0.0, value.is_infinite()))
        })),
    }
}

/// Whether a zero was written with zeros, and an infinity with a word.
fn is_as_written(number: &str, is_zero: bool, is_infinite: bool) -> bool {
    if is_zero {
        let mantissa = number.split(['e', 'E']).next().unwrap_or("");
        !mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'))
    } else if is_infinite {
        !number.bytes().any(|byte| byte.is_ascii_digit())
    } else {
        true
    }
}

/// A number out of range is told before what follows it.
fn explain<F: Binary>(text: &str, classify: impl Fn(&str) -> Option<(bool, bool)>) -> SqlError {
    let start = text.trim_start_matches(is_space);
    let number = &start[..number_len(start.as_bytes())];
    match classify(number) {
        Some((is_zero, is_infinite)) if !is_as_written(number, is_zero, is_infinite) => {
            let named = match F::NAMED {
                Named::Number => number,
                Named::Text => text,
            };
            let message = format!("\"{named}\" is out of range for type {}", F::TYPE_NAME);
            SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message)
        }
        _ => SqlError::invalid_text(F::TYPE_NAME, text),
    }
}

/// The length of the number that a text begins with.
fn number_len(bytes: &[u8]) -> usize {
    let digits_from = |at: usize| bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    at += digits_from(at);
    if bytes.get(at) == Some(&b'.') {
        at += 1 + digits_from(at + 1);
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        match digits_from((at + 1 + sign).min(bytes.len())) {
            0 => {}
            count => at += 1 + sign + count,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_f64(value: f64, extra_float_digits: i32) -> String {
        let mut out = BytesMut::new();
        write_f64(&mut out, value, extra_float_digits);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn text_f32(value: f32, extra_float_digits: i32) -> String {
        let mut out = BytesMut::new();
        write_f32(&mut out, value, extra_float_digits);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn short_numbers_are_read_as_the_nearest_float() {
        let digits = "90071992547409931";
        for len in 1..digits.len() {
            for point in 0..=len {
                for sign in ["", "-"] {
                    let text = format!("{sign}{}.{}", &digits[..point], &digits[point..len]);
                    assert_eq!(
                        parse_f64(&text).unwrap().to_bits(),
                        text.parse::<f64>().unwrap().to_bits(),
                        "{text}"
                    );
                    assert_eq!(
                        parse_f32(&text).unwrap().to_bits(),
                        text.parse::<f32>().unwrap().to_bits(),
                        "{text}"
                    );
                }
            }
        }
        for text in ["0", "-0", "-0.0", "5", " 5 ", "1e3", "+5", "007", "1.", ".5"] {
            assert_eq!(
                parse_f64(text).unwrap().to_bits(),
                text.trim().parse::<f64>().unwrap().to_bits(),
                "{text}"
            );
        }
        for text in ["", "-", ".", "-.", "1.2.3", "1-2", "x", "1x"] {
            assert!(parse_f64(text).is_err() && parse_f32(text).is_err(), "{text}");
        }
    }

    #[test]
    fn doubles_are_written_as_postgres_writes_them() {
        let cases = [
            (0.0, "0", "0"),
            (-0.0, "-0", "-0"),
            (0.1, "0.1", "0.1"),
            (1e20, "1e+20", "1e+20"),
            (1e-5, "1e-05", "1e-05"),
            (0.0001, "0.0001", "0.0001"),
            (1e15, "1e+15", "1e+15"),
            (1e14, "100000000000000", "100000000000000"),
            (1e23, "9.999999999999999e+22", "1e+23"),
            (5e-324, "5e-324", "4.94065645841247e-324"),
            (f64::MAX, "1.7976931348623157e+308", "1.79769313486232e+308"),
            (1.0 / 3.0, "0.3333333333333333", "0.333333333333333"),
            (123_456_789_012_345.7, "123456789012345.7", "123456789012346"),
            (1_234_567_890_123_456.0, "1.234567890123456e+15", "1.23456789012346e+15"),
            (9_007_199_254_740_993.0, "9.007199254740992e+15", "9.00719925474099e+15"),
            (f64::NAN, "NaN", "NaN"),
            (f64::NEG_INFINITY, "-Infinity", "-Infinity"),
        ];
        for (value, shortest, rounded) in cases {
            assert_eq!(text_f64(value, 1), shortest);
            assert_eq!(text_f64(value, 0), rounded);
        }
        assert_eq!(text_f64(1234.5678, -10), "1234.6");
        assert_eq!(text_f64(1234.5678, -12), "1.23e+03");
        assert_eq!(text_f64(1234.5678, -15), "1e+03");
    }

    #[test]
    fn floats_are_written_as_postgres_writes_them() {
        let cases = [
            (0.1, "0.1", "0.1"),
            (1e6, "1e+06", "1e+06"),
            (999_999.0, "999999", "999999"),
            (16_777_216.0, "1.6777216e+07", "1.67772e+07"),
            (f32::MAX, "3.4028235e+38", "3.40282e+38"),
            (1e-45, "1e-45", "1.4013e-45"),
            (1.0 / 3.0, "0.33333334", "0.333333"),
        ];
        for (value, shortest, rounded) in cases {
            assert_eq!(text_f32(value, 1), shortest);
            assert_eq!(text_f32(value, 0), rounded);
        }
    }

    #[test]
    fn doubles_are_read_as_postgres_reads_them() {
        let cases = [
            (" 5 ", "5"),
            ("+.5e1", "5"),
            ("1.", "1"),
            ("inf", "Infinity"),
            ("-iNFINITY", "-Infinity"),
            ("-nan", "NaN"),
            ("0e400", "0"),
            ("4e-324", "5e-324"),
            ("1e400", "22003: \"1e400\" is out of range for type double precision"),
            (" -1e400x", "22003: \"-1e400\" is out of range for type double precision"),
            ("1e-400", "22003: \"1e-400\" is out of range for type double precision"),
            ("1e 5", "22P02: invalid input syntax for type double precision: \"1e 5\""),
            ("infin", "22P02: invalid input syntax for type double precision: \"infin\""),
            ("", "22P02: invalid input syntax for type double precision: \"\""),
            (".", "22P02: invalid input syntax for type double precision: \".\""),
            ("1,5", "22P02: invalid input syntax for type double precision: \"1,5\""),
        ];
        for (text, expected) in cases {
            let got = parse_f64(text).map_or_else(|error| error.to_string(), |value| text_f64(value, 1));
            assert_eq!(got, expected, "{text:?}");
        }
    }
}
