//! Changing the manifest of a collection: the one way in which flushes, merges, deletes and retention
//! publish.
//!
//! 1. What is to change is gathered: segments that join, segments that go, rows of segments that go.
//!    Positions of deleted rows are written to files that no manifest names yet.
//! 2. One catalog edit makes all of it durable.
//! 3. Readers get the new manifest; handles of what went are retired, and files go when no snapshot
//!    pins them.
//!
//! The caller holds the collection's publishing lock from looking at the manifest to the end of 3. A
//! failure before 2 is over changes nothing; files of deleted rows go, files of segments are the
//! caller's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidemark_catalog::collection::Collection;
use tidemark_catalog::edit::{CatalogEdit, Change};
use tidemark_catalog::error::EditError;
use tidemark_catalog::ids::{PartitionId, SegmentId};
use tidemark_catalog::segment::{DeletedRows, Segment};

use crate::catalog_file::is_disk_full;
use crate::collection::CollectionRuntime;
use crate::engine::Inner;
use crate::error::JobError;
use crate::jobs::Job;
use crate::segment::deleted::{self, Positions};
use crate::segment::handle::SegmentHandle;
use crate::segment::{deleted_file_name, directory};

/// A change of a collection's manifest.
pub(crate) struct ManifestEdit<'a> {
    engine: &'a Inner,
    runtime: &'a CollectionRuntime,
    collection: Arc<Collection>,
    /// What else is published with it.
    others: CatalogEdit,
    added: Vec<(Arc<Segment>, Option<Positions>)>,
    retired: BTreeSet<SegmentId>,
    deleted: BTreeMap<SegmentId, (DeletedRows, Positions)>,
    /// Files of deleted rows that were written for it.
    files: Vec<PathBuf>,
    makes_space: bool,
}

/// Whether a segment joins a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joins {
    /// It does.
    Yes,
    /// None of its rows is left: its file is not needed.
    NoRowIsLeft,
}

impl<'a> ManifestEdit<'a> {
    pub(crate) fn new(
        engine: &'a Inner,
        runtime: &'a CollectionRuntime,
        collection: Arc<Collection>,
    ) -> ManifestEdit<'a> {
        ManifestEdit {
            engine,
            runtime,
            collection,
            others: CatalogEdit::new(),
            added: Vec::new(),
            retired: BTreeSet::new(),
            deleted: BTreeMap::new(),
            files: Vec::new(),
            makes_space: false,
        }
    }

    /// It is how space is made: on a full disk it has some of the catalog's reserve.
    pub(crate) fn making_space(self) -> ManifestEdit<'a> {
        ManifestEdit { makes_space: true, ..self }
    }

    /// Publishes something else together with it, before segments join.
    pub(crate) fn with(&mut self, change: Change) {
        self.others.push(change);
    }

    /// A durable file joins, without the rows at these positions.
    pub(crate) fn add(&mut self, segment: Segment, gone: Positions) -> Result<Joins, JobError> {
        if gone.len() == segment.row_count {
            return Ok(Joins::NoRowIsLeft);
        }
        if gone.is_empty() {
            self.added.push((Arc::new(segment), None));
            return Ok(Joins::Yes);
        }
        let rows = self.write_positions(segment.id, &gone)?;
        self.added.push((Arc::new(Segment { deleted: Some(rows), ..segment }), Some(gone)));
        Ok(Joins::Yes)
    }

    /// A segment goes.
    pub(crate) fn retire(&mut self, segment: SegmentId) {
        self.retired.insert(segment);
    }

    /// Rows of a live segment go; returns how many were there.
    pub(crate) fn delete_rows(&mut self, handle: &SegmentHandle, gone: &Positions) -> Result<u64, JobError> {
        let (all, before) = match handle.deleted() {
            Some(deleted) => (deleted.as_ref() | gone, deleted.len()),
            None => (gone.clone(), 0),
        };
        let count = all.len() - before;
        if count > 0 && all.len() == handle.segment().row_count {
            self.retire(handle.segment().id);
        } else if count > 0 {
            let rows = self.write_positions(handle.segment().id, &all)?;
            self.deleted.insert(handle.segment().id, (rows, all));
        }
        Ok(count)
    }

    fn write_positions(&mut self, segment: SegmentId, gone: &Positions) -> Result<DeletedRows, JobError> {
        let file = self.engine.allocate_segment()?;
        let path = directory(&self.engine.options.directory, self.runtime.id).join(deleted_file_name(file));
        let write = || deleted::write(self.engine.env.files.as_ref(), &path, file, segment, gone);
        let rows = match write() {
            Err(error) if self.makes_space && error.io_error().is_some_and(is_disk_full) => {
                // It may have been given away already.
                if self.engine.reserve.give(gone.serialized_size() as u64).is_err() {
                    return Err(error);
                }
                write()?
            }
            written => written?,
        };
        self.files.push(path);
        Ok(rows)
    }

    /// Gives it up: files of deleted rows that were written for it go.
    pub(crate) fn discard(&mut self) {
        for file in self.files.drain(..) {
            self.engine.files.add_garbage(file);
        }
        self.engine.executor.submit(Job::CollectGarbage, Duration::ZERO);
    }

    /// Step 2.
    pub(crate) fn commit(mut self) -> Result<Published<'a>, JobError> {
        let collection = self.runtime.id;
        let mut edit = self.others.clone();
        for segment in &self.retired {
            edit.push(Change::RetireSegment { collection, segment: *segment });
        }
        for (segment, (deleted, _)) in &self.deleted {
            edit.push(Change::SetDeletedRows { collection, segment: *segment, deleted: *deleted });
        }
        for (segment, _) in &self.added {
            edit.push(Change::AddSegment(Arc::clone(segment)));
        }
        match self.engine.commit_edit(&edit) {
            Ok(_) => Ok(Published { edit: self, dropped: BTreeSet::new() }),
            // Whether the edit is durable is not known: the next opening finds out.
            Err(error @ (EditError::Storage(_) | EditError::Poisoned)) => Err(error.into()),
            Err(error) => {
                self.discard();
                Err(match error {
                    EditError::NoCollection(id) => JobError::Dropped(id),
                    other => other.into(),
                })
            }
        }
    }
}

