//! Adding one value to a column: from text, from binary, and from a datum.
//!
//! Each function tells how many bytes the value takes besides its place in the array.

use super::{Clock, TextRule, Values};
use crate::error::SqlResult;
use crate::pgtype::binary::{self, Reader};
use crate::pgtype::cast::CastError;
use crate::pgtype::datetime::parse::{self, Moment, out_of_range, value_out_of_range};
use crate::pgtype::datum::Datum;
use crate::pgtype::decimal::{self, Target};
use crate::pgtype::numeric::{Numeric, wire};
use crate::pgtype::scalar::month_day_nano;
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::types::NO_TYPMOD;
use crate::pgtype::{boolean, bytea, float, integer, interval, json, jsonb, text as texts, uuid};

/// A text of this length lies in its view.
const INLINE_LEN_MAX: usize = 12;

/// What a text or bytes of a length take besides their view.
pub(super) fn payload(len: usize) -> usize {
    if len > INLINE_LEN_MAX { len } else { 0 }
}

impl Values {
    pub(super) fn append_text(&mut self, text: &str, settings: &FormatSettings) -> SqlResult<usize> {
        match self {
            Values::Bool(builder) => builder.append_value(boolean::parse(text)?),
            Values::Int2(builder) => builder.append_value(integer::parse_i16(text)?),
            Values::Int4(builder) => builder.append_value(integer::parse_i32(text)?),
            Values::Int8(builder) => builder.append_value(integer::parse_i64(text)?),
            Values::Float4(builder) => builder.append_value(float::parse_f32(text)?),
            Values::Float8(builder) => builder.append_value(float::parse_f64(text)?),
            Values::Decimal128(..) | Values::Decimal256(..) => {
                let plain = decimal::parse_plain(text.as_bytes());
                match plain.and_then(|(value, scale)| self.rescaled(value, scale)) {
                    Some(units) => self.append_units(units),
                    None => self.append_numeric(&Numeric::parse(text, NO_TYPMOD)?)?,
                }
            }
            Values::Text(..) => return self.append_string(text),
            Values::Bytea(builder) => {
                let bytes = bytea::parse(text)?;
                builder.append_value(&bytes);
                return Ok(payload(bytes.len()));
            }
            Values::Date(builder) => builder.append_value(parse::date(text, settings)?),
            Values::Micros(builder, clock) => builder.append_value(micros(text, *clock, settings)?),
            Values::Nanos(builder, clock) => builder.append_value(nanos(text, *clock, settings)?),
            Values::Interval(builder) => {
                let value = interval::parse::parse(text, NO_TYPMOD, settings)?;
                builder.append_value(month_day_nano(value)?);
            }
            Values::Uuid(_) => self.append_uuid(&uuid::parse(text)?),
            Values::List(list) => list.append_text(text, settings)?,
        }
        Ok(0)
    }

    /// `None` where the bytes are not the column's own form.
    pub(super) fn append_binary(&mut self, bytes: &[u8]) -> SqlResult<Option<usize>> {
        let mut reader = Reader::new(bytes);
        match self {
            Values::Bool(builder) => {
                let value = reader.u8()? != 0;
                reader.finish()?;
                builder.append_value(value);
            }
            Values::Int2(builder) => builder.append_value(i16::from_be_bytes(exact(&mut reader)?)),
            Values::Int4(builder) => builder.append_value(i32::from_be_bytes(exact(&mut reader)?)),
            Values::Int8(builder) => builder.append_value(i64::from_be_bytes(exact(&mut reader)?)),
            Values::Float4(builder) => builder.append_value(f32::from_be_bytes(exact(&mut reader)?)),
            Values::Float8(builder) => builder.append_value(f64::from_be_bytes(exact(&mut reader)?)),
            Values::Decimal128(..) | Values::Decimal256(..) => {
                let small = wire::read_small(bytes);
                match small.and_then(|(value, scale)| self.rescaled(value, scale)) {
                    Some(units) => self.append_units(units),
                    None => {
                        let value = wire::read(&mut reader)?;
                        reader.finish()?;
                        self.append_numeric(&value)?;
                    }
                }
            }
            Values::Text(_, TextRule::Jsonb) => {
                return self.append_string(binary::jsonb_text(&mut reader)?).map(Some);
            }
            Values::Text(..) => return self.append_string(texts::decode_utf8(bytes)?).map(Some),
            Values::Bytea(builder) => {
                builder.append_value(bytes);
                return Ok(Some(payload(bytes.len())));
            }
            Values::Date(builder) => {
                builder.append_value(binary::date_from_wire(i32::from_be_bytes(exact(&mut reader)?))?);
            }
            Values::Micros(builder, _) => {
                builder.append_value(binary::timestamp_from_wire(i64::from_be_bytes(exact(&mut reader)?))?);
            }
            Values::Nanos(builder, _) => {
                let us = binary::timestamp_from_wire(i64::from_be_bytes(exact(&mut reader)?))?;
                builder.append_value(nanos_of(us)?);
            }
            Values::Interval(builder) => {
                let value = binary::read_interval(&mut reader)?;
                reader.finish()?;
                builder.append_value(month_day_nano(value)?);
            }
            Values::Uuid(_) => self.append_uuid(&exact(&mut reader)?),
            Values::List(_) => return Ok(None),
        }
        Ok(Some(0))
    }

