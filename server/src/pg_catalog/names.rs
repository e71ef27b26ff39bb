//! Names of things of the catalog, and the things that names mean: `regclass`, `regtype` and their like.

use std::sync::Arc;

use tidemark_catalog::collection::Collection;

use crate::config::SYSTEM_SCHEMA;
use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::relations::{self, Relation};
use crate::pg_catalog::{CatalogContext, types};
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::pgtype::types::format_type;
use crate::session::parameters::split_list;
use crate::sqlstate;

/// `pg_catalog`
pub(crate) const NAMESPACE_CATALOG: u32 = 11;

/// `information_schema`
pub(crate) const NAMESPACE_INFORMATION: u32 = 13207;

/// An identifier with quotes where it needs them.
pub(crate) fn quote_ident(name: &str) -> String {
    let mut characters = name.chars();
    let starts = characters.next().is_some_and(|it| it.is_ascii_lowercase() || it == '_');
    let plain = starts && characters.all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_');
    if plain && !relations::is_reserved(name) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as a string constant.
pub(crate) fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        return format!("E'{}'", quoted.replace('\\', "\\\\"));
    }
    format!("'{quoted}'")
}

/// What a name of a relation means.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    Ours(&'static Relation),
    Collection(Arc<Collection>),
}

impl Found {
    pub(crate) fn oid(&self) -> u32 {
        match self {
            Found::Ours(relation) => relation.oid,
            Found::Collection(collection) => collection.id.0,
        }
    }
}

/// The namespaces in which names are looked up, `pg_catalog` before the others unless it is named.
pub(crate) fn path(context: &CatalogContext) -> Vec<String> {
    let mut path = context.settings.search_path().to_vec();
    if !path.iter().any(|name| name == "pg_catalog") {
        path.insert(0, "pg_catalog".to_owned());
    }
    path
}

/// The relation with this name. Our own views are found by their schema only: the first superuser's `"$user"`
/// is the same word, and must not hide the tables of users.
pub(crate) fn relation(context: &CatalogContext, namespace: Option<&str>, name: &str) -> Option<Found> {
    match namespace {
        Some(namespace) => in_namespace(context, namespace, name),
        None => {
            let mut namespaces = path(context).into_iter().filter(|namespace| namespace != SYSTEM_SCHEMA);
            namespaces.find_map(|namespace| in_namespace(context, &namespace, name))
        }
    }
}

fn in_namespace(context: &CatalogContext, namespace: &str, name: &str) -> Option<Found> {
    if let Some(relation) = relations::by_name(namespace, name) {
        return Some(Found::Ours(relation));
    }
    let id = context.view.namespace_by_name(namespace)?.id;
    let found = context.view.collection_by_name(id, name)?;
    Some(Found::Collection(Arc::clone(&found.collection)))
}

/// Whether a relation is found by its name alone.
pub(crate) fn is_visible(context: &CatalogContext, oid: u32) -> Option<bool> {
    let name = match relations::by_oid(oid) {
        Some(relation) => relation.name.clone(),
        None => collection(context, oid)?.name.clone(),
    };
    Some(relation(context, None, &name).is_some_and(|found| found.oid() == oid))
}

/// The collection with this oid.
pub(crate) fn collection(context: &CatalogContext, oid: u32) -> Option<Arc<Collection>> {
    let id = tidemark_catalog::ids::CollectionId(oid);
    context.view.collection(id).map(|found| Arc::clone(&found.collection))
}

/// The name of a namespace.
pub(crate) fn namespace_name(context: &CatalogContext, oid: u32) -> Option<String> {
    match oid {
        NAMESPACE_CATALOG => Some("pg_catalog".to_owned()),
        NAMESPACE_INFORMATION => Some("information_schema".to_owned()),
        _ => context.view.namespaces().find(|it| it.id.0 == oid).map(|it| it.name.clone()),
    }
}

/// The oid of a namespace.
pub(crate) fn namespace_oid(context: &CatalogContext, name: &str) -> Option<u32> {
    match name {
        "pg_catalog" => Some(NAMESPACE_CATALOG),
        "information_schema" => Some(NAMESPACE_INFORMATION),
        _ => context.view.namespace_by_name(name).map(|it| it.id.0),
    }
}

/// The name of a role.
pub(crate) fn role_name(context: &CatalogContext, oid: u32) -> Option<String> {
    context.view.roles().find(|role| role.id.0 == oid).map(|role| role.name.clone())
}

/// A name as `regclass` writes it: with its namespace, unless it is found without.
pub(crate) fn relation_text(context: &CatalogContext, oid: u32) -> Option<String> {
    let (namespace, name) = match relations::by_oid(oid) {
        Some(relation) => (relation.namespace.clone(), relation.name.clone()),
        None => {
            let found = collection(context, oid)?;
            (namespace_name(context, found.namespace.0)?, found.name.clone())
        }
    };
    if is_visible(context, oid) == Some(true) {
        return Some(quote_ident(&name));
    }
    Some(format!("{}.{}", quote_ident(&namespace), quote_ident(&name)))
}

