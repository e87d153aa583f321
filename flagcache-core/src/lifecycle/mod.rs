//! [`Machine`]: the state machine of a poller. No I/O and no clock; time is an argument.
//!
//! [`Machine::handle`] takes an [`Event`] and returns the [`Step`]s to carry out. [`Freshness`] is the state kept from
//! load to load, [`Load`] the progress of the current load; `load.rs` has its steps in their order. At most one provider
//! call and one GET are in progress at any time; both only when a worker without definitions waits for a slow store and
//! fetches meanwhile (the *hedge*).

mod backoff;
mod event;
mod fetch;
mod freshness;
mod hold;
mod load;
mod policy;
mod requests;
#[cfg(test)]
mod tests;
mod waste;

use std::mem;
use std::time::Duration;

use tokio::time::Instant;

use backoff::Backoff;
pub use event::DefinitionsOrigin;
pub(crate) use event::{Call, CallError, Event, Fetched, Notice, Reply, RequestedBy, Step};
use freshness::Freshness;
use hold::Hold;
use load::{FetchState, Load, LoadCause, ReadReason};
pub(crate) use policy::Policy;
pub use policy::{OnQuotaLimited, OnUnauthorized, OnWastedUnits, ReadFailure};
use requests::Requests;
use waste::Waste;

use crate::{FetchErrorKind, FleetFailure, KeyFingerprint};

/// Minimum time between two loads triggered by notifications, so that a store that notifies constantly causes at most
/// 50 loads per second.
const NOTIFICATION_GAP: Duration = Duration::from_millis(20);

/// Whether this worker leads the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Its last decision was true, or it has no provider: it fetches.
    Leader,
    /// Its last decision was false: it reads the stored copy.
    Follower,
    /// It has no secret key: it only ever reads.
    Reader,
    /// No decision was made yet, or the last one failed.
    Undecided,
}

impl Role {
    /// The stable, lower-case name used in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Reader => "reader",
            Self::Undecided => "undecided",
        }
    }
}

/// What the machine waits for.
#[derive(Debug)]
enum Phase {
    Idle,
    Deciding,
    ReadingStored,
    Reading(ReadReason),
    Fetching,
    Publishing,
    Reporting,
    /// A follower without definitions waits for the leader to publish.
    Pausing {
        since: Instant,
        until: Instant,
    },
    ShuttingDown,
    Ended,
}

/// The store's last [`FleetStatus`], in this machine's time.
#[derive(Debug, Default)]
struct Fleet {
    confirmed_at: Option<Instant>,
    lease_ends_at: Option<Instant>,
    quota_limited: bool,
    /// A worker requested a refresh that no leader has carried out; this worker's decision took it.
    refresh_requested: bool,
    /// The fleet's failure, and when it was recorded.
    failure: Option<(FleetFailure, Instant)>,
}

/// How long a cold start has waited for the leader's copy. Happens once per worker.
#[derive(Clone, Copy, Debug)]
enum ColdWait {
    NotBegun,
    Waiting {
        until: Instant,
        last_read_at: Instant,
    },
    Over,
}

/// The state machine of one poller.
#[derive(Debug)]
pub(crate) struct Machine {
    policy: Policy,
    rng: fastrand::Rng,
    freshness: Freshness,
    backoff: Backoff,
    role: Role,
    /// The last successful decision was true, and this worker has not stepped down since.
    led: bool,
    /// The leader's publish of the current definitions failed.
    unpublished: bool,
    cold_wait: ColdWait,
    fleet: Fleet,
    /// The failure that this worker last reported, for stores that do not keep it.
    own_failure: Option<(FleetFailure, Instant)>,
    /// The key that the next request carries.
    key: Option<KeyFingerprint>,
    /// Set while the store is down: when a worker with definitions first fetches.
    fetch_for_outage_at: Option<Instant>,
    /// For how many ticks in a row the copy in a reachable store was damaged.
    damaged_ticks: u32,
    /// The API refused this worker (401, 403, 402), and it has neither fetched nor followed since.
    refusal: Option<FetchErrorKind>,
    requests: Requests,
    waste: Waste,
    /// The change that is held back.
    hold: Option<Hold>,
    load: Load,
    phase: Phase,
    generation: u64,
    stopping: bool,
    /// When the pending notification, if there is one, becomes due.
    pending_notification: Option<Instant>,
    next_tick: Option<Instant>,
    /// When to load before the tick, because the last reported lease ends.
    lease_end: Option<Instant>,
    last_load_ended: Option<Instant>,
}

