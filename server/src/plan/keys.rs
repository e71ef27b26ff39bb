//! Keys of values whose order and equality are not Arrow's: intervals, of which `1 month` and `30 days`
//! are equal to PostgreSQL, and `1 day` is more than `23:59:59`.
//!
//! 1. Where such a value is compared, sorted, grouped, joined or counted, its key takes its place: for
//!    an interval the nanoseconds that it lasts, a month being 30 days and a day 24 hours ([`key`]).
//! 2. A group shows one of the values that it was made of ([`apply`]).
//! 3. Where the value itself is wanted back, as from `min`, it goes along in its key
//!    ([`whole_key`], [`from_whole_key`]), which has the same order.
//!
//! Keys are made when types are settled, so that DataFusion's operators, which hash and compare, have
//! nothing else to look at.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    ArrayRef, AsArray, Decimal128Array, Decimal256Array, IntervalMonthDayNanoArray,
};
use datafusion::arrow::datatypes::{
    DataType, Decimal256Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, i256,
};
use datafusion::common::{Column, DFSchema, Result, exec_datafusion_err};
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{
    AggregateFunction, GroupingSet, InSubquery, Sort as SortExpr, WindowFunction,
};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, ExprSchemable, JoinConstraint, LogicalPlan, LogicalPlanBuilder, Projection,
    ScalarUDF, Subquery, when,
};

use crate::plan::columnar;
use crate::plan::ordered;

/// The key of an interval. 2³¹ months are less than 10²⁶ nanoseconds.
const KEY: DataType = DataType::Decimal128(38, 0);

/// The key of an interval with its months and days behind it.
const WHOLE_KEY: DataType = DataType::Decimal256(76, 0);

/// An interval as expressions have it.
const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

const DAYS_PER_MONTH: i128 = 30;
const NANOS_PER_DAY: i128 = 86_400_000_000_000;

/// Bits of a field of an interval in its whole key.
const FIELD_BITS: u8 = 32;

/// Between the name of a grouped column and that of its value in the group.
const VALUE: char = '\u{3}';

/// Whether values of a type are compared by a key.
pub fn has_key(data_type: &DataType) -> bool {
    *data_type == INTERVAL
}

fn needs_key(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|data_type| has_key(&data_type))
}

/// What the expression is compared by: its key, or itself.
pub fn key(expr: Expr, schema: &DFSchema) -> Expr {
    if needs_key(&expr, schema) { interval_key(expr) } else { expr }
}

/// The key of an interval.
pub fn interval_key(expr: Expr) -> Expr {
    KEY_FUNCTION.call(vec![expr])
}

/// A key that the interval can be had back from.
pub fn whole_key(expr: Expr) -> Expr {
    WHOLE_KEY_FUNCTION.call(vec![expr])
}

/// The interval that a whole key is of.
pub fn from_whole_key(expr: Expr) -> Expr {
    FROM_WHOLE_KEY_FUNCTION.call(vec![expr])
}

static KEY_FUNCTION: LazyLock<ScalarUDF> =
    LazyLock::new(|| columnar::function("#key", vec![INTERVAL], KEY, keys));
static WHOLE_KEY_FUNCTION: LazyLock<ScalarUDF> =
    LazyLock::new(|| columnar::function("#whole_key", vec![INTERVAL], WHOLE_KEY, whole_keys));
static FROM_WHOLE_KEY_FUNCTION: LazyLock<ScalarUDF> =
    LazyLock::new(|| columnar::function("#from_whole_key", vec![WHOLE_KEY], INTERVAL, from_whole_keys));
/// An interval that is equal to its argument, the same for all equal ones.
static CANONICAL_FUNCTION: LazyLock<ScalarUDF> =
    LazyLock::new(|| columnar::function("#canonical", vec![INTERVAL], INTERVAL, canonical));

fn span(value: IntervalMonthDayNano) -> i128 {
    let days = i128::from(value.months) * DAYS_PER_MONTH + i128::from(value.days);
    days * NANOS_PER_DAY + i128::from(value.nanoseconds)
}

