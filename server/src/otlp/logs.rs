//! Log records, as rows of the collection `otel_logs`.
//!
//! | column | has |
//! | --- | --- |
//! | `time` | when it happened, or when it was observed, or now |
//! | `service_name` | a tag: the attribute `service.name` of the resource |
//! | `observed_time`, `severity_number`, `severity_text`, `event_name` | what they are called |
//! | `body` | the body: text as it is, other values as JSON |
//! | `trace_id`, `span_id` | in hexadecimal digits |
//! | `scope_name` | the name of the instrumentation scope |
//! | `attributes`, `resource_attributes` | `jsonb` |

use std::borrow::Cow;

use bytes::Bytes;
use tidemark_catalog::types::{ColumnType, TimeUnit};

use crate::ingest::fields::{FieldError, Value};
use crate::ingest::rows::{Described, Gatherer, RowFailure};
use crate::ingest::table::Table;
use crate::ingest::{Refused, RowError, Source};
use crate::otlp::instant;
use crate::otlp::points::symbol;
use crate::otlp::resource::{Resource, scope_name};
use crate::otlp::value::{attributes_json, id_text, text, value_text};
use crate::protobuf::{Field, fields, last, malformed, repeated};

/// The collection of all records.
const COLLECTION: &str = "otel_logs";

/// What keys of series begin with: no line does.
const KEY_PREFIX: &[u8] = b"\nL";

/// The tags of fields in messages.
mod tag {
    pub(super) const RESOURCE_LOGS: u32 = 1;
    pub(super) const RESOURCE: u32 = 1;
    pub(super) const SCOPE_LOGS: u32 = 2;
    pub(super) const SCOPE: u32 = 1;
    pub(super) const RECORDS: u32 = 2;
    pub(super) const TIME: u32 = 1;
    pub(super) const SEVERITY_NUMBER: u32 = 2;
    pub(super) const SEVERITY_TEXT: u32 = 3;
    pub(super) const BODY: u32 = 5;
    pub(super) const ATTRIBUTES: u32 = 6;
    pub(super) const TRACE_ID: u32 = 9;
    pub(super) const SPAN_ID: u32 = 10;
    pub(super) const OBSERVED_TIME: u32 = 11;
    pub(super) const EVENT_NAME: u32 = 12;
}

/// A request: `ExportLogsServiceRequest`.
#[derive(Debug)]
pub struct Logs {
    /// The message.
    pub body: Bytes,
    /// The time of records without one, in ns since 1970.
    pub now_ns: i64,
}

/// A record, where it lies.
#[derive(Clone, Copy, Debug, Default)]
struct Record<'a> {
    time: u64,
    observed_time: u64,
    severity_number: u64,
    severity_text: &'a [u8],
    body: &'a [u8],
    trace_id: &'a [u8],
    span_id: &'a [u8],
    event_name: &'a [u8],
}

impl Source for Logs {
    fn gather<'b>(&'b self, rows: &mut Gatherer<'_, 'b>) -> Result<(), Refused> {
        for of_resource in repeated(&self.body, tag::RESOURCE_LOGS) {
            let of_resource = of_resource.map_err(|error| malformed(&error))?;
            let resource = last(of_resource, tag::RESOURCE).map_err(|error| malformed(&error))?;
            let resource = Resource::read(resource.unwrap_or_default());
            for of_scope in repeated(of_resource, tag::SCOPE_LOGS) {
                let of_scope = of_scope.map_err(|error| malformed(&error))?;
                let scope = last(of_scope, tag::SCOPE).map_err(|error| malformed(&error))?;
                let scope = scope_name(scope.unwrap_or_default())?;
                for record in repeated(of_scope, tag::RECORDS) {
                    let record = record.map_err(|error| malformed(&error))?;
                    self.gather_record(rows, &resource, scope, record)?;
                }
            }
        }
        Ok(())
    }
}

impl Logs {
    fn gather_record(
        &self,
        rows: &mut Gatherer<'_, '_>,
        resource: &Result<Resource, String>,
        scope: &str,
        record: &[u8],
    ) -> Result<(), Refused> {
        let mark = rows.mark();
        let mut table = None;
        let gathered = match resource {
            Ok(resource) => self.try_record(rows, resource, scope, record, &mut table),
            Err(reason) => Err(RowFailure::Row(format!("its resource: {reason}"))),
        };
        match gathered {
            Ok(()) => Ok(()),
            Err(RowFailure::Request(refused)) => Err(refused),
            Err(RowFailure::Row(reason)) => {
                let reason = format!("log record: {reason}");
                rows.reject(mark, table, RowError { line: None, reason, text: String::new() })
            }
        }
    }

