//! Line protocol over a plain TCP connection: lines go in, nothing comes back.
//!
//! Lines are gathered while more are on their way, and committed together. A bad line ends the
//! connection: the sender finds out, and what it sent before is not in doubt. Timestamps are in
//! nanoseconds. There is no way to ask for a password, so this is only offered on loopback, by a
//! server without passwords.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use crate::lineprotocol::Precision;
use crate::lineprotocol::write::{Refused, prepare};
use crate::server::Server;
use crate::sql::rows::write_durably;

/// A longer line ends the connection.
const LINE_BYTES_MAX: usize = 16 << 20;

/// Accepts connections until the server drains.
pub async fn listen(server: Arc<Server>, listener: TcpListener) {
    let mut draining = server.draining();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = draining.wait_for(|draining| *draining) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let server = Arc::clone(&server);
                tokio::spawn(async move {
                    if let Err(reason) = receive(&server, stream).await {
                        tracing::warn!(%peer, reason, "closed a line protocol connection");
                    }
                });
            }
            Err(error) => tracing::warn!(%error, "cannot accept a line protocol connection"),
        }
    }
}

async fn receive(server: &Arc<Server>, mut stream: TcpStream) -> Result<(), String> {
    let mut buffer = BytesMut::with_capacity(64 << 10);
    loop {
        buffer.reserve(64 << 10);
        let read = stream.read_buf(&mut buffer).await.map_err(|error| error.to_string())?;
        // Whole lines are committed; what is left over waits for its end. At the end it is a line too.
        let end = if read == 0 {
            buffer.len()
        } else {
            memchr::memrchr(b'\n', &buffer).map_or(0, |newline| newline + 1)
        };
        if end > 0 {
            let lines = buffer.split_to(end).freeze();
            commit(server, lines).await?;
        }
        if read == 0 {
            return Ok(());
        }
        if buffer.len() > LINE_BYTES_MAX {
            return Err(format!("a line is longer than {LINE_BYTES_MAX} bytes"));
        }
    }
}

async fn commit(server: &Arc<Server>, lines: bytes::Bytes) -> Result<(), String> {
    let shared = Arc::clone(server);
    let now_ns = server.clock.wall_us().saturating_mul(1000);
    let prepared = server.query_runtime.spawn_blocking(move || {
        prepare(&shared.engine, &shared.series, &lines, Precision::Nanosecond, now_ns)
    });
    let prepared = prepared.await.map_err(|error| error.to_string())?;
    let ready = prepared.map_err(|refused| match refused {
        Refused::Line(error) => error.to_string(),
        Refused::Sql(error) => error.to_string(),
    })?;
    if ready.writes.is_empty() {
        return Ok(());
    }
    server.metrics.line_rows.add(ready.row_count as u64);
    write_durably(&server.engine, ready.writes, true).await.map_err(|error| error.to_string())
}
