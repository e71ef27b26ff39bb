//! Functions of numbers that DataFusion rounds otherwise, or lets pass where PostgreSQL raises an error.

use bigdecimal::{BigDecimal, RoundingMode, Signed, Zero};

use crate::error::{SqlError, SqlResult};
use crate::pgtype::datum::Datum;
use crate::pgtype::numeric::Numeric;
use crate::sql::functions::row::{Entry, Kind, Overload, strict};
use crate::sqlstate;

use Kind::{Float8, Int4};

/// The functions.
pub const FUNCTIONS: &[Entry] = &[
    ("round", ROUND),
    ("trunc", TRUNC),
    ("ceil", CEIL),
    ("ceiling", CEIL),
    ("floor", FLOOR),
    (
        "sign",
        &[
            strict(&[Float8], Float8, |args, _| {
                on_float(args, |it| if it == 0.0 || it.is_nan() { it } else { it.signum() })
            }),
            strict(&[Kind::Numeric], Kind::Numeric, |args, _| on_numeric(args, |it| it.signum())),
        ],
    ),
    ("div", &[strict(&[Kind::Numeric, Kind::Numeric], Kind::Numeric, |args, _| quotient(args))]),
    (
        "sqrt",
        &[strict(&[Float8], Float8, |args, _| {
            let message = "cannot take square root of a negative number";
            guarded(args, |it| it < 0.0, sqlstate::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message, f64::sqrt)
        })],
    ),
    ("ln", &[strict(&[Float8], Float8, |args, _| logarithm(args, f64::ln))]),
    ("log", LOG10),
    ("log10", LOG10),
    ("exp", &[strict(&[Float8], Float8, |args, _| finite(args, f64::exp))]),
    ("acos", &[strict(&[Float8], Float8, |args, _| arc(args, f64::acos))]),
    ("asin", &[strict(&[Float8], Float8, |args, _| arc(args, f64::asin))]),
    ("power", POWER),
    ("pow", POWER),
    ("factorial", &[strict(&[Kind::Int8], Kind::Numeric, |args, _| factorial(args))]),
    (
        "gcd",
        &[
            strict(&[Int4, Int4], Int4, |args, _| int4(gcd(args)?)),
            strict(&[Kind::Int8, Kind::Int8], Kind::Int8, |args, _| int8(gcd(args)?)),
        ],
    ),
    (
        "lcm",
        &[
            strict(&[Int4, Int4], Int4, |args, _| int4(lcm(args)?)),
            strict(&[Kind::Int8, Kind::Int8], Kind::Int8, |args, _| int8(lcm(args)?)),
        ],
    ),
];

const ROUND: &[Overload] = &[
    strict(&[Float8], Float8, |args, _| on_float(args, f64::round_ties_even)),
    strict(&[Kind::Numeric], Kind::Numeric, |args, _| {
        on_numeric(args, |it| scaled(it, 0, RoundingMode::HalfUp))
    }),
    strict(&[Kind::Numeric, Int4], Kind::Numeric, |args, _| to_digits(args, RoundingMode::HalfUp)),
];

const TRUNC: &[Overload] = &[
    strict(&[Float8], Float8, |args, _| on_float(args, f64::trunc)),
    strict(&[Kind::Numeric], Kind::Numeric, |args, _| {
        on_numeric(args, |it| scaled(it, 0, RoundingMode::Down))
    }),
    strict(&[Kind::Numeric, Int4], Kind::Numeric, |args, _| to_digits(args, RoundingMode::Down)),
];

const CEIL: &[Overload] = &[
    strict(&[Float8], Float8, |args, _| on_float(args, f64::ceil)),
    strict(&[Kind::Numeric], Kind::Numeric, |args, _| {
        on_numeric(args, |it| scaled(it, 0, RoundingMode::Ceiling))
    }),
];

const FLOOR: &[Overload] = &[
    strict(&[Float8], Float8, |args, _| on_float(args, f64::floor)),
    strict(&[Kind::Numeric], Kind::Numeric, |args, _| {
        on_numeric(args, |it| scaled(it, 0, RoundingMode::Floor))
    }),
];

const LOG10: &[Overload] = &[strict(&[Float8], Float8, |args, _| logarithm(args, f64::log10))];

const POWER: &[Overload] = &[strict(&[Float8, Float8], Float8, |args, _| power(args))];

fn float(args: &[Datum], at: usize) -> SqlResult<f64> {
    match args.get(at) {
        Some(Datum::Float8(value)) => Ok(*value),
        _ => Err(SqlError::internal("a double was expected")),
    }
}

fn on_float(args: &[Datum], apply: impl Fn(f64) -> f64) -> SqlResult<Datum> {
    Ok(Datum::Float8(apply(float(args, 0)?)))
}

fn on_numeric(args: &[Datum], apply: impl Fn(&BigDecimal) -> BigDecimal) -> SqlResult<Datum> {
    match args.first() {
        Some(Datum::Numeric(Numeric::Finite(value))) => Ok(Datum::Numeric(Numeric::Finite(apply(value)))),
        Some(Datum::Numeric(other)) => Ok(Datum::Numeric(other.clone())),
        _ => Err(SqlError::internal("a number was expected")),
    }
}

/// So many digits after the point; negative ones are before it, and none is shown then.
fn scaled(value: &BigDecimal, digits: i64, mode: RoundingMode) -> BigDecimal {
    let rounded = value.with_scale_round(digits, mode);
    if digits < 0 { rounded.with_scale(0) } else { rounded }
}

