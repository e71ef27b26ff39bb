//! Prometheus' remote write, versions 1.0 and 2.0, as a source of rows.
//!
//! | in Prometheus | here |
//! | --- | --- |
//! | a metric | a collection of its name |
//! | a label | a tag of its name; of `label_time` and `label_value` for `time` and `value`, and so on |
//! | a sample | a row: `time` in µs, of which the milliseconds are kept, and `value` |
//! | a stale marker | a row whose `value` is NULL |
//!
//! A name that is too long is cut, and ends in a digest of all of it. A label without a value is as
//! good as none. What is not stored: exemplars and metadata, in silence; native histograms, which are
//! rejected.
//!
//! The two versions differ in how a series names its labels: the first has them within, the second
//! as references into a table of texts. From there on both are the same: the key of a series is its
//! labels as the first version writes them.

use std::borrow::Cow;

use bytes::Bytes;
use prost::encoding::{WireType, decode_varint, encode_key, encode_varint, encoded_len_varint, key_len};
use prost::{DecodeError, Message};
use tidemark_catalog::types::ColumnType;

use crate::ingest::fields::{FieldError, Value};
use crate::ingest::names::fitting;
use crate::ingest::rows::{Described, Gatherer, RowFailure, RowSeries};
use crate::ingest::table::TIME_COLUMN;
use crate::ingest::{Refused, RowError, Source};
use crate::protobuf::{Field, fields, malformed, repeated};

/// The label that names the metric.
const METRIC: &str = "__name__";

/// The column of a sample's value.
const VALUE_COLUMN: &str = "value";

/// What a label's name is given in front when a column has it that is no label.
const LABEL_PREFIX: &str = "label_";

/// What keys of series begin with: no line does.
const KEY_PREFIX: &[u8] = b"\nP";

/// The labels of all series of a request of the second version, written out: a reference of one byte
/// can stand for a text of any length.
const KEY_BYTES_MAX: usize = 64 << 20;

/// The not-a-number by which Prometheus says that a series has ended.
const STALE_MARKER: u64 = 0x7ff0_0000_0000_0002;

const MILLISECOND_NS: i64 = 1_000_000;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// `prometheus.WriteRequest`
    V1,
    /// `io.prometheus.write.v2.Request`
    V2,
}

/// The tags of fields in messages.
mod tag {
    pub(super) const V1_TIME_SERIES: u32 = 1;
    pub(super) const V1_LABELS: u32 = 1;
    pub(super) const V1_SAMPLES: u32 = 2;
    pub(super) const V1_HISTOGRAMS: u32 = 4;
    pub(super) const LABEL_NAME: u32 = 1;
    pub(super) const LABEL_VALUE: u32 = 2;
    pub(super) const V2_SYMBOLS: u32 = 4;
    pub(super) const V2_TIME_SERIES: u32 = 5;
    pub(super) const V2_LABELS_REFS: u32 = 1;
    pub(super) const V2_SAMPLES: u32 = 2;
    pub(super) const V2_HISTOGRAMS: u32 = 3;
}

/// A sample; it is the same in both versions.
#[derive(Clone, Copy, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

/// A request.
#[derive(Debug)]
pub struct WriteRequest {
    /// The message.
    pub body: Bytes,
    /// Of which version.
    pub version: Version,
}

impl Source for WriteRequest {
    fn gather<'b>(&'b self, rows: &mut Gatherer<'_, 'b>) -> Result<(), Refused> {
        let mut key = Vec::new();
        match self.version {
            Version::V1 => {
                for series in repeated(&self.body, tag::V1_TIME_SERIES) {
                    let series = series.map_err(|error| malformed(&error))?;
                    let found = first_key(series, &mut key).map_err(|error| malformed(&error))?;
                    let samples = repeated(series, tag::V1_SAMPLES);
                    gather_series(rows, &key, Ok(()), samples)?;
                    reject_histograms(rows, &key, found.histogram_count);
                }
            }
            Version::V2 => {
                let symbols = repeated(&self.body, tag::V2_SYMBOLS).collect::<Result<Vec<&[u8]>, _>>();
                let symbols = symbols.map_err(|error| malformed(&error))?;
                let mut key_bytes = 0;
                for series in repeated(&self.body, tag::V2_TIME_SERIES) {
                    let series = series.map_err(|error| malformed(&error))?;
                    let found = second_key(series, &symbols, &mut key).map_err(|error| malformed(&error))?;
                    key_bytes += key.len();
                    if key_bytes > KEY_BYTES_MAX {
                        let message = "the labels of all series are too long (send fewer at a time)";
                        return Err(Refused::TooLarge(message.to_owned()));
                    }
                    let samples = repeated(series, tag::V2_SAMPLES);
                    gather_series(rows, &key, found.labels, samples)?;
                    reject_histograms(rows, &key, found.histogram_count);
                }
            }
        }
        Ok(())
    }
}

