//! Tidemark's storage engine. Arrow in, Arrow out.
//!
//! ```text
//!            write / bulk_write                         snapshot → read::plan → batches
//!                   │                                               ▲
//!                   ▼                                               │
//!   wal ◀── engine ──▶ memtable (active, frozen) ──▶ flush ──▶ segment (Parquet)
//!    │                                                 │
//!    └── recovery ◀── files of the data directory ◀── catalog (manifest, flushed_lsn)
//! ```
//!
//! The crate knows no SQL, no wire protocol and no DataFusion. Clock, files, randomness and threads
//! come in through [`env`]; [`durable`] alone syncs and renames.

pub mod alter;
pub mod batch;
pub mod bulk;
mod catalog_file;
pub mod check;
pub mod collection;
mod dedup;
pub mod delete;
mod durable;
pub mod engine;
pub mod env;
pub mod error;
#[cfg(feature = "failpoints")]
pub mod fuzzing;
pub mod inspect;
mod jobs;
mod manifest;
pub mod memtable;
pub mod metrics;
pub mod missing;
pub mod options;
pub mod pressure;
pub mod producers;
pub mod read;
pub mod recovery;
mod segment;
pub mod snapshot;
mod symbol_limit;
pub mod timeseries;
pub mod tokens;
pub mod types;
mod wal;

pub use catalog_file::is_disk_full;
