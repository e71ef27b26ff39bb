//! What clients send: messages as bytes, and the bytes understood.
//!
//! The library's message types are used; its decoding is not, because it trusts counts and lengths
//! inside a message. Here every read is bounded by the message, and a message that contradicts
//! itself is an error the client is told.

use bytes::{Buf, Bytes};
use pgwire::messages::extendedquery::{Bind, Close, Describe, Execute, Parse};
use pgwire::messages::startup::{SASLInitialResponse, SASLResponse};

use crate::error::{SqlError, SqlResult};
use crate::sqlstate;

/// A message after the startup phase.
#[derive(Debug)]
pub(crate) enum Frontend {
    Query(String),
    Parse(Parse),
    Bind(Bind),
    Describe(Describe),
    Execute(Execute),
    Close(Close),
    Flush,
    Sync,
    CopyData(Bytes),
    CopyDone,
    CopyFail(String),
    FunctionCall,
    /// Password, SASL response: outside authentication nobody waits for it.
    Password,
}

/// Whether a message is part of the extended protocol: after an error in one, all that follows is
/// skipped until Sync. After an error in any other the server is ready at once.
pub(crate) fn is_extended(tag: u8) -> bool {
    b"PBDECH".contains(&tag)
}

/// Whether a byte starts a message that any client may send. Anything else means that the stream is
/// not understood any more.
pub(crate) fn is_known_tag(tag: u8) -> bool {
    b"QPBDECHSXdcfFp".contains(&tag)
}

/// Understands a message.
pub(crate) fn decode(tag: u8, body: Bytes) -> SqlResult<Frontend> {
    let mut reader = Reader(body);
    let message = match tag {
        b'Q' => Frontend::Query(reader.string()?),
        b'P' => {
            let name = reader.name()?;
            let query = reader.string()?;
            let count = reader.u16()?;
            let oids = (0..count).map(|_| reader.u32()).collect::<SqlResult<_>>()?;
            Frontend::Parse(Parse::new(name, query, oids))
        }
        b'B' => Frontend::Bind(decode_bind(&mut reader)?),
        b'D' => Frontend::Describe(Describe::new(reader.target("DESCRIBE")?, reader.name()?)),
        b'C' => Frontend::Close(Close::new(reader.target("CLOSE")?, reader.name()?)),
        b'E' => Frontend::Execute(Execute::new(reader.name()?, reader.i32()?)),
        b'H' => Frontend::Flush,
        b'S' => Frontend::Sync,
        b'd' => return Ok(Frontend::CopyData(reader.0)),
        b'c' => Frontend::CopyDone,
        b'f' => Frontend::CopyFail(reader.string()?),
        b'F' => return Ok(Frontend::FunctionCall),
        b'p' => return Ok(Frontend::Password),
        _ => return Err(violation(format!("invalid frontend message type {tag}"))),
    };
    reader.finish()?;
    Ok(message)
}

fn decode_bind(reader: &mut Reader) -> SqlResult<Bind> {
    let portal = reader.name()?;
    let statement = reader.name()?;
    let formats = reader.formats()?;
    let count = reader.u16()?;
    let mut parameters = Vec::with_capacity(usize::from(count).min(reader.0.len() / 4));
    for _ in 0..count {
        parameters.push(match reader.i32()? {
            -1 => None,
            len => {
                let len = usize::try_from(len).map_err(|_| malformed())?;
                Some(reader.take(len)?)
            }
        });
    }
    let result_formats = reader.formats()?;
    Ok(Bind::new(portal, statement, formats, parameters, result_formats))
}

/// The first answer of a client to the offer of SASL mechanisms.
pub(crate) fn decode_sasl_initial(body: Bytes) -> SqlResult<SASLInitialResponse> {
    let mut reader = Reader(body);
    let mechanism = reader.string()?;
    let data = match reader.i32()? {
        -1 => None,
        len => {
            let len = usize::try_from(len).map_err(|_| malformed())?;
            Some(reader.take(len)?)
        }
    };
    reader.finish()?;
    Ok(SASLInitialResponse::new(mechanism, data))
}

/// The second answer.
pub(crate) fn decode_sasl_response(body: Bytes) -> SASLResponse {
    SASLResponse::new(body)
}

