//! A column chunk of symbols, encoded from their numbers.
//!
//! The library's encoder looks up the text of every row in a table of its own; here the rows have numbers
//! already, and in a segment's order long runs of the same.
//!
//! 1. Numbers that occur get places in the order in which they come: the chunk's dictionary.
//! 2. A page at a time: definition levels, and the places, as runs and packed bits ([`encode_hybrid`]).
//! 3. Bounds of pages and of the chunk are found by the texts' ranks.
//!
//! What is written is what the library would write (data pages of version 1, `RLE_DICTIONARY`, a column
//! index and an offset index); it alone reads it. What needs more than that is left to it: a dictionary that
//! is too large, texts too long for statistics, no texts at all.
//!
//! The encodings: <https://parquet.apache.org/docs/file-format/data-pages/encodings/>

use arrow::array::{Array, AsArray, DictionaryArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::Int32Type;
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType, Type, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriteSpec, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

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
pub(super) struct SymbolChunk {
    pub(super) bytes: Bytes,
    pub(super) close: ColumnCloseResult,
}

/// Encodes a chunk; `None` where the library has to.
///
/// # Errors
/// Compression fails.
pub(super) fn encode(
    column: &ColumnDescPtr,
    symbols: &DictionaryArray<Int32Type>,
    form: Form,
) -> Result<Option<SymbolChunk>> {
    let Some(dictionary) = Dictionary::new(symbols, form) else { return Ok(None) };
    let mut pages = Pages::new(form.level)?;
    let mut sink = TrackedWrite::new(Vec::new());
    let mut writer = SerializedPageWriter::new(&mut sink);
    pages.write_dictionary(&mut writer, &dictionary)?;
    let mut places = dictionary.places.as_slice();
    let rows = symbols.len();
    for start in (0..rows).step_by(form.page_rows) {
        let count = form.page_rows.min(rows - start);
        let nulls = symbols.nulls().map(|nulls| nulls.slice(start, count));
        let null_count = nulls.as_ref().map_or(0, NullBuffer::null_count);
        let (of_page, rest) = places.split_at(count - null_count);
        places = rest;
        let is_optional = column.max_def_level() > 0;
        pages.write_data(&mut writer, &dictionary, of_page, Levels { count, nulls, is_optional })?;
    }
    writer.close()?;
    let bytes = Bytes::from(sink.into_inner()?);
    let close = pages.close(column, &dictionary, rows, form)?;
    Ok(Some(SymbolChunk { bytes, close }))
}

/// The texts of a chunk, each once.
struct Dictionary<'a> {
    /// By place.
    texts: Vec<&'a [u8]>,
    /// Of each text among all, in their order.
    ranks: Vec<u32>,
    /// Places by rank.
    by_rank: Vec<u32>,
    /// The place of each row that has a symbol.
    places: Vec<u32>,
    bit_width: u8,
}

impl<'a> Dictionary<'a> {
    fn new(symbols: &'a DictionaryArray<Int32Type>, form: Form) -> Option<Dictionary<'a>> {
        let all = symbols.values().as_string_opt::<i32>().filter(|all| all.null_count() == 0)?;
        const UNUSED: u32 = u32::MAX;
        let mut place_of = vec![UNUSED; all.len()];
        let (mut texts, mut bytes) = (Vec::new(), 0);
        let mut place = |number: i32| {
            let number = number as usize;
            if place_of[number] == UNUSED {
                place_of[number] = u32::try_from(texts.len()).expect("numbers have 31 bits");
                let text = all.value(number).as_bytes();
                texts.push(text);
                bytes += size_of::<u32>() + text.len();
            }
            place_of[number]
        };
        let keys = symbols.keys();
        let places: Vec<u32> = match keys.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => keys.values().iter().map(|number| place(*number)).collect(),
            Some(_) => keys.iter().flatten().map(place).collect(),
        };
        let is_short = |text: &&[u8]| text.len() <= form.bound_bytes_max;
        if texts.is_empty() || bytes > form.dictionary_bytes_max || !texts.iter().all(is_short) {
            return None;
        }
        let count = u32::try_from(texts.len()).ok()?;
        let mut by_rank: Vec<u32> = (0..count).collect();
        by_rank.sort_unstable_by_key(|place| texts[*place as usize]);
        let mut ranks = vec![0; texts.len()];
        for (place, rank) in by_rank.iter().zip(0..) {
            ranks[*place as usize] = rank;
        }
        let bit_width = u8::try_from(u32::BITS - (count - 1).leading_zeros()).expect("at most 32");
        Some(Dictionary { texts, ranks, by_rank, places, bit_width })
    }

