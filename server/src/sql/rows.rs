//! Rows for a collection, column by column, from values in any form.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::{cast as cast_to_texts, concat, filter};
use arrow::datatypes::DataType;
use bytes::Bytes;
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::{CollectionId, ColumnId};
use tidemark_catalog::schema::Column;
use tidemark_catalog::types::ColumnType;
use tidemark_engine::batch::WriteBatch;
use tidemark_engine::engine::{Engine, Submitted, Write};
use tidemark_engine::error::{JobError, WalError, WriteError};
use tidemark_engine::is_disk_full;
use tidemark_engine::memtable::dictionaries::SymbolDictionaries;
use tidemark_engine::producers::BatchNumber;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::PgType;
use crate::pgtype::array::literal;
use crate::pgtype::binary::{array_fields, parse_binary};
use crate::pgtype::builder::{ColumnBuilder, ColumnFault};
use crate::pgtype::cast::{self, CastError};
use crate::pgtype::datum::Datum;
use crate::pgtype::encode::Format;
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::text::{decode_utf8, parse_text};
use crate::pgtype::types::{NO_TYPMOD, family, format_type};
use crate::sql::defaults::{Defaults, Fill};
use crate::sql::insert::unnest::ArrayParameter;
use crate::sqlstate;

pub mod required;
mod symbols;

use crate::sql::rows::required::{Block, null_violation};
use crate::sql::rows::symbols::SymbolBuilder;

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

/// Rows under construction.
#[derive(Debug)]
pub struct RowsBuilder {
    /// With the columns that are filled, after those that are given.
    target: Arc<Target>,
    given: usize,
    symbols: SymbolDictionaries,
    format: FormatSettings,
    builders: Vec<Builder>,
    /// Rows that were picked from among those that were built, in the order of the target.
    blocks: Vec<Vec<ArrayRef>>,
    row_count: usize,
    /// How many rows there is room for.
    capacity: usize,
}

