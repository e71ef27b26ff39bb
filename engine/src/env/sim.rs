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

use crate::env::{Clock, Env, File, Files, LockGuard, OpenMode, Random};

const SECTOR_BYTES: usize = 512;

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

#[derive(Debug, Default)]
struct Node {
    current: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Unsynced>,
}

#[derive(Debug)]
enum Unsynced {
    Write { offset: usize, data: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Debug)]
enum NameChange {
    Add(PathBuf, u64),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
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

fn apply_name_change(names: &mut BTreeMap<PathBuf, u64>, change: &NameChange) {
    match change {
        NameChange::Add(path, node) => {
            names.insert(path.clone(), *node);
        }
        NameChange::Remove(path) => {
            names.remove(path);
        }
        NameChange::Rename(from, to) => {
            if let Some(node) = names.remove(from) {
                names.insert(to.clone(), node);
            }
        }
    }
}

impl Node {
    fn crash(&mut self, random: &mut SplitMix64) {
        for unsynced in std::mem::take(&mut self.unsynced) {
            match (unsynced, random.below(3)) {
                (_, 0) => {}
                (Unsynced::Length(len), _) => self.durable.resize(len, 0),
                (Unsynced::Write { offset, data }, 1) => put(&mut self.durable, offset, &data),
                (Unsynced::Write { offset, data }, _) => {
                    for (sector, bytes) in data.chunks(SECTOR_BYTES).enumerate() {
                        if random.below(2) == 0 {
                            put(&mut self.durable, offset + sector * SECTOR_BYTES, bytes);
                        }
                    }
                }
            }
        }
        self.current = self.durable.clone();
    }
}

fn put(contents: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if contents.len() < end {
        contents.resize(end, 0);
    }
    contents[offset..end].copy_from_slice(data);
}

fn injected() -> io::Error {
    io::Error::other("injected fault")
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).expect("simulated files are small")
}

/// One life of the program in the world.
#[derive(Debug)]
struct Process {
    world: World,
    life: u64,
}

impl Process {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.world.state();
        if state.life != self.life {
            return Err(io::Error::other("this process ended in a crash"));
        }
        state.check_power()?;
        Ok(state)
    }
}

impl Clock for Process {
    fn wall_us(&self) -> i64 {
        self.world.state().wall_us
    }

    fn monotonic(&self) -> Duration {
        self.world.state().monotonic
    }
}

impl Random for Process {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.world.state();
        for byte in bytes {
            *byte = state.random.next().to_le_bytes()[0];
        }
    }
}

impl Files for Process {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.state()?;
        let node = match (state.names.get(path).copied(), mode) {
            (Some(_), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(node), _) => node,
            (None, OpenMode::Read | OpenMode::ReadWrite) => return Err(io::ErrorKind::NotFound.into()),
            (None, OpenMode::CreateNew) => {
                state.operation()?;
                let node = state.next_node;
                state.next_node += 1;
                state.nodes.insert(node, Node::default());
                let directory = path.parent().unwrap_or(Path::new(""));
                state.change_name(directory, NameChange::Add(path.to_owned(), node));
                node
            }
        };
        state.note(1, Some(path), [node, mode as u64]);
        Ok(Arc::new(SimFile { world: self.world.clone(), life: self.life, node }))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.state()?;
        Ok(state.names.contains_key(path) || state.directories.contains(path))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let state = self.state()?;
        let entries = state.names.keys().chain(&state.directories);
        let inside = entries.filter(|path| path.parent() == Some(directory));
        let names = inside.filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
        let mut names: Vec<String> = names.collect();
        names.sort();
        Ok(names)
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        // Directories are made once, when the data directory is; that they survive is not in doubt.
        self.state()?.directories.insert(directory.to_owned());
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        state.operation()?;
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.note(2, Some(path), [0, 0]);
        let directory = path.parent().unwrap_or(Path::new(""));
        state.change_name(directory, NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        state.operation()?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.note(3, Some(to), [0, 0]);
        let directory = to.parent().unwrap_or(Path::new(""));
        state.change_name(directory, NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let mut state = self.state()?;
        state.operation()?;
        state.note(4, Some(directory), [0, 0]);
        for change in state.name_changes.remove(directory).unwrap_or_default() {
            apply_name_change(&mut state.durable_names, &change);
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockGuard>>> {
        let mut state = self.state()?;
        if !state.locks.insert(path.to_owned()) {
            return Ok(None);
        }
        let guard = SimLock { world: self.world.clone(), life: self.life, path: path.to_owned() };
        Ok(Some(Box::new(guard)))
    }
}

#[derive(Debug)]
struct SimLock {
    world: World,
    life: u64,
    path: PathBuf,
}

impl LockGuard for SimLock {}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = self.world.state();
        if state.life == self.life {
            state.locks.remove(&self.path);
        }
    }
}

#[derive(Debug)]
struct SimFile {
    world: World,
    life: u64,
    node: u64,
}

impl SimFile {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.world.state();
        if state.life != self.life {
            return Err(io::Error::other("this process ended in a crash"));
        }
        state.check_power()?;
        act(&mut state)
    }

    fn node<'a>(&self, state: &'a mut State) -> &'a mut Node {
        state.nodes.get_mut(&self.node).expect("nodes are kept for ever")
    }
}

impl File for SimFile {
    fn byte_len(&self) -> io::Result<u64> {
        self.with(|state| Ok(self.node(state).current.len() as u64))
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.with(|state| {
            let start = to_usize(offset);
            let bytes = self.node(state).current.get(start..start + buffer.len());
            buffer.copy_from_slice(bytes.ok_or(io::Error::from(io::ErrorKind::UnexpectedEof))?);
            Ok(())
        })
    }

    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()> {
        self.with(|state| {
            let offset = to_usize(offset);
            let old_len = self.node(state).current.len();
            state.check_room((offset + data.len()).saturating_sub(old_len))?;
            let outcome = state.operation();
            state.note(5, None, [self.node, u64::from(crc32c::crc32c(data))]);
            if outcome.is_err() && state.power {
                // A failed write may have written a part.
                let part = to_usize(state.random.below(data.len() as u64 + 1));
                let data = data[..part].to_vec();
                let node = self.node(state);
                put(&mut node.current, offset, &data);
                node.unsynced.push(Unsynced::Write { offset, data });
            }
            outcome?;
            let node = self.node(state);
            put(&mut node.current, offset, data);
            node.unsynced.push(Unsynced::Write { offset, data: data.to_vec() });
            Ok(())
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.with(|state| {
            let len = to_usize(len);
            let old_len = self.node(state).current.len();
            state.check_room(len.saturating_sub(old_len))?;
            state.operation()?;
            let node = self.node(state);
            if len > old_len {
                node.current.resize(len, 0);
                node.unsynced.push(Unsynced::Length(len));
            }
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|state| {
            let len = to_usize(len);
            let old_len = self.node(state).current.len();
            state.check_room(len.saturating_sub(old_len))?;
            state.operation()?;
            let node = self.node(state);
            node.current.resize(len, 0);
            node.unsynced.push(Unsynced::Length(len));
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|state| {
            state.operation()?;
            state.note(6, None, [self.node, 0]);
            let node = self.node(state);
            node.unsynced.clear();
            node.durable = node.current.clone();
            Ok(())
        })
    }
}

/// Steele, Lea, Flood: "Fast splittable pseudorandom number generators" (2014).
#[derive(Debug)]
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
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
