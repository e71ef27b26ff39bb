//! The rows of the views in schema `tidemark`: what there is, in the catalog and in the running server.

use std::time::Duration;

use bigdecimal::num_bigint::BigInt;
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::{CollectionId, Lsn};
use tidemark_catalog::partition::Partition;
use tidemark_catalog::producer::Producer;
use tidemark_catalog::segment::Segment;
use tidemark_catalog::types::TimeUnit;
use tidemark_catalog::view::CollectionView;

use crate::pg_catalog::names::namespace_name;
use crate::pg_catalog::plan::Row;
use crate::pg_catalog::relations::made::text;
use crate::pg_catalog::run::Run;
use crate::pgtype::PgType;
use crate::pgtype::datum::{ArrayDatum, Datum};
use crate::pgtype::interval::Interval;
use crate::pgtype::numeric::Numeric;

/// The rows of a view.
pub(super) fn rows(name: &str, run: &Run<'_>) -> Vec<Row> {
    match name {
        "partitions" => of_collections(run, partitions),
        "segments" => of_collections(run, segments),
        "memtables" => memtables(run),
        "wal" => log(run),
        "jobs" => jobs(run),
        "symbols" => symbols(run),
        "merges" => merges(run),
        "producers" => producers(run),
        _ => Vec::new(),
    }
}

fn of_collections(run: &Run<'_>, of: fn(&Run<'_>, &CollectionView) -> Vec<Row>) -> Vec<Row> {
    run.context.view.collections().flat_map(|view| of(run, view)).collect()
}

fn number(value: impl TryInto<i64>) -> Datum {
    Datum::Int8(value.try_into().unwrap_or(i64::MAX))
}

fn small_number(value: impl TryInto<i32>) -> Datum {
    Datum::Int4(value.try_into().unwrap_or(i32::MAX))
}

fn lsn(lsn: Lsn) -> Datum {
    number(lsn.0)
}

fn span(span: Duration) -> Datum {
    let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    Datum::Interval(Interval { micros, ..Interval::default() })
}

fn maybe<T>(value: Option<T>, datum: impl FnOnce(T) -> Datum) -> Datum {
    value.map_or(Datum::Null, datum)
}

/// An instant of a time key. One without a zone is taken for UTC.
fn instant(collection: &Collection, time: i64) -> Datum {
    let is_ns = collection.time_column().column_type.time_unit() == Some(TimeUnit::Nanosecond);
    Datum::Timestamptz(if is_ns { time.div_euclid(1000) } else { time })
}

/// The namespace and the name of a collection.
fn named(run: &Run<'_>, collection: &Collection) -> [Datum; 2] {
    let namespace = namespace_name(run.context, collection.namespace.0).unwrap_or_default();
    [text(namespace), text(collection.name.as_str())]
}

/// The same; NULL for one that was dropped meanwhile, and for none.
fn named_by_id(run: &Run<'_>, id: Option<CollectionId>) -> [Datum; 2] {
    match id.and_then(|id| run.context.view.collection(id)) {
        Some(view) => named(run, &view.collection),
        None => [Datum::Null, Datum::Null],
    }
}

fn row<const N: usize>(names: [Datum; 2], values: [Datum; N]) -> Row {
    names.into_iter().chain(values).collect()
}

fn partitions(run: &Run<'_>, view: &CollectionView) -> Vec<Row> {
    let collection = &view.collection;
    let partition_row = |partition: &Partition| {
        let segments: Vec<_> = view.segments.values().filter(|it| it.partition == partition.id).collect();
        let rows: u64 = segments.iter().map(|segment| segment.live_row_count()).sum();
        let bytes: u64 = segments.iter().map(|segment| segment.file_bytes).sum();
        let level = segments.iter().map(|segment| segment.level).max();
        let is_sealed = run.context.system.is_sealed(collection.id, partition.id);
        let values = [
            number(partition.id.0),
            instant(collection, partition.range.start),
            instant(collection, partition.range.end),
            text(if is_sealed { "Sealed" } else { "Active" }),
            number(rows),
            number(bytes),
            small_number(segments.len()),
            maybe(level, |level| Datum::Int4(i32::from(level))),
        ];
        row(named(run, collection), values)
    };
    view.partitions.values().map(partition_row).collect()
}

