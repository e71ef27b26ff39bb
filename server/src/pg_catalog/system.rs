//! What the running server tells of itself to the views in schema `tidemark`.
//!
//! The interpreter knows no engine: it is given plain numbers, by whoever made its context.

use std::fmt;
use std::time::Duration;

use tidemark_catalog::ids::{CollectionId, ColumnId, Lsn, PartitionId, SegmentId};
use tidemark_catalog::producer::Producer;

/// The running server, to be asked.
pub trait System: fmt::Debug + Send + Sync {
    /// Whether a partition gets no more rows, as a rule.
    fn is_sealed(&self, collection: CollectionId, partition: PartitionId) -> bool;
    /// Where a segment's file is, in the data directory.
    fn segment_file(&self, collection: CollectionId, segment: SegmentId) -> String;
    /// The memtables of all collections.
    fn memtables(&self) -> Vec<Memtables>;
    /// The write-ahead log.
    fn log(&self) -> Log;
    /// What is run in the background, and what waits.
    fn jobs(&self) -> Vec<Job>;
    /// The dictionaries of symbol columns.
    fn symbols(&self) -> Vec<Symbols>;
    /// The last merges.
    fn merges(&self) -> Vec<Merge>;
    /// Those who number what they write, by name, with the last batch of each.
    fn producers(&self) -> Vec<(String, Producer)>;
}

/// The memtables of a collection.
#[derive(Clone, Debug)]
pub struct Memtables {
    /// Whose.
    pub collection: CollectionId,
    /// Rows and memory of what takes rows.
    pub active: (u64, usize),
    /// Rows and memory of what is being flushed.
    pub frozen: (u64, usize),
    /// How many are being flushed, or wait for it.
    pub frozen_count: usize,
    /// The first and the last commit.
    pub lsn_bounds: Option<(Lsn, Lsn)>,
    /// How long ago the first row came.
    pub age: Option<Duration>,
}

/// The write-ahead log.
#[derive(Clone, Debug)]
pub struct Log {
    /// Commits up to here are seen.
    pub visible: Lsn,
    /// Commits up to here are durable.
    pub durable: Lsn,
    /// Its files.
    pub files: Vec<LogFile>,
}

/// A file of the log.
#[derive(Clone, Debug)]
pub struct LogFile {
    /// Its name.
    pub name: String,
    /// The first record in it.
    pub first: Lsn,
    /// Its length, where it can be had.
    pub bytes: Option<u64>,
}

/// A job in the background.
#[derive(Clone, Debug)]
pub struct Job {
    /// What it is.
    pub name: &'static str,
    /// Of which collection.
    pub collection: Option<CollectionId>,
    /// How long it has run; `None` while it waits.
    pub running_for: Option<Duration>,
    /// In how long it is run; `None` when it is.
    pub due_in: Option<Duration>,
}

/// The dictionary of a symbol column.
#[derive(Clone, Debug)]
pub struct Symbols {
    /// Whose.
    pub collection: CollectionId,
    /// Of which column.
    pub column: ColumnId,
    /// How many texts it has.
    pub text_count: usize,
    /// Memory.
    pub memory_bytes: usize,
}

/// A merge that is over.
#[derive(Clone, Debug)]
pub struct Merge {
    /// Of which collection.
    pub collection: CollectionId,
    /// Of which partition.
    pub partition: PartitionId,
    /// Why.
    pub reason: &'static str,
    /// When it began, in µs since 1970.
    pub started_us: i64,
    /// How long it took.
    pub duration: Duration,
    /// What was merged.
    pub inputs: Vec<SegmentId>,
    /// Bytes of those.
    pub input_bytes: u64,
    /// What was made.
    pub output: Option<SegmentId>,
    /// Rows of it.
    pub output_rows: u64,
    /// Bytes of it.
    pub output_bytes: u64,
    /// Why it failed, if it did.
    pub error: Option<String>,
}
