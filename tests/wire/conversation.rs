//! What is said after the start, message by message. Every expectation here is what PostgreSQL says.

use crate::raw::{
    Bind, Peer, Raw, bind, bind_portal, close, describe, execute, flush, message, parse, query, run_extended,
    string, sync,
};

/// A statement that fails while it runs; one without a table may do so while it is planned.
const FAILS: &str = "SELECT (1 / g)::int4 AS f FROM generate_series(0, 0) AS t (g)";

/// Says something, and checks every message of the answer.
#[track_caller]
fn check(raw: &mut Raw, said: &[Vec<u8>], expected: &[&str]) {
    let answer = raw.ask(&said.concat());
    assert_eq!(answer, expected);
}

#[test]
fn a_session_starts_with_the_parameters_that_drivers_read() {
    let peer = Peer::start();
    let mut raw = Raw::connect(peer.address);
    for (name, value) in [
        ("server_encoding", "UTF8"),
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO, MDY"),
        ("TimeZone", "Etc/UTC"),
        ("IntervalStyle", "postgres"),
        ("integer_datetimes", "on"),
        ("standard_conforming_strings", "on"),
        ("is_superuser", "on"),
        ("session_authorization", "tidemark"),
        ("application_name", ""),
        ("default_transaction_read_only", "off"),
        ("in_hot_standby", "off"),
    ] {
        assert_eq!(raw.parameter(name), Some(value), "{name}");
    }
    assert!(raw.parameter("server_version").unwrap().starts_with("15."));
    assert!(raw.value("SELECT version()").starts_with("PostgreSQL 15."));
}

#[test]
fn a_parameter_that_changes_is_told_again_and_undone_by_rollback() {
    let peer = Peer::start();
    let mut raw = Raw::connect(peer.address);
    check(
        &mut raw,
        &[query("SET application_name = 'a'")],
        &["done SET", "parameter application_name=a", "ready I"],
    );
    check(
        &mut raw,
        &[query("BEGIN; SET TIME ZONE 'Europe/Berlin'")],
        &["done BEGIN", "done SET", "parameter TimeZone=Europe/Berlin", "ready T"],
    );
    check(&mut raw, &[query("ROLLBACK")], &["done ROLLBACK", "parameter TimeZone=Etc/UTC", "ready I"]);
    check(&mut raw, &[query("SET application_name = 'a'")], &["done SET", "ready I"]);
    check(&mut raw, &[query("DISCARD ALL")], &["done DISCARD ALL", "parameter application_name=", "ready I"]);
}

#[test]
fn statements_of_a_simple_query_are_answered_one_by_one_until_the_first_error() {
    let peer = Peer::start();
    let mut raw = Raw::connect(peer.address);
    check(
        &mut raw,
        &[query("SELECT 1 AS a; SELECT 'x'::text AS b, NULL::int4 AS c; SELECT 1 / 0; SELECT 2")],
        &[
            "columns a:23",
            "row 1",
            "done SELECT 1",
            "columns b:25 c:23",
            "row x|NULL",
            "done SELECT 1",
            "error ERROR 22012 division by zero",
            "ready I",
        ],
    );
    check(&mut raw, &[query("")], &["empty", "ready I"]);
    check(&mut raw, &[query(" ; -- nothing\n;")], &["empty", "ready I"]);
    check(&mut raw, &[query("SELEC 1")], &["error ERROR 42601 syntax error at or near \"SELEC\"", "ready I"]);
}

