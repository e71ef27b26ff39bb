//! The extended protocol: Parse, Bind, Describe, Execute, Close.

use std::sync::Arc;

use bytes::Bytes;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Describe, Execute, Parse, ParseComplete, PortalSuspended,
    TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::EmptyQueryResponse;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::PgType;
use crate::pgtype::binary::parse_binary;
use crate::pgtype::datum::Datum;
use crate::pgtype::encode::Format;
use crate::pgtype::text::parse_text;
use crate::pgtype::types::NO_TYPMOD;
use crate::session::NAMES_MAX;
use crate::session::outcome::{Outcome, RowSource};
use crate::session::prepared::{Bound, Portal, PortalState, Prepared};
use crate::sql::rows::RawValue;
use crate::sql::rows::errors::of_parameter;
use crate::sqlstate;
use crate::wire::encode::{self, format_from_code};
use crate::wire::message::{self, Frontend, violation};
use crate::wire::rows::Sent;
use crate::wire::serve::{Client, parse_on_large_stack};
use crate::wire::stream::Broken;

impl Client {
    /// Handles a message of the extended protocol.
    pub(crate) async fn extended(&mut self, message: Frontend) -> Result<SqlResult<()>, Broken> {
        match message {
            Frontend::Parse(parse) => Ok(self.parse(parse).await),
            Frontend::Bind(bind) => Ok(self.bind(bind).await),
            Frontend::Describe(describe) => Ok(self.describe(&describe)),
            Frontend::Execute(execute) => self.execute(&execute).await,
            Frontend::Close(close) => Ok(self.close(&close)),
            other => Ok(Err(violation(format!("unexpected message {other:?}")))),
        }
    }

    async fn parse(&mut self, parse: Parse) -> SqlResult<()> {
        let name = parse.name.unwrap_or_default();
        self.session.check_new_statement(&name)?;
        let server = Arc::clone(&self.session.server);
        let mut parsed = parse_on_large_stack(&server, &parse.query).await?;
        if parsed.len() > 1 {
            let message = "cannot insert multiple commands into a prepared statement";
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
        }
        let declared =
            parse.type_oids.iter().map(|oid| declared_type(*oid)).collect::<SqlResult<Vec<_>>>()?;
        let control = self.control();
        let prepared = control.run(self.session.prepare(parsed.pop(), declared)).await??;
        let statement = self.session.named(Arc::new(prepared), Arc::from(parse.query.as_str()), false);
        self.session.keep_statement(name, statement)?;
        self.connection.send(&ParseComplete::new())
    }

