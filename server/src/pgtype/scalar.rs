//! Single values out of Arrow arrays, and Arrow arrays of a single value.

use std::sync::Arc;

use arrow::array::{self as arrays, Array, ArrayRef, AsArray};
use arrow::datatypes as arrow_types;
use arrow::datatypes::{DataType, FieldRef, IntervalMonthDayNano, IntervalUnit, TimeUnit, i256};
use bigdecimal::num_bigint::BigInt;
use tidemark_catalog::types::NUMERIC_UNCONSTRAINED;

use super::PgType;
use super::cast::{self, CastError};
use super::datetime::parse::value_out_of_range;
use super::datum::{ArrayDatum, Datum, Dimension};
use super::decimal::{self, TrailingZeros};
use super::encode::{day_of_millis, interval_of_month_day_nano, micros_of, resolution_of};
use super::interval::{self, Interval};
use super::numeric::Numeric;
use super::settings::FormatSettings;
use super::text;
use super::timezone::TimeZone;
use super::types::{NO_TYPMOD, arrow_pg_type, data_pg_type, element_type_of, family};
use crate::error::{SqlError, SqlResult};

/// A row's value as one of a type. Texts are read as that type's, other values are cast.
pub fn datum_from_array(array: &ArrayRef, row: usize, pg_type: &PgType) -> SqlResult<Datum> {
    if array.is_null(row) {
        return Ok(Datum::Null);
    }
    let datum = natural_datum(array, row, pg_type)?;
    if cast::natural_family(&datum) == family(pg_type) || datum.is_null() {
        return Ok(datum);
    }
    let settings = neutral_settings();
    match datum {
        // The forms of json are kept as text in columns, where they are known to be right.
        Datum::Text(value) if *pg_type == PgType::JSON => Ok(Datum::Json(value)),
        Datum::Text(value) if *pg_type == PgType::JSONB => Ok(Datum::Jsonb(value)),
        Datum::Text(value) => text::parse_text(&value, pg_type, NO_TYPMOD, &settings),
        other => cast::assign(other, pg_type, NO_TYPMOD, &settings).map_err(|error| match error {
            CastError::Value(error) => error,
            CastError::NoCast => no_cast(array.data_type(), pg_type),
        }),
    }
}

/// Values in arrays do not depend on a session: UTC, and no time that is now.
fn neutral_settings() -> FormatSettings {
    FormatSettings::initial(TimeZone::utc(), 0)
}

fn no_cast(data_type: &DataType, pg_type: &PgType) -> SqlError {
    SqlError::internal(format!("a column of {data_type} has no values of type {}", pg_type.name()))
}

/// A value as the array has it; lists and structs look at their elements' types.
fn natural_datum(array: &ArrayRef, row: usize, pg_type: &PgType) -> SqlResult<Datum> {
    if let Some(datum) = number(array, row) {
        return Ok(datum);
    }
    if let Some(datum) = time(array, row)? {
        return Ok(datum);
    }
    Ok(match array.data_type() {
        DataType::Null => Datum::Null,
        DataType::Boolean => Datum::Bool(array.as_boolean().value(row)),
        DataType::Utf8 => Datum::Text(array.as_string::<i32>().value(row).to_owned()),
        DataType::LargeUtf8 => Datum::Text(array.as_string::<i64>().value(row).to_owned()),
        DataType::Utf8View => Datum::Text(array.as_string_view().value(row).to_owned()),
        DataType::Binary => Datum::Bytea(array.as_binary::<i32>().value(row).to_vec()),
        DataType::LargeBinary => Datum::Bytea(array.as_binary::<i64>().value(row).to_vec()),
        DataType::BinaryView => Datum::Bytea(array.as_binary_view().value(row).to_vec()),
        DataType::FixedSizeBinary(_) => {
            let bytes = array.as_fixed_size_binary().value(row);
            match <[u8; 16]>::try_from(bytes) {
                Ok(uuid) if *pg_type != PgType::BYTEA => Datum::Uuid(uuid),
                _ => Datum::Bytea(bytes.to_vec()),
            }
        }
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let key = dictionary.normalized_keys()[row];
            return datum_from_array(dictionary.values(), key, pg_type);
        }
        DataType::List(_) => list(&array.as_list::<i32>().value(row), pg_type)?,
        DataType::LargeList(_) => list(&array.as_list::<i64>().value(row), pg_type)?,
        DataType::FixedSizeList(..) => list(&array.as_fixed_size_list().value(row), pg_type)?,
        DataType::Struct(_) => {
            let columns = array.as_struct();
            let mut fields = Vec::with_capacity(columns.num_columns());
            for (field, column) in columns.fields().iter().zip(columns.columns()) {
                let field_type = arrow_pg_type(field);
                let datum = datum_from_array(column, row, &field_type)?;
                fields.push((field_type, datum));
            }
            Datum::Record(fields)
        }
        other => return Err(SqlError::unsupported(format!("a value of type {other}"))),
    })
}

