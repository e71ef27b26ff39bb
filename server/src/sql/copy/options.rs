//! What the options of COPY mean, with PostgreSQL's defaults and its objections.

use crate::error::{SqlError, SqlResult};
use crate::session::parameters::parse_bool;
use crate::sql::copy::encoding::Encoding;
use crate::sql::copy::statement::{Argument, CopyOption, CopyStatement, Direction};
use crate::sqlstate;

/// How rows are written in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyFormat {
    /// The kind of file.
    pub layout: Layout,
    /// Between fields.
    pub delimiter: u8,
    /// What stands for NULL.
    pub null: String,
    /// Whether the first line names the columns.
    pub header: Header,
    /// Around CSV fields.
    pub quote: u8,
    /// Before a quote within one.
    pub escape: u8,
    /// Columns whose values are quoted in any case.
    pub force_quote: Forced,
    /// Columns in which nothing is NULL.
    pub force_not_null: Forced,
    /// Columns in which also a quoted NULL is one.
    pub force_null: Forced,
    /// How characters are written.
    pub encoding: Encoding,
}

/// The kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// PostgreSQL's text format.
    Text,
    /// CSV.
    Csv,
    /// PostgreSQL's binary format.
    Binary,
}

/// The line that names the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Header {
    /// There is none.
    Absent,
    /// It is written, or read over.
    Present,
    /// It must name the columns that are copied.
    Match,
}

/// The columns that an option of CSV is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forced {
    /// No column.
    None,
    /// Every column.
    All,
    /// Columns, by name.
    Named(Vec<String>),
}

/// Columns by which names in options are looked up.
#[derive(Clone, Copy, Debug)]
pub struct Columns<'a> {
    /// The columns that are copied.
    pub copied: &'a [&'a str],
    /// All columns there are.
    pub all: &'a [&'a str],
    /// The relation, where it is one.
    pub relation: Option<&'a str>,
}

impl Forced {
    /// Whether it is for a copied column, each.
    ///
    /// # Errors
    /// A name is none of a column, not of one that is copied, or comes twice.
    pub fn flags(&self, option: &str, columns: &Columns<'_>) -> SqlResult<Vec<bool>> {
        let mut flags = vec![*self == Forced::All; columns.copied.len()];
        let Forced::Named(names) = self else { return Ok(flags) };
        for (at, name) in names.iter().enumerate() {
            if !columns.all.contains(&name.as_str()) {
                let of = columns.relation.map(|it| format!(" of relation \"{it}\"")).unwrap_or_default();
                let message = format!("column \"{name}\"{of} does not exist");
                return Err(SqlError::new(sqlstate::UNDEFINED_COLUMN, message));
            }
            if names[..at].contains(name) {
                let message = format!("column \"{name}\" specified more than once");
                return Err(SqlError::new(sqlstate::DUPLICATE_COLUMN, message));
            }
        }
        for name in names {
            let Some(at) = columns.copied.iter().position(|column| column == name) else {
                let message = format!("{option} column \"{name}\" not referenced by COPY");
                return Err(SqlError::new(sqlstate::INVALID_COLUMN_REFERENCE, message));
            };
            flags[at] = true;
        }
        Ok(flags)
    }
}

/// Options as they were given; `None` where one was not.
#[derive(Debug, Default)]
struct Given {
    layout: Option<Layout>,
    freeze: Option<bool>,
    delimiter: Option<String>,
    null: Option<String>,
    header: Option<Header>,
    quote: Option<String>,
    escape: Option<String>,
    force_quote: Option<Forced>,
    force_not_null: Option<Forced>,
    force_null: Option<Forced>,
    encoding: Option<Encoding>,
}

/// The format that a statement's options ask for.
///
/// # Errors
/// As PostgreSQL says them.
pub fn format_of(statement: &CopyStatement) -> SqlResult<CopyFormat> {
    let mut given = Given::default();
    for option in &statement.options {
        take(&mut given, option, statement.direction)?;
    }
    let format = with_defaults(&given)?;
    check(&given, &format, statement.direction)?;
    Ok(format)
}

