//! Who may do what: the answers of `has_…_privilege`.

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::functions::{ScalarBody, oid, text};
use crate::pg_catalog::names;
use crate::pg_catalog::run::Run;
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::sqlstate;

// Every role that can log in may read and write everything; only roles are the superuser's business.
pub(super) const FUNCTIONS: &[(&str, ScalarBody)] = &[
    ("has_table_privilege(text,text) bool", named_relation),
    ("has_table_privilege(oid,text) bool", relation),
    ("has_table_privilege(name,text,text) bool", |run, values| named_relation(run, &values[1..])),
    ("has_table_privilege(name,oid,text) bool", |run, values| relation(run, &values[1..])),
    ("has_table_privilege(oid,oid,text) bool", |run, values| relation(run, &values[1..])),
    ("has_sequence_privilege(text,text) bool", named_relation),
    ("has_sequence_privilege(oid,text) bool", relation),
    ("has_any_column_privilege(text,text) bool", named_relation),
    ("has_any_column_privilege(oid,text) bool", relation),
    ("has_any_column_privilege(name,text,text) bool", |run, values| named_relation(run, &values[1..])),
    ("has_any_column_privilege(name,oid,text) bool", |run, values| relation(run, &values[1..])),
    ("has_column_privilege(text,text,text) bool", named_relation),
    ("has_column_privilege(oid,text,text) bool", relation),
    ("has_column_privilege(text,int2,text) bool", named_relation),
    ("has_column_privilege(oid,int2,text) bool", relation),
    ("has_schema_privilege(text,text) bool", named_namespace),
    ("has_schema_privilege(oid,text) bool", namespace),
    ("has_schema_privilege(name,text,text) bool", |run, values| named_namespace(run, &values[1..])),
    ("has_schema_privilege(name,oid,text) bool", |run, values| namespace(run, &values[1..])),
    ("has_database_privilege(text,text) bool", named_database),
    ("has_database_privilege(oid,text) bool", anything),
    ("has_database_privilege(name,text,text) bool", |run, values| named_database(run, &values[1..])),
    ("has_database_privilege(name,oid,text) bool", anything),
    ("has_function_privilege(oid,text) bool", anything),
    ("has_function_privilege(name,oid,text) bool", anything),
    ("has_type_privilege(oid,text) bool", anything),
    ("has_type_privilege(text,text) bool", anything),
    ("has_language_privilege(oid,text) bool", anything),
    ("has_tablespace_privilege(oid,text) bool", anything),
    ("has_tablespace_privilege(text,text) bool", anything),
    ("has_foreign_data_wrapper_privilege(oid,text) bool", anything),
    ("has_server_privilege(oid,text) bool", anything),
    ("pg_has_role(name,text) bool", named_role),
    ("pg_has_role(oid,text) bool", role),
    ("pg_has_role(name,name,text) bool", |run, values| named_role(run, &values[1..])),
    ("pg_has_role(name,oid,text) bool", |run, values| role(run, &values[1..])),
    ("row_security_active(oid) bool", |_, _| Ok(Datum::Bool(false))),
    ("row_security_active(text) bool", |_, _| Ok(Datum::Bool(false))),
];

fn anything(_: &Run<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Bool(true))
}

fn named_relation(run: &Run<'_>, values: &[Datum]) -> SqlResult<Datum> {
    names::parse_reg(text(values, 0), &PgType::REGCLASS, run.context)?;
    Ok(Datum::Bool(true))
}

fn relation(run: &Run<'_>, values: &[Datum]) -> SqlResult<Datum> {
    Ok(names::is_visible(run.context, oid(values, 0)).map_or(Datum::Null, |_| Datum::Bool(true)))
}

fn named_namespace(run: &Run<'_>, values: &[Datum]) -> SqlResult<Datum> {
    let name = text(values, 0);
    if names::namespace_oid(run.context, name).is_none() {
        let message = format!("schema \"{name}\" does not exist");
        return Err(SqlError::new(sqlstate::INVALID_SCHEMA_NAME, message));
    }
    Ok(Datum::Bool(may_create(run, name, text(values, 1))))
}

fn namespace(run: &Run<'_>, values: &[Datum]) -> SqlResult<Datum> {
    let name = names::namespace_name(run.context, oid(values, 0));
    Ok(name.map_or(Datum::Null, |name| Datum::Bool(may_create(run, &name, text(values, 1)))))
}

/// Nobody makes anything in the catalogs' own namespaces.
fn may_create(_: &Run<'_>, namespace: &str, privilege: &str) -> bool {
    let is_system = matches!(namespace, "pg_catalog" | "information_schema");
    !(is_system && privilege.to_ascii_uppercase().contains("CREATE"))
}

fn named_database(run: &Run<'_>, values: &[Datum]) -> SqlResult<Datum> {
    let name = text(values, 0);
    if name == run.context.database {
        return Ok(Datum::Bool(true));
    }
    let message = format!("database \"{name}\" does not exist");
    Err(SqlError::new(sqlstate::INVALID_CATALOG_NAME, message))
}

fn named_role(run: &Run<'_>, values: &[Datum]) -> SqlResult<Datum> {
    let found = names::parse_reg(text(values, 0), &PgType::REGROLE, run.context)?;
    role(run, &[found])
}

fn role(run: &Run<'_>, values: &[Datum]) -> SqlResult<Datum> {
    let own = &run.context.role;
    Ok(Datum::Bool(own.superuser || own.id.0 == oid(values, 0)))
}
