//! Bulk writes: any number of rows in bounded memory, committed as a whole or not at all.
//!
//! ```text
//!  write(batch) ──▶ log: BulkRows          ┐  not synced, seen by nobody
//!               └─▶ rows in memory ──full──▶ staged segments (files that no manifest names)
//!  finish()     ──▶ log: BulkCommit, synced ── at this record's LSN all rows are there at once:
//!                   staged segments and the rest in memory become a frozen memtable of the
//!                   collection, and its flush publishes them in one edit
//! ```
//!
//! A small write never gets that far: its batches are kept until it is finished, and are then
//! committed by one ordinary record. A crash before `BulkCommit` is durable leaves nothing: replay
//! skips the rows and the files are orphans. After it, replay stages the rows again.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use arrow::error::ArrowError;
use tidemark_catalog::ids::{CollectionId, Lsn};

use crate::batch::{Gaps, WriteBatch};
use crate::collection::CollectionRuntime;
use crate::engine::{CommitTicket, Inner, Numbering, Submitted, Write};
use crate::error::{JobError, WalError, WriteError};
use crate::jobs::{Job, flush};
use crate::memtable::Memtable;
use crate::memtable::budget::Charge;
use crate::producers::BatchNumber;
use crate::segment::handle::SegmentHandle;
use crate::wal::codec::{encode_batch, encode_batch_count};
use crate::wal::format::RecordKind;
use crate::wal::writer::{Appended, Durability};

/// How many full memtables may wait to be staged while the next one fills.
const STAGE_TASKS_MAX: usize = 1;

/// A bulk write under way. Dropping it without [`BulkWrite::finish`] undoes it.
#[derive(Debug)]
pub struct BulkWrite {
    engine: Arc<Inner>,
    runtime: Arc<CollectionRuntime>,
    row_count: u64,
    /// Where its rows have no values; `None` without rows.
    gaps: Option<Gaps>,
    /// Batches of a write that is small so far.
    kept: Vec<(WriteBatch, Charge)>,
    begun: Option<Begun>,
}

/// What a write that is not small has.
#[derive(Debug)]
struct Begun {
    begin: Lsn,
    rows: Memtable,
    tasks: VecDeque<Arc<StageTask>>,
    staged: Vec<Arc<SegmentHandle>>,
    /// The last record that was appended; the one before it was written.
    last: Option<Appended>,
}

impl BulkWrite {
    pub(crate) fn new(engine: Arc<Inner>, runtime: Arc<CollectionRuntime>) -> BulkWrite {
        BulkWrite { engine, runtime, row_count: 0, gaps: None, kept: Vec::new(), begun: None }
    }

    /// Adds rows. Blocks while memory is short or the disk is behind, so not to be called where a
    /// thread must not block.
    ///
    /// # Errors
    /// As [`WriteError`] says; the bulk write can only be dropped then.
    pub fn write(&mut self, batch: WriteBatch) -> Result<(), WriteError> {
        if self.runtime.symbols().are_too_many(&batch) {
            self.engine.limit_symbols(self.runtime.id)?;
        }
        let batch = batch.fitted(&self.runtime.symbols())?;
        let bytes = batch.memory_bytes();
        let charge = self.engine.charge_blocking(bytes)?;
        self.row_count += batch.row_count() as u64;
        let gaps = Gaps::of(&batch);
        self.gaps = Some(match self.gaps.take() {
            None => gaps,
            Some(known) => known.and(gaps),
        });
        self.kept.push((batch, charge));
        let kept_bytes: usize = self.kept.iter().map(|(_, charge)| charge.bytes()).sum();
        if self.begun.is_none() && kept_bytes <= self.engine.options.bulk_record_bytes_max {
            return Ok(());
        }
        if self.begun.is_none() {
            self.begun = Some(self.begin()?);
        }
        for (batch, charge) in std::mem::take(&mut self.kept) {
            self.append(batch, charge)?;
        }
        Ok(())
    }

    fn begin(&self) -> Result<Begun, WriteError> {
        // The lock covers both, so that the log's floor never passes a bulk write unseen.
        let mut active = self.engine.lock_bulk();
        let appended = self.engine.wal.append(RecordKind::BulkBegin, Vec::new(), Durability::Written)?;
        active.insert(appended.lsn);
        Ok(Begun {
            begin: appended.lsn,
            rows: Memtable::default(),
            tasks: VecDeque::new(),
            staged: Vec::new(),
            last: Some(appended),
        })
    }

