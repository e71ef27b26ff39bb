//! What a time-series table is declared with: `WITH (…)`, and `SET (…)` and `RESET (…)` of ALTER TABLE.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use sqlparser::ast::{CreateTable, CreateTableOptions, Expr, Ident, SqlOption, UnaryOperator, Value};
use tidemark_catalog::collection::{
    CalendarInterval, IntervalUnit, MERGE_AFTER_DEFAULT, SYMBOL_LIMIT_DEFAULT, TimeseriesOptions,
};
use tidemark_catalog::ids::ColumnId;
use tidemark_catalog::schema::NewColumn;

use crate::error::{SqlError, SqlResult};
use crate::session::parameters::split_list;
use crate::sql::definitions::{OptionKey, option_key};
use crate::sql::names;
use crate::sqlstate;

/// The options, and what may be said of each.
const OPTIONS: [(&str, &str); 8] = [
    ("kind", "The kind is 'timeseries'."),
    ("time_key", "It is the name of a timestamp column, as in 'ts'."),
    ("partition_by", INTERVALS),
    ("series_key", "It is a list of columns, as in 'host, region'."),
    ("dedup_key", "It is a list of columns, as in 'ts, host'."),
    ("ttl", INTERVALS),
    ("merge_after", INTERVALS),
    ("symbol_limit", "It is a number from 1 to 2147483647."),
];

const INTERVALS: &str =
    "It is a number of seconds, minutes, hours, days, weeks, months or years, as in '1 day'.";

/// Options that change nothing that is written already.
const CHANGEABLE: [&str; 3] = ["ttl", "merge_after", "symbol_limit"];

/// The hint on what an option may be.
fn allowed(name: &str) -> &'static str {
    OPTIONS.iter().find(|(option, _)| *option == name).map_or("", |(_, allowed)| allowed)
}

fn invalid(name: &str, value: &str) -> SqlError {
    let message = format!("invalid value for parameter \"{name}\": \"{value}\"");
    SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message).with_hint(allowed(name))
}

fn unrecognized(name: &str) -> SqlError {
    let message = format!("unrecognized parameter \"{name}\"");
    let names: Vec<&str> = OPTIONS.iter().map(|(option, _)| *option).collect();
    SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
        .with_hint(format!("A time-series table takes {}.", names.join(", ")))
}

fn wrong_keys(message: String) -> SqlError {
    SqlError::new(sqlstate::INVALID_TABLE_DEFINITION, message)
}

fn key_value(option: &SqlOption) -> SqlResult<(&Ident, &Expr)> {
    match option {
        SqlOption::KeyValue { key, value } => Ok((key, value)),
        other => Err(unrecognized(&other.to_string())),
    }
}

fn option_text(name: &str, value: &Expr) -> SqlResult<String> {
    match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Ok(text.clone()),
            Value::Number(number, _) => Ok(number.clone()),
            other => Ok(other.to_string()),
        },
        Expr::Identifier(ident) => Ok(names::fold(ident)),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Ok(format!("-{expr}")),
        other => Err(invalid(name, &other.to_string())),
    }
}

