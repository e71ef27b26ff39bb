//! Statements: from text to what they ask for.

pub mod classify;
pub mod copy;
pub mod ddl;
pub mod defaults;
pub mod definitions;
pub mod delete;
pub mod functions;
pub mod insert;
pub mod names;
pub mod parse;
pub mod position;
pub mod queries;
pub mod rows;
pub mod spelling;
pub mod tuples;
pub mod types;
