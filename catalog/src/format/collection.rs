//! Collections. Version 2 added keys against duplicates, times to live, and values of columns that rows
//! do not have.

use std::num::NonZeroU32;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::collection::{CalendarInterval, Collection, CollectionKind, IntervalUnit, TimeseriesOptions};
use crate::format::{Record, whole};
use crate::ids::{CollectionId, ColumnId, Lsn, NamespaceId, RoleId, SchemaVersion};
use crate::schema::{Column, EncodedValue, Nullability, Schema};
use crate::types::ColumnType;

#[derive(Serialize, Deserialize)]
pub(crate) struct CollectionV2 {
    id: u32,
    namespace: u32,
    name: String,
    owner: u32,
    schema_version: u32,
    next_column_id: u32,
    columns: Vec<ColumnV2>,
    kind: CollectionKindV2,
    flushed_lsn: u64,
}

#[derive(Serialize, Deserialize)]
struct ColumnV2 {
    id: u32,
    name: String,
    column_type: ColumnType,
    nullable: bool,
    default: Option<String>,
    missing: Option<Vec<u8>>,
}

#[derive(Serialize, Deserialize)]
enum CollectionKindV2 {
    Timeseries(TimeseriesV2),
}

#[derive(Serialize, Deserialize)]
struct TimeseriesV2 {
    time_key: u32,
    partition_by: IntervalV2,
    series_key: Vec<u32>,
    dedup_key: Vec<u32>,
    ttl: Option<IntervalV2>,
    merge_after: IntervalV2,
    symbol_limit: u32,
}

#[derive(Serialize, Deserialize)]
struct IntervalV2 {
    count: u32,
    unit: IntervalUnit,
}

impl IntervalV2 {
    fn of(interval: CalendarInterval) -> IntervalV2 {
        IntervalV2 { count: interval.count.get(), unit: interval.unit }
    }

    fn interval(self) -> Option<CalendarInterval> {
        Some(CalendarInterval { count: NonZeroU32::new(self.count)?, unit: self.unit })
    }
}

fn numbers(ids: &[ColumnId]) -> Vec<u32> {
    ids.iter().map(|id| id.0).collect()
}

fn ids(numbers: Vec<u32>) -> Vec<ColumnId> {
    numbers.into_iter().map(ColumnId).collect()
}

impl Record for Arc<Collection> {
    const KIND: u8 = 5;
    const VERSION: u8 = 2;
    const TABLE: &'static str = "collections";
    type Layout = CollectionV2;

    fn to_layout(&self) -> CollectionV2 {
        let columns = self.schema.columns.iter().map(|column| ColumnV2 {
            id: column.id.0,
            name: column.name.clone(),
            column_type: column.column_type.clone(),
            nullable: column.nullability == Nullability::Nullable,
            default: column.default.as_deref().map(str::to_owned),
            missing: column.missing.as_ref().map(|missing| missing.0.to_vec()),
        });
        let CollectionKind::Timeseries(options) = &self.kind;
        let kind = TimeseriesV2 {
            time_key: options.time_key.0,
            partition_by: IntervalV2::of(options.partition_by),
            series_key: numbers(&options.series_key),
            dedup_key: numbers(&options.dedup_key),
            ttl: options.ttl.map(IntervalV2::of),
            merge_after: IntervalV2::of(options.merge_after),
            symbol_limit: options.symbol_limit.get(),
        };
        CollectionV2 {
            id: self.id.0,
            namespace: self.namespace.0,
            name: self.name.clone(),
            owner: self.owner.0,
            schema_version: self.schema.version.0,
            next_column_id: self.schema.next_column_id,
            columns: columns.collect(),
            kind: CollectionKindV2::Timeseries(kind),
            flushed_lsn: self.flushed_lsn.0,
        }
    }

    fn from_layout(layout: CollectionV2) -> Option<Arc<Collection>> {
        let columns = layout.columns.into_iter().map(|column| Column {
            id: ColumnId(column.id),
            name: column.name,
            column_type: column.column_type,
            nullability: if column.nullable { Nullability::Nullable } else { Nullability::Required },
            default: column.default.map(Into::into),
            missing: column.missing.map(|missing| EncodedValue(missing.into())),
        });
        let schema = Schema {
            version: SchemaVersion(layout.schema_version),
            next_column_id: layout.next_column_id,
            columns: columns.collect(),
        };
        let CollectionKindV2::Timeseries(kind) = layout.kind;
        let ttl = match kind.ttl {
            Some(ttl) => Some(ttl.interval()?),
            None => None,
        };
        let options = TimeseriesOptions {
            time_key: ColumnId(kind.time_key),
            partition_by: kind.partition_by.interval()?,
            series_key: ids(kind.series_key),
            dedup_key: ids(kind.dedup_key),
            ttl,
            merge_after: kind.merge_after.interval()?,
            symbol_limit: NonZeroU32::new(kind.symbol_limit)?,
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

    fn from_older(version: u8, payload: &[u8]) -> Option<Arc<Collection>> {
        match version {
            1 => Self::from_layout(whole::<CollectionV1>(payload)?.upgraded()?),
            _ => None,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct CollectionV1 {
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

impl CollectionV1 {
    fn upgraded(self) -> Option<CollectionV2> {
        let columns = self.columns.into_iter().map(|column| ColumnV2 {
            id: column.id,
            name: column.name,
            column_type: column.column_type,
            nullable: column.nullable,
            default: None,
            missing: None,
        });
        let CollectionKindV1::Timeseries { time_key, interval_count, interval_unit, series_key } = self.kind;
        let partition_by = IntervalV2 { count: interval_count, unit: interval_unit };
        let defaults = TimeseriesOptions::new(ColumnId(time_key), partition_by.interval()?);
        Some(CollectionV2 {
            id: self.id,
            namespace: self.namespace,
            name: self.name,
            owner: self.owner,
            schema_version: self.schema_version,
            next_column_id: self.next_column_id,
            columns: columns.collect(),
            kind: CollectionKindV2::Timeseries(TimeseriesV2 {
                time_key,
                partition_by: IntervalV2::of(defaults.partition_by),
                series_key,
                dedup_key: Vec::new(),
                ttl: None,
                merge_after: IntervalV2::of(defaults.merge_after),
                symbol_limit: defaults.symbol_limit.get(),
            }),
            flushed_lsn: self.flushed_lsn,
        })
    }
}
