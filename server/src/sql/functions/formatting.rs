//! `to_char` and its opposites.

use crate::error::{SqlError, SqlResult};
use crate::pgtype::calendar::{TIMESTAMP_END, TIMESTAMP_MIN, US_PER_DAY, US_PER_SECOND};
use crate::pgtype::cast::{instant_to_local, local_to_instant};
use crate::pgtype::datetime::parse::{round_half_away, value_out_of_range};
use crate::pgtype::datum::Datum;
use crate::pgtype::formatting::date_text::{self, Zone};
use crate::pgtype::formatting::{date_read, number_read, number_text};
use crate::pgtype::settings::FormatSettings;
use crate::sql::functions::row::{Entry, Kind, Overload, strict};
use crate::sqlstate;

use Kind::Text;

/// The functions.
pub const FUNCTIONS: &[Entry] = &[
    ("to_char", TO_CHAR),
    ("to_date", &[strict(&[Text, Text], Kind::Date, |args, _| to_date(args))]),
    ("to_number", &[strict(&[Text, Text], Kind::Numeric, |args, _| to_number(args))]),
];

/// The digits that floats have in any case.
const FLOAT8_DIGITS: usize = 15;
const FLOAT4_DIGITS: usize = 6;

const TO_CHAR: &[Overload] = &[
    strict(&[Kind::Timestamptz, Text], Text, instant),
    strict(&[Kind::Timestamp, Text], Text, |args, _| match args {
        [Datum::Timestamp(us), Datum::Text(template)] => local(*us, None, template),
        _ => Err(unexpected()),
    }),
    strict(&[Kind::Interval, Text], Text, |args, _| match args {
        [Datum::Interval(value), Datum::Text(template)] => Ok(text(date_text::interval(*value, template)?)),
        _ => Err(unexpected()),
    }),
    strict(&[Kind::Numeric, Text], Text, |args, _| number(args)),
    strict(&[Kind::Int4, Text], Text, |args, _| number(args)),
    strict(&[Kind::Int8, Text], Text, |args, _| number(args)),
    strict(&[Kind::Float4, Text], Text, |args, _| number(args)),
    strict(&[Kind::Float8, Text], Text, |args, _| number(args)),
];

fn unexpected() -> SqlError {
    SqlError::internal("a value and a template were expected")
}

fn text(text: Option<String>) -> Datum {
    text.map_or(Datum::Null, Datum::Text)
}

fn instant(args: &[Datum], format: &FormatSettings) -> SqlResult<Datum> {
    let [Datum::Timestamptz(us), Datum::Text(template)] = args else { return Err(unexpected()) };
    if matches!(*us, i64::MIN | i64::MAX) {
        return Ok(Datum::Null);
    }
    let seconds = us.div_euclid(US_PER_SECOND);
    let name = format.time_zone.abbreviation_at(seconds);
    let zone = Zone { name: &name, offset_seconds: format.time_zone.offset_at(seconds) };
    local(instant_to_local(*us, format)?, Some(zone), template)
}

fn local(us: i64, zone: Option<Zone<'_>>, template: &str) -> SqlResult<Datum> {
    if matches!(us, i64::MIN | i64::MAX) {
        return Ok(Datum::Null);
    }
    Ok(text(date_text::timestamp(us, zone, template)?))
}

fn number(args: &[Datum]) -> SqlResult<Datum> {
    let [value, Datum::Text(template)] = args else { return Err(unexpected()) };
    let written = match value {
        Datum::Int4(value) => number_text::integer(i64::from(*value), template)?,
        Datum::Int8(value) => number_text::integer(*value, template)?,
        Datum::Float4(value) => number_text::float(f64::from(*value), FLOAT4_DIGITS, template)?,
        Datum::Float8(value) => number_text::float(*value, FLOAT8_DIGITS, template)?,
        Datum::Numeric(value) => number_text::numeric(value, template)?,
        _ => return Err(unexpected()),
    };
    Ok(Datum::Text(written))
}

fn to_date(args: &[Datum]) -> SqlResult<Datum> {
    let [Datum::Text(value), Datum::Text(template)] = args else { return Err(unexpected()) };
    let moment = date_read::read(value, template)?;
    let days = i32::try_from(moment.days).ok().filter(|days| {
        (crate::pgtype::calendar::DATE_MIN..=crate::pgtype::calendar::DATE_MAX).contains(days)
    });
    days.map(Datum::Date).ok_or_else(|| {
        SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, format!("date out of range: \"{value}\""))
    })
}

/// `to_timestamp(text, text)`.
pub fn to_timestamp(args: &[Datum], format: &FormatSettings) -> SqlResult<Datum> {
    let [Datum::Text(value), Datum::Text(template)] = args else { return Err(unexpected()) };
    let moment = date_read::read(value, template)?;
    let out_of_range = || value_out_of_range("timestamp");
    let local = moment.days.checked_mul(US_PER_DAY).and_then(|it| it.checked_add(moment.time_us));
    let local = local.filter(|us| (TIMESTAMP_MIN..TIMESTAMP_END).contains(us)).ok_or_else(out_of_range)?;
    let us = match moment.offset_seconds {
        Some(offset) => local - i64::from(offset) * US_PER_SECOND,
        None => local_to_instant(local, format)?,
    };
    let rounded = match moment.fraction_digits {
        Some(digits @ 0..6) => {
            let step = 10_i128.pow(6 - u32::try_from(digits).map_err(SqlError::internal)?);
            i64::try_from(round_half_away(i128::from(us), step)).map_err(|_| out_of_range())?
        }
        _ => us,
    };
    Ok(Datum::Timestamptz(rounded))
}

fn to_number(args: &[Datum]) -> SqlResult<Datum> {
    let [Datum::Text(value), Datum::Text(template)] = args else { return Err(unexpected()) };
    Ok(number_read::read(value, template)?.map_or(Datum::Null, Datum::Numeric))
}
