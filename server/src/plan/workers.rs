//! Threads that share out the parts of a scan, for operators that read it by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{DataFusionError, Result};

/// Tells threads that nobody waits for them any more.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The numbers of the parts that a thread takes, one after another.
pub(crate) struct Parts {
    thread: usize,
    next: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    count: usize,
}

impl Parts {
    /// The number of the thread, from 0.
    pub(crate) fn thread(&self) -> usize {
        self.thread
    }
}

impl Iterator for Parts {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        (at < self.count && !self.stop.load(Ordering::Relaxed)).then_some(at)
    }
}

/// Runs the work in so many threads, each with the parts that no other took; what each made of them.
///
/// Dropping the future stops the threads before their next part.
///
/// # Errors
/// One of the threads fails.
pub(crate) async fn share_out<T: Send + 'static>(
    threads: usize,
    part_count: usize,
    work: impl Fn(Parts) -> Result<T> + Send + Sync + 'static,
) -> Result<Vec<T>> {
    let stop = StopOnDrop(Arc::default());
    let next = Arc::new(AtomicUsize::new(0));
    let work = Arc::new(work);
    let tasks: Vec<_> = (0..threads.min(part_count).max(1))
        .map(|thread| {
            let (next, stop) = (Arc::clone(&next), Arc::clone(&stop.0));
            let parts = Parts { thread, next, stop, count: part_count };
            let work = Arc::clone(&work);
            SpawnedTask::spawn_blocking(move || work(parts))
        })
        .collect();
    let mut made = Vec::with_capacity(tasks.len());
    for task in tasks {
        made.push(task.await.map_err(|error| DataFusionError::External(Box::new(error)))??);
    }
    Ok(made)
}
