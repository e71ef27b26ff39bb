//! The VALUES lists of long INSERTs, read without the parser.
//!
//! A statement of thousands of rows is a hundred thousand tokens, and the parser makes a tree of them that is
//! taken apart again at once. Here strings, numbers, words and parameters are read where they stand; as
//! soon as there is anything else, the statement goes the general way, which knows every form and says
//! what is wrong.

use std::sync::Arc;

use sqlparser::ast::Insert;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use crate::sql::insert::constants::{Cell, ConstantRows};
use crate::sql::types::column_type;

/// An INSERT whose rows were read.
#[derive(Clone, Debug)]
pub struct RowsInsert {
    /// The statement, with a single row of one value in the place of its rows.
    pub insert: Box<Insert>,
    /// The rows.
    pub rows: Arc<ConstantRows>,
}

/// What stands for the rows while the rest of the statement is parsed. No row is shorter.
const STAND_IN: &str = "(1)";

/// The highest number of a parameter.
const PARAMETERS_MAX: u32 = 65_535;

/// The statement without its rows, and the rows; `None` where it is not one that is read here.
pub(crate) fn scan(text: &str) -> Option<(String, ConstantRows)> {
    let mut cursor = Cursor { text, at: 0 };
    cursor.head()?;
    let start = cursor.at;
    let mut rows = ConstantRows::default();
    loop {
        cursor.row(&mut rows)?;
        cursor.spaces();
        if !cursor.take(b',') {
            break;
        }
        cursor.spaces();
    }
    let rest = text[cursor.at..].trim_end();
    let rest = rest.strip_suffix(';').unwrap_or(rest).trim_end();
    let mut statement = text[..start].to_owned();
    statement.push_str(STAND_IN);
    if !rest.trim_start().is_empty() {
        // Another statement may follow, or a comment.
        if rest.contains([';']) || rest.contains("--") || rest.contains("/*") {
            return None;
        }
        // What follows keeps its place, which errors tell.
        let replaced = text[start..cursor.at].chars().skip(STAND_IN.len());
        statement.extend(replaced.map(|character| if character == '\n' { '\n' } else { ' ' }));
        statement.push_str(rest);
    }
    Some((statement, rows))
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, wanted: u8) -> bool {
        let is_next = self.peek() == Some(wanted);
        self.at += usize::from(is_next);
        is_next
    }

    fn spaces(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\t' | b'\r' | 0x0c)) {
            self.at += 1;
        }
    }

    /// The next characters that are such.
    fn run(&mut self, is_such: impl Fn(u8) -> bool) -> &'a str {
        let start = self.at;
        while self.peek().is_some_and(&is_such) {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    fn word(&mut self) -> &'a str {
        self.run(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii())
    }

    /// Reads up to where the rows start.
    fn head(&mut self) -> Option<()> {
        self.spaces();
        if !self.word().eq_ignore_ascii_case("insert") {
            return None;
        }
        let mut depth = 0_usize;
        loop {
            self.spaces();
            match self.peek()? {
                b'"' => {
                    let end = memchr::memchr(b'"', &self.text.as_bytes()[self.at + 1..])?;
                    self.at += end + 2;
                }
                b'(' => {
                    depth += 1;
                    self.at += 1;
                }
                b')' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b'.' => self.at += 1,
                b'0'..=b'9' => return None,
                _ => {
                    let word = self.word();
                    if word.is_empty()
                        || ["select", "with", "table"].iter().any(|it| word.eq_ignore_ascii_case(it))
                    {
                        return None;
                    }
                    if depth == 0 && word.eq_ignore_ascii_case("values") {
                        self.spaces();
                        return Some(());
                    }
                }
            }
        }
    }

    fn row(&mut self, rows: &mut ConstantRows) -> Option<()> {
        if !self.take(b'(') {
            return None;
        }
        let is_first = rows.width() == 0;
        loop {
            self.spaces();
            let cell = self.cell(rows)?;
            rows.push(cell);
            self.spaces();
            if self.take(b')') {
                break;
            }
            if !self.take(b',') || (!is_first && rows.is_at_end_of_row()) {
                return None;
            }
        }
        if is_first {
            rows.end_first_row();
        }
        rows.is_at_end_of_row().then_some(())
    }

    fn cell(&mut self, rows: &mut ConstantRows) -> Option<Cell> {
        match self.peek()? {
            b'\'' => self.string(rows),
            b'$' => {
                self.at += 1;
                let number: u32 = self.run(|byte| byte.is_ascii_digit()).parse().ok()?;
                let is_one = (1..=PARAMETERS_MAX).contains(&number);
                let from_0 = is_one.then(|| number - 1)?;
                Some(Cell::Parameter(u16::try_from(from_0).ok()?))
            }
            b'-' | b'+' | b'.' | b'0'..=b'9' => self.number(rows),
            _ => self.named(),
        }
    }

    fn string(&mut self, rows: &mut ConstantRows) -> Option<Cell> {
        let bytes = self.text.as_bytes();
        let mut parts: Vec<&str> = Vec::new();
        let mut start = self.at + 1;
        loop {
            let end = start + memchr::memchr(b'\'', bytes.get(start..)?)?;
            if bytes.get(end + 1) == Some(&b'\'') {
                // The first of two quotes is a part of the text.
                parts.push(&self.text[start..=end]);
                start = end + 2;
                continue;
            }
            parts.push(&self.text[start..end]);
            self.at = end + 1;
            break;
        }
        let span = rows.keep(&parts)?;
        self.spaces();
        if !self.text[self.at..].starts_with("::") {
            return matches!(self.peek(), Some(b',' | b')')).then_some(Cell::Text(span));
        }
        self.at += 2;
        self.spaces();
        let name = self.word();
        let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(name).ok()?;
        let cast = column_type(&parser.parse_data_type().ok()?).ok()?;
        self.spaces();
        let type_at = rows.keep_type(cast)?;
        matches!(self.peek(), Some(b',' | b')')).then_some(Cell::Typed(span, type_at))
    }

    fn number(&mut self, rows: &mut ConstantRows) -> Option<Cell> {
        let is_negative = self.take(b'-');
        if !is_negative {
            self.take(b'+');
        }
        let start = self.at;
        let whole = self.run(|byte| byte.is_ascii_digit()).len();
        let fraction = if self.take(b'.') { self.run(|byte| byte.is_ascii_digit()).len() } else { 0 };
        if whole + fraction == 0 {
            return None;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if !self.take(b'-') {
                self.take(b'+');
            }
            if self.run(|byte| byte.is_ascii_digit()).is_empty() {
                return None;
            }
        }
        let span = rows.keep(&[if is_negative { "-" } else { "" }, &self.text[start..self.at]])?;
        self.spaces();
        matches!(self.peek(), Some(b',' | b')')).then_some(Cell::Number(span))
    }

    fn named(&mut self) -> Option<Cell> {
        let word = self.word();
        let is = |name: &str| word.eq_ignore_ascii_case(name);
        let cell = if is("null") {
            Cell::Null
        } else if is("default") {
            Cell::Default
        } else if is("true") {
            Cell::Bool(true)
        } else if is("false") {
            Cell::Bool(false)
        } else if is("current_timestamp") {
            Cell::Now
        } else if is("now") {
            self.spaces();
            if !self.take(b'(') {
                return None;
            }
            self.spaces();
            if !self.take(b')') {
                return None;
            }
            Cell::Now
        } else {
            return None;
        };
        self.spaces();
        matches!(self.peek(), Some(b',' | b')')).then_some(cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse::{Said, parse};

    /// The rows as the parser reads them.
    fn parsed(text: &str) -> Option<ConstantRows> {
        use sqlparser::ast::{SetExpr, Statement};
        let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).unwrap();
        let Ok(Statement::Insert(insert)) = parser.parse_statement() else { panic!("{text} is an INSERT") };
        let source = insert.source.unwrap();
        let SetExpr::Values(values) = source.body.as_ref() else { return None };
        let rows: Vec<&[sqlparser::ast::Expr]> =
            values.rows.iter().map(|row| row.content.as_slice()).collect();
        ConstantRows::of(&rows).unwrap()
    }

    #[test]
    fn rows_are_what_the_parser_reads() {
        let texts = [
            "INSERT INTO t VALUES (1)",
            "insert into \"T\".t (a, \"b\"\"c\") values ($1, 'it''s'), ($2,'') ;",
            "INSERT INTO t AS x VALUES (-1, +2.5, .5, 1., 1e5, -1.5E-3)",
            "INSERT INTO t VALUES (NULL, true, FALSE, DEFAULT, now(), CURRENT_TIMESTAMP, NOW ( ))",
            "INSERT INTO t VALUES ('2024-01-01'::timestamptz, '1'::int4, 'x' :: text)",
            "INSERT INTO t\nVALUES\n('ä☃', ''''),\n(\t$65535 , 'a\nb')\n",
        ];
        for text in texts {
            let (statement, rows) = scan(text).unwrap_or_else(|| panic!("{text} is read"));
            assert_eq!(format!("{rows:?}"), format!("{:?}", parsed(text).unwrap()), "{text}");
            assert!(statement.trim_end().ends_with(STAND_IN), "{statement}");
        }
    }

    #[test]
    fn what_is_more_than_constants_is_left_to_the_parser() {
        let texts = [
            "INSERT INTO t SELECT 1",
            "INSERT INTO t VALUES (1 + 1)",
            "INSERT INTO t VALUES (E'a')",
            "INSERT INTO t VALUES ('a' || 'b')",
            "INSERT INTO t VALUES ('a'\n'b')",
            "INSERT INTO t VALUES (1), (1, 2)",
            "INSERT INTO t VALUES (1, 2), (1)",
            "INSERT INTO t VALUES (1",
            "INSERT INTO t VALUES (1) -- comment",
            "INSERT INTO t VALUES (--1\n2)",
            "INSERT INTO t VALUES (1); SELECT 1",
            "INSERT INTO t VALUES ($0)",
            "INSERT INTO t VALUES ($65536)",
            "INSERT INTO t VALUES (1::int)",
            "INSERT INTO t VALUES (x)",
            "INSERT INTO t VALUES ()",
            "INSERT INTO t DEFAULT VALUES",
            "INSERT INTO t /* VALUES */ VALUES (1)",
            "SELECT 1",
            "",
        ];
        for text in texts {
            assert!(scan(text).is_none(), "{text}");
        }
    }

    #[test]
    fn what_follows_the_rows_keeps_its_place() {
        let text = "INSERT INTO t VALUES (1, 'ä\n'),\n(2, 'b') RETURNING nope";
        let (statement, rows) = scan(text).unwrap();
        assert_eq!(rows.row_count(), 2);
        let place = |text: &str| {
            let before = &text[..text.find("RETURNING").unwrap()];
            (before.matches('\n').count(), before.rsplit('\n').next().unwrap().chars().count())
        };
        assert_eq!(place(&statement), place(text));
        let parsed = parse(text, 1 << 20).unwrap().pop().unwrap();
        assert_eq!(parsed.text, text);
        let Said::Insert(insert) = parsed.statement else { panic!("its rows were read") };
        assert_eq!((insert.rows.row_count(), insert.insert.returning.map(|it| it.len())), (2, Some(1)));
    }
}
