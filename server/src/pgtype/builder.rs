//! Text, binary and single values to Arrow columns: the way of COPY IN, of INSERT and of parameters.
//!
//! A [`ColumnBuilder`] makes the array that a column has in a write batch. What it is given is read
//! straight into the array's buffers; only texts in unusual forms, `json`, and values that need a cast
//! go by way of a [`Datum`].
//!
//! A value that is refused leaves the builder as it was.

mod append;
mod list;
mod many;

pub use many::ColumnFault;

use arrow::array::{
    ArrayBuilder, ArrayRef, BinaryViewBuilder, BooleanBuilder, Date32Builder, Decimal128Builder,
    Decimal256Builder, FixedSizeBinaryBuilder, Float32Builder, Float64Builder, Int16Builder, Int32Builder,
    Int64Builder, IntervalMonthDayNanoBuilder, StringViewBuilder, TimestampMicrosecondBuilder,
    TimestampNanosecondBuilder,
};
use arrow::datatypes::DataType;
use tidemark_catalog::types::{ColumnType, TimeUnit};
use tidemark_engine::types::read_type;

use self::list::ListBuilder;
use super::PgType;
use super::binary;
use super::cast::{self, CastError};
use super::datum::Datum;
use super::decimal::Target;
use super::settings::FormatSettings;
use super::types::{column_pg_type, column_typmod, family};
use crate::error::SqlResult;

/// Bytes of a view of a text or of bytes.
const VIEW_LEN: usize = 16;

/// A column in the making.
#[derive(Debug)]
pub struct ColumnBuilder {
    column_type: ColumnType,
    pg_type: PgType,
    typmod: i32,
    values: Values,
    row_count: usize,
    /// What values that do not lie in the array itself take.
    payload_bytes: usize,
}

/// What a text must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TextRule {
    Any,
    /// At most so many characters, besides blanks.
    Limit(usize),
    Json,
    Jsonb,
}

/// Whose clock a timestamp is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clock {
    /// `timestamp`
    Local,
    /// `timestamptz`
    Utc,
}

#[derive(Debug)]
enum Values {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Decimal128(Decimal128Builder, Target),
    Decimal256(Decimal256Builder, Target),
    Text(StringViewBuilder, TextRule),
    Bytea(BinaryViewBuilder),
    Date(Date32Builder),
    Micros(TimestampMicrosecondBuilder, Clock),
    Nanos(TimestampNanosecondBuilder, Clock),
    Interval(IntervalMonthDayNanoBuilder),
    Uuid(FixedSizeBinaryBuilder),
    List(Box<ListBuilder>),
}

impl ColumnBuilder {
    /// For a column of a type, with room for so many rows. The symbols of a `SYMBOL` column are
    /// texts here.
    pub fn new(column_type: &ColumnType, row_count: usize) -> ColumnBuilder {
        ColumnBuilder {
            column_type: column_type.clone(),
            pg_type: column_pg_type(column_type),
            typmod: column_typmod(column_type),
            values: Values::new(column_type, row_count),
            row_count: 0,
            payload_bytes: 0,
        }
    }

    /// The type that clients see for the column.
    pub fn pg_type(&self) -> &PgType {
        &self.pg_type
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.row_count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.row_count == 0
    }

    /// How much memory the values take, not counting room that is not used yet.
    pub fn memory_bytes(&self) -> usize {
        let inner = match &self.values {
            Values::List(list) => list.memory_bytes(),
            _ => 0,
        };
        self.row_count * self.values.width() + self.payload_bytes + inner
    }

    /// Adds a row without a value.
    pub fn append_null(&mut self) {
        self.values.append_null();
        self.row_count += 1;
    }

    /// Counts a row whose value takes so much besides its place in the array.
    fn count_row(&mut self, payload_bytes: usize) {
        self.row_count += 1;
        self.payload_bytes += payload_bytes;
    }

    /// Adds a value given as text.
    pub fn append_text(&mut self, text: &str, settings: &FormatSettings) -> SqlResult<()> {
        let payload_bytes = self.values.append_text(text, settings)?;
        self.count_row(payload_bytes);
        Ok(())
    }

    /// Adds a value given in the binary form of a type. A type other than the column's is cast.
    pub fn append_binary(
        &mut self,
        bytes: &[u8],
        sender_type: &PgType,
        settings: &FormatSettings,
    ) -> Result<(), CastError> {
        if family(sender_type) == family(&self.pg_type)
            && let Some(payload_bytes) = self.values.append_binary(bytes)?
        {
            self.count_row(payload_bytes);
            return Ok(());
        }
        let datum = binary::parse_binary(bytes, sender_type, super::types::NO_TYPMOD)?;
        self.append_datum(&datum, settings)
    }

    /// Adds a value, cast as an assignment casts.
    pub fn append_datum(&mut self, datum: &Datum, settings: &FormatSettings) -> Result<(), CastError> {
        if datum.is_null() {
            self.append_null();
            return Ok(());
        }
        let payload_bytes = match self.values.append_exact(datum, settings)? {
            Some(payload_bytes) => payload_bytes,
            None => {
                let assigned = cast::assign(datum.clone(), &self.pg_type, self.typmod, settings)?;
                if assigned.is_null() {
                    self.append_null();
                    return Ok(());
                }
                self.values.append_exact(&assigned, settings)?.ok_or(CastError::NoCast)?
            }
        };
        self.count_row(payload_bytes);
        Ok(())
    }

    /// The array; the builder is empty then, with room for so many rows.
    pub fn finish_and_reserve(&mut self, row_count: usize) -> ArrayRef {
        let finished = self.finish();
        if row_count > 0 {
            self.values = Values::new(&self.column_type, row_count);
        }
        finished
    }

