//! What sessions do, as others may see it.

use std::sync::{Arc, Mutex, PoisonError};

use tidemark_catalog::ids::RoleId;

/// What a session does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Doing {
    /// It carries a statement out.
    Active,
    /// It waits for its client.
    #[default]
    Idle,
    /// The same in a transaction block.
    IdleInTransaction,
    /// The same in a block that failed.
    IdleInFailedTransaction,
}

impl Doing {
    /// The word in `pg_stat_activity.state`.
    pub fn as_str(self) -> &'static str {
        match self {
            Doing::Active => "active",
            Doing::Idle => "idle",
            Doing::IdleInTransaction => "idle in transaction",
            Doing::IdleInFailedTransaction => "idle in transaction (aborted)",
        }
    }
}

/// What is known of a session. Times are in microseconds since 1970.
#[derive(Clone, Debug, Default)]
pub struct Activity {
    /// Whose it is; nobody's while it starts.
    pub role: Option<(RoleId, String)>,
    /// `application_name`
    pub application_name: String,
    /// When it began.
    pub started_us: i64,
    /// When its transaction began, if it is in one.
    pub transaction_us: Option<i64>,
    /// When its last statement began.
    pub statement_us: Option<i64>,
    /// When it began to do what it does.
    pub changed_us: i64,
    /// What it does.
    pub doing: Doing,
    /// Its last statement.
    pub text: Arc<str>,
}

/// A session's own page, which others read. Its lock is held only to read or write it.
#[derive(Debug, Default)]
pub struct Page(Mutex<Activity>);

impl Page {
    /// What is on it.
    pub fn read(&self) -> Activity {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what is on it.
    pub fn write(&self, change: impl FnOnce(&mut Activity)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
