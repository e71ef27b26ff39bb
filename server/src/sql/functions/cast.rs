//! Casts, by PostgreSQL's rules: between which types there is one, how numbers are rounded, what texts
//! are read and written, and what is an error.
//!
//! In a plan a cast is a function whose name is `::` and the type ([`Cast`]). Whole columns are cast
//! by Arrow's kernels where those agree with PostgreSQL; every other cast goes value by value.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, new_null_array};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, FieldRef};
use bytes::BytesMut;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use tidemark_catalog::types::ColumnType;
use tidemark_engine::types::read_type;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::PgType;
use crate::pgtype::builder::ColumnBuilder;
use crate::pgtype::cast::{CastError, assign, integer_out_of_range};
use crate::pgtype::datum::Datum;
use crate::pgtype::encode::{ColumnEncoder, Format};
use crate::pgtype::jsonb;
use crate::pgtype::scalar::datum_from_array;
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::text::{parse_text, truncate};
use crate::pgtype::types::{
    Family, arrow_pg_type, column_pg_type, column_typmod, element_type_of, family, format_type,
};
use crate::plan::errors::external;
use crate::plan::options::StatementOptions;
use crate::plan::types::expression_field;
use crate::sql::types::column_type;
use crate::sqlstate;

/// Before the type in the name of a cast's function.
const NAME_PREFIX: &str = "::";

/// What a cast may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CastContext {
    /// Written in the statement.
    Explicit,
    /// Into a column.
    Assignment,
}

/// The name of the function that casts to a type.
pub fn function_name(target: &ColumnType) -> String {
    // A symbol is shown as text, which is what it is in an expression.
    format!("{NAME_PREFIX}{target}")
}

/// The function of a name that [`function_name`] made.
pub fn by_name(name: &str, time_zone: &Arc<str>) -> Option<ScalarUDF> {
    let text = name.strip_prefix(NAME_PREFIX)?;
    let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).ok()?;
    let target = column_type(&parser.parse_data_type().ok()?).ok()?;
    Some(ScalarUDF::new_from_impl(Cast::new(target, time_zone)))
}

/// A cast as a function of one argument.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Cast {
    name: String,
    target: ColumnType,
    field: FieldRef,
    signature: Signature,
}

impl Cast {
    fn new(target: ColumnType, time_zone: &Arc<str>) -> Cast {
        Cast {
            name: function_name(&target),
            field: expression_field(&target, time_zone),
            target,
            // Texts of instants, and the form in which values are written, depend on the session.
            signature: Signature::any(1, Volatility::Stable),
        }
    }

    /// What it gives of a type. A number that has so many digits after its point has as many as `numeric`.
    fn result_type(&self, source: &DataType) -> DataType {
        match (&self.target, source) {
            (ColumnType::Numeric(None), DataType::Decimal128(..) | DataType::Decimal256(..)) => {
                source.clone()
            }
            (ColumnType::Numeric(None), DataType::Int16) => DataType::Decimal128(5, 0),
            (ColumnType::Numeric(None), DataType::Int32) => DataType::Decimal128(10, 0),
            (ColumnType::Numeric(None), DataType::Int64) => DataType::Decimal128(19, 0),
            _ => self.field.data_type().clone(),
        }
    }
}

