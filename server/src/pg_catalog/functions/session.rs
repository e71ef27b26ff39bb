//! Functions that tell of the session, the transaction and the server.

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::functions::{ScalarBody, flag, int, text, texted};
use crate::pg_catalog::names;
use crate::pg_catalog::relations::all;
use crate::pg_catalog::run::{Effect, Run};
use crate::pgtype::PgType;
use crate::pgtype::calendar::US_PER_DAY;
use crate::pgtype::cast::instant_to_local;
use crate::pgtype::datum::{ArrayDatum, Datum};
use crate::session::settings::Scope;
use crate::sql::functions::session::VERSION;
use crate::sqlstate;

pub(super) const FUNCTIONS: &[(&str, ScalarBody)] = &[
    ("version() text", |_, _| texted(VERSION)),
    ("current_user() name", |run, _| texted(run.context.role.name.as_str())),
    ("session_user() name", |run, _| texted(run.context.role.name.as_str())),
    ("user() name", |run, _| texted(run.context.role.name.as_str())),
    ("current_role() name", |run, _| texted(run.context.role.name.as_str())),
    ("current_database() name", |run, _| texted(run.context.database.as_str())),
    ("current_catalog() name", |run, _| texted(run.context.database.as_str())),
    ("current_schema() name", |run, _| {
        Ok(existing_path(run, false).into_iter().next().map_or(Datum::Null, Datum::Text))
    }),
    ("current_schemas(bool) name[]", |run, values| {
        let path = existing_path(run, flag(values, 0));
        Ok(Datum::Array(ArrayDatum::list(PgType::NAME, path.into_iter().map(Datum::Text).collect())))
    }),
    ("pg_backend_pid() int4", |run, _| Ok(Datum::Int4(run.context.process))),
    ("current_setting(text) text", |run, values| texted(run.context.settings.show(text(values, 0))?)),
    ("current_setting(text,bool) text", |run, values| match run.context.settings.show(text(values, 0)) {
        Ok(value) => texted(value),
        Err(_) if flag(values, 1) => Ok(Datum::Null),
        Err(error) => Err(error),
    }),
    ("*set_config(text,text,bool) text", set_config),
    ("now() timestamptz", now),
    ("current_timestamp() timestamptz", now),
    ("transaction_timestamp() timestamptz", now),
    ("statement_timestamp() timestamptz", now),
    ("clock_timestamp() timestamptz", |run, _| Ok(Datum::Timestamptz(run.context.clock.wall_us()))),
    ("gen_random_uuid() uuid", |run, _| {
        let mut bytes = [0; 16];
        run.context.random.fill(&mut bytes);
        // Version 4, of random bits, in the variant of RFC 4122.
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Ok(Datum::Uuid(bytes))
    }),
    ("localtimestamp() timestamp", |run, _| Ok(Datum::Timestamp(local(run)?))),
    ("current_date() date", |run, _| {
        Ok(i32::try_from(local(run)?.div_euclid(US_PER_DAY)).map_or(Datum::Null, Datum::Date))
    }),
    ("pg_postmaster_start_time() timestamptz", |run, _| Ok(Datum::Timestamptz(run.context.started_us))),
    ("pg_conf_load_time() timestamptz", |run, _| Ok(Datum::Timestamptz(run.context.started_us))),
    ("pg_is_in_recovery() bool", |_, _| Ok(Datum::Bool(false))),
    ("pg_is_wal_replay_paused() bool", |_, _| Ok(Datum::Bool(false))),
    ("pg_my_temp_schema() oid", |_, _| Ok(Datum::Oid(0))),
    ("pg_is_other_temp_schema(oid) bool", |_, _| Ok(Datum::Bool(false))),
    ("pg_client_encoding() name", |_, _| texted("UTF8")),
    ("getdatabaseencoding() name", |_, _| texted("UTF8")),
    ("inet_server_addr() inet", |_, _| Ok(Datum::Null)),
    ("inet_server_port() int4", |_, _| Ok(Datum::Null)),
    ("inet_client_addr() inet", |_, _| Ok(Datum::Null)),
    ("inet_client_port() int4", |_, _| Ok(Datum::Null)),
    ("pg_advisory_unlock_all() void", |_, _| Ok(Datum::Void)),
    ("pg_cancel_backend(int4) bool", |run, values| {
        let process = other_session(run, values, "cancel a query of")?;
        Ok(Datum::Bool(process.is_some_and(|process| run.context.sessions.cancel_process(process))))
    }),
    ("pg_terminate_backend(int4) bool", |run, values| {
        let process = other_session(run, values, "terminate a process of")?;
        Ok(Datum::Bool(process.is_some_and(|process| run.context.sessions.end_process(process))))
    }),
    ("pg_blocking_pids(int4) int4[]", |_, _| Ok(Datum::Array(ArrayDatum::list(PgType::INT4, Vec::new())))),
    ("pg_safe_snapshot_blocking_pids(int4) int4[]", |_, _| {
        Ok(Datum::Array(ArrayDatum::list(PgType::INT4, Vec::new())))
    }),
    ("pg_encoding_to_char(int4) name", |_, values| match int(values, 0) {
        0 => texted("SQL_ASCII"),
        6 => texted("UTF8"),
        8 => texted("LATIN1"),
        _ => texted(""),
    }),
    ("pg_char_to_encoding(name) int4", |_, values| {
        let name = text(values, 0).to_ascii_uppercase().replace(['-', '_'], "");
        Ok(Datum::Int4(match name.as_str() {
            "UTF8" | "UNICODE" => 6,
            "SQLASCII" => 0,
            "LATIN1" => 8,
            _ => -1,
        }))
    }),
];

fn now(run: &Run<'_>, _: &[Datum]) -> SqlResult<Datum> {
    Ok(Datum::Timestamptz(run.context.format.now_us))
}

fn local(run: &Run<'_>) -> SqlResult<i64> {
    instant_to_local(run.context.format.now_us, &run.context.format)
}

/// The namespaces of the search path that there are.
fn existing_path(run: &Run<'_>, with_implicit: bool) -> Vec<String> {
    debug_assert!(!all().is_empty(), "the catalog's own relations are there");
    let path =
        if with_implicit { names::path(run.context) } else { run.context.settings.search_path().to_vec() };
    path.into_iter().filter(|name| names::namespace_oid(run.context, name).is_some()).collect()
}

/// The value is tried here and becomes the session's when the statement has succeeded.
fn set_config(run: &Run<'_>, values: &[Datum]) -> SqlResult<Datum> {
    if values[0].is_null() {
        let message = "SET requires parameter name";
        return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
    }
    let scope = if flag(values, 2) { Scope::Transaction } else { Scope::Session };
    let (name, value) = (text(values, 0), text(values, 1));
    let mut settings = run.context.settings.clone();
    settings.set(name, value, scope)?;
    let shown = settings.show(name)?;
    run.effect(Effect::SetParameter { name: name.to_owned(), value: value.to_owned(), scope });
    texted(shown)
}

/// The session with this number, if there is one and the role may interfere with it.
fn other_session(run: &Run<'_>, values: &[Datum], what: &str) -> SqlResult<Option<i32>> {
    let process = i32::try_from(int(values, 0)).unwrap_or(0);
    let Some(activity) = run.context.sessions.activity_of(process) else { return Ok(None) };
    let role = &run.context.role;
    if role.superuser || activity.role.is_some_and(|(id, _)| id == role.id) {
        return Ok(Some(process));
    }
    let message = format!("permission denied to {what} another role");
    Err(SqlError::new(sqlstate::INSUFFICIENT_PRIVILEGE, message))
}
