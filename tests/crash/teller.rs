//! The clients that change a collection each, with everything that changes one: rows that replace others,
//! late rows, deletes, partitions that are dropped, numbered batches, columns that come.
//!
//! | collection | what happens to it |
//! | --- | --- |
//! | `d` | rows of now and of months ago; deletes by number and by time; partitions are dropped |
//! | `k` | rows that replace those of their `dedup_key`, by INSERT, COPY and line protocol; deletes; a symbol of the
//!         key becomes text |
//! | `n` | batches with a number, each sent again after a crash until there is an answer |
//! | `s` | line protocol that brings columns; ALTER TABLE brings one with a default, and takes it; tags become
//!         columns of text; the table is dropped, and made again by the next line |

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, pin_mut};
use tidemark_catalog::collection::{CalendarInterval, IntervalUnit, TimeseriesOptions};
use tidemark_catalog::ids::{BOOTSTRAP_ROLE, ColumnId, NAMESPACE_PUBLIC};
use tidemark_catalog::schema::{NewColumn, Nullability};
use tidemark_catalog::types::{ColumnType, TimeUnit};
use tidemark_engine::engine::NewTimeseries;
use tidemark_tests::failure::Result;
use tidemark_tests::http;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::connect_to;
use crate::journal::{Choices, mix};
use crate::story::{Change, Settled, Story, Values};
use crate::writers::{Answer, Target, answer_of};

/// 2024-01-02 00:00 UTC
const TIME_S: i64 = 1_704_153_600;

const DAY_S: i64 = 86_400;

/// How many keys `k` has.
const KEYS: u64 = 150;

/// There are more hosts.
const SYMBOL_LIMIT: NonZeroU32 = NonZeroU32::new(4).expect("it is not zero");

/// A collection with more rows is emptied.
const ROWS_MAX: usize = 4000;

/// Which collection is changed, and so in which ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plot {
    Deleted,
    Keyed,
    Numbered,
    Columns,
}

impl Plot {
    pub(crate) const ALL: [Plot; 4] = [Plot::Deleted, Plot::Keyed, Plot::Numbered, Plot::Columns];

    fn collection(self) -> &'static str {
        match self {
            Plot::Deleted => "d",
            Plot::Keyed => "k",
            Plot::Numbered => "n",
            Plot::Columns => "s",
        }
    }

    /// What makes the collection, where line protocol does not.
    pub(crate) fn new_collection(self) -> Option<NewTimeseries> {
        let column = |name: &str, column_type| NewColumn::new(name, column_type, Nullability::Nullable);
        let time = ColumnType::Timestamptz(TimeUnit::Microsecond);
        let day = CalendarInterval { count: NonZeroU32::MIN, unit: IntervalUnit::Day };
        let mut options = TimeseriesOptions::new(ColumnId(1), day);
        options.series_key = vec![ColumnId(2)];
        match self {
            Plot::Columns => return None,
            Plot::Keyed => {
                options.dedup_key = vec![ColumnId(1), ColumnId(2)];
                options.symbol_limit = SYMBOL_LIMIT;
            }
            Plot::Numbered => options.symbol_limit = SYMBOL_LIMIT,
            Plot::Deleted => {}
        }
        Some(NewTimeseries {
            namespace: NAMESPACE_PUBLIC,
            name: self.collection().to_owned(),
            owner: BOOTSTRAP_ROLE,
            columns: vec![
                NewColumn::new("ts", time, Nullability::Required),
                column("host", ColumnType::Symbol),
                column("id", ColumnType::Int8),
                column("version", ColumnType::Int8),
                column("note", ColumnType::Text),
            ],
            options,
        })
    }
}

/// A client with its story; goes on in the next life where this one ended.
#[derive(Debug)]
pub(crate) struct Teller {
    plot: Plot,
    pub(crate) story: Story,
    choices: Choices,
    next: i64,
    /// Whether the server has procedures that merge and that drop partitions.
    procedures: bool,
    /// The numbered batch that is sent until there is an answer, and whether it is known to be there.
    again: Option<(Batch, bool)>,
}

