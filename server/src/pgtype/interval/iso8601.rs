//! ISO 8601's form of intervals: `P1Y2M3DT4H5M6S`, `P0001-02-03T04:05:06`, `P00010203T040506`.

use super::{Amount, Sum, US_PER_HOUR, US_PER_MINUTE};
use crate::pgtype::calendar::US_PER_SECOND;
use crate::pgtype::datetime::Fault;

/// Numbers are read as doubles, so greater ones would not be exact.
const NUMBER_MAX: f64 = 1e15;

/// Reads an interval in this form.
pub(super) fn parse(text: &str) -> Result<Sum, Fault> {
    let rest = text.strip_prefix('P').filter(|rest| !rest.is_empty()).ok_or(Fault::Format)?;
    let mut reader = Reader { rest, sum: Sum::default(), is_in_date: true, has_field: false };
    while !reader.rest.is_empty() {
        if let Some(rest) = reader.rest.strip_prefix('T') {
            reader.start_time(rest);
            continue;
        }
        let step = if reader.is_in_date { reader.date_field()? } else { reader.time_field()? };
        if step == Step::End {
            break;
        }
    }
    Ok(reader.sum)
}

/// Whether more can follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    More,
    End,
}

struct Reader<'a> {
    rest: &'a str,
    sum: Sum,
    is_in_date: bool,
    has_field: bool,
}

impl<'a> Reader<'a> {
    fn start_time(&mut self, rest: &'a str) {
        self.rest = rest;
        self.is_in_date = false;
        self.has_field = false;
    }

    /// Takes a number; returns how many digits it has before its point.
    fn number(&mut self) -> Result<(Amount, usize), Fault> {
        let text = self.rest;
        let len = number_len(text.as_bytes());
        if len == 0 || !text.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.') {
            return Err(Fault::Format);
        }
        let value: f64 = text[..len].parse().map_err(|_| Fault::Format)?;
        if value.is_infinite() {
            return Err(Fault::Format);
        }
        if value.abs() > NUMBER_MAX {
            return Err(Fault::FieldOverflow);
        }
        self.rest = &text[len..];
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let width = unsigned.bytes().take_while(u8::is_ascii_digit).count();
        let whole = value.trunc();
        Ok((Amount { whole: whole as i64, fraction: value - whole }, width))
    }

    /// Takes the character after a number, if there is one.
    fn unit(&mut self) -> Option<char> {
        let unit = self.rest.chars().next()?;
        self.rest = &self.rest[unit.len_utf8()..];
        Some(unit)
    }

    fn date_field(&mut self) -> Result<Step, Fault> {
        let (amount, width) = self.number()?;
        let unit = self.unit();
        match unit {
            Some('Y') => self.sum.add_years(amount, 1)?,
            Some('M') => self.sum.add_months(amount)?,
            Some('W') => self.sum.add_days(amount, 7)?,
            Some('D') => self.sum.add_days(amount, 1)?,
            Some('T') | None if width == 8 && !self.has_field => {
                let Amount { whole, fraction } = amount;
                self.sum.add_years(exactly(whole / 10_000), 1)?;
                self.sum.add_months(exactly(whole / 100 % 100))?;
                self.sum.add_days(Amount { whole: whole % 100, fraction }, 1)?;
                return Ok(self.end_date(unit));
            }
            Some('T' | '-') | None => return self.delimited_date(amount, unit),
            Some(_) => return Err(Fault::Format),
        }
        self.has_field = true;
        Ok(Step::More)
    }

    /// `years-months-days`, after the years.
    fn delimited_date(&mut self, years: Amount, unit: Option<char>) -> Result<Step, Fault> {
        if self.has_field {
            return Err(Fault::Format);
        }
        self.sum.add_years(years, 1)?;
        if unit != Some('-') {
            return Ok(self.end_date(unit));
        }
        let (months, _) = self.number()?;
        self.sum.add_months(months)?;
        match self.rest.chars().next() {
            None => return Ok(Step::End),
            // The loop sees the T.
            Some('T') => return Ok(Step::More),
            Some('-') => self.rest = &self.rest[1..],
            Some(_) => return Err(Fault::Format),
        }
        let (days, _) = self.number()?;
        self.sum.add_days(days, 1)?;
        match self.rest.chars().next() {
            None => Ok(Step::End),
            Some('T') => Ok(Step::More),
            Some(_) => Err(Fault::Format),
        }
    }

    fn end_date(&mut self, unit: Option<char>) -> Step {
        self.start_time(self.rest);
        if unit.is_some() { Step::More } else { Step::End }
    }

    fn time_field(&mut self) -> Result<Step, Fault> {
        let (amount, width) = self.number()?;
        match self.unit() {
            Some('H') => self.sum.add_micros(amount, US_PER_HOUR)?,
            Some('M') => self.sum.add_micros(amount, US_PER_MINUTE)?,
            Some('S') => self.sum.add_micros(amount, US_PER_SECOND)?,
            None if width == 6 && !self.has_field => {
                let Amount { whole, fraction } = amount;
                self.sum.add_micros(exactly(whole / 10_000), US_PER_HOUR)?;
                self.sum.add_micros(exactly(whole / 100 % 100), US_PER_MINUTE)?;
                self.sum.add_micros(exactly(whole % 100), US_PER_SECOND)?;
                self.sum.add_micros(Amount { whole: 0, fraction }, 1)?;
                return Ok(Step::End);
            }
            Some(':') if !self.has_field => return self.delimited_time(amount),
            None if !self.has_field => {
                self.sum.add_micros(amount, US_PER_HOUR)?;
                return Ok(Step::End);
            }
            _ => return Err(Fault::Format),
        }
        self.has_field = true;
        Ok(Step::More)
    }

    /// `hours:minutes:seconds`, after the hours.
    fn delimited_time(&mut self, hours: Amount) -> Result<Step, Fault> {
        self.sum.add_micros(hours, US_PER_HOUR)?;
        let (minutes, _) = self.number()?;
        self.sum.add_micros(minutes, US_PER_MINUTE)?;
        if self.rest.is_empty() {
            return Ok(Step::End);
        }
        self.rest = self.rest.strip_prefix(':').ok_or(Fault::Format)?;
        let (seconds, _) = self.number()?;
        self.sum.add_micros(seconds, US_PER_SECOND)?;
        if self.rest.is_empty() { Ok(Step::End) } else { Err(Fault::Format) }
    }
}

fn exactly(whole: i64) -> Amount {
    Amount { whole, fraction: 0.0 }
}

/// The length of the number that a text begins with; an exponent belongs to it.
fn number_len(bytes: &[u8]) -> usize {
    let digits_at = |at: usize| bytes.iter().skip(at).take_while(|byte| byte.is_ascii_digit()).count();
    let sign_len = usize::from(bytes.first() == Some(&b'-'));
    let whole_len = digits_at(sign_len);
    let mut at = sign_len + whole_len;
    if bytes.get(at) == Some(&b'.') {
        let fraction_len = digits_at(at + 1);
        if whole_len + fraction_len == 0 {
            return 0;
        }
        at += 1 + fraction_len;
    } else if whole_len == 0 {
        return 0;
    }
    if matches!(bytes.get(at), Some(b'e' | b'E')) {
        let exponent_sign_len = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent_len = digits_at(at + 1 + exponent_sign_len);
        if exponent_len > 0 {
            at += 1 + exponent_sign_len + exponent_len;
        }
    }
    at
}
