//! Computing an expression for a row.

use std::cmp::Ordering;

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::plan::{Expr, QueryPlan, Row};
use crate::pg_catalog::run::Run;
use crate::pg_catalog::{arrays, convert};
use crate::pgtype::compare::compare;
use crate::pgtype::datum::{ArrayDatum, Datum};
use crate::sqlstate;

/// The rows that an expression sees: one of each relation of its SELECT, and those around it.
#[derive(Clone, Debug)]
pub(crate) struct Frame<'a> {
    /// `None` for the missing side of an outer join.
    pub(crate) rows: Vec<Option<Row>>,
    pub(crate) aggregates: Vec<Datum>,
    pub(crate) windows: Vec<Datum>,
    pub(crate) sets: Vec<Datum>,
    pub(crate) parent: Option<&'a Frame<'a>>,
}

impl<'a> Frame<'a> {
    pub(crate) fn new(relation_count: usize, parent: Option<&'a Frame<'a>>) -> Frame<'a> {
        Frame {
            rows: vec![None; relation_count],
            aggregates: Vec::new(),
            windows: Vec::new(),
            sets: Vec::new(),
            parent,
        }
    }

    fn row(&self, depth: usize, relation: usize) -> Option<&Row> {
        let mut frame = self;
        for _ in 0..depth {
            frame = frame.parent.expect("names were resolved in the frames there are");
        }
        frame.rows[relation].as_ref()
    }
}

/// The value of an expression.
pub(crate) fn eval(expr: &Expr, frame: &Frame<'_>, run: &Run<'_>) -> SqlResult<Datum> {
    Ok(match expr {
        Expr::Const(value) => value.clone(),
        Expr::Parameter(at) => run.parameter(*at)?,
        Expr::Column { depth, relation, column } => {
            frame.row(*depth, *relation).map_or(Datum::Null, |row| row[*column].clone())
        }
        Expr::Record { depth, relation, types } => match frame.row(*depth, *relation) {
            Some(row) => Datum::Record(types.iter().cloned().zip(row.iter().cloned()).collect()),
            None => Datum::Null,
        },
        Expr::Aggregate(at) => frame.aggregates[*at].clone(),
        Expr::Window(at) => frame.windows[*at].clone(),
        Expr::Set(at) => frame.sets[*at].clone(),
        Expr::Call(callable, arguments) => {
            let values = eval_all(arguments, frame, run)?;
            if callable.0.strict && values.iter().any(Datum::is_null) {
                return Ok(Datum::Null);
            }
            (callable.0.eval)(run, &values)?
        }
        Expr::Shared(overload, arguments) => {
            let values = eval_all(arguments, frame, run)?;
            if !overload.takes_nulls && values.iter().any(Datum::is_null) {
                return Ok(Datum::Null);
            }
            (overload.apply.0)(&values, &run.context.format)?
        }
        Expr::Operate(operator, left, right) => {
            let left = eval(left, frame, run)?;
            if left.is_null() {
                return Ok(Datum::Null);
            }
            operator.apply(run, &left, &eval(right, frame, run)?)?
        }
        Expr::Cast(inner, cast) => convert::cast(eval(inner, frame, run)?, cast, run)?,
        Expr::And(_) | Expr::Or(_) | Expr::Not(_) | Expr::IsNull(_) | Expr::Is(..) | Expr::IsDistinct(..) => {
            truth(expr, frame, run)?
        }
        Expr::Quantified { .. } | Expr::QuantifiedQuery { .. } | Expr::InList(..) => {
            membership(expr, frame, run)?
        }
        Expr::Scalar(_) | Expr::Exists(_) | Expr::ArrayOf(..) => query(expr, frame, run)?,
        Expr::Case { .. } | Expr::Coalesce(_) | Expr::NullIf(..) | Expr::Extreme { .. } => {
            choice(expr, frame, run)?
        }
        Expr::Array { element, items, nested } => {
            let values = eval_all(items, frame, run)?;
            if *nested {
                arrays::nest(element, values)?
            } else {
                Datum::Array(ArrayDatum::list(element.clone(), values))
            }
        }
        Expr::Row(fields) => {
            let value = |(pg_type, field): &(_, Expr)| Ok((Clone::clone(pg_type), eval(field, frame, run)?));
            Datum::Record(fields.iter().map(value).collect::<SqlResult<_>>()?)
        }
        Expr::Subscript(array, subscripts) => {
            arrays::element(&eval(array, frame, run)?, &eval_all(subscripts, frame, run)?)
        }
        Expr::Slice(array, lower, upper) => {
            let bound = |expr: &Option<Box<Expr>>| expr.as_ref().map(|it| eval(it, frame, run)).transpose();
            arrays::slice(&eval(array, frame, run)?, bound(lower)?, bound(upper)?)?
        }
        Expr::Field(record, at) => match eval(record, frame, run)? {
            Datum::Record(mut fields) if *at < fields.len() => fields.swap_remove(*at).1,
            _ => Datum::Null,
        },
    })
}

