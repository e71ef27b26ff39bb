//! Which group each row belongs to.
//!
//! Invariants: a group's number is the order in which it was met first; `words` holds, for each group, the
//! values of its keys and then a word with a bit for each key that is NULL (its value is 0).

use std::hash::BuildHasher;
use std::ops::Range;

use datafusion::arrow::array::{Array, Int32Array, Int64Array};
use datafusion::arrow::buffer::NullBuffer;
use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// The values of a key.
#[derive(Debug)]
pub(super) enum KeyColumn {
    /// Numbers of symbols.
    Numbers(Int32Array),
    /// Whatever fits into 64 bits.
    Values(Int64Array),
}

impl KeyColumn {
    fn nulls(&self) -> Option<&NullBuffer> {
        match self {
            KeyColumn::Numbers(array) => array.nulls(),
            KeyColumn::Values(array) => array.nulls(),
        }
    }

    fn word(&self, row: usize) -> Option<i64> {
        if self.nulls().is_some_and(|nulls| nulls.is_null(row)) {
            return None;
        }
        Some(match self {
            KeyColumn::Numbers(array) => i64::from(array.value(row)),
            KeyColumn::Values(array) => array.value(row),
        })
    }

    /// Marks the rows whose value is not that of the row before.
    fn mark_changes(&self, changes: &mut [bool]) {
        match self {
            KeyColumn::Numbers(array) => mark(array.values(), changes),
            KeyColumn::Values(array) => mark(array.values(), changes),
        }
        if let Some(nulls) = self.nulls() {
            for (row, change) in changes.iter_mut().enumerate().skip(1) {
                *change |= nulls.is_null(row) != nulls.is_null(row - 1);
            }
        }
    }
}

fn mark<T: PartialEq>(values: &[T], changes: &mut [bool]) {
    for (change, pair) in changes.iter_mut().skip(1).zip(values.windows(2)) {
        *change |= pair[0] != pair[1];
    }
}

/// Rows of a batch that follow one another and are of one group.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) group: usize,
    pub(super) rows: Range<usize>,
}

impl Run {
    /// How many rows it has.
    pub(super) fn len(&self) -> i64 {
        i64::try_from(self.rows.len()).expect("a batch is small")
    }
}

/// The group of each row.
pub(super) fn group_of_rows(runs: &[Run]) -> Vec<usize> {
    let mut of_rows = Vec::with_capacity(runs.last().map_or(0, |run| run.rows.end));
    runs.iter().for_each(|run| of_rows.resize(run.rows.end, run.group));
    of_rows
}

/// The groups that were met.
#[derive(Debug)]
pub(super) struct Groups {
    key_count: usize,
    words: Vec<i64>,
    index: Index,
    /// Reused from batch to batch.
    changes: Vec<bool>,
    key: Vec<i64>,
}

#[derive(Debug)]
enum Index {
    /// Of a single key whose values are dense: by the value + 1, NULL being 0; the group's number + 1.
    ByNumber(Vec<u32>),
    ByHash {
        table: HashTable<u32>,
        state: RandomState,
    },
}

impl Groups {
    /// No groups yet; `is_dense` says that there is one key whose values are small and not negative.
    pub(super) fn new(key_count: usize, is_dense: bool) -> Groups {
        let index = if is_dense {
            Index::ByNumber(Vec::new())
        } else {
            Index::ByHash { table: HashTable::new(), state: RandomState::default() }
        };
        Groups { key_count, words: Vec::new(), index, changes: Vec::new(), key: Vec::new() }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.words.len() / self.width()
    }

    fn width(&self) -> usize {
        self.key_count + 1
    }

    /// Finds the runs of a batch.
    pub(super) fn find(&mut self, keys: &[KeyColumn], row_count: usize, runs: &mut Vec<Run>) {
        let mut changes = std::mem::take(&mut self.changes);
        changes.clear();
        changes.resize(row_count, false);
        keys.iter().for_each(|key| key.mark_changes(&mut changes));
        let mut start = 0;
        while start < row_count {
            let run = changes[start + 1..].iter().position(|change| *change);
            let end = run.map_or(row_count, |length| start + 1 + length);
            let group = self.group_of(keys, start);
            runs.push(Run { group, rows: start..end });
            start = end;
        }
        self.changes = changes;
    }

    fn group_of(&mut self, keys: &[KeyColumn], row: usize) -> usize {
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        let mut nulls = 0;
        for (at, column) in keys.iter().enumerate() {
            let word = column.word(row);
            nulls |= i64::from(word.is_none()) << at;
            key.push(word.unwrap_or(0));
        }
        key.push(nulls);
        let group = self.group_of_key(&key);
        self.key = key;
        group
    }

