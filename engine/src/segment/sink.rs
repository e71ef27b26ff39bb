//! Where a segment's encoder writes: the file, in large pieces, with the bytes since the last row group kept
//! so that their CRCs can be taken.

use std::io::{self, Write};
use std::sync::Arc;

use crate::env::File;

/// Bytes that are gathered before they are written to the file.
const WRITE_BYTES: usize = 1 << 20;

/// What is written of a file.
pub(super) struct Sink {
    file: Arc<dyn File>,
    /// Where the next byte goes.
    pub(super) position: u64,
    /// Bytes that are not forgotten, the last of them at `position`.
    kept: Vec<u8>,
    /// How many bytes are in the file.
    written: u64,
}

impl Sink {
    pub(super) fn new(file: Arc<dyn File>) -> Sink {
        Sink { file, position: 0, kept: Vec::new(), written: 0 }
    }

    fn kept_from(&self) -> u64 {
        self.position - self.kept.len() as u64
    }

    pub(super) fn crc(&self, at: u64, len: usize) -> u32 {
        let start = usize::try_from(at - self.kept_from()).expect("kept bytes fit in memory");
        crc32c::crc32c(&self.kept[start..start + len])
    }

    fn write_out(&mut self) -> io::Result<()> {
        let start = usize::try_from(self.written - self.kept_from()).expect("kept bytes fit in memory");
        self.file.write_all_at(&self.kept[start..], self.written)?;
        self.written = self.position;
        Ok(())
    }

    /// The CRCs of what is in the file are taken: its bytes are not needed any more.
    pub(super) fn forget(&mut self) {
        let count = usize::try_from(self.written - self.kept_from()).expect("kept bytes fit in memory");
        self.kept.drain(..count);
    }

    /// Writes the rest; returns its length and CRC from `footer_start` on.
    pub(super) fn finish(&mut self, footer_start: u64) -> io::Result<(u32, u32)> {
        let footer_bytes = u32::try_from(self.position - footer_start).map_err(io::Error::other)?;
        let crc = self.crc(footer_start, usize::try_from(footer_bytes).map_err(io::Error::other)?);
        self.write_out()?;
        Ok((footer_bytes, crc))
    }
}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.kept.extend_from_slice(data);
        self.position += data.len() as u64;
        if self.position - self.written >= WRITE_BYTES as u64 {
            self.write_out()?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
