//! The columns of a collection.
//!
//! Columns are known by [`ColumnId`], never by name or position, in the log and in segments: a
//! rename changes a name only, and a dropped column's id is never given to another.

use crate::error::SchemaError;
use crate::ids::{ColumnId, SchemaVersion};
use crate::types::ColumnType;

/// PostgreSQL's limit on the bytes of an identifier.
pub const IDENTIFIER_BYTES_MAX: usize = 63;

/// PostgreSQL's limit on the columns of a table.
pub const COLUMNS_MAX: usize = 1600;

/// Whether a column accepts NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nullability {
    /// NULL is a value of the column.
    Nullable,
    /// `NOT NULL`.
    Required,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its identity for ever.
    pub id: ColumnId,
    /// Its name now, in the case that SQL's folding gave it.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
    /// Whether it accepts NULL.
    pub nullability: Nullability,
}

/// What a new column shall be; its id comes from the schema that takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub column_type: ColumnType,
    /// Whether it accepts NULL.
    pub nullability: Nullability,
}

/// The columns of a collection, in their order, at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    pub(crate) version: SchemaVersion,
    /// Above every id ever given in this collection.
    pub(crate) next_column_id: u32,
    pub(crate) columns: Vec<Column>,
}

impl Schema {
    /// The first version of a schema. Ids are given from 1 in the order of the columns.
    ///
    /// # Errors
    /// A duplicate or overlong name, or more than [`COLUMNS_MAX`] columns.
    pub fn new(columns: Vec<NewColumn>) -> Result<Schema, SchemaError> {
        let empty = Schema { version: SchemaVersion(0), next_column_id: 1, columns: Vec::new() };
        empty.with_columns(columns)
    }

    /// The next version, with these columns added at the end.
    ///
    /// # Errors
    /// A duplicate or overlong name, or more than [`COLUMNS_MAX`] columns.
    pub fn with_columns(&self, added: Vec<NewColumn>) -> Result<Schema, SchemaError> {
        let mut next = self.clone();
        next.version = SchemaVersion(self.version.0 + 1);
        for column in added {
            if column.name.len() > IDENTIFIER_BYTES_MAX || column.name.is_empty() {
                return Err(SchemaError::InvalidName(column.name));
            }
            if next.column_by_name(&column.name).is_some() {
                return Err(SchemaError::DuplicateColumn(column.name));
            }
            if next.columns.len() == COLUMNS_MAX {
                return Err(SchemaError::TooManyColumns);
            }
            let id = ColumnId(next.next_column_id);
            next.next_column_id += 1;
            let NewColumn { name, column_type, nullability } = column;
            next.columns.push(Column { id, name, column_type, nullability });
        }
        Ok(next)
    }

    /// Which version this is.
    pub fn version(&self) -> SchemaVersion {
        self.version
    }

    /// The columns in their order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The column with this id, if the collection has it now.
    pub fn column(&self, id: ColumnId) -> Option<&Column> {
        self.columns.iter().find(|column| column.id == id)
    }

    /// The column with this name, compared exactly.
    pub fn column_by_name(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Where the column stands in [`Schema::columns`].
    pub fn position(&self, id: ColumnId) -> Option<usize> {
        self.columns.iter().position(|column| column.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str) -> NewColumn {
        NewColumn { name: name.to_owned(), column_type: ColumnType::Int8, nullability: Nullability::Nullable }
    }

    #[test]
    fn ids_follow_the_order_of_addition() {
        let first = Schema::new(vec![column("a"), column("b")]).unwrap();
        let second = first.with_columns(vec![column("c")]).unwrap();
        let ids: Vec<u32> = second.columns().iter().map(|column| column.id.0).collect();
        assert_eq!((first.version().0, second.version().0, ids), (1, 2, vec![1, 2, 3]));
    }

    #[test]
    fn a_name_is_given_once() {
        let schema = Schema::new(vec![column("a")]).unwrap();
        let error = schema.with_columns(vec![column("a")]).unwrap_err();
        assert!(matches!(error, SchemaError::DuplicateColumn(name) if name == "a"));
    }
}
