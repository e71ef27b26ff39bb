//! The physical operator that reads a collection.
//!
//! The engine's plan is a list of units; the partitions of this operator take units from one queue,
//! so that none is idle while another has work left.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::{cast, concat_batches};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, ScalarValue, Statistics, internal_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::stream;
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::ColumnId;
use tidemark_engine::read::{NumberedRows, RowIds, Scan, ScanRequest, ScanStatistics, UnitRows};
use tidemark_engine::snapshot::CollectionSnapshot;

use crate::plan::errors::external;

/// Reads the rows of a collection that its predicates leave.
#[derive(Debug)]
pub struct CollectionScan {
    snapshot: Arc<CollectionSnapshot>,
    scan: Arc<Scan>,
    schema: SchemaRef,
    description: ScanDescription,
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    /// The next unit that nobody took.
    next: Arc<AtomicUsize>,
}

impl CollectionScan {
    /// Reads what the engine planned, in at most so many partitions.
    pub fn new(
        snapshot: Arc<CollectionSnapshot>,
        scan: Scan,
        schema: SchemaRef,
        partitions: usize,
        limit: Option<usize>,
    ) -> CollectionScan {
        let partitions = partitions.min(scan.units().len()).max(1);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let collection = Arc::clone(snapshot.collection());
        CollectionScan {
            description: ScanDescription::new(collection, scan.request().clone()),
            snapshot,
            scan: Arc::new(scan),
            schema,
            limit,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
            next: Arc::default(),
        }
    }

    /// Whether all rows that fulfil its predicates are read.
    pub(crate) fn reads_all(&self) -> bool {
        self.limit.is_none() && self.scan.request().row_ids == RowIds::NotGiven
    }

    /// Whether a column holds symbols.
    pub(crate) fn is_symbol(&self, column: usize) -> bool {
        self.scan.is_symbol(column)
    }

    /// Whether a column is the time key.
    pub(crate) fn is_time_key(&self, column: usize) -> bool {
        let time_key = self.snapshot.collection().timeseries().time_key;
        self.scan.request().columns.get(column) == Some(&time_key)
    }

    /// The schema of [`CollectionScan::read_numbered`]: symbols are numbers.
    pub(crate) fn numbered_schema(&self) -> SchemaRef {
        let numbered = self.scan.numbered_schema();
        let fields = self.schema.fields().iter().zip(numbered.fields()).enumerate();
        let fields = fields.map(|(at, (field, numbered))| match self.is_symbol(at) {
            true => Arc::clone(numbered),
            false => Arc::clone(field),
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// How many parts it has, for an operator that reads them by itself.
    pub(crate) fn part_count(&self) -> usize {
        self.scan.units().len()
    }

    /// Tells what is skipped, on behalf of an operator that reads the parts by itself.
    pub(crate) fn count_pruning(&self) {
        count_pruning(&self.metrics, 0, self.scan.statistics());
    }

    /// The rows of a part, with the numbers of symbols.
    ///
    /// # Errors
    /// A segment is missing or damaged.
    pub(crate) fn read_numbered(&self, part: usize) -> Result<NumberedRows> {
        self.scan.read_numbered(&self.scan.units()[part]).map_err(external)
    }

    /// The texts of symbols.
    ///
    /// # Errors
    /// The column holds no symbols.
    pub(crate) fn symbol_texts(&self, column: usize, numbers: ArrayRef) -> Result<ArrayRef> {
        self.scan.symbol_texts(column, numbers).map_err(external)
    }

    /// Where an operator that reads the parts by itself counts their rows.
    pub(crate) fn read_metrics(&self, partition: usize) -> BaselineMetrics {
        BaselineMetrics::new(&self.metrics, partition)
    }

    /// How many rows there are, when nothing is filtered out.
    fn statistics(&self) -> Statistics {
        let mut statistics = Statistics::new_unknown(&self.schema);
        let request = self.scan.request();
        if !request.predicates.is_empty() || request.row_ids == RowIds::Given {
            let upper: usize = self.scan.units().iter().map(|unit| unit.row_count_max()).sum();
            statistics.num_rows = Precision::Inexact(upper);
            return statistics;
        }
        let Ok(rows) = usize::try_from(self.snapshot.row_count_max()) else { return statistics };
        if !self.snapshot.is_resolved() {
            statistics.num_rows = Precision::Inexact(rows);
            return statistics;
        }
        statistics.num_rows = Precision::Exact(rows);
        let time_key = self.snapshot.collection().timeseries().time_key;
        for (at, id) in request.columns.iter().enumerate() {
            if *id == time_key {
                self.add_time_bounds(&mut statistics, at);
            }
        }
        statistics
    }

    fn add_time_bounds(&self, statistics: &mut Statistics, at: usize) {
        let Some((min, max)) = self.snapshot.time_bounds() else { return };
        let data_type = self.schema.field(at).data_type();
        let bound = |time: i64| match ScalarValue::new_primitive::<datafusion::arrow::datatypes::Int64Type>(
            Some(time),
            &datafusion::arrow::datatypes::DataType::Int64,
        )
        .and_then(|value| value.cast_to(data_type))
        {
            Ok(value) => Precision::Exact(value),
            Err(_) => Precision::Absent,
        };
        let column = &mut statistics.column_statistics[at];
        column.min_value = bound(min);
        column.max_value = bound(max);
        column.null_count = Precision::Exact(0);
    }
}

impl DisplayAs for CollectionScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CollectionScan: ")?;
        self.description.write(f, self.scan.statistics())?;
        match self.limit {
            Some(limit) => write!(f, ", limit={limit}"),
            None => Ok(()),
        }
    }
}

/// A scan as plans show it.
#[derive(Clone, Debug)]
pub(crate) struct ScanDescription {
    collection: Arc<Collection>,
    request: ScanRequest,
}

impl ScanDescription {
    pub(crate) fn new(collection: Arc<Collection>, request: ScanRequest) -> ScanDescription {
        ScanDescription { collection, request }
    }