/// Rows with the number under which they are sent, and the way.
#[derive(Clone, Debug)]
struct Batch {
    sequence: i64,
    rows: Vec<(i64, Values)>,
    way: u64,
}

/// What is sent.
enum Request {
    /// A statement, or several.
    Sql(String),
    /// A statement that says how many rows it changed.
    Counted(String, u64),
    Copy {
        before: String,
        collection: &'static str,
        text: String,
        rows: u64,
    },
    Lines {
        headers: String,
        body: String,
    },
}

impl Teller {
    pub(crate) fn new(plot: Plot, seed: u64, procedures: bool) -> Teller {
        let story = Story::new(plot.collection());
        Teller { plot, story, choices: Choices::new(seed), next: 0, procedures, again: None }
    }

    /// Sends one request after the other until the server is gone.
    pub(crate) async fn run(mut self, target: Target) -> Teller {
        // Connecting may fail: the server may have been killed before.
        self.requests(&target).await.ok();
        self
    }

    async fn requests(&mut self, target: &Target) -> Result<()> {
        let client = connect_to(&target.connection_string).await?;
        let endpoint = http::Endpoint {
            address: target.http.clone(),
            path: "/api/v2/write?bucket=tidemark&precision=s".to_owned(),
            token: None,
            answer_within: Duration::from_secs(120),
        };
        let mut connection = http::Connection::open(&endpoint).await?;
        client.batch_execute("SET timezone = 'UTC'; SET tidemark.producer = 'teller'").await?;
        loop {
            let (request, change) = self.next_request();
            self.story.sent(change);
            match target.heard(send(&client, &mut connection, request).await?) {
                Answer::Stored => {
                    self.story.acknowledged();
                    target.progresses(self.plot as u32);
                }
                Answer::Refused(code, message) => {
                    panic!("{}: a request was refused: {code} {message}", self.story.collection)
                }
                Answer::Unknown => return Ok(()),
            }
            self.again = None;
        }
    }

    fn next_request(&mut self) -> (Request, Change) {
        if let Some((batch, is_there)) = &self.again {
            let rows = if *is_there { Vec::new() } else { batch.rows.clone() };
            return (numbered(self.story.collection, batch), Change { removed: Vec::new(), put: rows });
        }
        match self.plot {
            Plot::Numbered if self.story.rows().len() > ROWS_MAX || self.choices.below(200) == 0 => {
                self.delete("true", |_, _| true)
            }
            Plot::Numbered => self.numbered(),
            Plot::Columns => self.columns(),
            Plot::Deleted | Plot::Keyed => self.change_rows(),
        }
    }

    fn change_rows(&mut self) -> (Request, Change) {
        let name = self.story.collection;
        match self.choices.below(16) {
            0..=5 => {
                let count = 1 + self.choices.below(30);
                let rows = self.new_rows(count);
                let insert = insert(name, &rows);
                (Request::Sql(insert), put(rows))
            }
            6 => {
                let count = 1 + self.choices.below(300);
                let rows = self.new_rows(count);
                (copy(name, String::new(), &rows), put(rows))
            }
            7 => {
                let count = 1 + self.choices.below(30);
                let rows = self.new_rows(count);
                let body = rows.iter().map(|(_, values)| line(name, values)).collect();
                (Request::Lines { headers: String::new(), body }, put(rows))
            }
            8..=9 => self.delete_range(),
            10 => {
                let rest = self.choices.below(7) as i64;
                self.delete(&format!("version % 7 = {rest}"), |_, version| version % 7 == rest)
            }
            11 => {
                // Whole partitions, and parts of them.
                let from = TIME_S + (self.choices.below(10) as i64 - 5) * DAY_S / 2;
                let (first, last) = (time_text(from), time_text(from + DAY_S));
                let condition = format!("ts >= '{first}' AND ts < '{last}'");
                self.delete_by_time(&condition, |time| (from..from + DAY_S).contains(&time))
            }
            12 if self.procedures => self.drop_partitions(),
            13 if self.procedures => {
                (Request::Sql(format!("CALL tidemark.merge('{name}')")), Change::default())
            }
            _ => (Request::Sql(format!("CALL tidemark.flush('{name}')")), Change::default()),
        }
    }

