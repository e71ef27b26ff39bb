//! The catalog's file: a redb database, one table per kind of record.
//!
//! ```text
//! counters     ""            → Counters      namespaces   id → Namespace
//! settings     name          → text          roles        id → Role
//! collections  id → Collection               partitions   id → Partition
//! segments     id → Segment                  producers    name → Producer
//! comments     object → Comment
//! ```
//!
//! Commits are two-phase: the new root is synced before it is made the current one, so that a torn
//! header page cannot be taken for a commit. After a failed write redb refuses everything until
//! it is opened again, and so does this module.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::sync::Arc;

use redb::{Database, ReadableTable, TableDefinition, WriteTransaction};

use crate::collection::Collection;
use crate::edit::{CatalogEdit, Change};
use crate::error::{EditError, OpenError, RecordError};
use crate::format::{Comment, Counters, Record, Setting, comment_key, decode, encode};
use crate::ids::{CollectionId, FIRST_OBJECT_ID};
use crate::partition::Partition;
use crate::producer::Producer;
use crate::role::Role;
use crate::segment::Segment;
use crate::view::{CollectionView, Namespace, View};

const COUNTERS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("counters");
const SETTINGS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("settings");
const NAMESPACES: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("namespaces");
const ROLES: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("roles");
const COLLECTIONS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("collections");
const PARTITIONS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("partitions");
const PRODUCERS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("producers");
const COMMENTS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("comments");
const SEGMENTS: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("segments");

/// The one row of the counters' table.
const COUNTERS_KEY: &str = "";

/// Memory that redb may use for pages; the catalog is small and also held in [`View`].
const CACHE_BYTES: usize = 16 << 20;

/// The file below the catalog: what redb needs of storage. A crash test puts its own here.
pub trait CatalogFile: fmt::Debug + Send + Sync + 'static {
    /// The length in bytes.
    ///
    /// # Errors
    /// As the storage says.
    fn byte_len(&self) -> io::Result<u64>;
    /// Fills `out` from `offset`; a range beyond the end is an error.
    ///
    /// # Errors
    /// As the storage says.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    /// Sets the length; new bytes are zero.
    ///
    /// # Errors
    /// As the storage says.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// As the storage says.
    fn sync(&self) -> io::Result<()>;
    /// Writes at `offset`.
    ///
    /// # Errors
    /// As the storage says.
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()>;
}

#[derive(Debug)]
struct Backend(Box<dyn CatalogFile>);

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.byte_len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

/// Whether every page of the file has its checksum. What a crash left is put in order first, which writes
/// to the file: give one whose writes go nowhere.
///
/// # Errors
/// The file cannot be opened, or not be put in order.
pub fn is_sound(file: Box<dyn CatalogFile>) -> Result<bool, OpenError> {
    let open = |error: redb::Error| OpenError::Database(Box::new(error));
    let opened = Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(Backend(file));
    let mut database = opened.map_err(|error| open(error.into()))?;
    database.check_integrity().map_err(|error| open(error.into()))
}

/// The open file.
#[derive(Debug)]
pub(crate) struct Store {
    database: Database,
}

impl Store {
    /// Opens the file, or makes an empty file a catalog without anything in it.
    pub(crate) fn open(file: Box<dyn CatalogFile>) -> Result<(Store, View, Counters), OpenError> {
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(Backend(file))
            .map_err(|error| OpenError::Database(Box::new(error.into())))?;
        let store = Store { database };
        let (view, counters) = store.load()?;
        Ok((store, view, counters))
    }

    fn load(&self) -> Result<(View, Counters), OpenError> {
        // Opened for writing so that the tables of a new file come into being.
        let transaction = self.begin().map_err(OpenError::Database)?;
        let loaded = read_everything(&transaction).map_err(|error| match error {
            LoadError::Database(error) => OpenError::Database(Box::new(error)),
            LoadError::Record(error) => OpenError::Record(error),
        })?;
        transaction.commit().map_err(|error| OpenError::Database(Box::new(error.into())))?;
        Ok(loaded)
    }

