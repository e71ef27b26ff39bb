//! ALTER TABLE: its actions are made one after another on what the table is when they begin, and become
//! one edit of the catalog.

use std::sync::Arc;

use sqlparser::ast::{self, AlterColumnOperation, AlterTableOperation, Expr, Ident, RenameTableNameKind};
use tidemark_catalog::collection::{Collection, CollectionKind};
use tidemark_catalog::ids::{ColumnId, NamespaceId, RoleId};
use tidemark_catalog::schema::{Column, Nullability, Schema};
use tidemark_engine::missing::encode_missing;

use crate::error::{SqlError, SqlResult};
use crate::sql::ddl::create::{ColumnDefinition, check_namespace};
use crate::sql::ddl::options::{OptionChange, change};
use crate::sql::ddl::{DdlContext, DdlDone, check_identifier, require_owner, schema_error, skipping};
use crate::sql::defaults::{self, DefaultExpr};
use crate::sql::names::{self, no_relation, relation_name};
use crate::sql::rows::batches::one_value;
use crate::sqlstate;

pub(super) fn run(alter: &ast::AlterTable, context: &DdlContext<'_>) -> SqlResult<DdlDone> {
    let (namespace, name) = relation_name(&alter.name)?;
    let Some(collection) = context.resolver.find(namespace.as_deref(), &name)? else {
        if alter.if_exists {
            return Ok(DdlDone { tag: "ALTER TABLE", notices: vec![skipping("relation", &name)] });
        }
        return Err(no_relation(namespace.as_deref(), &name));
    };
    require_owner(&collection, context)?;
    let mut notices = Vec::new();
    context.engine.alter(collection.id, |collection| {
        let mut altering = Altering { context, collection: collection.clone(), notices: &mut notices };
        alter.operations.iter().try_for_each(|action| altering.action(action))?;
        Ok::<_, SqlError>(altering.collection)
    })?;
    // Lines name columns, and what they are called may mean another one now.
    context.series.forget_all();
    Ok(DdlDone { tag: "ALTER TABLE", notices })
}

/// A table while its actions are made.
struct Altering<'a> {
    context: &'a DdlContext<'a>,
    collection: Collection,
    notices: &'a mut Vec<SqlError>,
}

