//! Splitting the text of a date, a time or an interval into fields.
//!
//! A field is a run of characters that can belong together; blanks and other punctuation part them.
//! What a field means is not known here, only its form. Letters become lower case.

use super::Fault;
use super::keywords;
use crate::pgtype::boolean::is_space_byte;

/// The most fields of a text.
const FIELDS_MAX: usize = 25;

/// The most characters of all fields of a timestamp, with one more for each field.
pub const TIMESTAMP_LEN_MAX: usize = 153;

/// The same for a date or a time alone.
pub const DATE_OR_TIME_LEN_MAX: usize = 129;

/// The same for an interval.
pub const INTERVAL_LEN_MAX: usize = 256;

/// What a field looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Digits, perhaps with a point.
    Number,
    /// Digits and two delimiters, digits and letters, or the name of a zone with punctuation.
    Date,
    /// Digits and colons, perhaps with a point.
    Time,
    /// Letters.
    Word,
    /// A sign and letters.
    SignedWord,
    /// A sign and digits, perhaps with colons, points and hyphens.
    Zone,
}

/// A field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// What it looks like.
    pub kind: Kind,
    /// Its characters, all ASCII, letters in lower case.
    pub text: String,
}

/// Splits a text. `len_max` limits the length of all fields together.
pub fn split(text: &str, len_max: usize) -> Result<Vec<Field>, Fault> {
    let mut splitter = Splitter { rest: text.as_bytes(), field: String::new() };
    let mut fields = Vec::new();
    let mut len = 0;
    while let Some(first) = splitter.peek() {
        if is_space_byte(first) {
            splitter.skip();
            continue;
        }
        let kind = match first {
            _ if fields.len() == FIELDS_MAX => return Err(Fault::Format),
            b'0'..=b'9' => splitter.digits_field(),
            b'.' => {
                splitter.take();
                splitter.take_while(|byte| byte.is_ascii_digit());
                Kind::Number
            }
            byte if byte.is_ascii_alphabetic() => splitter.letters_field(),
            b'+' | b'-' => splitter.signed_field()?,
            byte if is_ignored(byte) => {
                splitter.skip();
                continue;
            }
            _ => return Err(Fault::Format),
        };
        let text = std::mem::take(&mut splitter.field);
        len += text.len() + 1;
        if len > len_max {
            return Err(Fault::Format);
        }
        fields.push(Field { kind, text });
    }
    Ok(fields)
}

/// Punctuation that only parts fields.
fn is_ignored(byte: u8) -> bool {
    byte.is_ascii_punctuation() && !matches!(byte, b'.' | b'+' | b'-')
}

struct Splitter<'a> {
    rest: &'a [u8],
    field: String,
}

impl Splitter<'_> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn skip(&mut self) {
        self.rest = &self.rest[1..];
    }

    fn take(&mut self) {
        self.field.push(char::from(self.rest[0].to_ascii_lowercase()));
        self.skip();
    }

    fn take_while(&mut self, accept: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&accept) {
            self.take();
        }
    }

    fn is_at(&self, accept: impl Fn(u8) -> bool) -> bool {
        self.peek().is_some_and(accept)
    }

    /// A field that begins with a digit: a time if a colon follows, a date if another delimiter does.
    fn digits_field(&mut self) -> Kind {
        self.take_while(|byte| byte.is_ascii_digit());
        match self.peek() {
            Some(b':') => {
                self.take();
                self.take_while(|byte| byte.is_ascii_digit() || byte == b':' || byte == b'.');
                Kind::Time
            }
            Some(delimiter @ (b'-' | b'/' | b'.')) => {
                self.take();
                self.date_field(delimiter)
            }
            _ => Kind::Number,
        }
    }

    /// The rest of a date after its first delimiter; a second one must be the same.
    fn date_field(&mut self, delimiter: u8) -> Kind {
        if !self.is_at(|byte| byte.is_ascii_digit()) {
            self.take_while(|byte| byte.is_ascii_alphanumeric() || byte == delimiter);
            return Kind::Date;
        }
        self.take_while(|byte| byte.is_ascii_digit());
        if self.is_at(|byte| byte == delimiter) {
            self.take_while(|byte| byte.is_ascii_digit() || byte == delimiter);
            return Kind::Date;
        }
        if delimiter == b'.' { Kind::Number } else { Kind::Date }
    }

    /// A field that begins with a letter. What follows the letters can make it a date (`jan-5-2024`) or
    /// the name of a zone (`europe/berlin`, `gmt+3`), but not after a word that is known (`j2451187`).
    fn letters_field(&mut self) -> Kind {
        self.take_while(|byte| byte.is_ascii_alphabetic());
        let goes_on = match self.peek() {
            Some(b'-' | b'/' | b'.') => true,
            Some(b'+' | b'0'..=b'9') => keywords::date_word(&self.field).is_none(),
            _ => false,
        };
        if !goes_on {
            return Kind::Word;
        }
        self.take();
        self.take_while(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'/' | b'_' | b'.' | b':')
        });
        Kind::Date
    }

    fn signed_field(&mut self) -> Result<Kind, Fault> {
        self.take();
        while self.is_at(is_space_byte) {
            self.skip();
        }
        match self.peek() {
            Some(b'0'..=b'9') => {
                self.take_while(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.' | b'-'));
                Ok(Kind::Zone)
            }
            Some(byte) if byte.is_ascii_alphabetic() => {
                self.take_while(|byte| byte.is_ascii_alphabetic());
                Ok(Kind::SignedWord)
            }
            _ => Err(Fault::Format),
        }
    }
}
