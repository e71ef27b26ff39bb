//! Files of statements: records, divided by empty lines.
//!
//! ```text
//! # A comment.
//!
//! table cpu by ts                     a table; in PostgreSQL an ordinary one, its symbols texts
//! ts timestamptz, host symbol, usage double precision
//!
//! table cpu by ts key ts,host         the same, with a dedup key; in PostgreSQL that is UNIQUE
//!
//! statement ok                        no more than that it succeeds
//! INSERT INTO cpu VALUES (now(), 'a', 1)
//!
//! statement ok 3                      the same, and its tag says that it changed so many rows
//! DELETE FROM cpu
//!
//! query                               its columns with their types, and its rows
//! SELECT host, usage FROM cpu
//! ----
//! host text | usage float8
//! a | 1
//!
//! error 42P01 at 15                   SQLSTATE, place in the statement, message
//! SELECT * FROM nothing
//! ----
//! relation "nothing" does not exist
//! ```
//!
//! `sorted` after `query` puts rows in order before they are compared. `with 1 | NULL` after either
//! gives parameters. `contains` lists lines of which each is somewhere in the answer. A record
//! that begins with `?` has no answer yet, and gets one when files are written.

use std::fmt::Write;

use crate::session::{Answer, Parameters};

/// Whether the answers in files are to be written anew.
pub(crate) fn is_to_be_written() -> bool {
    std::env::var_os("TIDEMARK_SQL_WRITE").is_some()
}

/// What is between two empty lines.
#[derive(Debug)]
pub(crate) enum Record {
    Comment(String),
    Statement(Statement),
}

#[derive(Debug)]
pub(crate) struct Statement {
    /// Where it is in the file.
    pub(crate) line: usize,
    pub(crate) sql: String,
    /// The time key, where this is a table.
    pub(crate) table: Option<Table>,
    pub(crate) parameters: Parameters,
    is_sorted: bool,
    expected: Expected,
}

/// A table that both engines make in their own way.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) time_key: String,
    /// The columns of the dedup key, where there is one.
    pub(crate) dedup_key: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    Unknown,
    /// With how many rows it changes, where that is said.
    Success(Option<u64>),
    Rows(Vec<String>),
    Contains(Vec<String>),
    Error {
        state: String,
        position: Option<u32>,
        message: String,
    },
}

/// The records of a file.
pub(crate) fn parse(text: &str) -> Result<Vec<Record>, String> {
    let mut records = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((at, first)) = lines.next() {
        if first.is_empty() {
            continue;
        }
        let mut block = vec![first];
        while let Some((_, line)) = lines.next_if(|(_, line)| !line.is_empty()) {
            block.push(line);
        }
        if first.starts_with('#') {
            records.push(Record::Comment(block.join("\n")));
            continue;
        }
        let statement = parse_statement(at + 1, &block).ok_or_else(|| format!("{}: {first}", at + 1))?;
        records.push(Record::Statement(statement));
    }
    Ok(records)
}

fn parse_statement(line: usize, block: &[&str]) -> Option<Statement> {
    let (head, rest) = block.split_first()?;
    let division = rest.iter().position(|line| *line == "----").unwrap_or(rest.len());
    let sql = rest[..division].join("\n");
    let answer: Vec<String> = rest.iter().skip(division + 1).map(|line| (*line).to_owned()).collect();
    let (head, parameters) = match head.split_once(" with ") {
        Some((head, values)) => (head, Some(values.split(" | ").map(parameter).collect())),
        None => (*head, None),
    };
    let words: Vec<&str> = head.split(' ').collect();
    let mut statement =
        Statement { line, sql, table: None, parameters, is_sorted: false, expected: Expected::Unknown };
    match words.as_slice() {
        ["table", name, "by", time_key, rest @ ..] => {
            let (dedup_key, error) = match rest {
                ["key", columns, error @ ..] => (Some((*columns).to_owned()), error),
                error => (None, error),
            };
            let (name, time_key) = ((*name).to_owned(), (*time_key).to_owned());
            statement.table = Some(Table { name, time_key, dedup_key });
            statement.expected = match error {
                [] => Expected::Success(None),
                ["error", state, place @ ..] => expected_error(state, place, &answer)?,
                _ => return None,
            };
        }
        ["?"] => {}
        ["?", "sorted"] => statement.is_sorted = true,
        ["statement", "ok"] => statement.expected = Expected::Success(None),
        ["statement", "ok", count] => statement.expected = Expected::Success(Some(count.parse().ok()?)),
        ["contains"] => statement.expected = Expected::Contains(answer),
        ["query"] => statement.expected = Expected::Rows(answer),
        ["query", "sorted"] => {
            statement.is_sorted = true;
            statement.expected = Expected::Rows(answer);
        }
        ["error", state, place @ ..] => statement.expected = expected_error(state, place, &answer)?,
        _ => return None,
    }
    (!statement.sql.is_empty()).then_some(statement)
}

