//! Values to and from text, and what all texts have in common: their encoding and their length.

use bytes::{BufMut, BytesMut};

use super::array::{self, literal};
use super::datetime::write::Resolution;
use super::datetime::{parse, write};
use super::datum::{ArrayDatum, Datum, Dimension};
use super::numeric::Numeric;
use super::record::{self, FieldValue};
use super::settings::FormatSettings;
use super::types::{Family, NO_TYPMOD, TYPMOD_HEADER, element_type_of, family};
use super::{PgType, boolean, bytea, float, integer, interval, json, jsonb, uuid};
use crate::error::{SqlError, SqlResult};
use crate::sqlstate;

/// The most bytes of a `name`.
const NAME_LEN_MAX: usize = 63;

/// Writes a value of a type; nothing for NULL.
pub fn write_text(out: &mut BytesMut, datum: &Datum, pg_type: &PgType, settings: &FormatSettings) {
    match datum {
        Datum::Null | Datum::Void => {}
        Datum::Bool(value) => boolean::write(out, *value),
        Datum::Char(value) => write_char(out, *value),
        Datum::Int2(value) => integer::write(out, *value),
        Datum::Int4(value) => integer::write(out, *value),
        Datum::Int8(value) => integer::write(out, *value),
        Datum::Float4(value) => float::write_f32(out, *value, settings.extra_float_digits),
        Datum::Float8(value) => float::write_f64(out, *value, settings.extra_float_digits),
        Datum::Numeric(value) => value.write(out),
        Datum::Oid(0) if family(pg_type) == Family::Reg => out.put_u8(b'-'),
        Datum::Oid(value) => integer::write(out, *value),
        Datum::Reg(_, name) => out.extend_from_slice(name.as_bytes()),
        Datum::Text(value) | Datum::Json(value) | Datum::Jsonb(value) => {
            out.extend_from_slice(value.as_bytes());
        }
        Datum::Bytea(value) => bytea::write(out, value, settings.bytea_output),
        Datum::Date(days) => write::write_date(out, *days, settings.date_style),
        Datum::Time(us) => write::write_time(out, *us, Resolution::Microsecond),
        Datum::Timetz(value) => write::write_timetz(out, *value),
        Datum::Timestamp(us) => {
            write::write_timestamp(out, *us, Resolution::Microsecond, settings.date_style);
        }
        Datum::Timestamptz(us) => write::write_timestamptz(out, *us, Resolution::Microsecond, settings),
        Datum::Interval(value) => interval::write::write(out, value, settings.interval_style),
        Datum::Uuid(value) => uuid::write(out, value),
        Datum::Array(value) if family(pg_type) == Family::Vector => write_vector(out, value, settings),
        Datum::Array(value) => write_array(out, value, settings),
        Datum::Record(fields) => record::write(out, fields.len(), |out, at| {
            let (field_type, field) = &fields[at];
            if field.is_null() {
                return FieldValue::Null;
            }
            write_text(out, field, field_type, settings);
            FieldValue::Written
        }),
    }
}

/// A value as text.
pub fn to_text(datum: &Datum, pg_type: &PgType, settings: &FormatSettings) -> String {
    let mut out = BytesMut::new();
    write_text(&mut out, datum, pg_type, settings);
    String::from_utf8_lossy(&out).into_owned()
}

fn write_array(out: &mut BytesMut, value: &ArrayDatum, settings: &FormatSettings) {
    array::write(out, &value.dimensions, |out, at| match &value.values[at] {
        Datum::Null => array::write_null(out),
        element => {
            let start = out.len();
            write_text(out, element, &value.element, settings);
            array::quote_from(out, start);
        }
    });
}

fn write_vector(out: &mut BytesMut, value: &ArrayDatum, settings: &FormatSettings) {
    for (at, element) in value.values.iter().enumerate() {
        if at > 0 {
            out.put_u8(b' ');
        }
        write_text(out, element, &value.element, settings);
    }
}

