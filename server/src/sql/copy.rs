//! COPY: bulk data in text and CSV, in and out.
//!
//! ```text
//!  CopyData ──channel (bounded)──▶ a thread: records → fields → columns ──batch──▶ bulk write
//! ```
//!
//! COPY FROM commits all of its rows at once, or none: a bad line anywhere, or a client that goes
//! away, leaves the collection as it was. Inside a transaction block the rows are the
//! transaction's, in memory, and limited like all it writes.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use sqlparser::ast::{
    self, CopyLegacyCsvOption, CopyLegacyOption, CopyOption, CopySource, CopyTarget, Statement,
};
use tidemark_engine::batch::WriteBatch;
use tidemark_engine::bulk::BulkWrite;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::settings::FormatSettings;
use crate::server::Server;
use crate::session::field::Fields;
use crate::session::outcome::RowSource;
use crate::sql::names::{self, Resolver, relation_name};
use crate::sql::rows::{RowsBuilder, Target, write_error};
use crate::sqlstate;

pub mod csv;
pub mod reader;
pub mod text;

use crate::sql::copy::reader::Reader;

/// Rows are handed over in batches of this many, or of this many bytes.
const BATCH_ROWS: usize = 32 << 10;
const BATCH_BYTES: usize = 8 << 20;

/// Messages of the client that may wait for the parser.
const CHUNKS_ON_THE_WAY: usize = 16;

/// How rows are written in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyFormat {
    /// CSV, or PostgreSQL's text format.
    pub csv: bool,
    /// Between fields.
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: String,
    /// Whether the first line names the columns.
    pub header: bool,
    /// Around CSV fields.
    pub quote: u8,
    /// Before a quote within one.
    pub escape: u8,
    /// CSV columns that are always quoted, by name; `*` for all.
    pub force_quote: Vec<String>,
}

impl CopyFormat {
    fn text() -> CopyFormat {
        CopyFormat {
            csv: false,
            delimiter: b'\t',
            null: "\\N".to_owned(),
            header: false,
            quote: b'"',
            escape: b'"',
            force_quote: Vec::new(),
        }
    }

    fn csv() -> CopyFormat {
        CopyFormat { csv: true, delimiter: b',', null: String::new(), ..CopyFormat::text() }
    }
}

/// A COPY statement.
#[derive(Debug)]
pub enum Copy {
    /// COPY table FROM STDIN
    In {
        /// Where the rows go.
        target: Arc<Target>,
        /// How they are written.
        format: CopyFormat,
    },
    /// COPY query TO STDOUT
    Out {
        /// What is copied.
        query: Box<ast::Query>,
        /// How it is written.
        format: CopyFormat,
    },
}

/// Understands a COPY statement.
///
/// # Errors
/// As PostgreSQL says them.
pub fn analyze(statement: &Statement, resolver: &Resolver) -> SqlResult<Copy> {
    let Statement::Copy { source, to, target, options, legacy_options, .. } = statement else {
        return Err(SqlError::internal("not a COPY"));
    };
    let format = format(options, legacy_options, *to)?;
    match (to, target) {
        (false, CopyTarget::Stdin) | (true, CopyTarget::Stdout) => {}
        (_, CopyTarget::File { .. }) => {
            return Err(SqlError::unsupported("COPY to or from a file of the server")
                .with_hint("Use COPY FROM STDIN or COPY TO STDOUT; psql's \\copy does it for files."));
        }
        (_, CopyTarget::Program { .. }) => {
            return Err(SqlError::unsupported("COPY to or from a program"));
        }
        _ => {
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, "COPY FROM takes STDIN, COPY TO takes STDOUT"));
        }
    }
    match (to, source) {
        (false, CopySource::Table { table_name, columns }) => {
            let (namespace, name) = relation_name(table_name)?;
            let collection = resolver.collection(namespace.as_deref(), &name)?;
            let columns: Vec<String> = columns.iter().map(names::fold).collect();
            Ok(Copy::In { target: Arc::new(Target::new(collection, &columns)?), format })
        }
        (true, CopySource::Query(query)) => Ok(Copy::Out { query: query.clone(), format }),
        (true, CopySource::Table { table_name, columns }) => {
            Ok(Copy::Out { query: Box::new(select(table_name, columns)?), format })
        }
        (false, CopySource::Query(_)) => {
            Err(SqlError::new(sqlstate::SYNTAX_ERROR, "COPY FROM takes a table"))
        }
    }
}

