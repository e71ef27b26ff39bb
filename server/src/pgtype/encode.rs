//! Arrow columns to text and binary: the way of every result row, and of COPY OUT.
//!
//! 1. [`ColumnEncoder::new`] looks once at the array's type and the PostgreSQL type it goes out as and
//!    chooses how values are found ([`Values`]) and written.
//! 2. [`ColumnEncoder::write_field`] then writes a row's value straight into the message buffer, its
//!    length before it; [`ColumnEncoder::write_value`] writes it without, for COPY.
//!
//! Where the two types are not natural to each other, values go by way of
//! [`Datum`](super::datum::Datum): correct, but not fast.

mod nested;
mod values;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes as arrow_types;
use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use bytes::{BufMut, BytesMut};

pub(super) use self::nested::uneven;
use self::nested::{ListColumn, StructColumn};
pub(super) use self::values::micros_of;
use self::values::{Bytes, Durations, Integers, Keys, Strings};
use super::binary::{self, JSONB_VERSION};
use super::datetime::write::{self, Resolution};
use super::decimal::{self, Form, Layout, TrailingZeros};
use super::interval::{self, Interval};
use super::settings::FormatSettings;
use super::types::{Family, family};
use super::{PgType, boolean, bytea, float, integer, scalar, text, uuid};
use crate::error::{SqlError, SqlResult};

/// The form in which values are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As text.
    Text,
    /// As PostgreSQL's send functions write them.
    Binary,
}

/// Writes the values of one column of a batch.
#[derive(Debug)]
pub struct ColumnEncoder {
    values: Values,
    nulls: Option<NullBuffer>,
    format: Format,
    settings: FormatSettings,
}

/// How many bytes an integer has in binary form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    Two,
    Four,
    Eight,
}

/// Where values are and how they are written.
#[derive(Debug)]
enum Values {
    Null,
    Bool(BooleanArray),
    Integers(Integers, Width),
    /// Integers that go out as `numeric`.
    WholeNumbers(Integers),
    Float16(PrimitiveArray<arrow_types::Float16Type>),
    Float32(PrimitiveArray<arrow_types::Float32Type>),
    Float64(PrimitiveArray<arrow_types::Float64Type>),
    Decimal32(PrimitiveArray<arrow_types::Decimal32Type>, Layout),
    Decimal64(PrimitiveArray<arrow_types::Decimal64Type>, Layout),
    Decimal128(PrimitiveArray<arrow_types::Decimal128Type>, Layout),
    Decimal256(PrimitiveArray<arrow_types::Decimal256Type>, Layout),
    Strings(Strings),
    Jsonb(Strings),
    Bytes(Bytes),
    Uuid(FixedSizeBinaryArray),
    Date32(PrimitiveArray<arrow_types::Date32Type>),
    Date64(PrimitiveArray<arrow_types::Date64Type>),
    Time(Durations),
    Timestamp(Durations),
    Timestamptz(Durations),
    /// A span of microseconds.
    Duration(Durations),
    MonthDayNano(PrimitiveArray<arrow_types::IntervalMonthDayNanoType>),
    DayTime(PrimitiveArray<arrow_types::IntervalDayTimeType>),
    YearMonth(PrimitiveArray<arrow_types::IntervalYearMonthType>),
    Dictionary(Keys, Box<ColumnEncoder>),
    List(ListColumn),
    Struct(StructColumn),
    /// Values that are not natural to the type they go out as.
    Other(ArrayRef, PgType),
}

impl ColumnEncoder {
    /// For a column that goes out as a type in a form.
    pub fn new(
        array: &ArrayRef,
        pg_type: &PgType,
        format: Format,
        settings: &FormatSettings,
    ) -> SqlResult<ColumnEncoder> {
        let values = Values::of(array, pg_type, format, settings)?;
        Ok(ColumnEncoder { values, nulls: array.nulls().cloned(), format, settings: settings.clone() })
    }

