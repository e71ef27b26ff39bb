//! The rows of a segment against what the catalog says of them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::compute::{SortOptions, cast, sort_to_indices};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::{ColumnId, SegmentId};
use tidemark_catalog::schema::Column;
use tidemark_catalog::segment::{ColumnStatistics, StatisticsValue};
use tidemark_catalog::types::ColumnType;

use crate::batch::timestamp_values;
use crate::check::{Bound, Fault};
use crate::error::ReadError;
use crate::memtable::dictionaries::SymbolDictionaries;
use crate::segment::deleted::Positions;
use crate::segment::handle::SegmentHandle;
use crate::segment::prune::{order, statistics_value};
use crate::segment::stream::SegmentStream;
use crate::types::read_type;

/// The keys that were met in a partition, of rows that are there.
#[derive(Debug)]
pub(super) struct Keys {
    columns: Vec<(ColumnId, DataType)>,
    converter: RowConverter,
    met: HashMap<Box<[u8]>, SegmentId>,
}

impl Keys {
    /// For a collection with a `dedup_key`.
    pub(super) fn new(collection: &Collection) -> Option<Keys> {
        let key = &collection.timeseries().dedup_key;
        let columns = key.iter().filter_map(|id| {
            let column = collection.schema.column(*id)?;
            Some((*id, compared_type(&column.column_type)))
        });
        let columns: Vec<(ColumnId, DataType)> = columns.collect();
        let fields = columns.iter().map(|(_, data_type)| SortField::new(data_type.clone())).collect();
        let converter = RowConverter::new(fields).ok().filter(|_| !columns.is_empty())?;
        Some(Keys { columns, converter, met: HashMap::new() })
    }

    /// Notes the rows of a block; of those whose key was met, the segments that had it are counted.
    fn add(
        &mut self,
        segment: SegmentId,
        row_count: usize,
        array: impl Fn(ColumnId) -> Option<ArrayRef>,
        is_there: impl Fn(usize) -> bool,
        repeated: &mut HashMap<SegmentId, u64>,
    ) -> Result<(), ReadError> {
        let arrays = self.columns.iter().map(|(id, data_type)| match array(*id) {
            Some(array) => cast(&array, data_type),
            None => Ok(new_null_array(data_type, row_count)),
        });
        let rows = self.converter.convert_columns(&arrays.collect::<Result<Vec<_>, _>>()?)?;
        for at in (0..row_count).filter(|at| is_there(*at)) {
            if let Some(other) = self.met.insert(rows.row(at).as_ref().into(), segment) {
                *repeated.entry(other).or_default() += 1;
            }
        }
        Ok(())
    }
}

/// Texts of symbols are compared, not their numbers.
fn compared_type(column_type: &ColumnType) -> DataType {
    match column_type {
        ColumnType::Symbol => DataType::Utf8,
        other => read_type(other),
    }
}

/// What is known of a column's values.
struct Totals<'a> {
    column: &'a Column,
    stated: &'a ColumnStatistics,
    null_count: u64,
    min: Option<StatisticsValue>,
    max: Option<StatisticsValue>,
}

