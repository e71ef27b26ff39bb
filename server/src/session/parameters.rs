//! The parameters there are: PostgreSQL's that clients look at, with its defaults and rules.

use crate::error::{SqlError, SqlResult};
use crate::pgtype::settings::{DateOrder, DateOutput, DateStyle};
use crate::pgtype::timezone::TimeZone;
use crate::sqlstate;

/// What `server_version` says: the PostgreSQL that we behave as.
pub const SERVER_VERSION: &str = "15.10";

/// What a parameter's value can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Set by the server, read by clients.
    Internal,
    /// `on` or `off`.
    Bool,
    /// A whole number within bounds.
    Int {
        /// The smallest.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A whole number from 0 on, or nothing.
    Sequence,
    /// Milliseconds; 0 means never.
    Milliseconds,
    /// One of these.
    Enum(&'static [&'static str]),
    /// Anything.
    Text,
    /// Identifiers with commas between them.
    List,
    /// A time zone.
    TimeZone,
    /// The only encoding there is.
    ClientEncoding,
    /// A style and an order of day and month.
    DateStyle,
}

/// A parameter.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// Its name as it is shown.
    pub name: &'static str,
    /// What it can be.
    pub kind: Kind,
    /// What it is when nobody set it.
    pub default: &'static str,
    /// Whether clients are told its value.
    pub reported: bool,
    /// What it does.
    pub description: &'static str,
}

const fn parameter(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    description: &'static str,
) -> Definition {
    Definition { name, kind, default, reported: false, description }
}

const fn reported(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    description: &'static str,
) -> Definition {
    Definition { name, kind, default, reported: true, description }
}

const ISOLATION: Kind =
    Kind::Enum(&["serializable", "repeatable read", "read committed", "read uncommitted"]);
const MESSAGE_LEVELS: Kind =
    Kind::Enum(&["debug5", "debug4", "debug3", "debug2", "debug1", "log", "notice", "warning", "error"]);
const COMMIT_LEVELS: Kind = Kind::Enum(&["local", "remote_write", "remote_apply", "on", "off"]);
const INTERVAL_STYLES: Kind = Kind::Enum(&["postgres", "postgres_verbose", "sql_standard", "iso_8601"]);

