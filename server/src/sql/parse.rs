//! From text to statements, within bounds.
//!
//! The parser and everything after it walk a statement recursively. Before it is parsed, its tokens
//! are counted: how deep it nests, and how long its chains are (`a + b + c …`, `UNION ALL …`,
//! `::int::int …`), which look flat and are as deep as they are long. What is within the bounds fits
//! the stack of the threads that work on statements ([`STACK_BYTES`]).

use std::sync::Arc;

use sqlparser::ast::{Function, FunctionArguments, Ident, ObjectName, Statement};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use crate::error::{SqlError, SqlResult};
use crate::sql::copy::statement::{self as copy, CopyStatement};
use crate::sql::definitions;
use crate::sql::insert::scan::{self, RowsInsert};
use crate::sql::position::character_position;
use crate::sql::spelling;
use crate::sqlstate;

/// The stack of threads that work on statements. It is address space; memory is used as deep as a
/// statement goes.
pub const STACK_BYTES: usize = 256 << 20;

/// How deep parentheses, brackets and CASE may nest.
const DEPTH_MAX: usize = 200;

/// How many operators may follow each other without a comma or a new clause between them.
const CHAIN_MAX: usize = 5_000;

/// The highest number of a parameter: the protocol counts them in 16 bits.
const PARAMETERS_MAX: u32 = 65_535;

/// The parser's own count of nested calls.
const RECURSION_MAX: usize = 1_000;

/// What a statement says.
#[derive(Clone, Debug)]
pub enum Said {
    /// What the parser knows.
    Sql(Box<Statement>),
    /// COPY, which has a parser of its own.
    Copy(Box<CopyStatement>),
    /// INSERT of constants, which were read without the parser.
    Insert(Box<RowsInsert>),
}

/// A statement with its text.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// What it says.
    pub statement: Said,
    /// Its own text, without the semicolon.
    pub text: String,
}

/// The statements in a text.
///
/// # Errors
/// 42601 with the place, or 54000 and 54001 when a bound is passed.
pub fn parse(text: &str, bytes_max: usize) -> SqlResult<Vec<Parsed>> {
    if text.len() > bytes_max {
        let message = format!("a statement of {} bytes exceeds the limit of {bytes_max} bytes", text.len());
        return Err(SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
            .with_hint("Send large amounts of data by COPY, or raise statement-size."));
    }
    match insert_of_rows(text) {
        Some(insert) => Ok(vec![insert]),
        None => parse_tokens(text),
    }
}

fn parse_tokens(text: &str) -> SqlResult<Vec<Parsed>> {
    let dialect = PostgreSqlDialect {};
    let tokens = Tokenizer::new(&dialect, text).tokenize_with_location().map_err(|error| {
        SqlError::new(sqlstate::SYNTAX_ERROR, lexical(&error.message)).at(place(text, error.location))
    })?;
    check_bounds(text, &tokens)?;
    let mut tokens = definitions::tokens(spelled_out(signs_apart(tokens)));
    let needs_spelling = spelling::tokens(&mut tokens);
    let offsets = Offsets::new(text);
    let mut parser =
        Parser::new(&dialect).with_recursion_limit(RECURSION_MAX).with_tokens_with_locations(tokens.clone());
    let mut statements = Vec::new();
    loop {
        while parser.consume_token(&Token::SemiColon) {}
        let first = parser.peek_token();
        if first.token == Token::EOF {
            return Ok(statements);
        }
        let statement = if copy::is_next(&parser) {
            Said::Copy(Box::new(copy::parse(&mut parser, &Source { text, tokens: &tokens })?))
        } else {
            let parsed = match checkpoint(&mut parser) {
                Some(call) => Ok(call),
                None => parser.parse_statement(),
            };
            let mut parsed = parsed.map_err(|error| syntax(text, &tokens, &error))?;
            if needs_spelling {
                spelling::statement(&mut parsed);
            }
            Said::Sql(Box::new(parsed))
        };
        let after = parser.peek_token();
        if !matches!(after.token, Token::SemiColon | Token::EOF) {
            return Err(near(text, &after));
        }
        let start = offsets.of(first.span.start);
        let end = if after.token == Token::EOF { text.len() } else { offsets.of(after.span.start) };
        statements.push(Parsed { statement, text: text[start..end].trim().to_owned() });
    }
}

