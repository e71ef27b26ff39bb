//! What the engine counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// The number now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The engine's counters since it was opened.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Rows that writers handed over and the log took.
    pub rows_written: Counter,
    /// Commits that the log took.
    pub commits: Counter,
    /// Numbered writes that had been committed before.
    pub writes_repeated: Counter,
    /// Writes that were refused because others wrote the same keys first.
    pub writes_overtaken: Counter,
    /// Writes that were refused because memtables were full.
    pub writes_over_budget: Counter,
    /// Memtables that became segments.
    pub flushes: Counter,
    /// Rows in them.
    pub flush_rows: Counter,
    /// Bytes of segments that flushes wrote.
    pub flush_bytes: Counter,
    /// Flushes that failed and are tried again.
    pub flush_failures: Counter,
    /// Merges that began.
    pub merges_started: Counter,
    /// Merges that are published.
    pub merges: Counter,
    /// Rows of the segments that they made.
    pub merge_rows: Counter,
    /// Bytes of the segments that they read.
    pub merge_bytes_read: Counter,
    /// Bytes of the segments that they made.
    pub merge_bytes: Counter,
    /// Merges that failed, or were overtaken by another change.
    pub merge_failures: Counter,
    /// Partitions that were dropped.
    pub partitions_dropped: Counter,
    /// Rows of segments that a later row of the same key replaced.
    pub rows_replaced: Counter,
    /// Rows that were deleted.
    pub rows_deleted: Counter,
    /// Symbol columns that became columns of text because they had too many texts.
    pub symbol_columns_as_text: Counter,
    /// Rows put back from the log on opening.
    pub replayed_rows: Counter,
    /// Log files that were removed because no collection needed them.
    pub log_files_removed: Counter,
    /// Blocks of decoded columns that were in memory when they were asked for.
    pub block_hits: Counter,
    /// Blocks that had to be decoded.
    pub block_misses: Counter,
    /// Pages of segments that were read.
    pub pages_read: Counter,
    /// Bytes of them.
    pub page_bytes_read: Counter,
}
