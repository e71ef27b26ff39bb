//! The log on a world that fails and forgets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, Decimal128Array, Float64Array, Int32Array,
    IntervalMonthDayNanoArray, ListArray, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Int32Type, IntervalMonthDayNano};
use proptest::prelude::*;
use tidemark_catalog::ids::{CollectionId, ColumnId, Lsn};

use super::codec::{LoggedColumn, decode_batches, encode_batch, encode_batch_count};
use super::format::{FILE_HEADER_BYTES, RecordKind};
use super::reader::{Expected, Scan, file_name};
use super::writer::{Durability, Wal};
use super::{WalOptions, open};
use crate::batch::WriteBatch;
use crate::env::sim::{Fault, World};
use crate::error::{WalError, WalFormatError, WalOpenError};
use crate::memtable::symbols::SymbolDictionary;
use crate::options::{CommitMode, OnFailure};

const DIRECTORY: &str = "/wal";
const SEGMENT_BYTES: u64 = 4096;
const SYSTEM_IDENTIFIER: u64 = 11;

struct Opened {
    wal: Wal,
    scan: Scan,
    bodies: BTreeMap<Lsn, Vec<u8>>,
}

fn try_open(world: &World, first_file: Option<u64>) -> Result<Opened, WalOpenError> {
    let mut bodies = BTreeMap::new();
    let options = WalOptions {
        directory: PathBuf::from(DIRECTORY),
        segment_bytes: SEGMENT_BYTES,
        on_failure: OnFailure::new(|_| {}),
        expected: Expected { system_identifier: SYSTEM_IDENTIFIER, first_file },
        lsn_floor: Lsn::ZERO,
    };
    let (wal, scan) = open(&world.env(), options, |located| {
        bodies.insert(located.lsn, located.record.body.to_vec());
        Ok(())
    })?;
    Ok(Opened { wal, scan, bodies })
}

/// Writes one record and commits it; says whether it was acknowledged.
fn write(wal: &Wal, body: &[u8]) -> Result<Lsn, WalError> {
    let mut appended = wal.append(RecordKind::Write, body.to_vec(), Durability::Synced)?;
    while wal.commit_once(CommitMode::Group) {}
    appended.committed.try_recv().expect("everything was committed")?;
    Ok(appended.lsn)
}

fn body(number: usize) -> Vec<u8> {
    vec![u8::try_from(number % 251).unwrap(); 1 + number * 37 % 600]
}

/// Writes until the world says no; returns what was acknowledged.
fn write_some(wal: &Wal, count: usize) -> BTreeMap<Lsn, Vec<u8>> {
    let mut acknowledged = BTreeMap::new();
    for number in 0..count {
        match write(wal, &body(number)) {
            Ok(lsn) => acknowledged.insert(lsn, body(number)),
            Err(_) => break,
        };
    }
    acknowledged
}

#[test]
fn records_are_read_back_over_many_files() {
    let world = World::new(1);
    let opened = try_open(&world, None).unwrap();
    let written = write_some(&opened.wal, 60);
    assert_eq!(written.len(), 60);
    let again = try_open(&world, Some(1)).unwrap();
    assert_eq!(again.bodies, written);
    assert_eq!(again.scan.last_lsn, Lsn(60));
    assert!(again.scan.files.len() > 3 && again.scan.torn_tail.is_none());
}

#[test]
fn a_log_goes_on_after_each_of_many_restarts() {
    let world = World::new(2);
    let mut all = BTreeMap::new();
    for _ in 0..10 {
        let opened = try_open(&world, None).unwrap();
        assert_eq!(opened.bodies, all);
        all.extend(write_some(&opened.wal, 7));
        world.crash();
    }
    assert_eq!(all.len(), 70);
}

