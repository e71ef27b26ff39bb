//! INSERT … ON CONFLICT: rows are looked for, and what is written is decided, before anything is written.
//!
//! - A statement that is a transaction of its own, and the last of its message, gets its place in the log
//!   here. When others wrote its keys between its look and that, it looks again. Such statements on one
//!   collection take turns from the look to the place, so that they do not overtake each other; they wait
//!   for the disk together.
//! - Any other statement leaves its rows to its transaction. When others write its keys before that is
//!   committed, the commit fails (40001), and nothing of the transaction is applied.
//!
//! Plain INSERTs, COPY and lines take no turns: they are seen, or found out.

use std::sync::Arc;

use tidemark_engine::batch::WriteBatch;
use tidemark_engine::engine::Durability;
use tidemark_engine::read::by_key::OwnRows;
use tokio::sync::OwnedMutexGuard;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::datum::Datum;
use crate::plan::query::PlannedQuery;
use crate::session::Session;
use crate::session::control::StatementControl;
use crate::session::execute::inserting::INSERT_WORD;
use crate::session::outcome::{Outcome, RowSource, Rows};
use crate::session::prepared::{PreparedConflict, PreparedInsert};
use crate::session::transaction::WRITE_BYTES_MAX;
use crate::sql::insert;
use crate::sql::insert::resolve::{Action, Proposed, Resolved, UpdateRows, resolve};
use crate::sql::rows::batches::put_together;
use crate::sql::rows::commit::{hand_over, wait_committed};
use crate::sql::rows::errors::write_error;
use crate::sqlstate;

/// How often a statement looks again. Who is overtaken so often is so by plain writers of its keys, each
/// time in the moment between its look and its place in the log.
const LOOKS_MAX: usize = 100;

impl Session {
    /// Inserts rows, but for those whose key is there.
    pub(super) async fn insert_or_resolve(
        &mut self,
        insert: &PreparedInsert,
        conflict: &PreparedConflict,
        batch: Option<WriteBatch>,
        values: &[Datum],
        control: &StatementControl,
    ) -> SqlResult<Outcome> {
        let returning = self.bind_returning(insert, values, control)?;
        let action = self.bind_action(conflict, values, control)?;
        let collection = insert.target.collection.id;
        // What depends on nothing that is there is written as any rows are.
        let is_alone = action.depends_on_what_is_there()
            && control.is_last()
            && !self.transaction.is_in_block()
            && !self.transaction.has_writes();
        let (mut row_count, mut returned) = (0, None);
        for look in 1.. {
            let Some(batch) = &batch else { break };
            let turn = match is_alone {
                true => Some(self.take_turn(insert, control).await?),
                false => None,
            };
            let resolved = self.resolve(insert, &action, batch, control).await?;
            let Some(written) = resolved.batch else {
                drop(turn);
                self.wait_seen(&resolved).await?;
                break;
            };
            row_count = written.row_count();
            if let Some(returning) = &returning {
                returned = Some(returning.evaluate(written.columns(), row_count)?);
            }
            self.transaction.write_watching(collection, written, resolved.watch)?;
            let Some(turn) = turn else { break };
            match self.commit_alone(turn, control).await {
                Err(error) if error.state() == sqlstate::SERIALIZATION_FAILURE && look < LOOKS_MAX => {}
                outcome => {
                    outcome?;
                    break;
                }
            }
        }
        Ok(match returning {
            None => Outcome::Done(format!("{INSERT_WORD} {row_count}")),
            Some(_) => {
                Outcome::Rows { rows: RowSource::ready(returned.into_iter().collect()), word: INSERT_WORD }
            }
        })
    }

    fn bind_action(
        &mut self,
        conflict: &PreparedConflict,
        values: &[Datum],
        control: &StatementControl,
    ) -> SqlResult<Action> {
        let PreparedConflict::Update(update) = conflict else { return Ok(Action::Nothing) };
        let options = self.run_query(control).options;
        Ok(Action::Update(Arc::new(UpdateRows {
            set: update.set.clone(),
            expressions: update.expressions.bind(&self.server, values, options)?,
            fields: Arc::clone(update.expressions.fields()),
            has_condition: update.has_condition,
            replaces: update.replaces,
        })))
    }

