//! The server as an import meets it over the PostgreSQL protocol.
//!
//! A batch is a transaction: the number of the batch, COPY, a look at how many rows the server counted,
//! commit. So a file whose records the server counts otherwise than we do is noticed before anything of
//! the batch is applied.

use std::collections::HashSet;
use std::error::Error as _;

use bytes::Bytes;
use futures::SinkExt;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::config::BOOTSTRAP_NAME;
use crate::config::command::{FileFormat, ImportArguments};
use crate::import::ATTEMPTS_MAX;
use crate::import::error::{BatchError, ImportError};
use crate::import::sniff::folded;
use crate::import::source::Batch;
use crate::pg_catalog::{quote_ident, quote_literal};

/// So much is in one message.
const MESSAGE_BYTES: usize = 256 << 10;

/// A connection.
pub(super) struct CopyTarget {
    client: Client,
    address: String,
}

/// A table of the server.
#[derive(Debug)]
pub(super) struct Table {
    oid: String,
    /// With its schema, quoted where that is needed.
    name: String,
    columns: Vec<String>,
}

impl CopyTarget {
    /// Connects.
    pub(super) async fn connect(arguments: &ImportArguments) -> Result<CopyTarget, ImportError> {
        let address = arguments.pg.clone();
        let failed = |reason: String| ImportError::Connect { address: address.clone(), reason };
        let (host, port) = address.rsplit_once(':').ok_or_else(|| failed("give HOST:PORT".to_owned()))?;
        let port = port.parse().map_err(|_| failed(format!("\"{port}\" is not a port")))?;
        let mut config = tokio_postgres::Config::new();
        config
            .host(host.trim_matches(['[', ']']))
            .port(port)
            .user(&arguments.user)
            .dbname(BOOTSTRAP_NAME)
            .application_name("tidemark import");
        if let Some(password) = &arguments.password {
            config.password(password);
        }
        let (client, connection) = config.connect(NoTls).await.map_err(|error| failed(reason(&error)))?;
        // Its failure is told to whoever waits for an answer.
        tokio::spawn(async move { connection.await.ok() });
        let target = CopyTarget { client, address: address.clone() };
        // Values of Parquet are written so, whatever the role's own settings are.
        target.run("preparing the session", "SET DateStyle = 'ISO, YMD'; SET TimeZone = 'UTC'").await?;
        Ok(target)
    }

    async fn run(&self, doing: &'static str, sql: &str) -> Result<(), ImportError> {
        self.client.batch_execute(sql).await.map_err(|error| self.refused(doing, &error))
    }

    async fn rows(&self, doing: &'static str, sql: &str) -> Result<Vec<Vec<String>>, ImportError> {
        let messages = self.client.simple_query(sql).await.map_err(|error| self.refused(doing, &error))?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let values = |row: &tokio_postgres::SimpleQueryRow| {
            (0..row.len()).map(|at| row.get(at).unwrap_or_default().to_owned()).collect()
        };
        Ok(rows.map(values).collect())
    }

    fn refused(&self, doing: &'static str, error: &tokio_postgres::Error) -> ImportError {
        match error.as_db_error() {
            Some(said) if !ends_connection(said.code()) => {
                ImportError::Refused { doing, reason: reason(error) }
            }
            _ => ImportError::Lost { address: self.address.clone(), reason: reason(error) },
        }
    }