/// An oid as a value of a `reg` type.
pub(crate) fn reg(oid: u32, to: &PgType, context: &CatalogContext) -> Datum {
    if oid == 0 {
        return Datum::Reg(0, Arc::from("-"));
    }
    let name = match *to {
        PgType::REGCLASS => relation_text(context, oid),
        PgType::REGTYPE => PgType::from_oid(oid).map(|it| format_type(&it)),
        PgType::REGPROC => relations::procedure_name(oid).map(str::to_owned),
        PgType::REGPROCEDURE => relations::procedure_signature(oid),
        PgType::REGNAMESPACE => namespace_name(context, oid).map(|name| quote_ident(&name)),
        PgType::REGROLE => role_name(context, oid).map(|name| quote_ident(&name)),
        PgType::REGCOLLATION => relations::collation_name(oid).map(|name| quote_ident(&name)),
        _ => None,
    };
    Datum::Reg(oid, Arc::from(name.unwrap_or_else(|| oid.to_string())))
}

/// A text as a value of a `reg` type: a number, `-`, or a name.
pub(crate) fn parse_reg(text: &str, to: &PgType, context: &CatalogContext) -> SqlResult<Datum> {
    let text = text.trim();
    if text == "-" {
        return Ok(reg(0, to, context));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(reg(crate::pgtype::integer::parse_oid(text)?, to, context));
    }
    let missing =
        |state, what: &str, name: &str| SqlError::new(state, format!("{what} \"{name}\" does not exist"));
    let oid = match *to {
        PgType::REGCLASS => {
            let (namespace, name) = split_qualified(text)?;
            let found = relation(context, namespace.as_deref(), &name);
            if let (None, Some(namespace)) = (&found, &namespace)
                && namespace_oid(context, namespace).is_none()
            {
                return Err(missing(sqlstate::INVALID_SCHEMA_NAME, "schema", namespace));
            }
            let shown = namespace.as_ref().map_or(name.clone(), |namespace| format!("{namespace}.{name}"));
            found.ok_or_else(|| missing(sqlstate::UNDEFINED_TABLE, "relation", &shown))?.oid()
        }
        PgType::REGTYPE => types::parse(text)?.0.oid(),
        PgType::REGPROC => {
            let (_, name) = split_qualified(text)?;
            match relations::procedures_named(&name).as_slice() {
                [] => return Err(missing(sqlstate::UNDEFINED_FUNCTION, "function", text)),
                [oid] => *oid,
                _ => {
                    let message = format!("more than one function named \"{text}\"");
                    return Err(SqlError::new(sqlstate::AMBIGUOUS_FUNCTION, message));
                }
            }
        }
        PgType::REGPROCEDURE => relations::procedure_by_signature(text)
            .ok_or_else(|| missing(sqlstate::UNDEFINED_FUNCTION, "function", text))?,
        PgType::REGNAMESPACE => {
            let (_, name) = split_qualified(text)?;
            namespace_oid(context, &name)
                .ok_or_else(|| missing(sqlstate::INVALID_SCHEMA_NAME, "schema", &name))?
        }
        PgType::REGROLE => {
            let (_, name) = split_qualified(text)?;
            let role = context.view.role_by_name(&name);
            role.ok_or_else(|| missing(sqlstate::UNDEFINED_OBJECT, "role", &name))?.id.0
        }
        PgType::REGCOLLATION => {
            let (_, name) = split_qualified(text)?;
            relations::collation_by_name(&name)
                .ok_or_else(|| missing(sqlstate::UNDEFINED_OBJECT, "collation", &name))?
        }
        _ => return Err(SqlError::unsupported(format!("looking up \"{text}\" as {}", to.name()))),
    };
    Ok(reg(oid, to, context))
}

/// `a.b` and `"A".b`: the namespace, if there is one, and the name.
pub(crate) fn split_qualified(text: &str) -> SqlResult<(Option<String>, String)> {
    let mut parts = Vec::new();
    let (mut part, mut quoted) = (String::new(), false);
    for character in text.chars() {
        match character {
            '"' => {
                quoted = !quoted;
                part.push('"');
            }
            '.' if !quoted => parts.push(std::mem::take(&mut part)),
            other => part.push(other),
        }
    }
    parts.push(part);
    let mut names = parts.iter().map(|part| split_list(part).pop()).collect::<Option<Vec<_>>>();
    if quoted || text.is_empty() {
        names = None;
    }
    let mut names = names
        .filter(|names| names.len() <= 3)
        .ok_or_else(|| SqlError::new(sqlstate::INVALID_NAME, "invalid name syntax"))?;
    let name = names.pop().unwrap_or_default();
    Ok((names.pop(), name))
}
