//! What is there under the keys of rows on their way in: what `INSERT … ON CONFLICT` asks.
//!
//! 1. What the reader's own transaction wrote ([`OwnRows`]) comes last, so it is looked at first.
//! 2. Then memtables, newest first: the index of a layer tells the last row of a key.
//! 3. What is left is looked for in segments, by a scan that time and keys narrow down. It reads the
//!    columns of the key only.
//! 4. The wanted columns are read of the rows that were found, as a [`WriteBatch`] has them.
//!
//! The snapshot is one of all that has a place in the log, durable or not: what the reader writes comes
//! after it there, so it is durable only if all that was read is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, UInt32Array, new_empty_array};
use arrow::compute::{cast, concat, take};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::{CollectionId, ColumnId, Lsn};
use tidemark_catalog::types::ColumnType;

use crate::batch::{WriteBatch, timestamp_values};
use crate::dedup::batch_keys::{BatchKeys, KeyWatch, column};
use crate::dedup::index::LayerIndex;
use crate::dedup::resolve::LayerRows;
use crate::engine::{CommitTicket, Durability, Engine};
use crate::error::{ReadError, WriteError};
use crate::memtable::Chunk;
use crate::memtable::dictionaries::SymbolDictionaries;
use crate::missing::MissingValues;
use crate::read::predicate::{Comparison, Predicate};
use crate::read::unit::UnitBlocks;
use crate::read::{RowIds, ScanRequest, Shared, plan};
use crate::snapshot::CollectionSnapshot;
use crate::types::write_type;

/// How many rows are looked at in one go.
const BATCH_ROWS: usize = 8192;

/// A scan is narrowed down to values of a column up to so many.
const VALUES_MAX: usize = 64;

/// The rows that a transaction wrote to a collection with a `dedup_key`, by their keys.
#[derive(Debug, Default)]
pub struct OwnRows {
    /// In the form in which their keys were made.
    batches: Vec<WriteBatch>,
    /// The batch and the row in it that has a key last.
    last: HashMap<Box<[u8]>, (usize, u32)>,
}

impl OwnRows {
    /// How many batches there are.
    pub fn len(&self) -> usize {
        self.batches.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Adds what was written after all that is there.
    ///
    /// # Errors
    /// The rows have no keys as the collection has them.
    pub fn push(&mut self, collection: &Collection, batch: WriteBatch) -> Result<(), ReadError> {
        let keys = BatchKeys::new(collection, &batch)?;
        for row in 0..batch.row_count() {
            self.last.insert(keys.key(row).into(), (self.batches.len(), row_number(row)));
        }
        self.batches.push(batch);
        Ok(())
    }

    /// The same with symbols and texts as the collection has them now; `None` when they are so.
    fn fitted(&self, snapshot: &CollectionSnapshot) -> Result<Option<OwnRows>, ReadError> {
        let symbols = snapshot.symbols();
        if !self.batches.iter().any(|batch| symbols.is_other_form(batch)) {
            return Ok(None);
        }
        let mut own = OwnRows::default();
        for batch in &self.batches {
            own.push(snapshot.collection(), fitted(batch, symbols)?)?;
        }
        Ok(Some(own))
    }
}

fn fitted(batch: &WriteBatch, symbols: &SymbolDictionaries) -> Result<WriteBatch, ArrowError> {
    batch.clone().fitted(symbols).map_err(|error| ArrowError::ExternalError(Box::new(error)))
}

/// Whether two rows of a batch have the same key.
///
/// # Errors
/// The rows have no keys as the collection has them.
pub fn has_repeated_keys(collection: &Collection, batch: &WriteBatch) -> Result<bool, ReadError> {
    let keys = BatchKeys::new(collection, batch)?;
    Ok(keys.first().iter().enumerate().any(|(row, first)| row != *first))
}

/// What is there under the keys of a batch's rows.
#[derive(Debug)]
pub struct Existing {
    keys: Arc<BatchKeys>,
    lsn: Lsn,
    deletes: u64,
    collection: Arc<Collection>,
    symbols: SymbolDictionaries,
    /// For each row of the batch the place in `columns` of what is there.
    places: Vec<Option<usize>>,
    columns: Vec<(ColumnId, ArrayRef)>,
}

impl Existing {
    /// The place, among the rows of [`Existing::columns`], of the row with the key of a row of the batch.
    pub fn place(&self, row: usize) -> Option<usize> {
        self.places[row]
    }

