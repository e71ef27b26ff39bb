//! Line protocol over HTTP: what its options do, and what lines mean.

use serde_json::{Value, json};
use tidemark_tests::server::{Options, Server};
use tokio_postgres::NoTls;

use crate::http::{Answer, metrics, write};
use crate::raw::Raw;

/// The body of an answer that is an error.
fn error(answer: &Answer) -> Value {
    assert_eq!(answer.status, 400, "{}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

#[test]
fn precision_is_the_unit_of_timestamps() {
    let server = Server::start();
    let mut raw = Raw::connect(server.pg);
    let cases = [
        ("/write?precision=n", "1700000000123456789", "2023-11-14 22:13:20.123456789+00"),
        ("/write?precision=u", "1700000000123456", "2023-11-14 22:13:20.123456+00"),
        ("/write?precision=ms", "1700000000123", "2023-11-14 22:13:20.123+00"),
        ("/write?precision=s", "1700000000", "2023-11-14 22:13:20+00"),
        ("/write?precision=m", "28333333", "2023-11-14 22:13:00+00"),
        ("/write?precision=h", "472222", "2023-11-14 22:00:00+00"),
        ("/api/v2/write?precision=ns", "1700000000123456789", "2023-11-14 22:13:20.123456789+00"),
        ("/api/v2/write?precision=us", "1700000000123456", "2023-11-14 22:13:20.123456+00"),
        ("/api/v2/write?precision=ms", "1700000000123", "2023-11-14 22:13:20.123+00"),
        ("/api/v2/write?precision=s", "1700000000", "2023-11-14 22:13:20+00"),
        ("/write", "-1", "1969-12-31 23:59:59.999999999+00"),
        ("/api/v3/write_lp?precision=nanosecond", "1700000000123456789", "2023-11-14 22:13:20.123456789+00"),
        ("/api/v3/write_lp?precision=microsecond", "1700000000123456", "2023-11-14 22:13:20.123456+00"),
        ("/api/v3/write_lp?precision=millisecond", "1700000000123", "2023-11-14 22:13:20.123+00"),
        ("/api/v3/write_lp?precision=second", "1700000000", "2023-11-14 22:13:20+00"),
        ("/api/v3/write_lp?precision=auto", "1700000000123", "2023-11-14 22:13:20.123+00"),
        ("/api/v3/write_lp", "1700000000", "2023-11-14 22:13:20+00"),
        ("/api/v3/write_lp", "1700000000123456", "2023-11-14 22:13:20.123456+00"),
        ("/api/v3/write_lp", "1700000000123456789", "2023-11-14 22:13:20.123456789+00"),
        ("/write?precision=s", "-1", "1969-12-31 23:59:59+00"),
        ("/write", "9223372036854775806", "2262-04-11 23:47:16.854775806+00"),
        ("/write", "-9223372036854775807", "1677-09-21 00:12:43.145224193+00"),
    ];
    for (at, (target, written, expected)) in cases.into_iter().enumerate() {
        let answer = write(&server, target, &format!("m{at} v=1 {written}"));
        assert_eq!(answer.status, 204, "{target}: {}", answer.body);
        let nanoseconds = raw.value(&format!("SELECT time FROM m{at}"));
        // The time key is in nanoseconds; as text it has as many digits as are needed.
        assert_eq!(nanoseconds, expected, "{target} {written}");
    }
    let answer = write(&server, "/write?precision=year", "m v=1 1");
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("precision") && answer.body.contains("year"), "{}", answer.body);
    // Without a timestamp it is now, as the unit can tell it.
    assert_eq!(write(&server, "/write?precision=s", "late v=1").status, 204);
    assert_eq!(raw.value("SELECT count(*) FROM late WHERE time > now() - interval '1 hour'"), "1");
    assert_eq!(raw.value("SELECT time = date_trunc('second', time) FROM late"), "t");
    for (target, time) in [
        ("/write", "9223372036854775807"),
        ("/write", "-9223372036854775808"),
        ("/write?precision=s", "9223372037"),
        ("/write?precision=h", "-2562048"),
    ] {
        let answer = write(&server, target, &format!("m v=1 {time}"));
        assert!(
            answer.body.contains(&format!("line 1: timestamp {time} is out of range")),
            "{}",
            answer.body
        );
    }
}

#[test]
fn bad_lines_are_left_out_where_that_is_asked_for() {
    let server = Server::start();
    let mut raw = Raw::connect(server.pg);
    assert_eq!(write(&server, "/write", "m,host=a v=1,n=1i 1").status, 204);
    let commits = metrics(&server)["tidemark_commits_total"];
    let body = "m,host=b v=2,n=2i 2\n\
        m,host=c v=3,n=3,extra=1 3\n\
        other,x=1 y=\n\
        other,x=1 y=4 4\n\
        m,host=d v=5,n=5i,extra=t 5\n\
        m,host=e,v=1 n=6i 6\n\
        m v=7 7\n";
    let answer = error(&write(&server, "/api/v3/write_lp?accept_partial=true", body));
    let message = "partial write: line 2: field \"n\" is of type double precision but column \"n\" is of type \
        bigint; line 3: missing field value; line 6: tag \"v\" is of type text but column \"v\" is of type \
        double precision (dropped=3)";
    assert_eq!((&answer["message"], &answer["error"]), (&json!(message), &json!(message)));
    assert_eq!((&answer["rows_written"], &answer["rows_rejected"]), (&json!(4), &json!(3)));
    assert_eq!(answer["line"], 2);
    assert_eq!(
        answer["data"][1],
        json!({
            "line_number": 3,
            "error_message": "missing field value",
            "original_line": "other,x=1 y=",
        })
    );
    assert_eq!(metrics(&server)["tidemark_commits_total"] - commits, 1.0);
    assert_eq!(
        raw.query("SELECT host, v, n, extra FROM m ORDER BY time")[1..5],
        ["row a|1|1|NULL", "row b|2|2|NULL", "row d|5|5|t", "row NULL|7|NULL|NULL"]
    );
    // What only a bad line would have needed was not made, nor what it says of a type.
    assert_eq!(raw.value("SELECT x, y FROM other"), "1|4");
    assert!(raw.query("SELECT e FROM m")[0].contains("42703"));
    // All are bad: nothing is there to write.
    let answer = error(&write(&server, "/write?accept_partial=true", "fresh v=\nfresh w=1i1"));
    assert_eq!((&answer["rows_written"], &answer["rows_rejected"]), (&json!(0), &json!(2)));
    assert!(raw.query("SELECT * FROM fresh")[0].contains("42P01"));
    let answer = write(&server, "/write?accept_partial=perhaps", "m v=1");
    assert!(error(&answer)["message"].as_str().unwrap().contains("true, false"), "{}", answer.body);
}

#[test]
fn every_bad_line_is_named_up_to_a_hundred() {
    let server = Server::start();
    let lines = |count: usize| "m v=1 1\nm v= 1\n".repeat(count);
    let answer = error(&write(&server, "/write", &lines(2)));
    assert_eq!(answer["message"], "line 2: missing field value; line 4: missing field value");
    assert_eq!((&answer["rows_written"], &answer["rows_rejected"]), (&json!(0), &json!(2)));
    let answer = error(&write(&server, "/write", &lines(1000)));
    assert_eq!(answer["rows_rejected"], 1000);
    assert_eq!(answer["data"].as_array().unwrap().len(), 100);
    let message = answer["message"].as_str().unwrap();
    assert!(message.ends_with("line 200: missing field value; and 900 more"), "{message}");
    // A long line is shown in part.
    let answer = error(&write(&server, "/write", &format!("m s=\"{}\",", "ä".repeat(1000))));
    let shown = answer["data"][0]["original_line"].as_str().unwrap();
    assert!(shown.starts_with("m s=\"ää") && shown.ends_with("ä…") && shown.len() < 210, "{shown}");
    assert_eq!(metrics(&server)["tidemark_commits_total"], 0.0);
}

#[test]
fn a_request_makes_no_more_than_it_may() {
    let check = |server: &Server, parameter: &str, may_collections: bool, may_columns: bool| {
        let target = format!("/write?create={parameter}");
        for (body, allowed, reason) in [
            ("known,host=b v=1 1", true, ""),
            (
                "fresh v=1 1",
                may_collections,
                "line 1: collection \"fresh\" does not exist, and is not to be made",
            ),
            (
                "known v=1,w=1 1",
                may_columns,
                "line 1: column \"w\" of \"known\" does not exist, and is not to be made",
            ),
            (
                "known,t=1 v=1 1",
                may_columns,
                "line 1: column \"t\" of \"known\" does not exist, and is not to be made",
            ),
        ] {
            let mut raw = Raw::connect(server.pg);
            raw.run("DROP TABLE IF EXISTS known");
            raw.run("DROP TABLE IF EXISTS fresh");
            raw.run("CREATE TABLE known (ts timestamptz, host symbol, v float8) WITH (kind = 'timeseries', time_key = 'ts')");
            let answer = write(server, &target, body);
            if allowed {
                assert_eq!(answer.status, 204, "{parameter} {body}: {}", answer.body);
            } else {
                assert_eq!(error(&answer)["message"], reason, "{parameter} {body}");
            }
        }
    };
    let server = Server::start();
    check(&server, "", true, true);
    check(&server, "all", true, true);
    check(&server, "collections", true, false);
    check(&server, "columns", false, true);
    check(&server, "nothing", false, false);
    let answer = write(&server, "/write?create=much", "m v=1");
    assert!(error(&answer)["message"].as_str().unwrap().contains("all, collections, columns, nothing"));
    // A request may narrow what the server allows, and not widen it.
    let server = Options::new().setting("ingest-create", "collections").start();
    check(&server, "", true, false);
    check(&server, "all", true, false);
    check(&server, "columns", false, false);
}

#[test]
fn lines_mean_what_they_mean_to_influxdb() {
    let server = Server::start();
    let mut raw = Raw::connect(server.pg);
    assert_eq!(write(&server, "/write", "seed,t=x f=1,i=1i,b=t,s=\"a\" 1").status, 204);
    // A body, what is read back of the collection `m`, and of which columns.
    let cases = [
        // Of fields with one name the last counts.
        ("m v=1,v=2,v=3 1", "v", "3"),
        ("m v=1,w=9,v=\"x\" 1\nm v=\"y\" 2", "v, w", "x|9;y|NULL"),
        ("m b=t,s=\"a\",b=f,s=\"b\" 1\nm b=t 2", "b, s", "f|b;t|NULL"),
        // Comments, empty lines, carriage returns, blanks before and after.
        ("# c\r\n\r\nm v=1 1\r\nm v=2 2\r\n", "v", "1;2"),
        ("m v=\"a\" 1\r\nm v=\"b\"\r\n", "v", "a;b"),
        ("  m v=1 1  \n\tm   v=2   2\n  # c\n", "v", "1;2"),
        // Escapes: of what would divide, and of nothing else.
        (r"m,t\,\ \=g=v\,\ \=\x f\,\ \=\y=1 1", r#""t, =g", "f, =\y""#, r"v, =\x|1"),
        (r#"m v="a\"b\\c\nd, =" 1"#, "v", r#"a"b\c\nd, ="#),
        ("m,t=\"q\" v=1 1", "t", "\"q\""),
        ("m,t=ä\u{1f600} v=\"ö\" 1", "t, v", "ä\u{1f600}|ö"),
        ("m v=\"\" 1", "v = ''", "t"),
        // Numbers.
        ("m v=1e3,w=-0.5,x=+2,y=.5 1", "v, w, x, y", "1000|-0.5|2|0.5"),
        (
            "m v=9223372036854775807i,w=-9223372036854775808i,x=7u 1",
            "v, w, x",
            "9223372036854775807|-9223372036854775808|7",
        ),
        (
            "m a=t,b=T,c=true,d=True,e=TRUE,f=f,g=F,h=false,i=False,j=FALSE 1",
            "a,b,c,d,e,f,g,h,i,j",
            "t|t|t|t|t|f|f|f|f|f",
        ),
        // One series with its tags in another order.
        ("m,a=1,b=2 v=1 1\nm,b=2,a=1 v=2 2", "a, b, v", "1|2|1;1|2|2"),
    ];
    for (body, columns, expected) in cases {
        raw.run("DROP TABLE IF EXISTS m");
        let answer = write(&server, "/write", body);
        assert_eq!(answer.status, 204, "{body:?}: {}", answer.body);
        let rows = raw.query(&format!("SELECT {columns} FROM m ORDER BY time"));
        let rows: Vec<&str> = rows.iter().filter_map(|line| line.strip_prefix("row ")).collect();
        assert_eq!(rows.join(";"), expected, "{body:?}");
    }
    for (body, reason) in [
        ("m,t= v=1", "missing tag value"),
        ("m,t=a, v=1", "missing tag value"),
        ("m,t=a,t=b v=1", "tag \"t\" is given twice"),
        ("m,t=a=b v=1", "an equals sign in a tag value needs a backslash"),
        ("m,time=1 v=1", "\"time\" is the time, not a tag"),
        ("m time=1", "\"time\" is the time, not a field"),
        ("m v=1,", "missing field value"),
        ("m v=\"a", "unterminated string"),
        ("m v=1 1 1", "invalid timestamp"),
        ("m v=1 1.5", "invalid timestamp"),
        ("m v=-1u", "invalid field value"),
        ("m v=18446744073709551615u", "invalid or too large unsigned integer"),
        ("m v=NaN", "invalid field value"),
        ("m,t=a t=1", "field \"t\" is of type double precision but column \"t\" is of type text"),
        ("m,t=a t=\"y\" 1", "\"t\" is a tag and a field"),
        ("m t=\"x\" 1\nm,t=a t=\"y\" 2", "\"t\" is a tag and a field"),
        ("m t=1 1\nm,t=a v=1 2", "tag \"t\" is of type text but column \"t\" is of type double precision"),
        ("seed,t=x t=\"y\" 1", "\"t\" is a tag and a field"),
        ("seed,t=z t=\"y\" 1", "\"t\" is a tag and a field"),
        ("m v=\"a\0b\"", "field \"v\" has a zero byte, which no text can have"),
        ("m,t=a\0b v=1", "tag \"t\" has a zero byte, which no text can have"),
        // Type conflicts name the column and both types.
        ("seed f=1i", "field \"f\" is of type bigint but column \"f\" is of type double precision"),
        ("seed i=1", "field \"i\" is of type double precision but column \"i\" is of type bigint"),
        ("seed b=\"t\"", "field \"b\" is of type text but column \"b\" is of type boolean"),
        ("seed s=t", "field \"s\" is of type boolean but column \"s\" is of type text"),
        ("seed,f=1 i=1i", "tag \"f\" is of type text but column \"f\" is of type double precision"),
        ("m v=1 1\nm v=1i 1", "field \"v\" is of type bigint but column \"v\" is of type double precision"),
    ] {
        raw.run("DROP TABLE IF EXISTS m");
        let answer = error(&write(&server, "/write", body));
        let line = body.matches('\n').count() + 1;
        assert_eq!(answer["message"], format!("line {line}: {reason}"), "{body:?}");
        assert_eq!(answer["line"], line, "{body:?}");
    }
    let long = "x".repeat(64);
    for body in [format!("{long} v=1"), format!("m,{long}=1 v=1"), format!("m {long}=1")] {
        let answer = error(&write(&server, "/write", &body));
        assert_eq!(answer["message"], format!("line 1: name \"{long}\" is longer than 63 bytes"));
    }
    // A tag of some rows that is a field of others is one column, whichever comes first.
    for (table, body) in [("one", "one,t=z f=1 2\none t=\"y\" 3"), ("two", "two t=\"z\" 2\ntwo,t=y f=1 3")] {
        assert_eq!(write(&server, "/write", body).status, 204);
        assert_eq!(raw.value(&format!("SELECT string_agg(t, ',' ORDER BY time) FROM {table}")), "z,y");
    }
    assert_eq!(write(&server, "/write", "seed,t=z f=1 2\nseed t=\"y\" 3").status, 204);
    assert_eq!(raw.value("SELECT string_agg(t, ',' ORDER BY time) FROM seed"), "x,z,y");
}

#[test]
fn a_request_that_needs_too_much_room_is_refused() {
    let server = Server::start();
    let before = server.memory_bytes("VmHWM");
    let wide: Vec<String> = (0..1000).map(|at| format!("f{at}=1")).collect();
    // Each row takes room in a thousand columns, and says something of one.
    let body = format!("m {}\n{}", wide.join(","), "m f1=1\n".repeat(200_000));
    let answer = write(&server, "/write", &body);
    assert_eq!(answer.status, 413, "{}", answer.body);
    assert!(answer.body.contains("send fewer rows at a time"), "{}", answer.body);
    // The same with bad lines.
    let body = format!("m {}\n{}", wide.join(","), "m f1=1,\n".repeat(200_000));
    assert_eq!(write(&server, "/write?accept_partial=true", &body).status, 413);
    let columns: Vec<String> = (0..1700).map(|at| format!("f{at}=1")).collect();
    let answer = error(&write(&server, "/write", &format!("m {}", columns.join(","))));
    assert_eq!(answer["message"], "line 1: \"f1599\" would be one column too many: 1600 are allowed");
    let grown = server.memory_bytes("VmHWM").saturating_sub(before);
    assert!(grown < 512 << 20, "the server took {} MiB", grown >> 20);
    let answer = write(&server, "/write", &format!("m {}", wide.join(",")));
    assert_eq!(answer.status, 204, "{}", answer.body);
}

#[tokio::test]
async fn a_password_that_was_changed_is_not_remembered() {
    let server = Options::new().setting("password", "old").start();
    let ask =
        |password: &str| write(&server, &format!("/api/v3/write_lp?u=tidemark&p={password}"), "m v=1").status;
    assert_eq!((ask("old"), ask("new"), ask("old")), (204, 401, 204));
    let config = format!("{} password=old", server.connection_string());
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
    // Its error is the client's too.
    tokio::spawn(async move { connection.await.ok() });
    client.batch_execute("ALTER ROLE tidemark PASSWORD 'new'").await.unwrap();
    assert_eq!((ask("old"), ask("new"), ask("old")), (401, 204, 401));
}

#[test]
fn a_series_that_is_known_follows_its_collection() {
    let server = Server::start();
    let mut raw = Raw::connect(server.pg);
    let mut time = 0;
    let mut write_one = |server: &Server| {
        time += 1;
        let answer = write(server, "/write", &format!("m,host=a v={time} {time}"));
        assert_eq!(answer.status, 204, "{}", answer.body);
    };
    write_one(&server);
    write_one(&server);
    raw.run("ALTER TABLE m ADD COLUMN w float8");
    write_one(&server);
    assert_eq!(raw.value("SELECT count(*), min(host), max(host), count(w) FROM m"), "3|a|a|0");
    // A collection of the same name, whose tag is text; a row that has it as a tag and a field is refused
    // also when its series is known.
    raw.run("DROP TABLE m");
    raw.run("CREATE TABLE m (time timestamptz, v float8, host text) WITH (kind = 'timeseries', time_key = 'time')");
    write_one(&server);
    write_one(&server);
    let answer = write(&server, "/write", "m,host=a v=1,host=\"b\" 9");
    assert_eq!(error(&answer)["message"], "line 1: \"host\" is a tag and a field");
    assert_eq!(raw.value("SELECT count(*), min(host), max(host) FROM m"), "2|a|a");
}

#[test]
fn writers_that_make_the_same_things_at_a_time_do_not_fail() {
    let server = Server::start();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let server = &server;
            scope.spawn(move || {
                for round in 0..10 {
                    let body = format!("m{round},host=w{writer} v=1,f{round}=2,w{writer}=3 {writer}\n");
                    let answer = write(server, "/write", &body);
                    assert_eq!(answer.status, 204, "{}", answer.body);
                }
            });
        }
    });
    let mut raw = Raw::connect(server.pg);
    for round in 0..10 {
        assert_eq!(raw.value(&format!("SELECT count(DISTINCT host), sum(v) FROM m{round}")), "8|8");
    }
}

