//! Readers of bytes that others wrote, given bytes that nobody meant.
//!
//! Each target reads the inputs of `corpus/<target>`, and then as many changed ones as fit into the time:
//! two seconds, or as long as `TIDEMARK_FUZZ_SECONDS` says. No input may make a reader panic, take memory
//! without bound, or end the server. One that does is kept in `target/fuzz`; when it is mended, put it into
//! the corpus.
//!
//! `TIDEMARK_FUZZ_SECONDS=600 tests/run -E 'binary(fuzz) & test(log_file)' --no-capture`

#![expect(clippy::disallowed_methods, reason = "it runs for as long as it was told to")]

mod mutate;
mod sockets;

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidemark_engine::fuzzing;
use tidemark_server::lineprotocol::scan::names::{name, split_series};
use tidemark_server::lineprotocol::scan::{After, Scanner};
use tidemark_tests::server::source_path;

use crate::mutate::{Random, mutated};

/// What a reader may take at once: inputs have at most 64 KiB.
const ALLOCATION_BYTES_MAX: usize = 64 << 20;

/// The allocator of the system, which notes the largest piece that was asked for.
struct Watched;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all calls go to the system's allocator as they are.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

fn seconds() -> Duration {
    let seconds = std::env::var("TIDEMARK_FUZZ_SECONDS");
    Duration::from_secs(seconds.map_or(2, |it| it.parse().expect("TIDEMARK_FUZZ_SECONDS is a number")))
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = source_path("fuzz/corpus").join(target);
    let entries = fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Runs a reader on the corpus and on what is made of it. `words` are what inputs are made of.
fn fuzz(target: &str, words: &[&[u8]], mut read: impl FnMut(&[u8])) {
    let corpus = corpus(target);
    let seed = std::env::var("TIDEMARK_FUZZ_SEED")
        .map_or(u64::from(std::process::id()), |seed| seed.parse().expect("TIDEMARK_FUZZ_SEED is a number"));
    println!("TIDEMARK_FUZZ_SEED={seed}");
    // A panic that a reader catches itself is nothing to tell; of the others the last words are kept.
    static WORDS: Mutex<String> = Mutex::new(String::new());
    set_hook(Box::new(|panic| *WORDS.lock().unwrap() = panic.to_string()));
    let mut random = Random::new(seed);
    let begun = Instant::now();
    let mut count = 0_u64;
    while begun.elapsed() < seconds() || count < corpus.len() as u64 {
        let known = usize::try_from(count).ok().and_then(|at| corpus.get(at));
        let input = known.cloned().unwrap_or_else(|| mutated(&mut random, &corpus, words));
        LARGEST.store(0, Ordering::Relaxed);
        let outcome = catch_unwind(AssertUnwindSafe(|| read(&input)));
        let largest = LARGEST.load(Ordering::Relaxed);
        if outcome.is_err() || largest > ALLOCATION_BYTES_MAX {
            let path = keep(target, seed, count, &input);
            drop(take_hook());
            let words = WORDS.lock().unwrap();
            panic!("{target}: input {count}, kept as {}, took {largest} bytes; {words}", path.display());
        }
        count += 1;
    }
    drop(take_hook());
    println!("{target}: {count} inputs");
}

/// Keeps an input that is a finding.
fn keep(target: &str, seed: u64, count: u64, input: &[u8]) -> PathBuf {
    let directory = source_path("../target/fuzz");
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join(format!("{target}-{seed}-{count}"));
    fs::write(&path, input).unwrap();
    path
}

#[test]
fn lines() {
    let words: [&[u8]; 12] =
        [b"\\", b"\"", b",", b"=", b" ", b"\n", b"\r\n", b"i", b"u", b"true", b"#", b"9223372036854775808"];
    fuzz("lines", &words, |bytes| {
        let mut scanner = Scanner::new(bytes);
        // A line that is not right is skipped; each takes at least a byte.
        for _ in 0..=bytes.len() {
            match read_line(&mut scanner) {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => {
                    scanner.skip_bad_line();
                }
            }
        }
        panic!("the lines have no end");
    });
}

fn read_line(scanner: &mut Scanner<'_>) -> Result<bool, &'static str> {
    let Some(series) = scanner.next_line()? else { return Ok(false) };
    let (measurement, tags) = split_series(series)?;
    name(measurement)?;
    for (key, value) in tags {
        name(key)?;
        name(value)?;
    }
    loop {
        name(scanner.field_name()?)?;
        if scanner.field_value()?.1 != After::Field {
            break;
        }
    }
    scanner.timestamp()?;
    Ok(true)
}

#[test]
fn log_file() {
    // Two of three with the right checksums, so that more than these is looked at.
    let mut count = 0_u64;
    fuzz("log_file", &[b"TWFR", b"TIDEWAL\0"], |bytes| {
        let mut bytes = bytes.to_vec();
        if !count.is_multiple_of(3) {
            fuzzing::seal_log(&mut bytes);
        }
        count += 1;
        fuzzing::log_file(&bytes).unwrap();
    });
}

#[test]
fn log_records() {
    fuzz("log_records", &[], fuzzing::log_records);
}

#[test]
fn deleted_rows() {
    fuzz("deleted_rows", &[], fuzzing::deleted_rows);
}

#[test]
fn segment_file() {
    fuzz("segment_file", &[b"PAR1"], fuzzing::segment_file);
}

#[test]
fn messages() {
    fuzz("messages", &[b"\xff\xff\xff\xff"], |bytes| {
        tidemark_server::wire::understand(&Bytes::copy_from_slice(bytes));
    });
}
