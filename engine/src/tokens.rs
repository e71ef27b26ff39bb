//! Tokens: the words of a text, as `contains_token` and the filters of segments understand them.
//!
//! A token is a run of token characters that is as long as can be. Token characters are ASCII letters,
//! digits and `_`, and all characters beyond ASCII but punctuation, symbols and spaces: [`SEPARATORS`]
//! names those. The list is our own and never changes, because filters on disk were made by it; the
//! Unicode tables of a library move with its versions.
//!
//! What a filter knows of a text is more than its tokens, and folded:
//!
//! 1. Letters of ASCII are folded to lower case, with the two characters beyond ASCII that are equal to
//!    one of them when case does not matter. One filter serves conditions that care for case, which then
//!    may look at a block in vain, and those that do not.
//! 2. Of a token with characters beyond ASCII the runs of ASCII in it are known too. So a run of ASCII
//!    token characters is known wherever it has no ASCII token character as a neighbour, which is all
//!    that `\b` of a regular expression says.

use memchr::memmem::Finder;

pub(crate) mod required;

/// Characters beyond ASCII that are in no token, by rising ranges: the punctuation and the symbols of
/// Latin-1, general punctuation without the joiners inside words, currencies, arrows to dingbats
/// without enclosed letters, the punctuation of East Asian scripts, emoji.
const SEPARATORS: &[(char, char)] = &[
    ('\u{80}', '\u{a9}'),
    ('\u{ab}', '\u{b1}'),
    ('\u{b4}', '\u{b4}'),
    ('\u{b6}', '\u{b8}'),
    ('\u{bb}', '\u{bb}'),
    ('\u{bf}', '\u{bf}'),
    ('\u{d7}', '\u{d7}'),
    ('\u{f7}', '\u{f7}'),
    ('\u{2000}', '\u{200b}'),
    ('\u{200e}', '\u{206f}'),
    ('\u{20a0}', '\u{20cf}'),
    ('\u{2190}', '\u{245f}'),
    ('\u{2500}', '\u{2bff}'),
    ('\u{3000}', '\u{3004}'),
    ('\u{3008}', '\u{3020}'),
    ('\u{3030}', '\u{3030}'),
    ('\u{fe30}', '\u{fe6f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ff01}', '\u{ff0f}'),
    ('\u{ff1a}', '\u{ff20}'),
    ('\u{ff3b}', '\u{ff3e}'),
    ('\u{ff40}', '\u{ff40}'),
    ('\u{ff5b}', '\u{ff65}'),
    ('\u{fffc}', '\u{fffd}'),
    ('\u{1f000}', '\u{1faff}'),
];

/// The characters beyond ASCII that are equal to a letter of ASCII when case does not matter.
const KELVIN_SIGN: char = '\u{212a}';
const LONG_S: char = '\u{17f}';

/// What a character is in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An ASCII letter, digit or `_`, folded.
    Word(u8),
    /// Another token character.
    Foreign,
    /// In no token.
    Separator,
}

pub(crate) fn kind(character: char) -> Kind {
    match character {
        'a'..='z' | '0'..='9' | '_' | 'A'..='Z' => Kind::Word((character as u8).to_ascii_lowercase()),
        '\0'..='\x7f' => Kind::Separator,
        KELVIN_SIGN => Kind::Word(b'k'),
        LONG_S => Kind::Word(b's'),
        _ => {
            let after = SEPARATORS.partition_point(|(first, _)| *first <= character);
            let is_separator = after > 0 && character <= SEPARATORS[after - 1].1;
            if is_separator { Kind::Separator } else { Kind::Foreign }
        }
    }
}

/// All characters whose kind is [`Kind::Word`].
pub(crate) fn word_characters() -> impl Iterator<Item = char> {
    let ascii = ('\0'..='\x7f').filter(|character| matches!(kind(*character), Kind::Word(_)));
    ascii.chain([KELVIN_SIGN, LONG_S])
}

/// The hash of a token, folded: FNV-1a, its bits mixed once more. It is on disk, and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TokenHash(pub(crate) u64);

/// The hash of a token that is being read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hashing(u64);

impl Hashing {
    pub(crate) const START: Hashing = Hashing(0xcbf2_9ce4_8422_2325);

