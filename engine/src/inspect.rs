//! What the running engine tells about itself, as plain numbers: what there is in memory, in the log and
//! in the queue of jobs. What there is on disk, the catalog tells.

use std::time::Duration;

use tidemark_catalog::ids::{CollectionId, ColumnId, Lsn, PartitionId};

use crate::engine::Engine;
use crate::env::OpenMode;
use crate::jobs::merge;
use crate::memtable::Memtable;
use crate::timeseries::picker::Phase;
use crate::wal::reader;

/// The memtables of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemtableState {
    /// Whose.
    pub collection: CollectionId,
    /// What takes rows.
    pub active: MemtableSize,
    /// What is being flushed, or waits for it.
    pub frozen: MemtableSize,
    /// How many are frozen.
    pub frozen_count: usize,
    /// The first and the last commit in all of them; `None` without rows.
    pub lsn_bounds: Option<(Lsn, Lsn)>,
    /// How long ago the first row came; `None` without rows.
    pub age: Option<Duration>,
}

/// How much there is in memtables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemtableSize {
    /// Rows.
    pub row_count: u64,
    /// Memory.
    pub bytes: usize,
}

impl MemtableSize {
    fn add(&mut self, memtable: &Memtable) {
        self.row_count += memtable.chunks().iter().map(|chunk| chunk.row_count() as u64).sum::<u64>();
        self.bytes += memtable.memory_bytes();
    }
}

/// The log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogState {
    /// Commits up to here are seen.
    pub visible: Lsn,
    /// Commits up to here are durable.
    pub durable: Lsn,
    /// Files that hold records, oldest first.
    pub files: Vec<LogFile>,
}

/// A file of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Its name.
    pub name: String,
    /// The first record in it.
    pub first: Lsn,
    /// Its length; `None` when it cannot be had, as of a file that was just removed.
    pub bytes: Option<u64>,
}

/// Something that the executor runs, or that waits to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobState {
    /// What it is.
    pub name: &'static str,
    /// Of which collection, where it is of one.
    pub collection: Option<CollectionId>,
    /// Where it stands.
    pub phase: JobPhase,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobPhase {
    /// It has run for so long.
    Running(Duration),
    /// It is run when so much time has passed, or when there is a thread for it.
    Waiting(Duration),
}

/// The dictionary of a symbol column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolState {
    /// Whose.
    pub collection: CollectionId,
    /// Of which column.
    pub column: ColumnId,
    /// How many texts it has.
    pub text_count: usize,
    /// Memory.
    pub memory_bytes: usize,
}

impl Engine {
    /// The memtables of all collections.
    pub fn memtables(&self) -> Vec<MemtableState> {
        let now = self.inner.env.clock.monotonic();
        let of = |runtime: std::sync::Arc<crate::collection::CollectionRuntime>| {
            let state = runtime.lock();
            let mut found = MemtableState {
                collection: runtime.id,
                active: MemtableSize::default(),
                frozen: MemtableSize::default(),
                frozen_count: state.frozen.len(),
                lsn_bounds: None,
                age: None,
            };
            found.active.add(&state.active);
            for frozen in &state.frozen {
                found.frozen.add(&frozen.memtable);
                let staged = frozen.staged.iter().map(|handle| handle.segment().row_count);
                found.frozen.row_count += staged.sum::<u64>();
            }
            let all = state.frozen.iter().map(|frozen| &frozen.memtable).chain([&state.active]);
            for memtable in all {
                let Some((first, last)) = memtable.lsn_bounds() else { continue };
                let known = found.lsn_bounds.map_or(first, |(known, _)| known);
                found.lsn_bounds = Some((known, last));
                let age = now.saturating_sub(memtable.written_between().0);
                found.age = found.age.max(Some(age));
            }
            found
        };
        self.inner.runtimes().into_iter().map(of).collect()
    }

    /// The log. The lengths of files are asked of the file system.
    pub fn log_state(&self) -> LogState {
        let (visible, durable) = self.log_positions();
        let files = self.log_files().into_iter().map(|(number, first)| {
            let file = self.inner.env.files.open(&self.inner.wal.file_path(number), OpenMode::Read);
            let name = reader::file_name(number);
            LogFile { name, first, bytes: file.and_then(|file| file.byte_len()).ok() }
        });
        LogState { visible, durable, files: files.collect() }
    }

    /// What is run in the background, and what waits.
    pub fn jobs(&self) -> Vec<JobState> {
        self.inner.executor.jobs()
    }

    /// The dictionaries of all symbol columns.
    pub fn dictionaries(&self) -> Vec<SymbolState> {
        let runtimes = self.inner.runtimes();
        let of = |runtime: &std::sync::Arc<crate::collection::CollectionRuntime>| {
            let collection = runtime.id;
            let symbols = runtime.symbols();
            let states = symbols.iter().map(|(column, dictionary)| SymbolState {
                collection,
                column,
                text_count: dictionary.len(),
                memory_bytes: dictionary.memory_bytes(),
            });
            states.collect::<Vec<_>>()
        };
        runtimes.iter().flat_map(of).collect()
    }

    /// Whether a partition gets no more rows, as a rule: it ended so long ago as the collection says, and
    /// nothing was flushed into it for a while.
    pub fn is_sealed(&self, collection: CollectionId, partition: PartitionId) -> bool {
        let view = self.inner.catalog.view();
        let Some(known) = view.collection(collection) else { return false };
        let (Some(partition), Some(runtime)) =
            (known.partitions.get(&partition), self.inner.runtime(collection))
        else {
            return false;
        };
        matches!(merge::phase(&self.inner, &runtime, &known.collection, partition), Phase::Sealed)
    }
}
