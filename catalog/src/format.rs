//! How records lie in the catalog's file.
//!
//! Every value is one frame; the payload is the record in postcard's encoding
//! (<https://postcard.jamesmunns.com/wire-format>), which is fixed once a version has shipped:
//!
//! ```text
//!  0        1          2                    2+n            6+n
//!  ┌────────┬──────────┬────────────────────┬──────────────┐
//!  │ kind   │ version  │ payload, n bytes   │ CRC32C, LE   │   CRC over everything before it
//!  └────────┴──────────┴────────────────────┴──────────────┘
//! ```
//!
//! The structures here are the file's, not the program's: they change only by a new version, and
//! the golden test at the end pins their bytes. A version above the newest known one is refused.

use std::num::NonZeroU32;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::collection::{Collection, CollectionKind, IntervalUnit, PartitionInterval, TimeseriesOptions};
use crate::error::RecordError;
use crate::ids::{CollectionId, ColumnId, Lsn, NamespaceId, PartitionId, RoleId, SchemaVersion, SegmentId};
use crate::partition::{Partition, PartitionState, TimeRange};
use crate::role::{Role, ScramVerifier};
use crate::schema::{Column, Nullability, Schema};
use crate::segment::{ColumnStatistics, Segment};
use crate::types::ColumnType;
use crate::view::Namespace;

const HEADER_BYTES: usize = 2;
const CRC_BYTES: usize = 4;

/// A kind of record: its tag in the frame, the table it lives in, and its layout.
pub(crate) trait Record: Sized {
    const KIND: u8;
    const VERSION: u8;
    const TABLE: &'static str;
    type Layout: Serialize + DeserializeOwned;

    fn to_layout(&self) -> Self::Layout;
    /// `None` when the layout says something impossible.
    fn from_layout(layout: Self::Layout) -> Option<Self>;
}

/// The frame of a record.
pub(crate) fn encode<R: Record>(record: &R) -> Vec<u8> {
    let frame = vec![R::KIND, R::VERSION];
    let mut frame =
        postcard::to_extend(&record.to_layout(), frame).expect("a record in memory always has an encoding");
    let crc = crc32c::crc32c(&frame);
    frame.extend_from_slice(&crc.to_le_bytes());
    frame
}

/// The record in a frame; `key` is for the error.
pub(crate) fn decode<R: Record>(frame: &[u8], key: impl ToString) -> Result<R, RecordError> {
    let damaged = || RecordError::Damaged { table: R::TABLE, key: key.to_string() };
    if frame.len() < HEADER_BYTES + CRC_BYTES {
        return Err(damaged());
    }
    let (body, crc) = frame.split_at(frame.len() - CRC_BYTES);
    if crc32c::crc32c(body).to_le_bytes() != crc || body[0] != R::KIND {
        return Err(damaged());
    }
    if body[1] > R::VERSION {
        return Err(RecordError::Newer {
            table: R::TABLE,
            key: key.to_string(),
            found: body[1],
            supported: R::VERSION,
        });
    }
    let (layout, rest) = postcard::take_from_bytes(&body[HEADER_BYTES..]).map_err(|_| damaged())?;
    if !rest.is_empty() {
        return Err(damaged());
    }
    R::from_layout(layout).ok_or_else(damaged)
}

/// The counters that ids come from: each is above every id given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    pub(crate) next_object: u32,
    pub(crate) next_partition: u64,
    pub(crate) next_segment: u64,
}

impl Record for Counters {
    const KIND: u8 = 1;
    const VERSION: u8 = 1;
    const TABLE: &'static str = "counters";
    type Layout = Counters;

    fn to_layout(&self) -> Counters {
        *self
    }

    fn from_layout(layout: Counters) -> Option<Counters> {
        Some(layout)
    }
}

/// A named value.
pub(crate) struct Setting(pub(crate) String);

impl Record for Setting {
    const KIND: u8 = 2;
    const VERSION: u8 = 1;
    const TABLE: &'static str = "settings";
    type Layout = String;

    fn to_layout(&self) -> String {
        self.0.clone()
    }

