//! Changes of a collection while others write to it and read it.

use std::sync::Arc;

use tidemark_catalog::collection::Collection;
use tidemark_catalog::ids::ColumnId;
use tidemark_catalog::schema::{NewColumn, Nullability};
use tidemark_catalog::types::ColumnType;
use tidemark_engine::engine::{Durability, Write};
use tidemark_engine::env::sim::World;
use tidemark_engine::error::{DdlError, ReadError, WriteError};
use tidemark_engine::read::plan;

use crate::harness::{Harness, request};
use crate::model::Rows;

fn harness() -> Harness {
    let mut harness = Harness::new(World::new(9)).with_memtable_bytes(1 << 20);
    harness.open();
    harness
}

fn set_nullability(collection: &Collection, id: ColumnId, nullability: Nullability) -> Collection {
    let schema = collection.schema.with_changed_column(id, |column| column.nullability = nullability);
    Collection { schema: Arc::new(schema.unwrap()), ..collection.clone() }
}

fn without(collection: &Collection, id: ColumnId) -> Collection {
    Collection { schema: Arc::new(collection.schema.without_column(id).unwrap()), ..collection.clone() }
}

/// The symbol column; every fifth row of a batch has NULL in it.
const HOST: ColumnId = ColumnId(3);
const VALUE: ColumnId = ColumnId(4);

#[test]
fn a_column_of_a_key_stays() {
    let harness = harness();
    let id = harness.collection("a").unwrap().id;
    for column in [ColumnId(1), HOST] {
        let dropped = harness.engine().alter(id, |it| Ok::<_, DdlError>(without(it, column)));
        assert!(matches!(dropped, Err(DdlError::KeyColumn(_))), "{dropped:?}");
    }
    assert_eq!(harness.collection("a").unwrap().schema.version().0, 1);
}

#[test]
fn rows_that_were_made_before_a_column_became_not_null_are_looked_at_again() {
    let mut harness = harness();
    let id = harness.collection("a").unwrap().id;
    let with_null = harness.batch("a", 5, &mut Rows::new());
    let mut bulk = harness.engine().bulk_write(id).unwrap();
    for _ in 0..14 {
        bulk.write(harness.wide_batch("a", 30, &mut Rows::new())).unwrap();
    }
    let required = |it: &Collection| Ok::<_, DdlError>(set_nullability(it, HOST, Nullability::Required));
    harness.engine().alter(id, required).unwrap();
    let refused = harness.engine().write(vec![Write::new(id, with_null)], Durability::Synced);
    assert!(matches!(refused, Err(WriteError::NullInRequiredColumn { .. })), "{refused:?}");
    let refused = bulk.finish(Durability::Synced);
    assert!(matches!(refused, Err(WriteError::NullInRequiredColumn { .. })), "{refused:?}");
    assert!(harness.rows().is_empty());
}

#[test]
fn a_column_with_null_in_it_does_not_become_not_null() {
    let mut harness = harness();
    let id = harness.collection("a").unwrap().id;
    let batch = harness.batch("a", 5, &mut Rows::new());
    let mut ticket = harness.engine().write(vec![Write::new(id, batch)], Durability::Synced).unwrap();
    let required = |it: &Collection| Ok::<_, DdlError>(set_nullability(it, HOST, Nullability::Required));
    // The commit is not visible yet; it is waited for.
    let refused = harness.engine().alter(id, required);
    assert!(
        matches!(&refused, Err(DdlError::ContainsNull { column, .. }) if column == "host"),
        "{refused:?}"
    );
    assert!(ticket.poll().is_some_and(|committed| committed.is_ok()));
    // It is as it was: NULL is taken.
    let batch = harness.batch("a", 5, &mut Rows::new());
    harness.engine().write(vec![Write::new(id, batch)], Durability::Synced).unwrap();
    let new = || NewColumn::new("new", ColumnType::Int4, Nullability::Required);
    let refused = harness.engine().add_columns(id, vec![new()]);
    assert!(matches!(&refused, Err(DdlError::ContainsNull { column, .. }) if column == "new"), "{refused:?}");
    // Without rows there is nothing to be NULL.
    let empty = harness.collection("b").unwrap().id;
    harness.engine().add_columns(empty, vec![new()]).unwrap();
}

#[test]
fn who_planned_to_read_a_column_that_was_dropped_is_told() {
    let harness = harness();
    let id = harness.collection("a").unwrap().id;
    let before = harness.engine().snapshot(&[id]).unwrap();
    harness.engine().alter(id, |it| Ok::<_, DdlError>(without(it, VALUE))).unwrap();
    let after = harness.engine().snapshot(&[id]).unwrap();
    let request = request(vec![VALUE]);
    assert!(plan(before.collection(id).unwrap(), request.clone()).is_ok());
    let gone = plan(after.collection(id).unwrap(), request).unwrap_err();
    assert!(matches!(gone, ReadError::NoSuchColumn(VALUE)), "{gone}");
}
