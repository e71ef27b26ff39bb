//! INSERT: constants and parameters go straight into columns; anything else is a query whose rows
//! are assigned to the columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use sqlparser::ast::{
    self, Expr, FunctionArguments, Insert, ObjectName, Query, SetExpr, TableObject, UnaryOperator, Value,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use tidemark_engine::batch::WriteBatch;
use tidemark_engine::engine::Engine;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::text::parse_text;
use crate::pgtype::types::{NO_TYPMOD, column_pg_type, column_typmod};
use crate::plan::parameters::parameter_number;
use crate::session::field::Field;
use crate::sql::functions::cast::{CastContext, can_cast, cast_array};
use crate::sql::names::{self, Resolver, relation_name};
use crate::sql::rows::{RowsBuilder, Target, not_assignable, to_batch, write_error};
use crate::sql::types::column_type;
use crate::sqlstate;

/// An INSERT that was understood.
#[derive(Debug)]
pub struct InsertPlan {
    /// Where the rows go.
    pub target: Arc<Target>,
    /// Where they come from.
    pub source: InsertSource,
}

/// Where the rows of an INSERT come from.
#[derive(Debug)]
pub enum InsertSource {
    /// Constants and parameters, row by row.
    Cells(Vec<Vec<Cell>>),
    /// A query. A column of text may be text that was written for another type when `lenient`.
    Query {
        /// The query.
        query: Box<Query>,
        /// Whether texts are read as the column's type.
        lenient: bool,
    },
}

/// A value of an INSERT.
#[derive(Clone, Debug)]
pub enum Cell {
    /// NULL, or DEFAULT, which is NULL here.
    Null,
    /// A string, read as the column's type.
    Text(String),
    /// A value of a type of its own.
    Datum(Datum, PgType),
    /// When the transaction started.
    Now,
    /// A parameter, by number from 0.
    Parameter(usize),
}

/// Understands an INSERT.
///
/// # Errors
/// As PostgreSQL says them.
pub fn analyze(insert: &Insert, resolver: &Resolver, format: &FormatSettings) -> SqlResult<InsertPlan> {
    let refused = [
        (insert.returning.is_some(), "RETURNING"),
        (insert.on.is_some(), "ON CONFLICT"),
        (insert.overwrite || insert.or.is_some() || insert.replace_into, "this form of INSERT"),
    ];
    if let Some((_, what)) = refused.iter().find(|(found, _)| *found) {
        return Err(SqlError::unsupported(what));
    }
    let TableObject::TableName(name) = &insert.table else {
        return Err(SqlError::unsupported("INSERT into anything but a table"));
    };
    let (namespace, name) = relation_name(name)?;
    let collection = resolver.collection(namespace.as_deref(), &name)?;
    let columns = insert.columns.iter().map(column_name).collect::<SqlResult<Vec<_>>>()?;
    let mut target = Target::new(collection, &columns)?;
    let Some(query) = &insert.source else {
        return Err(SqlError::unsupported("INSERT … DEFAULT VALUES"));
    };
    let source = match values_of(query) {
        Some(rows) => {
            check_widths(&rows, &mut target, !columns.is_empty())?;
            let cells = rows.iter().map(|row| row.iter().map(|expr| cell(expr, format)).collect());
            match cells.collect::<SqlResult<Option<Vec<Vec<Cell>>>>>()? {
                Some(cells) => InsertSource::Cells(cells),
                None => InsertSource::Query { query: query.clone(), lenient: true },
            }
        }
        None => {
            let mut query = query.clone();
            type_parameters(&mut query.body, &target);
            InsertSource::Query { query, lenient: false }
        }
    };
    Ok(InsertPlan { target: Arc::new(target), source })
}