    /// Rows with new numbers; in the collection with a key, rows of some of its keys.
    fn new_rows(&mut self, count: u64) -> Vec<(i64, Values)> {
        let mut rows = Vec::new();
        for _ in 0..count {
            let version = self.next;
            self.next += 1;
            let id = if self.plot == Plot::Keyed { self.choices.below(KEYS) as i64 } else { version };
            rows.push((id, values(id, version)));
        }
        rows
    }

    fn delete_range(&mut self) -> (Request, Change) {
        let newest = self.story.rows().last_key_value().map_or(0, |(id, _)| *id);
        let from = self.choices.below(newest as u64 + 1) as i64;
        let to = from + if self.story.rows().len() > ROWS_MAX { i64::MAX / 2 } else { 40 };
        self.delete(&format!("id >= {from} AND id < {to}"), |id, _| (from..to).contains(&id))
    }

    /// A delete with this condition, which the function decides for a row's number and version.
    fn delete(&self, condition: &str, is_gone: impl Fn(i64, i64) -> bool) -> (Request, Change) {
        let version = |values: &Values| values["version"].parse().expect("a number");
        self.delete_where(condition, |id, values| is_gone(id, version(values)))
    }

    fn delete_by_time(&self, condition: &str, is_gone: impl Fn(i64) -> bool) -> (Request, Change) {
        self.delete_where(condition, |id, _| is_gone(time_s(id)))
    }

    fn delete_where(&self, condition: &str, is_gone: impl Fn(i64, &Values) -> bool) -> (Request, Change) {
        let rows = self.story.rows().iter().filter(|(id, values)| is_gone(**id, values));
        let removed: Vec<i64> = rows.map(|(id, _)| *id).collect();
        let sql = format!("DELETE FROM {} WHERE {condition}", self.story.collection);
        (Request::Counted(sql, removed.len() as u64), Change { removed, put: Vec::new() })
    }

    /// Partitions of months ago, and now and then all but the last ones.
    fn drop_partitions(&mut self) -> (Request, Change) {
        let before = TIME_S - DAY_S * [100, 60, 2, 0][self.choices.below(4) as usize];
        let ids = self.story.rows().keys().copied();
        let removed = ids.filter(|id| (time_s(*id).div_euclid(DAY_S) + 1) * DAY_S <= before).collect();
        let name = self.story.collection;
        let sql = format!("CALL tidemark.drop_partitions('{name}', '{}')", time_text(before));
        (Request::Sql(sql), Change { removed, put: Vec::new() })
    }

    fn numbered(&mut self) -> (Request, Change) {
        let way = self.choices.below(4);
        let is_long = self.choices.below(60) == 0;
        let count = if is_long { 320 } else { 1 + self.choices.below(12) };
        let mut rows = self.new_rows(count);
        if is_long {
            // Such do not fit into one record of the log.
            let lengthen = |note: &mut String| *note = note.repeat(16_000 / note.len());
            rows.iter_mut().filter_map(|(_, values)| values.get_mut("note")).for_each(lengthen);
        }
        // Numbers rise, and may leave some out.
        let batch = Batch { sequence: self.next, rows: rows.clone(), way: if is_long { 3 } else { way } };
        let request = numbered(self.story.collection, &batch);
        self.again = Some((batch, false));
        (request, put(rows))
    }

