//! Which partition an instant belongs to.
//!
//! Seconds to days are counted from 1970-01-01 UTC, weeks from the Monday before it; months and
//! years are the calendar's, counted from year 0, so that '3 months' are quarters and '10 years'
//! are decades.

use tidemark_catalog::collection::{CalendarInterval, IntervalUnit};
use tidemark_catalog::partition::TimeRange;
use tidemark_catalog::types::TimeUnit;

const SECONDS_PER_DAY: i128 = 86_400;

/// 1970-01-01 was a Thursday.
const DAYS_FROM_MONDAY_TO_EPOCH: i128 = 3;

/// The range of the partition that holds `time`. At the ends of what 64 bits can hold, the range is
/// cut short.
pub fn partition_range(interval: CalendarInterval, unit: TimeUnit, time: i64) -> TimeRange {
    let per_second = i128::from(unit.per_second());
    let per_day = SECONDS_PER_DAY * per_second;
    let count = i128::from(interval.count.get());
    let time = i128::from(time);
    let fixed = |length: i128, origin: i128| {
        let start = (time - origin).div_euclid(length) * length + origin;
        (start, start + length)
    };
    let calendar = |months: i128| {
        let month = month_of_day(time.div_euclid(per_day));
        let start = month.div_euclid(months) * months;
        (first_day_of_month(start) * per_day, first_day_of_month(start + months) * per_day)
    };
    let (start, end) = match interval.unit {
        IntervalUnit::Second => fixed(count * per_second, 0),
        IntervalUnit::Minute => fixed(count * 60 * per_second, 0),
        IntervalUnit::Hour => fixed(count * 3600 * per_second, 0),
        IntervalUnit::Day => fixed(count * per_day, 0),
        IntervalUnit::Week => fixed(count * 7 * per_day, -DAYS_FROM_MONDAY_TO_EPOCH * per_day),
        IntervalUnit::Month => calendar(count),
        IntervalUnit::Year => calendar(count * 12),
    };
    let clamp = |bound: i128| i64::try_from(bound).unwrap_or(if bound < 0 { i64::MIN } else { i64::MAX });
    TimeRange { start: clamp(start), end: clamp(end) }
}

/// The instant that is so much later. Months and years are the calendar's: where the day does not exist,
/// the last day of the month stands for it. At the ends of what 64 bits can hold, it stays there.
pub fn later_by(interval: CalendarInterval, unit: TimeUnit, time: i64) -> i64 {
    shifted(interval, unit, time, 1)
}

/// The instant that is so much earlier.
pub fn earlier_by(interval: CalendarInterval, unit: TimeUnit, time: i64) -> i64 {
    shifted(interval, unit, time, -1)
}

fn shifted(interval: CalendarInterval, unit: TimeUnit, time: i64, direction: i128) -> i64 {
    let per_second = i128::from(unit.per_second());
    let per_day = SECONDS_PER_DAY * per_second;
    let count = i128::from(interval.count.get()) * direction;
    let time = i128::from(time);
    let by_months = |months: i128| {
        let (day, within) = (time.div_euclid(per_day), time.rem_euclid(per_day));
        let month = month_of_day(day);
        let day_of_month = day - first_day_of_month(month);
        let days = first_day_of_month(month + months + 1) - first_day_of_month(month + months);
        (first_day_of_month(month + months) + day_of_month.min(days - 1)) * per_day + within
    };
    let shifted = match interval.unit {
        IntervalUnit::Second => time + count * per_second,
        IntervalUnit::Minute => time + count * 60 * per_second,
        IntervalUnit::Hour => time + count * 3600 * per_second,
        IntervalUnit::Day => time + count * per_day,
        IntervalUnit::Week => time + count * 7 * per_day,
        IntervalUnit::Month => by_months(count),
        IntervalUnit::Year => by_months(count * 12),
    };
    i64::try_from(shifted).unwrap_or(if shifted < 0 { i64::MIN } else { i64::MAX })
}

/// The month, counted from January of year 0 in the proleptic Gregorian calendar, of a day counted
/// from 1970-01-01. After Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms" (2013).
fn month_of_day(day: i128) -> i128 {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Years start in March here, so that the leap day is the last day.
    let month_from_march = (5 * day_of_year + 2) / 153;
    (year_of_era + era * 400) * 12 + month_from_march + 2
}

