//! Operators and functions on dates, timestamps and intervals, by their names.

use crate::error::{SqlError, SqlResult};
use crate::pgtype::calendar::US_PER_SECOND;
use crate::pgtype::cast::{instant_to_local, local_to_instant};
use crate::pgtype::datum::Datum;
use crate::pgtype::interval::{Interval, parse::out_of_range};
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::timezone::TimeZone;
use crate::sql::functions::formatting;
use crate::sql::functions::row::{Entry, Kind, Overload, strict};
use crate::sqlstate;

mod ages;
pub mod arithmetic;
mod making;
mod spans;

use self::ages::{Justify, age, age_today, justify};
use self::arithmetic::{add, between, days_between, divide, negated, scaled, shift, shift_days};
use self::making::{epoch, make_date, make_interval, make_timestamp};
use self::spans::{date_bin, overlapping};
use Kind::{Bool, Date, Float8, Int4, Text, Timestamp, Timestamptz};

/// Days that a month is taken for where it must be some.
const DAYS_PER_MONTH: i32 = 30;

/// Operators by their symbols.
pub const OPERATORS: &[Entry] = &[
    ("+", ADD),
    ("-", SUBTRACT),
    ("*", MULTIPLY),
    ("/", &[strict(&[Kind::Interval, Float8], Kind::Interval, |args, _| divide(args))]),
];

/// Functions by their names.
pub const FUNCTIONS: &[Entry] = &[
    (
        "age",
        &[
            strict(&[Timestamptz, Timestamptz], Kind::Interval, age),
            strict(&[Timestamp, Timestamp], Kind::Interval, age),
            strict(&[Timestamptz], Kind::Interval, age_today),
            strict(&[Timestamp], Kind::Interval, age_today),
        ],
    ),
    (
        "date_bin",
        &[
            strict(&[Kind::Interval, Timestamptz, Timestamptz], Timestamptz, |args, _| date_bin(args)),
            strict(&[Kind::Interval, Timestamp, Timestamp], Timestamp, |args, _| date_bin(args)),
        ],
    ),
    ("justify_days", &[strict(&[Kind::Interval], Kind::Interval, |args, _| justify(args, Justify::Days))]),
    ("justify_hours", &[strict(&[Kind::Interval], Kind::Interval, |args, _| justify(args, Justify::Hours))]),
    (
        "justify_interval",
        &[strict(&[Kind::Interval], Kind::Interval, |args, _| justify(args, Justify::Both))],
    ),
    (
        "isfinite",
        &[
            strict(&[Date], Bool, |args, _| Ok(Datum::Bool(is_finite(&args[0])))),
            strict(&[Timestamp], Bool, |args, _| Ok(Datum::Bool(is_finite(&args[0])))),
            strict(&[Timestamptz], Bool, |args, _| Ok(Datum::Bool(is_finite(&args[0])))),
            strict(&[Kind::Interval], Bool, |_, _| Ok(Datum::Bool(true))),
        ],
    ),
    (
        "make_interval",
        &[strict(&[Int4, Int4, Int4, Int4, Int4, Int4, Float8], Kind::Interval, |args, _| {
            make_interval(args)
        })],
    ),
    (
        "make_timestamptz",
        &[
            strict(&[Int4, Int4, Int4, Int4, Int4, Float8], Timestamptz, |args, format| {
                local_to_instant(make_timestamp(args)?, format).map(Datum::Timestamptz)
            }),
            strict(&[Int4, Int4, Int4, Int4, Int4, Float8, Text], Timestamptz, |args, format| {
                at_zone(&[args[6].clone(), Datum::Timestamp(make_timestamp(args)?)], format)
            }),
        ],
    ),
    (
        "overlaps",
        &[
            overlapping(&[Timestamptz, Timestamptz, Timestamptz, Timestamptz]),
            overlapping(&[Timestamp, Timestamp, Timestamp, Timestamp]),
            overlapping(&[Timestamptz, Kind::Interval, Timestamptz, Kind::Interval]),
            overlapping(&[Timestamp, Kind::Interval, Timestamp, Kind::Interval]),
            overlapping(&[Timestamptz, Timestamptz, Timestamptz, Kind::Interval]),
            overlapping(&[Timestamp, Timestamp, Timestamp, Kind::Interval]),
            overlapping(&[Timestamptz, Kind::Interval, Timestamptz, Timestamptz]),
            overlapping(&[Timestamp, Kind::Interval, Timestamp, Timestamp]),
        ],
    ),
    ("make_date", &[strict(&[Int4, Int4, Int4], Date, |args, _| make_date(args).map(Datum::Date))]),
    (
        "make_timestamp",
        &[strict(&[Int4, Int4, Int4, Int4, Int4, Float8], Timestamp, |args, _| {
            make_timestamp(args).map(Datum::Timestamp)
        })],
    ),
    (
        "to_timestamp",
        &[
            strict(&[Float8], Timestamptz, |args, _| epoch(args)),
            strict(&[Text, Text], Timestamptz, formatting::to_timestamp),
        ],
    ),
    (
        "timezone",
        &[
            strict(&[Text, Timestamptz], Timestamp, at_zone),
            strict(&[Text, Timestamp], Timestamptz, at_zone),
            strict(&[Kind::Interval, Timestamptz], Timestamp, at_zone),
            strict(&[Kind::Interval, Timestamp], Timestamptz, at_zone),
        ],
    ),
];

