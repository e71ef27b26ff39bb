//! The rows of a request, gathered by collection.
//!
//! Nothing is made or written here. A series that is known is taken as a whole; for one that is not,
//! and for a field that was not met yet, everything is checked against the catalog and against the
//! request so far, so that what can be wrong with a row is found at that row:
//!
//! 1. [`Gatherer::find`] or [`Gatherer::add`] says which series the row is of.
//! 2. [`Table::begin_row`], [`Table::set`] for each field, [`Gatherer::end_row`].
//! 3. Or [`Gatherer::reject`], at any step: the row leaves no trace. What it alone would have needed
//!    (a series, tags, fields) is taken back; a value that it had given to a field that others have
//!    too stays in its place, and the place is left out when the rows are written.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::{CollectionId, NAMESPACE_PUBLIC};
use tidemark_catalog::schema::{COLUMNS_MAX, IDENTIFIER_BYTES_MAX};
use tidemark_catalog::types::{ColumnType, TimeUnit};
use tidemark_catalog::view::View;

use crate::ingest::fields::{FieldColumn, FieldError, Value};
use crate::ingest::series::{Known, Series};
use crate::ingest::{MayMake, Refused, Rejected, RowError};

/// The time column of a collection that is made for rows.
pub const TIME_COLUMN: &str = "time";

/// Rows times fields that a request may have: a row with a new field makes room for it in all others.
const CELLS_MAX: usize = 32 << 20;

/// What a request is read under.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'k> {
    /// The catalog.
    pub view: &'k View,
    /// The series that are known.
    pub known: &'k Known,
    /// What may be made.
    pub may_make: MayMake,
    /// The resolution of time keys that are made.
    pub time_unit: TimeUnit,
}

/// Gathers the rows of a request. `'k` is the life of the known series, `'b` of the request's bytes.
#[derive(Debug)]
pub struct Gatherer<'k, 'b> {
    reading: Reading<'k>,
    by_collection: HashMap<CollectionId, usize>,
    by_name: HashMap<String, usize>,
    new_by_key: HashMap<Cow<'b, [u8]>, usize>,
    pub(super) tables: Vec<Table<'k, 'b>>,
    pub(super) new_series: Vec<NewSeries<'b>>,
    pub(super) row_count: usize,
    cell_count: usize,
    pub(super) rejected: Rejected,
}

/// The series of a row.
#[derive(Clone, Copy, Debug)]
pub enum RowSeries<'k> {
    /// It is known.
    Known(&'k Series),
    /// It is one of the request's new ones.
    New(usize),
    /// The row was rejected.
    Rejected,
}

/// A series that was not known.
#[derive(Debug)]
pub struct NewSeries<'b> {
    /// As it is written.
    pub(super) key: Cow<'b, [u8]>,
    /// Its collection, by position in the request.
    pub(super) table: usize,
    /// Its tags.
    pub(super) tags: Vec<(String, String)>,
    /// How many tags its collection was to get before it.
    new_tags_before: usize,
}

/// What a series is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// The name of its collection.
    pub collection: String,
    /// Its tags.
    pub tags: Vec<(String, String)>,
}

/// The column of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TagColumn {
    Existing,
    /// It is yet to be made, as the first, the second …
    New(usize),
}

/// Why a row is not complete.
#[derive(Debug)]
pub enum RowFailure {
    /// It is not right.
    Row(String),
    /// The request as a whole cannot be read on.
    Request(Refused),
}

impl From<String> for RowFailure {
    fn from(reason: String) -> RowFailure {
        RowFailure::Row(reason)
    }
}

impl From<&str> for RowFailure {
    fn from(reason: &str) -> RowFailure {
        RowFailure::Row(reason.to_owned())
    }
}

/// Where the rows of a request were, before one that may have to be taken back.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    series: usize,
}

/// The rows for a collection.
#[derive(Debug)]
pub struct Table<'k, 'b> {
    /// Its name.
    pub(super) name: String,
    /// `None` when it is yet to be made.
    pub(super) collection: Option<Arc<Collection>>,
    pub(super) time_unit: TimeUnit,
    may_make: MayMake,
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
    /// Fields whose columns are symbols, as tags are.
    symbol_fields: Vec<usize>,
    /// The fields in the order of the last row: the next row mostly has the same.
    written: Vec<&'b [u8]>,
    /// How many fields the row has that is being read.
    met: usize,
    /// How many fields there were before that row.
    fields_before: usize,
    /// Cells that are counted already.
    cell_count: usize,
}

