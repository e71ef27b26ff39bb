//! Of rows with equal keys the last one is there: collections with a `dedup_key`.
//!
//! ```text
//!  segments of the manifest   │  layers: what came later, oldest first
//!  no two live rows of equal  │  frozen 1   frozen 2 (staged segments, memtable)   active
//!  key among them             │  a row may repeat a key of any layer before, and of any segment
//! ```
//!
//! - In the manifest keys are unique: publishing a layer deletes, in the same edit, the rows of older
//!   segments whose keys it repeats ([`shadow`]), as DELETE deletes rows. So segments are read as those
//!   of any collection are, and merges need not look at keys.
//! - Each layer has an index of its keys ([`index`]), which readers bring up to their snapshot: it
//!   tells which rows of the layer, and of layers before, have a later one, and since which commit.
//! - A reader asks, for the rows of a segment in the time of some layer, whether a layer has their keys.
//! - `INSERT … ON CONFLICT` asks the indexes for the rows of its keys ([`crate::read::by_key`]), and is
//!   refused when others wrote them before it is committed ([`batch_keys`]).
//!
//! Writers pay nothing but sorting out repeated keys when a layer is flushed. NULLs are equal here.

pub(crate) mod batch_keys;
pub(crate) mod index;
pub(crate) mod keys;
pub(crate) mod resolve;
pub(crate) mod shadow;
