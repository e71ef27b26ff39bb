//! The PostgreSQL protocol: our own connection loop over the library's messages.
//!
//! | module | does |
//! | --- | --- |
//! | [`stream`] | bytes in and out, bounded |
//! | [`message`] | what clients send |
//! | [`startup`], [`auth`], [`tls`] | until the client is known |
//! | [`serve`] | the loop, simple queries, errors, Sync |
//! | [`extended`] | Parse, Bind, Describe, Execute, Close |
//! | [`rows`], [`copy`] | results and COPY as they stream |
//! | [`encode`] | what clients are sent |
//!
//! Invariants, each attacked by a test in `tests/wire`:
//!
//! 1. Nothing but authentication is understood before it is over, and every error ends the
//!    connection.
//! 2. Bytes that came before encryption are not taken for encrypted ones.
//! 3. No count or length that a client sends is trusted: it is bounded by the message it is in, the
//!    message by its limit, and memory is taken as bytes arrive.
//! 4. A result is encoded row by row; while the client is slow, the query waits.
//! 5. A statement can be cancelled at any time, also while its rows stream.

use std::sync::Arc;

use bytes::BytesMut;
use pgwire::messages::Message;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::error::SqlError;
use crate::net;
use crate::server::Server;
use crate::sqlstate;

pub mod auth;
mod copy;
pub mod encode;
mod extended;
pub(crate) mod message;
mod rows;
mod serve;
mod startup;
mod stream;
pub mod tls;

/// Understands bytes in each way in which those of a client can be meant, for the fuzz target.
#[cfg(feature = "failpoints")]
pub fn understand(bytes: &bytes::Bytes) {
    if let Some((tag, _)) = bytes.split_first() {
        // Errors are what most bytes are.
        message::decode(*tag, bytes.slice(1..)).ok();
    }
    message::decode_sasl_initial(bytes.clone()).ok();
    startup::parameters(bytes.clone()).ok();
}

/// Clients that are not known yet: as many as may be known, and at least this many.
const STARTING_MIN: usize = 16;

/// Accepts connections until the server drains.
pub async fn listen(server: Arc<Server>, listener: TcpListener) {
    let mut draining = server.draining();
    // Without a bound, whoever only connects would take the descriptors that segments need.
    let starting = Arc::new(Semaphore::new(server.config.connections_max.max(STARTING_MIN)));
    while let Some((stream, peer)) = net::accept(&listener, &mut draining).await {
        let Ok(place) = Arc::clone(&starting).try_acquire_owned() else {
            turn_away(&stream);
            continue;
        };
        let server = Arc::clone(&server);
        tokio::spawn(async move { serve::serve(server, stream, peer, place).await });
    }
}

/// Tells a client that there is no place, if it can be told without waiting.
fn turn_away(stream: &TcpStream) {
    let error = SqlError::fatal(sqlstate::TOO_MANY_CONNECTIONS, "sorry, too many clients already");
    let mut message = BytesMut::new();
    let encoded = encode::error_response(&error).encode(&mut message);
    if encoded.is_ok() {
        stream.try_write(&message).ok();
    }
}
