//! A request that brings rows: from its head to its body.
//!
//! 1. Who sends it, what it asks for: told from its head.
//! 2. The body is received, within bounds.
//! 3. Its rows are written by [`crate::ingest`]; what they came in is kept until then.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Query, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use tidemark_engine::producers::BatchNumber;

use crate::http::auth::authenticate;
use crate::http::body::{Received, Taken, receive};
use crate::http::refusal::Refusal;
use crate::ingest::rows::Gatherer;
use crate::ingest::{Acknowledge, MayMake, OnBadRow, Refused, Source};
use crate::metrics::Protocol;
use crate::net::places::Connection;
use crate::server::Server;

/// Who sends a request that is numbered.
const PRODUCER: &str = "x-tidemark-producer";

/// Its number.
const SEQUENCE: &str = "x-tidemark-sequence";

/// In an answer: the request had been written before.
const REPEATED: &str = "x-tidemark-repeated";

/// A request that brings rows.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) server: Arc<Server>,
    peer: SocketAddr,
    connection: Arc<Connection>,
    parameters: HashMap<String, String>,
    pub(super) headers: HeaderMap,
    body: Body,
}

impl FromRequest<Arc<Server>> for Call {
    type Rejection = Response;

    async fn from_request(request: Request, server: &Arc<Server>) -> Result<Call, Response> {
        let (mut parts, body) = request.into_parts();
        let parameters = Query::<HashMap<String, String>>::try_from_uri(&parts.uri);
        let Query(parameters) = parameters.map_err(QueryRejection::into_response)?;
        let peer = ConnectInfo::<SocketAddr>::from_request_parts(&mut parts, server).await;
        let ConnectInfo(peer) = peer.map_err(IntoResponse::into_response)?;
        let connection = Extension::<Arc<Connection>>::from_request_parts(&mut parts, server).await;
        let Extension(connection) = connection.map_err(IntoResponse::into_response)?;
        let (server, headers) = (Arc::clone(server), parts.headers);
        Ok(Call { server, peer, connection, parameters, headers, body })
    }
}

impl Call {
    /// A parameter of the URL; one without a value is as good as none.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// A parameter that is true or false.
    ///
    /// # Errors
    /// It is neither.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.parameter(name) {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(other) => Err(wrong_parameter(name, other, "true, false")),
        }
    }

    /// What becomes of the request when rows are not right; `default` where it does not say.
    ///
    /// # Errors
    /// The parameter is none.
    pub(super) fn on_bad_row(&self, default: OnBadRow) -> Result<OnBadRow, Refusal> {
        Ok(match self.flag("accept_partial")? {
            None => default,
            Some(true) => OnBadRow::WriteOthers,
            Some(false) => OnBadRow::RefuseAll,
        })
    }

    /// When the request is acknowledged.
    ///
    /// # Errors
    /// The parameter is none.
    pub(super) fn acknowledge(&self) -> Result<Acknowledge, Refusal> {
        Ok(match self.flag("no_sync")? {
            Some(true) => Acknowledge::Visible,
            Some(false) | None => Acknowledge::Durable,
        })
    }

    /// What the request may make: no more than the server allows.
    ///
    /// # Errors
    /// The parameter is none.
    pub(super) fn may_make(&self) -> Result<MayMake, Refusal> {
        let allowed = self.server.config.may_make;
        match self.parameter("create") {
            None => Ok(allowed),
            Some(name) => match MayMake::from_name(name) {
                Some(wanted) => Ok(allowed.and(wanted)),
                None => Err(wrong_parameter("create", name, "all, collections, columns, nothing")),
            },
        }
    }

    /// The number of the request, when its sender numbers what it sends.
    ///
    /// # Errors
    /// A header is missing, or none.
    pub(super) fn number(&self) -> Result<Option<BatchNumber>, Refusal> {
        let (producer, sequence) = (self.header(PRODUCER)?, self.header(SEQUENCE)?);
        let (producer, sequence) = match (producer, sequence) {
            (None, None) => return Ok(None),
            (Some(producer), Some(sequence)) => (producer, sequence),
            _ => return Err(wrong_header(format!("{PRODUCER} and {SEQUENCE} come together"))),
        };
        let sequence = sequence.parse().map_err(|_| {
            wrong_header(format!("{SEQUENCE} \"{sequence}\" is not a whole number from 0 to {}", u64::MAX))
        })?;
        let number = BatchNumber::new(producer, sequence);
        number.map(Some).map_err(|error| wrong_header(format!("{PRODUCER}: {error}")))
    }

    fn header(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let Some(value) = self.headers.get(name) else { return Ok(None) };
        value.to_str().map(Some).map_err(|_| wrong_header(format!("{name} is not ASCII")))
    }

    /// Checks that the sender may write, and counts the request.
    ///
    /// # Errors
    /// It may not.
    pub(super) async fn admit(self, protocol: Protocol) -> Result<Call, Refusal> {
        self.server.metrics.ingest.of(protocol).requests.add(1);
        authenticate(&self.server, self.peer, &self.headers, &self.parameters).await?;
        Ok(self)
    }

    /// Receives the body.
    ///
    /// # Errors
    /// It is too long, or does not come.
    pub(super) async fn receive(self) -> Result<Received, Refusal> {
        let taken = self.server.request_memory.begin();
        let bytes_max = self.server.config.http_body_bytes_max;
        self.connection.begin_body();
        let received = receive(&self.headers, self.body, bytes_max, taken).await;
        self.connection.begin_work();
        received
    }
}

fn wrong_header(message: String) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "invalid", message)
}

/// Says in an answer that the request had been written before.
pub(super) fn note_repeated(response: &mut Response, repeated: bool) {
    if repeated {
        response.headers_mut().insert(REPEATED, HeaderValue::from_static("true"));
    }
}

/// A parameter with a value that it cannot have.
pub(super) fn wrong_parameter(name: &str, value: &str, allowed: &str) -> Refusal {
    let message = format!("{name} \"{value}\" is not one of {allowed}");
    Refusal::new(StatusCode::BAD_REQUEST, "invalid", message)
}

/// A source of rows, with the memory that it was received in.
#[derive(Debug)]
pub(super) struct Held<S> {
    source: S,
    _memory: Taken,
}

impl<S> Held<S> {
    pub(super) fn new(source: S, memory: Taken) -> Held<S> {
        Held { source, _memory: memory }
    }
}

impl<S: Source> Source for Held<S> {
    fn gather<'b>(&'b self, rows: &mut Gatherer<'_, 'b>) -> Result<(), Refused> {
        self.source.gather(rows)
    }
}
