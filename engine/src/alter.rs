//! Changing collections while they are read and written.
//!
//! 1. Under the `ddl` lock, what the collection shall be is made from what it is.
//! 2. Columns that are to be NOT NULL: from here on the runtime refuses rows without a value. When all
//!    commits before that are visible, the rows are looked at; one without a value ends it here.
//! 3. The runtime learns of new columns, so that whoever hears of one finds its dictionary and its
//!    missing value.
//! 4. One edit of the catalog changes everything. A crash before it changes nothing.
//! 5. The runtime takes over what the catalog says; what was lost is forgotten.
//!
//! No row is rewritten: see [`crate::missing`]. Rows of a dropped column are not read any more.

use std::sync::Arc;

use tidemark_catalog::collection::Collection;
use tidemark_catalog::edit::{CatalogEdit, Change};
use tidemark_catalog::error::EditError;
use tidemark_catalog::ids::{CollectionId, Lsn};
use tidemark_catalog::schema::{Column, NewColumn, Nullability, may_become};

use crate::collection::CollectionRuntime;
use crate::engine::{Engine, Inner};
use crate::error::DdlError;
use crate::read::predicate::Predicate;
use crate::read::{RowIds, ScanRequest, plan};

impl Engine {
    /// Changes a collection to what `change` makes of it: its columns, by the methods of
    /// [`Schema`](tidemark_catalog::schema::Schema), its name, owner and options. All of it is there
    /// when this returns, or nothing. Blocks while the catalog is written, and while rows are looked at
    /// for columns that become NOT NULL.
    ///
    /// # Errors
    /// `change` says no, the collection does not exist, loses a column of a key or has NULL where none
    /// may be, or the catalog fails.
    pub fn alter<E: From<DdlError>>(
        &self,
        id: CollectionId,
        change: impl FnOnce(&Collection) -> Result<Collection, E>,
    ) -> Result<Arc<Collection>, E> {
        let inner = &self.inner;
        let _ddl = inner.lock_ddl();
        let runtime = inner.runtime(id).ok_or(EditError::NoCollection(id)).map_err(DdlError::from)?;
        let before = Arc::clone(&runtime.lock().collection);
        let after = change(&before)?;
        if let Some(lost) = lost_key(&before, &after) {
            return Err(DdlError::KeyColumn(lost.name.clone()).into());
        }
        let edit = edit(&before, &after);
        if edit.is_empty() {
            return Ok(before);
        }
        let altered = self.alter_prepared(&runtime, &before, &after, &edit);
        if altered.is_err() {
            runtime.adopt(&before).map_err(DdlError::from)?;
        }
        Ok(altered?)
    }

    fn alter_prepared(
        &self,
        runtime: &CollectionRuntime,
        before: &Collection,
        after: &Collection,
        edit: &CatalogEdit,
    ) -> Result<Arc<Collection>, DdlError> {
        let required = becoming_required(before, after);
        runtime.prepare(after, required.clone())?;
        if !required.is_empty() {
            self.check_rows(before, &required)?;
        }
        fail::fail_point!("alter::before_edit");
        let view = self.inner.commit_edit(edit)?;
        let known = view.collection(before.id).ok_or(EditError::NoCollection(before.id))?;
        fail::fail_point!("alter::after_edit");
        runtime.adopt(&known.collection)?;
        Ok(Arc::clone(&known.collection))
    }

    /// Looks for rows without a value in these columns, some of which the collection may not have yet.
    fn check_rows(&self, collection: &Collection, required: &[Column]) -> Result<(), DdlError> {
        wait_for_commits(&self.inner)?;
        let snapshot = self.snapshot(&[collection.id])?;
        let snapshot = snapshot.collection(collection.id).expect("it was taken of this collection");
        for column in required {
            let is_there = collection.schema.column(column.id).is_some();
            let is_null = Predicate::IsNull { column: column.id, wanted: true };
            // A column that is new and has no value of its own is NULL in all rows.
            let predicates = if is_there { vec![is_null] } else { Vec::new() };
            let request = ScanRequest {
                columns: Vec::new(),
                predicates,
                batch_rows: BATCH_ROWS,
                row_ids: RowIds::NotGiven,
            };
            let scan = plan(snapshot, request)?;
            for unit in scan.units() {
                if let Some(found) = scan.read(unit)?.next() {
                    found?;
                    let (relation, column) = (collection.name.clone(), column.name.clone());
                    return Err(DdlError::ContainsNull { relation, column });
                }
            }
        }
        Ok(())
    }

    /// Adds columns; a column that is there already under the same name and type is left alone, so
    /// that two writers may add the same one.
    ///
    /// # Errors
    /// The collection does not exist, a name is taken by a column of another type, or the catalog
    /// fails.
    pub fn add_columns(
        &self,
        id: CollectionId,
        columns: Vec<NewColumn>,
    ) -> Result<Arc<Collection>, DdlError> {
        self.alter(id, |collection| {
            let is_new = |column: &NewColumn| {
                let known = collection.schema.column_by_name(&column.name);
                // A symbol column may have become one of text since its writer looked.
                known.is_none_or(|known| !may_become(&column.column_type, &known.column_type))
            };
            let columns: Vec<NewColumn> = columns.into_iter().filter(is_new).collect();
            if columns.is_empty() {
                return Ok(collection.clone());
            }
            let schema = Arc::new(collection.schema.with_columns(columns)?);
            Ok(Collection { schema, ..collection.clone() })
        })
    }
}

/// Rows that are looked at together.
const BATCH_ROWS: usize = 8192;

/// The edit that makes one collection of the other. Identity and kind stay, and what the engine itself
/// says of the collection is the engine's.
fn edit(before: &Collection, after: &Collection) -> CatalogEdit {
    let collection = before.id;
    let mut edit = CatalogEdit::new();
    if before.schema != after.schema {
        edit.push(Change::ReplaceSchema { collection, schema: Arc::clone(&after.schema) });
    }
    if (before.namespace, &before.name) != (after.namespace, &after.name) {
        let (namespace, name) = (after.namespace, after.name.clone());
        edit.push(Change::RenameCollection { collection, namespace, name });
    }
    if before.owner != after.owner {
        edit.push(Change::SetOwner { collection, owner: after.owner });
    }
    if before.timeseries() != after.timeseries() {
        let options = after.timeseries().clone();
        edit.push(Change::SetTimeseriesOptions { collection, options });
    }
    edit
}

fn lost_key<'a>(before: &'a Collection, after: &Collection) -> Option<&'a Column> {
    let columns = before.schema.columns().iter();
    let mut lost = columns.filter(|column| after.schema.column(column.id).is_none());
    lost.find(|column| before.timeseries().is_key(column.id))
}

/// Columns that are NOT NULL afterwards, and of which that is not known of all rows.
fn becoming_required(before: &Collection, after: &Collection) -> Vec<Column> {
    let columns = after.schema.columns().iter();
    let required = columns.filter(|column| column.nullability == Nullability::Required);
    let open = required.filter(|column| match before.schema.column(column.id) {
        Some(known) => known.nullability == Nullability::Nullable,
        None => column.missing.is_none(),
    });
    open.cloned().collect()
}

/// Waits until every commit that was begun is visible.
fn wait_for_commits(inner: &Inner) -> Result<(), DdlError> {
    let last = Lsn(inner.wal.next_lsn().0 - 1);
    inner.make_log_durable(last).map_err(DdlError::Wait)
}
