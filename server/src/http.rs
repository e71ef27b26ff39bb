//! HTTP: line protocol in, health and metrics out.
//!
//! | path | does |
//! | --- | --- |
//! | `POST /write` | line protocol, as version 1 of InfluxDB's API: `db`, `precision`, `u`, `p` |
//! | `POST /api/v2/write` | the same as version 2: `bucket`, `org`, `precision`, a token |
//! | `GET /health`, `GET /ping` | whether the server is up |
//! | `GET /metrics` | counts and sizes, for Prometheus |

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use tokio::net::TcpListener;

use crate::server::Server;

mod auth;
mod metrics;
mod write;

pub use auth::Remembered;

/// The longest body, before and after it is unpacked.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Serves HTTP until the server drains; requests that are under way are answered.
pub async fn listen(server: Arc<Server>, listener: TcpListener) {
    let mut draining = server.draining();
    let router = Router::new()
        .route("/write", post(write::version_1))
        .route("/api/v2/write", post(write::version_2))
        .route("/health", get(metrics::health))
        .route("/ping", get(metrics::ping).head(metrics::ping))
        .route("/metrics", get(metrics::metrics))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(server);
    let drained = async move {
        draining.wait_for(|draining| *draining).await.ok();
    };
    let service = router.into_make_service_with_connect_info::<std::net::SocketAddr>();
    if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(drained).await {
        tracing::error!(%error, "cannot serve HTTP");
    }
}
