//! The lines of a request, gathered by measurement.
//!
//! Nothing is made or written here. A series that is known is taken as a whole; one that is not is
//! parsed, and what it needs is made later.

use std::collections::HashMap;
use std::sync::Arc;

use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::{CollectionId, NAMESPACE_PUBLIC};
use tidemark_catalog::types::TimeUnit;
use tidemark_catalog::view::View;

use crate::lineprotocol::fields::FieldColumn;
use crate::lineprotocol::scan::{After, Scanner, Value, name, split_series};
use crate::lineprotocol::series::{Known, Series};
use crate::lineprotocol::{LineError, Precision};

/// The lines of a request. `'k` is the life of the known series, `'b` of the request's bytes.
#[derive(Debug)]
pub struct Request<'k, 'b> {
    /// Its measurements.
    pub tables: Vec<Table<'k, 'b>>,
    /// Series that were not known.
    pub new_series: Vec<NewSeries<'b>>,
    /// How many lines are rows.
    pub row_count: usize,
}

/// The rows of a measurement.
#[derive(Debug)]
pub struct Table<'k, 'b> {
    /// Its name.
    pub name: String,
    /// Its collection; `None` when it is yet to be made.
    pub collection: Option<Arc<Collection>>,
    /// The series of each row.
    pub series: Vec<RowSeries<'k>>,
    /// The time of each row, in the unit of the time key.
    pub times: Vec<i64>,
    /// The fields, in the order they were met.
    pub fields: Vec<FieldColumn>,
    /// Where a field is, by its name as it is written.
    positions: HashMap<&'b [u8], usize>,
    /// The fields in the order of the last row: the next row mostly has the same.
    written: Vec<&'b [u8]>,
}

/// The series of a row.
#[derive(Clone, Copy, Debug)]
pub enum RowSeries<'k> {
    /// It is known.
    Known(&'k Series),
    /// It is one of the request's new ones.
    New(usize),
}

/// A series that was not known.
#[derive(Debug)]
pub struct NewSeries<'b> {
    /// As it is written.
    pub written: &'b [u8],
    /// Its measurement, by position in the request.
    pub table: usize,
    /// Its tags.
    pub tags: Vec<(String, String)>,
    /// The line it was first met in.
    pub line: usize,
}

/// What a request is read under.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'k> {
    /// The catalog.
    pub view: &'k View,
    /// The series that are known.
    pub known: &'k Known,
    /// The unit of timestamps.
    pub precision: Precision,
    /// The time of lines without one, in ns since 1970.
    pub now_ns: i64,
}

/// Reads a request.
///
/// # Errors
/// The first line that is not right.
pub fn read<'k, 'b>(body: &'b [u8], reading: Reading<'k>) -> Result<Request<'k, 'b>, LineError> {
    let mut reader = Reader {
        reading,
        request: Request { tables: Vec::new(), new_series: Vec::new(), row_count: 0 },
        by_collection: HashMap::new(),
        by_name: HashMap::new(),
        new_by_written: HashMap::new(),
    };
    let mut scanner = Scanner::new(body);
    loop {
        let start = scanner.next_line().map_err(|reason| LineError::new(scanner.line(), reason))?;
        let Some(start) = start else { return Ok(reader.request) };
        let (at, series) = reader.find_series(start.series, start.line)?;
        let read = reader.request.tables[at].read_row(&mut scanner, series, reading);
        read.map_err(|reason| LineError::new(start.line, reason))?;
        reader.request.row_count += 1;
    }
}

struct Reader<'k, 'b> {
    reading: Reading<'k>,
    request: Request<'k, 'b>,
    by_collection: HashMap<CollectionId, usize>,
    by_name: HashMap<String, usize>,
    new_by_written: HashMap<&'b [u8], usize>,
}