/// `WITH (…)` as it was written.
#[derive(Debug, Default)]
pub(super) struct TableOptions(BTreeMap<&'static str, String>);

impl TableOptions {
    /// The options of a statement.
    pub(super) fn of(create: &CreateTable) -> SqlResult<TableOptions> {
        let given = match &create.table_options {
            CreateTableOptions::None => &[][..],
            CreateTableOptions::With(options) => options,
            _ => return Err(SqlError::unsupported("table options in this form")),
        };
        let mut options = BTreeMap::new();
        let mut implied = false;
        for option in given {
            let (key, value) = key_value(option)?;
            let name = match option_key(key) {
                OptionKey::Set(name) => name,
                OptionKey::ImpliedKind => {
                    implied = true;
                    continue;
                }
                OptionKey::Reset(_) | OptionKey::Schema => return Err(unrecognized(&key.value)),
            };
            let known = OPTIONS.iter().find(|(option, _)| *option == name).map(|(option, _)| *option);
            let known = known.ok_or_else(|| unrecognized(&name))?;
            if options.insert(known, option_text(known, value)?).is_some() {
                let message = format!("parameter \"{known}\" specified more than once");
                return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
            }
        }
        if implied {
            options.entry("kind").or_insert_with(|| "timeseries".to_owned());
        }
        Ok(TableOptions(options))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn columns(&self, name: &str, columns: &[NewColumn]) -> SqlResult<Vec<ColumnId>> {
        let names = split_list(self.get(name).unwrap_or(""));
        let ids = names.iter().map(|column| column_id(columns, name, column));
        let ids = ids.collect::<SqlResult<Vec<_>>>()?;
        for (at, id) in ids.iter().enumerate() {
            if ids[..at].contains(id) {
                let message = format!("column \"{}\" appears twice in {name}", column_name(columns, *id));
                return Err(SqlError::new(sqlstate::DUPLICATE_COLUMN, message));
            }
        }
        Ok(ids)
    }

    /// What they mean for a table with these columns.
    pub(super) fn resolve(&self, columns: &[NewColumn]) -> SqlResult<TimeseriesOptions> {
        self.check_kind()?;
        let time_key = self.time_key(columns)?;
        let partition_by = parse_interval("partition_by", self.get("partition_by").unwrap_or("1 day"))?;
        let mut options = TimeseriesOptions::new(time_key, partition_by);
        options.series_key = self.columns("series_key", columns)?;
        options.dedup_key = self.columns("dedup_key", columns)?;
        if options.series_key.contains(&time_key) {
            return Err(wrong_keys("the series key cannot contain the time key".to_owned()));
        }
        if self.get("dedup_key").is_some() && self.get("series_key").is_none() {
            let others = options.dedup_key.iter().copied().filter(|id| *id != time_key);
            options.series_key = others.collect();
        }
        check_dedup_key(&options, columns)?;
        for name in CHANGEABLE {
            if let Some(value) = self.get(name) {
                set(&mut options, name, value)?;
            }
        }
        Ok(options)
    }

    fn check_kind(&self) -> SqlResult<()> {
        match self.get("kind").map(str::to_lowercase).as_deref() {
            Some("timeseries") => Ok(()),
            Some(other) => Err(invalid("kind", other)),
            // No other kind has one.
            None if self.get("time_key").is_some() => Ok(()),
            None => Err(SqlError::unsupported("a table without a time key")
                .with_hint("Say WITH (time_key = '<a timestamp column>').")),
        }
    }

    fn time_key(&self, columns: &[NewColumn]) -> SqlResult<ColumnId> {
        let time_key = self.get("time_key").ok_or_else(|| {
            wrong_keys("a time-series table needs a time_key".to_owned())
                .with_hint("Name a timestamp column, as in WITH (time_key = 'ts').")
        })?;
        let id = column_id(columns, "time_key", time_key)?;
        let column = column(columns, id);
        if column.column_type.time_unit().is_none() {
            let message =
                format!("time key \"{}\" is of type {}, not a timestamp", column.name, column.column_type);
            return Err(SqlError::new(sqlstate::DATATYPE_MISMATCH, message).with_hint(allowed("time_key")));
        }
        Ok(id)
    }
}

/// Rows that are equal in the key are of one series and one time, so that they meet.
fn check_dedup_key(options: &TimeseriesOptions, columns: &[NewColumn]) -> SqlResult<()> {
    if options.dedup_key.is_empty() {
        return Ok(());
    }
    let needed = std::iter::once(("the time key", options.time_key))
        .chain(options.series_key.iter().map(|id| ("the series key's column", *id)));
    for (what, id) in needed {
        if !options.dedup_key.contains(&id) {
            let name = column_name(columns, id);
            return Err(wrong_keys(format!("dedup_key must contain {what} \"{name}\""))
                .with_hint("Rows are told apart by time and series and by what dedup_key has besides."));
        }
    }
    Ok(())
}

/// Sets one of the options that can be changed.
fn set(options: &mut TimeseriesOptions, name: &str, value: &str) -> SqlResult<()> {
    match name {
        "ttl" => options.ttl = Some(parse_interval(name, value)?),
        "merge_after" => options.merge_after = parse_interval(name, value)?,
        _ => {
            let limit = value.parse::<u32>().ok().filter(|limit| i32::try_from(*limit).is_ok());
            options.symbol_limit = limit.and_then(NonZeroU32::new).ok_or_else(|| invalid(name, value))?;
        }
    }
    Ok(())
}

/// What one of the options is where nothing is said.
fn reset(options: &mut TimeseriesOptions, name: &str) {
    match name {
        "ttl" => options.ttl = None,
        "merge_after" => options.merge_after = MERGE_AFTER_DEFAULT,
        _ => options.symbol_limit = SYMBOL_LIMIT_DEFAULT,
    }
}

fn changeable(name: &str) -> SqlResult<()> {
    if CHANGEABLE.contains(&name) {
        return Ok(());
    }
    if !OPTIONS.iter().any(|(option, _)| *option == name) {
        return Err(unrecognized(name));
    }
    Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("parameter \"{name}\" cannot be changed"))
        .with_detail("The rows of the table are divided and sorted by it."))
}

