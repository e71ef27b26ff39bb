//! Names, and the parts of a series: what stands before a backslash, and what is between commas.

use std::borrow::Cow;

use super::find_unescaped;

/// The bytes with backslashes taken away that stand before one of these.
pub(super) fn unescape(raw: &[u8], escapable: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match bytes.peek() {
            Some(next) if byte == b'\\' && escapable.contains(next) => {
                text.push(*next);
                bytes.next();
            }
            _ => text.push(byte),
        }
    }
    text
}

/// Bytes as text.
///
/// # Errors
/// They are no UTF-8.
pub(super) fn to_text(bytes: Cow<'_, [u8]>) -> Result<Cow<'_, str>, &'static str> {
    const NOT_UTF8: &str = "invalid UTF-8";
    match bytes {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| NOT_UTF8),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| NOT_UTF8),
    }
}

/// A name or value in a series, without its backslashes.
///
/// # Errors
/// It is no UTF-8.
pub fn name(raw: &[u8]) -> Result<Cow<'_, str>, &'static str> {
    if memchr::memchr(b'\\', raw).is_some() {
        to_text(Cow::Owned(unescape(raw, b", =")))
    } else {
        to_text(Cow::Borrowed(raw))
    }
}

/// Measurement and tags, as they are written.
pub type SeriesParts<'a> = (&'a [u8], Vec<(&'a [u8], &'a [u8])>);

/// The measurement and the tags of a series.
///
/// # Errors
/// A tag has no name or no value.
pub fn split_series(series: &[u8]) -> Result<SeriesParts<'_>, &'static str> {
    let end = find_unescaped(series, 0, b',').unwrap_or(series.len());
    let measurement = &series[..end];
    if measurement.is_empty() {
        return Err("missing measurement");
    }
    let mut tags = Vec::new();
    let mut at = end;
    while at < series.len() {
        let start = at + 1;
        at = find_unescaped(series, start, b',').unwrap_or(series.len());
        let tag = &series[start..at];
        let equals = find_unescaped(tag, 0, b'=').ok_or("missing tag value")?;
        let (key, value) = (&tag[..equals], &tag[equals + 1..]);
        if key.is_empty() {
            return Err("missing tag name");
        }
        if value.is_empty() {
            return Err("missing tag value");
        }
        if find_unescaped(value, 0, b'=').is_some() {
            return Err("an equals sign in a tag value needs a backslash");
        }
        tags.push((key, value));
    }
    Ok((measurement, tags))
}
