//! Names in expressions: the columns and relations they mean, and what columns of a result are called.

use std::sync::Arc;

use sqlparser::ast::{AccessExpr, Expr as Ast, Ident, TrimWhereField};

use crate::error::SqlError;
use crate::pg_catalog::compile::condition::strip;
use crate::pg_catalog::compile::{Compiled, Compiler, Fault, Typed, fold};
use crate::pg_catalog::plan::{Column, Expr};
use crate::pg_catalog::types;
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::pgtype::types::element_type_of;
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
        let columns = &self.levels[self.levels.len() - 1 - depth].relations[relation].columns;
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
    match expr {
        Ast::Identifier(ident) => Some(fold(ident)),
        Ast::CompoundIdentifier(parts) => parts.last().map(fold),
        Ast::Nested(inner) | Ast::Collate { expr: inner, .. } => column_name(inner),
        Ast::Function(function) => function.name.0.last().and_then(|it| it.as_ident()).map(fold),
        Ast::Cast { expr, data_type, .. } => {
            // A name that is only a guess gives way to the type's.
            let strong =
                column_name(expr).filter(|_| !matches!(strip(expr), Ast::Case { else_result: None, .. }));
            strong.or_else(|| {
                types::resolve(data_type)
                    .ok()
                    .map(|(it, _)| element_type_of(&it).unwrap_or(it).name().to_owned())
            })
        }
        Ast::TypedString(typed) => types::resolve(&typed.data_type).ok().map(|(it, _)| it.name().to_owned()),
        Ast::Interval(_) => Some("interval".to_owned()),
        Ast::Case { else_result, .. } => {
            let inner = else_result.as_deref().and_then(|it| match strip(it) {
                Ast::Identifier(_) | Ast::CompoundIdentifier(_) | Ast::Function(_) => column_name(it),
                _ => None,
            });
            Some(inner.unwrap_or("case".to_owned()))
        }
        Ast::Exists { .. } => Some("exists".to_owned()),
        Ast::Array(_) => Some("array".to_owned()),
        Ast::Tuple(_) => Some("row".to_owned()),
        Ast::Subquery(query) => match query.body.as_ref() {
            sqlparser::ast::SetExpr::Select(select) => match select.projection.first()? {
                sqlparser::ast::SelectItem::UnnamedExpr(expr) => column_name(expr),
                sqlparser::ast::SelectItem::ExprWithAlias { alias, .. } => Some(fold(alias)),
                _ => None,
            },
            _ => None,
        },
        Ast::CompoundFieldAccess { root, access_chain } => {
            let named = access_chain.iter().rev().find_map(|access| match access {
                AccessExpr::Dot(Ast::Identifier(ident)) => Some(fold(ident)),
                _ => None,
            });
            named.or_else(|| column_name(root))
        }
        Ast::Position { .. } => Some("position".to_owned()),
        Ast::Substring { .. } => Some("substring".to_owned()),
        Ast::Trim { trim_where, .. } => Some(
            match trim_where {
                Some(TrimWhereField::Leading) => "ltrim",
                Some(TrimWhereField::Trailing) => "rtrim",
                _ => "btrim",
            }
            .to_owned(),
        ),
        _ => None,
    }
}
