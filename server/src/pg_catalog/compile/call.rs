//! Calls: of functions, aggregates, window functions and what looks like one.

use sqlparser::ast::{
    DuplicateTreatment, Expr as Ast, Function as Call, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, ObjectName, OrderByExpr, WindowType,
};

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::aggregate::Aggregate;
use crate::pg_catalog::compile::overload::{concrete, element_of, select, undefined};
use crate::pg_catalog::compile::{Compiled, Compiler, Fault, Typed};
use crate::pg_catalog::convert::is_string;
use crate::pg_catalog::functions::{self, Callable, Implementation, Slot};
use crate::pg_catalog::plan::{AggregateCall, Column, Expr, OrderedExpr, SetCall, Window, WindowFunction};
use crate::pg_catalog::types::array_of;
use crate::pgtype::PgType;
use crate::pgtype::datum::{ArrayDatum, Datum};
use crate::pgtype::types::{Family, NO_TYPMOD, family};
use crate::sql::functions as sql_functions;
use crate::sql::functions::row::{Kind, Overload, overload_for};
use crate::sqlstate;

/// What a call is.
pub(super) enum Called {
    Scalar(Typed),
    /// A function that gives rows, and their columns.
    Set(SetCall, Vec<Column>),
}

/// The arguments of a call as they are written.
struct Arguments<'a> {
    exprs: Vec<&'a Ast>,
    is_star: bool,
    is_distinct: bool,
    order: &'a [OrderByExpr],
}

const AGGREGATES: &[&str] = &[
    "count",
    "avg",
    "min",
    "max",
    "sum",
    "bool_and",
    "bool_or",
    "every",
    "array_agg",
    "string_agg",
    "json_agg",
    "jsonb_agg",
    "json_object_agg",
    "jsonb_object_agg",
];

