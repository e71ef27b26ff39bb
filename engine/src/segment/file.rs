//! Reading a segment's bytes, each checked against its CRC before it is used.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};
use tidemark_catalog::ids::ColumnId;
use tidemark_catalog::segment::Segment;

use crate::env::{File, Files, OpenMode};
use crate::error::ReadError;
use crate::metrics::Metrics;
use crate::segment::prune::PageBounds;
use crate::segment::token_filter::{self, Place};
use crate::segment::{FORMAT, KEY_FORMAT, KEY_PAGE_CRC32C, KEY_TOKEN_FILTERS};

/// A segment whose footer was read and checked.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    pub(crate) metadata: ArrowReaderMetadata,
    pub(crate) input: SegmentInput,
    columns: HashMap<ColumnId, FileColumn>,
    filters: HashMap<(ColumnId, usize), Place>,
    /// Of column chunks that were pruned by, by row group and leaf.
    page_bounds: Mutex<HashMap<(usize, usize), Arc<PageBounds>>>,
    memory_bytes: usize,
}

/// Where a column is in a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileColumn {
    /// Among the columns of the file.
    pub(crate) root: usize,
    /// Among the leaves, for a column that is one leaf.
    pub(crate) leaf: Option<usize>,
}

/// Opens the file of a segment: reads and checks its footer.
pub(crate) fn open(
    files: &dyn Files,
    path: &Path,
    collection: &str,
    segment: &Segment,
    metrics: &Arc<Metrics>,
) -> Result<OpenSegment, ReadError> {
    let (file, footer) = read_footer(files, path, collection, segment)?;
    let decode = |source| ReadError::Decode { path: path.to_owned(), source: Arc::new(source) };
    let (metadata, places) = understand_footer(&footer).map_err(decode)?;
    let (pages, filters) = places.ok_or_else(|| ReadError::Damaged {
        path: path.to_owned(),
        collection: collection.to_owned(),
        offset: footer.start,
    })?;
    let columns = file_columns(&metadata);
    // The bounds of pages are in the metadata, and once more as they are compared.
    let memory_bytes = 2 * metadata.metadata().memory_size()
        + pages.len() * size_of::<PageCheck>()
        + 2 * filters.len() * size_of::<Place>();
    let input = SegmentInput(Arc::new(Input {
        file,
        path: path.to_owned(),
        collection: collection.to_owned(),
        file_bytes: segment.file_bytes,
        pages,
        failure: OnceLock::new(),
        metrics: Arc::clone(metrics),
    }));
    Ok(OpenSegment { metadata, input, columns, filters, page_bounds: Mutex::default(), memory_bytes })
}

/// Checks that the file of a segment is there, has its length, and has its footer.
pub(crate) fn check_footer(
    files: &dyn Files,
    path: &Path,
    collection: &str,
    segment: &Segment,
) -> Result<(), ReadError> {
    read_footer(files, path, collection, segment).map(|_| ())
}

impl OpenSegment {
    /// Where a column is, if the file has it.
    pub(crate) fn column(&self, id: ColumnId) -> Option<FileColumn> {
        self.columns.get(&id).copied()
    }

