//! CREATE, ALTER, DROP and COMMENT.
//!
//! | module | what |
//! | --- | --- |
//! | [`create`] | tables that are made |
//! | [`alter`] | tables that are changed |
//! | [`options`] | what tables are declared with |
//! | [`schema`] | schemas |
//! | [`comment`] | comments |
//! | [`role`] | roles |
//!
//! Each statement is one edit of the catalog: all of it is done, or nothing.

use sqlparser::ast::{ObjectName, ObjectType, Statement};
use tidemark_catalog::collection::Collection;
use tidemark_catalog::error::{EditError, SchemaError};
use tidemark_catalog::ids::RoleId;
use tidemark_catalog::role::Role;
use tidemark_engine::engine::Engine;
use tidemark_engine::error::{DdlError, MissingValueError};

use crate::error::{SqlError, SqlResult};
use crate::ingest::series::SeriesCache;
use crate::pg_catalog::CatalogContext;
use crate::sql::names::{self, Resolver, relation_name};
use crate::sql::rows::errors::{job_error, write_error};
use crate::sqlstate;

mod alter;
mod comment;
mod create;
pub mod options;
mod role;
mod schema;

/// Who runs a statement, and on what.
#[derive(Debug)]
pub struct DdlContext<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// The series of line protocol, which know columns by their names.
    pub series: &'a SeriesCache,
    /// Where names are looked up.
    pub resolver: &'a Resolver,
    /// Who asks.
    pub role: &'a Role,
    /// Random bytes for the salt of a password.
    pub salt: [u8; 16],
    /// What expressions know.
    pub expressions: &'a CatalogContext,
}

/// What is done: the tag, and what the client is told besides.
#[derive(Debug)]
pub struct DdlDone {
    /// The command tag.
    pub tag: &'static str,
    /// Notices.
    pub notices: Vec<SqlError>,
}

fn done(tag: &'static str) -> DdlDone {
    DdlDone { tag, notices: Vec::new() }
}

/// The words with which errors name a statement; also its tag.
pub fn describe(statement: &Statement) -> &'static str {
    match statement {
        Statement::CreateTable(_) => "CREATE TABLE",
        Statement::AlterTable(_) => "ALTER TABLE",
        Statement::CreateRole(_) => "CREATE ROLE",
        Statement::AlterRole { .. } | Statement::AlterUser(_) => "ALTER ROLE",
        Statement::CreateSchema { .. } => "CREATE SCHEMA",
        Statement::Comment { .. } => "COMMENT",
        Statement::Drop { object_type: ObjectType::Table, .. } => "DROP TABLE",
        Statement::Drop { object_type: ObjectType::Schema, .. } => "DROP SCHEMA",
        _ => "DROP ROLE",
    }
}

/// Whether a statement is one of these.
pub fn is_definition(statement: &Statement) -> bool {
    match statement {
        Statement::CreateTable(_)
        | Statement::AlterTable(_)
        | Statement::CreateRole(_)
        | Statement::AlterRole { .. }
        | Statement::AlterUser(_)
        | Statement::CreateSchema { .. }
        | Statement::Comment { .. } => true,
        Statement::Drop { object_type, .. } => matches!(
            object_type,
            ObjectType::Table | ObjectType::Schema | ObjectType::Role | ObjectType::User
        ),
        _ => false,
    }
}

/// Carries out a statement; it blocks while the catalog is written.
///
/// # Errors
/// As PostgreSQL says them; nothing is changed.
pub fn run(statement: &Statement, context: &DdlContext<'_>) -> SqlResult<DdlDone> {
    match statement {
        Statement::CreateTable(create) => create::run(create, context),
        Statement::AlterTable(alter) => alter::run(alter, context),
        Statement::CreateRole(create) => role::create(create, context),
        Statement::AlterRole { name, operation } => role::alter(&names::fold(name), operation, context),
        Statement::AlterUser(alter) => role::alter_user(alter, context),
        Statement::CreateSchema { schema_name, if_not_exists, .. } => {
            schema::create(schema_name, *if_not_exists, context)
        }
        Statement::Comment { object_type, object_name, comment, .. } => {
            comment::run(object_type, object_name, comment.as_deref(), context)
        }
        Statement::Drop { object_type: ObjectType::Table, if_exists, names, .. } => {
            drop_tables(names, *if_exists, context)
        }
        Statement::Drop { object_type: ObjectType::Schema, if_exists, names, cascade, .. } => {
            schema::drop(names, *if_exists, *cascade, context)
        }
        Statement::Drop { object_type: ObjectType::Role | ObjectType::User, .. } => {
            Err(SqlError::unsupported("DROP ROLE"))
        }
        other => Err(SqlError::internal(format!("not a definition: {other}"))),
    }
}

