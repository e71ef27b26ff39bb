//! Values to and from their binary form, as PostgreSQL's send and receive functions have it.
//!
//! All numbers are big-endian; dates and timestamps count from 2000-01-01.
//!
//! ```text
//! interval   microseconds i64, days i32, months i32
//! timetz     microseconds i64, seconds west of Greenwich i32
//! jsonb      version u8 = 1, text
//! array      dimensions i32, has NULLs i32, element type u32,
//!            dimensions × (length i32, lower bound i32), elements × field
//! record     fields i32, fields × (type u32, field)
//! field      length i32, -1 for NULL; bytes
//! ```

use bytes::{BufMut, BytesMut};

use super::calendar::{
    DATE_MAX, DATE_MIN, POSTGRES_EPOCH_DAYS, POSTGRES_EPOCH_US, TIMESTAMP_MIN, US_PER_DAY,
};
use super::datetime::parse::{round_time, round_timestamp, value_out_of_range};
use super::datum::{ArrayDatum, Datum, Dimension, Timetz};
use super::interval::{self, Interval};
use super::numeric::wire;
use super::types::{Family, element_type_of, family};
use super::{PgType, array, json, jsonb, text};
use crate::error::{SqlError, SqlResult};
use crate::sqlstate;

/// The version of `jsonb`'s binary form.
pub const JSONB_VERSION: u8 = 1;

/// Zones are nearer to Greenwich than this, in seconds.
const OFFSET_SECONDS_END: i32 = 16 * 3600;

/// Bytes of a message that are read from its start.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// At the start of some bytes.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    /// The next bytes.
    pub fn take(&mut self, count: usize) -> SqlResult<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            let message = "insufficient data left in message";
            return Err(SqlError::new(sqlstate::PROTOCOL_VIOLATION, message));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> SqlResult<[u8; N]> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    /// A byte.
    pub fn u8(&mut self) -> SqlResult<u8> {
        let Some((first, rest)) = self.rest.split_first() else {
            return Err(SqlError::new(sqlstate::PROTOCOL_VIOLATION, "no data left in message"));
        };
        self.rest = rest;
        Ok(*first)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> SqlResult<u16> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// Two bytes.
    pub fn i16(&mut self) -> SqlResult<i16> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    /// Four bytes.
    pub fn u32(&mut self) -> SqlResult<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// Four bytes.
    pub fn i32(&mut self) -> SqlResult<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// Eight bytes.
    pub fn i64(&mut self) -> SqlResult<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// All bytes that are left.
    pub fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Makes sure that nothing is left.
    pub fn finish(&self) -> SqlResult<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(SqlError::new(sqlstate::INVALID_BINARY_REPRESENTATION, "incorrect binary data format"))
    }
}

/// Reads a value of a type.
pub fn parse_binary(bytes: &[u8], pg_type: &PgType, typmod: i32) -> SqlResult<Datum> {
    let mut reader = Reader::new(bytes);
    let datum = read(&mut reader, pg_type, typmod)?;
    reader.finish()?;
    Ok(datum)
}

