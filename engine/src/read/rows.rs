//! Which rows of some arrays are wanted, and the batch of them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, DictionaryArray, Int32Array, Int64Array,
    RecordBatch, RecordBatchOptions, StringArray, new_null_array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{FilterBuilder, FilterPredicate, cast, take};
use arrow::datatypes::{DataType, Int32Type, SchemaRef};
use arrow::error::ArrowError;
use tidemark_catalog::ids::{ColumnId, SegmentId};

use crate::error::ReadError;
use crate::memtable::symbols::SymbolDictionary;
use crate::read::unit::UnitBlock;
use crate::read::{RowIds, Shared};
use crate::segment::deleted::Positions;
use crate::types::symbol_type;

/// The wanted ones of so many rows.
#[derive(Clone, Debug)]
pub(crate) enum Rows {
    /// Rows that follow one another.
    Range { start: usize, len: usize },
    /// The rows of the bits that are set.
    Mask { bits: BooleanBuffer, count: usize },
}

impl Rows {
    pub(crate) fn all(len: usize) -> Rows {
        Rows::Range { start: 0, len }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Rows::Range { len, .. } => *len,
            Rows::Mask { count, .. } => *count,
        }
    }

    /// These rows of so many, by any order of their numbers.
    pub(crate) fn of(wanted: &[u32], len: usize) -> Rows {
        let mut bits = BooleanBufferBuilder::new(len);
        bits.append_n(len, false);
        wanted.iter().for_each(|row| bits.set_bit(*row as usize, true));
        Rows::all(len).and(&BooleanArray::new(bits.finish(), None))
    }

    /// What cuts arrays of all rows to these.
    pub(crate) fn cutter(&self) -> Cutter {
        match self {
            Rows::Range { start, len } => Cutter::Slice { start: *start, len: *len },
            Rows::Mask { bits, .. } => {
                let mask = BooleanArray::new(bits.clone(), None);
                Cutter::Filter(FilterBuilder::new(&mask).optimize().build())
            }
        }
    }

    /// Calls the function with each of them, by rising number.
    pub(crate) fn for_each(&self, mut act: impl FnMut(usize)) {
        match self {
            Rows::Range { start, len } => (*start..start + len).for_each(act),
            Rows::Mask { bits, .. } => {
                bits.set_slices().for_each(|(start, end)| (start..end).for_each(&mut act))
            }
        }
    }

    /// The rows of so many from a position on that are not among the deleted ones.
    pub(crate) fn without(deleted: &Positions, start: u32, len: usize) -> Rows {
        let end = start + u32::try_from(len).expect("a block is small");
        let mut gone = deleted.range(start..end).peekable();
        if gone.peek().is_none() {
            return Rows::all(len);
        }
        let mut bits = BooleanBufferBuilder::new(len);
        bits.append_n(len, true);
        gone.for_each(|position| bits.set_bit((position - start) as usize, false));
        Rows::all(len).and(&BooleanArray::new(bits.finish(), None))
    }

    /// Those of them for which a condition holds; NULL is not held.
    pub(crate) fn and(&self, condition: &BooleanArray) -> Rows {
        let held = match condition.nulls() {
            Some(nulls) => condition.values() & nulls.inner(),
            None => condition.values().clone(),
        };
        let bits = match self {
            Rows::Range { start: 0, len } if *len == held.len() => held,
            Rows::Range { start, len } => {
                let inside = |row: usize| (*start..*start + *len).contains(&row) && held.value(row);
                BooleanBuffer::collect_bool(held.len(), inside)
            }
            Rows::Mask { bits, .. } => bits & &held,
        };
        let count = bits.count_set_bits();
        match bits.set_slices().next() {
            None => Rows::Range { start: 0, len: 0 },
            Some((start, end)) if end - start == count => Rows::Range { start, len: count },
            Some(_) => Rows::Mask { bits, count },
        }
    }
}

/// Cuts arrays to some of their rows.
pub(crate) enum Cutter {
    Slice { start: usize, len: usize },
    Filter(FilterPredicate),
}

impl Cutter {
    pub(crate) fn cut(&self, array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        match self {
            Cutter::Slice { start, len } => Ok(array.slice(*start, *len)),
            Cutter::Filter(filter) => filter.filter(array),
        }
    }
}

/// The batch of the wanted rows of a block.
pub(crate) fn build_batch(shared: &Shared, block: &UnitBlock) -> Result<RecordBatch, ReadError> {
    let rows = &block.rows;
    let cut = rows.cutter();
    let fields = shared.schema.fields().iter().zip(&shared.request.columns);
    let columns =
        fields.map(|(field, id)| match (wanted_rows(shared, block, &cut, *id)?, shared.symbols.get(*id)) {
            (Some(array), Some(dictionary)) => symbol_texts(&array, dictionary),
            (Some(array), None) => Ok(array),
            (None, _) => Ok(new_null_array(field.data_type(), rows.len())),
        });
    let mut columns = columns.collect::<Result<Vec<_>, ArrowError>>()?;
    if shared.request.row_ids == RowIds::Given {
        let (segment, start) = block.origin.expect("rows in memory have no place in a segment");
        columns.extend(row_ids(segment, start, rows));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(&shared.schema), columns, &options)?)
}

