//! [`PollerContext`]: what a store uses to notify its poller, to report to it and to read its schedule.

use parking_lot::{Mutex, MutexGuard};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::{FleetFailure, KeyFingerprint};

/// The intervals and timeouts of a poller, for stores that derive theirs from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PollerSchedule {
    /// The time from the end of one load to the start of the next, before jitter.
    pub poll_interval: Duration,
    /// The timeout of one provider call.
    pub provider_timeout: Duration,
    /// The age from which an unconfirmed copy counts as stale.
    pub max_staleness: Duration,
    /// How much longer this worker sends no request because of an earlier failure; zero if it may send one.
    pub fetch_backoff: Duration,
    /// Whether loads happen only on demand (manual mode), without ticks.
    pub manual: bool,
    /// The secret key that this worker sends, if its source exposes one.
    pub key: Option<KeyFingerprint>,
}

impl PollerSchedule {
    /// A schedule with this poll interval and the default values for the rest.
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

/// What a store knows about its fleet. Each report replaces the previous one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetStatus {
    /// How long ago the API last confirmed the copy to a leader. `None` if the store does not know.
    pub confirmed_ago: Option<Duration>,
    /// When the current leader's lease ends unless renewed. The poller then asks for a decision without waiting for its
    /// tick.
    pub lease_ends_in: Option<Duration>,
    /// The leader received a 402 (quota used up). Every worker then applies its own policy for it.
    pub quota_limited: bool,
    /// A worker requested a refresh since the last decision of a leader. Reported to the leader only, by its decision,
    /// which also removes the request from the store. The leader then asks the API.
    pub refresh_requested: bool,
    /// The fleet's last failed request, with its age. `None` once a leader succeeds, and from stores that do not keep
    /// it.
    pub fleet_failure: Option<FleetFailure>,
}

impl FleetStatus {
    /// An empty status: nothing is known.
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

    /// Sets [`refresh_requested`](Self::refresh_requested).
    #[must_use]
    pub fn refresh_requested(mut self, requested: bool) -> Self {
        self.refresh_requested = requested;
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
struct Shared {
    changed: Notify,
    refresh: Notify,
    report: Mutex<Option<FleetStatus>>,
    schedule: Mutex<PollerSchedule>,
}

// No code panics while it holds one of these locks, so the data behind a poisoned one is consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

/// A store's connection to its poller: a weak reference, cheap to clone, usable from any thread, in or out of a
/// runtime.
///
/// It does not keep the poller running. Once the poller is gone, calls do nothing.
#[derive(Clone, Debug)]
pub struct PollerContext {
    shared: Weak<Shared>,
}

impl PollerContext {
    /// Requests a load because the stored copy, or the leader, may have changed.
    ///
    /// Never blocks. Calls that come before the poller reacts are merged into one load. Such a load decides and reads
    /// like any other, but never fetches because its decision or read failed.
    pub fn notify_changed(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.changed.notify_one();
        }
    }

    /// Passes on that a worker requested a refresh. If this worker leads, it asks the API at once, and again after 1 and
    /// 3 s while the answer is 304, but sends at most one such request a second; otherwise it does nothing.
    ///
    /// Never blocks. Calls that come before the poller reacts are merged.
    pub fn notify_refresh_requested(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.refresh.notify_one();
        }
    }

    /// Reports what the store knows about the fleet. Call it from `should_fetch_flag_definitions`: the poller uses a
    /// report once the provider call during which, or before which, it was made returns.
    pub fn report(&self, report: FleetStatus) {
        if let Some(shared) = self.shared.upgrade() {
            *lock(&shared.report) = Some(report);
        }
    }

    /// The poller's current intervals and timeouts; `None` once the poller is gone.
    pub fn schedule(&self) -> Option<PollerSchedule> {
        self.shared.upgrade().map(|shared| *lock(&shared.schedule))
    }

    /// Whether the poller still exists.
    pub fn is_connected(&self) -> bool {
        self.shared.strong_count() > 0
    }
}

/// The poller's side of [`PollerContext`]. Public so that the tests of a store can stand in for a poller.
#[derive(Debug)]
pub struct PollerContextOwner {
    shared: Arc<Shared>,
}

impl PollerContextOwner {
    /// The poller's side, with this schedule.
    pub fn new(schedule: PollerSchedule) -> Self {
        let shared = Shared {
            changed: Notify::new(),
            refresh: Notify::new(),
            report: Mutex::new(None),
            schedule: Mutex::new(schedule),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// A store's side, to be passed to `on_poller_attached`.
    pub fn context(&self) -> PollerContext {
        PollerContext {
            shared: Arc::downgrade(&self.shared),
        }
    }

    /// Waits for the next notification. Cancel safe: one notification is kept if it comes while no one waits.
    pub async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    /// Waits for the next request for a refresh. Cancel safe, like [`changed`](Self::changed).
    pub async fn refresh_requested(&self) {
        self.shared.refresh.notified().await;
    }

    /// Takes the last report, if there is one that was not taken yet.
    pub fn take_report(&self) -> Option<FleetStatus> {
        lock(&self.shared.report).take()
    }

    /// Replaces the schedule that [`PollerContext::schedule`] returns.
    pub fn set_schedule(&self, schedule: PollerSchedule) {
        *lock(&self.shared.schedule) = schedule;
    }
}
