//! Reading the wanted rows of a row group, block by block.
//!
//! 1. The columns of the predicates are taken block by block, from the cache or decoded; a block in
//!    which no row fulfils them is not looked at further.
//! 2. The other columns are taken for the blocks that are left only, and cut to the wanted rows.
//!
//! A column that has to be decoded is decoded for all the blocks at once that one pass needs, so a
//! page is met once. Columns that the file does not have are NULL.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection};
use tidemark_catalog::ids::ColumnId;

use crate::error::ReadError;
use crate::read::Shared;
use crate::read::rows::{Rows, build_batch};
use crate::segment::block::BlockKey;
use crate::segment::decode::BlockDecoder;
use crate::segment::file::OpenSegment;
use crate::segment::handle::SegmentHandle;
use crate::segment::prune::RowGroupSelection;

/// The wanted rows of a row group, batch by batch.
#[derive(Debug)]
pub(crate) struct SegmentRows {
    group: RowGroup,
    shared: Arc<Shared>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Blocks that may have wanted rows.
    Unfiltered(Vec<u32>),
    Filtered(Filtered),
}

/// What the predicates left.
#[derive(Debug)]
struct Filtered {
    blocks: std::vec::IntoIter<(u32, Rows)>,
    /// The blocks of each column of the answer that the file has, in the order of `blocks`.
    columns: HashMap<ColumnId, ColumnBlocks>,
}

/// A row group that is being read.
#[derive(Debug)]
struct RowGroup {
    handle: Arc<SegmentHandle>,
    open: Arc<OpenSegment>,
    index: usize,
    row_count: usize,
}

impl SegmentRows {
    pub(crate) fn new(
        handle: Arc<SegmentHandle>,
        selection: &RowGroupSelection,
        shared: &Arc<Shared>,
    ) -> Result<SegmentRows, ReadError> {
        let open = handle.open()?;
        let index = selection.row_group;
        let row_count = open.row_group_rows(index);
        let group = RowGroup { handle, open, index, row_count };
        let state = State::Unfiltered(selection.blocks.clone());
        Ok(SegmentRows { group, shared: Arc::clone(shared), state })
    }

    /// Finds the rows that fulfil the predicates.
    fn find_rows(&self, blocks: &[u32]) -> Result<Filtered, ReadError> {
        let group = &self.group;
        let mut left: Vec<(u32, Rows)> =
            blocks.iter().map(|block| (*block, Rows::all(group.block_len(*block)))).collect();
        let mut held: HashMap<ColumnId, HashMap<u32, ArrayRef>> = HashMap::new();
        for (number, predicate) in self.shared.request.predicates.iter().enumerate() {
            let id = predicate.column();
            let blocks: Vec<u32> = left.iter().map(|(block, _)| *block).collect();
            let mut column = group.column(&self.shared, id, &blocks, held.remove(&id))?;
            let mut kept = HashMap::new();
            let mut still = Vec::with_capacity(left.len());
            for (block, rows) in left {
                let array = column.as_mut().map(|column| column.next(group, block)).transpose()?;
                let found = self.shared.evaluate(number, array.as_ref(), group.block_len(block))?;
                let rows = rows.and(&found);
                if !rows.is_empty() {
                    still.push((block, rows));
                    array.into_iter().for_each(|array| drop(kept.insert(block, array)));
                }
            }
            left = still;
            held.insert(id, kept);
        }
        let blocks: Vec<u32> = left.iter().map(|(block, _)| *block).collect();
        let mut columns = HashMap::new();
        for id in &self.shared.request.columns {
            if columns.contains_key(id) {
                continue;
            }
            if let Some(column) = group.column(&self.shared, *id, &blocks, held.remove(id))? {
                columns.insert(*id, column);
            }
        }
        Ok(Filtered { blocks: left.into_iter(), columns })
    }
}

impl Iterator for SegmentRows {
    type Item = Result<RecordBatch, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let State::Unfiltered(blocks) = &mut self.state {
            let blocks = std::mem::take(blocks);
            match self.find_rows(&blocks) {
                Ok(filtered) => self.state = State::Filtered(filtered),
                Err(error) => {
                    self.state = State::Unfiltered(Vec::new());
                    return Some(Err(error));
                }
            }
        }
        let State::Filtered(filtered) = &mut self.state else { unreachable!("it was filtered above") };
        let (block, rows) = filtered.blocks.next()?;
        let mut arrays = HashMap::with_capacity(filtered.columns.len());
        for (id, column) in &mut filtered.columns {
            match column.next(&self.group, block) {
                Ok(array) => arrays.insert(*id, array),
                Err(error) => return Some(Err(error)),
            };
        }
        Some(build_batch(&self.shared, &rows, |id| arrays.get(&id).cloned()))
    }
}