fn check_identifier(name: &str) -> SqlResult<()> {
    const BYTES_MAX: usize = tidemark_catalog::schema::IDENTIFIER_BYTES_MAX;
    if name.is_empty() {
        return Err(SqlError::new(sqlstate::SYNTAX_ERROR, "zero-length delimited identifier"));
    }
    if name.len() > BYTES_MAX {
        let message = format!("identifier \"{name}\" is longer than {BYTES_MAX} bytes");
        return Err(SqlError::new(sqlstate::NAME_TOO_LONG, message));
    }
    Ok(())
}

/// Only its owner, or a superuser, may change a table.
fn require_owner(collection: &Collection, context: &DdlContext<'_>) -> SqlResult<()> {
    require_owner_of(collection.owner, "table", &collection.name, context.role)
}

/// Only the owner of a thing, or a superuser, goes on.
///
/// # Errors
/// The role is neither.
pub fn require_owner_of(owner: RoleId, what: &str, name: &str, role: &Role) -> SqlResult<()> {
    if role.superuser || owner == role.id {
        return Ok(());
    }
    Err(SqlError::new(sqlstate::INSUFFICIENT_PRIVILEGE, format!("must be owner of {what} {name}")))
}

/// The note that something to be changed is not there, which is well.
fn skipping(what: &str, name: &str) -> SqlError {
    let message = format!("{what} \"{name}\" does not exist, skipping");
    SqlError::notice(sqlstate::SUCCESSFUL_COMPLETION, message)
}

fn drop_tables(tables: &[ObjectName], if_exists: bool, context: &DdlContext<'_>) -> SqlResult<DdlDone> {
    let mut notices = Vec::new();
    let mut found = Vec::new();
    // All names are looked up before anything is dropped.
    for table in tables {
        let (namespace, name) = relation_name(table)?;
        match context.resolver.find(namespace.as_deref(), &name)? {
            Some(collection) => {
                require_owner(&collection, context)?;
                found.push(collection.id);
            }
            None if if_exists => notices.push(skipping("table", &name)),
            None => {
                let message = format!("table \"{name}\" does not exist");
                return Err(SqlError::new(sqlstate::UNDEFINED_TABLE, message));
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    context.engine.drop_collections(&found).map_err(ddl_error)?;
    Ok(DdlDone { tag: "DROP TABLE", notices })
}

impl From<DdlError> for SqlError {
    fn from(error: DdlError) -> SqlError {
        ddl_error(error)
    }
}

/// An error of a change of collections.
pub fn ddl_error(error: DdlError) -> SqlError {
    match error {
        DdlError::Schema(error) => schema_error(&error),
        DdlError::Edit(error) => edit_error(error),
        DdlError::KeyColumn(name) => {
            let message = format!("cannot drop column \"{name}\" because it is part of a key");
            SqlError::new(sqlstate::INVALID_TABLE_DEFINITION, message)
        }
        DdlError::ContainsNull { .. } => SqlError::new(sqlstate::NOT_NULL_VIOLATION, error.to_string()),
        DdlError::Missing(MissingValueError::Symbols(error)) => write_error(&error),
        DdlError::Missing(MissingValueError::NotUnderstood { .. }) => SqlError::internal(error),
        DdlError::Read(error) => crate::plan::errors::read(&error),
        DdlError::Wait(error) => job_error(&error),
    }
}

fn schema_error(error: &SchemaError) -> SqlError {
    let state = match error {
        SchemaError::DuplicateColumn(_) => sqlstate::DUPLICATE_COLUMN,
        SchemaError::NoColumn(_) => sqlstate::UNDEFINED_COLUMN,
        SchemaError::InvalidName(_) => sqlstate::NAME_TOO_LONG,
        SchemaError::TooManyColumns => sqlstate::TOO_MANY_COLUMNS,
    };
    SqlError::new(state, error.to_string())
}

/// An error of the catalog.
pub fn edit_error(error: EditError) -> SqlError {
    match &error {
        EditError::CollectionExists(_) => SqlError::new(sqlstate::DUPLICATE_TABLE, error.to_string()),
        EditError::RoleExists(_) => SqlError::new(sqlstate::DUPLICATE_OBJECT, error.to_string()),
        EditError::NamespaceExists(_) => SqlError::new(sqlstate::DUPLICATE_SCHEMA, error.to_string()),
        EditError::NamespaceInUse(_) => {
            SqlError::new(sqlstate::DEPENDENT_OBJECTS_STILL_EXIST, "a table was made in the schema meanwhile")
        }
        EditError::NoNamespace(_) => {
            SqlError::new(sqlstate::INVALID_SCHEMA_NAME, "the schema was dropped meanwhile")
        }
        EditError::NoCollection(_) => {
            SqlError::new(sqlstate::UNDEFINED_TABLE, "the relation was dropped meanwhile")
        }
        EditError::Storage(_) | EditError::Poisoned => {
            SqlError::new(sqlstate::IO_ERROR, format!("cannot write the catalog: {error}"))
        }
        _ => SqlError::internal(error),
    }
}
