//! Conditions on texts: tokens, LIKE, regular expressions.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Scalar, StringArray, StringViewArray};
use arrow::compute::kernels::comparison::{ilike, like};
use arrow::compute::{cast, not};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use regex::Regex;

use crate::tokens::{Token, TokenHash, required};

/// Whether upper and lower case are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Case {
    /// They are.
    Kept,
    /// They are not.
    Ignored,
}

/// What is asked of a text.
#[derive(Clone, Debug)]
pub struct TextCondition {
    matcher: Arc<Matcher>,
    /// Tokens that every text has of which it holds.
    required: Arc<[TokenHash]>,
}

#[derive(Debug)]
enum Matcher {
    Token(Token),
    Like { pattern: String, case: Case },
    Regex { pattern: String, case: Case, compiled: Regex },
}

impl TextCondition {
    /// The text has the token.
    pub fn contains_token(token: Token) -> TextCondition {
        let required = required::of_text(token.as_str());
        TextCondition::new(Matcher::Token(token), required)
    }

    /// The text is like the pattern, whose escape character is the backslash.
    pub fn like(pattern: &str, case: Case) -> TextCondition {
        let required = required::of_like(pattern, case);
        TextCondition::new(Matcher::Like { pattern: pattern.to_owned(), case }, required)
    }

    /// The regular expression is found in the text; none when it is not one.
    pub fn regex(pattern: &str, case: Case) -> Option<TextCondition> {
        let whole = match case {
            Case::Kept => pattern.to_owned(),
            Case::Ignored => format!("(?i){pattern}"),
        };
        let compiled = Regex::new(&whole).ok()?;
        let required = required::of_regex(&regex_syntax::parse(&whole).ok()?);
        let pattern = pattern.to_owned();
        Some(TextCondition::new(Matcher::Regex { pattern, case, compiled }, required))
    }

    fn new(matcher: Matcher, required: Vec<TokenHash>) -> TextCondition {
        TextCondition { matcher: Arc::new(matcher), required: required.into() }
    }

    pub(crate) fn required(&self) -> &[TokenHash] {
        &self.required
    }

    /// The condition, or its opposite, as text.
    pub(crate) fn describe(&self, column: &str, wanted: bool) -> String {
        let negated = |operator: &str| if wanted { operator.to_owned() } else { format!("NOT {operator}") };
        match self.matcher.as_ref() {
            Matcher::Token(token) => negated(&format!("contains_token({column}, {})", token.as_str())),
            Matcher::Like { pattern, case } => {
                let operator = if *case == Case::Kept { "LIKE" } else { "ILIKE" };
                format!("{column} {} {pattern}", negated(operator))
            }
            Matcher::Regex { pattern, case, .. } => {
                let negation = if wanted { "" } else { "!" };
                let operator = if *case == Case::Kept { "~" } else { "~*" };
                format!("{column} {negation}{operator} {pattern}")
            }
        }
    }

    /// Of which texts the condition holds, or its opposite where it is not `wanted`.
    pub(crate) fn evaluate(&self, array: &ArrayRef, wanted: bool) -> Result<BooleanArray, ArrowError> {
        if matches!(array.data_type(), DataType::Dictionary(..)) {
            return self.evaluate(&cast(array, &DataType::Utf8)?, wanted);
        }
        let held = match self.matcher.as_ref() {
            Matcher::Token(token) => each_text(array, |text| token.is_in(text))?,
            Matcher::Regex { compiled, .. } => each_text(array, |text| compiled.is_match(text))?,
            Matcher::Like { pattern, case } => {
                let pattern: ArrayRef = match array.data_type() {
                    DataType::Utf8 => Arc::new(StringArray::from(vec![pattern.as_str()])),
                    _ => Arc::new(StringViewArray::from(vec![pattern.as_str()])),
                };
                let pattern = Scalar::new(pattern);
                match case {
                    Case::Kept => like(array, &pattern)?,
                    Case::Ignored => ilike(array, &pattern)?,
                }
            }
        };
        if wanted { Ok(held) } else { not(&held) }
    }
}

fn each_text(array: &ArrayRef, holds: impl Fn(&str) -> bool) -> Result<BooleanArray, ArrowError> {
    match array.data_type() {
        DataType::Utf8View => Ok(BooleanArray::from_unary(array.as_string_view(), holds)),
        DataType::Utf8 => Ok(BooleanArray::from_unary(array.as_string::<i32>(), holds)),
        other => Err(ArrowError::InvalidArgumentError(format!("a text was expected, not {other}"))),
    }
}
