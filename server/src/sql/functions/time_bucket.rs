//! `time_bucket(width, time [, origin | time zone])`: the start of the bucket that a time lies in.
//!
//! Buckets of a fixed width count from Monday 2000-01-03, buckets of months from 2000-01-01, or from
//! the origin; in UTC, or in a time zone, where they are as long as its clocks make them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{
    DataType, Date32Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType,
    TimestampNanosecondType,
};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::{SqlError, SqlResult};
use crate::pgtype::calendar::{SECONDS_PER_DAY, US_PER_DAY, civil_from_days, days_from_civil};
use crate::pgtype::datetime::parse::{timestamp, timestamptz};
use crate::pgtype::interval::{self, Interval};
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::timezone::TimeZone;
use crate::pgtype::types::NO_TYPMOD;
use crate::plan::errors::external;
use crate::plan::options::StatementOptions;
use crate::sqlstate;

/// Monday 2000-01-03, in days since 1970.
const ORIGIN_DAYS: i64 = days_from_civil(2000, 1, 3);

/// The function.
pub fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(TimeBucket { signature: Signature::user_defined(Volatility::Stable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TimeBucket {
    signature: Signature,
}

impl ScalarUDFImpl for TimeBucket {
    fn name(&self) -> &'static str {
        "time_bucket"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [width, time, rest @ ..] = types else {
            return plan_err!("time_bucket takes a width, a time, and an origin or a time zone");
        };
        let interval = DataType::Interval(IntervalUnit::MonthDayNano);
        let text = |it: &DataType| matches!(it, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8);
        let width = if text(width) { DataType::Utf8 } else { interval };
        let time = match time {
            DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, _) | DataType::Date32 => {
                time.clone()
            }
            DataType::Null => DataType::Timestamp(TimeUnit::Microsecond, None),
            other => return plan_err!("time_bucket takes a timestamp or a date, not {other}"),
        };
        let mut coerced = vec![width, time.clone()];
        match rest {
            [] => {}
            [third] if text(third) => coerced.push(DataType::Utf8),
            [DataType::Timestamp(..) | DataType::Date32] => coerced.push(match time {
                DataType::Date32 => DataType::Timestamp(TimeUnit::Microsecond, None),
                time => time,
            }),
            _ => return plan_err!("time_bucket takes an origin or a time zone as its third argument"),
        }
        Ok(coerced)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [_, time, ..] => Ok(time.clone()),
            _ => plan_err!("time_bucket takes a width and a time"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let format = StatementOptions::format(&args.config_options);
        let [width, time, rest @ ..] = args.args.as_slice() else {
            return plan_err!("time_bucket takes a width and a time");
        };
        let is_instant = matches!(time.data_type(), DataType::Timestamp(_, Some(_)));
        let (Some(width), Some(reference)) = (
            scalar(width).map(|it| read_width(it, &format)).transpose().map_err(external)?.flatten(),
            reference(rest.first(), is_instant, &format).map_err(external)?,
        ) else {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from(time.data_type())?));
        };
        let bucket = Bucket::new(width, reference).map_err(external)?;
        Ok(match time {
            ColumnarValue::Array(times) => ColumnarValue::Array(starts(times, &bucket)?),
            ColumnarValue::Scalar(value) => {
                let start = starts(&value.to_array()?, &bucket)?;
                ColumnarValue::Scalar(ScalarValue::try_from_array(&start, 0)?)
            }
        })
    }

    /// Buckets come in the order of their times, but where clocks are put back.
    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        Ok(match inputs {
            [width, time] if width.sort_properties == SortProperties::Singleton => time.sort_properties,
            _ => SortProperties::Unordered,
        })
    }
}

fn scalar(value: &ColumnarValue) -> Option<&ScalarValue> {
    match value {
        ColumnarValue::Scalar(value) => Some(value),
        ColumnarValue::Array(_) => None,
    }
}

fn invalid(message: &str) -> SqlError {
    SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message)
}

/// The width; `None` for NULL.
fn read_width(value: &ScalarValue, format: &FormatSettings) -> SqlResult<Option<Interval>> {
    match value {
        ScalarValue::Utf8(None) | ScalarValue::IntervalMonthDayNano(None) => Ok(None),
        ScalarValue::Utf8(Some(text)) => interval::parse::parse(text, NO_TYPMOD, format).map(Some),
        ScalarValue::IntervalMonthDayNano(Some(value)) => {
            let (months, days, nanoseconds) = IntervalMonthDayNanoType::to_parts(*value);
            Ok(Some(Interval { months, days, micros: nanoseconds / 1000 }))
        }
        _ => Err(invalid("the width of time_bucket must be a constant")),
    }
}

/// From where buckets count, and in which time zone.
#[derive(Clone, Debug)]
struct Reference {
    origin_us: Option<i64>,
    zone: Option<TimeZone>,
}

