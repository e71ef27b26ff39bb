//! A symbol column with more distinct texts than the collection's `symbol_limit` goes on as a column of text.
//!
//! Numbers of symbols are in memory only: the log and segments carry texts. So nothing that is stored has to
//! change, and no row is refused:
//!
//! 1. A writer finds that the dictionary of a column that it writes has too many texts
//!    ([`Inner::over_symbol_limit`]). Its rows have their numbers already.
//! 2. Under the `ddl` lock, the right to flush and the publishing lock, all memtables of the collection are
//!    made anew, with texts where there were numbers ([`Engine::limit_symbols`]).
//! 3. One edit of the catalog says that the columns are of type text. A crash before it changes nothing: the
//!    dictionary starts empty, and fills again or does not. After it, replay reads the texts of the log as
//!    texts.
//! 4. The runtime takes the new memtables over, under the same guard: readers see numbers with the dictionary,
//!    or texts without.
//! 5. Numbers that are on their way, in rows that were made before, are looked up in the dictionary, which is
//!    kept for that ([`SymbolDictionaries::fitted`](crate::memtable::dictionaries::SymbolDictionaries::fitted)). So the limit may be passed by what is on its way.
//!
//! Segments of the column from before and after are read alike: see [`crate::segment::decode`]. A merge that is
//! under way at 4 gives up; keys of a `dedup_key` that were indexed as numbers are indexed anew.

use std::sync::Arc;
use std::time::Duration;

use tidemark_catalog::collection::Collection;
use tidemark_catalog::edit::{CatalogEdit, Change};
use tidemark_catalog::error::EditError;
use tidemark_catalog::ids::{CollectionId, ColumnId};

use crate::batch::WriteBatch;
use crate::collection::CollectionRuntime;
use crate::engine::{Engine, Inner, Write};
use crate::error::{DdlError, WriteError};
use crate::jobs::Job;

impl Engine {
    /// Makes symbol columns with too many texts columns of text. Blocks while the collection is flushed,
    /// if it is, and while the catalog is written; does nothing where there are none.
    ///
    /// # Errors
    /// The collection does not exist, or the catalog fails; nothing is changed.
    pub fn limit_symbols(&self, id: CollectionId) -> Result<(), WriteError> {
        self.inner().limit_symbols(id)
    }

    /// The rows with symbols and texts as the collection has them now, all of them alike.
    ///
    /// # Errors
    /// The collection does not exist, or a dictionary is full.
    pub fn fitted(&self, id: CollectionId, batches: Vec<WriteBatch>) -> Result<Vec<WriteBatch>, WriteError> {
        let symbols = self.symbols(id)?;
        batches.into_iter().map(|batch| batch.fitted(&symbols)).collect()
    }
}

impl Inner {
    /// A collection of which symbol columns that are written have too many texts.
    pub(crate) fn over_symbol_limit(&self, writes: &[Write]) -> Option<CollectionId> {
        let is_over = |write: &&Write| {
            let symbols = self.runtime(write.collection).map(|runtime| runtime.symbols());
            symbols.is_some_and(|symbols| symbols.are_too_many(&write.batch))
        };
        writes.iter().find(is_over).map(|write| write.collection)
    }

