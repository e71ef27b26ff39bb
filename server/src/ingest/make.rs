//! Making what the rows of a request need: collections, and columns of those that there are.
//!
//! What was made stays if a later step fails: an empty column says nothing that is not true.

use std::num::NonZeroU32;

use tidemark_catalog::collection::{CalendarInterval, IntervalUnit, TimeseriesOptions};
use tidemark_catalog::error::{EditError, SchemaError};
use tidemark_catalog::ids::{BOOTSTRAP_ROLE, CollectionId, ColumnId, NAMESPACE_PUBLIC};
use tidemark_catalog::schema::{NewColumn, Nullability};
use tidemark_catalog::types::{ColumnType, TimeUnit};
use tidemark_engine::engine::{Engine, NewTimeseries};
use tidemark_engine::error::DdlError;

use crate::error::SqlError;
use crate::ingest::table::{TIME_COLUMN, Table};
use crate::sql::ddl::ddl_error;

/// What is missing for the rows of a collection.
#[derive(Debug)]
pub(super) struct Missing {
    /// `None` when the collection is missing itself.
    collection: Option<CollectionId>,
    name: String,
    time_unit: TimeUnit,
    /// Tags first, then fields.
    columns: Vec<NewColumn>,
    tag_count: u32,
}

/// What is missing for these rows; `None` when nothing is.
pub(super) fn missing(table: &Table<'_, '_>) -> Option<Missing> {
    if table.row_count() == 0 {
        return None;
    }
    let collection = table.collection.as_ref();
    let tags = table.new_tags();
    let tag_count = u32::try_from(tags.len()).expect("a collection has few columns");
    let exists = |name: &str| collection.is_some_and(|it| it.schema.column_by_name(name).is_some());
    let fields = table.fields.iter().filter(|field| !exists(&field.name) && !table.is_new_tag(&field.name));
    let tags = tags.into_iter().map(|name| column(name, ColumnType::Symbol));
    let columns: Vec<NewColumn> =
        tags.chain(fields.map(|field| column(&field.name, field.column_type.clone()))).collect();
    if collection.is_some() && columns.is_empty() {
        return None;
    }
    Some(Missing {
        collection: collection.map(|it| it.id),
        name: table.name.clone(),
        time_unit: table.time_unit,
        columns,
        tag_count,
    })
}

fn column(name: &str, column_type: ColumnType) -> NewColumn {
    NewColumn::new(name, column_type, Nullability::Nullable)
}

/// Makes what is missing. It blocks while the catalog is written.
///
/// What somebody else made in between is left as it is, whatever its type: the rows are read again,
/// and checked against it.
///
/// # Errors
/// The catalog did not take it.
pub(super) fn make(engine: &Engine, missing: Missing) -> Result<(), SqlError> {
    let made = match missing.collection {
        Some(collection) => engine.add_columns(collection, missing.columns).map(drop),
        None => create(engine, missing),
    };
    match made {
        Ok(()) => Ok(()),
        Err(
            DdlError::Edit(EditError::CollectionExists(_) | EditError::NoCollection(_))
            | DdlError::Schema(SchemaError::DuplicateColumn(_)),
        ) => Ok(()),
        Err(error) => Err(ddl_error(error)),
    }
}

/// A collection: the time first, then tags, then fields; its series are told apart by all of its tags.
fn create(engine: &Engine, missing: Missing) -> Result<(), DdlError> {
    let time_type = ColumnType::Timestamptz(missing.time_unit);
    let time = NewColumn::new(TIME_COLUMN, time_type, Nullability::Required);
    let day = CalendarInterval { count: NonZeroU32::MIN, unit: IntervalUnit::Day };
    let new = NewTimeseries {
        namespace: NAMESPACE_PUBLIC,
        name: missing.name,
        owner: BOOTSTRAP_ROLE,
        columns: std::iter::once(time).chain(missing.columns).collect(),
        options: TimeseriesOptions {
            series_key: (0..missing.tag_count).map(|tag| ColumnId(tag + 2)).collect(),
            ..TimeseriesOptions::new(ColumnId(1), day)
        },
    };
    engine.create_collection(new).map(drop)
}