/// A column under construction.
#[derive(Debug)]
enum Builder {
    Values(ColumnBuilder),
    /// Symbols are numbers from the start.
    Symbols(SymbolBuilder),
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
        let builder = |at| {
            let column = target.column(at);
            match symbols.get(column.id) {
                Some(dictionary) if column.column_type == ColumnType::Symbol => {
                    Builder::Symbols(SymbolBuilder::new(Arc::clone(dictionary), row_count))
                }
                // Also of a symbol column that became one of text since the statement was understood.
                _ => Builder::Values(ColumnBuilder::new(&column.column_type, row_count)),
            }
        };
        let builders = (0..target.columns.len()).map(builder).collect();
        let (format, blocks, capacity) = (format.clone(), Vec::new(), row_count);
        Ok(RowsBuilder { target, given, symbols, format, builders, blocks, row_count: 0, capacity })
    }

    /// The next row's value of a column is NULL.
    pub fn append_null(&mut self, at: usize) {
        match &mut self.builders[at] {
            Builder::Values(builder) => builder.append_null(),
            Builder::Symbols(builder) => builder.append_null(),
        }
    }

    /// The next row's value of a column, as text.
    ///
    /// # Errors
    /// It is no value of the column's type.
    pub fn append_text(&mut self, at: usize, text: &[u8]) -> SqlResult<()> {
        let text = decode_utf8(text)?;
        match &mut self.builders[at] {
            Builder::Values(builder) => builder.append_text(text, &self.format),
            Builder::Symbols(builder) => builder.append(text),
        }
    }

    /// The next rows' values of a column, as texts without zero bytes.
    ///
    /// # Errors
    /// One is no value of the column's type.
    pub fn append_texts<'a>(
        &mut self,
        at: usize,
        texts: impl Iterator<Item = Option<&'a str>>,
    ) -> Result<(), ColumnFault> {
        match &mut self.builders[at] {
            Builder::Values(builder) => builder.append_texts(texts, &self.format),
            Builder::Symbols(builder) => builder.extend(texts),
        }
    }

    /// The next rows' values of a column, in the binary form of its type.
    ///
    /// # Errors
    /// One is no value of the column's type.
    pub fn append_binaries<'a>(
        &mut self,
        at: usize,
        fields: impl Iterator<Item = Option<&'a [u8]>>,
    ) -> Result<(), ColumnFault> {
        match &mut self.builders[at] {
            Builder::Values(builder) => builder.append_binaries(fields, &self.format),
            Builder::Symbols(builder) => builder.extend_bytes(fields),
        }
    }

    /// The type that clients see for a column.
    pub fn pg_type(&self, at: usize) -> &PgType {
        match &self.builders[at] {
            Builder::Values(builder) => builder.pg_type(),
            Builder::Symbols(_) => &PgType::TEXT,
        }
    }

    /// The next row's value of a column, as a number in SQL; false when the column does not take it as
    /// it is written.
    pub fn append_number(&mut self, at: usize, text: &str) -> bool {
        match &mut self.builders[at] {
            Builder::Values(builder) => builder.append_number(text),
            Builder::Symbols(_) => false,
        }
    }

    /// The next row's value of a column: that of a parameter of a type.
    ///
    /// # Errors
    /// It is no value of the parameter's type, or cannot be assigned.
    pub fn append_value(
        &mut self,
        at: usize,
        values: Values<'_>,
        number: usize,
        pg_type: &PgType,
    ) -> SqlResult<()> {
        let raw = match values {
            Values::Datums(datums) => {
                return self.append_datum(at, datums.get(number).unwrap_or(&Datum::Null), pg_type);
            }
            Values::Raw(raw) => raw.get(number),
        };
        let Some(RawValue { format, bytes: Some(bytes) }) = raw else {
            self.append_null(at);
            return Ok(());
        };
        let bytes = bytes.as_ref();
        let appended = self.append_raw(at, *format, bytes, pg_type);
        appended.map_err(|error| of_parameter(error, number))
    }

    fn append_raw(&mut self, at: usize, format: Format, bytes: &[u8], pg_type: &PgType) -> SqlResult<()> {
        let is_same = family(pg_type) == family(self.pg_type(at));
        match (&mut self.builders[at], format) {
            (Builder::Values(builder), Format::Binary) if is_same => {
                builder.append_binary(bytes, pg_type, &self.format).map_err(|error| match error {
                    CastError::Value(error) => error,
                    CastError::NoCast => not_assignable(self.target.column(at), pg_type),
                })
            }
            (Builder::Values(builder), Format::Text) if is_same => {
                builder.append_text(decode_utf8(bytes)?, &self.format)
            }
            (Builder::Symbols(builder), _) if is_same => builder.append(decode_utf8(bytes)?),
            (_, format) => {
                let datum = match format {
                    Format::Text => parse_text(decode_utf8(bytes)?, pg_type, NO_TYPMOD, &self.format)?,
                    Format::Binary => parse_binary(bytes, pg_type, NO_TYPMOD)?,
                };
                self.append_datum(at, &datum, pg_type)
            }
        }
    }

    /// The next rows' values of a column: the elements of an array. How many there are.
    ///
    /// # Errors
    /// It is no array, or an element cannot be assigned.
    pub fn append_elements(
        &mut self,
        at: usize,
        values: Values<'_>,
        array: &ArrayParameter,
    ) -> SqlResult<usize> {
        let named = |error| of_parameter(error, array.number);
        let raw = match values {
            Values::Datums(datums) => {
                let Some(Datum::Array(array)) = datums.get(array.number) else { return Ok(0) };
                let mut elements = array.values.iter();
                elements.try_for_each(|element| self.append_datum(at, element, &array.element))?;
                return Ok(array.values.len());
            }
            Values::Raw(raw) => raw.get(array.number),
        };
        let Some(RawValue { format, bytes: Some(bytes) }) = raw else { return Ok(0) };
        let is_same = family(&array.element) == family(self.pg_type(at));
        if *format == Format::Binary {
            let elements = array_fields(bytes, &array.array_type).map_err(named)?;
            let count = elements.len();
            if is_same {
                let appended = self.append_binaries(at, elements.into_iter());
                return appended.map(|()| count).map_err(|fault| named(in_element(fault)));
            }
            for element in elements {
                let datum = element.map(|bytes| parse_binary(bytes, &array.element, NO_TYPMOD)).transpose();
                let datum = datum.map_err(named)?.unwrap_or(Datum::Null);
                self.append_datum(at, &datum, &array.element)?;
            }
            return Ok(count);
        }
        let text = decode_utf8(bytes).map_err(named)?;
        let literal = literal::parse(text).map_err(named)?;
        let elements = literal.elements.iter().map(Option::as_deref);
        if is_same {
            let appended = self.append_texts(at, elements);
            return appended.map(|()| literal.elements.len()).map_err(|fault| named(fault.error));
        }
        for element in elements {
            let datum = element.map(|text| parse_text(text, &array.element, NO_TYPMOD, &self.format));
            let datum = datum.transpose().map_err(named)?.unwrap_or(Datum::Null);
            self.append_datum(at, &datum, &array.element)?;
        }
        Ok(literal.elements.len())
    }

    /// The next row's value of a column, cast as an assignment casts.
    ///
    /// # Errors
    /// It cannot be assigned, or not this value.
    pub fn append_datum(&mut self, at: usize, datum: &Datum, source: &PgType) -> SqlResult<()> {
        let appended = match (&mut self.builders[at], datum) {
            (Builder::Values(builder), datum) => builder.append_datum(datum, &self.format),
            (Builder::Symbols(builder), Datum::Null) => {
                builder.append_null();
                Ok(())
            }
            (Builder::Symbols(builder), Datum::Text(text)) => builder.append(text).map_err(CastError::Value),
            (Builder::Symbols(builder), datum) => {
                match cast::assign(datum.clone(), &PgType::TEXT, NO_TYPMOD, &self.format) {
                    Ok(Datum::Text(text)) => builder.append(&text).map_err(CastError::Value),
                    Ok(_) => Err(CastError::NoCast),
                    Err(error) => Err(error),
                }
            }
        };
        appended.map_err(|error| match error {
            CastError::Value(error) => error,
            CastError::NoCast => not_assignable(self.target.column(at), source),
        })
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

    /// So many more rows get their defaults in the columns that are left out; those that were given have
    /// their values.
    ///
    /// # Errors
    /// What the expression of a default raises.
    pub fn fill(&mut self, count: usize) -> SqlResult<()> {
        for at in self.given..self.builders.len() {
            for _ in 0..count {
                self.append_default(at)?;
            }
        }
        Ok(())
    }

    /// So many rows are complete: every column has their values.
    pub fn end_rows(&mut self, count: usize) {
        self.row_count += count;
    }

    /// How many rows are complete.
    pub fn row_count(&self) -> usize {
        self.row_count
    }

    /// Bytes of memory in use.
    pub fn memory_bytes(&self) -> usize {
        let bytes = |builder: &Builder| match builder {
            Builder::Values(builder) => builder.memory_bytes(),
            Builder::Symbols(builder) => builder.memory_bytes(),
        };
        self.builders.iter().map(bytes).sum()
    }

    /// The rows of those under construction up to this number; none are under construction after, and
    /// there is room for so many.
    pub fn take_block(&mut self, row_count: usize, capacity: usize) -> Vec<(ColumnId, ArrayRef)> {
        let room = std::mem::replace(&mut self.capacity, capacity);
        let finish = |builder: &mut Builder| match builder {
            Builder::Values(builder) => builder.finish_and_reserve(capacity),
            Builder::Symbols(builder) => builder.finish(capacity),
        };
        let arrays = self.builders.iter_mut().map(finish).map(|mut array| {
            if array.len() > row_count {
                array = array.slice(0, row_count);
            }
            // The memory goes with the rows.
            if array.len() < room / 2 {
                array.shrink_to_fit();
            }
            array
        });
        self.target.columns.iter().copied().zip(arrays).collect()
    }

    /// The error for a row of a block without a value where one is needed.
    pub fn null_violation(&self, column: &Column, block: &Block, row: usize) -> SqlError {
        null_violation(&self.target.collection, column, (block, row), &self.symbols, &self.format)
    }

    /// The picked of these rows are complete.
    ///
    /// # Errors
    /// There are not as many answers as rows.
    pub fn push_block(&mut self, block: Vec<(ColumnId, ArrayRef)>, picked: &BooleanArray) -> SqlResult<()> {
        let picked_count = picked.true_count();
        if picked_count > 0 {
            let arrays = block.into_iter().map(|(_, array)| filter(&array, picked));
            self.blocks.push(arrays.collect::<Result<_, _>>().map_err(SqlError::internal)?);
        }
        self.row_count += picked_count;
        Ok(())
    }

    /// The rows, which are all there will be; the builder is empty after.
    ///
    /// # Errors
    /// A row is not one of the collection.
    pub fn finish(&mut self) -> SqlResult<WriteBatch> {
        self.finish_with_room(0)
    }

    /// The rows so far; the builder is empty after, with room for as many.
    ///
    /// # Errors
    /// A row is not one of the collection.
    pub fn finish_some(&mut self) -> SqlResult<WriteBatch> {
        self.finish_with_room(self.row_count)
    }

    fn finish_with_room(&mut self, capacity: usize) -> SqlResult<WriteBatch> {
        let mut block = self.take_block(self.row_count, capacity);
        self.row_count = 0;
        let blocks = std::mem::take(&mut self.blocks);
        if !blocks.is_empty() {
            for (at, (_, array)) in block.iter_mut().enumerate() {
                let parts: Vec<&dyn Array> = blocks.iter().map(|block| block[at].as_ref()).collect();
                *array = compacted(&concat(&parts).map_err(SqlError::internal)?);
            }
        }
        for builder in &mut self.builders {
            // The column became one of text: its texts need no numbers any more.
            if matches!(builder, Builder::Symbols(symbols) if symbols.is_retired()) {
                *builder = Builder::Values(ColumnBuilder::new(&ColumnType::Text, capacity));
            }
        }
        checked(&self.target, block, &self.symbols, &self.format)
    }
}

