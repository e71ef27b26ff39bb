//! How records lie in the catalog's file.
//!
//! Every value is one frame; the payload is the record in postcard's encoding
//! (<https://postcard.jamesmunns.com/wire-format>), which is fixed once a version has shipped:
//!
//! ```text
//!  0        1          2                    2+n            6+n
//!  ┌────────┬──────────┬────────────────────┬──────────────┐
//!  │ kind   │ version  │ payload, n bytes   │ CRC32C, LE   │   CRC over everything before it
//!  └────────┴──────────┴────────────────────┴──────────────┘
//! ```
//!
//! The structures here are the file's, not the program's: they change only by a new version, and
//! golden tests pin the bytes of every version. A version above the newest known one is refused.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::RecordError;

mod collection;
mod comment;
mod principal;
mod producer;
mod segment;
#[cfg(test)]
mod tests;

pub(crate) use self::comment::{Comment, comment_key};

const HEADER_BYTES: usize = 2;
const CRC_BYTES: usize = 4;

/// A kind of record: its tag in the frame, the table it lives in, and its layout.
pub(crate) trait Record: Sized {
    const KIND: u8;
    const VERSION: u8;
    const TABLE: &'static str;
    type Layout: Serialize + DeserializeOwned;

    fn to_layout(&self) -> Self::Layout;
    /// `None` when the layout says something impossible.
    fn from_layout(layout: Self::Layout) -> Option<Self>;

    /// The record in the payload of an older version; `None` when there is none, or it is not
    /// what that version wrote.
    fn from_older(_version: u8, _payload: &[u8]) -> Option<Self> {
        None
    }
}

/// The frame of a record.
pub(crate) fn encode<R: Record>(record: &R) -> Vec<u8> {
    let frame = vec![R::KIND, R::VERSION];
    let mut frame =
        postcard::to_extend(&record.to_layout(), frame).expect("a record in memory always has an encoding");
    let crc = crc32c::crc32c(&frame);
    frame.extend_from_slice(&crc.to_le_bytes());
    frame
}

/// The record in a frame; `key` is for the error.
pub(crate) fn decode<R: Record>(frame: &[u8], key: impl ToString) -> Result<R, RecordError> {
    let damaged = || RecordError::Damaged { table: R::TABLE, key: key.to_string() };
    if frame.len() < HEADER_BYTES + CRC_BYTES {
        return Err(damaged());
    }
    let (body, crc) = frame.split_at(frame.len() - CRC_BYTES);
    if crc32c::crc32c(body).to_le_bytes() != crc || body[0] != R::KIND {
        return Err(damaged());
    }
    if body[1] > R::VERSION {
        return Err(RecordError::Newer {
            table: R::TABLE,
            key: key.to_string(),
            found: body[1],
            supported: R::VERSION,
        });
    }
    let payload = &body[HEADER_BYTES..];
    let record = if body[1] == R::VERSION {
        whole(payload).and_then(R::from_layout)
    } else {
        R::from_older(body[1], payload)
    };
    record.ok_or_else(damaged)
}

/// A layout that takes the whole payload.
fn whole<L: DeserializeOwned>(payload: &[u8]) -> Option<L> {
    let (layout, rest) = postcard::take_from_bytes(payload).ok()?;
    rest.is_empty().then_some(layout)
}

/// The counters that ids come from: each is above every id given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    pub(crate) next_object: u32,
    pub(crate) next_partition: u64,
    pub(crate) next_segment: u64,
}

impl Record for Counters {
    const KIND: u8 = 1;
    const VERSION: u8 = 1;
    const TABLE: &'static str = "counters";
    type Layout = Counters;

    fn to_layout(&self) -> Counters {
        *self
    }

    fn from_layout(layout: Counters) -> Option<Counters> {
        Some(layout)
    }
}

/// A named value.
pub(crate) struct Setting(pub(crate) String);

impl Record for Setting {
    const KIND: u8 = 2;
    const VERSION: u8 = 1;
    const TABLE: &'static str = "settings";
    type Layout = String;

    fn to_layout(&self) -> String {
        self.0.clone()
    }

    fn from_layout(layout: String) -> Option<Setting> {
        Some(Setting(layout))
    }
}
