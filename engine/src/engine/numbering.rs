//! Batches that their producers numbered: each is committed once, however often it is sent.
//!
//! 1. [`Inner::begin_numbered`] looks at the number, with all numbers locked.
//! 2. The batch gets its place in the log, its number in the same record.
//! 3. [`NewNumber::note`] remembers it, and the numbers are free again.

use std::collections::BTreeMap;
use std::sync::MutexGuard;

use tidemark_catalog::producer::Producer;

use super::{CommitTicket, Inner};
use crate::error::WriteError;
use crate::producers::BatchNumber;
use crate::wal::codec::encode_batch_count;
use crate::wal::format::{RecordKind, encode_number};
use crate::wal::writer::{Appended, Durability};

/// What a batch's number says.
pub(crate) enum Numbering<'a> {
    /// It was committed before.
    Before(CommitTicket),
    /// It was not, or has no number.
    New(NewNumber<'a>),
}

/// A number that is to be noted when its batch has a place in the log. Nobody else's is looked at until
/// this is dropped.
pub(crate) struct NewNumber<'a> {
    known: Option<MutexGuard<'a, BTreeMap<String, Producer>>>,
    number: Option<&'a BatchNumber>,
}

impl NewNumber<'_> {
    /// The kind of record for a batch with or without a number.
    pub(crate) fn kind(&self, plain: RecordKind, sequenced: RecordKind) -> RecordKind {
        if self.number.is_some() { sequenced } else { plain }
    }

    /// Starts a body with the number.
    pub(crate) fn encode(&self, body: &mut Vec<u8>) {
        if let Some(number) = self.number {
            encode_number(body, &number.producer, number.sequence);
        }
    }

    /// The batch has a place in the log.
    pub(crate) fn note(&mut self, appended: &Appended) {
        if let (Some(known), Some(number)) = (&mut self.known, self.number) {
            let Appended { lsn, system_time_us, .. } = *appended;
            let producer = Producer { sequence: number.sequence, lsn, system_time_us };
            known.insert(number.producer.clone(), producer);
        }
    }
}

impl Inner {
    /// Looks at a batch's number, before anything of the batch is logged.
    pub(crate) fn begin_numbered<'a>(
        &'a self,
        number: Option<&'a BatchNumber>,
        durability: Durability,
    ) -> Result<Numbering<'a>, WriteError> {
        let Some(number) = number else { return Ok(Numbering::New(NewNumber { known: None, number })) };
        let known = self.producers.lock();
        let is_known = |last: &Producer| last.sequence >= number.sequence;
        if !known.get(&number.producer).is_some_and(is_known) {
            return Ok(Numbering::New(NewNumber { known: Some(known), number: Some(number) }));
        }
        drop(known);
        // It comes after the batch in the log: when it is durable, the batch is.
        let ticket = self.append_nothing(durability)?;
        self.metrics.writes_repeated.add(1);
        Ok(Numbering::Before(ticket))
    }

    /// A record without rows, which is durable when all before it are.
    pub(crate) fn append_nothing(&self, durability: Durability) -> Result<CommitTicket, WriteError> {
        let mut body = Vec::new();
        encode_batch_count(&mut body, 0);
        Ok(CommitTicket::new(self.wal.append(RecordKind::Write, body, durability)?))
    }
}
