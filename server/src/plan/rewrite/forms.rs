//! Forms of expressions that DataFusion has not, or reads otherwise than PostgreSQL.

use std::ops::ControlFlow;

use sqlparser::ast::{
    self, AccessExpr, BinaryOperator, CastKind, DataType as SqlType, Expr, Function, FunctionArg,
    FunctionArgExpr, FunctionArgumentList, FunctionArguments, GroupByExpr, Ident, ObjectName, ObjectNamePart,
    Query, SelectItem, SetExpr, Subscript, UnaryOperator, Value, Visit, Visitor,
};
use tidemark_catalog::types::ColumnType;

use crate::error::{SqlError, SqlResult};
use crate::plan::rewrite::{aggregates, constants};
use crate::sql::functions::cast::function_name;
use crate::sql::names;
use crate::sql::tuples;
use crate::sql::types::column_type;

/// Rewrites an expression whose parts are rewritten already.
///
/// # Errors
/// A type in it does not exist, or its form is not supported.
pub fn rewrite(expr: &mut Expr) -> SqlResult<()> {
    let old = std::mem::replace(expr, null());
    *expr = rewritten(old)?;
    Ok(())
}

fn rewritten(expr: Expr) -> SqlResult<Expr> {
    Ok(match expr {
        Expr::Value(ref value) => match &value.value {
            Value::Number(digits, _) => constants::number(digits, false),
            Value::UnicodeStringLiteral(text) => constants::string(text),
            _ => expr,
        },
        Expr::Interval(interval) => constants::interval(&interval)?,
        Expr::UnaryOp { op: UnaryOperator::Minus, expr: inner } => negative(*inner),
        Expr::UnaryOp { op: UnaryOperator::PGSquareRoot, expr: inner } => call("sqrt", vec![*inner]),
        Expr::UnaryOp { op: UnaryOperator::PGCubeRoot, expr: inner } => call("cbrt", vec![*inner]),
        Expr::UnaryOp { op: UnaryOperator::PGAbs, expr: inner } => call("abs", vec![*inner]),
        Expr::UnaryOp { op: UnaryOperator::BitwiseNot, expr: inner } => {
            // All bits but those that are set.
            binary(*inner, BinaryOperator::PGBitwiseXor, constants::number("1", true))
        }
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr: inner, data_type, .. } => {
            cast(*inner, &data_type)?
        }
        Expr::TypedString(typed) => cast(Expr::Value(typed.value), &typed.data_type)?,
        Expr::Between { expr, negated, low, high } => between(*expr, negated, *low, *high),
        Expr::BinaryOp { left, op, right } => operator(*left, op, *right)?,
        Expr::IsNull(inner) if tuples::columns(&inner).is_some() => {
            tuples::all_null(tuples::columns(&inner).unwrap_or_default(), true)?
        }
        Expr::IsNotNull(inner) if tuples::columns(&inner).is_some() => {
            tuples::all_null(tuples::columns(&inner).unwrap_or_default(), false)?
        }
        Expr::InSubquery { expr, .. } if matches!(expr.as_ref(), Expr::Tuple(_)) => {
            return Err(SqlError::unsupported("a row IN a subquery"));
        }
        Expr::InList { expr, list, negated } => in_list(*expr, list, negated)?,
        Expr::AnyOp { left, compare_op, right, .. } => quantified("any", *left, compare_op, *right)?,
        Expr::AllOp { left, compare_op, right } => quantified("all", *left, compare_op, *right)?,
        Expr::Collate { expr: inner, .. } => {
            // There is one collation, that of bytes.
            *inner
        }
        Expr::Extract { field, expr: inner, .. } => {
            let field = field.to_string().trim_matches('"').to_lowercase();
            call("extract", vec![constants::string(&field), *inner])
        }
        Expr::AtTimeZone { timestamp, time_zone } => call("timezone", vec![*time_zone, *timestamp]),
        Expr::Ceil { expr: inner, field: ast::CeilFloorKind::DateTimeField(_) } => call("ceil", vec![*inner]),
        Expr::Floor { expr: inner, field: ast::CeilFloorKind::DateTimeField(_) } => {
            call("floor", vec![*inner])
        }
        Expr::Like { negated, any: false, expr, pattern, escape_char: Some(escape) } => Expr::Like {
            negated,
            any: false,
            expr,
            pattern: Box::new(call("like_escape", vec![*pattern, Expr::Value(escape)])),
            escape_char: None,
        },
        Expr::ILike { negated, any: false, expr, pattern, escape_char: Some(escape) } => Expr::ILike {
            negated,
            any: false,
            expr,
            pattern: Box::new(call("like_escape", vec![*pattern, Expr::Value(escape)])),
            escape_char: None,
        },
        Expr::SimilarTo { negated, expr, pattern, escape_char } => {
            let mut args = vec![*pattern];
            args.extend(escape_char.map(Expr::Value));
            let pattern = call("similar_to_escape", args);
            let op = if negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch };
            binary(*expr, op, pattern)
        }
        Expr::CompoundFieldAccess { root, access_chain } => subscripted(*root, access_chain),
        Expr::Function(function) => rewritten_function(function)?,
        other => other,
    })
}

