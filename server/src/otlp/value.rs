//! Values and attributes: from messages to texts, without anything in between.
//!
//! As JSON they are in the normal form of `jsonb`. A number that JSON cannot say is a text; bytes are
//! in base64.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::pgtype::jsonb::{normalise, write_string};
use crate::protobuf::{Field, fields, repeated};

/// Values within values, at most.
const DEPTH_MAX: usize = 32;

/// The tags of fields in messages.
mod tag {
    pub(super) const KEY: u32 = 1;
    pub(super) const VALUE: u32 = 2;
    pub(super) const STRING: u32 = 1;
    pub(super) const BOOL: u32 = 2;
    pub(super) const INT: u32 = 3;
    pub(super) const DOUBLE: u32 = 4;
    pub(super) const ARRAY: u32 = 5;
    pub(super) const KEY_VALUES: u32 = 6;
    pub(super) const BYTES: u32 = 7;
    pub(super) const VALUES: u32 = 1;
}

/// A value, where it lies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum AnyValue<'a> {
    Nothing,
    String(&'a str),
    Bool(bool),
    Int(i64),
    Double(f64),
    Array(&'a [u8]),
    KeyValues(&'a [u8]),
    Bytes(&'a [u8]),
}

impl<'a> AnyValue<'a> {
    fn read(message: &'a [u8]) -> Result<AnyValue<'a>, String> {
        let mut value = AnyValue::Nothing;
        for field in fields(message) {
            value = match field.map_err(|error| error.to_string())? {
                (tag::STRING, Field::Bytes(bytes)) => AnyValue::String(text(bytes)?),
                (tag::BOOL, Field::Varint(number)) => AnyValue::Bool(number != 0),
                (tag::INT, Field::Varint(number)) => AnyValue::Int(number.cast_signed()),
                (tag::DOUBLE, Field::Fixed64(bits)) => AnyValue::Double(f64::from_bits(bits)),
                (tag::ARRAY, Field::Bytes(bytes)) => AnyValue::Array(bytes),
                (tag::KEY_VALUES, Field::Bytes(bytes)) => AnyValue::KeyValues(bytes),
                (tag::BYTES, Field::Bytes(bytes)) => AnyValue::Bytes(bytes),
                _ => continue,
            };
        }
        Ok(value)
    }

    fn write_json(self, out: &mut String, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("a value has more than {DEPTH_MAX} levels"));
        }
        match self {
            AnyValue::Nothing => out.push_str("null"),
            AnyValue::String(text) => write_string(out, text),
            AnyValue::Bytes(bytes) => write_string(out, &BASE64.encode(bytes)),
            AnyValue::Double(value) if !value.is_finite() => write_string(out, &shown(value)),
            AnyValue::Double(value) => out.push_str(&shown(value)),
            AnyValue::Bool(value) => write!(out, "{value}").expect("a string takes all"),
            AnyValue::Int(value) => write!(out, "{value}").expect("a string takes all"),
            AnyValue::Array(list) => {
                out.push('[');
                for (at, value) in repeated(list, tag::VALUES).enumerate() {
                    let value = value.map_err(|error| error.to_string())?;
                    out.push_str(if at == 0 { "" } else { "," });
                    AnyValue::read(value)?.write_json(out, depth + 1)?;
                }
                out.push(']');
            }
            AnyValue::KeyValues(list) => write_object(out, list, tag::VALUES, depth)?,
        }
        Ok(())
    }
}

/// A number as JSON has it; infinities and NaN as protobuf's JSON does.
fn shown(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".to_owned(),
        value if value.is_infinite() => if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        value => {
            let shortest = format!("{value:?}");
            shortest.strip_suffix(".0").map(str::to_owned).unwrap_or(shortest)
        }
    }
}

fn write_object(out: &mut String, message: &[u8], tag: u32, depth: usize) -> Result<(), String> {
    out.push('{');
    for (at, pair) in key_values(message, tag).enumerate() {
        let (key, value) = pair?;
        out.push_str(if at == 0 { "" } else { "," });
        write_string(out, key);
        out.push(':');
        AnyValue::read(value)?.write_json(out, depth + 1)?;
    }
    out.push('}');
    Ok(())
}

/// Bytes that are text.
pub(super) fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "a text is no UTF-8".to_owned())
}

/// The keys and values that a message has by a tag.
pub(super) fn key_values(message: &[u8], tag: u32) -> impl Iterator<Item = Result<(&str, &[u8]), String>> {
    repeated(message, tag).map(|pair| {
        let (mut key, mut value) = ("", &[][..]);
        for field in fields(pair.map_err(|error| error.to_string())?) {
            match field.map_err(|error| error.to_string())? {
                (tag::KEY, Field::Bytes(bytes)) => key = text(bytes)?,
                (tag::VALUE, Field::Bytes(bytes)) => value = bytes,
                _ => {}
            }
        }
        Ok((key, value))
    })
}

