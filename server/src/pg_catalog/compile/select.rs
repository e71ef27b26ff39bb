//! One SELECT.

use std::collections::BTreeSet;

use sqlparser::ast::{
    self, BinaryOperator, GroupByExpr, OrderByKind, SelectItem, SelectItemQualifiedWildcardKind,
};

use crate::error::SqlError;
use crate::pg_catalog::compile::query::{plan, position, sort_key};
use crate::pg_catalog::compile::{Compiled, Compiler, Fault, Level, Typed};
use crate::pg_catalog::plan::{
    Body, Column, Distinct, Expr, From, Grouping, QueryPlan, Select, SortKey, children,
};
use crate::sql::names::fold;
use crate::sqlstate;

/// The SELECT list and what else is computed for each row.
struct Items {
    values: Vec<Typed>,
    names: Vec<String>,
}

impl Compiler<'_> {
    pub(super) fn select(
        &mut self,
        select: &ast::Select,
        order: Option<&ast::OrderBy>,
    ) -> Compiled<QueryPlan> {
        let odd = select.into.is_some()
            || select.top.is_some()
            || !select.lateral_views.is_empty()
            || select.prewhere.is_some()
            || select.qualify.is_some()
            || !select.connect_by.is_empty()
            || !select.named_window.is_empty()
            || select.exclude.is_some()
            || select.value_table_mode.is_some();
        if odd {
            return Err(Fault::NotOurs);
        }
        self.levels.push(Level::default());
        let compiled = self.select_in_level(select, order);
        let level = self.pop_level();
        let mut compiled = compiled?;
        if !level.depends {
            compiled.memo = Some(self.new_slot());
        }
        Ok(compiled)
    }

    fn select_in_level(&mut self, select: &ast::Select, order: Option<&ast::OrderBy>) -> Compiled<QueryPlan> {
        let from = self.from(&select.from)?;
        let conditions = match &select.selection {
            Some(condition) => self.conjuncts(condition, "WHERE")?,
            None => Vec::new(),
        };
        let mut from = super::from::in_good_order(from, &conditions);
        let mut filters = Vec::new();
        for (expr, relations) in conditions {
            filters.extend(super::from::place(&mut from, expr, &relations));
        }
        self.level().may_aggregate = true;
        self.level().may_set = true;
        let mut items = Items { values: Vec::new(), names: Vec::new() };
        for item in &select.projection {
            self.item(item, &mut items)?;
        }
        let width = items.values.len();
        let keys = self.group_keys(&select.group_by, &items)?;
        self.level().may_set = false;
        let having = match &select.having {
            None => None,
            Some(condition) => {
                let value = self.expr(condition)?;
                Some(self.boolean(value, "HAVING")?)
            }
        };
        self.level().may_set = true;
        let sort_keys = self.order(order, &mut items, width)?;
        let distinct = self.distinct(select.distinct.as_ref(), &mut items, width)?;
        if matches!(distinct, Distinct::Rows(_)) && items.values.len() > width {
            let message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
            return Err(SqlError::new(sqlstate::INVALID_COLUMN_REFERENCE, message).into());
        }
        let is_grouped = !keys.is_empty() || having.is_some() || !self.level().aggregates.is_empty();
        if is_grouped {
            self.check_grouped(&items, &keys, having.as_ref())?;
        }
        let column = |(value, name): (&Typed, &String)| Column {
            name: name.clone(),
            pg_type: value.pg_type.clone(),
            typmod: value.typmod,
            table: value.origin.0,
            number: value.origin.1,
            shape: value.shape.clone(),
        };
        let columns = items.values.iter().zip(&items.names).take(width).map(column).collect();
        let level = self.level();
        let aggregates = std::mem::take(&mut level.aggregates);
        let body = Select {
            from,
            relation_count: level.relations.len(),
            filters,
            grouping: is_grouped.then_some(Grouping { keys, aggregates, having }),
            windows: std::mem::take(&mut level.windows),
            sets: std::mem::take(&mut level.sets),
            items: items.values.into_iter().map(|it| it.expr).collect(),
            distinct,
        };
        let mut compiled = plan(Body::Select(Box::new(body)), columns);
        compiled.order = sort_keys;
        Ok(compiled)
    }

    /// The parts of a condition that stand side by side with AND, with the relations that each names.
    pub(super) fn conjuncts(
        &mut self,
        condition: &ast::Expr,
        what: &str,
    ) -> Compiled<Vec<(Expr, BTreeSet<usize>)>> {
        let mut parts = Vec::new();
        let mut stack = vec![condition];
        while let Some(part) = stack.pop() {
            match part {
                ast::Expr::Nested(inner) => stack.push(inner),
                ast::Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                    stack.push(right);
                    stack.push(left);
                }
                other => {
                    self.level().touched.clear();
                    let value = self.expr(other)?;
                    let expr = self.boolean(value, what)?;
                    parts.push((expr, std::mem::take(&mut self.level().touched)));
                }
            }
        }
        Ok(parts)
    }

    fn item(&mut self, item: &SelectItem, items: &mut Items) -> Compiled<()> {
        match item {
            SelectItem::UnnamedExpr(ast::Expr::CompoundFieldAccess { root, access_chain })
                if is_star(access_chain) =>
            {
                let record = self.expr(root)?;
                self.expand_record(&record, items)
            }
            SelectItem::UnnamedExpr(expr) => {
                let value = self.expr(expr)?;
                items.names.push(super::column::column_name(expr).unwrap_or("?column?".to_owned()));
                items.values.push(value);
                Ok(())
            }
            SelectItem::ExprWithAlias { expr, alias } => {
                let value = self.expr(expr)?;
                items.names.push(fold(alias));
                items.values.push(value);
                Ok(())
            }
            SelectItem::Wildcard(_) => {
                if self.level().relations.is_empty() {
                    let message = "SELECT * with no tables specified is not valid";
                    return Err(Fault::Wrong(SqlError::new(sqlstate::SYNTAX_ERROR, message)));
                }
                for relation in 0..self.level().relations.len() {
                    self.expand(relation, true, items);
                }
                Ok(())
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                let parts = crate::sql::names::parts(name)?;
                let wanted = parts.last().cloned().unwrap_or_default();
                let found = self.level().relations.iter().position(|it| it.name == wanted);
                let Some(relation) = found else {
                    let message = format!("missing FROM-clause entry for table \"{wanted}\"");
                    return Err(SqlError::new(sqlstate::UNDEFINED_TABLE, message).into());
                };
                self.expand(relation, false, items);
                Ok(())
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(expr), _) => {
                let record = self.expr(expr)?;
                self.expand_record(&record, items)
            }
            SelectItem::ExprWithAliases { .. } => Err(Fault::NotOurs),
        }
    }

    fn expand(&mut self, relation: usize, merges: bool, items: &mut Items) {
        self.level().touched.insert(relation);
        let visible = &self.level().relations[relation];
        for (at, column) in visible.columns.iter().enumerate() {
            if merges && visible.merged.contains(&at) {
                continue;
            }
            let expr = Expr::Column { depth: 0, relation, column: at };
            items.names.push(column.name.clone());
            items.values.push(Typed {
                expr,
                pg_type: column.pg_type.clone(),
                typmod: column.typmod,
                shape: column.shape.clone(),
                origin: (column.table, column.number),
            });
        }
    }

    fn expand_record(&mut self, record: &Typed, items: &mut Items) -> Compiled<()> {
        let Some(shape) = record.shape.clone() else { return Err(Fault::NotOurs) };
        for (at, (name, pg_type)) in shape.iter().enumerate() {
            items.names.push(name.clone());
            let field = Expr::Field(Box::new(record.expr.clone()), at);
            items.values.push(Typed::new(field, pg_type.clone()));
        }
        Ok(())
    }

    fn group_keys(&mut self, group_by: &GroupByExpr, items: &Items) -> Compiled<Vec<Expr>> {
        let GroupByExpr::Expressions(exprs, modifiers) = group_by else { return Err(Fault::NotOurs) };
        if !modifiers.is_empty() {
            return Err(Fault::NotOurs);
        }
        let mut keys = Vec::new();
        for expr in exprs {
            if let Some(at) = position(expr, items.values.len(), "GROUP BY")? {
                keys.push(items.values[at].expr.clone());
                continue;
            }
            // A column of FROM goes before one of the SELECT list with the same name.
            let compiled = self.expr(expr);
            let named = match expr {
                ast::Expr::Identifier(ident) => items.names.iter().position(|it| *it == fold(ident)),
                _ => None,
            };
            keys.push(match (compiled, named) {
                (Ok(value), _) => value.expr,
                (Err(_), Some(at)) => items.values[at].expr.clone(),
                (Err(fault), None) => return Err(fault),
            });
        }
        Ok(keys)
    }

    /// ORDER BY: a column of the SELECT list by name or number, or any expression.
    fn order(
        &mut self,
        order: Option<&ast::OrderBy>,
        items: &mut Items,
        width: usize,
    ) -> Compiled<Vec<SortKey>> {
        let Some(order) = order else { return Ok(Vec::new()) };
        let OrderByKind::Expressions(exprs) = &order.kind else { return Err(Fault::NotOurs) };
        let mut keys = Vec::new();
        for item in exprs {
            let column = self.output(&item.expr, items, width, "ORDER BY")?;
            keys.push(sort_key(column, &item.options));
        }
        Ok(keys)
    }

    /// The column of the result that an expression means, added to it if need be.
    fn output(&mut self, expr: &ast::Expr, items: &mut Items, width: usize, clause: &str) -> Compiled<usize> {
        if let Some(at) = position(expr, width, clause)? {
            return Ok(at);
        }
        if let ast::Expr::Identifier(ident) = expr
            && let Some(at) = items.names[..width].iter().position(|it| *it == fold(ident))
        {
            return Ok(at);
        }
        let value = self.expr(expr)?;
        let value = self.known(value)?;
        if let Some(at) = items.values.iter().position(|it| it.expr == value.expr) {
            return Ok(at);
        }
        items.values.push(value);
        items.names.push(String::new());
        Ok(items.values.len() - 1)
    }

    fn distinct(
        &mut self,
        distinct: Option<&ast::Distinct>,
        items: &mut Items,
        width: usize,
    ) -> Compiled<Distinct> {
        match distinct {
            None | Some(ast::Distinct::All) => Ok(Distinct::No),
            Some(ast::Distinct::Distinct) => Ok(Distinct::Rows(width)),
            Some(ast::Distinct::On(exprs)) => {
                let mut columns = Vec::new();
                for expr in exprs {
                    columns.push(self.output(expr, items, width, "DISTINCT ON")?);
                }
                Ok(Distinct::On(columns))
            }
        }
    }

    /// Every column outside of an aggregate must be one that the rows are grouped by, or belong to a
    /// relation that is grouped by its key.
    fn check_grouped(&mut self, items: &Items, keys: &[Expr], having: Option<&Expr>) -> Compiled<()> {
        let exprs = items.values.iter().map(|it| &it.expr).chain(having);
        for expr in exprs {
            let Some((relation, column)) = ungrouped(expr, keys) else { continue };
            let visible = &self.level().relations[relation];
            let name = &visible.columns[column].name;
            let is_key = |key: &Expr| match key {
                Expr::Column { depth: 0, relation: grouped, column } => {
                    *grouped == relation && visible.columns[*column].name == "oid"
                }
                _ => false,
            };
            if keys.iter().any(is_key) {
                continue;
            }
            let message = format!(
                "column \"{}.{name}\" must appear in the GROUP BY clause or be used in an aggregate function",
                visible.name
            );
            return Err(SqlError::new(sqlstate::GROUPING_ERROR, message).into());
        }
        Ok(())
    }
}

fn is_star(chain: &[ast::AccessExpr]) -> bool {
    matches!(chain, [ast::AccessExpr::Dot(ast::Expr::Wildcard(_))])
}

/// A column that an expression needs and that the rows are not grouped by.
fn ungrouped(expr: &Expr, keys: &[Expr]) -> Option<(usize, usize)> {
    if keys.contains(expr) {
        return None;
    }
    if let Expr::Column { depth: 0, relation, column } = expr {
        return Some((*relation, *column));
    }
    children(expr).into_iter().find_map(|child| ungrouped(child, keys))
}

/// The relations of a FROM that an expression names directly.
pub(super) fn names_directly(expr: &Expr, relation: usize) -> bool {
    match expr {
        Expr::Column { depth: 0, relation: named, .. } | Expr::Record { depth: 0, relation: named, .. } => {
            *named == relation
        }
        // What a subquery names is not looked for.
        Expr::Scalar(_) | Expr::Exists(_) | Expr::ArrayOf(..) | Expr::QuantifiedQuery { .. } => true,
        other => children(other).into_iter().any(|child| names_directly(child, relation)),
    }
}

/// FROM without anything in it.
pub(super) fn nothing() -> From {
    From::Nothing
}
