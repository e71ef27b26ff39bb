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

use tidemark_catalog::edit::{CatalogEdit, Change};
use tidemark_catalog::error::EditError;
use tidemark_catalog::ids::{CollectionId, SegmentId};
use tidemark_catalog::segment::DeletedRows;

use crate::collection::CollectionRuntime;
use crate::engine::{Engine, Inner};
use crate::error::JobError;
use crate::jobs::Job;
use crate::read::predicate::Predicate;
use crate::read::unit::UnitBlocks;
use crate::read::{RowIds, ScanRequest, plan};
use crate::segment::deleted::{self, Positions};
use crate::segment::handle::SegmentHandle;
use crate::segment::{deleted_file_name, directory, prune};
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
    engine: Arc<Inner>,
    runtime: Arc<CollectionRuntime>,
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
        runtime.begin_delete();
        let guard = Guard(Arc::clone(&runtime));
        self.flush(id)?;
        let snapshot = self.snapshot(&[id])?;
        let snapshot = snapshot.collection(id).map(Arc::clone).ok_or(JobError::Dropped(id))?;
        std::mem::forget(guard);
        Ok(Delete { engine, runtime, snapshot })
    }
}

/// Lets merges go on when a delete does not begin.
struct Guard(Arc<CollectionRuntime>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.end_delete();
    }
}

impl Drop for Delete {
    fn drop(&mut self) {
        self.runtime.end_delete();
        self.engine.executor.submit(Job::Merge, Duration::ZERO);
    }
}

/// What becomes of a segment.
enum Outcome {
    Retired,
    Fewer(DeletedRows, Positions),
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
        let (engine, runtime) = (&self.engine, &self.runtime);
        let _publishing = runtime.begin_publishing();
        let live = Arc::clone(&runtime.lock().segments);
        let mut count = 0;
        let mut outcomes: BTreeMap<SegmentId, Outcome> = BTreeMap::new();
        for handle in live.iter() {
            let Some(all) = all_deleted(handle, &places) else { continue };
            let before = handle.deleted().map_or(0, |deleted| deleted.len());
            let after = all.as_ref().map_or(handle.segment().row_count, Positions::len);
            if after == before {
                continue;
            }
            count += after - before;
            let id = handle.segment().id;
            match all {
                Some(positions) if after < handle.segment().row_count => match self.write(id, &positions) {
                    Ok(rows) => drop(outcomes.insert(id, Outcome::Fewer(rows, positions))),
                    Err(error) => {
                        self.discard(&outcomes);
                        return Err(error);
                    }
                },
                _ => drop(outcomes.insert(id, Outcome::Retired)),
            }
        }
        if count > 0 {
            self.publish(&live, outcomes)?;
            engine.metrics.rows_deleted.add(count);
        }
        Ok(count)
    }

    fn write(&self, segment: SegmentId, positions: &Positions) -> Result<DeletedRows, JobError> {
        let file = self.engine.allocate_segment()?;
        let path = directory(&self.engine.options.directory, self.runtime.id).join(deleted_file_name(file));
        deleted::write(self.engine.env.files.as_ref(), &path, file, segment, positions)
    }

    /// Removes files that were never published.
    fn discard(&self, outcomes: &BTreeMap<SegmentId, Outcome>) {
        let directory = directory(&self.engine.options.directory, self.runtime.id);
        for outcome in outcomes.values() {
            if let Outcome::Fewer(rows, _) = outcome {
                self.engine.files.add_garbage(directory.join(deleted_file_name(rows.file)));
            }
        }
        self.engine.executor.submit(Job::CollectGarbage, Duration::ZERO);
    }

    fn publish(
        &self,
        live: &[Arc<SegmentHandle>],
        outcomes: BTreeMap<SegmentId, Outcome>,
    ) -> Result<(), JobError> {
        let (engine, runtime) = (&self.engine, &self.runtime);
        let collection = runtime.id;
        let mut edit = CatalogEdit::new();
        for (segment, outcome) in &outcomes {
            let segment = *segment;
            edit.push(match outcome {
                Outcome::Retired => Change::RetireSegment { collection, segment },
                Outcome::Fewer(deleted, _) => {
                    Change::SetDeletedRows { collection, segment, deleted: *deleted }
                }
            });
        }
        fail::fail_point!("delete::before_publish", |_| {
            self.discard(&outcomes);
            Err(JobError::Injected("delete::before_publish"))
        });
        match engine.commit_edit(&edit) {
            Ok(_) => {}
            // Whether the edit is durable is not known: the next opening finds out.
            Err(error @ (EditError::Storage(_) | EditError::Poisoned)) => return Err(error.into()),
            Err(error) => {
                self.discard(&outcomes);
                return Err(error.into());
            }
        }
        fail::fail_point!("delete::after_publish");
        let directory = directory(&engine.options.directory, collection);
        let mut outcomes = outcomes;
        let mut segments = Vec::with_capacity(live.len());
        for handle in live {
            match outcomes.remove(&handle.segment().id) {
                None => segments.push(Arc::clone(handle)),
                Some(Outcome::Retired) => handle.retire(),
                Some(Outcome::Fewer(rows, positions)) => {
                    segments.push(Arc::new(handle.with_deleted(rows, positions)));
                }
            }
            // Its contents are in memory for the readers that still need them.
            if let Some(old) = &handle.segment().deleted
                && !segments.last().is_some_and(|last| Arc::ptr_eq(last, handle))
            {
                engine.files.add_garbage(directory.join(deleted_file_name(old.file)));
            }
        }
        runtime.lock().segments = Arc::new(segments);
        engine.executor.submit(Job::CollectGarbage, Duration::ZERO);
        Ok(())
    }
}

/// All rows of a segment that are deleted when these are; `None` when none of its rows is among them,
/// and inside, `None` when all of its rows are.
fn all_deleted(handle: &SegmentHandle, places: &RowPlaces) -> Option<Option<Positions>> {
    let id = handle.segment().id;
    if places.whole.contains(&id) {
        return Some(None);
    }
    let added = places.rows.get(&id)?;
    Some(Some(match handle.deleted() {
        Some(deleted) => deleted.as_ref() | added,
        None => added.clone(),
    }))
}
