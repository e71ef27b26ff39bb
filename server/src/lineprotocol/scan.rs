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

use crate::ingest::fields::Value;

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

fn plain_value(text: &[u8]) -> Result<Value<'static>, &'static str> {
    let (last, number) = text.split_last().ok_or("missing field value")?;
    match last {
        b'i' => parse_integer(number).map(Value::Integer).ok_or("invalid integer"),
        b'u' if number.first() != Some(&b'-') => {
            parse_integer(number).map(Value::Integer).ok_or("invalid or too large unsigned integer")
        }
        b'0'..=b'9' | b'.' => parse_float(text).map(Value::Float).ok_or("invalid number"),
        _ => match text {
            b"t" | b"T" | b"true" | b"True" | b"TRUE" => Ok(Value::Bool(true)),
            b"f" | b"F" | b"false" | b"False" | b"FALSE" => Ok(Value::Bool(false)),
            _ => Err("invalid field value"),
        },
    }
}

/// A whole number of 64 bits with an optional sign.
fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first()? {
        (b'-', digits) => (true, digits),
        (b'+', digits) => (false, digits),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    // Eighteen digits always fit.
    if digits.len() <= 18 {
        let mut value: i64 = 0;
        for byte in digits {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            value = value * 10 + i64::from(digit);
        }
        return Some(if negative { -value } else { value });
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn parse_float(text: &[u8]) -> Option<f64> {
    // Whole numbers of a few digits are what metrics are mostly made of; they are exact.
    if text.len() <= 15 && text.iter().all(u8::is_ascii_digit) {
        let value = text.iter().fold(0_u64, |value, byte| value * 10 + u64::from(byte - b'0'));
        return Some(value as f64);
    }
    let value: f64 = fast_float2::parse(text).ok()?;
    value.is_finite().then_some(value)
}

/// The bytes with backslashes taken away that stand before one of these.
pub fn unescape(raw: &[u8], escapable: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match bytes.peek() {
            Some(next) if byte == b'\\' && escapable.contains(next) => {
                text.push(*next);
                bytes.next();
            }
            _ => text.push(byte),
        }
    }
    text
}

/// Bytes as text.
///
/// # Errors
/// They are no UTF-8.
pub fn to_text(bytes: Cow<'_, [u8]>) -> Result<Cow<'_, str>, &'static str> {
    const NOT_UTF8: &str = "invalid UTF-8";
    match bytes {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| NOT_UTF8),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| NOT_UTF8),
    }
}

/// A name or value in a series, without its backslashes.
///
/// # Errors
/// It is no UTF-8.
pub fn name(raw: &[u8]) -> Result<Cow<'_, str>, &'static str> {
    if memchr::memchr(b'\\', raw).is_some() {
        to_text(Cow::Owned(unescape(raw, b", =")))
    } else {
        to_text(Cow::Borrowed(raw))
    }
}

/// Measurement and tags, as they are written.
pub type SeriesParts<'a> = (&'a [u8], Vec<(&'a [u8], &'a [u8])>);

