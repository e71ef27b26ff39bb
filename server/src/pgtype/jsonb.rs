//! `jsonb`: JSON in PostgreSQL's normal form.
//!
//! A space follows every `:` and `,`; keys are sorted by length and then by their bytes, and of equal
//! ones the last stays; numbers are `numeric` and keep their digits after the point; strings have no
//! escapes but those they need.
//!
//! The form is written as the text is parsed. Where an object's keys turn out not to be in order, its
//! members are put in order when it ends.

use super::PgType;
use super::datum::Datum;
use super::json::lexer::Escapes;
use super::json::parts::{self, JsonKind};
use super::json::{self, Visitor};
use super::numeric::Numeric;
use super::types::{Family, NO_TYPMOD, family, format_type};
use crate::error::{SqlError, SqlResult};
use crate::sqlstate;

/// The normal form of a text.
pub fn normalise(text: &str) -> SqlResult<String> {
    let mut normaliser = Normaliser { out: String::with_capacity(text.len() + 16), open: Vec::new() };
    json::visit(text, Escapes::Decode, &mut normaliser)?;
    Ok(normaliser.out)
}

/// The number or the truth value that a `jsonb` is, for a cast to a type; `null` is NULL in no way.
///
/// # Errors
/// It is something else.
pub fn scalar(text: &str, target: &PgType) -> SqlResult<Datum> {
    let is_boolean = family(target) == Family::Bool;
    let what = match parts::kind(text) {
        JsonKind::Number if !is_boolean => return Numeric::parse(text, NO_TYPMOD).map(Datum::Numeric),
        JsonKind::Boolean if is_boolean => return Ok(Datum::Bool(text.trim() == "true")),
        JsonKind::Null => "null",
        JsonKind::String => "string",
        JsonKind::Number => "numeric",
        JsonKind::Boolean => "boolean",
        JsonKind::Array => "array",
        JsonKind::Object => "object",
    };
    let message = format!("cannot cast jsonb {what} to type {}", format_type(target));
    Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message))
}

struct Normaliser {
    out: String,
    open: Vec<Open>,
}

/// An array or object whose end has not come yet.
enum Open {
    Array {
        is_empty: bool,
    },
    Object {
        /// Where its first member begins.
        start: usize,
        members: Vec<Member>,
    },
}

/// A member of an object: its key, and where in the text it begins.
struct Member {
    key: String,
    start: usize,
}

impl Normaliser {
    /// Parts a value from the one before it in an array.
    fn begin_value(&mut self) {
        if let Some(Open::Array { is_empty }) = self.open.last_mut() {
            if !*is_empty {
                self.out.push_str(", ");
            }
            *is_empty = false;
        }
    }
}

impl Visitor for Normaliser {
    fn begin_object(&mut self) {
        self.begin_value();
        self.out.push('{');
        self.open.push(Open::Object { start: self.out.len(), members: Vec::new() });
    }

    fn key(&mut self, key: &str) {
        if let Some(Open::Object { members, .. }) = self.open.last_mut() {
            if !members.is_empty() {
                self.out.push_str(", ");
            }
            members.push(Member { key: key.to_owned(), start: self.out.len() });
        }
        write_string(&mut self.out, key);
        self.out.push_str(": ");
    }

    fn end_object(&mut self) {
        if let Some(Open::Object { start, members }) = self.open.pop()
            && !members.is_sorted_by(|left, right| rank(left) < rank(right))
        {
            put_in_order(&mut self.out, start, &members);
        }
        self.out.push('}');
    }

    fn begin_array(&mut self) {
        self.begin_value();
        self.out.push('[');
        self.open.push(Open::Array { is_empty: true });
    }

    fn end_array(&mut self) {
        self.open.pop();
        self.out.push(']');
    }

    fn string(&mut self, value: &str) {
        self.begin_value();
        write_string(&mut self.out, value);
    }

    fn number(&mut self, text: &str) -> SqlResult<()> {
        self.begin_value();
        // Without an exponent and a sign the text is what `numeric` would write.
        if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            self.out.push_str(text);
        } else {
            self.out.push_str(&Numeric::parse(text, NO_TYPMOD)?.to_string());
        }
        Ok(())
    }

    fn word(&mut self, word: &'static str) {
        self.begin_value();
        self.out.push_str(word);
    }
}

/// What keys are sorted by.
fn rank(member: &Member) -> (usize, &[u8]) {
    (member.key.len(), member.key.as_bytes())
}

/// Writes the members from `start` on again: in order, and the last of each key.
fn put_in_order(out: &mut String, start: usize, members: &[Member]) {
    let old = out.split_off(start);
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by(|left, right| rank(&members[*left]).cmp(&rank(&members[*right])));
    for (at, index) in order.iter().enumerate() {
        let is_last_of_key =
            order.get(at + 1).is_none_or(|following| members[*following].key != members[*index].key);
        if !is_last_of_key {
            continue;
        }
        if out.len() > start {
            out.push_str(", ");
        }
        // A member ends where the next begins, but for the delimiter.
        let end = members.get(index + 1).map_or(old.len(), |next| next.start - start - ", ".len());
        out.push_str(&old[members[*index].start - start..end]);
    }
}

/// Writes a string with the escapes that it needs.
pub fn write_string(out: &mut String, value: &str) {
    out.push('"');
    for character in value.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\x1f' => out.push_str(&format!("\\u{:04x}", u32::from(character))),
            other => out.push(other),
        }
    }
    out.push('"');
}
