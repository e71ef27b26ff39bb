//! Functions of values, a row at a time: a name, its overloads, and what each makes of its arguments.
//!
//! Which overload a call means is found as PostgreSQL finds it: the one with the most arguments of
//! exactly its types, where the others can be converted without being asked. NULL in, NULL out.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use tidemark_catalog::types::{ColumnType, NumericModifier, TimeUnit};

use crate::error::{SqlError, SqlResult};
use crate::pgtype::PgType;
use crate::pgtype::builder::ColumnBuilder;
use crate::pgtype::cast::CastError;
use crate::pgtype::datum::Datum;
use crate::pgtype::scalar::datum_from_array;
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::types::{Family, data_pg_type, family};
use crate::plan::errors::external;
use crate::plan::options::StatementOptions;
use crate::plan::types::expression_field;
use crate::sql::functions::extract;

/// A type of an argument or of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `boolean`
    Bool,
    /// `integer`
    Int4,
    /// `bigint`
    Int8,
    /// `real`
    Float4,
    /// `double precision`
    Float8,
    /// `numeric`, of any precision and scale
    Numeric,
    /// Any text
    Text,
    /// `bytea`
    Bytea,
    /// `date`
    Date,
    /// `timestamp`
    Timestamp,
    /// `timestamptz`
    Timestamptz,
    /// `interval`
    Interval,
    /// `text[]`
    TextArray,
    /// Of any type
    Any,
}

/// What a function makes of its arguments, none of which is NULL unless NULLs are asked for.
pub type Apply = fn(&[Datum], &FormatSettings) -> SqlResult<Datum>;

/// One meaning of a function.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Overload {
    /// The types of its arguments.
    pub arguments: &'static [Kind],
    /// The last argument may come any number of times, also none.
    pub is_variadic: bool,
    /// The type of its result.
    pub result: Kind,
    /// It is asked about NULLs too.
    pub takes_nulls: bool,
    /// How it is computed. Told apart by the rest of the overload.
    pub apply: Body,
}

/// A function pointer that is equal to every other: an overload is known by its types.
#[derive(Clone, Copy)]
pub struct Body(pub Apply);

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Body")
    }
}

impl PartialEq for Body {
    fn eq(&self, _: &Body) -> bool {
        true
    }
}

impl Eq for Body {}

