//! `tidemark import`: files go to a running server, every row once.
//!
//! ```text
//!   file ──▶ source ──▶ batches ──▶ queue of 2 ──▶ COPY over the PostgreSQL protocol     CSV, Parquet
//!            (a thread)                       └──▶ POST /write over HTTP                 line protocol
//! ```
//!
//! 1. A file is a row of records. It is cut into batches by their number and bytes from its beginning on,
//!    so that it is always cut in the same places.
//! 2. A batch is numbered by its producer, whose name comes from the file unless one is given, and a
//!    sequence: how many records there are up to the batch's end. With a given name it counts through all
//!    files.
//! 3. The server commits the number with the rows. So the last sequence of a producer, which it is asked
//!    for at the start, is the number of records that are loaded; these are skipped.
//! 4. A batch that was on its way when a former import was killed has the same cut, so the same number, when
//!    it is sent again: it is committed once.
//! 5. Wrong rows end the import: nothing of their batch is applied, what was before it is loaded.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::config::command::{FileFormat, ImportArguments};
use crate::import::error::ImportError;
use crate::import::http::LineTarget;
use crate::import::identity::producer_name;
use crate::import::pg::{CopyTarget, Table};
use crate::import::progress::Progress;
use crate::import::source::{Batch, Loaded, Place, Source};

pub mod error;
mod http;
mod identity;
mod pg;
mod progress;
mod sniff;
mod source;

/// Batches that are ready while one is on its way.
const QUEUED_BATCHES_MAX: usize = 2;

/// How often a batch is sent again that the server had no room for; it waited itself before it said so.
const ATTEMPTS_MAX: usize = 20;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows that were loaded.
    pub row_count: u64,
    /// Rows that had been loaded before.
    pub skipped_count: u64,
    /// Files.
    pub file_count: usize,
}

/// Imports all files.
///
/// # Errors
/// As [`ImportError`] says; what was loaded stays, and the same command goes on after it.
pub fn run(arguments: ImportArguments) -> Result<Summary, ImportError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(ImportError::Runtime)?.block_on(import(arguments))
}

async fn import(arguments: ImportArguments) -> Result<Summary, ImportError> {
    let arguments = Arc::new(arguments);
    let formats = formats(&arguments)?;
    let mut pg = CopyTarget::connect(&arguments).await?;
    let mut summary = Summary::default();
    // Records of the files before, where one name stands for all of them.
    let mut base = 0;
    for (path, format) in arguments.files.iter().zip(formats) {
        let table = match format {
            FileFormat::Line => None,
            _ => Some(table(&mut pg, &arguments, path, format).await?),
        };
        let producer = match &arguments.producer {
            Some(name) => name.clone(),
            None => producer_name(path, table.as_ref())?,
        };
        let loaded_before = pg.last_sequence(&producer).await?.unwrap_or(0);
        let file = Import { arguments: &arguments, path, format, producer, base };
        let loaded = file.load(&mut pg, table, loaded_before.saturating_sub(base)).await?;
        if arguments.producer.is_some() {
            base += loaded.skipped + loaded.sent;
        }
        summary.row_count += loaded.sent;
        summary.skipped_count += loaded.skipped;
        summary.file_count += 1;
    }
    Ok(summary)
}

/// The form of each file; all of them are known before anything is sent.
fn formats(arguments: &ImportArguments) -> Result<Vec<FileFormat>, ImportError> {
    let formats = arguments.files.iter().map(|path| match arguments.format {
        Some(format) => Ok(format),
        None => source::format_of_name(path).ok_or_else(|| ImportError::UnknownFormat(path.clone())),
    });
    let formats = formats.collect::<Result<Vec<_>, _>>()?;
    let has_rows_of_tables = formats.iter().any(|format| *format != FileFormat::Line);
    match &arguments.table {
        None if has_rows_of_tables => Err(ImportError::NoTable),
        Some(_) if formats.contains(&FileFormat::Line) => Err(ImportError::TableOfLines),
        _ if !arguments.delimiter.is_ascii() => Err(ImportError::Delimiter(arguments.delimiter)),
        _ => Ok(formats),
    }
}

