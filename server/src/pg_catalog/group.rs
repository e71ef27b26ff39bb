//! Grouping, window functions, and what sets of rows do to each other.

use std::collections::{HashMap, HashSet};

use crate::error::SqlResult;
use crate::pg_catalog::aggregate;
use crate::pg_catalog::eval::{Frame, eval_all, holds};
use crate::pg_catalog::key::Key;
use crate::pg_catalog::plan::{
    AggregateCall, Grouping, OrderedExpr, Row, SetOperation, Window, WindowFunction,
};
use crate::pg_catalog::run::Run;
use crate::pg_catalog::sort::order_of_all;
use crate::pgtype::datum::Datum;

/// One frame for each group: the first of it, with the aggregates of all of it.
pub(crate) fn group<'f>(
    grouping: &Grouping,
    frames: Vec<Frame<'f>>,
    relation_count: usize,
    outer: Option<&'f Frame<'f>>,
    run: &Run<'_>,
) -> SqlResult<Vec<Frame<'f>>> {
    let mut order: Vec<Vec<Frame<'f>>> = Vec::new();
    let mut places: HashMap<Vec<Key>, usize> = HashMap::new();
    for frame in frames {
        let key = Key::of_row(&eval_all(&grouping.keys, &frame, run)?);
        let place = *places.entry(key).or_insert(order.len());
        if place == order.len() {
            order.push(Vec::new());
        }
        order[place].push(frame);
    }
    // Without GROUP BY no rows are one group.
    if order.is_empty() && grouping.keys.is_empty() {
        order.push(Vec::new());
    }
    let mut groups = Vec::with_capacity(order.len());
    for members in order {
        let mut aggregates = Vec::with_capacity(grouping.aggregates.len());
        for call in &grouping.aggregates {
            aggregates.push(aggregate_over(call, &members, run)?);
        }
        let first = members.into_iter().next();
        let mut frame = first.unwrap_or_else(|| Frame::new(relation_count, outer));
        frame.aggregates = aggregates;
        if let Some(having) = &grouping.having
            && !holds(having, &frame, run)?
        {
            continue;
        }
        groups.push(frame);
    }
    Ok(groups)
}

