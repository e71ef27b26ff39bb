//! Records as text: `(1,"a b",)`.

use bytes::{BufMut, BytesMut};

use super::array::enclose_from;
use super::boolean::is_space_byte;

/// Writes a record; `write_field` writes a field and tells whether there was a value.
pub fn write(
    out: &mut BytesMut,
    field_count: usize,
    mut write_field: impl FnMut(&mut BytesMut, usize) -> FieldValue,
) {
    out.put_u8(b'(');
    for at in 0..field_count {
        if at > 0 {
            out.put_u8(b',');
        }
        let start = out.len();
        if write_field(out, at) == FieldValue::Written {
            quote_from(out, start);
        }
    }
    out.put_u8(b')');
}

/// Whether a field had a value; NULL is nothing between two commas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValue {
    /// It was written.
    Written,
    /// It is NULL.
    Null,
}

/// Quotes and backslashes are doubled.
fn quote_from(out: &mut BytesMut, start: usize) {
    let text = &out[start..];
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | b'(' | b')' | b',') || is_space_byte(*byte);
    if text.is_empty() || text.iter().any(is_special) {
        enclose_from(out, start, |byte| matches!(byte, b'"' | b'\\').then_some(byte));
    }
}