/// A change that is durable, and that readers do not see yet.
#[must_use]
pub(crate) struct Published<'a> {
    edit: ManifestEdit<'a>,
    dropped: BTreeSet<PartitionId>,
}

impl Published<'_> {
    /// These partitions went with all of their segments.
    pub(crate) fn with_dropped(mut self, partitions: BTreeSet<PartitionId>) -> Self {
        self.dropped = partitions;
        self
    }

    /// Step 3. The function changes what else readers see of the collection in the same moment. Returns
    /// the segments that went.
    pub(crate) fn show(self, also: impl FnOnce(&mut crate::collection::State)) -> Vec<Arc<SegmentHandle>> {
        let Published { edit, dropped } = self;
        let ManifestEdit { engine, runtime, collection, added, retired, mut deleted, .. } = edit;
        let now = engine.env.clock.monotonic();
        let partitions: Vec<PartitionId> = added.iter().map(|(segment, _)| segment.partition).collect();
        let added = added
            .into_iter()
            .map(|(segment, gone)| Arc::new(engine.segment_handle(&collection, segment).without(gone)));
        let added: Vec<_> = added.collect();
        let segment_files = directory(&engine.options.directory, runtime.id);
        let mut gone = Vec::new();
        let mut garbage = Vec::new();
        let mut state = runtime.lock();
        let mut segments = Vec::with_capacity(state.segments.len() + added.len());
        for handle in state.segments.iter() {
            let segment = handle.segment();
            let is_gone = retired.contains(&segment.id) || dropped.contains(&segment.partition);
            let changed = deleted.remove(&segment.id);
            if is_gone {
                gone.push(Arc::clone(handle));
            } else if let Some((rows, positions)) = changed {
                segments.push(Arc::new(handle.with_deleted(rows, positions)));
            } else {
                segments.push(Arc::clone(handle));
                continue;
            }
            // Its contents are in memory for the readers that still need them.
            let old = segment.deleted.map(|old| segment_files.join(deleted_file_name(old.file)));
            garbage.extend(old);
        }
        segments.extend(added);
        state.segments = Arc::new(segments);
        state.published.extend(partitions.into_iter().map(|partition| (partition, now)));
        also(&mut state);
        drop(state);
        gone.iter().for_each(|handle| handle.retire());
        if !garbage.is_empty() || !gone.is_empty() {
            garbage.into_iter().for_each(|file| engine.files.add_garbage(file));
            engine.executor.submit(Job::CollectGarbage, Duration::ZERO);
        }
        gone
    }
}
