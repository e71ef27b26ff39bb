//! Conditions on one column, which readers evaluate and skip data by.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Scalar, StringViewArray};
use arrow::compute::cast;
use arrow::compute::kernels::cmp;
use arrow::datatypes::DataType;
use arrow::datatypes::{Int64Type, TimeUnit, TimestampMicrosecondType, TimestampNanosecondType};
use arrow::error::ArrowError;
use tidemark_catalog::ids::ColumnId;
use tidemark_catalog::types::ColumnType;

use crate::read::text::TextCondition;
use crate::tokens::{TokenHash, required};

/// How a column is compared with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    /// How SQL writes it.
    pub fn symbol(self) -> &'static str {
        match self {
            Comparison::Equal => "=",
            Comparison::NotEqual => "<>",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        }
    }
}

/// A condition. A row for which it is NULL does not fulfil it.
#[derive(Clone, Debug)]
pub enum Predicate {
    /// The column compared with a value.
    Compare {
        /// The column.
        column: ColumnId,
        /// How.
        comparison: Comparison,
        /// One value, not NULL, of the column's type; of `Utf8` for a symbol column.
        value: ArrayRef,
    },
    /// The column equals one of the values.
    OneOf {
        /// The column.
        column: ColumnId,
        /// Values, none of them NULL, of the column's type; of `Utf8` for a symbol column.
        values: ArrayRef,
    },
    /// The column is NULL, or is not.
    IsNull {
        /// The column.
        column: ColumnId,
        /// Whether rows with NULL are wanted, or the others.
        wanted: bool,
    },
    /// What is asked of a text or symbol column holds, or does not.
    Text {
        /// The column.
        column: ColumnId,
        /// What is asked.
        condition: TextCondition,
        /// Whether rows are wanted of which it holds, or of which it does not.
        wanted: bool,
    },
}

impl Predicate {
    /// The column that is looked at.
    pub fn column(&self) -> ColumnId {
        match self {
            Predicate::Compare { column, .. }
            | Predicate::OneOf { column, .. }
            | Predicate::IsNull { column, .. }
            | Predicate::Text { column, .. } => *column,
        }
    }

    /// The condition as text, for plans that people read.
    pub fn describe(&self, column: &str) -> String {
        let shown = |values: &ArrayRef, at| {
            arrow::util::display::array_value_to_string(values, at).unwrap_or_else(|_| "?".to_owned())
        };
        match self {
            Predicate::Compare { comparison, value, .. } => {
                format!("{column} {} {}", comparison.symbol(), shown(value, 0))
            }
            Predicate::OneOf { values, .. } => {
                let values: Vec<String> = (0..values.len()).map(|at| shown(values, at)).collect();
                format!("{column} IN ({})", values.join(", "))
            }
            Predicate::IsNull { wanted: true, .. } => format!("{column} IS NULL"),
            Predicate::IsNull { wanted: false, .. } => format!("{column} IS NOT NULL"),
            Predicate::Text { condition, wanted, .. } => condition.describe(column, *wanted),
        }
    }

    /// Compares with texts in the form that the column has now: who made the predicate may have known it as
    /// one of symbols.
    pub(crate) fn compare_as(&mut self, column_type: &ColumnType) -> Result<(), ArrowError> {
        let wanted = match column_type {
            ColumnType::Symbol => DataType::Utf8,
            ColumnType::Text => DataType::Utf8View,
            _ => return Ok(()),
        };
        match self {
            Predicate::Compare { value, .. } | Predicate::OneOf { values: value, .. } => {
                if *value.data_type() != wanted {
                    *value = cast(value, &wanted)?;
                }
            }
            Predicate::IsNull { .. } | Predicate::Text { .. } => {}
        }
        Ok(())
    }

    /// Which rows fulfil it.
    pub(crate) fn evaluate_array(&self, array: &ArrayRef) -> Result<BooleanArray, ArrowError> {
        match self {
            Predicate::Compare { comparison, value, .. } => compare(array, *comparison, value),
            Predicate::OneOf { values, .. } => {
                let mut found = BooleanArray::from(vec![false; array.len()]);
                for at in 0..values.len() {
                    let equal = compare(array, Comparison::Equal, &values.slice(at, 1))?;
                    found = arrow::compute::or_kleene(&found, &equal)?;
                }
                Ok(found)
            }
            Predicate::IsNull { wanted: true, .. } => arrow::compute::is_null(array),
            Predicate::IsNull { wanted: false, .. } => arrow::compute::is_not_null(array),
            Predicate::Text { condition, wanted, .. } => condition.evaluate(array, *wanted),
        }
    }

