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
    let producers = engine.producers.edit(&engine.catalog.view(), engine.env.clock.wall_us());
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
    for path in engine.files.take_garbage() {
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
