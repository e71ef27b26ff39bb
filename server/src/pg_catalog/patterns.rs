//! LIKE and regular expressions.

use std::rc::Rc;

use regex::{Regex, RegexBuilder};

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::run::Run;
use crate::sqlstate;

/// A compiled pattern may take so many bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// `text LIKE pattern`
pub(crate) fn like(text: &str, pattern: &str, insensitive: bool) -> SqlResult<bool> {
    let fold = |text: &str| -> Vec<char> {
        if insensitive { text.to_lowercase().chars().collect() } else { text.chars().collect() }
    };
    let (text, pattern) = (fold(text), fold(pattern));
    matches(&text, &pattern)
}

/// Where a `%` was met last is remembered, so that a failure goes back there only.
fn matches(text: &[char], pattern: &[char]) -> SqlResult<bool> {
    let (mut at, mut want) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while at < text.len() {
        match pattern.get(want) {
            Some('%') => {
                retry = Some((at, want + 1));
                want += 1;
                continue;
            }
            Some('_') => {
                at += 1;
                want += 1;
                continue;
            }
            // Only an escape that is looked at while there is text is an error to PostgreSQL.
            Some('\\') if want + 1 == pattern.len() => {
                let message = "LIKE pattern must not end with escape character";
                return Err(SqlError::new(sqlstate::INVALID_ESCAPE_SEQUENCE, message));
            }
            Some('\\') if pattern.get(want + 1) == Some(&text[at]) => {
                at += 1;
                want += 2;
                continue;
            }
            Some(literal) if *literal != '\\' && *literal == text[at] => {
                at += 1;
                want += 1;
                continue;
            }
            _ => {}
        }
        match retry {
            Some((from, after)) => {
                retry = Some((from + 1, after));
                at = from + 1;
                want = after;
            }
            None => return Ok(false),
        }
    }
    Ok(pattern[want..].iter().all(|it| *it == '%'))
}

/// A pattern of LIKE whose escape character is another one, with backslashes.
pub(crate) fn with_backslashes(pattern: &str, escape: &str) -> SqlResult<String> {
    let mut characters = escape.chars();
    let escape = characters.next();
    if characters.next().is_some() {
        let hint = "Escape string must be empty or one character.";
        let error = SqlError::new(sqlstate::INVALID_ESCAPE_SEQUENCE, "invalid escape string");
        return Err(error.with_hint(hint));
    }
    let mut out = String::new();
    let mut follows_escape = false;
    for character in pattern.chars() {
        if Some(character) == escape && !follows_escape {
            out.push('\\');
            follows_escape = true;
            continue;
        }
        // A backslash that is no escape stands for itself.
        if character == '\\' && !follows_escape {
            out.push('\\');
        }
        out.push(character);
        follows_escape = false;
    }
    Ok(out)
}

/// How a pattern is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    insensitive: bool,
    /// A text, and no pattern.
    literal: bool,
    /// White space and comments do not count.
    extended: bool,
    /// Lines are texts of their own: `^` and `$` are at their ends, and a dot is no end of a line.
    lines: bool,
    /// The same, but for the ends.
    dots: bool,
}

impl Flags {
    /// Flags as functions take them, without `g`.
    pub(crate) fn parse(text: &str) -> SqlResult<Flags> {
        let mut flags = Flags::default();
        for letter in text.chars() {
            match letter {
                'i' => flags.insensitive = true,
                'c' => flags.insensitive = false,
                'q' => flags.literal = true,
                'x' => flags.extended = true,
                't' => flags.extended = false,
                'm' | 'n' => (flags.lines, flags.dots) = (true, true),
                'p' => (flags.lines, flags.dots) = (false, true),
                'w' => (flags.lines, flags.dots) = (true, false),
                's' => (flags.lines, flags.dots) = (false, false),
                'e' | 'b' | 'g' => {}
                other => {
                    let message = format!("invalid regular expression option: \"{other}\"");
                    return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
                }
            }
        }
        Ok(flags)
    }
}

/// A regular expression as PostgreSQL's operators use them.
pub(crate) fn regex(run: &Run<'_>, pattern: &str, insensitive: bool) -> SqlResult<Rc<Regex>> {
    regex_with(run, pattern, Flags { insensitive, ..Flags::default() })
}

/// A regular expression with flags.
pub(crate) fn regex_with(run: &Run<'_>, pattern: &str, flags: Flags) -> SqlResult<Rc<Regex>> {
    let key = format!("{flags:?}{pattern}");
    run.pattern(&key, || compile(pattern, flags))
}

fn compile(pattern: &str, flags: Flags) -> SqlResult<Regex> {
    // The director `***:` says that what follows is an advanced expression, `***=` that it is a text.
    let translated = match (pattern.strip_prefix("***:"), pattern.strip_prefix("***=")) {
        _ if flags.literal => regex::escape(pattern),
        (Some(rest), _) => rest.to_owned(),
        (_, Some(literal)) => regex::escape(literal),
        _ => pattern.to_owned(),
    };
    let translated = translated.replace("\\y", "\\b").replace("\\m", "\\b{start}").replace("\\M", "\\b{end}");
    RegexBuilder::new(&translated)
        .case_insensitive(flags.insensitive)
        .ignore_whitespace(flags.extended)
        .multi_line(flags.lines)
        // A dot matches a line's end too.
        .dot_matches_new_line(!flags.dots)
        .size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|_| {
            let message = format!("invalid regular expression: \"{pattern}\"");
            SqlError::new(sqlstate::INVALID_REGULAR_EXPRESSION, message)
        })
}
