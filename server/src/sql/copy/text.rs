//! PostgreSQL's text format: fields between tabs, backslashes before what would be misread.

use bytes::{BufMut, BytesMut};

use crate::error::SqlResult;
use crate::sql::copy::CopyFormat;
use crate::sql::copy::reader::FieldValue;

/// The newline that ends the record at `searched`. A newline after a backslash is data.
pub(crate) fn find_end(buffer: &[u8], searched: &mut usize) -> Option<usize> {
    while let Some(offset) = memchr::memchr2(b'\n', b'\\', &buffer[*searched..]) {
        let at = *searched + offset;
        if buffer[at] == b'\n' {
            *searched = at;
            return Some(at);
        }
        if at + 1 == buffer.len() {
            // What the backslash stands before is not there yet.
            *searched = at;
            return None;
        }
        *searched = at + 2;
    }
    *searched = buffer.len();
    None
}

/// Hands over the fields of a record.
pub(crate) fn split(
    record: &[u8],
    format: &CopyFormat,
    scratch: &mut Vec<u8>,
    put: &mut dyn FnMut(FieldValue<'_>) -> SqlResult<()>,
) -> SqlResult<()> {
    let mut rest = record;
    loop {
        let (field, after, escaped) = next_field(rest, format.delimiter);
        if field == format.null.as_bytes() {
            put(FieldValue::Null)?;
        } else if escaped {
            unescape(field, scratch);
            put(FieldValue::Bytes(scratch))?;
        } else {
            put(FieldValue::Bytes(field))?;
        }
        match after {
            Some(after) => rest = after,
            None => return Ok(()),
        }
    }
}

fn next_field(rest: &[u8], delimiter: u8) -> (&[u8], Option<&[u8]>, bool) {
    let mut escaped = false;
    let mut from = 0;
    while let Some(offset) = memchr::memchr2(delimiter, b'\\', &rest[from..]) {
        let at = from + offset;
        if rest[at] == delimiter {
            return (&rest[..at], Some(&rest[at + 1..]), escaped);
        }
        escaped = true;
        from = (at + 2).min(rest.len());
    }
    (rest, None, escaped)
}

fn unescape(field: &[u8], output: &mut Vec<u8>) {
    output.clear();
    let mut bytes = field.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            output.push(byte);
            continue;
        }
        let Some(escape) = bytes.next() else {
            output.push(b'\\');
            break;
        };
        output.push(match escape {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            b'0'..=b'7' => number(u32::from(escape - b'0'), &mut bytes, 8, 2),
            b'x' if bytes.peek().is_some_and(u8::is_ascii_hexdigit) => number(0, &mut bytes, 16, 2),
            other => other,
        });
    }
}

/// A byte as up to so many digits.
fn number(
    start: u32,
    bytes: &mut std::iter::Peekable<impl Iterator<Item = u8>>,
    base: u32,
    digits_max: usize,
) -> u8 {
    let mut value = start;
    for _ in 0..digits_max {
        let Some(digit) = bytes.peek().and_then(|byte| char::from(*byte).to_digit(base)) else { break };
        value = value * base + digit;
        bytes.next();
    }
    // As in PostgreSQL, what is beyond a byte is cut off.
    value.to_le_bytes()[0]
}

/// Writes a field.
pub(crate) fn write_value(format: &CopyFormat, value: &[u8], line: &mut BytesMut) {
    for byte in value {
        match byte {
            b'\\' => line.put_slice(b"\\\\"),
            b'\n' => line.put_slice(b"\\n"),
            b'\r' => line.put_slice(b"\\r"),
            b'\t' => line.put_slice(b"\\t"),
            0x08 => line.put_slice(b"\\b"),
            0x0b => line.put_slice(b"\\v"),
            0x0c => line.put_slice(b"\\f"),
            byte if *byte == format.delimiter => line.put_slice(&[b'\\', *byte]),
            byte => line.put_u8(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(record: &str) -> Vec<Option<String>> {
        let mut fields = Vec::new();
        let mut put = |value: FieldValue<'_>| {
            fields.push(match value {
                FieldValue::Null => None,
                FieldValue::Bytes(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
            });
            Ok(())
        };
        split(record.as_bytes(), &CopyFormat::text(), &mut Vec::new(), &mut put).unwrap();
        fields
    }

    fn some(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|text| Some((*text).to_owned())).collect()
    }

    #[test]
    fn fields_are_split_and_unescaped() {
        assert_eq!(fields("a\tb\t"), some(&["a", "b", ""]));
        assert_eq!(fields("\\N\tx"), [None, Some("x".to_owned())]);
        assert_eq!(fields("a\\tb\\\\\\n\\101\\x41\\q"), some(&["a\tb\\\nAAq"]));
        assert_eq!(fields("a\\\tb"), some(&["a\tb"]));
        assert_eq!(fields("\\\\N"), some(&["\\N"]));
    }

    #[test]
    fn records_end_at_newlines_that_are_not_data() {
        let data = b"a\\\nb\nc";
        let mut searched = 0;
        assert_eq!(find_end(data, &mut searched), Some(4));
        searched = 5;
        assert_eq!(find_end(data, &mut searched), None);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let value = "tab\t newline\n backslash\\ \\N \u{8}\u{b}\u{c}\r ä";
        let mut line = BytesMut::new();
        write_value(&CopyFormat::text(), value.as_bytes(), &mut line);
        assert_eq!(fields(std::str::from_utf8(&line).unwrap()), some(&[value]));
    }
}
