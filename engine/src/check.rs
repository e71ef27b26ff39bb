//! Looking at a data directory that no server has open: whether everything is there and as it was written.
//!
//! 1. Take the lock, so that no server starts meanwhile. Refuse what is no data directory of ours.
//! 2. The catalog: the checksums of its pages, its records, its invariants. It is opened over a layer that
//!    keeps what is written in memory ([`overlay`]).
//! 3. The segments that manifests name: the file is there, its length, the checksums of its footer and of
//!    every page, its file of deleted rows; how many rows it has, and between which times ([`rows`]). A deep
//!    check decodes all columns, compares NULLs and bounds with the catalog's, and looks for keys that a
//!    `dedup_key` forbids to be there twice.
//! 4. The files that no manifest names. Those that a crash leaves, which the next start removes, are no
//!    fault; those that the engine cannot have made are one.
//! 5. The log: headers, the chain of frames, records. A torn tail is what a crash leaves.
//!
//! Nothing in the directory is changed. What is wrong is gathered, not returned at the first fault; only
//! the log ends at its first one, since what comes after it has nothing to be compared with.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;
use tidemark_catalog::ids::{CollectionId, ColumnId, PartitionId, SegmentId};
use tidemark_catalog::segment::Segment;
use tidemark_catalog::view::{CollectionView, View};
use tidemark_catalog::{Bootstrap, Catalog, IdBounds};

use crate::check::overlay::Overlay;
use crate::check::rows::Keys;
use crate::durable::TEMPORARY_SUFFIX;
use crate::env::{Env, Files, LockGuard, OpenMode};
use crate::error::{OpenError, ReadError, WalFormatError, WalOpenError};
use crate::metrics::Metrics;
use crate::recovery::directory::{CATALOG, LOCK, LOG, MARKER, SEGMENTS, check_marker, files_of};
use crate::recovery::{expected_log, unnumbered};
use crate::segment::block::BlockCache;
use crate::segment::handle::{SegmentFiles, SegmentHandle};
use crate::segment::{self, deleted};
use crate::wal::codec::decode_batches;
use crate::wal::format::RecordKind;
use crate::wal::reader::{self, Located};

mod overlay;
mod rows;

/// Rows that are decoded at a time.
const BLOCK_ROWS: usize = 8 << 10;

/// How much is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Every byte is read; of the rows, their number and times.
    Bytes,
    /// All values are decoded too.
    Values,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// What is wrong.
    pub faults: Vec<Finding>,
    /// What a crash left, which the next start puts in order.
    pub leftovers: Vec<Finding>,
    /// Collections.
    pub collection_count: usize,
    /// Their segments.
    pub segment_count: usize,
    /// Rows of segments, those that are deleted among them.
    pub row_count: u64,
    /// Bytes of segments.
    pub segment_bytes: u64,
    /// Records of the log.
    pub log_record_count: u64,
}

/// Something in a place.
#[derive(Debug)]
pub struct Finding {
    /// The name of the collection, where it is one's.
    pub collection: Option<String>,
    /// The partition, where it is in one.
    pub partition: Option<PartitionId>,
    /// The segment, where it is about one.
    pub segment: Option<SegmentId>,
    /// The file, from the data directory.
    pub file: PathBuf,
    /// What was found.
    pub fault: Fault,
}