    /// The first row of the batch that has the same key as a row.
    pub fn first(&self, row: usize) -> usize {
        self.keys.first()[row]
    }

    /// The wanted columns of the rows that are there, as a [`WriteBatch`] has them.
    pub fn columns(&self) -> &[(ColumnId, ArrayRef)] {
        &self.columns
    }

    /// The collection that was looked at.
    pub fn collection(&self) -> &Collection {
        &self.collection
    }

    /// Up to which position of the log all was seen.
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// What must hold when these rows are committed, which are some of those that were looked for.
    ///
    /// # Errors
    /// The rows have no keys as the collection has them.
    pub fn watch(&self, written: &WriteBatch) -> Result<KeyWatch, ReadError> {
        let keys = match written.row_count() == self.places.len() {
            true => Arc::clone(&self.keys),
            false => Arc::new(BatchKeys::new(&self.collection, &fitted(written, &self.symbols)?)?),
        };
        let schema = self.collection.schema.version();
        Ok(KeyWatch { keys, lsn: self.lsn, deletes: self.deletes, schema })
    }
}

impl Engine {
    /// Looks for rows with the keys of a batch's rows, and reads the wanted columns of those that are
    /// there. Blocks while it reads.
    ///
    /// # Errors
    /// The collection does not exist, or a segment is missing or damaged.
    pub fn existing(
        &self,
        id: CollectionId,
        batch: &WriteBatch,
        own: Option<&OwnRows>,
        wanted: &[ColumnId],
    ) -> Result<Existing, ReadError> {
        let (snapshot, deletes) = self.inner().snapshot_of_log(id)?;
        existing_in(&snapshot, deletes, batch, own, wanted)
    }

    /// Tells when all that has a place in the log up to a position is as durable as is asked for; nothing
    /// when it is already.
    ///
    /// # Errors
    /// The log takes no more.
    pub fn reached(&self, lsn: Lsn, durability: Durability) -> Result<Option<CommitTicket>, WriteError> {
        if lsn <= self.inner().wal.visible_lsn() {
            return Ok(None);
        }
        self.inner().append_nothing(durability).map(Some)
    }
}

/// What is there as a snapshot sees it; `deletes` are counted at the same moment.
fn existing_in(
    snapshot: &CollectionSnapshot,
    deletes: u64,
    batch: &WriteBatch,
    own: Option<&OwnRows>,
    wanted: &[ColumnId],
) -> Result<Existing, ReadError> {
    let collection = Arc::clone(snapshot.collection());
    let batch = fitted(batch, snapshot.symbols())?;
    let fitted_own = own.map(|own| own.fitted(snapshot)).transpose()?.flatten();
    let keys = Arc::new(BatchKeys::new(&collection, &batch)?);
    let mut search = Search::new(snapshot, &keys, wanted);
    search.in_own(fitted_own.as_ref().or(own))?;
    search.in_memtables()?;
    search.in_segments(&batch)?;
    let (places, columns) = search.finish()?;
    let (lsn, symbols) = (snapshot.lsn(), snapshot.symbols().clone());
    Ok(Existing { keys, lsn, deletes, collection, symbols, places, columns })
}

/// A search under way.
struct Search<'a> {
    snapshot: &'a CollectionSnapshot,
    keys: &'a BatchKeys,
    wanted: &'a [ColumnId],
    /// For each key, by its first row, the place of what was found.
    places: Vec<Option<usize>>,
    /// How many keys are not found yet.
    missing: usize,
    found: Gathered<'a>,
}

