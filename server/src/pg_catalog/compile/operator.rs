//! Operators: which of them is meant, by the types of the operands.

use sqlparser::ast::{BinaryOperator, Expr as Ast};

use crate::error::SqlError;
use crate::pg_catalog::compile::{Compiled, Compiler, Fault, Typed};
use crate::pg_catalog::convert::{is_implicit, is_number, is_string};
use crate::pg_catalog::operators::{Arithmetic, Comparison, Operator};
use crate::pg_catalog::plan::Expr;
use crate::pgtype::PgType;
use crate::pgtype::types::{Family, NO_TYPMOD, element_type_of, family, format_type, numeric_rank};
use crate::sql::functions::operator_overloads;
use crate::sql::functions::row::overload_for;
use crate::sql::tuples;
use crate::sqlstate;

impl Compiler<'_> {
    pub(super) fn binary(&mut self, left: &Ast, operator: &BinaryOperator, right: &Ast) -> Compiled<Typed> {
        if let BinaryOperator::And | BinaryOperator::Or = operator {
            return self.junction(left, operator, right);
        }
        if let (Some(lefts), Some(rights)) = (tuples::columns(left), tuples::columns(right))
            && tuples::is_comparison(operator)
        {
            return self.expr(&tuples::compared(lefts, operator, rights)?);
        }
        let left = self.expr(left)?;
        let right = self.expr(right)?;
        let is_array = |it: &Typed| family(&it.pg_type) == Family::Array;
        if !is_array(&left)
            && !is_array(&right)
            && let Some(function) = function_of(operator, &left.pg_type, &right.pg_type)
        {
            return self.scalar_call(function, vec![left, right]);
        }
        self.operated(operator, left, right)
    }

    /// An operator that the interpreter has, or else one on dates, times and intervals.
    fn operated(&mut self, operator: &BinaryOperator, left: Typed, right: Typed) -> Compiled<Typed> {
        let types = [left.pg_type.clone(), right.pg_type.clone()];
        let has_time = types.iter().any(|it| {
            matches!(family(it), Family::Date | Family::Timestamp | Family::Timestamptz | Family::Interval)
        });
        let overloads = operator_overloads(&operator.to_string()).filter(|_| has_time);
        match overloads.and_then(|all| overload_for(all, &types)) {
            Some(overload) => self.shared_call(overload, vec![left, right]),
            None => self.operate(operator, left, right),
        }
    }

    /// Chains of AND and OR are flat, so that their length does not become depth.
    fn junction(&mut self, left: &Ast, operator: &BinaryOperator, right: &Ast) -> Compiled<Typed> {
        let is_and = *operator == BinaryOperator::And;
        let mut items = Vec::new();
        let mut stack = vec![right, left];
        while let Some(next) = stack.pop() {
            match next {
                Ast::BinaryOp { left, op, right } if op == operator => {
                    stack.push(right);
                    stack.push(left);
                }
                other => {
                    let value = self.expr(other)?;
                    items.push(self.boolean(value, if is_and { "AND" } else { "OR" })?);
                }
            }
        }
        let expr = if is_and { Expr::And(items) } else { Expr::Or(items) };
        Ok(Typed::new(expr, PgType::BOOL))
    }

    pub(super) fn operate(
        &mut self,
        operator: &BinaryOperator,
        left: Typed,
        right: Typed,
    ) -> Compiled<Typed> {
        let (operator, left, right, result) = self.settle_operator(operator, left, right)?;
        Ok(Typed::new(Expr::Operate(operator, Box::new(left.expr), Box::new(right.expr)), result))
    }

    /// The operator, its operands as it wants them, and the type of its result.
    pub(super) fn settle_operator(
        &mut self,
        operator: &BinaryOperator,
        left: Typed,
        right: Typed,
    ) -> Compiled<(Operator, Typed, Typed, PgType)> {
        if let Some(comparison) = comparison(operator) {
            let (left, right) = self.comparable(comparison, left, right)?;
            return Ok((Operator::Compare(comparison), left, right, PgType::BOOL));
        }
        if let Some(arithmetic) = arithmetic(operator) {
            return self.arithmetic(arithmetic, left, right);
        }
        if let Some(matching) = matching(operator) {
            let textual = |it: &Typed| is_string(&it.pg_type) || it.pg_type == PgType::CHAR;
            if !textual(&left) || !textual(&right) {
                return Err(undefined(symbol(operator), &left, &right).into());
            }
            let left = self.coerce(left, &PgType::TEXT, NO_TYPMOD, true)?;
            let right = self.coerce(right, &PgType::TEXT, NO_TYPMOD, true)?;
            return Ok((matching, left, right, PgType::BOOL));
        }
        match operator {
            BinaryOperator::StringConcat => self.concatenation(left, right),
            BinaryOperator::AtArrow | BinaryOperator::ArrowAt | BinaryOperator::PGOverlap => {
                let (left, right) = self.same_arrays(operator, left, right)?;
                let operator = match operator {
                    BinaryOperator::AtArrow => Operator::Contains,
                    BinaryOperator::ArrowAt => Operator::ContainedBy,
                    _ => Operator::Overlaps,
                };
                Ok((operator, left, right, PgType::BOOL))
            }
            BinaryOperator::BitwiseAnd | BinaryOperator::BitwiseOr => {
                let integer = |it: &Typed| numeric_rank(&it.pg_type).is_some_and(|rank| rank <= 2);
                if !integer(&left) || !integer(&right) {
                    return Err(Fault::Unknown(undefined(symbol(operator), &left, &right)));
                }
                let wide = wider(&left.pg_type, &right.pg_type);
                let left = self.coerce(left, &wide, NO_TYPMOD, false)?;
                let right = self.coerce(right, &wide, NO_TYPMOD, false)?;
                let is_and = *operator == BinaryOperator::BitwiseAnd;
                Ok((if is_and { Operator::BitAnd } else { Operator::BitOr }, left, right, wide))
            }
            BinaryOperator::PGCustomBinaryOperator(parts) => {
                let plain = parts.last().and_then(|symbol| by_symbol(symbol));
                let plain = plain.ok_or_else(|| undefined(&parts.join("."), &left, &right))?;
                self.settle_operator(&plain, left, right)
            }
            other => Err(undefined(&other.to_string(), &left, &right).into()),
        }
    }

    pub(super) fn compare(&mut self, comparison: Comparison, left: Typed, right: Typed) -> Compiled<Typed> {
        let (left, right) = self.comparable(comparison, left, right)?;
        let operator = Operator::Compare(comparison);
        let expr = Expr::Operate(operator, Box::new(left.expr), Box::new(right.expr));
        Ok(Typed::new(expr, PgType::BOOL))
    }

    /// Operands of one type, or of types whose values are compared as they are.
    pub(super) fn comparable(
        &mut self,
        comparison: Comparison,
        left: Typed,
        right: Typed,
    ) -> Compiled<(Typed, Typed)> {
        let target = match (left.is_unknown(), right.is_unknown()) {
            (true, true) => Some(PgType::TEXT),
            (true, false) => Some(for_literal(&right.pg_type)),
            (false, true) => Some(for_literal(&left.pg_type)),
            (false, false) => None,
        };
        let target = match target {
            Some(target) => target,
            None => match common(&left.pg_type, &right.pg_type) {
                Some(Common::AsIs) => return Ok((left, right)),
                Some(Common::Type(target)) => target,
                None => return Err(undefined(symbol_of(comparison), &left, &right).into()),
            },
        };
        let is_padded = family(&target) == Family::Bpchar;
        let is_explicit = target == PgType::TEXT;
        let mut operand = |value: Typed| {
            // Blanks at the end of a bpchar do not count, and a text has none that do not.
            if is_padded {
                let padded = self.coerce(value, &target, NO_TYPMOD, true)?;
                return self.coerce(padded, &PgType::TEXT, NO_TYPMOD, true);
            }
            // An array of another type of integers and a reg value are compared as they are.
            let as_is = value.pg_type == target || !value.is_unknown() && is_reg_or_oid(&value.pg_type);
            if as_is { Ok(value) } else { self.coerce(value, &target, NO_TYPMOD, is_explicit) }
        };
        Ok((operand(left)?, operand(right)?))
    }

    fn arithmetic(
        &mut self,
        arithmetic: Arithmetic,
        left: Typed,
        right: Typed,
    ) -> Compiled<(Operator, Typed, Typed, PgType)> {
        let symbol = match arithmetic {
            Arithmetic::Add => "+",
            Arithmetic::Subtract => "-",
            Arithmetic::Multiply => "*",
            Arithmetic::Divide => "/",
            Arithmetic::Modulo => "%",
        };
        let unknown = undefined(symbol, &left, &right);
        let operator = Operator::Arithmetic(arithmetic);
        let numbers = |it: &Typed| is_number(&it.pg_type);
        let target = match (left.is_unknown(), right.is_unknown()) {
            (true, false) if numbers(&right) => right.pg_type.clone(),
            (false, true) if numbers(&left) => left.pg_type.clone(),
            (false, false) if numbers(&left) && numbers(&right) => wider(&left.pg_type, &right.pg_type),
            (false, false) => return self.time_arithmetic(arithmetic, left, right, unknown),
            _ => return Err(unknown.into()),
        };
        let float = matches!(family(&target), Family::Float8 | Family::Float4);
        if float && arithmetic == Arithmetic::Modulo || family(&target) == Family::Float4 {
            return Err(unknown.into());
        }
        let left = self.coerce(left, &target, NO_TYPMOD, false)?;
        let right = self.coerce(right, &target, NO_TYPMOD, false)?;
        Ok((operator, left, right, target))
    }

    fn time_arithmetic(
        &mut self,
        arithmetic: Arithmetic,
        left: Typed,
        right: Typed,
        unknown: SqlError,
    ) -> Compiled<(Operator, Typed, Typed, PgType)> {
        let operator = Operator::Arithmetic(arithmetic);
        let result = match (family(&left.pg_type), arithmetic, family(&right.pg_type)) {
            (Family::Date, Arithmetic::Subtract, Family::Date) => PgType::INT4,
            (Family::Date, Arithmetic::Add | Arithmetic::Subtract, Family::Int4) => PgType::DATE,
            (Family::Timestamp, Arithmetic::Subtract, Family::Timestamp)
            | (Family::Timestamptz, Arithmetic::Subtract, Family::Timestamptz) => PgType::INTERVAL,
            (Family::Timestamp, Arithmetic::Add | Arithmetic::Subtract, Family::Interval) => {
                PgType::TIMESTAMP
            }
            (Family::Timestamptz, Arithmetic::Add | Arithmetic::Subtract, Family::Interval) => {
                PgType::TIMESTAMPTZ
            }
            _ => return Err(unknown.into()),
        };
        Ok((operator, left, right, result))
    }

    fn concatenation(&mut self, left: Typed, right: Typed) -> Compiled<(Operator, Typed, Typed, PgType)> {
        let (one, other) = (family(&left.pg_type), family(&right.pg_type));
        let is_array = |it: Family| it == Family::Array;
        if is_array(one) || is_array(other) {
            return self.array_concatenation(left, right);
        }
        if !is_string(&left.pg_type) && !is_string(&right.pg_type) {
            let both_char = left.pg_type == PgType::CHAR && right.pg_type == PgType::CHAR;
            if !both_char {
                return Err(undefined("||", &left, &right).into());
            }
        }
        // Whatever stands beside a text is written as one; a truth value as its output is.
        if one == Family::Bool || other == Family::Bool {
            return Err(Fault::NotOurs);
        }
        let left = self.coerce(left, &PgType::TEXT, NO_TYPMOD, true)?;
        let right = self.coerce(right, &PgType::TEXT, NO_TYPMOD, true)?;
        Ok((Operator::Concat, left, right, PgType::TEXT))
    }

    fn array_concatenation(
        &mut self,
        left: Typed,
        right: Typed,
    ) -> Compiled<(Operator, Typed, Typed, PgType)> {
        let array =
            if family(&left.pg_type) == Family::Array { &left.pg_type } else { &right.pg_type }.clone();
        let element = element_type_of(&array).unwrap_or(PgType::TEXT);
        let mut side = |value: Typed| -> Compiled<Typed> {
            if family(&value.pg_type) == Family::Array || value.is_unknown() {
                return self.coerce(value, &array, NO_TYPMOD, false);
            }
            let value = self.coerce(value, &element, NO_TYPMOD, false)?;
            let items = vec![value.expr];
            Ok(Typed::new(Expr::Array { element: element.clone(), items, nested: false }, array.clone()))
        };
        let (left, right) = (side(left)?, side(right)?);
        Ok((Operator::ArrayConcat, left, right, array))
    }

    fn same_arrays(
        &mut self,
        operator: &BinaryOperator,
        left: Typed,
        right: Typed,
    ) -> Compiled<(Typed, Typed)> {
        let is_array = |it: &Typed| family(&it.pg_type) == Family::Array;
        if left.pg_type == right.pg_type && is_array(&left) {
            return Ok((left, right));
        }
        if left.is_unknown() && is_array(&right) {
            let to = right.pg_type.clone();
            return Ok((self.coerce(left, &to, NO_TYPMOD, false)?, right));
        }
        if right.is_unknown() && is_array(&left) {
            let to = left.pg_type.clone();
            let right = self.coerce(right, &to, NO_TYPMOD, false)?;
            return Ok((left, right));
        }
        Err(undefined(symbol(operator), &left, &right).into())
    }
}