    /// `None` where the value is not of the column's own type.
    pub(super) fn append_exact(
        &mut self,
        datum: &Datum,
        settings: &FormatSettings,
    ) -> Result<Option<usize>, CastError> {
        match (&mut *self, datum) {
            (Values::Bool(builder), Datum::Bool(value)) => builder.append_value(*value),
            (Values::Int2(builder), Datum::Int2(value)) => builder.append_value(*value),
            (Values::Int4(builder), Datum::Int4(value)) => builder.append_value(*value),
            (Values::Int8(builder), Datum::Int8(value)) => builder.append_value(*value),
            (Values::Float4(builder), Datum::Float4(value)) => builder.append_value(*value),
            (Values::Float8(builder), Datum::Float8(value)) => builder.append_value(*value),
            (Values::Decimal128(..) | Values::Decimal256(..), Datum::Numeric(value)) => {
                self.append_numeric(value)?;
            }
            (Values::Text(_, TextRule::Any | TextRule::Limit(_)), Datum::Text(value)) => {
                return Ok(Some(self.append_string(value)?));
            }
            // What is of the type was validated when it became so.
            (Values::Text(builder, TextRule::Json), Datum::Json(value))
            | (Values::Text(builder, TextRule::Jsonb), Datum::Jsonb(value)) => {
                builder.append_value(value);
                return Ok(Some(payload(value.len())));
            }
            (Values::Bytea(builder), Datum::Bytea(value)) => {
                builder.append_value(value);
                return Ok(Some(payload(value.len())));
            }
            (Values::Date(builder), Datum::Date(days)) => builder.append_value(*days),
            (Values::Micros(builder, Clock::Local), Datum::Timestamp(us))
            | (Values::Micros(builder, Clock::Utc), Datum::Timestamptz(us)) => builder.append_value(*us),
            (Values::Nanos(builder, Clock::Local), Datum::Timestamp(us))
            | (Values::Nanos(builder, Clock::Utc), Datum::Timestamptz(us)) => {
                builder.append_value(nanos_of(*us)?);
            }
            (Values::Interval(builder), Datum::Interval(value)) => {
                builder.append_value(month_day_nano(*value)?);
            }
            (Values::Uuid(_), Datum::Uuid(value)) => self.append_uuid(value),
            (Values::List(list), Datum::Array(value)) => list.append_array(value, settings)?,
            _ => return Ok(None),
        }
        Ok(Some(0))
    }

    /// Adds a decimal number that fits as it is written.
    pub(super) fn append_plain_number(&mut self, text: &str) -> bool {
        let plain = decimal::parse_plain(text.as_bytes());
        match plain.and_then(|(value, scale)| self.rescaled(value, scale)) {
            Some(units) => {
                self.append_units(units);
                true
            }
            None => false,
        }
    }

    fn append_string(&mut self, text: &str) -> SqlResult<usize> {
        let Values::Text(builder, rule) = self else {
            unreachable!("only columns of text are given strings");
        };
        let normalised;
        let value = match *rule {
            TextRule::Any => text,
            TextRule::Limit(limit) => texts::limit_chars(text, limit, "character varying")?,
            TextRule::Json => {
                json::validate(text)?;
                text
            }
            TextRule::Jsonb => {
                normalised = jsonb::normalise(text)?;
                &normalised
            }
        };
        texts::refuse_nul(value)?;
        builder.append_value(value);
        Ok(payload(value.len()))
    }

    fn append_uuid(&mut self, value: &[u8; 16]) {
        if let Values::Uuid(builder) = self {
            builder.append_value(value).expect("a UUID has 16 bytes");
        }
    }

    fn decimal_target(&self) -> Target {
        match self {
            Values::Decimal128(_, target) | Values::Decimal256(_, target) => *target,
            _ => unreachable!("only decimal columns are given numbers"),
        }
    }

    fn rescaled(&self, value: i128, scale: u32) -> Option<i128> {
        self.decimal_target().rescale(value, scale)
    }

    fn append_units(&mut self, units: i128) {
        match self {
            Values::Decimal128(builder, _) => builder.append_value(units),
            Values::Decimal256(builder, _) => {
                builder.append_value(arrow::datatypes::i256::from_i128(units));
            }
            _ => unreachable!("only decimal columns are given numbers"),
        }
    }

    fn append_numeric(&mut self, value: &Numeric) -> SqlResult<()> {
        let units = self.decimal_target().units(value)?;
        match self {
            Values::Decimal128(builder, _) => {
                builder.append_value(i128::try_from(&units).expect("38 digits fit 128 bits"));
            }
            Values::Decimal256(builder, _) => {
                builder.append_value(decimal::to_i256(&units).expect("76 digits fit 256 bits"));
            }
            _ => unreachable!("only decimal columns are given numbers"),
        }
        Ok(())
    }
}

pub(super) fn micros(text: &str, clock: Clock, settings: &FormatSettings) -> SqlResult<i64> {
    moment(text, clock, settings)?.micros().ok_or_else(|| out_of_range("timestamp", text))
}

pub(super) fn nanos(text: &str, clock: Clock, settings: &FormatSettings) -> SqlResult<i64> {
    moment(text, clock, settings)?.nanos().ok_or_else(|| out_of_range("timestamp", text))
}

fn moment(text: &str, clock: Clock, settings: &FormatSettings) -> SqlResult<Moment> {
    match clock {
        Clock::Local => parse::timestamp(text, settings),
        Clock::Utc => parse::timestamptz(text, settings),
    }
}

/// Infinity stays infinity.
pub(super) fn nanos_of(us: i64) -> SqlResult<i64> {
    match us {
        i64::MIN | i64::MAX => Ok(us),
        us => us.checked_mul(1000).ok_or_else(|| value_out_of_range("timestamp")),
    }
}

/// All bytes, if they are so many.
pub(super) fn exact<const N: usize>(reader: &mut Reader<'_>) -> SqlResult<[u8; N]> {
    let mut bytes = [0; N];
    bytes.copy_from_slice(reader.take(N)?);
    reader.finish()?;
    Ok(bytes)
}