impl<'a> Search<'a> {
    fn new(snapshot: &'a CollectionSnapshot, keys: &'a BatchKeys, wanted: &'a [ColumnId]) -> Search<'a> {
        let first = keys.first();
        let distinct = first.iter().enumerate().filter(|(row, first)| row == *first).count();
        let found = Gathered::new(snapshot, wanted);
        Search { snapshot, keys, wanted, places: vec![None; first.len()], missing: distinct, found }
    }

    /// The first rows of keys that are not found yet.
    fn missing(&self) -> Vec<usize> {
        if self.missing == 0 {
            return Vec::new();
        }
        let first = self.keys.first().iter().enumerate();
        let missing = first.filter(|(row, first)| row == *first && self.places[*row].is_none());
        missing.map(|(row, _)| row).collect()
    }

    /// These keys are found in rows of some arrays.
    fn note(
        &mut self,
        found: &[(usize, u32)],
        array: impl Fn(ColumnId) -> Option<ArrayRef>,
    ) -> Result<(), ReadError> {
        if found.is_empty() {
            return Ok(());
        }
        let start = self.found.row_count;
        for (at, (key, _)) in found.iter().enumerate() {
            self.places[*key] = Some(start + at);
        }
        self.missing -= found.len();
        let rows = found.iter().map(|(_, row)| *row).collect::<UInt32Array>();
        self.found.add(&rows, array)
    }

    /// Step 1.
    fn in_own(&mut self, own: Option<&OwnRows>) -> Result<(), ReadError> {
        let Some(own) = own.filter(|own| !own.is_empty()) else { return Ok(()) };
        let mut found: BTreeMap<usize, Vec<(usize, u32)>> = BTreeMap::new();
        for key in self.missing() {
            if let Some((batch, row)) = own.last.get(self.keys.key(key)) {
                found.entry(*batch).or_default().push((key, *row));
            }
        }
        for (batch, found) in found {
            self.note(&found, |id| column(&own.batches[batch], id))?;
        }
        Ok(())
    }

    /// Step 2. Keys that a staged segment has are left to step 3.
    fn in_memtables(&mut self) -> Result<(), ReadError> {
        self.snapshot.resolution()?;
        let mut wanted = self.missing();
        for layer in self.snapshot.layers().iter().rev() {
            if wanted.is_empty() {
                break;
            }
            match &layer.rows {
                LayerRows::Segment(handle, lsn) => {
                    let segment = handle.segment();
                    if self.keys.overlaps(segment.time_min, segment.time_max) {
                        let index = layer.index.lock();
                        wanted.retain(|key| !index.has(self.keys.key(*key), *lsn));
                    }
                }
                LayerRows::Memtable(chunks) => {
                    let bounds = |(chunk, _): &(Arc<Chunk>, usize)| chunk.time_bounds();
                    if chunks.iter().map(bounds).any(|(min, max)| self.keys.overlaps(min, max)) {
                        self.in_memtable(chunks, &layer.index, &wanted)?;
                        wanted.retain(|key| self.places[*key].is_none());
                    }
                }
            }
        }
        Ok(())
    }

    fn in_memtable(
        &mut self,
        chunks: &[(Arc<Chunk>, usize)],
        index: &LayerIndex,
        wanted: &[usize],
    ) -> Result<(), ReadError> {
        let mut found: BTreeMap<usize, Vec<(usize, u32)>> = BTreeMap::new();
        {
            let index = index.lock();
            for key in wanted {
                let Some(row) = index.last_row(self.keys.key(*key), self.snapshot.lsn()) else { continue };
                let place = match place_in(chunks, row) {
                    Some(place) => Some(place),
                    // Another reader sees more of the layer: the key came again after this snapshot.
                    None => self.last_seen(chunks, *key)?,
                };
                let (chunk, row) = place.expect("the layer has the key since a commit that is seen");
                found.entry(chunk).or_default().push((*key, row));
            }
        }
        for (chunk, found) in found {
            self.note(&found, |id| chunks[chunk].0.column(id).map(Arc::clone))?;
        }
        Ok(())
    }

    /// The last row of a key among those of a memtable that are seen, without its index.
    fn last_seen(
        &self,
        chunks: &[(Arc<Chunk>, usize)],
        key: usize,
    ) -> Result<Option<(usize, u32)>, ArrowError> {
        let wanted = self.keys.key(key);
        for (at, (chunk, seen)) in chunks.iter().enumerate().rev() {
            let keys = self.keys.encoder.encode(*seen, |id| Some(chunk.column(id)?.slice(0, *seen)))?;
            let is_wanted = |row: &usize| keys.row(*row).data() == wanted;
            if let Some(row) = (0..*seen).rev().find(is_wanted) {
                return Ok(Some((at, row_number(row))));
            }
        }
        Ok(None)
    }

    /// Steps 3 and 4.
    fn in_segments(&mut self, batch: &WriteBatch) -> Result<(), ReadError> {
        let missing = self.missing();
        let snapshot = self.snapshot.in_segments();
        if missing.is_empty() || snapshot.segments().is_empty() && snapshot.staged().is_empty() {
            return Ok(());
        }
        let collection = snapshot.collection();
        let request = ScanRequest {
            columns: self.keys.encoder.columns().collect(),
            predicates: narrowing(collection, snapshot.symbols(), batch, &missing)?,
            batch_rows: BATCH_ROWS,
            row_ids: RowIds::NotGiven,
        };
        let answer = ScanRequest { columns: self.wanted.to_vec(), ..request.clone() };
        let answer = Arc::new(Shared::new(collection, answer, &snapshot)?);
        let scan = plan(&snapshot, request)?;
        for unit in scan.units() {
            if self.missing == 0 {
                break;
            }
            let mut blocks: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
            // By rising row of rising block, as they are read.
            let mut found = Vec::new();
            for block in UnitBlocks::wanted(unit, scan.shared())? {
                let block = block?;
                let cutter = block.rows.cutter();
                let array = |id| block.arrays.get(&id).map(|array| cutter.cut(array)).transpose();
                let arrays = self.keys.encoder.columns().map(|id| Ok((id, array(id)?)));
                let arrays = arrays.collect::<Result<HashMap<_, _>, ArrowError>>()?;
                let keys = self.keys.encoder.encode(block.rows.len(), |id| arrays.get(&id)?.clone())?;
                let mut at = 0;
                block.rows.for_each(|row| {
                    let key = self.keys.find(keys.row(at).data());
                    at += 1;
                    if let Some(key) = key.filter(|key| self.places[*key].is_none()) {
                        blocks.entry(block.number).or_default().push(row_number(row));
                        found.push(key);
                    }
                });
            }
            if found.is_empty() {
                continue;
            }
            let mut found = found.into_iter();
            for block in UnitBlocks::of_rows(unit, &answer, blocks)? {
                let block = block?;
                let mut of_block = Vec::with_capacity(block.rows.len());
                block.rows.for_each(|row| {
                    of_block.extend(found.next().map(|key| (key, row_number(row))));
                });
                self.note(&of_block, |id| block.arrays.get(&id).map(Arc::clone))?;
            }
        }
        Ok(())
    }

    /// For each row the place of what is there, and that.
    fn finish(self) -> Result<Found, ReadError> {
        let places = self.keys.first().iter().map(|first| self.places[*first]).collect();
        Ok((places, self.found.finish()?))
    }
}

/// For each row the place of what is there, and that.
type Found = (Vec<Option<usize>>, Vec<(ColumnId, ArrayRef)>);

/// The chunk that has a row of a memtable, and its place there; `None` for a row that is not seen.
fn place_in(chunks: &[(Arc<Chunk>, usize)], row: usize) -> Option<(usize, u32)> {
    let mut first_row = 0;
    for (at, (chunk, seen)) in chunks.iter().enumerate() {
        if row < first_row + chunk.row_count() {
            return (row - first_row < *seen).then(|| (at, row_number(row - first_row)));
        }
        first_row += chunk.row_count();
    }
    None
}

fn row_number(row: usize) -> u32 {
    u32::try_from(row).expect("chunks, blocks and batches are smaller")
}

/// Conditions that rows with these keys fulfil.
fn narrowing(
    collection: &Collection,
    symbols: &SymbolDictionaries,
    batch: &WriteBatch,
    keys: &[usize],
) -> Result<Vec<Predicate>, ArrowError> {
    let rows = keys.iter().map(|row| row_number(*row)).collect::<UInt32Array>();
    let options = collection.timeseries();
    let mut predicates = Vec::new();
    for id in &options.dedup_key {
        let known = collection.schema.column(*id).expect("an invariant of the catalog");
        let Some(array) = column(batch, *id) else { continue };
        let array = take(&array, &rows, None)?;
        let values = match &known.column_type {
            _ if array.null_count() > 0 => continue,
            ColumnType::Symbol => symbols.get(*id).map(|dictionary| dictionary.values()),
            ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 | ColumnType::Date => None,
            ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Uuid => None,
            _ if *id == options.time_key => None,
            // Keys of these may be equal to values that are not the same to a comparison.
            _ => continue,
        };
        let array = match values {
            None => array,
            Some(texts) => take(texts.as_ref() as &dyn Array, &array, None)?,
        };
        let distinct = distinct(&array)?;
        if distinct.len() <= VALUES_MAX {
            predicates.push(Predicate::OneOf { column: *id, values: distinct });
        } else if *id == options.time_key {
            let times = timestamp_values(&array);
            let at = |row: usize| array.slice(row, 1);
            let ends = [
                (Comparison::GreaterOrEqual, (0..times.len()).min_by_key(|row| times[*row])),
                (Comparison::LessOrEqual, (0..times.len()).max_by_key(|row| times[*row])),
            ];
            for (comparison, row) in ends {
                let value = at(row.expect("there are keys"));
                predicates.push(Predicate::Compare { column: *id, comparison, value });
            }
        }
    }
    Ok(predicates)
}

/// The values of an array, each once.
fn distinct(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    use arrow::row::{RowConverter, SortField};
    let converter = RowConverter::new(vec![SortField::new(array.data_type().clone())])?;
    let rows = converter.convert_columns(&[Arc::clone(array)])?;
    let mut seen = std::collections::HashSet::new();
    let first = (0..array.len()).filter(|row| seen.insert(rows.row(*row).data()));
    take(array, &first.map(row_number).collect::<UInt32Array>(), None)
}

/// Rows from several places, column by column.
struct Gathered<'a> {
    symbols: &'a SymbolDictionaries,
    missing: &'a MissingValues,
    columns: Vec<(ColumnId, DataType)>,
    parts: Vec<Vec<ArrayRef>>,
    row_count: usize,
}