    pub(crate) fn column_name(&self, id: ColumnId) -> &str {
        self.collection.schema.column(id).map_or("?", |column| &column.name)
    }

    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>, found: ScanStatistics) -> fmt::Result {
        let columns: Vec<&str> = self.request.columns.iter().map(|id| self.column_name(*id)).collect();
        write!(f, "{}, columns=[{}]", self.collection.name, columns.join(", "))?;
        if !self.request.predicates.is_empty() {
            let predicates = self.request.predicates.iter();
            let predicates = predicates.map(|it| it.describe(self.column_name(it.column())));
            write!(f, ", predicates=[{}]", predicates.collect::<Vec<_>>().join(", "))?;
        }
        write!(
            f,
            ", segments={}/{}, row_groups={}/{}, pages={}/{}, memtable_rows={}",
            found.segments - found.segments_pruned,
            found.segments,
            found.row_groups - found.row_groups_pruned,
            found.row_groups,
            found.pages - found.pages_pruned,
            found.pages,
            found.memtable_rows,
        )?;
        match found.token_blocks {
            0 => Ok(()),
            asked => write!(f, ", token_blocks={}/{asked}", asked - found.token_blocks_pruned),
        }
    }
}

/// Tells what a scan skips, for EXPLAIN ANALYZE.
pub(crate) fn count_pruning(metrics: &ExecutionPlanMetricsSet, partition: usize, found: ScanStatistics) {
    let counts = [
        ("segments", found.segments),
        ("segments_pruned", found.segments_pruned),
        ("row_groups", found.row_groups),
        ("row_groups_pruned", found.row_groups_pruned),
        ("pages", found.pages),
        ("pages_pruned", found.pages_pruned),
        ("memtable_rows", found.memtable_rows),
        ("segment_rows", found.segment_rows),
    ];
    // Most scans ask no token filters.
    let of_tokens =
        [("token_blocks", found.token_blocks), ("token_blocks_pruned", found.token_blocks_pruned)];
    let of_tokens = of_tokens.into_iter().filter(|_| found.token_blocks > 0);
    for (name, count) in counts.into_iter().chain(of_tokens) {
        MetricBuilder::new(metrics).counter(name, partition).add(count);
    }
}

impl ExecutionPlan for CollectionScan {
    fn name(&self) -> &'static str {
        "CollectionScan"
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

