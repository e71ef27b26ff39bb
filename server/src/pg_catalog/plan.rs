//! A query over the catalog after compilation: what names mean is settled, types are known, casts
//! stand where they are needed.
//!
//! Every SELECT has a frame of relations; an expression finds a column by the depth of the frame
//! (0 is the SELECT it stands in, 1 the one around it), the relation in it and the column.

use std::sync::Arc;

use tidemark_catalog::collection::Collection;

use crate::pg_catalog::aggregate::Aggregate;
use crate::pg_catalog::convert::Cast;
use crate::pg_catalog::functions::{Callable, SetFunction};
use crate::pg_catalog::operators::Operator;
use crate::pg_catalog::relations::Relation;
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::sql::functions::row::Overload;

/// A row, shared by all who hold it.
pub(crate) type Row = Arc<[Datum]>;

/// A column of a query's result or of a relation in FROM.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) pg_type: PgType,
    pub(crate) typmod: i32,
    /// The relation it comes from unchanged; 0 for none.
    pub(crate) table: u32,
    pub(crate) number: i16,
    /// The fields, where it is a record of known form.
    pub(crate) shape: Option<Shape>,
}

/// The fields of a record.
pub(crate) type Shape = Arc<[(String, PgType)]>;

impl Column {
    pub(crate) fn new(name: impl Into<String>, pg_type: PgType) -> Column {
        Column { name: name.into(), pg_type, typmod: -1, table: 0, number: 0, shape: None }
    }
}

/// A query with all that belongs to it.
#[derive(Debug)]
pub(crate) struct QueryPlan {
    pub(crate) ctes: Vec<Cte>,
    pub(crate) body: Body,
    pub(crate) order: Vec<SortKey>,
    pub(crate) limit: Option<Expr>,
    pub(crate) offset: Option<Expr>,
    /// What it gives. Its rows may be wider: sort keys that are no columns stand behind.
    pub(crate) columns: Vec<Column>,
    /// Where its rows are kept for the whole run, when they do not depend on the rows around it.
    pub(crate) memo: Option<usize>,
}

/// A query with a name.
#[derive(Debug)]
pub(crate) struct Cte {
    /// Where its rows are kept while the query runs.
    pub(crate) slot: usize,
    pub(crate) first: QueryPlan,
    /// What is repeated over its own last rows, for WITH RECURSIVE.
    pub(crate) recursive: Option<Recursion>,
}

/// The part after UNION of a recursive query.
#[derive(Debug)]
pub(crate) struct Recursion {
    pub(crate) plan: QueryPlan,
    /// UNION ALL keeps rows that are equal.
    pub(crate) keeps_duplicates: bool,
}

