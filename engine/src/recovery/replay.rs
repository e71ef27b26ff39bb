//! Putting rows back that are in the log and not in segments: step 6 of opening a data directory.
//!
//! Records come in the order of their LSNs. What a collection's segments have already is passed over. The rows
//! of a bulk write gather beside the memtable, and join it with its commit; without one they are skipped.
//! A memtable that is full is flushed while the next one fills ([`FlushBehind`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int32Array};
use tidemark_catalog::ids::{CollectionId, ColumnId, Lsn};

use super::flush_behind::{FlushBehind, failed};
use super::{BulkCommits, unnumbered};
use crate::batch::WriteBatch;
use crate::bulk::{attach, begin_of, stage_rows};
use crate::collection::CollectionRuntime;
use crate::engine::Inner;
use crate::error::{OpenError, WalFormatError, WalOpenError, WriteError};
use crate::memtable::Memtable;
use crate::segment::handle::SegmentHandle;
use crate::types::write_type;
use crate::wal::codec::{LoggedBatch, LoggedColumn, decode_batches};
use crate::wal::format::RecordKind;
use crate::wal::reader::{self, Located, Scan};

/// How often replay says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// A bulk write while its records are read.
#[derive(Default)]
struct ReplayedBulk {
    collection: Option<CollectionId>,
    rows: Memtable,
    staged: Vec<Arc<SegmentHandle>>,
}

struct Replay<'a> {
    engine: &'a Inner,
    flushes: FlushBehind<'a>,
    bulk_commits: BulkCommits,
    bulk: BTreeMap<Lsn, ReplayedBulk>,
    /// What each collection had in segments when it was opened.
    flushed: BTreeMap<CollectionId, Lsn>,
    last_lsn: Lsn,
    progress_at: Duration,
}

pub(super) fn replay(engine: &Arc<Inner>, scan: &Scan, bulk_commits: BulkCommits) -> Result<(), OpenError> {
    let view = engine.catalog.view();
    let flushed = view.collections().map(|view| (view.collection.id, view.collection.flushed_lsn));
    let mut replay = Replay {
        engine,
        flushes: FlushBehind::new(engine),
        bulk_commits,
        bulk: BTreeMap::new(),
        flushed: flushed.collect(),
        last_lsn: scan.last_lsn,
        progress_at: engine.env.clock.monotonic() + PROGRESS_INTERVAL,
    };
    reader::replay(engine.env.files.as_ref(), scan, |located| replay.record(located))?;
    replay.flushes.wait()?;
    let rows = engine.metrics.replayed_rows.get();
    if rows > 0 {
        tracing::info!(rows, "put back rows from the write-ahead log");
    }
    Ok(())
}

