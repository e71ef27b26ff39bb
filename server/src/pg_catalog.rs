//! The catalog as PostgreSQL shows it, and the interpreter that answers queries over it.
//!
//! ```text
//!   Query ──compile──▶ QueryPlan ──run──▶ rows, effects
//!                          ▲                  ▲
//!       names, types, functions         relations: made, fixed, views
//! ```
//!
//! 1. [`CatalogQuery::analyze`] compiles a statement once: names are looked up, types are settled, and
//!    casts are put where they are needed. A statement that reads a collection is somebody else's.
//! 2. [`CatalogQuery::run`] walks the plan row by row. It reads one view of the catalog and changes
//!    nothing; what a function does to the session is handed back as an [`Effect`].

use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::Query;
use tidemark_catalog::ids::CollectionId;
use tidemark_catalog::role::Role;
use tidemark_catalog::view::View;
use tidemark_engine::env::{Clock, Random};
use tokio_util::sync::CancellationToken;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::pgtype::settings::FormatSettings;
use crate::session::field::{Field, Fields};
use crate::session::prepared::Statements;
use crate::session::registry::Registry;
use crate::session::settings::SessionSettings;
use crate::sql::names::relation_name;
use crate::sqlstate;

use self::compile::{Compiler, Fault};
use self::plan::QueryPlan;
use self::run::Run;
use self::system::System;
use self::tables::Tables;

mod aggregate;
mod arrays;
mod compile;
mod convert;
mod eval;
mod functions;
mod group;
mod key;
mod names;
mod operators;
mod patterns;
mod plan;
mod relations;
mod run;
pub mod shared;
mod sort;
pub mod system;
pub mod tables;
mod types;
mod walk;

pub(crate) use self::names::{quote_ident, quote_literal};
pub use self::run::Effect;

#[cfg(test)]
mod tests;

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
    /// What the session prepared.
    pub statements: Statements,
    /// Who reads collections; `None` where none is read.
    pub tables: Option<Arc<dyn Tables>>,
    /// Stops a query.
    pub cancel: CancellationToken,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// The running server.
    pub system: Arc<dyn System>,
}

/// What a query may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The catalog. A query over collections is DataFusion's.
    Catalog,
    /// Collections too: DataFusion could not plan the query.
    Everything,
}

/// The type that SQL names.
///
/// # Errors
/// There is none of this name.
pub fn type_named(sql_type: &sqlparser::ast::DataType) -> SqlResult<PgType> {
    types::resolve(sql_type).map(|(pg_type, _)| pg_type)
}

/// Why the interpreter gives no answer.
#[derive(Debug)]
pub enum NotAnswered {
    /// The query is wrong.
    Error(SqlError),
    /// It reads collections.
    NotOurs,
}

/// A query over the catalog, or over nothing.
#[derive(Clone, Debug)]
pub struct CatalogQuery {
    plan: Arc<QueryPlan>,
    fields: Fields,
    parameters: Vec<PgType>,
    is_small: bool,
    /// The collections that it reads.
    pub collections: Vec<CollectionId>,
}

/// What a query over the catalog gives.
#[derive(Debug)]
pub struct Answer {
    /// Its rows.
    pub rows: Vec<Vec<Datum>>,
    /// What it asks the session to do.
    pub effects: Vec<Effect>,
}

impl CatalogQuery {
    /// Compiles a query, if it reads nothing but the catalog.
    ///
    /// # Errors
    /// The query is wrong, or somebody else's.
    pub fn analyze(
        query: &Query,
        declared: &[Option<PgType>],
        context: &CatalogContext,
        reach: Reach,
    ) -> Result<CatalogQuery, NotAnswered> {
        if reach == Reach::Catalog && reads_collections(query, context) {
            return Err(NotAnswered::NotOurs);
        }
        let mut compiler = Compiler::new(context, declared, reach);
        let plan = compiler.statement(query);
        let reads_catalog = compiler.reads_catalog && reach == Reach::Catalog;
        let plan = plan.map_err(|fault| match fault {
            Fault::Wrong(error) => NotAnswered::Error(error),
            Fault::Unknown(error) if reads_catalog => NotAnswered::Error(error),
            Fault::NotOurs if reads_catalog => {
                NotAnswered::Error(SqlError::unsupported("this form of a query over the catalog"))
            }
            Fault::Unknown(_) | Fault::NotOurs => NotAnswered::NotOurs,
        })?;
        let field = |column: &plan::Column| Field {
            name: column.name.clone(),
            pg_type: column.pg_type.clone(),
            typmod: column.typmod,
            table: column.table,
            column: column.number,
        };
        let parameters = compiler.parameters.iter().enumerate().map(|(at, known)| match known {
            Some(pg_type) => Ok(pg_type.clone()),
            None if compiler.parameters_named.contains(&at) => Ok(PgType::TEXT),
            None => {
                let message = format!("could not determine data type of parameter ${}", at + 1);
                Err(NotAnswered::Error(SqlError::new(sqlstate::INDETERMINATE_DATATYPE, message)))
            }
        });
        let parameters = parameters.collect::<Result<_, _>>()?;
        Ok(CatalogQuery {
            fields: plan.columns.iter().map(field).collect(),
            parameters,
            is_small: !compiler.reads_catalog && !compiler.is_heavy,
            collections: compiler.collections,
            plan: Arc::new(plan),
        })
    }

    /// The columns of its answer.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The types of its parameters.
    pub fn parameters(&self) -> &[PgType] {
        &self.parameters
    }

    /// Whether it is done in microseconds, so that it may run where it stands.
    pub fn is_small(&self) -> bool {
        self.is_small
    }

    /// Its rows.
    ///
    /// # Errors
    /// What an expression of it raises.
    pub fn run(&self, parameters: &[Datum], context: &CatalogContext) -> SqlResult<Answer> {
        let run = Run::new(context, parameters);
        let rows = run.rows(&self.plan, None)?.iter().map(|row| row.to_vec()).collect();
        Ok(Answer { rows, effects: run.into_effects() })
    }
}

/// Whether a name in the query is that of a collection. A query in WITH may hide one; then DataFusion
/// has the query, which answers it as well.
fn reads_collections(query: &Query, context: &CatalogContext) -> bool {
    let visited = sqlparser::ast::visit_relations(query, |name| {
        let found = relation_name(name)
            .ok()
            .and_then(|(namespace, relation)| names::relation(context, namespace.as_deref(), &relation));
        match found {
            Some(names::Found::Collection(_)) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    visited.is_break()
}
