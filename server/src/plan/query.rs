//! A query that was planned: its columns, its parameters, and running it.

use std::sync::Arc;

use datafusion::arrow::datatypes::Field as ArrowField;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_plan::display::DisplayableExecutionPlan;
use futures::{FutureExt, StreamExt};
use sqlparser::ast;
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::{CollectionId, ColumnId};
use tidemark_engine::read::predicate::Predicate;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::pgtype::numeric::Numeric;
use crate::pgtype::scalar::datum_to_scalar_array;
use crate::pgtype::types::{arrow_pg_type, column_typmod};
use crate::plan::coerce::exact_decimal;
use crate::plan::direct::{self, DirectScan};
use crate::plan::errors::{read, to_sql_error};
use crate::plan::options::StatementOptions;
use crate::plan::planner::{PlanContext, Planner, RunContext, Running, bind};
use crate::plan::provider::{OwnWrites, StatementData, as_collection};
use crate::plan::rewrite::naming::output_name;
use crate::server::Server;
use crate::session::control::cancelled;
use crate::session::field::{Field, Fields};
use crate::session::outcome::RowSource;
use crate::sql::names::Resolver;

/// Batches that are on their way from a query to its client: the query waits for the client.
const BATCHES_ON_THE_WAY: usize = 2;

/// A query that was planned.
#[derive(Clone, Debug)]
pub struct PlannedQuery {
    plan: LogicalPlan,
    /// The collections that it reads.
    pub collections: Vec<CollectionId>,
    /// Its columns.
    pub fields: Fields,
    /// The types of its parameters.
    pub parameters: Vec<PgType>,
    time_zone: Arc<str>,
    direct: Option<Arc<DirectScan>>,
}

/// What planning needs of a session.
#[derive(Clone, Debug)]
pub struct QueryContext {
    /// The server.
    pub server: Arc<Server>,
    /// The statement's text, for positions in errors.
    pub text: Arc<str>,
    /// Where names are looked up.
    pub resolver: Arc<Resolver>,
    /// The session's time zone, as Arrow names it.
    pub time_zone: Arc<str>,
    /// The collection of which the statement wants places of rows.
    pub target: Option<Arc<Collection>>,
    /// What functions know of the session.
    pub options: StatementOptions,
}

/// What running needs of a session.
#[derive(Clone, Debug)]
pub struct RunQuery {
    /// The server.
    pub server: Arc<Server>,
    /// What the transaction wrote so far.
    pub own_writes: OwnWrites,
    /// What functions know of the session.
    pub options: StatementOptions,
    /// Stops the query.
    pub cancel: CancellationToken,
}

/// Plans a query on a thread with a large stack. Parameters that have no type yet get the one that
/// their place asks for.
///
/// # Errors
/// As PostgreSQL says them.
pub async fn plan(
    query: ast::Query,
    declared: Vec<Option<PgType>>,
    context: QueryContext,
) -> SqlResult<PlannedQuery> {
    let runtime = context.server.query_runtime.clone();
    let planned = runtime.spawn(async move { plan_here(&query, &declared, &context).await });
    planned.await.map_err(|error| SqlError::internal(format!("planning ended by a panic: {error}")))?
}

async fn plan_here(
    query: &ast::Query,
    declared: &[Option<PgType>],
    context: &QueryContext,
) -> SqlResult<PlannedQuery> {
    let hints = super::parameters::hints(query, declared, &context.time_zone);
    let catalog = context.options.catalog.as_deref();
    let catalog = catalog.ok_or_else(|| SqlError::internal("a statement has its catalog"))?;
    let plan_context = PlanContext {
        text: &context.text,
        resolver: &context.resolver,
        time_zone: Arc::clone(&context.time_zone),
        catalog,
        parameters: &hints,
        target: context.target.as_ref(),
    };
    let plan = context.server.planner.plan(query, &plan_context)?;
    let trial = || {
        let collections = context.resolver.found();
        let data = StatementData::new(&context.server.engine, &collections, OwnWrites::default());
        Ok(RunContext {
            data: data.map_err(|error| read(&error))?,
            time_zone: Arc::clone(&context.time_zone),
            options: context.options.clone(),
        })
    };
    context.server.planner.check(&plan, trial).await?;
    let parameters = super::parameters::types(&plan, declared, &hints)?;
    let fields = plan.schema().iter().enumerate().map(|(at, (_, field))| output_field(&plan, at, field));
    Ok(PlannedQuery {
        fields: fields.collect(),
        collections: context.resolver.found(),
        parameters,
        direct: DirectScan::of(&plan).map(Arc::new),
        plan,
        time_zone: Arc::clone(&context.time_zone),
    })
}

