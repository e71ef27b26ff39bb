//! Edits: how the catalog changes.
//!
//! An edit is a list of changes that take effect together, in the file and for readers, or not at
//! all. The test that shows it is `tests/catalog_crash.rs` of this crate.

use std::sync::Arc;

use crate::collection::{Collection, TimeseriesOptions};
use crate::comment::ObjectRef;
use crate::ids::{CollectionId, Lsn, NamespaceId, PartitionId, RoleId, SegmentId};
use crate::partition::Partition;
use crate::producer::Producer;
use crate::role::Role;
use crate::schema::Schema;
use crate::segment::{DeletedRows, Segment};
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
    /// A namespace without anything in it is gone.
    DropNamespace(NamespaceId),
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
    /// Another name, perhaps in another namespace.
    RenameCollection {
        /// Of which collection.
        collection: CollectionId,
        /// Where its name is looked up from now on.
        namespace: NamespaceId,
        /// Its name from now on.
        name: String,
    },
    /// Another owner.
    SetOwner {
        /// Of which collection.
        collection: CollectionId,
        /// Who owns it from now on.
        owner: RoleId,
    },
    /// What is said of an object; a comment goes with its object.
    SetComment {
        /// Of which.
        object: ObjectRef,
        /// What; `None` takes a comment away.
        text: Option<Arc<str>>,
    },
    /// Other options; keys and the length of partitions stay.
    SetTimeseriesOptions {
        /// Of which collection.
        collection: CollectionId,
        /// All of its options.
        options: TimeseriesOptions,
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
    /// A partition is gone with all of its segments.
    DropPartition {
        /// Of which collection.
        collection: CollectionId,
        /// Which.
        partition: PartitionId,
    },
    /// A durable file joins the manifest.
    AddSegment(Arc<Segment>),
    /// A segment leaves the manifest; its file goes when no snapshot pins it.
    RetireSegment {
        /// Of which collection.
        collection: CollectionId,
        /// Which.
        segment: SegmentId,
    },
    /// More rows of a segment are not there any more.
    SetDeletedRows {
        /// Of which collection.
        collection: CollectionId,
        /// Of which segment.
        segment: SegmentId,
        /// All of them.
        deleted: DeletedRows,
    },
    /// The last batch of a producer.
    PutProducer {
        /// Its name.
        name: String,
        /// The batch.
        producer: Producer,
    },
    /// A producer that wrote nothing for long is forgotten.
    RemoveProducer(String),
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
