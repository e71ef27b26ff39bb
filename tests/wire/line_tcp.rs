//! Line protocol over TCP: what is written, what ends a connection, and attacks.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use tidemark_tests::server::{Options, Server};

use crate::http::{metrics, wait_for_metric};
use crate::http_limits::{open_files, raise_file_limit};
use crate::raw::{ANSWER_BOUND, Raw, tcp};

fn listening() -> Options {
    Options::new().setting("line-listen", "127.0.0.1:0")
}

fn connect(server: &Server) -> TcpStream {
    tcp(server.line.expect("it listens there"))
}

/// Waits until a query has this answer.
fn wait_for(server: &Server, sql: &str, expected: &str) {
    let mut raw = Raw::connect(server.pg);
    let started = Instant::now();
    loop {
        let answer = raw.query(sql);
        if answer.iter().any(|line| line.strip_prefix("row ") == Some(expected)) {
            return;
        }
        assert!(started.elapsed() < ANSWER_BOUND, "{sql}: {answer:?}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Waits until the server closes the connection.
fn wait_until_closed(mut stream: TcpStream) {
    let mut nothing = Vec::new();
    // Closed with lines unread, it is reset.
    stream.read_to_end(&mut nothing).ok();
    assert!(nothing.is_empty());
}

#[test]
fn lines_are_written_as_they_come() {
    let server = listening().start();
    let mut stream = connect(&server);
    stream.write_all(b"cpu,host=a v=1 1\ncpu,host=a v=2 2\n# a comment\n\ncpu,host=b v=3").unwrap();
    wait_for(&server, "SELECT count(*), sum(v) FROM cpu", "2|3");
    stream.write_all(b"3 3\r\n").unwrap();
    wait_for(&server, "SELECT count(*), sum(v) FROM cpu", "3|36");
    // A newline in a string is no end of a line, also where the bytes are cut there.
    stream.write_all(b"cpu v=4 4\nnote text=\"one\n").unwrap();
    wait_for(&server, "SELECT count(*) FROM cpu", "4");
    stream.write_all(b"two\" 5\n").unwrap();
    wait_for(&server, "SELECT text = E'one\\ntwo' FROM note", "t");
    assert_eq!(metrics(&server)["tidemark_listener_connections{listener=\"line\"}"], 1.0);
}

#[test]
fn a_line_without_an_end_is_not_written() {
    let server = listening().start();
    let mut stream = connect(&server);
    // Of `v=25`, say.
    stream.write_all(b"cpu v=1 1\ncpu v=2").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    wait_until_closed(stream);
    assert_eq!(Raw::connect(server.pg).value("SELECT count(*), sum(v) FROM cpu"), "1|1");
    assert!(server.log().contains("the last line has no end"), "{}", server.log());
}

#[test]
fn a_bad_line_ends_the_connection_after_what_was_before_it() {
    let server = listening().setting("line-size", "1KiB").start();
    let mut raw = Raw::connect(server.pg);
    let long = format!("cpu v=\"{}\" 2\n", "x".repeat(2000));
    let cases = [
        ("cpu v= 2\n", "line 3: missing field value"),
        ("nonsense\n", "line 3: missing fields"),
        (
            "cpu v=true 2\n",
            "line 3: field \"v\" is of type boolean but column \"v\" is of type double precision",
        ),
        (long.as_str(), "a line is longer than 1024 bytes"),
        (&long[..long.len() - 1], "a line is longer than 1024 bytes"),
    ];
    for (at, (bad, reason)) in cases.into_iter().enumerate() {
        let mut stream = connect(&server);
        let good = format!("cpu v={at} 1\ncpu v={at} 2\n");
        let after = if bad.ends_with('\n') { "cpu v=1000 3\n" } else { "" };
        stream.write_all(format!("{good}{bad}{after}").as_bytes()).unwrap();
        wait_until_closed(stream);
        let rows = raw.value("SELECT count(*), max(v) FROM cpu");
        assert_eq!(rows, format!("{}|{at}", 2 * (at + 1)), "{bad}");
        assert!(server.log().contains(reason), "{reason}: {}", server.log());
    }
}

#[test]
fn silent_connections_keep_nobody_from_being_served() {
    raise_file_limit();
    let server = listening().setting("line-max-connections", 10).start();
    let before = open_files(&server);
    let attackers: Vec<TcpStream> = (0..2000)
        .map(|at| {
            let mut stream = connect(&server);
            // Its place may be gone already.
            stream.write_all([&b""[..], b"cpu v"][at % 2]).ok();
            stream
        })
        .collect();
    let mut stream = connect(&server);
    for round in 1..=20 {
        stream.write_all(format!("cpu v={round} {round}\n").as_bytes()).unwrap();
        wait_for(&server, "SELECT count(*) FROM cpu", &round.to_string());
    }
    assert!(open_files(&server) < before + 100, "{} files are open", open_files(&server));
    let metrics = metrics(&server);
    assert!(metrics["tidemark_listener_connections_displaced_total{listener=\"line\"}"] >= 1990.0);
    drop(attackers);
}

#[test]
fn who_sends_no_whole_line_for_some_time_is_closed() {
    let server = listening().setting("line-idle-seconds", 1).start();
    let started = Instant::now();
    wait_until_closed(connect(&server));
    assert!(started.elapsed() >= Duration::from_secs(1));
    let mut slow = connect(&server);
    slow.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let started = Instant::now();
    while slow.write_all(b"x").is_ok() && slow.read(&mut [0; 1]).is_err() {
        assert!(started.elapsed() < ANSWER_BOUND, "the server is still patient");
    }
    let timed_out = "tidemark_listener_connections_timed_out_total{listener=\"line\"}";
    wait_for_metric(&server, timed_out, |count| count == 2.0);
}

#[test]
fn what_came_before_the_end_of_the_server_is_kept() {
    let data = tidemark_tests::server::DataDir::new();
    let mut server = listening().data_dir(&data.path).start();
    let mut stream = connect(&server);
    stream.write_all(b"cpu v=1 1\ncpu v=2 2\ncpu v=").unwrap();
    wait_for(&server, "SELECT count(*) FROM cpu", "2");
    server.terminate();
    assert_eq!(server.wait(ANSWER_BOUND).code(), Some(0));
    let server = listening().data_dir(&data.path).start();
    assert_eq!(Raw::connect(server.pg).value("SELECT count(*) FROM cpu"), "2");
}
