//! The transaction block: its state, and what it wrote.
//!
//! Rows that are written in a block stay in memory until COMMIT hands all of them to the engine as
//! one commit: they are there as a whole, or not at all. Statements of the block see them. Outside a
//! block each statement is a transaction of its own; statements that a client sends without a Sync
//! between them are one together.

use std::sync::Arc;

use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::CollectionId;
use tidemark_engine::batch::WriteBatch;
use tidemark_engine::bulk::BulkWrite;
use tidemark_engine::engine::{Watch, Write};
use tidemark_engine::error::ReadError;
use tidemark_engine::read::by_key::OwnRows;

use crate::error::{SqlError, SqlResult};
use crate::plan::provider::OwnWrites;
use crate::session::settings::SettingsSnapshot;
use crate::sql::copy::input::too_large;
use crate::sqlstate;

/// The most a block may write: it is in memory until it is committed.
pub const WRITE_BYTES_MAX: usize = 256 << 20;

/// Where a session stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// In no block.
    #[default]
    Idle,
    /// In a block.
    InBlock,
    /// In a block in which a statement failed: only its end is accepted.
    Failed,
}

/// A session's transaction.
#[derive(Debug, Default)]
pub struct Transaction {
    status: Status,
    writes: Vec<(CollectionId, WriteBatch)>,
    /// What must hold when some of them, by their numbers, are committed.
    watches: Vec<(usize, Arc<Watch>)>,
    /// What was written to a collection, by its keys, as far as that was asked for.
    own_rows: Option<(CollectionId, OwnRows)>,
    bytes: usize,
    /// A bulk write that its client has not confirmed by Sync.
    bulk: Option<BulkWrite>,
    savepoints: Vec<Savepoint>,
    /// When it started: what `now()` says in all of its statements.
    started_us: Option<i64>,
}

/// A point of a block to which it can be rolled back.
#[derive(Debug)]
struct Savepoint {
    name: String,
    /// How many writes there were.
    write_count: usize,
    /// What was set.
    settings: SettingsSnapshot,
}

impl Transaction {
    /// Where the session stands.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Whether a block is open.
    pub fn is_in_block(&self) -> bool {
        self.status != Status::Idle
    }

    /// When it started; a transaction that has not starts now.
    pub fn started_us(&mut self, now_us: impl FnOnce() -> i64) -> i64 {
        *self.started_us.get_or_insert_with(now_us)
    }

    /// A block begins.
    pub fn begin(&mut self) {
        self.status = Status::InBlock;
    }

    /// A statement failed.
    pub fn fail(&mut self) {
        if self.status == Status::InBlock {
            self.status = Status::Failed;
        }
        if self.status == Status::Idle {
            self.forget();
        }
    }

    /// The block is over: what it wrote, if it did not fail.
    pub fn end(&mut self) -> Pending {
        let failed = self.status == Status::Failed;
        self.status = Status::Idle;
        let pending = self.take_pending();
        self.forget();
        if failed { Pending::default() } else { pending }
    }

    /// What was written since the last commit; the status stays.
    pub fn take_pending(&mut self) -> Pending {
        self.bytes = 0;
        self.savepoints.clear();
        self.started_us = None;
        self.own_rows = None;
        let writes = std::mem::take(&mut self.writes);
        let mut watches = std::mem::take(&mut self.watches).into_iter().peekable();
        let writes = writes.into_iter().enumerate().map(|(at, (collection, batch))| {
            let watch = watches.next_if(|(of, _)| *of == at).map(|(_, watch)| watch);
            Write::new(collection, batch).watching(watch)
        });
        Pending { writes: writes.collect(), bulk: self.bulk.take() }
    }

    /// Forgets what was written.
    fn forget(&mut self) {
        drop(self.take_pending());
    }

    /// Rows that will be committed with the transaction.
    ///
    /// # Errors
    /// The transaction would write too much.
    pub fn write(&mut self, collection: CollectionId, batch: WriteBatch) -> SqlResult<()> {
        let bytes = self.bytes + batch.memory_bytes();
        if bytes > WRITE_BYTES_MAX {
            return Err(too_large());
        }
        self.bytes = bytes;
        self.writes.push((collection, batch));
        Ok(())
    }

