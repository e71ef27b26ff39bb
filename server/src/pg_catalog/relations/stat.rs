//! Rows about the session and the server.

use crate::pg_catalog::plan::Row;
use crate::pg_catalog::relations::made::{DATABASE, text};
use crate::pg_catalog::run::Run;
use crate::pgtype::PgType;
use crate::pgtype::datum::{ArrayDatum, Datum};
use crate::session::parameters::{self, Definition, Kind};

/// The rows of a relation that is made here.
pub(super) fn rows(name: &str, run: &Run<'_>) -> Option<Vec<Row>> {
    Some(match name {
        "pg_settings" => parameters::ALL.iter().map(|it| setting(it, run)).collect(),
        "pg_stat_activity" => activity(run),
        "pg_stat_database" => Vec::new(),
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

fn activity(run: &Run<'_>) -> Vec<Row> {
    let context = run.context;
    let row = |process: i32| {
        // Of other sessions only their number is known here.
        let own = process == context.process;
        let known = |value: Datum| if own { value } else { Datum::Null };
        Row::from(vec![
            Datum::Oid(DATABASE),
            text(context.database.as_str()),
            Datum::Int4(process),
            Datum::Null,
            known(Datum::Oid(context.role.id.0)),
            known(text(context.role.name.as_str())),
            known(text(context.settings.application_name())),
            Datum::Null,
            Datum::Null,
            Datum::Null,
            Datum::Null,
            known(Datum::Timestamptz(context.format.now_us)),
            known(Datum::Timestamptz(context.format.now_us)),
            known(Datum::Timestamptz(context.format.now_us)),
            Datum::Null,
            Datum::Null,
            known(text("active")),
            Datum::Null,
            Datum::Null,
            Datum::Null,
            known(text("")),
            text("client backend"),
        ])
    };
    context.sessions.processes().into_iter().map(row).collect()
}
