//! Merge: segments of a partition become one.
//!
//! 1. Pick: the first collection and partition in which [`crate::timeseries::picker`] finds something.
//! 2. Run: read the inputs in their order and write one segment without what is deleted, a durable file
//!    that no manifest names. Memory does not depend on how large the inputs are. Between row groups the
//!    job gives way to queries, keeps to its rate, and stops when it is told to.
//! 3. Publish: one catalog edit adds the output and retires the inputs; readers see the new manifest;
//!    files of the inputs go when no snapshot pins them.
//!
//! A failure before 3 leaves the inputs as they are, and the output is removed; the merge is tried
//! again later. Crash before 3: the output is an orphan. Crash after 3: the inputs are. One merge runs
//! at a time.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tidemark_catalog::collection::Collection;
use tidemark_catalog::error::EditError;
use tidemark_catalog::ids::{CollectionId, PartitionId, SegmentId};
use tidemark_catalog::partition::Partition;
use tidemark_catalog::segment::Segment;

use crate::collection::{CollectionRuntime, Form};
use crate::dedup::keys::KeyEncoder;
use crate::dedup::resolve::KeyReader;
use crate::dedup::shadow::{index_of, shadowed};
use crate::engine::Inner;
use crate::error::JobError;
use crate::jobs::Job;
use crate::jobs::pace::Pace;
use crate::manifest::{Joins, ManifestEdit};
use crate::segment::deleted::Positions;
use crate::segment::handle::SegmentHandle;
use crate::segment::merge::{MergedRowGroups, merged_columns, unbounded_columns};
use crate::segment::writer::{NewSegment, Written};
use crate::timeseries::partition::later_by;
use crate::timeseries::picker::{MergeReason, Phase, Pick, pick, pick_all};

const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(600);

/// A partition that ended gets its last merge when nothing was flushed into it for so long.
const QUIET: Duration = Duration::from_secs(30);

/// How many merges are remembered.
pub(crate) const RECORDS_MAX: usize = 256;

/// A merge that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeRecord {
    /// Of which collection.
    pub collection: CollectionId,
    /// Of which partition.
    pub partition: PartitionId,
    /// Why.
    pub reason: MergeReason,
    /// When it began, in µs since 1970-01-01 UTC.
    pub started_us: i64,
    /// How long it took.
    pub duration: Duration,
    /// What was merged.
    pub inputs: Vec<SegmentId>,
    /// Bytes of those.
    pub input_bytes: u64,
    /// What was made; none when all rows were deleted, and when it failed.
    pub output: Option<SegmentId>,
    /// Rows of it.
    pub output_rows: u64,
    /// Bytes of it.
    pub output_bytes: u64,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// What is to be merged.
struct Task {
    runtime: Arc<CollectionRuntime>,
    /// As somebody may know it who wrote a row of the inputs.
    form: Form,
    partition: PartitionId,
    inputs: Vec<Arc<SegmentHandle>>,
    reason: MergeReason,
    /// The live segments when the inputs were chosen.
    known: HashSet<SegmentId>,
    /// Under which the inputs were looked at.
    epoch: u64,
}

/// Merges what the picker says, one merge; then looks again.
pub(crate) fn run(engine: &Inner) {
    let Ok(_one) = engine.merging.try_lock() else { return };
    let Some(task) = next(engine) else { return };
    let runtime = Arc::clone(&task.runtime);
    let merged = carry_out(engine, &task);
    let now = engine.env.clock.monotonic();
    let mut state = runtime.lock();
    match merged {
        Ok(()) => state.merge_failures = 0,
        Err(JobError::ShutDown | JobError::Dropped(_) | JobError::Cancelled) => {}
        Err(error) => {
            let delay = RETRY_FIRST.saturating_mul(1 << state.merge_failures.min(16)).min(RETRY_MAX);
            state.merge_failures += 1;
            state.merge_not_before = now + delay;
            tracing::warn!(collection = %runtime.id, %error, ?delay, "cannot merge; the segments stay");
        }
    }
    drop(state);
    engine.executor.submit(Job::Merge, Duration::ZERO);
}

