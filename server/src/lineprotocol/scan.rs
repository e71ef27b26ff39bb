//! The grammar of a line, without copying: where its parts are.
//!
//! ```text
//! line         measurement [, tag = value]… ␣ field = value [, field = value]… [␣ timestamp]
//! measurement  any bytes; comma and space after a backslash
//! tag, field   any bytes; comma, equals sign and space after a backslash
//! field value  float | integer i | unsigned u | t, true, f, false … | "string, \" and \\ in it"
//! ```
//!
//! A line ends at a newline that is not within a string. Lines that are empty or start with `#` say
//! nothing.

use std::borrow::Cow;

use self::names::{to_text, unescape};
use self::values::{parse_integer, plain_value};
use crate::ingest::fields::Value;

pub mod names;
mod values;

#[cfg(test)]
mod tests;

/// Reads a request byte by byte.
#[derive(Clone, Copy, Debug)]
pub struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    line: usize,
    /// Where the line begins that is being read, and its number.
    start: usize,
    start_line: usize,
}

/// What follows a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Another field.
    Field,
    /// The timestamp, or the end of the line.
    End,
}

impl<'a> Scanner<'a> {
    /// Reads from the start.
    pub fn new(bytes: &'a [u8]) -> Scanner<'a> {
        Scanner { bytes, at: 0, line: 0, start: 0, start_line: 0 }
    }

    /// Goes to the fields of the next line that says something, and gives its measurement and tags,
    /// as they are written; `None` at the end.
    ///
    /// # Errors
    /// The line has no fields.
    pub fn next_line(&mut self) -> Result<Option<&'a [u8]>, &'static str> {
        loop {
            let Some(first) = self.bytes.get(self.at) else { return Ok(None) };
            self.line += 1;
            self.start = self.at;
            self.start_line = self.line;
            match first {
                b'\n' => self.at += 1,
                b'\r' if self.bytes.get(self.at + 1) == Some(&b'\n') => self.at += 2,
                b'#' => self.skip_line(),
                b' ' | b'\t' => {
                    self.skip_blanks();
                    match self.bytes.get(self.at) {
                        None | Some(b'\n' | b'\r' | b'#') => self.skip_line(),
                        Some(_) => {
                            self.start = self.at;
                            break;
                        }
                    }
                }
                _ => break,
            }
        }
        let start = self.at;
        let end = find_unescaped(self.bytes, start, b' ').unwrap_or(self.bytes.len());
        let newline = memchr::memchr(b'\n', &self.bytes[start..end]).map(|offset| start + offset);
        if newline.is_some() || end == self.bytes.len() {
            return Err("missing fields");
        }
        self.at = end;
        self.skip_spaces();
        Ok(Some(&self.bytes[start..end]))
    }

    /// Goes over the line that is being read, to its end; the line as it is.
    pub fn skip_bad_line(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.start..];
        let end = line_end(rest).unwrap_or(rest.len());
        let line = &rest[..end];
        self.at = self.start + (end + 1).min(rest.len());
        self.line = self.start_line + memchr::memchr_iter(b'\n', line).count();
        line
    }

    /// The number of the line that is being read; of the first, where it goes over several.
    pub fn start_line(&self) -> usize {
        self.start_line
    }

    fn skip_line(&mut self) {
        let rest = &self.bytes[self.at..];
        self.at += memchr::memchr(b'\n', rest).map_or(rest.len(), |offset| offset + 1);
    }