impl<'k, 'b> Gatherer<'k, 'b> {
    pub(super) fn new(reading: Reading<'k>) -> Gatherer<'k, 'b> {
        Gatherer {
            reading,
            by_collection: HashMap::new(),
            by_name: HashMap::new(),
            new_by_key: HashMap::new(),
            tables: Vec::new(),
            new_series: Vec::new(),
            row_count: 0,
            cell_count: 0,
            rejected: Rejected::default(),
        }
    }

    /// Where the rows are now.
    pub fn mark(&self) -> Mark {
        Mark { series: self.new_series.len() }
    }

    /// The collection of a series, by position, and the series, if it is known by its key.
    pub fn find(&mut self, key: &[u8]) -> Option<(usize, RowSeries<'k>)> {
        if let Some(series) = self.reading.known.get(key) {
            if let Some(at) = self.by_collection.get(&series.collection) {
                return Some((*at, RowSeries::Known(series)));
            }
            // A collection that was dropped is not in the view: its series are described again.
            if let Some(found) = self.reading.view.collection(series.collection) {
                let at = self.table(&found.collection.name).ok()?;
                return Some((at, RowSeries::Known(series)));
            }
        }
        let number = *self.new_by_key.get(key)?;
        Some((self.new_series[number].table, RowSeries::New(number)))
    }

    /// Adds a series that was not found.
    ///
    /// # Errors
    /// It cannot be, or what it needs may not be made.
    pub fn add(
        &mut self,
        key: Cow<'b, [u8]>,
        described: Described,
    ) -> Result<(usize, RowSeries<'k>), String> {
        let Described { collection, tags } = described;
        let at = self.table(&collection)?;
        let table = &mut self.tables[at];
        let new_tags_before = table.new_tag_count;
        if let Err(reason) = table.admit_tags(&tags) {
            table.forget_tags(&tags, new_tags_before);
            return Err(reason);
        }
        let number = self.new_series.len();
        self.new_by_key.insert(key.clone(), number);
        self.new_series.push(NewSeries { key, table: at, tags, new_tags_before });
        Ok((at, RowSeries::New(number)))
    }

    /// The rows of a collection, by position.
    fn table(&mut self, name: &str) -> Result<usize, String> {
        if let Some(at) = self.by_name.get(name) {
            return Ok(*at);
        }
        check_name(name)?;
        let found = self.reading.view.collection_by_name(NAMESPACE_PUBLIC, name);
        let collection = found.map(|found| Arc::clone(&found.collection));
        if collection.is_none() && !self.reading.may_make.collections() {
            return Err(format!("collection \"{name}\" does not exist, and is not to be made"));
        }
        let at = self.tables.len();
        if let Some(collection) = &collection {
            self.by_collection.insert(collection.id, at);
        }
        self.by_name.insert(name.to_owned(), at);
        self.tables.push(Table::new(name, collection, self.reading));
        Ok(at)
    }

    /// The rows of a collection.
    pub fn table_mut(&mut self, at: usize) -> &mut Table<'k, 'b> {
        &mut self.tables[at]
    }

    /// The row is complete.
    ///
    /// # Errors
    /// It has a tag that is a field of it too, or the request has too many rows.
    pub fn end_row(&mut self, table: usize, series: RowSeries<'k>, time: i64) -> Result<(), RowFailure> {
        self.check_symbols(table, series)?;
        let at = table;
        let table = &mut self.tables[at];
        table.written.truncate(table.met);
        table.series.push(series);
        table.times.push(time);
        self.row_count += 1;
        self.count_cells(at).map_err(RowFailure::Request)
    }

    /// Checks that no tag of a row is also given as a field.
    fn check_symbols(&self, table: usize, series: RowSeries<'k>) -> Result<(), String> {
        let table = &self.tables[table];
        let row = table.series.len();
        for at in &table.symbol_fields {
            let name = &table.fields[*at].name;
            let is_tag = match series {
                RowSeries::Known(series) => {
                    let column = table.collection.as_ref().and_then(|it| it.schema.column_by_name(name));
                    column.is_some_and(|column| series.tags.iter().any(|(id, _)| *id == column.id))
                }
                RowSeries::New(number) => self.new_series[number].tags.iter().any(|(tag, _)| tag == name),
                RowSeries::Rejected => false,
            };
            if is_tag && table.fields[*at].has(row) {
                return Err(format!("\"{name}\" is a tag and a field"));
            }
        }
        Ok(())
    }

