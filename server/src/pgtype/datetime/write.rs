//! Dates and times to text.

use bytes::BytesMut;

use crate::pgtype::calendar::{CivilDate, SECONDS_PER_DAY, civil_from_days, day_of_week};
use crate::pgtype::datum::Timetz;
use crate::pgtype::settings::{DateOrder, DateOutput, DateStyle, FormatSettings};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];

/// The most letters that are written of a zone's abbreviation.
const ABBREVIATION_LEN_MAX: usize = 10;

/// How many units of a timestamp make a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// 1
    Second,
    /// 10³
    Millisecond,
    /// 10⁶
    Microsecond,
    /// 10⁹
    Nanosecond,
}

impl Resolution {
    /// Units of a second.
    pub const fn per_second(self) -> i64 {
        match self {
            Resolution::Second => 1,
            Resolution::Millisecond => 1_000,
            Resolution::Microsecond => 1_000_000,
            Resolution::Nanosecond => 1_000_000_000,
        }
    }
}

/// A line of text being written: longer than any timestamp is.
struct Line {
    bytes: [u8; 96],
    len: usize,
}

impl Line {
    fn new() -> Line {
        Line { bytes: [0; 96], len: 0 }
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn push_text(&mut self, text: &str) {
        self.bytes[self.len..self.len + text.len()].copy_from_slice(text.as_bytes());
        self.len += text.len();
    }

    /// Two digits.
    fn push_pair(&mut self, value: u32) {
        self.push(b'0' + (value / 10 % 10) as u8);
        self.push(b'0' + (value % 10) as u8);
    }

    /// Four digits or more; years before Christ are written by their number there.
    fn push_year(&mut self, year: i64) {
        let shown = if year > 0 { year.unsigned_abs() } else { (1 - year).unsigned_abs() };
        match u32::try_from(shown) {
            Ok(short @ 0..10_000) => {
                self.push_pair(short / 100);
                self.push_pair(short % 100);
            }
            _ => self.push_text(itoa::Buffer::new().format(shown)),
        }
    }

    fn push_clock(&mut self, second_of_day: u32, nanos: u32) {
        self.push_pair(second_of_day / 3600);
        self.push(b':');
        self.push_pair(second_of_day / 60 % 60);
        self.push(b':');
        self.push_pair(second_of_day % 60);
        self.push_fraction(nanos);
    }

    /// The point and digits up to the last that is not 0.
    fn push_fraction(&mut self, nanos: u32) {
        if nanos == 0 {
            return;
        }
        self.push(b'.');
        let mut divisor = 100_000_000;
        let mut rest = nanos;
        while rest > 0 {
            self.push(b'0' + (rest / divisor) as u8);
            rest %= divisor;
            divisor /= 10;
        }
    }

    /// `+hh`, `+hh:mm` or `+hh:mm:ss`.
    fn push_offset(&mut self, offset_seconds: i32) {
        self.push(if offset_seconds < 0 { b'-' } else { b'+' });
        let seconds = offset_seconds.unsigned_abs();
        match seconds / 3600 {
            hours @ 0..100 => self.push_pair(hours),
            hours => self.push_text(itoa::Buffer::new().format(hours)),
        }
        if !seconds.is_multiple_of(3600) {
            self.push(b':');
            self.push_pair(seconds / 60 % 60);
        }
        if !seconds.is_multiple_of(60) {
            self.push(b':');
            self.push_pair(seconds % 60);
        }
    }

    fn push_era(&mut self, year: i64) {
        if year <= 0 {
            self.push_text(" BC");
        }
    }

    /// The date, but for the style that puts the time before the year.
    fn push_date(&mut self, date: CivilDate, style: DateStyle) {
        let CivilDate { year, month, day } = date;
        let delimiter = match style.output {
            DateOutput::Iso => {
                self.push_year(year);
                self.push(b'-');
                self.push_pair(month);
                self.push(b'-');
                self.push_pair(day);
                return;
            }
            DateOutput::Sql => b'/',
            DateOutput::German => b'.',
            DateOutput::Postgres => b'-',
        };
        let is_day_first = style.order == DateOrder::Dmy || style.output == DateOutput::German;
        let (first, second) = if is_day_first { (day, month) } else { (month, day) };
        self.push_pair(first);
        self.push(delimiter);
        self.push_pair(second);
        self.push(delimiter);
        self.push_year(year);
    }

    fn append_to(&self, out: &mut BytesMut) {
        out.extend_from_slice(&self.bytes[..self.len]);
    }
}

/// Writes a `date`, days since 1970.
pub fn write_date(out: &mut BytesMut, days: i32, style: DateStyle) {
    match days {
        i32::MIN => out.extend_from_slice(b"-infinity"),
        i32::MAX => out.extend_from_slice(b"infinity"),
        _ => write_day(out, i64::from(days), style),
    }
}

/// Writes a day of any calendar, days since 1970.
pub fn write_day(out: &mut BytesMut, days: i64, style: DateStyle) {
    let date = civil_from_days(days);
    let mut line = Line::new();
    line.push_date(date, style);
    line.push_era(date.year);
    line.append_to(out);
}

/// Writes a `time`.
pub fn write_time(out: &mut BytesMut, value: i64, resolution: Resolution) {
    let mut line = Line::new();
    push_time(&mut line, value, resolution);
    line.append_to(out);
}

/// Writes a `timetz`.
pub fn write_timetz(out: &mut BytesMut, value: Timetz) {
    let mut line = Line::new();
    push_time(&mut line, value.time_us, Resolution::Microsecond);
    line.push_offset(value.offset_seconds);
    line.append_to(out);
}

fn push_time(line: &mut Line, value: i64, resolution: Resolution) {
    let (seconds, nanos) = split(value, resolution);
    line.push_clock(seconds.clamp(0, SECONDS_PER_DAY) as u32, nanos);
}

/// Whole seconds, and the rest in nanoseconds.
fn split(value: i64, resolution: Resolution) -> (i64, u32) {
    let per_second = resolution.per_second();
    let rest = value.rem_euclid(per_second) * (Resolution::Nanosecond.per_second() / per_second);
    (value.div_euclid(per_second), rest as u32)
}

/// Writes a `timestamp`.
pub fn write_timestamp(out: &mut BytesMut, value: i64, resolution: Resolution, style: DateStyle) {
    if write_infinity(out, value) {
        return;
    }
    let (seconds, nanos) = split(value, resolution);
    let mut line = Line::new();
    let year = push_date_time(&mut line, seconds, nanos, style);
    line.push_era(year);
    line.append_to(out);
}

/// Writes a `timestamptz` as the session's clocks show it.
pub fn write_timestamptz(out: &mut BytesMut, value: i64, resolution: Resolution, settings: &FormatSettings) {
    if write_infinity(out, value) {
        return;
    }
    let (seconds, nanos) = split(value, resolution);
    let offset = settings.time_zone.offset_at(seconds);
    let style = settings.date_style;
    let mut line = Line::new();
    let year = push_date_time(&mut line, seconds.saturating_add(i64::from(offset)), nanos, style);
    if style.output == DateOutput::Iso {
        line.push_offset(offset);
    } else {
        line.push(b' ');
        let abbreviation = settings.time_zone.abbreviation_at(seconds);
        line.push_text(abbreviation.get(..ABBREVIATION_LEN_MAX).unwrap_or(&abbreviation));
    }
    line.push_era(year);
    line.append_to(out);
}

fn write_infinity(out: &mut BytesMut, value: i64) -> bool {
    match value {
        i64::MIN => out.extend_from_slice(b"-infinity"),
        i64::MAX => out.extend_from_slice(b"infinity"),
        _ => return false,
    }
    true
}

/// Returns the year, because its era comes after the zone.
fn push_date_time(line: &mut Line, local_seconds: i64, nanos: u32, style: DateStyle) -> i64 {
    let days = local_seconds.div_euclid(SECONDS_PER_DAY);
    let second_of_day = local_seconds.rem_euclid(SECONDS_PER_DAY) as u32;
    let date = civil_from_days(days);
    if style.output == DateOutput::Postgres {
        line.push_text(WEEKDAYS[day_of_week(days)]);
        line.push(b' ');
        let month = MONTHS[date.month as usize - 1];
        if style.order == DateOrder::Dmy {
            line.push_pair(date.day);
            line.push(b' ');
            line.push_text(month);
        } else {
            line.push_text(month);
            line.push(b' ');
            line.push_pair(date.day);
        }
        line.push(b' ');
        line.push_clock(second_of_day, nanos);
        line.push(b' ');
        line.push_year(date.year);
    } else {
        line.push_date(date, style);
        line.push(b' ');
        line.push_clock(second_of_day, nanos);
    }
    date.year
}
