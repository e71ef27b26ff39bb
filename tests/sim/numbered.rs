//! A producer that numbers its batches and sends again what it has no answer for.
//!
//! It writes one batch after the other to two collections at once, or many rows to one, and goes on to
//! the next number only when it knows that a batch is durable; else it sends the same batch again, after
//! the power was away, or twice for no reason. Another collection gets rows that nobody numbered, so that
//! log files come and go at their own pace. In the end every batch is there once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tidemark_engine::engine::{Durability, Submitted, Write};
use tidemark_engine::env::sim::{Fault, World};
use tidemark_engine::producers::BatchNumber;

use crate::harness::Harness;

const LIVES: usize = 4;
const OPERATIONS_PER_LIFE: usize = 40;
const WRITTEN_LONG_AGO: u64 = 3;

/// What is known of the batches of a producer.
#[derive(Default)]
struct Sender {
    /// The number of the batch that is sent next, or again.
    next: u64,
    /// The first row of each batch that was acknowledged, and how many rows it has in each collection.
    acknowledged: BTreeMap<i64, (usize, &'static [&'static str])>,
    /// The batch that is sent until there is an answer.
    pending: Option<Pending>,
    /// Rows that nobody numbered, whatever became of them.
    unnumbered: BTreeSet<i64>,
}

#[derive(Clone, Copy)]
struct Pending {
    first_row: i64,
    row_count: usize,
    names: &'static [&'static str],
}

/// Lives and crashes of a world.
pub(crate) fn run_with_power_cuts(seed: u64) {
    let world = World::new(seed);
    let mut harness = Harness::new(world.clone());
    let mut sender = Sender { next: 1, ..Sender::default() };
    for _ in 0..LIVES {
        harness.open();
        sender.check(&harness, Whole::PendingOrNot);
        world.fault_at(1 + world.choose(700), Fault::PowerCut);
        for _ in 0..OPERATIONS_PER_LIFE {
            if world.is_without_power() {
                break;
            }
            match world.choose(8) {
                0..=3 => sender.send(&mut harness, &world),
                4 => sender.repeat(&mut harness, &world),
                5 => sender.write_unnumbered(&mut harness),
                6 => harness.flush(),
                _ => harness.step_until_idle(),
            }
        }
        harness.crash();
    }
    harness.open();
    world.no_fault();
    while sender.pending.is_some() {
        harness.step_until_idle();
        world.advance(Duration::from_secs(40));
        sender.send(&mut harness, &world);
    }
    sender.check(&harness, Whole::All);
}

/// What a check looks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whole {
    All,
    PendingOrNot,
}

impl Sender {
    /// Sends the next batch, or the one again that has no answer.
    fn send(&mut self, harness: &mut Harness, world: &World) {
        let pending = *self.pending.get_or_insert_with(|| {
            let (names, row_count): (&'static [&'static str], usize) = match world.choose(3) {
                0 => (&["a"], 90),
                1 => (&["a", "b"], 5),
                _ => (&["b"], 1),
            };
            Pending { first_row: harness.reserve_rows(row_count), row_count, names }
        });
        if Self::submit(harness, world, self.next, pending) {
            self.acknowledged.insert(pending.first_row, (pending.row_count, pending.names));
            self.pending = None;
            self.next += 1;
        }
    }

    /// Sends a batch that was acknowledged, as of long ago or as of now: nothing changes.
    fn repeat(&mut self, harness: &mut Harness, world: &World) {
        let back = 1 + world.choose(WRITTEN_LONG_AGO);
        let Some(number) = self.next.checked_sub(back).filter(|number| *number > 0) else { return };
        let known = self.acknowledged.iter().nth_back(usize::try_from(back - 1).unwrap());
        let Some((first_row, (row_count, names))) = known else { return };
        Self::submit(harness, world, number, Pending { first_row: *first_row, row_count: *row_count, names });
    }

    /// Rows that are not looked at in the end.
    fn write_unnumbered(&mut self, harness: &mut Harness) {
        let first_row = harness.reserve_rows(20);
        self.unnumbered.extend(first_row..first_row + 20);
        let write = Write::new(harness.id("a"), harness.batch_of("a", first_row, 20, 1));
        // The next step of the log takes it, or nobody.
        drop(harness.engine().write(vec![write], Durability::Synced));
    }

    /// Whether the batch is known to be durable.
    fn submit(harness: &Harness, world: &World, sequence: u64, batch: Pending) -> bool {
        let number = BatchNumber::new("p", sequence).unwrap();
        let engine = harness.engine();
        let submitted = if batch.row_count > 60 {
            let mut bulk = engine.bulk_write(harness.id(batch.names[0])).unwrap();
            for part in 0..3 {
                let (first, rows) = (batch.first_row + 30 * part, batch.row_count / 3);
                if bulk.write(harness.batch_of(batch.names[0], first, rows, 200)).is_err() {
                    return false;
                }
            }
            bulk.finish_numbered(Durability::Synced, Some(&number)).ok().flatten()
        } else {
            let write = |name: &&str| {
                Write::new(harness.id(name), harness.batch_of(name, batch.first_row, batch.row_count, 1))
            };
            let writes = batch.names.iter().map(write).collect();
            engine.try_write_numbered(writes, Durability::Synced, Some(&number)).ok()
        };
        let Some(Submitted::Now(mut ticket) | Submitted::Before(mut ticket)) = submitted else {
            return false;
        };
        loop {
            if let Some(outcome) = ticket.poll() {
                return outcome.is_ok();
            }
            if world.is_without_power() || !engine.step() {
                return matches!(ticket.poll(), Some(Ok(())));
            }
        }
    }

    /// Every batch is there once; the one without an answer, too, or not at all.
    fn check(&self, harness: &Harness, whole: Whole) {
        let found = harness.found();
        let mut expected: BTreeMap<(String, i64), usize> = BTreeMap::new();
        for (first_row, (row_count, names)) in &self.acknowledged {
            expected.extend(rows_of(*first_row, *row_count, names).into_iter().map(|row| (row, 1)));
        }
        if let Some(Pending { first_row, row_count, names }) = self.pending {
            let rows = rows_of(first_row, row_count, names);
            let there = rows.iter().filter(|row| found.contains_key(*row)).count();
            assert!(there == 0 || (there == rows.len() && whole == Whole::PendingOrNot), "a part of a batch");
            if there > 0 {
                expected.extend(rows.into_iter().map(|row| (row, 1)));
            }
        }
        let numbered: BTreeMap<_, _> =
            found.into_iter().filter(|((_, row), _)| !self.unnumbered.contains(row)).collect();
        assert!(numbered == expected, "{} rows were found, {} expected", numbered.len(), expected.len());
    }
}

/// The rows of a batch, by collection and number.
fn rows_of(first_row: i64, row_count: usize, names: &[&str]) -> Vec<(String, i64)> {
    let in_one = |name: &str| {
        let name = name.to_owned();
        (first_row..).take(row_count).map(move |row| (name.clone(), row))
    };
    names.iter().flat_map(|name| in_one(name)).collect()
}
