//! Stopping a statement: by a cancel request, or by `statement_timeout`.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{SqlError, SqlResult};
use crate::sqlstate;

/// Where others signal that a session's statement shall stop.
#[derive(Debug, Default)]
pub struct Interrupt {
    running: Mutex<Option<CancellationToken>>,
}

impl Interrupt {
    /// A statement starts; a cancel from now until the token is dropped is for it.
    pub fn begin(self: &Arc<Self>) -> Running {
        let token = CancellationToken::new();
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Running { interrupt: Arc::clone(self), token }
    }

    /// Stops the statement that is running, if one is.
    pub fn cancel(&self) {
        if let Some(token) = &*self.running.lock().unwrap_or_else(PoisonError::into_inner) {
            token.cancel();
        }
    }
}

/// A statement that runs.
#[derive(Debug)]
pub struct Running {
    interrupt: Arc<Interrupt>,
    token: CancellationToken,
}

impl Running {
    /// Whether somebody cancelled it.
    pub fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *self.interrupt.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// A statement that runs, with the moment at which its time is over.
#[derive(Debug)]
pub struct StatementControl {
    running: Running,
    deadline: Option<Instant>,
    is_last: bool,
}

impl StatementControl {
    /// A statement starts; it may take so long.
    pub fn start(interrupt: &Arc<Interrupt>, timeout: Option<Duration>) -> StatementControl {
        StatementControl { running: interrupt.begin(), deadline: after(timeout), is_last: false }
    }

    /// Whether what the statement writes outside a block is committed right after it.
    pub fn set_last(&mut self, is_last: bool) {
        self.is_last = is_last;
    }

    /// Whether what the statement writes outside a block is committed right after it. When that is not
    /// known, it is not.
    pub fn is_last(&self) -> bool {
        self.is_last
    }

    /// Another statement of the same message starts; it may take so long for itself.
    pub fn restart(&mut self, timeout: Option<Duration>) {
        self.deadline = after(timeout);
    }

    /// A signal for work in other threads: it is cancelled when the statement is.
    pub fn token(&self) -> CancellationToken {
        self.running.token.clone()
    }

    /// The future's outcome, unless the statement is stopped before it has one. The future is
    /// dropped then, so it must be one that may be dropped at any point.
    ///
    /// # Errors
    /// 57014 when the statement was stopped.
    pub async fn run<T>(&self, future: impl Future<Output = T>) -> SqlResult<T> {
        let timed = async {
            match self.deadline {
                Some(deadline) => tokio::time::timeout_at(deadline, future).await.map_err(|_| timeout()),
                None => Ok(future.await),
            }
        };
        tokio::select! {
            // Looked at first, so that a stream that is always ready can be stopped too.
            biased;
            () = self.running.token.cancelled() => Err(cancelled()),
            outcome = timed => {
                if outcome.is_err() {
                    self.running.token.cancel();
                }
                outcome
            }
        }
    }

    /// Whether the statement was stopped.
    ///
    /// # Errors
    /// 57014 when it was.
    pub fn check(&self) -> SqlResult<()> {
        if self.running.is_cancelled() {
            return Err(cancelled());
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(timeout()),
            _ => Ok(()),
        }
    }
}

fn after(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}

/// What a statement that was cancelled ends with.
pub fn cancelled() -> SqlError {
    SqlError::new(sqlstate::QUERY_CANCELED, "canceling statement due to user request")
}

fn timeout() -> SqlError {
    SqlError::new(sqlstate::QUERY_CANCELED, "canceling statement due to statement timeout")
}
