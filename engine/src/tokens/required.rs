//! The tokens that a text must have to fulfil a condition.
//!
//! 1. A condition becomes a row of [`Piece`]s: characters that follow one another in every text that
//!    fulfils it, what is known of places between them, and gaps of which nothing is known.
//! 2. A run of characters is a token of the text where its neighbours are known not to continue it. A
//!    run at a gap may be a part of a longer one, and says nothing.
//!
//! Where in doubt there is a gap: a token too few costs time, one too many costs rows.

use regex_syntax::hir::{Class, ClassUnicode, Hir, HirKind, Look};

use crate::read::text::Case;
use crate::tokens::{Hashing, Kind, TokenHash, kind, word_characters};

/// A class of at most this many characters is looked at one by one.
const CLASS_CHARACTERS_MAX: u32 = 256;

/// What is known of the next place in every text that fulfils a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// This character, or one that is folded to it.
    Character(char),
    /// A separator, or an end of the text.
    Edge,
    /// Next to this place, on at least one side that is looked at, is no ASCII token character: `\b`, or
    /// a character of that kind.
    WordEdge,
    /// Any number of any characters.
    Gap,
}

/// What texts must have that are equal to this one.
pub(crate) fn of_text(text: &str) -> Vec<TokenHash> {
    let characters = text.chars().map(Piece::Character);
    tokens([Piece::Edge].into_iter().chain(characters).chain([Piece::Edge]))
}

/// What texts must have that are like the pattern; its escape character is the backslash.
pub(crate) fn of_like(pattern: &str, case: Case) -> Vec<TokenHash> {
    let mut pieces = vec![Piece::Edge];
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        pieces.push(match character {
            '%' | '_' => Piece::Gap,
            '\\' => match characters.next() {
                Some(escaped @ ('%' | '_' | '\\')) => Piece::Character(escaped),
                _ => Piece::Gap,
            },
            character => in_case(character, case),
        });
    }
    pieces.push(Piece::Edge);
    tokens(pieces)
}

/// A character that may stand for its other case too.
fn in_case(character: char, case: Case) -> Piece {
    match (kind(character), case) {
        // Only ASCII is folded. Other cases of other characters are no ASCII either.
        (Kind::Foreign, Case::Ignored) => Piece::WordEdge,
        _ => Piece::Character(character),
    }
}

/// What texts must have in which the regular expression is found.
pub(crate) fn of_regex(parsed: &Hir) -> Vec<TokenHash> {
    let mut pieces = Vec::new();
    add_pieces(parsed, &mut pieces);
    tokens([Piece::Gap].into_iter().chain(pieces))
}

fn add_pieces(hir: &Hir, pieces: &mut Vec<Piece>) {
    match hir.kind() {
        HirKind::Empty => {}
        HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
            Ok(text) => pieces.extend(text.chars().map(Piece::Character)),
            Err(_) => pieces.push(Piece::Gap),
        },
        HirKind::Class(Class::Unicode(class)) => pieces.push(class_piece(class)),
        HirKind::Class(Class::Bytes(_)) | HirKind::Alternation(_) => pieces.push(Piece::Gap),
        HirKind::Look(look) => pieces.push(look_piece(*look)),
        HirKind::Capture(capture) => add_pieces(&capture.sub, pieces),
        HirKind::Concat(parts) => parts.iter().for_each(|part| add_pieces(part, pieces)),
        HirKind::Repetition(repetition) if repetition.min == 0 => pieces.push(Piece::Gap),
        HirKind::Repetition(repetition) => {
            let mut repeated = Vec::new();
            add_pieces(&repetition.sub, &mut repeated);
            match repeated.as_slice() {
                // Many edges are an edge to what is before them and to what is after them.
                [one] if is_edge(*one) => pieces.push(*one),
                _ => {
                    pieces.push(Piece::Gap);
                    pieces.extend(repeated);
                    pieces.push(Piece::Gap);
                }
            }
        }
    }
}

fn is_edge(piece: Piece) -> bool {
    match piece {
        Piece::Character(character) => kind(character) == Kind::Separator,
        Piece::Edge | Piece::WordEdge => true,
        Piece::Gap => false,
    }
}

fn look_piece(look: Look) -> Piece {
    match look {
        // An end of a line is at a line feed, a carriage return or an end of the text.
        Look::Start | Look::End | Look::StartLF | Look::EndLF | Look::StartCRLF | Look::EndCRLF => {
            Piece::Edge
        }
        // All ASCII token characters, and what folds to them, are word characters of Unicode, so a run
        // of them does not go on beyond the place.
        Look::WordUnicode
        | Look::WordStartUnicode
        | Look::WordEndUnicode
        | Look::WordStartHalfUnicode
        | Look::WordEndHalfUnicode => Piece::WordEdge,
        // To the boundaries of ASCII the characters that fold to a letter of it are none.
        _ => Piece::Gap,
    }
}

fn class_piece(class: &ClassUnicode) -> Piece {
    let has = |character: &char| {
        let ranges = class.ranges();
        let after = ranges.partition_point(|range| range.start() <= *character);
        after > 0 && *character <= ranges[after - 1].end()
    };
    let span =
        |range: &regex_syntax::hir::ClassUnicodeRange| u32::from(range.end()) - u32::from(range.start()) + 1;
    let is_small = class.ranges().iter().map(span).sum::<u32>() <= CLASS_CHARACTERS_MAX;
    let mut characters = class.ranges().iter().flat_map(|range| range.start()..=range.end());
    let Some(word) = word_characters().find(has) else {
        let is_edge = is_small && characters.all(|it| kind(it) == Kind::Separator);
        return if is_edge { Piece::Edge } else { Piece::WordEdge };
    };
    let is_one = is_small && characters.all(|it| kind(it) == kind(word));
    if is_one { Piece::Character(word) } else { Piece::Gap }
}

