//! CREATE, ALTER and DROP.

use std::num::NonZeroU32;

use sqlparser::ast::{
    self, AlterRoleOperation, AlterTableOperation, ColumnDef, ColumnOption, CreateRole, CreateTable,
    CreateTableOptions, Expr, ObjectType, Password as SqlPassword, RoleOption, SqlOption, Statement, Value,
};
use tidemark_catalog::collection::{CalendarInterval, IntervalUnit, TimeseriesOptions};
use tidemark_catalog::edit::{CatalogEdit, Change};
use tidemark_catalog::error::{EditError, SchemaError};
use tidemark_catalog::ids::{ColumnId, NAMESPACE_TIDEMARK, RoleId};
use tidemark_catalog::role::Role;
use tidemark_catalog::schema::{NewColumn, Nullability};
use tidemark_engine::engine::{Engine, NewTimeseries};
use tidemark_engine::error::DdlError;

use crate::error::{SqlError, SqlResult};
use crate::sql::names::{self, Resolver, no_relation, relation_name};
use crate::sql::types::column_type;
use crate::sqlstate;
use crate::wire::auth::verifier;

/// Who runs a statement, and on what.
#[derive(Debug)]
pub struct DdlContext<'a> {
    /// The engine.
    pub engine: &'a Engine,
    /// Where names are looked up.
    pub resolver: &'a Resolver,
    /// Who asks.
    pub role: &'a Role,
    /// Random bytes for the salt of a password.
    pub salt: [u8; 16],
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

/// The words with which errors name a statement.
pub fn describe(statement: &Statement) -> &'static str {
    match statement {
        Statement::CreateTable(_) => "CREATE TABLE",
        Statement::AlterTable(_) => "ALTER TABLE",
        Statement::CreateRole(_) => "CREATE ROLE",
        Statement::AlterRole { .. } => "ALTER ROLE",
        Statement::Drop { object_type: ObjectType::Table, .. } => "DROP TABLE",
        _ => "DROP ROLE",
    }
}

/// Carries out a statement; it blocks while the catalog is written.
///
/// # Errors
/// As PostgreSQL says them; nothing is changed.
pub fn run(statement: &Statement, context: &DdlContext<'_>) -> SqlResult<DdlDone> {
    match statement {
        Statement::CreateTable(create) => create_table(create, context),
        Statement::AlterTable(alter) => alter_table(alter, context),
        Statement::CreateRole(create) => create_role(create, context),
        Statement::AlterRole { name, operation } => alter_role(&names::fold(name), operation, context),
        Statement::Drop { object_type: ObjectType::Table, if_exists, names, .. } => {
            drop_tables(names, *if_exists, context)
        }
        Statement::Drop { object_type: ObjectType::Role | ObjectType::User, .. } => {
            Err(SqlError::unsupported("DROP ROLE"))
        }
        other => Err(SqlError::internal(format!("not a definition: {other}"))),
    }
}

