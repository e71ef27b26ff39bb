//! Text to intervals.
//!
//! Fields are read from the right, so that a unit is known before its number. Without a unit the last
//! number is seconds and one before a time is days. What cannot be read so may be ISO 8601's form.
//!
//! A type modifier can name the fields that an interval has (`interval day to second`) and the digits
//! of its seconds.

use super::{Amount, Interval, Sum, US_PER_HOUR, US_PER_MINUTE, iso8601};
use crate::error::{SqlError, SqlResult};
use crate::pgtype::calendar::US_PER_SECOND;
use crate::pgtype::datetime::Fault;
use crate::pgtype::datetime::fields::{self, Field, INTERVAL_LEN_MAX, Kind};
use crate::pgtype::datetime::keywords::{self, IntervalWord, Unit};
use crate::pgtype::datetime::parse::{round_half_away, rounding_step};
use crate::pgtype::datetime::scan::{ClockTime, TwoNumbers, clock_time, leading_i64};
use crate::pgtype::settings::{FormatSettings, IntervalStyle};
use crate::pgtype::types::NO_TYPMOD;
use crate::sqlstate;

/// The bits of a type modifier that say which fields an interval has.
const RANGE_SHIFT: u32 = 16;
const RANGE_MASK: i32 = 0x7fff;

/// The precision that says that none is given.
const FULL_PRECISION: i32 = 0xffff;

/// Fields in a type modifier, as PostgreSQL numbers them.
const MONTH: i32 = 1 << 1;
const YEAR: i32 = 1 << 2;
const DAY: i32 = 1 << 3;
const HOUR: i32 = 1 << 10;
const MINUTE: i32 = 1 << 11;
const SECOND: i32 = 1 << 12;

/// What a number without a unit is: what units are not in the way of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NextUnit {
    /// What the type says, seconds if nothing.
    Default,
    /// What was to its right said so.
    Known(Unit),
}

/// Reads an `interval`.
pub fn parse(text: &str, typmod: i32, settings: &FormatSettings) -> SqlResult<Interval> {
    let range = if typmod == NO_TYPMOD { RANGE_MASK } else { (typmod >> RANGE_SHIFT) & RANGE_MASK };
    let traditional = fields::split(text, INTERVAL_LEN_MAX)
        .and_then(|fields| Reader::new(range, settings.interval_style).read(&fields));
    let sum = match traditional {
        Err(Fault::Format) => iso8601::parse(text),
        other => other,
    };
    let sum = sum.map_err(|fault| match fault {
        Fault::FieldOverflow => Fault::IntervalOverflow.sql_error("interval", text),
        other => other.sql_error("interval", text),
    })?;
    let interval = sum.interval().ok_or_else(out_of_range)?;
    constrain(interval, typmod)
}

/// An interval that its type cannot hold.
pub fn out_of_range() -> SqlError {
    SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "interval out of range")
}

/// Cuts off the fields that the type has not, and rounds its seconds.
pub fn constrain(interval: Interval, typmod: i32) -> SqlResult<Interval> {
    if typmod == NO_TYPMOD {
        return Ok(interval);
    }
    let range = (typmod >> RANGE_SHIFT) & RANGE_MASK;
    let Interval { months, days, micros } = interval;
    let whole = |unit: i64| micros / unit * unit;
    let cut = match range {
        YEAR => Interval { months: months / 12 * 12, days: 0, micros: 0 },
        MONTH | YEAR_TO_MONTH => Interval { months, days: 0, micros: 0 },
        DAY => Interval { months, days, micros: 0 },
        HOUR | DAY_TO_HOUR => Interval { months, days, micros: whole(US_PER_HOUR) },
        MINUTE | HOUR_TO_MINUTE | DAY_TO_MINUTE => Interval { months, days, micros: whole(US_PER_MINUTE) },
        _ => interval,
    };
    match rounding_step(typmod & FULL_PRECISION) {
        None => Ok(cut),
        Some(step) => {
            let rounded = round_half_away(i128::from(cut.micros), i128::from(step));
            Ok(Interval { micros: i64::try_from(rounded).map_err(|_| out_of_range())?, ..cut })
        }
    }
}

