//! OpenTelemetry over HTTP.
//!
//! What is right is written though other things are not, unless the request says otherwise: a sender
//! does not send again what was not taken. The answer has the form of the request, JSON or protobuf,
//! and says how much was not written.

use std::sync::Arc;

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use prost::Message;
use serde_json::json;
use tidemark_catalog::types::TimeUnit;

use crate::http::body::Received;
use crate::http::call::{Call, Held, note_repeated};
use crate::http::refusal::Refusal;
use crate::ingest::{OnBadRow, Options, Outcome, Rejected, Source, ingest};
use crate::metrics::{ErrorKind, Protocol};
use crate::otlp::logs::Logs;
use crate::otlp::metrics::Metrics;
use crate::otlp::{ExportResponse, PartialSuccess, Signal, Status, json_memory_bytes, json_to_protobuf};
use crate::server::Server;

/// The form of a request and of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Protobuf,
    Json,
}

impl Form {
    /// The form that the headers name.
    fn of(headers: &HeaderMap) -> Result<Form, Refusal> {
        let named = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("none");
        match named.split(';').next().unwrap_or_default().trim() {
            "application/x-protobuf" => Ok(Form::Protobuf),
            "application/json" => Ok(Form::Json),
            _ => {
                let message =
                    format!("content type \"{named}\" is none of application/x-protobuf, application/json");
                Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid", message))
            }
        }
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Form::Protobuf => "application/x-protobuf",
            Form::Json => "application/json",
        })
    }
}

/// `POST /v1/metrics`
pub(super) async fn metrics(call: Call) -> Response {
    answer(call, Signal::Metrics).await
}

/// `POST /v1/logs`
pub(super) async fn logs(call: Call) -> Response {
    answer(call, Signal::Logs).await
}

async fn answer(call: Call, signal: Signal) -> Response {
    let server = Arc::clone(&call.server);
    let form = Form::of(&call.headers);
    let protocol = match signal {
        Signal::Metrics => Protocol::OtlpMetrics,
        Signal::Logs => Protocol::OtlpLogs,
    };
    let outcome = carry_out(call, signal, protocol).await;
    let metrics = server.metrics.ingest.of(protocol);
    // Who names a form that is none is told so in JSON.
    let form = form.unwrap_or(Form::Json);
    let repeated = outcome.as_ref().is_ok_and(|outcome| outcome.repeated);
    let mut response = match outcome {
        Ok(Outcome { rejected, .. }) => {
            if rejected.count > 0 {
                metrics.errors(ErrorKind::Malformed).add(1);
            }
            success(form, signal, &rejected)
        }
        Err(refusal) => {
            metrics.errors(refusal.kind()).add(1);
            let mut response = failure(form, &refusal);
            refusal.add_headers(&mut response);
            response
        }
    };
    response.headers_mut().insert(CONTENT_TYPE, form.content_type());
    note_repeated(&mut response, repeated);
    response
}

async fn carry_out(call: Call, signal: Signal, protocol: Protocol) -> Result<Outcome, Refusal> {
    let call = call.admit(protocol).await?;
    let form = Form::of(&call.headers)?;
    let options = Options {
        protocol,
        on_bad_row: call.on_bad_row(OnBadRow::WriteOthers)?,
        may_make: call.may_make()?,
        time_unit: TimeUnit::Nanosecond,
        acknowledge: call.acknowledge()?,
        number: call.number()?,
    };
    let server = Arc::clone(&call.server);
    let received = call.receive().await?;
    match signal {
        Signal::Metrics => write(&server, options, signal, form, received, |body| Metrics { body }).await,
        Signal::Logs => {
            let now_ns = server.clock.wall_us().saturating_mul(1000);
            write(&server, options, signal, form, received, move |body| Logs { body, now_ns }).await
        }
    }
}

async fn write<S: Source>(
    server: &Arc<Server>,
    options: Options,
    signal: Signal,
    form: Form,
    received: Received,
    source: impl FnOnce(bytes::Bytes) -> S + Send + 'static,
) -> Result<Outcome, Refusal> {
    let request = move || {
        let mut unpacked = received.unpack()?;
        if form == Form::Json {
            // What the messages take while they are read is given back with the rest.
            unpacked.taken.grow(json_memory_bytes(&unpacked.bytes))?;
            unpacked.bytes = json_to_protobuf(signal, &unpacked.bytes)?.into();
        }
        Ok(Held::new(source(unpacked.bytes), unpacked.taken))
    };
    ingest::<_, Refusal>(server, options, request).await
}

fn success(form: Form, signal: Signal, rejected: &Rejected) -> Response {
    let partial_success = (rejected.count > 0).then(|| PartialSuccess {
        rejected: i64::try_from(rejected.count).expect("a request has few rows"),
        error_message: rejected.to_string(),
    });
    match (form, partial_success) {
        (Form::Protobuf, partial_success) => {
            ExportResponse { partial_success }.encode_to_vec().into_response()
        }
        (Form::Json, None) => "{}".into_response(),
        (Form::Json, Some(PartialSuccess { rejected, error_message })) => {
            let name = match signal {
                Signal::Metrics => "rejectedDataPoints",
                Signal::Logs => "rejectedLogRecords",
            };
            // Whole numbers of 64 bits are texts in protobuf's JSON.
            let partial = json!({ name: rejected.to_string(), "errorMessage": error_message });
            json!({ "partialSuccess": partial }).to_string().into_response()
        }
    }
}

fn failure(form: Form, refusal: &Refusal) -> Response {
    // Of statuses, a sender tries again after these only: 429, 502, 503, 504.
    let status = match refusal.kind() {
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => refusal.status(),
    };
    let code = match refusal.kind() {
        ErrorKind::Malformed => 3,
        ErrorKind::Unauthorized if status == StatusCode::FORBIDDEN => 7,
        ErrorKind::Unauthorized => 16,
        ErrorKind::TooLarge => 8,
        ErrorKind::Unavailable => 14,
        ErrorKind::Internal => 13,
    };
    let message = refusal.message().to_owned();
    match form {
        Form::Protobuf => (status, Status { code, message }.encode_to_vec()).into_response(),
        Form::Json => (status, json!({ "code": code, "message": message }).to_string()).into_response(),
    }
}
