//! ON CONFLICT, of which the unique constraint is the collection's `dedup_key`.
//!
//! `INSERT INTO t AS a … ON CONFLICT (key) DO UPDATE SET c = e WHERE w` asks `SELECT e, w FROM t AS a CROSS
//! JOIN t AS excluded`: what is there is joined to what was to be inserted, so that names mean what they
//! mean in PostgreSQL. Nobody runs that query; its expressions are taken out of its plan.

use std::sync::Arc;

use sqlparser::ast::{
    Assignment, AssignmentTarget, ConflictTarget, DoUpdate, Expr, FunctionArg, FunctionArgExpr,
    FunctionArguments, Ident, ObjectName, OnConflict, OnConflictAction, OnInsert, Query, SelectItem, Value,
};
use tidemark_catalog::ids::ColumnId;
use tidemark_catalog::schema::Column;
use tidemark_catalog::types::ColumnType;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::text::parse_text;
use crate::pgtype::types::{column_pg_type, column_typmod};
use crate::sql::classify::has_query;
use crate::sql::defaults::{self, is_default};
use crate::sql::insert::{cast_to, with_column_type};
use crate::sql::names;
use crate::sql::queries::select_from_with_excluded;
use crate::sql::rows::Target;
use crate::sqlstate;

/// What is done with rows whose key is there.
#[derive(Debug)]
pub enum Conflict {
    /// They are left out.
    Nothing,
    /// What is there is changed.
    Update(Box<Update>),
}

/// DO UPDATE.
#[derive(Debug)]
pub struct Update {
    /// The columns that get values, each once.
    pub target: Target,
    /// A query of the values, in that order, and of the condition after them.
    pub query: Query,
    /// Whether there is a condition.
    pub has_condition: bool,
}

/// Understands ON CONFLICT; `None` when no row can be in conflict with another.
///
/// # Errors
/// As PostgreSQL says them.
pub fn analyze(
    on: &OnInsert,
    table: &ObjectName,
    alias: Option<&Ident>,
    target: &Target,
    format: &FormatSettings,
) -> SqlResult<Option<Conflict>> {
    let OnInsert::OnConflict(OnConflict { conflict_target, action }) = on else {
        return Err(SqlError::unsupported("this form of INSERT"));
    };
    let key = &target.collection.timeseries().dedup_key;
    match (conflict_target, action) {
        (Some(ConflictTarget::OnConstraint(name)), _) => return Err(no_constraint(name, target)?),
        (Some(ConflictTarget::Columns(columns)), _) => check_inference(columns, target)?,
        (None, OnConflictAction::DoNothing) if key.is_empty() => return Ok(None),
        (None, OnConflictAction::DoNothing) => {}
        (None, OnConflictAction::DoUpdate(_)) => {
            let message = "ON CONFLICT DO UPDATE requires inference specification or constraint name";
            return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message)
                .with_hint("For example, ON CONFLICT (column_name)."));
        }
    }
    Ok(Some(match action {
        OnConflictAction::DoNothing => Conflict::Nothing,
        OnConflictAction::DoUpdate(update) => {
            Conflict::Update(Box::new(analyze_update(update, table, alias, target, format)?))
        }
    }))
}

fn no_constraint(name: &ObjectName, target: &Target) -> SqlResult<SqlError> {
    let name = names::parts(name)?.join(".");
    let message = format!("constraint \"{name}\" for table \"{}\" does not exist", target.collection.name);
    Ok(SqlError::new(sqlstate::UNDEFINED_OBJECT, message)
        .with_hint("A dedup_key has no name: say ON CONFLICT (its columns)."))
}

