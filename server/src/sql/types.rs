//! Types as they are written in SQL.

use sqlparser::ast::{
    ArrayElemTypeDef, CharacterLength, DataType as SqlType, ExactNumberInfo, ObjectName, TimezoneInfo,
};
use tidemark_catalog::types::{ColumnType, NUMERIC_PRECISION_MAX, NumericModifier, TimeUnit};

use crate::error::{SqlError, SqlResult};
use crate::sql::names;
use crate::sqlstate;

/// The type of a column that SQL names.
///
/// # Errors
/// There is no such type, or columns cannot have it yet.
pub fn column_type(sql_type: &SqlType) -> SqlResult<ColumnType> {
    Ok(match sql_type {
        SqlType::Boolean | SqlType::Bool => ColumnType::Bool,
        SqlType::SmallInt(_) | SqlType::Int2(_) => ColumnType::Int2,
        SqlType::Int(_) | SqlType::Integer(_) | SqlType::Int4(_) => ColumnType::Int4,
        SqlType::BigInt(_) | SqlType::Int8(_) => ColumnType::Int8,
        SqlType::Real | SqlType::Float4 => ColumnType::Float4,
        SqlType::DoublePrecision | SqlType::Float8 | SqlType::Double(_) => ColumnType::Float8,
        SqlType::Float(precision) => float(precision)?,
        SqlType::Numeric(info) | SqlType::Decimal(info) | SqlType::Dec(info) => {
            ColumnType::Numeric(numeric_modifier(info)?)
        }
        SqlType::Text => ColumnType::Text,
        SqlType::Varchar(length) | SqlType::CharacterVarying(length) | SqlType::CharVarying(length) => {
            ColumnType::Varchar(varchar_limit(length.as_ref())?)
        }
        SqlType::Bytea => ColumnType::Bytea,
        SqlType::Date => ColumnType::Date,
        SqlType::Timestamp(precision, zone) => timestamp(*precision, zone)?,
        SqlType::Interval { .. } => ColumnType::Interval,
        SqlType::Uuid => ColumnType::Uuid,
        SqlType::JSON => ColumnType::Json,
        SqlType::JSONB => ColumnType::Jsonb,
        SqlType::Array(
            ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element),
        ) => array_of(column_type(element)?)?,
        SqlType::Custom(name, modifiers) => custom(name, modifiers)?,
        other => return Err(unsupported(other)),
    })
}

fn array_of(element: ColumnType) -> SqlResult<ColumnType> {
    match element {
        // In PostgreSQL int[][] is the same type as int[].
        ColumnType::Array(inner) => Ok(ColumnType::Array(inner)),
        ColumnType::Symbol => Ok(ColumnType::Array(Box::new(ColumnType::Text))),
        ColumnType::Interval | ColumnType::Json | ColumnType::Jsonb => {
            Err(SqlError::unsupported(format!("a column of type {element}[]")))
        }
        element => Ok(ColumnType::Array(Box::new(element))),
    }
}

fn unsupported(sql_type: &SqlType) -> SqlError {
    SqlError::unsupported(format!("type {}", sql_type.to_string().to_lowercase()))
}

fn float(precision: &ExactNumberInfo) -> SqlResult<ColumnType> {
    match precision {
        ExactNumberInfo::None => Ok(ColumnType::Float8),
        ExactNumberInfo::Precision(1..=24) => Ok(ColumnType::Float4),
        ExactNumberInfo::Precision(25..=53) => Ok(ColumnType::Float8),
        _ => {
            let message = "precision for type float must be at least 1 bit and less than 54 bits";
            Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message))
        }
    }
}

fn numeric_modifier(info: &ExactNumberInfo) -> SqlResult<Option<NumericModifier>> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Ok(None),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    let bound = u64::from(NUMERIC_PRECISION_MAX);
    if precision == 0 || precision > bound {
        let message = format!("NUMERIC precision {precision} must be between 1 and {bound}");
        return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
    }
    let precision = u8::try_from(precision).expect("at most 76");
    match u8::try_from(scale) {
        Ok(scale) if scale <= precision => Ok(Some(NumericModifier { precision, scale })),
        _ => {
            let message = format!("NUMERIC scale {scale} must be between 0 and precision {precision}");
            Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message))
        }
    }
}

fn varchar_limit(length: Option<&CharacterLength>) -> SqlResult<Option<u32>> {
    const LIMIT_MAX: u64 = 10_485_760;
    match length {
        None | Some(CharacterLength::Max) => Ok(None),
        Some(CharacterLength::IntegerLength { length, .. }) => match *length {
            0 => {
                let message = "length for type varchar must be at least 1";
                Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message))
            }
            length if length > LIMIT_MAX => {
                let message = format!("length for type varchar cannot exceed {LIMIT_MAX}");
                Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message))
            }
            length => Ok(Some(u32::try_from(length).expect("at most ten million"))),
        },
    }
}