impl<'a> Gathered<'a> {
    fn new(snapshot: &'a CollectionSnapshot, wanted: &[ColumnId]) -> Gathered<'a> {
        let (collection, symbols, missing) = (snapshot.collection(), snapshot.symbols(), snapshot.missing());
        let columns = wanted
            .iter()
            .filter_map(|id| Some((*id, write_type(&collection.schema.column(*id)?.column_type))));
        let columns: Vec<(ColumnId, DataType)> = columns.collect();
        Gathered { symbols, missing, parts: vec![Vec::new(); columns.len()], columns, row_count: 0 }
    }

    /// Adds rows of some arrays.
    fn add(
        &mut self,
        rows: &UInt32Array,
        array: impl Fn(ColumnId) -> Option<ArrayRef>,
    ) -> Result<(), ReadError> {
        for ((id, data_type), parts) in self.columns.iter().zip(&mut self.parts) {
            let part = match array(*id) {
                Some(array) => take(&array, rows, None)?,
                None => self.missing.array_or_null(*id, data_type, rows.len())?,
            };
            parts.push(match self.symbols.get(*id) {
                Some(dictionary) if part.data_type() != data_type => {
                    let texts = cast(&part, &DataType::Utf8)?;
                    let texts: &StringArray = texts.as_string();
                    let numbers = dictionary.intern_array(texts.iter());
                    let full = |error: WriteError| ArrowError::ComputeError(error.to_string());
                    Arc::new(numbers.map_err(full)?)
                }
                _ => part,
            });
        }
        self.row_count += rows.len();
        Ok(())
    }

    fn finish(self) -> Result<Vec<(ColumnId, ArrayRef)>, ReadError> {
        let columns = self.columns.into_iter().zip(self.parts).map(|((id, data_type), parts)| {
            let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
            Ok((id, if parts.is_empty() { new_empty_array(&data_type) } else { concat(&parts)? }))
        });
        columns.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::path::PathBuf;

    use arrow::array::{Int64Array, TimestampMicrosecondArray};
    use arrow::datatypes::Int64Type;
    use tidemark_catalog::collection::{CalendarInterval, IntervalUnit, TimeseriesOptions};
    use tidemark_catalog::ids::{BOOTSTRAP_ROLE, NAMESPACE_PUBLIC};
    use tidemark_catalog::schema::{NewColumn, Nullability};
    use tidemark_catalog::types::TimeUnit;

    use super::*;
    use crate::engine::{NewTimeseries, Write};
    use crate::env::sim::World;
    use crate::options::EngineOptions;
    use crate::recovery::NewDirectory;

    const VALUE: ColumnId = ColumnId(2);

    /// An engine with a collection of numbers, of which there is one for each instant.
    struct Numbers {
        engine: Engine,
        id: CollectionId,
    }

    impl Numbers {
        fn new() -> Numbers {
            let options = EngineOptions::new(PathBuf::from("/data"));
            let new = NewDirectory { superuser: "tidemark".to_owned(), verifier: None };
            let engine = Engine::open(World::new(1).env(), options, new).unwrap();
            let time = ColumnType::Timestamptz(TimeUnit::Microsecond);
            let day = CalendarInterval { count: NonZeroU32::MIN, unit: IntervalUnit::Day };
            let made = engine.create_collection(NewTimeseries {
                namespace: NAMESPACE_PUBLIC,
                name: "numbers".to_owned(),
                owner: BOOTSTRAP_ROLE,
                columns: vec![
                    NewColumn::new("ts", time, Nullability::Required),
                    NewColumn::new("value", ColumnType::Int8, Nullability::Required),
                ],
                options: TimeseriesOptions {
                    dedup_key: vec![ColumnId(1)],
                    ..TimeseriesOptions::new(ColumnId(1), day)
                },
            });
            let id = made.unwrap().id;
            Numbers { engine, id }
        }

        fn batch(&self, rows: &[(i64, i64)]) -> WriteBatch {
            let times = rows.iter().map(|(time, _)| Some(*time)).collect::<TimestampMicrosecondArray>();
            let values = rows.iter().map(|(_, value)| Some(*value)).collect::<Int64Array>();
            let columns: Vec<(ColumnId, ArrayRef)> =
                vec![(ColumnId(1), Arc::new(times.with_timezone("UTC"))), (VALUE, Arc::new(values))];
            let collection = Arc::clone(&self.engine.view().collection(self.id).unwrap().collection);
            WriteBatch::new(&collection, columns).unwrap()
        }

        fn write(&self, rows: &[(i64, i64)]) {
            self.engine.write(vec![Write::new(self.id, self.batch(rows))], Durability::Written).unwrap();
        }

        fn snapshot(&self) -> CollectionSnapshot {
            self.engine.inner().snapshot_of_log(self.id).unwrap().0
        }

        /// What a snapshot has at some instants.
        fn values(&self, snapshot: &CollectionSnapshot, times: &[i64]) -> Vec<Option<i64>> {
            let asked: Vec<(i64, i64)> = times.iter().map(|time| (*time, 0)).collect();
            let found = existing_in(snapshot, 0, &self.batch(&asked), None, &[VALUE]).unwrap();
            let values = found.columns()[0].1.as_primitive::<Int64Type>().clone();
            (0..times.len()).map(|row| found.place(row).map(|place| values.value(place))).collect()
        }
    }

    /// The index of a memtable, which readers share, names rows that an earlier snapshot does not see.
    #[test]
    fn a_snapshot_finds_its_own_rows_when_readers_after_it_saw_later_ones() {
        let numbers = Numbers::new();
        let mut snapshots = Vec::new();
        // Each round repeats some of the keys, and one key comes twice in a write. With so many rounds
        // the memtable puts small chunks together, and begins new ones.
        for round in 0..40_i64 {
            numbers.write(&[(0, round * 10), (round % 5 + 1, round * 10 + 1), (0, round * 10 + 2)]);
            snapshots.push((round, numbers.snapshot()));
        }
        // The last reader comes first, and brings the index up to the end.
        let times = [0, 1, 2, 3, 4, 5, 6];
        for (round, snapshot) in snapshots.iter().rev() {
            let expected = times.map(|time| match time {
                0 => Some(round * 10 + 2),
                6 => None,
                // The last round up to this one that wrote the key.
                time => (0..=*round).rev().find(|round| round % 5 + 1 == time).map(|round| round * 10 + 1),
            });
            assert_eq!(numbers.values(snapshot, &times), expected, "after round {round}");
        }
    }
}
