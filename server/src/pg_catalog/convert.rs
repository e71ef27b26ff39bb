//! Casts: between which types there are some, and what they do.

use std::sync::Arc;

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::names;
use crate::pg_catalog::run::Run;
use crate::pgtype::PgType;
use crate::pgtype::cast::{CastError, assign, integer_out_of_range};
use crate::pgtype::datum::{ArrayDatum, Datum};
use crate::pgtype::text::{parse_text, to_text};
use crate::pgtype::types::{
    Family, NO_TYPMOD, TYPMOD_HEADER, element_type_of, family, format_type, numeric_rank,
};
use crate::sqlstate;

/// A cast of a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cast {
    pub(crate) from: PgType,
    pub(crate) to: PgType,
    pub(crate) typmod: i32,
}

/// Whether values of a type are texts.
pub(crate) fn is_string(pg_type: &PgType) -> bool {
    matches!(family(pg_type), Family::Varchar | Family::Bpchar | Family::Name)
        || matches!(*pg_type, PgType::TEXT | PgType::UNKNOWN)
}

/// Whether values of a type are numbers.
pub(crate) fn is_number(pg_type: &PgType) -> bool {
    numeric_rank(pg_type).is_some()
}

/// Whether values of one type become ones of another without being asked.
pub(crate) fn is_implicit(from: &PgType, to: &PgType) -> bool {
    if from == to || *from == PgType::UNKNOWN {
        return true;
    }
    if let (Some(from), Some(to)) = (numeric_rank(from), numeric_rank(to)) {
        return from <= to;
    }
    let (source, target) = (family(from), family(to));
    match (source, target) {
        (Family::Int2 | Family::Int4 | Family::Int8 | Family::Oid | Family::Reg, Family::Oid) => {
            *to == PgType::OID && (source != Family::Oid || *from == PgType::OID)
        }
        (Family::Int2 | Family::Int4 | Family::Int8, Family::Reg) => true,
        (Family::Oid, Family::Reg) => *from == PgType::OID,
        (Family::Oid, Family::Int8) => *from == PgType::OID,
        (Family::Reg, Family::Int8) => true,
        (Family::Reg, Family::Reg) => *from == PgType::REGPROCEDURE && *to == PgType::REGPROC,
        (Family::Varchar | Family::Bpchar | Family::Name | Family::Char, _) if *to == PgType::TEXT => true,
        (_, Family::Varchar | Family::Bpchar | Family::Name) if *from == PgType::TEXT => true,
        (Family::Varchar, Family::Bpchar | Family::Name) => true,
        (Family::Bpchar, Family::Varchar | Family::Name) => true,
        _ if *to == PgType::REGCLASS && (*from == PgType::TEXT || *from == PgType::VARCHAR) => true,
        (Family::Date, Family::Timestamp | Family::Timestamptz) => true,
        (Family::Timestamp, Family::Timestamptz) => true,
        (Family::Time, Family::Timetz | Family::Interval) => true,
        (Family::Vector, Family::Array) => element_type_of(from) == element_type_of(to),
        _ => *from == PgType::PG_NODE_TREE && *to == PgType::TEXT,
    }
}

/// Whether `CAST` leads from one type to another.
pub(crate) fn is_castable(from: &PgType, to: &PgType) -> bool {
    if is_implicit(from, to) || is_string(from) || is_string(to) {
        return true;
    }
    let (source, target) = (family(from), family(to));
    match (source, target) {
        (source, target) if source == target && source != Family::Array && source != Family::Text => true,
        (Family::Array | Family::Vector, Family::Array) => {
            match (element_type_of(from), element_type_of(to)) {
                (Some(from), Some(to)) => is_castable(&from, &to),
                _ => false,
            }
        }
        (Family::Bool, Family::Int4) | (Family::Int4, Family::Bool) => true,
        (Family::Char, Family::Int4) | (Family::Int4, Family::Char) => true,
        (Family::Oid, Family::Int4) | (Family::Reg, Family::Int4) => true,
        (Family::Json, Family::Jsonb) | (Family::Jsonb, Family::Json) => true,
        (Family::Jsonb, target) => target == Family::Bool || is_number(to),
        (Family::Timestamp, Family::Date | Family::Time) => true,
        (Family::Timestamptz, Family::Date | Family::Time | Family::Timetz | Family::Timestamp) => true,
        (Family::Timetz, Family::Time) | (Family::Interval, Family::Time) => true,
        _ => is_number(from) && is_number(to),
    }
}

/// The error for two types between which there is no cast.
pub(crate) fn cannot_cast(from: &PgType, to: &PgType) -> SqlError {
    let message = format!("cannot cast type {} to {}", format_type(from), format_type(to));
    SqlError::new(sqlstate::CANNOT_COERCE, message)
}