/// The rows of a block, if each has a value where one is needed.
fn checked(
    target: &Target,
    block: Vec<(ColumnId, ArrayRef)>,
    symbols: &SymbolDictionaries,
    format: &FormatSettings,
) -> SqlResult<WriteBatch> {
    let has_rows = block.first().is_some_and(|(_, array)| !array.is_empty());
    if has_rows && let Some((row, column)) = target.first_missing_value(&block) {
        return Err(null_violation(&target.collection, column, (&block, row), symbols, format));
    }
    WriteBatch::new(&target.collection, block).map_err(|error| write_error(&error))
}

/// The array without texts of rows that were not picked.
fn compacted(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        _ => Arc::clone(array),
    }
}

/// PostgreSQL says which parameter was not what it should be.
pub fn of_parameter(error: SqlError, number: usize) -> SqlError {
    if error.message() == "incorrect binary data format" {
        let message = format!("incorrect binary data format in bind parameter {}", number + 1);
        return SqlError::new(error.state(), message);
    }
    error.with_context(format!("unnamed portal parameter ${}", number + 1))
}

/// The error in an element of an array, which is not what its length says.
fn in_element(fault: ColumnFault) -> SqlError {
    if fault.error.message() == "incorrect binary data format" {
        let message = format!("improper binary format in array element {}", fault.row + 1);
        return SqlError::new(fault.error.state(), message);
    }
    fault.error
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
    to_batch(&all, symbols, arrays, format)
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
    format: &FormatSettings,
) -> SqlResult<WriteBatch> {
    checked(target, to_columns(target, symbols, arrays)?, symbols, format)
}

