//! Data points: what they say, each a row.

use std::borrow::Cow;

use prost::DecodeError;
use prost::encoding::decode_varint;
use tidemark_catalog::types::{ColumnType, TimeUnit};

use crate::ingest::fields::Value;
use crate::ingest::table::Table;
use crate::otlp::logs::set;
use crate::otlp::{count, instant};
use crate::protobuf::{Field, fields, repeated};

/// The kinds of metrics, with the tags of their points' fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Gauge,
    Sum,
    Histogram,
    Exponential,
    Summary,
}

/// Of the flags of a point: it says that there is no value any more.
const NO_RECORDED_VALUE: u64 = 1;

/// What a metric says of all its points.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common<'a> {
    pub(super) kind: Kind,
    pub(super) unit: &'a str,
    pub(super) temporality: Option<&'static str>,
    pub(super) is_monotonic: bool,
}

/// A point, where it lies.
#[derive(Clone, Debug, Default)]
pub(super) struct Point<'a> {
    pub(super) time: u64,
    start_time: u64,
    flags: u64,
    value: Option<f64>,
    count: u64,
    sum: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    bucket_counts: Vec<u64>,
    bucket_bounds: Vec<f64>,
    scale: i64,
    zero_count: u64,
    zero_threshold: f64,
    positive: &'a [u8],
    negative: &'a [u8],
    quantiles: Vec<f64>,
    quantile_values: Vec<f64>,
}

impl Kind {
    /// The tag of a point's attributes.
    pub(super) fn attributes_tag(self) -> u32 {
        match self {
            Kind::Gauge | Kind::Sum | Kind::Summary => 7,
            Kind::Histogram => 9,
            Kind::Exponential => 1,
        }
    }
}

impl<'a> Point<'a> {
    pub(super) fn read(kind: Kind, message: &'a [u8]) -> Result<Point<'a>, String> {
        let mut point = Point::default();
        let float = f64::from_bits;
        for field in fields(message) {
            match (kind, field.map_err(|error| error.to_string())?) {
                (_, (2, Field::Fixed64(time))) => point.start_time = time,
                (_, (3, Field::Fixed64(time))) => point.time = time,
                (Kind::Gauge | Kind::Sum, (4, Field::Fixed64(bits))) => point.value = Some(float(bits)),
                (Kind::Gauge | Kind::Sum, (6, Field::Fixed64(bits))) => {
                    point.value = Some(bits.cast_signed() as f64);
                }
                (Kind::Gauge | Kind::Sum | Kind::Summary, (8, Field::Varint(flags)))
                | (Kind::Histogram | Kind::Exponential, (10, Field::Varint(flags))) => point.flags = flags,
                (_, (4, Field::Fixed64(count))) => point.count = count,
                (_, (5, Field::Fixed64(bits))) => point.sum = Some(float(bits)),
                (Kind::Histogram, (6, list)) => fixed64s(list, |bits| point.bucket_counts.push(bits))?,
                (Kind::Histogram, (7, list)) => fixed64s(list, |bits| point.bucket_bounds.push(float(bits)))?,
                (Kind::Histogram, (11, Field::Fixed64(bits)))
                | (Kind::Exponential, (12, Field::Fixed64(bits))) => point.min = Some(float(bits)),
                (Kind::Histogram, (12, Field::Fixed64(bits)))
                | (Kind::Exponential, (13, Field::Fixed64(bits))) => point.max = Some(float(bits)),
                (Kind::Exponential, (6, Field::Varint(zigzag))) => point.scale = from_zigzag(zigzag),
                (Kind::Exponential, (7, Field::Fixed64(count))) => point.zero_count = count,
                (Kind::Exponential, (8, Field::Bytes(buckets))) => point.positive = buckets,
                (Kind::Exponential, (9, Field::Bytes(buckets))) => point.negative = buckets,
                (Kind::Exponential, (14, Field::Fixed64(bits))) => point.zero_threshold = float(bits),
                (Kind::Summary, (6, Field::Bytes(quantile))) => point.add_quantile(quantile)?,
                _ => {}
            }
        }
        Ok(point)
    }

    fn add_quantile(&mut self, message: &[u8]) -> Result<(), String> {
        let (mut quantile, mut value) = (0.0, 0.0);
        for field in fields(message) {
            match field.map_err(|error| error.to_string())? {
                (1, Field::Fixed64(bits)) => quantile = f64::from_bits(bits),
                (2, Field::Fixed64(bits)) => value = f64::from_bits(bits),
                _ => {}
            }
        }
        self.quantiles.push(quantile);
        self.quantile_values.push(value);
        Ok(())
    }

    /// Gives the row its fields.
    pub(super) fn set_fields(&self, table: &mut Table<'_, '_>, common: Common<'_>) -> Result<(), String> {
        let is_recorded = self.flags & NO_RECORDED_VALUE == 0;
        let timestamptz = || Value::Missing(ColumnType::Timestamptz(TimeUnit::Nanosecond));
        set(table, "start_time", &instant(self.start_time)?.map_or_else(timestamptz, Value::Instant))?;
        set(table, "unit", &symbol(common.unit))?;
        match common.kind {
            Kind::Gauge => set(table, "value", &float(self.value.filter(|_| is_recorded))),
            Kind::Sum => {
                set(table, "value", &float(self.value.filter(|_| is_recorded)))?;
                set(table, "temporality", &symbol(common.temporality.unwrap_or_default()))?;
                set(table, "is_monotonic", &Value::Bool(common.is_monotonic))
            }
            Kind::Histogram => {
                self.set_distribution(table, common, is_recorded)?;
                self.set_buckets(table, is_recorded)
            }
            Kind::Exponential => {
                self.set_distribution(table, common, is_recorded)?;
                self.set_exponential_buckets(table, is_recorded)
            }
            Kind::Summary => {
                set(table, "count", &integer(is_recorded.then(|| count(self.count)).transpose()?))?;
                set(table, "sum", &float(is_recorded.then(|| self.sum.unwrap_or_default())))?;
                set(table, "quantiles", &floats(&self.quantiles, is_recorded))?;
                set(table, "quantile_values", &floats(&self.quantile_values, is_recorded))
            }
        }
    }

    fn set_distribution(
        &self,
        table: &mut Table<'_, '_>,
        common: Common<'_>,
        is_recorded: bool,
    ) -> Result<(), String> {
        set(table, "temporality", &symbol(common.temporality.unwrap_or_default()))?;
        set(table, "count", &integer(is_recorded.then(|| count(self.count)).transpose()?))?;
        set(table, "sum", &float(self.sum.filter(|_| is_recorded)))?;
        set(table, "min", &float(self.min.filter(|_| is_recorded)))?;
        set(table, "max", &float(self.max.filter(|_| is_recorded)))
    }

    fn set_buckets(&self, table: &mut Table<'_, '_>, is_recorded: bool) -> Result<(), String> {
        let (counts, bounds) = (self.bucket_counts.len(), self.bucket_bounds.len());
        if counts != bounds + 1 && (counts, bounds) != (0, 0) {
            return Err(format!("{counts} buckets do not go with {bounds} bounds"));
        }
        set(table, "bucket_bounds", &floats(&self.bucket_bounds, is_recorded))?;
        set(table, "bucket_counts", &integers(&counts_of(&self.bucket_counts)?, is_recorded))
    }

    fn set_exponential_buckets(&self, table: &mut Table<'_, '_>, is_recorded: bool) -> Result<(), String> {
        set(table, "scale", &integer(is_recorded.then_some(self.scale)))?;
        set(table, "zero_count", &integer(is_recorded.then(|| count(self.zero_count)).transpose()?))?;
        set(table, "zero_threshold", &float(is_recorded.then_some(self.zero_threshold)))?;
        let (offset, counts) = buckets(self.positive)?;
        set(table, "positive_offset", &integer(is_recorded.then_some(offset)))?;
        set(table, "positive_counts", &integers(&counts, is_recorded))?;
        let (offset, counts) = buckets(self.negative)?;
        set(table, "negative_offset", &integer(is_recorded.then_some(offset)))?;
        set(table, "negative_counts", &integers(&counts, is_recorded))
    }
}

fn float(value: Option<f64>) -> Value<'static> {
    value.map_or(Value::Missing(ColumnType::Float8), Value::Float)
}