fn aggregate_over(call: &AggregateCall, members: &[Frame<'_>], run: &Run<'_>) -> SqlResult<Datum> {
    let mut inputs: Vec<(Vec<Datum>, Vec<Datum>)> = Vec::new();
    for frame in members {
        if let Some(filter) = &call.filter
            && !holds(filter, frame, run)?
        {
            continue;
        }
        let values = eval_all(&call.arguments, frame, run)?;
        inputs.push((sort_values(&call.order, frame, run)?, values));
    }
    if !call.order.is_empty() {
        inputs.sort_by(|(left, _), (right, _)| order_of_all(left, right, &call.order));
    } else if call.distinct {
        // PostgreSQL finds duplicates by sorting, and so gives distinct values in order.
        inputs.sort_by(|(_, left), (_, right)| {
            let pairs = left.iter().zip(right);
            pairs.fold(std::cmp::Ordering::Equal, |order, (left, right)| {
                order.then_with(|| crate::pg_catalog::sort::order_of(left, right, false, false))
            })
        });
    }
    let mut values: Vec<Vec<Datum>> = inputs.into_iter().map(|(_, values)| values).collect();
    if call.distinct {
        let mut seen = HashSet::new();
        values.retain(|values| seen.insert(Key::of_row(values)));
    }
    aggregate::fold(&call.aggregate, values, run)
}

fn sort_values(order: &[OrderedExpr], frame: &Frame<'_>, run: &Run<'_>) -> SqlResult<Vec<Datum>> {
    order.iter().map(|key| crate::pg_catalog::eval::eval(&key.expr, frame, run)).collect()
}

/// Gives every frame the values of the window functions.
pub(crate) fn number(windows: &[Window], frames: &mut [Frame<'_>], run: &Run<'_>) -> SqlResult<()> {
    for window in windows {
        let mut partitions: HashMap<Vec<Key>, Vec<(Vec<Datum>, usize)>> = HashMap::new();
        for (at, frame) in frames.iter().enumerate() {
            let key = Key::of_row(&eval_all(&window.partition, frame, run)?);
            partitions.entry(key).or_default().push((sort_values(&window.order, frame, run)?, at));
        }
        let mut values = vec![Datum::Null; frames.len()];
        for mut members in partitions.into_values() {
            members.sort_by(|(left, _), (right, _)| order_of_all(left, right, &window.order));
            number_partition(window, &members, frames, &mut values, run)?;
        }
        for (frame, value) in frames.iter_mut().zip(values) {
            frame.windows.push(value);
        }
    }
    Ok(())
}

fn number_partition(
    window: &Window,
    members: &[(Vec<Datum>, usize)],
    frames: &[Frame<'_>],
    values: &mut [Datum],
    run: &Run<'_>,
) -> SqlResult<()> {
    let count = |at: usize| Datum::Int8(i64::try_from(at).unwrap_or(i64::MAX));
    let (mut start, mut peers) = (0, 0);
    while start < members.len() {
        let is_peer = |other: &(Vec<Datum>, usize)| {
            order_of_all(&members[start].0, &other.0, &window.order) == std::cmp::Ordering::Equal
        };
        let end = start + members[start..].iter().take_while(|other| is_peer(other)).count();
        peers += 1;
        let shared = match &window.function {
            WindowFunction::RowNumber => None,
            WindowFunction::Rank => Some(count(start + 1)),
            WindowFunction::DenseRank => Some(count(peers)),
            WindowFunction::Aggregate(call) => {
                let seen: Vec<Frame<'_>> = members[..end].iter().map(|(_, at)| frames[*at].clone()).collect();
                Some(aggregate_over(call, &seen, run)?)
            }
        };
        for (offset, (_, at)) in members[start..end].iter().enumerate() {
            values[*at] = shared.clone().unwrap_or_else(|| count(start + offset + 1));
        }
        start = end;
    }
    Ok(())
}

/// Keeps the first of rows whose first values are equal.
pub(crate) fn distinct(rows: &mut Vec<Row>, width: usize) {
    let mut seen = HashSet::new();
    rows.retain(|row| seen.insert(Key::of_row(&row[..width])));
}

/// Keeps the first of rows that are equal in these values.
pub(crate) fn distinct_on(mut rows: Vec<Row>, columns: &[usize]) -> Vec<Row> {
    let mut seen = HashSet::new();
    rows.retain(|row| seen.insert(columns.iter().map(|at| Key::of(&row[*at])).collect::<Vec<_>>()));
    rows
}

/// UNION, INTERSECT and EXCEPT.
pub(crate) fn combine(operation: SetOperation, all: bool, left: &[Row], right: &[Row]) -> Vec<Row> {
    if operation == SetOperation::Union {
        let mut rows: Vec<Row> = left.iter().chain(right).cloned().collect();
        if let (false, Some(width)) = (all, rows.first().map(|row| row.len())) {
            distinct(&mut rows, width);
        }
        return rows;
    }
    let mut counts: HashMap<Vec<Key>, usize> = HashMap::new();
    for row in right {
        *counts.entry(Key::of_row(row)).or_default() += 1;
    }
    let wanted = operation == SetOperation::Intersect;
    let mut rows: Vec<Row> = Vec::new();
    for row in left {
        let count = counts.entry(Key::of_row(row)).or_default();
        if (*count > 0) == wanted {
            rows.push(Row::clone(row));
        }
        // With ALL each row of the right side stands for one of the left.
        if all && *count > 0 {
            *count -= 1;
        }
    }
    if let (false, Some(width)) = (all, rows.first().map(|row| row.len())) {
        distinct(&mut rows, width);
    }
    rows
}
