//! Text files as records: the records of CSV, and lines of line protocol.
//!
//! What is between two records is found without reading them: a newline, but not one in quotes. So a file
//! is cut in the same places whether or not its records are right, and the bytes go to the server as they
//! are.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

use crate::import::error::ImportError;
use crate::import::source::{BATCH_BYTES_MAX, Batch, Place, file_error};
use crate::lineprotocol::scan::line_end;

/// How much is read at a time.
const READ_BYTES: usize = 256 << 10;

/// A longer record has a quote that does not end.
const RECORD_BYTES_MAX: usize = 16 << 20;

/// What stands before the text in files of some systems.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// What the records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// CSV with a header.
    Csv { delimiter: u8 },
    /// Line protocol.
    Lines,
}

/// The records of a file, from some place on.
pub(crate) struct Records {
    path: PathBuf,
    kind: Kind,
    batch_rows: u64,
    input: Box<dyn Read + Send>,
    /// Bytes of the file, packed as they are, that were read.
    read_bytes: Arc<AtomicU64>,
    file_bytes: u64,
    buffer: Vec<u8>,
    /// Where in the buffer the next record starts.
    at: usize,
    is_at_end: bool,
    /// The number of the line where the next record starts.
    line: u64,
    /// Records before that.
    passed: u64,
    header: Option<Vec<String>>,
}

/// Counts what is read of a file.
struct Counted {
    file: File,
    read_bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read_bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl Records {
    /// Opens a file, which is unpacked when its name says that it is packed, and reads its header.
    pub(crate) fn open(path: &Path, kind: Kind, batch_rows: u64) -> Result<Records, ImportError> {
        let failed = file_error(path);
        let file = File::open(path).map_err(&failed)?;
        let file_bytes = file.metadata().map_err(&failed)?.len();
        let read_bytes = Arc::new(AtomicU64::new(0));
        let counted = Counted { file, read_bytes: Arc::clone(&read_bytes) };
        let input: Box<dyn Read + Send> = match path.extension().and_then(|suffix| suffix.to_str()) {
            Some("gz") => Box::new(MultiGzDecoder::new(counted)),
            Some("zst") => Box::new(zstd::Decoder::new(counted).map_err(&failed)?),
            _ => Box::new(counted),
        };
        let mut records = Records {
            path: path.to_owned(),
            kind,
            batch_rows,
            input,
            read_bytes,
            file_bytes,
            buffer: Vec::new(),
            at: 0,
            is_at_end: false,
            line: 1,
            passed: 0,
            header: None,
        };
        records.pass_byte_order_mark()?;
        if let Kind::Csv { delimiter } = kind {
            let header = records.next_record()?.ok_or_else(|| records.wrong(1, "there is no header"))?;
            let fields = split_fields(&records.buffer[header], delimiter);
            let names = fields.into_iter().map(|field| field.text);
            records.header = Some(names.collect());
        }
        Ok(records)
    }

    fn wrong(&self, line: u64, reason: &str) -> ImportError {
        ImportError::Content { place: format!("{}:{line}", self.path.display()), reason: reason.to_owned() }
    }

    fn pass_byte_order_mark(&mut self) -> Result<(), ImportError> {
        while self.buffer.len() < BYTE_ORDER_MARK.len() && self.fill()? {}
        if self.buffer.starts_with(BYTE_ORDER_MARK) {
            self.at = BYTE_ORDER_MARK.len();
        }
        Ok(())
    }

    /// The names of a CSV file's columns.
    pub(crate) fn column_names(&self) -> Option<&[String]> {
        self.header.as_deref()
    }

    /// The length of the file.
    pub(crate) fn total(&self) -> u64 {
        self.file_bytes
    }

    /// Reads more into the buffer; false at the end of the file.
    fn fill(&mut self) -> Result<bool, ImportError> {
        if self.is_at_end {
            return Ok(false);
        }
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        let len = self.buffer.len();
        self.buffer.resize(len + READ_BYTES, 0);
        let count = loop {
            match self.input.read(&mut self.buffer[len..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome,
            }
        };
        let count = count.map_err(file_error(&self.path))?;
        self.buffer.truncate(len + count);
        self.is_at_end = count == 0;
        Ok(count > 0)
    }

    /// Passes over the next record; its bytes in the buffer, with the newline at their end.
    fn next_record(&mut self) -> Result<Option<Range<usize>>, ImportError> {
        let (mut seen, mut quoted) = (0, false);
        let len = loop {
            let rest = &self.buffer[self.at..];
            let found = match self.kind {
                Kind::Csv { .. } => csv_record_end(rest, &mut seen, &mut quoted),
                Kind::Lines => line_record_end(rest),
            };
            if let Some(newline) = found {
                break newline + 1;
            }
            if rest.len() > RECORD_BYTES_MAX {
                return Err(self.wrong(self.line, "a record that does not end; is a quote missing?"));
            }
            if !self.fill()? {
                match self.buffer.len() - self.at {
                    0 => return Ok(None),
                    len => break len,
                }
            }
        };
        let record = self.at..self.at + len;
        self.at = record.end;
        self.line += memchr::memchr_iter(b'\n', &self.buffer[record.clone()]).count() as u64;
        Ok(Some(record))
    }

    /// Passes over so many records; how many there were.
    pub(crate) fn skip(&mut self, count: u64) -> Result<u64, ImportError> {
        let mut skipped = 0;
        while skipped < count && self.next_record()?.is_some() {
            skipped += 1;
        }
        self.passed += skipped;
        Ok(skipped)
    }

    /// The next records; `None` after the last.
    pub(crate) fn next_batch(&mut self) -> Result<Option<Batch>, ImportError> {
        let place = Place::Lines { first: self.line };
        let mut data = Vec::new();
        let mut row_count = 0;
        while row_count < self.batch_rows && data.len() < BATCH_BYTES_MAX {
            let Some(record) = self.next_record()? else { break };
            data.extend_from_slice(&self.buffer[record]);
            row_count += 1;
        }
        if row_count == 0 {
            return Ok(None);
        }
        self.passed += row_count;
        let position = self.read_bytes.load(Ordering::Relaxed);
        Ok(Some(Batch { data: Bytes::from(data), row_count, end: self.passed, place, position }))
    }

    /// The fields of the next record, for a look at a CSV file.
    pub(crate) fn next_fields(&mut self) -> Result<Option<Vec<CsvField>>, ImportError> {
        let Kind::Csv { delimiter } = self.kind else { return Ok(None) };
        let record = self.next_record()?;
        Ok(record.map(|record| split_fields(&self.buffer[record], delimiter)))
    }
}

/// Where a record of CSV ends: at a newline outside quotes. `seen` bytes were looked at before, and left
/// off within quotes or not.
fn csv_record_end(bytes: &[u8], seen: &mut usize, quoted: &mut bool) -> Option<usize> {
    while let Some(at) = memchr::memchr2(b'"', b'\n', &bytes[*seen..]) {
        let at = *seen + at;
        *seen = at + 1;
        match bytes[at] {
            b'"' => *quoted = !*quoted,
            _ if !*quoted => return Some(at),
            _ => {}
        }
    }
    *seen = bytes.len();
    None
}

/// Where a line of line protocol ends. A comment has no strings.
fn line_record_end(bytes: &[u8]) -> Option<usize> {
    let first = bytes.iter().find(|byte| !matches!(byte, b' ' | b'\t'));
    match first {
        Some(b'#' | b'\n' | b'\r') => memchr::memchr(b'\n', bytes),
        _ => line_end(bytes),
    }
}

/// A field of CSV.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CsvField {
    pub(crate) text: String,
    /// It is not NULL, though it may be empty.
    pub(crate) was_quoted: bool,
}

/// The fields of a record.
fn split_fields(record: &[u8], delimiter: u8) -> Vec<CsvField> {
    let record = record.strip_suffix(b"\n").unwrap_or(record);
    let record = record.strip_suffix(b"\r").unwrap_or(record);
    let mut fields = Vec::new();
    let (mut text, mut quoted, mut was_quoted) = (Vec::new(), false, false);
    let mut bytes = record.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if quoted && bytes.next_if_eq(&b'"').is_some() => text.push(b'"'),
            b'"' => {
                quoted = !quoted;
                was_quoted = true;
            }
            byte if byte == delimiter && !quoted => {
                fields.push(field(&text, was_quoted));
                (text, was_quoted) = (Vec::new(), false);
            }
            byte => text.push(byte),
        }
    }
    fields.push(field(&text, was_quoted));
    fields
}