/// What stands after AS in `PREPARE name (types) AS statement`.
pub fn after_as(text: &str) -> &str {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().unwrap_or_default();
    let mut depth = 0_usize;
    for token in &tokens {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Word(word) if depth == 0 && word.keyword == Keyword::AS && word.quote_style.is_none() => {
                return text[Offsets::new(text).of(token.span.end)..].trim();
            }
            _ => {}
        }
    }
    text
}

/// An operator ends in a sign only if it has one of a few characters; otherwise the sign is the next
/// one's, as in `->-1`.
fn signs_apart(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut apart = Vec::with_capacity(tokens.len());
    for token in tokens {
        let split = match &token.token {
            Token::CustomBinaryOperator(text)
                if !text.contains(['~', '!', '@', '#', '%', '^', '&', '|', '`', '?']) =>
            {
                let operator = text.trim_end_matches(['+', '-']);
                let tokenized =
                    Tokenizer::new(&PostgreSqlDialect {}, operator).tokenize().unwrap_or_default();
                match tokenized.as_slice() {
                    [only] if operator.len() < text.len() => {
                        Some((only.clone(), text[operator.len()..].to_owned()))
                    }
                    _ => None,
                }
            }
            _ => None,
        };
        match split {
            None => apart.push(token),
            Some((operator, signs)) => {
                apart.push(TokenWithSpan { token: operator, span: token.span });
                let sign = |sign| if sign == '-' { Token::Minus } else { Token::Plus };
                apart.extend(signs.chars().map(|it| TokenWithSpan { token: sign(it), span: token.span }));
            }
        }
    }
    apart
}

/// An INSERT whose rows are constants and parameters. What is wrong with it is told by the parser, which
/// reads it then.
fn insert_of_rows(text: &str) -> Option<Parsed> {
    let (statement, rows) = scan::scan(text)?;
    match parse_tokens(&statement).ok()?.pop()?.statement {
        Said::Sql(statement) => match *statement {
            Statement::Insert(insert) => {
                let text = text.trim().strip_suffix(';').unwrap_or(text.trim()).trim_end().to_owned();
                Some(Parsed {
                    statement: Said::Insert(Box::new(RowsInsert {
                        insert: Box::new(insert),
                        rows: Arc::new(rows),
                    })),
                    text,
                })
            }
            _ => None,
        },
        _ => None,
    }
}

/// ABORT is ROLLBACK and RESET TIME ZONE is RESET TimeZone, which the parser does not know.
fn spelled_out(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let is_word = |token: &TokenWithSpan, wanted: &str| match &token.token {
        Token::Word(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted),
        _ => false,
    };
    let told: Vec<usize> =
        (0..tokens.len()).filter(|at| !matches!(tokens[*at].token, Token::Whitespace(_))).collect();
    for (place, at) in told.iter().copied().enumerate() {
        let is_first = place == 0 || tokens[told[place - 1]].token == Token::SemiColon;
        let follows = |distance: usize, word: &str| {
            told.get(place + distance).is_some_and(|next| is_word(&tokens[*next], word))
        };
        if is_first && is_word(&tokens[at], "abort") {
            tokens[at].token = Token::make_keyword("ROLLBACK");
        } else if is_first && is_word(&tokens[at], "reset") && follows(1, "time") && follows(2, "zone") {
            let (first, last) = (told[place + 1], told[place + 2]);
            tokens[first].token = Token::make_word("timezone", None);
            tokens[last].token = Token::Whitespace(sqlparser::tokenizer::Whitespace::Space);
        }
    }
    tokens
}

/// CHECKPOINT, which the parser does not know, as a call.
fn checkpoint(parser: &mut Parser<'_>) -> Option<Statement> {
    match parser.peek_token().token {
        Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("checkpoint") => {
            parser.next_token();
            Some(Statement::Call(Function {
                name: ObjectName::from(["tidemark", "checkpoint"].map(Ident::new).to_vec()),
                uses_odbc_syntax: false,
                parameters: FunctionArguments::None,
                args: FunctionArguments::None,
                filter: None,
                null_treatment: None,
                over: None,
                within_group: Vec::new(),
            }))
        }
        _ => None,
    }
}

