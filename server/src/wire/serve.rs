//! The connection loop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pgwire::messages::response::{EmptyQueryResponse, ReadyForQuery, TransactionStatus};
use pgwire::messages::startup::ParameterStatus;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::error::{Severity, SqlError, SqlResult};
use crate::server::Server;
use crate::session::Session;
use crate::session::control::StatementControl;
use crate::session::outcome::Outcome;
use crate::session::settings::in_force::Reported;
use crate::session::transaction::Status;
use crate::sql::parse::{Parsed, parse};
use crate::sqlstate;
use crate::wire::encode;
use crate::wire::message::{self, Frontend};
use crate::wire::startup;
use crate::wire::stream::{Broken, Connection, MESSAGE_BYTES_MAX};

/// How long a client may take to read why its session ends.
const GOODBYE_TIME_MAX: Duration = Duration::from_secs(10);

/// A client that is connected.
pub(crate) struct Client {
    // The first to go: when a client sees its connection closed, its place is free again.
    pub(crate) session: Session,
    pub(crate) connection: Connection,
    /// Messages of the extended protocol are skipped until Sync, after an error.
    pub(crate) skipping: bool,
    /// What the client was last told of its parameters.
    reported: Reported,
    server: Arc<Server>,
}

/// Serves a connection until it ends. `starting` is its place among those that are not known yet.
pub(crate) async fn serve(
    server: Arc<Server>,
    stream: TcpStream,
    peer: SocketAddr,
    starting: OwnedSemaphorePermit,
) {
    let Some((connection, client)) = startup::start(&server, stream, peer).await else { return };
    drop(starting);
    let startup::Client { role, database, settings, registered } = client;
    let reported = settings.reported();
    let session = Session::new(Arc::clone(&server), role, database, settings, registered);
    server.metrics.connections.add(1);
    let mut client = Client { connection, session, skipping: false, reported, server };
    let outcome = client.run().await;
    if let Err(Broken::Told(error)) = outcome {
        let fatal = error.with_severity(Severity::Fatal);
        if client.connection.send(&encode::error_response(&fatal)).is_ok() {
            // One that does not read does not keep its place.
            tokio::time::timeout(GOODBYE_TIME_MAX, client.connection.close()).await.ok();
        }
    }
}

impl Client {
    async fn run(&mut self) -> Result<(), Broken> {
        self.ready().await?;
        let mut draining = self.server.draining();
        let ending = self.session.registered.ending();
        loop {
            let timeout = self.idle_timeout();
            let (tag, body) = tokio::select! {
                biased;
                read = self.connection.read_message(MESSAGE_BYTES_MAX) => read?,
                _ = draining.wait_for(|draining| *draining) => {
                    let message = "terminating connection due to administrator command";
                    return Err(Broken::Told(SqlError::new(sqlstate::ADMIN_SHUTDOWN, message)));
                }
                () = ending.cancelled() => {
                    let message = "terminating connection due to administrator command";
                    return Err(Broken::Told(SqlError::new(sqlstate::ADMIN_SHUTDOWN, message)));
                }
                () = expired(timeout) => return Err(Broken::Told(self.idle_for_too_long())),
            };
            match tag {
                b'X' => return Ok(()),
                // After an error everything is skipped, understood or not.
                b'S' => self.skipping = false,
                _ if self.skipping => continue,
                // What is left of a COPY that failed.
                b'd' | b'c' | b'f' => continue,
                _ => {}
            }
            match message::decode(tag, body) {
                Ok(message) => self.handle(message).await?,
                Err(error) if message::is_extended(tag) => {
                    self.fail_extended(&error).map_err(Broken::Told)?;
                }
                Err(error) => {
                    self.fail(&error).map_err(Broken::Told)?;
                    self.ready().await?;
                }
            }
            if self.connection.wants_flush() {
                self.connection.flush().await?;
            }
        }
    }

    fn idle_timeout(&self) -> Option<Duration> {
        if self.session.transaction.is_in_block() {
            self.session.settings.idle_in_transaction_timeout()
        } else {
            self.session.settings.idle_timeout()
        }
    }

    fn idle_for_too_long(&self) -> SqlError {
        let (state, what) = if self.session.transaction.is_in_block() {
            (sqlstate::IDLE_IN_TRANSACTION_SESSION_TIMEOUT, "idle-in-transaction")
        } else {
            (sqlstate::IDLE_SESSION_TIMEOUT, "idle-session")
        };
        SqlError::new(state, format!("terminating connection due to {what} timeout"))
    }

    async fn handle(&mut self, message: Frontend) -> Result<(), Broken> {
        match message {
            Frontend::Query(text) => {
                self.simple_query(&text).await?;
                self.ready().await
            }
            Frontend::Sync => {
                self.sync().await?;
                self.ready().await
            }
            Frontend::Flush => self.connection.flush().await,
            Frontend::FunctionCall => {
                let error = SqlError::unsupported("the function call protocol");
                self.fail(&error).map_err(Broken::Told)?;
                self.ready().await
            }
            Frontend::Password => Err(Broken::Told(message::violation("unexpected password message"))),
            extended => {
                if let Err(error) = self.extended(extended).await? {
                    self.fail_extended(&error).map_err(Broken::Told)?;
                }
                Ok(())
            }
        }
    }