/// What can be found.
#[derive(Debug, Error)]
pub enum Fault {
    /// A file that is needed is not there.
    #[error("the file is missing")]
    Missing,
    /// Bytes are not those that were written.
    #[error("damaged at offset {offset}")]
    Damaged {
        /// Where.
        offset: u64,
    },
    /// It cannot be read, or not be decoded.
    #[error("{0}")]
    Unreadable(ReadError),
    /// The file system failed.
    #[error("cannot be read: {0}")]
    Io(io::Error),
    /// The catalog cannot be opened.
    #[error("the catalog cannot be opened: {}", chain(.0))]
    Catalog(tidemark_catalog::error::OpenError),
    /// Pages of the catalog are damaged.
    #[error("pages of the catalog are damaged")]
    CatalogPages,
    /// Reading the catalog ended in a panic.
    #[error("the catalog cannot be read: its pages contradict each other")]
    CatalogContradicts,
    /// The log is not what was written.
    #[error("{}", chain(.0))]
    Log(WalOpenError),
    /// The catalog has another number of rows.
    #[error("{found} rows, the catalog says {stated}")]
    RowCount {
        /// In the catalog.
        stated: u64,
        /// In the file.
        found: u64,
    },
    /// The catalog has other times.
    #[error("times from {} to {}, the catalog says {} to {}", found.0, found.1, stated.0, stated.1)]
    TimeRange {
        /// In the catalog.
        stated: (i64, i64),
        /// In the file.
        found: (i64, i64),
    },
    /// Rows are not in the partition's time.
    #[error("times from {} to {} are not all in the partition, {} to {}", found.0, found.1, range.0, range.1)]
    OutsidePartition {
        /// Of the partition.
        range: (i64, i64),
        /// In the file.
        found: (i64, i64),
    },
    /// The catalog has another number of NULLs.
    #[error("column \"{column}\" has {found} NULLs, the catalog says {stated}")]
    NullCount {
        /// The column.
        column: String,
        /// In the catalog.
        stated: u64,
        /// In the file.
        found: u64,
    },
    /// The catalog has a bound that does not hold, or is not reached.
    #[error("column \"{column}\" does not have the {bound} that the catalog says")]
    Bound {
        /// The column.
        column: String,
        /// Which one.
        bound: Bound,
    },
    /// Rows with a key that other rows have.
    #[error("{count} rows with keys that segment {other} has too")]
    DuplicateKeys {
        /// The segment that has them too; it may be the same.
        other: SegmentId,
        /// How many rows.
        count: u64,
    },
    /// No manifest names the file, and the engine cannot have left it.
    #[error("an orphan: no manifest names it, and the catalog never gave out its number")]
    Orphan,
    /// No manifest names the file.
    #[error("left by a crash: no manifest names it; the next start removes it")]
    Leftover,
    /// The log ends in something unfinished.
    #[error("left by a crash: an unfinished record at offset {offset}; the next start cuts it off")]
    TornTail {
        /// Where.
        offset: u64,
    },
}

/// A bound of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The lower one.
    Minimum,
    /// The upper one.
    Maximum,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Bound::Minimum => "minimum",
            Bound::Maximum => "maximum",
        })
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Fault {
        match error {
            ReadError::Missing { .. } => Fault::Missing,
            ReadError::Damaged { offset, .. } => Fault::Damaged { offset },
            other => Fault::Unreadable(other),
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Looks at a data directory; `progress` is told of each segment before it is read.
///
/// # Errors
/// It is none, a newer server made it, a server has it open, or the file system fails.
pub fn check(
    env: &Env,
    directory: &Path,
    depth: Depth,
    progress: &mut dyn FnMut(&Segment),
) -> Result<Report, OpenError> {
    let _lock = lock(env.files.as_ref(), directory)?;
    let mut report = Report::default();
    let catalog = match open_catalog(env, directory) {
        Ok(catalog) => catalog,
        // Without it nothing is known of the other files.
        Err(fault) => {
            report.faults.push(at_file(PathBuf::from(CATALOG), fault));
            return Ok(report);
        }
    };
    let view = catalog.view();
    let mut checking = Checking {
        files: SegmentFiles::new(env.clone(), Arc::new(Metrics::default()), BlockCache::new(0, BLOCK_ROWS)),
        env,
        directory,
        depth,
        report,
    };
    for collection in view.collections() {
        checking.collection(collection, progress);
    }
    checking.orphans(&view, catalog.id_bounds())?;
    checking.log(&view);
    Ok(checking.report)
}

fn lock(files: &dyn Files, directory: &Path) -> Result<Box<dyn LockGuard>, OpenError> {
    let marker = directory.join(MARKER);
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    };
    if !files.exists(&marker).map_err(io(&marker))? {
        return Err(OpenError::NotADataDirectory { path: directory.to_owned() });
    }
    let path = directory.join(LOCK);
    let lock = files.lock(&path).map_err(io(&path))?;
    let lock = lock.ok_or_else(|| OpenError::InUse { path: directory.to_owned() })?;
    check_marker(files, directory, &marker)?;
    Ok(lock)
}

fn open_catalog(env: &Env, directory: &Path) -> Result<Catalog, Fault> {
    let file =
        env.files.open(&directory.join(CATALOG), OpenMode::Read).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Fault::Missing,
            _ => Fault::Io(error),
        })?;
    if file.byte_len().map_err(Fault::Io)? == 0 {
        return Err(Fault::Damaged { offset: 0 });
    }
    let overlay = || Overlay::new(Arc::clone(&file)).map(Box::new).map_err(Fault::Io);
    let (first, second) = (overlay()?, overlay()?);
    // It was bootstrapped when the directory was made, or a crash came first: then it is empty here too.
    let bootstrap =
        || Bootstrap { superuser: String::new(), verifier: None, system_identifier: env.random.next_u64() };
    // A page that is damaged may make the database's own assertions fail.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        if !tidemark_catalog::store::is_sound(first).map_err(Fault::Catalog)? {
            return Err(Fault::CatalogPages);
        }
        Catalog::open(second, bootstrap).map_err(Fault::Catalog)
    }));
    opened.unwrap_or(Err(Fault::CatalogContradicts))
}

