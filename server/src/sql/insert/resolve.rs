//! What an INSERT … ON CONFLICT writes, when it is known what is there.
//!
//! 1. The engine looks for rows with the keys of the statement's rows.
//! 2. DO NOTHING leaves out rows whose key is there, or came before in the statement. DO UPDATE makes of
//!    such a row what is there with some columns changed, if its condition holds; a key that the statement
//!    has written already is an error.
//! 3. What is left is written as any rows are, and replaces what is there; unless others wrote the same keys
//!    meanwhile, which the engine finds out when the rows get their place in the log.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt32Array, new_null_array};
use arrow::compute::{interleave, take};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use tidemark_catalog::ids::{ColumnId, Lsn};
use tidemark_engine::batch::WriteBatch;
use tidemark_engine::engine::{Engine, Watch};
use tidemark_engine::read::by_key::{Existing, OwnRows, has_repeated_keys};

use crate::error::{SqlError, SqlResult};
use crate::pgtype::settings::FormatSettings;
use crate::plan::errors::read;
use crate::plan::row_expressions::BoundExpressions;
use crate::session::field::Fields;
use crate::sql::insert::assigned_arrays;
use crate::sql::rows::Target;
use crate::sql::rows::batches::rows_of;
use crate::sql::rows::errors::{overtaken, write_error};
use crate::sqlstate;

/// What is done with rows whose key is there.
#[derive(Clone, Debug)]
pub enum Action {
    /// They are left out.
    Nothing,
    /// What is there is changed.
    Update(Arc<UpdateRows>),
}

impl Action {
    /// Whether what is written depends on what is there.
    pub fn depends_on_what_is_there(&self) -> bool {
        !matches!(self, Action::Update(update) if update.replaces)
    }
}

/// How rows are changed.
#[derive(Debug)]
pub struct UpdateRows {
    /// The columns that get values.
    pub set: Target,
    /// The values, and the condition after them where there is one; over what is there and what was to be
    /// inserted.
    pub expressions: BoundExpressions,
    /// What they give.
    pub fields: Fields,
    /// Whether there is a condition.
    pub has_condition: bool,
    /// Whether the new row has nothing of the old one: nobody needs to look for that.
    pub replaces: bool,
}

/// What a statement writes.
#[derive(Debug)]
pub struct Resolved {
    /// The rows, in the order of the statement.
    pub batch: Option<WriteBatch>,
    /// What must hold when they are committed.
    pub watch: Option<Arc<Watch>>,
    /// The statement saw all that has a place in the log up to here.
    pub seen: Option<Lsn>,
}

/// Rows of a statement.
#[derive(Debug)]
pub struct Proposed<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// Where they go.
    pub target: &'a Target,
    /// The rows.
    pub batch: &'a WriteBatch,
    /// What the transaction wrote before.
    pub own: Option<&'a OwnRows>,
    /// What values mean.
    pub format: &'a FormatSettings,
}

/// Where a row that is written comes from.
enum Source {
    /// It is inserted: its number in the statement.
    Inserted(usize),
    /// What was there, changed: its number among those, and in the statement.
    Updated(usize, usize),
}

/// Finds out what is written. Blocks.
///
/// # Errors
/// As PostgreSQL says them.
pub fn resolve(proposed: &Proposed<'_>, action: &Action) -> SqlResult<Resolved> {
    let collection = &proposed.target.collection;
    // What is there is read in the form that the collection has then.
    proposed.engine.limit_symbols(collection.id).map_err(|error| write_error(&error))?;
    let update = match action {
        Action::Update(_) if !action.depends_on_what_is_there() => {
            let repeated = has_repeated_keys(collection, proposed.batch).map_err(|error| read(&error))?;
            if repeated {
                return Err(second_time());
            }
            return Ok(Resolved { batch: Some(proposed.batch.clone()), watch: None, seen: None });
        }
        Action::Update(update) => Some(update),
        Action::Nothing => None,
    };
    let wanted: Vec<ColumnId> = match update {
        Some(_) => collection.schema.columns().iter().map(|column| column.id).collect(),
        None => Vec::new(),
    };
    let existing = proposed.engine.existing(collection.id, proposed.batch, proposed.own, &wanted);
    let existing = existing.map_err(|error| read(&error))?;
    if !existing.collection().schema.is_like(&collection.schema) {
        return Err(overtaken());
    }
    let fitted = proposed.engine.fitted(collection.id, vec![proposed.batch.clone()]);
    let fitted = fitted.map_err(|error| write_error(&error))?;
    let proposed = &Proposed { batch: &fitted[0], ..*proposed };
    let batch = match update {
        None => not_there(proposed, &existing)?,
        Some(update) => changed(proposed, &existing, update)?,
    };
    let watch = batch.as_ref().map(|batch| existing.watch(batch).map(Arc::new)).transpose();
    Ok(Resolved { watch: watch.map_err(|error| read(&error))?, batch, seen: Some(existing.lsn()) })
}

/// DO NOTHING.
fn not_there(proposed: &Proposed<'_>, existing: &Existing) -> SqlResult<Option<WriteBatch>> {
    let batch = proposed.batch;
    let is_new = |row: &usize| existing.place(*row).is_none() && existing.first(*row) == *row;
    let rows: Vec<usize> = (0..batch.row_count()).filter(is_new).collect();
    if rows.is_empty() {
        return Ok(None);
    }
    if rows.len() == batch.row_count() {
        return Ok(Some(batch.clone()));
    }
    let rows = numbers(rows);
    let columns = batch.columns().iter().map(|(id, array)| Ok((*id, take(array, &rows, None)?)));
    let columns = columns.collect::<Result<Vec<_>, ArrowError>>().map_err(SqlError::internal)?;
    let batch = WriteBatch::new(&proposed.target.collection, columns);
    batch.map(Some).map_err(|error| write_error(&error))
}

