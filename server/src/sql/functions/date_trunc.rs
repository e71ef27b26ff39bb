//! `date_trunc(unit, time [, time zone])`: the start of the unit that a time lies in.
//!
//! Times mostly come in order, so the unit that was found last is looked at first.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
    TimestampMicrosecondType,
};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::{SqlError, SqlResult};
use crate::pgtype::calendar::{US_PER_DAY, US_PER_SECOND, civil_from_days, day_of_week, days_from_civil};
use crate::pgtype::datetime::parse::value_out_of_range;
use crate::pgtype::interval::{US_PER_HOUR, US_PER_MINUTE};
use crate::pgtype::timezone::TimeZone;
use crate::plan::errors::external;
use crate::plan::options::StatementOptions;
use crate::sqlstate;

/// The function, for a session in a time zone.
pub fn function(time_zone: &Arc<str>) -> ScalarUDF {
    ScalarUDF::new_from_impl(DateTrunc {
        time_zone: Arc::clone(time_zone),
        signature: Signature::user_defined(Volatility::Stable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateTrunc {
    time_zone: Arc<str>,
    signature: Signature,
}

fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 | DataType::Dictionary(..) | DataType::Null
    )
}

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &'static str {
        "date_trunc"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let instant = || DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::clone(&self.time_zone)));
        let coerced = match types {
            [unit, time, zone @ ..] if is_text(unit) && zone.len() <= 1 && zone.iter().all(is_text) => {
                let time = match time {
                    DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => time.clone(),
                    DataType::Timestamp(_, None) if zone.is_empty() => {
                        DataType::Timestamp(TimeUnit::Microsecond, None)
                    }
                    DataType::Interval(_) if zone.is_empty() => time.clone(),
                    DataType::Timestamp(..) | DataType::Date32 => instant(),
                    time if is_text(time) => instant(),
                    _ => return self.refuse(types),
                };
                let mut coerced = vec![DataType::Utf8, time];
                coerced.extend(zone.iter().map(|_| DataType::Utf8));
                coerced
            }
            _ => return self.refuse(types),
        };
        Ok(coerced)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [_, time, ..] => Ok(time.clone()),
            _ => self.refuse(types).map(|mut types| types.swap_remove(0)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let format = StatementOptions::format(&args.config_options);
        let constant = |at: usize| match args.args.get(at) {
            Some(ColumnarValue::Scalar(ScalarValue::Utf8(text))) => Ok(text.clone()),
            _ => Err(external(SqlError::unsupported("date_trunc with a unit or zone that is no constant"))),
        };
        let times = &args.args[1];
        let null = || Ok(ColumnarValue::Scalar(ScalarValue::try_from(&times.data_type())?));
        let Some(unit) = constant(0)? else { return null() };
        let unit = Unit::parse(&unit, &times.data_type()).map_err(external)?;
        let zone = match (&times.data_type(), args.args.len()) {
            (_, 3) => match constant(2)? {
                Some(name) => TimeZone::decode(&name).map_err(external)?,
                None => return null(),
            },
            (DataType::Timestamp(_, Some(_)), _) => format.time_zone,
            _ => TimeZone::utc(),
        };
        let starts = |array: &ArrayRef| match array.data_type() {
            DataType::Interval(IntervalUnit::MonthDayNano) => of_intervals(array, unit),
            _ => starts(array, unit, &zone).map_err(external),
        };
        Ok(match times {
            ColumnarValue::Array(times) => ColumnarValue::Array(starts(times)?),
            ColumnarValue::Scalar(value) => {
                ColumnarValue::Scalar(ScalarValue::try_from_array(&starts(&value.to_array()?)?, 0)?)
            }
        })
    }

    /// Starts come in the order of their times, but where clocks are put back.
    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        Ok(match inputs {
            [unit, time] if unit.sort_properties == SortProperties::Singleton => time.sort_properties,
            _ => SortProperties::Unordered,
        })
    }
}

impl DateTrunc {
    fn refuse(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let types: Vec<String> = types.iter().map(ToString::to_string).collect();
        let call = format!("{}({})", self.name(), types.join(", "));
        plan_err!("No function matches the given name and argument types '{call}'.")
    }
}

/// What times are cut to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// So many microseconds, of local time.
    Micros(i64),
    Day,
    Week,
    /// So many months. Years are counted from the year given, as the third millennium begins with 2001.
    Months {
        count: i64,
        first_year: i64,
    },
}

