//! Where the server listens, what it takes for settings, and how it ends.

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use tidemark_tests::server::{DataDir, Options, Server, binary};

use crate::http;
use crate::raw::{ANSWER_BOUND, Raw, message, query, tcp};
use crate::streaming::wait_for_sessions;

const SHUT_DOWN: &str = "error FATAL 57P01 terminating connection due to administrator command";

/// Waits until the server takes no connections any more.
fn wait_until_refused(server: &Server) {
    let started = std::time::Instant::now();
    while TcpStream::connect(server.pg).is_ok() || TcpStream::connect(server.http).is_ok() {
        assert!(started.elapsed() < ANSWER_BOUND, "the server still takes connections");
    }
}

#[test]
fn listening_to_others_needs_a_password() {
    for name in ["pg-listen", "http-listen", "line-listen"] {
        let error = Options::new().setting(name, "0.0.0.0:0").try_start().expect_err("it is refused");
        assert_eq!(error.status.code(), Some(1), "{name}");
        let expected = "refusing to listen on 0.0.0.0:0 without a password: set one with --password, or TIDEMARK_PASSWORD";
        assert!(error.log.contains(expected), "{name}: {error}");
    }
    let server =
        Options::new().setting("pg-listen", "0.0.0.0:0").variable("TIDEMARK_PASSWORD", "secret").start();
    let address = (std::net::Ipv4Addr::LOCALHOST, server.pg.port()).into();
    let mut raw = Raw::open(address);
    raw.send(&crate::raw::startup(&[("user", "tidemark")]));
    assert_eq!(raw.read().show(), "authentication 10");
}

#[test]
fn a_data_directory_has_one_server() {
    let first = Server::start();
    let error = Options::new().data_dir(&first.data_dir).try_start().expect_err("the directory is in use");
    assert_eq!(error.status.code(), Some(1));
    let path = first.data_dir.display().to_string();
    assert!(error.to_string().contains(&path) && error.to_string().contains("another"), "{error}");
    assert_eq!(Raw::connect(first.pg).value("SELECT 1"), "1");
}

#[test]
fn an_address_that_is_taken_is_named() {
    let first = Server::start();
    let error = Options::new().setting("pg-listen", first.pg).try_start().expect_err("the port is taken");
    assert_eq!(error.status.code(), Some(1));
    assert!(error.log.contains(&format!("cannot listen on {}", first.pg)), "{error}");
}

#[test]
fn a_wrong_setting_is_named_with_its_value_and_what_is_allowed() {
    let cases = [
        ("pg-listen", "nowhere", "an address and a port"),
        ("http-listen", "127.0.0.1", "an address and a port"),
        ("line-listen", "127.0.0.1:99999", "an address and a port"),
        ("commit", "sometimes", "group, off, or interval"),
        ("log-format", "xml", "text or json"),
        ("log", "tidemark=loudly", "debug"),
        ("max-connections", "0", "at least 1"),
        ("max-connections", "many", "invalid digit"),
        ("max-connections", "-1", "0..=4294967295"),
        ("http-max-connections", "0", "at least 1"),
        ("http-body-size", "1", "1KiB"),
        ("http-memory", "none", "512MiB"),
        ("http-idle-seconds", "0", "at least 1"),
        ("line-size", "1", "1KiB"),
        ("ingest-create", "much", "all, collections, columns or nothing"),
        ("query-memory", "lots", "512MiB"),
        ("query-memory", "1", "16MiB"),
        ("memtable-size", "1", "4KiB"),
        ("merge-rate", "fast", "512MiB"),
        ("merge-rate", "-1", "512MiB"),
        ("wal-segment-size", "99999999999999999999GiB", "512MiB"),
        ("shutdown-seconds", "soon", "invalid digit"),
    ];
    for (setting, value, allowed) in cases {
        let error = Options::new().setting(setting, value).try_start().expect_err("it is refused");
        assert_ne!(error.status.code(), Some(0));
        assert!(error.log.contains(setting), "{setting}={value}: {error}");
        assert!(error.log.contains(value), "{setting}={value}: {error}");
        assert!(error.log.contains(allowed), "{setting}={value}: {error}");
        // The same from the environment and from a file.
        let variable = format!("TIDEMARK_{}", setting.to_uppercase().replace('-', "_"));
        let error = Options::new().variable(&variable, value).try_start();
        // The fixture gives these two on the command line, which comes first.
        if !["pg-listen", "http-listen"].contains(&setting) {
            let error = error.expect_err("it is refused");
            assert!(error.log.contains(setting) && error.log.contains(value), "{variable}={value}: {error}");
        }
    }
    let (_, stderr) = started_with(&["--nonsense=1"]);
    assert!(stderr.contains("--nonsense"), "{stderr}");
    let (_, stderr) = started_with(&["--tls-cert=a.pem"]);
    assert!(stderr.contains("tls-cert and tls-key"), "{stderr}");
}

/// How the binary ends that is given these arguments, and what it says.
fn started_with(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(binary()).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_configuration_file_is_read_and_what_is_wrong_in_it_is_named() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("tidemark.toml");
    let start = |text: &str| {
        std::fs::write(&file, text).unwrap();
        Options::new().setting("config", file.display()).try_start()
    };
    let server = start("max-connections = 1\nlog-format = 'json'\n").unwrap();
    let held = Raw::connect(server.pg);
    let mut second = Raw::open(server.pg);
    second.send(&crate::raw::startup(&[("user", "tidemark")]));
    assert_eq!(second.until_closed().last().unwrap(), "error FATAL 53300 sorry, too many clients already");
    drop((held, server));
    for (text, expected) in [
        ("max-connection = 1", "max-connection"),
        ("max-connections = 'x'", "max-connections"),
        ("commit = 'never'", "invalid value for commit: \"never\""),
        ("this is not toml", "tidemark.toml"),
    ] {
        let error = start(text).expect_err("it is refused");
        assert_eq!(error.status.code(), Some(1), "{text}");
        assert!(error.log.contains(expected), "{text}: {error}");
    }
    let missing = Options::new().setting("config", "/nowhere/tidemark.toml").try_start();
    assert!(missing.expect_err("there is no such file").log.contains("/nowhere/tidemark.toml"));
}

