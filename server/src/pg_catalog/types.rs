//! Types as casts name them.

use sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType as SqlType, ExactNumberInfo, ObjectName, TimezoneInfo,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::PgType;
use crate::pgtype::types::{
    Family, NO_TYPMOD, TYPMOD_HEADER, array_type_of, family, format_type, type_by_name,
};
use crate::sql::names;
use crate::sqlstate;

/// The type that SQL names, with its modifier.
pub(crate) fn resolve(sql_type: &SqlType) -> SqlResult<(PgType, i32)> {
    let plain = |pg_type| Ok((pg_type, NO_TYPMOD));
    match sql_type {
        SqlType::Boolean | SqlType::Bool => plain(PgType::BOOL),
        SqlType::SmallInt(_) | SqlType::Int2(_) => plain(PgType::INT2),
        SqlType::Int(_) | SqlType::Integer(_) | SqlType::Int4(_) => plain(PgType::INT4),
        SqlType::BigInt(_) | SqlType::Int8(_) => plain(PgType::INT8),
        SqlType::Real | SqlType::Float4 | SqlType::Float(ExactNumberInfo::Precision(1..=24)) => {
            plain(PgType::FLOAT4)
        }
        SqlType::DoublePrecision | SqlType::Float8 | SqlType::Double(_) | SqlType::Float(_) => {
            plain(PgType::FLOAT8)
        }
        SqlType::Numeric(info) | SqlType::Decimal(info) | SqlType::Dec(info) => {
            Ok((PgType::NUMERIC, numeric(info)?))
        }
        SqlType::Text => plain(PgType::TEXT),
        SqlType::Varchar(length) | SqlType::CharacterVarying(length) | SqlType::CharVarying(length) => {
            Ok((PgType::VARCHAR, limit(length.as_ref(), NO_TYPMOD)))
        }
        SqlType::Char(length) | SqlType::Character(length) => {
            Ok((PgType::BPCHAR, limit(length.as_ref(), TYPMOD_HEADER + 1)))
        }
        SqlType::Bytea => plain(PgType::BYTEA),
        SqlType::Date => plain(PgType::DATE),
        SqlType::Time(precision, zone) => {
            let with_zone = matches!(zone, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz);
            Ok((if with_zone { PgType::TIMETZ } else { PgType::TIME }, digits(*precision)))
        }
        SqlType::Timestamp(precision, zone) => {
            let with_zone = matches!(zone, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz);
            Ok((if with_zone { PgType::TIMESTAMPTZ } else { PgType::TIMESTAMP }, digits(*precision)))
        }
        SqlType::Interval { fields: None, precision: None } => plain(PgType::INTERVAL),
        SqlType::Uuid => plain(PgType::UUID),
        SqlType::JSON => plain(PgType::JSON),
        SqlType::JSONB => plain(PgType::JSONB),
        SqlType::Regclass => plain(PgType::REGCLASS),
        SqlType::Array(
            ArrayElemTypeDef::SquareBracket(element, _)
            | ArrayElemTypeDef::AngleBracket(element)
            | ArrayElemTypeDef::Parenthesis(element),
        ) => {
            let (element, typmod) = resolve(element)?;
            Ok((array_of(&element)?, typmod))
        }
        SqlType::Custom(name, modifiers) => custom(name, modifiers),
        other => Err(undefined(&other.to_string().to_lowercase())),
    }
}

/// Arrays of arrays have the type of arrays.
pub(crate) fn array_of(element: &PgType) -> SqlResult<PgType> {
    if family(element) == Family::Array {
        return Ok(element.clone());
    }
    array_type_of(element).ok_or_else(|| {
        let message = format!("could not find array type for data type {}", format_type(element));
        SqlError::new(sqlstate::UNDEFINED_OBJECT, message)
    })
}

/// The type with this name, as `regtype` reads it.
pub(crate) fn parse(text: &str) -> SqlResult<(PgType, i32)> {
    let parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(text);
    let parsed = parser.and_then(|mut parser| {
        let parsed = parser.parse_data_type()?;
        match parser.peek_token().token {
            sqlparser::tokenizer::Token::EOF => Ok(parsed),
            other => Err(sqlparser::parser::ParserError::ParserError(other.to_string())),
        }
    });
    match parsed {
        Ok(parsed) => resolve(&parsed),
        Err(_) => Err(undefined(text)),
    }
}

fn undefined(name: &str) -> SqlError {
    SqlError::new(sqlstate::UNDEFINED_OBJECT, format!("type \"{name}\" does not exist"))
}

fn digits(precision: Option<u64>) -> i32 {
    precision.and_then(|it| i32::try_from(it).ok()).map_or(NO_TYPMOD, |it| it.min(6))
}

fn limit(length: Option<&CharacterLength>, otherwise: i32) -> i32 {
    match length {
        Some(CharacterLength::IntegerLength { length, .. }) => {
            i32::try_from(*length).map_or(NO_TYPMOD, |length| length.saturating_add(TYPMOD_HEADER))
        }
        _ => otherwise,
    }
}

fn numeric(info: &ExactNumberInfo) -> SqlResult<i32> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Ok(NO_TYPMOD),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    match (i32::try_from(precision), i32::try_from(scale)) {
        (Ok(precision @ 1..=1000), Ok(scale @ -1000..=1000)) => {
            Ok(((precision << 16) | (scale & 0x7ff)) + TYPMOD_HEADER)
        }
        _ => {
            let message = format!("NUMERIC precision {precision} must be between 1 and 1000");
            Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message))
        }
    }
}

fn custom(name: &ObjectName, modifiers: &[String]) -> SqlResult<(PgType, i32)> {
    let mut parts = names::parts(name)?;
    let is_quoted = name.0.last().and_then(|part| part.as_ident()).is_some_and(|it| it.quote_style.is_some());
    let last = parts.pop().unwrap_or_default();
    let namespace = parts.pop();
    if let Some(namespace) = &namespace {
        if namespace == "information_schema" {
            let base = match last.as_str() {
                "sql_identifier" => Some(PgType::NAME),
                "cardinal_number" => Some(PgType::INT4),
                "character_data" | "yes_or_no" => Some(PgType::VARCHAR),
                _ => None,
            };
            return base
                .map(|base| (base, NO_TYPMOD))
                .ok_or_else(|| undefined(&format!("{namespace}.{last}")));
        }
        if namespace != "pg_catalog" {
            return Err(undefined(&format!("{namespace}.{last}")));
        }
    }
    let typmod = modifiers.first().and_then(|it| it.parse::<i32>().ok());
    let found = match last.as_str() {
        // The parser keeps the quotes of a name away from us, but "char" and char are two types.
        "char" if is_quoted || namespace.is_some() => Some((PgType::CHAR, NO_TYPMOD)),
        "char" => Some((PgType::BPCHAR, TYPMOD_HEADER + 1)),
        "symbol" => Some((PgType::TEXT, NO_TYPMOD)),
        "varchar" | "bpchar" => {
            type_by_name(&last).map(|it| (it, typmod.map_or(NO_TYPMOD, |limit| limit + TYPMOD_HEADER)))
        }
        "timestamp" | "timestamptz" | "time" | "timetz" => {
            type_by_name(&last).map(|it| (it, typmod.map_or(NO_TYPMOD, |digits| digits.min(6))))
        }
        other => type_by_name(other).map(|it| (it, NO_TYPMOD)),
    };
    found.ok_or_else(|| undefined(&last))
}