impl Replay<'_> {
    fn record(&mut self, located: Located<'_>) -> Result<(), OpenError> {
        fail::fail_point!("recovery::record");
        let (kind, _, body) = unnumbered(&located).map_err(bad_record)?;
        match kind {
            RecordKind::SequencedWrite | RecordKind::SequencedBulkCommit => {
                unreachable!("it was made a plain one")
            }
            RecordKind::Write => {
                let mut written = Vec::new();
                for batch in decode_batches(body).map_err(bad_record)? {
                    written.extend(self.write(located.lsn, &batch)?);
                }
                // Only now: a memtable that is frozen holds its last commit whole.
                for runtime in written {
                    let bytes = runtime.lock().active.memory_bytes();
                    if bytes >= self.engine.options.memtable_bytes_soft || self.over_budget() {
                        self.flush(&runtime)?;
                    }
                }
            }
            RecordKind::BulkBegin | RecordKind::BulkAbort => {}
            RecordKind::BulkRows => {
                let (begin, rest) = begin_of(body).ok_or(WalFormatError::BadRecord).map_err(bad_record)?;
                if let Some(commit) = self.bulk_commits.get(&begin).copied() {
                    for batch in decode_batches(rest).map_err(bad_record)? {
                        self.bulk_rows(begin, commit, &batch)?;
                    }
                }
            }
            RecordKind::BulkCommit => {
                let (begin, _) = begin_of(body).ok_or(WalFormatError::BadRecord).map_err(bad_record)?;
                self.bulk_commit(begin, located.lsn)?;
            }
        }
        self.report_progress(located.lsn);
        Ok(())
    }

    /// The collection, if the commit is not in its segments.
    fn needs(&self, id: CollectionId, commit: Lsn) -> Option<Arc<CollectionRuntime>> {
        let flushed = self.flushed.get(&id)?;
        if commit > *flushed { self.engine.runtime(id) } else { None }
    }

    /// Puts back rows; returns the collection that got them.
    fn write(
        &mut self,
        lsn: Lsn,
        logged: &LoggedBatch<'_>,
    ) -> Result<Option<Arc<CollectionRuntime>>, OpenError> {
        let Some(runtime) = self.needs(logged.collection, lsn) else { return Ok(None) };
        let Some(batch) = rows_of(&runtime, logged)? else { return Ok(None) };
        self.engine.metrics.replayed_rows.add(batch.row_count() as u64);
        let charge = self.engine.budget.charge(batch.memory_bytes());
        let now = self.engine.env.clock.monotonic();
        let mut state = runtime.lock();
        let missing = state.missing.clone();
        state.active.push(lsn, batch, charge, now, &missing);
        drop(state);
        Ok(Some(runtime))
    }

    fn bulk_rows(&mut self, begin: Lsn, commit: Lsn, logged: &LoggedBatch<'_>) -> Result<(), OpenError> {
        let Some(runtime) = self.needs(logged.collection, commit) else { return Ok(()) };
        let Some(batch) = rows_of(&runtime, logged)? else { return Ok(()) };
        self.engine.metrics.replayed_rows.add(batch.row_count() as u64);
        let charge = self.engine.budget.charge(batch.memory_bytes());
        let now = self.engine.env.clock.monotonic();
        let bulk = self.bulk.entry(begin).or_default();
        bulk.collection = Some(logged.collection);
        bulk.rows.push(begin, batch, charge, now, &runtime.missing());
        let full = bulk.rows.memory_bytes() >= self.engine.options.memtable_bytes_soft;
        if full || self.over_budget() {
            let bulk = self.bulk.get_mut(&begin).expect("it was just entered");
            let rows = std::mem::take(&mut bulk.rows);
            let staged = stage_rows(self.engine, &runtime, &rows);
            bulk.staged.extend(staged.map_err(failed)?);
        }
        Ok(())
    }

    fn bulk_commit(&mut self, begin: Lsn, lsn: Lsn) -> Result<(), OpenError> {
        let Some(bulk) = self.bulk.remove(&begin) else { return Ok(()) };
        let runtime = bulk.collection.and_then(|id| self.needs(id, lsn));
        let Some(runtime) = runtime else { return Ok(()) };
        let now = self.engine.env.clock.monotonic();
        attach(&mut runtime.lock(), lsn, begin, &bulk.rows, bulk.staged, now);
        drop(bulk.rows);
        let frozen = !runtime.lock().frozen.is_empty();
        if frozen || self.over_budget() { self.flush(&runtime) } else { Ok(()) }
    }

    fn over_budget(&self) -> bool {
        self.engine.budget.used_bytes() >= self.engine.budget.bytes_max()
    }

    /// Flushes the collection while replay goes on; when memory is short, waits for that, and if it is
    /// not enough flushes the others too.
    fn flush(&mut self, runtime: &Arc<CollectionRuntime>) -> Result<(), OpenError> {
        self.flushes.start(vec![Arc::clone(runtime)])?;
        if self.over_budget() {
            self.flushes.wait()?;
        }
        if self.over_budget() {
            self.flushes.start(self.engine.runtimes())?;
            self.flushes.wait()?;
        }
        Ok(())
    }

    fn report_progress(&mut self, lsn: Lsn) {
        let now = self.engine.env.clock.monotonic();
        if now >= self.progress_at {
            let rows = self.engine.metrics.replayed_rows.get();
            tracing::info!(position = lsn.0, last = self.last_lsn.0, rows, "replaying the write-ahead log");
            self.progress_at = now + PROGRESS_INTERVAL;
        }
    }
}

/// The rows of a logged batch as the collection has them now; `None` when all of their columns were
/// dropped.
fn rows_of(runtime: &CollectionRuntime, logged: &LoggedBatch<'_>) -> Result<Option<WriteBatch>, OpenError> {
    let collection = Arc::clone(&runtime.lock().collection);
    let symbols = runtime.symbols();
    let data_type = |id: ColumnId| collection.schema.column(id).map(|it| write_type(&it.column_type));
    let mut columns: Vec<(ColumnId, ArrayRef)> = Vec::new();
    for (id, column) in logged.columns(data_type).map_err(bad_record)? {
        let array: ArrayRef = match column {
            LoggedColumn::Values(array) => array,
            LoggedColumn::Symbols { texts, indexes } => {
                let dictionary = symbols.get(id).ok_or_else(|| bad_record(WalFormatError::BadRecord))?;
                let ids = texts.iter().map(|text| dictionary.intern(text));
                let ids = ids.collect::<Result<Vec<i32>, WriteError>>();
                let ids = ids.map_err(|error| OpenError::Replay(Box::new(error)))?;
                let at = |index: i32| ids[usize::try_from(index).expect("the codec checked it")];
                Arc::new(indexes.iter().map(|index| index.map(at)).collect::<Int32Array>())
            }
        };
        columns.push((id, array));
    }
    if columns.is_empty() {
        return Ok(None);
    }
    let batch = WriteBatch::from_log(&collection, columns, logged.row_count);
    batch.map(Some).ok_or_else(|| bad_record(WalFormatError::BadRecord))
}

fn bad_record(source: WalFormatError) -> OpenError {
    WalOpenError::Record(source).into()
}
