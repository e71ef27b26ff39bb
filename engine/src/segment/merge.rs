//! Several sorted segments as the row groups of one.
//!
//! ```text
//!  input 0   ▌aaaa▐▌bbb▐▌dd▐          A run is a stretch of one series in a batch of an input. The
//!  input 1   ▌aa▐▌ccccc▐▌dd▐          cursor with the least (series, time, arrival) gives as many
//!  input 2   ▌bbbb▐▌cc▐               rows of its run as come before all other cursors: a piece.
//! ```
//!
//! 1. Each input is read a block's worth of rows at a time and divided into runs; the texts of its
//!    series are looked at once for each run, not for each row.
//! 2. Pieces are taken until they make a row group, by rows or by bytes, whichever comes first.
//! 3. The columns of the row group are put together from the pieces.
//!
//! Memory: a batch for each input, and one row group. Rows that are deleted are left out. Rows equal in
//! series and time keep the order of their commits.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::SortOptions;
use arrow::compute::{cast, concat, interleave, partition, take};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::{ColumnId, Lsn, SegmentId};
use tidemark_catalog::schema::Column;
use tidemark_catalog::types::ColumnType;

use crate::batch::timestamp_values;
use crate::error::{JobError, ReadError};
use crate::memtable::dictionaries::SymbolDictionaries;
use crate::missing::MissingValues;
use crate::read::rows::symbol_texts;
use crate::segment::gather::{has_nan, to_file_type};
use crate::segment::handle::SegmentHandle;
use crate::segment::stream::SegmentStream;
use crate::segment::writer::RowGroups;
use crate::types::{read_type, write_type};

/// A row group ends with the piece that makes it this large in memory.
const ROW_GROUP_BYTES_MAX: usize = 64 << 20;

/// Pieces shorter than this on the average are put together row by row.
const PIECE_ROWS_MIN: usize = 4;

/// The rows of several segments in the order of one.
pub(crate) struct MergedRowGroups<'a> {
    columns: Vec<&'a Column>,
    symbols: SymbolDictionaries,
    missing: MissingValues,
    /// Where the series key's columns and the time key are among the columns.
    series_at: Vec<usize>,
    time_at: usize,
    converter: RowConverter,
    row_group_rows: usize,
    /// The inputs that have rows left, the one with the least row on top.
    cursors: BinaryHeap<Reverse<Cursor>>,
    /// Asked before each row group.
    go_on: &'a dyn Fn() -> Result<(), JobError>,
}

/// The columns that some of the segments have and the collection still has, in the order of the schema.
pub(crate) fn merged_columns<'a>(
    collection: &'a Collection,
    inputs: &[Arc<SegmentHandle>],
    symbols: &SymbolDictionaries,
) -> Result<Vec<&'a Column>, ReadError> {
    let opened = inputs.iter().map(|input| input.open()).collect::<Result<Vec<_>, _>>()?;
    let has = |column: &&Column| opened.iter().any(|open| open.column(column.id).is_some());
    Ok(collection.schema.columns().iter().filter(|column| symbols.allow(column)).filter(has).collect())
}

/// The columns that may have a NaN: those that have no bounds where there are values, or that have it in
/// rows that do not have the column.
pub(crate) fn unbounded_columns(
    columns: &[&Column],
    inputs: &[Arc<SegmentHandle>],
    missing: &MissingValues,
) -> HashSet<ColumnId> {
    let is_float = |column: &&&Column| matches!(column.column_type, ColumnType::Float4 | ColumnType::Float8);
    let unbounded = |column: &&&Column| {
        inputs.iter().map(|input| input.segment()).any(|segment| {
            let of_column = segment.statistics.iter().find(|it| it.column == column.id);
            match of_column {
                Some(it) => it.min.is_none() && it.null_count < segment.row_count,
                None => missing.value(column.id).is_some_and(has_nan),
            }
        })
    };
    columns.iter().filter(is_float).filter(unbounded).map(|column| column.id).collect()
}