fn at_file(file: PathBuf, fault: Fault) -> Finding {
    Finding { collection: None, partition: None, segment: None, file, fault }
}

/// A check under way.
struct Checking<'a> {
    env: &'a Env,
    directory: &'a Path,
    depth: Depth,
    files: Arc<SegmentFiles>,
    report: Report,
}

impl Checking<'_> {
    fn collection(&mut self, view: &CollectionView, progress: &mut dyn FnMut(&Segment)) {
        self.report.collection_count += 1;
        // Keys have the time in them: none is in two partitions.
        for partition in view.partitions.values() {
            let mut keys = match self.depth {
                Depth::Values => Keys::new(&view.collection),
                Depth::Bytes => None,
            };
            for segment in view.segments.values().filter(|segment| segment.partition == partition.id) {
                progress(segment);
                self.report.segment_count += 1;
                self.report.row_count += segment.row_count;
                self.report.segment_bytes += segment.file_bytes;
                let range = (partition.range.start, partition.range.end);
                self.segment(view, segment, range, keys.as_mut());
            }
        }
    }

    fn segment(
        &mut self,
        view: &CollectionView,
        segment: &Arc<Segment>,
        range: (i64, i64),
        keys: Option<&mut Keys>,
    ) {
        let collection = &view.collection;
        let path = segment::path(self.directory, collection.id, segment.id);
        let gone = segment.deleted.map(|rows| {
            let path = path.with_file_name(segment::deleted_file_name(rows.file));
            let files = self.env.files.as_ref();
            let read = deleted::read(files, &path, &collection.name, segment, &rows);
            (path, read)
        });
        let gone = match gone {
            None => None,
            Some((_, Ok(positions))) => Some(positions),
            Some((path, Err(error))) => {
                self.found(view, segment, &path, error.into());
                None
            }
        };
        let handle =
            SegmentHandle::new(&self.files, Arc::clone(segment), path.clone(), collection.name.clone());
        let known = handle.open().and_then(|open| open.check_all().map(|()| open));
        let faults = known.and_then(|open| {
            let mut faults = Vec::new();
            if !open.input.begins_as_parquet()? {
                faults.push(Fault::Damaged { offset: 0 });
            }
            let columns = collection.schema.columns().iter();
            let columns = columns.filter(|column| open.column(column.id).is_some());
            let wanted = |id: ColumnId| match self.depth {
                Depth::Values => true,
                Depth::Bytes => id == collection.timeseries().time_key,
            };
            let columns: Vec<_> = columns.filter(|column| wanted(column.id)).collect();
            faults.extend(rows::check(&handle, collection, &columns, range, gone.as_ref(), keys)?);
            Ok(faults)
        });
        for fault in faults.unwrap_or_else(|error| vec![error.into()]) {
            self.found(view, segment, &path, fault);
        }
    }

    fn found(&mut self, view: &CollectionView, segment: &Segment, path: &Path, fault: Fault) {
        self.report.faults.push(Finding {
            collection: Some(view.collection.name.clone()),
            partition: Some(segment.partition),
            segment: Some(segment.id),
            file: self.below_directory(path),
            fault,
        });
    }

    fn below_directory(&self, path: &Path) -> PathBuf {
        path.strip_prefix(self.directory).unwrap_or(path).to_owned()
    }

    /// Files among the segments that no manifest names.
    fn orphans(&mut self, view: &View, bounds: IdBounds) -> Result<(), OpenError> {
        let root = self.directory.join(SEGMENTS);
        for name in self.list(&root)? {
            let id = name.parse().map(CollectionId).ok().filter(|id| *id < bounds.collection);
            let Some(id) = id else {
                self.report.faults.push(at_file(Path::new(SEGMENTS).join(name), Fault::Orphan));
                continue;
            };
            let collection = view.collection(id);
            let live: HashSet<String> = collection
                .map(|view| view.segments.values().flat_map(|segment| files_of(segment)).collect())
                .unwrap_or_default();
            for file in self.list(&root.join(&name))? {
                if live.contains(&file) {
                    continue;
                }
                let was_given = file_number(&file).is_some_and(|number| number < bounds.segment);
                let (fault, findings) = match was_given {
                    true => (Fault::Leftover, &mut self.report.leftovers),
                    false => (Fault::Orphan, &mut self.report.faults),
                };
                let collection = collection.map(|view| view.collection.name.clone());
                let file = Path::new(SEGMENTS).join(&name).join(&file);
                findings.push(Finding { collection, ..at_file(file, fault) });
            }
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> Result<Vec<String>, OpenError> {
        self.env.files.list(path).map_err(|source| OpenError::Io { path: path.to_owned(), source })
    }

    fn log(&mut self, view: &View) {
        let directory = self.directory.join(LOG);
        let mut record_count = 0;
        let scan = reader::scan(self.env.files.as_ref(), &directory, expected_log(view), |located| {
            record_count += 1;
            check_record(located)
        });
        self.report.log_record_count = record_count;
        match scan {
            Ok(scan) => {
                let tail = scan.torn_tail.map(|tail| {
                    let file = self.below_directory(&tail.path);
                    at_file(file, Fault::TornTail { offset: tail.offset })
                });
                self.report.leftovers.extend(tail);
            }
            Err(error) => {
                let path = match &error {
                    WalOpenError::Io { path, .. }
                    | WalOpenError::Damaged { path, .. }
                    | WalOpenError::Format { path, .. }
                    | WalOpenError::MissingFile { path }
                    | WalOpenError::ForeignLog { path } => path.clone(),
                    WalOpenError::Record(_) => directory,
                };
                self.report.faults.push(at_file(self.below_directory(&path), Fault::Log(error)));
            }
        }
    }
}

/// The number in the name of a file that the engine makes, finished or not.
fn file_number(name: &str) -> Option<SegmentId> {
    let name = name.strip_suffix(TEMPORARY_SUFFIX).unwrap_or(name);
    let is_ours = segment::is_own_file_name(name);
    name.split('.').next().filter(|_| is_ours)?.parse().ok().map(SegmentId)
}

/// Whether a record can be put back, as far as that can be seen of it alone.
fn check_record(located: Located<'_>) -> Result<(), WalFormatError> {
    let (kind, _, body) = unnumbered(&located)?;
    let rows = match kind {
        RecordKind::Write => body,
        RecordKind::BulkRows => crate::bulk::begin_of(body).ok_or(WalFormatError::BadRecord)?.1,
        _ => return Ok(()),
    };
    decode_batches(rows).map(drop)
}
