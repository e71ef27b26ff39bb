//! From the rows of a request to a commit.
//!
//! 1. Every line is read; a bad one refuses the request.
//! 2. Collections and columns that are missing are made. They stay if a later step fails: an empty
//!    column says nothing that is not true.
//! 3. The rows of all measurements become one commit: all are durable and visible, or none is there.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int32Array, StringViewArray, TimestampMicrosecondArray, TimestampNanosecondArray,
};
use tidemark_catalog::collection::{CalendarInterval, Collection, IntervalUnit, TimeseriesOptions};
use tidemark_catalog::error::EditError;
use tidemark_catalog::ids::{BOOTSTRAP_ROLE, ColumnId, NAMESPACE_PUBLIC};
use tidemark_catalog::schema::{IDENTIFIER_BYTES_MAX, NewColumn, Nullability};
use tidemark_catalog::types::{ColumnType, TimeUnit};
use tidemark_engine::batch::WriteBatch;
use tidemark_engine::engine::{Engine, NewTimeseries, Write};
use tidemark_engine::error::DdlError;
use tidemark_engine::types::UTC;

use crate::error::SqlError;
use crate::lineprotocol::request::{NewSeries, Reading, Request, RowSeries, Table, read};
use crate::lineprotocol::series::{Series, SeriesCache, Tag};
use crate::lineprotocol::{LineError, Precision};
use crate::sql::rows::write_error;

/// The time column of a collection that line protocol makes.
const TIME_COLUMN: &str = "time";

/// Why a request is refused.
#[derive(Debug)]
pub enum Refused {
    /// A line is not right.
    Line(LineError),
    /// The server cannot write it now, or the rows do not fit their collection.
    Sql(SqlError),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refused::Line(error) => error.fmt(f),
            Refused::Sql(error) => error.fmt(f),
        }
    }
}

impl From<LineError> for Refused {
    fn from(error: LineError) -> Refused {
        Refused::Line(error)
    }
}

impl From<SqlError> for Refused {
    fn from(error: SqlError) -> Refused {
        Refused::Sql(error)
    }
}

/// Rows that are ready to be committed.
#[derive(Debug)]
pub struct Ready {
    /// The rows.
    pub writes: Vec<Write>,
    /// How many.
    pub row_count: usize,
}

/// Reads a request and makes what is missing. It blocks while the catalog is written.
///
/// # Errors
/// A line is not right, or a collection cannot have its columns.
pub fn prepare(
    engine: &Engine,
    cache: &SeriesCache,
    body: &[u8],
    precision: Precision,
    now_ns: i64,
) -> Result<Ready, Refused> {
    let view = engine.view();
    let known = cache.read();
    let reading = Reading { view: &view, known: &known, precision, now_ns };
    let request = read(body, reading)?;
    let Request { mut tables, new_series, row_count } = request;
    for (at, table) in tables.iter_mut().enumerate() {
        let own: Vec<&NewSeries<'_>> = new_series.iter().filter(|series| series.table == at).collect();
        make_missing(engine, table, &own)?;
    }
    let resolved = new_series
        .iter()
        .map(|series| resolve(engine, &tables[series.table], series))
        .collect::<Result<Vec<Arc<Series>>, Refused>>()?;
    let writes = tables.into_iter().map(|table| to_write(engine, table, &resolved));
    let writes = writes.collect::<Result<Vec<Write>, Refused>>()?;
    drop(known);
    cache.remember(new_series.iter().map(|series| Box::from(series.written)).zip(resolved));
    Ok(Ready { writes, row_count })
}

fn column(name: &str, column_type: ColumnType) -> NewColumn {
    NewColumn::new(name, column_type, Nullability::Nullable)
}

