//! Rows on their way into the log: handed over, and waited for.

use tidemark_engine::engine::{Durability, Engine, Submitted, Write};
use tidemark_engine::error::WriteError;
use tidemark_engine::producers::BatchNumber;

use crate::error::SqlResult;
use crate::sql::rows::errors::write_error;

/// What became of rows with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// They are committed.
    Now,
    /// They had been committed before.
    Before,
}

/// Writes rows and waits until they are durable and visible; those that their producer numbered, unless
/// they were committed before. While memtables are full it waits, as long as the engine says a writer
/// waits.
///
/// # Errors
/// As PostgreSQL says them; after a failure of the log the server stops.
pub async fn write_durably(
    engine: &Engine,
    writes: Vec<Write>,
    synchronous: bool,
    number: Option<&BatchNumber>,
) -> SqlResult<Written> {
    wait_committed(hand_over(engine, writes, synchronous, number).await?).await
}

/// Hands rows over: when this returns they have a place in the log, and are not durable yet.
///
/// # Errors
/// As PostgreSQL says them; nothing is applied.
pub async fn hand_over(
    engine: &Engine,
    writes: Vec<Write>,
    synchronous: bool,
    number: Option<&BatchNumber>,
) -> SqlResult<Submitted> {
    let durability = if synchronous { engine.default_durability() } else { Durability::Written };
    let bytes: usize = writes.iter().map(|write| write.batch.memory_bytes()).sum();
    let mut writes = writes;
    let waited = tokio::time::timeout(engine.options().admission_wait_max, async {
        loop {
            match engine.try_write_numbered(writes, durability, number) {
                Ok(ticket) => return Ok(ticket),
                Err((WriteError::OverBudget { .. }, refused)) => writes = refused,
                Err((error, _)) => return Err(write_error(&error)),
            }
            engine.budget().available(bytes).await;
        }
    });
    match waited.await {
        Ok(submitted) => submitted,
        Err(_) => Err(write_error(&engine.over_budget())),
    }
}

/// Waits until what was handed over is durable.
///
/// # Errors
/// The log failed; the server stops.
pub async fn wait_committed(submitted: Submitted) -> SqlResult<Written> {
    let (ticket, written) = match submitted {
        Submitted::Now(ticket) => (ticket, Written::Now),
        Submitted::Before(ticket) => (ticket, Written::Before),
    };
    ticket.committed().await.map_err(|error| write_error(&error))?;
    Ok(written)
}
