//! The rows of a memtable, or a part of them, as the row groups of a segment.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int32Type, IntervalMonthDayNanoType};
use arrow::error::ArrowError;
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::ColumnId;
use tidemark_catalog::schema::Column;
use tidemark_catalog::types::ColumnType;

use crate::error::JobError;
use crate::memtable::Chunk;
use crate::memtable::dictionaries::SymbolDictionaries;
use crate::missing::MissingValues;
use crate::read::rows::symbol_texts;
use crate::segment::sort::RowRef;
use crate::segment::writer::RowGroups;
use crate::types::write_type;

/// Rows of chunks, in the order of a segment.
pub(crate) struct ChunkRowGroups<'a> {
    pub(crate) chunks: &'a [Arc<Chunk>],
    pub(crate) columns: Vec<&'a Column>,
    pub(crate) symbols: SymbolDictionaries,
    pub(crate) missing: MissingValues,
    /// The rows of each row group.
    pub(crate) groups: std::slice::Chunks<'a, RowRef>,
    /// Asked before each row group.
    pub(crate) go_on: &'a dyn Fn() -> Result<(), JobError>,
}

impl RowGroups for ChunkRowGroups<'_> {
    fn next(&mut self) -> Result<Option<Vec<ArrayRef>>, JobError> {
        let Some(rows) = self.groups.next() else { return Ok(None) };
        (self.go_on)()?;
        let indexes: Vec<(usize, usize)> =
            rows.iter().map(|row| (row.chunk as usize, row.row as usize)).collect();
        let arrays = self.columns.iter().map(|column| {
            let data_type = write_type(&column.column_type);
            let arrays = self.chunks.iter().map(|chunk| match chunk.column(column.id) {
                Some(array) => Ok(Arc::clone(array)),
                None => self.missing.array_or_null(column.id, &data_type, chunk.row_count()),
            });
            let arrays = arrays.collect::<Result<Vec<ArrayRef>, ArrowError>>()?;
            let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
            let gathered = interleave(&arrays, &indexes)?;
            to_file_type(&gathered, column, &self.symbols)
        });
        Ok(Some(arrays.collect::<Result<Vec<_>, ArrowError>>()?))
    }
}

/// The columns that some chunk has, in the order of the schema.
pub(crate) fn present_columns<'a>(
    collection: &'a Collection,
    chunks: &[Arc<Chunk>],
    symbols: &SymbolDictionaries,
) -> Vec<&'a Column> {
    let has = |column: &&Column| chunks.iter().any(|chunk| chunk.column(column.id).is_some());
    collection.schema.columns().iter().filter(|column| symbols.allow(column)).filter(has).collect()
}

/// Whether there is a NaN in an array.
pub(crate) fn has_nan(array: &ArrayRef) -> bool {
    match array.data_type() {
        DataType::Float32 => array.as_primitive::<Float32Type>().values().iter().any(|it| it.is_nan()),
        DataType::Float64 => array.as_primitive::<Float64Type>().values().iter().any(|it| it.is_nan()),
        _ => false,
    }
}

/// The columns in which there is a NaN, or may be one where a chunk does not have the column.
pub(crate) fn columns_with_nan(
    columns: &[&Column],
    chunks: &[Arc<Chunk>],
    missing: &MissingValues,
) -> HashSet<ColumnId> {
    let arrays = |id| chunks.iter().filter_map(move |chunk| chunk.column(id)).chain(missing.value(id));
    let found = columns.iter().filter(|column| arrays(column.id).any(has_nan));
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
