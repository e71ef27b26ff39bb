//! The executor of background jobs.
//!
//! Jobs are small values in one queue; threads take the most urgent one that is due. A job that is
//! in the queue already is not put there twice, so the queue is bounded by the number of
//! collections and of bulk writes. Without threads, in a simulated world, the caller runs what is
//! due by [`Executor::take_due`].

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tidemark_catalog::ids::CollectionId;

use crate::bulk::StageTask;
use crate::env::Clock;
use crate::error::JobError;
use crate::inspect::{JobPhase, JobState};

pub(crate) mod flush;
pub(crate) mod gc;
pub(crate) mod merge;
mod pace;
pub(crate) mod retention;

/// Something to do in the background.
#[derive(Clone)]
pub(crate) enum Job {
    /// Write the frozen memtables of a collection.
    Flush(CollectionId),
    /// Write rows of a bulk write that is not committed yet.
    Stage(Arc<StageTask>),
    /// Merge segments, wherever it is most worth it.
    Merge,
    /// Remove log files that no collection needs.
    TruncateLog,
    /// Remove files of segments that no manifest names and no snapshot pins.
    CollectGarbage,
    /// Drop partitions that are over their time to live.
    Retain,
    /// Freeze memtables that are idle or old.
    Age,
}

impl Job {
    /// Lower is more urgent.
    fn urgency(&self) -> u8 {
        match self {
            Job::Age => 0,
            Job::Stage(_) | Job::Flush(_) => 1,
            Job::TruncateLog | Job::Retain => 2,
            Job::CollectGarbage => 3,
            Job::Merge => 4,
        }
    }

    /// What it is called, and of which collection it is.
    fn name(&self) -> (&'static str, Option<CollectionId>) {
        match self {
            Job::Flush(id) => ("flush", Some(*id)),
            Job::Stage(task) => ("stage", Some(task.collection())),
            Job::Merge => ("merge", None),
            Job::TruncateLog => ("truncate log", None),
            Job::CollectGarbage => ("collect garbage", None),
            Job::Retain => ("retain", None),
            Job::Age => ("age", None),
        }
    }

    fn is_same(&self, other: &Job) -> bool {
        match (self, other) {
            (Job::Flush(left), Job::Flush(right)) => left == right,
            (Job::Stage(left), Job::Stage(right)) => Arc::ptr_eq(left, right),
            (Job::TruncateLog, Job::TruncateLog)
            | (Job::CollectGarbage, Job::CollectGarbage)
            | (Job::Merge, Job::Merge)
            | (Job::Retain, Job::Retain)
            | (Job::Age, Job::Age) => true,
            _ => false,
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Job::Flush(id) => write!(f, "Flush({id})"),
            Job::Stage(_) => f.write_str("Stage"),
            Job::TruncateLog => f.write_str("TruncateLog"),
            Job::CollectGarbage => f.write_str("CollectGarbage"),
            Job::Merge => f.write_str("Merge"),
            Job::Retain => f.write_str("Retain"),
            Job::Age => f.write_str("Age"),
        }
    }
}

/// The queue of jobs.
#[derive(Debug)]
pub(crate) struct Executor {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Signalled when a job comes and on stopping.
    wake: Condvar,
    /// Signalled on stopping.
    stopped: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: Vec<Queued>,
    running: Vec<Running>,
    next_sequence: u64,
    stopping: bool,
}

#[derive(Debug)]
struct Queued {
    job: Job,
    /// On the monotonic clock.
    due: Duration,
    sequence: u64,
}

/// A job that somebody runs.
#[derive(Debug)]
struct Running {
    name: &'static str,
    collection: Option<CollectionId>,
    /// On the monotonic clock.
    since: Duration,
    sequence: u64,
}

/// A job is running for as long as there is this.
#[derive(Debug)]
pub(crate) struct RunningGuard<'a> {
    executor: &'a Executor,
    sequence: u64,
}

impl Drop for RunningGuard<'_> {
    fn drop(&mut self) {
        self.executor.lock().running.retain(|running| running.sequence != self.sequence);
    }
}