impl<'k, 'b> Reader<'k, 'b> {
    /// The measurement that a series belongs to, by position, and the series.
    fn find_series(&mut self, written: &'b [u8], line: usize) -> Result<(usize, RowSeries<'k>), LineError> {
        if let Some(series) = self.reading.known.get(written) {
            if let Some(at) = self.by_collection.get(&series.collection) {
                return Ok((*at, RowSeries::Known(series)));
            }
            // A collection that was dropped is not in the view: its series are parsed again.
            if let Some(found) = self.reading.view.collection(series.collection) {
                let at = self.table(found.collection.name.clone());
                return Ok((at, RowSeries::Known(series)));
            }
        }
        if let Some(number) = self.new_by_written.get(written) {
            return Ok((self.request.new_series[*number].table, RowSeries::New(*number)));
        }
        let fail = |reason: &str| LineError::new(line, reason);
        let (measurement, tags) = split_series(written).map_err(fail)?;
        let measurement = name(measurement).map_err(fail)?.into_owned();
        let mut owned: Vec<(String, String)> = Vec::with_capacity(tags.len());
        for (key, value) in tags {
            let key = name(key).map_err(fail)?.into_owned();
            if owned.iter().any(|(other, _)| *other == key) {
                return Err(LineError::new(line, format!("tag \"{key}\" is given twice")));
            }
            owned.push((key, name(value).map_err(fail)?.into_owned()));
        }
        let table = self.table(measurement);
        let number = self.request.new_series.len();
        self.request.new_series.push(NewSeries { written, table, tags: owned, line });
        self.new_by_written.insert(written, number);
        Ok((table, RowSeries::New(number)))
    }

    fn table(&mut self, name: String) -> usize {
        if let Some(at) = self.by_name.get(&name) {
            return *at;
        }
        let at = self.request.tables.len();
        let found = self.reading.view.collection_by_name(NAMESPACE_PUBLIC, &name);
        let collection = found.map(|found| Arc::clone(&found.collection));
        if let Some(collection) = &collection {
            self.by_collection.insert(collection.id, at);
        }
        self.by_name.insert(name.clone(), at);
        self.request.tables.push(Table {
            name,
            collection,
            series: Vec::new(),
            times: Vec::new(),
            fields: Vec::new(),
            positions: HashMap::new(),
            written: Vec::new(),
        });
        at
    }
}

impl<'k, 'b> Table<'k, 'b> {
    fn read_row(
        &mut self,
        scanner: &mut Scanner<'b>,
        series: RowSeries<'k>,
        reading: Reading<'k>,
    ) -> Result<(), String> {
        let row = self.series.len();
        let mut expected = 0;
        loop {
            let written = scanner.field_name()?;
            let (value, after) = scanner.field_value()?;
            let at = match self.written.get(expected) {
                Some(last) if *last == written => self.positions[written],
                _ => self.find_field(written, &value, expected)?,
            };
            expected += 1;
            self.fields[at].set(row, &value)?;
            if after == After::End {
                break;
            }
        }
        self.written.truncate(expected);
        let time = match scanner.timestamp()? {
            Some(time) => self.to_unit(time, reading.precision)?,
            None => self.to_unit(reading.now_ns, Precision::Nanosecond)?,
        };
        self.series.push(series);
        self.times.push(time);
        Ok(())
    }

    /// Where a field is that is not the one expected; a field that was not met yet is added.
    fn find_field(&mut self, written: &'b [u8], value: &Value<'_>, expected: usize) -> Result<usize, String> {
        self.written.truncate(expected);
        self.written.push(written);
        if let Some(at) = self.positions.get(written) {
            return Ok(*at);
        }
        let name = name(written)?.into_owned();
        let column = self.collection.as_ref().and_then(|it| it.schema.column_by_name(&name));
        let time_key = self.collection.as_ref().map_or("time", |it| &it.time_column().name);
        if name == time_key {
            return Err(format!("\"{name}\" is the time, not a field"));
        }
        let field = match column {
            Some(column) => FieldColumn::existing(name, column.column_type.clone())?,
            None => FieldColumn::new(name, value),
        };
        let at = self.fields.len();
        self.fields.push(field);
        self.positions.insert(written, at);
        Ok(at)
    }

    /// A time in the unit of the time key.
    fn to_unit(&self, time: i64, precision: Precision) -> Result<i64, String> {
        let nanoseconds = i128::from(time) * i128::from(precision.nanoseconds());
        let unit = self.collection.as_ref().and_then(|it| it.time_column().column_type.time_unit());
        let value = match unit {
            Some(TimeUnit::Microsecond) => nanoseconds.div_euclid(1000),
            Some(TimeUnit::Nanosecond) | None => nanoseconds,
        };
        i64::try_from(value).map_err(|_| format!("timestamp {time} is out of range"))
    }
}

impl Table<'_, '_> {
    /// How many rows it has.
    pub fn row_count(&self) -> usize {
        self.series.len()
    }
}
