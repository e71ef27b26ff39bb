//! Writing a segment.
//!
//! 1. Row groups come in their order, from a memtable or a merge, and are encoded column by column.
//! 2. Each row group's bytes are kept until its pages' CRCs are taken; behind it go the token filters
//!    of its text columns.
//! 3. The CRCs go into the footer; the footer is written, and its own CRC is taken.
//! 4. The file is made durable under its final name (see [`crate::durable`]).
//!
//! Until step 4 is over nobody knows of the file; on an error it is removed.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, RowGroupMetaData, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::ColumnPath;
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::{ColumnId, Lsn, SegmentId};
use tidemark_catalog::schema::{Column, Nullability};
use tidemark_catalog::segment::ColumnStatistics;
use tidemark_catalog::types::ColumnType;

use crate::batch::timestamp_values;
use crate::durable::{self, PendingFile};
use crate::env::Files;
use crate::error::JobError;
use crate::segment::dictionary_chunk::{self, DictionaryChunk};
use crate::segment::sink::Sink;
use crate::segment::token_filter::{self, Place};
use crate::segment::{
    FORMAT, KEY_COLLECTION, KEY_FORMAT, KEY_LSN, KEY_PAGE_CRC32C, KEY_SCHEMA_VERSION, KEY_TOKEN_FILTERS,
};
use crate::types::read_type;

/// A column chunk with more distinct values than this holds goes on without a dictionary.
const DICTIONARY_BYTES_MAX: usize = 64 << 10;

/// The same for symbols, of which it is known that there are few.
const SYMBOL_DICTIONARY_BYTES_MAX: usize = 1 << 20;

/// Of what is short or few: a higher level gains little there.
const ZSTD_LEVEL: i32 = 1;

/// Of texts, which are long and alike.
const TEXT_ZSTD_LEVEL: i32 = 3;

/// The longest bound of a text column in statistics.
const STATISTICS_BYTES_MAX: usize = 64;

/// A segment that is to be written.
pub(crate) struct NewSegment<'a> {
    pub(crate) id: SegmentId,
    pub(crate) collection: &'a Collection,
    /// The columns of the file.
    pub(crate) columns: Vec<&'a Column>,
    /// Columns with a NaN somewhere. Parquet's bounds leave NaN out, PostgreSQL's order puts it above
    /// all: no bounds are better than bounds that a NaN does not lie in.
    pub(crate) unbounded: HashSet<ColumnId>,
    pub(crate) lsn_min: Lsn,
    /// `None` while a bulk write does not know its commit yet.
    pub(crate) lsn_max: Option<Lsn>,
}

/// The rows of a segment that is to be written, at least one, in the segment's order.
pub(crate) trait RowGroups {
    /// The columns of the next row group, in the types of [`file_type`]; `None` after the last.
    fn next(&mut self) -> Result<Option<Vec<ArrayRef>>, JobError>;
}

/// How a segment is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub(crate) page_rows: usize,
}

/// A durable file that no manifest names yet.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) id: SegmentId,
    pub(crate) row_count: u64,
    pub(crate) file_bytes: u64,
    pub(crate) footer_crc32c: u32,
    pub(crate) footer_bytes: u32,
    pub(crate) time_min: i64,
    pub(crate) time_max: i64,
    pub(crate) statistics: Vec<ColumnStatistics>,
}

/// Writes the segment and makes it durable under its name.
pub(crate) fn write(
    files: &dyn Files,
    path: &Path,
    new: &NewSegment<'_>,
    rows: &mut dyn RowGroups,
    layout: Layout,
) -> Result<Written, JobError> {
    let segment = new.id;
    let io = |source| JobError::Io { segment, source };
    let pending = durable::create(files, path).map_err(io)?;
    let written = write_file(&pending, new, rows, layout);
    let published = written.and_then(|written| {
        fail::fail_point!("flush::before_publish_file", |_| Err(JobError::Injected(
            "flush::before_publish_file"
        )));
        Ok(written)
    });
    match published {
        Ok(written) => {
            durable::publish(files, pending).map_err(io)?;
            Ok(written)
        }
        Err(error) => {
            if let Err(removal) = durable::discard(files, &pending) {
                // It has a temporary name, so the next opening removes it.
                tracing::debug!(error = %removal, "cannot remove an unfinished segment");
            }
            Err(error)
        }
    }
}

