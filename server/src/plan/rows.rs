//! Rows of collections for the catalog's interpreter, which answers what DataFusion cannot plan.
//!
//! A collection is read whole, but for what constant conditions on its columns leave out; the
//! interpreter keeps the rows in memory, and so there is a limit to them ([`ROWS_MAX`]).

use std::sync::Arc;

use arrow::array::Array;
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};
use tidemark_catalog::collection::Collection;
use tidemark_engine::read::{RowIds, ScanRequest, plan};
use tidemark_engine::types::read_type;

use crate::error::{SqlError, SqlResult};
use crate::pg_catalog::tables::{Condition, Relation, Tables};
use crate::pgtype::datum::Datum;
use crate::pgtype::scalar::{datum_from_array, datum_to_scalar_array};
use crate::pgtype::types::column_pg_type;
use crate::plan::errors::{read, to_sql_error};
use crate::plan::predicate::to_predicate;
use crate::plan::provider::StatementData;
use crate::sqlstate;

/// Rows of one collection that a query may keep.
const ROWS_MAX: usize = 2_000_000;

/// Rows of a batch.
const BATCH_ROWS: usize = 8192;

/// The data of a statement, row by row.
#[derive(Debug)]
pub struct CollectionRows {
    data: StatementData,
}

impl CollectionRows {
    /// Of the data that a statement pinned.
    pub fn new(data: StatementData) -> CollectionRows {
        CollectionRows { data }
    }
}

impl Tables for CollectionRows {
    fn rows(&self, collection: &Collection, conditions: &[Condition]) -> SqlResult<Vec<Arc<[Datum]>>> {
        let snapshot = self.data.collection(collection.id).map_err(|error| to_sql_error(error, None))?;
        let columns = collection.schema.columns();
        let request = ScanRequest {
            columns: columns.iter().map(|column| column.id).collect(),
            predicates: conditions.iter().filter_map(|it| predicate(it, collection)).collect(),
            batch_rows: BATCH_ROWS,
            row_ids: RowIds::NotGiven,
        };
        let scan = plan(&snapshot, request).map_err(|error| read(&error))?;
        let types: Vec<_> = columns.iter().map(|column| column_pg_type(&column.column_type)).collect();
        let mut rows = Vec::new();
        for unit in scan.units() {
            for batch in scan.read(unit).map_err(|error| read(&error))? {
                let batch = batch.map_err(|error| read(&error))?;
                if rows.len() + batch.num_rows() > ROWS_MAX {
                    return Err(too_many(&collection.name));
                }
                for row in 0..batch.num_rows() {
                    let values =
                        types.iter().zip(batch.columns()).map(|(pg_type, array)| match array.is_null(row) {
                            true => Ok(Datum::Null),
                            false => datum_from_array(array, row, pg_type),
                        });
                    rows.push(values.collect::<SqlResult<Arc<[Datum]>>>()?);
                }
            }
        }
        Ok(rows)
    }
}

fn too_many(name: &str) -> SqlError {
    let message = format!("a query of this form reads more than {ROWS_MAX} rows of table \"{name}\"");
    SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message).with_hint(
        "Correlated subqueries and LATERAL in forms that cannot be turned into joins keep their rows in \
         memory. Restrict the table by its time, or write the query with joins.",
    )
}

/// A condition as the engine understands it; what it does not, the interpreter looks at itself.
fn predicate(
    condition: &Condition,
    collection: &Collection,
) -> Option<tidemark_engine::read::predicate::Predicate> {
    let column = collection.schema.columns().get(condition.column)?;
    let value = datum_to_scalar_array(&condition.value, &read_type(&column.column_type)).ok()?;
    let value = ScalarValue::try_from_array(&value, 0).ok().filter(|value| !value.is_null())?;
    let op = match condition.relation {
        Relation::Equal => Operator::Eq,
        Relation::Less => Operator::Lt,
        Relation::LessOrEqual => Operator::LtEq,
        Relation::Greater => Operator::Gt,
        Relation::GreaterOrEqual => Operator::GtEq,
    };
    let column = Expr::Column(Column::new_unqualified(&column.name));
    let expr = BinaryExpr::new(Box::new(column), op, Box::new(Expr::Literal(value, None)));
    to_predicate(&Expr::BinaryExpr(expr), collection)
}
