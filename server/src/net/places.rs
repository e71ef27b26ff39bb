//! The places for connections of a listener: how many there are, and for how long a client may let
//! the server wait.
//!
//! A connection is in one of these phases. In all but one the server waits for its client, and what
//! the client owes has a deadline:
//!
//! | phase | waits for | until |
//! | --- | --- | --- |
//! | quiet | the first byte of a message | some time after the last one, less for the first |
//! | head | the rest of its head | some time after its first byte |
//! | body | the body | some time, and more as bytes arrive |
//! | working | the server | for ever: what the server does has its own bounds |
//! | answer | the client to take the answer | as for the body |
//!
//! 1. Who is late is closed by [`Places::sweep`], which the listener calls every [`SWEEP_INTERVAL`].
//! 2. When all places are taken, a newcomer gets the place of the connection that lets the server wait
//!    longest; of those in the middle of a message only where nobody is between messages. So silent
//!    clients, however many, keep no place from those that speak: one that does speak is at work before
//!    as many others can have come after it.
//! 3. Where every connection is at work there is no place.
//!
//! Invariant: a connection that is at work is never closed from here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidemark_engine::env::Clock;
use tokio_util::sync::CancellationToken;

use crate::metrics::Count;

/// How often late connections are looked for.
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

/// For how long clients may let the server wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For the first message to begin.
    pub first: Duration,
    /// For a later one to begin.
    pub quiet: Duration,
    /// For a head, from its first byte on.
    pub head: Duration,
    /// For a body or an answer to begin to move.
    pub transfer: Duration,
    /// For each of so many bytes that moved there is a second more.
    pub transfer_bytes_per_second: u64,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    First,
    Quiet,
    Head,
    Body,
    Working,
    Answer,
}

impl Phase {
    /// Who gives up a place first; `None` for who never does.
    fn rank(self) -> Option<u8> {
        match self {
            Phase::First | Phase::Quiet | Phase::Head => Some(0),
            Phase::Body | Phase::Answer => Some(1),
            Phase::Working => None,
        }
    }
}

/// What is known of a connection.
#[derive(Clone, Copy, Debug)]
struct State {
    phase: Phase,
    /// When the phase began.
    since: Duration,
    /// Bytes that moved in the phase.
    bytes: u64,
}

/// A connection that has a place.
#[derive(Debug)]
pub struct Connection {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    closed: CancellationToken,
}

/// A place that is taken; it is free again when this goes.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    number: u64,
    connection: Arc<Connection>,
}

/// The places of a listener.
#[derive(Debug)]
pub struct Places {
    count_max: usize,
    patience: Patience,
    clock: Arc<dyn Clock>,
    taken: Mutex<Taken>,
    /// Connections that got a place.
    pub opened: Count,
    /// Connections that gave their place to a newcomer.
    pub displaced: Count,
    /// Connections that were closed because they let the server wait too long.
    pub timed_out: Count,
    /// Connections for which there was no place.
    pub refused: Count,
}

#[derive(Debug, Default)]
struct Taken {
    by_number: BTreeMap<u64, Arc<Connection>>,
    next_number: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Places {
    /// So many places, all free.
    pub fn new(count_max: usize, patience: Patience, clock: Arc<dyn Clock>) -> Arc<Places> {
        Arc::new(Places {
            count_max,
            patience,
            clock,
            taken: Mutex::default(),
            opened: Count::default(),
            displaced: Count::default(),
            timed_out: Count::default(),
            refused: Count::default(),
        })
    }

    /// How many are taken.
    pub fn len(&self) -> usize {
        lock(&self.taken).by_number.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A place for a newcomer; `None` when every connection is at work.
    pub fn take(self: &Arc<Self>) -> Option<Place> {
        let mut taken = lock(&self.taken);
        if taken.by_number.len() >= self.count_max {
            let Some(number) = longest_waiting(&taken) else {
                self.refused.add(1);
                return None;
            };
            let displaced = taken.by_number.remove(&number).expect("it was just found there");
            displaced.closed.cancel();
            self.displaced.add(1);
        }
        let number = taken.next_number;
        taken.next_number += 1;
        let state = State { phase: Phase::First, since: self.clock.monotonic(), bytes: 0 };
        let connection = Arc::new(Connection {
            clock: Arc::clone(&self.clock),
            state: Mutex::new(state),
            closed: CancellationToken::new(),
        });
        taken.by_number.insert(number, Arc::clone(&connection));
        self.opened.add(1);
        Some(Place { places: Arc::clone(self), number, connection })
    }

    /// Closes the connections that are late.
    pub fn sweep(&self) {
        let now = self.clock.monotonic();
        let mut taken = lock(&self.taken);
        let is_late = |connection: &Connection| {
            let state = *lock(&connection.state);
            self.patience.deadline(state).is_some_and(|deadline| deadline <= now)
        };
        let late = taken.by_number.extract_if(.., |_, connection| is_late(connection));
        for (_, connection) in late {
            connection.closed.cancel();
            self.timed_out.add(1);
        }
    }
}

/// The connection that gives up its place, by its number.
fn longest_waiting(taken: &Taken) -> Option<u64> {
    let waiting = taken.by_number.iter().filter_map(|(number, connection)| {
        let state = *lock(&connection.state);
        Some((state.phase.rank()?, state.since, *number))
    });
    waiting.min().map(|(_, _, number)| number)
}

impl Patience {
    fn deadline(&self, state: State) -> Option<Duration> {
        let patience = match state.phase {
            Phase::First => self.first,
            Phase::Quiet => self.quiet,
            Phase::Head => self.head,
            Phase::Body | Phase::Answer => {
                self.transfer + Duration::from_secs(state.bytes / self.transfer_bytes_per_second)
            }
            Phase::Working => return None,
        };
        Some(state.since + patience)
    }
}

impl Place {
    /// What the connection tells of itself.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Completes when the connection shall be closed.
    pub async fn closed(&self) {
        self.connection.closed.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.places.taken).by_number.remove(&self.number);
    }
}

impl Connection {
    fn begin(&self, state: &mut State, phase: Phase) {
        *state = State { phase, since: self.clock.monotonic(), bytes: 0 };
    }

