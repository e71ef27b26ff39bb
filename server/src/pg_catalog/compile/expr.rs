//! Expressions.

use std::sync::Arc;

use sqlparser::ast::{
    AccessExpr, BinaryOperator, CastKind, DataType as SqlType, Expr as Ast, Subscript, TrimWhereField,
    UnaryOperator, Value,
};

use crate::error::SqlError;
use crate::pg_catalog::compile::condition::negate;
use crate::pg_catalog::compile::{Compiled, Compiler, Fault, Typed};
use crate::pg_catalog::operators::Comparison;
use crate::pg_catalog::plan::{Expr, Subquery};
use crate::pg_catalog::types;
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::pgtype::numeric::Numeric;
use crate::pgtype::types::{Family, NO_TYPMOD, element_type_of, family, format_type};
use crate::sql::names::fold;
use crate::sqlstate;

impl Compiler<'_> {
    pub(super) fn expr(&mut self, expr: &Ast) -> Compiled<Typed> {
        match expr {
            Ast::Nested(inner) => self.expr(inner),
            Ast::Value(value) => self.value(&value.value),
            Ast::Identifier(ident) => self.identifier(ident),
            Ast::CompoundIdentifier(parts) => self.qualified(parts),
            Ast::BinaryOp { left, op, right } => self.binary(left, op, right),
            Ast::UnaryOp { op, expr } => self.unary(*op, expr),
            Ast::Cast {
                kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, format: None, ..
            } => self.cast(expr, data_type),
            Ast::TypedString(typed) => {
                let (to, typmod) = types::resolve(&typed.data_type)?;
                let value = self.value(&typed.value.value)?;
                self.coerce(value, &to, typmod, true)
            }
            Ast::Collate { expr, .. } => self.expr(expr),
            Ast::Function(function) => self.function(function),
            Ast::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            Ast::Exists { subquery, negated } => {
                let plan = self.query(subquery)?;
                let exists = Expr::Exists(Subquery(Arc::new(plan)));
                Ok(Typed::new(negate(exists, *negated), PgType::BOOL))
            }
            Ast::Subquery(query) => self.scalar_query(query),
            Ast::Array(array) => self.array(&array.elem),
            Ast::Tuple(items) => {
                let mut fields = Vec::new();
                for item in items {
                    let value = self.expr(item)?;
                    let value = self.known(value)?;
                    fields.push((value.pg_type, value.expr));
                }
                Ok(Typed::new(Expr::Row(fields), PgType::RECORD))
            }
            Ast::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain),
            Ast::Interval(interval) if interval.leading_field.is_none() && interval.last_field.is_none() => {
                let value = self.expr(&interval.value)?;
                self.coerce(value, &PgType::INTERVAL, NO_TYPMOD, true)
            }
            other => self.condition(other),
        }
    }

    /// Functions with a syntax of their own.
    pub(super) fn spelled_function(&mut self, expr: &Ast) -> Compiled<Typed> {
        if let Ast::Extract { field, expr, .. } = expr {
            let field = field.to_string().trim_matches('"').to_lowercase();
            let field = Typed::new(Expr::text(field), PgType::UNKNOWN);
            let value = self.expr(expr)?;
            return self.scalar_call("extract", vec![field, value]);
        }
        let (name, arguments): (&str, Vec<&Ast>) = match expr {
            Ast::Position { expr, r#in } => ("strpos", vec![r#in.as_ref(), expr.as_ref()]),
            Ast::Substring { expr, substring_from: Some(from), substring_for, special: _, .. } => {
                let mut arguments = vec![expr.as_ref(), from.as_ref()];
                arguments.extend(substring_for.as_deref());
                ("substring", arguments)
            }
            Ast::Trim { expr, trim_where, trim_what, trim_characters: None } => {
                let name = match trim_where {
                    Some(TrimWhereField::Leading) => "ltrim",
                    Some(TrimWhereField::Trailing) => "rtrim",
                    _ => "btrim",
                };
                let mut arguments = vec![expr.as_ref()];
                arguments.extend(trim_what.as_deref());
                (name, arguments)
            }
            Ast::AtTimeZone { timestamp, time_zone } => {
                ("timezone", vec![time_zone.as_ref(), timestamp.as_ref()])
            }
            Ast::Ceil { expr, .. } => ("ceil", vec![expr.as_ref()]),
            Ast::Floor { expr, .. } => ("floor", vec![expr.as_ref()]),
            other => return Err(SqlError::unsupported(format!("the expression {other}")).into()),
        };
        let values = arguments.into_iter().map(|it| self.expr(it)).collect::<Compiled<Vec<_>>>()?;
        self.scalar_call(name, values)
    }

    fn value(&mut self, value: &Value) -> Compiled<Typed> {
        Ok(match value {
            Value::Null => Typed::new(Expr::null(), PgType::UNKNOWN),
            Value::Boolean(value) => Typed::new(Expr::Const(Datum::Bool(*value)), PgType::BOOL),
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => {
                Typed::new(Expr::text(text.as_str()), PgType::UNKNOWN)
            }
            Value::DollarQuotedString(text) => Typed::new(Expr::text(text.value.as_str()), PgType::UNKNOWN),
            Value::Number(text, _) => number(text)?,
            Value::Placeholder(name) => self.parameter(name)?,
            _ => return Err(Fault::NotOurs),
        })
    }

    fn parameter(&mut self, name: &str) -> Compiled<Typed> {
        let number: usize = name
            .strip_prefix('$')
            .and_then(|it| it.parse().ok())
            .filter(|it| *it > 0)
            .ok_or(Fault::NotOurs)?;
        if number > usize::from(u16::MAX) {
            let message = format!("there is no parameter ${number}");
            return Err(Fault::Wrong(SqlError::new(sqlstate::UNDEFINED_PARAMETER, message)));
        }
        if self.parameters.len() < number {
            self.parameters.resize(number, None);
        }
        self.parameters_named.insert(number - 1);
        let expr = Expr::Parameter(number - 1);
        let Some(known) = self.parameters[number - 1].clone() else {
            return Ok(Typed::new(expr, PgType::UNKNOWN));
        };
        // A reg type's value may have come as a name.
        if family(&known) == Family::Reg {
            let cast =
                crate::pg_catalog::convert::Cast { from: known.clone(), to: known.clone(), typmod: -1 };
            return Ok(Typed::new(Expr::Cast(Box::new(expr), cast), known));
        }
        Ok(Typed::new(expr, known))
    }

    fn unary(&mut self, operator: UnaryOperator, inner: &Ast) -> Compiled<Typed> {
        // A sign belongs to the number, so that the least integer can be written.
        if let (UnaryOperator::Minus, Ast::Value(value)) = (operator, inner)
            && let Value::Number(text, _) = &value.value
        {
            return number(&format!("-{text}"));
        }
        let value = self.expr(inner)?;
        match operator {
            UnaryOperator::Not => {
                let condition = self.boolean(value, "NOT")?;
                Ok(Typed::new(negate(condition, true), PgType::BOOL))
            }
            UnaryOperator::Plus if crate::pg_catalog::convert::is_number(&value.pg_type) => Ok(value),
            UnaryOperator::Minus
                if matches!(
                    family(&value.pg_type),
                    Family::Int2 | Family::Int4 | Family::Int8 | Family::Numeric
                ) =>
            {
                let zero = Typed::new(Expr::Const(Datum::Int2(0)), PgType::INT2);
                self.operate(&BinaryOperator::Minus, zero, value)
            }
            _ => Err(SqlError::unsupported(format!("the operator {operator}")).into()),
        }
    }

    fn cast(&mut self, inner: &Ast, to: &SqlType) -> Compiled<Typed> {
        let (to, typmod) = types::resolve(to)?;
        // The elements of an array without a type of its own have the type of the cast.
        if let Ast::Array(array) = inner
            && let Some(element) = element_type_of(&to)
            && !array.elem.iter().any(|it| matches!(it, Ast::Array(_)))
        {
            let mut items = Vec::new();
            for item in &array.elem {
                let value = self.expr(item)?;
                items.push(self.coerce(value, &element, typmod, true)?.expr);
            }
            return Ok(Typed::new(Expr::Array { element, items, nested: false }, to));
        }
        let value = self.expr(inner)?;
        self.coerce(value, &to, typmod, true)
    }

    fn case(
        &mut self,
        operand: Option<&Ast>,
        conditions: &[sqlparser::ast::CaseWhen],
        otherwise: Option<&Ast>,
    ) -> Compiled<Typed> {
        let operand = operand.map(|it| self.expr(it)).transpose()?;
        let mut tests = Vec::new();
        let mut results = Vec::new();
        for when in conditions {
            let test = self.expr(&when.condition)?;
            tests.push(match &operand {
                Some(operand) => self.compare(Comparison::Equal, operand.clone(), test)?.expr,
                None => self.boolean(test, "CASE/WHEN")?,
            });
            results.push(self.expr(&when.result)?);
        }
        let has_else = otherwise.is_some();
        results.extend(otherwise.map(|it| self.expr(it)).transpose()?);
        let (mut results, common) = self.unify(results, "CASE")?;
        let otherwise = if has_else { results.pop().map(Box::new) } else { None };
        let whens = tests.into_iter().zip(results).collect();
        Ok(Typed::new(Expr::Case { whens, otherwise }, common))
    }

    /// Values of one type.
    pub(super) fn unify(&mut self, values: Vec<Typed>, what: &str) -> Compiled<(Vec<Expr>, PgType)> {
        let types: Vec<PgType> = values.iter().map(|it| it.pg_type.clone()).collect();
        let common = self.one_type(&types, what)?;
        let mut exprs = Vec::new();
        for value in values {
            exprs.push(self.coerce(value, &common, NO_TYPMOD, false)?.expr);
        }
        Ok((exprs, common))
    }

    fn array(&mut self, items: &[Ast]) -> Compiled<Typed> {
        if items.is_empty() {
            let message = "cannot determine type of empty array";
            let hint = "Explicitly cast to the desired type, for example ARRAY[]::integer[].";
            return Err(SqlError::new(sqlstate::INDETERMINATE_DATATYPE, message).with_hint(hint).into());
        }
        let values = items.iter().map(|it| self.expr(it)).collect::<Compiled<Vec<_>>>()?;
        let (items, common) = self.unify(values, "ARRAY")?;
        let nested = family(&common) == Family::Array;
        let pg_type = types::array_of(&common)?;
        Ok(Typed::new(Expr::Array { element: common, items, nested }, pg_type))
    }

    fn access(&mut self, root: &Ast, chain: &[AccessExpr]) -> Compiled<Typed> {
        // The parser takes `a.b[1]` for a chain of accesses that begins with a name.
        let mut names = Vec::new();
        if let Ast::Identifier(ident) = root {
            names.push(ident.clone());
        }
        let mut rest = chain;
        while let (false, [AccessExpr::Dot(Ast::Identifier(ident)), more @ ..]) = (names.is_empty(), rest) {
            names.push(ident.clone());
            rest = more;
        }
        let mut value = if names.len() > 1 { self.qualified(&names)? } else { self.expr(root)? };
        while let [access, more @ ..] = rest {
            rest = more;
            value = match access {
                AccessExpr::Dot(Ast::Identifier(field)) => field_of(value, &fold(field))?,
                AccessExpr::Dot(_) => return Err(Fault::NotOurs),
                AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride: None }) => {
                    let mut bound = |expr: &Option<Ast>| -> Compiled<Option<Box<Expr>>> {
                        let Some(expr) = expr else { return Ok(None) };
                        let bound = self.expr(expr)?;
                        Ok(Some(Box::new(self.coerce(bound, &PgType::INT4, NO_TYPMOD, false)?.expr)))
                    };
                    let (lower, upper) = (bound(lower_bound)?, bound(upper_bound)?);
                    Typed::new(Expr::Slice(Box::new(value.expr), lower, upper), value.pg_type)
                }
                AccessExpr::Subscript(Subscript::Index { index }) => {
                    let Some(element) = element_type_of(&value.pg_type) else {
                        let name = format_type(&value.pg_type);
                        let message =
                            format!("cannot subscript type {name} because it does not support subscripting");
                        return Err(SqlError::new(sqlstate::DATATYPE_MISMATCH, message).into());
                    };
                    let mut subscripts = vec![self.subscript(index)?];
                    while let [AccessExpr::Subscript(Subscript::Index { index }), more @ ..] = rest {
                        rest = more;
                        subscripts.push(self.subscript(index)?);
                    }
                    Typed::new(Expr::Subscript(Box::new(value.expr), subscripts), element)
                }
                AccessExpr::Subscript(_) => return Err(Fault::NotOurs),
            };
        }
        Ok(value)
    }

    fn subscript(&mut self, index: &Ast) -> Compiled<Expr> {
        let index = self.expr(index)?;
        let wide = index.pg_type == PgType::INT8;
        Ok(self.coerce(index, &PgType::INT4, NO_TYPMOD, wide)?.expr)
    }
}

fn field_of(value: Typed, name: &str) -> Compiled<Typed> {
    let at = value.shape.as_ref().and_then(|shape| shape.iter().position(|(it, _)| it == name));
    let (Some(at), Some(shape)) = (at, &value.shape) else {
        let message = format!("could not identify column \"{name}\" in record data type");
        return Err(SqlError::new(sqlstate::UNDEFINED_COLUMN, message).into());
    };
    let pg_type = shape[at].1.clone();
    Ok(Typed::new(Expr::Field(Box::new(value.expr), at), pg_type))
}

/// A number has the smallest type that holds it.
fn number(text: &str) -> Compiled<Typed> {
    if let Ok(value) = text.parse::<i32>() {
        return Ok(Typed::new(Expr::Const(Datum::Int4(value)), PgType::INT4));
    }
    if let Ok(value) = text.parse::<i64>() {
        return Ok(Typed::new(Expr::Const(Datum::Int8(value)), PgType::INT8));
    }
    let value = Numeric::parse(text, NO_TYPMOD).map_err(|_| Fault::NotOurs)?;
    Ok(Typed::new(Expr::Const(Datum::Numeric(value)), PgType::NUMERIC))
}
