//! A column chunk whose values are numbers into a dictionary, encoded here.
//!
//! The library's encoder looks up each row's value in a table of its own. Symbols have numbers already, and in
//! a segment's order come in long runs; numbers of metrics are often few, and are found by their bits.
//!
//! 1. Values that occur get places in the order in which they come: the chunk's dictionary ([`Dictionary`]).
//! 2. A page at a time: definition levels, and the places, as runs and packed bits ([`hybrid`]).
//! 3. Bounds of pages and of the chunk are found by the values' ranks.
//!
//! What is written is what the library would write (data pages of version 1, `RLE_DICTIONARY`, a column
//! index and an offset index), and the library reads it. What needs more than that is left to it: a dictionary that
//! is too large, texts too long for statistics, no values at all.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type};
use bytes::Bytes;
use parquet::basic::{BoundaryOrder, Compression, Encoding, PageType, Type, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriteSpec, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use self::dictionary::Dictionary;
use self::hybrid::{encode_hybrid, encode_run};
use crate::types::symbol_type;

mod dictionary;
mod hybrid;

/// What the chunk is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    /// Rows of a page.
    pub(super) page_rows: usize,
    /// The longest dictionary, in bytes of its page.
    pub(super) dictionary_bytes_max: usize,
    /// The longest text that bounds hold whole.
    pub(super) bound_bytes_max: usize,
    pub(super) level: ZstdLevel,
}

/// An encoded chunk.
#[derive(Debug)]
pub(super) struct DictionaryChunk {
    pub(super) bytes: Bytes,
    pub(super) close: ColumnCloseResult,
}

/// Encodes a chunk; `None` where the library has to. There must be no NaN.
///
/// # Errors
/// Compression fails.
pub(super) fn encode(
    column: &ColumnDescPtr,
    array: &ArrayRef,
    form: Form,
) -> Result<Option<DictionaryChunk>> {
    let dictionary = match array.data_type() {
        found if *found == symbol_type() => Dictionary::of_symbols(array.as_dictionary(), form),
        DataType::Float64 => Dictionary::of_numbers(array.as_primitive::<Float64Type>(), form),
        DataType::Int64 => Dictionary::of_numbers(array.as_primitive::<Int64Type>(), form),
        DataType::Int32 => Dictionary::of_numbers(array.as_primitive::<Int32Type>(), form),
        _ => None,
    };
    let Some(dictionary) = dictionary else { return Ok(None) };
    let mut pages = Pages::new(column.physical_type(), form.level)?;
    let mut sink = TrackedWrite::new(Vec::new());
    let mut writer = SerializedPageWriter::new(&mut sink);
    pages.write_dictionary(&mut writer, &dictionary)?;
    let mut places = dictionary.places.as_slice();
    for start in (0..array.len()).step_by(form.page_rows) {
        let count = form.page_rows.min(array.len() - start);
        let nulls = array.nulls().map(|nulls| nulls.slice(start, count));
        let null_count = nulls.as_ref().map_or(0, NullBuffer::null_count);
        let (of_page, rest) = places.split_at(count - null_count);
        places = rest;
        let is_optional = column.max_def_level() > 0;
        pages.write_data(&mut writer, &dictionary, of_page, Levels { count, nulls, is_optional })?;
    }
    writer.close()?;
    let bytes = Bytes::from(sink.into_inner()?);
    let close = pages.close(column, &dictionary, array.len(), form)?;
    Ok(Some(DictionaryChunk { bytes, close }))
}

/// Which rows of a page have a value.
struct Levels {
    count: usize,
    nulls: Option<NullBuffer>,
    is_optional: bool,
}

/// The pages that were written, and what is said of them.
struct Pages {
    compressor: zstd::bulk::Compressor<'static>,
    column_index: ColumnIndexBuilder,
    offset_index: OffsetIndexBuilder,
    /// The bounds of the page before, by rank.
    last: Option<(u32, u32)>,
    ascending: bool,
    descending: bool,
    null_count: u64,
    /// The bytes of all rows' texts, where they are texts.
    text_bytes: Option<i64>,
    data_pages: i32,
    first_data_page: Option<i64>,
    compressed: i64,
    uncompressed: i64,
}

impl Pages {
    fn new(physical_type: Type, level: ZstdLevel) -> Result<Pages> {
        Ok(Pages {
            compressor: zstd::bulk::Compressor::new(level.compression_level())?,
            column_index: ColumnIndexBuilder::new(physical_type),
            offset_index: OffsetIndexBuilder::new(),
            last: None,
            ascending: true,
            descending: true,
            null_count: 0,
            text_bytes: None,
            data_pages: 0,
            first_data_page: None,
            compressed: 0,
            uncompressed: 0,
        })
    }

