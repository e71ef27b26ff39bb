//! COMMENT ON.

use std::sync::Arc;

use sqlparser::ast::{CommentObject, ObjectName};
use tidemark_catalog::comment::ObjectRef;
use tidemark_catalog::edit::{CatalogEdit, Change};

use crate::error::{SqlError, SqlResult};
use crate::sql::ddl::{DdlContext, DdlDone, done, edit_error, require_owner, require_owner_of};
use crate::sql::names::{self, no_relation, relation_name};
use crate::sqlstate;

pub(super) fn run(
    kind: &CommentObject,
    name: &ObjectName,
    comment: Option<&str>,
    context: &DdlContext<'_>,
) -> SqlResult<DdlDone> {
    let object = match kind {
        CommentObject::Table => {
            let (namespace, table) = relation_name(name)?;
            ObjectRef::Collection(collection(namespace.as_deref(), &table, context)?.id)
        }
        CommentObject::Column => column(name, context)?,
        CommentObject::Schema => {
            let (_, name) = relation_name(name)?;
            let id = context.resolver.namespace(&name)?;
            let owner = context.resolver.view().namespace_by_name(&name).map(|it| it.owner);
            require_owner_of(owner.unwrap_or(context.role.id), "schema", &name, context)?;
            ObjectRef::Namespace(id)
        }
        other => return Err(SqlError::unsupported(format!("COMMENT ON {other}"))),
    };
    // An empty comment is none, as in PostgreSQL.
    let text = comment.filter(|text| !text.is_empty()).map(Arc::from);
    let edit = CatalogEdit::new().with(Change::SetComment { object, text });
    context.engine.commit_edit(&edit).map_err(edit_error)?;
    Ok(done("COMMENT"))
}

fn collection(
    namespace: Option<&str>,
    name: &str,
    context: &DdlContext<'_>,
) -> SqlResult<Arc<tidemark_catalog::collection::Collection>> {
    let found = context.resolver.find(namespace, name)?;
    let found = found.ok_or_else(|| no_relation(namespace, name))?;
    require_owner(&found, context)?;
    Ok(found)
}

fn column(name: &ObjectName, context: &DdlContext<'_>) -> SqlResult<ObjectRef> {
    let mut parts = names::parts(name)?;
    let column = parts.pop().unwrap_or_default();
    let Some(table) = parts.pop() else {
        return Err(SqlError::new(sqlstate::SYNTAX_ERROR, "column name must be qualified"));
    };
    let found = collection(parts.pop().as_deref(), &table, context)?;
    let id = found.schema.column_by_name(&column).map(|column| column.id);
    let id = id.ok_or_else(|| {
        let message = format!("column \"{column}\" of relation \"{}\" does not exist", found.name);
        SqlError::new(sqlstate::UNDEFINED_COLUMN, message)
    })?;
    Ok(ObjectRef::Column(found.id, id))
}