#[test]
fn statements_of_a_simple_query_are_one_transaction() {
    let peer = Peer::start();
    let mut raw = Raw::connect(peer.address);
    raw.run(&format!("CREATE TABLE t (ts timestamptz, v int4) {}", peer.table_options));
    raw.query("INSERT INTO t VALUES ('2024-01-01', 1); INSERT INTO t VALUES ('2024-01-01', 2); SELECT 1/0");
    assert_eq!(raw.value("SELECT count(*) FROM t"), "0");
    raw.run("INSERT INTO t VALUES ('2024-01-01', 1); INSERT INTO t VALUES ('2024-01-01', 2)");
    assert_eq!(raw.value("SELECT count(*) FROM t"), "2");
    // COMMIT in the middle keeps what was before it.
    raw.query(
        "INSERT INTO t VALUES ('2024-01-01', 3); COMMIT; INSERT INTO t VALUES ('2024-01-01', 4); SELECT 1/0",
    );
    assert_eq!(raw.value("SELECT count(*) FROM t"), "3");
    // A parameter that is set is part of the transaction too.
    raw.query("SET application_name = 'gone'; SELECT 1/0");
    assert_eq!(raw.value("SHOW application_name"), "");
    raw.ask(&[run_extended("SET application_name = 'gone'"), run_extended(FAILS), sync()].concat());
    assert_eq!(raw.value("SHOW application_name"), "");
}

#[test]
fn a_pipeline_is_skipped_after_an_error_until_sync() {
    let peer = Peer::start();
    let mut raw = Raw::connect(peer.address);
    check(
        &mut raw,
        &[
            run_extended("SELECT 1"),
            run_extended(FAILS),
            run_extended("SELECT 2"),
            describe(b'S', "missing"),
            // Even what cannot be understood is only skipped, and so is a simple query.
            message(b'B', b"\xff\xff"),
            query("SELECT 3"),
            flush(),
            sync(),
        ],
        &[
            "parsed",
            "bound",
            "row 1",
            "done SELECT 1",
            "parsed",
            "bound",
            "error ERROR 22012 division by zero",
            "ready I",
        ],
    );
    check(
        &mut raw,
        &[parse("", "SELEC", &[]), bind_portal("", ""), execute("", 0), sync()],
        &["error ERROR 42601 syntax error at or near \"SELEC\"", "ready I"],
    );
    check(
        &mut raw,
        &[parse("", "SELECT 1; SELECT 2", &[]), sync()],
        &["error ERROR 42601 cannot insert multiple commands into a prepared statement", "ready I"],
    );
    check(
        &mut raw,
        &[run_extended("SELECT 4"), sync()],
        &["parsed", "bound", "row 4", "done SELECT 1", "ready I"],
    );
}

#[test]
fn a_pipeline_is_one_transaction_up_to_sync() {
    let peer = Peer::start();
    let mut raw = Raw::connect(peer.address);
    raw.run(&format!("CREATE TABLE t (ts timestamptz, v int4) {}", peer.table_options));
    let insert = || run_extended("INSERT INTO t VALUES ('2024-01-01', 1)");
    check(
        &mut raw,
        &[insert(), run_extended("SELECT count(*) FROM t"), run_extended(FAILS), sync()],
        &[
            "parsed",
            "bound",
            "done INSERT 0 1",
            "parsed",
            "bound",
            "row 1",
            "done SELECT 1",
            "parsed",
            "bound",
            "error ERROR 22012 division by zero",
            "ready I",
        ],
    );
    assert_eq!(raw.value("SELECT count(*) FROM t"), "0");
    raw.ask(&[insert(), insert(), sync(), run_extended(FAILS), sync()].concat());
    raw.until_ready();
    assert_eq!(raw.value("SELECT count(*) FROM t"), "2");
}

#[test]
fn flush_gives_answers_without_sync() {
    let peer = Peer::start();
    let mut raw = Raw::connect(peer.address);
    raw.send(&[parse("", "SELECT 1", &[]), describe(b'S', ""), flush()].concat());
    let lines: Vec<String> = (0..3).map(|_| raw.read().show()).collect();
    assert_eq!(
        lines,
        ["parsed", "parameters", "columns ?column?:23"].map(|it| it.replace("parameters", "parameters "))
    );
    raw.send(&[bind_portal("", ""), execute("", 0), flush()].concat());
    let lines: Vec<String> = (0..3).map(|_| raw.read().show()).collect();
    assert_eq!(lines, ["bound", "row 1", "done SELECT 1"]);
    check(&mut raw, &[sync()], &["ready I"]);
}

