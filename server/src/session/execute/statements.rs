//! PREPARE, EXECUTE and DEALLOCATE: the same statements, by the same names, as those of the extended
//! protocol.
//!
//! 1. PREPARE plans what follows AS and keeps it under its name.
//! 2. EXECUTE is prepared itself: its columns are those of the statement that it names, and its
//!    arguments are a query that gives one row.
//! 3. Carried out, it looks the statement up again, brings the arguments to the types of the
//!    parameters as an assignment does, and carries the statement out in its own place.

use std::sync::Arc;

use sqlparser::ast;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::PgType;
use crate::pgtype::cast::{CastError, assign};
use crate::pgtype::datum::Datum;
use crate::pgtype::scalar::datum_from_array;
use crate::pgtype::text::parse_text;
use crate::pgtype::types::{NO_TYPMOD, format_type};
use crate::session::control::StatementControl;
use crate::session::field::Fields;
use crate::session::outcome::{Outcome, Rows};
use crate::session::prepared::{Body, NamedStatement, Prepared};
use crate::session::{NAMES_MAX, Session};
use crate::sql::classify::{Preparation, has_query, is_constant_text};
use crate::sql::functions::cast::{CastContext, can_cast};
use crate::sql::names::Resolver;
use crate::sql::parse::{Parsed, Said};
use crate::sqlstate;

/// EXECUTE, prepared.
#[derive(Debug)]
pub struct Execution {
    /// The statement that it names.
    pub name: String,
    /// The arguments as a query that gives one row; `None` when there are none.
    pub arguments: Option<Box<Body>>,
    /// Which of them are string constants, which may be of any type.
    pub constants: Vec<bool>,
}

impl Session {
    /// Keeps a statement under a name.
    ///
    /// # Errors
    /// There is one of this name, or there are too many.
    pub fn keep_statement(&mut self, name: String, statement: NamedStatement) -> SqlResult<()> {
        self.check_new_statement(&name)?;
        Arc::make_mut(&mut self.statements).insert(name, statement);
        Ok(())
    }

