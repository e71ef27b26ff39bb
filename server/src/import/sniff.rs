//! What table a file would make: the types of a CSV file's columns from its first rows, and the statement.
//!
//! A column has the first of these types that all of its values have: `boolean` (true, false), `bigint`,
//! `double precision`, `date`, `timestamp`, `timestamptz`, `uuid`; else it is text, and `symbol` where few
//! values repeat. Numbers that begin with a zero that says nothing are text: they are codes.

use std::collections::HashSet;

use tidemark_catalog::types::{ColumnType, TimeUnit};

use crate::import::error::ImportError;
use crate::import::pg::split_name;
use crate::import::source::FileColumn;
use crate::import::source::records::{CsvField, Records};
use crate::pg_catalog::{quote_ident, quote_literal};

/// Rows that are looked at.
const SAMPLED_ROWS: usize = 10_000;

/// With fewer rows it is not known whether values repeat.
const SYMBOL_ROWS_MIN: usize = 20;

/// Of texts that repeat, each is there this often on the average.
const SYMBOL_REPEATS_MIN: usize = 10;

/// The types that a value has, narrowest first.
const TESTS: [(fn(&str) -> bool, ColumnType); 8] = [
    (is_bool, ColumnType::Bool),
    (is_integer, ColumnType::Int8),
    (is_float, ColumnType::Float8),
    (is_date, ColumnType::Date),
    (|text| is_moment(text, false, 6), ColumnType::Timestamp(TimeUnit::Microsecond)),
    (|text| is_moment(text, false, 9), ColumnType::Timestamp(TimeUnit::Nanosecond)),
    (|text| is_moment(text, true, 6), ColumnType::Timestamptz(TimeUnit::Microsecond)),
    (|text| is_moment(text, true, 9), ColumnType::Timestamptz(TimeUnit::Nanosecond)),
];

/// What was seen of a column.
struct Seen {
    fits: [bool; TESTS.len()],
    is_uuid: bool,
    value_count: usize,
    texts: HashSet<String>,
}

impl Seen {
    fn new() -> Seen {
        Seen { fits: [true; TESTS.len()], is_uuid: true, value_count: 0, texts: HashSet::new() }
    }

    fn add(&mut self, field: CsvField) {
        // NULL has every type.
        if field.text.is_empty() && !field.was_quoted {
            return;
        }
        self.value_count += 1;
        for (fits, (test, _)) in self.fits.iter_mut().zip(&TESTS) {
            *fits = *fits && test(&field.text);
        }
        self.is_uuid = self.is_uuid && is_uuid(&field.text);
        self.texts.insert(field.text);
    }

    fn column_type(&self) -> ColumnType {
        let found = self.fits.iter().zip(&TESTS).find(|(fits, _)| **fits);
        let repeats =
            self.value_count >= SYMBOL_ROWS_MIN && self.texts.len() * SYMBOL_REPEATS_MIN <= self.value_count;
        match found {
            _ if self.value_count == 0 => ColumnType::Text,
            Some((_, (_, column_type))) => column_type.clone(),
            None if self.is_uuid => ColumnType::Uuid,
            None if repeats => ColumnType::Symbol,
            None => ColumnType::Text,
        }
    }
}

/// The columns of a CSV file, from its first rows.
pub(super) fn columns(mut records: Records) -> Result<Vec<FileColumn>, ImportError> {
    let Some(names) = records.column_names().map(<[String]>::to_vec) else {
        return Err(ImportError::Definition("line protocol makes its tables itself".to_owned()));
    };
    let mut seen: Vec<Seen> = names.iter().map(|_| Seen::new()).collect();
    for _ in 0..SAMPLED_ROWS {
        let Some(fields) = records.next_fields()? else { break };
        seen.iter_mut().zip(fields).for_each(|(seen, field)| seen.add(field));
    }
    let columns = names.into_iter().zip(&seen);
    Ok(columns.map(|(name, seen)| FileColumn { name, column_type: seen.column_type() }).collect())
}

/// The statement that makes a table of these columns. Names are folded, so that they need no quotes.
pub(super) fn definition(
    table: &str,
    columns: &[FileColumn],
    time_column: Option<&str>,
) -> Result<String, ImportError> {
    let failed = |reason: String| ImportError::Definition(reason);
    let time_at = match time_column {
        Some(wanted) => {
            let found = columns.iter().position(|column| column.name == wanted);
            let found =
                found.or_else(|| columns.iter().position(|column| column.name.eq_ignore_ascii_case(wanted)));
            found.ok_or_else(|| failed(format!("it has no column \"{wanted}\"")))?
        }
        None => {
            let is_time = |column: &FileColumn| column.column_type.time_unit().is_some();
            columns.iter().position(is_time).ok_or_else(|| {
                let advice = "name one with --time-column, or make the table yourself";
                failed(format!("no column of it has times; {advice}"))
            })?
        }
    };
    let time_type = match &columns[time_at].column_type {
        ColumnType::Date => ColumnType::Timestamp(TimeUnit::Microsecond),
        other if other.time_unit().is_some() => other.clone(),
        other => {
            let name = &columns[time_at].name;
            return Err(failed(format!("column \"{name}\" is of type {other}, not of times")));
        }
    };
    let (namespace, name) = split_name(table)?;
    let table = match namespace {
        Some(namespace) => format!("{}.{}", quote_ident(&namespace), quote_ident(&name)),
        None => quote_ident(&name),
    };
    let column = |(at, column): (usize, &FileColumn)| {
        let (column_type, required) =
            if at == time_at { (&time_type, " NOT NULL") } else { (&column.column_type, "") };
        format!("{} {}{required}", quote_ident(&folded(&column.name)), written(column_type))
    };
    let columns_text: Vec<String> = columns.iter().enumerate().map(column).collect();
    let time_key = quote_literal(&folded(&columns[time_at].name));
    let columns_text = columns_text.join(", ");
    Ok(format!(
        "CREATE TABLE IF NOT EXISTS {table} ({columns_text}) WITH (kind = 'timeseries', time_key = {time_key})"
    ))
}

