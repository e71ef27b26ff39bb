//! From the bytes of COPY to rows: records are found in a buffer, whatever the pieces in which they
//! come, and their fields are handed to the columns.

use std::sync::Arc;

use crate::error::{SqlError, SqlResult};
use crate::sql::copy::{CopyFormat, csv, text};
use crate::sql::rows::{RowsBuilder, Target};
use crate::sqlstate;
use crate::wire::message;

/// A record longer than this is refused: it is kept in memory as a whole.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// Values in errors are cut to this.
const SHOWN_CHARACTERS_MAX: usize = 100;

/// Reads records.
#[derive(Debug)]
pub struct Reader {
    target: Arc<Target>,
    format: CopyFormat,
    buffer: Vec<u8>,
    /// Where the first record that was not read starts.
    start: usize,
    /// How far the buffer was searched for the end of that record.
    searched: usize,
    /// Whether `searched` is within quotes.
    quoted: bool,
    line: u64,
    skip_header: bool,
    /// The end-of-data mark was read.
    ended: bool,
    scratch: Vec<u8>,
}

/// A field of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValue<'a> {
    /// NULL.
    Null,
    /// Its bytes.
    Bytes(&'a [u8]),
}

impl Reader {
    /// Reads rows for the target.
    pub fn new(target: Arc<Target>, format: CopyFormat) -> Reader {
        let skip_header = format.header;
        Reader {
            target,
            format,
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            quoted: false,
            line: 0,
            skip_header,
            ended: false,
            scratch: Vec::new(),
        }
    }

    /// Takes more bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Reads whole records until there are so many rows; true when there may be more.
    ///
    /// # Errors
    /// A record is not right.
    pub fn read_rows(&mut self, rows: &mut RowsBuilder, rows_max: usize) -> SqlResult<bool> {
        while rows.row_count() < rows_max {
            let Some((end, next)) = self.find_record()? else { return Ok(false) };
            self.read_record(end, rows)?;
            self.start = next;
            self.searched = next;
        }
        Ok(true)
    }

    /// There are no more bytes: what is left is the last record.
    ///
    /// # Errors
    /// It is not right, or ends within quotes.
    pub fn end(&mut self, rows: &mut RowsBuilder) -> SqlResult<()> {
        while self.read_rows(rows, usize::MAX)? {}
        if self.quoted {
            let error = SqlError::new(sqlstate::BAD_COPY_FILE_FORMAT, "unterminated CSV quoted field");
            return Err(error.with_context(self.place(self.line + 1)));
        }
        if self.start < self.buffer.len() {
            let mut end = self.buffer.len();
            if self.buffer[end - 1] == b'\r' {
                end -= 1;
            }
            self.read_record(end, rows)?;
            self.start = self.buffer.len();
        }
        Ok(())
    }

    /// Where the next record ends, and where the one after it starts.
    fn find_record(&mut self) -> SqlResult<Option<(usize, usize)>> {
        let found = if self.format.csv {
            csv::find_end(&self.buffer, &mut self.searched, &mut self.quoted, &self.format)
        } else {
            text::find_end(&self.buffer, &mut self.searched)
        };
        if found.is_none() && self.buffer.len() - self.start > RECORD_BYTES_MAX {
            let message = format!("a COPY record is longer than {RECORD_BYTES_MAX} bytes");
            let error = SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message);
            return Err(error.with_context(self.place(self.line + 1)));
        }
        // A carriage return before the newline is part of the line's end.
        Ok(found.map(|newline| {
            let bare = newline > self.start && self.buffer[newline - 1] == b'\r';
            (if bare { newline - 1 } else { newline }, newline + 1)
        }))
    }

    fn read_record(&mut self, end: usize, rows: &mut RowsBuilder) -> SqlResult<()> {
        self.line += 1;
        let record = &self.buffer[self.start..end];
        if std::mem::take(&mut self.skip_header) || self.ended {
            return Ok(());
        }
        if record == b"\\." {
            self.ended = true;
            return Ok(());
        }
        let mut column = 0;
        let expected = self.target.columns.len();
        let mut put = |value: FieldValue<'_>| -> SqlResult<()> {
            if column == expected {
                return Err(SqlError::new(
                    sqlstate::BAD_COPY_FILE_FORMAT,
                    "extra data after last expected column",
                ));
            }
            let put = match value {
                FieldValue::Null => {
                    rows.append_null(column);
                    Ok(())
                }
                FieldValue::Bytes(bytes) => rows.append_text(column, bytes),
            };
            put.map_err(|error| in_column(error, &self.target, column, self.line, value))?;
            column += 1;
            Ok(())
        };
        let split = if self.format.csv {
            csv::split(record, &self.format, &mut self.scratch, &mut put)
        } else {
            text::split(record, &self.format, &mut self.scratch, &mut put)
        };
        // Errors about a column have said where already.
        let place =
            || format!("COPY {}, line {}: \"{}\"", self.target.collection.name, self.line, shown(record));
        split.map_err(|error| match error.fields().context {
            Some(_) => error,
            None => error.with_context(place()),
        })?;
        if column < expected {
            let message = format!("missing data for column \"{}\"", self.target.column(column).name);
            let error = SqlError::new(sqlstate::BAD_COPY_FILE_FORMAT, message);
            return Err(error.with_context(place()));
        }
        rows.end_row()?;
        Ok(())
    }

    fn place(&self, line: u64) -> String {
        format!("COPY {}, line {line}", self.target.collection.name)
    }
}

fn in_column(error: SqlError, target: &Target, at: usize, line: u64, value: FieldValue<'_>) -> SqlError {
    let column = &target.column(at).name;
    let value = match value {
        FieldValue::Null => "null input".to_owned(),
        FieldValue::Bytes(bytes) => format!("\"{}\"", shown(bytes)),
    };
    let place = format!("COPY {}, line {line}, column {column}: {value}", target.collection.name);
    error.with_context(place)
}

fn shown(bytes: &[u8]) -> String {
    let text = match message::text(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    };
    if text.chars().count() > SHOWN_CHARACTERS_MAX {
        text.chars().take(SHOWN_CHARACTERS_MAX).chain("...".chars()).collect()
    } else {
        text
    }
}
