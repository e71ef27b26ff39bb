//! Reading a snapshot: what is skipped, what is read, in which order.
//!
//! 1. A [`ScanRequest`] names columns and predicates that every wanted row fulfils.
//! 2. [`plan`] skips segments, row groups and pages whose statistics contradict a predicate, and
//!    divides the rest into [`ScanUnit`]s that can be read one by one, by many threads.
//! 3. [`ScanUnit::read`] decodes the columns of the predicates first, then the others for the
//!    rows that are left, and gives batches of Arrow that hold exactly the wanted rows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef};
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::ColumnId;
use tidemark_catalog::schema::Nullability;

use crate::dedup::index::LayerIndex;
use crate::dedup::resolve::Resolution;
use crate::error::ReadError;
use crate::missing::MissingValues;
use crate::read::predicate::Predicate;
use crate::read::symbols::TextTable;
use crate::read::unit::UnitBlocks;
use crate::segment::handle::SegmentHandle;
use crate::segment::prune;
use crate::snapshot::{CollectionSnapshot, SnapshotChunk};
use crate::types::read_type;

pub mod by_key;
pub mod latest;
pub mod predicate;
pub(crate) mod rows;
mod symbols;
pub mod text;
pub(crate) mod unit;

/// What is to be read.
#[derive(Clone, Debug)]
pub struct ScanRequest {
    /// The columns of the answer, in its order.
    pub columns: Vec<ColumnId>,
    /// Conditions that every row of the answer fulfils.
    pub predicates: Vec<Predicate>,
    /// The most rows of a batch.
    pub batch_rows: usize,
    /// Whether batches tell where their rows are.
    pub row_ids: RowIds,
}

/// Whether batches tell where their rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowIds {
    /// They do not.
    NotGiven,
    /// After the columns that were asked for come two of `Int64`: [`SEGMENT_COLUMN`] and
    /// [`ROW_COLUMN`]. Rows in memtables have no such place, and are not read.
    Given,
}

/// The name of the column with the segment of a row.
pub const SEGMENT_COLUMN: &str = "_segment";

/// The name of the column with the position of a row in its segment.
pub const ROW_COLUMN: &str = "_row";

/// What a plan will read, and what it skips.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScanStatistics {
    /// Segments in the manifest.
    pub segments: usize,
    /// Segments of which nothing is read.
    pub segments_pruned: usize,
    /// Row groups of the other segments.
    pub row_groups: usize,
    /// Row groups of those of which nothing is read.
    pub row_groups_pruned: usize,
    /// Pages of the time key in the row groups that are read.
    pub pages: usize,
    /// Pages of those that are not read.
    pub pages_pruned: usize,
    /// Blocks whose token filters were asked.
    pub token_blocks: usize,
    /// Blocks of those that do not have the tokens that are looked for.
    pub token_blocks_pruned: usize,
    /// Rows in memtables that are looked at.
    pub memtable_rows: usize,
    /// Rows in segments that are looked at.
    pub segment_rows: usize,
}

/// A plan of a scan.
#[derive(Debug)]
pub struct Scan {
    units: Vec<ScanUnit>,
    statistics: ScanStatistics,
    shared: Arc<Shared>,
}

/// What the parts of a scan share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) request: ScanRequest,
    pub(crate) schema: SchemaRef,
    pub(crate) symbols: crate::memtable::dictionaries::SymbolDictionaries,
    pub(crate) missing: MissingValues,
    /// Which rows of a collection with a `dedup_key` are seen.
    pub(crate) resolution: Option<Arc<Resolution>>,
    /// The types of the columns that are read, those of predicates among them.
    read_types: HashMap<ColumnId, DataType>,
    /// For each predicate, what it says of the texts of a symbol column.
    text_tables: Vec<TextTable>,
}

impl Shared {
    pub(crate) fn new(
        collection: &Collection,
        request: ScanRequest,
        snapshot: &CollectionSnapshot,
    ) -> Result<Shared, ReadError> {
        let of_predicates = request.predicates.iter().map(Predicate::column);
        let of_key = collection.timeseries().dedup_key.iter().copied();
        let columns = request.columns.iter().copied().chain(of_predicates).chain(of_key);
        let read_types = columns.filter_map(|id| {
            let column = collection.schema.column(id)?;
            Some((id, read_type(&column.column_type)))
        });
        Ok(Shared {
            schema: answer_schema(collection, &request),
            resolution: snapshot.resolution()?,
            symbols: snapshot.symbols().clone(),
            missing: snapshot.missing().clone(),
            read_types: read_types.collect(),
            text_tables: request.predicates.iter().map(|_| TextTable::default()).collect(),
            request,
        })
    }

