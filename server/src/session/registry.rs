//! The sessions of the server: how many there are, and how one client cancels what another does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{SqlError, SqlResult};
use crate::security::same_bytes;
use crate::session::activity::{Activity, Page};
use crate::session::control::Interrupt;
use crate::sqlstate;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Connections that only superusers may take.
const CONNECTIONS_RESERVED: usize = 3;

/// The secret that a client shows to cancel.
pub type CancelKey = [u8; 4];

/// The sessions of the server.
#[derive(Debug)]
pub struct Registry {
    connections_max: usize,
    next_process: AtomicI32,
    sessions: Mutex<HashMap<i32, Entry>>,
    /// Signalled when a session ends.
    ended: Notify,
}

#[derive(Debug)]
struct Entry {
    key: CancelKey,
    interrupt: Arc<Interrupt>,
    page: Arc<Page>,
    /// Cancelled when somebody ends the session.
    ending: CancellationToken,
}

/// A place among the sessions; given back when dropped.
#[derive(Debug)]
pub struct Registered {
    registry: Arc<Registry>,
    process: i32,
    key: CancelKey,
    interrupt: Arc<Interrupt>,
    page: Arc<Page>,
    ending: CancellationToken,
}

impl Registry {
    /// No sessions yet.
    pub fn new(connections_max: usize) -> Arc<Registry> {
        Arc::new(Registry {
            connections_max,
            next_process: AtomicI32::new(1),
            sessions: Mutex::default(),
            ended: Notify::new(),
        })
    }

    /// Takes a place.
    ///
    /// # Errors
    /// There is none left for this role.
    pub fn register(self: &Arc<Self>, superuser: bool, key: CancelKey) -> SqlResult<Registered> {
        let mut sessions = self.lock();
        let reserved = CONNECTIONS_RESERVED.min(self.connections_max - 1);
        if sessions.len() >= self.connections_max {
            return Err(SqlError::fatal(sqlstate::TOO_MANY_CONNECTIONS, "sorry, too many clients already"));
        }
        if !superuser && sessions.len() >= self.connections_max - reserved {
            let message = "remaining connection slots are reserved for non-replication superuser connections";
            return Err(SqlError::fatal(sqlstate::TOO_MANY_CONNECTIONS, message));
        }
        let process = loop {
            let process = self.next_process.fetch_add(1, Ordering::Relaxed);
            // Numbers come around after 2^31 sessions, and one may still be in use.
            if process > 0 && !sessions.contains_key(&process) {
                break process;
            }
            if process <= 0 {
                self.next_process.store(1, Ordering::Relaxed);
            }
        };
        let interrupt = Arc::new(Interrupt::default());
        let (page, ending) = (Arc::<Page>::default(), CancellationToken::new());
        let entry =
            Entry { key, interrupt: Arc::clone(&interrupt), page: Arc::clone(&page), ending: ending.clone() };
        sessions.insert(process, entry);
        Ok(Registered { registry: Arc::clone(self), process, key, interrupt, page, ending })
    }

    /// Cancels what a session does, if the key is its own. Nothing tells whether it was.
    pub fn cancel(&self, process: i32, key: &[u8]) {
        if let Some(entry) = self.lock().get(&process)
            && same_bytes(&entry.key, key)
        {
            entry.interrupt.cancel();
        }
    }

    /// Cancels what a session does; whether there is such a session.
    pub fn cancel_process(&self, process: i32) -> bool {
        let sessions = self.lock();
        let found = sessions.get(&process);
        found.inspect(|entry| entry.interrupt.cancel()).is_some()
    }

    /// Ends a session, and what it does; whether there is such a session.
    pub fn end_process(&self, process: i32) -> bool {
        let sessions = self.lock();
        let found = sessions.get(&process);
        found
            .inspect(|entry| {
                entry.ending.cancel();
                entry.interrupt.cancel();
            })
            .is_some()
    }

    /// What a session does.
    pub fn activity_of(&self, process: i32) -> Option<Activity> {
        self.lock().get(&process).map(|entry| entry.page.read())
    }

    /// Cancels what every session does.
    pub fn cancel_all(&self) {
        self.lock().values().for_each(|entry| entry.interrupt.cancel());
    }

    /// Completes when there are no sessions.
    pub async fn wait_until_empty(&self) {
        loop {
            // Registered before looking, so that no end is missed.
            let ended = self.ended.notified();
            if self.is_empty() {
                return;
            }
            ended.await;
        }
    }

    /// What all sessions do, by their numbers.
    pub fn activities(&self) -> Vec<(i32, Activity)> {
        let sessions = self.lock();
        let mut activities: Vec<_> =
            sessions.iter().map(|(process, entry)| (*process, entry.page.read())).collect();
        activities.sort_unstable_by_key(|(process, _)| *process);
        activities
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i32, Entry>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registered {
    /// The number that PostgreSQL calls the backend's process id.
    pub fn process(&self) -> i32 {
        self.process
    }

    /// The secret for cancelling.
    pub fn key(&self) -> CancelKey {
        self.key
    }

    /// Where the session tells what it does.
    pub fn page(&self) -> &Page {
        &self.page
    }

    /// Completes when somebody ends the session.
    pub fn ending(&self) -> CancellationToken {
        self.ending.clone()
    }

    /// What is signalled when somebody cancels.
    pub fn interrupt(&self) -> &Arc<Interrupt> {
        &self.interrupt
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.lock().remove(&self.process);
        self.registry.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_places_are_for_superusers() {
        let registry = Registry::new(5);
        let ordinary: Vec<_> = (0..2).map(|_| registry.register(false, [0; 4]).unwrap()).collect();
        assert_eq!(registry.register(false, [0; 4]).unwrap_err().state(), sqlstate::TOO_MANY_CONNECTIONS);
        let superusers: Vec<_> = (0..3).map(|_| registry.register(true, [0; 4]).unwrap()).collect();
        assert!(registry.register(true, [0; 4]).is_err());
        drop((ordinary, superusers));
        assert!(registry.is_empty());
    }

    #[test]
    fn only_the_right_key_cancels() {
        let registry = Registry::new(5);
        let session = registry.register(true, [1, 2, 3, 4]).unwrap();
        let statement = session.interrupt().begin();
        registry.cancel(session.process(), &[1, 2, 3, 5]);
        registry.cancel(session.process(), &[1, 2, 3]);
        registry.cancel(session.process() + 1, &[1, 2, 3, 4]);
        assert!(!statement.is_cancelled());
        registry.cancel(session.process(), &[1, 2, 3, 4]);
        assert!(statement.is_cancelled());
    }

    #[test]
    fn a_session_is_seen_and_ended_by_its_number() {
        let registry = Registry::new(5);
        let session = registry.register(true, [0; 4]).unwrap();
        session.page().write(|activity| activity.application_name = "psql".to_owned());
        let activities = registry.activities();
        assert_eq!(activities[0].0, session.process());
        assert_eq!(activities[0].1.application_name, "psql");
        assert!(!registry.end_process(session.process() + 1));
        assert!(!session.ending().is_cancelled());
        assert!(registry.end_process(session.process()));
        assert!(session.ending().is_cancelled());
    }

    #[test]
    fn a_cancel_that_comes_too_late_does_not_hit_the_next_statement() {
        let registry = Registry::new(5);
        let session = registry.register(true, [0; 4]).unwrap();
        drop(session.interrupt().begin());
        registry.cancel(session.process(), &[0; 4]);
        assert!(!session.interrupt().begin().is_cancelled());
    }
}
