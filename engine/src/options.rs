//! What the engine is opened with.

use std::fmt;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// When a commit is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitMode {
    /// When it is durable; one sync serves all that wait. Nothing acknowledged is ever lost.
    Group,
    /// When the log has it; the log is synced at least this often. A crash of the machine loses
    /// what was acknowledged since then; a crash of the server loses nothing.
    Interval(Duration),
    /// When the log has it; synced when a log segment is full and on shutdown. A crash of the
    /// machine loses what was acknowledged since then; a crash of the server loses nothing.
    Off,
}

/// What is done when the engine cannot go on: the log or the catalog could not be written, and what
/// is durable is not known. A server ends the process; opening again recovers.
#[derive(Clone)]
pub struct OnFailure(Arc<dyn Fn(&str) + Send + Sync>);

impl OnFailure {
    /// Calls the function once with a sentence that says what failed.
    pub fn new(act: impl Fn(&str) + Send + Sync + 'static) -> OnFailure {
        OnFailure(Arc::new(act))
    }

    pub(crate) fn call(&self, what: &str) {
        (self.0)(what);
    }
}

impl fmt::Debug for OnFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnFailure")
    }
}

/// What the engine is opened with. Sizes are in bytes.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The data directory.
    pub directory: PathBuf,
    /// When commits are acknowledged, where a write does not say otherwise.
    pub commit: CommitMode,
    /// The size of a log segment; a larger record gets a larger one of its own.
    pub wal_segment_bytes: u64,
    /// An active memtable of this size is frozen and flushed.
    pub memtable_bytes_soft: usize,
    /// All memtables together; above it writers wait.
    pub memtable_bytes_hard: usize,
    /// A bulk write of at most this size is committed by one record.
    pub bulk_record_bytes_max: usize,
    /// How long a writer waits for memory before it is refused.
    pub admission_wait_max: Duration,
    /// A memtable that got no rows for this long is flushed.
    pub memtable_idle_max: Duration,
    /// A memtable whose first row is this old is flushed.
    pub memtable_age_max: Duration,
    /// Rows in a row group of a segment.
    pub segment_row_group_rows: usize,
    /// Rows in a page of a segment.
    pub segment_page_rows: usize,
    /// Memory for decoded columns of segments.
    pub block_cache_bytes: usize,
    /// How fast merges read segments; `None`: as fast as they can.
    pub merge_bytes_per_second: Option<NonZeroU64>,
    /// Threads that run background jobs.
    pub job_threads: usize,
    /// What is done when the engine cannot go on.
    pub on_failure: OnFailure,
}

impl EngineOptions {
    /// What a server uses when nothing else is asked for.
    pub fn new(directory: PathBuf) -> EngineOptions {
        EngineOptions {
            directory,
            commit: CommitMode::Group,
            wal_segment_bytes: 64 << 20,
            memtable_bytes_soft: 128 << 20,
            memtable_bytes_hard: 768 << 20,
            bulk_record_bytes_max: 4 << 20,
            admission_wait_max: Duration::from_secs(5),
            memtable_idle_max: Duration::from_secs(5),
            memtable_age_max: Duration::from_secs(300),
            segment_row_group_rows: 256 << 10,
            segment_page_rows: 8 << 10,
            block_cache_bytes: 1 << 30,
            merge_bytes_per_second: None,
            job_threads: 2,
            on_failure: OnFailure::new(|what| tracing::error!(what, "the engine cannot go on")),
        }
    }
}
