//! PostgreSQL's values: their types, their text and binary forms, in and out.
//!
//! A value exists in four forms, and this module tree holds the ways between them:
//!
//! ```text
//!            text ──parse_text──▶ ┌───────┐ ──write_text──▶ text
//!                                 │ Datum │
//!          binary ─parse_binary─▶ └───────┘ ─write_binary─▶ binary
//!                                   │   ▲
//!            datum_to_scalar_array  ▼   │  datum_from_array
//!                                 ┌───────┐
//!  text, binary ─ColumnBuilder──▶ │ Arrow │ ─ColumnEncoder─▶ text, binary
//!                                 └───────┘
//! ```
//!
//! The upper ways handle one value of any type and may allocate. The lower ways are the hot ones: a
//! column of a batch is looked at once, and then no value costs an allocation.
//!
//! Invariants:
//!
//! 1. Nothing here reads a clock, a file or a socket, or knows a session: what depends on a session
//!    comes in a [`settings::FormatSettings`].
//! 2. What comes in from a client never panics: bad bytes are an [`SqlError`](crate::error::SqlError)
//!    with PostgreSQL's SQLSTATE and message.
//! 3. Both ways out of Arrow and of [`datum::Datum`] write the same bytes for the same value.
//! 4. Days and microseconds count from 1970-01-01 everywhere but in the binary form, which counts
//!    from 2000-01-01. The greatest and the least value of an integer are `infinity` and `-infinity`.

pub mod array;
pub mod binary;
pub mod boolean;
pub mod builder;
pub mod bytea;
pub mod calendar;
pub mod cast;
pub mod compare;
pub mod datetime;
pub mod datum;
pub mod decimal;
pub mod encode;
pub mod float;
pub mod formatting;
pub mod integer;
pub mod interval;
pub mod json;
pub mod jsonb;
pub mod numeric;
pub mod record;
pub mod scalar;
pub mod settings;
pub mod text;
pub mod timezone;
pub mod types;
pub mod uuid;

pub use postgres_types::Type as PgType;

#[cfg(test)]
mod tests;
