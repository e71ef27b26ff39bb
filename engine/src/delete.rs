//! Deleting rows.
//!
//! 1. [`Engine::begin_delete`] flushes what the collection has in memory: every row that was committed
//!    up to now has a place in a segment. Merges wait until the delete is over, so that places stay.
//!    Rows that are committed after this are not looked at.
//! 2. The caller finds the places of the rows that are to go, by a scan that gives row ids, or lets
//!    [`Delete::by_predicates`] find them.
//! 3. [`Delete::commit`] writes, for each segment, a file with the places of all of its deleted rows,
//!    and publishes them in one catalog edit. A segment of which no row is left is retired. Readers that
//!    began before go on seeing the rows, all others do not.
//!
//! A failure before the edit changes nothing; the files written are removed. A crash before the edit
//! leaves orphans, a crash after it the outcome. Replay does not bring rows back, because all of them
//! were flushed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tidemark_catalog::ids::{CollectionId, SegmentId};

use crate::collection::CollectionRuntime;
use crate::engine::{Engine, Inner};
use crate::error::JobError;
use crate::jobs::Job;
use crate::manifest::ManifestEdit;
use crate::read::predicate::Predicate;
use crate::read::unit::UnitBlocks;
use crate::read::{RowIds, ScanRequest, plan};
use crate::segment::deleted::Positions;
use crate::segment::handle::SegmentHandle;
use crate::segment::prune;
use crate::snapshot::CollectionSnapshot;

/// How many rows are looked at in one go.
const BATCH_ROWS: usize = 8192;

/// The places of rows, by segment.
#[derive(Clone, Debug, Default)]
pub struct RowPlaces {
    rows: BTreeMap<SegmentId, Positions>,
    /// Segments all of whose rows are meant.
    whole: BTreeSet<SegmentId>,
}

impl RowPlaces {
    /// Adds a row, as a scan that gives row ids tells its place, and says whether it was not there
    /// before; `None` for what is no place.
    pub fn add(&mut self, segment: i64, row: i64) -> Option<bool> {
        let (segment, row) = (u64::try_from(segment).ok()?, u32::try_from(row).ok()?);
        Some(self.rows.entry(SegmentId(segment)).or_default().insert(row))
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.whole.is_empty()
    }
}

/// A delete that is under way. Dropping it without [`Delete::commit`] changes nothing.
#[derive(Debug)]
pub struct Delete {
    merges: MergesWait,
    snapshot: Arc<CollectionSnapshot>,
}

impl Engine {
    /// Starts deleting rows of a collection; blocks while it is flushed.
    ///
    /// # Errors
    /// The collection does not exist, or it cannot be flushed.
    pub fn begin_delete(&self, id: CollectionId) -> Result<Delete, JobError> {
        let engine = Arc::clone(self.inner());
        let runtime = engine.runtime(id).ok_or(JobError::Dropped(id))?;
        let merges = MergesWait::begin(engine, runtime);
        self.flush(id)?;
        let snapshot = self.snapshot(&[id])?;
        let snapshot = snapshot.collection(id).map(Arc::clone).ok_or(JobError::Dropped(id))?;
        Ok(Delete { merges, snapshot })
    }
}

/// Keeps merges away from a collection until it is dropped.
#[derive(Debug)]
struct MergesWait {
    engine: Arc<Inner>,
    runtime: Arc<CollectionRuntime>,
}

impl MergesWait {
    fn begin(engine: Arc<Inner>, runtime: Arc<CollectionRuntime>) -> MergesWait {
        runtime.begin_delete();
        MergesWait { engine, runtime }
    }
}

impl Drop for MergesWait {
    fn drop(&mut self) {
        self.runtime.end_delete();
        self.engine.executor.submit(Job::Merge, Duration::ZERO);
    }
}

impl Delete {
    /// What the rows are looked for in; a scan that gives row ids reads its segments only.
    pub fn snapshot(&self) -> &Arc<CollectionSnapshot> {
        &self.snapshot
    }

    /// The places of the rows that fulfil all predicates. A segment whose bounds say that all of its rows
    /// do is not read.
    ///
    /// # Errors
    /// A segment is missing or damaged.
    pub fn by_predicates(&self, predicates: &[Predicate]) -> Result<RowPlaces, JobError> {
        let time_key = self.snapshot.collection().timeseries().time_key;
        let mut places = RowPlaces::default();
        let all_match =
            |handle: &Arc<SegmentHandle>| prune::all_rows_match(handle.segment(), time_key, predicates);
        let (whole, others): (Vec<_>, Vec<_>) =
            self.snapshot.segments().iter().map(Arc::clone).partition(all_match);
        places.whole = whole.iter().map(|handle| handle.segment().id).collect();
        let request = ScanRequest {
            columns: Vec::new(),
            predicates: predicates.to_vec(),
            batch_rows: BATCH_ROWS,
            row_ids: RowIds::Given,
        };
        let scan = plan(&self.snapshot.of_segments(others), request)?;
        for unit in scan.units() {
            for block in UnitBlocks::wanted(unit, scan.shared())? {
                let block = block?;
                let (segment, start) = block.origin.expect("only segments are read");
                let positions = places.rows.entry(segment).or_default();
                block.rows.for_each(|row| {
                    positions.insert(start + u32::try_from(row).expect("a block is small"));
                });
            }
        }
        Ok(places)
    }

    /// Deletes the rows: none of them is there for a reader that begins after this returned. Returns how
    /// many there were that nobody else deleted meanwhile.
    ///
    /// # Errors
    /// A file cannot be written, or the catalog fails; nothing is deleted.
    pub fn commit(self, places: RowPlaces) -> Result<u64, JobError> {
        if places.is_empty() {
            return Ok(0);
        }
        let MergesWait { engine, runtime } = &self.merges;
        let _publishing = runtime.begin_publishing();
        let live = Arc::clone(&runtime.lock().segments);
        let edit = ManifestEdit::new(engine, runtime, Arc::clone(self.snapshot.collection()));
        let mut edit = edit.making_space();
        let mut count = 0;
        for handle in live.iter() {
            match delete_of(handle, &places, &mut edit) {
                Ok(rows) => count += rows,
                Err(error) => {
                    edit.discard();
                    return Err(error);
                }
            }
        }
        if count == 0 {
            return Ok(0);
        }
        fail::fail_point!("delete::before_publish", |_| {
            edit.discard();
            Err(JobError::Injected("delete::before_publish"))
        });
        let published = edit.commit()?;
        fail::fail_point!("delete::after_publish");
        published.show(|state| state.deletes_published += 1);
        engine.metrics.rows_deleted.add(count);
        Ok(count)
    }
}

/// Deletes the rows of a segment that are among these; returns how many were there.
fn delete_of(
    handle: &SegmentHandle,
    places: &RowPlaces,
    edit: &mut ManifestEdit<'_>,
) -> Result<u64, JobError> {
    let segment = handle.segment();
    if places.whole.contains(&segment.id) {
        edit.retire(segment.id);
        return Ok(segment.live_row_count());
    }
    match places.rows.get(&segment.id) {
        Some(rows) => edit.delete_rows(handle, rows),
        None => Ok(0),
    }
}
