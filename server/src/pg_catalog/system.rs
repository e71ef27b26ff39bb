//! What the running server tells of itself to the views in schema `tidemark`.
//!
//! The interpreter knows no engine: it is given plain numbers, by whoever made its context.

use std::fmt;

use tidemark_catalog::producer::Producer;

/// The running server, to be asked.
pub trait System: fmt::Debug + Send + Sync {
    /// Those who number what they write, by name, with the last batch of each.
    fn producers(&self) -> Vec<(String, Producer)>;
}
