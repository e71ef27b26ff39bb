//! The engine: what the server calls.
//!
//! | way | where |
//! | --- | --- |
//! | write | [`Engine::write`] → log → active memtable → [`CommitTicket`] |
//! | bulk write | [`Engine::bulk_write`] → [`crate::bulk`] |
//! | read | [`Engine::snapshot`] → [`crate::read::plan`] |
//! | change collections | [`Engine::create_collection`], [`Engine::drop_collections`], [`crate::alter`] |
//! | background | log thread, job threads; or [`Engine::step`] in a world without threads |
//!
//! Lock order: a collection's `turns` → `ddl` → collections' states, by rising id → `bulk` → the log's queue. The catalog's
//! locks are taken without any of these but `ddl`, and a state in [`crate::symbol_limit`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tidemark_catalog::Catalog;
use tidemark_catalog::collection::{Collection, CollectionKind, TimeseriesOptions};
use tidemark_catalog::edit::{CatalogEdit, Change};
use tidemark_catalog::error::EditError;
use tidemark_catalog::ids::{CollectionId, Lsn, NamespaceId, PartitionId, RoleId, SegmentId};
use tidemark_catalog::partition::TimeRange;
use tidemark_catalog::producer::Producer;
use tidemark_catalog::schema::{NewColumn, Schema};
use tidemark_catalog::segment::Segment;
use tidemark_catalog::view::View;
use tokio::sync::oneshot;

use crate::batch::{Gaps, WriteBatch};
use crate::bulk::BulkWrite;
use crate::catalog_file::{Reserve, is_disk_full};
use crate::collection::{CollectionRuntime, Form, State};
use crate::dedup::batch_keys::KeyWatch;
use crate::durable;
use crate::env::{Env, Join, LockGuard};
use crate::error::{DdlError, JobError, OpenError, ReadError, WalError, WriteError};
use crate::jobs::merge::{self, MergeRecord};
use crate::jobs::retention::{self, ClockWatch};
use crate::jobs::{Executor, Job, flush, gc};
use crate::memtable::Memtable;
use crate::memtable::budget::{Budget, Charge};
use crate::memtable::dictionaries::SymbolDictionaries;
use crate::metrics::Metrics;
use crate::options::{CommitMode, EngineOptions};
use crate::pressure::{QueryGuard, RunningQueries};
use crate::producers::{BatchNumber, Producers};
use crate::segment::handle::{SegmentFiles, SegmentHandle};
use crate::segment::writer::{self, Layout, NewSegment, RowGroups, Written};
use crate::segment::{directory, path};
use crate::snapshot::{CollectionSnapshot, Snapshot};
use crate::timeseries::partition::partition_range;
use crate::wal::codec::{encode_batch, encode_batch_count};
use crate::wal::format::{RecordKind, encode_number};
use crate::wal::writer::{Appended, Wal};

pub use crate::dedup::batch_keys::KeyWatch as Watch;
pub use crate::jobs::merge::MergeRecord as Merge;
pub use crate::jobs::retention::Dropped;
pub use crate::timeseries::picker::MergeReason;
pub use crate::wal::writer::Durability;

/// How often memtables are looked at for their age.
const AGE_INTERVAL: Duration = Duration::from_secs(1);

/// The open engine.
#[derive(Debug)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
    threads: Mutex<Vec<Box<dyn Join>>>,
    /// Held for as long as the data directory is open.
    _lock: Box<dyn LockGuard>,
}

/// What the engine's parts share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) env: Env,
    pub(crate) options: EngineOptions,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) wal: Wal,
    pub(crate) budget: Arc<Budget>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) files: Arc<SegmentFiles>,
    pub(crate) executor: Executor,
    pub(crate) reserve: Arc<Reserve>,
    pub(crate) collections: RwLock<BTreeMap<CollectionId, Arc<CollectionRuntime>>>,
    /// The first record of each bulk write that is not committed.
    pub(crate) bulk: Mutex<BTreeSet<Lsn>>,
    /// One change of collections at a time.
    pub(crate) ddl: Mutex<()>,
    /// Held while a merge runs.
    pub(crate) merging: Mutex<()>,
    /// The last merges, oldest first.
    pub(crate) merges: Mutex<VecDeque<MergeRecord>>,
    pub(crate) producers: Producers,
    pub(crate) clock_watch: ClockWatch,
    /// Queries that run, for which merges make room.
    pub(crate) queries: Arc<RunningQueries>,
    pub(crate) flush_failures: AtomicU32,
    pub(crate) disk_full: AtomicBool,
}

/// Rows for one collection.
#[derive(Debug)]
pub struct Write {
    /// Which.
    pub collection: CollectionId,
    /// The rows.
    pub batch: WriteBatch,
    /// What must not have changed when they are committed.
    pub(crate) watch: Option<Arc<KeyWatch>>,
    /// Memory that was taken for them already.
    pub(crate) charge: Option<Charge>,
}

impl Write {
    /// Rows for a collection.
    pub fn new(collection: CollectionId, batch: WriteBatch) -> Write {
        Write { collection, batch, watch: None, charge: None }
    }

