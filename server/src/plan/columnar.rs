//! Functions from columns to a column that only plans call: no query can say their names, which begin
//! with `#`.

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// What is made of the columns, which are all as long.
pub type Apply = fn(&[ArrayRef]) -> Result<ArrayRef>;

/// The function of a name; two of one name are the same.
pub fn function(name: &'static str, arguments: Vec<DataType>, result: DataType, apply: Apply) -> ScalarUDF {
    let signature = Signature::exact(arguments, Volatility::Immutable);
    ScalarUDF::new_from_impl(ColumnFunction { name, result, signature, apply })
}

#[derive(Debug)]
struct ColumnFunction {
    name: &'static str,
    result: DataType,
    signature: Signature,
    apply: Apply,
}

impl PartialEq for ColumnFunction {
    fn eq(&self, other: &ColumnFunction) -> bool {
        self.name == other.name
    }
}

impl Eq for ColumnFunction {}

impl std::hash::Hash for ColumnFunction {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for ColumnFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.result.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let row_count = if is_constant { 1 } else { args.number_rows };
        let columns = args.args.iter().map(|arg| arg.to_array(row_count)).collect::<Result<Vec<_>>>()?;
        let made = (self.apply)(&columns)?;
        Ok(match is_constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&made, 0)?),
            false => ColumnarValue::Array(made),
        })
    }
}
