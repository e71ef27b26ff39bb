//! Functions that look into JSON and change it. Operators are calls of these: `->` is
//! `json_object_field`.

use std::cmp::Ordering;

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::functions::{ScalarBody, any, flag, int, int4, text, texted};
use crate::pgtype::datum::Datum;
use crate::pgtype::json::parts::{self, JsonKind, kind};
use crate::pgtype::jsonb;
use crate::pgtype::numeric::Numeric;
use crate::pgtype::types::NO_TYPMOD;
use crate::sqlstate;

mod sets;

pub(super) use self::sets::SETS;

pub(super) const FUNCTIONS: &[(&str, ScalarBody)] = &[
    ("json_object_field(json,text) json", |_, it| Ok(json(parts::member(text(it, 0), text(it, 1))?))),
    ("jsonb_object_field(jsonb,text) jsonb", |_, it| Ok(binary(parts::member(text(it, 0), text(it, 1))?))),
    ("json_object_field_text(json,text) text", |_, it| shown(parts::member(text(it, 0), text(it, 1))?)),
    ("jsonb_object_field_text(jsonb,text) text", |_, it| shown(parts::member(text(it, 0), text(it, 1))?)),
    ("json_array_element(json,int4) json", |_, it| Ok(json(parts::element(text(it, 0), int(it, 1))))),
    ("jsonb_array_element(jsonb,int4) jsonb", |_, it| Ok(binary(element(text(it, 0), int(it, 1))))),
    ("json_array_element_text(json,int4) text", |_, it| shown(parts::element(text(it, 0), int(it, 1)))),
    ("jsonb_array_element_text(jsonb,int4) text", |_, it| shown(element(text(it, 0), int(it, 1)))),
    ("json_extract_path_op(json,text[]) json", |_, it| Ok(json(at_path(it)?))),
    ("jsonb_extract_path_op(jsonb,text[]) jsonb", |_, it| Ok(binary(at_path(it)?))),
    ("json_extract_path_text_op(json,text[]) text", |_, it| shown(at_path(it)?)),
    ("jsonb_extract_path_text_op(jsonb,text[]) text", |_, it| shown(at_path(it)?)),
    ("json_extract_path(json,variadic text) json", |_, it| Ok(json(at_steps(it)?))),
    ("jsonb_extract_path(jsonb,variadic text) jsonb", |_, it| Ok(binary(at_steps(it)?))),
    ("json_extract_path_text(json,variadic text) text", |_, it| shown(at_steps(it)?)),
    ("jsonb_extract_path_text(jsonb,variadic text) text", |_, it| shown(at_steps(it)?)),
    ("json_typeof(json) text", |_, it| texted(kind(text(it, 0)).name())),
    ("jsonb_typeof(jsonb) text", |_, it| texted(kind(text(it, 0)).name())),
    ("json_array_length(json) int4", |_, it| length(text(it, 0))),
    ("jsonb_array_length(jsonb) int4", |_, it| length(text(it, 0))),
    ("jsonb_contains(jsonb,jsonb) bool", |_, it| {
        contains(text(it, 0), text(it, 1), Place::Top).map(Datum::Bool)
    }),
    ("jsonb_contained(jsonb,jsonb) bool", |_, it| {
        contains(text(it, 1), text(it, 0), Place::Top).map(Datum::Bool)
    }),
    ("jsonb_exists(jsonb,text) bool", |_, it| exists(text(it, 0), text(it, 1)).map(Datum::Bool)),
    ("jsonb_exists_any(jsonb,text[]) bool", |_, it| {
        let found = strings(&it[1]).map(|key| exists(text(it, 0), key)).collect::<SqlResult<Vec<_>>>()?;
        Ok(Datum::Bool(found.contains(&true)))
    }),
    ("jsonb_exists_all(jsonb,text[]) bool", |_, it| {
        let found = strings(&it[1]).map(|key| exists(text(it, 0), key)).collect::<SqlResult<Vec<_>>>()?;
        Ok(Datum::Bool(!found.contains(&false)))
    }),
    ("jsonb_concat(jsonb,jsonb) jsonb", |_, it| concat(text(it, 0), text(it, 1))),
    ("jsonb_delete(jsonb,text) jsonb", |_, it| delete_keys(text(it, 0), &[text(it, 1)])),
    ("jsonb_delete(jsonb,text[]) jsonb", |_, it| {
        delete_keys(text(it, 0), &strings(&it[1]).collect::<Vec<_>>())
    }),
    ("jsonb_delete(jsonb,int4) jsonb", |_, it| delete_element(text(it, 0), int(it, 1))),
    ("jsonb_delete_path(jsonb,text[]) jsonb", |_, it| {
        change(text(it, 0), &strings(&it[1]).collect::<Vec<_>>(), &Change::Delete).and_then(normal)
    }),
    ("jsonb_set(jsonb,text[],jsonb) jsonb", |_, it| set(it, true)),
    ("jsonb_set(jsonb,text[],jsonb,bool) jsonb", |_, it| set(it, flag(it, 3))),
    ("jsonb_insert(jsonb,text[],jsonb) jsonb", |_, it| insert(it, false)),
    ("jsonb_insert(jsonb,text[],jsonb,bool) jsonb", |_, it| insert(it, flag(it, 3))),
    ("json_strip_nulls(json) json", |_, it| Ok(Datum::Json(without_nulls(text(it, 0), ",", ":")?))),
    ("jsonb_strip_nulls(jsonb) jsonb", |_, it| Ok(Datum::Jsonb(without_nulls(text(it, 0), ", ", ": ")?))),
    ("jsonb_pretty(jsonb) text", |_, it| {
        let mut out = String::new();
        pretty(text(it, 0), 0, &mut out)?;
        texted(out)
    }),
    ("json_object(text[]) json", |_, it| pairs(it).map(Datum::Json)),
    ("jsonb_object(text[]) jsonb", |_, it| normal(pairs(it)?)),
    ("json_object(text[],text[]) json", |_, it| two_lists(it).map(Datum::Json)),
    ("jsonb_object(text[],text[]) jsonb", |_, it| normal(two_lists(it)?)),
    ("*row_to_json(any) json", |run, it| {
        let (pg_type, value) = any(&it[0])?;
        Ok(if value.is_null() { Datum::Null } else { Datum::Json(super::json::write(value, pg_type, run)?) })
    }),
];

