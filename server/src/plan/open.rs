//! Functions whose arguments may be of any type, if it is one: COALESCE, GREATEST, LEAST, NULLIF.
//!
//! While a query is planned they take everything, as a string beside a timestamp is one only when it is
//! resolved. Resolving it puts DataFusion's function in their place ([`resolved`]).

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The function that stands for DataFusion's of this name.
pub fn by_name(name: &str, inner: &Arc<ScalarUDF>) -> Option<Arc<ScalarUDF>> {
    matches!(name, "coalesce" | "greatest" | "least" | "nullif").then(|| {
        let signature = Signature::variadic_any(Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Open { inner: Arc::clone(inner), signature }))
    })
}

/// DataFusion's function in the place of one that stands for it.
pub fn resolved(function: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    match function.inner().downcast_ref::<Open>() {
        Some(open) => Arc::clone(&open.inner),
        None => function,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Open {
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

impl ScalarUDFImpl for Open {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let is_open = |it: &DataType| matches!(it, DataType::Null | DataType::Utf8);
        let known: Vec<DataType> = types.iter().filter(|it| !is_open(it)).cloned().collect();
        let coerced = self.inner.coerce_types(if known.is_empty() { types } else { &known });
        match coerced.ok().and_then(|mut types| types.pop()).or_else(|| known.first().cloned()) {
            Some(data_type) => Ok(data_type),
            None => Ok(types.first().cloned().unwrap_or(DataType::Null)),
        }
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("{} was not resolved", self.name())
    }
}