fn output_field(plan: &LogicalPlan, at: usize, field: &ArrowField) -> Field {
    let name = output_name(field.name()).to_owned();
    let origin = origin(plan, at);
    let mut output = Field::new(name, arrow_pg_type(field));
    if let Some((collection, column, typmod)) = origin {
        output.table = collection.0;
        output.column = i16::try_from(column.0).unwrap_or(0);
        output.typmod = typmod;
    }
    output
}

/// The column that an output column is, unchanged.
fn origin(plan: &LogicalPlan, at: usize) -> Option<(CollectionId, ColumnId, i32)> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let mut expr = projection.expr.get(at)?;
            while let Expr::Alias(alias) = expr {
                expr = &alias.expr;
            }
            let Expr::Column(column) = expr else { return None };
            origin(&projection.input, projection.input.schema().index_of_column(column).ok()?)
        }
        LogicalPlan::TableScan(scan) => {
            let provider = source_as_provider(&scan.source).ok()?;
            let collection = as_collection(&provider)?.collection();
            let at = scan.projection.as_ref().map_or(Some(at), |projection| projection.get(at).copied())?;
            let column = collection.schema.columns().get(at)?;
            Some((collection.id, column.id, column_typmod(&column.column_type)))
        }
        LogicalPlan::Filter(filter) => origin(&filter.input, at),
        LogicalPlan::Sort(sort) => origin(&sort.input, at),
        LogicalPlan::Limit(limit) => origin(&limit.input, at),
        LogicalPlan::SubqueryAlias(alias) => origin(&alias.input, at),
        LogicalPlan::Join(join) => {
            let left = join.left.schema().fields().len();
            if at < left { origin(&join.left, at) } else { origin(&join.right, at - left) }
        }
        _ => None,
    }
}

impl PlannedQuery {
    /// Starts the query with values for its parameters; rows come as they are asked for.
    ///
    /// # Errors
    /// As PostgreSQL says them.
    pub async fn run(&self, values: &[Datum], run: RunQuery) -> SqlResult<RowSource> {
        let scalars = self.scalars(values)?;
        let data = self.data(&run)?;
        if let Some(direct) = &self.direct
            && let Some(batches) = direct.run(&scalars, &data)?
        {
            return Ok(RowSource::ready(batches));
        }
        let plan = self.bound(scalars)?;
        let options = run.options.clone();
        let context = RunContext { data, time_zone: Arc::clone(&self.time_zone), options };
        let (sender, receiver) = mpsc::channel(BATCHES_ON_THE_WAY);
        let server = Arc::clone(&run.server);
        let cancel = run.cancel.clone();
        let task = run.server.query_runtime.spawn(async move {
            let driven = drive(&server, plan, context, &sender, &cancel);
            let outcome = std::panic::AssertUnwindSafe(driven).catch_unwind().await;
            let last = match outcome {
                Ok(Ok(())) => Ok(None),
                Ok(Err(error)) => Err(error),
                Err(_) => Err(SqlError::internal("the query ended by a panic")),
            };
            // A client that is gone wants no more.
            sender.send(last).await.ok();
        });
        Ok(RowSource::batches(receiver, task.abort_handle()))
    }

    /// The conditions under which the query gives places of rows, if it is no more than that and all
    /// of them are the engine's.
    ///
    /// # Errors
    /// A value is not one of its parameter's type.
    pub fn place_predicates(&self, values: &[Datum]) -> SqlResult<Option<Vec<Predicate>>> {
        Ok(direct::place_predicates(&self.plan, &self.scalars(values)?))
    }

    /// The plan.
    pub(super) fn logical(&self) -> &LogicalPlan {
        &self.plan
    }

    /// The time zone that is part of types.
    pub(super) fn time_zone(&self) -> &Arc<str> {
        &self.time_zone
    }

    /// Whether an output column is a string constant whose type was not said.
    pub fn is_literal(&self, at: usize) -> bool {
        let LogicalPlan::Projection(projection) = &self.plan else { return false };
        let mut expr = projection.expr.get(at);
        while let Some(Expr::Alias(alias)) = expr {
            expr = Some(&alias.expr);
        }
        matches!(expr, Some(Expr::Literal(value, _)) if matches!(value, ScalarValue::Utf8(_) | ScalarValue::Utf8View(_)))
    }

