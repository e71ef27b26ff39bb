//! Arrays as text: `{1,2,NULL}`, `{{a,"b c"},{d,e}}`, `[0:2]={1,2,3}`.
//!
//! Reading takes the text apart into elements and dimensions; what the elements mean is for the
//! caller, so that values and columns read them their own way.

pub mod literal;

use bytes::{BufMut, BytesMut};

use super::boolean::is_space_byte;
use super::datum::Dimension;
use crate::error::{SqlError, SqlResult};
use crate::sqlstate;

/// The most dimensions of an array.
pub const DIMENSIONS_MAX: usize = 6;

/// The most elements of an array.
pub const ELEMENTS_MAX: i64 = 134_217_727;

/// An array taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayLiteral {
    /// Outermost first; an empty array has none.
    pub dimensions: Vec<Dimension>,
    /// The text of each element, `None` for NULL.
    pub elements: Vec<Option<String>>,
}

/// Writes an array: its dimensions where they do not begin with 1, its braces, and by `write_element`
/// its elements.
pub fn write(
    out: &mut BytesMut,
    dimensions: &[Dimension],
    mut write_element: impl FnMut(&mut BytesMut, usize),
) {
    if dimensions.iter().any(|dimension| dimension.lower_bound != 1) {
        for Dimension { length, lower_bound } in dimensions {
            let upper_bound = i64::from(*lower_bound) + i64::from(*length) - 1;
            out.extend_from_slice(format!("[{lower_bound}:{upper_bound}]").as_bytes());
        }
        out.put_u8(b'=');
    }
    if dimensions.is_empty() {
        out.extend_from_slice(b"{}");
    }
    write_level(out, dimensions, &mut 0, &mut write_element);
}

fn write_level(
    out: &mut BytesMut,
    dimensions: &[Dimension],
    next: &mut usize,
    write_element: &mut impl FnMut(&mut BytesMut, usize),
) {
    let [dimension, inner @ ..] = dimensions else {
        return;
    };
    out.put_u8(b'{');
    for at in 0..dimension.length {
        if at > 0 {
            out.put_u8(b',');
        }
        if inner.is_empty() {
            write_element(out, *next);
            *next += 1;
        } else {
            write_level(out, inner, next, write_element);
        }
    }
    out.put_u8(b'}');
}

/// Writes NULL as an element.
pub fn write_null(out: &mut BytesMut) {
    out.extend_from_slice(b"NULL");
}

/// Puts the text from `start` on in quotes if an array needs them around it.
pub fn quote_from(out: &mut BytesMut, start: usize) {
    let text = &out[start..];
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | b'{' | b'}' | b',') || is_space_byte(*byte);
    let needs_quotes = text.is_empty() || text.eq_ignore_ascii_case(b"null") || text.iter().any(is_special);
    if needs_quotes {
        enclose_from(out, start, |byte| matches!(byte, b'"' | b'\\').then_some(b'\\'));
    }
}

/// Puts the text from `start` on in quotes, and before each byte what `escape` says. Works from the
/// end, so that nothing needs to be copied elsewhere.
pub fn enclose_from(out: &mut BytesMut, start: usize, escape: impl Fn(u8) -> Option<u8>) {
    let old_len = out.len();
    let escape_count = out[start..].iter().filter(|byte| escape(**byte).is_some()).count();
    out.put_bytes(b'"', escape_count + 2);
    let mut to = out.len() - 1;
    for from in (start..old_len).rev() {
        let byte = out[from];
        to -= 1;
        out[to] = byte;
        if let Some(prefix) = escape(byte) {
            to -= 1;
            out[to] = prefix;
        }
    }
    out[start] = b'"';
}

/// Tells that a text is no array.
pub fn malformed(text: &str, detail: impl Into<String>) -> SqlError {
    let message = format!("malformed array literal: \"{text}\"");
    SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, message).with_detail(detail)
}

/// Tells that an array has too many dimensions.
pub fn too_many_dimensions(count: usize) -> SqlError {
    let message =
        format!("number of array dimensions ({count}) exceeds the maximum allowed ({DIMENSIONS_MAX})");
    SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
}

/// How many elements an array of these dimensions has.
pub fn element_count(dimensions: &[Dimension]) -> SqlResult<usize> {
    let too_large = || {
        let message = format!("array size exceeds the maximum allowed ({ELEMENTS_MAX})");
        SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
    };
    let mut count = i64::from(!dimensions.is_empty());
    for dimension in dimensions {
        count = count
            .checked_mul(i64::from(dimension.length))
            .filter(|count| (0..=ELEMENTS_MAX).contains(count))
            .ok_or_else(too_large)?;
    }
    usize::try_from(count).map_err(|_| too_large())
}