    fn append(&mut self, batch: WriteBatch, charge: Charge) -> Result<(), WriteError> {
        let engine = Arc::clone(&self.engine);
        let begun = self.begun.as_mut().expect("it was begun");
        // Nobody sees the rows yet, so that what the collection is a moment later does not matter.
        let symbols = self.runtime.symbols();
        let batch = batch.fitted(&symbols)?;
        let mut body = engine.wal.new_body(batch.memory_bytes());
        body.extend_from_slice(&begun.begin.0.to_le_bytes());
        encode_batch_count(&mut body, 1);
        encode_batch(&mut body, self.runtime.id, &batch, &|id| symbols.get(id).cloned());
        let appended = engine.wal.append(RecordKind::BulkRows, body, Durability::Written)?;
        // One record may be on its way while the next is made.
        if let Some(last) = begun.last.replace(appended) {
            engine.wait_committed(last)?;
        }
        let now = engine.env.clock.monotonic();
        if symbols.has_any() {
            begun.rows = begun.rows.fitted(&symbols)?;
        }
        begun.rows.push(begun.begin, batch, charge, now, &self.runtime.missing());
        if begun.rows.memory_bytes() >= engine.options.memtable_bytes_soft {
            self.stage()?;
        }
        Ok(())
    }

    /// Hands the rows in memory to the executor, and waits when it is behind.
    fn stage(&mut self) -> Result<(), WriteError> {
        let begun = self.begun.as_mut().expect("it was begun");
        let memtable = std::mem::take(&mut begun.rows);
        let task = StageTask::new(Arc::clone(&self.runtime), memtable);
        if self.engine.env.spawn.is_some() {
            self.engine.executor.submit(Job::Stage(Arc::clone(&task)), std::time::Duration::ZERO);
        } else {
            task.run(&self.engine);
        }
        begun.tasks.push_back(task);
        while begun.tasks.len() > STAGE_TASKS_MAX {
            let task = begun.tasks.pop_front().expect("there is one");
            begun.staged.extend(task.wait()?);
        }
        Ok(())
    }

    /// How many rows were added.
    pub fn row_count(&self) -> u64 {
        self.row_count
    }

    /// Commits all rows at once. They are there when the ticket says so.
    ///
    /// # Errors
    /// As [`WriteError`] says; nothing is committed.
    pub fn finish(self, durability: Durability) -> Result<Option<CommitTicket>, WriteError> {
        match self.finish_numbered(durability, None)? {
            Some(Submitted::Now(ticket) | Submitted::Before(ticket)) => Ok(Some(ticket)),
            None => Ok(None),
        }
    }

    /// The same for a batch that its producer numbered; when it was committed before, nothing is
    /// committed again.
    ///
    /// # Errors
    /// As [`WriteError`] says; nothing is committed.
    pub fn finish_numbered(
        mut self,
        durability: Durability,
        number: Option<&BatchNumber>,
    ) -> Result<Option<Submitted>, WriteError> {
        if self.begun.is_none() {
            return self.finish_small(durability, number);
        }
        let begun = self.begun.as_mut().expect("it was begun");
        while let Some(task) = begun.tasks.pop_front() {
            begun.staged.extend(task.wait()?);
        }
        fail::fail_point!("bulk::before_commit");
        let written = commit(&self.engine, &self.runtime, begun, self.gaps.as_ref(), durability, number)?;
        if matches!(written, Submitted::Now(_)) {
            // Else dropping it undoes what was logged and staged.
            self.begun = None;
        }
        Ok(Some(written))
    }

    fn finish_small(
        mut self,
        durability: Durability,
        number: Option<&BatchNumber>,
    ) -> Result<Option<Submitted>, WriteError> {
        let kept = std::mem::take(&mut self.kept);
        if kept.is_empty() {
            return Ok(None);
        }
        let writes = kept.into_iter().map(|(batch, charge)| Write {
            collection: self.runtime.id,
            batch,
            watch: None,
            charge: Some(charge),
        });
        self.engine.submit_numbered(writes.collect(), durability, number).map(Some)
    }
}

fn commit(
    engine: &Inner,
    runtime: &CollectionRuntime,
    begun: &mut Begun,
    gaps: Option<&Gaps>,
    durability: Durability,
    number: Option<&BatchNumber>,
) -> Result<Submitted, WriteError> {
    let mut numbering = match engine.begin_numbered(number, durability)? {
        Numbering::Before(ticket) => return Ok(Submitted::Before(ticket)),
        Numbering::New(numbering) => numbering,
    };
    let mut state = runtime.lock();
    if state.dropped {
        return Err(WriteError::NoSuchCollection(runtime.id));
    }
    gaps.map_or(Ok(()), |gaps| state.check_required(gaps))?;
    begun.rows = begun.rows.fitted(&runtime.symbols())?;
    let mut body = Vec::new();
    numbering.encode(&mut body);
    body.extend_from_slice(&begun.begin.0.to_le_bytes());
    let kind = numbering.kind(RecordKind::BulkCommit, RecordKind::SequencedBulkCommit);
    let appended = engine.wal.append(kind, body, durability)?;
    numbering.note(&appended);
    let now = engine.env.clock.monotonic();
    let staged = std::mem::take(&mut begun.staged);
    attach(&mut state, appended.lsn, begun.begin, &begun.rows, staged, now);
    drop(state);
    // Only now, when the collection holds the log's floor down.
    engine.lock_bulk().remove(&begun.begin);
    engine.executor.submit(Job::Flush(runtime.id), std::time::Duration::ZERO);
    Ok(Submitted::Now(CommitTicket::new(appended)))
}

