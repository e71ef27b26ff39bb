//! Names in expressions: the columns and relations they mean, and what columns of a result are called.

use std::sync::Arc;

use sqlparser::ast::{AccessExpr, Expr as Ast, Ident, SelectItem, SetExpr, TrimWhereField};

use crate::error::SqlError;
use crate::pg_catalog::compile::{Compiled, Compiler, Fault, Typed};
use crate::pg_catalog::plan::{Column, Expr};
use crate::pg_catalog::types;
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::pgtype::types::element_type_of;
use crate::sql::names::fold;
use crate::sqlstate;

impl Compiler<'_> {
    pub(super) fn identifier(&mut self, ident: &Ident) -> Compiled<Typed> {
        let name = fold(ident);
        if let Some(found) = self.column(None, &name)? {
            return Ok(found);
        }
        if let Some(record) = self.record(&name) {
            return Ok(record);
        }
        let is_keyword = ident.quote_style.is_none()
            && matches!(
                name.as_str(),
                "current_user"
                    | "session_user"
                    | "user"
                    | "current_role"
                    | "current_catalog"
                    | "current_schema"
                    | "current_date"
                    | "current_timestamp"
                    | "localtimestamp"
            );
        if is_keyword {
            return self.scalar_call(&name, Vec::new());
        }
        let message = format!("column \"{name}\" does not exist");
        Err(SqlError::new(sqlstate::UNDEFINED_COLUMN, message).into())
    }

    pub(super) fn qualified(&mut self, parts: &[Ident]) -> Compiled<Typed> {
        let names: Vec<String> = parts.iter().map(fold).collect();
        // A namespace before the relation adds nothing: no two relations of one FROM have one name.
        let (relation, name) = match names.as_slice() {
            [relation, name] | [_, relation, name] | [_, _, relation, name] => (relation, name),
            _ => return Err(Fault::NotOurs),
        };
        if let Some(found) = self.column(Some(relation), name)? {
            return Ok(found);
        }
        if let Some(found) = self.system_column(relation, name) {
            return Ok(found);
        }
        let is_there =
            |it: &super::Level| !it.is_hidden && it.relations.iter().any(|it| it.name == *relation);
        if self.levels.iter().any(is_there) {
            let message = format!("column {relation}.{name} does not exist");
            return Err(SqlError::new(sqlstate::UNDEFINED_COLUMN, message).into());
        }
        let message = format!("missing FROM-clause entry for table \"{relation}\"");
        Err(SqlError::new(sqlstate::UNDEFINED_TABLE, message).into())
    }

    /// The column with this name on the nearest level that has one.
    fn column(&mut self, relation: Option<&str>, name: &str) -> Compiled<Option<Typed>> {
        for (depth, level) in self.levels.iter().rev().enumerate() {
            if level.is_hidden {
                continue;
            }
            if relation.is_none()
                && let Some((_, value)) = level.coalesced.iter().find(|(it, _)| it == name)
                && depth == 0
            {
                return Ok(Some(value.clone()));
            }
            let mut found = None;
            for (at, visible) in level.relations.iter().enumerate() {
                if relation.is_some_and(|relation| visible.name != relation) {
                    continue;
                }
                for (column, it) in visible.columns.iter().enumerate() {
                    let is_merged = relation.is_none() && visible.merged.contains(&column);
                    if it.name != name || is_merged {
                        continue;
                    }
                    if found.is_some() {
                        let message = format!("column reference \"{name}\" is ambiguous");
                        return Err(SqlError::new(sqlstate::AMBIGUOUS_COLUMN, message).into());
                    }
                    found = Some((at, column, it.clone()));
                }
            }
            if let Some((relation, column, it)) = found {
                self.touch(depth, relation);
                return Ok(Some(column_value(depth, relation, column, &it)));
            }
        }
        Ok(None)
    }

    /// `tableoid` of a relation of the catalog.
    fn system_column(&self, relation: &str, name: &str) -> Option<Typed> {
        if name != "tableoid" {
            return None;
        }
        let mut levels = self.levels.iter().rev().filter(|level| !level.is_hidden);
        let found = levels.find_map(|level| level.relations.iter().find(|it| it.name == relation))?;
        let table = found.columns.first().map(|it| it.table).filter(|it| *it != 0)?;
        Some(Typed::new(Expr::Const(Datum::Oid(table)), PgType::OID))
    }

    /// Notes that a relation is needed, and what depends on it.
    fn touch(&mut self, depth: usize, relation: usize) {
        let target = self.levels.len() - 1 - depth;
        self.levels[target].touched.insert(relation);
        for level in &mut self.levels[target + 1..] {
            level.depends = true;
        }
    }

    /// A relation as a value: all of its columns.
    fn record(&mut self, name: &str) -> Option<Typed> {
        let (depth, relation) = self.levels.iter().rev().enumerate().find_map(|(depth, level)| {
            if level.is_hidden {
                return None;
            }
            let relation = level.relations.iter().position(|it| it.name == name)?;
            Some((depth, relation))
        })?;
        self.touch(depth, relation);
        let visible = &self.levels[self.levels.len() - 1 - depth].relations[relation];
        let columns = &visible.columns;
        if let (true, [only]) = (visible.is_scalar, columns.as_slice()) {
            return Some(column_value(depth, relation, 0, only));
        }
        let types: Arc<[PgType]> = columns.iter().map(|it| it.pg_type.clone()).collect();
        let shape = columns.iter().map(|it| (it.name.clone(), it.pg_type.clone())).collect();
        let expr = Expr::Record { depth, relation, types };
        Some(Typed { shape: Some(shape), ..Typed::new(expr, PgType::RECORD) })
    }
}

