//! Memory for queries: each has a limit of its own, and all together have one.
//!
//! Operators that can spill share their query's limit fairly, so that one of them does not starve
//! the others; what cannot be granted makes an operator spill, or ends the query with 53200.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use datafusion::common::{DataFusionError, Result};
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};

/// The memory of all queries.
#[derive(Debug)]
pub struct QueryMemory {
    used: AtomicUsize,
    bytes_max: usize,
}

impl QueryMemory {
    /// So much for all queries.
    pub fn new(bytes_max: usize) -> Arc<QueryMemory> {
        Arc::new(QueryMemory { used: AtomicUsize::new(0), bytes_max })
    }

    /// What queries use now.
    pub fn used_bytes(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn try_grow(&self, bytes: usize) -> Result<()> {
        let grown = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, |used| {
            used.checked_add(bytes).filter(|used| *used <= self.bytes_max)
        });
        grown.map(|_| ()).map_err(|used| {
            DataFusionError::ResourcesExhausted(format!(
                "all queries together use {used} of {} bytes, {bytes} more are needed",
                self.bytes_max
            ))
        })
    }
}

/// The memory of one query.
#[derive(Debug)]
pub struct QueryPool {
    all: Arc<QueryMemory>,
    own: FairSpillPool,
    bytes_max: usize,
}

impl QueryPool {
    /// A pool for one query.
    pub fn new(all: Arc<QueryMemory>, bytes_max: usize) -> QueryPool {
        QueryPool { all, own: FairSpillPool::new(bytes_max), bytes_max }
    }
}

impl fmt::Display for QueryPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "query({} bytes)", self.bytes_max)
    }
}

impl MemoryPool for QueryPool {
    fn name(&self) -> &str {
        "query"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.own.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.own.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.own.grow(reservation, additional);
        self.all.used.fetch_add(additional, Ordering::AcqRel);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.own.shrink(reservation, shrink);
        self.all.used.fetch_sub(shrink, Ordering::AcqRel);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.own.try_grow(reservation, additional)?;
        self.all.try_grow(additional).inspect_err(|_| self.own.shrink(reservation, additional))
    }

    fn reserved(&self) -> usize {
        self.own.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_held_to_its_own_limit_and_to_that_of_all() {
        let all = QueryMemory::new(100);
        let pool = |bytes| -> Arc<dyn MemoryPool> { Arc::new(QueryPool::new(Arc::clone(&all), bytes)) };
        let (first, second) = (pool(80), pool(80));
        let first = MemoryConsumer::new("first").register(&first);
        let second = MemoryConsumer::new("second").register(&second);
        assert!(first.try_grow(81).is_err());
        first.try_grow(60).unwrap();
        assert!(second.try_grow(41).is_err());
        second.try_grow(40).unwrap();
        assert_eq!(all.used_bytes(), 100);
        drop((first, second));
        assert_eq!(all.used_bytes(), 0);
    }
}
