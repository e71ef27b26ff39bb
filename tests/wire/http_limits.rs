//! Attacks over HTTP: silent, slow and greedy clients, and what others notice of them.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use tidemark_tests::server::{Options, Server};

use crate::http::{Answer, get, metrics, read_answer, request, request_bytes, wait_for_metric};
use crate::raw::{ANSWER_BOUND, Raw, tcp};

const MIB: u64 = 1 << 20;

/// How long a slow client waits from one byte to the next.
const PACE: Duration = Duration::from_millis(50);

const DISPLACED: &str = "tidemark_listener_connections_displaced_total{listener=\"http\"}";
const TIMED_OUT: &str = "tidemark_listener_connections_timed_out_total{listener=\"http\"}";
const REQUEST_MEMORY: &str = "tidemark_http_request_memory_bytes";

/// Lets this process have as many sockets as the system allows it.
pub(crate) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}

pub(crate) fn open_files(server: &Server) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", server.process_id())).unwrap().count()
}

fn write(address: SocketAddr, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    request(address, "POST", "/write", headers, body)
}

/// Whether the server has closed the connection; waits no longer than [`PACE`] to find out.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(PACE)).unwrap();
    let mut bytes = [0; 1024];
    match stream.read(&mut bytes) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => false,
        Err(_) => true,
    }
}

/// Sends byte after byte, slowly, until the server closes; how long that took.
fn trickle(mut stream: TcpStream, bytes: &[u8]) -> Duration {
    let started = Instant::now();
    for byte in bytes.iter().cycle() {
        assert!(started.elapsed() < ANSWER_BOUND, "the server is still patient");
        if stream.write_all(&[*byte]).is_err() || is_closed(&mut stream) {
            return started.elapsed();
        }
    }
    unreachable!("a cycle has no end")
}

/// What everybody else is served while an attack is on.
fn others_are_served(server: &Server) {
    for round in 0..20 {
        assert_eq!(get(server.http, "/health").status, 200);
        let answer = write(server.http, &[], format!("others v={round} {round}").as_bytes());
        assert_eq!(answer.status, 204, "{}", answer.body);
    }
    assert_eq!(Raw::connect(server.pg).value("SELECT count(DISTINCT v) FROM others"), "20");
}

#[test]
fn thousands_of_silent_clients_keep_nobody_from_being_served() {
    raise_file_limit();
    let server = Options::new().setting("http-max-connections", 50).start();
    let before = open_files(&server);
    let attackers: Vec<TcpStream> = (0..3000)
        .map(|at| {
            let mut stream = tcp(server.http);
            // One says nothing, one half a head, one a head and no body.
            let said: [&[u8]; 3] =
                [b"", b"POST /write HTTP/1.1\r\nHo", b"POST /write HTTP/1.1\r\nContent-Length: 9\r\n\r\nm"];
            // The server may have given its place away already.
            stream.write_all(said[at % 3]).ok();
            stream
        })
        .collect();
    others_are_served(&server);
    assert!(open_files(&server) < before + 200, "{} files are open", open_files(&server));
    let metrics = metrics(&server);
    assert!(metrics[DISPLACED] >= 2950.0, "{}", metrics[DISPLACED]);
    assert!(metrics["tidemark_listener_connections{listener=\"http\"}"] <= 50.0);
    drop(attackers);
}

#[test]
fn who_does_not_finish_a_head_in_time_is_closed() {
    let server = Options::new().setting("http-head-seconds", 1).start();
    // One says nothing.
    let mut silent = tcp(server.http);
    let started = Instant::now();
    assert_eq!(silent.read(&mut [0; 1]).unwrap(), 0);
    assert!(started.elapsed() >= Duration::from_secs(1));
    // One says a little now and then.
    let took = trickle(tcp(server.http), b"GET /health HTTP/1.1\r\nA: b\r\nC: ");
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(10), "{took:?}");
    assert_eq!(metrics(&server)[TIMED_OUT], 2.0);
    others_are_served(&server);
}

#[test]
fn an_idle_connection_is_kept_for_some_time() {
    let server = Options::new().setting("http-head-seconds", 1).setting("http-idle-seconds", 3).start();
    let mut stream = tcp(server.http);
    let mut ask = || {
        stream.write_all(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = [0; 512];
        let len = stream.read(&mut answer).unwrap();
        assert!(answer[..len].starts_with(b"HTTP/1.1 204"), "{:?}", String::from_utf8_lossy(&answer[..len]));
        Instant::now()
    };
    ask();
    let answered = ask();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
    assert!(answered.elapsed() >= Duration::from_secs(3), "{:?}", answered.elapsed());
}

/// Sends a body of which a part comes at each [`PACE`].
fn paced(server: &Server, part: &[u8], parts: usize) -> (TcpStream, Duration) {
    let mut stream = tcp(server.http);
    let head = format!("POST /write HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", part.len() * parts);
    stream.write_all(head.as_bytes()).unwrap();
    let started = Instant::now();
    for _ in 0..parts {
        if stream.write_all(part).is_err() || is_closed(&mut stream) {
            break;
        }
    }
    (stream, started.elapsed())
}

#[test]
fn a_body_may_take_long_if_it_moves() {
    let server = Options::new().setting("http-body-seconds", 1).start();
    // Too slow.
    let (_, took) = paced(&server, b"m v=1 1\n", 1_000_000);
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(10), "{took:?}");
    assert_eq!(metrics(&server)[TIMED_OUT], 1.0);
    // Fast enough, and longer than a body may rest.
    let part = "m v=1 1\n".repeat(8000);
    let (mut stream, took) = paced(&server, part.as_bytes(), 40);
    assert!(took > Duration::from_secs(2), "{took:?}");
    stream.set_read_timeout(Some(ANSWER_BOUND)).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 204");
    assert_eq!(Raw::connect(server.pg).value("SELECT count(*) FROM m"), "320000");
    others_are_served(&server);
}