    /// The values of its parameters as they enter the plan.
    pub(super) fn scalars(&self, values: &[Datum]) -> SqlResult<Vec<ScalarValue>> {
        let scalars = values.iter().zip(&self.parameters).map(|(value, pg_type)| {
            // A number has the digits after its point that it came with.
            if *pg_type == PgType::NUMERIC
                && let Datum::Numeric(Numeric::Finite(number)) = value
                && let Some(exact) = exact_decimal(number.clone())
            {
                return Ok(exact);
            }
            let data_type = super::parameters::arrow_type(pg_type, &self.time_zone)?;
            let array = datum_to_scalar_array(value, &data_type)?;
            ScalarValue::try_from_array(&array, 0).map_err(|error| to_sql_error(error, None))
        });
        scalars.collect()
    }

    fn bound(&self, scalars: Vec<ScalarValue>) -> SqlResult<LogicalPlan> {
        if scalars.is_empty() {
            return Ok(self.plan.clone());
        }
        bind(&self.plan, ParamValues::from(scalars))
    }

    fn data(&self, run: &RunQuery) -> SqlResult<StatementData> {
        let engine = &run.server.engine;
        StatementData::new(engine, &self.collections, Arc::clone(&run.own_writes))
            .map_err(|error| read(&error))
    }

    /// The physical plan as text; with `analyze` it is run to its end first.
    ///
    /// # Errors
    /// As PostgreSQL says them.
    pub async fn explain(&self, values: &[Datum], run: RunQuery, analyze: bool) -> SqlResult<Explained> {
        let plan = self.bound(self.scalars(values)?)?;
        let (data, options) = (self.data(&run)?, run.options.clone());
        let context = RunContext { data, time_zone: Arc::clone(&self.time_zone), options };
        let server = Arc::clone(&run.server);
        let cancel = run.cancel.clone();
        let explained = run
            .server
            .query_runtime
            .spawn(async move { explain(&server.planner, plan, context, analyze, &cancel).await });
        explained.await.map_err(|error| SqlError::internal(format!("the query ended by a panic: {error}")))?
    }
}

/// A plan as people read it.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The plan, a line each.
    pub lines: Vec<String>,
    /// Rows that came, when it was run.
    pub row_count: Option<u64>,
    /// How long it took, when it was run, in milliseconds.
    pub execution_ms: Option<f64>,
}

async fn explain(
    planner: &Planner,
    plan: LogicalPlan,
    context: RunContext,
    analyze: bool,
    cancel: &CancellationToken,
) -> SqlResult<Explained> {
    let Running { mut stream, physical } = planner.run(plan, context).await?;
    if !analyze {
        let text = DisplayableExecutionPlan::new(physical.as_ref()).indent(false).to_string();
        return Ok(Explained { lines: lines(&text), row_count: None, execution_ms: None });
    }
    let started = tokio::time::Instant::now();
    let mut row_count = 0;
    while let Some(batch) = stream.next().await {
        row_count += batch.map_err(|error| to_sql_error(error, None))?.num_rows() as u64;
        if cancel.is_cancelled() {
            return Err(cancelled());
        }
    }
    let execution_ms = started.elapsed().as_secs_f64() * 1000.0;
    let text = DisplayableExecutionPlan::with_metrics(physical.as_ref()).indent(false).to_string();
    Ok(Explained { lines: lines(&text), row_count: Some(row_count), execution_ms: Some(execution_ms) })
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

type BatchSender = mpsc::Sender<SqlResult<Option<datafusion::arrow::array::RecordBatch>>>;

async fn drive(
    server: &Server,
    plan: LogicalPlan,
    context: RunContext,
    sender: &BatchSender,
    cancel: &CancellationToken,
) -> SqlResult<()> {
    // Merges make room for it, but not while it waits for a client that does not read.
    let mut running = Some(server.engine.query_runs());
    let Running { mut stream, .. } = server.planner.run(plan, context).await?;
    loop {
        running.get_or_insert_with(|| server.engine.query_runs());
        let batch = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(cancelled()),
            batch = stream.next() => batch,
        };
        let Some(batch) = batch else { return Ok(()) };
        let batch = batch.map_err(|error| to_sql_error(error, None))?;
        if batch.num_rows() == 0 {
            continue;
        }
        let Ok(place) = sender.try_reserve() else {
            running = None;
            if sender.send(Ok(Some(batch))).await.is_err() {
                return Ok(());
            }
            continue;
        };
        place.send(Ok(Some(batch)));
    }
}
