//! Comments, each with the object that it is on.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::comment::ObjectRef;
use crate::format::Record;
use crate::ids::{CollectionId, ColumnId, NamespaceId};

/// What is said of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Comment {
    pub(crate) object: ObjectRef,
    pub(crate) text: Arc<str>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct CommentV1 {
    object: ObjectV1,
    text: String,
}

#[derive(Serialize, Deserialize)]
enum ObjectV1 {
    Namespace(u32),
    Collection(u32),
    Column { collection: u32, column: u32 },
}

impl Record for Comment {
    const KIND: u8 = 9;
    const VERSION: u8 = 1;
    const TABLE: &'static str = "comments";
    type Layout = CommentV1;

    fn to_layout(&self) -> CommentV1 {
        let object = match self.object {
            ObjectRef::Namespace(id) => ObjectV1::Namespace(id.0),
            ObjectRef::Collection(id) => ObjectV1::Collection(id.0),
            ObjectRef::Column(id, column) => ObjectV1::Column { collection: id.0, column: column.0 },
        };
        CommentV1 { object, text: self.text.as_ref().to_owned() }
    }

    fn from_layout(layout: CommentV1) -> Option<Comment> {
        let object = match layout.object {
            ObjectV1::Namespace(id) => ObjectRef::Namespace(NamespaceId(id)),
            ObjectV1::Collection(id) => ObjectRef::Collection(CollectionId(id)),
            ObjectV1::Column { collection, column } => {
                ObjectRef::Column(CollectionId(collection), ColumnId(column))
            }
        };
        Some(Comment { object, text: layout.text.into() })
    }
}

/// The key of an object's comment.
pub(crate) fn comment_key(object: ObjectRef) -> String {
    match object {
        ObjectRef::Namespace(id) => format!("namespace/{id}"),
        ObjectRef::Collection(id) => format!("collection/{id}"),
        ObjectRef::Column(id, column) => format!("column/{id}/{column}"),
    }
}
