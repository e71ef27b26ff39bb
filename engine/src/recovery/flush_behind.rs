//! Flushing while the log is still being read.
//!
//! One flush runs at a time, on a thread of its own, of memtables that are frozen: replay goes on filling the
//! next ones meanwhile. Where there are no threads, as in a simulated world, it runs at once.
//!
//! No thread outlives this: an opening that fails waits for what it started, since the data directory
//! is another's to open after it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::collection::CollectionRuntime;
use crate::engine::Inner;
use crate::env::Join;
use crate::error::{JobError, OpenError};
use crate::jobs::flush;

/// Flushes behind a replay.
pub(super) struct FlushBehind<'a> {
    engine: &'a Arc<Inner>,
    under_way: Option<UnderWay>,
}

struct UnderWay {
    thread: Box<dyn Join>,
    outcome: Outcome,
}

/// What a flush came to, once its thread has ended.
type Outcome = Arc<Mutex<Option<Result<(), JobError>>>>;

impl<'a> FlushBehind<'a> {
    pub(super) fn new(engine: &'a Arc<Inner>) -> FlushBehind<'a> {
        FlushBehind { engine, under_way: None }
    }

    /// Freezes the memtables of these collections and flushes them, after the flush before.
    ///
    /// # Errors
    /// The flush before failed, or this one did where it ran at once.
    pub(super) fn start(&mut self, runtimes: Vec<Arc<CollectionRuntime>>) -> Result<(), OpenError> {
        self.wait()?;
        for runtime in &runtimes {
            runtime.lock().freeze();
        }
        let Some(spawn) = &self.engine.env.spawn else {
            return flush_each(self.engine, &runtimes).map_err(failed);
        };
        let outcome = Outcome::default();
        let (engine, told) = (Arc::clone(self.engine), Arc::clone(&outcome));
        let body = move || {
            let flushed = flush_each(&engine, &runtimes);
            *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(flushed);
        };
        let thread = spawn.spawn("replay-flush", Box::new(body)).map_err(OpenError::Spawn)?;
        self.under_way = Some(UnderWay { thread, outcome });
        Ok(())
    }

    /// Waits for the flush under way.
    ///
    /// # Errors
    /// It failed.
    pub(super) fn wait(&mut self) -> Result<(), OpenError> {
        let Some(UnderWay { thread, outcome }) = self.under_way.take() else { return Ok(()) };
        let ended = thread.join();
        let outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
        assert!(ended, "a flush during replay ended by a panic");
        outcome.expect("it ended").map_err(failed)
    }
}

impl Drop for FlushBehind<'_> {
    fn drop(&mut self) {
        let Some(UnderWay { thread, .. }) = self.under_way.take() else { return };
        // The opening has failed already, and says why.
        let ended = thread.join();
        tracing::debug!(ended, "waited for a flush of an opening that failed");
    }
}

fn flush_each(engine: &Inner, runtimes: &[Arc<CollectionRuntime>]) -> Result<(), JobError> {
    runtimes.iter().try_for_each(|runtime| flush::flush_all(engine, runtime))
}

/// What an opening says of a flush that failed.
pub(super) fn failed(error: JobError) -> OpenError {
    OpenError::Flush(Box::new(error))
}
