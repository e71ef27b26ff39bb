//! Queries over the catalog and over nothing, with the answers that PostgreSQL gives.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock, Mutex};

use sqlparser::ast::Statement;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use tidemark_catalog::collection::{
    CalendarInterval, Collection, CollectionKind, IntervalUnit, TimeseriesOptions,
};
use tidemark_catalog::edit::{CatalogEdit, Change};
use tidemark_catalog::ids::{BOOTSTRAP_ROLE, CollectionId, ColumnId, Lsn, NAMESPACE_PUBLIC, RoleId};
use tidemark_catalog::producer::Producer;
use tidemark_catalog::role::Role;
use tidemark_catalog::schema::{NewColumn, Nullability, Schema};
use tidemark_catalog::store::CatalogFile;
use tidemark_catalog::types::{ColumnType, NumericModifier, TimeUnit};
use tidemark_catalog::view::View;
use tidemark_catalog::{Bootstrap, Catalog};

use super::*;
use crate::pgtype::text::to_text;
use crate::pgtype::timezone::TimeZone;

mod expressions;
mod queries;

/// The storage of a catalog that nobody reads again.
#[derive(Debug, Default)]
struct Memory(Mutex<Vec<u8>>);

impl CatalogFile for Memory {
    fn byte_len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        out.copy_from_slice(&self.0.lock().unwrap()[start..start + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().unwrap().resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        self.0.lock().unwrap()[start..start + data.len()].copy_from_slice(data);
        Ok(())
    }
}

/// A catalog with one collection: `m (ts timestamptz not null, host symbol, n numeric(10,2))`.
fn view() -> Arc<View> {
    let bootstrap = || Bootstrap { superuser: "tidemark".to_owned(), verifier: None, system_identifier: 1 };
    let catalog = Catalog::open(Box::new(Memory::default()), bootstrap).unwrap();
    let column = |name: &str, column_type, nullability| NewColumn::new(name, column_type, nullability);
    let numeric = NumericModifier { precision: 10, scale: 2 };
    let schema = Schema::new(vec![
        column("ts", ColumnType::Timestamptz(TimeUnit::Microsecond), Nullability::Required),
        column("host", ColumnType::Symbol, Nullability::Nullable),
        column("n", ColumnType::Numeric(Some(numeric)), Nullability::Nullable),
    ]);
    let collection = Collection {
        id: CollectionId(16384),
        namespace: NAMESPACE_PUBLIC,
        name: "m".to_owned(),
        owner: BOOTSTRAP_ROLE,
        schema: Arc::new(schema.unwrap()),
        kind: CollectionKind::Timeseries(TimeseriesOptions {
            series_key: vec![ColumnId(2)],
            ..TimeseriesOptions::new(
                ColumnId(1),
                CalendarInterval { count: NonZeroU32::MIN, unit: IntervalUnit::Day },
            )
        }),
        flushed_lsn: Lsn::ZERO,
    };
    let edit = CatalogEdit::new().with(Change::CreateCollection(Arc::new(collection)));
    catalog.commit(&edit).unwrap()
}

static VIEW: LazyLock<Arc<View>> = LazyLock::new(view);

/// A server on which one has numbered what it wrote.
#[derive(Debug)]
struct Quiet;

impl System for Quiet {
    fn producers(&self) -> Vec<(String, Producer)> {
        vec![("p".to_owned(), Producer { sequence: u64::MAX, lsn: Lsn(7), system_time_us: 0 })]
    }
}

/// A session on a server with one collection.
fn context() -> CatalogContext {
    let role =
        Role { id: RoleId(10), name: "tidemark".to_owned(), superuser: true, login: true, verifier: None };
    let settings = SessionSettings::at_start(&role, &BTreeMap::new()).unwrap();
    CatalogContext {
        view: Arc::clone(&VIEW),
        sessions: Registry::new(10),
        role,
        database: "tidemark".to_owned(),
        settings,
        format: FormatSettings::initial(TimeZone::utc(), 1_600_000_000_000_000),
        process: 7,
        started_us: 1_500_000_000_000_000,
        statements: Statements::default(),
        tables: None,
        cancel: CancellationToken::new(),
        clock: tidemark_engine::env::os::env().clock,
        random: tidemark_engine::env::os::env().random,
        system: Arc::new(Quiet),
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
    let query = match CatalogQuery::analyze(&parse(text), &[], &context, Reach::Catalog) {
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
