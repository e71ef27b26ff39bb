//! What a column holds in rows that were written before the column was there.
//!
//! Adding a column rewrites nothing: a batch of the log, a chunk of a memtable or a segment file that
//! does not have the column holds its *missing value* in every row; NULL, when it has none. A writer
//! that knows the column therefore writes a NULL that it means (see [`WriteBatch::new`]).
//!
//! The catalog keeps the value in the form that arrays have in the log.
//!
//! [`WriteBatch::new`]: crate::batch::WriteBatch::new

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, UInt32Array, new_null_array};
use arrow::compute::{cast, take};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::ColumnId;
use tidemark_catalog::schema::EncodedValue;
use tidemark_catalog::types::ColumnType;

use crate::error::{MissingValueError, WalFormatError};
use crate::memtable::dictionaries::SymbolDictionaries;
use crate::read::predicate::Predicate;
use crate::types::read_type;
use crate::wal::codec::{decode_array, encode_array};

/// The missing value of a column, as the catalog keeps it: the one value of an array of the column's
/// type; of texts for a symbol column.
///
/// # Errors
/// Arrow cannot read the array as texts.
pub fn encode_missing(column_type: &ColumnType, value: &ArrayRef) -> Result<EncodedValue, ArrowError> {
    assert_eq!(value.len(), 1, "it is one value");
    let value = cast(value, &encoded_type(column_type))?;
    let mut bytes = Vec::new();
    encode_array(&mut bytes, value.as_ref());
    Ok(EncodedValue(bytes.into()))
}

/// The inverse of [`encode_missing`].
///
/// # Errors
/// It is no value of the type.
pub fn decode_missing(column_type: &ColumnType, value: &EncodedValue) -> Result<ArrayRef, WalFormatError> {
    decode_array(&value.0, 1, &encoded_type(column_type))
}

fn encoded_type(column_type: &ColumnType) -> DataType {
    match column_type {
        ColumnType::Symbol => DataType::Utf8View,
        other => read_type(other),
    }
}

/// The missing values of a collection's columns.
#[derive(Clone, Debug, Default)]
pub(crate) struct MissingValues(Arc<BTreeMap<ColumnId, MissingValue>>);

#[derive(Clone, Debug)]
struct MissingValue {
    /// One value, as predicates compare it: a symbol is its text.
    compared: ArrayRef,
    /// One value, as memtables have it: a symbol is its number.
    written: ArrayRef,
}

impl MissingValues {
    /// The values of all columns that have one.
    pub(crate) fn new(
        collection: &Collection,
        symbols: &SymbolDictionaries,
    ) -> Result<MissingValues, MissingValueError> {
        let mut values = BTreeMap::new();
        for column in collection.schema.columns() {
            let Some(encoded) = &column.missing else { continue };
            let value = decode_missing(&column.column_type, encoded)
                .map_err(|source| MissingValueError::NotUnderstood { column: column.name.clone(), source })?;
            let value = match symbols.get(column.id) {
                None => MissingValue { compared: Arc::clone(&value), written: value },
                Some(dictionary) => {
                    let number = dictionary.intern_array(value.as_string_view().iter());
                    let number: Int32Array = number.map_err(MissingValueError::Symbols)?;
                    let compared = cast(&value, &DataType::Utf8).expect("a view is a text");
                    MissingValue { compared, written: Arc::new(number) }
                }
            };
            values.insert(column.id, value);
        }
        Ok(MissingValues(Arc::new(values)))
    }

    /// These, and those of the others that are not among them.
    pub(crate) fn and(&self, others: &MissingValues) -> MissingValues {
        let all = others.0.iter().chain(self.0.iter());
        MissingValues(Arc::new(all.map(|(id, value)| (*id, value.clone())).collect()))
    }

    /// The one value of a column, in the form of memtables.
    pub(crate) fn value(&self, id: ColumnId) -> Option<&ArrayRef> {
        self.0.get(&id).map(|value| &value.written)
    }

    /// A column of so many rows that do not have it, in the form of memtables; `None` when it is NULL
    /// in all of them.
    pub(crate) fn array(&self, id: ColumnId, row_count: usize) -> Result<Option<ArrayRef>, ArrowError> {
        let Some(value) = self.0.get(&id) else { return Ok(None) };
        let indexes = UInt32Array::from(vec![0; row_count]);
        take(&value.written, &indexes, None).map(Some)
    }

    /// The same, in this type of memtables where it is NULL.
    pub(crate) fn array_or_null(
        &self,
        id: ColumnId,
        data_type: &DataType,
        row_count: usize,
    ) -> Result<ArrayRef, ArrowError> {
        Ok(self.array(id, row_count)?.unwrap_or_else(|| new_null_array(data_type, row_count)))
    }