fn read(reader: &mut Reader<'_>, pg_type: &PgType, typmod: i32) -> SqlResult<Datum> {
    Ok(match family(pg_type) {
        Family::Bool => Datum::Bool(reader.u8()? != 0),
        Family::Char => Datum::Char(reader.u8()?),
        Family::Int2 => Datum::Int2(reader.i16()?),
        Family::Int4 => Datum::Int4(reader.i32()?),
        Family::Int8 => Datum::Int8(reader.i64()?),
        Family::Float4 => Datum::Float4(f32::from_bits(reader.u32()?)),
        Family::Float8 => Datum::Float8(f64::from_bits(reader.i64()?.cast_unsigned())),
        Family::Numeric => Datum::Numeric(wire::read(reader)?.constrain(typmod)?),
        Family::Oid | Family::Reg => Datum::Oid(reader.u32()?),
        Family::Text => Datum::Text(text::decode_utf8(reader.take_rest())?.to_owned()),
        Family::Varchar => {
            Datum::Text(text::limit_varchar(text::decode_utf8(reader.take_rest())?, typmod)?.to_owned())
        }
        Family::Bpchar => Datum::Text(text::pad_bpchar(text::decode_utf8(reader.take_rest())?, typmod)?),
        Family::Name => Datum::Text(text::check_name(text::decode_utf8(reader.take_rest())?)?.to_owned()),
        Family::Bytea => Datum::Bytea(reader.take_rest().to_vec()),
        Family::Date => Datum::Date(date_from_wire(reader.i32()?)?),
        Family::Time => Datum::Time(round_time(check_time(reader.i64()?)?, typmod)),
        Family::Timetz => Datum::Timetz(read_timetz(reader, typmod)?),
        Family::Timestamp => Datum::Timestamp(round_timestamp(timestamp_from_wire(reader.i64()?)?, typmod)?),
        Family::Timestamptz => {
            Datum::Timestamptz(round_timestamp(timestamp_from_wire(reader.i64()?)?, typmod)?)
        }
        Family::Interval => Datum::Interval(interval::parse::constrain(read_interval(reader)?, typmod)?),
        Family::Uuid => Datum::Uuid(reader.array()?),
        Family::Json => {
            let text = text::decode_utf8(reader.take_rest())?;
            json::validate(text)?;
            Datum::Json(text.to_owned())
        }
        Family::Jsonb => Datum::Jsonb(jsonb::normalise(jsonb_text(reader)?)?),
        Family::Array | Family::Vector => Datum::Array(read_array(reader, pg_type, typmod)?),
        Family::Record => return Err(text::anonymous_record()),
        Family::Void => {
            reader.take_rest();
            Datum::Void
        }
    })
}

/// The text of a `jsonb` value.
pub fn jsonb_text<'a>(reader: &mut Reader<'a>) -> SqlResult<&'a str> {
    match reader.u8()? {
        JSONB_VERSION => text::decode_utf8(reader.take_rest()),
        version => Err(SqlError::internal(format!("unsupported jsonb version number {version}"))),
    }
}

/// Days since 1970 from days since 2000.
pub fn date_from_wire(days: i32) -> SqlResult<i32> {
    match days {
        i32::MIN | i32::MAX => Ok(days),
        _ => days
            .checked_add(POSTGRES_EPOCH_DAYS)
            .filter(|days| (DATE_MIN..=DATE_MAX).contains(days))
            .ok_or_else(|| value_out_of_range("date")),
    }
}

/// Microseconds since 1970 from microseconds since 2000.
pub fn timestamp_from_wire(us: i64) -> SqlResult<i64> {
    match us {
        i64::MIN | i64::MAX => Ok(us),
        _ => us
            .checked_add(POSTGRES_EPOCH_US)
            .filter(|us| *us >= TIMESTAMP_MIN && *us != i64::MAX)
            .ok_or_else(|| value_out_of_range("timestamp")),
    }
}

/// Days since 2000 from days since 1970.
pub fn date_to_wire(days: i32) -> SqlResult<i32> {
    match days {
        i32::MIN | i32::MAX => Ok(days),
        _ => days
            .checked_sub(POSTGRES_EPOCH_DAYS)
            .filter(|days| *days != i32::MIN)
            .ok_or_else(|| value_out_of_range("date")),
    }
}

/// Microseconds since 2000 from microseconds since 1970.
pub fn timestamp_to_wire(us: i64) -> SqlResult<i64> {
    match us {
        i64::MIN | i64::MAX => Ok(us),
        _ => us
            .checked_sub(POSTGRES_EPOCH_US)
            .filter(|us| *us != i64::MIN)
            .ok_or_else(|| value_out_of_range("timestamp")),
    }
}

fn check_time(us: i64) -> SqlResult<i64> {
    if (0..=US_PER_DAY).contains(&us) { Ok(us) } else { Err(value_out_of_range("time")) }
}

fn read_timetz(reader: &mut Reader<'_>, typmod: i32) -> SqlResult<Timetz> {
    let time_us = round_time(check_time(reader.i64()?)?, typmod);
    let west_seconds = reader.i32()?;
    if west_seconds <= -OFFSET_SECONDS_END || west_seconds >= OFFSET_SECONDS_END {
        let message = "time zone displacement out of range";
        return Err(SqlError::new(sqlstate::INVALID_TIME_ZONE_DISPLACEMENT, message));
    }
    Ok(Timetz { time_us, offset_seconds: -west_seconds })
}

