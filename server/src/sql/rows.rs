//! Rows for a collection, column by column, from values in any form.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::ColumnId;
use tidemark_catalog::schema::Column;
use tidemark_catalog::types::ColumnType;
use tidemark_engine::batch::WriteBatch;
use tidemark_engine::collection::SymbolDictionaries;
use tidemark_engine::engine::{Engine, Write};
use tidemark_engine::error::{JobError, WalError, WriteError};
use tidemark_engine::is_disk_full;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::PgType;
use crate::pgtype::builder::ColumnBuilder;
use crate::pgtype::cast::CastError;
use crate::pgtype::datum::Datum;
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::text::decode_utf8;
use crate::pgtype::types::format_type;
use crate::sql::defaults::{Defaults, Fill};
use crate::sqlstate;

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

/// Rows under construction.
#[derive(Debug)]
pub struct RowsBuilder {
    /// With the columns that are filled, after those that are given.
    target: Arc<Target>,
    given: usize,
    symbols: SymbolDictionaries,
    format: FormatSettings,
    builders: Vec<ColumnBuilder>,
    row_count: usize,
}

impl RowsBuilder {
    /// No rows yet, with room for so many.
    ///
    /// # Errors
    /// The collection was dropped.
    pub fn new(
        engine: &Engine,
        target: &Arc<Target>,
        format: &FormatSettings,
        row_count: usize,
    ) -> SqlResult<RowsBuilder> {
        let symbols = engine.symbols(target.collection.id).map_err(|error| write_error(&error))?;
        let given = target.columns.len();
        let target = Arc::new(target.with_filled());
        let column_type = |at| &target.column(at).column_type;
        let builders = (0..target.columns.len()).map(|at| ColumnBuilder::new(column_type(at), row_count));
        let builders = builders.collect();
        Ok(RowsBuilder { target, given, symbols, format: format.clone(), builders, row_count: 0 })
    }

    /// The next row's value of a column is NULL.
    pub fn append_null(&mut self, at: usize) {
        self.builders[at].append_null();
    }

    /// The next row's value of a column, as text.
    ///
    /// # Errors
    /// It is no value of the column's type.
    pub fn append_text(&mut self, at: usize, text: &[u8]) -> SqlResult<()> {
        self.builders[at].append_text(decode_utf8(text)?, &self.format)
    }

    /// The next row's value of a column, cast as an assignment casts.
    ///
    /// # Errors
    /// It cannot be assigned, or not this value.
    pub fn append_datum(&mut self, at: usize, datum: &Datum, source: &PgType) -> SqlResult<()> {
        append(&mut self.builders[at], self.target.column(at), datum, source, &self.format)
    }

    /// The next row's value of a column is its default.
    ///
    /// # Errors
    /// What its expression raises.
    pub fn append_default(&mut self, at: usize) -> SqlResult<()> {
        match self.target.fill.value(self.target.columns[at])? {
            None => self.append_null(at),
            Some((datum, pg_type)) => self.append_datum(at, &datum, &pg_type)?,
        }
        Ok(())
    }

    /// The row is complete: every column that was given got its value; the others get theirs.
    ///
    /// # Errors
    /// What the expression of a default raises.
    pub fn end_row(&mut self) -> SqlResult<()> {
        for at in self.given..self.builders.len() {
            self.append_default(at)?;
        }
        self.row_count += 1;
        Ok(())
    }

    /// How many rows are complete.
    pub fn row_count(&self) -> usize {
        self.row_count
    }

    /// Bytes of memory in use.
    pub fn memory_bytes(&self) -> usize {
        self.builders.iter().map(ColumnBuilder::memory_bytes).sum()
    }

