//! Opening a data directory.
//!
//! ```text
//! <data directory>/
//!   TIDEMARK           what this is, and its format      LOCK             held while it is open
//!   catalog.redb       the catalog                       catalog.reserve  space for a full disk
//!   wal/<number>.wal   the log                           segments/<collection>/<segment>.parquet
//! ```
//!
//! 1. Take the lock. Refuse a directory that is someone else's, or of a newer format, untouched.
//! 2. Open the catalog and check its invariants.
//! 3. Remove segment files that no manifest names: what flushes and bulk writes left behind.
//! 4. Look at the files that manifests name. One that is missing or damaged does not keep the others
//!    from working: it is an error for those who read it.
//! 5. Read the log: cut off the torn tail of a crash, refuse damage.
//! 6. Put rows back: for each collection the commits above its `flushed_lsn`, in order. When memory
//!    is full, flush. Bulk writes without a commit are skipped.
//!
//! Every step can be interrupted and started again.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use arrow::array::{ArrayRef, Int32Array};
use tidemark_catalog::ids::{CollectionId, ColumnId, Lsn};
use tidemark_catalog::producer::Producer;
use tidemark_catalog::role::ScramVerifier;
use tidemark_catalog::segment::Segment;
use tidemark_catalog::view::View;
use tidemark_catalog::{Bootstrap, Catalog, SYSTEM_IDENTIFIER};

use crate::batch::WriteBatch;
use crate::bulk::{attach, begin_of, stage_rows};
use crate::catalog_file::{EngineCatalogFile, Reserve};
use crate::collection::CollectionRuntime;
use crate::durable::{self, TEMPORARY_SUFFIX};
use crate::engine::{Engine, Inner};
use crate::env::{Env, Files, LockGuard, OpenMode};
use crate::error::{OpenError, WalFormatError, WalOpenError, WriteError};
use crate::jobs::gc::FIRST_LOG_FILE;
use crate::jobs::retention::ClockWatch;
use crate::jobs::{Executor, flush};
use crate::memtable::Memtable;
use crate::memtable::budget::Budget;
use crate::metrics::Metrics;
use crate::options::EngineOptions;
use crate::producers::Producers;
use crate::segment;
use crate::segment::block::BlockCache;
use crate::segment::handle::{SegmentFiles, SegmentHandle};
use crate::types::write_type;
use crate::wal::codec::{LoggedBatch, LoggedColumn, decode_batches};
use crate::wal::format::{RecordKind, decode_number};
use crate::wal::reader::{self, Expected, Located, Scan};
use crate::wal::{self, WalOptions};

/// The newest format of a data directory.
const FORMAT: u32 = 1;

pub(crate) const MARKER: &str = "TIDEMARK";
pub(crate) const LOCK: &str = "LOCK";
pub(crate) const CATALOG: &str = "catalog.redb";
const RESERVE: &str = "catalog.reserve";
pub(crate) const LOG: &str = "wal";
pub(crate) const SEGMENTS: &str = "segments";

/// How often replay says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// What a new data directory starts with.
#[derive(Clone, Debug)]
pub struct NewDirectory {
    /// The name of the first superuser.
    pub superuser: String,
    /// What its password is checked with, where one was given.
    pub verifier: Option<ScramVerifier>,
}

impl Engine {
    /// Opens a data directory; one that is missing or empty is made with what `new` says. When this
    /// returns, every row that was ever acknowledged is there, once.
    ///
    /// # Errors
    /// The directory is in use, not ours, newer than this server, or damaged; or the file system
    /// fails. What is there is not harmed.
    pub fn open(env: Env, options: EngineOptions, new: NewDirectory) -> Result<Engine, OpenError> {
        let (inner, lock) = open(env, options, new)?;
        Engine::start(inner, lock)
    }
}

