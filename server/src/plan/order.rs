//! Rows in the order in which they come: `SELECT h, array_agg(v) FROM (SELECT h, v FROM t ORDER BY v) s
//! GROUP BY h`.
//!
//! PostgreSQL never runs such aggregates in parallel, and a subquery's rows come in the subquery's order.
//! DataFusion shares rows out among threads, and drops the order of subqueries.
//!
//! 1. Its planner is told to leave sorts in subqueries, and [`without_vain_sorts`] takes out those whose order
//!    nobody sees: what is left is as if the planner had done it, where the order does not matter.
//! 2. A statement with an aggregate or a window function that takes rows as they come ([`RowOrder::Taken`]) is
//!    run by one thread, which reads the parts of a scan one after another; so is one that reads no
//!    collection. Others are not slowed down.
//! 3. In a plan for one thread [`KeepRule`] asks for the order of each sort, so that none is dropped, and
//!    [`SequenceRule`] puts the branches of a UNION ALL one after another.

use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{
    Transformed, TransformedResult, TreeNode, TreeNodeRecursion, TreeNodeRewriter,
};
use datafusion::common::{Result, internal_err};
use datafusion::datasource::source_as_provider;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::{
    Distinct, Expr, LogicalPlan, WindowFrame, WindowFrameUnits, WindowFunctionDefinition,
};
use datafusion::physical_expr::{
    Distribution, EquivalenceProperties, OrderingRequirements, Partitioning, PhysicalExpr,
};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::output_requirements::OutputRequirementExec;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::CardinalityEffect;
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::sorts::sort::SortExec;
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
    /// The client sees the order of a subquery.
    Shown,
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
                || match order_of_input(plan) {
                    Of::Needed => true,
                    Of::Used => has_sort(plan)?,
                    Of::Ignored => false,
                };
            Ok(TreeNodeRecursion::Continue)
        })?;
        // Series come in their order, as they do from PostgreSQL.
        is_taken = is_taken || !reads;
        Ok(match is_taken {
            true => RowOrder::Taken,
            false if shows_subquery(plan) => RowOrder::Shown,
            false => RowOrder::Free,
        })
    }

    /// What a plan needs to be run so.
    pub(super) fn configure(self, config: &mut SessionConfig) {
        let options = config.options_mut();
        match self {
            RowOrder::Free => {}
            // What reads can be many threads; what is sorted is not shared out again.
            RowOrder::Shown => options.optimizer.enable_round_robin_repartition = false,
            RowOrder::Taken => options.execution.target_partitions = 1,
        }
    }
}

/// Whether the rows of a plan come in the order of a subquery.
fn shows_subquery(plan: &LogicalPlan) -> bool {
    let mut plan = plan;
    let mut is_within = false;
    loop {
        is_within = is_within || matches!(plan, LogicalPlan::SubqueryAlias(_));
        match plan {
            LogicalPlan::Sort(_) => return is_within,
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Unnest(_) => plan = plan.inputs()[0],
            _ => return false,
        }
    }
}

fn has_sort(plan: &LogicalPlan) -> Result<bool> {
    plan.exists(|plan| Ok(matches!(plan, LogicalPlan::Sort(_))))
}

/// What an operator makes of the order of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// Another order is another answer.
    Needed,
    /// The same, but nobody relies on it where there is no sort: PostgreSQL sorts such rows itself, and
    /// leaves them as they are when they are sorted.
    Used,
    /// Nothing.
    Ignored,
}

