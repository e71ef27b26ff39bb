//! Dates, times and intervals by a template.

use std::fmt::Write as _;

use super::template::{Case, DateField, DatePattern, Modifiers, Node, parse_dates};
use super::{ABBREVIATION_LEN, DAYS, MONTHS, ROMAN_MONTHS, iso_year, iso_year_start, ordinal};
use crate::error::{SqlError, SqlResult};
use crate::pgtype::calendar::{
    UNIX_EPOCH_JULIAN, US_PER_DAY, US_PER_SECOND, civil_from_days, day_of_week, days_from_civil,
};
use crate::pgtype::interval::{Interval, US_PER_HOUR, US_PER_MINUTE};
use crate::sqlstate;

/// How wide names of months and days are.
const NAME_WIDTH: usize = 9;

/// What a template shows.
#[derive(Clone, Debug)]
struct Shown<'a> {
    /// Astronomical; of an interval, the years in it.
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    day_of_year: i64,
    /// Days since 1970; `None` for an interval.
    days: Option<i64>,
    zone: Option<Zone<'a>>,
}

/// The zone of an instant.
#[derive(Clone, Copy, Debug)]
pub struct Zone<'a> {
    /// Its abbreviation.
    pub name: &'a str,
    /// Seconds east of Greenwich.
    pub offset_seconds: i32,
}

/// A local time by a template; what its zone is, where that is known. An empty template has no text.
///
/// # Errors
/// There is none.
pub fn timestamp(local_us: i64, zone: Option<Zone<'_>>, template: &str) -> SqlResult<Option<String>> {
    let (days, time) = (local_us.div_euclid(US_PER_DAY), local_us.rem_euclid(US_PER_DAY));
    let date = civil_from_days(days);
    let shown = Shown {
        year: date.year,
        month: i64::from(date.month),
        day: i64::from(date.day),
        day_of_year: days - days_from_civil(date.year, 1, 1) + 1,
        days: Some(days),
        zone,
        ..Shown::of_time(time)
    };
    shown.write(template)
}

/// An interval by a template.
///
/// # Errors
/// 22007 for patterns that only dates have.
pub fn interval(value: Interval, template: &str) -> SqlResult<Option<String>> {
    let (year, month) = (i64::from(value.months / 12), i64::from(value.months % 12));
    let day = i64::from(value.days);
    let day_of_year = (year * 12 + month) * 30 + day;
    let shown = Shown { year, month, day, day_of_year, ..Shown::of_time(value.micros) };
    shown.write(template)
}

