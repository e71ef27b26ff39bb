//! Partitions: the time ranges that a time-series collection is divided into.

use serde::{Deserialize, Serialize};

use crate::ids::{CollectionId, PartitionId};

/// A half-open range of time, `start <= t < end`, in the unit of the collection's time key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TimeRange {
    /// The first instant inside.
    pub start: i64,
    /// The first instant after it.
    pub end: i64,
}

impl TimeRange {
    /// Whether the instant lies inside.
    pub fn contains(&self, time: i64) -> bool {
        self.start <= time && time < self.end
    }

    /// Whether both ranges have an instant in common.
    pub fn overlaps(&self, other: &TimeRange) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// Where a partition stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PartitionState {
    /// Rows of the present arrive in it.
    Active,
}

/// One partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Its identity for ever.
    pub id: PartitionId,
    /// Whose it is.
    pub collection: CollectionId,
    /// The time it covers.
    pub range: TimeRange,
    /// Where it stands.
    pub state: PartitionState,
}