impl Totals<'_> {
    fn add(&mut self, array: &ArrayRef) -> Result<(), ReadError> {
        let array = match self.column.column_type {
            ColumnType::Symbol => cast(array, &DataType::Utf8)?,
            _ => Arc::clone(array),
        };
        self.null_count += array.logical_null_count() as u64;
        // Of an interval the file has bounds of bytes, which say nothing.
        if self.stated.min.is_none() && self.stated.max.is_none()
            || self.column.column_type == ColumnType::Interval
        {
            return Ok(());
        }
        let extreme = |descending| -> Result<Option<StatisticsValue>, ReadError> {
            let options = SortOptions { descending, nulls_first: false };
            let first = sort_to_indices(&array, Some(options), Some(1))?;
            let first = first.values().first().map(|at| usize::try_from(*at).expect("a place in an array"));
            Ok(first.and_then(|at| statistics_value(&array, at)))
        };
        let (min, max) = (extreme(false)?, extreme(true)?);
        self.min = further(self.min.take(), min, std::cmp::Ordering::Less);
        self.max = further(self.max.take(), max, std::cmp::Ordering::Greater);
        Ok(())
    }

    fn faults(&self, faults: &mut Vec<Fault>) {
        let column = || self.column.name.clone();
        if self.column.column_type != ColumnType::Interval {
            let bounds = [
                (Bound::Minimum, &self.stated.min, &self.min, std::cmp::Ordering::Greater),
                (Bound::Maximum, &self.stated.max, &self.max, std::cmp::Ordering::Less),
            ];
            for (bound, stated, found, wrong) in bounds {
                let holds = match (stated, found) {
                    (None, _) => true,
                    // Text is cut, so that its bounds may be wider than its values.
                    (Some(stated @ StatisticsValue::Bytes(_)), Some(found)) => {
                        order(stated, found).is_some_and(|order| order != wrong)
                    }
                    (Some(stated), found) => found.as_ref().is_some_and(|found| found == stated),
                };
                if !holds {
                    faults.push(Fault::Bound { column: column(), bound });
                }
            }
        }
        if self.null_count != self.stated.null_count
            && !matches!(self.column.column_type, ColumnType::Array(_))
        {
            let (stated, found) = (self.stated.null_count, self.null_count);
            faults.push(Fault::NullCount { column: column(), stated, found });
        }
    }
}

fn further(
    one: Option<StatisticsValue>,
    other: Option<StatisticsValue>,
    wanted: std::cmp::Ordering,
) -> Option<StatisticsValue> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if order(&other, &one) == Some(wanted) { other } else { one }),
        (one, other) => one.or(other),
    }
}

/// Decodes these columns of all rows, the time key among them, and says what is not as the catalog says.
pub(super) fn check(
    handle: &SegmentHandle,
    collection: &Collection,
    columns: &[&Column],
    range: (i64, i64),
    deleted: Option<&Positions>,
    mut keys: Option<&mut Keys>,
) -> Result<Vec<Fault>, ReadError> {
    let segment = handle.segment();
    let place = |id: ColumnId| columns.iter().position(|column| column.id == id);
    let time_at = place(collection.timeseries().time_key).expect("every segment has the time key");
    let totals = columns.iter().map(|column| {
        let stated = segment.statistics.iter().find(|it| it.column == column.id)?;
        Some(Totals { column, stated, null_count: 0, min: None, max: None })
    });
    let mut totals: Vec<Option<Totals<'_>>> = totals.collect();
    let mut stream = SegmentStream::open(handle, columns, &SymbolDictionaries::default())?;
    let (mut row_count, mut times) = (0, (i64::MAX, i64::MIN));
    let mut repeated = HashMap::new();
    while let Some(block) = stream.next()? {
        let array = |at: usize| block.arrays[at].as_ref().expect("the file has the column");
        for time in timestamp_values(array(time_at)) {
            times = (times.0.min(*time), times.1.max(*time));
        }
        for (at, totals) in totals.iter_mut().enumerate() {
            if let Some(totals) = totals {
                totals.add(array(at))?;
            }
        }
        if let Some(keys) = &mut keys {
            let array = |id| place(id).map(|at| Arc::clone(array(at)));
            let is_there = |at: usize| {
                let position = u32::try_from(row_count + at as u64).expect("rows are numbered with 32 bits");
                deleted.is_none_or(|deleted| !deleted.contains(position))
            };
            keys.add(segment.id, block.row_count(), array, is_there, &mut repeated)?;
        }
        row_count += block.row_count() as u64;
    }
    let mut faults = Vec::new();
    if row_count != segment.row_count {
        faults.push(Fault::RowCount { stated: segment.row_count, found: row_count });
    }
    let stated = (segment.time_min, segment.time_max);
    if times != stated {
        faults.push(Fault::TimeRange { stated, found: times });
    }
    if times.0 < range.0 || times.1 >= range.1 {
        faults.push(Fault::OutsidePartition { range, found: times });
    }
    totals.iter().flatten().for_each(|totals| totals.faults(&mut faults));
    let mut repeated: Vec<(SegmentId, u64)> = repeated.into_iter().collect();
    repeated.sort_unstable();
    faults.extend(repeated.into_iter().map(|(other, count)| Fault::DuplicateKeys { other, count }));
    Ok(faults)
}
