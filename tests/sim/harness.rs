//! Drives an engine in a world by the world's seed, and keeps the model.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray, StringViewArray,
    TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use tidemark_catalog::collection::{
    CalendarInterval, Collection, IntervalUnit, SYMBOL_LIMIT_DEFAULT, TimeseriesOptions,
};
use tidemark_catalog::error::EditError;
use tidemark_catalog::ids::{BOOTSTRAP_ROLE, CollectionId, ColumnId, NAMESPACE_PUBLIC};
use tidemark_catalog::schema::{NewColumn, Nullability};
use tidemark_catalog::types::{ColumnType, TimeUnit};
use tidemark_engine::batch::WriteBatch;
use tidemark_engine::check::{Depth, check};
use tidemark_engine::delete::{Delete, RowPlaces};
use tidemark_engine::engine::{CommitTicket, Durability, Engine, NewTimeseries, Write};
use tidemark_engine::env::sim::{Fault, World};
use tidemark_engine::error::JobError;
use tidemark_engine::options::EngineOptions;
use tidemark_engine::read::predicate::{Comparison, Predicate};
use tidemark_engine::read::{RowIds, ScanRequest, plan};
use tidemark_engine::recovery::NewDirectory;

use crate::evolution::{Change, Evolution};
use crate::model::{Model, Rows};

/// Seeds of a run: 500, or as many as `TIDEMARK_SIM_SEEDS` asks for.
pub(crate) fn seeds() -> u64 {
    match std::env::var("TIDEMARK_SIM_SEEDS") {
        Ok(seeds) => seeds.parse().expect("TIDEMARK_SIM_SEEDS is a number"),
        Err(_) => 500,
    }
}

/// Lives and crashes of a world; returns the digest of all that happened in it.
pub(crate) fn run_with_power_cuts(seed: u64) -> u64 {
    let world = World::new(seed);
    let mut harness = Harness::new(world.clone()).with_few_symbols(&[1, 5, 10]);
    for _ in 0..LIVES {
        harness.open();
        harness.check();
        world.fault_at(1 + world.choose(600), Fault::PowerCut);
        harness.run(OPERATIONS_PER_LIFE);
        harness.crash();
        if world.choose(3) == 0 {
            // The power goes again while the engine is being opened.
            world.fault_at(1 + world.choose(40), Fault::PowerCut);
            harness.try_open();
            harness.crash();
        }
    }
    harness.open();
    harness.check();
    world.trace()
}

/// Runs of operations between two crashes of a world.
const LIVES: usize = 4;

const OPERATIONS_PER_LIFE: usize = 60;

const NAMES: [&str; 2] = ["a", "b"];
const HOUR_US: i64 = 3_600_000_000;

pub(crate) struct Harness {
    world: World,
    memtable_bytes: usize,
    memtable_bytes_max: usize,
    symbol_limit: NonZeroU32,
    engine: Option<Arc<Engine>>,
    model: Model,
    /// The columns of each collection.
    evolution: RefCell<BTreeMap<String, Evolution>>,
    next_row: i64,
}

impl Harness {
    pub(crate) fn new(world: World) -> Harness {
        Harness {
            world,
            memtable_bytes: 8_000,
            // Small enough that writers are refused now and then.
            memtable_bytes_max: 64_000,
            symbol_limit: SYMBOL_LIMIT_DEFAULT,
            engine: None,
            model: Model::default(),
            evolution: RefCell::new(NAMES.map(|name| (name.to_owned(), Evolution::default())).into()),
            next_row: 0,
        }
    }

    /// Memtables of another size, in as much memory as they want.
    pub(crate) fn with_memtable_bytes(self, memtable_bytes: usize) -> Harness {
        Harness { memtable_bytes, memtable_bytes_max: usize::MAX, ..self }
    }

    /// Collections may have so many symbols.
    pub(crate) fn with_symbol_limit(self, symbol_limit: NonZeroU32) -> Harness {
        Harness { symbol_limit, ..self }
    }

