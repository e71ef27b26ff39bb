//! Functions of arrays.

use std::cmp::Ordering;

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::functions::{ScalarBody, int, text, texted};
use crate::pg_catalog::operators::with_element;
use crate::pg_catalog::run::Run;
use crate::pgtype::PgType;
use crate::pgtype::compare::compare;
use crate::pgtype::datum::{ArrayDatum, Datum, Dimension};
use crate::pgtype::text::to_text;
use crate::sqlstate;

pub(super) const FUNCTIONS: &[(&str, ScalarBody)] = &[
    ("array_upper(anyarray,int4) int4", |_, values| {
        Ok(dimension(values).map_or(Datum::Null, |it| Datum::Int4(it.lower_bound + it.length - 1)))
    }),
    ("array_lower(anyarray,int4) int4", |_, values| {
        Ok(dimension(values).map_or(Datum::Null, |it| Datum::Int4(it.lower_bound)))
    }),
    ("array_length(anyarray,int4) int4", |_, values| {
        Ok(dimension(values).map_or(Datum::Null, |it| Datum::Int4(it.length)))
    }),
    ("array_ndims(anyarray) int4", |_, values| {
        Ok(match array(values, 0).map_or(0, |it| it.dimensions.len()) {
            0 => Datum::Null,
            count => super::int4(count),
        })
    }),
    ("array_dims(anyarray) text", |_, values| {
        let dimensions = array(values, 0).map_or(&[][..], |it| &it.dimensions);
        if dimensions.is_empty() {
            return Ok(Datum::Null);
        }
        let shown = dimensions.iter();
        let shown = shown.map(|it| format!("[{}:{}]", it.lower_bound, it.lower_bound + it.length - 1));
        texted(shown.collect::<String>())
    }),
    ("cardinality(anyarray) int4", |_, values| {
        Ok(super::int4(array(values, 0).map_or(0, |it| it.values.len())))
    }),
    ("*array_position(anyarray,anyelement) int4", |_, values| {
        Ok(positions(values).next().map_or(Datum::Null, Datum::Int4))
    }),
    ("*array_positions(anyarray,anyelement) int4[]", |_, values| {
        if values[0].is_null() {
            return Ok(Datum::Null);
        }
        Ok(Datum::Array(ArrayDatum::list(PgType::INT4, positions(values).map(Datum::Int4).collect())))
    }),
    ("array_to_string(anyarray,text) text", |run, values| joined(run, values, None)),
    ("*array_to_string(anyarray,text,text) text", |run, values| {
        if values[0].is_null() || values[1].is_null() {
            return Ok(Datum::Null);
        }
        let null = (!values[2].is_null()).then(|| text(values, 2));
        joined(run, values, null)
    }),
    ("*string_to_array(text,text) text[]", |_, values| split(values, None)),
    ("*string_to_array(text,text,text) text[]", |_, values| {
        split(values, (!values[2].is_null()).then(|| text(values, 2)))
    }),
    ("*array_append(anyarray,anyelement) anyarray", |_, values| {
        Ok(with_element(&values[0], &values[1], &PgType::TEXT, true))
    }),
    ("*array_prepend(anyelement,anyarray) anyarray", |_, values| {
        Ok(with_element(&values[1], &values[0], &PgType::TEXT, false))
    }),
    ("*array_cat(anyarray,anyarray) anyarray", |run, values| {
        crate::pg_catalog::operators::Operator::ArrayConcat.apply(run, &values[0], &values[1])
    }),
    ("*array_remove(anyarray,anyelement) anyarray", |_, values| {
        let Some(found) = array(values, 0) else { return Ok(Datum::Null) };
        let kept = found.values.iter().filter(|value| !is_same(value, &values[1])).cloned().collect();
        Ok(Datum::Array(ArrayDatum::list(found.element.clone(), kept)))
    }),
];

fn array(values: &[Datum], at: usize) -> Option<&ArrayDatum> {
    match values.get(at) {
        Some(Datum::Array(array)) => Some(array),
        _ => None,
    }
}

fn dimension(values: &[Datum]) -> Option<Dimension> {
    let at = usize::try_from(int(values, 1)).ok()?.checked_sub(1)?;
    array(values, 0)?.dimensions.get(at).copied()
}

/// NULL is the same as NULL here.
fn is_same(left: &Datum, right: &Datum) -> bool {
    (left.is_null() && right.is_null()) || compare(left, right) == Some(Ordering::Equal)
}

fn positions(values: &[Datum]) -> impl Iterator<Item = i32> {
    let found = array(values, 0);
    let first = found.and_then(|it| it.dimensions.first()).map_or(1, |it| it.lower_bound);
    let elements = found.map_or(&[][..], |it| &it.values);
    let wanted = &values[1];
    let matching = elements.iter().zip(first..).filter(move |(value, _)| is_same(value, wanted));
    matching.map(|(_, at)| at)
}

/// NULLs are left out unless there is a text for them.
fn joined(run: &Run<'_>, values: &[Datum], null: Option<&str>) -> SqlResult<Datum> {
    let Some(array) = array(values, 0) else { return Ok(Datum::Null) };
    let mut parts = Vec::new();
    for value in &array.values {
        match (value, null) {
            (Datum::Null, None) => {}
            (Datum::Null, Some(null)) => parts.push(null.to_owned()),
            (value, _) => parts.push(to_text(value, &array.element, &run.context.format)),
        }
    }
    texted(parts.join(text(values, 1)))
}

fn split(values: &[Datum], null: Option<&str>) -> SqlResult<Datum> {
    if values[0].is_null() {
        return Ok(Datum::Null);
    }
    let whole = text(values, 0);
    let parts: Vec<String> = match &values[1] {
        _ if whole.is_empty() => Vec::new(),
        Datum::Null => whole.chars().map(String::from).collect(),
        Datum::Text(separator) if separator.is_empty() => vec![whole.to_owned()],
        Datum::Text(separator) => whole.split(separator.as_str()).map(str::to_owned).collect(),
        other => return Err(SqlError::new(sqlstate::INTERNAL_ERROR, format!("no separator: {other:?}"))),
    };
    let value = |part: String| if null == Some(part.as_str()) { Datum::Null } else { Datum::Text(part) };
    Ok(Datum::Array(ArrayDatum::list(PgType::TEXT, parts.into_iter().map(value).collect())))
}
