//! The bytes of the write-ahead log.
//!
//! The log is a row of files `wal/<number>.wal`, each written once from its start to its end and
//! preallocated with zeros. Numbers rise by one. All integers are little-endian.
//!
//! ```text
//! file     ┌──────────────────┬─────────┬─────────┬ … ┬─────────┬ zeros ┐
//!          │ header, 64 bytes │ frame 1 │ frame 2 │   │ frame n │ 0 0 0 │    frames start at
//!          └──────────────────┴─────────┴─────────┴ … ┴─────────┴───────┘    multiples of 8
//!
//! header   0  magic "TIDEWAL\0"          8  version, u32          12  zero, u32
//!         16  system identifier, u64    24  number, u64           32  first LSN, u64
//!         40  end of the previous file's last frame, u64 (0: there is no previous file)
//!         48  system time floor, i64    56  chain, u32            60  CRC32C of 0..60
//!
//! frame    0  magic "TWFR"               4  payload bytes, u32     8  first LSN, u64
//!         16  records, u32              20  chained CRC32C of the payload
//!         24  durable LSN, u64          32  CRC32C of 0..32       36  zero, u32
//!         40  payload: the records, then zeros up to a multiple of 8
//!
//! record   0  body bytes, u32            4  kind, u8               5  version, u8   6  zero, u16
//!          8  system time, i64          16  body, then zeros up to a multiple of 8
//! ```
//!
//! number   of a producer, at the start of the body of a record that has one:
//!          0  length of the name, u16    2  the name, UTF-8        then the number, u64
//!
//! The records of a frame have the LSNs `first LSN`, `first LSN + 1`, …. The CRC of a payload
//! starts from the CRC of the payload before it (in the first frame of a file, from the header's
//! `chain`, which is the last payload CRC of the previous file), so a frame that does not follow its
//! predecessor is not taken for one that does. The CRC of the frame's own header is not chained: it
//! lets a reader that met a bad frame find the frames after it, and learn from `durable LSN`, the
//! last LSN that was synced when that frame was written, whether the bad one had been promised.
//!
//! `end of the previous file's last frame` tells where a file was left, so zeros or a torn frame
//! after that position are no damage, and anything missing before it is.

use crate::error::WalFormatError;
use tidemark_catalog::ids::Lsn;

/// The newest version of the log's format.
pub(crate) const VERSION: u32 = 1;

pub(crate) const FILE_MAGIC: [u8; 8] = *b"TIDEWAL\0";
pub(crate) const FRAME_MAGIC: [u8; 4] = *b"TWFR";

pub(crate) const FILE_HEADER_BYTES: usize = 64;
pub(crate) const FRAME_HEADER_BYTES: usize = 40;
pub(crate) const RECORD_HEADER_BYTES: usize = 16;
pub(crate) const ALIGNMENT: usize = 8;

/// No file starts further on; so positions in it can be counted without looking for an overflow.
const FIRST_LSN_MAX: u64 = 1 << 62;

/// The newest version of a record.
pub(crate) const RECORD_VERSION: u8 = 2;

const _: () = assert!(FILE_HEADER_BYTES.is_multiple_of(ALIGNMENT));
const _: () = assert!(FRAME_HEADER_BYTES.is_multiple_of(ALIGNMENT));
const _: () = assert!(RECORD_HEADER_BYTES.is_multiple_of(ALIGNMENT));

/// Rounds up to a multiple of [`ALIGNMENT`].
pub(crate) const fn aligned(bytes: usize) -> usize {
    bytes.next_multiple_of(ALIGNMENT)
}

/// The start of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) system_identifier: u64,
    pub(crate) number: u64,
    pub(crate) first_lsn: Lsn,
    /// Where the previous file's last frame ends; `None` when there is no previous file.
    pub(crate) previous_end: Option<u64>,
    /// No record in this file or after it has an earlier system time.
    pub(crate) system_time_floor_us: i64,
    pub(crate) chain: u32,
}

impl FileHeader {
    pub(crate) fn encode(&self) -> [u8; FILE_HEADER_BYTES] {
        let mut bytes = [0; FILE_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&FILE_MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.system_identifier.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.number.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.first_lsn.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.previous_end.unwrap_or(0).to_le_bytes());
        bytes[48..56].copy_from_slice(&self.system_time_floor_us.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.chain.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..60]);
        bytes[60..64].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header back. `Ok(None)` for zeros: a file that was preallocated and never used.
    pub(crate) fn decode(bytes: &[u8; FILE_HEADER_BYTES]) -> Result<Option<FileHeader>, WalFormatError> {
        if bytes.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if bytes[0..8] != FILE_MAGIC {
            return Err(WalFormatError::NotALogFile);
        }
        // The version comes before the CRC: a newer format may place it elsewhere.
        let version = u32_at(bytes, 8);
        if version > VERSION {
            return Err(WalFormatError::NewerVersion { found: version, supported: VERSION });
        }
        if crc32c::crc32c(&bytes[..60]) != u32_at(bytes, 60) {
            return Err(WalFormatError::DamagedHeader);
        }
        let first_lsn = u64_at(bytes, 32);
        if !(1..=FIRST_LSN_MAX).contains(&first_lsn) {
            return Err(WalFormatError::DamagedHeader);
        }
        let previous_end = u64_at(bytes, 40);
        Ok(Some(FileHeader {
            system_identifier: u64_at(bytes, 16),
            number: u64_at(bytes, 24),
            first_lsn: Lsn(first_lsn),
            previous_end: (previous_end != 0).then_some(previous_end),
            system_time_floor_us: u64_at(bytes, 48).cast_signed(),
            chain: u32_at(bytes, 56),
        }))
    }
}

