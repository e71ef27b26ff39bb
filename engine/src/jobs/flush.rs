//! Flush: a frozen memtable becomes segments.
//!
//! 1. Take the oldest frozen memtable; memtables are published in order, so that `flushed_lsn`
//!    tells exactly what is in segments.
//! 2. Divide its rows by partition and write a segment for each: durable files that no manifest
//!    names.
//! 3. Make sure that the log is durable up to the memtable's last commit: rows must not become
//!    durable ahead of the commits they are part of.
//! 4. One catalog edit adds partitions and segments *and* moves `flushed_lsn`. In a collection with a
//!    `dedup_key` it also deletes the rows of older segments whose keys come again.
//! 5. Swap the frozen memtable for the segments, under the collection's lock.
//!
//! A failure before 4 leaves memtable and log as they are; files already written are removed, and
//! the flush is tried again under new ids. After 4 nothing can fail. Crash before 4: the files are
//! orphans and the rows are in the log. Crash after 4: the rows are in segments, and replay skips
//! them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidemark_catalog::collection::Collection;
use tidemark_catalog::edit::Change;
use tidemark_catalog::error::EditError;
use tidemark_catalog::ids::{CollectionId, Lsn, PartitionId};
use tidemark_catalog::partition::{Partition, PartitionState, TimeRange};
use tidemark_catalog::segment::Segment;
use tidemark_catalog::view::CollectionView;

use crate::batch::timestamp_values;
use crate::collection::{CollectionRuntime, Form, Frozen};
use crate::dedup::index::LayerIndex;
use crate::dedup::keys::KeyEncoder;
use crate::dedup::resolve::{KeyReader, Layer, resolve_layers};
use crate::dedup::shadow::shadowed;
use crate::engine::Inner;
use crate::error::JobError;
use crate::jobs::Job;
use crate::manifest::{Joins, ManifestEdit};
use crate::memtable::{Chunk, Memtable};
use crate::segment::deleted::Positions;
use crate::segment::gather::{ChunkRowGroups, columns_with_nan, present_columns};
use crate::segment::handle::SegmentHandle;
use crate::segment::sort::{RowRef, sorted_rows};
use crate::segment::writer::{NewSegment, Written};
use crate::timeseries::partition::partition_range;

const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// Flushes the frozen memtables of a collection, oldest first; on failure tries again later.
pub(crate) fn run(engine: &Inner, id: CollectionId) {
    let Some(runtime) = engine.runtime(id) else { return };
    if !runtime.try_begin_flush() {
        return;
    }
    let outcome = flush_all(engine, &runtime);
    let more = runtime.end_flush();
    match outcome {
        Ok(()) => {
            engine.flush_succeeded();
            // A memtable that was frozen after the last look found this job still running.
            if more {
                engine.executor.submit(Job::Flush(id), Duration::ZERO);
            }
            engine.executor.submit(Job::TruncateLog, Duration::ZERO);
            engine.executor.submit(Job::Merge, Duration::ZERO);
        }
        Err(JobError::ShutDown | JobError::Dropped(_)) => {}
        Err(error) => {
            let delay = engine.flush_failed(&error);
            tracing::warn!(collection = %id, %error, ?delay, "cannot flush; the rows stay in memory and in the log");
            engine.executor.submit(Job::Flush(id), delay);
        }
    }
}

/// How long to wait after so many failures in a row.
pub(crate) fn retry_delay(failures: u32) -> Duration {
    RETRY_FIRST.saturating_mul(1 << failures.min(16)).min(RETRY_MAX)
}

/// Flushes until nothing is frozen.
pub(crate) fn flush_all(engine: &Inner, runtime: &CollectionRuntime) -> Result<(), JobError> {
    loop {
        let frozen = {
            let state = runtime.lock();
            if state.dropped {
                return Err(JobError::Dropped(runtime.id));
            }
            let Some(frozen) = state.frozen.front() else { return Ok(()) };
            Arc::clone(frozen)
        };
        // Who has the right to flush keeps symbols from becoming texts: both are of one form.
        flush_one(engine, runtime, &engine.form(runtime), &frozen)?;
    }
}