fn segments(run: &Run<'_>, view: &CollectionView) -> Vec<Row> {
    let collection = &view.collection;
    let segment_row = |segment: &Segment| {
        let values = [
            number(segment.partition.0),
            number(segment.id.0),
            instant(collection, segment.time_min),
            instant(collection, segment.time_max),
            number(segment.row_count),
            number(segment.row_count - segment.live_row_count()),
            number(segment.file_bytes),
            Datum::Int4(i32::from(segment.level)),
            lsn(segment.lsn_min),
            lsn(segment.lsn_max),
            small_number(segment.schema_version.0),
            text(run.context.system.segment_file(collection.id, segment.id)),
        ];
        row(named(run, collection), values)
    };
    view.segments.values().map(|segment| segment_row(segment)).collect()
}

fn memtables(run: &Run<'_>) -> Vec<Row> {
    let states = run.context.system.memtables().into_iter();
    // A collection that was dropped meanwhile has none.
    let known = states.filter(|it| run.context.view.collection(it.collection).is_some());
    let rows = known.map(|it| {
        let values = [
            number(it.active.0),
            number(it.active.1),
            small_number(it.frozen_count),
            number(it.frozen.0),
            number(it.frozen.1),
            maybe(it.lsn_bounds, |(first, _)| lsn(first)),
            maybe(it.lsn_bounds, |(_, last)| lsn(last)),
            maybe(it.age, span),
        ];
        row(named_by_id(run, Some(it.collection)), values)
    });
    rows.collect()
}

fn log(run: &Run<'_>) -> Vec<Row> {
    let log = run.context.system.log();
    let rows = log.files.into_iter().map(|file| {
        Row::from(vec![
            text(file.name),
            lsn(file.first),
            maybe(file.bytes, number),
            lsn(log.visible),
            lsn(log.durable),
        ])
    });
    rows.collect()
}

fn jobs(run: &Run<'_>) -> Vec<Row> {
    let rows = run.context.system.jobs().into_iter().map(|job| {
        let [namespace, collection] = named_by_id(run, job.collection);
        let state = if job.running_for.is_some() { "running" } else { "waiting" };
        Row::from(vec![
            text(job.name),
            namespace,
            collection,
            text(state),
            maybe(job.running_for, span),
            maybe(job.due_in, span),
        ])
    });
    rows.collect()
}

fn symbols(run: &Run<'_>) -> Vec<Row> {
    let rows = run.context.system.symbols().into_iter().filter_map(|it| {
        let collection = &run.context.view.collection(it.collection)?.collection;
        let column = collection.schema.column(it.column)?;
        let values = [
            text(column.name.as_str()),
            number(it.text_count),
            number(it.memory_bytes),
            number(collection.timeseries().symbol_limit.get()),
        ];
        Some(row(named(run, collection), values))
    });
    rows.collect()
}

fn merges(run: &Run<'_>) -> Vec<Row> {
    let rows = run.context.system.merges().into_iter().map(|it| {
        let inputs = it.inputs.iter().map(|segment| number(segment.0)).collect();
        let values = [
            number(it.partition.0),
            text(it.reason),
            Datum::Timestamptz(it.started_us),
            span(it.duration),
            Datum::Array(ArrayDatum::list(PgType::INT8, inputs)),
            number(it.input_bytes),
            maybe(it.output, |segment| number(segment.0)),
            number(it.output_rows),
            number(it.output_bytes),
            maybe(it.error, text),
        ];
        row(named_by_id(run, Some(it.collection)), values)
    });
    rows.collect()
}

/// A sequence may be above all `bigint`.
fn producers(run: &Run<'_>) -> Vec<Row> {
    let row = |(name, producer): (String, Producer)| {
        Row::from(vec![
            text(name),
            Datum::Numeric(Numeric::from_scaled(BigInt::from(producer.sequence), 0)),
            lsn(producer.lsn),
            Datum::Timestamptz(producer.system_time_us),
        ])
    };
    run.context.system.producers().into_iter().map(row).collect()
}