    fn skip_blanks(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    fn skip_spaces(&mut self) {
        while self.bytes.get(self.at) == Some(&b' ') {
            self.at += 1;
        }
    }

    /// The name of the next field, as it is written.
    ///
    /// # Errors
    /// There is none.
    pub fn field_name(&mut self) -> Result<&'a [u8], &'static str> {
        let start = self.at;
        let mut at = start;
        while let Some(byte) = self.bytes.get(at) {
            match byte {
                b'=' => break,
                b'\\' => at += 1,
                b' ' | b',' | b'\n' => return Err("missing field value"),
                _ => {}
            }
            at += 1;
        }
        if at >= self.bytes.len() {
            return Err("missing field value");
        }
        if at == start {
            return Err("missing field name");
        }
        self.at = at + 1;
        Ok(&self.bytes[start..at])
    }

    /// The value of the field whose name was read, and what follows it.
    ///
    /// # Errors
    /// It is no value.
    pub fn field_value(&mut self) -> Result<(Value<'a>, After), &'static str> {
        if self.bytes.get(self.at) == Some(&b'"') {
            let value = self.string()?;
            let after = self.after_value()?;
            return Ok((value, after));
        }
        let start = self.at;
        let rest = &self.bytes[start..];
        let len =
            rest.iter().position(|byte| matches!(byte, b',' | b' ' | b'\n' | b'\r')).unwrap_or(rest.len());
        let value = plain_value(&rest[..len])?;
        self.at = start + len;
        let after = self.after_value()?;
        Ok((value, after))
    }

    fn after_value(&mut self) -> Result<After, &'static str> {
        match self.bytes.get(self.at) {
            Some(b',') => {
                self.at += 1;
                Ok(After::Field)
            }
            None | Some(b' ' | b'\n' | b'\r') => Ok(After::End),
            Some(_) => Err("invalid characters after a string"),
        }
    }

    fn string(&mut self) -> Result<Value<'a>, &'static str> {
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            let offset = memchr::memchr2(b'"', b'\\', &self.bytes[at..]).ok_or("unterminated string")?;
            at += offset;
            if self.bytes[at] == b'"' {
                break;
            }
            escaped |= matches!(self.bytes.get(at + 1), Some(b'"' | b'\\'));
            at += 2;
            if at > self.bytes.len() {
                return Err("unterminated string");
            }
        }
        let raw = &self.bytes[start..at];
        self.at = at + 1;
        // Newlines within are part of the value, and still count as lines.
        self.line += memchr::memchr_iter(b'\n', raw).count();
        let text = if escaped { Cow::Owned(unescape(raw, b"\"\\")) } else { Cow::Borrowed(raw) };
        Ok(Value::Text(to_text(text)?))
    }

    /// The timestamp, if the line has one; the scanner stands at the next line then.
    ///
    /// # Errors
    /// What stands there is none.
    pub fn timestamp(&mut self) -> Result<Option<i64>, &'static str> {
        self.skip_spaces();
        let rest = &self.bytes[self.at..];
        let len = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let text = rest[..len].trim_ascii();
        self.at += (len + 1).min(rest.len());
        if text.is_empty() {
            return Ok(None);
        }
        parse_integer(text).map(Some).ok_or("invalid timestamp")
    }
}

/// Where the line at the start of these bytes ends, right or wrong as it may be: at its newline, or
/// `None` where it has none. A newline in a string of a field is none.
pub fn line_end(bytes: &[u8]) -> Option<usize> {
    let (mut in_fields, mut in_string) = (false, false);
    // A string begins after an equals sign, not in the middle of a name.
    let (mut equals, mut commas) = (0_usize, 0_usize);
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'\n' if !in_string => return Some(at),
            b' ' => in_fields = true,
            b'"' if in_fields && equals > commas => in_string = !in_string,
            b'=' if in_fields && !in_string => equals += 1,
            b',' if in_fields && !in_string => commas += 1,
            _ => {}
        }
        at += 1;
    }
    None
}

/// Where a byte is that no backslash stands before.
fn find_unescaped(bytes: &[u8], start: usize, wanted: u8) -> Option<usize> {
    let mut from = start;
    loop {
        let at = from + memchr::memchr(wanted, &bytes[from..])?;
        if at == start || bytes[at - 1] != b'\\' {
            return Some(at);
        }
        from = at + 1;
    }
}
