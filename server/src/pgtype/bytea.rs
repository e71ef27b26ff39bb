//! `bytea`: bytes, written as hexadecimal digits or as text with escapes.

use bytes::{BufMut, BytesMut};

use super::settings::ByteaOutput;
use crate::error::{SqlError, SqlResult};
use crate::sqlstate;

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Writes bytes.
pub fn write(out: &mut BytesMut, bytes: &[u8], form: ByteaOutput) {
    match form {
        ByteaOutput::Hex => {
            out.reserve(2 + 2 * bytes.len());
            out.extend_from_slice(b"\\x");
            for byte in bytes {
                write_hex_byte(out, *byte);
            }
        }
        ByteaOutput::Escape => bytes.iter().for_each(|byte| write_escaped(out, *byte)),
    }
}

/// Writes two hexadecimal digits.
pub fn write_hex_byte(out: &mut BytesMut, byte: u8) {
    out.extend_from_slice(&[HEX_DIGITS[usize::from(byte >> 4)], HEX_DIGITS[usize::from(byte & 0xf)]]);
}

fn write_escaped(out: &mut BytesMut, byte: u8) {
    match byte {
        b'\\' => out.extend_from_slice(b"\\\\"),
        0x20..=0x7e => out.put_u8(byte),
        _ => {
            let digits = [byte >> 6, byte >> 3 & 7, byte & 7].map(|digit| b'0' + digit);
            out.put_u8(b'\\');
            out.extend_from_slice(&digits);
        }
    }
}

/// The value of a hexadecimal digit.
pub fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Reads bytes in either form.
pub fn parse(text: &str) -> SqlResult<Vec<u8>> {
    match text.strip_prefix("\\x") {
        Some(hex) => parse_hex(hex),
        None => parse_escaped(text.as_bytes()),
    }
}

/// Blanks may stand between bytes.
fn parse_hex(hex: &str) -> SqlResult<Vec<u8>> {
    let digit = |at: usize| {
        hex_value(hex.as_bytes()[at]).ok_or_else(|| {
            let wrong = hex[at..].chars().next().unwrap_or(char::REPLACEMENT_CHARACTER);
            invalid_hex(format!("invalid hexadecimal digit: \"{wrong}\""))
        })
    };
    let mut bytes = Vec::with_capacity(hex.len() / 2);
    let mut at = 0;
    while let Some(byte) = hex.as_bytes().get(at) {
        if matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
            at += 1;
            continue;
        }
        let high = digit(at)?;
        if at + 1 == hex.len() {
            return Err(invalid_hex("invalid hexadecimal data: odd number of digits".to_owned()));
        }
        bytes.push(high << 4 | digit(at + 1)?);
        at += 2;
    }
    Ok(bytes)
}

fn invalid_hex(message: String) -> SqlError {
    SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

/// `\\` is a backslash, `\ooo` any byte in octal digits, and every other byte is itself.
fn parse_escaped(text: &[u8]) -> SqlResult<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'\\', [b'\\', after @ ..]) => {
                bytes.push(b'\\');
                after
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                after
            }
            (b'\\', _) => {
                let message = "invalid input syntax for type bytea";
                return Err(SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, message));
            }
            _ => {
                bytes.push(*first);
                after
            }
        };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read_and_written() {
        let cases: &[(&str, &[u8], &str, &str)] = &[
            ("\\xDEADbeef", &[0xde, 0xad, 0xbe, 0xef], "\\xdeadbeef", "\\336\\255\\276\\357"),
            ("\\x de ad\n", &[0xde, 0xad], "\\xdead", "\\336\\255"),
            ("\\x", &[], "\\x", ""),
            ("", &[], "\\x", ""),
            ("a\\\\b\\000~", b"a\\b\0~", "\\x615c62007e", "a\\\\b\\000~"),
            ("é", &[0xc3, 0xa9], "\\xc3a9", "\\303\\251"),
        ];
        for (text, bytes, hex, escaped) in cases {
            assert_eq!(parse(text).unwrap(), *bytes);
            let written = |form| {
                let mut out = BytesMut::new();
                write(&mut out, bytes, form);
                String::from_utf8(out.to_vec()).unwrap()
            };
            assert_eq!(written(ByteaOutput::Hex), *hex);
            assert_eq!(written(ByteaOutput::Escape), *escaped);
        }
    }

    #[test]
    fn wrong_text_is_refused_as_postgres_does() {
        let cases = [
            ("\\xd", "22023: invalid hexadecimal data: odd number of digits"),
            ("\\xdg", "22023: invalid hexadecimal digit: \"g\""),
            ("\\x1é", "22023: invalid hexadecimal digit: \"é\""),
            ("\\xd d", "22023: invalid hexadecimal digit: \" \""),
            ("\\400", "22P02: invalid input syntax for type bytea"),
            ("\\", "22P02: invalid input syntax for type bytea"),
            ("a\\12", "22P02: invalid input syntax for type bytea"),
        ];
        for (text, message) in cases {
            assert_eq!(parse(text).unwrap_err().to_string(), message);
        }
    }
}