/// A run of characters that may be a token of the text.
#[derive(Clone, Copy)]
struct Run {
    hashing: Hashing,
    /// Nothing before it belongs to it.
    is_bounded: bool,
}

/// The tokens among the pieces; before the first and after the last of them may be anything.
fn tokens(pieces: impl IntoIterator<Item = Piece>) -> Vec<TokenHash> {
    let mut found = Vec::new();
    // The run of ASCII, and the whole token, of which it is known whether other characters are in it.
    let (mut word, mut whole) = (None::<Run>, None::<(Run, bool)>);
    let mut before = Piece::Gap;
    for piece in pieces {
        let after_word_edge = before != Piece::Gap;
        let after_edge = is_edge(before) && before != Piece::WordEdge;
        let start = |is_bounded| Run { hashing: Hashing::START, is_bounded };
        let class = match piece {
            Piece::Character(character) => Some((character, kind(character))),
            Piece::Edge => Some((' ', Kind::Separator)),
            Piece::WordEdge | Piece::Gap => None,
        };
        // A run of ASCII ends with anything but a gap.
        if piece != Piece::Gap && !matches!(class, Some((_, Kind::Word(_)))) {
            found.extend(word.take().filter(|run| run.is_bounded).map(|run| run.hashing.finish()));
        }
        match class {
            Some((_, Kind::Word(byte))) => {
                let run = word.get_or_insert(start(after_word_edge));
                run.hashing = run.hashing.byte(byte);
                let (run, _) = whole.get_or_insert((start(after_edge), false));
                run.hashing = run.hashing.byte(byte);
            }
            Some((character, Kind::Foreign)) => {
                let (run, is_foreign) = whole.get_or_insert((start(after_edge), false));
                run.hashing = run.hashing.character(character);
                *is_foreign = true;
            }
            Some((_, Kind::Separator)) => {
                let ended = whole.take().filter(|(run, is_foreign)| *is_foreign && run.is_bounded);
                found.extend(ended.map(|(run, _)| run.hashing.finish()));
            }
            None => (word, whole) = (None, None),
        }
        before = piece;
    }
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::for_each;

    /// The tokens of these texts, each of which is one.
    fn hashes(tokens: &[&str]) -> Vec<TokenHash> {
        let mut hashes = Vec::new();
        for token in tokens {
            let mut last = None;
            for_each(token, |hash| last = Some(hash));
            hashes.extend(last);
        }
        hashes.sort();
        hashes
    }

    #[test]
    fn equal_texts_have_all_tokens() {
        assert_eq!(of_text("user 17 naïve"), hashes(&["user", "17", "na", "ve", "naïve"]));
        assert_eq!(of_text(""), []);
    }

    #[test]
    fn a_pattern_of_like_has_the_tokens_that_are_whole_in_it() {
        let cases: &[(&str, &[&str])] = &[
            ("%error%", &[]),
            ("% error %", &["error"]),
            ("%[error]%", &["error"]),
            ("error %", &["error"]),
            ("error%", &[]),
            ("%: error", &["error"]),
            ("%a user logged%", &["user"]),
            ("%=user_%", &[]),
            ("%=user\\_id=%", &["user_id"]),
            ("%=100\\% sure", &["100", "sure"]),
            ("% a\\b %", &[]),
            ("% naïve %", &["na", "ve", "naïve"]),
            ("%naïve %", &["ve"]),
            ("% tail\\", &[]),
        ];
        for (pattern, expected) in cases {
            assert_eq!(of_like(pattern, Case::Kept), hashes(expected), "{pattern}");
        }
        assert_eq!(of_like("% ERROR naïve %", Case::Ignored), hashes(&["error", "na", "ve"]));
    }

    #[test]
    fn a_regular_expression_has_the_tokens_that_every_match_has() {
        let cases: &[(&str, &[&str])] = &[
            ("error", &[]),
            ("^error$", &["error"]),
            (r"\berror\b", &["error"]),
            (r"\berror\B", &[]),
            (r"(?-u:\berror\b)", &[]),
            (r"\berrors?\b", &[]),
            (r"\berror code=\d+ from", &["error", "code"]),
            (r"\s+error\s+", &["error"]),
            (r"\s*error\s+", &[]),
            (r"\W(error)\W", &["error"]),
            (r"[^a-z]error:", &[]),
            (r"[^0-9A-Za-z_]error:", &[]),
            (r"[ (]error[) ]", &["error"]),
            (r"(?i)[ (]ERROR[) ]", &["error"]),
            (r"(?i) naïve ", &["na", "ve"]),
            (r" naïve ", &["na", "ve", "naïve"]),
            (r" (error|warning) ", &[]),
            (r"( error )+code ", &["error"]),
            (r"( error ){0,3}code ", &[]),
            ("(?m)^error$", &["error"]),
            (r"\bfoo½\b", &["foo"]),
        ];
        for (pattern, expected) in cases {
            let parsed = regex_syntax::parse(pattern).unwrap();
            assert_eq!(of_regex(&parsed), hashes(expected), "{pattern}");
        }
    }
}