    /// Brings the rows in the form that the dictionaries say; the memory they take is known better then.
    fn fit(&mut self, symbols: &SymbolDictionaries) -> Result<(), WriteError> {
        if symbols.is_other_form(&self.batch) {
            self.batch = self.batch.clone().fitted(symbols)?;
            let charge = self.charge.take();
            self.charge = charge.map(|charge| charge.replacement(self.batch.memory_bytes()));
        }
        Ok(())
    }

    /// The same, unless others write what it depends on first: [`WriteError::Changed`].
    #[must_use]
    pub fn watching(self, watch: Option<Arc<KeyWatch>>) -> Write {
        Write { watch, ..self }
    }
}

/// A commit that is on its way to the disk.
#[derive(Debug)]
pub struct CommitTicket {
    lsn: Lsn,
    system_time_us: i64,
    committed: oneshot::Receiver<Result<(), WalError>>,
}

impl CommitTicket {
    pub(crate) fn new(appended: Appended) -> CommitTicket {
        let Appended { lsn, system_time_us, committed } = appended;
        CommitTicket { lsn, system_time_us, committed }
    }

    /// Its position in the log.
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Its system time, in µs since 1970-01-01 UTC; later commits have later ones.
    pub fn system_time_us(&self) -> i64 {
        self.system_time_us
    }

    /// Completes when the commit is as durable as was asked for, and seen by every later snapshot.
    ///
    /// # Errors
    /// The log could not be written: whether the commit is durable is not known.
    pub async fn committed(self) -> Result<(), WriteError> {
        self.committed.await.map_err(|_| WalError::Closed)??;
        Ok(())
    }

    /// The same, blocking the thread.
    ///
    /// # Errors
    /// The log could not be written: whether the commit is durable is not known.
    pub fn wait(self) -> Result<(), WriteError> {
        self.committed.blocking_recv().map_err(|_| WalError::Closed)??;
        Ok(())
    }

    /// What is known now; `None` while it is on its way.
    pub fn poll(&mut self) -> Option<Result<(), WriteError>> {
        match self.committed.try_recv() {
            Ok(outcome) => Some(outcome.map_err(WriteError::from)),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(WalError::Closed.into())),
        }
    }
}

/// A batch that was handed over.
#[derive(Debug)]
pub enum Submitted {
    /// It is committed by this.
    Now(CommitTicket),
    /// It had been committed before, which is durable when the ticket says so.
    Before(CommitTicket),
}

/// What a batch's number says.
pub(crate) enum Numbering<'a> {
    /// It was committed before.
    Before(CommitTicket),
    /// It was not, or has no number.
    New(NewNumber<'a>),
}

/// A number that is to be noted when its batch has a place in the log. Nobody else's is looked at until
/// this is dropped.
pub(crate) struct NewNumber<'a> {
    known: Option<MutexGuard<'a, BTreeMap<String, Producer>>>,
    number: Option<&'a BatchNumber>,
}

impl NewNumber<'_> {
    /// The kind of record for a batch with or without a number.
    pub(crate) fn kind(&self, plain: RecordKind, sequenced: RecordKind) -> RecordKind {
        if self.number.is_some() { sequenced } else { plain }
    }

    /// Starts a body with the number.
    pub(crate) fn encode(&self, body: &mut Vec<u8>) {
        if let Some(number) = self.number {
            encode_number(body, &number.producer, number.sequence);
        }
    }

    /// The batch has a place in the log.
    pub(crate) fn note(&mut self, appended: &Appended) {
        if let (Some(known), Some(number)) = (&mut self.known, self.number) {
            let Appended { lsn, system_time_us, .. } = *appended;
            let producer = Producer { sequence: number.sequence, lsn, system_time_us };
            known.insert(number.producer.clone(), producer);
        }
    }
}

/// What a new time-series collection shall be.
#[derive(Clone, Debug)]
pub struct NewTimeseries {
    /// Where its name is looked up.
    pub namespace: NamespaceId,
    /// Its name.
    pub name: String,
    /// Who owns it.
    pub owner: RoleId,
    /// Its columns; they get their ids in this order, from 1.
    pub columns: Vec<NewColumn>,
    /// Its keys, by those ids.
    pub options: TimeseriesOptions,
}

