//! The catalog as PostgreSQL shows it.

use std::sync::Arc;

use sqlparser::ast::Query;
use tidemark_catalog::role::Role;
use tidemark_catalog::view::View;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::pgtype::settings::FormatSettings;
use crate::session::field::Fields;
use crate::session::registry::Registry;
use crate::session::settings::SessionSettings;

/// What a query over the catalog knows.
#[derive(Clone, Debug)]
pub struct CatalogContext {
    /// The catalog.
    pub view: Arc<View>,
    /// All sessions of the server.
    pub sessions: Arc<Registry>,
    /// Who asks.
    pub role: Role,
    /// The database that the session is connected to.
    pub database: String,
    /// The session's parameters.
    pub settings: SessionSettings,
    /// How values are written and read, and when the transaction started.
    pub format: FormatSettings,
    /// The session's number.
    pub process: i32,
    /// When the server started, in microseconds since 1970.
    pub started_us: i64,
}

/// Why the interpreter gives no answer.
#[derive(Debug)]
pub enum NotAnswered {
    /// The query is wrong.
    Error(SqlError),
    /// It reads collections.
    NotOurs,
}

/// A query over the catalog.
#[derive(Clone, Copy, Debug)]
pub enum CatalogQuery {}

impl CatalogQuery {
    /// Compiles a query, if it reads nothing but the catalog.
    pub fn analyze(
        _query: &Query,
        _declared: &[Option<PgType>],
        _context: &CatalogContext,
    ) -> Result<CatalogQuery, NotAnswered> {
        Err(NotAnswered::NotOurs)
    }

    /// The columns of its answer.
    pub fn fields(&self) -> &Fields {
        match *self {}
    }

    /// The types of its parameters.
    pub fn parameters(&self) -> &[PgType] {
        match *self {}
    }

    /// Whether it is done in microseconds, so that it may run where it stands.
    pub fn is_small(&self) -> bool {
        match *self {}
    }

    /// Its rows.
    ///
    /// # Errors
    /// What an expression of it raises.
    pub fn run(&self, _parameters: &[Datum], _context: &CatalogContext) -> SqlResult<Vec<Vec<Datum>>> {
        match *self {}
    }
}
