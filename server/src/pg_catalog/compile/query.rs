//! Queries: WITH, set operations, VALUES, ORDER BY and LIMIT.

use sqlparser::ast::{
    self, LimitClause, OrderByKind, Query, SetExpr, SetOperator, SetQuantifier, TableAlias, Value,
};

use crate::error::SqlError;
use crate::pg_catalog::compile::{Compiled, Compiler, CteScope, Fault, Level, Typed};
use crate::pg_catalog::plan::{Body, Column, Cte, Expr, QueryPlan, Recursion, SetOperation, SortKey};
use crate::pgtype::PgType;
use crate::pgtype::types::NO_TYPMOD;
use crate::sql::names::fold;
use crate::sqlstate;

impl Compiler<'_> {
    /// Compiles a query; the types of its columns may still be unknown.
    pub(super) fn query(&mut self, query: &Query) -> Compiled<QueryPlan> {
        let odd = query.for_clause.is_some()
            || query.settings.is_some()
            || query.format_clause.is_some()
            || !query.pipe_operators.is_empty()
            || query.fetch.as_ref().is_some_and(|fetch| fetch.with_ties || fetch.percent);
        if odd {
            return Err(Fault::NotOurs);
        }
        let cte_count = self.ctes.len();
        let ctes = self.with(query)?;
        let mut plan = self.body(&query.body, query.order_by.as_ref())?;
        self.ctes.truncate(cte_count);
        plan.ctes.splice(0..0, ctes);
        self.limit(query, &mut plan)?;
        Ok(plan)
    }

    /// Compiles what runs in a frame without relations.
    fn in_empty_level<T>(&mut self, compile: impl FnOnce(&mut Self) -> Compiled<T>) -> Compiled<T> {
        self.levels.push(Level::default());
        let compiled = compile(self);
        self.pop_level();
        compiled
    }

    /// Leaves a level; what it depends on beyond the next one, that one depends on too.
    pub(super) fn pop_level(&mut self) -> Level {
        self.levels.pop().expect("a level was entered")
    }

    fn with(&mut self, query: &Query) -> Compiled<Vec<Cte>> {
        let Some(with) = &query.with else { return Ok(Vec::new()) };
        let mut ctes = Vec::new();
        let mut names = with.cte_tables.iter().map(|cte| fold(&cte.alias.name)).collect::<Vec<_>>();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            // An error, which the planner tells with its place.
            return Err(Fault::NotOurs);
        }
        for cte in &with.cte_tables {
            let slot = self.new_slot();
            let compiled = self.in_empty_level(|this| this.cte(&cte.query, &cte.alias, slot, with.recursive));
            let (compiled, columns) = compiled?;
            self.ctes.push(CteScope { name: fold(&cte.alias.name), slot, columns });
            ctes.push(compiled);
        }
        Ok(ctes)
    }

    fn cte(
        &mut self,
        query: &Query,
        alias: &TableAlias,
        slot: usize,
        is_recursive: bool,
    ) -> Compiled<(Cte, Vec<Column>)> {
        let name = fold(&alias.name);
        let recursion = match query.body.as_ref() {
            SetExpr::SetOperation { op: SetOperator::Union, set_quantifier, left, right }
                if is_recursive && names_relation(right, &name) =>
            {
                Some((*set_quantifier, left, right))
            }
            _ => None,
        };
        let Some((quantifier, left, right)) = recursion else {
            let mut plan = self.query(query)?;
            plan.memo = None;
            self.settle(&mut plan)?;
            let columns = renamed(&plan.columns, alias)?;
            return Ok((Cte { slot, first: plan, recursive: None }, columns));
        };
        self.is_heavy = true;
        let mut first = self.body(left, None)?;
        self.settle(&mut first)?;
        first.memo = None;
        let columns = renamed(&first.columns, alias)?;
        self.ctes.push(CteScope { name, slot, columns: columns.clone() });
        let step = self.body(right, None);
        self.ctes.pop();
        let mut step = step?;
        step.memo = None;
        let types: Vec<PgType> = first.columns.iter().map(|it| it.pg_type.clone()).collect();
        self.convert(&mut step, &types, "UNION")?;
        let keeps_duplicates = quantifier == SetQuantifier::All;
        let recursive = Some(Recursion { plan: step, keeps_duplicates });
        Ok((Cte { slot, first, recursive }, columns))
    }

    fn body(&mut self, body: &SetExpr, order: Option<&ast::OrderBy>) -> Compiled<QueryPlan> {
        match body {
            SetExpr::Select(select) => self.select(select, order),
            SetExpr::Query(query) if order.is_none() => self.query(query),
            SetExpr::Query(query) => {
                let mut plan = self.query(query)?;
                // The order of the inner query matters only to its own limit.
                if plan.limit.is_some() || plan.offset.is_some() {
                    return Err(Fault::NotOurs);
                }
                plan.order = self.output_order(order, &plan.columns)?;
                Ok(plan)
            }
            SetExpr::Values(values) => {
                let mut plan = self.in_empty_level(|this| this.values(values))?;
                plan.order = self.output_order(order, &plan.columns)?;
                Ok(plan)
            }
            SetExpr::SetOperation { op, set_quantifier, left, right } => {
                let mut plan =
                    self.in_empty_level(|this| this.set_operation(*op, *set_quantifier, left, right))?;
                plan.order = self.output_order(order, &plan.columns)?;
                Ok(plan)
            }
            _ => Err(Fault::NotOurs),
        }
    }

    fn values(&mut self, values: &ast::Values) -> Compiled<QueryPlan> {
        let mut rows: Vec<Vec<Typed>> = Vec::new();
        for row in &values.rows {
            let row = row.content.iter().map(|item| self.expr(item)).collect::<Compiled<Vec<_>>>()?;
            if rows.first().is_some_and(|first: &Vec<Typed>| first.len() != row.len()) {
                let message = "VALUES lists must all be the same length";
                return Err(Fault::Wrong(SqlError::new(sqlstate::SYNTAX_ERROR, message)));
            }
            rows.push(row);
        }
        let width = rows.first().map_or(0, Vec::len);
        let mut columns = Vec::new();
        for at in 0..width {
            let types: Vec<PgType> = rows.iter().map(|row| row[at].pg_type.clone()).collect();
            let all_unknown = types.iter().all(|it| *it == PgType::UNKNOWN);
            let common = if all_unknown { PgType::UNKNOWN } else { self.one_type(&types, "VALUES")? };
            if !all_unknown {
                for row in &mut rows {
                    row[at] = self.coerce(row[at].clone(), &common, NO_TYPMOD, false)?;
                }
            }
            columns.push(Column::new(format!("column{}", at + 1), common));
        }
        let rows = rows.into_iter().map(|row| row.into_iter().map(|it| it.expr).collect()).collect();
        Ok(plan(Body::Values(rows), columns))
    }

    fn set_operation(
        &mut self,
        operator: SetOperator,
        quantifier: SetQuantifier,
        left: &SetExpr,
        right: &SetExpr,
    ) -> Compiled<QueryPlan> {
        let (operation, name) = match operator {
            SetOperator::Union => (SetOperation::Union, "UNION"),
            SetOperator::Except => (SetOperation::Except, "EXCEPT"),
            SetOperator::Intersect => (SetOperation::Intersect, "INTERSECT"),
            SetOperator::Minus => return Err(Fault::NotOurs),
        };
        let mut left = self.body(left, None)?;
        let mut right = self.body(right, None)?;
        if left.columns.len() != right.columns.len() {
            let message = format!("each {name} query must have the same number of columns");
            return Err(Fault::Wrong(SqlError::new(sqlstate::SYNTAX_ERROR, message)));
        }
        let mut types = Vec::new();
        let mut columns = Vec::new();
        for (one, other) in left.columns.iter().zip(&right.columns) {
            let common = self.one_type(&[one.pg_type.clone(), other.pg_type.clone()], name)?;
            let typmod = if one.typmod == other.typmod { one.typmod } else { NO_TYPMOD };
            columns.push(Column { typmod, ..Column::new(one.name.clone(), common.clone()) });
            types.push(common);
        }
        self.convert(&mut left, &types, name)?;
        self.convert(&mut right, &types, name)?;
        (left.memo, right.memo) = (None, None);
        let all = quantifier == SetQuantifier::All;
        let (left, right) = (Box::new(left), Box::new(right));
        Ok(plan(Body::Set { operation, all, left, right }, columns))
    }

    /// Gives the columns of a query other types.
    fn convert(&mut self, plan: &mut QueryPlan, types: &[PgType], what: &str) -> Compiled<()> {
        if plan.columns.len() != types.len() {
            let message = format!("each {what} query must have the same number of columns");
            return Err(Fault::Wrong(SqlError::new(sqlstate::SYNTAX_ERROR, message)));
        }
        for (at, to) in types.iter().enumerate() {
            let from = plan.columns[at].pg_type.clone();
            if from == *to {
                continue;
            }
            self.convert_column(plan, at, &from, to)?;
            plan.columns[at] = Column::new(plan.columns[at].name.clone(), to.clone());
        }
        Ok(())
    }

    fn convert_column(
        &mut self,
        plan: &mut QueryPlan,
        at: usize,
        from: &PgType,
        to: &PgType,
    ) -> Compiled<()> {
        let convert = |this: &mut Self, expr: &mut Expr| -> Compiled<()> {
            let value = Typed::new(std::mem::replace(expr, Expr::null()), from.clone());
            *expr = this.coerce(value, to, NO_TYPMOD, false)?.expr;
            Ok(())
        };
        match &mut plan.body {
            Body::Select(select) => convert(self, &mut select.items[at]),
            Body::Values(rows) => rows.iter_mut().try_for_each(|row| convert(self, &mut row[at])),
            Body::Set { left, right, .. } => {
                for side in [left, right] {
                    let from = side.columns[at].pg_type.clone();
                    self.convert_column(side, at, &from, to)?;
                    side.columns[at].pg_type = to.clone();
                }
                Ok(())
            }
        }
    }

    /// Columns whose type nothing told are texts.
    pub(super) fn settle(&mut self, plan: &mut QueryPlan) -> Compiled<()> {
        let settled = |column: &Column| match column.pg_type {
            PgType::UNKNOWN => PgType::TEXT,
            ref known => known.clone(),
        };
        let types: Vec<PgType> = plan.columns.iter().map(settled).collect();
        self.convert(plan, &types, "UNION")
    }

    /// ORDER BY where only the columns of the result can be named.
    fn output_order(&mut self, order: Option<&ast::OrderBy>, columns: &[Column]) -> Compiled<Vec<SortKey>> {
        let Some(order) = order else { return Ok(Vec::new()) };
        let OrderByKind::Expressions(items) = &order.kind else { return Err(Fault::NotOurs) };
        let mut keys = Vec::new();
        for item in items {
            let column = match &item.expr {
                ast::Expr::Identifier(ident) => {
                    let name = fold(ident);
                    columns.iter().position(|column| column.name == name).ok_or_else(|| {
                        let message = format!("column \"{name}\" does not exist");
                        SqlError::new(sqlstate::UNDEFINED_COLUMN, message)
                    })?
                }
                other => position(other, columns.len(), "ORDER BY")?.ok_or(Fault::NotOurs)?,
            };
            keys.push(sort_key(column, &item.options));
        }
        Ok(keys)
    }

    fn limit(&mut self, query: &Query, plan: &mut QueryPlan) -> Compiled<()> {
        let (mut limit, offset) = match &query.limit_clause {
            None => (None, None),
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
                (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
            }
            Some(_) => return Err(Fault::NotOurs),
        };
        if let Some(fetch) = &query.fetch {
            limit = fetch.quantity.as_ref();
            if limit.is_none() {
                plan.limit = Some(Expr::Const(crate::pgtype::datum::Datum::Int8(1)));
            }
        }
        if limit.is_none() && offset.is_none() {
            return Ok(());
        }
        if plan.limit.is_some() || plan.offset.is_some() {
            return Err(Fault::NotOurs);
        }
        let mut count = |expr: Option<&ast::Expr>| -> Compiled<Option<Expr>> {
            let Some(expr) = expr else { return Ok(None) };
            self.in_empty_level(|this| {
                let value = this.expr(expr)?;
                Ok(Some(this.coerce(value, &PgType::INT8, NO_TYPMOD, false)?.expr))
            })
        };
        plan.limit = count(limit)?;
        plan.offset = count(offset)?;
        Ok(())
    }
}

