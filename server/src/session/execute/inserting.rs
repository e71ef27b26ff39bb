//! INSERT: rows of constants, of parameters, of a query; and what RETURNING gives of them.

use std::sync::Arc;

use arrow::array::RecordBatch;
use sqlparser::ast::Insert;
use tidemark_engine::batch::WriteBatch;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::plan::query::PlannedQuery;
use crate::plan::row_expressions::{BoundExpressions, Clause, RowExpressions};
use crate::session::Session;
use crate::session::control::StatementControl;
use crate::session::outcome::{Outcome, RowSource, Rows};
use crate::session::prepared::{Body, Bound, Prepared, PreparedInsert, RowsFrom};
use crate::session::transaction::WRITE_BYTES_MAX;
use crate::sql::copy::input::too_large;
use crate::sql::insert::constants::ConstantRows;
use crate::sql::insert::{self, InsertSource, unnest};
use crate::sql::names::Resolver;
use crate::sql::rows::{RawValue, Values};

/// The word of its tag, before the number of rows.
const INSERT_WORD: &str = "INSERT 0";

impl Session {
    pub(super) async fn prepare_insert(
        &mut self,
        insert: &Insert,
        rows: Option<&Arc<ConstantRows>>,
        text: &Arc<str>,
        declared: &[Option<PgType>],
        resolver: &Arc<Resolver>,
    ) -> SqlResult<Body> {
        let format = self.format();
        let mut planned = insert::analyze(insert, rows, declared, resolver, &format)?;
        planned.target = self.with_defaults(planned.target)?;
        let (target, source, mut parameters) = match planned.source {
            InsertSource::Constants(rows) => {
                let parameters = rows.parameter_types(&planned.target, declared);
                (planned.target, RowsFrom::Constants(rows), parameters)
            }
            InsertSource::Arrays(arrays) => {
                let parameters = unnest::parameter_types(&arrays, declared);
                (planned.target, RowsFrom::Arrays(arrays), parameters)
            }
            InsertSource::Query { query, lenient } => {
                let query = self.plan(*query, text, declared, resolver).await?;
                let literal = |at| lenient || query.is_literal(at);
                let target =
                    insert::check_assignable(&planned.target, planned.named, &query.fields, literal)?;
                let parameters = query.parameters.clone();
                (Arc::new(target), RowsFrom::Query(Box::new(query)), parameters)
            }
        };
        let returning = match planned.returning {
            None => None,
            Some(query) => {
                let known: Vec<Option<PgType>> = parameters.iter().cloned().map(Some).collect();
                let query = self.plan(*query, text, &known, resolver).await?;
                parameters.clone_from(&query.parameters);
                Some(Arc::new(RowExpressions::of(query, Clause::Returning)?))
            }
        };
        Ok(Body::Insert(Box::new(PreparedInsert { target, source, parameters, returning })))
    }

    /// Makes rows of values as the client sent them, where an INSERT takes them like that.
    ///
    /// # Errors
    /// A value is none of its type, or cannot be assigned to its column.
    pub fn bind_rows(&mut self, prepared: &Prepared, values: &[RawValue]) -> SqlResult<Bound> {
        let Body::Insert(insert) = &prepared.body else {
            return Err(SqlError::internal("only an INSERT makes rows of values"));
        };
        self.build_rows(insert, Values::Raw(values)).map(Bound::Rows)
    }

    fn build_rows(&mut self, insert: &PreparedInsert, values: Values<'_>) -> SqlResult<Option<WriteBatch>> {
        let (format, target) = (self.format(), self.filled(&insert.target)?);
        let engine = &self.server.engine;
        match &insert.source {
            RowsFrom::Constants(rows) => {
                rows.build(engine, &target, values, &insert.parameters, &format).map(Some)
            }
            RowsFrom::Arrays(arrays) => unnest::build(engine, &target, arrays, values, &format),
            RowsFrom::Query(_) => Err(SqlError::internal("a query makes rows when it runs")),
        }
    }

    /// Carries a statement out with the values that it was bound to.
    ///
    /// # Errors
    /// As PostgreSQL says them; in a block, the block has failed.
    pub async fn execute_bound(
        &mut self,
        prepared: &Prepared,
        bound: Bound,
        control: &StatementControl,
    ) -> SqlResult<Outcome> {
        match (bound, &prepared.body) {
            (Bound::Rows(batch), Body::Insert(insert)) => {
                self.start_statement(prepared, control).await?;
                self.check_writable("INSERT")?;
                self.insert_rows(insert, batch, &[], control)
            }
            (Bound::Values(values), _) => self.execute(prepared, &values, control).await,
            (Bound::Rows(_), _) => Err(SqlError::internal("rows for what is no INSERT")),
        }
    }

