//! Rows about the session and the server.

use crate::pg_catalog::names;
use crate::pg_catalog::plan::Row;
use crate::pg_catalog::relations::made::{DATABASE, text};
use crate::pg_catalog::run::Run;
use crate::pgtype::PgType;
use crate::pgtype::datum::{ArrayDatum, Datum};
use crate::session::activity::{Activity, Doing};
use crate::session::parameters::{self, Definition, Kind};
use crate::session::prepared::NamedStatement;

/// The rows of a relation that is made here.
pub(super) fn rows(name: &str, run: &Run<'_>) -> Option<Vec<Row>> {
    Some(match name {
        "pg_settings" => parameters::ALL.iter().map(|it| setting(it, run)).collect(),
        "pg_stat_activity" => activity(run),
        "pg_prepared_statements" => statements(run),
        _ => return None,
    })
}

fn setting(definition: &Definition, run: &Run<'_>) -> Row {
    let value = run.context.settings.stored(definition).to_owned();
    let is_internal = definition.kind == Kind::Internal;
    let (kind, unit, bounds) = match definition.kind {
        Kind::Bool => ("bool", None, None),
        Kind::Int { min, max } => ("integer", None, Some((min, max))),
        Kind::Milliseconds => ("integer", Some("ms"), Some((0, i64::from(i32::MAX)))),
        Kind::Enum(_) => ("enum", None, None),
        _ => ("string", None, None),
    };
    let values = match definition.kind {
        Kind::Enum(values) => {
            let values = values.iter().map(|value| text(*value)).collect();
            Datum::Array(ArrayDatum::list(PgType::TEXT, values))
        }
        _ => Datum::Null,
    };
    let bound = |pick: fn((i64, i64)) -> i64| bounds.map_or(Datum::Null, |it| text(pick(it).to_string()));
    let is_default = value == definition.default;
    let source = if is_default || is_internal { "default" } else { "session" };
    Row::from(vec![
        text(definition.name),
        text(value.clone()),
        unit.map_or(Datum::Null, text),
        text(if is_internal { "Preset Options" } else { "Client Connection Defaults" }),
        text(definition.description),
        Datum::Null,
        text(if is_internal { "internal" } else { "user" }),
        text(kind),
        text(source),
        bound(|it| it.0),
        bound(|it| it.1),
        values,
        text(definition.default),
        text(definition.default),
        Datum::Null,
        Datum::Null,
        Datum::Bool(false),
    ])
}

/// What the session prepared. All statements are planned for all values of their parameters.
fn statements(run: &Run<'_>) -> Vec<Row> {
    let named = run.context.statements.iter().filter(|(name, _)| !name.is_empty());
    let row = |(name, it): (&String, &NamedStatement)| {
        let types = it.prepared.parameters.iter();
        let types = types.map(|it| names::reg(it.oid(), &PgType::REGTYPE, run.context)).collect();
        Row::from(vec![
            text(name.as_str()),
            text(&*it.text),
            Datum::Timestamptz(it.prepared_us),
            Datum::Array(ArrayDatum::list(PgType::REGTYPE, types)),
            Datum::Bool(it.from_sql),
            Datum::Int8(it.run_count()),
            Datum::Int8(0),
        ])
    };
    named.map(row).collect()
}

/// Superusers and a session's own role see what it does; others see that it is there.
fn activity(run: &Run<'_>) -> Vec<Row> {
    let context = run.context;
    let time = |us: Option<i64>| us.map_or(Datum::Null, Datum::Timestamptz);
    let row = |(process, activity): (i32, Activity)| {
        let is_own = activity.role.as_ref().is_some_and(|(id, _)| *id == context.role.id);
        let seen = context.role.superuser || is_own;
        let shown = |value: Datum| if seen { value } else { Datum::Null };
        let role = activity.role.as_ref();
        Row::from(vec![
            Datum::Oid(DATABASE),
            text(context.database.as_str()),
            Datum::Int4(process),
            Datum::Null,
            role.map_or(Datum::Null, |(id, _)| Datum::Oid(id.0)),
            role.map_or(Datum::Null, |(_, name)| text(name.as_str())),
            text(activity.application_name),
            Datum::Null,
            Datum::Null,
            Datum::Null,
            shown(time(Some(activity.started_us))),
            shown(time(activity.transaction_us)),
            shown(time(activity.statement_us)),
            shown(time(Some(activity.changed_us))),
            shown(if activity.doing == Doing::Active { Datum::Null } else { text("Client") }),
            shown(if activity.doing == Doing::Active { Datum::Null } else { text("ClientRead") }),
            shown(text(activity.doing.as_str())),
            Datum::Null,
            Datum::Null,
            Datum::Null,
            text(if seen { &*activity.text } else { "<insufficient privilege>" }),
            text("client backend"),
        ])
    };
    context.sessions.activities().into_iter().map(row).collect()
}
