//! Symbol columns that become columns of text, with rows on every way there is meanwhile.

use std::num::NonZeroU32;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, StringArray, StringViewArray};
use arrow::datatypes::{DataType, Int64Type};
use tidemark_catalog::ids::ColumnId;
use tidemark_catalog::types::ColumnType;
use tidemark_engine::engine::{Durability, Write};
use tidemark_engine::env::sim::{Fault, World};
use tidemark_engine::read::plan;
use tidemark_engine::read::predicate::{Comparison, Predicate};
use tidemark_engine::snapshot::CollectionSnapshot;

use crate::harness::{Harness, request};
use crate::model::Rows;

/// The column whose texts are `host_0` to `host_12`, and NULL.
const HOST: ColumnId = ColumnId(3);

fn harness(world: &World) -> Harness {
    let limit = NonZeroU32::new(6).unwrap();
    let mut harness = Harness::new(world.clone()).with_memtable_bytes(1 << 20).with_symbol_limit(limit);
    harness.open();
    harness
}

/// The numbers of the rows of a snapshot with a host, and the type in which it is read.
fn rows_of(snapshot: &CollectionSnapshot, host: Option<ArrayRef>) -> (Vec<i64>, DataType) {
    let predicates =
        host.map(|value| Predicate::Compare { column: HOST, comparison: Comparison::Equal, value });
    let mut request = request(vec![ColumnId(2), HOST]);
    request.predicates.extend(predicates);
    let scan = plan(snapshot, request).unwrap();
    let data_type = scan.schema().field(1).data_type().clone();
    let mut rows = Vec::new();
    for unit in scan.units() {
        for batch in scan.read(unit).unwrap() {
            rows.extend_from_slice(batch.unwrap().column(0).as_primitive::<Int64Type>().values());
        }
    }
    rows.sort_unstable();
    (rows, data_type)
}

fn is_text(harness: &Harness) -> bool {
    let collection = harness.collection("a").unwrap();
    let host = collection.schema.column(HOST).unwrap();
    assert_eq!(
        harness.engine().symbols(collection.id).unwrap().get(HOST).is_some(),
        host.column_type == ColumnType::Symbol
    );
    host.column_type == ColumnType::Text
}

#[test]
fn rows_on_every_way_are_there_with_their_texts() {
    let world = World::new(4);
    let mut harness = harness(&world);
    let id = harness.id("a");
    // In a segment, in memory, in a bulk write, and on their way.
    harness.write_durably("a", 3);
    harness.flush_of("a");
    harness.write_durably("a", 1);
    let mut others = Rows::new();
    let mut bulk = harness.engine().bulk_write(id).unwrap();
    let early = harness.reserve_rows(13);
    let early = harness.batch_of("a", early, 1, 1);
    bulk.write(harness.wide_batch("a", 3, &mut others)).unwrap();
    let snapshot = harness.engine().snapshot(&[id]).unwrap();
    let symbols = harness.engine().symbols(id).unwrap();
    assert!(!is_text(&harness));
    // A write with more hosts than there may be symbols; and rows that were made before.
    for _ in 0..14 {
        bulk.write(harness.wide_batch("a", 30, &mut others)).unwrap();
    }
    assert!(is_text(&harness), "the bulk write has all hosts");
    let write = |batch| {
        let mut ticket = harness.engine().write(vec![Write::new(id, batch)], Durability::Synced).unwrap();
        while ticket.poll().is_none() {
            assert!(harness.engine().step());
        }
    };
    write(early);
    let count = |harness: &Harness| harness.found().len();
    assert_eq!(count(&harness), 5);
    let mut ticket = bulk.finish(Durability::Synced).unwrap().unwrap();
    while ticket.poll().is_none() {
        assert!(harness.engine().step());
    }
    harness.write_durably("a", 60);
    let expected = 5 + 3 + 14 * 30 + 60;
    assert_eq!(count(&harness), expected);
    assert_eq!(harness.engine().metrics().symbol_columns_as_text.get(), 1);
    // Who reads as it was before does so on.
    let (before, data_type) = rows_of(snapshot.collection(id).unwrap(), None);
    assert_eq!(before, [0, 1, 2, 3]);
    assert!(matches!(data_type, DataType::Dictionary(..)));
    assert!(symbols.get(HOST).unwrap().is_retired());
    // Whoever asks for a text by the old form or the new one finds the same rows, wherever these are.
    let steps: [fn(&mut Harness); 4] = [
        |_| {},
        |harness| {
            harness.flush_of("a");
            harness.crash_and_check_files();
            harness.open();
        },
        |harness| harness.engine().merge(harness.id("a")).unwrap(),
        |harness| {
            harness.crash();
            harness.open();
        },
    ];
    for step in steps {
        step(&mut harness);
        assert_eq!(count(&harness), expected);
        let snapshot = harness.engine().snapshot(&[id]).unwrap();
        let snapshot = snapshot.collection(id).unwrap();
        let texts: [ArrayRef; 2] =
            [Arc::new(StringArray::from(vec!["host_2"])), Arc::new(StringViewArray::from(vec!["host_2"]))];
        let found = texts.map(|text| rows_of(snapshot, Some(text)));
        let all = rows_of(snapshot, None).0;
        let with_host: Vec<i64> = all.into_iter().filter(|row| row % 5 > 0 && row % 13 == 2).collect();
        for (rows, data_type) in found {
            assert_eq!(rows, with_host);
            assert_eq!(data_type, DataType::Utf8View);
        }
    }
}

#[test]
fn every_operation_around_the_change_may_be_the_last_or_fail() {
    for fault in [Fault::PowerCut, Fault::Error, Fault::ErrorFromThenOn] {
        let (mut as_text, mut operation) = (0, 0);
        loop {
            operation += 1;
            let world = World::new(11);
            let mut harness = harness(&world);
            harness.write_durably("a", 3);
            harness.flush_of("a");
            harness.write_durably("a", 1);
            let start = world.operations();
            world.fault_at(operation, fault);
            // The first of these has more hosts than there may be symbols.
            harness.write_durably("a", 20);
            harness.write_durably("a", 20);
            harness.engine().flush(harness.id("a")).ok();
            harness.step_until_idle();
            let finished = world.operations() - start < operation;
            world.no_fault();
            harness.crash();
            harness.open();
            harness.check();
            as_text += u64::from(is_text(&harness));
            harness.write_durably("a", 20);
            harness.flush_of("a");
            harness.engine().merge(harness.id("a")).unwrap();
            harness.check();
            assert!(is_text(&harness));
            if finished {
                break;
            }
        }
        assert!(0 < as_text && as_text < operation, "{as_text} of {operation} came to the change: {fault:?}");
    }
}
