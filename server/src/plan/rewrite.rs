//! PostgreSQL's meaning for what DataFusion would read otherwise.
//!
//! On the statement, before it is planned ([`rewrite_query`]):
//!
//! - casts become functions that follow PostgreSQL's rules (rounding, texts, errors);
//! - `pg_catalog.f()` is `f()`; names of functions are those DataFusion knows;
//! - `x = ANY(array)` becomes a function; so do other forms that DataFusion does not plan;
//! - output columns without a name get PostgreSQL's, and equal names are told apart for DataFusion by
//!   a suffix that [`output_name`] takes off again.
//!
//! On the plan ([`narrow_integers`]): integer constants that fit `integer` have that type, not
//! `bigint`.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::{Expr as PlanExpr, LogicalPlan, LogicalPlanBuilder, Values};
use sqlparser::ast::{
    self, BinaryOperator, CastKind, DataType as SqlType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart, Query, Select, SelectItem,
    SetExpr, Value, VisitMut, VisitorMut,
};
use tidemark_catalog::types::ColumnType;

use crate::error::{SqlError, SqlResult};
use crate::sql::functions::cast::function_name;
use crate::sql::names;
use crate::sql::types::column_type;

/// Between a name and the number that tells it from an equal one. No name in SQL can have it.
const SUFFIX: char = '\u{1}';

/// The name of an output column as clients see it.
pub fn output_name(name: &str) -> &str {
    name.split_once(SUFFIX).map_or(name, |(name, _)| name)
}

/// Rewrites a query in place.
///
/// # Errors
/// A type in it does not exist.
pub fn rewrite_query(query: &mut Query) -> SqlResult<()> {
    match VisitMut::visit(query, &mut Rewriter) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        name_outputs(&mut query.body);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        match rewrite_expr(expr) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

fn rewrite_expr(expr: &mut Expr) -> SqlResult<()> {
    match expr {
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr: inner, data_type, .. } => {
            let inner = std::mem::replace(inner.as_mut(), null());
            *expr = cast(inner, data_type)?;
        }
        Expr::TypedString(typed) => {
            let text = Expr::Value(typed.value.clone());
            *expr = cast(text, &typed.data_type)?;
        }
        Expr::Function(function) => rewrite_function(function),
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } if !is_subquery(right) => {
            let left = std::mem::replace(left.as_mut(), null());
            let right = std::mem::replace(right.as_mut(), null());
            *expr = call("array_has", vec![unparenthesized(right), left]);
        }
        Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } if !is_subquery(right) => {
            let left = std::mem::replace(left.as_mut(), null());
            let right = std::mem::replace(right.as_mut(), null());
            let found = call("array_has", vec![unparenthesized(right), left]);
            *expr = Expr::UnaryOp { op: ast::UnaryOperator::Not, expr: Box::new(found) };
        }
        Expr::Collate { expr: inner, .. } => {
            // There is one collation, that of bytes.
            *expr = std::mem::replace(inner.as_mut(), null());
        }
        _ => {}
    }
    Ok(())
}

fn null() -> Expr {
    Expr::Value(Value::Null.into())
}

fn is_subquery(expr: &Expr) -> bool {
    match expr {
        Expr::Subquery(_) => true,
        Expr::Nested(inner) => is_subquery(inner),
        _ => false,
    }
}

fn unparenthesized(expr: Expr) -> Expr {
    match expr {
        Expr::Nested(inner) => unparenthesized(*inner),
        other => other,
    }
}

/// A call of a function.
pub fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)));
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// A cast as a function that follows PostgreSQL's rules.
fn cast(inner: Expr, data_type: &SqlType) -> SqlResult<Expr> {
    let column_type = column_type(data_type)?;
    // A parameter that is cast has the type it is cast to: nothing is left to be done.
    if let Expr::Value(value) = &inner
        && let Value::Placeholder(_) = value.value
    {
        return Ok(plain_cast(inner, data_type));
    }
    Ok(call(&function_name(&column_type), vec![inner]))
}