impl std::hash::Hash for Body {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

/// An overload whose result is NULL when an argument is.
pub const fn strict(arguments: &'static [Kind], result: Kind, apply: Apply) -> Overload {
    Overload { arguments, is_variadic: false, result, takes_nulls: false, apply: Body(apply) }
}

/// An overload that takes any number of arguments of its last type, NULLs among them.
pub const fn variadic(arguments: &'static [Kind], result: Kind, apply: Apply) -> Overload {
    Overload { arguments, is_variadic: true, result, takes_nulls: true, apply: Body(apply) }
}

/// A name and its meanings.
pub type Entry = (&'static str, &'static [Overload]);

/// The function of an entry, for a session in a time zone.
pub fn function(name: &'static str, overloads: &'static [Overload], time_zone: &Arc<str>) -> ScalarUDF {
    ScalarUDF::new_from_impl(RowFunction {
        name,
        overloads,
        time_zone: Arc::clone(time_zone),
        signature: Signature::user_defined(Volatility::Stable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RowFunction {
    name: &'static str,
    overloads: &'static [Overload],
    time_zone: Arc<str>,
    signature: Signature,
}

impl Kind {
    fn column_type(self) -> ColumnType {
        match self {
            Kind::Bool => ColumnType::Bool,
            Kind::Int4 => ColumnType::Int4,
            Kind::Int8 => ColumnType::Int8,
            Kind::Float4 => ColumnType::Float4,
            Kind::Float8 => ColumnType::Float8,
            Kind::Numeric => ColumnType::Numeric(None),
            Kind::Text | Kind::Any => ColumnType::Text,
            Kind::Bytea => ColumnType::Bytea,
            Kind::Date => ColumnType::Date,
            Kind::Timestamp => ColumnType::Timestamp(TimeUnit::Microsecond),
            Kind::Timestamptz => ColumnType::Timestamptz(TimeUnit::Microsecond),
            Kind::Interval => ColumnType::Interval,
            Kind::TextArray => ColumnType::Array(Box::new(ColumnType::Text)),
        }
    }

    /// How well an argument fits: 2 as it is, 1 as a string or NULL without a type, 0 converted.
    fn fit(self, given: &DataType) -> Option<u32> {
        if *given == DataType::Null {
            return Some(1);
        }
        // A string constant has this very type, and so may be of any.
        let is_open = *given == DataType::Utf8 && self != Kind::TextArray;
        self.fit_type(&data_pg_type(given)).or_else(|| is_open.then_some(1))
    }

    /// The same, of a type whose value is no constant without one.
    fn fit_type(self, given: &PgType) -> Option<u32> {
        let from = family(given);
        let numbers = [Family::Int2, Family::Int4, Family::Int8, Family::Numeric, Family::Float4];
        let rank = |it: Family| numbers.iter().position(|number| *number == it);
        let below = |limit: usize| rank(from).is_some_and(|rank| rank <= limit);
        let exact = match self {
            Kind::Any => true,
            Kind::Bool => from == Family::Bool,
            Kind::Int4 => from == Family::Int4,
            Kind::Int8 => from == Family::Int8,
            Kind::Float4 => from == Family::Float4,
            Kind::Float8 => from == Family::Float8,
            Kind::Numeric => from == Family::Numeric,
            Kind::Text => matches!(from, Family::Text | Family::Varchar),
            Kind::Bytea => from == Family::Bytea,
            Kind::Date => from == Family::Date,
            Kind::Timestamp => from == Family::Timestamp,
            Kind::Timestamptz => from == Family::Timestamptz,
            Kind::Interval => from == Family::Interval,
            Kind::TextArray => from == Family::Array,
        };
        if exact {
            return Some(2);
        }
        let converted = match self {
            Kind::Int4 => below(0),
            Kind::Int8 => below(1),
            Kind::Numeric => below(2),
            Kind::Float4 => below(3),
            Kind::Float8 => below(4),
            Kind::Timestamp => from == Family::Date,
            Kind::Timestamptz => matches!(from, Family::Date | Family::Timestamp),
            _ => false,
        };
        converted.then_some(0)
    }

    /// The type of its values; `None` where a value keeps the type that it has.
    pub fn pg_type(self) -> Option<PgType> {
        Some(match self {
            Kind::Bool => PgType::BOOL,
            Kind::Int4 => PgType::INT4,
            Kind::Int8 => PgType::INT8,
            Kind::Float4 => PgType::FLOAT4,
            Kind::Float8 => PgType::FLOAT8,
            Kind::Numeric => PgType::NUMERIC,
            Kind::Text => PgType::TEXT,
            Kind::Bytea => PgType::BYTEA,
            Kind::Date => PgType::DATE,
            Kind::Timestamp => PgType::TIMESTAMP,
            Kind::Timestamptz => PgType::TIMESTAMPTZ,
            Kind::Interval => PgType::INTERVAL,
            Kind::TextArray => PgType::TEXT_ARRAY,
            Kind::Any => return None,
        })
    }

    /// Which of several types PostgreSQL takes where it has a choice.
    fn is_preferred(self) -> bool {
        matches!(self, Kind::Float8 | Kind::Timestamptz | Kind::Text | Kind::Bool | Kind::Interval)
    }

    /// The Arrow type in which an argument is wanted.
    fn wanted(self, given: &DataType, time_zone: &Arc<str>) -> DataType {
        match self {
            Kind::Any if !matches!(given, DataType::Null | DataType::Dictionary(..)) => given.clone(),
            Kind::Numeric if given.is_decimal() => given.clone(),
            Kind::Numeric if given.is_integer() => DataType::Decimal128(19, 0),
            // The values of a dictionary are not looked up one by one.
            Kind::Text | Kind::Timestamp | Kind::Timestamptz | Kind::TextArray
                if self.fit(given) == Some(2) && !matches!(given, DataType::Dictionary(..)) =>
            {
                given.clone()
            }
            kind => expression_field(&kind.column_type(), time_zone).data_type().clone(),
        }
    }
}

/// The meaning that a call with arguments of these types has, where `unknown` is a string constant.
pub fn overload_for(overloads: &'static [Overload], types: &[PgType]) -> Option<&'static Overload> {
    let fits = overloads.iter().filter_map(|it| {
        let fit = it.fit_by(types.len(), |at, kind| match types[at] {
            PgType::UNKNOWN => Some(1),
            ref given => kind.fit_type(given),
        });
        fit.map(|fit| (fit, it))
    });
    fits.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, overload)| overload)
}

impl Overload {
    /// The type that an argument should have; `None` behind the last.
    pub fn argument(&self, at: usize) -> Option<Kind> {
        let last = self.arguments.last().copied().filter(|_| self.is_variadic);
        self.arguments.get(at).copied().or(last)
    }

    /// How many arguments fit exactly, how many are preferred; `None` when one does not fit at all.
    fn fit(&self, types: &[DataType]) -> Option<(u32, u32)> {
        self.fit_by(types.len(), |at, kind| kind.fit(&types[at]))
    }

    fn fit_by(&self, count: usize, fit_of: impl Fn(usize, Kind) -> Option<u32>) -> Option<(u32, u32)> {
        let least = self.arguments.len() - usize::from(self.is_variadic);
        let most = if self.is_variadic { usize::MAX } else { self.arguments.len() };
        if count < least || count > most {
            return None;
        }
        (0..count).try_fold((0, 0), |(exact, preferred), at| {
            let kind = self.argument(at)?;
            let fit = fit_of(at, kind)?;
            Some((exact + u32::from(fit == 2), preferred + u32::from(fit == 2 || kind.is_preferred())))
        })
    }
}

impl RowFunction {
    fn overload(&self, types: &[DataType]) -> Result<&'static Overload> {
        let fits = self.overloads.iter().filter_map(|it| it.fit(types).map(|fit| (fit, it)));
        // The first of equals.
        let best = fits.reduce(|best, next| if next.0 > best.0 { next } else { best });
        match best {
            Some((_, overload)) => Ok(overload),
            None => {
                let types: Vec<String> = types.iter().map(ToString::to_string).collect();
                let call = format!("{}({})", self.name, types.join(", "));
                plan_err!("No function matches the given name and argument types '{call}'.")
            }
        }
    }

    fn result(&self, overload: &Overload, args: &ReturnFieldArgs<'_>) -> ColumnType {
        match overload.result {
            Kind::Numeric => ColumnType::Numeric(known_scale(self.name, args)),
            kind => kind.column_type(),
        }
    }
}

/// The digits after the point that all results of a function have, where that can be known.
fn known_scale(name: &str, args: &ReturnFieldArgs<'_>) -> Option<NumericModifier> {
    let modifier = |scale: u8| Some(NumericModifier { precision: 38, scale });
    match (name, args.scalar_arguments) {
        ("round" | "trunc" | "ceil" | "ceiling" | "floor" | "div" | "factorial", [_] | [_, _])
            if name == "div" || args.scalar_arguments.len() == 1 =>
        {
            modifier(0)
        }
        ("round" | "trunc", [_, Some(ScalarValue::Int32(Some(digits)))]) => {
            u8::try_from((*digits).max(0)).ok().filter(|scale| *scale <= 30).and_then(modifier)
        }
        ("extract", [Some(ScalarValue::Utf8(Some(field)) | ScalarValue::Utf8View(Some(field))), _]) => {
            let is_date = *args.arg_fields.get(1)?.data_type() == DataType::Date32;
            extract::scale_of(&field.to_ascii_lowercase(), is_date).and_then(modifier)
        }
        ("abs" | "sign", _) => match args.arg_fields.first()?.data_type() {
            DataType::Decimal128(precision, scale) => Some(NumericModifier {
                precision: *precision,
                scale: if name == "sign" { 0 } else { u8::try_from(*scale).ok()? },
            }),
            _ => None,
        },
        _ => None,
    }
}

impl ScalarUDFImpl for RowFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let overload = self.overload(types)?;
        let wanted = types.iter().enumerate().map(|(at, given)| {
            overload.argument(at).map_or_else(|| given.clone(), |kind| kind.wanted(given, &self.time_zone))
        });
        Ok(wanted.collect())
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let column_type = self.overload(types)?.result.column_type();
        Ok(expression_field(&column_type, &self.time_zone).data_type().clone())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let overload = self.overload(&types)?;
        let field = expression_field(&self.result(overload, &args), &self.time_zone);
        Ok(Arc::new(field.as_ref().clone().with_name(self.name)))
    }

    fn evaluate_bounds(&self, inputs: &[&Interval]) -> Result<Interval> {
        let types: Vec<DataType> = inputs.iter().map(|input| input.data_type()).collect();
        Interval::make_unbounded(&self.return_type(&types)?)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let overload = self.overload(&types)?;
        let format = StatementOptions::format(&args.config_options);
        let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let row_count = if is_constant { 1 } else { args.number_rows };
        let column_type = match overload.result {
            Kind::Numeric => numeric_of(args.return_type()),
            kind => kind.column_type(),
        };
        let rows = rows(overload, &args, row_count, &column_type, &format).map_err(external)?;
        let array = cast(&rows, args.return_type())?;
        match is_constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)),
            false => Ok(ColumnarValue::Array(array)),
        }
    }
}