    /// The rows; the builder is empty after.
    ///
    /// # Errors
    /// A row is not one of the collection.
    pub fn finish(&mut self) -> SqlResult<WriteBatch> {
        self.row_count = 0;
        let arrays: Vec<ArrayRef> = self.builders.iter_mut().map(ColumnBuilder::finish).collect();
        to_batch(&self.target, &self.symbols, arrays)
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

/// Rows from arrays in the order of the target, with defaults in the columns that are left out; see
/// [`to_batch`].
///
/// # Errors
/// A row is not one of the collection, or what the expression of a default raises.
pub fn to_filled_batch(
    target: &Target,
    symbols: &SymbolDictionaries,
    mut arrays: Vec<ArrayRef>,
    row_count: usize,
    format: &FormatSettings,
) -> SqlResult<WriteBatch> {
    let all = target.with_filled();
    for at in target.columns.len()..all.columns.len() {
        let column = all.column(at);
        let mut builder = ColumnBuilder::new(&column.column_type, row_count);
        for _ in 0..row_count {
            match all.fill.value(column.id)? {
                None => builder.append_null(),
                Some((datum, pg_type)) => append(&mut builder, column, &datum, &pg_type, format)?,
            }
        }
        arrays.push(builder.finish());
    }
    to_batch(&all, symbols, arrays)
}

fn append(
    builder: &mut ColumnBuilder,
    column: &Column,
    datum: &Datum,
    source: &PgType,
    format: &FormatSettings,
) -> SqlResult<()> {
    builder.append_datum(datum, format).map_err(|error| match error {
        CastError::Value(error) => error,
        CastError::NoCast => not_assignable(column, source),
    })
}

/// The one value of an expression as an array of a column's type; symbols are texts.
///
/// # Errors
/// It cannot be assigned to the column, or not this value.
pub fn one_value(
    column: &Column,
    datum: &Datum,
    source: &PgType,
    format: &FormatSettings,
) -> SqlResult<ArrayRef> {
    let mut builder = ColumnBuilder::new(&column.column_type, 1);
    append(&mut builder, column, datum, source, format)?;
    Ok(builder.finish())
}

/// Rows from arrays in the order of the target, in the types of the collection but for symbols,
/// which are texts.
///
/// # Errors
/// A row is not one of the collection.
pub fn to_batch(
    target: &Target,
    symbols: &SymbolDictionaries,
    arrays: Vec<ArrayRef>,
) -> SqlResult<WriteBatch> {
    let columns = arrays.into_iter().enumerate().map(|(at, array)| {
        let column = target.column(at);
        let array = match &column.column_type {
            ColumnType::Symbol => intern(symbols, column, &array)?,
            _ => array,
        };
        Ok((column.id, array))
    });
    let columns = columns.collect::<SqlResult<Vec<_>>>()?;
    WriteBatch::new(&target.collection, columns).map_err(|error| write_error(&error))
}

fn intern(symbols: &SymbolDictionaries, column: &Column, texts: &ArrayRef) -> SqlResult<ArrayRef> {
    let dictionary =
        symbols.get(column.id).ok_or_else(|| write_error(&WriteError::NoSuchColumn(column.id)))?;
    let numbers = match texts.data_type() {
        arrow::datatypes::DataType::Utf8 => dictionary.intern_array(texts.as_string::<i32>().iter()),
        arrow::datatypes::DataType::Utf8View => dictionary.intern_array(texts.as_string_view().iter()),
        other => return Err(SqlError::internal(format!("symbols as {other}"))),
    };
    Ok(Arc::new(numbers.map_err(|error| write_error(&error))?))
}

/// Writes rows and waits until they are durable and visible. While memtables are full it waits, as
/// long as the engine says a writer waits.
///
/// # Errors
/// As PostgreSQL says them; after a failure of the log the server stops.
pub async fn write_durably(engine: &Engine, writes: Vec<Write>, synchronous: bool) -> SqlResult<()> {
    use tidemark_engine::engine::Durability;
    let durability = if synchronous { engine.default_durability() } else { Durability::Written };
    let bytes: usize = writes.iter().map(|write| write.batch.memory_bytes()).sum();
    let mut writes = writes;
    let waited = tokio::time::timeout(engine.options().admission_wait_max, async {
        loop {
            match engine.try_write(writes, durability) {
                Ok(ticket) => return Ok(ticket),
                Err((WriteError::OverBudget { .. }, refused)) => writes = refused,
                Err((error, _)) => return Err(write_error(&error)),
            }
            engine.budget().available(bytes).await;
        }
    });
    match waited.await {
        Ok(ticket) => ticket?.committed().await.map_err(|error| write_error(&error)),
        Err(_) => Err(write_error(&engine.over_budget())),
    }
}

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
        WriteError::SymbolDictionaryFull => new(sqlstate::PROGRAM_LIMIT_EXCEEDED, error.to_string())
            .with_hint("Use text instead of SYMBOL for values that hardly repeat."),
        WriteError::Wal(error) => wal_error(error),
        WriteError::Segment(error) => job_error(error),
        WriteError::NoSuchColumn(_) => {
            new(sqlstate::UNDEFINED_COLUMN, "a column was dropped meanwhile".to_owned())
        }
        WriteError::EmptyBatch | WriteError::ColumnGivenTwice(_) | WriteError::WrongArray { .. } => {
            SqlError::internal(error)
        }
    }
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
