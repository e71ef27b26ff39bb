//! Health, metrics, and line protocol, over HTTP.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::SocketAddr;

use flate2::Compression;
use flate2::write::GzEncoder;
use tidemark_tests::server::{Options, Server};

use crate::clients::protected;
use crate::raw::{ANSWER_BOUND, Raw, tcp};

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

/// A request as it is sent.
pub(crate) fn request_bytes(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    [head.as_bytes(), body].concat()
}

pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut stream = tcp(address);
    stream.write_all(&request_bytes(method, target, headers, body)).unwrap();
    read_answer(stream)
}

/// The same, with an answer of any bytes: its status, headers and body.
pub(crate) fn request_raw(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> (u16, HashMap<String, String>, Vec<u8>) {
    let mut stream = tcp(address);
    stream.write_all(&request_bytes(method, target, headers, body)).unwrap();
    read_raw_answer(stream)
}

fn read_raw_answer(mut stream: impl Read) -> (u16, HashMap<String, String>, Vec<u8>) {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(&bytes)));
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_ascii_lowercase(), value.to_owned())
    };
    (status, lines.map(header).collect(), bytes[end + 4..].to_vec())
}

pub(crate) fn read_answer(stream: impl Read) -> Answer {
    let (status, headers, body) = read_raw_answer(stream);
    Answer { status, headers, body: String::from_utf8(body).unwrap() }
}

pub(crate) fn get(address: SocketAddr, target: &str) -> Answer {
    request(address, "GET", target, &[], b"")
}

pub(crate) fn write(server: &Server, target: &str, body: &str) -> Answer {
    request(server.http, "POST", target, &[], body.as_bytes())
}

#[test]
fn health_says_that_the_server_is_ready() {
    let server = Server::start();
    let answer = get(server.http, "/health");
    assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, "application/json"));
    let health: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&health["name"], &health["status"]), (&"tidemark".into(), &"pass".into()));
    assert_eq!(get(server.http, "/ping").status, 204);
    assert_eq!(get(server.http, "/nowhere").status, 404);
    assert_eq!(get(server.http, "/write").status, 405);
}

/// A sample of Prometheus' text format: the name of its family, the name with its labels, its value.
fn parse_sample(line: &str) -> Option<(&str, &str, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let is_name = |text: &str| {
        let mut characters = text.chars();
        characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    let labels = labels.strip_suffix('}')?;
    let is_label = |label: &str| {
        label.split_once('=').is_some_and(|(name, value)| {
            is_name(name) && value.len() > 2 && value.starts_with('"') && value.ends_with('"')
        })
    };
    (is_name(name) && (labels.is_empty() || labels.split(',').all(is_label))).then_some(())?;
    Some((name, series, value.parse().ok()?))
}

/// The metrics of a server, by name and labels.
pub(crate) fn metrics(server: &Server) -> HashMap<String, f64> {
    let answer = get(server.http, "/metrics");
    let samples = answer.body.lines().filter_map(parse_sample);
    samples.map(|(_, series, value)| (series.to_owned(), value)).collect()
}

/// Waits until a metric is as it should be.
pub(crate) fn wait_for_metric(server: &Server, series: &str, is_right: impl Fn(f64) -> bool) {
    let started = std::time::Instant::now();
    loop {
        let value = metrics(server).get(series).copied();
        if value.is_some_and(&is_right) {
            return;
        }
        assert!(started.elapsed() < ANSWER_BOUND, "{series} is {value:?}");
        std::thread::park_timeout(std::time::Duration::from_millis(5));
    }
}

#[test]
fn metrics_are_prometheus_text_and_count() {
    let server = Server::start();
    let samples = |server: &Server| {
        let answer = get(server.http, "/metrics");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        assert!(answer.body.ends_with('\n'));
        let mut kinds = HashMap::new();
        let mut samples = HashMap::new();
        for line in answer.body.lines() {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert!(["counter", "gauge", "histogram", "summary"].contains(&kind), "{line}");
                assert!(kinds.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} is there twice");
            } else if !line.starts_with("# HELP ") {
                let (name, series, value) = parse_sample(line).unwrap_or_else(|| panic!("no sample: {line}"));
                assert!(kinds.contains_key(name), "{name} has no type before it");
                assert!(name.starts_with("tidemark_"), "{name}");
                assert!(samples.insert(series.to_owned(), value).is_none(), "{series} is there twice");
            }
        }
        // By convention, counters of things end in `_total`, and nothing else does.
        for (name, kind) in &kinds {
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        }
        samples
    };
    let before = samples(&server);
    assert_eq!(before["tidemark_sessions"], 0.0);
    assert_eq!(write(&server, "/write", "cpu usage=1\ncpu usage=2\n").status, 204);
    assert_eq!(write(&server, "/write", "nonsense").status, 400);
    let mut raw = Raw::connect(server.pg);
    raw.query("SELECT 1/0");
    let after = samples(&server);
    let grown = |name: &str| after[name] - before[name];
    assert_eq!(after["tidemark_sessions"], 1.0);
    assert_eq!(grown("tidemark_connections_total"), 1.0);
    assert_eq!(grown("tidemark_errors_total"), 1.0);
    let line = |name: &str, more: &str| grown(&format!("{name}{{protocol=\"line_http\"{more}}}"));
    assert_eq!(line("tidemark_ingest_requests_total", ""), 2.0);
    assert_eq!(line("tidemark_ingest_rows_total", ""), 2.0);
    assert_eq!(line("tidemark_ingest_rejected_rows_total", ""), 1.0);
    assert_eq!(line("tidemark_ingest_errors_total", ",kind=\"malformed\""), 1.0);
    assert_eq!(line("tidemark_ingest_errors_total", ",kind=\"internal\""), 0.0);
    assert_eq!(grown("tidemark_rows_written_total"), 2.0);
    assert_eq!(grown("tidemark_commits_total"), 1.0);
    assert_eq!(grown("tidemark_collections"), 1.0);
}

