//! The tokens of JSON, and PostgreSQL's complaints about what is none.
//!
//! A complaint names the token and shows the line up to it, at most some fifty bytes.

use crate::error::{SqlError, SqlResult};
use crate::pgtype::bytea::hex_value;
use crate::sqlstate;

/// The most bytes of a line that are shown before an error.
const CONTEXT_LEN_MAX: usize = 50;

/// What is done with escapes in strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escapes {
    /// Their form is checked.
    Keep,
    /// They become the characters they stand for.
    Decode,
}

/// What kind of token there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// `{`
    ObjectStart,
    /// `}`
    ObjectEnd,
    /// `[`
    ArrayStart,
    /// `]`
    ArrayEnd,
    /// `,`
    Comma,
    /// `:`
    Colon,
    /// in quotes
    String,
    /// a number
    Number,
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
    /// the end of the text
    End,
}

/// What should have been there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// the end of the text
    End,
    /// a value
    Value,
    /// a key
    String,
    /// `:`
    Colon,
    /// `,` or `]`
    ArrayNext,
    /// a key or `}`
    ObjectFirst,
    /// `,` or `}`
    ObjectNext,
}

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Token,
    Escape,
    MustEscape(u8),
    UnicodeFormat,
    HighSurrogate,
    LowSurrogate,
    Zero,
}

/// A text and where in it the current token is.
#[derive(Debug)]
pub struct Lexer<'a> {
    text: &'a str,
    escapes: Escapes,
    token: Token,
    /// Where the token begins; at the end there is none.
    start: Option<usize>,
    end: usize,
    line: usize,
    line_start: usize,
    decoded: String,
}

impl<'a> Lexer<'a> {
    /// At the start of a text, before its first token.
    pub fn new(text: &'a str, escapes: Escapes) -> Lexer<'a> {
        Lexer {
            text,
            escapes,
            token: Token::Null,
            start: None,
            end: 0,
            line: 1,
            line_start: 0,
            decoded: String::new(),
        }
    }

    /// The current token.
    pub fn token(&self) -> Token {
        self.token
    }

    /// The current token as it is written.
    pub fn token_text(&self) -> &'a str {
        self.text.get(self.start.unwrap_or(self.end)..self.end).unwrap_or("")
    }

    /// The characters of a string, if escapes are decoded.
    pub fn string(&self) -> &str {
        &self.decoded
    }

