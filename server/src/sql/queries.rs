//! Queries that nobody wrote: what a statement reads of a relation besides its own query.

use sqlparser::ast::{self, Ident, ObjectName, SelectItem, SetExpr, Statement, TableAlias, TableFactor};

use crate::error::{SqlError, SqlResult};
use crate::sql::parse::{Said, parse};

/// The query that reads expressions of a relation, under another name where one is given; all of its
/// columns where no expressions are.
///
/// # Errors
/// None that a statement could be the cause of.
pub fn select_from(
    relation: &ObjectName,
    other_name: Option<&Ident>,
    projection: Vec<SelectItem>,
) -> SqlResult<ast::Query> {
    let mut query = template("SELECT * FROM t AS a")?;
    let SetExpr::Select(select) = query.body.as_mut() else { return Err(no_template()) };
    if !projection.is_empty() {
        select.projection = projection;
    }
    match select.from.first_mut().map(|from| &mut from.relation) {
        Some(TableFactor::Table { name, alias, .. }) => {
            *name = relation.clone();
            *alias =
                alias.take().zip(other_name).map(|(alias, name)| TableAlias { name: name.clone(), ..alias });
        }
        _ => return Err(no_template()),
    }
    Ok(query)
}

/// The query that reads expressions of what is there in a relation, and of what was to be inserted under
/// the name `excluded`.
///
/// # Errors
/// None that a statement could be the cause of.
pub fn select_from_with_excluded(
    relation: &ObjectName,
    other_name: Option<&Ident>,
    projection: Vec<SelectItem>,
) -> SqlResult<ast::Query> {
    let mut query = select_from(relation, other_name, projection)?;
    let joined = template("SELECT * FROM t CROSS JOIN t AS excluded")?;
    let (SetExpr::Select(select), SetExpr::Select(joined)) = (query.body.as_mut(), *joined.body) else {
        return Err(no_template());
    };
    let mut joins = joined.from.into_iter().flat_map(|from| from.joins);
    let (Some(from), Some(mut join)) = (select.from.first_mut(), joins.next()) else {
        return Err(no_template());
    };
    let TableFactor::Table { name, .. } = &mut join.relation else { return Err(no_template()) };
    *name = relation.clone();
    from.joins.push(join);
    Ok(query)
}

/// The query that reads expressions of rows; their columns are `column1` and so on.
///
/// # Errors
/// None that a statement could be the cause of.
pub fn select_from_values(
    rows: Vec<ast::Parens<Vec<ast::Expr>>>,
    projection: Vec<SelectItem>,
) -> SqlResult<ast::Query> {
    let mut query = template("SELECT * FROM (VALUES (1)) AS \"values\"")?;
    let SetExpr::Select(select) = query.body.as_mut() else { return Err(no_template()) };
    select.projection = projection;
    let from = select.from.first_mut().map(|from| &mut from.relation);
    let Some(TableFactor::Derived { subquery, .. }) = from else { return Err(no_template()) };
    let SetExpr::Values(values) = subquery.body.as_mut() else { return Err(no_template()) };
    values.rows = rows;
    Ok(query)
}

/// The query with a condition.
///
/// # Errors
/// None that a statement could be the cause of.
pub fn with_condition(mut query: ast::Query, condition: &ast::Expr) -> SqlResult<ast::Query> {
    let SetExpr::Select(select) = query.body.as_mut() else { return Err(no_template()) };
    select.selection = Some(condition.clone());
    Ok(query)
}

fn template(text: &str) -> SqlResult<ast::Query> {
    let parsed = parse(text, usize::MAX)?.pop();
    match parsed.map(|parsed| parsed.statement) {
        Some(Said::Sql(statement)) => match *statement {
            Statement::Query(query) => Ok(*query),
            _ => Err(no_template()),
        },
        _ => Err(no_template()),
    }
}

fn no_template() -> SqlError {
    SqlError::internal("a SELECT did not parse as one")
}