fn column_value(depth: usize, relation: usize, column: usize, it: &Column) -> Typed {
    Typed {
        expr: Expr::Column { depth, relation, column },
        pg_type: it.pg_type.clone(),
        typmod: it.typmod,
        shape: it.shape.clone(),
        origin: (it.table, it.number),
    }
}

/// The name that PostgreSQL gives to a column without one; `None` for `?column?`.
pub(super) fn column_name(expr: &Ast) -> Option<String> {
    Some(match expr {
        Ast::Cast { expr, data_type, .. } => match column_name(expr) {
            // A type's name gives way only to what is more than a guess.
            Some(name) if !is_guess(expr) => name,
            other => types::resolve(data_type)
                .ok()
                .map(|(it, _)| element_type_of(&it).unwrap_or(it).name().to_owned())
                .or(other)?,
        },
        Ast::Identifier(ident) => fold(ident),
        Ast::CompoundIdentifier(parts) => fold(parts.last()?),
        Ast::Nested(inner) | Ast::Collate { expr: inner, .. } => column_name(inner)?,
        Ast::Function(function) => fold(function.name.0.last()?.as_ident()?),
        Ast::TypedString(typed) => types::resolve(&typed.data_type).ok()?.0.name().to_owned(),
        Ast::Interval(_) => "interval".to_owned(),
        Ast::Case { else_result, .. } => {
            let inner = else_result.as_deref().filter(|it| !is_guess(it)).and_then(column_name);
            inner.unwrap_or_else(|| "case".to_owned())
        }
        Ast::Exists { .. } => "exists".to_owned(),
        Ast::Array(_) => "array".to_owned(),
        Ast::Tuple(_) => "row".to_owned(),
        Ast::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.first()? {
                SelectItem::UnnamedExpr(expr) => column_name(expr)?,
                SelectItem::ExprWithAlias { alias, .. } => fold(alias),
                _ => return None,
            },
            _ => return None,
        },
        Ast::CompoundFieldAccess { root, access_chain } => {
            let named = access_chain.iter().rev().find_map(|access| match access {
                AccessExpr::Dot(Ast::Identifier(ident)) => Some(fold(ident)),
                _ => None,
            });
            named.or_else(|| column_name(root))?
        }
        Ast::Position { .. } => "position".to_owned(),
        Ast::Substring { shorthand, .. } => if *shorthand { "substr" } else { "substring" }.to_owned(),
        Ast::Extract { .. } => "extract".to_owned(),
        Ast::AtTimeZone { .. } => "timezone".to_owned(),
        Ast::Ceil { .. } => "ceil".to_owned(),
        Ast::Floor { .. } => "floor".to_owned(),
        Ast::Trim { trim_where, .. } => match trim_where {
            Some(TrimWhereField::Leading) => "ltrim".to_owned(),
            Some(TrimWhereField::Trailing) => "rtrim".to_owned(),
            _ => "btrim".to_owned(),
        },
        _ => return None,
    })
}

/// Whether the name of an expression is one that a cast replaces.
fn is_guess(expr: &Ast) -> bool {
    match expr {
        Ast::Nested(inner) | Ast::Collate { expr: inner, .. } => is_guess(inner),
        Ast::Cast { expr, .. } => column_name(expr).is_none() || is_guess(expr),
        Ast::Case { else_result, .. } => {
            else_result.as_deref().is_none_or(|it| column_name(it).is_none() || is_guess(it))
        }
        Ast::TypedString(_) | Ast::Interval(_) => true,
        _ => false,
    }
}
