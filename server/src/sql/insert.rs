//! INSERT.
//!
//! | rows | how they become columns |
//! | --- | --- |
//! | constants and parameters | straight away, column by column: [`constants`] |
//! | arrays by `unnest` | their elements are the columns: [`unnest`] |
//! | any other query | its rows are assigned to the columns: [`assign`] |
//!
//! A long VALUES list is read without the parser: [`scan`]. What ON CONFLICT asks for is told by
//! [`conflict`], and done by [`resolve`].

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use sqlparser::ast::{self, Expr, Insert, ObjectName, Query, SetExpr, TableObject, Value};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use tidemark_catalog::ids::ColumnId;
use tidemark_catalog::schema::Column;
use tidemark_catalog::types::ColumnType;
use tidemark_engine::batch::WriteBatch;
use tidemark_engine::engine::Engine;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::PgType;
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::types::{column_pg_type, family};
use crate::plan::parameters::parameter_number;
use crate::session::field::Field;
use crate::sql::defaults::{self, is_default};
use crate::sql::functions::cast::{CastContext, can_cast, cast_array};
use crate::sql::insert::conflict::Conflict;
use crate::sql::insert::constants::ConstantRows;
use crate::sql::insert::unnest::{ArrayParameter, arrays_of};
use crate::sql::names::{self, Resolver, relation_name};
use crate::sql::queries::select_from;
use crate::sql::rows::Target;
use crate::sql::rows::batches::{to_columns, to_filled_batch};
use crate::sql::rows::errors::{not_assignable, write_error};
use crate::sqlstate;

pub mod conflict;
pub mod constants;
pub mod resolve;
pub mod scan;
pub mod unnest;

/// An INSERT that was understood.
#[derive(Debug)]
pub struct InsertPlan {
    /// Where the rows go.
    pub target: Arc<Target>,
    /// Whether its columns were named.
    pub named: bool,
    /// Where the rows come from.
    pub source: InsertSource,
    /// What is done with rows whose key is there, where keys are unique and the statement says it.
    pub conflict: Option<Conflict>,
    /// What is given back of them, as a query over the collection.
    pub returning: Option<Box<Query>>,
}

/// Where the rows of an INSERT come from.
#[derive(Debug)]
pub enum InsertSource {
    /// Constants and parameters.
    Constants(Arc<ConstantRows>),
    /// Arrays, one for each column.
    Arrays(Vec<ArrayParameter>),
    /// A query. A column of text may be text that was written for another type when `lenient`.
    Query {
        /// The query.
        query: Box<Query>,
        /// Whether texts are read as the column's type.
        lenient: bool,
    },
}

/// Understands an INSERT. `rows` are its rows, where they were read already.
///
/// # Errors
/// As PostgreSQL says them.
pub fn analyze(
    insert: &Insert,
    rows: Option<&Arc<ConstantRows>>,
    declared: &[Option<PgType>],
    resolver: &Resolver,
    format: &FormatSettings,
) -> SqlResult<InsertPlan> {
    if insert.overwrite || insert.or.is_some() || insert.replace_into || insert.ignore {
        return Err(SqlError::unsupported("this form of INSERT"));
    }
    let TableObject::TableName(table) = &insert.table else {
        return Err(SqlError::unsupported("INSERT into anything but a table"));
    };
    let (namespace, name) = relation_name(table)?;
    let collection = resolver.collection(namespace.as_deref(), &name)?;
    let columns = insert.columns.iter().map(column_name).collect::<SqlResult<Vec<_>>>()?;
    let named = !columns.is_empty();
    let mut target = Target::new(collection, &columns)?;
    let alias = insert.table_alias.as_ref().map(|alias| &alias.alias);
    let conflict = match &insert.on {
        None => None,
        Some(on) => conflict::analyze(on, table, alias, &target, format)?,
    };
    let source = match (rows, &insert.source) {
        (Some(rows), _) => {
            check_width(rows.width(), &mut target, named)?;
            rows.check_types(format)?;
            InsertSource::Constants(Arc::clone(rows))
        }
        (None, Some(query)) => source_of(query, &mut target, named, declared, format)?,
        (None, None) => InsertSource::Constants(Arc::new(ConstantRows::defaults(target.columns.len()))),
    };
    let returning = insert.returning.as_ref().map(|items| select_from(table, alias, items.clone()));
    let returning = returning.transpose()?.map(Box::new);
    Ok(InsertPlan { target: Arc::new(target), named, source, conflict, returning })
}

fn source_of(
    query: &Query,
    target: &mut Target,
    named: bool,
    declared: &[Option<PgType>],
    format: &FormatSettings,
) -> SqlResult<InsertSource> {
    if let Some(rows) = values_of(query) {
        check_widths(&rows, target, named)?;
        return Ok(match ConstantRows::of(&rows)? {
            Some(rows) => {
                rows.check_types(format)?;
                InsertSource::Constants(Arc::new(rows))
            }
            None => InsertSource::Query { query: Box::new(of_columns(query, target)?), lenient: true },
        });
    }
    if let Some(arrays) = arrays_of(query, declared, target)
        && (arrays.len() == target.columns.len() || !named)
    {
        target.columns.truncate(arrays.len());
        return Ok(InsertSource::Arrays(arrays));
    }
    let mut query = Box::new(query.clone());
    type_parameters(&mut query.body, target);
    Ok(InsertSource::Query { query, lenient: false })
}