#[test]
fn what_was_written_is_visible_at_once() {
    let server = Server::start();
    let mut raw = Raw::connect(server.pg);
    for (at, target) in [
        "/write",
        "/write?db=tidemark",
        "/api/v2/write?bucket=tidemark&org=any",
        "/api/v2/write?org=x&bucket=",
    ]
    .into_iter()
    .enumerate()
    {
        let body =
            format!("cpu,host=a{at} usage=0.5,count=3i,up=true,note=\"it's ä\" 170000000000000000{at}\n");
        let answer = write(&server, target, &body);
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{target}");
        assert_eq!(raw.value("SELECT count(*) FROM cpu"), (at + 1).to_string());
    }
    assert_eq!(
        raw.value("SELECT host, usage, count, up, note FROM cpu WHERE host = 'a1'"),
        "a1|0.5|3|t|it's ä"
    );
}

#[test]
fn a_wrong_line_is_named_and_nothing_of_its_request_is_stored() {
    let server = Server::start();
    let mut raw = Raw::connect(server.pg);
    assert_eq!(write(&server, "/write", "known,host=a v=1,n=1i 1").status, 204);
    for (body, line) in [
        ("known,host=a v=2 2\nknown,host=a v= 3\n", 2),
        ("known,host=a v=2 2\n\n# a comment\nknown,host=a 3\n", 4),
        ("known,host=a v=2 2\nknown,host=a v=3 soon", 2),
        ("known,host=a v=2 2\nknown,host= v=3 3", 2),
        ("known,host=a v=2 2\nknown,host=a v=\"open 3\n", 2),
        ("known,host=a v=2 2\n,host=a v=3 3\n", 2),
        ("known v=2 2\nknown v=99999999999999999999i 3", 2),
        ("known,host=a v=2 2\nknown,host=a n=1.5 3", 2),
        ("known,host=a v=2 2\nknown,host=a v=\"text\" 3", 2),
        ("known,host=a v=2 2\nknown,host=a,host=b v=1 3", 2),
        ("known,host=a v=2 99999999999999999999\n", 1),
        ("fresh v=1 1\nfresh v=true 2\n", 2),
        ("fresh v=1 1\nknown,host=a time=1 2\n", 2),
        ("nonsense", 1),
    ] {
        let answer = write(&server, "/write", body);
        assert_eq!(answer.status, 400, "{body:?}: {}", answer.body);
        let error: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(error["line"], line, "{body:?}: {error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("line {line}: ")) && message.len() > 15, "{body:?}: {error}");
        assert_eq!(raw.value("SELECT count(*) FROM known"), "1", "{body:?}");
    }
    // What would have been made for the good lines is not there either.
    assert!(raw.query("SELECT * FROM fresh")[0].contains("42P01"));
    let bad = request(server.http, "POST", "/write", &[], b"known v=1 1\nknown v=\xff 2\n");
    assert_eq!(bad.status, 400, "{}", bad.body);
    assert_eq!(raw.value("SELECT count(*) FROM known"), "1");
}

pub(crate) fn gzip_bytes(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn gzip(text: &str) -> Vec<u8> {
    gzip_bytes(text.as_bytes())
}

#[test]
fn a_body_may_be_packed_with_gzip() {
    let server = Server::start();
    let mut raw = Raw::connect(server.pg);
    let send = |body: &[u8], encoding: &str| {
        request(server.http, "POST", "/write", &[("Content-Encoding", encoding)], body)
    };
    assert_eq!(send(&gzip("cpu v=1 1\ncpu v=2 2\n"), "gzip").status, 204);
    // Several members are one body.
    assert_eq!(send(&[gzip("cpu v=3 3\n"), gzip("cpu v=4 4\n")].concat(), "gzip").status, 204);
    assert_eq!(send(b"cpu v=5 5", "identity").status, 204);
    assert_eq!(raw.value("SELECT count(*), sum(v) FROM cpu"), "5|15");
    assert_eq!(send(b"cpu v=6 6", "gzip").status, 400);
    let half = gzip(&"cpu v=6 6\n".repeat(1000));
    assert_eq!(send(&half[..half.len() / 2], "gzip").status, 400);
    assert_eq!(send(b"cpu v=6 6", "br").status, 415);
    assert_eq!(raw.value("SELECT count(*) FROM cpu"), "5");
}

#[test]
fn a_small_body_that_unpacks_to_a_huge_one_is_refused() {
    let server = Server::start();
    let bomb = gzip(&" ".repeat(1 << 20));
    let bomb: Vec<u8> = std::iter::repeat_n(bomb, 1000).flatten().collect();
    let before = server.memory_bytes("VmHWM");
    let answer = request(server.http, "POST", "/write", &[("Content-Encoding", "gzip")], &bomb);
    assert_eq!(answer.status, 413, "{}", answer.body);
    let grown = server.memory_bytes("VmHWM").saturating_sub(before);
    assert!(grown < 300 << 20, "{} MiB", grown >> 20);
    assert_eq!(get(server.http, "/health").status, 200);
}

#[test]
fn a_database_that_does_not_exist_is_not_found() {
    let server = Server::start();
    for target in ["/write?db=other", "/api/v2/write?bucket=other&org=x"] {
        let answer = write(&server, target, "cpu v=1");
        assert_eq!(answer.status, 404, "{}", answer.body);
        assert!(answer.body.contains("other"), "{}", answer.body);
    }
}

#[test]
fn a_password_is_asked_for_in_every_way_that_clients_give_it() {
    let server = Options::new().setting("password", "s3 cr:et&").start();
    // Basic: tidemark:s3 cr:et&
    let basic = "Basic dGlkZW1hcms6czMgY3I6ZXQm";
    let cases: &[(&str, &[(&str, &str)], u16)] = &[
        ("/write", &[("Authorization", basic)], 204),
        ("/write", &[("authorization", "basic dGlkZW1hcms6czMgY3I6ZXQm")], 204),
        ("/api/v2/write", &[("Authorization", "Token tidemark:s3 cr:et&")], 204),
        ("/api/v2/write", &[("Authorization", "Bearer tidemark:s3 cr:et&")], 204),
        ("/api/v3/write_lp?db=tidemark", &[("Authorization", "Bearer tidemark:s3 cr:et&")], 204),
        ("/api/v3/write_lp?db=tidemark", &[("Authorization", "Bearer s3 cr:et&")], 401),
        ("/write?u=tidemark&p=s3%20cr%3Aet%26", &[], 204),
        // A second time, when the first is remembered.
        ("/write", &[("Authorization", basic)], 204),
        ("/write", &[], 401),
        ("/api/v2/write", &[], 401),
        ("/write?u=tidemark", &[], 401),
        ("/write?u=tidemark&p=wrong", &[], 401),
        ("/write?u=nobody&p=s3%20cr%3Aet%26", &[], 401),
        ("/write?u=tidemark&p=", &[], 401),
        ("/api/v2/write", &[("Authorization", "Token tidemark:wrong")], 401),
        ("/api/v2/write", &[("Authorization", "Token tidemark")], 401),
        ("/write", &[("Authorization", "Basic !!!")], 401),
        ("/write", &[("Authorization", "Basic")], 401),
        ("/write", &[("Authorization", "Digest x")], 401),
    ];
    let mut accepted = 0;
    for (target, headers, status) in cases {
        let answer = request(server.http, "POST", target, headers, b"cpu v=1");
        assert_eq!(answer.status, *status, "{target} {headers:?}: {}", answer.body);
        accepted += u64::from(answer.status == 204);
    }
    let refused = cases.len() as u64 - accepted;
    let metrics = get(server.http, "/metrics").body;
    assert!(metrics.contains(&format!("tidemark_ingest_rows_total{{protocol=\"line_http\"}} {accepted}\n")));
    let unauthorized = "tidemark_ingest_errors_total{protocol=\"line_http\",kind=\"unauthorized\"}";
    assert!(metrics.contains(&format!("{unauthorized} {refused}\n")), "{metrics}");
    // Health and metrics say nothing that is secret, and need no password.
    assert_eq!(get(server.http, "/health").status, 200);
    assert!(!server.log().contains("s3 cr"));
    let (server, _certificate) = protected();
    assert_eq!(write(&server, "/write", "cpu v=1").status, 401);
}
