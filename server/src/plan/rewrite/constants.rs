//! Constants with PostgreSQL's types: integers are `integer` where they fit it, numbers are exact, and
//! intervals are read by PostgreSQL's rules.

use bigdecimal::num_bigint::Sign;
use bytes::BytesMut;
use sqlparser::ast::{
    self, CastKind, DataType as SqlType, DateTimeField, Expr, FunctionArg, FunctionArgExpr,
    FunctionArguments, Interval as IntervalSql, Value,
};

use crate::error::{SqlError, SqlResult};
use crate::pgtype::interval::{parse, write};
use crate::pgtype::numeric::Numeric;
use crate::pgtype::settings::{FormatSettings, IntervalStyle};
use crate::pgtype::timezone::TimeZone;
use crate::pgtype::types::NO_TYPMOD;
use crate::plan::rewrite::forms::call;

/// The name of the cast that an interval constant becomes.
const INTERVAL_CAST: &str = "::interval";

/// Numbers of more digits than this may not fit a decimal.
const DIGITS_MAX: usize = 76;

/// Numbers with a greater power of ten than this are doubles.
const EXPONENT_MAX: i32 = 30;

/// An integer constant.
pub fn integer(text: &str) -> Expr {
    Expr::Value(Value::Number(text.to_owned(), false).into())
}

/// A string constant.
pub fn string(text: &str) -> Expr {
    Expr::Value(Value::SingleQuotedString(text.to_owned()).into())
}

fn plain_cast(inner: Expr, data_type: SqlType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(inner), data_type, array: false, format: None }
}

/// The digits of a number constant.
pub fn digits(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => Some(digits),
            _ => None,
        },
        _ => None,
    }
}

/// A number constant in its type; `is_negative` says what stands before it.
pub fn number(text: &str, is_negative: bool) -> Expr {
    let sign = if is_negative { "-" } else { "" };
    let signed = format!("{sign}{text}");
    let plain = || match is_negative {
        true => Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr: Box::new(integer(text)) },
        false => integer(text),
    };
    if signed.parse::<i32>().is_ok() {
        return plain_cast(plain(), SqlType::Integer(None));
    }
    if signed.parse::<i64>().is_ok() {
        return match signed == i64::MIN.to_string() {
            true => call("::bigint", vec![string(&signed)]),
            false => plain(),
        };
    }
    let exponent = text.split(['e', 'E']).nth(1).and_then(|it| it.parse::<i32>().ok()).unwrap_or(0);
    if exponent.abs() > EXPONENT_MAX {
        return call("::double precision", vec![string(&signed)]);
    }
    if text.chars().all(|c| c.is_ascii_digit()) {
        return call("::numeric(76,0)", vec![string(&signed)]);
    }
    plain()
}

/// A string that is cast to `numeric` as a number, which has as many digits after its point; anything else
/// as it is.
pub fn exact(expr: Expr) -> Expr {
    let Expr::Value(value) = &expr else { return expr };
    let (Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text)) = &value.value else {
        return expr;
    };
    let Ok(Numeric::Finite(number)) = Numeric::parse(text, NO_TYPMOD) else { return expr };
    let is_negative = number.sign() == Sign::Minus;
    let magnitude = Numeric::Finite(number.abs()).to_string();
    if magnitude.len() > DIGITS_MAX {
        return expr;
    }
    let number = Box::new(integer(&magnitude));
    if is_negative { Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr: number } } else { *number }
}

/// An interval constant, with the fields that it may be limited to.
///
/// # Errors
/// It is none.
pub fn interval(interval: &IntervalSql) -> SqlResult<Expr> {
    let Expr::Value(value) = interval.value.as_ref() else {
        return Err(SqlError::unsupported("INTERVAL of anything but a string"));
    };
    let Value::SingleQuotedString(text) = &value.value else {
        return Err(SqlError::unsupported("INTERVAL of anything but a string"));
    };
    let Some(first) = &interval.leading_field else { return Ok(call(INTERVAL_CAST, vec![string(text)])) };
    let fields = field_bits(first, interval.last_field.as_ref())
        .ok_or_else(|| SqlError::unsupported(format!("INTERVAL … {first}")))?;
    let format = FormatSettings::initial(TimeZone::utc(), 0);
    let precision = match interval.fractional_seconds_precision.or(interval.leading_precision) {
        Some(precision) => i32::try_from(precision).unwrap_or(6).min(6),
        None => 0xffff,
    };
    let value = parse::parse(text, (fields << 16) | precision, &format)?;
    let mut out = BytesMut::new();
    write::write(&mut out, &value, IntervalStyle::Postgres);
    Ok(call(INTERVAL_CAST, vec![string(&String::from_utf8_lossy(&out))]))
}

/// The fields of an interval type as its modifier has them.
fn field_bits(first: &DateTimeField, last: Option<&DateTimeField>) -> Option<i32> {
    let ordered = [(2, "YEAR"), (1, "MONTH"), (3, "DAY"), (10, "HOUR"), (11, "MINUTE"), (12, "SECOND")];
    let place = |field: &DateTimeField| {
        let name = field.to_string();
        ordered.iter().position(|(_, known)| *known == name)
    };
    let (from, to) = (place(first)?, last.map_or_else(|| place(first), place)?);
    (from <= to).then(|| ordered[from..=to].iter().fold(0, |bits, (bit, _)| bits | 1 << bit))
}

/// A constant as it was written, where it had become a cast.
pub fn restore(expr: &mut Expr) {
    let restored = match expr {
        Expr::Cast { kind: CastKind::Cast, expr: inner, data_type: SqlType::Integer(None), .. } => {
            match inner.as_ref() {
                number if digits(number).is_some() => Some(number.clone()),
                Expr::UnaryOp { expr: number, .. } if digits(number).is_some() => {
                    Some(inner.as_ref().clone())
                }
                _ => None,
            }
        }
        Expr::Function(function) if function.name.to_string().trim_matches('"') == INTERVAL_CAST => {
            argument(function).and_then(plain_interval)
        }
        _ => None,
    };
    if let Some(restored) = restored {
        *expr = restored;
    }
}

/// The same for all constants in an expression.
pub fn restore_within(expr: &mut Expr) {
    restore(expr);
    match expr {
        Expr::BinaryOp { left, right, .. } => {
            restore_within(left);
            restore_within(right);
        }
        Expr::Nested(inner) | Expr::UnaryOp { expr: inner, .. } => restore_within(inner),
        _ => {}
    }
}

fn argument(function: &ast::Function) -> Option<&str> {
    let FunctionArguments::List(list) = &function.args else { return None };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))] => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// An interval in words that DataFusion reads too.
fn plain_interval(text: &str) -> Option<Expr> {
    let value = parse::parse(text, NO_TYPMOD, &FormatSettings::initial(TimeZone::utc(), 0)).ok()?;
    let words = format!("{} months {} days {} microseconds", value.months, value.days, value.micros);
    Some(Expr::Interval(IntervalSql {
        value: Box::new(string(&words)),
        leading_field: None,
        leading_precision: None,
        last_field: None,
        fractional_seconds_precision: None,
    }))
}
