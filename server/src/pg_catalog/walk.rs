//! FROM as a nested loop: each relation puts its row into the frame and goes on with the next.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::eval::{Frame, all_hold, eval};
use crate::pg_catalog::functions::SetRows;
use crate::pg_catalog::key::Key;
use crate::pg_catalog::plan::{Expr, From, JoinKind, Leaf, Lookup, Row, SetOrScalar, Source};
use crate::pg_catalog::run::{Rows, Run};
use crate::pgtype::datum::Datum;

/// The rows that have a value in a column.
pub(crate) type Index = Rc<HashMap<Key, Vec<usize>>>;

/// Rows by the values of a column.
pub(crate) fn index(rows: &[Row], column: usize) -> HashMap<Key, Vec<usize>> {
    let mut index: HashMap<Key, Vec<usize>> = HashMap::new();
    for (at, row) in rows.iter().enumerate() {
        if !row[column].is_null() {
            index.entry(Key::of(&row[column])).or_default().push(at);
        }
    }
    index
}

/// What a walk through FROM keeps for a relation whose rows do not change while it lasts.
#[derive(Debug)]
struct Kept {
    rows: Rows,
    index: Option<Index>,
}

#[derive(Debug)]
pub(crate) struct Walk<'r, 'a> {
    run: &'r Run<'a>,
    kept: RefCell<HashMap<usize, Kept>>,
}

type Visit<'v, 'f> = &'v mut dyn FnMut(&mut Frame<'f>) -> SqlResult<()>;

impl<'r, 'a> Walk<'r, 'a> {
    pub(crate) fn new(run: &'r Run<'a>) -> Walk<'r, 'a> {
        Walk { run, kept: RefCell::default() }
    }

