//! The clients that write: INSERT, transactions over two collections, COPY, and line protocol.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, pin_mut};
use tidemark_tests::failure::Result;
use tidemark_tests::http;
use tidemark_tests::server::Server;
use tokio_postgres::Client;

use crate::journal::{BatchId, Choices, Journal, Outcome, Row, row};
use crate::power_cut::Disk;
use crate::{Shared, connect_to, number};

/// How many there are.
pub(crate) const WRITERS: usize = 4;

/// Their collections; line protocol makes the last one by itself.
pub(crate) const COLLECTIONS: [&str; 3] = ["a", "b", "lp"];

/// What makes the first two.
pub(crate) fn create(name: &str) -> String {
    format!(
        "CREATE TABLE {name} (ts timestamptz, writer symbol, number bigint, item bigint, \
         value double precision, check_ bigint, note text) \
         WITH (kind = 'timeseries', time_key = 'ts', partition_by = 'day', series_key = 'writer')"
    )
}

/// Where a writer finds the server.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) connection_string: String,
    pub(crate) http: String,
    disk: Option<Arc<Disk>>,
    /// Requests that were acknowledged in this life.
    acknowledged: Arc<AtomicU64>,
    /// The clients that had a request acknowledged, a bit for each.
    progressed: Arc<AtomicU64>,
}

impl Target {
    pub(crate) fn of(server: &Server, disk: Option<Arc<Disk>>) -> Target {
        let (connection_string, http) = (server.connection_string(), server.http.to_string());
        Target { connection_string, http, disk, acknowledged: Arc::default(), progressed: Arc::default() }
    }

    /// What an answer says: a server without a disk cannot know what became of a request.
    pub(crate) fn heard(&self, answer: Answer) -> Answer {
        match answer {
            Answer::Stored => {
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
                answer
            }
            _ if self.disk.as_ref().is_some_and(|disk| disk.is_cut()) => Answer::Unknown,
            _ => answer,
        }
    }

    /// This client gets on.
    pub(crate) fn progresses(&self, client: u32) {
        self.progressed.fetch_or(1 << client, Ordering::Relaxed);
    }

    /// Whether so many clients got on in this life.
    pub(crate) fn all_progressed(&self, clients: u32) -> bool {
        self.progressed.load(Ordering::Relaxed).count_ones() >= clients
    }

    /// How many requests were acknowledged in this life.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }
}

/// A writer, until the server is gone.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) number: usize,
    pub(crate) target: Target,
    pub(crate) journal: Shared<Journal>,
    pub(crate) next_batch: i64,
    pub(crate) choices: Choices,
    /// Answers that refuse a batch and are no fault here.
    pub(crate) refusals: &'static [&'static str],
}

/// What became of a request.
pub(crate) enum Answer {
    Stored,
    /// With the code and the message.
    Refused(String, String),
    /// The connection is lost.
    Unknown,
}

impl Writer {
    /// Writes batches until the server is gone; returns the number of the next one.
    pub(crate) async fn run(mut self) -> i64 {
        // Connecting may fail: the server may have been killed before.
        match self.number {
            3 => self.lines().await.ok(),
            _ => self.sql().await.ok(),
        };
        self.next_batch
    }

    fn begin(&mut self, rows: i64, collections: &'static [&'static str]) -> BatchId {
        let id = (self.number, self.next_batch);
        self.next_batch += 1;
        self.journal.lock().unwrap().sent(id, rows, collections);
        id
    }

    /// Notes the answer; false if there is no point in going on.
    fn end(&self, id: BatchId, answer: Answer) -> bool {
        let outcome = match self.target.heard(answer) {
            Answer::Stored => Outcome::Stored,
            Answer::Unknown => return false,
            Answer::Refused(code, message) => {
                assert!(self.refusals.contains(&code.as_str()), "batch {id:?} was refused: {code} {message}");
                Outcome::Absent
            }
        };
        self.journal.lock().unwrap().answered(id, outcome);
        true
    }

    async fn sql(&mut self) -> Result<()> {
        let client = connect_to(&self.target.connection_string).await?;
        loop {
            let id = match self.number {
                0 => {
                    let rows = 1 + self.choices.below(40) as i64;
                    let id = self.begin(rows, &["a"]);
                    let answer = answer_of(client.batch_execute(&insert("a", id, rows)).await);
                    (id, answer, rows)
                }
                1 => {
                    let rows = 1 + self.choices.below(40) as i64;
                    let id = self.begin(rows, &["a", "b"]);
                    let answer = answer_of(two_collections(&client, id, rows).await);
                    (id, answer, rows)
                }
                _ => {
                    // Now and then one that is too long for a single record.
                    let rows = if self.choices.below(12) == 0 { 60_000 } else { 500 };
                    let rows = 1 + self.choices.below(rows) as i64;
                    let id = self.begin(rows, &["a"]);
                    let answer = answer_of(copy(&client, id, rows).await);
                    (id, answer, rows)
                }
            };
            let (id, answer, rows) = id;
            let is_stored = matches!(answer, Answer::Stored);
            if !self.end(id, answer) {
                return Ok(());
            }
            if is_stored && self.choices.below(8) == 0 {
                // What was acknowledged is visible at once.
                let query =
                    format!("SELECT count(*) FROM a WHERE writer = 'w{}' AND number = {}", id.0, id.1);
                assert_eq!(number(&client, &query).await?, rows, "batch {id:?} is not visible");
            }
        }
    }

    async fn lines(&mut self) -> Result<()> {
        let endpoint = http::Endpoint {
            address: self.target.http.clone(),
            path: "/api/v2/write?bucket=tidemark&precision=us".to_owned(),
            token: None,
            answer_within: Duration::from_secs(120),
        };
        let mut connection = http::Connection::open(&endpoint).await?;
        loop {
            let rows = 1 + self.choices.below(300) as i64;
            let id = self.begin(rows, &["a", "lp"]);
            let answer = match connection.exchange(lines(id, rows).as_bytes()).await {
                Ok((204, _)) => Answer::Stored,
                Ok((status, text)) => {
                    Answer::Refused(status.to_string(), String::from_utf8_lossy(&text).into_owned())
                }
                Err(_) => Answer::Unknown,
            };
            if !self.end(id, answer) {
                return Ok(());
            }
        }
    }
}

