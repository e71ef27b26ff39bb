//! Rows from whole columns: in the types of the collection, with defaults in the columns that are left out,
//! and with a value where one is needed.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{cast as cast_to_texts, concat};
use arrow::datatypes::DataType;
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::ColumnId;
use tidemark_catalog::schema::Column;
use tidemark_catalog::types::ColumnType;
use tidemark_engine::batch::WriteBatch;
use tidemark_engine::engine::Engine;
use tidemark_engine::memtable::dictionaries::SymbolDictionaries;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::PgType;
use crate::pgtype::builder::ColumnBuilder;
use crate::pgtype::cast::CastError;
use crate::pgtype::datum::Datum;
use crate::pgtype::settings::FormatSettings;
use crate::sql::rows::Target;
use crate::sql::rows::errors::{not_assignable, write_error};
use crate::sql::rows::required::null_violation;

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

/// The rows of a block, if each has a value where one is needed.
pub(super) fn checked(
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
pub(super) fn compacted(array: &ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        _ => Arc::clone(array),
    }
}