    fn byte_at(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// Goes on to the next token.
    pub fn advance(&mut self) -> SqlResult<()> {
        let mut at = self.end;
        while let Some(byte @ (b' ' | b'\t' | b'\n' | b'\r')) = self.byte_at(at) {
            at += 1;
            if byte == b'\n' {
                self.line += 1;
                self.line_start = at;
            }
        }
        let Some(first) = self.byte_at(at) else {
            (self.start, self.end, self.token) = (None, at, Token::End);
            return Ok(());
        };
        self.start = Some(at);
        let punctuation = match first {
            b'{' => Token::ObjectStart,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayStart,
            b']' => Token::ArrayEnd,
            b',' => Token::Comma,
            b':' => Token::Colon,
            b'"' => return self.lex_string(at),
            b'-' => return self.lex_number(at + 1),
            b'0'..=b'9' => return self.lex_number(at),
            _ => return self.lex_word(at),
        };
        (self.token, self.end) = (punctuation, at + 1);
        Ok(())
    }

    /// The end of the letters, digits and characters beyond ASCII from a place on.
    fn word_end(&self, start: usize) -> usize {
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii();
        start + self.text.as_bytes()[start..].iter().take_while(|byte| is_word(byte)).count()
    }

    fn lex_word(&mut self, start: usize) -> SqlResult<()> {
        let end = self.word_end(start);
        self.end = end.max(start + 1);
        self.token = match &self.text[start..end] {
            "true" => Token::True,
            "false" => Token::False,
            "null" => Token::Null,
            _ => return Err(self.fault(Fault::Token)),
        };
        Ok(())
    }

    fn lex_number(&mut self, first_digit: usize) -> SqlResult<()> {
        let digits_from =
            |at: usize| self.text.as_bytes().iter().skip(at).take_while(|byte| byte.is_ascii_digit()).count();
        let mut at = first_digit;
        let whole_len = if self.byte_at(at) == Some(b'0') { 1 } else { digits_from(at) };
        let mut is_number = whole_len > 0;
        at += whole_len;
        if self.byte_at(at) == Some(b'.') {
            let fraction_len = digits_from(at + 1);
            is_number &= fraction_len > 0;
            at += 1 + fraction_len;
        }
        if matches!(self.byte_at(at), Some(b'e' | b'E')) {
            at += 1 + usize::from(matches!(self.byte_at(at + 1), Some(b'+' | b'-')));
            let exponent_len = digits_from(at);
            is_number &= exponent_len > 0;
            at += exponent_len;
        }
        self.end = self.word_end(at.min(self.text.len()));
        if !is_number || self.end > at {
            return Err(self.fault(Fault::Token));
        }
        self.token = Token::Number;
        Ok(())
    }

    fn lex_string(&mut self, start: usize) -> SqlResult<()> {
        self.decoded.clear();
        let mut high_surrogate = None;
        let mut at = start + 1;
        loop {
            let run_len = self.text.as_bytes()[at..]
                .iter()
                .take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f))
                .count();
            if run_len > 0 {
                self.refuse_surrogate(high_surrogate, at)?;
                if self.escapes == Escapes::Decode {
                    self.decoded.push_str(&self.text[at..at + run_len]);
                }
                at += run_len;
            }
            match self.byte_at(at) {
                None => return Err(self.fault_ending_at(at, Fault::Token)),
                Some(b'"') => break,
                Some(b'\\') => at = self.lex_escape(at + 1, &mut high_surrogate)?,
                Some(control) => return Err(self.fault_ending_at(at, Fault::MustEscape(control))),
            }
        }
        self.refuse_surrogate(high_surrogate, at)?;
        (self.token, self.end) = (Token::String, at + 1);
        Ok(())
    }

    /// Only a low surrogate may follow a high one, no other character.
    fn refuse_surrogate(&mut self, high_surrogate: Option<u32>, at: usize) -> SqlResult<()> {
        match high_surrogate {
            Some(_) => Err(self.fault_ending_at(self.char_end(at), Fault::LowSurrogate)),
            None => Ok(()),
        }
    }

    /// Reads what follows a backslash; returns where it ends.
    fn lex_escape(&mut self, at: usize, high_surrogate: &mut Option<u32>) -> SqlResult<usize> {
        let Some(letter) = self.byte_at(at) else {
            return Err(self.fault_ending_at(at, Fault::Token));
        };
        if letter == b'u' {
            return self.lex_unicode(at, high_surrogate);
        }
        self.refuse_surrogate(*high_surrogate, at)?;
        let decoded = match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            _ => {
                self.start = Some(at);
                return Err(self.fault_ending_at(self.char_end(at), Fault::Escape));
            }
        };
        self.decoded.push(decoded);
        Ok(at + 1)
    }

    fn char_end(&self, at: usize) -> usize {
        at + self.text[at..].chars().next().map_or(0, char::len_utf8)
    }

    /// Reads four hexadecimal digits after `\u`.
    fn lex_unicode(&mut self, letter: usize, high_surrogate: &mut Option<u32>) -> SqlResult<usize> {
        let mut code = 0_u32;
        for at in letter + 1..=letter + 4 {
            let Some(byte) = self.byte_at(at) else {
                return Err(self.fault_ending_at(at, Fault::Token));
            };
            let Some(value) = hex_value(byte) else {
                return Err(self.fault_ending_at(self.char_end(at), Fault::UnicodeFormat));
            };
            code = code << 4 | u32::from(value);
        }
        if self.escapes == Escapes::Decode {
            self.push_code(code, high_surrogate).map_err(|fault| self.fault_ending_at(letter + 5, fault))?;
        }
        Ok(letter + 5)
    }

    fn push_code(&mut self, code: u32, high_surrogate: &mut Option<u32>) -> Result<(), Fault> {
        let character = match (code, high_surrogate.take()) {
            (0xd800..=0xdbff, Some(_)) => return Err(Fault::HighSurrogate),
            (0xd800..=0xdbff, None) => {
                *high_surrogate = Some(code);
                return Ok(());
            }
            (0xdc00..=0xdfff, Some(high)) => 0x1_0000 + ((high - 0xd800) << 10) + (code - 0xdc00),
            (0xdc00..=0xdfff, None) | (_, Some(_)) => return Err(Fault::LowSurrogate),
            (0, None) => return Err(Fault::Zero),
            (code, None) => code,
        };
        self.decoded.extend(char::from_u32(character));
        Ok(())
    }

    fn fault_ending_at(&mut self, end: usize, fault: Fault) -> SqlError {
        self.end = end;
        self.fault(fault)
    }

    fn fault(&self, fault: Fault) -> SqlError {
        let token = self.token_text();
        let detail = match fault {
            Fault::Token => format!("Token \"{token}\" is invalid."),
            Fault::Escape => format!("Escape sequence \"\\{token}\" is invalid."),
            Fault::MustEscape(control) => format!("Character with value 0x{control:02x} must be escaped."),
            Fault::UnicodeFormat => "\"\\u\" must be followed by four hexadecimal digits.".to_owned(),
            Fault::HighSurrogate => "Unicode high surrogate must not follow a high surrogate.".to_owned(),
            Fault::LowSurrogate => "Unicode low surrogate must follow a high surrogate.".to_owned(),
            Fault::Zero => {
                let message = "unsupported Unicode escape sequence";
                return SqlError::new(sqlstate::UNTRANSLATABLE_CHARACTER, message)
                    .with_detail("\\u0000 cannot be converted to text.")
                    .with_context(self.context());
            }
        };
        self.invalid(detail)
    }

    fn invalid(&self, detail: String) -> SqlError {
        let message = "invalid input syntax for type json";
        SqlError::new(sqlstate::INVALID_TEXT_REPRESENTATION, message)
            .with_detail(detail)
            .with_context(self.context())
    }

    /// Tells that the current token should have been another.
    pub fn unexpected(&self, expected: Expected) -> SqlError {
        if self.start.is_none() {
            return self.invalid("The input string ended unexpectedly.".to_owned());
        }
        let expected = match expected {
            Expected::End => "end of input",
            Expected::Value => "JSON value",
            Expected::String => "string",
            Expected::Colon => "\":\"",
            Expected::ArrayNext => "\",\" or \"]\"",
            Expected::ObjectFirst => "string or \"}\"",
            Expected::ObjectNext => "\",\" or \"}\"",
        };
        self.invalid(format!("Expected {expected}, but found \"{}\".", self.token_text()))
    }

    /// The line up to the end of the token.
    fn context(&self) -> String {
        let mut start = self.line_start;
        while self.end.saturating_sub(start) >= CONTEXT_LEN_MAX {
            start = self.char_end(start).max(start + 1);
        }
        if start - self.line_start <= 3 {
            start = self.line_start;
        }
        let shown = self.text.get(start..self.end).unwrap_or("");
        let prefix = if start > self.line_start { "..." } else { "" };
        let goes_on = self.token != Token::End
            && self.byte_at(self.end).is_some_and(|byte| !matches!(byte, b'\n' | b'\r'));
        let suffix = if goes_on { "..." } else { "" };
        format!("JSON data, line {}: {prefix}{shown}{suffix}", self.line)
    }
}
