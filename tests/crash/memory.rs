//! Queries that want more memory than there is.

use tidemark_tests::server::Options;
use tokio_postgres::error::SqlState;

use crate::writers::create;
use crate::{connect, number};

/// Each wants to keep four million rows or groups.
const GREEDY: [&str; 3] = [
    "SELECT count(*) FROM (SELECT x.item * 2000 + y.item AS number FROM a x, a y \
     GROUP BY x.item * 2000 + y.item) groups",
    "SELECT array_agg(x.note || y.note) FROM a x, a y",
    "SELECT x.item, y.item, x.note || y.note AS note FROM a x, a y ORDER BY note",
];

#[tokio::test]
async fn a_query_over_its_memory_ends_and_the_server_lives() {
    let server = Options::new()
        .setting("query-memory", "64MiB")
        .setting("query-memory-per-query", "32MiB")
        .setting("query-spill", "1MiB")
        .start();
    let client = connect(&server).await.unwrap();
    client.batch_execute(&create("a")).await.unwrap();
    let row = |item: u32| format!("('2024-01-01 00:00:00+00', 'w', 1, {item}, 'a note, number {item}')");
    let rows = (0..2000).map(row).collect::<Vec<_>>().join(", ");
    let insert = format!("INSERT INTO a (ts, writer, number, item, note) VALUES {rows}");
    client.batch_execute(&insert).await.unwrap();
    let before = server.memory_bytes("VmRSS");
    for query in GREEDY {
        let error = client.simple_query(query).await.expect_err(query);
        assert_eq!(error.code(), Some(&SqlState::OUT_OF_MEMORY), "{query}: {error:?}");
        // The next query of the same session works, and of another.
        assert_eq!(number(&client, "SELECT count(item) FROM a").await.unwrap(), 2000);
        let other = connect(&server).await.unwrap();
        assert_eq!(number(&other, "SELECT sum(item)::bigint FROM a").await.unwrap(), 1_999_000);
    }
    let grown = server.memory_bytes("VmHWM").saturating_sub(before);
    assert!(grown < 400 << 20, "the server grew by {} MiB", grown >> 20);
}

#[tokio::test]
async fn a_query_with_disk_to_spare_spills_and_answers() {
    let server =
        Options::new().setting("query-memory", "64MiB").setting("query-memory-per-query", "32MiB").start();
    let client = connect(&server).await.unwrap();
    client.batch_execute(&create("a")).await.unwrap();
    let row = |item: u32| format!("('2024-01-01 00:00:00+00', 'w', 1, {item}, 'a note, number {item}')");
    let rows = (0..1500).map(row).collect::<Vec<_>>().join(", ");
    let insert = format!("INSERT INTO a (ts, writer, number, item, note) VALUES {rows}");
    client.batch_execute(&insert).await.unwrap();
    let sorted = "SELECT count(*) FROM (SELECT row_number() OVER (ORDER BY x.note || y.note) AS place, \
                  x.item FROM a x, a y) sorted WHERE place % 2 = 0";
    assert_eq!(number(&client, sorted).await.unwrap(), 1500 * 1500 / 2);
}
