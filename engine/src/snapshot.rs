//! What a reader sees: collections at one position of the log.
//!
//! A snapshot pins memtables and segments by reference. Nothing that happens later, a flush
//! included, changes what it answers; what it pins stays in memory or on disk until it is dropped.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::{CollectionId, Lsn};

use crate::batch::WriteBatch;
use crate::dedup::index::LayerIndex;
use crate::dedup::resolve::{Layer, LayerRows, Resolution, resolve};
use crate::error::{ReadError, WriteError};
use crate::memtable::Chunk;
use crate::memtable::budget::Budget;
use crate::memtable::dictionaries::SymbolDictionaries;
use crate::missing::MissingValues;
use crate::segment::handle::SegmentHandle;

/// Collections at one position of the log.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) lsn: Lsn,
    pub(crate) collections: BTreeMap<CollectionId, Arc<CollectionSnapshot>>,
}

impl Snapshot {
    /// Every commit up to this one is in it, and none after.
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// A collection that the snapshot was taken of.
    pub fn collection(&self, id: CollectionId) -> Option<&Arc<CollectionSnapshot>> {
        self.collections.get(&id)
    }
}

/// One collection at one position of the log.
#[derive(Debug)]
pub struct CollectionSnapshot {
    collection: Arc<Collection>,
    lsn: Lsn,
    chunks: Vec<SnapshotChunk>,
    /// Those of the manifest.
    segments: Arc<Vec<Arc<SegmentHandle>>>,
    staged: Vec<StagedSegment>,
    /// What is not in the manifest of a collection with a `dedup_key`, oldest first.
    layers: Vec<Layer>,
    /// What the reader's own transaction wrote to such a collection.
    own: Option<Layer>,
    symbols: SymbolDictionaries,
    missing: MissingValues,
    /// Which rows of such a collection are seen; made when it is first asked for.
    resolution: OnceLock<Arc<Resolution>>,
}

/// A chunk of a memtable with how many of its first rows are seen, at least one.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotChunk {
    pub(crate) chunk: Arc<Chunk>,
    pub(crate) row_count: usize,
    /// The keys of its memtable, and the place of its first row there.
    pub(crate) keys: Option<(Arc<LayerIndex>, usize)>,
}

/// A segment of a bulk write that is committed and not in the manifest yet.
#[derive(Clone, Debug)]
pub(crate) struct StagedSegment {
    pub(crate) handle: Arc<SegmentHandle>,
    pub(crate) keys: Option<Arc<LayerIndex>>,
}

/// What a snapshot of a collection is made of.
#[derive(Debug)]
pub(crate) struct NewSnapshot {
    pub(crate) collection: Arc<Collection>,
    pub(crate) lsn: Lsn,
    pub(crate) chunks: Vec<SnapshotChunk>,
    pub(crate) segments: Arc<Vec<Arc<SegmentHandle>>>,
    pub(crate) staged: Vec<StagedSegment>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) symbols: SymbolDictionaries,
    pub(crate) missing: MissingValues,
}

impl CollectionSnapshot {
    pub(crate) fn new(new: NewSnapshot) -> CollectionSnapshot {
        CollectionSnapshot {
            collection: new.collection,
            lsn: new.lsn,
            chunks: new.chunks,
            segments: new.segments,
            staged: new.staged,
            layers: new.layers,
            own: None,
            symbols: new.symbols,
            missing: new.missing,
            resolution: OnceLock::new(),
        }
    }

    /// What the collection was when the snapshot was taken.
    pub fn collection(&self) -> &Arc<Collection> {
        &self.collection
    }

    /// How many rows it has at the most: exactly so many, unless a row in memory may stand for another
    /// one of its key.
    pub fn row_count_max(&self) -> u64 {
        let in_memory: usize = self.chunks.iter().map(|chunk| chunk.row_count).sum();
        let in_segments: u64 = self.handles().map(|handle| handle.segment().live_row_count()).sum();
        in_memory as u64 + in_segments
    }

    /// Whether each of its rows is there: no row in memory may stand for another one of its key.
    pub fn is_resolved(&self) -> bool {
        self.layers.is_empty() && self.own.is_none() || (self.chunks.is_empty() && self.staged.is_empty())
    }

    /// The first and the last instant; `None` without rows, and when a chunk or a segment is seen in part
    /// only.
    pub fn time_bounds(&self) -> Option<(i64, i64)> {
        let is_partial = |chunk: &SnapshotChunk| chunk.row_count < chunk.chunk.row_count();
        let has_deleted = |handle: &Arc<SegmentHandle>| handle.deleted().is_some();
        if !self.is_resolved() || self.chunks.iter().any(is_partial) || self.handles().any(has_deleted) {
            return None;
        }
        let chunks = self.chunks.iter().map(|chunk| chunk.chunk.time_bounds());
        let segments = self.handles().map(|it| (it.segment().time_min, it.segment().time_max));
        chunks.chain(segments).reduce(|left, right| (left.0.min(right.0), left.1.max(right.1)))
    }

