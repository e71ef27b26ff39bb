//! Why an import ended before its files did.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::import::place_of;
use crate::import::source::Place;

/// Why an import ended. What was loaded before stays loaded.
#[derive(Debug, Error)]
pub enum ImportError {
    /// The process cannot run it.
    #[error("cannot start")]
    Runtime(#[source] io::Error),
    /// The name says no form.
    #[error("{}: the name does not say which form the file has; give --format csv, parquet or line", .0.display())]
    UnknownFormat(PathBuf),
    /// Rows of no table.
    #[error("CSV and Parquet need --table, the table that gets the rows")]
    NoTable,
    /// Lines of a table.
    #[error("line protocol names its own tables: leave out --table")]
    TableOfLines,
    /// A character that separates no fields.
    #[error("invalid delimiter \"{0}\": it is one ASCII character")]
    Delimiter(char),
    /// A name that is none.
    #[error("invalid table name \"{0}\"")]
    TableName(String),
    /// There is no such table.
    #[error("table \"{0}\" does not exist; --create makes it")]
    MissingTable(String),
    /// The table has no such column.
    #[error("table {table} has no column \"{column}\", which {} has", path.display())]
    MissingColumn {
        /// The table.
        table: String,
        /// The column in the file.
        column: String,
        /// The file.
        path: PathBuf,
    },
    /// Two columns of a file are one of the table.
    #[error("{} has column \"{column}\" twice", path.display())]
    ColumnTwice {
        /// The column.
        column: String,
        /// The file.
        path: PathBuf,
    },
    /// A table cannot be made of the file.
    #[error("cannot make a table of the file: {0}")]
    Definition(String),
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{place}: {reason}")]
    Content {
        /// Where.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// Reading a file ended in a panic.
    #[error("{}: reading it failed", .0.display())]
    Panicked(PathBuf),
    /// The server is not there.
    #[error("cannot connect to {address}: {reason}")]
    Connect {
        /// Where it should be.
        address: String,
        /// Why.
        reason: String,
    },
    /// The connection ended.
    #[error("lost the connection to {address}: {reason}; the same command goes on where this one stopped")]
    Lost {
        /// Where the server is.
        address: String,
        /// Why.
        reason: String,
    },
    /// The server refused something that is no batch.
    #[error("{doing}: {reason}")]
    Refused {
        /// What was asked for.
        doing: &'static str,
        /// What it said.
        reason: String,
    },
    /// Rows are wrong.
    #[error("{}\nnothing of this batch is loaded; {loaded} rows of producer \"{producer}\" are\nwhen the file is right, go on with --producer '{producer}'", lines.join("\n"))]
    Rows {
        /// Each with its place.
        lines: Vec<String>,
        /// Rows that are loaded.
        loaded: u64,
        /// Whose.
        producer: String,
    },
    /// The files have fewer rows than were loaded of them.
    #[error("producer \"{producer}\" has loaded {loaded} rows, which is more than the files have")]
    MoreThanThere {
        /// Whose.
        producer: String,
        /// How many.
        loaded: u64,
    },
}

/// Why a batch was not loaded.
#[derive(Debug)]
pub(super) enum BatchError {
    /// Rows of it are wrong: the line in the batch, where that is known, and the reason.
    Rows(Vec<(Option<u64>, String)>),
    /// Something else.
    Other(ImportError),
}

impl From<ImportError> for BatchError {
    fn from(error: ImportError) -> BatchError {
        BatchError::Other(error)
    }
}

impl BatchError {
    /// The error with the batch's place in its file.
    pub(super) fn at(self, path: &Path, producer: &str, loaded: u64, place: &Place) -> ImportError {
        match self {
            BatchError::Other(error) => error,
            BatchError::Rows(rows) => {
                let line = |(line, reason): &(Option<u64>, String)| {
                    format!("{}: {reason}", place_of(path, place, *line))
                };
                let lines = rows.iter().map(line).collect();
                ImportError::Rows { lines, loaded, producer: producer.to_owned() }
            }
        }
    }
}
