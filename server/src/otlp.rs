//! OpenTelemetry's protocol, metrics and logs, as sources of rows.
//!
//! ```text
//!  JSON ──▶ messages ──▶ protobuf ──▶ a field at a time ──▶ rows
//! ```
//!
//! | module | does |
//! | --- | --- |
//! | [`messages`], [`json`] | requests in JSON; answers |
//! | [`value`] | values and attributes, as texts and as JSON |
//! | [`resource`] | who sends: what all that a resource sends has in common |
//! | [`logs`] | records: the collection `otel_logs` |
//! | [`metrics`], [`points`] | data points: a collection for each metric |
//!
//! Requests in protobuf are never decoded whole: a few bytes can stand for many messages. Those in JSON
//! are, and the memory that this takes is taken into account.

use prost::Message;

use crate::ingest::Refused;

mod json;
pub mod logs;
mod messages;
pub mod metrics;
mod points;
mod resource;
mod value;

pub use messages::{ExportResponse, PartialSuccess, Status};

/// What an object of a request in JSON takes once it is read, at most: as much as the largest message,
/// in a list that has just grown.
const OBJECT_BYTES: usize = 640;

/// What any other value in JSON takes.
const VALUE_BYTES: usize = 16;

/// The signals that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Metrics.
    Metrics,
    /// Logs.
    Logs,
}

/// A request in JSON, as protobuf.
///
/// # Errors
/// It is none.
pub fn json_to_protobuf(signal: Signal, body: &[u8]) -> Result<Vec<u8>, Refused> {
    let read = match signal {
        Signal::Metrics => serde_json::from_slice(body).map(|it: messages::ExportMetrics| it.encode_to_vec()),
        Signal::Logs => serde_json::from_slice(body).map(|it: messages::ExportLogs| it.encode_to_vec()),
    };
    read.map_err(|error| Refused::Malformed(format!("the body is not the JSON it should be: {error}")))
}

/// The memory that a request in JSON takes while it is read, at most.
pub fn json_memory_bytes(body: &[u8]) -> usize {
    let objects = memchr::memchr_iter(b'{', body).count();
    let values = memchr::memchr_iter(b',', body).count();
    body.len() + objects * OBJECT_BYTES + values * VALUE_BYTES
}

/// A time in ns since 1970; `None` for zero, which is no time here.
fn instant(nanoseconds: u64) -> Result<Option<i64>, String> {
    match i64::try_from(nanoseconds) {
        Ok(0) => Ok(None),
        Ok(time) if time < i64::MAX => Ok(Some(time)),
        _ => Err(format!("time {nanoseconds} is out of range")),
    }
}

/// A count, as columns have it.
fn count(value: u64) -> Result<i64, String> {
    i64::try_from(value).map_err(|_| format!("count {value} is out of range"))
}
