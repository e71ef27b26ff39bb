//! Types in expressions: the Arrow type of each, and the names that DataFusion does not know.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, TimeUnit as ArrowTimeUnit};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::planner::TypePlanner;
use sqlparser::ast::DataType as SqlType;
use tidemark_catalog::types::{ColumnType, TimeUnit};
use tidemark_engine::types::read_type;

use crate::pgtype::types::TYPE_METADATA_KEY;
use crate::sql::types::column_type;

/// Types in expressions: PostgreSQL's resolution of timestamps, and names DataFusion does not know.
#[derive(Debug)]
pub struct PostgresTypes {
    /// The session's time zone.
    pub time_zone: Arc<str>,
}

impl TypePlanner for PostgresTypes {
    fn plan_type_field(&self, sql_type: &SqlType) -> DataFusionResult<Option<FieldRef>> {
        let Ok(column_type) = column_type(sql_type) else { return Ok(None) };
        Ok(Some(expression_field(&column_type, &self.time_zone)))
    }
}

/// The Arrow field of a type in expressions.
pub fn expression_field(column_type: &ColumnType, time_zone: &Arc<str>) -> FieldRef {
    let field = Field::new("", expression_type(column_type, time_zone), true);
    Arc::new(match type_name(column_type) {
        Some(name) => field.with_metadata([(TYPE_METADATA_KEY.to_owned(), name.to_owned())].into()),
        None => field,
    })
}

/// The name by which an Arrow field says which type it has, where its Arrow type does not.
pub fn type_name(column_type: &ColumnType) -> Option<&'static str> {
    match column_type {
        ColumnType::Varchar(_) => Some("varchar"),
        ColumnType::Json => Some("json"),
        ColumnType::Jsonb => Some("jsonb"),
        ColumnType::Uuid => Some("uuid"),
        ColumnType::Array(element) if matches!(**element, ColumnType::Varchar(_)) => Some("_varchar"),
        _ => None,
    }
}

/// The Arrow type of a type in expressions.
pub fn expression_type(column_type: &ColumnType, time_zone: &Arc<str>) -> DataType {
    match column_type {
        ColumnType::Symbol => DataType::Utf8View,
        ColumnType::Timestamptz(unit) => {
            let unit = match unit {
                TimeUnit::Microsecond => ArrowTimeUnit::Microsecond,
                TimeUnit::Nanosecond => ArrowTimeUnit::Nanosecond,
            };
            DataType::Timestamp(unit, Some(Arc::clone(time_zone)))
        }
        other => read_type(other),
    }
}
