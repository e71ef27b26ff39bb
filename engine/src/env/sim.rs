//! A world in memory that follows a seed.
//!
//! What it takes from a program that trusts its disk too much:
//!
//! - a write is durable only when its file was synced after it; at a crash each unsynced write is
//!   lost, kept, or torn (some of its 512-byte sectors arrive), as the seed says;
//! - a name (creation, rename, removal) is durable only when its directory was synced after it; at
//!   a crash a prefix of the unsynced changes to each directory has happened;
//! - the n-th operation can be made to fail, to fail from then on, or to be where the power goes;
//! - the disk can be full;
//! - the wall clock stands still, goes, or jumps as the test says.
//!
//! The same seed with the same calls gives the same world: [`World::trace`] is a digest of all of
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::disk::{NameChange, Node, apply_name_change};
use self::process::Process;
use self::random::SplitMix64;
use crate::env::{Clock, Env, Files};

mod disk;
mod process;
mod random;

/// Where the clock of a new world stands: 2026-01-01 00:00:00 UTC in µs.
pub const WALL_START_US: i64 = 1_767_225_600_000_000;

/// What happens at an operation that was chosen to go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails; the next one works again.
    Error,
    /// It fails, and so does every later one that writes.
    ErrorFromThenOn,
    /// The power goes before it has an effect.
    PowerCut,
}

/// A world. Clones are the same world.
#[derive(Clone, Debug)]
pub struct World(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    random: SplitMix64,
    trace: u64,
    wall_us: i64,
    monotonic: Duration,
    /// Grows by one at each crash; handles of earlier lives do not work any more.
    life: u64,
    power: bool,
    operations: u64,
    fault: Option<(u64, Fault)>,
    capacity_bytes: Option<u64>,
    next_node: u64,
    nodes: BTreeMap<u64, Node>,
    names: BTreeMap<PathBuf, u64>,
    durable_names: BTreeMap<PathBuf, u64>,
    name_changes: BTreeMap<PathBuf, Vec<NameChange>>,
    directories: BTreeSet<PathBuf>,
    locks: BTreeSet<PathBuf>,
}

impl World {
    /// A world with an empty disk.
    pub fn new(seed: u64) -> World {
        World(Arc::new(Mutex::new(State {
            random: SplitMix64(seed),
            trace: seed,
            wall_us: WALL_START_US,
            monotonic: Duration::ZERO,
            life: 0,
            power: true,
            operations: 0,
            fault: None,
            capacity_bytes: None,
            next_node: 0,
            nodes: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: BTreeMap::new(),
            directories: BTreeSet::new(),
            locks: BTreeSet::new(),
        })))
    }

    /// The environment of a process in this world. It ends with the next crash.
    pub fn env(&self) -> Env {
        let process = Arc::new(Process { world: self.clone(), life: self.state().life });
        Env {
            clock: Arc::clone(&process) as Arc<dyn Clock>,
            files: Arc::clone(&process) as Arc<dyn Files>,
            random: process,
            spawn: None,
        }
    }

    /// Lets both clocks go on.
    pub fn advance(&self, time: Duration) {
        let mut state = self.state();
        state.monotonic += time;
        state.wall_us += i64::try_from(time.as_micros()).expect("tests advance by less than an age");
    }

    /// Sets the wall clock alone.
    pub fn set_wall_us(&self, wall_us: i64) {
        self.state().wall_us = wall_us;
    }

    /// A random number below `bound`, from the world's seed.
    pub fn choose(&self, bound: u64) -> u64 {
        self.state().random.below(bound)
    }

    /// How many operations that change the disk there were.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Chooses the operation that goes wrong, counted from the next one, which is 1.
    pub fn fault_at(&self, operation: u64, fault: Fault) {
        let mut state = self.state();
        state.fault = Some((state.operations + operation, fault));
    }

    /// No operation goes wrong any more.
    pub fn no_fault(&self) {
        self.state().fault = None;
    }