impl<'a> MergedRowGroups<'a> {
    pub(crate) fn new(
        collection: &Collection,
        columns: Vec<&'a Column>,
        inputs: &[Arc<SegmentHandle>],
        symbols: SymbolDictionaries,
        missing: MissingValues,
        row_group_rows: usize,
        go_on: &'a dyn Fn() -> Result<(), JobError>,
    ) -> Result<MergedRowGroups<'a>, JobError> {
        let options = collection.timeseries();
        let at = |id: ColumnId| columns.iter().position(|column| column.id == id);
        // A series column that no input has is NULL in all rows.
        let series_at: Vec<usize> = options.series_key.iter().filter_map(|id| at(*id)).collect();
        let fields = series_at.iter().map(|at| {
            let compared = match &columns[*at].column_type {
                ColumnType::Symbol => DataType::Utf8,
                other => read_type(other),
            };
            SortField::new_with_options(compared, SortOptions { descending: false, nulls_first: false })
        });
        let converter = RowConverter::new(fields.collect())?;
        let time_at = at(options.time_key).expect("every segment has the time key");
        let mut merged = MergedRowGroups {
            columns,
            symbols,
            missing,
            series_at,
            time_at,
            converter,
            row_group_rows,
            cursors: BinaryHeap::new(),
            go_on,
        };
        for input in inputs {
            let stream = SegmentStream::open(input, &merged.columns, &merged.symbols)?;
            let segment = input.segment();
            let arrival = (segment.lsn_max, segment.stage, segment.id);
            merged.advance(stream, arrival)?;
        }
        Ok(merged)
    }

    /// Puts an input back with its next batch, if it has one.
    fn advance(&mut self, mut stream: SegmentStream, arrival: Arrival) -> Result<(), JobError> {
        while let Some(block) = stream.next()? {
            // All rows of a block may be deleted.
            if block.row_count() > 0 {
                let batch = self.batch(block.row_count(), block.arrays)?;
                self.cursors.push(Reverse(Cursor { stream, batch: Arc::new(batch), run: 0, at: 0, arrival }));
                return Ok(());
            }
        }
        Ok(())
    }

    fn batch(&self, row_count: usize, arrays: Vec<Option<ArrayRef>>) -> Result<Batch, ArrowError> {
        let arrays = arrays.into_iter().zip(&self.columns).map(|(array, column)| match array {
            Some(array) => Ok(array),
            None => self.missing.array_or_null(column.id, &write_type(&column.column_type), row_count),
        });
        let arrays = arrays.collect::<Result<Vec<ArrayRef>, ArrowError>>()?;
        let series: Vec<ArrayRef> = self.series_at.iter().map(|at| Arc::clone(&arrays[*at])).collect();
        let ends: Vec<usize> = match series.is_empty() {
            true => vec![row_count],
            false => partition(&series)?.ranges().into_iter().map(|range| range.end).collect(),
        };
        let starts = std::iter::once(0).chain(ends.iter().copied()).take(ends.len());
        let starts: UInt32Array =
            starts.map(|start| u32::try_from(start).expect("a batch is smaller")).collect();
        let names = series.iter().zip(&self.series_at).map(|(array, at)| {
            let firsts = take(array, &starts, None)?;
            match self.symbols.get(self.columns[*at].id) {
                Some(dictionary) => cast(&symbol_texts(&firsts, dictionary)?, &DataType::Utf8),
                None => Ok(firsts),
            }
        });
        let names = names.collect::<Result<Vec<_>, ArrowError>>()?;
        let series = match names.is_empty() {
            true => None,
            false => Some(self.converter.convert_columns(&names)?),
        };
        let bytes: usize = arrays.iter().map(|array| array.get_array_memory_size()).sum();
        let row_bytes = bytes / row_count.max(1);
        Ok(Batch { arrays, time_at: self.time_at, row_count, ends, series, row_bytes })
    }

    /// Pieces for a row group; none when no input has rows left.
    fn pieces(&mut self) -> Result<Vec<Piece>, JobError> {
        let mut pieces: Vec<Piece> = Vec::new();
        let (mut rows, mut bytes) = (0, 0);
        while rows < self.row_group_rows && bytes < ROW_GROUP_BYTES_MAX {
            let Some(Reverse(mut cursor)) = self.cursors.pop() else { break };
            let end = match self.cursors.peek() {
                Some(Reverse(next)) => cursor.end_before(next),
                None => cursor.run_end(),
            };
            let end = end.min(cursor.at + (self.row_group_rows - rows));
            let piece = Piece { batch: Arc::clone(&cursor.batch), start: cursor.at, len: end - cursor.at };
            rows += piece.len;
            bytes += piece.len * cursor.batch.row_bytes;
            pieces.push(piece);
            cursor.at = end;
            if cursor.at == cursor.run_end() {
                cursor.run += 1;
            }
            if cursor.at < cursor.batch.row_count {
                self.cursors.push(Reverse(cursor));
            } else {
                self.advance(cursor.stream, cursor.arrival)?;
            }
        }
        Ok(pieces)
    }
}

