//! Parquet files as rows of COPY's text format, which the table's own types read: a column of the file need
//! not have the type of the table's.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, TimeUnit as ArrowTimeUnit};
use arrow::error::ArrowError;
use bytes::{Bytes, BytesMut};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use tidemark_catalog::types::{ColumnType, NUMERIC_PRECISION_MAX, NumericModifier, TimeUnit};
use tidemark_engine::types::read_type;

use crate::import::error::ImportError;
use crate::import::source::{BATCH_BYTES_MAX, Batch, FileColumn, Place, file_error};
use crate::pgtype::encode::{ColumnEncoder, Format};
use crate::pgtype::settings::FormatSettings;
use crate::pgtype::timezone::TimeZone;
use crate::pgtype::types::column_pg_type;

/// Rows that are decoded at a time.
const DECODED_ROWS: usize = 8 << 10;

/// The rows of a file, from some place on.
pub(crate) struct ParquetRows {
    path: PathBuf,
    columns: Vec<FileColumn>,
    batch_rows: u64,
    row_count: u64,
    /// `None` until it is known how many rows are passed over.
    reader: Option<ParquetRecordBatchReader>,
    settings: FormatSettings,
    decoded: Option<Decoded>,
    passed: u64,
}

/// Rows that are decoded.
struct Decoded {
    encoders: Vec<ColumnEncoder>,
    row_count: usize,
    at: usize,
}

impl ParquetRows {
    /// Opens a file.
    pub(crate) fn open(path: &Path, batch_rows: u64) -> Result<ParquetRows, ImportError> {
        let builder = builder(path)?;
        let fields = builder.schema().fields().iter();
        let columns = fields.map(|field| {
            let column_type = table_type(field).ok_or_else(|| ImportError::Content {
                place: path.display().to_string(),
                reason: format!(
                    "column \"{}\" is of type {}, which no table has",
                    field.name(),
                    field.data_type()
                ),
            });
            Ok(FileColumn { name: field.name().clone(), column_type: column_type? })
        });
        let columns = columns.collect::<Result<Vec<_>, ImportError>>()?;
        let row_count = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
        let settings = FormatSettings::initial(TimeZone::utc(), 0);
        let path = path.to_owned();
        Ok(ParquetRows {
            path,
            columns,
            batch_rows,
            row_count,
            reader: None,
            settings,
            decoded: None,
            passed: 0,
        })
    }

    /// The columns, with the types that a table would have for them.
    pub(crate) fn columns(&self) -> &[FileColumn] {
        &self.columns
    }

    /// How many rows there are.
    pub(crate) fn total(&self) -> u64 {
        self.row_count
    }

    /// Passes over so many rows, from the first on; how many there were.
    pub(crate) fn skip(&mut self, count: u64) -> Result<u64, ImportError> {
        let skipped = count.min(self.row_count);
        let offset = usize::try_from(skipped).unwrap_or(usize::MAX);
        let reader = builder(&self.path)?.with_batch_size(DECODED_ROWS).with_offset(offset).build();
        self.reader = Some(reader.map_err(|error| self.wrong(error))?);
        self.passed = skipped;
        Ok(skipped)
    }

    fn wrong(&self, error: impl std::fmt::Display) -> ImportError {
        ImportError::Content { place: self.path.display().to_string(), reason: error.to_string() }
    }

    /// The next rows; `None` after the last.
    pub(crate) fn next_batch(&mut self) -> Result<Option<Batch>, ImportError> {
        let first = self.passed + 1;
        let mut data = BytesMut::new();
        let mut row_count = 0;
        while row_count < self.batch_rows && data.len() < BATCH_BYTES_MAX {
            let Some(rows) = self.decoded()? else { break };
            let row = rows.at;
            rows.at += 1;
            let written = write_row(&rows.encoders, row, &mut data);
            written.map_err(|error| self.wrong(error))?;
            row_count += 1;
        }
        if row_count == 0 {
            return Ok(None);
        }
        self.passed += row_count;
        let (place, data) = (Place::Rows { first }, Bytes::from(data));
        Ok(Some(Batch { data, row_count, end: self.passed, place, position: self.passed }))
    }

    /// Rows of which one is left at least.
    fn decoded(&mut self) -> Result<Option<&mut Decoded>, ImportError> {
        while self.decoded.as_ref().is_none_or(|rows| rows.at == rows.row_count) {
            let reader = self.reader.as_mut().expect("it was said where to start");
            let Some(batch) = reader.next() else { return Ok(None) };
            let decoded = batch.and_then(|batch| self.encoders(&batch));
            self.decoded = Some(decoded.map_err(|error| self.wrong(error))?);
        }
        Ok(self.decoded.as_mut())
    }

