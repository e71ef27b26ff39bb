//! The Tidemark server: wire protocol, sessions, SQL, plans, the catalog as PostgreSQL shows it, rows
//! over HTTP.
//!
//! ```text
//!   psql, drivers ──▶ wire ──▶ session ──▶ sql ──▶ plan (DataFusion) ──▶ engine
//!                                   └────▶ pg_catalog (interpreter)       ▲
//!   line protocol, … ──▶ http ──▶ ingest ─────────────────────────────────┘
//! ```
//!
//! Only `wire` knows pgwire; only `sql`, `plan` and `exec` know DataFusion.

pub mod check;
pub mod config;
pub mod error;
pub mod http;
pub mod import;
pub mod ingest;
pub mod lineprotocol;
pub mod metrics;
pub mod net;
pub mod otlp;
pub mod pg_catalog;
pub mod pgtype;
pub mod plan;
pub mod prometheus;
pub mod protobuf;
pub mod security;
pub mod server;
pub mod session;
pub mod sql;
pub mod sqlstate;
pub mod telemetry;
pub mod wire;