    /// Keeps the request within bounds: a field takes room in every row of its collection.
    fn count_cells(&mut self, table: usize) -> Result<(), Refused> {
        let table = &mut self.tables[table];
        let cells = table.series.len() * table.fields.len();
        self.cell_count += cells - table.cell_count;
        table.cell_count = cells;
        if self.cell_count > CELLS_MAX {
            let message = format!("rows times fields are more than {CELLS_MAX} (send fewer rows at a time)");
            return Err(Refused::TooLarge(message));
        }
        Ok(())
    }

    /// Rejects a row that was begun after the mark; `table` is where, if that was known.
    ///
    /// # Errors
    /// The request has too many rows.
    pub fn reject(&mut self, mark: Mark, table: Option<usize>, error: RowError) -> Result<(), Refused> {
        self.rejected.push(error);
        self.undo_row(mark, table)
    }

    /// Takes a row back that was begun after the mark.
    ///
    /// # Errors
    /// The request has too many rows.
    pub fn undo_row(&mut self, mark: Mark, table: Option<usize>) -> Result<(), Refused> {
        while self.new_series.len() > mark.series {
            let series = self.new_series.pop().expect("there are more than were marked");
            self.new_by_key.remove(&series.key);
            self.tables[series.table].forget_tags(&series.tags, series.new_tags_before);
        }
        let Some(at) = table else { return Ok(()) };
        self.tables[at].undo_row();
        self.count_cells(at)
    }
}

impl<'k, 'b> Table<'k, 'b> {
    fn new(name: &str, collection: Option<Arc<Collection>>, reading: Reading<'k>) -> Table<'k, 'b> {
        let time_unit = collection.as_ref().and_then(|it| it.time_column().column_type.time_unit());
        Table {
            name: name.to_owned(),
            collection,
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
            symbol_fields: Vec::new(),
            written: Vec::new(),
            met: 0,
            fields_before: 0,
            cell_count: 0,
        }
    }

    /// How many rows are to be written.
    pub(super) fn row_count(&self) -> usize {
        self.series.len() - self.rejected.len()
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
        self.fields[at].set(row, value)
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
        if let Some(TagColumn::New(_)) = self.tags.get(name) {
            return Err(format!("\"{name}\" is a tag and a field"));
        }
        let field = match self.column_type(name) {
            Some(column_type) => FieldColumn::new(name.to_owned(), column_type.clone())?,
            None => {
                check_name(name)?;
                self.check_column(name)?;
                let field = FieldColumn::new(name.to_owned(), value.column_type())?;
                self.new_field_count += 1;
                field
            }
        };
        let at = self.fields.len();
        if field.column_type == ColumnType::Symbol {
            self.symbol_fields.push(at);
        }
        self.fields.push(field);
        self.by_name.insert(name.to_owned(), at);
        Ok(at)
    }

    /// Checks the tags of a series, and remembers those that are no columns yet.
    fn admit_tags(&mut self, tags: &[(String, String)]) -> Result<(), String> {
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
                self.new_tag_count += usize::from(column != TagColumn::Existing);
            }
        }
        Ok(())
    }

    /// Takes back those of the tags that were met after so many new ones.
    fn forget_tags(&mut self, tags: &[(String, String)], new_tags_kept: usize) {
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

    /// The column of a tag that was not met yet.
    fn check_tag(&self, name: &str) -> Result<TagColumn, String> {
        if name == self.time_key() {
            return Err(format!("\"{name}\" is the time, not a tag"));
        }
        match self.column_type(name) {
            Some(ColumnType::Symbol | ColumnType::Text | ColumnType::Varchar(None)) => {
                Ok(TagColumn::Existing)
            }
            Some(other) => {
                Err(format!("tag \"{name}\" is of type text but column \"{name}\" is of type {other}"))
            }
            None if self.by_name.contains_key(name) => Err(format!("\"{name}\" is a tag and a field")),
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

    /// Takes the row back that was begun last.
    fn undo_row(&mut self) {
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
            self.new_field_count -= usize::from(self.column_type(&field.name).is_none());
        }
        self.symbol_fields.retain(|at| *at < kept);
        if has_left_a_value {
            self.rejected.push(row);
            self.series.push(RowSeries::Rejected);
            self.times.push(0);
        }
    }
}

/// Checks the name of a collection or of a column.
fn check_name(name: &str) -> Result<(), String> {
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
