//! What was read of a date and a time, put together.

use super::super::iso_year_start;
use super::{Convention, Fields, Moment, ZONE_HOURS_MAX, invalid, overflow};
use crate::error::{SqlError, SqlResult};
use crate::pgtype::calendar::{
    UNIX_EPOCH_JULIAN, US_PER_SECOND, civil_from_days, days_from_civil, days_in_month, is_leap,
};
use crate::sqlstate;

/// Year, month and day in the making.
struct Date {
    year: i64,
    month: i64,
    day: i64,
    /// Whether anything was said of it.
    is_said: bool,
}

impl Date {
    fn set_days(&mut self, days: i64) {
        let date = civil_from_days(days);
        (self.year, self.month, self.day) = (date.year, i64::from(date.month), i64::from(date.day));
        self.is_said = true;
    }
}

impl Fields {
    pub(super) fn moment(mut self, text: &str) -> SqlResult<Moment> {
        let date = self.date()?;
        let exists = (1..=12).contains(&date.month)
            && (1..=31).contains(&date.day)
            && date.day <= i64::from(days_in_month(date.year, u32::try_from(date.month).unwrap_or(1)));
        if date.is_said && !exists {
            return Err(overflow(text));
        }
        let (month, day) = (u32::try_from(date.month).unwrap_or(1), u32::try_from(date.day).unwrap_or(1));
        Ok(Moment {
            days: days_from_civil(date.year, month, day),
            time_us: self.time(text)?,
            offset_seconds: self.offset(text)?,
            fraction_digits: self.fraction_digits,
        })
    }

    fn time(&self, text: &str) -> SqlResult<i64> {
        let (mut hour, mut minute, mut second) =
            (self.second_of_day / 3600, self.second_of_day % 3600 / 60, self.second_of_day % 60);
        let given = [(&mut second, self.second), (&mut minute, self.minute), (&mut hour, self.hour)];
        for (place, value) in given {
            if value != 0 {
                *place = value;
            }
        }
        if self.has_twelve_hours {
            if !(1..=12).contains(&hour) {
                let message = format!("hour \"{hour}\" is invalid for the 12-hour clock");
                return Err(
                    invalid(message).with_hint("Use the 24-hour clock, or give an hour between 1 and 12.")
                );
            }
            if self.is_late != 0 && hour < 12 {
                hour += 12;
            } else if self.is_late == 0 && hour == 12 {
                hour = 0;
            }
        }
        let micros = i64::from(self.milliseconds) * 1000 + i64::from(self.microseconds);
        let exists = (0..24).contains(&hour)
            && (0..60).contains(&minute)
            && (0..60).contains(&second)
            && (0..US_PER_SECOND).contains(&micros);
        if !exists {
            return Err(overflow(text));
        }
        let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
        Ok(seconds * US_PER_SECOND + micros)
    }

    fn offset(&self, text: &str) -> SqlResult<Option<i32>> {
        if self.zone_sign == 0 {
            return Ok(None);
        }
        if !(0..=ZONE_HOURS_MAX).contains(&self.zone_hours) || !(0..60).contains(&self.zone_minutes) {
            let message = format!("time zone displacement out of range: \"{text}\"");
            return Err(SqlError::new(sqlstate::INVALID_TIME_ZONE_DISPLACEMENT, message));
        }
        Ok(Some(self.zone_sign * (self.zone_hours * 3600 + self.zone_minutes * 60)))
    }

    fn date(&mut self) -> SqlResult<Date> {
        let mut date = Date { year: 0, month: 1, day: 1, is_said: false };
        self.set_year(&mut date);
        if self.julian != 0 {
            date.set_days(i64::from(self.julian) - i64::from(UNIX_EPOCH_JULIAN));
        }
        let is_iso = self.convention == Some(Convention::IsoWeek);
        if self.week != 0 && is_iso {
            let monday = iso_year_start(date.year) + (i64::from(self.week) - 1) * 7;
            let weekday = match self.day_of_week {
                0 => 0,
                1 => 6,
                day => i64::from(day) - 2,
            };
            date.set_days(monday + weekday);
        } else if self.week != 0 {
            self.day_of_year = self.week.saturating_sub(1).saturating_mul(7).saturating_add(1);
        }
        if self.week_of_month != 0 {
            self.day = self.week_of_month.saturating_sub(1).saturating_mul(7).saturating_add(1);
        }
        if self.day != 0 {
            (date.day, date.is_said) = (i64::from(self.day), true);
        }
        if self.month != 0 {
            (date.month, date.is_said) = (i64::from(self.month), true);
        }
        if self.day_of_year != 0 && (date.month <= 1 || date.day <= 1) {
            self.set_day_of_year(&mut date, is_iso)?;
        }
        Ok(date)
    }

    fn set_year(&self, date: &mut Date) {
        let mut century = i64::from(self.century);
        if self.is_before_christ != 0 {
            century = -century;
        }
        let year = i64::from(self.year);
        if year != 0 && century != 0 && self.year_digits <= 2 {
            // The digits are the last two of a year of the century, which ends in 00.
            date.year = match year % 100 {
                0 => century * 100 + i64::from(century < 0),
                last if century >= 0 => last + (century - 1) * 100,
                last => (century + 1) * 100 - last + 1,
            };
        } else if year != 0 {
            let signed = if self.is_before_christ != 0 { -year } else { year };
            // There is no year 0.
            date.year = if signed < 0 { signed + 1 } else { signed };
        } else if century != 0 {
            date.year = if century >= 0 { (century - 1) * 100 + 1 } else { century * 100 + 1 };
        }
        date.is_said |= year != 0 || century != 0;
    }

    fn set_day_of_year(&self, date: &mut Date, is_iso: bool) -> SqlResult<()> {
        let number = i64::from(self.day_of_year);
        if date.year == 0 && self.is_before_christ == 0 {
            return Err(invalid("cannot calculate day of year without year information".to_owned()));
        }
        if is_iso {
            date.set_days(iso_year_start(date.year) + number - 1);
            return Ok(());
        }
        let (mut month, mut before) = (1, 0);
        while month <= 12 && number > before + i64::from(days_in_month(date.year, month)) {
            before += i64::from(days_in_month(date.year, month));
            month += 1;
        }
        debug_assert!(month <= 12 || number > 365 + i64::from(is_leap(date.year)));
        if date.month <= 1 {
            date.month = i64::from(month);
        }
        if date.day <= 1 {
            date.day = number - before;
        }
        date.is_said = true;
        Ok(())
    }
}
