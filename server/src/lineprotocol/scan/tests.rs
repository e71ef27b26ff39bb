//! Lines of every form, understood slowly and simply, and bytes that are none.

use std::borrow::Cow;

use proptest::prelude::*;

use super::names::{name, split_series};
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
    "[a-zA-Z0-9_ä ,=.]{1,12}".prop_filter("a name does not start with #", |it| !it.starts_with(['#', ' ']))
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