const YEAR_TO_MONTH: i32 = YEAR | MONTH;
const DAY_TO_HOUR: i32 = DAY | HOUR;
const DAY_TO_MINUTE: i32 = DAY | HOUR | MINUTE;
const HOUR_TO_MINUTE: i32 = HOUR | MINUTE;
const MINUTE_TO_SECOND: i32 = MINUTE | SECOND;

/// What is known after some of the fields.
struct Reader {
    range: i32,
    style: IntervalStyle,
    /// In the SQL style a leading minus is that of all fields, unless others have a sign.
    is_all_negative: bool,
    is_ago: bool,
    next: NextUnit,
    seen: u32,
    sum: Sum,
}

/// Bits of `seen`; a time is all from the hour on.
const SEEN_TIME: u32 = 0b1_1111;

fn seen_bit(unit: Unit) -> u32 {
    match unit {
        Unit::Hour => 1,
        Unit::Minute => 1 << 1,
        Unit::Second => 1 << 2,
        Unit::Millisecond => 1 << 3,
        Unit::Microsecond => 1 << 4,
        Unit::Day => 1 << 5,
        Unit::Week => 1 << 6,
        Unit::Month => 1 << 7,
        Unit::Year => 1 << 8,
        Unit::Decade => 1 << 9,
        Unit::Century => 1 << 10,
        Unit::Millennium => 1 << 11,
        Unit::Useless => 0,
    }
}

impl Reader {
    fn new(range: i32, style: IntervalStyle) -> Reader {
        Reader {
            range,
            style,
            is_all_negative: false,
            is_ago: false,
            next: NextUnit::Default,
            seen: 0,
            sum: Sum::default(),
        }
    }

