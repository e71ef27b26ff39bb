//! `int2`, `int4`, `int8` and `oid`.

use bytes::BytesMut;

use super::boolean::{is_space, is_space_byte};
use crate::error::{SqlError, SqlResult};

/// Writes an integer of any width.
pub fn write(out: &mut BytesMut, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// What is wrong with the text of an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Syntax,
    Range,
}

/// Reads digits with an optional sign between blanks. A number that is too large is out of range
/// even where no number follows: that is found first.
fn parse_between(bytes: &[u8], min: i64, max: i64) -> Result<i64, Fault> {
    let start = bytes.iter().position(|byte| !is_space_byte(*byte)).unwrap_or(bytes.len());
    let (is_negative, digits) = match &bytes[start..] {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let mut value: i64 = 0;
    let mut used = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        // Counted downwards, because there is one more negative number than there are positive.
        value = value
            .checked_mul(10)
            .and_then(|value| value.checked_sub(i64::from(digit)))
            .filter(|value| *value >= min)
            .ok_or(Fault::Range)?;
        used += 1;
    }
    if used == 0 || !digits[used..].iter().all(|byte| is_space_byte(*byte)) {
        return Err(Fault::Syntax);
    }
    match is_negative {
        true => Ok(value),
        false => value.checked_neg().filter(|value| *value <= max).ok_or(Fault::Range),
    }
}

fn sql_error(fault: Fault, type_name: &str, text: &str) -> SqlError {
    match fault {
        Fault::Syntax => SqlError::invalid_text(type_name, text),
        Fault::Range => SqlError::out_of_range(type_name, text),
    }
}

/// Reads an `int2`.
pub fn parse_i16(text: &str) -> SqlResult<i16> {
    parse_between(text.as_bytes(), i64::from(i16::MIN), i64::from(i16::MAX))
        .and_then(|value| i16::try_from(value).map_err(|_| Fault::Range))
        .map_err(|fault| sql_error(fault, "smallint", text))
}

/// Reads an `int4`.
pub fn parse_i32(text: &str) -> SqlResult<i32> {
    parse_between(text.as_bytes(), i64::from(i32::MIN), i64::from(i32::MAX))
        .and_then(|value| i32::try_from(value).map_err(|_| Fault::Range))
        .map_err(|fault| sql_error(fault, "integer", text))
}

/// Reads an `int8`.
pub fn parse_i64(text: &str) -> SqlResult<i64> {
    parse_between(text.as_bytes(), i64::MIN, i64::MAX).map_err(|fault| sql_error(fault, "bigint", text))
}

/// Reads an `oid`: unsigned, but a negative number of 32 bits is the same bits. What 64 bits cannot
/// hold is out of range even where no number follows.
pub fn parse_oid(text: &str) -> SqlResult<u32> {
    let trimmed = text.trim_start_matches(is_space);
    let (is_negative, number) = match trimmed.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let count = number.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = number.split_at(count);
    let magnitude = digits
        .iter()
        .try_fold(0_u64, |value, digit| value.checked_mul(10)?.checked_add(u64::from(digit - b'0')));
    let out_of_range = || sql_error(Fault::Range, "oid", text);
    if count == 0 {
        return Err(sql_error(Fault::Syntax, "oid", text));
    }
    let magnitude = magnitude.ok_or_else(out_of_range)?;
    if !rest.iter().all(|byte| is_space_byte(*byte)) {
        return Err(sql_error(Fault::Syntax, "oid", text));
    }
    let bits = if is_negative { magnitude.wrapping_neg() } else { magnitude };
    let signed = i32::try_from(bits.cast_signed()).map(i32::cast_unsigned);
    signed.or_else(|_| u32::try_from(bits)).map_err(|_| out_of_range())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: std::fmt::Display>(parse: fn(&str) -> SqlResult<T>, cases: &[(&str, &str)]) {
        for (text, expected) in cases {
            let got = parse(text).map_or_else(|error| error.to_string(), |value| value.to_string());
            assert_eq!(got, *expected, "{text:?}");
        }
    }

    #[test]
    fn int2_is_read_as_postgres_reads_it() {
        check(
            parse_i16,
            &[
                ("0", "0"),
                (" +12\n", "12"),
                ("-32768", "-32768"),
                ("32767", "32767"),
                ("32768", "22003: value \"32768\" is out of range for type smallint"),
                ("-32769", "22003: value \"-32769\" is out of range for type smallint"),
                ("99999x", "22003: value \"99999x\" is out of range for type smallint"),
                ("1x", "22P02: invalid input syntax for type smallint: \"1x\""),
            ],
        );
    }

    #[test]
    fn int4_is_read_as_postgres_reads_it() {
        check(
            parse_i32,
            &[
                ("-0", "0"),
                ("0000000000000000000000012", "12"),
                ("2147483647", "2147483647"),
                ("-2147483648", "-2147483648"),
                ("2147483648", "22003: value \"2147483648\" is out of range for type integer"),
                ("", "22P02: invalid input syntax for type integer: \"\""),
                ("-", "22P02: invalid input syntax for type integer: \"-\""),
                ("- 1", "22P02: invalid input syntax for type integer: \"- 1\""),
                ("1 2", "22P02: invalid input syntax for type integer: \"1 2\""),
                ("1.0", "22P02: invalid input syntax for type integer: \"1.0\""),
            ],
        );
    }

    #[test]
    fn int8_and_oid_are_read_as_postgres_reads_them() {
        check(
            parse_i64,
            &[
                ("-9223372036854775808", "-9223372036854775808"),
                ("9223372036854775807", "9223372036854775807"),
                (
                    "9223372036854775808",
                    "22003: value \"9223372036854775808\" is out of range for type bigint",
                ),
                ("a", "22P02: invalid input syntax for type bigint: \"a\""),
            ],
        );
        check(
            parse_oid,
            &[
                ("4294967295", "4294967295"),
                ("-1", "4294967295"),
                ("4294967296", "22003: value \"4294967296\" is out of range for type oid"),
                ("x", "22P02: invalid input syntax for type oid: \"x\""),
            ],
        );
    }
}