#[test]
fn describe_tells_parameters_and_columns_without_running() {
    let peer = Peer::start();
    let mut raw = Raw::connect(peer.address);
    raw.run(&format!(
        "CREATE TABLE t (ts timestamptz, v int4, n numeric(10,2), w varchar(7)) {}",
        peer.table_options
    ));
    check(
        &mut raw,
        &[
            parse("a", "SELECT v, n, w, $1::text AS p FROM t WHERE v = $2 AND ts < $3", &[]),
            describe(b'S', "a"),
            bind(Bind {
                portal: "p",
                statement: "a",
                parameters: &[Some(b"x"), Some(b"1"), Some(b"2024-01-01")],
                result_formats: &[1, 0, 1, 0],
                ..Bind::default()
            }),
            describe(b'P', "p"),
            close(b'P', "p"),
            close(b'P', "never there"),
            close(b'S', "a"),
            describe(b'P', "p"),
            sync(),
        ],
        &[
            "parsed",
            "parameters 25 23 1184",
            "columns v:23 n:1700(655366) w:1043(11) p:25",
            "bound",
            "columns v:23b n:1700(655366) w:1043(11)b p:25",
            "closed",
            "closed",
            "closed",
            "error ERROR 34000 portal \"p\" does not exist",
            "ready I",
        ],
    );
    check(
        &mut raw,
        &[
            parse("", "INSERT INTO t VALUES ($1, $2, $3, $4)", &[]),
            describe(b'S', ""),
            bind(Bind {
                parameters: &[Some(b"2024-01-01"), Some(b"1"), Some(b"1.5"), None],
                // A statement without columns takes any number of formats for them.
                result_formats: &[1, 0],
                ..Bind::default()
            }),
            describe(b'P', ""),
            execute("", 0),
            parse("", "BEGIN", &[]),
            describe(b'S', ""),
            parse("", "SHOW TimeZone", &[]),
            describe(b'S', ""),
            parse("", "", &[]),
            describe(b'S', ""),
            bind_portal("", ""),
            execute("", 0),
            sync(),
        ],
        &[
            "parsed",
            "parameters 1184 23 1700 1043",
            "no columns",
            "bound",
            "no columns",
            "done INSERT 0 1",
            "parsed",
            "parameters ",
            "no columns",
            "parsed",
            "parameters ",
            "columns TimeZone:25",
            "parsed",
            "parameters ",
            "no columns",
            "bound",
            "empty",
            "ready I",
        ],
    );
}

#[test]
fn names_are_unique_and_must_be_there() {
    let peer = Peer::start();
    let mut raw = Raw::connect(peer.address);
    check(&mut raw, &[parse("a", "SELECT 1", &[]), sync()], &["parsed", "ready I"]);
    check(
        &mut raw,
        &[parse("a", "SELECT 2", &[]), sync()],
        &["error ERROR 42P05 prepared statement \"a\" already exists", "ready I"],
    );
    check(
        &mut raw,
        &[bind_portal("", "b"), sync()],
        &["error ERROR 26000 prepared statement \"b\" does not exist", "ready I"],
    );
    check(
        &mut raw,
        &[bind_portal("p", "a"), bind_portal("p", "a"), sync()],
        &["bound", "error ERROR 42P03 cursor \"p\" already exists", "ready I"],
    );
    check(
        &mut raw,
        &[execute("nowhere", 0), sync()],
        &["error ERROR 34000 portal \"nowhere\" does not exist", "ready I"],
    );
    check(&mut raw, &[query("DEALLOCATE a")], &["done DEALLOCATE", "ready I"]);
    check(
        &mut raw,
        &[describe(b'S', "a"), sync()],
        &["error ERROR 26000 prepared statement \"a\" does not exist", "ready I"],
    );
    // A simple query ends the unnamed statement.
    check(&mut raw, &[parse("", "SELECT 1", &[]), sync()], &["parsed", "ready I"]);
    check(&mut raw, &[query("SELECT 1 AS a")], &["columns a:23", "row 1", "done SELECT 1", "ready I"]);
    check(
        &mut raw,
        &[bind_portal("", ""), sync()],
        &["error ERROR 26000 unnamed prepared statement does not exist", "ready I"],
    );
}

