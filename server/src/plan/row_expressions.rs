//! Expressions over rows that are on their way into a collection: the condition of COPY, what RETURNING
//! gives, and what ON CONFLICT makes of a row that is there and one that is not.
//!
//! They are planned as a query over the collection ([`RowExpressions::of`] takes its plan apart), and
//! evaluated on batches that no snapshot has ([`BoundExpressions::evaluate`]).

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{Field as ArrowField, Int32Type, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchemaRef, ParamValues};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::ColumnId;
use tidemark_engine::memtable::dictionaries::SymbolDictionaries;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::datum::Datum;
use crate::plan::errors::{read, to_sql_error};
use crate::plan::options::StatementOptions;
use crate::plan::order::RowOrder;
use crate::plan::planner::{RunContext, bind};
use crate::plan::provider::{StatementData, as_collection};
use crate::plan::query::PlannedQuery;
use crate::server::Server;
use crate::session::field::Fields;
use crate::sql::rows::errors::write_error;
use crate::sqlstate;

/// The clause that expressions are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clause {
    /// `COPY … FROM … WHERE`: what is left of the rows.
    CopyWhere,
    /// `RETURNING`: what is given of each row.
    Returning,
    /// `ON CONFLICT DO UPDATE`: values and a condition, over a row that is there and `excluded`.
    Conflict,
}

impl Clause {
    /// As errors name it.
    fn name(self) -> &'static str {
        match self {
            Clause::CopyWhere => "COPY FROM WHERE conditions",
            Clause::Returning => "RETURNING",
            Clause::Conflict => "UPDATE",
        }
    }
}

/// Expressions over the columns of a collection.
#[derive(Debug)]
pub struct RowExpressions {
    query: PlannedQuery,
    clause: Clause,
    collection: Arc<Collection>,
    /// The collection's columns, each of which may be NULL; twice, where there are two rows.
    schema: SchemaRef,
    /// The places of columns, where the expressions are nothing else.
    columns: Option<Vec<usize>>,
    uses_parameters: bool,
}

impl RowExpressions {
    /// The expressions of a query: `SELECT expressions FROM collection`, or `SELECT * FROM collection
    /// WHERE condition`, or `SELECT expressions FROM collection CROSS JOIN collection AS excluded`.
    ///
    /// # Errors
    /// What the clause does not allow, or is not supported in it.
    pub fn of(query: PlannedQuery, clause: Clause) -> SqlResult<RowExpressions> {
        let (expressions, input) = parts(query.logical(), clause)?;
        if expressions.iter().any(has_subquery) {
            return Err(subquery(clause));
        }
        let (scan, sides) = scans(input).ok_or_else(|| subquery(clause))?;
        let provider = source_as_provider(&scan.source).map_err(|error| to_sql_error(error, None))?;
        let table = as_collection(&provider)
            .ok_or_else(|| SqlError::unsupported(format!("a system catalog in {}", clause.name())))?;
        let collection = Arc::clone(table.collection());
        let schema = provider.schema();
        let nullable = |field: &Arc<ArrowField>| field.as_ref().clone().with_nullable(true);
        let fields = (0..sides).flat_map(|_| schema.fields().iter().map(nullable));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let columns = plain_columns(&expressions, input);
        let uses_parameters = expressions.iter().any(has_parameter);
        Ok(RowExpressions { query, clause, collection, schema, columns, uses_parameters })
    }

    /// What the expressions give.
    pub fn fields(&self) -> &Fields {
        &self.query.fields
    }

    /// The places of columns, where the expressions are nothing else; those of `excluded` come after all
    /// of the collection's.
    pub fn columns(&self) -> Option<&[usize]> {
        self.columns.as_deref()
    }

    /// Whether values of parameters are needed.
    pub fn uses_parameters(&self) -> bool {
        self.uses_parameters
    }

    /// The expressions with values for their parameters, ready to be evaluated.
    ///
    /// # Errors
    /// As PostgreSQL says them.
    pub fn bind(
        &self,
        server: &Server,
        values: &[Datum],
        options: StatementOptions,
    ) -> SqlResult<BoundExpressions> {
        let how = match &self.columns {
            Some(columns) => How::Columns(columns.clone()),
            None => How::Expressions(self.physical(server, values, options)?),
        };
        let symbols = server.engine.symbols(self.collection.id).map_err(|error| write_error(&error))?;
        Ok(BoundExpressions {
            how,
            schema: Arc::clone(&self.schema),
            columns: self.collection.schema.columns().iter().map(|column| column.id).collect(),
            symbols,
        })
    }