/// Subscripts as calls; what also has fields is left as it is.
fn subscripted(root: Expr, chain: Vec<AccessExpr>) -> Expr {
    let mut names: Vec<Ident> = match &root {
        Expr::Identifier(ident) => vec![ident.clone()],
        _ => Vec::new(),
    };
    let dots =
        chain.iter().take_while(|access| matches!(access, AccessExpr::Dot(Expr::Identifier(_)))).count();
    if !names.is_empty() {
        names.extend(chain[..dots].iter().filter_map(|access| match access {
            AccessExpr::Dot(Expr::Identifier(ident)) => Some(ident.clone()),
            _ => None,
        }));
    }
    let rest = if names.is_empty() { &chain[..] } else { &chain[dots..] };
    let array = if names.len() > 1 { Expr::CompoundIdentifier(names) } else { root.clone() };
    let indexes = rest.iter().map(|access| match access {
        AccessExpr::Subscript(Subscript::Index { index }) => Some(index.clone()),
        _ => None,
    });
    if let Some(indexes) = indexes.collect::<Option<Vec<_>>>()
        && !indexes.is_empty()
    {
        return call("#element", std::iter::once(array).chain(indexes).collect());
    }
    if let [AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride: None })] = rest {
        return match (lower_bound.clone(), upper_bound.clone()) {
            (Some(lower), Some(upper)) => call("#slice", vec![array, lower, upper]),
            (Some(lower), None) => call("#slice_from", vec![array, lower]),
            (None, Some(upper)) => call("#slice_to", vec![array, upper]),
            (None, None) => call("#slice_all", vec![array]),
        };
    }
    Expr::CompoundFieldAccess { root: Box::new(root), access_chain: chain }
}

fn null() -> Expr {
    Expr::Value(Value::Null.into())
}

/// An operation.
pub fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// In parentheses.
pub fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}

fn not(expr: Expr) -> Expr {
    Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(nested(expr)) }
}

/// A constant with its sign is one constant.
fn negative(inner: Expr) -> Expr {
    let mut plain = inner.clone();
    constants::restore(&mut plain);
    match constants::digits(&plain) {
        Some(digits) => constants::number(digits, true),
        None => match unsigned_big(&inner) {
            Some(digits) => constants::number(&digits, true),
            None => Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(inner) },
        },
    }
}

/// The digits of an integer that is too large for `bigint`.
fn unsigned_big(expr: &Expr) -> Option<String> {
    let Expr::Function(function) = expr else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    match (function.name.to_string().trim_matches('"'), list.args.as_slice()) {
        ("::numeric(76,0)", [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))]) => {
            match &value.value {
                Value::SingleQuotedString(digits) if !digits.starts_with('-') => Some(digits.clone()),
                _ => None,
            }
        }
        _ => None,
    }
}

fn between(expr: Expr, negated: bool, low: Expr, high: Expr) -> Expr {
    let (expr, low, high) = (nested(expr), nested(low), nested(high));
    let (below, above, op) = match negated {
        false => (BinaryOperator::GtEq, BinaryOperator::LtEq, BinaryOperator::And),
        true => (BinaryOperator::Lt, BinaryOperator::Gt, BinaryOperator::Or),
    };
    nested(binary(binary(expr.clone(), below, low), op, binary(expr, above, high)))
}

fn is_subquery(expr: &Expr) -> bool {
    match expr {
        Expr::Subquery(_) => true,
        Expr::Nested(inner) => is_subquery(inner),
        _ => false,
    }
}

fn unparenthesized(expr: Expr) -> Expr {
    match expr {
        Expr::Nested(inner) => unparenthesized(*inner),
        other => other,
    }
}

