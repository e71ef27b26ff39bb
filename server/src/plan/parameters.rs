//! The types of a statement's parameters: declared by the client, said by a cast, or asked for by
//! their place.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::logical_expr::LogicalPlan;
use sqlparser::ast::{CastKind, Expr, LimitClause, Query, Value, Visit, Visitor};
use tidemark_catalog::types::{ColumnType, TimeUnit};

use crate::error::{SqlError, SqlResult};
use crate::pgtype::PgType;
use crate::pgtype::types::{TYPE_METADATA_KEY, arrow_pg_type, column_pg_type, element_type_of};
use crate::plan::errors::to_sql_error;
use crate::plan::types::expression_type;
use crate::sql::types::column_type;
use crate::sqlstate;

/// What is known of each parameter before planning, by number from 0.
pub fn hints(query: &Query, declared: &[Option<PgType>], time_zone: &Arc<str>) -> Vec<Option<FieldRef>> {
    let mut casts = Casts { types: HashMap::new(), highest: declared.len() };
    let visited = query.visit(&mut casts);
    debug_assert!(visited.is_continue(), "this visitor never breaks");
    let known = |at: usize| {
        let declared = declared.get(at).cloned().flatten();
        let pg_type = declared.or_else(|| casts.types.get(&at).map(column_pg_type))?;
        let field = Field::new("", arrow_type(&pg_type, time_zone).ok()?, true);
        if arrow_pg_type(&field) == pg_type {
            return Some(Arc::new(field));
        }
        let name = (TYPE_METADATA_KEY.to_owned(), pg_type.name().to_owned());
        Some(Arc::new(field.with_metadata([name].into())))
    };
    (0..casts.highest).map(known).collect()
}

/// The parameters that are cast right where they stand.
struct Casts {
    types: HashMap<usize, ColumnType>,
    highest: usize,
}

impl Visitor for Casts {
    type Break = ();

    /// Row counts are bigint.
    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &query.limit_clause {
            for count in limit.iter().chain(offset.iter().map(|offset| &offset.value)) {
                if let Some(at) = parameter_number(count) {
                    self.types.entry(at).or_insert(ColumnType::Int8);
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr: inner, data_type, .. } = expr
            && let Some(at) = parameter_number(inner)
            && let Ok(column_type) = column_type(data_type)
        {
            self.types.entry(at).or_insert(column_type);
        }
        if let Some(at) = parameter_number(expr) {
            self.highest = self.highest.max(at + 1);
        }
        ControlFlow::Continue(())
    }
}

/// The numbers, from 0, of the parameters that a query mentions.
pub fn mentioned(query: &Query) -> BTreeSet<usize> {
    struct Numbers(BTreeSet<usize>);
    impl Visitor for Numbers {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            self.0.extend(parameter_number(expr));
            ControlFlow::Continue(())
        }
    }
    let mut numbers = Numbers(BTreeSet::new());
    let visited = query.visit(&mut numbers);
    debug_assert!(visited.is_continue(), "this visitor never breaks");
    numbers.0
}

/// The number of a parameter, from 0.
pub fn parameter_number(expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => name.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1),
            _ => None,
        },
        Expr::Nested(inner) => parameter_number(inner),
        _ => None,
    }
}

/// The types of all parameters of a plan. One that nothing says anything about is text, as in
/// PostgreSQL's `SELECT $1`.
///
/// # Errors
/// 42P18 when a number between others is not used.
pub fn types(
    plan: &LogicalPlan,
    declared: &[Option<PgType>],
    hints: &[Option<FieldRef>],
) -> SqlResult<Vec<PgType>> {
    let found = plan.get_parameter_fields().map_err(|error| to_sql_error(error, None))?;
    let numbers = found.keys().filter_map(|name| name.strip_prefix('$')?.parse::<usize>().ok());
    let count = numbers.max().unwrap_or(0).max(declared.len());
    (0..count)
        .map(|at| {
            if let Some(Some(declared)) = declared.get(at) {
                return Ok(declared.clone());
            }
            if let Some(Some(hint)) = hints.get(at) {
                return Ok(arrow_pg_type(hint));
            }
            match found.get(&format!("${}", at + 1)) {
                Some(Some(field)) => Ok(arrow_pg_type(field)),
                Some(None) => Ok(PgType::TEXT),
                None => {
                    let message = format!("could not determine data type of parameter ${}", at + 1);
                    Err(SqlError::new(sqlstate::INDETERMINATE_DATATYPE, message))
                }
            }
        })
        .collect()
}

/// The Arrow type in which a parameter's value enters a plan.
///
/// # Errors
/// 0A000 for a type that plans do not know.
pub fn arrow_type(pg_type: &PgType, time_zone: &Arc<str>) -> SqlResult<DataType> {
    if let Some(element) = element_type_of(pg_type) {
        let element = arrow_type(&element, time_zone)?;
        return Ok(DataType::List(Arc::new(Field::new_list_field(element, true))));
    }
    let column_type = match *pg_type {
        PgType::BOOL => ColumnType::Bool,
        PgType::INT2 => ColumnType::Int2,
        PgType::INT4 => ColumnType::Int4,
        PgType::INT8 | PgType::OID => ColumnType::Int8,
        PgType::FLOAT4 => ColumnType::Float4,
        PgType::FLOAT8 => ColumnType::Float8,
        PgType::NUMERIC => ColumnType::Numeric(None),
        PgType::TEXT
        | PgType::VARCHAR
        | PgType::BPCHAR
        | PgType::NAME
        | PgType::UNKNOWN
        | PgType::JSON
        | PgType::JSONB => ColumnType::Text,
        PgType::BYTEA => ColumnType::Bytea,
        PgType::DATE => ColumnType::Date,
        PgType::TIMESTAMP => ColumnType::Timestamp(TimeUnit::Microsecond),
        PgType::TIMESTAMPTZ => ColumnType::Timestamptz(TimeUnit::Microsecond),
        PgType::INTERVAL => ColumnType::Interval,
        PgType::UUID => ColumnType::Uuid,
        ref other => return Err(SqlError::unsupported(format!("a parameter of type {other}"))),
    };
    Ok(expression_type(&column_type, time_zone))
}
