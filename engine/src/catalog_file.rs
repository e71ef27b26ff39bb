//! The catalog's file on the engine's files, with a reserve for a full disk.
//!
//! The catalog has to grow a little when the disk is full: dropping a collection is how space is
//! made. So growth is reserved on the disk before it counts, and when there is no room, a reserve
//! file gives up its space to it, and to the files that say which rows are deleted. The reserve is made
//! again when there is room.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tidemark_catalog::store::CatalogFile;

use crate::durable;
use crate::env::{File, Files, OpenMode};

const RESERVE_BYTES: u64 = 16 << 20;

/// The reserve is given away in pieces of so many bytes, to leave most of it to the catalog.
const PIECE_BYTES: u64 = 256 << 10;

/// The space that is kept for the catalog.
#[derive(Debug)]
pub(crate) struct Reserve {
    files: Arc<dyn Files>,
    path: PathBuf,
    /// Whether the reserve file was seen with its full length.
    present: Mutex<bool>,
}

impl Reserve {
    pub(crate) fn new(files: Arc<dyn Files>, path: PathBuf) -> Arc<Reserve> {
        Arc::new(Reserve { files, path, present: Mutex::new(false) })
    }

    /// Makes the reserve where it is missing. That there is no room for it is no error.
    pub(crate) fn restore(&self) {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if *present {
            return;
        }
        let made = self.make();
        *present = made.is_ok();
        if let Err(error) = made {
            tracing::debug!(%error, "no room for the catalog's reserve");
        }
    }

    fn make(&self) -> io::Result<()> {
        let mode = if self.files.exists(&self.path)? { OpenMode::ReadWrite } else { OpenMode::CreateNew };
        let file = self.files.open(&self.path, mode)?;
        if file.byte_len()? < RESERVE_BYTES {
            file.allocate(RESERVE_BYTES)?;
        }
        Ok(())
    }

    /// Gives up some of the space, to a file of this size by which space is made.
    pub(crate) fn give(&self, bytes: u64) -> io::Result<()> {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        *present = false;
        tracing::warn!(bytes, "the disk is full: using some of the space reserved for the catalog");
        let file = self.files.open(&self.path, OpenMode::ReadWrite)?;
        let given = bytes.next_multiple_of(PIECE_BYTES);
        file.set_len(file.byte_len()?.saturating_sub(given))
    }

    fn release(&self) -> io::Result<()> {
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        *present = false;
        tracing::warn!("the disk is full: using the space reserved for the catalog");
        self.files.remove(&self.path)
    }
}

/// The catalog's file.
pub(crate) struct EngineCatalogFile {
    file: Arc<dyn File>,
    reserve: Arc<Reserve>,
}

impl EngineCatalogFile {
    pub(crate) fn new(file: Arc<dyn File>, reserve: Arc<Reserve>) -> EngineCatalogFile {
        EngineCatalogFile { file, reserve }
    }
}

impl fmt::Debug for EngineCatalogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EngineCatalogFile").field(&self.file).finish()
    }
}

/// Whether an operation failed for want of space.
pub fn is_disk_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl CatalogFile for EngineCatalogFile {
    fn byte_len(&self) -> io::Result<u64> {
        self.file.byte_len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if len <= self.file.byte_len()? {
            return self.file.set_len(len);
        }
        match self.file.allocate(len) {
            Err(error) if is_disk_full(&error) => {
                self.reserve.release()?;
                self.file.allocate(len)
            }
            outcome => outcome,
        }
    }

    fn sync(&self) -> io::Result<()> {
        durable::sync(self.file.as_ref())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, offset)
    }
}
