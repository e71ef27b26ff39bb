//! A segment as snapshots hold it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tidemark_catalog::ids::SegmentId;
use tidemark_catalog::segment::Segment;

use crate::env::Env;
use crate::error::ReadError;
use crate::metrics::Metrics;
use crate::segment::block::BlockCache;
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
    garbage: Mutex<Vec<PathBuf>>,
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

    /// Takes the files that are to be removed.
    pub(crate) fn take_garbage(&self) -> Vec<PathBuf> {
        std::mem::take(&mut *self.garbage.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Decoded columns of all segments.
    pub(crate) fn blocks(&self) -> &BlockCache {
        &self.blocks
    }

    pub(crate) fn has_garbage(&self) -> bool {
        !self.garbage.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// A segment that somebody can read. When it was retired and the last reader lets go, its file is
/// handed to the collector.
#[derive(Debug)]
pub(crate) struct SegmentHandle {
    segment: Arc<Segment>,
    path: PathBuf,
    collection: String,
    files: Arc<SegmentFiles>,
    retired: AtomicBool,
    /// What was found wrong when the engine was opened.
    unusable: Option<ReadError>,
}

impl SegmentHandle {
    pub(crate) fn new(
        files: &Arc<SegmentFiles>,
        segment: Arc<Segment>,
        path: PathBuf,
        collection: String,
    ) -> SegmentHandle {
        let files = Arc::clone(files);
        SegmentHandle { segment, path, collection, files, retired: AtomicBool::new(false), unusable: None }
    }

    /// Looks at the file: a segment that is missing or damaged stays in the manifest, and tells every
    /// reader so.
    pub(crate) fn checked(mut self) -> SegmentHandle {
        let files = self.files.env.files.as_ref();
        if let Err(error) = file::check_footer(files, &self.path, &self.collection, &self.segment) {
            tracing::error!(collection = %self.collection, %error, "a segment cannot be used");
            self.unusable = Some(error);
        }
        self
    }

    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Decoded columns, its own among them.
    pub(crate) fn blocks(&self) -> &BlockCache {
        self.files.blocks()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.files.metrics
    }

    /// Its footer, read where it is not in memory.
    pub(crate) fn open(&self) -> Result<Arc<OpenSegment>, ReadError> {
        if let Some(error) = &self.unusable {
            return Err(error.clone());
        }
        self.files.footers.get_or_insert_with(&self.segment.id, || {
            let files = self.files.env.files.as_ref();
            let metrics = &self.files.metrics;
            file::open(files, &self.path, &self.collection, &self.segment, metrics).map(Arc::new)
        })
    }

    /// No manifest names it any more.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }
}

impl Drop for SegmentHandle {
    fn drop(&mut self) {
        if *self.retired.get_mut() {
            self.files.footers.remove(&self.segment.id);
            let mut garbage = self.files.garbage.lock().unwrap_or_else(PoisonError::into_inner);
            garbage.push(std::mem::take(&mut self.path));
        }
    }
}
