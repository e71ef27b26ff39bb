//! Operators as PostgreSQL resolves them: by the types of both operands, a string constant or parameter
//! without a type taking that of the other.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, ScalarUDF};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use tidemark_catalog::types::{ColumnType, TimeUnit as ColumnUnit};

use crate::error::SqlError;
use crate::pg_catalog::shared::SharedFunction;
use crate::pgtype::PgType;
use crate::pgtype::types::{Family, element_type_of, family, format_type, numeric_rank};
use crate::plan::arithmetic;
use crate::plan::coerce::{Side, cast_to, is_float, is_moment, is_number, is_text, side, typed};
use crate::plan::errors::external;
use crate::plan::keys;
use crate::plan::resolve::resolve;
use crate::sql::functions;
use crate::sqlstate;

/// Plans operators for a session.
#[derive(Debug)]
pub struct PostgresOperators {
    /// The session's time zone.
    pub time_zone: Arc<str>,
}

impl ExprPlanner for PostgresOperators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = expr;
        let operands = Operands {
            left: resolve(left, schema, &self.time_zone)?,
            right: resolve(right, schema, &self.time_zone)?,
            schema,
            time_zone: &self.time_zone,
        };
        if let Some(function) = operands.json_function(&op) {
            return Ok(PlannerResult::Planned(function.call(vec![operands.left, operands.right])));
        }
        match &op {
            BinaryOperator::And | BinaryOperator::Or => operands.logical(op),
            BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq => operands.comparison(op),
            BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo => operands.arithmetic(op),
            BinaryOperator::StringConcat => operands.concatenation(op),
            _ => Ok(operands.left_to_datafusion(op)),
        }
    }
}

type Planned = Result<PlannerResult<RawBinaryExpr>>;

struct Operands<'a> {
    left: Expr,
    right: Expr,
    schema: &'a DFSchema,
    time_zone: &'a Arc<str>,
}

/// The error for an operator that there is not between two types.
pub fn no_operator(operator: &str, left: &Side, right: &Side) -> SqlError {
    let name = |side: &Side| match side {
        Side::Typed(pg_type) => format_type(pg_type),
        _ => "unknown".to_owned(),
    };
    let message = format!("operator does not exist: {} {operator} {}", name(left), name(right));
    SqlError::new(sqlstate::UNDEFINED_FUNCTION, message).with_hint(
        "No operator matches the given name and argument types. You might need to add explicit type casts.",
    )
}