impl RowGroups for MergedRowGroups<'_> {
    fn next(&mut self) -> Result<Option<Vec<ArrayRef>>, JobError> {
        (self.go_on)()?;
        let pieces = self.pieces()?;
        if pieces.is_empty() {
            return Ok(None);
        }
        let arrays = self.columns.iter().enumerate().map(|(at, column)| {
            let merged = put_together(&pieces, at, &self.symbols, column)?;
            to_file_type(&merged, column, &self.symbols)
        });
        Ok(Some(arrays.collect::<Result<Vec<_>, ArrowError>>()?))
    }
}

/// A column of the rows of all pieces.
fn put_together(
    pieces: &[Piece],
    at: usize,
    symbols: &SymbolDictionaries,
    column: &Column,
) -> Result<ArrayRef, ArrowError> {
    let mut arrays: Vec<ArrayRef> = pieces.iter().map(|piece| Arc::clone(&piece.batch.arrays[at])).collect();
    if let Some(dictionary) = symbols.get(column.id)
        && arrays.iter().any(|array| *array.data_type() != DataType::Int32)
    {
        // The dictionary became full on the way: all of them as texts.
        arrays = arrays.iter().map(|array| symbol_texts(array, dictionary)).collect::<Result<_, _>>()?;
    }
    let rows: usize = pieces.iter().map(|piece| piece.len).sum();
    if rows < pieces.len() * PIECE_ROWS_MIN {
        let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
        let indexes = pieces.iter().enumerate();
        let indexes: Vec<(usize, usize)> = indexes
            .flat_map(|(number, piece)| (piece.start..piece.start + piece.len).map(move |row| (number, row)))
            .collect();
        return interleave(&arrays, &indexes);
    }
    let slices: Vec<ArrayRef> =
        pieces.iter().zip(&arrays).map(|(piece, array)| array.slice(piece.start, piece.len)).collect();
    let slices: Vec<&dyn Array> = slices.iter().map(AsRef::as_ref).collect();
    concat(&slices)
}

/// Rows that follow one another in an input.
struct Piece {
    batch: Arc<Batch>,
    start: usize,
    len: usize,
}

/// What was read of an input at a time.
struct Batch {
    arrays: Vec<ArrayRef>,
    time_at: usize,
    row_count: usize,
    /// Where each run ends.
    ends: Vec<usize>,
    /// The series of each run in a form whose bytes compare as the series do; `None` without a
    /// series key.
    series: Option<Rows>,
    /// Memory of a row, about.
    row_bytes: usize,
}

/// The order of rows that are equal in series and time.
type Arrival = (Lsn, u32, SegmentId);

/// Where an input is. Ordered by the row that comes next.
struct Cursor {
    stream: SegmentStream,
    batch: Arc<Batch>,
    run: usize,
    at: usize,
    arrival: Arrival,
}

impl Cursor {
    fn run_end(&self) -> usize {
        self.batch.ends[self.run]
    }

    fn times(&self) -> &[i64] {
        timestamp_values(&self.batch.arrays[self.batch.time_at])
    }

    fn compare_series(&self, other: &Cursor) -> Ordering {
        match (&self.batch.series, &other.batch.series) {
            (Some(own), Some(others)) => own.row(self.run).cmp(&others.row(other.run)),
            _ => Ordering::Equal,
        }
    }

    /// Where the rows of the run end that come before the other's next row. At least one does.
    fn end_before(&self, next: &Cursor) -> usize {
        if self.compare_series(next) == Ordering::Less {
            return self.run_end();
        }
        let limit = next.times()[next.at];
        let comes_before = |time: &i64| (*time, self.arrival) < (limit, next.arrival);
        let run = &self.times()[self.at..self.run_end()];
        self.at + run.partition_point(comes_before).max(1)
    }
}

impl PartialEq for Cursor {
    fn eq(&self, other: &Cursor) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Cursor {}

impl PartialOrd for Cursor {
    fn partial_cmp(&self, other: &Cursor) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Cursor {
    fn cmp(&self, other: &Cursor) -> Ordering {
        self.compare_series(other)
            .then_with(|| self.times()[self.at].cmp(&other.times()[other.at]))
            .then_with(|| self.arrival.cmp(&other.arrival))
    }
}
