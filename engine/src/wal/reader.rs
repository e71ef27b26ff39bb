//! Reading the log back: telling what was promised from what was not.
//!
//! 1. List the files. Numbers must rise by one from the first file that the catalog says is kept.
//!    A file of zeros was preallocated and never used; only such files may follow it.
//! 2. Walk the frames of each file: header CRC, chained payload CRC, rising LSNs.
//! 3. At the first position where no frame follows, decide:
//!    - the next file's header says that this one ended here: go on with the next file;
//!    - a next file exists and says otherwise: damage;
//!    - this is the last file, and a frame further on says that a record that is missing here was
//!      durable: damage;
//!    - otherwise nobody was promised what stood here: the torn tail of a crash. It is cut off.
//!
//! Damage refuses to open, with the file and the offset; nothing on disk is changed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidemark_catalog::ids::Lsn;

use crate::durable;
use crate::env::{File, Files, OpenMode};
use crate::error::{WalFormatError, WalOpenError};
use crate::wal::format::{
    FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FileHeader, FrameHeader, RawRecord, aligned, decode_record,
};

/// How much of a file is read at a time.
const WINDOW_BYTES: usize = 1 << 20;

/// The name of a log file.
pub(crate) fn file_name(number: u64) -> String {
    format!("{number:020}.wal")
}

/// What was found in the log.
#[derive(Debug)]
pub(crate) struct Scan {
    /// The files with records, in their order.
    pub(crate) files: Vec<ScannedFile>,
    /// Preallocated files that were never used.
    pub(crate) unused: Vec<PathBuf>,
    /// The last record's LSN; `Lsn::ZERO` in an empty log.
    pub(crate) last_lsn: Lsn,
    /// The CRC that the next frame goes on from.
    pub(crate) chain: u32,
    /// No record has a later system time.
    pub(crate) system_time_max_us: i64,
    /// Bytes that a crash left after the last whole frame.
    pub(crate) torn_tail: Option<TornTail>,
}

/// Bytes that were never promised to anyone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TornTail {
    pub(crate) path: PathBuf,
    pub(crate) offset: u64,
}

/// A log file with records.
#[derive(Clone, Debug)]
pub(crate) struct ScannedFile {
    pub(crate) path: PathBuf,
    pub(crate) number: u64,
    pub(crate) first_lsn: Lsn,
    /// Where its last frame ends.
    pub(crate) end: u64,
    chain: u32,
}

/// A record with its position.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Located<'a> {
    pub(crate) lsn: Lsn,
    pub(crate) record: RawRecord<'a>,
}

/// What the log must be like, from what the catalog knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) system_identifier: u64,
    /// No file with this number or a higher one was ever removed.
    pub(crate) first_file: Option<u64>,
}

