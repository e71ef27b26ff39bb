//! The keys of a layer: rows that are not in the manifest yet, in the order of their commits.
//!
//! The index is made by readers, as far as their snapshots go, and shared by them. For each key it knows
//! the commit that first brought it to the layer, and its last row; for each row that has a later one,
//! in this layer or in a later one, the commit of that. All of it only grows, so a reader at an earlier
//! position of the log is not misled by what a later one added: what came after its position is told by
//! the commits.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use arrow::buffer::BooleanBuffer;
use arrow::row::Rows;
use hashbrown::{DefaultHashBuilder, HashTable};
use tidemark_catalog::ids::Lsn;

use crate::memtable::budget::{Budget, Charge};

/// Marks of rows are kept in runs of so many.
const MARKS_PER_RUN: usize = 8192;

/// The index of a layer.
#[derive(Debug)]
pub(crate) struct LayerIndex {
    inner: Mutex<Inner>,
    /// For each row, the commit of the next row with its key; 0 when there is none. No commit has
    /// position 0.
    marks: RwLock<Vec<Arc<[AtomicU64]>>>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    /// So many of the layer's first rows are in the index.
    rows_done: usize,
    hasher: DefaultHashBuilder,
    table: HashTable<Entry>,
    /// Where the bytes of each key end; keys are numbered as they come.
    key_ends: Vec<usize>,
    key_bytes: Vec<u8>,
    budget: Arc<Budget>,
    charge: Option<Charge>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: u32,
    /// The last row with the key.
    row: u32,
    first_lsn: Lsn,
}

impl LayerIndex {
    /// An index without rows, whose memory is charged to the budget.
    pub(crate) fn new(budget: &Arc<Budget>) -> LayerIndex {
        let inner = Inner {
            rows_done: 0,
            hasher: DefaultHashBuilder::default(),
            table: HashTable::new(),
            key_ends: Vec::new(),
            key_bytes: Vec::new(),
            budget: Arc::clone(budget),
            charge: None,
        };
        LayerIndex { inner: Mutex::new(inner), marks: RwLock::default() }
    }

    /// Locks the index. Of several, older layers are locked first.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark(&self, row: usize, lsn: Lsn) {
        let run = {
            let marks = self.marks.read().unwrap_or_else(PoisonError::into_inner);
            marks.get(row / MARKS_PER_RUN).map(Arc::clone)
        };
        let run = run.unwrap_or_else(|| {
            let mut marks = self.marks.write().unwrap_or_else(PoisonError::into_inner);
            while marks.len() <= row / MARKS_PER_RUN {
                marks.push((0..MARKS_PER_RUN).map(|_| AtomicU64::new(0)).collect());
            }
            Arc::clone(&marks[row / MARKS_PER_RUN])
        });
        // A row of an older layer gets a mark from each layer that repeats its key: the earliest counts.
        let mark = &run[row % MARKS_PER_RUN];
        let earlier = |known: u64| (known == 0 || lsn.0 < known).then_some(lsn.0);
        mark.fetch_update(Ordering::AcqRel, Ordering::Acquire, earlier).ok();
    }

    /// Which of some rows, committed up to a position of the log, have no later one up to there.
    pub(crate) fn last_rows(&self, start: usize, len: usize, lsn: Lsn) -> BooleanBuffer {
        let marks = self.marks.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mark = |row: usize| {
            marks.get(row / MARKS_PER_RUN).map_or(0, |run| run[row % MARKS_PER_RUN].load(Ordering::Acquire))
        };
        BooleanBuffer::collect_bool(len, |row| {
            let mark = mark(start + row);
            mark == 0 || mark > lsn.0
        })
    }
}

impl Inner {
    /// So many of the layer's first rows are in the index.
    pub(crate) fn rows_done(&self) -> usize {
        self.rows_done
    }

    /// Whether the layer got the key by a commit up to this position.
    pub(crate) fn has(&self, key: &[u8], lsn: Lsn) -> bool {
        self.find(key).is_some_and(|entry| entry.first_lsn <= lsn)
    }

    /// The last row of a key that the layer got by a commit up to this position; that row may have come
    /// later.
    pub(crate) fn last_row(&self, key: &[u8], lsn: Lsn) -> Option<usize> {
        self.find(key).filter(|entry| entry.first_lsn <= lsn).map(|entry| entry.row as usize)
    }

