//! What a writer holds until its commit is durable.

use tidemark_catalog::ids::Lsn;
use tokio::sync::oneshot;

use crate::error::{WalError, WriteError};
use crate::wal::writer::Appended;

/// A commit that is on its way to the disk.
#[derive(Debug)]
pub struct CommitTicket {
    lsn: Lsn,
    system_time_us: i64,
    committed: oneshot::Receiver<Result<(), WalError>>,
}

impl CommitTicket {
    pub(crate) fn new(appended: Appended) -> CommitTicket {
        let Appended { lsn, system_time_us, committed } = appended;
        CommitTicket { lsn, system_time_us, committed }
    }

    /// Its position in the log.
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Its system time, in µs since 1970-01-01 UTC; later commits have later ones.
    pub fn system_time_us(&self) -> i64 {
        self.system_time_us
    }

    /// Completes when the commit is as durable as was asked for, and seen by every later snapshot.
    ///
    /// # Errors
    /// The log could not be written: whether the commit is durable is not known.
    pub async fn committed(self) -> Result<(), WriteError> {
        self.committed.await.map_err(|_| WalError::Closed)??;
        Ok(())
    }

    /// The same, blocking the thread.
    ///
    /// # Errors
    /// The log could not be written: whether the commit is durable is not known.
    pub fn wait(self) -> Result<(), WriteError> {
        self.committed.blocking_recv().map_err(|_| WalError::Closed)??;
        Ok(())
    }

    /// What is known now; `None` while it is on its way.
    pub fn poll(&mut self) -> Option<Result<(), WriteError>> {
        match self.committed.try_recv() {
            Ok(outcome) => Some(outcome.map_err(WriteError::from)),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(WalError::Closed.into())),
        }
    }
}

/// A batch that was handed over.
#[derive(Debug)]
pub enum Submitted {
    /// It is committed by this.
    Now(CommitTicket),
    /// It had been committed before, which is durable when the ticket says so.
    Before(CommitTicket),
}