    fn try_record(
        &self,
        rows: &mut Gatherer<'_, '_>,
        resource: &Resource,
        scope: &str,
        message: &[u8],
        begun: &mut Option<usize>,
    ) -> Result<(), RowFailure> {
        let record = Record::read(message)?;
        let service = resource.service_name();
        let key = [KEY_PREFIX, service.unwrap_or_default().as_bytes()].concat();
        let (at, series) = match rows.find(&key) {
            Some(found) => found,
            None => {
                let tags = service.map(|name| ("service_name".to_owned(), name.to_owned()));
                let tags = tags.into_iter().collect();
                rows.add(Cow::Owned(key), Described { collection: COLLECTION.to_owned(), tags })?
            }
        };
        let table = rows.table_mut(at);
        table.begin_row();
        *begun = Some(at);
        let observed = instant(record.observed_time)?;
        set_fields(table, &record, observed)?;
        set(table, "scope_name", &symbol(scope))?;
        let attributes = attributes_json(message, tag::ATTRIBUTES)?;
        set(table, "attributes", &Value::Json(Cow::Owned(attributes)))?;
        set(table, "resource_attributes", &Value::Json(Cow::Borrowed(&resource.attributes)))?;
        let time = instant(record.time)?.or(observed).unwrap_or(self.now_ns);
        let time = table.time(time, 1)?;
        rows.end_row(at, series, time)
    }
}

fn set_fields(table: &mut Table<'_, '_>, record: &Record<'_>, observed: Option<i64>) -> Result<(), String> {
    let timestamptz = || Value::Missing(ColumnType::Timestamptz(TimeUnit::Nanosecond));
    let or_missing = |text: Option<String>| {
        text.map_or(Value::Missing(ColumnType::Text), |text| Value::Text(Cow::Owned(text)))
    };
    let severity = i64::try_from(record.severity_number).unwrap_or_default();
    set(table, "observed_time", &observed.map_or_else(timestamptz, Value::Instant))?;
    set(table, "severity_number", &Value::Integer(severity))?;
    set(table, "severity_text", &symbol(text(record.severity_text)?))?;
    set(table, "body", &or_missing(value_text(record.body)?))?;
    set(table, "trace_id", &or_missing(id_text(record.trace_id)))?;
    set(table, "span_id", &or_missing(id_text(record.span_id)))?;
    let event_name = text(record.event_name)?;
    set(table, "event_name", &or_missing((!event_name.is_empty()).then(|| event_name.to_owned())))
}

/// The row's value of a field.
pub(super) fn set(table: &mut Table<'_, '_>, name: &'static str, value: &Value<'_>) -> Result<(), String> {
    table.set(name.as_bytes(), || Ok(Cow::Borrowed(name)), value).map_err(|error| match error {
        FieldError::Wrong(reason) => reason,
        FieldError::Twice => unreachable!("each field is given once"),
    })
}

impl<'a> Record<'a> {
    fn read(message: &'a [u8]) -> Result<Record<'a>, String> {
        let mut record = Record::default();
        for field in fields(message) {
            match field.map_err(|error| error.to_string())? {
                (tag::TIME, Field::Fixed64(time)) => record.time = time,
                (tag::OBSERVED_TIME, Field::Fixed64(time)) => record.observed_time = time,
                (tag::SEVERITY_NUMBER, Field::Varint(number)) => record.severity_number = number,
                (tag::SEVERITY_TEXT, Field::Bytes(bytes)) => record.severity_text = bytes,
                (tag::BODY, Field::Bytes(bytes)) => record.body = bytes,
                (tag::TRACE_ID, Field::Bytes(bytes)) => record.trace_id = bytes,
                (tag::SPAN_ID, Field::Bytes(bytes)) => record.span_id = bytes,
                (tag::EVENT_NAME, Field::Bytes(bytes)) => record.event_name = bytes,
                _ => {}
            }
        }
        Ok(record)
    }
}
