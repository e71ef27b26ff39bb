//! From the bytes of COPY to rows.
//!
//! 1. Records are found in the data, whatever the pieces in which it comes: lines of text, or binary
//!    rows.
//! 2. The places of their fields go into a table ([`FieldTable`]).
//! 3. The table is read column by column, so that what a column's type is is asked once for many
//!    values.
//!
//! The error that a client is told is the one that PostgreSQL finds first: that of the earliest record,
//! and there of the first column. What is wrong with a record as a whole comes before what is wrong with
//! values of records after it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use tidemark_catalog::ids::ColumnId;

use self::context::{at_line, in_row, shown};
use self::lines::LineInput;
use crate::error::{SqlError, SqlResult};
use crate::pgtype::builder::ColumnFault;
use crate::plan::row_expressions::BoundExpressions;
use crate::sql::copy::binary::BinaryInput;
use crate::sql::copy::fields::{FieldTable, Place, Record};
use crate::sql::copy::options::{Columns, CopyFormat, Layout};
use crate::sql::rows::Target;
use crate::sql::rows::builder::RowsBuilder;
use crate::sqlstate;

mod context;
mod lines;

/// A record longer than this is refused: it is kept in memory as a whole.
pub(crate) const RECORD_BYTES_MAX: usize = 64 << 20;

/// Records whose fields are looked up before they are read: few enough for the cache of a core.
const TABLE_RECORDS: usize = 512;

pub(crate) fn too_long() -> SqlError {
    let message = format!("a COPY record is longer than {RECORD_BYTES_MAX} bytes");
    SqlError::new(sqlstate::PROGRAM_LIMIT_EXCEEDED, message)
}

/// Reads records.
#[derive(Debug)]
pub struct Reader {
    target: Arc<Target>,
    input: Input,
    table: FieldTable,
    /// Columns in which nothing is NULL, by place.
    force_not_null: Vec<bool>,
    /// Columns in which what looks like NULL is it, quoted or not.
    force_null: Vec<bool>,
    /// Columns of which every row needs a value, by place.
    required: Vec<usize>,
    /// Which rows are taken.
    condition: Option<BoundExpressions>,
}

#[derive(Debug)]
enum Input {
    Lines(Box<LineInput>),
    Binary(BinaryInput),
}

/// How far a table was filled.
enum Filled {
    /// There may be more records.
    Full,
    /// There are no more in the data so far.
    Dry,
    /// The record after those in the table is none.
    Fault(SqlError),
}

impl Reader {
    /// Reads rows for the target.
    ///
    /// # Errors
    /// An option names a column that is not copied.
    pub fn new(
        target: Arc<Target>,
        format: CopyFormat,
        condition: Option<BoundExpressions>,
    ) -> SqlResult<Reader> {
        let width = target.columns.len();
        let copied: Vec<&str> = (0..width).map(|at| target.column(at).name.as_str()).collect();
        let schema = target.collection.schema.columns();
        let all: Vec<&str> = schema.iter().map(|column| column.name.as_str()).collect();
        let relation = Some(target.collection.name.as_str());
        let columns = Columns { copied: &copied, all: &all, relation };
        let force_not_null = format.force_not_null.flags("FORCE_NOT_NULL", &columns)?;
        let force_null = format.force_null.flags("FORCE_NULL", &columns)?;
        let input = match format.layout {
            Layout::Binary => Input::Binary(BinaryInput::default()),
            Layout::Text | Layout::Csv => Input::Lines(Box::new(LineInput::new(format))),
        };
        let required = target.required();
        let table = FieldTable::new(width);
        Ok(Reader { target, input, table, force_not_null, force_null, required, condition })
    }

