//! Queries: who answers them, and what they are told of the session.

use std::sync::Arc;

use tidemark_catalog::ids::CollectionId;
use tokio_util::sync::CancellationToken;

use crate::error::SqlResult;
use crate::pg_catalog::tables::Tables;
use crate::pg_catalog::{CatalogContext, CatalogQuery, NotAnswered, Reach};
use crate::pgtype::PgType;
use crate::plan::options::StatementOptions;
use crate::plan::provider::StatementData;
use crate::plan::query::{PlannedQuery, QueryContext, RunQuery, plan};
use crate::plan::rows::CollectionRows;
use crate::session::Session;
use crate::session::control::StatementControl;
use crate::session::prepared::Body;
use crate::session::system::RunningSystem;
use crate::sql::defaults::check_places;
use crate::sql::names::Resolver;
use crate::sqlstate;

impl Session {
    /// A query over the catalog or over nothing is answered by the interpreter; one that it does not
    /// answer, by DataFusion.
    pub(super) async fn prepare_query(
        &mut self,
        query: sqlparser::ast::Query,
        text: &Arc<str>,
        declared: &[Option<PgType>],
        resolver: &Arc<Resolver>,
    ) -> SqlResult<Body> {
        check_places(&query, text)?;
        let context = self.catalog_context();
        match CatalogQuery::analyze(&query, declared, &context, Reach::Catalog) {
            Ok(answered) => return Ok(Body::Catalog(Box::new(answered))),
            Err(NotAnswered::Error(error)) => return Err(error),
            Err(NotAnswered::NotOurs) => {}
        }
        let refused = match self.plan(query.clone(), text, declared, resolver).await {
            Ok(planned) => return Ok(Body::Query(Box::new(planned))),
            Err(error) => error,
        };
        // What DataFusion cannot plan the interpreter may answer, row by row.
        let may_be_answered = [
            sqlstate::FEATURE_NOT_SUPPORTED,
            sqlstate::UNDEFINED_FUNCTION,
            sqlstate::UNDEFINED_COLUMN,
            sqlstate::UNDEFINED_TABLE,
        ];
        // Rows cannot be locked, whoever reads them.
        if !may_be_answered.contains(&refused.state()) || !query.locks.is_empty() {
            return Err(refused);
        }
        match CatalogQuery::analyze(&query, declared, &context, Reach::Everything) {
            Ok(answered) if !answered.collections.is_empty() => {
                resolver.note(&answered.collections);
                Ok(Body::Catalog(Box::new(answered)))
            }
            _ => Err(refused),
        }
    }

    pub(super) async fn plan(
        &mut self,
        query: sqlparser::ast::Query,
        text: &Arc<str>,
        declared: &[Option<PgType>],
        resolver: &Arc<Resolver>,
    ) -> SqlResult<PlannedQuery> {
        plan(query, declared.to_vec(), self.query_context(text, resolver)).await
    }

    pub(super) fn query_context(&mut self, text: &Arc<str>, resolver: &Arc<Resolver>) -> QueryContext {
        QueryContext {
            server: Arc::clone(&self.server),
            text: Arc::clone(text),
            resolver: Arc::clone(resolver),
            time_zone: self.settings.arrow_time_zone(),
            target: None,
            options: self.statement_options(),
        }
    }

    pub(super) fn run_query(&mut self, control: &StatementControl) -> RunQuery {
        RunQuery {
            options: self.statement_options(),
            server: Arc::clone(&self.server),
            own_writes: self.transaction.own_writes(),
            cancel: control.token(),
        }
    }

    /// What functions know of the session.
    fn statement_options(&mut self) -> StatementOptions {
        let context = self.catalog_context();
        StatementOptions {
            format: context.format.clone(),
            role: self.role.name.clone(),
            database: self.database.clone(),
            search_path: self.settings.search_path().to_vec(),
            catalog: Some(Arc::new(context)),
        }
    }

    pub(super) fn catalog_context(&mut self) -> CatalogContext {
        CatalogContext {
            view: self.server.engine.view(),
            sessions: Arc::clone(&self.server.sessions),
            started_us: self.server.started_us,
            role: self.role.clone(),
            database: self.database.clone(),
            settings: self.settings.clone(),
            format: self.format(),
            process: self.registered.process(),
            system: Arc::new(RunningSystem(Arc::clone(&self.server.engine))),
            statements: Arc::clone(&self.statements),
            tables: None,
            cancel: CancellationToken::new(),
            clock: Arc::clone(&self.server.clock),
            random: Arc::clone(&self.server.random),
        }
    }

    /// Collections for the interpreter, all of them at one moment.
    pub(super) fn tables(&self, collections: &[CollectionId]) -> SqlResult<Arc<dyn Tables>> {
        let own_writes = self.transaction.own_writes();
        let data = StatementData::new(&self.server.engine, collections, own_writes);
        Ok(Arc::new(CollectionRows::new(data.map_err(|error| crate::plan::errors::read(&error))?)))
    }
}
