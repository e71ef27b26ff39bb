//! Parts of a JSON text that is known to be one: members, elements and paths, each as it is written.
//!
//! Nothing is copied: a part is a slice of the text. As a part of PostgreSQL's normal form is in it
//! too, this serves `json` and `jsonb` alike.

use super::lexer::{Escapes, Lexer};
use crate::error::SqlResult;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonKind {
    /// `null`
    Null,
    /// `true` and `false`
    Boolean,
    /// Any number
    Number,
    /// Any string
    String,
    /// `[…]`
    Array,
    /// `{…}`
    Object,
}

impl JsonKind {
    /// As `json_typeof` names it.
    pub fn name(self) -> &'static str {
        match self {
            JsonKind::Null => "null",
            JsonKind::Boolean => "boolean",
            JsonKind::Number => "number",
            JsonKind::String => "string",
            JsonKind::Array => "array",
            JsonKind::Object => "object",
        }
    }
}

/// What the value in a text is.
pub fn kind(text: &str) -> JsonKind {
    match text.trim_start().bytes().next() {
        Some(b'{') => JsonKind::Object,
        Some(b'[') => JsonKind::Array,
        Some(b'"') => JsonKind::String,
        Some(b't' | b'f') => JsonKind::Boolean,
        Some(b'n') => JsonKind::Null,
        _ => JsonKind::Number,
    }
}

/// The characters of a string that is written with its quotes.
///
/// # Errors
/// An escape stands for nothing.
pub fn unquoted(text: &str) -> SqlResult<String> {
    let mut lexer = Lexer::new(text, Escapes::Decode);
    lexer.advance()?;
    Ok(lexer.string().to_owned())
}

/// The elements of an array; none of what is no array.
pub fn elements(text: &str) -> Vec<&str> {
    match kind(text) {
        JsonKind::Array => split(text),
        _ => Vec::new(),
    }
}

/// The members of an object, in their order; none of what is no object.
///
/// # Errors
/// An escape in a key stands for nothing.
pub fn members(text: &str) -> SqlResult<Vec<(String, &str)>> {
    if kind(text) != JsonKind::Object {
        return Ok(Vec::new());
    }
    split(text)
        .into_iter()
        .map(|part| {
            let end = string_end(part, 0);
            let value = part[end..].trim_start().strip_prefix(':').unwrap_or("").trim();
            Ok((unquoted(&part[..end])?, value))
        })
        .collect()
}

/// The value of a key; of several the last.
///
/// # Errors
/// An escape in a key stands for nothing.
pub fn member<'a>(text: &'a str, key: &str) -> SqlResult<Option<&'a str>> {
    Ok(members(text)?.into_iter().rev().find(|(name, _)| name == key).map(|(_, value)| value))
}

/// An element by its place, counted from the end where it is negative.
pub fn element(text: &str, at: i64) -> Option<&str> {
    let elements = elements(text);
    let at = if at < 0 { at + i64::try_from(elements.len()).ok()? } else { at };
    elements.get(usize::try_from(at).ok()?).copied()
}

/// What a path leads to: keys of objects and places in arrays.
///
/// # Errors
/// An escape in a key stands for nothing.
pub fn at_path<'a>(text: &'a str, path: &[&str]) -> SqlResult<Option<&'a str>> {
    let mut at = text.trim();
    for step in path {
        let next = match kind(at) {
            JsonKind::Object => member(at, step)?,
            JsonKind::Array => step.trim().parse().ok().and_then(|place| element(at, place)),
            _ => None,
        };
        match next {
            Some(next) => at = next,
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

/// What stands between the commas of an array or an object.
fn split(text: &str) -> Vec<&str> {
    let text = text.trim();
    let inner = &text[1..text.len() - 1];
    let mut parts = Vec::new();
    let (mut depth, mut start, mut at) = (0_usize, 0, 0);
    let bytes = inner.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = string_end(inner, at) - 1,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(inner[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    let last = inner[start..].trim();
    if !last.is_empty() {
        parts.push(last);
    }
    parts
}

/// Where the string that begins at a place ends, behind its last quote.
fn string_end(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_between_strings_and_brackets() {
        let text = r#" {"a": [1, "x,]\"", {"b":null}], "c" : "\u0041" , "a":2} "#;
        let found = members(text).unwrap();
        assert_eq!(
            found,
            [
                ("a".to_owned(), r#"[1, "x,]\"", {"b":null}]"#),
                ("c".to_owned(), r#""\u0041""#),
                ("a".to_owned(), "2")
            ]
        );
        assert_eq!(member(text, "a").unwrap(), Some("2"));
        assert_eq!(elements(found[0].1), ["1", r#""x,]\"""#, r#"{"b":null}"#]);
        assert_eq!(element(found[0].1, -1), Some(r#"{"b":null}"#));
        assert_eq!(element(found[0].1, 3), None);
        assert_eq!(unquoted(found[1].1).unwrap(), "A");
        assert_eq!(elements("[]"), Vec::<&str>::new());
        assert_eq!(at_path(r#"{"a":[{"b":7}]}"#, &["a", "0", "b"]).unwrap(), Some("7"));
    }
}