    pub(crate) fn each<'f>(&self, from: &From, frame: &mut Frame<'f>, visit: Visit<'_, 'f>) -> SqlResult<()> {
        match from {
            From::Nothing => visit(frame),
            From::Relation(leaf) => self.leaf(leaf, frame, visit),
            From::Join { left, right, kind, on, after } => {
                let mut checked = |frame: &mut Frame<'f>| {
                    if all_hold(after, frame, self.run)? { visit(frame) } else { Ok(()) }
                };
                match kind {
                    JoinKind::Inner => self.each(left, frame, &mut |frame| {
                        self.each(right, frame, &mut |frame| {
                            if all_hold(on, frame, self.run)? { checked(frame) } else { Ok(()) }
                        })
                    }),
                    JoinKind::Left => self.each(left, frame, &mut |frame| {
                        let mut matched = false;
                        self.each(right, frame, &mut |frame| {
                            if all_hold(on, frame, self.run)? {
                                matched = true;
                                checked(frame)?;
                            }
                            Ok(())
                        })?;
                        clear(right, frame);
                        if matched { Ok(()) } else { checked(frame) }
                    }),
                    JoinKind::Full => self.full(left, right, on, frame, &mut checked),
                }
            }
        }
    }

    /// The right side is walked once beforehand, to know afterwards which of it had no match.
    fn full<'f>(
        &self,
        left: &From,
        right: &From,
        on: &[Expr],
        frame: &mut Frame<'f>,
        visit: Visit<'_, 'f>,
    ) -> SqlResult<()> {
        let mut rights: Vec<(Frame<'f>, bool)> = Vec::new();
        self.each(right, frame, &mut |frame| {
            rights.push((frame.clone(), false));
            Ok(())
        })?;
        clear(right, frame);
        let relations = relations_of(right);
        self.each(left, frame, &mut |frame| {
            let mut matched = false;
            for (other, was_matched) in &mut rights {
                for relation in &relations {
                    frame.rows[*relation] = other.rows[*relation].clone();
                }
                if all_hold(on, frame, self.run)? {
                    matched = true;
                    *was_matched = true;
                    visit(frame)?;
                }
            }
            clear(right, frame);
            if matched { Ok(()) } else { visit(frame) }
        })?;
        clear(left, frame);
        for (mut other, was_matched) in rights {
            if !was_matched {
                visit(&mut other)?;
            }
        }
        Ok(())
    }

    fn leaf<'f>(&self, leaf: &Leaf, frame: &mut Frame<'f>, visit: Visit<'_, 'f>) -> SqlResult<()> {
        let mut one = |row: &Row, frame: &mut Frame<'f>| {
            frame.rows[leaf.relation] = Some(Row::clone(row));
            if all_hold(&leaf.filters, frame, self.run)? { visit(frame) } else { Ok(()) }
        };
        let rows = self.source(leaf, frame)?;
        if let Some(lookup) = &leaf.lookup {
            let key = eval(&lookup.key, frame, self.run)?;
            if key.is_null() {
                return Ok(());
            }
            let index = self.index(leaf, lookup, &rows);
            for at in index.get(&Key::of(&key)).map_or(&[][..], Vec::as_slice) {
                one(&rows[*at], frame)?;
            }
            return Ok(());
        }
        rows.iter().try_for_each(|row| one(row, frame))
    }

    fn index(&self, leaf: &Leaf, lookup: &Lookup, rows: &Rows) -> Index {
        if let Source::Table(relation) = &leaf.source {
            return self.run.table_index(relation, lookup.column);
        }
        if let Source::Collection(_, slot) = &leaf.source {
            return self.run.collection_index(*slot, lookup.column, rows);
        }
        let made = || Rc::new(index(rows, lookup.column));
        match self.kept.borrow_mut().get_mut(&leaf.relation) {
            Some(kept) => Rc::clone(kept.index.get_or_insert_with(made)),
            None => made(),
        }
    }

    fn source(&self, leaf: &Leaf, frame: &Frame<'_>) -> SqlResult<Rows> {
        if let Some(kept) = self.kept.borrow().get(&leaf.relation) {
            return Ok(Rc::clone(&kept.rows));
        }
        let (rows, varies) = match &leaf.source {
            Source::Table(relation) => return Ok(self.run.table(relation)),
            Source::Collection(collection, slot) => {
                return self.run.collection(collection, *slot, leaf);
            }
            Source::Query { plan, lateral } => (self.run.rows(plan, Some(frame))?, *lateral),
            Source::Cte(slot) => {
                let ctes = self.run.ctes.borrow();
                let rows = ctes.get(slot).ok_or_else(|| SqlError::internal("a CTE was not run"))?;
                (Rc::clone(rows), false)
            }
            Source::Function { calls, ordinality } => {
                (Rc::new(self.functions(calls, *ordinality, frame)?), true)
            }
        };
        if !varies {
            let kept = Kept { rows: Rc::clone(&rows), index: None };
            self.kept.borrow_mut().insert(leaf.relation, kept);
        }
        Ok(rows)
    }

    /// Functions side by side; the shorter ones are filled with NULLs.
    fn functions(&self, calls: &[SetOrScalar], ordinality: bool, frame: &Frame<'_>) -> SqlResult<Vec<Row>> {
        let mut sets: Vec<(SetRows, usize)> = Vec::new();
        for call in calls {
            sets.push(match call {
                SetOrScalar::Scalar(expr) => (vec![vec![eval(expr, frame, self.run)?]], 1),
                SetOrScalar::Set(call, width) => (self.run.set(call, frame)?, *width),
            });
        }
        let longest = sets.iter().map(|(rows, _)| rows.len()).max().unwrap_or(0);
        self.run.count(longest)?;
        let row = |at: usize| {
            let mut row = Vec::new();
            for (rows, width) in &sets {
                match rows.get(at) {
                    Some(values) => row.extend(values.iter().cloned()),
                    None => row.extend(std::iter::repeat_n(Datum::Null, *width)),
                }
            }
            if ordinality {
                row.push(Datum::Int8(i64::try_from(at).map_or(i64::MAX, |at| at + 1)));
            }
            Row::from(row)
        };
        Ok((0..longest).map(row).collect())
    }
}

/// The relations of a part of FROM.
pub(crate) fn relations_of(from: &From) -> Vec<usize> {
    match from {
        From::Nothing => Vec::new(),
        From::Relation(leaf) => vec![leaf.relation],
        From::Join { left, right, .. } => {
            let mut relations = relations_of(left);
            relations.extend(relations_of(right));
            relations
        }
    }
}

fn clear(from: &From, frame: &mut Frame<'_>) {
    for relation in relations_of(from) {
        frame.rows[relation] = None;
    }
}