fn timestamp(precision: Option<u64>, zone: &TimezoneInfo) -> SqlResult<ColumnType> {
    // PostgreSQL has at most six digits; nine ask for nanoseconds here.
    let unit = match precision {
        None | Some(0..=6) => TimeUnit::Microsecond,
        Some(9) => TimeUnit::Nanosecond,
        Some(precision) => {
            let message = format!("timestamp precision {precision} must be between 0 and 6, or 9");
            return Err(SqlError::new(sqlstate::INVALID_PARAMETER_VALUE, message));
        }
    };
    Ok(match zone {
        TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => ColumnType::Timestamp(unit),
        TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => ColumnType::Timestamptz(unit),
    })
}

fn custom(name: &ObjectName, modifiers: &[String]) -> SqlResult<ColumnType> {
    let mut parts = names::parts(name)?;
    let last = parts.pop().unwrap_or_default();
    let namespace = parts.pop();
    if namespace.as_deref().is_none_or(|namespace| namespace == "pg_catalog") {
        let found = match (last.as_str(), modifiers) {
            ("symbol", []) => Some(ColumnType::Symbol),
            ("bool", []) => Some(ColumnType::Bool),
            ("int2", []) => Some(ColumnType::Int2),
            ("int4", []) => Some(ColumnType::Int4),
            ("int8", []) => Some(ColumnType::Int8),
            ("float4", []) => Some(ColumnType::Float4),
            ("float8", []) => Some(ColumnType::Float8),
            ("text", []) => Some(ColumnType::Text),
            ("varchar", []) => Some(ColumnType::Varchar(None)),
            ("numeric", []) => Some(ColumnType::Numeric(None)),
            ("bytea", []) => Some(ColumnType::Bytea),
            ("date", []) => Some(ColumnType::Date),
            ("timestamp", []) => Some(ColumnType::Timestamp(TimeUnit::Microsecond)),
            ("timestamptz", []) => Some(ColumnType::Timestamptz(TimeUnit::Microsecond)),
            ("timestamptz", [nine]) if nine == "9" => Some(ColumnType::Timestamptz(TimeUnit::Nanosecond)),
            ("interval", []) => Some(ColumnType::Interval),
            ("uuid", []) => Some(ColumnType::Uuid),
            ("json", []) => Some(ColumnType::Json),
            ("jsonb", []) => Some(ColumnType::Jsonb),
            _ => None,
        };
        if let Some(found) = found {
            return Ok(found);
        }
    }
    let known_later =
        ["serial", "bigserial", "smallserial", "money", "xml", "inet", "cidr", "bpchar", "time"];
    if known_later.contains(&last.as_str()) {
        return Err(SqlError::unsupported(format!("type {last}")));
    }
    Err(SqlError::new(sqlstate::UNDEFINED_OBJECT, format!("type \"{last}\" does not exist")))
}

#[cfg(test)]
mod tests {
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::parser::Parser;

    use super::*;

    fn parsed(text: &str) -> SqlResult<ColumnType> {
        let mut parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(text).unwrap();
        column_type(&parser.parse_data_type().unwrap())
    }

    #[test]
    fn types_are_known_by_all_their_names() {
        let cases = [
            ("double precision", "double precision"),
            ("float(10)", "real"),
            ("INT8", "bigint"),
            ("character varying(10)", "character varying(10)"),
            ("timestamptz", "timestamp with time zone"),
            ("timestamptz(9)", "timestamp(9) with time zone"),
            ("timestamp(3) without time zone", "timestamp without time zone"),
            ("numeric(10, 2)", "numeric(10,2)"),
            ("decimal(5)", "numeric(5,0)"),
            ("text[]", "text[]"),
            ("int[][]", "integer[]"),
            ("SYMBOL", "text"),
            ("pg_catalog.float8", "double precision"),
        ];
        for (text, name) in cases {
            assert_eq!(parsed(text).unwrap().to_string(), name, "{text}");
        }
    }

    #[test]
    fn what_is_no_type_is_refused() {
        let cases = [
            ("nonsense", "42704"),
            ("numeric(0)", "22023"),
            ("numeric(5,9)", "22023"),
            ("timestamp(7)", "22023"),
            ("money", "0A000"),
        ];
        for (text, state) in cases {
            assert_eq!(parsed(text).unwrap_err().state().code(), state, "{text}");
        }
    }
}