/// All of them, by name.
pub static ALL: &[Definition] = &[
    reported(
        "application_name",
        Kind::Text,
        "",
        "Sets the application name to be reported in statistics and logs.",
    ),
    parameter("block_size", Kind::Internal, "8192", "Shows the size of a disk block."),
    parameter("bytea_output", Kind::Enum(&["escape", "hex"]), "hex", "Sets the output format for bytea."),
    parameter(
        "check_function_bodies",
        Kind::Bool,
        "on",
        "Check routine bodies during CREATE FUNCTION and CREATE PROCEDURE.",
    ),
    reported("client_encoding", Kind::ClientEncoding, "UTF8", "Sets the client's character set encoding."),
    parameter(
        "client_min_messages",
        MESSAGE_LEVELS,
        "notice",
        "Sets the message levels that are sent to the client.",
    ),
    reported("DateStyle", Kind::DateStyle, "ISO, MDY", "Sets the display format for date and time values."),
    parameter(
        "default_table_access_method",
        Kind::Text,
        "heap",
        "Sets the default table access method for new tables.",
    ),
    parameter(
        "default_tablespace",
        Kind::Text,
        "",
        "Sets the default tablespace to create tables and indexes in.",
    ),
    parameter(
        "default_text_search_config",
        Kind::Text,
        "pg_catalog.english",
        "Sets default text search configuration.",
    ),
    parameter(
        "default_transaction_isolation",
        ISOLATION,
        "read committed",
        "Sets the transaction isolation level of each new transaction.",
    ),
    reported(
        "default_transaction_read_only",
        Kind::Bool,
        "off",
        "Sets the default read-only status of new transactions.",
    ),
    parameter(
        "escape_string_warning",
        Kind::Bool,
        "on",
        "Warn about backslash escapes in ordinary string literals.",
    ),
    parameter(
        "extra_float_digits",
        Kind::Int { min: -15, max: 3 },
        "1",
        "Sets the number of digits displayed for floating-point values.",
    ),
    parameter(
        "idle_in_transaction_session_timeout",
        Kind::Milliseconds,
        "0",
        "Sets the maximum allowed idle time between queries, when in a transaction.",
    ),
    parameter(
        "idle_session_timeout",
        Kind::Milliseconds,
        "0",
        "Sets the maximum allowed idle time between queries, when not in a transaction.",
    ),
    reported("in_hot_standby", Kind::Internal, "off", "Shows whether hot standby is currently active."),
    reported("integer_datetimes", Kind::Internal, "on", "Shows whether datetimes are integer based."),
    reported("IntervalStyle", INTERVAL_STYLES, "postgres", "Sets the display format for interval values."),
    reported("is_superuser", Kind::Internal, "off", "Shows whether the current user is a superuser."),
    parameter("jit", Kind::Bool, "off", "Allow JIT compilation."),
    parameter("lc_collate", Kind::Internal, "C", "Shows the collation order locale."),
    parameter(
        "lc_ctype",
        Kind::Internal,
        "C.UTF-8",
        "Shows the character classification and case conversion locale.",
    ),
    parameter("lc_messages", Kind::Text, "C", "Sets the language in which messages are displayed."),
    parameter("lc_monetary", Kind::Text, "C", "Sets the locale for formatting monetary amounts."),
    parameter("lc_numeric", Kind::Text, "C", "Sets the locale for formatting numbers."),
    parameter("lc_time", Kind::Text, "C", "Sets the locale for formatting date and time values."),
    parameter(
        "lock_timeout",
        Kind::Milliseconds,
        "0",
        "Sets the maximum allowed duration of any wait for a lock.",
    ),
    parameter("max_identifier_length", Kind::Internal, "63", "Shows the maximum identifier length."),
    parameter("max_index_keys", Kind::Internal, "32", "Shows the maximum number of index keys."),
    parameter(
        "password_encryption",
        Kind::Enum(&["scram-sha-256"]),
        "scram-sha-256",
        "Chooses the algorithm for encrypting passwords.",
    ),
    parameter(
        "quote_all_identifiers",
        Kind::Bool,
        "off",
        "When generating SQL fragments, quote all identifiers.",
    ),
    parameter("row_security", Kind::Bool, "on", "Enable row security."),
    parameter(
        "search_path",
        Kind::List,
        "\"$user\", public",
        "Sets the schema search order for names that are not schema-qualified.",
    ),
    reported(
        "server_encoding",
        Kind::Internal,
        "UTF8",
        "Shows the server (database) character set encoding.",
    ),
    reported("server_version", Kind::Internal, SERVER_VERSION, "Shows the server version."),
    parameter("server_version_num", Kind::Internal, "150010", "Shows the server version as an integer."),
    reported("session_authorization", Kind::Internal, "", "Shows the session user name."),
    reported(
        "standard_conforming_strings",
        Kind::Enum(&["on"]),
        "on",
        "Causes '...' strings to treat backslashes literally.",
    ),
    parameter(
        "statement_timeout",
        Kind::Milliseconds,
        "0",
        "Sets the maximum allowed duration of any statement.",
    ),
    parameter(
        "synchronous_commit",
        COMMIT_LEVELS,
        "on",
        "Sets the current transaction's synchronization level.",
    ),
    parameter(
        "tidemark.producer",
        Kind::Text,
        "",
        "Sets the name under which the session numbers what it writes.",
    ),
    parameter(
        "tidemark.sequence",
        Kind::Sequence,
        "",
        "Sets the number of the next commit, which is not applied again when it was before.",
    ),
    reported(
        "TimeZone",
        Kind::TimeZone,
        "Etc/UTC",
        "Sets the time zone for displaying and interpreting time stamps.",
    ),
    parameter(
        "transaction_isolation",
        ISOLATION,
        "read committed",
        "Sets the current transaction's isolation level.",
    ),
    parameter("transaction_read_only", Kind::Bool, "off", "Sets the current transaction's read-only status."),
    parameter(
        "xmloption",
        Kind::Enum(&["content", "document"]),
        "content",
        "Sets whether XML data in implicit parsing and serialization operations is to be considered as documents or content fragments.",
    ),
];