    pub(crate) fn limit_symbols(&self, id: CollectionId) -> Result<(), WriteError> {
        let runtime = self.runtime(id).ok_or(WriteError::NoSuchCollection(id))?;
        if runtime.symbols().over_limit().is_empty() {
            return Ok(());
        }
        let _ddl = self.lock_ddl();
        let over = runtime.symbols().over_limit();
        if over.is_empty() {
            return Ok(());
        }
        let failed = |error: DdlError| WriteError::SymbolsAsTexts(Arc::new(error));
        // What a flush or a merge has read of the collection would be of another form than what it publishes.
        let _flush = FlushRight::claim(self, &runtime);
        let _publishing = runtime.begin_publishing();
        let mut state = runtime.lock();
        if state.dropped {
            return Err(WriteError::NoSuchCollection(id));
        }
        let before = Arc::clone(&state.collection);
        let ids: Vec<ColumnId> = over.iter().map(|(id, _)| *id).collect();
        let schema = Arc::new(before.schema.with_texts(&ids).map_err(|error| failed(error.into()))?);
        let next = Collection { schema: Arc::clone(&schema), ..Collection::clone(&before) };
        let new = runtime.with_texts(&state, &next).map_err(|error| failed(error.into()))?;
        fail::fail_point!("symbols::before_edit");
        let edit = CatalogEdit::new().with(Change::ReplaceSchema { collection: id, schema });
        // The guard is held meanwhile: nobody learns of columns of text before they are some.
        let view = self.commit_edit(&edit).map_err(|error| failed(error.into()))?;
        fail::fail_point!("symbols::after_edit");
        let known = view.collection(id).ok_or_else(|| failed(EditError::NoCollection(id).into()))?;
        runtime.take_over(&mut state, &known.collection, new);
        drop(state);
        for (column, texts) in over {
            let name = before.schema.column(column).map_or("?", |column| column.name.as_str());
            let (collection, limit) = (before.name.as_str(), before.timeseries().symbol_limit);
            tracing::warn!(
                collection,
                column = name,
                texts,
                limit,
                "a symbol column has more texts than symbol_limit: it is a column of text from now on"
            );
            self.metrics.symbol_columns_as_text.add(1);
        }
        Ok(())
    }
}

/// Keeps flushes away from a collection until it is dropped.
struct FlushRight<'a> {
    engine: &'a Inner,
    runtime: &'a CollectionRuntime,
}

impl<'a> FlushRight<'a> {
    fn claim(engine: &'a Inner, runtime: &'a CollectionRuntime) -> FlushRight<'a> {
        runtime.wait_for_flush();
        FlushRight { engine, runtime }
    }
}

