//! FROM: relations, functions, subqueries and joins.

use std::collections::BTreeSet;

use sqlparser::ast::{
    self, FunctionArg, FunctionArgExpr, JoinConstraint, JoinOperator, TableAlias, TableFactor, TableWithJoins,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use crate::error::SqlError;
use crate::pg_catalog::Reach;
use crate::pg_catalog::compile::query::renamed;
use crate::pg_catalog::compile::select::{names_directly, nothing};
use crate::pg_catalog::compile::{Compiled, Compiler, Fault, Typed, Visible};
use crate::pg_catalog::names::{self, Found};
use crate::pg_catalog::operators::{Comparison, Operator};
use crate::pg_catalog::plan::{Column, Expr, From, JoinKind, Leaf, Lookup, QueryPlan, SetOrScalar, Source};
use crate::pg_catalog::relations::Relation;
use crate::pgtype::PgType;
use crate::pgtype::types::{NO_TYPMOD, column_pg_type, column_typmod};
use crate::sql::names::fold;
use crate::sqlstate;

impl Compiler<'_> {
    /// What stands between the commas of FROM.
    pub(super) fn from(&mut self, tables: &[TableWithJoins]) -> Compiled<Vec<From>> {
        tables.iter().map(|table| self.joined(table)).collect()
    }

    fn joined(&mut self, table: &TableWithJoins) -> Compiled<From> {
        let first = self.level().relations.len();
        let mut left = self.factor(&table.relation)?;
        for item in &table.joins {
            let (constraint, operator) = match &item.join_operator {
                JoinOperator::Join(it) | JoinOperator::Inner(it) => (it, Side::Inner),
                JoinOperator::CrossJoin(it) => (it, Side::Inner),
                JoinOperator::Left(it) | JoinOperator::LeftOuter(it) => (it, Side::Left),
                JoinOperator::Right(it) | JoinOperator::RightOuter(it) => (it, Side::Right),
                JoinOperator::FullOuter(it) => (it, Side::Full),
                _ => return Err(Fault::NotOurs),
            };
            let middle = self.level().relations.len();
            let right = self.factor(&item.relation)?;
            let (one, other, kind) = match operator {
                Side::Inner => (left, right, JoinKind::Inner),
                Side::Left => (left, right, JoinKind::Left),
                // The same with the sides exchanged; the order of columns is that of the names.
                Side::Right => (right, left, JoinKind::Left),
                Side::Full => (left, right, JoinKind::Full),
            };
            let mut joined = join(one, other, kind);
            match constraint {
                JoinConstraint::None => {}
                JoinConstraint::On(condition) => {
                    for (expr, relations) in self.conjuncts(condition, "JOIN/ON")? {
                        place_on(&mut joined, expr, &relations);
                    }
                }
                JoinConstraint::Using(columns) => {
                    let names =
                        columns.iter().map(crate::sql::names::parts).collect::<Result<Vec<_>, _>>()?;
                    let names = names.into_iter().filter_map(|mut parts| parts.pop()).collect::<Vec<_>>();
                    self.using(&mut joined, &names, (first, middle), operator)?;
                }
                JoinConstraint::Natural => {
                    let names = self.shared_names(first, middle);
                    self.using(&mut joined, &names, (first, middle), operator)?;
                }
            }
            left = joined;
        }
        Ok(left)
    }

    fn shared_names(&mut self, first: usize, middle: usize) -> Vec<String> {
        let relations = &self.level().relations;
        let left = relations[first..middle].iter().flat_map(|it| &it.columns);
        let right: Vec<&String> =
            relations[middle..].iter().flat_map(|it| &it.columns).map(|it| &it.name).collect();
        left.map(|it| it.name.clone()).filter(|name| right.contains(&name)).collect()
    }

    /// USING: columns of both sides are equal, and one of them is shown.
    fn using(
        &mut self,
        joined: &mut From,
        names: &[String],
        (first, middle): (usize, usize),
        side: Side,
    ) -> Compiled<()> {
        for name in names {
            let find = |relations: &[Visible], range: std::ops::Range<usize>| {
                range.into_iter().find_map(|relation| {
                    let visible = &relations[relation];
                    let column = visible.columns.iter().position(|it| it.name == *name)?;
                    (!visible.merged.contains(&column)).then_some((relation, column))
                })
            };
            let relations = &self.level().relations;
            let missing = |side: &str| {
                let message =
                    format!("column \"{name}\" specified in USING clause does not exist in {side} table");
                Fault::Unknown(SqlError::new(sqlstate::UNDEFINED_COLUMN, message))
            };
            let left = find(relations, first..middle).ok_or_else(|| missing("left"))?;
            let right = find(relations, middle..relations.len()).ok_or_else(|| missing("right"))?;
            let column = |(relation, column): (usize, usize)| {
                let it = &relations[relation].columns[column];
                Typed::new(Expr::Column { depth: 0, relation, column }, it.pg_type.clone())
            };
            let (one, other) = (column(left), column(right));
            let hidden = if side == Side::Right { left } else { right };
            let shown = (side == Side::Full).then(|| {
                let items = vec![one.expr.clone(), other.expr.clone()];
                (name.clone(), Typed::new(Expr::Coalesce(items), one.pg_type.clone()))
            });
            let condition = self.compare(Comparison::Equal, one, other)?;
            place_on(joined, condition.expr, &BTreeSet::from([left.0, right.0]));
            self.level().relations[hidden.0].merged.insert(hidden.1);
            self.level().coalesced.extend(shown);
        }
        Ok(())
    }

    fn factor(&mut self, factor: &TableFactor) -> Compiled<From> {
        match factor {
            TableFactor::Table { name, alias, args: None, with_ordinality: false, sample: None, .. } => {
                self.relation(name, alias.as_ref())
            }
            TableFactor::Table { name, alias, args: Some(args), with_ordinality, .. } => {
                self.table_function(name, &args.args, *with_ordinality, alias.as_ref())
            }
            TableFactor::Function { name, args, with_ordinality, alias, .. } => {
                self.table_function(name, args, *with_ordinality, alias.as_ref())
            }
            TableFactor::UNNEST { alias, array_exprs, with_ordinality, with_offset: false, .. } => {
                let calls = array_exprs.iter().map(|expr| {
                    let value = self.expr(expr)?;
                    self.call_named("unnest", vec![value])
                });
                let calls = calls.collect::<Compiled<Vec<_>>>()?;
                self.function_leaf("unnest", calls, *with_ordinality, alias.as_ref())
            }
            TableFactor::Derived { lateral, subquery, alias, sample: None } => {
                self.derived(*lateral, subquery, alias.as_ref())
            }
            TableFactor::NestedJoin { table_with_joins, alias: None } => self.joined(table_with_joins),
            _ => Err(Fault::NotOurs),
        }
    }

    fn relation(&mut self, name: &ast::ObjectName, alias: Option<&TableAlias>) -> Compiled<From> {
        let (namespace, relation) = crate::sql::names::relation_name(name)?;
        if namespace.is_none()
            && let Some(cte) = self.ctes.iter().rev().find(|cte| cte.name == relation).cloned()
        {
            for level in &mut self.levels {
                level.depends = true;
            }
            return self.leaf(relation, Source::Cte(cte.slot), cte.columns, alias);
        }
        match names::relation(self.context, namespace.as_deref(), &relation) {
            Some(Found::Ours(found)) => {
                self.reads_catalog = true;
                match found.view() {
                    Some(query) => self.view(found, query, alias),
                    None => {
                        let columns = found.columns.clone();
                        self.leaf(relation, Source::Table(found), columns, alias)
                    }
                }
            }
            Some(Found::Collection(collection)) if self.reach == Reach::Everything => {
                self.is_heavy = true;
                let columns = collection.schema.columns().iter().map(|column| Column {
                    typmod: column_typmod(&column.column_type),
                    table: collection.id.0,
                    number: i16::try_from(column.id.0).unwrap_or(i16::MAX),
                    ..Column::new(column.name.clone(), column_pg_type(&column.column_type))
                });
                let columns = columns.collect();
                let slot = self.new_slot();
                self.collections.push(collection.id);
                self.leaf(relation, Source::Collection(collection, slot), columns, alias)
            }
            Some(Found::Collection(_)) => Err(Fault::NotOurs),
            None => Err(crate::sql::names::no_relation(namespace.as_deref(), &relation).into()),
        }
    }

    /// A view stands for its query, whose columns get the view's names and types.
    fn view(&mut self, view: &'static Relation, text: &str, alias: Option<&TableAlias>) -> Compiled<From> {
        let parsed = Parser::new(&PostgreSqlDialect {}).try_with_sql(text);
        let query = parsed.and_then(|mut parser| parser.parse_query());
        let query = query.map_err(|error| SqlError::internal(format!("view {}: {error}", view.name)))?;
        // Names in a view mean what they meant where it was made.
        let ctes = std::mem::take(&mut self.ctes);
        let plan = self.hidden(|this| this.query(&query));
        self.ctes = ctes;
        let mut plan = plan?;
        for (at, column) in view.columns.iter().enumerate() {
            let Some(given) = plan.columns.get(at) else {
                return Err(SqlError::internal(format!("view {} is too narrow", view.name)).into());
            };
            let from = given.pg_type.clone();
            if from != column.pg_type {
                self.cast_column(&mut plan, at, &from, &column.pg_type)?;
            }
            plan.columns[at] = column.clone();
        }
        let columns = view.columns.clone();
        self.leaf(view.name.clone(), Source::Query { plan: Box::new(plan), lateral: false }, columns, alias)
    }

    fn cast_column(&mut self, plan: &mut QueryPlan, at: usize, from: &PgType, to: &PgType) -> Compiled<()> {
        let crate::pg_catalog::plan::Body::Select(select) = &mut plan.body else {
            return Err(SqlError::internal("a view is one SELECT").into());
        };
        let value = Typed::new(std::mem::replace(&mut select.items[at], Expr::null()), from.clone());
        select.items[at] = self.coerce(value, to, NO_TYPMOD, true)?.expr;
        Ok(())
    }

    fn hidden<T>(&mut self, compile: impl FnOnce(&mut Self) -> Compiled<T>) -> Compiled<T> {
        let was_hidden = std::mem::replace(&mut self.level().is_hidden, true);
        let compiled = compile(self);
        self.level().is_hidden = was_hidden;
        compiled
    }

    fn derived(&mut self, lateral: bool, query: &ast::Query, alias: Option<&TableAlias>) -> Compiled<From> {
        let mut plan = if lateral { self.query(query)? } else { self.hidden(|this| this.query(query))? };
        self.settle(&mut plan)?;
        let columns = plan.columns.clone();
        let name = alias.map_or(String::new(), |alias| fold(&alias.name));
        self.leaf(name, Source::Query { plan: Box::new(plan), lateral }, columns, alias)
    }

    fn table_function(
        &mut self,
        name: &ast::ObjectName,
        arguments: &[FunctionArg],
        ordinality: bool,
        alias: Option<&TableAlias>,
    ) -> Compiled<From> {
        let name = super::call::function_name(name)?;
        let mut values = Vec::new();
        for argument in arguments {
            let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument else {
                return Err(Fault::NotOurs);
            };
            values.push(self.expr(expr)?);
        }
        let call = self.call_named(&name, values)?;
        self.function_leaf(&name, vec![call], ordinality, alias)
    }

    fn function_leaf(
        &mut self,
        name: &str,
        calls: Vec<super::call::Called>,
        ordinality: bool,
        alias: Option<&TableAlias>,
    ) -> Compiled<From> {
        self.is_heavy = true;
        let mut columns = Vec::new();
        let mut sources = Vec::new();
        for call in calls {
            match call {
                super::call::Called::Scalar(value) => {
                    columns.push(Column::new(name, value.pg_type.clone()));
                    sources.push(SetOrScalar::Scalar(value.expr));
                }
                super::call::Called::Set(set, given) => {
                    sources.push(SetOrScalar::Set(set, given.len()));
                    columns.extend(given);
                }
            }
        }
        // A function that gives one column without a name of its own has the alias as that too.
        if let (Some(alias), [column]) = (alias, columns.as_mut_slice())
            && column.name == name
        {
            column.name = fold(&alias.name);
        }
        let is_scalar = columns.len() == 1 && !ordinality;
        if ordinality {
            columns.push(Column::new("ordinality", PgType::INT8));
        }
        let leaf =
            self.leaf(name.to_owned(), Source::Function { calls: sources, ordinality }, columns, alias)?;
        if let Some(visible) = self.level().relations.last_mut() {
            visible.is_scalar = is_scalar;
        }
        Ok(leaf)
    }

    fn leaf(
        &mut self,
        name: String,
        source: Source,
        columns: Vec<Column>,
        alias: Option<&TableAlias>,
    ) -> Compiled<From> {
        let name = alias.map_or(name, |alias| fold(&alias.name));
        let columns = match alias {
            Some(alias) => renamed(&columns, alias)?,
            None => columns,
        };
        let level = self.level();
        if !name.is_empty() && level.relations.iter().any(|it| it.name == name) {
            let message = format!("table name \"{name}\" specified more than once");
            return Err(SqlError::new(sqlstate::DUPLICATE_ALIAS, message).into());
        }
        let relation = level.relations.len();
        level.relations.push(Visible { name, columns, merged: BTreeSet::new(), is_scalar: false });
        Ok(From::Relation(Box::new(Leaf { relation, source, filters: Vec::new(), lookup: None })))
    }
}