#[test]
fn every_crash_keeps_what_was_acknowledged_and_nothing_out_of_order() {
    for seed in 0..8 {
        for operation in 1.. {
            let world = World::new(seed);
            let Ok(opened) = try_open(&world, None) else { panic!("an empty log opens") };
            world.fault_at(operation, Fault::PowerCut);
            let acknowledged = write_some(&opened.wal, 25);
            if !world.is_without_power() {
                break;
            }
            world.crash();
            let found = try_open(&world, None)
                .unwrap_or_else(|error| panic!("seed {seed}, operation {operation}: {error}"));
            let attempted: Vec<Vec<u8>> = (0..25).map(body).collect();
            let bodies: Vec<Vec<u8>> = found.bodies.into_values().collect();
            assert!(bodies.len() >= acknowledged.len(), "seed {seed}, operation {operation}: lost");
            assert_eq!(bodies, attempted[..bodies.len()], "seed {seed}, operation {operation}");
        }
    }
}

#[test]
fn a_second_crash_during_recovery_changes_nothing() {
    for operation in 1.. {
        let world = World::new(3);
        let opened = try_open(&world, None).unwrap();
        world.fault_at(31, Fault::PowerCut);
        let acknowledged = write_some(&opened.wal, 25);
        world.crash();
        world.fault_at(operation, Fault::PowerCut);
        let finished = try_open(&world, None).is_ok();
        world.crash();
        let found = try_open(&world, None).unwrap();
        for (lsn, body) in &acknowledged {
            assert_eq!(found.bodies.get(lsn), Some(body), "operation {operation}");
        }
        if finished {
            break;
        }
    }
}

#[test]
fn every_failing_operation_is_told_to_the_writer_and_stops_the_log() {
    let failures = Arc::new(AtomicUsize::new(0));
    for operation in 1.. {
        let world = World::new(4);
        let mut opened = try_open(&world, None).unwrap();
        let counted = Arc::clone(&failures);
        failures.store(0, Ordering::Relaxed);
        opened.wal.set_on_failure(OnFailure::new(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        }));
        world.fault_at(operation, Fault::Error);
        let acknowledged = write_some(&opened.wal, 25);
        if acknowledged.len() == 25 {
            break;
        }
        world.no_fault();
        match write(&opened.wal, b"later") {
            // The failure was in making a file: the log is whole and goes on.
            Ok(_) => assert_eq!(failures.load(Ordering::Relaxed), 0),
            Err(WalError::Poisoned) => assert_eq!(failures.load(Ordering::Relaxed), 1),
            Err(other) => panic!("operation {operation}: {other}"),
        }
        world.crash();
        let found = try_open(&world, None).unwrap();
        for (lsn, body) in &acknowledged {
            assert_eq!(found.bodies.get(lsn), Some(body), "operation {operation}");
        }
    }
}

#[test]
fn a_full_disk_refuses_writes_and_heals() {
    let world = World::new(5);
    let opened = try_open(&world, None).unwrap();
    let before = write_some(&opened.wal, 3);
    world.set_capacity(Some(world.used_bytes()));
    let written = write_some(&opened.wal, 100);
    assert!(written.len() < 100);
    assert!(matches!(write(&opened.wal, &body(50)), Err(WalError::NoRoom(_))));
    world.set_capacity(None);
    let after = write_some(&opened.wal, 30);
    assert_eq!(after.len(), 30);
    world.crash();
    let mut all = before;
    all.extend(written);
    all.extend(after);
    assert_eq!(try_open(&world, None).unwrap().bodies, all);
}

#[test]
fn a_record_larger_than_a_segment_gets_a_file_of_its_own() {
    let world = World::new(6);
    let opened = try_open(&world, None).unwrap();
    let large = vec![7; 5 * 4096];
    write(&opened.wal, b"small").unwrap();
    let lsn = write(&opened.wal, &large).unwrap();
    write(&opened.wal, b"small").unwrap();
    assert_eq!(try_open(&world, None).unwrap().bodies[&lsn], large);
}