    /// In some worlds collections have more hosts than they may have symbols: one of these limits.
    pub(crate) fn with_few_symbols(self, limits: &[u32]) -> Harness {
        let choice = usize::try_from(self.world.choose(2 * limits.len() as u64)).unwrap();
        let limit = limits.get(choice).and_then(|limit| NonZeroU32::new(*limit));
        Harness { symbol_limit: limit.unwrap_or(self.symbol_limit), ..self }
    }

    pub(crate) fn symbol_limit(&self) -> NonZeroU32 {
        self.symbol_limit
    }

    fn options(&self) -> EngineOptions {
        EngineOptions {
            wal_segment_bytes: 16_384,
            memtable_bytes_soft: self.memtable_bytes,
            memtable_bytes_hard: self.memtable_bytes_max,
            bulk_record_bytes_max: 4_000,
            segment_row_group_rows: 64,
            segment_page_rows: 16,
            block_cache_bytes: 64 << 10,
            ..EngineOptions::new(PathBuf::from("/data"))
        }
    }

    /// Opens the engine; false when the world says no.
    pub(crate) fn try_open(&mut self) -> bool {
        let new = NewDirectory { superuser: "tidemark".to_owned(), verifier: None };
        match Engine::open(self.world.env(), self.options(), new) {
            Ok(engine) => self.engine = Some(Arc::new(engine)),
            Err(_) => return false,
        }
        for name in NAMES {
            if self.collection(name).is_none() && self.create(name).is_err() {
                return false;
            }
        }
        true
    }

    pub(crate) fn open(&mut self) {
        let new = NewDirectory { superuser: "tidemark".to_owned(), verifier: None };
        let opened = Engine::open(self.world.env(), self.options(), new);
        let opened = opened.unwrap_or_else(|error| panic!("the engine does not open: {error:?}"));
        self.engine = Some(Arc::new(opened));
        for name in NAMES {
            if self.collection(name).is_none() {
                self.create(name).unwrap();
            }
        }
    }

    /// The world ends and begins again.
    pub(crate) fn crash(&mut self) {
        // The process ends before its memory does: nothing it does now reaches the disk.
        self.world.crash();
        self.engine = None;
    }

    /// The same, and a look at every value of what is on the disk.
    pub(crate) fn crash_and_check_files(&mut self) {
        self.crash();
        let report = check(&self.world.env(), &self.options().directory, Depth::Values, &mut |_| {}).unwrap();
        assert!(report.faults.is_empty(), "{:?}", report.faults);
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("the engine is open")
    }

    pub(crate) fn shared_engine(&self) -> Arc<Engine> {
        Arc::clone(self.engine.as_ref().expect("the engine is open"))
    }

    pub(crate) fn collection(&self, name: &str) -> Option<Arc<Collection>> {
        let view = self.engine().view();
        let found = view.collection_by_name(NAMESPACE_PUBLIC, name)?;
        Some(Arc::clone(&found.collection))
    }

    fn create(&self, name: &str) -> Result<(), tidemark_engine::error::DdlError> {
        let column = |name: &str, column_type, nullability| NewColumn::new(name, column_type, nullability);
        let new = NewTimeseries {
            namespace: NAMESPACE_PUBLIC,
            name: name.to_owned(),
            owner: BOOTSTRAP_ROLE,
            columns: vec![
                column("ts", ColumnType::Timestamptz(TimeUnit::Microsecond), Nullability::Required),
                column("row", ColumnType::Int8, Nullability::Required),
                column("host", ColumnType::Symbol, Nullability::Nullable),
                column("value", ColumnType::Float8, Nullability::Nullable),
                column("note", ColumnType::Text, Nullability::Nullable),
            ],
            options: TimeseriesOptions {
                series_key: vec![ColumnId(3)],
                symbol_limit: self.symbol_limit,
                ..TimeseriesOptions::new(
                    ColumnId(1),
                    CalendarInterval { count: NonZeroU32::MIN, unit: IntervalUnit::Hour },
                )
            },
        };
        self.engine().create_collection(new).map(|_| ())
    }