/// A protocol violation.
pub(crate) fn violation(message: impl Into<String>) -> SqlError {
    SqlError::new(sqlstate::PROTOCOL_VIOLATION, message)
}

fn malformed() -> SqlError {
    violation("invalid message format")
}

/// A body that is read from its start, and never beyond its end.
pub(crate) struct Reader(pub(crate) Bytes);

impl Reader {
    pub(crate) fn take(&mut self, len: usize) -> SqlResult<Bytes> {
        if len > self.0.len() {
            return Err(violation("insufficient data left in message"));
        }
        Ok(self.0.split_to(len))
    }

    fn u8(&mut self) -> SqlResult<u8> {
        Ok(self.take(1)?.get_u8())
    }

    pub(crate) fn u16(&mut self) -> SqlResult<u16> {
        Ok(self.take(2)?.get_u16())
    }

    fn i16(&mut self) -> SqlResult<i16> {
        Ok(self.take(2)?.get_i16())
    }

    pub(crate) fn i32(&mut self) -> SqlResult<i32> {
        Ok(self.take(4)?.get_i32())
    }

    fn u32(&mut self) -> SqlResult<u32> {
        Ok(self.take(4)?.get_u32())
    }

    /// A string that ends with a zero byte.
    pub(crate) fn string(&mut self) -> SqlResult<String> {
        let end = self.0.iter().position(|byte| *byte == 0);
        let end = end.ok_or_else(|| violation("invalid string in message"))?;
        let bytes = self.0.split_to(end);
        self.0.advance(1);
        text(&bytes).map(str::to_owned)
    }

    /// The name of a statement or portal; the empty one is `None`.
    fn name(&mut self) -> SqlResult<Option<String>> {
        let name = self.string()?;
        Ok((!name.is_empty()).then_some(name))
    }

    /// What Describe and Close are about.
    fn target(&mut self, message: &str) -> SqlResult<u8> {
        match self.u8()? {
            target @ (b'S' | b'P') => Ok(target),
            other => Err(violation(format!("invalid {message} message subtype {other}"))),
        }
    }

    fn formats(&mut self) -> SqlResult<Vec<i16>> {
        let count = self.u16()?;
        (0..count).map(|_| self.i16()).collect()
    }

    pub(crate) fn finish(&self) -> SqlResult<()> {
        if self.0.is_empty() { Ok(()) } else { Err(malformed()) }
    }
}

/// Bytes as text; PostgreSQL's error where they are none.
pub(crate) fn text(bytes: &[u8]) -> SqlResult<&str> {
    std::str::from_utf8(bytes).map_err(|error| {
        let rest = &bytes[error.valid_up_to()..];
        let len = error.error_len().unwrap_or(rest.len()).min(4);
        let hex: Vec<String> = rest[..len].iter().map(|byte| format!("0x{byte:02x}")).collect();
        let message = format!("invalid byte sequence for encoding \"UTF8\": {}", hex.join(" "));
        SqlError::new(sqlstate::CHARACTER_NOT_IN_REPERTOIRE, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state_of(tag: u8, body: &'static [u8]) -> &'static str {
        decode(tag, Bytes::from_static(body)).map_or_else(|error| error.state().code(), |_| "ok")
    }

    #[test]
    fn messages_that_contradict_themselves_are_errors() {
        let cases: [(u8, &[u8], &str); 12] = [
            (b'Q', b"select 1\0", "ok"),
            (b'Q', b"select 1", "08P01"),
            (b'Q', b"select \xff\0", "22021"),
            (b'P', b"\0select 1\0\0\0", "ok"),
            (b'P', b"\0select 1\0\xff\xff", "08P01"),
            (b'B', b"\0\0\0\0\0\0\0\0", "ok"),
            (b'B', b"\0\0\xff\xff\0\0\0\0", "08P01"),
            (b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff", "08P01"),
            (b'B', b"\0\0\0\0\0\x01\x80\0\0\0", "08P01"),
            (b'E', b"\0\0\0\0", "08P01"),
            (b'D', b"Z\0", "08P01"),
            (b'S', b"x", "08P01"),
        ];
        for (tag, body, expected) in cases {
            assert_eq!(state_of(tag, body), expected, "{} {body:?}", tag as char);
        }
    }
}