const ADD: &[Overload] = &[
    strict(&[Date, Int4], Date, |args, _| shift_days(&args[0], &args[1], 1)),
    strict(&[Int4, Date], Date, |args, _| shift_days(&args[1], &args[0], 1)),
    strict(&[Timestamptz, Kind::Interval], Timestamptz, |args, format| shift(&args[0], &args[1], 1, format)),
    strict(&[Timestamp, Kind::Interval], Timestamp, |args, format| shift(&args[0], &args[1], 1, format)),
    strict(&[Date, Kind::Interval], Timestamp, |args, format| shift(&args[0], &args[1], 1, format)),
    strict(&[Kind::Interval, Timestamptz], Timestamptz, |args, format| shift(&args[1], &args[0], 1, format)),
    strict(&[Kind::Interval, Timestamp], Timestamp, |args, format| shift(&args[1], &args[0], 1, format)),
    strict(&[Kind::Interval, Date], Timestamp, |args, format| shift(&args[1], &args[0], 1, format)),
    strict(&[Kind::Interval, Kind::Interval], Kind::Interval, |args, _| {
        add(interval(&args[0])?, interval(&args[1])?).map(Datum::Interval)
    }),
];

const SUBTRACT: &[Overload] = &[
    strict(&[Date, Date], Int4, |args, _| days_between(args)),
    strict(&[Date, Int4], Date, |args, _| shift_days(&args[0], &args[1], -1)),
    strict(&[Timestamptz, Timestamptz], Kind::Interval, |args, _| between(args)),
    strict(&[Timestamp, Timestamp], Kind::Interval, |args, _| between(args)),
    strict(&[Timestamptz, Kind::Interval], Timestamptz, |args, format| shift(&args[0], &args[1], -1, format)),
    strict(&[Timestamp, Kind::Interval], Timestamp, |args, format| shift(&args[0], &args[1], -1, format)),
    strict(&[Date, Kind::Interval], Timestamp, |args, format| shift(&args[0], &args[1], -1, format)),
    strict(&[Kind::Interval, Kind::Interval], Kind::Interval, |args, _| {
        add(interval(&args[0])?, negated(interval(&args[1])?)?).map(Datum::Interval)
    }),
    strict(&[Kind::Interval], Kind::Interval, |args, _| negated(interval(&args[0])?).map(Datum::Interval)),
];

const MULTIPLY: &[Overload] = &[
    strict(&[Kind::Interval, Float8], Kind::Interval, |args, _| {
        scaled(interval(&args[0])?, |it| it * float(&args[1])).map(Datum::Interval)
    }),
    strict(&[Float8, Kind::Interval], Kind::Interval, |args, _| {
        scaled(interval(&args[1])?, |it| it * float(&args[0])).map(Datum::Interval)
    }),
];

fn interval(datum: &Datum) -> SqlResult<Interval> {
    match datum {
        Datum::Interval(value) => Ok(*value),
        _ => Err(SqlError::internal("an interval was expected")),
    }
}

fn float(datum: &Datum) -> f64 {
    match datum {
        Datum::Float8(value) => *value,
        _ => f64::NAN,
    }
}

fn integer(datum: &Datum) -> i32 {
    match datum {
        Datum::Int4(value) => *value,
        _ => 0,
    }
}

fn overflow(message: &str) -> SqlError {
    SqlError::new(sqlstate::DATETIME_FIELD_OVERFLOW, message)
}

fn is_finite(datum: &Datum) -> bool {
    match datum {
        Datum::Date(days) => !matches!(*days, i32::MIN | i32::MAX),
        Datum::Timestamp(us) | Datum::Timestamptz(us) => !matches!(*us, i64::MIN | i64::MAX),
        _ => true,
    }
}

/// What clocks in a zone show at an instant, or the instant at which they show a time.
fn at_zone(args: &[Datum], format: &FormatSettings) -> SqlResult<Datum> {
    let time_zone = match &args[0] {
        Datum::Text(name) => TimeZone::decode(name)?,
        Datum::Interval(Interval { months: 0, days: 0, micros }) => {
            TimeZone::from_offset(micros / US_PER_SECOND).ok_or_else(out_of_range)?
        }
        _ => {
            let message = "interval time zone must not include months or days";
            return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
        }
    };
    let there = FormatSettings { time_zone, ..format.clone() };
    match &args[1] {
        Datum::Timestamptz(us) => instant_to_local(*us, &there).map(Datum::Timestamp),
        Datum::Timestamp(us) => local_to_instant(*us, &there).map(Datum::Timestamptz),
        _ => Err(SqlError::internal("a timestamp was expected")),
    }
}
