//! The parts of a scan, block by block.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use tidemark_catalog::ids::{ColumnId, SegmentId};

use crate::error::ReadError;
use crate::read::rows::{Rows, build_batch, build_numbered_batch};
use crate::read::{ScanUnit, Shared, Unit};
use crate::segment::reader::SegmentBlocks;
use crate::snapshot::SnapshotChunk;

/// Wanted rows that lie together, with the columns that were asked for.
#[derive(Debug)]
pub(crate) struct UnitBlock {
    /// Its number in the part.
    pub(crate) number: u32,
    /// The segment it is of, and the position of its first row there.
    pub(crate) origin: Option<(SegmentId, u32)>,
    /// Which of the rows of `arrays` are wanted; at least one.
    pub(crate) rows: Rows,
    /// Symbols are numbers here; a column that is not there has its missing value in every row.
    pub(crate) arrays: HashMap<ColumnId, ArrayRef>,
}

impl UnitBlock {
    /// The wanted rows as readers get them.
    pub(crate) fn to_batch(&self, shared: &Shared) -> Result<RecordBatch, ReadError> {
        build_batch(shared, self)
    }

    /// The same with the numbers of symbols, when all of them have numbers.
    pub(crate) fn to_numbered_batch(
        &self,
        shared: &Shared,
        schema: &SchemaRef,
    ) -> Result<Option<RecordBatch>, ReadError> {
        build_numbered_batch(shared, self, schema)
    }
}

/// The blocks of a part of a scan.
#[derive(Debug)]
pub(crate) struct UnitBlocks {
    shared: Arc<Shared>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Chunk(ChunkBlocks),
    Segment(Box<SegmentBlocks>),
}

impl UnitBlocks {
    /// Blocks with the rows that fulfil the request's predicates.
    pub(crate) fn wanted(unit: &ScanUnit, shared: &Arc<Shared>) -> Result<UnitBlocks, ReadError> {
        let source = match &unit.0 {
            Unit::Chunk(chunk) => {
                let end = chunk.row_count.div_ceil(shared.request.batch_rows);
                let end = u32::try_from(end).expect("a chunk has fewer rows");
                let rows = ChunkRows::Unfiltered { next: 0, end };
                Source::Chunk(ChunkBlocks { chunk: chunk.clone(), rows })
            }
            Unit::RowGroup { segment, keys, selection } => {
                let (segment, keys) = (Arc::clone(segment), keys.clone());
                Source::Segment(Box::new(SegmentBlocks::wanted(segment, keys, selection)?))
            }
        };
        Ok(UnitBlocks { shared: Arc::clone(shared), source })
    }

    /// Blocks with these rows, by the numbers of the blocks, whatever the request's predicates say.
    pub(crate) fn of_rows(
        unit: &ScanUnit,
        shared: &Arc<Shared>,
        rows: BTreeMap<u32, Vec<u32>>,
    ) -> Result<UnitBlocks, ReadError> {
        let source = match &unit.0 {
            Unit::Chunk(chunk) => {
                let place = |number| ChunkBlocks::place(chunk.row_count, number, shared);
                let rows = rows.iter().map(|(number, rows)| (*number, Rows::of(rows, place(*number).1)));
                let rows = ChunkRows::Found(rows.collect::<Vec<_>>().into_iter());
                Source::Chunk(ChunkBlocks { chunk: chunk.clone(), rows })
            }
            Unit::RowGroup { segment, selection, .. } => {
                let segment = Arc::clone(segment);
                Source::Segment(Box::new(SegmentBlocks::of_rows(segment, selection, &rows, shared)?))
            }
        };
        Ok(UnitBlocks { shared: Arc::clone(shared), source })
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Iterator for UnitBlocks {
    type Item = Result<UnitBlock, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.source {
            Source::Chunk(blocks) => blocks.next(&self.shared),
            Source::Segment(blocks) => blocks.next(&self.shared),
        }
    }
}

/// A chunk of a memtable, a batch's worth of rows at a time.
#[derive(Debug)]
struct ChunkBlocks {
    chunk: SnapshotChunk,
    rows: ChunkRows,
}

#[derive(Debug)]
enum ChunkRows {
    Unfiltered { next: u32, end: u32 },
    Found(std::vec::IntoIter<(u32, Rows)>),
}

impl ChunkBlocks {
    fn next(&mut self, shared: &Shared) -> Option<Result<UnitBlock, ReadError>> {
        loop {
            let (number, found) = match &mut self.rows {
                ChunkRows::Found(rows) => {
                    let (number, rows) = rows.next()?;
                    (number, Ok(rows))
                }
                ChunkRows::Unfiltered { next, end } => {
                    let number = *next;
                    if number == *end {
                        return None;
                    }
                    *next += 1;
                    (number, self.find_rows(number, shared))
                }
            };
            match found {
                Ok(rows) if rows.is_empty() => {}
                Ok(rows) => {
                    let columns = shared.request.columns.iter();
                    let arrays = columns.filter_map(|id| Some((*id, self.column(*id, number, shared)?)));
                    return Some(Ok(UnitBlock { number, origin: None, rows, arrays: arrays.collect() }));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Where a block starts in the chunk, and how many rows it has.
    fn place(row_count: usize, number: u32, shared: &Shared) -> (usize, usize) {
        let start = number as usize * shared.request.batch_rows;
        (start, shared.request.batch_rows.min(row_count - start))
    }

    fn column(&self, id: ColumnId, number: u32, shared: &Shared) -> Option<ArrayRef> {
        let (start, len) = ChunkBlocks::place(self.chunk.row_count, number, shared);
        self.chunk.chunk.column(id).map(|array| array.slice(start, len))
    }

    fn find_rows(&self, number: u32, shared: &Shared) -> Result<Rows, ReadError> {
        let (start, len) = ChunkBlocks::place(self.chunk.row_count, number, shared);
        let mut rows = Rows::all(len);
        if let (Some(resolution), Some((keys, first_row))) = (&shared.resolution, &self.chunk.keys) {
            let array = |id| self.column(id, number, shared);
            rows = rows.and(&resolution.in_layer(keys, first_row + start, len, array)?);
        }
        for (at, predicate) in shared.request.predicates.iter().enumerate() {
            if rows.is_empty() {
                break;
            }
            let array = self.column(predicate.column(), number, shared);
            rows = rows.and(&shared.evaluate(at, array.as_ref(), len)?);
        }
        Ok(rows)
    }
}