    fn columns(&mut self) -> (Request, Change) {
        let name = self.story.collection;
        if !self.story.rows().is_empty() && self.choices.below(50) == 0 {
            let removed = self.story.rows().keys().copied().collect();
            return (Request::Sql(format!("DROP TABLE {name}")), Change { removed, put: Vec::new() });
        }
        if self.choices.below(6) == 0 && !self.story.rows().is_empty() {
            return (Request::Sql(format!("CALL tidemark.flush('{name}')")), Change::default());
        }
        if !self.story.rows().is_empty() && self.choices.below(20) == 0 {
            return self.alter();
        }
        let (mut rows, mut body) = (Vec::new(), String::new());
        for _ in 0..1 + self.choices.below(8) {
            let id = self.next;
            self.next += 1;
            let (tag, field) = (format!("t{}", id / 160 % 10), format!("f{}", id / 40 % 50));
            body.push_str(&format!("{name},{tag}=x{} id={id}i,{field}={}i {}\n", id % 3, id * 3, time_s(id)));
            let values = [
                ("time".to_owned(), time_text(time_s(id))),
                (tag, format!("x{}", id % 3)),
                ("id".to_owned(), id.to_string()),
                (field, (id * 3).to_string()),
            ];
            rows.push((id, Values::from(values)));
        }
        (Request::Lines { headers: String::new(), body }, put(rows))
    }

    /// A column comes, with the same value in every row that is there, or goes. Lines say nothing of it.
    fn alter(&mut self) -> (Request, Change) {
        let (name, column) = (self.story.collection, "added");
        if self.choices.below(2) == 0 {
            // Tags have three values: columns of symbols become columns of text.
            let sql = format!("ALTER TABLE {name} SET (symbol_limit = 2)");
            return (Request::Sql(sql), Change::default());
        }
        let mut rows: Vec<_> = self.story.rows().iter().map(|(id, values)| (*id, values.clone())).collect();
        let is_there = rows.iter().any(|(_, values)| values.contains_key(column));
        for (_, values) in &mut rows {
            match is_there {
                true => drop(values.remove(column)),
                false => drop(values.insert(column.to_owned(), "7".to_owned())),
            }
        }
        let action = match is_there {
            true => format!("DROP COLUMN {column}"),
            false => format!("ADD COLUMN {column} bigint DEFAULT 7"),
        };
        (Request::Sql(format!("ALTER TABLE {name} {action}")), put(rows))
    }

    /// Compares all that the server holds with all that it must.
    pub(crate) async fn check(&mut self, client: &Client) -> Result<()> {
        client.batch_execute("SET timezone = 'UTC'").await?;
        let found = match client.simple_query(&format!("SELECT * FROM {}", self.story.collection)).await {
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => Vec::new(),
            answer => answer?,
        };
        let rows = found.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let rows = rows.map(|row| {
            let columns = row.columns().iter().enumerate();
            let values =
                columns.filter_map(|(at, column)| Some((column.name().to_owned(), row.get(at)?.to_owned())));
            let values: Values = values.collect();
            (values["id"].parse().expect("a number"), values)
        });
        let rows: Vec<_> = rows.collect();
        // The same by another way: the statistics, where there are any.
        if !rows.is_empty() {
            let query = format!("SELECT count(*) FROM {}", self.story.collection);
            assert_eq!(
                crate::number(client, &query).await?,
                rows.len() as i64,
                "count of {}",
                self.story.collection
            );
        }
        let settled = self.story.check(rows);
        match (&mut self.again, settled) {
            (Some((_, is_there)), Settled::Happened) => *is_there = true,
            (Some((_, is_there)), Settled::DidNotHappen) => *is_there = false,
            _ => {}
        }
        Ok(())
    }
}

fn put(rows: Vec<(i64, Values)>) -> Change {
    Change { removed: Vec::new(), put: rows }
}

async fn send(client: &Client, connection: &mut http::Connection, request: Request) -> Result<Answer> {
    Ok(match request {
        Request::Sql(sql) => answer_of(client.batch_execute(&sql).await),
        Request::Counted(sql, rows) => match client.execute(&sql, &[]).await {
            Ok(count) => {
                assert_eq!(count, rows, "rows of {sql}");
                Answer::Stored
            }
            Err(error) => answer_of(Err(error)),
        },
        Request::Copy { before, collection, text, rows } => {
            answer_of(copy_in(client, &before, collection, text, rows).await)
        }
        Request::Lines { headers, body } => match connection.exchange_with(&headers, body.as_bytes()).await {
            Ok((204, _)) => Answer::Stored,
            Ok((status, text)) => {
                Answer::Refused(status.to_string(), String::from_utf8_lossy(&text).into_owned())
            }
            Err(_) => Answer::Unknown,
        },
    })
}

