//! Values of fields that are no strings, and timestamps.

use crate::ingest::fields::Value;

pub(super) fn plain_value(text: &[u8]) -> Result<Value<'static>, &'static str> {
    let (last, number) = text.split_last().ok_or("missing field value")?;
    match last {
        b'i' => parse_integer(number).map(Value::Integer).ok_or("invalid integer"),
        b'u' if number.first() != Some(&b'-') => {
            parse_integer(number).map(Value::Integer).ok_or("invalid or too large unsigned integer")
        }
        b'0'..=b'9' | b'.' => parse_float(text).map(Value::Float).ok_or("invalid number"),
        _ => match text {
            b"t" | b"T" | b"true" | b"True" | b"TRUE" => Ok(Value::Bool(true)),
            b"f" | b"F" | b"false" | b"False" | b"FALSE" => Ok(Value::Bool(false)),
            _ => Err("invalid field value"),
        },
    }
}

/// A whole number of 64 bits with an optional sign.
pub(super) fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first()? {
        (b'-', digits) => (true, digits),
        (b'+', digits) => (false, digits),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    // Eighteen digits always fit.
    if digits.len() <= 18 {
        let mut value: i64 = 0;
        for byte in digits {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            value = value * 10 + i64::from(digit);
        }
        return Some(if negative { -value } else { value });
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn parse_float(text: &[u8]) -> Option<f64> {
    // Whole numbers of a few digits are what metrics are mostly made of; they are exact.
    if text.len() <= 15 && text.iter().all(u8::is_ascii_digit) {
        let value = text.iter().fold(0_u64, |value, byte| value * 10 + u64::from(byte - b'0'));
        return Some(value as f64);
    }
    let value: f64 = fast_float2::parse(text).ok()?;
    value.is_finite().then_some(value)
}
