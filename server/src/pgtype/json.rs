//! `json`: text that is kept as it was given, if it is JSON.
//!
//! The parser keeps its own stack, so that the depth of a text is limited by a constant and not by a
//! thread's stack, and tells a [`Visitor`] what it finds. [`super::jsonb`] is another one.

pub mod lexer;
pub mod parts;

use self::lexer::{Escapes, Expected, Lexer, Token};
use crate::error::{SqlError, SqlResult};
use crate::sqlstate;

/// The most arrays and objects within each other.
const DEPTH_MAX: usize = 10_000;

/// What is told about a text while it is parsed.
pub trait Visitor {
    /// An object begins.
    fn begin_object(&mut self);
    /// A key of an object, unescaped.
    fn key(&mut self, key: &str);
    /// An object ends.
    fn end_object(&mut self);
    /// An array begins.
    fn begin_array(&mut self);
    /// An array ends.
    fn end_array(&mut self);
    /// A string, unescaped.
    fn string(&mut self, value: &str);
    /// A number as it is written.
    fn number(&mut self, text: &str) -> SqlResult<()>;
    /// `true`, `false` or `null`.
    fn word(&mut self, word: &'static str);
}

/// Only validity counts.
struct Validity;

impl Visitor for Validity {
    fn begin_object(&mut self) {}
    fn key(&mut self, _: &str) {}
    fn end_object(&mut self) {}
    fn begin_array(&mut self) {}
    fn end_array(&mut self) {}
    fn string(&mut self, _: &str) {}
    fn number(&mut self, _: &str) -> SqlResult<()> {
        Ok(())
    }
    fn word(&mut self, _: &'static str) {}
}

/// Whether a text is JSON. What Unicode escapes stand for is not looked at.
pub fn validate(text: &str) -> SqlResult<()> {
    visit(text, Escapes::Keep, &mut Validity)
}

/// What encloses the value that is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Enclosing {
    Array,
    Object,
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Value,
    ValueOrArrayEnd,
    Key,
    KeyOrObjectEnd,
    AfterValue,
}

/// Parses a text and tells what is in it.
pub fn visit(text: &str, escapes: Escapes, visitor: &mut impl Visitor) -> SqlResult<()> {
    let mut lexer = Lexer::new(text, escapes);
    let mut open: Vec<Enclosing> = Vec::new();
    let mut next = Next::Value;
    let mut refused = Ok(());
    lexer.advance()?;
    loop {
        next = match (next, lexer.token()) {
            (Next::AfterValue, token) => match (open.last(), token) {
                (None, Token::End) => return Ok(()),
                (None, _) => return Err(lexer.unexpected(Expected::End)),
                (Some(Enclosing::Array), Token::Comma) => Next::Value,
                (Some(Enclosing::Object), Token::Comma) => Next::Key,
                (Some(Enclosing::Array), Token::ArrayEnd) => {
                    visitor.end_array();
                    open.pop();
                    Next::AfterValue
                }
                (Some(Enclosing::Object), Token::ObjectEnd) => {
                    visitor.end_object();
                    open.pop();
                    Next::AfterValue
                }
                (Some(Enclosing::Array), _) => return Err(lexer.unexpected(Expected::ArrayNext)),
                (Some(Enclosing::Object), _) => return Err(lexer.unexpected(Expected::ObjectNext)),
            },
            (Next::ValueOrArrayEnd, Token::ArrayEnd) => {
                visitor.end_array();
                open.pop();
                Next::AfterValue
            }
            (Next::KeyOrObjectEnd, Token::ObjectEnd) => {
                visitor.end_object();
                open.pop();
                Next::AfterValue
            }
            (Next::Key | Next::KeyOrObjectEnd, Token::String) => {
                visitor.key(lexer.string());
                lexer.advance()?;
                if lexer.token() != Token::Colon {
                    return Err(lexer.unexpected(Expected::Colon));
                }
                Next::Value
            }
            (Next::Key, _) => return Err(lexer.unexpected(Expected::String)),
            (Next::KeyOrObjectEnd, _) => return Err(lexer.unexpected(Expected::ObjectFirst)),
            (Next::Value | Next::ValueOrArrayEnd, _) => {
                begin_value(&lexer, visitor, &mut open, &mut refused)?
            }
        };
        lexer.advance()?;
        std::mem::replace(&mut refused, Ok(()))?;
    }
}

/// A number that the visitor refuses is told only if the token after it is one.
fn begin_value(
    lexer: &Lexer<'_>,
    visitor: &mut impl Visitor,
    open: &mut Vec<Enclosing>,
    refused: &mut SqlResult<()>,
) -> SqlResult<Next> {
    match lexer.token() {
        Token::String => visitor.string(lexer.string()),
        Token::Number => *refused = visitor.number(lexer.token_text()),
        Token::True => visitor.word("true"),
        Token::False => visitor.word("false"),
        Token::Null => visitor.word("null"),
        Token::ObjectStart | Token::ArrayStart if open.len() == DEPTH_MAX => {
            return Err(SqlError::new(sqlstate::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded"));
        }
        Token::ObjectStart => {
            visitor.begin_object();
            open.push(Enclosing::Object);
            return Ok(Next::KeyOrObjectEnd);
        }
        Token::ArrayStart => {
            visitor.begin_array();
            open.push(Enclosing::Array);
            return Ok(Next::ValueOrArrayEnd);
        }
        Token::ObjectEnd | Token::ArrayEnd | Token::Comma | Token::Colon | Token::End => {
            return Err(lexer.unexpected(Expected::Value));
        }
    }
    Ok(Next::AfterValue)
}
