//! From what the Parquet reader gives to the form in which blocks are kept.
//!
//! A file is read as the collection is now, not as it was when the file was written: of a column that was one
//! of symbols and is one of text now, some files have texts by a dictionary, and others have not.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, IntervalMonthDayNanoArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, IntervalMonthDayNano};
use arrow::error::ArrowError;

use crate::error::ReadError;
use crate::memtable::symbols::SymbolDictionary;
use crate::types::symbol_type;

/// Turns decoded arrays of one column into blocks.
#[derive(Debug)]
pub(crate) struct BlockDecoder {
    symbols: Option<Arc<SymbolDictionary>>,
    data_type: DataType,
    /// The numbers of the texts of the dictionary that was met last; pages of a row group share one.
    last: Option<(ArrayRef, Vec<i32>)>,
}

impl BlockDecoder {
    /// For a column of this type to readers, with the dictionary of a symbol column.
    pub(crate) fn new(symbols: Option<&Arc<SymbolDictionary>>, data_type: DataType) -> BlockDecoder {
        BlockDecoder { symbols: symbols.map(Arc::clone), data_type, last: None }
    }

    /// Whether an array is a block as this makes them: not, where the column became one of text since.
    pub(crate) fn is_block(
        symbols: Option<&Arc<SymbolDictionary>>,
        data_type: &DataType,
        block: &ArrayRef,
    ) -> bool {
        let found = block.data_type();
        found == data_type || symbols.is_some() && *found == DataType::Int32
    }

    /// The block of a decoded array.
    pub(crate) fn decode(&mut self, array: &ArrayRef) -> Result<ArrayRef, ReadError> {
        if self.symbols.is_some() {
            return Ok(self.symbol_numbers(array)?);
        }
        Ok(to_read_type(array, &self.data_type)?)
    }

    /// Texts as numbers of the collection's dictionary. When that is full they stay texts.
    fn symbol_numbers(&mut self, array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        let array = match array.data_type() {
            DataType::Dictionary(..) => Arc::clone(array),
            _ => cast(array, &symbol_type())?,
        };
        let dictionary = array.as_dictionary::<Int32Type>();
        let values = dictionary.values();
        if self.last.as_ref().is_none_or(|(known, _)| !known.to_data().ptr_eq(&values.to_data())) {
            let symbols = self.symbols.as_ref().expect("it is a symbol column");
            let Some(texts) = values.as_any().downcast_ref::<StringArray>() else {
                return Err(ArrowError::SchemaError(format!("symbols as {}", values.data_type())));
            };
            // A value that is NULL, or that no key names, needs no number.
            let numbers = texts.iter().map(|text| text.map_or(Ok(0), |text| symbols.intern(text)));
            match numbers.collect() {
                Ok(numbers) => self.last = Some((Arc::clone(values), numbers)),
                Err(_) => return Ok(array),
            }
        }
        let (_, numbers) = self.last.as_ref().expect("it was set above");
        let keys = dictionary.keys();
        let of_key = |key: &i32| usize::try_from(*key).ok().and_then(|key| numbers.get(key)).copied();
        // The key of a NULL may be anything.
        let mapped = keys.values().iter().map(|key| of_key(key).unwrap_or_default()).collect();
        Ok(Arc::new(Int32Array::new(mapped, keys.nulls().cloned())))
    }
}

/// A decoded column in the type that readers get.
fn to_read_type(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    match (array.data_type(), data_type) {
        (found, wanted) if found == wanted => Ok(Arc::clone(array)),
        (DataType::FixedSizeBinary(16), DataType::Interval(_)) => Ok(intervals(array)),
        // Views would keep all of the dictionary for each block.
        (DataType::Dictionary(..), DataType::Utf8View) => {
            Ok(Arc::new(cast(array, data_type)?.as_string_view().gc()))
        }
        _ => cast(array, data_type),
    }
}

/// The inverse of the writer's `interval_bytes`.
fn intervals(array: &ArrayRef) -> ArrayRef {
    let bytes = array.as_fixed_size_binary();
    let values = bytes.value_data().chunks_exact(16).skip(bytes.offset()).take(bytes.len());
    let values = values.map(|value| {
        let i32_at = |at: usize| i32::from_le_bytes(value[at..at + 4].try_into().expect("four bytes"));
        let nanoseconds = i64::from_le_bytes(value[8..].try_into().expect("eight bytes"));
        IntervalMonthDayNano::new(i32_at(0), i32_at(4), nanoseconds)
    });
    let values: Vec<IntervalMonthDayNano> = values.collect();
    Arc::new(IntervalMonthDayNanoArray::new(values.into(), bytes.nulls().cloned()))
}