impl Drop for FlushRight<'_> {
    fn drop(&mut self) {
        // A flush that was to begin meanwhile found that somebody has the right.
        if self.runtime.end_flush() {
            self.engine.executor.submit(Job::Flush(self.runtime.id), Duration::ZERO);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use arrow::array::{ArrayRef, AsArray, Int32Array, StringViewArray, TimestampMicrosecondArray};
    use tidemark_catalog::collection::{CalendarInterval, CollectionKind, IntervalUnit, TimeseriesOptions};
    use tidemark_catalog::ids::{BOOTSTRAP_ROLE, Lsn, NAMESPACE_PUBLIC};
    use tidemark_catalog::schema::{NewColumn, Nullability, Schema};
    use tidemark_catalog::types::{ColumnType, TimeUnit};

    use super::*;
    use crate::memtable::budget::Budget;

    const ID: ColumnId = ColumnId(2);

    fn runtime(budget: &Arc<Budget>) -> CollectionRuntime {
        let time = ColumnType::Timestamptz(TimeUnit::Microsecond);
        let columns = vec![
            NewColumn::new("ts", time, Nullability::Required),
            NewColumn::new("host", ColumnType::Symbol, Nullability::Nullable),
        ];
        let day = CalendarInterval { count: NonZeroU32::MIN, unit: IntervalUnit::Day };
        let mut options = TimeseriesOptions::new(ColumnId(1), day);
        options.symbol_limit = NonZeroU32::new(2).unwrap();
        let collection = Collection {
            id: CollectionId(1),
            namespace: NAMESPACE_PUBLIC,
            name: "a".to_owned(),
            owner: BOOTSTRAP_ROLE,
            schema: Arc::new(Schema::new(columns).unwrap()),
            kind: CollectionKind::Timeseries(options),
            flushed_lsn: Lsn::ZERO,
        };
        CollectionRuntime::new(Arc::new(collection), Vec::new(), budget).unwrap()
    }

    fn batch(runtime: &CollectionRuntime, texts: &[Option<&str>]) -> WriteBatch {
        let numbers = runtime.symbols().get(ID).unwrap().intern_array(texts.iter().copied()).unwrap();
        let times = TimestampMicrosecondArray::from(vec![0; texts.len()]).with_timezone("UTC");
        let columns: Vec<(ColumnId, ArrayRef)> =
            vec![(ColumnId(1), Arc::new(times)), (ID, Arc::new(numbers))];
        WriteBatch::new(&runtime.lock().collection, columns).unwrap()
    }

    fn become_texts(runtime: &CollectionRuntime) {
        let mut state = runtime.lock();
        let before = Arc::clone(&state.collection);
        let schema = Arc::new(before.schema.with_texts(&[ID]).unwrap());
        let next = Arc::new(Collection { schema, ..Collection::clone(&before) });
        let new = runtime.with_texts(&state, &next).unwrap();
        runtime.take_over(&mut state, &next, new);
    }

    #[test]
    fn the_limit_is_passed_by_one_more_text_than_it_says() {
        let runtime = runtime(&Budget::new(1 << 20));
        let few = batch(&runtime, &[Some("a"), None, Some("b"), Some("a")]);
        assert!(!runtime.symbols().are_too_many(&few) && runtime.symbols().over_limit().is_empty());
        let one_more = batch(&runtime, &[Some("c")]);
        assert!(runtime.symbols().are_too_many(&one_more));
        assert_eq!(runtime.symbols().over_limit(), [(ID, 3)]);
    }

    #[test]
    fn rows_in_memory_and_on_their_way_become_texts_and_are_paid_for() {
        let budget = Budget::new(1 << 20);
        let runtime = runtime(&budget);
        let texts = [Some("a text that is not short"), None, Some("b"), Some("a text that is not short")];
        let rows = batch(&runtime, &texts);
        let charge = budget.try_charge(rows.memory_bytes()).unwrap();
        let before = budget.used_bytes();
        let missing = runtime.missing();
        runtime.lock().active.push(Lsn(1), rows.clone(), charge, Duration::ZERO, &missing);
        become_texts(&runtime);
        let found = |array: &ArrayRef| {
            let texts: &StringViewArray = array.as_string_view();
            texts.iter().map(|text| text.map(str::to_owned)).collect::<Vec<_>>()
        };
        let expected: Vec<Option<String>> = texts.iter().map(|text| text.map(str::to_owned)).collect();
        {
            let state = runtime.lock();
            let chunk = &state.active.chunks()[0];
            assert_eq!(found(chunk.column(ID).unwrap()), expected);
            assert_eq!((chunk.row_count(), chunk.rows_visible_at(Lsn(1))), (4, 4));
            assert!(budget.used_bytes() > before && budget.used_bytes() == chunk.memory_bytes());
        }
        let symbols = runtime.symbols();
        assert!(symbols.get(ID).is_none() && !symbols.are_too_many(&rows));
        assert!(symbols.is_other_form(&rows));
        let fitted = rows.fitted(&symbols).unwrap();
        assert_eq!(found(&fitted.columns()[1].1), expected);
        assert!(!symbols.is_other_form(&fitted), "texts stay as they are");
    }

    #[test]
    fn who_has_texts_and_numbers_of_a_column_gets_texts() {
        let runtime = runtime(&Budget::new(1 << 20));
        let symbols = runtime.symbols();
        let numbers: ArrayRef =
            Arc::new(symbols.get(ID).unwrap().intern_array([Some("a"), None].into_iter()).unwrap());
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec!["c", "d"]));
        assert_eq!(&symbols.alike(ID, &numbers, &numbers), &numbers);
        assert_eq!(&symbols.alike(ID, &texts, &numbers), &texts);
        let alike = symbols.alike(ID, &numbers, &texts);
        assert_eq!(alike.as_string_view().iter().collect::<Vec<_>>(), [Some("a"), None]);
        // Numbers of another column are numbers.
        let other: ArrayRef = Arc::new(Int32Array::from(vec![7]));
        assert_eq!(&symbols.alike(ColumnId(9), &other, &texts), &other);
    }
}