impl ScalarUDFImpl for Cast {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let [source] = types else { return Err(one_argument()) };
        Ok(self.result_type(source))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let [argument] = args.arg_fields else { return Err(one_argument()) };
        if *argument.data_type() != DataType::Null {
            let source = arrow_pg_type(argument);
            let target = column_pg_type(&self.target);
            if !can_cast(&source, &target, CastContext::Explicit) {
                return Err(external(cannot_cast(&source, &target)));
            }
        }
        let nullable = argument.is_nullable();
        let field = self.field.as_ref().clone().with_data_type(self.result_type(argument.data_type()));
        Ok(Arc::new(field.with_name(&self.name).with_nullable(nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [argument] = args.args.as_slice() else { return Err(one_argument()) };
        let [field] = args.arg_fields.as_slice() else { return Err(one_argument()) };
        let format = StatementOptions::format(&args.config_options);
        let source = arrow_pg_type(field);
        let wanted = self.result_type(field.data_type());
        let cast_one = |array: &ArrayRef| {
            if wanted != *self.field.data_type() {
                return Ok(cast(array, &wanted)?);
            }
            let array = cast_array(array, &source, &self.target, CastContext::Explicit, &format);
            // Symbols are texts here, and instants have the session's time zone.
            Ok::<_, DataFusionError>(cast(&array.map_err(external)?, self.field.data_type())?)
        };
        Ok(match argument {
            ColumnarValue::Array(array) => ColumnarValue::Array(cast_one(array)?),
            ColumnarValue::Scalar(value) => {
                let array = cast_one(&value.to_array()?)?;
                ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)
            }
        })
    }

    /// A cast to the type that the argument has is nothing.
    fn simplify(&self, mut args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let has_limit = matches!(self.target, ColumnType::Varchar(Some(_)));
        let is_form = matches!(self.target, ColumnType::Json | ColumnType::Jsonb);
        // A type that its field names is another one, though its values lie alike.
        let is_plain =
            |arg: &Expr| Ok::<bool, DataFusionError>(arg.to_field(info.schema())?.1.metadata().is_empty());
        let is_same = |given: &DataType| self.result_type(given) == *given;
        let same = args.len() == 1 && is_same(&info.get_data_type(&args[0])?) && is_plain(&args[0])?;
        if same && !has_limit && !is_form && self.field.metadata().is_empty() {
            return Ok(ExprSimplifyResult::Simplified(args.swap_remove(0)));
        }
        Ok(ExprSimplifyResult::Original(args))
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let names: Vec<String> = args.iter().map(|arg| arg.schema_name().to_string()).collect();
        Ok(format!("{}{}", names.join(", "), self.name))
    }
}

fn one_argument() -> DataFusionError {
    external(SqlError::internal("a cast has one argument"))
}

/// The error for two types between which there is no cast.
pub fn cannot_cast(source: &PgType, target: &PgType) -> SqlError {
    let message = format!("cannot cast type {} to {}", format_type(source), format_type(target));
    SqlError::new(sqlstate::CANNOT_COERCE, message)
}

/// Whether there is a cast between two types.
pub fn can_cast(source: &PgType, target: &PgType, context: CastContext) -> bool {
    let explicit = context == CastContext::Explicit;
    if let Some(element) = element_type_of(target) {
        return match element_type_of(source) {
            Some(from) => can_cast(&from, &element, context),
            None => explicit && family(source).is_text(),
        };
    }
    let (from, to) = (family(source), family(target));
    let number = |it| {
        use Family::{Float4, Float8, Int2, Int4, Int8, Numeric};
        matches!(it, Int2 | Int4 | Int8 | Float4 | Float8 | Numeric)
    };
    let moment = |it| matches!(it, Family::Date | Family::Timestamp | Family::Timestamptz);
    from == to
        || to.is_text()
        || (explicit && from.is_text())
        || (number(from) && number(to))
        || (moment(from) && moment(to))
        || matches!(
            (from, to),
            (Family::Json, Family::Jsonb)
                | (Family::Jsonb, Family::Json)
                | (Family::Oid, Family::Int4 | Family::Int8)
                | (Family::Int4 | Family::Int8, Family::Oid)
        )
        || (explicit && from == Family::Jsonb && (number(to) || to == Family::Bool))
        || (explicit && matches!((from, to), (Family::Bool, Family::Int4) | (Family::Int4, Family::Bool)))
}

/// A column as one of another type. `SYMBOL` gives texts.
///
/// # Errors
/// There is no such cast, or a value is none of the type.
pub fn cast_array(
    array: &ArrayRef,
    source: &PgType,
    target: &ColumnType,
    context: CastContext,
    format: &FormatSettings,
) -> SqlResult<ArrayRef> {
    let target = if *target == ColumnType::Symbol { &ColumnType::Text } else { target };
    let wanted = read_type(target);
    if *array.data_type() == DataType::Null {
        return Ok(new_null_array(&wanted, array.len()));
    }
    if let DataType::Dictionary(_, values) = array.data_type() {
        let plain = cast(array, values).map_err(SqlError::internal)?;
        return cast_array(&plain, source, target, context, format);
    }
    if let Some(done) = by_kernel(array, source, target, &wanted)? {
        return Ok(done);
    }
    if family(&column_pg_type(target)).is_text()
        && !family(source).is_text()
        && context == CastContext::Explicit
    {
        return to_text(array, source, target, format);
    }
    value_by_value(array, source, target, context, format)
}

/// What Arrow's kernels do as PostgreSQL does.
fn by_kernel(
    array: &ArrayRef,
    source: &PgType,
    target: &ColumnType,
    wanted: &DataType,
) -> SqlResult<Option<ArrayRef>> {
    let given = array.data_type();
    let checked = CastOptions { safe: false, ..CastOptions::default() };
    Ok(match target {
        ColumnType::Text | ColumnType::Varchar(None) if family(source).is_text() => {
            Some(cast(array, wanted).map_err(SqlError::internal)?)
        }
        // These have a form of their own, or a limit.
        ColumnType::Varchar(_) | ColumnType::Json | ColumnType::Jsonb | ColumnType::Text => None,
        _ if given == wanted => Some(Arc::clone(array)),
        ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 if given.is_signed_integer() => {
            let name = format_type(&column_pg_type(target));
            let done = cast_with_options(array, wanted, &checked);
            Some(done.map_err(|_| integer_out_of_range(&name))?)
        }
        ColumnType::Float8 if given.is_signed_integer() || *given == DataType::Float32 => {
            Some(cast(array, wanted).map_err(SqlError::internal)?)
        }
        ColumnType::Timestamptz(_) => match (given, wanted) {
            (DataType::Timestamp(from, Some(_)), DataType::Timestamp(to, _)) if from == to => {
                Some(cast(array, wanted).map_err(SqlError::internal)?)
            }
            _ => None,
        },
        _ => None,
    })
}

/// Texts of values, written as they are shown, but for truth values, which are spelled.
fn to_text(
    array: &ArrayRef,
    source: &PgType,
    target: &ColumnType,
    format: &FormatSettings,
) -> SqlResult<ArrayRef> {
    let encoder = ColumnEncoder::new(array, source, Format::Text, format)?;
    let mut builder = ColumnBuilder::new(target, array.len());
    let mut text = BytesMut::new();
    for row in 0..array.len() {
        if encoder.is_null(row) {
            builder.append_null();
            continue;
        }
        text.clear();
        if let Some(values) = array.as_boolean_opt() {
            text.extend_from_slice(if values.value(row) { b"true" } else { b"false" });
        } else {
            encoder.write_value(row, &mut text)?;
        }
        let text = std::str::from_utf8(&text).map_err(SqlError::internal)?;
        builder.append_text(shortened(text, target), format)?;
    }
    Ok(builder.finish())
}

/// An explicit cast to `varchar(n)` cuts what is too long.
fn shortened<'a>(text: &'a str, target: &ColumnType) -> &'a str {
    let ColumnType::Varchar(Some(limit)) = target else { return text };
    let limit = usize::try_from(*limit).unwrap_or(usize::MAX);
    if text.len() <= limit {
        return text;
    }
    text.char_indices().nth(limit).map_or(text, |(end, _)| truncate(text, end))
}