/// Numbers that look random, the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }
}

/// A line that is right more often than not.
fn random_line(numbers: &mut Numbers, time: usize) -> String {
    let is_odd = |numbers: &mut Numbers| numbers.below(12) == 0;
    let mut line = numbers.pick(&["m", "m", "n", "o"]).to_owned();
    for _ in 0..numbers.below(3) {
        line += match is_odd(numbers) {
            true => numbers.pick(&[",c=", ",f=1", ",h=1", ",time=1", ",=1", ",d"]),
            false => numbers.pick(&[",a=1", ",a=2", ",b=1", ",c=x", ",d=1", ",e=1"]),
        };
    }
    line.push(' ');
    for at in 0..=numbers.below(4) {
        line += if at == 0 { "" } else { "," };
        line += match is_odd(numbers) {
            true => numbers
                .pick(&["f=1i", "f=t", "g=1", "h=\"x\"", "a=1", "b=\"x\"", "new=", "=1", "j=oops", "l=1"]),
            false => numbers.pick(&["f=1", "f=2.5", "g=1i", "h=t", "i=\"x\"", "j=\"y\"", "k=1", "l=1i"]),
        };
    }
    let after = if is_odd(numbers) { numbers.pick(&["x", " 1", ".5"]) } else { "" };
    format!("{line} {time}{after}")
}

