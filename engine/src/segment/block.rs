//! Blocks: decoded columns, a page's worth of rows at a time, and the cache of them.
//!
//! A block is a fixed run of rows of one column of a row group, in the form that readers compute
//! on; symbols are numbers of the collection's dictionary. What is read again and again, a dashboard's
//! last hours or a row by its key, is decoded once. Blocks of a segment never change, so there is
//! nothing to invalidate: those of a segment that is gone are forgotten with its file, those of a column that
//! became one of text are pushed out by others. The token filters of blocks are kept with them.

use std::collections::BTreeSet;

use arrow::array::{Array, ArrayRef};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tidemark_catalog::ids::{ColumnId, SegmentId};

/// What is kept of a column of a row group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// A block, by its number.
    Block(u32),
    /// The token filters of all blocks, as they are in the file.
    TokenFilters,
}

/// Which block, or other part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BlockKey {
    pub(crate) segment: SegmentId,
    pub(crate) column: ColumnId,
    pub(crate) row_group: u32,
    pub(crate) part: Part,
}

/// Decoded blocks, within a limit of memory. One scan over everything does not push out what others
/// read often: the cache keeps what was asked for twice over what was asked for once.
#[derive(Debug)]
pub(crate) struct BlockCache {
    blocks: Cache<BlockKey, ArrayRef, ByMemory>,
    block_rows: usize,
}

#[derive(Clone, Debug)]
struct ByMemory;

impl Weighter<BlockKey, ArrayRef> for ByMemory {
    fn weight(&self, _: &BlockKey, block: &ArrayRef) -> u64 {
        (block.get_array_memory_size() + size_of::<BlockKey>()) as u64
    }
}

impl BlockCache {
    pub(crate) fn new(bytes_max: usize, block_rows: usize) -> BlockCache {
        /// Most blocks are columns of 8,192 numbers.
        const BLOCK_BYTES_ESTIMATED: usize = 64 << 10;
        let items = (bytes_max / BLOCK_BYTES_ESTIMATED).max(16);
        BlockCache { blocks: Cache::with_weighter(items, bytes_max as u64, ByMemory), block_rows }
    }

    /// Rows of a block; the last one of a row group may have fewer.
    pub(crate) fn block_rows(&self) -> usize {
        self.block_rows
    }

    pub(crate) fn get(&self, key: &BlockKey) -> Option<ArrayRef> {
        self.blocks.get(key)
    }

    pub(crate) fn insert(&self, key: BlockKey, block: ArrayRef) {
        self.blocks.insert(key, block);
    }

    /// Lets go of the blocks of segments that nobody will read again.
    pub(crate) fn forget(&self, segments: &BTreeSet<SegmentId>) {
        self.blocks.retain(|key, _| !segments.contains(&key.segment));
    }

    /// Memory of the blocks in it.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.blocks.weight()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;

    use super::*;

    #[test]
    fn the_cache_stays_within_its_memory() {
        let block: ArrayRef = Arc::new(Int64Array::from(vec![7; 1024]));
        let bytes_max = 64 * block.get_array_memory_size();
        let cache = BlockCache::new(bytes_max, 1024);
        for number in 0..1000 {
            let key = BlockKey {
                segment: SegmentId(1),
                column: ColumnId(1),
                row_group: 0,
                part: Part::Block(number),
            };
            cache.insert(key, Arc::clone(&block));
            assert!(cache.memory_bytes() <= bytes_max as u64, "after {number} blocks");
        }
        assert!(cache.memory_bytes() > bytes_max as u64 / 2, "it is used");
    }
    #[test]
    fn blocks_of_segments_that_are_gone_are_forgotten() {
        let block: ArrayRef = Arc::new(Int64Array::from(vec![7; 1024]));
        let cache = BlockCache::new(64 * block.get_array_memory_size(), 1024);
        let key = |segment: u64, number| BlockKey {
            segment: SegmentId(segment),
            column: ColumnId(1),
            row_group: 0,
            part: Part::Block(number),
        };
        for number in 0..8 {
            cache.insert(key(1, number), Arc::clone(&block));
            cache.insert(key(2, number), Arc::clone(&block));
        }
        let both = cache.memory_bytes();
        cache.forget(&BTreeSet::from([SegmentId(1)]));
        assert_eq!(cache.memory_bytes() * 2, both);
        assert!((0..8).all(|number| cache.get(&key(1, number)).is_none()));
        assert!((0..8).all(|number| cache.get(&key(2, number)).is_some()));
    }
}
