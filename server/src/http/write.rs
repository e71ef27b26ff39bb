//! Line protocol over HTTP. 204 says that every line is durable and visible; any other answer, that
//! none is.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::config::BOOTSTRAP_NAME;
use crate::http::auth::authenticate;
use crate::http::body::receive;
use crate::http::refusal::{RETRY_AFTER_SECONDS, Refusal};
use crate::lineprotocol::Precision;
use crate::lineprotocol::write::{Refused, prepare};
use crate::net::places::Connection;
use crate::server::Server;
use crate::sql::rows::write_durably;

type Parameters = Query<HashMap<String, String>>;

/// `POST /write`
pub(super) async fn version_1(
    State(server): State<Arc<Server>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(connection): Extension<Arc<Connection>>,
    Query(parameters): Parameters,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(&server, write(&server, peer, &connection, &parameters, "db", &headers, body).await)
}

/// `POST /api/v2/write`
pub(super) async fn version_2(
    State(server): State<Arc<Server>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Extension(connection): Extension<Arc<Connection>>,
    Query(parameters): Parameters,
    headers: HeaderMap,
    body: Body,
) -> Response {
    answer(&server, write(&server, peer, &connection, &parameters, "bucket", &headers, body).await)
}

async fn write(
    server: &Arc<Server>,
    peer: SocketAddr,
    connection: &Connection,
    parameters: &HashMap<String, String>,
    database_parameter: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<usize, WriteRefusal> {
    server.metrics.line_requests.add(1);
    authenticate(server, peer, headers, parameters).await?;
    if let Some(database) = parameters.get(database_parameter).filter(|name| !name.is_empty())
        && database != BOOTSTRAP_NAME
    {
        let message = format!(
            "{database_parameter} \"{database}\" not found; the one there is is \"{BOOTSTRAP_NAME}\""
        );
        return Err(Refusal::new(StatusCode::NOT_FOUND, "not found", message).into());
    }
    let precision = match parameters.get("precision").map(String::as_str) {
        None | Some("") => Precision::Nanosecond,
        Some(name) => Precision::from_name(name).ok_or_else(|| {
            let message = format!("precision \"{name}\" is not one of ns, us, ms, s");
            Refusal::new(StatusCode::BAD_REQUEST, "invalid", message)
        })?,
    };
    connection.begin_body();
    let received =
        receive(headers, body, server.config.http_body_bytes_max, server.request_memory.begin()).await?;
    connection.begin_work();
    let shared = Arc::clone(server);
    let now_ns = server.clock.wall_us().saturating_mul(1000);
    let prepared = server.query_runtime.spawn_blocking(move || {
        let unpacked = received.unpack()?;
        let ready = prepare(&shared.engine, &shared.series, &unpacked.bytes, precision, now_ns)?;
        Ok::<_, WriteRefusal>(ready)
    });
    let ready = prepared.await.map_err(|error| {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error", error.to_string())
    })??;
    if !ready.writes.is_empty() {
        write_durably(&server.engine, ready.writes, true).await?;
    }
    Ok(ready.row_count)
}

/// Why nothing was written.
#[derive(Debug)]
struct WriteRefusal {
    refusal: Refusal,
    line: Option<usize>,
}

impl<T: Into<Refusal>> From<T> for WriteRefusal {
    fn from(refusal: T) -> WriteRefusal {
        WriteRefusal { refusal: refusal.into(), line: None }
    }
}

impl From<Refused> for WriteRefusal {
    fn from(refused: Refused) -> WriteRefusal {
        match refused {
            Refused::Sql(error) => error.into(),
            Refused::Line(error) => {
                let refusal = Refusal::new(StatusCode::BAD_REQUEST, "invalid", error.to_string());
                WriteRefusal { refusal, line: Some(error.line) }
            }
        }
    }
}

fn answer(server: &Server, outcome: Result<usize, WriteRefusal>) -> Response {
    match outcome {
        Ok(row_count) => {
            server.metrics.line_rows.add(row_count as u64);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(WriteRefusal { refusal, line }) => {
            server.metrics.line_errors.add(1);
            let mut body = json!({ "code": refusal.code(), "message": refusal.message(), "rows_written": 0 });
            if let Some(line) = line {
                body["line"] = json!(line);
            }
            let mut response = (refusal.status(), body.to_string()).into_response();
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            match refusal.status() {
                StatusCode::SERVICE_UNAVAILABLE => {
                    headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
                }
                StatusCode::UNAUTHORIZED => {
                    headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"tidemark\""));
                }
                _ => {}
            }
            response
        }
    }
}