/// A parameter that is selected for a column has the column's type.
fn type_parameters(body: &mut SetExpr, target: &Target) {
    let SetExpr::Select(select) = body else { return };
    for (at, item) in select.projection.iter_mut().enumerate().take(target.columns.len()) {
        let (ast::SelectItem::UnnamedExpr(expr) | ast::SelectItem::ExprWithAlias { expr, .. }) = item else {
            // What a wildcard stands for is not known here.
            return;
        };
        if parameter_number(expr).is_none() {
            continue;
        }
        let name = target.column(at).column_type.to_string();
        let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(&name);
        let Ok(data_type) = parsed.and_then(|mut parser| parser.parse_data_type()) else { continue };
        let parameter = std::mem::replace(expr, Expr::Value(Value::Null.into()));
        *expr = Expr::Cast {
            kind: ast::CastKind::DoubleColon,
            expr: Box::new(parameter),
            data_type,
            array: false,
            format: None,
        };
    }
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

/// The value as a cell; `None` when it takes a query to compute it.
fn cell(expr: &Expr, format: &FormatSettings) -> SqlResult<Option<Cell>> {
    if let Some(number) = parameter_number(expr) {
        return Ok(Some(Cell::Parameter(number)));
    }
    Ok(match expr {
        Expr::Nested(inner) => return cell(inner, format),
        Expr::Identifier(ident) if is_word(ident, "default") => Some(Cell::Null),
        Expr::Value(value) => match &value.value {
            Value::Null => Some(Cell::Null),
            Value::Boolean(value) => Some(Cell::Datum(Datum::Bool(*value), PgType::BOOL)),
            Value::SingleQuotedString(text)
            | Value::EscapedStringLiteral(text)
            | Value::DollarQuotedString(ast::DollarQuotedString { value: text, .. }) => {
                Some(Cell::Text(text.clone()))
            }
            Value::Number(number, _) => Some(number_cell(number, format)?),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match number_in(expr) {
            Some(number) => Some(number_cell(&format!("-{number}"), format)?),
            None => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => match number_in(expr) {
            Some(number) => Some(number_cell(number, format)?),
            None => None,
        },
        Expr::TypedString(typed) => match &typed.value.value {
            Value::SingleQuotedString(text) => typed_text(text, &typed.data_type, format)?,
            _ => None,
        },
        Expr::Cast { kind: ast::CastKind::Cast | ast::CastKind::DoubleColon, expr, data_type, .. } => {
            match expr.as_ref() {
                Expr::Value(value) => match &value.value {
                    Value::SingleQuotedString(text) => typed_text(text, data_type, format)?,
                    _ => None,
                },
                _ => None,
            }
        }
        Expr::Function(function) => is_now(function).then_some(Cell::Now),
        _ => None,
    })
}

fn is_word(ident: &ast::Ident, word: &str) -> bool {
    ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case(word)
}

fn is_now(function: &ast::Function) -> bool {
    let no_arguments = match &function.args {
        FunctionArguments::None => true,
        FunctionArguments::List(list) => list.args.is_empty(),
        FunctionArguments::Subquery(_) => false,
    };
    let name = names::parts(&function.name).ok().and_then(|mut parts| parts.pop());
    no_arguments && matches!(name.as_deref(), Some("now" | "current_timestamp" | "transaction_timestamp"))
}

fn number_in(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => Some(number),
            _ => None,
        },
        _ => None,
    }
}

/// A number in the type that PostgreSQL gives it: integer, bigint or numeric.
fn number_cell(text: &str, format: &FormatSettings) -> SqlResult<Cell> {
    if let Ok(value) = text.parse::<i32>() {
        return Ok(Cell::Datum(Datum::Int4(value), PgType::INT4));
    }
    if let Ok(value) = text.parse::<i64>() {
        return Ok(Cell::Datum(Datum::Int8(value), PgType::INT8));
    }
    let value = parse_text(text, &PgType::NUMERIC, NO_TYPMOD, format)?;
    Ok(Cell::Datum(value, PgType::NUMERIC))
}

fn typed_text(text: &str, data_type: &ast::DataType, format: &FormatSettings) -> SqlResult<Option<Cell>> {
    let column_type = column_type(data_type)?;
    let pg_type = column_pg_type(&column_type);
    let datum = parse_text(text, &pg_type, column_typmod(&column_type), format)?;
    Ok(Some(Cell::Datum(datum, pg_type)))
}

/// The types of the parameters of cells: those of the columns they go to.
pub fn cell_parameters(cells: &[Vec<Cell>], target: &Target, declared: &[Option<PgType>]) -> Vec<PgType> {
    let mut types: Vec<Option<PgType>> = declared.to_vec();
    for row in cells {
        for (at, cell) in row.iter().enumerate() {
            let Cell::Parameter(number) = cell else { continue };
            if types.len() <= *number {
                types.resize(number + 1, None);
            }
            let column = &target.column(at).column_type;
            types[*number].get_or_insert_with(|| column_pg_type(column));
        }
    }
    types.into_iter().map(|pg_type| pg_type.unwrap_or(PgType::TEXT)).collect()
}

/// The rows of cells.
///
/// # Errors
/// As PostgreSQL says them.
pub fn build_cells(
    engine: &Engine,
    target: &Arc<Target>,
    cells: &[Vec<Cell>],
    parameters: &[Datum],
    types: &[PgType],
    format: &FormatSettings,
) -> SqlResult<WriteBatch> {
    let mut rows = RowsBuilder::new(engine, target, format, cells.len())?;
    let now = Datum::Timestamptz(format.now_us);
    for row in cells {
        for (at, cell) in row.iter().enumerate() {
            match cell {
                Cell::Null => rows.append_null(at),
                Cell::Text(text) => rows.append_text(at, text.as_bytes())?,
                Cell::Datum(datum, pg_type) => rows.append_datum(at, datum, pg_type)?,
                Cell::Now => rows.append_datum(at, &now, &PgType::TIMESTAMPTZ)?,
                Cell::Parameter(number) => {
                    let value = parameters.get(*number).unwrap_or(&Datum::Null);
                    rows.append_datum(at, value, types.get(*number).unwrap_or(&PgType::TEXT))?;
                }
            }
        }
        rows.end_row();
    }
    rows.finish()
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
    let arrays = batch.columns().iter().enumerate().map(|(at, array)| {
        // A column of text is read as the type where that was checked before.
        let text = fields[at].pg_type == PgType::TEXT;
        let context = if text { CastContext::Explicit } else { CastContext::Assignment };
        cast_array(array, &fields[at].pg_type, &target.column(at).column_type, context, format)
    });
    let arrays = arrays.collect::<SqlResult<Vec<ArrayRef>>>()?;
    to_batch(target, &symbols, arrays, format)
}