    /// The bounds of the pages of a column chunk, made by `make` when they are asked for first.
    pub(crate) fn page_bounds(
        &self,
        row_group: usize,
        leaf: usize,
        make: impl FnOnce() -> Result<PageBounds, ReadError>,
    ) -> Result<Arc<PageBounds>, ReadError> {
        let lock = || self.page_bounds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bounds) = lock().get(&(row_group, leaf)) {
            return Ok(Arc::clone(bounds));
        }
        let bounds = Arc::new(make()?);
        lock().insert((row_group, leaf), Arc::clone(&bounds));
        Ok(bounds)
    }

    /// Whether there are token filters of a column of a row group.
    pub(crate) fn has_token_filters(&self, column: ColumnId, row_group: usize) -> bool {
        self.filters.contains_key(&(column, row_group))
    }

    /// Reads the token filters of a column of a row group.
    pub(crate) fn read_token_filters(
        &self,
        column: ColumnId,
        row_group: usize,
    ) -> Result<Option<Bytes>, ReadError> {
        let place = self.filters.get(&(column, row_group));
        place.map(|place| self.input.filters(place)).transpose()
    }

    /// What is said of token filters that contradict themselves or their row group.
    pub(crate) fn broken_filters(&self, column: ColumnId, row_group: usize) -> ReadError {
        let offset = self.filters.get(&(column, row_group)).map_or(0, |place| place.offset);
        self.input.damaged(offset)
    }

    /// Reads and checks every page and all token filters.
    pub(crate) fn check_all(&self) -> Result<(), ReadError> {
        self.input.check_pages()?;
        self.filters.values().try_for_each(|place| self.input.filters(place).map(|_| ()))
    }

    /// How many rows a row group has.
    pub(crate) fn row_group_rows(&self, row_group: usize) -> usize {
        let rows = self.parquet().row_group(row_group).num_rows();
        usize::try_from(rows).expect("a row group fits in memory")
    }

    /// The position of a row group's first row in the segment.
    pub(crate) fn row_group_start(&self, row_group: usize) -> usize {
        (0..row_group).map(|before| self.row_group_rows(before)).sum()
    }

    /// A failure of the decoder as an error of reading.
    pub(crate) fn decode_error(&self, source: ParquetError) -> ReadError {
        let path = || self.input.path().to_owned();
        self.input.failure().unwrap_or_else(|| ReadError::Decode { path: path(), source: Arc::new(source) })
    }

    /// What is said when a column ends before its row group does.
    pub(crate) fn too_short(&self) -> ReadError {
        self.decode_error(ParquetError::EOF("a column has fewer rows than its row group".to_owned()))
    }

    pub(crate) fn parquet(&self) -> &ParquetMetaData {
        self.metadata.metadata()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }
}

/// The end of a file, which says what is before it.
struct Footer {
    start: u64,
    bytes: Bytes,
}

fn read_footer(
    files: &dyn Files,
    path: &Path,
    collection: &str,
    segment: &Segment,
) -> Result<(Arc<dyn File>, Footer), ReadError> {
    let io = |source| ReadError::Io { path: path.to_owned(), source: Arc::new(source) };
    let damaged =
        |offset| ReadError::Damaged { path: path.to_owned(), collection: collection.to_owned(), offset };
    let file = files.open(path, OpenMode::Read).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            ReadError::Missing { path: path.to_owned(), collection: collection.to_owned() }
        }
        _ => io(error),
    })?;
    let file_bytes = file.byte_len().map_err(io)?;
    if file_bytes != segment.file_bytes {
        return Err(damaged(file_bytes.min(segment.file_bytes)));
    }
    let start = file_bytes.checked_sub(u64::from(segment.footer_bytes)).ok_or_else(|| damaged(0))?;
    let mut bytes = vec![0; usize::try_from(segment.footer_bytes).expect("usize has 32 bits")];
    file.read_exact_at(&mut bytes, start).map_err(io)?;
    if crc32c::crc32c(&bytes) != segment.footer_crc32c {
        return Err(damaged(start));
    }
    Ok((file, Footer { start, bytes: bytes.into() }))
}

fn parse_footer(footer: &Footer) -> Result<ParquetMetaData, ParquetError> {
    ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required).parse_and_finish(footer)
}

/// Where the parts of a file are that have checksums of their own: its pages, and its token filters.
type Places = (Vec<PageCheck>, HashMap<(ColumnId, usize), Place>);

