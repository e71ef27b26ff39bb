//! TCP as every listener takes it: connections that are accepted, also when the system is short of
//! descriptors for a while, and sockets that are set up alike.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub mod places;

/// How long accepting pauses when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A peer that says nothing for so long is asked whether it is there.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);

/// It is asked again after so long,
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// and the connection is over when it does not answer so many times.
const KEEPALIVE_PROBES: u32 = 6;

/// The next connection; `None` when the server drains. Cancel-safe: a connection that was accepted
/// is returned in the same step.
pub(crate) async fn accept(
    listener: &TcpListener,
    draining: &mut watch::Receiver<bool>,
) -> Option<(TcpStream, SocketAddr)> {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = draining.wait_for(|draining| *draining) => return None,
        };
        match accepted {
            Ok((stream, peer)) => {
                set_up(&stream);
                return Some((stream, peer));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                // Waits for the drain instead, so that shutdown is not held up.
                tokio::time::timeout(ACCEPT_PAUSE, draining.wait_for(|draining| *draining)).await.ok();
            }
        }
    }
}

/// Small answers are not held back for more to come, and a peer that vanished without a word is
/// found out.
fn set_up(stream: &TcpStream) {
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    let done = stream.set_nodelay(true).and_then(|()| SockRef::from(stream).set_tcp_keepalive(&keepalive));
    if let Err(error) = done {
        // The peer may have gone in between; reading will tell.
        tracing::debug!(%error, "cannot set up a connection");
    }
}
