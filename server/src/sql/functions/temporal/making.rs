//! Dates, timestamps and intervals made of their parts.

use super::arithmetic::shift_local;
use super::{float, integer, overflow};
use crate::error::SqlResult;
use crate::pgtype::calendar::{
    DATE_MAX, DATE_MIN, TIMESTAMP_END, TIMESTAMP_MIN, US_PER_DAY, US_PER_SECOND, days_from_civil,
    days_in_month,
};
use crate::pgtype::datum::Datum;
use crate::pgtype::interval::parse::out_of_range;
use crate::pgtype::interval::{Interval, US_PER_HOUR, US_PER_MINUTE};

pub(super) fn make_interval(args: &[Datum]) -> SqlResult<Datum> {
    let [years, months, weeks, days, hours, minutes] =
        [0, 1, 2, 3, 4, 5].map(|at| i64::from(integer(&args[at])));
    let seconds = float(&args[6]);
    let interval = || {
        if !seconds.is_finite() {
            return None;
        }
        let micros = (seconds * US_PER_SECOND as f64).round_ties_even();
        let time = hours.checked_mul(US_PER_HOUR)?.checked_add(minutes.checked_mul(US_PER_MINUTE)?)?;
        Some(Interval {
            months: i32::try_from(years * 12 + months).ok()?,
            days: i32::try_from(weeks * 7 + days).ok()?,
            micros: time.checked_add(micros as i64)?,
        })
    };
    interval().map(Datum::Interval).ok_or_else(out_of_range)
}

pub(super) fn make_date(args: &[Datum]) -> SqlResult<i32> {
    let [year, month, day] = [&args[0], &args[1], &args[2]].map(integer);
    let refused = || overflow(&format!("date field value out of range: {year}-{month:02}-{day:02}"));
    // There is no year 0: -1 is the year before 1.
    let calendar_year = if year < 0 { i64::from(year) + 1 } else { i64::from(year) };
    let (Ok(month_number), Ok(day_number)) = (u32::try_from(month), u32::try_from(day)) else {
        return Err(refused());
    };
    let exists = year != 0
        && (1..=12).contains(&month_number)
        && day_number >= 1
        && day_number <= days_in_month(calendar_year, month_number);
    if !exists {
        return Err(refused());
    }
    let days = i32::try_from(days_from_civil(calendar_year, month_number, day_number)).ok();
    days.filter(|days| (DATE_MIN..=DATE_MAX).contains(days))
        .ok_or_else(|| overflow(&format!("date out of range: {year}-{month:02}-{day:02}")))
}

pub(super) fn make_timestamp(args: &[Datum]) -> SqlResult<i64> {
    let days = make_date(args)?;
    let (hour, minute, second) = (integer(&args[3]), integer(&args[4]), float(&args[5]));
    let exists = (0..=24).contains(&hour)
        && (0..60).contains(&minute)
        && (0.0..=60.0).contains(&second)
        && (hour < 24 || (minute == 0 && second == 0.0));
    if !exists {
        let message = format!("time field value out of range: {hour}:{minute:02}:{second:02}");
        return Err(overflow(&message));
    }
    let time = i64::from(hour) * US_PER_HOUR + i64::from(minute) * US_PER_MINUTE;
    let micros = (second * US_PER_SECOND as f64).round_ties_even() as i64;
    shift_local(i64::from(days) * US_PER_DAY, Interval { months: 0, days: 0, micros: time + micros })
}

/// Seconds since 1970 as an instant.
pub(super) fn epoch(args: &[Datum]) -> SqlResult<Datum> {
    let seconds = float(&args[0]);
    if seconds.is_nan() {
        return Err(overflow("timestamp cannot be NaN"));
    }
    if seconds.is_infinite() {
        return Ok(Datum::Timestamptz(if seconds > 0.0 { i64::MAX } else { i64::MIN }));
    }
    let micros = (seconds * US_PER_SECOND as f64).round_ties_even();
    let is_in_range = micros >= TIMESTAMP_MIN as f64 && micros < TIMESTAMP_END as f64;
    match is_in_range {
        true => Ok(Datum::Timestamptz(micros as i64)),
        false => Err(overflow(&format!("timestamp out of range: \"{seconds}\""))),
    }
}