/// The query that reads a table's columns.
fn select(table: &ast::ObjectName, columns: &[ast::Ident]) -> SqlResult<ast::Query> {
    let columns = if columns.is_empty() {
        "*".to_owned()
    } else {
        columns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let text = format!("SELECT {columns} FROM {table}");
    let parsed = crate::sql::parse::parse(&text, usize::MAX)?.pop();
    match parsed.map(|parsed| parsed.statement) {
        Some(Statement::Query(query)) => Ok(*query),
        _ => Err(SqlError::internal("a SELECT did not parse as one")),
    }
}

fn format(options: &[CopyOption], legacy: &[CopyLegacyOption], to: bool) -> SqlResult<CopyFormat> {
    let named = options.iter().find_map(|option| match option {
        CopyOption::Format(name) => Some(names::fold(name)),
        _ => None,
    });
    let is_csv = legacy.iter().any(|option| matches!(option, CopyLegacyOption::Csv(_)));
    let is_binary = legacy.iter().any(|option| matches!(option, CopyLegacyOption::Binary));
    let mut format = match named.as_deref() {
        _ if is_binary => return Err(SqlError::unsupported("COPY in binary format")),
        None if is_csv => CopyFormat::csv(),
        None | Some("text") => CopyFormat::text(),
        Some("csv") => CopyFormat::csv(),
        Some("binary") => return Err(SqlError::unsupported("COPY in binary format")),
        Some(other) => {
            let message = format!("COPY format \"{other}\" not recognized");
            return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
        }
    };
    for option in options {
        apply(&mut format, option, to)?;
    }
    for option in legacy {
        apply_legacy(&mut format, option)?;
    }
    check(&format)?;
    Ok(format)
}

fn apply(format: &mut CopyFormat, option: &CopyOption, to: bool) -> SqlResult<()> {
    let csv_only = |name: &str| {
        SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("COPY {name} available only in CSV mode"))
    };
    match option {
        CopyOption::Format(_) | CopyOption::Freeze(_) => {}
        CopyOption::Delimiter(delimiter) => format.delimiter = one_byte("delimiter", *delimiter)?,
        CopyOption::Null(null) => format.null.clone_from(null),
        CopyOption::Header(header) => format.header = *header,
        CopyOption::Quote(_) if !format.csv => return Err(csv_only("quote")),
        CopyOption::Quote(quote) => {
            // The escape is the quote unless it is named.
            if format.escape == format.quote {
                format.escape = one_byte("quote", *quote)?;
            }
            format.quote = one_byte("quote", *quote)?;
        }
        CopyOption::Escape(_) if !format.csv => return Err(csv_only("escape")),
        CopyOption::Escape(escape) => format.escape = one_byte("escape", *escape)?,
        CopyOption::ForceQuote(columns) if format.csv && to => {
            format.force_quote = columns.iter().map(names::fold).collect();
        }
        CopyOption::Encoding(encoding) => {
            let name = encoding.to_ascii_lowercase().replace(['-', '_'], "");
            if name != "utf8" {
                return Err(SqlError::unsupported(format!("COPY with encoding {encoding}")));
            }
        }
        other => return Err(SqlError::unsupported(format!("COPY option {other}"))),
    }
    Ok(())
}