fn keys(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let intervals = columns[0].as_primitive::<IntervalMonthDayNanoType>();
    let keys: Decimal128Array = intervals.unary(span);
    Ok(Arc::new(keys.with_data_type(KEY)))
}

fn whole_keys(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let intervals = columns[0].as_primitive::<IntervalMonthDayNanoType>();
    let field = |value: i32| i256::from_i128(i128::from(value.cast_unsigned()));
    let keys: Decimal256Array = intervals.unary(|value| {
        let fields = (field(value.months) << FIELD_BITS) | field(value.days);
        (i256::from_i128(span(value)) << (2 * FIELD_BITS)) | fields
    });
    Ok(Arc::new(keys.with_data_type(WHOLE_KEY)))
}

fn from_whole_keys(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let keys = columns[0].as_primitive::<Decimal256Type>();
    let mask = i256::from_i128(i128::from(u32::MAX));
    let field = |key: i256| (key & mask).to_i128().and_then(|it| u32::try_from(it).ok());
    let interval = |key: i256| {
        let (months, days) = (field(key >> FIELD_BITS)?.cast_signed(), field(key)?.cast_signed());
        let span = (key >> (2 * FIELD_BITS)).to_i128()?;
        let whole = IntervalMonthDayNano::new(months, days, 0);
        let nanoseconds = i64::try_from(span - self::span(whole)).ok()?;
        Some(IntervalMonthDayNano { nanoseconds, ..whole })
    };
    let intervals: IntervalMonthDayNanoArray =
        keys.try_unary(|key| interval(key).ok_or_else(|| exec_datafusion_err!("{key} is no whole key")))?;
    Ok(Arc::new(intervals))
}

fn canonical(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let intervals = columns[0].as_primitive::<IntervalMonthDayNanoType>();
    let canonical: IntervalMonthDayNanoArray = intervals.unary(|value| {
        let span = span(value);
        let days = span / NANOS_PER_DAY;
        IntervalMonthDayNano {
            // Of so many nanoseconds there are fewer months than the value has by at most two.
            months: i32::try_from(days / DAYS_PER_MONTH).unwrap_or(value.months),
            days: i32::try_from(days % DAYS_PER_MONTH).unwrap_or(value.days),
            nanoseconds: i64::try_from(span % NANOS_PER_DAY).unwrap_or(value.nanoseconds),
        }
    });
    Ok(Arc::new(canonical))
}

/// Puts keys where an expression sorts, partitions, or compares rows of a query.
///
/// # Errors
/// DataFusion cannot put the expression together again: a bug.
pub fn in_expression(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    Ok(match expr {
        Expr::WindowFunction(window) => {
            let WindowFunction { fun, mut params } = *window;
            params.partition_by = params.partition_by.into_iter().map(|expr| key(expr, schema)).collect();
            params.order_by = sorted(params.order_by, schema);
            Expr::WindowFunction(Box::new(WindowFunction { fun, params }))
        }
        Expr::AggregateFunction(AggregateFunction { func, mut params }) => {
            params.order_by = sorted(params.order_by, schema);
            let is_counted = params.distinct && func.name() == "count";
            if is_counted || func.name() == "grouping" {
                params.args = params.args.into_iter().map(|expr| key(expr, schema)).collect();
            } else if ordered::is_distinct(func.name())
                || (params.distinct && !matches!(func.name(), "min" | "max" | "sum" | "avg"))
            {
                let canonical = |expr: Expr| match needs_key(&expr, schema) {
                    true => CANONICAL_FUNCTION.call(vec![expr]),
                    false => expr,
                };
                params.args = params.args.into_iter().map(canonical).collect();
            }
            if let Some(values) = ordered::value_count(func.name()) {
                let keys = params.args.split_off(values.min(params.args.len()));
                params.args.extend(keys.into_iter().map(|expr| key(expr, schema)));
            }
            Expr::AggregateFunction(AggregateFunction { func, params })
        }
        Expr::InSubquery(InSubquery { expr, subquery, negated }) if needs_key(&expr, schema) => {
            let Subquery { subquery: plan, outer_ref_columns, spans } = subquery;
            let columns = plan.schema().columns();
            let keys: Vec<Expr> =
                columns.into_iter().map(|column| key(Expr::Column(column), plan.schema())).collect();
            let plan = LogicalPlanBuilder::from(plan.as_ref().clone()).project(keys)?.build()?;
            let subquery = Subquery { subquery: Arc::new(plan), outer_ref_columns, spans };
            Expr::InSubquery(InSubquery::new(Box::new(interval_key(*expr)), subquery, negated))
        }
        other => other,
    })
}

