//! Finding out what the fields of a date or time say together.
//!
//! Each field adds to what is known; none may say again what another has said. A number is taken for
//! what is still missing, in the session's date order (see [`super::number`]), unless the word before
//! it says what it is (see [`super::labelled`]).

use super::fields::{Field, Kind};
use super::keywords::{self, DateWord, Label};
use super::parts::{Decoded, MonthForm, Parts, Scope, Special};
use super::scan::{TwoNumbers, clock_time, zone_displacement};
use super::{Fault, Fraction};
use crate::pgtype::calendar::{
    CivilDate, SECONDS_PER_DAY, US_PER_DAY, US_PER_SECOND, civil_from_days, days_from_civil, days_in_month,
};
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::timezone::TimeZone;
use crate::pgtype::timezone::abbreviations::{self, Abbreviation};

/// Half a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meridiem {
    Am,
    Pm,
}

/// What is known after some of the fields.
pub(super) struct Decoder<'a> {
    pub(super) settings: &'a FormatSettings,
    pub(super) scope: Scope,
    pub(super) fields: &'a [Field],
    pub(super) found: Decoded,
    pub(super) seen: Parts,
    /// What the word before said about this field.
    pub(super) label: Option<Label>,
    pub(super) month_form: MonthForm,
    pub(super) day_of_year: i32,
    pub(super) is_two_digit_year: bool,
    pub(super) is_julian: bool,
    is_bc: bool,
    meridiem: Option<Meridiem>,
    named_zone: Option<TimeZone>,
    dynamic_zone: Option<(TimeZone, String)>,
}

/// Finds out what fields say.
pub fn decode(fields: &[Field], scope: Scope, settings: &FormatSettings) -> Result<Decoded, Fault> {
    let mut decoder = Decoder {
        settings,
        scope,
        fields,
        found: Decoded {
            special: None,
            year: 0,
            month: 0,
            day: 0,
            hour: 0,
            minute: 0,
            second: 0,
            fraction: Fraction::default(),
            offset_seconds: 0,
        },
        seen: Parts::NONE,
        label: None,
        month_form: MonthForm::Number,
        day_of_year: 0,
        is_two_digit_year: false,
        is_julian: false,
        is_bc: false,
        meridiem: None,
        named_zone: None,
        dynamic_zone: None,
    };
    for (index, field) in fields.iter().enumerate() {
        let said = match field.kind {
            Kind::Date => decoder.date_field(index)?,
            Kind::Time => decoder.time_field(&field.text)?,
            Kind::Zone => {
                decoder.found.offset_seconds = zone_displacement(&field.text)?;
                Parts::ZONE
            }
            Kind::Number => decoder.number_field(index)?,
            Kind::Word | Kind::SignedWord => match decoder.word_field(index)? {
                Some(said) => said,
                None => continue,
            },
        };
        if decoder.seen.has_any(said) {
            return Err(Fault::Format);
        }
        decoder.seen = decoder.seen | said;
    }
    decoder.finish()
}