fn apply_legacy(format: &mut CopyFormat, option: &CopyLegacyOption) -> SqlResult<()> {
    match option {
        CopyLegacyOption::Delimiter(delimiter) => format.delimiter = one_byte("delimiter", *delimiter)?,
        CopyLegacyOption::Null(null) => format.null.clone_from(null),
        CopyLegacyOption::Csv(options) => {
            for option in options {
                match option {
                    CopyLegacyCsvOption::Header => format.header = true,
                    CopyLegacyCsvOption::Quote(quote) => format.quote = one_byte("quote", *quote)?,
                    CopyLegacyCsvOption::Escape(escape) => format.escape = one_byte("escape", *escape)?,
                    CopyLegacyCsvOption::ForceQuote(columns) => {
                        format.force_quote = columns.iter().map(names::fold).collect();
                    }
                    other => return Err(SqlError::unsupported(format!("COPY option {other}"))),
                }
            }
        }
        CopyLegacyOption::Header => format.header = true,
        other => return Err(SqlError::unsupported(format!("COPY option {other}"))),
    }
    Ok(())
}

fn one_byte(what: &str, character: char) -> SqlResult<u8> {
    u8::try_from(character).ok().filter(u8::is_ascii).ok_or_else(|| {
        let message = format!("COPY {what} must be a single one-byte character");
        SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
    })
}

fn check(format: &CopyFormat) -> SqlResult<()> {
    let wrong = |message: &str| Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
    if matches!(format.delimiter, b'\n' | b'\r') {
        return wrong("COPY delimiter cannot be newline or carriage return");
    }
    if format.null.contains(['\n', '\r']) {
        return wrong("COPY null representation cannot use newline or carriage return");
    }
    if format.csv && format.delimiter == format.quote {
        return wrong("COPY delimiter and quote must be different");
    }
    if !format.csv
        && (format.delimiter.is_ascii_lowercase()
            || format.delimiter.is_ascii_digit()
            || b".\\".contains(&format.delimiter))
    {
        return wrong(&format!("COPY delimiter cannot be \"{}\"", char::from(format.delimiter)));
    }
    if format.null.as_bytes().contains(&format.delimiter) {
        return wrong("COPY delimiter must not appear in the NULL specification");
    }
    Ok(())
}

/// Where the rows of a COPY FROM go.
#[derive(Debug)]
pub enum CopySink {
    /// Into the collection, all at once at the end.
    Bulk(Box<BulkWrite>),
    /// Into the transaction, up to so many bytes.
    Transaction {
        /// Batches so far.
        batches: Vec<WriteBatch>,
        /// How many bytes they may have.
        bytes_left: usize,
    },
}

impl CopySink {
    /// Takes rows.
    ///
    /// # Errors
    /// The transaction would write too much, or the engine refuses.
    pub fn write(&mut self, batch: WriteBatch) -> SqlResult<()> {
        match self {
            CopySink::Bulk(bulk) => bulk.write(batch).map_err(|error| write_error(&error)),
            CopySink::Transaction { batches, bytes_left } => {
                *bytes_left = bytes_left.checked_sub(batch.memory_bytes()).ok_or_else(too_large)?;
                batches.push(batch);
                Ok(())
            }
        }
    }
}

/// A transaction that wrote more than it may.
pub fn too_large() -> SqlError {
    SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "the transaction writes too much")
        .with_hint("Outside a transaction block, COPY and INSERT … SELECT have no limit.")
}

/// A COPY FROM under way.
#[derive(Debug)]
pub struct CopyIn {
    /// How many columns a row has.
    pub columns: usize,
    chunks: Option<mpsc::Sender<Bytes>>,
    worker: JoinHandle<SqlResult<(CopySink, u64)>>,
}

impl CopyIn {
    /// Starts the thread that reads the data.
    ///
    /// # Errors
    /// The collection was dropped.
    pub fn start(
        server: &Arc<Server>,
        target: Arc<Target>,
        format: CopyFormat,
        values: FormatSettings,
        sink: CopySink,
    ) -> SqlResult<CopyIn> {
        let (sender, receiver) = mpsc::channel(CHUNKS_ON_THE_WAY);
        let columns = target.columns.len();
        let rows = RowsBuilder::new(&server.engine, &target, &values, 0)?;
        let reader = Reader::new(target, format);
        let worker = server.query_runtime.spawn_blocking(move || receive(reader, rows, sink, receiver));
        Ok(CopyIn { columns, chunks: Some(sender), worker })
    }

