//! INSERT … ON CONFLICT under writers that do the same, and COPY of rows that are there.

use tidemark_tests::server::{Options, Server};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

use crate::http::metrics;
use crate::raw::{Raw, message, query};

const MAKE: &str = "CREATE TABLE c (ts timestamptz, host symbol, n int, note text)
    WITH (kind = 'timeseries', time_key = 'ts', dedup_key = 'ts, host')";

const ADD: &str = "INSERT INTO c (ts, host, n) VALUES ('2024-01-01', $1, 1)
    ON CONFLICT (ts, host) DO UPDATE SET n = c.n + excluded.n";

async fn connect(server: &Server) -> Client {
    let (client, connection) = tokio_postgres::connect(&server.connection_string(), NoTls).await.unwrap();
    // Its error is the client's too.
    tokio::spawn(async move { connection.await.ok() });
    client
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Counters lose nothing to each other, to writers of other rows, or to flushes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_that_are_raised_at_the_same_time_count_all() {
    const CLIENTS: usize = 8;
    const TIMES: usize = 40;
    let server = Server::start();
    let client = connect(&server).await;
    client.batch_execute(MAKE).await.unwrap();
    let mut tasks = Vec::new();
    for number in 0..CLIENTS {
        let client = connect(&server).await;
        tasks.push(tokio::spawn(async move {
            let add = client.prepare(ADD).await.unwrap();
            for time in 0..TIMES {
                let host = if time % 4 == 0 { "all" } else { ["a", "b", "c"][time % 3] };
                assert_eq!(client.execute(&add, &[&host]).await.unwrap(), 1);
                if time % 10 == number {
                    client.batch_execute("CALL tidemark.flush('c')").await.unwrap();
                }
                let other = format!("INSERT INTO c VALUES ('2024-01-02', 'w{number}', {time})");
                client.batch_execute(&other).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let sum = "SELECT sum(n) FROM c WHERE ts = '2024-01-01'";
    assert_eq!(number(&client, sum).await, i64::try_from(CLIENTS * TIMES).unwrap());
    let all = "SELECT n::bigint FROM c WHERE host = 'all'";
    assert_eq!(number(&client, all).await, i64::try_from(CLIENTS * TIMES / 4).unwrap());

    // What was acknowledged is there after a crash, once.
    let directory = server.kill();
    let server = Options::new().data_dir(&directory.path).start();
    let client = connect(&server).await;
    assert_eq!(number(&client, sum).await, i64::try_from(CLIENTS * TIMES).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_who_insert_a_key_at_the_same_time_one_does() {
    let server = Server::start();
    let client = connect(&server).await;
    client.batch_execute(MAKE).await.unwrap();
    let mut tasks = Vec::new();
    for number in 0..6 {
        let client = connect(&server).await;
        tasks.push(tokio::spawn(async move {
            let mut inserted = 0;
            for first in (0..10).map(|round| round * 20) {
                let sql = format!(
                    "INSERT INTO c SELECT '2024-01-01'::timestamptz + g * INTERVAL '1 s', 'x', {number}
                     FROM generate_series({first}, {first} + 49) AS s(g) ON CONFLICT DO NOTHING"
                );
                inserted += client.execute(&sql, &[]).await.unwrap();
            }
            inserted
        }));
    }
    let mut inserted = 0;
    for task in tasks {
        inserted += task.await.unwrap();
    }
    assert_eq!(inserted, 230);
    assert_eq!(number(&client, "SELECT count(*) FROM c").await, 230);
}

#[tokio::test]
async fn a_transaction_that_is_overtaken_applies_nothing() {
    let server = Server::start();
    let (mut client, other) = (connect(&server).await, connect(&server).await);
    client.batch_execute(MAKE).await.unwrap();
    client.execute(ADD, &[&"x"]).await.unwrap();
    for overtake in [
        "INSERT INTO c VALUES ('2024-01-01', 'x', 100)",
        "DELETE FROM c WHERE host = 'nobody' OR n = 100",
        "INSERT INTO c VALUES ('2024-01-01', 'x', 7) ON CONFLICT (ts, host) DO UPDATE SET n = 7",
    ] {
        let block = client.transaction().await.unwrap();
        block.execute("INSERT INTO c VALUES ('2025-01-01', 'y', 1)", &[]).await.unwrap();
        block.execute(ADD, &[&"x"]).await.unwrap();
        other.batch_execute(overtake).await.unwrap();
        other.batch_execute("CALL tidemark.flush('c')").await.unwrap();
        let error = block.commit().await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE), "{overtake}: {error:?}");
    }
    assert_eq!(number(&client, "SELECT count(*) FROM c WHERE host = 'y'").await, 0);
    assert_eq!(number(&client, "SELECT n::bigint FROM c WHERE host = 'x'").await, 7);
    // Rows of other keys overtake nobody.
    let block = client.transaction().await.unwrap();
    block.execute(ADD, &[&"x"]).await.unwrap();
    block.execute("INSERT INTO c VALUES ('2024-01-01', 'x', 0) ON CONFLICT DO NOTHING", &[]).await.unwrap();
    other.batch_execute("INSERT INTO c VALUES ('2024-01-01', 'z', 1)").await.unwrap();
    block.commit().await.unwrap();
    assert_eq!(number(&client, "SELECT n::bigint FROM c WHERE host = 'x'").await, 8);
    assert_eq!(metrics(&server)["tidemark_writes_overtaken_total"], 3.0);
}

#[test]
fn statements_of_a_message_are_one_transaction() {
    let server = Server::start();
    let mut raw = Raw::connect(server.pg);
    raw.run(MAKE);
    let add = ADD.replace("$1", "'x'");
    raw.run(&format!("{add}; {add}; {add}"));
    assert_eq!(raw.value("SELECT n FROM c"), "3");
    let answer = raw.query(&format!("{add}; SELECT 1 / 0; {add}"));
    assert!(answer.iter().any(|line| line.contains("22012")), "{answer:?}");
    assert_eq!(raw.value("SELECT n FROM c"), "3");
}

#[tokio::test]
async fn statements_of_a_pipeline_see_each_other() {
    let server = Server::start();
    let client = connect(&server).await;
    client.batch_execute(MAKE).await.unwrap();
    let add = client.prepare(ADD).await.unwrap();
    let returning = client.prepare(&format!("{ADD} RETURNING n")).await.unwrap();
    let (one, two, three) = futures_util::future::join3(
        client.execute(&add, &[&"x"]),
        client.execute(&add, &[&"x"]),
        client.query_one(&returning, &[&"x"]),
    )
    .await;
    assert_eq!((one.unwrap(), two.unwrap(), three.unwrap().get::<_, i32>(0)), (1, 1, 3));
}

/// What is copied again takes the place of what is there, before and after it is flushed.
#[test]
fn rows_that_are_copied_again_are_there_once() {
    let server = Server::start();
    let mut raw = Raw::connect(server.pg);
    raw.run(MAKE);
    let lines: String = (0..5000)
        .map(|at| format!("2024-01-01 00:{}:{},h{},{at},n\n", at / 60 % 60, at % 60, at / 3600))
        .collect();
    let copy = |raw: &mut Raw| {
        let sql = query("COPY c FROM STDIN (FORMAT csv)");
        let answer = raw.ask(&[sql, message(b'd', lines.as_bytes()), message(b'c', b"")].concat());
        assert!(answer.contains(&"done COPY 5000".to_owned()), "{answer:?}");
    };
    let counted = |raw: &mut Raw| assert_eq!(raw.value("SELECT count(*), sum(n) FROM c"), "5000|12497500");
    copy(&mut raw);
    counted(&mut raw);
    copy(&mut raw);
    counted(&mut raw);
    // Of what is in memory twice one is written.
    raw.run("CALL tidemark.flush('c')");
    counted(&mut raw);
    let before = metrics(&server);
    assert_eq!((before["tidemark_flush_rows_total"], before["tidemark_segments"]), (5000.0, 1.0));
    copy(&mut raw);
    counted(&mut raw);
    raw.run("CALL tidemark.flush('c')");
    counted(&mut raw);
    let after = metrics(&server);
    // A segment of which no row is left goes as a whole.
    assert_eq!((after["tidemark_flush_rows_total"], after["tidemark_segments"]), (10_000.0, 1.0));
    assert_eq!(after["tidemark_rows_replaced_total"], 5000.0);
}
