//! A request that was not carried out: what it is told, whichever form the answer has.

use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use crate::error::SqlError;
use crate::ingest::Refused;
use crate::metrics::ErrorKind;
use crate::sqlstate;

/// What a client is told to wait when the server is busy.
const RETRY_AFTER_SECONDS: &str = "1";

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

impl Refusal {
    /// Adds to the answer what it says besides its body.
    pub(super) fn add_headers(&self, response: &mut Response) {
        let headers = response.headers_mut();
        match self.status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"tidemark\""));
            }
            _ => {}
        }
    }

    /// The kind of error, for those who count.
    pub(super) fn kind(&self) -> ErrorKind {
        match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorKind::Unauthorized,
            StatusCode::PAYLOAD_TOO_LARGE => ErrorKind::TooLarge,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE => ErrorKind::Unavailable,
            status if status.is_server_error() => ErrorKind::Internal,
            _ => ErrorKind::Malformed,
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Refusal {
        match refused {
            Refused::Rows(rejected) => Refusal::new(StatusCode::BAD_REQUEST, "invalid", rejected.to_string()),
            Refused::Malformed(message) => Refusal::new(StatusCode::BAD_REQUEST, "invalid", message),
            Refused::TooLarge(message) => {
                Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "request too large", message)
            }
            Refused::Sql(error) => error.into(),
        }
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
