//! Functions of the catalog's interpreter in DataFusion's queries: one value after the other.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, StringViewArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::shared::{Caller, SharedFunction};
use crate::pgtype::PgType;
use crate::pgtype::builder::ColumnBuilder;
use crate::pgtype::cast::CastError;
use crate::pgtype::datum::Datum;
use crate::pgtype::scalar::datum_from_array;
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::types::{Family, TYPE_METADATA_KEY, arrow_pg_type, element_type_of, family};
use crate::plan::coerce::column_type_of;
use crate::plan::errors::external;
use crate::plan::options::StatementOptions;
use crate::plan::types::expression_field;

/// Functions that have another value each time.
const VOLATILE: &[&str] = &["clock_timestamp", "gen_random_uuid"];

/// The interpreter's function of a name, for a session in a time zone.
pub fn by_name(name: &str, time_zone: &Arc<str>) -> Option<ScalarUDF> {
    let volatility = if VOLATILE.contains(&name) { Volatility::Volatile } else { Volatility::Stable };
    SharedFunction::is_named(name).then(|| {
        ScalarUDF::new_from_impl(Interpreted {
            name: name.to_owned(),
            time_zone: Arc::clone(time_zone),
            signature: Signature::one_of(
                vec![TypeSignature::VariadicAny, TypeSignature::Nullary],
                volatility,
            ),
        })
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Interpreted {
    name: String,
    time_zone: Arc<str>,
    signature: Signature,
}

/// The type of an argument; a string constant may be of any.
fn argument_type(field: &Field) -> PgType {
    match field.data_type() {
        DataType::Null | DataType::Utf8 if field.metadata().is_empty() => PgType::UNKNOWN,
        _ => arrow_pg_type(field),
    }
}

impl Interpreted {
    fn find(&self, fields: &[FieldRef]) -> Result<SharedFunction> {
        let types: Vec<PgType> = fields.iter().map(|field| argument_type(field)).collect();
        let found = SharedFunction::find(&self.name, &types).map_err(external)?;
        found.ok_or_else(|| {
            let message = format!("function {} in this place", self.name);
            external(SqlError::unsupported(message))
        })
    }
}

impl ScalarUDFImpl for Interpreted {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let fields: Vec<FieldRef> =
            types.iter().map(|it| Arc::new(Field::new("", it.clone(), true))).collect();
        let result = self.find(&fields)?.result;
        Ok(result_field(&result, &self.time_zone).map_err(external)?.data_type().clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let result = self.find(args.arg_fields)?.result;
        let field = result_field(&result, &self.time_zone).map_err(external)?;
        Ok(Arc::new(field.as_ref().clone().with_name(&self.name)))
    }

    fn evaluate_bounds(&self, inputs: &[&Interval]) -> Result<Interval> {
        let types: Vec<DataType> = inputs.iter().map(|input| input.data_type()).collect();
        Interval::make_unbounded(&self.return_type(&types)?)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let function = self.find(&args.arg_fields)?;
        let statement = args.config_options.extensions.get::<StatementOptions>();
        let context = statement.and_then(|statement| statement.catalog.as_deref());
        let context = context
            .ok_or_else(|| external(SqlError::unsupported(format!("{} outside a statement", self.name))))?;
        let caller = Caller::new(&function, context);
        let format = StatementOptions::format(&args.config_options);
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)))
            && self.signature.volatility != Volatility::Volatile;
        let row_count = if is_constant { 1 } else { args.number_rows };
        let values = rows(&caller, &args, row_count).map_err(external)?;
        let array = column(&values, &function.result, args.return_type(), &format).map_err(external)?;
        Ok(match is_constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?),
            false => ColumnarValue::Array(array),
        })
    }
}

fn rows(caller: &Caller<'_>, args: &ScalarFunctionArgs, row_count: usize) -> SqlResult<Vec<Datum>> {
    let mut constants = Vec::with_capacity(args.args.len());
    for (arg, field) in args.args.iter().zip(&args.arg_fields) {
        constants.push(match arg {
            ColumnarValue::Array(_) => None,
            ColumnarValue::Scalar(value) => {
                let array = value.to_array().map_err(SqlError::internal)?;
                Some(read(&array, 0, &arrow_pg_type(field))?)
            }
        });
    }
    let types: Vec<PgType> = args.arg_fields.iter().map(|field| arrow_pg_type(field)).collect();
    (0..row_count)
        .map(|row| {
            let values =
                args.args.iter().zip(&constants).zip(&types).map(|((arg, constant), pg_type)| {
                    match (arg, constant) {
                        (ColumnarValue::Array(array), _) => read(array, row, pg_type),
                        (_, Some(constant)) => Ok(constant.clone()),
                        (ColumnarValue::Scalar(_), None) => Err(SqlError::internal("constants were read")),
                    }
                });
            caller.call(values.collect::<SqlResult<Vec<_>>>()?)
        })
        .collect()
}

