//! The dictionary of a `SYMBOL` column: text ↔ number, for the rows in memory.
//!
//! Append-only: a number keeps its meaning for as long as the server runs. Segments and the log
//! carry the text, so numbers are never stored and the dictionary starts empty. What happens when it has
//! more texts than it should is told in [`crate::symbol_limit`].

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use arrow::array::{Array, ArrayRef, Int32Array, StringArray, StringViewArray, StringViewBuilder};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::error::WriteError;

/// The dictionary of one column. Clones of the `Arc` share it.
#[derive(Debug, Default)]
pub struct SymbolDictionary {
    inner: RwLock<Inner>,
    /// The column is not one of symbols any more. Never becomes false again.
    retired: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    hasher: DefaultHashBuilder,
    /// Numbers, found by the hash of their text.
    table: HashTable<i32>,
    /// Where the text of each number ends in `text`; it starts where the one before ends.
    ends: Vec<i32>,
    text: Vec<u8>,
    /// The text of the first numbers as an Arrow array; made when asked for, kept until it is
    /// too short.
    values: Option<Arc<StringArray>>,
}

impl SymbolDictionary {
    /// The number of a text; a new text gets the next number.
    ///
    /// # Errors
    /// The dictionary has reached 2 GiB of text.
    pub fn intern(&self, text: &str) -> Result<i32, WriteError> {
        match self.find(text) {
            Some(id) => Ok(id),
            None => self.write().intern(text),
        }
    }