/// Reads a value of a type.
pub fn parse_text(text: &str, pg_type: &PgType, typmod: i32, settings: &FormatSettings) -> SqlResult<Datum> {
    refuse_nul(text)?;
    Ok(match family(pg_type) {
        Family::Bool => Datum::Bool(boolean::parse(text)?),
        Family::Char => Datum::Char(parse_char(text)),
        Family::Int2 => Datum::Int2(integer::parse_i16(text)?),
        Family::Int4 => Datum::Int4(integer::parse_i32(text)?),
        Family::Int8 => Datum::Int8(integer::parse_i64(text)?),
        Family::Float4 => Datum::Float4(float::parse_f32(text)?),
        Family::Float8 => Datum::Float8(float::parse_f64(text)?),
        Family::Numeric => Datum::Numeric(Numeric::parse(text, typmod)?),
        Family::Oid => Datum::Oid(integer::parse_oid(text)?),
        Family::Reg => parse_reg(text)?,
        Family::Text => Datum::Text(text.to_owned()),
        Family::Varchar => Datum::Text(limit_varchar(text, typmod)?.to_owned()),
        Family::Bpchar => Datum::Text(pad_bpchar(text, typmod)?),
        Family::Name => Datum::Text(truncate(text, NAME_LEN_MAX).to_owned()),
        Family::Bytea => Datum::Bytea(bytea::parse(text)?),
        Family::Date => Datum::Date(parse::date(text, settings)?),
        Family::Time => Datum::Time(parse::time(text, typmod, settings)?),
        Family::Timetz => Datum::Timetz(parse::timetz(text, typmod, settings)?),
        Family::Timestamp => Datum::Timestamp(parse::timestamp_us(text, typmod, settings)?),
        Family::Timestamptz => Datum::Timestamptz(parse::timestamptz_us(text, typmod, settings)?),
        Family::Interval => Datum::Interval(interval::parse::parse(text, typmod, settings)?),
        Family::Uuid => Datum::Uuid(uuid::parse(text)?),
        Family::Json => {
            json::validate(text)?;
            Datum::Json(text.to_owned())
        }
        Family::Jsonb => Datum::Jsonb(jsonb::normalise(text)?),
        Family::Array => Datum::Array(parse_array(text, pg_type, typmod, settings)?),
        Family::Vector => Datum::Array(parse_vector(text, pg_type, settings)?),
        Family::Record => return Err(anonymous_record()),
        Family::Void => Datum::Void,
    })
}

/// A byte beyond ASCII is written as an escape, and no byte as nothing.
fn write_char(out: &mut BytesMut, value: u8) {
    match value {
        0 => {}
        1..=0x7f => out.put_u8(value),
        _ => {
            let digits = [value >> 6, value >> 3 & 7, value & 7].map(|digit| b'0' + digit);
            out.put_u8(b'\\');
            out.extend_from_slice(&digits);
        }
    }
}

/// The first byte, or the one that an escape of three octal digits stands for.
pub fn parse_char(text: &str) -> u8 {
    match text.as_bytes() {
        [b'\\', a @ b'0'..=b'7', b @ b'0'..=b'7', c @ b'0'..=b'7'] => {
            (a - b'0') << 6 | (b - b'0') << 3 | (c - b'0')
        }
        bytes => bytes.first().copied().unwrap_or(0),
    }
}

/// A number or `-`; a name stays as it is until someone looks it up who knows the catalog.
fn parse_reg(text: &str) -> SqlResult<Datum> {
    let trimmed = text.trim_matches(boolean::is_space);
    match trimmed {
        "-" => Ok(Datum::Oid(0)),
        digits if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(Datum::Oid(integer::parse_oid(digits)?))
        }
        name => Ok(Datum::Text(name.to_owned())),
    }
}

fn parse_array(
    text: &str,
    pg_type: &PgType,
    typmod: i32,
    settings: &FormatSettings,
) -> SqlResult<ArrayDatum> {
    let element = element_type_of(pg_type).unwrap_or(PgType::TEXT);
    let literal = literal::parse(text)?;
    let mut values = Vec::with_capacity(literal.elements.len());
    for text in &literal.elements {
        values.push(match text {
            Some(text) => parse_text(text, &element, typmod, settings)?,
            None => Datum::Null,
        });
    }
    Ok(ArrayDatum { element, dimensions: literal.dimensions, values })
}