    fn read(mut self, fields: &[Field]) -> Result<Sum, Fault> {
        let is_signed = |field: &Field| field.text.starts_with(['-', '+']);
        self.is_all_negative = self.style == IntervalStyle::SqlStandard
            && fields.first().is_some_and(|field| field.text.starts_with('-'))
            && !fields[1..].iter().any(is_signed);
        for field in fields.iter().rev() {
            let seen = match field.kind {
                Kind::Time => self.time(&field.text)?,
                Kind::Zone => match self.signed_time(&field.text)? {
                    Some(seen) => seen,
                    None => self.number(&field.text)?,
                },
                Kind::Date | Kind::Number => self.number(&field.text)?,
                Kind::Word | Kind::SignedWord => {
                    self.word(&field.text)?;
                    0
                }
            };
            if self.seen & seen != 0 {
                return Err(Fault::Format);
            }
            self.seen |= seen;
        }
        match self.seen {
            0 => Err(Fault::Format),
            _ if self.is_ago => self.sum.negated(),
            _ => Ok(self.sum),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Fault> {
        self.next = match keywords::interval_word(word) {
            Some(IntervalWord::Ignored) => NextUnit::Default,
            Some(IntervalWord::Unit(unit)) => NextUnit::Known(unit),
            Some(IntervalWord::Ago) => {
                self.is_ago = true;
                NextUnit::Known(Unit::Useless)
            }
            None => return Err(Fault::Format),
        };
        Ok(())
    }

    fn time(&mut self, text: &str) -> Result<u32, Fault> {
        self.sum.micros = self.clock_micros(text)?;
        if self.is_all_negative {
            self.sum.micros = -self.sum.micros.abs();
        }
        self.next = NextUnit::Known(Unit::Day);
        Ok(SEEN_TIME)
    }

    /// `+hh:mm` and the like; `None` if it is a number.
    fn signed_time(&mut self, text: &str) -> Result<Option<u32>, Fault> {
        let unsigned = &text[1..];
        if !unsigned.contains(':') {
            return Ok(None);
        }
        let Ok(micros) = self.clock_micros(unsigned) else {
            return Ok(None);
        };
        let is_negative = text.starts_with('-') || self.is_all_negative;
        self.sum.micros = if is_negative { -micros } else { micros };
        self.next = NextUnit::Known(Unit::Day);
        Ok(Some(SEEN_TIME))
    }

    /// A time is not added to what was read before it, it takes its place.
    fn clock_micros(&self, text: &str) -> Result<i64, Fault> {
        let two_numbers = match self.range {
            MINUTE_TO_SECOND => TwoNumbers::MinutesSeconds,
            _ => TwoNumbers::HoursMinutes,
        };
        let ClockTime { hour, minute, second, fraction } = clock_time(text, two_numbers)?;
        let total = i128::from(hour) * i128::from(US_PER_HOUR)
            + i128::from(minute) * i128::from(US_PER_MINUTE)
            + i128::from(second) * i128::from(US_PER_SECOND)
            + i128::from(fraction.micros);
        i64::try_from(total).map_err(|_| Fault::FieldOverflow)
    }

    fn number(&mut self, text: &str) -> Result<u32, Fault> {
        let mut unit = match self.next {
            NextUnit::Known(unit) => unit,
            NextUnit::Default => self.default_unit(),
        };
        let is_negative = text.starts_with('-');
        let (mut whole, rest) = leading_i64(text).ok_or(Fault::FieldOverflow)?;
        let mut fraction = 0.0;
        if let Some(months) = rest.strip_prefix('-') {
            whole = years_and_months(whole, months, is_negative)?;
            unit = Unit::Month;
        } else if let Some(digits) = rest.strip_prefix('.') {
            fraction = decimal_fraction(digits)?;
            fraction = if is_negative { -fraction } else { fraction };
        } else if !rest.is_empty() {
            return Err(Fault::Format);
        }
        if self.is_all_negative {
            (whole, fraction) = (-whole.abs(), -f64::abs(fraction));
        }
        self.add(unit, Amount { whole, fraction })
    }

    /// Adds a number of units; what was seen with it.
    fn add(&mut self, unit: Unit, amount: Amount) -> Result<u32, Fault> {
        self.next = NextUnit::Known(unit);
        match unit {
            Unit::Microsecond => self.sum.add_micros(amount, 1)?,
            Unit::Millisecond => self.sum.add_micros(amount, 1_000)?,
            Unit::Second => {
                self.sum.add_micros(amount, US_PER_SECOND)?;
                if amount.fraction != 0.0 {
                    let parts = [Unit::Second, Unit::Millisecond, Unit::Microsecond];
                    return Ok(parts.into_iter().map(seen_bit).sum());
                }
            }
            Unit::Minute => self.sum.add_micros(amount, US_PER_MINUTE)?,
            Unit::Hour => {
                self.sum.add_micros(amount, US_PER_HOUR)?;
                self.next = NextUnit::Known(Unit::Day);
            }
            Unit::Day => self.sum.add_days(amount, 1)?,
            Unit::Week => self.sum.add_days(amount, 7)?,
            Unit::Month => self.sum.add_months(amount)?,
            Unit::Year => self.sum.add_years(amount, 1)?,
            Unit::Decade => self.sum.add_years(amount, 10)?,
            Unit::Century => self.sum.add_years(amount, 100)?,
            Unit::Millennium => self.sum.add_years(amount, 1000)?,
            Unit::Useless => return Err(Fault::Format),
        }
        Ok(seen_bit(unit))
    }

    fn default_unit(&self) -> Unit {
        match self.range {
            YEAR => Unit::Year,
            MONTH | YEAR_TO_MONTH => Unit::Month,
            DAY => Unit::Day,
            HOUR | DAY_TO_HOUR => Unit::Hour,
            MINUTE | HOUR_TO_MINUTE | DAY_TO_MINUTE => Unit::Minute,
            _ => Unit::Second,
        }
    }
}

/// SQL's `years-months`.
fn years_and_months(years: i64, months: &str, is_negative: bool) -> Result<i64, Fault> {
    let (value, rest) = leading_i64(months).ok_or(Fault::FieldOverflow)?;
    if !(0..12).contains(&value) {
        return Err(Fault::FieldOverflow);
    }
    if !rest.is_empty() {
        return Err(Fault::Format);
    }
    let value = if is_negative { -value } else { value };
    years.checked_mul(12).and_then(|months| months.checked_add(value)).ok_or(Fault::FieldOverflow)
}

fn decimal_fraction(digits: &str) -> Result<f64, Fault> {
    match digits {
        "" => Ok(0.0),
        _ if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("0.{digits}").parse().map_err(|_| Fault::Format)
        }
        _ => Err(Fault::Format),
    }
}