/// The name of a column in a table that is made.
pub(super) fn folded(name: &str) -> String {
    name.trim().to_lowercase()
}

fn written(column_type: &ColumnType) -> String {
    match column_type {
        ColumnType::Symbol => "symbol".to_owned(),
        other => other.to_string(),
    }
}

fn is_bool(text: &str) -> bool {
    text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false")
}

fn is_code(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit()
}

fn is_integer(text: &str) -> bool {
    !is_code(text) && !text.starts_with('+') && text.parse::<i64>().is_ok()
}

fn is_float(text: &str) -> bool {
    let is_word = |word: &str| matches!(word, "nan" | "inf" | "infinity");
    let word = text.trim_start_matches(['-', '+']).to_ascii_lowercase();
    let has_digit = text.bytes().any(|byte| byte.is_ascii_digit());
    !is_code(text) && (has_digit || is_word(&word)) && text.parse::<f64>().is_ok()
}

/// Whether digits and other characters stand where the pattern has `0` and themselves.
fn is_like(text: &str, pattern: &str) -> bool {
    text.len() == pattern.len()
        && text.bytes().zip(pattern.bytes()).all(|(byte, wanted)| match wanted {
            b'0' => byte.is_ascii_digit(),
            other => byte == other,
        })
}

fn is_date(text: &str) -> bool {
    is_like(text, "0000-00-00")
}

/// Whether it is a date with a time of day, perhaps with a zone, and with so many digits at most.
fn is_moment(text: &str, may_have_zone: bool, digits_max: usize) -> bool {
    let Some((date, rest)) = text.split_at_checked(10) else { return false };
    if !is_date(date) {
        return false;
    }
    let Some(time) = rest.strip_prefix(['T', ' ']) else { return rest.is_empty() };
    let zone_at = time.find(['Z', 'z', '+', '-']).unwrap_or(time.len());
    let (time, zone) = time.split_at(zone_at);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let is_clock = is_like(clock, "00:00") || is_like(clock, "00:00:00");
    let is_fraction =
        (1..=digits_max).contains(&fraction.len()) && fraction.bytes().all(|byte| byte.is_ascii_digit());
    is_clock && is_fraction && (zone.is_empty() || (may_have_zone && is_zone(zone)))
}

fn is_zone(text: &str) -> bool {
    let Some(hours) = text.strip_prefix(['+', '-']) else { return text.eq_ignore_ascii_case("z") };
    ["00", "0000", "00:00"].iter().any(|pattern| is_like(hours, pattern))
}

fn is_uuid(text: &str) -> bool {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    let groups: Vec<&str> = text.split('-').collect();
    let is_right =
        |(group, len): (&&str, &usize)| group.len() == *len && group.bytes().all(|it| it.is_ascii_hexdigit());
    groups.len() == GROUPS.len() && groups.iter().zip(&GROUPS).all(is_right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(values: &[&str]) -> String {
        let mut seen = Seen::new();
        for value in values {
            seen.add(CsvField { text: (*value).to_owned(), was_quoted: false });
        }
        written(&seen.column_type())
    }

    #[test]
    fn the_narrowest_type_of_all_values_is_found() {
        let cases: [(&[&str], &str); 15] = [
            (&["true", "", "FALSE"], "boolean"),
            (&["1", "-2", "0"], "bigint"),
            (&["1", "2.5", "1e9", "NaN"], "double precision"),
            (&["9223372036854775808"], "double precision"),
            (&["007"], "text"),
            (&["+49"], "double precision"),
            (&["2024-01-01"], "date"),
            (&["2024-01-01", "2024-01-01 10:00"], "timestamp without time zone"),
            (&["2024-01-01T10:00:00.1234567"], "timestamp(9) without time zone"),
            (&["2024-01-01T10:00:00Z", "2024-01-01 10:00:00+02"], "timestamp with time zone"),
            (&["2024-01-01T10:00:00.123456789+02:00"], "timestamp(9) with time zone"),
            (&["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"], "uuid"),
            (&["", ""], "text"),
            (&["a"; 20], "symbol"),
            (&["a"; 19], "text"),
        ];
        for (values, wanted) in cases {
            assert_eq!(found(values), wanted, "{values:?}");
        }
    }

    #[test]
    fn a_table_is_made_of_the_columns() {
        let column = |name: &str, column_type| FileColumn { name: name.to_owned(), column_type };
        let columns = [
            column("Host", ColumnType::Symbol),
            column("time", ColumnType::Timestamptz(TimeUnit::Microsecond)),
            column("Day of", ColumnType::Date),
        ];
        assert_eq!(
            definition("Cpu", &columns, None).unwrap(),
            "CREATE TABLE IF NOT EXISTS cpu (host symbol, \"time\" timestamp with time zone NOT NULL, \"day of\" date) \
             WITH (kind = 'timeseries', time_key = 'time')"
        );
        assert!(definition("\"Cpu\"", &columns, Some("Day of")).unwrap().contains("time_key = 'day of'"));
        assert!(definition("cpu", &columns[..1], None).is_err());
        assert!(definition("cpu", &columns, Some("host")).is_err());
    }
}
