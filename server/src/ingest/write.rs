//! From the rows of a request to a commit.
//!
//! 1. Every row is read and checked. Rows that are not right refuse the request, or are left out.
//! 2. What is missing is made, and the rows are read again: against the catalog as it is then,
//!    whoever else has changed it meanwhile.
//! 3. Where nothing is missing the rows become one batch for each collection. [`super::ingest`]
//!    commits them together.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int32Array, StringViewArray, TimestampMicrosecondArray,
    TimestampNanosecondArray,
};
use arrow::compute::filter;
use arrow::datatypes::Int32Type;
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::ColumnId;
use tidemark_catalog::types::{ColumnType, TimeUnit};
use tidemark_engine::batch::WriteBatch;
use tidemark_engine::engine::{Engine, Write};
use tidemark_engine::memtable::dictionaries::SymbolDictionaries;
use tidemark_engine::types::UTC;

use crate::error::SqlError;
use crate::ingest::make::{Missing, make, missing};
use crate::ingest::rows::{Gatherer, NewSeries, Reading, RowSeries};
use crate::ingest::series::{Series, SeriesCache, Tag};
use crate::ingest::table::Table;
use crate::ingest::{OnBadRow, Options, Refused, Rejected, Source};
use crate::sql::rows::errors::write_error;
use crate::sqlstate;

/// How often what is missing is made for a request: others may drop it again.
const ATTEMPTS_MAX: usize = 5;

/// Rows that are ready to be committed.
#[derive(Debug)]
pub(super) struct Ready {
    /// The rows.
    pub(super) writes: Vec<Write>,
    /// How many.
    pub(super) row_count: usize,
    /// Those that are not among them.
    pub(super) rejected: Rejected,
}

/// Reads a request and makes what is missing. It blocks while the catalog is written.
///
/// # Errors
/// Nothing of the request is to be written.
pub(super) fn prepare(
    engine: &Engine,
    cache: &SeriesCache,
    options: &Options,
    source: &impl Source,
) -> Result<Ready, Refused> {
    for _ in 0..ATTEMPTS_MAX {
        match attempt(engine, cache, options, source)? {
            Attempt::Ready(ready) => return Ok(ready),
            Attempt::Missing(all) => {
                for missing in all {
                    make(engine, missing)?;
                }
            }
        }
    }
    let message = "the collections of the request are changed all the time";
    Err(SqlError::new(sqlstate::SERIALIZATION_FAILURE, message).into())
}

enum Attempt {
    Ready(Ready),
    Missing(Vec<Missing>),
}

fn attempt(
    engine: &Engine,
    cache: &SeriesCache,
    options: &Options,
    source: &impl Source,
) -> Result<Attempt, Refused> {
    // In this order: what is found by names that change afterwards is not remembered.
    let known = cache.read();
    let generation = known.generation();
    let view = engine.view();
    let (may_make, time_unit) = (options.may_make, options.time_unit);
    let mut rows = Gatherer::new(Reading { view: &view, known: &known, may_make, time_unit });
    source.gather(&mut rows)?;
    let Gatherer { tables, new_series, row_count, rejected, .. } = rows;
    if rejected.count > 0 && options.on_bad_row == OnBadRow::RefuseAll {
        return Err(Refused::Rows(rejected));
    }
    let all_missing: Vec<Missing> = tables.iter().filter_map(missing).collect();
    if !all_missing.is_empty() {
        return Ok(Attempt::Missing(all_missing));
    }
    let resolved = new_series
        .iter()
        .map(|series| resolve(engine, &tables[series.table], series))
        .collect::<Result<Vec<Arc<Series>>, SqlError>>()?;
    let tables = tables.into_iter().filter(|table| table.row_count() > 0);
    let writes = tables.map(|table| to_write(engine, table, &resolved));
    let writes = writes.collect::<Result<Vec<Write>, SqlError>>()?;
    drop(known);
    let keys = new_series.iter().map(|series| Box::from(series.key.as_ref()));
    cache.remember(generation, keys.zip(resolved));
    Ok(Attempt::Ready(Ready { writes, row_count, rejected }))
}

/// A new series as it is remembered.
fn resolve(engine: &Engine, table: &Table<'_, '_>, new: &NewSeries<'_>) -> Result<Arc<Series>, SqlError> {
    let collection = table.collection.as_ref().expect("nothing is missing");
    let symbols = engine.symbols(collection.id).map_err(|error| write_error(&error))?;
    let mut tags = Vec::with_capacity(new.tags.len());
    for (name, value) in &new.tags {
        let column = collection.schema.column_by_name(name).expect("nothing is missing");
        let tag = match symbols.get(column.id) {
            Some(dictionary) => Tag::Symbol(dictionary.intern(value).map_err(|error| write_error(&error))?),
            None => Tag::Text(Box::from(value.as_str())),
        };
        tags.push((column.id, tag));
    }
    tags.sort_by_key(|(id, _)| *id);
    Ok(Arc::new(Series { collection: collection.id, schema: collection.schema.version(), tags: tags.into() }))
}

