//! Functions of regular expressions.

use regex::{Captures, Regex};

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::functions::{ScalarBody, SetBody, int, int4, text, texted};
use crate::pg_catalog::patterns::{self, Flags};
use crate::pg_catalog::run::Run;
use crate::pgtype::PgType;
use crate::pgtype::datum::{ArrayDatum, Datum};
use crate::sqlstate;

pub(super) const FUNCTIONS: &[(&str, ScalarBody)] = &[
    ("regexp_replace(text,text,text) text", |run, values| replace(run, values, "", None)),
    ("regexp_replace(text,text,text,text) text", |run, values| replace(run, values, text(values, 3), None)),
    ("regexp_replace(text,text,text,int4) text", |run, values| {
        replace(run, values, "", Some((int(values, 3), 1)))
    }),
    ("regexp_replace(text,text,text,int4,int4) text", |run, values| {
        replace(run, values, "", Some((int(values, 3), int(values, 4))))
    }),
    ("regexp_replace(text,text,text,int4,int4,text) text", |run, values| {
        replace(run, values, text(values, 5), Some((int(values, 3), int(values, 4))))
    }),
    ("regexp_match(text,text) text[]", |run, values| first_match(run, values, "")),
    ("regexp_match(text,text,text) text[]", |run, values| first_match(run, values, text(values, 2))),
    ("regexp_like(text,text) bool", |run, values| is_match(run, values, "")),
    ("regexp_like(text,text,text) bool", |run, values| is_match(run, values, text(values, 2))),
    ("regexp_count(text,text) int4", |run, values| count(run, values, 1, "")),
    ("regexp_count(text,text,int4) int4", |run, values| count(run, values, int(values, 2), "")),
    ("regexp_count(text,text,int4,text) int4", |run, values| {
        count(run, values, int(values, 2), text(values, 3))
    }),
    ("regexp_substr(text,text) text", substr),
    ("regexp_substr(text,text,int4) text", substr),
    ("regexp_substr(text,text,int4,int4) text", substr),
    ("regexp_substr(text,text,int4,int4,text) text", substr),
    ("regexp_substr(text,text,int4,int4,text,int4) text", substr),
    ("regexp_instr(text,text) int4", instr),
    ("regexp_instr(text,text,int4) int4", instr),
    ("regexp_instr(text,text,int4,int4) int4", instr),
    ("regexp_instr(text,text,int4,int4,int4) int4", instr),
    ("regexp_instr(text,text,int4,int4,int4,text) int4", instr),
    ("regexp_instr(text,text,int4,int4,int4,text,int4) int4", instr),
    ("regexp_split_to_array(text,text) text[]", |run, values| split_to_array(run, values, "")),
    ("regexp_split_to_array(text,text,text) text[]", |run, values| {
        split_to_array(run, values, text(values, 2))
    }),
];

pub(super) const SETS: &[(&str, SetBody)] = &[
    ("regexp_matches(text,text) setof text[]", |run, values| {
        Ok(all_matches(run, values, "", "regexp_matches")?.into_iter().take(1).map(|it| vec![it]).collect())
    }),
    ("regexp_matches(text,text,text) setof text[]", |run, values| {
        let flags = text(values, 2);
        let found = all_matches(run, values, flags, "regexp_matches")?;
        let limit = if flags.contains('g') { usize::MAX } else { 1 };
        Ok(found.into_iter().take(limit).map(|it| vec![it]).collect())
    }),
    ("regexp_split_to_table(text,text) setof text", |run, values| {
        Ok(split(run, values, "", "regexp_split_to_table")?.into_iter().map(|it| vec![it]).collect())
    }),
    ("regexp_split_to_table(text,text,text) setof text", |run, values| {
        let parts = split(run, values, text(values, 2), "regexp_split_to_table")?;
        Ok(parts.into_iter().map(|it| vec![it]).collect())
    }),
];

