//! A collection while the engine runs: its memtables and its manifest.
//!
//! ```text
//!   writes ──▶ active ──freeze──▶ frozen, frozen, … ──flush, oldest first──▶ segments (manifest)
//! ```
//!
//! One lock guards all of it. It is held while a write gets its LSN and enters the active memtable,
//! so rows stand in memtables in the order of the log; and while a flush swaps a frozen memtable
//! for its segments, so a reader sees the rows in one place or the other.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::{CollectionId, Lsn, PartitionId};
use tidemark_catalog::schema::{Column, Nullability};

use crate::batch::Gaps;
use crate::dedup::index::LayerIndex;
use crate::dedup::resolve::{Layer, LayerRows};
use crate::error::{MissingValueError, WriteError};
use crate::memtable::Memtable;
use crate::memtable::budget::Budget;
use crate::memtable::dictionaries::SymbolDictionaries;
use crate::missing::MissingValues;
use crate::segment::handle::SegmentHandle;
use crate::snapshot::{CollectionSnapshot, NewSnapshot, SnapshotChunk, StagedSegment};

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

/// A collection with what its arrays mean, all of one moment: a symbol column has a dictionary, and no
/// other has one.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    pub(crate) collection: Arc<Collection>,
    pub(crate) symbols: SymbolDictionaries,
    pub(crate) missing: MissingValues,
}

/// What of a collection changes when symbol columns become columns of text.
#[derive(Debug)]
pub(crate) struct WithTexts {
    symbols: SymbolDictionaries,
    missing: MissingValues,
    active: Memtable,
    active_keys: Option<Arc<LayerIndex>>,
    frozen: VecDeque<Arc<Frozen>>,
}

/// What [`CollectionRuntime::lock`] guards.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) collection: Arc<Collection>,
    /// At any moment those of all columns that somebody may know.
    pub(crate) missing: MissingValues,
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
    /// Columns that are about to be NOT NULL: from now on nobody writes NULL to them.
    pub(crate) becoming_required: Vec<Column>,
    /// Somebody is flushing; there is at most one, so that memtables are published in order.
    flushing: bool,
}