    async fn bind(&mut self, bind: Bind) -> SqlResult<()> {
        let statement_name = bind.statement_name.as_deref().unwrap_or_default();
        let statement = self.session.statement(statement_name)?;
        let name = bind.portal_name.clone().unwrap_or_default();
        if !name.is_empty() && self.session.portals.contains_key(&name) {
            let message = format!("cursor \"{name}\" already exists");
            return Err(SqlError::new(sqlstate::DUPLICATE_CURSOR, message));
        }
        if !name.is_empty() && self.session.portals.len() >= NAMES_MAX {
            let message = format!("a session has at most {NAMES_MAX} open portals");
            return Err(SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
        }
        let prepared = self.session.refreshed(&statement).await?;
        check_count(&bind, prepared.parameters.len())?;
        let values = self.bound(&prepared, &bind.parameter_format_codes, bind.parameters)?;
        let formats = formats(&bind.result_column_format_codes)?;
        // As in PostgreSQL, a statement without columns takes any number.
        let columns = prepared.fields.as_ref().map_or(formats.len(), |fields| fields.len());
        if formats.len() > 1 && formats.len() != columns {
            return Err(violation(format!(
                "bind message has {} result formats but query has {columns} columns",
                formats.len()
            )));
        }
        if let Some(named) = self.session.statements.get(statement_name) {
            named.count_run();
        }
        let portal = Portal { prepared, values, formats, state: PortalState::Ready };
        self.session.portals.insert(name, portal);
        self.connection.send(&BindComplete::new())
    }

    fn bound(
        &mut self,
        prepared: &Prepared,
        codes: &[i16],
        parameters: Vec<Option<Bytes>>,
    ) -> SqlResult<Bound> {
        let codes = parameter_formats(codes, parameters.len())?;
        if prepared.takes_raw_values() {
            let values = codes.zip(parameters).map(|(format, bytes)| RawValue { format, bytes });
            return self.session.bind_rows(prepared, &values.collect::<Vec<_>>());
        }
        let settings = self.session.format();
        let values = codes.zip(parameters).enumerate().map(|(at, (format, bytes))| {
            let Some(bytes) = bytes else { return Ok(Datum::Null) };
            let pg_type = &prepared.parameters[at];
            let parsed = match format {
                Format::Text => {
                    message::text(&bytes).and_then(|text| parse_text(text, pg_type, NO_TYPMOD, &settings))
                }
                Format::Binary => parse_binary(&bytes, pg_type, NO_TYPMOD),
            };
            parsed.map_err(|error| of_parameter(error, at))
        });
        values.collect::<SqlResult<Vec<_>>>().map(Bound::Values)
    }

    fn describe(&mut self, describe: &Describe) -> SqlResult<()> {
        let name = describe.name.as_deref();
        if describe.target_type == TARGET_TYPE_BYTE_STATEMENT {
            let prepared = self.session.statement(name.unwrap_or_default())?;
            let types = prepared.parameters.iter().map(PgType::oid).collect();
            self.connection.send(&ParameterDescription::new(types))?;
            return match &prepared.fields {
                // How values will be sent is not known before Bind.
                Some(fields) => self.connection.send(&encode::row_description(fields, |_| Format::Text)),
                None => self.connection.send(&NoData::new()),
            };
        }
        let portal = self.session.portals.get(name.unwrap_or_default()).ok_or_else(|| no_portal(name))?;
        match &portal.prepared.fields {
            Some(fields) => {
                let description = encode::row_description(fields, |at| portal.format(at));
                self.connection.send(&description)
            }
            None => self.connection.send(&NoData::new()),
        }
    }

    async fn execute(&mut self, execute: &Execute) -> Result<SqlResult<()>, Broken> {
        let name = execute.name.clone().unwrap_or_default();
        // Negative numbers and zero ask for all rows, as in PostgreSQL.
        let rows_max = usize::try_from(execute.max_rows).ok().filter(|rows| *rows > 0);
        let Some(mut portal) = self.session.portals.remove(&name) else {
            return Ok(Err(no_portal(execute.name.as_deref())));
        };
        let outcome = self.execute_portal(&name, &mut portal, rows_max).await?;
        // A portal that failed, or whose block is over, is gone.
        if outcome.is_ok() && !matches!(portal.prepared.body, crate::session::prepared::Body::Other(_)) {
            self.session.portals.insert(name, portal);
        }
        Ok(outcome)
    }

    async fn execute_portal(
        &mut self,
        name: &str,
        portal: &mut Portal,
        rows_max: Option<usize>,
    ) -> Result<SqlResult<()>, Broken> {
        let mut control = self.control();
        control.set_last(self.connection.is_next(b'S'));
        let state = std::mem::replace(&mut portal.state, PortalState::Finished);
        let (rows, word) = match state {
            PortalState::Suspended { rows, word } => (rows, word),
            PortalState::Exhausted { word } => (RowSource::datums([]), word),
            PortalState::Finished => {
                let message = format!("portal \"{name}\" cannot be run");
                return Ok(Err(SqlError::new(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, message)));
            }
            PortalState::Ready => {
                let prepared = Arc::clone(&portal.prepared);
                let bound = std::mem::replace(&mut portal.values, Bound::Values(Vec::new()));
                let executed = self.session.execute_bound(&prepared, bound, &control).await;
                let tag = match executed {
                    Err(error) => return Ok(Err(error)),
                    Ok(Outcome::Rows { rows, word }) => {
                        return self.send_portal(portal, rows, word, rows_max, &control).await;
                    }
                    Ok(Outcome::Empty) => {
                        return Ok(self.connection.send(&EmptyQueryResponse::new()));
                    }
                    Ok(Outcome::Done(tag)) => Ok(tag),
                    Ok(Outcome::CopyIn(copy)) => self.copy_in(*copy, &prepared, &control).await?,
                    Ok(Outcome::CopyOut(copy)) => self.copy_out(*copy, &control).await?,
                };
                return Ok(tag.and_then(|tag| {
                    self.send_notices()?;
                    self.connection.send(&encode::command_complete(&tag))
                }));
            }
        };
        self.send_portal(portal, rows, word, rows_max, &control).await
    }

    async fn send_portal(
        &mut self,
        portal: &mut Portal,
        mut rows: RowSource,
        word: &'static str,
        rows_max: Option<usize>,
        control: &crate::session::control::StatementControl,
    ) -> Result<SqlResult<()>, Broken> {
        let Some(fields) = portal.prepared.fields.clone() else {
            return Ok(Err(SqlError::internal("rows without columns")));
        };
        let sent = self.send_rows(&fields, |at| portal.format(at), &mut rows, rows_max, control).await?;
        Ok(match sent {
            Err(error) => Err(error),
            Ok(Sent { suspended: true, .. }) => {
                portal.state = PortalState::Suspended { rows, word };
                self.connection.send(&PortalSuspended::new())
            }
            Ok(Sent { row_count, .. }) => {
                portal.state = PortalState::Exhausted { word };
                let tag = encode::rows_tag(word, row_count);
                self.send_notices().and_then(|()| self.connection.send(&encode::command_complete(&tag)))
            }
        })
    }

    fn close(&mut self, close: &Close) -> SqlResult<()> {
        let name = close.name.as_deref().unwrap_or_default();
        // Closing what is not there is no error.
        if close.target_type == TARGET_TYPE_BYTE_STATEMENT {
            Arc::make_mut(&mut self.session.statements).remove(name);
        } else {
            self.session.portals.remove(name);
        }
        self.connection.send(&CloseComplete::new())
    }
}

fn no_portal(name: Option<&str>) -> SqlError {
    let message = format!("portal \"{}\" does not exist", name.unwrap_or_default());
    SqlError::new(sqlstate::INVALID_CURSOR_NAME, message)
}

/// The type that a client declared; 0 and `unknown` leave it to us.
fn declared_type(oid: u32) -> SqlResult<Option<PgType>> {
    if oid == 0 || oid == PgType::UNKNOWN.oid() {
        return Ok(None);
    }
    PgType::from_oid(oid).map(Some).ok_or_else(|| {
        let message = format!("type with OID {oid} does not exist");
        SqlError::new(sqlstate::UNDEFINED_OBJECT, message)
    })
}

fn formats(codes: &[i16]) -> SqlResult<Vec<Format>> {
    let format = |code: &i16| {
        format_from_code(*code).ok_or_else(|| {
            SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, format!("unsupported format code: {code}"))
        })
    };
    codes.iter().map(format).collect()
}

/// There are as many values as the statement has parameters.
fn check_count(bind: &Bind, expected: usize) -> SqlResult<()> {
    let given = bind.parameters.len();
    if given == expected {
        return Ok(());
    }
    let name = bind.statement_name.as_deref().unwrap_or_default();
    let message = format!(
        "bind message supplies {given} parameters, but prepared statement \"{name}\" requires {expected}"
    );
    Err(violation(message))
}

/// The form of each parameter.
fn parameter_formats(codes: &[i16], count: usize) -> SqlResult<impl Iterator<Item = Format>> {
    let codes = formats(codes)?;
    if codes.len() > 1 && codes.len() != count {
        return Err(violation(format!(
            "bind message has {} parameter formats but {count} parameters",
            codes.len()
        )));
    }
    Ok((0..count).map(move |at| match codes.as_slice() {
        [] => Format::Text,
        [all] => *all,
        each => each[at],
    }))
}