/// The table, which is made where that is asked for.
async fn table(
    pg: &mut CopyTarget,
    arguments: &ImportArguments,
    path: &Path,
    format: FileFormat,
) -> Result<Table, ImportError> {
    let name = arguments.table.as_deref().ok_or(ImportError::NoTable)?;
    if let Some(table) = pg.find_table(name).await? {
        return Ok(table);
    }
    if !arguments.create {
        return Err(ImportError::MissingTable(name.to_owned()));
    }
    let columns = source::columns(path, format, arguments)?;
    let definition = sniff::definition(name, &columns, arguments.time_column.as_deref())?;
    pg.create_table(&definition).await?;
    pg.find_table(name).await?.ok_or_else(|| ImportError::MissingTable(name.to_owned()))
}

/// A file on its way.
struct Import<'a> {
    arguments: &'a Arc<ImportArguments>,
    path: &'a Path,
    format: FileFormat,
    producer: String,
    /// The sequence before its first record.
    base: u64,
}

impl Import<'_> {
    async fn load(
        &self,
        pg: &mut CopyTarget,
        table: Option<Table>,
        loaded_before: u64,
    ) -> Result<Loaded, ImportError> {
        let source = Source::open(self.path, self.format, self.arguments)?;
        let copy = match (&table, source.column_names()) {
            (Some(table), Some(names)) => Some(table.copy_statement(&names, self.format, self.arguments)?),
            _ => None,
        };
        let mut lines = match self.format {
            FileFormat::Line => Some(LineTarget::new(self.arguments)),
            _ => None,
        };
        let progress = Progress::start(self.path, source.total());
        let (sender, mut batches) = mpsc::channel(QUEUED_BATCHES_MAX);
        let reader = tokio::task::spawn_blocking(move || read(source, loaded_before, &sender));
        let mut sent = 0;
        while let Some(batch) = batches.recv().await {
            let sequence = self.base + batch.end;
            let number = (self.producer.as_str(), sequence);
            let outcome = match (&copy, &mut lines) {
                (Some(copy), _) => pg.copy(copy, number, &batch).await,
                (None, Some(lines)) => lines.write(number, &batch).await,
                (None, None) => unreachable!("a file has rows of a table, or lines"),
            };
            outcome.map_err(|error| {
                error.at(self.path, &self.producer, sequence - batch.row_count, &batch.place)
            })?;
            sent += batch.row_count;
            progress.advance(batch.position, loaded_before + sent);
        }
        let skipped = reader.await.map_err(|_| ImportError::Panicked(self.path.to_owned()))??;
        if skipped < loaded_before && self.is_last() {
            let loaded = self.base + loaded_before;
            return Err(ImportError::MoreThanThere { producer: self.producer.clone(), loaded });
        }
        progress.finish(sent, skipped);
        Ok(Loaded { sent, skipped })
    }

    /// Whether no file comes after it that the same producer's records could be in.
    fn is_last(&self) -> bool {
        self.arguments.producer.is_none() || self.arguments.files.last().is_some_and(|last| last == self.path)
    }
}

/// Reads batches until nobody wants more; how many records were skipped.
fn read(mut source: Source, skip: u64, batches: &mpsc::Sender<Batch>) -> Result<u64, ImportError> {
    let skipped = source.skip(skip)?;
    while let Some(batch) = source.next_batch()? {
        if batches.blocking_send(batch).is_err() {
            break;
        }
    }
    Ok(skipped)
}

/// A place in a file, as messages name it.
fn place_of(path: &Path, place: &Place, line: Option<u64>) -> String {
    let path = path.display();
    match (place, line) {
        (Place::Lines { first }, Some(line)) => format!("{path}:{}", first + line - 1),
        (Place::Rows { first }, Some(line)) => format!("{path}, row {}", first + line - 1),
        (Place::Lines { first }, None) => format!("{path}, in the batch from line {first} on"),
        (Place::Rows { first }, None) => format!("{path}, in the batch from row {first} on"),
    }
}
