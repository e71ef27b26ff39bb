//! JSON as protobuf's messages are written in it: numbers of 64 bits as texts or numbers, texts for what
//! no number of JSON can say, bytes in base64, ids in hexadecimal digits.

use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// Base64 of either alphabet's usual form, padded or not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A number, given as one or as text.
struct Number<T>(T);

/// Numbers that JSON's may be taken for.
trait FromNumber: FromStr<Err: Display> {
    fn from_u64(value: u64) -> Option<Self>;
    fn from_i64(value: i64) -> Option<Self>;
    fn from_f64(value: f64) -> Option<Self>;
}

impl FromNumber for u64 {
    fn from_u64(value: u64) -> Option<u64> {
        Some(value)
    }

    fn from_i64(value: i64) -> Option<u64> {
        u64::try_from(value).ok()
    }

    fn from_f64(_: f64) -> Option<u64> {
        None
    }
}

impl FromNumber for i64 {
    fn from_u64(value: u64) -> Option<i64> {
        i64::try_from(value).ok()
    }

    fn from_i64(value: i64) -> Option<i64> {
        Some(value)
    }

    fn from_f64(_: f64) -> Option<i64> {
        None
    }
}

// `NaN` and `Infinity` are texts that Rust parses too.
impl FromNumber for f64 {
    fn from_u64(value: u64) -> Option<f64> {
        Some(value as f64)
    }

    fn from_i64(value: i64) -> Option<f64> {
        Some(value as f64)
    }

    fn from_f64(value: f64) -> Option<f64> {
        Some(value)
    }
}

impl<'de, T: FromNumber> Deserialize<'de> for Number<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Number<T>, D::Error> {
        deserializer.deserialize_any(NumberVisitor(PhantomData)).map(Number)
    }
}

struct NumberVisitor<T>(PhantomData<T>);

impl<T: FromNumber> Visitor<'_> for NumberVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, as one or as text")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
        T::from_u64(value).ok_or_else(|| E::custom(format!("{value} is out of range")))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        T::from_i64(value).ok_or_else(|| E::custom(format!("{value} is out of range")))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<T, E> {
        T::from_f64(value).ok_or_else(|| E::custom(format!("{value} is no whole number")))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(|error| E::custom(format!("\"{text}\": {error}")))
    }
}

fn number<'de, D: Deserializer<'de>, T: FromNumber>(deserializer: D) -> Result<T, D::Error> {
    Number::deserialize(deserializer).map(|number| number.0)
}

/// A list of numbers.
struct NumbersVisitor<T>(PhantomData<T>);

impl<'de, T: FromNumber> Visitor<'de> for NumbersVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers, as such or as texts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut numbers = Vec::new();
        while let Some(number) = list.next_element::<Number<T>>()? {
            numbers.push(number.0);
        }
        Ok(numbers)
    }
}

fn numbers<'de, D: Deserializer<'de>, T: FromNumber>(deserializer: D) -> Result<Vec<T>, D::Error> {
    deserializer.deserialize_seq(NumbersVisitor(PhantomData))
}

pub(super) fn u64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    number(deserializer)
}

pub(super) fn f64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    number(deserializer)
}

pub(super) fn optional_i64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(Option::<Number<i64>>::deserialize(deserializer)?.map(|number| number.0))
}

pub(super) fn optional_f64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Ok(Option::<Number<f64>>::deserialize(deserializer)?.map(|number| number.0))
}

pub(super) fn u64s<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
    numbers(deserializer)
}

pub(super) fn f64s<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    numbers(deserializer)
}

/// Bytes, in base64.
pub(super) fn optional_bytes<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<u8>>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| BASE64.decode(text)).transpose().map_err(D::Error::custom)
}

/// The bytes of an id, in hexadecimal digits.
pub(super) fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some((digit(*high)? * 16 + digit(*low)?) as u8),
        _ => None,
    };
    let bytes = text.as_bytes().chunks(2).map(pair).collect::<Option<Vec<u8>>>();
    bytes.ok_or_else(|| D::Error::custom(format!("\"{text}\" is not in hexadecimal digits")))
}
