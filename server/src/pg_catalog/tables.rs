//! Collections as tables of the interpreter: who reads them, and under which conditions.

use std::fmt::Debug;
use std::sync::Arc;

use tidemark_catalog::collection::Collection;

use crate::error::SqlResult;
use crate::pg_catalog::eval::{Frame, eval};
use crate::pg_catalog::operators::{Comparison, Operator};
use crate::pg_catalog::plan::{Expr, Leaf, children};
use crate::pg_catalog::run::Run;
use crate::pgtype::datum::Datum;

/// A column compared with a constant.
#[derive(Clone, Debug)]
pub struct Condition {
    /// The place of the column in its collection.
    pub column: usize,
    /// How.
    pub relation: Relation,
    /// With what.
    pub value: Datum,
}

/// How a column is compared with a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// `=`
    Equal,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// Who reads collections.
pub trait Tables: Debug + Send + Sync {
    /// All rows that fulfil the conditions, and others perhaps.
    ///
    /// # Errors
    /// There are too many, or they cannot be read.
    fn rows(&self, collection: &Collection, conditions: &[Condition]) -> SqlResult<Vec<Arc<[Datum]>>>;
}

/// The conditions on a relation's columns that are the same for all rows around it.
pub(crate) fn conditions(leaf: &Leaf, run: &Run<'_>) -> SqlResult<Vec<Condition>> {
    let nothing = Frame::new(0, None);
    let mut conditions = Vec::new();
    for filter in &leaf.filters {
        let Expr::Operate(Operator::Compare(comparison), left, right) = filter else { continue };
        for (column, value, is_flipped) in [(left, right, false), (right, left, true)] {
            if let Expr::Column { depth: 0, column, .. } = column.as_ref()
                && is_constant(value)
                && let Some(relation) = relation(*comparison, is_flipped)
            {
                let value = eval(value, &nothing, run)?;
                conditions.push(Condition { column: *column, relation, value });
                break;
            }
        }
    }
    if let Some(lookup) = &leaf.lookup
        && is_constant(&lookup.key)
    {
        let value = eval(&lookup.key, &nothing, run)?;
        conditions.push(Condition { column: lookup.column, relation: Relation::Equal, value });
    }
    Ok(conditions)
}

/// Whether an expression has one value for the whole run.
fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Const(_) | Expr::Parameter(_) => true,
        Expr::Cast(..) | Expr::Call(..) | Expr::Operate(..) | Expr::Row(_) | Expr::Shared(..) => {
            children(expr).into_iter().all(is_constant)
        }
        _ => false,
    }
}

fn relation(comparison: Comparison, is_flipped: bool) -> Option<Relation> {
    Some(match (comparison, is_flipped) {
        (Comparison::Equal, _) => Relation::Equal,
        (Comparison::Less, false) | (Comparison::Greater, true) => Relation::Less,
        (Comparison::LessOrEqual, false) | (Comparison::GreaterOrEqual, true) => Relation::LessOrEqual,
        (Comparison::Greater, false) | (Comparison::Less, true) => Relation::Greater,
        (Comparison::GreaterOrEqual, false) | (Comparison::LessOrEqual, true) => Relation::GreaterOrEqual,
        (Comparison::NotEqual, _) => return None,
    })
}