/// Reads an interval.
pub fn read_interval(reader: &mut Reader<'_>) -> SqlResult<Interval> {
    let micros = reader.i64()?;
    let days = reader.i32()?;
    Ok(Interval { months: reader.i32()?, days, micros })
}

/// What comes before the elements of an array: their type, the dimensions, and how many there are.
fn read_array_header(
    reader: &mut Reader<'_>,
    pg_type: &PgType,
) -> SqlResult<(PgType, Vec<Dimension>, usize)> {
    let invalid = |message: String| SqlError::new(sqlstate::INVALID_BINARY_REPRESENTATION, message);
    let element = element_type_of(pg_type).unwrap_or(PgType::TEXT);
    let dimension_count = reader.i32()?;
    let dimension_count = usize::try_from(dimension_count)
        .map_err(|_| invalid(format!("invalid number of dimensions: {dimension_count}")))?;
    if dimension_count > array::DIMENSIONS_MAX {
        return Err(array::too_many_dimensions(dimension_count));
    }
    if !matches!(reader.i32()?, 0 | 1) {
        return Err(invalid("invalid array flags".to_owned()));
    }
    let element_oid = reader.u32()?;
    if element_oid != element.oid() {
        return Err(wrong_element_type(element_oid, &element));
    }
    let mut dimensions = Vec::with_capacity(dimension_count);
    for _ in 0..dimension_count {
        let dimension = Dimension { length: reader.i32()?, lower_bound: reader.i32()? };
        if dimension.lower_bound.checked_add(dimension.length).is_none() {
            let message = format!("array lower bound is too large: {}", dimension.lower_bound);
            return Err(SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
        }
        dimensions.push(dimension);
    }
    let count = array::element_count(&dimensions)?;
    Ok((element, dimensions, count))
}

fn read_array(reader: &mut Reader<'_>, pg_type: &PgType, typmod: i32) -> SqlResult<ArrayDatum> {
    let (element, mut dimensions, count) = read_array_header(reader, pg_type)?;
    if count == 0 {
        // A vector has its one dimension also when nothing is in it.
        let kept = usize::from(family(pg_type) == Family::Vector);
        dimensions.truncate(kept);
        return Ok(ArrayDatum { element, dimensions, values: Vec::new() });
    }
    let mut values = Vec::new();
    for at in 0..count {
        values.push(read_element(reader, &element, typmod, at + 1)?);
    }
    Ok(ArrayDatum { element, dimensions, values })
}

/// The elements of an array in their binary form, whatever its dimensions.
pub fn array_fields<'a>(bytes: &'a [u8], pg_type: &PgType) -> SqlResult<Vec<Option<&'a [u8]>>> {
    let mut reader = Reader::new(bytes);
    let (_, _, count) = read_array_header(&mut reader, pg_type)?;
    // Each element has a length of four bytes.
    let mut fields = Vec::with_capacity(count.min(reader.rest.len() / 4));
    for _ in 0..count {
        fields.push(read_element_field(&mut reader)?);
    }
    reader.finish()?;
    Ok(fields)
}

fn wrong_element_type(element_oid: u32, expected: &PgType) -> SqlError {
    let name = |pg_type: Option<&PgType>| pg_type.map_or("???".to_owned(), super::types::format_type);
    let message = format!(
        "binary data has array element type {element_oid} ({}) instead of expected {} ({})",
        name(PgType::from_oid(element_oid).as_ref()),
        expected.oid(),
        name(Some(expected))
    );
    SqlError::new(sqlstate::DATATYPE_MISMATCH, message)
}

fn read_element_field<'a>(reader: &mut Reader<'a>) -> SqlResult<Option<&'a [u8]>> {
    let len = match reader.i32()? {
        -1 => return Ok(None),
        len => usize::try_from(len).ok().filter(|len| *len <= reader.rest.len()).ok_or_else(|| {
            let message = "insufficient data left in message";
            SqlError::new(sqlstate::INVALID_BINARY_REPRESENTATION, message)
        })?,
    };
    reader.take(len).map(Some)
}