pub(crate) fn answer_of(result: std::result::Result<(), tokio_postgres::Error>) -> Answer {
    match result {
        Ok(()) => Answer::Stored,
        Err(error) => match error.as_db_error() {
            Some(error) => Answer::Refused(error.code().code().to_owned(), error.message().to_owned()),
            None => Answer::Unknown,
        },
    }
}

/// Times are written with their microseconds.
fn time(row: &Row) -> String {
    let time = chrono::DateTime::from_timestamp_micros(row.time_us).expect("it is in range");
    time.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string()
}

fn insert(collection: &str, id: BatchId, rows: i64) -> String {
    let mut sql = format!("INSERT INTO {collection} (ts, writer, number, item, value, check_, note) VALUES ");
    for item in 0..rows {
        let row = row(id, item);
        let comma = if item == 0 { "" } else { ", " };
        let note = row.note.as_ref().map_or("NULL".to_owned(), |note| format!("'{note}'"));
        let Row { value, check, .. } = row;
        write!(sql, "{comma}('{}', 'w{}', {}, {item}, {value}, {check}, {note})", time(&row), id.0, id.1)
            .expect("strings take all");
    }
    sql
}

async fn two_collections(
    client: &Client,
    id: BatchId,
    rows: i64,
) -> std::result::Result<(), tokio_postgres::Error> {
    let all = async {
        client.batch_execute("BEGIN").await?;
        client.batch_execute(&insert("a", id, rows)).await?;
        client.batch_execute(&insert("b", id, rows)).await?;
        client.batch_execute("COMMIT").await
    };
    let result = all.await;
    if result.as_ref().is_err_and(|error| error.as_db_error().is_some()) {
        client.batch_execute("ROLLBACK").await?;
    }
    result
}

async fn copy(client: &Client, id: BatchId, rows: i64) -> std::result::Result<(), tokio_postgres::Error> {
    let sql = "COPY a (ts, writer, number, item, value, check_, note) FROM STDIN WITH (FORMAT csv)";
    let sink = client.copy_in::<_, Bytes>(sql).await?;
    pin_mut!(sink);
    for first in (0..rows).step_by(1000) {
        let mut text = String::new();
        for item in first..(first + 1000).min(rows) {
            let row = row(id, item);
            let note =
                row.note.as_ref().map_or(String::new(), |note| format!("\"{}\"", note.replace('"', "\"\"")));
            let Row { value, check, .. } = row;
            writeln!(text, "{},w{},{},{item},{value},{check},{note}", time(&row), id.0, id.1)
                .expect("strings take all");
        }
        sink.send(Bytes::from(text)).await?;
    }
    let count = sink.finish().await?;
    assert_eq!(count, rows as u64, "rows that COPY says it stored");
    Ok(())
}

fn lines(id: BatchId, rows: i64) -> String {
    let mut text = String::new();
    for collection in ["a", "lp"] {
        for item in 0..rows {
            let row = row(id, item);
            let note = row.note.as_ref().map_or(String::new(), |note| {
                format!(",note=\"{}\"", note.replace('\\', "\\\\").replace('"', "\\\""))
            });
            let Row { value, check, time_us, .. } = row;
            writeln!(
                text,
                "{collection},writer=w{} number={}i,item={item}i,value={value},check_={check}i{note} {time_us}",
                id.0, id.1
            )
            .expect("strings take all");
        }
    }
    text
}