fn flush_one(
    engine: &Inner,
    runtime: &CollectionRuntime,
    form: &Form,
    frozen: &Arc<Frozen>,
) -> Result<(), JobError> {
    fail::fail_point!("flush::start", |_| Err(JobError::Injected("flush::start")));
    let lsn_max = Some(frozen.lsn_max);
    let written = write_rows(engine, form, &frozen.memtable, lsn_max)?;
    fail::fail_point!("flush::files_written");
    engine.make_log_durable(frozen.lsn_max)?;
    match publish(engine, runtime, frozen, &written) {
        Ok(()) => Ok(()),
        // Whether the edit is durable is not known: the next opening finds out.
        Err(error @ JobError::Publish(EditError::Storage(_) | EditError::Poisoned)) => Err(error),
        Err(error) => {
            for segment in written {
                engine.discard_segment_file(runtime.id, segment.written.id);
            }
            Err(error)
        }
    }
}

/// A durable file with the partition that its rows belong to.
#[derive(Debug)]
pub(crate) struct WrittenSegment {
    pub(crate) written: Written,
    pub(crate) range: TimeRange,
    pub(crate) lsn_min: Lsn,
}

/// Writes the rows of a memtable, a segment per partition; on an error none is left.
pub(crate) fn write_rows(
    engine: &Inner,
    form: &Form,
    memtable: &Memtable,
    lsn_max: Option<Lsn>,
) -> Result<Vec<WrittenSegment>, JobError> {
    let collection = &form.collection;
    let mut written = Vec::new();
    let outcome =
        rows_by_partition(collection, memtable.chunks()).into_values().try_for_each(|(range, rows)| {
            let segment = write_segment(engine, form, memtable, rows, lsn_max)?;
            let lsn_min = memtable.lsn_bounds().expect("rows have commits").0;
            written.push(WrittenSegment { written: segment, range, lsn_min });
            Ok(())
        });
    if let Err(error) = outcome {
        for segment in written {
            engine.discard_segment_file(collection.id, segment.written.id);
        }
        return Err(error);
    }
    Ok(written)
}

/// The rows of each partition, by the start of its range.
fn rows_by_partition(
    collection: &Collection,
    chunks: &[Arc<Chunk>],
) -> BTreeMap<i64, (TimeRange, Vec<RowRef>)> {
    let options = collection.timeseries();
    let unit = collection.time_column().column_type.time_unit().expect("an invariant of the catalog");
    let range_of = |time| partition_range(options.partition_by, unit, time);
    let mut partitions: BTreeMap<i64, (TimeRange, Vec<RowRef>)> = BTreeMap::new();
    for (at, chunk) in (0_u32..).zip(chunks) {
        let row_ref = |row: usize| RowRef { chunk: at, row: u32::try_from(row).expect("chunks are smaller") };
        let (time_min, time_max) = chunk.time_bounds();
        let mut range = range_of(time_min);
        if range.contains(time_max) {
            let rows = &mut partitions.entry(range.start).or_insert((range, Vec::new())).1;
            rows.extend((0..chunk.row_count()).map(row_ref));
            continue;
        }
        let times = timestamp_values(chunk.column(options.time_key).expect("a time in every row"));
        for (row, time) in times.iter().enumerate() {
            if !range.contains(*time) {
                range = range_of(*time);
            }
            partitions.entry(range.start).or_insert((range, Vec::new())).1.push(row_ref(row));
        }
    }
    partitions
}

fn write_segment(
    engine: &Inner,
    form: &Form,
    memtable: &Memtable,
    rows: Vec<RowRef>,
    lsn_max: Option<Lsn>,
) -> Result<Written, JobError> {
    let Form { collection, symbols, missing } = form.clone();
    let collection = &collection;
    let chunks = memtable.chunks();
    let rows = sorted_rows(collection, chunks, rows, |id| symbols.get(id).cloned())?;
    let columns = present_columns(collection, chunks, &symbols);
    let new = NewSegment {
        id: engine.allocate_segment()?,
        collection,
        unbounded: columns_with_nan(&columns, chunks, &missing),
        columns: columns.clone(),
        lsn_min: memtable.lsn_bounds().expect("rows have commits").0,
        lsn_max,
    };
    let go_on = || if engine.executor.is_stopping() { Err(JobError::ShutDown) } else { Ok(()) };
    let groups = rows.chunks(engine.options.segment_row_group_rows);
    let mut groups = ChunkRowGroups { chunks, columns, symbols, missing, groups, go_on: &go_on };
    let written = engine.write_segment_file(&new, &mut groups)?;
    assert_eq!(written.row_count, rows.len() as u64, "every row is written, or the last one of its key");
    engine.metrics.flush_rows.add(written.row_count);
    engine.metrics.flush_bytes.add(written.file_bytes);
    Ok(written)
}

