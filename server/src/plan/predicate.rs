//! Which conditions of a query the engine can take over: a column compared with a constant, one of
//! a list of constants, NULL or not; a text that has a token, is like a pattern, or has a match of a
//! regular expression.

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Like, Operator};
use tidemark_catalog::collection::Collection;
use tidemark_catalog::schema::Column;
use tidemark_catalog::types::ColumnType;
use tidemark_engine::read::predicate::{Comparison, Predicate};
use tidemark_engine::read::text::{Case, TextCondition};
use tidemark_engine::tokens::Token;
use tidemark_engine::types::read_type;

use crate::sql::functions::strings::CONTAINS_TOKEN;

/// A longer list is left to DataFusion, which hashes it.
const LIST_LEN_MAX: usize = 64;

/// The condition as the engine understands it; `None` when it does not.
pub fn to_predicate(expr: &Expr, collection: &Collection) -> Option<Predicate> {
    match expr {
        Expr::Like(like) => like_predicate(like, collection),
        Expr::ScalarFunction(call) if call.name() == CONTAINS_TOKEN => {
            let [column, token] = call.args.as_slice() else { return None };
            let condition = TextCondition::contains_token(Token::new(text_constant(token)?)?);
            let column = text_column(column, collection)?.id;
            Some(Predicate::Text { column, condition, wanted: true })
        }
        Expr::Not(inner) => match to_predicate(inner, collection)? {
            Predicate::Text { column, condition, wanted } => {
                Some(Predicate::Text { column, condition, wanted: !wanted })
            }
            _ => None,
        },
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            if let Some((case, wanted)) = regex_operator(*op) {
                let condition = TextCondition::regex(text_constant(right)?, case)?;
                let column = text_column(left, collection)?.id;
                return Some(Predicate::Text { column, condition, wanted });
            }
            if *op == Operator::Or {
                return one_of(to_predicate(left, collection)?, to_predicate(right, collection)?);
            }
            let comparison = comparison(*op)?;
            if let Some(column) = column_of(left, collection) {
                compare(column, comparison, constant(right)?)
            } else {
                compare(column_of(right, collection)?, flipped(comparison), constant(left)?)
            }
        }
        Expr::InList(InList { expr, list, negated: false }) if list.len() <= LIST_LEN_MAX => {
            let column = column_of(expr, collection)?;
            let values = list.iter().map(|item| value_of(column, constant(item)?));
            let values = values.collect::<Option<Vec<ArrayRef>>>()?;
            let values: Vec<_> = values.iter().map(AsRef::as_ref).collect();
            let values = datafusion::arrow::compute::concat(&values).ok()?;
            Some(Predicate::OneOf { column: column.id, values })
        }
        Expr::IsNull(inner) => {
            let column = column_of(inner, collection)?.id;
            Some(Predicate::IsNull { column, wanted: true })
        }
        Expr::IsNotNull(inner) => {
            let column = column_of(inner, collection)?.id;
            Some(Predicate::IsNull { column, wanted: false })
        }
        _ => None,
    }
}

/// A column that equals one value or another: so DataFusion writes short lists.
fn one_of(left: Predicate, right: Predicate) -> Option<Predicate> {
    let values = |predicate| match predicate {
        Predicate::Compare { column, comparison: Comparison::Equal, value: values }
        | Predicate::OneOf { column, values } => Some((column, values)),
        _ => None,
    };
    let ((column, left), (other, right)) = (values(left)?, values(right)?);
    if column != other || left.len() + right.len() > LIST_LEN_MAX {
        return None;
    }
    let values = datafusion::arrow::compute::concat(&[left.as_ref(), right.as_ref()]).ok()?;
    Some(Predicate::OneOf { column, values })
}

fn like_predicate(like: &Like, collection: &Collection) -> Option<Predicate> {
    if !matches!(like.escape_char, None | Some('\\')) {
        return None;
    }
    let case = if like.case_insensitive { Case::Ignored } else { Case::Kept };
    let condition = TextCondition::like(text_constant(&like.pattern)?, case);
    let column = text_column(&like.expr, collection)?.id;
    Some(Predicate::Text { column, condition, wanted: !like.negated })
}

