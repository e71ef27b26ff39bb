//! What statistics rule out: segments by the catalog's, row groups and pages by the file's, and blocks
//! of texts by their token filters.
//!
//! Bounds are exact or wider than the values; text is cut at the writer's limit, downwards for a
//! lower bound and upwards for an upper one. What has no bounds is always read.

use std::cmp::Ordering;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt64Array};
use arrow::datatypes::{
    DataType, Date32Type, Field, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampNanosecondType,
};
use arrow::error::ArrowError;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::ColumnId;
use tidemark_catalog::schema::Column;
use tidemark_catalog::segment::{ColumnStatistics, Segment, StatisticsValue};
use tidemark_catalog::types::ColumnType;

use crate::error::{JobError, ReadError};
use crate::missing::MissingValues;
use crate::read::ScanStatistics;
use crate::read::predicate::{Comparison, Predicate, compare};
use crate::segment::file::OpenSegment;
use crate::segment::handle::SegmentHandle;
use crate::segment::token_filter::TokenFilters;
use crate::segment::writer::file_type;

/// The blocks of a row group that have to be looked at.
#[derive(Clone, Debug)]
pub(crate) struct RowGroupSelection {
    pub(crate) row_group: usize,
    /// By rising number.
    pub(crate) blocks: Vec<u32>,
    /// Rows in them.
    pub(crate) row_count: usize,
}

/// The type in which a column's bounds are compared.
fn statistics_type(column_type: &ColumnType) -> DataType {
    match column_type {
        ColumnType::Symbol => DataType::Utf8,
        other => file_type(other),
    }
}

/// What the catalog keeps of a new file's statistics.
pub(crate) fn file_statistics(
    metadata: &ParquetMetaData,
    columns: &[&Column],
) -> Result<Vec<ColumnStatistics>, JobError> {
    let schema = metadata.file_metadata().schema_descr();
    let mut statistics = Vec::with_capacity(columns.len());
    for (root, column) in columns.iter().enumerate() {
        let leaf = (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == root);
        let leaf = leaf.expect("every column has a leaf");
        let field = Field::new(&column.name, statistics_type(&column.column_type), true);
        let mut of_column = ColumnStatistics { column: column.id, null_count: 0, min: None, max: None };
        if !field.data_type().is_nested() {
            let converter = StatisticsConverter::from_column_index(leaf, &field, schema)
                .map_err(|error| ArrowError::ParquetError(error.to_string()))?;
            let failed = |error: parquet::errors::ParquetError| ArrowError::ParquetError(error.to_string());
            let groups = metadata.row_groups();
            let nulls = converter.row_group_null_counts(groups).map_err(failed)?;
            of_column.null_count = nulls.iter().flatten().sum();
            let mins = converter.row_group_mins(groups).map_err(failed)?;
            let maxes = converter.row_group_maxes(groups).map_err(failed)?;
            // A row group without bounds may hold anything, unless it holds nothing but NULL.
            let known = (0..groups.len()).all(|at| {
                let rows = u64::try_from(groups[at].num_rows()).unwrap_or(u64::MAX);
                (mins.is_valid(at) && maxes.is_valid(at)) || nulls.value(at) == rows
            });
            if known {
                of_column.min = extreme(&mins, Ordering::Less);
                of_column.max = extreme(&maxes, Ordering::Greater);
            }
        }
        statistics.push(of_column);
    }
    Ok(statistics)
}

fn extreme(values: &ArrayRef, wanted: Ordering) -> Option<StatisticsValue> {
    let values = (0..values.len()).filter_map(|at| statistics_value(values, at));
    values.reduce(|best, value| if order(&value, &best) == Some(wanted) { value } else { best })
}

