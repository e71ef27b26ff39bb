//! Carrying a compiled query out.
//!
//! 1. FROM is walked as a nested loop: each relation puts its row into the frame and goes on with the
//!    next. Conditions stand at the innermost relation they need; an equality with a column of it
//!    becomes a look-up in a hash table that is made once.
//! 2. The frames that are left are grouped, numbered by window functions, and projected.
//! 3. The rows are made distinct, ordered and cut.
//!
//! What does not depend on the rows around it is computed once for the whole run.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use regex::Regex;
use tidemark_catalog::collection::Collection;

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::CatalogContext;
use crate::pg_catalog::eval::{Frame, all_hold, eval, eval_all};
use crate::pg_catalog::functions::SetRows;
use crate::pg_catalog::group;
use crate::pg_catalog::key::Key;
use crate::pg_catalog::plan::{Body, Cte, Leaf, QueryPlan, Row, Select, SetCall};
use crate::pg_catalog::relations::{self, Relation};
use crate::pg_catalog::sort;
use crate::pg_catalog::tables;
use crate::pg_catalog::walk::{Index, Walk, index};
use crate::pgtype::datum::Datum;
use crate::session::control::cancelled;
use crate::session::settings::Scope;
use crate::sqlstate;

/// A statement may make so many rows at most.
const ROWS_MAX: usize = 20_000_000;

/// Rows shared within a run.
pub(crate) type Rows = Rc<Vec<Row>>;

/// One run of a query.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) context: &'a CatalogContext,
    parameters: &'a [Datum],
    tables: RefCell<HashMap<u32, Rows>>,
    indexes: RefCell<HashMap<(u32, usize), Index>>,
    collection_indexes: RefCell<HashMap<(usize, usize), Index>>,
    memos: RefCell<HashMap<usize, Rows>>,
    pub(crate) ctes: RefCell<HashMap<usize, Rows>>,
    patterns: RefCell<HashMap<String, Rc<Regex>>>,
    row_count: RefCell<usize>,
    effects: RefCell<Vec<Effect>>,
}

/// What a statement does to its session, once it has succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// `set_config`
    SetParameter {
        /// The parameter.
        name: String,
        /// Its value, which was tried.
        value: String,
        /// For how long.
        scope: Scope,
    },
}