fn open(
    env: Env,
    options: EngineOptions,
    new: NewDirectory,
) -> Result<(Inner, Box<dyn LockGuard>), OpenError> {
    let files = env.files.as_ref();
    let lock = prepare_directory(files, &options.directory)?;
    let reserve = Reserve::new(Arc::clone(&env.files), options.directory.join(RESERVE));
    reserve.restore();
    let catalog = Arc::new(open_catalog(&env, &options.directory, &reserve, new)?);
    let view = catalog.view();
    remove_orphans(files, &options.directory, &view)?;
    let metrics = Arc::new(Metrics::default());
    let blocks = BlockCache::new(options.block_cache_bytes, options.segment_page_rows);
    let segment_files = SegmentFiles::new(env.clone(), Arc::clone(&metrics), blocks);
    let budget = Budget::new(options.memtable_bytes_hard);
    let collections = open_collections(&segment_files, &options.directory, &view, &budget)?;
    let mut noted = Noted { bulk_commits: BTreeMap::new(), producers: view.producers().clone() };
    let wal_options = WalOptions {
        directory: options.directory.join(LOG),
        segment_bytes: options.wal_segment_bytes,
        on_failure: options.on_failure.clone(),
        expected: expected_log(&view),
        lsn_floor: view.lsn_max(),
    };
    let (wal, scan) = wal::open(&env, wal_options, |located| noted.note(located))?;
    let inner = Inner {
        budget,
        executor: Executor::new(Arc::clone(&env.clock)),
        files: segment_files,
        collections: RwLock::new(collections),
        bulk: Mutex::default(),
        ddl: Mutex::default(),
        producers: Producers::new(noted.producers),
        clock_watch: ClockWatch::new(env.clock.as_ref()),
        merging: Mutex::default(),
        merges: Mutex::default(),
        queries: Arc::default(),
        flush_failures: AtomicU32::new(0),
        disk_full: AtomicBool::new(false),
        env,
        options,
        catalog,
        wal,
        metrics,
        reserve,
    };
    replay(&inner, &scan, noted.bulk_commits)?;
    Ok((inner, lock))
}

fn prepare_directory(files: &dyn Files, directory: &Path) -> Result<Box<dyn LockGuard>, OpenError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    };
    if !files.exists(directory).map_err(io(directory))? {
        durable::create_directory(files, directory).map_err(io(directory))?;
    }
    let marker = directory.join(MARKER);
    let names = files.list(directory).map_err(io(directory))?;
    let ours = |name: &String| {
        [MARKER, LOCK, "lost+found"].contains(&name.as_str()) || name.ends_with(TEMPORARY_SUFFIX)
    };
    if !names.iter().any(|name| name == MARKER) && !names.iter().all(ours) {
        return Err(OpenError::NotADataDirectory { path: directory.to_owned() });
    }
    let lock_path = directory.join(LOCK);
    let lock = files.lock(&lock_path).map_err(io(&lock_path))?;
    let lock = lock.ok_or_else(|| OpenError::InUse { path: directory.to_owned() })?;
    if files.exists(&marker).map_err(io(&marker))? {
        check_marker(files, directory, &marker)?;
    } else {
        for name in [LOG, SEGMENTS] {
            let path = directory.join(name);
            durable::create_directory(files, &path).map_err(io(&path))?;
        }
        write_marker(files, &marker).map_err(io(&marker))?;
    }
    Ok(lock)
}

pub(crate) fn check_marker(files: &dyn Files, directory: &Path, marker: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { path: marker.to_owned(), source };
    let file = files.open(marker, OpenMode::Read).map_err(io)?;
    let length = usize::try_from(file.byte_len().map_err(io)?.min(64)).expect("at most 64");
    let mut text = vec![0; length];
    file.read_exact_at(&mut text, 0).map_err(io)?;
    let text = String::from_utf8_lossy(&text);
    let format = text.trim().strip_prefix("tidemark data directory, format ");
    let format = format.and_then(|format| format.parse::<u32>().ok());
    let format = format.ok_or_else(|| OpenError::NotADataDirectory { path: directory.to_owned() })?;
    if format > FORMAT {
        return Err(OpenError::NewerFormat { found: format, supported: FORMAT });
    }
    Ok(())
}

