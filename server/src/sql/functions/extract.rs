//! `extract(field FROM …)`, which is a numeric, and `date_part('field', …)`, which is a double.

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::BigInt;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::calendar::{
    CivilDate, UNIX_EPOCH_JULIAN, US_PER_DAY, US_PER_SECOND, civil_from_days, day_of_week, days_from_civil,
};
use crate::pgtype::cast::instant_to_local;
use crate::pgtype::datum::Datum;
use crate::pgtype::interval::{Interval, US_PER_HOUR, US_PER_MINUTE};
use crate::pgtype::numeric::Numeric;
use crate::pgtype::settings::FormatSettings;
use crate::sql::functions::row::{Entry, Kind, strict};
use crate::sqlstate;

use Kind::{Date, Float8, Text, Timestamp, Timestamptz};

/// The functions.
pub const FUNCTIONS: &[Entry] = &[
    (
        "extract",
        &[
            strict(&[Text, Timestamptz], Kind::Numeric, numeric),
            strict(&[Text, Timestamp], Kind::Numeric, numeric),
            strict(&[Text, Date], Kind::Numeric, numeric),
            strict(&[Text, Kind::Interval], Kind::Numeric, numeric),
        ],
    ),
    (
        "date_part",
        &[
            strict(&[Text, Timestamptz], Float8, double),
            strict(&[Text, Timestamp], Float8, double),
            strict(&[Text, Date], Float8, double),
            strict(&[Text, Kind::Interval], Float8, double),
        ],
    ),
];

