//! Data in lines, of the text and CSV formats: where a line ends, which of them is the header, and where
//! its fields are.

use super::context::{at_line, shown};
use super::{Filled, RECORD_BYTES_MAX, TABLE_RECORDS, text_of, too_long};
use crate::error::{SqlError, SqlResult};
use crate::sql::copy::encoding::TextDecoder;
use crate::sql::copy::fields::{FieldTable, Record};
use crate::sql::copy::lines::{Found, LineFinder};
use crate::sql::copy::options::{CopyFormat, Header, Layout};
use crate::sql::copy::{csv, text};
use crate::sql::rows::Target;
use crate::sqlstate;

/// Data in lines.
#[derive(Debug)]
pub(super) struct LineInput {
    pub(super) format: CopyFormat,
    decoder: TextDecoder,
    pub(super) text: String,
    /// Where the first line starts that was not read.
    start: usize,
    finder: LineFinder,
    /// The number of the last line that was read.
    pub(super) line: u64,
    header: Header,
    /// The mark that ends the data was read.
    is_mark_read: bool,
    at_end: bool,
}

impl LineInput {
    pub(super) fn new(format: CopyFormat) -> LineInput {
        let quotes = (format.layout == Layout::Csv).then(|| csv::quotes(&format));
        LineInput {
            decoder: TextDecoder::new(format.encoding),
            text: String::new(),
            start: 0,
            finder: LineFinder::new(quotes),
            line: 0,
            header: format.header,
            is_mark_read: false,
            at_end: false,
            format,
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.text.drain(..self.start);
        self.start = 0;
        self.decoder.feed(bytes, &mut self.text);
    }

    pub(super) fn end(&mut self) {
        self.decoder.finish();
        self.at_end = true;
    }

    pub(super) fn fill(&mut self, table: &mut FieldTable, target: &Target) -> Filled {
        let relation = &target.collection.name;
        while table.records().len() < TABLE_RECORDS {
            if self.is_mark_read {
                self.start = self.text.len();
                return Filled::Dry;
            }
            // What is no text stands between what was read and the end.
            let at_end = self.at_end && !self.decoder.has_fault();
            match self.finder.next(self.text.as_bytes(), self.start, at_end) {
                Ok(Found::Line { end, next, lines }) => {
                    self.line += lines;
                    if let Err(error) = self.read_line(end, table, target) {
                        return Filled::Fault(self.with_line(error, end, relation));
                    }
                    self.start = next;
                }
                Ok(Found::Mark { end }) => {
                    self.is_mark_read = true;
                    self.line += 1;
                    let is_line = end > self.start || self.header == Header::Match;
                    if is_line && let Err(error) = self.read_line(end, table, target) {
                        return Filled::Fault(self.with_line(error, end, relation));
                    }
                }
                Ok(Found::More) => {
                    let fault = self.decoder.take_fault();
                    let is_too_long = self.text.len() - self.start > RECORD_BYTES_MAX;
                    return match fault.or_else(|| is_too_long.then(too_long)) {
                        Some(error) => Filled::Fault(self.within_line(error, relation)),
                        None if at_end && self.header == Header::Match => {
                            self.fill_without_header(table, target)
                        }
                        None => Filled::Dry,
                    };
                }
                Err(error) => return Filled::Fault(self.within_line(error, relation)),
            }
        }
        Filled::Full
    }

    /// Where a header must be and nothing is, PostgreSQL finds an empty line.
    fn fill_without_header(&mut self, table: &mut FieldTable, target: &Target) -> Filled {
        self.line += 1;
        match self.read_line(self.start, table, target) {
            Ok(()) => Filled::Dry,
            Err(error) => Filled::Fault(self.with_line(error, self.start, &target.collection.name)),
        }
    }

    /// An error in a line, which is shown with it.
    fn with_line(&self, error: SqlError, end: usize, relation: &str) -> SqlError {
        let line = shown(&self.text[self.start..end]);
        error.with_context(format!("{}: \"{line}\"", at_line(relation, self.line)))
    }

    /// An error in a line that was not read to its end.
    fn within_line(&self, error: SqlError, relation: &str) -> SqlError {
        error.with_context(at_line(relation, self.line + 1 + self.finder.inner_lines()))
    }

    fn read_line(&mut self, end: usize, table: &mut FieldTable, target: &Target) -> SqlResult<()> {
        let width = target.columns.len();
        let bad = |message: String| Err(SqlError::new(sqlstate::BAD_COPY_FILE_FORMAT, message));
        let header = std::mem::replace(&mut self.header, Header::Absent);
        if header == Header::Present {
            return Ok(());
        }
        let (data, bounds) = (self.text.as_bytes(), (self.start, end));
        let count = match self.format.layout {
            Layout::Csv => csv::split(data, bounds, &self.format, width, table),
            Layout::Text | Layout::Binary => text::split(data, bounds, &self.format, width, table),
        };
        // Values of a record are not looked at when its fields are not what they must be.
        let count = count.inspect_err(|_| table.drop_record())?;
        if header == Header::Match {
            let checked = self.check_header(count, table, target);
            table.drop_record();
            return checked;
        }
        if count > width {
            table.drop_record();
            return bad("extra data after last expected column".to_owned());
        }
        if count < width {
            return bad(format!("missing data for column \"{}\"", target.column(count).name));
        }
        table.end_record(Record { start: self.start, end, line: self.line });
        Ok(())
    }

    /// The header names the columns, each in its place.
    fn check_header(&self, count: usize, table: &FieldTable, target: &Target) -> SqlResult<()> {
        let bad = |message: String| Err(SqlError::new(sqlstate::BAD_COPY_FILE_FORMAT, message));
        let width = target.columns.len();
        if count != width {
            return bad(format!("wrong number of fields in header line: got {count}, expected {width}"));
        }
        let unescaped = std::str::from_utf8(table.unescaped_bytes()).expect("what escapes make was checked");
        for (at, place) in table.fields().enumerate() {
            let expected = &target.column(at).name;
            let got = match text_of(place, &self.text, unescaped) {
                Some(name) if name == expected => continue,
                Some(name) => format!("\"{name}\""),
                None => format!("null value (\"{}\")", self.format.null),
            };
            let place = at + 1;
            return bad(format!(
                "column name mismatch in header line field {place}: got {got}, expected \"{expected}\""
            ));
        }
        Ok(())
    }
}
