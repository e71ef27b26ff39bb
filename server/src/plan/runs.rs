//! Aggregation by runs: `SELECT time_bucket('1 hour', ts), host, avg(usage) FROM cpu GROUP BY 1, 2`.
//!
//! DataFusion hashes the key of each row, texts and all. The engine gives symbols as numbers, and sealed
//! rows sorted by series and time: rows that follow one another are mostly of one group.
//!
//! 1. [`RunRule`] recognises an aggregation of a whole scan whose keys are symbols, instants or flags, and
//!    puts a [`RunAggregate`] in the place of DataFusion's two steps.
//! 2. Threads share out the parts of the scan. Of each batch a thread finds the runs of equal keys, looks up
//!    the group of each run once ([`groups`]), and adds up the values ([`accumulate`]).
//! 3. What the threads made is merged by key, and numbers become texts again.
//!
//! When memory does not suffice for all groups, or a symbol has no number, DataFusion's plan runs instead; it
//! can spill.

mod accumulate;
mod groups;

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use futures::TryStreamExt;
use futures::stream::{self, StreamExt};

use crate::plan::errors::external;
use crate::plan::runs::accumulate::Accumulator;
use crate::plan::runs::groups::{Groups, KeyColumn, Run};
use crate::plan::scan::{CollectionScan, to_schema};
use crate::plan::workers::{Parts, share_out};

/// Recognises aggregations that can be done by runs.
#[derive(Debug)]
pub struct RunRule;

impl PhysicalOptimizerRule for RunRule {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let threads = config.execution.target_partitions;
        let replaced = plan.transform_up(|plan| match RunAggregate::in_place_of(&plan, threads)? {
            Some(aggregate) => Ok(Transformed::yes(Arc::new(aggregate) as Arc<dyn ExecutionPlan>)),
            None => Ok(Transformed::no(plan)),
        });
        Ok(replaced?.data)
    }

    fn name(&self) -> &'static str {
        "aggregation_by_runs"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// More keys are hashed by DataFusion: which of them are NULL is told by the bits of a word.
const KEYS_MAX: usize = i64::BITS as usize;

/// A key of the groups.
#[derive(Clone, Debug)]
enum Key {
    /// A column of symbols.
    Symbol(usize),
    /// What fits into 64 bits.
    Value(Arc<dyn PhysicalExpr>),
}

/// What is computed of each group.
#[derive(Clone, Debug)]
struct Aggregate {
    function: Arc<AggregateFunctionExpr>,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    filter: Option<Arc<dyn PhysicalExpr>>,
}

/// Aggregates the rows of a scan by runs of equal keys.
#[derive(Debug)]
pub struct RunAggregate {
    work: Arc<Work>,
    /// What runs when this cannot.
    fallback: Arc<dyn ExecutionPlan>,
    threads: usize,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

/// What threads share.
#[derive(Debug)]
struct Work {
    keys: Vec<Key>,
    aggregates: Vec<Aggregate>,
    /// Of what comes out.
    schema: SchemaRef,
    /// Of what is read: symbols are numbers.
    input_schema: SchemaRef,
    scan: Arc<dyn ExecutionPlan>,
}

impl Work {
    fn scan(&self) -> &CollectionScan {
        as_scan(&self.scan).expect("it was one when this was made")
    }
}

fn as_scan(plan: &Arc<dyn ExecutionPlan>) -> Option<&CollectionScan> {
    plan.downcast_ref::<CollectionScan>()
}

impl RunAggregate {
    /// The operator for a plan that ends with an aggregation of a whole scan, if it can do it.
    fn in_place_of(plan: &Arc<dyn ExecutionPlan>, threads: usize) -> Result<Option<RunAggregate>> {
        let Some(last) = plan.downcast_ref::<AggregateExec>() else { return Ok(None) };
        let first = match last.mode() {
            AggregateMode::Final | AggregateMode::FinalPartitioned => {
                let partial = last.input().downcast_ref::<AggregateExec>();
                match partial.filter(|partial| *partial.mode() == AggregateMode::Partial) {
                    Some(partial) => partial,
                    None => return Ok(None),
                }
            }
            AggregateMode::Single | AggregateMode::SinglePartitioned => last,
            _ => return Ok(None),
        };
        let Some(scan) = as_scan(first.input()).filter(|scan| scan.reads_all()) else { return Ok(None) };
        let grouping = first.group_expr();
        let is_plain = (1..=KEYS_MAX).contains(&grouping.expr().len()) && !grouping.has_grouping_set();
        if !is_plain || first.limit_options().is_some() || last.limit_options().is_some() {
            return Ok(None);
        }
        let key = |(expr, _): &(Arc<dyn PhysicalExpr>, String)| key_of(expr, scan);
        let Some(keys) = grouping.expr().iter().map(key).collect::<Option<Vec<Key>>>() else {
            return Ok(None);
        };
        let functions = first.aggr_expr().iter().zip(first.filter_expr());
        let aggregates = functions.map(|(function, filter)| aggregate_of(function, filter.as_ref(), scan));
        let Some(aggregates) = aggregates.collect::<Option<Vec<Aggregate>>>() else { return Ok(None) };
        let work = Work {
            keys,
            aggregates,
            schema: last.schema(),
            input_schema: scan.numbered_schema(),
            scan: Arc::clone(first.input()),
        };
        Ok(Some(RunAggregate::new(work, fallback(plan, last)?, threads)))
    }