#[test]
fn damage_below_a_durable_position_refuses_to_open_and_names_the_place() {
    let world = World::new(7);
    let opened = try_open(&world, None).unwrap();
    write_some(&opened.wal, 40);
    let last = opened.wal.used_files().last().unwrap().0;
    let first = Path::new(DIRECTORY).join(file_name(1));
    let names: Vec<PathBuf> = world.file_names();
    for offset in [FILE_HEADER_BYTES, FILE_HEADER_BYTES + 5, FILE_HEADER_BYTES + 45, 1000] {
        world.damage(&first, offset);
        match try_open(&world, None) {
            Err(WalOpenError::Damaged { path, offset: at }) => {
                assert_eq!(path, first);
                assert!(at <= offset as u64, "{at} is after the damage at {offset}");
            }
            other => panic!("offset {offset}: {:?}", other.map(|opened| opened.scan)),
        }
        world.damage(&first, offset);
    }
    // In the last file, a frame before one that says it was durable.
    let newest = Path::new(DIRECTORY).join(file_name(last));
    world.damage(&newest, FILE_HEADER_BYTES + 41);
    assert!(matches!(try_open(&world, None), Err(WalOpenError::Damaged { path, .. }) if path == newest));
    world.damage(&newest, FILE_HEADER_BYTES + 41);
    assert_eq!(world.file_names(), names, "a refused log is left as it is");
    assert_eq!(try_open(&world, None).unwrap().bodies.len(), 40);
}

#[test]
fn a_missing_file_is_named() {
    let world = World::new(8);
    let opened = try_open(&world, None).unwrap();
    write_some(&opened.wal, 60);
    for number in [1, 2] {
        let path = Path::new(DIRECTORY).join(file_name(number));
        let copy = world.clone();
        copy.lose(&path);
        let missing = match try_open(&world, Some(1)) {
            Err(WalOpenError::MissingFile { path }) => path,
            other => panic!("{:?}", other.map(|opened| opened.scan)),
        };
        assert_eq!(missing, Path::new(DIRECTORY).join(file_name(1)));
    }
}

#[test]
fn files_are_removed_only_below_the_position() {
    let world = World::new(9);
    let opened = try_open(&world, None).unwrap();
    let written = write_some(&opened.wal, 60);
    assert_eq!(opened.wal.files_below(Lsn(1)), None);
    let (numbers, first) = opened.wal.files_below(Lsn(30)).unwrap();
    opened.wal.remove_files(&numbers).unwrap();
    let again = try_open(&world, Some(first)).unwrap();
    let kept: BTreeMap<Lsn, Vec<u8>> =
        written.into_iter().filter(|(lsn, _)| again.bodies.contains_key(lsn)).collect();
    assert_eq!(again.bodies, kept);
    assert!(kept.contains_key(&Lsn(30)) && !kept.contains_key(&Lsn(1)));
}

#[test]
fn one_sync_serves_all_that_wait() {
    let world = World::new(10);
    let opened = try_open(&world, None).unwrap();
    write(&opened.wal, b"first").unwrap();
    let waiting: Vec<_> = (0..20)
        .map(|_| opened.wal.append(RecordKind::Write, b"x".to_vec(), Durability::Synced).unwrap())
        .collect();
    let before = world.operations();
    assert_eq!(opened.wal.visible_lsn(), Lsn(1));
    opened.wal.commit_once(CommitMode::Group);
    assert_eq!(world.operations() - before, 2, "one write and one sync");
    assert_eq!(opened.wal.visible_lsn(), Lsn(21));
    for mut appended in waiting {
        appended.committed.try_recv().unwrap().unwrap();
    }
}

#[test]
fn system_times_rise_though_the_clock_does_not() {
    let world = World::new(11);
    let opened = try_open(&world, None).unwrap();
    let mut times = Vec::new();
    for _ in 0..5 {
        times.push(opened.wal.append(RecordKind::Write, vec![], Durability::Synced).unwrap().system_time_us);
    }
    while opened.wal.commit_once(CommitMode::Group) {}
    world.crash();
    world.set_wall_us(0);
    let again = try_open(&world, None).unwrap();
    times.push(again.wal.append(RecordKind::Write, vec![], Durability::Synced).unwrap().system_time_us);
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
}