fn write_file(
    pending: &PendingFile,
    new: &NewSegment<'_>,
    rows: &mut dyn RowGroups,
    layout: Layout,
) -> Result<Written, JobError> {
    let segment = new.id;
    let encode = |error| encode_error(segment, error);
    let schema = Arc::new(file_schema(&new.columns));
    let sink = Sink::new(Arc::clone(&pending.file));
    let properties = properties(new, layout);
    let writer = ArrowWriter::try_new(sink, Arc::clone(&schema), Some(properties)).map_err(encode)?;
    let (mut writer, factory) = writer.into_serialized_writer().map_err(encode)?;
    let (mut page_crcs, mut filters) = (Vec::new(), Vec::new());
    let mut totals = Totals::new(new);
    while let Some(arrays) = rows.next()? {
        totals.add(&arrays);
        let chunks = encode_row_group(new, &writer, &factory, &schema, totals.row_groups, &arrays, layout);
        let chunks = chunks.map_err(encode)?;
        append_row_group(&mut writer, chunks, &mut page_crcs).map_err(encode)?;
        append_token_filters(&mut writer, new, &arrays, layout, totals.row_groups, &mut filters)
            .map_err(|source| JobError::Io { segment, source })?;
        totals.row_groups += 1;
    }
    for entry in key_values(new, &page_crcs, &filters) {
        writer.append_key_value_metadata(entry);
    }
    // What follows the row groups and filters is the footer: page indexes, metadata, its length and the magic.
    let footer_start = writer.bytes_written() as u64;
    let metadata = writer.finish().map_err(encode)?;
    let statistics = super::prune::file_statistics(&metadata, &new.columns)?;
    let sink = writer.inner_mut();
    let (footer_bytes, footer_crc32c) =
        sink.finish(footer_start).map_err(|source| JobError::Io { segment, source })?;
    Ok(Written {
        id: segment,
        row_count: totals.row_count,
        file_bytes: sink.position,
        footer_crc32c,
        footer_bytes,
        time_min: totals.time_min,
        time_max: totals.time_max,
        statistics,
    })
}

/// What is known of all rows when the last one is written.
struct Totals {
    /// Where the time key is among the columns.
    time_at: usize,
    row_groups: usize,
    row_count: u64,
    time_min: i64,
    time_max: i64,
}

impl Totals {
    fn new(new: &NewSegment<'_>) -> Totals {
        let time_key = new.collection.timeseries().time_key;
        let time_at = new.columns.iter().position(|column| column.id == time_key);
        let time_at = time_at.expect("every row has a time");
        Totals { time_at, row_groups: 0, row_count: 0, time_min: i64::MAX, time_max: i64::MIN }
    }

    fn add(&mut self, arrays: &[ArrayRef]) {
        let times = timestamp_values(&arrays[self.time_at]);
        self.row_count += times.len() as u64;
        self.time_min = times.iter().copied().fold(self.time_min, i64::min);
        self.time_max = times.iter().copied().fold(self.time_max, i64::max);
    }
}

fn encode_error(segment: SegmentId, error: ParquetError) -> JobError {
    // The sink's own errors come back wrapped: tell a full disk from a bug in the encoder.
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(source) => JobError::Io { segment, source: *source },
            Err(other) => JobError::Encode { segment, source: ParquetError::External(other) },
        },
        source => JobError::Encode { segment, source },
    }
}

/// The Arrow type of a column in a file.
pub(crate) fn file_type(column_type: &ColumnType) -> DataType {
    match column_type {
        // Parquet has no interval with nanoseconds.
        ColumnType::Interval => DataType::FixedSizeBinary(16),
        other => read_type(other),
    }
}

fn file_schema(columns: &[&Column]) -> ArrowSchema {
    let fields = columns.iter().map(|column| {
        let nullable = column.nullability == Nullability::Nullable;
        let metadata = [(PARQUET_FIELD_ID_META_KEY.to_owned(), column.id.to_string())];
        Field::new(&column.name, file_type(&column.column_type), nullable)
            .with_metadata(metadata.into_iter().collect())
    });
    ArrowSchema::new(fields.collect::<Vec<_>>())
}