fn write_marker(files: &dyn Files, marker: &Path) -> std::io::Result<()> {
    let mut temporary = marker.as_os_str().to_owned();
    temporary.push(TEMPORARY_SUFFIX);
    let temporary = PathBuf::from(temporary);
    if files.exists(&temporary)? {
        files.remove(&temporary)?;
    }
    let pending = durable::create(files, marker)?;
    let text = format!("tidemark data directory, format {FORMAT}\n");
    pending.file.write_all_at(text.as_bytes(), 0)?;
    durable::publish(files, pending)?;
    Ok(())
}

fn open_catalog(
    env: &Env,
    directory: &Path,
    reserve: &Arc<Reserve>,
    new: NewDirectory,
) -> Result<Catalog, OpenError> {
    let path = directory.join(CATALOG);
    let io = |source| OpenError::Io { path: path.clone(), source };
    let files = env.files.as_ref();
    let mode = if files.exists(&path).map_err(io)? { OpenMode::ReadWrite } else { OpenMode::CreateNew };
    let file = files.open(&path, mode).map_err(io)?;
    if mode == OpenMode::CreateNew {
        durable::sync_directory(files, directory).map_err(io)?;
    }
    let file = EngineCatalogFile::new(file, Arc::clone(reserve));
    let catalog = Catalog::open(Box::new(file), || Bootstrap {
        superuser: new.superuser,
        verifier: new.verifier,
        // 63 bits: PostgreSQL shows its own as a signed number.
        system_identifier: env.random.next_u64() >> 1,
    })?;
    Ok(catalog)
}

pub(crate) fn expected_log(view: &View) -> Expected {
    let number = |name| view.setting(name).and_then(|value| value.parse().ok());
    Expected {
        system_identifier: number(SYSTEM_IDENTIFIER).unwrap_or_default(),
        first_file: number(FIRST_LOG_FILE),
    }
}

fn remove_orphans(files: &dyn Files, directory: &Path, view: &View) -> Result<(), OpenError> {
    let root = directory.join(SEGMENTS);
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    };
    for name in files.list(&root).map_err(io(&root))? {
        let Ok(collection) = name.parse().map(CollectionId) else {
            tracing::warn!(name, "an unknown name among the segments is left alone");
            continue;
        };
        let path = root.join(&name);
        let live: HashSet<String> = view
            .collection(collection)
            .map(|view| view.segments.values().flat_map(|segment| files_of(segment)).collect())
            .unwrap_or_default();
        let mut removed = 0;
        for file in files.list(&path).map_err(io(&path))? {
            let ours = segment::is_own_file_name(&file) || file.ends_with(TEMPORARY_SUFFIX);
            if ours && !live.contains(&file) {
                files.remove(&path.join(&file)).map_err(io(&path))?;
                removed += 1;
            }
        }
        if removed > 0 {
            tracing::info!(collection = %collection, removed, "removed unfinished segment files");
            durable::sync_directory(files, &path).map_err(io(&path))?;
        }
    }
    Ok(())
}

/// The files that a live segment has.
pub(crate) fn files_of(segment: &Segment) -> impl Iterator<Item = String> {
    let deleted = segment.deleted.map(|deleted| segment::deleted_file_name(deleted.file));
    std::iter::once(segment::file_name(segment.id)).chain(deleted)
}

