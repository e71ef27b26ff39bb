//! Functions of texts and numbers.

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::functions::{ScalarBody, any, int, text, texted};
use crate::pg_catalog::names::{quote_ident, quote_literal};
use crate::pg_catalog::patterns;
use crate::pg_catalog::run::Run;
use crate::pgtype::PgType;
use crate::pgtype::cast::integer_out_of_range;
use crate::pgtype::datum::{ArrayDatum, Datum};
use crate::pgtype::text::to_text;
use crate::sqlstate;

pub(super) const FUNCTIONS: &[(&str, ScalarBody)] = &[
    ("lower(text) text", |_, values| texted(text(values, 0).to_lowercase())),
    ("upper(text) text", |_, values| texted(text(values, 0).to_uppercase())),
    ("length(text) int4", |_, values| Ok(super::int4(text(values, 0).chars().count()))),
    ("char_length(text) int4", |_, values| Ok(super::int4(text(values, 0).chars().count()))),
    ("character_length(text) int4", |_, values| Ok(super::int4(text(values, 0).chars().count()))),
    ("octet_length(text) int4", |_, values| Ok(super::int4(text(values, 0).len()))),
    ("substring(text,int4) text", |_, values| substring(text(values, 0), int(values, 1), None)),
    ("substring(text,int4,int4) text", |_, values| {
        substring(text(values, 0), int(values, 1), Some(int(values, 2)))
    }),
    ("substr(text,int4) text", |_, values| substring(text(values, 0), int(values, 1), None)),
    ("substr(text,int4,int4) text", |_, values| {
        substring(text(values, 0), int(values, 1), Some(int(values, 2)))
    }),
    ("substring(text,text) text", |run, values| {
        let pattern = patterns::regex(run, text(values, 1), false)?;
        let found = pattern.captures(text(values, 0));
        // The first group, where the pattern has one.
        let part = found.and_then(|it| if it.len() > 1 { it.get(1) } else { it.get(0) });
        Ok(part.map_or(Datum::Null, |it| Datum::Text(it.as_str().to_owned())))
    }),
    ("btrim(text) text", |_, values| texted(text(values, 0).trim_matches(' '))),
    ("ltrim(text) text", |_, values| texted(text(values, 0).trim_start_matches(' '))),
    ("rtrim(text) text", |_, values| texted(text(values, 0).trim_end_matches(' '))),
    ("btrim(text,text) text", |_, values| texted(text(values, 0).trim_matches(|it| has(values, it)))),
    ("ltrim(text,text) text", |_, values| texted(text(values, 0).trim_start_matches(|it| has(values, it)))),
    ("rtrim(text,text) text", |_, values| texted(text(values, 0).trim_end_matches(|it| has(values, it)))),
    ("replace(text,text,text) text", |_, values| {
        let (whole, from) = (text(values, 0), text(values, 1));
        texted(if from.is_empty() { whole.to_owned() } else { whole.replace(from, text(values, 2)) })
    }),
    ("strpos(text,text) int4", |_, values| Ok(position(text(values, 0), text(values, 1)))),
    ("position(text,text) int4", |_, values| Ok(position(text(values, 0), text(values, 1)))),
    ("split_part(text,text,int4) text", split_part),
    ("left(text,int4) text", |_, values| {
        let (whole, count) = (text(values, 0), int(values, 1));
        texted(whole.chars().take(kept(whole, count)).collect::<String>())
    }),
    ("right(text,int4) text", |_, values| {
        let (whole, count) = (text(values, 0), int(values, 1));
        let skipped = whole.chars().count() - kept(whole, count);
        texted(whole.chars().skip(skipped).collect::<String>())
    }),
    ("repeat(text,int4) text", |_, values| {
        const BYTES_MAX: usize = 1 << 26;
        let count = usize::try_from(int(values, 1)).unwrap_or(0);
        if text(values, 0).len().saturating_mul(count) > BYTES_MAX {
            return Err(SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, "requested length too large"));
        }
        texted(text(values, 0).repeat(count))
    }),
    ("*concat(variadic any) text", |run, values| texted(written(run, values)?.join(""))),
    ("*concat_ws(text,variadic any) text", |run, values| {
        if values[0].is_null() {
            return Ok(Datum::Null);
        }
        texted(written(run, &values[1..])?.join(text(values, 0)))
    }),
    ("like_escape(text,text) text", |_, values| {
        texted(patterns::with_backslashes(text(values, 0), text(values, 1))?)
    }),
    ("*format(text,variadic any) text", |run, values| format_text(run, values)),
    ("format(text) text", |run, values| format_text(run, values)),
    ("parse_ident(text) text[]", |_, values| {
        let (namespace, name) = crate::pg_catalog::names::split_qualified(text(values, 0))?;
        let parts = namespace.into_iter().chain(std::iter::once(name)).map(Datum::Text).collect();
        Ok(Datum::Array(ArrayDatum::list(PgType::TEXT, parts)))
    }),
    ("quote_ident(text) text", |_, values| texted(quote_ident(text(values, 0)))),
    ("quote_literal(text) text", |_, values| texted(quote_literal(text(values, 0)))),
    ("*quote_nullable(text) text", |_, values| match &values[0] {
        Datum::Null => texted("NULL"),
        _ => texted(quote_literal(text(values, 0))),
    }),
    ("starts_with(text,text) bool", |_, values| {
        Ok(Datum::Bool(text(values, 0).starts_with(text(values, 1))))
    }),
    ("reverse(text) text", |_, values| texted(text(values, 0).chars().rev().collect::<String>())),
    ("abs(int4) int4", |_, values| {
        let value = int(values, 0).abs();
        i32::try_from(value).map(Datum::Int4).map_err(|_| integer_out_of_range("integer"))
    }),
    ("abs(int8) int8", |_, values| {
        int(values, 0).checked_abs().map(Datum::Int8).ok_or_else(|| integer_out_of_range("bigint"))
    }),
];

