//! COPY: what the session does of it. The data itself goes by way of the wire.

use std::sync::Arc;

use tidemark_catalog::ids::CollectionId;

use crate::error::{SqlError, SqlResult};
use crate::plan::row_expressions::{Clause, RowExpressions};
use crate::session::Session;
use crate::session::control::StatementControl;
use crate::session::outcome::{Outcome, RowSource};
use crate::session::prepared::{Body, PreparedCopyIn, PreparedCopyOut};
use crate::sql::copy::input::CopyIn;
use crate::sql::copy::options::Columns;
use crate::sql::copy::output::CopyOut;
use crate::sql::copy::statement::CopyStatement;
use crate::sql::copy::{self, Copy};
use crate::sql::names::Resolver;
use crate::sqlstate;

impl Session {
    pub(super) async fn prepare_copy(
        &mut self,
        statement: &CopyStatement,
        text: &Arc<str>,
        resolver: &Arc<Resolver>,
    ) -> SqlResult<Body> {
        match copy::analyze(statement, resolver)? {
            Copy::In { target, format, condition } => {
                let condition = match condition {
                    None => None,
                    Some(query) => {
                        let planned = self.plan(*query, text, &[], resolver).await.map_err(of_copy_where)?;
                        Some(Arc::new(RowExpressions::of(planned, Clause::CopyWhere)?))
                    }
                };
                let target = self.with_defaults(target)?;
                Ok(Body::CopyIn(PreparedCopyIn { target, format, condition }))
            }
            Copy::Out { query, format, collection } => {
                let is_table = matches!(statement.relation, copy::statement::Relation::Table(..));
                let query = self.prepare_query(*query, text, &[], resolver).await;
                // A query that nobody wrote has no places.
                let query = query.map_err(|error| if is_table { error.without_position() } else { error })?;
                let fields = query.fields().ok_or_else(|| SqlError::internal("a query without columns"))?;
                Ok(Body::CopyOut(Box::new(PreparedCopyOut { query, fields, format, collection })))
            }
        }
    }

    pub(super) fn start_copy_in(
        &mut self,
        copy: &PreparedCopyIn,
        control: &StatementControl,
    ) -> SqlResult<Outcome> {
        let sink = self.copy_sink(copy.target.collection.id)?;
        let values = self.format();
        let condition = match &copy.condition {
            None => None,
            Some(condition) => {
                let options = self.run_query(control).options;
                Some(condition.bind(&self.server, &[], options)?)
            }
        };
        let (target, format) = (self.filled(&copy.target)?, copy.format.clone());
        let copy = CopyIn::start(&self.server, target, format, condition, values, sink)?;
        Ok(Outcome::CopyIn(Box::new(copy)))
    }

    /// The data of a COPY FROM is complete; its tag.
    ///
    /// # Errors
    /// The data is not right, or the transaction writes too much.
    pub async fn finish_copy(
        &mut self,
        copy: CopyIn,
        collection: CollectionId,
        control: &StatementControl,
    ) -> SqlResult<String> {
        let (sink, row_count) = control.run(copy.finish()).await??;
        self.take_sink(collection, sink)?;
        Ok(format!("COPY {row_count}"))
    }
}

/// The same error, for the clause that the condition is in.
fn of_copy_where(error: SqlError) -> SqlError {
    let clause = "COPY FROM WHERE conditions";
    let position = error.fields().position;
    match error.message() {
        "aggregate functions are not allowed in WHERE" => {
            let message = format!("aggregate functions are not allowed in {clause}");
            SqlError::new(sqlstate::GROUPING_ERROR, message).at(position)
        }
        "window functions are not allowed in WHERE" => {
            let message = format!("window functions are not allowed in {clause}");
            SqlError::new(sqlstate::WINDOWING_ERROR, message).at(position)
        }
        _ => error,
    }
}

impl PreparedCopyOut {
    pub(super) fn start(&self, rows: RowSource) -> SqlResult<CopyOut> {
        let copied: Vec<&str> = self.fields.iter().map(|field| field.name.as_str()).collect();
        let columns = self.collection.as_ref().map(|collection| {
            let columns = collection.schema.columns().iter();
            (columns.map(|column| column.name.as_str()).collect::<Vec<_>>(), collection.name.as_str())
        });
        let columns = match &columns {
            Some((all, relation)) => Columns { copied: &copied, all, relation: Some(*relation) },
            None => Columns { copied: &copied, all: &copied, relation: None },
        };
        CopyOut::new(Arc::clone(&self.fields), rows, self.format.clone(), &columns)
    }
}
