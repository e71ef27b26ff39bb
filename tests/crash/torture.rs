//! Kills at random times and at failpoints, with an exact comparison after each restart.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidemark_engine::engine::{Engine, segment_directory};
use tidemark_engine::env::os;
use tidemark_engine::options::EngineOptions;
use tidemark_engine::recovery::NewDirectory;
use tidemark_tests::failpoints;
use tidemark_tests::failure::Result;
use tidemark_tests::server::{DataDir, Options, Server};
use tokio_postgres::Client;

use crate::journal::{BatchId, Choices, Digest, Held, Journal, Outcome, row};
use crate::power_cut::Disk;
use crate::teller::{Plot, Teller};
use crate::writers::{COLLECTIONS, Target, WRITERS, Writer, create};
use crate::{Shared, connect};

/// Where a life may be stopped: the thread that comes there waits for ever, and the kill finds it there.
const STOPS: [&str; 26] = [
    "wal::before_write",
    "wal::after_write",
    "wal::before_sync",
    "wal::after_sync",
    "bulk::before_commit",
    "flush::start",
    "flush::files_written",
    "flush::before_publish",
    "flush::after_publish",
    "flush::before_publish_file",
    "merge::start",
    "merge::file_written",
    "merge::before_publish",
    "merge::after_publish",
    "delete::before_publish_file",
    "delete::before_publish",
    "delete::after_publish",
    "retention::before_publish",
    "retention::after_publish",
    "alter::before_edit",
    "alter::after_edit",
    "symbols::before_edit",
    "symbols::after_edit",
    "log::before_remove",
    "catalog::before_commit",
    "catalog::after_commit",
];

/// The same while a server starts.
const RECOVERY_STOPS: [&str; 7] = [
    "recovery::record",
    "catalog::before_commit",
    "catalog::after_commit",
    "flush::files_written",
    "flush::before_publish_file",
    "flush::before_publish",
    "flush::after_publish",
];

/// Kills of an ordinary run.
const KILLS: u64 = 36;

/// A life that did not come to its stop by then is killed where it is.
const STOP_WITHIN: Duration = Duration::from_millis(1500);

/// A life without a stop is not killed before every client got on, or this is over.
const PROGRESS_WITHIN: Duration = Duration::from_secs(5);

/// A start that is to stop on its way is killed then.
const RECOVER_WITHIN: Duration = Duration::from_millis(500);

#[test]
fn every_failpoint_is_a_place_to_stop_at() {
    let places = STOPS.iter().chain(&RECOVERY_STOPS).chain(&failpoints::DEFECTS);
    assert_eq!(places.map(|name| (*name).to_owned()).collect::<BTreeSet<_>>(), failpoints::names());
}

