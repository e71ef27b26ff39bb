//! Answers of queries in a form that does not depend on the system that gave them.
//!
//! A file of answers is text: a line that begins with `=` names a query and counts its rows, and the
//! rows follow, their cells divided by tabs (`→` here):
//!
//! ```text
//! = groupby-orderby-limit/1 5
//! 2016-01-01T07:41:00Z→100
//! ```
//!
//! Instants are RFC 3339 in UTC, numbers are the shortest text that reads back as the same number,
//! NULL is `\N`. Rows without an order are sorted. Two files agree when all cells do; two numbers
//! agree within 1e-9 of the larger.

use std::fmt::{self, Write};

use serde::{Serialize, Serializer};

use crate::dataset::instant_text;
use crate::workload::{Query, RowOrder};
use tidemark_tests::failure::Result;

/// Two numbers that differ by a smaller share of them are equal: systems add up in different orders.
const TOLERANCE: f64 = 1e-9;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Null,
    /// Nanoseconds since the epoch.
    Instant(i64),
    Integer(i64),
    Float(f64),
    Text(String),
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("\\N"),
            Self::Instant(time_ns) => f.write_str(&instant_text(*time_ns)),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_none(),
            Self::Instant(number) | Self::Integer(number) => serializer.serialize_i64(*number),
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// The rows of an answer.
pub(crate) type Rows = Vec<Vec<Cell>>;

/// The answer of a query as a section of a file of answers.
pub(crate) fn section(query: &Query, rows: &Rows) -> String {
    let mut lines: Vec<String> = rows.iter().map(|row| line(row)).collect();
    if query.order == RowOrder::Free {
        lines.sort_unstable();
    }
    let mut text = format!("= {}/{} {}\n", query.name, query.instance, rows.len());
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

fn line(row: &[Cell]) -> String {
    let mut text = String::new();
    for (at, cell) in row.iter().enumerate() {
        let separator = if at == 0 { "" } else { "\t" };
        write!(text, "{separator}{cell}").expect("a String takes everything");
    }
    text
}

/// The section of a query in a file of answers.
pub(crate) fn find_section<'a>(answers: &'a str, query: &Query) -> Option<&'a str> {
    let name = format!("= {}/{} ", query.name, query.instance);
    let start = if answers.starts_with(&name) { 0 } else { answers.find(&format!("\n{name}"))? + 1 };
    let end = answers[start..].find("\n= ").map_or(answers.len(), |length| start + length + 1);
    Some(&answers[start..end])
}

/// Compares two sections; the error says where they differ first.
pub(crate) fn compare(ours: &str, theirs: &str) -> Result<()> {
    let (mut ours, mut theirs) = (ours.lines(), theirs.lines());
    for number in 0.. {
        match (ours.next(), theirs.next()) {
            (None, None) => return Ok(()),
            (Some(ours), Some(theirs)) if lines_agree(ours, theirs) => {}
            (ours, theirs) => {
                let (ours, theirs) = (ours.unwrap_or("nothing"), theirs.unwrap_or("nothing"));
                return Err(format!("the answers differ at row {number}: {ours:?}, not {theirs:?}").into());
            }
        }
    }
    Ok(())
}

fn lines_agree(ours: &str, theirs: &str) -> bool {
    if ours == theirs {
        return true;
    }
    let (ours, theirs) = (ours.split('\t'), theirs.split('\t'));
    ours.clone().count() == theirs.clone().count() && ours.zip(theirs).all(|(a, b)| cells_agree(a, b))
}

fn cells_agree(ours: &str, theirs: &str) -> bool {
    if ours == theirs {
        return true;
    }
    let (Ok(a), Ok(b)) = (ours.parse::<f64>(), theirs.parse::<f64>()) else { return false };
    (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &'static str, order: RowOrder) -> Query {
        Query { name, instance: 1, order, sql: String::new() }
    }

    #[test]
    fn answers_are_written_in_one_form() {
        let rows = vec![
            vec![Cell::Instant(1_451_606_400_000_000_000), Cell::Text("b".to_owned()), Cell::Float(5.0)],
            vec![Cell::Null, Cell::Text("a".to_owned()), Cell::Integer(7)],
        ];
        assert_eq!(
            section(&query("q", RowOrder::Fixed), &rows),
            "= q/1 2\n2016-01-01T00:00:00Z\tb\t5\n\\N\ta\t7\n"
        );
        assert_eq!(
            section(&query("q", RowOrder::Free), &rows),
            "= q/1 2\n2016-01-01T00:00:00Z\tb\t5\n\\N\ta\t7\n"
        );
    }

    #[test]
    fn rows_without_an_order_are_sorted() {
        let rows = vec![vec![Cell::Integer(2)], vec![Cell::Integer(1)]];
        assert_eq!(section(&query("q", RowOrder::Free), &rows), "= q/1 2\n1\n2\n");
        assert_eq!(section(&query("q", RowOrder::Fixed), &rows), "= q/1 2\n2\n1\n");
    }

    #[test]
    fn sections_are_found_by_name() {
        let answers = "= a/1 1\n1\n= ab/1 0\n= b/1 1\n2\n";
        let find = |name| find_section(answers, &query(name, RowOrder::Fixed));
        assert_eq!(find("a"), Some("= a/1 1\n1\n"));
        assert_eq!(find("ab"), Some("= ab/1 0\n"));
        assert_eq!(find("b"), Some("= b/1 1\n2\n"));
        assert_eq!(find("c"), None);
    }

    #[test]
    fn numbers_agree_within_the_tolerance_and_nothing_else_does() {
        let section = |cell: &str| format!("= q/1 1\nx\t{cell}\n");
        let agree = |a: &str, b: &str| compare(&section(a), &section(b)).is_ok();
        assert!(agree("0.1", "0.10000000000000003"));
        assert!(!agree("0.1", "0.1000001"));
        assert!(!agree("1", "\\N"));
        assert!(!agree("2016-01-01T00:00:00Z", "2016-01-01T00:00:01Z"));
        assert!(compare("= q/1 1\n1\n", "= q/1 2\n1\n2\n").is_err());
        assert!(compare("= q/1 1\n1\t2\n", "= q/1 1\n1\n").is_err());
    }
}