/// A VALUES list in which DEFAULT, parameters and strings are what they are for the columns.
fn of_columns(query: &Query, target: &Target) -> SqlResult<Query> {
    let mut query = query.clone();
    if let SetExpr::Values(values) = query.body.as_mut() {
        for row in &mut values.rows {
            for (at, value) in row.content.iter_mut().enumerate() {
                let column = target.column(at);
                let given = std::mem::replace(value, Expr::Value(Value::Null.into()));
                *value = match given {
                    given if is_default(&given) => defaults::expression(column)?,
                    given if is_string(&given) && !family(&column_pg_type(&column.column_type)).is_text() => {
                        cast_to(given, &column.column_type)
                    }
                    given => with_column_type(given, column),
                };
            }
        }
    }
    Ok(query)
}

fn is_string(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(value) if matches!(value.value, Value::SingleQuotedString(_)))
}

/// A parameter that is selected for a column has the column's type.
fn type_parameters(body: &mut SetExpr, target: &Target) {
    let SetExpr::Select(select) = body else { return };
    for (at, item) in select.projection.iter_mut().enumerate().take(target.columns.len()) {
        let (ast::SelectItem::UnnamedExpr(expr) | ast::SelectItem::ExprWithAlias { expr, .. }) = item else {
            // What a wildcard stands for is not known here.
            return;
        };
        let value = std::mem::replace(expr, Expr::Value(Value::Null.into()));
        *expr = with_column_type(value, target.column(at));
    }
}

/// A parameter for a column, of the column's type; any other expression as it is.
fn with_column_type(expr: Expr, column: &Column) -> Expr {
    match parameter_number(&expr) {
        None => expr,
        Some(_) => cast_to(expr, &column.column_type),
    }
}

/// The expression cast to a type.
pub(super) fn cast_to(expr: Expr, column_type: &ColumnType) -> Expr {
    let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(&column_type.to_string());
    let Ok(data_type) = parsed.and_then(|mut parser| parser.parse_data_type()) else { return expr };
    let (kind, expr) = (ast::CastKind::DoubleColon, Box::new(expr));
    Expr::Cast { kind, expr, data_type, array: false, format: None }
}

fn column_name(name: &ObjectName) -> SqlResult<String> {
    let mut parts = names::parts(name)?;
    match (parts.pop(), parts.is_empty()) {
        (Some(name), true) => Ok(name),
        _ => Err(SqlError::unsupported("a qualified column name in INSERT")),
    }
}

/// The rows of a query that is nothing but VALUES.
fn values_of(query: &Query) -> Option<Vec<&[Expr]>> {
    let plain = query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none();
    match query.body.as_ref() {
        SetExpr::Values(values) if plain => {
            Some(values.rows.iter().map(|row| row.content.as_slice()).collect())
        }
        _ => None,
    }
}

fn check_widths(rows: &[&[Expr]], target: &mut Target, named: bool) -> SqlResult<()> {
    let width = rows.first().map_or(0, |row| row.len());
    if rows.iter().any(|row| row.len() != width) {
        return Err(SqlError::new(sqlstate::SYNTAX_ERROR, "VALUES lists must all be the same length"));
    }
    check_width(width, target, named)
}

/// Fewer values than columns leave the last columns out, unless the columns were named.
fn check_width(width: usize, target: &mut Target, named: bool) -> SqlResult<()> {
    if width > target.columns.len() {
        let message = "INSERT has more expressions than target columns";
        return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
    }
    if width < target.columns.len() {
        if named {
            let message = "INSERT has more target columns than expressions";
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
        }
        target.columns.truncate(width);
    }
    Ok(())
}

/// Checks that a query's columns can be assigned to the target's.
///
/// # Errors
/// 42804 for a column that cannot, 42601 when there are too many or too few.
pub fn check_assignable(
    target: &Target,
    named: bool,
    fields: &[Field],
    lenient: impl Fn(usize) -> bool,
) -> SqlResult<Target> {
    let mut target = target.clone();
    check_width(fields.len(), &mut target, named)?;
    for (at, field) in fields.iter().enumerate() {
        let column = target.column(at);
        let wanted = column_pg_type(&column.column_type);
        let is_text = matches!(field.pg_type, PgType::TEXT | PgType::UNKNOWN | PgType::VARCHAR);
        if can_cast(&field.pg_type, &wanted, CastContext::Assignment) || (is_text && lenient(at)) {
            continue;
        }
        return Err(not_assignable(column, &field.pg_type));
    }
    Ok(target)
}

/// The rows of a query's batch as rows of the collection.
///
/// # Errors
/// A value does not fit its column.
pub fn assign(
    engine: &Engine,
    target: &Target,
    batch: &RecordBatch,
    fields: &[Field],
    format: &FormatSettings,
) -> SqlResult<WriteBatch> {
    let symbols = engine.symbols(target.collection.id).map_err(|error| write_error(&error))?;
    let arrays = cast_columns(target, batch, fields, format)?;
    to_filled_batch(target, &symbols, arrays, batch.num_rows(), format)
}

/// The values of a query's batch as columns of the collection, which are not all that a row needs.
///
/// # Errors
/// A value does not fit its column.
pub fn assigned_arrays(
    engine: &Engine,
    target: &Target,
    batch: &RecordBatch,
    fields: &[Field],
    format: &FormatSettings,
) -> SqlResult<Vec<(ColumnId, ArrayRef)>> {
    let symbols = engine.symbols(target.collection.id).map_err(|error| write_error(&error))?;
    to_columns(target, &symbols, cast_columns(target, batch, fields, format)?)
}

fn cast_columns(
    target: &Target,
    batch: &RecordBatch,
    fields: &[Field],
    format: &FormatSettings,
) -> SqlResult<Vec<ArrayRef>> {
    let arrays = batch.columns().iter().enumerate().map(|(at, array)| {
        // A column of text is read as the type where that was checked before.
        let text = fields[at].pg_type == PgType::TEXT;
        let context = if text { CastContext::Explicit } else { CastContext::Assignment };
        cast_array(array, &fields[at].pg_type, &target.column(at).column_type, context, format)
    });
    arrays.collect()
}
