//! CREATE TABLE.

use std::sync::Arc;

use sqlparser::ast::{ColumnDef, ColumnOption, CreateTable, Expr};
use tidemark_catalog::error::EditError;
use tidemark_catalog::ids::{ColumnId, NAMESPACE_TIDEMARK, NamespaceId};
use tidemark_catalog::schema::{NewColumn, Nullability};
use tidemark_engine::engine::NewTimeseries;
use tidemark_engine::error::DdlError;

use crate::error::{SqlError, SqlResult};
use crate::sql::ddl::options::TableOptions;
use crate::sql::ddl::{DdlContext, DdlDone, check_identifier, ddl_error, done};
use crate::sql::defaults::{self, DefaultExpr};
use crate::sql::names::{self, relation_name};
use crate::sql::types::column_type;
use crate::sqlstate;

pub(super) fn run(create: &CreateTable, context: &DdlContext<'_>) -> SqlResult<DdlDone> {
    refuse_parts(create)?;
    let (namespace, name) = relation_name(&create.name)?;
    check_identifier(&name)?;
    if let Some(existing) = context.resolver.find(namespace.as_deref(), &name)?
        && create.if_not_exists
    {
        return Ok(already_exists(&existing.name));
    }
    let namespace = match namespace {
        Some(namespace) => context.resolver.namespace(&namespace)?,
        None => context.resolver.creation_namespace()?,
    };
    check_namespace(namespace)?;
    let columns =
        create.columns.iter().map(|definition| Ok(ColumnDefinition::of(definition, context)?.column));
    let columns = columns.collect::<SqlResult<Vec<_>>>()?;
    let options = TableOptions::of(create)?.resolve(&columns)?;
    let columns = required_time(columns, options.time_key);
    let new = NewTimeseries { namespace, name: name.clone(), owner: context.role.id, columns, options };
    match context.engine.create_collection(new) {
        Ok(_) => Ok(done("CREATE TABLE")),
        // Somebody else made it in between.
        Err(DdlError::Edit(EditError::CollectionExists(_))) if create.if_not_exists => {
            Ok(already_exists(&name))
        }
        Err(error) => Err(ddl_error(error)),
    }
}

/// Nothing of users goes among the server's own views.
pub(super) fn check_namespace(namespace: NamespaceId) -> SqlResult<()> {
    if namespace != NAMESPACE_TIDEMARK {
        return Ok(());
    }
    let message = "permission denied to create in schema \"tidemark\"";
    Err(SqlError::new(sqlstate::INSUFFICIENT_PRIVILEGE, message)
        .with_detail("It holds the server's own views."))
}

fn already_exists(name: &str) -> DdlDone {
    let message = format!("relation \"{name}\" already exists, skipping");
    let notice = SqlError::notice(sqlstate::DUPLICATE_TABLE, message);
    DdlDone { tag: "CREATE TABLE", notices: vec![notice] }
}

fn refuse_parts(create: &CreateTable) -> SqlResult<()> {
    let refused = [
        (create.or_replace, "CREATE OR REPLACE TABLE"),
        (create.temporary, "CREATE TEMPORARY TABLE"),
        (create.query.is_some(), "CREATE TABLE AS"),
        (create.like.is_some(), "CREATE TABLE LIKE"),
        (create.inherits.is_some(), "INHERITS"),
        (create.partition_by.is_some(), "PARTITION BY"),
        (!create.constraints.is_empty(), "a table constraint on a time-series table"),
    ];
    match refused.iter().find(|(found, _)| *found) {
        Some((_, what)) => Err(SqlError::unsupported(what)),
        None => Ok(()),
    }
}

/// A column as it is written, with its default.
pub(super) struct ColumnDefinition {
    pub(super) column: NewColumn,
    pub(super) default: Option<DefaultExpr>,
}

impl ColumnDefinition {
    pub(super) fn of(definition: &ColumnDef, context: &DdlContext<'_>) -> SqlResult<ColumnDefinition> {
        let name = names::fold(&definition.name);
        check_identifier(&name)?;
        let column_type = column_type(&definition.data_type)?;
        let mut column = NewColumn::new(name, column_type, Nullability::Nullable);
        let mut default = None;
        for option in &definition.options {
            match &option.option {
                ColumnOption::NotNull => column.nullability = Nullability::Required,
                ColumnOption::Null => column.nullability = Nullability::Nullable,
                ColumnOption::Default(expr) => default = define_default(&mut column, expr, context)?,
                ColumnOption::PrimaryKey(_) => {
                    return Err(SqlError::unsupported("PRIMARY KEY on a time-series table")
                        .with_hint("Rows that are equal in dedup_key replace each other."));
                }
                ColumnOption::Unique(_) => {
                    return Err(SqlError::unsupported("UNIQUE on a time-series table")
                        .with_hint("Rows that are equal in dedup_key replace each other."));
                }
                other => return Err(SqlError::unsupported(format!("column option {other}"))),
            }
        }
        Ok(ColumnDefinition { column, default })
    }
}

fn define_default(
    column: &mut NewColumn,
    expr: &Expr,
    context: &DdlContext<'_>,
) -> SqlResult<Option<DefaultExpr>> {
    let defined = defaults::define(expr, &column.name, &column.column_type, context.expressions)?;
    let (text, default): (Option<Arc<str>>, _) = defined.unzip();
    column.default = text;
    Ok(default)
}

/// The time key is required whether or not it was said.
fn required_time(mut columns: Vec<NewColumn>, time_key: ColumnId) -> Vec<NewColumn> {
    let at = usize::try_from(time_key.0).expect("a small number") - 1;
    columns[at].nullability = Nullability::Required;
    columns
}