impl Compiler<'_> {
    pub(super) fn function(&mut self, call: &Call) -> Compiled<Typed> {
        if !call.within_group.is_empty()
            || call.null_treatment.is_some()
            || call.parameters != FunctionArguments::None
        {
            return Err(SqlError::unsupported(format!("the call {call}")).into());
        }
        let name = function_name(&call.name)?;
        if let FunctionArguments::Subquery(query) = &call.args {
            return match name.as_str() {
                "array" => self.array_query(query),
                _ => Err(Fault::NotOurs),
            };
        }
        let arguments = arguments(&call.args)?;
        if let Some(over) = &call.over {
            return self.window(&name, call, &arguments, over);
        }
        if AGGREGATES.contains(&name.as_str()) {
            let (aggregate, result) = self.aggregate(&name, call.filter.as_deref(), &arguments)?;
            let level = self.level();
            let at = level.aggregates.iter().position(|it| *it == aggregate).unwrap_or_else(|| {
                level.aggregates.push(aggregate);
                level.aggregates.len() - 1
            });
            return Ok(Typed::new(Expr::Aggregate(at), result));
        }
        if arguments.is_star || arguments.is_distinct || call.filter.is_some() || !arguments.order.is_empty()
        {
            return Err(Fault::NotOurs);
        }
        let values = arguments.exprs.iter().map(|it| self.expr(it)).collect::<Compiled<Vec<_>>>()?;
        match name.as_str() {
            "coalesce" => {
                let (items, common) = self.unify(values, "COALESCE")?;
                Ok(Typed::new(Expr::Coalesce(items), common))
            }
            "greatest" | "least" => {
                let greatest = name == "greatest";
                let (items, common) = self.unify(values, if greatest { "GREATEST" } else { "LEAST" })?;
                Ok(Typed::new(Expr::Extreme { items, greatest }, common))
            }
            "nullif" => {
                let [left, right] = <[Typed; 2]>::try_from(values).map_err(|_| Fault::NotOurs)?;
                let pg_type = left.pg_type.clone();
                let (left, right) =
                    self.comparable(crate::pg_catalog::operators::Comparison::Equal, left, right)?;
                let pg_type = if pg_type == PgType::UNKNOWN { left.pg_type.clone() } else { pg_type };
                Ok(Typed::new(Expr::NullIf(Box::new(left.expr), Box::new(right.expr)), pg_type))
            }
            "row" => {
                let mut fields = Vec::new();
                for value in values {
                    let value = self.known(value)?;
                    fields.push((value.pg_type, value.expr));
                }
                Ok(Typed::new(Expr::Row(fields), PgType::RECORD))
            }
            _ => self.scalar_call(&name, values),
        }
    }

    /// A call where a value is wanted.
    pub(super) fn scalar_call(&mut self, name: &str, values: Vec<Typed>) -> Compiled<Typed> {
        match self.call_named(name, values)? {
            Called::Scalar(value) => Ok(value),
            Called::Set(call, columns) => {
                self.is_heavy = true;
                let level = self.level();
                if !level.may_set || level.in_aggregate {
                    let message = "set-returning functions are not allowed here";
                    return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message).into());
                }
                level.sets.push(call);
                let expr = Expr::Set(level.sets.len() - 1);
                if let [column] = columns.as_slice() {
                    return Ok(Typed::new(expr, column.pg_type.clone()));
                }
                let shape = columns.into_iter().map(|it| (it.name, it.pg_type)).collect();
                Ok(Typed { shape: Some(shape), ..Typed::new(expr, PgType::RECORD) })
            }
        }
    }

    /// Finds the function that takes these values.
    pub(super) fn call_named(&mut self, name: &str, values: Vec<Typed>) -> Compiled<Called> {
        // A type's name before one value is a cast.
        if let [value] = values.as_slice()
            && functions::named(name).is_empty()
            && let Some(to) = crate::pgtype::types::type_by_name(name)
        {
            return Ok(Called::Scalar(self.coerce(value.clone(), &to, NO_TYPMOD, true)?));
        }
        let values =
            if name.contains("json") { values.into_iter().map(named_record).collect() } else { values };
        let types: Vec<PgType> = values.iter().map(|it| it.pg_type.clone()).collect();
        let Some(function) = select(name, &types) else {
            let shared = sql_functions::overloads(name).and_then(|all| overload_for(all, &types));
            return match shared {
                Some(overload) => self.shared_call(overload, values).map(Called::Scalar),
                None => Err(undefined(name, &types).into()),
            };
        };
        let element = element_of(function, &types);
        let mut exprs = Vec::new();
        for (at, value) in values.into_iter().enumerate() {
            let slot = function.arguments.get(at).or(function.arguments.last());
            exprs.push(self.argument(value, slot.unwrap_or(&Slot::Any), element.as_ref())?);
        }
        let concrete = |slot: &Slot| concrete(slot, element.as_ref());
        Ok(match &function.implementation {
            Implementation::Scalar(scalar) => {
                let result = concrete(&function.result)?;
                Called::Scalar(Typed::new(Expr::Call(Callable(scalar), exprs), result))
            }
            Implementation::Set(set, columns) => {
                let column = |(name, slot): &(String, Slot)| Ok(Column::new(name.clone(), concrete(slot)?));
                let columns = columns.iter().map(column).collect::<SqlResult<Vec<_>>>()?;
                self.refuse_long_series(name, &exprs)?;
                Called::Set(SetCall { function: *set, arguments: exprs }, columns)
            }
        })
    }

    /// A call of a function that DataFusion's queries call too.
    pub(super) fn shared_call(&mut self, overload: &'static Overload, values: Vec<Typed>) -> Compiled<Typed> {
        let mut exprs = Vec::with_capacity(values.len());
        for (at, value) in values.into_iter().enumerate() {
            let wanted = overload.argument(at).and_then(Kind::pg_type);
            exprs.push(match wanted {
                Some(to) => self.coerce(value, &to, NO_TYPMOD, false)?.expr,
                None => self.known(value)?.expr,
            });
        }
        let result = overload.result.pg_type().unwrap_or(PgType::TEXT);
        Ok(Typed::new(Expr::Shared(overload, exprs), result))
    }

    /// Long series are computed by those who stream them.
    fn refuse_long_series(&self, name: &str, arguments: &[Expr]) -> Compiled<()> {
        const LENGTH_MAX: i64 = 10_000;
        if name != "generate_series" || self.reads_catalog {
            return Ok(());
        }
        let bound = |at: usize| match arguments.get(at) {
            Some(Expr::Const(value)) => Some(functions::int(std::slice::from_ref(value), 0)),
            _ => None,
        };
        let length = match (bound(0), bound(1)) {
            (Some(start), Some(stop)) => start.abs_diff(stop),
            // One bound is computed, if only from integer to bigint: the other one tells how far it is.
            (Some(known), None) | (None, Some(known)) => known.unsigned_abs(),
            (None, None) => 0,
        };
        if length > LENGTH_MAX.unsigned_abs() { Err(Fault::NotOurs) } else { Ok(()) }
    }

    fn argument(&mut self, value: Typed, slot: &Slot, element: Option<&PgType>) -> Compiled<Expr> {
        Ok(match (slot, element) {
            (Slot::Type(to), _) => self.coerce(value, to, NO_TYPMOD, false)?.expr,
            (Slot::AnyElement, Some(element)) => self.coerce(value, element, NO_TYPMOD, false)?.expr,
            (Slot::AnyArray, Some(_)) if family(&value.pg_type) == Family::Vector => value.expr,
            (Slot::AnyArray, Some(element)) => {
                let to = array_of(element)?;
                self.coerce(value, &to, NO_TYPMOD, false)?.expr
            }
            _ => {
                let value = self.known(value)?;
                if value.pg_type == PgType::RECORD {
                    return Err(Fault::NotOurs);
                }
                Expr::Row(vec![(value.pg_type, value.expr)])
            }
        })
    }

    fn aggregate(
        &mut self,
        name: &str,
        filter: Option<&Ast>,
        arguments: &Arguments<'_>,
    ) -> Compiled<(AggregateCall, PgType)> {
        let level = self.level();
        if !level.may_aggregate || level.in_aggregate {
            let message = if level.in_aggregate {
                "aggregate function calls cannot be nested"
            } else {
                "aggregate functions are not allowed here"
            };
            return Err(SqlError::new(sqlstate::GROUPING_ERROR, message).into());
        }
        level.in_aggregate = true;
        let compiled = self.aggregate_parts(name, filter, arguments);
        self.level().in_aggregate = false;
        compiled
    }

    fn aggregate_parts(
        &mut self,
        name: &str,
        filter: Option<&Ast>,
        arguments: &Arguments<'_>,
    ) -> Compiled<(AggregateCall, PgType)> {
        let mut values = Vec::new();
        for expr in &arguments.exprs {
            let value = self.expr(expr)?;
            let value = self.known(value)?;
            values.push(if name.contains("json") { named_record(value) } else { value });
        }
        let filter = match filter {
            None => None,
            Some(filter) => {
                let value = self.expr(filter)?;
                Some(self.boolean(value, "FILTER")?)
            }
        };
        let order = self.ordered(arguments.order)?;
        let types: Vec<PgType> = values.iter().map(|it| it.pg_type.clone()).collect();
        let (aggregate, result) = if arguments.is_star && name == "count" {
            (Aggregate::CountRows, PgType::INT8)
        } else {
            aggregate_of(name, &types).ok_or_else(|| undefined(name, &types))?
        };
        // What is added, joined or used as a key has one type.
        let wanted = match &aggregate {
            Aggregate::Sum | Aggregate::Avg => Some(result.clone()),
            Aggregate::StringAgg => Some(PgType::TEXT),
            _ => None,
        };
        let mut exprs = Vec::new();
        for (at, value) in values.into_iter().enumerate() {
            let is_key = at == 0 && matches!(aggregate, Aggregate::JsonObjectAgg(..));
            exprs.push(match &wanted {
                Some(to) => self.coerce(value, to, NO_TYPMOD, true)?.expr,
                None if is_key => self.coerce(value, &PgType::TEXT, NO_TYPMOD, true)?.expr,
                None => value.expr,
            });
        }
        let distinct = arguments.is_distinct;
        Ok((AggregateCall { aggregate, arguments: exprs, distinct, filter, order }, result))
    }

    fn ordered(&mut self, order: &[OrderByExpr]) -> Compiled<Vec<OrderedExpr>> {
        let mut keys = Vec::new();
        for item in order {
            let value = self.expr(&item.expr)?;
            let expr = self.known(value)?.expr;
            let descending = item.options.asc == Some(false);
            let nulls_first = item.options.nulls_first.unwrap_or(descending);
            keys.push(OrderedExpr { expr, descending, nulls_first });
        }
        Ok(keys)
    }

    fn window(
        &mut self,
        name: &str,
        call: &Call,
        arguments: &Arguments<'_>,
        over: &WindowType,
    ) -> Compiled<Typed> {
        let WindowType::WindowSpec(spec) = over else { return Err(Fault::NotOurs) };
        if spec.window_name.is_some() || spec.window_frame.is_some() {
            return Err(Fault::NotOurs);
        }
        let (function, result) = match name {
            "row_number" => (WindowFunction::RowNumber, PgType::INT8),
            "rank" => (WindowFunction::Rank, PgType::INT8),
            "dense_rank" => (WindowFunction::DenseRank, PgType::INT8),
            _ if AGGREGATES.contains(&name) => {
                let (aggregate, result) = self.aggregate(name, call.filter.as_deref(), arguments)?;
                (WindowFunction::Aggregate(aggregate), result)
            }
            _ => return Err(Fault::NotOurs),
        };
        let mut partition = Vec::new();
        for expr in &spec.partition_by {
            partition.push(self.expr(expr)?.expr);
        }
        let order = self.ordered(&spec.order_by)?;
        let level = self.level();
        level.windows.push(Window { function, partition, order });
        Ok(Typed::new(Expr::Window(level.windows.len() - 1), result))
    }
}