fn to_digits(args: &[Datum], mode: RoundingMode) -> SqlResult<Datum> {
    let Some(Datum::Int4(digits)) = args.get(1) else {
        return Err(SqlError::internal("a number of digits was expected"));
    };
    // More digits than numbers have here change nothing.
    let digits = i64::from(*digits).clamp(-200, 200);
    on_numeric(args, |value| scaled(value, digits, mode))
}

fn quotient(args: &[Datum]) -> SqlResult<Datum> {
    let [Datum::Numeric(Numeric::Finite(left)), Datum::Numeric(Numeric::Finite(right))] = args else {
        return Err(SqlError::internal("finite numbers were expected"));
    };
    if right.is_zero() {
        return Err(SqlError::new(sqlstate::DIVISION_BY_ZERO, "division by zero"));
    }
    // The remainder is exact, and so is what is left when it is taken off.
    let remainder = left % right;
    let quotient = ((left - remainder) / right).with_scale_round(0, RoundingMode::HalfUp);
    Ok(Datum::Numeric(Numeric::Finite(quotient)))
}

fn guarded(
    args: &[Datum],
    is_refused: impl Fn(f64) -> bool,
    state: sqlstate::SqlState,
    message: &str,
    apply: impl Fn(f64) -> f64,
) -> SqlResult<Datum> {
    if is_refused(float(args, 0)?) {
        return Err(SqlError::new(state, message));
    }
    on_float(args, apply)
}

fn logarithm(args: &[Datum], apply: impl Fn(f64) -> f64) -> SqlResult<Datum> {
    let state = sqlstate::INVALID_ARGUMENT_FOR_LOGARITHM;
    if float(args, 0)? == 0.0 {
        return Err(SqlError::new(state, "cannot take logarithm of zero"));
    }
    guarded(args, |it| it < 0.0, state, "cannot take logarithm of a negative number", apply)
}

fn arc(args: &[Datum], apply: impl Fn(f64) -> f64) -> SqlResult<Datum> {
    let state = sqlstate::NUMERIC_VALUE_OUT_OF_RANGE;
    guarded(args, |it| !(-1.0..=1.0).contains(&it) && !it.is_nan(), state, "input is out of range", apply)
}

fn overflow() -> SqlError {
    SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow")
}

fn finite(args: &[Datum], apply: impl Fn(f64) -> f64) -> SqlResult<Datum> {
    let value = float(args, 0)?;
    let result = apply(value);
    match result {
        result if result.is_infinite() && value.is_finite() => Err(overflow()),
        result if result == 0.0 && value.is_finite() => {
            Err(SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: underflow"))
        }
        result => Ok(Datum::Float8(result)),
    }
}

fn power(args: &[Datum]) -> SqlResult<Datum> {
    let (base, exponent) = (float(args, 0)?, float(args, 1)?);
    let state = sqlstate::INVALID_ARGUMENT_FOR_POWER_FUNCTION;
    if base == 0.0 && exponent < 0.0 {
        return Err(SqlError::new(state, "zero raised to a negative power is undefined"));
    }
    if base < 0.0 && exponent.is_finite() && exponent.fract() != 0.0 {
        let message = "a negative number raised to a non-integer power yields a complex result";
        return Err(SqlError::new(state, message));
    }
    let result = base.powf(exponent);
    match result.is_infinite() && base.is_finite() && exponent.is_finite() {
        true => Err(overflow()),
        false => Ok(Datum::Float8(result)),
    }
}

fn integers(args: &[Datum]) -> SqlResult<(i128, i128)> {
    match args {
        [Datum::Int4(left), Datum::Int4(right)] => Ok((i128::from(*left), i128::from(*right))),
        [Datum::Int8(left), Datum::Int8(right)] => Ok((i128::from(*left), i128::from(*right))),
        _ => Err(SqlError::internal("integers were expected")),
    }
}

fn gcd(args: &[Datum]) -> SqlResult<i128> {
    let (mut left, mut right) = integers(args)?;
    while right != 0 {
        (left, right) = (right, left % right);
    }
    Ok(left.abs())
}

fn lcm(args: &[Datum]) -> SqlResult<i128> {
    let (left, right) = integers(args)?;
    let gcd = gcd(args)?;
    Ok(if gcd == 0 { 0 } else { (left / gcd * right).abs() })
}

fn int4(value: i128) -> SqlResult<Datum> {
    i32::try_from(value).map(Datum::Int4).map_err(|_| crate::pgtype::cast::integer_out_of_range("integer"))
}

fn int8(value: i128) -> SqlResult<Datum> {
    i64::try_from(value).map(Datum::Int8).map_err(|_| crate::pgtype::cast::integer_out_of_range("bigint"))
}

fn factorial(args: &[Datum]) -> SqlResult<Datum> {
    let Some(Datum::Int8(count)) = args.first() else {
        return Err(SqlError::internal("an integer was expected"));
    };
    if *count < 0 {
        let message = "factorial of a negative number is undefined";
        return Err(SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, message));
    }
    // 33! is the last that 38 digits hold.
    if *count > 33 {
        return Err(SqlError::new(sqlstate::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format"));
    }
    let product = (1..=*count).fold(BigDecimal::from(1), |product, it| product * BigDecimal::from(it));
    Ok(Datum::Numeric(Numeric::Finite(product)))
}