/// What an operator of regular expressions asks for, and whether it asks for the opposite.
fn regex_operator(operator: Operator) -> Option<(Case, bool)> {
    Some(match operator {
        Operator::RegexMatch => (Case::Kept, true),
        Operator::RegexIMatch => (Case::Ignored, true),
        Operator::RegexNotMatch => (Case::Kept, false),
        Operator::RegexNotIMatch => (Case::Ignored, false),
        _ => return None,
    })
}

/// A column of texts.
fn text_column<'a>(expr: &Expr, collection: &'a Collection) -> Option<&'a Column> {
    let is_text_type =
        |it: &ColumnType| matches!(it, ColumnType::Text | ColumnType::Varchar(_) | ColumnType::Symbol);
    column_of(expr, collection).filter(|column| is_text_type(&column.column_type))
}

fn text_constant(expr: &Expr) -> Option<&str> {
    constant(expr)?.try_as_str().flatten()
}

fn compare(column: &Column, comparison: Comparison, value: &ScalarValue) -> Option<Predicate> {
    Some(Predicate::Compare { column: column.id, comparison, value: value_of(column, value)? })
}

fn comparison(operator: Operator) -> Option<Comparison> {
    Some(match operator {
        Operator::Eq => Comparison::Equal,
        Operator::NotEq => Comparison::NotEqual,
        Operator::Lt => Comparison::Less,
        Operator::LtEq => Comparison::LessOrEqual,
        Operator::Gt => Comparison::Greater,
        Operator::GtEq => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

/// The comparison with its sides exchanged.
fn flipped(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        same => same,
    }
}

fn column_of<'a>(expr: &Expr, collection: &'a Collection) -> Option<&'a Column> {
    let name = match expr {
        Expr::Column(column) => &column.name,
        // A symbol column is widened to compare it with text; the engine compares the texts anyway.
        Expr::Cast(cast) if is_text(cast.field.data_type()) => match cast.expr.as_ref() {
            Expr::Column(column) => {
                let found = collection.schema.column_by_name(&column.name)?;
                return (found.column_type == ColumnType::Symbol).then_some(found);
            }
            _ => return None,
        },
        _ => return None,
    };
    collection.schema.column_by_name(name).filter(|column| is_comparable(&column.column_type))
}

fn is_comparable(column_type: &ColumnType) -> bool {
    !matches!(column_type, ColumnType::Array(_) | ColumnType::Interval | ColumnType::Json)
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn constant(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) if !value.is_null() => Some(value),
        _ => None,
    }
}

/// How many digits a decimal may have before its point.
fn before_point(digits: u8, scale: i8) -> i16 {
    i16::from(digits) - i16::from(scale)
}

/// The constant in the type that the engine compares the column in. Only changes of form are made
/// here: a constant of another type is DataFusion's business.
fn value_of(column: &Column, value: &ScalarValue) -> Option<ArrayRef> {
    let value = match value {
        ScalarValue::Dictionary(_, inner) => inner.as_ref(),
        other => other,
    };
    let array = value.to_array().ok()?;
    let wanted = match &column.column_type {
        ColumnType::Symbol => DataType::Utf8,
        other => read_type(other),
    };
    let same_form = match (array.data_type(), &wanted) {
        (found, wanted) if found == wanted => true,
        (found, wanted) if is_text(found) && is_text(wanted) => true,
        // No digit is lost.
        (
            DataType::Decimal128(digits, scale) | DataType::Decimal256(digits, scale),
            DataType::Decimal128(wanted_digits, wanted_scale)
            | DataType::Decimal256(wanted_digits, wanted_scale),
        ) => {
            scale <= wanted_scale
                && before_point(*digits, *scale) <= before_point(*wanted_digits, *wanted_scale)
        }
        // Instants are the same whatever zone they are shown in.
        (DataType::Timestamp(found, Some(_)), DataType::Timestamp(wanted, Some(_))) => found == wanted,
        (
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView,
            DataType::BinaryView | DataType::FixedSizeBinary(_),
        ) => true,
        _ => false,
    };
    if same_form { cast(&array, &wanted).ok() } else { None }
}
