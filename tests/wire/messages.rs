//! Attacks by a client that is known.

use tidemark_tests::server::Server;

use crate::raw::{
    Bind, Raw, bind, bind_portal, describe, execute, flush, message, parse, query, run_extended, string, sync,
};
use crate::startup::unharmed;

const MIB: u64 = 1 << 20;

#[test]
fn an_unknown_message_ends_the_session() {
    let mut server = Server::start();
    unharmed(&mut server, |server| {
        for tag in [b'y', b'\0', b'R', b'Z', b'D' + 128, b'1'] {
            let mut raw = Raw::connect(server.pg);
            raw.send(&message(tag, b"x"));
            let expected = format!("error FATAL 08P01 invalid frontend message type {tag}");
            assert_eq!(raw.until_closed(), [expected]);
        }
        let mut raw = Raw::connect(server.pg);
        raw.send(&message(b'p', b"secret\0"));
        assert_eq!(raw.until_closed(), ["error FATAL 08P01 unexpected password message"]);
        // A length that cannot be.
        for length in [0_u32, 3, u32::MAX, 1 << 30] {
            let mut raw = Raw::connect(server.pg);
            raw.send(&[&b"Q"[..], &length.to_be_bytes()].concat());
            let answer = raw.until_closed();
            assert_eq!(answer.len(), 1, "{answer:?}");
            assert!(answer[0].starts_with("error FATAL 08P01 invalid message length"), "{answer:?}");
        }
    });
}

#[test]
fn a_message_that_was_announced_takes_memory_only_as_it_comes() {
    let mut server = Server::start();
    unharmed(&mut server, |server| {
        let announced: Vec<Raw> = (0..50)
            .map(|_| {
                let mut raw = Raw::connect(server.pg);
                raw.send(&[&b"Q"[..], &(60_u32 << 20).to_be_bytes(), b"SELECT"].concat());
                raw
            })
            .collect();
        assert_eq!(Raw::connect(server.pg).value("SELECT 1"), "1");
        // Goes away in the middle of the message.
        drop(announced);
    });
}

#[test]
fn memory_of_a_long_message_is_given_back() {
    let server = Server::start();
    let long = query(&format!("SELECT '{}'", "x".repeat(40 << 20)));
    let mut sessions: Vec<Raw> = (0..12).map(|_| Raw::connect(server.pg)).collect();
    for raw in &mut sessions {
        let answer = raw.ask(&long);
        assert!(answer[0].starts_with("error ERROR 54000 "), "{answer:?}");
        assert_eq!(raw.value("SELECT 1"), "1");
    }
    let resident = server.memory_bytes("VmRSS");
    assert!(resident < 300 * MIB, "{} MiB for {} sessions", resident / MIB, sessions.len());
}

#[test]
fn the_function_call_message_is_refused_and_the_session_stays_in_step() {
    let server = Server::start();
    let mut raw = Raw::connect(server.pg);
    let refused = "error ERROR 0A000 the function call protocol is not supported";
    for body in
        [&b"\0\0\x05\x39\0\0\0\0\0\0"[..], b"", b"\xff\xff\xff\xff\xff\xff\xff\xff", b"\0\0\0\0\xff\xff"]
    {
        assert_eq!(raw.ask(&message(b'F', body)), [refused, "ready I"]);
        assert_eq!(raw.value("SELECT 1"), "1");
    }
    raw.run("BEGIN");
    assert_eq!(raw.ask(&message(b'F', b"")), [refused, "ready E"]);
}

#[test]
fn what_is_left_of_a_session_that_breaks_off_is_cleaned_up() {
    let mut server = Server::start();
    unharmed(&mut server, |server| {
        let mut setup = Raw::connect(server.pg);
        setup.run("CREATE TABLE t (ts timestamptz, v int4) WITH (kind = 'timeseries', time_key = 'ts')");
        let whole = [
            run_extended("INSERT INTO t VALUES ('2024-01-01', 1)"),
            query("BEGIN; INSERT INTO t VALUES ('2024-01-01', 1)"),
            query("COPY t FROM STDIN"),
            message(b'd', b"2024-01-01\t1\n"),
        ]
        .concat();
        // Cut after every so many bytes, also in the middle of messages.
        for end in (1..whole.len()).step_by(7) {
            Raw::connect(server.pg).send(&whole[..end]);
        }
        // All sessions but this one are over when their places are free.
        crate::streaming::wait_for_sessions(server, 2);
        assert_eq!(setup.value("SELECT count(*) FROM t"), "0");
    });
}