/// The wanted rows of a column, with its missing value where the block is older; `None` is NULL in all of them.
fn wanted_rows(
    shared: &Shared,
    block: &UnitBlock,
    cut: &Cutter,
    id: ColumnId,
) -> Result<Option<ArrayRef>, ArrowError> {
    match block.arrays.get(&id) {
        Some(array) => cut.cut(array).map(Some),
        None => shared.missing.array(id, block.rows.len()),
    }
}

/// The same with the numbers of symbols; `None` when a symbol has no number.
pub(crate) fn build_numbered_batch(
    shared: &Shared,
    block: &UnitBlock,
    schema: &SchemaRef,
) -> Result<Option<RecordBatch>, ReadError> {
    let rows = &block.rows;
    let cut = rows.cutter();
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (field, id) in schema.fields().iter().zip(&shared.request.columns) {
        let array = wanted_rows(shared, block, &cut, *id)?;
        let array = array.unwrap_or_else(|| new_null_array(field.data_type(), rows.len()));
        if shared.symbols.get(*id).is_some() && *array.data_type() != DataType::Int32 {
            return Ok(None);
        }
        columns.push(array);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(Some(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?))
}

/// The columns that tell where each row is.
fn row_ids(segment: SegmentId, start: u32, rows: &Rows) -> [ArrayRef; 2] {
    let id = i64::try_from(segment.0).expect("ids come from a counter");
    let mut positions = Vec::with_capacity(rows.len());
    rows.for_each(|row| positions.push(i64::from(start) + i64::try_from(row).expect("a block is small")));
    [Arc::new(Int64Array::from(vec![id; rows.len()])), Arc::new(Int64Array::from(positions))]
}

/// A symbol column as readers get it.
pub(crate) fn symbol_texts(array: &ArrayRef, dictionary: &SymbolDictionary) -> Result<ArrayRef, ArrowError> {
    match array.data_type() {
        DataType::Int32 => compact(array.as_primitive(), &dictionary.values()),
        found if *found == symbol_type() => Ok(Arc::clone(array)),
        _ => cast(array, &symbol_type()),
    }
}

/// A dictionary of not many more texts than there are rows: what computes on a batch often begins
/// with the whole dictionary.
fn compact(numbers: &Int32Array, texts: &Arc<StringArray>) -> Result<ArrayRef, ArrowError> {
    const ROWS_PER_TEXT_MIN: usize = 8;
    if texts.len() <= numbers.len() / ROWS_PER_TEXT_MIN {
        let values = Arc::clone(texts) as ArrayRef;
        return Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(numbers.clone(), values)?));
    }
    let mut places = Places::default();
    let keys: Int32Array = match numbers.nulls() {
        None => numbers.values().iter().map(|number| places.of(*number)).collect::<Vec<i32>>().into(),
        Some(_) => numbers.iter().map(|number| number.map(|number| places.of(number))).collect(),
    };
    let values = take(texts.as_ref(), &Int32Array::from(places.used), None)?;
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values)?))
}

/// Numbers in the order in which they were met first.
#[derive(Default)]
struct Places {
    used: Vec<i32>,
    places: HashMap<i32, i32>,
    /// Rows that follow one another are often of one series.
    last: Option<(i32, i32)>,
}

impl Places {
    fn of(&mut self, number: i32) -> i32 {
        if let Some((last, place)) = self.last
            && last == number
        {
            return place;
        }
        let next = i32::try_from(self.used.len()).expect("there are no more places than numbers");
        let place = *self.places.entry(number).or_insert(next);
        if place == next {
            self.used.push(number);
        }
        self.last = Some((number, place));
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(rows: &Rows) -> Vec<usize> {
        match rows {
            Rows::Range { start, len } => (*start..start + len).collect(),
            Rows::Mask { bits, count } => {
                assert_eq!(bits.count_set_bits(), *count);
                bits.set_indices().collect()
            }
        }
    }

    #[test]
    fn conditions_leave_the_rows_for_which_all_hold() {
        let condition = |held: [Option<bool>; 6]| BooleanArray::from(held.to_vec());
        let [y, n, u] = [Some(true), Some(false), None];
        let cases = [
            (vec![], vec![0, 1, 2, 3, 4, 5]),
            (vec![condition([n, y, y, y, u, n])], vec![1, 2, 3]),
            (vec![condition([n, y, y, y, u, n]), condition([y, y, u, y, y, y])], vec![1, 3]),
            (vec![condition([y, n, y, n, y, n]), condition([n, n, y, y, y, y])], vec![2, 4]),
            (vec![condition([y, n, y, n, y, n]), condition([n, y, n, y, n, y])], vec![]),
        ];
        for (conditions, expected) in cases {
            let rows = conditions.iter().fold(Rows::all(6), |rows, condition| rows.and(condition));
            assert_eq!(kept(&rows), expected, "{conditions:?}");
        }
    }

    #[test]
    fn a_dictionary_is_cut_to_what_its_rows_use() {
        let texts = Arc::new(StringArray::from_iter_values((0..1000).map(|number| format!("host_{number}"))));
        let numbers = Int32Array::from(vec![Some(700), Some(700), None, Some(3), Some(700)]);
        let array = compact(&numbers, &texts).unwrap();
        let dictionary = array.as_dictionary::<Int32Type>();
        let found: Vec<Option<&str>> =
            dictionary.downcast_dict::<StringArray>().unwrap().into_iter().collect();
        assert_eq!(found, [Some("host_700"), Some("host_700"), None, Some("host_3"), Some("host_700")]);
        assert_eq!(dictionary.values().len(), 2);
    }
}