fn to_write(engine: &Engine, table: Table<'_, '_>, new: &[Arc<Series>]) -> Result<Write, SqlError> {
    let collection = table.collection.as_ref().expect("nothing is missing");
    let symbols = engine.symbols(collection.id).map_err(|error| write_error(&error))?;
    let row_count = table.series.len();
    let kept = kept_rows(&table);
    let rows: Vec<&Series> = table.series.iter().filter_map(|series| series_of(series, new)).collect();
    let mut columns = tag_columns(&rows, &symbols);
    let times = match &kept {
        None => table.times,
        Some(kept) => {
            let is_kept = |(at, time): (usize, i64)| kept.value(at).then_some(time);
            table.times.into_iter().enumerate().filter_map(is_kept).collect()
        }
    };
    columns.insert(collection.timeseries().time_key, time_array(collection, times));
    for field in table.fields {
        let field_name = field.name.clone();
        let column = collection.schema.column_by_name(&field_name).expect("nothing is missing").id;
        let mut array = field.finish(row_count, column, &symbols).map_err(|error| write_error(&error))?;
        if let Some(kept) = &kept {
            array = filter(&array, kept).map_err(SqlError::internal)?;
        }
        if let Some(tags) = columns.remove(&column) {
            let tags = symbols.alike(column, &tags, &array);
            array = either(&field_name, &tags, &symbols.alike(column, &array, &tags))?;
        }
        columns.insert(column, array);
    }
    let batch = WriteBatch::new(collection, columns.into_iter().collect());
    Ok(Write::new(collection.id, batch.map_err(|error| write_error(&error))?))
}

fn series_of<'a>(series: &RowSeries<'a>, new: &'a [Arc<Series>]) -> Option<&'a Series> {
    match series {
        RowSeries::Known(series) => Some(series),
        RowSeries::New(number) => Some(&new[*number]),
        RowSeries::Rejected => None,
    }
}

/// Which rows are to be written, unless it is all of them.
fn kept_rows(table: &Table<'_, '_>) -> Option<BooleanArray> {
    if table.rejected.is_empty() {
        return None;
    }
    let is_kept = |series: &RowSeries<'_>| Some(!matches!(series, RowSeries::Rejected));
    Some(table.series.iter().map(is_kept).collect())
}

/// The values of a column that some rows have as a tag and others as a field.
fn either(name: &str, tags: &ArrayRef, fields: &ArrayRef) -> Result<ArrayRef, SqlError> {
    if (0..tags.len()).any(|row| tags.is_valid(row) && fields.is_valid(row)) {
        let message = format!("\"{name}\" is a tag and a field of one row");
        return Err(SqlError::new(sqlstate::DUPLICATE_COLUMN, message));
    }
    Ok(match (tags.as_primitive_opt::<Int32Type>(), fields.as_primitive_opt::<Int32Type>()) {
        (Some(tags), Some(fields)) => {
            Arc::new(tags.iter().zip(fields).map(|(tag, field)| tag.or(field)).collect::<Int32Array>())
        }
        _ => {
            let pairs = tags.as_string_view().iter().zip(fields.as_string_view());
            Arc::new(pairs.map(|(tag, field)| tag.or(field)).collect::<StringViewArray>())
        }
    })
}

fn time_array(collection: &Collection, times: Vec<i64>) -> ArrayRef {
    match &collection.time_column().column_type {
        ColumnType::Timestamp(TimeUnit::Microsecond) => Arc::new(TimestampMicrosecondArray::from(times)),
        ColumnType::Timestamp(TimeUnit::Nanosecond) => Arc::new(TimestampNanosecondArray::from(times)),
        ColumnType::Timestamptz(TimeUnit::Microsecond) => {
            Arc::new(TimestampMicrosecondArray::from(times).with_timezone(UTC))
        }
        _ => Arc::new(TimestampNanosecondArray::from(times).with_timezone(UTC)),
    }
}

/// The tags of all rows, column by column. A column that became one of text a moment ago may have numbers
/// and texts; then all of them are texts.
fn tag_columns(rows: &[&Series], symbols: &SymbolDictionaries) -> BTreeMap<ColumnId, ArrayRef> {
    let mut found: BTreeMap<ColumnId, bool> = BTreeMap::new();
    for (id, tag) in rows.iter().flat_map(|series| series.tags.iter()) {
        *found.entry(*id).or_insert(true) &= matches!(tag, Tag::Symbol(_));
    }
    let width = found.len();
    let columns = found.into_iter().enumerate().map(|(at, (id, is_symbol))| {
        let array: ArrayRef = if is_symbol {
            let number = |series: &&Series| match tag_at(series, at, width, id) {
                Some(Tag::Symbol(number)) => Some(*number),
                _ => None,
            };
            Arc::new(rows.iter().map(number).collect::<Int32Array>())
        } else {
            let text = |series: &&Series| match tag_at(series, at, width, id)? {
                Tag::Text(text) => Some(text.clone()),
                Tag::Symbol(number) => Some(symbols.of_numbers(id)?.text(*number).into()),
            };
            Arc::new(rows.iter().map(text).collect::<StringViewArray>())
        };
        (id, array)
    });
    columns.collect()
}

/// The value of a tag. A series that has all tags has each at the place of its column.
fn tag_at(series: &Series, at: usize, width: usize, id: ColumnId) -> Option<&Tag> {
    let tags = &series.tags;
    if tags.len() == width {
        return Some(&tags[at].1);
    }
    tags.iter().find(|(other, _)| *other == id).map(|(_, tag)| tag)
}