/// An element of a `jsonb`, which a value that is no array is itself.
fn element(json: &str, at: i64) -> Option<&str> {
    match kind(json) {
        JsonKind::Array | JsonKind::Object => parts::element(json, at),
        _ => matches!(at, 0 | -1).then_some(json),
    }
}

fn json(part: Option<&str>) -> Datum {
    part.map_or(Datum::Null, |part| Datum::Json(part.to_owned()))
}

fn binary(part: Option<&str>) -> Datum {
    part.map_or(Datum::Null, |part| Datum::Jsonb(part.to_owned()))
}

fn normal(text: String) -> SqlResult<Datum> {
    Ok(Datum::Jsonb(jsonb::normalise(&text)?))
}

/// As text: a string without its quotes, and nothing of `null`.
fn shown(part: Option<&str>) -> SqlResult<Datum> {
    let Some(part) = part else { return Ok(Datum::Null) };
    match kind(part) {
        JsonKind::Null => Ok(Datum::Null),
        JsonKind::String => parts::unquoted(part).map(Datum::Text),
        _ => texted(part),
    }
}

fn strings(array: &Datum) -> impl Iterator<Item = &str> {
    let values = match array {
        Datum::Array(array) => array.values.as_slice(),
        _ => &[],
    };
    values.iter().filter(|value| !value.is_null()).map(crate::pg_catalog::operators::text)
}

fn at_path(values: &[Datum]) -> SqlResult<Option<&str>> {
    if let Datum::Array(array) = &values[1]
        && array.values.iter().any(Datum::is_null)
    {
        return Ok(None);
    }
    parts::at_path(text(values, 0), &strings(&values[1]).collect::<Vec<_>>())
}

fn at_steps(values: &[Datum]) -> SqlResult<Option<&str>> {
    let steps: Vec<&str> = (1..values.len()).map(|at| text(values, at)).collect();
    parts::at_path(text(values, 0), &steps)
}

