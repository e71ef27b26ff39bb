//! DEFAULT: what a column gets in rows that say nothing of it.
//!
//! 1. [`define`] checks an expression when a column is defined, and gives the text that the catalog
//!    keeps.
//! 2. [`Defaults::of`] reads the texts of a collection when a statement is prepared.
//! 3. [`Defaults::fill`] computes them when it is carried out: once for all of its rows, or, where an
//!    expression gives another value each time, for each row.
//!
//! Expressions are computed by the catalog's interpreter, which knows constants and functions and no
//! tables. Where a statement has the word DEFAULT beside what takes a query to compute, [`expression`] is
//! a part of that query; elsewhere the word is refused ([`check_places`]).

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::{
    Expr, FunctionArguments, Ident, Query, SelectItem, SetExpr, Statement, Value, visit_expressions,
};
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::ColumnId;
use tidemark_catalog::schema::Column;
use tidemark_catalog::types::ColumnType;

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::{CatalogContext, CatalogQuery, NotAnswered, Reach, is_volatile};
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::pgtype::text::parse_text;
use crate::pgtype::types::{column_pg_type, column_typmod, format_type};
use crate::sql::functions::cast::{CastContext, can_cast};
use crate::sql::insert::cast_to;
use crate::sql::names;
use crate::sql::parse::Said;
use crate::sql::position::character_position;
use crate::sqlstate;

mod text;

/// An expression that was understood.
#[derive(Clone, Debug)]
pub struct DefaultExpr {
    source: Source,
    /// It gives another value each time.
    pub is_volatile: bool,
}

#[derive(Clone, Debug)]
enum Source {
    Constant(Datum, PgType),
    Computed(CatalogQuery),
}

impl DefaultExpr {
    /// Its value now, with its type.
    ///
    /// # Errors
    /// What it raises.
    pub fn value(&self, context: &CatalogContext) -> SqlResult<(Datum, PgType)> {
        match &self.source {
            Source::Constant(datum, pg_type) => Ok((datum.clone(), pg_type.clone())),
            Source::Computed(query) => {
                let answer = query.run(&[], context)?;
                let row = answer.rows.into_iter().next();
                let value = row.and_then(|row| row.into_iter().next()).unwrap_or(Datum::Null);
                Ok((value, query.fields()[0].pg_type.clone()))
            }
        }
    }
}

/// Understands the DEFAULT of a column that is being defined, with the text that is kept; `None` for
/// NULL, which is no default.
///
/// # Errors
/// As PostgreSQL says them.
pub fn define(
    expr: &Expr,
    column: &str,
    column_type: &ColumnType,
    context: &CatalogContext,
) -> SqlResult<Option<(Arc<str>, DefaultExpr)>> {
    if matches!(expr, Expr::Value(value) if value.value == Value::Null) {
        return Ok(None);
    }
    check_form(expr)?;
    let compiled = compile(expr, column, column_type, context)?;
    let text = match &compiled.source {
        Source::Constant(datum, pg_type) => text::constant(datum, pg_type),
        Source::Computed(_) => text::expression(expr, context),
    };
    Ok(Some((Arc::from(text), compiled)))
}

fn check_form(expr: &Expr) -> SqlResult<()> {
    let visited = visit_expressions(expr, |part| {
        let what = match part {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => "column reference",
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => "subquery",
            Expr::Function(function) if matches!(function.args, FunctionArguments::Subquery(_)) => "subquery",
            _ => return ControlFlow::Continue(()),
        };
        ControlFlow::Break(what)
    });
    match visited {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(what) => {
            let message = format!("cannot use {what} in DEFAULT expression");
            Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message))
        }
    }
}

fn compile(
    expr: &Expr,
    column: &str,
    column_type: &ColumnType,
    context: &CatalogContext,
) -> SqlResult<DefaultExpr> {
    let pg_type = column_pg_type(column_type);
    if let Some(text) = literal(expr) {
        let datum = parse_text(text, &pg_type, column_typmod(column_type), &context.format)?;
        return Ok(DefaultExpr { source: Source::Constant(datum, pg_type), is_volatile: false });
    }
    let query = query_of(&format!("SELECT {expr}"))?;
    let query = CatalogQuery::analyze(&query, &[], context, Reach::Catalog).map_err(|error| match error {
        NotAnswered::Error(error) => error,
        NotAnswered::NotOurs => SqlError::unsupported(format!("DEFAULT {expr}"))
            .with_hint("A default is a constant, a function such as now(), or arithmetic of these."),
    })?;
    let found = &query.fields()[0].pg_type;
    let fits = can_cast(found, &pg_type, CastContext::Assignment) || *found == PgType::UNKNOWN;
    if !fits {
        let message = format!(
            "column \"{column}\" is of type {column_type} but default expression is of type {}",
            format_type(found)
        );
        return Err(SqlError::new(sqlstate::DATATYPE_MISMATCH, message)
            .with_hint("You will need to rewrite or cast the expression."));
    }
    Ok(DefaultExpr { source: Source::Computed(query), is_volatile: calls_volatile(expr) })
}

/// A constant expression's value with its type; that of a string that has no type of its own is unknown.
///
/// # Errors
/// It is none, or what it raises.
pub fn constant(expr: &Expr, context: &CatalogContext) -> SqlResult<(Datum, PgType)> {
    if let Some(text) = literal(expr) {
        return Ok((Datum::Text(text.to_owned()), PgType::UNKNOWN));
    }
    let query = query_of(&format!("SELECT {expr}"))?;
    let query = CatalogQuery::analyze(&query, &[], context, Reach::Catalog).map_err(|error| match error {
        NotAnswered::Error(error) => error,
        NotAnswered::NotOurs => SqlError::unsupported(format!("the expression {expr} here")),
    })?;
    DefaultExpr { source: Source::Computed(query), is_volatile: false }.value(context)
}

