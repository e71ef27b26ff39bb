//! More values than a symbol column may have, by every way rows come in: nothing is refused or lost, and a client
//! that prepared its statements before does not notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{SinkExt, pin_mut};
use tidemark_tests::server::{Options, Server};
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls};

use crate::http::{metrics, write};

/// Values that a symbol column of these tables may have.
const LIMIT: i64 = 100;

const TABLES: [&str; 6] = ["inserted", "copied", "as_binary", "block", "cpu", "mixed"];

async fn connect(server: &Server) -> Client {
    let (client, connection) = tokio_postgres::connect(&server.connection_string(), NoTls).await.unwrap();
    // Its error is the client's too.
    tokio::spawn(async move { connection.await.ok() });
    client
}

async fn make(client: &Client, name: &str) {
    let sql = format!(
        "CREATE TABLE {name} (time timestamptz, host SYMBOL, n bigint) \
         WITH (kind = 'timeseries', time_key = 'time', series_key = 'host', symbol_limit = {LIMIT})"
    );
    client.batch_execute(&sql).await.unwrap();
}

fn host(n: i64) -> String {
    format!("the host with number {}", n % (3 * LIMIT))
}

/// Rows 0 to `count` are there, each once, with the texts they were sent with.
async fn check(client: &Client, table: &str, count: i64) {
    let all = format!("SELECT count(*), count(DISTINCT n), min(n), max(n) FROM {table}");
    let row = client.query_one(&all, &[]).await.unwrap();
    let all: [i64; 4] = std::array::from_fn(|at| row.get(at));
    assert_eq!(all, [count, count, 0, count - 1], "{table}");
    let wrong = format!(
        "SELECT count(*) FROM {table} WHERE host IS DISTINCT FROM 'the host with number ' || n % {}",
        3 * LIMIT
    );
    assert_eq!(client.query_one(&wrong, &[]).await.unwrap().get::<_, i64>(0), 0, "{table}");
    let groups = format!("SELECT host, count(*), min(n) FROM {table} GROUP BY host");
    let groups = client.query(&groups, &[]).await.unwrap();
    assert_eq!(groups.len(), usize::try_from(count.min(3 * LIMIT)).unwrap(), "{table}");
    for row in groups {
        let (text, found, first): (String, i64, i64) = (row.get(0), row.get(1), row.get(2));
        assert_eq!(text, host(first), "{table}");
        assert_eq!(found, (count - first - 1) / (3 * LIMIT) + 1, "{table}: {text}");
        let one = format!("SELECT count(*) FROM {table} WHERE host = $1");
        if first % 50 == 0 {
            assert_eq!(client.query_one(&one, &[&text]).await.unwrap().get::<_, i64>(0), found);
        }
    }
}

/// One row after another, by statements that were prepared when there was none.
async fn insert(client: &Client, count: i64) {
    make(client, "inserted").await;
    let sql = "INSERT INTO inserted VALUES ('2024-01-01'::timestamptz + $1 * interval '1 second', $2, $1) RETURNING host";
    let insert = client.prepare_typed(sql, &[Type::INT8]).await.unwrap();
    let find = client.prepare("SELECT n FROM inserted WHERE host = $1 ORDER BY n").await.unwrap();
    for n in 0..count {
        let returned = client.query_one(&insert, &[&n, &host(n)]).await.unwrap();
        assert_eq!(returned.get::<_, String>(0), host(n));
        if n % 37 == 0 {
            let found = client.query(&find, &[&host(n)]).await.unwrap();
            let found: Vec<i64> = found.iter().map(|row| row.get(0)).collect();
            assert_eq!(found, (0..=n).filter(|it| host(*it) == host(n)).collect::<Vec<_>>());
        }
        if n == LIMIT / 2 {
            client.batch_execute("CALL tidemark.flush('inserted')").await.unwrap();
        }
    }
    check(client, "inserted", count).await;
}

/// One COPY of so many rows that they are staged.
async fn copy(client: &Client, count: i64) {
    make(client, "copied").await;
    let sink = client.copy_in("COPY copied FROM STDIN").await.unwrap();
    pin_mut!(sink);
    let lines = (0..count).map(|n| format!("2024-01-01 00:00:00+00\t{}\t{n}\n", host(n)));
    for lines in lines.collect::<Vec<_>>().chunks(1000) {
        sink.send(bytes::Bytes::from(lines.concat())).await.unwrap();
    }
    assert_eq!(sink.finish().await.unwrap(), u64::try_from(count).unwrap());
    check(client, "copied", count).await;
}

