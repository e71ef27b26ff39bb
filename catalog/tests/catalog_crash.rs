//! The catalog on storage that fails and forgets.
//!
//! A run of edits is made on a file in memory that remembers which writes were synced. For every
//! operation n the run is repeated with the n-th failing; and for every sync the file is cut there,
//! with the writes after it lost or torn. Opened again, the catalog must be the state before or
//! after the edit that was under way, and each edit that was acknowledged must be in it.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::io;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use tidemark_catalog::collection::{
    CalendarInterval, Collection, CollectionKind, IntervalUnit, TimeseriesOptions,
};
use tidemark_catalog::comment::ObjectRef;
use tidemark_catalog::edit::{CatalogEdit, Change};
use tidemark_catalog::error::EditError;
use tidemark_catalog::ids::{
    BOOTSTRAP_ROLE, CollectionId, ColumnId, Lsn, NAMESPACE_PUBLIC, NamespaceId, PartitionId, SchemaVersion,
    SegmentId,
};
use tidemark_catalog::partition::{Partition, PartitionState, TimeRange};
use tidemark_catalog::producer::Producer;
use tidemark_catalog::schema::{NewColumn, Nullability, Schema};
use tidemark_catalog::segment::{DeletedRows, Segment};
use tidemark_catalog::store::CatalogFile;
use tidemark_catalog::types::{ColumnType, TimeUnit};
use tidemark_catalog::view::Namespace;
use tidemark_catalog::{Bootstrap, Catalog};

/// What a write that was not synced may leave behind.
#[derive(Clone, Copy, Debug)]
enum Unsynced {
    Lost,
    Kept,
    /// Every other sector of 512 bytes arrives.
    Torn,
}

#[derive(Debug, Default)]
struct Disk {
    durable: Vec<u8>,
    current: Vec<u8>,
    operations: usize,
    fail_at: Option<usize>,
}

#[derive(Clone, Debug, Default)]
struct FakeFile(Arc<Mutex<Disk>>);

impl FakeFile {
    fn with_contents(contents: Vec<u8>) -> FakeFile {
        let disk = Disk { durable: contents.clone(), current: contents, ..Disk::default() };
        FakeFile(Arc::new(Mutex::new(disk)))
    }

    fn failing_at(operation: usize) -> FakeFile {
        let file = FakeFile::default();
        file.0.lock().unwrap().fail_at = Some(operation);
        file
    }

    fn after_crash(&self, unsynced: Unsynced) -> FakeFile {
        let disk = self.0.lock().unwrap();
        let contents = match unsynced {
            Unsynced::Lost => disk.durable.clone(),
            Unsynced::Kept => disk.current.clone(),
            Unsynced::Torn => {
                let mut torn = disk.current.clone();
                for (sector, bytes) in torn.chunks_mut(512).enumerate() {
                    let start = sector * 512;
                    if sector % 2 == 0 && start + bytes.len() <= disk.durable.len() {
                        bytes.copy_from_slice(&disk.durable[start..start + bytes.len()]);
                    }
                }
                torn
            }
        };
        FakeFile::with_contents(contents)
    }

    fn operation(&self) -> io::Result<std::sync::MutexGuard<'_, Disk>> {
        let mut disk = self.0.lock().unwrap();
        disk.operations += 1;
        if disk.fail_at.is_some_and(|at| disk.operations >= at) {
            return Err(io::Error::other("injected"));
        }
        Ok(disk)
    }
}