fn invalid(message: String) -> SqlError {
    SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

/// The pattern with its flags; whether `g` is among them is the function's business.
fn pattern(run: &Run<'_>, values: &[Datum], flags: &str) -> SqlResult<std::rc::Rc<Regex>> {
    patterns::regex_with(run, text(values, 1), Flags::parse(flags)?)
}

fn without_global(function: &str, flags: &str) -> SqlResult<()> {
    if !flags.contains('g') {
        return Ok(());
    }
    let error = invalid(format!("{function}() does not support the \"global\" option"));
    Err(match function {
        "regexp_match" => error.with_hint("Use the regexp_matches function instead."),
        _ => error,
    })
}

fn positive(name: &str, value: i64) -> SqlResult<usize> {
    let message = || invalid(format!("invalid value for parameter \"{name}\": {value}"));
    usize::try_from(value).ok().filter(|it| *it > 0).ok_or_else(message)
}

/// Where a character, counted from 1, begins.
fn offset(whole: &str, start: usize) -> usize {
    whole.char_indices().nth(start - 1).map_or(whole.len(), |(at, _)| at)
}

/// The groups of a match, or all of it where the pattern has none.
fn groups(found: &Captures<'_>) -> Datum {
    let skipped = usize::from(found.len() > 1);
    let parts = found.iter().skip(skipped);
    let parts = parts.map(|it| it.map_or(Datum::Null, |it| Datum::Text(it.as_str().to_owned())));
    Datum::Array(ArrayDatum::list(PgType::TEXT, parts.collect()))
}

fn first_match(run: &Run<'_>, values: &[Datum], flags: &str) -> SqlResult<Datum> {
    without_global("regexp_match", flags)?;
    let pattern = pattern(run, values, flags)?;
    Ok(pattern.captures(text(values, 0)).map_or(Datum::Null, |found| groups(&found)))
}

fn all_matches(run: &Run<'_>, values: &[Datum], flags: &str, _: &str) -> SqlResult<Vec<Datum>> {
    let pattern = pattern(run, values, &flags.replace('g', ""))?;
    Ok(pattern.captures_iter(text(values, 0)).map(|found| groups(&found)).collect())
}

fn is_match(run: &Run<'_>, values: &[Datum], flags: &str) -> SqlResult<Datum> {
    without_global("regexp_like", flags)?;
    Ok(Datum::Bool(pattern(run, values, flags)?.is_match(text(values, 0))))
}

fn count(run: &Run<'_>, values: &[Datum], start: i64, flags: &str) -> SqlResult<Datum> {
    without_global("regexp_count", flags)?;
    let start = positive("start", start)?;
    let whole = text(values, 0);
    let from = offset(whole, start);
    let pattern = pattern(run, values, flags)?;
    Ok(int4(pattern.find_iter(whole).filter(|found| found.start() >= from).count()))
}

/// `\1` is a group, `\&` the whole match.
fn expanded(found: &Captures<'_>, replacement: &str) -> String {
    let mut out = String::new();
    let mut characters = replacement.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some('&') => out.push_str(&found[0]),
            Some(digit @ '1'..='9') => {
                let group = digit as usize - '0' as usize;
                out.push_str(found.get(group).map_or("", |it| it.as_str()));
            }
            Some('\\') | None => out.push('\\'),
            Some(other) => out.extend(['\\', other]),
        }
    }
    out
}

/// With a start and the number of a match, that match is replaced, or all of them if it is 0.
fn replace(run: &Run<'_>, values: &[Datum], flags: &str, place: Option<(i64, i64)>) -> SqlResult<Datum> {
    let whole = text(values, 0);
    let pattern = pattern(run, values, &flags.replace('g', ""))?;
    let (from, wanted) = match place {
        None => (0, if flags.contains('g') { 0 } else { 1 }),
        Some((start, number)) => {
            let from = offset(whole, positive("start", start)?);
            let number = usize::try_from(number)
                .map_err(|_| invalid(format!("invalid value for parameter \"n\": {number}")))?;
            (from, number)
        }
    };
    let mut out = String::new();
    let (mut end, mut number) = (0, 0);
    for found in pattern.captures_iter(whole) {
        let all = found.get(0).ok_or_else(|| SqlError::internal("a match is one"))?;
        if all.start() < from {
            continue;
        }
        number += 1;
        if wanted != 0 && number != wanted {
            continue;
        }
        out.push_str(&whole[end..all.start()]);
        out.push_str(&expanded(&found, text(values, 2)));
        end = all.end();
        if wanted != 0 {
            break;
        }
    }
    out.push_str(&whole[end..]);
    texted(out)
}

