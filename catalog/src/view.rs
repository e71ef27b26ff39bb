//! The catalog at one moment, shared by readers and never changed.
//!
//! An edit builds the next view from the present one; what the edit does not touch is shared
//! between both, so a reader pins a whole consistent catalog for the price of one reference.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::collection::{Collection, CollectionKind};
use crate::comment::ObjectRef;
use crate::edit::{CatalogEdit, Change};
use crate::error::EditError;
use crate::ids::{CollectionId, Lsn, NamespaceId, PartitionId, RoleId, SegmentId};
use crate::partition::Partition;
use crate::producer::Producer;
use crate::role::Role;
use crate::segment::Segment;

/// A schema in SQL's sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its identity for ever.
    pub id: NamespaceId,
    /// Its name.
    pub name: String,
    /// Who owns it.
    pub owner: RoleId,
}

/// One collection with its partitions and its manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct CollectionView {
    /// What it is.
    pub collection: Arc<Collection>,
    /// Its partitions.
    pub partitions: Arc<BTreeMap<PartitionId, Partition>>,
    /// The manifest: its live segments.
    pub segments: Arc<BTreeMap<SegmentId, Arc<Segment>>>,
}

/// The catalog at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub(crate) version: u64,
    pub(crate) namespaces: Arc<BTreeMap<NamespaceId, Namespace>>,
    pub(crate) roles: Arc<BTreeMap<RoleId, Role>>,
    pub(crate) settings: Arc<BTreeMap<String, String>>,
    pub(crate) producers: Arc<BTreeMap<String, Producer>>,
    pub(crate) comments: Arc<BTreeMap<ObjectRef, Arc<str>>>,
    pub(crate) collections: BTreeMap<CollectionId, CollectionView>,
    pub(crate) names: HashMap<(NamespaceId, String), CollectionId>,
}