/// A change of an option by ALTER TABLE, or where the relation goes.
pub(super) enum OptionChange {
    /// The options are these now.
    Options(Box<TimeseriesOptions>),
    /// SET SCHEMA.
    Schema(String),
}

/// What `SET (…)`, `RESET (…)` or SET SCHEMA makes of the options.
pub(super) fn change(options: &TimeseriesOptions, given: &[SqlOption]) -> SqlResult<OptionChange> {
    let mut changed = options.clone();
    for option in given {
        let (key, value) = key_value(option)?;
        match option_key(key) {
            OptionKey::Set(name) => {
                changeable(&name)?;
                set(&mut changed, &name, &option_text(&name, value)?)?;
            }
            OptionKey::Reset(name) => {
                changeable(&name)?;
                reset(&mut changed, &name);
            }
            OptionKey::Schema => return Ok(OptionChange::Schema(option_text("schema", value)?)),
            OptionKey::ImpliedKind => return Err(unrecognized(&key.value)),
        }
    }
    Ok(OptionChange::Options(Box::new(changed)))
}

/// The id that the column will have: its place, from 1.
fn column_id(columns: &[NewColumn], option: &str, name: &str) -> SqlResult<ColumnId> {
    let name = name.trim();
    let folded = name.to_lowercase();
    let found = columns.iter().position(|column| column.name == name);
    let found = found.or_else(|| columns.iter().position(|column| column.name == folded));
    let at = found.ok_or_else(|| {
        let message = format!("column \"{name}\" named in {option} does not exist");
        SqlError::new(sqlstate::UNDEFINED_COLUMN, message).with_hint(allowed(option))
    })?;
    Ok(ColumnId(u32::try_from(at).expect("a table has at most 1600 columns") + 1))
}

/// The column that will have the id.
pub(super) fn column(columns: &[NewColumn], id: ColumnId) -> &NewColumn {
    &columns[usize::try_from(id.0).expect("a small number") - 1]
}

fn column_name(columns: &[NewColumn], id: ColumnId) -> &str {
    &column(columns, id).name
}

/// A length of time that is the value of an option, as in `1 day`.
///
/// # Errors
/// It is none; the error names the option.
pub fn parse_interval(option: &str, text: &str) -> SqlResult<CalendarInterval> {
    let wrong = || invalid(option, text);
    let mut words = text.split_whitespace();
    let (count, unit) = match (words.next(), words.next(), words.next()) {
        (Some(count), Some(unit), None) => (count.parse::<u32>().map_err(|_| wrong())?, unit),
        (Some(unit), None, None) => (1, unit),
        _ => return Err(wrong()),
    };
    let unit = match unit.to_lowercase().trim_end_matches('s') {
        "second" | "sec" => IntervalUnit::Second,
        "minute" | "min" => IntervalUnit::Minute,
        "hour" => IntervalUnit::Hour,
        "day" => IntervalUnit::Day,
        "week" => IntervalUnit::Week,
        "month" | "mon" => IntervalUnit::Month,
        "year" => IntervalUnit::Year,
        _ => return Err(wrong()),
    };
    Ok(CalendarInterval { count: NonZeroU32::new(count).ok_or_else(wrong)?, unit })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_a_number_and_a_unit() {
        let cases = [
            ("1 day", "1 day"),
            ("6 hours", "6 hours"),
            ("month", "1 month"),
            ("15 Minutes", "15 minutes"),
            ("10 years", "10 years"),
        ];
        for (text, shown) in cases {
            assert_eq!(parse_interval("ttl", text).unwrap().to_string(), shown, "{text}");
        }
        for text in ["", "0 days", "-1 day", "1 fortnight", "1 day 2 hours", "1.5 days"] {
            let error = parse_interval("ttl", text).unwrap_err();
            assert_eq!(error.message(), format!("invalid value for parameter \"ttl\": \"{text}\""));
        }
    }
}
