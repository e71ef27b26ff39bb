//! What a reader sees: collections at one position of the log.
//!
//! A snapshot pins memtables and segments by reference. Nothing that happens later, a flush
//! included, changes what it answers; what it pins stays in memory or on disk until it is dropped.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::{CollectionId, Lsn};

use crate::batch::WriteBatch;
use crate::collection::SymbolDictionaries;
use crate::memtable::Chunk;
use crate::memtable::budget::Budget;
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

    /// Whether it is of no collection at all.
    pub fn is_empty(&self) -> bool {
        self.collections.is_empty()
    }

    /// A collection that the snapshot was taken of.
    pub fn collection(&self, id: CollectionId) -> Option<&Arc<CollectionSnapshot>> {
        self.collections.get(&id)
    }
}

/// One collection at one position of the log.
#[derive(Debug)]
pub struct CollectionSnapshot {
    pub(crate) collection: Arc<Collection>,
    /// Chunks of memtables with how many of their first rows are seen.
    pub(crate) chunks: Vec<(Arc<Chunk>, usize)>,
    pub(crate) segments: Vec<Arc<SegmentHandle>>,
    pub(crate) symbols: SymbolDictionaries,
    pub(crate) missing: MissingValues,
}

impl CollectionSnapshot {
    /// What the collection was when the snapshot was taken.
    pub fn collection(&self) -> &Arc<Collection> {
        &self.collection
    }

    /// How many rows it has.
    pub fn row_count(&self) -> u64 {
        let in_memory: usize = self.chunks.iter().map(|(_, row_count)| row_count).sum();
        let in_segments: u64 = self.segments.iter().map(|handle| handle.segment().live_row_count()).sum();
        in_memory as u64 + in_segments
    }

    /// The first and the last instant; `None` without rows, and when a chunk or a segment is seen in part
    /// only.
    pub fn time_bounds(&self) -> Option<(i64, i64)> {
        let is_partial = |(chunk, row_count): &(Arc<Chunk>, usize)| *row_count < chunk.row_count();
        let has_deleted = |handle: &Arc<SegmentHandle>| handle.deleted().is_some();
        if self.chunks.iter().any(is_partial) || self.segments.iter().any(has_deleted) {
            return None;
        }
        let chunks = self.chunks.iter().map(|(chunk, _)| chunk.time_bounds());
        let segments = self.segments.iter().map(|it| (it.segment().time_min, it.segment().time_max));
        chunks.chain(segments).reduce(|left, right| (left.0.min(right.0), left.1.max(right.1)))
    }

    /// The same with rows that are not committed, for the one who wrote them.
    #[must_use]
    pub fn with_writes<'a>(&self, batches: impl Iterator<Item = &'a WriteBatch>) -> CollectionSnapshot {
        // They are in nobody's memtable, so they cost no budget here.
        let budget = Budget::new(usize::MAX);
        let own = batches.map(|batch| {
            let row_count = batch.row_count();
            (Arc::new(Chunk::new(Lsn::ZERO, batch.clone(), budget.charge(0))), row_count)
        });
        CollectionSnapshot {
            collection: Arc::clone(&self.collection),
            chunks: self.chunks.iter().cloned().chain(own).collect(),
            segments: self.segments.clone(),
            symbols: self.symbols.clone(),
            missing: self.missing.clone(),
        }
    }

    /// The same with these of its segments only, and nothing in memory.
    pub(crate) fn of_segments(&self, segments: Vec<Arc<SegmentHandle>>) -> CollectionSnapshot {
        CollectionSnapshot {
            collection: Arc::clone(&self.collection),
            chunks: Vec::new(),
            segments,
            symbols: self.symbols.clone(),
            missing: self.missing.clone(),
        }
    }

    pub(crate) fn chunks(&self) -> impl Iterator<Item = (&Arc<Chunk>, usize)> {
        self.chunks.iter().map(|(chunk, row_count)| (chunk, *row_count))
    }

    pub(crate) fn segments(&self) -> &[Arc<SegmentHandle>] {
        &self.segments
    }

    pub(crate) fn symbols(&self) -> &SymbolDictionaries {
        &self.symbols
    }
}
