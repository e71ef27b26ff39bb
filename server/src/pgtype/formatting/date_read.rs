//! Dates and times read by a template.
//!
//! 1. The template is walked along the text, and each pattern takes its part of it ([`Reading`]).
//! 2. What was read is put together: a day is said by year, month and day, by a week, by its number in
//!    the year, or by its Julian day ([`Fields::moment`]).

use super::template::{Case, DateField, DatePattern, Modifiers, Node, is_separator, is_space, parse_dates};
use super::{ABBREVIATION_LEN, DAYS, MONTHS, ROMAN_MONTHS};
use crate::error::{SqlError, SqlResult};
use crate::sqlstate;

mod moment;

/// Hours that a zone can be away from Greenwich.
const ZONE_HOURS_MAX: i32 = 15;

/// A day and a time of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Days since 1970.
    pub days: i64,
    /// Microseconds since midnight.
    pub time_us: i64,
    /// Seconds east of Greenwich, where the text says so.
    pub offset_seconds: Option<i32>,
    /// Digits of the second's fraction that the template asks for.
    pub fraction_digits: Option<usize>,
}

/// Reads a text by a template.
///
/// # Errors
/// 22007 where the text is not as the template says, 22008 where it says what no calendar has.
pub fn read(text: &str, template: &str) -> SqlResult<Moment> {
    let nodes = parse_dates(template);
    let mut reading = Reading { text, at: 0, skipped: 0, is_exact: false, fields: Fields::default() };
    for at in 0..nodes.len() {
        if reading.rest().is_empty() {
            break;
        }
        reading.node(&nodes, at)?;
    }
    reading.fields.moment(text)
}

fn invalid(message: String) -> SqlError {
    SqlError::new(sqlstate::INVALID_DATETIME_FORMAT, message)
}

fn overflow(text: &str) -> SqlError {
    let message = format!("date/time field value out of range: \"{text}\"");
    SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, message)
}

/// By which calendar a template counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Convention {
    Gregorian,
    IsoWeek,
}

/// What was read; 0 where nothing was.
#[derive(Clone, Copy, Debug, Default)]
struct Fields {
    convention: Option<Convention>,
    hour: i32,
    is_late: i32,
    minute: i32,
    second: i32,
    second_of_day: i32,
    day_of_week: i32,
    day: i32,
    day_of_year: i32,
    month: i32,
    milliseconds: i32,
    microseconds: i32,
    year: i32,
    is_before_christ: i32,
    week: i32,
    week_of_month: i32,
    century: i32,
    julian: i32,
    year_digits: usize,
    has_twelve_hours: bool,
    zone_sign: i32,
    zone_hours: i32,
    zone_minutes: i32,
    fraction_digits: Option<usize>,
}

struct Reading<'a> {
    text: &'a str,
    at: usize,
    /// White space that was skipped and nothing in the template asked for.
    skipped: i32,
    /// `FX` was seen.
    is_exact: bool,
    fields: Fields,
}

