//! Retention: partitions that are over their time to live go.
//!
//! 1. Choose: [`crate::timeseries::retention`], for each collection with a ttl. Nothing is chosen while the
//!    wall clock is not to be trusted ([`ClockWatch`]).
//! 2. One catalog edit drops the partitions with all of their segments.
//! 3. Readers that began before go on; files go when no snapshot pins them.
//!
//! Rows of such a time that are still in memory are flushed into a partition of their own, which goes
//! the next time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidemark_catalog::edit::Change;
use tidemark_catalog::ids::PartitionId;

use crate::collection::CollectionRuntime;
use crate::engine::Inner;
use crate::env::Clock;
use crate::error::JobError;
use crate::jobs::Job;
use crate::manifest::ManifestEdit;
use crate::timeseries::retention::{Moment, cutoff, ended_by};

/// How often partitions are looked at.
pub(crate) const INTERVAL: Duration = Duration::from_secs(60);

/// The wall clock may move by so much against the monotonic one.
const DRIFT_MAX_US: i64 = 3_600_000_000;

/// Partitions that were dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// How many.
    pub partitions: u64,
    /// Rows that were in their segments.
    pub rows: u64,
}

/// Watches whether the wall clock goes with the monotonic one.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    /// The wall clock minus the monotonic one, when the engine was opened.
    offset_us: i64,
    /// Whether it was told already.
    warned: Mutex<bool>,
}

impl ClockWatch {
    pub(crate) fn new(clock: &dyn Clock) -> ClockWatch {
        ClockWatch { offset_us: offset_us(clock), warned: Mutex::new(false) }
    }

    /// Whether the wall clock jumped since the engine was opened, and was not set right again.
    pub(crate) fn is_off(&self, clock: &dyn Clock) -> bool {
        let drift = offset_us(clock).saturating_sub(self.offset_us);
        let is_off = drift.saturating_abs() > DRIFT_MAX_US;
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if is_off && !*warned {
            tracing::warn!(drift_us = drift, "the wall clock jumped: no partition is dropped for its age");
        }
        *warned = is_off;
        is_off
    }
}

fn offset_us(clock: &dyn Clock) -> i64 {
    let monotonic = i64::try_from(clock.monotonic().as_micros()).unwrap_or(i64::MAX);
    clock.wall_us().saturating_sub(monotonic)
}

/// Drops what is over its time to live; on failure it is tried again the next time.
pub(crate) fn run(engine: &Inner) {
    if !engine.clock_watch.is_off(engine.env.clock.as_ref()) {
        for runtime in engine.runtimes() {
            if let Err(error) = retain(engine, &runtime) {
                tracing::warn!(collection = %runtime.id, %error, "cannot drop old partitions");
            }
        }
    }
    engine.executor.submit(Job::Retain, INTERVAL);
}

fn retain(engine: &Inner, runtime: &CollectionRuntime) -> Result<(), JobError> {
    let (collection, newest) = {
        let state = runtime.lock();
        (Arc::clone(&state.collection), state.newest_time())
    };
    let options = collection.timeseries();
    let Some(ttl) = options.ttl else { return Ok(()) };
    let unit = collection.time_column().column_type.time_unit().expect("an invariant of the catalog");
    let now = i128::from(engine.env.clock.wall_us()) * i128::from(unit.per_second()) / 1_000_000;
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let Some(cutoff) = cutoff(ttl, unit, Moment { now, newest }) else { return Ok(()) };
    let dropped = drop_ended_by(engine, runtime, cutoff)?;
    if dropped.partitions > 0 {
        let Dropped { partitions, rows } = dropped;
        tracing::info!(collection = %collection.name, partitions, rows, "dropped partitions over their ttl");
    }
    Ok(())
}

/// Drops the partitions that ended at an instant or before it.
pub(crate) fn drop_ended_by(
    engine: &Inner,
    runtime: &CollectionRuntime,
    instant: i64,
) -> Result<Dropped, JobError> {
    let _publishing = runtime.begin_publishing();
    let view = engine.catalog.view();
    let known = view.collection(runtime.id).ok_or(JobError::Dropped(runtime.id))?;
    let ended: BTreeSet<PartitionId> = ended_by(known.partitions.values(), instant).into_iter().collect();
    if ended.is_empty() {
        return Ok(Dropped::default());
    }
    let mut edit = ManifestEdit::new(engine, runtime, Arc::clone(&known.collection));
    for partition in &ended {
        edit.with(Change::DropPartition { collection: runtime.id, partition: *partition });
    }
    fail::fail_point!("retention::before_publish", |_| Err(JobError::Injected("retention::before_publish")));
    let published = edit.commit()?;
    fail::fail_point!("retention::after_publish");
    let partitions = ended.len() as u64;
    let forget = ended.clone();
    let gone = published.with_dropped(ended).show(|state| {
        state.deletes_published += 1;
        state.published.retain(|partition, _| !forget.contains(partition));
    });
    engine.metrics.partitions_dropped.add(partitions);
    let rows = gone.iter().map(|handle| handle.segment().live_row_count()).sum();
    Ok(Dropped { partitions, rows })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim::World;

    #[test]
    fn a_clock_that_jumped_is_not_trusted() {
        let world = World::new(1);
        let clock = world.env().clock;
        let watch = ClockWatch::new(clock.as_ref());
        let jump = |us: i64| world.set_wall_us(clock.wall_us() + us);
        world.advance(Duration::from_secs(86_400));
        assert!(!watch.is_off(clock.as_ref()), "time passes");
        jump(3_500_000_000);
        assert!(!watch.is_off(clock.as_ref()), "a little is allowed");
        jump(200_000_000);
        assert!(watch.is_off(clock.as_ref()), "more than an hour ahead");
        jump(-7_400_000_000);
        assert!(watch.is_off(clock.as_ref()), "more than an hour behind");
        jump(3_700_000_000);
        assert!(!watch.is_off(clock.as_ref()), "set right again");
    }
}
