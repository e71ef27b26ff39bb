//! A disk without space: writes are refused, reads go on, and it heals when there is space again.
//!
//! The disk is a small tmpfs. A root mounts it; others need user namespaces, which the error says.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tidemark_tests::server::Options;
use tokio_postgres::error::SqlState;

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
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, as a server that was killed just now may not be gone from it.
        Command::new("umount").arg("-l").arg(self.directory.path()).status().ok();
    }
}

/// A thousand rows that do not compress well.
fn insert_thousand() -> String {
    let row = |item: u64| {
        let note = [item, item + 1000, item + 2000].map(|seed| format!("{:x}", mix(seed))).concat();
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
