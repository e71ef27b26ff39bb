//! A collection whose rows replace earlier ones of their key, against a model.
//!
//! Few keys are written again and again, in small writes and in bulk, twice in one write, to hours that
//! were flushed and merged long ago; rows are deleted in between; memtables are flushed, segments merged.
//! After each step of some, and after each crash, a reader must see for each key the value that was
//! committed last, and nothing for keys that were deleted since. Some writes depend on what is there: they
//! must see all that was committed, and are refused when they are overtaken. What was under way when the
//! power went happened or did not: some choice for each must explain what is found.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, StringViewArray, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use tidemark_catalog::collection::{CalendarInterval, Collection, IntervalUnit, TimeseriesOptions};
use tidemark_catalog::error::EditError;
use tidemark_catalog::ids::{BOOTSTRAP_ROLE, CollectionId, ColumnId, NAMESPACE_PUBLIC};
use tidemark_catalog::schema::{NewColumn, Nullability};
use tidemark_catalog::types::{ColumnType, TimeUnit};
use tidemark_engine::batch::WriteBatch;
use tidemark_engine::engine::{CommitTicket, Durability, NewTimeseries, Write};
use tidemark_engine::env::sim::{Fault, World};
use tidemark_engine::error::{JobError, WalError, WriteError};
use tidemark_engine::read::predicate::{Comparison, Predicate};
use tidemark_engine::read::{RowIds, ScanRequest, plan};

use crate::harness::{Harness, symbols_of};

const NAME: &str = "keyed";
const LIVES: usize = 3;
const OPERATIONS_PER_LIFE: usize = 50;
const HOURS: u64 = 6;
const HOSTS: u64 = 5;
const HOUR_US: i64 = 3_600_000_000;

/// Time and host of a row.
type Key = (i64, Option<u64>);

/// What each key has.
type State = BTreeMap<Key, i64>;

/// What changes a state.
#[derive(Clone, Debug)]
enum Operation {
    Write(Vec<(Key, i64)>),
    /// Rows with values from the first on, before the second.
    Delete(i64, i64),
}

impl Operation {
    fn apply(&self, state: &mut State) {
        match self {
            Operation::Write(rows) => state.extend(rows.iter().copied()),
            Operation::Delete(from, to) => state.retain(|_, value| !(*from..*to).contains(value)),
        }
    }
}

/// What was done, in its order.
#[derive(Debug, Default)]
struct Model {
    settled: State,
    /// Since the last time all was known: each operation, and whether it is known to have happened.
    since: Vec<(Operation, bool)>,
}

impl Model {
    /// What each key has, when all that was done is known.
    fn known(&self) -> Option<State> {
        let mut state = self.settled.clone();
        for (operation, known) in &self.since {
            if !known {
                return None;
            }
            operation.apply(&mut state);
        }
        Some(state)
    }

    /// Finds out which unknown operations happened: some choice must lead to what was found.
    fn settle(&mut self, found: &State) {
        let since = std::mem::take(&mut self.since);
        let unknown = since.iter().filter(|(_, known)| !known).count();
        assert!(unknown < 12, "{unknown} operations are unknown");
        let state_of = |choice: u32| {
            let mut state = self.settled.clone();
            let mut bit = 0;
            for (operation, known) in &since {
                let happened = *known || choice & (1 << bit) > 0;
                bit += u32::from(!known);
                if happened {
                    operation.apply(&mut state);
                }
            }
            state
        };
        let choices = (0..1_u32 << unknown).map(state_of).find(|state| state == found);
        if choices.is_none() {
            let all = state_of(u32::MAX);
            let wrong: Vec<_> = all.iter().filter(|(key, value)| found.get(key) != Some(value)).collect();
            let more: Vec<_> = found.iter().filter(|(key, value)| all.get(key) != Some(value)).collect();
            panic!("expected {wrong:?}, found {more:?}, with {unknown} operations unknown");
        }
        self.settled = found.clone();
    }
}

pub(crate) struct Keyed {
    world: World,
    harness: Harness,
    model: Model,
    next_value: i64,
}