    fn new(work: Work, fallback: Arc<dyn ExecutionPlan>, threads: usize) -> RunAggregate {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&work.schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        RunAggregate {
            work: Arc::new(work),
            fallback,
            threads,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

/// DataFusion's aggregation with a single result.
fn fallback(plan: &Arc<dyn ExecutionPlan>, last: &AggregateExec) -> Result<Arc<dyn ExecutionPlan>> {
    let mode = match last.mode() {
        AggregateMode::Single | AggregateMode::SinglePartitioned => AggregateMode::Single,
        _ => AggregateMode::Final,
    };
    if last.input().output_partitioning().partition_count() == 1 && *last.mode() == mode {
        return Ok(Arc::clone(plan));
    }
    let input = Arc::new(CoalescePartitionsExec::new(Arc::clone(last.input())));
    let (functions, filters) = (last.aggr_expr().to_vec(), last.filter_expr().to_vec());
    let aggregate = AggregateExec::try_new(
        mode,
        last.group_expr().clone(),
        functions,
        filters,
        input,
        last.input_schema(),
    )?;
    Ok(Arc::new(aggregate))
}

fn key_of(expr: &Arc<dyn PhysicalExpr>, scan: &CollectionScan) -> Option<Key> {
    if let Some(column) = expr.downcast_ref::<Column>()
        && scan.is_symbol(column.index())
    {
        return Some(Key::Symbol(column.index()));
    }
    let columns = collect_columns(expr);
    let data_type = expr.data_type(&scan.schema()).ok()?;
    // Numbers without end are better hashed one by one, in partitions.
    let is_known = match data_type {
        DataType::Boolean => columns.iter().all(|column| !scan.is_symbol(column.index())),
        DataType::Timestamp(..) | DataType::Date32 | DataType::Int32 | DataType::Int64 => {
            columns.iter().all(|column| scan.is_time_key(column.index()))
        }
        _ => false,
    };
    (is_known && !columns.is_empty()).then(|| Key::Value(Arc::clone(expr)))
}

fn aggregate_of(
    function: &Arc<AggregateFunctionExpr>,
    filter: Option<&Arc<dyn PhysicalExpr>>,
    scan: &CollectionScan,
) -> Option<Aggregate> {
    let arguments = function.expressions();
    // Of a symbol's number nothing is known but whether it is NULL.
    let counts = function.fun().name() == "count" && arguments.iter().all(|it| it.is::<Column>());
    let reads_texts =
        |expr: &Arc<dyn PhysicalExpr>| collect_columns(expr).iter().any(|it| scan.is_symbol(it.index()));
    let is_possible = function.order_bys().is_empty()
        && !function.is_distinct()
        && function.groups_accumulator_supported()
        && (counts || !arguments.iter().any(reads_texts))
        && !filter.is_some_and(reads_texts);
    is_possible.then(|| Aggregate { function: Arc::clone(function), arguments, filter: filter.cloned() })
}

impl DisplayAs for RunAggregate {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.work.schema.fields().iter().take(self.work.keys.len());
        let keys: Vec<&str> = keys.map(|field| field.name().as_str()).collect();
        let functions: Vec<&str> = self.work.aggregates.iter().map(|it| it.function.name()).collect();
        write!(f, "RunAggregate: gby=[{}], aggr=[{}]", keys.join(", "), functions.join(", "))
    }
}

impl ExecutionPlan for RunAggregate {
    fn name(&self) -> &'static str {
        "RunAggregate"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.work.scan]
    }

