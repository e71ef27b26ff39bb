//! Values as keys of hash tables: equal where PostgreSQL's `=` says so, NULL equal to itself.

use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::text::to_text;
use crate::pgtype::timezone::TimeZone;

/// A value as a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Null,
    /// Integers and oids of every width.
    Integer(i64),
    Text(String),
    Bool(bool),
    /// Anything else by how it is written.
    Other(String),
    /// Arrays and records by their parts.
    Parts(Vec<Key>),
}

impl Key {
    pub(crate) fn of(value: &Datum) -> Key {
        match value {
            Datum::Null => Key::Null,
            Datum::Bool(value) => Key::Bool(*value),
            Datum::Int2(value) => Key::Integer(i64::from(*value)),
            Datum::Int4(value) => Key::Integer(i64::from(*value)),
            Datum::Int8(value) => Key::Integer(*value),
            Datum::Oid(value) | Datum::Reg(value, _) => Key::Integer(i64::from(*value)),
            Datum::Text(value) => Key::Text(value.clone()),
            Datum::Numeric(crate::pgtype::numeric::Numeric::Finite(value)) => {
                Key::Other(value.normalized().to_string())
            }
            // -0 equals 0.
            Datum::Float8(value) => Key::Other((value + 0.0).to_string()),
            Datum::Float4(value) => Key::Other((value + 0.0).to_string()),
            Datum::Array(array) => Key::Parts(array.values.iter().map(Key::of).collect()),
            Datum::Record(fields) => Key::Parts(fields.iter().map(|(_, field)| Key::of(field)).collect()),
            // A month is 30 days to `=`.
            Datum::Interval(value) => {
                let days = i128::from(value.months) * 30 + i128::from(value.days);
                Key::Other((days * 86_400_000_000 + i128::from(value.micros)).to_string())
            }
            other => {
                let settings = FormatSettings::initial(TimeZone::utc(), 0);
                Key::Other(to_text(other, &PgType::TEXT, &settings))
            }
        }
    }

    pub(crate) fn of_row(row: &[Datum]) -> Vec<Key> {
        row.iter().map(Key::of).collect()
    }
}
