//! The order of rows.

use std::cmp::Ordering;

use crate::pg_catalog::plan::{Row, SortKey};
use crate::pgtype::compare::compare;
use crate::pgtype::datum::Datum;

/// Orders rows; those that are equal keep their order.
pub(crate) fn sort(rows: &mut [Row], keys: &[SortKey]) {
    if keys.is_empty() {
        return;
    }
    rows.sort_by(|left, right| {
        keys.iter().fold(Ordering::Equal, |order, key| {
            order.then_with(|| {
                order_of(&left[key.column], &right[key.column], key.descending, key.nulls_first)
            })
        })
    });
}

/// The order of two values under ORDER BY.
pub(crate) fn order_of(left: &Datum, right: &Datum, descending: bool, nulls_first: bool) -> Ordering {
    match (left.is_null(), right.is_null()) {
        (true, true) => Ordering::Equal,
        (true, false) => {
            if nulls_first {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
        (false, true) => {
            if nulls_first {
                Ordering::Greater
            } else {
                Ordering::Less
            }
        }
        (false, false) => {
            let order = compare(left, right).unwrap_or(Ordering::Equal);
            if descending { order.reverse() } else { order }
        }
    }
}

/// The order of two rows of values under an ORDER BY of several expressions.
pub(crate) fn order_of_all(
    left: &[Datum],
    right: &[Datum],
    keys: &[crate::pg_catalog::plan::OrderedExpr],
) -> Ordering {
    let pairs = left.iter().zip(right).zip(keys);
    pairs.fold(Ordering::Equal, |order, ((left, right), key)| {
        order.then_with(|| order_of(left, right, key.descending, key.nulls_first))
    })
}