impl Unit {
    fn parse(name: &str, data_type: &DataType) -> SqlResult<Unit> {
        let name = name.to_ascii_lowercase();
        Ok(match name.as_str() {
            "us" | "usec" | "usecs" | "microsecond" | "microseconds" => Unit::Micros(1),
            "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => Unit::Micros(1_000),
            "s" | "sec" | "secs" | "second" | "seconds" => Unit::Micros(US_PER_SECOND),
            "m" | "min" | "mins" | "minute" | "minutes" => Unit::Micros(US_PER_MINUTE),
            "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Micros(US_PER_HOUR),
            "d" | "day" | "days" => Unit::Day,
            "w" | "week" | "weeks" => Unit::Week,
            "mon" | "mons" | "month" | "months" => Unit::Months { count: 1, first_year: 0 },
            "qtr" | "quarter" => Unit::Months { count: 3, first_year: 0 },
            "y" | "yr" | "yrs" | "year" | "years" => Unit::Months { count: 12, first_year: 0 },
            "dec" | "decs" | "decade" | "decades" => Unit::Months { count: 120, first_year: 0 },
            "c" | "cent" | "century" | "centuries" => Unit::Months { count: 1_200, first_year: 1 },
            "mil" | "mils" | "millennia" | "millennium" => Unit::Months { count: 12_000, first_year: 1 },
            _ => {
                let type_name = match data_type {
                    DataType::Timestamp(_, Some(_)) => "timestamp with time zone",
                    DataType::Timestamp(_, None) => "timestamp without time zone",
                    _ => "interval",
                };
                let message = format!("unit \"{name}\" not recognized for type {type_name}");
                return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
            }
        })
    }

    /// The local start of the unit that a day lies in, and that of the next, in days.
    fn days_around(self, day: i64) -> Range<i64> {
        match self {
            Unit::Micros(_) | Unit::Day => day..day + 1,
            Unit::Week => {
                let monday = day - (day_of_week(day) as i64 + 6) % 7;
                monday..monday + 7
            }
            Unit::Months { count, first_year } => {
                let date = civil_from_days(day);
                let months = (date.year - first_year) * 12 + i64::from(date.month) - 1;
                let start = months.div_euclid(count) * count;
                let first_day = |months: i64| {
                    let month = u32::try_from(months.rem_euclid(12)).expect("less than 12") + 1;
                    days_from_civil(months.div_euclid(12) + first_year, month, 1)
                };
                first_day(start)..first_day(start + count)
            }
        }
    }

    /// The instants from the start of the unit that an instant lies in up to where this is known to be
    /// its start.
    fn around(self, us: i64, zone: &TimeZone) -> Option<Range<i64>> {
        let offset_us = i64::from(zone.offset_at(us.div_euclid(US_PER_SECOND))) * US_PER_SECOND;
        let local = us.checked_add(offset_us)?;
        if let Unit::Micros(count) = self {
            let start = local - local.rem_euclid(count) - offset_us;
            // Clocks may be put back or forward within the unit.
            let end = if zone.fixed_offset().is_some() { start.checked_add(count)? } else { us + 1 };
            return Some(start..end);
        }
        let days = self.days_around(local.div_euclid(US_PER_DAY));
        let instant = |day: i64| {
            let offset = zone.offset_at_local(day.checked_mul(US_PER_DAY / US_PER_SECOND)?);
            day.checked_mul(US_PER_DAY)?.checked_sub(i64::from(offset) * US_PER_SECOND)
        };
        Some(instant(days.start)?..instant(days.end)?)
    }
}

fn starts(times: &ArrayRef, unit: Unit, zone: &TimeZone) -> SqlResult<ArrayRef> {
    let values = times.as_primitive::<TimestampMicrosecondType>();
    // UTC has a name, but its clocks are never put back.
    let utc = TimeZone::from_offset(0).ok_or_else(|| SqlError::internal("there is a zone of UTC"))?;
    let zone = if *zone == TimeZone::utc() { &utc } else { zone };
    let mut known = 0..0;
    let mut starts = Vec::with_capacity(values.len());
    for (row, time) in values.values().iter().enumerate() {
        // An infinite time is its own start, and under a NULL there may be any time.
        if *time == i64::MIN || *time == i64::MAX || values.is_null(row) {
            starts.push(*time);
            continue;
        }
        if !known.contains(time) {
            known = unit.around(*time, zone).ok_or_else(|| value_out_of_range("timestamp"))?;
        }
        starts.push(known.start);
    }
    let array =
        PrimitiveArray::<TimestampMicrosecondType>::new(ScalarBuffer::from(starts), values.nulls().cloned());
    Ok(Arc::new(array.with_data_type(times.data_type().clone())))
}

fn of_intervals(intervals: &ArrayRef, unit: Unit) -> Result<ArrayRef> {
    let cut = |value: IntervalMonthDayNano| match unit {
        Unit::Micros(count) => {
            let nanoseconds = value.nanoseconds - value.nanoseconds % (count * 1000);
            Ok(IntervalMonthDayNano { nanoseconds, ..value })
        }
        Unit::Day => Ok(IntervalMonthDayNano { nanoseconds: 0, ..value }),
        Unit::Week => Err(external(
            SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, "unit \"week\" not supported for type interval")
                .with_detail("Months usually have fractional weeks."),
        )),
        Unit::Months { count, .. } => {
            let count = i32::try_from(count).expect("at most 12,000");
            Ok(IntervalMonthDayNano::new(value.months / count * count, 0, 0))
        }
    };
    let values = intervals.as_primitive::<IntervalMonthDayNanoType>().iter();
    let values = values.map(|value| value.map(cut).transpose()).collect::<Result<Vec<_>>>()?;
    let array: PrimitiveArray<IntervalMonthDayNanoType> = values.into_iter().collect();
    Ok(cast(&array, intervals.data_type())?)
}
