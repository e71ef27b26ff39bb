//! Sums, differences and multiples of dates, timestamps and intervals.

use arrow::datatypes::IntervalMonthDayNano;

use super::{DAYS_PER_MONTH, float, integer, interval, is_finite, overflow};
use crate::error::{SqlError, SqlResult};
use crate::pgtype::calendar::{
    DATE_MAX, DATE_MIN, TIMESTAMP_END, TIMESTAMP_MIN, US_PER_DAY, civil_from_days, days_from_civil,
    days_in_month,
};
use crate::pgtype::cast::{instant_to_local, local_to_instant};
use crate::pgtype::datetime::parse::value_out_of_range;
use crate::pgtype::datum::Datum;
use crate::pgtype::interval::{Interval, parse::out_of_range};
use crate::pgtype::settings::FormatSettings;
use crate::sqlstate;

pub(super) fn shift_days(date: &Datum, by: &Datum, sign: i32) -> SqlResult<Datum> {
    let Datum::Date(days) = date else { return Err(SqlError::internal("a date was expected")) };
    if !is_finite(date) {
        return Ok(date.clone());
    }
    let shifted = integer(by).checked_mul(sign).and_then(|by| days.checked_add(by));
    let shifted = shifted.filter(|days| (DATE_MIN..=DATE_MAX).contains(days));
    shifted.map(Datum::Date).ok_or_else(|| overflow("date out of range"))
}

pub(super) fn days_between(args: &[Datum]) -> SqlResult<Datum> {
    let [Datum::Date(left), Datum::Date(right)] = args else {
        return Err(SqlError::internal("dates were expected"));
    };
    if !args.iter().all(is_finite) {
        return Err(overflow("cannot subtract infinite dates"));
    }
    left.checked_sub(*right).map(Datum::Int4).ok_or_else(|| overflow("date out of range"))
}

/// Days and a time of day less than one.
pub(super) fn between(args: &[Datum]) -> SqlResult<Datum> {
    let (
        Datum::Timestamp(left) | Datum::Timestamptz(left),
        Datum::Timestamp(right) | Datum::Timestamptz(right),
    ) = (&args[0], &args[1])
    else {
        return Err(SqlError::internal("timestamps were expected"));
    };
    if !args.iter().all(is_finite) {
        return Err(overflow("cannot subtract infinite timestamps"));
    }
    let micros = left.checked_sub(*right).ok_or_else(out_of_range)?;
    let days = i32::try_from(micros / US_PER_DAY).map_err(|_| out_of_range())?;
    Ok(Datum::Interval(Interval { months: 0, days, micros: micros % US_PER_DAY }))
}

pub(super) fn add(left: Interval, right: Interval) -> SqlResult<Interval> {
    let sum = || {
        Some(Interval {
            months: left.months.checked_add(right.months)?,
            days: left.days.checked_add(right.days)?,
            micros: left.micros.checked_add(right.micros)?,
        })
    };
    sum().ok_or_else(out_of_range)
}

pub(super) fn negated(value: Interval) -> SqlResult<Interval> {
    let negated = || {
        Some(Interval {
            months: value.months.checked_neg()?,
            days: value.days.checked_neg()?,
            micros: value.micros.checked_neg()?,
        })
    };
    negated().ok_or_else(out_of_range)
}

/// A moment shifted by an interval: months first, then days, then the time.
pub(super) fn shift(moment: &Datum, by: &Datum, sign: i32, format: &FormatSettings) -> SqlResult<Datum> {
    let by = interval(by)?;
    let by = if sign < 0 { negated(by)? } else { by };
    if !is_finite(moment) {
        return Ok(match moment {
            Datum::Date(i32::MIN) => Datum::Timestamp(i64::MIN),
            Datum::Date(_) => Datum::Timestamp(i64::MAX),
            other => other.clone(),
        });
    }
    match moment {
        Datum::Date(days) => shift_local(i64::from(*days) * US_PER_DAY, by).map(Datum::Timestamp),
        Datum::Timestamp(us) => shift_local(*us, by).map(Datum::Timestamp),
        Datum::Timestamptz(us) => {
            let mut us = *us;
            for calendar in [Interval { days: 0, micros: 0, ..by }, Interval { months: 0, micros: 0, ..by }] {
                if calendar != Interval::default() {
                    us = local_to_instant(shift_local(instant_to_local(us, format)?, calendar)?, format)?;
                }
            }
            shift_local(us, Interval { months: 0, days: 0, ..by }).map(Datum::Timestamptz)
        }
        _ => Err(SqlError::internal("a moment was expected")),
    }
}

