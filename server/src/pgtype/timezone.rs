//! Time zones: what a session's `TimeZone` can be, and what a zone's clocks show.
//!
//! Rules of named zones come from the IANA database. Its table of transitions ends in 2099; later
//! years are looked up as the year of 2072 to 2099 that has the same calendar, because rules speak of
//! weekdays and dates and the last rules go on for ever.

pub mod abbreviations;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeZone as _};
use chrono_tz::{OffsetName, TZ_VARIANTS, Tz, TzOffset};

use self::abbreviations::Abbreviation;
use super::calendar::{SECONDS_PER_DAY, civil_from_days, day_of_week, days_from_civil, is_leap};
use crate::error::{SqlError, SqlResult};
use crate::sqlstate;

/// Offsets reach to one second before a week.
const OFFSET_SECONDS_MAX: i64 = 7 * SECONDS_PER_DAY - 1;

/// Where the table of transitions ends: 2100-01-01.
const TABLE_END_SECONDS: i64 = days_from_civil(2100, 1, 1) * SECONDS_PER_DAY;

/// The years that stand for later ones; 28 years without a century hold every calendar.
const CALENDAR_YEARS: std::ops::Range<i64> = 2072..2100;

/// Before this, every zone has its local mean time.
const LOCAL_MEAN_TIME_SECONDS: i64 = -10_000 * 366 * SECONDS_PER_DAY;

/// The step of a search for an abbreviation; no time lasts shorter in a zone that has them.
const ABBREVIATION_STEP_SECONDS: i64 = 10 * SECONDS_PER_DAY;

/// When zones had other times than their own, with abbreviations: 1850 to 2050.
const ABBREVIATION_SECONDS: std::ops::RangeInclusive<i64> = -3_786_912_000..=2_524_608_000;

/// A time zone.
#[derive(Clone, Debug, PartialEq)]
pub enum TimeZone {
    /// A zone whose clocks never change.
    Fixed(FixedZone),
    /// A zone of the IANA database with a history.
    Named(Tz),
}

/// A zone whose clocks never change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedZone {
    name: Arc<str>,
    abbreviation: Arc<str>,
    offset_seconds: i32,
}

static ZONES: LazyLock<HashMap<String, Tz>> =
    LazyLock::new(|| TZ_VARIANTS.iter().map(|zone| (zone.name().to_ascii_lowercase(), *zone)).collect());

impl TimeZone {
    /// Coordinated universal time.
    pub fn utc() -> TimeZone {
        TimeZone::from_tz(Tz::UTC)
    }

    /// The zone of a name, in any case: of the IANA database, or a POSIX specification without
    /// summer time (`XYZ+3`, three hours *west* of Greenwich).
    pub fn named(name: &str) -> Option<TimeZone> {
        match ZONES.get(&name.to_ascii_lowercase()) {
            Some(zone) => Some(TimeZone::from_tz(*zone)),
            None => FixedZone::from_posix(name).map(TimeZone::Fixed),
        }
    }

    /// The zone that `SET TimeZone` means: a number of hours east of Greenwich, or a name.
    pub fn from_setting(value: &str) -> Option<TimeZone> {
        match value.trim().parse::<f64>() {
            Ok(hours) if hours.is_finite() => TimeZone::from_offset((hours * 3600.0) as i64),
            Ok(_) => None,
            Err(_) => TimeZone::named(value),
        }
    }

    /// The zone so many seconds east of Greenwich.
    pub fn from_offset(offset_seconds: i64) -> Option<TimeZone> {
        if offset_seconds.abs() > OFFSET_SECONDS_MAX {
            return None;
        }
        let offset_seconds = i32::try_from(offset_seconds).ok()?;
        Some(TimeZone::Fixed(FixedZone::from_offset(offset_seconds)))
    }

