//! The names in a data directory: steps 1 and 3 of opening it.
//!
//! The marker is written last, so a directory with it has all the others. Without it, what is there may only
//! be what a start that was interrupted left.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use tidemark_catalog::ids::CollectionId;
use tidemark_catalog::segment::Segment;
use tidemark_catalog::view::View;

use crate::durable::{self, TEMPORARY_SUFFIX};
use crate::env::{Files, LockGuard, OpenMode};
use crate::error::OpenError;
use crate::segment;

/// The newest format of a data directory.
const FORMAT: u32 = 1;

pub(crate) const MARKER: &str = "TIDEMARK";
pub(crate) const LOCK: &str = "LOCK";
pub(crate) const CATALOG: &str = "catalog.redb";
pub(super) const RESERVE: &str = "catalog.reserve";
pub(crate) const LOG: &str = "wal";
pub(crate) const SEGMENTS: &str = "segments";

pub(super) fn prepare_directory(
    files: &dyn Files,
    directory: &Path,
) -> Result<Box<dyn LockGuard>, OpenError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    };
    if !files.exists(directory).map_err(io(directory))? {
        durable::create_directory(files, directory).map_err(io(directory))?;
    }
    let marker = directory.join(MARKER);
    let names = files.list(directory).map_err(io(directory))?;
    let ours = |name: &String| {
        [MARKER, LOCK, "lost+found"].contains(&name.as_str()) || name.ends_with(TEMPORARY_SUFFIX)
    };
    if !names.iter().any(|name| name == MARKER) && !names.iter().all(ours) {
        return Err(OpenError::NotADataDirectory { path: directory.to_owned() });
    }
    let lock_path = directory.join(LOCK);
    let lock = files.lock(&lock_path).map_err(io(&lock_path))?;
    let lock = lock.ok_or_else(|| OpenError::InUse { path: directory.to_owned() })?;
    if files.exists(&marker).map_err(io(&marker))? {
        check_marker(files, directory, &marker)?;
    } else {
        for name in [LOG, SEGMENTS] {
            let path = directory.join(name);
            durable::create_directory(files, &path).map_err(io(&path))?;
        }
        write_marker(files, &marker).map_err(io(&marker))?;
    }
    Ok(lock)
}

pub(crate) fn check_marker(files: &dyn Files, directory: &Path, marker: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { path: marker.to_owned(), source };
    let file = files.open(marker, OpenMode::Read).map_err(io)?;
    let length = usize::try_from(file.byte_len().map_err(io)?.min(64)).expect("at most 64");
    let mut text = vec![0; length];
    file.read_exact_at(&mut text, 0).map_err(io)?;
    let text = String::from_utf8_lossy(&text);
    let format = text.trim().strip_prefix("tidemark data directory, format ");
    let format = format.and_then(|format| format.parse::<u32>().ok());
    let format = format.ok_or_else(|| OpenError::NotADataDirectory { path: directory.to_owned() })?;
    if format > FORMAT {
        return Err(OpenError::NewerFormat { found: format, supported: FORMAT });
    }
    Ok(())
}

fn write_marker(files: &dyn Files, marker: &Path) -> std::io::Result<()> {
    let mut temporary = marker.as_os_str().to_owned();
    temporary.push(TEMPORARY_SUFFIX);
    let temporary = PathBuf::from(temporary);
    if files.exists(&temporary)? {
        files.remove(&temporary)?;
    }
    let pending = durable::create(files, marker)?;
    let text = format!("tidemark data directory, format {FORMAT}\n");
    pending.file.write_all_at(text.as_bytes(), 0)?;
    durable::publish(files, pending)?;
    Ok(())
}

pub(super) fn remove_orphans(files: &dyn Files, directory: &Path, view: &View) -> Result<(), OpenError> {
    let root = directory.join(SEGMENTS);
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    };
    for name in files.list(&root).map_err(io(&root))? {
        let Ok(collection) = name.parse().map(CollectionId) else {
            tracing::warn!(name, "an unknown name among the segments is left alone");
            continue;
        };
        let path = root.join(&name);
        let live: HashSet<String> = view
            .collection(collection)
            .map(|view| view.segments.values().flat_map(|segment| files_of(segment)).collect())
            .unwrap_or_default();
        let mut removed = 0;
        for file in files.list(&path).map_err(io(&path))? {
            let ours = segment::is_own_file_name(&file) || file.ends_with(TEMPORARY_SUFFIX);
            if ours && !live.contains(&file) {
                files.remove(&path.join(&file)).map_err(io(&path))?;
                removed += 1;
            }
        }
        if removed > 0 {
            tracing::info!(collection = %collection, removed, "removed unfinished segment files");
            durable::sync_directory(files, &path).map_err(io(&path))?;
        }
    }
    Ok(())
}

/// The files that a live segment has.
pub(crate) fn files_of(segment: &Segment) -> impl Iterator<Item = String> {
    let deleted = segment.deleted.map(|deleted| segment::deleted_file_name(deleted.file));
    std::iter::once(segment::file_name(segment.id)).chain(deleted)
}
