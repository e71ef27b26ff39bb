//! Which partitions are over their time to live: a pure function.
//!
//! A partition goes when it ended before `min(now, newest row) - ttl`. The newest row keeps a clock
//! that runs ahead from deleting what is not old by the data's own time; the clock keeps a row from
//! the future from deleting everything before it.

use tidemark_catalog::collection::CalendarInterval;
use tidemark_catalog::ids::PartitionId;
use tidemark_catalog::partition::Partition;
use tidemark_catalog::types::TimeUnit;

use crate::timeseries::partition::earlier_by;

/// What holds now, in the unit of the time key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: i64,
    /// The latest instant of any row; `None` without rows.
    pub(crate) newest: Option<i64>,
}

/// The instant before which partitions must have ended to go.
pub(crate) fn cutoff(ttl: CalendarInterval, unit: TimeUnit, moment: Moment) -> Option<i64> {
    Some(earlier_by(ttl, unit, moment.now.min(moment.newest?)))
}

/// The partitions that ended at an instant or before it.
pub(crate) fn ended_by<'a>(
    partitions: impl Iterator<Item = &'a Partition>,
    instant: i64,
) -> Vec<PartitionId> {
    partitions.filter(|partition| partition.range.end <= instant).map(|partition| partition.id).collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use tidemark_catalog::collection::IntervalUnit;
    use tidemark_catalog::ids::CollectionId;
    use tidemark_catalog::partition::{PartitionState, TimeRange};

    use super::*;

    const DAY: i64 = 86_400_000_000;

    /// The days, of ten from 1970-01-01 on, whose partitions go with a ttl of three days.
    fn gone(now_days: i64, newest_days: Option<i64>) -> Vec<u64> {
        let partition = |day: u64| {
            let start = i64::try_from(day).unwrap() * DAY;
            Partition {
                id: PartitionId(day),
                collection: CollectionId(1),
                range: TimeRange { start, end: start + DAY },
                state: PartitionState::Active,
            }
        };
        let partitions: Vec<Partition> = (0..10).map(partition).collect();
        let ttl = CalendarInterval { count: NonZeroU32::new(3).unwrap(), unit: IntervalUnit::Day };
        let moment = Moment { now: now_days * DAY, newest: newest_days.map(|days| days * DAY) };
        let cutoff = cutoff(ttl, TimeUnit::Microsecond, moment);
        let ended = cutoff.map(|cutoff| ended_by(partitions.iter(), cutoff)).unwrap_or_default();
        ended.into_iter().map(|id| id.0).collect()
    }

    #[test]
    fn partitions_go_when_clock_and_data_say_so() {
        let cases = [
            ("in time", 8, Some(8), vec![0, 1, 2, 3, 4]),
            ("a row from the future", 8, Some(4000), vec![0, 1, 2, 3, 4]),
            ("a clock that jumped", 4000, Some(8), vec![0, 1, 2, 3, 4]),
            ("a clock that went back", -4000, Some(8), vec![]),
            ("nothing has come for long", 9, Some(3), vec![]),
            ("no rows", 9, None, vec![]),
        ];
        for (what, now, newest, expected) in cases {
            assert_eq!(gone(now, newest), expected, "{what}");
        }
    }
}
