//! The engine in a simulated world, against a model.
//!
//! A run makes random operations (writes of one row and of many, to one collection and to two at
//! once, bulk writes that are finished or given up, columns that come and go, flushes, merges, the
//! passing of time) until the power
//! goes, at a point the seed chooses, or an operation on the disk fails. Then the world comes back
//! and the engine is opened again, possibly with another power cut on the way. What it holds must be
//! what the model says: every acknowledged commit once and whole; of the commits that were under
//! way, each whole or not at all; nothing else. After that the run goes on in the same world.

mod alter;
mod evolution;
#[allow(dead_code, reason = "shared with the other target")]
mod harness;
#[allow(dead_code, reason = "shared with the other target")]
mod keyed;
mod logs;
mod model;
mod numbered;
mod symbols;

use crate::harness::{Harness, places_where, run_with_power_cuts, seeds};
use crate::logs::{Logs, has_token};
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
fn searching_few_lines_finds_what_is_there() {
    let (mut asked, mut pruned) = (0, 0);
    for seed in 0..seeds().div_ceil(20) {
        let world = World::new(seed);
        let mut logs = Logs::new(world.clone(), 8);
        for _ in 0..4 {
            logs.write(1 + usize::try_from(world.choose(60)).unwrap());
            match world.choose(3) {
                0 => logs.flush(),
                1 => logs.merge(),
                _ => {}
            }
            let (more_asked, more_pruned) = logs.check(20);
            asked += more_asked;
            pruned += more_pruned;
        }
    }
    assert!(pruned > asked / 2, "{pruned} of {asked} blocks were passed over");
}

#[test]
fn a_rare_token_among_many_lines_is_found_without_reading_the_others() {
    let mut logs = Logs::new(World::new(7), 8192);
    for _ in 0..3 {
        logs.write(60_000);
        logs.flush();
    }
    logs.write(20_000);
    let id_of = |row: usize| has_token(&format!("{row:06x}"));
    // Each of three segments has eight blocks; the last lines are in memory.
    let check = |logs: &Logs, blocks: usize| {
        for row in [1, 59_998, 60_000, 123_456, 179_998, 180_001, 199_990] {
            let row = logs.row_with_line(row);
            let (found, statistics) = logs.find(id_of(row));
            assert_eq!(found, [row].into(), "row {row}");
            assert_eq!(statistics.token_blocks, blocks);
            let read = statistics.token_blocks - statistics.token_blocks_pruned;
            assert!(read <= 2, "{read} of {blocks} blocks are read for row {row}");
        }
        let (found, statistics) = logs.find(has_token("absent"));
        assert_eq!((found.len(), statistics.token_blocks), (0, blocks));
        assert!(statistics.token_blocks_pruned >= blocks - 1);
        let (asked, pruned) = logs.check(40);
        assert!(pruned > asked / 2, "{pruned} of {asked} blocks were passed over");
    };
    check(&logs, 24);
    // Filters are made anew by a merge, of one segment of 180,000 rows.
    logs.merge();
    check(&logs, 22);
}

#[test]
fn segments_from_before_there_were_filters_are_read_whole() {
    let mut logs = Logs::new(World::new(3), 8);
    fail::cfg("segment::without_token_filters", "return").unwrap();
    logs.write(100);
    logs.flush();
    assert_eq!(logs.check(50), (0, 0));
    fail::remove("segment::without_token_filters");
    logs.write(100);
    logs.flush();
    let row = logs.row_with_line(10);
    let (found, statistics) = logs.find(has_token(&format!("{row:06x}")));
    // Thirteen blocks of the second segment are asked about, those of the first are looked at.
    assert_eq!((found, statistics.token_blocks), ([row].into(), 13));
    logs.check(50);
    logs.merge();
    let (found, statistics) = logs.find(has_token(&format!("{row:06x}")));
    assert_eq!((found, statistics.token_blocks), ([row].into(), 25));
    logs.check(50);
}

#[test]
fn every_sync_and_write_of_a_run_may_be_the_last() {
    // The same run again and again, with the power going one operation later each time.
    // Among them these flush, merge, change columns, and do all of it.
    for seed in [77, 113, 123, 127] {
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