impl Executor {
    /// Notes that a job is being run.
    pub(crate) fn begin(&self, job: &Job) -> RunningGuard<'_> {
        let (name, collection) = job.name();
        let since = self.clock.monotonic();
        let mut state = self.lock();
        let sequence = state.next_sequence;
        state.next_sequence += 1;
        state.running.push(Running { name, collection, since, sequence });
        RunningGuard { executor: self, sequence }
    }

    /// What is run, longest first, and what waits, soonest first.
    pub(crate) fn jobs(&self) -> Vec<JobState> {
        let now = self.clock.monotonic();
        let state = self.lock();
        let running = state.running.iter().map(|it| JobState {
            name: it.name,
            collection: it.collection,
            phase: JobPhase::Running(now.saturating_sub(it.since)),
        });
        let mut waiting: Vec<&Queued> = state.queue.iter().collect();
        waiting.sort_by_key(|queued| (queued.due, queued.job.urgency(), queued.sequence));
        let waiting = waiting.into_iter().map(|queued| {
            let (name, collection) = queued.job.name();
            JobState { name, collection, phase: JobPhase::Waiting(queued.due.saturating_sub(now)) }
        });
        running.chain(waiting).collect()
    }

    pub(crate) fn new(clock: Arc<dyn Clock>) -> Executor {
        Executor { clock, state: Mutex::default(), wake: Condvar::new(), stopped: Condvar::new() }
    }

    /// Puts a job in the queue, to be run after a delay. One that is there already is run at the
    /// earlier of both times.
    pub(crate) fn submit(&self, job: Job, delay: Duration) {
        let due = self.clock.monotonic() + delay;
        let mut state = self.lock();
        if state.stopping {
            drop(state);
            if let Job::Stage(task) = job {
                task.fail(JobError::ShutDown);
            }
            return;
        }
        if let Some(queued) = state.queue.iter_mut().find(|queued| queued.job.is_same(&job)) {
            queued.due = queued.due.min(due);
        } else {
            let sequence = state.next_sequence;
            state.next_sequence += 1;
            state.queue.push(Queued { job, due, sequence });
        }
        drop(state);
        self.wake.notify_one();
    }

    /// The most urgent job that is due.
    pub(crate) fn take_due(&self) -> Option<Job> {
        take_due(&mut self.lock(), self.clock.monotonic())
    }

    /// Waits for a job that is due; `None` when the executor stops.
    pub(crate) fn wait(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.stopping {
                return None;
            }
            let now = self.clock.monotonic();
            if let Some(job) = take_due(&mut state, now) {
                return Some(job);
            }
            let next = state.queue.iter().map(|queued| queued.due).min();
            state = match next {
                None => self.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(due) => {
                    let waited = self.wake.wait_timeout(state, due.saturating_sub(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Takes no more jobs and forgets those in the queue; a job that runs goes on.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        let forgotten = std::mem::take(&mut state.queue);
        drop(state);
        for queued in forgotten {
            if let Job::Stage(task) = queued.job {
                task.fail(JobError::ShutDown);
            }
        }
        self.wake.notify_all();
        self.stopped.notify_all();
    }

    /// Waits so long, or until the executor stops.
    pub(crate) fn pause(&self, wait: Duration) {
        let waited = self.stopped.wait_timeout_while(self.lock(), wait, |state| !state.stopping);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take_due(state: &mut State, now: Duration) -> Option<Job> {
    let due = state.queue.iter().enumerate().filter(|(_, queued)| queued.due <= now);
    let (at, _) = due.min_by_key(|(_, queued)| (queued.job.urgency(), queued.sequence))?;
    Some(state.queue.swap_remove(at).job)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim::World;

    fn taken(executor: &Executor) -> Vec<String> {
        std::iter::from_fn(|| executor.take_due()).map(|job| format!("{job:?}")).collect()
    }

    #[test]
    fn urgent_jobs_come_first_and_each_once() {
        let executor = Executor::new(World::new(1).env().clock);
        for job in [
            Job::CollectGarbage,
            Job::Flush(CollectionId(1)),
            Job::TruncateLog,
            Job::Flush(CollectionId(2)),
            Job::Flush(CollectionId(1)),
        ] {
            executor.submit(job, Duration::ZERO);
        }
        assert_eq!(taken(&executor), ["Flush(1)", "Flush(2)", "TruncateLog", "CollectGarbage"]);
    }

    #[test]
    fn a_job_is_not_run_before_its_time() {
        let world = World::new(1);
        let executor = Executor::new(world.env().clock);
        executor.submit(Job::TruncateLog, Duration::from_secs(2));
        assert_eq!(taken(&executor), [""; 0]);
        world.advance(Duration::from_secs(2));
        assert_eq!(taken(&executor), ["TruncateLog"]);
    }

    #[test]
    fn what_runs_and_what_waits_is_told() {
        let world = World::new(1);
        let executor = Executor::new(world.env().clock);
        executor.submit(Job::Age, Duration::from_secs(9));
        executor.submit(Job::Flush(CollectionId(7)), Duration::ZERO);
        let job = executor.take_due().unwrap();
        let running = executor.begin(&job);
        world.advance(Duration::from_secs(2));
        let told = |executor: &Executor| -> Vec<_> {
            executor.jobs().into_iter().map(|job| (job.name, job.collection, job.phase)).collect()
        };
        let age = ("age", None, JobPhase::Waiting(Duration::from_secs(7)));
        let flush = ("flush", Some(CollectionId(7)), JobPhase::Running(Duration::from_secs(2)));
        assert_eq!(told(&executor), [flush, age]);
        drop(running);
        assert_eq!(told(&executor), [age]);
    }

    #[test]
    fn the_earlier_of_two_times_counts() {
        let executor = Executor::new(World::new(1).env().clock);
        executor.submit(Job::Age, Duration::from_secs(9));
        executor.submit(Job::Age, Duration::ZERO);
        assert_eq!(taken(&executor), ["Age"]);
    }
}