/// What a footer says, and where what it speaks of is; `None` when it contradicts itself.
///
/// The libraries panic where a footer says what none of ours does: a width of integers that there is not,
/// an offset below zero. Behind a right checksum that is no accident, and still an error of this file.
fn understand_footer(footer: &Footer) -> Result<(ArrowReaderMetadata, Option<Places>), ParquetError> {
    let understood = catch_unwind(AssertUnwindSafe(|| {
        let metadata = parse_footer(footer)?;
        let places = places(&metadata);
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
        Ok((ArrowReaderMetadata::try_new(Arc::new(metadata), options)?, places))
    }));
    understood.unwrap_or_else(|_| Err(ParquetError::General("the footer makes no sense".to_owned())))
}

fn places(metadata: &ParquetMetaData) -> Option<Places> {
    let filters = match key_value(metadata, KEY_TOKEN_FILTERS) {
        Some(entry) => token_filter::decode_places(entry)?,
        None => HashMap::new(),
    };
    Some((page_checks(metadata)?, filters))
}

impl Length for Footer {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Footer {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let length = Length::len(self).saturating_sub(start);
        let length = usize::try_from(length).map_err(|error| ParquetError::External(Box::new(error)))?;
        Ok(bytes::Buf::reader(self.get_bytes(start, length)?))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let from = start.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
        let range = from.and_then(|from| Some(from..from.checked_add(length)?));
        let range = range.filter(|range| range.end <= self.bytes.len());
        let outside = || ParquetError::General(format!("{length} bytes at {start} are not in the footer"));
        Ok(self.bytes.slice(range.ok_or_else(outside)?))
    }
}

fn file_columns(metadata: &ArrowReaderMetadata) -> HashMap<ColumnId, FileColumn> {
    let parquet = metadata.parquet_schema();
    let leaves_of = |root: usize| {
        (0..parquet.num_columns()).filter(move |leaf| parquet.get_column_root_idx(*leaf) == root)
    };
    let fields = metadata.schema().fields().iter().enumerate();
    fields
        .filter_map(|(root, field)| {
            let id = field.metadata().get(PARQUET_FIELD_ID_META_KEY)?.parse().ok()?;
            // A list is one leaf too, but its statistics are those of its elements.
            let leaf = (!field.data_type().is_nested()).then(|| leaves_of(root).next()).flatten();
            Some((ColumnId(id), FileColumn { root, leaf }))
        })
        .collect()
}

/// A page, or a dictionary page, with its header.
#[derive(Clone, Copy, Debug)]
struct PageCheck {
    offset: u64,
    bytes: usize,
    crc32c: u32,
}

/// What the footer says under a key.
fn key_value<'a>(metadata: &'a ParquetMetaData, key: &str) -> Option<&'a str> {
    let key_values = metadata.file_metadata().key_value_metadata()?;
    let entry = key_values.iter().find(|entry| entry.key == key)?;
    entry.value.as_deref()
}

/// The pages of a file by rising offset; `None` when the footer contradicts itself.
fn page_checks(metadata: &ParquetMetaData) -> Option<Vec<PageCheck>> {
    if key_value(metadata, KEY_FORMAT)? != FORMAT {
        return None;
    }
    let crcs = BASE64.decode(key_value(metadata, KEY_PAGE_CRC32C)?).ok()?;
    let mut crcs = crcs.chunks_exact(4).map(|crc| u32::from_le_bytes(crc.try_into().expect("four")));
    let mut pages = Vec::with_capacity(crcs.len());
    for (row_group, offsets) in metadata.row_groups().iter().zip(metadata.offset_index()?) {
        for (column, index) in row_group.columns().iter().zip(offsets) {
            let start = column.byte_range().0;
            let first = u64::try_from(index.page_locations().first()?.offset).ok()?;
            let dictionary_bytes = usize::try_from(first.checked_sub(start)?).ok()?;
            if dictionary_bytes > 0 {
                pages.push(PageCheck { offset: start, bytes: dictionary_bytes, crc32c: crcs.next()? });
            }
            for page in index.page_locations() {
                pages.push(PageCheck {
                    offset: u64::try_from(page.offset).ok()?,
                    bytes: usize::try_from(page.compressed_page_size).ok()?,
                    crc32c: crcs.next()?,
                });
            }
        }
    }
    let rising = pages.windows(2).all(|pair| pair[0].offset < pair[1].offset);
    (rising && crcs.next().is_none()).then_some(pages)
}