/// A record whose fields have names, as a JSON object.
fn named_record(value: Typed) -> Typed {
    let (Some(shape), PgType::RECORD) = (&value.shape, value.pg_type.clone()) else { return value };
    let names = shape.iter().map(|(name, _)| Datum::Text(name.clone())).collect();
    let names = Expr::Const(Datum::Array(ArrayDatum::list(PgType::TEXT, names)));
    Typed::new(Expr::Call(Callable(&functions::json::RECORD), vec![names, value.expr]), PgType::JSON)
}

/// The name of a function; `pg_catalog.f` is `f`.
pub(super) fn function_name(name: &ObjectName) -> Compiled<String> {
    let mut parts = crate::sql::names::parts(name)?;
    let last = parts.pop().ok_or(Fault::NotOurs)?;
    match parts.as_slice() {
        [] => Ok(last),
        [namespace] if namespace == "pg_catalog" || namespace == "information_schema" => Ok(last),
        [namespace] => {
            let message = format!("function {namespace}.{last} does not exist");
            Err(SqlError::new(sqlstate::UNDEFINED_FUNCTION, message).into())
        }
        _ => Err(Fault::NotOurs),
    }
}

fn arguments(given: &FunctionArguments) -> Compiled<Arguments<'_>> {
    let mut arguments = Arguments { exprs: Vec::new(), is_star: false, is_distinct: false, order: &[] };
    let FunctionArguments::List(list) = given else { return Ok(arguments) };
    arguments.is_distinct = list.duplicate_treatment == Some(DuplicateTreatment::Distinct);
    for argument in &list.args {
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => arguments.exprs.push(expr),
            FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => arguments.is_star = true,
            _ => return Err(Fault::NotOurs),
        }
    }
    for clause in &list.clauses {
        match clause {
            FunctionArgumentClause::OrderBy(order) => arguments.order = order,
            _ => return Err(Fault::NotOurs),
        }
    }
    Ok(arguments)
}