fn create_table(create: &CreateTable, context: &DdlContext<'_>) -> SqlResult<DdlDone> {
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
    if namespace == NAMESPACE_TIDEMARK {
        let message = "permission denied to create in schema \"tidemark\"";
        return Err(SqlError::new(sqlstate::INSUFFICIENT_PRIVILEGE, message)
            .with_detail("It holds the server's own views."));
    }
    let columns = create.columns.iter().map(new_column).collect::<SqlResult<Vec<_>>>()?;
    let options = table_options(create)?.resolve(&columns)?;
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

fn new_column(definition: &ColumnDef) -> SqlResult<NewColumn> {
    let name = names::fold(&definition.name);
    check_identifier(&name)?;
    let mut nullability = Nullability::Nullable;
    for option in &definition.options {
        match &option.option {
            ColumnOption::NotNull => nullability = Nullability::Required,
            ColumnOption::Null => nullability = Nullability::Nullable,
            ColumnOption::Default(Expr::Value(value)) if value.value == Value::Null => {}
            ColumnOption::Default(_) => return Err(SqlError::unsupported("DEFAULT on a time-series table")),
            ColumnOption::PrimaryKey(_) => {
                return Err(SqlError::unsupported("PRIMARY KEY on a time-series table"));
            }
            ColumnOption::Unique(_) => return Err(SqlError::unsupported("UNIQUE on a time-series table")),
            other => return Err(SqlError::unsupported(format!("column option {other}"))),
        }
    }
    Ok(NewColumn::new(name, column_type(&definition.data_type)?, nullability))
}

/// The time key is required whether or not it was said.
fn required_time(mut columns: Vec<NewColumn>, time_key: ColumnId) -> Vec<NewColumn> {
    let at = usize::try_from(time_key.0).expect("a small number") - 1;
    columns[at].nullability = Nullability::Required;
    columns
}

/// `WITH (…)` as it was written.
#[derive(Debug, Default)]
struct TableOptions {
    kind: Option<String>,
    time_key: Option<String>,
    partition_by: Option<String>,
    series_key: Option<String>,
    dedup_key: Option<String>,
}

fn table_options(create: &CreateTable) -> SqlResult<TableOptions> {
    let given = match &create.table_options {
        CreateTableOptions::None => &[][..],
        CreateTableOptions::With(options) => options,
        _ => return Err(SqlError::unsupported("table options in this form")),
    };
    let mut options = TableOptions::default();
    for option in given {
        let SqlOption::KeyValue { key, value } = option else {
            return Err(SqlError::new(
                sqlstate::SYNTAX_ERROR,
                format!("unrecognized parameter \"{option}\""),
            ));
        };
        let key = names::fold(key);
        let value = option_text(value)?;
        match key.as_str() {
            "kind" => options.kind = Some(value),
            "time_key" => options.time_key = Some(value),
            "partition_by" => options.partition_by = Some(value),
            "series_key" => options.series_key = Some(value),
            "dedup_key" => options.dedup_key = Some(value),
            "ttl" | "merge_after" | "symbol_limit" => {
                return Err(SqlError::unsupported(format!("table option {key}")));
            }
            _ => {
                let message = format!("unrecognized parameter \"{key}\"");
                return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message).with_hint(
                    "A time-series table takes kind, time_key, partition_by, series_key and dedup_key.",
                ));
            }
        }
    }
    Ok(options)
}

fn option_text(value: &Expr) -> SqlResult<String> {
    match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Ok(text.clone()),
            Value::Number(number, _) => Ok(number.clone()),
            other => Ok(other.to_string()),
        },
        Expr::Identifier(ident) => Ok(names::fold(ident)),
        other => {
            let message = format!("invalid value for a table option: {other}");
            Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message))
        }
    }
}

impl TableOptions {
    fn resolve(self, columns: &[NewColumn]) -> SqlResult<TimeseriesOptions> {
        match self.kind.as_deref().map(str::to_lowercase).as_deref() {
            Some("timeseries") => {}
            Some(other) => {
                let message = format!("unrecognized table kind \"{other}\"");
                return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
                    .with_hint("The kind is 'timeseries'."));
            }
            None => {
                return Err(SqlError::unsupported("a table without a time key")
                    .with_hint("Say WITH (kind = 'timeseries', time_key = '<a timestamp column>')."));
            }
        }
        let time_key = self.time_key.ok_or_else(|| {
            SqlError::new(sqlstate::INVALID_TABLE_DEFINITION, "a time-series table needs a time_key")
                .with_hint("Name a timestamp column, as in WITH (kind = 'timeseries', time_key = 'ts').")
        })?;
        let time_key = column_id(columns, &time_key)?;
        let time_column = &columns[usize::try_from(time_key.0).expect("a small number") - 1];
        if time_column.column_type.time_unit().is_none() {
            let message = format!(
                "time key \"{}\" is of type {}, not a timestamp",
                time_column.name, time_column.column_type
            );
            return Err(SqlError::new(sqlstate::DATATYPE_MISMATCH, message));
        }
        let keys = |names: &str| {
            let names = crate::session::parameters::split_list(names);
            names.iter().map(|name| column_id(columns, name)).collect::<SqlResult<Vec<_>>>()
        };
        let dedup_key = keys(self.dedup_key.as_deref().unwrap_or(""))?;
        let series_key = match &self.series_key {
            Some(names) => keys(names)?,
            // Rows that are told apart are sorted by what tells them apart.
            None => dedup_key.iter().copied().filter(|id| *id != time_key).collect(),
        };
        if series_key.contains(&time_key) {
            let message = "the series key cannot contain the time key";
            return Err(SqlError::new(sqlstate::INVALID_TABLE_DEFINITION, message));
        }
        check_dedup_key(&dedup_key, time_key, &series_key, columns)?;
        let partition_by = parse_interval(self.partition_by.as_deref().unwrap_or("1 day"))?;
        Ok(TimeseriesOptions { series_key, dedup_key, ..TimeseriesOptions::new(time_key, partition_by) })
    }
}

