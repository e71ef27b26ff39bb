//! Definitions that the parser does not know, spelled in tokens that it knows.
//!
//! | form | becomes |
//! | --- | --- |
//! | `CREATE TIMESERIES t (…) WITH (…)` | `CREATE TABLE t (…) WITH (kind = 'timeseries', …)` |
//! | `ALTER TABLE t RESET (a, b)` | `ALTER TABLE t SET (a = NULL, b = NULL)` |
//! | `ALTER TABLE t SET SCHEMA s` | `ALTER TABLE t SET (schema = s)` |
//!
//! The words that are put in carry a mark that nobody can write, so that what was said is not mixed up
//! with what it became.

use sqlparser::ast::Ident;
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// What words that are put in are quoted by; PostgreSQL has no such quotes.
const MARK: char = '`';

/// The option that stands for SET SCHEMA.
const SCHEMA: &str = "schema";

/// The option that CREATE TIMESERIES implies.
const KIND: &str = "kind";

/// What a key of an option says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionKey {
    /// The option of this name is set.
    Set(String),
    /// The option of this name is as if it had never been set.
    Reset(String),
    /// The relation goes to another namespace.
    Schema,
    /// CREATE TIMESERIES.
    ImpliedKind,
}

/// Reads the key of an option.
pub fn option_key(key: &Ident) -> OptionKey {
    match (key.quote_style, key.value.as_str()) {
        (Some(MARK), SCHEMA) => OptionKey::Schema,
        (Some(MARK), KIND) => OptionKey::ImpliedKind,
        (Some(MARK), name) => OptionKey::Reset(name.strip_prefix(MARK).unwrap_or(name).to_owned()),
        _ => OptionKey::Set(crate::sql::names::fold(key)),
    }
}

/// Spells tokens otherwise, statement by statement.
pub fn tokens(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let has = |wanted: &str| tokens.iter().any(|token| is_word(token, wanted));
    if !(has("timeseries") || has("alter")) {
        return tokens;
    }
    let ends = |token: &TokenWithSpan| token.token == Token::SemiColon;
    tokens.split_inclusive(ends).flat_map(|statement| spelled(statement.to_vec())).collect()
}

fn spelled(statement: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let told = told(&statement);
    let starts_with = |words: &[&str]| {
        let mut pairs = words.iter().enumerate();
        pairs.all(|(at, word)| told.get(at).is_some_and(|token| is_word(&statement[*token], word)))
    };
    if starts_with(&["create", "timeseries"]) {
        return create(statement, &told);
    }
    if starts_with(&["alter", "table"]) {
        return alter(statement);
    }
    statement
}

/// The places of the tokens that are not between others.
fn told(statement: &[TokenWithSpan]) -> Vec<usize> {
    (0..statement.len()).filter(|at| !matches!(statement[*at].token, Token::Whitespace(_))).collect()
}

fn is_word(token: &TokenWithSpan, wanted: &str) -> bool {
    match &token.token {
        Token::Word(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted),
        _ => false,
    }
}

fn create(mut statement: Vec<TokenWithSpan>, told: &[usize]) -> Vec<TokenWithSpan> {
    statement[told[1]].token = Token::make_keyword("TABLE");
    let implied = || {
        let kind = Token::make_word(KIND, Some(MARK));
        vec![kind, Token::Eq, Token::SingleQuotedString("timeseries".to_owned())]
    };
    let after = after_columns(&statement, told);
    let token = |place: usize| told.get(place).map(|at| &statement[*at]);
    let has_options = token(after).is_some_and(|it| is_word(it, "with"))
        && token(after + 1).is_some_and(|it| it.token == Token::LParen);
    let (at, put_in) = if has_options {
        let more = token(after + 2).is_some_and(|it| it.token != Token::RParen);
        let comma = more.then_some(Token::Comma);
        (told[after + 1] + 1, implied().into_iter().chain(comma).collect::<Vec<_>>())
    } else {
        let with = [Token::make_keyword("WITH"), Token::LParen];
        let put_in = with.into_iter().chain(implied()).chain([Token::RParen]);
        (told.get(after).copied().unwrap_or(statement.len()), put_in.collect())
    };
    insert(&mut statement, at, put_in);
    statement
}

/// The place among the told tokens after the list of columns, or where one would be.
fn after_columns(statement: &[TokenWithSpan], told: &[usize]) -> usize {
    let mut depth = 0_usize;
    for (place, at) in told.iter().enumerate() {
        match &statement[*at].token {
            Token::LParen => depth += 1,
            Token::RParen => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return place + 1;
                }
            }
            Token::SemiColon | Token::EOF => return place,
            _ if depth == 0 && (is_word(&statement[*at], "with") || is_word(&statement[*at], "as")) => {
                return place;
            }
            _ => {}
        }
    }
    told.len()
}

