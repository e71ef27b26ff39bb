//! Functions in queries: DataFusion's, but for those that mean something else to PostgreSQL, and ours.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::ScalarUDF;

pub mod cast;
pub mod session;
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
    "input_file_name",
    "make_time",
    "named_struct",
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

/// Functions whose type depends on the session's time zone.
pub fn in_time_zone(name: &str, time_zone: &Arc<str>) -> Option<ScalarUDF> {
    cast::by_name(name, time_zone).or_else(|| session::clock(name, time_zone))
}
