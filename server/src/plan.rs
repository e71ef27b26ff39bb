//! Queries over collections: from a statement to batches of Arrow, by DataFusion.
//!
//! ```text
//! statement ──rewrite──▶ DataFusion's planner ──▶ logical plan (kept with a prepared statement)
//!           parameters ──▶ optimizer ──▶ physical plan ──▶ stream of batches
//!                                             │
//!                                   CollectionScan: engine's snapshot and plan
//! ```
//!
//! | module | does |
//! | --- | --- |
//! | [`planner`] | what all sessions share, logical and physical planning |
//! | [`rewrite`] | PostgreSQL's meaning for what DataFusion would read otherwise |
//! | [`operators`], [`coerce`], [`resolve`] | operators and types as PostgreSQL resolves them |
//! | [`open`] | functions whose arguments may be of any one type |
//! | [`keys`] | intervals are compared, sorted and grouped as PostgreSQL does |
//! | [`interval_sums`] | sums and averages of intervals |
//! | [`columnar`] | functions that only plans call |
//! | [`ordered`] | aggregates whose values come in an order |
//! | [`order`] | rows in the order in which they come, in aggregates and from subqueries |
//! | [`sets`] | UNION, INTERSECT, EXCEPT |
//! | [`rows`] | collections for the catalog's interpreter |
//! | [`series`] | `generate_series` |
//! | [`arithmetic`] | numbers that overflow and divisions by zero are errors |
//! | [`aggregates`] | sums and averages in PostgreSQL's types |
//! | [`catalog_table`] | relations of the catalog as tables |
//! | [`provider`], [`scan`], [`predicate`] | a collection as a table, its scan, what a scan can skip |
//! | [`latest`] | the last row of each series |
//! | [`runs`] | aggregation by runs of equal keys |
//! | [`workers`] | threads for operators that read a scan by themselves |
//! | [`row_expressions`] | expressions over rows on their way in: RETURNING, COPY … WHERE |
//! | [`direct`] | scans of a few rows, without all of this |
//! | [`options`] | what functions know of the session |
//! | [`types`] | the Arrow types of expressions |
//! | [`memory`] | memory pools: per query under one for all |
//! | [`errors`] | DataFusion's errors in PostgreSQL's words |

pub mod aggregates;
pub mod arithmetic;
pub mod catalog_table;
pub mod coerce;
pub mod columnar;
pub mod direct;
pub mod errors;
pub mod interval_sums;
pub mod keys;
pub mod latest;
pub mod memory;
pub mod open;
pub mod operators;
pub mod options;
pub mod order;
pub mod ordered;
pub mod parameters;
pub mod planner;
pub mod predicate;
pub mod provider;
pub mod query;
pub mod resolve;
pub mod rewrite;
pub mod row_expressions;
pub mod rows;
pub mod runs;
pub mod scan;
pub mod series;
pub mod sets;
pub mod types;
mod workers;