    /// A plan that is run again reads all units again.
    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(CollectionScan {
            snapshot: Arc::clone(&self.snapshot),
            scan: Arc::clone(&self.scan),
            schema: Arc::clone(&self.schema),
            description: self.description.clone(),
            limit: self.limit,
            properties: Arc::clone(&self.properties),
            metrics: ExecutionPlanMetricsSet::new(),
            next: Arc::default(),
        }))
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        if partition == 0 {
            count_pruning(&self.metrics, partition, self.scan.statistics());
        }
        let reader = PartitionReader {
            scan: Arc::clone(&self.scan),
            schema: Arc::clone(&self.schema),
            next: Arc::clone(&self.next),
            current: None,
            rows_left: self.limit.unwrap_or(usize::MAX),
            held: None,
            metrics: BaselineMetrics::new(&self.metrics, partition),
        };
        let batches = stream::iter(reader);
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn statistics_from_inputs(
        &self,
        _: &[Arc<Statistics>],
        args: &datafusion::physical_plan::statistics::StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        // Which rows a partition will read is not known beforehand.
        Ok(Arc::new(match args.partition() {
            None => self.statistics(),
            Some(_) => Statistics::new_unknown(&self.schema),
        }))
    }

    fn supports_limit_pushdown(&self) -> bool {
        false
    }
}

/// Batches of fewer rows are put together: what computes on a batch costs more than its rows then.
const SMALL_BATCH_ROWS: usize = 512;

/// Rows that are put together at most.
const GATHERED_ROWS_MAX: usize = 8192;

/// What one partition reads.
struct PartitionReader {
    scan: Arc<Scan>,
    schema: SchemaRef,
    next: Arc<AtomicUsize>,
    current: Option<UnitRows>,
    rows_left: usize,
    /// The batch that comes after small ones that were put together.
    held: Option<RecordBatch>,
    metrics: BaselineMetrics,
}

impl PartitionReader {
    /// The next batch as the engine gives it.
    fn read(&mut self) -> Option<Result<RecordBatch>> {
        while self.rows_left > 0 {
            let Some(unit) = &mut self.current else {
                let at = self.next.fetch_add(1, Ordering::Relaxed);
                let unit = self.scan.units().get(at)?;
                match self.scan.read(unit) {
                    Ok(rows) => self.current = Some(rows),
                    Err(error) => return Some(Err(external(error))),
                }
                continue;
            };
            match unit.next() {
                None => self.current = None,
                Some(Err(error)) => return Some(Err(external(error))),
                Some(Ok(batch)) => {
                    let batch = batch.slice(0, batch.num_rows().min(self.rows_left));
                    self.rows_left -= batch.num_rows();
                    return Some(Ok(batch));
                }
            }
        }
        None
    }

    /// The next batch, with small ones put together. A condition that few rows fulfil leaves some of each of
    /// many chunks of a memtable.
    fn gather(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        let (mut gathered, mut rows) = (Vec::new(), 0);
        while rows < GATHERED_ROWS_MAX {
            match self.read().transpose()? {
                Some(batch) if batch.num_rows() < SMALL_BATCH_ROWS => {
                    rows += batch.num_rows();
                    gathered.push(batch);
                }
                Some(batch) if gathered.is_empty() => return Ok(Some(batch)),
                Some(batch) => {
                    self.held = Some(batch);
                    break;
                }
                None => break,
            }
        }
        match gathered.as_slice() {
            [] => Ok(None),
            [alone] => Ok(Some(alone.clone())),
            [first, ..] => Ok(Some(concat_batches(&first.schema(), &gathered)?)),
        }
    }
}

impl Iterator for PartitionReader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let elapsed = self.metrics.elapsed_compute().clone();
        let _timer = elapsed.timer();
        let batch = self.gather().transpose()?;
        Some(batch.and_then(|batch| {
            self.metrics.record_output(batch.num_rows());
            to_schema(&batch, &self.schema)
        }))
    }
}

/// The batch in the plan's schema, which differs in the time zone of instants and in metadata.
pub(crate) fn to_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() {
            Ok(Arc::clone(column))
        } else {
            Ok(cast(column, field.data_type())?)
        }
    });
    let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
