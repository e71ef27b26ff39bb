//! Carrying statements out.
//!
//! 1. [`Session::prepare`] sorts a statement, looks names up and plans it; [`Session::refreshed`] does
//!    so again when what it was planned under has changed.
//! 2. [`Session::execute`] carries it out, in the session's transaction.
//! 3. [`Session::settle`] commits what a statement outside a block wrote: after it in the simple
//!    protocol, at Sync in the extended one.

use std::sync::Arc;

use tidemark_catalog::ids::CollectionId;
use tidemark_engine::engine::Durability;

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::Effect;
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::pgtype::settings::FormatSettings;
use crate::session::Session;
use crate::session::activity::Doing;
use crate::session::control::StatementControl;
use crate::session::execute::statements::Execution;
use crate::session::field::{Field, Fields};
use crate::session::outcome::{Outcome, RowSource};
use crate::session::prepared::{Body, PlannedUnder, Prepared};
use crate::session::settings::Scope;
use crate::session::transaction::Status;
use crate::sql::classify::{Kind, classify};
use crate::sql::copy::input::CopySink;
use crate::sql::defaults::Defaults;
use crate::sql::names::Resolver;
use crate::sql::parse::Parsed;
use crate::sql::rows::Target;
use crate::sql::rows::commit::{wait_committed, write_durably};
use crate::sql::rows::errors::write_error;
use crate::sqlstate;

mod conflicts;
mod copying;
mod delete;
mod explain;
mod inserting;
mod queries;
pub mod statements;
mod utility;

impl Session {
    /// What values mean in the session's transaction.
    pub fn format(&mut self) -> FormatSettings {
        let clock = Arc::clone(&self.server.clock);
        let now_us = self.transaction.started_us(|| clock.wall_us());
        self.settings.format(now_us)
    }

    fn resolver(&self) -> Resolver {
        Resolver::new(self.server.engine.view(), self.settings.search_path().to_vec())
    }

    /// Understands and plans a statement. `declared` are the types of parameters that the client
    /// knows.
    ///
    /// # Errors
    /// As PostgreSQL says them.
    pub async fn prepare(
        &mut self,
        parsed: Option<Parsed>,
        declared: Vec<Option<PgType>>,
    ) -> SqlResult<Prepared> {
        let Some(parsed) = parsed else {
            return Ok(self.prepared(Arc::from(""), Body::Empty, declared, None));
        };
        let kind = classify(&parsed)?;
        if self.transaction.status() == Status::Failed && !kind.ends_transaction() {
            return Err(in_failed_transaction());
        }
        let text: Arc<str> = Arc::from(parsed.text.as_str());
        let resolver = Arc::new(self.resolver());
        match kind {
            Kind::Query(query) => {
                let body = self.prepare_query(*query, &text, &declared, &resolver).await?;
                Ok(self.prepared(text, body, declared, Some(&resolver)))
            }
            Kind::Insert { insert, rows } => {
                let body = self.prepare_insert(&insert, rows.as_ref(), &text, &declared, &resolver).await?;
                Ok(self.prepared(text, body, declared, Some(&resolver)))
            }
            Kind::Delete(delete) => {
                let body = self.prepare_delete(&delete, &text, &declared, &resolver).await?;
                Ok(self.prepared(text, body, declared, Some(&resolver)))
            }
            Kind::Copy(statement) => {
                let body = self.prepare_copy(&statement, &text, &resolver).await?;
                Ok(self.prepared(text, body, declared, Some(&resolver)))
            }
            Kind::Explain(explain) => {
                let query = self.prepare_query(*explain.query, &text, &declared, &resolver).await?;
                let (analyze, json) = (explain.analyze, explain.json);
                let body = Body::Explain { query: Box::new(query), analyze, json };
                Ok(self.prepared(text, body, declared, Some(&resolver)))
            }
            Kind::Execute { name, arguments } => {
                let execution = self.prepare_execution(name, &arguments, &text, &declared, &resolver).await?;
                Ok(self.prepared(text, Body::Execute(execution), declared, Some(&resolver)))
            }
            other => Ok(self.prepared(text, Body::Other(other), declared, None)),
        }
    }

