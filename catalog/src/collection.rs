//! Collections: what SQL calls tables.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{CollectionId, ColumnId, Lsn, NamespaceId, RoleId};
use crate::schema::{Column, Schema};

/// A unit in which lengths of time are counted.
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

/// A length of time, as in `partition_by = '1 day'` or `ttl = '3 months'`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CalendarInterval {
    /// How many of the unit.
    pub count: NonZeroU32,
    /// The unit.
    pub unit: IntervalUnit,
}

/// As it is written: `1 day`, `90 days`.
impl fmt::Display for CalendarInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            IntervalUnit::Second => "second",
            IntervalUnit::Minute => "minute",
            IntervalUnit::Hour => "hour",
            IntervalUnit::Day => "day",
            IntervalUnit::Week => "week",
            IntervalUnit::Month => "month",
            IntervalUnit::Year => "year",
        };
        let plural = if self.count.get() == 1 { "" } else { "s" };
        write!(f, "{} {unit}{plural}", self.count)
    }
}

/// What a time-series collection is declared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeseriesOptions {
    /// The timestamp column that orders rows and chooses their partition.
    pub time_key: ColumnId,
    /// The length of a partition.
    pub partition_by: CalendarInterval,
    /// The columns that name a series; segments are sorted by them, then by time.
    pub series_key: Vec<ColumnId>,
    /// Of rows that are equal in these columns, NULLs included, only the one that was committed last
    /// is there. Empty: all rows are.
    pub dedup_key: Vec<ColumnId>,
    /// A partition that ended this long ago goes.
    pub ttl: Option<CalendarInterval>,
    /// A partition that ended this long ago gets no more rows, as a rule, and is merged.
    pub merge_after: CalendarInterval,
    /// The most texts that a symbol column's dictionary holds; other texts are kept as they are.
    pub symbol_limit: NonZeroU32,
}

/// [`TimeseriesOptions::merge_after`] where nothing is said.
pub const MERGE_AFTER_DEFAULT: CalendarInterval =
    CalendarInterval { count: NonZeroU32::MIN, unit: IntervalUnit::Hour };

/// [`TimeseriesOptions::symbol_limit`] where nothing is said.
pub const SYMBOL_LIMIT_DEFAULT: NonZeroU32 = NonZeroU32::new(1_000_000).expect("it is not zero");

impl TimeseriesOptions {
    /// What holds where no more is said than time key and partitions.
    pub fn new(time_key: ColumnId, partition_by: CalendarInterval) -> TimeseriesOptions {
        TimeseriesOptions {
            time_key,
            partition_by,
            series_key: Vec::new(),
            dedup_key: Vec::new(),
            ttl: None,
            merge_after: MERGE_AFTER_DEFAULT,
            symbol_limit: SYMBOL_LIMIT_DEFAULT,
        }
    }

    /// Whether the column is part of a key, which it must stay.
    pub fn is_key(&self, column: ColumnId) -> bool {
        self.time_key == column || self.series_key.contains(&column) || self.dedup_key.contains(&column)
    }
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
