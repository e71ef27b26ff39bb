//! What can go wrong in the engine.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use thiserror::Error;
use tidemark_catalog::error::{EditError, OpenError as CatalogOpenError, SchemaError};
use tidemark_catalog::ids::{CollectionId, ColumnId, SegmentId};

/// Bytes in the log that are not what the format says.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WalFormatError {
    /// The file starts with something else.
    #[error("not a log file")]
    NotALogFile,
    /// The header's checksum is wrong.
    #[error("damaged header")]
    DamagedHeader,
    /// A newer server wrote it.
    #[error("version {found}, this server reads up to {supported}")]
    NewerVersion {
        /// The version that was found.
        found: u32,
        /// The newest version known here.
        supported: u32,
    },
    /// A record with a right checksum makes no sense.
    #[error("a record cannot be understood")]
    BadRecord,
}

/// Why the log could not be read back. Nothing on disk was changed.
#[derive(Debug, Error)]
pub enum WalOpenError {
    /// The file system failed.
    #[error("cannot read {}", path.display())]
    Io {
        /// What was read.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Bytes are wrong below a position that was once durable.
    #[error("the write-ahead log is damaged: {} at offset {offset}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
    },
    /// The file has a form that this server does not know.
    #[error("cannot understand {} at offset {offset}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// Why.
        source: WalFormatError,
    },
    /// A record with a right checksum cannot be put back.
    #[error("the write-ahead log has a record that cannot be put back")]
    Record(#[source] WalFormatError),
    /// A file of the log is gone.
    #[error("the write-ahead log has lost {}", path.display())]
    MissingFile {
        /// The file.
        path: PathBuf,
    },
    /// The file belongs to another data directory.
    #[error("{} belongs to another data directory", path.display())]
    ForeignLog {
        /// The file.
        path: PathBuf,
    },
}

/// Why a record was not committed.
#[derive(Clone, Debug, Error)]
pub enum WalError {
    /// No room for the log's next file; nothing was appended, and a later try may succeed.
    #[error("no room for the write-ahead log: {0}")]
    NoRoom(Arc<io::Error>),
    /// The record is larger than the log takes.
    #[error("a write of {bytes} bytes exceeds the limit of {bytes_max} bytes")]
    RecordTooLarge {
        /// Its size.
        bytes: usize,
        /// The largest size.
        bytes_max: usize,
    },
    /// The engine is shutting down.
    #[error("the write-ahead log is closed")]
    Closed,
    /// A write or sync failed just now; whether this record is durable is not known.
    #[error("cannot write the write-ahead log: {0}")]
    Failed(Arc<io::Error>),
    /// A write or sync failed earlier.
    #[error("the write-ahead log failed earlier")]
    Poisoned,
}

