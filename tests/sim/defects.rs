//! Shows that the simulation notices what it is there to notice. A target of its own: the defects
//! are put in for the whole process.

#[allow(dead_code, reason = "shared with the other target")]
mod harness;
#[allow(dead_code, reason = "shared with the other target")]
mod keyed;
mod model;

use crate::harness::{run_with_power_cuts, seeds};

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
