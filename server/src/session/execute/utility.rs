//! Statements that need no plan: transactions, settings, definitions.

use std::sync::Arc;

use sqlparser::ast::{DiscardObject, TransactionMode};

use crate::error::{SqlError, SqlResult};
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::session::Session;
use crate::session::control::StatementControl;
use crate::session::execute::in_failed_transaction;
use crate::session::field::{Field, Fields};
use crate::session::outcome::{Outcome, RowSource};
use crate::session::parameters;
use crate::session::procedures::{self, Call};
use crate::session::settings::Scope;
use crate::session::transaction::Status;
use crate::sql::classify::{Kind, transaction_modes};
use crate::sql::ddl::{self, DdlContext};
use crate::sqlstate;

fn done(tag: &str) -> SqlResult<Outcome> {
    Ok(Outcome::Done(tag.to_owned()))
}

/// The columns of SHOW.
pub(super) fn show_fields(name: &str) -> Fields {
    if name.eq_ignore_ascii_case("all") {
        return Arc::from(["name", "setting", "description"].map(|name| Field::new(name, PgType::TEXT)));
    }
    let shown = parameters::find(name).map_or(name, |definition| definition.name);
    Arc::from([Field::new(shown, PgType::TEXT)])
}

impl Session {
    pub(super) async fn execute_utility(
        &mut self,
        kind: &Kind,
        control: &StatementControl,
    ) -> SqlResult<Outcome> {
        match kind {
            Kind::Begin(modes) => self.begin(modes),
            Kind::Commit { chain } => self.commit_block(*chain, control).await,
            Kind::Rollback { chain } => self.roll_back_block(*chain),
            Kind::Savepoint(name) => {
                self.require_block("SAVEPOINT")?;
                self.transaction.savepoint(name.clone(), self.settings.snapshot());
                done("SAVEPOINT")
            }
            Kind::Release(name) => {
                self.require_block("RELEASE SAVEPOINT")?;
                self.transaction.release(name)?;
                done("RELEASE")
            }
            Kind::RollbackTo(name) => {
                self.require_block("ROLLBACK TO SAVEPOINT")?;
                let settings = self.transaction.roll_back_to(name)?;
                self.settings.restore(settings);
                self.portals.clear();
                done("ROLLBACK")
            }
            Kind::Set { name, value, scope } => self.set(name, value.as_deref(), *scope),
            Kind::SetTransaction { modes, session } => self.set_transaction(modes, *session),
            Kind::Show(name) => self.show(name),
            Kind::Reset(name) => {
                self.settings.reset(name)?;
                done("RESET")
            }
            Kind::ResetAll => {
                self.settings.reset_all();
                done("RESET")
            }
            Kind::Discard(what) => self.discard(what),
            Kind::Prepare(preparation) => self.prepare_statement(preparation).await,
            Kind::Deallocate(name) => self.deallocate(name.as_deref()),
            Kind::Ddl(statement) => self.define(statement).await,
            Kind::Checkpoint => {
                let call = Call::checkpoint();
                self.call(&call, (&[], &[]), control).await?;
                done("CHECKPOINT")
            }
            Kind::Nothing(tag) => done(tag),
            other => Err(SqlError::internal(format!("not a utility statement: {other:?}"))),
        }
    }

    fn warn(&mut self, state: crate::sqlstate::SqlState, message: &str) {
        let warning = SqlError::notice(state, message).with_severity(crate::error::Severity::Warning);
        self.notices.push(warning);
    }

    fn begin(&mut self, modes: &[TransactionMode]) -> SqlResult<Outcome> {
        if self.transaction.is_in_block() {
            self.warn(sqlstate::ACTIVE_SQL_TRANSACTION, "there is already a transaction in progress");
            return done("BEGIN");
        }
        let (isolation, read_only) = transaction_modes(modes)?;
        self.start_block();
        self.apply_modes(isolation, read_only)?;
        done("BEGIN")
    }

    fn start_block(&mut self) {
        self.transaction.begin();
        self.settings.begin();
        for (of_transaction, default) in [
            ("transaction_isolation", "default_transaction_isolation"),
            ("transaction_read_only", "default_transaction_read_only"),
        ] {
            if let Ok(value) = self.settings.show(default) {
                // Both are parameters that there are, with the same values.
                self.settings.set(of_transaction, &value, Scope::Transaction).ok();
            }
        }
    }

    fn apply_modes(&mut self, isolation: Option<&str>, read_only: Option<bool>) -> SqlResult<()> {
        if let Some(isolation) = isolation {
            self.settings.set("transaction_isolation", isolation, Scope::Transaction)?;
        }
        if let Some(read_only) = read_only {
            let value = if read_only { "on" } else { "off" };
            self.settings.set("transaction_read_only", value, Scope::Transaction)?;
        }
        Ok(())
    }

    async fn commit_block(&mut self, chain: bool, control: &StatementControl) -> SqlResult<Outcome> {
        match self.transaction.status() {
            Status::Idle => {
                self.settle(control).await?;
                self.settings.commit();
                self.warn(sqlstate::NO_ACTIVE_SQL_TRANSACTION, "there is no transaction in progress");
                done("COMMIT")
            }
            Status::Failed => self.roll_back_block(chain),
            Status::InBlock => {
                let pending = self.transaction.end();
                self.portals.clear();
                let committed = self.commit(pending, control).await;
                match committed {
                    Ok(()) => self.settings.commit(),
                    Err(error) => {
                        self.settings.roll_back();
                        return Err(error);
                    }
                }
                if chain {
                    self.start_block();
                }
                done("COMMIT")
            }
        }
    }

