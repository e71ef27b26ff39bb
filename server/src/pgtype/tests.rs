//! Values against what PostgreSQL 15 answers for them, and against each other.
//!
//! The tables were written by PostgreSQL 15.18: each case is a text, and what its type's input, output
//! and send functions make of it, or the error they raise.

mod array;
mod binary;
mod date;
mod interval;
mod json;
mod numeric;
mod string;
mod timestamp;
mod types;

use bytes::BytesMut;

use super::PgType;
use super::binary::{parse_binary, write_binary};
use super::settings::{ByteaOutput, DateStyle, FormatSettings, IntervalStyle};
use super::text::{parse_text, write_text};
use super::timezone::TimeZone;
use crate::error::SqlError;

/// The text and the binary form of a value, or the lines of an error.
type Answer<'a> = Result<(&'a str, &'a str), &'a str>;

/// 2024-01-05 12:34:56.123456 UTC
const NOW_US: i64 = 1_704_458_096_123_456;

/// The settings that a session starts with, and then some others.
fn settings(changes: &[(&str, &str)]) -> FormatSettings {
    let mut settings = FormatSettings::initial(TimeZone::utc(), NOW_US);
    for (name, value) in changes {
        match *name {
            "tz" => settings.time_zone = TimeZone::from_setting(value).unwrap(),
            "is" => settings.interval_style = IntervalStyle::from_setting(value).unwrap(),
            "bo" => settings.bytea_output = ByteaOutput::from_setting(value).unwrap(),
            "ds" => settings.date_style = DateStyle::from_setting(value, settings.date_style).unwrap(),
            other => panic!("there is no setting {other}"),
        }
    }
    settings
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// All that a client is told.
fn lines(error: &SqlError) -> String {
    let fields = error.fields();
    let more = [("DETAIL", &fields.detail), ("HINT", &fields.hint), ("CONTEXT", &fields.context)];
    let more = more.iter().filter_map(|(name, text)| Some(format!("\n{name}: {}", text.as_ref()?)));
    std::iter::once(error.to_string()).chain(more).collect()
}

/// Texts are read as the table says, and values that were read are written and sent as it says.
fn check(pg_type: &PgType, typmod: i32, changes: &[(&str, &str)], cases: &[(&str, Answer<'_>)]) {
    let settings = settings(changes);
    for (text, expected) in cases {
        let datum = parse_text(text, pg_type, typmod, &settings);
        let answer = datum.map(|datum| {
            let (mut written, mut sent) = (BytesMut::new(), BytesMut::new());
            write_text(&mut written, &datum, pg_type, &settings);
            write_binary(&mut sent, &datum, pg_type).unwrap();
            (String::from_utf8(written.to_vec()).unwrap(), hex(&sent))
        });
        let answer = answer.as_ref().map(|(written, sent)| (written.as_str(), sent.as_str()));
        let answer = answer.map_err(lines);
        let answer = answer.as_ref().map(|pair| *pair).map_err(String::as_str);
        assert_eq!(answer, *expected, "{text:?} as {pg_type} with {typmod} and {changes:?}");
        if let Ok((_, sent)) = expected {
            check_received(pg_type, changes, sent);
        }
    }
}

/// What was sent is received as the same value.
fn check_received(pg_type: &PgType, changes: &[(&str, &str)], sent: &str) {
    let received = parse_binary(&unhex(sent), pg_type, -1)
        .unwrap_or_else(|error| panic!("{sent} as {pg_type} with {changes:?}: {error}"));
    let mut sent_again = BytesMut::new();
    write_binary(&mut sent_again, &received, pg_type).unwrap();
    assert_eq!(hex(&sent_again), sent, "as {pg_type}");
}
