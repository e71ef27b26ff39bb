//! Arithmetic that fails where PostgreSQL's does: numbers that overflow (22003) and divisions by zero
//! (22012), of floats too. DataFusion's own wraps around and gives infinity.
//!
//! Numerics keep all their digits: a sum has those of the operand with more, a product those of both.
//! A quotient is rounded where PostgreSQL rounds it ([`division`]).
//!
//! Operators on numbers are planned as functions, which know no order of their own: a range over an
//! arithmetic expression of a column is not pushed into a scan.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Datum};
use datafusion::arrow::compute::kernels::numeric;
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::arrow::error::ArrowError;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err};
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::error::SqlError;
use crate::pgtype::decimal::QUOTIENT;
use crate::sqlstate;

mod division;

/// The type of a quotient of numerics.
pub const DIVIDED: DataType = DataType::Decimal256(QUOTIENT.precision, QUOTIENT.scale.cast_signed());

/// The type of numerics without precision, and of what does not fit another.
const UNCONSTRAINED: DataType = DataType::Decimal256(76, QUOTIENT.scale.cast_signed());

/// The function of an operator on numbers.
pub fn function(operator: &BinaryOperator) -> Option<ScalarUDF> {
    Operation::of(operator).map(|operation| ScalarUDF::new_from_impl(Checked::new(operation)))
}

/// An operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Operation {
    fn of(operator: &BinaryOperator) -> Option<Operation> {
        Some(match operator {
            BinaryOperator::Plus => Operation::Add,
            BinaryOperator::Minus => Operation::Subtract,
            BinaryOperator::Multiply => Operation::Multiply,
            BinaryOperator::Divide => Operation::Divide,
            BinaryOperator::Modulo => Operation::Modulo,
            _ => return None,
        })
    }

    fn symbol(self) -> &'static str {
        match self {
            Operation::Add => "+",
            Operation::Subtract => "-",
            Operation::Multiply => "*",
            Operation::Divide => "/",
            Operation::Modulo => "%",
        }
    }

    fn apply(self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
        match self {
            Operation::Add => numeric::add(left, right),
            Operation::Subtract => numeric::sub(left, right),
            Operation::Multiply => numeric::mul(left, right),
            Operation::Divide => numeric::div(left, right),
            Operation::Modulo => numeric::rem(left, right),
        }
    }
}

fn integer_rank(data_type: &DataType) -> Option<u8> {
    Some(match data_type {
        DataType::Int16 => 1,
        DataType::Int32 => 2,
        DataType::Int64 => 3,
        _ => return None,
    })
}

fn is_float(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64)
}

/// The digits before and after the point of a number that is no float.
fn digits(data_type: &DataType) -> Option<(u8, i8)> {
    Some(match data_type {
        DataType::Int16 => (5, 0),
        DataType::Int32 => (10, 0),
        DataType::Int64 => (19, 0),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            (*precision, *scale)
        }
        _ => return None,
    })
}

/// The types that operands are brought to, and that of the result.
struct Types {
    operands: [DataType; 2],
    result: DataType,
}

impl Types {
    fn of(left: &DataType, right: &DataType, operation: Operation) -> Option<Types> {
        if let (Some(left_rank), Some(right_rank)) = (integer_rank(left), integer_rank(right)) {
            let common = if left_rank >= right_rank { left } else { right };
            return Some(Types { operands: [common.clone(), common.clone()], result: common.clone() });
        }
        let number = |it: &DataType| is_float(it) || digits(it).is_some();
        if is_float(left) || is_float(right) {
            let both_single = *left == DataType::Float32 && *right == DataType::Float32;
            let common = if both_single { DataType::Float32 } else { DataType::Float64 };
            let operands = [common.clone(), common.clone()];
            return (number(left) && number(right)).then_some(Types { operands, result: common });
        }
        Types::of_decimals(digits(left)?, digits(right)?, operation)
    }

    fn of_decimals(left: (u8, i8), right: (u8, i8), operation: Operation) -> Option<Types> {
        let ((left_precision, left_scale), (right_precision, right_scale)) = (left, right);
        let wide = [
            DataType::Decimal256(left_precision, left_scale),
            DataType::Decimal256(right_precision, right_scale),
        ];
        if operation == Operation::Divide {
            return Some(Types { operands: wide, result: DIVIDED });
        }
        let scale = left_scale.max(right_scale);
        let before = |precision: u8, scale: i8| i16::from(precision) - i16::from(scale);
        let (left_before, right_before) =
            (before(left_precision, left_scale), before(right_precision, right_scale));
        let (precision, scale) = match operation {
            Operation::Multiply => {
                (i16::from(left_precision) + i16::from(right_precision) + 1, left_scale + right_scale)
            }
            Operation::Modulo => (left_before.min(right_before) + i16::from(scale), scale),
            _ => (left_before.max(right_before) + i16::from(scale) + 1, scale),
        };
        let precision = u8::try_from(precision.max(1)).unwrap_or(u8::MAX);
        // A number without precision has no fixed digits either, whatever it is combined with.
        let is_open = left_precision >= QUOTIENT.precision || right_precision >= QUOTIENT.precision;
        if is_open || precision > 76 {
            return Some(Types { operands: wide, result: UNCONSTRAINED });
        }
        if precision > 38 || left_precision > 38 || right_precision > 38 {
            return Some(Types { operands: wide, result: DataType::Decimal256(precision, scale) });
        }
        let narrow = [
            DataType::Decimal128(left_precision, left_scale),
            DataType::Decimal128(right_precision, right_scale),
        ];
        Some(Types { operands: narrow, result: DataType::Decimal128(precision, scale) })
    }
}