/// The n-th match from a character on.
fn nth<'t>(pattern: &Regex, whole: &'t str, start: usize, number: usize) -> Option<Captures<'t>> {
    let from = offset(whole, start);
    pattern.captures_iter(whole).filter(|it| it.get(0).is_some_and(|it| it.start() >= from)).nth(number - 1)
}

fn substr(run: &Run<'_>, values: &[Datum]) -> SqlResult<Datum> {
    let given = |at: usize, otherwise: i64| if values.len() > at { int(values, at) } else { otherwise };
    let (start, number) = (positive("start", given(2, 1))?, positive("n", given(3, 1))?);
    let flags = if values.len() > 4 { text(values, 4) } else { "" };
    without_global("regexp_substr", flags)?;
    let group = given(5, 0);
    let group = usize::try_from(group)
        .map_err(|_| invalid(format!("invalid value for parameter \"subexpr\": {group}")))?;
    let pattern = pattern(run, values, flags)?;
    let found = nth(&pattern, text(values, 0), start, number);
    let part = found.as_ref().and_then(|found| found.get(group));
    Ok(part.map_or(Datum::Null, |it| Datum::Text(it.as_str().to_owned())))
}

fn instr(run: &Run<'_>, values: &[Datum]) -> SqlResult<Datum> {
    let given = |at: usize, otherwise: i64| if values.len() > at { int(values, at) } else { otherwise };
    let (start, number) = (positive("start", given(2, 1))?, positive("n", given(3, 1))?);
    let is_end = match given(4, 0) {
        0 => false,
        1 => true,
        other => return Err(invalid(format!("invalid value for parameter \"endoption\": {other}"))),
    };
    let flags = if values.len() > 5 { text(values, 5) } else { "" };
    without_global("regexp_instr", flags)?;
    let group = given(6, 0);
    let group = usize::try_from(group)
        .map_err(|_| invalid(format!("invalid value for parameter \"subexpr\": {group}")))?;
    let whole = text(values, 0);
    let pattern = pattern(run, values, flags)?;
    let found = nth(&pattern, whole, start, number);
    let Some(part) = found.as_ref().and_then(|found| found.get(group)) else { return Ok(Datum::Int4(0)) };
    let at = if is_end { part.end() } else { part.start() };
    Ok(int4(whole[..at].chars().count() + 1))
}

/// What lies between the matches; an empty match at either end parts nothing.
fn split(run: &Run<'_>, values: &[Datum], flags: &str, function: &str) -> SqlResult<Vec<Datum>> {
    without_global(function, flags)?;
    let whole = text(values, 0);
    let pattern = pattern(run, values, flags)?;
    let (mut parts, mut end) = (Vec::new(), 0);
    for found in pattern.find_iter(whole) {
        let is_empty_at_edge = found.is_empty() && (found.start() == end || found.start() == whole.len());
        if is_empty_at_edge && (found.start() == 0 || found.start() == whole.len()) {
            continue;
        }
        parts.push(Datum::Text(whole[end..found.start()].to_owned()));
        end = found.end();
    }
    parts.push(Datum::Text(whole[end..].to_owned()));
    Ok(parts)
}

fn split_to_array(run: &Run<'_>, values: &[Datum], flags: &str) -> SqlResult<Datum> {
    let parts = split(run, values, flags, "regexp_split_to_array")?;
    Ok(Datum::Array(ArrayDatum::list(PgType::TEXT, parts)))
}
