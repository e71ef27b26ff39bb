//! The keys of rows on their way in, and whether others wrote rows of these keys meanwhile.
//!
//! A statement that looks what is there under its keys decides by what it saw. What it writes then must
//! not come after a row that it did not see: the commit is refused when one of the keys was written, or
//! any row of the collection deleted, since ([`KeyWatch`]). That is looked at under the collection's lock,
//! where the commit gets its place in the log.

use std::hash::BuildHasher;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::error::ArrowError;
use arrow::row::Rows;
use hashbrown::{DefaultHashBuilder, HashTable};
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::{ColumnId, Lsn, SchemaVersion};

use crate::batch::WriteBatch;
use crate::collection::State;
use crate::dedup::keys::KeyEncoder;
use crate::memtable::{Chunk, Memtable};

/// The keys of a batch's rows.
#[derive(Debug)]
pub(crate) struct BatchKeys {
    pub(crate) encoder: KeyEncoder,
    rows: Rows,
    hasher: DefaultHashBuilder,
    /// For each key the first row that has it.
    table: HashTable<usize>,
    /// For each row the first one of its key.
    first: Vec<usize>,
    time_min: i64,
    time_max: i64,
}

impl BatchKeys {
    pub(crate) fn new(collection: &Collection, batch: &WriteBatch) -> Result<BatchKeys, ArrowError> {
        let encoder = KeyEncoder::of_batch(collection, batch)?;
        let rows = encoder.encode(batch.row_count(), |id| column(batch, id))?;
        let (time_min, time_max) = batch.time_bounds();
        let hasher = DefaultHashBuilder::default();
        let mut table: HashTable<usize> = HashTable::with_capacity(batch.row_count());
        let hash = |at: usize| hasher.hash_one(rows.row(at).as_ref());
        let first = (0..batch.row_count()).map(|at| {
            let is_equal = |other: &usize| rows.row(*other) == rows.row(at);
            *table.entry(hash(at), is_equal, |other| hash(*other)).or_insert(at).get()
        });
        let first = first.collect();
        Ok(BatchKeys { encoder, rows, hasher, table, first, time_min, time_max })
    }

    /// For each row the first one of its key.
    pub(crate) fn first(&self) -> &[usize] {
        &self.first
    }

    /// The key of a row.
    pub(crate) fn key(&self, row: usize) -> &[u8] {
        self.rows.row(row).data()
    }

    /// The first row with a key.
    pub(crate) fn find(&self, key: &[u8]) -> Option<usize> {
        let hash = self.hasher.hash_one(key);
        self.table.find(hash, |at| self.key(*at) == key).copied()
    }

    pub(crate) fn overlaps(&self, time_min: i64, time_max: i64) -> bool {
        time_min <= self.time_max && self.time_min <= time_max
    }
}

/// A column of a batch; none where all of its rows are NULL.
pub(crate) fn column(batch: &WriteBatch, id: ColumnId) -> Option<ArrayRef> {
    batch.columns().iter().find(|(column, _)| *column == id).map(|(_, array)| Arc::clone(array))
}

/// What must not have changed when a batch is committed.
#[derive(Debug)]
pub struct KeyWatch {
    pub(crate) keys: Arc<BatchKeys>,
    /// What was committed up to here was seen.
    pub(crate) lsn: Lsn,
    /// How many deletes were.
    pub(crate) deletes: u64,
    pub(crate) schema: SchemaVersion,
}

impl KeyWatch {
    /// Whether nobody wrote one of the keys, or deleted anything, or changed the columns.
    pub(crate) fn holds(&self, state: &State) -> Result<bool, ArrowError> {
        let is_as_it_was = state.deletes_published == self.deletes
            && state.flushed_lsn <= self.lsn
            && state.collection.schema.version() == self.schema
            && state.frozen.iter().all(|frozen| frozen.staged.is_empty() || frozen.lsn_max <= self.lsn);
        if !is_as_it_was {
            return Ok(false);
        }
        let memtables = state.frozen.iter().map(|frozen| &frozen.memtable).chain([&state.active]);
        for chunk in memtables.flat_map(Memtable::chunks) {
            if self.is_written_in(chunk)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn is_written_in(&self, chunk: &Chunk) -> Result<bool, ArrowError> {
        let seen = chunk.rows_visible_at(self.lsn);
        let len = chunk.row_count() - seen;
        let (time_min, time_max) = chunk.time_bounds();
        if len == 0 || !self.keys.overlaps(time_min, time_max) {
            return Ok(false);
        }
        let keys = self.keys.encoder.encode(len, |id| Some(chunk.column(id)?.slice(seen, len)))?;
        Ok(keys.iter().any(|key| self.keys.find(key.data()).is_some()))
    }
}
