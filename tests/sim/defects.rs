//! Shows that the simulation notices what it is there to notice. A target of its own: the defects
//! are put in for the whole process.

mod evolution;
#[allow(dead_code, reason = "shared with the other target")]
mod harness;
#[allow(dead_code, reason = "shared with the other target")]
mod keyed;
mod model;

use std::collections::BTreeSet;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidemark_engine::env::sim::World;
use tidemark_tests::failpoints;

use crate::harness::{Harness, run_with_power_cuts, seeds};

/// A check that cannot fail shows nothing: with each of these defects put in, it must fail.
#[test]
fn seeded_defects_are_caught() {
    let lives = |seed| {
        run_with_power_cuts(seed);
    };
    for defect in ["wal::skip_sync", "wal::acknowledge_before_sync", "flush::forget_flushed_lsn"] {
        assert!(is_caught(defect, lives), "{defect} goes unnoticed");
    }
    assert!(is_caught("flush::forget_replaced", keyed::run_with_power_cuts));
    assert!(is_caught("merge::forget_replaced", keyed::replace_rows_while_they_are_merged));
}

#[test]
fn rows_are_replaced_while_they_are_merged() {
    let scenario = fail::FailScenario::setup();
    (0..20).for_each(keyed::replace_rows_while_they_are_merged);
    scenario.teardown();
}

/// A merge that publishes while a delete begins must not take the segments away that the delete searches.
#[test]
fn rows_are_deleted_while_a_merge_publishes() {
    let scenario = fail::FailScenario::setup();
    let world = World::new(1);
    let mut harness = Harness::new(world);
    harness.open();
    for _ in 0..3 {
        harness.write_durably("a", 50);
        harness.flush_of("a");
    }
    let (engine, id) = (harness.engine(), harness.id("a"));
    let (publishes, has_published) = channel();
    let (begun, has_begun) = channel();
    let has_begun = Mutex::new(has_begun);
    let act = move || {
        publishes.send(()).unwrap();
        // It begins only when the merge has published, which waits for this.
        let begun = has_begun.lock().unwrap().recv_timeout(Duration::from_millis(100));
        assert!(begun.is_err(), "the delete went ahead");
    };
    fail::cfg_callback("merge::after_publish", act).unwrap();
    let deleted = std::thread::scope(|scope| {
        let deleting = scope.spawn(move || {
            has_published.recv().unwrap();
            let delete = engine.begin_delete(id).unwrap();
            // By then nobody may listen any more.
            begun.send(()).ok();
            let places = delete.by_predicates(&[]).unwrap();
            delete.commit(places).unwrap()
        });
        engine.merge(id).unwrap();
        deleting.join().unwrap()
    });
    fail::remove("merge::after_publish");
    assert_eq!(deleted, 150, "every row is deleted");
    scenario.teardown();
}

/// A failpoint at which nobody comes tests nothing.
#[test]
fn every_failpoint_is_reached() {
    let scenario = fail::FailScenario::setup();
    let missing = Arc::new(Mutex::new(failpoints::names()));
    for name in failpoints::names() {
        let missing = Arc::clone(&missing);
        let reached = name.clone();
        let act = move || {
            missing.lock().unwrap().remove(&reached);
        };
        fail::cfg_callback(name, act).unwrap();
    }
    for seed in 0..20 {
        if missing.lock().unwrap().is_empty() {
            break;
        }
        run_with_power_cuts(seed);
        keyed::run_with_power_cuts(seed);
    }
    scenario.teardown();
    assert_eq!(*missing.lock().unwrap(), BTreeSet::new(), "nobody comes to these failpoints");
}

fn is_caught(defect: &str, run: impl Fn(u64)) -> bool {
    let scenario = fail::FailScenario::setup();
    fail::cfg(defect, "return").unwrap();
    let caught = (0..seeds()).any(|seed| {
        let quiet = std::panic::AssertUnwindSafe(|| run(seed));
        std::panic::catch_unwind(quiet).is_err()
    });
    scenario.teardown();
    caught
}