    /// The table with this name, if there is one.
    pub(super) async fn find_table(&self, name: &str) -> Result<Option<Table>, ImportError> {
        const DOING: &str = "looking for the table";
        let (namespace, name) = split_name(name)?;
        let quoted = match namespace {
            Some(namespace) => format!("{}.{}", quote_ident(&namespace), quote_ident(&name)),
            None => quote_ident(&name),
        };
        let sql = format!(
            "SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass({})",
            quote_literal(&quoted)
        );
        let found = self.rows(DOING, &sql).await?;
        let Some([oid, namespace, name]) = found.first().map(Vec::as_slice) else { return Ok(None) };
        let sql = format!(
            "SELECT attname FROM pg_catalog.pg_attribute \
             WHERE attrelid = {oid} AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        );
        let columns = self.rows(DOING, &sql).await?.into_iter().flatten().collect();
        let name = format!("{}.{}", quote_ident(namespace), quote_ident(name));
        Ok(Some(Table { oid: oid.clone(), name, columns }))
    }

    /// Makes a table.
    pub(super) async fn create_table(&self, definition: &str) -> Result<(), ImportError> {
        self.run("making the table", definition).await
    }

    /// The number of the last batch of a producer that is committed.
    pub(super) async fn last_sequence(&self, producer: &str) -> Result<Option<u64>, ImportError> {
        let sql = format!("SELECT sequence FROM tidemark.producers WHERE name = {}", quote_literal(producer));
        let rows = self.rows("asking how much is loaded", &sql).await?;
        Ok(rows.first().and_then(|row| row.first()?.parse().ok()))
    }

    /// Loads a batch with its number, unless it was loaded before.
    pub(super) async fn copy(
        &mut self,
        statement: &str,
        number: (&str, u64),
        batch: &Batch,
    ) -> Result<(), BatchError> {
        for _ in 1..ATTEMPTS_MAX {
            match self.try_copy(statement, number, batch).await {
                Err(BatchFailure::Busy) => {}
                outcome => return outcome.map_err(|failure| self.failed(failure, batch)),
            }
        }
        let last = self.try_copy(statement, number, batch).await;
        last.map_err(|failure| self.failed(failure, batch))
    }

    async fn try_copy(
        &mut self,
        statement: &str,
        (producer, sequence): (&str, u64),
        batch: &Batch,
    ) -> Result<(), BatchFailure> {
        let begin = format!(
            "BEGIN; SET LOCAL tidemark.producer = {}; SET LOCAL tidemark.sequence = {sequence}",
            quote_literal(producer)
        );
        self.client.batch_execute(&begin).await?;
        match self.copy_rows(statement, &batch.data).await {
            Ok(counted) if counted == batch.row_count => Ok(self.client.batch_execute("COMMIT").await?),
            Ok(counted) => {
                self.client.batch_execute("ROLLBACK").await?;
                Err(BatchFailure::Counted(counted))
            }
            Err(error) => {
                // Where the connection is lost there is nothing to roll back.
                self.client.batch_execute("ROLLBACK").await.ok();
                Err(error.into())
            }
        }
    }

    async fn copy_rows(&self, statement: &str, data: &Bytes) -> Result<u64, tokio_postgres::Error> {
        let sink = self.client.copy_in::<_, Bytes>(statement).await?;
        let mut sink = std::pin::pin!(sink);
        let mut rest = data.clone();
        while !rest.is_empty() {
            let message = rest.split_to(rest.len().min(MESSAGE_BYTES));
            sink.send(message).await?;
        }
        sink.finish().await
    }

    fn failed(&self, failure: BatchFailure, batch: &Batch) -> BatchError {
        match failure {
            BatchFailure::Server(error) => match error.as_db_error() {
                Some(said) if is_of_rows(said.code()) => BatchError::Rows(vec![row_error(said)]),
                _ => self.refused("loading rows", &error).into(),
            },
            BatchFailure::Busy => {
                let reason = "the server has had no memory for more rows for too long".to_owned();
                ImportError::Refused { doing: "loading rows", reason }.into()
            }
            BatchFailure::Counted(counted) => {
                let reason = format!(
                    "the server finds {counted} rows where the file has {}: is there a line of `\\.` alone, \
                     or are lines ended by carriage returns?",
                    batch.row_count
                );
                BatchError::Rows(vec![(None, reason)])
            }
        }
    }
}

/// Why a batch was not committed.
enum BatchFailure {
    Server(tokio_postgres::Error),
    /// The server has no room now.
    Busy,
    /// The server counted so many rows.
    Counted(u64),
}

impl From<tokio_postgres::Error> for BatchFailure {
    fn from(error: tokio_postgres::Error) -> BatchFailure {
        match error.code() {
            Some(code)
                if *code == SqlState::OUT_OF_MEMORY || *code == SqlState::T_R_SERIALIZATION_FAILURE =>
            {
                BatchFailure::Busy
            }
            _ => BatchFailure::Server(error),
        }
    }
}

/// Whether the server says goodbye with it.
fn ends_connection(code: &SqlState) -> bool {
    matches!(&code.code()[..2], "57" | "08")
}

/// Whether other rows would be taken: data exceptions and broken constraints.
fn is_of_rows(code: &SqlState) -> bool {
    matches!(&code.code()[..2], "22" | "23")
}

/// The line that an error of COPY names, and what is wrong there.
fn row_error(said: &tokio_postgres::error::DbError) -> (Option<u64>, String) {
    let place = said.where_().unwrap_or_default();
    let (line, rest) = match place.split_once(", line ") {
        Some((_, rest)) => {
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            (rest[..end].parse().ok(), &rest[end..])
        }
        None => (None, ""),
    };
    let mut reason = said.message().to_owned();
    if let Some(column) = rest.strip_prefix(", column ") {
        // The value is in the message.
        let column = column.split_once(": ").map_or(column, |(name, _)| name);
        reason.push_str(&format!(", column {column}"));
    }
    if let Some(detail) = said.detail() {
        reason.push_str(&format!(" ({detail})"));
    }
    (line, reason)
}

fn reason(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        let detail = said.detail().or(said.hint()).map_or(String::new(), |more| format!(" ({more})"));
        return format!("{}{detail}", said.message());
    }
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

impl Table {
    /// What tells it from a table of the same name that was there before.
    pub(super) fn identity(&self) -> &str {
        &self.oid
    }

