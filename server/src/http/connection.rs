//! A connection over HTTP, from its place to its end.
//!
//! 1. hyper reads a request and hands it over; its place learns that the server is at work.
//! 2. A handler that needs the body says so by [`connection::begin_body`], and the client is waited for.
//! 3. The answer is sent, and the next request waited for.
//! 4. At the end the client is told that no more comes, and what it still sends is read and thrown
//!    away for a while: a client that has not sent all of a request that was refused would otherwise
//!    lose the answer with the connection.
//!
//! [`connection::begin_body`]: crate::net::places::Connection::begin_body

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::http::watched::Watched;
use crate::net::places::Place;

/// Memory for the head of a request, and for a body on its way to its handler.
const BUFFER_BYTES_MAX: usize = 128 << 10;

/// How long a connection stays open after its last answer, for what the client still sends.
const LINGER_TIME_MAX: Duration = Duration::from_secs(2);

/// What a client is told for which there is no place.
const NO_PLACE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n\
content-type: application/json\r\ncontent-length: 68\r\n\r\n\
{\"code\":\"unavailable\",\"message\":\"sorry, too many clients already\"}\r\n";

/// Tells a client that there is no place, if it can be told without waiting.
pub(super) fn turn_away(stream: &TcpStream) {
    // It may be gone, which is what it is told to be.
    stream.try_write(NO_PLACE).ok();
}

/// Serves a connection until it ends, its place is lost, or the server drains.
pub(super) async fn serve(
    router: Router,
    stream: TcpStream,
    peer: ConnectInfo<SocketAddr>,
    place: Place,
    mut draining: watch::Receiver<bool>,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(|mut request: Request<Incoming>| {
        let connection = Arc::clone(place.connection());
        connection.begin_work();
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(Arc::clone(&connection));
        let answer = router.call(request);
        Box::pin(async move {
            let answer = answer.await;
            connection.begin_answer();
            answer
        })
    });
    let io = TokioIo::new(Watched::new(stream, Arc::clone(place.connection())));
    let mut http = http1::Builder::new().max_buf_size(BUFFER_BYTES_MAX).serve_connection(io, service);
    let mut is_draining = false;
    // hyper keeps what it has read and written in `http`: to poll it again loses nothing.
    loop {
        tokio::select! {
            ended = poll_fn(|context| http.poll_without_shutdown(context)) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection over HTTP failed");
                }
                break;
            }
            () = place.closed() => return,
            _ = draining.wait_for(|draining| *draining), if !is_draining => {
                is_draining = true;
                std::pin::Pin::new(&mut http).graceful_shutdown();
            }
        }
    }
    let mut stream = http.into_parts().io.into_inner();
    place.connection().begin_quiet();
    tokio::select! {
        _ = tokio::time::timeout(LINGER_TIME_MAX, linger(&mut stream)) => {}
        () = place.closed() => {}
    }
}

/// Says that no more comes, and reads until the client says so too.
async fn linger(stream: &mut Watched) {
    let mut thrown_away = [0; 4096];
    if stream.shutdown().await.is_ok() {
        while stream.read(&mut thrown_away).await.is_ok_and(|bytes| bytes > 0) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refusal_announces_its_length() {
        let text = std::str::from_utf8(NO_PLACE).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{}", body.len());
    }
}
