//! What must hold in every catalog, and between a catalog and the next.
//!
//! Checked on opening and on every commit, before anything is written. A failing check means a bug
//! in the caller; the edit is refused so that the bug stays out of the file.
//!
//! 1. A name is used once in a namespace.
//! 2. Column ids of a collection are distinct and below its counter; its key columns exist, its
//!    time key is a timestamp, and a key against duplicates holds the time and series keys.
//! 3. Partitions of a collection do not overlap.
//! 4. A segment lies within its partition, has rows, and holds no commit above the collection's
//!    `flushed_lsn`: or restart would replay rows that a segment already has.
//! 5. From one catalog to the next `flushed_lsn` does not move back, a schema changes only to a
//!    higher version, no column changes its type but from symbol to text, keys stay, a live segment changes in nothing but which
//!    of its rows are deleted, and those only become more.
//! 6. What has a namespace or a comment is there.

use std::collections::HashSet;
use std::sync::Arc;

use crate::collection::TimeseriesOptions;
use crate::error::InvariantError;
use crate::schema::{Schema, may_become};
use crate::segment::Segment;
use crate::view::{CollectionView, View};

/// Checks a catalog by itself, all of it.
pub(crate) fn check(view: &View) -> Result<(), InvariantError> {
    let mut names = HashSet::new();
    check_references(view)?;
    for collection in view.collections.values() {
        if !names.insert((collection.collection.namespace, &collection.collection.name)) {
            return Err(InvariantError::DuplicateName(collection.collection.name.clone()));
        }
        check_collection(collection)?;
    }
    Ok(())
}

/// Checks what an edit changed: `next` against itself and against `current`.
pub(crate) fn check_transition(current: &View, next: &View) -> Result<(), InvariantError> {
    check_references(next)?;
    for (id, after) in &next.collections {
        match current.collections.get(id) {
            None => check_collection(after)?,
            Some(before) if same(before, after) => {}
            Some(before) => {
                check_collection(after)?;
                check_collection_transition(before, after)?;
            }
        }
    }
    for (name, before) in current.producers.iter() {
        if next.producers.get(name).is_some_and(|after| after.sequence < before.sequence) {
            return Err(InvariantError::ProducerWentBack(name.clone()));
        }
    }
    Ok(())
}

fn check_references(view: &View) -> Result<(), InvariantError> {
    for collection in view.collections.values() {
        if !view.namespaces.contains_key(&collection.collection.namespace) {
            return Err(InvariantError::NoNamespace(collection.collection.id));
        }
    }
    match view.comments.keys().find(|object| !view.has(**object)) {
        Some(object) => Err(InvariantError::CommentOnNothing(*object)),
        None => Ok(()),
    }
}

fn same(before: &CollectionView, after: &CollectionView) -> bool {
    Arc::ptr_eq(&before.collection, &after.collection)
        && Arc::ptr_eq(&before.partitions, &after.partitions)
        && Arc::ptr_eq(&before.segments, &after.segments)
}

fn check_collection(view: &CollectionView) -> Result<(), InvariantError> {
    let collection = &view.collection;
    check_columns(view)?;
    let mut partitions: Vec<_> = view.partitions.values().collect();
    partitions.sort_by_key(|partition| partition.range.start);
    for pair in partitions.windows(2) {
        if pair[0].range.overlaps(&pair[1].range) {
            return Err(InvariantError::OverlappingPartitions(pair[0].id, pair[1].id));
        }
    }
    for segment in view.segments.values() {
        let deleted = segment.deleted.map_or(0, |deleted| deleted.row_count);
        if segment.row_count <= deleted
            || segment.time_min > segment.time_max
            || segment.lsn_min > segment.lsn_max
        {
            return Err(InvariantError::ImpossibleStatistics(segment.id));
        }
        let inside = view.partitions.get(&segment.partition).is_some_and(|partition| {
            partition.range.contains(segment.time_min) && partition.range.contains(segment.time_max)
        });
        if !inside {
            return Err(InvariantError::SegmentOutsidePartition(segment.id));
        }
        if segment.lsn_max > collection.flushed_lsn {
            return Err(InvariantError::SegmentAboveFlushed {
                segment: segment.id,
                lsn_max: segment.lsn_max,
                flushed_lsn: collection.flushed_lsn,
            });
        }
    }
    Ok(())
}

fn check_columns(view: &CollectionView) -> Result<(), InvariantError> {
    let collection = &view.collection;
    let schema = &collection.schema;
    let mut ids = HashSet::new();
    for column in &schema.columns {
        if !ids.insert(column.id) || column.id.0 >= schema.next_column_id {
            return Err(InvariantError::ContradictingColumns(collection.id));
        }
    }
    let options = collection.timeseries();
    let missing = |column| InvariantError::MissingKeyColumn { collection: collection.id, column };
    for key in options.series_key.iter().chain(&options.dedup_key) {
        schema.column(*key).ok_or(missing(*key))?;
    }
    let dedup = &options.dedup_key;
    let mut needed = options.series_key.iter().chain([&options.time_key]);
    if !dedup.is_empty() && !needed.all(|key| dedup.contains(key)) {
        return Err(InvariantError::IncompleteDedupKey(collection.id));
    }
    let time = schema.column(options.time_key).ok_or(missing(options.time_key))?;
    time.column_type.time_unit().ok_or(missing(options.time_key))?;
    Ok(())
}

fn check_collection_transition(
    before: &CollectionView,
    after: &CollectionView,
) -> Result<(), InvariantError> {
    let id = after.collection.id;
    if after.collection.flushed_lsn < before.collection.flushed_lsn {
        return Err(InvariantError::FlushedLsnMovedBack(id));
    }
    let (old, new) = (&before.collection.schema, &after.collection.schema);
    let changed = !Arc::ptr_eq(old, new) && old != new;
    if changed && (new.version <= old.version || !keeps_types(old, new)) {
        return Err(InvariantError::SchemaChangedUnseen(id));
    }
    let (old, new) = (before.collection.timeseries(), after.collection.timeseries());
    let keys = |options: &TimeseriesOptions| {
        let TimeseriesOptions { time_key, partition_by, series_key, dedup_key, .. } = options.clone();
        (time_key, partition_by, series_key, dedup_key)
    };
    if keys(old) != keys(new) {
        return Err(InvariantError::KeysChanged(id));
    }
    for (segment_id, segment) in after.segments.iter() {
        let unchanged = before
            .segments
            .get(segment_id)
            .is_none_or(|earlier| Arc::ptr_eq(earlier, segment) || may_follow(earlier, segment));
        if !unchanged {
            return Err(InvariantError::SegmentChanged(*segment_id));
        }
    }
    Ok(())
}

/// Whether a segment changes in nothing but that more of its rows are deleted.
fn may_follow(earlier: &Segment, later: &Segment) -> bool {
    let count = |segment: &Segment| segment.deleted.map_or(0, |deleted| deleted.row_count);
    let same_deleted = earlier.deleted == later.deleted;
    (same_deleted || count(earlier) < count(later))
        && *earlier == Segment { deleted: earlier.deleted, ..later.clone() }
}

fn keeps_types(old: &Schema, new: &Schema) -> bool {
    new.next_column_id >= old.next_column_id
        && old.columns.iter().all(|column| {
            new.column(column.id).is_none_or(|later| may_become(&column.column_type, &later.column_type))
        })
}