fn number(array: &ArrayRef, row: usize) -> Option<Datum> {
    macro_rules! value {
        ($arrow_type:ident) => {
            array.as_primitive::<arrow_types::$arrow_type>().value(row)
        };
    }
    let decimal_of = |units: i256, precision: u8, scale: i8| {
        let zeros = TrailingZeros::of_arrow_type(precision, scale);
        Datum::Numeric(decimal::numeric_of(units, scale, zeros))
    };
    Some(match array.data_type() {
        DataType::Int8 => Datum::Int2(value!(Int8Type).into()),
        DataType::UInt8 => Datum::Int2(value!(UInt8Type).into()),
        DataType::Int16 => Datum::Int2(value!(Int16Type)),
        DataType::UInt16 => Datum::Int4(value!(UInt16Type).into()),
        DataType::Int32 => Datum::Int4(value!(Int32Type)),
        DataType::UInt32 => Datum::Int8(value!(UInt32Type).into()),
        DataType::Int64 => Datum::Int8(value!(Int64Type)),
        DataType::UInt64 => Datum::Numeric(Numeric::from_scaled(BigInt::from(value!(UInt64Type)), 0)),
        DataType::Float16 => Datum::Float4(value!(Float16Type).into()),
        DataType::Float32 => Datum::Float4(value!(Float32Type)),
        DataType::Float64 => Datum::Float8(value!(Float64Type)),
        DataType::Decimal32(p, s) => decimal_of(i256::from_i128(value!(Decimal32Type).into()), *p, *s),
        DataType::Decimal64(p, s) => decimal_of(i256::from_i128(value!(Decimal64Type).into()), *p, *s),
        DataType::Decimal128(p, s) => decimal_of(i256::from_i128(value!(Decimal128Type)), *p, *s),
        DataType::Decimal256(p, s) => decimal_of(value!(Decimal256Type), *p, *s),
        _ => return None,
    })
}

fn time(array: &ArrayRef, row: usize) -> SqlResult<Option<Datum>> {
    macro_rules! value {
        ($arrow_type:ident) => {
            array.as_primitive::<arrow_types::$arrow_type>().value(row)
        };
    }
    let micros = |count: i64, unit: TimeUnit, type_name: &str| {
        micros_of(count, resolution_of(unit)).ok_or_else(|| value_out_of_range(type_name))
    };
    Ok(Some(match array.data_type() {
        DataType::Date32 => Datum::Date(value!(Date32Type)),
        DataType::Date64 => {
            let days = i32::try_from(day_of_millis(value!(Date64Type)));
            Datum::Date(days.map_err(|_| value_out_of_range("date"))?)
        }
        DataType::Time32(unit) => Datum::Time(micros(i64::from(count_i32(array, row)), *unit, "time")?),
        DataType::Time64(unit) => Datum::Time(micros(count_i64(array, row), *unit, "time")?),
        DataType::Timestamp(unit, None) => {
            Datum::Timestamp(micros(count_i64(array, row), *unit, "timestamp")?)
        }
        DataType::Timestamp(unit, Some(_)) => {
            Datum::Timestamptz(micros(count_i64(array, row), *unit, "timestamp")?)
        }
        DataType::Duration(unit) => Datum::Interval(Interval {
            months: 0,
            days: 0,
            micros: micros(count_i64(array, row), *unit, "interval")?,
        }),
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            Datum::Interval(interval_of_month_day_nano(value!(IntervalMonthDayNanoType)))
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let value = value!(IntervalDayTimeType);
            let micros = i64::from(value.milliseconds) * 1000;
            Datum::Interval(Interval { months: 0, days: value.days, micros })
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            let months = value!(IntervalYearMonthType);
            Datum::Interval(Interval { months, days: 0, micros: 0 })
        }
        _ => return Ok(None),
    }))
}