/// A string without a type of its own, which is read as the column's.
fn literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Nested(inner) => literal(inner),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Some(text),
            Value::DollarQuotedString(text) => Some(&text.value),
            _ => None,
        },
        _ => None,
    }
}

fn calls_volatile(expr: &Expr) -> bool {
    let visited = visit_expressions(expr, |part| match part {
        Expr::Function(function) => {
            let name = names::parts(&function.name).ok().and_then(|mut parts| parts.pop());
            match name.is_some_and(|name| is_volatile(&name)) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        }
        _ => ControlFlow::Continue(()),
    });
    visited.is_break()
}

fn query_of(text: &str) -> SqlResult<Query> {
    let parsed = crate::sql::parse::parse(text, usize::MAX)?.pop();
    if let Some(Said::Sql(statement)) = parsed.map(|parsed| parsed.statement)
        && let Statement::Query(query) = *statement
    {
        return Ok(*query);
    }
    Err(SqlError::internal(format!("not a query: {text}")))
}

/// The expression that the catalog keeps as this text.
///
/// # Errors
/// It is none.
fn expr_of(text: &str) -> SqlResult<Expr> {
    let query = query_of(&format!("SELECT {text}"))?;
    if let SetExpr::Select(select) = *query.body
        && let [SelectItem::UnnamedExpr(expr)] = select.projection.as_slice()
    {
        return Ok(expr.clone());
    }
    Err(SqlError::internal(format!("not an expression: {text}")))
}

/// Whether an expression is the word DEFAULT.
pub fn is_default(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_default(inner),
        Expr::Identifier(word) => is_default_word(word),
        _ => false,
    }
}

fn is_default_word(word: &Ident) -> bool {
    word.quote_style.is_none() && word.value.eq_ignore_ascii_case("default")
}

/// A column's default as an expression of its type.
///
/// # Errors
/// The text of the catalog is not understood.
pub fn expression(column: &Column) -> SqlResult<Expr> {
    let value = match &column.default {
        Some(text) => expr_of(text)?,
        None => Expr::Value(Value::Null.into()),
    };
    Ok(cast_to(value, &column.column_type))
}

/// Looks for the word DEFAULT in a query, which has no column that it could be the default of. `text` is
/// the statement, for positions.
///
/// # Errors
/// It is there.
pub fn check_places(query: &Query, text: &str) -> SqlResult<()> {
    let visited = visit_expressions(query, |part| match part {
        Expr::Identifier(word) if is_default_word(word) => ControlFlow::Break(word.span.start),
        _ => ControlFlow::Continue(()),
    });
    match visited {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(place) => {
            let error = SqlError::new(sqlstate::SYNTAX_ERROR, "DEFAULT is not allowed in this context");
            Err(error.at(character_position(text, place.line, place.column)))
        }
    }
}

/// The defaults of a collection's columns.
#[derive(Clone, Debug, Default)]
pub struct Defaults(Arc<BTreeMap<ColumnId, DefaultExpr>>);

impl Defaults {
    /// Those of all columns that have one.
    ///
    /// # Errors
    /// A text of the catalog is not understood.
    pub fn of(collection: &Collection, context: &CatalogContext) -> SqlResult<Defaults> {
        let mut defaults = BTreeMap::new();
        for column in collection.schema.columns() {
            let Some(text) = &column.default else { continue };
            let compiled = compile(&expr_of(text)?, &column.name, &column.column_type, context)?;
            defaults.insert(column.id, compiled);
        }
        Ok(Defaults(Arc::new(defaults)))
    }

    /// What the columns get in the rows of a statement that begins now.
    ///
    /// # Errors
    /// What an expression raises.
    pub fn fill(&self, context: &CatalogContext) -> SqlResult<Fill> {
        let mut values = BTreeMap::new();
        for (id, default) in self.0.iter() {
            let value = if default.is_volatile {
                let (default, context) = (default.clone(), context.clone());
                FillValue::PerRow(Arc::new(move || default.value(&context)))
            } else {
                let (datum, pg_type) = default.value(context)?;
                FillValue::Constant(datum, pg_type)
            };
            values.insert(*id, value);
        }
        Ok(Fill(Arc::new(values)))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What columns get in the rows of one statement; NULL where nothing is said.
#[derive(Clone, Debug, Default)]
pub struct Fill(Arc<BTreeMap<ColumnId, FillValue>>);

#[derive(Clone)]
enum FillValue {
    Constant(Datum, PgType),
    PerRow(Arc<dyn Fn() -> SqlResult<(Datum, PgType)> + Send + Sync>),
}

impl fmt::Debug for FillValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FillValue::Constant(datum, _) => datum.fmt(f),
            FillValue::PerRow(_) => f.write_str("a value for each row"),
        }
    }
}

impl Fill {
    /// The columns that get something else than NULL.
    pub fn columns(&self) -> impl Iterator<Item = ColumnId> {
        self.0.keys().copied()
    }

    /// The value of a column in the next row, with its type; `None` for NULL.
    ///
    /// # Errors
    /// What the expression raises.
    pub fn value(&self, column: ColumnId) -> SqlResult<Option<(Datum, PgType)>> {
        match self.0.get(&column) {
            None => Ok(None),
            Some(FillValue::Constant(datum, pg_type)) => Ok(Some((datum.clone(), pg_type.clone()))),
            Some(FillValue::PerRow(value)) => value().map(Some),
        }
    }
}
