//! Fields of digits: which part of a date or a time a number is.
//!
//! A number is taken for what is missing. The first of a date is the year if it has three digits or
//! more, and otherwise what the session's date order says; six digits and more are several parts run
//! together.

use super::Fault;
use super::Fraction;
use super::decode::Decoder;
use super::fields::Kind;
use super::keywords::{self, DateWord, Label};
use super::parts::{MonthForm, Parts, Scope};
use super::scan::{leading_i32, zone_displacement};
use crate::pgtype::settings::DateOrder;

/// The most parts that a date of delimited parts is looked through for.
const DATE_PARTS_MAX: usize = 25;

impl Decoder<'_> {
    /// A field with delimiters: a date, or after a date the name of a zone or a time run together with
    /// a zone.
    pub(super) fn date_field(&mut self, index: usize) -> Result<Parts, Fault> {
        let text = &self.fields[index].text;
        if self.scope == Scope::DateTime && self.label == Some(Label::Julian) {
            self.label = None;
            return self.julian_with_zone(text);
        }
        let is_date = match self.scope {
            Scope::DateTime => self.label.is_none() && !self.seen.has(Parts::MONTH | Parts::DAY),
            Scope::TimeOfDay => self.is_leading_date(index),
        };
        if is_date {
            return self.delimited_date(text);
        }
        let has_label = self.scope == Scope::DateTime && self.label.is_some();
        if !has_label && !text.starts_with(|c: char| c.is_ascii_digit()) {
            return self.set_named_zone(text);
        }
        if has_label && self.label.take() != Some(Label::Time) {
            return Err(Fault::Format);
        }
        if self.seen.has(Parts::TIME) {
            return Err(Fault::Format);
        }
        let (time, _) = text.split_once('-').ok_or(Fault::Format)?;
        self.found.offset_seconds = zone_displacement(&text[time.len()..])?;
        let known = match self.scope {
            Scope::DateTime => self.seen,
            Scope::TimeOfDay => self.seen | Parts::DATE,
        };
        Ok(self.run_together(time, known)? | Parts::ZONE)
    }

    /// Whether the first field is a date before a time.
    fn is_leading_date(&self, index: usize) -> bool {
        let kind_at = |at: usize| self.fields.get(at).map(|field| field.kind);
        let count = self.fields.len();
        index == 0 && count >= 2 && (kind_at(count - 1) == Some(Kind::Date) || kind_at(1) == Some(Kind::Time))
    }

    /// A field of digits, perhaps with a point.
    pub(super) fn number_field(&mut self, index: usize) -> Result<Parts, Fault> {
        let text = &self.fields[index].text;
        if let Some(label) = self.label.take() {
            return self.labelled_number(text, label);
        }
        let digits_before_point = text.find('.');
        match self.scope {
            Scope::DateTime => match digits_before_point {
                Some(_) if !self.seen.has_any(Parts::DATE) => self.delimited_date(text),
                Some(count) if count > 2 => self.run_together(text, self.seen),
                _ if text.len() >= 6
                    && (!self.seen.has_any(Parts::DATE) || !self.seen.has_any(Parts::TIME)) =>
                {
                    self.run_together(text, self.seen)
                }
                _ => self.number(text, self.month_form, self.seen),
            },
            Scope::TimeOfDay => {
                let known = self.seen | Parts::DATE;
                let last = self.fields.last().map(|field| field.kind);
                match digits_before_point {
                    Some(_) if index == 0 && self.fields.len() >= 2 && last == Some(Kind::Date) => {
                        self.delimited_date(text)
                    }
                    Some(count) if count > 2 => self.run_together(text, known),
                    Some(_) => Err(Fault::Format),
                    None if text.len() > 4 => self.run_together(text, known),
                    None => self.number(text, MonthForm::Number, known),
                }
            }
        }
    }

    /// Parts of a date with delimiters between them.
    fn delimited_date(&mut self, text: &str) -> Result<Parts, Fault> {
        let parts = date_parts(text)?;
        let (mut said, mut month_form) = (Parts::NONE, MonthForm::Number);
        // A word is the month and nothing else, so it is looked for first.
        for part in parts.iter().filter(|part| part.starts_with(|c: char| c.is_ascii_alphabetic())) {
            let Some(DateWord::Month(month)) = keywords::date_word(part) else {
                return Err(Fault::Format);
            };
            if (self.seen | said).has(Parts::MONTH) {
                return Err(Fault::Format);
            }
            self.found.month = month;
            month_form = MonthForm::Word;
            said = said | Parts::MONTH;
        }
        for part in parts.iter().filter(|part| !part.starts_with(|c: char| c.is_ascii_alphabetic())) {
            let found = self.number(part, month_form, self.seen | said)?;
            if (self.seen | said).has_any(found) {
                return Err(Fault::Format);
            }
            said = said | found;
        }
        if (self.seen | said).without(Parts::DAY_OF_YEAR | Parts::ZONE) != Parts::DATE {
            return Err(Fault::Format);
        }
        Ok(said)
    }

    /// One number, taken for what is missing.
    fn number(&mut self, text: &str, month_form: MonthForm, known: Parts) -> Result<Parts, Fault> {
        let (value, rest) = leading_i32(text).ok_or(Fault::FieldOverflow)?;
        if rest.len() == text.len() {
            return Err(Fault::Format);
        }
        if let Some(fraction) = rest.strip_prefix('.') {
            if text.len() - rest.len() > 2 {
                return self.run_together(text, known | Parts::DATE);
            }
            self.found.fraction = Fraction::parse(fraction.as_bytes()).ok_or(Fault::Format)?;
        } else if !rest.is_empty() {
            return Err(Fault::Format);
        }
        let known_date = known.and(Parts::DATE);
        if text.len() == 3 && known_date == Parts::YEAR && (1..=366).contains(&value) {
            self.day_of_year = value;
            return Ok(Parts::DAY_OF_YEAR | Parts::MONTH | Parts::DAY);
        }
        if known_date == Parts::DATE {
            return self.run_together(text, known);
        }
        let part = self.missing_part(text.len(), month_form, known_date)?;
        match part {
            Parts::YEAR => {
                self.found.year = value;
                self.is_two_digit_year = text.len() <= 2;
            }
            Parts::MONTH => self.found.month = value,
            _ if known_date == (Parts::YEAR | Parts::MONTH)
                && month_form == MonthForm::Word
                && text.len() >= 3
                && self.is_two_digit_year =>
            {
                // What was taken for a year of two digits was the day.
                self.found.day = self.found.year;
                self.found.year = value;
                self.is_two_digit_year = false;
            }
            _ => self.found.day = value,
        }
        Ok(part)
    }

    /// Which part of a date comes next after those that are known.
    fn missing_part(&self, len: usize, month_form: MonthForm, known: Parts) -> Result<Parts, Fault> {
        let order = self.settings.date_style.order;
        let is_year_first = len >= 3 || order == DateOrder::Ymd;
        let part = if known == Parts::NONE {
            match order {
                _ if is_year_first => Parts::YEAR,
                DateOrder::Dmy => Parts::DAY,
                _ => Parts::MONTH,
            }
        } else if known == Parts::YEAR || known == Parts::DAY {
            Parts::MONTH
        } else if known == Parts::MONTH {
            if month_form == MonthForm::Word && is_year_first { Parts::YEAR } else { Parts::DAY }
        } else if known == (Parts::YEAR | Parts::MONTH) {
            Parts::DAY
        } else if known == (Parts::MONTH | Parts::DAY) {
            Parts::YEAR
        } else {
            return Err(Fault::Format);
        };
        Ok(part)
    }

    /// Several parts without delimiters: `yyyymmdd`, or after a date `hhmmss`, `hhmm`, `hhmmss.fff`.
    pub(super) fn run_together(&mut self, text: &str, known: Parts) -> Result<Parts, Fault> {
        let digits = match text.split_once('.') {
            Some((digits, fraction)) => {
                self.found.fraction = Fraction::parse(fraction.as_bytes()).ok_or(Fault::Format)?;
                digits
            }
            None if !known.has(Parts::DATE) && text.len() >= 6 => {
                let (year, month_day) = text.split_at(text.len() - 4);
                self.found.year = wrapped(year);
                self.found.month = wrapped(&month_day[..2]);
                self.found.day = wrapped(&month_day[2..]);
                self.is_two_digit_year |= year.len() == 2;
                return Ok(Parts::DATE);
            }
            None => text,
        };
        if known.has(Parts::TIME) || !matches!(digits.len(), 4 | 6) {
            return Err(Fault::Format);
        }
        self.found.hour = wrapped(&digits[..2]);
        self.found.minute = wrapped(&digits[2..4]);
        self.found.second = digits.get(4..).map_or(0, wrapped);
        Ok(Parts::TIME)
    }
}

/// Parts out the runs of digits and of letters. The character after a run only parts it from the
/// next, even if it is a letter or a digit.
fn date_parts(text: &str) -> Result<Vec<&str>, Fault> {
    let mut parts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() && parts.len() < DATE_PARTS_MAX {
        rest = rest.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        let Some(first) = rest.chars().next() else {
            return Err(Fault::Format);
        };
        let is_digit = first.is_ascii_digit();
        let end = rest
            .find(|c: char| if is_digit { !c.is_ascii_digit() } else { !c.is_ascii_alphabetic() })
            .unwrap_or(rest.len());
        parts.push(&rest[..end]);
        rest = rest.get(end + 1..).unwrap_or("");
    }
    Ok(parts)
}

/// A number as C's `atoi` reads it: what exceeds 32 bits is cut off.
fn wrapped(digits: &str) -> i32 {
    let value = digits.bytes().fold(0_i64, |value, digit| {
        value.saturating_mul(10).saturating_add(i64::from(digit.wrapping_sub(b'0')))
    });
    value as i32
}