impl<'a> Reading<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn next(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip_character(&mut self) {
        self.at += self.next().map_or(0, char::len_utf8);
    }

    fn skip_spaces(&mut self) {
        while self.next().is_some_and(is_space) {
            self.at += 1;
            self.skipped += 1;
        }
    }

    fn node(&mut self, nodes: &[Node<DatePattern>], at: usize) -> SqlResult<()> {
        let node = &nodes[at];
        let is_exact_mark = matches!(node, Node::Pattern(pattern, _) if pattern.field == DateField::Exact);
        if !self.is_exact && !is_exact_mark && (at == 0 || matches!(node, Node::Pattern(..))) {
            self.skip_spaces();
        }
        match node {
            Node::Separator(_) | Node::Space(_) if self.is_exact => self.skip_character(),
            Node::Separator(_) | Node::Space(_) => {
                self.skipped -= 1;
                if self.next().is_some_and(|it| is_space(it) || is_separator(it)) {
                    self.at += 1;
                    self.skipped += 1;
                }
            }
            // Characters that were skipped already stand for those of the template.
            Node::Character(_) if !self.is_exact && self.skipped > 0 => self.skipped -= 1,
            Node::Character(_) => self.skip_character(),
            Node::Pattern(pattern, modifiers) => {
                self.set_convention(pattern.field)?;
                self.pattern(*pattern, *modifiers, reads_all(nodes, at))?;
                if modifiers.ordinal.is_some() && pattern.field.is_digits() {
                    self.skip_character();
                    self.skip_character();
                }
                if !self.is_exact {
                    self.skipped = 0;
                    self.skip_spaces();
                }
            }
        }
        Ok(())
    }

    fn set_convention(&mut self, field: DateField) -> SqlResult<()> {
        let convention = match field {
            // Names of days are the same in both.
            DateField::DayOfYear
            | DateField::Day
            | DateField::DayOfWeek
            | DateField::Month
            | DateField::MonthName
            | DateField::MonthShort
            | DateField::RomanMonth
            | DateField::WeekOfYear
            | DateField::WeekOfMonth
            | DateField::YearWithComma
            | DateField::Year(_) => Convention::Gregorian,
            DateField::IsoDayOfYear
            | DateField::IsoDayOfWeek
            | DateField::IsoWeek
            | DateField::IsoYear(_) => Convention::IsoWeek,
            _ => return Ok(()),
        };
        if *self.fields.convention.get_or_insert(convention) != convention {
            return Err(invalid("invalid combination of date conventions".to_owned())
                .with_hint("Do not mix Gregorian and ISO week date conventions in a formatting template."));
        }
        Ok(())
    }

    fn pattern(&mut self, pattern: DatePattern, modifiers: Modifiers, reads_all: bool) -> SqlResult<()> {
        let name = pattern.name.len();
        let take = |this: &mut Self, len: usize| this.integer(pattern, len, modifiers.fill || reads_all);
        match pattern.field {
            DateField::Exact => self.is_exact = true,
            DateField::Meridiem { dotted } => {
                let words = if dotted { ["a.m.", "p.m."] } else { ["am", "pm"] };
                let found = self.word(pattern, &words)?;
                set(&mut self.fields.is_late, found, pattern)?;
                self.fields.has_twelve_hours = true;
            }
            DateField::Era { dotted } => {
                let words = if dotted { ["a.d.", "b.c."] } else { ["ad", "bc"] };
                let found = self.word(pattern, &words)?;
                set(&mut self.fields.is_before_christ, found, pattern)?;
            }
            DateField::Hour12 => {
                let (value, _) = take(self, 2)?;
                set(&mut self.fields.hour, value, pattern)?;
                self.fields.has_twelve_hours = true;
            }
            DateField::MonthName => {
                let found = self.word(pattern, &MONTHS)?;
                set(&mut self.fields.month, found + 1, pattern)?;
            }
            DateField::MonthShort => {
                let found = self.word(pattern, &MONTHS.map(|it| &it[..ABBREVIATION_LEN]))?;
                set(&mut self.fields.month, found + 1, pattern)?;
            }
            DateField::RomanMonth => {
                let found = self.word(pattern, &ROMAN_MONTHS)?;
                set(&mut self.fields.month, 12 - found, pattern)?;
            }
            DateField::DayName => {
                let found = self.word(pattern, &DAYS)?;
                set(&mut self.fields.day_of_week, found, pattern)?;
                self.fields.day_of_week += 1;
            }
            DateField::DayShort => {
                let found = self.word(pattern, &DAYS.map(|it| &it[..ABBREVIATION_LEN]))?;
                set(&mut self.fields.day_of_week, found, pattern)?;
                self.fields.day_of_week += 1;
            }
            DateField::Zone | DateField::Offset => {
                let message =
                    format!("formatting field \"{}\" is only supported in to_char", shown_name(pattern));
                return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
            }
            DateField::ZoneHours => {
                self.zone_sign();
                let (value, _) = take(self, 2)?;
                set(&mut self.fields.zone_hours, value, pattern)?;
            }
            DateField::ZoneMinutes => {
                if self.fields.zone_sign == 0 {
                    self.fields.zone_sign = 1;
                }
                let (value, _) = take(self, 2)?;
                set(&mut self.fields.zone_minutes, value, pattern)?;
            }
            DateField::Milliseconds => {
                let (value, used) = take(self, 3)?;
                set(&mut self.fields.milliseconds, value, pattern)?;
                self.fields.milliseconds *= scale(3, used);
            }
            DateField::Microseconds | DateField::Fraction(_) => {
                let digits = match pattern.field {
                    DateField::Fraction(digits) => digits,
                    _ => 6,
                };
                if matches!(pattern.field, DateField::Fraction(_)) {
                    self.fields.fraction_digits = Some(digits);
                }
                let (value, used) = take(self, digits)?;
                set(&mut self.fields.microseconds, value, pattern)?;
                self.fields.microseconds *= scale(6, used);
            }
            DateField::YearWithComma => self.year_with_comma(pattern)?,
            DateField::Year(digits) | DateField::IsoYear(digits) => {
                let (value, used) = take(self, digits)?;
                set(&mut self.fields.year, value, pattern)?;
                if digits < 4 && used < 4 {
                    self.fields.year = completed_year(self.fields.year);
                }
                self.fields.year_digits = digits;
            }
            DateField::IsoDayOfWeek => {
                let (value, _) = take(self, 1)?;
                set(&mut self.fields.day_of_week, value, pattern)?;
                // Sunday is 1 within.
                self.fields.day_of_week = self.fields.day_of_week % 7 + 1;
            }
            DateField::Quarter => {
                // Which day of the quarter is meant nobody knows.
                take(self, name)?;
            }
            field => {
                let len = match field {
                    DateField::Hour24 => 2,
                    DateField::IsoDayOfYear => 3,
                    _ => name,
                };
                let (value, _) = take(self, len)?;
                let place = self.place(field)?;
                set(place, value, pattern)?;
            }
        }
        Ok(())
    }

    /// Where a number is kept.
    fn place(&mut self, field: DateField) -> SqlResult<&mut i32> {
        let fields = &mut self.fields;
        Ok(match field {
            DateField::Hour24 => &mut fields.hour,
            DateField::Minute => &mut fields.minute,
            DateField::Second => &mut fields.second,
            DateField::SecondOfDay => &mut fields.second_of_day,
            DateField::Month => &mut fields.month,
            DateField::Day => &mut fields.day,
            DateField::DayOfYear | DateField::IsoDayOfYear => &mut fields.day_of_year,
            DateField::DayOfWeek => &mut fields.day_of_week,
            DateField::WeekOfYear | DateField::IsoWeek => &mut fields.week,
            DateField::WeekOfMonth => &mut fields.week_of_month,
            DateField::Century => &mut fields.century,
            DateField::Julian => &mut fields.julian,
            other => return Err(SqlError::internal(format!("{other:?} is no number"))),
        })
    }

    /// A sign may have been taken for a separator.
    fn zone_sign(&mut self) {
        self.fields.zone_sign = match self.next() {
            Some(sign @ ('+' | '-' | ' ')) => {
                self.at += 1;
                if sign == '-' { -1 } else { 1 }
            }
            _ if self.skipped > 0 && self.text[..self.at].ends_with('-') => -1,
            _ => 1,
        };
    }

    fn year_with_comma(&mut self, pattern: DatePattern) -> SqlResult<()> {
        let wrong = || invalid("invalid input string for \"Y,YYY\"".to_owned());
        let (millennia, rest) = self.rest().split_once(',').ok_or_else(wrong)?;
        let digits = rest.bytes().take(3).take_while(u8::is_ascii_digit).count();
        let years: i32 = rest[..digits].parse().map_err(|_| wrong())?;
        let thousands: i32 = millennia.trim().parse().map_err(|_| wrong())?;
        let year = thousands.checked_mul(1000).and_then(|it| it.checked_add(years)).ok_or_else(wrong)?;
        set(&mut self.fields.year, year, pattern)?;
        self.fields.year_digits = 4;
        self.at += millennia.len() + 1 + digits;
        Ok(())
    }

    /// The place of the word that stands here among others.
    fn word(&mut self, pattern: DatePattern, words: &[&str]) -> SqlResult<i32> {
        let rest = self.rest();
        let found = words
            .iter()
            .position(|word| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)));
        let Some(found) = found else {
            let given = rest.split(is_space).next().unwrap_or_default();
            let message = format!("invalid value \"{given}\" for \"{}\"", shown_name(pattern));
            return Err(invalid(message)
                .with_detail("The given value did not match any of the allowed values for this field."));
        };
        self.at += words[found].len();
        i32::try_from(found).map_err(SqlError::internal)
    }

    /// A number of so many digits, or of all that there are; and how many characters it took.
    fn integer(&mut self, pattern: DatePattern, len: usize, takes_all: bool) -> SqlResult<(i32, usize)> {
        let start = self.at;
        self.at += self.rest().chars().take_while(|it| is_space(*it)).count();
        let copy: String = self.rest().chars().take(len).collect();
        let name = shown_name(pattern);
        let hint = "If your source string is not fixed-width, try using the \"FM\" modifier.";
        let (value, used) = if takes_all {
            self.at = start;
            leading_integer(self.rest())
        } else {
            let remaining = self.rest().len();
            if remaining < len {
                let message = format!("source string too short for \"{name}\" formatting field");
                let detail = format!("Field requires {len} characters, but only {remaining} remain.");
                return Err(invalid(message).with_detail(detail).with_hint(hint));
            }
            let (value, used) = leading_integer(&copy);
            if used > 0 && used < len {
                let detail = format!("Field requires {len} characters, but only {used} could be parsed.");
                let message = format!("invalid value \"{copy}\" for \"{name}\"");
                return Err(invalid(message).with_detail(detail).with_hint(hint));
            }
            (value, used)
        };
        self.at += used;
        if used == 0 || self.at == start {
            let message = format!("invalid value \"{copy}\" for \"{name}\"");
            return Err(invalid(message).with_detail("Value must be an integer."));
        }
        let value = value.and_then(|it| i32::try_from(it).ok()).ok_or_else(|| {
            let message = format!("value for \"{name}\" in source string is out of range");
            let detail = format!("Value must be in the range {} to {}.", i32::MIN, i32::MAX);
            SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, message).with_detail(detail)
        })?;
        Ok((value, self.at - start))
    }
}