/// Joins what stands between the commas, so that as much as possible is found by look-ups: next is
/// always what an equality binds to what is there already, or else what a condition restricts.
pub(super) fn in_good_order(mut items: Vec<From>, conditions: &[(Expr, BTreeSet<usize>)]) -> From {
    let keeps_order = items.iter().any(depends_on_others);
    let mut bound = BTreeSet::new();
    let mut joined: Option<From> = None;
    while !items.is_empty() {
        let mut best = 0;
        if !keeps_order {
            for at in 1..items.len() {
                if restriction(&items[at], &bound, conditions) > restriction(&items[best], &bound, conditions)
                {
                    best = at;
                }
            }
        }
        let next = items.remove(best);
        bound.extend(crate::pg_catalog::walk::relations_of(&next));
        joined = Some(match joined {
            None => next,
            Some(left) => join(left, next, JoinKind::Inner),
        });
    }
    joined.unwrap_or_else(nothing)
}

/// How well a relation is restricted once others are bound: 2 by an equality, 1 by something else.
fn restriction(item: &From, bound: &BTreeSet<usize>, conditions: &[(Expr, BTreeSet<usize>)]) -> u8 {
    let mut best = 0;
    for (condition, relations) in conditions {
        let own: BTreeSet<usize> = crate::pg_catalog::walk::relations_of(item).into_iter().collect();
        let decides = !relations.is_disjoint(&own)
            && relations.iter().all(|relation| own.contains(relation) || bound.contains(relation));
        if !decides {
            continue;
        }
        best = best.max(match condition {
            Expr::Operate(Operator::Compare(Comparison::Equal), left, right)
                if is_column_of(left, &own) != is_column_of(right, &own) =>
            {
                2
            }
            _ => 1,
        });
    }
    best
}

