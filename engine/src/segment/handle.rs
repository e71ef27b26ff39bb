//! A segment as snapshots hold it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{AsArray, UInt8Array};
use arrow::buffer::Buffer;
use arrow::datatypes::UInt8Type;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tidemark_catalog::ids::{ColumnId, SegmentId};
use tidemark_catalog::segment::{DeletedRows, Segment};

use crate::env::Env;
use crate::error::ReadError;
use crate::metrics::Metrics;
use crate::segment::block::{BlockCache, BlockKey, Part};
use crate::segment::deleted::{self, Positions};
use crate::segment::deleted_file_name;
use crate::segment::file::{self, OpenSegment};

/// Memory for the footers of segments.
const FOOTER_CACHE_BYTES: u64 = 128 << 20;

/// What all handles of an engine share.
#[derive(Debug)]
pub(crate) struct SegmentFiles {
    env: Env,
    metrics: Arc<Metrics>,
    footers: Cache<SegmentId, Arc<OpenSegment>, ByMemory>,
    blocks: BlockCache,
    /// Files that nothing needs any more.
    garbage: Mutex<Garbage>,
}

/// What nothing needs any more.
#[derive(Debug, Default)]
pub(crate) struct Garbage {
    /// Files to be removed.
    pub(crate) files: Vec<PathBuf>,
    /// The segments that some of them are.
    pub(crate) segments: BTreeSet<SegmentId>,
}

#[derive(Clone, Debug)]
struct ByMemory;

impl Weighter<SegmentId, Arc<OpenSegment>> for ByMemory {
    fn weight(&self, _: &SegmentId, segment: &Arc<OpenSegment>) -> u64 {
        segment.memory_bytes().max(1) as u64
    }
}

impl SegmentFiles {
    pub(crate) fn new(env: Env, metrics: Arc<Metrics>, blocks: BlockCache) -> Arc<SegmentFiles> {
        const ITEMS_ESTIMATED: usize = 1024;
        let footers = Cache::with_weighter(ITEMS_ESTIMATED, FOOTER_CACHE_BYTES, ByMemory);
        Arc::new(SegmentFiles { env, metrics, footers, blocks, garbage: Mutex::default() })
    }

    /// A file that nothing needs any more.
    pub(crate) fn add_garbage(&self, path: PathBuf) {
        self.lock_garbage().files.push(path);
    }

    /// Takes what is to be removed.
    pub(crate) fn take_garbage(&self) -> Garbage {
        std::mem::take(&mut *self.lock_garbage())
    }

    fn lock_garbage(&self) -> MutexGuard<'_, Garbage> {
        self.garbage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decoded columns of all segments.
    pub(crate) fn blocks(&self) -> &BlockCache {
        &self.blocks
    }

    pub(crate) fn has_garbage(&self) -> bool {
        !self.lock_garbage().files.is_empty()
    }
}

/// The file of a segment. When it was retired and the last reader lets go, it is handed to the collector.
#[derive(Debug)]
struct SegmentFile {
    id: SegmentId,
    path: PathBuf,
    collection: String,
    files: Arc<SegmentFiles>,
    retired: AtomicBool,
}

/// A segment that somebody can read, without the rows that were deleted up to some moment.
#[derive(Debug)]
pub(crate) struct SegmentHandle {
    segment: Arc<Segment>,
    file: Arc<SegmentFile>,
    deleted: Option<Arc<Positions>>,
    /// What was found wrong when the engine was opened.
    unusable: Option<ReadError>,
}

impl SegmentHandle {
    /// A segment without deleted rows.
    pub(crate) fn new(
        files: &Arc<SegmentFiles>,
        segment: Arc<Segment>,
        path: PathBuf,
        collection: String,
    ) -> SegmentHandle {
        let (id, files, retired) = (segment.id, Arc::clone(files), AtomicBool::new(false));
        let file = Arc::new(SegmentFile { id, path, collection, files, retired });
        SegmentHandle { segment, file, deleted: None, unusable: None }
    }