fn reference(
    value: Option<&ColumnarValue>,
    is_instant: bool,
    format: &FormatSettings,
) -> SqlResult<Option<Reference>> {
    let Some(value) = value else { return Ok(Some(Reference { origin_us: None, zone: None })) };
    let Some(value) = scalar(value) else {
        return Err(invalid("the origin or time zone of time_bucket must be a constant"));
    };
    if value.is_null() {
        return Ok(None);
    }
    let origin = |origin_us| Ok(Some(Reference { origin_us: Some(origin_us), zone: None }));
    match value {
        ScalarValue::Utf8(Some(text)) => {
            if is_instant && let Some(zone) = TimeZone::named(text) {
                return Ok(Some(Reference { origin_us: None, zone: Some(zone) }));
            }
            let moment = if is_instant { timestamptz(text, format) } else { timestamp(text, format) };
            let micros = moment?.micros().ok_or_else(|| invalid("timestamp out of range"))?;
            origin(micros)
        }
        ScalarValue::TimestampMicrosecond(Some(micros), _) => origin(*micros),
        ScalarValue::TimestampNanosecond(Some(nanos), _) => origin(nanos.div_euclid(1000)),
        _ => Err(invalid("the origin of time_bucket must be a timestamp")),
    }
}

/// Buckets, in microseconds.
#[derive(Clone, Debug)]
struct Bucket {
    width: Width,
    zone: Option<TimeZone>,
}

#[derive(Clone, Copy, Debug)]
enum Width {
    Fixed {
        micros: i64,
        origin: i64,
    },
    /// `origin_month` counts months since year 0.
    Months {
        months: i64,
        origin_month: i64,
    },
}

impl Bucket {
    fn new(width: Interval, reference: Reference) -> SqlResult<Bucket> {
        let width = if width.months != 0 {
            if width.days != 0 || width.micros != 0 {
                return Err(invalid("month intervals cannot have day or time component"));
            }
            let origin_days =
                reference.origin_us.map_or(days_from_civil(2000, 1, 1), |us| us.div_euclid(US_PER_DAY));
            let civil = civil_from_days(origin_days);
            if civil.day != 1 || reference.origin_us.is_some_and(|us| us.rem_euclid(US_PER_DAY) != 0) {
                return Err(invalid("the origin of month intervals must be the first of a month"));
            }
            let origin_month = civil.year * 12 + i64::from(civil.month) - 1;
            Width::Months { months: i64::from(width.months), origin_month }
        } else {
            let days = i64::from(width.days).checked_mul(US_PER_DAY);
            let micros = days.and_then(|days| days.checked_add(width.micros));
            let micros = micros.ok_or_else(|| invalid("interval out of range"))?;
            Width::Fixed { micros, origin: reference.origin_us.unwrap_or(ORIGIN_DAYS * US_PER_DAY) }
        };
        match width {
            Width::Fixed { micros: ..=0, .. } | Width::Months { months: ..=0, .. } => {
                Err(invalid("period must be greater than 0"))
            }
            width => Ok(Bucket { width, zone: reference.zone }),
        }
    }

    /// Start and end of the bucket of a time; an end that is the start says nothing of other times.
    /// `None` when they are no timestamps.
    fn around(&self, time_us: i64) -> Option<(i64, i64)> {
        let Some(zone) = &self.zone else { return self.local(time_us) };
        let offset = |us: i64| i64::from(zone.offset_at(us.div_euclid(1_000_000))) * 1_000_000;
        let local = time_us.checked_add(offset(time_us))?;
        let (start, end) = self.local(local)?;
        let instant = |local: i64| {
            let seconds = i64::from(zone.offset_at_local(local.div_euclid(1_000_000)));
            local.checked_sub(seconds * 1_000_000)
        };
        let (start, end) = (instant(start)?, instant(end)?);
        // Where clocks change within a bucket, only this time is certain to be in it: nothing is kept.
        Some(if offset(start) == offset(end) { (start, end) } else { (start, start) })
    }

    fn local(&self, time: i64) -> Option<(i64, i64)> {
        match self.width {
            Width::Fixed { micros, origin } => {
                let from_origin = time.checked_sub(origin)?;
                let start = time.checked_sub(from_origin.rem_euclid(micros))?;
                Some((start, start.checked_add(micros)?))
            }
            Width::Months { months, origin_month } => {
                let civil = civil_from_days(time.div_euclid(US_PER_DAY));
                let month = civil.year * 12 + i64::from(civil.month) - 1;
                let start = month - (month - origin_month).rem_euclid(months);
                Some((first_of(start)?, first_of(start + months)?))
            }
        }
    }
}

/// The first of a month, as a time.
fn first_of(month: i64) -> Option<i64> {
    let in_year = u32::try_from(month.rem_euclid(12)).ok()? + 1;
    days_from_civil(month.div_euclid(12), in_year, 1).checked_mul(US_PER_DAY)
}

