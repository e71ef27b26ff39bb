//! What is particular to time-series collections.

pub mod partition;
