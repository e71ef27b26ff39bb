//! A disk without space: writes are refused, reads go on, and it heals when there is space again.
//!
//! Flushes and merges that find no space are tried again by themselves.
//!
//! The disk is a small tmpfs. A root mounts it; others need user namespaces, which the error says.

use std::fs::{self, File};
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tidemark_tests::server::{Options, Server};
use tokio_postgres::error::SqlState;

use crate::damage::files;
use crate::journal::mix;
use crate::writers::create;
use crate::{connect, number};

/// A mounted tmpfs.
struct SmallDisk {
    directory: TempDir,
}

impl SmallDisk {
    fn mount(mebibytes: u32) -> SmallDisk {
        let directory = TempDir::new().unwrap();
        let options = format!("size={mebibytes}m");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(directory.path());
        let mounted = mount.output().expect("mount runs");
        assert!(mounted.status.success(), "this test must be able to mount a tmpfs: {mounted:?}");
        SmallDisk { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Takes all space that is left; the file gives it back.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut file = File::create(&path).unwrap();
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
        path
    }

    /// The same, but for so many bytes.
    fn fill_but(&self, bytes: u64) -> PathBuf {
        let path = self.fill();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_len(file.metadata().unwrap().len() - bytes).unwrap();
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, as a server that was killed just now may not be gone from it.
        Command::new("umount").arg("-l").arg(self.directory.path()).status().ok();
    }
}

/// A thousand rows that do not compress well.
fn insert_thousand() -> String {
    insert_thousand_from(0)
}

/// Other ones for each seed.
fn insert_thousand_from(seed: u64) -> String {
    let row = |item: u64| {
        let seed = seed * 1_000_000 + item;
        let note = [seed, seed + 1000, seed + 2000].map(|seed| format!("{:x}", mix(seed))).concat();
        format!("('2024-01-01 00:00:00+00', 'w', 1, {item}, '{note}')")
    };
    let rows = (0..1000).map(row).collect::<Vec<_>>();
    format!("INSERT INTO a (ts, writer, number, item, note) VALUES {}", rows.join(", "))
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_heals() {
    let disk = SmallDisk::mount(48);
    let data = disk.path().join("data");
    let options = || {
        Options::new()
            .data_dir(&data)
            .setting("wal-segment-size", "1MiB")
            .setting("memtable-size", "1MiB")
            .setting("memtable-memory", "8MiB")
    };
    let server = options().start();
    let client = connect(&server).await.unwrap();
    client.batch_execute(&create("a")).await.unwrap();
    let insert = &insert_thousand();
    client.batch_execute(insert).await.unwrap();
    let filler = disk.fill();
    let mut rows = 1000;
    let refused = loop {
        match client.batch_execute(insert).await {
            Ok(()) => rows += 1000,
            Err(error) => break error,
        }
        assert!(rows < 1_000_000, "a full disk takes everything");
    };
    assert_eq!(refused.code(), Some(&SqlState::DISK_FULL), "{refused:?}");
    // Reads go on, and nothing of what was refused is there.
    assert_eq!(number(&client, "SELECT count(item) FROM a").await.unwrap(), rows);
    // It heals by itself.
    fs::remove_file(filler).unwrap();
    client.batch_execute(insert).await.unwrap();
    rows += 1000;
    assert_eq!(number(&client, "SELECT count(item) FROM a").await.unwrap(), rows);
    // And what was acknowledged is there after a kill, on a disk that is full again.
    drop(client);
    drop(server.kill());
    let filler = disk.fill();
    let server = options().start();
    let client = connect(&server).await.unwrap();
    assert_eq!(number(&client, "SELECT count(item) FROM a").await.unwrap(), rows);
    fs::remove_file(filler).unwrap();
    client.batch_execute("DROP TABLE a").await.unwrap();
}

/// How long the server may take until it heals: retries wait longer and longer.
const HEAL_WITHIN: Duration = Duration::from_secs(60);

fn metric(server: &Server, name: &str) -> f64 {
    let mut stream = TcpStream::connect(server.http).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let value = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{name} is in {answer}")).parse().unwrap()
}

fn wait_until_above(server: &Server, name: &str, bound: f64) {
    let begun = Instant::now();
    while metric(server, name) <= bound {
        assert!(begun.elapsed() < HEAL_WITHIN, "{name} is not above {bound}: {}", server.log());
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn a_flush_without_space_is_made_when_there_is_some() {
    let disk = SmallDisk::mount(64);
    let data = disk.path().join("data");
    let options = || {
        Options::new()
            .data_dir(&data)
            .setting("wal-segment-size", "16MiB")
            .setting("memtable-size", "1MiB")
            .setting("memtable-memory", "64MiB")
    };
    let server = options().start();
    let client = connect(&server).await.unwrap();
    client.batch_execute(&create("a")).await.unwrap();
    // The log has room by now; segments will have none.
    client.batch_execute(&insert_thousand()).await.unwrap();
    let filler = disk.fill();
    for batch in 1..20 {
        client.batch_execute(&insert_thousand_from(batch)).await.unwrap();
    }
    wait_until_above(&server, "tidemark_flush_failures_total", 1.0);
    assert_eq!(metric(&server, "tidemark_flushes_total"), 0.0);
    assert_eq!(number(&client, "SELECT count(item) FROM a").await.unwrap(), 20_000);
    let refused = client.batch_execute("CALL tidemark.flush('a')").await.unwrap_err();
    assert_eq!(refused.code(), Some(&SqlState::DISK_FULL), "{refused:?}");
    fs::remove_file(filler).unwrap();
    wait_until_above(&server, "tidemark_flushes_total", 0.0);
    assert_eq!(number(&client, "SELECT count(item) FROM a").await.unwrap(), 20_000);
    client.batch_execute("CALL tidemark.flush('a')").await.unwrap();
    drop(client);
    drop(server.kill());
    let server = options().start();
    let client = connect(&server).await.unwrap();
    assert_eq!(number(&client, "SELECT count(item) FROM a").await.unwrap(), 20_000);
    assert_eq!(number(&client, "SELECT count(DISTINCT note) FROM a").await.unwrap(), 20_000);
}

#[tokio::test]
async fn a_merge_without_space_is_made_when_there_is_some() {
    let disk = SmallDisk::mount(64);
    let data = disk.path().join("data");
    let server = Options::new().data_dir(&data).setting("wal-segment-size", "16MiB").start();
    let client = connect(&server).await.unwrap();
    client.batch_execute(&create("a")).await.unwrap();
    let flush = "CALL tidemark.flush('a')";
    let insert = async |batch: u64| {
        client.batch_execute(&insert_thousand_from(2 * batch)).await.unwrap();
        client.batch_execute(&insert_thousand_from(2 * batch + 1)).await.unwrap();
    };
    for batch in 0..7 {
        insert(batch).await;
        client.batch_execute(flush).await.unwrap();
    }
    assert_eq!(metric(&server, "tidemark_merges_total"), 0.0);
    // Room for the eighth segment, and not for all in one.
    let segments = files(&data, "parquet");
    assert_eq!(segments.len(), 7);
    let segment_bytes = fs::metadata(&segments[0]).unwrap().len();
    insert(7).await;
    let filler = disk.fill_but(segment_bytes * 2);
    client.batch_execute(flush).await.unwrap();
    wait_until_above(&server, "tidemark_merge_failures_total", 0.0);
    assert_eq!(metric(&server, "tidemark_merges_total"), 0.0);
    assert_eq!(number(&client, "SELECT count(DISTINCT note) FROM a").await.unwrap(), 16_000);
    // A delete is how space is made.
    client.batch_execute("DELETE FROM a WHERE item < 10").await.unwrap();
    fs::remove_file(filler).unwrap();
    wait_until_above(&server, "tidemark_merges_total", 0.0);
    assert_eq!(number(&client, "SELECT count(DISTINCT note) FROM a").await.unwrap(), 15_840);
    drop(client);
    drop(server.kill());
    let server = Options::new().data_dir(&data).start();
    let client = connect(&server).await.unwrap();
    assert_eq!(number(&client, "SELECT count(item) FROM a").await.unwrap(), 15_840);
}
