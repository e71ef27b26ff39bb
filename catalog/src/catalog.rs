//! The open catalog: one writer at a time, readers never wait.
//!
//! Lock order: `writer`, then `ids`, then `view`. The view's lock is held only to copy or swap
//! one reference.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::edit::{CatalogEdit, Change};
use crate::error::{EditError, OpenError};
use crate::format::Counters;
use crate::ids::{
    BOOTSTRAP_ROLE, CollectionId, NAMESPACE_PUBLIC, NAMESPACE_TIDEMARK, PartitionId, SegmentId,
};
use crate::invariants;
use crate::role::{Role, ScramVerifier};
use crate::store::{CatalogFile, Store};
use crate::view::{Namespace, View};

/// Ids of segments and partitions are made durable this many at a time: a crash skips what is left
/// of a block, and a flush rarely pays for a commit of its own.
const IDS_PER_COMMIT: u64 = 256;

/// What a new data directory starts with.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// The name of the first superuser.
    pub superuser: String,
    /// What its password is checked with, where one was given.
    pub verifier: Option<ScramVerifier>,
    /// A number that tells this data directory from all others.
    pub system_identifier: u64,
}

/// The name of the setting that holds [`Bootstrap::system_identifier`].
pub const SYSTEM_IDENTIFIER: &str = "system_identifier";

/// The first ids that were not given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdBounds {
    /// Of collections.
    pub collection: CollectionId,
    /// Of partitions.
    pub partition: PartitionId,
    /// Of segments, and of files of deleted rows.
    pub segment: SegmentId,
}

/// The open catalog.
#[derive(Debug)]
pub struct Catalog {
    writer: Mutex<Writer>,
    ids: Mutex<Ids>,
    view: RwLock<Arc<View>>,
}

#[derive(Debug)]
struct Writer {
    store: Store,
    /// Set by the first failure in storage and never cleared.
    poisoned: bool,
}

#[derive(Debug)]
struct Ids {
    /// Above every id given out.
    next: Counters,
    /// Above every id that may be given out before the counters are written again.
    durable: Counters,
}

impl Catalog {
    /// Opens the catalog in the file; an empty file becomes a new catalog with `bootstrap` in it.
    ///
    /// # Errors
    /// The storage fails, a record is damaged or newer than this server, or an invariant is broken.
    pub fn open(
        file: Box<dyn CatalogFile>,
        bootstrap: impl FnOnce() -> Bootstrap,
    ) -> Result<Catalog, OpenError> {
        let (store, view, counters) = Store::open(file)?;
        invariants::check(&view)?;
        let fresh = view.namespaces.is_empty();
        let catalog = Catalog {
            writer: Mutex::new(Writer { store, poisoned: false }),
            ids: Mutex::new(Ids { next: counters, durable: counters }),
            view: RwLock::new(Arc::new(view)),
        };
        if fresh {
            catalog.bootstrap(bootstrap()).map_err(|error| match error {
                EditError::Storage(error) => OpenError::Database(error),
                EditError::Invariant(error) => OpenError::Invariant(error),
                other => unreachable!("an empty catalog conflicts with nothing: {other}"),
            })?;
        }
        Ok(catalog)
    }

    fn bootstrap(&self, bootstrap: Bootstrap) -> Result<(), EditError> {
        let Bootstrap { superuser, verifier, system_identifier } = bootstrap;
        let role = Role { id: BOOTSTRAP_ROLE, name: superuser, superuser: true, login: true, verifier };
        let namespace = |id, name: &str| Namespace { id, name: name.to_owned(), owner: BOOTSTRAP_ROLE };
        let edit = CatalogEdit::new()
            .with(Change::PutRole(role))
            .with(Change::CreateNamespace(namespace(NAMESPACE_PUBLIC, "public")))
            .with(Change::CreateNamespace(namespace(NAMESPACE_TIDEMARK, "tidemark")))
            .with(Change::PutSetting {
                name: SYSTEM_IDENTIFIER.to_owned(),
                value: system_identifier.to_string(),
            });
        self.commit(&edit).map(|_| ())
    }

    /// The catalog now. Later edits do not change what was returned.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Numbers above every id that was given out.
    pub fn id_bounds(&self) -> IdBounds {
        let Counters { next_object, next_partition, next_segment } =
            self.ids.lock().unwrap_or_else(PoisonError::into_inner).durable;
        IdBounds {
            collection: CollectionId(next_object),
            partition: PartitionId(next_partition),
            segment: SegmentId(next_segment),
        }
    }

    /// Makes the edit: durable and seen by every later [`Catalog::view`] when this returns, or
    /// nothing at all.
    ///
    /// # Errors
    /// The edit conflicts with what is there, breaks an invariant, or the storage fails.
    pub fn commit(&self, edit: &CatalogEdit) -> Result<Arc<View>, EditError> {
        let mut writer = self.lock_writer()?;
        let current = self.view();
        let next = current.apply(edit)?;
        invariants::check_transition(&current, &next)?;
        writer.write(|store| store.commit(edit, &current, &next))?;
        let next = Arc::new(next);
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&next);
        Ok(next)
    }

    /// An id for a new collection, never given before.
    ///
    /// # Errors
    /// The storage fails.
    pub fn allocate_collection(&self) -> Result<CollectionId, EditError> {
        self.allocate(1, |counters| &mut counters.next_object).map(CollectionId)
    }

    /// An id for a new partition, never given before.
    ///
    /// # Errors
    /// The storage fails.
    pub fn allocate_partition(&self) -> Result<PartitionId, EditError> {
        self.allocate(IDS_PER_COMMIT, |counters| &mut counters.next_partition).map(PartitionId)
    }

    /// An id for a new segment, never given before, so that its file is new too.
    ///
    /// # Errors
    /// The storage fails.
    pub fn allocate_segment(&self) -> Result<SegmentId, EditError> {
        self.allocate(IDS_PER_COMMIT, |counters| &mut counters.next_segment).map(SegmentId)
    }

    /// Takes the next id of a counter, after moving the durable counter `block` ahead of it where
    /// that has not been done.
    fn allocate<I>(&self, block: I, counter: impl Fn(&mut Counters) -> &mut I) -> Result<I, EditError>
    where
        I: Copy + PartialOrd + std::ops::Add<Output = I> + From<u8>,
    {
        let mut writer = self.lock_writer()?;
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let id = *counter(&mut ids.next);
        if id >= *counter(&mut ids.durable) {
            let mut durable = ids.durable;
            *counter(&mut durable) = id + block;
            writer.write(|store| store.commit_counters(durable))?;
            ids.durable = durable;
        }
        *counter(&mut ids.next) = id + I::from(1);
        Ok(id)
    }

    fn lock_writer(&self) -> Result<MutexGuard<'_, Writer>, EditError> {
        // A panic while the lock was held may have left the file behind the view: stay closed.
        let writer = self.writer.lock().map_err(|_| EditError::Poisoned)?;
        if writer.poisoned { Err(EditError::Poisoned) } else { Ok(writer) }
    }
}

impl Writer {
    fn write(&mut self, write: impl FnOnce(&Store) -> Result<(), EditError>) -> Result<(), EditError> {
        let written = write(&self.store);
        self.poisoned = written.is_err();
        written
    }
}