/// The value as one of the other type.
pub(crate) fn cast(value: Datum, cast: &Cast, run: &Run<'_>) -> SqlResult<Datum> {
    if value.is_null() {
        return Ok(Datum::Null);
    }
    let Cast { from, to, typmod } = cast;
    let format = &run.context.format;
    match (&value, family(to)) {
        (Datum::Text(text), Family::Reg) => return names::parse_reg(text, to, run.context),
        (Datum::Oid(oid) | Datum::Reg(oid, _), Family::Reg) => return Ok(names::reg(*oid, to, run.context)),
        (Datum::Reg(oid, _), Family::Oid) => return Ok(Datum::Oid(*oid)),
        (Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_), Family::Reg) => {
            return match assigned(value, &PgType::OID, NO_TYPMOD, from, run)? {
                Datum::Oid(oid) => Ok(names::reg(oid, to, run.context)),
                other => Ok(other),
            };
        }
        (Datum::Text(text), Family::Varchar | Family::Bpchar) if is_string(from) => {
            return explicit_length(text, to, *typmod, run);
        }
        (Datum::Text(text), Family::Name | Family::Text) if is_string(from) && is_string(to) => {
            // Blanks at the end of a bpchar are not part of the text.
            let text = if family(from) == Family::Bpchar { text.trim_end_matches(' ') } else { text };
            return parse_text(text, to, NO_TYPMOD, format);
        }
        (Datum::Text(text), _) => return parse_text(text, to, *typmod, format),
        (Datum::Jsonb(text), target)
            if !is_string(to) && target != Family::Json && target != Family::Jsonb =>
        {
            let scalar = crate::pgtype::jsonb::scalar(text, to)?;
            return assigned(scalar, to, *typmod, &PgType::NUMERIC, run);
        }
        (Datum::Bool(value), Family::Int4) => return Ok(Datum::Int4(i32::from(*value))),
        (Datum::Int4(value), Family::Bool) => return Ok(Datum::Bool(*value != 0)),
        (Datum::Char(value), Family::Int4) => return Ok(Datum::Int4(i32::from(value.cast_signed()))),
        (Datum::Int4(value), Family::Char) => {
            let byte = i8::try_from(*value)
                .map_err(|_| SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "\"char\" out of range"))?;
            return Ok(Datum::Char(byte.cast_unsigned()));
        }
        (Datum::Bool(value), Family::Varchar | Family::Text) if is_string(to) => {
            return Ok(Datum::Text(value.to_string()));
        }
        (Datum::Array(_), Family::Array) => return array(value, cast, run),
        (Datum::Array(_), Family::Vector) => return Ok(value),
        (Datum::Void, _) if is_string(to) => return Ok(Datum::Text(String::new())),
        _ => {}
    }
    if is_string(to) {
        let text = to_text(&value, from, format);
        return explicit_length(&text, to, *typmod, run);
    }
    assigned(value, to, *typmod, from, run)
}

fn assigned(value: Datum, to: &PgType, typmod: i32, from: &PgType, run: &Run<'_>) -> SqlResult<Datum> {
    let wide = match &value {
        Datum::Numeric(_) | Datum::Int8(_) | Datum::Float8(_) | Datum::Float4(_) | Datum::Oid(_) => {
            family(to)
        }
        _ => Family::Void,
    };
    assign(value, to, typmod, &run.context.format).map_err(|error| match error {
        CastError::Value(error) => error,
        CastError::NoCast if wide == Family::Int4 => integer_out_of_range("integer"),
        CastError::NoCast => cannot_cast(from, to),
    })
}

/// An explicit cast to `varchar(n)` cuts off what is too much.
fn explicit_length(text: &str, to: &PgType, typmod: i32, run: &Run<'_>) -> SqlResult<Datum> {
    let limit =
        usize::try_from(typmod.saturating_sub(TYPMOD_HEADER)).ok().filter(|_| typmod >= TYPMOD_HEADER);
    let cut: String = match limit {
        Some(limit) => text.chars().take(limit).collect(),
        None => text.to_owned(),
    };
    parse_text(&cut, to, typmod, &run.context.format)
}

fn array(value: Datum, cast_of: &Cast, run: &Run<'_>) -> SqlResult<Datum> {
    let Datum::Array(array) = value else { return Ok(value) };
    let to = element_type_of(&cast_of.to).unwrap_or(PgType::TEXT);
    let element = Cast { from: array.element.clone(), to: to.clone(), typmod: cast_of.typmod };
    let values =
        array.values.into_iter().map(|value| cast(value, &element, run)).collect::<SqlResult<_>>()?;
    Ok(Datum::Array(ArrayDatum { element: to, dimensions: array.dimensions, values }))
}

/// The one type that values of several types become, as in UNION, CASE and arrays; `None` where there
/// is none.
pub(crate) fn common_type(types: &[PgType]) -> Option<PgType> {
    let mut known = types.iter().filter(|pg_type| **pg_type != PgType::UNKNOWN);
    let Some(first) = known.next() else { return Some(PgType::TEXT) };
    let mut common = first.clone();
    for pg_type in known {
        if *pg_type == common || is_implicit(pg_type, &common) && !is_implicit(&common, pg_type) {
            continue;
        }
        let same_category =
            crate::pgtype::types::type_category(pg_type) == crate::pgtype::types::type_category(&common);
        if !same_category {
            return None;
        }
        if is_implicit(&common, pg_type) && !is_preferred(&common) {
            common = pg_type.clone();
        }
    }
    let reachable = |pg_type: &PgType| is_implicit(pg_type, &common);
    types.iter().all(reachable).then_some(common)
}

/// `typispreferred`
pub(crate) fn is_preferred(pg_type: &PgType) -> bool {
    matches!(
        *pg_type,
        PgType::TEXT
            | PgType::FLOAT8
            | PgType::OID
            | PgType::TIMESTAMPTZ
            | PgType::INTERVAL
            | PgType::BOOL
            | PgType::INET
            | PgType::VARBIT
    )
}

/// A `reg` value as the catalog's own tables have it.
pub(crate) fn reg(oid: u32, name: &str) -> Datum {
    Datum::Reg(oid, Arc::from(if oid == 0 { "-" } else { name }))
}
