//! [`Leadership`]: the state that a worker keeps about its own leadership.

use parking_lot::Mutex;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::lock;
use crate::NotificationListener;

/// The leadership of one worker, as far as this process knows. Only a compare-and-swap of the head shows whether the
/// worker still leads.
#[derive(Debug)]
pub(super) struct Leadership {
    worker: String,
    state: Mutex<State>,
    acquired: Notify,
}

#[derive(Debug)]
struct State {
    term: Option<u64>,
    /// A time not later than this leader's last write of the head.
    renewed_at: Instant,
    /// Whether the head may name this worker: it has sent a write with its name, and has not read a record without it
    /// since.
    may_lead: bool,
    steps_down_until: Option<Instant>,
    load_began: Instant,
}

impl Leadership {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            worker: NotificationListener::worker_name(),
            state: Mutex::new(State {
                term: None,
                renewed_at: now,
                may_lead: false,
                steps_down_until: None,
                load_began: now,
            }),
            acquired: Notify::new(),
        }
    }

    /// The random, unique name of the worker.
    pub(super) fn worker(&self) -> &str {
        &self.worker
    }

    /// Records the begin of a load. Returns whether the worker may lead in it.
    pub(super) fn begin_load(&self) -> bool {
        let mut state = lock(&self.state);
        let now = Instant::now();
        state.load_began = now;
        if state.steps_down_until.is_some_and(|until| now < until) {
            return false;
        }
        state.steps_down_until = None;
        true
    }

    pub(super) fn attempt(&self) {
        lock(&self.state).may_lead = true;
    }

    /// Records that the head names this worker in this term; `renewed_at` is the time of the write, if the worker just
    /// wrote it.
    pub(super) fn hold(&self, term: u64, renewed_at: Option<Instant>) {
        let mut state = lock(&self.state);
        let acquired = state.term != Some(term);
        state.term = Some(term);
        state.may_lead = true;
        if let Some(at) = renewed_at {
            state.renewed_at = at;
        }
        drop(state);
        if acquired {
            self.acquired.notify_one();
        }
    }

    /// Records that the leader of this term wrote the head at `at`. Ignored if the term has ended.
    pub(super) fn renewed(&self, term: u64, at: Instant) {
        let mut state = lock(&self.state);
        if state.term == Some(term) {
            state.renewed_at = state.renewed_at.max(at);
        }
    }

    /// Records that the head does not name this worker.
    pub(super) fn lose(&self) {
        let mut state = lock(&self.state);
        state.term = None;
        state.may_lead = false;
    }

    pub(super) fn term(&self) -> Option<u64> {
        lock(&self.state).term
    }

    /// The time since this leader's last write of the head.
    pub(super) fn since_renewal(&self) -> Duration {
        lock(&self.state).renewed_at.elapsed()
    }

    /// The time since the last load began.
    pub(super) fn idle(&self) -> Duration {
        lock(&self.state).load_began.elapsed()
    }

    pub(super) fn step_down_for(&self, duration: Duration) {
        // Clamped: `Instant` may not be able to represent a later time.
        const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        lock(&self.state).steps_down_until = Some(Instant::now() + duration.min(YEAR));
    }

    /// Ends the leadership locally. Returns whether the head may still name this worker.
    pub(super) fn end(&self) -> bool {
        let mut state = lock(&self.state);
        state.term = None;
        state.may_lead
    }

    /// Waits until leadership is acquired.
    pub(super) async fn acquired(&self) {
        self.acquired.notified().await;
    }
}