#[test]
fn statements_that_nest_too_deeply_are_refused() {
    let mut server = Server::start();
    let pair =
        |left: &str, right: &str, count: usize| format!("{}1{}", left.repeat(count), right.repeat(count));
    let deep = [
        format!("SELECT {}", pair("(", ")", 10_000)),
        format!("SELECT 1 WHERE {}", vec!["true"; 100_000].join(" AND ")),
        format!("SELECT 1 WHERE {}", vec!["1=1"; 100_000].join(" OR ")),
        format!("SELECT 1{}", " + 1".repeat(100_000)),
        format!("SELECT '1'{}", " || '1'".repeat(50_000)),
        format!("SELECT {}1", "- ".repeat(100_000)),
        format!("SELECT {}true", "NOT ".repeat(100_000)),
        format!("SELECT 1{}", "::int".repeat(100_000)),
        format!("SELECT {}", vec!["1"; 50_000].join(" UNION ALL SELECT ")),
        format!("SELECT {}", pair("(SELECT ", ")", 10_000)),
        format!("SELECT * FROM {}", pair("(SELECT * FROM ", ") t", 5_000)),
        format!("SELECT {}", pair("abs(", ")", 20_000)),
        format!("SELECT {}", pair("ARRAY[", "]", 20_000)),
        format!("SELECT {} 1 {}", "CASE WHEN true THEN ".repeat(10_000), "END ".repeat(10_000)),
        format!("SELECT {}", pair("CAST(", " AS int)", 20_000)),
        format!("SELECT 1 FROM a{}", " CROSS JOIN b".repeat(20_000)),
        format!("SELECT 1{}", " IS NULL".repeat(50_000)),
        format!("SELECT x{}", "[1]".repeat(100_000)),
        format!("SELECT j{}", " -> 'a'".repeat(50_000)),
        format!("SELECT interval {}", "interval ".repeat(50_000)),
        format!("SELECT 1 {}", "COLLATE \"C\" ".repeat(50_000)),
        format!("WITH {} SELECT 1", pair("a AS (WITH ", ")", 10_000)),
        format!("SELECT {}", "EXISTS (SELECT ".repeat(10_000)),
        format!("{} SELECT 1", "EXPLAIN ".repeat(50_000)),
        format!("CREATE TABLE t (a int{})", "[]".repeat(100_000)),
        format!("SELECT a{}", ".a".repeat(200_000)),
        format!("SELECT {}", "(".repeat(500_000)),
        format!("SELECT {}", "[".repeat(500_000)),
        format!("SELECT {}", "CASE ".repeat(150_000)),
        format!("SELECT 1 WHERE 1 {}", "BETWEEN 1 AND 1 ".repeat(50_000)),
        format!("SELECT 1 {}", "AT TIME ZONE 'UTC' ".repeat(40_000)),
        format!("SELECT 1 WHERE 'a' {}", "LIKE 'a' ".repeat(90_000)),
        format!("SELECT 1 WHERE a {}", "IN (1) ".repeat(90_000)),
        format!("COPY ({}) TO STDOUT", pair("(SELECT ", ")", 10_000)),
        format!("INSERT INTO t VALUES ({})", pair("(", ")", 10_000)),
    ];
    let chain_at_the_bound = format!("SELECT 1 WHERE {}", vec!["true"; 4_900].join(" AND "));
    let nesting_at_the_bound = format!("SELECT {}", pair("(", ")", 190));
    unharmed_by_much(&mut server, |server| {
        let mut raw = Raw::connect(server.pg);
        for statement in &deep {
            let short: String = statement.chars().take(60).collect();
            let answer = raw.query(statement);
            // Some are wrong in another way before they are too deep.
            let refused =
                |line: &String| line.starts_with("error ERROR 54001") || line.starts_with("error ERROR 42");
            assert!(answer.iter().any(refused), "{short}: {answer:?}");
            let answer = raw.ask(&[parse("", statement, &[]), describe(b'S', ""), sync()].concat());
            assert!(answer.iter().any(refused), "{short}: {answer:?}");
        }
        // The two that the limits are known by.
        for statement in &deep[..2] {
            assert!(raw.query(statement)[0].starts_with("error ERROR 54001"));
        }
        assert_eq!(raw.value(&chain_at_the_bound), "1");
        assert_eq!(raw.value(&nesting_at_the_bound), "1");
    });
}

/// As [`unharmed`], for attacks that may take memory while they are carried out.
fn unharmed_by_much(server: &mut Server, attack: impl FnOnce(&Server)) {
    attack(server);
    assert!(server.is_running(), "the server is gone:\n{}", server.log());
    let most = server.memory_bytes("VmHWM");
    assert!(most < 1024 * MIB, "the server took {} MiB", most / MIB);
    unharmed(server, |_| {});
}