/// Merges until each partition of the collection is one segment without deleted rows.
pub(crate) fn merge_all(engine: &Inner, runtime: &Arc<CollectionRuntime>) -> Result<(), JobError> {
    let _one = engine.merging.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let view = engine.catalog.view();
    let known = view.collection(runtime.id).ok_or(JobError::Dropped(runtime.id))?;
    for partition in known.partitions.values() {
        while let Some(task) = task(engine, runtime, partition, pick_all)? {
            match carry_out(engine, &task) {
                // A delete, or a partition that was dropped: what is there now is another matter.
                Err(JobError::Cancelled) => runtime.wait_for_deletes(),
                done => done?,
            }
        }
    }
    Ok(())
}

fn next(engine: &Inner) -> Option<Task> {
    let now = engine.env.clock.monotonic();
    let view = engine.catalog.view();
    for known in view.collections() {
        let Some(runtime) = engine.runtime(known.collection.id) else { continue };
        let is_ready = {
            let state = runtime.lock();
            state.merge_not_before <= now && state.deletes == 0
        };
        if !is_ready {
            continue;
        }
        for partition in known.partitions.values() {
            let phase = phase(engine, &runtime, &known.collection, partition);
            let found = task(engine, &runtime, partition, |segments| pick(segments, phase));
            if let Ok(Some(task)) = found {
                return Some(task);
            }
        }
    }
    None
}

/// Whether a partition still gets rows.
pub(crate) fn phase(
    engine: &Inner,
    runtime: &CollectionRuntime,
    collection: &Collection,
    partition: &Partition,
) -> Phase {
    let now = engine.env.clock.monotonic();
    let published = runtime.lock().published.get(&partition.id).copied();
    let is_quiet = published.is_none_or(|published| now.saturating_sub(published) >= QUIET);
    let unit = collection.time_column().column_type.time_unit().expect("an invariant of the catalog");
    let sealed_at = later_by(collection.timeseries().merge_after, unit, partition.range.end);
    let wall = i128::from(engine.env.clock.wall_us()) * i128::from(unit.per_second()) / 1_000_000;
    if is_quiet && i128::from(sealed_at) <= wall { Phase::Sealed } else { Phase::Active }
}

fn task(
    engine: &Inner,
    runtime: &Arc<CollectionRuntime>,
    partition: &Partition,
    pick: impl FnOnce(&[&Segment]) -> Option<Pick>,
) -> Result<Option<Task>, JobError> {
    let known_collection = engine.known_collection(runtime);
    let state = runtime.lock();
    if state.dropped {
        return Err(JobError::Dropped(runtime.id));
    }
    let live: Vec<&Arc<SegmentHandle>> =
        state.segments.iter().filter(|handle| handle.segment().partition == partition.id).collect();
    let segments: Vec<&Segment> = live.iter().map(|handle| handle.segment().as_ref()).collect();
    let Some(pick) = pick(&segments) else { return Ok(None) };
    let wanted: HashSet<SegmentId> = pick.inputs.into_iter().collect();
    let inputs = live.into_iter().filter(|handle| wanted.contains(&handle.segment().id));
    let (inputs, epoch) = (inputs.map(Arc::clone).collect(), state.merge_epoch);
    let known = state.segments.iter().map(|handle| handle.segment().id).collect();
    let form = runtime.form(&state, Some(&known_collection));
    drop(state);
    let task = Task {
        runtime: Arc::clone(runtime),
        form,
        partition: partition.id,
        inputs,
        reason: pick.reason,
        known,
        epoch,
    };
    engine.metrics.merges_started.add(1);
    Ok(Some(task))
}