fn alter(mut statement: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut place = 0;
    loop {
        let told = told(&statement);
        if place >= told.len() {
            return statement;
        }
        let depth = told[..place].iter().fold(0_i32, |depth, at| match statement[*at].token {
            Token::LParen => depth + 1,
            Token::RParen => depth - 1,
            _ => depth,
        });
        let token = |distance: usize| told.get(place + distance).map(|at| &statement[*at]);
        let is = |distance: usize, word: &str| token(distance).is_some_and(|token| is_word(token, word));
        let is_name = |distance| matches!(token(distance).map(|it| &it.token), Some(Token::Word(_)));
        if depth == 0 && is(0, "reset") && token(1).is_some_and(|it| it.token == Token::LParen) {
            reset(&mut statement, &told[place..]);
        } else if depth == 0 && is(0, "set") && is(1, "schema") && is_name(2) {
            let (schema, name) = (told[place + 1], told[place + 2]);
            insert(&mut statement, name + 1, vec![Token::RParen]);
            statement[schema].token = Token::LParen;
            insert(&mut statement, schema + 1, vec![Token::make_word(SCHEMA, Some(MARK)), Token::Eq]);
        }
        place += 1;
    }
}

/// The names between the parentheses become keys whose values say nothing.
fn reset(statement: &mut Vec<TokenWithSpan>, told: &[usize]) {
    statement[told[0]].token = Token::make_keyword("SET");
    let list = told[2..].iter().copied().take_while(|at| statement[*at].token != Token::RParen);
    let names: Vec<usize> = list.filter(|at| matches!(statement[*at].token, Token::Word(_))).collect();
    for at in names.into_iter().rev() {
        if let Token::Word(word) = &statement[at].token {
            // Marked twice: a name may be one of the words that are put in.
            let folded = match word.quote_style {
                Some(_) => word.value.clone(),
                None => word.value.to_lowercase(),
            };
            statement[at].token = Token::make_word(&format!("{MARK}{folded}"), Some(MARK));
        }
        insert(statement, at + 1, vec![Token::Eq, Token::make_keyword("NULL")]);
    }
}

/// Puts tokens in, which are where the one before them is.
fn insert(statement: &mut Vec<TokenWithSpan>, at: usize, tokens: Vec<Token>) {
    let span = statement[at.saturating_sub(1)].span;
    statement.splice(at..at, tokens.into_iter().map(|token| TokenWithSpan { token, span }));
}

#[cfg(test)]
mod tests {
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::tokenizer::Tokenizer;

    use super::*;

    fn spelled(text: &str) -> String {
        let told = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().unwrap();
        let written = tokens(told).into_iter().map(|it| it.token.to_string());
        written.collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_the_parser_does_not_know_becomes_what_it_knows() {
        let cases = [
            (
                "create timeseries if not exists t (ts timestamptz, v numeric(3, 1));select 1",
                "create TABLE if not exists t (ts timestamptz, v numeric(3, 1))WITH(`kind`='timeseries');select 1",
            ),
            (
                "create timeseries t (a int) with (time_key = 'a')",
                "create TABLE t (a int) with (`kind`='timeseries',time_key = 'a')",
            ),
            (
                "create timeseries t with () as select with_it from u",
                "create TABLE t with (`kind`='timeseries') as select with_it from u",
            ),
            ("create timeseries t as select 1", "create TABLE t WITH(`kind`='timeseries')as select 1"),
            ("alter table t reset (ttl, \"A\")", "alter table t SET (``ttl`=NULL, ``A`=NULL)"),
            ("alter table t set schema s, reset (ttl)", "alter table t set (`schema`= s), SET (``ttl`=NULL)"),
        ];
        for (text, wanted) in cases {
            assert_eq!(spelled(text), wanted, "{text}");
        }
        let unchanged = [
            "create table timeseries (timeseries int)",
            "select reset (1), timeseries from alter",
            "alter table reset add column set int, alter column schema set default (reset (1))",
            "alter table t set (ttl = '1 day')",
        ];
        for text in unchanged {
            assert_eq!(spelled(text), text);
        }
    }

    #[test]
    fn marks_tell_what_was_said() {
        let marked = |value: &str| Ident::with_quote(MARK, value);
        assert_eq!(option_key(&marked(KIND)), OptionKey::ImpliedKind);
        assert_eq!(option_key(&marked("`kind")), OptionKey::Reset("kind".to_owned()));
        assert_eq!(option_key(&Ident::new("Kind")), OptionKey::Set("kind".to_owned()));
    }
}
