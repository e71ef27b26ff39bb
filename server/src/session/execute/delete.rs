//! DELETE.
//!
//! 1. The engine flushes the target and holds places of rows still.
//! 2. The places are found: by the engine itself when all conditions are its own, else by a query.
//! 3. The engine deletes the rows at these places, durable and seen by all when it returns.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;
use sqlparser::ast;
use tidemark_engine::delete::{Delete, RowPlaces};
use tidemark_engine::error::JobError;

use crate::error::{SqlError, SqlResult};
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::plan::query::{QueryContext, plan};
use crate::session::Session;
use crate::session::control::StatementControl;
use crate::session::outcome::{Outcome, RowSource, Rows};
use crate::session::prepared::{Body, PlannedDelete};
use crate::sql::delete::{PLACE_COLUMNS, analyze};
use crate::sql::names::Resolver;
use crate::sql::rows::errors::job_error;

impl Session {
    pub(super) async fn prepare_delete(
        &mut self,
        delete: &ast::Delete,
        text: &Arc<str>,
        declared: &[Option<PgType>],
        resolver: &Arc<Resolver>,
    ) -> SqlResult<Body> {
        let analyzed = analyze(delete, resolver)?;
        let target = analyzed.target.id;
        let context = QueryContext { target: Some(analyzed.target), ..self.query_context(text, resolver) };
        let query = plan(analyzed.query, declared.to_vec(), context).await?;
        let returned = analyzed.returns.then(|| query.fields[PLACE_COLUMNS..].into());
        Ok(Body::Delete(Box::new(PlannedDelete { target, query, returned })))
    }

    pub(super) async fn delete(
        &mut self,
        delete: &PlannedDelete,
        values: &[Datum],
        control: &StatementControl,
    ) -> SqlResult<Outcome> {
        if self.transaction.is_in_block() {
            return Err(SqlError::unsupported("DELETE from a time-series table inside a transaction block"));
        }
        // What the same message wrote before is deleted too.
        self.settle(control).await?;
        let (engine, target) = (Arc::clone(&self.server.engine), delete.target);
        let begun = self.server.query_runtime.spawn_blocking(move || engine.begin_delete(target));
        let begun = control.run(begun).await?.map_err(panicked)?.map_err(|error| job_error(&error))?;
        let predicates = match &delete.returned {
            None => delete.query.place_predicates(values)?,
            Some(_) => None,
        };
        if let Some(predicates) = predicates {
            let deleted = self.server.query_runtime.spawn_blocking(move || {
                let places = begun.by_predicates(&predicates)?;
                begun.commit(places)
            });
            let count = deleted.await.map_err(panicked)?.map_err(|error| job_error(&error))?;
            return Ok(Outcome::Done(format!("DELETE {count}")));
        }
        let (places, returned) = self.places(delete, values, control).await?;
        let count = self.commit_delete(begun, places, control).await?;
        Ok(match &delete.returned {
            None => Outcome::Done(format!("DELETE {count}")),
            Some(_) => Outcome::Rows { rows: RowSource::ready(returned.into()), word: "DELETE" },
        })
    }

    /// The places of the rows, and what is returned of each, which is kept in memory until then.
    async fn places(
        &mut self,
        delete: &PlannedDelete,
        values: &[Datum],
        control: &StatementControl,
    ) -> SqlResult<(RowPlaces, VecDeque<RecordBatch>)> {
        let run = self.run_query(control);
        let mut rows = control.run(delete.query.run(values, run)).await??;
        let (mut places, mut returned) = (RowPlaces::default(), VecDeque::new());
        while let Some(rows) = control.run(rows.next()).await?? {
            let Rows::Batch { batch, .. } = rows else {
                return Err(SqlError::internal("a planned query gives batches"));
            };
            let column = |at: usize| batch.column(at).as_primitive::<Int64Type>().values();
            let added = column(0).iter().zip(column(1)).map(|(segment, row)| places.add(*segment, *row));
            let added = added.collect::<Option<Vec<bool>>>();
            let added = added.ok_or_else(|| SqlError::internal("a row without a place"))?;
            if delete.returned.is_some() {
                // A row that several others match is deleted, and returned, once.
                let shown: Vec<usize> = (PLACE_COLUMNS..batch.num_columns()).collect();
                let shown = batch.project(&shown).map_err(SqlError::internal)?;
                let first = BooleanArray::from(added);
                returned.push_back(filter_record_batch(&shown, &first).map_err(SqlError::internal)?);
            }
        }
        Ok((places, returned))
    }

    async fn commit_delete(
        &mut self,
        begun: Delete,
        places: RowPlaces,
        control: &StatementControl,
    ) -> SqlResult<u64> {
        // Up to here it can be cancelled; from here on it is done whatever happens.
        control.check()?;
        let deleted = self.server.query_runtime.spawn_blocking(move || begun.commit(places));
        deleted.await.map_err(panicked)?.map_err(|error: JobError| job_error(&error))
    }
}

fn panicked(error: tokio::task::JoinError) -> SqlError {
    SqlError::internal(format!("DELETE ended by a panic: {error}"))
}
