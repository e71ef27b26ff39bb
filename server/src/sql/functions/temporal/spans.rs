//! Spans of time: the stride that a moment lies in, and whether two spans overlap.

use super::arithmetic::shift;
use super::{interval, is_finite, overflow};
use crate::error::{SqlError, SqlResult};
use crate::pgtype::calendar::US_PER_DAY;
use crate::pgtype::datetime::parse::value_out_of_range;
use crate::pgtype::datum::Datum;
use crate::pgtype::interval::parse::out_of_range;
use crate::pgtype::settings::FormatSettings;
use crate::sql::functions::row::{Kind, Overload, strict};
use crate::sqlstate;

/// The start of the stride that a time lies in, counted from an origin.
pub(super) fn date_bin(args: &[Datum]) -> SqlResult<Datum> {
    let stride = interval(&args[0])?;
    let (
        Datum::Timestamp(us) | Datum::Timestamptz(us),
        Datum::Timestamp(origin) | Datum::Timestamptz(origin),
    ) = (&args[1], &args[2])
    else {
        return Err(SqlError::internal("timestamps were expected"));
    };
    if !is_finite(&args[1]) {
        return Ok(args[1].clone());
    }
    if !is_finite(&args[2]) {
        return Err(overflow("origin out of range"));
    }
    if stride.months != 0 {
        let message = "timestamps cannot be binned into intervals containing months or years";
        return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
    }
    let width = i64::from(stride.days).checked_mul(US_PER_DAY).and_then(|it| it.checked_add(stride.micros));
    let width = width.ok_or_else(out_of_range)?;
    if width <= 0 {
        return Err(overflow("stride must be greater than zero"));
    }
    let distance = us.checked_sub(*origin).ok_or_else(out_of_range)?;
    let start = us.checked_sub(distance.rem_euclid(width)).ok_or_else(|| value_out_of_range("timestamp"))?;
    Ok(match &args[1] {
        Datum::Timestamp(_) => Datum::Timestamp(start),
        _ => Datum::Timestamptz(start),
    })
}

/// Two spans, each by its ends or by a start and a length; NULLs leave open what they do not decide.
pub(super) const fn overlapping(arguments: &'static [Kind]) -> Overload {
    Overload { takes_nulls: true, ..strict(arguments, Kind::Bool, overlaps) }
}

fn overlaps(args: &[Datum], format: &FormatSettings) -> SqlResult<Datum> {
    let end = |start: &Datum, end: &Datum| match (start, end) {
        (Datum::Null, Datum::Interval(_)) => Ok(Datum::Null),
        (start, end @ Datum::Interval(_)) => shift(start, end, 1, format),
        (_, end) => Ok(end.clone()),
    };
    let moment = |datum: &Datum| match datum {
        Datum::Timestamp(us) | Datum::Timestamptz(us) => Some(*us),
        _ => None,
    };
    let span = |start: &Datum, last: &Datum| -> SqlResult<Option<(i64, Option<i64>)>> {
        let ends = (moment(start), moment(&end(start, last)?));
        Ok(match ends {
            (None, None) => None,
            (Some(one), None) | (None, Some(one)) => Some((one, None)),
            (Some(one), Some(other)) => Some((one.min(other), Some(one.max(other)))),
        })
    };
    let (Some(first), Some(second)) = (span(&args[0], &args[1])?, span(&args[2], &args[3])?) else {
        return Ok(Datum::Null);
    };
    let (earlier, later) = if first.0 <= second.0 { (first, second) } else { (second, first) };
    Ok(match (earlier.0 == later.0, earlier.1) {
        // Both start at once: they overlap, whatever their ends are, if those are known.
        (true, _) if earlier.1.is_none() || later.1.is_none() => Datum::Null,
        (true, _) => Datum::Bool(true),
        (false, Some(end)) if later.0 < end => Datum::Bool(true),
        (false, Some(_)) => Datum::Bool(false),
        (false, None) => Datum::Null,
    })
}