impl Machine {
    /// A machine whose first load is due at once (never by itself in manual mode).
    pub(crate) fn new(policy: Policy, now: Instant, seed: u64) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
            freshness: Freshness::default(),
            backoff: Backoff::new(policy.poll_interval, policy.fail_open_interval),
            role: Role::Undecided,
            led: false,
            unpublished: false,
            cold_wait: ColdWait::NotBegun,
            fleet: Fleet::default(),
            own_failure: None,
            key: None,
            fetch_for_outage_at: None,
            damaged_ticks: 0,
            refusal: None,
            requests: Requests::default(),
            waste: Waste::default(),
            hold: None,
            load: Load::new(LoadCause::Tick),
            phase: Phase::Idle,
            generation: 0,
            stopping: false,
            pending_notification: None,
            next_tick: (!policy.manual).then_some(now),
            lease_end: None,
            last_load_ended: None,
            policy,
        }
    }

    /// When the next [`Event::Timer`] is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.stopping {
            // No new work starts, so an expired deadline would fire for ever.
            return None;
        }
        match self.phase {
            Phase::Idle => [
                self.next_tick,
                self.lease_end,
                self.requested_at(),
                self.notification_due(),
            ]
            .into_iter()
            .flatten()
            .min(),
            Phase::Pausing { until, .. } => Some(until),
            Phase::Deciding | Phase::ReadingStored | Phase::Reading(_) => self.load.hedge_at,
            Phase::Fetching
            | Phase::Publishing
            | Phase::Reporting
            | Phase::ShuttingDown
            | Phase::Ended => None,
        }
    }

    /// Whether nothing happens before the next event; in manual mode, before the next call of a handle.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle) && self.requests.due().is_none()
    }

    /// Whether shutdown was requested.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    pub(crate) fn origin(&self) -> Option<DefinitionsOrigin> {
        self.freshness.origin()
    }

    /// When the API last confirmed the definitions in memory, and whether they are used unconfirmed.
    pub(crate) fn confirmation(&self) -> (Option<Instant>, bool) {
        self.freshness.confirmation()
    }

    /// How much longer this worker sends no request because of its last failure.
    pub(crate) fn backoff(&self, now: Instant) -> Duration {
        self.backoff.backoff(now)
    }

    /// The failure of the last request, of this worker or the fleet's leader, until one succeeds.
    pub(crate) fn last_failure(&self) -> Option<FetchErrorKind> {
        self.backoff
            .last_failure()
            .or(self.fleet.failure.map(|(failure, _)| failure.kind()))
    }

    /// Whether the API refuses this worker's keys or the project's quota is used up, by its own request or by the
    /// leader's failure that the store reported.
    pub(crate) fn refusal(&self) -> Option<FetchErrorKind> {
        let fleet = self.fleet.failure.map(|(failure, _)| failure.kind());
        self.refusal
            .or(self
                .fleet
                .quota_limited
                .then_some(FetchErrorKind::QuotaLimited))
            .or(fleet.filter(|kind| *kind == FetchErrorKind::Unauthorized))
    }

    /// Sets the key that the next request carries.
    pub(crate) fn set_key(&mut self, key: Option<KeyFingerprint>) {
        self.key = key;
    }

    /// Processes an event. The steps must be carried out in order.
    pub(crate) fn handle(&mut self, now: Instant, event: Event) -> Vec<Step> {
        let mut steps = Vec::new();
        self.dispatch(now, event, &mut steps);
        steps
    }

    fn dispatch(&mut self, now: Instant, event: Event, steps: &mut Vec<Step>) {
        if let Event::Stop = event {
            return self.stop(steps);
        }
        if self.stopping {
            return self.wind_down(&event, steps);
        }
        match (event, &self.phase) {
            (Event::Timer, _) => self.timer(now, steps),
            (Event::Refresh, Phase::Idle) => self.begin(now, LoadCause::Refresh, steps),
            // Joins the running load. As a caller waits for it now, it must do more than a notification or a requested
            // refresh asks for.
            (Event::Refresh, _) => {
                if let LoadCause::Notification | LoadCause::LeaseEnd | LoadCause::Request =
                    self.load.cause
                {
                    self.load.cause = LoadCause::Refresh;
                }
            }
            (Event::Notification, _) => self.notification(now, steps),
            (Event::RefreshRequested(by), _) => self.refresh_requested(now, by, steps),
            (Event::Reported(report), _) => self.reported(now, report),
            (Event::Replied(reply), phase) => match (reply, phase) {
                (Reply::Decision(decision), Phase::Deciding) => self.decided(now, decision, steps),
                (Reply::Definitions(copy), Phase::ReadingStored) => self.stored(now, copy, steps),
                (Reply::Definitions(copy), Phase::Reading(reason)) => {
                    self.read(now, *reason, copy, steps)
                }
                (Reply::Done(done), Phase::Publishing) => self.published(now, done, steps),
                (Reply::Done(_), Phase::Reporting) => self.end(now, steps),
                _ => {}
            },
            (
                Event::Fetched {
                    generation,
                    fetched,
                },
                _,
            ) if generation == self.generation => {
                self.fetched(now, fetched, steps);
            }
            // A late answer to something that was cancelled or replaced.
            _ => {}
        }
    }

    fn stop(&mut self, steps: &mut Vec<Step>) {
        if mem::replace(&mut self.stopping, true) {
            return;
        }
        if let FetchState::InFlight { .. } = self.load.get {
            self.load.get = FetchState::NotSent;
            steps.push(Step::CancelFetch);
        }
        match self.phase {
            Phase::Idle | Phase::Fetching | Phase::Pausing { .. } => self.shut_down(steps),
            // Wait for the current call to return: the provider's shutdown never overlaps another call.
            _ => {}
        }
    }

    fn wind_down(&mut self, event: &Event, steps: &mut Vec<Step>) {
        let Event::Replied(_) = event else { return };
        if let Phase::ShuttingDown = self.phase {
            self.phase = Phase::Ended;
            steps.push(Step::Ended);
        } else {
            self.shut_down(steps);
        }
    }

    fn shut_down(&mut self, steps: &mut Vec<Step>) {
        if self.policy.has_provider {
            self.phase = Phase::ShuttingDown;
            steps.push(Step::Call(Call::Shutdown));
        } else {
            self.phase = Phase::Ended;
            steps.push(Step::Ended);
        }
    }

    fn timer(&mut self, now: Instant, steps: &mut Vec<Step>) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        match self.phase {
            Phase::Idle => {
                let cause = if self.next_tick.is_some_and(|at| now >= at) {
                    LoadCause::Tick
                } else if self.lease_end.is_some_and(|at| now >= at) {
                    LoadCause::LeaseEnd
                } else if self.requested_at().is_some_and(|at| now >= at) {
                    LoadCause::Request
                } else {
                    LoadCause::Notification
                };
                self.begin(now, cause, steps);
            }
            Phase::Pausing { .. } => self.after_pause(now, steps),
            Phase::Deciding | Phase::ReadingStored | Phase::Reading(_) => self.hedge(now, steps),
            Phase::Fetching
            | Phase::Publishing
            | Phase::Reporting
            | Phase::ShuttingDown
            | Phase::Ended => {}
        }
    }

    fn notification(&mut self, now: Instant, steps: &mut Vec<Step>) {
        match self.phase {
            Phase::Pausing { since, .. } if now >= since + NOTIFICATION_GAP => {
                self.after_pause(now, steps)
            }
            Phase::Pausing { since, until } => {
                self.phase = Phase::Pausing {
                    since,
                    until: until.min(since + NOTIFICATION_GAP),
                };
            }
            // Also during a load: it may have read before the change.
            _ => {
                // A pending notification keeps its due time; only a cold worker resets it.
                if self.pending_notification.is_none() || self.freshness.is_cold() {
                    self.pending_notification = Some(now + self.notification_jitter());
                }
                if matches!(self.phase, Phase::Idle)
                    && self.notification_due().is_some_and(|due| now >= due)
                {
                    self.begin(now, LoadCause::Notification, steps);
                }
            }
        }
    }

    /// Only a leader carries out what the store passes on. Whoever leads next fetches anyway.
    fn refresh_requested(&mut self, now: Instant, by: RequestedBy, steps: &mut Vec<Step>) {
        let concerns = match by {
            // In manual mode only this worker's handle causes loads.
            RequestedBy::Store => self.led && !self.policy.manual,
            RequestedBy::Handle => self.led,
            RequestedBy::HandleAlone => self.policy.can_fetch,
        };
        if !concerns {
            return;
        }
        self.requests.request(now, by == RequestedBy::HandleAlone);
        if let (Phase::Idle, Some(at)) = (&self.phase, self.requested_at())
            && now >= at
        {
            self.begin(now, LoadCause::Request, steps);
        }
    }

    /// When the next requested GET is due: not before the backoff ends.
    fn requested_at(&self) -> Option<Instant> {
        let due = self.requests.due()?;
        Some(self.backoff.ends_at().map_or(due, |ends| ends.max(due)))
    }

    fn notification_due(&self) -> Option<Instant> {
        if self.policy.manual {
            return None;
        }
        let pending_notification = self.pending_notification?;
        // The first load is due with its tick, whatever is pending.
        self.last_load_ended
            .map(|ended| pending_notification.max(ended + NOTIFICATION_GAP))
            .or(self.next_tick)
    }

    /// The jitter of a notification, so that the workers of a large fleet do not all read a change at once. None for a
    /// worker without definitions, nor for a leader, which may find a request for a refresh.
    fn notification_jitter(&mut self) -> Duration {
        if self.freshness.is_cold() || self.led {
            Duration::ZERO
        } else {
            self.policy.notification_jitter.mul_f64(self.rng.f64())
        }
    }

    /// One poll interval after the load's end, with 10 % jitter, so that workers do not poll in lockstep.
    fn tick_after(&mut self, now: Instant) -> Instant {
        let mut tick = now
            + self
                .policy
                .poll_interval
                .mul_f64(0.9 + 0.2 * self.rng.f64());
        if let Some(at) = self.waste.next_request_at(now)
            && self.role == Role::Leader
        {
            // A leader keeps its ticks, which keep its leadership.
            tick = if self.policy.has_provider {
                tick.min(at)
            } else {
                at
            };
        }
        let Some(backoff_ends) = self
            .backoff
            .ends_at()
            .filter(|backoff_ends| *backoff_ends > now)
        else {
            return tick;
        };
        if !self.policy.has_provider {
            // Nothing to do before a request may be sent again.
            return tick.max(backoff_ends);
        }
        // A leader keeps its ticks, but a tick shortly before the backoff ends waits for that. So does the tick of a
        // worker that has just stepped down: there may be no other leader.
        let probes = self.role == Role::Leader
            || self.own_failure.is_some()
            || self.refusal == Some(FetchErrorKind::Unauthorized);
        let wait_for_backoff =
            probes && backoff_ends < now + self.policy.poll_interval.mul_f64(1.5);
        if wait_for_backoff { backoff_ends } else { tick }
    }
}
