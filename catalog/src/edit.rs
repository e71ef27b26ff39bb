//! Edits: how the catalog changes.
//!
//! An edit is a list of changes that take effect together, in the file and for readers, or not at
//! all. The test that shows it is `tests/catalog_crash.rs` of this crate.

use std::sync::Arc;

use crate::collection::Collection;
use crate::ids::{CollectionId, Lsn, SegmentId};
use crate::partition::Partition;
use crate::role::Role;
use crate::schema::Schema;
use crate::segment::Segment;
use crate::view::Namespace;

/// One atomic change of the catalog.
#[derive(Clone, Debug, Default)]
pub struct CatalogEdit {
    pub(crate) changes: Vec<Change>,
}

/// A part of an edit.
#[derive(Clone, Debug)]
pub enum Change {
    /// A new namespace.
    CreateNamespace(Namespace),
    /// A new role, or a new state of one.
    PutRole(Role),
    /// A named value of the data directory.
    PutSetting {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// A new collection, without partitions and segments.
    CreateCollection(Arc<Collection>),
    /// The collection and all it has are gone.
    DropCollection(CollectionId),
    /// Other columns, under the next schema version.
    ReplaceSchema {
        /// Of which collection.
        collection: CollectionId,
        /// All of its columns.
        schema: Arc<Schema>,
    },
    /// Every commit up to `lsn` is in segments from now on.
    AdvanceFlushedLsn {
        /// Of which collection.
        collection: CollectionId,
        /// The last commit that the log is not needed for.
        lsn: Lsn,
    },
    /// A new partition.
    AddPartition(Partition),
    /// A durable file joins the manifest.
    AddSegment(Arc<Segment>),
    /// A segment leaves the manifest; its file goes when no snapshot pins it.
    RetireSegment {
        /// Of which collection.
        collection: CollectionId,
        /// Which.
        segment: SegmentId,
    },
}

impl CatalogEdit {
    /// An edit that changes nothing yet.
    pub fn new() -> CatalogEdit {
        CatalogEdit::default()
    }

    /// Adds a change; changes take effect in the order they were added.
    #[must_use]
    pub fn with(mut self, change: Change) -> CatalogEdit {
        self.changes.push(change);
        self
    }

    /// Adds a change in place.
    pub fn push(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}
