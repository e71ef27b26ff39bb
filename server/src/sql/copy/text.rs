//! PostgreSQL's text format: fields between tabs, backslashes before what would be misread.

use bytes::{BufMut, BytesMut};

use crate::error::SqlResult;
use crate::pgtype::text::decode_utf8;
use crate::sql::copy::fields::FieldTable;
use crate::sql::copy::marks::Marks;
use crate::sql::copy::options::CopyFormat;

/// Puts the first `width` fields of a record into the table; how many it has.
///
/// # Errors
/// Escapes make bytes that are no text.
pub(crate) fn split(
    data: &[u8],
    (start, end): (usize, usize),
    format: &CopyFormat,
    width: usize,
    table: &mut FieldTable,
) -> SqlResult<usize> {
    let mut marks = Marks::new(data, start, end, [format.delimiter, b'\\']);
    let (mut at, mut count) = (start, 0);
    loop {
        let mut is_escaped = false;
        let field_end = loop {
            match marks.next() {
                None => break end,
                Some(place) if data[place] == format.delimiter => break place,
                Some(backslash) => {
                    is_escaped = true;
                    marks.skip_to(backslash + 2);
                }
            }
        };
        let field = &data[at..field_end];
        if count < width {
            if field == format.null.as_bytes() {
                table.push_null();
            } else if is_escaped {
                let from = table.unescaped().len();
                unescape(field, table.unescaped())?;
                table.push_unescaped(from);
            } else {
                table.push(at, field_end);
            }
        }
        count += 1;
        if field_end == end {
            return Ok(count);
        }
        at = field_end + 1;
    }
}

/// Adds the field that an escaped one stands for.
fn unescape(field: &[u8], output: &mut Vec<u8>) -> SqlResult<()> {
    let from = output.len();
    let mut may_be_no_text = false;
    let mut rest = field;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        output.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let Some((escape, after)) = rest.split_first() else {
            // A backslash before nothing is nothing.
            break;
        };
        rest = after;
        let byte = match escape {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            b'0'..=b'7' => number(u32::from(escape - b'0'), &mut rest, 8),
            b'x' if rest.first().is_some_and(u8::is_ascii_hexdigit) => number(0, &mut rest, 16),
            other => {
                output.push(*other);
                continue;
            }
        };
        may_be_no_text |= byte == 0 || !byte.is_ascii();
        output.push(byte);
    }
    output.extend_from_slice(rest);
    if may_be_no_text {
        decode_utf8(&output[from..])?;
    }
    Ok(())
}

/// A byte as up to two more digits.
fn number(start: u32, rest: &mut &[u8], base: u32) -> u8 {
    let mut value = start;
    for _ in 0..2 {
        let Some(digit) = rest.first().and_then(|byte| char::from(*byte).to_digit(base)) else { break };
        value = value * base + digit;
        *rest = &rest[1..];
    }
    // As in PostgreSQL, what is beyond a byte is cut off.
    value.to_le_bytes()[0]
}

/// Writes a field.
pub(crate) fn write_value(format: &CopyFormat, value: &[u8], line: &mut BytesMut) {
    let mut rest = value;
    while let Some(at) = rest.iter().position(|byte| is_special(*byte, format.delimiter)) {
        line.put_slice(&rest[..at]);
        let escape = match rest[at] {
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x08 => b'b',
            0x0b => b'v',
            0x0c => b'f',
            other => other,
        };
        line.put_slice(&[b'\\', escape]);
        rest = &rest[at + 1..];
    }
    line.put_slice(rest);
}

/// Whether a field has what would be misread.
pub(crate) fn needs_escapes(format: &CopyFormat, value: &[u8]) -> bool {
    value.iter().any(|byte| is_special(*byte, format.delimiter))
}

fn is_special(byte: u8, delimiter: u8) -> bool {
    matches!(byte, b'\\' | 0x08..=0x0d) || byte == delimiter
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::copy::tests::{fields_of, format_of};

    fn fields(record: &str) -> Vec<Option<String>> {
        fields_of(&format_of("FORMAT text"), record)
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
        assert_eq!(fields("\\303\\244\\xe2\\x82\\xac"), some(&["ä€"]));
        assert_eq!(fields("a\\"), some(&["a"]));
        assert_eq!(fields("\\xg"), some(&["xg"]));
    }

    #[test]
    fn escapes_that_make_no_text_are_an_error() {
        for (record, message) in [
            ("\\377", "invalid byte sequence for encoding \"UTF8\": 0xff"),
            ("a\\0", "invalid byte sequence for encoding \"UTF8\": 0x00"),
        ] {
            let mut table = FieldTable::new(1);
            let bounds = (0, record.len());
            let error =
                split(record.as_bytes(), bounds, &format_of("FORMAT text"), 1, &mut table).unwrap_err();
            assert_eq!(error.message(), message, "{record}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let value = "tab\t newline\n backslash\\ \\N \u{8}\u{b}\u{c}\r ä";
        for options in ["FORMAT text", "FORMAT text, DELIMITER '|'"] {
            let format = format_of(options);
            let mut line = BytesMut::new();
            write_value(&format, value.as_bytes(), &mut line);
            assert_eq!(fields_of(&format, std::str::from_utf8(&line).unwrap()), some(&[value]));
        }
    }
}
