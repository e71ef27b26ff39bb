//! COPY as it is written. Its grammar is read here because the parser knows only a part of it: not
//! WHERE, not `HEADER match`, not what came before the options were put in parentheses.
//!
//! ```text
//! COPY [BINARY] table [(columns)] FROM|TO where [[USING] DELIMITERS 'c'] [[WITH] options] [WHERE condition]
//! COPY (query) TO where [[WITH] options]
//! options   ( name [argument], … )   or, as it once was, words one after another
//! where     STDIN | STDOUT | 'file' | PROGRAM 'command'
//! ```
//!
//! Both ways to write options give the same list; [`super::options`] says what they mean.

use sqlparser::ast::{Expr, Ident, ObjectName, Query};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{IsOptional, Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{SqlError, SqlResult};
use crate::sql::names;
use crate::sql::parse::Source;
use crate::sqlstate;

/// A COPY statement.
#[derive(Clone, Debug)]
pub struct CopyStatement {
    /// What is copied.
    pub relation: Relation,
    /// Into it, or out of it.
    pub direction: Direction,
    /// The other end.
    pub endpoint: Endpoint,
    /// How rows are written.
    pub options: Vec<CopyOption>,
    /// Which rows are taken.
    pub condition: Option<Box<Expr>>,
}

/// What is copied.
#[derive(Clone, Debug)]
pub enum Relation {
    /// A table, and those of its columns that were named.
    Table(ObjectName, Vec<Ident>),
    /// What a query gives.
    Query(Box<Query>),
}

/// Which way rows go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Into a table.
    From,
    /// Out of it.
    To,
}

/// Where rows come from or go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// The client.
    Client,
    /// A file of the server.
    File,
    /// A program that the server runs.
    Program,
}

/// An option with its argument.
#[derive(Clone, Debug)]
pub struct CopyOption {
    /// Its name, folded.
    pub name: String,
    /// Its argument.
    pub argument: Argument,
    /// Where it is in the statement.
    pub position: Option<usize>,
}

/// What stands after the name of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// Nothing.
    None,
    /// A word, folded, or a string.
    Text(String),
    /// A number, as it is written.
    Number(String),
    /// `*`
    Star,
    /// A list of words or strings.
    List(Vec<String>),
}

/// Whether the parser is at a COPY.
pub(crate) fn is_next(parser: &Parser<'_>) -> bool {
    is_word(&parser.peek_token(), "copy")
}

fn is_word(token: &TokenWithSpan, wanted: &str) -> bool {
    match &token.token {
        Token::Word(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted),
        _ => false,
    }
}

/// Reads a COPY.
///
/// # Errors
/// 42601, with the place.
pub(crate) fn parse(parser: &mut Parser<'_>, source: &Source<'_>) -> SqlResult<CopyStatement> {
    CopyParser { parser, source }.statement()
}

struct CopyParser<'a, 'p> {
    parser: &'a mut Parser<'p>,
    source: &'a Source<'a>,
}

impl CopyParser<'_, '_> {
    fn statement(&mut self) -> SqlResult<CopyStatement> {
        self.expect_word("copy")?;
        let mut options = Vec::new();
        let relation = if self.parser.consume_token(&Token::LParen) {
            let query = self.parser.parse_query();
            let query = self.parsed(query)?;
            self.expect(&Token::RParen)?;
            Relation::Query(query)
        } else {
            let binary = self.parser.peek_token();
            if self.take_word("binary") {
                options.push(self.format("binary", &binary));
            }
            let name = self.parser.parse_object_name(false);
            let name = self.parsed(name)?;
            let columns = self.parser.parse_parenthesized_column_list(IsOptional::Optional, false);
            Relation::Table(name, self.parsed(columns)?)
        };
        let direction = self.direction(&relation)?;
        let endpoint = self.endpoint()?;
        self.delimiters(&mut options)?;
        self.take_word("with");
        if self.parser.consume_token(&Token::LParen) {
            self.listed(&mut options)?;
        } else {
            self.spelled(&mut options)?;
        }
        let condition = self.condition(direction)?;
        Ok(CopyStatement { relation, direction, endpoint, options, condition })
    }

    fn direction(&mut self, relation: &Relation) -> SqlResult<Direction> {
        if self.take_word("to") {
            return Ok(Direction::To);
        }
        match relation {
            Relation::Table(..) if self.take_word("from") => Ok(Direction::From),
            _ => Err(self.unexpected()),
        }
    }