pub(crate) fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .map_or(otherwise, |value| value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

struct Run {
    directory: DataDir,
    /// Where the directory is, if the power of that can be cut: every life ends so then.
    disk: Option<Arc<Disk>>,
    journal: Shared<Journal>,
    choices: Choices,
    next_batches: [i64; WRITERS],
    tellers: Vec<Teller>,
    /// Whether the server has procedures that merge and that drop partitions.
    procedures: bool,
    /// How often a life was to stop at each failpoint.
    tried: BTreeMap<&'static str, u64>,
    /// How often a life came to each failpoint at which it was to stop.
    reached: BTreeMap<&'static str, u64>,
    /// A failpoint that breaks a promise, for trying whether this test notices.
    defect: Option<String>,
}

impl Run {
    /// Memtables and log files so small that all machinery turns all the time.
    fn options(&self) -> Options {
        self.options_with_stop(None)
    }

    fn options_with_stop(&self, stop: Option<&str>) -> Options {
        let mut options = Options::new().data_dir(&self.directory.path);
        if let Some(disk) = &self.disk {
            options = options.log(disk.log());
        }
        let failpoints = self.defect.as_deref().into_iter().chain(stop).collect::<Vec<_>>();
        options
            .failpoints(failpoints.join(";"))
            .setting("memtable-size", "256KiB")
            .setting("memtable-memory", "12MiB")
            .setting("wal-segment-size", "256KiB")
    }

    /// Where the next life stops, and how often it may pass there before; it says so the last time. Places
    /// take turns.
    fn stop(&mut self, places: &[&'static str]) -> (&'static str, String) {
        let places = places.iter().filter(|place| self.procedures || !place.starts_with("retention"));
        let tried = |place: &&&str| self.tried.get(**place).copied().unwrap_or_default();
        let least = places.clone().map(|place| tried(&place)).min().expect("there are places");
        let places: Vec<&'static str> = places.filter(|place| tried(place) == least).copied().collect();
        let place = self.choices.one_of(&places);
        *self.tried.entry(place).or_default() += 1;
        let passes = self.choices.below(match place.split("::").next() {
            Some("wal") => 60,
            Some("alter" | "bulk" | "merge" | "delete" | "retention" | "symbols") => 1,
            _ => 4,
        });
        self.reached.entry(place).or_default();
        (place, format!("{place}={passes}*off->1*print->pause"))
    }

    /// How often a life said that it came to this place.
    fn said(&self, place: &str) -> u64 {
        let beside = || self.directory.path.with_extension("log");
        let path = self.disk.as_ref().map_or_else(beside, |disk| disk.log());
        let log = std::fs::read_to_string(path).unwrap_or_default();
        log.matches(&format!("failpoint {place} executed")).count() as u64
    }

    /// As long as a life lasts: some time, or until it came to where it is to stop, and a little longer.
    async fn wait_for_the_end(&mut self, target: &Target, stop: Option<&'static str>) {
        // Nothing is waited for otherwise: the kill is to come at any time.
        let pass = |time| tokio::time::timeout(time, std::future::pending::<()>());
        let Some(place) = stop else {
            pass(Duration::from_millis(50 + self.choices.below(800))).await.ok();
            // On a machine that is busy otherwise, until something has happened.
            let (begun, enough) = (std::time::Instant::now(), self.choices.below(100));
            let clients = u32::try_from(Plot::ALL.len()).expect("there are a few");
            let is_enough = || target.acknowledged() >= enough && target.all_progressed(clients);
            while !is_enough() && begun.elapsed() < PROGRESS_WITHIN {
                pass(Duration::from_millis(10)).await.ok();
            }
            return;
        };
        let (begun, said) = (std::time::Instant::now(), self.reached.get(place).copied().unwrap_or_default());
        while self.said(place) == said && begun.elapsed() < STOP_WITHIN {
            pass(Duration::from_millis(10)).await.ok();
        }
        pass(Duration::from_millis(self.choices.below(150))).await.ok();
        self.reached.insert(place, self.said(place));
    }

    /// One life: writers write, and the server is killed under them.
    async fn live_and_be_killed(&mut self, options: Options, stop: Option<&'static str>) {
        let Ok(server) = options.start_or_kill_after(Duration::from_secs(10)) else {
            panic!("the server does not start again");
        };
        // Killed while it was starting.
        let Some(server) = server else { return };
        let target = Target::of(&server, self.disk.clone());
        let mut writers = Vec::new();
        for number in 0..WRITERS {
            let writer = Writer {
                number,
                target: target.clone(),
                journal: Arc::clone(&self.journal),
                next_batch: self.next_batches[number],
                choices: Choices::new(self.choices.below(u64::MAX)),
                refusals: &[],
            };
            writers.push(tokio::spawn(writer.run()));
        }
        let tellers = std::mem::take(&mut self.tellers).into_iter();
        let tellers = tellers.map(|teller| tokio::spawn(teller.run(target.clone()))).collect::<Vec<_>>();
        self.wait_for_the_end(&target, stop).await;
        if let Some(disk) = &self.disk {
            disk.cut(&mut self.choices);
        }
        drop(server);
        for (number, writer) in writers.into_iter().enumerate() {
            self.next_batches[number] = writer.await.expect("a writer found a fault");
        }
        for teller in tellers {
            self.tellers.push(teller.await.expect("a client found a fault"));
        }
        if let Some(disk) = &self.disk {
            disk.restore();
        }
    }

    /// Starts the server and compares.
    async fn check(&mut self) -> Server {
        let server = self.options().start();
        let held = held(&server).await.expect("the server answers");
        self.journal.lock().unwrap().check(&held);
        let client = connect(&server).await.expect("the server answers");
        for teller in &mut self.tellers {
            teller.check(&client).await.expect("the server answers");
        }
        server
    }
}

/// All that the server holds, by batch.
async fn held(server: &Server) -> Result<Held> {
    let client = connect(server).await?;
    let mut held = Held::new();
    for collection in COLLECTIONS {
        let batches = match batches(&client, collection).await {
            Err(error) if is_undefined_table(error.as_ref()) => continue,
            batches => batches?,
        };
        // The same by another way: the statistics, where there are any.
        let count = crate::number(&client, &format!("SELECT count(*) FROM {collection}")).await?;
        assert_eq!(count, batches.values().map(|digest| digest.rows).sum::<i64>(), "count of {collection}");
        held.insert(collection, batches);
    }
    Ok(held)
}

fn is_undefined_table(error: &(dyn std::error::Error + 'static)) -> bool {
    let error = error.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::code);
    error == Some(&tokio_postgres::error::SqlState::UNDEFINED_TABLE)
}

fn time_column(collection: &str) -> &'static str {
    if collection == "lp" { "time" } else { "ts" }
}

async fn batches(client: &Client, collection: &str) -> Result<BTreeMap<BatchId, Digest>> {
    let time = time_column(collection);
    let query = format!(
        "SELECT writer::text, number, count(*), sum(item)::bigint, sum(check_)::bigint, count(note), \
         min({time}), max({time}) FROM {collection} GROUP BY writer, number"
    );
    let mut batches = BTreeMap::new();
    for found in client.query(&query, &[]).await? {
        let writer = found.try_get::<_, &str>(0)?.strip_prefix('w').and_then(|it| it.parse().ok());
        let micros = |at: usize| -> Result<i64> {
            Ok(found.try_get::<_, chrono::DateTime<chrono::Utc>>(at)?.timestamp_micros())
        };
        let digest = Digest {
            rows: found.try_get(2)?,
            items: found.try_get(3)?,
            checks: found.try_get(4)?,
            notes: found.try_get(5)?,
            time_us_min: micros(6)?,
            time_us_max: micros(7)?,
        };
        batches.insert((writer.expect("a writer's name"), found.try_get(1)?), digest);
    }
    Ok(batches)
}

/// Every value of every row is what was sent.
async fn check_each_row(client: &Client, collection: &str, journal: &Journal) -> Result<()> {
    let time = time_column(collection);
    let query = format!("SELECT writer::text, number, item, {time}, value, check_, note FROM {collection}");
    let mut found = BTreeSet::new();
    for it in client.query(&query, &[]).await? {
        let writer: usize = it.try_get::<_, &str>(0)?[1..].parse()?;
        let (number, item): (i64, i64) = (it.try_get(1)?, it.try_get(2)?);
        let expected = row((writer, number), item);
        let time_us = it.try_get::<_, chrono::DateTime<chrono::Utc>>(3)?.timestamp_micros();
        assert_eq!(time_us, expected.time_us, "time of {writer} {number} {item}");
        assert_eq!(it.try_get::<_, f64>(4)?, expected.value, "value of {writer} {number} {item}");
        assert_eq!(it.try_get::<_, i64>(5)?, expected.check, "check of {writer} {number} {item}");
        assert_eq!(it.try_get::<_, Option<String>>(6)?, expected.note, "note of {writer} {number} {item}");
        assert!(found.insert((writer, number, item)), "{writer} {number} {item} is there twice");
    }
    let stored = journal
        .batches()
        .filter(|(_, batch)| batch.outcome == Outcome::Stored && batch.collections.contains(&collection));
    let rows = stored.map(|(_, batch)| batch.rows as usize).sum::<usize>();
    assert_eq!(found.len(), rows, "rows of {collection}");
    Ok(())
}

fn open(directory: &Path) -> Engine {
    let new = NewDirectory { superuser: "tidemark".to_owned(), verifier: None };
    Engine::open(os::env(), EngineOptions::new(directory.to_owned()), new).expect("it opens")
}

/// The files on the disk are the segments of the catalog, and all of them are sound.
fn check_files(directory: &Path) {
    let engine = open(directory);
    let damaged = engine.verify_segments();
    assert!(damaged.is_empty(), "{damaged:?}");
    for collection in engine.view().collections() {
        let listed = collection.segments.len();
        let path = segment_directory(directory, collection.collection.id);
        let deleted = collection.segments.values().filter(|segment| segment.deleted.is_some()).count();
        let files = std::fs::read_dir(&path).map_or(0, Iterator::count);
        assert_eq!(files, listed + deleted, "files in {}", path.display());
    }
    engine.shut_down().expect("it shuts down");
}

#[test]
fn kills_lose_nothing_and_double_nothing_alone() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(torture(from_environment("TIDEMARK_CRASH_KILLS", KILLS)));
}

