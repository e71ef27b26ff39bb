//! The world outside the engine: clock, files, randomness, threads.
//!
//! The engine reaches them only through these traits. [`os`] is the machine; [`sim`] is a world in
//! memory that follows a seed, forgets what was not synced, and fails where it is told to.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub mod os;
pub mod sim;

/// The clock.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The wall clock: µs since 1970-01-01 UTC. May jump.
    fn wall_us(&self) -> i64;
    /// Time since some moment before the engine was opened. Never goes back.
    fn monotonic(&self) -> Duration;
}

/// The source of random bytes.
pub trait Random: fmt::Debug + Send + Sync {
    /// Fills the buffer.
    fn fill(&self, bytes: &mut [u8]);

    /// A random number.
    fn next_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// What runs in the background.
pub trait Spawn: fmt::Debug + Send + Sync {
    /// Runs the body on a thread of its own until it returns.
    ///
    /// # Errors
    /// The machine gives no thread.
    fn spawn(&self, name: &str, body: Box<dyn FnOnce() + Send>) -> io::Result<Box<dyn Join>>;
}

/// A thread that was spawned.
pub trait Join: fmt::Debug + Send {
    /// Waits until the thread has ended; false when it ended by a panic.
    fn join(self: Box<Self>) -> bool;
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// It must exist; it is not written.
    Read,
    /// It must exist.
    ReadWrite,
    /// It must not exist.
    CreateNew,
}

/// A directory tree.
pub trait Files: fmt::Debug + Send + Sync {
    /// Opens a file.
    ///
    /// # Errors
    /// As the file system says; `AlreadyExists` for [`OpenMode::CreateNew`] on a name in use.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// Whether a file or directory has this name.
    ///
    /// # Errors
    /// As the file system says.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// As the file system says.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// Makes a directory and those above it; one that exists is left alone.
    ///
    /// # Errors
    /// As the file system says.
    fn create_directory(&self, directory: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// As the file system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Gives a file another name. Only [`crate::durable`] may call it.
    ///
    /// # Errors
    /// As the file system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable. Only [`crate::durable`] may call it.
    ///
    /// # Errors
    /// As the file system says.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;
    /// Takes the lock in a file, which is made where it is missing; `None` when another process
    /// has it. The lock goes with the guard, also when the process ends in any way.
    ///
    /// # Errors
    /// As the file system says.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>>;
}

/// A lock that is held until this is dropped.
pub trait LockGuard: fmt::Debug + Send + Sync {}

/// An open file, read and written at positions, from any thread.
pub trait File: fmt::Debug + Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    /// As the file system says.
    fn byte_len(&self) -> io::Result<u64>;
    /// Fills the buffer from `offset`; the end of the file within it is `UnexpectedEof`.
    ///
    /// # Errors
    /// As the file system says.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of the data at `offset`.
    ///
    /// # Errors
    /// As the file system says; part of the data may be written.
    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()>;
    /// Makes the file at least `len` bytes long with room on the disk for all of them, so that
    /// writing there does not fail for want of space. New bytes are zero.
    ///
    /// # Errors
    /// As the file system says.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Cuts or extends the file to `len` bytes. New bytes are zero.
    ///
    /// # Errors
    /// As the file system says.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes what was written durable. Only [`crate::durable`] may call it.
    ///
    /// # Errors
    /// As the file system says. What is durable after an error is not known.
    fn sync_data(&self) -> io::Result<()>;
}

/// All of it.
#[derive(Clone, Debug)]
pub struct Env {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The files.
    pub files: Arc<dyn Files>,
    /// The source of random bytes.
    pub random: Arc<dyn Random>,
    /// The threads; `None` means that the caller drives background work by `Engine::step`.
    pub spawn: Option<Arc<dyn Spawn>>,
}