/// Rows that are equal in the key are of one series and one time, so that they meet.
fn check_dedup_key(
    dedup_key: &[ColumnId],
    time_key: ColumnId,
    series_key: &[ColumnId],
    columns: &[NewColumn],
) -> SqlResult<()> {
    let of_series = series_key.iter().map(|id| ("the series key's column", *id));
    let mut needed = std::iter::once(("the time key", time_key)).chain(of_series);
    match needed.find(|(_, id)| !dedup_key.is_empty() && !dedup_key.contains(id)) {
        None => Ok(()),
        Some((what, id)) => {
            let name = &columns[usize::try_from(id.0).expect("a small number") - 1].name;
            let message = format!("dedup_key must contain {what} \"{name}\"");
            Err(SqlError::new(sqlstate::INVALID_TABLE_DEFINITION, message)
                .with_hint("Rows are told apart by time and series and by what dedup_key has besides."))
        }
    }
}

/// The id that the column will have: its place, from 1.
fn column_id(columns: &[NewColumn], name: &str) -> SqlResult<ColumnId> {
    let name = name.trim();
    let folded = name.to_lowercase();
    let found = columns.iter().position(|column| column.name == name);
    let found = found.or_else(|| columns.iter().position(|column| column.name == folded));
    let at = found.ok_or_else(|| {
        let message = format!("column \"{name}\" named in a key does not exist");
        SqlError::new(sqlstate::UNDEFINED_COLUMN, message)
    })?;
    Ok(ColumnId(u32::try_from(at).expect("a table has at most 1600 columns") + 1))
}

/// The length of partitions, as in `1 day`.
pub fn parse_interval(text: &str) -> SqlResult<CalendarInterval> {
    let wrong = || {
        let message = format!("invalid partition_by: \"{text}\"");
        SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message).with_hint(
            "It is a number of seconds, minutes, hours, days, weeks, months or years, as in '1 day'.",
        )
    };
    let mut words = text.split_whitespace();
    let (count, unit) = match (words.next(), words.next(), words.next()) {
        (Some(count), Some(unit), None) => (count.parse::<u32>().map_err(|_| wrong())?, unit),
        (Some(unit), None, None) => (1, unit),
        _ => return Err(wrong()),
    };
    let unit = match unit.to_lowercase().trim_end_matches('s') {
        "second" | "sec" => IntervalUnit::Second,
        "minute" | "min" => IntervalUnit::Minute,
        "hour" => IntervalUnit::Hour,
        "day" => IntervalUnit::Day,
        "week" => IntervalUnit::Week,
        "month" | "mon" => IntervalUnit::Month,
        "year" => IntervalUnit::Year,
        _ => return Err(wrong()),
    };
    Ok(CalendarInterval { count: NonZeroU32::new(count).ok_or_else(wrong)?, unit })
}