/// `x op ANY (array)` and `x op ALL (array)`; over a query it is IN or NOT IN.
fn quantified(quantifier: &str, left: Expr, op: BinaryOperator, right: Expr) -> SqlResult<Expr> {
    let right = unparenthesized(right);
    if !is_subquery(&right) {
        let name = constants::string(&format!("{quantifier} {op}"));
        return Ok(call("any_all", vec![name, left, right]));
    }
    let negated = match (quantifier, &op) {
        ("any", BinaryOperator::Eq) => false,
        ("all", BinaryOperator::NotEq) => true,
        _ => {
            let what = format!("{op} {} with a subquery", quantifier.to_uppercase());
            return Err(SqlError::unsupported(what));
        }
    };
    match right {
        Expr::Subquery(subquery) => Ok(Expr::InSubquery { expr: Box::new(left), subquery, negated }),
        other => Err(SqlError::unsupported(format!("ANY of {other}"))),
    }
}

fn operator(left: Expr, op: BinaryOperator, right: Expr) -> SqlResult<Expr> {
    match (left, right) {
        (Expr::Tuple(left), Expr::Tuple(right)) if tuples::is_comparison(&op) => {
            tuples::compared(&left, &op, &right)
        }
        (left, right) if matches!(op, BinaryOperator::PGExp) => Ok(call("power", vec![left, right])),
        (left, right) => match op {
            // DataFusion does not know these, which only jsonb has.
            BinaryOperator::QuestionPipe => Ok(call("jsonb_exists_any", vec![left, right])),
            BinaryOperator::QuestionAnd => Ok(call("jsonb_exists_all", vec![left, right])),
            BinaryOperator::HashMinus => Ok(call("jsonb_delete_path", vec![left, right])),
            BinaryOperator::PGCustomBinaryOperator(parts) => match parts.last().map(String::as_str) {
                Some(symbol) => custom_operator(left, symbol, right),
                None => Err(SqlError::unsupported("OPERATOR without a name")),
            },
            op => Ok(binary(left, op, right)),
        },
    }
}

/// `OPERATOR(pg_catalog.=)`
fn custom_operator(left: Expr, symbol: &str, right: Expr) -> SqlResult<Expr> {
    let op = match symbol {
        "=" => BinaryOperator::Eq,
        "<>" | "!=" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        "%" => BinaryOperator::Modulo,
        "||" => BinaryOperator::StringConcat,
        "~" => BinaryOperator::PGRegexMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        other => return Err(SqlError::unsupported(format!("OPERATOR({other})"))),
    };
    Ok(binary(left, op, right))
}

fn in_list(expr: Expr, list: Vec<Expr>, negated: bool) -> SqlResult<Expr> {
    let Expr::Tuple(left) = &expr else {
        return Ok(Expr::InList { expr: Box::new(expr), list, negated });
    };
    let mut any: Option<Expr> = None;
    for item in list {
        let Expr::Tuple(right) = item else {
            return Err(SqlError::unsupported("a row IN a list of anything but rows"));
        };
        let equal = tuples::compared(left, &BinaryOperator::Eq, &right)?;
        any = Some(match any {
            None => equal,
            Some(any) => binary(any, BinaryOperator::Or, equal),
        });
    }
    let any = nested(any.ok_or_else(|| SqlError::internal("a list has items"))?);
    Ok(if negated { not(any) } else { any })
}