    fn write_dictionary(&mut self, writer: &mut impl PageWriter, dictionary: &Dictionary) -> Result<()> {
        let page = Page::DictionaryPage {
            buf: self.compressor.compress(&dictionary.plain)?.into(),
            num_values: length(dictionary.len())?,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        self.write(writer, page, dictionary.plain.len())?;
        Ok(())
    }

    fn write_data(
        &mut self,
        writer: &mut impl PageWriter,
        dictionary: &Dictionary,
        places: &[u32],
        levels: Levels,
    ) -> Result<()> {
        let mut buffer = Vec::new();
        if levels.is_optional {
            let mut bytes = Vec::new();
            match levels.nulls.filter(|nulls| nulls.null_count() > 0) {
                None => encode_run(&mut bytes, 1, levels.count, 1),
                Some(nulls) => {
                    let levels: Vec<u32> = nulls.iter().map(u32::from).collect();
                    encode_hybrid(&mut bytes, &levels, 1);
                }
            }
            buffer.extend_from_slice(&length(bytes.len())?.to_le_bytes());
            buffer.extend_from_slice(&bytes);
        }
        buffer.push(dictionary.bit_width);
        encode_hybrid(&mut buffer, places, dictionary.bit_width);
        let page = Page::DataPage {
            buf: self.compressor.compress(&buffer)?.into(),
            num_values: length(levels.count)?,
            encoding: Encoding::RLE_DICTIONARY,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let written = self.write(writer, page, buffer.len())?;
        self.data_pages += 1;
        let offset = signed(written.offset)?;
        self.first_data_page.get_or_insert(offset);
        self.offset_index.append_row_count(signed(levels.count)?);
        let bytes =
            i32::try_from(written.compressed_size).map_err(|error| ParquetError::External(error.into()))?;
        self.offset_index.append_offset_and_size(offset, bytes);
        let text_bytes = dictionary.text_bytes(places).map(signed).transpose()?;
        self.offset_index.append_unencoded_byte_array_data_bytes(text_bytes);
        self.text_bytes = text_bytes.map(|bytes| self.text_bytes.unwrap_or(0) + bytes);
        let null_count = levels.count - places.len();
        self.null_count += null_count as u64;
        self.add_bounds(dictionary, dictionary.bounds(places), signed(null_count)?);
        Ok(())
    }

    fn write(&mut self, writer: &mut impl PageWriter, page: Page, bytes: usize) -> Result<PageWriteSpec> {
        let written = writer.write_page(CompressedPage::new(page, bytes))?;
        self.compressed += signed(written.compressed_size)?;
        self.uncompressed += signed(written.uncompressed_size)?;
        Ok(written)
    }

    fn add_bounds(&mut self, dictionary: &Dictionary, bounds: Option<(u32, u32)>, null_count: i64) {
        let Some((min, max)) = bounds else {
            self.column_index.append(true, Vec::new(), Vec::new(), null_count);
            return;
        };
        if let Some((last_min, last_max)) = self.last.replace((min, max)) {
            self.ascending &= last_min <= min && last_max <= max;
            self.descending &= last_min >= min && last_max >= max;
        }
        self.column_index.append(false, dictionary.lower_bound(min), dictionary.upper_bound(max), null_count);
    }

    fn close(
        mut self,
        column: &ColumnDescPtr,
        dictionary: &Dictionary,
        rows: usize,
        form: Form,
    ) -> Result<ColumnCloseResult> {
        self.column_index.set_boundary_order(match (self.ascending, self.descending) {
            (true, _) => BoundaryOrder::ASCENDING,
            (false, true) => BoundaryOrder::DESCENDING,
            (false, false) => BoundaryOrder::UNORDERED,
        });
        let statistics = statistics(column.physical_type(), dictionary, self.null_count)?;
        let stats = |page_type, encoding, count| PageEncodingStats { page_type, encoding, count };
        let metadata = ColumnChunkMetaData::builder(ColumnDescPtr::clone(column))
            .set_compression(Compression::ZSTD(form.level))
            .set_encodings(vec![Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY])
            .set_page_encoding_stats(vec![
                stats(PageType::DICTIONARY_PAGE, Encoding::PLAIN, 1),
                stats(PageType::DATA_PAGE, Encoding::RLE_DICTIONARY, self.data_pages),
            ])
            .set_total_compressed_size(self.compressed)
            .set_total_uncompressed_size(self.uncompressed)
            .set_num_values(signed(rows)?)
            .set_data_page_offset(self.first_data_page.unwrap_or_default())
            .set_dictionary_page_offset(Some(0))
            .set_statistics(statistics)
            .set_unencoded_byte_array_data_bytes(self.text_bytes)
            .build()?;
        Ok(ColumnCloseResult {
            bytes_written: self.compressed as u64,
            rows_written: rows as u64,
            metadata,
            bloom_filter: None,
            column_index: Some(self.column_index.build()?),
            offset_index: Some(self.offset_index.build()),
        })
    }
}

/// The least and the greatest of all values.
fn statistics(physical_type: Type, dictionary: &Dictionary, null_count: u64) -> Result<Statistics> {
    let min = dictionary.lower_bound(0);
    let max = dictionary.upper_bound(length(dictionary.len() - 1)?);
    const WIDE: &str = "a value has the width of its type";
    let wide = |bytes: Vec<u8>| bytes.try_into().expect(WIDE);
    let narrow = |bytes: Vec<u8>| i32::from_le_bytes(bytes.try_into().expect(WIDE));
    let (bounds, nulls) = ([min, max], Some(null_count));
    Ok(match physical_type {
        Type::BYTE_ARRAY => {
            let [min, max] = bounds.map(|bytes| Some(ByteArray::from(bytes)));
            Statistics::byte_array(min, max, None, nulls, false)
        }
        Type::DOUBLE => {
            let [min, max] = bounds.map(|bytes| Some(f64::from_le_bytes(wide(bytes))));
            Statistics::double(min, max, None, nulls, false)
        }
        Type::INT64 => {
            let [min, max] = bounds.map(|bytes| Some(i64::from_le_bytes(wide(bytes))));
            Statistics::int64(min, max, None, nulls, false)
        }
        Type::INT32 => {
            let [min, max] = bounds.map(|bytes| Some(narrow(bytes)));
            Statistics::int32(min, max, None, nulls, false)
        }
        other => return Err(ParquetError::NYI(format!("a dictionary of {other}"))),
    })
}

fn length(value: usize) -> Result<u32> {
    u32::try_from(value).map_err(|error| ParquetError::External(error.into()))
}

fn signed(value: impl TryInto<i64, Error: Into<Box<dyn std::error::Error + Send + Sync>>>) -> Result<i64> {
    value.try_into().map_err(|error| ParquetError::External(error.into()))
}

#[cfg(test)]
mod tests;