/// What a series has besides its samples.
struct Found {
    labels: Result<(), &'static str>,
    histogram_count: usize,
}

/// The key of a series of the first version: its labels as they are.
fn first_key(series: &[u8], key: &mut Vec<u8>) -> Result<Found, DecodeError> {
    key.clear();
    key.extend_from_slice(KEY_PREFIX);
    let mut histogram_count = 0;
    for field in fields(series) {
        match field? {
            (tag::V1_LABELS, Field::Bytes(label)) => put_bytes(key, tag::V1_LABELS, label),
            (tag::V1_HISTOGRAMS, Field::Bytes(_)) => histogram_count += 1,
            _ => {}
        }
    }
    Ok(Found { labels: Ok(()), histogram_count })
}

/// The key of a series of the second version: its labels as the first version has them.
fn second_key(series: &[u8], symbols: &[&[u8]], key: &mut Vec<u8>) -> Result<Found, DecodeError> {
    key.clear();
    key.extend_from_slice(KEY_PREFIX);
    let (mut name, mut labels, mut histogram_count) = (None, Ok(()), 0);
    let mut put = |reference: u64| {
        let symbol = usize::try_from(reference).ok().and_then(|at| symbols.get(at));
        match (symbol, name.take()) {
            (None, _) => labels = Err("a reference to a text that the request does not have"),
            (Some(symbol), None) => name = Some(*symbol),
            (Some(value), Some(name)) if key.len() < KEY_BYTES_MAX => put_label(key, name, value),
            (Some(_), Some(_)) => labels = Err("its labels are too long"),
        }
    };
    for field in fields(series) {
        match field? {
            (tag::V2_LABELS_REFS, Field::Varint(reference)) => put(reference),
            (tag::V2_LABELS_REFS, Field::Bytes(mut packed)) => {
                while !packed.is_empty() {
                    put(decode_varint(&mut packed)?);
                }
            }
            (tag::V2_HISTOGRAMS, Field::Bytes(_)) => histogram_count += 1,
            _ => {}
        }
    }
    if name.is_some() && labels.is_ok() {
        labels = Err("a label has no value");
    }
    Ok(Found { labels, histogram_count })
}

fn put_bytes(out: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn put_label(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let len = |bytes: &[u8]| key_len(tag::LABEL_NAME) + encoded_len_varint(bytes.len() as u64) + bytes.len();
    encode_key(tag::V1_LABELS, WireType::LengthDelimited, out);
    encode_varint((len(name) + len(value)) as u64, out);
    put_bytes(out, tag::LABEL_NAME, name);
    put_bytes(out, tag::LABEL_VALUE, value);
}

/// The labels that a key stands for.
fn labels(key: &[u8]) -> impl Iterator<Item = Result<(&str, &str), String>> {
    repeated(&key[KEY_PREFIX.len()..], tag::V1_LABELS).map(|label| {
        let label = label.map_err(|error| error.to_string())?;
        let (mut name, mut value) = ("", "");
        for field in fields(label) {
            let text = |bytes| std::str::from_utf8(bytes).map_err(|_| "a label is no UTF-8".to_owned());
            match field.map_err(|error| error.to_string())? {
                (tag::LABEL_NAME, Field::Bytes(bytes)) => name = text(bytes)?,
                (tag::LABEL_VALUE, Field::Bytes(bytes)) => value = text(bytes)?,
                _ => {}
            }
        }
        Ok((name, value))
    })
}

/// What a series is that is not known.
fn describe(key: &[u8]) -> Result<Described, String> {
    let (mut metric, mut tags) = (None, Vec::new());
    for label in labels(key) {
        match label? {
            (METRIC, name) => {
                if metric.replace(name).is_some() {
                    return Err(format!("label \"{METRIC}\" is given twice"));
                }
            }
            (_, "") => {}
            (name, value) => tags.push((column_name(name).into_owned(), value.to_owned())),
        }
    }
    match metric {
        None | Some("") => Err(format!("label \"{METRIC}\" is missing")),
        Some(metric) => Ok(Described { collection: fitting(metric).into_owned(), tags }),
    }
}

/// The column of a label. Two labels never get the same.
fn column_name(label: &str) -> Cow<'_, str> {
    let mut bare = label;
    while let Some(rest) = bare.strip_prefix(LABEL_PREFIX) {
        bare = rest;
    }
    if bare == TIME_COLUMN || bare == VALUE_COLUMN {
        return Cow::Owned(format!("{LABEL_PREFIX}{label}"));
    }
    fitting(label)
}

