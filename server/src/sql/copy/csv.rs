//! CSV as PostgreSQL reads and writes it: a field in quotes is never NULL, and may hold newlines.

use bytes::{BufMut, BytesMut};

use crate::error::SqlResult;
use crate::sql::copy::CopyFormat;
use crate::sql::copy::reader::FieldValue;

/// The newline that ends the record at `searched`; one within quotes is data.
pub(crate) fn find_end(
    buffer: &[u8],
    searched: &mut usize,
    quoted: &mut bool,
    format: &CopyFormat,
) -> Option<usize> {
    let (quote, escape) = (format.quote, format.escape);
    loop {
        if !*quoted {
            match memchr::memchr2(b'\n', quote, &buffer[*searched..]) {
                None => break,
                Some(offset) if buffer[*searched + offset] == b'\n' => {
                    *searched += offset;
                    return Some(*searched);
                }
                Some(offset) => {
                    *searched += offset + 1;
                    *quoted = true;
                }
            }
            continue;
        }
        let Some(offset) = memchr::memchr2(quote, escape, &buffer[*searched..]) else { break };
        let at = *searched + offset;
        if buffer[at] == escape && escape != quote {
            if at + 1 >= buffer.len() {
                *searched = at;
                return None;
            }
            *searched = at + 2;
        } else {
            // A doubled quote opens again right after it closed, which comes to the same.
            *quoted = false;
            *searched = at + 1;
        }
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
        let end = memchr::memchr2(format.delimiter, format.quote, rest);
        match end {
            Some(at) if rest[at] == format.quote => {
                let after = unquote(rest, format, scratch);
                put(FieldValue::Bytes(scratch))?;
                match after {
                    Some(at) => rest = &rest[at..],
                    None => return Ok(()),
                }
            }
            Some(at) => {
                put(unquoted(&rest[..at], format))?;
                rest = &rest[at + 1..];
            }
            None => return put(unquoted(rest, format)),
        }
    }
}

fn unquoted<'a>(field: &'a [u8], format: &CopyFormat) -> FieldValue<'a> {
    if field == format.null.as_bytes() { FieldValue::Null } else { FieldValue::Bytes(field) }
}

/// Reads a field with quotes in it; where the next one starts, if there is one.
fn unquote(rest: &[u8], format: &CopyFormat, output: &mut Vec<u8>) -> Option<usize> {
    output.clear();
    let mut quoted = false;
    let mut at = 0;
    while at < rest.len() {
        let byte = rest[at];
        at += 1;
        if !quoted {
            if byte == format.delimiter {
                return Some(at);
            }
            if byte == format.quote {
                quoted = true;
            } else {
                output.push(byte);
            }
            continue;
        }
        let next = rest.get(at).copied();
        let escapes =
            byte == format.escape && next.is_some_and(|it| it == format.quote || it == format.escape);
        if escapes {
            output.extend(next);
            at += 1;
        } else if byte == format.quote {
            quoted = false;
        } else {
            output.push(byte);
        }
    }
    None
}

/// Writes a field, in quotes where it would be misread without.
pub(crate) fn write_value(
    format: &CopyFormat,
    value: &[u8],
    force_quote: bool,
    only_column: bool,
    line: &mut BytesMut,
) {
    let is_special =
        |byte: &u8| *byte == format.delimiter || *byte == format.quote || matches!(byte, b'\n' | b'\r');
    let needs_quotes = force_quote
        || value == format.null.as_bytes()
        || (only_column && value == b"\\.")
        || value.iter().any(is_special);
    if !needs_quotes {
        line.put_slice(value);
        return;
    }
    line.put_u8(format.quote);
    for byte in value {
        if *byte == format.quote || *byte == format.escape {
            line.put_u8(format.escape);
        }
        line.put_u8(*byte);
    }
    line.put_u8(format.quote);
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
        split(record.as_bytes(), &CopyFormat::csv(), &mut Vec::new(), &mut put).unwrap();
        fields
    }

    #[test]
    fn an_empty_field_is_null_and_an_empty_string_is_not() {
        let expected = [Some("a".to_owned()), None, Some(String::new()), None];
        assert_eq!(fields("a,,\"\","), expected);
    }

    #[test]
    fn quotes_hold_delimiters_quotes_and_newlines() {
        let expected: Vec<Option<String>> =
            ["a,b", "say \"x\"", "two\nlines", "mixed"].map(|text| Some(text.to_owned())).into();
        assert_eq!(fields("\"a,b\",\"say \"\"x\"\"\",\"two\nlines\",mi\"xe\"d"), expected);
    }

    #[test]
    fn a_record_ends_outside_quotes_however_it_is_cut() {
        let data = b"a,\"b\n\"\"c\"\nd\n";
        for cut in 0..data.len() {
            let (mut searched, mut quoted) = (0, false);
            let first = find_end(&data[..cut], &mut searched, &mut quoted, &CopyFormat::csv());
            let found = first.or_else(|| find_end(data, &mut searched, &mut quoted, &CopyFormat::csv()));
            assert_eq!(found, Some(9), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for value in ["plain", "a,b", "q\"q", "line\nline", "", "cr\rcr"] {
            let mut line = BytesMut::new();
            write_value(&CopyFormat::csv(), value.as_bytes(), false, false, &mut line);
            assert_eq!(fields(std::str::from_utf8(&line).unwrap()), [Some(value.to_owned())], "{value}");
        }
    }
}