    /// Makes random operations until there were so many or the power goes.
    pub(crate) fn run(&mut self, operations: usize) {
        for _ in 0..operations {
            if self.world.is_without_power() {
                return;
            }
            match self.world.choose(27) {
                0..=6 => self.write_rows(&["a"], 1),
                7..=9 => self.write_rows(&["a", "b"], 7),
                10..=11 => self.write_rows(&["b"], 60),
                12 => self.write_concurrently(),
                13 => self.bulk_write(30, true),
                14 => self.bulk_write(400, true),
                15 => self.bulk_write(400, false),
                16 => self.world.advance(Duration::from_secs(7)),
                17 => self.flush(),
                18 => self.merge(),
                20..=21 => self.delete(),
                22 => self.drop_partitions(),
                // Long enough for partitions to get no more rows.
                19 => self.world.advance(Duration::from_secs(40)),
                23..=24 => self.alter(),
                _ => self.step_until_idle(),
            }
        }
    }

    pub(crate) fn step_until_idle(&self) {
        while !self.world.is_without_power() && self.engine().step() {}
    }

    pub(crate) fn flush(&self) {
        let name = NAMES[usize::try_from(self.world.choose(2)).unwrap()];
        let id = self.id(name);
        // It may fail as the world says; what was committed is in memory and in the log.
        self.engine().flush(id).ok();
    }

    fn merge(&self) {
        let name = NAMES[usize::try_from(self.world.choose(2)).unwrap()];
        // It may fail as the world says; then the segments stay as they are.
        if self.engine().merge(self.id(name)).is_ok() {
            let view = self.engine().view();
            let collection = view.collection(self.id(name)).unwrap();
            for partition in collection.partitions.keys() {
                let segments = collection.segments.values().filter(|it| it.partition == *partition);
                assert!(segments.count() <= 1, "a merged partition is one segment");
            }
        }
    }

    /// Deletes rows by their numbers, by time, or by the places that a scan gives.
    fn delete(&mut self) {
        let name = NAMES[usize::try_from(self.world.choose(2)).unwrap()];
        let Ok(delete) = self.engine().begin_delete(self.id(name)) else { return };
        let number =
            |below: i64| i64::try_from(self.world.choose(u64::try_from(below + 1).unwrap())).unwrap();
        let compare = |column, comparison, value: ArrayRef| Predicate::Compare { column, comparison, value };
        let int = |value: i64| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
        let (places, rows) = match self.world.choose(3) {
            0 => {
                let from = number(self.next_row);
                let to = from + 20;
                let predicates = [
                    compare(ColumnId(2), Comparison::GreaterOrEqual, int(from)),
                    compare(ColumnId(2), Comparison::Less, int(to)),
                ];
                let rows = self.rows_where(name, |number, _| (from..to).contains(&number));
                (delete.by_predicates(&predicates), rows)
            }
            1 => {
                let before = number(self.next_row / 50) * HOUR_US;
                let value = TimestampMicrosecondArray::from(vec![before]).with_timezone("UTC");
                let predicates = [compare(ColumnId(1), Comparison::Less, Arc::new(value))];
                let rows = self.rows_where(name, |_, time| time < before);
                (delete.by_predicates(&predicates), rows)
            }
            _ => {
                let rest = number(10);
                let rows = self.rows_where(name, |number, _| number % 11 == rest);
                (places_where(&delete, |number| number % 11 == rest), rows)
            }
        };
        let Ok(places) = places else { return };
        match delete.commit(places) {
            Ok(count) => {
                assert_eq!(count, rows.len() as u64, "so many rows are deleted");
                self.model.delete(&rows);
            }
            Err(JobError::Publish(EditError::Storage(_))) => {
                self.model.leave_delete_unknown(rows);
            }
            // Nothing is deleted.
            Err(_) => {}
        }
    }