fn alter_table(alter: &ast::AlterTable, context: &DdlContext<'_>) -> SqlResult<DdlDone> {
    let (namespace, name) = relation_name(&alter.name)?;
    let Some(collection) = context.resolver.find(namespace.as_deref(), &name)? else {
        if alter.if_exists {
            let message = format!("relation \"{name}\" does not exist, skipping");
            let notice = SqlError::notice(sqlstate::UNDEFINED_TABLE, message);
            return Ok(DdlDone { tag: "ALTER TABLE", notices: vec![notice] });
        }
        return Err(no_relation(namespace.as_deref(), &name));
    };
    let mut added = Vec::new();
    let mut notices = Vec::new();
    for operation in &alter.operations {
        let AlterTableOperation::AddColumn { column_def, if_not_exists, .. } = operation else {
            return Err(SqlError::unsupported(format!("ALTER TABLE … {operation}")));
        };
        let column = new_column(column_def)?;
        if collection.schema.column_by_name(&column.name).is_some() {
            let message =
                format!("column \"{}\" of relation \"{}\" already exists", column.name, collection.name);
            if !if_not_exists {
                return Err(SqlError::new(sqlstate::DUPLICATE_COLUMN, message));
            }
            notices.push(SqlError::notice(sqlstate::DUPLICATE_COLUMN, format!("{message}, skipping")));
            continue;
        }
        if column.nullability == Nullability::Required {
            let message = format!(
                "column \"{}\" of relation \"{}\" contains null values",
                column.name, collection.name
            );
            return Err(SqlError::new(sqlstate::NOT_NULL_VIOLATION, message)
                .with_detail("A column that is added is NULL in the rows that are there."));
        }
        added.push(column);
    }
    context.engine.add_columns(collection.id, added).map_err(ddl_error)?;
    Ok(DdlDone { tag: "ALTER TABLE", notices })
}

