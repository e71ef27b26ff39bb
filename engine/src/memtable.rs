//! Rows in memory that are not yet in a segment.
//!
//! A memtable is a list of immutable chunks in the order of their commits. A write adds a chunk;
//! small chunks are put together as they come in, [`MERGE_FAN_IN`] of a size at a time, so a
//! reader meets few chunks, a row is copied a handful of times at most, and no reader ever sees
//! a chunk change. Each chunk says where the rows of each commit in it end, so that a snapshot sees
//! the rows up to its LSN and no others.
//!
//! Memory is paid for by a [`Charge`] in each chunk: it is given back when the last of memtable and
//! snapshots lets go of the chunk, which is when the memory is really free.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use tidemark_catalog::ids::{ColumnId, Lsn};

use crate::batch::WriteBatch;
use crate::error::WriteError;
use crate::memtable::budget::Charge;
use crate::memtable::dictionaries::SymbolDictionaries;
use crate::missing::MissingValues;

pub mod budget;
pub mod dictionaries;
pub mod symbols;

/// How many chunks of a size are put together.
const MERGE_FAN_IN: usize = 8;

/// Chunks with at least this many rows are left as they are.
const MERGE_ROWS_MAX: usize = 4096;

/// Rows that were committed one after another.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// By rising column id; one that is not there has its missing value in every row.
    columns: Vec<(ColumnId, ArrayRef)>,
    row_count: usize,
    /// Where the rows of each commit end, by rising LSN.
    commits: Vec<CommitEnd>,
    time_min: i64,
    time_max: i64,
    charge: Charge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CommitEnd {
    lsn: Lsn,
    row_end: usize,
}

impl Chunk {
    pub(crate) fn new(lsn: Lsn, batch: WriteBatch, charge: Charge) -> Chunk {
        let (time_min, time_max) = batch.time_bounds();
        let row_count = batch.row_count();
        Chunk {
            columns: batch.into_columns(),
            row_count,
            commits: vec![CommitEnd { lsn, row_end: row_count }],
            time_min,
            time_max,
            charge,
        }
    }

    pub(crate) fn row_count(&self) -> usize {
        self.row_count
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.charge.bytes()
    }

    pub(crate) fn time_bounds(&self) -> (i64, i64) {
        (self.time_min, self.time_max)
    }

    pub(crate) fn column(&self, id: ColumnId) -> Option<&ArrayRef> {
        self.columns.binary_search_by_key(&id, |(id, _)| *id).ok().map(|at| &self.columns[at].1)
    }

    /// How many of the first rows were committed up to `lsn`.
    pub(crate) fn rows_visible_at(&self, lsn: Lsn) -> usize {
        let commits = self.commits.partition_point(|commit| commit.lsn <= lsn);
        commits.checked_sub(1).map_or(0, |last| self.commits[last].row_end)
    }

    /// The commit of a row.
    pub(crate) fn lsn_of(&self, row: usize) -> Lsn {
        self.commits[self.commits.partition_point(|commit| commit.row_end <= row)].lsn
    }

    /// The same rows, committed at another position. For rows of a bulk write, which learn their
    /// position at its end.
    fn committed_at(&self, lsn: Lsn) -> Chunk {
        Chunk {
            columns: self.columns.clone(),
            row_count: self.row_count,
            commits: vec![CommitEnd { lsn, row_end: self.row_count }],
            time_min: self.time_min,
            time_max: self.time_max,
            charge: self.charge.split(),
        }
    }

    /// The same rows with columns in the form that the dictionaries say.
    fn fitted(self: &Arc<Chunk>, symbols: &SymbolDictionaries) -> Result<Arc<Chunk>, WriteError> {
        let Some(columns) = symbols.fitted(&self.columns)? else { return Ok(Arc::clone(self)) };
        let bytes = |columns: &[(ColumnId, ArrayRef)]| -> usize {
            columns.iter().map(|(_, array)| array.get_array_memory_size()).sum()
        };
        let charged = (self.charge.bytes() + bytes(&columns)).saturating_sub(bytes(&self.columns));
        Ok(Arc::new(Chunk {
            columns,
            row_count: self.row_count,
            commits: self.commits.clone(),
            time_min: self.time_min,
            time_max: self.time_max,
            charge: self.charge.replacement(charged),
        }))
    }