    /// Drops the partitions, which are hours, before some instant.
    fn drop_partitions(&mut self) {
        let name = NAMES[usize::try_from(self.world.choose(2)).unwrap()];
        let hours = u64::try_from(self.next_row / 50 + 1).unwrap();
        let instant = i64::try_from(self.world.choose(hours)).unwrap() * HOUR_US / 3;
        let ended = |time: i64| (time.div_euclid(HOUR_US) + 1) * HOUR_US <= instant;
        let rows = self.rows_where(name, |_, time| ended(time));
        match self.engine().drop_partitions(self.id(name), instant) {
            Ok(dropped) => {
                assert_eq!(dropped.rows, rows.len() as u64, "so many rows are dropped");
                self.model.delete(&rows);
            }
            Err(JobError::Publish(EditError::Storage(_))) => self.model.leave_delete_unknown(rows),
            // Nothing is dropped.
            Err(_) => {}
        }
    }

    /// The rows of a collection for whose number and time the function holds.
    fn rows_where(&self, name: &str, holds: impl Fn(i64, i64) -> bool) -> Rows {
        let id = self.id(name);
        let snapshot = self.engine().snapshot(&[id]).unwrap();
        let scan = plan(snapshot.collection(id).unwrap(), request(vec![ColumnId(2), ColumnId(1)])).unwrap();
        let mut rows = Rows::new();
        for unit in scan.units() {
            for batch in scan.read(unit).unwrap() {
                // What cannot be read is not deleted either.
                let Ok(batch) = batch else { return Rows::new() };
                let numbers = batch.column(0).as_primitive::<Int64Type>().values();
                let times = batch.column(1).as_primitive::<TimestampMicrosecondType>().values();
                let matching = numbers.iter().zip(times).filter(|(number, time)| holds(**number, **time));
                rows.extend(matching.map(|(number, _)| (name.to_owned(), *number)));
            }
        }
        rows
    }

    fn alter(&mut self) {
        let name = NAMES[usize::try_from(self.world.choose(2)).unwrap()];
        let flip = || self.world.choose(2) == 0;
        let change = match flip() {
            true => Change::Add { symbol: flip(), missing: flip(), required: flip() },
            false => [Change::Drop, Change::Rename, Change::SetRequired, Change::SetNullable]
                [usize::try_from(self.world.choose(4)).unwrap()],
        };
        let pick = self.world.choose(100);
        let collection = self.collection(name).unwrap();
        let engine = self.engine.as_ref().expect("the engine is open");
        self.evolution.get_mut().get_mut(name).unwrap().change(engine, &collection, change, pick);
    }

    pub(crate) fn id(&self, name: &str) -> CollectionId {
        self.collection(name).expect("it was made when the engine was opened").id
    }

    fn write_rows(&mut self, names: &[&str], row_count: usize) {
        let (ticket, rows) = self.submit(names, row_count);
        self.settle(ticket, rows);
    }

    /// The same for one collection, where the world is good.
    pub(crate) fn write_durably(&mut self, name: &str, row_count: usize) {
        self.write_rows(&[name], row_count);
    }

    /// Flushes a collection, where the world is good.
    pub(crate) fn flush_of(&self, name: &str) {
        self.engine().flush(self.id(name)).unwrap();
    }

    fn write_concurrently(&mut self) {
        let under_way: Vec<_> = (0..5).map(|_| self.submit(&["a"], 3)).collect();
        for (ticket, rows) in under_way {
            self.settle(ticket, rows);
        }
    }

    fn submit(&mut self, names: &[&str], row_count: usize) -> (Option<CommitTicket>, Rows) {
        let mut rows = Rows::new();
        let mut writes = Vec::new();
        for name in names {
            let batch = self.batch(name, row_count, &mut rows);
            writes.push(Write::new(self.id(name), batch));
        }
        (self.engine().write(writes, Durability::Synced).ok(), rows)
    }

    fn settle(&mut self, ticket: Option<CommitTicket>, rows: Rows) {
        // Refused: nothing is applied.
        let Some(mut ticket) = ticket else { return };
        let outcome = loop {
            if let Some(outcome) = ticket.poll() {
                break outcome;
            }
            if self.world.is_without_power() || !self.engine().step() {
                break ticket.poll().unwrap_or(Err(tidemark_engine::error::WalError::Closed.into()));
            }
        };
        match outcome {
            Ok(()) => self.model.acknowledge(rows),
            Err(_) => self.model.leave_unknown(rows),
        }
    }

