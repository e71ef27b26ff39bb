//! Rows that are sent as arrays, one for each column: `INSERT … SELECT * FROM unnest($1::int4[], $2::text[])`.
//!
//! When a query is nothing but that, the arrays' elements go straight into the columns.

use std::sync::Arc;

use sqlparser::ast::{
    self, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Query, Select, SelectItem, SetExpr,
    TableFactor,
};
use tidemark_catalog::types::ColumnType;
use tidemark_engine::batch::WriteBatch;
use tidemark_engine::engine::Engine;

use crate::error::SqlResult;
use crate::pgtype::PgType;
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::types::{column_pg_type, element_type_of};
use crate::plan::parameters::parameter_number;
use crate::sql::functions::cast::{CastContext, can_cast};
use crate::sql::names;
use crate::sql::rows::builder::RowsBuilder;
use crate::sql::rows::{Target, Values};
use crate::sql::types::column_type;

/// A parameter whose elements are the values of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayParameter {
    /// Its number, from 0.
    pub number: usize,
    /// Its type, one of arrays.
    pub array_type: PgType,
    /// The type of its elements.
    pub element: PgType,
}

/// The arrays that a query gives row by row, one for each column of the target; `None` when it is
/// more than that.
pub fn arrays_of(query: &Query, declared: &[Option<PgType>], target: &Target) -> Option<Vec<ArrayParameter>> {
    let is_plain = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty();
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    if !is_plain || !is_plain_select(select) {
        return None;
    }
    let exprs = match select.from.as_slice() {
        [] => unnested_in_list(&select.projection)?,
        [from] if from.joins.is_empty() => unnested_in_from(&select.projection, &from.relation)?,
        _ => return None,
    };
    if exprs.len() > target.columns.len() {
        return None;
    }
    let arrays = exprs.iter().enumerate().map(|(at, expr)| {
        let array = array_parameter(expr, declared)?;
        let column = column_pg_type(&target.column(at).column_type);
        can_cast(&array.element, &column, CastContext::Assignment).then_some(array)
    });
    arrays.collect()
}

fn is_plain_select(select: &Select) -> bool {
    let has_group = match &select.group_by {
        ast::GroupByExpr::All(_) => true,
        ast::GroupByExpr::Expressions(exprs, modifiers) => !exprs.is_empty() || !modifiers.is_empty(),
    };
    !has_group
        && select.distinct.is_none()
        && select.into.is_none()
        && select.selection.is_none()
        && select.having.is_none()
        && select.qualify.is_none()
        && select.named_window.is_empty()
        && select.lateral_views.is_empty()
}

/// `SELECT unnest($1), unnest($2)`
fn unnested_in_list(projection: &[SelectItem]) -> Option<Vec<&Expr>> {
    projection.iter().map(argument_of_unnest).collect()
}

fn argument_of_unnest(item: &SelectItem) -> Option<&Expr> {
    let (SelectItem::UnnamedExpr(Expr::Function(call))
    | SelectItem::ExprWithAlias { expr: Expr::Function(call), .. }) = item
    else {
        return None;
    };
    let name = names::parts(&call.name).ok()?;
    let is_unnest = matches!(name.as_slice(), [name] if name == "unnest");
    let is_plain = call.over.is_none() && call.filter.is_none() && call.within_group.is_empty();
    let FunctionArguments::List(list) = &call.args else { return None };
    match list.args.as_slice() {
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))] if is_unnest && is_plain => Some(argument),
        _ => None,
    }
}

/// `SELECT * FROM unnest($1, $2)`, or some of its columns by the names that an alias gives them.
fn unnested_in_from<'a>(projection: &[SelectItem], relation: &'a TableFactor) -> Option<Vec<&'a Expr>> {
    let TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality: false, .. } = relation
    else {
        return None;
    };
    let names: Vec<String> =
        alias.iter().flat_map(|alias| alias.columns.iter().map(|column| names::fold(&column.name))).collect();
    let table = alias.as_ref().map(|alias| names::fold(&alias.name));
    let mut exprs = Vec::new();
    for item in projection {
        match item {
            SelectItem::Wildcard(_) => exprs.extend(array_exprs),
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
                let name = match expr {
                    Expr::Identifier(name) => names::fold(name),
                    Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                        [of, name] if Some(names::fold(of)) == table => names::fold(name),
                        _ => return None,
                    },
                    _ => return None,
                };
                let mut found = names.iter().enumerate().filter(|(_, known)| **known == name);
                let (at, _) = found.next().filter(|_| found.next().is_none())?;
                exprs.push(array_exprs.get(at)?);
            }
            _ => return None,
        }
    }
    Some(exprs)
}

/// A parameter of a type of arrays, as it was declared or is cast.
fn array_parameter(expr: &Expr, declared: &[Option<PgType>]) -> Option<ArrayParameter> {
    let (number, cast) = match expr {
        Expr::Nested(inner) => return array_parameter(inner, declared),
        Expr::Cast { kind: ast::CastKind::Cast | ast::CastKind::DoubleColon, expr, data_type, .. } => {
            let cast = column_type(data_type).ok()?;
            let ColumnType::Array(element) = &cast else { return None };
            // A limit of its elements is a cast of its own.
            if crate::pgtype::types::column_typmod(element) != crate::pgtype::types::NO_TYPMOD {
                return None;
            }
            (parameter_number(expr)?, Some(column_pg_type(&cast)))
        }
        expr => (parameter_number(expr)?, None),
    };
    let declared = declared.get(number).cloned().flatten();
    let array_type = match (declared, cast) {
        (Some(declared), Some(cast)) if declared != cast => return None,
        (declared, cast) => declared.or(cast)?,
    };
    let element = element_type_of(&array_type)?;
    Some(ArrayParameter { number, array_type, element })
}

/// The types of the parameters, but for those that are in other parts of the statement.
pub fn parameter_types(arrays: &[ArrayParameter], declared: &[Option<PgType>]) -> Vec<Option<PgType>> {
    let mut types: Vec<Option<PgType>> = declared.to_vec();
    for array in arrays {
        if types.len() <= array.number {
            types.resize(array.number + 1, None);
        }
        types[array.number].get_or_insert_with(|| array.array_type.clone());
    }
    types
}

/// The rows as columns; `None` when there are none. An array that is shorter than others goes on
/// with NULL.
///
/// # Errors
/// As PostgreSQL says them.
pub fn build(
    engine: &Engine,
    target: &Arc<Target>,
    arrays: &[ArrayParameter],
    values: Values<'_>,
    format: &FormatSettings,
) -> SqlResult<Option<WriteBatch>> {
    let mut rows = RowsBuilder::new(engine, target, format, 0)?;
    let mut counts = Vec::with_capacity(arrays.len());
    for (at, array) in arrays.iter().enumerate() {
        counts.push(rows.append_elements(at, values, array)?);
    }
    let row_count = counts.iter().copied().max().unwrap_or(0);
    if row_count == 0 {
        return Ok(None);
    }
    for (at, count) in counts.into_iter().enumerate() {
        (count..row_count).for_each(|_| rows.append_null(at));
    }
    rows.fill(row_count)?;
    rows.end_rows(row_count);
    rows.finish().map(Some)
}
