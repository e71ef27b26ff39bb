//! A symbol column under construction: texts become numbers as they come.
//!
//! Most texts were seen a moment ago, so the numbers of some are kept at hand, found by the texts' own
//! bytes: no lock, no hash of the whole text, no look into the dictionary.

use std::sync::Arc;

use arrow::array::{ArrayBuilder, ArrayRef, Int32Builder};
use tidemark_engine::memtable::symbols::SymbolDictionary;

use crate::error::SqlResult;
use crate::pgtype::builder::ColumnFault;
use crate::pgtype::text::decode_utf8;
use crate::sql::rows::errors::write_error;

/// The longest text whose number is kept at hand: its bytes are the key.
const KEY_BYTES_MAX: usize = 16;

/// How many numbers are kept at hand, at least and at most. A power of two, both. Each has two places where
/// it may be, side by side.
const KEPT_MIN: usize = 64;
const KEPT_MAX: usize = 1 << 15;

/// A symbol column under construction.
#[derive(Debug)]
pub(super) struct SymbolBuilder {
    dictionary: Arc<SymbolDictionary>,
    numbers: Int32Builder,
    kept: Vec<Kept>,
}

/// A text with its number.
#[derive(Clone, Copy, Debug)]
struct Kept {
    key: Key,
    number: i32,
}

/// A text of at most [`KEY_BYTES_MAX`] bytes: its first and its last bytes, which meet or overlap, and how
/// many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    first: u64,
    last: u64,
    len: u32,
}

impl Key {
    /// No text has this.
    const NONE: Key = Key { first: 0, last: 0, len: u32::MAX };

    #[inline]
    fn of(text: &[u8]) -> Option<Key> {
        let len = u32::try_from(text.len()).ok()?;
        if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk::<8>()) {
            let key = Key { first: u64::from_le_bytes(*first), last: u64::from_le_bytes(*last), len };
            return (text.len() <= KEY_BYTES_MAX).then_some(key);
        }
        if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
            let [first, last] = [first, last].map(|bytes| u64::from(u32::from_le_bytes(*bytes)));
            return Some(Key { first, last, len });
        }
        let byte = |at: usize| text.get(at).map_or(0, |byte| u64::from(*byte));
        Some(Key { first: byte(0) | byte(1) << 8, last: byte(2), len })
    }

    /// A place among so many, which are a power of two.
    #[inline]
    fn place(self, count: usize) -> usize {
        // Multiplying carries every byte into the upper bits.
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let mixed = (self.first.wrapping_mul(ODD) ^ self.last).wrapping_add(u64::from(self.len));
        (mixed.wrapping_mul(ODD) >> 40) as usize & (count - 1)
    }
}

impl SymbolBuilder {
    pub(super) fn new(dictionary: Arc<SymbolDictionary>, row_count: usize) -> SymbolBuilder {
        let numbers = Int32Builder::with_capacity(row_count);
        SymbolBuilder { dictionary, numbers, kept: Vec::new() }
    }

    pub(super) fn append_null(&mut self) {
        self.numbers.append_null();
    }

    /// Adds one text, which may be all that there will be.
    pub(super) fn append(&mut self, text: &str) -> SqlResult<()> {
        let number = intern(&self.dictionary, text)?;
        self.numbers.append_value(number);
        Ok(())
    }

