//! The options of a startup message.

use crate::error::{SqlError, SqlResult};
use crate::sqlstate;

/// `-c name=value` and `--name=value`, as in PGOPTIONS; a backslash keeps the next character.
pub(super) fn parse_options(options: &str) -> SqlResult<Vec<(String, String)>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = options.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => word.get_or_insert_default().extend(characters.next()),
            space if space.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    let mut settings = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("-c") {
            Some("") => words.next(),
            Some(rest) => Some(rest.to_owned()),
            None => word.strip_prefix("--").map(str::to_owned),
        };
        let parts = setting.as_deref().and_then(|setting| setting.split_once('='));
        let (name, value) = parts.ok_or_else(|| {
            let message = format!("invalid command-line argument for server process: {word}");
            SqlError::new(sqlstate::SYNTAX_ERROR, message)
        })?;
        settings.push((name.trim().replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}