    fn encoders(&self, batch: &RecordBatch) -> Result<Decoded, ArrowError> {
        let encoders = batch.columns().iter().zip(&self.columns).map(|(array, column)| {
            let column_type = match &column.column_type {
                ColumnType::Symbol => &ColumnType::Text,
                other => other,
            };
            let array = converted(array, &read_type(column_type))?;
            ColumnEncoder::new(&array, &column_pg_type(column_type), Format::Text, &self.settings)
                .map_err(|error| ArrowError::ExternalError(Box::new(error)))
        });
        let encoders = encoders.collect::<Result<Vec<_>, ArrowError>>()?;
        Ok(Decoded { encoders, row_count: batch.num_rows(), at: 0 })
    }
}

fn builder(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, ImportError> {
    let file = File::open(path).map_err(file_error(path))?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| ImportError::Content {
        place: path.display().to_string(),
        reason: error.to_string(),
    })
}

/// Values that do not fit are an error, not NULL.
fn converted(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == wanted {
        return Ok(Arc::clone(array));
    }
    cast_with_options(array, wanted, &CastOptions { safe: false, ..CastOptions::default() })
}

fn write_row(encoders: &[ColumnEncoder], row: usize, data: &mut BytesMut) -> crate::error::SqlResult<()> {
    for (at, encoder) in encoders.iter().enumerate() {
        if at > 0 {
            data.extend_from_slice(b"\t");
        }
        if encoder.is_null(row) {
            data.extend_from_slice(b"\\N");
            continue;
        }
        let start = data.len();
        encoder.write_value(row, data)?;
        escape(start, data);
    }
    data.extend_from_slice(b"\n");
    Ok(())
}

/// Makes a value that was written from `start` on one that COPY reads back. Most are as they are.
fn escape(start: usize, data: &mut BytesMut) {
    let special = |byte: &u8| matches!(byte, b'\\' | b'\t' | b'\n' | b'\r');
    if !data[start..].iter().any(|byte| special(byte)) {
        return;
    }
    let value = data.split_off(start);
    for byte in value {
        let escaped = match byte {
            b'\t' => b't',
            b'\n' => b'n',
            b'\r' => b'r',
            other => other,
        };
        if special(&byte) {
            data.extend_from_slice(b"\\");
        }
        data.extend_from_slice(&[escaped]);
    }
}

/// The type that a table has for a column of a file; `None` where it has none.
fn table_type(field: &Field) -> Option<ColumnType> {
    if let DataType::Dictionary(_, values) = field.data_type()
        && matches!(**values, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
    {
        return Some(ColumnType::Symbol);
    }
    table_type_of(field.data_type())
}

fn table_type_of(data_type: &DataType) -> Option<ColumnType> {
    Some(match data_type {
        DataType::Boolean => ColumnType::Bool,
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => ColumnType::Int2,
        DataType::UInt16 | DataType::Int32 => ColumnType::Int4,
        DataType::UInt32 | DataType::Int64 => ColumnType::Int8,
        DataType::UInt64 => ColumnType::Numeric(Some(NumericModifier { precision: 20, scale: 0 })),
        DataType::Float16 | DataType::Float32 => ColumnType::Float4,
        DataType::Float64 => ColumnType::Float8,
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => numeric(*precision, *scale)?,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => ColumnType::Text,
        // No column has a time of day alone.
        DataType::Time32(_) | DataType::Time64(_) => ColumnType::Text,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            ColumnType::Bytea
        }
        DataType::Date32 | DataType::Date64 => ColumnType::Date,
        DataType::Timestamp(unit, zone) => {
            let unit = match unit {
                ArrowTimeUnit::Nanosecond => TimeUnit::Nanosecond,
                _ => TimeUnit::Microsecond,
            };
            if zone.is_some() { ColumnType::Timestamptz(unit) } else { ColumnType::Timestamp(unit) }
        }
        DataType::Interval(_) => ColumnType::Interval,
        DataType::Dictionary(_, values) => table_type_of(values)?,
        DataType::List(element)
        | DataType::LargeList(element)
        | DataType::FixedSizeList(element, _)
        | DataType::ListView(element)
        | DataType::LargeListView(element) => match table_type_of(element.data_type())? {
            ColumnType::Array(_) | ColumnType::Interval => return None,
            element => ColumnType::Array(Box::new(element)),
        },
        _ => return None,
    })
}

/// A scale below 0 stands for zeros before the point.
fn numeric(precision: u8, scale: i8) -> Option<ColumnType> {
    let zeros = u8::try_from(scale.min(0).unsigned_abs()).ok()?;
    let precision = precision.checked_add(zeros).filter(|it| *it <= NUMERIC_PRECISION_MAX)?;
    let scale = u8::try_from(scale.max(0)).ok()?;
    Some(ColumnType::Numeric(Some(NumericModifier { precision, scale })))
}