    /// The same with rows that are not committed, for the one who wrote them.
    ///
    /// # Errors
    /// A dictionary of symbols is full.
    pub fn with_writes<'a>(
        &self,
        batches: impl Iterator<Item = &'a WriteBatch>,
    ) -> Result<CollectionSnapshot, WriteError> {
        // They are in nobody's memtable, so they cost no budget here.
        let budget = Budget::new(usize::MAX);
        let lsn = self.lsn.next();
        let chunks = batches.map(|batch| {
            let batch = batch.clone().fitted(&self.symbols)?;
            Ok(Arc::new(Chunk::new(lsn, batch, budget.charge(0))))
        });
        let chunks: Vec<Arc<Chunk>> = chunks.collect::<Result<_, WriteError>>()?;
        let has_keys = !self.collection.timeseries().dedup_key.is_empty();
        let own = has_keys.then(|| Layer {
            index: Arc::new(LayerIndex::new(&budget)),
            rows: LayerRows::Memtable(chunks.iter().map(|it| (Arc::clone(it), it.row_count())).collect()),
        });
        let mut all = self.chunks.clone();
        let mut first_row = 0;
        for chunk in chunks {
            let keys = own.as_ref().map(|own| (Arc::clone(&own.index), first_row));
            let row_count = chunk.row_count();
            all.push(SnapshotChunk { chunk, row_count, keys });
            first_row += row_count;
        }
        Ok(CollectionSnapshot {
            collection: Arc::clone(&self.collection),
            lsn: self.lsn,
            chunks: all,
            segments: Arc::clone(&self.segments),
            staged: self.staged.clone(),
            layers: self.layers.clone(),
            own,
            symbols: self.symbols.clone(),
            missing: self.missing.clone(),
            resolution: OnceLock::new(),
        })
    }

    /// The same with these of its segments only, and nothing in memory but what stands for rows of those.
    pub(crate) fn of_segments(&self, segments: Vec<Arc<SegmentHandle>>) -> CollectionSnapshot {
        CollectionSnapshot {
            collection: Arc::clone(&self.collection),
            lsn: self.lsn,
            chunks: Vec::new(),
            segments: Arc::new(segments),
            staged: Vec::new(),
            layers: self.layers.clone(),
            own: self.own.clone(),
            symbols: self.symbols.clone(),
            missing: self.missing.clone(),
            resolution: self.resolution.clone(),
        }
    }

    /// The same without what is in memory, for rows whose keys nothing in memory has.
    pub(crate) fn in_segments(&self) -> CollectionSnapshot {
        let is_manifest = self.staged.is_empty();
        CollectionSnapshot {
            collection: Arc::clone(&self.collection),
            lsn: self.lsn,
            chunks: Vec::new(),
            segments: Arc::clone(&self.segments),
            staged: self.staged.clone(),
            // In the manifest alone keys are unique.
            layers: if is_manifest { Vec::new() } else { self.layers.clone() },
            own: None,
            symbols: self.symbols.clone(),
            missing: self.missing.clone(),
            resolution: if is_manifest { OnceLock::new() } else { self.resolution.clone() },
        }
    }

    /// Which rows of a collection with a `dedup_key` are seen.
    ///
    /// # Errors
    /// A segment is missing or damaged.
    pub(crate) fn resolution(&self) -> Result<Option<Arc<Resolution>>, ReadError> {
        if self.layers.is_empty() && self.own.is_none() {
            return Ok(None);
        }
        if let Some(resolution) = self.resolution.get() {
            return Ok(Some(Arc::clone(resolution)));
        }
        let resolution = Arc::new(resolve(self)?);
        Ok(Some(Arc::clone(self.resolution.get_or_init(|| resolution))))
    }

    /// What columns hold in rows that do not have them.
    pub(crate) fn missing(&self) -> &MissingValues {
        &self.missing
    }

    pub(crate) fn lsn(&self) -> Lsn {
        self.lsn
    }

    pub(crate) fn chunks(&self) -> &[SnapshotChunk] {
        &self.chunks
    }

    /// The segments of the manifest.
    pub(crate) fn segments(&self) -> &[Arc<SegmentHandle>] {
        &self.segments
    }

    pub(crate) fn staged(&self) -> &[StagedSegment] {
        &self.staged
    }

    pub(crate) fn layers(&self) -> &[Layer] {
        &self.layers
    }

    pub(crate) fn own(&self) -> Option<&Layer> {
        self.own.as_ref()
    }

    pub(crate) fn symbols(&self) -> &SymbolDictionaries {
        &self.symbols
    }

    fn handles(&self) -> impl Iterator<Item = &Arc<SegmentHandle>> {
        self.segments.iter().chain(self.staged.iter().map(|staged| &staged.handle))
    }
}