    /// The text of a rank.
    fn ranked(&self, rank: u32) -> &'a [u8] {
        self.texts[self.by_rank[rank as usize] as usize]
    }

    /// The least and the greatest rank among places; `None` for none.
    fn bounds(&self, places: &[u32]) -> Option<(u32, u32)> {
        let first = self.ranks[*places.first()? as usize];
        let mut last = places[0];
        let (mut min, mut max) = (first, first);
        for place in places {
            // Rows that follow one another often have the same.
            if *place != last {
                let rank = self.ranks[*place as usize];
                (min, max) = (min.min(rank), max.max(rank));
                last = *place;
            }
        }
        Some((min, max))
    }
}

/// Which rows of a page have a symbol.
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
    text_bytes: i64,
    data_pages: i32,
    first_data_page: Option<i64>,
    compressed: i64,
    uncompressed: i64,
}

impl Pages {
    fn new(level: ZstdLevel) -> Result<Pages> {
        Ok(Pages {
            compressor: zstd::bulk::Compressor::new(level.compression_level())?,
            column_index: ColumnIndexBuilder::new(Type::BYTE_ARRAY),
            offset_index: OffsetIndexBuilder::new(),
            last: None,
            ascending: true,
            descending: true,
            null_count: 0,
            text_bytes: 0,
            data_pages: 0,
            first_data_page: None,
            compressed: 0,
            uncompressed: 0,
        })
    }

