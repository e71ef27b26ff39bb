//! The bodies of requests: received and unpacked within bounds.
//!
//! 1. A length that the client announces is looked at, and refused at once where it is too much; it
//!    never sizes memory.
//! 2. Memory is taken as bytes arrive, and again as they unpack, from what all requests may have
//!    together. Where that is used up the request is refused, to be tried again: requests that wait
//!    for memory with half a body in it would wait for each other.
//! 3. Unpacking stops at the limit: a small body can stand for a huge one.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use futures::StreamExt;

use crate::http::refusal::Refusal;

/// Bodies are unpacked in steps of this many bytes.
const STEP_BYTES: usize = 256 << 10;

/// No body packed with snappy is longer than so many times what it is packed to: three bytes stand
/// for at most 64.
const SNAPPY_RATIO_MAX: usize = 22;

/// The memory that all requests have together.
#[derive(Debug)]
pub struct RequestMemory {
    used_bytes: AtomicUsize,
    bytes_max: usize,
}

/// Memory that a request has taken; it is given back when this goes.
#[derive(Debug)]
pub(super) struct Taken {
    memory: Arc<RequestMemory>,
    bytes: usize,
}

impl RequestMemory {
    /// So much, all free.
    pub fn new(bytes_max: usize) -> Arc<RequestMemory> {
        Arc::new(RequestMemory { used_bytes: AtomicUsize::new(0), bytes_max })
    }

    /// How much is taken.
    pub fn used_bytes(&self) -> usize {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Nothing yet, for a request.
    pub(super) fn begin(self: &Arc<Self>) -> Taken {
        Taken { memory: Arc::clone(self), bytes: 0 }
    }
}

impl Taken {
    /// Takes more.
    ///
    /// # Errors
    /// There is not so much left.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Refusal> {
        let bytes_max = self.memory.bytes_max;
        if self.bytes.saturating_add(bytes) > bytes_max {
            let message = "the request needs more memory than there is for all (send fewer rows at a time, or raise \
                http-memory)";
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "request too large", message));
        }
        let grown = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= bytes_max);
        let taken = self.memory.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown);
        taken.map_err(|_| {
            let message = "memory for requests is used up (try again, or raise http-memory)";
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
        })?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.memory.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Gzip,
    /// A block of snappy, without the framing that streams have.
    Snappy,
}

impl Packing {
    /// How the header says that the body is packed.
    ///
    /// # Errors
    /// In a way that is not known.
    pub(super) fn of(headers: &HeaderMap) -> Result<Packing, Refusal> {
        match headers.get(CONTENT_ENCODING).map(|value| value.to_str()) {
            None | Some(Ok("" | "identity")) => Ok(Packing::None),
            Some(Ok("gzip")) => Ok(Packing::Gzip),
            Some(Ok("snappy")) => Ok(Packing::Snappy),
            Some(other) => {
                let name = other.unwrap_or("(not text)");
                let message = format!("content encoding \"{name}\" is not supported");
                Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid", message))
            }
        }
    }
}

/// A body as it came.
#[derive(Debug)]
pub(super) struct Received {
    bytes: Bytes,
    packing: Packing,
    bytes_max: usize,
    taken: Taken,
}

/// A body as it was before it was packed, and the memory that was taken for both.
#[derive(Debug)]
pub(super) struct Unpacked {
    pub(super) bytes: Bytes,
    pub(super) taken: Taken,
}

fn too_large(bytes_max: usize) -> Refusal {
    let message = format!(
        "the body has more than {bytes_max} bytes (send fewer rows at a time, or raise http-body-size)"
    );
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "request too large", message)
}

fn malformed(message: String) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "invalid", message)
}

/// Receives a body.
///
/// # Errors
/// It is too long, packed in a way that is not known, or does not come.
pub(super) async fn receive(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
    mut taken: Taken,
) -> Result<Received, Refusal> {
    let packing = Packing::of(headers)?;
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(too_large(bytes_max));
    }
    // Chunks are put together as they come: kept for themselves, small ones would take many times what
    // is in them.
    let mut bytes = Vec::new();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| malformed(format!("the body ends too early: {error}")))?;
        if bytes.len() + chunk.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        taken.grow(chunk.len())?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(Received { bytes: bytes.into(), packing, bytes_max, taken })
}

