//! Forms that the parser does not know or takes apart otherwise: they are spelled in forms that it knows,
//! in the tokens before ([`tokens`]) and in the statement after ([`statement`]).
//!
//! | form | becomes |
//! | --- | --- |
//! | `x BETWEEN SYMMETRIC a AND b` | `x BETWEEN a AND b OR x BETWEEN b AND a` |
//! | `trim(TRAILING FROM x)` | `trim(TRAILING x)` |
//! | `(a, b) OVERLAPS (c, d)` | `overlaps(a, b, c, d)` |
//! | `make_interval(days => 3)` | `make_interval(0, 0, 0, 3, 0, 0, 0)` |
//! | `ROW(a, b)` beside an operator | `(a, b)` |

use std::ops::ControlFlow;

use sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
    ObjectNamePart, Statement, UnaryOperator, Value, VisitMut, VisitorMut,
};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::sql::names;

/// The arguments of `make_interval`.
const INTERVAL_ARGUMENTS: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];

/// Words by which a statement says that it may have such a form.
const WORDS: [&str; 4] = ["symmetric", "overlaps", "make_interval", "row"];

/// The operator that marks the first bound of BETWEEN SYMMETRIC. No value has two of them.
const MARK: UnaryOperator = UnaryOperator::PGCubeRoot;

fn is_word(token: &TokenWithSpan, wanted: &str) -> bool {
    match &token.token {
        Token::Word(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted),
        _ => false,
    }
}

/// Spells tokens otherwise; whether the statement has to be looked at too.
pub fn tokens(tokens: &mut Vec<TokenWithSpan>) -> bool {
    let told: Vec<usize> =
        (0..tokens.len()).filter(|at| !matches!(tokens[*at].token, Token::Whitespace(_))).collect();
    let mut needs_visit = false;
    let mut marks = Vec::new();
    for (place, at) in told.iter().copied().enumerate() {
        needs_visit = needs_visit || WORDS.iter().any(|word| is_word(&tokens[at], word));
        let before = |distance: usize| place.checked_sub(distance).map(|place| &tokens[told[place]]);
        let follows = |distance: usize, word: &str| before(distance).is_some_and(|it| is_word(it, word));
        if follows(1, "between") && (is_word(&tokens[at], "symmetric") || is_word(&tokens[at], "asymmetric"))
        {
            marks.push((at, is_word(&tokens[at], "symmetric")));
        }
        let is_side = ["both", "leading", "trailing"].iter().any(|side| follows(1, side));
        let opens = |distance: usize| before(distance).is_some_and(|it| it.token == Token::LParen);
        if is_word(&tokens[at], "from")
            && ((is_side && opens(2) && follows(3, "trim")) || (opens(1) && follows(2, "trim")))
        {
            tokens[at].token = Token::Whitespace(sqlparser::tokenizer::Whitespace::Space);
        }
    }
    for (at, is_symmetric) in marks.into_iter().rev() {
        let span = tokens[at].span;
        if is_symmetric {
            let mark = || TokenWithSpan { token: Token::PGCubeRoot, span };
            tokens.splice(at..=at, [mark(), mark()]);
        } else {
            tokens.remove(at);
        }
    }
    needs_visit
}

/// Spells a statement otherwise.
pub fn statement(statement: &mut Statement) {
    let visited = VisitMut::visit(statement, &mut Speller);
    debug_assert!(visited.is_continue(), "this visitor never breaks");
}

struct Speller;

impl VisitorMut for Speller {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let old = std::mem::replace(expr, Expr::Value(Value::Null.into()));
        *expr = spelled(old);
        ControlFlow::Continue(())
    }
}

fn spelled(expr: Expr) -> Expr {
    match expr {
        Expr::Between { expr, negated, mut low, high } => {
            if !unmarked(&mut low) {
                return Expr::Between { expr, negated, low, high };
            }
            let between = |low: &Expr, high: &Expr| Expr::Between {
                expr: expr.clone(),
                negated,
                low: Box::new(low.clone()),
                high: Box::new(high.clone()),
            };
            let op = if negated { BinaryOperator::And } else { BinaryOperator::Or };
            Expr::Nested(Box::new(Expr::BinaryOp {
                left: Box::new(between(&low, &high)),
                op,
                right: Box::new(between(&high, &low)),
            }))
        }
        Expr::BinaryOp { left, op: BinaryOperator::Overlaps, right } => match (*left, *right) {
            (Expr::Tuple(left), Expr::Tuple(right)) if left.len() == 2 && right.len() == 2 => {
                call("overlaps", left.into_iter().chain(right).collect())
            }
            (left, right) => {
                let (left, right) = (Box::new(left), Box::new(right));
                Expr::BinaryOp { left, op: BinaryOperator::Overlaps, right }
            }
        },
        Expr::Function(function) => match called(&function).as_deref() {
            Some("make_interval") => interval(function),
            Some("row") => match arguments(&function) {
                Some(fields) if !fields.is_empty() => Expr::Tuple(fields),
                _ => Expr::Function(function),
            },
            _ => Expr::Function(function),
        },
        other => other,
    }
}

/// Takes the marks off the operand that stands first in an expression; whether there were some.
fn unmarked(expr: &mut Expr) -> bool {
    match expr {
        Expr::UnaryOp { op, expr: inner } if *op == MARK => match inner.as_mut() {
            Expr::UnaryOp { op, expr: operand } if *op == MARK => {
                let operand = std::mem::replace(operand.as_mut(), Expr::Value(Value::Null.into()));
                *expr = operand;
                true
            }
            _ => false,
        },
        Expr::BinaryOp { left, .. } => unmarked(left),
        Expr::Cast { expr: inner, .. }
        | Expr::Collate { expr: inner, .. }
        | Expr::AtTimeZone { timestamp: inner, .. } => unmarked(inner),
        Expr::CompoundFieldAccess { root, .. } => unmarked(root),
        _ => false,
    }
}

fn called(function: &Function) -> Option<String> {
    let mut parts = names::parts(&function.name).ok()?;
    let name = parts.pop()?;
    parts.iter().all(|part| part == "pg_catalog").then_some(name)
}

fn arguments(function: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let argument = |arg: &FunctionArg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    list.args.iter().map(argument).collect()
}

fn call(name: &str, args: Vec<Expr>) -> Expr {
    crate::plan::rewrite::forms::call(name, args)
}

/// Arguments by name, and those that are left away, in their places.
fn interval(mut function: Function) -> Expr {
    let FunctionArguments::List(list) = &mut function.args else { return Expr::Function(function) };
    let mut fields: Vec<Option<Expr>> = vec![None; INTERVAL_ARGUMENTS.len()];
    for (at, arg) in list.args.iter().enumerate() {
        let (place, expr) = match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => (Some(at), expr),
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => {
                let name = names::fold(name);
                (INTERVAL_ARGUMENTS.iter().position(|it| *it == name), expr)
            }
            FunctionArg::ExprNamed {
                name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(expr), ..
            } => {
                let name = names::fold(name);
                (INTERVAL_ARGUMENTS.iter().position(|it| *it == name), expr)
            }
            _ => return Expr::Function(function),
        };
        match place.and_then(|place| fields.get_mut(place)) {
            Some(field) => *field = Some(expr.clone()),
            None => return Expr::Function(function),
        }
    }
    let zero = || Expr::Value(Value::Number("0".to_owned(), false).into());
    let positional = fields.into_iter().map(|field| field.unwrap_or_else(zero));
    list.args = positional.map(|expr| FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))).collect();
    function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new("make_interval"))]);
    Expr::Function(function)
}