fn plain_cast(inner: Expr, data_type: &SqlType) -> Expr {
    Expr::Cast {
        kind: CastKind::DoubleColon,
        expr: Box::new(inner),
        data_type: data_type.clone(),
        array: false,
        format: None,
    }
}

fn rewrite_function(function: &mut Function) {
    let Ok(mut parts) = names::parts(&function.name) else { return };
    let qualified = parts.len() == 2 && parts[0] == "pg_catalog";
    if qualified {
        parts.remove(0);
    }
    let [name] = parts.as_slice() else { return };
    let known = match name.as_str() {
        "char_length" | "character_length" => Some("char_length"),
        "every" => Some("bool_and"),
        "transaction_timestamp" | "statement_timestamp" | "current_timestamp" => Some("now"),
        "percentile_disc" => Some("percentile_disc"),
        _ => None,
    };
    if qualified || known.is_some() {
        let name = known.unwrap_or(name);
        function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]);
    }
}

/// Gives the output columns of every SELECT of a query names that are PostgreSQL's and distinct.
fn name_outputs(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => name_select(select),
        SetExpr::SetOperation { left, right, .. } => {
            name_outputs(left);
            name_outputs(right);
        }
        // Queries within are visited on their own.
        _ => {}
    }
}

fn name_select(select: &mut Select) {
    let mut used: HashSet<String> = HashSet::new();
    let mut after_wildcard = false;
    for item in &mut select.projection {
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let name = figure_name(expr);
                let is_column = matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
                let fresh = used.insert(name.clone());
                if !is_column || !fresh || after_wildcard {
                    let expr = std::mem::replace(expr, null());
                    *item = SelectItem::ExprWithAlias {
                        expr,
                        alias: distinct(&name, fresh && !after_wildcard, &used),
                    };
                    used.insert(alias_of(item));
                }
            }
            SelectItem::ExprWithAlias { alias, .. } => {
                let name = names::fold(alias);
                if !used.insert(name.clone()) || after_wildcard {
                    *alias = distinct(&name, false, &used);
                    used.insert(alias.value.clone());
                }
            }
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => after_wildcard = true,
            _ => {}
        }
    }
}

fn alias_of(item: &SelectItem) -> String {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
        _ => String::new(),
    }
}

fn distinct(name: &str, fresh: bool, used: &HashSet<String>) -> Ident {
    if fresh {
        return Ident::with_quote('"', name);
    }
    let numbered = |number: usize| format!("{name}{SUFFIX}{number}");
    let number = (1..).find(|number| !used.contains(&numbered(*number))).expect("there are many numbers");
    Ident::with_quote('"', numbered(number))
}

/// The name of an output column that has no alias: PostgreSQL's `FigureColname`.
pub fn figure_name(expr: &Expr) -> String {
    figure(expr).unwrap_or_else(|| "?column?".to_owned())
}

fn figure(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(ident) => Some(names::fold(ident)),
        Expr::CompoundIdentifier(idents) => idents.last().map(names::fold),
        Expr::Function(function) => names::parts(&function.name).ok()?.pop(),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => figure(inner),
        Expr::Cast { expr: inner, data_type, .. } => figure(inner).or_else(|| type_name(data_type)),
        Expr::TypedString(typed) => type_name(&typed.data_type),
        Expr::Case { else_result, .. } => {
            else_result.as_deref().and_then(figure).or_else(|| Some("case".to_owned()))
        }
        Expr::Exists { .. } => Some("exists".to_owned()),
        Expr::Array(_) => Some("array".to_owned()),
        Expr::Extract { .. } => Some("extract".to_owned()),
        Expr::Substring { .. } => Some("substring".to_owned()),
        Expr::Trim { trim_where, .. } => Some(
            match trim_where {
                Some(ast::TrimWhereField::Leading) => "ltrim",
                Some(ast::TrimWhereField::Trailing) => "rtrim",
                _ => "btrim",
            }
            .to_owned(),
        ),
        Expr::Position { .. } => Some("position".to_owned()),
        Expr::Overlay { .. } => Some("overlay".to_owned()),
        Expr::Ceil { .. } => Some("ceil".to_owned()),
        Expr::Floor { .. } => Some("floor".to_owned()),
        Expr::AtTimeZone { .. } => Some("timezone".to_owned()),
        Expr::Interval(_) => Some("interval".to_owned()),
        Expr::Value(value) => matches!(value.value, Value::Boolean(_)).then(|| "bool".to_owned()),
        Expr::Subquery(query) => subquery_name(query),
        Expr::CompoundFieldAccess { root, .. } => figure(root),
        _ => None,
    }
}

