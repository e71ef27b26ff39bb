//! UNION, INTERSECT and EXCEPT: their columns come together in one type each, and with ALL they count
//! how often a row comes.
//!
//! DataFusion plans INTERSECT and EXCEPT as joins in which NULL equals NULL; no other join is of that
//! kind while a plan is resolved. Without ALL its left side is made distinct. With ALL, DataFusion only
//! asks whether a row is on the other side; so the rows that are equal are numbered on both sides, and
//! the n-th of them meets the n-th ([`count_rows`]).

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{NullEquality, Result};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Distinct, Expr, ExprFunctionExt, Join, JoinType, LogicalPlan, LogicalPlanBuilder, Union,
    WindowFunctionDefinition,
};

use crate::pgtype::types::arrow_pg_type;
use crate::plan::coerce::{Side, cast_to, common_of, side};
use crate::plan::keys;

/// The column that numbers equal rows. No name in SQL can have this character.
const NUMBER: &str = "\u{4}number";

/// UNION, whose inputs come together in one type for each column.
///
/// # Errors
/// They have none.
pub fn unite(union: Union, time_zone: &Arc<str>) -> Result<LogicalPlan> {
    let inputs: Vec<&LogicalPlan> = union.inputs.iter().map(AsRef::as_ref).collect();
    match in_one_type(&inputs, "UNION", time_zone)? {
        None => Ok(LogicalPlan::Union(union)),
        Some(inputs) => {
            let inputs = inputs.into_iter().map(Arc::new).collect();
            Ok(LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?))
        }
    }
}

/// INTERSECT or EXCEPT; other joins are left as they are.
///
/// # Errors
/// Its sides have no type in common.
pub fn intersect(join: Join, time_zone: &Arc<str>) -> Result<LogicalPlan> {
    let construct = match (join.join_type, join.null_equality) {
        (JoinType::LeftSemi, NullEquality::NullEqualsNull) => "INTERSECT",
        (JoinType::LeftAnti, NullEquality::NullEqualsNull) => "EXCEPT",
        _ => return Ok(LogicalPlan::Join(join)),
    };
    let (mut left, mut right) = (join.left.as_ref().clone(), join.right.as_ref().clone());
    let is_distinct = is_distinct(&left);
    if let Some(typed) = in_one_type(&[&left, &right], construct, time_zone)?
        && let Ok([typed_left, typed_right]) = <[LogicalPlan; 2]>::try_from(typed)
    {
        // Values of two types may be one in the type that they come together in.
        left = if is_distinct { distinct(typed_left)? } else { typed_left };
        right = typed_right;
    }
    let columns = left.schema().columns();
    if !is_distinct {
        (left, right) = (count_rows(left)?, count_rows(right)?);
    }
    let on = (left.schema().columns(), right.schema().columns());
    let joined = LogicalPlanBuilder::from(left)
        .join_detailed(right, join.join_type, on, None, NullEquality::NullEqualsNull)?
        .build()?;
    let joined = keys::apply(joined)?;
    if is_distinct {
        return Ok(joined);
    }
    let columns = columns.into_iter().map(Expr::Column);
    LogicalPlanBuilder::from(joined).project(columns)?.build()
}

fn distinct(plan: LogicalPlan) -> Result<LogicalPlan> {
    keys::apply(LogicalPlanBuilder::from(plan).distinct()?.build()?)
}

/// Whether rows were made distinct; where they have keys, a projection over groups without aggregates
/// does so.
fn is_distinct(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Distinct(Distinct::All(_)) => true,
        LogicalPlan::Projection(projection) => keys::is_distinct(projection),
        _ => false,
    }
}

/// The rows with a column that numbers those that are equal.
fn count_rows(plan: LogicalPlan) -> Result<LogicalPlan> {
    let columns = plan.schema().columns().into_iter().map(Expr::Column).collect();
    let number = WindowFunctionDefinition::WindowUDF(row_number_udwf());
    let number = Expr::from(WindowFunction::new(number, Vec::new())).partition_by(columns).build()?;
    let number = keys::in_expression(number, plan.schema())?.alias(NUMBER);
    LogicalPlanBuilder::from(plan).window(vec![number])?.build()
}

/// Several inputs with each column in the type that all have in common; `None` when they are so.
fn in_one_type(
    inputs: &[&LogicalPlan],
    construct: &str,
    time_zone: &Arc<str>,
) -> Result<Option<Vec<LogicalPlan>>> {
    let width = inputs.first().map_or(0, |input| input.schema().fields().len());
    let mut targets = Vec::with_capacity(width);
    for at in 0..width {
        let sides: Vec<Side> = inputs.iter().map(|input| output_side(input, at)).collect();
        let target = common_of(&sides, construct)?;
        let is_open = |it: &Side| !matches!(it, Side::Typed(_));
        let differs = sides.iter().any(|it| is_open(it) || Some(it) != sides.first());
        targets.push(target.filter(|_| differs));
    }
    if targets.iter().all(Option::is_none) {
        return Ok(None);
    }
    let typed = inputs.iter().map(|input| {
        let columns = input.schema().columns().into_iter().enumerate().map(|(at, column)| {
            let Some(target) = targets.get(at).and_then(Option::as_ref) else {
                return Ok(Expr::Column(column));
            };
            let name = column.name.clone();
            let qualifier = column.relation.clone();
            let expr = match output_side(input, at) {
                Side::Typed(given) if &given == target => return Ok(Expr::Column(column)),
                _ => cast_to(Expr::Column(column), target, time_zone)?,
            };
            Ok(expr.alias_qualified(qualifier, name))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        LogicalPlanBuilder::from((*input).clone()).project(columns)?.build()
    });
    typed.collect::<Result<Vec<_>>>().map(Some)
}

/// What is known of the type of an output column; string constants are seen through aliases.
fn output_side(plan: &LogicalPlan, at: usize) -> Side {
    match plan {
        LogicalPlan::Projection(projection) => {
            let mut expr = projection.expr.get(at);
            while let Some(Expr::Alias(alias)) = expr {
                expr = Some(&alias.expr);
            }
            if let Some(expr) = expr {
                return side(expr, projection.input.schema());
            }
        }
        LogicalPlan::Distinct(Distinct::All(input)) => return output_side(input, at),
        LogicalPlan::SubqueryAlias(alias) => return output_side(&alias.input, at),
        _ => {}
    }
    let field = plan.schema().field(at);
    match field.data_type() {
        DataType::Null => Side::Unknown,
        _ => Side::Typed(arrow_pg_type(field)),
    }
}