/// The count in an array of a 64-bit time.
fn count_i64(array: &ArrayRef, row: usize) -> i64 {
    let data = array.to_data();
    data.buffer::<i64>(0)[row]
}

/// The count in an array of a 32-bit time.
fn count_i32(array: &ArrayRef, row: usize) -> i32 {
    let data = array.to_data();
    data.buffer::<i32>(0)[row]
}

/// An array; the elements of inner lists are elements of one of more dimensions.
fn list(values: &ArrayRef, pg_type: &PgType) -> SqlResult<Datum> {
    let element = element_type_of(pg_type).unwrap_or_else(|| data_pg_type(values.data_type()));
    let is_nested = matches!(
        values.data_type(),
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..)
    );
    if !is_nested {
        let elements: SqlResult<Vec<Datum>> =
            (0..values.len()).map(|row| datum_from_array(values, row, &element)).collect();
        let lower_bound = i32::from(family(pg_type) == super::types::Family::Array);
        let mut array = ArrayDatum::list(element, elements?);
        array.dimensions.iter_mut().for_each(|dimension| dimension.lower_bound = lower_bound);
        return Ok(Datum::Array(array));
    }
    let mut inner = Vec::with_capacity(values.len());
    for row in 0..values.len() {
        match datum_from_array(values, row, pg_type)? {
            Datum::Array(array) => inner.push(array),
            _ => return Err(super::encode::uneven()),
        }
    }
    stack(element, inner).map(Datum::Array)
}

/// Arrays of one shape as one array of one more dimension.
fn stack(element: PgType, inner: Vec<ArrayDatum>) -> SqlResult<ArrayDatum> {
    let length = i32::try_from(inner.len()).map_err(|_| super::encode::uneven())?;
    let shape = inner.first().map(|array| array.dimensions.clone()).unwrap_or_default();
    if inner.iter().any(|array| array.dimensions != shape) {
        return Err(super::encode::uneven());
    }
    if shape.is_empty() {
        return Ok(ArrayDatum { element, dimensions: Vec::new(), values: Vec::new() });
    }
    let outer = Dimension { length, lower_bound: 1 };
    let dimensions = std::iter::once(outer).chain(shape).collect();
    Ok(ArrayDatum { element, dimensions, values: inner.into_iter().flat_map(|array| array.values).collect() })
}

/// An array of one row with a value, cast to what the array can hold.
pub fn datum_to_scalar_array(datum: &Datum, data_type: &DataType) -> SqlResult<ArrayRef> {
    if datum.is_null() {
        return Ok(arrays::new_null_array(data_type, 1));
    }
    if let DataType::Dictionary(key_type, value_type) = data_type {
        let values = datum_to_scalar_array(datum, value_type)?;
        return arrow::compute::cast(&values, &DataType::Dictionary(key_type.clone(), value_type.clone()))
            .map_err(|error| SqlError::internal(error.to_string()));
    }
    if let DataType::List(element) | DataType::LargeList(element) = data_type {
        return list_array(datum, element, data_type);
    }
    let pg_type = data_pg_type(data_type);
    let refused = |error: CastError| match error {
        CastError::Value(error) => error,
        CastError::NoCast => no_cast(data_type, &pg_type),
    };
    let assigned = match (datum, data_type) {
        (Datum::Oid(_) | Datum::Char(_), data_type) if data_type.is_integer() => {
            cast::assign(datum.clone(), &PgType::INT8, NO_TYPMOD, &neutral_settings())
        }
        _ => cast::assign(datum.clone(), &pg_type, NO_TYPMOD, &neutral_settings()),
    };
    array_of(assigned.map_err(refused)?, data_type)
}

