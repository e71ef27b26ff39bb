//! A collection while the engine runs: its memtables and its manifest.
//!
//! ```text
//!   writes ──▶ active ──freeze──▶ frozen, frozen, … ──flush, oldest first──▶ segments (manifest)
//! ```
//!
//! One lock guards all of it. It is held while a write gets its LSN and enters the active memtable,
//! so rows stand in memtables in the order of the log; and while a flush swaps a frozen memtable
//! for its segments, so a reader sees the rows in one place or the other.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::{CollectionId, ColumnId, Lsn, PartitionId};
use tidemark_catalog::types::ColumnType;

use crate::dedup::index::LayerIndex;
use crate::dedup::resolve::{Layer, LayerRows};
use crate::memtable::Memtable;
use crate::memtable::budget::Budget;
use crate::memtable::symbols::SymbolDictionary;
use crate::segment::handle::SegmentHandle;
use crate::snapshot::{CollectionSnapshot, SnapshotChunk, StagedSegment};

/// The dictionaries of a collection's symbol columns.
#[derive(Clone, Debug, Default)]
pub struct SymbolDictionaries(Arc<BTreeMap<ColumnId, Arc<SymbolDictionary>>>);

impl SymbolDictionaries {
    /// The dictionary of a column; `None` for a column that is not a symbol.
    pub fn get(&self, id: ColumnId) -> Option<&Arc<SymbolDictionary>> {
        self.0.get(&id)
    }

    fn extended_for(&self, collection: &Collection) -> SymbolDictionaries {
        let mut dictionaries = (*self.0).clone();
        for column in collection.schema.columns() {
            if column.column_type == ColumnType::Symbol {
                dictionaries.entry(column.id).or_default();
            }
        }
        SymbolDictionaries(Arc::new(dictionaries))
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.0.values().map(|dictionary| dictionary.memory_bytes()).sum()
    }
}

/// A memtable that takes no more rows, or a bulk write that was committed.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) memtable: Memtable,
    /// Segments that a bulk write wrote before it was committed; durable, in no manifest.
    pub(crate) staged: Vec<Arc<SegmentHandle>>,
    pub(crate) lsn_max: Lsn,
    /// The first record of the log that is needed until this is flushed.
    pub(crate) log_floor: Lsn,
    /// The keys of a collection with a `dedup_key`.
    pub(crate) keys: Option<FrozenKeys>,
}

/// The keys of what is frozen, a layer for each part of it.
#[derive(Debug)]
pub(crate) struct FrozenKeys {
    pub(crate) staged: Vec<Arc<LayerIndex>>,
    pub(crate) memtable: Arc<LayerIndex>,
}

impl Frozen {
    /// Its layers, oldest first; none for a collection without a `dedup_key`.
    pub(crate) fn layers(&self) -> Vec<Layer> {
        let Some(keys) = &self.keys else { return Vec::new() };
        let staged = self.staged.iter().zip(&keys.staged).map(|(handle, index)| Layer {
            index: Arc::clone(index),
            rows: LayerRows::Segment(Arc::clone(handle), self.lsn_max),
        });
        staged.chain([memtable_layer(&self.memtable, &keys.memtable, self.lsn_max)]).collect()
    }
}

fn memtable_layer(memtable: &Memtable, index: &Arc<LayerIndex>, lsn: Lsn) -> Layer {
    let chunks = memtable.chunks().iter().map(|chunk| (Arc::clone(chunk), chunk.rows_visible_at(lsn)));
    Layer { index: Arc::clone(index), rows: LayerRows::Memtable(chunks.collect()) }
}

/// A collection while the engine runs.
#[derive(Debug)]
pub(crate) struct CollectionRuntime {
    pub(crate) id: CollectionId,
    symbols: RwLock<SymbolDictionaries>,
    /// Held from looking at the manifest to publishing what follows from it. Comes before `state`.
    publishing: Mutex<()>,
    state: Mutex<State>,
    /// Held by who looks for rows and writes by what it saw, from the one to the other.
    pub(crate) turns: Arc<tokio::sync::Mutex<()>>,
    /// Signalled when `flushing` becomes false.
    flushed: Condvar,
    /// Signalled when `deletes` becomes 0.
    deleted: Condvar,
}

