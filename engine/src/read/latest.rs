//! The last row of each series, without looking at more than series and time of the others.
//!
//! 1. [`Latest::find`] walks through parts of the snapshot, newest first, and keeps for each series
//!    the place of its last row. Parts are independent: threads share them out, and
//!    [`Found::merge`] puts together what each found.
//! 2. [`Latest::read`] reads all columns of the rows at those places.
//!
//! Series are told apart by the numbers of their symbols. When a dictionary is too full to number
//! the texts of a segment, [`Latest::find`] gives up, and is called again to compare texts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, RecordBatch, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, SortField};
use tidemark_catalog::ids::ColumnId;

use crate::batch::timestamp_values;
use crate::error::ReadError;
use crate::read::rows::symbol_texts;
use crate::read::unit::{UnitBlock, UnitBlocks};
use crate::read::{Scan, ScanRequest, ScanStatistics, Shared, plan};
use crate::snapshot::CollectionSnapshot;

/// How series are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesForm {
    /// By the numbers of their symbols.
    Numbers,
    /// By the texts of their symbols.
    Texts,
}

/// A search for the last row of each series.
#[derive(Debug)]
pub struct Latest {
    /// Reads series and time only.
    scan: Scan,
    /// Reads the answer.
    answer: Arc<Shared>,
    series: Vec<ColumnId>,
    time_key: ColumnId,
}

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    time: i64,
    unit: u32,
    block: u32,
    row: u32,
}

/// The places of the last rows that were met.
#[derive(Debug)]
pub struct Found(Places);

#[derive(Debug)]
enum Places {
    /// By the number of the only symbol, from 1; NULL has 0.
    ByNumber(Vec<Option<Place>>),
    ByRow(HashMap<OwnedRow, Place>),
}

/// Plans the search: the last row of each combination of values of `series`, among those that fulfil
/// the predicates of the request.
///
/// # Errors
/// A segment is missing or damaged.
pub fn latest(
    snapshot: &CollectionSnapshot,
    request: ScanRequest,
    series: Vec<ColumnId>,
) -> Result<Latest, ReadError> {
    let collection = snapshot.collection();
    let time_key = collection.timeseries().time_key;
    let columns = series.iter().copied().chain([time_key]).collect();
    let scan = plan(snapshot, ScanRequest { columns, ..request.clone() })?;
    let answer = Arc::new(Shared::new(collection, request, snapshot)?);
    Ok(Latest { scan, answer, series, time_key })
}

impl Latest {
    /// The schema of the answer.
    pub fn schema(&self) -> &SchemaRef {
        &self.answer.schema
    }

    /// How many parts there are.
    pub fn unit_count(&self) -> usize {
        self.scan.units().len()
    }

    /// What is read and what is skipped.
    pub fn statistics(&self) -> ScanStatistics {
        self.scan.statistics()
    }

    /// Finds the last row of each series in some of the parts; `None` when series have to be told
    /// apart by their texts.
    ///
    /// # Errors
    /// A segment is missing or damaged.
    pub fn find(
        &self,
        units: impl Iterator<Item = usize>,
        form: SeriesForm,
    ) -> Result<Option<Found>, ReadError> {
        let mut finder = Finder::new(self, form)?;
        for unit in units {
            for block in UnitBlocks::wanted(&self.scan.units()[unit], self.scan.shared())? {
                if !finder.look(unit, &block?)? {
                    return Ok(None);
                }
            }
        }
        Ok(Some(Found(finder.places)))
    }

    /// Reads the rows that were found, in no particular order.
    ///
    /// # Errors
    /// A segment is missing or damaged.
    pub fn read(&self, found: Found) -> Result<Vec<RecordBatch>, ReadError> {
        let places: Vec<Place> = match found.0 {
            Places::ByNumber(places) => places.into_iter().flatten().collect(),
            Places::ByRow(places) => places.into_values().collect(),
        };
        let mut units: BTreeMap<u32, BTreeMap<u32, Vec<u32>>> = BTreeMap::new();
        for place in places {
            units.entry(place.unit).or_default().entry(place.block).or_default().push(place.row);
        }
        let mut batches = Vec::new();
        for (unit, blocks) in units {
            let unit = &self.scan.units()[unit as usize];
            for block in UnitBlocks::of_rows(unit, &self.answer, blocks)? {
                batches.push(block?.to_batch(&self.answer)?);
            }
        }
        Ok(batches)
    }
}

impl Found {
    /// The later one of both for each series.
    ///
    /// # Panics
    /// They were found in different forms.
    #[must_use]
    pub fn merge(self, other: Found) -> Found {
        match (self.0, other.0) {
            (Places::ByNumber(mut places), Places::ByNumber(others)) => {
                places.resize(places.len().max(others.len()), None);
                for (place, other) in places.iter_mut().zip(others) {
                    *place = (*place).max(other);
                }
                Found(Places::ByNumber(places))
            }
            (Places::ByRow(mut places), Places::ByRow(others)) => {
                for (series, other) in others {
                    let place = places.entry(series).or_insert(other);
                    *place = (*place).max(other);
                }
                Found(Places::ByRow(places))
            }
            _ => unreachable!("all parts of a search are of one form"),
        }
    }