    fn prepared(
        &self,
        text: Arc<str>,
        body: Body,
        declared: Vec<Option<PgType>>,
        resolver: Option<&Arc<Resolver>>,
    ) -> Prepared {
        let collections = resolver.map(|resolver| {
            let version = |id: CollectionId| {
                resolver.view().collection(id).map(|it| (id, it.collection.schema.version()))
            };
            resolver.found().into_iter().filter_map(version).collect()
        });
        let planned_under = PlannedUnder {
            collections: collections.unwrap_or_default(),
            search_path: self.settings.search_path().to_vec(),
            time_zone: self.settings.arrow_time_zone(),
        };
        let parameters = body.parameters(&declared);
        let fields = self.fields_of(&body);
        Prepared { text, body, parameters, declared, fields, planned_under }
    }

    fn fields_of(&self, body: &Body) -> Option<Fields> {
        match body {
            Body::Explain { json, .. } => {
                let pg_type = if *json { PgType::JSON } else { PgType::TEXT };
                Some(Arc::from([Field::new("QUERY PLAN", pg_type)]))
            }
            Body::Other(Kind::Show(name)) => Some(utility::show_fields(name)),
            Body::Execute(execution) => self.execution_fields(execution),
            Body::CopyOut(_) => None,
            other => other.fields(),
        }
    }

    /// The statement as it is now: planned again when what it depends on has changed.
    ///
    /// # Errors
    /// It cannot be planned any more, or gives other columns than its client was told.
    pub async fn refreshed(&mut self, prepared: &Arc<Prepared>) -> SqlResult<Arc<Prepared>> {
        let view = self.server.engine.view();
        let under = &prepared.planned_under;
        if under.holds(&view, self.settings.search_path(), &self.settings.arrow_time_zone()) {
            return Ok(Arc::clone(prepared));
        }
        let bytes_max = self.server.config.statement_bytes_max;
        let parsed = crate::sql::parse::parse(&prepared.text, bytes_max)?.pop();
        let again = self.prepare(parsed, prepared.declared.clone()).await?;
        if !are_alike(again.fields.as_ref(), prepared.fields.as_ref()) {
            let message = "cached plan must not change result type";
            return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
        }
        Ok(Arc::new(again))
    }

    /// Carries a statement out. What it writes outside a block is committed by
    /// [`Session::settle`].
    ///
    /// # Errors
    /// As PostgreSQL says them; in a block, the block has failed.
    pub async fn execute(
        &mut self,
        prepared: &Prepared,
        values: &[Datum],
        control: &StatementControl,
    ) -> SqlResult<Outcome> {
        if let Body::Other(kind) = &prepared.body {
            self.note_start(&prepared.text);
            if self.transaction.status() == Status::Failed && !kind.ends_transaction() {
                return Err(in_failed_transaction());
            }
            if let Kind::Call(call) = kind {
                return self.call(call, (values, &prepared.parameters), control).await;
            }
            return self.execute_utility(kind, control).await;
        }
        self.start_statement(prepared, control).await?;
        match &prepared.body {
            Body::Empty => Ok(Outcome::Empty),
            Body::Query(_) | Body::Catalog(_) => {
                let rows = self.run(&prepared.body, values, control).await?;
                Ok(Outcome::Rows { rows, word: "SELECT" })
            }
            Body::Insert(insert) => {
                self.check_writable("INSERT")?;
                self.execute_insert(insert, values, control).await
            }
            Body::Delete(delete) => {
                self.check_writable("DELETE")?;
                self.delete(delete, values, control).await
            }
            Body::CopyIn(copy) => {
                self.check_writable("COPY FROM")?;
                self.start_copy_in(copy, control)
            }
            Body::CopyOut(copy) => {
                let rows = self.run(&copy.query, values, control).await?;
                copy.start(rows).map(|copy| Outcome::CopyOut(Box::new(copy)))
            }
            Body::Explain { query, analyze, json } => {
                self.explain(query, *analyze, *json, values, control).await
            }
            Body::Execute(execution) => self.execute_statement(execution, values, control).await,
            Body::Other(_) => unreachable!("handled above"),
        }
    }

    /// What comes before anything that reads or writes rows.
    async fn start_statement(&mut self, prepared: &Prepared, control: &StatementControl) -> SqlResult<()> {
        self.note_start(&prepared.text);
        if self.transaction.status() == Status::Failed {
            return Err(in_failed_transaction());
        }
        // A bulk write of the statement before was not confirmed by a Sync; statements of one
        // pipeline after it must see its rows.
        if self.transaction.has_bulk() {
            self.settle(control).await?;
        }
        Ok(())
    }

