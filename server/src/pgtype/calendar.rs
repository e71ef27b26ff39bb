//! The Gregorian calendar, in both directions without end, and the limits of PostgreSQL's dates.
//!
//! Years are astronomical here: 0 is 1 BC, -1 is 2 BC. Days count from 1970-01-01.

/// Days from 1970-01-01 to 2000-01-01, from which PostgreSQL's binary forms count.
pub const POSTGRES_EPOCH_DAYS: i32 = 10_957;

/// Microseconds from 1970-01-01 to 2000-01-01.
pub const POSTGRES_EPOCH_US: i64 = POSTGRES_EPOCH_DAYS as i64 * US_PER_DAY;

/// The Julian day of 1970-01-01.
pub const UNIX_EPOCH_JULIAN: i32 = 2_440_588;

/// Seconds of a day.
pub const SECONDS_PER_DAY: i64 = 86_400;

/// Microseconds of a second.
pub const US_PER_SECOND: i64 = 1_000_000;

/// Microseconds of a day.
pub const US_PER_DAY: i64 = SECONDS_PER_DAY * US_PER_SECOND;

/// The first day of PostgreSQL: 4714-11-24 BC, Julian day 0.
pub const DATE_MIN: i32 = -UNIX_EPOCH_JULIAN;

/// The last day of a `date`: 5874897-12-31.
pub const DATE_MAX: i32 = 2_145_031_948 + POSTGRES_EPOCH_DAYS;

/// The first microsecond of a `timestamp`.
pub const TIMESTAMP_MIN: i64 = DATE_MIN as i64 * US_PER_DAY;

/// The first microsecond after those that a `timestamp` can have. PostgreSQL counts from 2000 and
/// so comes 30 years further, to 294276; a column counts from 1970.
pub const TIMESTAMP_END: i64 = i64::MAX;

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CivilDate {
    /// Astronomical: 0 is 1 BC.
    pub year: i64,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
}

/// The number of a day. Months and days beyond their range are not carried.
pub const fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    // Years begin in March here, so that the leap day is the last.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let month_from_march = (month as i64 + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day as i64 - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The day of a number.
pub const fn civil_from_days(days: i64) -> CivilDate {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097) as u32;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era as i64 + era * 400;
    CivilDate { year: if month <= 2 { year + 1 } else { year }, month, day }
}

/// Whether a year has a 29 February.
pub const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// How many days a month has.
pub const fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The day of the week, 0 for Sunday.
pub const fn day_of_week(days: i64) -> usize {
    // 1970-01-01 was a Thursday.
    (days + 4).rem_euclid(7) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days_have_known_numbers() {
        let cases = [
            ((1970, 1, 1), 0, 4),
            ((2000, 1, 1), 10_957, 6),
            ((2000, 2, 29), 11_016, 2),
            ((-4713, 11, 24), DATE_MIN as i64, 1),
            ((5_874_897, 12, 31), DATE_MAX as i64, 2),
            ((0, 2, 29), -719_469, 2),
        ];
        for ((year, month, day), days, weekday) in cases {
            assert_eq!(days_from_civil(year, month, day), days);
            assert_eq!(civil_from_days(days), CivilDate { year, month, day });
            assert_eq!(day_of_week(days), weekday, "{year}-{month}-{day}");
        }
    }

    #[test]
    fn every_day_of_eight_centuries_returns_to_itself() {
        for days in -146_097..=146_097 {
            let CivilDate { year, month, day } = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
            assert!(day >= 1 && day <= days_in_month(year, month));
        }
    }
}