    /// Adds many texts.
    pub(super) fn extend<'a>(
        &mut self,
        texts: impl Iterator<Item = Option<&'a str>>,
    ) -> Result<(), ColumnFault> {
        self.extend_by(texts, str::as_bytes, Ok)
    }

    /// Adds many texts that may be none. What has the bytes of a text is one.
    pub(super) fn extend_bytes<'a>(
        &mut self,
        fields: impl Iterator<Item = Option<&'a [u8]>>,
    ) -> Result<(), ColumnFault> {
        self.extend_by(fields, |bytes| bytes, decode_utf8)
    }

    fn extend_by<'a, T: Copy + 'a>(
        &mut self,
        values: impl Iterator<Item = Option<T>>,
        bytes_of: impl Fn(T) -> &'a [u8],
        text_of: impl Fn(T) -> SqlResult<&'a str>,
    ) -> Result<(), ColumnFault> {
        if self.kept.is_empty() {
            self.keep_more();
        }
        for (row, value) in values.enumerate() {
            let Some(value) = value else {
                self.numbers.append_null();
                continue;
            };
            let key = Key::of(bytes_of(value));
            if let Some(number) = key.and_then(|key| self.kept_number(key)) {
                self.numbers.append_value(number);
                continue;
            }
            let interned = text_of(value).and_then(|text| intern(&self.dictionary, text));
            let number = interned.map_err(|error| ColumnFault { row, error })?;
            if let Some(key) = key {
                let place = key.place(self.kept.len());
                self.kept[place ^ 1] = std::mem::replace(&mut self.kept[place], Kept { key, number });
            }
            self.numbers.append_value(number);
        }
        Ok(())
    }

    #[inline]
    fn kept_number(&self, key: Key) -> Option<i32> {
        let place = key.place(self.kept.len());
        let kept = [self.kept[place], self.kept[place ^ 1]];
        kept.iter().find(|kept| kept.key == key).map(|kept| kept.number)
    }

    /// Makes room for some times as many as the dictionary has: with less, many of them would put out one
    /// another again and again.
    fn keep_more(&mut self) {
        let wanted = (self.dictionary.len() * 4).next_power_of_two().clamp(KEPT_MIN, KEPT_MAX);
        if wanted > self.kept.len() {
            self.kept = vec![Kept { key: Key::NONE, number: 0 }; wanted];
        }
    }

    /// Whether the column became one of text: more texts need not be numbered.
    pub(super) fn is_retired(&self) -> bool {
        self.dictionary.is_retired()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.numbers.len() * size_of::<i32>()
    }

    /// The numbers; the builder is empty after, with room for so many.
    pub(super) fn finish(&mut self, row_count: usize) -> ArrayRef {
        if !self.kept.is_empty() {
            self.keep_more();
        }
        let mut numbers = std::mem::replace(&mut self.numbers, Int32Builder::with_capacity(row_count));
        Arc::new(numbers.finish())
    }
}

fn intern(dictionary: &SymbolDictionary, text: &str) -> SqlResult<i32> {
    dictionary.intern(text).map_err(|error| write_error(&error))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn numbers_are_those_of_the_dictionary() {
        let dictionary = Arc::new(SymbolDictionary::default());
        let mut builder = SymbolBuilder::new(Arc::clone(&dictionary), 0);
        // Texts that differ in length or in zero bytes only, and more than are kept.
        let mut texts: Vec<String> =
            ["", "a", "ab", "aab", "0123456789abcdef", "0123456789abcdefg"].map(str::to_owned).into();
        texts.extend((0..20_000).map(|number| format!("host_{}", number % 5000)));
        for round in 0..2 {
            builder.extend(texts.iter().map(|text| Some(text.as_str()))).unwrap();
            builder.extend_bytes(texts.iter().map(|text| Some(text.as_bytes())).chain([None])).unwrap();
            builder.append("a").unwrap();
            builder.append_null();
            let numbers = builder.finish(10);
            let numbers = numbers.as_primitive::<Int32Type>();
            for (at, text) in texts.iter().chain(&texts).enumerate() {
                assert_eq!(numbers.value(at), dictionary.intern(text).unwrap(), "{text} in round {round}");
            }
            assert_eq!((numbers.len(), numbers.null_count()), (texts.len() * 2 + 3, 2));
            assert_eq!(numbers.value(texts.len() * 2 + 1), dictionary.intern("a").unwrap());
        }
        assert_eq!(dictionary.len(), 5006);
        let fault = builder.extend_bytes([Some(&b"a"[..]), Some(&b"\xff"[..])].into_iter()).unwrap_err();
        assert_eq!(fault.row, 1);
    }
}