    /// As in PostgreSQL, STDIN and STDOUT both mean the client.
    fn endpoint(&mut self) -> SqlResult<Endpoint> {
        if self.take_word("stdin") || self.take_word("stdout") {
            return Ok(Endpoint::Client);
        }
        let is_program = self.take_word("program");
        if is_program && ["stdin", "stdout"].iter().any(|word| is_word(&self.parser.peek_token(), word)) {
            let message = "STDIN/STDOUT not allowed with PROGRAM";
            let place = self.source.position(&self.parser.peek_token());
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message).at(place));
        }
        self.string()?;
        Ok(if is_program { Endpoint::Program } else { Endpoint::File })
    }

    /// The oldest way to name a delimiter.
    fn delimiters(&mut self, options: &mut Vec<CopyOption>) -> SqlResult<()> {
        let start = self.parser.peek_token();
        let using = self.take_word("using");
        if self.take_word("delimiters") {
            let argument = Argument::Text(self.string()?);
            let position = self.source.position(&start);
            options.push(CopyOption { name: "delimiter".to_owned(), argument, position });
        } else if using {
            return Err(self.unexpected());
        }
        Ok(())
    }

    /// Options in parentheses.
    fn listed(&mut self, options: &mut Vec<CopyOption>) -> SqlResult<()> {
        loop {
            let name = self.parser.peek_token();
            let position = self.source.position(&name);
            let Some(word) = self.take_any_word() else { return Err(self.unexpected()) };
            let argument = self.argument()?;
            options.push(CopyOption { name: word, argument, position });
            if !self.parser.consume_token(&Token::Comma) {
                return self.expect(&Token::RParen);
            }
        }
    }

    fn argument(&mut self) -> SqlResult<Argument> {
        if matches!(self.parser.peek_token().token, Token::Comma | Token::RParen) {
            return Ok(Argument::None);
        }
        if self.parser.consume_token(&Token::Mul) {
            return Ok(Argument::Star);
        }
        if self.parser.consume_token(&Token::LParen) {
            let mut list = Vec::new();
            loop {
                list.push(self.word_or_string()?);
                if !self.parser.consume_token(&Token::Comma) {
                    self.expect(&Token::RParen)?;
                    return Ok(Argument::List(list));
                }
            }
        }
        let is_negative = self.parser.consume_token(&Token::Minus);
        let is_signed = is_negative || self.parser.consume_token(&Token::Plus);
        if let Token::Number(number, _) = self.parser.peek_token().token {
            self.parser.next_token();
            return Ok(Argument::Number(if is_negative { format!("-{number}") } else { number }));
        }
        if is_signed {
            return Err(self.unexpected());
        }
        self.word_or_string().map(Argument::Text)
    }

    fn word_or_string(&mut self) -> SqlResult<String> {
        match self.take_any_word() {
            Some(word) => Ok(word),
            None => self.string(),
        }
    }

    /// Options as they were written before there were parentheses.
    fn spelled(&mut self, options: &mut Vec<CopyOption>) -> SqlResult<()> {
        loop {
            let start = self.parser.peek_token();
            let (name, argument) = if self.take_word("binary") {
                options.push(self.format("binary", &start));
                continue;
            } else if self.take_word("csv") {
                options.push(self.format("csv", &start));
                continue;
            } else if self.take_word("freeze") {
                ("freeze", Argument::Text("true".to_owned()))
            } else if self.take_word("header") {
                ("header", Argument::Text("true".to_owned()))
            } else if self.take_word("encoding") {
                ("encoding", Argument::Text(self.string()?))
            } else if self.take_word("force") {
                self.force()?
            } else {
                let named = ["delimiter", "null", "quote", "escape"];
                let Some(name) = named.into_iter().find(|name| self.take_word(name)) else { return Ok(()) };
                self.take_word("as");
                (name, Argument::Text(self.string()?))
            };
            let position = self.source.position(&start);
            options.push(CopyOption { name: name.to_owned(), argument, position });
        }
    }

    fn force(&mut self) -> SqlResult<(&'static str, Argument)> {
        if self.take_word("quote") {
            if self.parser.consume_token(&Token::Mul) {
                return Ok(("force_quote", Argument::Star));
            }
            return Ok(("force_quote", self.columns()?));
        }
        let name = if self.take_word("not") { "force_not_null" } else { "force_null" };
        self.expect_word("null")?;
        Ok((name, self.columns()?))
    }

    fn columns(&mut self) -> SqlResult<Argument> {
        let mut names = Vec::new();
        loop {
            let Some(name) = self.take_any_word() else { return Err(self.unexpected()) };
            names.push(name);
            if !self.parser.consume_token(&Token::Comma) {
                return Ok(Argument::List(names));
            }
        }
    }

    fn condition(&mut self, direction: Direction) -> SqlResult<Option<Box<Expr>>> {
        let start = self.parser.peek_token();
        if !self.take_word("where") {
            return Ok(None);
        }
        let condition = self.parser.parse_expr();
        let condition = self.parsed(condition)?;
        if direction == Direction::To {
            let message = "WHERE clause not allowed with COPY TO";
            let place = self.source.position(&start);
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message).at(place));
        }
        Ok(Some(Box::new(condition)))
    }

    fn format(&self, name: &str, token: &TokenWithSpan) -> CopyOption {
        let argument = Argument::Text(name.to_owned());
        CopyOption { name: "format".to_owned(), argument, position: self.source.position(token) }
    }

    /// Takes a word if it is the next.
    fn take_word(&mut self, wanted: &str) -> bool {
        let is_next = is_word(&self.parser.peek_token(), wanted);
        if is_next {
            self.parser.next_token();
        }
        is_next
    }

    /// Takes the next word, whatever it is, as names are folded.
    fn take_any_word(&mut self) -> Option<String> {
        let Token::Word(word) = self.parser.peek_token().token else { return None };
        // What ends a list of columns is a word too.
        if word.quote_style.is_none() && word.keyword == Keyword::WHERE {
            return None;
        }
        self.parser.next_token();
        Some(names::fold(&word.into_ident(sqlparser::tokenizer::Span::empty())))
    }

    fn string(&mut self) -> SqlResult<String> {
        let next = self.parser.peek_token();
        let text = match next.token {
            Token::SingleQuotedString(text)
            | Token::EscapedStringLiteral(text)
            | Token::UnicodeStringLiteral(text) => text,
            Token::DollarQuotedString(quoted) => quoted.value,
            _ => return Err(self.unexpected()),
        };
        self.parser.next_token();
        Ok(text)
    }

    fn expect_word(&mut self, wanted: &str) -> SqlResult<()> {
        if self.take_word(wanted) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn expect(&mut self, wanted: &Token) -> SqlResult<()> {
        if self.parser.consume_token(wanted) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> SqlError {
        self.source.unexpected(&self.parser.peek_token())
    }

    fn parsed<T>(&self, parsed: Result<T, ParserError>) -> SqlResult<T> {
        parsed.map_err(|error| self.source.syntax(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::parse::{Said, parse};

    fn options_of(text: &str) -> Vec<(String, Argument)> {
        let parsed = parse(text, 1 << 20).unwrap().pop().unwrap();
        let Said::Copy(copy) = parsed.statement else { panic!("{text} is a COPY") };
        copy.options.into_iter().map(|option| (option.name, option.argument)).collect()
    }

    #[test]
    fn both_ways_to_write_options_say_the_same() {
        let cases = [
            ("COPY t FROM STDIN WITH (FORMAT csv, HEADER true)", "COPY t FROM STDIN CSV HEADER"),
            ("COPY t TO STDOUT (DELIMITER '|', NULL 'x')", "COPY t TO STDOUT DELIMITER AS '|' NULL 'x'"),
            ("COPY t TO STDOUT (DELIMITER '|')", "COPY t TO STDOUT USING DELIMITERS '|'"),
            ("COPY t FROM STDIN (FORMAT binary)", "COPY BINARY t FROM STDIN"),
            ("COPY t TO STDOUT (FORMAT csv, force_quote *)", "COPY t TO STDOUT WITH CSV FORCE QUOTE *"),
            (
                "COPY t FROM STDIN (FORMAT csv, force_null (a, \"B\"))",
                "COPY t FROM STDIN CSV FORCE NULL A, \"B\"",
            ),
            ("COPY t FROM STDIN (FORMAT csv, force_not_null (a))", "COPY t FROM STDIN CSV FORCE NOT NULL a"),
        ];
        for (new, old) in cases {
            assert_eq!(options_of(new), options_of(old), "{old}");
        }
    }

    #[test]
    fn a_statement_after_copy_is_a_statement() {
        let parsed = parse("COPY t FROM STDIN WHERE v > 1; SELECT 1", 1 << 20).unwrap();
        let texts: Vec<&str> = parsed.iter().map(|parsed| parsed.text.as_str()).collect();
        assert_eq!(texts, ["COPY t FROM STDIN WHERE v > 1", "SELECT 1"]);
    }

    #[test]
    fn syntax_errors_name_the_place() {
        let cases = [
            ("COPY t FROM", "syntax error at end of input", 12),
            ("COPY t INTO STDIN", "syntax error at or near \"INTO\"", 8),
            ("COPY (SELECT 1) FROM STDIN", "syntax error at or near \"FROM\"", 17),
            ("COPY t FROM STDIN ()", "syntax error at or near \")\"", 20),
            ("COPY t FROM STDIN nonsense", "syntax error at or near \"nonsense\"", 19),
            ("COPY t TO STDOUT WHERE true", "WHERE clause not allowed with COPY TO", 18),
        ];
        for (text, message, position) in cases {
            let error = parse(text, 1 << 20).unwrap_err();
            assert_eq!((error.message(), error.fields().position), (message, Some(position)), "{text}");
        }
    }
}