    /// About the memory that it takes.
    pub fn memory_bytes(&self) -> usize {
        match &self.0 {
            Places::ByNumber(places) => places.capacity() * size_of::<Option<Place>>(),
            Places::ByRow(places) => {
                let keys: usize = places.keys().map(|key| key.as_ref().len()).sum();
                keys + places.capacity() * (size_of::<OwnedRow>() + size_of::<Place>())
            }
        }
    }
}

struct Finder<'a> {
    latest: &'a Latest,
    form: SeriesForm,
    /// For the columns of a series in the form in which they are compared.
    converter: RowConverter,
    places: Places,
}

impl Finder<'_> {
    fn new(latest: &Latest, form: SeriesForm) -> Result<Finder<'_>, ReadError> {
        let shared = latest.scan.shared();
        let is_symbol = |id: &ColumnId| shared.symbols.get(*id).is_some();
        let compared = |id: &ColumnId| match (is_symbol(id), form) {
            (true, SeriesForm::Numbers) => DataType::Int32,
            (true, SeriesForm::Texts) => DataType::Utf8,
            (false, _) => shared.read_type(*id).expect("columns of a scan have types").clone(),
        };
        let fields = latest.series.iter().map(|id| SortField::new(compared(id)));
        let places = match &latest.series[..] {
            [only] if is_symbol(only) && form == SeriesForm::Numbers => Places::ByNumber(Vec::new()),
            _ => Places::ByRow(HashMap::new()),
        };
        Ok(Finder { latest, form, converter: RowConverter::new(fields.collect())?, places })
    }

    /// Looks at a block; false when it cannot be compared in this form.
    fn look(&mut self, unit: usize, block: &UnitBlock) -> Result<bool, ReadError> {
        let time = block.arrays.get(&self.latest.time_key).expect("a time in every row");
        let times = timestamp_values(time);
        let Some(series) = self.series(block, times.len())? else { return Ok(false) };
        let unit = u32::try_from(unit).expect("a scan has fewer parts");
        let place = |row: usize| Place {
            time: times[row],
            unit,
            block: block.number,
            row: u32::try_from(row).expect("a block has fewer rows"),
        };
        match &mut self.places {
            Places::ByNumber(places) => {
                let numbers = series[0].as_primitive::<Int32Type>();
                block.rows.for_each(|row| note_by_number(places, numbers, row, place(row)));
            }
            Places::ByRow(places) => {
                let rows = self.converter.convert_columns(&series)?;
                // Rows that follow one another are often of one series.
                let mut last: Option<(usize, Place)> = None;
                let mut note = |(row, place): (usize, Place)| {
                    let known = places.entry(rows.row(row).owned()).or_insert(place);
                    *known = (*known).max(place);
                };
                block.rows.for_each(|row| match &mut last {
                    Some((of, best)) if rows.row(*of) == rows.row(row) => *best = (*best).max(place(row)),
                    _ => last.replace((row, place(row))).into_iter().for_each(&mut note),
                });
                last.into_iter().for_each(note);
            }
        }
        Ok(true)
    }

    /// The columns of the series as they are compared.
    fn series(&self, block: &UnitBlock, row_count: usize) -> Result<Option<Vec<ArrayRef>>, ArrowError> {
        let shared = self.latest.scan.shared();
        let mut columns = Vec::with_capacity(self.latest.series.len());
        for id in &self.latest.series {
            let symbols = shared.symbols.get(*id);
            let array = match block.arrays.get(id) {
                Some(array) => Some(Arc::clone(array)),
                None => shared.missing.array(*id, row_count)?,
            };
            let array = match (array, symbols, self.form) {
                (None, Some(_), SeriesForm::Numbers) => new_null_array(&DataType::Int32, row_count),
                (None, Some(_), SeriesForm::Texts) => new_null_array(&DataType::Utf8, row_count),
                (None, None, _) => {
                    new_null_array(shared.read_type(*id).expect("columns of a scan have types"), row_count)
                }
                (Some(array), None, _) => array,
                (Some(array), Some(_), SeriesForm::Numbers) => match array.data_type() {
                    DataType::Int32 => array,
                    _ => return Ok(None),
                },
                (Some(array), Some(dictionary), SeriesForm::Texts) => {
                    cast(&symbol_texts(&array, dictionary)?, &DataType::Utf8)?
                }
            };
            columns.push(array);
        }
        Ok(Some(columns))
    }
}

fn note_by_number(places: &mut Vec<Option<Place>>, numbers: &Int32Array, row: usize, place: Place) {
    let at = match numbers.is_null(row) {
        true => 0,
        false => usize::try_from(numbers.value(row)).expect("numbers start at 0") + 1,
    };
    if at >= places.len() {
        places.resize((at + 1).next_power_of_two(), None);
    }
    if places[at].is_none_or(|known| known < place) {
        places[at] = Some(place);
    }
}
