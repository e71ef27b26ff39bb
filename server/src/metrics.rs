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
    /// Requests over HTTP that wrote line protocol.
    pub line_requests: Count,
    /// Lines in them that became rows.
    pub line_rows: Count,
    /// Requests that were refused.
    pub line_errors: Count,
}