fn list_array(datum: &Datum, element: &FieldRef, data_type: &DataType) -> SqlResult<ArrayRef> {
    let Datum::Array(array) = datum else {
        return Err(no_cast(data_type, &PgType::TEXT_ARRAY));
    };
    if array.dimensions.len() > 1 {
        return Err(SqlError::unsupported("a list of more than one dimension"));
    }
    let mut rows = Vec::with_capacity(array.values.len());
    for value in &array.values {
        rows.push(datum_to_scalar_array(value, element.data_type())?);
    }
    let rows: Vec<&dyn Array> = rows.iter().map(AsRef::as_ref).collect();
    let values = match rows.is_empty() {
        true => arrays::new_empty_array(element.data_type()),
        false => arrow::compute::concat(&rows).map_err(|error| SqlError::internal(error.to_string()))?,
    };
    Ok(match data_type {
        DataType::LargeList(_) => {
            let offsets = arrow::buffer::OffsetBuffer::from_lengths([values.len()]);
            Arc::new(arrays::LargeListArray::new(Arc::clone(element), offsets, values, None))
        }
        _ => {
            let offsets = arrow::buffer::OffsetBuffer::from_lengths([values.len()]);
            Arc::new(arrays::ListArray::new(Arc::clone(element), offsets, values, None))
        }
    })
}

/// An array of one value that is of the array's own type.
fn array_of(datum: Datum, data_type: &DataType) -> SqlResult<ArrayRef> {
    let wrong = || SqlError::internal(format!("a column of {data_type} cannot hold this value"));
    let single: ArrayRef = match datum {
        Datum::Bool(value) => Arc::new(arrays::BooleanArray::from(vec![value])),
        Datum::Int2(value) => Arc::new(arrays::Int16Array::from(vec![value])),
        Datum::Int4(value) => Arc::new(arrays::Int32Array::from(vec![value])),
        Datum::Int8(value) => Arc::new(arrays::Int64Array::from(vec![value])),
        Datum::Float4(value) => Arc::new(arrays::Float32Array::from(vec![value])),
        Datum::Float8(value) => Arc::new(arrays::Float64Array::from(vec![value])),
        Datum::Text(value) | Datum::Json(value) | Datum::Jsonb(value) => {
            Arc::new(arrays::StringArray::from(vec![value]))
        }
        Datum::Bytea(value) => Arc::new(arrays::BinaryArray::from(vec![value.as_slice()])),
        Datum::Uuid(value) => {
            let bytes = arrays::FixedSizeBinaryArray::try_from_iter(std::iter::once(value));
            Arc::new(bytes.map_err(|error| SqlError::internal(error.to_string()))?)
        }
        Datum::Date(days) => Arc::new(arrays::Date32Array::from(vec![days])),
        Datum::Time(us) => Arc::new(arrays::Time64MicrosecondArray::from(vec![us])),
        Datum::Timestamp(us) | Datum::Timestamptz(us) => return timestamp_array(us, data_type),
        Datum::Interval(value) => {
            Arc::new(arrays::IntervalMonthDayNanoArray::from(vec![month_day_nano(value)?]))
        }
        Datum::Numeric(value) => return numeric_array(&value, data_type),
        _ => return Err(wrong()),
    };
    if single.data_type() == data_type {
        return Ok(single);
    }
    let options = arrow::compute::CastOptions { safe: false, ..Default::default() };
    arrow::compute::cast_with_options(&single, data_type, &options).map_err(|_| wrong())
}

