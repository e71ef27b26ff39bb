//! PostgreSQL's meaning for what DataFusion would read otherwise, on the statement before it is planned:
//!
//! - casts become functions that follow PostgreSQL's rules (rounding, texts, errors), and so do
//!   forms of expressions that DataFusion has not or reads otherwise ([`forms`]);
//! - constants have PostgreSQL's types ([`constants`]);
//! - subqueries in VALUES are taken out of it ([`values`]);
//! - `pg_catalog.f()` is `f()`; names of functions are those DataFusion knows;
//! - output columns without a name get PostgreSQL's, and equal names are told apart for DataFusion by
//!   a suffix that [`naming::output_name`] takes off again.

use std::ops::ControlFlow;

use datafusion::arrow::datatypes::FieldRef;
use sqlparser::ast::{
    CastKind, Distinct, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, LimitClause,
    NamedWindowExpr, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor, VisitMut, VisitorMut,
    WindowFrame, WindowFrameBound, WindowType,
};
use tidemark_catalog::types::ColumnType;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::types::{NO_TYPMOD, arrow_pg_type, column_pg_type, column_typmod};
use crate::plan::parameters::parameter_number;
use crate::plan::rewrite::forms::call;
use crate::sql::functions::cast::function_name;
use crate::sql::types::column_type;
use crate::sqlstate;

pub mod aggregates;
pub mod constants;
pub mod forms;
pub mod grouping;
pub mod naming;
pub mod sources;
pub mod values;

/// Rewrites a query in place. `parameters` are the types of those that have one.
///
/// # Errors
/// A type in it does not exist, or a form of it is not supported.
pub fn rewrite_query(query: &mut Query, parameters: &[Option<FieldRef>]) -> SqlResult<()> {
    match VisitMut::visit(query, &mut Rewriter { parameters }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Rewriter<'a> {
    parameters: &'a [Option<FieldRef>],
}

impl Rewriter<'_> {
    /// A parameter that is cast, where it has another type, or where the type says how many digits or
    /// characters it may have; and one of type `numeric`, which has as many digits as its value.
    fn cast_of_parameter(&self, expr: &Expr) -> SqlResult<Option<Expr>> {
        let Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr: inner, data_type, .. } = expr
        else {
            return Ok(None);
        };
        let known = parameter_number(inner).and_then(|at| self.parameters.get(at)?.as_ref());
        let Some(known) = known.map(|field| arrow_pg_type(field)) else { return Ok(None) };
        let target = column_type(data_type)?;
        if known != column_pg_type(&target) || column_typmod(&target) != NO_TYPMOD {
            return Ok(Some(call(&function_name(&target), vec![inner.as_ref().clone()])));
        }
        Ok((target == ColumnType::Numeric(None)).then(|| inner.as_ref().clone()))
    }
}

fn flow(done: SqlResult<()>) -> ControlFlow<SqlError> {
    match done {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

impl VisitorMut for Rewriter<'_> {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        if let Err(error) = values::rewrite(&mut query.body) {
            return ControlFlow::Break(error);
        }
        naming::name_outputs(&mut query.body);
        flow(prepare_query(query))
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<SqlError> {
        restore_query(query);
        order_distinct(query);
        flow(conditions(&mut query.body))
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<SqlError> {
        flow(sources::rewrite_source(factor))
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        match self.cast_of_parameter(expr) {
            Ok(None) => {}
            Ok(Some(cast)) => {
                *expr = cast;
                return ControlFlow::Continue(());
            }
            Err(error) => return ControlFlow::Break(error),
        }
        let done = forms::rewrite(expr);
        if let Expr::Function(function) = expr {
            if let Some(WindowType::WindowSpec(spec)) = &mut function.over {
                restore_frame(spec.window_frame.as_mut());
                spec.order_by.iter_mut().for_each(|it| constants::restore(&mut it.expr));
            }
            if let FunctionArguments::List(list) = &mut function.args
                && is_told_by_constants(&function.name.to_string())
            {
                for argument in &mut list.args {
                    if let FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) = argument {
                        constants::restore(argument);
                    }
                }
            }
        }
        flow(done)
    }
}

/// Functions of which DataFusion wants to see constants as they are.
fn is_told_by_constants(name: &str) -> bool {
    matches!(
        name.to_ascii_lowercase().as_str(),
        "ntile" | "lag" | "lead" | "nth_value" | "approx_percentile_cont" | "percentile_cont"
    )
}