/// What the tokenizer found wrong, in PostgreSQL's words where it has some.
fn lexical(message: &str) -> String {
    if message.contains("Unterminated string") || message.contains("Unterminated dollar") {
        "unterminated quoted string".to_owned()
    } else if message.contains("comment") {
        "unterminated /* comment".to_owned()
    } else if message.contains("Expected close delimiter '\"'") {
        "unterminated quoted identifier".to_owned()
    } else {
        format!("syntax error: {}", message.to_lowercase())
    }
}

fn place(text: &str, location: Location) -> Option<usize> {
    character_position(text, location.line, location.column)
}

/// A text and its tokens, to say where in it something is.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    text: &'a str,
    tokens: &'a [TokenWithSpan],
}

impl Source<'_> {
    /// Where a token is, in characters from 1.
    pub(crate) fn position(&self, token: &TokenWithSpan) -> Option<usize> {
        place(self.text, token.span.start)
    }

    /// A token is not what may stand there.
    pub(crate) fn unexpected(&self, token: &TokenWithSpan) -> SqlError {
        near(self.text, token)
    }

    /// What the parser found wrong.
    pub(crate) fn syntax(&self, error: &ParserError) -> SqlError {
        syntax(self.text, self.tokens, error)
    }
}

/// The error at a token.
fn near(text: &str, token: &TokenWithSpan) -> SqlError {
    let message = match &token.token {
        Token::EOF => "syntax error at end of input".to_owned(),
        token => format!("syntax error at or near \"{token}\""),
    };
    let position = match token.token {
        Token::EOF => Some(text.chars().count() + 1),
        _ => place(text, token.span.start),
    };
    SqlError::new(sqlstate::SYNTAX_ERROR, message).at(position)
}

fn syntax(text: &str, tokens: &[TokenWithSpan], error: &ParserError) -> SqlError {
    let message = match error {
        ParserError::RecursionLimitExceeded => return too_deep(),
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
    };
    if message.contains("found: EOF") {
        return near(text, &TokenWithSpan::new_eof());
    }
    match location_in(message).and_then(|at| tokens.iter().find(|token| token.span.start == at)) {
        Some(token) => near(text, token).with_detail(message_without_location(message)),
        None => SqlError::new(sqlstate::SYNTAX_ERROR, format!("syntax error: {message}")),
    }
}

/// The place that the parser puts at the end of its messages: `at Line: 1, Column: 8`.
fn location_in(message: &str) -> Option<Location> {
    let (_, place) = message.rsplit_once("at Line: ")?;
    let (line, column) = place.split_once(", Column: ")?;
    Some(Location::new(line.trim().parse().ok()?, column.trim().parse().ok()?))
}

fn message_without_location(message: &str) -> String {
    let message = message.rsplit_once(" at Line: ").map_or(message, |(message, _)| message);
    format!("{message}.")
}

fn too_deep() -> SqlError {
    SqlError::new(sqlstate::STATEMENT_TOO_COMPLEX, "the statement nests too deeply")
        .with_detail(format!("At most {DEPTH_MAX} levels are allowed."))
}

fn check_bounds(text: &str, tokens: &[TokenWithSpan]) -> SqlResult<()> {
    // The length of the chain at each level of nesting.
    let mut chains: Vec<usize> = vec![0];
    for token in tokens {
        match &token.token {
            Token::LParen | Token::LBrace => chains.push(0),
            // Subscripts of subscripts are a chain.
            Token::LBracket => {
                grow(&mut chains)?;
                chains.push(0);
            }
            Token::RParen | Token::RBracket | Token::RBrace => close(&mut chains),
            Token::Word(word) => match word.keyword {
                Keyword::CASE => chains.push(0),
                // END also ends transactions, where nothing is open.
                Keyword::END => close(&mut chains),
                Keyword::NoKeyword | Keyword::NULL | Keyword::TRUE | Keyword::FALSE => {}
                // A CASE has many of these, none within another.
                Keyword::WHEN | Keyword::THEN => {}
                // Every other word may be an operator, or go before an operand as INTERVAL does.
                _ => grow(&mut chains)?,
            },
            Token::Comma | Token::SemiColon => *chains.last_mut().expect("never empty") = 0,
            Token::Placeholder(name) => {
                check_parameter(name).map_err(|error| error.at(place(text, token.span.start)))?;
            }
            Token::SingleQuotedString(_) | Token::Number(..) | Token::Whitespace(_) | Token::EOF => {}
            // Every other symbol is an operator or may be one.
            _ => grow(&mut chains)?,
        }
        if chains.len() > DEPTH_MAX {
            return Err(too_deep());
        }
    }
    Ok(())
}