    /// Writes the edit and makes it durable.
    pub(crate) fn commit(&self, edit: &CatalogEdit, current: &View, next: &View) -> Result<(), EditError> {
        self.write(|transaction| {
            edit.changes.iter().try_for_each(|change| write_change(transaction, change, next))?;
            remove_dropped(transaction, edit, current, next)
        })
    }

    /// Writes the counters and makes them durable.
    pub(crate) fn commit_counters(&self, counters: Counters) -> Result<(), EditError> {
        self.write(|transaction| {
            transaction.open_table(COUNTERS)?.insert(COUNTERS_KEY, encode(&counters).as_slice())?;
            Ok(())
        })
    }

    fn write(
        &self,
        fill: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), EditError> {
        let storage = |error: redb::Error| EditError::Storage(Box::new(error));
        let transaction = self.begin().map_err(EditError::Storage)?;
        fill(&transaction).map_err(storage)?;
        fail::fail_point!("catalog::before_commit");
        transaction.commit().map_err(|error| storage(error.into()))?;
        fail::fail_point!("catalog::after_commit");
        Ok(())
    }

    fn begin(&self) -> Result<WriteTransaction, Box<redb::Error>> {
        let mut transaction =
            self.database.begin_write().map_err(|error| Box::new(redb::Error::from(error)))?;
        transaction.set_two_phase_commit(true);
        Ok(transaction)
    }
}

fn write_change(transaction: &WriteTransaction, change: &Change, next: &View) -> Result<(), redb::Error> {
    write_record(transaction, change, next)?;
    match change {
        Change::DropNamespace(_) | Change::DropCollection(_) | Change::ReplaceSchema { .. } => {
            forget_comments(transaction, next)
        }
        _ => Ok(()),
    }
}

fn write_record(transaction: &WriteTransaction, change: &Change, next: &View) -> Result<(), redb::Error> {
    let collection_record = |id| next.collection(id).map(|view| encode(&view.collection));
    match change {
        Change::CreateNamespace(namespace) => {
            put(transaction, NAMESPACES, namespace.id.0.into(), &encode(namespace))
        }
        Change::DropNamespace(id) => {
            transaction.open_table(NAMESPACES)?.remove(u64::from(id.0))?;
            Ok(())
        }
        Change::PutRole(role) => put(transaction, ROLES, role.id.0.into(), &encode(role)),
        Change::PutSetting { name, value } => {
            let frame = encode(&Setting(value.clone()));
            transaction.open_table(SETTINGS)?.insert(name.as_str(), frame.as_slice())?;
            Ok(())
        }
        Change::CreateCollection(collection) => {
            put(transaction, COLLECTIONS, collection.id.0.into(), &encode(collection))
        }
        Change::ReplaceSchema { collection, .. }
        | Change::RenameCollection { collection, .. }
        | Change::SetOwner { collection, .. }
        | Change::SetTimeseriesOptions { collection, .. }
        | Change::AdvanceFlushedLsn { collection, .. } => {
            // The next view has the record with all changes of this edit; a collection that a
            // later change of the edit drops has none, and needs none.
            match collection_record(*collection) {
                Some(frame) => put(transaction, COLLECTIONS, collection.0.into(), &frame),
                None => Ok(()),
            }
        }
        Change::DropCollection(id) => {
            transaction.open_table(COLLECTIONS)?.remove(u64::from(id.0))?;
            Ok(())
        }
        Change::AddPartition(partition) => put(transaction, PARTITIONS, partition.id.0, &encode(partition)),
        Change::DropPartition { partition, .. } => {
            transaction.open_table(PARTITIONS)?.remove(partition.0)?;
            Ok(())
        }
        Change::AddSegment(segment) => put(transaction, SEGMENTS, segment.id.0, &encode(segment)),
        Change::SetDeletedRows { collection, segment, .. } => {
            let found = next.collection(*collection).and_then(|view| view.segments.get(segment));
            match found {
                Some(found) => put(transaction, SEGMENTS, segment.0, &encode(found)),
                // A later change of the edit retires it.
                None => Ok(()),
            }
        }
        Change::PutProducer { name, producer } => {
            transaction.open_table(PRODUCERS)?.insert(name.as_str(), encode(producer).as_slice())?;
            Ok(())
        }
        Change::RemoveProducer(name) => {
            transaction.open_table(PRODUCERS)?.remove(name.as_str())?;
            Ok(())
        }
        Change::SetComment { object, text } => {
            let key = comment_key(*object);
            let mut comments = transaction.open_table(COMMENTS)?;
            match text {
                Some(text) => {
                    let comment = Comment { object: *object, text: Arc::clone(text) };
                    comments.insert(key.as_str(), encode(&comment).as_slice())?;
                }
                None => drop(comments.remove(key.as_str())?),
            }
            Ok(())
        }
        Change::RetireSegment { segment, .. } => {
            transaction.open_table(SEGMENTS)?.remove(segment.0)?;
            Ok(())
        }
    }
}

