//! The last row of each series: `SELECT DISTINCT ON (host) … FROM cpu ORDER BY host, ts DESC`.
//!
//! DataFusion groups all rows with all their columns for it. The engine finds the last rows by
//! looking at series and time only, and reads the other columns of those rows alone.
//!
//! 1. [`LatestRule`] recognises the shape in a logical plan and puts a [`LatestTable`] in the place of
//!    grouping and collection, if the conditions in between are all the engine's.
//! 2. [`LatestScan`] runs it: threads share out the parts of the snapshot, and one reads the rows.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::datasource::{TableType, provider_as_source, source_as_provider};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Distinct, DistinctOn, Expr, LogicalPlan, LogicalPlanBuilder, SubqueryAlias, TableScan,
};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::stream::{self, StreamExt};
use tidemark_catalog::ids::ColumnId;
use tidemark_engine::read::latest::{Found, Latest, SeriesForm, latest};
use tidemark_engine::read::{RowIds, ScanRequest};

use crate::plan::errors::external;
use crate::plan::predicate::to_predicate;
use crate::plan::provider::{CollectionTable, StatementData, as_collection};
use crate::plan::scan::{ScanDescription, count_pruning, to_schema};
use crate::plan::workers::{Parts, share_out};

/// Recognises the last row of each series in a logical plan.
#[derive(Debug)]
pub struct LatestRule;

impl OptimizerRule for LatestRule {
    fn name(&self) -> &'static str {
        "latest_row_of_each_series"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Distinct(Distinct::On(distinct)) = &plan else { return Ok(Transformed::no(plan)) };
        match rewritten(distinct)? {
            Some(rewritten) => Ok(Transformed::yes(rewritten)),
            None => Ok(Transformed::no(plan)),
        }
    }
}

fn rewritten(distinct: &DistinctOn) -> Result<Option<LogicalPlan>> {
    let Some(sort) = &distinct.sort_expr else { return Ok(None) };
    let mut conditions = Vec::new();
    let Some((scan, aliases)) = scan_below(&distinct.input, &mut conditions) else { return Ok(None) };
    let provider = source_as_provider(&scan.source)?;
    let Some(table) = as_collection(&provider).filter(|table| !table.has_row_ids()) else {
        return Ok(None);
    };
    let collection = table.collection();
    let column = |expr: &Expr| match expr {
        Expr::Column(column) => collection.schema.column_by_name(&column.name).map(|column| column.id),
        _ => None,
    };
    let Some(series) = distinct.on_expr.iter().map(column).collect::<Option<Vec<ColumnId>>>() else {
        return Ok(None);
    };
    let time_key = collection.timeseries().time_key;
    let ordered = sort.split_last().is_some_and(|(last, before)| {
        let newest_first = column(&last.expr) == Some(time_key) && !last.asc;
        newest_first
            && before.len() == series.len()
            && before.iter().all(|sort| column(&sort.expr).is_some_and(|id| series.contains(&id)))
            && !series.contains(&time_key)
    });
    if !ordered || !conditions.iter().all(|condition| to_predicate(condition, collection).is_some()) {
        return Ok(None);
    }
    let latest = LatestTable { table: table.clone(), series, conditions };
    let source = provider_as_source(Arc::new(latest));
    let mut plan = LogicalPlanBuilder::scan(scan.table_name.clone(), source, None)?.build()?;
    for alias in aliases.into_iter().rev() {
        plan = LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(plan), alias.alias.clone())?);
    }
    let fields = distinct.select_expr.iter().zip(distinct.schema.iter());
    let selected = fields.map(|(expr, (qualifier, field))| {
        expr.clone().unalias().alias_qualified(qualifier.cloned(), field.name())
    });
    let plan = LogicalPlanBuilder::from(plan).sort(sort.clone())?.project(selected)?.build()?;
    Ok(Some(plan))
}

/// The scan of a whole collection under conditions, which are collected, and aliases.
fn scan_below<'a>(
    plan: &'a LogicalPlan,
    conditions: &mut Vec<Expr>,
) -> Option<(&'a TableScan, Vec<&'a SubqueryAlias>)> {
    let mut aliases = Vec::new();
    let mut plan = plan;
    loop {
        plan = match plan {
            LogicalPlan::Filter(filter) => {
                conditions.extend(split_conjunction(&filter.predicate).into_iter().cloned());
                &filter.input
            }
            LogicalPlan::SubqueryAlias(alias) => {
                aliases.push(alias);
                &alias.input
            }
            LogicalPlan::TableScan(scan) => {
                let is_whole = scan.projection.is_none() && scan.fetch.is_none() && scan.filters.is_empty();
                return is_whole.then_some((scan, aliases));
            }
            _ => return None,
        };
    }
}