/// Parameters are numbered without gaps, so a large number would stand for many.
fn check_parameter(name: &str) -> SqlResult<()> {
    let digits = name.strip_prefix('$').unwrap_or(name);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && !digits.parse().is_ok_and(|number: u32| (1..=PARAMETERS_MAX).contains(&number)) {
        let message = format!("there is no parameter {name}");
        return Err(SqlError::new(sqlstate::UNDEFINED_PARAMETER, message));
    }
    Ok(())
}

fn close(chains: &mut Vec<usize>) {
    if chains.len() > 1 {
        chains.pop();
    }
}

fn grow(chains: &mut [usize]) -> SqlResult<()> {
    let chain = chains.last_mut().expect("never empty");
    *chain += 1;
    if *chain > CHAIN_MAX {
        return Err(SqlError::new(
            sqlstate::STATEMENT_TOO_COMPLEX,
            "the statement has too long a chain of operators",
        )
        .with_detail(format!("At most {CHAIN_MAX} may follow each other."))
        .with_hint("Use IN, a VALUES list or COPY."));
    }
    Ok(())
}

/// Where lines start, to find bytes by line and column.
struct Offsets<'a> {
    text: &'a str,
    lines: Vec<usize>,
}

impl Offsets<'_> {
    fn new(text: &str) -> Offsets<'_> {
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Offsets { text, lines: std::iter::once(0).chain(ends).collect() }
    }

    fn of(&self, location: Location) -> usize {
        let line = usize::try_from(location.line).unwrap_or(1).saturating_sub(1);
        let column = usize::try_from(location.column).unwrap_or(1).saturating_sub(1);
        let start = self.lines.get(line).copied().unwrap_or(self.text.len());
        let rest = &self.text[start..];
        start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(text: &str) -> (String, String, Option<usize>) {
        let error = parse(text, 1 << 20).unwrap_err();
        (error.state().code().to_owned(), error.message().to_owned(), error.fields().position)
    }

    #[test]
    fn statements_are_divided_with_their_texts() {
        let parsed = parse(" select 1;; select\n'ä;' ; -- end\n", 100).unwrap();
        let texts: Vec<&str> = parsed.iter().map(|parsed| parsed.text.as_str()).collect();
        assert_eq!(texts, ["select 1", "select\n'ä;'"]);
        assert!(parse(" -- nothing\n ;", 100).unwrap().is_empty());
    }

    #[test]
    fn syntax_errors_name_the_place() {
        let cases = [
            ("selec 1", "syntax error at or near \"selec\"", Some(1)),
            ("select 1 +", "syntax error at end of input", Some(11)),
            ("select * frm t", "syntax error at or near \"t\"", Some(14)),
            ("select 1 1", "syntax error at or near \"1\"", Some(10)),
            ("select 'abc", "unterminated quoted string", Some(8)),
            ("select ä, )", "syntax error at or near \")\"", Some(11)),
        ];
        for (text, message, position) in cases {
            assert_eq!(error_of(text), ("42601".to_owned(), message.to_owned(), position), "{text}");
        }
    }

    #[test]
    fn bounds_hold_before_the_parser_is_asked() {
        let deep = format!("select {}1{}", "(".repeat(300), ")".repeat(300));
        let chain = format!("select 1{}", " + 1".repeat(20_000));
        let unions = vec!["select 1"; 20_000].join(" union all ");
        let casts = format!("select 1{}", "::int".repeat(20_000));
        let cases = format!("select {} 1 {}", "case when true then ".repeat(300), "end ".repeat(300));
        let prefixes = format!("select {}", "interval ".repeat(20_000));
        for text in [deep, chain, unions, casts, cases, prefixes] {
            assert_eq!(error_of(&text).0, "54001", "{}", &text[..40]);
        }
        assert_eq!(parse("select 1", 3).unwrap_err().state(), sqlstate::PROGRAM_LIMIT_EXCEEDED);
        let list = format!("select 1 where 1 in ({}1)", "1,".repeat(100_000));
        assert!(parse(&list, 1 << 20).is_ok());
    }
}
