//! What a client is told when something goes wrong.
//!
//! Primary message, detail and hint follow PostgreSQL's style guide: the primary message is short and
//! factual, without a capital at its start and without a full stop; detail and hint are sentences.

use std::fmt;

use crate::sqlstate::{self, SqlState};

/// How bad it is, as PostgreSQL's severities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed.
    Error,
    /// The session ends.
    Fatal,
    /// For the client's information.
    Notice,
    /// For the client's attention.
    Warning,
}

impl Severity {
    /// The word in the protocol's `S` and `V` fields.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
            Severity::Notice => "NOTICE",
            Severity::Warning => "WARNING",
        }
    }
}

/// An error or notice on its way to a client.
#[derive(Clone, PartialEq, Eq)]
pub struct SqlError(Box<Fields>);

/// The fields of an error message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// How bad it is.
    pub severity: Severity,
    /// Which error it is.
    pub state: SqlState,
    /// The primary message.
    pub message: String,
    /// More about it.
    pub detail: Option<String>,
    /// What might help.
    pub hint: Option<String>,
    /// Where in the statement, in characters from 1.
    pub position: Option<usize>,
    /// What was being done, one line for each level.
    pub context: Option<String>,
    /// The namespace it is about.
    pub schema: Option<String>,
    /// The relation it is about.
    pub table: Option<String>,
    /// The column it is about.
    pub column: Option<String>,
}

/// Short for results whose error is told to a client.
pub type SqlResult<T> = Result<T, SqlError>;

impl SqlError {
    /// An error of the statement.
    pub fn new(state: SqlState, message: impl Into<String>) -> SqlError {
        SqlError(Box::new(Fields {
            severity: Severity::Error,
            state,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            context: None,
            schema: None,
            table: None,
            column: None,
        }))
    }

    /// An error that ends the session.
    pub fn fatal(state: SqlState, message: impl Into<String>) -> SqlError {
        SqlError::new(state, message).with_severity(Severity::Fatal)
    }

    /// A notice.
    pub fn notice(state: SqlState, message: impl Into<String>) -> SqlError {
        SqlError::new(state, message).with_severity(Severity::Notice)
    }

    /// What is not supported.
    pub fn unsupported(what: impl fmt::Display) -> SqlError {
        SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("{what} is not supported"))
    }

    /// A bug of ours.
    pub fn internal(what: impl fmt::Display) -> SqlError {
        SqlError::new(sqlstate::INTERNAL_ERROR, what.to_string())
    }

    /// A value that is no value of the type.
    pub fn invalid_text(type_name: &str, text: &str) -> SqlError {
        let message = format!("invalid input syntax for type {type_name}: \"{text}\"");
        SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, message)
    }

    /// A number that the type cannot hold.
    pub fn out_of_range(type_name: &str, text: &str) -> SqlError {
        let message = format!("value \"{text}\" is out of range for type {type_name}");
        SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message)
    }

    /// The same with another severity.
    #[must_use]
    pub fn with_severity(mut self, severity: Severity) -> SqlError {
        self.0.severity = severity;
        self
    }

    /// The same with a detail.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> SqlError {
        self.0.detail = Some(detail.into());
        self
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> SqlError {
        self.0.hint = Some(hint.into());
        self
    }

    /// The same with a place in the statement, in characters from 1, unless it has one.
    #[must_use]
    pub fn at(mut self, position: Option<usize>) -> SqlError {
        self.0.position = self.0.position.or(position);
        self
    }

    /// The same without a place in the statement.
    #[must_use]
    pub fn without_position(mut self) -> SqlError {
        self.0.position = None;
        self
    }

    /// The same with what was being done, below what was being done within that.
    #[must_use]
    pub fn with_context(mut self, context: impl Into<String>) -> SqlError {
        let context = context.into();
        self.0.context = Some(match self.0.context.take() {
            Some(within) => format!("{within}\n{context}"),
            None => context,
        });
        self
    }

    /// The same with the column it is about.
    #[must_use]
    pub fn about_column(mut self, schema: &str, table: &str, column: &str) -> SqlError {
        self.0.schema = Some(schema.to_owned());
        self.0.table = Some(table.to_owned());
        self.0.column = Some(column.to_owned());
        self
    }

    /// Which error it is.
    pub fn state(&self) -> SqlState {
        self.0.state
    }

    /// The primary message.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.0.severity
    }

    /// All fields.
    pub fn fields(&self) -> &Fields {
        &self.0
    }
}

impl fmt::Debug for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.state.code(), self.0.message)
    }
}

impl std::error::Error for SqlError {}