fn take(given: &mut Given, option: &CopyOption, direction: Direction) -> SqlResult<()> {
    match option.name.as_str() {
        "format" => once(&mut given.layout, layout(option), option),
        "freeze" => once(&mut given.freeze, boolean(option), option),
        "delimiter" => once(&mut given.delimiter, string(option), option),
        "null" => once(&mut given.null, string(option), option),
        "header" => once(&mut given.header, header(option, direction), option),
        "quote" => once(&mut given.quote, string(option), option),
        "escape" => once(&mut given.escape, string(option), option),
        "force_quote" => once(&mut given.force_quote, forced(option, true), option),
        "force_not_null" => once(&mut given.force_not_null, forced(option, false), option),
        "force_null" => once(&mut given.force_null, forced(option, false), option),
        "encoding" => once(&mut given.encoding, encoding(option), option),
        other => {
            let message = format!("option \"{other}\" not recognized");
            Err(SqlError::new(sqlstate::SYNTAX_ERROR, message).at(option.position))
        }
    }
}

fn once<T>(place: &mut Option<T>, value: SqlResult<T>, option: &CopyOption) -> SqlResult<()> {
    if place.is_some() {
        let message = "conflicting or redundant options";
        return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message).at(option.position));
    }
    *place = Some(value?);
    Ok(())
}

fn string(option: &CopyOption) -> SqlResult<String> {
    match &option.argument {
        Argument::Text(text) | Argument::Number(text) => Ok(text.clone()),
        Argument::Star => Ok("*".to_owned()),
        Argument::List(list) => Ok(list.join(", ")),
        Argument::None => {
            let message = format!("{} requires a parameter", option.name);
            Err(SqlError::new(sqlstate::SYNTAX_ERROR, message))
        }
    }
}

fn boolean(option: &CopyOption) -> SqlResult<bool> {
    truth(option).ok_or_else(|| {
        let message = format!("{} requires a Boolean value", option.name);
        SqlError::new(sqlstate::SYNTAX_ERROR, message)
    })
}

/// A truth value as options know them: `true`, `on`, `1`, nothing at all, and their opposites.
fn truth(option: &CopyOption) -> Option<bool> {
    let text = match &option.argument {
        Argument::None => return Some(true),
        Argument::Text(text) | Argument::Number(text) => text,
        Argument::Star | Argument::List(_) => return None,
    };
    let is_known = ["true", "false", "on", "off", "1", "0"].iter().any(|it| text.eq_ignore_ascii_case(it));
    if is_known { parse_bool(text) } else { None }
}

fn layout(option: &CopyOption) -> SqlResult<Layout> {
    match string(option)?.as_str() {
        "text" => Ok(Layout::Text),
        "csv" => Ok(Layout::Csv),
        "binary" => Ok(Layout::Binary),
        other => {
            let message = format!("COPY format \"{other}\" not recognized");
            Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message).at(option.position))
        }
    }
}

fn header(option: &CopyOption, direction: Direction) -> SqlResult<Header> {
    match (truth(option), &option.argument) {
        (Some(true), _) => Ok(Header::Present),
        (Some(false), _) => Ok(Header::Absent),
        (None, Argument::Text(text)) if text.eq_ignore_ascii_case("match") => match direction {
            Direction::From => Ok(Header::Match),
            Direction::To => {
                let message = "cannot use \"match\" with HEADER in COPY TO";
                Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message))
            }
        },
        _ => {
            let message = format!("{} requires a Boolean value or \"match\"", option.name);
            Err(SqlError::new(sqlstate::SYNTAX_ERROR, message))
        }
    }
}

fn forced(option: &CopyOption, star: bool) -> SqlResult<Forced> {
    match &option.argument {
        Argument::Star if star => Ok(Forced::All),
        Argument::List(names) => Ok(Forced::Named(names.clone())),
        _ => {
            let message = format!("argument to option \"{}\" must be a list of column names", option.name);
            Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message).at(option.position))
        }
    }
}

fn encoding(option: &CopyOption) -> SqlResult<Encoding> {
    let name = string(option)?;
    match Encoding::by_name(&name) {
        Some(encoding) => Ok(encoding),
        None if Encoding::is_known_to_postgresql(&name) => {
            Err(SqlError::unsupported(format!("COPY with encoding {name}")))
        }
        None => {
            let message = format!("argument to option \"{}\" must be a valid encoding name", option.name);
            Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message).at(option.position))
        }
    }
}

