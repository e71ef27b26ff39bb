//! Files that were damaged while the server was down.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tidemark_tests::server::{DataDir, Options, Server};
use tokio_postgres::error::SqlState;

use crate::writers::create;
use crate::{connect, number};

const INSERT: &str = "(ts, writer, number, item) SELECT now(), 'w', 1, x FROM (VALUES (1), (2), (3)) v(x)";

pub(crate) fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(path) = waiting.pop() {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|it| it == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Turns over a byte.
fn damage(path: &Path, offset: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[offset] ^= 0xff;
    fs::write(path, bytes).unwrap();
}

async fn two_collections(directory: &DataDir) -> Server {
    let server = Options::new().data_dir(&directory.path).start();
    let client = connect(&server).await.unwrap();
    for name in ["a", "b"] {
        client.batch_execute(&create(name)).await.unwrap();
        client.batch_execute(&format!("INSERT INTO {name} {INSERT}")).await.unwrap();
    }
    server
}

#[tokio::test]
async fn a_damaged_segment_is_named_and_the_rest_keeps_working() {
    let directory = DataDir::new();
    let server = two_collections(&directory).await;
    let client = connect(&server).await.unwrap();
    client.batch_execute("CALL tidemark.flush('a')").await.unwrap();
    let segments = files(&directory.path, "parquet");
    assert_eq!(segments.len(), 1, "{segments:?}");
    client.batch_execute("CALL tidemark.flush('b')").await.unwrap();
    drop(server);
    // In the first page of the first column.
    damage(&segments[0], 40);
    let server = Options::new().data_dir(&directory.path).start();
    let client = connect(&server).await.unwrap();
    let error = client.query("SELECT * FROM a", &[]).await.unwrap_err();
    let error = error.as_db_error().expect("the server says so");
    assert_eq!(*error.code(), SqlState::DATA_CORRUPTED, "{error:?}");
    let name = segments[0].file_name().unwrap().to_str().unwrap();
    assert!(error.message().contains(name), "{error:?} names {name}");
    assert_eq!(number(&client, "SELECT count(item) FROM b").await.unwrap(), 3);
    client.batch_execute(&format!("INSERT INTO a {INSERT}")).await.unwrap();
    client.batch_execute(&format!("INSERT INTO b {INSERT}")).await.unwrap();
    assert_eq!(number(&client, "SELECT count(item) FROM b").await.unwrap(), 6);
}

#[tokio::test]
async fn a_missing_segment_is_named_and_the_rest_keeps_working() {
    let directory = DataDir::new();
    let server = two_collections(&directory).await;
    let client = connect(&server).await.unwrap();
    client.batch_execute("CALL tidemark.flush('a')").await.unwrap();
    let segments = files(&directory.path, "parquet");
    drop(server);
    fs::remove_file(&segments[0]).unwrap();
    let server = Options::new().data_dir(&directory.path).start();
    let client = connect(&server).await.unwrap();
    let error = client.query("SELECT * FROM a", &[]).await.unwrap_err();
    let error = error.as_db_error().expect("the server says so");
    assert!(error.code().code().starts_with("XX"), "{error:?}");
    let name = segments[0].file_name().unwrap().to_str().unwrap();
    assert!(error.message().contains(name), "{error:?} names {name}");
    assert_eq!(number(&client, "SELECT count(item) FROM b").await.unwrap(), 3);
}

#[tokio::test]
async fn a_torn_end_of_the_log_is_cut_and_damage_before_it_refuses_the_start() {
    let directory = DataDir::new();
    let server = two_collections(&directory).await;
    let client = connect(&server).await.unwrap();
    for _ in 0..20 {
        client.batch_execute(&format!("INSERT INTO a {INSERT}")).await.unwrap();
    }
    drop(server);
    let log = files(&directory.path, "wal").remove(0);
    let whole = fs::read(&log).unwrap();
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();

    // The last group is torn: what came before it is all there.
    damage(&log, end);
    let server = Options::new().data_dir(&directory.path).start();
    let client = connect(&server).await.unwrap();
    let rows = number(&client, "SELECT count(item) FROM a").await.unwrap();
    assert!((60..=63).contains(&rows), "{rows} rows");
    drop(server);

    // A group in the middle is damaged, and later ones say that it was durable.
    fs::write(&log, &whole).unwrap();
    damage(&log, end / 2);
    let refused = Options::new().data_dir(&directory.path).try_start().unwrap_err();
    assert!(!refused.status.success());
    let name = log.file_name().unwrap().to_str().unwrap();
    let line = refused.log.lines().last().unwrap_or_default();
    assert!(line.contains(name) && line.contains("offset"), "{refused}");
}

#[tokio::test]
async fn a_second_server_on_the_directory_is_refused_and_sigterm_ends_the_first_in_peace() {
    let directory = DataDir::new();
    let mut server = two_collections(&directory).await;
    let refused = Options::new().data_dir(&directory.path).try_start().unwrap_err();
    assert!(refused.log.contains("another server"), "{refused}");
    server.terminate();
    assert!(server.wait(Duration::from_secs(60)).success(), "{}", server.log());
    let server = Options::new().data_dir(&directory.path).start();
    let client = connect(&server).await.unwrap();
    assert_eq!(number(&client, "SELECT count(*) FROM a").await.unwrap(), 3);
}
