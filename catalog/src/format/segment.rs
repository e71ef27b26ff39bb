//! Partitions and segments. Version 2 of segments added deleted rows, and the place among segments of
//! one commit.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::format::{Record, whole};
use crate::ids::{CollectionId, Lsn, PartitionId, SchemaVersion, SegmentId};
use crate::partition::{Partition, PartitionState, TimeRange};
use crate::segment::{ColumnStatistics, DeletedRows, Segment};

#[derive(Serialize, Deserialize)]
pub(crate) struct PartitionV1 {
    id: u64,
    collection: u32,
    range: TimeRange,
    state: PartitionState,
}

impl Record for Partition {
    const KIND: u8 = 6;
    const VERSION: u8 = 1;
    const TABLE: &'static str = "partitions";
    type Layout = PartitionV1;

    fn to_layout(&self) -> PartitionV1 {
        let Partition { id, collection, range, state } = *self;
        PartitionV1 { id: id.0, collection: collection.0, range, state }
    }

    fn from_layout(layout: PartitionV1) -> Option<Partition> {
        let PartitionV1 { id, collection, range, state } = layout;
        Some(Partition { id: PartitionId(id), collection: CollectionId(collection), range, state })
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct SegmentV2 {
    /// What version 1 had, and no more.
    first: SegmentV1,
    stage: u32,
    deleted: Option<DeletedV2>,
}

#[derive(Serialize, Deserialize)]
struct DeletedV2 {
    file: u64,
    row_count: u64,
    file_bytes: u64,
    crc32c: u32,
}

#[derive(Serialize, Deserialize)]
struct SegmentV1 {
    id: u64,
    collection: u32,
    partition: u64,
    schema_version: u32,
    level: u8,
    row_count: u64,
    file_bytes: u64,
    footer_crc32c: u32,
    footer_bytes: u32,
    time_min: i64,
    time_max: i64,
    lsn_min: u64,
    lsn_max: u64,
    statistics: Vec<ColumnStatistics>,
}

impl Record for Arc<Segment> {
    const KIND: u8 = 7;
    const VERSION: u8 = 2;
    const TABLE: &'static str = "segments";
    type Layout = SegmentV2;

    fn to_layout(&self) -> SegmentV2 {
        let first = SegmentV1 {
            id: self.id.0,
            collection: self.collection.0,
            partition: self.partition.0,
            schema_version: self.schema_version.0,
            level: self.level,
            row_count: self.row_count,
            file_bytes: self.file_bytes,
            footer_crc32c: self.footer_crc32c,
            footer_bytes: self.footer_bytes,
            time_min: self.time_min,
            time_max: self.time_max,
            lsn_min: self.lsn_min.0,
            lsn_max: self.lsn_max.0,
            statistics: self.statistics.clone(),
        };
        let deleted = self.deleted.map(|deleted| DeletedV2 {
            file: deleted.file.0,
            row_count: deleted.row_count,
            file_bytes: deleted.file_bytes,
            crc32c: deleted.crc32c,
        });
        SegmentV2 { first, stage: self.stage, deleted }
    }

    fn from_layout(layout: SegmentV2) -> Option<Arc<Segment>> {
        let SegmentV2 { first, stage, deleted } = layout;
        let deleted = deleted.map(|deleted| DeletedRows {
            file: SegmentId(deleted.file),
            row_count: deleted.row_count,
            file_bytes: deleted.file_bytes,
            crc32c: deleted.crc32c,
        });
        Some(Arc::new(Segment {
            id: SegmentId(first.id),
            collection: CollectionId(first.collection),
            partition: PartitionId(first.partition),
            schema_version: SchemaVersion(first.schema_version),
            level: first.level,
            row_count: first.row_count,
            file_bytes: first.file_bytes,
            footer_crc32c: first.footer_crc32c,
            footer_bytes: first.footer_bytes,
            time_min: first.time_min,
            time_max: first.time_max,
            lsn_min: Lsn(first.lsn_min),
            lsn_max: Lsn(first.lsn_max),
            stage,
            statistics: first.statistics,
            deleted,
        }))
    }

    fn from_older(version: u8, payload: &[u8]) -> Option<Arc<Segment>> {
        match version {
            1 => Self::from_layout(SegmentV2 { first: whole(payload)?, stage: 0, deleted: None }),
            _ => None,
        }
    }
}