/// Lives and crashes of a world.
pub(crate) fn run_with_power_cuts(seed: u64) {
    let world = World::new(seed);
    let harness = Harness::new(world.clone()).with_few_symbols(&[1, 2, 3]);
    let mut keyed = Keyed { harness, world, model: Model::default(), next_value: 0 };
    for _ in 0..LIVES {
        keyed.open();
        keyed.check();
        keyed.world.fault_at(1 + keyed.world.choose(700), Fault::PowerCut);
        keyed.run(OPERATIONS_PER_LIFE);
        keyed.harness.crash();
    }
    keyed.open();
    keyed.check();
    keyed.harness.crash_and_check_files();
}

/// While segments are merged, rows that replace some of theirs are written and flushed.
pub(crate) fn replace_rows_while_they_are_merged(seed: u64) {
    let world = World::new(seed);
    let mut keyed =
        Keyed { harness: Harness::new(world.clone()), world, model: Model::default(), next_value: 0 };
    keyed.open();
    for _ in 0..3 {
        keyed.write(50);
        keyed.harness.engine().flush(keyed.id()).unwrap();
    }
    let (batch, rows) = keyed.batch(8, "n");
    let (engine, id) = (keyed.harness.shared_engine(), keyed.id());
    let batch = Mutex::new(Some(batch));
    let act = move || {
        // Only the first of the merges, one for each partition, meets it.
        let Some(batch) = batch.lock().unwrap().take() else { return };
        let mut ticket = engine.write(vec![Write::new(id, batch)], Durability::Synced).unwrap();
        while ticket.poll().is_none() {
            assert!(engine.step(), "the log has something to do");
        }
        engine.flush(id).unwrap();
    };
    fail::cfg_callback("merge::file_written", act).unwrap();
    let merged = keyed.harness.engine().merge(keyed.id());
    fail::remove("merge::file_written");
    merged.unwrap();
    keyed.model.since.push((Operation::Write(rows), true));
    keyed.check();
}

impl Keyed {
    fn open(&mut self) {
        self.harness.open();
        if self.harness.collection(NAME).is_none() {
            self.create();
        }
    }

    fn create(&self) {
        let column = |name: &str, column_type, nullability| NewColumn::new(name, column_type, nullability);
        let hour = CalendarInterval { count: NonZeroU32::MIN, unit: IntervalUnit::Hour };
        let new = NewTimeseries {
            namespace: NAMESPACE_PUBLIC,
            name: NAME.to_owned(),
            owner: BOOTSTRAP_ROLE,
            columns: vec![
                column("ts", ColumnType::Timestamptz(TimeUnit::Microsecond), Nullability::Required),
                column("host", ColumnType::Symbol, Nullability::Nullable),
                column("value", ColumnType::Int8, Nullability::Required),
                column("note", ColumnType::Text, Nullability::Nullable),
            ],
            options: TimeseriesOptions {
                series_key: vec![ColumnId(2)],
                dedup_key: vec![ColumnId(2), ColumnId(1)],
                symbol_limit: self.harness.symbol_limit(),
                ..TimeseriesOptions::new(ColumnId(1), hour)
            },
        };
        self.harness.engine().create_collection(new).unwrap();
    }

    fn id(&self) -> CollectionId {
        self.collection().id
    }

    fn collection(&self) -> Arc<Collection> {
        self.harness.collection(NAME).expect("it was made when the engine was opened")
    }

    fn run(&mut self, operations: usize) {
        for _ in 0..operations {
            if self.world.is_without_power() {
                return;
            }
            match self.world.choose(18) {
                0..=5 => drop(self.write(1 + self.world.choose(6))),
                6 => drop(self.write(40)),
                7 => self.bulk_write(),
                8 => self.delete(),
                14 | 15 => self.write_by_what_is_there(1 + self.world.choose(8)),
                // They may fail as the world says; then all stays as it is.
                9 => drop(self.harness.engine().flush(self.id())),
                10 => drop(self.harness.engine().merge(self.id())),
                11 => self.world.advance(Duration::from_secs(40)),
                12..=13 => self.check_if_possible(),
                _ => while !self.world.is_without_power() && self.harness.engine().step() {},
            }
        }
    }

