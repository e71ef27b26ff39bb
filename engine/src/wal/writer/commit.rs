//! What the committer does: it takes what is in the queue, writes it as one frame, syncs it where that was
//! asked for, and wakes those who wait.
//!
//! 1. Records of one file, up to [`FRAME_BYTES_SOFT`], leave the queue.
//! 2. If they begin a file, the one before is synced whole.
//! 3. Their frame is written in one go, behind the last one.
//! 4. It is synced, if one of them waits for the disk, or if the commit mode says that it is time.
//! 5. They are visible, and their writers are told. After a failure in between all get the error, and so do
//!    those in the queue.

use std::io;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidemark_catalog::ids::Lsn;

use super::{Durability, LogFile, Output, Queued, Wal};
use crate::durable;
use crate::error::WalError;
use crate::options::CommitMode;
use crate::wal::format::{
    FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FileHeader, FrameHeader, RawRecord, encode_record, record_bytes,
};

/// Records are gathered into frames of about this many bytes; a larger record has a frame alone.
const FRAME_BYTES_SOFT: usize = 4 << 20;

impl Wal {
    /// Waits for records, or until the commit mode asks for a sync, and commits. Returns false when
    /// the log was closed and everything in it is committed.
    pub(crate) fn wait_and_commit(&self, mode: CommitMode) -> bool {
        // Only the committer changes what this is computed from.
        let sync_due_in = self.sync_due_in(mode);
        {
            let mut queue = self.lock_queue();
            while queue.records.is_empty() && !queue.closing {
                match sync_due_in {
                    None => queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner),
                    Some(wait) => {
                        let waited = self.work.wait_timeout(queue, wait);
                        let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                        queue = guard;
                        if timeout.timed_out() {
                            break;
                        }
                    }
                }
            }
            if queue.records.is_empty() && queue.closing {
                return false;
            }
        }
        self.commit_once(mode);
        true
    }

    /// When records that were only written must be synced.
    fn sync_due_in(&self, mode: CommitMode) -> Option<Duration> {
        let output = self.lock_output();
        output.unsynced?;
        match mode {
            CommitMode::Interval(interval) => {
                let due = output.synced_at + interval;
                Some(due.saturating_sub(self.env.clock.monotonic()))
            }
            CommitMode::Group | CommitMode::Off => None,
        }
    }

    /// Commits what is in the queue up to one frame. Returns whether there was something to do.
    pub(crate) fn commit_once(&self, mode: CommitMode) -> bool {
        let mut output = self.lock_output();
        let (batch, next_file) = self.take_batch(&output);
        let due = matches!(mode, CommitMode::Interval(interval)
            if output.unsynced.is_some() && self.env.clock.monotonic() >= output.synced_at + interval);
        if batch.is_empty() && !due {
            return false;
        }
        let written = self.write_batch(&mut output, &batch, next_file, due);
        drop(output);
        self.finish(batch, written);
        true
    }

    /// Records for one frame, and the file it starts, if it does.
    fn take_batch(&self, output: &Output) -> (Vec<Queued>, Option<LogFile>) {
        let mut queue = self.lock_queue();
        let mut batch: Vec<Queued> = Vec::new();
        let mut bytes = 0;
        while let Some(next) = queue.records.front() {
            bytes += record_bytes(next.body.len());
            let fits = batch.first().is_none_or(|first| first.file == next.file && bytes <= FRAME_BYTES_SOFT);
            if !fits {
                break;
            }
            batch.extend(queue.records.pop_front());
        }
        let starts_file = batch
            .first()
            .is_some_and(|first| output.current.as_ref().is_none_or(|current| current.number != first.file));
        let next_file = if starts_file { queue.upcoming.pop_front() } else { None };
        (batch, next_file)
    }

    fn write_batch(
        &self,
        output: &mut Output,
        batch: &[Queued],
        next_file: Option<LogFile>,
        sync_due: bool,
    ) -> io::Result<()> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(io::Error::other("the log is poisoned"));
        }
        if let Some(next_file) = next_file {
            if output.unsynced.is_some() {
                self.sync(output)?;
            }
            output.current = Some(next_file);
        }
        if let (Some(first), Some(last)) = (batch.first(), batch.last()) {
            self.write_frame(output, batch, first.lsn)?;
            output.unsynced = Some(last.lsn);
        }
        let asked = batch.iter().any(|record| record.durability == Durability::Synced);
        if (asked && !acknowledges_before_sync()) || sync_due {
            self.sync(output)?;
        }
        // Under the output's lock: what is durable is visible to whoever learns that it is.
        if let Some(last) = batch.last() {
            self.visible.store(last.lsn.0, Ordering::Release);
        }
        Ok(())
    }

    fn write_frame(&self, output: &mut Output, batch: &[Queued], first_lsn: Lsn) -> io::Result<()> {
        let mut payload = std::mem::take(&mut output.payload);
        payload.clear();
        // The header's place; the frame is written in one go.
        payload.resize(FRAME_HEADER_BYTES, 0);
        for queued in batch {
            let record =
                RawRecord { kind: queued.kind, system_time_us: queued.system_time_us, body: &queued.body };
            encode_record(&mut payload, &record);
        }
        let records = &payload[FRAME_HEADER_BYTES..];
        let header = FrameHeader {
            payload_bytes: u32::try_from(records.len()).map_err(io::Error::other)?,
            first_lsn,
            record_count: u32::try_from(batch.len()).map_err(io::Error::other)?,
            payload_crc32c: crc32c::crc32c_append(output.chain, records),
            durable_lsn: Lsn(self.durable.load(Ordering::Acquire)),
        };
        payload[..FRAME_HEADER_BYTES].copy_from_slice(&header.encode());
        let position = self.start_file_if_new(output, first_lsn)?;
        fail::fail_point!("wal::before_write");
        let file = &output.current.as_ref().expect("a batch has a file").file;
        file.write_all_at(&payload, position)?;
        fail::fail_point!("wal::after_write");
        output.position = Some(position + payload.len() as u64);
        output.chain = header.payload_crc32c;
        output.system_time_us = batch.last().map_or(output.system_time_us, |it| it.system_time_us);
        payload.shrink_to(FRAME_BYTES_SOFT * 2);
        output.payload = payload;
        Ok(())
    }

    /// Where the frame goes; writes the header of a file that gets its first frame.
    fn start_file_if_new(&self, output: &mut Output, first_lsn: Lsn) -> io::Result<u64> {
        let current = output.current.as_ref().expect("a batch has a file");
        if output.used.back().is_some_and(|(number, _)| *number == current.number) {
            return Ok(output.position.expect("a file in use has a position"));
        }
        let header = FileHeader {
            system_identifier: self.system_identifier,
            number: current.number,
            first_lsn,
            previous_end: output.position,
            system_time_floor_us: output.system_time_us,
            chain: output.chain,
        };
        current.file.write_all_at(&header.encode(), 0)?;
        output.used.push_back((current.number, first_lsn));
        Ok(FILE_HEADER_BYTES as u64)
    }

    pub(super) fn sync(&self, output: &mut Output) -> io::Result<()> {
        if let Some(current) = &output.current {
            fail::fail_point!("wal::before_sync");
            if !skips_sync() {
                durable::sync(current.file.as_ref())?;
            }
            fail::fail_point!("wal::after_sync");
        }
        if let Some(lsn) = output.unsynced.take() {
            self.durable.store(lsn.0, Ordering::Release);
        }
        output.synced_at = self.env.clock.monotonic();
        Ok(())
    }

    fn finish(&self, batch: Vec<Queued>, written: io::Result<()>) {
        match written {
            Ok(()) => {
                for queued in batch {
                    self.keep_body(queued.body);
                    // A writer that stopped waiting needs no answer.
                    queued.committed.send(Ok(())).ok();
                }
            }
            Err(error) => {
                let error = self.poison(error);
                let waiting = std::mem::take(&mut self.lock_queue().records);
                for queued in batch.into_iter().chain(waiting) {
                    queued.committed.send(Err(WalError::Failed(Arc::clone(&error)))).ok();
                }
            }
        }
    }
}

/// A defect that tests put in to see that they would notice it: the log is not synced.
fn skips_sync() -> bool {
    fail::fail_point!("wal::skip_sync", |_| true);
    false
}

/// A defect that tests put in to see that they would notice it: commits are acknowledged when they
/// are written.
fn acknowledges_before_sync() -> bool {
    fail::fail_point!("wal::acknowledge_before_sync", |_| true);
    false
}
