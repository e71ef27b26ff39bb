//! Rows for a collection, column by column, from values in any form.
//!
//! | module | does |
//! | --- | --- |
//! | [`builder`] | rows from values as they come |
//! | [`batches`] | rows from whole columns |
//! | [`required`] | which columns every row needs a value in |
//! | [`commit`] | hands rows over to the log, and waits for it |
//! | [`errors`] | what is said when any of it fails |

use std::sync::Arc;

use bytes::Bytes;
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::ColumnId;
use tidemark_catalog::schema::Column;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::datum::Datum;
use crate::pgtype::encode::Format;
use crate::sql::defaults::{Defaults, Fill};
use crate::sqlstate;

pub mod batches;
pub mod builder;
pub mod commit;
pub mod errors;
pub mod required;
mod symbols;

/// A value of a parameter as the client sent it.
#[derive(Clone, Debug)]
pub struct RawValue {
    /// In which form.
    pub format: Format,
    /// Its bytes; `None` for NULL.
    pub bytes: Option<Bytes>,
}

/// Values of a statement's parameters.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a> {
    /// As they were read.
    Datums(&'a [Datum]),
    /// As they were sent.
    Raw(&'a [RawValue]),
}

/// The columns that a statement gives values for.
#[derive(Clone, Debug)]
pub struct Target {
    /// Of which collection.
    pub collection: Arc<Collection>,
    /// Which, in the order of the statement.
    pub columns: Vec<ColumnId>,
    /// The defaults of all columns of the collection.
    pub defaults: Defaults,
    /// The same, computed for a statement that is carried out.
    pub fill: Fill,
}

impl Target {
    /// The named columns, or all where none are named.
    ///
    /// # Errors
    /// A name is no column, or comes twice.
    pub fn new(collection: Arc<Collection>, names: &[String]) -> SqlResult<Target> {
        if names.is_empty() {
            let columns = collection.schema.columns().iter().map(|column| column.id).collect();
            return Ok(Target::of(collection, columns));
        }
        let mut columns: Vec<ColumnId> = Vec::with_capacity(names.len());
        for name in names {
            let column = collection.schema.column_by_name(name).ok_or_else(|| {
                let message = format!("column \"{name}\" of relation \"{}\" does not exist", collection.name);
                SqlError::new(sqlstate::UNDEFINED_COLUMN, message)
            })?;
            if columns.contains(&column.id) {
                let message = format!("column \"{name}\" specified more than once");
                return Err(SqlError::new(sqlstate::DUPLICATE_COLUMN, message));
            }
            columns.push(column.id);
        }
        Ok(Target::of(collection, columns))
    }

    /// None of the columns.
    pub fn without_columns(collection: Arc<Collection>) -> Target {
        Target::of(collection, Vec::new())
    }

    fn of(collection: Arc<Collection>, columns: Vec<ColumnId>) -> Target {
        Target { collection, columns, defaults: Defaults::default(), fill: Fill::default() }
    }

    /// The same with the columns after its own that rows get a default in.
    fn with_filled(&self) -> Target {
        let left_out = self.fill.columns().filter(|id| !self.columns.contains(id));
        let columns = self.columns.iter().copied().chain(left_out).collect();
        Target { columns, ..self.clone() }
    }

    /// A column by its place in the statement.
    pub fn column(&self, at: usize) -> &Column {
        self.collection.schema.column(self.columns[at]).expect("targets are made of columns")
    }
}
