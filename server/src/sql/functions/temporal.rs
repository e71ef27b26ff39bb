//! Arithmetic and functions on dates, timestamps and intervals.

use arrow::datatypes::IntervalMonthDayNano;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::calendar::{
    DATE_MAX, DATE_MIN, TIMESTAMP_END, TIMESTAMP_MIN, US_PER_DAY, US_PER_SECOND, civil_from_days,
    days_from_civil, days_in_month,
};
use crate::pgtype::cast::{instant_to_local, local_to_instant};
use crate::pgtype::datetime::parse::value_out_of_range;
use crate::pgtype::datum::Datum;
use crate::pgtype::interval::{Interval, parse::out_of_range};
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::timezone::TimeZone;
use crate::sql::functions::formatting;
use crate::sql::functions::row::{Entry, Kind, Overload, strict};
use crate::sqlstate;

mod making;

use self::making::{epoch, make_date, make_interval, make_timestamp};
use Kind::{Bool, Date, Float8, Int4, Text, Timestamp, Timestamptz};

/// Days that a month is taken for where it must be some.
const DAYS_PER_MONTH: i32 = 30;

/// Operators by their symbols.
pub const OPERATORS: &[Entry] = &[
    ("+", ADD),
    ("-", SUBTRACT),
    ("*", MULTIPLY),
    ("/", &[strict(&[Kind::Interval, Float8], Kind::Interval, |args, _| divide(args))]),
];

/// Functions by their names.
pub const FUNCTIONS: &[Entry] = &[
    (
        "age",
        &[
            strict(&[Timestamptz, Timestamptz], Kind::Interval, age),
            strict(&[Timestamp, Timestamp], Kind::Interval, age),
            strict(&[Timestamptz], Kind::Interval, age_today),
            strict(&[Timestamp], Kind::Interval, age_today),
        ],
    ),
    (
        "date_bin",
        &[
            strict(&[Kind::Interval, Timestamptz, Timestamptz], Timestamptz, |args, _| date_bin(args)),
            strict(&[Kind::Interval, Timestamp, Timestamp], Timestamp, |args, _| date_bin(args)),
        ],
    ),
    ("justify_days", &[strict(&[Kind::Interval], Kind::Interval, |args, _| justify(args, Justify::Days))]),
    ("justify_hours", &[strict(&[Kind::Interval], Kind::Interval, |args, _| justify(args, Justify::Hours))]),
    (
        "justify_interval",
        &[strict(&[Kind::Interval], Kind::Interval, |args, _| justify(args, Justify::Both))],
    ),
    (
        "isfinite",
        &[
            strict(&[Date], Bool, |args, _| Ok(Datum::Bool(is_finite(&args[0])))),
            strict(&[Timestamp], Bool, |args, _| Ok(Datum::Bool(is_finite(&args[0])))),
            strict(&[Timestamptz], Bool, |args, _| Ok(Datum::Bool(is_finite(&args[0])))),
            strict(&[Kind::Interval], Bool, |_, _| Ok(Datum::Bool(true))),
        ],
    ),
    (
        "make_interval",
        &[strict(&[Int4, Int4, Int4, Int4, Int4, Int4, Float8], Kind::Interval, |args, _| {
            make_interval(args)
        })],
    ),
    (
        "make_timestamptz",
        &[
            strict(&[Int4, Int4, Int4, Int4, Int4, Float8], Timestamptz, |args, format| {
                local_to_instant(make_timestamp(args)?, format).map(Datum::Timestamptz)
            }),
            strict(&[Int4, Int4, Int4, Int4, Int4, Float8, Text], Timestamptz, |args, format| {
                at_zone(&[args[6].clone(), Datum::Timestamp(make_timestamp(args)?)], format)
            }),
        ],
    ),
    (
        "overlaps",
        &[
            overlapping(&[Timestamptz, Timestamptz, Timestamptz, Timestamptz]),
            overlapping(&[Timestamp, Timestamp, Timestamp, Timestamp]),
            overlapping(&[Timestamptz, Kind::Interval, Timestamptz, Kind::Interval]),
            overlapping(&[Timestamp, Kind::Interval, Timestamp, Kind::Interval]),
            overlapping(&[Timestamptz, Timestamptz, Timestamptz, Kind::Interval]),
            overlapping(&[Timestamp, Timestamp, Timestamp, Kind::Interval]),
            overlapping(&[Timestamptz, Kind::Interval, Timestamptz, Timestamptz]),
            overlapping(&[Timestamp, Kind::Interval, Timestamp, Timestamp]),
        ],
    ),
    ("make_date", &[strict(&[Int4, Int4, Int4], Date, |args, _| make_date(args).map(Datum::Date))]),
    (
        "make_timestamp",
        &[strict(&[Int4, Int4, Int4, Int4, Int4, Float8], Timestamp, |args, _| {
            make_timestamp(args).map(Datum::Timestamp)
        })],
    ),
    (
        "to_timestamp",
        &[
            strict(&[Float8], Timestamptz, |args, _| epoch(args)),
            strict(&[Text, Text], Timestamptz, formatting::to_timestamp),
        ],
    ),
    (
        "timezone",
        &[
            strict(&[Text, Timestamptz], Timestamp, at_zone),
            strict(&[Text, Timestamp], Timestamptz, at_zone),
            strict(&[Kind::Interval, Timestamptz], Timestamp, at_zone),
            strict(&[Kind::Interval, Timestamp], Timestamptz, at_zone),
        ],
    ),
];

