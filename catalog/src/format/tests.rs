//! The bytes of every version, and what is done with damaged ones.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::*;
use crate::collection::{CalendarInterval, Collection, CollectionKind, IntervalUnit, TimeseriesOptions};
use crate::comment::ObjectRef;
use crate::ids::{CollectionId, ColumnId, Lsn, NamespaceId, PartitionId, RoleId, SchemaVersion, SegmentId};
use crate::partition::{Partition, PartitionState, TimeRange};
use crate::producer::Producer;
use crate::role::{Role, ScramVerifier};
use crate::schema::{Column, EncodedValue, Nullability, Schema};
use crate::segment::{ColumnStatistics, DeletedRows, Segment, StatisticsValue};
use crate::types::{ColumnType, NumericModifier, TimeUnit};
use crate::view::Namespace;

/// The frames of every kind of record as the first version wrote them.
const GOLDEN_V1: &str = include_str!("../../../tests/golden/catalog_v1.txt");

/// The frames of every kind of record at its present version; a change here is a change of format.
const GOLDEN_V2: &str = include_str!("../../../tests/golden/catalog_v2.txt");

fn sample_collection() -> Arc<Collection> {
    let column = |id, name: &str, column_type, nullability| Column {
        id: ColumnId(id),
        name: name.to_owned(),
        column_type,
        nullability,
        default: None,
        missing: None,
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
            series_key: vec![ColumnId(13)],
            ..TimeseriesOptions::new(
                ColumnId(1),
                CalendarInterval { count: NonZeroU32::MIN, unit: IntervalUnit::Day },
            )
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
        stage: 0,
        statistics: vec![
            statistics(1, StatisticsValue::Int(-5), StatisticsValue::Int(5)),
            statistics(2, StatisticsValue::Bool(false), StatisticsValue::Bool(true)),
            statistics(7, StatisticsValue::Float(-0.5), StatisticsValue::Float(1e300)),
            statistics(9, StatisticsValue::Bytes(b"a".to_vec()), StatisticsValue::Bytes(b"z".to_vec())),
        ],
        deleted: None,
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

/// What version 2 added to a collection.
fn sample_collection_v2() -> Arc<Collection> {
    let first = sample_collection();
    let mut schema = (*first.schema).clone();
    schema.columns[3].default = Some("40 + 2".into());
    schema.columns[4].missing = Some(EncodedValue(Arc::from([2, 0, 8, 1, 2, 3])));
    let interval = |count, unit| CalendarInterval { count: NonZeroU32::new(count).unwrap(), unit };
    let options = TimeseriesOptions {
        dedup_key: vec![ColumnId(1), ColumnId(13)],
        ttl: Some(interval(90, IntervalUnit::Day)),
        merge_after: interval(2, IntervalUnit::Week),
        symbol_limit: NonZeroU32::new(5000).unwrap(),
        ..first.timeseries().clone()
    };
    let kind = CollectionKind::Timeseries(options);
    Arc::new(Collection { schema: Arc::new(schema), kind, ..(*first).clone() })
}

/// What version 2 added to a segment.
fn sample_segment_v2() -> Arc<Segment> {
    let deleted = DeletedRows { file: SegmentId(78), row_count: 12, file_bytes: 99, crc32c: 0xC0FF_EE00 };
    Arc::new(Segment { stage: 3, deleted: Some(deleted), ..(*sample_segment()).clone() })
}

fn sample_producer() -> Producer {
    Producer { sequence: 1 << 40, lsn: Lsn(77), system_time_us: 1_700_000_000_000_000 }
}

fn sample_comment() -> Comment {
    let object = ObjectRef::Column(CollectionId(16384), ColumnId(4));
    Comment { object, text: "in °C".into() }
}

#[test]
fn bytes_of_the_present_versions_are_pinned() {
    let namespace = Namespace { id: NamespaceId(2200), name: "public".to_owned(), owner: RoleId(10) };
    let counters = Counters { next_object: 16390, next_partition: 7, next_segment: 300 };
    let written = [
        ("counters", encode(&counters)),
        ("setting", encode(&Setting("value".to_owned()))),
        ("namespace", encode(&namespace)),
        ("role", encode(&sample_role())),
        ("collection", encode(&sample_collection_v2())),
        ("partition", encode(&sample_partition())),
        ("segment", encode(&sample_segment_v2())),
        ("producer", encode(&sample_producer())),
        ("comment", encode(&sample_comment())),
    ];
    let text: String = written.iter().map(|(name, frame)| format!("{name} {}\n", hex(frame))).collect();
    assert_eq!(text, GOLDEN_V2);
}

fn frame(golden: &str, name: &str) -> Vec<u8> {
    let line = golden.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
    unhex(line.split_once(' ').unwrap().1)
}

#[test]
fn records_of_every_version_are_read_back() {
    let (v1, v2) = (|name| frame(GOLDEN_V1, name), |name| frame(GOLDEN_V2, name));
    assert_eq!(decode::<Arc<Collection>>(&v1("collection"), 1).unwrap(), sample_collection());
    assert_eq!(decode::<Arc<Segment>>(&v1("segment"), 1).unwrap(), sample_segment());
    assert_eq!(decode::<Role>(&v1("role"), 1).unwrap(), sample_role());
    assert_eq!(decode::<Partition>(&v1("partition"), 1).unwrap(), sample_partition());
    assert_eq!(decode::<Arc<Collection>>(&v2("collection"), 1).unwrap(), sample_collection_v2());
    assert_eq!(decode::<Arc<Segment>>(&v2("segment"), 1).unwrap(), sample_segment_v2());
    assert_eq!(decode::<Producer>(&v2("producer"), 1).unwrap(), sample_producer());
    assert_eq!(decode::<Comment>(&v2("comment"), 1).unwrap(), sample_comment());
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