fn put(
    transaction: &WriteTransaction,
    table: TableDefinition<'static, u64, &[u8]>,
    key: u64,
    frame: &[u8],
) -> Result<(), redb::Error> {
    transaction.open_table(table)?.insert(key, frame)?;
    Ok(())
}

/// Removes the partitions and segments that went with what the edit dropped. Their ids are known, from
/// the view before and from the edit itself, so that no other record is read: an edit that drops many
/// partitions of a catalog with many segments would otherwise read all of them for each.
fn remove_dropped(
    transaction: &WriteTransaction,
    edit: &CatalogEdit,
    current: &View,
    next: &View,
) -> Result<(), redb::Error> {
    let touched: BTreeSet<CollectionId> = edit
        .changes
        .iter()
        .filter_map(|change| match change {
            Change::DropCollection(collection) | Change::DropPartition { collection, .. } => {
                Some(*collection)
            }
            _ => None,
        })
        .collect();
    if touched.is_empty() {
        return Ok(());
    }
    let mut partitions: BTreeSet<_> = BTreeSet::new();
    let mut segments: BTreeSet<_> = BTreeSet::new();
    for before in touched.iter().filter_map(|id| current.collection(*id)) {
        let after = next.collection(before.collection.id);
        let stays = |id| after.is_some_and(|after| after.partitions.contains_key(id));
        partitions.extend(before.partitions.keys().filter(|id| !stays(id)));
        let stays = |id| after.is_some_and(|after| after.segments.contains_key(id));
        segments.extend(before.segments.keys().filter(|id| !stays(id)));
    }
    for change in &edit.changes {
        // What the edit itself brought and dropped again.
        match change {
            Change::AddPartition(added) if touched.contains(&added.collection) => {
                let after = next.collection(added.collection);
                if after.is_none_or(|after| !after.partitions.contains_key(&added.id)) {
                    partitions.insert(added.id);
                }
            }
            Change::AddSegment(added) if touched.contains(&added.collection) => {
                let after = next.collection(added.collection);
                if after.is_none_or(|after| !after.segments.contains_key(&added.id)) {
                    segments.insert(added.id);
                }
            }
            _ => {}
        }
    }
    let mut table = transaction.open_table(PARTITIONS)?;
    partitions.iter().try_for_each(|id| table.remove(id.0).map(drop))?;
    let mut table = transaction.open_table(SEGMENTS)?;
    segments.iter().try_for_each(|id| table.remove(id.0).map(drop))?;
    Ok(())
}

/// Comments go with what they are on.
fn forget_comments(transaction: &WriteTransaction, next: &View) -> Result<(), redb::Error> {
    // A record that does not decode stays, to be found on the next opening: never guess whose it is.
    transaction.open_table(COMMENTS)?.retain(|key, frame| {
        decode::<Comment>(frame, key).map_or(true, |comment| next.comments.contains_key(&comment.object))
    })?;
    Ok(())
}

