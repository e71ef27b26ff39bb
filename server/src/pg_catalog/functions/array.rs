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
    // What subscripts call, where they are no part of the interpreter's own plan.
    ("#element(anyarray,variadic int4) anyelement", |_, values| {
        Ok(crate::pg_catalog::arrays::element(&values[0], &values[1..]))
    }),
    ("#slice(anyarray,int4,int4) anyarray", |_, values| {
        crate::pg_catalog::arrays::slice(&values[0], Some(values[1].clone()), Some(values[2].clone()))
    }),
    ("#slice_from(anyarray,int4) anyarray", |_, values| {
        crate::pg_catalog::arrays::slice(&values[0], Some(values[1].clone()), None)
    }),
    ("#slice_to(anyarray,int4) anyarray", |_, values| {
        crate::pg_catalog::arrays::slice(&values[0], None, Some(values[1].clone()))
    }),
    ("#slice_all(anyarray) anyarray", |_, values| crate::pg_catalog::arrays::slice(&values[0], None, None)),
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
    ("arraycontains(anyarray,anyarray) bool", |run, values| {
        crate::pg_catalog::operators::Operator::Contains.apply(run, &values[0], &values[1])
    }),
    ("arraycontained(anyarray,anyarray) bool", |run, values| {
        crate::pg_catalog::operators::Operator::ContainedBy.apply(run, &values[0], &values[1])
    }),
    ("arrayoverlap(anyarray,anyarray) bool", |run, values| {
        crate::pg_catalog::operators::Operator::Overlaps.apply(run, &values[0], &values[1])
    }),
    ("*array_replace(anyarray,anyelement,anyelement) anyarray", |_, values| {
        let Some(found) = array(values, 0) else { return Ok(Datum::Null) };
        let replaced = found
            .values
            .iter()
            .map(|value| if is_same(value, &values[1]) { values[2].clone() } else { value.clone() });
        let values = replaced.collect();
        Ok(Datum::Array(ArrayDatum { values, ..found.clone() }))
    }),
    ("trim_array(anyarray,int4) anyarray", |_, values| {
        let Some(found) = array(values, 0) else { return Ok(Datum::Null) };
        let kept =
            usize::try_from(int(values, 1)).ok().and_then(|count| found.values.len().checked_sub(count));
        let Some(kept) = kept else {
            let message = format!("number of elements to trim must be between 0 and {}", found.values.len());
            return Err(SqlError::new(sqlstate::ARRAY_SUBSCRIPT_ERROR, message));
        };
        Ok(Datum::Array(ArrayDatum::list(found.element.clone(), found.values[..kept].to_vec())))
    }),
    ("*array_fill(anyelement,int4[]) anyarray", |_, values| fill(values)),
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

/// An array of one value, of so many elements in each dimension.
fn fill(values: &[Datum]) -> SqlResult<Datum> {
    const ELEMENTS_MAX: usize = 1 << 20;
    let null = || {
        let message = "dimension array or low bound array cannot be null";
        SqlError::new(sqlstate::NULL_VALUE_NOT_ALLOWED, message)
    };
    let lengths = array(values, 1).ok_or_else(null)?;
    let mut dimensions = Vec::new();
    let mut count = 1_usize;
    for length in &lengths.values {
        let Datum::Int4(length) = length else {
            let message = "dimension values cannot be null";
            return Err(SqlError::new(sqlstate::NULL_VALUE_NOT_ALLOWED, message));
        };
        count = count.saturating_mul(usize::try_from(*length).unwrap_or(0));
        dimensions.push(Dimension { length: *length, lower_bound: 1 });
    }
    if count > ELEMENTS_MAX {
        let message = format!("array size exceeds the maximum allowed ({ELEMENTS_MAX})");
        return Err(SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
    }
    if count == 0 || dimensions.is_empty() {
        return Ok(Datum::Array(ArrayDatum::list(element_of(&values[0]), Vec::new())));
    }
    let values = vec![values[0].clone(); count];
    Ok(Datum::Array(ArrayDatum { element: element_of(&values[0]), dimensions, values }))
}

/// The type of arrays of a value, of which only its form is known.
fn element_of(value: &Datum) -> PgType {
    match value {
        Datum::Bool(_) => PgType::BOOL,
        Datum::Int2(_) => PgType::INT2,
        Datum::Int4(_) => PgType::INT4,
        Datum::Int8(_) => PgType::INT8,
        Datum::Float4(_) => PgType::FLOAT4,
        Datum::Float8(_) => PgType::FLOAT8,
        Datum::Numeric(_) => PgType::NUMERIC,
        Datum::Date(_) => PgType::DATE,
        Datum::Timestamp(_) => PgType::TIMESTAMP,
        Datum::Timestamptz(_) => PgType::TIMESTAMPTZ,
        Datum::Interval(_) => PgType::INTERVAL,
        Datum::Uuid(_) => PgType::UUID,
        _ => PgType::TEXT,
    }
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