/// What [`CollectionRuntime::lock`] guards.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) collection: Arc<Collection>,
    pub(crate) active: Memtable,
    /// The keys of the active memtable, for a collection with a `dedup_key`.
    active_keys: Option<Arc<LayerIndex>>,
    budget: Arc<Budget>,
    /// Oldest first.
    pub(crate) frozen: VecDeque<Arc<Frozen>>,
    pub(crate) segments: Arc<Vec<Arc<SegmentHandle>>>,
    pub(crate) dropped: bool,
    /// When segments were last published into each partition since the engine was opened, on the
    /// monotonic clock.
    pub(crate) published: HashMap<PartitionId, Duration>,
    /// Merges that failed in a row, and when the next one may be tried, on the monotonic clock.
    pub(crate) merge_failures: u32,
    pub(crate) merge_not_before: Duration,
    /// A merge that began under another number gives up.
    pub(crate) merge_epoch: u64,
    /// All commits up to here are in the manifest.
    pub(crate) flushed_lsn: Lsn,
    /// How many times rows were deleted otherwise than by later ones.
    pub(crate) deletes_published: u64,
    /// How many deletes are under way; merges wait for them.
    pub(crate) deletes: usize,
    /// Somebody is flushing; there is at most one, so that memtables are published in order.
    flushing: bool,
}

