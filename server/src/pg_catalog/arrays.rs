//! Arrays: subscripts, slices, and arrays of arrays.

use crate::error::{SqlError, SqlResult};
use crate::pgtype::PgType;
use crate::pgtype::datum::{ArrayDatum, Datum, Dimension};
use crate::sqlstate;

fn number(value: &Datum) -> Option<i32> {
    match value {
        Datum::Int2(value) => Some(i32::from(*value)),
        Datum::Int4(value) => Some(*value),
        Datum::Int8(value) => i32::try_from(*value).ok(),
        _ => None,
    }
}

/// `array[i, j]`: NULL beyond its bounds, or with another number of subscripts than it has dimensions.
pub(crate) fn element(array: &Datum, subscripts: &[Datum]) -> Datum {
    let Datum::Array(array) = array else { return Datum::Null };
    if subscripts.len() != array.dimensions.len() {
        return Datum::Null;
    }
    let mut at = 0;
    for (subscript, dimension) in subscripts.iter().zip(&array.dimensions) {
        let offset = number(subscript).and_then(|it| it.checked_sub(dimension.lower_bound));
        match offset {
            Some(offset) if (0..dimension.length).contains(&offset) => {
                at = at * dimension.length as usize + offset as usize;
            }
            _ => return Datum::Null,
        }
    }
    array.values.get(at).cloned().unwrap_or(Datum::Null)
}

/// `array[lower:upper]` of an array with one dimension.
pub(crate) fn slice(array: &Datum, lower: Option<Datum>, upper: Option<Datum>) -> SqlResult<Datum> {
    let Datum::Array(array) = array else { return Ok(Datum::Null) };
    let [dimension] = array.dimensions.as_slice() else {
        return match array.dimensions.len() {
            0 => Ok(Datum::Array(ArrayDatum::list(array.element.clone(), Vec::new()))),
            _ => Err(SqlError::unsupported("a slice of an array with several dimensions")),
        };
    };
    let last = dimension.lower_bound + dimension.length - 1;
    let bound = |given: Option<Datum>, otherwise: i32| match given {
        None => Some(otherwise),
        Some(value) => number(&value),
    };
    let (Some(lower), Some(upper)) = (bound(lower, dimension.lower_bound), bound(upper, last)) else {
        return Ok(Datum::Null);
    };
    let (from, to) = (lower.max(dimension.lower_bound), upper.min(last));
    let values = if from > to {
        Vec::new()
    } else {
        let start = (from - dimension.lower_bound) as usize;
        array.values[start..=start + (to - from) as usize].to_vec()
    };
    Ok(Datum::Array(ArrayDatum::list(array.element.clone(), values)))
}

/// An array with one dimension more, made of arrays that are alike.
pub(crate) fn nest(element: &PgType, values: Vec<Datum>) -> SqlResult<Datum> {
    let element = crate::pgtype::types::element_type_of(element).unwrap_or_else(|| element.clone());
    let mut inner: Option<Vec<Dimension>> = None;
    let count = i32::try_from(values.len()).unwrap_or(i32::MAX);
    let mut all = Vec::new();
    for value in values {
        let array = match value {
            Datum::Array(array) => array,
            _ => return Err(different_dimensions()),
        };
        if inner.as_ref().is_some_and(|dimensions| *dimensions != array.dimensions) {
            return Err(different_dimensions());
        }
        inner = Some(array.dimensions);
        all.extend(array.values);
    }
    let mut dimensions = Vec::new();
    if !all.is_empty() {
        dimensions.push(Dimension { length: count, lower_bound: 1 });
        dimensions.extend(inner.unwrap_or_default());
    }
    Ok(Datum::Array(ArrayDatum { element, dimensions, values: all }))
}

fn different_dimensions() -> SqlError {
    let message = "multidimensional arrays must have array expressions with matching dimensions";
    SqlError::new(sqlstate::ARRAY_SUBSCRIPT_ERROR, message)
}
