//! `uuid`: 16 bytes.

use bytes::{BufMut, BytesMut};

use super::bytea::{hex_value, write_hex_byte};
use crate::error::{SqlError, SqlResult};

/// Bytes after which the written form has a hyphen.
const GROUP_ENDS: [usize; 4] = [4, 6, 8, 10];

/// Writes a value: 32 digits in five groups.
pub fn write(out: &mut BytesMut, value: &[u8; 16]) {
    for (at, byte) in value.iter().enumerate() {
        if GROUP_ENDS.contains(&at) {
            out.put_u8(b'-');
        }
        write_hex_byte(out, *byte);
    }
}

/// Reads a value: braces may be around it, and hyphens may follow every four digits.
pub fn parse(text: &str) -> SqlResult<[u8; 16]> {
    parse_digits(text.as_bytes()).ok_or_else(|| SqlError::invalid_text("uuid", text))
}

fn parse_digits(text: &[u8]) -> Option<[u8; 16]> {
    let mut rest = match text {
        [b'{', inner @ .., b'}'] => inner,
        [b'{', ..] => return None,
        plain => plain,
    };
    let mut value = [0; 16];
    for (at, byte) in value.iter_mut().enumerate() {
        let [high, low, after @ ..] = rest else {
            return None;
        };
        *byte = hex_value(*high)? << 4 | hex_value(*low)?;
        rest = match after {
            [b'-', next @ ..] if at % 2 == 1 && at < 15 => next,
            next => next,
        };
    }
    rest.is_empty().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_accepted_form_is_read() {
        let written = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        let forms = [
            written,
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}",
            "a0eebc999c0b4ef8bb6d6bb9bd380a11",
            "a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11",
        ];
        for form in forms {
            let mut out = BytesMut::new();
            write(&mut out, &parse(form).unwrap());
            assert_eq!(out, written.as_bytes());
        }
    }

    #[test]
    fn other_forms_are_refused() {
        let forms = [
            "",
            "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a111",
            "a0e-ebc999c0b4ef8bb6d6bb9bd380a11",
            "a0eebc99--9c0b4ef8bb6d6bb9bd380a11",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11-",
            " a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "g0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ];
        for form in forms {
            let message = format!("22P02: invalid input syntax for type uuid: \"{form}\"");
            assert_eq!(parse(form).unwrap_err().to_string(), message);
        }
    }
}
