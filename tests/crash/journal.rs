//! What was sent and what was acknowledged, and what a server must hold because of it.
//!
//! A batch is known by its writer and number; all its rows follow from these two, so the journal
//! need not keep them.
//!
//! - An acknowledged batch is there whole, once, in every collection it went to.
//! - A refused batch is not there.
//! - A batch without an answer is there whole or not at all, in all its collections alike; what it is
//!   at the first look, it stays.

use std::collections::BTreeMap;

/// What is known of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was sent, and no answer came yet.
    Pending,
    /// The server said that it is durable and visible, or it was found whole after a restart.
    Stored,
    /// The server refused it, or it was not found after a restart.
    Absent,
}

/// A batch as it was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    /// How many rows it has in each collection.
    pub(crate) rows: i64,
    /// The collections it goes to.
    pub(crate) collections: &'static [&'static str],
    /// What became of it.
    pub(crate) outcome: Outcome,
}

/// The name of a batch: its writer and its number.
pub(crate) type BatchId = (usize, i64);

/// One row; all of it follows from its batch and its place in it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// Microseconds since 1970.
    pub(crate) time_us: i64,
    pub(crate) value: f64,
    pub(crate) check: i64,
    pub(crate) note: Option<String>,
}

/// What a group of rows comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Digest {
    pub(crate) rows: i64,
    pub(crate) items: i64,
    pub(crate) checks: i64,
    pub(crate) notes: i64,
    pub(crate) time_us_min: i64,
    pub(crate) time_us_max: i64,
}

/// 2023-12-30 00:00 UTC
const TIME_US_MIN: i64 = 1_703_894_400_000_000;

/// Four days, so that there are several partitions.
const TIME_US_SPAN: u64 = 4 * 86_400_000_000;

/// The row of a batch at this place.
pub(crate) fn row((writer, number): BatchId, item: i64) -> Row {
    let hash = mix(mix(mix(writer as u64) ^ number as u64) ^ item as u64);
    Row {
        time_us: TIME_US_MIN + (hash % TIME_US_SPAN) as i64,
        value: (hash >> 40) as f64 / 16.0,
        check: (hash >> 33) as i64,
        note: (!hash.is_multiple_of(3)).then(|| format!("note {:x}, \"of\" {number}", hash >> 50)),
    }
}

/// What the rows of a batch come to.
pub(crate) fn digest(id: BatchId, rows: i64) -> Digest {
    let mut digest = Digest { time_us_min: i64::MAX, time_us_max: i64::MIN, ..Digest::default() };
    for item in 0..rows {
        let row = row(id, item);
        digest.rows += 1;
        digest.items += item;
        digest.checks += row.check;
        digest.notes += i64::from(row.note.is_some());
        digest.time_us_min = digest.time_us_min.min(row.time_us);
        digest.time_us_max = digest.time_us_max.max(row.time_us);
    }
    digest
}

/// All batches of a run.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    batches: BTreeMap<BatchId, Batch>,
}

/// What a server holds: per collection, what the rows of each batch come to.
pub(crate) type Held = BTreeMap<&'static str, BTreeMap<BatchId, Digest>>;

impl Journal {
    /// Notes a batch before its first byte is sent.
    pub(crate) fn sent(&mut self, id: BatchId, rows: i64, collections: &'static [&'static str]) {
        let batch = Batch { rows, collections, outcome: Outcome::Pending };
        assert!(self.batches.insert(id, batch).is_none(), "batch {id:?} was sent before");
    }

    /// Notes an answer.
    pub(crate) fn answered(&mut self, id: BatchId, outcome: Outcome) {
        let batch = self.batches.get_mut(&id).expect("it was sent");
        assert_eq!(batch.outcome, Outcome::Pending, "batch {id:?} was answered before");
        batch.outcome = outcome;
    }

    /// How many batches have this outcome.
    pub(crate) fn count(&self, outcome: Outcome) -> usize {
        self.batches.values().filter(|batch| batch.outcome == outcome).count()
    }

    /// All batches.
    pub(crate) fn batches(&self) -> impl Iterator<Item = (BatchId, Batch)> {
        self.batches.iter().map(|(id, batch)| (*id, *batch))
    }

    /// Compares all that the server holds with all that it must, and settles what was pending.
    pub(crate) fn check(&mut self, held: &Held) {
        for collection in held.values() {
            for id in collection.keys() {
                assert!(self.batches.contains_key(id), "batch {id:?} was never sent");
            }
        }
        for (id, batch) in &mut self.batches {
            let expected = digest(*id, batch.rows);
            let found = batch.collections.iter().map(|name| held.get(name).and_then(|held| held.get(id)));
            let found = found.collect::<Vec<_>>();
            let is_whole = found.iter().all(|digest| *digest == Some(&expected));
            let is_absent = found.iter().all(Option::is_none);
            match batch.outcome {
                Outcome::Stored => {
                    assert!(is_whole, "{id:?} must be there as {expected:?}, but is {found:?}")
                }
                Outcome::Absent => assert!(is_absent, "{id:?} must not be there, but is {found:?}"),
                Outcome::Pending => {
                    assert!(is_whole || is_absent, "{id:?} is there in part: {found:?} of {expected:?}");
                    batch.outcome = if is_whole { Outcome::Stored } else { Outcome::Absent };
                }
            }
            for (name, held) in held.iter().filter(|(name, _)| !batch.collections.contains(name)) {
                assert!(!held.contains_key(id), "{id:?} is in {name}, where it was not sent");
            }
        }
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
pub(crate) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Random choices of a run.
#[derive(Clone, Debug)]
pub(crate) struct Choices(u64);

impl Choices {
    /// From a seed.
    pub(crate) fn new(seed: u64) -> Choices {
        Choices(mix(seed))
    }

    /// A number below this one.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0) % bound
    }

    /// One of these.
    pub(crate) fn one_of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }
}

#[test]
fn the_journal_finds_each_kind_of_fault() {
    let id = (1, 7);
    let outcome_of = |sent: Outcome, held: Option<Digest>| {
        let mut journal = Journal::default();
        journal.sent(id, 3, &["a"]);
        if sent != Outcome::Pending {
            journal.answered(id, sent);
        }
        let held = held.map(|digest| (id, digest)).into_iter().collect();
        let held = Held::from([("a", held)]);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| journal.check(&held))).ok()?;
        Some(journal.batches[&id].outcome)
    };
    let whole = digest(id, 3);
    let doubled = Digest { rows: 6, ..whole };
    let part = digest(id, 2);
    assert_eq!(outcome_of(Outcome::Stored, Some(whole)), Some(Outcome::Stored));
    assert_eq!(outcome_of(Outcome::Stored, Some(doubled)), None);
    assert_eq!(outcome_of(Outcome::Stored, Some(part)), None);
    assert_eq!(outcome_of(Outcome::Stored, None), None);
    assert_eq!(outcome_of(Outcome::Absent, None), Some(Outcome::Absent));
    assert_eq!(outcome_of(Outcome::Absent, Some(whole)), None);
    assert_eq!(outcome_of(Outcome::Pending, None), Some(Outcome::Absent));
    assert_eq!(outcome_of(Outcome::Pending, Some(whole)), Some(Outcome::Stored));
    assert_eq!(outcome_of(Outcome::Pending, Some(part)), None);
}