fn integer(value: Option<i64>) -> Value<'static> {
    value.map_or(Value::Missing(ColumnType::Int8), Value::Integer)
}

fn floats(values: &[f64], is_recorded: bool) -> Value<'_> {
    let missing = || Value::Missing(ColumnType::Array(Box::new(ColumnType::Float8)));
    if is_recorded { Value::Floats(values) } else { missing() }
}

fn integers(values: &[i64], is_recorded: bool) -> Value<'_> {
    let missing = || Value::Missing(ColumnType::Array(Box::new(ColumnType::Int8)));
    if is_recorded { Value::Integers(values) } else { missing() }
}

/// Text that repeats; where it is empty, none.
pub(super) fn symbol(text: &str) -> Value<'_> {
    match text {
        "" => Value::Missing(ColumnType::Symbol),
        text => Value::Symbol(Cow::Borrowed(text)),
    }
}

fn counts_of(counts: &[u64]) -> Result<Vec<i64>, String> {
    counts.iter().map(|value| count(*value)).collect()
}

/// The offset and the counts of exponential buckets.
fn buckets(message: &[u8]) -> Result<(i64, Vec<i64>), String> {
    let (mut offset, mut counts) = (0, Vec::new());
    for field in fields(message) {
        match field.map_err(|error| error.to_string())? {
            (1, Field::Varint(zigzag)) => offset = from_zigzag(zigzag),
            (2, Field::Varint(value)) => counts.push(count(value)?),
            (2, Field::Bytes(mut packed)) => {
                while !packed.is_empty() {
                    let value = decode_varint(&mut packed).map_err(|error: DecodeError| error.to_string())?;
                    counts.push(count(value)?);
                }
            }
            _ => {}
        }
    }
    Ok((offset, counts))
}

/// Numbers of eight bytes, one after the other or one for itself.
fn fixed64s(list: Field<'_>, mut take: impl FnMut(u64)) -> Result<(), String> {
    match list {
        Field::Fixed64(bits) => take(bits),
        Field::Bytes(packed) => {
            let (numbers, rest) = packed.as_chunks::<8>();
            if !rest.is_empty() {
                return Err("a list of numbers is cut".to_owned());
            }
            numbers.iter().for_each(|bytes| take(u64::from_le_bytes(*bytes)));
        }
        _ => {}
    }
    Ok(())
}

fn from_zigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// How many points a message has by their tag.
pub(super) fn count_points(message: &[u8], tag: u32) -> usize {
    repeated(message, tag).filter(Result::is_ok).count()
}