fn sorted(exprs: Vec<SortExpr>, schema: &DFSchema) -> Vec<SortExpr> {
    exprs.into_iter().map(|it| SortExpr { expr: key(it.expr, schema), ..it }).collect()
}

/// Puts keys where an operator sorts, groups, joins or tells rows apart.
///
/// # Errors
/// DataFusion cannot put the plan together again: a bug.
pub fn apply(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(match plan {
        LogicalPlan::Sort(mut sort) => {
            sort.expr = sorted(sort.expr, sort.input.schema());
            LogicalPlan::Sort(sort)
        }
        LogicalPlan::Aggregate(aggregate) => group(aggregate)?,
        LogicalPlan::Distinct(Distinct::All(input)) if has_keys(&input) => {
            let columns = input.schema().columns().into_iter().map(Expr::Column).collect();
            group(Aggregate::try_new(input, columns, Vec::new())?)?
        }
        LogicalPlan::Distinct(Distinct::On(mut distinct)) => {
            let schema = merge_schema(&[distinct.input.as_ref()]);
            distinct.on_expr = distinct.on_expr.into_iter().map(|expr| key(expr, &schema)).collect();
            distinct.sort_expr = distinct.sort_expr.map(|exprs| sorted(exprs, &schema));
            LogicalPlan::Distinct(Distinct::On(distinct))
        }
        LogicalPlan::Join(mut join)
            if join.on.iter().any(|(left, _)| needs_key(left, join.left.schema())) =>
        {
            let keyed = |(left, right)| (key(left, join.left.schema()), key(right, join.right.schema()));
            join.on = join.on.into_iter().map(keyed).collect();
            // Only columns are joined USING; which of them are shown is settled already.
            join.join_constraint = JoinConstraint::On;
            LogicalPlan::Join(join)
        }
        other => other,
    })
}

/// Whether a projection is what [`apply`] made of DISTINCT.
pub fn is_distinct(projection: &Projection) -> bool {
    match projection.input.as_ref() {
        LogicalPlan::Aggregate(aggregate) => {
            !aggregate.aggr_expr.is_empty()
                && aggregate.aggr_expr.iter().all(|expr| expr.schema_name().to_string().ends_with(VALUE))
        }
        _ => false,
    }
}

fn has_keys(plan: &LogicalPlan) -> bool {
    plan.schema().fields().iter().any(|field| has_key(field.data_type()))
}

