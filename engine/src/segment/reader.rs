//! Decoding selected rows of a row group.
//!
//! The columns of the predicates are decoded first; the others only for rows that fulfil them, and
//! pages without such rows are not touched. Columns that the file does not have are NULL.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, IntervalMonthDayNanoArray, RecordBatch, RecordBatchOptions,
    new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, IntervalMonthDayNano};
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicate, ArrowPredicateFn, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowFilter,
};

use crate::error::ReadError;
use crate::read::Shared;
use crate::read::predicate::Predicate;
use crate::segment::file::OpenSegment;
use crate::segment::prune::RowGroupSelection;

/// The wanted rows of a row group, batch by batch.
pub(crate) struct SegmentRows {
    open: Arc<OpenSegment>,
    reader: ParquetRecordBatchReader,
    shared: Arc<Shared>,
    /// For each column of the answer, where the decoded batch has it.
    sources: Vec<Option<usize>>,
}

impl std::fmt::Debug for SegmentRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SegmentRows").field("path", &self.open.input.path()).finish_non_exhaustive()
    }
}

impl SegmentRows {
    pub(crate) fn new(
        open: Arc<OpenSegment>,
        selection: RowGroupSelection,
        shared: &Arc<Shared>,
    ) -> Result<SegmentRows, ReadError> {
        let roots: Vec<Option<usize>> =
            shared.request.columns.iter().map(|id| open.column(*id).map(|column| column.root)).collect();
        let mut read: Vec<usize> = roots.iter().flatten().copied().collect();
        read.sort_unstable();
        read.dedup();
        let sources = roots
            .iter()
            .map(|root| root.map(|root| read.binary_search(&root).expect("it is one of them")))
            .collect();
        let parquet = open.metadata.parquet_schema();
        let mut builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(open.input.clone(), open.metadata.clone())
                .with_row_groups(vec![selection.row_group])
                .with_projection(ProjectionMask::roots(parquet, read))
                .with_batch_size(shared.request.batch_rows);
        if let Some(rows) = selection.rows {
            builder = builder.with_row_selection(rows);
        }
        let mut filters: Vec<Box<dyn ArrowPredicate>> = Vec::new();
        for predicate in &shared.request.predicates {
            filters.push(row_filter(&open, predicate));
        }
        if !filters.is_empty() {
            builder = builder.with_row_filter(RowFilter::new(filters));
        }
        let reader = builder.build().map_err(|error| decode_error(&open, error))?;
        Ok(SegmentRows { open, reader, shared: Arc::clone(shared), sources })
    }

    fn convert(&self, batch: &RecordBatch) -> Result<RecordBatch, ReadError> {
        let fields = self.shared.schema.fields().iter().zip(&self.sources);
        let columns = fields
            .map(|(field, source)| match source {
                Some(at) => to_read_type(batch.column(*at), field.data_type()),
                None => Ok(new_null_array(field.data_type(), batch.num_rows())),
            })
            .collect::<Result<Vec<_>, ArrowError>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = Arc::clone(&self.shared.schema);
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }
}

impl Iterator for SegmentRows {
    type Item = Result<RecordBatch, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?;
        Some(match batch {
            Ok(batch) => self.convert(&batch),
            Err(error) => Err(self.open.input.failure().unwrap_or_else(|| error.into())),
        })
    }
}

fn row_filter(open: &OpenSegment, predicate: &Predicate) -> Box<dyn ArrowPredicate> {
    let column = open.column(predicate.column());
    let predicate = predicate.clone();
    let parquet = open.metadata.parquet_schema();
    match column {
        Some(column) => {
            let mask = ProjectionMask::roots(parquet, [column.root]);
            Box::new(ArrowPredicateFn::new(mask, move |batch: RecordBatch| {
                predicate.evaluate_array(batch.column(0))
            }))
        }
        None => {
            let fulfilled = matches!(predicate, Predicate::IsNull { wanted: true, .. });
            let mask = ProjectionMask::none(parquet.num_columns());
            Box::new(ArrowPredicateFn::new(mask, move |batch: RecordBatch| {
                Ok(BooleanArray::from(vec![fulfilled; batch.num_rows()]))
            }))
        }
    }
}

fn decode_error(open: &OpenSegment, error: parquet::errors::ParquetError) -> ReadError {
    open.input
        .failure()
        .unwrap_or_else(|| ReadError::Decode { path: open.input.path().to_owned(), source: Arc::new(error) })
}

/// A decoded column in the type that readers get.
fn to_read_type(array: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    match (array.data_type(), data_type) {
        (found, wanted) if found == wanted => Ok(Arc::clone(array)),
        (DataType::FixedSizeBinary(16), DataType::Interval(_)) => Ok(intervals(array)),
        _ => cast(array, data_type),
    }
}

/// The inverse of the writer's `interval_bytes`.
fn intervals(array: &ArrayRef) -> ArrayRef {
    let bytes = array.as_fixed_size_binary();
    let values = bytes.value_data().chunks_exact(16).skip(bytes.offset()).take(bytes.len());
    let values = values.map(|value| {
        let i32_at = |at: usize| i32::from_le_bytes(value[at..at + 4].try_into().expect("four bytes"));
        let nanoseconds = i64::from_le_bytes(value[8..].try_into().expect("eight bytes"));
        IntervalMonthDayNano::new(i32_at(0), i32_at(4), nanoseconds)
    });
    let values: Vec<IntervalMonthDayNano> = values.collect();
    Arc::new(IntervalMonthDayNanoArray::new(values.into(), bytes.nulls().cloned()))
}
