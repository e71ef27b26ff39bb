//! Functions that give the parts of JSON as rows.

use super::{binary, json, shown, wrong};
use crate::error::SqlResult;
use crate::pg_catalog::functions::{SetBody, SetRows, text};
use crate::pg_catalog::run::Run;
use crate::pgtype::datum::Datum;
use crate::pgtype::json::parts;
use crate::pgtype::json::parts::{JsonKind, kind};

pub(in crate::pg_catalog::functions) const SETS: &[(&str, SetBody)] = &[
    ("json_array_elements(json) setof (value json)", |_, it| rows(it, json)),
    ("jsonb_array_elements(jsonb) setof (value jsonb)", |_, it| rows(it, binary)),
    ("json_array_elements_text(json) setof (value text)", text_rows),
    ("jsonb_array_elements_text(jsonb) setof (value text)", text_rows),
    ("json_object_keys(json) setof text", keys),
    ("jsonb_object_keys(jsonb) setof text", keys),
    ("json_each(json) setof (key text,value json)", |_, it| each(it, |value| Ok(json(Some(value))))),
    ("jsonb_each(jsonb) setof (key text,value jsonb)", |_, it| each(it, |value| Ok(binary(Some(value))))),
    ("json_each_text(json) setof (key text,value text)", |_, it| each(it, |value| shown(Some(value)))),
    ("jsonb_each_text(jsonb) setof (key text,value text)", |_, it| each(it, |value| shown(Some(value)))),
];

fn elements_of(values: &[Datum]) -> SqlResult<Vec<&str>> {
    let json = text(values, 0);
    match kind(json) {
        JsonKind::Array => Ok(parts::elements(json)),
        JsonKind::Object => Err(wrong("cannot extract elements from an object")),
        _ => Err(wrong("cannot extract elements from a scalar")),
    }
}

fn rows(values: &[Datum], datum: impl Fn(Option<&str>) -> Datum) -> SqlResult<SetRows> {
    Ok(elements_of(values)?.into_iter().map(|element| vec![datum(Some(element))]).collect())
}

fn text_rows(_: &Run<'_>, values: &[Datum]) -> SqlResult<SetRows> {
    elements_of(values)?.into_iter().map(|element| Ok(vec![shown(Some(element))?])).collect()
}

/// The members of an object, of several with one key the last in its place.
fn members_of<'a>(values: &'a [Datum], function: &str) -> SqlResult<Vec<(String, &'a str)>> {
    let json = text(values, 0);
    match kind(json) {
        JsonKind::Object => parts::members(json),
        JsonKind::Array => Err(wrong(&format!("cannot call {function} on an array"))),
        _ => Err(wrong(&format!("cannot call {function} on a scalar"))),
    }
}

fn keys(_: &Run<'_>, values: &[Datum]) -> SqlResult<SetRows> {
    let name = if matches!(values[0], Datum::Jsonb(_)) { "jsonb_object_keys" } else { "json_object_keys" };
    Ok(members_of(values, name)?.into_iter().map(|(key, _)| vec![Datum::Text(key)]).collect())
}

fn each(values: &[Datum], datum: impl Fn(&str) -> SqlResult<Datum>) -> SqlResult<SetRows> {
    if matches!(values[0], Datum::Json(_)) && kind(text(values, 0)) != JsonKind::Object {
        return Err(wrong("cannot deconstruct an array as an object"));
    }
    let members = members_of(values, "jsonb_each")?;
    members.into_iter().map(|(key, value)| Ok(vec![Datum::Text(key), datum(value)?])).collect()
}
