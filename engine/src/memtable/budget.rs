//! How much memory memtables may take, and who waits when they take more.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// The memory of all memtables of a process.
#[derive(Debug)]
pub struct Budget {
    used: AtomicUsize,
    bytes_max: usize,
    /// For writers that wait in a task, and for those that wait in a thread.
    freed: Notify,
    freed_lock: Mutex<()>,
    freed_threads: Condvar,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Arc<Budget> {
        Arc::new(Budget {
            used: AtomicUsize::new(0),
            bytes_max,
            freed: Notify::new(),
            freed_lock: Mutex::new(()),
            freed_threads: Condvar::new(),
        })
    }

    fn fits(&self, used: usize, bytes: usize) -> bool {
        used == 0 || used.saturating_add(bytes) <= self.bytes_max
    }

    /// Takes memory if there is enough left. A write that is larger than the whole budget is let in
    /// when nothing else is there, or it could never be made.
    pub(crate) fn try_charge(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let taken = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
            self.fits(used, bytes).then(|| used.saturating_add(bytes))
        });
        taken.is_ok().then(|| Charge { budget: Arc::clone(self), bytes })
    }

    /// Takes memory that is in use already, whether or not there is enough left.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Charge {
        self.used.fetch_add(bytes, Ordering::AcqRel);
        Charge { budget: Arc::clone(self), bytes }
    }

    /// What memtables take now.
    pub fn used_bytes(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }

    /// What they may take.
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Completes when this much memory is free, or was for a moment.
    pub async fn available(&self, bytes: usize) {
        loop {
            // Registered before looking, so that nothing given back in between is missed.
            let freed = self.freed.notified();
            if self.fits(self.used_bytes(), bytes) {
                return;
            }
            freed.await;
        }
    }

    /// Waits in the thread until this much memory is free, at most so long; says whether it is.
    pub(crate) fn wait_available(&self, bytes: usize, wait_max: Duration) -> bool {
        let lock = self.freed_lock.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = |_: &mut ()| !self.fits(self.used_bytes(), bytes);
        let waited = self.freed_threads.wait_timeout_while(lock, wait_max, waiting);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            self.used.fetch_sub(bytes, Ordering::AcqRel);
            self.freed.notify_waiters();
            // Taken so that a thread between looking and waiting is not missed.
            drop(self.freed_lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.freed_threads.notify_all();
        }
    }
}

/// Memory that was taken; given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A second charge for the same memory, for as long as both views of it live: counted twice for
    /// a moment rather than not at all.
    pub(crate) fn split(&self) -> Charge {
        self.budget.charge(self.bytes)
    }

    /// A charge on the same budget for other memory.
    pub(crate) fn replacement(&self, bytes: usize) -> Charge {
        self.budget.charge(bytes)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_refused_above_the_limit_and_there_again_after() {
        let budget = Budget::new(100);
        let first = budget.try_charge(80).unwrap();
        assert!(budget.try_charge(21).is_none());
        let second = budget.try_charge(20).unwrap();
        drop(first);
        assert_eq!((budget.used_bytes(), second.bytes()), (20, 20));
        drop(second);
        assert!(budget.try_charge(1000).is_some(), "a huge write passes when nothing else is there");
    }
}
