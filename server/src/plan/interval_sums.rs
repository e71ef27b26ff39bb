//! Sums and averages of intervals: months, days and times are summed on their own, and an average is
//! the sum divided, whose fractions of months become days and of days time.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, IntervalMonthDayNanoArray};
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::common::Result;
use datafusion::logical_expr::{Cast, Expr, ScalarUDF};

use crate::error::SqlError;
use crate::pgtype::interval::parse::out_of_range;
use crate::plan::columnar;
use crate::plan::errors::external;
use crate::sql::functions::temporal_operator;

/// Sums of fields, of which there may be many.
const FIELD: DataType = DataType::Decimal128(38, 0);

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

static MONTHS: LazyLock<ScalarUDF> = LazyLock::new(|| {
    columnar::function("#months", vec![INTERVAL], FIELD, |it| field(it, |it| it.months.into()))
});
static DAYS: LazyLock<ScalarUDF> =
    LazyLock::new(|| columnar::function("#days", vec![INTERVAL], FIELD, |it| field(it, |it| it.days.into())));
static NANOSECONDS: LazyLock<ScalarUDF> = LazyLock::new(|| {
    columnar::function("#nanoseconds", vec![INTERVAL], FIELD, |it| field(it, |it| it.nanoseconds.into()))
});
static INTERVAL_OF: LazyLock<ScalarUDF> =
    LazyLock::new(|| columnar::function("#interval_of", vec![FIELD, FIELD, FIELD], INTERVAL, intervals));

/// The fields of an interval, each of which is to be summed.
pub fn fields(interval: &Expr) -> [Expr; 3] {
    [&MONTHS, &DAYS, &NANOSECONDS].map(|function| function.call(vec![interval.clone()]))
}

/// The interval whose fields these are.
///
/// # Errors
/// There is none: the signature is that of all that is made of sums.
pub fn summed(mut fields: Vec<Expr>) -> Result<Expr> {
    fields.truncate(3);
    Ok(INTERVAL_OF.call(fields))
}

/// The interval whose fields these are, divided by the number that follows.
///
/// # Errors
/// There is no division: a bug.
pub fn averaged(mut parts: Vec<Expr>) -> Result<Expr> {
    let count = parts.pop().ok_or_else(|| external(SqlError::internal("an average counts")))?;
    let count = Expr::Cast(Cast::new(Box::new(count), DataType::Float64));
    let divide = temporal_operator("/", &Arc::from("UTC"));
    let divide = divide.ok_or_else(|| external(SqlError::internal("intervals can be divided")))?;
    // A group without values has no sum, which is not divided by its count.
    Ok(divide.call(vec![summed(parts)?, count]))
}

fn field(columns: &[ArrayRef], field: fn(IntervalMonthDayNano) -> i128) -> Result<ArrayRef> {
    let fields: Decimal128Array = columns[0].as_primitive::<IntervalMonthDayNanoType>().unary(field);
    Ok(Arc::new(fields.with_data_type(FIELD)))
}

fn intervals(columns: &[ArrayRef]) -> Result<ArrayRef> {
    let [months, days, nanoseconds] = [0, 1, 2].map(|at| columns[at].as_primitive::<Decimal128Type>());
    let interval = |row: usize| {
        if months.is_null(row) {
            return Ok(None);
        }
        let interval = || {
            Some(IntervalMonthDayNano {
                months: i32::try_from(months.value(row)).ok()?,
                days: i32::try_from(days.value(row)).ok()?,
                nanoseconds: i64::try_from(nanoseconds.value(row)).ok()?,
            })
        };
        interval().map(Some).ok_or_else(|| external(out_of_range()))
    };
    let intervals = (0..months.len()).map(interval).collect::<Result<IntervalMonthDayNanoArray>>()?;
    Ok(Arc::new(intervals))
}