impl RowGroup {
    fn block_len(&self, block: u32) -> usize {
        let block_rows = self.handle.blocks().block_rows();
        block_rows.min(self.row_count - block as usize * block_rows)
    }

    /// These blocks of a column, in their order; `None` when the file does not have it.
    fn column(
        &self,
        shared: &Shared,
        id: ColumnId,
        blocks: &[u32],
        held: Option<HashMap<u32, ArrayRef>>,
    ) -> Result<Option<ColumnBlocks>, ReadError> {
        let (Some(column), Some(data_type)) = (self.open.column(id), shared.read_type(id)) else {
            return Ok(None);
        };
        let cache = self.handle.blocks();
        let key = |block| BlockKey {
            segment: self.handle.segment().id,
            column: id,
            row_group: u32::try_from(self.index).expect("a file has fewer row groups"),
            block,
        };
        let mut known = held.unwrap_or_default();
        let mut missing = Vec::new();
        for block in blocks {
            if known.contains_key(block) {
                continue;
            }
            match cache.get(&key(*block)) {
                Some(array) => drop(known.insert(*block, array)),
                None => missing.push(*block),
            }
        }
        let metrics = self.handle.metrics();
        metrics.block_misses.add(missing.len() as u64);
        metrics.block_hits.add((blocks.len() - missing.len()) as u64);
        let decoder = match missing.is_empty() {
            true => None,
            false => {
                let reader = self.reader(column.root, &missing)?;
                Some((reader, BlockDecoder::new(shared.symbols.get(id), data_type.clone())))
            }
        };
        Ok(Some(ColumnBlocks { known, decoder, key: key(0) }))
    }

    /// Decodes these blocks of a column, one batch for each.
    fn reader(&self, root: usize, blocks: &[u32]) -> Result<ParquetRecordBatchReader, ReadError> {
        let block_rows = self.handle.blocks().block_rows();
        let ranges = blocks.iter().map(|block| {
            let start = *block as usize * block_rows;
            start..start + self.block_len(*block)
        });
        let selection = RowSelection::from_consecutive_ranges(ranges, self.row_count);
        let parquet = self.open.metadata.parquet_schema();
        let (input, metadata) = (self.open.input.clone(), self.open.metadata.clone());
        ParquetRecordBatchReaderBuilder::new_with_metadata(input, metadata)
            .with_row_groups(vec![self.index])
            .with_projection(ProjectionMask::roots(parquet, [root]))
            .with_row_selection(selection)
            .with_batch_size(block_rows)
            .build()
            .map_err(|error| self.open.decode_error(error))
    }
}

/// Some blocks of a column, to be taken in their order.
struct ColumnBlocks {
    known: HashMap<u32, ArrayRef>,
    /// Gives the blocks that are not known.
    decoder: Option<(ParquetRecordBatchReader, BlockDecoder)>,
    /// The key of any block of the column.
    key: BlockKey,
}

impl std::fmt::Debug for ColumnBlocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ColumnBlocks").field("key", &self.key).finish_non_exhaustive()
    }
}

impl ColumnBlocks {
    fn next(&mut self, group: &RowGroup, block: u32) -> Result<ArrayRef, ReadError> {
        if let Some(array) = self.known.remove(&block) {
            return Ok(array);
        }
        let (reader, decoder) = self.decoder.as_mut().expect("what is not known is decoded");
        let batch = match reader.next() {
            Some(Ok(batch)) => batch,
            Some(Err(error)) => return Err(group.open.input.failure().unwrap_or_else(|| error.into())),
            None => return Err(group.open.too_short()),
        };
        let array = decoder.decode(batch.column(0))?;
        if array.len() != group.block_len(block) {
            return Err(group.open.too_short());
        }
        group.handle.blocks().insert(BlockKey { block, ..self.key }, Arc::clone(&array));
        Ok(array)
    }
}
