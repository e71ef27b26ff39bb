//! Numbers after a word that says what they are: `y2001m02d04`, `j2451187.5`, `t040506`.

use super::decode::Decoder;
use super::keywords::Label;
use super::parts::Parts;
use super::scan::{leading_i32, zone_displacement};
use super::{Fault, Fraction};
use crate::pgtype::calendar::{UNIX_EPOCH_JULIAN, US_PER_DAY, civil_from_days};

impl Decoder<'_> {
    /// A number after its label.
    pub(super) fn labelled_number(&mut self, text: &str, label: Label) -> Result<Parts, Fault> {
        let (value, rest) = leading_i32(text).ok_or(Fault::FieldOverflow)?;
        self.found.special = None;
        let fraction = match rest.strip_prefix('.') {
            Some(fraction) if matches!(label, Label::Julian | Label::Time | Label::Second) => Some(fraction),
            None if rest.is_empty() => None,
            _ => return Err(Fault::Format),
        };
        match label {
            Label::Year => self.found.year = value,
            Label::Month if self.seen.has(Parts::MONTH | Parts::HOUR) => {
                self.found.minute = value;
                return Ok(Parts::MINUTE);
            }
            Label::Month => self.found.month = value,
            Label::Day => self.found.day = value,
            Label::Hour => self.found.hour = value,
            Label::Minute => self.found.minute = value,
            Label::Second => {
                self.found.second = value;
                if let Some(fraction) = fraction {
                    self.found.fraction = Fraction::parse(fraction.as_bytes()).ok_or(Fault::Format)?;
                    return Ok(Parts::SECOND_AND_FRACTION);
                }
            }
            Label::Julian => return self.julian(value, fraction),
            Label::Time => {
                return match self.run_together(text, self.seen | Parts::DATE)? {
                    Parts::TIME => Ok(Parts::TIME),
                    _ => Err(Fault::Format),
                };
            }
            Label::Useless => return Err(Fault::Format),
        }
        Ok(match label {
            Label::Year => Parts::YEAR,
            Label::Month => Parts::MONTH,
            Label::Day => Parts::DAY,
            Label::Hour => Parts::HOUR,
            Label::Minute => Parts::MINUTE,
            _ => Parts::SECOND,
        })
    }

    /// A Julian day, perhaps with a fraction that says the time.
    fn julian(&mut self, day: i32, fraction: Option<&str>) -> Result<Parts, Fault> {
        self.set_julian(day)?;
        let Some(digits) = fraction else {
            return Ok(Parts::DATE);
        };
        let part: f64 =
            if digits.is_empty() { 0.0 } else { format!("0.{digits}").parse().map_err(|_| Fault::Format)? };
        self.set_time_of_day((part * US_PER_DAY as f64) as i64);
        Ok(Parts::DATE | Parts::TIME)
    }

    /// A Julian day with a zone attached: `j2451187-08`.
    pub(super) fn julian_with_zone(&mut self, text: &str) -> Result<Parts, Fault> {
        let (day, zone) = leading_i32(text).ok_or(Fault::FieldOverflow)?;
        self.set_julian(day)?;
        self.found.offset_seconds = zone_displacement(zone)?;
        Ok(Parts::DATE | Parts::TIME | Parts::ZONE)
    }

    fn set_julian(&mut self, day: i32) -> Result<(), Fault> {
        if day < 0 {
            return Err(Fault::FieldOverflow);
        }
        self.set_date(civil_from_days(i64::from(day) - i64::from(UNIX_EPOCH_JULIAN)));
        self.is_julian = true;
        Ok(())
    }
}