fn subquery_name(query: &Query) -> Option<String> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    match select.projection.first()? {
        SelectItem::UnnamedExpr(expr) => figure(expr),
        SelectItem::ExprWithAlias { alias, .. } => Some(names::fold(alias)),
        _ => None,
    }
}

/// The name PostgreSQL gives a column that is nothing but a constant cast to a type.
fn type_name(data_type: &SqlType) -> Option<String> {
    Some(
        match column_type(data_type).ok()? {
            ColumnType::Bool => "bool",
            ColumnType::Int2 => "int2",
            ColumnType::Int4 => "int4",
            ColumnType::Int8 => "int8",
            ColumnType::Float4 => "float4",
            ColumnType::Float8 => "float8",
            ColumnType::Numeric(_) => "numeric",
            ColumnType::Text | ColumnType::Symbol => "text",
            ColumnType::Varchar(_) => "varchar",
            ColumnType::Bytea => "bytea",
            ColumnType::Date => "date",
            ColumnType::Timestamp(_) => "timestamp",
            ColumnType::Timestamptz(_) => "timestamptz",
            ColumnType::Interval => "interval",
            ColumnType::Uuid => "uuid",
            ColumnType::Json => "json",
            ColumnType::Jsonb => "jsonb",
            ColumnType::Array(_) => return None,
        }
        .to_owned(),
    )
}

/// Gives integer constants that fit it the type `integer`.
///
/// # Errors
/// DataFusion cannot put the plan together again: a bug.
pub fn narrow_integers(plan: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let narrowed = plan.transform_up_with_subqueries(|plan| match plan {
        // Row counts are bigint.
        LogicalPlan::Limit(_) => Ok(Transformed::no(plan)),
        LogicalPlan::Values(values) => narrow_values(values),
        plan => {
            let names = datafusion::logical_expr::expr_rewriter::NamePreserver::new(&plan);
            let mapped = plan.map_expressions(|expr| {
                let name = names.save(&expr);
                Ok(expr.transform_up(|expr| Ok(narrow(expr)))?.update_data(|expr| name.restore(expr)))
            })?;
            mapped.map_data(|plan| plan.recompute_schema())
        }
    })?;
    Ok(narrowed.data)
}

fn narrow(expr: PlanExpr) -> Transformed<PlanExpr> {
    match expr {
        PlanExpr::Literal(ScalarValue::Int64(Some(value)), metadata) => match i32::try_from(value) {
            Ok(value) => Transformed::yes(PlanExpr::Literal(ScalarValue::Int32(Some(value)), metadata)),
            Err(_) => Transformed::no(PlanExpr::Literal(ScalarValue::Int64(Some(value)), metadata)),
        },
        other => Transformed::no(other),
    }
}

fn narrow_values(values: Values) -> DataFusionResult<Transformed<LogicalPlan>> {
    let rows = values.values.into_iter().map(|row| {
        row.into_iter().map(|expr| Ok(expr.transform_up(|expr| Ok(narrow(expr)))?.data)).collect()
    });
    let rows = rows.collect::<DataFusionResult<Vec<Vec<PlanExpr>>>>()?;
    Ok(Transformed::yes(LogicalPlanBuilder::values(rows)?.build()?))
}