impl Operands<'_> {
    fn sides(&self) -> (Side, Side) {
        (side(&self.left, self.schema), side(&self.right, self.schema))
    }

    /// The function that an operator on JSON calls.
    fn json_function(&self, op: &BinaryOperator) -> Option<ScalarUDF> {
        let (left, right) = self.sides();
        let pg_type = |side: &Side| match side {
            Side::Typed(pg_type) => Some(pg_type.clone()),
            Side::Unknown | Side::Parameter => Some(PgType::UNKNOWN),
            Side::Opaque => None,
        };
        let name = SharedFunction::of_operator(op, &pg_type(&left)?, &pg_type(&right)?)?;
        functions::interpreted::by_name(name, self.time_zone)
    }

    fn left_to_datafusion(self, op: BinaryOperator) -> PlannerResult<RawBinaryExpr> {
        PlannerResult::Original(RawBinaryExpr { op, left: self.left, right: self.right })
    }

    fn refused(&self, op: &BinaryOperator, sides: &(Side, Side)) -> Planned {
        Err(external(no_operator(&op.to_string(), &sides.0, &sides.1)))
    }

    fn logical(mut self, op: BinaryOperator) -> Planned {
        for operand in [&mut self.left, &mut self.right] {
            let expr = std::mem::replace(operand, Expr::Literal(ScalarValue::Null, None));
            *operand = boolean(expr, &op.to_string(), self.schema, self.time_zone)?;
        }
        Ok(self.left_to_datafusion(op))
    }

    fn comparison(mut self, op: BinaryOperator) -> Planned {
        let sides = self.sides();
        let Some((left, right)) = compared(self.left, self.right, &sides, self.schema, self.time_zone)?
        else {
            return Err(external(no_operator(&op.to_string(), &sides.0, &sides.1)));
        };
        self.left = keys::key(left, self.schema);
        self.right = keys::key(right, self.schema);
        Ok(self.left_to_datafusion(op))
    }

    fn arithmetic(mut self, op: BinaryOperator) -> Planned {
        let mut sides = self.sides();
        let (left, right) = match &sides {
            (Side::Opaque, _) | (_, Side::Opaque) | (Side::Parameter, Side::Parameter) => {
                return Ok(self.left_to_datafusion(op));
            }
            (Side::Typed(left), Side::Typed(right)) => (left.clone(), right.clone()),
            (Side::Typed(left), _) => (left.clone(), self.other_operand(&op, left, &sides, true)?),
            (_, Side::Typed(right)) => (self.other_operand(&op, right, &sides, false)?, right.clone()),
            _ => return Err(external(not_unique(&op, &sides))),
        };
        if !matches!(sides.0, Side::Typed(_)) {
            self.left = typed(self.left, &left, self.time_zone)?;
        }
        if !matches!(sides.1, Side::Typed(_)) {
            self.right = typed(self.right, &right, self.time_zone)?;
        }
        if is_number(&left) && is_number(&right) {
            if is_float(&left) || is_float(&right) {
                self.left = float_constant(self.left);
                self.right = float_constant(self.right);
            }
            let function = arithmetic::function(&op);
            let function =
                function.ok_or_else(|| external(SqlError::internal("not an arithmetic operator")))?;
            return Ok(PlannerResult::Planned(function.call(vec![self.left, self.right])));
        }
        sides = (Side::Typed(left.clone()), Side::Typed(right.clone()));
        let has_time = |it: &PgType| is_moment(it) || family(it) == Family::Interval;
        if has_time(&left) || has_time(&right) {
            return self.temporal(&op, &sides);
        }
        self.refused(&op, &sides)
    }

    /// The type of an operand without one beside another.
    fn other_operand(
        &self,
        op: &BinaryOperator,
        known: &PgType,
        sides: &(Side, Side),
        is_known_first: bool,
    ) -> Result<PgType> {
        Ok(match (family(known), op) {
            (Family::Date, BinaryOperator::Plus) => return Err(external(not_unique(op, sides))),
            (Family::Timestamp | Family::Timestamptz, BinaryOperator::Plus) => PgType::INTERVAL,
            (Family::Interval, BinaryOperator::Multiply) => PgType::FLOAT8,
            (Family::Interval, BinaryOperator::Divide) if is_known_first => PgType::FLOAT8,
            (Family::Text | Family::Varchar | Family::Bool | Family::Uuid | Family::Bytea, _) => {
                return Err(external(no_operator(&op.to_string(), &sides.0, &sides.1)));
            }
            _ => known.clone(),
        })
    }

    fn temporal(self, op: &BinaryOperator, sides: &(Side, Side)) -> Planned {
        let types = (self.left.get_type(self.schema), self.right.get_type(self.schema));
        let (Ok(left), Ok(right)) = types else { return Ok(self.left_to_datafusion(op.clone())) };
        // Nanoseconds are DataFusion's.
        let has_nanoseconds = |it: &DataType| matches!(it, DataType::Timestamp(TimeUnit::Nanosecond, _));
        if has_nanoseconds(&left) || has_nanoseconds(&right) {
            return Ok(self.left_to_datafusion(op.clone()));
        }
        let function = functions::temporal_operator(&op.to_string(), self.time_zone);
        let found: Option<ScalarUDF> =
            function.filter(|function| function.coerce_types(&[left, right]).is_ok());
        match found {
            Some(function) => Ok(PlannerResult::Planned(function.call(vec![self.left, self.right]))),
            None => self.refused(op, sides),
        }
    }

    fn concatenation(mut self, op: BinaryOperator) -> Planned {
        let sides = self.sides();
        let is_array = |it: &Side| matches!(it, Side::Typed(it) if element_type_of(it).is_some());
        let is_opaque = |it: &Side| matches!(it, Side::Opaque);
        let is_bytes = |it: &Side| matches!(it, Side::Typed(it) if family(it) == Family::Bytea);
        // A string beside an array is one.
        for (operand, side, other) in
            [(&mut self.left, &sides.0, &sides.1), (&mut self.right, &sides.1, &sides.0)]
        {
            if let (Side::Unknown | Side::Parameter, Side::Typed(array)) = (side, other)
                && element_type_of(array).is_some()
            {
                let open = std::mem::replace(operand, Expr::Literal(ScalarValue::Null, None));
                *operand = typed(open, array, self.time_zone)?;
            }
        }
        if [&sides.0, &sides.1].into_iter().any(|it| is_array(it) || is_opaque(it) || is_bytes(it)) {
            return Ok(self.left_to_datafusion(op));
        }
        let is_string = |it: &Side| match it {
            Side::Typed(it) => is_text(it),
            _ => true,
        };
        if !is_string(&sides.0) && !is_string(&sides.1) {
            return self.refused(&op, &sides);
        }
        let text = |expr: Expr, side: &Side| match side {
            Side::Typed(it) if is_text(it) => Ok(expr),
            Side::Typed(_) => cast_to(expr, &PgType::TEXT, self.time_zone),
            _ => typed(expr, &PgType::TEXT, self.time_zone),
        };
        self.left = text(self.left, &sides.0)?;
        self.right = text(self.right, &sides.1)?;
        Ok(self.left_to_datafusion(op))
    }
}

