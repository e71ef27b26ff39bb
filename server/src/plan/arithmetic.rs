//! Arithmetic that fails where PostgreSQL's does: integers that overflow (22003) and divisions by
//! zero (22012), of floats too. DataFusion's own wraps around and gives infinity.
//!
//! Operators on such operands are planned as functions, which know no order of their own: a range
//! over an arithmetic expression of a column is not pushed into a scan.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Datum};
use datafusion::arrow::compute::kernels::numeric;
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::arrow::error::ArrowError;
use datafusion::common::{DFSchema, Result, exec_datafusion_err};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::error::SqlError;
use crate::sqlstate;

/// Plans operators on numbers as checked functions.
#[derive(Debug)]
pub struct CheckedArithmetic;

impl ExprPlanner for CheckedArithmetic {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let Some(operation) = Operation::of(&expr.op) else { return Ok(PlannerResult::Original(expr)) };
        let types = (expr.left.get_type(schema), expr.right.get_type(schema));
        // A type that is not known yet (a parameter's) is left to DataFusion.
        let (Ok(left), Ok(right)) = types else { return Ok(PlannerResult::Original(expr)) };
        if common_type(&left, &right, operation).is_none() {
            return Ok(PlannerResult::Original(expr));
        }
        let function = ScalarUDF::new_from_impl(Checked::new(operation));
        Ok(PlannerResult::Planned(function.call(vec![expr.left, expr.right])))
    }
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

/// The type in which operands are brought together, for those that are checked here.
fn common_type(left: &DataType, right: &DataType, operation: Operation) -> Option<DataType> {
    if let (Some(left_rank), Some(right_rank)) = (integer_rank(left), integer_rank(right)) {
        return Some(if left_rank >= right_rank { left.clone() } else { right.clone() });
    }
    let divides = matches!(operation, Operation::Divide | Operation::Modulo);
    let number = |it: &DataType| is_float(it) || integer_rank(it).is_some() || it.is_decimal();
    let floats = is_float(left) || is_float(right);
    if !divides || !floats || !number(left) || !number(right) {
        return None;
    }
    let both_single = *left == DataType::Float32 && *right == DataType::Float32;
    Some(if both_single { DataType::Float32 } else { DataType::Float64 })
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
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        self.operation.symbol()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [left, right] = types else { return Err(exec_datafusion_err!("an operator has two operands")) };
        let common = common_type(left, right, self.operation);
        let common = common.ok_or_else(|| exec_datafusion_err!("operands {left} and {right}"))?;
        Ok(vec![common.clone(), common])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(self.coerce_types(types)?.swap_remove(0))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else {
            return Err(exec_datafusion_err!("an operator has two operands"));
        };
        let divides = matches!(self.operation, Operation::Divide | Operation::Modulo);
        if divides && is_float(&args.return_type().clone()) {
            check_divisor(&right.to_array(args.number_rows)?)?;
        }
        let scalars = matches!((left, right), (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)));
        let left: Box<dyn Datum> = datum(left)?;
        let right: Box<dyn Datum> = datum(right)?;
        let result = self.operation.apply(left.as_ref(), right.as_ref());
        let result = result.map_err(|error| failed(&error, args.return_type()))?;
        if scalars {
            let value = datafusion::common::ScalarValue::try_from_array(&result, 0)?;
            return Ok(ColumnarValue::Scalar(value));
        }
        Ok(ColumnarValue::Array(result))
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

fn check_divisor(divisor: &ArrayRef) -> Result<()> {
    let has_zero = match divisor.data_type() {
        DataType::Float32 => divisor.as_primitive::<Float32Type>().iter().any(|it| it == Some(0.0)),
        DataType::Float64 => divisor.as_primitive::<Float64Type>().iter().any(|it| it == Some(0.0)),
        _ => false,
    };
    if has_zero { Err(division_by_zero()) } else { Ok(()) }
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
                _ => "number",
            };
            SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, format!("{name} out of range"))
        }
        other => SqlError::internal(other),
    };
    datafusion::common::DataFusionError::External(Box::new(error))
}
