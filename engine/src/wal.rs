//! The write-ahead log: what makes a commit durable, and the order of all commits.
//!
//! | module | does |
//! | --- | --- |
//! | [`format`] | the bytes of files, frames and records |
//! | [`codec`] | rows in the body of a record |
//! | [`writer`] | appending; its `commit` writes and syncs for all who wait |
//! | [`reader`] | reading back after a restart: torn tail or damage |

use std::path::PathBuf;

use tidemark_catalog::ids::Lsn;

use crate::env::Env;
use crate::error::{WalFormatError, WalOpenError};
use crate::options::OnFailure;
use crate::wal::reader::{Expected, Located, Scan};
use crate::wal::writer::{Continuation, Wal};

pub(crate) mod codec;
pub(crate) mod format;
pub(crate) mod reader;
pub(crate) mod writer;

#[cfg(test)]
mod tests;

/// How the log is opened.
#[derive(Debug)]
pub(crate) struct WalOptions {
    pub(crate) directory: PathBuf,
    pub(crate) segment_bytes: u64,
    pub(crate) on_failure: OnFailure,
    pub(crate) expected: Expected,
    /// The highest LSN that segments speak of; a log that was not synced may be behind it.
    pub(crate) lsn_floor: Lsn,
}

/// Reads and checks the log, cuts off what a crash left unfinished, and opens it for appending.
/// `visit` sees every record; nothing on disk is changed before it has seen them all.
pub(crate) fn open(
    env: &Env,
    options: WalOptions,
    visit: impl FnMut(Located<'_>) -> Result<(), WalFormatError>,
) -> Result<(Wal, Scan), WalOpenError> {
    let files = env.files.as_ref();
    let scan = reader::scan(files, &options.directory, options.expected, visit)?;
    if let Some(tail) = &scan.torn_tail {
        tracing::info!(path = %tail.path.display(), offset = tail.offset, "cut off an unfinished log record");
    }
    reader::settle(files, &options.directory, &scan)?;
    let last = scan.files.last();
    let continuation = Continuation {
        system_identifier: options.expected.system_identifier,
        next_lsn: scan.last_lsn.max(options.lsn_floor).next(),
        next_file: last.map_or(options.expected.first_file.unwrap_or(1), |file| file.number + 1),
        previous_end: last.map(|file| file.end),
        chain: scan.chain,
        system_time_floor_us: scan.system_time_max_us,
    };
    let used = scan.files.iter().map(|file| (file.number, file.first_lsn)).collect();
    let wal = Wal::new(
        env.clone(),
        options.directory,
        options.segment_bytes,
        options.on_failure,
        continuation,
        used,
    );
    Ok((wal, scan))
}
