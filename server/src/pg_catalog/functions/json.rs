//! Functions that make JSON.

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::functions::{Scalar, ScalarBody, any};
use crate::pg_catalog::run::Run;
use crate::pgtype::PgType;
use crate::pgtype::datum::{ArrayDatum, Datum};
use crate::pgtype::jsonb;
use crate::pgtype::text::to_text;
use crate::pgtype::types::{Family, element_type_of, family};
use crate::sqlstate;

pub(super) const FUNCTIONS: &[(&str, ScalarBody)] = &[
    ("*json_build_object(variadic any) json", |run, values| object(run, values).map(Datum::Json)),
    ("json_build_object() json", |_, _| Ok(Datum::Json("{}".to_owned()))),
    ("*jsonb_build_object(variadic any) jsonb", |run, values| binary(&object(run, values)?)),
    ("jsonb_build_object() jsonb", |_, _| Ok(Datum::Jsonb("{}".to_owned()))),
    ("*json_build_array(variadic any) json", |run, values| list(run, values).map(Datum::Json)),
    ("*jsonb_build_array(variadic any) jsonb", |run, values| binary(&list(run, values)?)),
    ("*to_json(any) json", |run, values| {
        let (pg_type, value) = any(&values[0])?;
        Ok(if value.is_null() { Datum::Null } else { Datum::Json(write(value, pg_type, run)?) })
    }),
    ("*to_jsonb(any) jsonb", |run, values| {
        let (pg_type, value) = any(&values[0])?;
        if value.is_null() { Ok(Datum::Null) } else { binary(&write(value, pg_type, run)?) }
    }),
    ("row_to_json(json) json", |_, values| Ok(values[0].clone())),
    ("array_to_json(anyarray) json", |run, values| {
        Ok(Datum::Json(write(&values[0], &PgType::TEXT_ARRAY, run)?))
    }),
];

/// A record with the names of its fields as an object.
pub(crate) static RECORD: Scalar = Scalar { strict: true, eval: record };

fn record(run: &Run<'_>, values: &[Datum]) -> SqlResult<Datum> {
    let (Datum::Array(names), Datum::Record(fields)) = (&values[0], &values[1]) else {
        return Ok(Datum::Null);
    };
    let mut parts = Vec::new();
    for (name, (pg_type, value)) in names.values.iter().zip(fields) {
        let name = quoted(crate::pg_catalog::operators::text(name));
        parts.push(format!("{name}:{}", write(value, pg_type, run)?));
    }
    Ok(Datum::Json(format!("{{{}}}", parts.join(","))))
}

fn binary(text: &str) -> SqlResult<Datum> {
    Ok(Datum::Jsonb(jsonb::normalise(text)?))
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    jsonb::write_string(&mut out, text);
    out
}

/// A value as JSON: numbers, truth values and JSON as they are, everything else as a string.
pub(super) fn write(value: &Datum, pg_type: &PgType, run: &Run<'_>) -> SqlResult<String> {
    Ok(match value {
        Datum::Null => "null".to_owned(),
        Datum::Bool(value) => value.to_string(),
        Datum::Json(text) | Datum::Jsonb(text) => text.clone(),
        Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_) => to_text(value, pg_type, &run.context.format),
        Datum::Float4(_) | Datum::Float8(_) | Datum::Numeric(_) => {
            let text = to_text(value, pg_type, &run.context.format);
            let is_finite = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.e".contains(&byte));
            if is_finite { text } else { quoted(&text) }
        }
        Datum::Array(array) if family(pg_type) != Family::Vector => write_array(array, run)?,
        Datum::Timestamp(_) | Datum::Timestamptz(_) => quoted(&iso(value, pg_type, run)),
        Datum::Record(_) => return Err(SqlError::unsupported("a record without names as JSON")),
        other => quoted(&to_text(other, pg_type, &run.context.format)),
    })
}

/// A moment as ISO 8601 has it: a `T` between day and time, and minutes of the zone.
fn iso(value: &Datum, pg_type: &PgType, run: &Run<'_>) -> String {
    let text = to_text(value, pg_type, &run.context.format).replacen(' ', "T", 1);
    let has_zone = matches!(value, Datum::Timestamptz(_)) && text.contains('T');
    match text.rfind(['+', '-']) {
        Some(sign) if has_zone && !text[sign..].contains(':') => format!("{text}:00"),
        _ => text,
    }
}

fn write_array(array: &ArrayDatum, run: &Run<'_>) -> SqlResult<String> {
    if array.dimensions.len() > 1 {
        return Err(SqlError::unsupported("an array with several dimensions as JSON"));
    }
    let parts = array.values.iter().map(|value| write(value, &array.element, run));
    Ok(format!("[{}]", parts.collect::<SqlResult<Vec<_>>>()?.join(",")))
}

fn object(run: &Run<'_>, values: &[Datum]) -> SqlResult<String> {
    if !values.len().is_multiple_of(2) {
        let message = "argument list must have even number of elements";
        let hint = "The arguments of json_build_object() must consist of alternating keys and values.";
        return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message).with_hint(hint));
    }
    let mut parts = Vec::new();
    for (at, pair) in values.chunks_exact(2).enumerate() {
        let (key_type, key) = any(&pair[0])?;
        if key.is_null() {
            let message = format!("argument {} cannot be null", at * 2 + 1);
            let hint = "Object keys should be text.";
            return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message).with_hint(hint));
        }
        let (value_type, value) = any(&pair[1])?;
        let key = quoted(&to_text(key, key_type, &run.context.format));
        parts.push(format!("{key} : {}", write(value, value_type, run)?));
    }
    Ok(format!("{{{}}}", parts.join(", ")))
}

fn list(run: &Run<'_>, values: &[Datum]) -> SqlResult<String> {
    let mut parts = Vec::new();
    for value in values {
        let (pg_type, value) = any(value)?;
        parts.push(write(value, pg_type, run)?);
    }
    Ok(format!("[{}]", parts.join(", ")))
}

/// `json_agg` and `jsonb_agg`.
pub(crate) fn aggregate(
    values: &[Datum],
    pg_type: &PgType,
    is_binary: bool,
    run: &Run<'_>,
) -> SqlResult<Datum> {
    if values.is_empty() {
        return Ok(Datum::Null);
    }
    debug_assert!(element_type_of(pg_type).is_none_or(|it| it != PgType::UNKNOWN), "types were settled");
    let parts = values.iter().map(|value| write(value, pg_type, run)).collect::<SqlResult<Vec<_>>>()?;
    let text = format!("[{}]", parts.join(", "));
    if is_binary { binary(&text) } else { Ok(Datum::Json(text)) }
}

/// `json_object_agg` and `jsonb_object_agg`; the keys are texts.
pub(crate) fn aggregate_object(
    rows: &[Vec<Datum>],
    pg_type: &PgType,
    is_binary: bool,
    run: &Run<'_>,
) -> SqlResult<Datum> {
    if rows.is_empty() {
        return Ok(Datum::Null);
    }
    let mut parts = Vec::new();
    for row in rows {
        if row[0].is_null() {
            let message = "field name must not be null";
            return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
        }
        let key = quoted(crate::pg_catalog::operators::text(&row[0]));
        parts.push(format!("{key} : {}", write(&row[1], pg_type, run)?));
    }
    let text = format!("{{ {} }}", parts.join(", "));
    if is_binary { binary(&text) } else { Ok(Datum::Json(text)) }
}
