//! How rows come in.
//!
//! 1. Their memory is charged to the process budget, or they are refused before anything is logged.
//! 2. They are encoded for the log, without any lock.
//! 3. Under the locks of their collections they are checked, get their place in the log, and go to the
//!    active memtables; one that is full is frozen.
//! 4. The log's thread makes them durable, and the ticket says so.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidemark_catalog::ids::CollectionId;

use super::{CommitTicket, Inner, Numbering, Submitted};
use crate::batch::{Gaps, WriteBatch};
use crate::bulk::BulkWrite;
use crate::collection::State;
use crate::dedup::batch_keys::KeyWatch;
use crate::engine::Engine;
use crate::error::{WalError, WriteError};
use crate::jobs::Job;
use crate::memtable::budget::Charge;
use crate::memtable::dictionaries::SymbolDictionaries;
use crate::options::CommitMode;
use crate::producers::BatchNumber;
use crate::wal::codec::{encode_batch, encode_batch_count};
use crate::wal::format::{RecordKind, encode_number};
use crate::wal::writer::{Appended, Durability};

/// Rows for one collection.
#[derive(Debug)]
pub struct Write {
    /// Which.
    pub collection: CollectionId,
    /// The rows.
    pub batch: WriteBatch,
    /// What must not have changed when they are committed.
    pub(crate) watch: Option<Arc<KeyWatch>>,
    /// Memory that was taken for them already.
    pub(crate) charge: Option<Charge>,
}

impl Write {
    /// Rows for a collection.
    pub fn new(collection: CollectionId, batch: WriteBatch) -> Write {
        Write { collection, batch, watch: None, charge: None }
    }

    /// Brings the rows in the form that the dictionaries say; the memory they take is known better then.
    fn fit(&mut self, symbols: &SymbolDictionaries) -> Result<(), WriteError> {
        if symbols.is_other_form(&self.batch) {
            self.batch = self.batch.clone().fitted(symbols)?;
            let charge = self.charge.take();
            self.charge = charge.map(|charge| charge.replacement(self.batch.memory_bytes()));
        }
        Ok(())
    }

    /// The same, unless others write what it depends on first: [`WriteError::Changed`].
    #[must_use]
    pub fn watching(self, watch: Option<Arc<KeyWatch>>) -> Write {
        Write { watch, ..self }
    }
}

impl Engine {
    /// Takes rows: all of them are committed at one position, or none is. Does not block, but where symbol
    /// columns have too many texts ([`Engine::limit_symbols`]); returns before the commit is durable.
    ///
    /// # Errors
    /// As [`WriteError`] says; nothing is applied. After [`WriteError::OverBudget`] a flush is under
    /// way, and [`Budget::available`] tells when to try again.
    pub fn write(&self, writes: Vec<Write>, durability: Durability) -> Result<CommitTicket, WriteError> {
        while let Some(id) = self.inner.over_symbol_limit(&writes) {
            self.inner.limit_symbols(id)?;
        }
        self.inner.submit(writes, durability)
    }

    /// The same, giving back the rows that were refused, to try again; it never blocks. After
    /// [`WriteError::SymbolLimit`], [`Engine::limit_symbols`] makes it possible.
    ///
    /// # Errors
    /// As [`WriteError`] says, with the rows.
    pub fn try_write(
        &self,
        writes: Vec<Write>,
        durability: Durability,
    ) -> Result<CommitTicket, (WriteError, Vec<Write>)> {
        let writes = self.inner.admit(writes)?;
        self.inner.submit(writes, durability).map_err(|error| (error, Vec::new()))
    }

    /// The same for a batch that its producer numbered; when it was committed before, nothing is
    /// committed again.
    ///
    /// # Errors
    /// As [`WriteError`] says, with the rows.
    pub fn try_write_numbered(
        &self,
        writes: Vec<Write>,
        durability: Durability,
        number: Option<&BatchNumber>,
    ) -> Result<Submitted, (WriteError, Vec<Write>)> {
        let writes = self.inner.admit(writes)?;
        let written = self.inner.submit_numbered(writes, durability, number);
        written.map_err(|error| (error, Vec::new()))
    }

    /// What a writer is told that waited for memory in vain.
    pub fn over_budget(&self) -> WriteError {
        self.inner.over_budget()
    }

