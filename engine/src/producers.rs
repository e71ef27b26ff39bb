//! Writes that a producer numbers, so that one sent again is not applied again.
//!
//! - The number is in the record of the log that commits the batch: both are durable, or neither is.
//! - The last number of each producer is in memory. Opening finds it in the catalog and in the log above
//!   it; before log files are removed, the catalog gets what they say ([`Producers::edit`]), and nothing
//!   that is not durable: a number that outlives its batch would keep it from ever being written.
//! - A number that is not above the last one was applied before: the writer is told so when that is
//!   durable. So a producer sends one batch at a time, and goes on to the next when it has the answer.
//! - A producer that wrote nothing for [`KEPT`] is forgotten.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tidemark_catalog::edit::{CatalogEdit, Change};
use tidemark_catalog::ids::Lsn;
use tidemark_catalog::producer::Producer;
use tidemark_catalog::view::View;

/// How long the last number of a producer is known.
pub const KEPT: Duration = Duration::from_secs(7 * 86_400);

/// The longest name of a producer, in bytes.
pub const PRODUCER_NAME_BYTES_MAX: usize = 255;

/// The number of a batch: who sends it, by a name of at most [`PRODUCER_NAME_BYTES_MAX`] bytes, and a
/// sequence above that of every batch that it sent before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchNumber {
    pub(crate) producer: String,
    pub(crate) sequence: u64,
}

/// What cannot be the name of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ProducerNameError {
    /// It has no characters.
    #[error("the name of a producer is not empty")]
    Empty,
    /// It has too many.
    #[error("the name of a producer has at most {PRODUCER_NAME_BYTES_MAX} bytes")]
    TooLong,
}

impl BatchNumber {
    /// The number of a batch of a producer.
    ///
    /// # Errors
    /// The name is none.
    pub fn new(producer: &str, sequence: u64) -> Result<BatchNumber, ProducerNameError> {
        match producer.len() {
            0 => Err(ProducerNameError::Empty),
            1..=PRODUCER_NAME_BYTES_MAX => Ok(BatchNumber { producer: producer.to_owned(), sequence }),
            _ => Err(ProducerNameError::TooLong),
        }
    }
}

/// The last batch of each producer.
#[derive(Debug, Default)]
pub(crate) struct Producers(Mutex<BTreeMap<String, Producer>>);

impl Producers {
    /// As the catalog and the log say.
    pub(crate) fn new(known: BTreeMap<String, Producer>) -> Producers {
        Producers(Mutex::new(known))
    }

    /// Locked from looking at a number to appending its batch. Comes before collections' states.
    pub(crate) fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Producer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the catalog does not know yet, and what it may forget; those are forgotten here at once. The log
    /// is to be durable up to the position, if there is one, before the catalog is told.
    pub(crate) fn edit(&self, view: &View, now_us: i64) -> (CatalogEdit, Option<Lsn>) {
        let kept_us = i64::try_from(KEPT.as_micros()).expect("a week is not long");
        let is_old = |producer: &Producer| now_us.saturating_sub(producer.system_time_us) > kept_us;
        let mut known = self.lock();
        known.retain(|_, producer| !is_old(producer));
        let (mut edit, mut lsn_max) = (CatalogEdit::new(), None);
        for (name, producer) in known.iter() {
            if view.producers().get(name) != Some(producer) {
                lsn_max = lsn_max.max(Some(producer.lsn));
                edit.push(Change::PutProducer { name: name.clone(), producer: *producer });
            }
        }
        for name in view.producers().keys().filter(|name| !known.contains_key(*name)) {
            edit.push(Change::RemoveProducer(name.clone()));
        }
        (edit, lsn_max)
    }
}