impl Decoder<'_> {
    fn time_field(&mut self, text: &str) -> Result<Parts, Fault> {
        if self.scope == Scope::DateTime
            && let Some(label) = self.label.take()
            && label != Label::Time
        {
            return Err(Fault::Format);
        }
        let time = clock_time(text, TwoNumbers::HoursMinutes)?;
        self.found.hour = i32::try_from(time.hour).map_err(|_| Fault::FieldOverflow)?;
        (self.found.minute, self.found.second) = (time.minute, time.second);
        self.found.fraction = time.fraction;
        if self.scope == Scope::DateTime && self.found.time_overflows() {
            return Err(Fault::FieldOverflow);
        }
        Ok(Parts::TIME)
    }

    fn word_field(&mut self, index: usize) -> Result<Option<Parts>, Fault> {
        let word = &self.fields[index].text;
        if let Some(abbreviation) = abbreviations::look_up(word) {
            return self.abbreviation(abbreviation, word).map(Some);
        }
        let said = match keywords::date_word(word) {
            Some(DateWord::Ignored) => return Ok(None),
            Some(known) => self.known_word(known, index)?,
            None => {
                self.named_zone = Some(TimeZone::named(word).ok_or(Fault::Format)?);
                Parts::ZONE
            }
        };
        Ok(Some(said))
    }

    fn abbreviation(&mut self, abbreviation: Abbreviation, word: &str) -> Result<Parts, Fault> {
        match abbreviation {
            Abbreviation::Standard(offset) => {
                self.found.offset_seconds = offset;
                Ok(Parts::ZONE)
            }
            Abbreviation::Daylight(offset) => {
                self.found.offset_seconds = offset;
                Ok(Parts::SUMMER_ZONE | Parts::ZONE)
            }
            Abbreviation::Dynamic(name) => {
                let zone = TimeZone::named(name).ok_or(Fault::Format)?;
                self.dynamic_zone = Some((zone, word.to_ascii_uppercase()));
                Ok(Parts::DYNAMIC_ZONE | Parts::ZONE)
            }
        }
    }

    fn known_word(&mut self, word: DateWord, index: usize) -> Result<Parts, Fault> {
        match word {
            DateWord::Now => Ok(self.now()),
            DateWord::Midnight => {
                self.found.special = None;
                (self.found.hour, self.found.minute, self.found.second) = (0, 0, 0);
                self.found.offset_seconds = 0;
                Ok(Parts::TIME | Parts::ZONE)
            }
            DateWord::Am | DateWord::Pm => {
                self.meridiem = Some(if word == DateWord::Am { Meridiem::Am } else { Meridiem::Pm });
                Ok(Parts::MERIDIEM)
            }
            DateWord::Ad | DateWord::Bc => {
                self.is_bc = word == DateWord::Bc;
                Ok(Parts::ERA)
            }
            DateWord::SummerTime => {
                self.found.offset_seconds += 3600;
                Ok(Parts::SUMMER_MODIFIER | Parts::SUMMER_ZONE)
            }
            DateWord::Label(label) => {
                self.label = Some(label);
                Ok(Parts::NONE)
            }
            DateWord::TimeFollows => self.time_follows(index),
            _ if self.scope == Scope::TimeOfDay => Err(Fault::Format),
            DateWord::Day(distance) => {
                let today = self.local_now_us().div_euclid(US_PER_DAY);
                self.set_date(civil_from_days(today + distance));
                self.found.special = None;
                Ok(Parts::DATE)
            }
            DateWord::Epoch => Ok(self.special(Special::Epoch)),
            DateWord::Early => Ok(self.special(Special::Early)),
            DateWord::Late => Ok(self.special(Special::Late)),
            DateWord::Month(month) => Ok(self.month_word(month)),
            DateWord::Weekday => Ok(Parts::WEEKDAY),
            DateWord::Ignored => Ok(Parts::NONE),
        }
    }

    fn special(&mut self, special: Special) -> Parts {
        self.found.special = Some(special);
        Parts::SPECIAL
    }

    /// A number taken for the month before was the day, if it can be.
    fn month_word(&mut self, month: i32) -> Parts {
        let was_day = self.seen.has(Parts::MONTH)
            && self.month_form == MonthForm::Number
            && !self.seen.has(Parts::DAY)
            && (1..=31).contains(&self.found.month);
        if was_day {
            self.found.day = self.found.month;
        }
        self.month_form = MonthForm::Word;
        self.found.month = month;
        if was_day { Parts::DAY } else { Parts::MONTH }
    }

    /// `t`: the next field is a time.
    fn time_follows(&mut self, index: usize) -> Result<Parts, Fault> {
        let has_date = self.scope == Scope::TimeOfDay || self.seen.has(Parts::DATE);
        let next = self.fields.get(index + 1).map(|field| field.kind);
        if !has_date || !matches!(next, Some(Kind::Number | Kind::Time | Kind::Date)) {
            return Err(Fault::Format);
        }
        self.label = Some(Label::Time);
        Ok(Parts::NONE)
    }

    /// The start of the transaction as the session's clocks showed it, in microseconds since 1970.
    fn local_now_us(&self) -> i64 {
        let now_us = self.settings.now_us;
        let offset = self.settings.time_zone.offset_at(now_us.div_euclid(US_PER_SECOND));
        now_us + i64::from(offset) * US_PER_SECOND
    }

    fn now(&mut self) -> Parts {
        self.found.special = None;
        let local_us = self.local_now_us();
        self.set_time_of_day(local_us.rem_euclid(US_PER_DAY));
        if self.scope == Scope::TimeOfDay {
            return Parts::TIME;
        }
        self.set_date(civil_from_days(local_us.div_euclid(US_PER_DAY)));
        let offset_us = local_us - self.settings.now_us;
        self.found.offset_seconds = i32::try_from(offset_us / US_PER_SECOND).unwrap_or(0);
        Parts::DATE | Parts::TIME | Parts::ZONE
    }

    pub(super) fn set_date(&mut self, CivilDate { year, month, day }: CivilDate) {
        let narrow = |value: i64| i32::try_from(value).unwrap_or(i32::MAX);
        self.found.year = narrow(year);
        self.found.month = narrow(i64::from(month));
        self.found.day = narrow(i64::from(day));
    }

    pub(super) fn set_time_of_day(&mut self, us: i64) {
        let narrow = |value: i64| i32::try_from(value).unwrap_or(i32::MAX);
        let seconds = us / US_PER_SECOND;
        self.found.hour = narrow(seconds / 3600);
        self.found.minute = narrow(seconds / 60 % 60);
        self.found.second = narrow(seconds % 60);
        self.found.fraction = Fraction::from_micros(us % US_PER_SECOND);
    }

    pub(super) fn set_named_zone(&mut self, name: &str) -> Result<Parts, Fault> {
        let zone = TimeZone::named(name).ok_or_else(|| Fault::UnknownZone(name.to_owned()))?;
        self.named_zone = Some(zone);
        Ok(Parts::ZONE)
    }

    fn finish(mut self) -> Result<Decoded, Fault> {
        self.check_date()?;
        self.apply_meridiem()?;
        if self.found.special.is_some() {
            return Ok(self.found);
        }
        match self.scope {
            Scope::DateTime if !self.seen.has(Parts::DATE) => return Err(Fault::Format),
            Scope::DateTime => {}
            Scope::TimeOfDay if self.found.time_overflows() => return Err(Fault::FieldOverflow),
            Scope::TimeOfDay if !self.seen.has(Parts::TIME) => return Err(Fault::Format),
            Scope::TimeOfDay => {}
        }
        self.resolve_zone()?;
        Ok(self.found)
    }

    fn check_date(&mut self) -> Result<(), Fault> {
        if self.seen.has(Parts::YEAR) && !self.is_julian {
            let year = self.found.year;
            self.found.year = match year {
                _ if self.is_bc && year > 0 => 1 - year,
                0..70 if self.is_two_digit_year && !self.is_bc => year + 2000,
                70..100 if self.is_two_digit_year && !self.is_bc => year + 1900,
                _ if year <= 0 => return Err(Fault::FieldOverflow),
                _ => year,
            };
        }
        if self.seen.has(Parts::DAY_OF_YEAR) {
            let first = days_from_civil(i64::from(self.found.year), 1, 1);
            self.set_date(civil_from_days(first + i64::from(self.day_of_year) - 1));
        }
        if self.seen.has(Parts::MONTH) && !(1..=12).contains(&self.found.month) {
            return Err(Fault::MonthDayOverflow);
        }
        if self.seen.has(Parts::DAY) && !(1..=31).contains(&self.found.day) {
            return Err(Fault::MonthDayOverflow);
        }
        if self.seen.has(Parts::DATE) {
            let last = days_in_month(i64::from(self.found.year), self.found.month.unsigned_abs());
            if self.found.day.unsigned_abs() > last {
                return Err(Fault::FieldOverflow);
            }
        }
        Ok(())
    }

    fn apply_meridiem(&mut self) -> Result<(), Fault> {
        let hour = self.found.hour;
        match self.meridiem {
            None => {}
            Some(_) if hour > 12 => return Err(Fault::FieldOverflow),
            Some(Meridiem::Am) if hour == 12 => self.found.hour = 0,
            Some(Meridiem::Pm) if hour != 12 => self.found.hour = hour + 12,
            Some(_) => {}
        }
        Ok(())
    }

    /// Finds the offset of a zone that depends on the date; where none is named, the session's.
    fn resolve_zone(&mut self) -> Result<(), Fault> {
        let zone = match (&self.named_zone, &self.dynamic_zone) {
            (None, None) if self.seen.has(Parts::ZONE) => return Ok(()),
            _ if self.seen.has(Parts::SUMMER_MODIFIER) => return Err(Fault::Format),
            (_, Some((zone, _))) => zone,
            (Some(zone), None) => zone,
            (None, None) => &self.settings.time_zone,
        };
        if self.scope == Scope::TimeOfDay && !self.seen.has(Parts::DATE) {
            let is_named = self.named_zone.is_some() && self.dynamic_zone.is_none();
            if is_named {
                self.found.offset_seconds = zone.fixed_offset().ok_or(Fault::Format)?;
                return Ok(());
            }
            if self.seen.has_any(Parts::DATE) {
                return Err(Fault::Format);
            }
        }
        let local_seconds = match self.seen.has(Parts::DATE) {
            true => self.found.local_seconds(),
            false => {
                let today = self.local_now_us().div_euclid(US_PER_DAY);
                Some(today * SECONDS_PER_DAY + self.found.second_of_day())
            }
        };
        let Some(local_seconds) = local_seconds else {
            self.found.offset_seconds = 0;
            return Ok(());
        };
        let offset = zone.offset_at_local(local_seconds);
        self.found.offset_seconds = match &self.dynamic_zone {
            Some((zone, abbreviation)) => {
                zone.offset_of_abbreviation(abbreviation, local_seconds - i64::from(offset)).unwrap_or(offset)
            }
            None => offset,
        };
        Ok(())
    }
}