/// The function that an operator on JSON or on arrays calls.
pub(crate) fn function_of(operator: &BinaryOperator, left: &PgType, right: &PgType) -> Option<&'static str> {
    let is_binary = |it: &PgType| family(it) == Family::Jsonb;
    let binary = is_binary(left);
    let is_array = |it: &PgType| matches!(family(it), Family::Array | Family::Vector);
    if is_array(left) || is_array(right) {
        return match operator {
            BinaryOperator::AtArrow => Some("arraycontains"),
            BinaryOperator::ArrowAt => Some("arraycontained"),
            BinaryOperator::PGOverlap => Some("arrayoverlap"),
            _ => None,
        };
    }
    if !binary && !is_binary(right) && family(left) != Family::Json {
        return None;
    }
    let pick = |json: &'static str, jsonb: &'static str| Some(if binary { jsonb } else { json });
    let by_place = numeric_rank(right).is_some();
    match operator {
        BinaryOperator::Arrow if by_place => pick("json_array_element", "jsonb_array_element"),
        BinaryOperator::Arrow => pick("json_object_field", "jsonb_object_field"),
        BinaryOperator::LongArrow if by_place => pick("json_array_element_text", "jsonb_array_element_text"),
        BinaryOperator::LongArrow => pick("json_object_field_text", "jsonb_object_field_text"),
        BinaryOperator::HashArrow => pick("json_extract_path_op", "jsonb_extract_path_op"),
        BinaryOperator::HashLongArrow => pick("json_extract_path_text_op", "jsonb_extract_path_text_op"),
        BinaryOperator::AtArrow => Some("jsonb_contains"),
        BinaryOperator::ArrowAt => Some("jsonb_contained"),
        BinaryOperator::Question if binary => Some("jsonb_exists"),
        BinaryOperator::QuestionPipe if binary => Some("jsonb_exists_any"),
        BinaryOperator::QuestionAnd if binary => Some("jsonb_exists_all"),
        BinaryOperator::StringConcat if !is_string(right) || *right == PgType::UNKNOWN => {
            Some("jsonb_concat").filter(|_| binary || is_string(left))
        }
        BinaryOperator::Minus if binary => Some("jsonb_delete"),
        BinaryOperator::HashMinus if binary => Some("jsonb_delete_path"),
        _ => None,
    }
}