impl CatalogFile for FakeFile {
    fn byte_len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.lock().unwrap();
        let start = usize::try_from(offset).unwrap();
        let range = disk.current.get(start..start + out.len());
        out.copy_from_slice(range.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.operation()?.current.resize(usize::try_from(len).unwrap(), 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.operation()?;
        disk.durable = disk.current.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.operation()?;
        let start = usize::try_from(offset).unwrap();
        disk.current[start..start + data.len()].copy_from_slice(data);
        Ok(())
    }
}

fn open(file: &FakeFile) -> Catalog {
    try_open(file).unwrap()
}

fn try_open(file: &FakeFile) -> Result<Catalog, tidemark_catalog::error::OpenError> {
    Catalog::open(Box::new(file.clone()), || Bootstrap {
        superuser: "tidemark".to_owned(),
        verifier: None,
        system_identifier: 42,
    })
}

fn new_collection(id: CollectionId, name: &str) -> Arc<Collection> {
    let columns = vec![
        NewColumn::new("ts", ColumnType::Timestamptz(TimeUnit::Microsecond), Nullability::Required),
        NewColumn::new("host", ColumnType::Symbol, Nullability::Nullable),
    ];
    Arc::new(Collection {
        id,
        namespace: NAMESPACE_PUBLIC,
        name: name.to_owned(),
        owner: BOOTSTRAP_ROLE,
        schema: Arc::new(Schema::new(columns).unwrap()),
        kind: CollectionKind::Timeseries(TimeseriesOptions {
            series_key: vec![ColumnId(2)],
            ..TimeseriesOptions::new(
                ColumnId(1),
                CalendarInterval { count: NonZeroU32::MIN, unit: IntervalUnit::Day },
            )
        }),
        flushed_lsn: Lsn::ZERO,
    })
}

fn new_segment(id: SegmentId, partition: &Partition, lsn: Lsn) -> Arc<Segment> {
    Arc::new(Segment {
        id,
        collection: partition.collection,
        partition: partition.id,
        schema_version: SchemaVersion(1),
        level: 0,
        row_count: 10,
        file_bytes: 1000,
        footer_crc32c: 1,
        footer_bytes: 100,
        time_min: partition.range.start,
        time_max: partition.range.end - 1,
        lsn_min: lsn,
        lsn_max: lsn,
        stage: 0,
        statistics: Vec::new(),
        deleted: None,
    })
}

fn flush_edit(partition: Option<&Partition>, segment: &Arc<Segment>) -> CatalogEdit {
    let mut edit = CatalogEdit::new();
    if let Some(partition) = partition {
        edit.push(Change::AddPartition(partition.clone()));
    }
    edit.push(Change::AddSegment(Arc::clone(segment)));
    edit.push(Change::AdvanceFlushedLsn { collection: segment.collection, lsn: segment.lsn_max });
    edit
}

/// Makes the edits; returns what a reader saw after each that was acknowledged.
fn run(catalog: &Catalog) -> Result<Vec<String>, (Vec<String>, EditError)> {
    let mut seen = Vec::new();
    match steps(catalog, &mut seen) {
        Ok(()) => Ok(seen),
        Err(error) => Err((seen, error)),
    }
}

fn steps(catalog: &Catalog, seen: &mut Vec<String>) -> Result<(), EditError> {
    seen.push(describe(catalog));
    for name in ["a", "b"] {
        let id = catalog.allocate_collection()?;
        catalog.commit(&CatalogEdit::new().with(Change::CreateCollection(new_collection(id, name))))?;
        seen.push(describe(catalog));
        let partition = Partition {
            id: catalog.allocate_partition()?,
            collection: id,
            range: TimeRange { start: 0, end: 100 },
            state: PartitionState::Active,
        };
        let first = new_segment(catalog.allocate_segment()?, &partition, Lsn(1));
        catalog.commit(&flush_edit(Some(&partition), &first))?;
        seen.push(describe(catalog));
        let second = new_segment(catalog.allocate_segment()?, &partition, Lsn(2));
        let edit =
            flush_edit(None, &second).with(Change::RetireSegment { collection: id, segment: first.id });
        catalog.commit(&edit)?;
        seen.push(describe(catalog));
        if name == "a" {
            more_steps(catalog, id, &partition, second.id, seen)?;
        }
        if name == "b" {
            catalog.commit(&CatalogEdit::new().with(Change::DropCollection(id)))?;
            seen.push(describe(catalog));
        }
    }
    Ok(())
}

/// Deleted rows, producers, options, a name and a partition that goes.
fn more_steps(
    catalog: &Catalog,
    collection: CollectionId,
    partition: &Partition,
    segment: SegmentId,
    seen: &mut Vec<String>,
) -> Result<(), EditError> {
    let file = catalog.allocate_segment()?;
    let deleted = DeletedRows { file, row_count: 3, file_bytes: 50, crc32c: 7 };
    let producer = Producer { sequence: 4, lsn: Lsn(2), system_time_us: 77 };
    let options = TimeseriesOptions {
        ttl: Some(CalendarInterval { count: NonZeroU32::MIN, unit: IntervalUnit::Month }),
        ..new_collection(collection, "a").timeseries().clone()
    };
    let edits = [
        CatalogEdit::new()
            .with(Change::SetDeletedRows { collection, segment, deleted })
            .with(Change::PutProducer { name: "p".to_owned(), producer }),
        CatalogEdit::new().with(Change::SetTimeseriesOptions { collection, options }).with(
            Change::RenameCollection { collection, namespace: NAMESPACE_PUBLIC, name: "renamed".to_owned() },
        ),
        CatalogEdit::new()
            .with(Change::CreateNamespace(Namespace {
                id: NAMESPACE,
                name: "other".to_owned(),
                owner: BOOTSTRAP_ROLE,
            }))
            .with(comment(ObjectRef::Namespace(NAMESPACE)))
            .with(comment(ObjectRef::Collection(collection)))
            .with(comment(ObjectRef::Column(collection, ColumnId(2)))),
        CatalogEdit::new()
            .with(Change::DropNamespace(NAMESPACE))
            .with(Change::SetComment { object: ObjectRef::Collection(collection), text: None }),
        CatalogEdit::new()
            .with(Change::DropPartition { collection, partition: partition.id })
            .with(Change::RemoveProducer("p".to_owned())),
    ];
    for edit in edits {
        catalog.commit(&edit)?;
        seen.push(describe(catalog));
    }
    Ok(())
}

const NAMESPACE: NamespaceId = NamespaceId(16999);

fn comment(object: ObjectRef) -> Change {
    Change::SetComment { object, text: Some("said".into()) }
}

fn describe(catalog: &Catalog) -> String {
    let view = catalog.view();
    let collections = view.collections().map(|it| {
        let partitions: Vec<PartitionId> = it.partitions.keys().copied().collect();
        let segments: Vec<_> = it.segments.iter().map(|(id, segment)| (id, segment.deleted)).collect();
        let collection = &it.collection;
        format!(
            "{} {} {:?} {:?} {partitions:?} {segments:?};",
            collection.name,
            collection.id,
            collection.flushed_lsn,
            collection.timeseries().ttl
        )
    });
    let comments: Vec<_> = view.comments().collect();
    let namespaces: Vec<_> = view.namespaces().map(|namespace| &namespace.name).collect();
    format!("{:?} {comments:?} {namespaces:?} {}", view.producers(), collections.collect::<String>())
}

#[test]
fn edits_are_there_after_opening_again() {
    let file = FakeFile::default();
    let seen = run(&open(&file)).unwrap();
    assert_eq!(describe(&open(&file)), *seen.last().unwrap());
}

#[test]
fn a_failing_operation_leaves_the_state_before_or_after() {
    let reference = run(&open(&FakeFile::default())).unwrap();
    for operation in 1.. {
        let file = FakeFile::failing_at(operation);
        let Ok(catalog) = try_open(&file) else { continue };
        let (acknowledged, error) = match run(&catalog) {
            Ok(_) => break,
            Err(failed) => failed,
        };
        assert!(matches!(error, EditError::Storage(_)), "operation {operation}: {error}");
        let again = catalog.allocate_collection().unwrap_err();
        assert!(matches!(again, EditError::Poisoned), "operation {operation}: {again}");
        drop(catalog);
        for unsynced in [Unsynced::Lost, Unsynced::Kept, Unsynced::Torn] {
            let found = describe(&open(&file.after_crash(unsynced)));
            let expected = &reference[acknowledged.len() - 1..=acknowledged.len().min(reference.len() - 1)];
            assert!(expected.contains(&found), "operation {operation}, {unsynced:?}: {found}");
        }
    }
}

#[test]
fn ids_are_never_given_twice_across_crashes() {
    let file = FakeFile::default();
    let first = {
        let catalog = open(&file);
        let crashed = file.after_crash(Unsynced::Lost);
        let given = [catalog.allocate_segment().unwrap(), catalog.allocate_segment().unwrap()];
        // The file as it was before the ids were given must not be what is found later.
        assert_eq!(open(&crashed).allocate_segment().unwrap(), given[0]);
        given
    };
    let later = open(&file.after_crash(Unsynced::Lost)).allocate_segment().unwrap();
    assert!(first.iter().all(|id| *id < later), "{first:?} and then {later}");
}

#[test]
fn edits_that_break_an_invariant_change_nothing() {
    let catalog = open(&FakeFile::default());
    let id = catalog.allocate_collection().unwrap();
    catalog.commit(&CatalogEdit::new().with(Change::CreateCollection(new_collection(id, "a")))).unwrap();
    let partition = |number, start, end| Partition {
        id: PartitionId(number),
        collection: id,
        range: TimeRange { start, end },
        state: PartitionState::Active,
    };
    let base = partition(1, 0, 100);
    let segment = new_segment(SegmentId(1), &base, Lsn(5));
    let delete = |row_count| {
        let deleted = DeletedRows { file: SegmentId(9), row_count, file_bytes: 50, crc32c: 7 };
        Change::SetDeletedRows { collection: id, segment: SegmentId(1), deleted }
    };
    let produce = |sequence| Change::PutProducer {
        name: "p".to_owned(),
        producer: Producer { sequence, lsn: Lsn(5), system_time_us: 1 },
    };
    let edit = flush_edit(Some(&base), &segment).with(delete(3)).with(produce(4));
    catalog.commit(&edit).unwrap();
    let before = describe(&catalog);
    let options = |change: fn(&mut TimeseriesOptions)| {
        let mut options = new_collection(id, "a").timeseries().clone();
        change(&mut options);
        CatalogEdit::new().with(Change::SetTimeseriesOptions { collection: id, options })
    };
    let new_with = |change: fn(&mut TimeseriesOptions)| {
        let mut collection = (*new_collection(CollectionId(9), "other")).clone();
        let CollectionKind::Timeseries(options) = &mut collection.kind;
        change(options);
        CatalogEdit::new().with(Change::CreateCollection(Arc::new(collection)))
    };

    let outside = Arc::new(Segment { id: SegmentId(2), time_max: 100, ..(*segment).clone() });
    let empty = Arc::new(Segment { id: SegmentId(2), row_count: 0, ..(*segment).clone() });
    let above = Arc::new(Segment { id: SegmentId(2), lsn_max: Lsn(6), ..(*segment).clone() });
    let add = |segment: &Arc<Segment>| CatalogEdit::new().with(Change::AddSegment(Arc::clone(segment)));
    let other_type = NewColumn::new("ts", ColumnType::Timestamp(TimeUnit::Nanosecond), Nullability::Required);
    let edits = [
        ("overlap", CatalogEdit::new().with(Change::AddPartition(partition(2, 99, 200)))),
        ("outside its partition", add(&outside)),
        ("no rows", add(&empty)),
        ("above the flushed position", add(&above)),
        ("same id again", add(&segment)),
        ("back", CatalogEdit::new().with(Change::AdvanceFlushedLsn { collection: id, lsn: Lsn(4) })),
        (
            "other type of a column",
            CatalogEdit::new().with(Change::ReplaceSchema {
                collection: id,
                schema: Arc::new(Schema::new(vec![other_type]).unwrap()),
            }),
        ),
        (
            "same name",
            CatalogEdit::new().with(Change::CreateCollection(new_collection(CollectionId(9), "a"))),
        ),
        ("a deleted row comes back", CatalogEdit::new().with(delete(2))),
        (
            "other rows are deleted",
            CatalogEdit::new().with(Change::SetDeletedRows {
                collection: id,
                segment: SegmentId(1),
                deleted: DeletedRows { file: SegmentId(8), row_count: 3, file_bytes: 1, crc32c: 1 },
            }),
        ),
        ("all rows are deleted", CatalogEdit::new().with(delete(10))),
        ("a producer goes back", CatalogEdit::new().with(produce(3))),
        ("another series key", options(|options| options.series_key.clear())),
        ("a key without time", new_with(|options| options.dedup_key = vec![ColumnId(2)])),
        ("a key without the series", new_with(|options| options.dedup_key = vec![ColumnId(1)])),
        ("comment on nothing", CatalogEdit::new().with(comment(ObjectRef::Namespace(NAMESPACE)))),
        ("namespace in use", CatalogEdit::new().with(Change::DropNamespace(NAMESPACE_PUBLIC))),
        (
            "namespace twice",
            CatalogEdit::new().with(Change::CreateNamespace(Namespace {
                id: NAMESPACE,
                name: "public".to_owned(),
                owner: BOOTSTRAP_ROLE,
            })),
        ),
        (
            "no such segment",
            CatalogEdit::new().with(Change::RetireSegment { collection: id, segment: SegmentId(8) }),
        ),
    ];
    for (what, edit) in edits {
        assert!(catalog.commit(&edit).is_err(), "{what}");
        assert_eq!(describe(&catalog), before, "{what}");
    }
}

#[test]
fn comments_go_with_what_they_are_on() {
    let file = FakeFile::default();
    let catalog = open(&file);
    let ids = ["a", "b"].map(|name| {
        let id = catalog.allocate_collection().unwrap();
        let edit = CatalogEdit::new()
            .with(Change::CreateCollection(new_collection(id, name)))
            .with(comment(ObjectRef::Collection(id)))
            .with(comment(ObjectRef::Column(id, ColumnId(1))))
            .with(comment(ObjectRef::Column(id, ColumnId(2))));
        catalog.commit(&edit).unwrap();
        id
    });
    let mut kept = (*new_collection(ids[0], "a")).clone();
    let CollectionKind::Timeseries(options) = &mut kept.kind;
    options.series_key.clear();
    let edit = CatalogEdit::new().with(Change::DropCollection(ids[0])).with(Change::DropCollection(ids[1]));
    catalog.commit(&edit).unwrap();
    // The same again, without a series key, so that the other column can go.
    let edit = CatalogEdit::new()
        .with(Change::CreateCollection(Arc::new(kept.clone())))
        .with(comment(ObjectRef::Column(ids[0], ColumnId(1))))
        .with(comment(ObjectRef::Column(ids[0], ColumnId(2))));
    catalog.commit(&edit).unwrap();
    let schema = Arc::new(kept.schema.without_column(ColumnId(2)).unwrap());
    let edit = CatalogEdit::new().with(Change::ReplaceSchema { collection: ids[0], schema });
    catalog.commit(&edit).unwrap();
    for catalog in [&catalog, &open(&file)] {
        let view = catalog.view();
        let left: Vec<_> = view.comments().collect();
        assert_eq!(left, [(ObjectRef::Column(ids[0], ColumnId(1)), "said")]);
    }
}

#[test]
fn a_view_does_not_change_under_its_reader() {
    let catalog = open(&FakeFile::default());
    let pinned = catalog.view();
    let id = catalog.allocate_collection().unwrap();
    catalog.commit(&CatalogEdit::new().with(Change::CreateCollection(new_collection(id, "a")))).unwrap();
    assert_eq!(pinned.collections().count(), 0);
    assert_eq!(catalog.view().collections().count(), 1);
}

/// Partitions and segments that went with what was dropped are gone from the file too, also those that the
/// same edit brought; others stay.
#[test]
fn what_is_dropped_takes_its_partitions_and_segments_along() {
    let file = FakeFile::default();
    let catalog = open(&file);
    let (kept, dropped) = (catalog.allocate_collection().unwrap(), catalog.allocate_collection().unwrap());
    let mut edit = CatalogEdit::new()
        .with(Change::CreateCollection(new_collection(kept, "kept")))
        .with(Change::CreateCollection(new_collection(dropped, "dropped")));
    let mut partitions = Vec::new();
    for (collection, day) in [(kept, 0), (kept, 1), (kept, 2), (dropped, 0), (dropped, 1)] {
        let id = catalog.allocate_partition().unwrap();
        let range = TimeRange { start: day * 1000, end: (day + 1) * 1000 };
        partitions.push(Partition { id, collection, range, state: PartitionState::Active });
        edit = edit.with(Change::AddPartition(partitions[partitions.len() - 1].clone()));
    }
    let segment_in = |partition: &Partition| {
        let id = catalog.allocate_segment().unwrap();
        let mut segment = Arc::unwrap_or_clone(new_segment(id, partition, Lsn(1)));
        segment.collection = partition.collection;
        Change::AddSegment(Arc::new(segment))
    };
    for collection in [kept, dropped] {
        edit = edit.with(Change::AdvanceFlushedLsn { collection, lsn: Lsn(1) });
    }
    for partition in &partitions {
        edit = edit.with(segment_in(partition)).with(segment_in(partition));
    }
    catalog.commit(&edit).unwrap();
    let drop_partition = |at: usize| Change::DropPartition { collection: kept, partition: partitions[at].id };
    let edit = CatalogEdit::new()
        .with(segment_in(&partitions[0]))
        .with(segment_in(&partitions[1]))
        .with(segment_in(&partitions[3]))
        .with(drop_partition(0))
        .with(drop_partition(2))
        .with(Change::DropCollection(dropped));
    catalog.commit(&edit).unwrap();
    let before = describe(&catalog);
    let left = catalog.view();
    let left = left.collection(kept).unwrap();
    assert_eq!((left.partitions.len(), left.segments.len()), (1, 3), "{before}");
    drop(catalog);
    // A record without its collection or partition would be refused here.
    assert_eq!(describe(&open(&file)), before);
}
