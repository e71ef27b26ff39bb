//! Comments: what people say of objects.

use crate::ids::{CollectionId, ColumnId, NamespaceId};

/// An object that can have a comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectRef {
    /// A namespace.
    Namespace(NamespaceId),
    /// A collection.
    Collection(CollectionId),
    /// A column of a collection.
    Column(CollectionId, ColumnId),
}
