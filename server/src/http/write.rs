//! Line protocol over HTTP. 204 says that every line is durable and visible. Any other answer says how
//! many lines are, and which are not right: none is, unless the request asked for those that are right.

use std::sync::Arc;

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tidemark_catalog::types::TimeUnit;

use crate::config::BOOTSTRAP_NAME;
use crate::http::call::{Call, Held, note_repeated, wrong_parameter};
use crate::http::refusal::Refusal;
use crate::ingest::{OnBadRow, Options, Outcome, Refused, Rejected, ingest};
use crate::lineprotocol::Precision;
use crate::lineprotocol::request::Lines;
use crate::metrics::{ErrorKind, Protocol};

/// A version of InfluxDB's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Api {
    /// The parameter that names the database.
    database: &'static str,
    /// The unit of timestamps where none is named.
    precision: Precision,
}

const VERSION_1: Api = Api { database: "db", precision: Precision::Nanosecond };
const VERSION_2: Api = Api { database: "bucket", precision: Precision::Nanosecond };
const VERSION_3: Api = Api { database: "db", precision: Precision::Auto };

/// `POST /write`
pub(super) async fn version_1(call: Call) -> Response {
    answer(call, VERSION_1).await
}

/// `POST /api/v2/write`
pub(super) async fn version_2(call: Call) -> Response {
    answer(call, VERSION_2).await
}

/// `POST /api/v3/write_lp`
pub(super) async fn version_3(call: Call) -> Response {
    answer(call, VERSION_3).await
}

async fn answer(call: Call, api: Api) -> Response {
    let server = Arc::clone(&call.server);
    let outcome = write(call, api).await;
    let metrics = server.metrics.ingest.of(Protocol::LineHttp);
    match outcome {
        Ok(Outcome { rejected, repeated, .. }) if rejected.count == 0 => {
            let mut response = StatusCode::NO_CONTENT.into_response();
            note_repeated(&mut response, repeated);
            response
        }
        Ok(Outcome { row_count, rejected, repeated }) => {
            metrics.errors(ErrorKind::Malformed).add(1);
            let message = format!("partial write: {rejected} (dropped={})", rejected.count);
            let refusal = Refusal::new(StatusCode::BAD_REQUEST, "invalid", message);
            let mut response = show(&refusal, row_count, &rejected);
            note_repeated(&mut response, repeated);
            response
        }
        Err(LineRefusal { refusal, rejected }) => {
            metrics.errors(refusal.kind()).add(1);
            show(&refusal, 0, &rejected)
        }
    }
}

async fn write(call: Call, api: Api) -> Result<Outcome, LineRefusal> {
    let call = call.admit(Protocol::LineHttp).await?;
    check_database(&call, api)?;
    let precision = match call.parameter("precision") {
        None => api.precision,
        Some(name) => {
            Precision::from_name(name).ok_or_else(|| wrong_parameter("precision", name, Precision::NAMES))?
        }
    };
    let options = Options {
        protocol: Protocol::LineHttp,
        on_bad_row: call.on_bad_row(OnBadRow::RefuseAll)?,
        may_make: call.may_make()?,
        time_unit: TimeUnit::Nanosecond,
        acknowledge: call.acknowledge()?,
        number: call.number()?,
    };
    let server = Arc::clone(&call.server);
    let received = call.receive().await?;
    let now_ns = server.clock.wall_us().saturating_mul(1000);
    let lines = move || {
        let unpacked = received.unpack()?;
        Ok(Held::new(Lines { body: unpacked.bytes, precision, now_ns }, unpacked.taken))
    };
    ingest::<_, LineRefusal>(&server, options, lines).await
}

fn check_database(call: &Call, api: Api) -> Result<(), Refusal> {
    let Some(named) = call.parameter(api.database) else { return Ok(()) };
    // Version 2 names a database of version 1 with its retention policy, of which there is one.
    let database = named.split_once('/').map_or(named, |(database, _)| database);
    if database == BOOTSTRAP_NAME {
        return Ok(());
    }
    let message = format!("{} \"{named}\" not found; the one there is is \"{BOOTSTRAP_NAME}\"", api.database);
    Err(Refusal::new(StatusCode::NOT_FOUND, "not found", message))
}

/// Why nothing was written.
#[derive(Debug)]
struct LineRefusal {
    refusal: Refusal,
    rejected: Rejected,
}

impl From<Refusal> for LineRefusal {
    fn from(refusal: Refusal) -> LineRefusal {
        LineRefusal { refusal, rejected: Rejected::default() }
    }
}

impl From<Refused> for LineRefusal {
    fn from(refused: Refused) -> LineRefusal {
        match refused {
            Refused::Rows(rejected) => {
                LineRefusal { refusal: Refused::Rows(rejected.clone()).into(), rejected }
            }
            other => Refusal::from(other).into(),
        }
    }
}

/// The answer in JSON, with what clients of each version look for: `error` for the first, `code`,
/// `message` and `line` for the second, `error` and `data` for the third.
fn show(refusal: &Refusal, row_count: usize, rejected: &Rejected) -> Response {
    let mut body = json!({
        "code": refusal.code(),
        "message": refusal.message(),
        "error": refusal.message(),
        "rows_written": row_count,
    });
    if let Some(first) = rejected.first.first() {
        body["line"] = json!(first.line);
        body["rows_rejected"] = json!(rejected.count);
        let data = rejected.first.iter().map(|error| {
            json!({
                "line_number": error.line,
                "error_message": error.reason,
                "original_line": error.text,
            })
        });
        body["data"] = data.collect();
    }
    let mut response = (refusal.status(), body.to_string()).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    refusal.add_headers(&mut response);
    response
}
