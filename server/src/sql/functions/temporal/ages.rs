//! Intervals as calendars count them: ages, and fields carried into greater ones.

use super::arithmetic::negated;
use super::{DAYS_PER_MONTH, interval, is_finite, overflow};
use crate::error::{SqlError, SqlResult};
use crate::pgtype::calendar::{US_PER_DAY, civil_from_days, days_in_month};
use crate::pgtype::cast::instant_to_local;
use crate::pgtype::datum::Datum;
use crate::pgtype::interval::{Interval, parse::out_of_range};
use crate::pgtype::settings::FormatSettings;

pub(super) enum Justify {
    Days,
    Hours,
    Both,
}

pub(super) fn justify(args: &[Datum], how: Justify) -> SqlResult<Datum> {
    let mut value = interval(&args[0])?;
    if !matches!(how, Justify::Days) {
        let days = i32::try_from(value.micros / US_PER_DAY).map_err(|_| out_of_range())?;
        value.days = value.days.checked_add(days).ok_or_else(out_of_range)?;
        value.micros %= US_PER_DAY;
    }
    if !matches!(how, Justify::Hours) {
        let months = value.days / DAYS_PER_MONTH;
        value.months = value.months.checked_add(months).ok_or_else(out_of_range)?;
        value.days -= months * DAYS_PER_MONTH;
    }
    // The signs of the fields are made one.
    if !matches!(how, Justify::Hours) {
        if value.months > 0
            && (value.days < 0 || (value.days == 0 && value.micros < 0 && matches!(how, Justify::Both)))
        {
            value.days += DAYS_PER_MONTH;
            value.months -= 1;
        } else if value.months < 0
            && (value.days > 0 || (value.days == 0 && value.micros > 0 && matches!(how, Justify::Both)))
        {
            value.days -= DAYS_PER_MONTH;
            value.months += 1;
        }
    }
    if !matches!(how, Justify::Days) {
        if value.days > 0 && value.micros < 0 {
            value.micros += US_PER_DAY;
            value.days -= 1;
        } else if value.days < 0 && value.micros > 0 {
            value.micros -= US_PER_DAY;
            value.days += 1;
        }
    }
    Ok(Datum::Interval(value))
}

pub(super) fn age_today(args: &[Datum], format: &FormatSettings) -> SqlResult<Datum> {
    let local = instant_to_local(format.now_us, format)?;
    let midnight = Datum::Timestamp(local - local.rem_euclid(US_PER_DAY));
    let moment = match &args[0] {
        Datum::Timestamptz(us) => Datum::Timestamp(instant_to_local(*us, format)?),
        other => other.clone(),
    };
    age(&[midnight, moment], format)
}

/// Years, months and days between two moments, as calendars count them.
pub(super) fn age(args: &[Datum], format: &FormatSettings) -> SqlResult<Datum> {
    let local = |datum: &Datum| match datum {
        Datum::Timestamptz(us) => instant_to_local(*us, format),
        Datum::Timestamp(us) => Ok(*us),
        _ => Err(SqlError::internal("a timestamp was expected")),
    };
    if !args.iter().all(is_finite) {
        return Err(overflow("cannot subtract infinite timestamps"));
    }
    let (left, right) = (local(&args[0])?, local(&args[1])?);
    let is_negative = left < right;
    let (later, earlier) = if is_negative { (right, left) } else { (left, right) };
    let parts = |us: i64| (civil_from_days(us.div_euclid(US_PER_DAY)), us.rem_euclid(US_PER_DAY));
    let ((to, to_time), (from, from_time)) = (parts(later), parts(earlier));
    let mut micros = to_time - from_time;
    let mut days = i64::from(to.day) - i64::from(from.day);
    let mut months = (to.year - from.year) * 12 + i64::from(to.month) - i64::from(from.month);
    if micros < 0 {
        micros += US_PER_DAY;
        days -= 1;
    }
    // The month that days are borrowed from is that of the second argument, or of the first.
    let lender = if is_negative { parts(left).0 } else { parts(right).0 };
    while days < 0 {
        days += i64::from(days_in_month(lender.year, lender.month));
        months -= 1;
    }
    let months = i32::try_from(months).map_err(|_| out_of_range())?;
    let days = i32::try_from(days).map_err(|_| out_of_range())?;
    let age = Interval { months, days, micros };
    Ok(Datum::Interval(if is_negative { negated(age)? } else { age }))
}
