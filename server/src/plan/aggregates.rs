//! `sum` and `avg` in PostgreSQL's types: of bigint they are numeric, so that they never wrap around, and
//! the average of integers and numerics is exact.
//!
//! While a query is planned they are functions that only know their types ([`by_name`]). When its types
//! are settled they become DataFusion's own aggregates, which are fast, over casts and under a
//! projection ([`expand`]): `avg(x)` of integers is `sum(x::numeric) / count(x)`, and `min(x)` of
//! intervals is the interval of the least key.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, Result, ScalarValue, internal_err, not_impl_err, plan_err};
use datafusion::functions_aggregate::average::avg_udaf;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{
    Accumulator, Aggregate, AggregateUDF, AggregateUDFImpl, Cast, Expr, ExprSchemable, LogicalPlan,
    Projection, Signature, Volatility, Window, WindowFunctionDefinition,
};
use sqlparser::ast::BinaryOperator;

use crate::plan::arithmetic::{self, DIVIDED};
use crate::plan::interval_sums;
use crate::plan::keys;

/// Between the name of an aggregate and that of a part of it.
const PART: char = '\u{2}';

/// The function of a name, as far as its types go.
pub fn by_name(name: &str) -> Option<Arc<AggregateUDF>> {
    let kind = match name {
        "sum" => Kind::Sum,
        "avg" => Kind::Average,
        _ => return None,
    };
    let signature = Signature::user_defined(Volatility::Immutable);
    Some(Arc::new(AggregateUDF::new_from_impl(Typed { kind, signature })))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Sum,
    Average,
    /// DataFusion's, of values that are compared by a key.
    Least,
    Greatest,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Typed {
    kind: Kind,
    signature: Signature,
}

/// The numeric in which a decimal is summed: 128 bits take ten digits more.
fn summed(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Int64 => DataType::Decimal128(19, 0),
        DataType::Decimal128(precision, _) if *precision <= 28 => data_type.clone(),
        DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => DataType::Decimal256(76, *scale),
        _ => return None,
    })
}

fn sum_of(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Decimal128(precision, scale) => DataType::Decimal128(precision + 10, *scale),
        other => other.clone(),
    }
}

impl AggregateUDFImpl for Typed {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Sum => "sum",
            Kind::Average => "avg",
            Kind::Least => "min",
            Kind::Greatest => "max",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [given] if given.is_signed_integer() || given.is_floating() || given.is_decimal() => {
                Ok(types.to_vec())
            }
            [DataType::Interval(_)] => Ok(types.to_vec()),
            // Counts of window functions are not negative.
            [DataType::UInt64] => Ok(vec![DataType::Int64]),
            [DataType::Null] => Ok(vec![DataType::Float64]),
            _ => {
                let types: Vec<String> = types.iter().map(ToString::to_string).collect();
                let call = format!("{}({})", self.name(), types.join(", "));
                plan_err!("No function matches the given name and argument types '{call}'.")
            }
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let types = self.coerce_types(types)?;
        Ok(match (self.kind, &types[0]) {
            (Kind::Sum, DataType::Int8 | DataType::Int16 | DataType::Int32) => DataType::Int64,
            (Kind::Sum, given) => summed(given).map_or_else(|| given.clone(), |summed| sum_of(&summed)),
            (Kind::Average, given) if given.is_floating() => DataType::Float64,
            (_, given @ DataType::Interval(_)) => given.clone(),
            (Kind::Average, _) => DIVIDED,
            (Kind::Least | Kind::Greatest, given) => given.clone(),
        })
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        internal_err!("{} was not expanded", self.name())
    }
}

fn kind_of(function: &AggregateUDF) -> Option<Kind> {
    function.inner().downcast_ref::<Typed>().map(|typed| typed.kind)
}

/// An aggregate as DataFusion's own: the parts that it is made of, and how.
struct Expanded {
    parts: Vec<(Arc<AggregateUDF>, Expr)>,
    compose: fn(Vec<Expr>) -> Result<Expr>,
}

fn only(mut parts: Vec<Expr>) -> Result<Expr> {
    Ok(parts.swap_remove(0))
}

fn divided(parts: Vec<Expr>) -> Result<Expr> {
    match arithmetic::function(&BinaryOperator::Divide) {
        Some(function) => Ok(function.call(parts)),
        None => internal_err!("there is a division"),
    }
}

