//! Segments: immutable Parquet files, one format for all kinds of collections.
//!
//! A segment is an ordinary Parquet file that any reader opens. What is ours about it:
//!
//! - columns carry the column's id as Parquet field id: readers go by it, so that a column may be
//!   renamed or dropped without touching the file; the name in the file is the one at the time;
//! - rows are sorted by series key (in the order of its text), then time, then commit;
//! - the footer's key-value metadata tells collection, schema version and commits:
//!
//! | key | value |
//! | --- | --- |
//! | `tidemark.format` | `1` |
//! | `tidemark.collection` | id |
//! | `tidemark.schema_version` | number |
//! | `tidemark.lsn` | `first-last`; of a bulk write `first-`, its end is in the catalog |
//! | `tidemark.token_filters` | where the filters of text columns are, see [`token_filter`] |
//! | `tidemark.page_crc32c` | base64 of little-endian CRC32C values: for each row group, for each column, of its dictionary page where it has one, then of its pages, each with its header |
//!
//! The catalog keeps the length of the file and the CRC32C of its footer, the footer keeps the CRCs
//! of the pages and of the filters, so every byte that is read is checked.

use std::path::{Path, PathBuf};

use tidemark_catalog::ids::{CollectionId, SegmentId};

pub(crate) mod block;
mod decode;
pub(crate) mod deleted;
mod dictionary_chunk;
pub(crate) mod file;
pub(crate) mod gather;
pub(crate) mod handle;
pub(crate) mod merge;
pub(crate) mod prune;
pub(crate) mod reader;
mod sink;
pub(crate) mod sort;
pub(crate) mod stream;
pub(crate) mod token_filter;
pub(crate) mod writer;

/// The newest version of what is ours about a segment.
pub(crate) const FORMAT: &str = "1";

pub(crate) const KEY_FORMAT: &str = "tidemark.format";
pub(crate) const KEY_COLLECTION: &str = "tidemark.collection";
pub(crate) const KEY_SCHEMA_VERSION: &str = "tidemark.schema_version";
pub(crate) const KEY_LSN: &str = "tidemark.lsn";
pub(crate) const KEY_TOKEN_FILTERS: &str = "tidemark.token_filters";
pub(crate) const KEY_PAGE_CRC32C: &str = "tidemark.page_crc32c";

/// The directory of a collection's segments.
pub(crate) fn directory(data_directory: &Path, collection: CollectionId) -> PathBuf {
    data_directory.join("segments").join(collection.to_string())
}

/// The file of a segment.
pub(crate) fn path(data_directory: &Path, collection: CollectionId, segment: SegmentId) -> PathBuf {
    directory(data_directory, collection).join(file_name(segment))
}

/// The name of a segment's file.
pub(crate) fn file_name(segment: SegmentId) -> String {
    format!("{:016}.parquet", segment.0)
}

/// The name of a file of deleted rows.
pub(crate) fn deleted_file_name(file: SegmentId) -> String {
    format!("{:016}.deleted", file.0)
}

/// Whether a file name is one that the engine gives in a directory of segments.
pub(crate) fn is_own_file_name(name: &str) -> bool {
    let is_number = |stem: &str| stem.len() >= 16 && stem.bytes().all(|byte| byte.is_ascii_digit());
    let stem = name.strip_suffix(".parquet").or_else(|| name.strip_suffix(".deleted"));
    stem.is_some_and(is_number)
}