fn parse_vector(text: &str, pg_type: &PgType, settings: &FormatSettings) -> SqlResult<ArrayDatum> {
    let element = element_type_of(pg_type).unwrap_or(PgType::OID);
    let mut values = Vec::new();
    for number in text.split(boolean::is_space).filter(|number| !number.is_empty()) {
        values.push(parse_text(number, &element, NO_TYPMOD, settings)?);
    }
    let length = i32::try_from(values.len()).expect("a vector has fewer elements than bytes");
    Ok(ArrayDatum { element, dimensions: vec![Dimension { length, lower_bound: 0 }], values })
}

/// Records have no input without a declared type.
pub fn anonymous_record() -> SqlError {
    SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, "input of anonymous composite types is not implemented")
}

/// Bytes as text: valid UTF-8 without NUL.
pub fn decode_utf8(bytes: &[u8]) -> SqlResult<&str> {
    let text = std::str::from_utf8(bytes).map_err(|error| invalid_utf8(&bytes[error.valid_up_to()..]))?;
    refuse_nul(text)?;
    Ok(text)
}

/// Text has no NUL.
pub fn refuse_nul(text: &str) -> SqlResult<()> {
    match memchr::memchr(0, text.as_bytes()) {
        Some(_) => Err(invalid_utf8(&[0])),
        None => Ok(()),
    }
}

/// Tells the bytes of the character that is none: as many as its first byte announces.
pub fn invalid_utf8(bytes: &[u8]) -> SqlError {
    let announced = match bytes.first() {
        Some(0xc0..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf7) => 4,
        _ => 1,
    };
    let shown: Vec<String> = bytes.iter().take(announced).map(|byte| format!("0x{byte:02x}")).collect();
    let message = format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" "));
    SqlError::new(sqlstate::CHARACTER_NOT_IN_REPERTOIRE, message)
}

/// The number of characters in parentheses after `varchar` or `bpchar`.
fn length_limit(typmod: i32) -> Option<usize> {
    usize::try_from(typmod.checked_sub(TYPMOD_HEADER)?).ok()
}

/// A text of `varchar(n)`: blanks beyond its length are cut off, anything else is too long.
pub fn limit_varchar(text: &str, typmod: i32) -> SqlResult<&str> {
    match length_limit(typmod) {
        Some(limit) => limit_chars(text, limit, "character varying"),
        None => Ok(text),
    }
}

/// A text of at most so many characters, or of as many and blanks.
pub fn limit_chars<'a>(text: &'a str, limit: usize, type_name: &str) -> SqlResult<&'a str> {
    // A text has no more characters than bytes.
    if text.len() <= limit {
        return Ok(text);
    }
    let Some((end, _)) = text.char_indices().nth(limit) else {
        return Ok(text);
    };
    let (kept, beyond) = text.split_at(end);
    if beyond.bytes().all(|byte| byte == b' ') {
        return Ok(kept);
    }
    let message = format!("value too long for type {type_name}({limit})");
    Err(SqlError::new(sqlstate::STRING_DATA_RIGHT_TRUNCATION, message))
}

/// A text of `bpchar(n)`, filled with blanks up to its length.
pub fn pad_bpchar(text: &str, typmod: i32) -> SqlResult<String> {
    let Some(limit) = length_limit(typmod) else {
        return Ok(text.to_owned());
    };
    let kept = limit_chars(text, limit, "character")?;
    let missing = limit - kept.chars().count();
    Ok(format!("{kept}{}", " ".repeat(missing)))
}

/// The start of a text that has at most so many bytes, without cutting a character.
pub fn truncate(text: &str, len_max: usize) -> &str {
    if text.len() <= len_max { text } else { &text[..text.floor_char_boundary(len_max)] }
}

/// A `name` in binary form is refused if it is too long, not cut off as text is.
pub fn check_name(text: &str) -> SqlResult<&str> {
    if text.len() <= NAME_LEN_MAX {
        return Ok(text);
    }
    Err(SqlError::new(sqlstate::NAME_TOO_LONG, "identifier too long")
        .with_detail(format!("Identifier must be less than {} characters.", NAME_LEN_MAX + 1)))
}