    /// The zone that `AT TIME ZONE` means: an abbreviation, or else a name. An abbreviation that has
    /// changed its meaning is the zone it names.
    pub fn decode(name: &str) -> SqlResult<TimeZone> {
        let zone = match abbreviations::look_up(&name.to_ascii_lowercase()) {
            Some(Abbreviation::Standard(offset) | Abbreviation::Daylight(offset)) => {
                TimeZone::from_offset(i64::from(offset))
            }
            Some(Abbreviation::Dynamic(zone)) => TimeZone::named(zone),
            None => TimeZone::named(name),
        };
        zone.ok_or_else(|| {
            let message = format!("time zone \"{name}\" not recognized");
            SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
        })
    }

    fn from_tz(zone: Tz) -> TimeZone {
        let name = zone.name();
        let is_fixed = name.starts_with("Etc/")
            || ["UTC", "UCT", "GMT", "GMT0", "GMT+0", "GMT-0", "Greenwich", "Universal", "Zulu"]
                .contains(&name);
        if !is_fixed {
            return TimeZone::Named(zone);
        }
        let offset = tz_offset_at(zone, 0);
        TimeZone::Fixed(FixedZone {
            name: Arc::from(name),
            abbreviation: Arc::from(abbreviation_text(&offset).as_str()),
            offset_seconds: offset.fix().local_minus_utc(),
        })
    }

    /// The offset of a zone that has only one, in seconds east of Greenwich.
    pub fn fixed_offset(&self) -> Option<i32> {
        match self {
            TimeZone::Fixed(zone) => Some(zone.offset_seconds),
            TimeZone::Named(_) => None,
        }
    }

    /// What clocks are ahead of UTC at an instant, both in seconds.
    pub fn offset_at(&self, instant_seconds: i64) -> i32 {
        match self {
            TimeZone::Fixed(zone) => zone.offset_seconds,
            TimeZone::Named(zone) => tz_offset_at(*zone, instant_seconds).fix().local_minus_utc(),
        }
    }

    /// What clocks are ahead of UTC when they show a time, given as if it were UTC. A time that they
    /// never show is taken by the offset before the gap, one that they show twice by that after it.
    pub fn offset_at_local(&self, local_seconds: i64) -> i32 {
        let zone = match self {
            TimeZone::Fixed(zone) => return zone.offset_seconds,
            TimeZone::Named(zone) => zone,
        };
        match zone.offset_from_local_datetime(&table_time(local_seconds)) {
            LocalResult::Single(offset) | LocalResult::Ambiguous(_, offset) => offset.fix().local_minus_utc(),
            LocalResult::None => self.offset_at(local_seconds.saturating_sub(SECONDS_PER_DAY)),
        }
    }

    /// What the zone's clocks are called at an instant: `CET`, `+03`.
    pub fn abbreviation_at(&self, instant_seconds: i64) -> String {
        match self {
            TimeZone::Fixed(zone) => zone.abbreviation.to_string(),
            TimeZone::Named(zone) => abbreviation_text(&tz_offset_at(*zone, instant_seconds)),
        }
    }

    /// The offset that an abbreviation in upper case meant in this zone: when it was last used before
    /// an instant, or else when it was first used after it.
    pub fn offset_of_abbreviation(&self, abbreviation: &str, instant_seconds: i64) -> Option<i32> {
        let zone = match self {
            TimeZone::Fixed(_) => return None,
            TimeZone::Named(zone) => *zone,
        };
        let start = instant_seconds.clamp(*ABBREVIATION_SECONDS.start(), *ABBREVIATION_SECONDS.end());
        let before = (0..).map(|step| start - step * ABBREVIATION_STEP_SECONDS);
        let after = (1..).map(|step| start + step * ABBREVIATION_STEP_SECONDS);
        before
            .take_while(|seconds| seconds >= ABBREVIATION_SECONDS.start())
            .chain(after.take_while(|seconds| seconds <= ABBREVIATION_SECONDS.end()))
            .map(|seconds| tz_offset_at(zone, seconds))
            .find(|offset| offset.abbreviation() == Some(abbreviation))
            .map(|offset| offset.fix().local_minus_utc())
    }
}

