//! What the bytes of a series mean, remembered over requests.
//!
//! The same series comes again and again, written the same way: in line protocol, the bytes before the
//! fields; elsewhere, the labels as they are encoded. These bytes are looked up as a whole:
//! the tags of a known series are neither parsed nor looked up one by one.
//!
//! What is remembered holds for as long as the collection has the same schema: ids of columns and
//! numbers of symbols never change their meaning, but names do. A series of another schema, or of a
//! collection that was dropped, is looked up anew when it is met; when a table is altered, all are
//! forgotten, since the name of a collection is in the bytes too.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use tidemark_catalog::ids::{CollectionId, ColumnId, SchemaVersion};

/// Bytes of series that are remembered; what comes after starts anew.
const BYTES_MAX: usize = 128 << 20;

/// A rough count of what a remembered series costs besides its bytes.
const OVERHEAD_BYTES: usize = 128;

/// A series that is known.
#[derive(Debug)]
pub struct Series {
    /// Its collection.
    pub collection: CollectionId,
    /// The schema that its tags were looked up in: in another, their names may be those of others.
    pub schema: SchemaVersion,
    /// Its tags, by rising column id.
    pub tags: Box<[(ColumnId, Tag)]>,
}

/// The value of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tag {
    /// A number in the column's dictionary.
    Symbol(i32),
    /// Text, for a column that is no symbol.
    Text(Box<str>),
}

impl Tag {
    /// Bytes that it takes besides its place.
    fn text_bytes(&self) -> usize {
        match self {
            Tag::Symbol(_) => 0,
            Tag::Text(text) => text.len(),
        }
    }
}

/// The series that are known, by their bytes.
#[derive(Debug, Default)]
pub struct SeriesCache {
    known: RwLock<Known>,
}

/// What [`SeriesCache::read`] gives.
#[derive(Debug, Default)]
pub struct Known {
    series: HashMap<Box<[u8]>, Arc<Series>, foldhash::fast::RandomState>,
    /// The columns of tags that are no symbols.
    text_tags: HashSet<(CollectionId, ColumnId)>,
    bytes: usize,
    generation: Generation,
}

/// How often all was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation(u64);

impl Known {
    /// The series that is written like this.
    pub fn get(&self, written: &[u8]) -> Option<&Arc<Series>> {
        self.series.get(written)
    }

    /// What [`SeriesCache::remember`] wants to know of what was found by names that were read later.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether a known series has a tag in a column that is no symbol.
    pub fn is_text_tag(&self, collection: CollectionId, column: ColumnId) -> bool {
        self.text_tags.contains(&(collection, column))
    }
}

impl SeriesCache {
    /// The series that are known now; a writer waits until the guard is dropped.
    pub fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets all: names of columns or collections have changed.
    pub fn forget_all(&self) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let generation = Generation(known.generation.0 + 1);
        *known = Known { generation, ..Known::default() };
    }

    /// Remembers series that were found in this generation; in a later one they may be wrong.
    pub fn remember(
        &self,
        generation: Generation,
        found: impl IntoIterator<Item = (Box<[u8]>, Arc<Series>)>,
    ) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.generation != generation {
            return;
        }
        for (written, series) in found {
            let texts = series.tags.iter().map(|(_, tag)| tag.text_bytes()).sum::<usize>();
            let tags = series.tags.len() * size_of::<(ColumnId, Tag)>() + texts;
            let bytes = written.len() + tags + OVERHEAD_BYTES;
            if known.bytes + bytes > BYTES_MAX {
                *known = Known { generation, ..Known::default() };
            }
            let of_text = series.tags.iter().filter(|(_, tag)| matches!(tag, Tag::Text(_)));
            known.text_tags.extend(of_text.map(|(column, _)| (series.collection, *column)));
            // One that was known under another schema has the same bytes.
            if known.series.insert(written, series).is_none() {
                known.bytes += bytes;
            }
        }
    }
}