    /// Takes more bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        match &mut self.input {
            Input::Lines(lines) => lines.feed(bytes),
            Input::Binary(binary) => binary.feed(bytes),
        }
    }

    /// There are no more bytes: what is left is the last record.
    pub fn end(&mut self) {
        match &mut self.input {
            Input::Lines(lines) => lines.end(),
            Input::Binary(binary) => binary.end(),
        }
    }

    /// Reads some of the records that are there; true when there may be more.
    ///
    /// # Errors
    /// A record is not right.
    pub fn read(&mut self, rows: &mut RowsBuilder) -> SqlResult<bool> {
        self.table.clear();
        let width = self.target.columns.len();
        let filled = match &mut self.input {
            Input::Lines(lines) => lines.fill(&mut self.table, &self.target),
            Input::Binary(binary) => match binary.fill(&mut self.table, width, TABLE_RECORDS) {
                Ok(true) => Filled::Full,
                Ok(false) => Filled::Dry,
                Err(fault) => Filled::Fault(in_row(fault, &self.target)),
            },
        };
        self.append(rows)?;
        match filled {
            Filled::Full => Ok(true),
            Filled::Dry => Ok(false),
            Filled::Fault(error) => {
                self.check_started_record(rows)?;
                Err(error)
            }
        }
    }

    /// Adds the records of the table to the rows.
    fn append(&self, rows: &mut RowsBuilder) -> SqlResult<()> {
        let mut count = self.table.records().len();
        if count == 0 {
            return Ok(());
        }
        let mut earliest = None;
        for at in 0..self.target.columns.len() {
            if let Err(ColumnFault { row, error }) = self.append_column(at, count, rows) {
                count = row;
                earliest = Some(self.in_column(error, at, row));
            }
        }
        rows.fill(count)?;
        let fault = match &self.condition {
            Some(condition) => self.pick(condition, count, rows).err(),
            None => self.first_missing_value(count, rows),
        };
        if let Some(ColumnFault { row, error }) = fault {
            earliest = Some(error.with_context(self.at_record(&self.table.records()[row])));
        }
        if earliest.is_none() && self.condition.is_none() {
            rows.end_rows(count);
        }
        earliest.map_or(Ok(()), Err)
    }

    /// Leaves only rows that fulfil the condition.
    fn pick(
        &self,
        condition: &BoundExpressions,
        count: usize,
        rows: &mut RowsBuilder,
    ) -> Result<(), ColumnFault> {
        let block = rows.take_block(count, count);
        if count == 0 {
            return Ok(());
        }
        let picked = condition.evaluate_condition(&block, count);
        let picked = picked.map_err(|error| first_failure(condition, &block, count, error))?;
        let is_picked = |row: &usize| picked.is_valid(*row) && picked.value(*row);
        if let Some(column) = self.target.required_elsewhere()
            && let Some(row) = (0..count).find(is_picked)
        {
            return Err(ColumnFault { row, error: rows.null_violation(column, &block, row) });
        }
        let missing = self.required.iter().filter_map(|at| {
            let row = (0..count).find(|row| is_picked(row) && block[*at].1.is_null(*row))?;
            Some((row, *at))
        });
        if let Some((row, at)) = missing.min() {
            return Err(ColumnFault { row, error: rows.null_violation(self.target.column(at), &block, row) });
        }
        rows.push_block(block, &picked).map_err(|error| ColumnFault { row: 0, error })
    }

    /// The first of these records that has no value where one is needed.
    fn first_missing_value(&self, count: usize, rows: &mut RowsBuilder) -> Option<ColumnFault> {
        if count == 0 {
            return None;
        }
        let missing = match self.target.required_elsewhere() {
            Some(column) => Some((0, column)),
            None => {
                let rows = self.required.iter().filter_map(|at| {
                    let row = self.table.column(*at, count).position(|place| self.is_null(*at, &place))?;
                    Some((row, *at))
                });
                rows.min().map(|(row, at)| (row, self.target.column(at)))
            }
        };
        let (row, column) = missing?;
        let before = rows.row_count();
        let block = rows.take_block(before + count, 0);
        Some(ColumnFault { row, error: rows.null_violation(column, &block, before + row) })
    }

    fn is_null(&self, at: usize, place: &Place) -> bool {
        match &self.input {
            Input::Binary(_) => *place == Place::Null,
            Input::Lines(lines) => {
                let is_forced = self.force_null[at] || self.force_not_null[at];
                match place {
                    place if !is_forced => *place == Place::Null,
                    place => {
                        let text = text_of(place.clone(), &lines.text, self.unescaped());
                        self.forced(at, text).is_none()
                    }
                }
            }
        }
    }

    fn append_column(&self, at: usize, count: usize, rows: &mut RowsBuilder) -> Result<(), ColumnFault> {
        match &self.input {
            Input::Binary(binary) => rows.append_binaries(at, self.table.bytes(at, count, &binary.data)),
            Input::Lines(lines) => {
                let texts = self.table.texts(at, count, &lines.text, self.unescaped());
                if self.force_null[at] || self.force_not_null[at] {
                    return rows.append_texts(at, texts.map(|text| self.forced(at, text)));
                }
                rows.append_texts(at, texts)
            }
        }
    }

    fn unescaped(&self) -> &str {
        std::str::from_utf8(self.table.unescaped_bytes()).expect("what escapes make was checked")
    }

    fn forced<'a>(&'a self, at: usize, text: Option<&'a str>) -> Option<&'a str> {
        let Input::Lines(lines) = &self.input else { return text };
        match text {
            None if self.force_not_null[at] => Some(&lines.format.null),
            Some(text) if self.force_null[at] && text == lines.format.null => None,
            text => text,
        }
    }

    /// A record that ends too early has fields before that, and one of them may be wrong too.
    fn check_started_record(&self, rows: &mut RowsBuilder) -> SqlResult<()> {
        let line = match &self.input {
            Input::Lines(lines) => lines.line,
            Input::Binary(binary) => binary.row_count() + 1,
        };
        for (at, place) in self.table.fields().enumerate() {
            let (appended, shown) = match &self.input {
                Input::Binary(binary) => match place {
                    Place::Data(range) => {
                        (rows.append_binaries(at, std::iter::once(Some(&binary.data[range]))), None)
                    }
                    Place::Null | Place::Unescaped(_) => continue,
                },
                Input::Lines(lines) => {
                    let text = self.forced(at, text_of(place, &lines.text, self.unescaped()));
                    (rows.append_texts(at, std::iter::once(text)), Some(text))
                }
            };
            appended.map_err(|fault| fault.error.with_context(self.at_column(at, line, shown)))?;
        }
        Ok(())
    }

    fn in_column(&self, error: SqlError, at: usize, row: usize) -> SqlError {
        let line = self.table.records()[row].line;
        let shown = match &self.input {
            Input::Binary(_) => None,
            Input::Lines(lines) => {
                let place = self.table.column(at, row + 1).last().expect("the row is in the table");
                Some(self.forced(at, text_of(place, &lines.text, self.unescaped())))
            }
        };
        error.with_context(self.at_column(at, line, shown))
    }

    fn at_column(&self, at: usize, line: u64, value: Option<Option<&str>>) -> String {
        let (relation, column) = (&self.target.collection.name, &self.target.column(at).name);
        let value = match value {
            None => String::new(),
            Some(None) => ": null input".to_owned(),
            Some(Some(text)) => format!(": \"{}\"", shown(text)),
        };
        format!("COPY {relation}, line {line}, column {column}{value}")
    }

    fn at_record(&self, record: &Record) -> String {
        let relation = &self.target.collection.name;
        match &self.input {
            Input::Binary(_) => at_line(relation, record.line),
            Input::Lines(lines) => {
                format!(
                    "{}: \"{}\"",
                    at_line(relation, record.line),
                    shown(&lines.text[record.start..record.end])
                )
            }
        }
    }
}

/// Where an error is that a condition gave for some of many rows.
fn first_failure(
    condition: &BoundExpressions,
    block: &[(ColumnId, ArrayRef)],
    count: usize,
    error: SqlError,
) -> ColumnFault {
    for row in 0..count {
        let one: Vec<_> = block.iter().map(|(id, array)| (*id, array.slice(row, 1))).collect();
        if let Err(error) = condition.evaluate_condition(&one, 1) {
            return ColumnFault { row, error };
        }
    }
    ColumnFault { row: 0, error }
}

fn text_of<'a>(place: Place, text: &'a str, unescaped: &'a str) -> Option<&'a str> {
    match place {
        Place::Null => None,
        Place::Data(range) => Some(&text[range]),
        Place::Unescaped(range) => Some(&unescaped[range]),
    }
}
