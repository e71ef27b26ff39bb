//! Types within expressions, after DataFusion planned them: strings without a type in lists, CASE and
//! arguments of functions are read as the type that their place asks for.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Case, Cast, InList, Placeholder, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, when};

use crate::pgtype::PgType;
use crate::pgtype::types::data_pg_type;
use crate::plan::aggregates;
use crate::plan::coerce::{Side, is_text, side, typed, unify};
use crate::plan::errors::external;
use crate::plan::keys;
use crate::plan::open;
use crate::plan::operators::{boolean, compared, no_operator};
use crate::plan::sets;

/// Resolves the expressions of a plan.
///
/// # Errors
/// As PostgreSQL says them.
pub fn resolve_plan(plan: LogicalPlan, time_zone: &Arc<str>) -> Result<LogicalPlan> {
    let resolved = plan.transform_up_with_subqueries(|plan| {
        let plan = match plan {
            LogicalPlan::Union(union) => sets::unite(union, time_zone)?,
            LogicalPlan::Join(join) => sets::intersect(join, time_zone)?,
            plan => plan,
        };
        let mut schema = merge_schema(&plan.inputs());
        if let LogicalPlan::TableScan(scan) = &plan {
            schema = scan.projected_schema.as_ref().clone();
        }
        let names = NamePreserver::new(&plan);
        let mapped = plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let resolved = resolve(expr, &schema, time_zone)?;
            Ok(Transformed::yes(name.restore(resolved)))
        })?;
        let plan = match mapped.data {
            // Its schema is that of its rows, which a literal of another type does not change.
            plan @ (LogicalPlan::TableScan(_) | LogicalPlan::Values(_)) => plan,
            plan => plan.recompute_schema()?,
        };
        Ok(Transformed::yes(keys::apply(aggregates::expand(plan)?)?))
    })?;
    Ok(resolved.data)
}

/// Resolves an expression over columns of a schema. What the operators' planner made is resolved.
///
/// # Errors
/// As PostgreSQL says them.
pub fn resolve(expr: Expr, schema: &DFSchema, time_zone: &Arc<str>) -> Result<Expr> {
    let resolved = expr.transform_down_up(
        |expr| {
            let is_done = match &expr {
                Expr::Column(_) | Expr::Literal(..) => true,
                // The operators' planner resolved its operands.
                Expr::BinaryExpr(it) => {
                    !matches!(it.op, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom)
                }
                Expr::ScalarFunction(it) => {
                    it.func.name().starts_with(|c: char| c.is_ascii_punctuation() && c != ':')
                }
                _ => false,
            };
            Ok(Transformed::new(
                expr,
                false,
                if is_done { TreeNodeRecursion::Jump } else { TreeNodeRecursion::Continue },
            ))
        },
        |expr| Ok(Transformed::yes(resolve_node(expr, schema, time_zone)?)),
    )?;
    Ok(resolved.data)
}

fn resolve_node(expr: Expr, schema: &DFSchema, time_zone: &Arc<str>) -> Result<Expr> {
    match expr {
        Expr::InList(list) => in_list(list, schema, time_zone),
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: op @ (Operator::IsDistinctFrom | Operator::IsNotDistinctFrom),
            right,
        }) => {
            let sides = (side(&left, schema), side(&right, schema));
            let (left, right) = compared(*left, *right, &sides, schema, time_zone)?
                .ok_or_else(|| external(no_operator("=", &sides.0, &sides.1)))?;
            let (left, right) = (keys::key(left, schema), keys::key(right, schema));
            Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
        }
        Expr::Case(case) => resolve_case(case, schema, time_zone),
        Expr::Not(inner) => Ok(Expr::Not(Box::new(boolean(*inner, "NOT", schema, time_zone)?))),
        Expr::ScalarFunction(function) => resolve_call(function, schema, time_zone),
        Expr::Cast(cast) => Ok(folded(cast)),
        other => keys::in_expression(other, schema),
    }
}

/// An integer constant of its type, where it is one that was cast.
fn folded(cast: Cast) -> Expr {
    let constant = match (cast.expr.as_ref(), cast.field.data_type()) {
        (Expr::Literal(ScalarValue::Int64(Some(value)), _), DataType::Int32) => i32::try_from(*value).ok(),
        (Expr::Negative(inner), DataType::Int32) => match inner.as_ref() {
            Expr::Literal(ScalarValue::Int64(Some(value)), _) => i32::try_from(-*value).ok(),
            _ => None,
        },
        _ => None,
    };
    match constant {
        Some(value) => Expr::Literal(ScalarValue::Int32(Some(value)), None),
        None => Expr::Cast(cast),
    }
}

fn in_list(list: InList, schema: &DFSchema, time_zone: &Arc<str>) -> Result<Expr> {
    let InList { expr, list, negated } = list;
    let mut expr = *expr;
    let mut items = Vec::with_capacity(list.len());
    for item in list {
        let sides = (side(&expr, schema), side(&item, schema));
        let (left, right) = compared(expr, item, &sides, schema, time_zone)?
            .ok_or_else(|| external(no_operator("=", &sides.0, &sides.1)))?;
        expr = left;
        items.push(keys::key(right, schema));
    }
    Ok(Expr::InList(InList { expr: Box::new(keys::key(expr, schema)), list: items, negated }))
}