#[derive(Debug)]
pub(crate) enum Body {
    Select(Box<Select>),
    Values(Vec<Vec<Expr>>),
    Set { operation: SetOperation, all: bool, left: Box<QueryPlan>, right: Box<QueryPlan> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetOperation {
    Union,
    Intersect,
    Except,
}

/// Rows are ordered by one of their values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SortKey {
    pub(crate) column: usize,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

#[derive(Debug)]
pub(crate) struct Select {
    pub(crate) from: From,
    /// How many relations its frame has.
    pub(crate) relation_count: usize,
    /// What of WHERE could not be put to a relation.
    pub(crate) filters: Vec<Expr>,
    pub(crate) grouping: Option<Grouping>,
    pub(crate) windows: Vec<Window>,
    pub(crate) sets: Vec<SetCall>,
    pub(crate) items: Vec<Expr>,
    pub(crate) distinct: Distinct,
}

#[derive(Debug)]
pub(crate) enum Distinct {
    No,
    /// Over so many first items.
    Rows(usize),
    /// DISTINCT ON these items.
    On(Vec<usize>),
}

#[derive(Debug)]
pub(crate) struct Grouping {
    pub(crate) keys: Vec<Expr>,
    pub(crate) aggregates: Vec<AggregateCall>,
    pub(crate) having: Option<Expr>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AggregateCall {
    pub(crate) aggregate: Aggregate,
    pub(crate) arguments: Vec<Expr>,
    pub(crate) distinct: bool,
    pub(crate) filter: Option<Expr>,
    pub(crate) order: Vec<OrderedExpr>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OrderedExpr {
    pub(crate) expr: Expr,
    pub(crate) descending: bool,
    pub(crate) nulls_first: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Window {
    pub(crate) function: WindowFunction,
    pub(crate) partition: Vec<Expr>,
    pub(crate) order: Vec<OrderedExpr>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum WindowFunction {
    RowNumber,
    Rank,
    DenseRank,
    /// Over all rows of the partition, or up to the row's peers where it is ordered.
    Aggregate(AggregateCall),
}

/// A set-returning function of the SELECT list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SetCall {
    pub(crate) function: SetFunction,
    pub(crate) arguments: Vec<Expr>,
}

#[derive(Debug)]
pub(crate) enum From {
    /// No FROM: one row without columns.
    Nothing,
    Relation(Box<Leaf>),
    Join {
        left: Box<From>,
        right: Box<From>,
        kind: JoinKind,
        on: Vec<Expr>,
        after: Vec<Expr>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinKind {
    Inner,
    Left,
    Full,
}

#[derive(Debug)]
pub(crate) struct Leaf {
    /// Its place in the frame.
    pub(crate) relation: usize,
    pub(crate) source: Source,
    pub(crate) filters: Vec<Expr>,
    /// Rows are found by a column's value.
    pub(crate) lookup: Option<Lookup>,
}

#[derive(Debug)]
pub(crate) struct Lookup {
    pub(crate) column: usize,
    pub(crate) key: Expr,
}

#[derive(Debug)]
pub(crate) enum Source {
    Table(&'static Relation),
    /// Where its rows are kept for the whole run.
    Collection(Arc<Collection>, usize),
    Query {
        plan: Box<QueryPlan>,
        lateral: bool,
    },
    Cte(usize),
    Function {
        calls: Vec<SetOrScalar>,
        ordinality: bool,
    },
}

/// A function in FROM.
#[derive(Debug)]
pub(crate) enum SetOrScalar {
    /// The call, and how many columns it gives.
    Set(SetCall, usize),
    Scalar(Expr),
}

/// An expression whose types are settled.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    Const(Datum),
    Parameter(usize),
    Column {
        depth: usize,
        relation: usize,
        column: usize,
    },
    /// All columns of a relation as one record.
    Record {
        depth: usize,
        relation: usize,
        types: Arc<[PgType]>,
    },
    Aggregate(usize),
    Window(usize),
    Set(usize),
    Call(Callable, Vec<Expr>),
    /// A function that DataFusion's queries call too.
    Shared(&'static Overload, Vec<Expr>),
    Operate(Operator, Box<Expr>, Box<Expr>),
    /// `left op ANY (array)`, or ALL.
    Quantified {
        operator: Operator,
        left: Box<Expr>,
        array: Box<Expr>,
        all: bool,
    },
    /// `left op ANY (subquery)`, IN and their opposites.
    QuantifiedQuery {
        operator: Operator,
        left: Vec<Expr>,
        query: Subquery,
        all: bool,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Not(Box<Expr>),
    IsNull(Box<Expr>),
    /// `IS TRUE`, `IS FALSE`
    Is(Box<Expr>, bool),
    IsDistinct(Box<Expr>, Box<Expr>),
    InList(Box<Expr>, Vec<Expr>),
    Scalar(Subquery),
    Exists(Subquery),
    ArrayOf(Subquery, PgType),
    Case {
        whens: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    Coalesce(Vec<Expr>),
    NullIf(Box<Expr>, Box<Expr>),
    Extreme {
        items: Vec<Expr>,
        greatest: bool,
    },
    Array {
        element: PgType,
        items: Vec<Expr>,
        nested: bool,
    },
    Row(Vec<(PgType, Expr)>),
    Subscript(Box<Expr>, Vec<Expr>),
    Slice(Box<Expr>, Option<Box<Expr>>, Option<Box<Expr>>),
    Field(Box<Expr>, usize),
    Cast(Box<Expr>, Cast),
}

/// A query within an expression; equal only to itself.
#[derive(Clone, Debug)]
pub(crate) struct Subquery(pub(crate) Arc<QueryPlan>);

impl PartialEq for Subquery {
    fn eq(&self, other: &Subquery) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Expr {
    pub(crate) fn null() -> Expr {
        Expr::Const(Datum::Null)
    }

    pub(crate) fn text(text: impl Into<String>) -> Expr {
        Expr::Const(Datum::Text(text.into()))
    }
}

/// The expressions that an expression is made of; not those of its subqueries.
pub(crate) fn children(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Const(_)
        | Expr::Parameter(_)
        | Expr::Column { .. }
        | Expr::Record { .. }
        | Expr::Aggregate(_)
        | Expr::Window(_)
        | Expr::Set(_)
        | Expr::Scalar(_)
        | Expr::Exists(_)
        | Expr::ArrayOf(..) => Vec::new(),
        Expr::Call(_, items)
        | Expr::Shared(_, items)
        | Expr::And(items)
        | Expr::Or(items)
        | Expr::Coalesce(items) => items.iter().collect(),
        Expr::Extreme { items, .. } | Expr::Array { items, .. } => items.iter().collect(),
        Expr::QuantifiedQuery { left, .. } => left.iter().collect(),
        Expr::Operate(_, left, right) | Expr::IsDistinct(left, right) | Expr::NullIf(left, right) => {
            vec![left.as_ref(), right.as_ref()]
        }
        Expr::Quantified { left, array, .. } => vec![left.as_ref(), array.as_ref()],
        Expr::Not(inner)
        | Expr::IsNull(inner)
        | Expr::Is(inner, _)
        | Expr::Field(inner, _)
        | Expr::Cast(inner, _) => vec![inner.as_ref()],
        Expr::InList(left, items) | Expr::Subscript(left, items) => {
            std::iter::once(left.as_ref()).chain(items).collect()
        }
        Expr::Case { whens, otherwise } => {
            let parts = whens.iter().flat_map(|(test, result)| [test, result]);
            parts.chain(otherwise.as_deref()).collect()
        }
        Expr::Row(fields) => fields.iter().map(|(_, field)| field).collect(),
        Expr::Slice(array, lower, upper) => {
            let bounds = lower.as_deref().into_iter().chain(upper.as_deref());
            std::iter::once(array.as_ref()).chain(bounds).collect()
        }
    }
}
