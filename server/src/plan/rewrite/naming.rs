//! Names of output columns: PostgreSQL's where none is said, and distinct for DataFusion.

use std::collections::HashSet;

use sqlparser::ast::{self, DataType as SqlType, Expr, Ident, Query, Select, SelectItem, SetExpr, Value};
use tidemark_catalog::types::ColumnType;

use crate::sql::names;
use crate::sql::types::column_type;

/// Between a name and the number that tells it from an equal one. No name in SQL can have it.
const SUFFIX: char = '\u{1}';

/// The name of an output column as clients see it.
pub fn output_name(name: &str) -> &str {
    name.split_once(SUFFIX).map_or(name, |(name, _)| name)
}

/// Gives the output columns of every SELECT of a query names that are PostgreSQL's and distinct.
pub fn name_outputs(body: &mut SetExpr) {
    match body {
        SetExpr::Select(select) => name_select(select),
        SetExpr::SetOperation { left, right, .. } => {
            name_outputs(left);
            name_outputs(right);
        }
        // Queries within are visited on their own.
        _ => {}
    }
}

fn name_select(select: &mut Select) {
    let mut used: HashSet<String> = HashSet::new();
    let mut after_wildcard = false;
    for item in &mut select.projection {
        match item {
            SelectItem::UnnamedExpr(expr) => {
                let name = figure_name(expr);
                let is_column = matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
                let fresh = used.insert(name.clone());
                if !is_column || !fresh || after_wildcard {
                    let expr = std::mem::replace(expr, Expr::Value(Value::Null.into()));
                    *item = SelectItem::ExprWithAlias {
                        expr,
                        alias: distinct(&name, fresh && !after_wildcard, &used),
                    };
                    used.insert(alias_of(item));
                }
            }
            SelectItem::ExprWithAlias { alias, .. } => {
                let name = names::fold(alias);
                if !used.insert(name.clone()) || after_wildcard {
                    *alias = distinct(&name, false, &used);
                    used.insert(alias.value.clone());
                }
            }
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => after_wildcard = true,
            _ => {}
        }
    }
}

fn alias_of(item: &SelectItem) -> String {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => alias.value.clone(),
        _ => String::new(),
    }
}

fn distinct(name: &str, fresh: bool, used: &HashSet<String>) -> Ident {
    if fresh {
        return Ident::with_quote('"', name);
    }
    let numbered = |number: usize| format!("{name}{SUFFIX}{number}");
    let number = (1..).find(|number| !used.contains(&numbered(*number))).expect("there are many numbers");
    Ident::with_quote('"', numbered(number))
}

/// The name of an output column that has no alias: PostgreSQL's `FigureColname`.
pub fn figure_name(expr: &Expr) -> String {
    figure(expr).map_or_else(|| "?column?".to_owned(), |(name, _)| name)
}

/// How good a name is: that of a type gives way to that of another type around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Strength {
    Weak,
    Strong,
}

fn figure(expr: &Expr) -> Option<(String, Strength)> {
    let strong = |name: &str| Some((name.to_owned(), Strength::Strong));
    let weak = |name: Option<String>| name.map(|name| (name, Strength::Weak));
    match expr {
        Expr::Identifier(ident) => strong(&names::fold(ident)),
        Expr::CompoundIdentifier(idents) => strong(&names::fold(idents.last()?)),
        Expr::Function(function) => strong(&names::parts(&function.name).ok()?.pop()?),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => figure(inner),
        Expr::Cast { expr: inner, data_type, .. } => match figure(inner) {
            Some((name, Strength::Strong)) => strong(&name),
            found => weak(type_name(data_type)).or(found),
        },
        Expr::TypedString(typed) => weak(type_name(&typed.data_type)),
        Expr::Interval(_) => weak(Some("interval".to_owned())),
        Expr::Case { else_result, .. } => match else_result.as_deref().and_then(figure) {
            Some((name, Strength::Strong)) => strong(&name),
            _ => weak(Some("case".to_owned())),
        },
        Expr::Exists { .. } => strong("exists"),
        Expr::Array(_) => strong("array"),
        Expr::Extract { .. } => strong("extract"),
        Expr::Substring { shorthand: true, .. } => strong("substr"),
        Expr::Substring { .. } => strong("substring"),
        Expr::Trim { trim_where, .. } => strong(match trim_where {
            Some(ast::TrimWhereField::Leading) => "ltrim",
            Some(ast::TrimWhereField::Trailing) => "rtrim",
            _ => "btrim",
        }),
        Expr::Position { .. } => strong("position"),
        Expr::Overlay { .. } => strong("overlay"),
        Expr::Ceil { .. } => strong("ceil"),
        Expr::Floor { .. } => strong("floor"),
        Expr::AtTimeZone { .. } => strong("timezone"),
        Expr::Tuple(_) => strong("row"),
        Expr::Subquery(query) => subquery_name(query).and_then(|name| strong(&name)),
        Expr::CompoundFieldAccess { root, .. } => figure(root),
        _ => None,
    }
}

fn subquery_name(query: &Query) -> Option<String> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    match select.projection.first()? {
        SelectItem::UnnamedExpr(expr) => figure(expr).map(|(name, _)| name),
        SelectItem::ExprWithAlias { alias, .. } => Some(names::fold(alias)),
        _ => None,
    }
}

/// The name PostgreSQL gives a column that is nothing but a constant cast to a type.
fn type_name(data_type: &SqlType) -> Option<String> {
    element_name(&column_type(data_type).ok()?)
}

fn element_name(column_type: &ColumnType) -> Option<String> {
    Some(
        match column_type {
            ColumnType::Bool => "bool",
            ColumnType::Int2 => "int2",
            ColumnType::Int4 => "int4",
            ColumnType::Int8 => "int8",
            ColumnType::Float4 => "float4",
            ColumnType::Float8 => "float8",
            ColumnType::Numeric(_) => "numeric",
            ColumnType::Text | ColumnType::Symbol => "text",
            ColumnType::Varchar(_) => "varchar",
            ColumnType::Bytea => "bytea",
            ColumnType::Date => "date",
            ColumnType::Timestamp(_) => "timestamp",
            ColumnType::Timestamptz(_) => "timestamptz",
            ColumnType::Interval => "interval",
            ColumnType::Uuid => "uuid",
            ColumnType::Json => "json",
            ColumnType::Jsonb => "jsonb",
            ColumnType::Array(element) => return element_name(element),
        }
        .to_owned(),
    )
}