fn value_by_value(
    array: &ArrayRef,
    source: &PgType,
    target: &ColumnType,
    context: CastContext,
    format: &FormatSettings,
) -> SqlResult<ArrayRef> {
    let wanted = column_pg_type(target);
    let typmod = column_typmod(target);
    let mut builder = ColumnBuilder::new(target, array.len());
    let no_cast = |error| match error {
        CastError::Value(error) => error,
        CastError::NoCast => cannot_cast(source, &wanted),
    };
    for row in 0..array.len() {
        if array.is_null(row) {
            builder.append_null();
            continue;
        }
        match (datum_from_array(array, row, source)?, context) {
            (Datum::Text(text), CastContext::Explicit) => {
                builder.append_text(shortened(&text, target), format)?;
            }
            (datum, CastContext::Explicit) => {
                let datum = cast_datum(datum, source, &wanted, typmod, format)?;
                builder.append_datum(&datum, format).map_err(no_cast)?;
            }
            (datum, CastContext::Assignment) => builder.append_datum(&datum, format).map_err(no_cast)?,
        }
    }
    Ok(builder.finish())
}

/// One value as one of another type, as a cast that is written does it.
///
/// # Errors
/// There is no such cast, or the value is none of the type.
pub fn cast_datum(
    datum: Datum,
    source: &PgType,
    target: &PgType,
    typmod: i32,
    format: &FormatSettings,
) -> SqlResult<Datum> {
    match (datum, family(target)) {
        (Datum::Text(text), to) if !to.is_text() => parse_text(&text, target, typmod, format),
        (Datum::Jsonb(text), to) if to != Family::Json && to != Family::Jsonb && !to.is_text() => {
            let scalar = jsonb::scalar(&text, target)?;
            cast_datum(scalar, &PgType::NUMERIC, target, typmod, format)
        }
        (Datum::Bool(value), Family::Int4) => Ok(Datum::Int4(i32::from(value))),
        (Datum::Int4(value), Family::Bool) => Ok(Datum::Bool(value != 0)),
        (Datum::Text(text), Family::Varchar) if typmod >= 0 => {
            // The modifier of a varchar is its limit and the four bytes of a length.
            let limit = usize::try_from(typmod - 4).unwrap_or(0);
            let end = text.char_indices().nth(limit).map_or(text.len(), |(end, _)| end);
            Ok(Datum::Text(text[..end].to_owned()))
        }
        (datum, _) => assign(datum, target, typmod, format).map_err(|error| match error {
            CastError::Value(error) => error,
            CastError::NoCast => cannot_cast(source, target),
        }),
    }
}