/// Walks the whole log and checks it. `visit` sees every record once, in order.
pub(crate) fn scan(
    files: &dyn Files,
    directory: &Path,
    expected: Expected,
    mut visit: impl FnMut(Located<'_>) -> Result<(), WalFormatError>,
) -> Result<Scan, WalOpenError> {
    let (opened, unused) = open_files(files, directory, expected)?;
    let mut found = Scan {
        files: Vec::new(),
        unused,
        last_lsn: Lsn::ZERO,
        chain: 0,
        system_time_max_us: i64::MIN,
        torn_tail: None,
    };
    for (at, (path, file, header)) in opened.iter().enumerate() {
        let next = opened.get(at + 1).map(|(_, _, header)| header);
        check_succession(&found, path, header)?;
        found.system_time_max_us = found.system_time_max_us.max(header.system_time_floor_us);
        let mut system_time_max_us = found.system_time_max_us;
        let walked = walk(file.as_ref(), header, path, |located| {
            system_time_max_us = system_time_max_us.max(located.record.system_time_us);
            visit(located)
        })?;
        found.system_time_max_us = system_time_max_us;
        found.chain = walked.chain;
        found.last_lsn = walked.last_lsn.unwrap_or(found.last_lsn.max(Lsn(header.first_lsn.0 - 1)));
        match next {
            Some(next) if next.previous_end == Some(walked.end) => {}
            Some(_) => return Err(damaged(path, walked.end)),
            None => {
                if promised_beyond(file.as_ref(), path, walked.end, found.last_lsn)? {
                    return Err(damaged(path, walked.end));
                }
                if !is_zero_from(file.as_ref(), path, walked.end)? {
                    found.torn_tail = Some(TornTail { path: path.clone(), offset: walked.end });
                }
            }
        }
        found.files.push(ScannedFile {
            path: path.clone(),
            number: header.number,
            first_lsn: header.first_lsn,
            end: walked.end,
            chain: header.chain,
        });
    }
    Ok(found)
}

/// Walks the records that [`scan`] found once more.
pub(crate) fn replay<E: From<WalOpenError>>(
    files: &dyn Files,
    scan: &Scan,
    mut visit: impl FnMut(Located<'_>) -> Result<(), E>,
) -> Result<(), E> {
    for scanned in &scan.files {
        let file = open(files, &scanned.path, OpenMode::Read)?;
        let mut reader = Window::new(file.as_ref(), &scanned.path)?;
        let mut at = FILE_HEADER_BYTES as u64;
        let mut chain = scanned.chain;
        while at < scanned.end {
            let frame = reader.frame(at, chain)?.ok_or_else(|| damaged(&scanned.path, at))?;
            for located in frame.records() {
                visit(located.map_err(|source| format_error(&scanned.path, at, source))?)?;
            }
            chain = frame.header.payload_crc32c;
            at += frame.bytes();
        }
    }
    Ok(())
}

/// Makes what was read durable and removes what was not promised, so that the next reader finds
/// the same log whatever happens now.
pub(crate) fn settle(files: &dyn Files, directory: &Path, scan: &Scan) -> Result<(), WalOpenError> {
    if let Some(last) = scan.files.last() {
        let file = open(files, &last.path, OpenMode::ReadWrite)?;
        let io = |source| WalOpenError::Io { path: last.path.clone(), source };
        if scan.torn_tail.is_some() {
            file.set_len(last.end).map_err(io)?;
        }
        durable::sync(file.as_ref()).map_err(io)?;
    }
    let io = |source| WalOpenError::Io { path: directory.to_owned(), source };
    for path in &scan.unused {
        files.remove(path).map_err(io)?;
    }
    durable::sync_directory(files, directory).map_err(io)
}

type Opened = (PathBuf, Arc<dyn File>, FileHeader);

fn open_files(
    files: &dyn Files,
    directory: &Path,
    expected: Expected,
) -> Result<(Vec<Opened>, Vec<PathBuf>), WalOpenError> {
    let io = |source| WalOpenError::Io { path: directory.to_owned(), source };
    let names = files.list(directory).map_err(io)?;
    let mut opened: Vec<Opened> = Vec::new();
    let mut unused = Vec::new();
    for name in names.iter().filter(|name| name.ends_with(".wal")) {
        let path = directory.join(name);
        let file = open(files, &path, OpenMode::Read)?;
        let header = read_header(file.as_ref(), &path)?;
        match header {
            None => unused.push(path),
            // Files are used in the order of their numbers, so an earlier one was used too.
            Some(_) if !unused.is_empty() => return Err(damaged(&unused[0], 0)),
            Some(header) => {
                if header.system_identifier != expected.system_identifier {
                    return Err(WalOpenError::ForeignLog { path });
                }
                if *name != file_name(header.number) {
                    return Err(damaged(&path, 0));
                }
                opened.push((path, file, header));
            }
        }
    }
    // A crash between noting the first file to keep and removing those before it leaves some.
    let first = expected.first_file.unwrap_or(1);
    if expected.first_file.is_some() || !opened.is_empty() {
        let present = opened.first().map(|(_, _, header)| header.number);
        if present.is_none_or(|present| present > first) {
            return Err(WalOpenError::MissingFile { path: directory.join(file_name(first)) });
        }
    }
    Ok((opened, unused))
}

fn read_header(file: &dyn File, path: &Path) -> Result<Option<FileHeader>, WalOpenError> {
    let io = |source| WalOpenError::Io { path: path.to_owned(), source };
    if file.byte_len().map_err(io)? < FILE_HEADER_BYTES as u64 {
        // A crash between creation and preallocation.
        return Ok(None);
    }
    let mut bytes = [0; FILE_HEADER_BYTES];
    file.read_exact_at(&mut bytes, 0).map_err(io)?;
    match FileHeader::decode(&bytes) {
        Ok(header) => Ok(header),
        // The header and the first frame are synced together, so a torn header promises nothing;
        // unless a frame after it was written later, which says that there was a sync between.
        Err(WalFormatError::DamagedHeader | WalFormatError::NotALogFile)
            if !promised_beyond(file, path, FILE_HEADER_BYTES as u64, Lsn::ZERO)? =>
        {
            Ok(None)
        }
        Err(source) => Err(format_error(path, 0, source)),
    }
}

fn check_succession(found: &Scan, path: &Path, header: &FileHeader) -> Result<(), WalOpenError> {
    let Some(previous) = found.files.last() else { return Ok(()) };
    if header.number != previous.number + 1 {
        let missing = path.with_file_name(file_name(previous.number + 1));
        return Err(WalOpenError::MissingFile { path: missing });
    }
    // The first LSN may be higher: segments can be ahead of a log that was not synced.
    if header.chain != found.chain || header.first_lsn <= found.last_lsn {
        return Err(damaged(path, 0));
    }
    Ok(())
}

struct Walked {
    end: u64,
    chain: u32,
    last_lsn: Option<Lsn>,
}

fn walk(
    file: &dyn File,
    header: &FileHeader,
    path: &Path,
    mut visit: impl FnMut(Located<'_>) -> Result<(), WalFormatError>,
) -> Result<Walked, WalOpenError> {
    let mut reader = Window::new(file, path)?;
    let mut walked = Walked { end: FILE_HEADER_BYTES as u64, chain: header.chain, last_lsn: None };
    let mut next_lsn = header.first_lsn;
    while let Some(frame) = reader.frame(walked.end, walked.chain)? {
        if frame.header.first_lsn != next_lsn || frame.header.record_count == 0 {
            break;
        }
        for located in frame.records() {
            located.and_then(&mut visit).map_err(|source| format_error(path, walked.end, source))?;
        }
        next_lsn = Lsn(next_lsn.0 + u64::from(frame.header.record_count));
        walked.last_lsn = Some(Lsn(next_lsn.0 - 1));
        walked.chain = frame.header.payload_crc32c;
        walked.end += frame.bytes();
    }
    Ok(walked)
}

/// Whether a frame at or after `from` was written when a record after `last_lsn` was durable.
fn promised_beyond(file: &dyn File, path: &Path, from: u64, last_lsn: Lsn) -> Result<bool, WalOpenError> {
    let mut reader = Window::new(file, path)?;
    let mut at = from;
    while let Some(bytes) = reader.slice(at, FRAME_HEADER_BYTES)? {
        let bytes: &[u8; FRAME_HEADER_BYTES] = bytes.try_into().expect("as long as was asked for");
        if FrameHeader::decode(bytes).is_some_and(|header| header.durable_lsn > last_lsn) {
            return Ok(true);
        }
        at += crate::wal::format::ALIGNMENT as u64;
    }
    Ok(false)
}

fn is_zero_from(file: &dyn File, path: &Path, from: u64) -> Result<bool, WalOpenError> {
    let mut reader = Window::new(file, path)?;
    let mut at = from;
    while at < reader.file_bytes {
        let len = (reader.file_bytes - at).min(WINDOW_BYTES as u64);
        let len = usize::try_from(len).expect("at most a window");
        let bytes = reader.slice(at, len)?.expect("within the file");
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += len as u64;
    }
    Ok(true)
}

fn open(files: &dyn Files, path: &Path, mode: OpenMode) -> Result<Arc<dyn File>, WalOpenError> {
    files.open(path, mode).map_err(|source| WalOpenError::Io { path: path.to_owned(), source })
}

fn damaged(path: &Path, offset: u64) -> WalOpenError {
    WalOpenError::Damaged { path: path.to_owned(), offset }
}

fn format_error(path: &Path, offset: u64, source: WalFormatError) -> WalOpenError {
    WalOpenError::Format { path: path.to_owned(), offset, source }
}

/// A frame whose CRCs are right.
struct Frame<'a> {
    header: FrameHeader,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    fn bytes(&self) -> u64 {
        (FRAME_HEADER_BYTES + aligned(self.payload.len())) as u64
    }

    fn records(&self) -> impl Iterator<Item = Result<Located<'a>, WalFormatError>> + use<'a> {
        let mut rest = self.payload;
        let mut lsn = self.header.first_lsn;
        (0..self.header.record_count).map(move |_| {
            let (record, after) = decode_record(rest)?;
            let located = Located { lsn, record };
            rest = after;
            lsn = lsn.next();
            Ok(located)
        })
    }
}

/// A file seen through a buffer.
struct Window<'f> {
    file: &'f dyn File,
    path: &'f Path,
    file_bytes: u64,
    start: u64,
    buffer: Vec<u8>,
}

impl<'f> Window<'f> {
    fn new(file: &'f dyn File, path: &'f Path) -> Result<Window<'f>, WalOpenError> {
        let io = |source| WalOpenError::Io { path: path.to_owned(), source };
        let file_bytes = file.byte_len().map_err(io)?;
        Ok(Window { file, path, file_bytes, start: 0, buffer: Vec::new() })
    }

    /// The bytes at a position; `None` where the file ends before them.
    fn slice(&mut self, at: u64, len: usize) -> Result<Option<&[u8]>, WalOpenError> {
        let end = at.saturating_add(len as u64);
        if end > self.file_bytes {
            return Ok(None);
        }
        if at < self.start || end > self.start + self.buffer.len() as u64 {
            let wanted = (len.max(WINDOW_BYTES) as u64).min(self.file_bytes - at);
            self.buffer.resize(usize::try_from(wanted).expect("a window fits in memory"), 0);
            self.start = at;
            let read = self.file.read_exact_at(&mut self.buffer, at);
            read.map_err(|source| WalOpenError::Io { path: self.path.to_owned(), source })?;
        }
        let from = usize::try_from(at - self.start).expect("within the window");
        Ok(Some(&self.buffer[from..from + len]))
    }

    /// The frame at a position, if there is a whole one that follows `chain`.
    fn frame(&mut self, at: u64, chain: u32) -> Result<Option<Frame<'_>>, WalOpenError> {
        let Some(bytes) = self.slice(at, FRAME_HEADER_BYTES)? else { return Ok(None) };
        let bytes: &[u8; FRAME_HEADER_BYTES] = bytes.try_into().expect("as long as was asked for");
        let Some(header) = FrameHeader::decode(bytes) else { return Ok(None) };
        let payload_bytes = usize::try_from(header.payload_bytes).expect("usize has 32 bits");
        let payload_at = at + FRAME_HEADER_BYTES as u64;
        let Some(payload) = self.slice(payload_at, payload_bytes)? else { return Ok(None) };
        let right = crc32c::crc32c_append(chain, payload) == header.payload_crc32c;
        Ok(right.then_some(Frame { header, payload }))
    }
}