/// Reads an element; its place counts from 1.
fn read_element(reader: &mut Reader<'_>, element: &PgType, typmod: i32, place: usize) -> SqlResult<Datum> {
    let Some(bytes) = read_element_field(reader)? else { return Ok(Datum::Null) };
    let mut field = Reader::new(bytes);
    let datum = read(&mut field, element, typmod)?;
    field.finish().map_err(|_| {
        let message = format!("improper binary format in array element {place}");
        SqlError::new(sqlstate::INVALID_BINARY_REPRESENTATION, message)
    })?;
    Ok(datum)
}

/// Writes a value of a type; nothing for NULL.
pub fn write_binary(out: &mut BytesMut, datum: &Datum, pg_type: &PgType) -> SqlResult<()> {
    match datum {
        Datum::Null | Datum::Void => {}
        Datum::Bool(value) => out.put_u8(u8::from(*value)),
        Datum::Char(value) => out.put_u8(*value),
        Datum::Int2(value) => out.put_i16(*value),
        Datum::Int4(value) => out.put_i32(*value),
        Datum::Int8(value) => out.put_i64(*value),
        Datum::Float4(value) => out.put_f32(*value),
        Datum::Float8(value) => out.put_f64(*value),
        Datum::Numeric(value) => wire::write(out, value),
        Datum::Oid(value) | Datum::Reg(value, _) => out.put_u32(*value),
        Datum::Text(value) | Datum::Json(value) | Datum::Jsonb(value) => {
            if family(pg_type) == Family::Jsonb {
                out.put_u8(JSONB_VERSION);
            }
            out.extend_from_slice(value.as_bytes());
        }
        Datum::Bytea(value) => out.extend_from_slice(value),
        Datum::Date(days) => out.put_i32(date_to_wire(*days)?),
        Datum::Time(us) => out.put_i64(*us),
        Datum::Timetz(value) => {
            out.put_i64(value.time_us);
            out.put_i32(-value.offset_seconds);
        }
        Datum::Timestamp(us) | Datum::Timestamptz(us) => out.put_i64(timestamp_to_wire(*us)?),
        Datum::Interval(value) => write_interval(out, value),
        Datum::Uuid(value) => out.extend_from_slice(value),
        Datum::Array(value) => return write_array(out, value),
        Datum::Record(fields) => {
            out.put_i32(count_i32(fields.len()));
            for (field_type, field) in fields {
                out.put_u32(field_type.oid());
                write_field(out, field, field_type)?;
            }
        }
    }
    Ok(())
}

/// Writes an interval.
pub fn write_interval(out: &mut BytesMut, value: &Interval) {
    out.put_i64(value.micros);
    out.put_i32(value.days);
    out.put_i32(value.months);
}

fn write_array(out: &mut BytesMut, array: &ArrayDatum) -> SqlResult<()> {
    let has_null = array.values.iter().any(Datum::is_null);
    write_array_header(out, &array.dimensions, has_null, &array.element);
    array.values.iter().try_for_each(|value| write_field(out, value, &array.element))
}

/// Writes what comes before the elements of an array.
pub fn write_array_header(out: &mut BytesMut, dimensions: &[Dimension], has_null: bool, element: &PgType) {
    out.put_i32(count_i32(dimensions.len()));
    out.put_i32(i32::from(has_null));
    out.put_u32(element.oid());
    for dimension in dimensions {
        out.put_i32(dimension.length);
        out.put_i32(dimension.lower_bound);
    }
}

fn count_i32(count: usize) -> i32 {
    i32::try_from(count).expect("arrays and records have fewer parts than a message has bytes")
}

/// Writes the length of a value and the value; -1 for NULL.
pub fn write_field(out: &mut BytesMut, datum: &Datum, pg_type: &PgType) -> SqlResult<()> {
    if datum.is_null() {
        out.put_i32(-1);
        return Ok(());
    }
    with_length(out, |out| write_binary(out, datum, pg_type))
}

/// Writes what `write` writes, and before it how many bytes that are.
pub fn with_length(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut) -> SqlResult<()>) -> SqlResult<()> {
    let start = out.len();
    out.put_i32(0);
    write(out)?;
    let Ok(len) = i32::try_from(out.len() - start - 4) else {
        return Err(SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "value is too large to be sent"));
    };
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
    Ok(())
}
