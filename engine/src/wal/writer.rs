//! Appending to the log, with one sync for all that wait.
//!
//! ```text
//! append ──▶ queue ──▶ commit_once ──▶ write frame ──▶ sync ──▶ visible = last LSN ──▶ wake waiters
//!            (LSN, time, place)
//! ```
//!
//! Invariants:
//!
//! 1. A record's place in a file is fixed when it enters the queue, and there is room for it on
//!    the disk: a full disk is told to the writer before anything has happened, never afterwards.
//! 2. Frames are written in the order of LSNs, by one committer at a time.
//! 3. `visible` passes a record only when it is as durable as its writer asked for.
//! 4. A file is synced whole before the next one gets its first byte.
//! 5. After a failed write or sync nothing is known about the file: the log is poisoned, every
//!    waiter gets an error, and only opening it again helps.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidemark_catalog::ids::Lsn;
use tokio::sync::oneshot;

use crate::durable;
use crate::env::{Env, File, OpenMode};
use crate::error::WalError;
use crate::options::OnFailure;
use crate::wal::format::{FILE_HEADER_BYTES, FRAME_HEADER_BYTES, RecordKind, record_bytes};
use crate::wal::reader::file_name;

mod commit;

/// Bodies of at least and at most so many bytes are kept for the next ones, and so many of them.
const SPARE_BYTES_MIN: usize = 256 << 10;
const SPARE_BYTES_MAX: usize = 8 << 20;
const SPARE_BODIES_MAX: usize = 4;

/// The largest body of a record.
pub(crate) const RECORD_BYTES_MAX: usize = 1 << 30;

/// When a record counts as committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When it is on the disk.
    Synced,
    /// When the system has it; a crash of the machine may lose it.
    Written,
}

/// Where the log goes on after it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Continuation {
    pub(crate) system_identifier: u64,
    pub(crate) next_lsn: Lsn,
    pub(crate) next_file: u64,
    /// Where the last file that was read ends.
    pub(crate) previous_end: Option<u64>,
    pub(crate) chain: u32,
    pub(crate) system_time_floor_us: i64,
}

/// A position and time that were given to a record.
#[derive(Debug)]
pub(crate) struct Appended {
    pub(crate) lsn: Lsn,
    pub(crate) system_time_us: i64,
    /// Completes when the record is as durable as was asked for.
    pub(crate) committed: oneshot::Receiver<Result<(), WalError>>,
}

/// The log, open for appending.
#[derive(Debug)]
pub(crate) struct Wal {
    env: Env,
    directory: PathBuf,
    segment_bytes: u64,
    system_identifier: u64,
    on_failure: OnFailure,
    /// May be taken while `output` is held, never the other way round.
    queue: Mutex<Queue>,
    /// Signalled when the queue gets its first record, and on closing.
    work: Condvar,
    output: Mutex<Output>,
    /// Memory of bodies that were written, for the next ones. Taken with no other lock held.
    spare_bodies: Mutex<Vec<Vec<u8>>>,
    visible: AtomicU64,
    durable: AtomicU64,
    poisoned: AtomicBool,
}

#[derive(Debug)]
struct Queue {
    records: VecDeque<Queued>,
    next_lsn: Lsn,
    system_time_us: i64,
    /// The file that the next record goes to, and how much room the records before it leave.
    place: Place,
    /// Files that records in the queue go to and that the committer has not reached.
    upcoming: VecDeque<LogFile>,
    closing: bool,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    number: u64,
    room_bytes: u64,
}

#[derive(Debug)]
struct LogFile {
    number: u64,
    file: Arc<dyn File>,
}

#[derive(Debug)]
struct Queued {
    lsn: Lsn,
    kind: RecordKind,
    system_time_us: i64,
    body: Vec<u8>,
    file: u64,
    durability: Durability,
    committed: oneshot::Sender<Result<(), WalError>>,
}

/// What the committer writes to.
#[derive(Debug)]
struct Output {
    current: Option<LogFile>,
    /// Where the next frame goes in `current`; before the first, where the previous file ended.
    position: Option<u64>,
    chain: u32,
    system_time_us: i64,
    /// The last LSN in the file that is not known to be durable, if there is one.
    unsynced: Option<Lsn>,
    synced_at: Duration,
    /// Files that hold records, with the first LSN of each; the last is `current`.
    used: VecDeque<(u64, Lsn)>,
    payload: Vec<u8>,
}

