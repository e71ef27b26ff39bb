//! What the disk of a world keeps: of each file what it holds and what of that is durable, of each directory
//! the changes that are not.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::random::SplitMix64;

const SECTOR_BYTES: usize = 512;

#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) current: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) unsynced: Vec<Unsynced>,
}

#[derive(Debug)]
pub(super) enum Unsynced {
    Write { offset: usize, data: Vec<u8> },
    Length(usize),
}

#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Add(PathBuf, u64),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl Node {
    pub(super) fn crash(&mut self, random: &mut SplitMix64) {
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

pub(super) fn apply_name_change(names: &mut BTreeMap<PathBuf, u64>, change: &NameChange) {
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

pub(super) fn put(contents: &mut Vec<u8>, offset: usize, data: &[u8]) {
    let end = offset + data.len();
    if contents.len() < end {
        contents.resize(end, 0);
    }
    contents[offset..end].copy_from_slice(data);
}
