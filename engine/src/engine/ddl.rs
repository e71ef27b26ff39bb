//! Collections come and go. What changes one that stays is in [`crate::alter`].

use std::sync::Arc;
use std::time::Duration;

use tidemark_catalog::collection::{Collection, CollectionKind, TimeseriesOptions};
use tidemark_catalog::edit::{CatalogEdit, Change};
use tidemark_catalog::error::EditError;
use tidemark_catalog::ids::{CollectionId, Lsn, NamespaceId, RoleId};
use tidemark_catalog::schema::{NewColumn, Schema};

use super::Engine;
use crate::collection::CollectionRuntime;
use crate::error::DdlError;
use crate::jobs::Job;
use crate::memtable::Memtable;

/// What a new time-series collection shall be.
#[derive(Clone, Debug)]
pub struct NewTimeseries {
    /// Where its name is looked up.
    pub namespace: NamespaceId,
    /// Its name.
    pub name: String,
    /// Who owns it.
    pub owner: RoleId,
    /// Its columns; they get their ids in this order, from 1.
    pub columns: Vec<NewColumn>,
    /// Its keys, by those ids.
    pub options: TimeseriesOptions,
}

impl Engine {
    /// Makes a collection; it is there when this returns.
    ///
    /// # Errors
    /// The name is taken, the columns contradict each other, or the catalog fails.
    pub fn create_collection(&self, new: NewTimeseries) -> Result<Arc<Collection>, DdlError> {
        let inner = &self.inner;
        let _ddl = inner.lock_ddl();
        let collection = Arc::new(Collection {
            id: inner.catalog.allocate_collection()?,
            namespace: new.namespace,
            name: new.name,
            owner: new.owner,
            schema: Arc::new(Schema::new(new.columns)?),
            kind: CollectionKind::Timeseries(new.options),
            flushed_lsn: Lsn::ZERO,
        });
        inner.commit_edit(&CatalogEdit::new().with(Change::CreateCollection(Arc::clone(&collection))))?;
        let runtime = CollectionRuntime::new(Arc::clone(&collection), Vec::new(), &inner.budget)?;
        inner.lock_collections_mut().insert(collection.id, Arc::new(runtime));
        Ok(collection)
    }

    /// An id for a new object that SQL names, never given before.
    ///
    /// # Errors
    /// The catalog fails.
    pub fn allocate_object(&self) -> Result<u32, EditError> {
        self.inner.catalog.allocate_collection().map(|id| id.0)
    }

    /// Removes collections with all they have, all or none. Snapshots that pin them go on.
    ///
    /// # Errors
    /// A collection does not exist, or the catalog fails.
    pub fn drop_collections(&self, ids: &[CollectionId]) -> Result<(), DdlError> {
        self.drop_with(ids, Vec::new())
    }

    /// The same, with changes of the catalog that the engine does not look at.
    ///
    /// # Errors
    /// A collection does not exist, or the catalog does not take the changes.
    pub fn drop_with(&self, ids: &[CollectionId], more: Vec<Change>) -> Result<(), DdlError> {
        let inner = &self.inner;
        if ids.is_empty() && more.is_empty() {
            return Ok(());
        }
        let _ddl = inner.lock_ddl();
        let find = |id: &CollectionId| inner.runtime(*id).ok_or(EditError::NoCollection(*id));
        let runtimes = ids.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        let mut edit = CatalogEdit::new();
        ids.iter().for_each(|id| edit.push(Change::DropCollection(*id)));
        more.into_iter().for_each(|change| edit.push(change));
        inner.commit_edit(&edit)?;
        for runtime in runtimes {
            let _publishing = runtime.begin_publishing();
            inner.lock_collections_mut().remove(&runtime.id);
            let mut state = runtime.lock();
            state.dropped = true;
            state.active = Memtable::default();
            let frozen = std::mem::take(&mut state.frozen);
            let staged = frozen.iter().flat_map(|frozen| &frozen.staged);
            for handle in std::mem::take(&mut state.segments).iter().chain(staged) {
                handle.retire();
            }
        }
        inner.executor.submit(Job::CollectGarbage, Duration::ZERO);
        inner.executor.submit(Job::TruncateLog, Duration::ZERO);
        Ok(())
    }
}