    /// The type in which a column is read; one that was dropped is not read.
    pub(crate) fn read_type(&self, id: ColumnId) -> Option<&DataType> {
        self.read_types.get(&id)
    }

    /// Which rows fulfil a predicate of the request; no array stands for a column that none of
    /// `row_count` rows has.
    pub(crate) fn evaluate(
        &self,
        predicate: usize,
        array: Option<&ArrayRef>,
        row_count: usize,
    ) -> Result<BooleanArray, ReadError> {
        let table = &self.text_tables[predicate];
        let predicate = &self.request.predicates[predicate];
        match (array, self.symbols.get(predicate.column())) {
            (Some(array), Some(dictionary)) => Ok(symbols::evaluate(predicate, array, dictionary, table)?),
            (Some(array), None) => Ok(predicate.evaluate_array(array)?),
            (None, _) => Ok(BooleanArray::from(vec![self.missing.fulfil(predicate)?; row_count])),
        }
    }
}

/// A part of a scan.
#[derive(Clone, Debug)]
pub struct ScanUnit(Unit);

#[derive(Clone, Debug)]
enum Unit {
    /// The first rows of a chunk of a memtable.
    Chunk(SnapshotChunk),
    /// Selected rows of a row group.
    RowGroup {
        segment: Arc<SegmentHandle>,
        /// The keys of a segment that is staged, not in the manifest.
        keys: Option<Arc<LayerIndex>>,
        selection: prune::RowGroupSelection,
    },
}

impl ScanUnit {
    /// Whether its rows come in the order of series key and time.
    pub fn is_sorted(&self) -> bool {
        matches!(self.0, Unit::RowGroup { .. })
    }

    /// An upper bound of the rows it gives.
    pub fn row_count_max(&self) -> usize {
        match &self.0 {
            Unit::Chunk(chunk) => chunk.row_count,
            Unit::RowGroup { selection, .. } => selection.row_count,
        }
    }
}

/// The Arrow schema in which a collection's columns are read. Fields carry nothing but name, type
/// and whether NULL is possible.
pub fn read_schema(collection: &Collection, columns: &[ColumnId]) -> SchemaRef {
    let fields = columns.iter().filter_map(|id| collection.schema.column(*id)).map(|column| {
        let nullable = column.nullability == Nullability::Nullable;
        Field::new(&column.name, read_type(&column.column_type), nullable)
    });
    Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()))
}

fn answer_schema(collection: &Collection, request: &ScanRequest) -> SchemaRef {
    let schema = read_schema(collection, &request.columns);
    match request.row_ids {
        RowIds::NotGiven => schema,
        RowIds::Given => {
            let places = [SEGMENT_COLUMN, ROW_COLUMN].map(|name| Field::new(name, DataType::Int64, false));
            let fields = schema.fields().iter().map(|field| field.as_ref().clone()).chain(places);
            Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()))
        }
    }
}

/// Plans a scan: skips what statistics rule out and divides the rest.
///
/// # Errors
/// A segment is missing or damaged, or a column was dropped.
pub fn plan(snapshot: &CollectionSnapshot, mut request: ScanRequest) -> Result<Scan, ReadError> {
    request.predicates.sort_by_key(Predicate::is_slow);
    let collection = snapshot.collection();
    for predicate in &mut request.predicates {
        if let Some(column) = collection.schema.column(predicate.column()) {
            predicate.compare_as(&column.column_type)?;
        }
    }
    let of_predicates = request.predicates.iter().map(Predicate::column);
    let mut columns = request.columns.iter().copied().chain(of_predicates);
    if let Some(gone) = columns.find(|id| collection.schema.column(*id).is_none()) {
        return Err(ReadError::NoSuchColumn(gone));
    }
    let mut statistics = ScanStatistics::default();
    let mut units = Vec::new();
    let bounds = predicate::time_bounds(&request.predicates, collection.timeseries().time_key);
    let live = snapshot.segments().iter().map(|handle| (handle, None));
    let staged = snapshot.staged().iter().map(|staged| (&staged.handle, staged.keys.as_ref()));
    for (handle, keys) in live.chain(staged) {
        statistics.segments += 1;
        let segment = handle.segment();
        let wanted = bounds.overlap(segment.time_min, segment.time_max)
            && prune::may_match_segment(segment, &request.predicates, snapshot.missing())?;
        if !wanted {
            statistics.segments_pruned += 1;
            continue;
        }
        let selections = prune::select(handle, collection, &request.predicates, &mut statistics)?;
        for selection in selections {
            statistics.segment_rows += selection.row_count;
            let (segment, keys) = (Arc::clone(handle), keys.map(Arc::clone));
            units.push(ScanUnit(Unit::RowGroup { segment, keys, selection }));
        }
    }
    for chunk in snapshot.chunks() {
        let (time_min, time_max) = chunk.chunk.time_bounds();
        if request.row_ids == RowIds::NotGiven && bounds.overlap(time_min, time_max) {
            statistics.memtable_rows += chunk.row_count;
            units.push(ScanUnit(Unit::Chunk(chunk.clone())));
        }
    }
    let shared = Arc::new(Shared::new(collection, request, snapshot)?);
    Ok(Scan { units, statistics, shared })
}

