//! Metrics, as rows of a collection for each.
//!
//! | in OpenTelemetry | here |
//! | --- | --- |
//! | a metric | a collection of its name, with `_` for every character that Prometheus does not have in names |
//! | an attribute of a point | a tag, of a name made in the same way |
//! | `service.name`, `service.namespace`, `service.instance.id` of the resource | tags |
//! | the name of the scope | the tag `scope_name` |
//! | all attributes of the resource | `resource_attributes`: JSON, as `SYMBOL`, because it repeats |
//! | the time, the start time | `time`, `start_time` |
//! | a number, whole or not | `value`, `double precision` |
//! | a histogram | `count`, `sum`, `min`, `max`, `bucket_bounds`, `bucket_counts` |
//! | an exponential histogram | the same, but for buckets: `scale`, `zero_count`, `zero_threshold`, `positive_offset`, `positive_counts`, `negative_offset`, `negative_counts` |
//! | a summary | `count`, `sum`, `quantiles`, `quantile_values` |
//! | unit, temporality, whether it is monotonic | `unit`, `temporality`, `is_monotonic` |
//!
//! An attribute that would have one of these names gets `attribute_` in front. Attributes whose names
//! become the same are joined by a semicolon, in the order of their own names, as OpenTelemetry's
//! rules for Prometheus say. A point without a recorded value is a row without one.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;

use crate::ingest::fields::Value;
use crate::ingest::names::fitting;
use crate::ingest::rows::{Described, Gatherer, RowFailure};
use crate::ingest::{Refused, RowError, Source};
use crate::otlp::instant;
use crate::otlp::logs::set;
use crate::otlp::points::{Common, Kind, Point, count_points};
use crate::otlp::resource::{Resource, scope_name};
use crate::otlp::value::{key_values, text, value_text};
use crate::protobuf::{Field, fields, last, malformed, repeated};

/// What keys of series begin with: no line does.
const KEY_PREFIX: &[u8] = b"\nM";

/// What an attribute's name is given in front when a column has it that is no attribute.
const ATTRIBUTE_PREFIX: &str = "attribute_";

/// Names of columns that no attribute has.
const RESERVED: [&str; 26] = [
    "time",
    "start_time",
    "value",
    "count",
    "sum",
    "min",
    "max",
    "bucket_bounds",
    "bucket_counts",
    "scale",
    "zero_count",
    "zero_threshold",
    "positive_offset",
    "positive_counts",
    "negative_offset",
    "negative_counts",
    "quantiles",
    "quantile_values",
    "unit",
    "temporality",
    "is_monotonic",
    "scope_name",
    "service_name",
    "service_namespace",
    "service_instance_id",
    "resource_attributes",
];

/// The tags of fields in messages.
mod tag {
    pub(super) const RESOURCE_METRICS: u32 = 1;
    pub(super) const RESOURCE: u32 = 1;
    pub(super) const SCOPE_METRICS: u32 = 2;
    pub(super) const SCOPE: u32 = 1;
    pub(super) const METRICS: u32 = 2;
    pub(super) const NAME: u32 = 1;
    pub(super) const UNIT: u32 = 3;
    pub(super) const GAUGE: u32 = 5;
    pub(super) const SUM: u32 = 7;
    pub(super) const HISTOGRAM: u32 = 9;
    pub(super) const EXPONENTIAL: u32 = 10;
    pub(super) const SUMMARY: u32 = 11;
    pub(super) const POINTS: u32 = 1;
    pub(super) const TEMPORALITY: u32 = 2;
    pub(super) const IS_MONOTONIC: u32 = 3;
}

/// A request: `ExportMetricsServiceRequest`.
#[derive(Debug)]
pub struct Metrics {
    /// The message.
    pub body: Bytes,
}

/// A metric, where it lies.
#[derive(Clone, Copy, Debug)]
struct Metric<'a> {
    name: &'a str,
    common: Common<'a>,
    points: &'a [u8],
}

/// Who sends the points of a metric.
#[derive(Clone, Copy, Debug)]
struct Sender<'a> {
    resource: &'a Resource,
    scope: &'a str,
}

