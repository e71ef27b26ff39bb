//! Reading numbers out of fields: times of day and the offsets of zones.

use super::{Fault, Fraction};

/// A time of day as `hours:minutes`, `hours:minutes:seconds` or `minutes:seconds.fraction`.
#[derive(Clone, Copy, Debug)]
pub struct ClockTime {
    /// Not limited.
    pub hour: i64,
    /// Up to 59.
    pub minute: i32,
    /// Up to 60.
    pub second: i32,
    /// Of the second.
    pub fraction: Fraction,
}

/// What two numbers with a colon between them are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TwoNumbers {
    /// `hours:minutes`
    HoursMinutes,
    /// `minutes:seconds`
    MinutesSeconds,
}

/// Reads numbers with colons between them.
pub fn clock_time(text: &str, two_numbers: TwoNumbers) -> Result<ClockTime, Fault> {
    let (first, rest) = leading_i64(text).ok_or(Fault::FieldOverflow)?;
    let rest = rest.strip_prefix(':').ok_or(Fault::Format)?;
    let (second, rest) = leading_i32(rest).ok_or(Fault::FieldOverflow)?;
    let mut time = ClockTime { hour: first, minute: second, second: 0, fraction: Fraction::default() };
    if let Some(fraction) = rest.strip_prefix('.') {
        time.fraction = Fraction::parse(fraction.as_bytes()).ok_or(Fault::Format)?;
        let minute = i32::try_from(first).map_err(|_| Fault::FieldOverflow)?;
        (time.hour, time.minute, time.second) = (0, minute, second);
    } else if let Some(rest) = rest.strip_prefix(':') {
        let (third, rest) = leading_i32(rest).ok_or(Fault::FieldOverflow)?;
        time.second = third;
        if let Some(fraction) = rest.strip_prefix('.') {
            time.fraction = Fraction::parse(fraction.as_bytes()).ok_or(Fault::Format)?;
        } else if !rest.is_empty() {
            return Err(Fault::Format);
        }
    } else if !rest.is_empty() {
        return Err(Fault::Format);
    } else if two_numbers == TwoNumbers::MinutesSeconds {
        let minute = i32::try_from(first).map_err(|_| Fault::FieldOverflow)?;
        (time.hour, time.minute, time.second) = (0, minute, second);
    }
    if time.hour < 0 || !(0..60).contains(&time.minute) || !(0..=60).contains(&time.second) {
        return Err(Fault::FieldOverflow);
    }
    Ok(time)
}

/// Reads a zone as `+hh`, `-hhmm`, `+hh:mm` or `+hh:mm:ss`, in seconds east of Greenwich.
pub fn zone_displacement(text: &str) -> Result<i32, Fault> {
    let sign = match text.as_bytes().first() {
        Some(b'+') => 1,
        Some(b'-') => -1,
        _ => return Err(Fault::Format),
    };
    let (mut hours, mut rest) = leading_i32(&text[1..]).ok_or(Fault::ZoneOverflow)?;
    let (mut minutes, mut seconds) = (0, 0);
    if let Some(after) = rest.strip_prefix(':') {
        (minutes, rest) = leading_i32(after).ok_or(Fault::ZoneOverflow)?;
        if let Some(after) = rest.strip_prefix(':') {
            (seconds, rest) = leading_i32(after).ok_or(Fault::ZoneOverflow)?;
        }
    } else if rest.is_empty() && text.len() > 3 {
        (hours, minutes) = (hours / 100, hours % 100);
    }
    let is_in_range = (0..=15).contains(&hours) && (0..60).contains(&minutes) && (0..60).contains(&seconds);
    if !is_in_range {
        return Err(Fault::ZoneOverflow);
    }
    if !rest.is_empty() {
        return Err(Fault::Format);
    }
    Ok(sign * ((hours * 60 + minutes) * 60 + seconds))
}

/// Reads the number that a text begins with, as C's `strtol` does: no digits are 0. `None` if it is
/// too large.
pub fn leading_i64(text: &str) -> Option<(i64, &str)> {
    let bytes = text.as_bytes();
    let sign_len = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let count = bytes[sign_len..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return Some((0, text));
    }
    let (number, rest) = text.split_at(sign_len + count);
    Some((number.parse().ok()?, rest))
}

/// The same for numbers of 32 bits.
pub fn leading_i32(text: &str) -> Option<(i32, &str)> {
    let (value, rest) = leading_i64(text)?;
    Some((i32::try_from(value).ok()?, rest))
}
