//! The rows of a memtable, or a part of them, as the row groups of a segment.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type, IntervalMonthDayNanoType};
use arrow::error::ArrowError;
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::ColumnId;
use tidemark_catalog::schema::Column;
use tidemark_catalog::types::ColumnType;

use crate::collection::SymbolDictionaries;
use crate::error::JobError;
use crate::memtable::Chunk;
use crate::read::rows::symbol_texts;
use crate::segment::sort::RowRef;
use crate::segment::writer::RowGroups;
use crate::types::write_type;

/// Rows of chunks, in the order of a segment.
pub(crate) struct ChunkRowGroups<'a> {
    chunks: &'a [Arc<Chunk>],
    columns: Vec<&'a Column>,
    symbols: SymbolDictionaries,
    groups: std::slice::Chunks<'a, RowRef>,
    /// Asked before each row group.
    go_on: &'a dyn Fn() -> Result<(), JobError>,
}

impl<'a> ChunkRowGroups<'a> {
    pub(crate) fn new(
        chunks: &'a [Arc<Chunk>],
        columns: Vec<&'a Column>,
        symbols: SymbolDictionaries,
        rows: &'a [RowRef],
        row_group_rows: usize,
        go_on: &'a dyn Fn() -> Result<(), JobError>,
    ) -> ChunkRowGroups<'a> {
        ChunkRowGroups { chunks, columns, symbols, groups: rows.chunks(row_group_rows), go_on }
    }
}

impl RowGroups for ChunkRowGroups<'_> {
    fn next(&mut self) -> Result<Option<Vec<ArrayRef>>, JobError> {
        let Some(rows) = self.groups.next() else { return Ok(None) };
        (self.go_on)()?;
        let indexes: Vec<(usize, usize)> =
            rows.iter().map(|row| (row.chunk as usize, row.row as usize)).collect();
        let arrays = self.columns.iter().map(|column| {
            let data_type = write_type(&column.column_type);
            let arrays: Vec<ArrayRef> = self
                .chunks
                .iter()
                .map(|chunk| match chunk.column(column.id) {
                    Some(array) => Arc::clone(array),
                    None => new_null_array(&data_type, chunk.row_count()),
                })
                .collect();
            let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
            let gathered = interleave(&arrays, &indexes)?;
            to_file_type(&gathered, column, &self.symbols)
        });
        Ok(Some(arrays.collect::<Result<Vec<_>, ArrowError>>()?))
    }
}

/// The columns that some row has a value for, in the order of the schema.
pub(crate) fn present_columns<'a>(collection: &'a Collection, chunks: &[Arc<Chunk>]) -> Vec<&'a Column> {
    let has = |column: &&Column| chunks.iter().any(|chunk| chunk.column(column.id).is_some());
    collection.schema.columns().iter().filter(has).collect()
}

/// The columns in which there is a NaN.
pub(crate) fn columns_with_nan(columns: &[&Column], chunks: &[Arc<Chunk>]) -> HashSet<ColumnId> {
    let has_nan = |array: &ArrayRef| match array.data_type() {
        DataType::Float32 => array.as_primitive::<Float32Type>().values().iter().any(|it| it.is_nan()),
        DataType::Float64 => array.as_primitive::<Float64Type>().values().iter().any(|it| it.is_nan()),
        _ => false,
    };
    let found = columns
        .iter()
        .filter(|column| chunks.iter().filter_map(|chunk| chunk.column(column.id)).any(has_nan));
    found.map(|column| column.id).collect()
}

/// A column as a memtable or a block has it, as a file has it.
pub(crate) fn to_file_type(
    array: &ArrayRef,
    column: &Column,
    symbols: &SymbolDictionaries,
) -> Result<ArrayRef, ArrowError> {
    match &column.column_type {
        ColumnType::Symbol => {
            let dictionary = symbols.get(column.id).expect("a symbol column has a dictionary");
            match array.data_type() {
                // The encoder goes by the numbers; a dictionary of its own would have to be made first.
                DataType::Int32 => Ok(dictionary.resolve(array.as_primitive::<Int32Type>())),
                _ => symbol_texts(array, dictionary),
            }
        }
        ColumnType::Interval => Ok(interval_bytes(array)),
        _ => Ok(Arc::clone(array)),
    }
}

/// An interval's months and days (32 bits each) and nanoseconds (64 bits), little-endian.
fn interval_bytes(array: &ArrayRef) -> ArrayRef {
    let intervals = array.as_primitive::<IntervalMonthDayNanoType>();
    let mut bytes = Vec::with_capacity(intervals.len() * 16);
    for value in intervals.values() {
        bytes.extend_from_slice(&value.months.to_le_bytes());
        bytes.extend_from_slice(&value.days.to_le_bytes());
        bytes.extend_from_slice(&value.nanoseconds.to_le_bytes());
    }
    Arc::new(FixedSizeBinaryArray::new(16, bytes.into(), intervals.nulls().cloned()))
}