/// An interval as Arrow has it, if 64 bits hold its nanoseconds.
pub fn month_day_nano(value: Interval) -> SqlResult<IntervalMonthDayNano> {
    let nanos = value.micros.checked_mul(1000).ok_or_else(interval::parse::out_of_range)?;
    Ok(IntervalMonthDayNano::new(value.months, value.days, nanos))
}

fn timestamp_array(us: i64, data_type: &DataType) -> SqlResult<ArrayRef> {
    let DataType::Timestamp(unit, zone) = data_type else {
        return Err(SqlError::internal(format!("a column of {data_type} holds no timestamps")));
    };
    let is_infinite = us == i64::MIN || us == i64::MAX;
    let scaled = |per_us: i64| match is_infinite {
        true => Ok(us),
        false => us.checked_mul(per_us).ok_or_else(|| value_out_of_range("timestamp")),
    };
    let divided = |us_per_unit: i64| if is_infinite { us } else { us.div_euclid(us_per_unit) };
    let zone = zone.clone();
    Ok(match unit {
        TimeUnit::Second => {
            Arc::new(arrays::TimestampSecondArray::from(vec![divided(1_000_000)]).with_timezone_opt(zone))
        }
        TimeUnit::Millisecond => {
            Arc::new(arrays::TimestampMillisecondArray::from(vec![divided(1_000)]).with_timezone_opt(zone))
        }
        TimeUnit::Microsecond => {
            Arc::new(arrays::TimestampMicrosecondArray::from(vec![us]).with_timezone_opt(zone))
        }
        TimeUnit::Nanosecond => {
            Arc::new(arrays::TimestampNanosecondArray::from(vec![scaled(1_000)?]).with_timezone_opt(zone))
        }
    })
}

/// A number with the digits of the array's type; it is rounded to its scale.
fn numeric_array(value: &Numeric, data_type: &DataType) -> SqlResult<ArrayRef> {
    let (precision, scale) = match data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => (*precision, *scale),
        // A number without a sign, the only other type that goes out as `numeric`.
        _ => {
            let integer = cast::integer_out_of_range("bigint");
            let Numeric::Finite(number) = value else {
                return Err(integer);
            };
            let rounded = bigdecimal::ToPrimitive::to_u64(&super::numeric::round(number, 0));
            return Ok(Arc::new(arrays::UInt64Array::from(vec![rounded.ok_or(integer)?])));
        }
    };
    let units = if (precision, i8::try_from(NUMERIC_UNCONSTRAINED.scale).ok())
        == (NUMERIC_UNCONSTRAINED.precision, Some(scale))
    {
        // The type of a number that said nothing of digits: it is not rounded unseen.
        decimal::Target::new(None).units(value)?
    } else {
        decimal::units(value, precision, scale)?
    };
    let failed = |error: arrow::error::ArrowError| SqlError::internal(error.to_string());
    let wide = i64::try_from(&units).ok();
    Ok(match data_type {
        DataType::Decimal32(..) => {
            let units = wide.and_then(|units| i32::try_from(units).ok()).unwrap_or(0);
            let array = arrays::Decimal32Array::from(vec![units]);
            Arc::new(array.with_precision_and_scale(precision, scale).map_err(failed)?)
        }
        DataType::Decimal64(..) => {
            let array = arrays::Decimal64Array::from(vec![wide.unwrap_or(0)]);
            Arc::new(array.with_precision_and_scale(precision, scale).map_err(failed)?)
        }
        DataType::Decimal128(..) => {
            let array = arrays::Decimal128Array::from(vec![i128::try_from(&units).unwrap_or(0)]);
            Arc::new(array.with_precision_and_scale(precision, scale).map_err(failed)?)
        }
        _ => {
            let units = decimal::to_i256(&units).unwrap_or(i256::ZERO);
            let array = arrays::Decimal256Array::from(vec![units]);
            Arc::new(array.with_precision_and_scale(precision, scale).map_err(failed)?)
        }
    })
}