fn is_column_of(expr: &Expr, relations: &BTreeSet<usize>) -> bool {
    matches!(expr, Expr::Column { depth: 0, relation, .. } if relations.contains(relation))
}

/// Whether something in it reads the rows of what stands before it.
fn depends_on_others(from: &From) -> bool {
    match from {
        From::Nothing => false,
        From::Relation(leaf) => {
            matches!(leaf.source, Source::Query { lateral: true, .. } | Source::Function { .. })
        }
        From::Join { left, right, .. } => depends_on_others(left) || depends_on_others(right),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Inner,
    Left,
    Right,
    Full,
}

fn join(left: From, right: From, kind: JoinKind) -> From {
    let (left, right) = (Box::new(left), Box::new(right));
    From::Join { left, right, kind, on: Vec::new(), after: Vec::new() }
}

fn has_any(from: &From, relations: &BTreeSet<usize>) -> bool {
    match from {
        From::Nothing => false,
        From::Relation(leaf) => relations.contains(&leaf.relation),
        From::Join { left, right, .. } => has_any(left, relations) || has_any(right, relations),
    }
}

/// Puts a condition of WHERE as far inside as its relations allow; gives it back where it has none.
pub(super) fn place(from: &mut From, condition: Expr, relations: &BTreeSet<usize>) -> Option<Expr> {
    if !has_any(from, relations) {
        return Some(condition);
    }
    match from {
        From::Nothing => return Some(condition),
        From::Relation(leaf) => place_leaf(leaf, condition),
        From::Join { left, right, kind, on, after } => {
            let needs_right = has_any(right, relations);
            let rest = match kind {
                // The right side is walked with a row of the left one at hand.
                JoinKind::Inner if needs_right => place(right, condition, relations),
                JoinKind::Inner | JoinKind::Left if !needs_right => place(left, condition, relations),
                _ => {
                    after.push(condition);
                    None
                }
            };
            on.extend(rest);
        }
    }
    None
}

/// Puts a condition of a join: it says which rows of the right side go with one of the left.
fn place_on(from: &mut From, condition: Expr, relations: &BTreeSet<usize>) {
    let From::Join { right, kind, on, .. } = from else { return };
    if *kind == JoinKind::Inner {
        if let Some(rest) = place(from, condition, relations)
            && let From::Join { on, .. } = from
        {
            on.push(rest);
        }
        return;
    }
    let rest = match kind {
        JoinKind::Left if has_any(right, relations) => place(right, condition, relations),
        _ => Some(condition),
    };
    on.extend(rest);
}

fn place_leaf(leaf: &mut Leaf, condition: Expr) {
    if leaf.lookup.is_none()
        && let Expr::Operate(Operator::Compare(Comparison::Equal), left, right) = &condition
    {
        for (column, key) in [(left, right), (right, left)] {
            if let Expr::Column { depth: 0, relation, column } = column.as_ref()
                && *relation == leaf.relation
                && !names_directly(key, leaf.relation)
            {
                leaf.lookup = Some(Lookup { column: *column, key: key.as_ref().clone() });
                return;
            }
        }
    }
    leaf.filters.push(condition);
}
