//! From the parsed statement to a plan: names, types and casts.
//!
//! Every query stands on a level of its own; a name is looked up on its level first and then on those
//! around it. What is not known is an error where the statement reads the catalog, and DataFusion's
//! business where it reads nothing.

use std::collections::BTreeSet;

use sqlparser::ast::Query;
use tidemark_catalog::ids::CollectionId;

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::convert::{Cast, cannot_cast, is_castable, is_implicit, is_string};
use crate::pg_catalog::plan::{AggregateCall, Column, Expr, QueryPlan, SetCall, Shape, Window};
use crate::pg_catalog::{CatalogContext, Reach};
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::pgtype::text::parse_text;
use crate::pgtype::types::{Family, NO_TYPMOD, family, format_type};
use crate::sqlstate;

mod call;
mod column;
mod condition;
mod expr;
mod from;
mod operator;
mod overload;
mod query;
mod select;

pub(crate) use self::operator::function_of;
pub(crate) use self::overload::{Resolved, resolve};

/// Why a query was not compiled.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It is wrong, whoever runs it.
    Wrong(SqlError),
    /// It is wrong or beyond the interpreter.
    Unknown(SqlError),
    /// It reads collections, or is too much for the interpreter.
    NotOurs,
}

impl From<SqlError> for Fault {
    fn from(error: SqlError) -> Fault {
        Fault::Unknown(error)
    }
}

pub(crate) type Compiled<T> = Result<T, Fault>;

/// An expression with its type.
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    pub(crate) expr: Expr,
    pub(crate) pg_type: PgType,
    pub(crate) typmod: i32,
    pub(crate) shape: Option<Shape>,
    /// The relation and the number of a column that it is.
    pub(crate) origin: (u32, i16),
}

impl Typed {
    pub(crate) fn new(expr: Expr, pg_type: PgType) -> Typed {
        Typed { expr, pg_type, typmod: NO_TYPMOD, shape: None, origin: (0, 0) }
    }

    fn is_unknown(&self) -> bool {
        self.pg_type == PgType::UNKNOWN
    }
}

/// A relation in FROM.
#[derive(Debug)]
struct Visible {
    name: String,
    columns: Vec<Column>,
    /// Columns that USING merged into those of another relation.
    merged: BTreeSet<usize>,
    /// A function that gives one column: its name is that column's too.
    is_scalar: bool,
}

/// What is known on the level of one query.
#[derive(Debug, Default)]
struct Level {
    relations: Vec<Visible>,
    /// Its relations are not seen while a subquery in FROM without LATERAL is compiled.
    is_hidden: bool,
    /// The relations that were named since this was emptied.
    touched: BTreeSet<usize>,
    /// What USING merged by FULL JOIN: the name and the expression.
    coalesced: Vec<(String, Typed)>,
    aggregates: Vec<AggregateCall>,
    windows: Vec<Window>,
    sets: Vec<SetCall>,
    /// Aggregates, windows and sets may stand here.
    may_aggregate: bool,
    may_set: bool,
    in_aggregate: bool,
    /// The query depends on the rows around it, or on rows that change.
    depends: bool,
}

#[derive(Clone, Debug)]
struct CteScope {
    name: String,
    slot: usize,
    columns: Vec<Column>,
}

/// The compiler of one statement.
#[derive(Debug)]
pub(crate) struct Compiler<'a> {
    pub(crate) context: &'a CatalogContext,
    pub(crate) parameters: Vec<Option<PgType>>,
    /// The numbers, from 0, of those that the statement names.
    pub(crate) parameters_named: BTreeSet<usize>,
    pub(crate) reads_catalog: bool,
    /// It has parts that may take long.
    pub(crate) is_heavy: bool,
    /// What it may read.
    reach: Reach,
    /// The collections that it reads.
    pub(crate) collections: Vec<CollectionId>,
    levels: Vec<Level>,
    ctes: Vec<CteScope>,
    slot_count: usize,
}

