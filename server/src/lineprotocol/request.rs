//! Requests of line protocol, as a source of rows.
//!
//! A row is a line. One that is not right is gone over to its end, and named by its number. Of a field
//! that a line has more than once the last value counts, as InfluxDB has it.

use std::borrow::Cow;
use std::collections::HashSet;

use bytes::Bytes;

use crate::ingest::fields::{FieldError, Value};
use crate::ingest::rows::{Described, Gatherer, RowFailure, RowSeries};
use crate::ingest::{Refused, RowError, Source};
use crate::lineprotocol::Precision;
use crate::lineprotocol::scan::names::{name, split_series};
use crate::lineprotocol::scan::{After, Scanner};

/// So much of a line is shown that is not right.
const SHOWN_BYTES_MAX: usize = 200;

/// The lines of a request.
#[derive(Debug)]
pub struct Lines {
    /// The lines.
    pub body: Bytes,
    /// The unit of timestamps.
    pub precision: Precision,
    /// The time of lines without one, in ns since 1970.
    pub now_ns: i64,
}

impl Source for Lines {
    fn gather<'b>(&'b self, rows: &mut Gatherer<'_, 'b>) -> Result<(), Refused> {
        let mut scanner = Scanner::new(&self.body);
        loop {
            let mark = rows.mark();
            let mut table = None;
            match self.read_line(&mut scanner, rows, &mut table) {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(RowFailure::Request(refused)) => return Err(refused),
                Err(RowFailure::Row(reason)) => {
                    let text = shown(scanner.skip_bad_line());
                    let line = Some(scanner.start_line());
                    rows.reject(mark, table, RowError { line, reason, text })?;
                }
            }
        }
    }
}

fn shown(line: &[u8]) -> String {
    let start = &line[..line.len().min(SHOWN_BYTES_MAX)];
    let ellipsis = if start.len() < line.len() { "…" } else { "" };
    format!("{}{ellipsis}", String::from_utf8_lossy(start).trim_end_matches('\u{fffd}').trim_end())
}

impl Lines {
    /// Reads a line; false at the end. `table` tells where the row was begun.
    fn read_line<'k, 'b>(
        &'b self,
        scanner: &mut Scanner<'b>,
        rows: &mut Gatherer<'k, 'b>,
        table: &mut Option<usize>,
    ) -> Result<bool, RowFailure> {
        let Some(written) = scanner.next_line()? else { return Ok(false) };
        let (at, series) = match rows.find(written) {
            Some(found) => found,
            None => rows.add(Cow::Borrowed(written), describe(written)?)?,
        };
        let fields = *scanner;
        rows.table_mut(at).begin_row();
        *table = Some(at);
        if read_fields(scanner, rows, at).is_err() {
            // Of a field that comes twice, the first value need not be right.
            *scanner = fields;
            read_last_fields(scanner, rows, at)?;
        }
        self.end_line(scanner, rows, at, series)?;
        Ok(true)
    }

    fn end_line<'k, 'b>(
        &self,
        scanner: &mut Scanner<'b>,
        rows: &mut Gatherer<'k, 'b>,
        at: usize,
        series: RowSeries<'k>,
    ) -> Result<(), RowFailure> {
        let table = rows.table_mut(at);
        let time = match scanner.timestamp()? {
            Some(time) => table.time(time, self.precision.nanoseconds(time))?,
            None => table.time(self.precision.round(self.now_ns), 1)?,
        };
        rows.end_row(at, series, time)
    }
}

/// What a series is that is not known.
fn describe(written: &[u8]) -> Result<Described, String> {
    let (measurement, tags) = split_series(written)?;
    let collection = name(measurement)?.into_owned();
    let tag = |(key, value)| Ok::<_, String>((name(key)?.into_owned(), name(value)?.into_owned()));
    let tags = tags.into_iter().map(tag).collect::<Result<Vec<_>, _>>()?;
    Ok(Described { collection, tags })
}

fn read_fields<'b>(
    scanner: &mut Scanner<'b>,
    rows: &mut Gatherer<'_, 'b>,
    at: usize,
) -> Result<(), FieldError> {
    let table = rows.table_mut(at);
    loop {
        let written = scanner.field_name()?;
        let (value, after) = scanner.field_value()?;
        table.set(written, || Ok(name(written)?), &value)?;
        if after == After::End {
            return Ok(());
        }
    }
}

/// Reads the fields of a line again, slowly: it has one more than once, or one that is not right.
fn read_last_fields<'b>(
    scanner: &mut Scanner<'b>,
    rows: &mut Gatherer<'_, 'b>,
    at: usize,
) -> Result<(), RowFailure> {
    rows.undo_row(rows.mark(), Some(at)).map_err(RowFailure::Request)?;
    let mut fields: Vec<(&[u8], Value<'b>)> = Vec::new();
    loop {
        let written = scanner.field_name()?;
        let (value, after) = scanner.field_value()?;
        fields.push((written, value));
        if after == After::End {
            break;
        }
    }
    let mut seen = HashSet::new();
    fields.reverse();
    fields.retain(|(written, _)| seen.insert(*written));
    let table = rows.table_mut(at);
    table.begin_row();
    for (written, value) in fields.iter().rev() {
        table.set(written, || Ok(name(written)?), value).map_err(|error| match error {
            FieldError::Wrong(reason) => reason,
            FieldError::Twice => "a field is written in two ways".to_owned(),
        })?;
    }
    Ok(())
}
