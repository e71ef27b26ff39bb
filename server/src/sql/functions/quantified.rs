//! `x op ANY (array)` and `x op ALL (array)`.

use std::cmp::Ordering;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::compare::compare;
use crate::pgtype::datum::Datum;
use crate::pgtype::settings::FormatSettings;
use crate::sql::functions::row::{Entry, Kind, strict};

/// The function that they become: of the quantifier and the operator, the value and the array.
pub const FUNCTIONS: &[Entry] =
    &[("any_all", &[strict(&[Kind::Text, Kind::Any, Kind::Any], Kind::Bool, any_all)])];

/// A NULL in the array leaves open what no other element decides.
fn any_all(args: &[Datum], _: &FormatSettings) -> SqlResult<Datum> {
    let [Datum::Text(name), value, Datum::Array(array)] = args else {
        return Err(SqlError::unsupported("ANY or ALL of anything but an array"));
    };
    let Some((quantifier, operator)) = name.split_once(' ') else {
        return Err(SqlError::internal("a quantifier and an operator were expected"));
    };
    let decides = quantifier == "any";
    let mut is_open = false;
    for element in &array.values {
        if element.is_null() {
            is_open = true;
            continue;
        }
        let order = compare(value, element)
            .ok_or_else(|| SqlError::unsupported("a comparison with elements of another type"))?;
        if holds(operator, order)? == decides {
            return Ok(Datum::Bool(decides));
        }
    }
    Ok(if is_open { Datum::Null } else { Datum::Bool(!decides) })
}

fn holds(operator: &str, order: Ordering) -> SqlResult<bool> {
    Ok(match operator {
        "=" => order == Ordering::Equal,
        "<>" => order != Ordering::Equal,
        "<" => order == Ordering::Less,
        "<=" => order != Ordering::Greater,
        ">" => order == Ordering::Greater,
        ">=" => order != Ordering::Less,
        other => return Err(SqlError::unsupported(format!("{other} with ANY or ALL"))),
    })
}
