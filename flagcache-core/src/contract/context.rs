//! The line from a store to its poller.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::{FleetFailure, KeyFingerprint};

/// The intervals and limits of a poller, for a store that times something by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PollerSchedule {
    /// From the end of one load to the start of the next, before jitter.
    pub poll_interval: Duration,
    /// The limit of one provider call.
    pub provider_timeout: Duration,
    /// The age from which an unconfirmed copy counts as stale.
    pub max_staleness: Duration,
    /// How much longer this worker sends no request because the API failed; zero when it may.
    pub fetch_backoff: Duration,
    /// Whether loads happen only on demand (manual mode): no tick will come by itself.
    pub manual: bool,
    /// The key with which this worker asks the API, as far as its source says.
    pub key: Option<KeyFingerprint>,
}

impl PollerSchedule {
    /// The schedule of a poller with this interval, and the defaults for the rest.
    pub fn new(poll_interval: Duration) -> Self {
        Self {
            poll_interval,
            provider_timeout: Duration::from_secs(2),
            max_staleness: poll_interval
                .saturating_mul(10)
                .max(Duration::from_secs(300)),
            fetch_backoff: Duration::ZERO,
            manual: false,
            key: None,
        }
    }
}

/// What a store knows about its fleet. Each report replaces the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetStatus {
    /// How long ago a leader last heard from the API that the copy is current. `None` if the store does not know.
    pub confirmed_ago: Option<Duration>,
    /// When the present leader's lease ends unless renewed. The poller asks for a decision again then, not only at a tick.
    pub lease_ends_in: Option<Duration>,
    /// The leader was told 402 (quota used up). Every worker then applies its own policy for it.
    pub quota_limited: bool,
    /// What the API last answered a leader that could not fetch, with its age; `None` once a leader could, and from a store
    /// that does not keep it.
    pub fleet_failure: Option<FleetFailure>,
}

impl FleetStatus {
    /// A report that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`confirmed_ago`](Self::confirmed_ago).
    #[must_use]
    pub fn confirmed_ago(mut self, ago: impl Into<Option<Duration>>) -> Self {
        self.confirmed_ago = ago.into();
        self
    }

    /// Sets [`lease_ends_in`](Self::lease_ends_in).
    #[must_use]
    pub fn lease_ends_in(mut self, remaining: impl Into<Option<Duration>>) -> Self {
        self.lease_ends_in = remaining.into();
        self
    }

    /// Sets [`quota_limited`](Self::quota_limited).
    #[must_use]
    pub fn quota_limited(mut self, limited: bool) -> Self {
        self.quota_limited = limited;
        self
    }

    /// Sets [`fleet_failure`](Self::fleet_failure).
    #[must_use]
    pub fn fleet_failure(mut self, failure: impl Into<Option<FleetFailure>>) -> Self {
        self.fleet_failure = failure.into();
        self
    }
}

#[derive(Debug)]
struct Line {
    changed: Notify,
    report: Mutex<Option<FleetStatus>>,
    schedule: Mutex<PollerSchedule>,
}

// Nothing can panic while one of these is held; a poisoned lock is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a store holds of its poller: a weak line, cheap to clone, usable from any thread, in or out of a runtime.
///
/// It keeps nothing alive. Once the poller is gone, calls do nothing.
#[derive(Clone, Debug)]
pub struct PollerContext {
    line: Weak<Line>,
}

impl PollerContext {
    /// Asks the poller for a load because the store's copy, or who leads, may have changed.
    ///
    /// Never blocks. Many calls before the poller gets to it make one load. Such a load asks the decision and reads as
    /// any other, but a failing decision or read in it is never a reason to fetch.
    pub fn notify_changed(&self) {
        if let Some(line) = self.line.upgrade() {
            line.changed.notify_one();
        }
    }

    /// Tells the poller what the store knows about the fleet. The poller takes it up after the provider call in which, or
    /// before which, it was made; call it from `should_fetch_flag_definitions`.
    pub fn report(&self, report: FleetStatus) {
        if let Some(line) = self.line.upgrade() {
            *lock(&line.report) = Some(report);
        }
    }

    /// The poller's intervals and limits now; `None` once the poller is gone.
    pub fn schedule(&self) -> Option<PollerSchedule> {
        self.line.upgrade().map(|line| *lock(&line.schedule))
    }

    /// Whether the poller is still there.
    pub fn is_connected(&self) -> bool {
        self.line.strong_count() > 0
    }
}

/// The poller's end of the line. Public so that a store's own tests can stand in for a poller.
#[derive(Debug)]
pub struct PollerContextOwner {
    line: Arc<Line>,
}

impl PollerContextOwner {
    /// A line for a poller with this schedule.
    pub fn new(schedule: PollerSchedule) -> Self {
        let line = Line {
            changed: Notify::new(),
            report: Mutex::new(None),
            schedule: Mutex::new(schedule),
        };
        Self {
            line: Arc::new(line),
        }
    }

    /// The store's end.
    pub fn link(&self) -> PollerContext {
        PollerContext {
            line: Arc::downgrade(&self.line),
        }
    }

    /// Waits for the next notification. Cancel safe: a notification that comes while nobody waits is kept, once.
    pub async fn changed(&self) {
        self.line.changed.notified().await;
    }

    /// Takes the last report, if one came since it was last taken.
    pub fn take_report(&self) -> Option<FleetStatus> {
        lock(&self.line.report).take()
    }

    /// Replaces the schedule that [`PollerContext::schedule`] returns.
    pub fn set_schedule(&self, schedule: PollerSchedule) {
        *lock(&self.line.schedule) = schedule;
    }
}