impl Scan {
    /// The schema of every batch.
    pub fn schema(&self) -> &SchemaRef {
        &self.shared.schema
    }

    /// Its parts. What is sealed was mostly there before what is in memory, and comes before it.
    pub fn units(&self) -> &[ScanUnit] {
        &self.units
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// What was asked for.
    pub fn request(&self) -> &ScanRequest {
        &self.shared.request
    }

    /// What is read and what is skipped.
    pub fn statistics(&self) -> ScanStatistics {
        self.statistics
    }

    /// Reads a part.
    ///
    /// # Errors
    /// A segment is missing or damaged.
    pub fn read(&self, unit: &ScanUnit) -> Result<UnitRows, ReadError> {
        Ok(UnitRows { blocks: UnitBlocks::wanted(unit, &self.shared)? })
    }

    /// Reads a part with the numbers of symbols in the place of their texts.
    ///
    /// # Errors
    /// A segment is missing or damaged.
    pub fn read_numbered(&self, unit: &ScanUnit) -> Result<NumberedRows, ReadError> {
        Ok(NumberedRows { blocks: UnitBlocks::wanted(unit, &self.shared)?, schema: self.numbered_schema() })
    }

    /// The schema of batches with the numbers of symbols: as [`Scan::schema`], with `Int32` for symbols.
    pub fn numbered_schema(&self) -> SchemaRef {
        let columns = self.shared.schema.fields().iter().zip(&self.shared.request.columns);
        let fields = columns.map(|(field, id)| match self.shared.symbols.get(*id) {
            Some(_) => Arc::new(Field::new(field.name(), DataType::Int32, true)),
            None => Arc::clone(field),
        });
        Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()))
    }

    /// Whether a column of the answer holds symbols.
    pub fn is_symbol(&self, column: usize) -> bool {
        self.shared.request.columns.get(column).is_some_and(|id| self.shared.symbols.get(*id).is_some())
    }

    /// The texts of symbols of a column, by their numbers, as [`Scan::read`] gives them.
    ///
    /// # Errors
    /// The column holds no symbols, or there are no such numbers.
    pub fn symbol_texts(&self, column: usize, numbers: ArrayRef) -> Result<ArrayRef, ReadError> {
        let id = self.shared.request.columns[column];
        let dictionary = self.shared.symbols.get(id).ok_or(ReadError::NoSuchColumn(id))?;
        Ok(rows::symbol_texts(&numbers, dictionary)?)
    }
}

/// The batches of a part of a scan.
#[derive(Debug)]
pub struct UnitRows {
    blocks: UnitBlocks,
}

impl Iterator for UnitRows {
    type Item = Result<RecordBatch, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let block = self.blocks.next()?;
        Some(block.and_then(|block| block.to_batch(self.blocks.shared())))
    }
}

/// The batches of a part of a scan, with the numbers of symbols.
#[derive(Debug)]
pub struct NumberedRows {
    blocks: UnitBlocks,
    schema: SchemaRef,
}

impl Iterator for NumberedRows {
    /// No batch where a symbol has no number: when a dictionary is too full to number what a segment holds,
    /// or where rows are older than a column with a default.
    type Item = Result<Option<RecordBatch>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let block = self.blocks.next()?;
        Some(block.and_then(|block| block.to_numbered_batch(self.blocks.shared(), &self.schema)))
    }
}