pub(super) fn plan(body: Body, columns: Vec<Column>) -> QueryPlan {
    QueryPlan { ctes: Vec::new(), body, order: Vec::new(), limit: None, offset: None, columns, memo: None }
}

/// NULLs come last in ascending order and first in descending.
pub(super) fn sort_key(column: usize, options: &ast::OrderByOptions) -> SortKey {
    let descending = options.asc == Some(false);
    SortKey { column, descending, nulls_first: options.nulls_first.unwrap_or(descending) }
}

/// The column that a number in ORDER BY or GROUP BY means.
pub(super) fn position(expr: &ast::Expr, width: usize, clause: &str) -> Compiled<Option<usize>> {
    let ast::Expr::Value(value) = expr else { return Ok(None) };
    let Value::Number(number, _) = &value.value else { return Ok(None) };
    match number.parse::<usize>() {
        Ok(at) if (1..=width).contains(&at) => Ok(Some(at - 1)),
        _ => {
            let message = format!("{clause} position {number} is not in select list");
            Err(Fault::Wrong(SqlError::new(sqlstate::INVALID_COLUMN_REFERENCE, message)))
        }
    }
}

/// The columns under the names that an alias gives them.
pub(super) fn renamed(columns: &[Column], alias: &TableAlias) -> Compiled<Vec<Column>> {
    let mut columns = columns.to_vec();
    if alias.columns.len() > columns.len() {
        let message = format!(
            "table \"{}\" has {} columns available but {} columns specified",
            fold(&alias.name),
            columns.len(),
            alias.columns.len()
        );
        return Err(Fault::Wrong(SqlError::new(sqlstate::INVALID_COLUMN_REFERENCE, message)));
    }
    for (column, new) in columns.iter_mut().zip(&alias.columns) {
        column.name = fold(&new.name);
    }
    Ok(columns)
}

/// Whether a relation is named in a part of a query.
fn names_relation(body: &SetExpr, name: &str) -> bool {
    let found = sqlparser::ast::visit_relations(body, |relation| {
        let is_it =
            matches!(relation.0.as_slice(), [part] if part.as_ident().is_some_and(|it| fold(it) == name));
        if is_it { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
    });
    found.is_break()
}