    fn merge(chunks: &[Arc<Chunk>], missing: &MissingValues) -> Result<Chunk, ArrowError> {
        let mut ids: Vec<ColumnId> =
            chunks.iter().flat_map(|chunk| chunk.columns.iter().map(|(id, _)| *id)).collect();
        ids.sort_unstable();
        ids.dedup();
        let columns = ids
            .into_iter()
            .map(|id| Ok((id, concat_column(chunks, id, missing)?)))
            .collect::<Result<Vec<_>, ArrowError>>()?;
        let mut commits: Vec<CommitEnd> = Vec::new();
        let mut row_count = 0;
        for chunk in chunks {
            let ends = chunk.commits.iter();
            commits.extend(ends.map(|it| CommitEnd { lsn: it.lsn, row_end: it.row_end + row_count }));
            row_count += chunk.row_count;
        }
        let bytes = columns.iter().map(|(_, array)| array.get_array_memory_size()).sum();
        Ok(Chunk {
            columns,
            row_count,
            commits,
            time_min: chunks.iter().map(|chunk| chunk.time_min).min().expect("chunks to merge"),
            time_max: chunks.iter().map(|chunk| chunk.time_max).max().expect("chunks to merge"),
            charge: chunks[0].charge.replacement(bytes),
        })
    }
}

fn concat_column(
    chunks: &[Arc<Chunk>],
    id: ColumnId,
    missing: &MissingValues,
) -> Result<ArrayRef, ArrowError> {
    let data_type = chunks.iter().find_map(|chunk| chunk.column(id)).expect("one has it").data_type();
    let arrays = chunks.iter().map(|chunk| match chunk.column(id) {
        Some(array) => Ok(Arc::clone(array)),
        None => missing.array_or_null(id, data_type, chunk.row_count),
    });
    let arrays = arrays.collect::<Result<Vec<ArrayRef>, ArrowError>>()?;
    let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
    let merged = arrow::compute::concat(&arrays)?;
    // Views keep the buffers of all that they were made from: copy what they point at.
    Ok(match merged.data_type() {
        DataType::Utf8View => Arc::new(merged.as_string_view().gc()),
        DataType::BinaryView => Arc::new(merged.as_binary_view().gc()),
        _ => merged,
    })
}

/// Rows that are not yet in a segment.
#[derive(Debug, Default)]
pub(crate) struct Memtable {
    chunks: Vec<Arc<Chunk>>,
    lsn_min: Option<Lsn>,
    lsn_max: Option<Lsn>,
    /// The first record of the log that has a row of this.
    log_floor: Option<Lsn>,
    /// When the first and the last row came, on the monotonic clock.
    first_write: Duration,
    last_write: Duration,
}

impl Memtable {
    /// Adds rows that were committed after all that are here.
    pub(crate) fn push(
        &mut self,
        lsn: Lsn,
        batch: WriteBatch,
        charge: Charge,
        now: Duration,
        missing: &MissingValues,
    ) {
        self.log_floor = self.log_floor.or(Some(lsn));
        self.push_chunk(lsn, Arc::new(Chunk::new(lsn, batch, charge)), now, missing);
    }

    /// Takes over the rows of a bulk write that began at `begin` and is committed at `lsn`.
    pub(crate) fn push_bulk(
        &mut self,
        lsn: Lsn,
        begin: Lsn,
        staged: &Memtable,
        now: Duration,
        missing: &MissingValues,
    ) {
        for chunk in &staged.chunks {
            self.log_floor = Some(self.log_floor.map_or(begin, |floor| floor.min(begin)));
            self.push_chunk(lsn, Arc::new(chunk.committed_at(lsn)), now, missing);
        }
    }

    fn push_chunk(&mut self, lsn: Lsn, chunk: Arc<Chunk>, now: Duration, missing: &MissingValues) {
        assert!(self.lsn_max.is_none_or(|last| last <= lsn), "commits come in order");
        if self.chunks.is_empty() {
            self.first_write = now;
        }
        self.last_write = now;
        self.lsn_min = self.lsn_min.or(Some(lsn));
        self.lsn_max = Some(lsn);
        self.chunks.push(chunk);
        self.merge_small_chunks(missing);
    }

    fn merge_small_chunks(&mut self, missing: &MissingValues) {
        while let Some(start) = mergeable_tail(&self.chunks) {
            match Chunk::merge(&self.chunks[start..], missing) {
                Ok(merged) => {
                    self.chunks.truncate(start);
                    self.chunks.push(Arc::new(merged));
                }
                Err(error) => {
                    // Nothing is lost: the chunks stay as they are, and readers meet more of them.
                    tracing::warn!(%error, "cannot put small chunks together");
                    break;
                }
            }
        }
    }

    /// The same rows with columns in the form that the dictionaries say.
    pub(crate) fn fitted(&self, symbols: &SymbolDictionaries) -> Result<Memtable, WriteError> {
        let chunks = self.chunks.iter().map(|chunk| chunk.fitted(symbols));
        let chunks = chunks.collect::<Result<Vec<_>, WriteError>>()?;
        let Memtable { chunks: _, lsn_min, lsn_max, log_floor, first_write, last_write } = *self;
        Ok(Memtable { chunks, lsn_min, lsn_max, log_floor, first_write, last_write })
    }

    pub(crate) fn chunks(&self) -> &[Arc<Chunk>] {
        &self.chunks
    }