/// Groups by keys; each group shows the value that it saw first.
fn group(aggregate: Aggregate) -> Result<LogicalPlan> {
    let kept = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
    let schema = merge_schema(&[aggregate.input.as_ref()]);
    let mut is_set = false;
    let grouped: Vec<Expr> = match aggregate.group_expr.as_slice() {
        [Expr::GroupingSet(set)] => {
            is_set = true;
            set.distinct_expr().into_iter().cloned().collect()
        }
        exprs => exprs.to_vec(),
    };
    if !grouped.iter().any(|expr| needs_key(expr, &schema)) {
        return Ok(LogicalPlan::Aggregate(aggregate));
    }
    let columns = aggregate.schema.columns();
    let (mut aggregates, mut values) = (aggregate.aggr_expr, Vec::new());
    for (expr, column) in grouped.iter().zip(&columns) {
        let keyed = needs_key(expr, &schema);
        values.push(keyed.then(|| format!("{}{VALUE}", column.name)));
        if keyed {
            let first = Expr::AggregateFunction(AggregateFunction::new_udf(
                first_value_udaf(),
                vec![expr.clone().unalias()],
                false,
                None,
                Vec::new(),
                None,
            ));
            aggregates.push(first.alias(format!("{}{VALUE}", column.name)));
        }
    }
    let groups = aggregate.group_expr.into_iter().map(|expr| group_key(expr, &schema)).collect();
    let inner = LogicalPlan::Aggregate(Aggregate::try_new(aggregate.input, groups, aggregates)?);
    let inner_columns = inner.schema().columns();
    let outputs = columns.iter().enumerate().map(|(at, column)| {
        let output = match values.get(at).and_then(Option::as_ref) {
            Some(value) if is_set => {
                // In a set that does not have the column there is no key either.
                let key = Expr::Column(inner_columns[at].clone());
                let value = Expr::Column(Column::new_unqualified(value));
                when(key.is_not_null(), value).end()?
            }
            Some(value) => Expr::Column(Column::new_unqualified(value)),
            None if at < kept => return Ok(Expr::Column(inner_columns[at].clone())),
            None => return Ok(Expr::Column(column.clone())),
        };
        Ok(output.alias_qualified(column.relation.clone(), column.name.clone()))
    });
    let outputs = outputs.collect::<Result<Vec<_>>>()?;
    Ok(LogicalPlan::Projection(Projection::try_new(outputs, Arc::new(inner))?))
}

fn group_key(expr: Expr, schema: &DFSchema) -> Expr {
    let keyed = |expr: Expr| {
        let plain = expr.clone().unalias();
        if needs_key(&plain, schema) { interval_key(plain) } else { expr }
    };
    match expr {
        Expr::GroupingSet(set) => {
            let all = |exprs: Vec<Expr>| exprs.into_iter().map(keyed).collect::<Vec<_>>();
            Expr::GroupingSet(match set {
                GroupingSet::Rollup(exprs) => GroupingSet::Rollup(all(exprs)),
                GroupingSet::Cube(exprs) => GroupingSet::Cube(all(exprs)),
                GroupingSet::GroupingSets(sets) => {
                    GroupingSet::GroupingSets(sets.into_iter().map(all).collect())
                }
            })
        }
        expr => keyed(expr),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_order_of_postgresql_and_give_the_interval_back() {
        let interval = IntervalMonthDayNano::new;
        let hour = 3_600_000_000_000;
        let rising = [
            interval(i32::MIN, i32::MIN, i64::MIN),
            interval(-1, 29, 23 * hour),
            interval(0, 0, -1000),
            interval(0, 0, 0),
            interval(0, 1, -1000),
            interval(0, 0, 24 * hour),
            interval(0, 29, 25 * hour),
            interval(i32::MAX, i32::MAX, i64::MAX),
        ];
        let array: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(rising.to_vec()));
        let short = keys(std::slice::from_ref(&array)).unwrap();
        let short = short.as_primitive::<datafusion::arrow::datatypes::Decimal128Type>().values().to_vec();
        assert!(short.is_sorted_by(|left, right| left < right), "{short:?}");
        let whole = whole_keys(std::slice::from_ref(&array)).unwrap();
        let values = whole.as_primitive::<Decimal256Type>().values().to_vec();
        assert!(values.is_sorted_by(|left, right| left < right), "{values:?}");
        assert_eq!(&from_whole_keys(&[whole]).unwrap(), &array);
        assert_eq!(span(interval(1, 0, 0)), span(interval(0, 30, 0)));
        assert_eq!(span(interval(0, 1, 0)), span(interval(0, 0, 24 * hour)));
    }
}
