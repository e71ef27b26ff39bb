//! Rows that come in by protocols that know no SQL: gathered, checked, committed.
//!
//! ```text
//!  line protocol ─┐
//!  remote write  ─┼─▶ Source::gather ──▶ rows by collection ──▶ collections and columns made where missing
//!  OpenTelemetry ─┘        │                                         └──▶ one commit for the whole request
//!                          └── series: their bytes, looked up as a whole
//! ```
//!
//! | module | does |
//! | --- | --- |
//! | [`rows`], [`table`] | gather the rows of a request, by collection; a row that is not right leaves no trace |
//! | [`fields`] | values of fields, column by column |
//! | [`series`] | what the bytes of a series mean, remembered over requests |
//! | [`make`] | makes what is missing |
//! | [`names`] | names that fit |
//! | [`write`] | from gathered rows to a commit |
//!
//! Invariants:
//!
//! 1. The rows of a request are one commit: all that are written are durable and visible at once, or
//!    none is. [`ingest`] is the one place where a request becomes a write.
//! 2. Every row is read before anything is made, and nothing is made for rows that are not written.
//! 3. No lock is held while the catalog is written.

use std::fmt;
use std::sync::Arc;

use tidemark_catalog::types::TimeUnit;
use tidemark_engine::producers::BatchNumber;

use crate::error::SqlError;
use crate::ingest::rows::Gatherer;
use crate::ingest::write::Ready;
use crate::metrics::Protocol;
use crate::server::Server;
use crate::sql::rows::commit::{Written, write_durably};

pub mod fields;
mod make;
pub mod names;
pub mod rows;
pub mod series;
pub mod table;
pub mod write;

/// So many rows that are not right are named; all are counted.
pub const ROW_ERRORS_MAX: usize = 100;

/// A request, as a source of rows.
pub trait Source: Send + 'static {
    /// Gives all rows. It may be asked more than once, and gives the same then.
    ///
    /// # Errors
    /// The request as a whole cannot be read. A row that is not right is rejected instead.
    fn gather<'b>(&'b self, rows: &mut Gatherer<'_, 'b>) -> Result<(), Refused>;
}

/// What becomes of a request with rows that are not right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnBadRow {
    /// Nothing of it is written.
    RefuseAll,
    /// The others are written.
    WriteOthers,
}

/// What a request may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MayMake {
    /// Collections, and columns of those that there are.
    All,
    /// Collections only.
    Collections,
    /// Columns of collections that there are.
    Columns,
    /// Nothing.
    Nothing,
}

impl MayMake {
    /// By its name in settings and requests.
    pub fn from_name(name: &str) -> Option<MayMake> {
        Some(match name {
            "all" => MayMake::All,
            "collections" => MayMake::Collections,
            "columns" => MayMake::Columns,
            "nothing" => MayMake::Nothing,
            _ => return None,
        })
    }

    /// What both allow.
    #[must_use]
    pub fn and(self, other: MayMake) -> MayMake {
        let both = |allows: fn(MayMake) -> bool| allows(self) && allows(other);
        match (both(MayMake::collections), both(MayMake::columns)) {
            (true, true) => MayMake::All,
            (true, false) => MayMake::Collections,
            (false, true) => MayMake::Columns,
            (false, false) => MayMake::Nothing,
        }
    }

    /// Whether a collection may be made.
    pub fn collections(self) -> bool {
        matches!(self, MayMake::All | MayMake::Collections)
    }

    /// Whether a collection may get columns.
    pub fn columns(self) -> bool {
        matches!(self, MayMake::All | MayMake::Columns)
    }
}

/// When a request is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acknowledge {
    /// When its rows are as durable as the server makes them.
    Durable,
    /// When its rows are visible: a crash may lose them.
    Visible,
}