/// The inverse: the day on which such a month begins.
fn first_day_of_month(month: i128) -> i128 {
    let from_march = month - 2;
    let year = from_march.div_euclid(12);
    let month_from_march = from_march.rem_euclid(12);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month_from_march + 2) / 5;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const DAY: i64 = 86_400_000_000;

    #[test]
    fn months_and_years_are_those_of_the_calendar() {
        let at = |year, month, day| day_of(year, month, day) * DAY + 5;
        let cases = [
            (1, IntervalUnit::Month, at(2024, 1, 31), at(2024, 2, 29)),
            (1, IntervalUnit::Month, at(2023, 12, 15), at(2024, 1, 15)),
            (1, IntervalUnit::Year, at(2024, 2, 29), at(2025, 2, 28)),
            (2, IntervalUnit::Week, at(1969, 12, 25), at(1970, 1, 8)),
            (36, IntervalUnit::Hour, at(2024, 1, 1), at(2024, 1, 2) + DAY / 2),
        ];
        for (count, unit, from, to) in cases {
            let interval = CalendarInterval { count: NonZeroU32::new(count).unwrap(), unit };
            assert_eq!(later_by(interval, TimeUnit::Microsecond, from), to, "{interval:?} after {from}");
        }
        let month = CalendarInterval { count: NonZeroU32::MIN, unit: IntervalUnit::Month };
        assert_eq!(earlier_by(month, TimeUnit::Microsecond, at(2024, 3, 31)), at(2024, 2, 29));
        assert_eq!(later_by(month, TimeUnit::Microsecond, i64::MAX), i64::MAX);
        assert_eq!(earlier_by(month, TimeUnit::Nanosecond, i64::MIN), i64::MIN);
    }

    /// The day of a date, by counting.
    fn day_of(year: i64, month: i64, day: i64) -> i64 {
        let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let days_in = |year, month| match month {
            2 if leap(year) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let years: i64 = if year >= 1970 {
            (1970..year).map(|year| 365 + i64::from(leap(year))).sum()
        } else {
            -(year..1970).map(|year| 365 + i64::from(leap(year))).sum::<i64>()
        };
        years + (1..month).map(|month| days_in(year, month)).sum::<i64>() + day - 1
    }

    fn check(count: u32, unit: IntervalUnit, time: i64, start: i64, end: i64) {
        let interval = CalendarInterval { count: NonZeroU32::new(count).unwrap(), unit };
        let range = partition_range(interval, TimeUnit::Microsecond, time);
        assert_eq!((range.start, range.end), (start, end), "{count} {unit:?} at {time}");
        if (i64::MIN / 1000..i64::MAX / 1000).contains(&time) {
            let ns = partition_range(interval, TimeUnit::Nanosecond, time * 1000);
            if let (Some(start), Some(end)) = (start.checked_mul(1000), end.checked_mul(1000)) {
                assert_eq!((ns.start, ns.end), (start, end), "{count} {unit:?} at {time} in ns");
            }
        }
    }

    #[test]
    fn fixed_intervals_count_from_the_epoch() {
        check(1, IntervalUnit::Day, 0, 0, DAY);
        check(1, IntervalUnit::Day, DAY - 1, 0, DAY);
        check(1, IntervalUnit::Day, DAY, DAY, 2 * DAY);
        check(1, IntervalUnit::Day, -1, -DAY, 0);
        check(6, IntervalUnit::Hour, -1, -DAY / 4, 0);
        check(15, IntervalUnit::Minute, 900_000_001, 900_000_000, 1_800_000_000);
        check(10, IntervalUnit::Second, -10_000_001, -20_000_000, -10_000_000);
    }

    #[test]
    fn weeks_begin_on_monday() {
        // 2026-11-20 is a Friday.
        let friday = day_of(2026, 11, 20) * DAY;
        check(1, IntervalUnit::Week, friday, day_of(2026, 11, 16) * DAY, day_of(2026, 11, 23) * DAY);
        check(1, IntervalUnit::Week, 0, -3 * DAY, 4 * DAY);
    }

    #[test]
    fn months_and_years_are_the_calendars() {
        let day = |year, month, day| day_of(year, month, day) * DAY;
        check(1, IntervalUnit::Month, day(2024, 2, 29), day(2024, 2, 1), day(2024, 3, 1));
        check(1, IntervalUnit::Month, day(1969, 12, 31), day(1969, 12, 1), day(1970, 1, 1));
        check(3, IntervalUnit::Month, day(2026, 11, 20), day(2026, 10, 1), day(2027, 1, 1));
        check(1, IntervalUnit::Year, day(1900, 3, 1), day(1900, 1, 1), day(1901, 1, 1));
        check(10, IntervalUnit::Year, day(1999, 12, 31), day(1990, 1, 1), day(2000, 1, 1));
        for year in 1601..2400 {
            for month in 1..=12 {
                let next = if month == 12 { day(year + 1, 1, 1) } else { day(year, month + 1, 1) };
                check(1, IntervalUnit::Month, next - 1, day(year, month, 1), next);
            }
        }
    }

    #[test]
    fn the_ends_of_time_are_in_a_partition() {
        for unit in [IntervalUnit::Second, IntervalUnit::Week, IntervalUnit::Month, IntervalUnit::Year] {
            for time in [i64::MIN + 1, i64::MAX - 1] {
                let interval = CalendarInterval { count: NonZeroU32::new(7).unwrap(), unit };
                for time_unit in [TimeUnit::Microsecond, TimeUnit::Nanosecond] {
                    assert!(partition_range(interval, time_unit, time).contains(time));
                }
            }
        }
    }
}