    fn roll_back_block(&mut self, chain: bool) -> SqlResult<Outcome> {
        if !self.transaction.is_in_block() {
            self.warn(sqlstate::NO_ACTIVE_SQL_TRANSACTION, "there is no transaction in progress");
        }
        drop(self.transaction.end());
        self.portals.clear();
        self.settings.roll_back();
        if chain {
            self.start_block();
        }
        done("ROLLBACK")
    }

    fn require_block(&self, what: &str) -> SqlResult<()> {
        if self.transaction.is_in_block() {
            return Ok(());
        }
        let message = format!("{what} can only be used in transaction blocks");
        Err(SqlError::new(sqlstate::NO_ACTIVE_SQL_TRANSACTION, message))
    }

    fn set(&mut self, name: &str, value: Option<&str>, scope: Scope) -> SqlResult<Outcome> {
        if scope == Scope::Transaction && !self.transaction.is_in_block() {
            self.warn(
                sqlstate::NO_ACTIVE_SQL_TRANSACTION,
                "SET LOCAL can only be used in transaction blocks",
            );
            // As in PostgreSQL the name and value are still checked.
            let mut unused = self.settings.clone();
            if let Some(value) = value {
                unused.set(name, value, scope)?;
            }
            return done("SET");
        }
        match value {
            Some(value) => self.settings.set(name, value, scope)?,
            None => self.settings.reset(name)?,
        }
        done("SET")
    }

    fn set_transaction(&mut self, modes: &[TransactionMode], session: bool) -> SqlResult<Outcome> {
        let (isolation, read_only) = transaction_modes(modes)?;
        if session {
            if let Some(isolation) = isolation {
                self.settings.set("default_transaction_isolation", isolation, Scope::Session)?;
            }
            if let Some(read_only) = read_only {
                let value = if read_only { "on" } else { "off" };
                self.settings.set("default_transaction_read_only", value, Scope::Session)?;
            }
            return done("SET");
        }
        if !self.transaction.is_in_block() {
            let message = "SET TRANSACTION can only be used in transaction blocks";
            self.warn(sqlstate::NO_ACTIVE_SQL_TRANSACTION, message);
            return done("SET");
        }
        self.apply_modes(isolation, read_only)?;
        done("SET")
    }

    fn show(&mut self, name: &str) -> SqlResult<Outcome> {
        let rows: Vec<Vec<Datum>> = if name.eq_ignore_ascii_case("all") {
            let all = self.settings.show_all().into_iter();
            all.map(|(name, value, description)| {
                vec![Datum::Text(name.to_owned()), Datum::Text(value), Datum::Text(description.to_owned())]
            })
            .collect()
        } else {
            vec![vec![Datum::Text(self.settings.show(name)?)]]
        };
        Ok(Outcome::Rows { rows: RowSource::datums(rows), word: "SHOW" })
    }

    fn discard(&mut self, what: &DiscardObject) -> SqlResult<Outcome> {
        match what {
            DiscardObject::ALL => {
                if self.transaction.is_in_block() {
                    let message = "DISCARD ALL cannot run inside a transaction block";
                    return Err(SqlError::new(sqlstate::ACTIVE_SQL_TRANSACTION, message));
                }
                Arc::make_mut(&mut self.statements).clear();
                self.portals.clear();
                self.settings.reset_all();
                done("DISCARD ALL")
            }
            DiscardObject::PLANS => done("DISCARD PLANS"),
            DiscardObject::SEQUENCES => done("DISCARD SEQUENCES"),
            DiscardObject::TEMP => done("DISCARD TEMP"),
        }
    }

    async fn define(&mut self, statement: &sqlparser::ast::Statement) -> SqlResult<Outcome> {
        let what = ddl::describe(statement);
        if self.transaction.status() == Status::Failed {
            return Err(in_failed_transaction());
        }
        if self.transaction.is_in_block() || self.transaction.has_writes() {
            let message = format!("{what} in a transaction block is not supported");
            return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
                .with_hint("Run it on its own; most drivers call that autocommit."));
        }
        self.check_writable(what)?;
        let resolver = self.resolver();
        let (server, role) = (Arc::clone(&self.server), self.role.clone());
        let (statement, expressions) = (statement.clone(), self.catalog_context());
        // The catalog is written and synced, which blocks.
        let defined = self.server.query_runtime.spawn_blocking(move || {
            let context = DdlContext {
                engine: &server.engine,
                series: &server.series,
                expressions: &expressions,
                resolver: &resolver,
                role: &role,
                salt: server.random_bytes(),
            };
            ddl::run(&statement, &context)
        });
        let defined = defined
            .await
            .map_err(|error| SqlError::internal(format!("{what} ended by a panic: {error}")))??;
        self.notices.extend(defined.notices);
        done(defined.tag)
    }

    /// Calls a procedure.
    pub(super) async fn call(
        &mut self,
        call: &Call,
        parameters: (&[Datum], &[PgType]),
        control: &StatementControl,
    ) -> SqlResult<Outcome> {
        let prepared = procedures::prepare(call, parameters, &self.catalog_context())?;
        let (resolver, engine) = (self.resolver(), Arc::clone(&self.server.engine));
        let name = prepared.name();
        let ran = self.server.query_runtime.spawn_blocking(move || prepared.run(&engine, &resolver));
        let ran = control.run(ran).await?;
        ran.map_err(|error| SqlError::internal(format!("{name} ended by a panic: {error}")))??;
        done("CALL")
    }
}