/// How a request is carried out.
#[derive(Clone, Debug)]
pub struct Options {
    /// How it came.
    pub protocol: Protocol,
    /// What becomes of it when rows are not right.
    pub on_bad_row: OnBadRow,
    /// What it may make.
    pub may_make: MayMake,
    /// The resolution of the time key of a collection that it makes.
    pub time_unit: TimeUnit,
    /// When it is acknowledged.
    pub acknowledge: Acknowledge,
    /// Its number, when its sender numbers what it sends.
    pub number: Option<BatchNumber>,
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// Its line in the request, from 1, where requests have lines.
    pub line: Option<usize>,
    /// What is wrong.
    pub reason: String,
    /// The start of the row as it came, where it is text.
    pub text: String,
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// The rows of a request that are not right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rejected {
    /// How many.
    pub count: usize,
    /// The first of them.
    pub first: Vec<RowError>,
}

impl Rejected {
    /// One more.
    pub fn push(&mut self, error: RowError) {
        self.count += 1;
        if self.first.len() < ROW_ERRORS_MAX {
            self.first.push(error);
        }
    }
}

/// Names the rows, and says how many are not named.
impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.first.iter().enumerate() {
            write!(f, "{}{error}", if at == 0 { "" } else { "; " })?;
        }
        match self.count - self.first.len() {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Why nothing of a request was written.
#[derive(Debug)]
pub enum Refused {
    /// Rows are not right, and all was to be written or nothing.
    Rows(Rejected),
    /// The request cannot be read.
    Malformed(String),
    /// The request has too much in it.
    TooLarge(String),
    /// The server cannot write it, or not now.
    Sql(SqlError),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Rows(rejected) => rejected.fmt(f),
            Refused::Malformed(message) | Refused::TooLarge(message) => f.write_str(message),
            Refused::Sql(error) => error.fmt(f),
        }
    }
}

impl From<SqlError> for Refused {
    fn from(error: SqlError) -> Refused {
        Refused::Sql(error)
    }
}

/// What became of a request.
#[derive(Debug)]
pub struct Outcome {
    /// How many rows were written.
    pub row_count: usize,
    /// The rows that were not.
    pub rejected: Rejected,
    /// The same request had been written before, and was not written again.
    pub repeated: bool,
}

/// Writes the rows of a request. The source is made where it may take a while.
///
/// # Errors
/// Nothing was written.
pub async fn ingest<S, E>(
    server: &Arc<Server>,
    options: Options,
    source: impl FnOnce() -> Result<S, E> + Send + 'static,
) -> Result<Outcome, E>
where
    S: Source,
    E: From<Refused> + Send + 'static,
{
    // Requests are read a few at a time: what they become takes more memory than they do.
    let turn = server.ingest_turns.acquire().await.expect("the semaphore is never closed");
    let shared = Arc::clone(server);
    let Options { protocol, acknowledge, .. } = options;
    let number = options.number.clone();
    let prepared = server.query_runtime.spawn_blocking(move || {
        let source = source()?;
        let prepared = write::prepare(&shared.engine, &shared.series, &options, &source);
        if let Ok(Ready { rejected, .. }) | Err(Refused::Rows(rejected)) = &prepared {
            shared.metrics.ingest.of(protocol).rejected_rows.add(rejected.count as u64);
        }
        Ok::<_, E>(prepared?)
    });
    let prepared = prepared.await.map_err(|error| E::from(SqlError::internal(error).into()))?;
    drop(turn);
    let ready = prepared?;
    let mut repeated = false;
    if !ready.writes.is_empty() {
        let synchronous = acknowledge == Acknowledge::Durable;
        let written = write_durably(&server.engine, ready.writes, synchronous, number.as_ref()).await;
        repeated = written.map_err(|error| E::from(error.into()))? == Written::Before;
    }
    if !repeated {
        server.metrics.ingest.of(protocol).rows.add(ready.row_count as u64);
    }
    Ok(Outcome { row_count: ready.row_count, rejected: ready.rejected, repeated })
}
