//! The characters of a file: into UTF-8 as its bytes come, and out of it.

use bytes::BytesMut;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::text::invalid_utf8;
use crate::sqlstate;

mod tables;

/// How the characters of a file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// As PostgreSQL names it.
    name: &'static str,
    /// What bytes beyond ASCII stand for; `None` for UTF-8, which is not converted.
    upper_half: Option<&'static str>,
}

/// Other names of encodings, without what is no letter or digit.
const ALIASES: [(&str, &str); 18] = [
    ("unicode", "UTF8"),
    ("iso88591", "LATIN1"),
    ("iso88592", "LATIN2"),
    ("iso88593", "LATIN3"),
    ("iso88594", "LATIN4"),
    ("iso88599", "LATIN5"),
    ("iso885913", "LATIN7"),
    ("iso885915", "LATIN9"),
    ("alt", "WIN866"),
    ("windows866", "WIN866"),
    ("windows1250", "WIN1250"),
    ("win", "WIN1251"),
    ("windows1251", "WIN1251"),
    ("windows1252", "WIN1252"),
    ("windows1253", "WIN1253"),
    ("windows1254", "WIN1254"),
    ("windows1257", "WIN1257"),
    ("koi8", "KOI8R"),
];

/// What PostgreSQL converts besides.
const NOT_CONVERTED: [&str; 25] = [
    "big5",
    "euccn",
    "eucjis2004",
    "eucjp",
    "euckr",
    "euctw",
    "gb18030",
    "gbk",
    "iso88596",
    "iso88598",
    "johab",
    "latin6",
    "latin8",
    "latin10",
    "muleinternal",
    "shiftjis",
    "shiftjis2004",
    "sjis",
    "uhc",
    "win874",
    "win1255",
    "win1256",
    "win1258",
    "windows949",
    "windows950",
];

/// A byte that stands for nothing.
const HOLE: char = char::REPLACEMENT_CHARACTER;

/// The first byte that is not ASCII.
const UPPER: u8 = 0x80;

/// Names are compared by their letters and digits.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

impl Encoding {
    /// What the server and its clients speak.
    pub const UTF8: Encoding = Encoding { name: "UTF8", upper_half: None };

    /// The encoding of a name; `None` where it is none that is converted.
    pub fn by_name(name: &str) -> Option<Encoding> {
        let wanted = plain(name);
        let alias = ALIASES.iter().find(|(alias, _)| *alias == wanted);
        let wanted = alias.map_or(wanted, |(_, name)| plain(name));
        // Without conversion PostgreSQL still looks whether it is text of the server's encoding.
        if matches!(wanted.as_str(), "utf8" | "sqlascii") {
            return Some(Encoding::UTF8);
        }
        let found = tables::UPPER_HALVES.iter().find(|(name, _)| plain(name) == wanted);
        found.map(|(name, upper_half)| Encoding { name, upper_half: Some(upper_half) })
    }

    /// Whether PostgreSQL knows the name of one that is not converted here.
    pub fn is_known_to_postgresql(name: &str) -> bool {
        NOT_CONVERTED.contains(&plain(name).as_str())
    }

    /// Whether text is written as it is.
    pub fn is_utf8(self) -> bool {
        self.upper_half.is_none()
    }

    /// Writes text in the encoding.
    ///
    /// # Errors
    /// 22P05 for a character that it has not.
    pub fn encode(self, text: &str, output: &mut BytesMut) -> SqlResult<()> {
        let Some(upper_half) = self.upper_half else {
            output.extend_from_slice(text.as_bytes());
            return Ok(());
        };
        for character in text.chars() {
            let byte = match u8::try_from(character) {
                Ok(ascii) if ascii < UPPER => Some(ascii),
                _ => upper_half.chars().position(|it| it == character && it != HOLE).map(|at| {
                    let at = u8::try_from(at).expect("half of the bytes are 128");
                    UPPER + at
                }),
            };
            let Some(byte) = byte else {
                let mut bytes = [0; 4];
                let bytes = character.encode_utf8(&mut bytes).as_bytes();
                return Err(no_equivalent(bytes, "UTF8", self.name));
            };
            output.extend_from_slice(&[byte]);
        }
        Ok(())
    }
}

fn no_equivalent(bytes: &[u8], from: &str, to: &str) -> SqlError {
    let bytes = bytes.iter().map(|byte| format!("0x{byte:02x}")).collect::<Vec<_>>().join(" ");
    let message = format!(
        "character with byte sequence {bytes} in encoding \"{from}\" has no equivalent in encoding \"{to}\""
    );
    SqlError::new(sqlstate::UNTRANSLATABLE_CHARACTER, message)
}

/// Makes text of bytes as they come. What is no text stops it: all before that is there, and the fault
/// is kept for who comes to its end.
#[derive(Debug)]
pub(crate) struct TextDecoder {
    encoding: Encoding,
    /// The characters of bytes beyond ASCII.
    upper_half: Vec<char>,
    /// The start of a character whose end has not come yet.
    partial: Vec<u8>,
    fault: Option<SqlError>,
}

impl TextDecoder {
    pub(crate) fn new(encoding: Encoding) -> TextDecoder {
        let upper_half = encoding.upper_half.unwrap_or_default().chars().collect();
        TextDecoder { encoding, upper_half, partial: Vec::new(), fault: None }
    }