/// The start of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Without the padding at its end.
    pub(crate) payload_bytes: u32,
    pub(crate) first_lsn: Lsn,
    pub(crate) record_count: u32,
    pub(crate) payload_crc32c: u32,
    pub(crate) durable_lsn: Lsn,
}

impl FrameHeader {
    pub(crate) fn encode(&self) -> [u8; FRAME_HEADER_BYTES] {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes[0..4].copy_from_slice(&FRAME_MAGIC);
        bytes[4..8].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.first_lsn.0.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.record_count.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.payload_crc32c.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.durable_lsn.0.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..32]);
        bytes[32..36].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// `None` when this is no frame header.
    pub(crate) fn decode(bytes: &[u8; FRAME_HEADER_BYTES]) -> Option<FrameHeader> {
        if bytes[0..4] != FRAME_MAGIC || crc32c::crc32c(&bytes[..32]) != u32_at(bytes, 32) {
            return None;
        }
        Some(FrameHeader {
            payload_bytes: u32_at(bytes, 4),
            first_lsn: Lsn(u64_at(bytes, 8)),
            record_count: u32_at(bytes, 16),
            payload_crc32c: u32_at(bytes, 20),
            durable_lsn: Lsn(u64_at(bytes, 24)),
        })
    }
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordKind {
    /// Batches of rows that are committed by this record.
    Write = 1,
    /// A bulk write starts; its number is this record's LSN.
    BulkBegin = 2,
    /// A batch of a bulk write; committed by its `BulkCommit`, or never.
    BulkRows = 3,
    /// The bulk write is committed, as a whole, at this record's LSN.
    BulkCommit = 4,
    /// The bulk write will never be committed.
    BulkAbort = 5,
    /// A `Write` that a producer numbered: its number, then the body of a `Write`.
    SequencedWrite = 6,
    /// A `BulkCommit` that a producer numbered: its number, then the body of a `BulkCommit`.
    SequencedBulkCommit = 7,
}

impl RecordKind {
    fn from_tag(tag: u8) -> Option<RecordKind> {
        [
            RecordKind::Write,
            RecordKind::BulkBegin,
            RecordKind::BulkRows,
            RecordKind::BulkCommit,
            RecordKind::BulkAbort,
            RecordKind::SequencedWrite,
            RecordKind::SequencedBulkCommit,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == tag)
    }

    /// The version that brought it.
    fn version(self) -> u8 {
        match self {
            RecordKind::SequencedWrite | RecordKind::SequencedBulkCommit => 2,
            _ => 1,
        }
    }
}

/// A record in a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawRecord<'a> {
    pub(crate) kind: RecordKind,
    pub(crate) system_time_us: i64,
    pub(crate) body: &'a [u8],
}

/// The bytes that a record with this body takes in a payload.
pub(crate) const fn record_bytes(body_bytes: usize) -> usize {
    RECORD_HEADER_BYTES + aligned(body_bytes)
}

pub(crate) fn encode_record(payload: &mut Vec<u8>, record: &RawRecord<'_>) {
    let body_bytes = u32::try_from(record.body.len()).expect("the writer bounds the size of a record");
    payload.extend_from_slice(&body_bytes.to_le_bytes());
    payload.extend_from_slice(&[record.kind as u8, record.kind.version(), 0, 0]);
    payload.extend_from_slice(&record.system_time_us.to_le_bytes());
    payload.extend_from_slice(record.body);
    payload.resize(aligned(payload.len()), 0);
}

/// The next record of a payload whose CRC was found right, and what follows it.
pub(crate) fn decode_record(payload: &[u8]) -> Result<(RawRecord<'_>, &[u8]), WalFormatError> {
    let header = payload.get(..RECORD_HEADER_BYTES).ok_or(WalFormatError::BadRecord)?;
    let (tag, version) = (header[4], header[5]);
    if version > RECORD_VERSION {
        let (found, supported) = (u32::from(version), u32::from(RECORD_VERSION));
        return Err(WalFormatError::NewerVersion { found, supported });
    }
    let kind = RecordKind::from_tag(tag).ok_or(WalFormatError::BadRecord)?;
    let body_bytes = usize::try_from(u32_at(header, 0)).map_err(|_| WalFormatError::BadRecord)?;
    let rest = &payload[RECORD_HEADER_BYTES..];
    let body = rest.get(..body_bytes).ok_or(WalFormatError::BadRecord)?;
    let rest = rest.get(aligned(body_bytes)..).ok_or(WalFormatError::BadRecord)?;
    let system_time_us = u64_at(header, 8).cast_signed();
    Ok((RawRecord { kind, system_time_us, body }, rest))
}