/// Digits after the point that a field of `extract` has; `None` where its value decides.
pub fn scale_of(field: &str, is_date: bool) -> Option<u8> {
    match unit(field)? {
        Unit::Second => Some(6),
        Unit::Epoch => Some(if is_date { 0 } else { 6 }),
        Unit::Millisecond => Some(3),
        Unit::Julian if !is_date => None,
        _ => Some(0),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
    Decade,
    Century,
    Millennium,
    Dow,
    Isodow,
    Doy,
    Isoyear,
    Julian,
    Epoch,
    Timezone,
    TimezoneHour,
    TimezoneMinute,
}

/// The unit of a name, by any of its spellings.
fn unit(name: &str) -> Option<Unit> {
    Some(match name {
        "us" | "usec" | "usecs" | "microsecon" | "microsecond" | "microseconds" | "useconds" => {
            Unit::Microsecond
        }
        "ms" | "msec" | "msecs" | "millisecon" | "millisecond" | "milliseconds" | "mseconds" => {
            Unit::Millisecond
        }
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Second,
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Minute,
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Hour,
        "d" | "day" | "days" => Unit::Day,
        "w" | "week" | "weeks" => Unit::Week,
        "mon" | "mons" | "month" | "months" => Unit::Month,
        "qtr" | "quarter" => Unit::Quarter,
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Year,
        "dec" | "decs" | "decade" | "decades" => Unit::Decade,
        "c" | "cent" | "century" | "centuries" => Unit::Century,
        "mil" | "mils" | "millennia" | "millennium" => Unit::Millennium,
        "dow" => Unit::Dow,
        "isodow" => Unit::Isodow,
        "doy" => Unit::Doy,
        "isoyear" => Unit::Isoyear,
        "j" | "jd" | "julian" => Unit::Julian,
        "epoch" => Unit::Epoch,
        "timezone" => Unit::Timezone,
        "timezone_h" | "timezone_hour" => Unit::TimezoneHour,
        "timezone_m" | "timezone_minute" => Unit::TimezoneMinute,
        _ => return None,
    })
}

/// What a field of a value is.
enum Part {
    /// So many units of the digit that is so far behind the point.
    Scaled(i128, u32),
    /// A number of days with their fraction.
    Days {
        day: i64,
        us: i64,
    },
    Infinite {
        is_negative: bool,
    },
    Null,
}

fn numeric(args: &[Datum], format: &FormatSettings) -> SqlResult<Datum> {
    Ok(match part(args, format)? {
        Part::Scaled(value, scale) => {
            Datum::Numeric(Numeric::from_scaled(BigInt::from(value), i64::from(scale)))
        }
        Part::Days { day, us } => {
            let fraction = BigDecimal::from(us) / BigDecimal::from(US_PER_DAY);
            let days =
                (BigDecimal::from(day) + fraction).with_scale_round(20, bigdecimal::RoundingMode::HalfUp);
            Datum::Numeric(Numeric::Finite(days))
        }
        Part::Infinite { is_negative: true } => Datum::Numeric(Numeric::NegativeInfinity),
        Part::Infinite { .. } => Datum::Numeric(Numeric::Infinity),
        Part::Null => Datum::Null,
    })
}

fn double(args: &[Datum], format: &FormatSettings) -> SqlResult<Datum> {
    Ok(match part(args, format)? {
        Part::Scaled(value, scale) => Datum::Float8(value as f64 / 10_f64.powi(scale.cast_signed())),
        Part::Days { day, us } => Datum::Float8(day as f64 + us as f64 / US_PER_DAY as f64),
        Part::Infinite { is_negative } => {
            Datum::Float8(if is_negative { f64::NEG_INFINITY } else { f64::INFINITY })
        }
        Part::Null => Datum::Null,
    })
}

fn part(args: &[Datum], format: &FormatSettings) -> SqlResult<Part> {
    let [Datum::Text(field), value] = args else {
        return Err(SqlError::internal("a field and a time were expected"));
    };
    let field = field.to_ascii_lowercase();
    let type_name = match value {
        Datum::Date(_) => "date",
        Datum::Timestamp(_) => "timestamp without time zone",
        Datum::Timestamptz(_) => "timestamp with time zone",
        _ => "interval",
    };
    let Some(unit) = unit(&field) else {
        let message = format!("unit \"{field}\" not recognized for type {type_name}");
        return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
    };
    let found = match value {
        Datum::Interval(value) => of_interval(unit, value),
        Datum::Date(i32::MIN) => of_infinity(unit, true),
        Datum::Date(i32::MAX) => of_infinity(unit, false),
        Datum::Date(days) if !is_of_time(unit) => of_local(unit, i64::from(*days) * US_PER_DAY, true),
        Datum::Timestamp(i64::MIN) | Datum::Timestamptz(i64::MIN) => of_infinity(unit, true),
        Datum::Timestamp(i64::MAX) | Datum::Timestamptz(i64::MAX) => of_infinity(unit, false),
        Datum::Timestamp(us) => of_local(unit, *us, false),
        Datum::Timestamptz(us) => {
            let local = instant_to_local(*us, format)?;
            of_zone(unit, *us, local).or_else(|| of_local(unit, local, false))
        }
        _ => None,
    };
    found.ok_or_else(|| {
        SqlError::new(
            sqlstate::FEATURE_NOT_SUPPORTED,
            format!("unit \"{field}\" not supported for type {type_name}"),
        )
    })
}

fn is_of_time(unit: Unit) -> bool {
    matches!(unit, Unit::Microsecond | Unit::Millisecond | Unit::Second | Unit::Minute | Unit::Hour)
}

fn whole(value: i64) -> Option<Part> {
    Some(Part::Scaled(i128::from(value), 0))
}

/// Fields that grow without end are infinite, the others unknown.
fn of_infinity(unit: Unit, is_negative: bool) -> Option<Part> {
    let grows = matches!(
        unit,
        Unit::Year
            | Unit::Decade
            | Unit::Century
            | Unit::Millennium
            | Unit::Julian
            | Unit::Isoyear
            | Unit::Epoch
    );
    Some(if grows { Part::Infinite { is_negative } } else { Part::Null })
}

/// Fields of an instant that its zone has to do with.
fn of_zone(unit: Unit, us: i64, local: i64) -> Option<Part> {
    let offset = (local - us) / US_PER_SECOND;
    match unit {
        Unit::Epoch => Some(Part::Scaled(i128::from(us), 6)),
        Unit::Timezone => whole(offset),
        Unit::TimezoneHour => whole(offset / 3600),
        Unit::TimezoneMinute => whole(offset / 60 % 60),
        _ => None,
    }
}

fn of_local(unit: Unit, us: i64, is_date: bool) -> Option<Part> {
    let (day, time) = (us.div_euclid(US_PER_DAY), us.rem_euclid(US_PER_DAY));
    let date = civil_from_days(day);
    // Year 0 is 1 BC, which is shown as -1.
    let shown_year = if date.year <= 0 { date.year - 1 } else { date.year };
    match unit {
        Unit::Microsecond => whole(time % US_PER_MINUTE),
        Unit::Millisecond => Some(Part::Scaled(i128::from(time % US_PER_MINUTE), 3)),
        Unit::Second => Some(Part::Scaled(i128::from(time % US_PER_MINUTE), 6)),
        Unit::Minute => whole(time % US_PER_HOUR / US_PER_MINUTE),
        Unit::Hour => whole(time / US_PER_HOUR),
        Unit::Day => whole(i64::from(date.day)),
        Unit::Month => whole(i64::from(date.month)),
        Unit::Quarter => whole(i64::from(date.month - 1) / 3 + 1),
        Unit::Week => whole(iso_week(day).1),
        Unit::Isoyear => {
            let year = iso_week(day).0;
            whole(if year <= 0 { year - 1 } else { year })
        }
        Unit::Year => whole(shown_year),
        Unit::Decade => whole(date.year.div_euclid(10)),
        Unit::Century => whole(ages(date, 100)),
        Unit::Millennium => whole(ages(date, 1000)),
        Unit::Dow => whole(day_of_week(day) as i64),
        Unit::Isodow => whole(match day_of_week(day) as i64 {
            0 => 7,
            weekday => weekday,
        }),
        Unit::Doy => whole(day - days_from_civil(date.year, 1, 1) + 1),
        Unit::Julian if is_date => whole(day + i64::from(UNIX_EPOCH_JULIAN)),
        Unit::Julian => Some(Part::Days { day: day + i64::from(UNIX_EPOCH_JULIAN), us: time }),
        Unit::Epoch if is_date => whole(us / US_PER_SECOND),
        Unit::Epoch => Some(Part::Scaled(i128::from(us), 6)),
        Unit::Timezone | Unit::TimezoneHour | Unit::TimezoneMinute => None,
    }
}

/// The century or millennium of a day: the first begins with year 1, and there is none of number 0.
fn ages(date: CivilDate, years: i64) -> i64 {
    if date.year > 0 { (date.year + years - 1) / years } else { -((years - 1 - (date.year - 1)) / years) }
}

/// The ISO year and week of a day: weeks begin on Monday and belong to the year of their Thursday.
pub fn iso_week(day: i64) -> (i64, i64) {
    let weekday = (day_of_week(day) as i64 + 6) % 7;
    let thursday = day - weekday + 3;
    let year = civil_from_days(thursday).year;
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

fn of_interval(unit: Unit, value: &Interval) -> Option<Part> {
    let Interval { months, days, micros } = *value;
    let (years, month) = (i64::from(months / 12), i64::from(months % 12));
    match unit {
        Unit::Microsecond => whole(micros % US_PER_MINUTE),
        Unit::Millisecond => Some(Part::Scaled(i128::from(micros % US_PER_MINUTE), 3)),
        Unit::Second => Some(Part::Scaled(i128::from(micros % US_PER_MINUTE), 6)),
        Unit::Minute => whole(micros % US_PER_HOUR / US_PER_MINUTE),
        Unit::Hour => whole(micros / US_PER_HOUR),
        Unit::Day => whole(i64::from(days)),
        Unit::Month => whole(month),
        Unit::Quarter => whole(month / 3 + 1),
        Unit::Year => whole(years),
        Unit::Decade => whole(years / 10),
        Unit::Century => whole(years / 100),
        Unit::Millennium => whole(years / 1000),
        Unit::Epoch => {
            // A year is 365.25 days here, a month 30.
            let quarter_days = i128::from(years) * 1461 + i128::from(month) * 120 + i128::from(days) * 4;
            Some(Part::Scaled(quarter_days * i128::from(US_PER_DAY / 4) + i128::from(micros), 6))
        }
        _ => None,
    }
}