    fn batch(&mut self, row_count: u64, note: &str) -> (WriteBatch, Vec<(Key, i64)>) {
        let mut rows = Vec::new();
        for _ in 0..row_count {
            let hour = i64::try_from(self.world.choose(HOURS)).unwrap();
            let minute = i64::try_from(self.world.choose(3)).unwrap();
            let host = self.world.choose(HOSTS);
            let key = (hour * HOUR_US + minute * 60_000_000, (host > 0).then_some(host));
            rows.push((key, self.next_value));
            self.next_value += 1;
        }
        let collection = self.collection();
        let names: Vec<Option<String>> =
            rows.iter().map(|((_, host), _)| host.map(|host| format!("host_{host}"))).collect();
        let names = names.iter().map(Option::as_deref);
        let hosts = symbols_of(self.harness.engine(), &collection, ColumnId(2), names);
        let times = rows.iter().map(|((time, _), _)| Some(*time)).collect::<TimestampMicrosecondArray>();
        let columns: Vec<(ColumnId, ArrayRef)> = vec![
            (ColumnId(1), Arc::new(times.with_timezone("UTC"))),
            (ColumnId(2), hosts),
            (ColumnId(3), Arc::new(rows.iter().map(|(_, value)| Some(*value)).collect::<Int64Array>())),
            (ColumnId(4), Arc::new(rows.iter().map(|_| Some(note)).collect::<StringViewArray>())),
        ];
        (WriteBatch::new(&collection, columns).unwrap(), rows)
    }

    fn write(&mut self, row_count: u64) -> Option<Vec<(Key, i64)>> {
        let (batch, rows) = self.batch(row_count, "n");
        let write = Write::new(self.id(), batch);
        let ticket = self.harness.engine().write(vec![write], Durability::Synced);
        // Refused: nothing is applied.
        let ticket = ticket.ok()?;
        self.settle(ticket, rows.clone());
        Some(rows)
    }

    /// What is there is looked for, and decides what is written: a key that is there gets its value and
    /// a thousand more, or is left out; a key comes once. Others may write in between, and then nothing
    /// is written if they wrote one of these keys.
    fn write_by_what_is_there(&mut self, row_count: u64) {
        let (batch, proposed) = self.batch(row_count, "n");
        let (id, collection) = (self.id(), self.collection());
        // As the server does; it may fail as the world says.
        if self.harness.engine().limit_symbols(id).is_err() {
            return;
        }
        let existing = self.harness.engine().existing(id, &batch, None, &[ColumnId(3)]);
        let Ok(existing) = existing else { return };
        let values = existing.columns()[0].1.as_primitive::<Int64Type>().clone();
        let leaves_out = self.world.choose(2) == 0;
        let known = self.model.known();
        let (mut rows, mut numbers) = (Vec::new(), Vec::new());
        for (row, (key, value)) in proposed.iter().enumerate() {
            let found = existing.place(row).map(|place| values.value(place));
            if let Some(known) = &known {
                assert_eq!(found, known.get(key).copied(), "what is there under {key:?}");
            }
            let first = proposed.iter().position(|(other, _)| other == key);
            assert_eq!(Some(existing.first(row)), first);
            if first == Some(row) && !(leaves_out && found.is_some()) {
                rows.push((*key, found.map_or(*value, |found| found + 1000)));
                numbers.push(u32::try_from(row).unwrap());
            }
        }
        if rows.is_empty() {
            return;
        }
        let numbers = UInt32Array::from(numbers);
        let columns = batch.columns().iter().map(|(column, array)| {
            let new = rows.iter().map(|(_, value)| Some(*value)).collect::<Int64Array>();
            let array =
                if *column == ColumnId(3) { Arc::new(new) } else { take(array, &numbers, None).unwrap() };
            (*column, array)
        });
        let batch = WriteBatch::new(&collection, columns.collect()).unwrap();
        let watch = existing.watch(&batch).unwrap();
        let others = if self.world.choose(3) == 0 { self.write(2) } else { None };
        let is_overtaken =
            others.is_some_and(|others| others.iter().any(|(key, _)| rows.iter().any(|(own, _)| own == key)));
        let write = Write::new(id, batch).watching(Some(Arc::new(watch)));
        match self.harness.engine().write(vec![write], Durability::Synced) {
            Ok(ticket) => {
                assert!(!is_overtaken, "rows that others wrote meanwhile were replaced unseen");
                self.settle(ticket, rows);
            }
            Err(error) if is_overtaken => {
                assert!(matches!(error, WriteError::Changed(_) | WriteError::Wal(_)), "{error}")
            }
            Err(_) => {}
        }
    }