impl Engine {
    pub(crate) fn start(inner: Inner, lock: Box<dyn LockGuard>) -> Result<Engine, OpenError> {
        let inner = Arc::new(inner);
        let mut threads = Vec::new();
        if let Some(spawn) = &inner.env.spawn {
            let log = Arc::clone(&inner);
            let body = move || while log.wal.wait_and_commit(log.options.commit) {};
            threads.push(spawn.spawn("log", Box::new(body)).map_err(OpenError::Spawn)?);
            for number in 0..inner.options.job_threads {
                let jobs = Arc::clone(&inner);
                let body = move || {
                    while let Some(job) = jobs.executor.wait() {
                        jobs.run(job);
                    }
                };
                let name = format!("job-{number}");
                threads.push(spawn.spawn(&name, Box::new(body)).map_err(OpenError::Spawn)?);
            }
        }
        inner.executor.submit(Job::Age, AGE_INTERVAL);
        inner.executor.submit(Job::TruncateLog, Duration::ZERO);
        inner.executor.submit(Job::Retain, retention::INTERVAL);
        Ok(Engine { inner, threads: Mutex::new(threads), _lock: lock })
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    /// What the engine was opened with.
    pub fn options(&self) -> &EngineOptions {
        &self.inner.options
    }

    /// The catalog now.
    pub fn view(&self) -> Arc<View> {
        self.inner.catalog.view()
    }

    /// The catalog, to change what the engine does not look at: roles and settings.
    pub fn commit_edit(&self, edit: &CatalogEdit) -> Result<Arc<View>, EditError> {
        self.inner.commit_edit(edit)
    }

    /// What the engine counts.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// The memory of memtables.
    pub fn budget(&self) -> &Arc<Budget> {
        &self.inner.budget
    }

    /// Memory of decoded columns of segments.
    pub fn block_cache_bytes(&self) -> u64 {
        self.inner.files.blocks().memory_bytes()
    }

    /// Takes rows: all of them are committed at one position, or none is. Does not block, but where symbol
    /// columns have too many texts ([`Engine::limit_symbols`]); returns before the commit is durable.
    ///
    /// # Errors
    /// As [`WriteError`] says; nothing is applied. After [`WriteError::OverBudget`] a flush is under
    /// way, and [`Budget::available`] tells when to try again.
    pub fn write(&self, writes: Vec<Write>, durability: Durability) -> Result<CommitTicket, WriteError> {
        while let Some(id) = self.inner.over_symbol_limit(&writes) {
            self.inner.limit_symbols(id)?;
        }
        self.inner.submit(writes, durability)
    }

    /// The same, giving back the rows that were refused, to try again; it never blocks. After
    /// [`WriteError::SymbolLimit`], [`Engine::limit_symbols`] makes it possible.
    ///
    /// # Errors
    /// As [`WriteError`] says, with the rows.
    pub fn try_write(
        &self,
        writes: Vec<Write>,
        durability: Durability,
    ) -> Result<CommitTicket, (WriteError, Vec<Write>)> {
        let writes = self.inner.admit(writes)?;
        self.inner.submit(writes, durability).map_err(|error| (error, Vec::new()))
    }

    /// The same for a batch that its producer numbered; when it was committed before, nothing is
    /// committed again.
    ///
    /// # Errors
    /// As [`WriteError`] says, with the rows.
    pub fn try_write_numbered(
        &self,
        writes: Vec<Write>,
        durability: Durability,
        number: Option<&BatchNumber>,
    ) -> Result<Submitted, (WriteError, Vec<Write>)> {
        let writes = self.inner.admit(writes)?;
        let written = self.inner.submit_numbered(writes, durability, number);
        written.map_err(|error| (error, Vec::new()))
    }

    /// What a writer is told that waited for memory in vain.
    pub fn over_budget(&self) -> WriteError {
        self.inner.over_budget()
    }

    /// Starts a write of any size.
    ///
    /// # Errors
    /// The collection does not exist.
    pub fn bulk_write(&self, collection: CollectionId) -> Result<BulkWrite, WriteError> {
        let runtime = self.inner.runtime(collection);
        let runtime = runtime.ok_or(WriteError::NoSuchCollection(collection))?;
        Ok(BulkWrite::new(Arc::clone(&self.inner), runtime))
    }

    /// How durable a commit is unless a write says otherwise.
    pub fn default_durability(&self) -> Durability {
        match self.inner.options.commit {
            CommitMode::Group => Durability::Synced,
            CommitMode::Interval(_) | CommitMode::Off => Durability::Written,
        }
    }

    /// The dictionaries of a collection's symbol columns.
    ///
    /// # Errors
    /// The collection does not exist.
    pub fn symbols(&self, collection: CollectionId) -> Result<SymbolDictionaries, WriteError> {
        let runtime = self.inner.runtime(collection);
        Ok(runtime.ok_or(WriteError::NoSuchCollection(collection))?.symbols())
    }

    /// Those who write by what they saw take turns, so that none is overtaken by another: held from
    /// [`Engine::existing`] to the write. No other lock is held while waiting for it.
    ///
    /// # Errors
    /// The collection does not exist.
    pub fn turns(&self, collection: CollectionId) -> Result<Arc<tokio::sync::Mutex<()>>, WriteError> {
        let runtime = self.inner.runtime(collection);
        Ok(Arc::clone(&runtime.ok_or(WriteError::NoSuchCollection(collection))?.turns))
    }

    /// Pins the collections as they are after the last commit that was acknowledged.
    ///
    /// # Errors
    /// A collection does not exist.
    pub fn snapshot(&self, collections: &[CollectionId]) -> Result<Snapshot, ReadError> {
        let mut ids = collections.to_vec();
        ids.sort_unstable();
        ids.dedup();
        let runtimes = ids
            .iter()
            .map(|id| self.inner.runtime(*id).ok_or(ReadError::NoSuchCollection(*id)))
            .collect::<Result<Vec<_>, _>>()?;
        let view = self.view();
        let states: Vec<_> = runtimes.iter().map(|runtime| runtime.lock()).collect();
        if let Some(at) = states.iter().position(|state| state.dropped) {
            return Err(ReadError::NoSuchCollection(ids[at]));
        }
        // Read under the locks: no row up to this position is still on its way into a memtable, and
        // no segment with rows after it can appear.
        let lsn = self.inner.wal.visible_lsn();
        let collections = runtimes.iter().zip(&states).map(|(runtime, state)| {
            let known = view.collection(runtime.id).map(|known| &known.collection);
            (runtime.id, Arc::new(state.snapshot_at(lsn, known, runtime.symbols())))
        });
        Ok(Snapshot { lsn, collections: collections.collect() })
    }

    /// Makes a collection; it is there when this returns.
    ///
    /// # Errors
    /// The name is taken, the columns contradict each other, or the catalog fails.
    pub fn create_collection(&self, new: NewTimeseries) -> Result<Arc<Collection>, DdlError> {
        let inner = &self.inner;
        let _ddl = inner.lock_ddl();
        let collection = Arc::new(Collection {
            id: inner.catalog.allocate_collection()?,
            namespace: new.namespace,
            name: new.name,
            owner: new.owner,
            schema: Arc::new(Schema::new(new.columns)?),
            kind: CollectionKind::Timeseries(new.options),
            flushed_lsn: Lsn::ZERO,
        });
        inner.commit_edit(&CatalogEdit::new().with(Change::CreateCollection(Arc::clone(&collection))))?;
        let runtime = CollectionRuntime::new(Arc::clone(&collection), Vec::new(), &inner.budget)?;
        inner.lock_collections_mut().insert(collection.id, Arc::new(runtime));
        Ok(collection)
    }

    /// An id for a new object that SQL names, never given before.
    ///
    /// # Errors
    /// The catalog fails.
    pub fn allocate_object(&self) -> Result<u32, EditError> {
        self.inner.catalog.allocate_collection().map(|id| id.0)
    }

    /// Removes collections with all they have, all or none. Snapshots that pin them go on.
    ///
    /// # Errors
    /// A collection does not exist, or the catalog fails.
    pub fn drop_collections(&self, ids: &[CollectionId]) -> Result<(), DdlError> {
        self.drop_with(ids, Vec::new())
    }

    /// The same, with changes of the catalog that the engine does not look at.
    ///
    /// # Errors
    /// A collection does not exist, or the catalog does not take the changes.
    pub fn drop_with(&self, ids: &[CollectionId], more: Vec<Change>) -> Result<(), DdlError> {
        let inner = &self.inner;
        if ids.is_empty() && more.is_empty() {
            return Ok(());
        }
        let _ddl = inner.lock_ddl();
        let find = |id: &CollectionId| inner.runtime(*id).ok_or(EditError::NoCollection(*id));
        let runtimes = ids.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        let mut edit = CatalogEdit::new();
        ids.iter().for_each(|id| edit.push(Change::DropCollection(*id)));
        more.into_iter().for_each(|change| edit.push(change));
        inner.commit_edit(&edit)?;
        for runtime in runtimes {
            let _publishing = runtime.begin_publishing();
            inner.lock_collections_mut().remove(&runtime.id);
            let mut state = runtime.lock();
            state.dropped = true;
            state.active = Memtable::default();
            let frozen = std::mem::take(&mut state.frozen);
            let staged = frozen.iter().flat_map(|frozen| &frozen.staged);
            for handle in std::mem::take(&mut state.segments).iter().chain(staged) {
                handle.retire();
            }
        }
        inner.executor.submit(Job::CollectGarbage, Duration::ZERO);
        inner.executor.submit(Job::TruncateLog, Duration::ZERO);
        Ok(())
    }

    /// Flushes what the collection has in memory now, and waits for it.
    ///
    /// # Errors
    /// The collection does not exist, or a segment could not be written.
    pub fn flush(&self, id: CollectionId) -> Result<(), JobError> {
        let runtime = self.inner.runtime(id).ok_or(JobError::Dropped(id))?;
        runtime.lock().freeze();
        runtime.wait_for_flush();
        let flushed = flush::flush_all(&self.inner, &runtime);
        runtime.end_flush();
        flushed?;
        self.inner.executor.submit(Job::TruncateLog, Duration::ZERO);
        Ok(())
    }

    /// Merges the segments of each partition into one without deleted rows, and waits for it.
    ///
    /// # Errors
    /// The collection does not exist, a segment cannot be read, or none can be written.
    pub fn merge(&self, id: CollectionId) -> Result<(), JobError> {
        let runtime = self.inner.runtime(id).ok_or(JobError::Dropped(id))?;
        merge::merge_all(&self.inner, &runtime)
    }

    /// Drops the partitions that ended at an instant or before it, in the unit of the time key, with all
    /// of their rows. What is in memory is flushed first.
    ///
    /// # Errors
    /// The collection does not exist, cannot be flushed, or the catalog fails.
    pub fn drop_partitions(&self, id: CollectionId, ended_by: i64) -> Result<Dropped, JobError> {
        let runtime = self.inner.runtime(id).ok_or(JobError::Dropped(id))?;
        self.flush(id)?;
        retention::drop_ended_by(&self.inner, &runtime, ended_by)
    }

    /// The last merges, oldest first.
    pub fn merges(&self) -> Vec<MergeRecord> {
        self.inner.merges.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// A query begins to run; merges make room for it until the guard is dropped.
    pub fn query_runs(&self) -> QueryGuard {
        RunningQueries::begin(&self.inner.queries)
    }

    /// Bytes that the collection's memtables and dictionaries take.
    pub fn memory_bytes(&self, id: CollectionId) -> usize {
        self.inner
            .runtime(id)
            .map_or(0, |runtime| runtime.symbols().memory_bytes() + runtime.lock().memtable_bytes())
    }

    /// Reads every page of every segment and returns what is wrong.
    pub fn verify_segments(&self) -> Vec<ReadError> {
        let runtimes = self.inner.runtimes();
        let handles = runtimes.iter().flat_map(|runtime| runtime.lock().segments.to_vec());
        handles.filter_map(|handle| handle.open().and_then(|open| open.check_all()).err()).collect()
    }

    /// The last batch that each producer is known to have committed, by name; not one that is still on its
    /// way to the disk.
    pub fn producers(&self) -> Vec<(String, Producer)> {
        let known = self.inner.producers.lock();
        let visible = self.inner.wal.visible_lsn();
        let committed = known.iter().filter(|(_, producer)| producer.lsn <= visible);
        committed.map(|(name, producer)| (name.clone(), *producer)).collect()
    }

    /// The positions up to which commits are seen and are durable.
    pub fn log_positions(&self) -> (Lsn, Lsn) {
        (self.inner.wal.visible_lsn(), self.inner.wal.durable_lsn())
    }

    /// The files of the log that hold records, with the first position in each.
    pub fn log_files(&self) -> Vec<(u64, Lsn)> {
        self.inner.wal.used_files()
    }

    /// Does one thing of what threads would do; false when nothing is to be done now.
    pub fn step(&self) -> bool {
        if self.inner.wal.commit_once(self.inner.options.commit) {
            return true;
        }
        match self.inner.executor.take_due() {
            Some(job) => {
                self.inner.run(job);
                true
            }
            None => false,
        }
    }

    /// Takes no more writes, makes those it took durable, and ends the threads. Memtables are left
    /// to the log.
    ///
    /// # Errors
    /// The log could not be made durable.
    pub fn shut_down(&self) -> Result<(), WriteError> {
        self.inner.executor.stop();
        self.inner.wal.close();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if !thread.join() {
                tracing::error!("a background thread ended by a panic");
            }
        }
        while self.inner.wal.commit_once(self.inner.options.commit) {}
        self.inner.wal.sync_now()?;
        Ok(())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Err(error) = self.shut_down() {
            tracing::error!(%error, "cannot shut the engine down in order");
        }
    }
}

impl Inner {
    pub(crate) fn run(&self, job: Job) {
        let _running = self.executor.begin(&job);
        match job {
            Job::Flush(id) => flush::run(self, id),
            Job::Stage(task) => task.run(self),
            Job::Merge => merge::run(self),
            Job::Retain => retention::run(self),
            Job::TruncateLog => {
                if let Err(error) = gc::truncate_log(self) {
                    tracing::warn!(%error, "cannot remove old log files");
                }
            }
            Job::CollectGarbage => gc::collect_garbage(self),
            Job::Age => self.age(),
        }
    }

