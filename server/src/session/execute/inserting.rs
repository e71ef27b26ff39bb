//! INSERT: rows of constants, of parameters, of a query; and what RETURNING gives of them.

use std::sync::Arc;

use arrow::array::RecordBatch;
use sqlparser::ast::{Insert, Query};
use tidemark_engine::batch::WriteBatch;

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::{CatalogQuery, Reach};
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::pgtype::types::format_type;
use crate::plan::parameters::mentioned;
use crate::plan::query::PlannedQuery;
use crate::plan::row_expressions::{BoundExpressions, Clause, RowExpressions};
use crate::session::Session;
use crate::session::control::StatementControl;
use crate::session::outcome::{Outcome, RowSource, Rows};
use crate::session::prepared::{
    Body, Bound, Prepared, PreparedConflict, PreparedInsert, PreparedUpdate, RowsFrom,
};
use crate::session::transaction::WRITE_BYTES_MAX;
use crate::sql::copy::input::too_large;
use crate::sql::insert::conflict::Conflict;
use crate::sql::insert::constants::ConstantRows;
use crate::sql::insert::{self, InsertSource, unnest};
use crate::sql::names::Resolver;
use crate::sql::rows::builder::RowsBuilder;
use crate::sql::rows::{RawValue, Target, Values};
use crate::sqlstate;