    /// Whether a row's value is NULL.
    pub fn is_null(&self, row: usize) -> bool {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return true;
        }
        match &self.values {
            Values::Null => true,
            // The value that a key stands for can be NULL.
            Values::Dictionary(keys, values) => values.is_null(keys.get(row)),
            Values::Other(array, _) => array.is_null(row),
            _ => false,
        }
    }

    /// Writes a row's value as a field of the protocol: its length, -1 for NULL, and its bytes.
    pub fn write_field(&self, row: usize, out: &mut BytesMut) -> SqlResult<()> {
        if self.is_null(row) {
            out.put_i32(-1);
            return Ok(());
        }
        binary::with_length(out, |out| self.write_value(row, out))
    }

    /// Writes a row's value alone; the row must have one.
    pub fn write_value(&self, row: usize, out: &mut BytesMut) -> SqlResult<()> {
        match self.format {
            Format::Text => self.write_text(row, out),
            Format::Binary => self.write_binary(row, out),
        }
    }

    fn write_text(&self, row: usize, out: &mut BytesMut) -> SqlResult<()> {
        let FormatSettings { extra_float_digits, date_style, .. } = self.settings;
        match &self.values {
            Values::Null => {}
            Values::Bool(values) => boolean::write(out, values.value(row)),
            Values::Integers(values, _) => integer::write(out, values.get(row)),
            Values::WholeNumbers(values) => integer::write(out, values.get_wide(row)),
            Values::Float16(values) => float::write_f32(out, values.value(row).into(), extra_float_digits),
            Values::Float32(values) => float::write_f32(out, values.value(row), extra_float_digits),
            Values::Float64(values) => float::write_f64(out, values.value(row), extra_float_digits),
            Values::Strings(values) | Values::Jsonb(values) => {
                out.extend_from_slice(values.get(row).as_bytes());
            }
            Values::Bytes(values) => bytea::write(out, values.get(row), self.settings.bytea_output),
            Values::Uuid(values) => uuid::write(out, &uuid_at(values, row)),
            Values::Date32(values) => write::write_date(out, values.value(row), date_style),
            Values::Date64(values) => write::write_day(out, day_of_millis(values.value(row)), date_style),
            Values::Time(values) => write::write_time(out, values.get(row), values.resolution),
            Values::Timestamp(values) => {
                write::write_timestamp(out, values.get(row), values.resolution, date_style);
            }
            Values::Timestamptz(values) => {
                write::write_timestamptz(out, values.get(row), values.resolution, &self.settings);
            }
            Values::Dictionary(keys, values) => return values.write_text(keys.get(row), out),
            Values::List(list) => return list.write_text(row, out),
            Values::Struct(fields) => return fields.write_text(row, out),
            Values::Other(array, pg_type) => {
                let datum = scalar::datum_from_array(array, row, pg_type)?;
                text::write_text(out, &datum, pg_type, &self.settings);
            }
            values => match values.interval(row)? {
                Some(interval) => interval::write::write(out, &interval, self.settings.interval_style),
                None => values.write_decimal(row, out),
            },
        }
        Ok(())
    }

    fn write_binary(&self, row: usize, out: &mut BytesMut) -> SqlResult<()> {
        match &self.values {
            Values::Null => {}
            Values::Bool(values) => out.put_u8(u8::from(values.value(row))),
            Values::Integers(values, width) => write_integer(out, values.get(row), *width)?,
            Values::WholeNumbers(values) => {
                let layout = Layout { scale: 0, zeros: TrailingZeros::Keep, form: Form::Binary };
                decimal::write_i128(out, values.get_wide(row), layout);
            }
            Values::Float16(values) => out.put_f32(values.value(row).into()),
            Values::Float32(values) => out.put_f32(values.value(row)),
            Values::Float64(values) => out.put_f64(values.value(row)),
            Values::Strings(values) => out.extend_from_slice(values.get(row).as_bytes()),
            Values::Jsonb(values) => {
                out.put_u8(JSONB_VERSION);
                out.extend_from_slice(values.get(row).as_bytes());
            }
            Values::Bytes(values) => out.extend_from_slice(values.get(row)),
            Values::Uuid(values) => out.extend_from_slice(values.value(row)),
            Values::Date32(values) => out.put_i32(binary::date_to_wire(values.value(row))?),
            Values::Date64(values) => {
                let days = i32::try_from(day_of_millis(values.value(row)));
                out.put_i32(binary::date_to_wire(days.map_err(|_| out_of_range("date"))?)?);
            }
            Values::Time(values) => out.put_i64(values.micros(row, "time")?),
            Values::Timestamp(values) | Values::Timestamptz(values) => {
                out.put_i64(binary::timestamp_to_wire(values.micros(row, "timestamp")?)?);
            }
            Values::Dictionary(keys, values) => return values.write_binary(keys.get(row), out),
            Values::List(list) => return list.write_binary(row, out),
            Values::Struct(fields) => return fields.write_binary(row, out),
            Values::Other(array, pg_type) => {
                let datum = scalar::datum_from_array(array, row, pg_type)?;
                return binary::write_binary(out, &datum, pg_type);
            }
            values => match values.interval(row)? {
                Some(interval) => binary::write_interval(out, &interval),
                None => values.write_decimal(row, out),
            },
        }
        Ok(())
    }
}