impl CollectionRuntime {
    pub(crate) fn new(
        collection: Arc<Collection>,
        segments: Vec<Arc<SegmentHandle>>,
        budget: &Arc<Budget>,
    ) -> CollectionRuntime {
        let has_keys = !collection.timeseries().dedup_key.is_empty();
        CollectionRuntime {
            id: collection.id,
            symbols: RwLock::new(SymbolDictionaries::default().extended_for(&collection)),
            publishing: Mutex::default(),
            turns: Arc::default(),
            flushed: Condvar::new(),
            deleted: Condvar::new(),
            state: Mutex::new(State {
                flushed_lsn: collection.flushed_lsn,
                deletes_published: 0,
                collection,
                active: Memtable::default(),
                active_keys: has_keys.then(|| Arc::new(LayerIndex::new(budget))),
                budget: Arc::clone(budget),
                frozen: VecDeque::new(),
                segments: Arc::new(segments),
                dropped: false,
                published: HashMap::new(),
                merge_failures: 0,
                merge_not_before: Duration::ZERO,
                merge_epoch: 0,
                deletes: 0,
                flushing: false,
            }),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on nobody else changes the manifest, until the guard is dropped.
    pub(crate) fn begin_publishing(&self) -> MutexGuard<'_, ()> {
        self.publishing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A delete begins: merges wait for its end, and one that is under way gives up, or has published
    /// when this returns.
    pub(crate) fn begin_delete(&self) {
        let mut state = self.lock();
        state.deletes += 1;
        state.merge_epoch += 1;
        drop(state);
        // A merge that is past its last look at the epoch replaces segments that must not be searched.
        drop(self.begin_publishing());
    }

    pub(crate) fn end_delete(&self) {
        self.lock().deletes -= 1;
        self.deleted.notify_all();
    }

    /// Waits until no delete is under way.
    pub(crate) fn wait_for_deletes(&self) {
        let waited = self.deleted.wait_while(self.lock(), |state| state.deletes > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Claims the right to flush; false when somebody has it.
    pub(crate) fn try_begin_flush(&self) -> bool {
        !std::mem::replace(&mut self.lock().flushing, true)
    }

    /// Claims the right to flush when it is free.
    pub(crate) fn wait_for_flush(&self) {
        let state = self.lock();
        let state = self.flushed.wait_while(state, |state| state.flushing);
        state.unwrap_or_else(PoisonError::into_inner).flushing = true;
    }

    /// Gives the right to flush back; says whether there is something left to flush.
    pub(crate) fn end_flush(&self) -> bool {
        let mut state = self.lock();
        state.flushing = false;
        let more = !state.frozen.is_empty();
        drop(state);
        self.flushed.notify_one();
        more
    }

    pub(crate) fn symbols(&self) -> SymbolDictionaries {
        self.symbols.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes over a new version of the schema.
    pub(crate) fn replace_collection(&self, collection: &Arc<Collection>) {
        // Dictionaries first: a writer that knows a column finds its dictionary.
        let mut symbols = self.symbols.write().unwrap_or_else(PoisonError::into_inner);
        *symbols = symbols.extended_for(collection);
        drop(symbols);
        self.lock().collection = Arc::clone(collection);
    }
}

impl State {
    /// Makes the active memtable a frozen one; false when there is nothing in it.
    pub(crate) fn freeze(&mut self) -> bool {
        let memtable = std::mem::take(&mut self.active);
        let (Some((_, lsn_max)), Some(log_floor)) = (memtable.lsn_bounds(), memtable.log_floor()) else {
            return false;
        };
        let new_keys = || Arc::new(LayerIndex::new(&self.budget));
        let keys = self
            .active_keys
            .as_mut()
            .map(|keys| FrozenKeys { staged: Vec::new(), memtable: std::mem::replace(keys, new_keys()) });
        let frozen = Frozen { memtable, staged: Vec::new(), lsn_max, log_floor, keys };
        self.frozen.push_back(Arc::new(frozen));
        true
    }

    /// Adds a bulk write with staged segments, committed after all that is here.
    pub(crate) fn push_staged(
        &mut self,
        memtable: Memtable,
        staged: Vec<Arc<SegmentHandle>>,
        lsn: Lsn,
        log_floor: Lsn,
    ) {
        let new_keys = || Arc::new(LayerIndex::new(&self.budget));
        let keys = self.active_keys.as_ref().map(|_| FrozenKeys {
            staged: staged.iter().map(|_| new_keys()).collect(),
            memtable: new_keys(),
        });
        let frozen = Frozen { memtable, staged, lsn_max: lsn, log_floor, keys };
        self.frozen.push_back(Arc::new(frozen));
    }

    /// The first record of the log that is needed for this collection; `None` when none is.
    pub(crate) fn log_floor(&self) -> Option<Lsn> {
        let frozen = self.frozen.iter().map(|frozen| frozen.log_floor);
        frozen.chain(self.active.log_floor()).min()
    }

    /// The latest instant of any row; `None` without rows.
    pub(crate) fn newest_time(&self) -> Option<i64> {
        let memtables = self.frozen.iter().map(|frozen| &frozen.memtable).chain([&self.active]);
        let chunks = memtables.flat_map(Memtable::chunks).map(|chunk| chunk.time_bounds().1);
        let staged = self.frozen.iter().flat_map(|frozen| frozen.staged.iter());
        let segments = self.segments.iter().chain(staged).map(|handle| handle.segment().time_max);
        chunks.chain(segments).max()
    }

    pub(crate) fn memtable_bytes(&self) -> usize {
        let frozen: usize = self.frozen.iter().map(|frozen| frozen.memtable.memory_bytes()).sum();
        frozen + self.active.memory_bytes()
    }

    pub(crate) fn snapshot_at(&self, lsn: Lsn, symbols: SymbolDictionaries) -> CollectionSnapshot {
        let mut chunks = Vec::new();
        let mut staged = Vec::new();
        let mut layers = Vec::new();
        for frozen in &self.frozen {
            if frozen.lsn_max <= lsn {
                let keys = frozen.keys.iter().flat_map(|keys| keys.staged.iter().map(Some));
                let keys = keys.chain(std::iter::repeat(None));
                staged.extend(frozen.staged.iter().zip(keys).map(|(handle, keys)| StagedSegment {
                    handle: Arc::clone(handle),
                    keys: keys.map(Arc::clone),
                }));
                layers.extend(frozen.layers());
            }
            let keys = frozen.keys.as_ref().map(|keys| &keys.memtable);
            add_chunks(&mut chunks, &frozen.memtable, keys, lsn);
            if frozen.lsn_max > lsn {
                layers.extend(keys.map(|keys| memtable_layer(&frozen.memtable, keys, lsn)));
            }
        }
        add_chunks(&mut chunks, &self.active, self.active_keys.as_ref(), lsn);
        layers.extend(self.active_keys.as_ref().map(|keys| memtable_layer(&self.active, keys, lsn)));
        let segments = Arc::clone(&self.segments);
        CollectionSnapshot::new(Arc::clone(&self.collection), lsn, chunks, segments, staged, layers, symbols)
    }
}

fn add_chunks(
    chunks: &mut Vec<SnapshotChunk>,
    memtable: &Memtable,
    keys: Option<&Arc<LayerIndex>>,
    lsn: Lsn,
) {
    let mut first_row = 0;
    for chunk in memtable.chunks() {
        let row_count = chunk.rows_visible_at(lsn);
        if row_count > 0 {
            let keys = keys.map(|keys| (Arc::clone(keys), first_row));
            chunks.push(SnapshotChunk { chunk: Arc::clone(chunk), row_count, keys });
        }
        first_row += chunk.row_count();
    }
}
