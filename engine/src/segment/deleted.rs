//! Which rows of a segment are not there any more: a file of their positions.
//!
//! ```text
//!  0   magic "TIDEDEL\0"      8  version, u32     12  zero, u32
//! 16   segment, u64          24  rows, u64        32  a Roaring bitmap of positions, in the portable
//!                                                     form (github.com/RoaringBitmap/RoaringFormatSpec)
//! ```
//!
//! Little-endian. The catalog keeps the file's length and CRC32C. A file is written once; when more rows
//! of the segment are deleted, a new file has all of them, and the old one is removed.

use std::io;
use std::path::Path;
use std::sync::Arc;

use roaring::RoaringBitmap;
use tidemark_catalog::ids::SegmentId;
use tidemark_catalog::segment::{DeletedRows, Segment};

use crate::durable;
use crate::env::{Files, OpenMode};
use crate::error::{JobError, ReadError};

const MAGIC: [u8; 8] = *b"TIDEDEL\0";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 32;

/// Positions of rows in a segment, from 0.
pub(crate) type Positions = RoaringBitmap;

/// Writes the positions: a durable file that no manifest names.
pub(crate) fn write(
    files: &dyn Files,
    path: &Path,
    file: SegmentId,
    segment: SegmentId,
    positions: &Positions,
) -> Result<DeletedRows, JobError> {
    let io = |source| JobError::Io { segment: file, source };
    let mut bytes = Vec::with_capacity(HEADER_BYTES + positions.serialized_size());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&segment.0.to_le_bytes());
    bytes.extend_from_slice(&positions.len().to_le_bytes());
    positions.serialize_into(&mut bytes).map_err(io)?;
    let pending = durable::create(files, path).map_err(io)?;
    let written = pending.file.write_all_at(&bytes, 0);
    fail::fail_point!("delete::before_publish_file", |_| {
        Err(JobError::Injected("delete::before_publish_file"))
    });
    if let Err(error) = written {
        if let Err(removal) = durable::discard(files, &pending) {
            // It has a temporary name, so the next opening removes it.
            tracing::debug!(error = %removal, "cannot remove an unfinished file of deleted rows");
        }
        return Err(io(error));
    }
    durable::publish(files, pending).map_err(io)?;
    Ok(DeletedRows {
        file,
        row_count: positions.len(),
        file_bytes: bytes.len() as u64,
        crc32c: crc32c::crc32c(&bytes),
    })
}

/// Reads the positions back.
pub(crate) fn read(
    files: &dyn Files,
    path: &Path,
    collection: &str,
    segment: &Segment,
    deleted: &DeletedRows,
) -> Result<Positions, ReadError> {
    let io = |source| ReadError::Io { path: path.to_owned(), source: Arc::new(source) };
    let damaged =
        || ReadError::Damaged { path: path.to_owned(), collection: collection.to_owned(), offset: 0 };
    let file = files.open(path, OpenMode::Read).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            ReadError::Missing { path: path.to_owned(), collection: collection.to_owned() }
        }
        _ => io(error),
    })?;
    if file.byte_len().map_err(io)? != deleted.file_bytes {
        return Err(damaged());
    }
    let mut bytes = vec![0; usize::try_from(deleted.file_bytes).map_err(|_| damaged())?];
    file.read_exact_at(&mut bytes, 0).map_err(io)?;
    if crc32c::crc32c(&bytes) != deleted.crc32c {
        return Err(damaged());
    }
    decode(&bytes, segment, deleted).ok_or_else(damaged)
}

fn decode(bytes: &[u8], segment: &Segment, deleted: &DeletedRows) -> Option<Positions> {
    let (header, bitmap) = bytes.split_at_checked(HEADER_BYTES)?;
    let number = |at: usize| Some(u64::from_le_bytes(header.get(at..at + 8)?.try_into().ok()?));
    let version = u32::from_le_bytes(header[8..12].try_into().ok()?);
    if header[..8] != MAGIC || version != VERSION || number(16)? != segment.id.0 {
        return None;
    }
    let positions = Positions::deserialize_from(bitmap).ok()?;
    let inside = positions.max().is_none_or(|last| u64::from(last) < segment.row_count);
    (inside && positions.len() == deleted.row_count && positions.len() == number(24)?).then_some(positions)
}
