//! Prometheus' remote write over HTTP.
//!
//! Samples that are right are written though others are not, unless the request says otherwise: a
//! sender that is answered 400 drops the whole request. 4xx are not tried again, 5xx are.

use std::sync::Arc;

use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use tidemark_catalog::types::TimeUnit;

use crate::http::call::{Call, Held, note_repeated};
use crate::http::refusal::Refusal;
use crate::ingest::{OnBadRow, Options, Outcome, ingest};
use crate::metrics::{ErrorKind, Protocol};
use crate::prometheus::{Version, WriteRequest};

/// `POST /api/v1/write`, `POST /api/v1/prom/write`
pub(super) async fn write(call: Call) -> Response {
    let server = Arc::clone(&call.server);
    let outcome = carry_out(call).await;
    let metrics = server.metrics.ingest.of(Protocol::RemoteWrite);
    let repeated = outcome.as_ref().is_ok_and(|outcome| outcome.repeated);
    let (row_count, mut response) = match outcome {
        Ok(Outcome { row_count, rejected, .. }) if rejected.count == 0 => {
            (row_count, StatusCode::NO_CONTENT.into_response())
        }
        Ok(Outcome { row_count, rejected, .. }) => {
            metrics.errors(ErrorKind::Malformed).add(1);
            let message =
                format!("{row_count} samples were written, {} were not: {rejected}\n", rejected.count);
            (row_count, (StatusCode::BAD_REQUEST, message).into_response())
        }
        Err(refusal) => {
            metrics.errors(refusal.kind()).add(1);
            let mut response = (refusal.status(), format!("{}\n", refusal.message())).into_response();
            refusal.add_headers(&mut response);
            (0, response)
        }
    };
    note_repeated(&mut response, repeated);
    // Senders of version 2 count by them what was written; others do not look.
    let headers = response.headers_mut();
    headers.insert("x-prometheus-remote-write-samples-written", HeaderValue::from(row_count));
    headers.insert("x-prometheus-remote-write-histograms-written", HeaderValue::from(0));
    headers.insert("x-prometheus-remote-write-exemplars-written", HeaderValue::from(0));
    response
}

async fn carry_out(call: Call) -> Result<Outcome, Refusal> {
    let call = call.admit(Protocol::RemoteWrite).await?;
    let version = version(&call.headers)?;
    let options = Options {
        protocol: Protocol::RemoteWrite,
        on_bad_row: call.on_bad_row(OnBadRow::WriteOthers)?,
        may_make: call.may_make()?,
        time_unit: TimeUnit::Microsecond,
        acknowledge: call.acknowledge()?,
        number: call.number()?,
    };
    let server = Arc::clone(&call.server);
    let received = call.receive().await?;
    let request = move || {
        let unpacked = received.unpack()?;
        Ok(Held::new(WriteRequest { body: unpacked.bytes, version }, unpacked.taken))
    };
    ingest::<_, Refusal>(&server, options, request).await
}

/// The version that the headers name.
fn version(headers: &HeaderMap) -> Result<Version, Refusal> {
    let unsupported = |message: String| Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid", message);
    let header = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let packing = header(CONTENT_ENCODING).unwrap_or("none");
    if packing != "snappy" {
        let message = format!("the content encoding of remote write is snappy, not \"{packing}\"");
        return Err(unsupported(message));
    }
    let content_type = header(CONTENT_TYPE).unwrap_or("application/x-protobuf");
    let mut parts = content_type.split(';').map(str::trim);
    let is_protobuf = parts.next() == Some("application/x-protobuf");
    let message = parts.find_map(|parameter| parameter.strip_prefix("proto="));
    match message {
        None | Some("prometheus.WriteRequest") if is_protobuf => Ok(Version::V1),
        Some("io.prometheus.write.v2.Request") if is_protobuf => Ok(Version::V2),
        _ => Err(unsupported(format!("content type \"{content_type}\" is not supported"))),
    }
}