const ADD: &[Overload] = &[
    strict(&[Date, Int4], Date, |args, _| shift_days(&args[0], &args[1], 1)),
    strict(&[Int4, Date], Date, |args, _| shift_days(&args[1], &args[0], 1)),
    strict(&[Timestamptz, Kind::Interval], Timestamptz, |args, format| shift(&args[0], &args[1], 1, format)),
    strict(&[Timestamp, Kind::Interval], Timestamp, |args, format| shift(&args[0], &args[1], 1, format)),
    strict(&[Date, Kind::Interval], Timestamp, |args, format| shift(&args[0], &args[1], 1, format)),
    strict(&[Kind::Interval, Timestamptz], Timestamptz, |args, format| shift(&args[1], &args[0], 1, format)),
    strict(&[Kind::Interval, Timestamp], Timestamp, |args, format| shift(&args[1], &args[0], 1, format)),
    strict(&[Kind::Interval, Date], Timestamp, |args, format| shift(&args[1], &args[0], 1, format)),
    strict(&[Kind::Interval, Kind::Interval], Kind::Interval, |args, _| {
        add(interval(&args[0])?, interval(&args[1])?).map(Datum::Interval)
    }),
];

const SUBTRACT: &[Overload] = &[
    strict(&[Date, Date], Int4, |args, _| days_between(args)),
    strict(&[Date, Int4], Date, |args, _| shift_days(&args[0], &args[1], -1)),
    strict(&[Timestamptz, Timestamptz], Kind::Interval, |args, _| between(args)),
    strict(&[Timestamp, Timestamp], Kind::Interval, |args, _| between(args)),
    strict(&[Timestamptz, Kind::Interval], Timestamptz, |args, format| shift(&args[0], &args[1], -1, format)),
    strict(&[Timestamp, Kind::Interval], Timestamp, |args, format| shift(&args[0], &args[1], -1, format)),
    strict(&[Date, Kind::Interval], Timestamp, |args, format| shift(&args[0], &args[1], -1, format)),
    strict(&[Kind::Interval, Kind::Interval], Kind::Interval, |args, _| {
        add(interval(&args[0])?, negated(interval(&args[1])?)?).map(Datum::Interval)
    }),
    strict(&[Kind::Interval], Kind::Interval, |args, _| negated(interval(&args[0])?).map(Datum::Interval)),
];

const MULTIPLY: &[Overload] = &[
    strict(&[Kind::Interval, Float8], Kind::Interval, |args, _| {
        scaled(interval(&args[0])?, |it| it * float(&args[1])).map(Datum::Interval)
    }),
    strict(&[Float8, Kind::Interval], Kind::Interval, |args, _| {
        scaled(interval(&args[1])?, |it| it * float(&args[0])).map(Datum::Interval)
    }),
];

