//! DELETE as a query for the places of the rows that are to go.
//!
//! `DELETE FROM t AS a USING u WHERE c RETURNING e` asks `SELECT a._segment, a._row, e FROM t AS a, u
//! WHERE c`, in which `t` is a table with the two hidden columns. What is deleted is decided by the
//! engine, which is told the places: no plan of DataFusion's ever changes data.

use std::sync::Arc;

use sqlparser::ast::{
    self, Expr, FromTable, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, Statement, TableAlias, TableFactor, TableWithJoins,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use tidemark_catalog::collection::Collection;
use tidemark_engine::read::{ROW_COLUMN, SEGMENT_COLUMN};

use crate::error::{SqlError, SqlResult};
use crate::sql::names::{Resolver, relation_name};
use crate::sqlstate;

/// The namespace in which the target of a DELETE is found while it is planned. No user can have it:
/// it is longer than an identifier may be.
pub const TARGET_NAMESPACE: &str = "the target of a statement, which has two columns more than it shows";

/// How many columns of the query are places.
pub const PLACE_COLUMNS: usize = 2;

/// A DELETE that was understood.
#[derive(Debug)]
pub struct AnalyzedDelete {
    /// Where rows go from.
    pub target: Arc<Collection>,
    /// The query for their places, and for what is returned after these.
    pub query: Query,
    /// Whether something is returned.
    pub returns: bool,
}

/// Understands a DELETE.
///
/// # Errors
/// As PostgreSQL says them.
pub fn analyze(delete: &ast::Delete, resolver: &Resolver) -> SqlResult<AnalyzedDelete> {
    let syntax =
        |what: &str| SqlError::new(sqlstate::SYNTAX_ERROR, format!("syntax error at or near \"{what}\""));
    if !delete.tables.is_empty() || !delete.order_by.is_empty() || delete.limit.is_some() {
        return Err(syntax("DELETE"));
    }
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    let [TableWithJoins { relation: TableFactor::Table { name, alias, .. }, joins }] = from.as_slice() else {
        return Err(syntax(","));
    };
    if !joins.is_empty() {
        return Err(syntax("JOIN"));
    }
    let (namespace, table) = relation_name(name)?;
    let target = resolver.collection(namespace.as_deref(), &table)?;
    let alias = alias.as_ref().map_or_else(|| Ident::with_quote('"', &table), |alias| alias.name.clone());
    let returning = delete.returning.as_deref().unwrap_or_default();
    let mut projection: Vec<SelectItem> =
        [SEGMENT_COLUMN, ROW_COLUMN].map(|column| column_of(&alias, column)).into();
    for item in returning {
        projection.extend(expanded(item, &alias, &target, delete.using.is_some())?);
    }
    let mut select = empty_select()?;
    let mut sources = vec![TableWithJoins { relation: target_factor(&table, &alias)?, joins: Vec::new() }];
    sources.extend(delete.using.iter().flatten().cloned());
    select.projection = projection;
    select.from = sources;
    select.selection.clone_from(&delete.selection);
    let mut query = empty_query()?;
    query.body = Box::new(SetExpr::Select(Box::new(select)));
    Ok(AnalyzedDelete { target, query, returns: !returning.is_empty() })
}

fn column_of(table: &Ident, column: &str) -> SelectItem {
    let column = Ident::with_quote('"', column);
    SelectItem::UnnamedExpr(Expr::CompoundIdentifier(vec![table.clone(), column]))
}

/// `*` are the columns that the target shows.
fn expanded(
    item: &SelectItem,
    alias: &Ident,
    target: &Collection,
    has_others: bool,
) -> SqlResult<Vec<SelectItem>> {
    let all = || target.schema.columns().iter().map(|column| column_of(alias, &column.name)).collect();
    match item {
        SelectItem::Wildcard(_) if has_others => {
            Err(SqlError::unsupported("RETURNING * of a DELETE with USING"))
        }
        SelectItem::Wildcard(_) => Ok(all()),
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) if matches!(&name.0[..], [ObjectNamePart::Identifier(ident)] if ident == alias) => {
            Ok(all())
        }
        other => Ok(vec![other.clone()]),
    }
}

fn target_factor(table: &str, alias: &Ident) -> SqlResult<TableFactor> {
    let mut factor = match parsed("SELECT 1 FROM t AS a")?.body.as_ref() {
        SetExpr::Select(select) => select.from[0].relation.clone(),
        _ => return Err(SqlError::internal("a SELECT is one")),
    };
    if let TableFactor::Table { name, alias: named, .. } = &mut factor {
        *name =
            ObjectName::from(vec![Ident::with_quote('"', TARGET_NAMESPACE), Ident::with_quote('"', table)]);
        *named = named.take().map(|named| TableAlias { name: alias.clone(), ..named });
    }
    Ok(factor)
}

fn empty_select() -> SqlResult<Select> {
    match *parsed("SELECT 1")?.body {
        SetExpr::Select(select) => Ok(*select),
        _ => Err(SqlError::internal("a SELECT is one")),
    }
}

fn empty_query() -> SqlResult<Query> {
    parsed("SELECT 1")
}

/// The parser makes the many parts of a statement that are not there.
fn parsed(text: &str) -> SqlResult<Query> {
    let statement = Parser::parse_sql(&PostgreSqlDialect {}, text).map_err(SqlError::internal)?.pop();
    match statement {
        Some(Statement::Query(query)) => Ok(*query),
        _ => Err(SqlError::internal("a query is one")),
    }
}