fn with_defaults(given: &Given) -> SqlResult<CopyFormat> {
    let layout = given.layout.unwrap_or(Layout::Text);
    if layout == Layout::Binary {
        let named = [(given.delimiter.is_some(), "DELIMITER"), (given.null.is_some(), "NULL")];
        if let Some((_, name)) = named.iter().find(|(is_given, _)| *is_given) {
            let message = format!("cannot specify {name} in BINARY mode");
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
        }
    }
    let is_csv = layout == Layout::Csv;
    let delimiter = given.delimiter.as_deref().unwrap_or(if is_csv { "," } else { "\t" });
    let delimiter = one_byte("delimiter", delimiter)?;
    check_ends(delimiter, given.null.as_deref().unwrap_or_default(), is_csv)?;
    if layout == Layout::Binary && given.header.is_some_and(|header| header != Header::Absent) {
        let message = "cannot specify HEADER in BINARY mode";
        return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
    }
    let quote = csv_byte("quote", given.quote.as_deref(), b'"', is_csv)?;
    if is_csv && delimiter == quote {
        let message = "COPY delimiter and quote must be different";
        return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
    }
    let forced = |forced: &Option<Forced>| forced.clone().unwrap_or(Forced::None);
    Ok(CopyFormat {
        layout,
        delimiter,
        null: given.null.clone().unwrap_or_else(|| if is_csv { "" } else { "\\N" }.to_owned()),
        header: given.header.unwrap_or(Header::Absent),
        quote,
        escape: csv_byte("escape", given.escape.as_deref(), quote, is_csv)?,
        force_quote: forced(&given.force_quote),
        force_not_null: forced(&given.force_not_null),
        force_null: forced(&given.force_null),
        encoding: given.encoding.unwrap_or(Encoding::UTF8),
    })
}

fn one_byte(what: &str, text: &str) -> SqlResult<u8> {
    match text.as_bytes() {
        [byte] => Ok(*byte),
        _ => {
            let message = format!("COPY {what} must be a single one-byte character");
            Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message))
        }
    }
}

fn csv_byte(what: &str, given: Option<&str>, default: u8, is_csv: bool) -> SqlResult<u8> {
    match given {
        None => Ok(default),
        Some(text) if is_csv => one_byte(what, text),
        Some(_) => Err(only(what, "available only in CSV mode")),
    }
}

fn only(what: &str, where_it_is: &str) -> SqlError {
    SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, format!("COPY {what} {where_it_is}"))
}

/// Nothing that ends lines stands for anything else.
fn check_ends(delimiter: u8, null: &str, is_csv: bool) -> SqlResult<()> {
    let wrong = |message: String| Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
    if matches!(delimiter, b'\n' | b'\r') {
        return wrong("COPY delimiter cannot be newline or carriage return".to_owned());
    }
    if null.contains(['\n', '\r']) {
        return wrong("COPY null representation cannot use newline or carriage return".to_owned());
    }
    let is_taken =
        delimiter.is_ascii_lowercase() || delimiter.is_ascii_digit() || b".\\".contains(&delimiter);
    if !is_csv && is_taken {
        return wrong(format!("COPY delimiter cannot be \"{}\"", char::from(delimiter)));
    }
    Ok(())
}

fn check(given: &Given, format: &CopyFormat, direction: Direction) -> SqlResult<()> {
    let forced = [
        (&given.force_quote, "force quote", Direction::To, "only available using COPY TO"),
        (&given.force_not_null, "force not null", Direction::From, "only available using COPY FROM"),
        (&given.force_null, "force null", Direction::From, "only available using COPY FROM"),
    ];
    for (option, name, only_for, where_it_is) in forced {
        if option.is_some() && format.layout != Layout::Csv {
            return Err(only(name, "available only in CSV mode"));
        }
        if option.is_some() && direction != only_for {
            return Err(only(name, where_it_is));
        }
    }
    if format.layout != Layout::Binary && format.null.as_bytes().contains(&format.delimiter) {
        return Err(only("delimiter", "must not appear in the NULL specification"));
    }
    if format.layout == Layout::Csv && format.null.as_bytes().contains(&format.quote) {
        let message = "CSV quote character must not appear in the NULL specification";
        return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
    }
    Ok(())
}