/// Gives the rows of a bulk write to its collection, committed at `lsn`.
pub(crate) fn attach(
    state: &mut crate::collection::State,
    lsn: Lsn,
    begin: Lsn,
    rows: &Memtable,
    staged: Vec<Arc<SegmentHandle>>,
    now: std::time::Duration,
) {
    let missing = state.missing.clone();
    if staged.is_empty() {
        state.active.push_bulk(lsn, begin, rows, now, &missing);
        return;
    }
    // What was committed before is flushed before.
    state.freeze();
    let mut memtable = Memtable::default();
    memtable.push_bulk(lsn, begin, rows, now, &missing);
    state.push_staged(memtable, staged, lsn, begin);
}

impl Drop for BulkWrite {
    fn drop(&mut self) {
        let Some(begun) = self.begun.take() else { return };
        let body = begun.begin.0.to_le_bytes().to_vec();
        // Without this record replay finds no commit either; it only spares the log some space.
        if let Err(error) = self.engine.wal.append(RecordKind::BulkAbort, body, Durability::Written) {
            tracing::debug!(%error, "cannot log the end of a bulk write that was given up");
        }
        for task in &begun.tasks {
            task.give_up();
        }
        for handle in &begun.staged {
            handle.retire();
        }
        drop(begun.staged);
        self.engine.lock_bulk().remove(&begun.begin);
        self.engine.executor.submit(Job::CollectGarbage, std::time::Duration::ZERO);
    }
}

/// Rows of a bulk write on their way to segments.
pub(crate) struct StageTask {
    runtime: Arc<CollectionRuntime>,
    memtable: Memtable,
    outcome: Mutex<Outcome>,
    done: Condvar,
}

enum Outcome {
    Waiting,
    GivenUp,
    Done(Result<Vec<Arc<SegmentHandle>>, Arc<JobError>>),
}

impl fmt::Debug for StageTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StageTask").field("collection", &self.runtime.id).finish_non_exhaustive()
    }
}

impl StageTask {
    fn new(runtime: Arc<CollectionRuntime>, memtable: Memtable) -> Arc<StageTask> {
        let outcome = Mutex::new(Outcome::Waiting);
        Arc::new(StageTask { runtime, memtable, outcome, done: Condvar::new() })
    }

    /// Whose rows they are.
    pub(crate) fn collection(&self) -> CollectionId {
        self.runtime.id
    }

    /// Writes the segments.
    pub(crate) fn run(&self, engine: &Inner) {
        let written = stage_rows(engine, &self.runtime, &self.memtable);
        self.finish(written.map_err(Arc::new));
    }

    /// Tells the writer that the rows will not be staged.
    pub(crate) fn fail(&self, error: JobError) {
        self.finish(Err(Arc::new(error)));
    }

    fn finish(&self, written: Result<Vec<Arc<SegmentHandle>>, Arc<JobError>>) {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Outcome::GivenUp, Ok(handles)) = (&*outcome, &written) {
            handles.iter().for_each(|handle| handle.retire());
        }
        *outcome = Outcome::Done(written);
        drop(outcome);
        self.done.notify_all();
    }

    fn wait(&self) -> Result<Vec<Arc<SegmentHandle>>, WriteError> {
        let waiting = |outcome: &mut Outcome| !matches!(outcome, Outcome::Done(_));
        let outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = self.done.wait_while(outcome, waiting).unwrap_or_else(PoisonError::into_inner);
        match &*outcome {
            Outcome::Done(written) => written.clone().map_err(WriteError::Segment),
            _ => unreachable!("the wait is over when it is done"),
        }
    }

    /// The writer is gone: what was or will be written is garbage.
    fn give_up(&self) {
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        match &*outcome {
            Outcome::Done(Ok(handles)) => handles.iter().for_each(|handle| handle.retire()),
            Outcome::Done(Err(_)) => {}
            _ => *outcome = Outcome::GivenUp,
        }
    }
}

/// Writes the rows of a memtable into segments that no manifest names.
pub(crate) fn stage_rows(
    engine: &Inner,
    runtime: &CollectionRuntime,
    memtable: &Memtable,
) -> Result<Vec<Arc<SegmentHandle>>, JobError> {
    let form = engine.form(runtime);
    let memtable = memtable.fitted(&form.symbols);
    let memtable = memtable.map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
    let written = flush::write_rows(engine, &form, &memtable, None)?;
    Ok(flush::staged_handles(engine, &form.collection, written))
}

/// The number of a bulk write in the body of its records.
pub(crate) fn begin_of(body: &[u8]) -> Option<(Lsn, &[u8])> {
    let (begin, rest) = body.split_first_chunk::<8>()?;
    Some((Lsn(u64::from_le_bytes(*begin)), rest))
}

impl From<JobError> for WriteError {
    fn from(error: JobError) -> WriteError {
        match error {
            JobError::ShutDown => WriteError::Wal(WalError::Closed),
            other => WriteError::Segment(Arc::new(other)),
        }
    }
}