/// Writes the name as `SHOW TimeZone` does.
impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TimeZone::Fixed(zone) => f.write_str(&zone.name),
            TimeZone::Named(zone) => f.write_str(zone.name()),
        }
    }
}

impl FixedZone {
    /// PostgreSQL names such a zone by a POSIX specification, `<+05:30>-05:30`.
    fn from_offset(offset_seconds: i32) -> FixedZone {
        let seconds = offset_seconds.unsigned_abs();
        let mut clock = format!("{:02}", seconds / 3600);
        if !seconds.is_multiple_of(3600) {
            clock.push_str(&format!(":{:02}", seconds / 60 % 60));
        }
        if !seconds.is_multiple_of(60) {
            clock.push_str(&format!(":{:02}", seconds % 60));
        }
        let (east, west) = if offset_seconds < 0 { ('-', '+') } else { ('+', '-') };
        FixedZone {
            name: Arc::from(format!("<{east}{clock}>{west}{clock}")),
            abbreviation: Arc::from(format!("{east}{clock}")),
            offset_seconds,
        }
    }

    /// Reads a POSIX specification without summer time: a name and how far west it is.
    fn from_posix(specification: &str) -> Option<FixedZone> {
        let upper = specification.to_ascii_uppercase();
        let (abbreviation, rest) = match upper.strip_prefix('<') {
            Some(quoted) => quoted.split_once('>')?,
            None => {
                let end = upper.find(|c: char| c.is_ascii_digit() || matches!(c, ',' | '-' | '+'))?;
                upper.split_at(end)
            }
        };
        let (west, clock) = match rest.split_at_checked(1)? {
            ("-", clock) => (-1, clock),
            ("+", clock) => (1, clock),
            _ => (1, rest),
        };
        let mut parts = clock.split(':');
        let hours = posix_number(parts.next()?, 167)?;
        let minutes = parts.next().map_or(Some(0), |part| posix_number(part, 59))?;
        let seconds = parts.next().map_or(Some(0), |part| posix_number(part, 60))?;
        if parts.next().is_some() {
            return None;
        }
        let offset_seconds = -west * (hours * 3600 + minutes * 60 + seconds);
        Some(FixedZone {
            name: Arc::from(upper.as_str()),
            abbreviation: Arc::from(abbreviation),
            offset_seconds,
        })
    }
}

fn posix_number(digits: &str, max: i32) -> Option<i32> {
    let all_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| all_digits && *number <= max)
}

fn tz_offset_at(zone: Tz, instant_seconds: i64) -> TzOffset {
    zone.offset_from_utc_datetime(&table_time(instant_seconds))
}

fn abbreviation_text(offset: &TzOffset) -> String {
    offset.abbreviation().map_or_else(|| offset.to_string(), str::to_owned)
}

/// A time as the table of transitions knows it.
fn table_time(seconds: i64) -> NaiveDateTime {
    let mapped = if seconds < TABLE_END_SECONDS {
        seconds.max(LOCAL_MEAN_TIME_SECONDS)
    } else {
        seconds
            - days_to_stand_in(civil_from_days(seconds.div_euclid(SECONDS_PER_DAY)).year) * SECONDS_PER_DAY
    };
    DateTime::from_timestamp(mapped, 0).expect("years -10,000 to 2099 are in chrono's range").naive_utc()
}

/// How many days before a year the year with its calendar is.
fn days_to_stand_in(year: i64) -> i64 {
    let first = days_from_civil(year, 1, 1);
    let has_calendar = |other: &i64| {
        let day = days_from_civil(*other, 1, 1);
        is_leap(*other) == is_leap(year) && day_of_week(day) == day_of_week(first)
    };
    let stand_in = { CALENDAR_YEARS }.find(has_calendar).expect("28 years have every calendar");
    first - days_from_civil(stand_in, 1, 1)
}
