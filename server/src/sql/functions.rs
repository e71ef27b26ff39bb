//! Functions in queries: DataFusion's, but for those that mean something else to PostgreSQL, and ours.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::ScalarUDF;

pub mod cast;
pub mod date_trunc;
pub mod extract;
pub mod formatting;
pub mod interpreted;
pub mod numbers;
pub mod quantified;
pub mod row;
pub mod session;
pub mod strings;
pub mod temporal;
pub mod time_bucket;

/// DataFusion's functions that PostgreSQL has by the same name with another meaning, or that would let
/// a client look behind the database. One that is missing is an error; one that is wrong is not seen.
const REMOVED: &[&str] = &[
    "arrow_cast",
    "arrow_field",
    "arrow_metadata",
    "arrow_try_cast",
    "arrow_typeof",
    "cast_to_type",
    "current_time",
    "file_row_index",
    "generate_series",
    "input_file_name",
    "make_time",
    "named_struct",
    "range",
    "struct",
    "to_char",
    "to_date",
    "to_time",
    "to_timestamp",
    "to_timestamp_micros",
    "to_timestamp_millis",
    "to_timestamp_nanos",
    "to_timestamp_seconds",
    "try_cast_to_type",
    "uuid",
    "version",
    "with_metadata",
];

/// Removes what is DataFusion's only by name, and adds ours.
///
/// # Errors
/// DataFusion refuses: a bug.
pub fn register(state: &mut SessionState) -> Result<()> {
    for name in REMOVED {
        state.deregister_udf(name)?;
    }
    state.register_udf(Arc::new(time_bucket::function()))?;
    for function in session::functions() {
        state.register_udf(Arc::new(function))?;
    }
    Ok(())
}

/// The tables of functions that are computed row by row.
const ROW_FUNCTIONS: &[&[row::Entry]] = &[
    numbers::FUNCTIONS,
    strings::FUNCTIONS,
    temporal::FUNCTIONS,
    formatting::FUNCTIONS,
    extract::FUNCTIONS,
    quantified::FUNCTIONS,
];

/// The meanings of a function that is computed row by row.
pub fn overloads(name: &str) -> Option<&'static [row::Overload]> {
    ROW_FUNCTIONS.iter().copied().flatten().find(|entry| entry.0 == name).map(|entry| entry.1)
}

/// The meanings of an operator on dates, times and intervals.
pub fn operator_overloads(symbol: &str) -> Option<&'static [row::Overload]> {
    temporal::OPERATORS.iter().find(|entry| entry.0 == symbol).map(|entry| entry.1)
}

/// Functions of a session, whose types may depend on its time zone.
pub fn in_time_zone(name: &str, time_zone: &Arc<str>) -> Option<ScalarUDF> {
    if name == "date_trunc" {
        return Some(date_trunc::function(time_zone));
    }
    if let Some((name, overloads)) = ROW_FUNCTIONS.iter().copied().flatten().find(|entry| entry.0 == name) {
        return Some(row::function(name, overloads, time_zone));
    }
    cast::by_name(name, time_zone).or_else(|| session::clock(name, time_zone)).or_else(|| {
        let is_ours = OURS.iter().any(|ours| name.starts_with(ours)) && !THEIRS.contains(&name);
        interpreted::by_name(name, time_zone).filter(|_| is_ours)
    })
}

/// What functions begin with that DataFusion has by the same names, with another meaning; where the
/// interpreter has them too, its are taken.
const OURS: &[&str] = &[
    "#element",
    "#slice",
    "array_",
    "cardinality",
    "json",
    "regexp_",
    "string_to_array",
    "to_json",
    "to_hex",
    "row_to_json",
    "trim_array",
];

/// And those among them that are alike.
const THEIRS: &[&str] = &["array_agg"];

/// An operator on dates, times and intervals.
pub fn temporal_operator(symbol: &str, time_zone: &Arc<str>) -> Option<ScalarUDF> {
    let (symbol, overloads) = temporal::OPERATORS.iter().find(|entry| entry.0 == symbol)?;
    Some(row::function(symbol, overloads, time_zone))
}