impl View {
    /// Grows by one with every edit since the catalog was opened; equal versions are equal views.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The namespaces, by id.
    pub fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        self.namespaces.values()
    }

    /// The namespace with this name, compared exactly.
    pub fn namespace_by_name(&self, name: &str) -> Option<&Namespace> {
        self.namespaces.values().find(|namespace| namespace.name == name)
    }

    /// The roles, by id.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.values()
    }

    /// The role with this name, compared exactly.
    pub fn role_by_name(&self, name: &str) -> Option<&Role> {
        self.roles.values().find(|role| role.name == name)
    }

    /// The value that was stored under this name.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    /// The last batch of each producer, by name, as far as the log below the first file that is kept
    /// has it.
    pub fn producers(&self) -> &BTreeMap<String, Producer> {
        &self.producers
    }

    /// What is said of objects.
    pub fn comments(&self) -> impl Iterator<Item = (ObjectRef, &str)> {
        self.comments.iter().map(|(object, text)| (*object, &**text))
    }

    /// What is said of an object.
    pub fn comment(&self, object: ObjectRef) -> Option<&str> {
        self.comments.get(&object).map(|text| &**text)
    }

    /// Whether there is such an object.
    pub fn has(&self, object: ObjectRef) -> bool {
        match object {
            ObjectRef::Namespace(id) => self.namespaces.contains_key(&id),
            ObjectRef::Collection(id) => self.collections.contains_key(&id),
            ObjectRef::Column(id, column) => {
                self.collection(id).is_some_and(|view| view.collection.schema.column(column).is_some())
            }
        }
    }

    /// The collections, by id.
    pub fn collections(&self) -> impl Iterator<Item = &CollectionView> {
        self.collections.values()
    }

    /// The collection with this id.
    pub fn collection(&self, id: CollectionId) -> Option<&CollectionView> {
        self.collections.get(&id)
    }

    /// The collection with this name in this namespace, compared exactly.
    pub fn collection_by_name(&self, namespace: NamespaceId, name: &str) -> Option<&CollectionView> {
        // The key is owned because a tuple of borrowed parts does not hash as the stored one.
        let id = self.names.get(&(namespace, name.to_owned()))?;
        self.collections.get(id)
    }

    /// The highest commit that any segment or flush position speaks of: the log goes on above it.
    pub fn lsn_max(&self) -> Lsn {
        self.collections.values().map(|view| view.collection.flushed_lsn).max().unwrap_or(Lsn::ZERO)
    }

    /// The view after the edit. Checks that what the edit names is there; the rules of
    /// [`crate::invariants`] are checked by the caller.
    pub(crate) fn apply(&self, edit: &CatalogEdit) -> Result<View, EditError> {
        let mut next = self.clone();
        next.version += 1;
        for change in &edit.changes {
            next.apply_change(change)?;
        }
        Ok(next)
    }

    fn apply_change(&mut self, change: &Change) -> Result<(), EditError> {
        match change {
            Change::CreateNamespace(namespace) => {
                if self.namespace_by_name(&namespace.name).is_some() {
                    return Err(EditError::NamespaceExists(namespace.name.clone()));
                }
                let old = Arc::make_mut(&mut self.namespaces).insert(namespace.id, namespace.clone());
                if old.is_some() { Err(EditError::IdInUse("a namespace")) } else { Ok(()) }
            }
            Change::DropNamespace(id) => self.drop_namespace(*id),
            Change::PutRole(role) => {
                if self.roles.values().any(|other| other.name == role.name && other.id != role.id) {
                    return Err(EditError::RoleExists(role.name.clone()));
                }
                Arc::make_mut(&mut self.roles).insert(role.id, role.clone());
                Ok(())
            }
            Change::PutSetting { name, value } => {
                Arc::make_mut(&mut self.settings).insert(name.clone(), value.clone());
                Ok(())
            }
            Change::CreateCollection(collection) => self.create_collection(collection),
            Change::DropCollection(id) => {
                let dropped = self.collections.remove(id).ok_or(EditError::NoCollection(*id))?;
                let collection = &dropped.collection;
                self.names.remove(&(collection.namespace, collection.name.clone()));
                self.forget_comments_on_nothing();
                Ok(())
            }
            Change::ReplaceSchema { collection, schema } => {
                let view = self.collection_mut(*collection)?;
                Arc::make_mut(&mut view.collection).schema = Arc::clone(schema);
                self.forget_comments_on_nothing();
                Ok(())
            }
            Change::RenameCollection { collection, namespace, name } => {
                self.rename_collection(*collection, *namespace, name)
            }
            Change::SetTimeseriesOptions { collection, options } => {
                let view = self.collection_mut(*collection)?;
                Arc::make_mut(&mut view.collection).kind = CollectionKind::Timeseries(options.clone());
                Ok(())
            }
            Change::SetOwner { collection, owner } => {
                let view = self.collection_mut(*collection)?;
                Arc::make_mut(&mut view.collection).owner = *owner;
                Ok(())
            }
            Change::SetComment { object, text } => {
                let comments = Arc::make_mut(&mut self.comments);
                match text {
                    Some(text) => comments.insert(*object, Arc::clone(text)),
                    None => comments.remove(object),
                };
                Ok(())
            }
            Change::AdvanceFlushedLsn { collection, lsn } => {
                let view = self.collection_mut(*collection)?;
                Arc::make_mut(&mut view.collection).flushed_lsn = *lsn;
                Ok(())
            }
            Change::AddPartition(partition) => {
                let view = self.collection_mut(partition.collection)?;
                let old = Arc::make_mut(&mut view.partitions).insert(partition.id, partition.clone());
                if old.is_some() { Err(EditError::IdInUse("a partition")) } else { Ok(()) }
            }
            Change::DropPartition { collection, partition } => {
                let view = self.collection_mut(*collection)?;
                let old = Arc::make_mut(&mut view.partitions).remove(partition);
                Arc::make_mut(&mut view.segments).retain(|_, segment| segment.partition != *partition);
                old.map(|_| ()).ok_or(EditError::NoPartition(*partition))
            }
            Change::AddSegment(segment) => {
                let view = self.collection_mut(segment.collection)?;
                if !view.partitions.contains_key(&segment.partition) {
                    return Err(EditError::NoPartition(segment.partition));
                }
                let old = Arc::make_mut(&mut view.segments).insert(segment.id, Arc::clone(segment));
                if old.is_some() { Err(EditError::IdInUse("a segment")) } else { Ok(()) }
            }
            Change::RetireSegment { collection, segment } => {
                let view = self.collection_mut(*collection)?;
                let old = Arc::make_mut(&mut view.segments).remove(segment);
                old.map(|_| ()).ok_or(EditError::NoSegment(*segment))
            }
            Change::SetDeletedRows { collection, segment, deleted } => {
                let view = self.collection_mut(*collection)?;
                let found = Arc::make_mut(&mut view.segments).get_mut(segment);
                let found = found.ok_or(EditError::NoSegment(*segment))?;
                Arc::make_mut(found).deleted = Some(*deleted);
                Ok(())
            }
            Change::PutProducer { name, producer } => {
                Arc::make_mut(&mut self.producers).insert(name.clone(), *producer);
                Ok(())
            }
            Change::RemoveProducer(name) => {
                Arc::make_mut(&mut self.producers).remove(name);
                Ok(())
            }
        }
    }

    fn drop_namespace(&mut self, id: NamespaceId) -> Result<(), EditError> {
        if self.collections.values().any(|view| view.collection.namespace == id) {
            return Err(EditError::NamespaceInUse(id));
        }
        let old = Arc::make_mut(&mut self.namespaces).remove(&id);
        self.forget_comments_on_nothing();
        old.map(|_| ()).ok_or(EditError::NoNamespace(id))
    }

    fn forget_comments_on_nothing(&mut self) {
        if self.comments.keys().all(|object| self.has(*object)) {
            return;
        }
        let left = self.comments.iter().filter(|(object, _)| self.has(**object));
        self.comments = Arc::new(left.map(|(object, text)| (*object, Arc::clone(text))).collect());
    }

    fn rename_collection(
        &mut self,
        id: CollectionId,
        namespace: NamespaceId,
        name: &str,
    ) -> Result<(), EditError> {
        if !self.namespaces.contains_key(&namespace) {
            return Err(EditError::NoNamespace(namespace));
        }
        let new = (namespace, name.to_owned());
        if self.names.get(&new).is_some_and(|holder| *holder != id) {
            return Err(EditError::CollectionExists(name.to_owned()));
        }
        let collection = Arc::make_mut(&mut self.collection_mut(id)?.collection);
        let old = (collection.namespace, std::mem::replace(&mut collection.name, name.to_owned()));
        collection.namespace = namespace;
        self.names.remove(&old);
        self.names.insert(new, id);
        Ok(())
    }

    fn create_collection(&mut self, collection: &Arc<Collection>) -> Result<(), EditError> {
        if !self.namespaces.contains_key(&collection.namespace) {
            return Err(EditError::NoNamespace(collection.namespace));
        }
        if self.collections.contains_key(&collection.id) {
            return Err(EditError::IdInUse("a collection"));
        }
        let name = (collection.namespace, collection.name.clone());
        if self.names.contains_key(&name) {
            return Err(EditError::CollectionExists(collection.name.clone()));
        }
        self.names.insert(name, collection.id);
        let view = CollectionView {
            collection: Arc::clone(collection),
            partitions: Arc::default(),
            segments: Arc::default(),
        };
        self.collections.insert(collection.id, view);
        Ok(())
    }

    fn collection_mut(&mut self, id: CollectionId) -> Result<&mut CollectionView, EditError> {
        self.collections.get_mut(&id).ok_or(EditError::NoCollection(id))
    }
}