impl Shown<'_> {
    fn of_time(micros: i64) -> Self {
        Shown {
            year: 0,
            month: 0,
            day: 0,
            hour: micros / US_PER_HOUR,
            minute: micros % US_PER_HOUR / US_PER_MINUTE,
            second: micros % US_PER_MINUTE / US_PER_SECOND,
            micros: micros % US_PER_SECOND,
            day_of_year: 0,
            days: None,
            zone: None,
        }
    }

    fn write(&self, template: &str) -> SqlResult<Option<String>> {
        if template.is_empty() {
            return Ok(None);
        }
        let mut out = String::new();
        for node in parse_dates(template) {
            match node {
                Node::Separator(it) | Node::Space(it) | Node::Character(it) => out.push(it),
                Node::Pattern(pattern, modifiers) => self.pattern(pattern, modifiers, &mut out)?,
            }
        }
        Ok(Some(out))
    }

    /// The day, of what is one.
    fn days(&self) -> SqlResult<i64> {
        self.days.ok_or_else(|| {
            let message = "invalid format specification for an interval value";
            SqlError::new(sqlstate::INVALID_DATETIME_FORMAT, message)
                .with_hint("Intervals are not tied to specific calendar dates.")
        })
    }

    fn pattern(&self, pattern: DatePattern, modifiers: Modifiers, out: &mut String) -> SqlResult<()> {
        let number = match pattern.field {
            DateField::Exact => return Ok(()),
            DateField::Meridiem { .. }
            | DateField::Era { .. }
            | DateField::DayName
            | DateField::DayShort
            | DateField::MonthName
            | DateField::MonthShort
            | DateField::RomanMonth
            | DateField::Zone
            | DateField::ZoneHours
            | DateField::ZoneMinutes
            | DateField::Offset => return self.word(pattern, modifiers, out),
            field => self.number(field, modifiers.fill)?,
        };
        let Some(number) = number else { return Ok(()) };
        out.push_str(&number);
        match modifiers.ordinal {
            Some(Case::Upper) => out.push_str(&ordinal(&number).to_ascii_uppercase()),
            Some(_) => out.push_str(ordinal(&number)),
            None => {}
        }
        Ok(())
    }

    /// A word or a zone.
    fn word(&self, pattern: DatePattern, modifiers: Modifiers, out: &mut String) -> SqlResult<()> {
        let (word, width) = match pattern.field {
            DateField::Meridiem { dotted } => {
                let is_late = self.hour.rem_euclid(24) >= 12;
                (if is_late { ["PM", "P.M."] } else { ["AM", "A.M."] }[usize::from(dotted)], 0)
            }
            DateField::Era { dotted } => {
                self.days()?;
                (if self.year <= 0 { ["BC", "B.C."] } else { ["AD", "A.D."] }[usize::from(dotted)], 0)
            }
            DateField::DayName => (DAYS[day_of_week(self.days()?)], NAME_WIDTH),
            DateField::DayShort => (&DAYS[day_of_week(self.days()?)][..ABBREVIATION_LEN], 0),
            DateField::MonthName | DateField::MonthShort => {
                self.days()?;
                let name = MONTHS[usize::try_from(self.month - 1).unwrap_or(0)];
                match pattern.field {
                    DateField::MonthName => (name, NAME_WIDTH),
                    _ => (&name[..ABBREVIATION_LEN], 0),
                }
            }
            DateField::RomanMonth => match self.roman_month() {
                Some(month) => (month, 4),
                None => return Ok(()),
            },
            DateField::Zone => {
                self.days()?;
                (self.zone.map_or("", |zone| zone.name), 0)
            }
            field => return self.offset(field, modifiers.fill, out),
        };
        let word = match (pattern.field, pattern.case) {
            // Names of zones are written as they are.
            (DateField::Zone, Case::Upper) => word.to_owned(),
            (_, case) => case.of(word),
        };
        let width = if modifiers.fill || modifiers.translated { 0 } else { width };
        write!(out, "{word:<width$}").map_err(SqlError::internal)
    }

    /// Intervals of twelve months have none left, and count as December, or January if they are negative.
    fn roman_month(&self) -> Option<&'static str> {
        if self.month == 0 && self.year == 0 {
            return None;
        }
        let at = match self.month {
            0 if self.year >= 0 => 0,
            0 => 11,
            month if month < 0 => -(month + 1),
            month => 12 - month,
        };
        ROMAN_MONTHS.get(usize::try_from(at).ok()?).copied()
    }

    fn offset(&self, field: DateField, is_filled: bool, out: &mut String) -> SqlResult<()> {
        self.days()?;
        let seconds = self.zone.map_or(0, |zone| zone.offset_seconds);
        let (hours, minutes) = (seconds.abs() / 3600, seconds.abs() % 3600 / 60);
        let sign = if seconds >= 0 { '+' } else { '-' };
        let written = match field {
            DateField::ZoneHours => write!(out, "{sign}{hours:02}"),
            DateField::ZoneMinutes => write!(out, "{minutes:02}"),
            _ => {
                let width = if is_filled { 0 } else { 2 };
                let written = write!(out, "{sign}{hours:0width$}");
                match seconds % 3600 {
                    0 => written,
                    _ => written.and_then(|()| write!(out, ":{minutes:02}")),
                }
            }
        };
        written.map_err(SqlError::internal)
    }

    fn number(&self, field: DateField, is_filled: bool) -> SqlResult<Option<String>> {
        let padded = |value: i64, width: usize| {
            let width = if is_filled { 0 } else { width + usize::from(value < 0) };
            format!("{value:0width$}")
        };
        let fixed =
            |value: i64, width: usize| if is_filled { value.to_string() } else { format!("{value:0width$}") };
        // The year before 1 is shown as 1, of which the era is another.
        let shown_year = |year: i64| match self.days {
            Some(_) if year <= 0 => 1 - year,
            _ => year,
        };
        Ok(Some(match field {
            DateField::Hour12 => {
                let hour = self.hour % 12;
                let width = if is_filled { 0 } else { 2 + usize::from(self.hour < 0) };
                format!("{:0width$}", if hour == 0 { 12 } else { hour })
            }
            DateField::Hour24 => padded(self.hour, 2),
            DateField::Minute => padded(self.minute, 2),
            DateField::Second => padded(self.second, 2),
            DateField::Fraction(digits) => {
                let unit = 10_i64.pow(6 - u32::try_from(digits).map_err(SqlError::internal)?);
                format!("{:0digits$}", self.micros / unit)
            }
            DateField::Milliseconds => format!("{:03}", self.micros / 1000),
            DateField::Microseconds => format!("{:06}", self.micros),
            DateField::SecondOfDay => (self.hour * 3600 + self.minute * 60 + self.second).to_string(),
            DateField::Month => padded(self.month, 2),
            DateField::Day => fixed(self.day, 2),
            DateField::DayOfYear => fixed(self.day_of_year, 3),
            DateField::IsoDayOfYear => {
                let days = self.days()?;
                fixed(days - iso_year_start(iso_year(days)) + 1, 3)
            }
            DateField::DayOfWeek => (day_of_week(self.days()?) + 1).to_string(),
            DateField::IsoDayOfWeek => match day_of_week(self.days()?) {
                0 => "7".to_owned(),
                day => day.to_string(),
            },
            DateField::WeekOfYear => fixed((self.day_of_year - 1) / 7 + 1, 2),
            DateField::IsoWeek => {
                let days = self.days()?;
                fixed((days - iso_year_start(iso_year(days))) / 7 + 1, 2)
            }
            DateField::WeekOfMonth => ((self.day - 1) / 7 + 1).to_string(),
            DateField::Quarter if self.month == 0 => return Ok(None),
            DateField::Quarter => ((self.month - 1) / 3 + 1).to_string(),
            DateField::Century => {
                let century = match self.days {
                    None => self.year / 100,
                    Some(_) if self.year > 0 => (self.year - 1) / 100 + 1,
                    Some(_) => self.year / 100 - 1,
                };
                if century.abs() <= 99 { padded(century, 2) } else { century.to_string() }
            }
            DateField::YearWithComma => {
                let year = shown_year(self.year);
                format!("{},{:03}", year / 1000, year % 1000)
            }
            DateField::Year(digits) => last_digits(shown_year(self.year), digits, is_filled),
            DateField::IsoYear(digits) => last_digits(shown_year(iso_year(self.days()?)), digits, is_filled),
            DateField::Julian => match self.days {
                Some(days) => (days + i64::from(UNIX_EPOCH_JULIAN)).to_string(),
                None => julian(self.year, self.month, self.day).to_string(),
            },
            other => return Err(SqlError::internal(format!("{other:?} is no number"))),
        }))
    }
}

/// The last digits of a year; all of them where four are asked for.
fn last_digits(year: i64, digits: usize, is_filled: bool) -> String {
    let shown = match digits {
        4 => year,
        3 => year % 1000,
        2 => year % 100,
        _ => year % 10,
    };
    let width = if is_filled || digits == 1 { 0 } else { digits + usize::from(shown < 0) };
    format!("{shown:0width$}")
}

/// What PostgreSQL computes for the Julian day of an interval, which is none.
fn julian(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year + 4800, month + 1) } else { (year + 4799, month + 13) };
    let century = year / 100;
    year * 365 - 32167 + year / 4 - century + century / 4 + 7834 * month / 256 + day
}
