//! Segments: the immutable Parquet files of a partition, with what readers need to skip them.

use serde::{Deserialize, Serialize};

use crate::ids::{CollectionId, ColumnId, Lsn, PartitionId, SchemaVersion, SegmentId};

/// A value in a column's statistics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum StatisticsValue {
    /// `boolean`
    Bool(bool),
    /// Integers, dates (days) and timestamps (in the column's unit).
    Int(i64),
    /// Floating point; never NaN.
    Float(f64),
    /// UTF-8 text or bytes, in byte order.
    Bytes(Vec<u8>),
}

/// What is known of one column's values in a segment. Bounds hold for the values that are not
/// NULL; a bound is absent where the type has no order here or every value is NULL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnStatistics {
    /// The column.
    pub column: ColumnId,
    /// How many values are NULL.
    pub null_count: u64,
    /// A value not above any value in the column. Text may be cut short.
    pub min: Option<StatisticsValue>,
    /// A value not below any value in the column.
    pub max: Option<StatisticsValue>,
}

/// Rows of a segment that are not there any more: a file with their positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeletedRows {
    /// The name of the file, from the counter of segments.
    pub file: SegmentId,
    /// How many rows; fewer than the segment has.
    pub row_count: u64,
    /// The length of the file.
    pub file_bytes: u64,
    /// CRC32C of all of it.
    pub crc32c: u32,
}

/// One segment.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Its identity for ever, and the name of its file.
    pub id: SegmentId,
    /// Whose it is.
    pub collection: CollectionId,
    /// The partition whose time range holds all of its rows.
    pub partition: PartitionId,
    /// The schema it was written under.
    pub schema_version: SchemaVersion,
    /// 0 for a segment that a flush wrote; merges write higher ones.
    pub level: u8,
    /// Rows in it, at least one.
    pub row_count: u64,
    /// The length of its file.
    pub file_bytes: u64,
    /// CRC32C of the file's footer, the last `footer_bytes` of it.
    pub footer_crc32c: u32,
    /// The length of the Parquet footer with its closing length and magic.
    pub footer_bytes: u32,
    /// The earliest time key in it.
    pub time_min: i64,
    /// The latest time key in it.
    pub time_max: i64,
    /// The first commit that has a row in it.
    pub lsn_min: Lsn,
    /// The last commit that has a row in it.
    pub lsn_max: Lsn,
    /// The place among segments whose rows came by the same commit: a bulk write's later rows have a
    /// higher one.
    pub stage: u32,
    /// One entry per column that the file has.
    pub statistics: Vec<ColumnStatistics>,
    /// Rows that are not there any more.
    pub deleted: Option<DeletedRows>,
}

impl Segment {
    /// Rows that are there.
    pub fn live_row_count(&self) -> u64 {
        self.row_count - self.deleted.map_or(0, |deleted| deleted.row_count)
    }
}
