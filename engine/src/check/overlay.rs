//! The catalog's file with what is written kept in memory: opening a database puts in order what a crash
//! left, and a check changes nothing.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidemark_catalog::store::CatalogFile;

use crate::env::File;

const PAGE_BYTES: u64 = 4096;

/// A file whose writes go nowhere but into memory.
#[derive(Debug)]
pub(super) struct Overlay {
    file: Arc<dyn File>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    len: u64,
    /// The file counts up to here; what was beyond it once was cut off.
    file_len: u64,
    /// Pages that were written, by number.
    pages: BTreeMap<u64, Box<[u8]>>,
}

impl Overlay {
    pub(super) fn new(file: Arc<dyn File>) -> io::Result<Overlay> {
        let len = file.byte_len()?;
        Ok(Overlay { file, state: Mutex::new(State { len, file_len: len, pages: BTreeMap::new() }) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page as the file has it; zeros where the file does not reach.
    fn stored_page(&self, state: &State, number: u64) -> io::Result<Box<[u8]>> {
        let mut page = vec![0; to_usize(PAGE_BYTES)];
        let start = number * PAGE_BYTES;
        let len = state.file_len.saturating_sub(start).min(PAGE_BYTES);
        self.file.read_exact_at(&mut page[..to_usize(len)], start)?;
        Ok(page.into())
    }
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).expect("at most a page")
}

/// The stretches of pages that a range of bytes is made of: the page, where in it, how many bytes.
fn stretches(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset + len as u64;
    let pages = offset / PAGE_BYTES..end.div_ceil(PAGE_BYTES);
    pages.filter(move |_| len > 0).map(move |number| {
        let start = number * PAGE_BYTES;
        let from = offset.max(start) - start;
        let to = end.min(start + PAGE_BYTES) - start;
        (number, to_usize(from), to_usize(to - from))
    })
}

impl CatalogFile for Overlay {
    fn byte_len(&self) -> io::Result<u64> {
        Ok(self.lock().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.lock();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > state.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = &mut *out;
        for (number, from, len) in stretches(offset, rest.len()) {
            let (part, after) = rest.split_at_mut(len);
            match state.pages.get(&number) {
                Some(page) => part.copy_from_slice(&page[from..from + len]),
                None => part.copy_from_slice(&self.stored_page(&state, number)?[from..from + len]),
            }
            rest = after;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.lock();
        if len < state.len {
            state.file_len = state.file_len.min(len);
            state.pages.retain(|number, _| number * PAGE_BYTES < len);
            let last = len / PAGE_BYTES;
            if let Some(page) = state.pages.get_mut(&last) {
                page[to_usize(len % PAGE_BYTES)..].fill(0);
            }
        }
        state.len = len;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        let mut rest = data;
        for (number, from, len) in stretches(offset, data.len()) {
            let (part, after) = rest.split_at(len);
            if !state.pages.contains_key(&number) {
                let page = self.stored_page(&state, number)?;
                state.pages.insert(number, page);
            }
            let page = state.pages.get_mut(&number).expect("it was just put there");
            page[from..from + len].copy_from_slice(part);
            rest = after;
        }
        state.len = state.len.max(offset + data.len() as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::env::OpenMode;
    use crate::env::os;

    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_not_in_the_file() {
        let path = std::env::temp_dir().join(format!("tidemark-overlay-{}", std::process::id()));
        let before: Vec<u8> = (0..10_000u32).map(|at| (at % 251) as u8).collect();
        std::fs::write(&path, &before).unwrap();
        let file = os::env().files.open(Path::new(&path), OpenMode::Read).unwrap();
        let overlay = Overlay::new(file).unwrap();
        let mut model = before.clone();
        for (offset, len) in [(0, 3), (4090, 10), (8192, 1808), (9_990, 5_000), (4096, 4096)] {
            let data = vec![offset as u8 | 1; len];
            overlay.write(offset as u64, &data).unwrap();
            model.resize(model.len().max(offset + len), 0);
            model[offset..offset + len].copy_from_slice(&data);
        }
        for len in [6_000, 12_000] {
            overlay.set_len(len as u64).unwrap();
            model.resize(len, 0);
            let mut found = vec![0xaa; len];
            overlay.read(0, &mut found).unwrap();
            assert_eq!(found, model, "{len} bytes long");
        }
        assert!(overlay.read(11_999, &mut [0; 2]).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), before);
        std::fs::remove_file(&path).unwrap();
    }
}