/// A value as statistics hold it; `None` for NULL and for types that have no bounds.
pub(crate) fn statistics_value(array: &ArrayRef, at: usize) -> Option<StatisticsValue> {
    if array.is_null(at) {
        return None;
    }
    Some(match array.data_type() {
        DataType::Boolean => StatisticsValue::Bool(array.as_boolean().value(at)),
        DataType::Int16 => StatisticsValue::Int(array.as_primitive::<Int16Type>().value(at).into()),
        DataType::Int32 => StatisticsValue::Int(array.as_primitive::<Int32Type>().value(at).into()),
        DataType::Int64 => StatisticsValue::Int(array.as_primitive::<Int64Type>().value(at)),
        DataType::Date32 => StatisticsValue::Int(array.as_primitive::<Date32Type>().value(at).into()),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            StatisticsValue::Int(array.as_primitive::<TimestampMicrosecondType>().value(at))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            StatisticsValue::Int(array.as_primitive::<TimestampNanosecondType>().value(at))
        }
        DataType::Float32 => StatisticsValue::Float(array.as_primitive::<Float32Type>().value(at).into()),
        DataType::Float64 => StatisticsValue::Float(array.as_primitive::<Float64Type>().value(at)),
        DataType::Utf8 => StatisticsValue::Bytes(array.as_string::<i32>().value(at).into()),
        DataType::Utf8View => StatisticsValue::Bytes(array.as_string_view().value(at).into()),
        DataType::BinaryView => StatisticsValue::Bytes(array.as_binary_view().value(at).into()),
        DataType::FixedSizeBinary(_) => StatisticsValue::Bytes(array.as_fixed_size_binary().value(at).into()),
        _ => return None,
    })
}