impl Altering<'_> {
    fn action(&mut self, action: &AlterTableOperation) -> SqlResult<()> {
        match action {
            AlterTableOperation::AddColumn { column_def, if_not_exists, .. } => {
                self.add_column(column_def, *if_not_exists)
            }
            AlterTableOperation::DropColumn { column_names, if_exists, .. } => {
                column_names.iter().try_for_each(|name| self.drop_column(name, *if_exists))
            }
            AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
                self.rename_column(old_column_name, new_column_name)
            }
            AlterTableOperation::RenameTable { table_name: RenameTableNameKind::To(name) } => {
                let (_, name) = relation_name(name)?;
                self.rename(name)
            }
            AlterTableOperation::AlterColumn { column_name, op } => self.alter_column(column_name, op),
            AlterTableOperation::OwnerTo { new_owner } => {
                self.collection.owner = owner(new_owner, self.context)?;
                Ok(())
            }
            AlterTableOperation::SetOptionsParens { options } => {
                match change(self.collection.timeseries(), options)? {
                    OptionChange::Options(options) => {
                        self.collection.kind = CollectionKind::Timeseries(*options);
                        Ok(())
                    }
                    OptionChange::Schema(name) => self.set_schema(&name),
                }
            }
            other => Err(SqlError::unsupported(format!("ALTER TABLE … {other}"))),
        }
    }

    fn put_schema(&mut self, schema: Result<Schema, tidemark_catalog::error::SchemaError>) -> SqlResult<()> {
        self.collection.schema = Arc::new(schema.map_err(|error| schema_error(&error))?);
        Ok(())
    }

    fn no_column(&self, name: &str) -> SqlError {
        let message = format!("column \"{name}\" of relation \"{}\" does not exist", self.collection.name);
        SqlError::new(sqlstate::UNDEFINED_COLUMN, message)
    }

    fn column(&self, name: &Ident) -> SqlResult<&Column> {
        let name = names::fold(name);
        self.collection.schema.column_by_name(&name).ok_or_else(|| self.no_column(&name))
    }

    fn add_column(&mut self, definition: &ast::ColumnDef, if_not_exists: bool) -> SqlResult<()> {
        let ColumnDefinition { mut column, default } = ColumnDefinition::of(definition, self.context)?;
        if self.collection.schema.column_by_name(&column.name).is_some() {
            let error = column_exists(&column.name, &self.collection.name);
            if !if_not_exists {
                return Err(error);
            }
            let message = format!("{}, skipping", error.message());
            self.notices.push(SqlError::notice(sqlstate::DUPLICATE_COLUMN, message));
            return Ok(());
        }
        if let Some(default) = default {
            // Errors of the value name the column as it will be.
            let schema = self.collection.schema.with_columns(vec![column.clone()]);
            let schema = schema.map_err(|error| schema_error(&error))?;
            let added = schema.column_by_name(&column.name).expect("it was just added");
            column.missing = missing_value(added, &default, self.context)?;
        }
        self.put_schema(self.collection.schema.with_columns(vec![column]))
    }

    fn drop_column(&mut self, name: &Ident, if_exists: bool) -> SqlResult<()> {
        let name = names::fold(name);
        let Some(column) = self.collection.schema.column_by_name(&name) else {
            let error = self.no_column(&name);
            if !if_exists {
                return Err(error);
            }
            let message = format!("{}, skipping", error.message());
            self.notices.push(SqlError::notice(sqlstate::SUCCESSFUL_COMPLETION, message));
            return Ok(());
        };
        if let Some(key) = key_of(&self.collection, column.id) {
            let relation = &self.collection.name;
            let message = format!(
                "cannot drop column \"{name}\" because it is part of the {key} of relation \"{relation}\""
            );
            return Err(SqlError::new(sqlstate::INVALID_TABLE_DEFINITION, message));
        }
        self.put_schema(self.collection.schema.without_column(column.id))
    }

    fn rename_column(&mut self, old: &Ident, new: &Ident) -> SqlResult<()> {
        let (old, new) = (names::fold(old), names::fold(new));
        check_identifier(&new)?;
        let Some(column) = self.collection.schema.column_by_name(&old) else {
            let message = format!("column \"{old}\" does not exist");
            return Err(SqlError::new(sqlstate::UNDEFINED_COLUMN, message));
        };
        if self.collection.schema.column_by_name(&new).is_some() {
            return Err(column_exists(&new, &self.collection.name));
        }
        let id = column.id;
        self.put_schema(self.collection.schema.with_changed_column(id, |column| column.name = new))
    }

    fn rename(&mut self, name: String) -> SqlResult<()> {
        check_identifier(&name)?;
        if self.is_taken(self.collection.namespace, &name) {
            let message = format!("relation \"{name}\" already exists");
            return Err(SqlError::new(sqlstate::DUPLICATE_TABLE, message));
        }
        self.collection.name = name;
        Ok(())
    }

    fn set_schema(&mut self, name: &str) -> SqlResult<()> {
        let namespace = self.context.resolver.namespace(name)?;
        check_namespace(namespace)?;
        if namespace != self.collection.namespace && self.is_taken(namespace, &self.collection.name) {
            let message =
                format!("relation \"{}\" already exists in schema \"{name}\"", self.collection.name);
            return Err(SqlError::new(sqlstate::DUPLICATE_TABLE, message));
        }
        self.collection.namespace = namespace;
        Ok(())
    }

    fn is_taken(&self, namespace: NamespaceId, name: &str) -> bool {
        let view = self.context.engine.view();
        view.collection_by_name(namespace, name).is_some()
    }

    fn alter_column(&mut self, name: &Ident, action: &AlterColumnOperation) -> SqlResult<()> {
        let column = self.column(name)?.clone();
        let changed = match action {
            AlterColumnOperation::SetNotNull => {
                Column { nullability: Nullability::Required, ..column.clone() }
            }
            AlterColumnOperation::DropNotNull => {
                if column.id == self.collection.timeseries().time_key {
                    let message = format!("column \"{}\" is the time key", column.name);
                    return Err(SqlError::new(sqlstate::INVALID_TABLE_DEFINITION, message));
                }
                Column { nullability: Nullability::Nullable, ..column.clone() }
            }
            AlterColumnOperation::SetDefault { value } => {
                Column { default: self.define_default(value, &column)?, ..column.clone() }
            }
            AlterColumnOperation::DropDefault => Column { default: None, ..column.clone() },
            other => return Err(SqlError::unsupported(format!("ALTER COLUMN … {other}"))),
        };
        if changed == column {
            return Ok(());
        }
        self.put_schema(self.collection.schema.with_changed_column(column.id, |column| *column = changed))
    }

    fn define_default(&self, expr: &Expr, column: &Column) -> SqlResult<Option<Arc<str>>> {
        let defined = defaults::define(expr, &column.name, &column.column_type, self.context.expressions)?;
        Ok(defined.map(|(text, _)| text))
    }
}

fn column_exists(column: &str, relation: &str) -> SqlError {
    let message = format!("column \"{column}\" of relation \"{relation}\" already exists");
    SqlError::new(sqlstate::DUPLICATE_COLUMN, message)
}

/// The value that the rows that are there get in a new column.
fn missing_value(
    column: &Column,
    default: &DefaultExpr,
    context: &DdlContext<'_>,
) -> SqlResult<Option<tidemark_catalog::schema::EncodedValue>> {
    if default.is_volatile {
        let what = "ADD COLUMN with a default that gives another value for each row";
        return Err(SqlError::unsupported(what)
            .with_hint("Add the column without a default, then give it one by ALTER COLUMN … SET DEFAULT."));
    }
    let (datum, pg_type) = default.value(context.expressions)?;
    if datum.is_null() {
        return Ok(None);
    }
    let array = one_value(column, &datum, &pg_type, &context.expressions.format)?;
    encode_missing(&column.column_type, &array).map(Some).map_err(SqlError::internal)
}

/// The key that a column is part of.
fn key_of(collection: &Collection, column: ColumnId) -> Option<&'static str> {
    let options = collection.timeseries();
    match () {
        () if options.time_key == column => Some("time key"),
        () if options.series_key.contains(&column) => Some("series key"),
        () if options.dedup_key.contains(&column) => Some("dedup key"),
        () => None,
    }
}

pub(super) fn owner(owner: &ast::Owner, context: &DdlContext<'_>) -> SqlResult<RoleId> {
    let ast::Owner::Ident(name) = owner else { return Ok(context.role.id) };
    let name = names::fold(name);
    let view = context.resolver.view();
    let role = view.role_by_name(&name).map(|role| role.id);
    let role = role.ok_or_else(|| {
        SqlError::new(sqlstate::UNDEFINED_OBJECT, format!("role \"{name}\" does not exist"))
    })?;
    if !context.role.superuser && role != context.role.id {
        let message = format!("must be member of role \"{name}\"");
        return Err(SqlError::new(sqlstate::INSUFFICIENT_PRIVILEGE, message));
    }
    Ok(role)
}