/// The word of its tag, before the number of rows.
pub(super) const INSERT_WORD: &str = "INSERT 0";

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
                let mut parameters = declared.to_vec();
                let answer = if lenient { self.answer(&query, &mut parameters) } else { None };
                let (rows, fields, is_literal): (_, _, Vec<bool>) = match answer {
                    Some(answer) => {
                        let fields = Arc::clone(answer.fields());
                        let unknown = fields.iter().map(|field| field.pg_type == PgType::UNKNOWN).collect();
                        (RowsFrom::Answer(Box::new(answer)), fields, unknown)
                    }
                    None => {
                        let query = self.plan_part(*query, text, &mut parameters, resolver).await?;
                        let fields = Arc::clone(&query.fields);
                        let literal = (0..fields.len()).map(|at| lenient || query.is_literal(at)).collect();
                        (RowsFrom::Query(Box::new(query)), fields, literal)
                    }
                };
                let literal = |at: usize| is_literal[at];
                let target = insert::check_assignable(&planned.target, planned.named, &fields, literal)?;
                (Arc::new(target), rows, parameters)
            }
        };
        let conflict = match planned.conflict {
            None => None,
            Some(Conflict::Nothing) => Some(PreparedConflict::Nothing),
            Some(Conflict::Update(update)) => {
                let query = self.plan_part(update.query, text, &mut parameters, resolver).await?;
                let (set, has_condition) = (update.target, update.has_condition);
                Some(PreparedConflict::Update(Box::new(PreparedUpdate::new(set, query, has_condition)?)))
            }
        };
        let returning = match planned.returning {
            None => None,
            Some(query) => {
                let query = self.plan_part(*query, text, &mut parameters, resolver).await?;
                Some(Arc::new(RowExpressions::of(query, Clause::Returning)?))
            }
        };
        let parameters = parameters.into_iter().map(|known| known.unwrap_or(PgType::TEXT)).collect();
        Ok(Body::Insert(Box::new(PreparedInsert { target, source, parameters, conflict, returning })))
    }

    /// The values of a VALUES list by the interpreter, which plans nothing when they are computed, and the
    /// types of the parameters in it. What it does not know, or refuses, is left to the planner.
    fn answer(&mut self, values: &Query, parameters: &mut Vec<Option<PgType>>) -> Option<CatalogQuery> {
        let answer = CatalogQuery::analyze(values, parameters, &self.catalog_context(), Reach::Catalog);
        let answer = answer.ok().filter(CatalogQuery::is_small)?;
        note_types(parameters, mentioned(values), answer.parameters());
        Some(answer)
    }

    /// Plans a query that is a part of the statement, and notes the types of the parameters in it.
    async fn plan_part(
        &mut self,
        query: Query,
        text: &Arc<str>,
        parameters: &mut Vec<Option<PgType>>,
        resolver: &Arc<Resolver>,
    ) -> SqlResult<PlannedQuery> {
        let mentioned = mentioned(&query);
        // Those of other parts have types by those.
        let known = parameters.iter().enumerate().map(|(at, known)| match known {
            None if !mentioned.contains(&at) => Some(PgType::TEXT),
            known => known.clone(),
        });
        let query = self.plan(query, text, &known.collect::<Vec<_>>(), resolver).await?;
        note_types(parameters, mentioned, &query.parameters);
        Ok(query)
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
            RowsFrom::Answer(_) | RowsFrom::Query(_) => {
                Err(SqlError::internal("a query makes rows when it runs"))
            }
        }
    }

    fn answered_rows(
        &mut self,
        insert: &PreparedInsert,
        query: &CatalogQuery,
        values: &[Datum],
    ) -> SqlResult<WriteBatch> {
        let answer = query.run(values, &self.catalog_context())?;
        answer.effects.into_iter().try_for_each(|effect| self.take_effect(effect))?;
        let (format, target) = (self.format(), self.filled(&insert.target)?);
        let count = answer.rows.len();
        let mut rows = RowsBuilder::new(&self.server.engine, &target, &format, count)?;
        for row in &answer.rows {
            for (at, (datum, field)) in row.iter().zip(query.fields().iter()).enumerate() {
                rows.append_datum(at, datum, &field.pg_type)?;
            }
        }
        rows.fill(count)?;
        rows.end_rows(count);
        rows.finish()
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
                self.insert_rows(insert, batch, &[], control).await
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
            if insert.conflict.is_some() {
                let batch = self.query_rows(insert, query, values, control).await?;
                return self.insert_rows(insert, batch, values, control).await;
            }
            return self.insert_query(insert, query, values, control).await;
        }
        if let RowsFrom::Answer(query) = &insert.source {
            let batch = self.answered_rows(insert, query, values)?;
            return self.insert_rows(insert, Some(batch), values, control).await;
        }
        let batch = self.build_rows(insert, Values::Datums(values))?;
        self.insert_rows(insert, batch, values, control).await
    }

    async fn insert_rows(
        &mut self,
        insert: &PreparedInsert,
        batch: Option<WriteBatch>,
        values: &[Datum],
        control: &StatementControl,
    ) -> SqlResult<Outcome> {
        if let Some(conflict) = &insert.conflict {
            return self.insert_or_resolve(insert, conflict, batch, values, control).await;
        }
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

    pub(super) fn bind_returning(
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

/// Notes the types that a part of the statement gives to the parameters in it.
fn note_types(
    parameters: &mut Vec<Option<PgType>>,
    mentioned: impl IntoIterator<Item = usize>,
    types: &[PgType],
) {
    parameters.resize(parameters.len().max(types.len()), None);
    for at in mentioned {
        parameters[at] = types.get(at).cloned();
    }
}

impl Prepared {
    /// Whether rows are made of values as the client sends them.
    pub fn takes_raw_values(&self) -> bool {
        let Body::Insert(insert) = &self.body else { return false };
        !matches!(insert.source, RowsFrom::Answer(_) | RowsFrom::Query(_))
            && insert.conflict.as_ref().is_none_or(|conflict| !conflict.uses_parameters())
            && insert.returning.as_ref().is_none_or(|returning| !returning.uses_parameters())
    }
}

impl PreparedConflict {
    fn uses_parameters(&self) -> bool {
        match self {
            PreparedConflict::Nothing => false,
            PreparedConflict::Update(update) => update.expressions.uses_parameters(),
        }
    }
}

impl PreparedUpdate {
    /// Checks what a query over what is there and `excluded` gives: values for the columns, and after them
    /// a condition.
    fn new(set: Target, query: PlannedQuery, has_condition: bool) -> SqlResult<PreparedUpdate> {
        let fields = Arc::clone(&query.fields);
        let literal = |at| query.is_literal(at);
        let set = insert::check_assignable(&set, true, &fields[..set.columns.len()], literal)?;
        if let Some(condition) = fields.last().filter(|_| has_condition)
            && !matches!(condition.pg_type, PgType::BOOL | PgType::UNKNOWN)
        {
            let found = format_type(&condition.pg_type);
            let message = format!("argument of WHERE must be type boolean, not type {found}");
            return Err(SqlError::new(sqlstate::DATATYPE_MISMATCH, message));
        }
        let expressions = RowExpressions::of(query, Clause::Conflict)?;
        let replaces = !has_condition && replaces(&set, expressions.columns());
        Ok(PreparedUpdate { set, expressions, has_condition, replaces })
    }
}

/// Whether every column that is not of the key is set to what was to be inserted.
fn replaces(set: &Target, columns: Option<&[usize]>) -> bool {
    let Some(columns) = columns else { return false };
    let all = set.collection.schema.columns();
    let key = &set.collection.timeseries().dedup_key;
    all.iter().enumerate().filter(|(_, column)| !key.contains(&column.id)).all(|(at, column)| {
        let of_set = set.columns.iter().position(|id| *id == column.id);
        of_set.is_some_and(|of_set| columns[of_set] == all.len() + at)
    })
}
