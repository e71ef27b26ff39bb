//! Segment files and the catalog, as jobs write them; a catalog that cannot be written stops the engine.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidemark_catalog::collection::Collection;
use tidemark_catalog::edit::CatalogEdit;
use tidemark_catalog::error::EditError;
use tidemark_catalog::ids::{CollectionId, PartitionId, SegmentId};
use tidemark_catalog::partition::TimeRange;
use tidemark_catalog::segment::Segment;
use tidemark_catalog::view::View;

use super::Inner;
use crate::catalog_file::is_disk_full;
use crate::durable;
use crate::error::JobError;
use crate::jobs::flush;
use crate::segment::handle::SegmentHandle;
use crate::segment::writer::{self, Layout, NewSegment, RowGroups, Written};
use crate::segment::{directory, path};
use crate::timeseries::partition::partition_range;

impl Inner {
    pub(crate) fn commit_edit(&self, edit: &CatalogEdit) -> Result<Arc<View>, EditError> {
        let committed = self.catalog.commit(edit);
        self.stop_on_catalog_failure(committed)
    }

    pub(crate) fn allocate_segment(&self) -> Result<SegmentId, EditError> {
        let allocated = self.catalog.allocate_segment();
        self.stop_on_catalog_failure(allocated)
    }

    pub(crate) fn allocate_partition(&self) -> Result<PartitionId, EditError> {
        let allocated = self.catalog.allocate_partition();
        self.stop_on_catalog_failure(allocated)
    }

    fn stop_on_catalog_failure<T>(&self, outcome: Result<T, EditError>) -> Result<T, EditError> {
        if let Err(EditError::Storage(error)) = &outcome {
            self.options.on_failure.call(&format!("the catalog cannot be written: {error}"));
        }
        outcome
    }

    pub(crate) fn segment_handle(&self, collection: &Collection, segment: Arc<Segment>) -> SegmentHandle {
        let path = path(&self.options.directory, segment.collection, segment.id);
        SegmentHandle::new(&self.files, segment, path, collection.name.clone())
    }

    /// Writes a segment: a durable file that no manifest names.
    pub(crate) fn write_segment_file(
        &self,
        new: &NewSegment<'_>,
        rows: &mut dyn RowGroups,
    ) -> Result<Written, JobError> {
        let layout = Layout { page_rows: self.options.segment_page_rows };
        let segment = new.id;
        self.create_segment_directory(&directory(&self.options.directory, new.collection.id))
            .map_err(|source| JobError::Io { segment, source })?;
        let path = path(&self.options.directory, new.collection.id, segment);
        writer::write(self.env.files.as_ref(), &path, new, rows, layout)
    }

    fn create_segment_directory(&self, directory: &Path) -> io::Result<()> {
        let files = self.env.files.as_ref();
        if files.exists(directory)? { Ok(()) } else { durable::create_directory(files, directory) }
    }

    /// Removes a segment file that was never published.
    pub(crate) fn discard_segment_file(&self, collection: CollectionId, segment: SegmentId) {
        let path = path(&self.options.directory, collection, segment);
        if let Err(error) = self.env.files.remove(&path) {
            // No manifest names it, so the next opening removes it.
            tracing::warn!(path = %path.display(), %error, "cannot remove a segment file");
        }
    }

    pub(crate) fn partition_range(&self, collection: &Collection, time: i64) -> TimeRange {
        let unit = collection.time_column().column_type.time_unit();
        let unit = unit.expect("an invariant of the catalog");
        partition_range(collection.timeseries().partition_by, unit, time)
    }

    pub(crate) fn flush_succeeded(&self) {
        self.flush_failures.store(0, Ordering::Relaxed);
        self.disk_full.store(false, Ordering::Relaxed);
    }

    /// Counts a failed flush; says how long to wait before the next try.
    pub(crate) fn flush_failed(&self, error: &JobError) -> Duration {
        self.metrics.flush_failures.add(1);
        self.disk_full.store(error.io_error().is_some_and(is_disk_full), Ordering::Relaxed);
        flush::retry_delay(self.flush_failures.fetch_add(1, Ordering::Relaxed))
    }
}

/// The file of a segment.
pub fn segment_file(data_directory: &Path, collection: CollectionId, segment: SegmentId) -> PathBuf {
    path(data_directory, collection, segment)
}

/// The directory of a collection's segments, for tools that read them as plain Parquet.
pub fn segment_directory(data_directory: &Path, collection: CollectionId) -> PathBuf {
    directory(data_directory, collection)
}
