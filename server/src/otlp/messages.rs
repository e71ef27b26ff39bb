//! OpenTelemetry's messages, as far as they are stored: what a request in JSON is read into, to be
//! written as protobuf, which is then read a field at a time. The tags and types are those of
//! opentelemetry-proto 1; what JSON says otherwise is ignored.

use prost::Message;
use serde::Deserialize;

use super::json;

/// A message that is read from JSON.
macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, PartialEq, Message, Deserialize)]
            #[serde(rename_all = "camelCase", default)]
            pub(super) struct $name {
                $($(#[$attribute])* pub(super) $field: $type,)*
            }
        )*
    };
}

messages! {
    /// What `POST /v1/logs` brings.
    ExportLogs {
        #[prost(message, repeated, tag = "1")]
        resource_logs: Vec<ResourceLogs>,
    }

    ResourceLogs {
        #[prost(message, optional, tag = "1")]
        resource: Option<Resource>,
        #[prost(message, repeated, tag = "2")]
        scope_logs: Vec<ScopeLogs>,
    }

    ScopeLogs {
        #[prost(message, optional, tag = "1")]
        scope: Option<Scope>,
        #[prost(message, repeated, tag = "2")]
        log_records: Vec<LogRecord>,
    }

    LogRecord {
        #[prost(fixed64, tag = "1")]
        #[serde(deserialize_with = "json::u64")]
        time_unix_nano: u64,
        #[prost(int32, tag = "2")]
        severity_number: i32,
        #[prost(string, tag = "3")]
        severity_text: String,
        #[prost(message, optional, tag = "5")]
        body: Option<AnyValue>,
        #[prost(message, repeated, tag = "6")]
        attributes: Vec<KeyValue>,
        #[prost(bytes = "vec", tag = "9")]
        #[serde(deserialize_with = "json::id")]
        trace_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "10")]
        #[serde(deserialize_with = "json::id")]
        span_id: Vec<u8>,
        #[prost(fixed64, tag = "11")]
        #[serde(deserialize_with = "json::u64")]
        observed_time_unix_nano: u64,
        #[prost(string, tag = "12")]
        event_name: String,
    }

    /// What `POST /v1/metrics` brings.
    ExportMetrics {
        #[prost(message, repeated, tag = "1")]
        resource_metrics: Vec<ResourceMetrics>,
    }

    ResourceMetrics {
        #[prost(message, optional, tag = "1")]
        resource: Option<Resource>,
        #[prost(message, repeated, tag = "2")]
        scope_metrics: Vec<ScopeMetrics>,
    }

    ScopeMetrics {
        #[prost(message, optional, tag = "1")]
        scope: Option<Scope>,
        #[prost(message, repeated, tag = "2")]
        metrics: Vec<Metric>,
    }

    /// Of its kinds, a metric has one.
    Metric {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(string, tag = "3")]
        unit: String,
        #[prost(message, optional, tag = "5")]
        gauge: Option<NumberPoints>,
        #[prost(message, optional, tag = "7")]
        sum: Option<NumberPoints>,
        #[prost(message, optional, tag = "9")]
        histogram: Option<HistogramPoints>,
        #[prost(message, optional, tag = "10")]
        exponential_histogram: Option<ExponentialPoints>,
        #[prost(message, optional, tag = "11")]
        summary: Option<SummaryPoints>,
    }

    /// A gauge; a sum has the other fields too.
    NumberPoints {
        #[prost(message, repeated, tag = "1")]
        data_points: Vec<NumberPoint>,
        #[prost(int32, tag = "2")]
        aggregation_temporality: i32,
        #[prost(bool, tag = "3")]
        is_monotonic: bool,
    }

    NumberPoint {
        #[prost(fixed64, tag = "2")]
        #[serde(deserialize_with = "json::u64")]
        start_time_unix_nano: u64,
        #[prost(fixed64, tag = "3")]
        #[serde(deserialize_with = "json::u64")]
        time_unix_nano: u64,
        #[prost(double, optional, tag = "4")]
        #[serde(deserialize_with = "json::optional_f64")]
        as_double: Option<f64>,
        #[prost(sfixed64, optional, tag = "6")]
        #[serde(deserialize_with = "json::optional_i64")]
        as_int: Option<i64>,
        #[prost(message, repeated, tag = "7")]
        attributes: Vec<KeyValue>,
        #[prost(uint32, tag = "8")]
        flags: u32,
    }

    HistogramPoints {
        #[prost(message, repeated, tag = "1")]
        data_points: Vec<HistogramPoint>,
        #[prost(int32, tag = "2")]
        aggregation_temporality: i32,
    }

    HistogramPoint {
        #[prost(fixed64, tag = "2")]
        #[serde(deserialize_with = "json::u64")]
        start_time_unix_nano: u64,
        #[prost(fixed64, tag = "3")]
        #[serde(deserialize_with = "json::u64")]
        time_unix_nano: u64,
        #[prost(fixed64, tag = "4")]
        #[serde(deserialize_with = "json::u64")]
        count: u64,
        #[prost(double, optional, tag = "5")]
        #[serde(deserialize_with = "json::optional_f64")]
        sum: Option<f64>,
        #[prost(fixed64, repeated, tag = "6")]
        #[serde(deserialize_with = "json::u64s")]
        bucket_counts: Vec<u64>,
        #[prost(double, repeated, tag = "7")]
        #[serde(deserialize_with = "json::f64s")]
        explicit_bounds: Vec<f64>,
        #[prost(message, repeated, tag = "9")]
        attributes: Vec<KeyValue>,
        #[prost(uint32, tag = "10")]
        flags: u32,
        #[prost(double, optional, tag = "11")]
        #[serde(deserialize_with = "json::optional_f64")]
        min: Option<f64>,
        #[prost(double, optional, tag = "12")]
        #[serde(deserialize_with = "json::optional_f64")]
        max: Option<f64>,
    }

    ExponentialPoints {
        #[prost(message, repeated, tag = "1")]
        data_points: Vec<ExponentialPoint>,
        #[prost(int32, tag = "2")]
        aggregation_temporality: i32,
    }

    ExponentialPoint {
        #[prost(message, repeated, tag = "1")]
        attributes: Vec<KeyValue>,
        #[prost(fixed64, tag = "2")]
        #[serde(deserialize_with = "json::u64")]
        start_time_unix_nano: u64,
        #[prost(fixed64, tag = "3")]
        #[serde(deserialize_with = "json::u64")]
        time_unix_nano: u64,
        #[prost(fixed64, tag = "4")]
        #[serde(deserialize_with = "json::u64")]
        count: u64,
        #[prost(double, optional, tag = "5")]
        #[serde(deserialize_with = "json::optional_f64")]
        sum: Option<f64>,
        #[prost(sint32, tag = "6")]
        scale: i32,
        #[prost(fixed64, tag = "7")]
        #[serde(deserialize_with = "json::u64")]
        zero_count: u64,
        #[prost(message, optional, tag = "8")]
        positive: Option<Buckets>,
        #[prost(message, optional, tag = "9")]
        negative: Option<Buckets>,
        #[prost(uint32, tag = "10")]
        flags: u32,
        #[prost(double, optional, tag = "12")]
        #[serde(deserialize_with = "json::optional_f64")]
        min: Option<f64>,
        #[prost(double, optional, tag = "13")]
        #[serde(deserialize_with = "json::optional_f64")]
        max: Option<f64>,
        #[prost(double, tag = "14")]
        #[serde(deserialize_with = "json::f64")]
        zero_threshold: f64,
    }

    Buckets {
        #[prost(sint32, tag = "1")]
        offset: i32,
        #[prost(uint64, repeated, tag = "2")]
        #[serde(deserialize_with = "json::u64s")]
        bucket_counts: Vec<u64>,
    }

    SummaryPoints {
        #[prost(message, repeated, tag = "1")]
        data_points: Vec<SummaryPoint>,
    }

    SummaryPoint {
        #[prost(fixed64, tag = "2")]
        #[serde(deserialize_with = "json::u64")]
        start_time_unix_nano: u64,
        #[prost(fixed64, tag = "3")]
        #[serde(deserialize_with = "json::u64")]
        time_unix_nano: u64,
        #[prost(fixed64, tag = "4")]
        #[serde(deserialize_with = "json::u64")]
        count: u64,
        #[prost(double, tag = "5")]
        #[serde(deserialize_with = "json::f64")]
        sum: f64,
        #[prost(message, repeated, tag = "6")]
        quantile_values: Vec<ValueAtQuantile>,
        #[prost(message, repeated, tag = "7")]
        attributes: Vec<KeyValue>,
        #[prost(uint32, tag = "8")]
        flags: u32,
    }

    ValueAtQuantile {
        #[prost(double, tag = "1")]
        #[serde(deserialize_with = "json::f64")]
        quantile: f64,
        #[prost(double, tag = "2")]
        #[serde(deserialize_with = "json::f64")]
        value: f64,
    }

    Resource {
        #[prost(message, repeated, tag = "1")]
        attributes: Vec<KeyValue>,
    }

    Scope {
        #[prost(string, tag = "1")]
        name: String,
    }

    KeyValue {
        #[prost(string, tag = "1")]
        key: String,
        #[prost(message, optional, tag = "2")]
        value: Option<AnyValue>,
    }

    /// Of its fields, a value has one, or none.
    AnyValue {
        #[prost(string, optional, tag = "1")]
        string_value: Option<String>,
        #[prost(bool, optional, tag = "2")]
        bool_value: Option<bool>,
        #[prost(int64, optional, tag = "3")]
        #[serde(deserialize_with = "json::optional_i64")]
        int_value: Option<i64>,
        #[prost(double, optional, tag = "4")]
        #[serde(deserialize_with = "json::optional_f64")]
        double_value: Option<f64>,
        #[prost(message, optional, tag = "5")]
        array_value: Option<ArrayValue>,
        #[prost(message, optional, tag = "6")]
        kvlist_value: Option<KeyValueList>,
        #[prost(bytes = "vec", optional, tag = "7")]
        #[serde(deserialize_with = "json::optional_bytes")]
        bytes_value: Option<Vec<u8>>,
    }

    ArrayValue {
        #[prost(message, repeated, tag = "1")]
        values: Vec<AnyValue>,
    }

    KeyValueList {
        #[prost(message, repeated, tag = "1")]
        values: Vec<KeyValue>,
    }
}

/// What a request is answered. The messages for metrics and for logs differ in names only.
#[derive(Clone, PartialEq, Message)]
pub struct ExportResponse {
    /// What was not written.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

/// What was not written.
#[derive(Clone, PartialEq, Message)]
pub struct PartialSuccess {
    /// How many data points or records.
    #[prost(int64, tag = "1")]
    pub rejected: i64,
    /// Why.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

/// What a request is answered that fails: `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// A code of gRPC.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// Why.
    #[prost(string, tag = "2")]
    pub message: String,
}