    fn group_of_key(&mut self, key: &[i64]) -> usize {
        let new = self.len();
        let (width, words) = (self.width(), &mut self.words);
        let number = u32::try_from(new).expect("memory is short long before");
        let group = match &mut self.index {
            Index::ByNumber(groups) => {
                let is_null = key[1] != 0;
                let slot = if is_null { 0 } else { usize::try_from(key[0]).expect("numbers of symbols") + 1 };
                if groups.len() <= slot {
                    groups.resize((slot + 1).next_power_of_two(), 0);
                }
                if groups[slot] == 0 {
                    groups[slot] = number + 1;
                }
                groups[slot] - 1
            }
            Index::ByHash { table, state } => {
                let key_of = |group: &u32| &words[*group as usize * width..][..width];
                let hash_of = |group: &u32| state.hash_one(key_of(group));
                let entry = table.entry(state.hash_one(key), |group| key_of(group) == key, hash_of);
                *entry.or_insert(number).get()
            }
        };
        if group == number {
            words.extend_from_slice(key);
        }
        group as usize
    }

    /// Takes over the groups of another; for each of them, which it is here.
    pub(super) fn merge(&mut self, other: &Groups) -> Vec<usize> {
        other.words.chunks_exact(self.width()).map(|key| self.group_of_key(key)).collect()
    }

    /// The values of a key, of each group.
    pub(super) fn key_values(&self, key: usize) -> Int64Array {
        let groups = self.words.chunks_exact(self.width());
        groups.map(|words| (words[self.key_count] >> key & 1 == 0).then_some(words[key])).collect()
    }

    /// Memory that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        let index = match &self.index {
            Index::ByNumber(groups) => groups.capacity() * size_of::<u32>(),
            Index::ByHash { table, .. } => table.allocation_size(),
        };
        self.words.capacity() * size_of::<i64>() + index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(values: &[Option<i32>]) -> KeyColumn {
        KeyColumn::Numbers(values.iter().copied().collect())
    }

    fn values(values: &[Option<i64>]) -> KeyColumn {
        KeyColumn::Values(values.iter().copied().collect())
    }

    fn find(groups: &mut Groups, keys: &[KeyColumn], row_count: usize) -> Vec<usize> {
        let mut runs = Vec::new();
        groups.find(keys, row_count, &mut runs);
        assert!(runs.windows(2).all(|pair| pair[0].rows.end == pair[1].rows.start), "{runs:?}");
        group_of_rows(&runs)
    }

    #[test]
    fn groups_are_numbered_as_they_come() {
        for is_dense in [false, true] {
            let mut groups = Groups::new(1, is_dense);
            let keys = [numbers(&[Some(7), Some(7), None, Some(0), Some(7), None])];
            assert_eq!(find(&mut groups, &keys, 6), [0, 0, 1, 2, 0, 1]);
            assert_eq!(find(&mut groups, &[numbers(&[Some(0), Some(900)])], 2), [2, 3]);
            assert_eq!(groups.len(), 4);
            let expected: Int64Array = [Some(7), None, Some(0), Some(900)].into_iter().collect();
            assert_eq!(groups.key_values(0), expected);
        }
    }

    #[test]
    fn null_is_a_group_of_its_own_in_each_key() {
        let mut groups = Groups::new(2, false);
        let keys = [
            numbers(&[Some(0), None, None, Some(0), Some(0)]),
            values(&[Some(0), Some(0), None, None, Some(0)]),
        ];
        assert_eq!(find(&mut groups, &keys, 5), [0, 1, 2, 3, 0]);
        assert_eq!(find(&mut groups, &[numbers(&[]), values(&[])], 0), [0_usize; 0]);
    }

    #[test]
    fn merged_groups_keep_their_numbers() {
        let mut ours = Groups::new(2, false);
        find(&mut ours, &[numbers(&[Some(1), Some(2)]), values(&[Some(-5), None])], 2);
        let mut theirs = Groups::new(2, false);
        find(&mut theirs, &[numbers(&[Some(2), Some(3), Some(1)]), values(&[None, Some(9), Some(-5)])], 3);
        assert_eq!(ours.merge(&theirs), [1, 2, 0]);
        assert_eq!(ours.key_values(1), [Some(-5), None, Some(9)].into_iter().collect::<Int64Array>());
    }

    #[test]
    fn many_groups_are_told_apart() {
        let mut groups = Groups::new(2, false);
        let count = 50_000;
        let hosts = KeyColumn::Numbers((0..count).map(|row| Some(row % 250)).collect());
        let times = KeyColumn::Values((0..count).map(|row| Some(i64::from(row / 250))).collect());
        let keys = [hosts, times];
        let of_rows = find(&mut groups, &keys, count as usize);
        assert!(of_rows.iter().copied().eq(0..count as usize));
        assert_eq!(find(&mut groups, &keys, count as usize), of_rows);
        assert!(groups.memory_bytes() > count as usize * 3 * 8);
    }
}
