//! Writes that their sender numbers: one sent again is not written again, over restarts too.

use tidemark_tests::server::{Options, Server};

use crate::http::{Answer, metrics, request};
use crate::raw::{Raw, message, query};

fn send(server: &Server, sequence: &str, lines: &str) -> Answer {
    let headers = [("X-Tidemark-Producer", "telegraf-7"), ("X-Tidemark-Sequence", sequence)];
    request(server.http, "POST", "/write", &headers, lines.as_bytes())
}

/// Whether the answer says that the request had been written before.
fn repeated(answer: &Answer) -> bool {
    assert_eq!(answer.status, 204, "{}", answer.body);
    answer.headers.get("x-tidemark-repeated").is_some_and(|value| value == "true")
}

#[test]
fn a_request_that_is_sent_again_is_written_once() {
    let server = Server::start();
    assert!(!repeated(&send(&server, "1", "m,host=a v=1 1")));
    assert!(repeated(&send(&server, "1", "m,host=a v=1 1")));
    assert!(!repeated(&send(&server, "3", "m,host=a v=2 2\nn v=2 2")));
    // Numbers rise: one that was left out does not come later.
    assert!(repeated(&send(&server, "2", "m,host=a v=3 3")));
    assert_eq!(metrics(&server)["tidemark_writes_repeated_total"], 2.0);

    let directory = server.kill();
    let server = Options::new().data_dir(&directory.path).start();
    assert!(repeated(&send(&server, "3", "m,host=a v=2 2\nn v=2 2")));
    assert!(!repeated(&send(&server, "4", "m,host=a v=4 4")));
    let mut raw = Raw::connect(server.pg);
    assert_eq!(raw.value("SELECT count(*), sum(v) FROM m"), "3|7");
    assert_eq!(raw.value("SELECT count(*) FROM n"), "1");
    // Another sender has numbers of its own, and rows without a number are all written.
    let headers = [("X-Tidemark-Producer", "other"), ("X-Tidemark-Sequence", "1")];
    assert!(!repeated(&request(server.http, "POST", "/api/v2/write", &headers, b"m,host=b v=8 8")));
    for _ in 0..2 {
        assert!(!repeated(&request(server.http, "POST", "/write", &[], b"m,host=b v=16 8")));
    }
    assert_eq!(raw.value("SELECT count(*), sum(v) FROM m"), "6|47");
}

#[test]
fn a_number_that_is_none_is_refused() {
    let server = Server::start();
    let ask = |headers: &[(&str, &str)]| {
        let answer = request(server.http, "POST", "/write", headers, b"m v=1 1");
        assert_eq!(answer.status, 400);
        answer.body
    };
    assert!(ask(&[("X-Tidemark-Producer", "p")]).contains("come together"));
    assert!(ask(&[("X-Tidemark-Sequence", "1")]).contains("come together"));
    let wrong = ask(&[("X-Tidemark-Producer", "p"), ("X-Tidemark-Sequence", "-1")]);
    assert!(wrong.contains("-1") && wrong.contains("18446744073709551615"), "{wrong}");
    assert!(ask(&[("X-Tidemark-Producer", ""), ("X-Tidemark-Sequence", "1")]).contains("not empty"));
    let long = "p".repeat(256);
    assert!(ask(&[("X-Tidemark-Producer", &long), ("X-Tidemark-Sequence", "1")]).contains("255"));
    let mut raw = Raw::connect(server.pg);
    assert_eq!(raw.value("SELECT count(*) FROM pg_class WHERE relname = 'm'"), "0");
}

#[test]
fn a_transaction_that_is_committed_again_is_written_once() {
    let server = Server::start();
    let mut raw = Raw::connect(server.pg);
    raw.run("CREATE TABLE t (ts timestamptz, n int) WITH (kind = 'timeseries', time_key = 'ts')");
    raw.run("SET tidemark.producer = 'loader'");
    let insert = |n: u32| format!("INSERT INTO t VALUES ('2024-01-01', {n})");
    for _ in 0..2 {
        raw.run("SET tidemark.sequence = 1");
        raw.run(&insert(1));
        // A commit uses it up.
        assert_eq!(raw.value("SHOW tidemark.sequence"), "");
    }
    for _ in 0..2 {
        raw.run("BEGIN");
        raw.run("SET LOCAL tidemark.sequence = 2");
        raw.run(&insert(2));
        raw.run(&insert(4));
        raw.run("COMMIT");
    }
    raw.run(&insert(8));
    raw.run(&insert(8));
    assert_eq!(raw.value("SELECT count(*), sum(n) FROM t"), "5|23");
    // One that was rolled back was not committed.
    raw.run("BEGIN");
    raw.run("SET LOCAL tidemark.sequence = 3");
    raw.run(&insert(16));
    raw.run("ROLLBACK");
    let copy = "COPY t FROM STDIN (FORMAT csv)";
    let directory = {
        raw.run("SET tidemark.sequence = 3");
        copy_in(&mut raw, copy, "2024-01-01,32\n2024-01-01,64\n");
        server.kill()
    };
    let server = Options::new().data_dir(&directory.path).start();
    let mut raw = Raw::connect(server.pg);
    raw.run("SET tidemark.producer = 'loader'");
    raw.run("SET tidemark.sequence = 3");
    copy_in(&mut raw, copy, "2024-01-01,32\n2024-01-01,64\n");
    assert_eq!(raw.value("SELECT count(*), sum(n) FROM t"), "7|119");
}

/// Copies text in.
fn copy_in(raw: &mut Raw, sql: &str, text: &str) {
    raw.send(&[query(sql), message(b'd', text.as_bytes()), message(b'c', b"")].concat());
    let answer = raw.until_ready();
    assert!(!answer.iter().any(|line| line.starts_with("error")), "{answer:?}");
}

#[test]
fn settings_that_are_no_number_are_refused() {
    let server = Server::start();
    let mut raw = Raw::connect(server.pg);
    raw.run("CREATE TABLE t (ts timestamptz, n int) WITH (kind = 'timeseries', time_key = 'ts')");
    let refused = |answers: Vec<String>, state: &str| assert!(answers[0].contains(state), "{answers:?}");
    refused(raw.query("SET tidemark.sequence = 'x'"), "22023");
    refused(raw.query("SET tidemark.sequence = '-1'"), "22023");
    raw.run("SET tidemark.sequence = 1");
    let answers = raw.query("INSERT INTO t VALUES ('2024-01-01', 1)");
    assert!(answers.iter().any(|answer| answer.contains("55000")), "{answers:?}");
    assert_eq!(raw.value("SELECT count(*) FROM t"), "0");
    raw.run("RESET tidemark.sequence");
    raw.run("INSERT INTO t VALUES ('2024-01-01', 1)");
    assert_eq!(raw.value("SELECT count(*) FROM t"), "1");
}
