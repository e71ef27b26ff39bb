//! COPY: bulk data in and out, in text, CSV and binary.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`statement`] | the statement's grammar |
//! | [`options`] | what its options mean |
//! | [`input`] | COPY FROM: a thread that makes rows of what the client sends |
//! | [`reader`] | from bytes to rows, by way of [`lines`] or [`binary`], [`marks`], and [`fields`] |
//! | [`output`] | COPY TO: rows as lines or as binary rows |
//! | [`csv`], [`text`], [`binary`], [`encoding`] | the formats, in and out |

use std::sync::Arc;

use sqlparser::ast::{self, Expr, SelectItem};
use tidemark_catalog::collection::Collection;

use crate::error::{SqlError, SqlResult};
use crate::sql::names::{self, Resolver, relation_name};
use crate::sql::queries::{select_from, with_condition};
use crate::sql::rows::Target;

pub mod binary;
pub mod csv;
pub mod encoding;
pub mod fields;
pub mod input;
pub mod lines;
mod marks;
pub mod options;
pub mod output;
pub mod reader;
pub mod statement;
pub mod text;

use crate::sql::copy::options::{CopyFormat, format_of};
use crate::sql::copy::statement::{CopyStatement, Direction, Endpoint, Relation};

/// Namespaces that no view of the catalog has.
const SYSTEM_NAMESPACES: [&str; 2] = ["pg_catalog", "information_schema"];

/// A COPY that was understood.
#[derive(Debug)]
pub enum Copy {
    /// COPY table FROM STDIN
    In {
        /// Where the rows go.
        target: Arc<Target>,
        /// How they are written.
        format: CopyFormat,
        /// The query whose condition says which rows are taken.
        condition: Option<Box<ast::Query>>,
    },
    /// COPY … TO STDOUT
    Out {
        /// What is copied.
        query: Box<ast::Query>,
        /// How it is written.
        format: CopyFormat,
        /// The collection, where it is one.
        collection: Option<Arc<Collection>>,
    },
}

/// Understands a COPY statement.
///
/// # Errors
/// As PostgreSQL says them.
pub fn analyze(statement: &CopyStatement, resolver: &Resolver) -> SqlResult<Copy> {
    match statement.endpoint {
        Endpoint::Client => {}
        Endpoint::File => {
            return Err(SqlError::unsupported("COPY to or from a file of the server")
                .with_hint("Use COPY FROM STDIN or COPY TO STDOUT; psql's \\copy does it for files."));
        }
        Endpoint::Program => return Err(SqlError::unsupported("COPY to or from a program")),
    }
    let (name, columns) = match &statement.relation {
        Relation::Query(query) => {
            let format = format_of(statement)?;
            return Ok(Copy::Out { query: query.clone(), format, collection: None });
        }
        Relation::Table(name, columns) => (name, columns),
    };
    let (namespace, relation) = relation_name(name)?;
    let column_names: Vec<String> = columns.iter().map(names::fold).collect();
    if let Some(namespace) = namespace.as_deref().filter(|namespace| !SYSTEM_NAMESPACES.contains(namespace)) {
        resolver.namespace(namespace)?;
    }
    if statement.direction == Direction::From {
        let collection = resolver.collection(namespace.as_deref(), &relation)?;
        let all_where = |condition| with_condition(select_from(name, None, Vec::new())?, condition);
        let condition = statement.condition.as_deref().map(all_where).transpose()?.map(Box::new);
        let format = format_of(statement)?;
        let target = Arc::new(Target::new(collection, &column_names)?);
        return Ok(Copy::In { target, format, condition });
    }
    let collection = resolver.find(namespace.as_deref(), &relation)?;
    let format = format_of(statement)?;
    if let Some(collection) = &collection {
        Target::new(Arc::clone(collection), &column_names)?;
    }
    let columns = columns.iter().cloned().map(|name| SelectItem::UnnamedExpr(Expr::Identifier(name)));
    let query = Box::new(select_from(name, None, columns.collect())?);
    Ok(Copy::Out { query, format, collection })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::copy::fields::{FieldTable, Place};
    use crate::sql::copy::options::Layout;
    use crate::sql::parse::{Said, parse};

    /// The format that options in parentheses ask for.
    pub(crate) fn format_of(options: &str) -> CopyFormat {
        let text = format!("COPY t TO STDOUT ({options})");
        let parsed = parse(&text, 1 << 20).unwrap().pop().unwrap();
        let Said::Copy(copy) = parsed.statement else { panic!("{text} is a COPY") };
        options::format_of(&copy).unwrap()
    }

    /// The fields of a record.
    pub(crate) fn fields_of(format: &CopyFormat, record: &str) -> Vec<Option<String>> {
        let width = 64;
        let mut table = FieldTable::new(width);
        let bounds = (0, record.len());
        let count = match format.layout {
            Layout::Csv => csv::split(record.as_bytes(), bounds, format, width, &mut table),
            _ => text::split(record.as_bytes(), bounds, format, width, &mut table),
        };
        assert_eq!(count.unwrap(), table.field_count());
        let unescaped = table.unescaped_bytes();
        let text = |bytes: &[u8]| Some(String::from_utf8(bytes.to_vec()).unwrap());
        let field = |place| match place {
            Place::Null => None,
            Place::Data(range) => text(&record.as_bytes()[range]),
            Place::Unescaped(range) => text(&unescaped[range]),
        };
        table.fields().map(field).collect()
    }
}
