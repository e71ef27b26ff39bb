//! Health and metrics.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::server::Server;

/// `GET /health`
pub(super) async fn health(State(server): State<Arc<Server>>) -> Response {
    let draining = server.is_draining();
    let status = if draining { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let body = json!({
        "name": "tidemark",
        "status": if draining { "fail" } else { "pass" },
        "message": if draining { "shutting down" } else { "ready for queries and writes" },
        "version": env!("CARGO_PKG_VERSION"),
    });
    (status, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

/// `GET /ping`
pub(super) async fn ping() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// `GET /metrics`, in Prometheus' text format.
pub(super) async fn metrics(State(server): State<Arc<Server>>) -> Response {
    let body = render(&server);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], body).into_response()
}

fn render(server: &Server) -> String {
    let engine = server.engine.metrics();
    let counters: [(&str, u64, &str); 18] = [
        ("connections_total", server.metrics.connections.get(), "Clients that were let in."),
        ("errors_total", server.metrics.errors.get(), "Errors that clients were told."),
        ("line_requests_total", server.metrics.line_requests.get(), "Requests that wrote line protocol."),
        ("line_rows_total", server.metrics.line_rows.get(), "Lines that became rows."),
        ("line_errors_total", server.metrics.line_errors.get(), "Line protocol requests that were refused."),
        ("rows_written_total", engine.rows_written.get(), "Rows that the log took, but for bulk writes."),
        ("commits_total", engine.commits.get(), "Commits that the log took, but for bulk writes."),
        ("writes_over_budget_total", engine.writes_over_budget.get(), "Times a writer found memtables full."),
        ("flushes_total", engine.flushes.get(), "Memtables that became segments."),
        ("flush_rows_total", engine.flush_rows.get(), "Rows that were written to segments."),
        ("flush_bytes_total", engine.flush_bytes.get(), "Bytes of segments that were written."),
        ("flush_failures_total", engine.flush_failures.get(), "Flushes that failed and were tried again."),
        ("replayed_rows_total", engine.replayed_rows.get(), "Rows that were put back from the log at start."),
        (
            "log_files_removed_total",
            engine.log_files_removed.get(),
            "Log files that were not needed any more.",
        ),
        ("pages_read_total", engine.pages_read.get(), "Pages of segments that were read."),
        ("block_hits_total", engine.block_hits.get(), "Decoded columns that were in memory."),
        ("block_misses_total", engine.block_misses.get(), "Columns that had to be decoded."),
        ("page_bytes_read_total", engine.page_bytes_read.get(), "Bytes of them."),
    ];
    let view = server.engine.view();
    let segments: usize = view.collections().map(|it| it.segments.len()).sum();
    let bytes: u64 = view.collections().flat_map(|it| it.segments.values()).map(|it| it.file_bytes).sum();
    let (visible, durable) = server.engine.log_positions();
    let gauges: [(&str, u64, &str); 12] = [
        ("sessions", server.sessions.len() as u64, "Clients that are connected."),
        ("start_time_seconds", server.started_us.unsigned_abs() / 1_000_000, "When the server started."),
        ("memtable_bytes", server.engine.budget().used_bytes() as u64, "Memory of memtables."),
        ("memtable_bytes_max", server.engine.budget().bytes_max() as u64, "Memory they may take."),
        ("block_cache_bytes", server.engine.block_cache_bytes(), "Memory of decoded columns."),
        ("query_memory_bytes", server.planner.memory().used_bytes() as u64, "Memory of queries."),
        ("collections", view.collections().count() as u64, "Collections there are."),
        ("segments", segments as u64, "Segments there are."),
        ("segment_bytes", bytes, "Bytes of them."),
        ("log_files", server.engine.log_files().len() as u64, "Log files with records."),
        ("log_visible_position", visible.0, "The last commit that readers see."),
        ("log_durable_position", durable.0, "The last commit that is on the disk."),
    ];
    let mut text = String::new();
    let all = counters.map(|it| (it, "counter")).into_iter().chain(gauges.map(|it| (it, "gauge")));
    for ((name, value, help), kind) in all {
        // Writing to a string does not fail.
        write!(
            text,
            "# HELP tidemark_{name} {help}\n# TYPE tidemark_{name} {kind}\ntidemark_{name} {value}\n"
        )
        .expect("a string takes all that is written to it");
    }
    text
}