    /// Bytes came from the client.
    pub fn received(&self, bytes: usize) {
        let mut state = lock(&self.state);
        match state.phase {
            Phase::First | Phase::Quiet => self.begin(&mut state, Phase::Head),
            Phase::Body => state.bytes += bytes as u64,
            // A head has no more time for being long; what comes while the server works is for later.
            Phase::Head | Phase::Working | Phase::Answer => {}
        }
    }

    /// The server has what it needs, and works.
    pub fn begin_work(&self) {
        self.begin(&mut lock(&self.state), Phase::Working);
    }

    /// The server needs the body of the message.
    pub fn begin_body(&self) {
        self.begin(&mut lock(&self.state), Phase::Body);
    }

    /// The server answers.
    pub fn begin_answer(&self) {
        self.begin(&mut lock(&self.state), Phase::Answer);
    }

    /// Bytes went to the client.
    pub fn sent(&self, bytes: usize) {
        let mut state = lock(&self.state);
        if state.phase == Phase::Answer {
            state.bytes += bytes as u64;
        }
    }

    /// All that was to be sent has been.
    pub fn flushed(&self) {
        let mut state = lock(&self.state);
        if state.phase == Phase::Answer {
            self.begin(&mut state, Phase::Quiet);
        }
    }

    /// The server waits for the next message.
    pub fn begin_quiet(&self) {
        self.begin(&mut lock(&self.state), Phase::Quiet);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    struct Hand(AtomicU64);

    impl Hand {
        fn advance(&self, seconds: u64) {
            self.0.fetch_add(seconds, Ordering::Relaxed);
        }
    }

    impl Clock for Hand {
        fn wall_us(&self) -> i64 {
            0
        }

        fn monotonic(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::Relaxed))
        }
    }

    fn places(count_max: usize) -> (Arc<Hand>, Arc<Places>) {
        let clock = Arc::new(Hand::default());
        let patience = Patience {
            first: Duration::from_secs(5),
            quiet: Duration::from_secs(60),
            head: Duration::from_secs(10),
            transfer: Duration::from_secs(20),
            transfer_bytes_per_second: 1000,
        };
        (Arc::clone(&clock), Places::new(count_max, patience, clock))
    }

    fn is_closed(place: &Place) -> bool {
        place.connection.closed.is_cancelled()
    }

    /// Whether the connection is closed at this second, and not one before.
    fn check_closed_after(seconds: u64, prepare: impl Fn(&Hand, &Connection)) {
        let (clock, places) = places(1);
        let place = places.take().unwrap();
        prepare(&clock, &place.connection);
        clock.advance(seconds - 1);
        places.sweep();
        assert!(!is_closed(&place), "a second too early");
        clock.advance(1);
        places.sweep();
        assert!(is_closed(&place), "not after {seconds} s");
        assert_eq!((places.len(), places.timed_out.get()), (0, 1));
    }

    #[test]
    fn each_phase_has_its_deadline() {
        check_closed_after(5, |_, _| {});
        check_closed_after(10, |_, it| it.received(1));
        check_closed_after(8, |clock, it| {
            it.received(1);
            clock.advance(2);
            it.received(1000);
        });
        check_closed_after(20, |_, it| it.begin_body());
        check_closed_after(25, |_, it| {
            it.begin_body();
            it.received(5999);
        });
        check_closed_after(21, |_, it| {
            it.begin_answer();
            it.sent(1999);
        });
        check_closed_after(60, |clock, it| {
            it.begin_work();
            clock.advance(1_000_000);
            it.begin_answer();
            it.flushed();
        });
    }

    #[test]
    fn who_is_at_work_is_left_alone() {
        let (clock, places) = places(1);
        let place = places.take().unwrap();
        place.connection.begin_work();
        place.connection.received(1);
        place.connection.flushed();
        clock.advance(1_000_000);
        places.sweep();
        assert!(!is_closed(&place));
        assert!(places.take().is_none());
        assert_eq!((places.refused.get(), places.displaced.get()), (1, 0));
    }

    #[test]
    fn the_longest_silent_gives_its_place_to_a_newcomer() {
        let (clock, places) = places(4);
        let taken: Vec<Place> = (0..4)
            .map(|_| {
                clock.advance(1);
                places.take().unwrap()
            })
            .collect();
        taken[0].connection.begin_work();
        taken[1].connection.begin_body();
        let mut newcomers = Vec::new();
        for expected in [2, 3] {
            clock.advance(1);
            newcomers.push(places.take().unwrap());
            newcomers.last().unwrap().connection.begin_work();
            assert!(is_closed(&taken[expected]), "{expected}");
        }
        assert!(!is_closed(&taken[1]));
        newcomers.push(places.take().unwrap());
        newcomers.last().unwrap().connection.begin_work();
        assert!(is_closed(&taken[1]), "in the middle of a message, but nobody else is left");
        assert!(places.take().is_none());
        assert_eq!(places.len(), 4);
        drop(newcomers);
        assert_eq!(places.len(), 1);
    }
}
