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
//! Lock order: a collection's `turns` → `merging` → `ddl` → a collection's `publishing` → the producers'
//! numbers → collections' states, by rising id → `bulk` → the log's queue. The catalog's locks are taken
//! without any of these but `merging`, `ddl` and `publishing`, and a state in [`crate::symbol_limit`].

mod ddl;
mod files;
mod numbering;
mod submit;
mod ticket;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tidemark_catalog::Catalog;
use tidemark_catalog::collection::Collection;
use tidemark_catalog::edit::CatalogEdit;
use tidemark_catalog::error::EditError;
use tidemark_catalog::ids::{CollectionId, Lsn};
use tidemark_catalog::producer::Producer;
use tidemark_catalog::view::View;

use crate::catalog_file::Reserve;
use crate::collection::{CollectionRuntime, Form};
use crate::env::{Env, Join, LockGuard};
use crate::error::{JobError, OpenError, ReadError, WriteError};
use crate::jobs::merge::{self, MergeRecord};
use crate::jobs::retention::{self, ClockWatch};
use crate::jobs::{Executor, Job, flush, gc};
use crate::memtable::budget::Budget;
use crate::memtable::dictionaries::SymbolDictionaries;
use crate::metrics::Metrics;
use crate::options::{CommitMode, EngineOptions};
use crate::pressure::{QueryGuard, RunningQueries};
use crate::producers::Producers;
use crate::segment::handle::SegmentFiles;
use crate::snapshot::{CollectionSnapshot, Snapshot};
use crate::wal::writer::Wal;

pub use self::ddl::NewTimeseries;
pub use self::files::{segment_directory, segment_file};
pub(crate) use self::numbering::Numbering;
pub use self::submit::Write;
pub use self::ticket::{CommitTicket, Submitted};
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

impl Engine {
    pub(crate) fn start(inner: Arc<Inner>, lock: Box<dyn LockGuard>) -> Result<Engine, OpenError> {
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

    /// The dictionaries of a collection's symbol columns.
    ///
    /// # Errors
    /// The collection does not exist.
    pub fn symbols(&self, collection: CollectionId) -> Result<SymbolDictionaries, WriteError> {
        let runtime = self.inner.runtime(collection);
        Ok(runtime.ok_or(WriteError::NoSuchCollection(collection))?.symbols())
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
