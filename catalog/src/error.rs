//! What can go wrong in the catalog.

use std::io;

use thiserror::Error;

use crate::comment::ObjectRef;
use crate::ids::{CollectionId, ColumnId, Lsn, NamespaceId, PartitionId, SegmentId};

/// A schema that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SchemaError {
    /// Two columns of one name.
    #[error("column \"{0}\" specified more than once")]
    DuplicateColumn(String),
    /// An empty name, or one over PostgreSQL's 63 bytes.
    #[error("identifier \"{0}\" is empty or longer than 63 bytes")]
    InvalidName(String),
    /// The column is gone, or never was.
    #[error("column {0} does not exist")]
    NoColumn(ColumnId),
    /// More than PostgreSQL's 1600.
    #[error("tables can have at most 1600 columns")]
    TooManyColumns,
}

/// Why the catalog could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The storage below failed, or what is in it is not a database.
    #[error("cannot open the catalog's database")]
    Database(#[source] Box<redb::Error>),
    /// A record cannot be read back.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// What was read breaks a rule that every commit checked.
    #[error("the catalog contradicts itself")]
    Invariant(#[from] InvariantError),
}

/// Why a stored record could not be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The bytes are not what was written.
    #[error("damaged catalog record: {table} {key}")]
    Damaged {
        /// The table it is in.
        table: &'static str,
        /// Its key.
        key: String,
    },
    /// A newer server wrote it.
    #[error("catalog record {table} {key} has version {found}, this server reads up to {supported}")]
    Newer {
        /// The table it is in.
        table: &'static str,
        /// Its key.
        key: String,
        /// The version that was found.
        found: u8,
        /// The newest version known here.
        supported: u8,
    },
}

/// Why an edit was not made. Nothing of it was.
#[derive(Debug, Error)]
pub enum EditError {
    /// The name is taken.
    #[error("relation \"{0}\" already exists")]
    CollectionExists(String),
    /// The role's name is taken.
    #[error("role \"{0}\" already exists")]
    RoleExists(String),
    /// The namespace's name is taken.
    #[error("schema \"{0}\" already exists")]
    NamespaceExists(String),
    /// The namespace is not empty.
    #[error("schema {0} has collections in it")]
    NamespaceInUse(NamespaceId),
    /// The collection is gone, or never was.
    #[error("collection {0} does not exist")]
    NoCollection(CollectionId),
    /// The namespace is gone, or never was.
    #[error("namespace {0} does not exist")]
    NoNamespace(NamespaceId),
    /// The partition is gone, or never was.
    #[error("partition {0} does not exist")]
    NoPartition(PartitionId),
    /// The segment is gone, or never was.
    #[error("segment {0} is not live")]
    NoSegment(SegmentId),
    /// An id came twice: a bug in the caller.
    #[error("the id of {0} is in use")]
    IdInUse(&'static str),
    /// A rule that must always hold would not.
    #[error("the edit breaks an invariant")]
    Invariant(#[from] InvariantError),
    /// The storage failed; the catalog takes no more edits until it is opened again.
    #[error("cannot write the catalog")]
    Storage(#[source] Box<redb::Error>),
    /// An earlier edit failed in storage.
    #[error("the catalog failed earlier and must be opened again")]
    Poisoned,
}

impl EditError {
    /// The I/O error at the root, where there is one.
    pub fn io_error(&self) -> Option<&io::Error> {
        match self {
            EditError::Storage(error) => match error.as_ref() {
                redb::Error::Io(error) => Some(error),
                _ => None,
            },
            _ => None,
        }
    }
}

/// A rule over catalog states that does not hold. See [`crate::invariants`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvariantError {
    /// Two collections of one name in a namespace.
    #[error("two collections are named \"{0}\"")]
    DuplicateName(String),
    /// Two columns with one id, or an id not below the counter.
    #[error("collection {0} has contradicting columns")]
    ContradictingColumns(CollectionId),
    /// The time key is not a timestamp column, or a series key is missing.
    #[error("collection {collection} names key column {column}, which it does not have")]
    MissingKeyColumn {
        /// The collection.
        collection: CollectionId,
        /// The column.
        column: ColumnId,
    },
    /// Two partitions of a collection cover the same instant.
    #[error("partitions {0} and {1} overlap")]
    OverlappingPartitions(PartitionId, PartitionId),
    /// A segment's rows do not lie in its partition.
    #[error("segment {0} reaches outside its partition")]
    SegmentOutsidePartition(SegmentId),
    /// A segment without rows, or with its bounds in the wrong order.
    #[error("segment {0} has impossible statistics")]
    ImpossibleStatistics(SegmentId),
    /// A segment holds commits that the log would replay again.
    #[error("segment {segment} holds {lsn_max} but its collection is flushed to {flushed_lsn}")]
    SegmentAboveFlushed {
        /// The segment.
        segment: SegmentId,
        /// Its last commit.
        lsn_max: Lsn,
        /// What its collection says is flushed.
        flushed_lsn: Lsn,
    },
    /// A flush position went back, which would replay rows twice.
    #[error("collection {0} would move its flushed position back")]
    FlushedLsnMovedBack(CollectionId),
    /// A schema changed without a new version, or columns took new types.
    #[error("collection {0} would change its schema unseen")]
    SchemaChangedUnseen(CollectionId),
    /// A segment changed after it was published, in more than which of its rows are deleted; or a
    /// deleted row came back.
    #[error("segment {0} would change after it was published")]
    SegmentChanged(SegmentId),
    /// Keys of a collection changed, which its files are sorted and divided by.
    #[error("collection {0} would change its keys")]
    KeysChanged(CollectionId),
    /// A key against duplicates without the time key, or without a column of the series key.
    #[error("the key against duplicates of collection {0} lacks a column")]
    IncompleteDedupKey(CollectionId),
    /// A collection in a namespace that is not there.
    #[error("collection {0} is in no namespace")]
    NoNamespace(CollectionId),
    /// A comment on what is not there.
    #[error("there is a comment on {0:?}, which does not exist")]
    CommentOnNothing(ObjectRef),
    /// A producer's number went back, which would apply a batch twice.
    #[error("producer \"{0}\" would go back")]
    ProducerWentBack(String),
}