/// Hands the pages of a file to the decoder.
#[derive(Clone, Debug)]
pub(crate) struct SegmentInput(Arc<Input>);

#[derive(Debug)]
struct Input {
    file: Arc<dyn File>,
    path: PathBuf,
    collection: String,
    file_bytes: u64,
    pages: Vec<PageCheck>,
    /// The first failure; the decoder's own errors carry only its text.
    failure: OnceLock<ReadError>,
    metrics: Arc<Metrics>,
}

impl SegmentInput {
    /// What went wrong in a read, if anything did.
    pub(crate) fn failure(&self) -> Option<ReadError> {
        self.0.failure.get().cloned()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    fn page(&self, offset: u64, bytes: usize) -> Result<Bytes, ReadError> {
        let input = &self.0;
        let at = input.pages.binary_search_by_key(&offset, |page| page.offset);
        let page = at.ok().map(|at| input.pages[at]).filter(|page| page.bytes == bytes);
        let page = page.ok_or_else(|| self.damaged(offset))?;
        let read = self.read_checked(offset, bytes, page.crc32c)?;
        input.metrics.pages_read.add(1);
        input.metrics.page_bytes_read.add(bytes as u64);
        Ok(read)
    }

    fn filters(&self, place: &Place) -> Result<Bytes, ReadError> {
        self.read_checked(place.offset, place.bytes as usize, place.crc32c)
    }

    fn read_checked(&self, offset: u64, bytes: usize, crc32c: u32) -> Result<Bytes, ReadError> {
        let input = &self.0;
        // Memory is taken for what can be there only.
        if offset.saturating_add(bytes as u64) > input.file_bytes {
            return Err(self.damaged(offset));
        }
        let mut buffer = vec![0; bytes];
        input
            .file
            .read_exact_at(&mut buffer, offset)
            .map_err(|source| ReadError::Io { path: input.path.clone(), source: Arc::new(source) })?;
        if crc32c::crc32c(&buffer) != crc32c {
            return Err(self.damaged(offset));
        }
        Ok(buffer.into())
    }

    /// Whether the first bytes, which no page and no CRC has, are those of every Parquet file.
    pub(crate) fn begins_as_parquet(&self) -> Result<bool, ReadError> {
        let mut bytes = [0; 4];
        let read = self.0.file.read_exact_at(&mut bytes, 0);
        read.map_err(|source| ReadError::Io { path: self.0.path.clone(), source: Arc::new(source) })?;
        Ok(bytes == *b"PAR1")
    }

    fn damaged(&self, offset: u64) -> ReadError {
        let (path, collection) = (self.0.path.clone(), self.0.collection.clone());
        ReadError::Damaged { path, collection, offset }
    }

    fn check_pages(&self) -> Result<(), ReadError> {
        self.0.pages.iter().try_for_each(|page| self.page(page.offset, page.bytes).map(|_| ()))
    }
}

impl Length for SegmentInput {
    fn len(&self) -> u64 {
        self.0.file_bytes
    }
}

impl ChunkReader for SegmentInput {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, _start: u64) -> Result<Self::T, ParquetError> {
        // With an offset index the decoder asks for whole pages; bytes that no CRC covers are not
        // handed out.
        Err(ParquetError::General("segments are read by pages only".to_owned()))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        self.page(start, length).map_err(|error| {
            let text = error.to_string();
            // The first failure is kept; a later one says the same or less.
            self.0.failure.set(error).ok();
            ParquetError::General(text)
        })
    }
}
