//! The order of rows in a segment: series key, then time, then commit.
//!
//! 1. Each series key column is replaced by ranks: numbers whose order is that of the values, with
//!    NULL last. Symbols are ranked once per distinct text.
//! 2. The ranks of all series key columns are packed into one number per row. When 64 bits do not
//!    suffice, what is packed so far is ranked again, which needs at most 32.
//! 3. Rows are sorted by (packed ranks, time, ranks of what else is in a `dedup_key`, arrival), which costs
//!    little where each series came in order ([`sorted`]).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, new_null_array};
use arrow::datatypes::Int32Type;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::ColumnId;
use tidemark_catalog::types::ColumnType;

use crate::batch::timestamp_values;
use crate::memtable::Chunk;
use crate::memtable::symbols::SymbolDictionary;
use crate::types::write_type;

/// A row of a list of chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowRef {
    pub(crate) chunk: u32,
    pub(crate) row: u32,
}

/// The rows in the order of a segment. Of rows with equal keys, where the collection has a `dedup_key`,
/// only the last one that was committed.
pub(crate) fn sorted_rows(
    collection: &Collection,
    chunks: &[Arc<Chunk>],
    rows: Vec<RowRef>,
    symbols: impl Fn(ColumnId) -> Option<Arc<SymbolDictionary>>,
) -> Result<Vec<RowRef>, ArrowError> {
    let options = collection.timeseries();
    let ranked = |columns: &mut dyn Iterator<Item = ColumnId>| {
        let mut packed = Packed { values: vec![0; rows.len()], bits: 0 };
        for id in columns {
            let column = collection.schema.column(id).expect("an invariant of the catalog");
            let ranks = match &column.column_type {
                ColumnType::Symbol => {
                    let dictionary = symbols(id).expect("every symbol column has a dictionary");
                    symbol_ranks(chunks, &rows, id, &dictionary.values())
                }
                other => value_ranks(chunks, &rows, id, other)?,
            };
            packed.append(&ranks);
        }
        Ok::<Packed, ArrowError>(packed)
    };
    let series = ranked(&mut options.series_key.iter().copied())?;
    // What a key against duplicates has besides series and time.
    let in_order = |id: &ColumnId| *id == options.time_key || options.series_key.contains(id);
    let rest = ranked(&mut options.dedup_key.iter().copied().filter(|id| !in_order(id)))?;
    let times: Vec<&[i64]> = chunks
        .iter()
        .map(|chunk| timestamp_values(chunk.column(options.time_key).expect("a time in every row")))
        .collect();
    let keyed: Vec<Keyed> = rows
        .iter()
        .zip(series.values.iter().zip(&rest.values))
        .map(|(row, (series, rest))| Keyed {
            key: (*series, times[row.chunk as usize][row.row as usize], *rest),
            row: *row,
        })
        .collect();
    let mut keyed = sorted(keyed, series.bits);
    if !options.dedup_key.is_empty() {
        // From the end, so that of equal keys the last one stays.
        keyed.reverse();
        keyed.dedup_by_key(|keyed| keyed.key);
        keyed.reverse();
    }
    Ok(keyed.into_iter().map(|keyed| keyed.row).collect())
}

/// A row with its series, its time, and what else is in a key against duplicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Keyed {
    key: (u64, i64, u64),
    row: RowRef,
}

impl Keyed {
    /// Chunks and rows stand in the order of commits, so that no two rows are equal in it.
    fn order(&self) -> ((u64, i64, u64), u32, u32) {
        (self.key, self.row.chunk, self.row.row)
    }
}

/// Sorts rows whose packed series have so many bits. Rows mostly come in the order of time: they are dealt
/// out to their series, as a counting sort does it, and only series that are not in order then are sorted.
fn sorted(mut rows: Vec<Keyed>, series_bits: u32) -> Vec<Keyed> {
    /// Counters for a row at most: else packed ranks are too sparse to be counted.
    const COUNTERS_PER_ROW: usize = 4;
    let counters = 1_usize.checked_shl(series_bits).filter(|count| *count <= rows.len() * COUNTERS_PER_ROW);
    let Some(counters) = counters else {
        rows.sort_unstable_by_key(Keyed::order);
        return rows;
    };
    let series = |row: &Keyed| usize::try_from(row.key.0).expect("it is one of the counters");
    let mut next = vec![0_usize; counters];
    rows.iter().for_each(|row| next[series(row)] += 1);
    let mut start = 0;
    for count in &mut next {
        start += std::mem::replace(count, start);
    }
    let mut dealt = rows.clone();
    for row in &rows {
        let place = &mut next[series(row)];
        dealt[*place] = *row;
        *place += 1;
    }
    for of_series in dealt.chunk_by_mut(|a, b| a.key.0 == b.key.0) {
        if !of_series.is_sorted_by_key(Keyed::order) {
            of_series.sort_unstable_by_key(Keyed::order);
        }
    }
    dealt
}

/// Ranks of several columns in one number per row.
struct Packed {
    values: Vec<u64>,
    bits: u32,
}

impl Packed {
    fn append(&mut self, ranks: &Ranks) {
        let bits = u64::BITS - u64::from(ranks.count).leading_zeros();
        if self.bits + bits > u64::BITS {
            self.densify();
        }
        for (value, rank) in self.values.iter_mut().zip(&ranks.of_row) {
            *value = (*value << bits) | u64::from(*rank);
        }
        self.bits += bits;
    }