#[test]
fn bad_lines_leave_no_trace() {
    let (partly, only_good) = (Server::start(), Server::start());
    let (mut rejected_count, mut time) = (0, 0);
    for seed in 0..40 {
        let mut numbers = Numbers(seed);
        let lines: Vec<String> = (0..40)
            .map(|_| {
                time += 1;
                random_line(&mut numbers, time)
            })
            .collect();
        let answer = write(&partly, "/write?accept_partial=true", &lines.join("\n"));
        let error: Value = serde_json::from_str(&answer.body).unwrap_or_else(|_| json!({"data": []}));
        let bad = error["data"].as_array().unwrap().iter();
        let bad: Vec<u64> = bad.map(|it| it["line_number"].as_u64().unwrap()).collect();
        rejected_count += bad.len();
        let good = lines.iter().zip(1..).filter(|(_, number)| !bad.contains(number));
        let good: Vec<&str> = good.map(|(line, _)| line.as_str()).collect();
        let answer = write(&only_good, "/write", &good.join("\n"));
        assert_eq!(answer.status, 204, "seed {seed}: {}\n{}", answer.body, good.join("\n"));
    }
    assert!(rejected_count > 200 && rejected_count < 1000, "{rejected_count} lines were bad");
    let (mut one, mut other) = (Raw::connect(partly.pg), Raw::connect(only_good.pg));
    for table in ["m", "n", "o"] {
        let sql = format!("SELECT * FROM {table} ORDER BY time");
        let rows = one.query(&sql);
        assert!(rows.len() > 100, "{rows:?}");
        assert_eq!(rows, other.query(&sql), "{table}");
    }
}