fn drop_tables(tables: &[ast::ObjectName], if_exists: bool, context: &DdlContext<'_>) -> SqlResult<DdlDone> {
    let mut notices = Vec::new();
    let mut found = Vec::new();
    // All names are looked up before anything is dropped.
    for table in tables {
        let (namespace, name) = relation_name(table)?;
        match context.resolver.find(namespace.as_deref(), &name)? {
            Some(collection) => found.push(collection.id),
            None if if_exists => {
                let message = format!("table \"{name}\" does not exist, skipping");
                notices.push(SqlError::notice(sqlstate::UNDEFINED_TABLE, message));
            }
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

fn ddl_error(error: DdlError) -> SqlError {
    match error {
        DdlError::Schema(SchemaError::DuplicateColumn(name)) => {
            let message = format!("column \"{name}\" specified more than once");
            SqlError::new(sqlstate::DUPLICATE_COLUMN, message)
        }
        DdlError::Schema(error @ SchemaError::NoColumn(_)) => {
            SqlError::new(sqlstate::UNDEFINED_COLUMN, error.to_string())
        }
        DdlError::Schema(SchemaError::InvalidName(name)) => {
            SqlError::new(sqlstate::NAME_TOO_LONG, format!("identifier \"{name}\" is too long"))
        }
        DdlError::Schema(error @ SchemaError::TooManyColumns) => {
            SqlError::new(sqlstate::TOO_MANY_COLUMNS, error.to_string())
        }
        DdlError::Edit(error) => edit_error(error),
    }
}

/// An error of the catalog.
pub fn edit_error(error: EditError) -> SqlError {
    match &error {
        EditError::CollectionExists(_) => SqlError::new(sqlstate::DUPLICATE_TABLE, error.to_string()),
        EditError::RoleExists(_) => SqlError::new(sqlstate::DUPLICATE_OBJECT, error.to_string()),
        EditError::NoCollection(_) => {
            SqlError::new(sqlstate::UNDEFINED_TABLE, "the relation was dropped meanwhile")
        }
        EditError::Storage(_) | EditError::Poisoned => {
            SqlError::new(sqlstate::IO_ERROR, format!("cannot write the catalog: {error}"))
        }
        _ => SqlError::internal(error),
    }
}

fn create_role(create: &CreateRole, context: &DdlContext<'_>) -> SqlResult<DdlDone> {
    require_superuser(context, "create role")?;
    let mut edit = CatalogEdit::new();
    for name in &create.names {
        let (_, name) = relation_name(name)?;
        check_identifier(&name)?;
        let view = context.resolver.view();
        if view.role_by_name(&name).is_some() {
            let message = format!("role \"{name}\" already exists");
            return Err(SqlError::new(sqlstate::DUPLICATE_OBJECT, message));
        }
        let id = context.engine.allocate_object().map_err(edit_error)?;
        let mut role = Role { id: RoleId(id), name, superuser: false, login: false, verifier: None };
        role.superuser = create.superuser.unwrap_or(false);
        role.login = create.login.unwrap_or(false);
        if let Some(password) = &create.password {
            set_password(&mut role, password, context.salt)?;
        }
        edit.push(Change::PutRole(role));
    }
    context.engine.commit_edit(&edit).map_err(edit_error)?;
    Ok(done("CREATE ROLE"))
}

fn alter_role(name: &str, operation: &AlterRoleOperation, context: &DdlContext<'_>) -> SqlResult<DdlDone> {
    let is_own = name == context.role.name;
    let AlterRoleOperation::WithOptions { options } = operation else {
        return Err(SqlError::unsupported(format!("ALTER ROLE … {operation}")));
    };
    let only_password = options.iter().all(|option| matches!(option, RoleOption::Password(_)));
    if !(is_own && only_password) {
        require_superuser(context, "alter role")?;
    }
    let view = context.resolver.view();
    let role = view.role_by_name(name).ok_or_else(|| {
        SqlError::new(sqlstate::UNDEFINED_OBJECT, format!("role \"{name}\" does not exist"))
    })?;
    let mut role = role.clone();
    for option in options {
        match option {
            RoleOption::Password(password) => set_password(&mut role, password, context.salt)?,
            RoleOption::Login(login) => role.login = *login,
            RoleOption::SuperUser(superuser) => role.superuser = *superuser,
            RoleOption::Inherit(true) => {}
            other => return Err(SqlError::unsupported(format!("role option {other}"))),
        }
    }
    let edit = CatalogEdit::new().with(Change::PutRole(role));
    context.engine.commit_edit(&edit).map_err(edit_error)?;
    Ok(done("ALTER ROLE"))
}

fn require_superuser(context: &DdlContext<'_>, what: &str) -> SqlResult<()> {
    if context.role.superuser {
        return Ok(());
    }
    let message = format!("permission denied to {what}");
    Err(SqlError::new(sqlstate::INSUFFICIENT_PRIVILEGE, message).with_detail("Only superusers may do that."))
}

fn set_password(role: &mut Role, password: &SqlPassword, salt: [u8; 16]) -> SqlResult<()> {
    role.verifier = match password {
        SqlPassword::NullPassword => None,
        SqlPassword::Password(Expr::Value(value)) => match &value.value {
            Value::SingleQuotedString(password) if !password.is_empty() => Some(verifier(password, salt)),
            Value::SingleQuotedString(_) => None,
            other => return Err(not_a_password(other)),
        },
        SqlPassword::Password(other) => return Err(not_a_password(other)),
    };
    Ok(())
}

fn not_a_password(what: &impl std::fmt::Display) -> SqlError {
    SqlError::new(sqlstate::SYNTAX_ERROR, format!("a password is a string, not {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_a_number_and_a_unit() {
        let cases = [
            ("1 day", 1, IntervalUnit::Day),
            ("6 hours", 6, IntervalUnit::Hour),
            ("month", 1, IntervalUnit::Month),
            ("15 Minutes", 15, IntervalUnit::Minute),
            ("10 years", 10, IntervalUnit::Year),
        ];
        for (text, count, unit) in cases {
            let interval = parse_interval(text).unwrap();
            assert_eq!((interval.count.get(), interval.unit), (count, unit), "{text}");
        }
        for text in ["", "0 days", "-1 day", "1 fortnight", "1 day 2 hours", "1.5 days"] {
            assert_eq!(parse_interval(text).unwrap_err().state(), sqlstate::INVALID_PARAMETER_VALUE);
        }
    }
}