async fn copy_binary(client: &Client, count: i64) {
    make(client, "as_binary").await;
    client
        .batch_execute("INSERT INTO as_binary VALUES ('2024-01-01', 'the host with number 0', 0)")
        .await
        .unwrap();
    let sink = client.copy_in("COPY as_binary (time, host, n) FROM STDIN (FORMAT binary)").await.unwrap();
    let writer = BinaryCopyInWriter::new(sink, &[Type::TIMESTAMPTZ, Type::TEXT, Type::INT8]);
    pin_mut!(writer);
    let time = std::time::SystemTime::UNIX_EPOCH;
    for n in 1..count {
        writer.as_mut().write(&[&time, &host(n), &n]).await.unwrap();
    }
    assert_eq!(writer.finish().await.unwrap(), u64::try_from(count - 1).unwrap());
    check(client, "as_binary", count).await;
}

/// A block that sees its own rows before and after the change, which another client makes.
async fn block(client: &mut Client, other: &Client) -> i64 {
    make(client, "block").await;
    let block = client.transaction().await.unwrap();
    let some = |from: i64, to: i64| {
        format!(
            "INSERT INTO block SELECT '2024-01-01'::timestamptz, 'the host with number ' || n % {}, n \
             FROM generate_series({from}::bigint, {to}) AS g(n)",
            3 * LIMIT
        )
    };
    block.batch_execute(&some(0, LIMIT / 2)).await.unwrap();
    check(block.client(), "block", LIMIT / 2 + 1).await;
    other.batch_execute(&some(LIMIT / 2 + 1, 2 * LIMIT)).await.unwrap();
    let there = block.query_one("SELECT count(*), count(DISTINCT host) FROM block", &[]).await.unwrap();
    let all = 2 * LIMIT + 1;
    assert_eq!((there.get::<_, i64>(0), there.get::<_, i64>(1)), (all, all));
    block.batch_execute(&some(all, 7 * LIMIT)).await.unwrap();
    check(block.client(), "block", 7 * LIMIT + 1).await;
    block.commit().await.unwrap();
    check(client, "block", 7 * LIMIT + 1).await;
    7 * LIMIT + 1
}

/// Line protocol makes the table; series that it remembers are written before and after the change.
async fn lines(client: &Client, server: &Server) -> i64 {
    let lines = |from: i64, to: i64| {
        let line = |n| format!("cpu,host={} n={n}i {n}\n", host(n).replace(' ', "\\ "));
        (from..to).map(line).collect::<String>()
    };
    let send = |from, to| {
        let answer = write(server, "/write?precision=s", &lines(from, to));
        assert_eq!(answer.status, 204, "{}", answer.body);
    };
    send(0, LIMIT / 2);
    client.batch_execute(&format!("ALTER TABLE cpu SET (symbol_limit = {LIMIT})")).await.unwrap();
    let (mut sent, hosts) = (LIMIT / 2, 3 * LIMIT);
    // Again what is known; with that what is new, over the limit in one request; and all of it again.
    for count in [hosts - sent + LIMIT / 2, LIMIT / 2, hosts, hosts, 7] {
        send(sent, sent + count);
        sent += count;
        check(client, "cpu", sent).await;
    }
    sent
}