/// The last row of each series of a collection, as a table.
#[derive(Debug)]
pub struct LatestTable {
    table: CollectionTable,
    series: Vec<ColumnId>,
    /// What rows fulfil that come into question; the engine takes all of it over.
    conditions: Vec<Expr>,
}

#[async_trait]
impl TableProvider for LatestTable {
    fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let data = StatementData::of(state)?;
        let snapshot = data.collection(self.table.collection().id)?;
        let request = ScanRequest {
            columns: self.table.column_ids(projection),
            predicates: self.table.predicates(&self.conditions)?,
            batch_rows: state.config().batch_size(),
            row_ids: RowIds::NotGiven,
        };
        let description = ScanDescription::new(Arc::clone(snapshot.collection()), request.clone());
        let series = self.series.clone();
        let planned = latest(&snapshot, request, series.clone()).map_err(external)?;
        let schema = self.table.projected_schema(projection)?;
        let threads = state.config().target_partitions();
        Ok(Arc::new(LatestScan::new(planned, schema, series, description, threads)))
    }
}

/// Finds and reads the last row of each series.
#[derive(Debug)]
pub struct LatestScan {
    latest: Arc<Latest>,
    schema: SchemaRef,
    series: Vec<ColumnId>,
    description: ScanDescription,
    threads: usize,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl LatestScan {
    fn new(
        latest: Latest,
        schema: SchemaRef,
        series: Vec<ColumnId>,
        description: ScanDescription,
        threads: usize,
    ) -> LatestScan {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        LatestScan {
            latest: Arc::new(latest),
            schema,
            series,
            description,
            threads,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl DisplayAs for LatestScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let series: Vec<&str> = self.series.iter().map(|id| self.description.column_name(*id)).collect();
        write!(f, "LatestScan: series=[{}], ", series.join(", "))?;
        self.description.write(f, self.latest.statistics())
    }
}

impl ExecutionPlan for LatestScan {
    fn name(&self) -> &'static str {
        "LatestScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() { Ok(self) } else { internal_err!("a scan has no children") }
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        count_pruning(&self.metrics, partition, self.latest.statistics());
        let search = Search {
            latest: Arc::clone(&self.latest),
            threads: self.threads,
            memory: MemoryConsumer::new("LatestScan").register(context.memory_pool()),
        };
        let schema = Arc::clone(&self.schema);
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let batches = stream::once(search.run()).map(move |found| match found {
            Ok(batches) => batches
                .into_iter()
                .map(|batch| {
                    metrics.record_output(batch.num_rows());
                    to_schema(&batch, &schema)
                })
                .collect(),
            Err(error) => vec![Err(error)],
        });
        let batches = batches.flat_map(stream::iter);
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// A search that runs.
struct Search {
    latest: Arc<Latest>,
    threads: usize,
    memory: MemoryReservation,
}

impl Search {
    async fn run(self) -> Result<Vec<RecordBatch>> {
        let found = match self.find(SeriesForm::Numbers).await? {
            Some(found) => found,
            None => {
                let found = self.find(SeriesForm::Texts).await?;
                found.ok_or_else(|| DataFusionError::Internal("texts can be compared".to_owned()))?
            }
        };
        let latest = self.latest;
        SpawnedTask::spawn_blocking(move || latest.read(found).map_err(external))
            .await
            .map_err(|error| DataFusionError::External(Box::new(error)))?
    }

    async fn find(&self, form: SeriesForm) -> Result<Option<Found>> {
        let latest = Arc::clone(&self.latest);
        let unit_count = latest.unit_count();
        let work = move |units: Parts| latest.find(units, form).map_err(external);
        let mut all: Option<Found> = None;
        for found in share_out(self.threads, unit_count, work).await? {
            let Some(found) = found else { return Ok(None) };
            self.memory.try_grow(found.memory_bytes())?;
            all = Some(match all {
                Some(all) => all.merge(found),
                None => found,
            });
        }
        Ok(all)
    }
}
