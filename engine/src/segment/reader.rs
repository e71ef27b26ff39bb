//! Reading the wanted rows of a row group, block by block.
//!
//! 1. The columns of the predicates are taken block by block, from the cache or decoded; a block in
//!    which no row fulfils them is not looked at further.
//! 2. The other columns are taken for the blocks that are left only, and cut to the wanted rows.
//!
//! A column that has to be decoded is decoded for all the blocks at once that one pass needs, so a
//! page is met once. Columns that the file does not have are left to whoever asked.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection};
use tidemark_catalog::ids::ColumnId;

use crate::dedup::index::LayerIndex;
use crate::error::ReadError;
use crate::read::Shared;
use crate::read::rows::Rows;
use crate::read::unit::UnitBlock;
use crate::segment::block::{BlockKey, Part};
use crate::segment::decode::BlockDecoder;
use crate::segment::file::OpenSegment;
use crate::segment::handle::SegmentHandle;
use crate::segment::prune::RowGroupSelection;

/// The wanted rows of a row group, block by block.
#[derive(Debug)]
pub(crate) struct SegmentBlocks {
    group: RowGroup,
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

/// Decoded blocks of a column, by their numbers.
type Held = HashMap<u32, ArrayRef>;

/// Rows of blocks, and the columns that were looked at to find them.
type LastRows = (Vec<(u32, Rows)>, HashMap<ColumnId, Held>);

/// A row group that is being read.
#[derive(Debug)]
struct RowGroup {
    handle: Arc<SegmentHandle>,
    /// The keys of a segment that is staged, not in the manifest.
    keys: Option<Arc<LayerIndex>>,
    open: Arc<OpenSegment>,
    index: usize,
    /// The position of its first row in the segment.
    start: usize,
    row_count: usize,
}

impl SegmentBlocks {
    /// The rows that fulfil the predicates of the request. `keys` are those of a staged segment.
    pub(crate) fn wanted(
        handle: Arc<SegmentHandle>,
        keys: Option<Arc<LayerIndex>>,
        selection: &RowGroupSelection,
    ) -> Result<SegmentBlocks, ReadError> {
        let group = RowGroup { keys, ..RowGroup::new(handle, selection.row_group)? };
        Ok(SegmentBlocks { group, state: State::Unfiltered(selection.blocks.clone()) })
    }

    /// These rows.
    pub(crate) fn of_rows(
        handle: Arc<SegmentHandle>,
        selection: &RowGroupSelection,
        rows: &BTreeMap<u32, Vec<u32>>,
        shared: &Shared,
    ) -> Result<SegmentBlocks, ReadError> {
        let group = RowGroup::new(handle, selection.row_group)?;
        let rows = rows.iter().map(|(block, rows)| (*block, Rows::of(rows, group.block_len(*block))));
        let filtered = group.answer(shared, rows.collect(), HashMap::new())?;
        Ok(SegmentBlocks { group, state: State::Filtered(filtered) })
    }

    pub(crate) fn next(&mut self, shared: &Shared) -> Option<Result<UnitBlock, ReadError>> {
        if let State::Unfiltered(blocks) = &mut self.state {
            let blocks = std::mem::take(blocks);
            match self.group.find_rows(shared, &blocks) {
                Ok(filtered) => self.state = State::Filtered(filtered),
                Err(error) => return Some(Err(error)),
            }
        }
        let State::Filtered(filtered) = &mut self.state else { unreachable!("it was filtered above") };
        let (number, rows) = filtered.blocks.next()?;
        let mut arrays = HashMap::with_capacity(filtered.columns.len());
        for (id, column) in &mut filtered.columns {
            match column.next(&self.group, number) {
                Ok(array) => arrays.insert(*id, array),
                Err(error) => return Some(Err(error)),
            };
        }
        let origin = Some((self.group.handle.segment().id, self.group.block_start(number)));
        Some(Ok(UnitBlock { number, origin, rows, arrays }))
    }
}

impl RowGroup {
    fn new(handle: Arc<SegmentHandle>, index: usize) -> Result<RowGroup, ReadError> {
        let open = handle.open()?;
        let row_count = open.row_group_rows(index);
        let start = open.row_group_start(index);
        Ok(RowGroup { handle, keys: None, open, index, start, row_count })
    }

    /// Finds the rows of these blocks that fulfil the predicates.
    fn find_rows(&self, shared: &Shared, blocks: &[u32]) -> Result<Filtered, ReadError> {
        let left = blocks.iter().map(|block| (*block, self.live_rows(*block)));
        let left: Vec<(u32, Rows)> = left.filter(|(_, rows)| !rows.is_empty()).collect();
        let (mut left, mut held) = self.last_rows(shared, left)?;
        for (number, predicate) in shared.request.predicates.iter().enumerate() {
            let id = predicate.column();
            let mut column = self.column(shared, id, &left, held.remove(&id).unwrap_or_default())?;
            let mut kept = Held::new();
            let mut still = Vec::with_capacity(left.len());
            for (block, rows) in left {
                let array = column.as_mut().map(|column| column.next(self, block)).transpose()?;
                let rows = rows.and(&shared.evaluate(number, array.as_ref(), self.block_len(block))?);
                if !rows.is_empty() {
                    still.push((block, rows));
                    array.into_iter().for_each(|array| drop(kept.insert(block, array)));
                }
            }
            left = still;
            held.insert(id, kept);
        }
        self.answer(shared, left, held)
    }