    fn physical(
        &self,
        server: &Server,
        values: &[Datum],
        options: StatementOptions,
    ) -> SqlResult<Vec<Arc<dyn PhysicalExpr>>> {
        let bound;
        let mut plan = self.query.logical();
        if self.uses_parameters {
            bound = bind(plan, ParamValues::from(self.query.scalars(values)?))?;
            plan = &bound;
        }
        let (expressions, input) = parts(plan, self.clause)?;
        let time_zone = Arc::clone(self.query.time_zone());
        let data = StatementData::new(&server.engine, &[], Arc::from([])).map_err(|error| read(&error))?;
        let state = server.planner.state(RunContext { data, time_zone, options }, RowOrder::Free);
        let schema: &DFSchemaRef = input.schema();
        let context = SimplifyContext::builder()
            .with_schema(Arc::clone(schema))
            .with_config_options(Arc::clone(state.config_options()))
            .with_query_execution_start_time(state.execution_props().query_execution_start_time)
            .build();
        let simplifier = ExprSimplifier::new(context);
        let physical = expressions.into_iter().map(|expression| {
            // Some functions are nothing but what they are simplified to.
            let expression = simplifier.coerce(expression.unalias(), schema);
            let expression = expression.and_then(|expression| simplifier.simplify(expression));
            let physical = expression.and_then(|expression| state.create_physical_expr(expression, schema));
            physical.map_err(|error| to_sql_error(error, None))
        });
        physical.collect()
    }
}

/// The scan of the collection, and how many rows of it are looked at together.
fn scans(input: &LogicalPlan) -> Option<(&TableScan, usize)> {
    match input {
        LogicalPlan::TableScan(scan) => Some((scan, 1)),
        LogicalPlan::SubqueryAlias(alias) => scans(&alias.input),
        LogicalPlan::Join(join) if join.on.is_empty() && join.filter.is_none() => {
            scans(&join.right)?;
            scans(&join.left).map(|(scan, _)| (scan, 2))
        }
        _ => None,
    }
}

/// The places of columns, where expressions are nothing else.
fn plain_columns(expressions: &[Expr], input: &LogicalPlan) -> Option<Vec<usize>> {
    let place = |expression: &Expr| match expression.clone().unalias() {
        Expr::Column(column) => input.schema().index_of_column(&column).ok(),
        _ => None,
    };
    expressions.iter().map(place).collect()
}

fn has_parameter(expression: &Expr) -> bool {
    expression.exists(|expr| Ok(matches!(expr, Expr::Placeholder(_)))).unwrap_or(true)
}

/// The expressions of a plan, and what they are over.
fn parts(plan: &LogicalPlan, clause: Clause) -> SqlResult<(Vec<Expr>, &LogicalPlan)> {
    let LogicalPlan::Projection(projection) = plan else { return Err(not_allowed(plan, clause)) };
    let mut input = projection.input.as_ref();
    let mut expressions = projection.expr.clone();
    if let (LogicalPlan::Filter(filter), Clause::CopyWhere) = (input, clause) {
        expressions = vec![filter.predicate.clone()];
        input = filter.input.as_ref();
    }
    match input {
        LogicalPlan::Join(_) if clause == Clause::Conflict && scans(input).is_some() => {
            Ok((expressions, input))
        }
        LogicalPlan::TableScan(_) => Ok((expressions, input)),
        // Names of columns are qualified by an alias, if there is one.
        LogicalPlan::SubqueryAlias(alias) if matches!(*alias.input, LogicalPlan::TableScan(_)) => {
            let names = expressions.into_iter().map(unqualified);
            Ok((names.collect::<SqlResult<Vec<_>>>()?, alias.input.as_ref()))
        }
        other => Err(not_allowed(other, clause)),
    }
}

/// The expression over the table itself and not over an alias of it.
fn unqualified(expression: Expr) -> SqlResult<Expr> {
    let renamed = expression.transform(|expr| match expr {
        Expr::Column(column) => Ok(Transformed::yes(Expr::Column(Column::new_unqualified(column.name)))),
        other => Ok(Transformed::no(other)),
    });
    Ok(renamed.map_err(|error| to_sql_error(error, None))?.data)
}

fn not_allowed(plan: &LogicalPlan, clause: Clause) -> SqlError {
    match plan {
        LogicalPlan::Aggregate(_) => SqlError::new(
            sqlstate::GROUPING_ERROR,
            format!("aggregate functions are not allowed in {}", clause.name()),
        ),
        LogicalPlan::Window(_) => SqlError::new(
            sqlstate::WINDOWING_ERROR,
            format!("window functions are not allowed in {}", clause.name()),
        ),
        LogicalPlan::Unnest(_) => SqlError::new(
            sqlstate::FEATURE_NOT_SUPPORTED,
            format!("set-returning functions are not allowed in {}", clause.name()),
        ),
        LogicalPlan::Projection(inner) => not_allowed(&inner.input, clause),
        _ => subquery(clause),
    }
}

fn subquery(clause: Clause) -> SqlError {
    match clause {
        Clause::CopyWhere => {
            SqlError::new(sqlstate::FEATURE_NOT_SUPPORTED, "cannot use subquery in COPY FROM WHERE condition")
        }
        Clause::Returning => SqlError::unsupported("a subquery in RETURNING"),
        Clause::Conflict => SqlError::unsupported("a subquery in ON CONFLICT DO UPDATE"),
    }
}