#[test]
fn written_records_are_synced_when_the_interval_is_over() {
    let world = World::new(12);
    let opened = try_open(&world, None).unwrap();
    let mode = CommitMode::Interval(std::time::Duration::from_millis(100));
    let append = || opened.wal.append(RecordKind::Write, b"x".to_vec(), Durability::Written).unwrap();
    append();
    opened.wal.commit_once(mode);
    assert_eq!((opened.wal.visible_lsn(), opened.wal.durable_lsn()), (Lsn(1), Lsn(0)));
    assert!(!opened.wal.commit_once(mode));
    world.advance(std::time::Duration::from_millis(100));
    assert!(opened.wal.commit_once(mode));
    assert_eq!(opened.wal.durable_lsn(), Lsn(1));
}

// The codec of rows.

fn arrays(rows: usize) -> Vec<(DataType, ArrayRef)> {
    let some = |row: usize| row % 3 != 1;
    let text = |row: usize| some(row).then(|| "ä".repeat(row % 20));
    let list =
        (0..rows).map(|row| some(row).then(|| (0..row % 4).map(|it| Some(i32::try_from(it).unwrap()))));
    let arrays: Vec<ArrayRef> = vec![
        Arc::new((0..rows).map(|row| some(row).then_some(row % 2 == 0)).collect::<BooleanArray>()),
        Arc::new((0..rows).map(|row| some(row).then_some(row as f64)).collect::<Float64Array>()),
        Arc::new((0..rows).map(|row| i64::try_from(row).ok()).collect::<TimestampMicrosecondArray>()),
        Arc::new((0..rows).map(text).collect::<StringViewArray>()),
        Arc::new((0..rows).map(|row| text(row).map(String::into_bytes)).collect::<BinaryViewArray>()),
        Arc::new((0..rows).map(|row| some(row).then_some(row as i128)).collect::<Decimal128Array>()),
        Arc::new(
            (0..rows)
                .map(|row| some(row).then(|| IntervalMonthDayNano::new(1, 2, row as i64)))
                .collect::<IntervalMonthDayNanoArray>(),
        ),
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(list)),
    ];
    arrays.into_iter().map(|array| (array.data_type().clone(), array)).collect()
}

fn batch_of(columns: Vec<ArrayRef>) -> WriteBatch {
    let columns = columns.into_iter().zip(1..).map(|(array, id)| (ColumnId(id), array));
    WriteBatch::unchecked_for_tests(columns.collect())
}

fn encode_one(batch: &WriteBatch, symbols: Option<&Arc<SymbolDictionary>>) -> Vec<u8> {
    let mut body = Vec::new();
    encode_batch_count(&mut body, 1);
    encode_batch(&mut body, CollectionId(7), batch, &|_| symbols.cloned());
    body
}