    /// Takes some of the data; waits while the reader is behind. Cancel-safe only in that nothing is
    /// committed after it was given up.
    ///
    /// # Errors
    /// The data so far is not right.
    pub async fn data(&mut self, chunk: Bytes) -> SqlResult<()> {
        let sender = self.chunks.as_ref().expect("data comes before the end");
        if sender.send(chunk).await.is_ok() {
            return Ok(());
        }
        // The reader has ended, which it does before the end only with an error.
        match self.join().await {
            Err(error) => Err(error),
            Ok(_) => Err(SqlError::internal("COPY ended before its data")),
        }
    }

    /// There is no more data: the sink with all rows, and their number.
    ///
    /// # Errors
    /// The data is not right.
    pub async fn finish(mut self) -> SqlResult<(CopySink, u64)> {
        self.chunks = None;
        self.join().await
    }

    async fn join(&mut self) -> SqlResult<(CopySink, u64)> {
        let joined = (&mut self.worker).await;
        joined.map_err(|error| SqlError::internal(format!("COPY ended by a panic: {error}")))?
    }
}

fn receive(
    mut reader: Reader,
    mut rows: RowsBuilder,
    mut sink: CopySink,
    mut chunks: mpsc::Receiver<Bytes>,
) -> SqlResult<(CopySink, u64)> {
    let mut row_count = 0;
    let mut hand_over = |rows: &mut RowsBuilder, least: usize| {
        if rows.row_count() >= least && rows.row_count() > 0 || rows.memory_bytes() >= BATCH_BYTES {
            row_count += rows.row_count() as u64;
            sink.write(rows.finish()?)?;
        }
        Ok::<(), SqlError>(())
    };
    while let Some(chunk) = chunks.blocking_recv() {
        reader.feed(&chunk);
        while reader.read_rows(&mut rows, BATCH_ROWS)? {
            hand_over(&mut rows, BATCH_ROWS)?;
        }
    }
    reader.end(&mut rows)?;
    hand_over(&mut rows, 1)?;
    Ok((sink, row_count))
}

/// A COPY TO under way.
#[derive(Debug)]
pub struct CopyOut {
    /// Its columns.
    pub fields: Fields,
    /// Its rows.
    pub rows: RowSource,
    /// How they are written.
    pub format: CopyFormat,
}

impl CopyOut {
    /// The line that names the columns, where one is wanted.
    pub fn header(&self) -> Option<BytesMut> {
        if !self.format.header {
            return None;
        }
        let mut line = BytesMut::new();
        let names = self.write_line(&mut line, |at| Ok(Some(self.fields[at].name.as_bytes().into())));
        names.expect("names are written as they are");
        Some(line)
    }

    /// A line of values, which are asked for one after another; `None` is NULL.
    ///
    /// # Errors
    /// A value cannot be written.
    pub fn write_line(
        &self,
        line: &mut BytesMut,
        mut value: impl FnMut(usize) -> SqlResult<Option<BytesMut>>,
    ) -> SqlResult<()> {
        for at in 0..self.fields.len() {
            if at > 0 {
                line.put_u8(self.format.delimiter);
            }
            match value(at)? {
                None => line.put_slice(self.format.null.as_bytes()),
                Some(value) if self.format.csv => {
                    let forced = self.is_force_quoted(at);
                    csv::write_value(&self.format, &value, forced, self.fields.len() == 1, line);
                }
                Some(value) => text::write_value(&self.format, &value, line),
            }
        }
        line.put_u8(b'\n');
        Ok(())
    }

    /// Whether a column is quoted in any case.
    fn is_force_quoted(&self, at: usize) -> bool {
        let name = &self.fields[at].name;
        self.format.force_quote.iter().any(|quoted| quoted == "*" || quoted == name)
    }
}