fn starts(times: &ArrayRef, bucket: &Bucket) -> Result<ArrayRef> {
    let none = || external(SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, "timestamp out of range"));
    let array: Option<ArrayRef> = match times.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            map::<TimestampMicrosecondType>(times, |time| bucket.around(time))
                .map(|it| Arc::new(it) as ArrayRef)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => map::<TimestampNanosecondType>(times, |time| {
            let (start, end) = bucket.around(time.div_euclid(1000))?;
            Some((start.checked_mul(1000)?, end.checked_mul(1000)?))
        })
        .map(|it| Arc::new(it) as ArrayRef),
        DataType::Date32 => {
            let days = times.as_primitive::<Date32Type>().iter().map(|day| match day {
                None => Ok(None),
                Some(day) => {
                    let start = bucket.around(i64::from(day) * US_PER_DAY).ok_or_else(none)?.0;
                    i32::try_from(start.div_euclid(SECONDS_PER_DAY * 1_000_000)).map(Some).map_err(|_| none())
                }
            });
            let days = days.collect::<Result<PrimitiveArray<Date32Type>>>()?;
            Some(Arc::new(days))
        }
        other => return plan_err!("time_bucket takes a timestamp, not {other}"),
    };
    array.ok_or_else(none)
}

/// Starts of buckets, of which the last one is kept: times mostly come in order.
fn map<T: ArrowPrimitiveType<Native = i64>>(
    times: &ArrayRef,
    around: impl Fn(i64) -> Option<(i64, i64)>,
) -> Option<PrimitiveArray<T>> {
    let times = times.as_primitive::<T>();
    let mut bucket = 0..0;
    let mut starts = Vec::with_capacity(times.len());
    for (row, time) in times.values().iter().enumerate() {
        // An infinite time is its own bucket, and under a NULL there may be any time.
        if *time == i64::MIN || *time == i64::MAX || times.is_null(row) {
            starts.push(*time);
            continue;
        }
        if !bucket.contains(time) {
            let (start, end) = around(*time)?;
            if start == end {
                starts.push(start);
                continue;
            }
            bucket = start..end;
        }
        starts.push(bucket.start);
    }
    let array = PrimitiveArray::<T>::new(ScalarBuffer::from(starts), times.nulls().cloned());
    Some(array.with_data_type(times.data_type().clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pgtype::settings::FormatSettings;

    fn us(text: &str) -> i64 {
        let format = FormatSettings::initial(TimeZone::utc(), 0);
        timestamptz(text, &format).unwrap().micros().unwrap()
    }

    fn bucket(width: &str, zone: Option<&str>, origin: Option<&str>) -> Bucket {
        let format = FormatSettings::initial(TimeZone::utc(), 0);
        let width = interval::parse::parse(width, NO_TYPMOD, &format).unwrap();
        let zone = zone.map(|zone| TimeZone::named(zone).unwrap());
        Bucket::new(width, Reference { origin_us: origin.map(us), zone }).unwrap()
    }

    #[test]
    fn buckets_start_where_they_should() {
        let cases = [
            ("1 hour", None, None, "2026-11-20 10:59:59.999999+00", "2026-11-20 10:00:00+00"),
            ("7 days", None, None, "2026-11-22 23:00:00+00", "2026-11-16 00:00:00+00"),
            ("1 day", None, None, "1969-12-31 23:00:00+00", "1969-12-31 00:00:00+00"),
            ("1 month", None, None, "2024-02-29 12:00:00+00", "2024-02-01 00:00:00+00"),
            ("3 months", None, None, "1999-12-31 12:00:00+00", "1999-10-01 00:00:00+00"),
            ("1 day", Some("Europe/Berlin"), None, "2026-03-29 12:00:00+00", "2026-03-28 23:00:00+00"),
            ("1 day", Some("Europe/Berlin"), None, "2026-03-29 22:30:00+00", "2026-03-29 22:00:00+00"),
            ("1 month", Some("America/New_York"), None, "2026-07-01 03:00:00+00", "2026-06-01 04:00:00+00"),
            (
                "5 min",
                None,
                Some("2026-01-01 00:02:00+00"),
                "2026-01-01 00:06:00+00",
                "2026-01-01 00:02:00+00",
            ),
        ];
        for (width, zone, origin, time, start) in cases {
            assert_eq!(
                bucket(width, zone, origin).around(us(time)).unwrap().0,
                us(start),
                "{width} {zone:?} {time}"
            );
        }
    }

    #[test]
    fn the_bucket_that_is_kept_is_only_used_within_it() {
        let times: Vec<Option<i64>> = vec![Some(5), Some(10), None, Some(-1), Some(19), Some(i64::MAX)];
        let times: ArrayRef = Arc::new(PrimitiveArray::<TimestampMicrosecondType>::from(times));
        let width = Width::Fixed { micros: 10, origin: 0 };
        let starts = starts(&times, &Bucket { width, zone: None }).unwrap();
        let starts: Vec<Option<i64>> = starts.as_primitive::<TimestampMicrosecondType>().iter().collect();
        assert_eq!(starts, [Some(0), Some(10), None, Some(-10), Some(10), Some(i64::MAX)]);
    }
}