/// The column type whose Arrow type this is.
fn numeric_of(data_type: &DataType) -> ColumnType {
    match data_type {
        DataType::Decimal128(precision, scale) => {
            let scale = u8::try_from(*scale).unwrap_or(0);
            ColumnType::Numeric(Some(NumericModifier { precision: *precision, scale }))
        }
        _ => ColumnType::Numeric(None),
    }
}

/// The values of an argument: one for all rows, or one for each.
enum Values<'a> {
    Constant,
    Array(&'a ArrayRef, PgType),
}

fn rows(
    overload: &Overload,
    args: &ScalarFunctionArgs,
    row_count: usize,
    column_type: &ColumnType,
    format: &FormatSettings,
) -> SqlResult<ArrayRef> {
    let mut datums = vec![Datum::Null; args.args.len()];
    let mut columns = Vec::with_capacity(args.args.len());
    for (at, arg) in args.args.iter().enumerate() {
        let pg_type = crate::pgtype::types::arrow_pg_type(&args.arg_fields[at]);
        columns.push(match arg {
            ColumnarValue::Array(array) => Values::Array(array, pg_type),
            ColumnarValue::Scalar(value) => {
                let array = value.to_array().map_err(SqlError::internal)?;
                datums[at] = read(&array, 0, &pg_type)?;
                Values::Constant
            }
        });
    }
    let mut builder = ColumnBuilder::new(column_type, row_count);
    for row in 0..row_count {
        for (datum, column) in datums.iter_mut().zip(&columns) {
            if let Values::Array(array, pg_type) = column {
                *datum = read(array, row, pg_type)?;
            }
        }
        if !overload.takes_nulls && datums.iter().any(Datum::is_null) {
            builder.append_null();
            continue;
        }
        let value = (overload.apply.0)(&datums, format)?;
        builder.append_datum(&value, format).map_err(|error| match error {
            CastError::Value(error) => error,
            CastError::NoCast => SqlError::internal("a function's result is not of its type"),
        })?;
    }
    Ok(builder.finish())
}

fn read(array: &ArrayRef, row: usize, pg_type: &PgType) -> SqlResult<Datum> {
    if array.is_null(row) || *array.data_type() == DataType::Null {
        return Ok(Datum::Null);
    }
    datum_from_array(array, row, pg_type)
}