/// The attributes that a message has by a tag, as `jsonb`.
///
/// # Errors
/// They cannot be read, or are no `jsonb`.
pub(super) fn attributes_json(message: &[u8], tag: u32) -> Result<String, String> {
    let mut out = String::new();
    write_object(&mut out, message, tag, 0)?;
    normalise(&out).map_err(|error| error.message().to_owned())
}

/// A value as text: itself, if it is text, or as JSON; `None` where there is none.
///
/// # Errors
/// It cannot be read, or is no `jsonb`.
pub(super) fn value_text(message: &[u8]) -> Result<Option<String>, String> {
    match AnyValue::read(message)? {
        AnyValue::Nothing => Ok(None),
        AnyValue::String(text) => Ok(Some(text.to_owned())),
        AnyValue::Bytes(bytes) => Ok(Some(BASE64.encode(bytes))),
        AnyValue::Double(value) => Ok(Some(shown(value))),
        value @ (AnyValue::Bool(_) | AnyValue::Int(_)) => {
            let mut out = String::new();
            value.write_json(&mut out, 0)?;
            Ok(Some(out))
        }
        value @ (AnyValue::Array(_) | AnyValue::KeyValues(_)) => {
            let mut out = String::new();
            value.write_json(&mut out, 0)?;
            normalise(&out).map(Some).map_err(|error| error.message().to_owned())
        }
    }
}

/// The bytes of an id in hexadecimal digits; `None` for none, and for zeros, which are none.
pub(super) fn id_text(bytes: &[u8]) -> Option<String> {
    if bytes.iter().all(|byte| *byte == 0) {
        return None;
    }
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(out, "{byte:02x}").expect("a string takes all");
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use prost::{Message, encoding};

    use super::super::messages;
    use super::*;

    fn value(json: &str) -> Vec<u8> {
        serde_json::from_str::<messages::AnyValue>(json).unwrap().encode_to_vec()
    }

    #[test]
    fn values_are_texts_and_json() {
        let cases = [
            (r#"{"stringValue":"a\"b"}"#, Some("a\"b"), r#""a\"b""#),
            (r#"{"boolValue":true}"#, Some("true"), "true"),
            (r#"{"intValue":"-9223372036854775808"}"#, Some("-9223372036854775808"), "-9223372036854775808"),
            (r#"{"intValue":7}"#, Some("7"), "7"),
            (r#"{"doubleValue":1.5}"#, Some("1.5"), "1.5"),
            (r#"{"doubleValue":2}"#, Some("2"), "2"),
            (r#"{"doubleValue":"NaN"}"#, Some("NaN"), r#""NaN""#),
            (r#"{"doubleValue":"-Infinity"}"#, Some("-Infinity"), r#""-Infinity""#),
            (r#"{"bytesValue":"AQID"}"#, Some("AQID"), r#""AQID""#),
            (
                r#"{"arrayValue":{"values":[{"intValue":1},{},{"stringValue":"x"}]}}"#,
                Some(r#"[1, null, "x"]"#),
                r#"[1, null, "x"]"#,
            ),
            (
                r#"{"kvlistValue":{"values":[{"key":"bb","value":{"intValue":1}},{"key":"a"}]}}"#,
                Some(r#"{"a": null, "bb": 1}"#),
                r#"{"a": null, "bb": 1}"#,
            ),
            ("{}", None, "null"),
        ];
        for (given, as_text, as_json) in cases {
            let value = value(given);
            assert_eq!(value_text(&value).unwrap().as_deref(), as_text, "{given}");
            let mut json = String::new();
            AnyValue::read(&value).unwrap().write_json(&mut json, 0).unwrap();
            assert_eq!(normalise(&json).unwrap(), as_json, "{given}");
        }
    }

    #[test]
    fn a_value_in_too_many_others_is_refused() {
        let nested = |depth: usize| {
            let mut message = value(r#"{"intValue":1}"#);
            for _ in 0..depth {
                let mut list = Vec::new();
                encoding::bytes::encode(1, &message, &mut list);
                message.clear();
                encoding::bytes::encode(5, &list, &mut message);
            }
            message
        };
        assert!(value_text(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(value_text(&nested(DEPTH_MAX + 1)).unwrap_err(), "a value has more than 32 levels");
        assert!(value_text(&nested(5000)).is_err());
    }

    #[test]
    fn ids_of_zeros_are_none() {
        assert_eq!(id_text(&[0, 0xab, 1]).as_deref(), Some("00ab01"));
        assert_eq!((id_text(&[0; 16]), id_text(&[])), (None, None));
    }
}