fn open_collections(
    files: &Arc<SegmentFiles>,
    directory: &Path,
    view: &View,
    budget: &Arc<Budget>,
) -> Result<BTreeMap<CollectionId, Arc<CollectionRuntime>>, OpenError> {
    let open = |view: &tidemark_catalog::view::CollectionView| {
        let collection = &view.collection;
        let segments = view.segments.values().map(|segment| {
            let path = segment::path(directory, collection.id, segment.id);
            let name = collection.name.clone();
            Arc::new(SegmentHandle::new(files, Arc::clone(segment), path, name).checked())
        });
        let runtime = CollectionRuntime::new(Arc::clone(collection), segments.collect(), budget)?;
        Ok((collection.id, Arc::new(runtime)))
    };
    view.collections().map(open).collect()
}

/// The commit of each bulk write, by its first record.
type BulkCommits = BTreeMap<Lsn, Lsn>;

/// What is known of the log before its rows are put back.
struct Noted {
    bulk_commits: BulkCommits,
    producers: BTreeMap<String, Producer>,
}

impl Noted {
    fn note(&mut self, located: Located<'_>) -> Result<(), WalFormatError> {
        let (kind, number, body) = unnumbered(&located)?;
        if let Some((name, sequence)) = number {
            let producer =
                Producer { sequence, lsn: located.lsn, system_time_us: located.record.system_time_us };
            let known = self.producers.entry(name.to_owned()).or_insert(producer);
            if known.sequence < sequence {
                *known = producer;
            }
        }
        if kind == RecordKind::BulkCommit {
            let (begin, _) = begin_of(body).ok_or(WalFormatError::BadRecord)?;
            self.bulk_commits.insert(begin, located.lsn);
        }
        Ok(())
    }
}

/// The name and the number of a batch's producer.
type Number<'a> = (&'a str, u64);

/// A record without a producer's number, and the number, if it has one.
pub(crate) fn unnumbered<'a>(
    located: &Located<'a>,
) -> Result<(RecordKind, Option<Number<'a>>, &'a [u8]), WalFormatError> {
    let kind = match located.record.kind {
        RecordKind::SequencedWrite => RecordKind::Write,
        RecordKind::SequencedBulkCommit => RecordKind::BulkCommit,
        plain => return Ok((plain, None, located.record.body)),
    };
    let (name, sequence, body) = decode_number(located.record.body).ok_or(WalFormatError::BadRecord)?;
    Ok((kind, Some((name, sequence)), body))
}

/// A bulk write while its records are read.
#[derive(Default)]
struct ReplayedBulk {
    collection: Option<CollectionId>,
    rows: Memtable,
    staged: Vec<Arc<SegmentHandle>>,
}

struct Replay<'a> {
    engine: &'a Inner,
    bulk_commits: BulkCommits,
    bulk: BTreeMap<Lsn, ReplayedBulk>,
    /// What each collection had in segments when it was opened.
    flushed: BTreeMap<CollectionId, Lsn>,
    last_lsn: Lsn,
    progress_at: Duration,
}

fn replay(engine: &Inner, scan: &Scan, bulk_commits: BulkCommits) -> Result<(), OpenError> {
    let view = engine.catalog.view();
    let flushed = view.collections().map(|view| (view.collection.id, view.collection.flushed_lsn));
    let mut replay = Replay {
        engine,
        bulk_commits,
        bulk: BTreeMap::new(),
        flushed: flushed.collect(),
        last_lsn: scan.last_lsn,
        progress_at: engine.env.clock.monotonic() + PROGRESS_INTERVAL,
    };
    reader::replay(engine.env.files.as_ref(), scan, |located| replay.record(located))?;
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
            bulk.staged.extend(staged.map_err(|error| OpenError::Flush(Box::new(error)))?);
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

    /// Flushes the collection, and the others too when memory is short.
    fn flush(&self, runtime: &Arc<CollectionRuntime>) -> Result<(), OpenError> {
        let mut runtimes = vec![Arc::clone(runtime)];
        if self.over_budget() {
            runtimes = self.engine.runtimes();
        }
        for runtime in runtimes {
            runtime.lock().freeze();
            flush::flush_all(self.engine, &runtime).map_err(|error| OpenError::Flush(Box::new(error)))?;
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
