//! Rows in the order in which they come: `SELECT array_agg(v) FROM t`.
//!
//! PostgreSQL never runs such aggregates in parallel. DataFusion shares rows out among threads.
//!
//! 1. A statement with an aggregate or a window function that takes rows as they come ([`RowOrder::Taken`]) is
//!    run by one thread, which reads the parts of a scan one after another; so is one that reads no
//!    collection. Others are not slowed down.
//! 2. In a plan for one thread [`SequenceRule`] puts the branches of a UNION ALL one after another.

use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, internal_err};
use datafusion::datasource::source_as_provider;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::{Expr, LogicalPlan, WindowFrame, WindowFrameUnits, WindowFunctionDefinition};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use datafusion::prelude::SessionConfig;
use futures::TryStreamExt;
use futures::stream;

use crate::plan::ordered;
use crate::plan::provider::as_collection;

/// What the order of rows within a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOrder {
    /// Nothing.
    Free,
    /// Some operator takes rows as they come, or nothing is read that threads could share out: one thread
    /// runs the plan.
    Taken,
}

impl RowOrder {
    /// What it is for in a plan.
    ///
    /// # Errors
    /// DataFusion cannot walk over the plan: a bug.
    pub fn of(plan: &LogicalPlan) -> Result<RowOrder> {
        let (mut reads, mut is_taken) = (false, false);
        plan.apply_with_subqueries(|plan| {
            if let LogicalPlan::TableScan(scan) = plan {
                reads = reads || as_collection(&source_as_provider(&scan.source)?).is_some();
            }
            is_taken = is_taken
                || match plan {
                    LogicalPlan::Aggregate(aggregate) => aggregate.aggr_expr.iter().any(is_ordered_aggregate),
                    LogicalPlan::Window(window) => window.window_expr.iter().any(is_ordered_window),
                    _ => false,
                };
            Ok(TreeNodeRecursion::Continue)
        })?;
        // Series come in their order, as they do from PostgreSQL.
        is_taken = is_taken || !reads;
        Ok(if is_taken { RowOrder::Taken } else { RowOrder::Free })
    }

    /// What a plan needs to be run so.
    pub(super) fn configure(self, config: &mut SessionConfig) {
        if self == RowOrder::Taken {
            config.options_mut().execution.target_partitions = 1;
        }
    }
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

fn is_ordered_aggregate(expr: &Expr) -> bool {
    let Expr::AggregateFunction(AggregateFunction { func, params }) = unaliased(expr) else { return false };
    params.order_by.is_empty() && !params.distinct && is_ordered(func.name(), &params.args)
}

fn is_ordered_window(expr: &Expr) -> bool {
    let Expr::WindowFunction(window) = unaliased(expr) else { return false };
    let WindowFunction { fun, params } = window.as_ref();
    let takes = match fun {
        WindowFunctionDefinition::WindowUDF(_) => true,
        WindowFunctionDefinition::AggregateUDF(function) => {
            is_ordered(function.name(), &params.args) || !is_whole(&params.window_frame)
        }
    };
    // Rows of partitions are sorted by them, and lose the order in which they came.
    takes && params.order_by.is_empty() && params.partition_by.is_empty()
}

/// Whether a frame of rows that are not ordered is all of them.
fn is_whole(frame: &WindowFrame) -> bool {
    frame.units != WindowFrameUnits::Rows
        || (frame.start_bound.is_unbounded() && frame.end_bound.is_unbounded())
}

/// Whether an aggregate gives another value for the same rows in another order. One with keys of its own
/// does not, where rows with equal keys have equal values.
fn is_ordered(name: &str, args: &[Expr]) -> bool {
    if matches!(name, "array_agg" | "string_agg") {
        return true;
    }
    let Some(values) = ordered::value_count(name).filter(|_| !ordered::is_distinct(name)) else {
        return false;
    };
    let (values, keys) = args.split_at(values.min(args.len()));
    !values.iter().all(|value| is_made_of(value, keys))
}

/// Whether an expression is made of nothing but these and constants.
fn is_made_of(expr: &Expr, keys: &[Expr]) -> bool {
    let mut is_made = true;
    let visited = expr.apply(|part| {
        if keys.contains(part) {
            return Ok(TreeNodeRecursion::Jump);
        }
        is_made = !matches!(part, Expr::Column(_) | Expr::OuterReferenceColumn(..) | Expr::ScalarSubquery(_));
        Ok(if is_made { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    visited.is_ok() && is_made
}

/// Puts partitions one after another in a plan for one thread.
#[derive(Debug)]
pub struct SequenceRule;

impl PhysicalOptimizerRule for SequenceRule {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if config.execution.target_partitions > 1 {
            return Ok(plan);
        }
        let plan = plan.transform_up(|plan| {
            let Some(mixed) = plan.downcast_ref::<CoalescePartitionsExec>() else {
                return Ok(Transformed::no(plan));
            };
            let sequence: Arc<dyn ExecutionPlan> = Arc::new(Sequence::new(Arc::clone(mixed.input())));
            Ok(Transformed::yes(match mixed.fetch() {
                Some(rows) => Arc::new(GlobalLimitExec::new(sequence, 0, Some(rows))),
                None => sequence,
            }))
        });
        let plan = plan.data()?;
        // What runs the plan would mix them.
        let is_divided = plan.output_partitioning().partition_count() > 1;
        Ok(if is_divided { Arc::new(Sequence::new(plan)) } else { plan })
    }

    fn name(&self) -> &'static str {
        "partitions_in_sequence"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The partitions of its input, one after another.
#[derive(Debug)]
struct Sequence {
    input: Arc<dyn ExecutionPlan>,
    properties: Arc<PlanProperties>,
}

impl Sequence {
    fn new(input: Arc<dyn ExecutionPlan>) -> Sequence {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(input.schema()),
            Partitioning::UnknownPartitioning(1),
            input.pipeline_behavior(),
            input.boundedness(),
        );
        Sequence { input, properties: Arc::new(properties) }
    }
}

impl DisplayAs for Sequence {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sequence")
    }
}

impl ExecutionPlan for Sequence {
    fn name(&self) -> &'static str {
        "Sequence"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.is_empty()) {
            (Some(input), true) => Ok(Arc::new(Sequence::new(input))),
            _ => internal_err!("a sequence has one child"),
        }
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = Arc::clone(&self.input);
        let partitions = (0..input.output_partitioning().partition_count()).map(Ok);
        let batches = stream::iter(partitions)
            .and_then(move |partition| std::future::ready(input.execute(partition, Arc::clone(&context))))
            .try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }
}
