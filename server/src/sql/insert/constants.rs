//! Rows of constants and parameters: what most INSERTs are.
//!
//! They become columns without a plan, and column by column: a column's type is asked once, and a value
//! goes from its text or its bytes into the column.

use std::sync::Arc;

use sqlparser::ast::{self, Expr, FunctionArguments, UnaryOperator, Value};
use tidemark_catalog::types::ColumnType;
use tidemark_engine::batch::WriteBatch;
use tidemark_engine::engine::Engine;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::text::parse_text;
use crate::pgtype::types::{NO_TYPMOD, column_pg_type, column_typmod, family};
use crate::plan::parameters::parameter_number;
use crate::sql::defaults::is_default;
use crate::sql::names;
use crate::sql::rows::builder::RowsBuilder;
use crate::sql::rows::{Target, Values};
use crate::sql::types::column_type;

/// Rows of constants and parameters.
#[derive(Clone, Debug, Default)]
pub struct ConstantRows {
    width: usize,
    /// Row by row.
    cells: Vec<Cell>,
    /// The texts of strings and numbers.
    texts: String,
    /// The types that strings were cast to.
    types: Vec<ColumnType>,
}

/// A value of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// NULL.
    Null,
    /// DEFAULT.
    Default,
    /// When the transaction started.
    Now,
    /// A truth value.
    Bool(bool),
    /// A string, read as the column's type.
    Text(Span),
    /// A string, read as a type of its own: that of this place in [`ConstantRows::types`].
    Typed(Span, u16),
    /// A number as it is written.
    Number(Span),
    /// A parameter, by number from 0.
    Parameter(u16),
}

