//! Texts by templates: `to_char`, and `to_date`, `to_timestamp` and `to_number` back.
//!
//! ```text
//! template ──template──▶ nodes: patterns and characters
//!                          │
//!           value ──▶ date_text, number_text ──▶ text
//!           text ───▶ date_read, number_read ──▶ value
//! ```
//!
//! The rules are PostgreSQL's to the letter, its odd ones too: which blanks a number has, what a
//! template takes for a separator, how years of two digits are completed. There is one language,
//! that of the `C` locale.

pub mod date_read;
pub mod date_text;
pub mod number;
pub mod number_read;
pub mod number_text;
pub mod template;

/// Months in full.
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Days of the week in full, Sunday first.
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Months in Roman numerals, the last first.
const ROMAN_MONTHS: [&str; 12] = ["XII", "XI", "X", "IX", "VIII", "VII", "VI", "V", "IV", "III", "II", "I"];

/// Letters of an abbreviation of a month or a day.
const ABBREVIATION_LEN: usize = 3;

/// The first day of the first week of an ISO year, in days since 1970: the week that has 4 January.
fn iso_year_start(year: i64) -> i64 {
    use super::calendar::{day_of_week, days_from_civil};
    let fourth = days_from_civil(year, 1, 4);
    // Weeks begin on Monday.
    fourth - (day_of_week(fourth) as i64 + 6) % 7
}

/// The ISO year that a day is in.
fn iso_year(days: i64) -> i64 {
    let year = super::calendar::civil_from_days(days).year;
    if days >= iso_year_start(year + 1) {
        year + 1
    } else if days < iso_year_start(year) {
        year - 1
    } else {
        year
    }
}

/// `st`, `nd`, `rd` or `th`, as goes with a number.
fn ordinal(number: &str) -> &'static str {
    let mut last = number.bytes().rev();
    match (last.next(), last.next()) {
        (_, Some(b'1')) => "th",
        (Some(b'1'), _) => "st",
        (Some(b'2'), _) => "nd",
        (Some(b'3'), _) => "rd",
        _ => "th",
    }
}
