//! Rows on their way into the log: handed over, and waited for.

use std::sync::Arc;

use tidemark_catalog::ids::CollectionId;
use tidemark_engine::engine::{Durability, Engine, Submitted, Write};
use tidemark_engine::error::WriteError;
use tidemark_engine::producers::BatchNumber;

use crate::error::{SqlError, SqlResult};
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
    engine: &Arc<Engine>,
    writes: Vec<Write>,
    synchronous: bool,
    number: Option<&BatchNumber>,
) -> SqlResult<Written> {
    wait_committed(hand_over(engine, writes, synchronous, number).await?).await
}

/// Hands rows over: when this returns they have a place in the log, and are not durable yet. Symbol columns
/// with too many texts become columns of text first.
///
/// # Errors
/// As PostgreSQL says them; nothing is applied.
pub async fn hand_over(
    engine: &Arc<Engine>,
    writes: Vec<Write>,
    synchronous: bool,
    number: Option<&BatchNumber>,
) -> SqlResult<Submitted> {
    let mut writes = writes;
    loop {
        match hand_over_admitted(engine, writes, synchronous, number).await? {
            Ok(submitted) => return Ok(submitted),
            Err((collection, refused)) => {
                limit_symbols(engine, collection).await?;
                writes = refused;
            }
        }
    }
}

/// Makes symbol columns with too many texts columns of text.
async fn limit_symbols(engine: &Arc<Engine>, collection: CollectionId) -> SqlResult<()> {
    let engine = Arc::clone(engine);
    let limited = tokio::task::spawn_blocking(move || engine.limit_symbols(collection)).await;
    let limited =
        limited.map_err(|error| SqlError::internal(format!("a change ended by a panic: {error}")))?;
    limited.map_err(|error| write_error(&error))
}

/// Waits for memory. Gives the rows back when a symbol column of a collection has too many texts.
async fn hand_over_admitted(
    engine: &Engine,
    writes: Vec<Write>,
    synchronous: bool,
    number: Option<&BatchNumber>,
) -> SqlResult<Result<Submitted, (CollectionId, Vec<Write>)>> {
    let durability = if synchronous { engine.default_durability() } else { Durability::Written };
    let bytes: usize = writes.iter().map(|write| write.batch.memory_bytes()).sum();
    let mut writes = writes;
    let waited = tokio::time::timeout(engine.options().admission_wait_max, async {
        loop {
            match engine.try_write_numbered(writes, durability, number) {
                Ok(ticket) => return Ok(Ok(ticket)),
                Err((WriteError::OverBudget { .. }, refused)) => writes = refused,
                Err((WriteError::SymbolLimit(collection), refused)) => return Ok(Err((collection, refused))),
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
