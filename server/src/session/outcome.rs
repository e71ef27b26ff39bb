//! What a statement gives back.

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::datum::Datum;
use crate::sql::copy::input::CopyIn;
use crate::sql::copy::output::CopyOut;

/// What a statement gives back.
#[derive(Debug)]
pub enum Outcome {
    /// There was no statement.
    Empty,
    /// It is done; this is its tag.
    Done(String),
    /// Rows, then a tag made of this word and their number.
    Rows {
        /// The rows.
        rows: RowSource,
        /// As in `SELECT 5`.
        word: &'static str,
    },
    /// It wants data.
    CopyIn(Box<CopyIn>),
    /// Rows in a form that is not the protocol's.
    CopyOut(Box<CopyOut>),
}

/// Rows as they come.
#[derive(Debug)]
pub struct RowSource {
    source: Source,
    next: Option<Rows>,
}

/// Batches on their way; `None` says that there are no more. A channel that ends without it was left
/// by a task that did not come to its end.
pub type BatchReceiver = mpsc::Receiver<SqlResult<Option<RecordBatch>>>;

#[derive(Debug)]
enum Source {
    Batches { receiver: BatchReceiver, _task: AbortOnDrop },
    Ready(VecDeque<RecordBatch>),
    Datums(VecDeque<Vec<Datum>>),
    End,
}

/// Some rows.
#[derive(Debug)]
pub enum Rows {
    /// Rows of a batch from `next` on.
    Batch {
        /// The batch.
        batch: RecordBatch,
        /// The first row that was not taken.
        next: usize,
    },
    /// Single values.
    Datums(VecDeque<Vec<Datum>>),
}

impl Rows {
    /// How many rows are left.
    pub fn len(&self) -> usize {
        match self {
            Rows::Batch { batch, next } => batch.num_rows() - next,
            Rows::Datums(rows) => rows.len(),
        }
    }

    /// Whether none are left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Ends a task when nobody wants what it makes any more.
#[derive(Debug)]
pub struct AbortOnDrop(pub AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl RowSource {
    /// Rows that a task sends.
    pub fn batches(receiver: BatchReceiver, task: AbortHandle) -> RowSource {
        RowSource { source: Source::Batches { receiver, _task: AbortOnDrop(task) }, next: None }
    }

    /// Batches that are all there.
    pub fn ready(batches: Vec<RecordBatch>) -> RowSource {
        RowSource { source: Source::Ready(batches.into()), next: None }
    }

    /// Rows that are all there.
    pub fn datums(rows: impl IntoIterator<Item = Vec<Datum>>) -> RowSource {
        RowSource { source: Source::Datums(rows.into_iter().collect()), next: None }
    }

    /// The next rows; `None` after the last. Cancel-safe: rows are handed out or stay.
    ///
    /// # Errors
    /// What went wrong in making them.
    pub async fn next(&mut self) -> SqlResult<Option<Rows>> {
        if let Some(rows) = self.next.take() {
            return Ok(Some(rows));
        }
        match &mut self.source {
            Source::Datums(rows) => {
                let rows = std::mem::take(rows);
                self.source = Source::End;
                Ok((!rows.is_empty()).then_some(Rows::Datums(rows)))
            }
            Source::Ready(batches) => Ok(batches.pop_front().map(|batch| Rows::Batch { batch, next: 0 })),
            Source::Batches { receiver, .. } => match receiver.recv().await {
                Some(Ok(Some(batch))) => Ok(Some(Rows::Batch { batch, next: 0 })),
                Some(Ok(None)) => {
                    self.source = Source::End;
                    Ok(None)
                }
                Some(Err(error)) => {
                    self.source = Source::End;
                    Err(error)
                }
                None => {
                    self.source = Source::End;
                    Err(SqlError::internal("the query ended before its last row"))
                }
            },
            Source::End => Ok(None),
        }
    }

    /// Gives rows back that were not wanted yet.
    pub fn put_back(&mut self, rows: Rows) {
        if !rows.is_empty() {
            self.next = Some(rows);
        }
    }
}
