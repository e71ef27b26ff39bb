//! Queries that only read rows of one collection, without DataFusion's planning and operators, which
//! cost more than reading a few rows does.
//!
//! 1. [`DirectScan::of`] recognises the shape of a plan: columns of a collection, under conditions
//!    that may have parameters.
//! 2. [`DirectScan::run`] puts in the parameters and asks the engine for a plan. When conditions are
//!    not all the engine's, or more than a few rows have to be looked at, it declines, and the query
//!    goes the general way.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan};
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::ColumnId;
use tidemark_engine::read::predicate::Predicate;
use tidemark_engine::read::{RowIds, ScanRequest, plan};

use crate::error::SqlResult;
use crate::plan::errors::{read, to_sql_error};
use crate::plan::predicate::to_predicate;
use crate::plan::provider::{StatementData, as_collection};
use crate::plan::scan::to_schema;

/// More rows than this are looked at by operators that run in parallel and can be cancelled.
const ROWS_MAX: usize = 8192;

/// A query that only reads rows of one collection.
#[derive(Debug)]
pub struct DirectScan {
    collection: Arc<Collection>,
    columns: Vec<ColumnId>,
    schema: SchemaRef,
    conditions: Vec<Expr>,
}

impl DirectScan {
    /// The plan as a scan, if it is no more than that.
    pub fn of(plan: &LogicalPlan) -> Option<DirectScan> {
        let LogicalPlan::Projection(projection) = plan else { return None };
        let mut input = projection.input.as_ref();
        let mut conditions = Vec::new();
        while let LogicalPlan::Filter(filter) = input {
            conditions.extend(split_conjunction(&filter.predicate).into_iter().cloned());
            input = filter.input.as_ref();
        }
        let LogicalPlan::TableScan(scan) = input else { return None };
        if scan.projection.is_some() || scan.fetch.is_some() || !scan.filters.is_empty() {
            return None;
        }
        let provider = source_as_provider(&scan.source).ok()?;
        let table = as_collection(&provider)?;
        if table.has_row_ids() {
            return None;
        }
        let collection = Arc::clone(table.collection());
        let positions = projection.expr.iter().map(|expr| {
            let Expr::Column(column) = expr.clone().unalias() else { return None };
            scan.projected_schema.index_of_column(&column).ok()
        });
        let positions = positions.collect::<Option<Vec<usize>>>()?;
        let columns = positions.iter().map(|at| collection.schema.columns()[*at].id).collect();
        let schema = Arc::new(provider.schema().project(&positions).ok()?);
        Some(DirectScan { collection, columns, schema, conditions })
    }

    /// The rows, if there are few to look at.
    ///
    /// # Errors
    /// A segment is missing or damaged, or the collection was dropped.
    pub fn run(&self, values: &[ScalarValue], data: &StatementData) -> SqlResult<Option<Vec<RecordBatch>>> {
        let conditions = self.conditions.iter().map(|condition| {
            let condition = with_values(condition, values)?;
            to_predicate(&condition, &self.collection)
        });
        let Some(predicates) = conditions.collect::<Option<Vec<_>>>() else { return Ok(None) };
        let snapshot = data.collection(self.collection.id).map_err(|error| to_sql_error(error, None))?;
        // Planning would find out the same, and the general way plans again.
        if predicates.is_empty() && snapshot.row_count_max() > ROWS_MAX as u64 {
            return Ok(None);
        }
        let (columns, row_ids) = (self.columns.clone(), RowIds::NotGiven);
        let request = ScanRequest { columns, predicates, batch_rows: ROWS_MAX, row_ids };
        let scan = plan(&snapshot, request).map_err(|error| read(&error))?;
        if scan.units().iter().map(|unit| unit.row_count_max()).sum::<usize>() > ROWS_MAX {
            return Ok(None);
        }
        let mut batches = Vec::new();
        for unit in scan.units() {
            for batch in scan.read(unit).map_err(|error| read(&error))? {
                let batch = batch.map_err(|error| read(&error))?;
                if batch.num_rows() > 0 {
                    batches.push(to_schema(&batch, &self.schema).map_err(|error| to_sql_error(error, None))?);
                }
            }
        }
        Ok(Some(batches))
    }
}

/// The conditions of a plan that gives the places of rows of one collection and nothing else, if all of
/// them are the engine's.
pub fn place_predicates(plan: &LogicalPlan, values: &[ScalarValue]) -> Option<Vec<Predicate>> {
    let LogicalPlan::Projection(projection) = plan else { return None };
    let mut input = projection.input.as_ref();
    let mut conditions = Vec::new();
    loop {
        input = match input {
            LogicalPlan::Filter(filter) => {
                conditions.extend(split_conjunction(&filter.predicate).into_iter().cloned());
                &filter.input
            }
            LogicalPlan::SubqueryAlias(alias) => &alias.input,
            LogicalPlan::TableScan(scan) => {
                let provider = source_as_provider(&scan.source).ok()?;
                let table = as_collection(&provider)?;
                let collection = table.has_row_ids().then(|| table.collection())?;
                let predicates =
                    conditions.iter().map(|it| to_predicate(&with_values(it, values)?, collection));
                return predicates.collect();
            }
            _ => return None,
        };
    }
}

/// The condition with the values of its parameters; none, if one has no value.
fn with_values(condition: &Expr, values: &[ScalarValue]) -> Option<Expr> {
    if values.is_empty() {
        return Some(condition.clone());
    }
    let mut is_complete = true;
    let replaced = condition.clone().transform(|expr| match &expr {
        Expr::Placeholder(Placeholder { id, .. }) => {
            let at = id.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
            match at.and_then(|at| values.get(at.checked_sub(1)?)) {
                Some(value) => Ok(Transformed::yes(Expr::Literal(value.clone(), None))),
                None => {
                    is_complete = false;
                    Ok(Transformed::no(expr))
                }
            }
        }
        _ => Ok(Transformed::no(expr)),
    });
    replaced.ok().map(|replaced| replaced.data).filter(|_| is_complete)
}
