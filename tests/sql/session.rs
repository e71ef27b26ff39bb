//! A connection that statements are sent through, one after the other.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use futures_util::TryStreamExt;
use tokio::runtime::Runtime;
use tokio_postgres::error::ErrorPosition;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::file::{Statement, Table};

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Tidemark,
    Postgres,
}

/// Values of parameters as text, where a statement has any.
pub(crate) type Parameters = Option<Vec<Option<String>>>;

/// What a statement was answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It is done, and so many rows were changed.
    Done(u64),
    /// A line of names and types, and a line for each row.
    Rows {
        columns: String,
        rows: Vec<String>,
    },
    Error {
        state: String,
        position: Option<u32>,
        message: String,
    },
}

pub(crate) struct Session {
    engine: Engine,
    client: Client,
    runtime: Runtime,
}

impl Session {
    pub(crate) fn open(connection_string: &str, engine: Engine) -> Session {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let (client, connection) = runtime
            .block_on(tokio_postgres::connect(connection_string, NoTls))
            .unwrap_or_else(|error| panic!("{connection_string}: {error:?}"));
        runtime.spawn(async move {
            // A connection that breaks is seen by the statement that waits for it.
            connection.await.ok();
        });
        let session = Session { engine, client, runtime };
        for setting in ["TIME ZONE 'UTC'", "DateStyle = 'ISO, MDY'", "client_min_messages = warning"] {
            session
                .runtime
                .block_on(session.client.batch_execute(&format!("SET {setting}")))
                .expect("it is set");
        }
        session
    }

    pub(crate) fn answer(&mut self, statement: &Statement) -> Answer {
        let sql = match &statement.table {
            Some(table) => self.create_table(table, &statement.sql),
            None => statement.sql.clone(),
        };
        let answer = self.runtime.block_on(async {
            match &statement.parameters {
                Some(values) => execute(&self.client, &sql, values).await,
                None => query(&self.client, &sql).await,
            }
        });
        answer.unwrap_or_else(|error| error_answer(&error, &sql))
    }

    fn create_table(&self, Table { name, time_key, dedup_key }: &Table, columns: &str) -> String {
        match self.engine {
            Engine::Tidemark => {
                let key = dedup_key.as_ref().map(|columns| format!(", dedup_key = '{columns}'"));
                let key = key.unwrap_or_default();
                format!(
                    "CREATE TABLE {name} ({columns}) WITH (kind = 'timeseries', time_key = '{time_key}'{key})"
                )
            }
            Engine::Postgres => {
                // In a dedup key NULLs are equal.
                let key = dedup_key.as_ref().map(|key| format!(", UNIQUE NULLS NOT DISTINCT ({key})"));
                let key = key.unwrap_or_default();
                format!("CREATE TABLE {name} ({}{key})", columns.replace(" symbol", " text"))
            }
        }
    }
}

fn error_answer(error: &tokio_postgres::Error, sql: &str) -> Answer {
    let error = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}"));
    let position = match error.position() {
        Some(ErrorPosition::Original(position)) => Some(*position),
        _ => None,
    };
    Answer::Error { state: error.code().code().to_owned(), position, message: error.message().to_owned() }
}

/// By the simple protocol, whose values are texts; the extended one tells the types of columns.
async fn query(client: &Client, sql: &str) -> Result<Answer, tokio_postgres::Error> {
    let messages: Vec<SimpleQueryMessage> = client.simple_query_raw(sql).await?.try_collect().await?;
    let mut has_rows = false;
    let mut changed = 0;
    let mut rows = Vec::new();
    for message in &messages {
        match message {
            SimpleQueryMessage::CommandComplete(count) => changed = *count,
            SimpleQueryMessage::RowDescription(_) => has_rows = true,
            SimpleQueryMessage::Row(row) => {
                let cells: Vec<String> = (0..row.len()).map(|at| cell(row.get(at))).collect();
                rows.push(cells.join(" | "));
            }
            _ => {}
        }
    }
    if !has_rows {
        return Ok(Answer::Done(changed));
    }
    let described = client.prepare(sql).await?;
    let columns = described.columns().iter().map(|it| heading(it.name(), it.type_())).collect::<Vec<_>>();
    Ok(Answer::Rows { columns: columns.join(" | "), rows })
}

fn heading(name: &str, column_type: &Type) -> String {
    format!("{name} {}", column_type.name())
}

/// A value as it stands in a file, on one line.
fn cell(value: Option<&str>) -> String {
    match value {
        None => "NULL".to_owned(),
        Some("") => "(empty)".to_owned(),
        Some(text) => {
            text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t")
        }
    }
}

/// By the extended protocol, with parameters as texts. A query is answered in texts when all its
/// columns are.
async fn execute(
    client: &Client,
    sql: &str,
    values: &[Option<String>],
) -> Result<Answer, tokio_postgres::Error> {
    let prepared = client.prepare(sql).await?;
    let parameters: Vec<Text<'_>> = values.iter().map(|value| Text(value.as_deref())).collect();
    if prepared.columns().is_empty() {
        return Ok(Answer::Done(client.execute_raw(&prepared, parameters).await?));
    }
    let rows: Vec<_> = client.query_raw(&prepared, parameters).await?.try_collect().await?;
    let mut lines = Vec::new();
    for row in &rows {
        let cells = (0..row.len()).map(|at| row.try_get(at).map(cell)).collect::<Result<Vec<_>, _>>()?;
        lines.push(cells.join(" | "));
    }
    let mut columns: Vec<String> =
        prepared.columns().iter().map(|it| heading(it.name(), it.type_())).collect();
    for (at, parameter) in prepared.params().iter().enumerate() {
        columns.push(heading(&format!("${}", at + 1), parameter));
    }
    Ok(Answer::Rows { columns: columns.join(" | "), rows: lines })
}

/// A parameter in text format, of whatever type the server says it has.
#[derive(Debug)]
struct Text<'a>(Option<&'a str>);

impl ToSql for Text<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self.0 {
            None => Ok(IsNull::Yes),
            Some(text) => {
                out.put_slice(text.as_bytes());
                Ok(IsNull::No)
            }
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    tokio_postgres::types::to_sql_checked!();
}
