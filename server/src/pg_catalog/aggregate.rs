//! Aggregate functions over values that were collected, filtered and ordered.

use std::cmp::Ordering;

use crate::error::SqlResult;
use crate::pg_catalog::functions::json;
use crate::pg_catalog::operators::{Arithmetic, Operator, text};
use crate::pg_catalog::run::Run;
use crate::pgtype::PgType;
use crate::pgtype::compare::compare;
use crate::pgtype::datum::{ArrayDatum, Datum};
use crate::pgtype::types::{Family, family};

/// An aggregate with the type that its arguments have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Aggregate {
    CountRows,
    Count,
    Min,
    Max,
    /// Of values that were cast to the type of the sum.
    Sum,
    /// The same, divided by their number.
    Avg,
    BoolAnd,
    BoolOr,
    /// The type of the elements.
    ArrayAgg(PgType),
    StringAgg,
    /// The type of the values.
    JsonAgg(PgType, bool),
    JsonObjectAgg(PgType, bool),
}

/// The aggregate of these values, one list of arguments for each row.
pub(crate) fn fold(aggregate: &Aggregate, rows: Vec<Vec<Datum>>, run: &Run<'_>) -> SqlResult<Datum> {
    let count = |count: usize| Datum::Int8(i64::try_from(count).unwrap_or(i64::MAX));
    match aggregate {
        Aggregate::CountRows => return Ok(count(rows.len())),
        Aggregate::ArrayAgg(element) if rows.is_empty() => {
            debug_assert!(*element != PgType::UNKNOWN, "types were settled");
            return Ok(Datum::Null);
        }
        Aggregate::ArrayAgg(element) => {
            let values = rows.into_iter().map(first).collect();
            if family(element) == Family::Array {
                return crate::pg_catalog::arrays::nest(element, values);
            }
            return Ok(Datum::Array(ArrayDatum::list(element.clone(), values)));
        }
        Aggregate::JsonAgg(pg_type, binary) => {
            let values: Vec<Datum> = rows.into_iter().map(first).collect();
            return json::aggregate(&values, pg_type, *binary, run);
        }
        Aggregate::JsonObjectAgg(pg_type, binary) => {
            return json::aggregate_object(&rows, pg_type, *binary, run);
        }
        _ => {}
    }
    let mut rows = rows.into_iter().filter(|row| !row[0].is_null());
    match aggregate {
        Aggregate::Count => Ok(count(rows.count())),
        Aggregate::StringAgg => {
            let mut joined: Option<String> = None;
            for row in rows {
                match &mut joined {
                    None => joined = Some(text(&row[0]).to_owned()),
                    Some(joined) => {
                        joined.push_str(text(&row[1]));
                        joined.push_str(text(&row[0]));
                    }
                }
            }
            Ok(joined.map_or(Datum::Null, Datum::Text))
        }
        Aggregate::BoolAnd | Aggregate::BoolOr => {
            let wanted = *aggregate == Aggregate::BoolOr;
            let mut outcome = Datum::Null;
            for row in rows {
                if row[0] == Datum::Bool(wanted) {
                    return Ok(Datum::Bool(wanted));
                }
                outcome = Datum::Bool(!wanted);
            }
            Ok(outcome)
        }
        Aggregate::Min | Aggregate::Max => {
            let wanted = if *aggregate == Aggregate::Max { Ordering::Greater } else { Ordering::Less };
            let best = rows
                .map(first)
                .reduce(|best, value| if compare(&value, &best) == Some(wanted) { value } else { best });
            Ok(best.unwrap_or(Datum::Null))
        }
        _ => {
            let Some(mut sum) = rows.next().map(first) else { return Ok(Datum::Null) };
            let mut count = 1_i64;
            for row in rows {
                sum = Operator::Arithmetic(Arithmetic::Add).apply(run, &sum, &row[0])?;
                count += 1;
            }
            if *aggregate != Aggregate::Avg {
                return Ok(sum);
            }
            let count = match sum {
                Datum::Float8(_) => Datum::Float8(count as f64),
                _ => Datum::Numeric(count.into()),
            };
            Operator::Arithmetic(Arithmetic::Divide).apply(run, &sum, &count)
        }
    }
}

fn first(row: Vec<Datum>) -> Datum {
    row.into_iter().next().unwrap_or(Datum::Null)
}