/// A call of a function.
pub fn call(name: &str, args: Vec<Expr>) -> Expr {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)));
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList {
            duplicate_treatment: None,
            args: args.collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// A cast as a function that follows PostgreSQL's rules.
fn cast(inner: Expr, data_type: &SqlType) -> SqlResult<Expr> {
    let column_type = column_type(data_type)?;
    // A parameter that is cast has the type it is cast to: nothing is left to be done.
    if let Expr::Value(value) = &inner
        && let Value::Placeholder(_) = value.value
    {
        return Ok(plain_cast(inner, data_type.clone()));
    }
    let inner = match column_type {
        ColumnType::Numeric(None) => constants::exact(inner),
        _ => inner,
    };
    Ok(call(&function_name(&column_type), vec![inner]))
}

fn plain_cast(inner: Expr, data_type: SqlType) -> Expr {
    Expr::Cast { kind: CastKind::DoubleColon, expr: Box::new(inner), data_type, array: false, format: None }
}

fn rewritten_function(mut function: Function) -> SqlResult<Expr> {
    let Ok(mut parts) = names::parts(&function.name) else { return Ok(Expr::Function(function)) };
    let qualified = parts.len() == 2 && parts[0] == "pg_catalog";
    if qualified {
        parts.remove(0);
    }
    let [name] = parts.as_slice() else { return Ok(Expr::Function(function)) };
    if let Some(rewritten) = aggregates::rewritten(&function, name)? {
        return Ok(rewritten);
    }
    if name == "mod"
        && let Some([left, right]) = unnamed(&function)
    {
        return Ok(nested(binary(nested(left), BinaryOperator::Modulo, nested(right))));
    }
    if matches!(name.as_str(), "first" | "last")
        && let Some([value, time]) = unnamed(&function)
    {
        return first_or_last(function.clone(), name == "first", value, time);
    }
    let known = match name.as_str() {
        "character_length" => Some("char_length"),
        "every" => Some("bool_and"),
        "variance" => Some("var_samp"),
        "transaction_timestamp" | "statement_timestamp" | "current_timestamp" => Some("now"),
        _ => None,
    };
    let counted = match name.as_str() {
        "row_number" | "rank" | "dense_rank" | "regr_count" => Some(SqlType::BigInt(None)),
        "ntile" | "regexp_count" => Some(SqlType::Integer(None)),
        _ => None,
    };
    if qualified || known.is_some() {
        let name = known.unwrap_or(name).to_owned();
        function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]);
    }
    // DataFusion counts in types that PostgreSQL has not.
    Ok(match counted {
        Some(data_type) => plain_cast(Expr::Function(function), data_type),
        None => Expr::Function(function),
    })
}

/// The arguments of a call that has nothing but arguments without names.
fn unnamed<const COUNT: usize>(function: &Function) -> Option<[Expr; COUNT]> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let args = list.args.iter().map(|arg| match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    });
    args.collect::<Option<Vec<Expr>>>()?.try_into().ok()
}

/// `first(value, time)`: the value of the row with the least time.
fn first_or_last(mut function: Function, is_first: bool, value: Expr, time: Expr) -> SqlResult<Expr> {
    if function.over.is_some() {
        return Err(SqlError::unsupported("first or last as a window function"));
    }
    let name = if is_first { "first_value" } else { "last_value" };
    function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]);
    let known = nested(Expr::IsNotNull(Box::new(nested(time.clone()))));
    function.filter = Some(Box::new(match function.filter.take() {
        Some(filter) => binary(nested(*filter), BinaryOperator::And, known),
        None => known,
    }));
    let order = ast::OrderByExpr {
        expr: time,
        options: ast::OrderByOptions { asc: None, nulls_first: None },
        with_fill: None,
    };
    function.args = FunctionArguments::List(FunctionArgumentList {
        duplicate_treatment: None,
        args: vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(value))],
        clauses: vec![ast::FunctionArgumentClause::OrderBy(vec![order])],
    });
    Ok(Expr::Function(function))
}

/// A string where a condition stands is a truth value.
pub fn read_as_condition(expr: &mut Expr) {
    if let Expr::Value(value) = expr
        && let Value::SingleQuotedString(_) = &value.value
    {
        let text = std::mem::replace(expr, null());
        *expr = call("::boolean", vec![text]);
    }
}

/// Whether a window function is called, outside of queries within.
pub fn has_window(expr: &Expr) -> bool {
    struct Windows(usize);
    impl Visitor for Windows {
        type Break = ();

        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.0 += 1;
            ControlFlow::Continue(())
        }

        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.0 -= 1;
            ControlFlow::Continue(())
        }

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(function) if self.0 == 0 && function.over.is_some() => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    expr.visit(&mut Windows(0)).is_break()
}

/// EXISTS as a value: DataFusion knows it only as a condition, but counts rows in either place.
pub fn count_instead(expr: &mut Expr) {
    let Expr::Exists { subquery, negated } = expr else { return };
    let SetExpr::Select(select) = subquery.body.as_mut() else { return };
    let is_plain = subquery.with.is_none()
        && subquery.limit_clause.is_none()
        && select.distinct.is_none()
        && select.having.is_none()
        && matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty());
    if !is_plain {
        return;
    }
    let mut count = call("count", Vec::new());
    if let Expr::Function(function) = &mut count
        && let FunctionArguments::List(list) = &mut function.args
    {
        list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Wildcard));
    }
    let op = if *negated { BinaryOperator::Eq } else { BinaryOperator::Gt };
    select.projection = vec![SelectItem::UnnamedExpr(binary(count, op, constants::integer("0")))];
    subquery.order_by = None;
    *expr = Expr::Subquery(subquery.clone());
}