fn not_unique(op: &BinaryOperator, sides: &(Side, Side)) -> SqlError {
    let name = |side: &Side| match side {
        Side::Typed(pg_type) => format_type(pg_type),
        _ => "unknown".to_owned(),
    };
    let message = format!("operator is not unique: {} {op} {}", name(&sides.0), name(&sides.1));
    SqlError::new(sqlstate::AMBIGUOUS_FUNCTION, message)
        .with_hint("Could not choose a best candidate operator. You might need to add explicit type casts.")
}

/// A condition; a string constant is read as one. `place` is named in the error.
///
/// # Errors
/// It is none.
pub fn boolean(expr: Expr, place: &str, schema: &DFSchema, time_zone: &Arc<str>) -> Result<Expr> {
    match side(&expr, schema) {
        Side::Typed(pg_type) if family(&pg_type) != Family::Bool => {
            let message =
                format!("argument of {place} must be type boolean, not type {}", format_type(&pg_type));
            Err(external(SqlError::new(sqlstate::DATATYPE_MISMATCH, message)))
        }
        Side::Unknown | Side::Parameter => typed(expr, &PgType::BOOL, time_zone),
        _ => Ok(expr),
    }
}

/// Both operands of a comparison so that DataFusion compares them as PostgreSQL does; `None` when
/// PostgreSQL does not.
///
/// # Errors
/// A string is no value of the other's type.
pub fn compared(
    left: Expr,
    right: Expr,
    sides: &(Side, Side),
    schema: &DFSchema,
    time_zone: &Arc<str>,
) -> Result<Option<(Expr, Expr)>> {
    let (left_type, right_type) = match sides {
        (Side::Opaque, _) | (_, Side::Opaque) | (Side::Parameter, Side::Parameter) => {
            return Ok(Some((left, right)));
        }
        (Side::Typed(left), Side::Typed(right)) => (left, right),
        (Side::Typed(known), _) => {
            let right = typed_beside(right, &left, known, schema, time_zone)?;
            return Ok(Some((left, right)));
        }
        (_, Side::Typed(known)) => {
            let left = typed_beside(left, &right, known, schema, time_zone)?;
            return Ok(Some((left, right)));
        }
        _ => {
            let text = &PgType::TEXT;
            return Ok(Some((typed(left, text, time_zone)?, typed(right, text, time_zone)?)));
        }
    };
    if is_number(left_type) && is_number(right_type) {
        return Ok(Some(compared_numbers(left, right, left_type, right_type, time_zone)?));
    }
    if is_moment(left_type) && is_moment(right_type) {
        return compared_moments(left, right, left_type, right_type, time_zone).map(Some);
    }
    // Oids and letters are numbers and texts beside others.
    let whole =
        |it: &PgType| matches!(family(it), Family::Oid) || numeric_rank(it).is_some_and(|rank| rank <= 2);
    let textual = |it: &PgType| is_text(it) || family(it) == Family::Char;
    if (whole(left_type) && whole(right_type)) || (textual(left_type) && textual(right_type)) {
        return Ok(Some((left, right)));
    }
    let comparable = !matches!(family(left_type), Family::Json | Family::Jsonb)
        && ((is_text(left_type) && is_text(right_type))
            || (family(left_type) == family(right_type)
                && element_type_of(left_type) == element_type_of(right_type)));
    Ok(comparable.then_some((left, right)))
}

