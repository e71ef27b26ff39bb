//! Large results, slow clients, and statements that are stopped.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use tidemark_tests::server::Server;

use crate::http;
use crate::raw::{
    ANSWER_BOUND, Message, Raw, bind_portal, cancel, execute, message, parse, query, run_extended, startup,
    sync, tcp,
};

const MIB: u64 = 1 << 20;

/// More rows than any client waits for.
const ENDLESS: &str =
    "SELECT g, 'some text to fill the row' AS filler FROM generate_series(1, 100000000000) AS t (g)";

/// A connection from which messages are counted rather than looked at.
struct Counting {
    stream: TcpStream,
    input: Vec<u8>,
    at: usize,
}

/// What was counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    rows: u64,
    data: u64,
    /// What was no row, up to ReadyForQuery.
    others: Vec<String>,
}

impl Counting {
    fn connect(address: SocketAddr) -> (Counting, Vec<u8>) {
        let mut counting = Counting { stream: tcp(address), input: Vec::new(), at: 0 };
        counting.send(&startup(&[("user", "tidemark"), ("database", "tidemark")]));
        let mut key = Vec::new();
        loop {
            let message = counting.next();
            match message.tag {
                b'K' => key = message.body,
                b'Z' => return (counting, key),
                _ => {}
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Where the next message is, and how long with its head.
    fn fill(&mut self) -> usize {
        loop {
            let rest = &self.input[self.at..];
            if rest.len() >= 5 {
                let len = 1 + usize::try_from(u32::from_be_bytes(rest[1..5].try_into().unwrap())).unwrap();
                if rest.len() >= len {
                    return len;
                }
            }
            self.input.drain(..self.at);
            self.at = 0;
            let end = self.input.len();
            self.input.resize(end + (256 << 10), 0);
            let read = self.stream.read(&mut self.input[end..]).expect("the server answers in time");
            self.input.truncate(end + read);
            assert!(read > 0, "the server closed the connection");
        }
    }

    fn next(&mut self) -> Message {
        let len = self.fill();
        let message = &self.input[self.at..self.at + len];
        let message = Message { tag: message[0], body: message[5..].to_vec() };
        self.at += len;
        message
    }

    /// Reads until the server is ready, or so many rows were read.
    fn count(&mut self, rows_max: u64) -> Counted {
        let mut counted = Counted::default();
        while counted.rows + counted.data < rows_max {
            let len = self.fill();
            match self.input[self.at] {
                b'D' => counted.rows += 1,
                b'd' => counted.data += 1,
                tag => {
                    let body = self.input[self.at + 5..self.at + len].to_vec();
                    counted.others.push(Message { tag, body }.show());
                    if tag == b'Z' {
                        self.at += len;
                        return counted;
                    }
                }
            }
            self.at += len;
        }
        counted
    }
}

/// Waits until the server has so many sessions.
pub(crate) fn wait_for_sessions(server: &Server, count: usize) {
    let started = std::time::Instant::now();
    let expected = format!("tidemark_sessions {count}");
    loop {
        let metrics = http::get(server.http, "/metrics").body;
        if metrics.lines().any(|line| line == expected) {
            return;
        }
        let sessions = metrics.lines().find(|line| line.starts_with("tidemark_sessions "));
        assert!(started.elapsed() < ANSWER_BOUND, "not {count} sessions: {sessions:?}");
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// Sends cancels until the other side says that the statement is over: one that comes before the
/// statement begins is for nothing.
fn cancel_until_answered<T: Send>(address: SocketAddr, key: &[u8], answer: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let waiting = scope.spawn(answer);
        let started = std::time::Instant::now();
        while !waiting.is_finished() {
            assert!(started.elapsed() < ANSWER_BOUND, "not cancelled");
            cancel(address, key);
            thread::park_timeout(Duration::from_millis(5));
        }
        waiting.join().expect("the answer is as expected")
    })
}

/// Streams a result to a client that stops reading in the middle, and checks memory then and after.
fn check_flat(said: &[u8], expected: &Counted) {
    let server = Server::start();
    let (mut client, _) = Counting::connect(server.pg);
    let mut witness = Raw::connect(server.pg);
    // What the first query of a server takes is not the result's.
    client.send(&query("SELECT g FROM generate_series(1, 100000) AS t (g)"));
    client.count(u64::MAX);
    let before = server.memory_bytes("VmHWM");
    client.send(said);
    let mut counted = client.count(1000);
    // Now the client does not read, and the server serves others.
    for _ in 0..50 {
        assert_eq!(witness.value("SELECT count(*) FROM generate_series(1, 1000) AS t (g)"), "1000");
    }
    let rest = client.count(u64::MAX);
    counted.rows += rest.rows;
    counted.data += rest.data;
    counted.others.extend(rest.others);
    assert_eq!(counted, *expected);
    let grown = server.memory_bytes("VmHWM").saturating_sub(before);
    assert!(grown < 100 * MIB, "memory grew by {} MiB", grown / MIB);
}

#[test]
fn ten_million_rows_do_not_grow_the_servers_memory() {
    check_flat(
        &query("SELECT g FROM generate_series(1, 10000000) AS t (g)"),
        &Counted {
            rows: 10_000_000,
            data: 0,
            others: ["columns g:23", "done SELECT 10000000", "ready I"].map(str::to_owned).to_vec(),
        },
    );
}

#[test]
fn millions_of_rows_of_the_extended_protocol_do_not_grow_the_servers_memory() {
    check_flat(
        &[run_extended("SELECT g FROM generate_series(1, 3000000) AS t (g)"), sync()].concat(),
        &Counted {
            rows: 3_000_000,
            data: 0,
            others: ["parsed", "bound", "done SELECT 3000000", "ready I"].map(str::to_owned).to_vec(),
        },
    );
}

#[test]
fn copying_millions_of_rows_out_does_not_grow_the_servers_memory() {
    check_flat(
        &query("COPY (SELECT g FROM generate_series(1, 3000000) AS t (g)) TO STDOUT"),
        &Counted {
            rows: 0,
            data: 3_000_000,
            others: ["copy out 0 1", "copied", "done COPY 3000000", "ready I"].map(str::to_owned).to_vec(),
        },
    );
}

#[test]
fn many_open_portals_hold_back_their_queries() {
    let server = Server::start();
    let mut raw = Raw::connect(server.pg);
    raw.value("SELECT count(*) FROM generate_series(1, 100000) AS t (g)");
    let before = server.memory_bytes("VmHWM");
    raw.run("BEGIN");
    raw.ask(&[parse("s", ENDLESS, &[]), sync()].concat());
    for round in 0..3 {
        for portal in 0..40 {
            let name = format!("p{portal}");
            let open = if round == 0 { bind_portal(&name, "s") } else { Vec::new() };
            let answer = raw.ask(&[open, execute(&name, 2), sync()].concat());
            let first = 2 * round + 1;
            let tail = &answer[usize::from(round == 0)..];
            assert_eq!(
                tail,
                [
                    format!("row {first}|some text to fill the row"),
                    format!("row {}|some text to fill the row", first + 1),
                    "suspended".to_owned(),
                    "ready T".to_owned()
                ]
            );
        }
    }
    let grown = server.memory_bytes("VmHWM").saturating_sub(before);
    assert!(grown < 200 * MIB, "memory grew by {} MiB", grown / MIB);
    raw.run("COMMIT");
    assert_eq!(raw.value("SELECT 1"), "1");
}

#[test]
fn a_result_that_streams_can_be_cancelled() {
    let server = Server::start();
    let cancelled = "error ERROR 57014 canceling statement due to user request";
    for (said, before, after) in [
        (query(ENDLESS), "columns g:20 filler:25", "ready I"),
        ([run_extended(ENDLESS), sync()].concat(), "bound", "ready I"),
        (query(&format!("COPY ({ENDLESS}) TO STDOUT")), "copy out 0 2", "ready I"),
    ] {
        let (mut client, key) = Counting::connect(server.pg);
        client.send(&said);
        // It streams, and then the client is slow: the server waits for it with its output full.
        let started = client.count(1000);
        assert_eq!(started.others.last().unwrap(), before);
        cancel(server.pg, &key);
        let rest = client.count(100_000_000);
        assert_eq!(rest.others, [cancelled, after]);
        client.send(&query("SELECT 1"));
        assert_eq!(client.count(u64::MAX).rows, 1);
    }
}

#[test]
fn a_portal_that_is_suspended_can_be_cancelled_when_it_goes_on() {
    let server = Server::start();
    let (mut client, key) = Counting::connect(server.pg);
    client.send(
        &[query("BEGIN"), parse("", ENDLESS, &[]), bind_portal("p", ""), execute("p", 10), sync()].concat(),
    );
    assert_eq!(client.count(u64::MAX).others, ["done BEGIN", "ready T"]);
    assert_eq!(client.count(u64::MAX).rows, 10);
    // Nothing runs: this is for nothing, and does not hit what comes next.
    cancel(server.pg, &key);
    client.send(&[execute("p", 10), sync()].concat());
    assert_eq!(
        client.count(u64::MAX),
        Counted { rows: 10, data: 0, others: vec!["suspended".into(), "ready T".into()] }
    );
    client.send(&[execute("p", 0), sync()].concat());
    client.count(1000);
    cancel(server.pg, &key);
    let rest = client.count(100_000_000);
    assert_eq!(rest.others, ["error ERROR 57014 canceling statement due to user request", "ready E"]);
}

#[test]
fn a_statement_without_rows_yet_can_be_cancelled() {
    let server = Server::start();
    let (mut client, key) = Counting::connect(server.pg);
    client.send(&query("SELECT count(*) FROM generate_series(1, 100000000000) AS t (g) WHERE g % 7 = 3"));
    let answer = cancel_until_answered(server.pg, &key, || client.count(u64::MAX));
    assert_eq!(answer.others.last().unwrap(), "ready I");
    assert!(answer.others.contains(&"error ERROR 57014 canceling statement due to user request".to_owned()));
}

#[test]
fn copy_that_waits_for_data_can_be_cancelled() {
    let server = Server::start();
    let mut raw = Raw::connect(server.pg);
    raw.run("CREATE TABLE t (ts timestamptz, v int4) WITH (kind = 'timeseries', time_key = 'ts')");
    raw.send(&[query("COPY t FROM STDIN"), message(b'd', b"2024-01-01\t1\n")].concat());
    assert_eq!(raw.read().show(), "copy in 0 2");
    cancel(server.pg, &raw.key.clone());
    assert_eq!(raw.until_ready(), ["error ERROR 57014 canceling statement due to user request", "ready I"]);
    // The client learns of it only now, and its data is dropped.
    raw.send(&[message(b'd', b"2024-01-01\t1\n"), message(b'c', b"")].concat());
    assert_eq!(raw.value("SELECT count(*) FROM t"), "0");
}

#[test]
fn a_wrong_key_cancels_nothing() {
    let server = Server::start();
    let (mut client, key) = Counting::connect(server.pg);
    client.send(&query(ENDLESS));
    assert_eq!(client.count(1000).rows, 1000);
    let mut wrong = key.clone();
    *wrong.last_mut().unwrap() ^= 1;
    for key in [&wrong[..], &key[..4], &[], &key[..7], &[key.clone(), vec![0]].concat()] {
        cancel(server.pg, key);
    }
    // More than what was on its way already.
    assert_eq!(client.count(1_000_000), Counted { rows: 1_000_000, data: 0, others: Vec::new() });
}

#[test]
fn statement_timeout_ends_a_statement_wherever_it_is() {
    let server = Server::start();
    let (mut client, _) = Counting::connect(server.pg);
    let timeout = "error ERROR 57014 canceling statement due to statement timeout";
    client.send(&query("SET statement_timeout = '100ms'"));
    client.count(u64::MAX);
    client.send(&query("SELECT count(*) FROM generate_series(1, 100000000000) AS t (g) WHERE g % 7 = 3"));
    assert!(client.count(u64::MAX).others.contains(&timeout.to_owned()));
    client.send(&query(ENDLESS));
    assert_eq!(client.count(u64::MAX).others[1..], [timeout, "ready I"]);
    // Each statement of a text has the time for itself, and so has the next.
    client.send(&query("SET statement_timeout = '1h'; SELECT 1; SET statement_timeout = 0; SELECT 1"));
    assert_eq!(client.count(u64::MAX).rows, 2);
}

#[test]
fn a_client_that_goes_away_ends_its_query() {
    let server = Server::start();
    for said in [query(ENDLESS), [run_extended(ENDLESS), sync()].concat()] {
        let mut raw = Raw::connect(server.pg);
        raw.send(&said);
        drop(raw);
    }
    wait_for_sessions(&server, 0);
}
