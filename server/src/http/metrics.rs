//! Health and metrics.

use std::fmt::{Display, Write as _};
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tidemark_engine::metrics::{Counter, Metrics as EngineMetrics};

use crate::metrics::{Count, ErrorKind, Protocol, ProtocolMetrics};
use crate::net::places::Places;
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
    let mut text = Text(String::new());
    server_families(&mut text, server);
    ingest_families(&mut text, server);
    listener_families(&mut text, server);
    engine_families(&mut text, server);
    text.0
}

/// What a family of samples counts: its name, its help.
type Named<'a> = (&'a str, &'a str);

/// Metrics in Prometheus' text format.
struct Text(String);

impl Text {
    fn family(&mut self, kind: &str, (name, help): Named<'_>, samples: &[(impl Display, u64)]) {
        write!(self.0, "# HELP tidemark_{name} {help}\n# TYPE tidemark_{name} {kind}\n")
            .expect(STRINGS_TAKE_ALL);
        for (labels, value) in samples {
            writeln!(self.0, "tidemark_{name}{labels} {value}").expect(STRINGS_TAKE_ALL);
        }
    }

    /// A number that only grows; its name ends in `_total`.
    fn counter(&mut self, name: &str, value: u64, help: &str) {
        self.family("counter", (name, help), &[("", value)]);
    }

    fn gauge(&mut self, name: &str, value: u64, help: &str) {
        self.family("gauge", (name, help), &[("", value)]);
    }
}

const STRINGS_TAKE_ALL: &str = "a string takes all that is written to it";

fn server_families(text: &mut Text, server: &Server) {
    let metrics = &server.metrics;
    text.gauge(
        "start_time_seconds",
        server.started_us.unsigned_abs() / 1_000_000,
        "When the server started.",
    );
    text.gauge("sessions", server.sessions.len() as u64, "PostgreSQL clients that are connected.");
    text.counter("connections_total", metrics.connections.get(), "PostgreSQL clients that were let in.");
    text.counter("errors_total", metrics.errors.get(), "Errors that PostgreSQL clients were told.");
    let query_memory = server.planner.memory().used_bytes() as u64;
    text.gauge("query_memory_bytes", query_memory, "Memory of queries.");
}

fn ingest_families(text: &mut Text, server: &Server) {
    let metrics = &server.metrics.ingest;
    let by_protocol = |count: fn(&ProtocolMetrics) -> &Count| {
        Protocol::ALL.map(|protocol| {
            let label = format!("{{protocol=\"{}\"}}", protocol.name());
            (label, count(metrics.of(protocol)).get())
        })
    };
    let requests = ("ingest_requests_total", "Requests that brought rows.");
    text.family("counter", requests, &by_protocol(|it| &it.requests));
    let rows = ("ingest_rows_total", "Rows of them that were written.");
    text.family("counter", rows, &by_protocol(|it| &it.rows));
    let rejected = ("ingest_rejected_rows_total", "Rows of them that were not right.");
    text.family("counter", rejected, &by_protocol(|it| &it.rejected_rows));
    let errors = Protocol::ALL.into_iter().flat_map(|protocol| {
        ErrorKind::ALL.map(|kind| {
            let label = format!("{{protocol=\"{}\",kind=\"{}\"}}", protocol.name(), kind.name());
            (label, metrics.of(protocol).errors(kind).get())
        })
    });
    let family = ("ingest_errors_total", "Requests of them that were answered with an error.");
    text.family("counter", family, &errors.collect::<Vec<_>>());
}

fn listener_families(text: &mut Text, server: &Server) {
    let (http, line) = (&server.http_places, &server.line_places);
    let request_memory = server.request_memory.used_bytes() as u64;
    text.gauge("http_request_memory_bytes", request_memory, "Memory of bodies of requests over HTTP.");
    let pair = |count: fn(&Places) -> u64| {
        [("{listener=\"http\"}", count(http)), ("{listener=\"line\"}", count(line))]
    };
    let open = ("listener_connections", "Connections that are open.");
    text.family("gauge", open, &pair(|it| it.len() as u64));
    let accepted = ("listener_connections_total", "Connections that got a place.");
    text.family("counter", accepted, &pair(|it| it.opened.get()));
    let displaced =
        ("listener_connections_displaced_total", "Idle connections that gave their place to others.");
    text.family("counter", displaced, &pair(|it| it.displaced.get()));
    let timed_out = ("listener_connections_timed_out_total", "Connections whose client was too slow.");
    text.family("counter", timed_out, &pair(|it| it.timed_out.get()));
    let refused = ("listener_connections_refused_total", "Connections for which there was no place.");
    text.family("counter", refused, &pair(|it| it.refused.get()));
}