/// The same as columns of rows that may lack others.
///
/// # Errors
/// A dictionary of symbols is full.
pub fn to_columns(
    target: &Target,
    symbols: &SymbolDictionaries,
    arrays: Vec<ArrayRef>,
) -> SqlResult<Vec<(ColumnId, ArrayRef)>> {
    let columns = arrays.into_iter().enumerate().map(|(at, array)| {
        let column = target.column(at);
        let array = match &column.column_type {
            ColumnType::Symbol => intern(symbols, column, &array)?,
            _ => array,
        };
        Ok((column.id, array))
    });
    columns.collect()
}

/// Rows from columns as the engine has them.
///
/// # Errors
/// A row is not one of the collection.
pub fn rows_of(
    engine: &Engine,
    target: &Target,
    columns: Vec<(ColumnId, ArrayRef)>,
    format: &FormatSettings,
) -> SqlResult<WriteBatch> {
    let symbols = engine.symbols(target.collection.id).map_err(|error| write_error(&error))?;
    checked(target, columns, &symbols, format)
}

/// The rows of batches of the same columns in one; none of none.
///
/// # Errors
/// None that a statement could be the cause of.
pub fn put_together(
    engine: &Engine,
    collection: &Collection,
    mut batches: Vec<WriteBatch>,
) -> SqlResult<Option<WriteBatch>> {
    if batches.len() < 2 {
        return Ok(batches.pop());
    }
    // Symbols may have become texts between one and the next.
    let batches = engine.fitted(collection.id, batches).map_err(|error| write_error(&error))?;
    let columns = batches[0].columns().iter().enumerate().map(|(at, (id, _))| {
        let parts: Vec<&dyn Array> = batches.iter().map(|batch| batch.columns()[at].1.as_ref()).collect();
        Ok((*id, concat(&parts).map_err(SqlError::internal)?))
    });
    let batch = WriteBatch::new(collection, columns.collect::<SqlResult<Vec<_>>>()?);
    batch.map(Some).map_err(|error| write_error(&error))
}