fn has(values: &[Datum], character: char) -> bool {
    text(values, 1).contains(character)
}

/// The characters from a place counted from 1, which may lie before the text.
fn substring(whole: &str, from: i64, length: Option<i64>) -> SqlResult<Datum> {
    let end = match length {
        Some(length) if length < 0 => {
            let message = "negative substring length not allowed";
            return Err(SqlError::new(sqlstate::SUBSTRING_ERROR, message));
        }
        Some(length) => from.saturating_add(length),
        None => i64::MAX,
    };
    let start = from.max(1);
    let count = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
    let skipped = usize::try_from(start - 1).unwrap_or(usize::MAX);
    texted(whole.chars().skip(skipped).take(count).collect::<String>())
}

fn position(whole: &str, part: &str) -> Datum {
    whole.find(part).map_or(Datum::Int4(0), |at| super::int4(whole[..at].chars().count() + 1))
}

/// How many characters `left` and `right` keep: a negative number is counted from the other end.
fn kept(whole: &str, count: i64) -> usize {
    let length = whole.chars().count();
    match usize::try_from(count) {
        Ok(count) => count.min(length),
        Err(_) => length.saturating_sub(usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX)),
    }
}

fn split_part(_: &Run<'_>, values: &[Datum]) -> SqlResult<Datum> {
    let (whole, separator, at) = (text(values, 0), text(values, 1), int(values, 2));
    if at == 0 {
        let message = "field position must not be zero";
        return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
    }
    let parts: Vec<&str> = match separator {
        "" => vec![whole],
        separator => whole.split(separator).collect(),
    };
    let distance = usize::try_from(at.unsigned_abs()).unwrap_or(usize::MAX);
    let found = if at > 0 { parts.get(distance - 1) } else { parts.iter().rev().nth(distance - 1) };
    texted(found.copied().unwrap_or_default())
}

/// The values of any types as their output functions write them, without NULLs.
fn written(run: &Run<'_>, values: &[Datum]) -> SqlResult<Vec<String>> {
    let mut texts = Vec::new();
    for value in values {
        let (pg_type, value) = any(value)?;
        if !value.is_null() {
            texts.push(to_text(value, pg_type, &run.context.format));
        }
    }
    Ok(texts)
}

/// `format`: `%s`, `%I` and `%L`, with or without the number of their argument.
fn format_text(run: &Run<'_>, values: &[Datum]) -> SqlResult<Datum> {
    if values[0].is_null() {
        return Ok(Datum::Null);
    }
    let invalid = |message: &str| SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message);
    let mut out = String::new();
    let mut next = 1;
    let mut rest = text(values, 0);
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let digits = after.len() - after.trim_start_matches(|it: char| it.is_ascii_digit()).len();
        let (number, after) = after.split_at(digits);
        let after = if number.is_empty() {
            after
        } else {
            next = number.parse().map_err(|_| invalid("number is out of range"))?;
            after.strip_prefix('$').ok_or_else(|| SqlError::unsupported("a width in format()"))?
        };
        let mut characters = after.chars();
        let kind = characters.next().ok_or_else(|| invalid("unterminated format() type specifier"))?;
        rest = characters.as_str();
        if kind == '%' {
            out.push('%');
            continue;
        }
        let value = values.get(next).filter(|_| next > 0);
        let (pg_type, value) = any(value.ok_or_else(|| invalid("too few arguments for format()"))?)?;
        next += 1;
        let written = (!value.is_null()).then(|| to_text(value, pg_type, &run.context.format));
        match (kind, written) {
            ('s', written) => out.push_str(&written.unwrap_or_default()),
            ('I', Some(written)) => out.push_str(&quote_ident(&written)),
            ('I', None) => return Err(invalid("null values cannot be formatted as an SQL identifier")),
            ('L', Some(written)) => out.push_str(&quote_literal(&written)),
            ('L', None) => out.push_str("NULL"),
            (other, _) => {
                let message = format!("unrecognized format() type specifier \"{other}\"");
                return Err(invalid(&message));
            }
        }
    }
    out.push_str(rest);
    texted(out)
}