async fn torture(kills: u64) {
    torture_in(DataDir::new(), None, kills).await;
}

pub(crate) async fn torture_with_power_cuts(disk: Disk, cuts: u64) {
    torture_in(DataDir::at(disk.data()), Some(Arc::new(disk)), cuts).await;
}

async fn torture_in(directory: DataDir, disk: Option<Arc<Disk>>, kills: u64) {
    let seed = from_environment("TIDEMARK_CRASH_SEED", u64::from(std::process::id()));
    println!("TIDEMARK_CRASH_SEED={seed}");
    let mut run = begin(seed, directory, disk).await;
    for kill in 0..kills {
        match kill % 3 {
            0 => run.live_and_be_killed(run.options(), None).await,
            1 => {
                let (place, stop) = run.stop(&STOPS);
                run.live_and_be_killed(run.options_with_stop(Some(&stop)), Some(place)).await;
            }
            _ => {
                // The same log again, with a stop on the way, and then a life that begins with it.
                let (place, stop) = run.stop(&RECOVERY_STOPS);
                let options = run.options_with_stop(Some(&stop));
                options.start_or_kill_after(RECOVER_WITHIN).expect("it starts or is killed");
                run.reached.insert(place, run.said(place));
                run.live_and_be_killed(run.options(), None).await;
            }
        }
        drop(run.check().await);
    }
    end(run, kills).await;
}

