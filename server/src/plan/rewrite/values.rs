//! VALUES lists with subqueries in them. DataFusion computes a list while it plans, when subqueries are not
//! run yet; so the list is one without them, of which each row has its number at the end, and what takes
//! a query is chosen by it:
//!
//! `VALUES (1, 'a'), ((SELECT 2), 'b')` becomes `SELECT CASE column3 WHEN 1 THEN (SELECT 2) ELSE column1
//! END AS column1, column2 AS column2 FROM (VALUES (1, 'a', 0), (NULL, 'b', 1)) AS "values"`.

use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{CaseWhen, Expr, Ident, Parens, SelectItem, SetExpr, Value};

use crate::error::SqlResult;
use crate::plan::rewrite::constants::integer;
use crate::sql::classify::has_query;
use crate::sql::queries::select_from_values;

/// Rewrites the lists that a query is made of.
///
/// # Errors
/// None that a statement could be the cause of.
pub fn rewrite(body: &mut SetExpr) -> SqlResult<()> {
    match body {
        SetExpr::SetOperation { left, right, .. } => {
            rewrite(left)?;
            rewrite(right)
        }
        SetExpr::Values(values) if takes_queries(&values.rows) => {
            let mut rows = std::mem::take(&mut values.rows);
            let projection = take_queries(&mut rows);
            *body = *select_from_values(rows, projection)?.body;
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Whether there is a query in a list whose rows are equally long, as they have to be.
fn takes_queries(rows: &[Parens<Vec<Expr>>]) -> bool {
    let width = rows.first().map_or(0, |row| row.content.len());
    rows.iter().all(|row| row.content.len() == width)
        && rows.iter().any(|row| row.content.iter().any(has_query))
}

/// Takes what has a query out of the rows, and numbers them; gives what they are with it.
fn take_queries(rows: &mut [Parens<Vec<Expr>>]) -> Vec<SelectItem> {
    let width = rows.first().map_or(0, |row| row.content.len());
    let columns = (0..width).map(|at| {
        let mut conditions = Vec::new();
        for (number, row) in rows.iter_mut().enumerate() {
            let value = &mut row.content[at];
            if has_query(value) {
                let result = std::mem::replace(value, Expr::Value(Value::Null.into()));
                conditions.push(CaseWhen { condition: integer(&number.to_string()), result });
            }
        }
        let expr = match conditions.is_empty() {
            true => column(at),
            false => Expr::Case {
                case_token: AttachedToken::empty(),
                end_token: AttachedToken::empty(),
                operand: Some(Box::new(column(width))),
                conditions,
                else_result: Some(Box::new(column(at))),
            },
        };
        SelectItem::ExprWithAlias { expr, alias: column_name(at) }
    });
    let columns = columns.collect();
    for (number, row) in rows.iter_mut().enumerate() {
        row.content.push(integer(&number.to_string()));
    }
    columns
}

fn column(at: usize) -> Expr {
    Expr::Identifier(column_name(at))
}

/// The name that DataFusion, like PostgreSQL, gives the columns of a list.
fn column_name(at: usize) -> Ident {
    Ident::new(format!("column{}", at + 1))
}
