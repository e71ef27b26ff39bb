//! Comparisons of rows, which are those of their columns.

use sqlparser::ast::{BinaryOperator, Expr};

use crate::error::{SqlError, SqlResult};
use crate::sqlstate;

fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}

/// The columns of what is written as a row.
pub fn columns(expr: &Expr) -> Option<&[Expr]> {
    match expr {
        Expr::Tuple(items) => Some(items),
        _ => None,
    }
}

/// Whether an operator compares.
pub fn is_comparison(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq
    )
}

/// Rows are compared by their first columns that differ.
///
/// # Errors
/// They have not as many columns.
pub fn compared(left: &[Expr], op: &BinaryOperator, right: &[Expr]) -> SqlResult<Expr> {
    if left.len() != right.len() || left.is_empty() {
        let message = "unequal number of entries in row expressions";
        return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
    }
    let pairs: Vec<(Expr, Expr)> =
        left.iter().cloned().map(nested).zip(right.iter().cloned().map(nested)).collect();
    let joined = |pairs: Vec<(Expr, Expr)>, compare: BinaryOperator, join: BinaryOperator| {
        let terms = pairs.into_iter().map(|(left, right)| binary(left, compare.clone(), right));
        terms.reduce(|all, next| binary(all, join.clone(), next))
    };
    let compared = match op {
        BinaryOperator::Eq => joined(pairs, BinaryOperator::Eq, BinaryOperator::And),
        BinaryOperator::NotEq => joined(pairs, BinaryOperator::NotEq, BinaryOperator::Or),
        op => {
            let strict = match op {
                BinaryOperator::LtEq => BinaryOperator::Lt,
                BinaryOperator::GtEq => BinaryOperator::Gt,
                other => other.clone(),
            };
            pairs.into_iter().rev().fold(None, |rest, (left, right)| {
                Some(match rest {
                    None => binary(left, op.clone(), right),
                    Some(rest) => {
                        let equal = binary(left.clone(), BinaryOperator::Eq, right.clone());
                        let tie = nested(binary(equal, BinaryOperator::And, nested(rest)));
                        binary(binary(left, strict.clone(), right), BinaryOperator::Or, tie)
                    }
                })
            })
        }
    };
    compared.map(nested).ok_or_else(|| SqlError::internal("a row has columns"))
}

/// Whether all columns of a row are NULL, or none is.
///
/// # Errors
/// It has no columns.
pub fn all_null(columns: &[Expr], wanted: bool) -> SqlResult<Expr> {
    let test = |column: &Expr| {
        let column = Box::new(nested(column.clone()));
        if wanted { Expr::IsNull(column) } else { Expr::IsNotNull(column) }
    };
    let tests = columns.iter().map(test).reduce(|all, next| binary(all, BinaryOperator::And, next));
    tests.map(nested).ok_or_else(|| SqlError::internal("a row has columns"))
}
