//! Errors of writing rows, in PostgreSQL's words.

use tidemark_catalog::schema::Column;
use tidemark_engine::error::{JobError, WalError, WriteError};
use tidemark_engine::is_disk_full;

use crate::error::SqlError;
use crate::pgtype::PgType;
use crate::pgtype::types::format_type;
use crate::sqlstate;

/// An error of the engine's writer.
pub fn write_error(error: &WriteError) -> SqlError {
    let new = |state, message: String| SqlError::new(state, message);
    match error {
        WriteError::NullInRequiredColumn { relation, column } => {
            new(sqlstate::NOT_NULL_VIOLATION, error.to_string()).about_column("public", relation, column)
        }
        WriteError::InfiniteTime(_) => new(sqlstate::DATETIME_FIELD_OVERFLOW, error.to_string()),
        WriteError::NoSuchCollection(_) => {
            new(sqlstate::UNDEFINED_TABLE, "the relation was dropped meanwhile".to_owned())
        }
        WriteError::OverBudget { disk_full: true, .. } => {
            new(sqlstate::DISK_FULL, "no space left on disk to write data".to_owned())
                .with_hint("Free some space; writing goes on by itself.")
        }
        WriteError::OverBudget { used_bytes, bytes_max, .. } => {
            new(sqlstate::OUT_OF_MEMORY, "memory for rows not yet on disk is used up".to_owned())
                .with_detail(format!("Memtables hold {used_bytes} of {bytes_max} bytes."))
                .with_hint("Writing is faster than the disk: try again, or raise memtable-memory.")
        }
        WriteError::Changed(_) => overtaken(),
        WriteError::SymbolsAsTexts(error) => SqlError::internal(error),
        WriteError::SymbolLimit(_) => new(sqlstate::SERIALIZATION_FAILURE, error.to_string()),
        WriteError::SymbolDictionaryFull => new(sqlstate::PROGRAM_LIMIT_EXCEEDED, error.to_string())
            .with_hint("Use text instead of SYMBOL for values that hardly repeat."),
        WriteError::Wal(error) => wal_error(error),
        WriteError::Segment(error) => job_error(error),
        WriteError::NoSuchColumn(_) => {
            new(sqlstate::UNDEFINED_COLUMN, "a column was dropped meanwhile".to_owned())
        }
        WriteError::EmptyBatch
        | WriteError::ColumnGivenTwice(_)
        | WriteError::WrongArray { .. }
        | WriteError::Keys(_) => SqlError::internal(error),
    }
}

/// Others wrote the rows on which a transaction depends.
pub fn overtaken() -> SqlError {
    SqlError::new(sqlstate::SERIALIZATION_FAILURE, "could not serialize access due to concurrent update")
        .with_hint("The transaction might succeed if retried.")
}

fn wal_error(error: &WalError) -> SqlError {
    match error {
        WalError::NoRoom(source) if is_disk_full(source) => {
            SqlError::new(sqlstate::DISK_FULL, "no space left on disk for the write-ahead log")
                .with_hint("Free some space; writing goes on by itself.")
        }
        WalError::RecordTooLarge { .. } => SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, error.to_string()),
        WalError::Closed => SqlError::new(sqlstate::ADMIN_SHUTDOWN, "the server is shutting down"),
        WalError::NoRoom(_) | WalError::Failed(_) | WalError::Poisoned => {
            SqlError::new(sqlstate::IO_ERROR, error.to_string())
        }
    }
}

/// An error of a background job that a statement waited for.
pub fn job_error(error: &JobError) -> SqlError {
    match error {
        error if error.io_error().is_some_and(is_disk_full) => {
            SqlError::new(sqlstate::DISK_FULL, "no space left on disk to write data")
        }
        JobError::Io { .. } => SqlError::new(sqlstate::IO_ERROR, error.to_string()),
        JobError::Dropped(_) => {
            SqlError::new(sqlstate::UNDEFINED_TABLE, "the relation was dropped meanwhile")
        }
        JobError::Read(error) => crate::plan::errors::read(error),
        JobError::Cancelled => {
            SqlError::new(sqlstate::SERIALIZATION_FAILURE, "the rows were changed by another statement")
                .with_hint("Try again.")
        }
        JobError::ShutDown => SqlError::new(sqlstate::ADMIN_SHUTDOWN, "the server is shutting down"),
        other => SqlError::internal(other),
    }
}

/// A value of a type that a column cannot take.
pub fn not_assignable(column: &Column, source: &PgType) -> SqlError {
    let message = format!(
        "column \"{}\" is of type {} but expression is of type {}",
        column.name,
        column.column_type,
        format_type(source),
    );
    SqlError::new(sqlstate::DATATYPE_MISMATCH, message)
        .with_hint("You will need to rewrite or cast the expression.")
}

/// PostgreSQL says which parameter was not what it should be.
pub fn of_parameter(error: SqlError, number: usize) -> SqlError {
    if error.message() == "incorrect binary data format" {
        let message = format!("incorrect binary data format in bind parameter {}", number + 1);
        return SqlError::new(error.state(), message);
    }
    error.with_context(format!("unnamed portal parameter ${}", number + 1))
}