#[test]
fn several_portals_give_their_rows_bit_by_bit() {
    let peer = Peer::start();
    let mut raw = Raw::connect(peer.address);
    raw.run("BEGIN");
    check(
        &mut raw,
        &[
            parse("s", "SELECT g FROM generate_series(1, 5) AS t (g)", &[]),
            bind_portal("p", "s"),
            bind_portal("q", "s"),
            execute("p", 2),
            execute("q", 4),
            sync(),
        ],
        &[
            "parsed",
            "bound",
            "bound",
            "row 1",
            "row 2",
            "suspended",
            "row 1",
            "row 2",
            "row 3",
            "row 4",
            "suspended",
            "ready T",
        ],
    );
    check(
        &mut raw,
        &[execute("q", 0), execute("p", 3), execute("p", 3), execute("p", 3), execute("q", 0), sync()],
        &[
            "row 5",
            "done SELECT 1",
            "row 3",
            "row 4",
            "row 5",
            "suspended",
            // All rows were taken, and asking again is no error.
            "done SELECT 0",
            "done SELECT 0",
            "done SELECT 0",
            "ready T",
        ],
    );
    // A suspended portal does not outlive its transaction.
    check(
        &mut raw,
        &[bind_portal("r", "s"), execute("r", 1), sync()],
        &["bound", "row 1", "suspended", "ready T"],
    );
    raw.run("COMMIT");
    check(
        &mut raw,
        &[execute("r", 1), sync()],
        &["error ERROR 34000 portal \"r\" does not exist", "ready I"],
    );
    // Outside a block, Sync is the end of the transaction.
    check(
        &mut raw,
        &[bind_portal("r", "s"), execute("r", 1), sync()],
        &["bound", "row 1", "suspended", "ready I"],
    );
    check(
        &mut raw,
        &[execute("r", 1), sync()],
        &["error ERROR 34000 portal \"r\" does not exist", "ready I"],
    );
}

#[test]
fn any_number_may_be_asked_for() {
    let peer = Peer::start();
    let mut raw = Raw::connect(peer.address);
    for rows_max in [i32::MAX, -1, i32::MIN, 0, 2] {
        check(
            &mut raw,
            &[
                parse("", "SELECT g FROM generate_series(1, 1) AS t (g)", &[]),
                bind_portal("", ""),
                execute("", rows_max),
                sync(),
            ],
            &["parsed", "bound", "row 1", "done SELECT 1", "ready I"],
        );
    }
}

#[test]
fn a_statement_that_is_not_a_query_runs_once() {
    let peer = Peer::start();
    let mut raw = Raw::connect(peer.address);
    raw.run(&format!("CREATE TABLE t (ts timestamptz, v int4) {}", peer.table_options));
    raw.run("BEGIN");
    check(
        &mut raw,
        &[
            parse("", "INSERT INTO t VALUES ('2024-01-01', 1)", &[]),
            bind_portal("p", ""),
            execute("p", 0),
            execute("p", 0),
            sync(),
        ],
        &["parsed", "bound", "done INSERT 0 1", "error ERROR 55000 portal \"p\" cannot be run", "ready E"],
    );
    raw.run("ROLLBACK");
    assert_eq!(raw.value("SELECT count(*) FROM t"), "0");
}