fn engine_families(text: &mut Text, server: &Server) {
    let engine = server.engine.metrics();
    for (name, counter, help) in engine_counters(engine) {
        text.counter(name, counter.get(), help);
    }
    text.gauge("block_cache_bytes", server.engine.block_cache_bytes(), "Memory of decoded columns.");
    let budget = server.engine.budget();
    text.gauge("memtable_bytes", budget.used_bytes() as u64, "Memory of memtables.");
    text.gauge("memtable_max_bytes", budget.bytes_max() as u64, "Memory that memtables may take.");
    let view = server.engine.view();
    let segments: usize = view.collections().map(|it| it.segments.len()).sum();
    let bytes: u64 = view.collections().flat_map(|it| it.segments.values()).map(|it| it.file_bytes).sum();
    text.gauge("collections", view.collections().count() as u64, "Collections there are.");
    text.gauge("segments", segments as u64, "Segments there are.");
    text.gauge("segment_bytes", bytes, "Bytes of segments.");
    let (visible, durable) = server.engine.log_positions();
    text.gauge("log_files", server.engine.log_files().len() as u64, "Log files with records.");
    text.gauge("log_visible_position", visible.0, "The last commit that readers see.");
    text.gauge("log_durable_position", durable.0, "The last commit that is on the disk.");
}

/// The engine's counters, with their names and what they count.
fn engine_counters(engine: &EngineMetrics) -> [(&'static str, &Counter, &'static str); 25] {
    [
        ("rows_written_total", &engine.rows_written, "Rows that the log took, but for bulk writes."),
        ("commits_total", &engine.commits, "Commits that the log took, but for bulk writes."),
        ("writes_repeated_total", &engine.writes_repeated, "Numbered writes that had been committed before."),
        (
            "writes_overtaken_total",
            &engine.writes_overtaken,
            "Writes that were refused, or tried again, because others wrote their keys first.",
        ),
        ("writes_over_budget_total", &engine.writes_over_budget, "Times a writer found memtables full."),
        ("flushes_total", &engine.flushes, "Memtables that became segments."),
        ("flush_rows_total", &engine.flush_rows, "Rows that were written to segments."),
        ("flush_bytes_total", &engine.flush_bytes, "Bytes of segments that were written."),
        ("flush_failures_total", &engine.flush_failures, "Flushes that failed and were tried again."),
        ("merges_started_total", &engine.merges_started, "Merges that began."),
        ("merges_total", &engine.merges, "Merges whose segments took the place of others."),
        ("merge_rows_total", &engine.merge_rows, "Rows that merges wrote."),
        ("merge_read_bytes_total", &engine.merge_bytes_read, "Bytes of segments that merges read."),
        ("merge_written_bytes_total", &engine.merge_bytes, "Bytes of segments that merges wrote."),
        (
            "merge_failures_total",
            &engine.merge_failures,
            "Merges that failed, or were overtaken by another change.",
        ),
        ("partitions_dropped_total", &engine.partitions_dropped, "Partitions that were dropped."),
        (
            "rows_replaced_total",
            &engine.rows_replaced,
            "Rows of segments that a later row of the same key replaced.",
        ),
        ("rows_deleted_total", &engine.rows_deleted, "Rows of segments that were deleted."),
        (
            "symbol_columns_as_text_total",
            &engine.symbol_columns_as_text,
            "Symbol columns that became columns of text because they had more texts than symbol_limit.",
        ),
        ("replayed_rows_total", &engine.replayed_rows, "Rows that were put back from the log at start."),
        ("log_files_removed_total", &engine.log_files_removed, "Log files that were not needed any more."),
        ("pages_read_total", &engine.pages_read, "Pages of segments that were read."),
        ("page_bytes_read_total", &engine.page_bytes_read, "Bytes of pages that were read."),
        ("block_hits_total", &engine.block_hits, "Decoded columns that were in memory."),
        ("block_misses_total", &engine.block_misses, "Columns that had to be decoded."),
    ]
}