    /// The array; the builder is empty then.
    pub fn finish(&mut self) -> ArrayRef {
        (self.row_count, self.payload_bytes) = (0, 0);
        match &mut self.values {
            Values::List(list) => list.finish(),
            values => values.builder().expect("only lists have none").finish(),
        }
    }
}

impl Values {
    fn new(column_type: &ColumnType, row_count: usize) -> Values {
        let data_type = || read_type(column_type);
        match column_type {
            ColumnType::Bool => Values::Bool(BooleanBuilder::with_capacity(row_count)),
            ColumnType::Int2 => Values::Int2(Int16Builder::with_capacity(row_count)),
            ColumnType::Int4 => Values::Int4(Int32Builder::with_capacity(row_count)),
            ColumnType::Int8 => Values::Int8(Int64Builder::with_capacity(row_count)),
            ColumnType::Float4 => Values::Float4(Float32Builder::with_capacity(row_count)),
            ColumnType::Float8 => Values::Float8(Float64Builder::with_capacity(row_count)),
            ColumnType::Numeric(modifier) => match data_type() {
                data_type @ DataType::Decimal128(..) => Values::Decimal128(
                    Decimal128Builder::with_capacity(row_count).with_data_type(data_type),
                    Target::new(*modifier),
                ),
                data_type => Values::Decimal256(
                    Decimal256Builder::with_capacity(row_count).with_data_type(data_type),
                    Target::new(*modifier),
                ),
            },
            ColumnType::Text | ColumnType::Symbol | ColumnType::Varchar(None) => {
                Values::text(TextRule::Any, row_count)
            }
            ColumnType::Varchar(Some(limit)) => {
                Values::text(TextRule::Limit(usize::try_from(*limit).unwrap_or(usize::MAX)), row_count)
            }
            ColumnType::Json => Values::text(TextRule::Json, row_count),
            ColumnType::Jsonb => Values::text(TextRule::Jsonb, row_count),
            ColumnType::Bytea => Values::Bytea(BinaryViewBuilder::with_capacity(row_count)),
            ColumnType::Date => Values::Date(Date32Builder::with_capacity(row_count)),
            ColumnType::Timestamp(unit) => Values::timestamp(*unit, data_type(), Clock::Local, row_count),
            ColumnType::Timestamptz(unit) => Values::timestamp(*unit, data_type(), Clock::Utc, row_count),
            ColumnType::Interval => Values::Interval(IntervalMonthDayNanoBuilder::with_capacity(row_count)),
            ColumnType::Uuid => Values::Uuid(FixedSizeBinaryBuilder::with_capacity(row_count, 16)),
            ColumnType::Array(element) => Values::List(Box::new(ListBuilder::new(element, row_count))),
        }
    }

    fn text(rule: TextRule, row_count: usize) -> Values {
        Values::Text(StringViewBuilder::with_capacity(row_count), rule)
    }

    fn timestamp(unit: TimeUnit, data_type: DataType, clock: Clock, row_count: usize) -> Values {
        match unit {
            TimeUnit::Microsecond => {
                let builder = TimestampMicrosecondBuilder::with_capacity(row_count);
                Values::Micros(builder.with_data_type(data_type), clock)
            }
            TimeUnit::Nanosecond => {
                let builder = TimestampNanosecondBuilder::with_capacity(row_count);
                Values::Nanos(builder.with_data_type(data_type), clock)
            }
        }
    }

    /// What makes the array, unless it is one of lists.
    fn builder(&mut self) -> Option<&mut dyn ArrayBuilder> {
        Some(match self {
            Values::Bool(builder) => builder,
            Values::Int2(builder) => builder,
            Values::Int4(builder) => builder,
            Values::Int8(builder) => builder,
            Values::Float4(builder) => builder,
            Values::Float8(builder) => builder,
            Values::Decimal128(builder, _) => builder,
            Values::Decimal256(builder, _) => builder,
            Values::Text(builder, _) => builder,
            Values::Bytea(builder) => builder,
            Values::Date(builder) => builder,
            Values::Micros(builder, _) => builder,
            Values::Nanos(builder, _) => builder,
            Values::Interval(builder) => builder,
            Values::Uuid(builder) => builder,
            Values::List(_) => return None,
        })
    }

    /// What a row takes in the array itself.
    fn width(&self) -> usize {
        match self {
            Values::Bool(_) => 1,
            Values::Int2(_) => 2,
            Values::Int4(_) | Values::Float4(_) | Values::Date(_) | Values::List(_) => 4,
            Values::Int8(_) | Values::Float8(_) | Values::Micros(..) | Values::Nanos(..) => 8,
            Values::Decimal128(..) | Values::Interval(_) | Values::Uuid(_) => 16,
            Values::Text(..) | Values::Bytea(_) => VIEW_LEN,
            Values::Decimal256(..) => 32,
        }
    }

    fn append_null(&mut self) {
        match self {
            Values::Bool(builder) => builder.append_null(),
            Values::Int2(builder) => builder.append_null(),
            Values::Int4(builder) => builder.append_null(),
            Values::Int8(builder) => builder.append_null(),
            Values::Float4(builder) => builder.append_null(),
            Values::Float8(builder) => builder.append_null(),
            Values::Decimal128(builder, _) => builder.append_null(),
            Values::Decimal256(builder, _) => builder.append_null(),
            Values::Text(builder, _) => builder.append_null(),
            Values::Bytea(builder) => builder.append_null(),
            Values::Date(builder) => builder.append_null(),
            Values::Micros(builder, _) => builder.append_null(),
            Values::Nanos(builder, _) => builder.append_null(),
            Values::Interval(builder) => builder.append_null(),
            Values::Uuid(builder) => builder.append_null(),
            Values::List(list) => list.append_null(),
        }
    }
}