/// Why the engine could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The file system failed.
    #[error("cannot open {}", path.display())]
    Io {
        /// What was opened.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("the data directory {} is in use by another server", path.display())]
    InUse {
        /// The data directory.
        path: PathBuf,
    },
    /// A newer server made it.
    #[error("the data directory has format {found}, this server knows up to {supported}")]
    NewerFormat {
        /// The format that was found.
        found: u32,
        /// The newest format known here.
        supported: u32,
    },
    /// There are files, but none of ours.
    #[error("{} is not empty and not a Tidemark data directory", path.display())]
    NotADataDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// The catalog could not be opened.
    #[error("cannot open the catalog")]
    Catalog(#[from] CatalogOpenError),
    /// The catalog could not be changed.
    #[error("cannot change the catalog")]
    Edit(#[from] EditError),
    /// The value of a column in older rows.
    #[error(transparent)]
    Missing(#[from] MissingValueError),
    /// The log could not be read back.
    #[error(transparent)]
    Wal(#[from] WalOpenError),
    /// Rows from the log could not be put back.
    #[error("cannot replay the write-ahead log")]
    Replay(#[source] Box<WriteError>),
    /// Rows from the log could not be flushed while they were put back.
    #[error("cannot flush during replay")]
    Flush(#[source] Box<JobError>),
    /// No thread could be started.
    #[error("cannot start a thread")]
    Spawn(#[source] io::Error),
}

/// Why the value that a column has in older rows cannot be had.
#[derive(Debug, Error)]
pub enum MissingValueError {
    /// The catalog has something else.
    #[error("the value of column \"{column}\" in older rows cannot be understood")]
    NotUnderstood {
        /// The column.
        column: String,
        /// Why.
        source: WalFormatError,
    },
    /// The dictionary of a symbol column did not take its text.
    #[error(transparent)]
    Symbols(WriteError),
}

/// Why collections were not changed. Nothing was.
#[derive(Debug, Error)]
pub enum DdlError {
    /// The columns contradict each other.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The catalog did not take it.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// A column is part of a key, which a collection cannot be without.
    #[error("column \"{0}\" is part of a key")]
    KeyColumn(String),
    /// NULL in a column that is not to have any.
    #[error("column \"{column}\" of relation \"{relation}\" contains null values")]
    ContainsNull {
        /// The collection.
        relation: String,
        /// The column.
        column: String,
    },
    /// The value of a column in older rows.
    #[error(transparent)]
    Missing(#[from] MissingValueError),
    /// Rows that were to be looked at cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log failed while commits under way were waited for.
    #[error("cannot wait for commits that are under way")]
    Wait(#[source] JobError),
}

/// Why rows were not written. Unless a variant says otherwise, nothing of the write was applied.
#[derive(Clone, Debug, Error)]
pub enum WriteError {
    /// There are no rows.
    #[error("a batch without rows")]
    EmptyBatch,
    /// A column came twice.
    #[error("column {0} is given twice")]
    ColumnGivenTwice(ColumnId),
    /// The collection has no such column, or not any more.
    #[error("column {0} does not exist")]
    NoSuchColumn(ColumnId),
    /// An array of another type or length than its column needs.
    #[error("column \"{column}\" needs {expected}, got {found}")]
    WrongArray {
        /// The column.
        column: String,
        /// The type it needs.
        expected: DataType,
        /// The type that came.
        found: DataType,
    },
    /// NULL where none may be.
    #[error("null value in column \"{column}\" of relation \"{relation}\" violates not-null constraint")]
    NullInRequiredColumn {
        /// The collection.
        relation: String,
        /// The column.
        column: String,
    },
    /// `infinity` or `-infinity` in a time key.
    #[error("time key \"{0}\" cannot be infinite")]
    InfiniteTime(String),
    /// The collection is gone, or never was.
    #[error("collection {0} does not exist")]
    NoSuchCollection(CollectionId),
    /// A symbol dictionary cannot grow any more.
    #[error("a symbol dictionary is full")]
    SymbolDictionaryFull,
    /// A symbol column has too many texts: the write is to be tried again after
    /// [`limit_symbols`](crate::engine::Engine::limit_symbols).
    #[error("a symbol column of collection {0} has more texts than symbol_limit")]
    SymbolLimit(CollectionId),
    /// A symbol column has too many texts, and could not become a column of text.
    #[error("cannot go on with a symbol column as text")]
    SymbolsAsTexts(#[source] Arc<DdlError>),
    /// Memtables are full and flushing did not make room in time; try again later.
    #[error("memtables hold {used_bytes} of {bytes_max} bytes")]
    OverBudget {
        /// What memtables hold.
        used_bytes: usize,
        /// What they may hold.
        bytes_max: usize,
        /// Flushing fails because the disk is full.
        disk_full: bool,
    },
    /// Others wrote what the rows depend on, after it was looked at; look again.
    #[error("collection {0} was changed meanwhile")]
    Changed(CollectionId),
    /// The keys of rows cannot be compared.
    #[error(transparent)]
    Keys(Arc<ArrowError>),
    /// The log did not take it. After [`WalError::Failed`] it is not known whether it is durable.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// A segment of a bulk write could not be written.
    #[error("cannot write a segment of a bulk write")]
    Segment(#[from] Arc<JobError>),
}

/// Why a segment could not be read.
#[derive(Clone, Debug, Error)]
pub enum ReadError {
    /// The file system failed.
    #[error("cannot read segment file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// The bytes are not what was written.
    #[error("segment file {} of collection \"{collection}\" is damaged at offset {offset}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The collection's name.
        collection: String,
        /// Where in the file.
        offset: u64,
    },
    /// A file of the manifest is gone.
    #[error("segment file {} of collection \"{collection}\" is missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The collection's name.
        collection: String,
    },
    /// The file decodes to something else than the catalog says.
    #[error("segment file {} cannot be decoded: {source}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Arc<parquet::errors::ParquetError>,
    },
    /// The collection is gone, or never was.
    #[error("collection {0} does not exist")]
    NoSuchCollection(CollectionId),
    /// The column is gone, or never was.
    #[error("column {0} does not exist")]
    NoSuchColumn(ColumnId),
    /// Arrow refused a computation.
    #[error("cannot compute on columns: {0}")]
    Arrow(Arc<arrow::error::ArrowError>),
}

impl From<arrow::error::ArrowError> for ReadError {
    fn from(error: arrow::error::ArrowError) -> ReadError {
        ReadError::Arrow(Arc::new(error))
    }
}

/// Why a background job did not finish. What it was to replace is still in place.
#[derive(Debug, Error)]
pub enum JobError {
    /// The file system failed.
    #[error("cannot write segment {segment}: {source}")]
    Io {
        /// The segment that was being written.
        segment: SegmentId,
        /// Why.
        source: io::Error,
    },
    /// Rows could not be encoded.
    #[error("cannot encode segment {segment}: {source}")]
    Encode {
        /// The segment that was being written.
        segment: SegmentId,
        /// Why.
        source: parquet::errors::ParquetError,
    },
    /// Arrow refused a computation.
    #[error("cannot compute on columns: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// The catalog did not take the result.
    #[error("cannot publish: {0}")]
    Publish(#[from] EditError),
    /// The collection was dropped meanwhile.
    #[error("collection {0} was dropped")]
    Dropped(CollectionId),
    /// The engine is shutting down.
    #[error("the engine is shutting down")]
    ShutDown,
    /// What the job works on changed, so that its outcome would be wrong.
    #[error("the job was overtaken by another change")]
    Cancelled,
    /// What it works on cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A failpoint said so.
    #[error("injected failure at {0}")]
    Injected(&'static str),
}

impl JobError {
    /// The I/O error at the root, where there is one.
    pub fn io_error(&self) -> Option<&io::Error> {
        match self {
            JobError::Io { source, .. } => Some(source),
            JobError::Publish(error) => error.io_error(),
            _ => None,
        }
    }
}