fn carry_out(engine: &Inner, task: &Task) -> Result<(), JobError> {
    let (started, started_us) = (engine.env.clock.monotonic(), engine.env.clock.wall_us());
    let input_bytes = task.inputs.iter().map(|input| input.segment().file_bytes).sum();
    let merged = write(engine, task, input_bytes).and_then(|written| publish(engine, task, written));
    let output = merged.as_ref().ok().and_then(Option::as_ref);
    let record = MergeRecord {
        collection: task.runtime.id,
        partition: task.partition,
        reason: task.reason,
        started_us,
        duration: engine.env.clock.monotonic().saturating_sub(started),
        inputs: task.inputs.iter().map(|input| input.segment().id).collect(),
        input_bytes,
        output: output.map(|output| output.id),
        output_rows: output.map_or(0, |output| output.row_count),
        output_bytes: output.map_or(0, |output| output.file_bytes),
        error: merged.as_ref().err().map(ToString::to_string),
    };
    if merged.is_ok() {
        engine.metrics.merges.add(1);
        engine.metrics.merge_rows.add(record.output_rows);
        engine.metrics.merge_bytes_read.add(record.input_bytes);
        engine.metrics.merge_bytes.add(record.output_bytes);
    } else {
        engine.metrics.merge_failures.add(1);
    }
    engine.remember_merge(record);
    merged.map(|_| ())
}

/// Step 2; nothing is written when no row is left.
fn write(engine: &Inner, task: &Task, input_bytes: u64) -> Result<Option<Written>, JobError> {
    fail::fail_point!("merge::start", |_| Err(JobError::Injected("merge::start")));
    if task.inputs.iter().all(|input| input.segment().live_row_count() == 0) {
        return Ok(None);
    }
    let Form { collection, symbols, missing } = &task.form;
    let columns = merged_columns(collection, &task.inputs, symbols)?;
    let segments = || task.inputs.iter().map(|input| input.segment());
    let new = NewSegment {
        id: engine.allocate_segment()?,
        collection,
        unbounded: unbounded_columns(&columns, &task.inputs, missing),
        columns: columns.clone(),
        lsn_min: segments().map(|segment| segment.lsn_min).min().expect("a merge has inputs"),
        lsn_max: segments().map(|segment| segment.lsn_max).max(),
    };
    let rows: u64 = segments().map(|segment| segment.live_row_count()).sum();
    let row_group_rows = engine.options.segment_row_group_rows;
    let row_groups = (rows / row_group_rows as u64).max(1);
    let pace = Pace::new(engine, input_bytes / row_groups);
    let epoch = task.epoch;
    let go_on = || {
        pace.step();
        let state = task.runtime.lock();
        match () {
            () if engine.executor.is_stopping() => Err(JobError::ShutDown),
            () if state.dropped => Err(JobError::Dropped(task.runtime.id)),
            () if state.merge_epoch != epoch => Err(JobError::Cancelled),
            () => Ok(()),
        }
    };
    let (symbols, missing) = (symbols.clone(), missing.clone());
    let mut groups =
        MergedRowGroups::new(collection, columns, &task.inputs, symbols, missing, row_group_rows, &go_on)?;
    let written = engine.write_segment_file(&new, &mut groups)?;
    assert_eq!(written.row_count, rows, "every live row is merged");
    fail::fail_point!("merge::file_written");
    Ok(Some(written))
}

/// Step 3.
fn publish(engine: &Inner, task: &Task, written: Option<Written>) -> Result<Option<Written>, JobError> {
    let published = publish_output(engine, task, written.as_ref());
    match published {
        Ok(()) => Ok(written),
        // Whether the edit is durable is not known: the next opening finds out.
        Err(error @ JobError::Publish(EditError::Storage(_) | EditError::Poisoned)) => Err(error),
        Err(error) => {
            if let Some(written) = &written {
                engine.discard_segment_file(task.runtime.id, written.id);
            }
            Err(match error {
                // A partition, or the collection, went meanwhile, and the inputs with it.
                JobError::Dropped(_)
                | JobError::Publish(EditError::NoSegment(_) | EditError::NoPartition(_)) => {
                    JobError::Cancelled
                }
                other => other,
            })
        }
    }
}