/// Steps 4 and 5.
fn publish(
    engine: &Inner,
    runtime: &CollectionRuntime,
    frozen: &Arc<Frozen>,
    written: &[WrittenSegment],
) -> Result<(), JobError> {
    let id = runtime.id;
    let _publishing = runtime.begin_publishing();
    let view = engine.catalog.view();
    let known = view.collection(id).ok_or(JobError::Dropped(id))?;
    let mut edit = ManifestEdit::new(engine, runtime, Arc::clone(&known.collection));
    let unneeded = match fill(engine, runtime, frozen, written, known, &mut edit) {
        Ok(unneeded) => unneeded,
        Err(error) => {
            edit.discard();
            return Err(error);
        }
    };
    fail::fail_point!("flush::before_publish", |_| {
        edit.discard();
        Err(JobError::Injected("flush::before_publish"))
    });
    let published = edit.commit()?;
    fail::fail_point!("flush::after_publish");
    published.show(|state| {
        let first = state.frozen.pop_front();
        assert!(first.is_some_and(|first| Arc::ptr_eq(&first, frozen)), "one flush at a time, in order");
        state.flushed_lsn = frozen.lsn_max;
    });
    unneeded.iter().for_each(|handle| handle.retire());
    engine.metrics.flushes.add(1);
    Ok(())
}

/// What is to be published: the segments with their partitions, what they replace of older ones, and
/// `flushed_lsn`. Gives the staged segments of which no row is left.
fn fill(
    engine: &Inner,
    runtime: &CollectionRuntime,
    frozen: &Frozen,
    written: &[WrittenSegment],
    known: &CollectionView,
    edit: &mut ManifestEdit<'_>,
) -> Result<Vec<Arc<SegmentHandle>>, JobError> {
    let collection = &known.collection;
    let mut partitions = Partitions { engine, known: known.partitions.values().cloned().collect() };
    let replaced = replaced(engine, runtime, frozen, collection)?;
    for (handle, positions) in &replaced.older {
        edit.delete_rows(handle, positions)?;
    }
    let mut unneeded = Vec::new();
    for (stage, staged) in (0..).zip(&frozen.staged) {
        let lsn = frozen.lsn_max;
        let range = engine.partition_range(collection, staged.segment().time_min);
        let partition = partitions.of(collection, range, edit)?;
        let segment =
            Segment { partition, lsn_min: lsn, lsn_max: lsn, stage, ..(**staged.segment()).clone() };
        let gone = replaced.staged.get(stage as usize).cloned().unwrap_or_default();
        if edit.add(segment, gone)? == Joins::NoRowIsLeft {
            unneeded.push(Arc::clone(staged));
        }
    }
    for segment in written {
        let partition = partitions.of(collection, segment.range, edit)?;
        let mut segment =
            new_segment(runtime.id, partition, collection.schema.version(), segment, frozen.lsn_max);
        // What is left in memory of a bulk write came after what was staged.
        segment.stage = u32::try_from(frozen.staged.len()).expect("a write has fewer segments");
        edit.add(segment, Positions::new())?;
    }
    if !forgets_flushed_lsn() {
        edit.with(Change::AdvanceFlushedLsn { collection: runtime.id, lsn: frozen.lsn_max });
    }
    Ok(unneeded)
}

/// The partitions of a collection, with those that an edit adds.
struct Partitions<'a> {
    engine: &'a Inner,
    known: Vec<Partition>,
}

