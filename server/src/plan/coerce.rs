//! Types of operands: what a string or NULL without a type, or a parameter, is beside another operand,
//! and in which type several expressions come together.

use std::sync::Arc;

use bigdecimal::BigDecimal;
use datafusion::arrow::datatypes::{DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Field};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{Expr, ExprSchemable};
use tidemark_catalog::types::{ColumnType, TimeUnit};

use crate::error::SqlError;
use crate::pgtype::PgType;
use crate::pgtype::decimal::to_i256;
use crate::pgtype::numeric::Numeric;
use crate::pgtype::types::{
    Family, NO_TYPMOD, arrow_pg_type, element_type_of, family, format_type, numeric_rank,
};
use crate::plan::errors::external;
use crate::plan::types::expression_type;
use crate::sql::functions::cast;
use crate::sqlstate;

/// What is known of an operand's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Side {
    /// A string or NULL constant that may be of any type.
    Unknown,
    /// A parameter whose type nothing has said yet.
    Parameter,
    /// Of this type.
    Typed(PgType),
    /// DataFusion cannot tell.
    Opaque,
}

/// What is known of an expression's type.
pub fn side(expr: &Expr, schema: &DFSchema) -> Side {
    match expr {
        Expr::Literal(value, _) if is_untyped(value) => Side::Unknown,
        Expr::Placeholder(Placeholder { field: None, .. }) => Side::Parameter,
        expr => match expr.to_field(schema) {
            Ok((_, field)) if *field.data_type() == DataType::Null => Side::Unknown,
            Ok((_, field)) => Side::Typed(arrow_pg_type(&field)),
            Err(_) => Side::Opaque,
        },
    }
}

/// A string constant; with its type said it would be a cast.
pub fn is_untyped(value: &ScalarValue) -> bool {
    matches!(value, ScalarValue::Null | ScalarValue::Utf8(_))
}

/// The type of columns for a type of values; `None` where columns have no such type.
pub fn column_type_of(pg_type: &PgType) -> Option<ColumnType> {
    if let Some(element) = element_type_of(pg_type) {
        return Some(ColumnType::Array(Box::new(column_type_of(&element)?)));
    }
    Some(match family(pg_type) {
        Family::Bool => ColumnType::Bool,
        Family::Int2 => ColumnType::Int2,
        Family::Int4 => ColumnType::Int4,
        Family::Int8 => ColumnType::Int8,
        Family::Float4 => ColumnType::Float4,
        Family::Float8 => ColumnType::Float8,
        Family::Numeric => ColumnType::Numeric(None),
        Family::Text | Family::Varchar => ColumnType::Text,
        Family::Bytea => ColumnType::Bytea,
        Family::Date => ColumnType::Date,
        Family::Timestamp => ColumnType::Timestamp(TimeUnit::Microsecond),
        Family::Timestamptz => ColumnType::Timestamptz(TimeUnit::Microsecond),
        Family::Interval => ColumnType::Interval,
        Family::Uuid => ColumnType::Uuid,
        Family::Json => ColumnType::Json,
        Family::Jsonb => ColumnType::Jsonb,
        _ => return None,
    })
}

/// The expression cast to a type, as if the cast were written.
///
/// # Errors
/// Expressions cannot have the type.
pub fn cast_to(expr: Expr, pg_type: &PgType, time_zone: &Arc<str>) -> Result<Expr> {
    let unsupported = || external(SqlError::unsupported(format!("a conversion to {}", format_type(pg_type))));
    let column_type = column_type_of(pg_type).ok_or_else(unsupported)?;
    let function = cast::by_name(&cast::function_name(&column_type), time_zone).ok_or_else(unsupported)?;
    Ok(function.call(vec![expr]))
}

/// An operand without a type, as one of a type.
///
/// # Errors
/// It is no value of the type.
pub fn typed(expr: Expr, pg_type: &PgType, time_zone: &Arc<str>) -> Result<Expr> {
    match expr {
        Expr::Placeholder(Placeholder { id, field: None }) => {
            let Some(column_type) = column_type_of(pg_type) else {
                return Ok(Expr::Placeholder(Placeholder { id, field: None }));
            };
            let field = Field::new("", expression_type(&column_type, time_zone), true);
            Ok(Expr::Placeholder(Placeholder { id, field: Some(Arc::new(field)) }))
        }
        Expr::Literal(ScalarValue::Utf8(Some(text)), metadata) => match family(pg_type) {
            Family::Text | Family::Varchar | Family::Name | Family::Char | Family::Bpchar => {
                Ok(Expr::Literal(ScalarValue::Utf8(Some(text)), metadata))
            }
            Family::Oid => {
                let oid = crate::pgtype::integer::parse_i64(&text).map_err(external)?;
                Ok(Expr::Literal(ScalarValue::Int64(Some(oid)), None))
            }
            Family::Numeric => number(&text),
            _ => cast_to(Expr::Literal(ScalarValue::Utf8(Some(text)), metadata), pg_type, time_zone),
        },
        Expr::Literal(value, _) if value.is_null() => match family(pg_type) {
            Family::Numeric => Ok(Expr::Literal(ScalarValue::Decimal128(None, 1, 0), None)),
            _ => match column_type_of(pg_type) {
                Some(column_type) => {
                    let data_type = expression_type(&column_type, time_zone);
                    Ok(Expr::Literal(ScalarValue::try_from(&data_type)?, None))
                }
                None => Ok(Expr::Literal(ScalarValue::Null, None)),
            },
        },
        other => Ok(other),
    }
}

