//! The columns of a collection.
//!
//! Columns are known by [`ColumnId`], never by name or position, in the log and in segments: a
//! rename changes a name only, and a dropped column's id is never given to another.

use std::sync::Arc;

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

/// One value of a column's type, in the form that arrays have in the log; the catalog does not look
/// into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedValue(pub Arc<[u8]>);

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
    /// The SQL expression for rows that are inserted without a value; NULL without one.
    pub default: Option<Arc<str>>,
    /// The value in rows that were written before the column was there; NULL without one.
    pub missing: Option<EncodedValue>,
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
    /// The SQL expression for rows that are inserted without a value.
    pub default: Option<Arc<str>>,
    /// The value in rows that are there already.
    pub missing: Option<EncodedValue>,
}

impl NewColumn {
    /// A column without a default.
    pub fn new(name: impl Into<String>, column_type: ColumnType, nullability: Nullability) -> NewColumn {
        NewColumn { name: name.into(), column_type, nullability, default: None, missing: None }
    }
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
            check_name(&column.name)?;
            if next.column_by_name(&column.name).is_some() {
                return Err(SchemaError::DuplicateColumn(column.name));
            }
            if next.columns.len() == COLUMNS_MAX {
                return Err(SchemaError::TooManyColumns);
            }
            let id = ColumnId(next.next_column_id);
            next.next_column_id += 1;
            let NewColumn { name, column_type, nullability, default, missing } = column;
            next.columns.push(Column { id, name, column_type, nullability, default, missing });
        }
        Ok(next)
    }

    /// The next version, without this column; its id is not used again.
    ///
    /// # Errors
    /// There is no such column.
    pub fn without_column(&self, id: ColumnId) -> Result<Schema, SchemaError> {
        let mut next = self.clone();
        next.version = SchemaVersion(self.version.0 + 1);
        let at = self.position(id).ok_or(SchemaError::NoColumn(id))?;
        next.columns.remove(at);
        Ok(next)
    }

    /// The next version, with one column changed; its id and type stay.
    ///
    /// # Errors
    /// There is no such column, or its new name is taken or overlong.
    pub fn with_changed_column(
        &self,
        id: ColumnId,
        change: impl FnOnce(&mut Column),
    ) -> Result<Schema, SchemaError> {
        let mut next = self.clone();
        next.version = SchemaVersion(self.version.0 + 1);
        let at = self.position(id).ok_or(SchemaError::NoColumn(id))?;
        let column = &mut next.columns[at];
        change(column);
        column.id = id;
        column.column_type = self.columns[at].column_type.clone();
        let name = column.name.clone();
        check_name(&name)?;
        if next.columns.iter().any(|other| other.id != id && other.name == name) {
            return Err(SchemaError::DuplicateColumn(name));
        }
        Ok(next)
    }

    /// The next version, with these symbol columns as columns of text: the one change of a type that
    /// there is.
    ///
    /// # Errors
    /// There is no such column, or it is no symbol column.
    pub fn with_texts(&self, ids: &[ColumnId]) -> Result<Schema, SchemaError> {
        let mut next = self.clone();
        next.version = SchemaVersion(self.version.0 + 1);
        for id in ids {
            let at = self.position(*id).ok_or(SchemaError::NoColumn(*id))?;
            if self.columns[at].column_type != ColumnType::Symbol {
                return Err(SchemaError::NoColumn(*id));
            }
            next.columns[at].column_type = ColumnType::Text;
        }
        Ok(next)
    }

    /// Whether what was made for the other schema is right for this one: nothing else has changed than that
    /// symbol columns became columns of text.
    pub fn is_like(&self, other: &Schema) -> bool {
        let is_like = |(own, others): (&Column, &Column)| {
            let same_type = own.column_type == others.column_type
                || may_become(&own.column_type, &others.column_type)
                || may_become(&others.column_type, &own.column_type);
            same_type && *own == Column { column_type: own.column_type.clone(), ..others.clone() }
        };
        self.version == other.version
            || self.columns.len() == other.columns.len()
                && self.columns.iter().zip(&other.columns).all(is_like)
    }

    /// Which version this is.
    pub fn version(&self) -> SchemaVersion {
        self.version
    }

    /// The ids of columns that were dropped.
    pub fn dropped(&self) -> impl Iterator<Item = ColumnId> {
        (1..self.next_column_id).map(ColumnId).filter(|id| self.column(*id).is_none())
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

/// Whether a column of one type may be of the other later. Every value of the one is the same value of the
/// other, and what is stored of it is read as both.
pub fn may_become(earlier: &ColumnType, later: &ColumnType) -> bool {
    earlier == later || (earlier, later) == (&ColumnType::Symbol, &ColumnType::Text)
}

fn check_name(name: &str) -> Result<(), SchemaError> {
    if name.is_empty() || name.len() > IDENTIFIER_BYTES_MAX {
        return Err(SchemaError::InvalidName(name.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str) -> NewColumn {
        NewColumn::new(name, ColumnType::Int8, Nullability::Nullable)
    }

    #[test]
    fn ids_follow_the_order_of_addition() {
        let first = Schema::new(vec![column("a"), column("b")]).unwrap();
        let second = first.with_columns(vec![column("c")]).unwrap();
        let ids: Vec<u32> = second.columns().iter().map(|column| column.id.0).collect();
        assert_eq!((first.version().0, second.version().0, ids), (1, 2, vec![1, 2, 3]));
    }

    #[test]
    fn the_id_of_a_dropped_column_is_not_used_again() {
        let first = Schema::new(vec![column("a"), column("b")]).unwrap();
        let second = first.without_column(ColumnId(2)).unwrap().with_columns(vec![column("b")]).unwrap();
        let columns: Vec<_> =
            second.columns().iter().map(|column| (column.id.0, column.name.as_str())).collect();
        assert_eq!(columns, [(1, "a"), (3, "b")]);
        assert_eq!(second.dropped().collect::<Vec<_>>(), [ColumnId(2)]);
        assert_eq!(first.without_column(ColumnId(7)).unwrap_err(), SchemaError::NoColumn(ColumnId(7)));
    }

    #[test]
    fn a_renamed_column_is_the_same_column() {
        let schema = Schema::new(vec![column("a"), column("b")]).unwrap();
        let renamed = schema.with_changed_column(ColumnId(1), |column| column.name = "c".to_owned()).unwrap();
        assert_eq!(renamed.column_by_name("c").map(|column| column.id), Some(ColumnId(1)));
        let error = schema.with_changed_column(ColumnId(1), |column| column.name = "b".to_owned());
        assert_eq!(error.unwrap_err(), SchemaError::DuplicateColumn("b".to_owned()));
    }

    #[test]
    fn a_symbol_column_becomes_one_of_text_and_no_other_type_changes() {
        let symbol = NewColumn::new("s", ColumnType::Symbol, Nullability::Required);
        let schema = Schema::new(vec![column("a"), symbol]).unwrap();
        let texts = schema.with_texts(&[ColumnId(2)]).unwrap();
        assert_eq!(texts.version(), SchemaVersion(2));
        let expected = Column { column_type: ColumnType::Text, ..schema.columns()[1].clone() };
        assert_eq!(texts.columns(), [schema.columns()[0].clone(), expected]);
        for id in [ColumnId(1), ColumnId(3)] {
            assert_eq!(schema.with_texts(&[id]).unwrap_err(), SchemaError::NoColumn(id));
        }
        assert!(texts.is_like(&schema) && schema.is_like(&texts));
        let renamed = texts.with_changed_column(ColumnId(2), |column| column.name = "t".to_owned()).unwrap();
        assert!(!renamed.is_like(&schema));
        assert!(!schema.with_columns(vec![column("b")]).unwrap().is_like(&schema));
    }

    #[test]
    fn a_name_is_given_once() {
        let schema = Schema::new(vec![column("a")]).unwrap();
        let error = schema.with_columns(vec![column("a")]).unwrap_err();
        assert!(matches!(error, SchemaError::DuplicateColumn(name) if name == "a"));
    }
}