/// FETCH FIRST is LIMIT; what DataFusion would answer wrongly is refused.
fn prepare_query(query: &mut Query) -> SqlResult<()> {
    if let Some(fetch) = query.fetch.take() {
        if fetch.with_ties || fetch.percent {
            return Err(SqlError::unsupported("FETCH FIRST … WITH TIES"));
        }
        let one = || constants::integer("1");
        let limit = Some(fetch.quantity.unwrap_or_else(one));
        query.limit_clause = Some(match query.limit_clause.take() {
            Some(LimitClause::LimitOffset { limit: None, offset, limit_by }) => {
                LimitClause::LimitOffset { limit, offset, limit_by }
            }
            _ => LimitClause::LimitOffset { limit, offset: None, limit_by: Vec::new() },
        });
    }
    if !query.locks.is_empty() {
        return Err(SqlError::unsupported("FOR UPDATE/SHARE"));
    }
    check_body(&mut query.body)
}

fn check_body(body: &mut SetExpr) -> SqlResult<()> {
    match body {
        SetExpr::SetOperation { left, right, .. } => {
            check_body(left)?;
            check_body(right)
        }
        SetExpr::Select(select) => {
            grouping::rewrite(select)?;
            sources::check_names(select)
        }
        _ => Ok(()),
    }
}

/// Puts constants back as they were where they are no values: places of columns, row counts, frames.
fn restore_query(query: &mut Query) {
    if let Some(order_by) = &mut query.order_by
        && let OrderByKind::Expressions(exprs) = &mut order_by.kind
    {
        exprs.iter_mut().for_each(|it| constants::restore(&mut it.expr));
    }
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset { limit, offset, .. }) => {
            limit.iter_mut().for_each(constants::restore_within);
            offset.iter_mut().for_each(|it| constants::restore_within(&mut it.value));
        }
        Some(LimitClause::OffsetCommaLimit { offset, limit }) => {
            constants::restore_within(offset);
            constants::restore_within(limit);
        }
        None => {}
    }
    each_select(&mut query.body, &mut |select| {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                forms::count_instead(expr);
            }
        }
        if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            exprs.iter_mut().for_each(constants::restore);
        }
        if let Some(Distinct::On(exprs)) = &mut select.distinct {
            exprs.iter_mut().for_each(constants::restore);
        }
        for window in &mut select.named_window {
            if let NamedWindowExpr::WindowSpec(spec) = &mut window.1 {
                restore_frame(spec.window_frame.as_mut());
            }
        }
    });
}

/// The expressions of DISTINCT ON in the order in which ORDER BY begins: DataFusion wants it so.
fn order_distinct(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let (Some(Distinct::On(distinct)), Some(order_by)) = (&mut select.distinct, &query.order_by) else {
        return;
    };
    let OrderByKind::Expressions(order) = &order_by.kind else { return };
    let first: Vec<&Expr> = order.iter().take(distinct.len()).map(|it| &it.expr).collect();
    let is_permutation = first.len() == distinct.len()
        && distinct.iter().all(|expr| first.contains(&expr))
        && first.iter().all(|expr| distinct.contains(expr));
    if is_permutation {
        *distinct = first.into_iter().cloned().collect();
    }
}

fn each_select(body: &mut SetExpr, apply: &mut impl FnMut(&mut Select)) {
    match body {
        SetExpr::Select(select) => apply(select),
        SetExpr::SetOperation { left, right, .. } => {
            each_select(left, apply);
            each_select(right, apply);
        }
        // Queries within are visited on their own.
        _ => {}
    }
}

fn restore_frame(frame: Option<&mut WindowFrame>) {
    let Some(frame) = frame else { return };
    for bound in [Some(&mut frame.start_bound), frame.end_bound.as_mut()].into_iter().flatten() {
        if let WindowFrameBound::Preceding(Some(distance)) | WindowFrameBound::Following(Some(distance)) =
            bound
        {
            constants::restore(distance);
        }
    }
}

/// A string as a condition is read as a truth value.
fn conditions(body: &mut SetExpr) -> SqlResult<()> {
    let mut found = Ok(());
    each_select(body, &mut |select| {
        if let Some(condition) = &mut select.selection {
            forms::read_as_condition(condition);
        }
        if let Some(condition) = &select.selection
            && forms::has_window(condition)
        {
            let message = "window functions are not allowed in WHERE";
            found = Err(SqlError::new(sqlstate::WINDOWING_ERROR, message));
        }
    });
    found
}