impl Wal {
    /// Goes on after what `used` and the continuation say was read.
    pub(crate) fn new(
        env: Env,
        directory: PathBuf,
        segment_bytes: u64,
        on_failure: OnFailure,
        from: Continuation,
        used: VecDeque<(u64, Lsn)>,
    ) -> Wal {
        let last = from.next_lsn.0 - 1;
        Wal {
            queue: Mutex::new(Queue {
                records: VecDeque::new(),
                next_lsn: from.next_lsn,
                system_time_us: from.system_time_floor_us,
                place: Place { number: from.next_file - 1, room_bytes: 0 },
                upcoming: VecDeque::new(),
                closing: false,
            }),
            work: Condvar::new(),
            output: Mutex::new(Output {
                current: None,
                position: from.previous_end,
                chain: from.chain,
                system_time_us: from.system_time_floor_us,
                unsynced: None,
                synced_at: env.clock.monotonic(),
                used,
                payload: Vec::new(),
            }),
            spare_bodies: Mutex::default(),
            visible: AtomicU64::new(last),
            durable: AtomicU64::new(last),
            poisoned: AtomicBool::new(false),
            env,
            directory,
            segment_bytes,
            system_identifier: from.system_identifier,
            on_failure,
        }
    }

    /// An empty body with room for so many bytes.
    pub(crate) fn new_body(&self, bytes: usize) -> Vec<u8> {
        let mut spare = self.lock_spare_bodies();
        match spare.iter().position(|body| body.capacity() >= bytes && bytes >= SPARE_BYTES_MIN) {
            Some(at) => spare.swap_remove(at),
            None => Vec::with_capacity(bytes),
        }
    }

    /// Keeps the memory of a large body for the next one: memory that goes back to the system comes from it
    /// page by page, each to be cleared.
    fn keep_body(&self, mut body: Vec<u8>) {
        if !(SPARE_BYTES_MIN..=SPARE_BYTES_MAX).contains(&body.capacity()) {
            return;
        }
        body.clear();
        let mut spare = self.lock_spare_bodies();
        if spare.len() < SPARE_BODIES_MAX {
            spare.push(body);
        }
    }

    /// Gives the record its LSN, its system time and its place in the log. Records are committed
    /// in the order of their LSNs.
    ///
    /// # Errors
    /// The disk is full, the log was closed or is poisoned: nothing was appended.
    pub(crate) fn append(
        &self,
        kind: RecordKind,
        body: Vec<u8>,
        durability: Durability,
    ) -> Result<Appended, WalError> {
        if body.len() > RECORD_BYTES_MAX {
            return Err(WalError::RecordTooLarge { bytes: body.len(), bytes_max: RECORD_BYTES_MAX });
        }
        let mut queue = self.lock_queue();
        if self.poisoned.load(Ordering::Acquire) {
            return Err(WalError::Poisoned);
        }
        if queue.closing {
            return Err(WalError::Closed);
        }
        let file = self.reserve(&mut queue, record_bytes(body.len()))?;
        let lsn = queue.next_lsn;
        queue.next_lsn = lsn.next();
        // Strictly rising also when the clock stands still or goes back.
        queue.system_time_us = self.env.clock.wall_us().max(queue.system_time_us + 1);
        let system_time_us = queue.system_time_us;
        let (committed, waiter) = oneshot::channel();
        queue.records.push_back(Queued { lsn, kind, system_time_us, body, file, durability, committed });
        drop(queue);
        self.work.notify_one();
        Ok(Appended { lsn, system_time_us, committed: waiter })
    }

    /// The file with room for a frame of one record of this size, made where there is none.
    fn reserve(&self, queue: &mut Queue, record_bytes: usize) -> Result<u64, WalError> {
        // Room is counted as if each record had a frame of its own.
        let needed = (FRAME_HEADER_BYTES + record_bytes) as u64;
        if needed > queue.place.room_bytes {
            let number = queue.place.number + 1;
            let capacity = self.segment_bytes.max(FILE_HEADER_BYTES as u64 + needed);
            let file = self.create_file(number, capacity)?;
            queue.upcoming.push_back(LogFile { number, file });
            queue.place = Place { number, room_bytes: capacity - FILE_HEADER_BYTES as u64 };
        }
        queue.place.room_bytes -= needed;
        Ok(queue.place.number)
    }

