//! PostgreSQL's binary format.
//!
//! ```text
//! file     signature (11 bytes), flags u32, length of the extension u32, extension, rows, trailer
//! row      fields i16, fields
//! field    length i32, -1 for NULL; the value as its type's send function writes it
//! trailer  -1 i16
//! ```
//!
//! A file without a trailer is complete where the data ends.

use bytes::{BufMut, BytesMut};

use crate::error::{SqlError, SqlResult};
use crate::sql::copy::fields::{FieldTable, Record};
use crate::sql::copy::reader::{RECORD_BYTES_MAX, too_long};
use crate::sqlstate;

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// Signature, flags, and the length of the extension.
const HEADER_BYTES: usize = 19;

/// A file of an old version had a number for each row.
const FLAG_OIDS: u32 = 1 << 16;

/// Flags in these bits say what a reader must know.
const FLAGS_CRITICAL: u32 = 0xffff << 16;

/// The count of fields that ends a file.
const TRAILER: i16 = -1;

/// Writes what comes before the rows.
pub(crate) fn write_header(output: &mut BytesMut) {
    output.put_slice(SIGNATURE);
    output.put_u32(0);
    output.put_u32(0);
}

/// Writes what comes after the rows.
pub(crate) fn write_trailer(output: &mut BytesMut) {
    output.put_i16(TRAILER);
}

/// Finds rows in data that comes in pieces.
#[derive(Debug, Default)]
pub(crate) struct BinaryInput {
    pub(crate) data: Vec<u8>,
    /// Where the first byte is that was not read.
    start: usize,
    /// So many bytes must be there before it is worth looking again.
    wanted: usize,
    is_header_read: bool,
    is_trailer_read: bool,
    row_count: u64,
    at_end: bool,
}

/// Why a row is not one.
#[derive(Debug)]
pub(crate) struct RowFault {
    pub(crate) error: SqlError,
    /// Which row; none before the first.
    pub(crate) line: Option<u64>,
    /// The field it is about.
    pub(crate) column: Option<usize>,
}

impl BinaryInput {
    /// Takes more data.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.data.drain(..self.start);
        self.start = 0;
        self.data.extend_from_slice(bytes);
    }

    /// There is no more data.
    pub(crate) fn end(&mut self) {
        self.at_end = true;
        self.wanted = 0;
    }

    /// Puts rows into the table until it has so many; whether it got there.
    ///
    /// # Errors
    /// The next row is not one; its first fields are in the table.
    pub(crate) fn fill(
        &mut self,
        table: &mut FieldTable,
        width: usize,
        rows_max: usize,
    ) -> Result<bool, RowFault> {
        if !self.at_end && self.data.len() - self.start < self.wanted {
            return Ok(false);
        }
        if !self.is_header_read {
            let read = self.read_header();
            if !read.map_err(|error| RowFault { error, line: None, column: None })? {
                return Ok(false);
            }
        }
        while table.records().len() < rows_max {
            if !self.read_row(table, width)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How many rows were found.
    pub(crate) fn row_count(&self) -> u64 {
        self.row_count
    }

    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.data.get(at..at + N).map(|bytes| bytes.try_into().expect("as many as were asked for"))
    }

    /// Reads over the header; false while it is not all there.
    fn read_header(&mut self) -> SqlResult<bool> {
        let bad = |message: &str| Err(SqlError::new(sqlstate::BAD_COPY_FILE_FORMAT, message));
        let short = |message: &str| if self.at_end { bad(message) } else { Ok(false) };
        match self.bytes::<11>(0) {
            None => return short("COPY file signature not recognized"),
            Some(signature) if signature != *SIGNATURE => return bad("COPY file signature not recognized"),
            Some(_) => {}
        }
        let Some(flags) = self.bytes(SIGNATURE.len()) else {
            return short("invalid COPY file header (missing flags)");
        };
        let flags = u32::from_be_bytes(flags);
        if flags & FLAG_OIDS != 0 {
            return bad("invalid COPY file header (WITH OIDS)");
        }
        if flags & FLAGS_CRITICAL != 0 {
            return bad("unrecognized critical flags in COPY file header");
        }
        let Some(length) = self.bytes(SIGNATURE.len() + 4) else {
            return short("invalid COPY file header (missing length)");
        };
        let Ok(length) = usize::try_from(i32::from_be_bytes(length)) else {
            return bad("invalid COPY file header (missing length)");
        };
        if length > RECORD_BYTES_MAX {
            return Err(too_long());
        }
        if self.data.len() < HEADER_BYTES + length {
            return short("invalid COPY file header (wrong length)");
        }
        self.start = HEADER_BYTES + length;
        self.is_header_read = true;
        Ok(true)
    }

    /// Puts the next row into the table; false when it is not all there, or there is none.
    fn read_row(&mut self, table: &mut FieldTable, width: usize) -> Result<bool, RowFault> {
        let line = self.row_count + 1;
        let fault = |message: &str, column: Option<usize>| {
            let error = SqlError::new(sqlstate::BAD_COPY_FILE_FORMAT, message);
            Err(RowFault { error, line: Some(line), column })
        };
        if self.is_trailer_read {
            if self.start < self.data.len() {
                return fault("received copy data after EOF marker", None);
            }
            return Ok(false);
        }
        let Some(count) = self.bytes(self.start) else {
            return Ok(self.wait_for(2));
        };
        let count = i16::from_be_bytes(count);
        if count == TRAILER {
            self.is_trailer_read = true;
            self.start += 2;
            return self.read_row(table, width);
        }
        if usize::try_from(count) != Ok(width) {
            return fault(&format!("row field count is {count}, expected {width}"), None);
        }
        let mut at = self.start + 2;
        for column in 0..width {
            let length = self.bytes(at).map(i32::from_be_bytes);
            let end = match length {
                None => at + 4,
                Some(-1) => {
                    table.push_null();
                    at += 4;
                    continue;
                }
                Some(length) => match usize::try_from(length) {
                    Ok(length) => at + 4 + length,
                    Err(_) => return fault("invalid field size", Some(column)),
                },
            };
            if end - self.start > RECORD_BYTES_MAX {
                return Err(RowFault { error: too_long(), line: Some(line), column: Some(column) });
            }
            if length.is_none() || end > self.data.len() {
                if self.at_end {
                    return fault("unexpected EOF in COPY data", Some(column));
                }
                table.drop_record();
                return Ok(self.wait_for(end - self.start));
            }
            table.push(at + 4, end);
            at = end;
        }
        self.row_count = line;
        table.end_record(Record { start: self.start, end: at, line });
        self.start = at;
        Ok(true)
    }

    fn wait_for(&mut self, wanted: usize) -> bool {
        self.wanted = wanted;
        false
    }
}
