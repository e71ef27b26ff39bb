//! `bool`: `t` and `f` out, many words in.

use bytes::{BufMut, BytesMut};

use crate::error::{SqlError, SqlResult};

/// Words for the two values, with the fewest letters that say which is meant.
const WORDS: [(&str, usize, bool); 8] = [
    ("true", 1, true),
    ("false", 1, false),
    ("yes", 1, true),
    ("no", 1, false),
    ("on", 2, true),
    ("off", 2, false),
    ("1", 1, true),
    ("0", 1, false),
];

/// Writes a value.
pub fn write(out: &mut BytesMut, value: bool) {
    out.put_u8(if value { b't' } else { b'f' });
}

/// Reads a value: a word or what begins one, in any case, between blanks.
pub fn parse(text: &str) -> SqlResult<bool> {
    let word = text.trim_matches(is_space);
    let is_start_of = |(full, len_min, _): &&(&str, usize, bool)| {
        word.len() >= *len_min && full.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
    };
    match WORDS.iter().find(is_start_of) {
        Some((_, _, value)) => Ok(*value),
        None => Err(SqlError::invalid_text("boolean", text)),
    }
}

/// What C's `isspace` says in the C locale.
pub fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r')
}

/// [`is_space`] for a byte.
pub fn is_space_byte(byte: u8) -> bool {
    is_space(char::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_their_beginnings_are_read() {
        let cases = [
            ("t", Some(true)),
            ("TRUE", Some(true)),
            ("tru", Some(true)),
            (" yes ", Some(true)),
            ("\ty\n", Some(true)),
            ("on", Some(true)),
            ("1", Some(true)),
            ("f", Some(false)),
            ("fals", Some(false)),
            ("n", Some(false)),
            ("of", Some(false)),
            ("oFf", Some(false)),
            ("0", Some(false)),
            ("o", None),
            ("", None),
            (" ", None),
            ("truee", None),
            ("10", None),
            ("é", None),
        ];
        for (text, value) in cases {
            match (parse(text), value) {
                (Ok(read), Some(value)) => assert_eq!(read, value, "{text:?}"),
                (Err(error), None) => {
                    let message = format!("invalid input syntax for type boolean: \"{text}\"");
                    assert_eq!(error.message(), message);
                    assert_eq!(error.state().code(), "22P02");
                }
                (read, _) => panic!("{text:?}: {read:?}"),
            }
        }
    }
}