    fn bulk_write(&mut self, row_count: usize, finish: bool) {
        let mut rows = Rows::new();
        let mut bulk = self.engine().bulk_write(self.id("a")).unwrap();
        // Batches that are large enough to leave the path of small writes.
        for _ in 0..row_count / 30 {
            let batch = self.wide_batch("a", 30, &mut rows);
            if bulk.write(batch).is_err() {
                return;
            }
        }
        if finish && let Ok(ticket) = bulk.finish(Durability::Synced) {
            self.settle(ticket, rows);
        }
    }

    pub(crate) fn batch(&mut self, name: &str, row_count: usize, rows: &mut Rows) -> WriteBatch {
        self.batch_with_note(name, row_count, rows, 1)
    }

    pub(crate) fn wide_batch(&mut self, name: &str, row_count: usize, rows: &mut Rows) -> WriteBatch {
        self.batch_with_note(name, row_count, rows, 200)
    }

    fn batch_with_note(
        &mut self,
        name: &str,
        row_count: usize,
        rows: &mut Rows,
        note_bytes: usize,
    ) -> WriteBatch {
        let first_row = self.reserve_rows(row_count);
        rows.extend((first_row..).take(row_count).map(|number| (name.to_owned(), number)));
        self.batch_of(name, first_row, row_count, note_bytes)
    }

    /// Numbers of rows that nobody has used; gives the first.
    pub(crate) fn reserve_rows(&mut self, row_count: usize) -> i64 {
        let first_row = self.next_row;
        self.next_row += i64::try_from(row_count).unwrap();
        first_row
    }

    /// The rows with some numbers; how late they are is the world's choice.
    pub(crate) fn batch_of(
        &self,
        name: &str,
        first_row: i64,
        row_count: usize,
        note_bytes: usize,
    ) -> WriteBatch {
        let collection = self.collection(name).unwrap();
        let engine = self.engine.as_ref().expect("the engine is open");
        let numbers: Vec<i64> = (first_row..).take(row_count).collect();
        let world = &self.world;
        let late = |_: &i64| i64::try_from(world.choose(3)).unwrap() * HOUR_US;
        let times = numbers.iter().map(|number| Some(number * HOUR_US / 50 - late(number)));
        let hosts = numbers.iter().map(|number| (number % 5 > 0).then(|| format!("host_{}", number % 13)));
        let hosts: Vec<Option<String>> = hosts.collect();
        let hosts = symbols_of(engine, &collection, ColumnId(3), hosts.iter().map(Option::as_deref));
        let note = "n".repeat(note_bytes);
        let mut evolution = self.evolution.borrow_mut();
        let added = evolution.get_mut(name).unwrap().columns(engine, &collection, &numbers);
        let mut columns: Vec<(ColumnId, ArrayRef)> = vec![
            (ColumnId(1), Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))),
            (ColumnId(2), Arc::new(Int64Array::from(numbers.clone()))),
            (ColumnId(3), hosts),
            (
                ColumnId(4),
                Arc::new(numbers.iter().map(|number| Some(*number as f64)).collect::<Float64Array>()),
            ),
            (ColumnId(5), Arc::new(numbers.iter().map(|_| Some(note.as_str())).collect::<StringViewArray>())),
        ];
        columns.extend(added);
        WriteBatch::new(&collection, columns).unwrap()
    }

    /// Every row the engine holds, with how often it is there.
    pub(crate) fn found(&self) -> BTreeMap<(String, i64), usize> {
        let mut found = BTreeMap::new();
        for name in NAMES {
            let id = self.id(name);
            let snapshot = self.engine().snapshot(&[id]).unwrap();
            let snapshot = snapshot.collection(id).unwrap();
            let columns = vec![ColumnId(2), ColumnId(3), ColumnId(4), ColumnId(1)];
            let scan = plan(snapshot, request(columns)).unwrap();
            let mut row_count = 0;
            for unit in scan.units() {
                let mut last = None;
                for batch in scan.read(unit).unwrap() {
                    let batch = batch.unwrap();
                    if unit.is_sorted() {
                        last = check_order(last, batch.column(1), batch.column(3));
                    }
                    row_count += batch.num_rows() as u64;
                    let numbers = batch.column(0).as_primitive::<Int64Type>();
                    check_other_columns(numbers, batch.column(1), batch.column(2));
                    for number in numbers.values() {
                        *found.entry((name.to_owned(), *number)).or_default() += 1;
                    }
                }
            }
            assert!(row_count <= snapshot.row_count_max());
            if snapshot.is_resolved() {
                assert_eq!(row_count, snapshot.row_count_max(), "the manifest knows how many rows there are");
            }
        }
        found
    }

    /// The engine holds what the model says.
    pub(crate) fn check(&mut self) {
        let found = self.found();
        self.model.settle(&found);
        for name in NAMES {
            let collection = self.collection(name).unwrap();
            let evolution = self.evolution.get_mut().get_mut(name).unwrap();
            evolution.settle(&collection);
            evolution.check(self.engine.as_ref().expect("the engine is open"), &collection);
        }
        let wrong = self.engine().verify_segments();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    /// The rows that are there.
    pub(crate) fn rows(&self) -> Rows {
        self.found().into_keys().collect()
    }
}

