//! The engine in a simulated world, against a model.
//!
//! A run makes random operations (writes of one row and of many, to one collection and to two at
//! once, bulk writes that are finished or given up, flushes, merges, the passing of time) until the power
//! goes, at a point the seed chooses, or an operation on the disk fails. Then the world comes back
//! and the engine is opened again, possibly with another power cut on the way. What it holds must be
//! what the model says: every acknowledged commit once and whole; of the commits that were under
//! way, each whole or not at all; nothing else. After that the run goes on in the same world.

#[allow(dead_code, reason = "shared with the other target")]
mod harness;
#[allow(dead_code, reason = "shared with the other target")]
mod keyed;
mod model;
mod numbered;

use crate::harness::{Harness, places_where, run_with_power_cuts, seeds};
use tidemark_engine::env::sim::{Fault, World};

/// Steps of a run that is repeated once for each of its operations on the disk.
const STEPS: usize = 15;

#[test]
fn power_cuts_at_random_points_lose_and_double_nothing() {
    for seed in 0..seeds() {
        run_with_power_cuts(seed);
    }
}

#[test]
fn the_last_row_of_each_key_is_there_after_power_cuts() {
    for seed in 0..seeds() {
        keyed::run_with_power_cuts(seed);
    }
}

#[test]
fn a_batch_that_is_sent_again_is_there_once_after_power_cuts() {
    for seed in 0..seeds() {
        numbered::run_with_power_cuts(seed);
    }
}

#[test]
fn every_sync_and_write_of_a_run_may_be_the_last() {
    // The same run again and again, with the power going one operation later each time.
    for seed in [77, 79, 80] {
        for operation in 1.. {
            let world = World::new(seed);
            let mut harness = Harness::new(world.clone());
            harness.open();
            world.fault_at(operation, Fault::PowerCut);
            harness.run(STEPS);
            let finished = !world.is_without_power();
            harness.crash();
            harness.open();
            harness.check();
            if finished {
                assert!(operation > 100, "a run has many operations, this had {operation}");
                break;
            }
        }
    }
}

#[test]
fn every_failing_write_of_a_run_is_survived() {
    for fault in [Fault::Error, Fault::ErrorFromThenOn] {
        for operation in 1.. {
            let world = World::new(78);
            let mut harness = Harness::new(world.clone());
            harness.open();
            let start = world.operations();
            world.fault_at(operation, fault);
            harness.run(STEPS);
            let finished = world.operations() - start < operation;
            world.no_fault();
            harness.crash();
            harness.open();
            harness.check();
            if finished {
                break;
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [3, 1_000_003] {
        assert_eq!(run_with_power_cuts(seed), run_with_power_cuts(seed), "seed {seed}");
    }
}

#[test]
fn a_full_disk_heals() {
    for seed in 0..seeds() / 10 {
        let world = World::new(seed);
        let mut harness = Harness::new(world.clone());
        harness.open();
        harness.run(20);
        world.set_capacity(Some(world.used_bytes() + world.choose(40_000)));
        harness.run(60);
        harness.check();
        world.set_capacity(None);
        world.advance(std::time::Duration::from_secs(60));
        harness.run(20);
        harness.check();
        harness.crash();
        harness.open();
        harness.check();
    }
}

#[test]
fn rows_are_deleted_on_a_full_disk() {
    let world = World::new(1);
    let mut harness = Harness::new(world.clone());
    harness.open();
    harness.write_durably("a", 50);
    harness.flush_of("a");
    world.set_capacity(Some(world.used_bytes()));
    let delete = harness.engine().begin_delete(harness.id("a")).unwrap();
    let places = places_where(&delete, |number| number % 2 == 0).unwrap();
    assert_eq!(delete.commit(places).unwrap(), 25);
    harness.crash();
    harness.open();
    assert_eq!(harness.found().len(), 25);
}

#[test]
fn metamorphic_memtable_sizes_give_the_same_rows() {
    let rows = |bytes| {
        let mut harness = Harness::new(World::new(5)).with_memtable_bytes(bytes);
        harness.open();
        harness.run(200);
        harness.check();
        harness.crash();
        harness.open();
        harness.rows()
    };
    let small = rows(2_000);
    assert!(small.len() > 100);
    // Not by `assert_eq`, which would print thousands of rows.
    assert!(small == rows(50_000), "memtables of 50 kB give other rows");
    assert!(small == rows(100_000_000), "memtables of 100 MB give other rows");
}