/// A checked operator as a function of two arguments.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    operation: Operation,
    signature: Signature,
}

impl Checked {
    fn new(operation: Operation) -> Checked {
        Checked { operation, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn types(&self, types: &[DataType]) -> Result<Types> {
        let [left, right] = types else { return Err(exec_datafusion_err!("an operator has two operands")) };
        let found = Types::of(left, right, self.operation);
        found.ok_or_else(|| exec_datafusion_err!("operands {left} and {right}"))
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        self.operation.symbol()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        Ok(self.types(types)?.operands.to_vec())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(self.types(types)?.result)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else {
            return Err(exec_datafusion_err!("an operator has two operands"));
        };
        let result_type = args.return_type().clone();
        let scalars = matches!((left, right), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        let result = if result_type == DIVIDED {
            let row_count = if scalars { 1 } else { args.number_rows };
            division::divide(&left.to_array(row_count)?, &right.to_array(row_count)?)?
        } else {
            if is_float(&result_type) && matches!(self.operation, Operation::Divide | Operation::Modulo) {
                check_divisor(left, right, args.number_rows)?;
            }
            let (left_datum, right_datum) = (datum(left)?, datum(right)?);
            let result = self.operation.apply(left_datum.as_ref(), right_datum.as_ref());
            let result = result.map_err(|error| failed(&error, &result_type))?;
            if is_float(&result_type) {
                check_range(&result, left, right)?;
            }
            in_type(result, &result_type)?
        };
        if scalars {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }

    fn evaluate_bounds(&self, inputs: &[&Interval]) -> Result<Interval> {
        let types: Vec<DataType> = inputs.iter().map(|input| input.data_type()).collect();
        Interval::make_unbounded(&self.types(&types)?.result)
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let names: Vec<String> = args.iter().map(|arg| arg.schema_name().to_string()).collect();
        Ok(names.join(&format!(" {} ", self.operation.symbol())))
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        let names: Vec<String> = args.iter().map(ToString::to_string).collect();
        Ok(names.join(&format!(" {} ", self.operation.symbol())))
    }
}

fn datum(value: &ColumnarValue) -> Result<Box<dyn Datum>> {
    Ok(match value {
        ColumnarValue::Array(array) => Box::new(Arc::clone(array)),
        ColumnarValue::Scalar(scalar) => Box::new(scalar.to_scalar()?),
    })
}

/// Decimals of another precision than the kernels give them.
fn in_type(result: ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    if result.data_type() == data_type {
        return Ok(result);
    }
    let checked = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(&result, data_type, &checked).map_err(|_| overflows())
}

fn overflows() -> datafusion::common::DataFusionError {
    let error = SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format");
    datafusion::common::DataFusionError::External(Box::new(error))
}

/// A zero that a value is divided by.
fn check_divisor(left: &ColumnarValue, right: &ColumnarValue, row_count: usize) -> Result<()> {
    let is_zero = |scalar: &ScalarValue| {
        matches!(scalar, ScalarValue::Float64(Some(it)) if *it == 0.0)
            || matches!(scalar, ScalarValue::Float32(Some(it)) if *it == 0.0)
    };
    let has_zero = match right {
        ColumnarValue::Scalar(scalar) if is_zero(scalar) => {
            let left = left.to_array(row_count)?;
            left.null_count() < left.len()
        }
        ColumnarValue::Scalar(_) => false,
        ColumnarValue::Array(divisors) => {
            let left = left.to_array(row_count)?;
            (0..divisors.len()).any(|row| left.is_valid(row) && float_at(divisors, row) == Some(0.0))
        }
    };
    if has_zero { Err(division_by_zero()) } else { Ok(()) }
}

fn float_at(array: &ArrayRef, row: usize) -> Option<f64> {
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::Float32 => Some(f64::from(array.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => Some(array.as_primitive::<Float64Type>().value(row)),
        _ => None,
    }
}

/// An infinity that was made of finite numbers.
fn check_range(result: &ArrayRef, left: &ColumnarValue, right: &ColumnarValue) -> Result<()> {
    let has_infinity = match result.data_type() {
        DataType::Float32 => result.as_primitive::<Float32Type>().values().iter().any(|it| it.is_infinite()),
        _ => result.as_primitive::<Float64Type>().values().iter().any(|it| it.is_infinite()),
    };
    if !has_infinity {
        return Ok(());
    }
    let (left, right) = (left.to_array(result.len())?, right.to_array(result.len())?);
    let is_finite = |array: &ArrayRef, row| float_at(array, row).is_some_and(f64::is_finite);
    let overflowed = (0..result.len()).any(|row| {
        float_at(result, row).is_some_and(f64::is_infinite) && is_finite(&left, row) && is_finite(&right, row)
    });
    if !overflowed {
        return Ok(());
    }
    let error = SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow");
    Err(datafusion::common::DataFusionError::External(Box::new(error)))
}

fn division_by_zero() -> datafusion::common::DataFusionError {
    let error = SqlError::new(sqlstate::DIVISION_BY_ZERO, "division by zero");
    datafusion::common::DataFusionError::External(Box::new(error))
}

fn failed(error: &ArrowError, data_type: &DataType) -> datafusion::common::DataFusionError {
    let error = match error {
        ArrowError::DivideByZero => return division_by_zero(),
        ArrowError::ArithmeticOverflow(_) => {
            let name = match data_type {
                DataType::Int16 => "smallint",
                DataType::Int32 => "integer",
                DataType::Int64 => "bigint",
                _ => return overflows(),
            };
            SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, format!("{name} out of range"))
        }
        other => SqlError::internal(other),
    };
    datafusion::common::DataFusionError::External(Box::new(error))
}
