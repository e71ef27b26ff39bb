//! Relations of `pg_catalog` and `information_schema` as DataFusion's tables, for queries that read
//! collections too.
//!
//! The interpreter makes the rows when the table is scanned, in the context of the statement; oids are
//! numbers of 64 bits, names are texts, and what columns cannot hold is a text of its type's form.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, plan_datafusion_err};
use datafusion::datasource::TableType;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::CatalogContext;
use crate::pg_catalog::shared;
use crate::pgtype::PgType;
use crate::pgtype::datum::Datum;
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::text::to_text;
use crate::pgtype::types::TYPE_METADATA_KEY;
use crate::plan::errors::external;
use crate::plan::options::StatementOptions;
use crate::sql::functions::interpreted;

/// A relation of the catalog in a plan.
#[derive(Debug)]
pub struct CatalogTable {
    namespace: String,
    name: String,
    types: Vec<PgType>,
    schema: SchemaRef,
}

impl CatalogTable {
    /// The relation of a name, if there is one.
    pub fn find(
        namespace: Option<&str>,
        name: &str,
        context: &CatalogContext,
        time_zone: &Arc<str>,
    ) -> Option<CatalogTable> {
        let found = shared::relation(namespace, name, context)?;
        let (types, fields): (Vec<PgType>, Vec<Field>) = found
            .columns
            .into_iter()
            .map(|(name, pg_type)| {
                let field = field(&pg_type, time_zone).with_name(name);
                (pg_type, field)
            })
            .unzip();
        let schema = Arc::new(Schema::new(fields));
        Some(CatalogTable { namespace: found.namespace, name: found.name, types, schema })
    }

    fn batch(&self, context: &CatalogContext) -> SqlResult<RecordBatch> {
        let rows = shared::rows(&self.namespace, &self.name, context)?;
        let columns = self.types.iter().enumerate().map(|(at, pg_type)| {
            let values: Vec<Datum> = rows.iter().map(|row| row[at].clone()).collect();
            column(&values, pg_type, self.schema.field(at).data_type(), &context.format)
        });
        let columns = columns.collect::<SqlResult<Vec<_>>>()?;
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(SqlError::internal)
    }
}

fn field(pg_type: &PgType, time_zone: &Arc<str>) -> Field {
    match interpreted::result_field(pg_type, time_zone) {
        Ok(field) => field.as_ref().clone(),
        Err(_) => {
            let metadata = [(TYPE_METADATA_KEY.to_owned(), pg_type.name().to_owned())].into();
            Field::new("", DataType::Utf8View, true).with_metadata(metadata)
        }
    }
}

fn column(
    values: &[Datum],
    pg_type: &PgType,
    data_type: &DataType,
    format: &FormatSettings,
) -> SqlResult<ArrayRef> {
    if interpreted::has_column(pg_type) {
        return interpreted::column(values, pg_type, data_type, format);
    }
    let text = |value: &Datum| (!value.is_null()).then(|| to_text(value, pg_type, format));
    Ok(Arc::new(values.iter().map(text).collect::<StringViewArray>()))
}

#[async_trait]
impl TableProvider for CatalogTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let statement = state.config().options().extensions.get::<StatementOptions>();
        let context = statement.and_then(|statement| statement.catalog.as_deref());
        let context =
            context.ok_or_else(|| plan_datafusion_err!("the catalog is read outside a statement"))?;
        let batch = self.batch(context).map_err(external)?;
        let source =
            MemorySourceConfig::try_new_exec(&[vec![batch]], Arc::clone(&self.schema), projection.cloned())?;
        Ok(source)
    }
}