    pub(super) async fn execute_insert(
        &mut self,
        insert: &PreparedInsert,
        values: &[Datum],
        control: &StatementControl,
    ) -> SqlResult<Outcome> {
        if let RowsFrom::Query(query) = &insert.source {
            return self.insert_query(insert, query, values, control).await;
        }
        let batch = self.build_rows(insert, Values::Datums(values))?;
        self.insert_rows(insert, batch, values, control)
    }

    fn insert_rows(
        &mut self,
        insert: &PreparedInsert,
        batch: Option<WriteBatch>,
        values: &[Datum],
        control: &StatementControl,
    ) -> SqlResult<Outcome> {
        let expressions = self.bind_returning(insert, values, control)?;
        let returned = match (&expressions, &batch) {
            (Some(expressions), Some(batch)) => {
                Some(expressions.evaluate(batch.columns(), batch.row_count())?)
            }
            _ => None,
        };
        let row_count = batch.as_ref().map_or(0, WriteBatch::row_count);
        if let Some(batch) = batch {
            self.transaction.write(insert.target.collection.id, batch)?;
        }
        Ok(match expressions {
            None => Outcome::Done(format!("{INSERT_WORD} {row_count}")),
            Some(_) => {
                Outcome::Rows { rows: RowSource::ready(returned.into_iter().collect()), word: INSERT_WORD }
            }
        })
    }

    fn bind_returning(
        &mut self,
        insert: &PreparedInsert,
        values: &[Datum],
        control: &StatementControl,
    ) -> SqlResult<Option<BoundExpressions>> {
        let Some(returning) = &insert.returning else { return Ok(None) };
        let options = self.run_query(control).options;
        returning.bind(&self.server, values, options).map(Some)
    }

    async fn insert_query(
        &mut self,
        insert: &PreparedInsert,
        query: &PlannedQuery,
        values: &[Datum],
        control: &StatementControl,
    ) -> SqlResult<Outcome> {
        let (format, target) = (self.format(), self.filled(&insert.target)?);
        let collection = target.collection.id;
        let mut sink = self.copy_sink(collection)?;
        let expressions = self.bind_returning(insert, values, control)?.map(Arc::new);
        let run = self.run_query(control);
        let mut rows = control.run(query.run(values, run)).await??;
        let (mut row_count, mut returned, mut returned_bytes) = (0, Vec::new(), 0);
        while let Some(batch) = control.run(rows.next()).await?? {
            let Rows::Batch { batch, .. } = batch else {
                return Err(SqlError::internal("a planned query gives batches"));
            };
            row_count += batch.num_rows();
            let (server, target) = (Arc::clone(&self.server), Arc::clone(&target));
            let (fields, format, expressions) =
                (Arc::clone(&query.fields), format.clone(), expressions.clone());
            let written = self.server.query_runtime.spawn_blocking(move || {
                let batch = insert::assign(&server.engine, &target, &batch, &fields, &format)?;
                let evaluate = |it: Arc<BoundExpressions>| it.evaluate(batch.columns(), batch.row_count());
                let returned = expressions.map(evaluate).transpose()?;
                sink.write(batch)?;
                Ok::<_, SqlError>((sink, returned))
            });
            let written = control.run(written).await?;
            let written =
                written.map_err(|error| SqlError::internal(format!("INSERT ended by a panic: {error}")))?;
            let some: Option<RecordBatch>;
            (sink, some) = written?;
            // What is given back is in memory until the client has it.
            returned_bytes += some.as_ref().map_or(0, RecordBatch::get_array_memory_size);
            if returned_bytes > WRITE_BYTES_MAX {
                return Err(too_large());
            }
            returned.extend(some);
        }
        self.take_sink(collection, sink)?;
        Ok(match expressions {
            None => Outcome::Done(format!("{INSERT_WORD} {row_count}")),
            Some(_) => Outcome::Rows { rows: RowSource::ready(returned), word: INSERT_WORD },
        })
    }
}

impl Prepared {
    /// Whether rows are made of values as the client sends them.
    pub fn takes_raw_values(&self) -> bool {
        let Body::Insert(insert) = &self.body else { return false };
        !matches!(insert.source, RowsFrom::Query(_))
            && insert.returning.as_ref().is_none_or(|returning| !returning.uses_parameters())
    }
}
