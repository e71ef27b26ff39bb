//! Statements that were prepared, and portals: statements with values that run.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::{CollectionId, SchemaVersion};
use tidemark_catalog::view::View;
use tidemark_engine::batch::WriteBatch;

use crate::pg_catalog::CatalogQuery;
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::pgtype::encode::Format;
use crate::plan::query::PlannedQuery;
use crate::plan::row_expressions::RowExpressions;
use crate::session::execute::statements::Execution;
use crate::session::field::Fields;
use crate::session::outcome::RowSource;
use crate::sql::classify::Kind;
use crate::sql::copy::options::CopyFormat;
use crate::sql::insert::constants::ConstantRows;
use crate::sql::insert::unnest::ArrayParameter;
use crate::sql::rows::Target;

/// A statement that was understood and planned.
#[derive(Debug)]
pub struct Prepared {
    /// Its text.
    pub text: Arc<str>,
    /// What is carried out.
    pub body: Body,
    /// The types of its parameters.
    pub parameters: Vec<PgType>,
    /// The types of parameters as the client declared them.
    pub declared: Vec<Option<PgType>>,
    /// Its columns; `None` when it gives no rows.
    pub fields: Option<Fields>,
    /// What it was planned under.
    pub planned_under: PlannedUnder,
}

/// A statement that is kept under a name.
#[derive(Clone, Debug)]
pub struct NamedStatement {
    /// The statement.
    pub prepared: Arc<Prepared>,
    /// What the client said to make it.
    pub text: Arc<str>,
    /// When, in microseconds since 1970.
    pub prepared_us: i64,
    /// By PREPARE, and not by the protocol.
    pub from_sql: bool,
    /// How often it was carried out.
    run_count: Arc<AtomicI64>,
}

impl NamedStatement {
    /// A statement that was not carried out yet.
    pub fn new(prepared: Arc<Prepared>, text: Arc<str>, prepared_us: i64, from_sql: bool) -> NamedStatement {
        NamedStatement { prepared, text, prepared_us, from_sql, run_count: Arc::default() }
    }

    /// It is carried out.
    pub fn count_run(&self) {
        self.run_count.fetch_add(1, Ordering::Relaxed);
    }

    /// How often it was carried out.
    pub fn run_count(&self) -> i64 {
        self.run_count.load(Ordering::Relaxed)
    }
}

/// The statements of a session by their names. What looks at them while the session goes on has them
/// as they were.
pub type Statements = Arc<HashMap<String, NamedStatement>>;

/// What a plan depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlannedUnder {
    /// The collections it reads or writes, with their schemas.
    pub collections: Vec<(CollectionId, SchemaVersion)>,
    /// The namespaces in which names were looked up.
    pub search_path: Vec<String>,
    /// The time zone that is part of types.
    pub time_zone: Arc<str>,
}

impl PlannedUnder {
    /// Whether the plan is still right.
    pub fn holds(&self, view: &View, search_path: &[String], time_zone: &str) -> bool {
        let unchanged = |(id, version): &(CollectionId, SchemaVersion)| {
            view.collection(*id).is_some_and(|it| it.collection.schema.version() == *version)
        };
        self.collections.is_empty()
            || (*self.search_path == *search_path
                && *self.time_zone == *time_zone
                && self.collections.iter().all(unchanged))
    }
}

/// A DELETE that was planned.
#[derive(Debug)]
pub struct PlannedDelete {
    /// Where rows go from.
    pub target: CollectionId,
    /// The query for their places, and for what is returned.
    pub query: PlannedQuery,
    /// The columns that are returned, if any are.
    pub returned: Option<Fields>,
}

