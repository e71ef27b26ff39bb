//! Collections: what SQL calls tables.

use std::num::NonZeroU32;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{CollectionId, ColumnId, Lsn, NamespaceId, RoleId};
use crate::schema::{Column, Schema};

/// A unit in which the length of partitions is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum IntervalUnit {
    /// 60 of them are a minute.
    Second,
    /// 60 s.
    Minute,
    /// 3,600 s.
    Hour,
    /// 86,400 s, in UTC.
    Day,
    /// Seven days, from Monday.
    Week,
    /// A month of the calendar.
    Month,
    /// A year of the calendar.
    Year,
}

/// How long a partition is: `partition_by = '1 day'`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PartitionInterval {
    /// How many of the unit.
    pub count: NonZeroU32,
    /// The unit.
    pub unit: IntervalUnit,
}

/// What a time-series collection is declared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeseriesOptions {
    /// The timestamp column that orders rows and chooses their partition.
    pub time_key: ColumnId,
    /// The length of a partition.
    pub partition_by: PartitionInterval,
    /// The columns that name a series; segments are sorted by them, then by time.
    pub series_key: Vec<ColumnId>,
}

/// The kind of a collection, with what it is declared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollectionKind {
    /// Rows in time, partitioned by time.
    Timeseries(TimeseriesOptions),
}

/// One collection as the catalog knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// Its identity for ever.
    pub id: CollectionId,
    /// Where its name is looked up.
    pub namespace: NamespaceId,
    /// Its name, unique within the namespace.
    pub name: String,
    /// Who owns it.
    pub owner: RoleId,
    /// Its columns.
    pub schema: Arc<Schema>,
    /// Its kind.
    pub kind: CollectionKind,
    /// Every commit up to this position is in segments; the log below it is not needed for this
    /// collection, and replay starts above it.
    pub flushed_lsn: Lsn,
}

impl Collection {
    /// The options of a time-series collection.
    pub fn timeseries(&self) -> &TimeseriesOptions {
        match &self.kind {
            CollectionKind::Timeseries(options) => options,
        }
    }

    /// The time key's column.
    pub fn time_column(&self) -> &Column {
        let id = self.timeseries().time_key;
        self.schema.column(id).expect("an invariant of the catalog: the time key is a column")
    }
}
