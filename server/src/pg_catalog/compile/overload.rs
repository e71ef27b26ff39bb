//! Which of the functions with a name takes values of some types.

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::convert::{is_implicit, is_preferred, is_string};
use crate::pg_catalog::functions;
use crate::pg_catalog::functions::{Function, Slot};
use crate::pg_catalog::types::array_of;
use crate::pgtype::PgType;
use crate::pgtype::types::{Family, element_type_of, family, format_type};
use crate::sqlstate;

/// The best of the functions with a name: most arguments of exactly the wanted type, then most that
/// are wanted as their category's preferred type, and texts for literals.
pub(super) fn select(name: &str, types: &[PgType]) -> Option<&'static Function> {
    let mut best: Option<((usize, usize), &'static Function)> = None;
    for function in functions::named(name) {
        let Some(score) = score(function, types) else { continue };
        if best.is_none_or(|(other, _)| score > other) {
            best = Some((score, function));
        }
    }
    best.map(|(_, function)| function)
}

fn score(function: &Function, types: &[PgType]) -> Option<(usize, usize)> {
    let wanted = function.arguments.len();
    let fits = if function.variadic { types.len() >= wanted } else { types.len() == wanted };
    if !fits {
        return None;
    }
    let (mut exact, mut preferred) = (0, 0);
    for (at, given) in types.iter().enumerate() {
        let slot = function.arguments.get(at).or(function.arguments.last())?;
        match slot {
            Slot::Type(to) if given == to => exact += 1,
            Slot::Type(to) if *given == PgType::UNKNOWN => preferred += usize::from(is_string(to)) + 1,
            Slot::Type(to) if is_implicit(given, to) => preferred += usize::from(is_preferred(to)),
            Slot::Type(_) => return None,
            Slot::AnyArray => match family(given) {
                Family::Array | Family::Vector => {}
                _ if *given == PgType::UNKNOWN => {}
                _ => return None,
            },
            Slot::Any | Slot::AnyElement => {}
        }
    }
    Some((exact, preferred))
}

/// A function that takes values of some types, as others call it.
pub(crate) struct Resolved {
    /// The function.
    pub(crate) function: &'static Function,
    /// The type in which it wants each argument; `None` where it wants to be told the type it has.
    pub(crate) wanted: Vec<Option<PgType>>,
    /// The type of its result.
    pub(crate) result: PgType,
}

/// Finds the function that takes these types; `None` where there is none of the name at all.
pub(crate) fn resolve(name: &str, types: &[PgType]) -> SqlResult<Option<Resolved>> {
    if functions::named(name).is_empty() {
        return Ok(None);
    }
    let function = select(name, types).ok_or_else(|| undefined(name, types))?;
    let element = element_of(function, types);
    let wanted = types.iter().enumerate().map(|(at, given)| {
        match function.arguments.get(at).or(function.arguments.last()) {
            Some(Slot::AnyArray) if family(given) == Family::Vector => Ok(Some(given.clone())),
            Some(Slot::Any) | None => Ok(None),
            Some(slot) => concrete(slot, element.as_ref()).map(Some),
        }
    });
    let wanted = wanted.collect::<SqlResult<_>>()?;
    let result = concrete(&function.result, element.as_ref())?;
    Ok(Some(Resolved { function, wanted, result }))
}

pub(super) fn concrete(slot: &Slot, element: Option<&PgType>) -> SqlResult<PgType> {
    match (slot, element) {
        (Slot::Type(pg_type), _) => Ok(pg_type.clone()),
        (Slot::AnyElement, Some(element)) => Ok(element.clone()),
        (Slot::AnyArray, Some(element)) => array_of(element),
        _ => {
            let message = "could not determine polymorphic type because input has type unknown";
            Err(SqlError::new(sqlstate::DATATYPE_MISMATCH, message))
        }
    }
}

/// The type that `anyelement` stands for in a call.
pub(super) fn element_of(function: &Function, types: &[PgType]) -> Option<PgType> {
    let pairs = || function.arguments.iter().zip(types).filter(|(_, it)| **it != PgType::UNKNOWN);
    let arrays = pairs().filter(|(slot, _)| **slot == Slot::AnyArray);
    let from_array = arrays.filter_map(|(_, it)| element_type_of(it)).next();
    let mut elements = pairs().filter(|(slot, _)| **slot == Slot::AnyElement);
    from_array.or_else(|| elements.next().map(|(_, it)| it.clone()))
}

pub(super) fn undefined(name: &str, types: &[PgType]) -> SqlError {
    let shown: Vec<String> = types.iter().map(format_type).collect();
    let message = format!("function {name}({}) does not exist", shown.join(", "));
    SqlError::new(sqlstate::UNDEFINED_FUNCTION, message).with_hint(
        "No function matches the given name and argument types. You might need to add explicit type casts.",
    )
}