/// Some lines have the column as a tag, and others as a field.
async fn mixed_lines(client: &Client, server: &Server) -> i64 {
    make(client, "mixed").await;
    let line = |n| match n % 2 {
        0 => format!("mixed,host={} n={n}i {n}\n", host(n).replace(' ', "\\ ")),
        _ => format!("mixed n={n}i,host=\"{}\" {n}\n", host(n)),
    };
    let ends = [0, LIMIT / 2, LIMIT, 2 * LIMIT, 5 * LIMIT];
    for end in ends.windows(2) {
        let lines: String = (end[0]..end[1]).map(line).collect();
        let answer = write(server, "/write?precision=s", &lines);
        assert_eq!(answer.status, 204, "{}", answer.body);
        check(client, "mixed", end[1]).await;
    }
    5 * LIMIT
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_values_than_the_limit_are_there_by_every_way_and_after_a_crash() {
    let options = || Options::new().setting("memtable-size", "1MiB");
    let server = options().start();
    let (mut client, other) = (connect(&server).await, connect(&server).await);
    let counts = [700, 60_000, 5_000];
    insert(&client, counts[0]).await;
    copy(&client, counts[1]).await;
    copy_binary(&client, counts[2]).await;
    let of_block = block(&mut client, &other).await;
    let of_lines = lines(&client, &server).await;
    let of_mixed = mixed_lines(&client, &server).await;
    let counts = [counts[0], counts[1], counts[2], of_block, of_lines, of_mixed];
    let as_text = "tidemark_symbol_columns_as_text_total";
    assert_eq!(metrics(&server)[as_text], 6.0);
    let log = server.log();
    for table in TABLES {
        let said = log.lines().filter(|line| line.contains("symbol_limit") && line.contains(table));
        assert_eq!(said.count(), 1, "{table}: {log}");
    }
    let symbols = "SELECT count(*) FROM tidemark.symbols WHERE column_name = 'host'";
    assert_eq!(client.query_one(symbols, &[]).await.unwrap().get::<_, i64>(0), 0);

    let directory = server.kill();
    let server = options().data_dir(&directory.path).start();
    let client = connect(&server).await;
    for merged in [false, true] {
        for (table, count) in TABLES.into_iter().zip(counts) {
            if merged {
                client.batch_execute(&format!("CALL tidemark.merge('{table}')")).await.unwrap();
            }
            check(&client, table, count).await;
        }
    }
    assert_eq!(metrics(&server)[as_text], 0.0);
}

/// Writers who depend on what is there, readers with prepared statements, flushes and merges, all at the moment of
/// the change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_writes_and_reads_at_the_same_time_does_not_notice() {
    const WRITERS: i64 = 6;
    const TIMES: i64 = 40;
    let server = Options::new().setting("memtable-size", "64KiB").start();
    for round in 0..4 {
        let (client, name) = (connect(&server).await, format!("r{round}"));
        let options = "kind = 'timeseries', time_key = 'time', series_key = 'host', dedup_key = 'time, host'";
        let columns = "time timestamptz, host SYMBOL, n bigint, note SYMBOL";
        let sql = format!("CREATE TABLE {name} ({columns}) WITH ({options}, symbol_limit = {LIMIT})");
        client.batch_execute(&sql).await.unwrap();
        let done = Arc::new(AtomicBool::new(false));
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            let client = connect(&server).await;
            let sql = format!(
                "INSERT INTO {name} VALUES ('2024-01-01', $1, 1, $2) ON CONFLICT (time, host) \
                 DO UPDATE SET n = {name}.n + excluded.n, note = excluded.note"
            );
            let upsert = client.prepare(&sql).await.unwrap();
            let plain = format!("INSERT INTO {name} VALUES ('2024-01-02', $1, $2, NULL)");
            let plain = client.prepare(&plain).await.unwrap();
            writers.push(tokio::spawn(async move {
                for time in 0..TIMES {
                    let (own, note) = (format!("w{writer}_{time}"), format!("note {writer} {time}"));
                    client.execute(&upsert, &[&"all", &note]).await.unwrap();
                    client.execute(&upsert, &[&own, &note]).await.unwrap();
                    client.execute(&plain, &[&own, &time]).await.unwrap();
                }
            }));
        }
        let mut others = Vec::new();
        for other in 0..3 {
            let (client, done, name) = (connect(&server).await, Arc::clone(&done), name.clone());
            others.push(tokio::spawn(async move {
                let sql = match other {
                    0 => format!("SELECT host, count(*), max(note) FROM {name} WHERE host <> $1 GROUP BY host"),
                    1 => format!("SELECT DISTINCT ON (host) host, note FROM {name} WHERE host <> $1 ORDER BY host, time DESC"),
                    _ => format!("SELECT n, note FROM {name} WHERE host = $1 AND time = '2024-01-01'"),
                };
                let select = client.prepare(&sql).await.unwrap();
                let mut last = 0;
                while !done.load(Ordering::Relaxed) {
                    let rows = client.query(&select, &[&"all"]).await.unwrap();
                    let seen = match other {
                        2 => rows.first().map_or(0, |row| row.get(0)),
                        _ => i64::try_from(rows.len()).unwrap(),
                    };
                    assert!(last <= seen, "{sql}: {seen} after {last}");
                    last = seen;
                    if other == 2 {
                        client.batch_execute(&format!("CALL tidemark.flush('{name}')")).await.unwrap();
                        client.batch_execute(&format!("CALL tidemark.merge('{name}')")).await.unwrap();
                    }
                }
            }));
        }
        for writer in writers {
            writer.await.unwrap();
        }
        done.store(true, Ordering::Relaxed);
        for other in others {
            other.await.unwrap();
        }
        let number = async |sql: String| client.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0);
        assert_eq!(number(format!("SELECT n FROM {name} WHERE host = 'all'")).await, WRITERS * TIMES);
        assert_eq!(number(format!("SELECT count(*) FROM {name}")).await, 2 * WRITERS * TIMES + 1);
        let right = "host = 'w' || replace(replace(note, 'note ', ''), ' ', '_') AND n = 1";
        let right = format!("SELECT count(*) FROM {name} WHERE time = '2024-01-01' AND {right}");
        assert_eq!(number(right).await, WRITERS * TIMES);
        let symbols = format!("SELECT count(*) FROM tidemark.symbols WHERE collection = '{name}'");
        assert_eq!(number(symbols).await, 0);
    }
}