fn intern(symbols: &SymbolDictionaries, column: &Column, texts: &ArrayRef) -> SqlResult<ArrayRef> {
    let Some(dictionary) = symbols.get(column.id) else {
        // It became one of text since the statement was understood.
        return cast_to_texts(texts, &DataType::Utf8View).map_err(SqlError::internal);
    };
    let numbers = match texts.data_type() {
        DataType::Utf8 => dictionary.intern_array(texts.as_string::<i32>().iter()),
        DataType::Utf8View => dictionary.intern_array(texts.as_string_view().iter()),
        other => return Err(SqlError::internal(format!("symbols as {other}"))),
    };
    Ok(Arc::new(numbers.map_err(|error| write_error(&error))?))
}

/// What became of rows with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// They are committed.
    Now,
    /// They had been committed before.
    Before,
}

/// Writes rows and waits until they are durable and visible; those that their producer numbered, unless
/// they were committed before. While memtables are full it waits, as long as the engine says a writer
/// waits.
///
/// # Errors
/// As PostgreSQL says them; after a failure of the log the server stops.
pub async fn write_durably(
    engine: &Arc<Engine>,
    writes: Vec<Write>,
    synchronous: bool,
    number: Option<&BatchNumber>,
) -> SqlResult<Written> {
    wait_committed(hand_over(engine, writes, synchronous, number).await?).await
}

/// Hands rows over: when this returns they have a place in the log, and are not durable yet. Symbol columns
/// with too many texts become columns of text first.
///
/// # Errors
/// As PostgreSQL says them; nothing is applied.
pub async fn hand_over(
    engine: &Arc<Engine>,
    writes: Vec<Write>,
    synchronous: bool,
    number: Option<&BatchNumber>,
) -> SqlResult<Submitted> {
    let mut writes = writes;
    loop {
        match hand_over_admitted(engine, writes, synchronous, number).await? {
            Ok(submitted) => return Ok(submitted),
            Err((collection, refused)) => {
                limit_symbols(engine, collection).await?;
                writes = refused;
            }
        }
    }
}

/// Makes symbol columns with too many texts columns of text.
async fn limit_symbols(engine: &Arc<Engine>, collection: CollectionId) -> SqlResult<()> {
    let engine = Arc::clone(engine);
    let limited = tokio::task::spawn_blocking(move || engine.limit_symbols(collection)).await;
    let limited =
        limited.map_err(|error| SqlError::internal(format!("a change ended by a panic: {error}")))?;
    limited.map_err(|error| write_error(&error))
}

/// Waits for memory. Gives the rows back when a symbol column of a collection has too many texts.
async fn hand_over_admitted(
    engine: &Engine,
    writes: Vec<Write>,
    synchronous: bool,
    number: Option<&BatchNumber>,
) -> SqlResult<Result<Submitted, (CollectionId, Vec<Write>)>> {
    use tidemark_engine::engine::Durability;
    let durability = if synchronous { engine.default_durability() } else { Durability::Written };
    let bytes: usize = writes.iter().map(|write| write.batch.memory_bytes()).sum();
    let mut writes = writes;
    let waited = tokio::time::timeout(engine.options().admission_wait_max, async {
        loop {
            match engine.try_write_numbered(writes, durability, number) {
                Ok(ticket) => return Ok(Ok(ticket)),
                Err((WriteError::OverBudget { .. }, refused)) => writes = refused,
                Err((WriteError::SymbolLimit(collection), refused)) => return Ok(Err((collection, refused))),
                Err((error, _)) => return Err(write_error(&error)),
            }
            engine.budget().available(bytes).await;
        }
    });
    match waited.await {
        Ok(submitted) => submitted,
        Err(_) => Err(write_error(&engine.over_budget())),
    }
}

/// Waits until what was handed over is durable.
///
/// # Errors
/// The log failed; the server stops.
pub async fn wait_committed(submitted: Submitted) -> SqlResult<Written> {
    let (ticket, written) = match submitted {
        Submitted::Now(ticket) => (ticket, Written::Now),
        Submitted::Before(ticket) => (ticket, Written::Before),
    };
    ticket.committed().await.map_err(|error| write_error(&error))?;
    Ok(written)
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
