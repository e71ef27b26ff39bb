//! The rows of a request for one collection.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::SchemaVersion;
use tidemark_catalog::schema::{COLUMNS_MAX, IDENTIFIER_BYTES_MAX};
use tidemark_catalog::types::{ColumnType, TimeUnit};

use crate::ingest::MayMake;
use crate::ingest::fields::{FieldColumn, FieldError, Value};
use crate::ingest::rows::{NewSeries, Reading, RowSeries};
use crate::ingest::series::Known;

/// The time column of a collection that is made for rows.
pub const TIME_COLUMN: &str = "time";

/// Texts and lists are counted as if they were so many cells of this size.
const CELL_BYTES: usize = 8;

/// What a row takes besides its fields, as if it were so many: its time and its series.
const ROW_CELLS: usize = 3;

/// The rows for a collection.
#[derive(Debug)]
pub struct Table<'k, 'b> {
    /// Its name.
    pub(super) name: String,
    /// `None` when it is yet to be made.
    pub(super) collection: Option<Arc<Collection>>,
    schema_version: Option<SchemaVersion>,
    pub(super) time_unit: TimeUnit,
    may_make: MayMake,
    known: &'k Known,
    /// The series of each row.
    pub(super) series: Vec<RowSeries<'k>>,
    /// The time of each row, in the unit of the time key.
    pub(super) times: Vec<i64>,
    /// The fields, in the order they were met.
    pub(super) fields: Vec<FieldColumn>,
    /// The tags that were met.
    tags: HashMap<String, TagColumn>,
    new_tag_count: usize,
    /// Rows that were rejected after a field had got their value.
    pub(super) rejected: Vec<usize>,
    /// Where a field is, by its name as it is written.
    positions: HashMap<&'b [u8], usize>,
    /// Where a field is, by its name.
    by_name: HashMap<String, usize>,
    new_field_count: usize,
    /// Fields whose columns tags have too, or may have, because they are symbols.
    tag_fields: Vec<usize>,
    /// The fields in the order of the last row: the next row mostly has the same.
    written: Vec<&'b [u8]>,
    /// How many fields the row has that is being read.
    met: usize,
    /// How many fields there were before that row.
    fields_before: usize,
    /// What values take besides their places.
    payload_bytes: usize,
    /// Cells that are counted already.
    cell_count: usize,
}

/// The column of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TagColumn {
    /// It is there, or made for a field.
    Existing,
    /// It is yet to be made, as the first, the second …
    New(usize),
}

impl<'k, 'b> Table<'k, 'b> {
    pub(super) fn new(
        name: &str,
        collection: Option<Arc<Collection>>,
        reading: Reading<'k>,
    ) -> Table<'k, 'b> {
        let time_unit = collection.as_ref().and_then(|it| it.time_column().column_type.time_unit());
        Table {
            name: name.to_owned(),
            schema_version: collection.as_ref().map(|it| it.schema.version()),
            collection,
            known: reading.known,
            time_unit: time_unit.unwrap_or(reading.time_unit),
            may_make: reading.may_make,
            series: Vec::new(),
            times: Vec::new(),
            fields: Vec::new(),
            tags: HashMap::new(),
            new_tag_count: 0,
            rejected: Vec::new(),
            positions: HashMap::new(),
            by_name: HashMap::new(),
            new_field_count: 0,
            tag_fields: Vec::new(),
            written: Vec::new(),
            met: 0,
            fields_before: 0,
            payload_bytes: 0,
            cell_count: 0,
        }
    }

    /// How many rows are to be written.
    pub(super) fn row_count(&self) -> usize {
        self.series.len() - self.rejected.len()
    }

    /// The version of its schema, if it is there.
    pub(super) fn schema_version(&self) -> Option<SchemaVersion> {
        self.schema_version
    }

    /// Whether a column is to be made for a tag.
    pub(super) fn is_new_tag(&self, name: &str) -> bool {
        matches!(self.tags.get(name), Some(TagColumn::New(_)))
    }

    /// How many of the tags are no columns yet.
    pub(super) fn new_tag_count(&self) -> usize {
        self.new_tag_count
    }

    /// Begins a row.
    pub fn begin_row(&mut self) {
        self.met = 0;
        self.fields_before = self.fields.len();
    }