impl Source for Metrics {
    fn gather<'b>(&'b self, rows: &mut Gatherer<'_, 'b>) -> Result<(), Refused> {
        for of_resource in repeated(&self.body, tag::RESOURCE_METRICS) {
            let of_resource = of_resource.map_err(|error| malformed(&error))?;
            let resource = last(of_resource, tag::RESOURCE).map_err(|error| malformed(&error))?;
            let resource = Resource::read(resource.unwrap_or_default());
            for of_scope in repeated(of_resource, tag::SCOPE_METRICS) {
                let of_scope = of_scope.map_err(|error| malformed(&error))?;
                let scope = last(of_scope, tag::SCOPE).map_err(|error| malformed(&error))?;
                let scope = scope_name(scope.unwrap_or_default())?;
                for metric in repeated(of_scope, tag::METRICS) {
                    let metric = metric.map_err(|error| malformed(&error))?;
                    let Some(metric) = Metric::read(metric)? else { continue };
                    match &resource {
                        Ok(resource) => metric.gather(rows, Sender { resource, scope })?,
                        Err(reason) => metric.reject_all(rows, &format!("its resource: {reason}")),
                    }
                }
            }
        }
        Ok(())
    }
}

impl<'a> Metric<'a> {
    /// Reads a metric; `None` where it has no points of a known kind.
    fn read(message: &'a [u8]) -> Result<Option<Metric<'a>>, Refused> {
        let as_text = |bytes| text(bytes).map_err(Refused::Malformed);
        let (mut name, mut unit, mut data) = ("", "", None);
        for field in fields(message) {
            match field.map_err(|error| malformed(&error))? {
                (tag::NAME, Field::Bytes(bytes)) => name = as_text(bytes)?,
                (tag::UNIT, Field::Bytes(bytes)) => unit = as_text(bytes)?,
                (tag::GAUGE, Field::Bytes(bytes)) => data = Some((Kind::Gauge, bytes)),
                (tag::SUM, Field::Bytes(bytes)) => data = Some((Kind::Sum, bytes)),
                (tag::HISTOGRAM, Field::Bytes(bytes)) => data = Some((Kind::Histogram, bytes)),
                (tag::EXPONENTIAL, Field::Bytes(bytes)) => data = Some((Kind::Exponential, bytes)),
                (tag::SUMMARY, Field::Bytes(bytes)) => data = Some((Kind::Summary, bytes)),
                _ => {}
            }
        }
        let Some((kind, points)) = data else { return Ok(None) };
        let (mut temporality, mut is_monotonic) = (None, false);
        for field in fields(points) {
            match field.map_err(|error| malformed(&error))? {
                (tag::TEMPORALITY, Field::Varint(1)) => temporality = Some("delta"),
                (tag::TEMPORALITY, Field::Varint(2)) => temporality = Some("cumulative"),
                (tag::IS_MONOTONIC, Field::Varint(flag)) => is_monotonic = flag != 0,
                _ => {}
            }
        }
        Ok(Some(Metric { name, common: Common { kind, unit, temporality, is_monotonic }, points }))
    }

    fn error(&self, reason: &str) -> RowError {
        let reason = match self.name {
            "" => format!("a metric without a name: {reason}"),
            name => format!("metric \"{}\": {reason}", fitting(name)),
        };
        RowError { line: None, reason, text: String::new() }
    }

    fn reject_all(&self, rows: &mut Gatherer<'_, '_>, reason: &str) {
        let count = count_points(self.points, tag::POINTS);
        if count > 0 {
            rows.reject_other(self.error(reason));
            rows.reject_more(count - 1);
        }
    }

    fn gather(&self, rows: &mut Gatherer<'_, '_>, sender: Sender<'_>) -> Result<(), Refused> {
        if self.name.is_empty() {
            self.reject_all(rows, "it needs one");
            return Ok(());
        }
        let mut key = Vec::new();
        for point in repeated(self.points, tag::POINTS) {
            let point = point.map_err(|error| malformed(&error))?;
            let mark = rows.mark();
            let mut table = None;
            match self.gather_point(rows, sender, point, &mut key, &mut table) {
                Ok(()) => {}
                Err(RowFailure::Request(refused)) => return Err(refused),
                Err(RowFailure::Row(reason)) => rows.reject(mark, table, self.error(&reason))?,
            }
        }
        Ok(())
    }

    fn gather_point(
        &self,
        rows: &mut Gatherer<'_, '_>,
        sender: Sender<'_>,
        message: &[u8],
        key: &mut Vec<u8>,
        begun: &mut Option<usize>,
    ) -> Result<(), RowFailure> {
        let point = Point::read(self.common.kind, message)?;
        let attributes = self.common.kind.attributes_tag();
        self.put_key(key, sender, message, attributes)?;
        let (at, series) = match rows.find(key) {
            Some(found) => found,
            None => rows.add(Cow::Owned(key.clone()), self.describe(sender, message, attributes)?)?,
        };
        let table = rows.table_mut(at);
        table.begin_row();
        *begun = Some(at);
        point.set_fields(table, self.common)?;
        set(table, "resource_attributes", &Value::Symbol(Cow::Borrowed(&sender.resource.attributes)))?;
        let time = instant(point.time)?.ok_or("it has no time")?;
        let time = table.time(time, 1)?;
        rows.end_row(at, series, time)
    }

    /// The key of a point's series: metric, sender, and the attributes as they are.
    fn put_key(
        &self,
        key: &mut Vec<u8>,
        sender: Sender<'_>,
        message: &[u8],
        attributes: u32,
    ) -> Result<(), String> {
        key.clear();
        key.extend_from_slice(KEY_PREFIX);
        let identity = sender.resource.identity.iter().flat_map(|(tag, value)| [*tag, value.as_str()]);
        for text in [self.name, sender.scope].into_iter().chain(identity) {
            key.extend_from_slice(&(text.len() as u64).to_le_bytes());
            key.extend_from_slice(text.as_bytes());
        }
        for attribute in repeated(message, attributes) {
            let attribute = attribute.map_err(|error| error.to_string())?;
            // The identity is told from the attributes by what no tag's length is.
            key.extend_from_slice(&(u64::MAX - attribute.len() as u64).to_le_bytes());
            key.extend_from_slice(attribute);
        }
        Ok(())
    }

    fn describe(&self, sender: Sender<'_>, message: &[u8], attributes: u32) -> Result<Described, String> {
        let identity = sender.resource.identity.iter();
        let mut tags: Vec<(String, String)> =
            identity.map(|(tag, value)| ((*tag).to_owned(), value.clone())).collect();
        if !sender.scope.is_empty() {
            tags.push(("scope_name".to_owned(), sender.scope.to_owned()));
        }
        // By the attribute's own name within the column's.
        let mut values: BTreeMap<(String, &str), String> = BTreeMap::new();
        for pair in key_values(message, attributes) {
            let (name, value) = pair?;
            if let Some(value) = value_text(value)? {
                values.insert((column_name(name), name), value);
            }
        }
        let mut attributes: Vec<(String, String)> = Vec::with_capacity(values.len());
        for ((column, _), value) in values {
            match attributes.last_mut() {
                Some((last, joined)) if *last == column => {
                    joined.push(';');
                    joined.push_str(&value);
                }
                _ => attributes.push((column, value)),
            }
        }
        tags.extend(attributes);
        Ok(Described { collection: fitting(&plain(self.name)).into_owned(), tags })
    }
}

/// A name of which every character is one that Prometheus has in names.
fn plain(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect()
}

/// The column of an attribute.
fn column_name(attribute: &str) -> String {
    let name = plain(attribute);
    let mut bare = name.as_str();
    while let Some(rest) = bare.strip_prefix(ATTRIBUTE_PREFIX) {
        bare = rest;
    }
    if RESERVED.contains(&bare) {
        return format!("{ATTRIBUTE_PREFIX}{name}");
    }
    fitting(&name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_never_meet_the_columns_of_points() {
        let cases = [
            ("http.request.method", "http_request_method"),
            ("time", "attribute_time"),
            ("service.name", "attribute_service_name"),
            ("attribute.time", "attribute_attribute_time"),
            ("attribute_x", "attribute_x"),
            ("größe", "gr__e"),
        ];
        for (attribute, column) in cases {
            assert_eq!(column_name(attribute), column, "{attribute}");
        }
    }
}