/// Starts a body with a producer's number.
pub(crate) fn encode_number(body: &mut Vec<u8>, producer: &str, sequence: u64) {
    let len = u16::try_from(producer.len()).expect("names of producers are shorter");
    body.extend_from_slice(&len.to_le_bytes());
    body.extend_from_slice(producer.as_bytes());
    body.extend_from_slice(&sequence.to_le_bytes());
}

/// The producer's number at the start of a body, and what follows it.
pub(crate) fn decode_number(body: &[u8]) -> Option<(&str, u64, &[u8])> {
    let (len, rest) = body.split_first_chunk::<2>()?;
    let (name, rest) = rest.split_at_checked(u16::from_le_bytes(*len).into())?;
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    Some((std::str::from_utf8(name).ok()?, u64::from_le_bytes(*sequence), rest))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file header, a frame with two records: a change here is a change of format.
    const GOLDEN: &str = include_str!("../../../tests/golden/wal_v1.txt");

    /// The records that version 2 brought.
    const GOLDEN_V2: &str = include_str!("../../../tests/golden/wal_v2.txt");

    fn sample() -> (FileHeader, FrameHeader, Vec<u8>) {
        let header = FileHeader {
            system_identifier: 0x0102_0304_0506_0708,
            number: 9,
            first_lsn: Lsn(1000),
            previous_end: Some(4096),
            system_time_floor_us: -3,
            chain: 0xAABB_CCDD,
        };
        let mut payload = Vec::new();
        for (kind, body) in [(RecordKind::Write, &b"abc"[..]), (RecordKind::BulkCommit, &b"12345678"[..])] {
            encode_record(&mut payload, &RawRecord { kind, system_time_us: 77, body });
        }
        let frame = FrameHeader {
            payload_bytes: u32::try_from(payload.len()).unwrap(),
            first_lsn: Lsn(1000),
            record_count: 2,
            payload_crc32c: crc32c::crc32c_append(header.chain, &payload),
            durable_lsn: Lsn(999),
        };
        (header, frame, payload)
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn bytes_of_version_1_are_pinned() {
        let (header, frame, payload) = sample();
        let text = format!(
            "file {}\nframe {}\npayload {}\n",
            hex(&header.encode()),
            hex(&frame.encode()),
            hex(&payload)
        );
        assert_eq!(text, GOLDEN);
    }

    #[test]
    fn bytes_of_version_2_are_pinned_and_read_back() {
        let mut body = Vec::new();
        encode_number(&mut body, "telegraf-1", 77);
        body.extend_from_slice(b"abc");
        let mut payload = Vec::new();
        for kind in [RecordKind::SequencedWrite, RecordKind::SequencedBulkCommit] {
            encode_record(&mut payload, &RawRecord { kind, system_time_us: 77, body: &body });
        }
        assert_eq!(format!("payload {}\n", hex(&payload)), GOLDEN_V2);
        let (record, _) = decode_record(&payload).unwrap();
        assert_eq!(decode_number(record.body), Some(("telegraf-1", 77, &b"abc"[..])));
        assert_eq!(decode_number(&body[..12]), None);
    }

    #[test]
    fn headers_and_records_are_read_back() {
        let (header, frame, payload) = sample();
        assert_eq!(FileHeader::decode(&header.encode()).unwrap(), Some(header));
        assert_eq!(FrameHeader::decode(&frame.encode()), Some(frame));
        let (first, rest) = decode_record(&payload).unwrap();
        let (second, rest) = decode_record(rest).unwrap();
        assert_eq!((first.body, second.body, rest), (&b"abc"[..], &b"12345678"[..], &b""[..]));
        assert_eq!((first.kind, second.kind), (RecordKind::Write, RecordKind::BulkCommit));
    }

    #[test]
    fn every_damaged_byte_of_a_header_is_noticed() {
        let (header, frame, _) = sample();
        for at in 0..FILE_HEADER_BYTES {
            let mut bytes = header.encode();
            bytes[at] ^= 1;
            assert!(FileHeader::decode(&bytes).is_err(), "byte {at}");
        }
        for at in 0..36 {
            let mut bytes = frame.encode();
            bytes[at] ^= 1;
            assert_eq!(FrameHeader::decode(&bytes), None, "byte {at}");
        }
    }

    #[test]
    fn a_file_starts_at_a_position_that_a_log_can_have() {
        let (header, ..) = sample();
        for first_lsn in [0, FIRST_LSN_MAX + 1, u64::MAX] {
            let header = FileHeader { first_lsn: Lsn(first_lsn), ..header };
            assert!(FileHeader::decode(&header.encode()).is_err(), "{first_lsn}");
        }
    }

    #[test]
    fn a_file_that_was_never_used_is_zeros() {
        assert_eq!(FileHeader::decode(&[0; FILE_HEADER_BYTES]).unwrap(), None);
    }
}