    /// Freezes memtables that are idle or old.
    fn age(&self) {
        self.reserve.restore();
        let now = self.env.clock.monotonic();
        for runtime in self.runtimes() {
            let mut state = runtime.lock();
            let (first, last) = state.active.written_between();
            let idle = now.saturating_sub(last) >= self.options.memtable_idle_max;
            let old = now.saturating_sub(first) >= self.options.memtable_age_max;
            if (idle || old) && state.freeze() {
                self.executor.submit(Job::Flush(runtime.id), Duration::ZERO);
            }
        }
        if self.files.has_garbage() {
            self.executor.submit(Job::CollectGarbage, Duration::ZERO);
        }
        self.executor.submit(Job::Merge, Duration::ZERO);
        self.executor.submit(Job::Age, AGE_INTERVAL);
    }

    pub(crate) fn remember_merge(&self, record: MergeRecord) {
        let mut merges = self.merges.lock().unwrap_or_else(PoisonError::into_inner);
        if merges.len() == merge::RECORDS_MAX {
            merges.pop_front();
        }
        merges.push_back(record);
    }

    pub(crate) fn submit(
        &self,
        writes: Vec<Write>,
        durability: Durability,
    ) -> Result<CommitTicket, WriteError> {
        match self.submit_numbered(writes, durability, None)? {
            Submitted::Now(ticket) | Submitted::Before(ticket) => Ok(ticket),
        }
    }