async fn copy_in(
    client: &Client,
    before: &str,
    collection: &str,
    text: String,
    rows: u64,
) -> std::result::Result<(), tokio_postgres::Error> {
    client.batch_execute(before).await?;
    let sink = client.copy_in::<_, Bytes>(&format!("COPY {collection} FROM STDIN")).await?;
    pin_mut!(sink);
    sink.send(Bytes::from(text)).await?;
    let count = sink.finish().await?;
    assert_eq!(count, rows, "rows that COPY says it stored");
    Ok(())
}

/// A batch in the way that it has, always the same.
fn numbered(collection: &'static str, batch: &Batch) -> Request {
    let sequence = batch.sequence;
    match batch.way {
        0 => {
            let headers = format!("X-Tidemark-Producer: teller\r\nX-Tidemark-Sequence: {sequence}\r\n");
            let body = batch.rows.iter().map(|(_, values)| line(collection, values)).collect();
            Request::Lines { headers, body }
        }
        1 => {
            let set = format!("SET tidemark.sequence = {sequence}");
            Request::Sql(format!("{set}; {}", insert(collection, &batch.rows)))
        }
        2 => {
            let (first, rest) = batch.rows.split_at(batch.rows.len() / 2);
            let inserts = [first, rest].into_iter().filter(|rows| !rows.is_empty());
            let inserts = inserts.map(|rows| insert(collection, rows)).collect::<Vec<_>>().join("; ");
            Request::Sql(format!("BEGIN; SET LOCAL tidemark.sequence = {sequence}; {inserts}; COMMIT"))
        }
        _ => copy(collection, format!("SET tidemark.sequence = {sequence}"), &batch.rows),
    }
}

fn insert(collection: &str, rows: &[(i64, Values)]) -> String {
    let row = |(_, it): &(i64, Values)| {
        format!("('{}', '{}', {}, {}, '{}')", it["ts"], it["host"], it["id"], it["version"], it["note"])
    };
    let rows = rows.iter().map(row).collect::<Vec<_>>().join(", ");
    format!("INSERT INTO {collection} (ts, host, id, version, note) VALUES {rows}")
}

fn copy(collection: &'static str, before: String, rows: &[(i64, Values)]) -> Request {
    let line = |(_, it): &(i64, Values)| {
        format!("{}\t{}\t{}\t{}\t{}\n", it["ts"], it["host"], it["id"], it["version"], it["note"])
    };
    let text = rows.iter().map(line).collect();
    Request::Copy { before, collection, text, rows: rows.len() as u64 }
}

fn line(collection: &str, it: &Values) -> String {
    let id = it["id"].parse().expect("a number");
    format!(
        "{collection},host={} id={}i,version={}i,note=\"{}\" {}\n",
        it["host"],
        it["id"],
        it["version"],
        it["note"],
        time_s(id)
    )
}

/// A row; its time and host follow from its number.
fn values(id: i64, version: i64) -> Values {
    let note = format!("{:x}", mix(version as u64)).repeat(1 + version as usize % 12);
    Values::from([
        ("ts".to_owned(), time_text(time_s(id))),
        ("host".to_owned(), format!("h{}", id % 6)),
        ("id".to_owned(), id.to_string()),
        ("version".to_owned(), version.to_string()),
        ("note".to_owned(), note),
    ])
}

/// In seconds since 1970: within four days, and one of ten rows months before.
fn time_s(id: i64) -> i64 {
    let hash = mix(id as u64);
    let days = if hash.is_multiple_of(10) { -((30 + (hash >> 8) % 200) as i64) } else { 0 };
    // No two numbers have the same time, as far as there is room.
    TIME_S + days * DAY_S + id.rem_euclid(4 * DAY_S) * 7919 % (4 * DAY_S)
}

fn time_text(time_s: i64) -> String {
    let time = chrono::DateTime::from_timestamp(time_s, 0).expect("it is in range");
    time.format("%Y-%m-%d %H:%M:%S+00").to_string()
}