/// The sum of smaller integers is a bigint, which is divided as a numeric.
fn divided_bigint(mut parts: Vec<Expr>) -> Result<Expr> {
    let total = std::mem::replace(&mut parts[0], Expr::Literal(ScalarValue::Null, None));
    parts[0] = cast(total, &DataType::Int64, &DataType::Decimal128(19, 0));
    divided(parts)
}

fn narrowed(mut parts: Vec<Expr>) -> Result<Expr> {
    Ok(Expr::Cast(Cast::new(Box::new(parts.swap_remove(0)), DataType::Float32)))
}

fn cast(expr: Expr, given: &DataType, wanted: &DataType) -> Expr {
    if given == wanted { expr } else { Expr::Cast(Cast::new(Box::new(expr), wanted.clone())) }
}

fn expanded(kind: Kind, argument: Expr, schema: &DFSchema) -> Result<Expanded> {
    let mut given = argument.get_type(schema)?;
    let mut argument = argument;
    if matches!(given, DataType::UInt64 | DataType::Int8) {
        argument = cast(argument, &given, &DataType::Int64);
        given = DataType::Int64;
    }
    let one = |function, argument| Expanded { parts: vec![(function, argument)], compose: only };
    let of_key = |function, argument| Expanded {
        parts: vec![(function, keys::whole_key(argument))],
        compose: |mut parts| Ok(keys::from_whole_key(parts.swap_remove(0))),
    };
    Ok(match (kind, &given) {
        (Kind::Least, _) => of_key(min_udaf(), argument),
        (Kind::Greatest, _) => of_key(max_udaf(), argument),
        (Kind::Sum | Kind::Average, DataType::Interval(_)) => {
            let fields = interval_sums::fields(&argument).into_iter().map(|field| (sum_udaf(), field));
            let mut parts: Vec<_> = fields.collect();
            let compose = match kind {
                Kind::Average => interval_sums::averaged,
                _ => interval_sums::summed,
            };
            if kind == Kind::Average {
                parts.push((count_udaf(), argument));
            }
            Expanded { parts, compose }
        }
        (Kind::Sum, DataType::Float32) => Expanded {
            parts: vec![(sum_udaf(), cast(argument, &given, &DataType::Float64))],
            compose: narrowed,
        },
        (Kind::Sum, _) => match summed(&given) {
            Some(wanted) => one(sum_udaf(), cast(argument, &given, &wanted)),
            None => one(sum_udaf(), argument),
        },
        (Kind::Average, DataType::Int16 | DataType::Int32 | DataType::Int64)
        | (Kind::Average, DataType::Decimal128(..) | DataType::Decimal256(..)) => {
            let wanted = summed(&given).unwrap_or_else(|| given.clone());
            let total = cast(argument.clone(), &given, &wanted);
            Expanded {
                parts: vec![(sum_udaf(), total), (count_udaf(), argument)],
                compose: match wanted {
                    DataType::Int16 | DataType::Int32 => divided_bigint,
                    _ => divided,
                },
            }
        }
        (Kind::Average, _) => one(avg_udaf(), argument),
    })
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

/// Puts DataFusion's aggregates in the place of those that only knew their types.
///
/// # Errors
/// DataFusion cannot put the plan together again: a bug.
pub fn expand(plan: LogicalPlan) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Aggregate(aggregate) if any_typed(&aggregate.aggr_expr, &aggregate.input) => {
            let kept = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
            let parts = split(&aggregate.aggr_expr, &aggregate.schema, kept, aggregate.input.schema())?;
            let inner = Aggregate::try_new(aggregate.input, aggregate.group_expr, parts.exprs)?;
            let inner = Arc::new(keys::apply(LogicalPlan::Aggregate(inner))?);
            Ok(LogicalPlan::Projection(Projection::try_new(parts.outputs, inner)?))
        }
        LogicalPlan::Window(window) if any_typed(&window.window_expr, &window.input) => {
            let kept = window.schema.fields().len() - window.window_expr.len();
            let parts = split(&window.window_expr, &window.schema, kept, window.input.schema())?;
            let inner = Arc::new(LogicalPlan::Window(Window::try_new(parts.exprs, window.input)?));
            Ok(LogicalPlan::Projection(Projection::try_new(parts.outputs, inner)?))
        }
        other => Ok(other),
    }
}