    /// How many bytes the disk holds from now on.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().capacity_bytes = bytes;
    }

    /// How many bytes the disk holds now.
    pub fn used_bytes(&self) -> u64 {
        self.state().used_bytes()
    }

    /// Whether the power went at the chosen operation.
    pub fn is_without_power(&self) -> bool {
        !self.state().power
    }

    /// The power goes, if it has not, and comes back: what was not synced is lost, kept or torn.
    pub fn crash(&self) {
        self.state().crash();
    }

    /// A digest of everything that was done in this world.
    pub fn trace(&self) -> u64 {
        self.state().trace
    }

    /// The names of all files.
    pub fn file_names(&self) -> Vec<PathBuf> {
        self.state().names.keys().cloned().collect()
    }

    /// Changes one byte of a file behind the engine's back.
    ///
    /// # Panics
    /// The file or the byte does not exist.
    pub fn damage(&self, path: &Path, offset: usize) {
        let mut state = self.state();
        let node = state.names[path];
        let node = state.nodes.get_mut(&node).expect("names lead to nodes");
        node.current[offset] ^= 0x55;
        node.durable[offset] ^= 0x55;
    }

    /// The bytes of a file.
    ///
    /// # Panics
    /// The file does not exist.
    pub fn contents(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        state.nodes[&state.names[path]].current.clone()
    }

    /// Removes a file behind the engine's back.
    ///
    /// # Panics
    /// The file does not exist.
    pub fn lose(&self, path: &Path) {
        let mut state = self.state();
        state.names.remove(path).expect("the test names a file that exists");
        state.durable_names.remove(path);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, what: u8, path: Option<&Path>, numbers: [u64; 2]) {
        let path = path.map_or(0, |path| u64::from(crc32c::crc32c(path.as_os_str().as_encoded_bytes())));
        for number in [u64::from(what), path, numbers[0], numbers[1]] {
            self.trace = SplitMix64(self.trace ^ number).next();
        }
    }

    /// Counts an operation that changes the disk; decides whether it goes wrong.
    fn operation(&mut self) -> io::Result<()> {
        self.check_power()?;
        self.operations += 1;
        let Some((at, fault)) = self.fault else { return Ok(()) };
        match fault {
            Fault::Error if self.operations == at => Err(injected()),
            Fault::ErrorFromThenOn if self.operations >= at => Err(injected()),
            Fault::PowerCut if self.operations == at => {
                self.power = false;
                Err(injected())
            }
            _ => Ok(()),
        }
    }

    fn check_power(&self) -> io::Result<()> {
        if self.power { Ok(()) } else { Err(injected()) }
    }

    fn used_bytes(&self) -> u64 {
        let live: BTreeSet<u64> = self.names.values().copied().collect();
        live.iter().map(|node| self.nodes[node].current.len() as u64).sum()
    }

    fn check_room(&self, more_bytes: usize) -> io::Result<()> {
        match self.capacity_bytes {
            Some(capacity) if self.used_bytes() + more_bytes as u64 > capacity => {
                Err(io::Error::from_raw_os_error(libc::ENOSPC))
            }
            _ => Ok(()),
        }
    }

    fn change_name(&mut self, directory: &Path, change: NameChange) {
        apply_name_change(&mut self.names, &change);
        self.name_changes.entry(directory.to_owned()).or_default().push(change);
    }

    fn crash(&mut self) {
        for changes in std::mem::take(&mut self.name_changes).into_values() {
            let happened = self.random.below(changes.len() as u64 + 1);
            for change in changes.iter().take(usize::try_from(happened).expect("a count of changes")) {
                apply_name_change(&mut self.durable_names, change);
            }
        }
        self.names = self.durable_names.clone();
        for node in self.nodes.values_mut() {
            node.crash(&mut self.random);
        }
        self.locks.clear();
        self.life += 1;
        self.power = true;
        self.fault = None;
    }
}

fn injected() -> io::Error {
    io::Error::other("injected fault")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::OpenMode;

    fn write_one(world: &World, synced: bool) -> PathBuf {
        let files = world.env().files;
        let path = PathBuf::from("/d/a");
        let file = files.open(&path, OpenMode::CreateNew).unwrap();
        file.write_all_at(b"hello", 0).unwrap();
        if synced {
            crate::durable::sync(file.as_ref()).unwrap();
            crate::durable::sync_directory(files.as_ref(), Path::new("/d")).unwrap();
        }
        path
    }

    #[test]
    fn what_was_synced_survives_and_nothing_else_must() {
        let mut outcomes = BTreeSet::new();
        for seed in 0..64 {
            let world = World::new(seed);
            let path = write_one(&world, true);
            world.crash();
            assert_eq!(world.contents(&path), b"hello");
            let world = World::new(seed);
            write_one(&world, false);
            world.crash();
            outcomes.insert(world.file_names().len());
        }
        assert_eq!(outcomes, BTreeSet::from([0, 1]));
    }

    #[test]
    fn the_same_seed_gives_the_same_trace() {
        let trace = |seed| {
            let world = World::new(seed);
            write_one(&world, true);
            world.trace()
        };
        assert_eq!(trace(7), trace(7));
        assert_ne!(trace(7), trace(8));
    }

    #[test]
    fn a_full_disk_refuses_growth_only() {
        let world = World::new(1);
        let path = write_one(&world, true);
        world.set_capacity(Some(5));
        let file = world.env().files.open(&path, OpenMode::ReadWrite).unwrap();
        assert_eq!(file.write_all_at(b"x", 5).unwrap_err().raw_os_error(), Some(libc::ENOSPC));
        file.write_all_at(b"x", 4).unwrap();
    }
}