    /// Whether rows that do not have the predicate's column fulfil it.
    pub(crate) fn fulfil(&self, predicate: &Predicate) -> Result<bool, ArrowError> {
        match self.0.get(&predicate.column()) {
            None => Ok(matches!(predicate, Predicate::IsNull { wanted: true, .. })),
            Some(value) => {
                let found = predicate.evaluate_array(&value.compared)?;
                Ok(found.is_valid(0) && found.value(0))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use arrow::array::{Int32Builder, IntervalMonthDayNanoArray, ListBuilder, StringArray, StringViewArray};
    use arrow::datatypes::IntervalMonthDayNano;
    use tidemark_catalog::collection::{CalendarInterval, CollectionKind, IntervalUnit, TimeseriesOptions};
    use tidemark_catalog::ids::{BOOTSTRAP_ROLE, CollectionId, Lsn, NAMESPACE_PUBLIC};
    use tidemark_catalog::schema::{NewColumn, Nullability, Schema};
    use tidemark_catalog::types::TimeUnit;

    use super::*;
    use crate::collection::CollectionRuntime;
    use crate::memtable::budget::Budget;
    use crate::read::predicate::Comparison;

    fn collection(column_type: ColumnType, missing: Option<EncodedValue>) -> Arc<Collection> {
        let time = ColumnType::Timestamptz(TimeUnit::Microsecond);
        let columns = vec![
            NewColumn::new("ts", time, Nullability::Required),
            NewColumn { missing, ..NewColumn::new("added", column_type, Nullability::Nullable) },
        ];
        let day = CalendarInterval { count: NonZeroU32::MIN, unit: IntervalUnit::Day };
        Arc::new(Collection {
            id: CollectionId(1),
            namespace: NAMESPACE_PUBLIC,
            name: "a".to_owned(),
            owner: BOOTSTRAP_ROLE,
            schema: Arc::new(Schema::new(columns).unwrap()),
            kind: CollectionKind::Timeseries(TimeseriesOptions::new(ColumnId(1), day)),
            flushed_lsn: Lsn::ZERO,
        })
    }

    #[test]
    fn values_of_every_form_are_read_back() {
        let mut list = ListBuilder::new(Int32Builder::new());
        list.append_value([Some(1), None, Some(3)]);
        let interval = IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(1, 2, 3)]);
        let text: ArrayRef = Arc::new(StringViewArray::from(vec!["a text that is not short"]));
        let cases: [(ColumnType, ArrayRef); 6] = [
            (ColumnType::Int4, Arc::new(Int32Array::from(vec![42]))),
            (ColumnType::Bool, Arc::new(arrow::array::BooleanArray::from(vec![true]))),
            (ColumnType::Text, Arc::clone(&text)),
            (ColumnType::Symbol, text),
            (ColumnType::Interval, Arc::new(interval)),
            (ColumnType::Array(Box::new(ColumnType::Int4)), Arc::new(list.finish())),
        ];
        for (column_type, value) in cases {
            let encoded = encode_missing(&column_type, &value).unwrap();
            assert_eq!(&decode_missing(&column_type, &encoded).unwrap(), &value, "{column_type}");
            let cut = EncodedValue(encoded.0[..encoded.0.len() - 1].into());
            assert_eq!(decode_missing(&column_type, &cut), Err(WalFormatError::BadRecord), "{column_type}");
        }
    }

    #[test]
    fn a_symbol_is_its_number_in_rows_and_its_text_in_predicates() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["eu"]));
        let encoded = encode_missing(&ColumnType::Symbol, &text).unwrap();
        let runtime = CollectionRuntime::new(
            collection(ColumnType::Symbol, Some(encoded)),
            Vec::new(),
            &Budget::new(1 << 20),
        );
        let runtime = runtime.unwrap();
        let (missing, id) = (runtime.missing(), ColumnId(2));
        let numbers = missing.array(id, 3).unwrap().unwrap();
        let texts = runtime.symbols().get(id).unwrap().resolve(numbers.as_primitive());
        let texts = cast(&texts, &DataType::Utf8).unwrap();
        assert_eq!(texts.as_string::<i32>().iter().collect::<Vec<_>>(), [Some("eu"); 3]);
        let compare = |comparison| Predicate::Compare { column: id, comparison, value: Arc::clone(&text) };
        assert!(missing.fulfil(&compare(Comparison::Equal)).unwrap());
        assert!(!missing.fulfil(&compare(Comparison::Less)).unwrap());
        assert!(missing.fulfil(&Predicate::IsNull { column: id, wanted: false }).unwrap());
    }

    #[test]
    fn without_a_value_it_is_null() {
        let runtime =
            CollectionRuntime::new(collection(ColumnType::Int4, None), Vec::new(), &Budget::new(1 << 20))
                .unwrap();
        let (missing, id) = (runtime.missing(), ColumnId(2));
        assert!(missing.array(id, 3).unwrap().is_none());
        assert_eq!(missing.array_or_null(id, &DataType::Int32, 3).unwrap().null_count(), 3);
        assert!(missing.fulfil(&Predicate::IsNull { column: id, wanted: true }).unwrap());
        let value: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        let unequal = Predicate::Compare { column: id, comparison: Comparison::NotEqual, value };
        assert!(!missing.fulfil(&unequal).unwrap());
    }
}
