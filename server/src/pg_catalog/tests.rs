//! Queries over the catalog and over nothing, with the answers that PostgreSQL gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlparser::ast::Statement;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use tidemark_catalog::ids::RoleId;
use tidemark_catalog::role::Role;
use tidemark_catalog::view::View;

use super::*;
use crate::pgtype::text::to_text;
use crate::pgtype::timezone::TimeZone;

mod expressions;
mod queries;

/// A session on an empty server.
fn context() -> CatalogContext {
    let role =
        Role { id: RoleId(10), name: "tidemark".to_owned(), superuser: true, login: true, verifier: None };
    let settings = SessionSettings::at_start(&role, &BTreeMap::new()).unwrap();
    CatalogContext {
        view: Arc::new(View::default()),
        sessions: Registry::new(10),
        role,
        database: "tidemark".to_owned(),
        settings,
        format: FormatSettings::initial(TimeZone::utc(), 1_600_000_000_000_000),
        process: 7,
        started_us: 1_500_000_000_000_000,
    }
}

fn parse(text: &str) -> Query {
    match Parser::parse_sql(&PostgreSqlDialect {}, text).unwrap().pop() {
        Some(Statement::Query(query)) => *query,
        other => panic!("no query: {other:?}"),
    }
}

/// The rows of a query, with `|` between values as `psql -At` writes them; or how it failed.
fn answer(text: &str) -> String {
    let context = context();
    let error = |error: &SqlError| format!("{}: {}", error.state().code(), error.message());
    let query = match CatalogQuery::analyze(&parse(text), &[], &context) {
        Ok(query) => query,
        Err(NotAnswered::NotOurs) => return "not ours".to_owned(),
        Err(NotAnswered::Error(fault)) => return error(&fault),
    };
    let rows = match query.run(&[], &context) {
        Ok(answer) => answer.rows,
        Err(fault) => return error(&fault),
    };
    let fields = query.fields();
    let line = |row: &Vec<Datum>| {
        assert_eq!(row.len(), fields.len(), "{text}");
        let values = row.iter().zip(fields.iter());
        let values = values.map(|(value, field)| to_text(value, &field.pg_type, &context.format));
        values.collect::<Vec<_>>().join("|")
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn check(cases: &[(&str, &str)]) {
    for (text, wanted) in cases {
        assert_eq!(answer(text), *wanted, "{text}");
    }
}