#[test]
fn a_body_that_is_too_long_is_refused_before_it_is_sent() {
    let server = Options::new().setting("http-body-size", "1MiB").start();
    let mut stream = tcp(server.http);
    stream.write_all(b"POST /write HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n").unwrap();
    let answer = read_answer(stream);
    assert_eq!(answer.status, 413);
    assert!(answer.body.contains("http-body-size"), "{}", answer.body);
    // Without a length it is found out on the way. What is still sent then does not cost the answer.
    let mut stream = tcp(server.http);
    stream.write_all(b"POST /write HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let chunk = [&b"10000\r\n"[..], &[b'\n'; 0x10000], b"\r\n"].concat();
    for _ in 0..20 {
        if stream.write_all(&chunk).is_err() {
            break;
        }
    }
    assert_eq!(read_answer(stream).status, 413);
    let body = "m v=1 1\n".repeat(100_000);
    assert_eq!(write(server.http, &[], body.as_bytes()).status, 204);
}

#[test]
fn requests_share_a_bounded_memory() {
    let server = Options::new().setting("http-memory", "1MiB").start();
    let body = "m v=1 1\n".repeat(90_000);
    let whole = request_bytes("POST", "/write", &[], body.as_bytes());
    let (most, rest) = whole.split_at(whole.len() - 8);
    let mut first = tcp(server.http);
    first.write_all(most).unwrap();
    let sent = u32::try_from(body.len() - 8).unwrap();
    wait_for_metric(&server, REQUEST_MEMORY, |bytes| bytes >= f64::from(sent));
    let refused = write(server.http, &[], body.as_bytes());
    assert_eq!((refused.status, refused.headers["retry-after"].as_str()), (503, "1"), "{}", refused.body);
    assert!(refused.body.contains("http-memory"), "{}", refused.body);
    first.write_all(rest).unwrap();
    assert_eq!(read_answer(first).status, 204);
    assert_eq!(metrics(&server)[REQUEST_MEMORY], 0.0);
    assert_eq!(write(server.http, &[], body.as_bytes()).status, 204);
    assert_eq!(Raw::connect(server.pg).value("SELECT count(*) FROM m"), "180000");
}

#[test]
fn who_is_not_known_is_told_so_before_the_body_is_taken() {
    let server = Options::new().setting("password", "secret").setting("http-memory", "64KiB").start();
    let mut stream = tcp(server.http);
    stream.write_all(b"POST /write HTTP/1.1\r\nHost: x\r\nContent-Length: 60000000\r\n\r\n").unwrap();
    let answer = read_answer(stream);
    assert_eq!(
        (answer.status, answer.headers["www-authenticate"].as_str()),
        (401, "Basic realm=\"tidemark\"")
    );
    // Who sends it all the same still gets the answer.
    let answer = write(server.http, &[], "m v=1 1\n".repeat(20_000).as_bytes());
    assert_eq!(answer.status, 401);
}

#[test]
fn who_does_not_read_is_closed_and_keeps_nobody_waiting() {
    let server = Options::new().setting("http-body-seconds", 1).start();
    let before = server.memory_bytes("VmHWM");
    let greedy: Vec<TcpStream> = (0..20)
        .map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_recv_buffer_size(4096).unwrap();
            socket.connect(&server.http.into()).unwrap();
            let mut stream = TcpStream::from(socket);
            stream.set_write_timeout(Some(PACE)).unwrap();
            // As many requests as the two sides have room for.
            let ask = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
            while stream.write(&ask).is_ok_and(|bytes| bytes > 0) {}
            stream
        })
        .collect();
    others_are_served(&server);
    wait_for_metric(&server, TIMED_OUT, |count| count == 20.0);
    let grown = server.memory_bytes("VmHWM").saturating_sub(before);
    assert!(grown < 48 * MIB, "the server took {} MiB", grown / MIB);
    drop(greedy);
}

#[test]
fn a_connection_takes_many_requests() {
    let server = Server::start();
    let mut stream = tcp(server.http);
    let body = "m v=1 1\n";
    let ask = format!("POST /write HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    // One after the other in one go, answered in their order.
    stream.write_all(ask.repeat(50).as_bytes()).unwrap();
    stream.write_all(b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 204 No Content\r\n").count(), 51);
    assert_eq!(Raw::connect(server.pg).value("SELECT count(*) FROM m"), "50");
    let metrics = metrics(&server);
    assert_eq!(metrics["tidemark_listener_connections_total{listener=\"http\"}"], 2.0);
}