    /// The same, unless others write first what they depend on.
    ///
    /// # Errors
    /// The transaction would write too much.
    pub fn write_watching(
        &mut self,
        collection: CollectionId,
        batch: WriteBatch,
        watch: Option<Arc<Watch>>,
    ) -> SqlResult<()> {
        self.write(collection, batch)?;
        self.watches.extend(watch.map(|watch| (self.writes.len() - 1, watch)));
        Ok(())
    }

    /// What was written to a collection by its keys, to be given back by [`Transaction::keep_own_rows`].
    ///
    /// # Errors
    /// Rows have no keys as the collection has them.
    pub fn take_own_rows(&mut self, collection: &Collection) -> Result<Option<OwnRows>, ReadError> {
        let kept = self.own_rows.take().filter(|(id, _)| *id == collection.id);
        let mut own = kept.map_or_else(OwnRows::default, |(_, own)| own);
        let written = self.writes.iter().filter(|(id, _)| *id == collection.id);
        for (_, batch) in written.skip(own.len()) {
            own.push(collection, batch.clone())?;
        }
        Ok(Some(own).filter(|own| !own.is_empty()))
    }

    /// Keeps what was written by its keys until it is asked for again.
    pub fn keep_own_rows(&mut self, collection: CollectionId, own: Option<OwnRows>) {
        self.own_rows = own.map(|own| (collection, own));
    }

    /// How many bytes may still be written.
    pub fn bytes_left(&self) -> usize {
        WRITE_BYTES_MAX - self.bytes
    }

    /// A bulk write that is committed with the transaction. Only for a transaction that has written
    /// nothing else.
    pub fn write_bulk(&mut self, bulk: BulkWrite) {
        debug_assert!(self.writes.is_empty() && self.bulk.is_none());
        self.bulk = Some(bulk);
    }

    /// Whether a bulk write waits.
    pub fn has_bulk(&self) -> bool {
        self.bulk.is_some()
    }

    /// Whether anything was written.
    pub fn has_writes(&self) -> bool {
        !self.writes.is_empty() || self.bulk.is_some()
    }

    /// What the transaction's own statements see besides what is committed.
    pub fn own_writes(&self) -> OwnWrites {
        Arc::from(self.writes.as_slice())
    }

    /// A savepoint.
    pub fn savepoint(&mut self, name: String, settings: SettingsSnapshot) {
        self.savepoints.push(Savepoint { name, write_count: self.writes.len(), settings });
    }

    /// Forgets a savepoint and those after it.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn release(&mut self, name: &str) -> SqlResult<()> {
        let at = self.find_savepoint(name)?;
        self.savepoints.truncate(at);
        Ok(())
    }

    /// Undoes what was written since a savepoint; a block that failed goes on. Gives what was set then.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn roll_back_to(&mut self, name: &str) -> SqlResult<SettingsSnapshot> {
        let at = self.find_savepoint(name)?;
        let write_count = self.savepoints[at].write_count;
        self.writes.truncate(write_count);
        self.watches.retain(|(of, _)| *of < write_count);
        self.own_rows = None;
        self.bytes = self.writes.iter().map(|(_, batch)| batch.memory_bytes()).sum();
        self.savepoints.truncate(at + 1);
        self.status = Status::InBlock;
        Ok(self.savepoints[at].settings.clone())
    }

    fn find_savepoint(&self, name: &str) -> SqlResult<usize> {
        self.savepoints.iter().rposition(|it| it.name == name).ok_or_else(|| {
            let message = format!("savepoint \"{name}\" does not exist");
            SqlError::new(sqlstate::INVALID_SAVEPOINT_SPECIFICATION, message)
        })
    }
}

/// What a transaction wrote.
#[derive(Debug, Default)]
pub struct Pending {
    /// Rows, committed together.
    pub writes: Vec<Write>,
    /// A bulk write, committed alone.
    pub bulk: Option<BulkWrite>,
}