/// The parameter with this name, in any case.
pub fn find(name: &str) -> Option<&'static Definition> {
    ALL.iter().find(|definition| definition.name.eq_ignore_ascii_case(name))
}

impl Definition {
    /// The name under which a value is kept.
    pub fn key(&self) -> String {
        self.name.to_ascii_lowercase()
    }

    /// Whether a client may set it.
    ///
    /// # Errors
    /// It may not.
    pub fn check_settable(&self, _superuser: bool) -> SqlResult<()> {
        if self.kind == Kind::Internal {
            let message = format!("parameter \"{}\" cannot be changed", self.name);
            return Err(SqlError::new(sqlstate::CANT_CHANGE_RUNTIME_PARAM, message));
        }
        Ok(())
    }

    /// The value as it is kept.
    ///
    /// # Errors
    /// The text is no value of the parameter.
    pub fn parse(&self, text: &str) -> SqlResult<String> {
        let text = text.trim();
        match self.kind {
            Kind::Internal => Err(self.invalid(text)),
            Kind::Text => Ok(text.to_owned()),
            Kind::List => Ok(text.to_owned()),
            Kind::Bool => {
                let value = parse_bool(text).ok_or_else(|| {
                    let message = format!("parameter \"{}\" requires a Boolean value", self.name);
                    SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
                })?;
                Ok(if value { "on" } else { "off" }.to_owned())
            }
            Kind::Int { min, max } => {
                let value: i64 = text.parse().map_err(|_| self.invalid(text))?;
                self.within(value, min, max, "")
            }
            Kind::Sequence if text.is_empty() => Ok(String::new()),
            Kind::Sequence => {
                text.parse::<u64>().map(|value| value.to_string()).map_err(|_| self.invalid(text))
            }
            Kind::Milliseconds => {
                let value = parse_milliseconds(text).ok_or_else(|| {
                    let units = "Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".";
                    self.invalid(text).with_hint(units)
                })?;
                self.within(value, 0, i64::from(i32::MAX), " ms")
            }
            Kind::Enum(values) => {
                let found = values.iter().find(|value| value.eq_ignore_ascii_case(text));
                let found = found.map(|value| (*value).to_owned()).or_else(|| on_off_alias(values, text));
                found.ok_or_else(|| {
                    self.invalid(text).with_hint(format!("Available values: {}.", values.join(", ")))
                })
            }
            Kind::TimeZone => match TimeZone::from_setting(text) {
                Some(zone) => Ok(zone.to_string()),
                None => Err(self.invalid(text)),
            },
            Kind::ClientEncoding => {
                // PostgreSQL looks only at letters and digits, and some drivers send quotes.
                let letters = text.chars().filter(char::is_ascii_alphanumeric);
                match letters.collect::<String>().to_ascii_lowercase().as_str() {
                    "utf8" | "unicode" => Ok("UTF8".to_owned()),
                    _ => Err(self.invalid(text)),
                }
            }
            Kind::DateStyle => parse_date_style(text).ok_or_else(|| self.invalid(text)),
        }
    }

    fn within(&self, value: i64, min: i64, max: i64, unit: &str) -> SqlResult<String> {
        if (min..=max).contains(&value) {
            return Ok(value.to_string());
        }
        let message = format!(
            "{value}{unit} is outside the valid range for parameter \"{}\" ({min} .. {max})",
            self.name
        );
        Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message))
    }

    fn invalid(&self, text: &str) -> SqlError {
        let message = format!("invalid value for parameter \"{}\": \"{text}\"", self.name);
        SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
    }

    /// A kept value as SHOW gives it.
    pub fn show(&self, value: &str) -> String {
        match self.kind {
            Kind::Milliseconds => show_milliseconds(value.parse().unwrap_or(0)),
            _ => value.to_owned(),
        }
    }
}