    /// The row's value of a field, by its name as it is written; `name` is what that means.
    ///
    /// # Errors
    /// The field cannot have it. The row cannot be completed then.
    pub fn set<'n>(
        &mut self,
        written: &'b [u8],
        name: impl FnOnce() -> Result<Cow<'n, str>, String>,
        value: &Value<'_>,
    ) -> Result<(), FieldError> {
        let row = self.series.len();
        let at = match self.written.get(self.met) {
            Some(last) if *last == written => self.positions[written],
            _ => self.find_field(written, name, value)?,
        };
        self.met += 1;
        self.payload_bytes += self.fields[at].set(row, value)?;
        Ok(())
    }

    /// Where a field is that is not the one expected; a field that was not met yet is added.
    fn find_field<'n>(
        &mut self,
        written: &'b [u8],
        name: impl FnOnce() -> Result<Cow<'n, str>, String>,
        value: &Value<'_>,
    ) -> Result<usize, String> {
        self.written.truncate(self.met);
        self.written.push(written);
        if let Some(at) = self.positions.get(written) {
            return Ok(*at);
        }
        let name = name()?;
        let at = match self.by_name.get(name.as_ref()) {
            Some(at) => *at,
            None => self.add_field(&name, value)?,
        };
        self.positions.insert(written, at);
        Ok(at)
    }

    /// Adds a field that was not met yet; its place.
    fn add_field(&mut self, name: &str, value: &Value<'_>) -> Result<usize, String> {
        if name == self.time_key() {
            return Err(format!("\"{name}\" is the time, not a field"));
        }
        let field = match self.column_type(name) {
            Some(column_type) => FieldColumn::new(name.to_owned(), column_type.clone())?,
            None if self.tags.contains_key(name) => FieldColumn::new(name.to_owned(), ColumnType::Symbol)?,
            None => {
                check_name(name)?;
                self.check_column(name)?;
                let field = FieldColumn::new(name.to_owned(), value.column_type())?;
                self.new_field_count += 1;
                field
            }
        };
        let at = self.fields.len();
        if field.column_type == ColumnType::Symbol || self.tags.contains_key(name) || self.is_text_tag(name) {
            self.tag_fields.push(at);
        }
        self.fields.push(field);
        self.by_name.insert(name.to_owned(), at);
        Ok(at)
    }

    /// Checks the tags of a series, and remembers those that are no columns yet.
    pub(super) fn admit_tags(&mut self, tags: &[(String, String)]) -> Result<(), String> {
        let mut names: Vec<&str> = tags.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("tag \"{}\" is given twice", pair[0]));
        }
        for (name, value) in tags {
            if memchr::memchr(0, value.as_bytes()).is_some() {
                return Err(format!("tag \"{name}\" has a zero byte, which no text can have"));
            }
            if !self.tags.contains_key(name) {
                let column = self.check_tag(name)?;
                self.tags.insert(name.clone(), column);
                self.tag_fields.extend(self.by_name.get(name).filter(|at| !self.tag_fields.contains(*at)));
                self.new_tag_count += usize::from(column != TagColumn::Existing);
            }
        }
        Ok(())
    }

    /// Takes back those of the tags that were met after so many new ones.
    pub(super) fn forget_tags(&mut self, tags: &[(String, String)], new_tags_kept: usize) {
        for (name, _) in tags {
            if matches!(self.tags.get(name), Some(TagColumn::New(at)) if *at >= new_tags_kept) {
                self.tags.remove(name);
            }
        }
        self.new_tag_count = new_tags_kept;
    }

    /// The tags that are no columns yet, in their order.
    pub(super) fn new_tags(&self) -> Vec<&str> {
        let mut new: Vec<(usize, &str)> = Vec::with_capacity(self.new_tag_count);
        new.extend(self.tags.iter().filter_map(|(name, column)| match column {
            TagColumn::New(at) => Some((*at, name.as_str())),
            TagColumn::Existing => None,
        }));
        new.sort_unstable();
        new.into_iter().map(|(_, name)| name).collect()
    }

    /// The column of a tag that was not met yet: one that there is, or that a field is to get, or its
    /// own.
    fn check_tag(&self, name: &str) -> Result<TagColumn, String> {
        if name == self.time_key() {
            return Err(format!("\"{name}\" is the time, not a tag"));
        }
        let of_field = || self.by_name.get(name).map(|at| &self.fields[*at].column_type);
        match self.column_type(name).or_else(of_field) {
            Some(ColumnType::Symbol | ColumnType::Text | ColumnType::Varchar(None)) => {
                Ok(TagColumn::Existing)
            }
            Some(other) => {
                Err(format!("tag \"{name}\" is of type text but column \"{name}\" is of type {other}"))
            }
            None => {
                check_name(name)?;
                self.check_column(name)?;
                Ok(TagColumn::New(self.new_tag_count))
            }
        }
    }

    /// Checks that a column that is not there can be made.
    fn check_column(&self, name: &str) -> Result<(), String> {
        let existing = self.collection.as_ref().map_or(1, |it| it.schema.columns().len());
        if existing + self.new_tag_count + self.new_field_count >= COLUMNS_MAX {
            return Err(format!("\"{name}\" would be one column too many: {COLUMNS_MAX} are allowed"));
        }
        if self.collection.is_some() && !self.may_make.columns() {
            let table = &self.name;
            return Err(format!("column \"{name}\" of \"{table}\" does not exist, and is not to be made"));
        }
        Ok(())
    }

    fn time_key(&self) -> &str {
        self.collection.as_ref().map_or(TIME_COLUMN, |it| &it.time_column().name)
    }

    /// Whether a known series has a tag in a column that is no symbol.
    fn is_text_tag(&self, name: &str) -> bool {
        let Some(collection) = &self.collection else { return false };
        let column = collection.schema.column_by_name(name);
        column.is_some_and(|column| self.known.is_text_tag(collection.id, column.id))
    }

    fn column_type(&self, name: &str) -> Option<&ColumnType> {
        let column = self.collection.as_ref()?.schema.column_by_name(name)?;
        Some(&column.column_type)
    }

    /// A time of so many units of so many ns, in the unit of the time key.
    ///
    /// # Errors
    /// The time key cannot have it.
    pub fn time(&self, time: i64, unit_ns: i64) -> Result<i64, String> {
        let nanoseconds = i128::from(time) * i128::from(unit_ns);
        let value = match self.time_unit {
            TimeUnit::Microsecond => nanoseconds.div_euclid(1000),
            TimeUnit::Nanosecond => nanoseconds,
        };
        // The two ends stand for infinity, which is no time of a row.
        let value = i64::try_from(value).ok().filter(|value| ![i64::MIN, i64::MAX].contains(value));
        value.ok_or_else(|| format!("timestamp {time} is out of range"))
    }

    /// Completes the row.
    pub(super) fn push_row(&mut self, series: RowSeries<'k>, time: i64) {
        self.written.truncate(self.met);
        self.series.push(series);
        self.times.push(time);
    }

    /// Checks that no tag of the row is also given as a field.
    ///
    /// # Errors
    /// One is.
    pub(super) fn check_tag_fields(
        &self,
        series: RowSeries<'k>,
        new_series: &[NewSeries<'b>],
    ) -> Result<(), String> {
        let row = self.series.len();
        for field in self.tag_fields.iter().map(|at| &self.fields[*at]) {
            let name = &field.name;
            let is_tag = match series {
                RowSeries::Known(series) => {
                    let column = self.collection.as_ref().and_then(|it| it.schema.column_by_name(name));
                    column.is_some_and(|column| series.tags.iter().any(|(id, _)| *id == column.id))
                }
                RowSeries::New(number) => new_series[number].tags.iter().any(|(tag, _)| tag == name),
                RowSeries::Rejected => false,
            };
            if is_tag && field.has(row) {
                return Err(format!("\"{name}\" is a tag and a field"));
            }
        }
        Ok(())
    }

    /// Counts the cells that were not counted yet.
    pub(super) fn count_new_cells(&mut self) -> usize {
        let payload_cells = self.payload_bytes / CELL_BYTES;
        let cells = self.series.len() * (self.fields.len() + ROW_CELLS) + payload_cells;
        let new = cells - self.cell_count;
        self.cell_count = cells;
        new
    }

    /// Takes the row back that was begun last.
    pub(super) fn undo_row(&mut self) {
        let (row, kept) = (self.series.len(), self.fields_before);
        let mut has_left_a_value = false;
        for written in self.written.drain(..) {
            match self.positions.get(written) {
                Some(at) if *at >= kept => {
                    self.positions.remove(written);
                }
                Some(at) => has_left_a_value |= self.fields[*at].has(row),
                None => {}
            }
        }
        for field in self.fields.split_off(kept) {
            self.by_name.remove(&field.name);
            let is_new = self.column_type(&field.name).is_none() && !self.tags.contains_key(&field.name);
            self.new_field_count -= usize::from(is_new);
        }
        self.tag_fields.retain(|at| *at < kept);
        if has_left_a_value {
            self.rejected.push(row);
            self.series.push(RowSeries::Rejected);
            self.times.push(0);
        }
    }
}

/// Checks the name of a collection or of a column.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("a name is empty".to_owned());
    }
    if name.len() > IDENTIFIER_BYTES_MAX {
        return Err(format!("name \"{name}\" is longer than {IDENTIFIER_BYTES_MAX} bytes"));
    }
    if memchr::memchr(0, name.as_bytes()).is_some() {
        return Err("a name has a zero byte, which no name can have".to_owned());
    }
    Ok(())
}
