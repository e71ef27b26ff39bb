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

/// A regular expression as PostgreSQL's operators use them.
pub(crate) fn regex(run: &Run<'_>, pattern: &str, insensitive: bool) -> SqlResult<Rc<Regex>> {
    let key = format!("{}{pattern}", if insensitive { 'i' } else { 's' });
    run.pattern(&key, || compile(pattern, insensitive))
}

fn compile(pattern: &str, insensitive: bool) -> SqlResult<Regex> {
    // The director `***:` says that what follows is an advanced expression, `***=` that it is a text.
    let translated = match (pattern.strip_prefix("***:"), pattern.strip_prefix("***=")) {
        (Some(rest), _) => rest.to_owned(),
        (_, Some(literal)) => regex::escape(literal),
        _ => pattern.to_owned(),
    };
    let translated = translated.replace("\\y", "\\b").replace("\\m", "\\b").replace("\\M", "\\b");
    RegexBuilder::new(&translated)
        .case_insensitive(insensitive)
        // A dot matches a line's end too.
        .dot_matches_new_line(true)
        .size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|_| {
            let message = format!("invalid regular expression: \"{pattern}\"");
            SqlError::new(sqlstate::INVALID_REGULAR_EXPRESSION, message)
        })
}