impl CollectionRuntime {
    pub(crate) fn new(
        collection: Arc<Collection>,
        segments: Vec<Arc<SegmentHandle>>,
        budget: &Arc<Budget>,
    ) -> Result<CollectionRuntime, MissingValueError> {
        let symbols = SymbolDictionaries::default().adapted_to(&collection);
        let has_keys = !collection.timeseries().dedup_key.is_empty();
        Ok(CollectionRuntime {
            id: collection.id,
            publishing: Mutex::default(),
            turns: Arc::default(),
            flushed: Condvar::new(),
            deleted: Condvar::new(),
            state: Mutex::new(State {
                missing: MissingValues::new(&collection, &symbols)?,
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
                becoming_required: Vec::new(),
                flushing: false,
            }),
            symbols: RwLock::new(symbols),
        })
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

    pub(crate) fn missing(&self) -> MissingValues {
        self.lock().missing.clone()
    }

    /// What the collection is in this moment, for who makes or reads its segments. `known` is what the
    /// catalog says of it; where that is newer, somebody may have written by it already.
    pub(crate) fn form(&self, state: &State, known: Option<&Arc<Collection>>) -> Form {
        let collection = Arc::clone(state.newest(known));
        Form { collection, symbols: self.symbols(), missing: state.missing.clone() }
    }

    /// What the memtables are when the collection has become `next`, in which symbol columns are columns
    /// of text.
    pub(crate) fn with_texts(
        &self,
        state: &State,
        next: &Collection,
    ) -> Result<WithTexts, MissingValueError> {
        let symbols = self.symbols().adapted_to(next);
        let missing = MissingValues::new(next, &symbols)?;
        let new_keys = || Arc::new(LayerIndex::new(&state.budget));
        let fitted = |rows: &Memtable| rows.fitted(&symbols).map_err(MissingValueError::Symbols);
        let frozen = |frozen: &Arc<Frozen>| {
            // Keys are other bytes from now on; whoever reads next makes the indexes anew.
            let keys = frozen.keys.as_ref().map(|keys| FrozenKeys {
                staged: keys.staged.iter().map(|_| new_keys()).collect(),
                memtable: new_keys(),
            });
            Ok(Arc::new(Frozen {
                memtable: fitted(&frozen.memtable)?,
                staged: frozen.staged.clone(),
                lsn_max: frozen.lsn_max,
                log_floor: frozen.log_floor,
                keys,
            }))
        };
        Ok(WithTexts {
            active: fitted(&state.active)?,
            active_keys: state.active_keys.as_ref().map(|_| new_keys()),
            frozen: state.frozen.iter().map(frozen).collect::<Result<_, MissingValueError>>()?,
            symbols,
            missing,
        })
    }

    /// Takes over what [`CollectionRuntime::with_texts`] made under the same guard, when the catalog says
    /// what was said there.
    pub(crate) fn take_over(&self, state: &mut State, collection: &Arc<Collection>, new: WithTexts) {
        let WithTexts { symbols, missing, active, active_keys, frozen } = new;
        symbols.retire();
        *self.symbols.write().unwrap_or_else(PoisonError::into_inner) = symbols;
        state.missing = missing;
        state.active = active;
        state.active_keys = active_keys;
        state.frozen = frozen;
        state.collection = Arc::clone(collection);
        // A merge that began before would make keys of the old form.
        state.merge_epoch += 1;
    }

    /// Before the catalog knows what the collection will be: whoever learns of a column then finds its
    /// dictionary and its missing value, and no NULL comes to columns that are not to have any.
    pub(crate) fn prepare(
        &self,
        next: &Collection,
        becoming_required: Vec<Column>,
    ) -> Result<(), MissingValueError> {
        let symbols = self.symbols().adapted_to(next);
        let missing = MissingValues::new(next, &symbols)?;
        let mut state = self.lock();
        // What the collection loses stays until it is lost.
        state.missing = state.missing.and(&missing);
        let mut known = self.symbols.write().unwrap_or_else(PoisonError::into_inner);
        *known = known.and(&symbols);
        state.becoming_required = becoming_required;
        Ok(())
    }

    /// Takes over what the catalog says now: after a change that was prepared, or instead of it.
    pub(crate) fn adopt(&self, collection: &Arc<Collection>) -> Result<(), MissingValueError> {
        let symbols = self.symbols().adapted_to(collection);
        let missing = MissingValues::new(collection, &symbols)?;
        let mut state = self.lock();
        *self.symbols.write().unwrap_or_else(PoisonError::into_inner) = symbols;
        state.missing = missing;
        state.collection = Arc::clone(collection);
        state.becoming_required.clear();
        Ok(())
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

    /// Refuses rows with NULL where the collection has none now: they may have been made when it had.
    pub(crate) fn check_required(&self, gaps: &Gaps) -> Result<(), WriteError> {
        if gaps.schema_version() == self.collection.schema.version() && self.becoming_required.is_empty() {
            return Ok(());
        }
        let required = self.collection.schema.columns().iter();
        let required = required.filter(|column| column.nullability == Nullability::Required);
        match required.chain(&self.becoming_required).find(|column| gaps.has(column)) {
            None => Ok(()),
            Some(column) => Err(WriteError::NullInRequiredColumn {
                relation: self.collection.name.clone(),
                column: column.name.clone(),
            }),
        }
    }

    fn newest<'a>(&'a self, known: Option<&'a Arc<Collection>>) -> &'a Arc<Collection> {
        let own = &self.collection;
        known.filter(|known| known.schema.version() > own.schema.version()).unwrap_or(own)
    }

    /// What is seen at a position. `known` is what the catalog says of the collection: where it is
    /// newer than the state, readers may know it already.
    pub(crate) fn snapshot_at(
        &self,
        lsn: Lsn,
        known: Option<&Arc<Collection>>,
        symbols: SymbolDictionaries,
    ) -> CollectionSnapshot {
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
        CollectionSnapshot::new(NewSnapshot {
            collection: Arc::clone(self.newest(known)),
            lsn,
            chunks,
            segments: Arc::clone(&self.segments),
            staged,
            layers,
            symbols,
            missing: self.missing.clone(),
        })
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