    /// The first and the last commit; `None` without rows.
    pub(crate) fn lsn_bounds(&self) -> Option<(Lsn, Lsn)> {
        self.lsn_min.zip(self.lsn_max)
    }

    /// The first record of the log that has a row of this; `None` without rows.
    pub(crate) fn log_floor(&self) -> Option<Lsn> {
        self.log_floor
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.memory_bytes()).sum()
    }

    /// When the first and the last row came.
    pub(crate) fn written_between(&self) -> (Duration, Duration) {
        (self.first_write, self.last_write)
    }
}

/// Where a run of [`MERGE_FAN_IN`] chunks of one size class starts, if the list ends with one.
fn mergeable_tail(chunks: &[Arc<Chunk>]) -> Option<usize> {
    let start = chunks.len().checked_sub(MERGE_FAN_IN)?;
    let class = size_class(chunks.last()?.row_count)?;
    let alike = chunks[start..].iter().all(|chunk| size_class(chunk.row_count) == Some(class));
    alike.then_some(start)
}

/// Chunks of a class are within a factor of [`MERGE_FAN_IN`]; `None` for chunks that are large.
fn size_class(row_count: usize) -> Option<u32> {
    (row_count < MERGE_ROWS_MAX).then(|| row_count.max(1).ilog(MERGE_FAN_IN))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int32Array, StringViewArray};

    use super::*;
    use crate::memtable::budget::Budget;

    fn batch(columns: Vec<(u32, ArrayRef)>) -> WriteBatch {
        let columns = columns.into_iter().map(|(id, array)| (ColumnId(id), array)).collect();
        WriteBatch::unchecked_for_tests(columns)
    }

    fn push_number(memtable: &mut Memtable, budget: &Arc<Budget>, number: i32) {
        let array: ArrayRef = Arc::new(Int32Array::from(vec![number]));
        let charge = budget.charge(array.get_array_memory_size());
        let lsn = Lsn(u64::try_from(number).unwrap() + 1);
        memtable.push(lsn, batch(vec![(1, array)]), charge, Duration::ZERO, &MissingValues::default());
    }

    fn numbers_at(memtable: &Memtable, lsn: u64) -> Vec<i32> {
        let visible = memtable
            .chunks()
            .iter()
            .map(|chunk| chunk.column(ColumnId(1)).unwrap().slice(0, chunk.rows_visible_at(Lsn(lsn))));
        visible
            .flat_map(|array| array.as_primitive::<arrow::datatypes::Int32Type>().values().to_vec())
            .collect()
    }

    #[test]
    fn every_snapshot_sees_the_rows_up_to_its_position() {
        let budget = Budget::new(1 << 30);
        let mut memtable = Memtable::default();
        for number in 0..3000 {
            push_number(&mut memtable, &budget, number);
        }
        for lsn in [0, 1, 2, 7, 8, 9, 63, 64, 65, 511, 2999, 3000, 9999] {
            let expected: Vec<i32> = (0..i32::try_from(lsn).unwrap().min(3000)).collect();
            assert_eq!(numbers_at(&memtable, lsn), expected, "at {lsn}");
        }
    }

    #[test]
    fn single_rows_end_up_in_few_chunks() {
        let budget = Budget::new(1 << 30);
        let mut memtable = Memtable::default();
        for number in 0..20_000 {
            push_number(&mut memtable, &budget, number);
        }
        assert!(memtable.chunks().len() <= 20_000 / 4096 + 5 * MERGE_FAN_IN);
        let rows: usize = memtable.chunks().iter().map(|chunk| chunk.row_count()).sum();
        assert_eq!(rows, 20_000);
    }

    #[test]
    fn a_column_that_came_later_is_null_before() {
        let budget = Budget::new(1 << 30);
        let mut memtable = Memtable::default();
        for number in 0..8_u64 {
            let mut columns: Vec<(u32, ArrayRef)> = vec![(1, Arc::new(Int32Array::from(vec![1])))];
            if number >= 6 {
                columns.push((2, Arc::new(StringViewArray::from(vec!["later"]))));
            }
            let missing = MissingValues::default();
            memtable.push(Lsn(number + 1), batch(columns), budget.charge(1), Duration::ZERO, &missing);
        }
        let merged = memtable.chunks()[0].column(ColumnId(2)).unwrap();
        assert_eq!((memtable.chunks().len(), merged.null_count()), (1, 6));
    }

    #[test]
    fn memory_is_given_back_when_the_last_reader_lets_go() {
        let budget = Budget::new(1 << 30);
        let mut memtable = Memtable::default();
        for number in 0..100 {
            push_number(&mut memtable, &budget, number);
        }
        let pinned = Arc::clone(&memtable.chunks()[0]);
        assert_eq!(budget.used_bytes(), memtable.memory_bytes());
        drop(memtable);
        assert_eq!(budget.used_bytes(), pinned.memory_bytes());
        drop(pinned);
        assert_eq!(budget.used_bytes(), 0);
    }
}