    /// Starts a write of any size.
    ///
    /// # Errors
    /// The collection does not exist.
    pub fn bulk_write(&self, collection: CollectionId) -> Result<BulkWrite, WriteError> {
        let runtime = self.inner.runtime(collection);
        let runtime = runtime.ok_or(WriteError::NoSuchCollection(collection))?;
        Ok(BulkWrite::new(Arc::clone(&self.inner), runtime))
    }

    /// How durable a commit is unless a write says otherwise.
    pub fn default_durability(&self) -> Durability {
        match self.inner.options.commit {
            CommitMode::Group => Durability::Synced,
            CommitMode::Interval(_) | CommitMode::Off => Durability::Written,
        }
    }

    /// Those who write by what they saw take turns, so that none is overtaken by another: held from
    /// [`Engine::existing`] to the write. No other lock is held while waiting for it.
    ///
    /// # Errors
    /// The collection does not exist.
    pub fn turns(&self, collection: CollectionId) -> Result<Arc<tokio::sync::Mutex<()>>, WriteError> {
        let runtime = self.inner.runtime(collection);
        Ok(Arc::clone(&runtime.ok_or(WriteError::NoSuchCollection(collection))?.turns))
    }
}

impl Inner {
    pub(crate) fn submit(
        &self,
        writes: Vec<Write>,
        durability: Durability,
    ) -> Result<CommitTicket, WriteError> {
        match self.submit_numbered(writes, durability, None)? {
            Submitted::Now(ticket) | Submitted::Before(ticket) => Ok(ticket),
        }
    }

    pub(crate) fn submit_numbered(
        &self,
        mut writes: Vec<Write>,
        durability: Durability,
        number: Option<&BatchNumber>,
    ) -> Result<Submitted, WriteError> {
        for write in &mut writes {
            if write.charge.is_none() {
                write.charge = Some(self.try_charge(write.batch.memory_bytes())?);
            }
        }
        loop {
            match self.submit_once(writes, durability, number)? {
                Ok(submitted) => return Ok(submitted),
                Err(again) => writes = again,
            }
        }
    }

    /// Gives the rows back when symbols became texts on the way.
    fn submit_once(
        &self,
        mut writes: Vec<Write>,
        durability: Durability,
        number: Option<&BatchNumber>,
    ) -> Result<Result<Submitted, Vec<Write>>, WriteError> {
        let mut ids: Vec<CollectionId> = writes.iter().map(|write| write.collection).collect();
        ids.sort_unstable();
        ids.dedup();
        let runtimes = ids
            .iter()
            .map(|id| self.runtime(*id).ok_or(WriteError::NoSuchCollection(*id)))
            .collect::<Result<Vec<_>, _>>()?;
        let runtime_at = |id: CollectionId| ids.binary_search(&id).expect("it is one of them");
        let symbols: Vec<SymbolDictionaries> = runtimes.iter().map(|runtime| runtime.symbols()).collect();
        for write in &mut writes {
            write.fit(&symbols[runtime_at(write.collection)])?;
        }
        // About as much as the rows take; pages that are not needed are never touched.
        let mut body = self.wal.new_body(writes.iter().map(|write| write.batch.memory_bytes()).sum());
        if let Some(number) = number {
            encode_number(&mut body, &number.producer, number.sequence);
        }
        encode_batch_count(&mut body, writes.len());
        for write in &writes {
            let symbols = &symbols[runtime_at(write.collection)];
            encode_batch(&mut body, write.collection, &write.batch, &|id| symbols.get(id).cloned());
        }
        let mut numbering = match self.begin_numbered(number, durability)? {
            Numbering::Before(ticket) => return Ok(Ok(Submitted::Before(ticket))),
            Numbering::New(numbering) => numbering,
        };
        let mut states: Vec<_> = runtimes.iter().map(|runtime| runtime.lock()).collect();
        if runtimes.iter().zip(&symbols).any(|(runtime, symbols)| !runtime.symbols().are(symbols)) {
            return Ok(Err(writes));
        }
        if let Some(at) = states.iter().position(|state| state.dropped) {
            return Err(WriteError::NoSuchCollection(ids[at]));
        }
        for write in &writes {
            let state = &states[runtime_at(write.collection)];
            state.check_required(&Gaps::of(&write.batch))?;
            self.check_watch(write, state)?;
        }
        let kind = numbering.kind(RecordKind::Write, RecordKind::SequencedWrite);
        let appended = self.wal.append(kind, body, durability)?;
        numbering.note(&appended);
        drop(numbering);
        let now = self.env.clock.monotonic();
        for write in writes {
            self.metrics.rows_written.add(write.batch.row_count() as u64);
            let charge = write.charge.expect("it was taken above");
            let at = runtime_at(write.collection);
            let missing = states[at].missing.clone();
            states[at].active.push(appended.lsn, write.batch, charge, now, &missing);
        }
        // Only now: a memtable that is frozen holds its last commit whole.
        for (id, state) in ids.iter().zip(&mut states) {
            if state.active.memory_bytes() >= self.options.memtable_bytes_soft && state.freeze() {
                self.executor.submit(Job::Flush(*id), Duration::ZERO);
            }
        }
        drop(states);
        self.metrics.commits.add(1);
        Ok(Ok(Submitted::Now(CommitTicket::new(appended))))
    }

