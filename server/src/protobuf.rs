//! Messages of protobuf, a field at a time.
//!
//! A message that is decoded whole can take many times the memory that it came in: two bytes can
//! stand for a message within. So what repeats is gone through where it lies, and only what is small
//! is decoded by prost.

use prost::DecodeError;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, fixed32, fixed64, skip_field};

use crate::ingest::Refused;

/// A field of a message, as it lies there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// A whole number.
    Varint(u64),
    /// Bytes, text, a message, or numbers one after the other.
    Bytes(&'a [u8]),
    /// Four bytes.
    Fixed32(u32),
    /// Eight bytes.
    Fixed64(u64),
    /// A group, which nobody writes any more.
    Group,
}

/// The fields of a message with their tags, in their order.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

/// The fields of a message. After an error there are no more.
pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message }
}

/// The messages, texts or bytes that a message has by a tag.
///
/// # Errors
/// The message cannot be read.
pub fn repeated(message: &[u8], wanted: u32) -> impl Iterator<Item = Result<&[u8], DecodeError>> {
    fields(message).filter_map(move |field| match field {
        Ok((tag, Field::Bytes(bytes))) if tag == wanted => Some(Ok(bytes)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

impl<'a> Fields<'a> {
    fn read(&mut self) -> Result<(u32, Field<'a>), DecodeError> {
        let (tag, wire_type) = decode_key(&mut self.rest)?;
        let field = match wire_type {
            WireType::Varint => Field::Varint(decode_varint(&mut self.rest)?),
            WireType::LengthDelimited => {
                let before = self.rest;
                let len = decode_varint(&mut self.rest)?;
                let bytes = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
                let Some((bytes, rest)) = bytes else {
                    // prost says what is wrong with it.
                    self.rest = before;
                    skip_field(wire_type, tag, &mut self.rest, DecodeContext::default())?;
                    return Ok((tag, Field::Group));
                };
                self.rest = rest;
                Field::Bytes(bytes)
            }
            WireType::ThirtyTwoBit => {
                let mut value = 0;
                fixed32::merge(wire_type, &mut value, &mut self.rest, DecodeContext::default())?;
                Field::Fixed32(value)
            }
            WireType::SixtyFourBit => {
                let mut value = 0;
                fixed64::merge(wire_type, &mut value, &mut self.rest, DecodeContext::default())?;
                Field::Fixed64(value)
            }
            WireType::StartGroup | WireType::EndGroup => {
                skip_field(wire_type, tag, &mut self.rest, DecodeContext::default())?;
                Field::Group
            }
        };
        Ok((tag, field))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Field<'a>), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.rest = &[];
        }
        Some(read)
    }
}

/// The texts or bytes that a message has by a tag once; the last, as protobuf has it.
///
/// # Errors
/// The message cannot be read.
pub fn last(message: &[u8], wanted: u32) -> Result<Option<&[u8]>, DecodeError> {
    repeated(message, wanted).try_fold(None, |_, bytes| bytes.map(Some))
}

/// A request that is no message.
pub fn malformed(error: &DecodeError) -> Refused {
    Refused::Malformed(format!("the body is not the message it should be: {error}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_found_where_they_lie() {
        let message = [0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i', 0x1d, 7, 0, 0, 0, 0x12, 0x00];
        let found: Vec<_> = fields(&message).map(Result::unwrap).collect();
        let expected = [
            (1, Field::Varint(150)),
            (2, Field::Bytes(b"hi")),
            (3, Field::Fixed32(7)),
            (2, Field::Bytes(b"")),
        ];
        assert_eq!(found, expected);
        assert_eq!(repeated(&message, 2).map(Result::unwrap).collect::<Vec<_>>(), [&b"hi"[..], b""]);
    }

    #[test]
    fn a_field_that_is_cut_is_an_error_and_the_last() {
        for cut in [
            &[0x12, 0x05, b'h'][..],
            &[0x12],
            &[0x08, 0x80],
            &[0x12, 0xff, 0xff, 0xff, 0xff, 0x7f, 1],
            &[0x1d, 0],
        ] {
            let found: Vec<_> = fields(cut).collect();
            assert_eq!(found.len(), 1, "{cut:?}");
            assert!(found[0].is_err(), "{cut:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(fields(&bytes).count() <= bytes.len());
        }
    }
}