/// A truth value as PostgreSQL's settings accept them: any unambiguous prefix.
pub fn parse_bool(text: &str) -> Option<bool> {
    let text = text.to_ascii_lowercase();
    let is_prefix_of = |word: &str, len_min: usize| text.len() >= len_min && word.starts_with(text.as_str());
    if is_prefix_of("true", 1) || is_prefix_of("yes", 1) || is_prefix_of("on", 2) || text == "1" {
        Some(true)
    } else if is_prefix_of("false", 1) || is_prefix_of("no", 1) || is_prefix_of("off", 2) || text == "0" {
        Some(false)
    } else {
        None
    }
}

fn on_off_alias(values: &[&str], text: &str) -> Option<String> {
    let value = if parse_bool(text)? { "on" } else { "off" };
    values.contains(&value).then(|| value.to_owned())
}

fn parse_milliseconds(text: &str) -> Option<i64> {
    let unit_start = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let number: f64 = text[..unit_start].trim().parse().ok()?;
    let factor = match text[unit_start..].trim() {
        "" | "ms" => 1.0,
        "us" => 0.001,
        "s" => 1000.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    let milliseconds = (number * factor).round();
    // Beyond any bound that is checked afterwards, and exact within.
    (milliseconds.abs() < 1e15).then_some(milliseconds as i64)
}

fn show_milliseconds(milliseconds: i64) -> String {
    if milliseconds == 0 {
        return "0".to_owned();
    }
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s")];
    let unit = units.iter().find(|(size, _)| milliseconds % size == 0);
    unit.map_or_else(|| format!("{milliseconds}ms"), |(size, name)| format!("{}{name}", milliseconds / size))
}

fn parse_date_style(text: &str) -> Option<String> {
    let current = DateStyle { output: DateOutput::Iso, order: DateOrder::Mdy };
    let style = DateStyle::from_setting(text, current)?;
    // Other forms than ISO are not written.
    (style.output == DateOutput::Iso).then(|| style.to_string())
}

/// The names in a list like `"$user", public`.
pub fn split_list(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                name.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => names.push(std::mem::take(&mut name)),
            space if !quoted && space.is_whitespace() => {}
            other if quoted => name.push(other),
            other => name.extend(other.to_lowercase()),
        }
    }
    names.push(name);
    names.retain(|name| !name.is_empty());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked_and_shown_as_postgresql_does() {
        let cases = [
            ("statement_timeout", "90s", "90s"),
            ("statement_timeout", "120000", "2min"),
            ("statement_timeout", "1500", "1500ms"),
            ("client_encoding", "utf-8", "UTF8"),
            ("client_encoding", "'utf-8'", "UTF8"),
            ("DateStyle", "iso, dmy", "ISO, DMY"),
            ("synchronous_commit", "true", "on"),
            ("row_security", "of", "off"),
            ("default_transaction_isolation", "REPEATABLE READ", "repeatable read"),
        ];
        for (name, value, shown) in cases {
            let definition = find(name).unwrap();
            assert_eq!(definition.show(&definition.parse(value).unwrap()), shown, "{name} = {value}");
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        let cases = [
            (
                "statement_timeout",
                "-1",
                "-1 ms is outside the valid range for parameter \"statement_timeout\" (0 .. 2147483647)",
            ),
            (
                "extra_float_digits",
                "9",
                "9 is outside the valid range for parameter \"extra_float_digits\" (-15 .. 3)",
            ),
            ("row_security", "o", "parameter \"row_security\" requires a Boolean value"),
            ("client_encoding", "latin1", "invalid value for parameter \"client_encoding\": \"latin1\""),
            ("TimeZone", "Mars/Olympus", "invalid value for parameter \"TimeZone\": \"Mars/Olympus\""),
        ];
        for (name, value, message) in cases {
            assert_eq!(find(name).unwrap().parse(value).unwrap_err().message(), message);
        }
    }

    #[test]
    fn lists_fold_names_that_are_not_quoted() {
        assert_eq!(split_list("\"$user\", Public, \"A b\"\"c\""), ["$user", "public", "A b\"c"]);
    }

    #[test]
    fn names_are_in_order() {
        let names: Vec<String> = ALL.iter().map(Definition::key).collect();
        let mut sorted = names.clone();
        sorted.sort();
        assert_eq!(names, sorted);
    }
}