/// The columns must be those of the key, in any order.
fn check_inference(columns: &[Ident], target: &Target) -> SqlResult<()> {
    let key = &target.collection.timeseries().dedup_key;
    let found = columns.iter().map(|column| {
        let name = names::fold(column);
        let found = target.collection.schema.column_by_name(&name).map(|column| column.id);
        found.ok_or_else(|| {
            SqlError::new(sqlstate::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist"))
        })
    });
    let found = found.collect::<SqlResult<Vec<ColumnId>>>()?;
    let is_key =
        !key.is_empty() && key.iter().all(|id| found.contains(id)) && found.iter().all(|id| key.contains(id));
    if is_key {
        return Ok(());
    }
    let message = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
    Err(SqlError::new(sqlstate::INVALID_COLUMN_REFERENCE, message))
}

fn analyze_update(
    update: &DoUpdate,
    table: &ObjectName,
    alias: Option<&Ident>,
    target: &Target,
    format: &FormatSettings,
) -> SqlResult<Update> {
    let mut set = Target::without_columns(Arc::clone(&target.collection));
    let mut projection = Vec::new();
    for assignment in &update.assignments {
        for (name, value) in assigned(assignment)? {
            let column = set_column(name, &mut set)?;
            check_key(column, &value, &set)?;
            let value = typed(value, set.column(set.columns.len() - 1), format)?;
            projection.push(SelectItem::UnnamedExpr(value));
        }
    }
    let condition = update.selection.clone().map(|condition| match is_null(&condition) {
        true => cast_to(condition, &ColumnType::Bool),
        false => condition,
    });
    projection.extend(condition.map(SelectItem::UnnamedExpr));
    Ok(Update {
        target: set,
        query: select_from_with_excluded(table, alias, projection)?,
        has_condition: update.selection.is_some(),
    })
}

/// A value as one of the column's type, where it has no type of its own.
fn typed(value: Expr, column: &Column, format: &FormatSettings) -> SqlResult<Expr> {
    if is_default(&value) {
        return defaults::expression(column);
    }
    if is_null(&value) {
        return Ok(cast_to(value, &column.column_type));
    }
    if let Expr::Value(constant) = &value
        && let Value::SingleQuotedString(text) = &constant.value
    {
        // A string that is no value of the type is an error whether or not it is needed.
        let pg_type = column_pg_type(&column.column_type);
        parse_text(text, &pg_type, column_typmod(&column.column_type), format)?;
    }
    Ok(with_column_type(value, column))
}

fn is_null(value: &Expr) -> bool {
    matches!(value, Expr::Value(constant) if constant.value == Value::Null)
}

/// The columns of an assignment with their values.
fn assigned(assignment: &Assignment) -> SqlResult<Vec<(&ObjectName, Expr)>> {
    let names = match &assignment.target {
        AssignmentTarget::ColumnName(name) => return Ok(vec![(name, assignment.value.clone())]),
        AssignmentTarget::Tuple(names) => names,
    };
    let values = match &assignment.value {
        Expr::Tuple(values) => values.clone(),
        Expr::Function(call) if names::parts(&call.name)? == ["row"] => arguments(&call.args)?,
        value if has_query(value) => {
            return Err(SqlError::unsupported("a subquery in ON CONFLICT DO UPDATE"));
        }
        _ => {
            let message = "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression";
            return Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message));
        }
    };
    if names.len() != values.len() {
        let message = "number of columns does not match number of values";
        return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
    }
    Ok(names.iter().zip(values).collect())
}

fn arguments(arguments: &FunctionArguments) -> SqlResult<Vec<Expr>> {
    let FunctionArguments::List(list) = arguments else { return Ok(Vec::new()) };
    let values = list.args.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Ok(value.clone()),
        other => Err(SqlError::unsupported(format!("{other} in ROW"))),
    });
    values.collect()
}

/// Adds the column of a name.
fn set_column(name: &ObjectName, set: &mut Target) -> SqlResult<ColumnId> {
    // As in PostgreSQL, a first part is the column's name whatever follows.
    let parts = names::parts(name)?;
    let name = parts.first().ok_or_else(|| SqlError::internal("a name has parts"))?;
    let relation = &set.collection.name;
    let Some(column) = set.collection.schema.column_by_name(name) else {
        let message = format!("column \"{name}\" of relation \"{relation}\" does not exist");
        return Err(SqlError::new(sqlstate::UNDEFINED_COLUMN, message));
    };
    if parts.len() > 1 {
        return Err(SqlError::unsupported("a part of a value in SET"));
    }
    if set.columns.contains(&column.id) {
        let message = format!("multiple assignments to same column \"{name}\"");
        return Err(SqlError::new(sqlstate::SYNTAX_ERROR, message));
    }
    set.columns.push(column.id);
    Ok(set.columns[set.columns.len() - 1])
}

/// A row keeps its key: a column of it can be set to what it is.
fn check_key(column: ColumnId, value: &Expr, set: &Target) -> SqlResult<()> {
    if !set.collection.timeseries().dedup_key.contains(&column) {
        return Ok(());
    }
    let name = &set.column(set.columns.len() - 1).name;
    let is_same = match value {
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [of, column] => names::fold(of) == "excluded" && names::fold(column) == *name,
            _ => false,
        },
        _ => false,
    };
    if is_same {
        return Ok(());
    }
    let message = format!("ON CONFLICT DO UPDATE cannot change column \"{name}\" of the dedup_key");
    Err(SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, message)
        .with_hint("Delete the row, and insert another one."))
}