/// The most symbols that a column may have by itself, and as many series as a large installation has: what is in
/// memory stays within what it may take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_symbols_and_a_hundred_thousand_series_stay_within_memory() {
    const SYMBOLS: i64 = 1_000_000;
    const LATE: i64 = 200;
    const SERIES: i64 = 100_000;
    let settings = [("memtable-size", "16MiB"), ("memtable-memory", "64MiB"), ("block-cache", "16MiB")];
    let options = settings.into_iter().fold(Options::new(), |it, (name, value)| it.setting(name, value));
    let server = options.setting("query-memory", "64MiB").start();
    let client = connect(&server).await;
    let sql = "CREATE TABLE m (time timestamptz, id SYMBOL, n bigint) \
               WITH (kind = 'timeseries', time_key = 'time', series_key = 'id')";
    client.batch_execute(sql).await.unwrap();
    let copy = async |from: i64, to: i64| {
        let sink = client.copy_in("COPY m FROM STDIN").await.unwrap();
        pin_mut!(sink);
        for first in (from..to).step_by(10_000) {
            let lines =
                (first..to.min(first + 10_000)).map(|n| format!("2024-01-01\tthe id number {n}\t{n}\n"));
            sink.send(bytes::Bytes::from(lines.collect::<String>())).await.unwrap();
        }
        sink.finish().await.unwrap()
    };
    copy(0, SYMBOLS - LATE).await;
    let series = |from: i64| {
        let line = |n| format!("s,id={n} v={n}i {}\n", n + 1);
        (from..from + 10_000).map(line).collect::<String>()
    };
    for from in (0..SERIES).step_by(10_000) {
        let answer = write(&server, "/write?precision=s", &series(from));
        assert_eq!(answer.status, 204, "{}", answer.body);
    }
    let number = async |sql: &str| client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
    // Small writes do not pay for how many symbols there are.
    for n in SYMBOLS - LATE..SYMBOLS {
        client
            .execute("INSERT INTO m VALUES ('2024-01-02', $1, $2)", &[&format!("the id number {n}"), &n])
            .await
            .unwrap();
    }
    assert_eq!(number("SELECT count(*) FROM m").await, SYMBOLS);
    assert_eq!(number("SELECT n FROM m WHERE id = 'the id number 777777'").await, 777_777);
    assert_eq!(number("SELECT count(*) FROM (SELECT id FROM s GROUP BY id) x").await, SERIES);
    let symbols = "SELECT distinct_values FROM tidemark.symbols WHERE collection = 'm'";
    assert_eq!(number(symbols).await, SYMBOLS);
    // One more than there may be.
    copy(SYMBOLS, SYMBOLS + 1000).await;
    assert_eq!(number("SELECT count(*) FROM m").await, SYMBOLS + 1000);
    assert_eq!(number("SELECT n FROM m WHERE id = 'the id number 777777'").await, 777_777);
    assert_eq!(number("SELECT count(*) FROM tidemark.symbols WHERE collection = 'm'").await, 0);
    // 144 MiB of it are what its queries, memtables and blocks may take.
    let most = server.memory_bytes("VmHWM");
    assert!(most < 512 << 20, "{} MiB", most >> 20);
}