fn order_of_input(plan: &LogicalPlan) -> Of {
    match plan {
        LogicalPlan::Aggregate(aggregate) if aggregate.aggr_expr.iter().any(is_ordered_aggregate) => {
            Of::Needed
        }
        LogicalPlan::Window(window) => {
            let of = window.window_expr.iter().map(order_of_window);
            of.fold(Of::Ignored, |all, of| match (all, of) {
                (Of::Needed, _) | (_, Of::Needed) => Of::Needed,
                (Of::Used, _) | (_, Of::Used) => Of::Used,
                _ => Of::Ignored,
            })
        }
        LogicalPlan::Distinct(Distinct::On(distinct)) if distinct.sort_expr.is_none() => Of::Used,
        _ => Of::Ignored,
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

fn order_of_window(expr: &Expr) -> Of {
    let Expr::WindowFunction(window) = unaliased(expr) else { return Of::Ignored };
    let WindowFunction { fun, params } = window.as_ref();
    let takes = match fun {
        WindowFunctionDefinition::WindowUDF(_) => true,
        WindowFunctionDefinition::AggregateUDF(function) => {
            is_ordered(function.name(), &params.args) || !is_whole(&params.window_frame)
        }
    };
    match takes && params.order_by.is_empty() {
        false => Of::Ignored,
        true if params.partition_by.is_empty() => Of::Needed,
        true => Of::Used,
    }
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

/// Takes out of a plan the sorts that leave no trace in its answer.
///
/// # Errors
/// DataFusion cannot put the plan together again: a bug.
pub fn without_vain_sorts(plan: LogicalPlan) -> Result<LogicalPlan> {
    if !has_sort_within(&plan)? {
        return Ok(plan);
    }
    plan.rewrite_with_subqueries(&mut VainSorts { wanted: vec![Wanted::Shown] }).data()
}

fn has_sort_within(plan: &LogicalPlan) -> Result<bool> {
    let mut has = false;
    plan.apply_with_subqueries(|plan| {
        has = matches!(plan, LogicalPlan::Sort(_));
        Ok(if has { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(has)
}

/// What the order of an operator's rows is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// Nothing.
    No,
    /// The client sees it, or a limit chooses rows by it.
    Shown,
    /// Values are made of it.
    Taken,
}

impl Wanted {
    /// What the order of the inputs is for, where this is what an operator's is for.
    fn below(self, plan: &LogicalPlan) -> Wanted {
        match plan {
            LogicalPlan::Sort(_) | LogicalPlan::Subquery(_) => Wanted::No,
            LogicalPlan::Limit(_) if self == Wanted::No => Wanted::Shown,
            LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) | LogicalPlan::Window(_)
                if order_of_input(plan) != Of::Ignored =>
            {
                Wanted::Taken
            }
            LogicalPlan::Aggregate(_) | LogicalPlan::Distinct(_) => Wanted::No,
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Unnest(_)
            | LogicalPlan::Window(_) => self,
            // Operators of several inputs mix their rows as they like; by one thread most do not.
            _ if self == Wanted::Shown => Wanted::No,
            _ => self,
        }
    }
}

struct VainSorts {
    /// For each operator from the top to the one that is looked at, what the order of its inputs is for.
    wanted: Vec<Wanted>,
}

impl TreeNodeRewriter for VainSorts {
    type Node = LogicalPlan;

    fn f_down(&mut self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let wanted = self.wanted.last().copied().unwrap_or(Wanted::Shown);
        let (mut plan, mut is_changed) = (plan, false);
        while wanted == Wanted::No
            && let LogicalPlan::Sort(sort) = plan
        {
            plan = Arc::unwrap_or_clone(sort.input);
            is_changed = true;
        }
        self.wanted.push(wanted.below(&plan));
        Ok(Transformed::new(plan, is_changed, TreeNodeRecursion::Continue))
    }

    fn f_up(&mut self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        self.wanted.pop();
        Ok(Transformed::no(plan))
    }
}

/// Asks for the order of every sort in a plan for one thread: what sorts are left, somebody wants. It comes
/// after the rule that asks for the order of the whole, and its operators go with that rule's.
#[derive(Debug)]
pub struct KeepRule;

impl PhysicalOptimizerRule for KeepRule {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if config.execution.target_partitions > 1 {
            return Ok(plan);
        }
        plan.transform_up(|plan| {
            let Some(sort) = plan.downcast_ref::<SortExec>() else { return Ok(Transformed::no(plan)) };
            let (order, fetch) = (OrderingRequirements::from(sort.expr().clone()), sort.fetch());
            let kept = OutputRequirementExec::new(plan, Some(order), Distribution::SinglePartition, fetch);
            Ok(Transformed::yes(Arc::new(kept) as Arc<dyn ExecutionPlan>))
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "keep_sorts"
    }

    fn schema_check(&self) -> bool {
        true
    }
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
