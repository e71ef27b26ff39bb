//! Functions of texts that DataFusion has not, or has with another meaning.

use tidemark_engine::tokens::Token;

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::{quote_ident, quote_literal};
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::text;
use crate::sql::functions::row::{Entry, Kind, Overload, strict, variadic};
use crate::sqlstate;

use Kind::{Any, Int4, Text};

/// The function that finds a token in a text.
pub const CONTAINS_TOKEN: &str = "contains_token";

/// The functions.
pub const FUNCTIONS: &[Entry] = &[
    ("concat", &[variadic(&[Any], Text, concat)]),
    ("concat_ws", &[variadic(&[Text, Any], Text, concat_ws)]),
    ("format", &[variadic(&[Text, Any], Text, format)]),
    ("quote_ident", &[strict(&[Text], Text, |args, _| Ok(Datum::Text(quote_ident(string(&args[0])?))))]),
    (
        "quote_literal",
        &[strict(&[Any], Text, |args, format| Ok(Datum::Text(quote_literal(&shown(&args[0], format)))))],
    ),
    (
        "quote_nullable",
        &[Overload {
            takes_nulls: true,
            ..strict(&[Any], Text, |args, format| {
                Ok(Datum::Text(match &args[0] {
                    Datum::Null => "NULL".to_owned(),
                    value => quote_literal(&shown(value, format)),
                }))
            })
        }],
    ),
    (
        CONTAINS_TOKEN,
        &[strict(&[Text, Text], Kind::Bool, |args, _| contains_token(string(&args[0])?, string(&args[1])?))],
    ),
    ("chr", &[strict(&[Int4], Text, |args, _| chr(&args[0]))]),
    ("length", LENGTH),
    ("char_length", LENGTH),
    ("like_escape", &[strict(&[Text, Text], Text, like_escape)]),
    (
        "similar_to_escape",
        &[
            strict(&[Text], Text, |args, _| similar(string(&args[0])?, Some('\\'))),
            strict(&[Text, Text], Text, |args, _| similar(string(&args[0])?, escape_of(string(&args[1])?)?)),
        ],
    ),
];

const LENGTH: &[Overload] = &[
    strict(&[Text], Int4, |args, _| count(string(&args[0])?.chars().count())),
    strict(&[Kind::Bytea], Int4, |args, _| match &args[0] {
        Datum::Bytea(bytes) => count(bytes.len()),
        _ => Err(SqlError::internal("bytes were expected")),
    }),
];

fn count(length: usize) -> SqlResult<Datum> {
    i32::try_from(length).map(Datum::Int4).map_err(SqlError::internal)
}

fn string(datum: &Datum) -> SqlResult<&str> {
    match datum {
        Datum::Text(text) => Ok(text),
        _ => Err(SqlError::internal("a text was expected")),
    }
}

/// A value as its output function writes it.
fn shown(datum: &Datum, format: &FormatSettings) -> String {
    match datum {
        Datum::Text(text) => text.clone(),
        other => text::to_text(other, &PgType::TEXT, format),
    }
}

fn concat(args: &[Datum], format: &FormatSettings) -> SqlResult<Datum> {
    Ok(Datum::Text(args.iter().filter(|it| !it.is_null()).map(|it| shown(it, format)).collect()))
}

fn concat_ws(args: &[Datum], format: &FormatSettings) -> SqlResult<Datum> {
    let Some((Datum::Text(separator), values)) = args.split_first() else { return Ok(Datum::Null) };
    let values: Vec<String> = values.iter().filter(|it| !it.is_null()).map(|it| shown(it, format)).collect();
    Ok(Datum::Text(values.join(separator)))
}

/// Whether a text has the token.
fn contains_token(text: &str, token: &str) -> SqlResult<Datum> {
    let found = Token::new(token).ok_or_else(|| {
        SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, format!("not a token: {}", quote_literal(token)))
            .with_detail("A token is one run of letters, digits and \"_\".")
            .with_hint("Ask for each token of a phrase, or use LIKE.")
    })?;
    Ok(Datum::Bool(found.is_in(text)))
}

fn chr(code: &Datum) -> SqlResult<Datum> {
    let Datum::Int4(code) = code else { return Err(SqlError::internal("an integer was expected")) };
    let refused = |message: &str| Err(SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message));
    match u32::try_from(*code) {
        Err(_) => refused("character number must be positive"),
        Ok(0) => refused("null character not permitted"),
        Ok(number) => match char::from_u32(number) {
            Some(character) => Ok(Datum::Text(character.to_string())),
            None => refused(&format!("requested character not valid for encoding: {number}")),
        },
    }
}

