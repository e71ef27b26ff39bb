//! Looking up names: which collection a name in a statement means.

use std::sync::{Arc, Mutex, PoisonError};

use sqlparser::ast::{Ident, ObjectName, ObjectNamePart};
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::{CollectionId, NamespaceId};
use tidemark_catalog::view::View;

use crate::config::BOOTSTRAP_NAME;
use crate::error::{SqlError, SqlResult};
use crate::sqlstate;

/// An identifier as SQL means it: folded to lower case unless it was quoted.
pub fn fold(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// The parts of a name, folded.
///
/// # Errors
/// A part is something else than an identifier.
pub fn parts(name: &ObjectName) -> SqlResult<Vec<String>> {
    name.0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(ident) => Ok(fold(ident)),
            ObjectNamePart::Function(_) => Err(SqlError::unsupported("a function as a part of a name")),
        })
        .collect()
}

/// A name of a relation: its namespace, where one was given, and its own name.
///
/// # Errors
/// It has too many parts, or names another database.
pub fn relation_name(name: &ObjectName) -> SqlResult<(Option<String>, String)> {
    let mut parts = parts(name)?;
    let relation = parts.pop().ok_or_else(|| SqlError::new(sqlstate::SYNTAX_ERROR, "a name is missing"))?;
    let namespace = parts.pop();
    match parts.pop() {
        Some(database) if database != BOOTSTRAP_NAME => {
            let message = format!("cross-database references are not implemented: \"{name}\"");
            Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message))
        }
        _ if !parts.is_empty() => {
            let message = format!("improper relation name (too many dotted names): {name}");
            Err(SqlError::new(sqlstate::SYNTAX_ERROR, message))
        }
        _ => Ok((namespace, relation)),
    }
}

/// Finds collections in one view of the catalog.
#[derive(Debug)]
pub struct Resolver {
    view: Arc<View>,
    search_path: Vec<String>,
    /// The collections that were found, so that a statement's snapshot covers them.
    found: Mutex<Vec<CollectionId>>,
}

impl Resolver {
    /// Looks in this view, along this path.
    pub fn new(view: Arc<View>, search_path: Vec<String>) -> Resolver {
        Resolver { view, search_path, found: Mutex::default() }
    }

    /// The view that is looked into.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// The namespaces of the path that exist.
    pub fn search_path(&self) -> &[String] {
        &self.search_path
    }

    /// The namespace with this name.
    ///
    /// # Errors
    /// There is none.
    pub fn namespace(&self, name: &str) -> SqlResult<NamespaceId> {
        let found = self.view.namespace_by_name(name).map(|namespace| namespace.id);
        found.ok_or_else(|| {
            SqlError::new(sqlstate::INVALID_SCHEMA_NAME, format!("schema \"{name}\" does not exist"))
        })
    }

    /// Where a new relation without a namespace goes: the first namespace of the path that exists.
    ///
    /// # Errors
    /// The path leads nowhere.
    pub fn creation_namespace(&self) -> SqlResult<NamespaceId> {
        let mut path = self.search_path.iter();
        let found = path.find_map(|name| self.view.namespace_by_name(name)).map(|namespace| namespace.id);
        found.ok_or_else(|| {
            SqlError::new(sqlstate::INVALID_SCHEMA_NAME, "no schema has been selected to create in")
        })
    }

    /// The collection with this name; noted as one that the statement reads.
    ///
    /// # Errors
    /// There is none.
    pub fn collection(&self, namespace: Option<&str>, name: &str) -> SqlResult<Arc<Collection>> {
        let found = self.find(namespace, name)?.ok_or_else(|| no_relation(namespace, name))?;
        self.found.lock().unwrap_or_else(PoisonError::into_inner).push(found.id);
        Ok(found)
    }

    /// The collection with this name, if there is one.
    ///
    /// # Errors
    /// There is no such namespace.
    pub fn find(&self, namespace: Option<&str>, name: &str) -> SqlResult<Option<Arc<Collection>>> {
        let in_namespace =
            |id: NamespaceId| self.view.collection_by_name(id, name).map(|view| Arc::clone(&view.collection));
        match namespace {
            Some(namespace) => Ok(self.view.namespace_by_name(namespace).and_then(|it| in_namespace(it.id))),
            None => Ok(self
                .search_path
                .iter()
                .filter_map(|name| self.view.namespace_by_name(name))
                .find_map(|namespace| in_namespace(namespace.id))),
        }
    }

    /// Notes collections that the statement reads.
    pub fn note(&self, collections: &[CollectionId]) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(collections);
    }

    /// The collections that were found so far, each once.
    pub fn found(&self) -> Vec<CollectionId> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner).clone();
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// The error for a relation that is not there.
pub fn no_relation(namespace: Option<&str>, name: &str) -> SqlError {
    let name = match namespace {
        Some(namespace) => format!("{namespace}.{name}"),
        None => name.to_owned(),
    };
    SqlError::new(sqlstate::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))
}