    /// Looks at the files of a segment that a manifest names: one that is missing or damaged stays in
    /// the manifest, and tells every reader so.
    pub(crate) fn checked(mut self) -> SegmentHandle {
        match self.look() {
            Ok(deleted) => self.deleted = deleted,
            Err(error) => {
                tracing::error!(collection = %self.file.collection, %error, "a segment cannot be used");
                self.unusable = Some(error);
            }
        }
        self
    }

    fn look(&self) -> Result<Option<Arc<Positions>>, ReadError> {
        let files = self.file.files.env.files.as_ref();
        let collection = &self.file.collection;
        file::check_footer(files, &self.file.path, collection, &self.segment)?;
        let Some(rows) = &self.segment.deleted else { return Ok(None) };
        let path = self.file.path.with_file_name(deleted_file_name(rows.file));
        Ok(Some(Arc::new(deleted::read(files, &path, collection, &self.segment, rows)?)))
    }

    /// The same segment with more rows deleted.
    pub(crate) fn with_deleted(&self, rows: DeletedRows, positions: Positions) -> SegmentHandle {
        let segment = Segment { deleted: Some(rows), ..(*self.segment).clone() };
        SegmentHandle {
            segment: Arc::new(segment),
            file: Arc::clone(&self.file),
            deleted: Some(Arc::new(positions)),
            unusable: self.unusable.clone(),
        }
    }

    /// A new segment some of whose rows are deleted, if any are, as its record says.
    pub(crate) fn without(mut self, gone: Option<Positions>) -> SegmentHandle {
        self.deleted = gone.map(Arc::new);
        self
    }

    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// The rows that are not there any more.
    pub(crate) fn deleted(&self) -> Option<&Arc<Positions>> {
        self.deleted.as_ref()
    }

    /// Decoded columns, its own among them.
    pub(crate) fn blocks(&self) -> &BlockCache {
        self.file.files.blocks()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.file.files.metrics
    }

    /// Its footer, read where it is not in memory.
    pub(crate) fn open(&self) -> Result<Arc<OpenSegment>, ReadError> {
        if let Some(error) = &self.unusable {
            return Err(error.clone());
        }
        let SegmentFile { path, collection, files, .. } = self.file.as_ref();
        files.footers.get_or_insert_with(&self.segment.id, || {
            file::open(files.env.files.as_ref(), path, collection, &self.segment, &files.metrics)
                .map(Arc::new)
        })
    }

    /// The token filters of a column of a row group, if the file has them; from memory, where they are.
    pub(crate) fn token_filters(
        &self,
        open: &OpenSegment,
        column: ColumnId,
        row_group: usize,
    ) -> Result<Option<Buffer>, ReadError> {
        let key = BlockKey {
            segment: self.segment.id,
            column,
            row_group: u32::try_from(row_group).expect("a file has fewer row groups"),
            part: Part::TokenFilters,
        };
        if let Some(kept) = self.blocks().get(&key) {
            return Ok(Some(kept.as_primitive::<UInt8Type>().values().inner().clone()));
        }
        let Some(bytes) = open.read_token_filters(column, row_group)? else { return Ok(None) };
        let buffer = Buffer::from(bytes);
        self.blocks().insert(key, Arc::new(UInt8Array::new(buffer.clone().into(), None)));
        Ok(Some(buffer))
    }

    /// No manifest names it any more.
    pub(crate) fn retire(&self) {
        self.file.retired.store(true, Ordering::Release);
    }
}

impl Drop for SegmentFile {
    fn drop(&mut self) {
        if *self.retired.get_mut() {
            self.files.footers.remove(&self.id);
            let mut garbage = self.files.lock_garbage();
            garbage.files.push(std::mem::take(&mut self.path));
            garbage.segments.insert(self.id);
        }
    }
}
