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
use std::time::Duration;

use tokio::net::TcpListener;

use crate::server::Server;

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

/// How long accepting pauses when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
                // Small answers are not held back for more to come.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "cannot set TCP_NODELAY");
                }
                let server = Arc::clone(&server);
                tokio::spawn(async move { serve::serve(server, stream, peer).await });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                // Waits for the drain instead, so that shutdown is not held up.
                tokio::time::timeout(ACCEPT_PAUSE, draining.wait_for(|draining| *draining)).await.ok();
            }
        }
    }
}