fn resolve_case(case: Case, schema: &DFSchema, time_zone: &Arc<str>) -> Result<Expr> {
    let Case { mut expr, when_then_expr, else_expr } = case;
    let (mut whens, mut results): (Vec<Expr>, Vec<Expr>) =
        when_then_expr.into_iter().map(|(when, then)| (*when, *then)).unzip();
    for when in &mut whens {
        let given = std::mem::replace(when, Expr::Literal(ScalarValue::Null, None));
        *when = match &expr {
            None => boolean(given, "CASE/WHEN", schema, time_zone)?,
            Some(operand) => {
                let sides = (side(operand, schema), side(&given, schema));
                match compared(operand.as_ref().clone(), given, &sides, schema, time_zone)? {
                    Some((_, given)) => keys::key(given, schema),
                    None => return Err(external(no_operator("=", &sides.0, &sides.1))),
                }
            }
        };
    }
    expr = expr.map(|operand| Box::new(keys::key(*operand, schema)));
    // The default comes first in PostgreSQL's reckoning, which errors show.
    let has_else = else_expr.is_some();
    if let Some(default) = else_expr {
        results.insert(0, *default);
    }
    let mut results = unify(results, "CASE", schema, time_zone)?.into_iter();
    let default = if has_else { results.next().map(Box::new) } else { None };
    let when_then_expr = whens.into_iter().zip(results).map(|(when, then)| (Box::new(when), Box::new(then)));
    Ok(Expr::Case(Case { expr, when_then_expr: when_then_expr.collect(), else_expr: default }))
}

fn resolve_call(function: ScalarFunction, schema: &DFSchema, time_zone: &Arc<str>) -> Result<Expr> {
    let ScalarFunction { func, args } = function;
    let construct = match func.name() {
        "coalesce" => Some("COALESCE"),
        "greatest" => Some("GREATEST"),
        "least" => Some("LEAST"),
        _ => None,
    };
    if let Some(construct) = construct {
        let mut args = unify(args, construct, schema, time_zone)?;
        let func = open::resolved(func);
        let is_ordered = construct != "COALESCE";
        if is_ordered && args.iter().any(|arg| arg.get_type(schema).is_ok_and(|it| keys::has_key(&it))) {
            args = args.into_iter().map(keys::whole_key).collect();
            return Ok(keys::from_whole_key(Expr::ScalarFunction(ScalarFunction { func, args })));
        }
        return Ok(Expr::ScalarFunction(ScalarFunction { func, args }));
    }
    if func.name() == "nullif"
        && let [left, right] = args.as_slice()
    {
        let sides = (side(left, schema), side(right, schema));
        let (left, right) = compared(left.clone(), right.clone(), &sides, schema, time_zone)?
            .ok_or_else(|| external(no_operator("=", &sides.0, &sides.1)))?;
        let func = open::resolved(func);
        let (left_key, right_key) = (keys::key(left.clone(), schema), keys::key(right.clone(), schema));
        if left_key != left {
            let null = Expr::Literal(ScalarValue::try_from(&left.get_type(schema)?)?, None);
            return when(left_key.eq(right_key), null).otherwise(left);
        }
        return Ok(Expr::ScalarFunction(ScalarFunction { func, args: vec![left, right] }));
    }
    if func.name() == "any_all" {
        return any_all(func, args, schema, time_zone);
    }
    let is_open = |expr: &Expr| {
        matches!(
            expr,
            Expr::Literal(ScalarValue::Utf8(_), _) | Expr::Placeholder(Placeholder { field: None, .. })
        )
    };
    if func.name().starts_with("::") || !args.iter().any(is_open) {
        return Ok(Expr::ScalarFunction(ScalarFunction { func, args }));
    }
    let fields =
        args.iter().map(|arg| arg.to_field(schema).map(|(_, field)| field)).collect::<Result<Vec<_>>>();
    let Ok(wanted) = fields.and_then(|fields| fields_with_udf(&fields, func.as_ref())) else {
        return Ok(Expr::ScalarFunction(ScalarFunction { func, args }));
    };
    let args = args.into_iter().zip(wanted).map(|(arg, wanted)| {
        let pg_type = data_pg_type(wanted.data_type());
        if is_open(&arg) && *wanted.data_type() != DataType::Null {
            typed(arg, &pg_type, time_zone)
        } else {
            Ok(arg)
        }
    });
    let args = args.collect::<Result<Vec<_>>>()?;
    Ok(Expr::ScalarFunction(ScalarFunction { func, args }))
}

/// `x = ANY (array)`: an array without a type is one of the type of `x`, and the other way round.
fn any_all(
    func: Arc<datafusion::logical_expr::ScalarUDF>,
    mut args: Vec<Expr>,
    schema: &DFSchema,
    time_zone: &Arc<str>,
) -> Result<Expr> {
    use crate::pgtype::types::{array_type_of, element_type_of};
    if let [_, value, array] = args.as_mut_slice() {
        match (side(value, schema), side(array, schema)) {
            (Side::Typed(given), Side::Unknown | Side::Parameter) => {
                let given = if is_text(&given) { PgType::TEXT } else { given };
                let wanted = array_type_of(&given).unwrap_or(PgType::TEXT_ARRAY);
                let open = std::mem::replace(array, Expr::Literal(ScalarValue::Null, None));
                *array = typed(open, &wanted, time_zone)?;
            }
            (Side::Unknown | Side::Parameter, Side::Typed(given)) => {
                let wanted = element_type_of(&given).unwrap_or(PgType::TEXT);
                let open = std::mem::replace(value, Expr::Literal(ScalarValue::Null, None));
                *value = typed(open, &wanted, time_zone)?;
            }
            _ => {}
        }
    }
    Ok(Expr::ScalarFunction(ScalarFunction { func, args }))
}
