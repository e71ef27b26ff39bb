//! Rows under construction, column by column, from texts, binary forms, values and defaults.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::{concat, filter};
use tidemark_catalog::ids::ColumnId;
use tidemark_catalog::schema::Column;
use tidemark_catalog::types::ColumnType;
use tidemark_engine::batch::WriteBatch;
use tidemark_engine::engine::Engine;
use tidemark_engine::memtable::dictionaries::SymbolDictionaries;

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
use crate::pgtype::types::{NO_TYPMOD, family};
use crate::sql::insert::unnest::ArrayParameter;
use crate::sql::rows::batches::{checked, compacted};
use crate::sql::rows::errors::{not_assignable, of_parameter, write_error};
use crate::sql::rows::required::{Block, null_violation};
use crate::sql::rows::symbols::SymbolBuilder;
use crate::sql::rows::{RawValue, Target, Values};

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

/// The error in an element of an array, which is not what its length says.
fn in_element(fault: ColumnFault) -> SqlError {
    if fault.error.message() == "incorrect binary data format" {
        let message = format!("improper binary format in array element {}", fault.row + 1);
        return SqlError::new(fault.error.state(), message);
    }
    fault.error
}
