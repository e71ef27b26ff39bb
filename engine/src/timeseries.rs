//! What is particular to time-series collections.

pub mod partition;
pub(crate) mod picker;
pub(crate) mod retention;
