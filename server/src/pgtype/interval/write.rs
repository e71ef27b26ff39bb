//! Intervals to text, in the four styles of `IntervalStyle`.

use std::fmt::{self, Write};

use bytes::BytesMut;

use super::{Interval, US_PER_HOUR, US_PER_MINUTE};
use crate::pgtype::calendar::US_PER_SECOND;
use crate::pgtype::settings::IntervalStyle;

/// An interval in the fields it is written with; those of the date have one sign, and those of the
/// time have one.
#[derive(Clone, Copy, Debug)]
struct Fields {
    years: i64,
    months: i64,
    days: i64,
    hours: i64,
    minutes: i64,
    seconds: i64,
    micros: i64,
}

impl Fields {
    fn of(interval: &Interval) -> Fields {
        let Interval { months, days, micros } = *interval;
        Fields {
            years: i64::from(months) / 12,
            months: i64::from(months) % 12,
            days: i64::from(days),
            hours: micros / US_PER_HOUR,
            minutes: micros % US_PER_HOUR / US_PER_MINUTE,
            seconds: micros % US_PER_MINUTE / US_PER_SECOND,
            micros: micros % US_PER_SECOND,
        }
    }

    fn time(&self) -> [i64; 4] {
        [self.hours, self.minutes, self.seconds, self.micros]
    }

    fn has_time(&self) -> bool {
        self.time().iter().any(|field| *field != 0)
    }

    fn has_negative_time(&self) -> bool {
        self.time().iter().any(|field| *field < 0)
    }

    fn has_seconds(&self) -> bool {
        self.seconds != 0 || self.micros != 0
    }
}

/// Writes an interval.
pub fn write(out: &mut BytesMut, interval: &Interval, style: IntervalStyle) {
    let fields = Fields::of(interval);
    let written = match style {
        IntervalStyle::Postgres => write_postgres(out, &fields),
        IntervalStyle::PostgresVerbose => write_verbose(out, &fields),
        IntervalStyle::SqlStandard => write_sql(out, &fields),
        IntervalStyle::Iso8601 => write_iso(out, &fields),
    };
    written.expect("a buffer in memory takes every text");
}

/// Writes `seconds.fraction` without a sign, the fraction up to its last digit that is not 0.
fn write_seconds(out: &mut BytesMut, fields: &Fields, width: usize) -> fmt::Result {
    write!(out, "{:0width$}", fields.seconds.unsigned_abs())?;
    if fields.micros != 0 {
        let digits = format!("{:06}", fields.micros.unsigned_abs());
        write!(out, ".{}", digits.trim_end_matches('0'))?;
    }
    Ok(())
}

fn write_postgres(out: &mut BytesMut, fields: &Fields) -> fmt::Result {
    let (mut is_first, mut was_negative) = (true, false);
    for (value, unit) in [(fields.years, "year"), (fields.months, "mon"), (fields.days, "day")] {
        if value == 0 {
            continue;
        }
        let space = if is_first { "" } else { " " };
        let plus = if was_negative && value > 0 { "+" } else { "" };
        let plural = if value == 1 { "" } else { "s" };
        write!(out, "{space}{plus}{value} {unit}{plural}")?;
        (is_first, was_negative) = (false, value < 0);
    }
    if !is_first && !fields.has_time() {
        return Ok(());
    }
    let space = if is_first { "" } else { " " };
    let sign = match (fields.has_negative_time(), was_negative) {
        (true, _) => "-",
        (false, true) => "+",
        (false, false) => "",
    };
    write!(out, "{space}{sign}{:02}:{:02}:", fields.hours.unsigned_abs(), fields.minutes.unsigned_abs())?;
    write_seconds(out, fields, 2)
}

/// The first field that is not 0 decides whether the interval is written as one ago.
fn write_verbose(out: &mut BytesMut, fields: &Fields) -> fmt::Result {
    out.write_char('@')?;
    let mut is_ago = None;
    let units = [
        (fields.years, "year"),
        (fields.months, "mon"),
        (fields.days, "day"),
        (fields.hours, "hour"),
        (fields.minutes, "min"),
    ];
    for (value, unit) in units {
        if value == 0 {
            continue;
        }
        let value = if *is_ago.get_or_insert(value < 0) { -value } else { value };
        let plural = if value == 1 { "" } else { "s" };
        write!(out, " {value} {unit}{plural}")?;
    }
    if fields.has_seconds() {
        let is_negative = fields.seconds < 0 || (fields.seconds == 0 && fields.micros < 0);
        let is_minus = *is_ago.get_or_insert(is_negative) != is_negative;
        out.write_str(if is_minus { " -" } else { " " })?;
        write_seconds(out, fields, 1)?;
        let is_one = fields.seconds.abs() == 1 && fields.micros == 0;
        out.write_str(if is_one { " sec" } else { " secs" })?;
    }
    match is_ago {
        None => out.write_str(" 0"),
        Some(true) => out.write_str(" ago"),
        Some(false) => Ok(()),
    }
}

fn write_sql(out: &mut BytesMut, fields: &Fields) -> fmt::Result {
    let all = [
        fields.years,
        fields.months,
        fields.days,
        fields.hours,
        fields.minutes,
        fields.seconds,
        fields.micros,
    ];
    let has_negative = all.iter().any(|field| *field < 0);
    let has_positive = all.iter().any(|field| *field > 0);
    let has_year_month = fields.years != 0 || fields.months != 0;
    let has_day_time = fields.days != 0 || fields.has_time();
    let [years, months, days, hours, minutes] = [0, 1, 2, 3, 4].map(|at: usize| all[at].unsigned_abs());
    if !has_negative && !has_positive {
        return out.write_char('0');
    }
    if (has_negative && has_positive) || (has_year_month && has_day_time) {
        // Not an interval of the standard: every part has its sign.
        let sign = |is_negative: bool| if is_negative { '-' } else { '+' };
        let year_sign = sign(fields.years < 0 || fields.months < 0);
        let (day_sign, time_sign) = (sign(fields.days < 0), sign(fields.has_negative_time()));
        write!(out, "{year_sign}{years}-{months} {day_sign}{days} {time_sign}{hours}:{minutes:02}:")?;
        return write_seconds(out, fields, 2);
    }
    if has_negative {
        out.write_char('-')?;
    }
    if has_year_month {
        return write!(out, "{years}-{months}");
    }
    if fields.days != 0 {
        write!(out, "{days} ")?;
    }
    write!(out, "{hours}:{minutes:02}:")?;
    write_seconds(out, fields, 2)
}

fn write_iso(out: &mut BytesMut, fields: &Fields) -> fmt::Result {
    let dates = [(fields.years, 'Y'), (fields.months, 'M'), (fields.days, 'D')];
    let times = [(fields.hours, 'H'), (fields.minutes, 'M')];
    if dates.iter().all(|(value, _)| *value == 0) && !fields.has_time() {
        return out.write_str("PT0S");
    }
    let write_fields = |out: &mut BytesMut, units: &[(i64, char)]| {
        units
            .iter()
            .filter(|(value, _)| *value != 0)
            .try_for_each(|(value, unit)| write!(out, "{value}{unit}"))
    };
    out.write_char('P')?;
    write_fields(out, &dates)?;
    if fields.has_time() {
        out.write_char('T')?;
    }
    write_fields(out, &times)?;
    if fields.has_seconds() {
        if fields.seconds < 0 || fields.micros < 0 {
            out.write_char('-')?;
        }
        write_seconds(out, fields, 1)?;
        out.write_char('S')?;
    }
    Ok(())
}
