//! Doors for the fuzz targets to what reads bytes from the disk.
//!
//! Checksums keep accidents away from these readers, and would keep the fuzzer away too: so bytes come in
//! behind the checksums, or are given right ones first ([`seal_log`]). Nothing here may panic, nor take
//! memory by what the bytes say instead of by how many there are.

use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use tidemark_catalog::ids::{CollectionId, Lsn, PartitionId, SchemaVersion, SegmentId};
use tidemark_catalog::segment::{DeletedRows, Segment};

use crate::env::sim::World;
use crate::env::{Env, OpenMode};
use crate::metrics::Metrics;
use crate::segment::{deleted, file};
use crate::wal::codec::decode_batches;
use crate::wal::format::{
    FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FRAME_MAGIC, FileHeader, FrameHeader, RecordKind, aligned,
    decode_number, decode_record,
};
use crate::wal::reader::{self, Expected, Located};

const SYSTEM_IDENTIFIER: u64 = 7;

/// Reads bytes as the only file of a log, with all records in it.
///
/// # Errors
/// The world cannot keep the file.
pub fn log_file(bytes: &[u8]) -> io::Result<()> {
    let directory = Path::new("/wal");
    let env = World::new(1).env();
    env.files.create_directory(directory)?;
    put(&env, &directory.join(reader::file_name(1)), bytes)?;
    let expected = Expected { system_identifier: SYSTEM_IDENTIFIER, first_file: None };
    let scan = reader::scan(env.files.as_ref(), directory, expected, |located| {
        log_record(located);
        Ok(())
    });
    if let Ok(scan) = scan {
        let replayed = reader::replay(env.files.as_ref(), &scan, |located| {
            log_record(located);
            Ok::<_, crate::error::WalOpenError>(())
        });
        assert!(replayed.is_ok(), "what a scan accepts is read again: {replayed:?}");
        let settled = reader::settle(env.files.as_ref(), directory, &scan);
        assert!(settled.is_ok(), "what a scan accepts is settled: {settled:?}");
        let again = reader::scan(env.files.as_ref(), directory, expected, |_| Ok(()));
        let is_same = again.is_ok_and(|again| again.last_lsn == scan.last_lsn && again.torn_tail.is_none());
        assert!(is_same || scan.files.is_empty(), "what was settled is read as it was");
    }
    Ok(())
}

/// Reads bytes as the records of a frame.
pub fn log_records(mut payload: &[u8]) {
    let mut lsn = Lsn(1);
    while let Ok((record, rest)) = decode_record(payload) {
        log_record(Located { lsn, record });
        (payload, lsn) = (rest, lsn.next());
        if rest.is_empty() {
            break;
        }
    }
}

fn log_record(located: Located<'_>) {
    let body = located.record.body;
    let body = match located.record.kind {
        RecordKind::SequencedWrite | RecordKind::SequencedBulkCommit => {
            decode_number(body).map_or(&[][..], |(_, _, body)| body)
        }
        RecordKind::BulkRows => body.get(8..).unwrap_or_default(),
        _ => body,
    };
    let Ok(batches) = decode_batches(body) else { return };
    let list = |item| DataType::List(Arc::new(Field::new("item", item, true)));
    let types = [
        DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into())),
        DataType::Int64,
        DataType::Int32,
        DataType::Float64,
        DataType::Utf8View,
        DataType::Boolean,
        DataType::BinaryView,
        list(DataType::Int64),
        list(DataType::Utf8View),
        list(list(DataType::Float64)),
    ];
    for batch in &batches {
        for data_type in &types {
            // Each column may be of any type: what does not fit is an error.
            batch.columns(|_| Some(data_type.clone())).ok();
        }
    }
}

/// Gives a log file that was changed the checksums that it needs to be read: of its header, and of frames
/// for as long as one follows another.
pub fn seal_log(bytes: &mut [u8]) {
    let Some(header) = bytes.first_chunk::<FILE_HEADER_BYTES>() else { return };
    let crc = crc32c::crc32c(&header[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    let header = bytes.first_chunk::<FILE_HEADER_BYTES>().map(FileHeader::decode);
    let Some(Ok(Some(header))) = header else { return };
    let (mut at, mut chain) = (FILE_HEADER_BYTES, header.chain);
    while let Some(frame) = bytes.get(at..at + FRAME_HEADER_BYTES) {
        if frame[..4] != FRAME_MAGIC {
            return;
        }
        let length = u32::from_le_bytes(frame[4..8].try_into().expect("four bytes"));
        let payload = at + FRAME_HEADER_BYTES..at + FRAME_HEADER_BYTES + length as usize;
        let end = payload.start + aligned(length as usize);
        let Some(content) = bytes.get(payload) else { return };
        chain = crc32c::crc32c_append(chain, content);
        bytes[at + 20..at + 24].copy_from_slice(&chain.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[at..at + 32]);
        bytes[at + 32..at + 36].copy_from_slice(&crc.to_le_bytes());
        let sealed = bytes[at..at + FRAME_HEADER_BYTES].try_into().expect("so many bytes");
        assert!(FrameHeader::decode(&sealed).is_some(), "it was given the right checksum");
        at = end;
    }
}

/// Reads bytes as the file of the deleted rows of a segment.
pub fn deleted_rows(bytes: &[u8]) {
    let count = bytes.get(24..32).map_or(0, |it| u64::from_le_bytes(it.try_into().expect("eight bytes")));
    let crc32c = crc32c::crc32c(bytes);
    let rows = DeletedRows { file: SegmentId(2), row_count: count, file_bytes: bytes.len() as u64, crc32c };
    let env = World::new(1).env();
    let path = Path::new("/deleted");
    if put(&env, path, bytes).is_ok() {
        let read = deleted::read(env.files.as_ref(), path, "a", &segment(bytes), &rows);
        let is_right = read.as_ref().map_or(true, |positions| positions.len() == count);
        assert!(is_right, "as many positions as the file says");
    }
}

/// Reads bytes as the file of a segment: its footer, and all of its pages.
pub fn segment_file(bytes: &[u8]) {
    let env = World::new(1).env();
    let path = Path::new("/segment");
    if put(&env, path, bytes).is_ok() {
        let metrics = Arc::new(Metrics::default());
        if let Ok(open) = file::open(env.files.as_ref(), path, "a", &segment(bytes), &metrics) {
            // A page or filter that is not as its checksum says is an error.
            open.check_all().ok();
        }
    }
}

/// A segment whose file has these bytes.
fn segment(bytes: &[u8]) -> Segment {
    Segment {
        id: SegmentId(1),
        collection: CollectionId(1),
        partition: PartitionId(1),
        schema_version: SchemaVersion(1),
        level: 0,
        row_count: 1000,
        file_bytes: bytes.len() as u64,
        footer_crc32c: crc32c::crc32c(bytes),
        footer_bytes: u32::try_from(bytes.len()).expect("inputs are small"),
        time_min: 0,
        time_max: 1,
        lsn_min: Lsn(1),
        lsn_max: Lsn(1),
        stage: 0,
        statistics: Vec::new(),
        deleted: None,
    }
}

fn put(env: &Env, path: &Path, bytes: &[u8]) -> io::Result<()> {
    env.files.open(path, OpenMode::CreateNew)?.write_all_at(bytes, 0)
}