impl<'a> Run<'a> {
    pub(crate) fn new(context: &'a CatalogContext, parameters: &'a [Datum]) -> Run<'a> {
        Run {
            context,
            parameters,
            tables: RefCell::default(),
            indexes: RefCell::default(),
            collection_indexes: RefCell::default(),
            memos: RefCell::default(),
            ctes: RefCell::default(),
            patterns: RefCell::default(),
            row_count: RefCell::default(),
            effects: RefCell::default(),
        }
    }

    /// Notes what is to be done when the statement has succeeded.
    pub(crate) fn effect(&self, effect: Effect) {
        self.effects.borrow_mut().push(effect);
    }

    /// What is to be done, in order.
    pub(crate) fn into_effects(self) -> Vec<Effect> {
        self.effects.into_inner()
    }

    pub(crate) fn parameter(&self, at: usize) -> SqlResult<Datum> {
        self.parameters.get(at).cloned().ok_or_else(|| {
            SqlError::new(sqlstate::UNDEFINED_PARAMETER, format!("no value found for parameter {}", at + 1))
        })
    }

    /// A compiled pattern, kept for the run.
    pub(crate) fn pattern(
        &self,
        text: &str,
        compile: impl FnOnce() -> SqlResult<Regex>,
    ) -> SqlResult<Rc<Regex>> {
        if let Some(pattern) = self.patterns.borrow().get(text) {
            return Ok(Rc::clone(pattern));
        }
        let pattern = Rc::new(compile()?);
        self.patterns.borrow_mut().insert(text.to_owned(), Rc::clone(&pattern));
        Ok(pattern)
    }

    /// The rows of a query, without those columns that only order them.
    pub(crate) fn rows(&self, plan: &QueryPlan, outer: Option<&Frame<'_>>) -> SqlResult<Rows> {
        let Some(slot) = plan.memo else { return self.execute(plan, outer).map(Rc::new) };
        if let Some(rows) = self.memos.borrow().get(&slot) {
            return Ok(Rc::clone(rows));
        }
        let rows = Rc::new(self.execute(plan, outer)?);
        self.memos.borrow_mut().insert(slot, Rc::clone(&rows));
        Ok(rows)
    }

    fn execute(&self, plan: &QueryPlan, outer: Option<&Frame<'_>>) -> SqlResult<Vec<Row>> {
        for cte in &plan.ctes {
            self.fill_cte(cte, outer)?;
        }
        let frame = Frame::new(0, outer);
        let mut rows = match &plan.body {
            Body::Select(select) => self.select(select, outer)?,
            Body::Values(rows) => {
                let row = |items: &Vec<_>| eval_all(items, &frame, self).map(Row::from);
                rows.iter().map(row).collect::<SqlResult<_>>()?
            }
            Body::Set { operation, all, left, right } => {
                let left = self.rows(left, Some(&frame))?;
                let right = self.rows(right, Some(&frame))?;
                group::combine(*operation, *all, &left, &right)
            }
        };
        if let Body::Select(select) = &plan.body
            && let crate::pg_catalog::plan::Distinct::On(columns) = &select.distinct
        {
            sort::sort(&mut rows, &plan.order);
            rows = group::distinct_on(rows, columns);
        } else {
            sort::sort(&mut rows, &plan.order);
        }
        let count = |expr: &Option<_>| -> SqlResult<Option<usize>> {
            match expr.as_ref().map(|expr| eval(expr, &frame, self)).transpose()? {
                Some(Datum::Int8(count)) => Ok(Some(usize::try_from(count).map_err(|_| {
                    SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, "LIMIT must not be negative")
                })?)),
                _ => Ok(None),
            }
        };
        if let Some(offset) = count(&plan.offset)? {
            rows.drain(..offset.min(rows.len()));
        }
        if let Some(limit) = count(&plan.limit)? {
            rows.truncate(limit);
        }
        let width = plan.columns.len();
        if rows.first().is_some_and(|row| row.len() > width) {
            rows = rows.iter().map(|row| Row::from(&row[..width])).collect();
        }
        self.count(rows.len())?;
        Ok(rows)
    }

    pub(crate) fn count(&self, more: usize) -> SqlResult<()> {
        if self.context.cancel.is_cancelled() {
            return Err(cancelled());
        }
        let mut count = self.row_count.borrow_mut();
        *count += more;
        if *count > ROWS_MAX {
            let message = format!("a query of this form makes more than {ROWS_MAX} rows");
            return Err(SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
        }
        Ok(())
    }

    fn fill_cte(&self, cte: &Cte, outer: Option<&Frame<'_>>) -> SqlResult<()> {
        // The frame of the query that has the WITH, which has no relations of its own here.
        let frame = Frame::new(0, outer);
        let first = self.execute(&cte.first, Some(&frame))?;
        let Some(recursion) = &cte.recursive else {
            self.ctes.borrow_mut().insert(cte.slot, Rc::new(first));
            return Ok(());
        };
        let mut seen = std::collections::HashSet::new();
        let mut fresh = |rows: Vec<Row>| -> Vec<Row> {
            if recursion.keeps_duplicates {
                return rows;
            }
            rows.into_iter().filter(|row| seen.insert(Key::of_row(row))).collect()
        };
        let mut working = fresh(first);
        let mut all = working.clone();
        while !working.is_empty() {
            self.ctes.borrow_mut().insert(cte.slot, Rc::new(working));
            working = fresh(self.execute(&recursion.plan, Some(&frame))?);
            all.extend(working.iter().cloned());
        }
        self.ctes.borrow_mut().insert(cte.slot, Rc::new(all));
        Ok(())
    }

    /// The rows of a relation of the catalog.
    pub(crate) fn table(&self, relation: &'static Relation) -> Rows {
        if let Some(rows) = self.tables.borrow().get(&relation.oid) {
            return Rc::clone(rows);
        }
        let rows = Rc::new(relations::rows(relation, self));
        self.tables.borrow_mut().insert(relation.oid, Rc::clone(&rows));
        rows
    }

    /// The rows of a collection that a relation of FROM is, under its constant conditions.
    pub(crate) fn collection(&self, collection: &Collection, slot: usize, leaf: &Leaf) -> SqlResult<Rows> {
        if let Some(rows) = self.memos.borrow().get(&slot) {
            return Ok(Rc::clone(rows));
        }
        let tables = self.context.tables.as_ref();
        let tables = tables.ok_or_else(|| SqlError::internal("collections were not pinned"))?;
        let rows = Rc::new(tables.rows(collection, &tables::conditions(leaf, self)?)?);
        self.count(rows.len())?;
        self.memos.borrow_mut().insert(slot, Rc::clone(&rows));
        Ok(rows)
    }

    /// The rows of a collection by the values of a column.
    pub(crate) fn collection_index(&self, slot: usize, column: usize, rows: &Rows) -> Index {
        let mut indexes = self.collection_indexes.borrow_mut();
        Rc::clone(indexes.entry((slot, column)).or_insert_with(|| Rc::new(index(rows, column))))
    }

    pub(crate) fn table_index(&self, relation: &'static Relation, column: usize) -> Index {
        let key = (relation.oid, column);
        if let Some(index) = self.indexes.borrow().get(&key) {
            return Rc::clone(index);
        }
        let index = Rc::new(index(&self.table(relation), column));
        self.indexes.borrow_mut().insert(key, Rc::clone(&index));
        index
    }

    fn select(&self, select: &Select, outer: Option<&Frame<'_>>) -> SqlResult<Vec<Row>> {
        let mut frame = Frame::new(select.relation_count, outer);
        let walk = Walk::new(self);
        let mut frames: Vec<Frame<'_>> = Vec::new();
        let is_simple = select.grouping.is_none() && select.windows.is_empty();
        let mut rows = Vec::new();
        walk.each(&select.from, &mut frame, &mut |frame| {
            if !all_hold(&select.filters, frame, self)? {
                return Ok(());
            }
            self.count(1)?;
            if is_simple {
                self.project(select, frame, &mut rows)
            } else {
                frames.push(frame.clone());
                Ok(())
            }
        })?;
        if !is_simple {
            if let Some(grouping) = &select.grouping {
                frames = group::group(grouping, frames, select.relation_count, outer, self)?;
            }
            group::number(&select.windows, &mut frames, self)?;
            for frame in &mut frames {
                self.project(select, frame, &mut rows)?;
            }
        }
        if let crate::pg_catalog::plan::Distinct::Rows(width) = select.distinct {
            group::distinct(&mut rows, width);
        }
        Ok(rows)
    }

    fn project(&self, select: &Select, frame: &mut Frame<'_>, rows: &mut Vec<Row>) -> SqlResult<()> {
        if select.sets.is_empty() {
            rows.push(Row::from(eval_all(&select.items, frame, self)?));
            return Ok(());
        }
        let sets: Vec<SetRows> =
            select.sets.iter().map(|call| self.set(call, frame)).collect::<SqlResult<_>>()?;
        let longest = sets.iter().map(Vec::len).max().unwrap_or(0);
        for at in 0..longest {
            frame.sets = sets
                .iter()
                .map(|rows| match rows.get(at).map(Vec::as_slice) {
                    None => Datum::Null,
                    Some([value]) => value.clone(),
                    Some(fields) => record(fields),
                })
                .collect();
            rows.push(Row::from(eval_all(&select.items, frame, self)?));
        }
        frame.sets.clear();
        self.count(longest)
    }

    pub(crate) fn set(&self, call: &SetCall, frame: &Frame<'_>) -> SqlResult<SetRows> {
        let values = eval_all(&call.arguments, frame, self)?;
        call.function.rows(self, &values)
    }
}

/// The fields of a record without names; their types are only of use to who writes it as text.
fn record(fields: &[Datum]) -> Datum {
    let field = |value: &Datum| {
        let pg_type = match value {
            Datum::Int2(_) => crate::pgtype::PgType::INT2,
            Datum::Int4(_) => crate::pgtype::PgType::INT4,
            Datum::Int8(_) => crate::pgtype::PgType::INT8,
            Datum::Oid(_) => crate::pgtype::PgType::OID,
            Datum::Bool(_) => crate::pgtype::PgType::BOOL,
            Datum::Char(_) => crate::pgtype::PgType::CHAR,
            _ => crate::pgtype::PgType::TEXT,
        };
        (pg_type, value.clone())
    };
    Datum::Record(fields.iter().map(field).collect())
}
