//! Removing what is not needed any more.

use std::io;

use crate::durable;
use crate::engine::Inner;
use crate::error::JobError;
use tidemark_catalog::edit::Change;

/// The setting that holds the number of the first log file that is kept.
pub(crate) const FIRST_LOG_FILE: &str = "first_log_file";

/// Removes log files that no collection needs. The catalog learns first which file is the first
/// one, so that a file that is lost is told from one that was removed.
pub(crate) fn truncate_log(engine: &Inner) -> Result<(), JobError> {
    let Some((numbers, first)) = engine.wal.files_below(engine.log_floor()) else { return Ok(()) };
    let setting = Change::PutSetting { name: FIRST_LOG_FILE.to_owned(), value: first.to_string() };
    // What these files say of producers must outlive them.
    let (producers, lsn) = engine.producers.edit(&engine.catalog.view(), engine.env.clock.wall_us());
    if let Some(lsn) = lsn {
        engine.make_log_durable(lsn)?;
    }
    engine.commit_edit(&producers.with(setting))?;
    fail::fail_point!("log::before_remove");
    match engine.wal.remove_files(&numbers) {
        Ok(()) => engine.metrics.log_files_removed.add(numbers.len() as u64),
        // What is left is removed by a later job or the next opening.
        Err(error) => tracing::warn!(%error, "cannot remove log files"),
    }
    Ok(())
}

/// Removes the files of segments that were retired and that no snapshot pins.
pub(crate) fn collect_garbage(engine: &Inner) {
    let files = engine.env.files.as_ref();
    let garbage = engine.files.take_garbage();
    if !garbage.segments.is_empty() {
        engine.files.blocks().forget(&garbage.segments);
    }
    for path in garbage.files {
        match files.remove(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // No manifest names it, so the next opening removes it.
            Err(error) => tracing::warn!(path = %path.display(), %error, "cannot remove a segment file"),
        }
        if let Some(directory) = path.parent()
            && let Err(error) = durable::sync_directory(files, directory)
        {
            tracing::warn!(path = %directory.display(), %error, "cannot sync a segment directory");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::path::PathBuf;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, TimestampMicrosecondArray};
    use tidemark_catalog::collection::{CalendarInterval, IntervalUnit, TimeseriesOptions};
    use tidemark_catalog::ids::{BOOTSTRAP_ROLE, CollectionId, ColumnId, NAMESPACE_PUBLIC};
    use tidemark_catalog::schema::{NewColumn, Nullability};
    use tidemark_catalog::types::{ColumnType, TimeUnit};

    use super::*;
    use crate::batch::WriteBatch;
    use crate::engine::{Durability, Engine, NewTimeseries, Submitted, Write};
    use crate::env::sim::World;
    use crate::options::EngineOptions;
    use crate::producers::BatchNumber;
    use crate::recovery::NewDirectory;

    fn open(world: &World) -> Engine {
        let options = EngineOptions { wal_segment_bytes: 4096, ..EngineOptions::new(PathBuf::from("/data")) };
        let new = NewDirectory { superuser: "tidemark".to_owned(), verifier: None };
        Engine::open(world.env(), options, new).unwrap()
    }

    fn create(engine: &Engine) -> CollectionId {
        let time = ColumnType::Timestamptz(TimeUnit::Microsecond);
        let day = CalendarInterval { count: NonZeroU32::MIN, unit: IntervalUnit::Day };
        let new = NewTimeseries {
            namespace: NAMESPACE_PUBLIC,
            name: "a".to_owned(),
            owner: BOOTSTRAP_ROLE,
            columns: vec![NewColumn::new("ts", time, Nullability::Required)],
            options: TimeseriesOptions::new(ColumnId(1), day),
        };
        engine.create_collection(new).unwrap().id
    }

    fn rows(engine: &Engine, id: CollectionId) -> Write {
        let times = TimestampMicrosecondArray::from_iter_values(0..100).with_timezone("UTC");
        let columns: Vec<(ColumnId, ArrayRef)> = vec![(ColumnId(1), Arc::new(times))];
        let collection = Arc::clone(&engine.view().collection(id).unwrap().collection);
        Write::new(id, WriteBatch::new(&collection, columns).unwrap())
    }

    #[test]
    fn the_number_of_a_batch_is_not_in_the_catalog_before_the_batch_is_in_the_log() {
        let world = World::new(1);
        let engine = open(&world);
        let id = create(&engine);
        for _ in 0..20 {
            engine.write(vec![rows(&engine, id)], Durability::Synced).unwrap();
        }
        engine.flush(id).unwrap();
        // Nobody commits it before log files are removed.
        let number = BatchNumber::new("p", 1).unwrap();
        let send = |engine: &Engine| {
            engine.try_write_numbered(vec![rows(engine, id)], Durability::Synced, Some(&number)).unwrap()
        };
        let waits = send(&engine);
        assert!(engine.log_files().len() > 1, "there are files to remove");
        truncate_log(engine.inner()).unwrap();
        assert_eq!(engine.view().producers().len(), 1);
        world.crash();
        drop((waits, engine));

        let engine = open(&world);
        let kept = engine.metrics().replayed_rows.get();
        let again = send(&engine);
        assert_eq!(kept, 100, "the number is known, so the batch is there");
        assert!(matches!(again, Submitted::Before(_)));
    }
}