    pub(crate) fn byte(self, byte: u8) -> Hashing {
        Hashing((self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    }

    pub(crate) fn character(self, character: char) -> Hashing {
        character.encode_utf8(&mut [0; 4]).bytes().fold(self, Hashing::byte)
    }

    pub(crate) fn finish(self) -> TokenHash {
        let mut hash = self.0;
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        TokenHash(hash ^ (hash >> 33))
    }
}

/// Calls the function with all that a filter knows of a text.
pub(crate) fn for_each(text: &str, mut act: impl FnMut(TokenHash)) {
    // The run of ASCII, and from the first other character on the whole token.
    let (mut word, mut whole) = (None::<Hashing>, None::<Hashing>);
    for character in text.chars() {
        match kind(character) {
            Kind::Word(byte) => {
                word = Some(word.unwrap_or(Hashing::START).byte(byte));
                whole = whole.map(|whole| whole.byte(byte));
            }
            Kind::Foreign => {
                let before = whole.or(word).unwrap_or(Hashing::START);
                whole = Some(before.character(character));
                word.take().into_iter().for_each(|word| act(word.finish()));
            }
            Kind::Separator => {
                word.take().into_iter().chain(whole.take()).for_each(|token| act(token.finish()));
            }
        }
    }
    word.into_iter().chain(whole).for_each(|token| act(token.finish()));
}

/// A token that texts are searched for.
#[derive(Clone, Debug)]
pub struct Token {
    text: String,
    finder: Box<Finder<'static>>,
}

impl Token {
    /// The text as a token; none when it is empty or has characters that are in no token.
    pub fn new(text: &str) -> Option<Token> {
        let is_token = !text.is_empty() && text.chars().all(|it| kind(it) != Kind::Separator);
        is_token.then(|| Token { text: text.to_owned(), finder: Box::new(Finder::new(text).into_owned()) })
    }

    /// The token.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is one of the tokens of a text: exactly, letter by letter.
    pub fn is_in(&self, text: &str) -> bool {
        // A place that overlaps the one before it is passed over: what comes before it is a part of
        // the token, so it is not a token of its own.
        self.finder.find_iter(text.as_bytes()).any(|start| self.is_whole(text, start))
    }

    fn is_whole(&self, text: &str, start: usize) -> bool {
        let is_separator = |it: Option<char>| it.is_none_or(|it| kind(it) == Kind::Separator);
        let end = start + self.text.len();
        is_separator(text[..start].chars().next_back()) && is_separator(text[end..].chars().next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(token: &str) -> TokenHash {
        let step = |hashing: Hashing, character| match kind(character) {
            Kind::Word(byte) => hashing.byte(byte),
            _ => hashing.character(character),
        };
        token.chars().fold(Hashing::START, step).finish()
    }

    fn known(text: &str) -> Vec<TokenHash> {
        let mut found = Vec::new();
        for_each(text, |token| found.push(token));
        found.sort();
        found
    }

    fn check(text: &str, expected: &[&str]) {
        let mut expected: Vec<TokenHash> = expected.iter().map(|it| hash(it)).collect();
        expected.sort();
        assert_eq!(known(text), expected, "{text}");
    }

    #[test]
    fn texts_are_known_by_their_tokens() {
        check("", &[]);
        check("  ,.", &[]);
        check("GET /api/v2 500", &["get", "api", "v2", "500"]);
        check("user_id=17;", &["user_id", "17"]);
        check("“Übergröße” – naïve…", &["Übergröße", "bergr", "e", "naïve", "na", "ve"]);
        check("日本語、テスト", &["日本語", "テスト"]);
        check("done✅now", &["done", "now"]);
        check("ſtate \u{212a}m", &["state", "km"]);
    }

    #[test]
    fn hashes_never_change() {
        assert_eq!(hash("error"), TokenHash(0xfc80_d452_13e4_b6c6));
        assert_eq!(hash("Übergröße"), TokenHash(0x818d_1cc2_d766_76a2));
    }

    #[test]
    fn separators_rise() {
        assert!(SEPARATORS.iter().all(|(first, last)| first <= last));
        assert!(SEPARATORS.windows(2).all(|pair| pair[0].1 < pair[1].0));
    }

    /// What is equal to an ASCII letter when case does not matter, as regular expressions see it.
    #[test]
    fn two_characters_beyond_ascii_fold_into_it() {
        let any_word = regex::Regex::new("(?i)^[a-z]$").unwrap();
        let folded = ('\u{80}'..=char::MAX).filter(|it| any_word.is_match(it.encode_utf8(&mut [0; 4])));
        assert_eq!(folded.collect::<Vec<_>>(), [LONG_S, KELVIN_SIGN]);
    }

    #[test]
    fn a_token_is_found_where_it_is_whole() {
        let is_in = |token: &str, text: &str| Token::new(token).unwrap().is_in(text);
        assert!(is_in("error", "error"));
        assert!(is_in("error", "an error: none"));
        assert!(is_in("error", "errors, error"));
        assert!(!is_in("error", "errors"));
        assert!(!is_in("error", "Error"));
        assert!(!is_in("error", "error_code"));
        assert!(!is_in("error", "erroré"));
        assert!(is_in("error", "…error—"));
        assert!(is_in("aa", "aaa aa"));
        assert!(!is_in("aa", "aaa"));
        for refused in ["", "a b", "a-b", " a", "a…"] {
            assert!(Token::new(refused).is_none(), "{refused:?}");
        }
    }
}