    fn from_layout(layout: String) -> Option<Setting> {
        Some(Setting(layout))
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct NamespaceV1 {
    id: u32,
    name: String,
    owner: u32,
}

impl Record for Namespace {
    const KIND: u8 = 3;
    const VERSION: u8 = 1;
    const TABLE: &'static str = "namespaces";
    type Layout = NamespaceV1;

    fn to_layout(&self) -> NamespaceV1 {
        NamespaceV1 { id: self.id.0, name: self.name.clone(), owner: self.owner.0 }
    }

    fn from_layout(layout: NamespaceV1) -> Option<Namespace> {
        let NamespaceV1 { id, name, owner } = layout;
        Some(Namespace { id: NamespaceId(id), name, owner: RoleId(owner) })
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct RoleV1 {
    id: u32,
    name: String,
    superuser: bool,
    login: bool,
    verifier: Option<ScramVerifierV1>,
}

#[derive(Serialize, Deserialize)]
struct ScramVerifierV1 {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Vec<u8>,
    server_key: Vec<u8>,
}

impl Record for Role {
    const KIND: u8 = 4;
    const VERSION: u8 = 1;
    const TABLE: &'static str = "roles";
    type Layout = RoleV1;

    fn to_layout(&self) -> RoleV1 {
        let verifier = self.verifier.as_ref().map(|verifier| ScramVerifierV1 {
            iterations: verifier.iterations,
            salt: verifier.salt.clone(),
            stored_key: verifier.stored_key.clone(),
            server_key: verifier.server_key.clone(),
        });
        RoleV1 {
            id: self.id.0,
            name: self.name.clone(),
            superuser: self.superuser,
            login: self.login,
            verifier,
        }
    }

    fn from_layout(layout: RoleV1) -> Option<Role> {
        let RoleV1 { id, name, superuser, login, verifier } = layout;
        let verifier = verifier.map(|verifier| {
            let ScramVerifierV1 { iterations, salt, stored_key, server_key } = verifier;
            ScramVerifier { iterations, salt, stored_key, server_key }
        });
        Some(Role { id: RoleId(id), name, superuser, login, verifier })
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct CollectionV1 {
    id: u32,
    namespace: u32,
    name: String,
    owner: u32,
    schema_version: u32,
    next_column_id: u32,
    columns: Vec<ColumnV1>,
    kind: CollectionKindV1,
    flushed_lsn: u64,
}

#[derive(Serialize, Deserialize)]
struct ColumnV1 {
    id: u32,
    name: String,
    column_type: ColumnType,
    nullable: bool,
}

#[derive(Serialize, Deserialize)]
enum CollectionKindV1 {
    Timeseries { time_key: u32, interval_count: u32, interval_unit: IntervalUnit, series_key: Vec<u32> },
}

impl Record for Arc<Collection> {
    const KIND: u8 = 5;
    const VERSION: u8 = 1;
    const TABLE: &'static str = "collections";
    type Layout = CollectionV1;

    fn to_layout(&self) -> CollectionV1 {
        let columns = self.schema.columns.iter().map(|column| ColumnV1 {
            id: column.id.0,
            name: column.name.clone(),
            column_type: column.column_type.clone(),
            nullable: column.nullability == Nullability::Nullable,
        });
        let CollectionKind::Timeseries(options) = &self.kind;
        CollectionV1 {
            id: self.id.0,
            namespace: self.namespace.0,
            name: self.name.clone(),
            owner: self.owner.0,
            schema_version: self.schema.version.0,
            next_column_id: self.schema.next_column_id,
            columns: columns.collect(),
            kind: CollectionKindV1::Timeseries {
                time_key: options.time_key.0,
                interval_count: options.partition_by.count.get(),
                interval_unit: options.partition_by.unit,
                series_key: options.series_key.iter().map(|id| id.0).collect(),
            },
            flushed_lsn: self.flushed_lsn.0,
        }
    }

    fn from_layout(layout: CollectionV1) -> Option<Arc<Collection>> {
        let columns = layout.columns.into_iter().map(|column| Column {
            id: ColumnId(column.id),
            name: column.name,
            column_type: column.column_type,
            nullability: if column.nullable { Nullability::Nullable } else { Nullability::Required },
        });
        let schema = Schema {
            version: SchemaVersion(layout.schema_version),
            next_column_id: layout.next_column_id,
            columns: columns.collect(),
        };
        let CollectionKindV1::Timeseries { time_key, interval_count, interval_unit, series_key } =
            layout.kind;
        let options = TimeseriesOptions {
            time_key: ColumnId(time_key),
            partition_by: PartitionInterval { count: NonZeroU32::new(interval_count)?, unit: interval_unit },
            series_key: series_key.into_iter().map(ColumnId).collect(),
        };
        Some(Arc::new(Collection {
            id: CollectionId(layout.id),
            namespace: NamespaceId(layout.namespace),
            name: layout.name,
            owner: RoleId(layout.owner),
            schema: Arc::new(schema),
            kind: CollectionKind::Timeseries(options),
            flushed_lsn: Lsn(layout.flushed_lsn),
        }))
    }
}

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
pub(crate) struct SegmentV1 {
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
    const VERSION: u8 = 1;
    const TABLE: &'static str = "segments";
    type Layout = SegmentV1;

    fn to_layout(&self) -> SegmentV1 {
        SegmentV1 {
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
        }
    }

    fn from_layout(layout: SegmentV1) -> Option<Arc<Segment>> {
        Some(Arc::new(Segment {
            id: SegmentId(layout.id),
            collection: CollectionId(layout.collection),
            partition: PartitionId(layout.partition),
            schema_version: SchemaVersion(layout.schema_version),
            level: layout.level,
            row_count: layout.row_count,
            file_bytes: layout.file_bytes,
            footer_crc32c: layout.footer_crc32c,
            footer_bytes: layout.footer_bytes,
            time_min: layout.time_min,
            time_max: layout.time_max,
            lsn_min: Lsn(layout.lsn_min),
            lsn_max: Lsn(layout.lsn_max),
            statistics: layout.statistics,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::StatisticsValue;
    use crate::types::{NumericModifier, TimeUnit};

    /// The frames of every kind of record at every version; a change here is a change of format.
    const GOLDEN: &str = include_str!("../../tests/golden/catalog_v1.txt");

    fn sample_collection() -> Arc<Collection> {
        let column = |id, name: &str, column_type, nullability| Column {
            id: ColumnId(id),
            name: name.to_owned(),
            column_type,
            nullability,
        };
        let types = [
            ColumnType::Bool,
            ColumnType::Int2,
            ColumnType::Int4,
            ColumnType::Int8,
            ColumnType::Float4,
            ColumnType::Float8,
            ColumnType::Numeric(None),
            ColumnType::Numeric(Some(NumericModifier { precision: 12, scale: 3 })),
            ColumnType::Text,
            ColumnType::Varchar(None),
            ColumnType::Varchar(Some(40)),
            ColumnType::Symbol,
            ColumnType::Bytea,
            ColumnType::Date,
            ColumnType::Timestamp(TimeUnit::Microsecond),
            ColumnType::Timestamptz(TimeUnit::Nanosecond),
            ColumnType::Interval,
            ColumnType::Uuid,
            ColumnType::Json,
            ColumnType::Jsonb,
            ColumnType::Array(Box::new(ColumnType::Array(Box::new(ColumnType::Int4)))),
        ];
        let mut columns =
            vec![column(1, "ts", ColumnType::Timestamptz(TimeUnit::Microsecond), Nullability::Required)];
        for (id, column_type) in (2..).zip(types) {
            columns.push(column(id, &format!("c{id}"), column_type, Nullability::Nullable));
        }
        Arc::new(Collection {
            id: CollectionId(16384),
            namespace: NamespaceId(2200),
            name: "cpu".to_owned(),
            owner: RoleId(10),
            schema: Arc::new(Schema { version: SchemaVersion(3), next_column_id: 99, columns }),
            kind: CollectionKind::Timeseries(TimeseriesOptions {
                time_key: ColumnId(1),
                partition_by: PartitionInterval {
                    count: NonZeroU32::new(1).unwrap(),
                    unit: IntervalUnit::Day,
                },
                series_key: vec![ColumnId(13)],
            }),
            flushed_lsn: Lsn(1 << 40),
        })
    }

    fn sample_segment() -> Arc<Segment> {
        let statistics = |column, min, max| ColumnStatistics {
            column: ColumnId(column),
            null_count: 7,
            min: Some(min),
            max: Some(max),
        };
        Arc::new(Segment {
            id: SegmentId(77),
            collection: CollectionId(16384),
            partition: PartitionId(5),
            schema_version: SchemaVersion(3),
            level: 0,
            row_count: 1_000_000,
            file_bytes: 12_345_678,
            footer_crc32c: 0xDEAD_BEEF,
            footer_bytes: 4096,
            time_min: -5,
            time_max: 1_700_000_000_000_000,
            lsn_min: Lsn(1),
            lsn_max: Lsn(9),
            statistics: vec![
                statistics(1, StatisticsValue::Int(-5), StatisticsValue::Int(5)),
                statistics(2, StatisticsValue::Bool(false), StatisticsValue::Bool(true)),
                statistics(7, StatisticsValue::Float(-0.5), StatisticsValue::Float(1e300)),
                statistics(9, StatisticsValue::Bytes(b"a".to_vec()), StatisticsValue::Bytes(b"z".to_vec())),
            ],
        })
    }

    fn sample_role() -> Role {
        Role {
            id: RoleId(10),
            name: "tidemark".to_owned(),
            superuser: true,
            login: true,
            verifier: Some(ScramVerifier {
                iterations: 4096,
                salt: vec![1, 2],
                stored_key: vec![3, 4],
                server_key: vec![5, 6],
            }),
        }
    }

    fn sample_partition() -> Partition {
        Partition {
            id: PartitionId(5),
            collection: CollectionId(16384),
            range: TimeRange { start: -86_400_000_000, end: 0 },
            state: PartitionState::Active,
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn unhex(text: &str) -> Vec<u8> {
        let pair = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(pair).collect()
    }

    #[test]
    fn bytes_of_version_1_are_pinned() {
        let namespace = Namespace { id: NamespaceId(2200), name: "public".to_owned(), owner: RoleId(10) };
        let counters = Counters { next_object: 16390, next_partition: 7, next_segment: 300 };
        let written = [
            ("counters", encode(&counters)),
            ("setting", encode(&Setting("value".to_owned()))),
            ("namespace", encode(&namespace)),
            ("role", encode(&sample_role())),
            ("collection", encode(&sample_collection())),
            ("partition", encode(&sample_partition())),
            ("segment", encode(&sample_segment())),
        ];
        let text: String = written.iter().map(|(name, frame)| format!("{name} {}\n", hex(frame))).collect();
        assert_eq!(text, GOLDEN);
    }

    #[test]
    fn records_of_version_1_are_read_back() {
        let frame = |name: &str| {
            let line = GOLDEN.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
            unhex(line.split_once(' ').unwrap().1)
        };
        assert_eq!(decode::<Arc<Collection>>(&frame("collection"), 1).unwrap(), sample_collection());
        assert_eq!(decode::<Arc<Segment>>(&frame("segment"), 1).unwrap(), sample_segment());
        assert_eq!(decode::<Role>(&frame("role"), 1).unwrap(), sample_role());
        assert_eq!(decode::<Partition>(&frame("partition"), 1).unwrap(), sample_partition());
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let frame = encode(&sample_partition());
        for at in 0..frame.len() {
            let mut damaged = frame.clone();
            damaged[at] ^= 0x40;
            assert!(matches!(decode::<Partition>(&damaged, 5), Err(RecordError::Damaged { .. })));
        }
        for len in 0..frame.len() {
            assert!(matches!(decode::<Partition>(&frame[..len], 5), Err(RecordError::Damaged { .. })));
        }
    }

    #[test]
    fn a_newer_version_is_refused() {
        let mut frame = encode(&sample_partition());
        frame[1] = Partition::VERSION + 1;
        let body = frame.len() - CRC_BYTES;
        let crc = crc32c::crc32c(&frame[..body]).to_le_bytes();
        frame[body..].copy_from_slice(&crc);
        let expected = RecordError::Newer {
            table: "partitions",
            key: "5".to_owned(),
            found: Partition::VERSION + 1,
            supported: Partition::VERSION,
        };
        assert_eq!(decode::<Partition>(&frame, 5).unwrap_err(), expected);
    }
}