impl<'a> Compiler<'a> {
    pub(crate) fn new(
        context: &'a CatalogContext,
        declared: &[Option<PgType>],
        reach: Reach,
    ) -> Compiler<'a> {
        let known = |it: &Option<PgType>| it.clone().filter(|it| *it != PgType::UNKNOWN);
        Compiler {
            context,
            parameters: declared.iter().map(known).collect(),
            parameters_named: BTreeSet::new(),
            reads_catalog: false,
            is_heavy: false,
            reach,
            collections: Vec::new(),
            levels: Vec::new(),
            ctes: Vec::new(),
            slot_count: 0,
        }
    }

    /// Compiles a whole statement.
    pub(crate) fn statement(&mut self, query: &Query) -> Compiled<QueryPlan> {
        let mut plan = self.query(query)?;
        self.settle(&mut plan)?;
        Ok(plan)
    }

    fn level(&mut self) -> &mut Level {
        self.levels.last_mut().expect("an expression stands in a query")
    }

    fn new_slot(&mut self) -> usize {
        self.slot_count += 1;
        self.slot_count
    }

    /// Gives a value another type: by an implicit cast, or an explicit one.
    fn coerce(&mut self, value: Typed, to: &PgType, typmod: i32, is_explicit: bool) -> Compiled<Typed> {
        let shape = value.shape.clone();
        let result = |expr: Expr| Typed { expr, pg_type: to.clone(), typmod, shape, origin: (0, 0) };
        if value.is_unknown() {
            return self.coerce_unknown(value, to, typmod, result);
        }
        if value.pg_type == *to {
            let keeps = typmod == NO_TYPMOD || typmod == value.typmod;
            if keeps {
                let typmod = if is_explicit && typmod == NO_TYPMOD { value.typmod } else { typmod };
                return Ok(Typed { typmod, ..value });
            }
        } else if !(is_implicit(&value.pg_type, to) || is_explicit && is_castable(&value.pg_type, to)) {
            return Err(cannot_cast(&value.pg_type, to).into());
        }
        // Texts are texts: only a length or blanks at the end make a difference.
        let same =
            is_string(&value.pg_type) && *to == PgType::TEXT && family(&value.pg_type) != Family::Bpchar;
        if same {
            return Ok(result(value.expr));
        }
        let cast = Cast { from: value.pg_type, to: to.clone(), typmod };
        Ok(result(Expr::Cast(Box::new(value.expr), cast)))
    }

    fn coerce_unknown(
        &mut self,
        value: Typed,
        to: &PgType,
        typmod: i32,
        result: impl FnOnce(Expr) -> Typed,
    ) -> Compiled<Typed> {
        match value.expr {
            Expr::Parameter(at) => {
                let known = &mut self.parameters[at];
                let from = known.get_or_insert_with(|| to.clone()).clone();
                let needs_name = family(to) == Family::Reg;
                if from != *to || typmod != NO_TYPMOD || needs_name {
                    let cast = Cast { from, to: to.clone(), typmod };
                    return Ok(result(Expr::Cast(Box::new(Expr::Parameter(at)), cast)));
                }
                Ok(result(Expr::Parameter(at)))
            }
            Expr::Const(Datum::Null) => Ok(result(Expr::null())),
            // Names are looked up when the statement runs.
            Expr::Const(Datum::Text(text)) if family(to) != Family::Reg => {
                let is_limited = matches!(family(to), Family::Varchar | Family::Bpchar) && typmod >= 0;
                let parsed = if is_limited {
                    let cast = Cast { from: PgType::TEXT, to: to.clone(), typmod };
                    return Ok(result(Expr::Cast(Box::new(Expr::text(text)), cast)));
                } else {
                    parse_text(&text, to, typmod, &self.context.format)
                };
                Ok(result(Expr::Const(parsed.map_err(Fault::Wrong)?)))
            }
            other => {
                let cast = Cast { from: PgType::TEXT, to: to.clone(), typmod };
                Ok(result(Expr::Cast(Box::new(other), cast)))
            }
        }
    }

    /// A condition.
    fn boolean(&mut self, value: Typed, what: &str) -> Compiled<Expr> {
        if value.is_unknown() || value.pg_type == PgType::BOOL {
            return Ok(self.coerce(value, &PgType::BOOL, NO_TYPMOD, false)?.expr);
        }
        let type_name = format_type(&value.pg_type);
        let message = format!("argument of {what} must be type boolean, not type {type_name}");
        Err(SqlError::new(sqlstate::DATATYPE_MISMATCH, message).into())
    }

    /// A value whose type nothing told is a text.
    fn known(&mut self, value: Typed) -> Compiled<Typed> {
        if value.is_unknown() { self.coerce(value, &PgType::TEXT, NO_TYPMOD, false) } else { Ok(value) }
    }

    fn one_type(&self, types: &[PgType], what: &str) -> SqlResult<PgType> {
        crate::pg_catalog::convert::common_type(types).ok_or_else(|| {
            let mut shown = types.iter().filter(|it| **it != PgType::UNKNOWN).map(format_type);
            let first = shown.next().unwrap_or_default();
            let other = shown.find(|it| *it != first).unwrap_or_default();
            let message = format!("{what} types {first} and {other} cannot be matched");
            SqlError::new(sqlstate::DATATYPE_MISMATCH, message)
        })
    }
}
