//! Expressions as the catalog keeps and shows them: as PostgreSQL writes them back.

use sqlparser::ast::{
    self, BinaryOperator, CastKind, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    UnaryOperator, Value,
};

use crate::pg_catalog::{CatalogContext, quote_literal, type_named};
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::text::{parse_text, to_text};
use crate::pgtype::timezone::TimeZone;
use crate::pgtype::types::{NO_TYPMOD, format_type};
use crate::sql::names;

/// A constant with its type, which some do not need to say.
pub(super) fn constant(datum: &Datum, pg_type: &PgType) -> String {
    let settings = FormatSettings::initial(TimeZone::utc(), 0);
    let text = to_text(datum, pg_type, &settings);
    match datum {
        Datum::Null => format!("NULL::{}", format_type(pg_type)),
        Datum::Bool(value) => value.to_string(),
        Datum::Int4(value) if *value >= 0 => text,
        Datum::Numeric(_) if is_fraction(&text) => text,
        _ => format!("{}::{}", quote_literal(&text), format_type(pg_type)),
    }
}

/// A number as it was written, which has a type of its own.
fn number(text: &str) -> String {
    if text.parse::<i32>().is_ok() {
        return if text.starts_with('-') { format!("'{text}'::integer") } else { text.to_owned() };
    }
    if text.parse::<i64>().is_ok() {
        return format!("'{text}'::bigint");
    }
    if is_fraction(text) { text.to_owned() } else { format!("'{text}'::numeric") }
}

/// Whether a number that is written so is a `numeric` without saying it.
fn is_fraction(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit()) && text.contains(['.', 'e', 'E'])
}

/// An expression, with parentheses wherever one could be in doubt.
pub(super) fn expression(expr: &Expr, context: &CatalogContext) -> String {
    let inner = |expr: &Expr| expression(expr, context);
    match expr {
        Expr::Nested(nested) => inner(nested),
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) => number(text),
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => quote_literal(text),
            Value::Boolean(value) => value.to_string(),
            other => other.to_string(),
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr: operand } => match operand.as_ref() {
            Expr::Value(value) => match &value.value {
                Value::Number(text, _) => number(&format!("-{text}")),
                _ => format!("(- {})", inner(operand)),
            },
            _ => format!("(- {})", inner(operand)),
        },
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => inner(expr),
        Expr::UnaryOp { op, expr } => format!("({op} {})", inner(expr)),
        Expr::BinaryOp { left, op, right } => {
            // PostgreSQL knows one of both names.
            let op = if *op == BinaryOperator::NotEq { "<>".to_owned() } else { op.to_string() };
            format!("({} {op} {})", inner(left), inner(right))
        }
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, .. } => {
            typed(expr, data_type, context)
        }
        Expr::TypedString(string) => typed(&Expr::Value(string.value.clone()), &string.data_type, context),
        Expr::Interval(interval) => {
            let plain = ast::DataType::Interval { fields: None, precision: None };
            match interval.leading_field {
                None => typed(&interval.value, &plain, context),
                Some(_) => expr.to_string(),
            }
        }
        Expr::Function(function) => call(function, context),
        other => other.to_string(),
    }
}

/// A value of a named type: a constant where it is one.
fn typed(expr: &Expr, data_type: &ast::DataType, context: &CatalogContext) -> String {
    let Ok(pg_type) = type_named(data_type) else { return format!("{expr}::{data_type}") };
    if let Some(text) = super::literal(expr)
        && let Ok(datum) = parse_text(text, &pg_type, NO_TYPMOD, &context.format)
    {
        return constant(&datum, &pg_type);
    }
    format!("({})::{}", expression(expr, context), format_type(&pg_type))
}

fn call(function: &Function, context: &CatalogContext) -> String {
    let mut parts = names::parts(&function.name).unwrap_or_default();
    let name = parts.pop().unwrap_or_default();
    match &function.args {
        // A function that is a word of the language.
        FunctionArguments::None => name.to_uppercase(),
        FunctionArguments::List(list) => {
            let arguments = list.args.iter().map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => expression(expr, context),
                other => other.to_string(),
            });
            format!("{name}({})", arguments.collect::<Vec<_>>().join(", "))
        }
        FunctionArguments::Subquery(_) => function.to_string(),
    }
}
