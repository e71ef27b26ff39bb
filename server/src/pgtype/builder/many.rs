//! Adding many values to a column: what the column is is asked once for all of them.

use arrow::array::{ArrowPrimitiveType, PrimitiveBuilder};

use super::append::{exact, micros, nanos, nanos_of, payload};
use super::{ColumnBuilder, TextRule, Values};
use crate::error::{SqlError, SqlResult};
use crate::pgtype::cast::CastError;
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::{binary, float, integer, text as texts};

/// A value that is refused.
#[derive(Debug)]
pub struct ColumnFault {
    /// Which of the values, from 0.
    pub row: usize,
    /// Why.
    pub error: SqlError,
}

impl ColumnBuilder {
    /// Adds values given as texts without zero bytes. After an error the values before it are there.
    pub fn append_texts<'a>(
        &mut self,
        values: impl Iterator<Item = Option<&'a str>>,
        settings: &FormatSettings,
    ) -> Result<(), ColumnFault> {
        let ColumnBuilder { values: column, row_count, payload_bytes, .. } = self;
        let counts = (row_count, payload_bytes);
        match column {
            Values::Int2(builder) => each(builder, values, counts, integer::parse_i16),
            Values::Int4(builder) => each(builder, values, counts, integer::parse_i32),
            Values::Int8(builder) => each(builder, values, counts, integer::parse_i64),
            Values::Float4(builder) => each(builder, values, counts, float::parse_f32),
            Values::Float8(builder) => each(builder, values, counts, float::parse_f64),
            Values::Micros(builder, clock) => {
                each(builder, values, counts, |text| micros(text, *clock, settings))
            }
            Values::Nanos(builder, clock) => {
                each(builder, values, counts, |text| nanos(text, *clock, settings))
            }
            Values::Text(builder, TextRule::Any) => {
                let (row_count, payload_bytes) = counts;
                for value in values {
                    builder.append_option(value);
                    *payload_bytes += value.map_or(0, |text| payload(text.len()));
                    *row_count += 1;
                }
                Ok(())
            }
            _ => self.append_one_by_one(values, |builder, text| {
                builder.append_text(text, settings).map_err(CastError::Value)
            }),
        }
    }

    /// Adds values given in the binary form of the column's type. After an error the values before it
    /// are there.
    pub fn append_binaries<'a>(
        &mut self,
        values: impl Iterator<Item = Option<&'a [u8]>>,
        settings: &FormatSettings,
    ) -> Result<(), ColumnFault> {
        let ColumnBuilder { values: column, row_count, payload_bytes, .. } = self;
        let counts = (row_count, payload_bytes);
        match column {
            Values::Int2(builder) => each(builder, values, counts, |it| Ok(i16::from_be_bytes(whole(it)?))),
            Values::Int4(builder) => each(builder, values, counts, |it| Ok(i32::from_be_bytes(whole(it)?))),
            Values::Int8(builder) => each(builder, values, counts, |it| Ok(i64::from_be_bytes(whole(it)?))),
            Values::Float4(builder) => each(builder, values, counts, |it| Ok(f32::from_be_bytes(whole(it)?))),
            Values::Float8(builder) => each(builder, values, counts, |it| Ok(f64::from_be_bytes(whole(it)?))),
            Values::Micros(builder, _) => each(builder, values, counts, |it| {
                binary::timestamp_from_wire(i64::from_be_bytes(whole(it)?))
            }),
            Values::Nanos(builder, _) => each(builder, values, counts, |it| {
                nanos_of(binary::timestamp_from_wire(i64::from_be_bytes(whole(it)?))?)
            }),
            Values::Text(builder, TextRule::Any) => {
                let (row_count, payload_bytes) = counts;
                for (row, value) in values.enumerate() {
                    let text = value.map(texts::decode_utf8).transpose();
                    let text = text.map_err(|error| ColumnFault { row, error })?;
                    builder.append_option(text);
                    *payload_bytes += text.map_or(0, |text| payload(text.len()));
                    *row_count += 1;
                }
                Ok(())
            }
            _ => {
                let pg_type = self.pg_type().clone();
                self.append_one_by_one(values, |builder, bytes| {
                    builder.append_binary(bytes, &pg_type, settings)
                })
            }
        }
    }

    /// Adds a number as SQL writes it; false, and nothing added, when the column does not take it as it
    /// is written, or it is out of its range.
    pub fn append_number(&mut self, text: &str) -> bool {
        let appended = match &mut self.values {
            Values::Int2(builder) => {
                integer::parse_i16(text).map(|value| builder.append_value(value)).is_ok()
            }
            Values::Int4(builder) => {
                integer::parse_i32(text).map(|value| builder.append_value(value)).is_ok()
            }
            Values::Int8(builder) => {
                integer::parse_i64(text).map(|value| builder.append_value(value)).is_ok()
            }
            // SQL's numbers have no negative zero.
            Values::Float4(builder) => {
                float::parse_f32(text).map(|value| builder.append_value(value + 0.0)).is_ok()
            }
            Values::Float8(builder) => {
                float::parse_f64(text).map(|value| builder.append_value(value + 0.0)).is_ok()
            }
            Values::Decimal128(..) | Values::Decimal256(..) => self.values.append_plain_number(text),
            _ => false,
        };
        self.row_count += usize::from(appended);
        appended
    }

    fn append_one_by_one<T>(
        &mut self,
        values: impl Iterator<Item = Option<T>>,
        mut append: impl FnMut(&mut ColumnBuilder, T) -> Result<(), CastError>,
    ) -> Result<(), ColumnFault> {
        for (row, value) in values.enumerate() {
            match value {
                None => self.append_null(),
                Some(value) => append(self, value).map_err(|error| match error {
                    CastError::Value(error) => ColumnFault { row, error },
                    CastError::NoCast => {
                        ColumnFault { row, error: SqlError::internal("a type has no cast to itself") }
                    }
                })?,
            }
        }
        Ok(())
    }
}

/// Adds numbers; counts them.
fn each<P: ArrowPrimitiveType, T>(
    builder: &mut PrimitiveBuilder<P>,
    values: impl Iterator<Item = Option<T>>,
    (row_count, _): (&mut usize, &mut usize),
    read: impl Fn(T) -> SqlResult<P::Native>,
) -> Result<(), ColumnFault> {
    for (row, value) in values.enumerate() {
        match value {
            None => builder.append_null(),
            Some(value) => match read(value) {
                Ok(number) => builder.append_value(number),
                Err(error) => return Err(ColumnFault { row, error }),
            },
        }
        *row_count += 1;
    }
    Ok(())
}

/// All bytes of a value, if they are as many as its type has.
fn whole<const N: usize>(bytes: &[u8]) -> SqlResult<[u8; N]> {
    match bytes.try_into() {
        Ok(bytes) => Ok(bytes),
        // Says what is wrong.
        Err(_) => exact(&mut binary::Reader::new(bytes)),
    }
}
