//! The only place that syncs and renames.
//!
//! A file becomes part of the data directory in this order, and after a crash at any point it is
//! either whole under its final name or not there:
//!
//! 1. it is created exclusively under a temporary name and written;
//! 2. its data is synced;
//! 3. it is renamed to a name that no file ever had;
//! 4. its directory is synced. Only now may the catalog name it.
//!
//! An error at any step, the last included, means the file is not published.
#![allow(clippy::disallowed_methods, reason = "this module is where syncing and renaming is done")]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::env::{File, Files, OpenMode};

/// The ending of a file that is not published yet; such files are removed on opening.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";

/// A file on its way to be published.
#[derive(Debug)]
pub(crate) struct PendingFile {
    path: PathBuf,
    temporary: PathBuf,
    pub(crate) file: Arc<dyn File>,
}

/// Starts a file that will be published as `path`.
pub(crate) fn create(files: &dyn Files, path: &Path) -> io::Result<PendingFile> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(TEMPORARY_SUFFIX);
    let temporary = PathBuf::from(temporary);
    let file = files.open(&temporary, OpenMode::CreateNew)?;
    Ok(PendingFile { path: path.to_owned(), temporary, file })
}

/// Makes the file durable under its final name.
pub(crate) fn publish(files: &dyn Files, pending: PendingFile) -> io::Result<Arc<dyn File>> {
    pending.file.sync_data()?;
    if files.exists(&pending.path)? {
        // Names come from durable counters, so this is damage or a bug: never replace a file.
        return Err(io::Error::from(io::ErrorKind::AlreadyExists));
    }
    files.rename(&pending.temporary, &pending.path)?;
    files.sync_directory(parent(&pending.path))?;
    Ok(pending.file)
}

/// Gives up a file that was not published.
pub(crate) fn discard(files: &dyn Files, pending: &PendingFile) -> io::Result<()> {
    files.remove(&pending.temporary)
}

/// Makes what was written to a file durable.
pub(crate) fn sync(file: &dyn File) -> io::Result<()> {
    file.sync_data()
}

/// Makes a directory with its name in the one above durable.
pub(crate) fn create_directory(files: &dyn Files, directory: &Path) -> io::Result<()> {
    files.create_directory(directory)?;
    files.sync_directory(directory)?;
    files.sync_directory(parent(directory))
}

/// Makes removals in a directory durable.
pub(crate) fn sync_directory(files: &dyn Files, directory: &Path) -> io::Result<()> {
    files.sync_directory(directory)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
