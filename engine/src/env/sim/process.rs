//! A program in a world, from its start to the next crash: its clock, its lots, its files and locks.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::disk::{NameChange, Node, Unsynced, apply_name_change, put};
use super::{State, World};
use crate::env::{Clock, File, Files, LockGuard, OpenMode, Random};

/// One life of the program in the world.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) world: World,
    pub(super) life: u64,
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

/// What becomes of a file that is longer already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resize {
    /// It stays.
    Grow,
    /// It is cut.
    Set,
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

    fn resize(&self, len: u64, resize: Resize) -> io::Result<()> {
        self.with(|state| {
            let len = to_usize(len);
            let old_len = self.node(state).current.len();
            state.check_room(len.saturating_sub(old_len))?;
            state.operation()?;
            let node = self.node(state);
            if resize == Resize::Set || len > old_len {
                node.current.resize(len, 0);
                node.unsynced.push(Unsynced::Length(len));
            }
            Ok(())
        })
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
        self.resize(len, Resize::Grow)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.resize(len, Resize::Set)
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

fn to_usize(number: u64) -> usize {
    usize::try_from(number).expect("simulated files are small")
}