    /// Tells others what is being carried out.
    fn note_start(&mut self, text: &Arc<str>) {
        let clock = Arc::clone(&self.server.clock);
        let now_us = clock.wall_us();
        let transaction_us = self.transaction.started_us(|| now_us);
        self.registered.page().write(|activity| {
            activity.transaction_us = Some(transaction_us);
            activity.statement_us = Some(now_us);
            activity.changed_us = now_us;
            activity.doing = Doing::Active;
            activity.text = Arc::clone(text);
        });
    }

    /// Tells others that the session waits for its client.
    pub fn note_end(&mut self) {
        let now_us = self.server.clock.wall_us();
        let doing = match self.transaction.status() {
            Status::Idle => Doing::Idle,
            Status::InBlock => Doing::IdleInTransaction,
            Status::Failed => Doing::IdleInFailedTransaction,
        };
        let application_name = self.settings.application_name();
        self.registered.page().write(|activity| {
            if doing == Doing::Idle {
                activity.transaction_us = None;
            }
            if activity.application_name != application_name {
                application_name.clone_into(&mut activity.application_name);
            }
            activity.changed_us = now_us;
            activity.doing = doing;
        });
    }

    async fn run(
        &mut self,
        body: &Body,
        values: &[Datum],
        control: &StatementControl,
    ) -> SqlResult<RowSource> {
        match body {
            Body::Query(query) => {
                let run = self.run_query(control);
                control.run(query.run(values, run)).await?
            }
            Body::Catalog(query) => {
                let mut context = self.catalog_context();
                if !query.collections.is_empty() {
                    context.tables = Some(self.tables(&query.collections)?);
                    context.cancel = control.token();
                }
                let answer = if query.is_small() {
                    query.run(values, &context)?
                } else {
                    let (query, values) = (query.clone(), values.to_vec());
                    let runtime = self.server.query_runtime.clone();
                    let ran = runtime.spawn_blocking(move || query.run(&values, &context));
                    let ran = control.run(ran).await?;
                    ran.map_err(|error| SqlError::internal(format!("the query ended by a panic: {error}")))??
                };
                for effect in answer.effects {
                    self.take_effect(effect)?;
                }
                Ok(RowSource::datums(answer.rows))
            }
            other => Err(SqlError::internal(format!("not a query: {other:?}"))),
        }
    }

    /// Does what a function of the interpreter asked for.
    pub(super) fn take_effect(&mut self, effect: Effect) -> SqlResult<()> {
        match effect {
            Effect::SetParameter { name, value, scope } => {
                // Outside of a block a transaction's own value ends with the statement.
                if scope == Scope::Session || self.transaction.is_in_block() {
                    self.settings.set(&name, &value, scope)?;
                }
                Ok(())
            }
        }
    }

    /// The target of a statement with the defaults of its columns.
    fn with_defaults(&mut self, target: Arc<Target>) -> SqlResult<Arc<Target>> {
        if target.collection.schema.columns().iter().all(|column| column.default.is_none()) {
            return Ok(target);
        }
        let defaults = Defaults::of(&target.collection, &self.catalog_context())?;
        Ok(Arc::new(Target { defaults, ..(*target).clone() }))
    }

    /// The same with what they are in the statement that begins.
    fn filled(&mut self, target: &Arc<Target>) -> SqlResult<Arc<Target>> {
        if target.defaults.is_empty() {
            return Ok(Arc::clone(target));
        }
        let fill = target.defaults.fill(&self.catalog_context())?;
        Ok(Arc::new(Target { fill, ..(**target).clone() }))
    }

    fn check_writable(&self, what: &str) -> SqlResult<()> {
        if self.settings.is_read_only() {
            let message = format!("cannot execute {what} in a read-only transaction");
            return Err(SqlError::new(sqlstate::READ_ONLY_SQL_TRANSACTION, message));
        }
        Ok(())
    }

