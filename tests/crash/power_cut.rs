//! The power goes: the torture on a file system of its own, which is shut down under the server.
//!
//! An ext4 in a file is mounted through a loop device; `EXT4_IOC_SHUTDOWN` makes it refuse everything
//! from then on and forget what it had not written, as the loss of power does. Then the server is killed,
//! the file system is checked, mounted again, and the server started on what is left.
//!
//! Needs root, so it is run on demand: `TIDEMARK_POWER_CUTS=20 tests/run -E 'test(power)' --run-ignored all`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::journal::Choices;
use crate::torture::{from_environment, torture_with_power_cuts};

/// Sparse: only what is written takes space.
const DISK_BYTES: u64 = 2 << 30;

/// How long the disk may be in use by a server that was killed.
const UNMOUNT_WITHIN: Duration = Duration::from_secs(20);

/// What `EXT4_IOC_SHUTDOWN` does with the journal.
#[derive(Clone, Copy, Debug)]
enum Journal {
    /// It is written; data that was not synced is lost.
    Written = 1,
    /// It is lost, too.
    Lost = 2,
}

/// A disk whose power can be cut.
#[derive(Debug)]
pub(crate) struct Disk {
    directory: TempDir,
    is_cut: AtomicBool,
}

impl Disk {
    /// Makes and mounts it.
    pub(crate) fn new() -> Disk {
        let disk = Disk { directory: TempDir::new().unwrap(), is_cut: AtomicBool::new(false) };
        File::create(disk.image()).unwrap().set_len(DISK_BYTES).unwrap();
        run(Command::new("mkfs.ext4").arg("-q").arg(disk.image()), &[0]);
        std::fs::create_dir(disk.mount_point()).unwrap();
        disk.mount();
        disk
    }

    /// Where the server keeps its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.mount_point().join("data")
    }

    /// Where the server's log is: it is to survive.
    pub(crate) fn log(&self) -> PathBuf {
        self.directory.path().join("server.log")
    }

    /// Whether the power is away.
    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::SeqCst)
    }

    /// Cuts the power: nothing is written from now on.
    pub(crate) fn cut(&self, choices: &mut Choices) {
        // Before, so that nobody takes an error that comes of it for an answer.
        self.is_cut.store(true, Ordering::SeqCst);
        let journal = choices.one_of(&[Journal::Written, Journal::Lost, Journal::Lost]);
        shut_down(&self.mount_point(), journal);
    }

    /// The power is back: the file system is checked and mounted again.
    pub(crate) fn restore(&self) {
        self.unmount();
        // 1 says that something was corrected, as the counts of free blocks are after every cut.
        run(Command::new("e2fsck").arg("-fp").arg(self.image()), &[0, 1]);
        self.mount();
        self.is_cut.store(false, Ordering::SeqCst);
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    fn mount_point(&self) -> PathBuf {
        self.directory.path().join("disk")
    }

    fn mount(&self) {
        run(Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(self.mount_point()), &[0]);
    }

    fn unmount(&self) {
        let begun = Instant::now();
        loop {
            let unmounted = Command::new("umount").arg(self.mount_point()).output().expect("umount runs");
            if unmounted.status.success() {
                return;
            }
            assert!(begun.elapsed() < UNMOUNT_WITHIN, "the disk is in use: {unmounted:?}");
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, as a server that was killed just now may not be gone from it.
        Command::new("umount").arg("-l").arg(self.mount_point()).status().ok();
    }
}

fn run(command: &mut Command, good: &[i32]) {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(done.status.code().is_some_and(|code| good.contains(&code)), "{command:?}: {done:?}");
}

#[allow(unsafe_code, reason = "there is no other way to ask the kernel for this")]
fn shut_down(mount_point: &Path, journal: Journal) {
    use rustix::ioctl::{Setter, ioctl, opcode};
    const EXT4_IOC_SHUTDOWN: rustix::ioctl::Opcode = opcode::read::<u32>(b'X', 125);
    let directory = File::open(mount_point).unwrap();
    // SAFETY: the kernel reads a `u32` from the pointer, which `Setter` gives it.
    unsafe {
        let request = Setter::<{ EXT4_IOC_SHUTDOWN }, u32>::new(journal as u32);
        ioctl(&directory, request).expect("the file system is an ext4, and this is root");
    }
}

#[test]
#[ignore = "needs root and a loop device"]
fn power_cuts_lose_nothing_and_double_nothing_alone() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(torture_with_power_cuts(Disk::new(), from_environment("TIDEMARK_POWER_CUTS", 20)));
}