    /// Whether a statement can have this name.
    ///
    /// # Errors
    /// There is one of this name, or there are too many.
    pub fn check_new_statement(&self, name: &str) -> SqlResult<()> {
        if name.is_empty() {
            return Ok(());
        }
        if self.statements.contains_key(name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(SqlError::new(sqlstate::DUPLICATE_PREPARED_STATEMENT, message));
        }
        if self.statements.len() >= NAMES_MAX {
            let message = format!("a session has at most {NAMES_MAX} prepared statements");
            return Err(SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
        }
        Ok(())
    }

    /// The statement of a name.
    ///
    /// # Errors
    /// There is none.
    pub fn statement(&self, name: &str) -> SqlResult<Arc<Prepared>> {
        self.statements.get(name).map(|it| Arc::clone(&it.prepared)).ok_or_else(|| no_statement(name))
    }

    /// A statement as it is kept.
    pub fn named(&self, prepared: Arc<Prepared>, text: Arc<str>, from_sql: bool) -> NamedStatement {
        NamedStatement::new(prepared, text, self.server.clock.wall_us(), from_sql)
    }

    /// PREPARE name (types) AS statement.
    pub(super) async fn prepare_statement(&mut self, preparation: &Preparation) -> SqlResult<Outcome> {
        self.check_new_statement(&preparation.name)?;
        let declared = preparation.types.iter().cloned().map(Some).collect();
        let parsed = Parsed {
            statement: Said::Sql(preparation.statement.clone()),
            text: preparation.statement_text.clone(),
        };
        let prepared = Box::pin(self.prepare(Some(parsed), declared)).await?;
        let statement = self.named(Arc::new(prepared), Arc::from(preparation.text.as_str()), true);
        self.keep_statement(preparation.name.clone(), statement)?;
        Ok(Outcome::Done("PREPARE".to_owned()))
    }

    /// EXECUTE name (arguments): what it gives is what the statement gives.
    pub(super) async fn prepare_execution(
        &mut self,
        name: String,
        arguments: &[ast::Expr],
        text: &Arc<str>,
        declared: &[Option<PgType>],
        resolver: &Arc<Resolver>,
    ) -> SqlResult<Execution> {
        self.statement(&name)?;
        if arguments.iter().any(has_query) {
            let message = "cannot use subquery in EXECUTE parameter";
            return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
        }
        let body = match arguments {
            [] => None,
            arguments => {
                let query = crate::sql::classify::row_of(arguments);
                Some(Box::new(Box::pin(self.prepare_query(query, text, declared, resolver)).await?))
            }
        };
        let constants = arguments.iter().map(is_constant_text).collect();
        Ok(Execution { name, arguments: body, constants })
    }

    /// The columns of EXECUTE.
    pub(super) fn execution_fields(&self, execution: &Execution) -> Option<Fields> {
        self.statements.get(&execution.name).and_then(|it| it.prepared.fields.clone())
    }

    pub(super) async fn execute_statement(
        &mut self,
        execution: &Execution,
        values: &[Datum],
        control: &StatementControl,
    ) -> SqlResult<Outcome> {
        let kept = self.statements.get(&execution.name).cloned();
        let kept = kept.ok_or_else(|| no_statement(&execution.name))?;
        let prepared = Box::pin(self.refreshed(&kept.prepared)).await?;
        let given = execution.constants.len();
        // As in PostgreSQL, a statement without parameters looks at no arguments.
        if given != prepared.parameters.len() && !prepared.parameters.is_empty() {
            let message = format!("wrong number of parameters for prepared statement \"{}\"", execution.name);
            let expected = prepared.parameters.len();
            let detail = format!("Expected {expected} parameters but got {given}.");
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message).with_detail(detail));
        }
        let arguments = match &execution.arguments {
            Some(body) if !prepared.parameters.is_empty() => {
                self.arguments(body, execution, &prepared, values, control).await?
            }
            _ => Vec::new(),
        };
        kept.count_run();
        Box::pin(self.execute(&prepared, &arguments, control)).await
    }

    /// The arguments in the types of the parameters.
    async fn arguments(
        &mut self,
        body: &Body,
        execution: &Execution,
        prepared: &Prepared,
        values: &[Datum],
        control: &StatementControl,
    ) -> SqlResult<Vec<Datum>> {
        let fields = body.fields().ok_or_else(|| SqlError::internal("arguments are columns"))?;
        let given = fields.iter().zip(&prepared.parameters).zip(&execution.constants);
        for (at, ((field, wanted), is_constant)) in given.enumerate() {
            if !is_constant && !can_cast(&field.pg_type, wanted, CastContext::Assignment) {
                return Err(cannot_coerce(at, &field.pg_type, wanted));
            }
        }
        let mut source = self.run(body, values, control).await?;
        let rows = control.run(source.next()).await??;
        let row = match rows {
            Some(Rows::Datums(rows)) => rows.into_iter().next(),
            Some(Rows::Batch { batch, next }) => {
                let column = |(at, field): (usize, &crate::session::field::Field)| {
                    let array = batch.column(at);
                    match array.is_null(next) {
                        true => Ok(Datum::Null),
                        false => datum_from_array(array, next, &field.pg_type),
                    }
                };
                Some(fields.iter().enumerate().map(column).collect::<SqlResult<Vec<_>>>()?)
            }
            None => None,
        };
        let row = row.ok_or_else(|| SqlError::internal("arguments are one row"))?;
        let format = self.format();
        let assigned =
            row.into_iter().zip(&prepared.parameters).enumerate().map(|(at, (value, wanted))| match value {
                Datum::Text(text) if execution.constants[at] => parse_text(&text, wanted, NO_TYPMOD, &format),
                value => assign(value, wanted, NO_TYPMOD, &format).map_err(|error| match error {
                    CastError::Value(error) => error,
                    CastError::NoCast => cannot_coerce(at, &fields[at].pg_type, wanted),
                }),
            });
        assigned.collect()
    }

    /// DEALLOCATE; without a name, of all statements.
    pub(super) fn deallocate(&mut self, name: Option<&str>) -> SqlResult<Outcome> {
        let statements = Arc::make_mut(&mut self.statements);
        let tag = match name {
            None => {
                statements.clear();
                "DEALLOCATE ALL"
            }
            Some(name) => {
                statements.remove(name).ok_or_else(|| no_statement(name))?;
                "DEALLOCATE"
            }
        };
        Ok(Outcome::Done(tag.to_owned()))
    }
}

fn no_statement(name: &str) -> SqlError {
    let message = match name {
        "" => "unnamed prepared statement does not exist".to_owned(),
        name => format!("prepared statement \"{name}\" does not exist"),
    };
    SqlError::new(sqlstate::INVALID_SQL_STATEMENT_NAME, message)
}

fn cannot_coerce(at: usize, given: &PgType, wanted: &PgType) -> SqlError {
    let message = format!(
        "parameter ${} of type {} cannot be coerced to the expected type {}",
        at + 1,
        format_type(given),
        format_type(wanted)
    );
    SqlError::new(sqlstate::DATATYPE_MISMATCH, message)
        .with_hint("You will need to rewrite or cast the expression.")
}
