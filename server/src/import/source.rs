//! Files as batches of records.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use tidemark_catalog::types::ColumnType;

use crate::config::command::{FileFormat, ImportArguments};
use crate::import::error::ImportError;
use crate::import::sniff;
use crate::import::source::parquet::ParquetRows;
use crate::import::source::records::{Kind, Records};

mod parquet;
pub(super) mod records;

/// A batch ends with the record that makes it this large.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// Records of one commit, as they are sent.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) data: Bytes,
    /// Records in it, at least one.
    pub(super) row_count: u64,
    /// Records of the file up to its end.
    pub(super) end: u64,
    pub(super) place: Place,
    /// How far in the file it ends, as [`Source::total`] counts.
    pub(super) position: u64,
}

/// Where a batch begins. Numbers are from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At a line of the file.
    Lines { first: u64 },
    /// At a row of the file, which has no lines.
    Rows { first: u64 },
}

/// What became of a file's records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loaded {
    pub(super) sent: u64,
    pub(super) skipped: u64,
}

/// A column of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileColumn {
    pub(super) name: String,
    /// The type that a table would have for it.
    pub(super) column_type: ColumnType,
}

/// An open file.
pub(super) enum Source {
    Records(Records),
    Parquet(ParquetRows),
}

impl Source {
    /// Opens a file at its first record.
    pub(super) fn open(
        path: &Path,
        format: FileFormat,
        arguments: &ImportArguments,
    ) -> Result<Source, ImportError> {
        let batch_rows = u64::from(arguments.batch_rows);
        let delimiter = u8::try_from(arguments.delimiter).unwrap_or(b',');
        Ok(match format {
            FileFormat::Csv => Source::Records(Records::open(path, Kind::Csv { delimiter }, batch_rows)?),
            FileFormat::Line => Source::Records(Records::open(path, Kind::Lines, batch_rows)?),
            FileFormat::Parquet => Source::Parquet(ParquetRows::open(path, batch_rows)?),
        })
    }

    /// The names of the columns, where records have columns.
    pub(super) fn column_names(&self) -> Option<Vec<String>> {
        match self {
            Source::Records(records) => records.column_names().map(<[String]>::to_vec),
            Source::Parquet(rows) => Some(rows.columns().iter().map(|column| column.name.clone()).collect()),
        }
    }

    /// The length of the file in bytes or, where these say nothing, in rows.
    pub(super) fn total(&self) -> u64 {
        match self {
            Source::Records(records) => records.total(),
            Source::Parquet(rows) => rows.total(),
        }
    }

    /// Passes over so many records; how many there were.
    pub(super) fn skip(&mut self, count: u64) -> Result<u64, ImportError> {
        match self {
            Source::Records(records) => records.skip(count),
            Source::Parquet(rows) => rows.skip(count),
        }
    }

    /// The next records; `None` after the last.
    pub(super) fn next_batch(&mut self) -> Result<Option<Batch>, ImportError> {
        match self {
            Source::Records(records) => records.next_batch(),
            Source::Parquet(rows) => rows.next_batch(),
        }
    }
}

/// The form that a file's name says.
pub(super) fn format_of_name(path: &Path) -> Option<FileFormat> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let stem = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
    let (_, suffix) = stem.rsplit_once('.')?;
    Some(match suffix {
        "csv" => FileFormat::Csv,
        "parquet" => FileFormat::Parquet,
        "lp" | "line" | "influx" => FileFormat::Line,
        _ => return None,
    })
}

/// The columns of a file with the types that a table would have for them.
pub(super) fn columns(
    path: &Path,
    format: FileFormat,
    arguments: &ImportArguments,
) -> Result<Vec<FileColumn>, ImportError> {
    match Source::open(path, format, arguments)? {
        Source::Parquet(rows) => Ok(rows.columns().to_vec()),
        Source::Records(records) => sniff::columns(records),
    }
}

fn file_error(path: &Path) -> impl Fn(std::io::Error) -> ImportError {
    let path: PathBuf = path.to_owned();
    move |source| ImportError::File { path: path.clone(), source }
}