impl Partitions<'_> {
    fn of(
        &mut self,
        collection: &Collection,
        range: TimeRange,
        edit: &mut ManifestEdit<'_>,
    ) -> Result<PartitionId, JobError> {
        if let Some(partition) = self.known.iter().find(|partition| partition.range == range) {
            return Ok(partition.id);
        }
        let partition = Partition {
            id: self.engine.allocate_partition()?,
            collection: collection.id,
            range,
            state: PartitionState::Active,
        };
        edit.with(Change::AddPartition(partition.clone()));
        self.known.push(partition.clone());
        Ok(partition.id)
    }
}

/// Rows that have later ones in what is flushed.
#[derive(Default)]
struct Replaced {
    /// Of segments of the manifest.
    older: Vec<(Arc<SegmentHandle>, Positions)>,
    /// Of the staged segments.
    staged: Vec<Positions>,
}

fn replaced(
    engine: &Inner,
    runtime: &CollectionRuntime,
    frozen: &Frozen,
    collection: &Collection,
) -> Result<Replaced, JobError> {
    let layers = frozen.layers();
    if layers.is_empty() || forgets_replaced() {
        return Ok(Replaced::default());
    }
    let (encoder, symbols) = (KeyEncoder::new(collection)?, runtime.symbols());
    let reader = KeyReader { collection, symbols: &symbols, encoder: &encoder };
    let resolved = resolve_layers(&reader, &layers, frozen.lsn_max)?;
    let gone = |handle: &Arc<SegmentHandle>, layer: &Layer| {
        let row_count = usize::try_from(handle.segment().row_count).expect("rows have 32 bits");
        let last = layer.index.last_rows(0, row_count, frozen.lsn_max);
        let rows = (0..row_count).filter(|row| !last.value(*row));
        rows.map(|row| u32::try_from(row).expect("rows have 32 bits")).collect::<Positions>()
    };
    let staged = frozen.staged.iter().zip(&layers).map(|(handle, layer)| gone(handle, layer)).collect();
    let live = Arc::clone(&runtime.lock().segments);
    let mut older = Vec::new();
    for handle in live.iter() {
        let segment = handle.segment();
        let newer: Vec<&LayerIndex> = resolved
            .iter()
            .filter(|layer| layer.overlaps(segment.time_min, segment.time_max))
            .map(|layer| layer.index.as_ref())
            .collect();
        if !newer.is_empty() {
            let positions = shadowed(&reader, handle, &newer)?;
            engine.metrics.rows_replaced.add(positions.len());
            older.push((Arc::clone(handle), positions));
        }
    }
    Ok(Replaced { older, staged })
}

fn new_segment(
    collection: CollectionId,
    partition: tidemark_catalog::ids::PartitionId,
    schema_version: tidemark_catalog::ids::SchemaVersion,
    segment: &WrittenSegment,
    lsn_max: Lsn,
) -> Segment {
    let written = &segment.written;
    Segment {
        id: written.id,
        collection,
        partition,
        schema_version,
        level: 0,
        row_count: written.row_count,
        file_bytes: written.file_bytes,
        footer_crc32c: written.footer_crc32c,
        footer_bytes: written.footer_bytes,
        time_min: written.time_min,
        time_max: written.time_max,
        lsn_min: segment.lsn_min,
        lsn_max,
        stage: 0,
        statistics: written.statistics.clone(),
        deleted: None,
    }
}

/// A defect that tests put in to see that they would notice it: rows are flushed, and the log
/// replays them again.
fn forgets_flushed_lsn() -> bool {
    fail::fail_point!("flush::forget_flushed_lsn", |_| true);
    false
}

/// A defect that tests put in to see that they would notice it: rows of older segments stay that come
/// again.
fn forgets_replaced() -> bool {
    fail::fail_point!("flush::forget_replaced", |_| true);
    false
}

/// The segments of rows that are staged for a bulk write.
pub(crate) fn staged_handles(
    engine: &Inner,
    collection: &Collection,
    written: Vec<WrittenSegment>,
) -> Vec<Arc<SegmentHandle>> {
    let handle = |segment: WrittenSegment| {
        // The partition and the commits are not known yet; publishing fills them in.
        let placeholder = tidemark_catalog::ids::PartitionId(0);
        let version = collection.schema.version();
        let segment = new_segment(collection.id, placeholder, version, &segment, segment.lsn_min);
        Arc::new(engine.segment_handle(collection, Arc::new(segment)))
    };
    written.into_iter().map(handle).collect()
}