/// The measurement and the tags of a series.
///
/// # Errors
/// A tag has no name or no value.
pub fn split_series(series: &[u8]) -> Result<SeriesParts<'_>, &'static str> {
    let end = find_unescaped(series, 0, b',').unwrap_or(series.len());
    let measurement = &series[..end];
    if measurement.is_empty() {
        return Err("missing measurement");
    }
    let mut tags = Vec::new();
    let mut at = end;
    while at < series.len() {
        let start = at + 1;
        at = find_unescaped(series, start, b',').unwrap_or(series.len());
        let tag = &series[start..at];
        let equals = find_unescaped(tag, 0, b'=').ok_or("missing tag value")?;
        let (key, value) = (&tag[..equals], &tag[equals + 1..]);
        if key.is_empty() {
            return Err("missing tag name");
        }
        if value.is_empty() {
            return Err("missing tag value");
        }
        if find_unescaped(value, 0, b'=').is_some() {
            return Err("an equals sign in a tag value needs a backslash");
        }
        tags.push((key, value));
    }
    Ok((measurement, tags))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A line, understood slowly and simply.
    #[derive(Clone, Debug, PartialEq)]
    struct Line {
        measurement: String,
        tags: Vec<(String, String)>,
        fields: Vec<(String, Value<'static>)>,
        timestamp: Option<i64>,
    }

    fn owned(value: Value<'_>) -> Value<'static> {
        match value {
            Value::Float(value) => Value::Float(value),
            Value::Integer(value) => Value::Integer(value),
            Value::Bool(value) => Value::Bool(value),
            Value::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            other => panic!("no value of a line: {other:?}"),
        }
    }

    fn scan(text: &[u8]) -> Result<Vec<Line>, (usize, &'static str)> {
        let mut scanner = Scanner::new(text);
        let mut lines = Vec::new();
        let at = |scanner: &Scanner<'_>| scanner.start_line();
        loop {
            let start = scanner.next_line().map_err(|error| (at(&scanner), error))?;
            let Some(series) = start else { return Ok(lines) };
            let number = scanner.start_line();
            let fail = |error| (number, error);
            let (measurement, tags) = split_series(series).map_err(fail)?;
            let mut line = Line {
                measurement: name(measurement).map_err(fail)?.into_owned(),
                tags: Vec::new(),
                fields: Vec::new(),
                timestamp: None,
            };
            for (key, value) in tags {
                let pair = (name(key).map_err(fail)?.into_owned(), name(value).map_err(fail)?.into_owned());
                line.tags.push(pair);
            }
            loop {
                let key = scanner.field_name().map_err(fail)?;
                let (value, after) = scanner.field_value().map_err(fail)?;
                line.fields.push((name(key).map_err(fail)?.into_owned(), owned(value)));
                if after == After::End {
                    break;
                }
            }
            line.timestamp = scanner.timestamp().map_err(fail)?;
            lines.push(line);
        }
    }

    fn one(text: &str) -> Line {
        let mut lines = scan(text.as_bytes()).unwrap();
        assert_eq!(lines.len(), 1, "{text}");
        lines.remove(0)
    }

    #[test]
    fn every_part_of_the_grammar_is_understood() {
        let line = one("cpu,host=a,region=eu usage=0.5,count=3i,big=4u,up=t,note=\"hi\" 17");
        assert_eq!(line.measurement, "cpu");
        assert_eq!(line.tags, [("host", "a"), ("region", "eu")].map(|(k, v)| (k.into(), v.into())));
        assert_eq!(line.timestamp, Some(17));
        let fields: Vec<Value<'_>> = line.fields.into_iter().map(|(_, value)| value).collect();
        let expected = [
            Value::Float(0.5),
            Value::Integer(3),
            Value::Integer(4),
            Value::Bool(true),
            Value::Text("hi".into()),
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn escapes_and_quotes_keep_what_would_divide() {
        let line = one(r#"my\ cpu\,x,ta\=g=va\ l\,ue f\ \,\=="a, b = \"c\" \\ \n
next" -5"#);
        assert_eq!(line.measurement, "my cpu,x");
        assert_eq!(line.tags, [("ta=g".to_owned(), "va l,ue".to_owned())]);
        let text = "a, b = \"c\" \\ \\n\nnext";
        assert_eq!(line.fields, [("f ,=".to_owned(), Value::Text(text.into()))]);
        assert_eq!(line.timestamp, Some(-5));
    }

    #[test]
    fn lines_without_content_are_skipped_and_counted() {
        let text = "# comment\n\n   \r\na x=1\r\n# b\nc y=2 3";
        let lines = scan(text.as_bytes()).unwrap();
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].timestamp, lines[1].timestamp), (None, Some(3)));
        assert_eq!(scan(b"a x=1\n\nb y=?").unwrap_err().0, 3);
    }

    #[test]
    fn blanks_before_a_line_say_nothing() {
        let lines = scan(b"  # no\n \t a x=1 1\n\t\n\tb x=2 2\n   ").unwrap();
        assert_eq!(lines.iter().map(|line| line.measurement.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_bad_line_is_gone_over_to_its_end() {
        let cases: [(&str, &str, usize); 6] = [
            ("a\nb x=1", "a", 2),
            ("a x=\nb x=1", "a x=", 2),
            ("a x=\"1\n2\",y\nb x=1", "a x=\"1\n2\",y", 3),
            ("a x=\"1\\\"\n2\",y\nb x=1", "a x=\"1\\\"\n2\",y", 3),
            ("a x=\"1\nb x=1", "a x=\"1\nb x=1", 0),
            // Not in the place of a value: no string.
            ("a \"x=z\nb x=1", "a \"x=z", 2),
        ];
        for (text, line, next) in cases {
            let mut scanner = Scanner::new(text.as_bytes());
            let found = scanner.next_line().map(|_| ());
            assert_eq!(scanner.skip_bad_line(), line.as_bytes(), "{text:?} {found:?}");
            assert_eq!(scanner.start_line(), 1);
            let following = scanner.next_line().unwrap();
            assert_eq!(following.map(|_| scanner.start_line()), (next > 0).then_some(next), "{text:?}");
        }
    }

    #[test]
    fn numbers_in_all_forms() {
        for (text, value) in [
            ("1", 1.0),
            ("-1.5", -1.5),
            ("1e3", 1000.0),
            ("1E-2", 0.01),
            ("+2.25", 2.25),
            (".5", 0.5),
            ("5.", 5.0),
            ("123456789012345678", 123_456_789_012_345_680.0),
        ] {
            assert_eq!(one(&format!("m f={text}")).fields[0].1, Value::Float(value), "{text}");
        }
        assert_eq!(one("m f=-9223372036854775808i").fields[0].1, Value::Integer(i64::MIN));
    }

    #[test]
    fn bad_lines_say_what_is_wrong() {
        let cases = [
            ("cpu", "missing fields"),
            ("cpu,host=a\n", "missing fields"),
            (",host=a x=1", "missing measurement"),
            ("cpu,host x=1", "missing tag value"),
            ("cpu,host= x=1", "missing tag value"),
            ("cpu,=a x=1", "missing tag name"),
            ("cpu x", "missing field value"),
            ("cpu x=", "missing field value"),
            ("cpu =1", "missing field name"),
            ("cpu x=1,", "missing field value"),
            ("cpu x=abc", "invalid field value"),
            ("cpu x=1.5i", "invalid integer"),
            ("cpu x=9223372036854775808i", "invalid integer"),
            ("cpu x=-1u", "invalid field value"),
            ("cpu x=NaN", "invalid field value"),
            ("cpu x=1e999", "invalid number"),
            ("cpu x=\"abc", "unterminated string"),
            ("cpu x=\"abc\\", "unterminated string"),
            ("cpu x=\"a\"b", "invalid characters after a string"),
            ("cpu x=1 12a", "invalid timestamp"),
            ("cpu x=1 1 2", "invalid timestamp"),
        ];
        for (text, reason) in cases {
            assert_eq!(scan(text.as_bytes()), Err((1, reason)), "{text}");
        }
        assert_eq!(scan(b"c\xffpu x=1").unwrap_err().1, "invalid UTF-8");
    }

    fn escaped(text: &str, escapable: &str) -> String {
        let escape = |c: char| if escapable.contains(c) { format!("\\{c}") } else { c.to_string() };
        text.chars().map(escape).collect()
    }

    /// Names without backslashes: before the end of a name they would be taken for escapes.
    fn word() -> impl Strategy<Value = String> {
        "[a-zA-Z0-9_ä ,=.]{1,12}"
            .prop_filter("a name does not start with #", |it| !it.starts_with(['#', ' ']))
    }

    fn value() -> impl Strategy<Value = Value<'static>> {
        prop_oneof![
            any::<f64>().prop_filter("finite", |it| it.is_finite()).prop_map(Value::Float),
            any::<i64>().prop_map(Value::Integer),
            any::<bool>().prop_map(Value::Bool),
            "[a-z\"\\\\ ,=\n#ß]{0,20}".prop_map(|text| Value::Text(Cow::Owned(text))),
        ]
    }

    fn write(value: &Value<'_>) -> String {
        match value {
            Value::Float(value) => format!("{value:?}"),
            Value::Integer(value) => format!("{value}i"),
            Value::Bool(value) => value.to_string(),
            Value::Text(text) => format!("\"{}\"", escaped(text, "\"\\")),
            other => panic!("no value of a line: {other:?}"),
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_understood(
            measurement in word(),
            tags in proptest::collection::vec((word(), word()), 0..5),
            fields in proptest::collection::vec((word(), value()), 1..5),
            timestamp in proptest::option::of(any::<i64>()),
        ) {
            let mut text = escaped(&measurement, ", ");
            for (key, value) in &tags {
                text += &format!(",{}={}", escaped(key, ",= "), escaped(value, ",= "));
            }
            let written: Vec<String> = fields.iter()
                .map(|(key, value)| format!("{}={}", escaped(key, ",= "), write(value)))
                .collect();
            text += &format!(" {}", written.join(","));
            if let Some(timestamp) = timestamp {
                text += &format!(" {timestamp}");
            }
            let line = Line { measurement, tags, fields, timestamp };
            prop_assert_eq!(scan(text.as_bytes()), Ok(vec![line.clone(), line]).map(|lines| lines[..1].to_vec()));
        }

        #[test]
        fn any_bytes_are_an_answer_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(scan(&bytes));
        }

        #[test]
        fn bytes_like_lines_are_an_answer_and_never_a_panic(text in "[a,= \"\\\\\n#1itu.-]{0,60}") {
            drop(scan(text.as_bytes()));
        }
    }
}