/// A string beside a timestamp has its resolution too.
fn typed_beside(
    expr: Expr,
    other: &Expr,
    known: &PgType,
    schema: &DFSchema,
    time_zone: &Arc<str>,
) -> Result<Expr> {
    let zone = match other.get_type(schema) {
        Ok(DataType::Timestamp(TimeUnit::Nanosecond, zone)) => zone,
        _ => return typed(expr, known, time_zone),
    };
    let column_type = match zone {
        Some(_) => ColumnType::Timestamptz(ColumnUnit::Nanosecond),
        None => ColumnType::Timestamp(ColumnUnit::Nanosecond),
    };
    match (&expr, functions::cast::by_name(&functions::cast::function_name(&column_type), time_zone)) {
        (Expr::Literal(ScalarValue::Utf8(Some(_)), _), Some(function)) => Ok(function.call(vec![expr])),
        _ => typed(expr, known, time_zone),
    }
}

fn compared_numbers(
    left: Expr,
    right: Expr,
    left_type: &PgType,
    right_type: &PgType,
    time_zone: &Arc<str>,
) -> Result<(Expr, Expr)> {
    if !is_float(left_type) && !is_float(right_type) {
        return Ok((left, right));
    }
    let as_float = |expr: Expr, given: &PgType| match family(given) {
        Family::Numeric => match float_constant(expr) {
            Expr::Literal(value, metadata) => Ok(Expr::Literal(value, metadata)),
            expr => cast_to(expr, &PgType::FLOAT8, time_zone),
        },
        _ => Ok(expr),
    };
    Ok((as_float(left, left_type)?, as_float(right, right_type)?))
}

fn compared_moments(
    left: Expr,
    right: Expr,
    left_type: &PgType,
    right_type: &PgType,
    time_zone: &Arc<str>,
) -> Result<(Expr, Expr)> {
    let Some(target) = crate::plan::coerce::common(left_type, right_type) else { return Ok((left, right)) };
    let as_target = |expr: Expr, given: &PgType| match given == &target {
        true => Ok(expr),
        false => cast_to(expr, &target, time_zone),
    };
    Ok((as_target(left, left_type)?, as_target(right, right_type)?))
}

/// A decimal constant as the double that its digits mean.
fn float_constant(expr: Expr) -> Expr {
    let Expr::Literal(ScalarValue::Decimal128(Some(units), _, scale), metadata) = &expr else { return expr };
    match format!("{units}e-{scale}").parse::<f64>() {
        Ok(value) => Expr::Literal(ScalarValue::Float64(Some(value)), metadata.clone()),
        Err(_) => expr,
    }
}