    fn create_file(&self, number: u64, capacity: u64) -> Result<Arc<dyn File>, WalError> {
        let path = self.directory.join(file_name(number));
        let files = self.env.files.as_ref();
        let file =
            files.open(&path, OpenMode::CreateNew).map_err(|error| WalError::NoRoom(Arc::new(error)))?;
        let prepared = file
            .allocate(capacity)
            .and_then(|()| durable::sync(file.as_ref()))
            .and_then(|()| durable::sync_directory(files, &self.directory));
        if let Err(error) = prepared {
            // The same number is tried again by the next writer. If the name cannot be freed, that
            // one fails too, until the log is opened again and finds an unused file.
            if let Err(removal) = files.remove(&path) {
                tracing::warn!(path = %path.display(), error = %removal, "cannot remove an unused log file");
            }
            return Err(WalError::NoRoom(Arc::new(error)));
        }
        Ok(file)
    }

    /// Every commit up to this one is seen by readers.
    pub(crate) fn visible_lsn(&self) -> Lsn {
        Lsn(self.visible.load(Ordering::Acquire))
    }

    /// Every commit up to this one is on the disk.
    pub(crate) fn durable_lsn(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::Acquire))
    }

    /// The LSN that the next record will have.
    pub(crate) fn next_lsn(&self) -> Lsn {
        self.lock_queue().next_lsn
    }

    /// Whether a write or sync failed.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// The numbers of the files that hold nothing but records below `lsn`, and the first file
    /// that is kept. The file being written is always kept.
    pub(crate) fn files_below(&self, lsn: Lsn) -> Option<(Vec<u64>, u64)> {
        let output = self.lock_output();
        let used = &output.used;
        // A file's records end where the next one's begin. The first file that is kept must be there
        // after a crash, so its first record, and with it its header, is durable.
        let lsn = lsn.min(self.durable_lsn());
        let removable = (1..used.len()).take_while(|next| used[*next].1 <= lsn).count();
        let numbers = used.iter().take(removable).map(|(number, _)| *number).collect();
        (removable > 0).then(|| (numbers, used[removable].0))
    }

    /// Removes files that [`Wal::files_below`] named.
    pub(crate) fn remove_files(&self, numbers: &[u64]) -> io::Result<()> {
        for number in numbers {
            self.env.files.remove(&self.directory.join(file_name(*number)))?;
            self.lock_output().used.retain(|(used, _)| used != number);
        }
        durable::sync_directory(self.env.files.as_ref(), &self.directory)
    }

    /// Where a file of the log is.
    pub(crate) fn file_path(&self, number: u64) -> PathBuf {
        self.directory.join(file_name(number))
    }

    /// The files that hold records, with the first LSN of each.
    pub(crate) fn used_files(&self) -> Vec<(u64, Lsn)> {
        self.lock_output().used.iter().copied().collect()
    }

    #[cfg(test)]
    pub(crate) fn set_on_failure(&mut self, on_failure: OnFailure) {
        self.on_failure = on_failure;
    }

    /// Takes no more records; what is in the queue is still committed.
    pub(crate) fn close(&self) {
        self.lock_queue().closing = true;
        self.work.notify_all();
    }

    /// Makes everything that was written durable.
    pub(crate) fn sync_now(&self) -> Result<(), WalError> {
        let mut output = self.lock_output();
        if self.is_poisoned() {
            return Err(WalError::Poisoned);
        }
        let synced = self.sync(&mut output);
        drop(output);
        synced.map_err(|error| WalError::Failed(self.poison(error)))
    }

    fn poison(&self, error: io::Error) -> Arc<io::Error> {
        self.poisoned.store(true, Ordering::Release);
        let error = Arc::new(error);
        self.on_failure.call(&format!("the write-ahead log cannot be written: {error}"));
        error
    }

    fn lock_spare_bodies(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.spare_bodies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_output(&self) -> MutexGuard<'_, Output> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