impl Values {
    fn of(
        array: &ArrayRef,
        pg_type: &PgType,
        format: Format,
        settings: &FormatSettings,
    ) -> SqlResult<Values> {
        let family = family(pg_type);
        let form = if format == Format::Text { Form::Text } else { Form::Binary };
        if let Some(values) = Values::number(array, family, form) {
            return Ok(values);
        }
        if let Some(values) = Values::time(array, family) {
            return Ok(values);
        }
        Ok(match (array.data_type(), family) {
            (DataType::Null, _) => Values::Null,
            (DataType::Boolean, Family::Bool) => Values::Bool(array.as_boolean().clone()),
            (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, _)
                if format == Format::Text || is_plain_text(family) =>
            {
                Values::Strings(Strings::of(array))
            }
            (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, Family::Jsonb) => {
                Values::Jsonb(Strings::of(array))
            }
            (DataType::FixedSizeBinary(16), Family::Uuid) => {
                Values::Uuid(array.as_fixed_size_binary().clone())
            }
            (
                DataType::Binary
                | DataType::LargeBinary
                | DataType::BinaryView
                | DataType::FixedSizeBinary(_),
                Family::Bytea,
            ) => Values::Bytes(Bytes::of(array)),
            (DataType::Dictionary(..), _) => {
                let dictionary = array.as_any_dictionary();
                let values = ColumnEncoder::new(dictionary.values(), pg_type, format, settings)?;
                Values::Dictionary(Keys::of(dictionary.keys())?, Box::new(values))
            }
            (
                DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..),
                Family::Array | Family::Vector,
            ) => Values::List(ListColumn::new(array, pg_type, format, settings)?),
            (DataType::Struct(_), Family::Record) => {
                Values::Struct(StructColumn::new(array, format, settings)?)
            }
            (
                DataType::Union(..)
                | DataType::Map(..)
                | DataType::ListView(_)
                | DataType::LargeListView(_)
                | DataType::RunEndEncoded(..),
                _,
            ) => return Err(SqlError::unsupported(format!("a result of type {}", array.data_type()))),
            _ => Values::Other(ArrayRef::clone(array), pg_type.clone()),
        })
    }

    fn number(array: &ArrayRef, family: Family, form: Form) -> Option<Values> {
        let layout = |precision: u8, scale: i8| Layout {
            scale,
            zeros: TrailingZeros::of_arrow_type(precision, scale),
            form,
        };
        Some(match (array.data_type(), family) {
            (DataType::Float16, Family::Float4) => Values::Float16(primitive(array)),
            (DataType::Float32, Family::Float4) => Values::Float32(primitive(array)),
            (DataType::Float64, Family::Float8) => Values::Float64(primitive(array)),
            (DataType::Decimal32(p, s), Family::Numeric) => {
                Values::Decimal32(primitive(array), layout(*p, *s))
            }
            (DataType::Decimal64(p, s), Family::Numeric) => {
                Values::Decimal64(primitive(array), layout(*p, *s))
            }
            (DataType::Decimal128(p, s), Family::Numeric) => {
                Values::Decimal128(primitive(array), layout(*p, *s))
            }
            (DataType::Decimal256(p, s), Family::Numeric) => {
                Values::Decimal256(primitive(array), layout(*p, *s))
            }
            (data_type, family) if data_type.is_integer() => {
                let width = match family {
                    Family::Int2 => Width::Two,
                    Family::Int4 | Family::Oid => Width::Four,
                    Family::Int8 => Width::Eight,
                    Family::Numeric => return Some(Values::WholeNumbers(Integers::of(array)?)),
                    _ => return None,
                };
                // A number of 64 bits without a sign is no int8.
                match Integers::of(array)? {
                    Integers::U64(_) => return None,
                    integers => Values::Integers(integers, width),
                }
            }
            _ => return None,
        })
    }

    fn time(array: &ArrayRef, family: Family) -> Option<Values> {
        Some(match (array.data_type(), family) {
            (DataType::Date32, Family::Date) => Values::Date32(primitive(array)),
            (DataType::Date64, Family::Date) => Values::Date64(primitive(array)),
            (DataType::Time32(_) | DataType::Time64(_), Family::Time) => Values::Time(Durations::of(array)?),
            (DataType::Timestamp(..), Family::Timestamp) => Values::Timestamp(Durations::of(array)?),
            (DataType::Timestamp(..), Family::Timestamptz) => Values::Timestamptz(Durations::of(array)?),
            (DataType::Duration(_), Family::Interval) => Values::Duration(Durations::of(array)?),
            (DataType::Interval(IntervalUnit::MonthDayNano), Family::Interval) => {
                Values::MonthDayNano(primitive(array))
            }
            (DataType::Interval(IntervalUnit::DayTime), Family::Interval) => {
                Values::DayTime(primitive(array))
            }
            (DataType::Interval(IntervalUnit::YearMonth), Family::Interval) => {
                Values::YearMonth(primitive(array))
            }
            _ => return None,
        })
    }

    /// The interval in a row, if the column has intervals.
    fn interval(&self, row: usize) -> SqlResult<Option<Interval>> {
        Ok(Some(match self {
            Values::Duration(values) => {
                Interval { months: 0, days: 0, micros: values.micros(row, "interval")? }
            }
            Values::MonthDayNano(values) => interval_of_month_day_nano(values.value(row)),
            Values::DayTime(values) => {
                let value = values.value(row);
                Interval { months: 0, days: value.days, micros: i64::from(value.milliseconds) * 1000 }
            }
            Values::YearMonth(values) => Interval { months: values.value(row), days: 0, micros: 0 },
            _ => return Ok(None),
        }))
    }

    fn write_decimal(&self, row: usize, out: &mut BytesMut) {
        match self {
            Values::Decimal32(values, layout) => decimal::write_i128(out, values.value(row).into(), *layout),
            Values::Decimal64(values, layout) => decimal::write_i128(out, values.value(row).into(), *layout),
            Values::Decimal128(values, layout) => decimal::write_i128(out, values.value(row), *layout),
            Values::Decimal256(values, layout) => decimal::write_i256(out, values.value(row), *layout),
            _ => unreachable!("every other column is written by the caller"),
        }
    }
}

