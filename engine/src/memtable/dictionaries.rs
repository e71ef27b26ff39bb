//! The dictionaries of a collection, and columns as they say: numbers where a column is one of symbols, texts
//! where it was one.
//!
//! A column has a dictionary if and only if it is one of symbols. That of a column that became one of text is
//! kept apart, for numbers that are on their way.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Int32Type};
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::ColumnId;
use tidemark_catalog::schema::Column;
use tidemark_catalog::types::ColumnType;

use crate::batch::WriteBatch;
use crate::error::WriteError;
use crate::memtable::symbols::SymbolDictionary;

/// The dictionaries of a collection's symbol columns.
#[derive(Clone, Debug, Default)]
pub struct SymbolDictionaries(Arc<Dictionaries>);

#[derive(Debug, Default)]
struct Dictionaries {
    live: ByColumn,
    /// Of columns of text that were symbol columns since the engine was opened: rows on their way may have
    /// their numbers.
    retired: ByColumn,
    /// How many texts one may have before the column becomes one of text; `None` without a collection.
    limit: Option<NonZeroU32>,
}

type ByColumn = BTreeMap<ColumnId, Arc<SymbolDictionary>>;

impl SymbolDictionaries {
    /// The dictionary of a column; `None` for a column that is not a symbol.
    pub fn get(&self, id: ColumnId) -> Option<&Arc<SymbolDictionary>> {
        self.0.live.get(&id)
    }

    /// The dictionary that a column of text had when it was a symbol column.
    pub(crate) fn retired(&self, id: ColumnId) -> Option<&Arc<SymbolDictionary>> {
        self.0.retired.get(&id)
    }

    /// What the numbers of a column mean, be it one of symbols or one of text that was.
    pub fn of_numbers(&self, id: ColumnId) -> Option<&Arc<SymbolDictionary>> {
        self.get(id).or_else(|| self.retired(id))
    }

    /// All of them, by column.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ColumnId, &Arc<SymbolDictionary>)> {
        self.0.live.iter().map(|(id, dictionary)| (*id, dictionary))
    }

    /// Whether a column was ever one of symbols, or is.
    pub(crate) fn has_any(&self) -> bool {
        !self.0.live.is_empty() || !self.0.retired.is_empty()
    }

    /// Whether these are the same, not others that are alike.
    pub(crate) fn are(&self, others: &SymbolDictionaries) -> bool {
        Arc::ptr_eq(&self.0, &others.0)
    }

    /// Those of what a collection is or will be: dictionaries that are there stay.
    pub(crate) fn adapted_to(&self, collection: &Collection) -> SymbolDictionaries {
        let (mut live, mut retired) = (ByColumn::new(), ByColumn::new());
        for column in collection.schema.columns() {
            let id = column.id;
            if column.column_type == ColumnType::Symbol {
                live.insert(id, self.get(id).cloned().unwrap_or_default());
            } else if let Some(dictionary) = self.of_numbers(id) {
                retired.insert(id, Arc::clone(dictionary));
            }
        }
        let limit = Some(collection.timeseries().symbol_limit);
        SymbolDictionaries(Arc::new(Dictionaries { live, retired, limit }))
    }

    /// Columns that became columns of text need no more numbers.
    pub(crate) fn retire(&self) {
        self.0.retired.values().for_each(|dictionary| dictionary.retire());
    }

    /// Whether the column can be written. The dictionary of a symbol column that was dropped goes while
    /// a flush or merge that began before may still think of the column.
    pub(crate) fn allow(&self, column: &Column) -> bool {
        column.column_type != ColumnType::Symbol || self.get(column.id).is_some()
    }

    /// These, and those of the others that are not among them.
    pub(crate) fn and(&self, others: &SymbolDictionaries) -> SymbolDictionaries {
        let all = |own: &ByColumn, others: &ByColumn| {
            let all = others.iter().chain(own);
            all.map(|(id, dictionary)| (*id, Arc::clone(dictionary))).collect()
        };
        SymbolDictionaries(Arc::new(Dictionaries {
            live: all(&self.0.live, &others.0.live),
            retired: all(&self.0.retired, &others.0.retired),
            limit: self.0.limit,
        }))
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let all = self.0.live.values().chain(self.0.retired.values());
        all.map(|dictionary| dictionary.memory_bytes()).sum()
    }

    /// The columns with too many texts, and how many these are.
    pub(crate) fn over_limit(&self) -> Vec<(ColumnId, usize)> {
        let Some(limit) = self.0.limit else { return Vec::new() };
        let counts = self.iter().map(|(id, dictionary)| (id, dictionary.len()));
        counts.filter(|(_, count)| *count > limit.get() as usize).collect()
    }

    /// Whether a column of the batch has too many texts.
    pub(crate) fn are_too_many(&self, batch: &WriteBatch) -> bool {
        let Some(limit) = self.0.limit else { return false };
        let is_over = |id| self.get(id).is_some_and(|dictionary| dictionary.len() > limit.get() as usize);
        batch.columns().iter().any(|(id, _)| is_over(*id))
    }

    /// Whether a column is not as these say.
    pub(crate) fn is_other_form(&self, batch: &WriteBatch) -> bool {
        self.has_any() && batch.columns().iter().any(|(id, array)| self.is_other(*id, array))
    }

    /// Columns with numbers where these have dictionaries, and texts where they have none any more; `None`
    /// when they are so already.
    ///
    /// # Errors
    /// A dictionary is full.
    pub(crate) fn fitted(
        &self,
        columns: &[(ColumnId, ArrayRef)],
    ) -> Result<Option<Vec<(ColumnId, ArrayRef)>>, WriteError> {
        if !self.has_any() || !columns.iter().any(|(id, array)| self.is_other(*id, array)) {
            return Ok(None);
        }
        let columns = columns.iter().map(|(id, array)| Ok((*id, self.fitted_array(*id, array)?)));
        columns.collect::<Result<Vec<_>, WriteError>>().map(Some)
    }

    /// An array of a column, as texts where another array of it has texts.
    pub fn alike(&self, id: ColumnId, array: &ArrayRef, other: &ArrayRef) -> ArrayRef {
        match (array.as_primitive_opt::<Int32Type>(), other.data_type(), self.of_numbers(id)) {
            (Some(numbers), DataType::Utf8View, Some(dictionary)) => Arc::new(dictionary.texts_of(numbers)),
            _ => Arc::clone(array),
        }
    }

    fn is_other(&self, id: ColumnId, array: &ArrayRef) -> bool {
        match array.data_type() {
            DataType::Int32 => self.retired(id).is_some(),
            DataType::Utf8View => self.get(id).is_some(),
            _ => false,
        }
    }

    fn fitted_array(&self, id: ColumnId, array: &ArrayRef) -> Result<ArrayRef, WriteError> {
        match (array.data_type(), self.get(id), self.retired(id)) {
            (DataType::Int32, _, Some(retired)) => {
                Ok(Arc::new(retired.texts_of(array.as_primitive::<Int32Type>())))
            }
            (DataType::Utf8View, Some(live), _) => {
                Ok(Arc::new(live.intern_array(array.as_string_view().iter())?))
            }
            _ => Ok(Arc::clone(array)),
        }
    }
}