    /// Looks at a batch's number, before anything of the batch is logged.
    pub(crate) fn begin_numbered<'a>(
        &'a self,
        number: Option<&'a BatchNumber>,
        durability: Durability,
    ) -> Result<Numbering<'a>, WriteError> {
        let Some(number) = number else { return Ok(Numbering::New(NewNumber { known: None, number })) };
        let known = self.producers.lock();
        let is_known = |last: &Producer| last.sequence >= number.sequence;
        if !known.get(&number.producer).is_some_and(is_known) {
            return Ok(Numbering::New(NewNumber { known: Some(known), number: Some(number) }));
        }
        drop(known);
        // It comes after the batch in the log: when it is durable, the batch is.
        let ticket = self.append_nothing(durability)?;
        self.metrics.writes_repeated.add(1);
        Ok(Numbering::Before(ticket))
    }

    /// A record without rows, which is durable when all before it are.
    pub(crate) fn append_nothing(&self, durability: Durability) -> Result<CommitTicket, WriteError> {
        let mut body = Vec::new();
        encode_batch_count(&mut body, 0);
        Ok(CommitTicket::new(self.wal.append(RecordKind::Write, body, durability)?))
    }

    /// A collection as it is after the last commit that has a place in the log, and how many deletes
    /// there were.
    pub(crate) fn snapshot_of_log(&self, id: CollectionId) -> Result<(CollectionSnapshot, u64), ReadError> {
        let runtime = self.runtime(id).ok_or(ReadError::NoSuchCollection(id))?;
        let known = self.known_collection(&runtime);
        let state = runtime.lock();
        if state.dropped {
            return Err(ReadError::NoSuchCollection(id));
        }
        // Under the lock no row of the collection has a place and is not in a memtable.
        let lsn = Lsn(self.wal.next_lsn().0 - 1);
        Ok((state.snapshot_at(lsn, Some(&known), runtime.symbols()), state.deletes_published))
    }

    pub(crate) fn submit_numbered(
        &self,
        mut writes: Vec<Write>,
        durability: Durability,
        number: Option<&BatchNumber>,
    ) -> Result<Submitted, WriteError> {
        for write in &mut writes {
            if write.charge.is_none() {
                write.charge = Some(self.try_charge(write.batch.memory_bytes())?);
            }
        }
        loop {
            match self.submit_once(writes, durability, number)? {
                Ok(submitted) => return Ok(submitted),
                Err(again) => writes = again,
            }
        }
    }

    /// Gives the rows back when symbols became texts on the way.
    fn submit_once(
        &self,
        mut writes: Vec<Write>,
        durability: Durability,
        number: Option<&BatchNumber>,
    ) -> Result<Result<Submitted, Vec<Write>>, WriteError> {
        let mut ids: Vec<CollectionId> = writes.iter().map(|write| write.collection).collect();
        ids.sort_unstable();
        ids.dedup();
        let runtimes = ids
            .iter()
            .map(|id| self.runtime(*id).ok_or(WriteError::NoSuchCollection(*id)))
            .collect::<Result<Vec<_>, _>>()?;
        let runtime_at = |id: CollectionId| ids.binary_search(&id).expect("it is one of them");
        let symbols: Vec<SymbolDictionaries> = runtimes.iter().map(|runtime| runtime.symbols()).collect();
        for write in &mut writes {
            write.fit(&symbols[runtime_at(write.collection)])?;
        }
        // About as much as the rows take; pages that are not needed are never touched.
        let mut body = self.wal.new_body(writes.iter().map(|write| write.batch.memory_bytes()).sum());
        if let Some(number) = number {
            encode_number(&mut body, &number.producer, number.sequence);
        }
        encode_batch_count(&mut body, writes.len());
        for write in &writes {
            let symbols = &symbols[runtime_at(write.collection)];
            encode_batch(&mut body, write.collection, &write.batch, &|id| symbols.get(id).cloned());
        }
        let mut numbering = match self.begin_numbered(number, durability)? {
            Numbering::Before(ticket) => return Ok(Ok(Submitted::Before(ticket))),
            Numbering::New(numbering) => numbering,
        };
        let mut states: Vec<_> = runtimes.iter().map(|runtime| runtime.lock()).collect();
        if runtimes.iter().zip(&symbols).any(|(runtime, symbols)| !runtime.symbols().are(symbols)) {
            return Ok(Err(writes));
        }
        if let Some(at) = states.iter().position(|state| state.dropped) {
            return Err(WriteError::NoSuchCollection(ids[at]));
        }
        for write in &writes {
            let state = &states[runtime_at(write.collection)];
            state.check_required(&Gaps::of(&write.batch))?;
            self.check_watch(write, state)?;
        }
        let kind = numbering.kind(RecordKind::Write, RecordKind::SequencedWrite);
        let appended = self.wal.append(kind, body, durability)?;
        numbering.note(&appended);
        drop(numbering);
        let now = self.env.clock.monotonic();
        for write in writes {
            self.metrics.rows_written.add(write.batch.row_count() as u64);
            let charge = write.charge.expect("it was taken above");
            let at = runtime_at(write.collection);
            let missing = states[at].missing.clone();
            states[at].active.push(appended.lsn, write.batch, charge, now, &missing);
        }
        // Only now: a memtable that is frozen holds its last commit whole.
        for (id, state) in ids.iter().zip(&mut states) {
            if state.active.memory_bytes() >= self.options.memtable_bytes_soft && state.freeze() {
                self.executor.submit(Job::Flush(*id), Duration::ZERO);
            }
        }
        drop(states);
        self.metrics.commits.add(1);
        Ok(Ok(Submitted::Now(CommitTicket::new(appended))))
    }

    /// Refuses rows that depend on what was changed since.
    fn check_watch(&self, write: &Write, state: &State) -> Result<(), WriteError> {
        let Some(watch) = &write.watch else { return Ok(()) };
        if watch.holds(state).map_err(|error| WriteError::Keys(Arc::new(error)))? {
            return Ok(());
        }
        self.metrics.writes_overtaken.add(1);
        Err(WriteError::Changed(write.collection))
    }

    /// Takes memory for all rows, or gives them back.
    fn admit(&self, writes: Vec<Write>) -> Result<Vec<Write>, (WriteError, Vec<Write>)> {
        if let Some(id) = self.over_symbol_limit(&writes) {
            return Err((WriteError::SymbolLimit(id), writes));
        }
        self.charge_all(writes).map_err(|refused| (self.over_budget(), refused))
    }

    /// Takes memory for all rows, or gives them back.
    fn charge_all(&self, mut writes: Vec<Write>) -> Result<Vec<Write>, Vec<Write>> {
        for at in 0..writes.len() {
            match self.budget.try_charge(writes[at].batch.memory_bytes()) {
                Some(charge) => writes[at].charge = Some(charge),
                None => {
                    writes.iter_mut().for_each(|write| write.charge = None);
                    self.metrics.writes_over_budget.add(1);
                    self.relieve();
                    return Err(writes);
                }
            }
        }
        Ok(writes)
    }

    fn try_charge(&self, bytes: usize) -> Result<Charge, WriteError> {
        self.budget.try_charge(bytes).ok_or_else(|| {
            self.metrics.writes_over_budget.add(1);
            self.relieve();
            self.over_budget()
        })
    }

    /// Waits for memory in the thread, as long as a writer waits.
    pub(crate) fn charge_blocking(&self, bytes: usize) -> Result<Charge, WriteError> {
        let deadline = self.env.clock.monotonic() + self.options.admission_wait_max;
        loop {
            if let Some(charge) = self.budget.try_charge(bytes) {
                return Ok(charge);
            }
            self.relieve();
            let left = deadline.saturating_sub(self.env.clock.monotonic());
            if self.env.spawn.is_none() || !self.budget.wait_available(bytes, left) {
                self.metrics.writes_over_budget.add(1);
                return Err(self.over_budget());
            }
        }
    }

    pub(crate) fn over_budget(&self) -> WriteError {
        WriteError::OverBudget {
            used_bytes: self.budget.used_bytes(),
            bytes_max: self.budget.bytes_max(),
            disk_full: self.disk_full.load(Ordering::Relaxed),
        }
    }

    /// Freezes the largest active memtable, so that memory comes back.
    fn relieve(&self) {
        let runtimes = self.runtimes();
        let largest = runtimes.iter().max_by_key(|runtime| runtime.lock().active.memory_bytes());
        if let Some(runtime) = largest
            && runtime.lock().freeze()
        {
            self.executor.submit(Job::Flush(runtime.id), Duration::ZERO);
        }
    }

    /// Waits for a record of a bulk write.
    pub(crate) fn wait_committed(&self, mut appended: Appended) -> Result<(), WriteError> {
        if self.env.spawn.is_none() {
            while self.wal.commit_once(self.options.commit) {}
            return match appended.committed.try_recv() {
                Ok(outcome) => Ok(outcome?),
                Err(_) => Err(WalError::Closed.into()),
            };
        }
        CommitTicket::new(appended).wait()
    }

    pub(crate) fn make_log_durable(&self, lsn: Lsn) -> Result<(), JobError> {
        while self.wal.durable_lsn() < lsn {
            if self.wal.is_poisoned() {
                return Err(JobError::ShutDown);
            }
            if !self.wal.commit_once(CommitMode::Group) {
                self.wal.sync_now().map_err(|_| JobError::ShutDown)?;
            }
        }
        Ok(())
    }

    /// The first record of the log that is still needed.
    pub(crate) fn log_floor(&self) -> Lsn {
        // In this order nothing is missed: what is appended later is not below `next`; a bulk write
        // leaves the set only when its collection holds its rows.
        let next = self.wal.next_lsn();
        let bulk = self.lock_bulk().first().copied();
        let collections = self.runtimes();
        let collections = collections.iter().filter_map(|runtime| runtime.lock().log_floor()).min();
        bulk.into_iter().chain(collections).min().unwrap_or(next).min(next)
    }

    pub(crate) fn commit_edit(&self, edit: &CatalogEdit) -> Result<Arc<View>, EditError> {
        let committed = self.catalog.commit(edit);
        self.stop_on_catalog_failure(committed)
    }

    pub(crate) fn allocate_segment(&self) -> Result<SegmentId, EditError> {
        let allocated = self.catalog.allocate_segment();
        self.stop_on_catalog_failure(allocated)
    }

    pub(crate) fn allocate_partition(&self) -> Result<PartitionId, EditError> {
        let allocated = self.catalog.allocate_partition();
        self.stop_on_catalog_failure(allocated)
    }

    fn stop_on_catalog_failure<T>(&self, outcome: Result<T, EditError>) -> Result<T, EditError> {
        if let Err(EditError::Storage(error)) = &outcome {
            self.options.on_failure.call(&format!("the catalog cannot be written: {error}"));
        }
        outcome
    }

    pub(crate) fn segment_handle(&self, collection: &Collection, segment: Arc<Segment>) -> SegmentHandle {
        let path = path(&self.options.directory, segment.collection, segment.id);
        SegmentHandle::new(&self.files, segment, path, collection.name.clone())
    }

    /// Writes a segment: a durable file that no manifest names.
    pub(crate) fn write_segment_file(
        &self,
        new: &NewSegment<'_>,
        rows: &mut dyn RowGroups,
    ) -> Result<Written, JobError> {
        let layout = Layout { page_rows: self.options.segment_page_rows };
        let segment = new.id;
        self.create_segment_directory(&directory(&self.options.directory, new.collection.id))
            .map_err(|source| JobError::Io { segment, source })?;
        let path = path(&self.options.directory, new.collection.id, segment);
        writer::write(self.env.files.as_ref(), &path, new, rows, layout)
    }

    fn create_segment_directory(&self, directory: &Path) -> io::Result<()> {
        let files = self.env.files.as_ref();
        if files.exists(directory)? { Ok(()) } else { durable::create_directory(files, directory) }
    }

    /// Removes a segment file that was never published.
    pub(crate) fn discard_segment_file(&self, collection: CollectionId, segment: SegmentId) {
        let path = path(&self.options.directory, collection, segment);
        if let Err(error) = self.env.files.remove(&path) {
            // No manifest names it, so the next opening removes it.
            tracing::warn!(path = %path.display(), %error, "cannot remove a segment file");
        }
    }

    pub(crate) fn partition_range(&self, collection: &Collection, time: i64) -> TimeRange {
        let unit = collection.time_column().column_type.time_unit();
        let unit = unit.expect("an invariant of the catalog");
        partition_range(collection.timeseries().partition_by, unit, time)
    }

    pub(crate) fn flush_succeeded(&self) {
        self.flush_failures.store(0, Ordering::Relaxed);
        self.disk_full.store(false, Ordering::Relaxed);
    }

    /// Counts a failed flush; says how long to wait before the next try.
    pub(crate) fn flush_failed(&self, error: &JobError) -> Duration {
        self.metrics.flush_failures.add(1);
        self.disk_full.store(error.io_error().is_some_and(is_disk_full), Ordering::Relaxed);
        flush::retry_delay(self.flush_failures.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn runtime(&self, id: CollectionId) -> Option<Arc<CollectionRuntime>> {
        self.collections.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    pub(crate) fn runtimes(&self) -> Vec<Arc<CollectionRuntime>> {
        self.collections.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn lock_collections_mut(
        &self,
    ) -> std::sync::RwLockWriteGuard<'_, BTreeMap<CollectionId, Arc<CollectionRuntime>>> {
        self.collections.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lock_bulk(&self) -> MutexGuard<'_, BTreeSet<Lsn>> {
        self.bulk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a collection is to a writer who knows the most of it; the catalog tells writers first.
    pub(crate) fn known_collection(&self, runtime: &CollectionRuntime) -> Arc<Collection> {
        let known = self.catalog.view().collection(runtime.id).map(|known| Arc::clone(&known.collection));
        known.unwrap_or_else(|| Arc::clone(&runtime.lock().collection))
    }

    /// What a collection is in this moment, for who makes or reads its segments.
    pub(crate) fn form(&self, runtime: &CollectionRuntime) -> Form {
        let known = self.known_collection(runtime);
        runtime.form(&runtime.lock(), Some(&known))
    }

    pub(crate) fn lock_ddl(&self) -> MutexGuard<'_, ()> {
        self.ddl.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file of a segment.
pub fn segment_file(data_directory: &Path, collection: CollectionId, segment: SegmentId) -> PathBuf {
    path(data_directory, collection, segment)
}

/// The directory of a collection's segments, for tools that read them as plain Parquet.
pub fn segment_directory(data_directory: &Path, collection: CollectionId) -> PathBuf {
    directory(data_directory, collection)
}