enum Common {
    /// The values are compared as they are.
    AsIs,
    Type(PgType),
}

fn is_reg_or_oid(pg_type: &PgType) -> bool {
    matches!(family(pg_type), Family::Oid | Family::Reg)
}

/// The type that a literal has beside a value of this type: reg types are compared as oids.
fn for_literal(other: &PgType) -> PgType {
    match family(other) {
        Family::Reg => PgType::OID,
        Family::Varchar => PgType::TEXT,
        _ => other.clone(),
    }
}

fn common(left: &PgType, right: &PgType) -> Option<Common> {
    if let (Some(one), Some(other)) = (numeric_rank(left), numeric_rank(right)) {
        // Integers of any width are compared as they are, so that look-ups find them.
        if one <= 2 && other <= 2 {
            return Some(Common::AsIs);
        }
        return Some(Common::Type(wider(left, right)));
    }
    let integral = |it: &PgType| is_reg_or_oid(it) || numeric_rank(it).is_some_and(|rank| rank <= 2);
    if integral(left) && integral(right) {
        return Some(Common::AsIs);
    }
    if is_string(left) && is_string(right) {
        let padded = family(left) == Family::Bpchar || family(right) == Family::Bpchar;
        return Some(if padded { Common::Type(PgType::TEXT) } else { Common::AsIs });
    }
    if left == right {
        let is_comparable = !matches!(family(left), Family::Json | Family::Void)
            && !matches!(*left, PgType::POINT | PgType::XML);
        return is_comparable.then_some(Common::AsIs);
    }
    let textual = |it: &PgType| is_string(it) || *it == PgType::CHAR;
    if textual(left) && textual(right) {
        return Some(Common::Type(PgType::TEXT));
    }
    match (family(left), family(right)) {
        (Family::Array | Family::Vector, Family::Array | Family::Vector) => {
            (element_type_of(left) == element_type_of(right)).then_some(Common::AsIs)
        }
        (Family::Date | Family::Timestamp, Family::Date | Family::Timestamp) => {
            Some(Common::Type(PgType::TIMESTAMP))
        }
        _ if is_string(left) || is_string(right) => None,
        _ if is_implicit(left, right) => Some(Common::Type(right.clone())),
        _ if is_implicit(right, left) => Some(Common::Type(left.clone())),
        _ => None,
    }
}