fn wrong(message: &str) -> SqlError {
    SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

fn length(json: &str) -> SqlResult<Datum> {
    match kind(json) {
        JsonKind::Array => Ok(int4(parts::elements(json).len())),
        JsonKind::Object => Err(wrong("cannot get array length of a non-array")),
        _ => Err(wrong("cannot get array length of a scalar")),
    }
}

fn exists(json: &str, key: &str) -> SqlResult<bool> {
    Ok(match kind(json) {
        JsonKind::Object => parts::member(json, key)?.is_some(),
        JsonKind::String => parts::unquoted(json)? == key,
        _ => {
            for element in parts::elements(json) {
                if kind(element) == JsonKind::String && parts::unquoted(element)? == key {
                    return Ok(true);
                }
            }
            false
        }
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Top,
    Within,
}

/// Whether a value is in another: members in members, elements in elements in any order.
fn contains(whole: &str, part: &str, place: Place) -> SqlResult<bool> {
    match (kind(whole), kind(part)) {
        (JsonKind::Object, JsonKind::Object) => {
            for (key, value) in parts::members(part)? {
                let found = match parts::member(whole, &key)? {
                    Some(found) => contains(found, value, Place::Within)?,
                    None => false,
                };
                if !found {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (JsonKind::Array, JsonKind::Array) => {
            let elements = parts::elements(whole);
            for wanted in parts::elements(part) {
                let mut found = false;
                for element in &elements {
                    found = found || contains(element, wanted, Place::Within)?;
                }
                if !found {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        // At the top an array has a value that is an element of it.
        (JsonKind::Array, JsonKind::Object) => Ok(false),
        (JsonKind::Array, _) if place == Place::Top => {
            for element in parts::elements(whole) {
                if equals(element, part) {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ => Ok(equals(whole, part)),
    }
}

/// Whether two values that are no arrays or objects are equal; numbers are so as numbers.
fn equals(left: &str, right: &str) -> bool {
    if kind(left) == JsonKind::Number && kind(right) == JsonKind::Number {
        let parsed = (Numeric::parse(left, NO_TYPMOD), Numeric::parse(right, NO_TYPMOD));
        return matches!(parsed, (Ok(left), Ok(right)) if left.compare(&right) == Ordering::Equal);
    }
    left == right
}

fn concat(left: &str, right: &str) -> SqlResult<Datum> {
    let inner = |json: &str| {
        let json = json.trim();
        json[1..json.len() - 1].trim().to_owned()
    };
    let joined = |open: &str, left: String, right: String, close: &str| {
        let comma = if left.is_empty() || right.is_empty() { "" } else { ", " };
        normal(format!("{open}{left}{comma}{right}{close}"))
    };
    match (kind(left), kind(right)) {
        (JsonKind::Object, JsonKind::Object) => joined("{", inner(left), inner(right), "}"),
        (JsonKind::Array, JsonKind::Array) => joined("[", inner(left), inner(right), "]"),
        (JsonKind::Array, _) => joined("[", inner(left), right.to_owned(), "]"),
        (_, JsonKind::Array) => joined("[", left.to_owned(), inner(right), "]"),
        (JsonKind::Object, _) | (_, JsonKind::Object) => joined("[", left.to_owned(), right.to_owned(), "]"),
        _ => joined("[", left.to_owned(), right.to_owned(), "]"),
    }
}

fn object_of(members: &[(String, String)]) -> String {
    let written = members.iter().map(|(key, value)| {
        let mut out = String::new();
        jsonb::write_string(&mut out, key);
        format!("{out}: {value}")
    });
    format!("{{{}}}", written.collect::<Vec<_>>().join(", "))
}

fn array_of(elements: &[String]) -> String {
    format!("[{}]", elements.join(", "))
}

fn delete_keys(json: &str, keys: &[&str]) -> SqlResult<Datum> {
    match kind(json) {
        JsonKind::Object => {
            let members = parts::members(json)?.into_iter();
            let kept = members.filter(|(key, _)| !keys.contains(&key.as_str()));
            let kept: Vec<_> = kept.map(|(key, value)| (key, value.to_owned())).collect();
            normal(object_of(&kept))
        }
        JsonKind::Array => {
            let mut kept = Vec::new();
            for element in parts::elements(json) {
                let is_key =
                    kind(element) == JsonKind::String && keys.contains(&parts::unquoted(element)?.as_str());
                if !is_key {
                    kept.push(element.to_owned());
                }
            }
            normal(array_of(&kept))
        }
        _ => Err(wrong("cannot delete from scalar")),
    }
}

fn delete_element(json: &str, at: i64) -> SqlResult<Datum> {
    match kind(json) {
        JsonKind::Array => {
            let mut elements: Vec<String> = parts::elements(json).into_iter().map(str::to_owned).collect();
            let at = if at < 0 { at + i64::try_from(elements.len()).unwrap_or(i64::MAX) } else { at };
            if let Ok(at) = usize::try_from(at)
                && at < elements.len()
            {
                elements.remove(at);
            }
            normal(array_of(&elements))
        }
        JsonKind::Object => Err(wrong("cannot delete from object using integer index")),
        _ => Err(wrong("cannot delete from scalar")),
    }
}

/// What is done at the end of a path.
enum Change<'a> {
    Delete,
    Set { value: &'a str, creates: bool },
    Insert { value: &'a str, after: bool },
}

fn set(values: &[Datum], creates: bool) -> SqlResult<Datum> {
    let json = text(values, 0);
    if !matches!(kind(json), JsonKind::Object | JsonKind::Array) {
        return Err(wrong("cannot set path in scalar"));
    }
    let path: Vec<&str> = strings(&values[1]).collect();
    normal(change(json, &path, &Change::Set { value: text(values, 2), creates })?)
}

fn insert(values: &[Datum], after: bool) -> SqlResult<Datum> {
    let json = text(values, 0);
    if !matches!(kind(json), JsonKind::Object | JsonKind::Array) {
        return Err(wrong("cannot set path in scalar"));
    }
    let path: Vec<&str> = strings(&values[1]).collect();
    normal(change(json, &path, &Change::Insert { value: text(values, 2), after })?)
}

/// The value with a change at the end of a path; unchanged where the path leads nowhere.
fn change(json: &str, path: &[&str], what: &Change<'_>) -> SqlResult<String> {
    let Some((step, rest)) = path.split_first() else { return Ok(json.to_owned()) };
    match kind(json) {
        JsonKind::Object => change_member(json, step, rest, what),
        JsonKind::Array => change_element(json, step, rest, what),
        _ => Ok(json.to_owned()),
    }
}

fn change_member(json: &str, key: &str, rest: &[&str], what: &Change<'_>) -> SqlResult<String> {
    let members = parts::members(json)?.into_iter();
    let mut members: Vec<(String, String)> = members.map(|(key, value)| (key, value.to_owned())).collect();
    let at = members.iter().position(|(name, _)| name == key);
    match (at, rest.is_empty(), what) {
        (Some(at), false, _) => members[at].1 = change(&members[at].1.clone(), rest, what)?,
        (Some(at), true, Change::Delete) => {
            members.remove(at);
        }
        (Some(at), true, Change::Set { value, .. }) => members[at].1 = (*value).to_owned(),
        (Some(_), true, Change::Insert { .. }) => {
            return Err(wrong("cannot replace existing key")
                .with_hint("Try using the function jsonb_set to replace key value."));
        }
        (None, true, Change::Set { value, creates: true } | Change::Insert { value, .. }) => {
            members.push((key.to_owned(), (*value).to_owned()));
        }
        (None, ..) => {}
    }
    Ok(object_of(&members))
}

fn change_element(json: &str, step: &str, rest: &[&str], what: &Change<'_>) -> SqlResult<String> {
    let mut elements: Vec<String> = parts::elements(json).into_iter().map(str::to_owned).collect();
    let at: i64 = step.trim().parse().map_err(|_| {
        let message = format!("path element at position 1 is not an integer: \"{step}\"");
        SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, message)
    })?;
    let count = i64::try_from(elements.len()).unwrap_or(i64::MAX);
    let from_start = if at < 0 { at + count } else { at };
    let found = usize::try_from(from_start).ok().filter(|at| *at < elements.len());
    match (found, rest.is_empty(), what) {
        (Some(at), false, _) => elements[at] = change(&elements[at].clone(), rest, what)?,
        (Some(at), true, Change::Delete) => {
            elements.remove(at);
        }
        (Some(at), true, Change::Set { value, .. }) => elements[at] = (*value).to_owned(),
        (Some(at), true, Change::Insert { value, after }) => {
            elements.insert(at + usize::from(*after), (*value).to_owned());
        }
        // A place before the first is the first, one behind the last the last.
        (None, true, Change::Set { value, creates: true } | Change::Insert { value, .. }) => {
            let place = if from_start < 0 { 0 } else { elements.len() };
            elements.insert(place, (*value).to_owned());
        }
        (None, ..) => {}
    }
    Ok(array_of(&elements))
}

fn without_nulls(json: &str, comma: &str, colon: &str) -> SqlResult<String> {
    Ok(match kind(json) {
        JsonKind::Object => {
            let mut kept = Vec::new();
            for (key, value) in parts::members(json)? {
                if kind(value) != JsonKind::Null {
                    let mut out = String::new();
                    jsonb::write_string(&mut out, &key);
                    kept.push(format!("{out}{colon}{}", without_nulls(value, comma, colon)?));
                }
            }
            format!("{{{}}}", kept.join(comma))
        }
        JsonKind::Array => {
            let elements = parts::elements(json).into_iter();
            let kept = elements.map(|it| without_nulls(it, comma, colon)).collect::<SqlResult<Vec<_>>>()?;
            format!("[{}]", kept.join(comma))
        }
        _ => json.trim().to_owned(),
    })
}

fn pretty(json: &str, depth: usize, out: &mut String) -> SqlResult<()> {
    let indent = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&" ".repeat(4 * depth));
    };
    match kind(json) {
        JsonKind::Object => {
            out.push('{');
            for (at, (key, value)) in parts::members(json)?.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                indent(out, depth + 1);
                jsonb::write_string(out, &key);
                out.push_str(": ");
                pretty(value, depth + 1, out)?;
            }
            indent(out, depth);
            out.push('}');
        }
        JsonKind::Array => {
            out.push('[');
            for (at, element) in parts::elements(json).into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                indent(out, depth + 1);
                pretty(element, depth + 1, out)?;
            }
            indent(out, depth);
            out.push(']');
        }
        _ => out.push_str(json),
    }
    Ok(())
}

fn pair(key: &Datum, value: &Datum) -> SqlResult<String> {
    if key.is_null() {
        return Err(SqlError::new(sqlstate::NULL_VALUE_NOT_ALLOWED, "null value not allowed for object key"));
    }
    let mut out = String::new();
    jsonb::write_string(&mut out, crate::pg_catalog::operators::text(key));
    out.push_str(" : ");
    match value {
        Datum::Null => out.push_str("null"),
        value => jsonb::write_string(&mut out, crate::pg_catalog::operators::text(value)),
    }
    Ok(out)
}

fn pairs(values: &[Datum]) -> SqlResult<String> {
    let Datum::Array(array) = &values[0] else { return Ok("{}".to_owned()) };
    let pairs: Vec<&[Datum]> = match array.dimensions.as_slice() {
        [_, second] if second.length != 2 => {
            return Err(SqlError::new(sqlstate::ARRAY_SUBSCRIPT_ERROR, "array must have two columns"));
        }
        [] | [_] | [_, _] => array.values.chunks(2).collect(),
        _ => return Err(SqlError::new(sqlstate::ARRAY_SUBSCRIPT_ERROR, "wrong number of array subscripts")),
    };
    let written = pairs.into_iter().map(|both| match both {
        [key, value] => pair(key, value),
        _ => Err(SqlError::new(sqlstate::ARRAY_SUBSCRIPT_ERROR, "array must have even number of elements")),
    });
    Ok(format!("{{{}}}", written.collect::<SqlResult<Vec<_>>>()?.join(", ")))
}

fn two_lists(values: &[Datum]) -> SqlResult<String> {
    let (Datum::Array(keys), Datum::Array(given)) = (&values[0], &values[1]) else {
        return Ok("{}".to_owned());
    };
    if keys.values.len() != given.values.len() {
        return Err(SqlError::new(sqlstate::ARRAY_SUBSCRIPT_ERROR, "mismatched array dimensions"));
    }
    let written = keys.values.iter().zip(&given.values).map(|(key, value)| pair(key, value));
    Ok(format!("{{{}}}", written.collect::<SqlResult<Vec<_>>>()?.join(", ")))
}
