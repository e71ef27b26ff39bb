//! The same through sockets, to the whole server: it must answer the next client.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use tidemark_tests::server::{Options, Server};

use crate::fuzz;

/// A server that does not answer within this time does not answer at all.
const ANSWER_BOUND: Duration = Duration::from_secs(60);

/// More than a server of small inputs may take.
const MEMORY_BYTES_MAX: u64 = 2 << 30;

fn start() -> Server {
    Options::new().setting("http-body-size", "1MiB").setting("max-connections", "20").start()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the server accepts clients");
    stream.set_read_timeout(Some(ANSWER_BOUND)).unwrap();
    stream
}

/// All that the server says until it closes. A connection that it resets has been closed, too.
fn read_to_end(mut stream: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        other => assert!(other.is_ok(), "no answer: {other:?}"),
    }
    answer
}

fn startup() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0tidemark\0database\0tidemark\0\0";
    let length = u32::try_from(body.len() + 4).unwrap();
    [&length.to_be_bytes()[..], body].concat()
}

/// Messages after the startup, with right lengths as often as not.
#[test]
fn wire_through_a_socket() {
    let server = start();
    fuzz("wire", &[b"S\0\0\0\x04", b"H\0\0\0\x04", b"X\0\0\0\x04"], |bytes| {
        let mut stream = connect(server.pg);
        // It may have closed already, because it understands no more.
        stream.write_all(&[&startup()[..], bytes].concat()).ok();
        stream.shutdown(Shutdown::Write).ok();
        let answer = read_to_end(stream);
        assert_eq!(answer.first(), Some(&b'R'), "the server let this client in");
    });
    assert!(server.memory_bytes("VmHWM") < MEMORY_BYTES_MAX);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn lines_through_a_socket() {
    let server = start();
    let words: [&[u8]; 6] = [b"\\", b"\"", b",", b"=", b" ", b"\n"];
    // The first inputs, those of the corpus, make the collections.
    let mut count = 0_u64;
    fuzz("lines", &words, |bytes| {
        let create = if count < 20 { "all" } else { "columns" };
        count += 1;
        let mut stream = connect(server.http);
        let head = format!(
            "POST /write?create={create}&accept_partial=true HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
             Content-Length: {}\r\n\r\n",
            bytes.len()
        );
        stream.write_all(&[head.as_bytes(), bytes].concat()).ok();
        let answer = read_to_end(stream);
        let status = answer.get(9..12).unwrap_or_default();
        let status = String::from_utf8_lossy(status).into_owned();
        assert!(["204", "400"].contains(&status.as_str()), "{}", String::from_utf8_lossy(&answer));
    });
    assert!(server.memory_bytes("VmHWM") < MEMORY_BYTES_MAX);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}