    fn write_dictionary(&mut self, writer: &mut impl PageWriter, dictionary: &Dictionary<'_>) -> Result<()> {
        let mut plain = Vec::new();
        for text in &dictionary.texts {
            plain.extend_from_slice(&length(text.len())?.to_le_bytes());
            plain.extend_from_slice(text);
        }
        let page = Page::DictionaryPage {
            buf: self.compressor.compress(&plain)?.into(),
            num_values: length(dictionary.texts.len())?,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        self.write(writer, page, plain.len())?;
        Ok(())
    }

    fn write_data(
        &mut self,
        writer: &mut impl PageWriter,
        dictionary: &Dictionary<'_>,
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
        let text_bytes = places.iter().map(|place| dictionary.texts[*place as usize].len()).sum::<usize>();
        self.offset_index.append_unencoded_byte_array_data_bytes(Some(signed(text_bytes)?));
        self.text_bytes += signed(text_bytes)?;
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

    fn add_bounds(&mut self, dictionary: &Dictionary<'_>, bounds: Option<(u32, u32)>, null_count: i64) {
        let Some((min, max)) = bounds else {
            self.column_index.append(true, Vec::new(), Vec::new(), null_count);
            return;
        };
        if let Some((last_min, last_max)) = self.last.replace((min, max)) {
            self.ascending &= last_min <= min && last_max <= max;
            self.descending &= last_min >= min && last_max >= max;
        }
        let text = |rank| dictionary.ranked(rank).to_vec();
        self.column_index.append(false, text(min), text(max), null_count);
    }

    fn close(
        mut self,
        column: &ColumnDescPtr,
        dictionary: &Dictionary<'_>,
        rows: usize,
        form: Form,
    ) -> Result<ColumnCloseResult> {
        use parquet::basic::BoundaryOrder;
        self.column_index.set_boundary_order(match (self.ascending, self.descending) {
            (true, _) => BoundaryOrder::ASCENDING,
            (false, true) => BoundaryOrder::DESCENDING,
            (false, false) => BoundaryOrder::UNORDERED,
        });
        let bound = |rank: u32| Some(ByteArray::from(dictionary.ranked(rank).to_vec()));
        let last = length(dictionary.texts.len() - 1)?;
        let statistics = ValueStatistics::new(bound(0), bound(last), None, Some(self.null_count), false)
            .with_max_is_exact(true)
            .with_min_is_exact(true);
        let stats = |page_type, encoding, count| PageEncodingStats { page_type, encoding, count };
        let metadata = ColumnChunkMetaData::builder(column.clone())
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
            .set_statistics(Statistics::ByteArray(statistics))
            .set_unencoded_byte_array_data_bytes(Some(self.text_bytes))
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

fn length(value: usize) -> Result<u32> {
    u32::try_from(value).map_err(|error| ParquetError::External(error.into()))
}

fn signed(value: impl TryInto<i64, Error: Into<Box<dyn std::error::Error + Send + Sync>>>) -> Result<i64> {
    value.try_into().map_err(|error| ParquetError::External(error.into()))
}

/// Values to a group of packed bits.
const GROUP: usize = 8;

/// Numbers of so many bits as runs and as groups of eight packed ones, as Parquet's `RLE` has them. A run is
/// worth it from a group's length on; groups before a run are filled up from it.
fn encode_hybrid(out: &mut Vec<u8>, values: &[u32], bit_width: u8) {
    let (mut packed_from, mut at) = (0, 0);
    while at < values.len() {
        let value = values[at];
        let run = values[at..].iter().take_while(|other| **other == value).count();
        let missing = (at - packed_from).next_multiple_of(GROUP) - (at - packed_from);
        if run >= missing + GROUP {
            encode_packed(out, &values[packed_from..at + missing], bit_width);
            encode_run(out, value, run - missing, bit_width);
            packed_from = at + run;
        }
        at += run;
    }
    encode_packed(out, &values[packed_from..], bit_width);
}

fn encode_run(out: &mut Vec<u8>, value: u32, count: usize, bit_width: u8) {
    put_varint(out, (count as u64) << 1);
    out.extend_from_slice(&value.to_le_bytes()[..usize::from(bit_width.div_ceil(8))]);
}

/// Values from the lowest bits up; the last group is filled with zeros.
fn encode_packed(out: &mut Vec<u8>, values: &[u32], bit_width: u8) {
    if values.is_empty() {
        return;
    }
    put_varint(out, (values.len().div_ceil(GROUP) as u64) << 1 | 1);
    let end = out.len() + values.len().div_ceil(GROUP) * usize::from(bit_width);
    let (mut bits, mut count) = (0_u64, 0);
    for value in values {
        bits |= u64::from(*value) << count;
        count += u32::from(bit_width);
        while count >= u8::BITS {
            out.push(bits as u8);
            bits >>= u8::BITS;
            count -= u8::BITS;
        }
    }
    if count > 0 {
        out.push(bits as u8);
    }
    out.resize(end, 0);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
    use arrow::compute::cast;
    use arrow::datatypes::{DataType, Field, Schema};
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::{
        ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
    };
    use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use proptest::prelude::*;

    use super::*;
    use crate::types::symbol_type;

    const PAGE_ROWS: usize = 50;

    fn form(dictionary_bytes_max: usize) -> Form {
        let level = ZstdLevel::try_new(1).unwrap();
        Form { page_rows: PAGE_ROWS, dictionary_bytes_max, bound_bytes_max: 64, level }
    }

    fn properties() -> WriterProperties {
        WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
            .set_data_page_row_count_limit(PAGE_ROWS)
            .set_write_batch_size(PAGE_ROWS)
            .build()
    }

    fn schema(is_nullable: bool) -> Arc<Schema> {
        Arc::new(Schema::new(vec![Field::new("s", symbol_type(), is_nullable)]))
    }

    /// A file with one row group, whose column is encoded here.
    fn file(array: &ArrayRef, is_nullable: bool) -> Bytes {
        let writer = ArrowWriter::try_new(Vec::new(), schema(is_nullable), Some(properties())).unwrap();
        let (mut writer, _): (SerializedFileWriter<Vec<u8>>, _) = writer.into_serialized_writer().unwrap();
        let column = writer.schema_descr().column(0);
        let chunk = encode(&column, array.as_dictionary(), form(1 << 20)).unwrap().unwrap();
        let mut row_group = writer.next_row_group().unwrap();
        row_group.append_column(&chunk.bytes, chunk.close).unwrap();
        row_group.close().unwrap();
        writer.finish().unwrap();
        Bytes::from(std::mem::take(writer.inner_mut()))
    }

    fn library_file(array: &ArrayRef, is_nullable: bool) -> Bytes {
        let mut writer = ArrowWriter::try_new(Vec::new(), schema(is_nullable), Some(properties())).unwrap();
        let batch = RecordBatch::try_new(schema(is_nullable), vec![Arc::clone(array)]).unwrap();
        writer.write(&batch).unwrap();
        Bytes::from(writer.into_inner().unwrap())
    }

    fn metadata(file: &Bytes) -> Arc<ParquetMetaData> {
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
        Arc::clone(ArrowReaderMetadata::load(file, options).unwrap().metadata())
    }

    fn texts(file: &Bytes) -> Vec<Option<String>> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file.clone()).unwrap().build().unwrap();
        let batches = reader.map(|batch| cast(batch.unwrap().column(0), &DataType::Utf8).unwrap());
        let text = |array: ArrayRef| -> Vec<Option<String>> {
            array.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
        };
        batches.flat_map(text).collect()
    }

    /// Rows as (length of a run, what is in it).
    fn runs() -> impl Strategy<Value = Vec<(usize, Option<u16>)>> {
        let length = prop_oneof![4 => 1..4_usize, 2 => 5..30_usize, 1 => 60..300_usize];
        let value =
            prop_oneof![1 => Just(None), 6 => (0..6_u16).prop_map(Some), 3 => (0..700_u16).prop_map(Some)];
        proptest::collection::vec((length, value), 1..80)
    }

    fn symbols(runs: &[(usize, Option<u16>)]) -> ArrayRef {
        let keys: Int32Array = runs
            .iter()
            .flat_map(|(length, value)| std::iter::repeat_n(value.map(i32::from), *length))
            .collect();
        // In no order, and some without a row.
        let texts: StringArray =
            (0..700).map(|number| Some(format!("{}-{number}", number * 7919 % 701))).collect();
        Arc::new(DictionaryArray::new(keys, Arc::new(texts)))
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_the_library_would_write(runs in runs(), is_nullable in any::<bool>()) {
            let runs: Vec<_> = if is_nullable {
                runs
            } else {
                runs.into_iter().map(|(length, value)| (length, value.or(Some(3)))).collect()
            };
            prop_assume!(runs.iter().any(|(_, value)| value.is_some()));
            let array = symbols(&runs);
            let (ours, library) = (file(&array, is_nullable), library_file(&array, is_nullable));
            prop_assert_eq!(texts(&ours), texts(&library));
            let (ours, library) = (metadata(&ours), metadata(&library));
            let (a, b) = (ours.row_group(0).column(0), library.row_group(0).column(0));
            prop_assert_eq!(a.statistics(), b.statistics());
            prop_assert_eq!(a.num_values(), b.num_values());
            prop_assert_eq!(a.unencoded_byte_array_data_bytes(), b.unencoded_byte_array_data_bytes());
            prop_assert_eq!(a.encodings_mask(), b.encodings_mask());
            prop_assert_eq!(a.page_encoding_stats(), b.page_encoding_stats());
            prop_assert_eq!(&ours.column_index().unwrap()[0][0].is_null_page(0), &library.column_index().unwrap()[0][0].is_null_page(0));
            let bounds = |metadata: &ParquetMetaData| match &metadata.column_index().unwrap()[0][0] {
                parquet::file::page_index::column_index::ColumnIndexMetaData::BYTE_ARRAY(index) => {
                    let pages = usize::try_from(index.num_pages()).unwrap();
                    let page = |at| (index.min_value(at).map(<[u8]>::to_vec), index.max_value(at).map(<[u8]>::to_vec), index.null_count(at));
                    ((0..pages).map(page).collect::<Vec<_>>(), metadata.column_index().unwrap()[0][0].get_boundary_order())
                }
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(bounds(&ours), bounds(&library));
            let pages = |metadata: &ParquetMetaData| {
                let index = &metadata.offset_index().unwrap()[0][0];
                let rows: Vec<i64> = index.page_locations().iter().map(|page| page.first_row_index).collect();
                (rows, index.unencoded_byte_array_data_bytes().cloned())
            };
            prop_assert_eq!(pages(&ours), pages(&library));
        }
    }

    #[test]
    fn what_needs_more_is_left_to_the_library() {
        let writer = ArrowWriter::try_new(Vec::new(), schema(true), None).unwrap();
        let (writer, _) = writer.into_serialized_writer().unwrap();
        let column = writer.schema_descr().column(0);
        let chunk = |texts: Vec<&str>, keys: Vec<Option<i32>>, form: Form| {
            let array = DictionaryArray::new(Int32Array::from(keys), Arc::new(StringArray::from(texts)));
            encode(&column, &array, form).unwrap().is_some()
        };
        let long = "x".repeat(65);
        assert!(chunk(vec!["a", &long], vec![Some(0), None], form(1 << 20)));
        assert!(!chunk(vec!["a", &long], vec![Some(1)], form(1 << 20)));
        assert!(!chunk(vec!["a"], vec![None, None], form(1 << 20)));
        assert!(!chunk(vec!["a", "b"], vec![Some(0), Some(1)], form(9)));
        assert!(chunk(vec!["a", "b"], vec![Some(0), Some(1)], form(10)));
    }
}