/// `format('%s %I %L', …)`.
fn format(args: &[Datum], settings: &FormatSettings) -> SqlResult<Datum> {
    let Some((Datum::Text(pattern), values)) = args.split_first() else { return Ok(Datum::Null) };
    let invalid = |message: &str| SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message);
    let mut out = String::new();
    let mut rest = pattern.chars().peekable();
    let mut next = 0;
    while let Some(character) = rest.next() {
        if character != '%' {
            out.push(character);
            continue;
        }
        let mut number = digits(&mut rest);
        let mut position = None;
        if number.is_some() && rest.next_if_eq(&'$').is_some() {
            position = number.take();
            if position == Some(0) {
                return Err(invalid("format specifies argument 0, but arguments are numbered from 1"));
            }
        }
        let is_left = number.is_none() && rest.next_if_eq(&'-').is_some();
        let width = number.or_else(|| digits(&mut rest)).unwrap_or(0);
        let Some(kind) = rest.next() else {
            return Err(
                invalid("unterminated format() type specifier").with_hint("For a single \"%\" use \"%%\".")
            );
        };
        if kind == '%' {
            out.push('%');
            continue;
        }
        if !matches!(kind, 's' | 'I' | 'L') {
            let message = format!("unrecognized format() type specifier \"{kind}\"");
            return Err(invalid(&message).with_hint("For a single \"%\" use \"%%\"."));
        }
        let at = position.map_or(next, |position| position - 1);
        next = at + 1;
        let value = values.get(at).ok_or_else(|| invalid("too few arguments for format()"))?;
        let text = match (kind, value) {
            ('I', Datum::Null) => {
                let message = "null values cannot be formatted as an SQL identifier";
                return Err(SqlError::new(sqlstate::NULL_VALUE_NOT_ALLOWED, message));
            }
            ('L', Datum::Null) => "NULL".to_owned(),
            (_, Datum::Null) => String::new(),
            ('I', value) => quote_ident(&shown(value, settings)),
            ('L', value) => quote_literal(&shown(value, settings)),
            (_, value) => shown(value, settings),
        };
        let padding = " ".repeat(width.saturating_sub(text.chars().count()));
        if is_left {
            out.extend([text, padding]);
        } else {
            out.extend([padding, text]);
        }
    }
    Ok(Datum::Text(out))
}

fn digits(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<usize> {
    let mut number = None;
    while let Some(digit) = rest.peek().and_then(|it| it.to_digit(10)) {
        rest.next();
        // No text is so wide, and no call has so many arguments.
        number = Some((number.unwrap_or(0) * 10 + digit as usize).min(1_000_000));
    }
    number
}

fn escape_of(text: &str) -> SqlResult<Option<char>> {
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (first, None) => Ok(first),
        _ => Err(SqlError::new(sqlstate::INVALID_ESCAPE_SEQUENCE, "invalid escape string")
            .with_hint("Escape string must be empty or one character.")),
    }
}

/// A pattern of LIKE with an escape of its own, as one with the usual escape.
fn like_escape(args: &[Datum], _: &FormatSettings) -> SqlResult<Datum> {
    let (pattern, escape) = (string(&args[0])?, escape_of(string(&args[1])?)?);
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern.chars();
    while let Some(character) = rest.next() {
        if Some(character) == escape {
            out.push('\\');
            match rest.next() {
                Some(escaped) => out.push(escaped),
                None => break,
            }
        } else if character == '\\' {
            out.push_str("\\\\");
        } else {
            out.push(character);
        }
    }
    Ok(Datum::Text(out))
}

/// A pattern of SIMILAR TO as a regular expression of the whole text.
fn similar(pattern: &str, escape: Option<char>) -> SqlResult<Datum> {
    let mut out = "^(?s:".to_owned();
    let mut rest = pattern.chars();
    let mut in_bracket = false;
    while let Some(character) = rest.next() {
        if Some(character) == escape {
            match rest.next() {
                Some(escaped) if escaped.is_alphanumeric() => out.push(escaped),
                Some(escaped) => out.extend(['\\', escaped]),
                None => out.push_str("\\\\"),
            }
            continue;
        }
        match character {
            '[' if !in_bracket => in_bracket = true,
            ']' if in_bracket => in_bracket = false,
            _ => {}
        }
        match character {
            '%' if !in_bracket => out.push_str(".*"),
            '_' if !in_bracket => out.push('.'),
            '(' if !in_bracket => out.push_str("(?:"),
            '.' | '^' | '$' if !in_bracket => out.extend(['\\', character]),
            '\\' => out.push_str("\\\\"),
            other => out.push(other),
        }
    }
    out.push_str(")$");
    Ok(Datum::Text(out))
}