    /// Refuses rows that depend on what was changed since.
    fn check_watch(&self, write: &Write, state: &State) -> Result<(), WriteError> {
        let Some(watch) = &write.watch else { return Ok(()) };
        if watch.holds(state).map_err(|error| WriteError::Keys(Arc::new(error)))? {
            return Ok(());
        }
        self.metrics.writes_overtaken.add(1);
        Err(WriteError::Changed(write.collection))
    }

    /// Takes memory for all rows, or gives them back.
    fn admit(&self, writes: Vec<Write>) -> Result<Vec<Write>, (WriteError, Vec<Write>)> {
        if let Some(id) = self.over_symbol_limit(&writes) {
            return Err((WriteError::SymbolLimit(id), writes));
        }
        self.charge_all(writes).map_err(|refused| (self.over_budget(), refused))
    }

    /// Takes memory for all rows, or gives them back.
    fn charge_all(&self, mut writes: Vec<Write>) -> Result<Vec<Write>, Vec<Write>> {
        for at in 0..writes.len() {
            match self.budget.try_charge(writes[at].batch.memory_bytes()) {
                Some(charge) => writes[at].charge = Some(charge),
                None => {
                    writes.iter_mut().for_each(|write| write.charge = None);
                    self.metrics.writes_over_budget.add(1);
                    self.relieve();
                    return Err(writes);
                }
            }
        }
        Ok(writes)
    }

    fn try_charge(&self, bytes: usize) -> Result<Charge, WriteError> {
        self.budget.try_charge(bytes).ok_or_else(|| {
            self.metrics.writes_over_budget.add(1);
            self.relieve();
            self.over_budget()
        })
    }

    /// Waits for memory in the thread, as long as a writer waits.
    pub(crate) fn charge_blocking(&self, bytes: usize) -> Result<Charge, WriteError> {
        let deadline = self.env.clock.monotonic() + self.options.admission_wait_max;
        loop {
            if let Some(charge) = self.budget.try_charge(bytes) {
                return Ok(charge);
            }
            self.relieve();
            let left = deadline.saturating_sub(self.env.clock.monotonic());
            if self.env.spawn.is_none() || !self.budget.wait_available(bytes, left) {
                self.metrics.writes_over_budget.add(1);
                return Err(self.over_budget());
            }
        }
    }

    pub(crate) fn over_budget(&self) -> WriteError {
        WriteError::OverBudget {
            used_bytes: self.budget.used_bytes(),
            bytes_max: self.budget.bytes_max(),
            disk_full: self.disk_full.load(Ordering::Relaxed),
        }
    }

    /// Freezes the largest active memtable, so that memory comes back.
    fn relieve(&self) {
        let runtimes = self.runtimes();
        let largest = runtimes.iter().max_by_key(|runtime| runtime.lock().active.memory_bytes());
        if let Some(runtime) = largest
            && runtime.lock().freeze()
        {
            self.executor.submit(Job::Flush(runtime.id), Duration::ZERO);
        }
    }

    /// Waits for a record of a bulk write.
    pub(crate) fn wait_committed(&self, mut appended: Appended) -> Result<(), WriteError> {
        if self.env.spawn.is_none() {
            while self.wal.commit_once(self.options.commit) {}
            return match appended.committed.try_recv() {
                Ok(outcome) => Ok(outcome?),
                Err(_) => Err(WalError::Closed.into()),
            };
        }
        CommitTicket::new(appended).wait()
    }
}
