//! CREATE SCHEMA and DROP SCHEMA.

use sqlparser::ast::{ObjectName, Owner, SchemaName};
use tidemark_catalog::edit::{CatalogEdit, Change};
use tidemark_catalog::ids::{NAMESPACE_PUBLIC, NAMESPACE_TIDEMARK, NamespaceId};
use tidemark_catalog::view::Namespace;

use crate::error::{SqlError, SqlResult};
use crate::sql::ddl::alter::owner;
use crate::sql::ddl::{
    DdlContext, DdlDone, check_identifier, ddl_error, done, edit_error, require_owner_of, skipping,
};
use crate::sql::names::{self, relation_name};
use crate::sqlstate;

pub(super) fn create(name: &SchemaName, if_not_exists: bool, context: &DdlContext<'_>) -> SqlResult<DdlDone> {
    let (name, role) = match name {
        SchemaName::Simple(name) => (schema_name(name)?, context.role.id),
        SchemaName::UnnamedAuthorization(role) => {
            (names::fold(role), owner(&Owner::Ident(role.clone()), context)?)
        }
        SchemaName::NamedAuthorization(name, role) => {
            (schema_name(name)?, owner(&Owner::Ident(role.clone()), context)?)
        }
    };
    check_identifier(&name)?;
    if name.starts_with("pg_") {
        let message = format!("unacceptable schema name \"{name}\"");
        return Err(SqlError::new(sqlstate::RESERVED_NAME, message)
            .with_detail("The prefix \"pg_\" is reserved for system schemas."));
    }
    let is_taken = name == "information_schema" || context.resolver.namespace(&name).is_ok();
    if is_taken {
        let message = format!("schema \"{name}\" already exists");
        if !if_not_exists {
            return Err(SqlError::new(sqlstate::DUPLICATE_SCHEMA, message));
        }
        let notice = SqlError::notice(sqlstate::DUPLICATE_SCHEMA, format!("{message}, skipping"));
        return Ok(DdlDone { tag: "CREATE SCHEMA", notices: vec![notice] });
    }
    let id = NamespaceId(context.engine.allocate_object().map_err(edit_error)?);
    let namespace = Namespace { id, name, owner: role };
    let edit = CatalogEdit::new().with(Change::CreateNamespace(namespace));
    context.engine.commit_edit(&edit).map_err(edit_error)?;
    Ok(done("CREATE SCHEMA"))
}

fn schema_name(name: &ObjectName) -> SqlResult<String> {
    relation_name(name).map(|(_, name)| name)
}

pub(super) fn drop(
    schemas: &[ObjectName],
    if_exists: bool,
    cascade: bool,
    context: &DdlContext<'_>,
) -> SqlResult<DdlDone> {
    let view = context.resolver.view();
    let mut notices = Vec::new();
    let mut found = Vec::new();
    for schema in schemas {
        let name = schema_name(schema)?;
        let namespace = view.namespace_by_name(&name);
        if namespace.is_none() && if_exists {
            notices.push(skipping("schema", &name));
            continue;
        }
        let id = context.resolver.namespace(&name)?;
        require_owner_of(namespace.map_or(context.role.id, |it| it.owner), "schema", &name, context)?;
        if [NAMESPACE_PUBLIC, NAMESPACE_TIDEMARK].contains(&id) {
            let message = format!("cannot drop schema {name} because it is required by the database system");
            return Err(SqlError::new(sqlstate::DEPENDENT_OBJECTS_STILL_EXIST, message));
        }
        if !found.contains(&(id, name.clone())) {
            found.push((id, name));
        }
    }
    let is_inside = |namespace: NamespaceId| found.iter().any(|(id, _)| *id == namespace);
    let inside = view.collections().filter(|view| is_inside(view.collection.namespace));
    let inside: Vec<_> = inside.map(|view| (view.collection.id, &view.collection)).collect();
    let name_of = |namespace| found.iter().find(|(id, _)| *id == namespace).map_or("", |(_, name)| name);
    let dependents = inside
        .iter()
        .map(|(_, collection)| format!("table {}.{}", name_of(collection.namespace), collection.name));
    let dependents: Vec<String> = dependents.collect();
    if !dependents.is_empty() && !cascade {
        let first = inside.first().map_or("", |(_, collection)| name_of(collection.namespace));
        let message = format!("cannot drop schema {first} because other objects depend on it");
        let lines: Vec<String> = inside
            .iter()
            .zip(&dependents)
            .map(|((_, it), dependent)| format!("{dependent} depends on schema {}", name_of(it.namespace)))
            .collect();
        return Err(SqlError::new(sqlstate::DEPENDENT_OBJECTS_STILL_EXIST, message)
            .with_detail(lines.join("\n"))
            .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    notices.extend(cascades(&dependents));
    let ids: Vec<_> = inside.iter().map(|(id, _)| *id).collect();
    let namespaces: Vec<_> = found.iter().map(|(id, _)| Change::DropNamespace(*id)).collect();
    context.engine.drop_with(&ids, namespaces).map_err(ddl_error)?;
    Ok(DdlDone { tag: "DROP SCHEMA", notices })
}

/// What is dropped along.
fn cascades(dependents: &[String]) -> Option<SqlError> {
    let notice = |message| SqlError::notice(sqlstate::SUCCESSFUL_COMPLETION, message);
    match dependents {
        [] => None,
        [one] => Some(notice(format!("drop cascades to {one}"))),
        many => {
            let lines: Vec<String> = many.iter().map(|one| format!("drop cascades to {one}")).collect();
            let message = format!("drop cascades to {} other objects", many.len());
            Some(notice(message).with_detail(lines.join("\n")))
        }
    }
}