impl Received {
    /// Unpacks the body. It takes a while: not for a thread of the network.
    ///
    /// # Errors
    /// It is not packed as it says, or too long when it is unpacked.
    pub(super) fn unpack(self) -> Result<Unpacked, Refusal> {
        let Received { bytes, packing, bytes_max, mut taken } = self;
        let bytes = match packing {
            Packing::None => bytes,
            Packing::Gzip => gunzip(&bytes, bytes_max, &mut taken)?.into(),
            Packing::Snappy => unsnap(&bytes, bytes_max, &mut taken)?.into(),
        };
        Ok(Unpacked { bytes, taken })
    }
}

fn gunzip(packed: &[u8], bytes_max: usize, taken: &mut Taken) -> Result<Vec<u8>, Refusal> {
    let mut decoder = MultiGzDecoder::new(packed);
    let mut unpacked = Vec::new();
    loop {
        let step = decoder.by_ref().take(STEP_BYTES as u64).read_to_end(&mut unpacked);
        let step_bytes = step.map_err(|error| malformed(format!("the body is not gzip: {error}")))?;
        taken.grow(step_bytes)?;
        if unpacked.len() > bytes_max {
            return Err(too_large(bytes_max));
        }
        if step_bytes == 0 {
            return Ok(unpacked);
        }
    }
}

fn unsnap(packed: &[u8], bytes_max: usize, taken: &mut Taken) -> Result<Vec<u8>, Refusal> {
    let wrong = |error: snap::Error| malformed(format!("the body is not a block of snappy: {error}"));
    let unpacked_bytes = snap::raw::decompress_len(packed).map_err(wrong)?;
    if unpacked_bytes > bytes_max {
        return Err(too_large(bytes_max));
    }
    if unpacked_bytes > packed.len().saturating_mul(SNAPPY_RATIO_MAX) {
        return Err(malformed(format!("the body cannot unpack to the {unpacked_bytes} bytes it announces")));
    }
    taken.grow(unpacked_bytes)?;
    snap::raw::Decoder::new().decompress_vec(packed).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// The length it unpacks to, or the status it is refused with.
    fn check(
        packed: Vec<u8>,
        packing: Packing,
        bytes_max: usize,
        memory: &Arc<RequestMemory>,
    ) -> Result<usize, u16> {
        let received = Received { bytes: packed.into(), packing, bytes_max, taken: memory.begin() };
        received.unpack().map(|it| it.bytes.len()).map_err(|refusal| refusal.status().as_u16())
    }

    #[test]
    fn what_unpacks_to_too_much_is_refused() {
        let memory = RequestMemory::new(10 << 20);
        let zeros = vec![0; 1 << 20];
        let snapped = snap::raw::Encoder::new().compress_vec(&zeros).unwrap();
        for (packed, packing) in [(gzip(&zeros), Packing::Gzip), (snapped, Packing::Snappy)] {
            assert_eq!(check(packed.clone(), packing, 1 << 20, &memory), Ok(1 << 20));
            assert_eq!(check(packed.clone(), packing, (1 << 20) - 1, &memory), Err(413));
            assert_eq!(check(packed[..packed.len() - 1].to_vec(), packing, 1 << 20, &memory), Err(400));
            let scarce = RequestMemory::new(1 << 19);
            assert_eq!(check(packed.clone(), packing, 1 << 20, &scarce), Err(413));
            let mut others = memory.begin();
            others.grow((9 << 20) + 1).unwrap();
            assert_eq!(check(packed, packing, 1 << 20, &memory), Err(503));
            assert_eq!(scarce.used_bytes(), 0);
        }
        assert_eq!(memory.used_bytes(), 0);
    }

    #[test]
    fn a_length_that_cannot_be_is_not_believed() {
        let memory = RequestMemory::new(1 << 30);
        // An announcement of 2^28 bytes, and one literal.
        let packed = vec![0x80, 0x80, 0x80, 0x80, 0x01, 0x00, b'a'];
        assert_eq!(check(packed, Packing::Snappy, 1 << 29, &memory), Err(400));
    }
}