    /// The numbers of an array of texts; NULL stays NULL.
    ///
    /// # Errors
    /// The dictionary has reached 2 GiB of text.
    pub fn intern_array<'a>(
        &self,
        texts: impl Iterator<Item = Option<&'a str>>,
    ) -> Result<Int32Array, WriteError> {
        let mut inner = self.write();
        texts.map(|text| text.map(|text| inner.intern(text)).transpose()).collect()
    }

    /// The texts of numbers that were given out; NULL stays NULL. Each text is there once.
    pub(crate) fn texts_of(&self, numbers: &Int32Array) -> StringViewArray {
        let inner = self.read();
        let mut texts = StringViewBuilder::with_capacity(numbers.len()).with_deduplicate_strings();
        for number in numbers {
            texts.append_option(number.map(|number| inner.text(number)));
        }
        texts.finish()
    }

    /// The text of a number that was given out.
    pub fn text(&self, number: i32) -> String {
        self.read().text(number).to_owned()
    }

    /// Calls the function with the texts of some numbers that were given out, in their order.
    pub(crate) fn each_text(&self, numbers: &[i32], mut act: impl FnMut(&str)) {
        let inner = self.read();
        numbers.iter().for_each(|number| act(inner.text(*number)));
    }

    /// Whether the column is not one of symbols any more: who has more texts for it need not number them.
    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// The column is one of text from now on. Numbers keep their meaning, for those that are on their way;
    /// what only many readers need goes.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        self.write().values = None;
    }

    /// The number of a text, if it has one.
    pub(crate) fn find(&self, text: &str) -> Option<i32> {
        self.read().find(text)
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.read().ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory in use.
    pub fn memory_bytes(&self) -> usize {
        let inner = self.read();
        let values = inner.values.as_ref().map_or(0, |values| values.get_array_memory_size());
        inner.text.capacity() + (inner.ends.capacity() + inner.table.capacity() * 2) * 4 + values
    }

    /// The texts of the numbers from 0, of at least all that were given out before the call.
    pub fn values(&self) -> Arc<StringArray> {
        {
            let inner = self.read();
            if let Some(values) = inner.values.as_ref().filter(|it| it.len() == inner.ends.len()) {
                return Arc::clone(values);
            }
        }
        let mut inner = self.write();
        let values = Arc::new(inner.to_array());
        inner.values = Some(Arc::clone(&values));
        values
    }

    /// The dictionary array that a reader gets for these numbers.
    pub fn resolve(&self, keys: &Int32Array) -> ArrayRef {
        let values = self.values();
        let array = arrow::array::DictionaryArray::new(keys.clone(), values as ArrayRef);
        Arc::new(array)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn find(&self, text: &str) -> Option<i32> {
        let hash = self.hasher.hash_one(text);
        let (ends, bytes) = (&self.ends, &self.text);
        self.table.find(hash, |id| text_of(ends, bytes, *id) == text.as_bytes()).copied()
    }

    fn intern(&mut self, text: &str) -> Result<i32, WriteError> {
        if let Some(id) = self.find(text) {
            return Ok(id);
        }
        let end = i32::try_from(self.text.len() + text.len());
        let end = end.map_err(|_| WriteError::SymbolDictionaryFull)?;
        let id = i32::try_from(self.ends.len()).map_err(|_| WriteError::SymbolDictionaryFull)?;
        self.text.extend_from_slice(text.as_bytes());
        self.ends.push(end);
        let (hasher, ends, bytes) = (&self.hasher, &self.ends, &self.text);
        let hash = hasher.hash_one(text);
        self.table.insert_unique(hash, id, |id| {
            let text = std::str::from_utf8(text_of(ends, bytes, *id));
            hasher.hash_one(text.expect("only text is interned"))
        });
        Ok(id)
    }

    fn text(&self, id: i32) -> &str {
        std::str::from_utf8(text_of(&self.ends, &self.text, id)).expect("only text is interned")
    }

    fn to_array(&self) -> StringArray {
        let offsets = std::iter::once(0).chain(self.ends.iter().copied());
        let offsets = OffsetBuffer::new(offsets.collect::<ScalarBuffer<i32>>());
        StringArray::new(offsets, self.text.clone().into(), None)
    }
}

/// The text of a number that was given out.
fn text_of<'a>(ends: &[i32], text: &'a [u8], id: i32) -> &'a [u8] {
    let at = usize::try_from(id).expect("numbers start at 0");
    let offset = |end: i32| usize::try_from(end).expect("offsets are not negative");
    let start = if at == 0 { 0 } else { offset(ends[at - 1]) };
    &text[start..offset(ends[at])]
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn a_text_keeps_its_number() {
        let dictionary = SymbolDictionary::default();
        let texts = (0..5000).map(|number| format!("host_{}", number % 1000));
        let keys: Vec<i32> = texts.map(|text| dictionary.intern(&text).unwrap()).collect();
        assert_eq!(dictionary.len(), 1000);
        assert!(keys.iter().enumerate().all(|(at, key)| usize::try_from(*key).unwrap() == at % 1000));
    }

    #[test]
    fn readers_get_the_texts_and_nulls() {
        let dictionary = SymbolDictionary::default();
        let keys = dictionary.intern_array([Some("b"), None, Some(""), Some("b")].into_iter()).unwrap();
        let resolved = dictionary.resolve(&keys);
        let resolved = resolved.as_dictionary::<Int32Type>().downcast_dict::<StringArray>().unwrap();
        let texts: Vec<Option<&str>> = resolved.into_iter().collect();
        assert_eq!(texts, vec![Some("b"), None, Some(""), Some("b")]);
    }

    #[test]
    fn numbers_become_texts_also_when_it_is_retired() {
        let dictionary = SymbolDictionary::default();
        let texts = [Some("a text that is not short"), None, Some(""), Some("a text that is not short")];
        let numbers = dictionary.intern_array(texts.into_iter()).unwrap();
        dictionary.retire();
        assert!(dictionary.is_retired());
        assert_eq!(dictionary.texts_of(&numbers).iter().collect::<Vec<_>>(), texts);
        let mut found = Vec::new();
        dictionary.each_text(&[1, 0], |text| found.push(text.to_owned()));
        assert_eq!(found, ["", "a text that is not short"]);
    }

    #[test]
    fn an_array_of_texts_is_shared_until_the_dictionary_grows() {
        let dictionary = SymbolDictionary::default();
        dictionary.intern("a").unwrap();
        let first = dictionary.values();
        assert!(Arc::ptr_eq(&first, &dictionary.values()));
        dictionary.intern("b").unwrap();
        assert_eq!((first.len(), dictionary.values().len()), (1, 2));
    }
}
