//! COPY FROM: a thread makes rows of what the client sends.
//!
//! ```text
//!  CopyData ──channel (bounded)──▶ a thread: records → fields → columns ──batch──▶ bulk write
//! ```
//!
//! COPY FROM commits all of its rows at once, or none: a bad line anywhere, or a client that goes
//! away, leaves the collection as it was. Inside a transaction block the rows are the
//! transaction's, in memory, and limited like all it writes.

use std::sync::Arc;

use bytes::Bytes;
use tidemark_engine::batch::WriteBatch;
use tidemark_engine::bulk::BulkWrite;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::settings::FormatSettings;
use crate::plan::row_expressions::BoundExpressions;
use crate::server::Server;
use crate::sql::copy::options::{CopyFormat, Layout};
use crate::sql::copy::reader::Reader;
use crate::sql::rows::Target;
use crate::sql::rows::builder::RowsBuilder;
use crate::sql::rows::errors::write_error;
use crate::sqlstate;

/// Rows are handed over in batches of this many, or of this many bytes: large enough to be worth a record
/// of the log, small enough that a column's values are still in a core's cache when they are logged.
const BATCH_ROWS: usize = 16 << 10;
const BATCH_BYTES: usize = 8 << 20;

/// Messages of the client are gathered up to this size before the thread is woken for them.
const GATHERED_BYTES: usize = 128 << 10;

/// Gathered messages that may wait for the thread.
const GATHERED_ON_THE_WAY: usize = 4;

/// Where the rows of a COPY FROM go.
#[derive(Debug)]
pub enum CopySink {
    /// Into the collection, all at once at the end.
    Bulk(Box<BulkWrite>),
    /// Into the transaction, up to so many bytes.
    Transaction {
        /// Batches so far.
        batches: Vec<WriteBatch>,
        /// How many bytes they may have.
        bytes_left: usize,
    },
}

impl CopySink {
    /// Takes rows.
    ///
    /// # Errors
    /// The transaction would write too much, or the engine refuses.
    pub fn write(&mut self, batch: WriteBatch) -> SqlResult<()> {
        match self {
            CopySink::Bulk(bulk) => bulk.write(batch).map_err(|error| write_error(&error)),
            CopySink::Transaction { batches, bytes_left } => {
                *bytes_left = bytes_left.checked_sub(batch.memory_bytes()).ok_or_else(too_large)?;
                batches.push(batch);
                Ok(())
            }
        }
    }
}

/// A transaction that wrote more than it may.
pub fn too_large() -> SqlError {
    SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "the transaction writes too much")
        .with_hint("Outside a transaction block, COPY and INSERT … SELECT have no limit.")
}

/// A COPY FROM under way.
#[derive(Debug)]
pub struct CopyIn {
    /// How many columns a row has.
    pub columns: usize,
    /// The kind of file.
    pub layout: Layout,
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    chunks: Option<mpsc::Sender<Vec<Bytes>>>,
    worker: JoinHandle<SqlResult<(CopySink, u64)>>,
}

impl CopyIn {
    /// Starts the thread that reads the data.
    ///
    /// # Errors
    /// The collection was dropped, or an option names a column that is not copied.
    pub fn start(
        server: &Arc<Server>,
        target: Arc<Target>,
        format: CopyFormat,
        condition: Option<BoundExpressions>,
        values: FormatSettings,
        sink: CopySink,
    ) -> SqlResult<CopyIn> {
        let (sender, receiver) = mpsc::channel(GATHERED_ON_THE_WAY);
        let (columns, layout) = (target.columns.len(), format.layout);
        let rows = RowsBuilder::new(&server.engine, &target, &values, 0)?;
        let reader = Reader::new(target, format, condition)?;
        let worker = server.query_runtime.spawn_blocking(move || receive(reader, rows, sink, receiver));
        Ok(CopyIn { columns, layout, gathered: Vec::new(), gathered_bytes: 0, chunks: Some(sender), worker })
    }

    /// Takes some of the data; waits while the reader is behind. What is little is kept back until
    /// there is more, unless nothing else is there yet: a client that waits is told of its errors.
    /// Cancel-safe only in that nothing is committed after it was given up.
    ///
    /// # Errors
    /// The data so far is not right.
    pub async fn data(&mut self, chunk: Bytes, more_is_there: bool) -> SqlResult<()> {
        self.gathered_bytes += chunk.len();
        self.gathered.push(chunk);
        if more_is_there && self.gathered_bytes < GATHERED_BYTES {
            return Ok(());
        }
        self.hand_over().await
    }

    async fn hand_over(&mut self) -> SqlResult<()> {
        self.gathered_bytes = 0;
        let gathered = std::mem::take(&mut self.gathered);
        let sender = self.chunks.as_ref().expect("data comes before the end");
        if sender.send(gathered).await.is_ok() {
            return Ok(());
        }
        // The reader has ended, which it does before the end only with an error.
        match self.join().await {
            Err(error) => Err(error),
            Ok(_) => Err(SqlError::internal("COPY ended before its data")),
        }
    }

    /// There is no more data: the sink with all rows, and their number.
    ///
    /// # Errors
    /// The data is not right.
    pub async fn finish(mut self) -> SqlResult<(CopySink, u64)> {
        if !self.gathered.is_empty() {
            self.hand_over().await?;
        }
        self.chunks = None;
        self.join().await
    }

    async fn join(&mut self) -> SqlResult<(CopySink, u64)> {
        let joined = (&mut self.worker).await;
        joined.map_err(|error| SqlError::internal(format!("COPY ended by a panic: {error}")))?
    }
}

fn receive(
    mut reader: Reader,
    mut rows: RowsBuilder,
    mut sink: CopySink,
    mut chunks: mpsc::Receiver<Vec<Bytes>>,
) -> SqlResult<(CopySink, u64)> {
    let mut row_count = 0;
    let mut hand_over = |rows: &mut RowsBuilder, least: usize| {
        if rows.row_count() >= least && rows.row_count() > 0 || rows.memory_bytes() >= BATCH_BYTES {
            row_count += rows.row_count() as u64;
            sink.write(rows.finish_some()?)?;
        }
        Ok::<(), SqlError>(())
    };
    while let Some(gathered) = chunks.blocking_recv() {
        for chunk in gathered {
            reader.feed(&chunk);
            while reader.read(&mut rows)? {
                hand_over(&mut rows, BATCH_ROWS)?;
            }
        }
        hand_over(&mut rows, BATCH_ROWS)?;
    }
    reader.end();
    while reader.read(&mut rows)? {
        hand_over(&mut rows, BATCH_ROWS)?;
    }
    hand_over(&mut rows, 1)?;
    Ok((sink, row_count))
}
