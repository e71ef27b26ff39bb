//! `generate_series` in FROM: DataFusion's, of which integers are narrowed and timestamps are widened and
//! narrowed again, as it knows bigints and nanoseconds only.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::catalog::{TableFunction, TableFunctionArgs};
use datafusion::common::{Result, ScalarValue};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Cast, Expr, LogicalPlanBuilder, TableSource, col};

use crate::error::SqlError;
use crate::pgtype::calendar::US_PER_DAY;
use crate::pgtype::datetime::parse::{timestamp_us, timestamptz_us};
use crate::pgtype::interval;
use crate::pgtype::scalar::month_day_nano;
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::timezone::TimeZone;
use crate::pgtype::types::NO_TYPMOD;
use crate::plan::errors::external;
use crate::sqlstate;

/// The table of a call.
///
/// # Errors
/// There is no such series.
pub fn source(
    args: &[Expr],
    function: &Arc<TableFunction>,
    state: &SessionState,
    time_zone: &Arc<str>,
) -> Result<Arc<dyn TableSource>> {
    let args: Vec<Expr> = read_strings(args)?;
    let types: Vec<DataType> = args.iter().filter_map(constant).map(ScalarValue::data_type).collect();
    if types.len() < args.len() || types.len() < 2 {
        return Err(external(SqlError::unsupported("generate_series of anything but constants")));
    }
    let output = output_type(&types, time_zone)?;
    let wide = match output {
        DataType::Int32 | DataType::Int64 => DataType::Int64,
        _ => DataType::Timestamp(TimeUnit::Nanosecond, None),
    };
    let mut widened = Vec::with_capacity(args.len());
    for (at, value) in args.iter().filter_map(constant).enumerate() {
        // A third argument is an interval where the others are timestamps.
        let wanted = if at == 2 && wide != DataType::Int64 { value.data_type() } else { wide.clone() };
        widened.push(Expr::Literal(widen(value, &wanted)?, None));
    }
    if let Some(Expr::Literal(ScalarValue::Int64(Some(0)), _)) = widened.get(2) {
        let message = "step size cannot equal zero";
        return Err(external(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)));
    }
    let provider = function.create_table_provider_with_args(TableFunctionArgs::new(&widened, state))?;
    let column = provider.schema().field(0).name().clone();
    let scan = LogicalPlanBuilder::scan("generate_series", provider_as_source(provider), None)?;
    let narrowed = Expr::Cast(Cast::new(Box::new(col(column)), output)).alias("generate_series");
    let plan = scan.project(vec![narrowed])?.build()?;
    Ok(provider_as_source(Arc::new(ViewTable::new(plan, None))))
}

fn constant(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        _ => None,
    }
}

/// Strings beside dates and timestamps, read as what their place asks for; dates are instants. As only UTC
/// is known here, the session's zone does not matter.
fn read_strings(args: &[Expr]) -> Result<Vec<Expr>> {
    let format = FormatSettings::initial(TimeZone::utc(), 0);
    let first = args.iter().filter_map(constant).map(ScalarValue::data_type).find(DataType::is_temporal);
    let Some(first) = first else { return Ok(args.to_vec()) };
    let is_local = matches!(first, DataType::Timestamp(_, None));
    let zone = || Some(Arc::from("UTC"));
    let read = |(at, arg): (usize, &Expr)| {
        let value = match constant(arg) {
            Some(ScalarValue::Utf8(Some(text))) if at == 2 => {
                let value = interval::parse::parse(text, NO_TYPMOD, &format).map_err(external)?;
                ScalarValue::IntervalMonthDayNano(Some(month_day_nano(value).map_err(external)?))
            }
            Some(ScalarValue::Utf8(Some(text))) if is_local => {
                let us = timestamp_us(text, NO_TYPMOD, &format).map_err(external)?;
                ScalarValue::TimestampMicrosecond(Some(us), None)
            }
            Some(ScalarValue::Utf8(Some(text))) => {
                let us = timestamptz_us(text, NO_TYPMOD, &format).map_err(external)?;
                ScalarValue::TimestampMicrosecond(Some(us), zone())
            }
            Some(ScalarValue::Date32(Some(days))) => {
                ScalarValue::TimestampMicrosecond(Some(i64::from(*days) * US_PER_DAY), zone())
            }
            _ => return Ok(arg.clone()),
        };
        Ok(Expr::Literal(value, None))
    };
    args.iter().enumerate().map(read).collect()
}

fn output_type(types: &[DataType], time_zone: &Arc<str>) -> Result<DataType> {
    let all = |wanted: &[DataType]| types.iter().all(|it| wanted.contains(it));
    let integers = [DataType::Int16, DataType::Int32, DataType::Int64, DataType::Null];
    if all(&integers[..2]) {
        return Ok(DataType::Int32);
    }
    if all(&integers) {
        return Ok(DataType::Int64);
    }
    let is_interval = |it: &DataType| matches!(it, DataType::Interval(_));
    match types {
        [DataType::Timestamp(_, None), DataType::Timestamp(_, None), step] if is_interval(step) => {
            Ok(DataType::Timestamp(TimeUnit::Microsecond, None))
        }
        [DataType::Timestamp(_, Some(_)), DataType::Timestamp(_, Some(_)), step]
            if is_interval(step) && matches!(time_zone.as_ref(), "UTC" | "+00:00") =>
        {
            Ok(DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::clone(time_zone))))
        }
        _ => {
            let types: Vec<String> = types.iter().map(ToString::to_string).collect();
            Err(external(
                SqlError::unsupported(format!("generate_series({})", types.join(", ")))
                    .with_hint("Cast the arguments to integer, bigint, timestamp or, in UTC, timestamptz."),
            ))
        }
    }
}

fn widen(value: &ScalarValue, wanted: &DataType) -> Result<ScalarValue> {
    match (value, wanted) {
        // The zone is only how they are shown.
        (ScalarValue::TimestampMicrosecond(Some(us), _), DataType::Timestamp(TimeUnit::Nanosecond, _)) => {
            let nanoseconds = us.checked_mul(1000).ok_or_else(|| {
                external(SqlError::unsupported("a series of timestamps beyond the year 2262"))
            })?;
            Ok(ScalarValue::TimestampNanosecond(Some(nanoseconds), None))
        }
        (value, wanted) => value.cast_to(wanted),
    }
}