/// Gathers the samples of a series; where the series is not right, all of them are rejected.
fn gather_series<'a>(
    rows: &mut Gatherer<'_, '_>,
    key: &[u8],
    labels: Result<(), &'static str>,
    samples: impl Iterator<Item = Result<&'a [u8], DecodeError>>,
) -> Result<(), Refused> {
    let mark = rows.mark();
    let mut samples = samples.peekable();
    if samples.peek().is_none() {
        return Ok(());
    }
    let found = match (labels, rows.find(key)) {
        (Err(reason), _) => Err(reason.to_owned()),
        (Ok(()), Some(found)) => Ok(found),
        (Ok(()), None) => describe(key).and_then(|it| rows.add(Cow::Owned(key.to_vec()), it)),
    };
    match found {
        Ok((table, series)) => {
            for sample in samples {
                let sample = sample.and_then(Sample::decode).map_err(|error| malformed(&error))?;
                let mark = rows.mark();
                match gather_sample(rows, table, series, sample) {
                    Ok(()) => {}
                    Err(RowFailure::Request(refused)) => return Err(refused),
                    Err(RowFailure::Row(reason)) => rows.reject(mark, Some(table), error(key, &reason))?,
                }
            }
        }
        Err(reason) => {
            rows.reject(mark, None, error(key, &reason))?;
            rows.reject_more(samples.count() - 1);
        }
    }
    Ok(())
}

fn gather_sample<'k>(
    rows: &mut Gatherer<'k, '_>,
    table: usize,
    series: RowSeries<'k>,
    sample: Sample,
) -> Result<(), RowFailure> {
    let of_table = rows.table_mut(table);
    of_table.begin_row();
    let value = match sample.value.to_bits() {
        STALE_MARKER => Value::Missing(ColumnType::Float8),
        _ => Value::Float(sample.value),
    };
    let name = || Ok(Cow::Borrowed(VALUE_COLUMN));
    of_table.set(VALUE_COLUMN.as_bytes(), name, &value).map_err(|error| match error {
        FieldError::Wrong(reason) => reason,
        FieldError::Twice => unreachable!("a sample has one value"),
    })?;
    let time = of_table.time(sample.timestamp, MILLISECOND_NS)?;
    rows.end_row(table, series, time)
}

fn reject_histograms(rows: &mut Gatherer<'_, '_>, key: &[u8], count: usize) {
    if count > 0 {
        rows.reject_other(error(key, "native histograms are not supported"));
        rows.reject_more(count - 1);
    }
}

/// An error of a series, by the name of its metric.
fn error(key: &[u8], reason: &str) -> RowError {
    let metric = labels(key).flatten().find(|(name, _)| *name == METRIC);
    let reason = match metric {
        Some((_, name)) => format!("metric \"{}\": {reason}", fitting(name)),
        None => reason.to_owned(),
    };
    RowError { line: None, reason, text: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_write_a_series_alike() {
        let label = [&[0x0a, 1][..], b"a", &[0x12, 2], b"bc"].concat();
        let first = [&[0x0a, label.len() as u8][..], &label].concat();
        let second = [0x0a, 2, 1, 2];
        let (mut one, mut other) = (Vec::new(), Vec::new());
        first_key(&first, &mut one).unwrap();
        second_key(&second, &[b"", b"a", b"bc"], &mut other).unwrap();
        assert_eq!(one, other);
        assert_eq!(labels(&one).collect::<Result<Vec<_>, _>>().unwrap(), [("a", "bc")]);
    }

    #[test]
    fn labels_never_meet_the_columns_of_samples() {
        let cases = [
            ("job", "job"),
            ("time", "label_time"),
            ("value", "label_value"),
            ("label_time", "label_label_time"),
            ("label_label_value", "label_label_label_value"),
            ("label_job", "label_job"),
            ("values", "values"),
        ];
        for (label, column) in cases {
            assert_eq!(column_name(label), column, "{label}");
        }
    }
}
