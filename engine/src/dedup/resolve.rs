//! Which rows a snapshot of a collection with a `dedup_key` sees.
//!
//! 1. The indexes of the layers are brought up to the snapshot, oldest first ([`resolve`]); usually others
//!    did most of it before.
//! 2. A row of a memtable or of a staged segment is there when no later row of a layer has its key, which
//!    its index knows ([`Resolution::in_layer`]).
//! 3. A row of the manifest is there when no layer has its key ([`Resolution::in_segment`]). Only rows
//!    in the time of some layer are looked up.
//!
//! What a transaction wrote itself comes after all layers; its index is its own.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::buffer::BooleanBuffer;
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::{ColumnId, Lsn};
use tidemark_catalog::schema::Column;

use crate::batch::timestamp_values;
use crate::dedup::index::LayerIndex;
use crate::dedup::keys::KeyEncoder;
use crate::error::ReadError;
use crate::memtable::Chunk;
use crate::memtable::dictionaries::SymbolDictionaries;
use crate::segment::handle::SegmentHandle;
use crate::segment::stream::{SegmentStream, StreamBlock};
use crate::snapshot::CollectionSnapshot;

/// Rows that are not in the manifest yet, with the index of their keys.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) index: Arc<LayerIndex>,
    pub(crate) rows: LayerRows,
}

/// The rows of a layer.
#[derive(Clone, Debug)]
pub(crate) enum LayerRows {
    /// Chunks with how many of their first rows are seen.
    Memtable(Vec<(Arc<Chunk>, usize)>),
    /// A staged segment, committed at this position.
    Segment(Arc<SegmentHandle>, Lsn),
}

/// Which rows a snapshot sees.
#[derive(Debug)]
pub(crate) struct Resolution {
    lsn: Lsn,
    time_key: ColumnId,
    encoder: KeyEncoder,
    layers: Vec<Resolved>,
    /// What the reader's own transaction wrote.
    own: Option<Resolved>,
}

/// A layer whose index is brought up to a position of the log.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) index: Arc<LayerIndex>,
    time_min: i64,
    time_max: i64,
    lsn: Lsn,
}

impl Resolved {
    pub(crate) fn overlaps(&self, time_min: i64, time_max: i64) -> bool {
        self.time_min <= time_max && time_min <= self.time_max
    }
}

/// Brings the indexes of a snapshot's layers up to it.
pub(crate) fn resolve(snapshot: &CollectionSnapshot) -> Result<Resolution, ReadError> {
    let collection = snapshot.collection();
    let encoder = KeyEncoder::new(collection)?;
    let reader = KeyReader { collection, symbols: snapshot.symbols(), encoder: &encoder };
    let layers = resolve_layers(&reader, snapshot.layers(), snapshot.lsn())?;
    let own = match snapshot.own() {
        None => None,
        Some(own) => resolve_layers(&reader, std::slice::from_ref(own), snapshot.lsn().next())?.pop(),
    };
    let time_key = collection.timeseries().time_key;
    Ok(Resolution { time_key, encoder, layers, own, lsn: snapshot.lsn() })
}

/// Brings the indexes of layers up to what is seen of them, oldest first.
pub(crate) fn resolve_layers(
    reader: &KeyReader<'_>,
    layers: &[Layer],
    lsn: Lsn,
) -> Result<Vec<Resolved>, ReadError> {
    let mut resolved: Vec<Resolved> = Vec::new();
    for layer in layers {
        let older: Vec<&LayerIndex> = resolved.iter().map(|older| older.index.as_ref()).collect();
        if let Some((time_min, time_max)) = advance(reader, layer, &older)? {
            resolved.push(Resolved { index: Arc::clone(&layer.index), time_min, time_max, lsn });
        }
    }
    Ok(resolved)
}

/// Adds the rows of a layer that its index does not have; gives the layer's first and last instant, if
/// it has rows.
fn advance(
    reader: &KeyReader<'_>,
    layer: &Layer,
    older: &[&LayerIndex],
) -> Result<Option<(i64, i64)>, ReadError> {
    // Oldest first, the layer itself last.
    let older: Vec<_> = older.iter().map(|index| (*index, index.lock())).collect();
    let mut inner = layer.index.lock();
    match &layer.rows {
        LayerRows::Memtable(chunks) => {
            let mut first_row = 0;
            for (chunk, row_count) in chunks {
                let done = inner.rows_done().saturating_sub(first_row).min(*row_count);
                if done < *row_count {
                    let len = row_count - done;
                    let keys = reader.encoder.encode(len, |id| Some(chunk.column(id)?.slice(done, len)))?;
                    inner.add(&layer.index, &older, &keys, |at| chunk.lsn_of(done + at));
                }
                first_row += chunk.row_count();
            }
            let seen = chunks.iter().filter(|(_, row_count)| *row_count > 0);
            let bounds = seen.map(|(chunk, _)| chunk.time_bounds());
            Ok(bounds.reduce(|left, right| (left.0.min(right.0), left.1.max(right.1))))
        }
        LayerRows::Segment(handle, lsn) => {
            let segment = handle.segment();
            if inner.rows_done() == 0 {
                reader.each_block(handle, |keys, _| inner.add(&layer.index, &older, keys, |_| *lsn))?;
            }
            Ok(Some((segment.time_min, segment.time_max)))
        }
    }
}