fn publish_output(engine: &Inner, task: &Task, written: Option<&Written>) -> Result<(), JobError> {
    let runtime = &task.runtime;
    let _publishing = runtime.begin_publishing();
    let overtaken = {
        let state = runtime.lock();
        state.merge_epoch != task.epoch || state.deletes > 0
    };
    if overtaken {
        return Err(JobError::Cancelled);
    }
    let mut edit = ManifestEdit::new(engine, runtime, Arc::clone(&task.form.collection));
    task.inputs.iter().for_each(|input| edit.retire(input.segment().id));
    let mut joins = Joins::NoRowIsLeft;
    if let Some(written) = written {
        let segment = merged_segment(task, written);
        let added = replaced(engine, task, &segment).and_then(|gone| edit.add(segment, gone));
        match added {
            Ok(added) => joins = added,
            Err(error) => {
                edit.discard();
                return Err(error);
            }
        }
    }
    fail::fail_point!("merge::before_publish", |_| {
        edit.discard();
        Err(JobError::Injected("merge::before_publish"))
    });
    let published = edit.commit()?;
    fail::fail_point!("merge::after_publish");
    published.show(|_| {});
    if let Some(written) = written
        && joins == Joins::NoRowIsLeft
    {
        engine.discard_segment_file(runtime.id, written.id);
    }
    Ok(())
}

/// The rows of the output that have later ones in segments that were published while it was written.
fn replaced(engine: &Inner, task: &Task, output: &Segment) -> Result<Positions, JobError> {
    let Form { collection, symbols, .. } = &task.form;
    if collection.timeseries().dedup_key.is_empty() || forgets_replaced() {
        return Ok(Positions::new());
    }
    let live = Arc::clone(&task.runtime.lock().segments);
    let is_newer = |handle: &&Arc<SegmentHandle>| {
        let segment = handle.segment();
        !task.known.contains(&segment.id)
            && segment.time_min <= output.time_max
            && output.time_min <= segment.time_max
    };
    let newer: Vec<Arc<SegmentHandle>> = live.iter().filter(is_newer).map(Arc::clone).collect();
    if newer.is_empty() {
        return Ok(Positions::new());
    }
    let encoder = KeyEncoder::new(collection)?;
    let reader = KeyReader { collection, symbols, encoder: &encoder };
    let index = index_of(&reader, &newer, &engine.budget)?;
    let output = engine.segment_handle(collection, Arc::new(output.clone()));
    Ok(shadowed(&reader, &output, &[&index])?)
}

/// A defect that tests put in to see that they would notice it: the output keeps rows that were replaced
/// while it was written.
fn forgets_replaced() -> bool {
    fail::fail_point!("merge::forget_replaced", |_| true);
    false
}

fn merged_segment(task: &Task, written: &Written) -> Segment {
    let segments = || task.inputs.iter().map(|input| input.segment());
    let level = segments().map(|segment| segment.level).max().unwrap_or(0);
    Segment {
        id: written.id,
        collection: task.runtime.id,
        partition: task.partition,
        schema_version: task.form.collection.schema.version(),
        level: level.saturating_add(1),
        row_count: written.row_count,
        file_bytes: written.file_bytes,
        footer_crc32c: written.footer_crc32c,
        footer_bytes: written.footer_bytes,
        time_min: written.time_min,
        time_max: written.time_max,
        lsn_min: segments().map(|segment| segment.lsn_min).min().expect("a merge has inputs"),
        lsn_max: segments().map(|segment| segment.lsn_max).max().expect("a merge has inputs"),
        stage: segments().map(|segment| segment.stage).max().unwrap_or(0),
        statistics: written.statistics.clone(),
        deleted: None,
    }
}
