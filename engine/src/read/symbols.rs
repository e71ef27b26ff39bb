//! Predicates on symbols: numbers are compared where texts would be.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, Scalar, StringArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::compute::kernels::cmp;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use crate::memtable::symbols::SymbolDictionary;
use crate::read::predicate::{Comparison, Predicate};

/// For each number of a dictionary, whether a predicate holds for its text. Made when it is first
/// needed, and again when the dictionary has grown.
#[derive(Debug, Default)]
pub(crate) struct TextTable(Mutex<Option<Arc<BooleanBuffer>>>);

impl TextTable {
    fn covering(
        &self,
        dictionary: &SymbolDictionary,
        predicate: &Predicate,
    ) -> Result<Arc<BooleanBuffer>, ArrowError> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = table.as_ref().filter(|table| table.len() >= dictionary.len()) {
            return Ok(Arc::clone(table));
        }
        let texts = dictionary.values() as ArrayRef;
        let held = predicate.evaluate_array(&texts)?;
        let made = Arc::new(held.values().clone());
        *table = Some(Arc::clone(&made));
        Ok(made)
    }
}

/// Which rows of a block of a symbol column fulfil a predicate.
pub(crate) fn evaluate(
    predicate: &Predicate,
    array: &ArrayRef,
    dictionary: &SymbolDictionary,
    table: &TextTable,
) -> Result<BooleanArray, ArrowError> {
    if *array.data_type() != DataType::Int32 {
        return predicate.evaluate_array(array);
    }
    let numbers: &Int32Array = array.as_primitive();
    match predicate {
        Predicate::IsNull { .. } => predicate.evaluate_array(array),
        Predicate::Compare { comparison: Comparison::Equal, value, .. } => {
            equal_to_any(numbers, &numbers_of(value, dictionary)?)
        }
        Predicate::OneOf { values, .. } => equal_to_any(numbers, &numbers_of(values, dictionary)?),
        Predicate::Compare { .. } | Predicate::Text { .. } => {
            let table = table.covering(dictionary, predicate)?;
            // The number of a NULL may be anything.
            let holds =
                |number: i32| usize::try_from(number).is_ok_and(|at| at < table.len() && table.value(at));
            let held = BooleanBuffer::collect_bool(numbers.len(), |row| holds(numbers.value(row)));
            Ok(BooleanArray::new(held, numbers.nulls().cloned()))
        }
    }
}

/// The numbers of those texts that have one.
fn numbers_of(texts: &ArrayRef, dictionary: &SymbolDictionary) -> Result<Vec<i32>, ArrowError> {
    let texts = cast(texts, &DataType::Utf8)?;
    let texts: &StringArray = texts.as_string();
    Ok(texts.iter().flatten().filter_map(|text| dictionary.find(text)).collect())
}

fn equal_to_any(numbers: &Int32Array, wanted: &[i32]) -> Result<BooleanArray, ArrowError> {
    let [first, others @ ..] = wanted else {
        let none = BooleanBuffer::new_unset(numbers.len());
        return Ok(BooleanArray::new(none, numbers.nulls().cloned()));
    };
    let equal = |number: i32| cmp::eq(numbers, &Scalar::new(Int32Array::from(vec![number])));
    others
        .iter()
        .try_fold(equal(*first)?, |found, number| arrow::compute::or_kleene(&found, &equal(*number)?))
}

#[cfg(test)]
mod tests {
    use tidemark_catalog::ids::ColumnId;

    use super::*;

    fn rows(predicate: &Predicate) -> Vec<usize> {
        let dictionary = SymbolDictionary::default();
        let texts = [Some("b"), None, Some("a"), Some("c"), Some("b")];
        let numbers: ArrayRef = Arc::new(dictionary.intern_array(texts.into_iter()).unwrap());
        let found = evaluate(predicate, &numbers, &dictionary, &TextTable::default()).unwrap();
        (0..found.len()).filter(|row| found.is_valid(*row) && found.value(*row)).collect()
    }

    #[test]
    fn numbers_stand_for_texts() {
        let column = ColumnId(1);
        let text = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
        let compare =
            |comparison, value| rows(&Predicate::Compare { column, comparison, value: text(value) });
        assert_eq!(compare(Comparison::Equal, "b"), [0, 4]);
        assert_eq!(compare(Comparison::Equal, "unknown"), [0; 0]);
        assert_eq!(compare(Comparison::NotEqual, "b"), [2, 3]);
        assert_eq!(compare(Comparison::NotEqual, "unknown"), [0, 2, 3, 4]);
        assert_eq!(compare(Comparison::Less, "b"), [2]);
        assert_eq!(compare(Comparison::GreaterOrEqual, "aa"), [0, 3, 4]);
        let values = Arc::new(StringArray::from(vec!["c", "unknown", "a"])) as ArrayRef;
        assert_eq!(rows(&Predicate::OneOf { column, values }), [2, 3]);
        assert_eq!(rows(&Predicate::IsNull { column, wanted: true }), [1]);
    }
}