fn has_subquery(expression: &Expr) -> bool {
    let is_one = |expr: &Expr| {
        Ok(matches!(
            expr,
            Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)
        ))
    };
    expression.exists(is_one).unwrap_or(false)
}

/// Expressions that are ready to be evaluated.
#[derive(Debug)]
pub struct BoundExpressions {
    how: How,
    schema: SchemaRef,
    /// The collection's columns.
    columns: Vec<ColumnId>,
    symbols: SymbolDictionaries,
}

#[derive(Debug)]
enum How {
    /// Columns at these places of the schema.
    Columns(Vec<usize>),
    Expressions(Vec<Arc<dyn PhysicalExpr>>),
}

impl BoundExpressions {
    /// What the expressions give for rows of some of the collection's columns; the others are NULL.
    ///
    /// # Errors
    /// As PostgreSQL says them.
    pub fn evaluate(&self, given: &[(ColumnId, ArrayRef)], row_count: usize) -> SqlResult<RecordBatch> {
        self.evaluate_some(0..self.count(), &[given], row_count)
    }

    fn count(&self) -> usize {
        match &self.how {
            How::Columns(places) => places.len(),
            How::Expressions(expressions) => expressions.len(),
        }
    }

    /// What some of the expressions give for rows that are looked at together, such as those that are
    /// there and those of `excluded`.
    ///
    /// # Errors
    /// As PostgreSQL says them.
    pub fn evaluate_some(
        &self,
        some: Range<usize>,
        sides: &[&[(ColumnId, ArrayRef)]],
        row_count: usize,
    ) -> SqlResult<RecordBatch> {
        let values: SqlResult<Vec<ArrayRef>> = match &self.how {
            How::Columns(places) => {
                places[some].iter().map(|at| self.column(*at, sides, row_count)).collect()
            }
            How::Expressions(expressions) => {
                let rows = self.as_read(sides, row_count)?;
                let values = expressions[some].iter().map(|expression| {
                    let value = expression.evaluate(&rows).and_then(|value| value.into_array(row_count));
                    value.map_err(|error| to_sql_error(error, None))
                });
                values.collect()
            }
        };
        let values = values?;
        let field = |value: &ArrayRef| ArrowField::new("", value.data_type().clone(), true);
        let schema = Arc::new(Schema::new(values.iter().map(field).collect::<Vec<_>>()));
        let options = RecordBatchOptions::new().with_row_count(Some(row_count));
        RecordBatch::try_new_with_options(schema, values, &options).map_err(SqlError::internal)
    }

    /// Which rows fulfil the condition that the last expression is; NULL is no.
    ///
    /// # Errors
    /// As PostgreSQL says them.
    pub fn evaluate_last_condition(
        &self,
        sides: &[&[(ColumnId, ArrayRef)]],
        row_count: usize,
    ) -> SqlResult<BooleanArray> {
        let count = self.count();
        let values = self.evaluate_some(count - 1..count, sides, row_count)?;
        match values.column(0).as_boolean_opt() {
            Some(values) => Ok(values.clone()),
            // Only NULL has no type.
            None => Ok(BooleanArray::new_null(row_count)),
        }
    }

    /// Which rows fulfil the condition that the only expression is; NULL is no.
    ///
    /// # Errors
    /// As PostgreSQL says them.
    pub fn evaluate_condition(
        &self,
        given: &[(ColumnId, ArrayRef)],
        row_count: usize,
    ) -> SqlResult<BooleanArray> {
        self.evaluate_last_condition(&[given], row_count)
    }

    /// A column as a reader would get it.
    fn column(&self, at: usize, sides: &[&[(ColumnId, ArrayRef)]], row_count: usize) -> SqlResult<ArrayRef> {
        let data_type = self.schema.field(at).data_type();
        let (side, id) = (at / self.columns.len(), self.columns[at % self.columns.len()]);
        let Some((_, array)) = sides[side].iter().find(|(given, _)| *given == id) else {
            return Ok(new_null_array(data_type, row_count));
        };
        let array = match (self.symbols.of_numbers(id), array.as_primitive_opt::<Int32Type>()) {
            (Some(dictionary), Some(numbers)) => dictionary.resolve(numbers),
            // Also of a symbol column that became one of text meanwhile.
            _ => Arc::clone(array),
        };
        if array.data_type() == data_type {
            return Ok(array);
        }
        cast(&array, data_type).map_err(SqlError::internal)
    }

    /// The rows as a reader would get them.
    fn as_read(&self, sides: &[&[(ColumnId, ArrayRef)]], row_count: usize) -> SqlResult<RecordBatch> {
        let columns = (0..self.schema.fields().len()).map(|at| self.column(at, sides, row_count));
        let columns = columns.collect::<SqlResult<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(row_count));
        let rows = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options);
        rows.map_err(SqlError::internal)
    }
}