fn any_typed(exprs: &[Expr], input: &LogicalPlan) -> bool {
    exprs.iter().any(|expr| typed_kind(unaliased(expr), input.schema()).is_some())
}

fn typed_kind(expr: &Expr, schema: &DFSchema) -> Option<Kind> {
    let function = match expr {
        Expr::AggregateFunction(function) => &function.func,
        Expr::WindowFunction(function) => match &function.fun {
            WindowFunctionDefinition::AggregateUDF(function) => function,
            WindowFunctionDefinition::WindowUDF(_) => return None,
        },
        _ => return None,
    };
    let extreme = match function.name() {
        "min" => Kind::Least,
        "max" => Kind::Greatest,
        _ => return kind_of(function),
    };
    let given = argument_of(expr)?.get_type(schema).ok()?;
    keys::has_key(&given).then_some(extreme)
}

/// What is computed, and what is made of it.
struct Split {
    exprs: Vec<Expr>,
    outputs: Vec<Expr>,
}

fn split(exprs: &[Expr], schema: &DFSchema, kept: usize, input: &DFSchema) -> Result<Split> {
    let columns = schema.columns();
    let mut split = Split {
        exprs: Vec::with_capacity(exprs.len()),
        outputs: columns[..kept].iter().cloned().map(Expr::Column).collect(),
    };
    for (expr, column) in exprs.iter().zip(&columns[kept..]) {
        let Some(kind) = typed_kind(unaliased(expr), input) else {
            split.exprs.push(expr.clone());
            split.outputs.push(Expr::Column(column.clone()));
            continue;
        };
        let Some(argument) = argument_of(unaliased(expr)) else {
            return plan_err!("{column} takes one argument");
        };
        if is_distinct(unaliased(expr)) && matches!(argument.get_type(input)?, DataType::Interval(_)) {
            return not_impl_err!("{column} of distinct intervals");
        }
        let expanded = expanded(kind, argument.clone(), input)?;
        let is_alone = expanded.parts.len() == 1 && column.relation.is_none();
        let mut parts = Vec::with_capacity(expanded.parts.len());
        for (at, (function, argument)) in expanded.parts.into_iter().enumerate() {
            // What is one aggregate keeps its name.
            let name = if is_alone { column.name.clone() } else { format!("{}{PART}{at}", column.name) };
            let part = with_function(unaliased(expr), function, argument);
            // What is computed twice is computed once: DataFusion would, and takes window functions out
            // of their operator for it.
            if let Some(same) = split.exprs.iter().find(|known| *unaliased(known) == part) {
                parts.push(Expr::Column(Column::new_unqualified(same.schema_name().to_string())));
                continue;
            }
            let is_named = part.schema_name().to_string() == name;
            split.exprs.push(if is_named { part } else { part.alias(name.clone()) });
            parts.push(Expr::Column(Column::new_unqualified(name)));
        }
        let composed = (expanded.compose)(parts)?;
        if composed == Expr::Column(column.clone()) {
            split.outputs.push(composed);
            continue;
        }
        split.outputs.push(composed.alias_qualified(column.relation.clone(), column.name.clone()));
    }
    Ok(split)
}

fn argument_of(expr: &Expr) -> Option<&Expr> {
    let args = match expr {
        Expr::AggregateFunction(function) => &function.params.args,
        Expr::WindowFunction(function) => &function.params.args,
        _ => return None,
    };
    match args.as_slice() {
        [argument] => Some(argument),
        _ => None,
    }
}

/// Fields of intervals are summed on their own, so distinct intervals cannot be.
fn is_distinct(expr: &Expr) -> bool {
    let name = |function: &AggregateFunction| matches!(function.func.name(), "sum" | "avg");
    matches!(expr, Expr::AggregateFunction(function) if function.params.distinct && name(function))
}

fn with_function(expr: &Expr, function: Arc<AggregateUDF>, argument: Expr) -> Expr {
    match expr {
        Expr::AggregateFunction(aggregate) => {
            let mut params = aggregate.params.clone();
            params.args = vec![argument];
            Expr::AggregateFunction(AggregateFunction { func: function, params })
        }
        Expr::WindowFunction(window) => {
            let mut params = window.params.clone();
            params.args = vec![argument];
            let fun = WindowFunctionDefinition::AggregateUDF(function);
            Expr::WindowFunction(Box::new(WindowFunction { fun, params }))
        }
        other => other.clone(),
    }
}