#[test]
fn a_statement_that_runs_is_finished_before_the_server_ends() {
    // Longer than it takes on any machine.
    let mut server = Options::new().setting("shutdown-seconds", 600).start();
    let mut idle = Raw::connect(server.pg);
    let mut in_block = Raw::connect(server.pg);
    in_block.run("BEGIN");
    let mut running = Raw::connect(server.pg);
    // More than what is on its way between the two: it runs until it is read.
    let rows = 1_000_000;
    running.send(&query(&format!("SELECT g FROM generate_series(1, {rows}) AS t (g)")));
    assert_eq!(running.read().show(), "columns g:23");
    server.terminate();
    assert_eq!(idle.until_closed(), [SHUT_DOWN]);
    assert_eq!(in_block.until_closed(), [SHUT_DOWN]);
    wait_until_refused(&server);
    assert!(server.is_running());
    let answer = running.until_closed();
    assert_eq!(answer.len(), rows + 3);
    assert_eq!(answer[rows - 1], format!("row {rows}"));
    assert_eq!(answer[rows..], [format!("done SELECT {rows}"), "ready I".to_owned(), SHUT_DOWN.to_owned()]);
    assert_eq!(server.wait(ANSWER_BOUND).code(), Some(0));
    assert!(server.log().contains("shut down in order"));
}

#[test]
fn what_was_under_way_is_kept_over_an_orderly_end() {
    let directory = DataDir::new();
    let mut server = Options::new().data_dir(&directory.path).start();
    let mut copying = Raw::connect(server.pg);
    copying.run("CREATE TABLE t (ts timestamptz, v int4) WITH (kind = 'timeseries', time_key = 'ts')");
    copying.send(&[query("COPY t FROM STDIN"), message(b'd', b"2024-01-01\t1\n")].concat());
    assert_eq!(copying.read().show(), "copy in 0 2");
    // A request over HTTP of which half is sent.
    let request = http::request_bytes("POST", "/write", &[], b"cpu v=1 1\n");
    let mut writing = Raw::over(tcp(server.http));
    writing.send(&request[..request.len() - 5]);
    // The server has its head when it answers a later request: it takes connections in order.
    wait_for_sessions(&server, 1);
    server.terminate();
    wait_until_refused(&server);
    copying.send(&[message(b'd', b"2024-01-01\t2\n"), message(b'c', b"")].concat());
    assert_eq!(copying.until_closed(), ["done COPY 2", "ready I", SHUT_DOWN]);
    writing.send(&request[request.len() - 5..]);
    assert_eq!(writing.read_bytes(12), b"HTTP/1.1 204");
    assert_eq!(server.wait(ANSWER_BOUND).code(), Some(0));

    let server = Options::new().data_dir(&directory.path).start();
    let mut raw = Raw::connect(server.pg);
    assert_eq!(raw.value("SELECT count(*), sum(v) FROM t"), "2|3");
    assert_eq!(raw.value("SELECT count(*) FROM cpu"), "1");
}

#[test]
fn a_statement_that_does_not_end_is_cancelled_after_the_time_for_it() {
    let mut server = Options::new().setting("shutdown-seconds", 0).start();
    let mut running = Raw::connect(server.pg);
    running.send(&query("SELECT g FROM generate_series(1, 100000000000) AS t (g)"));
    assert_eq!(running.read().show(), "columns g:20");
    server.terminate();
    let mut others = Vec::new();
    while let Some(message) = running.try_read() {
        if message.tag != b'D' {
            others.push(message.show());
        }
    }
    let cancelled = "error ERROR 57014 canceling statement due to user request";
    assert_eq!(others, [cancelled, "ready I", SHUT_DOWN]);
    assert_eq!(server.wait(ANSWER_BOUND).code(), Some(0));
}

#[test]
fn a_client_that_does_not_read_does_not_hold_up_the_end() {
    let mut server = Options::new().setting("shutdown-seconds", 0).start();
    let mut stuck = Raw::connect(server.pg);
    stuck.send(&query("SELECT g FROM generate_series(1, 100000000000) AS t (g)"));
    assert_eq!(stuck.read().show(), "columns g:20");
    server.terminate();
    assert_eq!(server.wait(Duration::from_secs(60)).code(), Some(0));
}

#[test]
fn an_idle_session_ends_when_its_time_is_over() {
    let server = Server::start();
    let mut raw = Raw::connect(server.pg);
    raw.run("SET idle_session_timeout = '50ms'");
    assert_eq!(raw.until_closed(), ["error FATAL 57P05 terminating connection due to idle-session timeout"]);
    let mut raw = Raw::connect(server.pg);
    raw.run("SET idle_in_transaction_session_timeout = '50ms'");
    // That one is only for blocks.
    assert_eq!(raw.value("SELECT 1"), "1");
    raw.send(&query("BEGIN"));
    assert_eq!(
        raw.until_closed(),
        [
            "done BEGIN",
            "ready T",
            "error FATAL 25P03 terminating connection due to idle-in-transaction timeout"
        ]
    );
}