fn field(text: &[u8], was_quoted: bool) -> CsvField {
    CsvField { text: String::from_utf8_lossy(text).into_owned(), was_quoted }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(name: &str, content: &[u8]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("tidemark-records-{}-{name}", std::process::id()));
        let mut file = File::create(&path).unwrap();
        match path.extension().and_then(|suffix| suffix.to_str()) {
            Some("gz") => {
                let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
                packed.write_all(content).unwrap();
                packed.finish().unwrap();
            }
            Some("zst") => file.write_all(&zstd::encode_all(content, 1).unwrap()).unwrap(),
            _ => file.write_all(content).unwrap(),
        }
        path
    }

    fn batches(mut records: Records, skip: u64) -> Vec<(String, u64, u64)> {
        assert_eq!(records.skip(skip).unwrap(), skip);
        let mut batches = Vec::new();
        while let Some(batch) = records.next_batch().unwrap() {
            let Place::Lines { first } = batch.place else { panic!("it has lines") };
            batches.push((String::from_utf8(batch.data.to_vec()).unwrap(), batch.end, first));
        }
        batches
    }

    #[test]
    fn records_of_csv_end_outside_quotes_and_batches_are_cut_alike_wherever_one_starts() {
        let text = "\u{feff}a,\"b \"\"c\"\"\"\r\n1,x\n2,\"y\ny\"\n3,\"z\"\"\n\"\n4,w";
        for name in ["plain.csv", "packed.csv.gz", "packed.csv.zst"] {
            let path = file(name, text.as_bytes());
            let open = || Records::open(&path, Kind::Csv { delimiter: b',' }, 2).unwrap();
            assert_eq!(open().column_names().unwrap(), ["a", "b \"c\""]);
            let first = ("1,x\n2,\"y\ny\"\n".to_owned(), 2, 2);
            let second = ("3,\"z\"\"\n\"\n4,w".to_owned(), 4, 5);
            assert_eq!(batches(open(), 0), [first, second.clone()], "{name}");
            assert_eq!(batches(open(), 2), [second], "{name}");
            assert_eq!(open().skip(9).unwrap(), 4);
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn lines_end_outside_strings_and_comments_have_none() {
        let lines = ["# say \"\n", "a b=\"x\ny\" 1\n", "\n", "a b=2 2\n"];
        let path = file("lines.lp", lines.concat().as_bytes());
        let found = batches(Records::open(&path, Kind::Lines, 1).unwrap(), 0);
        let found: Vec<&str> = found.iter().map(|(text, ..)| text.as_str()).collect();
        assert_eq!(found, lines);
        std::fs::remove_file(&path).unwrap();
    }
}
