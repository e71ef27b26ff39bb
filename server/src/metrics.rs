//! What the server counts; the engine counts for itself.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Counts more.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The server's counts since it started.
#[derive(Debug, Default)]
pub struct ServerMetrics {
    /// Clients that were let in.
    pub connections: Count,
    /// Errors that clients were told.
    pub errors: Count,
    /// Rows that came in otherwise than by SQL.
    pub ingest: IngestMetrics,
}

/// A way in for rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Line protocol over HTTP.
    LineHttp,
    /// Line protocol over TCP; what is written together is a request.
    LineTcp,
    /// Prometheus' remote write.
    RemoteWrite,
    /// OpenTelemetry's metrics.
    OtlpMetrics,
    /// OpenTelemetry's logs.
    OtlpLogs,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Protocol; 5] = [
        Protocol::LineHttp,
        Protocol::LineTcp,
        Protocol::RemoteWrite,
        Protocol::OtlpMetrics,
        Protocol::OtlpLogs,
    ];

    /// The name in labels.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::LineHttp => "line_http",
            Protocol::LineTcp => "line_tcp",
            Protocol::RemoteWrite => "remote_write",
            Protocol::OtlpMetrics => "otlp_metrics",
            Protocol::OtlpLogs => "otlp_logs",
        }
    }
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// It, or rows in it, are not right; also where other rows were written.
    Malformed,
    /// Its sender is not known, or may not.
    Unauthorized,
    /// It is too large.
    TooLarge,
    /// The server could not take it then.
    Unavailable,
    /// The server failed.
    Internal,
}

impl ErrorKind {
    /// All of them.
    pub const ALL: [ErrorKind; 5] = [
        ErrorKind::Malformed,
        ErrorKind::Unauthorized,
        ErrorKind::TooLarge,
        ErrorKind::Unavailable,
        ErrorKind::Internal,
    ];

    /// The name in labels.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::Malformed => "malformed",
            ErrorKind::Unauthorized => "unauthorized",
            ErrorKind::TooLarge => "too_large",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Internal => "internal",
        }
    }
}

/// Rows that came in otherwise than by SQL, by protocol.
#[derive(Debug, Default)]
pub struct IngestMetrics([ProtocolMetrics; Protocol::ALL.len()]);

/// What came in by a protocol.
#[derive(Debug, Default)]
pub struct ProtocolMetrics {
    /// Requests.
    pub requests: Count,
    /// Rows that were written.
    pub rows: Count,
    /// Rows that were not right.
    pub rejected_rows: Count,
    errors: [Count; ErrorKind::ALL.len()],
}

impl IngestMetrics {
    /// What came in by a protocol.
    pub fn of(&self, protocol: Protocol) -> &ProtocolMetrics {
        &self.0[protocol as usize]
    }
}

impl ProtocolMetrics {
    /// Requests that were answered with an error of a kind.
    pub fn errors(&self, kind: ErrorKind) -> &Count {
        &self.errors[kind as usize]
    }
}