fn aggregate_of(name: &str, types: &[PgType]) -> Option<(Aggregate, PgType)> {
    let first = types.first();
    Some(match (name, types.len()) {
        ("count", 1) => (Aggregate::Count, PgType::INT8),
        ("min" | "max", 1) => {
            let of = first?;
            let result = match family(of) {
                Family::Varchar | Family::Name => PgType::TEXT,
                Family::Bool | Family::Json | Family::Jsonb | Family::Uuid | Family::Reg => return None,
                _ => of.clone(),
            };
            (if name == "min" { Aggregate::Min } else { Aggregate::Max }, result)
        }
        ("sum", 1) => {
            let result = match family(first?) {
                Family::Int2 | Family::Int4 => PgType::INT8,
                Family::Int8 | Family::Numeric => PgType::NUMERIC,
                Family::Float8 => PgType::FLOAT8,
                _ => return None,
            };
            (Aggregate::Sum, result)
        }
        ("avg", 1) => {
            let result = match family(first?) {
                Family::Int2 | Family::Int4 | Family::Int8 | Family::Numeric => PgType::NUMERIC,
                Family::Float4 | Family::Float8 => PgType::FLOAT8,
                _ => return None,
            };
            (Aggregate::Avg, result)
        }
        ("bool_and" | "every", 1) if *first? == PgType::BOOL => (Aggregate::BoolAnd, PgType::BOOL),
        ("bool_or", 1) if *first? == PgType::BOOL => (Aggregate::BoolOr, PgType::BOOL),
        ("array_agg", 1) => (Aggregate::ArrayAgg(first?.clone()), array_of(first?).ok()?),
        ("string_agg", 2) if is_string(first?) => (Aggregate::StringAgg, PgType::TEXT),
        ("json_agg", 1) => (Aggregate::JsonAgg(first?.clone(), false), PgType::JSON),
        ("jsonb_agg", 1) => (Aggregate::JsonAgg(first?.clone(), true), PgType::JSONB),
        ("json_object_agg", 2) => (Aggregate::JsonObjectAgg(types[1].clone(), false), PgType::JSON),
        ("jsonb_object_agg", 2) => (Aggregate::JsonObjectAgg(types[1].clone(), true), PgType::JSONB),
        _ => return None,
    })
}