enum LoadError {
    Database(redb::Error),
    Record(RecordError),
}

impl<E: Into<redb::Error>> From<E> for LoadError {
    fn from(error: E) -> LoadError {
        LoadError::Database(error.into())
    }
}

fn read_everything(transaction: &WriteTransaction) -> Result<(View, Counters), LoadError> {
    let counters = match transaction.open_table(COUNTERS)?.get(COUNTERS_KEY)? {
        Some(frame) => decode(frame.value(), COUNTERS_KEY).map_err(LoadError::Record)?,
        None => Counters { next_object: FIRST_OBJECT_ID, next_partition: 1, next_segment: 1 },
    };
    let mut view = View::default();
    let mut settings = BTreeMap::new();
    for entry in transaction.open_table(SETTINGS)?.iter()? {
        let (name, frame) = entry?;
        let setting: Setting = decode(frame.value(), name.value()).map_err(LoadError::Record)?;
        settings.insert(name.value().to_owned(), setting.0);
    }
    view.settings = Arc::new(settings);
    let mut producers = BTreeMap::new();
    for entry in transaction.open_table(PRODUCERS)?.iter()? {
        let (name, frame) = entry?;
        let producer: Producer = decode(frame.value(), name.value()).map_err(LoadError::Record)?;
        producers.insert(name.value().to_owned(), producer);
    }
    view.producers = Arc::new(producers);
    let mut comments = BTreeMap::new();
    for entry in transaction.open_table(COMMENTS)?.iter()? {
        let (key, frame) = entry?;
        let comment: Comment = decode(frame.value(), key.value()).map_err(LoadError::Record)?;
        comments.insert(comment.object, comment.text);
    }
    view.comments = Arc::new(comments);
    let namespaces = read_table::<Namespace>(transaction, NAMESPACES)?;
    view.namespaces = Arc::new(namespaces.into_iter().map(|it| (it.id, it)).collect());
    let roles = read_table::<Role>(transaction, ROLES)?;
    view.roles = Arc::new(roles.into_iter().map(|it| (it.id, it)).collect());
    for collection in read_table::<Arc<Collection>>(transaction, COLLECTIONS)? {
        view.names.insert((collection.namespace, collection.name.clone()), collection.id);
        let id = collection.id;
        let loaded = CollectionView { collection, partitions: Arc::default(), segments: Arc::default() };
        view.collections.insert(id, loaded);
    }
    for partition in read_table::<Partition>(transaction, PARTITIONS)? {
        let owner = view.collections.get_mut(&partition.collection);
        let owner = owner.ok_or_else(|| orphan::<Partition>(partition.id.0))?;
        Arc::make_mut(&mut owner.partitions).insert(partition.id, partition);
    }
    for segment in read_table::<Arc<Segment>>(transaction, SEGMENTS)? {
        let owner = view.collections.get_mut(&segment.collection);
        let owner = owner.ok_or_else(|| orphan::<Arc<Segment>>(segment.id.0))?;
        Arc::make_mut(&mut owner.segments).insert(segment.id, segment);
    }
    Ok((view, counters))
}

/// A record whose collection is missing can only come from damage.
fn orphan<R: Record>(key: u64) -> LoadError {
    LoadError::Record(RecordError::Damaged { table: R::TABLE, key: key.to_string() })
}

fn read_table<R: Record>(
    transaction: &WriteTransaction,
    table: TableDefinition<'static, u64, &[u8]>,
) -> Result<Vec<R>, LoadError> {
    let table = transaction.open_table(table)?;
    let mut records = Vec::new();
    for entry in table.iter()? {
        let (key, frame) = entry?;
        records.push(decode(frame.value(), key.value()).map_err(LoadError::Record)?);
    }
    Ok(records)
}