    /// The scan is read by this operator itself, in whatever partitions it is shown.
    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.len() == 1 { Ok(self) } else { internal_err!("an aggregation has one child") }
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    /// A plan that is run again reads everything again.
    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(RunAggregate {
            work: Arc::clone(&self.work),
            fallback: reset(&self.fallback)?,
            threads: self.threads,
            properties: Arc::clone(&self.properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let run = Execution {
            work: Arc::clone(&self.work),
            fallback: Arc::clone(&self.fallback),
            threads: self.threads,
            context,
            metrics: BaselineMetrics::new(&self.metrics, partition),
        };
        self.work.scan().count_pruning();
        let batches = stream::once(run.start()).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.work.schema), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

fn reset(plan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let reset = Arc::clone(plan).transform_up(|plan| Ok(Transformed::yes(plan.reset_state()?)));
    Ok(reset?.data)
}

/// An execution.
struct Execution {
    work: Arc<Work>,
    fallback: Arc<dyn ExecutionPlan>,
    threads: usize,
    context: Arc<TaskContext>,
    metrics: BaselineMetrics,
}

impl Execution {
    async fn start(self) -> Result<SendableRecordBatchStream> {
        let memory = MemoryConsumer::new("RunAggregate").register(self.context.memory_pool());
        let Some(groups) = self.aggregate(&memory).await? else {
            drop(memory);
            return self.fallback.execute(0, self.context);
        };
        let batch_rows = self.context.session_config().batch_size();
        let (work, metrics) = (self.work, self.metrics);
        let schema = Arc::clone(&work.schema);
        let all = groups.finish(&work)?;
        let starts = (0..all.num_rows()).step_by(batch_rows);
        let batches: Vec<RecordBatch> =
            starts.map(|start| all.slice(start, batch_rows.min(all.num_rows() - start))).collect();
        let batches = stream::iter(batches).map(move |batch| {
            // Held until the last batch is gone.
            let _memory = &memory;
            metrics.record_output(batch.num_rows());
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    /// All groups; `None` when this operator cannot.
    async fn aggregate(&self, memory: &MemoryReservation) -> Result<Option<Aggregated>> {
        let work = Arc::clone(&self.work);
        let part_count = work.scan().part_count();
        let of_threads = memory.new_empty();
        let read = move |parts: Parts| Aggregated::read(&work, parts, &of_threads.new_empty());
        let mut all: Option<Aggregated> = None;
        for made in share_out(self.threads, part_count, read).await? {
            let Some(made) = made else { return Ok(None) };
            all = Some(match all {
                Some(mut all) => {
                    all.merge(made)?;
                    all
                }
                None => made,
            });
            let bytes = all.as_ref().map_or(0, Aggregated::memory_bytes);
            if memory.try_resize(bytes).is_err() {
                return Ok(None);
            }
        }
        Ok(all)
    }
}

/// Groups with what is known of each.
struct Aggregated {
    groups: Groups,
    accumulators: Vec<Accumulator>,
    /// Reused from batch to batch.
    runs: Vec<Run>,
}

/// Rows with their runs.
struct Batch<'a> {
    rows: &'a RecordBatch,
    runs: &'a [Run],
    /// The group of each row, when somebody needed it.
    of_rows: Option<Vec<usize>>,
    /// How many groups there are by now.
    group_count: usize,
}

impl Aggregated {
    fn new(work: &Work) -> Result<Aggregated> {
        let accumulators = work.aggregates.iter().map(|it| Accumulator::new(it, &work.input_schema));
        Ok(Aggregated {
            groups: Groups::new(work.keys.len(), matches!(work.keys[..], [Key::Symbol(_)])),
            accumulators: accumulators.collect::<Result<_>>()?,
            runs: Vec::new(),
        })
    }

    /// Aggregates some parts of the scan; `None` when memory does not suffice or a symbol has no number.
    fn read(work: &Work, parts: Parts, memory: &MemoryReservation) -> Result<Option<Aggregated>> {
        let mut made = Aggregated::new(work)?;
        let scan = work.scan();
        let metrics = scan.read_metrics(parts.thread());
        for part in parts {
            for batch in scan.read_numbered(part)? {
                let Some(batch) = batch.map_err(external)? else { return Ok(None) };
                metrics.record_output(batch.num_rows());
                let batch = to_schema(&batch, &work.input_schema)?;
                made.add(work, &batch)?;
            }
            if memory.try_resize(made.memory_bytes()).is_err() {
                return Ok(None);
            }
        }
        Ok(Some(made))
    }

    fn add(&mut self, work: &Work, rows: &RecordBatch) -> Result<()> {
        let keys = work.keys.iter().map(|key| key_column(key, rows)).collect::<Result<Vec<_>>>()?;
        self.runs.clear();
        self.groups.find(&keys, rows.num_rows(), &mut self.runs);
        let group_count = self.groups.len();
        let mut batch = Batch { rows, runs: &self.runs, of_rows: None, group_count };
        let mut pairs = work.aggregates.iter().zip(&mut self.accumulators);
        pairs.try_for_each(|(aggregate, accumulator)| accumulator.add(aggregate, &mut batch))
    }

    fn merge(&mut self, other: Aggregated) -> Result<()> {
        let places = self.groups.merge(&other.groups);
        let group_count = self.groups.len();
        let mut pairs = self.accumulators.iter_mut().zip(other.accumulators);
        pairs.try_for_each(|(ours, theirs)| ours.merge(theirs, &places, group_count))
    }

    fn memory_bytes(&self) -> usize {
        self.groups.memory_bytes() + self.accumulators.iter().map(Accumulator::memory_bytes).sum::<usize>()
    }

    /// The rows of the answer.
    fn finish(self, work: &Work) -> Result<RecordBatch> {
        let fields = work.schema.fields();
        let mut columns = Vec::with_capacity(fields.len());
        for (at, (key, field)) in work.keys.iter().zip(fields.iter()).enumerate() {
            let values = self.groups.key_values(at);
            columns.push(match key {
                Key::Symbol(column) => {
                    let numbers = cast(&values, &DataType::Int32)?;
                    work.scan().symbol_texts(*column, numbers)?
                }
                Key::Value(_) => key_array(&values, field.data_type())?,
            });
        }
        let group_count = self.groups.len();
        for accumulator in self.accumulators {
            columns.push(accumulator.finish(group_count)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(group_count));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&work.schema), columns, &options)?)
    }
}

/// A key of the rows of a batch in 64 bits.
fn key_column(key: &Key, batch: &RecordBatch) -> Result<KeyColumn> {
    match key {
        Key::Symbol(column) => Ok(KeyColumn::Numbers(batch.column(*column).as_primitive().clone())),
        Key::Value(expr) => {
            let array = expr.evaluate(batch)?.into_array(batch.num_rows())?;
            let array = match array.data_type() {
                DataType::Date32 => cast(&array, &DataType::Int32)?,
                _ => array,
            };
            Ok(KeyColumn::Values(cast(&array, &DataType::Int64)?.as_primitive().clone()))
        }
    }
}

/// The same, the other way round.
fn key_array(values: &Int64Array, data_type: &DataType) -> Result<ArrayRef> {
    let array = match data_type {
        DataType::Date32 => cast(&cast(values, &DataType::Int32)?, data_type),
        _ => cast(values, data_type),
    };
    array.map_err(DataFusionError::from)
}