fn read(array: &ArrayRef, row: usize, pg_type: &PgType) -> SqlResult<Datum> {
    if array.is_null(row) || *array.data_type() == DataType::Null {
        return Ok(Datum::Null);
    }
    datum_from_array(array, row, pg_type)
}

/// The Arrow field of a type that the interpreter has: oids are numbers of 64 bits, names and what is
/// looked up by a name are texts.
///
/// # Errors
/// Columns cannot have the type.
pub fn result_field(pg_type: &PgType, time_zone: &Arc<str>) -> SqlResult<FieldRef> {
    let named = |data_type: DataType| {
        let metadata = [(TYPE_METADATA_KEY.to_owned(), pg_type.name().to_owned())].into();
        Arc::new(Field::new("", data_type, true).with_metadata(metadata))
    };
    if let Some(element) = element_type_of(pg_type) {
        let element =
            result_field(&element, time_zone)?.as_ref().clone().with_name(Field::LIST_FIELD_DEFAULT_NAME);
        return Ok(Arc::new(Field::new("", DataType::List(Arc::new(element)), true)));
    }
    Ok(match family(pg_type) {
        Family::Oid => named(DataType::Int64),
        Family::Name | Family::Varchar | Family::Reg | Family::Char | Family::Bpchar | Family::Void => {
            named(DataType::Utf8View)
        }
        _ => match column_type_of(pg_type) {
            Some(column_type) => expression_field(&column_type, time_zone),
            None => {
                let name = crate::pgtype::types::format_type(pg_type);
                return Err(SqlError::unsupported(format!("a value of type {name} beside a table")));
            }
        },
    })
}

/// Whether values of a type can be a column.
pub fn has_column(pg_type: &PgType) -> bool {
    result_field(pg_type, &Arc::from("UTC")).is_ok()
}

/// Values of the interpreter as a column.
///
/// # Errors
/// They are not of the type.
pub fn column(
    values: &[Datum],
    pg_type: &PgType,
    data_type: &DataType,
    format: &FormatSettings,
) -> SqlResult<ArrayRef> {
    let wrong = || SqlError::internal("a function's result is not of its type");
    if let DataType::List(element) = data_type
        && let Some(element_type) = element_type_of(pg_type)
        && column_type_of(pg_type).is_none()
    {
        return list(values, &element_type, element, format);
    }
    let texts = |values: &[Datum]| {
        let text = |value: &Datum| match value {
            Datum::Null | Datum::Void => Ok(None),
            Datum::Text(text) => Ok(Some(text.clone())),
            Datum::Reg(_, name) => Ok(Some(name.to_string())),
            Datum::Oid(oid) => Ok(Some(oid.to_string())),
            Datum::Char(0) => Ok(Some(String::new())),
            Datum::Char(letter) => Ok(Some(char::from(*letter).to_string())),
            _ => Err(wrong()),
        };
        let texts = values.iter().map(text).collect::<SqlResult<Vec<_>>>()?;
        Ok::<ArrayRef, SqlError>(Arc::new(StringViewArray::from_iter(texts)))
    };
    match family(pg_type) {
        Family::Oid => {
            let number = |value: &Datum| match value {
                Datum::Null => Ok(None),
                Datum::Oid(oid) | Datum::Reg(oid, _) => Ok(Some(i64::from(*oid))),
                _ => Err(wrong()),
            };
            let numbers = values.iter().map(number).collect::<SqlResult<Vec<_>>>()?;
            Ok(Arc::new(Int64Array::from(numbers)))
        }
        Family::Name | Family::Varchar | Family::Reg | Family::Char | Family::Bpchar | Family::Void => {
            texts(values)
        }
        _ => {
            let column_type = column_type_of(pg_type).ok_or_else(wrong)?;
            let mut builder = ColumnBuilder::new(&column_type, values.len());
            for value in values {
                builder.append_datum(value, format).map_err(|error| match error {
                    CastError::Value(error) => error,
                    CastError::NoCast => wrong(),
                })?;
            }
            // Instants have the session's time zone.
            arrow::compute::cast(&builder.finish(), data_type).map_err(SqlError::internal)
        }
    }
}

fn list(
    values: &[Datum],
    element_type: &PgType,
    element: &FieldRef,
    format: &FormatSettings,
) -> SqlResult<ArrayRef> {
    let wrong = || SqlError::internal("a function's result is no array");
    let (mut elements, mut lengths, mut valid) = (Vec::new(), Vec::new(), Vec::new());
    for value in values {
        match value {
            Datum::Null => {
                lengths.push(0);
                valid.push(false);
            }
            Datum::Array(array) => {
                lengths.push(array.values.len());
                valid.push(true);
                elements.extend(array.values.iter().cloned());
            }
            _ => return Err(wrong()),
        }
    }
    let elements = column(&elements, element_type, element.data_type(), format)?;
    let offsets = arrow::buffer::OffsetBuffer::from_lengths(lengths);
    let nulls = arrow::buffer::NullBuffer::from(valid);
    let list = arrow::array::ListArray::try_new(Arc::clone(element), offsets, elements, Some(nulls));
    Ok(Arc::new(list.map_err(SqlError::internal)?))
}