/// Texts of a column that is one of symbols, or of text when it has too many, as writers have them.
pub(crate) fn symbols_of<'a>(
    engine: &Engine,
    collection: &Collection,
    column: ColumnId,
    texts: impl Iterator<Item = Option<&'a str>>,
) -> ArrayRef {
    match engine.symbols(collection.id).unwrap().get(column) {
        Some(dictionary) => Arc::new(dictionary.intern_array(texts).unwrap()),
        None => Arc::new(texts.collect::<StringViewArray>()),
    }
}

pub(crate) fn request(columns: Vec<ColumnId>) -> ScanRequest {
    ScanRequest { columns, predicates: Vec::new(), batch_rows: 100, row_ids: RowIds::NotGiven }
}

/// The places of the rows for whose number the function holds.
pub(crate) fn places_where(delete: &Delete, holds: impl Fn(i64) -> bool) -> Result<RowPlaces, JobError> {
    let request = ScanRequest { row_ids: RowIds::Given, ..request(vec![ColumnId(2)]) };
    let scan = plan(delete.snapshot(), request)?;
    let mut places = RowPlaces::default();
    for unit in scan.units() {
        for batch in scan.read(unit)? {
            let batch = batch?;
            let column = |at: usize| batch.column(at).as_primitive::<Int64Type>().values();
            for ((number, segment), row) in column(0).iter().zip(column(1)).zip(column(2)) {
                assert!(!holds(*number) || places.add(*segment, *row) == Some(true));
            }
        }
    }
    Ok(places)
}

/// Rows of a segment are sorted by host, NULL last, and time; gives the last one.
fn check_order(
    last: Option<(bool, String, i64)>,
    hosts: &ArrayRef,
    times: &ArrayRef,
) -> Option<(bool, String, i64)> {
    let hosts = cast(hosts, &DataType::Utf8).unwrap();
    let hosts: &StringArray = hosts.as_string();
    let times = times.as_primitive::<TimestampMicrosecondType>();
    let rows = hosts.into_iter().zip(times.values());
    rows.fold(last, |last, (host, time)| {
        let row = (host.is_none(), host.unwrap_or_default().to_owned(), *time);
        assert!(last.is_none_or(|last| last <= row), "rows of a segment are sorted");
        Some(row)
    })
}

/// A row's other columns are computed from its number.
fn check_other_columns(numbers: &Int64Array, hosts: &ArrayRef, values: &ArrayRef) {
    let hosts = cast(hosts, &DataType::Utf8).unwrap();
    let hosts: &StringArray = hosts.as_string();
    let values = values.as_primitive::<arrow::datatypes::Float64Type>();
    for (at, host) in hosts.into_iter().enumerate() {
        let number = numbers.value(at);
        let expected = (number % 5 > 0).then(|| format!("host_{}", number % 13));
        assert_eq!(host, expected.as_deref(), "host of row {number}");
        assert_eq!(values.value(at), number as f64, "value of row {number}");
    }
    assert!(values.null_count() == 0);
}