async fn begin(seed: u64, directory: DataDir, disk: Option<Arc<Disk>>) -> Run {
    let mut run = Run {
        directory,
        disk,
        journal: Shared::default(),
        choices: Choices::new(seed),
        next_batches: [0; WRITERS],
        tellers: Vec::new(),
        procedures: false,
        tried: BTreeMap::new(),
        reached: BTreeMap::new(),
        defect: std::env::var("TIDEMARK_CRASH_DEFECT").ok(),
    };
    let engine = open(&run.directory.path);
    for new in Plot::ALL.into_iter().filter_map(Plot::new_collection) {
        engine.create_collection(new).expect("it can be made");
    }
    drop(engine);
    let server = run.options().start();
    let client = connect(&server).await.unwrap();
    for name in ["a", "b"] {
        client.batch_execute(&create(name)).await.unwrap();
    }
    run.procedures = client.batch_execute("CALL tidemark.merge('a')").await.is_ok();
    for plot in Plot::ALL {
        run.tellers.push(Teller::new(plot, run.choices.below(u64::MAX), run.procedures));
    }
    run
}

/// Compares for the last time, value by value, and looks at the files.
async fn end(mut run: Run, kills: u64) {
    let journal = Arc::clone(&run.journal);
    let mut server = run.check().await;
    {
        let client = connect(&server).await.unwrap();
        for collection in COLLECTIONS {
            let journal = std::mem::take(&mut *journal.lock().unwrap());
            check_each_row(&client, collection, &journal).await.unwrap();
            *run.journal.lock().unwrap() = journal;
        }
    }
    server.terminate();
    let status = server.wait(Duration::from_secs(60));
    assert!(status.success(), "{status}: {}", server.log());
    drop(server);
    check_files(&run.directory.path);
    // And nothing changes by starting once more.
    drop(run.check().await);
    let journal = run.journal.lock().unwrap();
    let (stored, absent) = (journal.count(Outcome::Stored), journal.count(Outcome::Absent));
    println!("{kills} kills: {stored} batches stored, {absent} not");
    assert!(stored as u64 > kills, "hardly anything was written: {stored} batches in {kills} lives");
    for teller in &run.tellers {
        let (name, requests) = (teller.story.collection, teller.story.acknowledged);
        println!("{name}: {requests} requests, {} rows in the end", teller.story.rows().len());
        assert!(
            requests > kills / 4,
            "{name}: hardly anything was done: {requests} requests in {kills} lives"
        );
    }
    println!("stops and how often a life came there: {:?}", run.reached);
    let missed: Vec<_> = run.reached.iter().filter(|(_, count)| **count == 0).collect();
    println!("stops that were tried and not reached: {missed:?}");
}
