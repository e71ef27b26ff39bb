//! Producers: writers that number their batches, so that one sent again is not applied again.

use crate::ids::Lsn;

/// The last batch of a producer that was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Producer {
    /// Its number; numbers rise.
    pub sequence: u64,
    /// The commit that applied it.
    pub lsn: Lsn,
    /// The system time of that commit, in µs since 1970-01-01 UTC.
    pub system_time_us: i64,
}