    /// Adds the text of some bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8], text: &mut String) {
        let from = text.len();
        if self.fault.is_some() {
            return;
        }
        if !self.encoding.is_utf8() {
            self.feed_converted(bytes, text);
        } else if self.partial.is_empty() {
            self.feed_utf8(bytes, text);
        } else {
            let mut joined = std::mem::take(&mut self.partial);
            joined.extend_from_slice(bytes);
            self.feed_utf8(&joined, text);
        }
        if let Some(at) = memchr::memchr(0, &text.as_bytes()[from..]) {
            text.truncate(from + at);
            self.fault = Some(invalid_utf8(&[0]));
        }
    }

    /// There are no more bytes.
    pub(crate) fn finish(&mut self) {
        if self.fault.is_none() && !self.partial.is_empty() {
            self.fault = Some(invalid_utf8(&self.partial));
        }
    }

    /// Whether something ended the text.
    pub(crate) fn has_fault(&self) -> bool {
        self.fault.is_some()
    }

    /// What ended the text.
    pub(crate) fn take_fault(&mut self) -> Option<SqlError> {
        self.fault.take()
    }

    fn feed_utf8(&mut self, bytes: &[u8], text: &mut String) {
        match std::str::from_utf8(bytes) {
            Ok(valid) => text.push_str(valid),
            Err(error) => {
                let (valid, rest) = bytes.split_at(error.valid_up_to());
                text.push_str(std::str::from_utf8(valid).expect("it was just found to be valid"));
                match error.error_len() {
                    None => self.partial = rest.to_vec(),
                    Some(_) => self.fault = Some(invalid_utf8(rest)),
                }
            }
        }
    }

    fn feed_converted(&mut self, bytes: &[u8], text: &mut String) {
        for byte in bytes {
            let character = match byte.checked_sub(UPPER) {
                None => char::from(*byte),
                Some(at) => self.upper_half[usize::from(at)],
            };
            if character == HOLE {
                self.fault = Some(no_equivalent(&[*byte], self.encoding.name, "UTF8"));
                return;
            }
            text.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(encoding: &str, parts: &[&[u8]]) -> (String, Option<String>) {
        let mut decoder = TextDecoder::new(Encoding::by_name(encoding).unwrap());
        let mut text = String::new();
        parts.iter().for_each(|part| decoder.feed(part, &mut text));
        decoder.finish();
        (text, decoder.take_fault().map(|error| error.message().to_owned()))
    }

    #[test]
    fn text_comes_in_whatever_pieces() {
        let bytes = "aä€😀b".as_bytes();
        for cut in 0..=bytes.len() {
            let (before, after) = bytes.split_at(cut);
            assert_eq!(decoded("UTF8", &[before, after]), ("aä€😀b".to_owned(), None), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_text_is_told_and_what_is_before_it_kept() {
        let invalid = "invalid byte sequence for encoding \"UTF8\": ";
        let cases: [(&[u8], &str); 4] = [
            (b"ab\xffcd", "0xff"),
            (b"ab\xc3(", "0xc3 0x28"),
            (b"ab\xe2\x82", "0xe2 0x82"),
            (b"ab\0c", "0x00"),
        ];
        for (bytes, shown) in cases {
            assert_eq!(decoded("utf-8", &[bytes]), ("ab".to_owned(), Some(format!("{invalid}{shown}"))));
        }
    }

    #[test]
    fn other_encodings_are_converted_both_ways() {
        let cases: [(&str, &[u8], &str); 4] = [
            ("LATIN1", b"na\xefve", "naïve"),
            ("iso-8859-15", b"\xa4", "€"),
            ("WIN1252", b"\x80", "€"),
            ("koi8r", b"\xd0", "п"),
        ];
        for (name, bytes, text) in cases {
            assert_eq!(decoded(name, &[bytes]), (text.to_owned(), None), "{name}");
            let mut encoded = BytesMut::new();
            Encoding::by_name(name).unwrap().encode(text, &mut encoded).unwrap();
            assert_eq!(encoded, bytes, "{name}");
        }
    }

    #[test]
    fn a_byte_that_stands_for_nothing_is_an_error() {
        let message = "character with byte sequence 0x81 in encoding \"WIN1252\" has no equivalent in encoding \
                       \"UTF8\"";
        assert_eq!(decoded("WIN1252", &[b"ab\x81"]), ("ab".to_owned(), Some(message.to_owned())));
    }

    #[test]
    fn every_half_is_half() {
        for (name, upper_half) in tables::UPPER_HALVES {
            assert_eq!(upper_half.chars().count(), 128, "{name}");
        }
    }

    #[test]
    fn a_character_that_an_encoding_has_not_is_an_error() {
        let latin1 = Encoding::by_name("LATIN1").unwrap();
        let error = latin1.encode("a€", &mut BytesMut::new()).unwrap_err();
        let message = "character with byte sequence 0xe2 0x82 0xac in encoding \"UTF8\" has no equivalent in \
                       encoding \"LATIN1\"";
        assert_eq!((error.state(), error.message()), (sqlstate::UNTRANSLATABLE_CHARACTER, message));
    }

    #[test]
    fn names_are_found_in_whatever_spelling() {
        let cases = ["utf8", "UTF-8", "unicode", "sql_ascii", "latin1", "ISO_8859_1", "windows-1252"];
        for name in cases {
            assert!(Encoding::by_name(name).is_some(), "{name}");
        }
        assert!(Encoding::by_name("klingon").is_none());
        assert!(Encoding::is_known_to_postgresql("EUC_KR"));
    }
}