#[test]
fn parameters_with_large_numbers_take_no_memory() {
    let mut server = Server::start();
    unharmed(&mut server, |server| {
        let mut raw = Raw::connect(server.pg);
        raw.run("CREATE TABLE t (ts timestamptz, v int4) WITH (kind = 'timeseries', time_key = 'ts')");
        for sql in [
            "SELECT $2000000000::int4",
            "SELECT $2147483647::int4",
            "SELECT $4294967295::int4",
            "SELECT $18446744073709551615::int4",
            "SELECT $99999999999999999999999999::int4",
            "SELECT $0::int4",
            "SELECT $65536::int4",
            "INSERT INTO t VALUES ('2024-01-01', $2000000000)",
            "INSERT INTO t VALUES ('2024-01-01', $0)",
            "INSERT INTO t SELECT '2024-01-01', $2000000000::int4",
            "EXPLAIN SELECT $2000000000::int4",
            "COPY (SELECT $2000000000::int4) TO STDOUT",
        ] {
            let answer = raw.ask(&[parse("", sql, &[]), describe(b'S', ""), flush(), sync()].concat());
            assert!(answer[0].starts_with("error ERROR 42"), "{sql}: {answer:?}");
            // There are none at all in a simple query.
            let answer = raw.query(sql);
            assert!(answer.iter().any(|line| line.starts_with("error ERROR ")), "{sql}: {answer:?}");
        }
        let answer = raw.query("SELECT $1::int4");
        assert_eq!(answer.last().unwrap(), "ready I");
        assert!(answer.iter().any(|it| it == "error ERROR 42P02 there is no parameter $1"), "{answer:?}");
    });
}

#[test]
fn a_statement_takes_65535_parameters() {
    let server = Server::start();
    let mut raw = Raw::connect(server.pg);
    raw.run("CREATE TABLE t (ts timestamptz, v int4) WITH (kind = 'timeseries', time_key = 'ts')");
    let rows: Vec<String> = (0..32_767).map(|row| format!("(${},${})", 2 * row + 1, 2 * row + 2)).collect();
    let sql = format!("INSERT INTO t VALUES {}", rows.join(","));
    let parameters: Vec<Option<&[u8]>> =
        (0..65_534).map(|at| Some(if at % 2 == 0 { &b"2024-01-01"[..] } else { b"7" })).collect();
    let answer = raw.ask(
        &[
            parse("", &sql, &[]),
            bind(Bind { parameters: &parameters, ..Bind::default() }),
            execute("", 0),
            sync(),
        ]
        .concat(),
    );
    assert_eq!(answer, ["parsed", "bound", "done INSERT 0 32767", "ready I"]);
    assert_eq!(raw.value("SELECT sum(v) FROM t"), (7 * 32_767).to_string());
    let answer = raw.ask(
        &[
            parse("", "SELECT $65535::int4", &[23; 65_535]),
            bind(Bind { parameters: &[Some(b"9".as_slice()); 65_535], ..Bind::default() }),
            execute("", 0),
            sync(),
        ]
        .concat(),
    );
    assert_eq!(answer, ["parsed", "bound", "row 9", "done SELECT 1", "ready I"]);
}

#[test]
fn a_session_keeps_only_so_many_names() {
    let server = Server::start();
    let mut raw = Raw::connect(server.pg);
    let many: Vec<u8> = (0..10_001).flat_map(|at| parse(&format!("s{at}"), "", &[])).collect();
    let answer = raw.ask(&[many, sync()].concat());
    assert_eq!(answer[10_000], "error ERROR 54000 a session has at most 10000 prepared statements");
    // The unnamed one is always to be had, or nothing could be run any more.
    assert_eq!(
        raw.ask(&[run_extended("SELECT 1"), sync()].concat()),
        ["parsed", "bound", "row 1", "done SELECT 1", "ready I"]
    );
    raw.run("BEGIN");
    let many: Vec<u8> = (0..10_001).flat_map(|at| bind_portal(&format!("p{at}"), "s0")).collect();
    let answer = raw.ask(&[many, sync()].concat());
    assert_eq!(answer[10_000], "error ERROR 54000 a session has at most 10000 open portals");
    raw.run("ROLLBACK");
    raw.run("DEALLOCATE ALL");
    assert_eq!(raw.value("SELECT 1"), "1");
}

#[test]
fn errors_that_quote_a_statement_quote_little_of_it() {
    let server = Server::start();
    let mut raw = Raw::connect(server.pg);
    let long = "x".repeat(500_000);
    for sql in
        [format!("SELECT '{long}'::int4"), format!("SELECT \"{long}\""), format!("SELECT 1 {long} {long}")]
    {
        let answer = raw.query(&sql);
        let error = answer.iter().find(|line| line.starts_with("error ERROR")).unwrap();
        assert!(error.len() < 20_000, "{} bytes", error.len());
    }
    // A zero byte in a name cannot come in, and would end the field.
    raw.send(&message(b'P', &[string("s"), b"SELECT 1\0".to_vec(), b"\0\0".to_vec()].concat()));
    assert_eq!(raw.ask(&sync()), ["parsed", "ready I"]);
}