/// What a prepared statement carries out.
#[derive(Debug)]
pub enum Body {
    /// There is no statement.
    Empty,
    /// A query over collections.
    Query(Box<PlannedQuery>),
    /// A query over the catalog, or over nothing.
    Catalog(Box<CatalogQuery>),
    /// INSERT.
    Insert(Box<PreparedInsert>),
    /// DELETE.
    Delete(Box<PlannedDelete>),
    /// COPY FROM.
    CopyIn(PreparedCopyIn),
    /// COPY TO.
    CopyOut(Box<PreparedCopyOut>),
    /// EXPLAIN.
    Explain {
        /// What is explained.
        query: Box<Body>,
        /// Run it.
        analyze: bool,
        /// As JSON.
        json: bool,
    },
    /// EXECUTE.
    Execute(Execution),
    /// What needs no plan.
    Other(Kind),
}

/// INSERT.
#[derive(Debug)]
pub struct PreparedInsert {
    /// Where the rows go.
    pub target: Arc<Target>,
    /// Where they come from.
    pub source: RowsFrom,
    /// The types of its parameters.
    pub parameters: Vec<PgType>,
    /// What is done with rows whose key is there, where the statement says it.
    pub conflict: Option<PreparedConflict>,
    /// What is given back of them.
    pub returning: Option<Arc<RowExpressions>>,
}

/// ON CONFLICT.
#[derive(Debug)]
pub enum PreparedConflict {
    /// DO NOTHING.
    Nothing,
    /// DO UPDATE.
    Update(Box<PreparedUpdate>),
}

/// ON CONFLICT DO UPDATE.
#[derive(Debug)]
pub struct PreparedUpdate {
    /// The columns that get values.
    pub set: Target,
    /// The values, and the condition after them where there is one.
    pub expressions: RowExpressions,
    /// Whether there is a condition.
    pub has_condition: bool,
    /// Whether the new row has nothing of the old one.
    pub replaces: bool,
}

/// Where the rows of an INSERT come from.
#[derive(Debug)]
pub enum RowsFrom {
    /// Constants and parameters.
    Constants(Arc<ConstantRows>),
    /// Arrays, one for each column.
    Arrays(Vec<ArrayParameter>),
    /// Values that are computed without reading anything.
    Answer(Box<CatalogQuery>),
    /// A query.
    Query(Box<PlannedQuery>),
}

/// COPY FROM.
#[derive(Debug)]
pub struct PreparedCopyIn {
    /// Where the rows go.
    pub target: Arc<Target>,
    /// How they are written.
    pub format: CopyFormat,
    /// Which are taken.
    pub condition: Option<Arc<RowExpressions>>,
}

/// COPY TO.
#[derive(Debug)]
pub struct PreparedCopyOut {
    /// What is copied.
    pub query: Body,
    /// Its columns.
    pub fields: Fields,
    /// How it is written.
    pub format: CopyFormat,
    /// The collection, where it is one.
    pub collection: Option<Arc<Collection>>,
}

/// A statement with values for its parameters.
#[derive(Debug)]
pub struct Portal {
    /// The statement.
    pub prepared: Arc<Prepared>,
    /// The values.
    pub values: Bound,
    /// The forms of its columns: none (all text), one for all, or one each.
    pub formats: Vec<Format>,
    /// How far it is.
    pub state: PortalState,
}

/// Values that a statement was given.
#[derive(Debug)]
pub enum Bound {
    /// One for each parameter.
    Values(Vec<Datum>),
    /// The rows that an INSERT makes of them; none, if it makes none.
    Rows(Option<WriteBatch>),
}

/// How far a portal is.
#[derive(Debug)]
pub enum PortalState {
    /// Not started.
    Ready,
    /// Some rows were taken.
    Suspended {
        /// The others.
        rows: RowSource,
        /// The word of its tag.
        word: &'static str,
    },
    /// All rows were taken: asked again, there are none.
    Exhausted {
        /// The word of its tag.
        word: &'static str,
    },
    /// It gives no rows and was carried out, or it failed.
    Finished,
}

impl Portal {
    /// The form of a column.
    pub fn format(&self, at: usize) -> Format {
        match self.formats.as_slice() {
            [] => Format::Text,
            [all] => *all,
            each => each.get(at).copied().unwrap_or(Format::Text),
        }
    }
}
