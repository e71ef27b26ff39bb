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

use tidemark_catalog::ids::{CollectionId, NAMESPACE_PUBLIC};
use tidemark_catalog::types::TimeUnit;
use tidemark_catalog::view::View;

use crate::ingest::series::{Known, Series};
use crate::ingest::table::{Table, check_name};
use crate::ingest::{MayMake, Refused, Rejected, RowError};

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
        if let Some(series) = self.reading.known.get(key)
            && let Some(at) = self.table_of(series)
        {
            return Some((at, RowSeries::Known(series)));
        }
        let number = *self.new_by_key.get(key)?;
        Some((self.new_series[number].table, RowSeries::New(number)))
    }

    /// The collection of a known series, by position. A collection that was dropped, and one whose
    /// schema has changed, has no known series: they are described again.
    fn table_of(&mut self, series: &Series) -> Option<usize> {
        let at = match self.by_collection.get(&series.collection) {
            Some(at) => *at,
            None => {
                let found = self.reading.view.collection(series.collection)?;
                self.table(&found.collection.name).ok()?
            }
        };
        (self.tables[at].schema_version() == Some(series.schema)).then_some(at)
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
        let new_tags_before = table.new_tag_count();
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
        self.tables[table].check_tag_fields(series, &self.new_series)?;
        self.tables[table].push_row(series, time);
        self.row_count += 1;
        self.count_cells(table).map_err(RowFailure::Request)
    }

    /// Keeps the request within bounds: a field takes room in every row of its collection.
    fn count_cells(&mut self, table: usize) -> Result<(), Refused> {
        self.cell_count += self.tables[table].count_new_cells();
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

    /// Rejects what is no row.
    pub fn reject_other(&mut self, error: RowError) {
        self.rejected.push(error);
    }

    /// Counts more rows that are rejected for the reason that was given last.
    pub fn reject_more(&mut self, count: usize) {
        self.rejected.count += count;
    }

    /// Takes a row back that was begun after the mark.
    ///
    /// # Errors
    /// The request has too many rows.
    pub fn undo_row(&mut self, mark: Mark, table: Option<usize>) -> Result<(), Refused> {
        // Fields first: some are there because of the tags.
        if let Some(at) = table {
            self.tables[at].undo_row();
        }
        while self.new_series.len() > mark.series {
            let series = self.new_series.pop().expect("there are more than were marked");
            self.new_by_key.remove(&series.key);
            self.tables[series.table].forget_tags(&series.tags, series.new_tags_before);
        }
        table.map_or(Ok(()), |at| self.count_cells(at))
    }
}
