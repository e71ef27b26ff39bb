//! HTTP: rows in, health and metrics out.
//!
//! | path | does |
//! | --- | --- |
//! | `POST /write` | line protocol, as version 1 of InfluxDB's API: `db`, `precision`, `u`, `p` |
//! | `POST /api/v2/write` | the same as version 2: `bucket`, `org`, `precision`, a token |
//! | `POST /api/v3/write_lp` | the same as version 3: `db`, `precision`, `accept_partial`, `no_sync` |
//! | `POST /api/v1/write`, `POST /api/v1/prom/write` | Prometheus' remote write |
//! | `POST /v1/metrics`, `POST /v1/logs` | OpenTelemetry |
//! | `GET /health`, `GET /ping` | whether the server is up |
//! | `GET /metrics` | counts and sizes, for Prometheus |
//!
//! | module | does |
//! | --- | --- |
//! | [`connection`] | one connection, from its place to its end |
//! | [`watched`] | what moves on it |
//! | [`auth`] | who sends a request |
//! | [`call`] | a request that brings rows, from its head to its body |
//! | [`body`] | bodies, within bounds |
//! | [`refusal`] | errors, whichever form their answer has |
//! | [`write`], [`remote_write`], [`otlp`] | line protocol, remote write, OpenTelemetry |
//! | [`metrics`] | health and metrics |
//!
//! No client keeps another from being served: [`crate::net::places`] says how.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::routing::{get, post};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::net;
use crate::net::places::SWEEP_INTERVAL;
use crate::server::Server;

mod auth;
mod body;
mod call;
mod connection;
mod metrics;
mod otlp;
mod refusal;
mod remote_write;
mod watched;
mod write;

pub use auth::Remembered;
pub use body::RequestMemory;

fn router(server: &Arc<Server>) -> Router {
    Router::new()
        .route("/write", post(write::version_1))
        .route("/api/v2/write", post(write::version_2))
        .route("/api/v3/write_lp", post(write::version_3))
        .route("/api/v1/write", post(remote_write::write))
        .route("/api/v1/prom/write", post(remote_write::write))
        .route("/v1/metrics", post(otlp::metrics))
        .route("/v1/logs", post(otlp::logs))
        .route("/health", get(metrics::health))
        .route("/ping", get(metrics::ping).head(metrics::ping))
        .route("/metrics", get(metrics::metrics))
        .with_state(Arc::clone(server))
}

/// Serves HTTP until the server drains; requests that are under way are answered.
pub async fn listen(server: Arc<Server>, listener: TcpListener) {
    let router = router(&server);
    let mut draining = server.draining();
    let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connections = JoinSet::new();
    // Each branch is cancel-safe: a connection is accepted, a task joined, in the step that returns it.
    loop {
        tokio::select! {
            accepted = net::accept(&listener, &mut draining) => match accepted {
                Some((stream, peer)) => begin(&server, &router, stream, peer, &mut connections),
                None => break,
            },
            Some(_) = connections.join_next() => {}
            _ = ticks.tick() => server.http_places.sweep(),
        }
    }
    drop(listener);
    loop {
        tokio::select! {
            joined = connections.join_next() => if joined.is_none() { return },
            _ = ticks.tick() => server.http_places.sweep(),
        }
    }
}

fn begin(
    server: &Arc<Server>,
    router: &Router,
    stream: TcpStream,
    peer: SocketAddr,
    connections: &mut JoinSet<()>,
) {
    match server.http_places.take() {
        Some(place) => {
            let draining = server.draining();
            connections.spawn(connection::serve(router.clone(), stream, ConnectInfo(peer), place, draining));
        }
        None => connection::turn_away(&stream),
    }
}