/// The name of a pattern as PostgreSQL's errors have it.
fn shown_name(pattern: DatePattern) -> String {
    match pattern.case {
        Case::Lower => pattern.name.to_ascii_lowercase(),
        _ => pattern.name.to_owned(),
    }
}

/// Whether a number reads all digits that there are: no digit of another follows it.
fn reads_all(nodes: &[Node<DatePattern>], at: usize) -> bool {
    if let Node::Pattern(_, Modifiers { ordinal: Some(_), .. }) = &nodes[at] {
        return true;
    }
    match nodes.get(at + 1) {
        Some(Node::Pattern(next, _)) => !next.field.is_digits(),
        Some(Node::Character(it) | Node::Separator(it) | Node::Space(it)) => !it.is_ascii_digit(),
        None => true,
    }
}

/// The number that a text begins with, as C's `strtol` reads it, and how long it is.
fn leading_integer(text: &str) -> (Option<i64>, usize) {
    let spaces = text.chars().take_while(|it| is_space(*it)).count();
    let signed = &text[spaces..];
    let sign = usize::from(signed.starts_with(['+', '-']));
    let digits = signed[sign..].bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return (None, 0);
    }
    (signed[..sign + digits].parse().ok(), spaces + sign + digits)
}

fn set(place: &mut i32, value: i32, pattern: DatePattern) -> SqlResult<()> {
    if *place != 0 && *place != value {
        let message =
            format!("conflicting values for \"{}\" field in formatting string", shown_name(pattern));
        return Err(invalid(message)
            .with_detail("This value contradicts a previous setting for the same field type."));
    }
    *place = value;
    Ok(())
}

/// By what a fraction of fewer digits is multiplied.
fn scale(digits: usize, used: usize) -> i32 {
    10_i32.pow(u32::try_from(digits.saturating_sub(used.max(1))).unwrap_or(0))
}

/// A year of fewer than four digits is the one nearest to 2020.
fn completed_year(year: i32) -> i32 {
    match year {
        ..70 => year + 2000,
        70..100 => year + 1900,
        100..520 => year + 2000,
        520..1000 => year + 1000,
        _ => year,
    }
}
