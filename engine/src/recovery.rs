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
//!    is full, flush, beside reading on. Bulk writes without a commit are skipped.
//!
//! Steps 1 and 3 are [`directory`], step 6 is [`replay`]. Every step can be interrupted and started again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex, RwLock};

use tidemark_catalog::ids::{CollectionId, Lsn};
use tidemark_catalog::producer::Producer;
use tidemark_catalog::role::ScramVerifier;
use tidemark_catalog::view::View;
use tidemark_catalog::{Bootstrap, Catalog, SYSTEM_IDENTIFIER};

use crate::bulk::begin_of;
use crate::catalog_file::{EngineCatalogFile, Reserve};
use crate::collection::CollectionRuntime;
use crate::durable;
use crate::engine::{Engine, Inner};
use crate::env::{Env, LockGuard, OpenMode};
use crate::error::{OpenError, WalFormatError};
use crate::jobs::Executor;
use crate::jobs::gc::FIRST_LOG_FILE;
use crate::jobs::retention::ClockWatch;
use crate::memtable::budget::Budget;
use crate::metrics::Metrics;
use crate::options::EngineOptions;
use crate::producers::Producers;
use crate::recovery::directory::{CATALOG, LOG, RESERVE, prepare_directory, remove_orphans};
use crate::segment;
use crate::segment::block::BlockCache;
use crate::segment::handle::{SegmentFiles, SegmentHandle};
use crate::wal::format::{RecordKind, decode_number};
use crate::wal::reader::{Expected, Located};
use crate::wal::{self, WalOptions};

pub(crate) mod directory;
mod flush_behind;
mod replay;

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
) -> Result<(Arc<Inner>, Box<dyn LockGuard>), OpenError> {
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
    let inner = Arc::new(inner);
    replay::replay(&inner, &scan, noted.bulk_commits)?;
    Ok((inner, lock))
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
