//! A collection as DataFusion sees it: a table whose scan asks the engine.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, Result, internal_err, plan_datafusion_err};
use datafusion::datasource::TableType;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::{CollectionId, ColumnId};
use tidemark_catalog::schema::Nullability;
use tidemark_engine::batch::WriteBatch;
use tidemark_engine::engine::Engine;
use tidemark_engine::error::ReadError;
use tidemark_engine::read::predicate::Predicate;
use tidemark_engine::read::{ROW_COLUMN, RowIds, SEGMENT_COLUMN, ScanRequest, plan};
use tidemark_engine::snapshot::{CollectionSnapshot, Snapshot};
use tidemark_engine::types::read_type;

use crate::pgtype::types::TYPE_METADATA_KEY;
use crate::plan::errors::external;
use crate::plan::predicate::to_predicate;
use crate::plan::scan::CollectionScan;
use crate::plan::types::type_name;

/// A collection in a plan. It knows no data: the statement that runs the plan brings a snapshot.
#[derive(Clone, Debug)]
pub struct CollectionTable {
    collection: Arc<Collection>,
    schema: SchemaRef,
    /// Whether the last columns of the schema are the places of rows.
    row_ids: RowIds,
}

impl CollectionTable {
    /// The collection, with its instants in the session's time zone.
    pub fn new(collection: Arc<Collection>, time_zone: &Arc<str>) -> CollectionTable {
        let fields = collection.schema.columns().iter().map(|column| {
            let data_type = match read_type(&column.column_type) {
                DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(unit, Some(Arc::clone(time_zone))),
                other => other,
            };
            let nullable = column.nullability == Nullability::Nullable;
            let field = Field::new(&column.name, data_type, nullable);
            match type_name(&column.column_type) {
                Some(name) => field.with_metadata([(TYPE_METADATA_KEY.to_owned(), name.to_owned())].into()),
                None => field,
            }
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        CollectionTable { collection, schema, row_ids: RowIds::NotGiven }
    }

    /// The same with the places of rows as its last columns. Rows in memory have none, and are not in
    /// the table.
    #[must_use]
    pub fn with_row_ids(self) -> CollectionTable {
        let places = [SEGMENT_COLUMN, ROW_COLUMN].map(|name| Field::new(name, DataType::Int64, false));
        let fields = self.schema.fields().iter().map(|field| field.as_ref().clone()).chain(places);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        CollectionTable { schema, row_ids: RowIds::Given, ..self }
    }

    /// Whether it has the places of rows.
    pub fn has_row_ids(&self) -> bool {
        self.row_ids == RowIds::Given
    }

    /// The collection.
    pub fn collection(&self) -> &Arc<Collection> {
        &self.collection
    }

    /// The ids of some of its columns, or of all.
    pub(crate) fn column_ids(&self, projection: Option<&Vec<usize>>) -> Vec<ColumnId> {
        let columns = self.collection.schema.columns();
        match projection {
            // What is beyond them are places of rows.
            Some(projection) => projection.iter().filter_map(|at| Some(columns.get(*at)?.id)).collect(),
            None => columns.iter().map(|column| column.id).collect(),
        }
    }

    /// The schema of some of its columns, or of all.
    pub(crate) fn projected_schema(&self, projection: Option<&Vec<usize>>) -> Result<SchemaRef> {
        Ok(match projection {
            Some(projection) => Arc::new(self.schema.project(projection)?),
            None => Arc::clone(&self.schema),
        })
    }

    /// Conditions that the engine takes over, as it understands them.
    pub(crate) fn predicates(&self, conditions: &[Expr]) -> Result<Vec<Predicate>> {
        let predicates = conditions.iter().map(|condition| {
            to_predicate(condition, &self.collection)
                .ok_or_else(|| plan_datafusion_err!("a filter was pushed down that cannot be: {condition}"))
        });
        predicates.collect()
    }
}

#[async_trait]
impl TableProvider for CollectionTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let pushed = filters.iter().map(|filter| match to_predicate(filter, &self.collection) {
            // The engine gives exactly the rows that fulfil its predicates.
            Some(_) => TableProviderFilterPushDown::Exact,
            None => TableProviderFilterPushDown::Unsupported,
        });
        Ok(pushed.collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let data = StatementData::of(state)?;
        let snapshot = data.collection(self.collection.id)?;
        let request = ScanRequest {
            columns: self.column_ids(projection),
            predicates: self.predicates(filters)?,
            batch_rows: state.config().batch_size(),
            row_ids: self.row_ids,
        };
        if self.has_row_ids() {
            check_places(&self.schema, projection)?;
        }
        let schema = self.projected_schema(projection)?;
        let planned = plan(&snapshot, request).map_err(external)?;
        let partitions = state.config().target_partitions();
        Ok(Arc::new(CollectionScan::new(snapshot, planned, schema, partitions, limit)))
    }
}

/// The engine gives both columns of places, and gives them last.
fn check_places(schema: &Schema, projection: Option<&Vec<usize>>) -> Result<()> {
    let columns = schema.fields().len();
    let last = projection.is_none_or(|projection| projection.ends_with(&[columns - 2, columns - 1]));
    if last { Ok(()) } else { internal_err!("places of rows are read as a whole, and last") }
}

/// What a transaction wrote so far.
pub type OwnWrites = Arc<[(CollectionId, WriteBatch)]>;

/// The data that a statement reads: one snapshot for all of it, with what its transaction wrote.
#[derive(Debug)]
pub struct StatementData {
    snapshot: Snapshot,
    own_writes: OwnWrites,
    /// Snapshots with own writes in them, made when first asked for.
    merged: Mutex<Vec<(CollectionId, Arc<CollectionSnapshot>)>>,
}

impl StatementData {
    /// Pins the collections.
    ///
    /// # Errors
    /// One of them was dropped.
    pub fn new(
        engine: &Engine,
        collections: &[CollectionId],
        own_writes: OwnWrites,
    ) -> std::result::Result<StatementData, ReadError> {
        let snapshot = engine.snapshot(collections)?;
        Ok(StatementData { snapshot, own_writes, merged: Mutex::default() })
    }

    /// The data of the statement that is being planned to run.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn of(state: &dyn Session) -> Result<Arc<StatementData>> {
        let data = state.config().get_extension::<StatementData>();
        data.ok_or_else(|| plan_datafusion_err!("a collection is scanned outside a statement"))
    }

    /// What is read of a collection.
    ///
    /// # Errors
    /// It is not one of the pinned ones.
    pub fn collection(&self, id: CollectionId) -> Result<Arc<CollectionSnapshot>> {
        let pinned = self.snapshot.collection(id).map(Arc::clone);
        let pinned = pinned.ok_or_else(|| external(ReadError::NoSuchCollection(id)))?;
        if self.own_writes.iter().all(|(collection, _)| *collection != id) {
            return Ok(pinned);
        }
        let mut merged = self.merged.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, snapshot)) = merged.iter().find(|(other, _)| *other == id) {
            return Ok(Arc::clone(snapshot));
        }
        let own = self.own_writes.iter().filter(|(collection, _)| *collection == id);
        let snapshot = pinned.with_writes(own.map(|(_, batch)| batch));
        let snapshot = Arc::new(snapshot.map_err(|error| DataFusionError::External(Box::new(error)))?);
        merged.push((id, Arc::clone(&snapshot)));
        Ok(snapshot)
    }
}

/// The table behind a plan's table, if it is a collection.
pub fn as_collection(provider: &Arc<dyn TableProvider>) -> Option<&CollectionTable> {
    (provider.as_ref() as &dyn Any).downcast_ref()
}
