//! Queries that run, for which background work makes room.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many queries run.
#[derive(Debug, Default)]
pub(crate) struct RunningQueries(AtomicUsize);

impl RunningQueries {
    pub(crate) fn begin(queries: &Arc<RunningQueries>) -> QueryGuard {
        queries.0.fetch_add(1, Ordering::Relaxed);
        QueryGuard(Arc::clone(queries))
    }

    pub(crate) fn are_running(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// A query that runs, until this is dropped.
#[derive(Debug)]
pub struct QueryGuard(Arc<RunningQueries>);

impl Drop for QueryGuard {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}