/// The values of some expressions.
pub(crate) fn eval_all(exprs: &[Expr], frame: &Frame<'_>, run: &Run<'_>) -> SqlResult<Vec<Datum>> {
    exprs.iter().map(|expr| eval(expr, frame, run)).collect()
}

/// Whether a condition holds: NULL does not.
pub(crate) fn holds(condition: &Expr, frame: &Frame<'_>, run: &Run<'_>) -> SqlResult<bool> {
    Ok(matches!(eval(condition, frame, run)?, Datum::Bool(true)))
}

/// Whether all conditions hold.
pub(crate) fn all_hold(conditions: &[Expr], frame: &Frame<'_>, run: &Run<'_>) -> SqlResult<bool> {
    for condition in conditions {
        if !holds(condition, frame, run)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn truth(expr: &Expr, frame: &Frame<'_>, run: &Run<'_>) -> SqlResult<Datum> {
    Ok(match expr {
        Expr::And(items) => junction(items, false, frame, run)?,
        Expr::Or(items) => junction(items, true, frame, run)?,
        Expr::Not(inner) => negate(eval(inner, frame, run)?),
        Expr::IsNull(inner) => Datum::Bool(match eval(inner, frame, run)? {
            // A record is null when all of its fields are.
            Datum::Record(fields) => fields.iter().all(|(_, field)| field.is_null()),
            value => value.is_null(),
        }),
        Expr::Is(inner, wanted) => Datum::Bool(eval(inner, frame, run)? == Datum::Bool(*wanted)),
        Expr::IsDistinct(left, right) => {
            let (left, right) = (eval(left, frame, run)?, eval(right, frame, run)?);
            Datum::Bool(match (left.is_null(), right.is_null()) {
                (true, true) => false,
                (false, false) => compare(&left, &right) != Some(Ordering::Equal),
                _ => true,
            })
        }
        other => return Err(SqlError::internal(format!("no truth value: {other:?}"))),
    })
}

/// AND stops at the first false, OR at the first true.
fn junction(items: &[Expr], decisive: bool, frame: &Frame<'_>, run: &Run<'_>) -> SqlResult<Datum> {
    let mut outcome = Datum::Bool(!decisive);
    for item in items {
        match eval(item, frame, run)? {
            Datum::Bool(value) if value == decisive => return Ok(Datum::Bool(decisive)),
            Datum::Null => outcome = Datum::Null,
            _ => {}
        }
    }
    Ok(outcome)
}

fn negate(value: Datum) -> Datum {
    match value {
        Datum::Bool(value) => Datum::Bool(!value),
        other => other,
    }
}

/// ANY is true with one true, ALL false with one false; otherwise a NULL decides.
fn quantify(outcomes: impl Iterator<Item = SqlResult<Datum>>, all: bool) -> SqlResult<Datum> {
    let mut outcome = Datum::Bool(all);
    for value in outcomes {
        match value? {
            Datum::Bool(value) if value != all => return Ok(Datum::Bool(value)),
            Datum::Null => outcome = Datum::Null,
            _ => {}
        }
    }
    Ok(outcome)
}

fn membership(expr: &Expr, frame: &Frame<'_>, run: &Run<'_>) -> SqlResult<Datum> {
    match expr {
        Expr::Quantified { operator, left, array, all } => {
            let left = eval(left, frame, run)?;
            match eval(array, frame, run)? {
                Datum::Array(array) => {
                    quantify(array.values.iter().map(|value| operator.apply(run, &left, value)), *all)
                }
                _ => Ok(Datum::Null),
            }
        }
        Expr::InList(left, items) => {
            let left = eval(left, frame, run)?;
            let equal = |item: &Expr| Ok(equality(&left, &eval(item, frame, run)?));
            quantify(items.iter().map(equal), false)
        }
        Expr::QuantifiedQuery { operator, left, query, all } => {
            let left = eval_all(left, frame, run)?;
            let rows = run.rows(&query.0, Some(frame))?;
            let outcome = |row: &Row| match left.as_slice() {
                [left] => operator.apply(run, left, &row[0]),
                // Only rows of equal width are compared, and only for equality.
                several => {
                    let pairs = several.iter().zip(row.iter());
                    quantify(pairs.map(|(left, right)| operator.apply(run, left, right)), !*all)
                }
            };
            quantify(rows.iter().map(outcome), *all)
        }
        other => Err(SqlError::internal(format!("no membership: {other:?}"))),
    }
}

/// `=` as SQL has it.
pub(crate) fn equality(left: &Datum, right: &Datum) -> Datum {
    compare(left, right).map_or(Datum::Null, |order| Datum::Bool(order == Ordering::Equal))
}

fn query(expr: &Expr, frame: &Frame<'_>, run: &Run<'_>) -> SqlResult<Datum> {
    match expr {
        Expr::Scalar(query) => scalar(&query.0, frame, run),
        Expr::Exists(query) => Ok(Datum::Bool(!run.rows(&query.0, Some(frame))?.is_empty())),
        Expr::ArrayOf(query, element) => {
            let rows = run.rows(&query.0, Some(frame))?;
            let values = rows.iter().map(|row| row[0].clone()).collect();
            if let crate::pgtype::types::Family::Array = crate::pgtype::types::family(element) {
                return arrays::nest(element, values);
            }
            Ok(Datum::Array(ArrayDatum::list(element.clone(), values)))
        }
        other => Err(SqlError::internal(format!("no query: {other:?}"))),
    }
}

fn scalar(query: &QueryPlan, frame: &Frame<'_>, run: &Run<'_>) -> SqlResult<Datum> {
    let rows = run.rows(query, Some(frame))?;
    match rows.as_slice() {
        [] => Ok(Datum::Null),
        [row] => Ok(row[0].clone()),
        _ => Err(SqlError::new(
            sqlstate::CARDINALITY_VIOLATION,
            "more than one row returned by a subquery used as an expression",
        )),
    }
}

fn choice(expr: &Expr, frame: &Frame<'_>, run: &Run<'_>) -> SqlResult<Datum> {
    match expr {
        Expr::Case { whens, otherwise } => {
            for (condition, result) in whens {
                if holds(condition, frame, run)? {
                    return eval(result, frame, run);
                }
            }
            otherwise.as_ref().map_or(Ok(Datum::Null), |it| eval(it, frame, run))
        }
        Expr::Coalesce(items) => {
            for item in items {
                let value = eval(item, frame, run)?;
                if !value.is_null() {
                    return Ok(value);
                }
            }
            Ok(Datum::Null)
        }
        Expr::NullIf(left, right) => {
            let (left, right) = (eval(left, frame, run)?, eval(right, frame, run)?);
            Ok(if equality(&left, &right) == Datum::Bool(true) { Datum::Null } else { left })
        }
        Expr::Extreme { items, greatest } => {
            let wanted = if *greatest { Ordering::Greater } else { Ordering::Less };
            let mut best = Datum::Null;
            for item in items {
                let value = eval(item, frame, run)?;
                if best.is_null() || compare(&value, &best) == Some(wanted) {
                    best = value;
                }
            }
            Ok(best)
        }
        other => Err(SqlError::internal(format!("no choice: {other:?}"))),
    }
}
