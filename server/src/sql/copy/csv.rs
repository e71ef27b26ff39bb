//! CSV as PostgreSQL reads and writes it: a field in quotes is never NULL, and may hold newlines.

use bytes::{BufMut, BytesMut};

use crate::error::{SqlError, SqlResult};
use crate::sql::copy::fields::FieldTable;
use crate::sql::copy::lines::Quotes;
use crate::sql::copy::marks::Marks;
use crate::sql::copy::options::CopyFormat;
use crate::sqlstate;

/// The characters around fields.
pub(crate) fn quotes(format: &CopyFormat) -> Quotes {
    let escape = (format.escape != format.quote).then_some(format.escape);
    Quotes { quote: format.quote, escape }
}

/// Puts the first `width` fields of a record into the table; how many it has.
///
/// # Errors
/// It ends within quotes.
pub(crate) fn split(
    data: &[u8],
    (start, end): (usize, usize),
    format: &CopyFormat,
    width: usize,
    table: &mut FieldTable,
) -> SqlResult<usize> {
    let record = &data[..end];
    let null = format.null.as_bytes();
    let mut marks = Marks::new(data, start, end, [format.delimiter, format.quote]);
    let (mut at, mut count) = (start, 0);
    loop {
        let is_wanted = count < width;
        count += 1;
        let field_end = match marks.next() {
            Some(place) if record[place] == format.quote => {
                let field_end = quoted(record, at, place, format, is_wanted.then_some(&mut *table))?;
                marks.skip_to(field_end + 1);
                field_end
            }
            unquoted => {
                let field_end = unquoted.unwrap_or(end);
                if is_wanted && record[at..field_end] == *null {
                    table.push_null();
                } else if is_wanted {
                    table.push(at, field_end);
                }
                field_end
            }
        };
        if field_end == end {
            return Ok(count);
        }
        at = field_end + 1;
    }
}

/// Reads a field that starts at `start` and has its first quote at `quote`; where it ends.
fn quoted(
    record: &[u8],
    start: usize,
    quote: usize,
    format: &CopyFormat,
    table: Option<&mut FieldTable>,
) -> SqlResult<usize> {
    // Nearly always the field is all between one pair of quotes, and nothing in it is escaped.
    if quote == start
        && let Some(offset) = memchr::memchr2(format.quote, format.escape, &record[start + 1..])
    {
        let close = start + 1 + offset;
        let is_end = record.get(close + 1).is_none_or(|byte| *byte == format.delimiter);
        if record[close] == format.quote && is_end {
            if let Some(table) = table {
                table.push(start + 1, close);
            }
            return Ok(close + 1);
        }
    }
    let mut nowhere = FieldTable::new(0);
    let table = table.unwrap_or(&mut nowhere);
    let from = table.unescaped().len();
    let end = unquote(record, start, format, table.unescaped())?;
    table.push_unescaped(from);
    Ok(end)
}

/// Reads a field with quotes anywhere in it; where it ends.
fn unquote(record: &[u8], start: usize, format: &CopyFormat, output: &mut Vec<u8>) -> SqlResult<usize> {
    let mut within = false;
    let mut at = start;
    while let Some(byte) = record.get(at).copied() {
        if !within {
            if byte == format.delimiter {
                return Ok(at);
            }
            if byte == format.quote {
                within = true;
            } else {
                output.push(byte);
            }
            at += 1;
            continue;
        }
        let next = record.get(at + 1).copied();
        let escaped = next.filter(|next| *next == format.quote || *next == format.escape);
        match escaped {
            Some(escaped) if byte == format.escape => {
                output.push(escaped);
                at += 2;
                continue;
            }
            _ if byte == format.quote => within = false,
            _ => output.push(byte),
        }
        at += 1;
    }
    if within {
        let message = "unterminated CSV quoted field";
        return Err(SqlError::new(sqlstate::BAD_COPY_FILE_FORMAT, message));
    }
    Ok(record.len())
}

/// Whether a field would be misread without quotes.
pub(crate) fn needs_quotes(format: &CopyFormat, value: &[u8], force_quote: bool, only_column: bool) -> bool {
    let special =
        |byte: &u8| *byte == format.delimiter || *byte == format.quote || matches!(byte, b'\n' | b'\r');
    force_quote
        || value == format.null.as_bytes()
        || (only_column && value == b"\\.")
        || value.iter().any(special)
}

/// Writes a field, in quotes where it would be misread without.
pub(crate) fn write_value(
    format: &CopyFormat,
    value: &[u8],
    force_quote: bool,
    only_column: bool,
    line: &mut BytesMut,
) {
    if !needs_quotes(format, value, force_quote, only_column) {
        line.put_slice(value);
        return;
    }
    line.put_u8(format.quote);
    let mut rest = value;
    while let Some(at) = memchr::memchr2(format.quote, format.escape, rest) {
        line.put_slice(&rest[..at]);
        line.put_slice(&[format.escape, rest[at]]);
        rest = &rest[at + 1..];
    }
    line.put_slice(rest);
    line.put_u8(format.quote);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::copy::tests::{fields_of, format_of};

    fn fields(record: &str) -> Vec<Option<String>> {
        fields_of(&format_of("FORMAT csv"), record)
    }

    fn some(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|text| Some((*text).to_owned())).collect()
    }

    #[test]
    fn an_empty_field_is_null_and_an_empty_string_is_not() {
        assert_eq!(fields("a,,\"\","), [Some("a".to_owned()), None, Some(String::new()), None]);
        assert_eq!(fields(""), [None]);
    }

    #[test]
    fn quotes_hold_delimiters_quotes_and_newlines() {
        let record = "\"a,b\",\"say \"\"x\"\"\",\"two\nlines\",mi\"xe\"d,\"\"\"\",\"q\"x,\"\"";
        let expected = ["a,b", "say \"x\"", "two\nlines", "mixed", "\"", "qx", ""];
        assert_eq!(fields(record), some(&expected));
    }

    #[test]
    fn an_escape_is_one_only_before_a_quote_or_itself() {
        let format = format_of("FORMAT csv, ESCAPE '\\'");
        let record = r#""a\"b","a\\b","a\nb",a\b"#;
        assert_eq!(fields_of(&format, record), some(&["a\"b", "a\\b", "a\\nb", "a\\b"]));
    }

    #[test]
    fn a_record_that_ends_within_quotes_is_an_error() {
        let mut table = FieldTable::new(1);
        let record = b"a,\"b";
        let error = split(record, (0, record.len()), &format_of("FORMAT csv"), 1, &mut table).unwrap_err();
        assert_eq!(error.message(), "unterminated CSV quoted field");
    }

    #[test]
    fn what_is_written_is_read_back() {
        for options in ["FORMAT csv", "FORMAT csv, ESCAPE '\\'", "FORMAT csv, QUOTE '''', DELIMITER '|'"] {
            let format = format_of(options);
            for value in
                ["plain", "a,b", "a|b", "q\"q", "q'q", "back\\slash", "line\nline", "", "cr\rcr", "\"", "''"]
            {
                let mut line = BytesMut::new();
                write_value(&format, value.as_bytes(), false, false, &mut line);
                let read = fields_of(&format, std::str::from_utf8(&line).unwrap());
                assert_eq!(read, some(&[value]), "{value} as {options}");
            }
        }
    }
}