#[test]
fn format_codes_are_none_or_one_or_as_many_as_there_are_values() {
    let peer = Peer::start();
    let mut raw = Raw::connect(peer.address);
    let statement = parse("s", "SELECT $1::int4 AS a, $2::int4 AS b", &[]);
    check(&mut raw, &[statement, sync()], &["parsed", "ready I"]);
    let one: &[u8] = &[0, 0, 0, 1];
    let cases: &[(&[i16], &[Option<&[u8]>], &[i16], &[&str])] = &[
        (&[], &[Some(b"1"), Some(b"2")], &[], &["row 1|2"]),
        (&[0], &[Some(b"1"), Some(b"2")], &[0], &["row 1|2"]),
        (&[1], &[Some(one), Some(one)], &[0, 0], &["row 1|1"]),
        (&[1, 0], &[Some(one), Some(b"2")], &[1], &["row 00000001|00000002"]),
        (&[0, 1], &[Some(b"3"), Some(one)], &[0, 1], &["row 3|00000001"]),
        (&[0, 0], &[None, Some(b"2")], &[1, 0], &["row NULL|2"]),
        (
            &[0, 0, 0],
            &[Some(b"1"), Some(b"2")],
            &[],
            &["error ERROR 08P01 bind message has 3 parameter formats but 2 parameters"],
        ),
        (
            &[],
            &[Some(b"1"), Some(b"2")],
            &[0, 0, 0],
            &["error ERROR 08P01 bind message has 3 result formats but query has 2 columns"],
        ),
        (
            &[],
            &[Some(b"1")],
            &[],
            &[
                "error ERROR 08P01 bind message supplies 1 parameters, but prepared statement \"s\" requires 2",
            ],
        ),
        (
            &[],
            &[Some(b"1"), Some(b"2"), None],
            &[],
            &[
                "error ERROR 08P01 bind message supplies 3 parameters, but prepared statement \"s\" requires 2",
            ],
        ),
        (&[2], &[Some(b"1"), Some(b"2")], &[], &["error ERROR 22023 unsupported format code: 2"]),
        (
            &[1],
            &[Some(b"\0\0\x01"), Some(one)],
            &[],
            &["error ERROR 08P01 insufficient data left in message"],
        ),
        (
            &[1],
            &[Some(one), Some(b"\0\0\0\0\x01")],
            &[],
            &["error ERROR 22P03 incorrect binary data format in bind parameter 2"],
        ),
        (
            &[],
            &[Some(b"1"), Some(b"x")],
            &[],
            &["error ERROR 22P02 invalid input syntax for type integer: \"x\""],
        ),
        (
            &[],
            &[Some(b"1"), Some(b"\xff")],
            &[],
            &["error ERROR 22021 invalid byte sequence for encoding \"UTF8\": 0xff"],
        ),
    ];
    for (parameter_formats, parameters, result_formats, expected) in cases {
        let said = bind(Bind { portal: "", statement: "s", parameter_formats, parameters, result_formats });
        let answer = raw.ask(&[said, execute("", 0), sync()].concat());
        let shown: Vec<&str> = answer.iter().map(String::as_str).collect();
        match expected {
            [error] if error.starts_with("error") => assert_eq!(shown, [*error, "ready I"]),
            _ => assert_eq!(shown, [&["bound"], *expected, &["done SELECT 1", "ready I"]].concat()),
        }
    }
}