/// How two values of one type compare.
pub(crate) fn order(left: &StatisticsValue, right: &StatisticsValue) -> Option<Ordering> {
    match (left, right) {
        (StatisticsValue::Bool(left), StatisticsValue::Bool(right)) => Some(left.cmp(right)),
        (StatisticsValue::Int(left), StatisticsValue::Int(right)) => Some(left.cmp(right)),
        (StatisticsValue::Float(left), StatisticsValue::Float(right)) => left.partial_cmp(right),
        (StatisticsValue::Bytes(left), StatisticsValue::Bytes(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

/// Whether a segment may have a row that fulfils all predicates.
pub(crate) fn may_match_segment(
    segment: &Segment,
    predicates: &[Predicate],
    missing: &MissingValues,
) -> Result<bool, ArrowError> {
    for predicate in predicates {
        let of_column = segment.statistics.iter().find(|it| it.column == predicate.column());
        let may_match = match of_column {
            Some(of_column) => may_match_column(of_column, segment.row_count, predicate),
            // The file does not have the column: every row has the same value.
            None => missing.fulfil(predicate)?,
        };
        if !may_match {
            return Ok(false);
        }
    }
    Ok(true)
}

fn may_match_column(of_column: &ColumnStatistics, row_count: u64, predicate: &Predicate) -> bool {
    let all_null = of_column.null_count == row_count;
    match predicate {
        Predicate::IsNull { wanted: true, .. } => of_column.null_count > 0 || is_unknown(of_column),
        Predicate::IsNull { wanted: false, .. } => !all_null || is_unknown(of_column),
        Predicate::Compare { comparison, value, .. } => {
            may_compare(of_column, *comparison, statistics_value(value, 0))
        }
        Predicate::OneOf { values, .. } => (0..values.len())
            .any(|at| may_compare(of_column, Comparison::Equal, statistics_value(values, at))),
        Predicate::Text { .. } => !all_null || is_unknown(of_column),
    }
}

/// Whether the segment's time range says that all of its rows fulfil all predicates.
pub(crate) fn all_rows_match(segment: &Segment, time_key: ColumnId, predicates: &[Predicate]) -> bool {
    let (first, last) = (segment.time_min, segment.time_max);
    predicates.iter().all(|predicate| match predicate {
        Predicate::Compare { column, comparison, value } if *column == time_key => {
            let Some(StatisticsValue::Int(value)) = statistics_value(value, 0) else { return false };
            match comparison {
                Comparison::Equal => first == value && last == value,
                Comparison::NotEqual => last < value || value < first,
                Comparison::Less => last < value,
                Comparison::LessOrEqual => last <= value,
                Comparison::Greater => first > value,
                Comparison::GreaterOrEqual => first >= value,
            }
        }
        // A time key is never NULL.
        Predicate::IsNull { column, wanted } => *column == time_key && !wanted,
        _ => false,
    })
}

/// Without bounds nothing is known, not even the count of NULLs: a list has none.
fn is_unknown(of_column: &ColumnStatistics) -> bool {
    of_column.min.is_none() && of_column.null_count == 0
}

fn may_compare(of_column: &ColumnStatistics, comparison: Comparison, value: Option<StatisticsValue>) -> bool {
    let (Some(min), Some(max), Some(value)) = (&of_column.min, &of_column.max, value) else {
        return true;
    };
    let (Some(to_min), Some(to_max)) = (order(&value, min), order(&value, max)) else {
        return true;
    };
    match comparison {
        Comparison::Equal => to_min != Ordering::Less && to_max != Ordering::Greater,
        Comparison::NotEqual => true,
        Comparison::Less => to_min == Ordering::Greater,
        Comparison::LessOrEqual => to_min != Ordering::Less,
        Comparison::Greater => to_max == Ordering::Less,
        Comparison::GreaterOrEqual => to_max != Ordering::Greater,
    }
}

/// The blocks that have to be looked at in each row group that has any.
pub(crate) fn select(
    handle: &SegmentHandle,
    collection: &Collection,
    predicates: &[Predicate],
    statistics: &mut ScanStatistics,
) -> Result<Vec<RowGroupSelection>, ReadError> {
    let (open, block_rows) = (&handle.open()?, handle.blocks().block_rows());
    let row_groups = open.parquet().num_row_groups();
    let mut selections = Vec::new();
    statistics.row_groups += row_groups;
    for row_group in 0..row_groups {
        let rows = open.row_group_rows(row_group);
        let mut wanted = vec![true; rows.div_ceil(block_rows)];
        for predicate in predicates {
            let column = collection.schema.column(predicate.column());
            let leaf = open.column(predicate.column()).and_then(|column| column.leaf);
            let (Some(column), Some(leaf)) = (column, leaf) else { continue };
            let pages = open.page_bounds(row_group, leaf, || page_bounds(open, column, leaf, row_group))?;
            let kept = pages_kept(&pages, predicate)?;
            keep_blocks(&mut wanted, &pages.ranges, &kept, block_rows);
        }
        keep_blocks_by_tokens(handle, open, row_group, predicates, &mut wanted, statistics)?;
        if !wanted.contains(&true) {
            statistics.row_groups_pruned += 1;
            continue;
        }
        count_pages(open, collection, row_group, &wanted, block_rows, statistics);
        let blocks: Vec<u32> = (0..).zip(&wanted).filter(|(_, wanted)| **wanted).map(|(at, _)| at).collect();
        let row_count = blocks.iter().map(|block| block_range(*block as usize, block_rows, rows).len()).sum();
        selections.push(RowGroupSelection { row_group, blocks, row_count });
    }
    Ok(selections)
}

/// Blocks that do not have the tokens that a predicate asks for are not wanted. Filters are larger than
/// bounds, so they are asked about what bounds have left, and not read when that is nothing.
fn keep_blocks_by_tokens(
    handle: &SegmentHandle,
    open: &OpenSegment,
    row_group: usize,
    predicates: &[Predicate],
    wanted: &mut [bool],
    statistics: &mut ScanStatistics,
) -> Result<(), ReadError> {
    let count = |wanted: &[bool]| wanted.iter().filter(|wanted| **wanted).count();
    let before = count(wanted);
    let mut asked = false;
    for predicate in predicates {
        let column = predicate.column();
        if !open.has_token_filters(column, row_group) || !wanted.contains(&true) {
            continue;
        }
        let Some(any_of) = predicate.required_tokens() else { continue };
        let bytes = handle.token_filters(open, column, row_group)?;
        let broken = || open.broken_filters(column, row_group);
        let filters = bytes.as_deref().map(|bytes| TokenFilters::new(bytes).ok_or_else(broken));
        let Some(filters) = filters.transpose()? else { continue };
        let rows = open.row_group_rows(row_group);
        let (ranges, kept): (Vec<Range<usize>>, Vec<bool>) = filters.blocks(rows, &any_of).unzip();
        if ranges.last().map(|last| last.end) != Some(rows) {
            return Err(broken());
        }
        keep_blocks(wanted, &ranges, &BooleanArray::from(kept), handle.blocks().block_rows());
        asked = true;
    }
    if asked {
        statistics.token_blocks += before;
        statistics.token_blocks_pruned += before - count(wanted);
    }
    Ok(())
}

fn block_range(block: usize, block_rows: usize, rows: usize) -> Range<usize> {
    block * block_rows..rows.min((block + 1) * block_rows)
}

/// Blocks all of whose rows are on pages that are not kept are not wanted.
fn keep_blocks(wanted: &mut [bool], pages: &[Range<usize>], kept: &BooleanArray, block_rows: usize) {
    let mut met = vec![false; wanted.len()];
    for (range, kept) in pages.iter().zip(kept.iter()) {
        if kept.unwrap_or(true) && !range.is_empty() {
            met[range.start / block_rows..=(range.end - 1) / block_rows].fill(true);
        }
    }
    for (wanted, met) in wanted.iter_mut().zip(met) {
        *wanted &= met;
    }
}

/// What is known of the pages of a column chunk.
#[derive(Debug)]
pub(crate) struct PageBounds {
    /// Their rows.
    ranges: Vec<Range<usize>>,
    /// NULL where a page has no bounds.
    mins: ArrayRef,
    maxes: ArrayRef,
    /// Rows with NULL; NULL where that is not known.
    nulls: UInt64Array,
}

fn page_bounds(
    open: &OpenSegment,
    column: &Column,
    leaf: usize,
    row_group: usize,
) -> Result<PageBounds, ReadError> {
    let metadata = open.parquet();
    let (Some(column_index), Some(offset_index)) = (metadata.column_index(), metadata.offset_index()) else {
        return Err(open.decode_error(ParquetError::General("a segment has page indexes".to_owned())));
    };
    let field = Field::new(&column.name, statistics_type(&column.column_type), true);
    let schema = metadata.file_metadata().schema_descr();
    let groups = [row_group];
    let bounds = || {
        let converter = StatisticsConverter::from_column_index(leaf, &field, schema)?;
        Ok(PageBounds {
            ranges: page_ranges(metadata, row_group, leaf, open.row_group_rows(row_group)),
            mins: converter.data_page_mins(column_index, offset_index, &groups)?,
            maxes: converter.data_page_maxes(column_index, offset_index, &groups)?,
            nulls: converter.data_page_null_counts(column_index, offset_index, &groups)?,
        })
    };
    bounds().map_err(|error| open.decode_error(error))
}

/// Which pages may have a row that fulfils the predicate; NULL where nothing is known.
fn pages_kept(pages: &PageBounds, predicate: &Predicate) -> Result<BooleanArray, ReadError> {
    let nulls = |at: usize| pages.nulls.is_valid(at).then(|| pages.nulls.value(at));
    let rows = |at: usize| pages.ranges[at].len() as u64;
    let pages_count = pages.ranges.len();
    if let Predicate::IsNull { wanted, .. } = predicate {
        let kept = |at| nulls(at).map(|nulls| if *wanted { nulls > 0 } else { nulls < rows(at) });
        return Ok((0..pages_count).map(kept).collect());
    }
    let kept = may_compare_pages(predicate, &pages.mins, &pages.maxes)?;
    let kept = (0..pages_count).map(|at| match nulls(at) == Some(rows(at)) {
        true => Some(false),
        false => kept.is_valid(at).then(|| kept.value(at)),
    });
    Ok(kept.collect())
}

/// NULL where a page has no bounds.
fn may_compare_pages(
    predicate: &Predicate,
    mins: &ArrayRef,
    maxes: &ArrayRef,
) -> Result<BooleanArray, ArrowError> {
    use arrow::compute::{and, cast, or};
    // They may be of the time when the column was one of symbols, or of text already.
    let (mins, maxes) = match predicate {
        Predicate::Compare { value, .. } | Predicate::OneOf { values: value, .. }
            if value.data_type() != mins.data_type() =>
        {
            (&cast(mins, value.data_type())?, &cast(maxes, value.data_type())?)
        }
        _ => (mins, maxes),
    };
    match predicate {
        Predicate::Compare { comparison, value, .. } => match comparison {
            Comparison::Equal => and(
                &compare(mins, Comparison::LessOrEqual, value)?,
                &compare(maxes, Comparison::GreaterOrEqual, value)?,
            ),
            Comparison::NotEqual => Ok(BooleanArray::new_null(mins.len())),
            Comparison::Less | Comparison::LessOrEqual => compare(mins, *comparison, value),
            Comparison::Greater | Comparison::GreaterOrEqual => compare(maxes, *comparison, value),
        },
        Predicate::OneOf { values, .. } => {
            let mut kept = BooleanArray::from(vec![false; mins.len()]);
            for at in 0..values.len() {
                let value = values.slice(at, 1);
                let below = compare(mins, Comparison::LessOrEqual, &value)?;
                let above = compare(maxes, Comparison::GreaterOrEqual, &value)?;
                kept = or(&kept, &and(&below, &above)?)?;
            }
            Ok(kept)
        }
        Predicate::IsNull { .. } | Predicate::Text { .. } => Ok(BooleanArray::new_null(mins.len())),
    }
}

fn page_ranges(metadata: &ParquetMetaData, row_group: usize, leaf: usize, rows: usize) -> Vec<Range<usize>> {
    let Some(offset_index) = metadata.offset_index() else { return Vec::new() };
    let locations = offset_index[row_group][leaf].page_locations();
    let first = |at: usize| usize::try_from(locations[at].first_row_index).unwrap_or(rows);
    (0..locations.len())
        .map(|at| first(at)..if at + 1 < locations.len() { first(at + 1) } else { rows })
        .collect()
}

/// Counts the pages of the time key, and those of them that are in no wanted block.
fn count_pages(
    open: &OpenSegment,
    collection: &Collection,
    row_group: usize,
    wanted: &[bool],
    block_rows: usize,
    statistics: &mut ScanStatistics,
) {
    let time = open.column(collection.timeseries().time_key).and_then(|column| column.leaf);
    let Some(time) = time else { return };
    let ranges = page_ranges(open.parquet(), row_group, time, open.row_group_rows(row_group));
    statistics.pages += ranges.len();
    let is_read = |range: &&Range<usize>| {
        !range.is_empty() && wanted[range.start / block_rows..=(range.end - 1) / block_rows].contains(&true)
    };
    statistics.pages_pruned += ranges.len() - ranges.iter().filter(is_read).count();
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use tidemark_catalog::ids::ColumnId;

    use super::*;

    fn may_match(comparison: Comparison, value: i64, min: i64, max: i64) -> (bool, bool) {
        let value: ArrayRef = Arc::new(Int64Array::from(vec![value]));
        let of_column = ColumnStatistics {
            column: ColumnId(1),
            null_count: 0,
            min: Some(StatisticsValue::Int(min)),
            max: Some(StatisticsValue::Int(max)),
        };
        let by_segment = may_compare(&of_column, comparison, statistics_value(&value, 0));
        let predicate = Predicate::Compare { column: ColumnId(1), comparison, value };
        let mins: ArrayRef = Arc::new(Int64Array::from(vec![min]));
        let maxes: ArrayRef = Arc::new(Int64Array::from(vec![max]));
        let by_page = may_compare_pages(&predicate, &mins, &maxes).unwrap();
        (by_segment, by_page.is_null(0) || by_page.value(0))
    }

    #[test]
    fn bounds_rule_out_exactly_what_cannot_match() {
        let comparisons = [
            (Comparison::Equal, (|left, right| left == right) as fn(i64, i64) -> bool),
            (Comparison::Less, |left, right| left < right),
            (Comparison::LessOrEqual, |left, right| left <= right),
            (Comparison::Greater, |left, right| left > right),
            (Comparison::GreaterOrEqual, |left, right| left >= right),
        ];
        for (comparison, holds) in comparisons {
            for min in 0..4 {
                for max in min..4 {
                    for value in -1..5 {
                        let possible = (min..=max).any(|row| holds(row, value));
                        let found = may_match(comparison, value, min, max);
                        assert_eq!(found, (possible, possible), "{comparison:?} {value} in {min}..={max}");
                    }
                }
            }
        }
    }
}
