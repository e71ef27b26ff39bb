//! Which rows of a segment have later ones elsewhere, when that is published.

use std::sync::Arc;

use tidemark_catalog::ids::Lsn;

use crate::dedup::index::LayerIndex;
use crate::dedup::resolve::KeyReader;
use crate::error::ReadError;
use crate::memtable::budget::Budget;
use crate::segment::deleted::Positions;
use crate::segment::handle::SegmentHandle;

/// The positions of a segment's rows whose keys one of the indexes has. Rows that are deleted already are
/// not among them.
pub(crate) fn shadowed(
    reader: &KeyReader<'_>,
    older: &SegmentHandle,
    newer: &[&LayerIndex],
) -> Result<Positions, ReadError> {
    let newer: Vec<_> = newer.iter().map(|index| index.lock()).collect();
    let mut positions = Positions::new();
    reader.each_block(older, |keys, block| {
        let is_repeated =
            |row: &usize| newer.iter().any(|index| index.has(keys.row(*row).as_ref(), Lsn(u64::MAX)));
        let rows = (0..keys.num_rows()).filter(is_repeated).collect::<Vec<usize>>();
        if !rows.is_empty() {
            let of_block = block.positions();
            positions.extend(rows.into_iter().map(|row| of_block[row]));
        }
    })?;
    Ok(positions)
}

/// An index of the keys of some segments.
pub(crate) fn index_of(
    reader: &KeyReader<'_>,
    segments: &[Arc<SegmentHandle>],
    budget: &Arc<Budget>,
) -> Result<LayerIndex, ReadError> {
    let index = LayerIndex::new(budget);
    let mut inner = index.lock();
    for handle in segments {
        reader.each_block(handle, |keys, _| inner.add(&index, &[], keys, |_| Lsn(1)))?;
    }
    drop(inner);
    Ok(index)
}
