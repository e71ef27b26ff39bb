//! The one form of timestamps that programs write, read without an allocation:
//! `2016-01-01T00:00:00Z`, `2016-01-01 00:00:00.123456+00`, `2016-01-01 00:00:00`.
//!
//! Whatever is not exactly that, or is out of range, is left to the long way, which knows every other
//! form and every error.

use super::Fraction;
use crate::pgtype::calendar::{SECONDS_PER_DAY, days_from_civil, days_in_month};

/// `YYYY-MM-DD`
const DATE_LEN: usize = 10;

/// `YYYY-MM-DD HH:MM:SS`
const SECONDS_LEN: usize = 19;

/// A timestamp in this form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IsoTimestamp {
    /// Seconds since 1970 as the text shows them.
    pub local_seconds: i64,
    /// Of the second.
    pub fraction: Fraction,
    /// The zone, in seconds east of Greenwich.
    pub offset_seconds: Option<i32>,
}

/// Reads a timestamp in this form.
pub fn timestamp(bytes: &[u8]) -> Option<IsoTimestamp> {
    let days = date(bytes.get(..DATE_LEN)?)?;
    let (clock, rest) = bytes[DATE_LEN..].split_at_checked(SECONDS_LEN - DATE_LEN)?;
    let is_clock = matches!(clock[0], b' ' | b'T') && clock[3] == b':' && clock[6] == b':';
    let hour = two_digits(clock[1], clock[2])?;
    let minute = two_digits(clock[4], clock[5])?;
    let second = two_digits(clock[7], clock[8])?;
    if !is_clock || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction, rest) = match rest {
        [b'.', digits @ ..] => {
            let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
            (Fraction::parse(&digits[..count])?, &digits[count..])
        }
        rest => (Fraction::default(), rest),
    };
    let second_of_day = (hour * 60 + minute) * 60 + second;
    Some(IsoTimestamp {
        local_seconds: days * SECONDS_PER_DAY + i64::from(second_of_day),
        fraction,
        offset_seconds: match rest {
            [] => None,
            rest => Some(offset(rest)?),
        },
    })
}

/// Reads `YYYY-MM-DD` as days since 1970.
pub fn date(bytes: &[u8]) -> Option<i64> {
    let [y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1] = bytes else {
        return None;
    };
    let year = i64::from(two_digits(*y0, *y1)? * 100 + two_digits(*y2, *y3)?);
    let (month, day) = (two_digits(*m0, *m1)?, two_digits(*d0, *d1)?);
    let is_day = year > 0 && (1..=12).contains(&month) && day >= 1 && day <= days_in_month(year, month);
    is_day.then(|| days_from_civil(year, month, day))
}

fn offset(bytes: &[u8]) -> Option<i32> {
    let (sign, clock) = match bytes {
        b"Z" => return Some(0),
        [b'+', clock @ ..] => (1, clock),
        [b'-', clock @ ..] => (-1, clock),
        _ => return None,
    };
    let (hours, minutes) = match clock {
        [h0, h1] => (two_digits(*h0, *h1)?, 0),
        [h0, h1, b':', m0, m1] | [h0, h1, m0, m1] => (two_digits(*h0, *h1)?, two_digits(*m0, *m1)?),
        _ => return None,
    };
    let seconds = i32::try_from((hours * 60 + minutes) * 60).ok()?;
    (hours <= 15 && minutes <= 59).then_some(sign * seconds)
}

fn two_digits(tens: u8, ones: u8) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens <= 9 && ones <= 9).then(|| u32::from(tens) * 10 + u32::from(ones))
}