    fn densify(&mut self) {
        let mut distinct = self.values.clone();
        distinct.sort_unstable();
        distinct.dedup();
        for value in &mut self.values {
            let rank = distinct.binary_search(value).expect("it is one of them");
            *value = rank as u64;
        }
        self.bits = u64::BITS - (distinct.len() as u64).leading_zeros();
    }
}

/// The rank of a column's value in each row; ranks are below `count`, and NULL has `count`.
struct Ranks {
    of_row: Vec<u32>,
    count: u32,
}

fn symbol_ranks(chunks: &[Arc<Chunk>], rows: &[RowRef], id: ColumnId, texts: &StringArray) -> Ranks {
    let mut used = vec![false; texts.len()];
    let columns: Vec<Option<&ArrayRef>> = chunks.iter().map(|chunk| chunk.column(id)).collect();
    let at = |key: i32| usize::try_from(key).expect("numbers start at 0");
    for keys in columns.iter().flatten() {
        keys.as_primitive::<Int32Type>().iter().flatten().for_each(|key| used[at(key)] = true);
    }
    let mut order: Vec<usize> = (0..texts.len()).filter(|key| used[*key]).collect();
    order.sort_unstable_by_key(|key| texts.value(*key));
    let mut ranks = vec![0_u32; texts.len()];
    for (key, rank) in order.iter().zip(0_u32..) {
        ranks[*key] = rank;
    }
    let count = u32::try_from(order.len()).expect("numbers have 31 bits");
    let of_row = rows.iter().map(|row| match columns[row.chunk as usize] {
        Some(keys) if keys.is_valid(row.row as usize) => {
            ranks[at(keys.as_primitive::<Int32Type>().value(row.row as usize))]
        }
        _ => count,
    });
    Ranks { of_row: of_row.collect(), count }
}

fn value_ranks(
    chunks: &[Arc<Chunk>],
    rows: &[RowRef],
    id: ColumnId,
    column_type: &ColumnType,
) -> Result<Ranks, ArrowError> {
    let data_type = write_type(column_type);
    let arrays: Vec<ArrayRef> = chunks
        .iter()
        .map(|chunk| match chunk.column(id) {
            Some(array) => Arc::clone(array),
            None => new_null_array(&data_type, chunk.row_count()),
        })
        .collect();
    let converter = RowConverter::new(vec![SortField::new(data_type)])?;
    let converted = arrays
        .iter()
        .map(|array| converter.convert_columns(&[Arc::clone(array)]))
        .collect::<Result<Vec<_>, _>>()?;
    let value = |row: &RowRef| converted[row.chunk as usize].row(row.row as usize);
    let is_null = |row: &RowRef| arrays[row.chunk as usize].is_null(row.row as usize);
    let mut distinct: Vec<_> = rows.iter().filter(|row| !is_null(row)).map(value).collect();
    distinct.sort_unstable();
    distinct.dedup();
    let count = u32::try_from(distinct.len()).expect("a memtable has fewer rows than 2^32");
    let of_row = rows.iter().map(|row| {
        if is_null(row) {
            count
        } else {
            let rank = distinct.binary_search(&value(row)).expect("it is one of them");
            u32::try_from(rank).expect("below the count")
        }
    });
    Ok(Ranks { of_row: of_row.collect(), count })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_dealt_out_to_their_series_are_sorted(
            rows in proptest::collection::vec((0..8_u64, 0..50_i64, 0..3_u64), 0..200),
            series_bits in 3..64_u32,
            is_in_order in any::<bool>(),
        ) {
            let mut rows: Vec<Keyed> = rows
                .into_iter()
                .zip(0..)
                .map(|(key, row)| Keyed { key, row: RowRef { chunk: row / 70, row: row % 70 } })
                .collect();
            if is_in_order {
                rows.sort_by_key(|row| row.key.1);
            }
            let dealt = sorted(rows.clone(), series_bits);
            rows.sort_by_key(Keyed::order);
            prop_assert_eq!(dealt, rows);
        }

        #[test]
        fn packing_keeps_the_order_of_columns_also_beyond_64_bits(
            counts in proptest::collection::vec(prop_oneof![0..4_u32, Just(u32::MAX - 1), any::<u32>()], 1..7),
            choices in proptest::collection::vec(proptest::collection::vec(0..4_u32, 7), 1..60),
        ) {
            let rank = |count: u32, choice: u32| match choice {
                // NULL, the first, the last, and one in between.
                0 => count,
                1 => 0,
                2 => count.saturating_sub(1),
                _ => count / 2,
            };
            let tuple = |row: &Vec<u32>| -> Vec<u32> {
                counts.iter().zip(row).map(|(count, choice)| rank(*count, *choice)).collect()
            };
            let tuples: Vec<Vec<u32>> = choices.iter().map(tuple).collect();
            let mut packed = Packed { values: vec![0; tuples.len()], bits: 0 };
            for (column, count) in counts.iter().enumerate() {
                packed.append(&Ranks { of_row: tuples.iter().map(|row| row[column]).collect(), count: *count });
            }
            for (left, one) in tuples.iter().enumerate() {
                for (right, other) in tuples.iter().enumerate() {
                    prop_assert_eq!(
                        packed.values[left].cmp(&packed.values[right]),
                        one.cmp(other),
                        "{:?} and {:?}", one, other
                    );
                }
            }
        }
    }
}
