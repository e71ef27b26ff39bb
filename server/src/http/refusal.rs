//! A request that was not carried out: what it is told, whichever form the answer has.

use axum::http::StatusCode;

use crate::error::SqlError;
use crate::sqlstate;

/// What a client is told to wait when the server is busy.
pub(super) const RETRY_AFTER_SECONDS: &str = "1";

/// Why a request was not carried out.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    /// The kind of error in a word, as InfluxDB's second API names it.
    code: &'static str,
    message: String,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status, code, message: message.into() }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }
}

impl From<SqlError> for Refusal {
    fn from(error: SqlError) -> Refusal {
        let (status, code) = match error.state() {
            sqlstate::INVALID_PASSWORD => (StatusCode::UNAUTHORIZED, "unauthorized"),
            sqlstate::INVALID_AUTHORIZATION_SPECIFICATION | sqlstate::INSUFFICIENT_PRIVILEGE => {
                (StatusCode::FORBIDDEN, "forbidden")
            }
            sqlstate::OUT_OF_MEMORY | sqlstate::ADMIN_SHUTDOWN | sqlstate::SERIALIZATION_FAILURE => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
            }
            sqlstate::DISK_FULL => (StatusCode::INSUFFICIENT_STORAGE, "unavailable"),
            sqlstate::INTERNAL_ERROR | sqlstate::IO_ERROR | sqlstate::DATA_CORRUPTED => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal error")
            }
            _ => (StatusCode::BAD_REQUEST, "invalid"),
        };
        let fields = error.fields();
        let mut message = fields.message.clone();
        for more in [&fields.detail, &fields.hint].into_iter().flatten() {
            message.push_str(&format!(" ({more})"));
        }
        Refusal::new(status, code, message)
    }
}