pub(super) fn shift_local(us: i64, by: Interval) -> SqlResult<i64> {
    let shifted = || {
        let (mut days, time) = (us.div_euclid(US_PER_DAY), us.rem_euclid(US_PER_DAY));
        if by.months != 0 {
            let date = civil_from_days(days);
            let months = date.year * 12 + i64::from(date.month) - 1 + i64::from(by.months);
            let (year, month) = (months.div_euclid(12), u32::try_from(months.rem_euclid(12)).ok()? + 1);
            days = days_from_civil(year, month, date.day.min(days_in_month(year, month)));
        }
        days += i64::from(by.days);
        days.checked_mul(US_PER_DAY)?.checked_add(time)?.checked_add(by.micros)
    };
    shifted()
        .filter(|us| (TIMESTAMP_MIN..TIMESTAMP_END).contains(us))
        .ok_or_else(|| value_out_of_range("timestamp"))
}

pub(super) fn divide(args: &[Datum]) -> SqlResult<Datum> {
    let divisor = float(&args[1]);
    if divisor == 0.0 {
        return Err(SqlError::new(sqlstate::DIVISION_BY_ZERO, "division by zero"));
    }
    scaled(interval(&args[0])?, |it| it / divisor).map(Datum::Interval)
}

/// Every field scaled; fractions of months become days of a thirtieth, fractions of days time.
pub(super) fn scaled(value: Interval, scale: impl Fn(f64) -> f64) -> SqlResult<Interval> {
    let whole = |it: f64| {
        let fits = it >= f64::from(i32::MIN) && it <= f64::from(i32::MAX);
        if fits { Ok(it as i32) } else { Err(out_of_range()) }
    };
    let micros_of = |it: f64| (it * 1e6).round_ties_even() / 1e6;
    let (months_exact, days_exact) = (scale(f64::from(value.months)), scale(f64::from(value.days)));
    let (months, mut days) = (whole(months_exact)?, whole(days_exact)?);
    let month_days = micros_of((months_exact - f64::from(months)) * f64::from(DAYS_PER_MONTH));
    let mut seconds =
        micros_of((days_exact - f64::from(days) + month_days - f64::from(month_days as i32)) * 86_400.0);
    if seconds.abs() >= 86_400.0 {
        let more = (seconds / 86_400.0) as i32;
        days = days.checked_add(more).ok_or_else(out_of_range)?;
        seconds -= f64::from(more) * 86_400.0;
    }
    days = days.checked_add(month_days as i32).ok_or_else(out_of_range)?;
    let micros = (scale(value.micros as f64) + seconds * 1e6).round_ties_even();
    if !micros.is_finite() || micros.abs() >= -(i64::MIN as f64) {
        return Err(out_of_range());
    }
    Ok(Interval { months, days, micros: micros as i64 })
}

/// What lies between two intervals, at a part of the way.
///
/// # Errors
/// A field of it is too large.
pub fn between_intervals(
    low: IntervalMonthDayNano,
    high: IntervalMonthDayNano,
    part: f64,
) -> SqlResult<Interval> {
    let value = |it: IntervalMonthDayNano| Interval {
        months: it.months,
        days: it.days,
        micros: it.nanoseconds / 1000,
    };
    let (low, high) = (value(low), value(high));
    add(low, scaled(add(high, negated(low)?)?, |it| it * part)?)
}
