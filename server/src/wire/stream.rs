//! A client's connection: bytes in and out, with bounds.
//!
//! Reading asks for a message at a time and refuses one that is longer than allowed before its
//! body is read. Writing gathers messages in a buffer; [`Connection::flush`] hands it to the system
//! and waits while the client is slow, so a result is never buffered whole.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use pgwire::messages::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use crate::error::{SqlError, SqlResult};
use crate::wire::message::violation;

/// The longest message before authentication, as in PostgreSQL.
pub(crate) const STARTUP_BYTES_MAX: usize = 10_000;

/// The longest message after it.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Output is handed to the system when there is this much.
pub(crate) const FLUSH_BYTES: usize = 32 << 10;

/// TLS records are small enough for clients that read them into fixed buffers.
const TLS_WRITE_BYTES_MAX: usize = 8 << 10;

/// A buffer larger than this is given back after use.
const BUFFER_BYTES_KEPT: usize = 256 << 10;

/// Anything that bytes go through.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// Why a connection cannot go on.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The client is gone, or the network is.
    Gone,
    /// The client did what ends a session; it is told why.
    Told(SqlError),
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Broken {
        // Whatever it is, there is nobody left to tell.
        Broken::Gone
    }
}

/// A client's connection.
pub(crate) struct Connection {
    transport: Box<dyn Transport>,
    input: BytesMut,
    pub(crate) output: BytesMut,
    encrypted: bool,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("encrypted", &self.encrypted).finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(transport: Box<dyn Transport>, encrypted: bool) -> Connection {
        Connection { transport, input: BytesMut::new(), output: BytesMut::new(), encrypted }
    }

    pub(crate) fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Whether bytes were read that no message has asked for yet.
    pub(crate) fn has_unread_input(&self) -> bool {
        !self.input.is_empty()
    }

    /// Whether the next message was read already, at least in part, and has this tag.
    pub(crate) fn is_next(&self, tag: u8) -> bool {
        self.input.first() == Some(&tag)
    }

    /// Whether a message was read whole that nobody has asked for yet.
    pub(crate) fn has_unread_message(&self) -> bool {
        let Some(len) = self.input.get(1..5) else { return false };
        let len = u32::from_be_bytes(len.try_into().expect("four bytes"));
        self.input.len() > usize::try_from(len).unwrap_or(usize::MAX)
    }

    /// The transport, to put another one on top of it.
    pub(crate) fn into_transport(self) -> Box<dyn Transport> {
        self.transport
    }

    /// The transport, which gives what was read already once more.
    pub(crate) fn into_replayed_transport(self) -> Replayed {
        Replayed { read: self.input, transport: self.transport }
    }

    async fn fill(&mut self, len: usize) -> Result<(), Broken> {
        while self.input.len() < len {
            // Not more than has come already: a client can announce what it never sends.
            let most = self.input.len().max(64 << 10);
            self.input.reserve((len - self.input.len()).clamp(8 << 10, most));
            if self.transport.read_buf(&mut self.input).await? == 0 {
                return Err(Broken::Gone);
            }
        }
        Ok(())
    }

    /// The first byte, left where it is. Cancel-safe: what was read stays.
    pub(crate) async fn peek(&mut self) -> Result<u8, Broken> {
        self.fill(1).await?;
        Ok(self.input[0])
    }

    /// What the next message of the startup phase asks for, left where it is.
    pub(crate) async fn peek_request(&mut self) -> Result<i32, Broken> {
        self.fill(8).await?;
        Ok(i32::from_be_bytes(self.input[4..8].try_into().expect("four bytes")))
    }

    /// A message of the startup phase: without a tag, only its body. Cancel-safe.
    pub(crate) async fn read_startup(&mut self) -> Result<Bytes, Broken> {
        self.fill(4).await?;
        let len = u32::from_be_bytes(self.input[..4].try_into().expect("four bytes"));
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if !(8..=STARTUP_BYTES_MAX).contains(&len) {
            return Err(Broken::Told(violation("invalid length of startup packet")));
        }
        self.fill(len).await?;
        let mut message = self.input.split_to(len);
        message.advance(4);
        Ok(message.freeze())
    }

    /// A message: its tag and its body. Cancel-safe: what was read stays.
    pub(crate) async fn read_message(&mut self, bytes_max: usize) -> Result<(u8, Bytes), Broken> {
        self.fill(5).await?;
        let tag = self.input[0];
        if !crate::wire::message::is_known_tag(tag) {
            return Err(Broken::Told(violation(format!("invalid frontend message type {tag}"))));
        }
        let len = u32::from_be_bytes(self.input[1..5].try_into().expect("four bytes"));
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len < 4 || len > bytes_max {
            return Err(Broken::Told(violation(format!(
                "invalid message length {len}: at most {bytes_max} bytes are allowed"
            ))));
        }
        self.fill(1 + len).await?;
        let mut message = self.input.split_to(1 + len);
        if len > BUFFER_BYTES_KEPT && self.input.is_empty() {
            // Else the next read would take the memory of this message over, and keep it.
            self.input = BytesMut::new();
        }
        message.advance(5);
        Ok((tag, message.freeze()))
    }

    /// Puts a message into the output.
    pub(crate) fn send(&mut self, message: &impl Message) -> SqlResult<()> {
        message.encode(&mut self.output).map_err(SqlError::internal)
    }

    /// Whether there is enough output to hand over.
    pub(crate) fn wants_flush(&self) -> bool {
        self.output.len() >= FLUSH_BYTES
    }

    /// Hands the output to the system. Cancel-safe: what was not handed over stays.
    pub(crate) async fn flush(&mut self) -> Result<(), Broken> {
        while !self.output.is_empty() {
            let len =
                if self.encrypted { self.output.len().min(TLS_WRITE_BYTES_MAX) } else { self.output.len() };
            let written = self.transport.write(&self.output[..len]).await?;
            if written == 0 {
                return Err(Broken::Gone);
            }
            self.output.advance(written);
        }
        if self.output.capacity() > BUFFER_BYTES_KEPT {
            self.output = BytesMut::new();
        }
        self.transport.flush().await?;
        Ok(())
    }

    /// Sends what is left and says goodbye.
    pub(crate) async fn close(mut self) {
        // The client may be gone already, which is no news.
        if self.flush().await.is_ok() {
            self.transport.shutdown().await.ok();
        }
    }
}

/// A transport of which some bytes were read already.
pub(crate) struct Replayed {
    read: BytesMut,
    transport: Box<dyn Transport>,
}

impl AsyncRead for Replayed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.transport).poll_read(context, buffer);
        }
        let len = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replayed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(context, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(context)
    }
}
