//! Line protocol over a plain TCP connection: lines go in, nothing comes back.
//!
//! 1. Lines are gathered while more are on their way, and committed together. Timestamps are in
//!    nanoseconds.
//! 2. A bad line, or one that is too long, ends the connection, as QuestDB does it: the sender finds
//!    out, and everything before the line is written. The log has the reason, and a count.
//! 3. A line that has no end when the connection ends is thrown away: half a number is another number.
//! 4. A connection that sends no whole line for some time is closed; there are only so many
//!    connections, and a new one gets the place of the longest silent one.
//!
//! There is no way to ask for a password, so this is only offered on loopback, by a server without
//! passwords.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use tidemark_catalog::types::TimeUnit;

use crate::ingest::{Acknowledge, OnBadRow, Options, Refused, ingest};
use crate::lineprotocol::Precision;
use crate::lineprotocol::request::Lines;
use crate::lineprotocol::scan::line_end;
use crate::metrics::{ErrorKind, Protocol};
use crate::net;
use crate::net::places::{Place, SWEEP_INTERVAL};
use crate::server::Server;

/// How much is read at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// Accepts connections until the server drains.
pub async fn listen(server: Arc<Server>, listener: TcpListener) {
    let mut draining = server.draining();
    let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut connections = JoinSet::new();
    // Each branch is cancel-safe: a connection is accepted, a task joined, in the step that returns it.
    loop {
        tokio::select! {
            accepted = net::accept(&listener, &mut draining) => {
                let Some((stream, peer)) = accepted else { break };
                let Some(place) = server.line_places.take() else {
                    tracing::warn!(%peer, "no place for a line protocol connection");
                    continue;
                };
                let server = Arc::clone(&server);
                connections.spawn(async move {
                    if let Err(reason) = receive(&server, stream, &place).await {
                        server.metrics.ingest.of(Protocol::LineTcp).errors(ErrorKind::Malformed).add(1);
                        tracing::warn!(%peer, %reason, "closed a line protocol connection");
                    }
                });
            }
            Some(_) = connections.join_next() => {}
            _ = ticks.tick() => server.line_places.sweep(),
        }
    }
    // Each ends when what it is committing is committed.
    while connections.join_next().await.is_some() {}
}

async fn receive(server: &Arc<Server>, mut stream: TcpStream, place: &Place) -> Result<(), String> {
    let mut draining = server.draining();
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK_BYTES);
        // Cancel-safe: what was read is in the buffer.
        let read = tokio::select! {
            read = stream.read_buf(&mut buffer) => read.map_err(|error| error.to_string())?,
            () = place.closed() => return match buffer.is_empty() {
                true => Ok(()),
                false => Err("no whole line came in time".to_owned()),
            },
            _ = draining.wait_for(|draining| *draining) => return Ok(()),
        };
        if read == 0 {
            return match buffer.is_empty() {
                true => Ok(()),
                false => Err("the last line has no end".to_owned()),
            };
        }
        if let Some(end) = memchr::memrchr(b'\n', &buffer) {
            let lines = buffer.split_to(end + 1).freeze();
            place.connection().begin_work();
            let rest = commit(server, lines).await?;
            place.connection().begin_quiet();
            if !rest.is_empty() {
                // The last newline is in the middle of a string.
                buffer = [&rest[..], &buffer[..]].concat().as_slice().into();
            }
        }
        check_length(&buffer, server.config.line_bytes_max)?;
    }
}

fn check_length(line: &[u8], bytes_max: usize) -> Result<(), String> {
    if line.len() > bytes_max {
        return Err(format!("a line is longer than {bytes_max} bytes"));
    }
    Ok(())
}

/// Commits lines. What is left over is the start of a line that has not ended yet.
async fn commit(server: &Arc<Server>, lines: Bytes) -> Result<Bytes, String> {
    let bytes_max = server.config.line_bytes_max;
    let too_long = lines.split_inclusive(|byte| *byte == b'\n').find(|line| line.len() > bytes_max);
    if let Some(line) = too_long {
        let before = line.as_ptr().addr() - lines.as_ptr().addr();
        write(server, lines.slice(..before)).await.map_err(|refused| refused.to_string())?;
        return check_length(line, bytes_max).map(|()| Bytes::new());
    }
    let rejected = match write(server, lines.clone()).await {
        Ok(()) => return Ok(Bytes::new()),
        Err(Refused::Rows(rejected)) => rejected,
        Err(other) => return Err(other.to_string()),
    };
    let error = rejected.first.first().expect("a row is rejected");
    let start = match error.line.expect("a row is a line") {
        1 => 0,
        line => memchr::memchr_iter(b'\n', &lines).nth(line - 2).map_or(lines.len(), |newline| newline + 1),
    };
    write(server, lines.slice(..start)).await.map_err(|refused| refused.to_string())?;
    let rest = lines.slice(start..);
    if line_end(&rest).is_none() { Ok(rest) } else { Err(error.to_string()) }
}

async fn write(server: &Arc<Server>, lines: Bytes) -> Result<(), Refused> {
    server.metrics.ingest.of(Protocol::LineTcp).requests.add(1);
    let options = Options {
        protocol: Protocol::LineTcp,
        on_bad_row: OnBadRow::RefuseAll,
        may_make: server.config.may_make,
        time_unit: TimeUnit::Nanosecond,
        acknowledge: Acknowledge::Durable,
        number: None,
    };
    let now_ns = server.clock.wall_us().saturating_mul(1000);
    let lines = Lines { body: lines, precision: Precision::Nanosecond, now_ns };
    ingest(server, options, || Ok::<_, Refused>(lines)).await.map(drop)
}