/// Where the columns of a collection's key are found, and what makes keys of them.
#[derive(Debug)]
pub(crate) struct KeyReader<'a> {
    pub(crate) collection: &'a Collection,
    pub(crate) symbols: &'a SymbolDictionaries,
    pub(crate) encoder: &'a KeyEncoder,
}

impl KeyReader<'_> {
    /// Calls the function with the keys of a segment's rows that are not deleted, and their positions.
    pub(crate) fn each_block(
        &self,
        handle: &SegmentHandle,
        mut act: impl FnMut(&arrow::row::Rows, &StreamBlock),
    ) -> Result<(), ReadError> {
        let columns = self.encoder.columns().filter_map(|id| self.collection.schema.column(id));
        let columns: Vec<&Column> = columns.collect();
        let mut stream = SegmentStream::open(handle, &columns, self.symbols)?;
        while let Some(block) = stream.next()? {
            let array = |id: ColumnId| {
                let at = columns.iter().position(|column| column.id == id)?;
                block.arrays[at].clone()
            };
            act(&self.encoder.encode(block.row_count(), array)?, &block);
        }
        Ok(())
    }
}

impl Resolution {
    /// The columns that [`Resolution::in_segment`] wants to see.
    pub(crate) fn columns(&self) -> impl Iterator<Item = ColumnId> {
        self.encoder.columns()
    }

    /// Whether rows of the manifest between these instants have to be looked up.
    pub(crate) fn concerns(&self, time_min: i64, time_max: i64) -> bool {
        self.layers.iter().chain(&self.own).any(|layer| layer.overlaps(time_min, time_max))
    }

    /// Which rows of a block of a segment no layer has a later row for; `None` when that is all of them.
    pub(crate) fn in_segment(
        &self,
        row_count: usize,
        array: impl Fn(ColumnId) -> Option<ArrayRef>,
    ) -> Result<Option<BooleanArray>, ReadError> {
        self.without_later(self.layers.iter().chain(&self.own), row_count, array)
    }

    /// Which of some rows of a layer have no later one.
    pub(crate) fn in_layer(
        &self,
        index: &LayerIndex,
        start: usize,
        row_count: usize,
        array: impl Fn(ColumnId) -> Option<ArrayRef>,
    ) -> Result<BooleanArray, ReadError> {
        // Of what the transaction itself wrote, its own index knows.
        let is_own = |own: &&Resolved| std::ptr::eq(own.index.as_ref(), index);
        let lsn = self.own.as_ref().filter(is_own).map_or(self.lsn, |own| own.lsn);
        let last = BooleanArray::new(index.last_rows(start, row_count, lsn), None);
        let own = self.own.iter().filter(|own| !is_own(own));
        Ok(match self.without_later(own, row_count, array)? {
            None => last,
            Some(not_own) => arrow::compute::and(&last, &not_own)?,
        })
    }

    fn without_later<'a>(
        &self,
        layers: impl Iterator<Item = &'a Resolved>,
        row_count: usize,
        array: impl Fn(ColumnId) -> Option<ArrayRef>,
    ) -> Result<Option<BooleanArray>, ReadError> {
        let time = array(self.time_key).expect("a time in every row");
        let times = timestamp_values(&time);
        let (time_min, time_max) = (times.iter().min(), times.iter().max());
        let (Some(time_min), Some(time_max)) = (time_min, time_max) else { return Ok(None) };
        let layers: Vec<&Resolved> = layers.filter(|layer| layer.overlaps(*time_min, *time_max)).collect();
        if layers.is_empty() {
            return Ok(None);
        }
        let keys = self.encoder.encode(row_count, array)?;
        let indexes: Vec<_> = layers.iter().map(|layer| layer.index.lock()).collect();
        let is_last = |row: usize| {
            let inside = |layer: &Resolved| layer.overlaps(times[row], times[row]);
            let later = layers
                .iter()
                .zip(&indexes)
                .any(|(layer, index)| inside(layer) && index.has(keys.row(row).as_ref(), layer.lsn));
            !later
        };
        Ok(Some(BooleanArray::new(BooleanBuffer::collect_bool(row_count, is_last), None)))
    }
}