#[test]
fn every_type_is_read_back_whole_and_sliced() {
    for (offset, len) in [(0, 100), (13, 50), (1, 1)] {
        let arrays: Vec<(DataType, ArrayRef)> =
            arrays(100).into_iter().map(|(data_type, array)| (data_type, array.slice(offset, len))).collect();
        let batch = batch_of(arrays.iter().map(|(_, array)| Arc::clone(array)).collect());
        let body = encode_one(&batch, None);
        let decoded = decode_batches(&body).unwrap();
        assert_eq!((decoded[0].collection, decoded[0].row_count), (CollectionId(7), len));
        let types: Vec<DataType> = arrays.iter().map(|(data_type, _)| data_type.clone()).collect();
        let columns = decoded[0].columns(|id| types.get(id.0 as usize - 1).cloned()).unwrap();
        for ((_, column), (_, expected)) in columns.iter().zip(&arrays) {
            let LoggedColumn::Values(found) = column else { panic!("symbols where there are none") };
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn a_dropped_column_is_skipped() {
    let batch = batch_of(vec![Arc::new(Int32Array::from(vec![1])), Arc::new(Int32Array::from(vec![2]))]);
    let body = encode_one(&batch, None);
    let decoded = decode_batches(&body).unwrap();
    let columns = decoded[0].columns(|id| (id.0 == 2).then_some(DataType::Int32)).unwrap();
    assert_eq!(columns.len(), 1);
    assert_eq!(columns[0].0, ColumnId(2));
}

proptest! {
    #[test]
    fn any_bodies_in_any_groups_are_read_back_over_restarts(
        lives in proptest::collection::vec(
            proptest::collection::vec(
                proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..700), 1..5),
                0..6,
            ),
            1..4,
        ),
    ) {
        let world = World::new(3);
        let mut expected = BTreeMap::new();
        for groups in lives {
            let opened = try_open(&world, None).unwrap();
            prop_assert_eq!(&opened.bodies, &expected);
            for group in groups {
                let mut waiting = Vec::new();
                for body in group {
                    let appended = opened.wal.append(RecordKind::Write, body.clone(), Durability::Synced).unwrap();
                    expected.insert(appended.lsn, body);
                    waiting.push(appended.committed);
                }
                while opened.wal.commit_once(CommitMode::Group) {}
                for mut committed in waiting {
                    prop_assert_eq!(committed.try_recv().expect("everything was committed").is_ok(), true);
                }
            }
            world.crash();
        }
        prop_assert_eq!(try_open(&world, None).unwrap().bodies, expected);
    }

    #[test]
    fn symbols_keep_their_texts(
        rows in proptest::collection::vec(proptest::option::of(0..700_i32), 1..900),
        dictionary in 700..3000_usize,
    ) {
        let symbols = Arc::new(SymbolDictionary::default());
        symbols.intern_array((0..dictionary).map(|number| format!("s{number}")).collect::<Vec<_>>().iter().map(|text| Some(text.as_str()))).unwrap();
        let keys: Int32Array = rows.iter().copied().collect();
        let batch = batch_of(vec![Arc::new(keys)]);
        let body = encode_one(&batch, Some(&symbols));
        let decoded = decode_batches(&body).unwrap();
        let columns = decoded[0].columns(|_| Some(DataType::Int32)).unwrap();
        let LoggedColumn::Symbols { texts, indexes } = &columns[0].1 else { panic!("no symbols") };
        let found: Vec<Option<&str>> =
            indexes.iter().map(|index| index.map(|index| texts[index as usize].as_str())).collect();
        let expected: Vec<Option<String>> =
            rows.iter().map(|key| key.map(|key| format!("s{key}"))).collect();
        let expected: Vec<Option<&str>> = expected.iter().map(Option::as_deref).collect();
        prop_assert_eq!(found, expected.clone());
        // The column may be one of text when they are read.
        let columns = decoded[0].columns(|_| Some(DataType::Utf8View)).unwrap();
        let LoggedColumn::Values(texts) = &columns[0].1 else { panic!("symbols in a column of text") };
        prop_assert_eq!(arrow::array::AsArray::as_string_view(texts).iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn damaged_bodies_are_errors_and_never_panic(
        position in 0..2000_usize, value: u8, cut in 0..2000_usize,
    ) {
        let arrays = arrays(40);
        let types: Vec<DataType> = arrays.iter().map(|(data_type, _)| data_type.clone()).collect();
        let batch = batch_of(arrays.into_iter().map(|(_, array)| array).collect());
        let mut body = encode_one(&batch, None);
        let position = position % body.len();
        body[position] = value;
        body.truncate(body.len() - cut % body.len());
        let outcome = decode_batches(&body).and_then(|batches| {
            batches[..].iter().try_for_each(|batch| {
                batch.columns(|id| types.get(id.0 as usize - 1).cloned()).map(|_| ())
            })
        });
        // Any answer will do; that there is one is what is tested.
        prop_assert!(matches!(outcome, Ok(()) | Err(WalFormatError::BadRecord)));
    }
}
