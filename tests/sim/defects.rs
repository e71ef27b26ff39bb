//! Shows that the simulation notices what it is there to notice. A target of its own: the defects
//! are put in for the whole process.

mod evolution;
#[allow(dead_code, reason = "shared with the other target")]
mod harness;
mod model;

use crate::harness::{run_with_power_cuts, seeds};

/// A check that cannot fail shows nothing: with each of these defects put in, it must fail.
#[test]
fn seeded_defects_are_caught() {
    for defect in ["wal::skip_sync", "wal::acknowledge_before_sync", "flush::forget_flushed_lsn"] {
        assert!(is_caught(defect), "{defect} goes unnoticed");
    }
}

fn is_caught(defect: &str) -> bool {
    let scenario = fail::FailScenario::setup();
    fail::cfg(defect, "return").unwrap();
    let caught = (0..seeds()).any(|seed| {
        let quiet = std::panic::AssertUnwindSafe(|| run_with_power_cuts(seed));
        std::panic::catch_unwind(quiet).is_err()
    });
    scenario.teardown();
    caught
}