/// A numeric constant with the digits that it was written with.
fn number(text: &str) -> Result<Expr> {
    let Numeric::Finite(value) = Numeric::parse(text, NO_TYPMOD).map_err(external)? else {
        return Err(external(SqlError::unsupported("a numeric constant that is not finite")));
    };
    let unsupported = || external(SqlError::unsupported("a numeric constant of more than 76 digits"));
    let number = exact_decimal(value).ok_or_else(unsupported)?;
    Ok(Expr::Literal(number, None))
}

/// A number in the decimal type that has its digits and no more; `None` when there is none.
pub fn exact_decimal(value: BigDecimal) -> Option<ScalarValue> {
    let (units, scale) = value.into_bigint_and_scale();
    let scale = u8::try_from(scale).ok()?;
    let digits = u8::try_from(units.magnitude().to_string().len()).ok()?;
    let precision = digits.max(scale);
    Some(match i128::try_from(&units) {
        Ok(units) if precision <= DECIMAL128_MAX_PRECISION => {
            ScalarValue::Decimal128(Some(units), precision, scale.cast_signed())
        }
        _ if precision <= DECIMAL256_MAX_PRECISION => {
            ScalarValue::Decimal256(Some(to_i256(&units)?), precision, scale.cast_signed())
        }
        _ => return None,
    })
}

fn moment_rank(pg_type: &PgType) -> Option<u8> {
    Some(match family(pg_type) {
        Family::Date => 0,
        Family::Timestamp => 1,
        Family::Timestamptz => 2,
        _ => return None,
    })
}

/// Whether it is a number.
pub fn is_number(pg_type: &PgType) -> bool {
    numeric_rank(pg_type).is_some()
}

/// Whether it is a float.
pub fn is_float(pg_type: &PgType) -> bool {
    matches!(family(pg_type), Family::Float4 | Family::Float8)
}

/// Whether it is a date or timestamp.
pub fn is_moment(pg_type: &PgType) -> bool {
    moment_rank(pg_type).is_some()
}

/// Whether it is a text.
pub fn is_text(pg_type: &PgType) -> bool {
    family(pg_type).is_text()
}

/// Of two types the one that both come together in.
pub fn common(left: &PgType, right: &PgType) -> Option<PgType> {
    for rank in [numeric_rank, moment_rank] {
        if let (Some(left_rank), Some(right_rank)) = (rank(left), rank(right)) {
            return Some(if left_rank >= right_rank { left.clone() } else { right.clone() });
        }
    }
    if is_text(left) && is_text(right) {
        return Some(PgType::TEXT);
    }
    (family(left) == family(right) && element_type_of(left) == element_type_of(right)).then(|| left.clone())
}

/// Expressions of which each may be the value: those of CASE, COALESCE and the like, in one type. What
/// it is called in errors is `construct`.
///
/// # Errors
/// They have nothing in common, or a string is no value of the type.
pub fn unify(
    exprs: Vec<Expr>,
    construct: &str,
    schema: &DFSchema,
    time_zone: &Arc<str>,
) -> Result<Vec<Expr>> {
    let sides: Vec<Side> = exprs.iter().map(|expr| side(expr, schema)).collect();
    if sides.contains(&Side::Opaque) {
        return Ok(exprs);
    }
    let Some(target) = common_of(&sides, construct)? else { return Ok(exprs) };
    let unified = exprs.into_iter().zip(sides).map(|(expr, side)| match side {
        Side::Unknown | Side::Parameter => typed(expr, &target, time_zone),
        Side::Typed(given) if is_same(&given, &target) => Ok(expr),
        // Decimals are brought together by DataFusion.
        Side::Typed(_) if family(&target) == Family::Numeric => Ok(expr),
        _ => cast_to(expr, &target, time_zone),
    });
    unified.collect()
}

fn is_same(left: &PgType, right: &PgType) -> bool {
    family(left) == family(right) || (is_text(left) && is_text(right))
}

/// The type that all come together in; `None` when none has one.
///
/// # Errors
/// There is none.
pub fn common_of(sides: &[Side], construct: &str) -> Result<Option<PgType>> {
    let mut target: Option<PgType> = None;
    for side in sides {
        let Side::Typed(given) = side else { continue };
        target = Some(match target {
            None => given.clone(),
            Some(target) => common(&target, given).ok_or_else(|| {
                let message = format!(
                    "{construct} types {} and {} cannot be matched",
                    format_type(&target),
                    format_type(given)
                );
                external(SqlError::new(sqlstate::DATATYPE_MISMATCH, message))
            })?,
        });
    }
    Ok(target)
}