/// DO UPDATE.
fn changed(
    proposed: &Proposed<'_>,
    existing: &Existing,
    update: &UpdateRows,
) -> SqlResult<Option<WriteBatch>> {
    let batch = proposed.batch;
    let holds = condition(batch, existing, update)?;
    let mut is_written = vec![false; batch.row_count()];
    let mut written = Vec::with_capacity(batch.row_count());
    let mut updated: Vec<(usize, usize)> = Vec::new();
    for (row, holds) in holds.into_iter().enumerate() {
        let first = existing.first(row);
        if is_written[first] {
            return Err(second_time());
        }
        match existing.place(row) {
            None => written.push(Source::Inserted(row)),
            Some(place) if holds => {
                written.push(Source::Updated(updated.len(), row));
                updated.push((row, place));
            }
            Some(_) => continue,
        }
        is_written[first] = true;
    }
    if written.is_empty() {
        return Ok(None);
    }
    if updated.is_empty() {
        return Ok(Some(batch.clone()));
    }
    let there = taken(existing.columns(), updated.iter().map(|(_, place)| *place))?;
    let excluded = taken(batch.columns(), updated.iter().map(|(row, _)| *row))?;
    let values = 0..update.set.columns.len();
    let values = update.expressions.evaluate_some(values, &[&there, &excluded], updated.len())?;
    let set = assigned_arrays(proposed.engine, &update.set, &values, &update.fields, proposed.format)?;
    merged(proposed, &written, &there, &set).map(Some)
}

/// For each row whether the condition holds, if there is one and something is there under its key.
fn condition(batch: &WriteBatch, existing: &Existing, update: &UpdateRows) -> SqlResult<Vec<bool>> {
    let mut holds = vec![true; batch.row_count()];
    if !update.has_condition {
        return Ok(holds);
    }
    let rows = (0..batch.row_count()).filter_map(|row| Some((row, existing.place(row)?)));
    let rows: Vec<(usize, usize)> = rows.collect();
    if rows.is_empty() {
        return Ok(holds);
    }
    let there = taken(existing.columns(), rows.iter().map(|(_, place)| *place))?;
    let excluded = taken(batch.columns(), rows.iter().map(|(row, _)| *row))?;
    let found = update.expressions.evaluate_last_condition(&[&there, &excluded], rows.len())?;
    for (at, (row, _)) in rows.into_iter().enumerate() {
        holds[row] = found.is_valid(at) && found.value(at);
    }
    Ok(holds)
}

/// The rows that are written, in the order of the statement. What is set is set in those that were
/// there; keys are those of the statement, which are equal.
fn merged(
    proposed: &Proposed<'_>,
    written: &[Source],
    there: &[(ColumnId, ArrayRef)],
    set: &[(ColumnId, ArrayRef)],
) -> SqlResult<WriteBatch> {
    let collection = &proposed.target.collection;
    let key = &collection.timeseries().dedup_key;
    let find = |columns: &[(ColumnId, ArrayRef)], id| {
        columns.iter().find(|(column, _)| *column == id).map(|(_, array)| Arc::clone(array))
    };
    let columns = collection.schema.columns().iter().map(|column| {
        let given = find(proposed.batch.columns(), column.id);
        let old = find(set, column.id).or_else(|| find(there, column.id));
        let old = old.ok_or_else(|| SqlError::internal("a column of what is there is missing"))?;
        let given = given.unwrap_or_else(|| nulls(old.data_type(), proposed.batch.row_count()));
        let is_key = key.contains(&column.id);
        let places = written.iter().map(|source| match source {
            Source::Updated(at, _) if !is_key => (1, *at),
            Source::Inserted(row) | Source::Updated(_, row) => (0, *row),
        });
        let array = interleave(&[given.as_ref(), old.as_ref()], &places.collect::<Vec<_>>());
        Ok((column.id, array.map_err(SqlError::internal)?))
    });
    let columns = columns.collect::<SqlResult<Vec<_>>>()?;
    let all = Target::new(Arc::clone(collection), &[])?;
    rows_of(proposed.engine, &all, columns, proposed.format)
}

fn nulls(data_type: &DataType, count: usize) -> ArrayRef {
    new_null_array(data_type, count)
}

fn taken(
    columns: &[(ColumnId, ArrayRef)],
    rows: impl Iterator<Item = usize>,
) -> SqlResult<Vec<(ColumnId, ArrayRef)>> {
    let rows = numbers(rows);
    let columns = columns.iter().map(|(id, array)| Ok((*id, take(array, &rows, None)?)));
    columns.collect::<Result<_, ArrowError>>().map_err(SqlError::internal)
}

fn numbers(rows: impl IntoIterator<Item = usize>) -> UInt32Array {
    let number = |row| u32::try_from(row).expect("a statement is bounded in bytes");
    rows.into_iter().map(number).collect()
}

fn second_time() -> SqlError {
    let message = "ON CONFLICT DO UPDATE command cannot affect row a second time";
    SqlError::new(sqlstate::CARDINALITY_VIOLATION, message).with_hint(
        "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
    )
}