fn properties(new: &NewSegment<'_>, layout: Layout) -> WriterProperties {
    let columns = &new.columns;
    let options = new.collection.timeseries();
    let unbounded = columns.iter().filter(|column| new.unbounded.contains(&column.id));
    let mut sorting: Vec<ColumnId> = options.series_key.clone();
    sorting.push(options.time_key);
    let position = |id: &ColumnId| columns.iter().position(|column| column.id == *id);
    let sorting = sorting.iter().filter_map(position).map(|at| SortingColumn {
        column_idx: i32::try_from(at).expect("a collection has at most 1600 columns"),
        descending: false,
        nulls_first: false,
    });
    let time = ColumnPath::from(new.collection.time_column().name.clone());
    let builder = WriterProperties::builder()
        .set_created_by(concat!("tidemark ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(zstd_level(ZSTD_LEVEL)))
        .set_max_row_group_row_count(None)
        .set_data_page_row_count_limit(layout.page_rows)
        .set_write_batch_size(layout.page_rows)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
        .set_statistics_truncate_length(Some(STATISTICS_BYTES_MAX))
        .set_column_index_truncate_length(Some(STATISTICS_BYTES_MAX))
        // Within a series times rise by a step that is nearly always the same.
        .set_column_dictionary_enabled(time.clone(), false)
        .set_column_encoding(time, Encoding::DELTA_BINARY_PACKED)
        .set_sorting_columns(Some(sorting.collect()));
    // A reader of a few rows decodes the whole dictionary first. For symbols it is worth it; numbers
    // and texts with so many distinct values are better off without one.
    let symbols = columns.iter().filter(|column| matches!(column.column_type, ColumnType::Symbol));
    let builder = symbols.fold(builder, |builder, column| {
        let path = ColumnPath::from(column.name.clone());
        builder.set_column_dictionary_page_size_limit(path, SYMBOL_DICTIONARY_BYTES_MAX)
    });
    let texts = columns.iter().filter(|column| token_filter::has_filters(&column.column_type));
    let builder = texts.fold(builder, |builder, column| {
        let compression = Compression::ZSTD(zstd_level(TEXT_ZSTD_LEVEL));
        builder.set_column_compression(ColumnPath::from(column.name.clone()), compression)
    });
    let builder = unbounded.fold(builder, |builder, column| {
        let path = ColumnPath::from(column.name.clone());
        builder.set_column_statistics_enabled(path, EnabledStatistics::None)
    });
    builder.build()
}

/// An encoded column of a row group.
enum Chunk {
    Library(ArrowColumnChunk),
    Dictionary(DictionaryChunk),
}

impl Chunk {
    fn close(&self) -> &ColumnCloseResult {
        match self {
            Chunk::Library(chunk) => chunk.close(),
            Chunk::Dictionary(chunk) => &chunk.close,
        }
    }

    fn append(self, row_group: &mut SerializedRowGroupWriter<'_, Sink>) -> Result<(), ParquetError> {
        match self {
            Chunk::Library(chunk) => chunk.append_to_row_group(row_group),
            Chunk::Dictionary(chunk) => row_group.append_column(&chunk.bytes, chunk.close),
        }
    }

    /// The lengths of its data pages with their headers.
    fn page_lengths(&self) -> Vec<usize> {
        let index = self.close().offset_index.as_ref().expect("the offset index is not switched off");
        let lengths = index.page_locations().iter().map(|page| page.compressed_page_size);
        lengths.map(|length| usize::try_from(length).expect("a page has a length")).collect()
    }
}

/// How a column is encoded by a dictionary, if it is.
fn dictionary_form(new: &NewSegment<'_>, column: &Column, layout: Layout) -> Option<dictionary_chunk::Form> {
    let is_time = column.id == new.collection.timeseries().time_key;
    if is_time || new.unbounded.contains(&column.id) {
        return None;
    }
    let is_symbol = matches!(column.column_type, ColumnType::Symbol);
    Some(dictionary_chunk::Form {
        page_rows: layout.page_rows,
        dictionary_bytes_max: if is_symbol { SYMBOL_DICTIONARY_BYTES_MAX } else { DICTIONARY_BYTES_MAX },
        bound_bytes_max: STATISTICS_BYTES_MAX,
        level: zstd_level(ZSTD_LEVEL),
    })
}

fn encode_row_group(
    new: &NewSegment<'_>,
    writer: &SerializedFileWriter<Sink>,
    factory: &ArrowRowGroupWriterFactory,
    schema: &ArrowSchema,
    index: usize,
    arrays: &[ArrayRef],
    layout: Layout,
) -> Result<Vec<Chunk>, ParquetError> {
    let mut writers = factory.create_column_writers(index)?.into_iter();
    let mut chunks = Vec::new();
    for ((field, array), column) in schema.fields().iter().zip(arrays).zip(&new.columns) {
        if let Some(form) = dictionary_form(new, column, layout) {
            let described = writer.schema_descr().column(chunks.len());
            if let Some(chunk) = dictionary_chunk::encode(&described, array, form)? {
                drop(writers.next());
                chunks.push(Chunk::Dictionary(chunk));
                continue;
            }
        }
        for leaf in compute_leaves(field, array)? {
            let mut writer = writers.next().expect("a writer for each leaf");
            writer.write(&leaf)?;
            chunks.push(Chunk::Library(writer.close()?));
        }
    }
    Ok(chunks)
}

fn append_row_group(
    writer: &mut SerializedFileWriter<Sink>,
    chunks: Vec<Chunk>,
    page_crcs: &mut Vec<u32>,
) -> Result<(), ParquetError> {
    let page_lengths: Vec<Vec<usize>> = chunks.iter().map(Chunk::page_lengths).collect();
    let mut row_group = writer.next_row_group()?;
    for chunk in chunks {
        chunk.append(&mut row_group)?;
    }
    let metadata = row_group.close()?;
    // The library gathers small writes; the CRCs are taken of what reached the sink.
    writer.flush()?;
    take_page_crcs(writer.inner_mut(), &metadata, &page_lengths, page_crcs);
    Ok(())
}

fn zstd_level(level: i32) -> ZstdLevel {
    ZstdLevel::try_new(level).expect("it is a level")
}

/// Writes the token filters of a row group that was just written.
fn append_token_filters(
    writer: &mut SerializedFileWriter<Sink>,
    new: &NewSegment<'_>,
    arrays: &[ArrayRef],
    layout: Layout,
    row_group: usize,
    places: &mut Vec<Place>,
) -> io::Result<()> {
    // A segment as they were before there were filters.
    fail::fail_point!("segment::without_token_filters", |_| Ok(()));
    for (column, array) in new.columns.iter().zip(arrays) {
        if !token_filter::has_filters(&column.column_type) {
            continue;
        }
        let bytes = token_filter::build(array, layout.page_rows);
        places.push(Place {
            column: column.id,
            row_group: u32::try_from(row_group).expect("a file has fewer row groups"),
            offset: writer.bytes_written() as u64,
            bytes: u32::try_from(bytes.len()).map_err(io::Error::other)?,
            crc32c: crc32c::crc32c(&bytes),
        });
        writer.write_all(&bytes)?;
    }
    Ok(())
}

fn take_page_crcs(
    sink: &mut Sink,
    row_group: &RowGroupMetaData,
    page_lengths: &[Vec<usize>],
    page_crcs: &mut Vec<u32>,
) {
    for (column, lengths) in row_group.columns().iter().zip(page_lengths) {
        let (start, bytes) = column.byte_range();
        let bytes = usize::try_from(bytes).expect("a column chunk fits in memory");
        let dictionary_bytes = bytes - lengths.iter().sum::<usize>();
        let mut at = start;
        if dictionary_bytes > 0 {
            page_crcs.push(sink.crc(at, dictionary_bytes));
            at += dictionary_bytes as u64;
        }
        for length in lengths {
            page_crcs.push(sink.crc(at, *length));
            at += *length as u64;
        }
    }
    sink.forget();
}

fn key_values(new: &NewSegment<'_>, page_crcs: &[u32], filters: &[Place]) -> Vec<KeyValue> {
    let crcs: Vec<u8> = page_crcs.iter().flat_map(|crc| crc.to_le_bytes()).collect();
    let lsn_max = new.lsn_max.map(|lsn| lsn.to_string()).unwrap_or_default();
    let entry = |key: &str, value: String| KeyValue::new(key.to_owned(), value);
    let mut entries = vec![
        entry(KEY_FORMAT, FORMAT.to_owned()),
        entry(KEY_COLLECTION, new.collection.id.to_string()),
        entry(KEY_SCHEMA_VERSION, new.collection.schema.version().to_string()),
        entry(KEY_LSN, format!("{}-{lsn_max}", new.lsn_min)),
        entry(KEY_PAGE_CRC32C, BASE64.encode(crcs)),
    ];
    if !filters.is_empty() {
        entries.push(entry(KEY_TOKEN_FILTERS, token_filter::encode_places(filters)));
    }
    entries
}