    /// Leaves out rows of whose keys there are later ones; gives the columns that were looked at.
    fn last_rows(&self, shared: &Shared, rows: Vec<(u32, Rows)>) -> Result<LastRows, ReadError> {
        let mut held: HashMap<ColumnId, Held> = HashMap::new();
        let segment = self.handle.segment();
        let resolution = shared.resolution.as_ref().filter(|resolution| {
            self.keys.is_some() || resolution.concerns(segment.time_min, segment.time_max)
        });
        let Some(resolution) = resolution else { return Ok((rows, held)) };
        let mut columns: HashMap<ColumnId, ColumnBlocks> = HashMap::new();
        for id in resolution.columns() {
            let column = self.column(shared, id, &rows, Held::new())?;
            columns.extend(column.map(|column| (id, column)));
        }
        let mut left = Vec::with_capacity(rows.len());
        for (block, rows) in rows {
            let len = self.block_len(block);
            let mut arrays: HashMap<ColumnId, ArrayRef> = HashMap::new();
            for (id, column) in &mut columns {
                arrays.insert(*id, column.next(self, block)?);
            }
            let array = |id| arrays.get(&id).map(Arc::clone);
            let rows = match &self.keys {
                Some(keys) => {
                    let start = self.block_start(block) as usize;
                    rows.and(&resolution.in_layer(keys, start, len, array)?)
                }
                None => match resolution.in_segment(len, array)? {
                    Some(last) => rows.and(&last),
                    None => rows,
                },
            };
            if !rows.is_empty() {
                left.push((block, rows));
                for (id, array) in arrays {
                    held.entry(id).or_default().insert(block, array);
                }
            }
        }
        Ok((left, held))
    }

    /// Makes the columns of the request ready for these rows.
    fn answer(
        &self,
        shared: &Shared,
        rows: Vec<(u32, Rows)>,
        mut held: HashMap<ColumnId, Held>,
    ) -> Result<Filtered, ReadError> {
        let mut columns = HashMap::new();
        for id in &shared.request.columns {
            if columns.contains_key(id) {
                continue;
            }
            let held = held.remove(id).unwrap_or_default();
            if let Some(column) = self.column(shared, *id, &rows, held)? {
                columns.insert(*id, column);
            }
        }
        Ok(Filtered { blocks: rows.into_iter(), columns })
    }

    /// The position of a block's first row in the segment.
    fn block_start(&self, block: u32) -> u32 {
        let start = self.start + block as usize * self.handle.blocks().block_rows();
        u32::try_from(start).expect("rows of a segment are numbered with 32 bits")
    }

    /// The rows of a block that are not deleted.
    fn live_rows(&self, block: u32) -> Rows {
        let len = self.block_len(block);
        let Some(deleted) = self.handle.deleted() else { return Rows::all(len) };
        Rows::without(deleted, self.block_start(block), len)
    }

    fn block_len(&self, block: u32) -> usize {
        let block_rows = self.handle.blocks().block_rows();
        block_rows.min(self.row_count - block as usize * block_rows)
    }

    /// These blocks of a column, in their order; `None` when the file does not have it.
    fn column(
        &self,
        shared: &Shared,
        id: ColumnId,
        blocks: &[(u32, Rows)],
        held: Held,
    ) -> Result<Option<ColumnBlocks>, ReadError> {
        let (Some(column), Some(data_type)) = (self.open.column(id), shared.read_type(id)) else {
            return Ok(None);
        };
        let cache = self.handle.blocks();
        let key = |block| BlockKey {
            segment: self.handle.segment().id,
            column: id,
            row_group: u32::try_from(self.index).expect("a file has fewer row groups"),
            part: Part::Block(block),
        };
        let symbols = shared.symbols.get(id);
        let mut known = held;
        let mut missing = Vec::new();
        for (block, _) in blocks {
            if known.contains_key(block) {
                continue;
            }
            let is_block = |array: &ArrayRef| BlockDecoder::is_block(symbols, data_type, array);
            match cache.get(&key(*block)).filter(is_block) {
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
                Some((reader, BlockDecoder::new(symbols, data_type.clone())))
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
    known: Held,
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
        group.handle.blocks().insert(BlockKey { part: Part::Block(block), ..self.key }, Arc::clone(&array));
        Ok(array)
    }
}