    /// Where many rows go: into the block, or, outside of one, straight to the engine.
    fn copy_sink(&mut self, collection: CollectionId) -> SqlResult<CopySink> {
        if self.transaction.is_in_block() || self.transaction.has_writes() {
            let bytes_left = self.transaction.bytes_left();
            return Ok(CopySink::Transaction { batches: Vec::new(), bytes_left });
        }
        let bulk = self.server.engine.bulk_write(collection).map_err(|error| write_error(&error))?;
        Ok(CopySink::Bulk(Box::new(bulk)))
    }

    fn take_sink(&mut self, collection: CollectionId, sink: CopySink) -> SqlResult<()> {
        match sink {
            CopySink::Bulk(bulk) => self.transaction.write_bulk(*bulk),
            CopySink::Transaction { batches, .. } => {
                for batch in batches {
                    self.transaction.write(collection, batch)?;
                }
            }
        }
        Ok(())
    }

    /// Commits what was written outside a block: durable and visible when this returns.
    ///
    /// # Errors
    /// Nothing is committed, or, when the connection to the log failed, it is not known.
    pub async fn settle(&mut self, control: &StatementControl) -> SqlResult<()> {
        if self.transaction.is_in_block() {
            return Ok(());
        }
        let pending = self.transaction.take_pending();
        self.commit(pending, control).await
    }

    async fn commit(
        &mut self,
        pending: crate::session::transaction::Pending,
        control: &StatementControl,
    ) -> SqlResult<()> {
        if pending.bulk.is_none() && pending.writes.is_empty() {
            return Ok(());
        }
        let synchronous = self.settings.synchronous_commit();
        let number = self.settings.batch_number()?;
        if let Some(bulk) = pending.bulk {
            // Up to here it can be cancelled; from here on it is committed whatever happens.
            control.check()?;
            let engine = Arc::clone(&self.server.engine);
            let durability = if synchronous { engine.default_durability() } else { Durability::Written };
            let finished = self.server.query_runtime.spawn_blocking({
                let number = number.clone();
                move || bulk.finish_numbered(durability, number.as_ref())
            });
            let finished = finished
                .await
                .map_err(|error| SqlError::internal(format!("COPY ended by a panic: {error}")))?;
            if let Some(submitted) = finished.map_err(|error| write_error(&error))? {
                wait_committed(submitted).await?;
            }
        }
        if !pending.writes.is_empty() {
            control.check()?;
            write_durably(&self.server.engine, pending.writes, synchronous, number.as_ref()).await?;
        }
        if number.is_some() {
            self.settings.forget_batch_number();
        }
        Ok(())
    }
}

/// Whether results have the same columns, of whatever relation: a table that was dropped and made anew
/// is another one.
fn are_alike(one: Option<&Fields>, other: Option<&Fields>) -> bool {
    let described = |field: &Field| (field.name.clone(), field.pg_type.clone(), field.typmod);
    one.map(|fields| fields.iter().map(described).collect::<Vec<_>>())
        == other.map(|fields| fields.iter().map(described).collect::<Vec<_>>())
}

/// The answer to everything but the end of a block that failed.
pub fn in_failed_transaction() -> SqlError {
    let message = "current transaction is aborted, commands ignored until end of transaction block";
    SqlError::new(sqlstate::IN_FAILED_SQL_TRANSACTION, message)
}

impl Body {
    /// Its columns; `None` when it gives no rows.
    pub fn fields(&self) -> Option<Fields> {
        match self {
            Body::Query(query) => Some(Arc::clone(&query.fields)),
            Body::Catalog(query) => Some(Arc::clone(query.fields())),
            Body::Delete(delete) => delete.returned.clone(),
            Body::Insert(insert) => insert.returning.as_ref().map(|returning| Arc::clone(returning.fields())),
            _ => None,
        }
    }

    fn parameters(&self, declared: &[Option<PgType>]) -> Vec<PgType> {
        match self {
            Body::Query(query) => query.parameters.clone(),
            Body::Insert(insert) => insert.parameters.clone(),
            Body::Catalog(query) => query.parameters().to_vec(),
            Body::Delete(delete) => delete.query.parameters.clone(),
            Body::Explain { query, .. } => query.parameters(declared),
            Body::Other(Kind::Call(call)) => call.parameters(declared),
            Body::Execute(Execution { arguments: Some(arguments), .. }) => arguments.parameters(declared),
            _ => declared.iter().map(|it| it.clone().unwrap_or(PgType::TEXT)).collect(),
        }
    }
}