    /// Sets of tokens of which every text that fulfils the predicate has one whole; none, when a text
    /// without any may fulfil it.
    pub(crate) fn required_tokens(&self) -> Option<Vec<Vec<TokenHash>>> {
        let sets = match self {
            Predicate::Compare { comparison: Comparison::Equal, value: values, .. }
            | Predicate::OneOf { values, .. } => {
                let texts: &StringViewArray = values.as_string_view_opt()?;
                texts.iter().flatten().map(required::of_text).collect()
            }
            Predicate::Text { condition, wanted: true, .. } => vec![condition.required().to_vec()],
            Predicate::Compare { .. } | Predicate::IsNull { .. } | Predicate::Text { wanted: false, .. } => {
                return None;
            }
        };
        (!sets.iter().any(Vec::is_empty)).then_some(sets)
    }

    /// Whether evaluating it takes long: others go first.
    pub(crate) fn is_slow(&self) -> bool {
        matches!(self, Predicate::Text { .. })
    }
}

/// Compares each value of an array with one value.
pub(crate) fn compare(
    array: &ArrayRef,
    comparison: Comparison,
    value: &ArrayRef,
) -> Result<BooleanArray, ArrowError> {
    let value = Scalar::new(Arc::clone(value));
    match comparison {
        Comparison::Equal => cmp::eq(array, &value),
        Comparison::NotEqual => cmp::neq(array, &value),
        Comparison::Less => cmp::lt(array, &value),
        Comparison::LessOrEqual => cmp::lt_eq(array, &value),
        Comparison::Greater => cmp::gt(array, &value),
        Comparison::GreaterOrEqual => cmp::gt_eq(array, &value),
    }
}

/// The instants that predicates leave possible, ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeBounds {
    /// The earliest.
    pub min: i64,
    /// The latest.
    pub max: i64,
}

impl TimeBounds {
    /// Whether any instant from `min` to `max` is possible.
    pub fn overlap(&self, min: i64, max: i64) -> bool {
        min <= self.max && self.min <= max
    }
}

/// What the predicates on the time key leave possible.
pub fn time_bounds(predicates: &[Predicate], time_key: ColumnId) -> TimeBounds {
    let mut bounds = TimeBounds { min: i64::MIN, max: i64::MAX };
    for predicate in predicates {
        match predicate {
            Predicate::Compare { column, comparison, value } if *column == time_key => {
                let Some(time) = integer(value, 0) else { continue };
                match comparison {
                    Comparison::Equal => {
                        bounds.min = bounds.min.max(time);
                        bounds.max = bounds.max.min(time);
                    }
                    Comparison::Less => bounds.max = bounds.max.min(time.saturating_sub(1)),
                    Comparison::LessOrEqual => bounds.max = bounds.max.min(time),
                    Comparison::Greater => bounds.min = bounds.min.max(time.saturating_add(1)),
                    Comparison::GreaterOrEqual => bounds.min = bounds.min.max(time),
                    Comparison::NotEqual => {}
                }
            }
            Predicate::OneOf { column, values } if *column == time_key => {
                let times: Option<Vec<i64>> = (0..values.len()).map(|at| integer(values, at)).collect();
                let Some(times) = times else { continue };
                bounds.min = bounds.min.max(times.iter().copied().min().unwrap_or(i64::MAX));
                bounds.max = bounds.max.min(times.iter().copied().max().unwrap_or(i64::MIN));
            }
            _ => {}
        }
    }
    bounds
}

fn integer(array: &ArrayRef, at: usize) -> Option<i64> {
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Some(array.as_primitive::<TimestampMicrosecondType>().value(at))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            Some(array.as_primitive::<TimestampNanosecondType>().value(at))
        }
        DataType::Int64 => Some(array.as_primitive::<Int64Type>().value(at)),
        _ => None,
    }
}