    /// Runs the statements of a text: all of them are one transaction, stopped by the first error.
    async fn simple_query(&mut self, text: &str) -> Result<(), Broken> {
        let parsed = match parse_on_large_stack(&self.server, text).await {
            Ok(parsed) => parsed,
            Err(error) => return self.fail(&error).map_err(Broken::Told),
        };
        if parsed.is_empty() {
            return self.connection.send(&EmptyQueryResponse::new()).map_err(Broken::Told);
        }
        // The unnamed statement and portal do not outlive a simple query.
        Arc::make_mut(&mut self.session.statements).remove("");
        self.session.portals.remove("");
        let mut control = self.control();
        let last = parsed.len() - 1;
        for (at, parsed) in parsed.into_iter().enumerate() {
            // Each has the time for itself; a cancel is for all of them.
            control.restart(self.session.settings.statement_timeout());
            control.set_last(at == last);
            if let Err(error) = self.simple_statement(parsed, at == last, &control).await? {
                self.fail(&error).map_err(Broken::Told)?;
                break;
            }
        }
        Ok(())
    }

    /// A statement outside a block is committed before its tag is sent, if it is the last.
    async fn simple_statement(
        &mut self,
        parsed: Parsed,
        is_last: bool,
        control: &StatementControl,
    ) -> Result<SqlResult<()>, Broken> {
        let prepared = match control.run(self.session.prepare(Some(parsed), Vec::new())).await {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(error)) | Err(error) => return Ok(Err(error)),
        };
        if !prepared.parameters.is_empty() {
            return Ok(Err(SqlError::new(sqlstate::UNDEFINED_PARAMETER, "there is no parameter $1")));
        }
        let outcome = match self.session.execute(&prepared, &[], control).await {
            Ok(outcome) => outcome,
            Err(error) => return Ok(Err(error)),
        };
        let tag = match outcome {
            Outcome::Empty => return Ok(self.connection.send(&EmptyQueryResponse::new())),
            Outcome::Done(tag) => Ok(tag),
            Outcome::Rows { rows, word } => {
                let Some(fields) = &prepared.fields else {
                    return Ok(Err(SqlError::internal("rows without columns")));
                };
                self.send_result(fields, rows, word, control).await?
            }
            Outcome::CopyIn(copy) => self.copy_in(*copy, &prepared, control).await?,
            Outcome::CopyOut(copy) => self.copy_out(*copy, control).await?,
        };
        let tag = match tag {
            Ok(tag) => tag,
            Err(error) => return Ok(Err(error)),
        };
        if is_last && let Err(error) = self.session.settle(control).await {
            return Ok(Err(error));
        }
        Ok(self.send_notices().and_then(|()| self.connection.send(&encode::command_complete(&tag))))
    }

    /// A statement starts: it can be cancelled, and it may take so long.
    pub(crate) fn control(&self) -> StatementControl {
        let timeout = self.session.settings.statement_timeout();
        StatementControl::start(self.session.registered.interrupt(), timeout)
    }

    /// Tells the client of an error; a transaction block has failed.
    pub(crate) fn fail(&mut self, error: &SqlError) -> SqlResult<()> {
        self.server.metrics.errors.add(1);
        if error.state() == sqlstate::INTERNAL_ERROR {
            tracing::error!(message = error.message(), "internal error in a statement");
        }
        self.session.fail();
        self.send_notices()?;
        self.connection.send(&encode::error_response(error))
    }

    fn fail_extended(&mut self, error: &SqlError) -> SqlResult<()> {
        self.skipping = true;
        self.fail(error)
    }

    pub(crate) fn send_notices(&mut self) -> SqlResult<()> {
        for notice in std::mem::take(&mut self.session.notices) {
            if self.session.settings.wants(notice.severity()) {
                self.connection.send(&encode::notice_response(&notice))?;
            }
        }
        Ok(())
    }

    /// The end of a pipeline: what it wrote is committed, its portals are closed.
    async fn sync(&mut self) -> Result<(), Broken> {
        if self.session.transaction.has_writes() {
            let control = self.control();
            if let Err(error) = self.session.settle(&control).await {
                self.fail(&error).map_err(Broken::Told)?;
            }
        }
        if !self.session.transaction.is_in_block() {
            self.session.portals.clear();
        }
        Ok(())
    }

    /// Tells the client what changed, and that it may go on.
    pub(crate) async fn ready(&mut self) -> Result<(), Broken> {
        self.ready_message().map_err(Broken::Told)?;
        self.connection.flush().await
    }

    fn ready_message(&mut self) -> SqlResult<()> {
        self.send_notices()?;
        self.session.end_implicit();
        let reported = self.session.settings.reported();
        if !Arc::ptr_eq(&reported, &self.reported) {
            for (at, (name, value)) in reported.iter().enumerate() {
                if self.reported.get(at).is_none_or(|(_, told)| told != value) {
                    self.connection.send(&ParameterStatus::new((*name).to_owned(), value.clone()))?;
                }
            }
            self.reported = reported;
        }
        let status = match self.session.transaction.status() {
            Status::Idle => TransactionStatus::Idle,
            Status::InBlock => TransactionStatus::Transaction,
            Status::Failed => TransactionStatus::Error,
        };
        self.session.note_end();
        self.connection.send(&ReadyForQuery::new(status))
    }
}

/// Parses where there is stack enough for what passes the bounds.
pub(crate) async fn parse_on_large_stack(server: &Arc<Server>, text: &str) -> SqlResult<Vec<Parsed>> {
    // Threads of this runtime have the stack of [`crate::sql::parse::STACK_BYTES`] too.
    parse(text, server.config.statement_bytes_max)
}

async fn expired(timeout: Option<Duration>) {
    match timeout {
        // A future that never completes, given so long.
        Some(timeout) => {
            tokio::time::timeout(timeout, std::future::pending::<()>()).await.ok();
        }
        None => std::future::pending().await,
    }
}