#[test]
fn a_block_that_failed_takes_nothing_but_its_end() {
    let peer = Peer::start();
    let mut raw = Raw::connect(peer.address);
    let aborted =
        "error ERROR 25P02 current transaction is aborted, commands ignored until end of transaction block";
    raw.run(&format!("CREATE TABLE t (ts timestamptz, v int4) {}", peer.table_options));
    check(&mut raw, &[query("BEGIN")], &["done BEGIN", "ready T"]);
    check(&mut raw, &[query("INSERT INTO t VALUES ('2024-01-01', 1)")], &["done INSERT 0 1", "ready T"]);
    check(
        &mut raw,
        &[query("SELECT * FROM missing")],
        &["error ERROR 42P01 relation \"missing\" does not exist", "ready E"],
    );
    check(&mut raw, &[query("SELECT 1")], &[aborted, "ready E"]);
    check(&mut raw, &[query("SET application_name = 'x'")], &[aborted, "ready E"]);
    check(&mut raw, &[run_extended("SELECT 1"), sync()], &[aborted, "ready E"]);
    check(&mut raw, &[query("COMMIT")], &["done ROLLBACK", "ready I"]);
    assert_eq!(raw.value("SELECT count(*) FROM t"), "0");

    check(
        &mut raw,
        &[run_extended("BEGIN"), run_extended("SAVEPOINT s"), run_extended(FAILS), sync()],
        &[
            "parsed",
            "bound",
            "done BEGIN",
            "parsed",
            "bound",
            "done SAVEPOINT",
            "parsed",
            "bound",
            "error ERROR 22012 division by zero",
            "ready E",
        ],
    );
    check(
        &mut raw,
        &[run_extended("ROLLBACK TO s"), sync()],
        &["parsed", "bound", "done ROLLBACK", "ready T"],
    );
    raw.run("INSERT INTO t VALUES ('2024-01-01', 1)");
    check(&mut raw, &[run_extended("COMMIT"), sync()], &["parsed", "bound", "done COMMIT", "ready I"]);
    assert_eq!(raw.value("SELECT count(*) FROM t"), "1");

    check(
        &mut raw,
        &[query("COMMIT")],
        &["notice WARNING 25P01 there is no transaction in progress", "done COMMIT", "ready I"],
    );
    check(
        &mut raw,
        &[query("SAVEPOINT s")],
        &["error ERROR 25P01 SAVEPOINT can only be used in transaction blocks", "ready I"],
    );
    check(
        &mut raw,
        &[query("BEGIN READ ONLY; INSERT INTO t VALUES ('2024-01-01', 1)")],
        &["done BEGIN", "error ERROR 25006 cannot execute INSERT in a read-only transaction", "ready E"],
    );
}

#[test]
fn a_statement_outside_a_block_is_a_transaction_with_the_defaults() {
    let peer = Peer::start();
    let mut raw = Raw::connect(peer.address);
    raw.run(&format!("CREATE TABLE t (ts timestamptz, v int4) {}", peer.table_options));
    raw.run("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY");
    assert_eq!(raw.value("SHOW TRANSACTION ISOLATION LEVEL"), "repeatable read");
    assert_eq!(raw.value("SHOW transaction_read_only"), "on");
    let refused = "error ERROR 25006 cannot execute INSERT in a read-only transaction";
    check(&mut raw, &[query("INSERT INTO t VALUES ('2024-01-01', 1)")], &[refused, "ready I"]);
    raw.run("BEGIN READ WRITE ISOLATION LEVEL READ COMMITTED");
    assert_eq!(raw.value("SHOW TRANSACTION ISOLATION LEVEL"), "read committed");
    raw.run("INSERT INTO t VALUES ('2024-01-01', 1)");
    raw.run("COMMIT");
    assert_eq!(raw.value("SHOW transaction_read_only"), "on");
}

#[test]
fn errors_say_what_is_wrong_and_where() {
    let peer = Peer::start();
    let mut raw = Raw::connect(peer.address);
    raw.run(&format!("CREATE TABLE t (ts timestamptz NOT NULL, v int4 NOT NULL) {}", peer.table_options));
    let cases: &[(&str, &[(u8, &str)])] = &[
        ("SELECT a,\n nope FROM t", &[(b'C', "42703"), (b'M', "column \"a\" does not exist"), (b'P', "8")]),
        (
            "SELECT v FROM nowhere",
            &[(b'C', "42P01"), (b'M', "relation \"nowhere\" does not exist"), (b'P', "15")],
        ),
        (
            "INSERT INTO t VALUES ('2024-01-01', NULL)",
            &[
                (b'C', "23502"),
                (b'M', "null value in column \"v\" of relation \"t\" violates not-null constraint"),
                (b's', "public"),
                (b't', "t"),
                (b'c', "v"),
            ],
        ),
        ("SELECT 'x'::int4", &[(b'C', "22P02"), (b'M', "invalid input syntax for type integer: \"x\"")]),
        ("SELECT 2147483647::int4 + 1::int4", &[(b'C', "22003"), (b'M', "integer out of range")]),
        ("SET nonsense = 1", &[(b'C', "42704"), (b'M', "unrecognized configuration parameter \"nonsense\"")]),
        ("SHOW nonsense", &[(b'C', "42704"), (b'M', "unrecognized configuration parameter \"nonsense\"")]),
        (
            "SET statement_timeout = 'soon'",
            &[(b'C', "22023"), (b'M', "invalid value for parameter \"statement_timeout\": \"soon\"")],
        ),
        ("SELECT nofunction(1)", &[(b'C', "42883"), (b'P', "8")]),
    ];
    for (sql, expected) in cases {
        raw.send(&query(sql));
        let error =
            std::iter::repeat_with(|| raw.read()).find(|it| it.tag == b'E' || it.tag == b'Z').unwrap();
        assert_eq!(error.tag, b'E', "{sql}");
        assert_eq!(error.field(b'S').as_deref(), Some("ERROR"), "{sql}");
        assert_eq!(error.field(b'V').as_deref(), Some("ERROR"), "{sql}");
        for (field, value) in *expected {
            let name = char::from(*field);
            assert_eq!(error.field(*field).as_deref(), Some(*value), "{sql}: {name} of {}", error.show());
        }
        raw.until_ready();
    }
}