    /// Adds the layer's next rows, committed at positions that do not fall, and marks the rows of the
    /// same keys that they come after: in this layer, `own`, and in older ones.
    pub(crate) fn add(
        &mut self,
        own: &LayerIndex,
        older: &[(&LayerIndex, MutexGuard<'_, Inner>)],
        keys: &Rows,
        lsn_of: impl Fn(usize) -> Lsn,
    ) {
        for at in 0..keys.num_rows() {
            let (key, lsn) = (keys.row(at), lsn_of(at));
            let row = u32::try_from(self.rows_done).expect("a layer has fewer rows");
            for (index, inner) in older {
                if let Some(entry) = inner.find(key.as_ref()) {
                    index.mark(entry.row as usize, lsn);
                }
            }
            if let Some(before) = self.insert(key.as_ref(), row, lsn) {
                own.mark(before as usize, lsn);
            }
            self.rows_done += 1;
        }
        self.charge_memory();
    }

    fn find(&self, key: &[u8]) -> Option<&Entry> {
        let hash = self.hasher.hash_one(key);
        self.table.find(hash, |entry| key_of(&self.key_ends, &self.key_bytes, entry.key) == key)
    }

    /// Makes a row the last one of its key; gives the row that was it before.
    fn insert(&mut self, key: &[u8], row: u32, lsn: Lsn) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        let (ends, bytes) = (&self.key_ends, &self.key_bytes);
        let found = self.table.find_mut(hash, |entry| key_of(ends, bytes, entry.key) == key);
        if let Some(entry) = found {
            return Some(std::mem::replace(&mut entry.row, row));
        }
        let number = u32::try_from(self.key_ends.len()).expect("a layer has fewer rows");
        self.key_bytes.extend_from_slice(key);
        self.key_ends.push(self.key_bytes.len());
        let (ends, bytes, hasher) = (&self.key_ends, &self.key_bytes, &self.hasher);
        let entry = Entry { key: number, row, first_lsn: lsn };
        self.table.insert_unique(hash, entry, |entry| hasher.hash_one(key_of(ends, bytes, entry.key)));
        None
    }

    fn charge_memory(&mut self) {
        let entries = self.table.capacity() * (size_of::<Entry>() + 1);
        let bytes = entries + self.key_ends.capacity() * size_of::<usize>() + self.key_bytes.capacity();
        if self.charge.as_ref().is_none_or(|charge| charge.bytes() != bytes) {
            self.charge = Some(self.budget.charge(bytes));
        }
    }
}

fn key_of<'a>(ends: &[usize], bytes: &'a [u8], key: u32) -> &'a [u8] {
    let at = key as usize;
    let start = if at == 0 { 0 } else { ends[at - 1] };
    &bytes[start..ends[at]]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use arrow::datatypes::DataType;
    use arrow::row::{RowConverter, SortField};

    use super::*;

    fn keys(values: &[i64]) -> Rows {
        let converter = RowConverter::new(vec![SortField::new(DataType::Int64)]).unwrap();
        converter.convert_columns(&[Arc::new(Int64Array::from(values.to_vec()))]).unwrap()
    }

    fn last_rows(index: &LayerIndex, len: usize, lsn: u64) -> Vec<usize> {
        index.last_rows(0, len, Lsn(lsn)).set_indices().collect()
    }

    #[test]
    fn a_row_is_there_until_the_commit_of_the_next_one() {
        let budget = Budget::new(1 << 30);
        let (old, new) = (LayerIndex::new(&budget), LayerIndex::new(&budget));
        let lsn = |base: u64| move |at: usize| Lsn(base + at as u64);
        old.lock().add(&old, &[], &keys(&[7, 8, 7]), lsn(1));
        assert_eq!(last_rows(&old, 2, 2), [0, 1]);
        assert_eq!(last_rows(&old, 3, 3), [1, 2]);
        let older = [(&old, old.lock())];
        new.lock().add(&new, &older, &keys(&[8, 9, 7, 8]), lsn(10));
        drop(older);
        assert_eq!(last_rows(&old, 3, 9), [1, 2], "before the new layer");
        assert_eq!(last_rows(&old, 3, 10), [2]);
        assert_eq!(last_rows(&old, 3, 12), [0; 0]);
        assert_eq!(last_rows(&new, 3, 12), [0, 1, 2]);
        assert_eq!(last_rows(&new, 4, 13), [1, 2, 3]);
        let inner = new.lock();
        let has = |key: i64, lsn: u64| inner.has(keys(&[key]).row(0).as_ref(), Lsn(lsn));
        assert_eq!((has(9, 10), has(9, 11), has(1, 99)), (false, true, false));
    }

    #[test]
    fn memory_is_charged_and_given_back() {
        let budget = Budget::new(1 << 30);
        let index = LayerIndex::new(&budget);
        let values: Vec<i64> = (0..10_000).collect();
        index.lock().add(&index, &[], &keys(&values), |_| Lsn(1));
        assert!(budget.used_bytes() >= 10_000 * 9);
        drop(index);
        assert_eq!(budget.used_bytes(), 0);
    }
}