/// A part of [`ConstantRows::texts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl ConstantRows {
    /// One row, of which every value is the column's default.
    pub fn defaults(width: usize) -> ConstantRows {
        ConstantRows { width, cells: vec![Cell::Default; width], ..ConstantRows::default() }
    }

    /// The rows of a VALUES list; `None` when a value takes a query to compute it. The rows are equally
    /// long.
    ///
    /// # Errors
    /// A type in it does not exist.
    pub fn of(rows: &[&[Expr]]) -> SqlResult<Option<ConstantRows>> {
        let mut constants =
            ConstantRows { width: rows.first().map_or(0, |row| row.len()), ..ConstantRows::default() };
        for expr in rows.iter().flat_map(|row| row.iter()) {
            match constants.cell(expr)? {
                Some(cell) => constants.cells.push(cell),
                None => return Ok(None),
            }
        }
        Ok(Some(constants))
    }

    /// How many values a row has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How many rows there are.
    pub fn row_count(&self) -> usize {
        self.cells.len().checked_div(self.width).unwrap_or(0)
    }

    /// The next value of the row under way.
    pub(super) fn push(&mut self, cell: Cell) {
        self.cells.push(cell);
    }

    /// The first row is complete: all others are as long.
    pub(super) fn end_first_row(&mut self) {
        self.width = self.cells.len();
    }

    /// Whether the row under way is complete.
    pub(super) fn is_at_end_of_row(&self) -> bool {
        self.width > 0 && self.cells.len().is_multiple_of(self.width)
    }

    /// Keeps a text.
    pub(super) fn keep(&mut self, parts: &[&str]) -> Option<Span> {
        let start = u32::try_from(self.texts.len()).ok()?;
        parts.iter().for_each(|part| self.texts.push_str(part));
        Some(Span { start, end: u32::try_from(self.texts.len()).ok()? })
    }

    /// The place of a type among those that strings were cast to.
    pub(super) fn keep_type(&mut self, column_type: ColumnType) -> Option<u16> {
        let at = match self.types.iter().position(|known| *known == column_type) {
            Some(at) => at,
            None => {
                self.types.push(column_type);
                self.types.len() - 1
            }
        };
        u16::try_from(at).ok()
    }

    fn text(&self, span: Span) -> &str {
        &self.texts[span.start as usize..span.end as usize]
    }

    fn string(&mut self, text: &str) -> SqlResult<Span> {
        self.keep(&[text]).ok_or_else(|| SqlError::internal("a statement of more than 4 GiB"))
    }

    /// The expression as a constant; `None` when it is none.
    fn cell(&mut self, expr: &Expr) -> SqlResult<Option<Cell>> {
        if let Some(number) = parameter_number(expr) {
            return Ok(u16::try_from(number).ok().map(Cell::Parameter));
        }
        Ok(match expr {
            Expr::Nested(inner) => return self.cell(inner),
            expr if is_default(expr) => Some(Cell::Default),
            Expr::Value(value) => match &value.value {
                Value::Null => Some(Cell::Null),
                Value::Boolean(value) => Some(Cell::Bool(*value)),
                Value::Number(number, _) => Some(Cell::Number(self.string(number)?)),
                value => match string_in(value) {
                    Some(text) => Some(Cell::Text(self.string(text)?)),
                    None => None,
                },
            },
            Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match number_in(expr) {
                Some(number) => Some(Cell::Number(self.string(&format!("-{number}"))?)),
                None => None,
            },
            Expr::UnaryOp { op: UnaryOperator::Plus, expr } => match number_in(expr) {
                Some(number) => Some(Cell::Number(self.string(number)?)),
                None => None,
            },
            Expr::TypedString(typed) => self.typed(&typed.value.value, &typed.data_type)?,
            Expr::Cast {
                kind: ast::CastKind::Cast | ast::CastKind::DoubleColon, expr, data_type, ..
            } => match expr.as_ref() {
                Expr::Value(value) => self.typed(&value.value, data_type)?,
                _ => None,
            },
            Expr::Function(function) => is_now(function).then_some(Cell::Now),
            _ => None,
        })
    }

    fn typed(&mut self, value: &Value, data_type: &ast::DataType) -> SqlResult<Option<Cell>> {
        let Some(text) = string_in(value) else { return Ok(None) };
        let span = self.string(text)?;
        Ok(self.keep_type(column_type(data_type)?).map(|at| Cell::Typed(span, at)))
    }

    /// The types of the parameters: those that were declared, or of the columns they go to. Nothing is
    /// said here of others.
    pub fn parameter_types(&self, target: &Target, declared: &[Option<PgType>]) -> Vec<Option<PgType>> {
        let mut types: Vec<Option<PgType>> = declared.to_vec();
        for (at, cell) in self.cells.iter().enumerate() {
            let Cell::Parameter(number) = cell else { continue };
            let number = usize::from(*number);
            if types.len() <= number {
                types.resize(number + 1, None);
            }
            let column = &target.column(at % self.width).column_type;
            types[number].get_or_insert_with(|| column_pg_type(column));
        }
        types
    }

    /// Looks whether texts are values of the types that they were cast to.
    ///
    /// # Errors
    /// One is none.
    pub fn check_types(&self, format: &FormatSettings) -> SqlResult<()> {
        for cell in &self.cells {
            if let Cell::Typed(span, at) = cell {
                self.typed_value(*span, *at, format)?;
            }
        }
        Ok(())
    }

    fn typed_value(&self, span: Span, at: u16, format: &FormatSettings) -> SqlResult<(Datum, PgType)> {
        let column_type = &self.types[usize::from(at)];
        let pg_type = column_pg_type(column_type);
        let datum = parse_text(self.text(span), &pg_type, column_typmod(column_type), format)?;
        Ok((datum, pg_type))
    }

    /// The rows as columns.
    ///
    /// # Errors
    /// As PostgreSQL says them, of the first row that has one.
    pub fn build(
        &self,
        engine: &Engine,
        target: &Arc<Target>,
        values: Values<'_>,
        types: &[PgType],
        format: &FormatSettings,
    ) -> SqlResult<WriteBatch> {
        let mut count = self.row_count();
        let mut rows = RowsBuilder::new(engine, target, format, count)?;
        let mut earliest = None;
        for at in 0..self.width {
            let column = self.cells.iter().skip(at).step_by(self.width).take(count);
            for (row, cell) in column.enumerate() {
                if let Err(error) = self.append(*cell, at, &mut rows, values, types, format) {
                    (count, earliest) = (row, Some(error));
                    break;
                }
            }
        }
        if let Some(error) = earliest {
            return Err(error);
        }
        rows.fill(count)?;
        rows.end_rows(count);
        rows.finish()
    }

    fn append(
        &self,
        cell: Cell,
        at: usize,
        rows: &mut RowsBuilder,
        values: Values<'_>,
        types: &[PgType],
        format: &FormatSettings,
    ) -> SqlResult<()> {
        match cell {
            Cell::Null => rows.append_null(at),
            Cell::Default => rows.append_default(at)?,
            Cell::Text(span) => rows.append_text(at, self.text(span).as_bytes())?,
            Cell::Number(span) => {
                let text = self.text(span);
                if !rows.append_number(at, text) {
                    let (datum, pg_type) = number(text, format)?;
                    rows.append_datum(at, &datum, &pg_type)?;
                }
            }
            Cell::Parameter(number) => {
                let number = usize::from(number);
                let pg_type = types.get(number).unwrap_or(&PgType::TEXT);
                rows.append_value(at, values, number, pg_type)?;
            }
            Cell::Bool(value) => rows.append_datum(at, &Datum::Bool(value), &PgType::BOOL)?,
            Cell::Now => rows.append_datum(at, &Datum::Timestamptz(format.now_us), &PgType::TIMESTAMPTZ)?,
            Cell::Typed(span, type_at) => {
                let column_type = &self.types[usize::from(type_at)];
                let pg_type = column_pg_type(column_type);
                if column_typmod(column_type) == NO_TYPMOD && family(&pg_type) == family(rows.pg_type(at)) {
                    rows.append_text(at, self.text(span).as_bytes())?;
                } else {
                    let (datum, pg_type) = self.typed_value(span, type_at, format)?;
                    rows.append_datum(at, &datum, &pg_type)?;
                }
            }
        }
        Ok(())
    }
}

/// A number in the type that PostgreSQL gives it: integer, bigint or numeric.
fn number(text: &str, format: &FormatSettings) -> SqlResult<(Datum, PgType)> {
    if let Ok(value) = text.parse::<i32>() {
        return Ok((Datum::Int4(value), PgType::INT4));
    }
    if let Ok(value) = text.parse::<i64>() {
        return Ok((Datum::Int8(value), PgType::INT8));
    }
    let value = parse_text(text, &PgType::NUMERIC, NO_TYPMOD, format)?;
    Ok((value, PgType::NUMERIC))
}

fn string_in(value: &Value) -> Option<&str> {
    match value {
        Value::SingleQuotedString(text)
        | Value::EscapedStringLiteral(text)
        | Value::DollarQuotedString(ast::DollarQuotedString { value: text, .. }) => Some(text),
        _ => None,
    }
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

fn is_now(function: &ast::Function) -> bool {
    let no_arguments = match &function.args {
        FunctionArguments::None => true,
        FunctionArguments::List(list) => list.args.is_empty(),
        FunctionArguments::Subquery(_) => false,
    };
    let name = names::parts(&function.name).ok().and_then(|mut parts| parts.pop());
    no_arguments && matches!(name.as_deref(), Some("now" | "current_timestamp" | "transaction_timestamp"))
}
