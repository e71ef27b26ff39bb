//! What Tidemark knows about its data.
//!
//! ```text
//!            commit(edit)                       view()
//!   writers ─────────────▶ Catalog ────────────────────────▶ readers (immutable View)
//!                            │  1. next = view.apply(edit)
//!                            │  2. invariants::check_transition(view, next)
//!                            │  3. store.commit(edit)   one two-phase transaction of redb
//!                            ▼  4. view = next
//!                         store ──▶ format (versioned, framed records) ──▶ one file
//! ```
//!
//! The crate knows nothing of the log, of data files, of threads or of SQL. Only [`store`] knows
//! redb; only `format` knows how records are laid out.

pub mod collection;
pub mod edit;
pub mod error;
mod format;
pub mod ids;
mod invariants;
pub mod partition;
pub mod producer;
pub mod role;
pub mod schema;
pub mod segment;
pub mod store;
pub mod types;
pub mod view;

mod catalog;

pub use catalog::{Bootstrap, Catalog, IdBounds, SYSTEM_IDENTIFIER};
