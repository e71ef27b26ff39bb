//! GROUP BY in its forms: sets within sets and empty sets, which DataFusion has not, are multiplied out.

use sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Select};

use crate::error::{SqlError, SqlResult};
use crate::sql::names;
use crate::sqlstate;

/// As many sets as PostgreSQL makes of a GROUP BY.
const SETS_MAX: usize = 4096;

/// Multiplies out what DataFusion does not read.
///
/// # Errors
/// There are too many sets.
pub fn rewrite(select: &mut Select) -> SqlResult<()> {
    let GroupByExpr::Expressions(exprs, modifiers) = &mut select.group_by else { return Ok(()) };
    if !modifiers.is_empty() || !exprs.iter().any(needs_rewriting) {
        return Ok(());
    }
    let mut sets: Vec<Vec<Expr>> = vec![Vec::new()];
    for expr in exprs.iter() {
        let factors = sets_of(expr);
        if sets.len().saturating_mul(factors.len()) > SETS_MAX {
            let message = format!("too many grouping sets present (maximum {SETS_MAX})");
            return Err(SqlError::new(sqlstate::STATEMENT_TOO_COMPLEX, message));
        }
        let mut product = Vec::with_capacity(sets.len() * factors.len());
        for set in &sets {
            for factor in &factors {
                let mut both = set.clone();
                for expr in factor {
                    if !both.contains(expr) {
                        both.push(expr.clone());
                    }
                }
                product.push(both);
            }
        }
        sets = product;
    }
    *exprs = match sets.as_slice() {
        // One empty set is no GROUP BY, but it makes one group of all rows.
        [only] if only.is_empty() => vec![Expr::GroupingSets(vec![Vec::new()])],
        [only] => only.clone(),
        _ => vec![Expr::GroupingSets(sets)],
    };
    Ok(())
}

fn needs_rewriting(expr: &Expr) -> bool {
    match expr {
        Expr::Tuple(items) => items.is_empty(),
        Expr::GroupingSets(sets) => sets.iter().any(|set| match set.as_slice() {
            [only] => nested(only).is_some(),
            _ => false,
        }),
        _ => false,
    }
}

/// ROLLUP, CUBE or GROUPING SETS within GROUPING SETS, where the parser takes them for calls.
fn nested(expr: &Expr) -> Option<Vec<Vec<Expr>>> {
    match expr {
        Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_) => Some(sets_of(expr)),
        Expr::Function(function) => {
            let name = names::parts(&function.name).ok()?.pop()?;
            let FunctionArguments::List(list) = &function.args else { return None };
            let argument = |arg: &FunctionArg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(columns(expr)),
                _ => None,
            };
            let arguments = list.args.iter().map(argument).collect::<Option<Vec<_>>>()?;
            match name.as_str() {
                "rollup" => Some(sets_of(&Expr::Rollup(arguments))),
                "cube" => Some(sets_of(&Expr::Cube(arguments))),
                _ => None,
            }
        }
        _ => None,
    }
}

fn columns(expr: &Expr) -> Vec<Expr> {
    match expr {
        Expr::Tuple(items) => items.clone(),
        Expr::Nested(inner) => columns(inner),
        other => vec![other.clone()],
    }
}

fn sets_of(expr: &Expr) -> Vec<Vec<Expr>> {
    match expr {
        Expr::Tuple(items) => vec![items.clone()],
        Expr::Rollup(parts) => {
            (0..=parts.len()).rev().map(|count| parts[..count].iter().flatten().cloned().collect()).collect()
        }
        Expr::Cube(parts) => {
            let count = u32::try_from(parts.len().min(12)).unwrap_or(12);
            let sets = (0..1_usize << count).rev().map(|chosen| {
                let part = |(at, part): (usize, &Vec<Expr>)| {
                    let is_chosen = chosen >> (parts.len() - 1 - at) & 1 == 1;
                    is_chosen.then(|| part.clone())
                };
                parts.iter().enumerate().filter_map(part).flatten().collect()
            });
            sets.collect()
        }
        Expr::GroupingSets(sets) => sets
            .iter()
            .flat_map(|set| match set.as_slice() {
                [only] => nested(only).unwrap_or_else(|| vec![columns(only)]),
                several => vec![several.to_vec()],
            })
            .collect(),
        other => vec![vec![other.clone()]],
    }
}
