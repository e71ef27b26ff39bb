//! What a date or time consists of, and what is known of it.

use std::ops::BitOr;

use super::Fraction;
use crate::pgtype::calendar::{SECONDS_PER_DAY, US_PER_DAY, US_PER_SECOND, days_from_civil};

/// What the text is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A date, perhaps with a time.
    DateTime,
    /// A time of day; a date is allowed where it says which offset a zone has.
    TimeOfDay,
}

/// A set of things that fields can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts(u32);

impl Parts {
    /// Nothing.
    pub const NONE: Parts = Parts(0);
    /// The year.
    pub const YEAR: Parts = Parts(1);
    /// The month.
    pub const MONTH: Parts = Parts(1 << 1);
    /// The day of the month.
    pub const DAY: Parts = Parts(1 << 2);
    /// Year, month and day.
    pub const DATE: Parts = Parts(0b111);
    /// The hour.
    pub const HOUR: Parts = Parts(1 << 3);
    /// The minute.
    pub const MINUTE: Parts = Parts(1 << 4);
    /// The second.
    pub const SECOND: Parts = Parts(1 << 5);
    /// The second and its fraction.
    pub const SECOND_AND_FRACTION: Parts = Parts(0b11 << 5);
    /// Hour, minute, second and fraction.
    pub const TIME: Parts = Parts(0b1111 << 3);
    /// The zone.
    pub const ZONE: Parts = Parts(1 << 7);
    /// That the zone has summer time, by its abbreviation.
    pub const SUMMER_ZONE: Parts = Parts(1 << 8);
    /// That the zone has summer time, by `dst` after it, with [`Parts::SUMMER_ZONE`].
    pub const SUMMER_MODIFIER: Parts = Parts(1 << 9);
    /// `am` or `pm`
    pub const MERIDIEM: Parts = Parts(1 << 10);
    /// `ad` or `bc`
    pub const ERA: Parts = Parts(1 << 11);
    /// The day of the week.
    pub const WEEKDAY: Parts = Parts(1 << 12);
    /// The day of the year.
    pub const DAY_OF_YEAR: Parts = Parts(1 << 13);
    /// A word for a time instead of all else.
    pub const SPECIAL: Parts = Parts(1 << 15);
    /// That the zone's abbreviation has changed its meaning.
    pub const DYNAMIC_ZONE: Parts = Parts(1 << 14);

    /// Whether all of the others are in this set.
    pub fn has(self, others: Parts) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether any of the others is in this set.
    pub fn has_any(self, others: Parts) -> bool {
        self.0 & others.0 != 0
    }

    /// Those that are also in the other set.
    pub fn and(self, others: Parts) -> Parts {
        Parts(self.0 & others.0)
    }

    /// Those that are not in the other set.
    pub fn without(self, others: Parts) -> Parts {
        Parts(self.0 & !others.0)
    }
}

impl BitOr for Parts {
    type Output = Parts;

    fn bitor(self, other: Parts) -> Parts {
        Parts(self.0 | other.0)
    }
}

/// A time that is no day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    /// 1970-01-01 00:00 UTC
    Epoch,
    /// `-infinity`
    Early,
    /// `infinity`
    Late,
}

/// How the month is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MonthForm {
    /// As a number, if at all yet.
    Number,
    /// As a word.
    Word,
}

/// What a text says.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// A word for a time instead of all else.
    pub special: Option<Special>,
    /// Astronomical.
    pub year: i32,
    /// 1 to 12.
    pub month: i32,
    /// 1 to 31.
    pub day: i32,
    /// Up to 24.
    pub hour: i32,
    /// Up to 59.
    pub minute: i32,
    /// Up to 60.
    pub second: i32,
    /// Of the second.
    pub fraction: Fraction,
    /// Of the zone, in seconds east of Greenwich.
    pub offset_seconds: i32,
}

impl Decoded {
    /// Seconds since midnight.
    pub fn second_of_day(&self) -> i64 {
        (i64::from(self.hour) * 60 + i64::from(self.minute)) * 60 + i64::from(self.second)
    }

    /// Days since 1970, if they are among those that PostgreSQL counts.
    pub fn days(&self) -> Option<i64> {
        let is_late_enough = self.year > -4713 || (self.year == -4713 && self.month >= 11);
        let is_early_enough = self.year < 5_874_898 || (self.year == 5_874_898 && self.month < 6);
        let month = u32::try_from(self.month).ok()?;
        let day = u32::try_from(self.day).ok()?;
        (is_late_enough && is_early_enough).then(|| days_from_civil(i64::from(self.year), month, day))
    }

    /// Seconds since 1970 as the clocks show them.
    pub fn local_seconds(&self) -> Option<i64> {
        Some(self.days()? * SECONDS_PER_DAY + self.second_of_day())
    }

    /// Whether the time of day is none, or behind midnight.
    pub fn time_overflows(&self) -> bool {
        let is_each_in_range = (0..=24).contains(&self.hour)
            && (0..60).contains(&self.minute)
            && (0..=60).contains(&self.second);
        !is_each_in_range || self.second_of_day() * US_PER_SECOND + self.fraction.micros > US_PER_DAY
    }
}