    async fn take_turn(
        &self,
        insert: &PreparedInsert,
        control: &StatementControl,
    ) -> SqlResult<OwnedMutexGuard<()>> {
        let turns = self.server.engine.turns(insert.target.collection.id);
        let turns = turns.map_err(|error| write_error(&error))?;
        control.run(turns.lock_owned()).await
    }

    async fn resolve(
        &mut self,
        insert: &PreparedInsert,
        action: &Action,
        batch: &WriteBatch,
        control: &StatementControl,
    ) -> SqlResult<Resolved> {
        let own = self.transaction.take_own_rows(&insert.target.collection);
        let own = own.map_err(|error| crate::plan::errors::read(&error))?;
        let (engine, target) = (Arc::clone(&self.server.engine), Arc::clone(&insert.target));
        let (action, batch, format) = (action.clone(), batch.clone(), self.format());
        let resolved = self.server.query_runtime.spawn_blocking(move || {
            let proposed = Proposed {
                engine: &engine,
                target: &target,
                batch: &batch,
                own: own.as_ref(),
                format: &format,
            };
            (resolve(&proposed, &action), own)
        });
        let resolved = control.run(resolved).await?;
        let (resolved, own): (_, Option<OwnRows>) =
            resolved.map_err(|error| SqlError::internal(format!("INSERT ended by a panic: {error}")))?;
        self.transaction.keep_own_rows(insert.target.collection.id, own);
        resolved
    }

    /// A statement that writes nothing says of rows that they are there: they must be durable.
    async fn wait_seen(&self, resolved: &Resolved) -> SqlResult<()> {
        let Some(seen) = resolved.seen else { return Ok(()) };
        let engine = &self.server.engine;
        let durability = match self.settings.synchronous_commit() {
            true => engine.default_durability(),
            false => Durability::Written,
        };
        if let Some(ticket) = engine.reached(seen, durability).map_err(|error| write_error(&error))? {
            ticket.committed().await.map_err(|error| write_error(&error))?;
        }
        Ok(())
    }

    /// Commits the statement, which is all there is of its transaction.
    async fn commit_alone(&mut self, turn: OwnedMutexGuard<()>, control: &StatementControl) -> SqlResult<()> {
        let pending = self.transaction.take_pending();
        let synchronous = self.settings.synchronous_commit();
        let number = self.settings.batch_number()?;
        // Up to here it can be cancelled; from here on it is committed whatever happens.
        control.check()?;
        let submitted = hand_over(&self.server.engine, pending.writes, synchronous, number.as_ref()).await?;
        drop(turn);
        wait_committed(submitted).await?;
        if number.is_some() {
            self.settings.forget_batch_number();
        }
        Ok(())
    }

    /// The rows of a query, which are in memory until it is known which of them are written.
    pub(super) async fn query_rows(
        &mut self,
        insert: &PreparedInsert,
        query: &PlannedQuery,
        values: &[Datum],
        control: &StatementControl,
    ) -> SqlResult<Option<WriteBatch>> {
        let run = self.run_query(control);
        let (format, target) = (self.format(), self.filled(&insert.target)?);
        let mut rows = control.run(query.run(values, run)).await??;
        let (mut batches, mut bytes) = (Vec::new(), 0);
        while let Some(batch) = control.run(rows.next()).await?? {
            let Rows::Batch { batch, .. } = batch else {
                return Err(SqlError::internal("a planned query gives batches"));
            };
            if batch.num_rows() == 0 {
                continue;
            }
            let batch = insert::assign(&self.server.engine, &target, &batch, &query.fields, &format)?;
            bytes += batch.memory_bytes();
            if bytes > WRITE_BYTES_MAX {
                let message = "the statement writes too much";
                return Err(SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
                    .with_hint("INSERT with ON CONFLICT keeps its rows in memory, at most 256 MiB."));
            }
            batches.push(batch);
        }
        put_together(&self.server.engine, &insert.target.collection, batches)
    }
}
