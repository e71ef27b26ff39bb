//! How fast a job may go that nobody waits for.
//!
//! Between the steps of its work the job waits: as long as it worked while queries run, so that it
//! takes half of a core from them and no more; and so long that it does not read faster than it is
//! allowed to. It goes on at once when the engine shuts down.

use std::cell::Cell;
use std::time::Duration;

use crate::engine::Inner;

/// The longest wait for queries, after which those that run are counted again.
const WAIT_MAX: Duration = Duration::from_millis(500);

/// Paces one run of a job.
pub(crate) struct Pace<'a> {
    engine: &'a Inner,
    step_bytes: u64,
    last: Cell<Option<Duration>>,
}

impl<'a> Pace<'a> {
    /// For steps that read about so many bytes.
    pub(crate) fn new(engine: &'a Inner, step_bytes: u64) -> Pace<'a> {
        Pace { engine, step_bytes, last: Cell::new(None) }
    }

    /// A step is over, or the first one begins.
    pub(crate) fn step(&self) {
        let clock = &self.engine.env.clock;
        let now = clock.monotonic();
        if let Some(last) = self.last.get()
            && self.engine.env.spawn.is_some()
        {
            let worked = now.saturating_sub(last);
            let for_queries = if self.engine.queries.are_running() { worked } else { Duration::ZERO };
            let wait = for_queries.min(WAIT_MAX).max(self.wait_for_rate(worked));
            self.wait_until(now + wait);
        }
        self.last.set(Some(clock.monotonic()));
    }

    fn wait_until(&self, end: Duration) {
        while !self.engine.executor.is_stopping() {
            let left = end.saturating_sub(self.engine.env.clock.monotonic());
            if left.is_zero() {
                return;
            }
            self.engine.executor.pause(left.min(WAIT_MAX));
        }
    }

    fn wait_for_rate(&self, worked: Duration) -> Duration {
        let Some(rate) = self.engine.options.merge_bytes_per_second else { return Duration::ZERO };
        let allowed_us = u128::from(self.step_bytes) * 1_000_000 / u128::from(rate.get());
        let allowed = Duration::from_micros(u64::try_from(allowed_us).unwrap_or(u64::MAX));
        allowed.saturating_sub(worked)
    }
}