    /// The statement that takes rows with these columns.
    pub(super) fn copy_statement(
        &self,
        columns: &[String],
        format: FileFormat,
        arguments: &ImportArguments,
    ) -> Result<String, ImportError> {
        let path = || arguments.files.first().cloned().unwrap_or_default();
        let mut seen = HashSet::new();
        let mut names = Vec::new();
        for column in columns {
            let found = self.columns.iter().find(|name| *name == column);
            let found = found.or_else(|| self.columns.iter().find(|name| **name == folded(column)));
            let found = found.ok_or_else(|| ImportError::MissingColumn {
                table: self.name.clone(),
                column: column.clone(),
                path: path(),
            })?;
            if !seen.insert(found) {
                return Err(ImportError::ColumnTwice { column: column.clone(), path: path() });
            }
            names.push(quote_ident(found));
        }
        let options = match format {
            FileFormat::Csv => {
                format!("FORMAT csv, DELIMITER {}", quote_literal(&arguments.delimiter.to_string()))
            }
            _ => "FORMAT text".to_owned(),
        };
        Ok(format!("COPY {} ({}) FROM STDIN ({options})", self.name, names.join(", ")))
    }
}

/// A table's name, with the schema where it names one, as SQL reads it: folded where it has no quotes.
pub(super) fn split_name(text: &str) -> Result<(Option<String>, String), ImportError> {
    let wrong = || ImportError::TableName(text.to_owned());
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let (part, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let end = quoted.find('"').ok_or_else(wrong)?;
                (quoted[..end].to_owned(), &quoted[end + 1..])
            }
            None => {
                let end = rest.find('.').unwrap_or(rest.len());
                (rest[..end].to_lowercase(), &rest[end..])
            }
        };
        if part.is_empty() {
            return Err(wrong());
        }
        parts.push(part);
        match after.strip_prefix('.') {
            Some(next) => rest = next,
            None if after.is_empty() => break,
            None => return Err(wrong()),
        }
    }
    match (parts.pop(), parts.pop(), parts.pop()) {
        (Some(name), namespace, None) => Ok((namespace, name)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_sql_reads_them() {
        let split = |text| split_name(text).ok();
        assert_eq!(split("Cpu"), Some((None, "cpu".to_owned())));
        assert_eq!(split("S.\"Cpu.x\""), Some((Some("s".to_owned()), "Cpu.x".to_owned())));
        for wrong in ["", "a.", ".a", "a.b.c", "\"a", "\"a\"b"] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }
}