    fn bulk_write(&mut self) {
        let mut bulk = self.harness.engine().bulk_write(self.id()).unwrap();
        let note = "n".repeat(200);
        let mut all = Vec::new();
        for _ in 0..10 {
            let (batch, rows) = self.batch(30, &note);
            all.extend(rows);
            if bulk.write(batch).is_err() {
                return;
            }
        }
        if let Ok(Some(ticket)) = bulk.finish(Durability::Synced) {
            self.settle(ticket, all);
        }
    }

    fn settle(&mut self, mut ticket: CommitTicket, rows: Vec<(Key, i64)>) {
        let outcome = loop {
            if let Some(outcome) = ticket.poll() {
                break outcome;
            }
            if self.world.is_without_power() || !self.harness.engine().step() {
                break ticket.poll().unwrap_or(Err(WalError::Closed.into()));
            }
        };
        self.model.since.push((Operation::Write(rows), outcome.is_ok()));
    }

    fn delete(&mut self) {
        let Ok(delete) = self.harness.engine().begin_delete(self.id()) else { return };
        let span = u64::try_from(self.next_value).unwrap() + 1;
        let from = i64::try_from(self.world.choose(span)).unwrap();
        let to = from + i64::try_from(self.world.choose(60)).unwrap();
        let value = |value: i64| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
        let compare = |comparison, value| Predicate::Compare { column: ColumnId(3), comparison, value };
        let predicates =
            [compare(Comparison::GreaterOrEqual, value(from)), compare(Comparison::Less, value(to))];
        let Ok(places) = delete.by_predicates(&predicates) else { return };
        match delete.commit(places) {
            Ok(_) => self.model.since.push((Operation::Delete(from, to), true)),
            Err(JobError::Publish(EditError::Storage(_))) => {
                self.model.since.push((Operation::Delete(from, to), false));
            }
            // Nothing is deleted.
            Err(_) => {}
        }
    }

    /// What a reader sees, each key once.
    fn found(&self) -> State {
        let id = self.id();
        let snapshot = self.harness.engine().snapshot(&[id]).unwrap();
        let snapshot = snapshot.collection(id).unwrap();
        let request = ScanRequest {
            columns: vec![ColumnId(1), ColumnId(2), ColumnId(3)],
            predicates: Vec::new(),
            batch_rows: 100,
            row_ids: RowIds::NotGiven,
        };
        let scan = plan(snapshot, request).unwrap();
        let mut found = State::new();
        for unit in scan.units() {
            for batch in scan.read(unit).unwrap() {
                let batch = batch.unwrap();
                let times = batch.column(0).as_primitive::<TimestampMicrosecondType>().values();
                // Of text when the column has more hosts than it may have symbols.
                let hosts = cast(batch.column(1), &DataType::Utf8).unwrap();
                let hosts = hosts.as_string::<i32>();
                let values = batch.column(2).as_primitive::<Int64Type>().values();
                for ((time, host), value) in times.iter().zip(hosts).zip(values) {
                    let host = host.map(|host| host.trim_start_matches("host_").parse().unwrap());
                    let before = found.insert((*time, host), *value);
                    assert_eq!(before, None, "key {:?} is there twice", (time, host));
                }
            }
        }
        found
    }

    fn check(&mut self) {
        let found = self.found();
        self.model.settle(&found);
    }

    /// The same between operations, when all that was done is known.
    fn check_if_possible(&mut self) {
        if self.model.since.iter().all(|(_, known)| *known) && !self.world.is_without_power() {
            self.check();
        }
    }
}
