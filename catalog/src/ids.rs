//! Identifiers and log positions.
//!
//! Every id is a newtype over an integer handed out by the durable counters in [`crate::store`];
//! an id is never used twice, also not after a crash, so a file named by an id is never replaced.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A collection. It is also the object's OID on the wire, so the counter starts at
    /// [`FIRST_OBJECT_ID`] like PostgreSQL's for user objects.
    CollectionId(u32)
);
id!(
    /// A column within one collection. Never used again after the column is dropped; also its
    /// `attnum`, so ids start at 1.
    ColumnId(u32)
);
id!(
    /// A schema in SQL's sense: a namespace of collections. An OID on the wire.
    NamespaceId(u32)
);
id!(
    /// A role. An OID on the wire.
    RoleId(u32)
);
id!(
    /// A partition, unique over all collections.
    PartitionId(u64)
);
id!(
    /// A segment, unique over all collections: the name of its file.
    SegmentId(u64)
);
id!(
    /// The version of a collection's schema; grows with each change.
    SchemaVersion(u32)
);
id!(
    /// A position in the write-ahead log, and so the order of all commits. The first record has 1.
    Lsn(u64)
);

impl Lsn {
    /// Before the first record: nothing is covered.
    pub const ZERO: Lsn = Lsn(0);

    /// The position that follows this one.
    #[must_use]
    pub fn next(self) -> Lsn {
        Lsn(self.0.checked_add(1).expect("2^64 log records are never written"))
    }
}

/// The first id given to an object made by a user; PostgreSQL's `FirstNormalObjectId`.
pub const FIRST_OBJECT_ID: u32 = 16384;

/// The role that a new data directory starts with; PostgreSQL's OID for its bootstrap superuser.
pub const BOOTSTRAP_ROLE: RoleId = RoleId(10);

/// The namespace `public`, with PostgreSQL's OID.
pub const NAMESPACE_PUBLIC: NamespaceId = NamespaceId(2200);

/// The namespace `tidemark`, which holds the system's own views.
pub const NAMESPACE_TIDEMARK: NamespaceId = NamespaceId(13300);