fn interval(datum: &Datum) -> SqlResult<Interval> {
    match datum {
        Datum::Interval(value) => Ok(*value),
        _ => Err(SqlError::internal("an interval was expected")),
    }
}

fn float(datum: &Datum) -> f64 {
    match datum {
        Datum::Float8(value) => *value,
        _ => f64::NAN,
    }
}

fn integer(datum: &Datum) -> i32 {
    match datum {
        Datum::Int4(value) => *value,
        _ => 0,
    }
}

fn overflow(message: &str) -> SqlError {
    SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, message)
}

fn is_finite(datum: &Datum) -> bool {
    match datum {
        Datum::Date(days) => !matches!(*days, i32::MIN | i32::MAX),
        Datum::Timestamp(us) | Datum::Timestamptz(us) => !matches!(*us, i64::MIN | i64::MAX),
        _ => true,
    }
}

fn shift_days(date: &Datum, by: &Datum, sign: i32) -> SqlResult<Datum> {
    let Datum::Date(days) = date else { return Err(SqlError::internal("a date was expected")) };
    if !is_finite(date) {
        return Ok(date.clone());
    }
    let shifted = integer(by).checked_mul(sign).and_then(|by| days.checked_add(by));
    let shifted = shifted.filter(|days| (DATE_MIN..=DATE_MAX).contains(days));
    shifted.map(Datum::Date).ok_or_else(|| overflow("date out of range"))
}

fn days_between(args: &[Datum]) -> SqlResult<Datum> {
    let [Datum::Date(left), Datum::Date(right)] = args else {
        return Err(SqlError::internal("dates were expected"));
    };
    if !args.iter().all(is_finite) {
        return Err(overflow("cannot subtract infinite dates"));
    }
    left.checked_sub(*right).map(Datum::Int4).ok_or_else(|| overflow("date out of range"))
}

