//! Line protocol over HTTP. 204 says that every line is durable and visible; any other answer, that
//! none is.

use std::collections::HashMap;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use flate2::read::MultiGzDecoder;
use serde_json::json;

use crate::config::BOOTSTRAP_NAME;
use crate::error::SqlError;
use crate::http::BODY_BYTES_MAX;
use crate::http::auth::authenticate;
use crate::lineprotocol::Precision;
use crate::lineprotocol::write::{Refused, prepare};
use crate::server::Server;
use crate::sql::rows::write_durably;
use crate::sqlstate;

/// What a client is told to wait when the server is busy.
const RETRY_AFTER_SECONDS: &str = "1";

type Parameters = Query<HashMap<String, String>>;

/// `POST /write`
pub(super) async fn version_1(
    State(server): State<Arc<Server>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(parameters): Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(&server, write(&server, peer, &parameters, "db", &headers, body).await)
}

/// `POST /api/v2/write`
pub(super) async fn version_2(
    State(server): State<Arc<Server>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(parameters): Parameters,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(&server, write(&server, peer, &parameters, "bucket", &headers, body).await)
}

async fn write(
    server: &Arc<Server>,
    peer: SocketAddr,
    parameters: &HashMap<String, String>,
    database_parameter: &str,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<usize, Refusal> {
    server.metrics.line_requests.add(1);
    authenticate(server, peer, headers, parameters)?;
    if let Some(database) = parameters.get(database_parameter).filter(|name| !name.is_empty())
        && database != BOOTSTRAP_NAME
    {
        let message = format!(
            "{database_parameter} \"{database}\" not found; the one there is is \"{BOOTSTRAP_NAME}\""
        );
        return Err(Refusal::new(StatusCode::NOT_FOUND, "not found", message));
    }
    let precision = match parameters.get("precision").map(String::as_str) {
        None | Some("") => Precision::Nanosecond,
        Some(name) => Precision::from_name(name).ok_or_else(|| {
            let message = format!("precision \"{name}\" is not one of ns, us, ms, s");
            Refusal::new(StatusCode::BAD_REQUEST, "invalid", message)
        })?,
    };
    let gzip = match headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()) {
        None | Some("" | "identity") => false,
        Some("gzip") => true,
        Some(other) => {
            let message = format!("content encoding \"{other}\" is not supported; gzip is");
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid", message));
        }
    };
    let shared = Arc::clone(server);
    let now_ns = server.clock.wall_us().saturating_mul(1000);
    let prepared = server.query_runtime.spawn_blocking(move || {
        let unpacked = if gzip { unpack(&body)?.into() } else { body };
        Ok::<_, Refusal>(prepare(&shared.engine, &shared.series, &unpacked, precision, now_ns)?)
    });
    let ready = prepared.await.map_err(|error| {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error", error.to_string())
    })??;
    if !ready.writes.is_empty() {
        write_durably(&server.engine, ready.writes, true).await?;
    }
    Ok(ready.row_count)
}

fn unpack(body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut unpacked = Vec::new();
    let limit = BODY_BYTES_MAX as u64 + 1;
    // Bounded while it is unpacked: a small body can stand for a huge one.
    let read = MultiGzDecoder::new(body).take(limit).read_to_end(&mut unpacked);
    read.map_err(|error| {
        Refusal::new(StatusCode::BAD_REQUEST, "invalid", format!("the body is not gzip: {error}"))
    })?;
    if unpacked.len() > BODY_BYTES_MAX {
        let message = format!("the body has more than {BODY_BYTES_MAX} bytes when unpacked");
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "request too large", message));
    }
    Ok(unpacked)
}

/// A request that was not carried out.
#[derive(Debug)]
struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    line: Option<usize>,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, message: String) -> Refusal {
        Refusal { status, code, message, line: None }
    }
}

impl From<SqlError> for Refusal {
    fn from(error: SqlError) -> Refusal {
        let (status, code) = match error.state() {
            sqlstate::INVALID_PASSWORD => (StatusCode::UNAUTHORIZED, "unauthorized"),
            sqlstate::INVALID_AUTHORIZATION_SPECIFICATION | sqlstate::INSUFFICIENT_PRIVILEGE => {
                (StatusCode::FORBIDDEN, "forbidden")
            }
            sqlstate::OUT_OF_MEMORY | sqlstate::ADMIN_SHUTDOWN => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
            }
            sqlstate::DISK_FULL => (StatusCode::INSUFFICIENT_STORAGE, "unavailable"),
            sqlstate::INTERNAL_ERROR | sqlstate::IO_ERROR | sqlstate::DATA_CORRUPTED => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal error")
            }
            _ => (StatusCode::BAD_REQUEST, "invalid"),
        };
        let fields = error.fields();
        let mut message = fields.message.clone();
        for more in [&fields.detail, &fields.hint].into_iter().flatten() {
            message.push_str(&format!(" ({more})"));
        }
        Refusal::new(status, code, message)
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Refusal {
        match refused {
            Refused::Sql(error) => error.into(),
            Refused::Line(error) => {
                let refusal = Refusal::new(StatusCode::BAD_REQUEST, "invalid", error.to_string());
                Refusal { line: Some(error.line), ..refusal }
            }
        }
    }
}

fn answer(server: &Server, outcome: Result<usize, Refusal>) -> Response {
    match outcome {
        Ok(row_count) => {
            server.metrics.line_rows.add(row_count as u64);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(refusal) => {
            server.metrics.line_errors.add(1);
            let mut body = json!({ "code": refusal.code, "message": refusal.message, "rows_written": 0 });
            if let Some(line) = refusal.line {
                body["line"] = json!(line);
            }
            let mut response = (refusal.status, body.to_string()).into_response();
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, axum::http::HeaderValue::from_static("application/json"));
            if refusal.status == StatusCode::SERVICE_UNAVAILABLE {
                headers.insert(RETRY_AFTER, axum::http::HeaderValue::from_static(RETRY_AFTER_SECONDS));
            }
            response
        }
    }
}
