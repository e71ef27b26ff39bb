//! Reading a segment from its start to its end, a block's worth of rows at a time, past the cache:
//! what a merge reads is read once.

use std::sync::Arc;

use arrow::array::ArrayRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use tidemark_catalog::schema::Column;

use crate::error::ReadError;
use crate::memtable::dictionaries::SymbolDictionaries;
use crate::read::rows::Rows;
use crate::segment::decode::BlockDecoder;
use crate::segment::deleted::Positions;
use crate::segment::file::OpenSegment;
use crate::segment::handle::SegmentHandle;
use crate::types::read_type;

/// The rows of a segment, in its order.
pub(crate) struct SegmentStream {
    open: Arc<OpenSegment>,
    reader: ParquetRecordBatchReader,
    /// For each wanted column, where the reader's batches have it, and what makes it a block.
    columns: Vec<Option<(usize, BlockDecoder)>>,
    deleted: Option<Arc<Positions>>,
    /// Of the next row.
    position: u32,
}

/// Rows that follow one another in a segment, without those that are deleted.
#[derive(Debug)]
pub(crate) struct StreamBlock {
    start: u32,
    rows: Rows,
    /// Each wanted column as blocks have it, cut to the rows; no array for one that the file does not have.
    pub(crate) arrays: Vec<Option<ArrayRef>>,
}

impl StreamBlock {
    pub(crate) fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// The position of each row in the segment.
    pub(crate) fn positions(&self) -> Vec<u32> {
        let mut positions = Vec::with_capacity(self.rows.len());
        self.rows.for_each(|row| positions.push(self.start + u32::try_from(row).expect("a block is small")));
        positions
    }
}

impl SegmentStream {
    /// Starts reading these columns.
    pub(crate) fn open(
        handle: &SegmentHandle,
        columns: &[&Column],
        symbols: &SymbolDictionaries,
    ) -> Result<SegmentStream, ReadError> {
        let open = handle.open()?;
        let mut roots: Vec<usize> =
            columns.iter().filter_map(|column| Some(open.column(column.id)?.root)).collect();
        roots.sort_unstable();
        let sources = columns.iter().map(|column| {
            let root = open.column(column.id)?.root;
            let at = roots.binary_search(&root).expect("it is one of them");
            Some((at, BlockDecoder::new(symbols.get(column.id), read_type(&column.column_type))))
        });
        let sources = sources.collect();
        let parquet = open.metadata.parquet_schema();
        let reader =
            ParquetRecordBatchReaderBuilder::new_with_metadata(open.input.clone(), open.metadata.clone())
                .with_projection(ProjectionMask::roots(parquet, roots))
                .with_batch_size(handle.blocks().block_rows())
                .build()
                .map_err(|error| open.decode_error(error))?;
        Ok(SegmentStream { open, reader, columns: sources, deleted: handle.deleted().cloned(), position: 0 })
    }

    /// The next rows; blocks of which no row is left are among them.
    pub(crate) fn next(&mut self) -> Result<Option<StreamBlock>, ReadError> {
        let batch = match self.reader.next() {
            None => return Ok(None),
            Some(Ok(batch)) => batch,
            Some(Err(error)) => return Err(self.open.input.failure().unwrap_or_else(|| error.into())),
        };
        let start = self.position;
        let rows = self.live_rows(batch.num_rows());
        let cutter = rows.cutter();
        let arrays = self.columns.iter_mut().map(|column| {
            let Some((at, decoder)) = column else { return Ok(None) };
            let array = decoder.decode(batch.column(*at))?;
            Ok(Some(cutter.cut(&array)?))
        });
        let arrays = arrays.collect::<Result<Vec<_>, ReadError>>()?;
        Ok(Some(StreamBlock { start, rows, arrays }))
    }

    fn live_rows(&mut self, len: usize) -> Rows {
        let start = self.position;
        self.position += u32::try_from(len).expect("rows of a segment are numbered with 32 bits");
        match &self.deleted {
            Some(deleted) => Rows::without(deleted, start, len),
            None => Rows::all(len),
        }
    }
}

impl std::fmt::Debug for SegmentStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentStream").field("path", &self.open.input.path()).finish_non_exhaustive()
    }
}