#[test]
fn copy_goes_in_and_out_in_both_protocols() {
    let peer = Peer::start();
    let mut raw = Raw::connect(peer.address);
    raw.run(&format!("CREATE TABLE t (ts timestamptz, v int4, w text) {}", peer.table_options));
    let data = |text: &str| message(b'd', text.as_bytes());
    let done = || message(b'c', b"");
    raw.send(&query("COPY t FROM STDIN"));
    assert_eq!(raw.read().show(), "copy in 0 3");
    // Lines need not end where messages do.
    check(
        &mut raw,
        &[
            data("2024-01-01\t1\ta\\tb\n2024-01-"),
            data("02\t\\N\t\\N\n2024-01-03\t3\t"),
            flush(),
            data("ä\n"),
            done(),
        ],
        &["done COPY 3", "ready I"],
    );
    check(
        &mut raw,
        &[query("COPY (SELECT ts, v, w FROM t ORDER BY ts) TO STDOUT")],
        &[
            "copy out 0 3",
            "data 2024-01-01 00:00:00+00\t1\ta\\tb\n",
            "data 2024-01-02 00:00:00+00\t\\N\t\\N\n",
            "data 2024-01-03 00:00:00+00\t3\tä\n",
            "copied",
            "done COPY 3",
            "ready I",
        ],
    );
    check(
        &mut raw,
        &[query("COPY (SELECT ts, v, w FROM t ORDER BY ts) TO STDOUT (FORMAT csv, HEADER)")],
        &[
            "copy out 0 3",
            "data ts,v,w\n",
            "data 2024-01-01 00:00:00+00,1,a\tb\n",
            "data 2024-01-02 00:00:00+00,,\n",
            "data 2024-01-03 00:00:00+00,3,ä\n",
            "copied",
            "done COPY 3",
            "ready I",
        ],
    );
    // The extended protocol: the Sync that libpq sends before the data is ignored.
    raw.send(&[run_extended("COPY t (ts, v) FROM STDIN (FORMAT csv)"), sync()].concat());
    assert_eq!(raw.read().show(), "parsed");
    assert_eq!(raw.read().show(), "bound");
    assert_eq!(raw.read().show(), "copy in 0 2");
    check(&mut raw, &[data("2024-01-04,4\n"), done(), sync()], &["done COPY 1", "ready I"]);
    check(
        &mut raw,
        &[run_extended("COPY (SELECT count(*) FROM t) TO STDOUT"), sync()],
        &["parsed", "bound", "copy out 0 1", "data 4\n", "copied", "done COPY 1", "ready I"],
    );
}

