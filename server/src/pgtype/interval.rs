//! `interval`: months, days and microseconds, which are not each other's multiples.

pub mod iso8601;
pub mod parse;
pub mod write;

use std::cmp::Ordering;

use super::calendar::US_PER_DAY;
use super::datetime::Fault;

/// Microseconds of an hour.
pub const US_PER_HOUR: i64 = 3_600_000_000;

/// Microseconds of a minute.
pub const US_PER_MINUTE: i64 = 60_000_000;

/// Days that a month is taken for where it must be some.
const DAYS_PER_MONTH: i32 = 30;

/// A span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// Calendar months.
    pub months: i32,
    /// Calendar days.
    pub days: i32,
    /// Microseconds.
    pub micros: i64,
}

impl Interval {
    /// The order of PostgreSQL: a month is 30 days and a day 24 hours.
    pub fn compare(&self, other: &Interval) -> Ordering {
        self.span().cmp(&other.span())
    }

    fn span(&self) -> i128 {
        let days = i128::from(self.months) * i128::from(DAYS_PER_MONTH) + i128::from(self.days);
        days * i128::from(US_PER_DAY) + i128::from(self.micros)
    }
}

/// An interval while its text is read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    pub(super) years: i32,
    pub(super) months: i32,
    pub(super) days: i32,
    pub(super) micros: i64,
}

/// A number of units: its whole part and its fraction, both with its sign.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amount {
    pub(super) whole: i64,
    pub(super) fraction: f64,
}

/// A field that got too large.
type Added = Result<(), Fault>;

impl Sum {
    /// Adds a number of units of so many microseconds.
    pub(super) fn add_micros(&mut self, amount: Amount, unit_us: i64) -> Added {
        let whole = amount.whole.checked_mul(unit_us).ok_or(Fault::FieldOverflow)?;
        self.micros = self.micros.checked_add(whole).ok_or(Fault::FieldOverflow)?;
        self.add_fraction_micros(amount.fraction, unit_us)
    }

    /// Adds a part of a unit of so many microseconds, half away from zero.
    fn add_fraction_micros(&mut self, fraction: f64, unit_us: i64) -> Added {
        if fraction == 0.0 {
            return Ok(());
        }
        let exact = fraction * unit_us as f64;
        let truncated = exact as i64;
        let rest = exact - truncated as f64;
        let rounded = truncated + i64::from(rest > 0.5) - i64::from(rest < -0.5);
        self.micros = self.micros.checked_add(rounded).ok_or(Fault::FieldOverflow)?;
        Ok(())
    }

    /// Adds a number of units of so many days; a fraction of a day goes to the microseconds.
    pub(super) fn add_days(&mut self, amount: Amount, unit_days: i32) -> Added {
        let days = narrow(amount.whole)?.checked_mul(unit_days).ok_or(Fault::FieldOverflow)?;
        self.days = self.days.checked_add(days).ok_or(Fault::FieldOverflow)?;
        if unit_days == 1 {
            return self.add_fraction_micros(amount.fraction, US_PER_DAY);
        }
        self.add_fraction_days(amount.fraction, unit_days)
    }

    fn add_fraction_days(&mut self, fraction: f64, unit_days: i32) -> Added {
        if fraction == 0.0 {
            return Ok(());
        }
        let exact = fraction * f64::from(unit_days);
        let whole = exact as i32;
        self.days = self.days.checked_add(whole).ok_or(Fault::FieldOverflow)?;
        self.add_fraction_micros(exact - f64::from(whole), US_PER_DAY)
    }

    /// Adds a number of months; a fraction goes to the days.
    pub(super) fn add_months(&mut self, amount: Amount) -> Added {
        self.months = self.months.checked_add(narrow(amount.whole)?).ok_or(Fault::FieldOverflow)?;
        self.add_fraction_days(amount.fraction, DAYS_PER_MONTH)
    }

    /// Adds a number of units of so many years; a fraction goes to the months and no further.
    pub(super) fn add_years(&mut self, amount: Amount, unit_years: i32) -> Added {
        let years = narrow(amount.whole)?.checked_mul(unit_years).ok_or(Fault::FieldOverflow)?;
        self.years = self.years.checked_add(years).ok_or(Fault::FieldOverflow)?;
        let months = (amount.fraction * f64::from(unit_years) * 12.0).round_ties_even() as i32;
        self.months = self.months.checked_add(months).ok_or(Fault::FieldOverflow)?;
        Ok(())
    }

    /// The opposite.
    pub(super) fn negated(self) -> Result<Sum, Fault> {
        let negated = || {
            Some(Sum {
                years: self.years.checked_neg()?,
                months: self.months.checked_neg()?,
                days: self.days.checked_neg()?,
                micros: self.micros.checked_neg()?,
            })
        };
        negated().ok_or(Fault::FieldOverflow)
    }

    /// The interval, if its months fit.
    pub(super) fn interval(self) -> Option<Interval> {
        let months = i64::from(self.years) * 12 + i64::from(self.months);
        Some(Interval { months: i32::try_from(months).ok()?, days: self.days, micros: self.micros })
    }
}

fn narrow(value: i64) -> Result<i32, Fault> {
    i32::try_from(value).map_err(|_| Fault::FieldOverflow)
}