/// The type in which two numbers are computed with.
fn wider(left: &PgType, right: &PgType) -> PgType {
    if left == right {
        return left.clone();
    }
    match numeric_rank(left).max(numeric_rank(right)) {
        Some(0) => PgType::INT2,
        Some(1) => PgType::INT4,
        Some(2) => PgType::INT8,
        Some(3) => PgType::NUMERIC,
        _ => PgType::FLOAT8,
    }
}

fn comparison(operator: &BinaryOperator) -> Option<Comparison> {
    Some(match operator {
        BinaryOperator::Eq => Comparison::Equal,
        BinaryOperator::NotEq => Comparison::NotEqual,
        BinaryOperator::Lt => Comparison::Less,
        BinaryOperator::LtEq => Comparison::LessOrEqual,
        BinaryOperator::Gt => Comparison::Greater,
        BinaryOperator::GtEq => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn arithmetic(operator: &BinaryOperator) -> Option<Arithmetic> {
    Some(match operator {
        BinaryOperator::Plus => Arithmetic::Add,
        BinaryOperator::Minus => Arithmetic::Subtract,
        BinaryOperator::Multiply => Arithmetic::Multiply,
        BinaryOperator::Divide => Arithmetic::Divide,
        BinaryOperator::Modulo => Arithmetic::Modulo,
        _ => return None,
    })
}

fn matching(operator: &BinaryOperator) -> Option<Operator> {
    let regex = |insensitive, negated| Some(Operator::Regex { insensitive, negated });
    let like = |insensitive, negated| Some(Operator::Like { insensitive, negated });
    match operator {
        BinaryOperator::PGRegexMatch => regex(false, false),
        BinaryOperator::PGRegexIMatch => regex(true, false),
        BinaryOperator::PGRegexNotMatch => regex(false, true),
        BinaryOperator::PGRegexNotIMatch => regex(true, true),
        BinaryOperator::PGLikeMatch => like(false, false),
        BinaryOperator::PGILikeMatch => like(true, false),
        BinaryOperator::PGNotLikeMatch => like(false, true),
        BinaryOperator::PGNotILikeMatch => like(true, true),
        _ => None,
    }
}

const SYMBOLS: &[(&str, BinaryOperator)] = &[
    ("=", BinaryOperator::Eq),
    ("<>", BinaryOperator::NotEq),
    ("!=", BinaryOperator::NotEq),
    ("<", BinaryOperator::Lt),
    ("<=", BinaryOperator::LtEq),
    (">", BinaryOperator::Gt),
    (">=", BinaryOperator::GtEq),
    ("+", BinaryOperator::Plus),
    ("-", BinaryOperator::Minus),
    ("*", BinaryOperator::Multiply),
    ("/", BinaryOperator::Divide),
    ("%", BinaryOperator::Modulo),
    ("||", BinaryOperator::StringConcat),
    ("~", BinaryOperator::PGRegexMatch),
    ("~*", BinaryOperator::PGRegexIMatch),
    ("!~", BinaryOperator::PGRegexNotMatch),
    ("!~*", BinaryOperator::PGRegexNotIMatch),
    ("~~", BinaryOperator::PGLikeMatch),
    ("~~*", BinaryOperator::PGILikeMatch),
    ("!~~", BinaryOperator::PGNotLikeMatch),
    ("!~~*", BinaryOperator::PGNotILikeMatch),
    ("@>", BinaryOperator::AtArrow),
    ("<@", BinaryOperator::ArrowAt),
    ("&&", BinaryOperator::PGOverlap),
    ("&", BinaryOperator::BitwiseAnd),
    ("|", BinaryOperator::BitwiseOr),
];

fn by_symbol(symbol: &str) -> Option<BinaryOperator> {
    SYMBOLS.iter().find(|(it, _)| *it == symbol).map(|(_, operator)| operator.clone())
}

fn symbol(operator: &BinaryOperator) -> &'static str {
    SYMBOLS.iter().find(|(_, it)| it == operator).map_or("?", |(symbol, _)| symbol)
}

fn symbol_of(wanted: Comparison) -> &'static str {
    let found = SYMBOLS.iter().find(|(_, operator)| comparison(operator) == Some(wanted));
    found.map_or("?", |(symbol, _)| symbol)
}

fn undefined(symbol: &str, left: &Typed, right: &Typed) -> SqlError {
    let (left, right) = (format_type(&left.pg_type), format_type(&right.pg_type));
    let message = format!("operator does not exist: {left} {symbol} {right}");
    SqlError::new(sqlstate::UNDEFINED_FUNCTION, message).with_hint(
        "No operator matches the given name and argument types. You might need to add explicit type casts.",
    )
}