/// Makes the collection or the columns that a measurement needs.
fn make_missing(engine: &Engine, table: &mut Table<'_, '_>, new: &[&NewSeries<'_>]) -> Result<(), Refused> {
    let mut columns: Vec<NewColumn> = Vec::new();
    let known = table.collection.clone();
    let exists = |name: &str| known.as_ref().is_some_and(|it| it.schema.column_by_name(name).is_some());
    for series in new {
        for (name, _) in &series.tags {
            check_tag(table, name).map_err(|reason| LineError::new(series.line, reason))?;
            if !exists(name) && columns.iter().all(|column| column.name != *name) {
                columns.push(column(name, ColumnType::Symbol));
            }
        }
    }
    let tag_count = columns.len();
    for field in &table.fields {
        if let Some(tag) = columns[..tag_count].iter().find(|column| column.name == field.name) {
            let reason = format!("\"{}\" is both a tag and a field", tag.name);
            return Err(Refused::Sql(SqlError::new(crate::sqlstate::DUPLICATE_COLUMN, reason)));
        }
        if !exists(&field.name) {
            columns.push(column(&field.name, field.column_type.clone()));
        }
    }
    for name in columns.iter().map(|column| &column.name).chain([&table.name]) {
        if name.len() > IDENTIFIER_BYTES_MAX {
            let reason = format!("name \"{name}\" is longer than {IDENTIFIER_BYTES_MAX} bytes");
            return Err(Refused::Sql(SqlError::new(crate::sqlstate::NAME_TOO_LONG, reason)));
        }
    }
    let made = match &known {
        Some(_) if columns.is_empty() => return Ok(()),
        Some(collection) => engine.add_columns(collection.id, columns),
        None => create(engine, &table.name, columns, tag_count),
    };
    table.collection = Some(made.map_err(|error| Refused::Sql(ddl_error(&error)))?);
    // Somebody else may have made the same column of another type in between.
    for field in &table.fields {
        let found = table.collection.as_ref().and_then(|it| it.schema.column_by_name(&field.name));
        if found.is_none_or(|found| found.column_type != field.column_type) {
            let reason = format!("column \"{}\" was made with another type meanwhile", field.name);
            return Err(Refused::Sql(SqlError::new(crate::sqlstate::DATATYPE_MISMATCH, reason)));
        }
    }
    Ok(())
}

fn check_tag(table: &Table<'_, '_>, name: &str) -> Result<(), String> {
    let time_key = table.collection.as_ref().map_or(TIME_COLUMN, |it| &it.time_column().name);
    if name == time_key {
        return Err(format!("\"{name}\" is the time, not a tag"));
    }
    let column = table.collection.as_ref().and_then(|it| it.schema.column_by_name(name));
    match column.map(|column| &column.column_type) {
        None | Some(ColumnType::Symbol | ColumnType::Text | ColumnType::Varchar(None)) => Ok(()),
        Some(other) => {
            Err(format!("tag \"{name}\" is of type text but column \"{name}\" is of type {other}"))
        }
    }
}

/// A collection for a measurement: the time first, then tags, then fields; its series are told apart
/// by all of its tags.
fn create(
    engine: &Engine,
    name: &str,
    columns: Vec<NewColumn>,
    tag_count: usize,
) -> Result<Arc<Collection>, DdlError> {
    let time =
        NewColumn::new(TIME_COLUMN, ColumnType::Timestamptz(TimeUnit::Nanosecond), Nullability::Required);
    let tags = u32::try_from(tag_count).expect("a line has few tags");
    let all: Vec<NewColumn> = std::iter::once(time).chain(columns.iter().cloned()).collect();
    let new = NewTimeseries {
        namespace: NAMESPACE_PUBLIC,
        name: name.to_owned(),
        owner: BOOTSTRAP_ROLE,
        columns: all,
        options: TimeseriesOptions {
            series_key: (0..tags).map(|tag| ColumnId(tag + 2)).collect(),
            ..TimeseriesOptions::new(
                ColumnId(1),
                CalendarInterval { count: NonZeroU32::MIN, unit: IntervalUnit::Day },
            )
        },
    };
    match engine.create_collection(new) {
        // Another request made it in between; it may lack some columns.
        Err(DdlError::Edit(EditError::CollectionExists(_))) => {
            let view = engine.view();
            let found = view.collection_by_name(NAMESPACE_PUBLIC, name);
            let id = found.map(|found| found.collection.id);
            let id = id.ok_or_else(|| DdlError::Edit(EditError::CollectionExists(name.to_owned())))?;
            engine.add_columns(id, columns)
        }
        other => other,
    }
}

fn ddl_error(error: &DdlError) -> SqlError {
    let state = match error {
        DdlError::Schema(tidemark_catalog::error::SchemaError::DuplicateColumn(_)) => {
            crate::sqlstate::DATATYPE_MISMATCH
        }
        DdlError::Schema(_) => crate::sqlstate::TOO_MANY_COLUMNS,
        DdlError::Edit(EditError::NoCollection(_)) => crate::sqlstate::UNDEFINED_TABLE,
        DdlError::Edit(_) => crate::sqlstate::IO_ERROR,
    };
    SqlError::new(state, error.to_string())
}

/// A new series as it is remembered.
fn resolve(engine: &Engine, table: &Table<'_, '_>, new: &NewSeries<'_>) -> Result<Arc<Series>, Refused> {
    let collection = table.collection.as_ref().expect("it was made");
    let symbols = engine.symbols(collection.id).map_err(|error| write_error(&error))?;
    let mut tags = Vec::with_capacity(new.tags.len());
    for (name, value) in &new.tags {
        let column = collection.schema.column_by_name(name).expect("it was made");
        let tag = match symbols.get(column.id) {
            Some(dictionary) => Tag::Symbol(dictionary.intern(value).map_err(|error| write_error(&error))?),
            None => Tag::Text(Box::from(value.as_str())),
        };
        tags.push((column.id, tag));
    }
    tags.sort_by_key(|(id, _)| *id);
    Ok(Arc::new(Series { collection: collection.id, tags: tags.into() }))
}

fn to_write(engine: &Engine, table: Table<'_, '_>, new: &[Arc<Series>]) -> Result<Write, Refused> {
    let collection = table.collection.as_ref().expect("it was made");
    let symbols = engine.symbols(collection.id).map_err(|error| write_error(&error))?;
    let row_count = table.row_count();
    let rows: Vec<&Series> = table
        .series
        .iter()
        .map(|series| match series {
            RowSeries::Known(series) => *series,
            RowSeries::New(number) => new[*number].as_ref(),
        })
        .collect();
    let mut columns = tag_columns(&rows);
    columns.push((collection.timeseries().time_key, time_array(collection, table.times)));
    for field in table.fields {
        let column = collection.schema.column_by_name(&field.name).expect("it was made").id;
        let array = field.finish(row_count, column, &symbols).map_err(|error| write_error(&error))?;
        columns.push((column, array));
    }
    let batch = WriteBatch::new(collection, columns).map_err(|error| write_error(&error))?;
    Ok(Write::new(collection.id, batch))
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

/// The tags of all rows, column by column.
fn tag_columns(rows: &[&Series]) -> Vec<(ColumnId, ArrayRef)> {
    let mut found: BTreeMap<ColumnId, bool> = BTreeMap::new();
    for (id, tag) in rows.iter().flat_map(|series| series.tags.iter()) {
        found.entry(*id).or_insert(matches!(tag, Tag::Symbol(_)));
    }
    let width = found.len();
    let columns = found.into_iter().enumerate().map(|(at, (id, is_symbol))| {
        let tag = |series: &&Series| -> Option<Tag> { tag_at(series, at, width, id).cloned() };
        let array: ArrayRef = if is_symbol {
            let number = |series: &&Series| match tag_at(series, at, width, id) {
                Some(Tag::Symbol(number)) => Some(*number),
                _ => None,
            };
            Arc::new(rows.iter().map(number).collect::<Int32Array>())
        } else {
            let text = |series: &&Series| match tag(series) {
                Some(Tag::Text(text)) => Some(text),
                _ => None,
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