#[test]
fn copy_that_fails_stores_nothing_and_leaves_the_session_in_step() {
    let peer = Peer::start();
    let mut raw = Raw::connect(peer.address);
    raw.run(&format!("CREATE TABLE t (ts timestamptz, v int4) {}", peer.table_options));
    let data = |text: &str| message(b'd', text.as_bytes());
    let done = || message(b'c', b"");
    let failed = "error ERROR 57014 COPY from stdin failed: no more";

    raw.send(
        &[query("COPY t FROM STDIN"), data("2024-01-01\t1\n"), message(b'f', &string("no more"))].concat(),
    );
    assert_eq!(raw.until_ready(), ["copy in 0 2", failed, "ready I"]);
    raw.send(
        &[query("COPY t FROM STDIN"), data("2024-01-01\t1\n2024-01-01\tx\n"), data("2024"), done()].concat(),
    );
    assert_eq!(
        raw.until_ready(),
        ["copy in 0 2", "error ERROR 22P02 invalid input syntax for type integer: \"x\"", "ready I"]
    );
    raw.send(
        &[
            run_extended("COPY t FROM STDIN"),
            data("2024-01-01\t1\t2\n"),
            data("2024-01-01\t1\t2\n"),
            done(),
            run_extended("SELECT 1"),
            sync(),
        ]
        .concat(),
    );
    assert_eq!(
        raw.until_ready(),
        [
            "parsed",
            "bound",
            "copy in 0 2",
            "error ERROR 22P04 extra data after last expected column",
            "ready I"
        ]
    );
    // Data that nobody asked for is dropped.
    check(
        &mut raw,
        &[data("x"), done(), message(b'f', &string("x")), query("SELECT count(*) FROM t")],
        &["columns count:20", "row 0", "done SELECT 1", "ready I"],
    );
    // In a block, the block has failed.
    raw.run("BEGIN");
    raw.send(
        &[query("COPY t FROM STDIN"), data("2024-01-01\t1\n"), message(b'f', &string("no more"))].concat(),
    );
    assert_eq!(raw.until_ready(), ["copy in 0 2", failed, "ready E"]);
}

#[test]
fn a_plan_whose_columns_change_is_refused() {
    let peer = Peer::start();
    let mut raw = Raw::connect(peer.address);
    raw.run(&format!("CREATE TABLE t (ts timestamptz, v int4) {}", peer.table_options));
    check(
        &mut raw,
        &[parse("all", "SELECT * FROM t", &[]), parse("one", "SELECT v FROM t", &[]), sync()],
        &["parsed", "parsed", "ready I"],
    );
    raw.run("ALTER TABLE t ADD COLUMN w text");
    check(
        &mut raw,
        &[bind_portal("", "all"), sync()],
        &["error ERROR 0A000 cached plan must not change result type", "ready I"],
    );
    check(&mut raw, &[bind_portal("", "one"), sync()], &["bound", "ready I"]);
}

#[test]
fn messages_that_contradict_themselves_are_errors_and_the_session_goes_on() {
    let peer = Peer::start();
    let mut raw = Raw::connect(peer.address);
    for (said, expected) in [
        (message(b'Q', b"SELECT 1"), "error ERROR 08P01 invalid string in message"),
        (message(b'Q', b"SELECT 1\0x"), "error ERROR 08P01 invalid message format"),
        (message(b'S', b"x"), "error ERROR 08P01 invalid message format"),
        (
            [message(b'P', b"\0SELECT 1\0\xff\xff"), sync()].concat(),
            "error ERROR 08P01 insufficient data left in message",
        ),
        (
            [message(b'B', b"\0\0\0\0\0\x01\x7f\xff\xff\xff"), sync()].concat(),
            "error ERROR 08P01 insufficient data left in message",
        ),
        ([message(b'E', b"\0\0\0"), sync()].concat(), "error ERROR 08P01 insufficient data left in message"),
        ([message(b'D', b"Z\0"), sync()].concat(), "error ERROR 08P01 invalid DESCRIBE message subtype 90"),
        ([message(b'C', b"Z\0"), sync()].concat(), "error ERROR 08P01 invalid CLOSE message subtype 90"),
    ] {
        // Bind looks for its statement before it reads on.
        raw.ask(&[parse("", "SELECT $1::int4", &[]), sync()].concat());
        check(&mut raw, &[said], &[expected, "ready I"]);
    }
    assert_eq!(raw.value("SELECT 1"), "1");
}
