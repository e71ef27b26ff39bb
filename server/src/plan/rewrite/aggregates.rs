//! Calls of aggregates that DataFusion has not, or has not in every form: those with an order of their
//! own become [`ordered`] ones, and hypothetical ranks are counted.

use sqlparser::ast::{
    BinaryOperator, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArgumentList, FunctionArguments, OrderByExpr, OrderByOptions,
};

use crate::error::{SqlError, SqlResult};
use crate::plan::ordered::{self, Order};
use crate::plan::rewrite::constants;
use crate::plan::rewrite::forms::{binary, call, nested};
use crate::sqlstate;

/// The call of an aggregate as another one; `None` where it is left as it is.
///
/// # Errors
/// It has not the arguments that it should have.
pub fn rewritten(function: &Function, name: &str) -> SqlResult<Option<Expr>> {
    if !function.within_group.is_empty() {
        return within_group(function, name).map(Some);
    }
    let FunctionArguments::List(list) = &function.args else { return Ok(None) };
    let is_distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
    let order = list.clauses.iter().find_map(|clause| match clause {
        FunctionArgumentClause::OrderBy(order) => Some(order.as_slice()),
        _ => None,
    });
    let is_json = matches!(name, "json_agg" | "jsonb_agg" | "json_object_agg" | "jsonb_object_agg");
    let is_plain = order.is_none() && !is_distinct;
    let is_ours = is_json || (matches!(name, "string_agg" | "array_agg") && !is_plain);
    if !is_ours {
        return Ok(None);
    }
    let Some(values) = arguments(list) else { return Ok(None) };
    let mut order = order.map(<[OrderByExpr]>::to_vec).unwrap_or_default();
    if is_distinct && order.iter().any(|it| !values.contains(&it.expr)) {
        let message = "in an aggregate with DISTINCT, ORDER BY expressions must appear in argument list";
        return Err(SqlError::new(sqlstate::INVALID_COLUMN_REFERENCE, message));
    }
    if is_distinct {
        // What is told apart is sorted by all of it.
        for value in &values {
            if !order.iter().any(|it| it.expr == *value) {
                order.push(ascending(value.clone()));
            }
        }
    }
    let values = json_values(name, values);
    Ok(Some(ordered_call(function, name, values, is_distinct, &order)))
}

fn ascending(expr: Expr) -> OrderByExpr {
    OrderByExpr { expr, options: OrderByOptions { asc: None, nulls_first: None }, with_fill: None }
}

/// The arguments, where there is nothing else between the parentheses.
fn arguments(list: &FunctionArgumentList) -> Option<Vec<Expr>> {
    let argument = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    list.args.iter().map(argument).collect()
}

/// Values of JSON aggregates as JSON.
fn json_values(name: &str, values: Vec<Expr>) -> Vec<Expr> {
    let convert = if name.starts_with("jsonb") { "to_jsonb" } else { "to_json" };
    match (name, values.as_slice()) {
        ("json_agg" | "jsonb_agg", [value]) => vec![call(convert, vec![value.clone()])],
        ("json_object_agg" | "jsonb_object_agg", [key, value]) => {
            vec![call("::text", vec![key.clone()]), call(convert, vec![value.clone()])]
        }
        _ => values,
    }
}

fn ordered_call(
    function: &Function,
    name: &str,
    values: Vec<Expr>,
    is_distinct: bool,
    order: &[OrderByExpr],
) -> Expr {
    let orders: Vec<Order> = order.iter().map(|it| order_of(&it.options)).collect();
    let mut args = values;
    args.extend(order.iter().map(|it| it.expr.clone()));
    let mut called = call(&ordered::name(name, is_distinct, &orders), args);
    if let Expr::Function(called) = &mut called {
        called.filter.clone_from(&function.filter);
        called.over.clone_from(&function.over);
    }
    called
}

fn order_of(options: &OrderByOptions) -> Order {
    let descending = options.asc == Some(false);
    Order { descending, nulls_first: options.nulls_first.unwrap_or(descending) }
}

/// `f(…) WITHIN GROUP (ORDER BY …)`
fn within_group(function: &Function, name: &str) -> SqlResult<Expr> {
    let FunctionArguments::List(list) = &function.args else {
        return Err(SqlError::unsupported(format!("{name} WITHIN GROUP in this form")));
    };
    let direct = arguments(list).unwrap_or_default();
    let order = function.within_group.as_slice();
    match (name, direct.as_slice(), order) {
        ("mode", [], [by]) => Ok(ordered_call(function, name, vec![by.expr.clone()], false, order)),
        ("percentile_cont" | "percentile_disc", [fraction], [by]) => {
            let values = vec![by.expr.clone(), fraction.clone()];
            Ok(ordered_call(function, name, values, false, order))
        }
        ("rank" | "dense_rank" | "percent_rank" | "cume_dist", [value], [by]) => {
            Ok(hypothetical(function, name, value, by))
        }
        ("rank" | "dense_rank" | "percent_rank" | "cume_dist", ..) => {
            Err(SqlError::unsupported(format!("{name} WITHIN GROUP of several columns")))
        }
        _ => {
            let message = format!("{name} is not an ordered-set aggregate, so it cannot have WITHIN GROUP");
            Err(SqlError::new(sqlstate::WRONG_OBJECT_TYPE, message))
        }
    }
}

/// The rank that a value would have among those of the group.
fn hypothetical(function: &Function, name: &str, value: &Expr, by: &OrderByExpr) -> Expr {
    let order = order_of(&by.options);
    let (value, column) = (nested(value.clone()), nested(by.expr.clone()));
    let op = if order.descending { BinaryOperator::Gt } else { BinaryOperator::Lt };
    let null = Expr::IsNull(Box::new(column.clone()));
    let mut before = binary(column.clone(), op, value.clone());
    if order.nulls_first {
        before = binary(before, BinaryOperator::Or, null);
    }
    let count = |condition: Option<Expr>, distinct: Option<Expr>| {
        let mut called = call("count", Vec::new());
        if let Expr::Function(called) = &mut called
            && let FunctionArguments::List(list) = &mut called.args
        {
            let argument = distinct.clone().map_or(FunctionArgExpr::Wildcard, FunctionArgExpr::Expr);
            list.args.push(FunctionArg::Unnamed(argument));
            list.duplicate_treatment = distinct.map(|_| DuplicateTreatment::Distinct);
            let filters = [function.filter.as_deref().cloned(), condition].into_iter().flatten();
            called.filter =
                filters.map(nested).reduce(|all, next| binary(all, BinaryOperator::And, next)).map(Box::new);
        }
        called
    };
    let one = || constants::number("1", false);
    let float = |expr: Expr| call("::double precision", vec![expr]);
    let earlier = count(Some(before.clone()), None);
    match name {
        "rank" => nested(binary(earlier, BinaryOperator::Plus, one())),
        "dense_rank" => nested(binary(count(Some(before), Some(column)), BinaryOperator::Plus, one())),
        "percent_rank" => {
            let all = call("nullif", vec![count(None, None), constants::number("0", false)]);
            let rank = binary(float(earlier), BinaryOperator::Divide, float(all));
            call("coalesce", vec![rank, float(constants::number("0", false))])
        }
        _ => {
            let equal = binary(column, BinaryOperator::Eq, value);
            let upto = count(Some(binary(nested(before), BinaryOperator::Or, nested(equal))), None);
            let upto = nested(binary(upto, BinaryOperator::Plus, one()));
            let all = nested(binary(count(None, None), BinaryOperator::Plus, one()));
            nested(binary(float(upto), BinaryOperator::Divide, float(all)))
        }
    }
}