/// Nanoseconds are cut to microseconds, towards zero.
pub(super) fn interval_of_month_day_nano(value: arrow_types::IntervalMonthDayNano) -> Interval {
    Interval { months: value.months, days: value.days, micros: value.nanoseconds / 1000 }
}

/// The day of a time in milliseconds.
pub(super) fn day_of_millis(ms: i64) -> i64 {
    ms.div_euclid(86_400_000)
}

fn primitive<T: ArrowPrimitiveType>(array: &ArrayRef) -> PrimitiveArray<T> {
    array.as_primitive::<T>().clone()
}

fn uuid_at(values: &FixedSizeBinaryArray, row: usize) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(values.value(row));
    bytes
}

/// Types whose binary form is their text.
fn is_plain_text(family: Family) -> bool {
    matches!(family, Family::Text | Family::Varchar | Family::Bpchar | Family::Name | Family::Json)
}

fn write_integer(out: &mut BytesMut, value: i64, width: Width) -> SqlResult<()> {
    match width {
        Width::Two => out.put_i16(i16::try_from(value).map_err(|_| out_of_range("smallint"))?),
        Width::Four => {
            // An oid is a number without a sign in the same four bytes.
            let bits = i32::try_from(value).map(i32::cast_unsigned).or_else(|_| u32::try_from(value));
            out.put_u32(bits.map_err(|_| out_of_range("integer"))?);
        }
        Width::Eight => out.put_i64(value),
    }
    Ok(())
}

fn out_of_range(type_name: &str) -> SqlError {
    super::cast::integer_out_of_range(type_name)
}

/// The resolution of Arrow's times.
pub(super) fn resolution_of(unit: TimeUnit) -> Resolution {
    match unit {
        TimeUnit::Second => Resolution::Second,
        TimeUnit::Millisecond => Resolution::Millisecond,
        TimeUnit::Microsecond => Resolution::Microsecond,
        TimeUnit::Nanosecond => Resolution::Nanosecond,
    }
}
