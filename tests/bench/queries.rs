//! `bench queries` and `bench generate-queries`: the queries over the PostgreSQL protocol, or as text.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;
use tokio_postgres::types::{FromSql, Type};
use tokio_postgres::{Client, Row};

use crate::answer::{Cell, Rows};
use crate::dialect::{DIALECTS, ServerTarget};
use crate::dns;
use crate::measure::{self, Plan, System};
use crate::postgres;
use crate::workload::{Query, Workload, queries};
use tidemark_tests::failure::{Failure, Result};

/// From the epoch of Unix to that of PostgreSQL.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[arg(long, value_enum, default_value_t = ServerTarget::Tidemark)]
    target: ServerTarget,
    /// Where PostgreSQL clients connect
    #[arg(long, value_name = "PARAMETERS", default_value = postgres::DEFAULT_CONNECTION)]
    pg: String,
    /// Prepare each query once, so that a time is that of binding and executing it
    #[arg(long)]
    prepared: bool,
    #[command(flatten)]
    workload: Workload,
    #[command(flatten)]
    plan: Plan,
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(arguments: &Arguments) -> Result<()> {
    let client = postgres::connect(&arguments.pg).await?;
    let mut server = Server { client, prepared: arguments.prepared.then(BTreeMap::new) };
    let queries = queries(&arguments.workload, arguments.target.dialect());
    measure::run(&mut server, &queries, &arguments.plan).await
}

/// A server behind a driver that fetches all rows in binary.
struct Server {
    client: Client,
    /// The prepared statements by their text, when statements are to be prepared once.
    prepared: Option<BTreeMap<String, tokio_postgres::Statement>>,
}

impl System for Server {
    type Answer = Vec<Row>;

    async fn run(&mut self, sql: &str) -> Result<Vec<Row>> {
        let Some(prepared) = &mut self.prepared else { return Ok(self.client.query(sql, &[]).await?) };
        if !prepared.contains_key(sql) {
            prepared.insert(sql.to_owned(), self.client.prepare(sql).await?);
        }
        let no_parameters: [&str; 0] = [];
        let rows = self.client.query_raw(&prepared[sql], no_parameters).await?;
        Ok(rows.boxed().try_collect().await?)
    }

    fn row_count(answer: &Vec<Row>) -> usize {
        answer.len()
    }

    fn rows(answer: &Vec<Row>) -> Result<Rows> {
        let cells = |row: &Row| (0..row.len()).map(|at| Ok(row.try_get::<_, Cell>(at)?)).collect();
        answer.iter().map(cells).collect()
    }
}

impl<'a> FromSql<'a> for Cell {
    fn from_sql(column_type: &Type, raw: &'a [u8]) -> std::result::Result<Self, Failure> {
        Ok(match *column_type {
            Type::TIMESTAMP | Type::TIMESTAMPTZ => {
                let time_us = i64::from_be_bytes(raw.try_into()?) + POSTGRES_EPOCH_US;
                Self::Instant(time_us * 1000)
            }
            Type::INT8 => Self::Integer(i64::from_be_bytes(raw.try_into()?)),
            Type::INT4 => Self::Integer(i64::from(i32::from_be_bytes(raw.try_into()?))),
            Type::FLOAT8 => Self::Float(f64::from_be_bytes(raw.try_into()?)),
            _ => Self::Text(std::str::from_utf8(raw)?.to_owned()),
        })
    }

    fn from_sql_null(_: &Type) -> std::result::Result<Self, Failure> {
        Ok(Self::Null)
    }

    fn accepts(column_type: &Type) -> bool {
        matches!(
            *column_type,
            Type::TIMESTAMP
                | Type::TIMESTAMPTZ
                | Type::INT8
                | Type::INT4
                | Type::FLOAT8
                | Type::TEXT
                | Type::VARCHAR
        )
    }
}

#[derive(Args, Debug)]
pub(crate) struct GenerateArguments {
    #[arg(long, value_enum, default_value_t = OutputFormat::Json)]
    format: OutputFormat,
    #[arg(long, value_enum, default_value_t = Subject::Cpu)]
    data_set: Subject,
    #[command(flatten)]
    workload: Workload,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OutputFormat {
    Json,
}

/// Which rows are asked about.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Subject {
    /// TSBS devops, cpu-only
    Cpu,
    /// A resolver's log
    Dns,
}

/// What a system is told in a comparison.
#[derive(Debug, Serialize)]
pub(crate) struct Statements {
    pub(crate) create: Vec<String>,
    pub(crate) settle: Vec<String>,
    pub(crate) queries: Vec<Query>,
}

/// Prints DDL and queries for every system.
pub(crate) fn generate(arguments: &GenerateArguments) -> Result<()> {
    let OutputFormat::Json = arguments.format;
    let statements: BTreeMap<_, _> = DIALECTS
        .into_iter()
        .map(|dialect| {
            let of_dialect = match arguments.data_set {
                Subject::Cpu => Statements {
                    create: dialect.create(false),
                    settle: dialect.settle(),
                    queries: queries(&arguments.workload, dialect),
                },
                Subject::Dns => dns::statements(dialect),
            };
            (dialect, of_dialect)
        })
        .collect();
    println!("{}", serde_json::to_string_pretty(&statements)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_read_from_the_binary_form() {
        let cell = |column_type: Type, raw: &[u8]| Cell::from_sql(&column_type, raw).unwrap();
        assert_eq!(cell(Type::TIMESTAMPTZ, &1_i64.to_be_bytes()), Cell::Instant(946_684_800_000_001_000));
        assert_eq!(cell(Type::INT8, &7_i64.to_be_bytes()), Cell::Integer(7));
        assert_eq!(cell(Type::FLOAT8, &1.5_f64.to_be_bytes()), Cell::Float(1.5));
        assert_eq!(cell(Type::TEXT, b"host_1"), Cell::Text("host_1".to_owned()));
        assert!(Cell::from_sql(&Type::INT8, b"short").is_err());
    }
}