/// Days and a time of day less than one.
fn between(args: &[Datum]) -> SqlResult<Datum> {
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

fn add(left: Interval, right: Interval) -> SqlResult<Interval> {
    let sum = || {
        Some(Interval {
            months: left.months.checked_add(right.months)?,
            days: left.days.checked_add(right.days)?,
            micros: left.micros.checked_add(right.micros)?,
        })
    };
    sum().ok_or_else(out_of_range)
}

fn negated(value: Interval) -> SqlResult<Interval> {
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
fn shift(moment: &Datum, by: &Datum, sign: i32, format: &FormatSettings) -> SqlResult<Datum> {
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

fn shift_local(us: i64, by: Interval) -> SqlResult<i64> {
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

fn divide(args: &[Datum]) -> SqlResult<Datum> {
    let divisor = float(&args[1]);
    if divisor == 0.0 {
        return Err(SqlError::new(sqlstate::DIVISION_BY_ZERO, "division by zero"));
    }
    scaled(interval(&args[0])?, |it| it / divisor).map(Datum::Interval)
}

/// Every field scaled; fractions of months become days of a thirtieth, fractions of days time.
fn scaled(value: Interval, scale: impl Fn(f64) -> f64) -> SqlResult<Interval> {
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

/// The start of the stride that a time lies in, counted from an origin.
fn date_bin(args: &[Datum]) -> SqlResult<Datum> {
    let stride = interval(&args[0])?;
    let (
        Datum::Timestamp(us) | Datum::Timestamptz(us),
        Datum::Timestamp(origin) | Datum::Timestamptz(origin),
    ) = (&args[1], &args[2])
    else {
        return Err(SqlError::internal("timestamps were expected"));
    };
    if !is_finite(&args[1]) {
        return Ok(args[1].clone());
    }
    if !is_finite(&args[2]) {
        return Err(overflow("origin out of range"));
    }
    if stride.months != 0 {
        let message = "timestamps cannot be binned into intervals containing months or years";
        return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
    }
    let width = i64::from(stride.days).checked_mul(US_PER_DAY).and_then(|it| it.checked_add(stride.micros));
    let width = width.ok_or_else(out_of_range)?;
    if width <= 0 {
        return Err(overflow("stride must be greater than zero"));
    }
    let distance = us.checked_sub(*origin).ok_or_else(out_of_range)?;
    let start = us.checked_sub(distance.rem_euclid(width)).ok_or_else(|| value_out_of_range("timestamp"))?;
    Ok(match &args[1] {
        Datum::Timestamp(_) => Datum::Timestamp(start),
        _ => Datum::Timestamptz(start),
    })
}

enum Justify {
    Days,
    Hours,
    Both,
}

fn justify(args: &[Datum], how: Justify) -> SqlResult<Datum> {
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

fn age_today(args: &[Datum], format: &FormatSettings) -> SqlResult<Datum> {
    let local = instant_to_local(format.now_us, format)?;
    let midnight = Datum::Timestamp(local - local.rem_euclid(US_PER_DAY));
    let moment = match &args[0] {
        Datum::Timestamptz(us) => Datum::Timestamp(instant_to_local(*us, format)?),
        other => other.clone(),
    };
    age(&[midnight, moment], format)
}

/// Years, months and days between two moments, as calendars count them.
fn age(args: &[Datum], format: &FormatSettings) -> SqlResult<Datum> {
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

/// Two spans, each by its ends or by a start and a length; NULLs leave open what they do not decide.
const fn overlapping(arguments: &'static [Kind]) -> Overload {
    Overload { takes_nulls: true, ..strict(arguments, Bool, overlaps) }
}

fn overlaps(args: &[Datum], format: &FormatSettings) -> SqlResult<Datum> {
    let end = |start: &Datum, end: &Datum| match (start, end) {
        (Datum::Null, Datum::Interval(_)) => Ok(Datum::Null),
        (start, end @ Datum::Interval(_)) => shift(start, end, 1, format),
        (_, end) => Ok(end.clone()),
    };
    let moment = |datum: &Datum| match datum {
        Datum::Timestamp(us) | Datum::Timestamptz(us) => Some(*us),
        _ => None,
    };
    let span = |start: &Datum, last: &Datum| -> SqlResult<Option<(i64, Option<i64>)>> {
        let ends = (moment(start), moment(&end(start, last)?));
        Ok(match ends {
            (None, None) => None,
            (Some(one), None) | (None, Some(one)) => Some((one, None)),
            (Some(one), Some(other)) => Some((one.min(other), Some(one.max(other)))),
        })
    };
    let (Some(first), Some(second)) = (span(&args[0], &args[1])?, span(&args[2], &args[3])?) else {
        return Ok(Datum::Null);
    };
    let (earlier, later) = if first.0 <= second.0 { (first, second) } else { (second, first) };
    Ok(match (earlier.0 == later.0, earlier.1) {
        // Both start at once: they overlap, whatever their ends are, if those are known.
        (true, _) if earlier.1.is_none() || later.1.is_none() => Datum::Null,
        (true, _) => Datum::Bool(true),
        (false, Some(end)) if later.0 < end => Datum::Bool(true),
        (false, Some(_)) => Datum::Bool(false),
        (false, None) => Datum::Null,
    })
}

/// What clocks in a zone show at an instant, or the instant at which they show a time.
fn at_zone(args: &[Datum], format: &FormatSettings) -> SqlResult<Datum> {
    let time_zone = match &args[0] {
        Datum::Text(name) => TimeZone::decode(name)?,
        Datum::Interval(Interval { months: 0, days: 0, micros }) => {
            TimeZone::from_offset(micros / US_PER_SECOND).ok_or_else(out_of_range)?
        }
        _ => {
            let message = "interval time zone must not include months or days";
            return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
        }
    };
    let there = FormatSettings { time_zone, ..format.clone() };
    match &args[1] {
        Datum::Timestamptz(us) => instant_to_local(*us, &there).map(Datum::Timestamp),
        Datum::Timestamp(us) => local_to_instant(*us, &there).map(Datum::Timestamptz),
        _ => Err(SqlError::internal("a timestamp was expected")),
    }
}