fn expected_error(state: &str, place: &[&str], message: &[String]) -> Option<Expected> {
    let position = match place {
        [] => None,
        ["at", position] => Some(position.parse().ok()?),
        _ => return None,
    };
    Some(Expected::Error { state: state.to_owned(), position, message: message.join("\n") })
}

fn parameter(text: &str) -> Option<String> {
    (text != "NULL").then(|| text.to_owned())
}

impl Statement {
    fn actual(&self, answer: &Answer) -> Expected {
        match answer {
            Answer::Done(count) => Expected::Success(Some(*count)),
            Answer::Rows { columns, rows } => {
                let mut rows = rows.clone();
                if self.is_sorted {
                    rows.sort();
                }
                rows.insert(0, columns.clone());
                Expected::Rows(rows)
            }
            Answer::Error { state, position, message } => {
                Expected::Error { state: state.clone(), position: *position, message: message.clone() }
            }
        }
    }

    /// Takes the answer as the right one.
    pub(crate) fn expect(&mut self, answer: &Answer) {
        let is_loose = matches!(self.expected, Expected::Contains(_) | Expected::Success(None));
        if !is_loose || self.check(answer).is_err() {
            self.expected = self.actual(answer);
        }
    }

    /// Compares the answer with the right one.
    pub(crate) fn check(&self, answer: &Answer) -> Result<(), String> {
        let actual = self.actual(answer);
        let agrees = match (&self.expected, &actual) {
            (
                Expected::Error { state, position, message },
                Expected::Error { state: actual_state, position: actual_position, message: actual_message },
            ) => {
                let place_agrees = actual_position.is_none() || position == actual_position;
                state == actual_state && message == actual_message && place_agrees
            }
            (Expected::Contains(wanted), Expected::Rows(lines)) => {
                wanted.iter().all(|wanted| lines.iter().any(|line| line.contains(wanted)))
            }
            (Expected::Success(None), Expected::Success(_)) => true,
            (expected, actual) => expected == actual,
        };
        if agrees {
            return Ok(());
        }
        let mut difference = format!("{}\n", self.sql);
        for (title, side) in [("expected", &self.expected), ("answered", &actual)] {
            writeln!(difference, "  {title}: {}", text(side).replace('\n', "\n    "))
                .expect("a string takes all");
        }
        Err(difference)
    }
}

/// The head of a record and what follows its statement.
fn head_and_answer(expected: &Expected) -> (String, Option<String>) {
    match expected {
        Expected::Unknown => ("?".to_owned(), None),
        Expected::Success(None) => ("statement ok".to_owned(), None),
        Expected::Success(Some(count)) => (format!("statement ok {count}"), None),
        Expected::Rows(rows) => ("query".to_owned(), Some(rows.join("\n"))),
        Expected::Contains(lines) => ("contains".to_owned(), Some(lines.join("\n"))),
        Expected::Error { state, position: None, message } => {
            (format!("error {state}"), Some(message.clone()))
        }
        Expected::Error { state, position: Some(position), message } => {
            (format!("error {state} at {position}"), Some(message.clone()))
        }
    }
}

fn text(expected: &Expected) -> String {
    match head_and_answer(expected) {
        (head, Some(answer)) => format!("{head}\n{answer}"),
        (head, None) => head,
    }
}

/// The text of a file.
pub(crate) fn write(records: &[Record]) -> String {
    let mut blocks = Vec::new();
    for record in records {
        let statement = match record {
            Record::Comment(text) => {
                blocks.push(text.clone());
                continue;
            }
            Record::Statement(statement) => statement,
        };
        let (mut head, answer) = head_and_answer(&statement.expected);
        if let Some(Table { name, time_key, dedup_key }) = &statement.table {
            let error = if head.starts_with("error") { format!(" {head}") } else { String::new() };
            let key = dedup_key.as_ref().map(|columns| format!(" key {columns}")).unwrap_or_default();
            head = format!("table {name} by {time_key}{key}{error}");
        }
        if statement.is_sorted && head == "query" {
            head.push_str(" sorted");
        }
        if let Some(parameters) = &statement.parameters {
            let values: Vec<&str> = parameters.iter().map(|it| it.as_deref().unwrap_or("NULL")).collect();
            write!(head, " with {}", values.join(" | ")).expect("a string takes all");
        }
        blocks.push(match answer {
            Some(answer) => format!("{head}\n{}\n----\n{answer}", statement.sql),
            None => format!("{head}\n{}", statement.sql),
        });
    }
    blocks.join("\n\n") + "\n"
}
