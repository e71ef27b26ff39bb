//! What a query reads: functions in FROM, and names that come twice.

use sqlparser::ast::{
    Ident, ObjectName, ObjectNamePart, Select, TableAlias, TableAliasColumnDef, TableFactor,
};

use crate::error::{SqlError, SqlResult};
use crate::sql::names;
use crate::sqlstate;

/// Rewrites what stands in FROM.
///
/// # Errors
/// A query has no name there.
pub fn rewrite_source(factor: &mut TableFactor) -> SqlResult<()> {
    match factor {
        TableFactor::Derived { alias: None, .. } => {
            Err(SqlError::new(sqlstate::SYNTAX_ERROR, "subquery in FROM must have an alias")
                .with_hint("For example, FROM (SELECT ...) [AS] foo."))
        }
        TableFactor::Table { name, alias, args: Some(_), .. } => {
            name_series(name, alias);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The one column of `generate_series` has the name that the function has.
fn name_series(name: &ObjectName, alias: &mut Option<TableAlias>) {
    let Ok(parts) = names::parts(name) else { return };
    let Some(function) = parts.last().filter(|it| *it == "generate_series") else { return };
    let mut named = alias.take().unwrap_or_else(|| TableAlias {
        explicit: true,
        name: Ident::with_quote('"', function.clone()),
        columns: Vec::new(),
        at: None,
    });
    if named.columns.is_empty() {
        let name = Ident::with_quote('"', names::fold(&named.name));
        named.columns = vec![TableAliasColumnDef { name, data_type: None }];
    }
    *alias = Some(named);
}

/// Every source of a query has a name of its own.
///
/// # Errors
/// 42712 when two have the same.
pub fn check_names(select: &Select) -> SqlResult<()> {
    let mut seen = std::collections::HashSet::new();
    let factors = select
        .from
        .iter()
        .flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
    for factor in factors {
        let name = match factor {
            TableFactor::Table { alias: Some(alias), .. }
            | TableFactor::Derived { alias: Some(alias), .. } => {
                vec![names::fold(&alias.name)]
            }
            TableFactor::Table { name, .. } => name.0.iter().filter_map(part).collect(),
            _ => continue,
        };
        let last = name.last().cloned().unwrap_or_default();
        if !seen.insert(name) {
            let message = format!("table name \"{last}\" specified more than once");
            return Err(SqlError::new(sqlstate::DUPLICATE_ALIAS, message));
        }
    }
    Ok(())
}

fn part(part: &ObjectNamePart) -> Option<String> {
    match part {
        ObjectNamePart::Identifier(ident) => Some(names::fold(ident)),
        ObjectNamePart::Function(_) => None,
    }
}
