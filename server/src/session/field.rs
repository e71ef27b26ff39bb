//! The columns of a result.

use std::sync::Arc;

use crate::pgtype::PgType;

/// A column of a result.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    pub pg_type: PgType,
    /// The type's modifier; -1 for none.
    pub typmod: i32,
    /// The relation it is a column of; 0 for none.
    pub table: u32,
    /// Its number in the relation; 0 for none.
    pub column: i16,
}

impl Field {
    /// A column of no relation.
    pub fn new(name: impl Into<String>, pg_type: PgType) -> Field {
        Field { name: name.into(), pg_type, typmod: -1, table: 0, column: 0 }
    }
}

/// The columns of a result, shared by all who hold it.
pub type Fields = Arc<[Field]>;
