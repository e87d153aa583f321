//! The lifecycle's decisions: a pure state machine, time as an argument.
//!
//! [`Machine::handle`] is told what happened and answers what to do next; it does no I/O and reads no clock. Its words are
//! [`Event`] (what happened), [`Step`] (what to do), [`Freshness`] (what stays known from load to load) and [`Load`] (how far
//! the running load is). One provider call and one GET at most are under way at any time; normally one or the other,
//! both only when a worker without definitions waits for a slow store and fetches meanwhile (the *hedge*).
//!
//! ```text
//!          ┌────────── decision ──────────┐
//!        true                            false                      failed
//!          │                              │                           │
//!   cold: stored copy            read the store                cold: stored copy
//!          │                   data │  empty │ failed          warm: fail-open limit
//!         GET ◄──────── warm: keep ─┘   │    └─► as a failed decision ─► GET
//!      200 │ 304, failed          cold: wait for the leader, then GET
//!   publish  not received         200: publish only if one more read finds the store empty
//! ```

mod backoff;
mod decision;
mod event;
mod fetching;
mod freshness;
mod policy;
mod reading;
mod reporting;
#[cfg(test)]
mod tests;

use std::mem;
use std::time::Duration;

use tokio::time::Instant;

use backoff::Backoff;
pub use event::DefinitionsOrigin;
pub(crate) use event::{Call, Event, Failed, Fetched, Step};
use freshness::Freshness;
pub(crate) use policy::Policy;
pub use policy::{OnQuotaLimited, OnUnauthorized, ReadFailure};

use crate::{FetchErrorKind, FlagDefinitionCacheData, FleetFailure, KeyFingerprint};

/// Between two loads that notifications ask for. A store that never stops shouting gets fifty loads a second, not a busy loop.
const NOTIFICATION_GAP: Duration = Duration::from_millis(20);

/// How long a failure of the whole fleet counts beyond its window and one interval for workers that do not lead: a load of
/// the leader may take that long.
const LONGEST_LOAD: Duration = Duration::from_secs(20);

/// How many ticks of its own a follower leaves to the leader to repair a damaged copy.
const REPAIR_TICKS: u32 = 2;

/// Whether this worker leads the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Its last decision was true, or it has no provider: it fetches.
    Leader,
    /// Its last decision was false: it reads what the leader stored.
    Follower,
    /// It has no secret key: it only ever reads.
    Reader,
    /// Nothing was decided yet, or the last decision failed.
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

/// ReadReason a load was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LoadCause {
    Tick,
    Refresh,
    Notification,
    /// The leader's lease, as last seen, has run out.
    LeaseEnd,
}

/// ReadReason the store is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadReason {
    /// The decision was false.
    Follow,
    /// Without definitions, and the GET failed.
    LastResort,
    /// Before a worker that is not the leader hands over what it fetched.
    Recheck,
}

/// How far the load's GET is. There is one at most, but for the repetition after an impossible 304.
#[derive(Clone, Debug)]
enum FetchState {
    NotSent,
    InFlight {
        etag: Option<String>,
        repeated: bool,
    },
    New,
    Unchanged,
    Failed(FetchErrorKind),
}

#[derive(Debug)]
struct Load {
    cause: LoadCause,
    /// `None` until the decision came back; then whether this worker leads the load.
    leads: Option<bool>,
    hedge_at: Option<Instant>,
    get: FetchState,
    /// A request of this load failed, in contrast to one that was not sent.
    request_failed: bool,
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
    /// A follower without definitions gives the leader time to publish.
    Pausing {
        since: Instant,
        until: Instant,
    },
    ShuttingDown,
    Ended,
}

/// What the store last told of the fleet, in this machine's time.
#[derive(Debug, Default)]
struct Fleet {
    confirmed_at: Option<Instant>,
    lease_ends_at: Option<Instant>,
    quota_limited: bool,
    /// What the API answered a leader, and when that was.
    failure: Option<(FleetFailure, Instant)>,
}

/// How far a cold start has waited for the leader's copy. Once in a worker's life.
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
    /// The last decision that was answered was true, and the lead was not given up since.
    led: bool,
    /// What the leader fetched, but the store did not take.
    unpublished: bool,
    cold_wait: ColdWait,
    fleet: Fleet,
    /// What this worker would have its store keep for the fleet, for a store that keeps nothing.
    own_failure: Option<(FleetFailure, Instant)>,
    /// The key that the next request carries.
    key: Option<KeyFingerprint>,
    /// The store is down, and this is when a worker with definitions first fetches for itself.
    fetch_for_outage_at: Option<Instant>,
    /// How many ticks in a row the copy in a store that answers was damaged.
    damaged_ticks: u32,
    /// The API refused this worker (401, 403, 402), and it has neither fetched nor followed since.
    refusal: Option<FetchErrorKind>,
    load: Load,
    phase: Phase,
    generation: u64,
    stopping: bool,
    /// When the store's notification that no load has answered yet may be answered.
    noticed: Option<Instant>,
    next_tick: Option<Instant>,
    /// A load before the tick: the lease that was last seen ends.
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
            load: Load {
                cause: LoadCause::Tick,
                leads: None,
                hedge_at: None,
                get: FetchState::NotSent,
                request_failed: false,
            },
            phase: Phase::Idle,
            generation: 0,
            stopping: false,
            noticed: None,
            next_tick: (!policy.manual).then_some(now),
            lease_end: None,
            last_load_ended: None,
            policy,
        }
    }

    /// When [`Event::Timer`] is wanted next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.stopping {
            // Nothing is begun any more, so a deadline would only stay passed.
            return None;
        }
        match self.phase {
            Phase::Idle => [self.next_tick, self.lease_end, self.notification_due()]
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

    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.phase, Phase::Idle)
    }

    /// The end was asked for.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping
    }

    pub(crate) fn role(&self) -> Role {
        self.role
    }

    pub(crate) fn source(&self) -> Option<DefinitionsOrigin> {
        self.freshness.source()
    }

    /// When the API last confirmed what is in memory, and whether it is used although nobody did.
    pub(crate) fn confirmation(&self) -> (Option<Instant>, bool) {
        self.freshness.confirmation()
    }

    /// How much longer this worker sends no request because the last one failed.
    pub(crate) fn backoff(&self, now: Instant) -> Duration {
        self.backoff.backoff(now)
    }

    /// The failure of the last request, of this worker or the fleet's leader, until one succeeds.
    pub(crate) fn last_failure(&self) -> Option<FetchErrorKind> {
        self.backoff
            .last_failure()
            .or(self.fleet.failure.map(|(failure, _)| failure.kind()))
    }

    /// Whether the API refuses this worker's keys, or the project's quota is used up: by its own request, or by what the
    /// store reports of the leader's.
    pub(crate) fn refusal(&self) -> Option<FetchErrorKind> {
        let fleet = self.fleet.failure.map(|(failure, _)| failure.kind());
        self.refusal
            .or(self
                .fleet
                .quota_limited
                .then_some(FetchErrorKind::QuotaLimited))
            .or(fleet.filter(|kind| *kind == FetchErrorKind::Unauthorized))
    }

    /// The key that the next request carries.
    pub(crate) fn set_key(&mut self, key: Option<KeyFingerprint>) {
        self.key = key;
    }

    /// What is to be done now that this happened. The steps are to be carried out in their order.
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
            // A load that runs already is the one that was asked for, by somebody now who waits for more than a look.
            (Event::Refresh, _) => {
                if let LoadCause::Notification | LoadCause::LeaseEnd = self.load.cause {
                    self.load.cause = LoadCause::Refresh;
                }
            }
            (Event::Notification, _) => self.notification(now, steps),
            (Event::Reported(report), _) => self.reported(now, report),
            (Event::Decided(decision), Phase::Deciding) => self.decided(now, decision, steps),
            (Event::Stored(answer), Phase::ReadingStored) => self.stored(now, answer, steps),
            (Event::Read(answer), Phase::Reading(why)) => self.read(now, *why, answer, steps),
            (Event::Damaged, Phase::Reading(why)) => self.damaged(now, *why, steps),
            (
                Event::Fetched {
                    generation,
                    fetched,
                },
                _,
            ) if generation == self.generation => {
                self.fetched(now, fetched, steps);
            }
            (Event::Published(answer), Phase::Publishing) => self.published(now, answer, steps),
            (Event::ReportSent, Phase::Reporting) => self.end(now, steps),
            // The answer to something that was cut or replaced: older than what is known.
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
            // The call that is under way ends first: provider shutdown never overlaps another call.
            _ => {}
        }
    }

    fn wind_down(&mut self, event: &Event, steps: &mut Vec<Step>) {
        match (event, &self.phase) {
            (Event::ShutDown, Phase::ShuttingDown) => {
                self.phase = Phase::Ended;
                steps.push(Step::Ended);
            }
            (Event::Decided(_), Phase::Deciding)
            | (Event::Stored(_), Phase::ReadingStored)
            | (Event::Read(_) | Event::Damaged, Phase::Reading(_))
            | (Event::Published(_), Phase::Publishing)
            | (Event::ReportSent, Phase::Reporting) => self.shut_down(steps),
            _ => {}
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
            // During a load too: it may have read before the change.
            _ => {
                // One that waits already is neither put off nor brought forward, as long as there is time.
                if self.noticed.is_none() || self.freshness.is_cold() {
                    self.noticed = Some(now + self.notification_jitter());
                }
                if matches!(self.phase, Phase::Idle)
                    && self.notification_due().is_some_and(|due| now >= due)
                {
                    self.begin(now, LoadCause::Notification, steps);
                }
            }
        }
    }

    fn notification_due(&self) -> Option<Instant> {
        if self.policy.manual {
            return None;
        }
        let noticed = self.noticed?;
        // Before the first load there is nothing to keep a distance from, and its tick is due anyway.
        self.last_load_ended
            .map(|ended| noticed.max(ended + NOTIFICATION_GAP))
            .or(self.next_tick)
    }

    /// How long a notification waits, so that a large fleet does not read a change all at once. A worker without definitions has
    /// no time for that.
    fn notification_jitter(&mut self) -> Duration {
        if self.freshness.is_cold() {
            Duration::ZERO
        } else {
            self.policy.notification_jitter.mul_f64(self.rng.f64())
        }
    }

    fn begin(&mut self, now: Instant, cause: LoadCause, steps: &mut Vec<Step>) {
        self.noticed = None;
        self.lease_end = None;
        self.generation += 1;
        self.load = Load {
            cause,
            leads: None,
            hedge_at: None,
            get: FetchState::NotSent,
            request_failed: false,
        };
        match (self.policy.has_provider, self.policy.can_fetch) {
            (true, true) => self.ask(now, steps),
            (true, false) => {
                self.role = Role::Reader;
                self.follow(steps);
            }
            (false, _) => {
                self.role = Role::Leader;
                self.load.leads = Some(true);
                self.send_get(now, steps);
            }
        }
    }

    /// A load that was not to do what a tick would do puts off no tick: notifications, however many, must not keep a leader from
    /// its work, nor a follower from the fetch that an outage or a stale copy calls for.
    fn end_before_tick(&mut self, now: Instant, steps: &mut Vec<Step>) {
        let tick = self.next_tick;
        self.end(now, steps);
        self.next_tick = tick;
    }

    fn end(&mut self, now: Instant, steps: &mut Vec<Step>) {
        if let FetchState::InFlight { .. } = self.load.get {
            steps.push(Step::CancelFetch);
        }
        let unserved = matches!(self.load.get, FetchState::Failed(_))
            && (self.load.leads == Some(true) || self.freshness.is_cold());
        self.load.get = FetchState::NotSent;
        self.phase = Phase::Idle;
        self.last_load_ended = Some(now);
        if !self.policy.manual {
            self.next_tick = Some(self.tick_after(now));
            self.lease_end = self
                .fleet
                .lease_ends_at
                .filter(|_| self.role == Role::Follower)
                // It was asked for just now, and nobody took it: the tick is soon enough.
                .filter(|ends_at| *ends_at > now || self.load.cause != LoadCause::LeaseEnd)
                .map(|ends_at| ends_at.max(now) + Duration::from_millis(self.rng.u64(0..=200)));
        }
        steps.push(Step::LoadEnded {
            ticked: self.load.cause == LoadCause::Tick,
            unserved,
        });
    }

    /// A fixed delay after the load's end, up to a tenth shorter or longer so that a fleet does not march in step.
    fn tick_after(&mut self, now: Instant) -> Instant {
        let tick = now
            + self
                .policy
                .poll_interval
                .mul_f64(0.9 + 0.2 * self.rng.f64());
        let Some(reopens) = self.backoff.ends_at().filter(|reopens| *reopens > now) else {
            return tick;
        };
        if !self.policy.has_provider {
            // There is nothing to do until a request may be sent again.
            return tick.max(reopens);
        }
        // A leader keeps its ticks, but one that would come just before the gate opens waits for it.
        // So does one that has just given the lead up: there may be no other.
        let probes = self.role == Role::Leader
            || self.own_failure.is_some()
            || self.refusal == Some(FetchErrorKind::Unauthorized);
        let near = probes && reopens < now + self.policy.poll_interval.mul_f64(1.5);
        if near { reopens } else { tick }
    }

    /// The failure of the whole fleet because of which this worker need not ask the API now. A leader tries again once the
    /// window is over; the others leave that to it for as long as it may take.
    fn fleet_failure(&self, now: Instant) -> Option<(FetchErrorKind, Instant)> {
        let (failure, at) = self.fleet.failure?;
        let tries_left = match failure.kind() {
            FetchErrorKind::Unauthorized => !failure.refuses(self.key),
            FetchErrorKind::Connect => failure.tried_by() < FleetFailure::TRIES,
            _ => false,
        };
        let mut until = at + failure.window();
        if self.load.leads != Some(true) {
            until += self.policy.poll_interval + LONGEST_LOAD;
        } else if tries_left {
            return None;
        }
        (now < until).then_some((failure.kind(), until))
    }

    fn install(
        &mut self,
        data: FlagDefinitionCacheData,
        source: DefinitionsOrigin,
        unconfirmed: bool,
        steps: &mut Vec<Step>,
    ) {
        self.freshness.install(data.clone(), source, unconfirmed);
        steps.push(Step::Install { data, source });
    }

    fn clear(&mut self, now: Instant, steps: &mut Vec<Step>) {
        let held_a_set = !self.freshness.is_cold();
        // Also of a worker that had nothing: it is not to take from the store what the policy forbids.
        self.freshness.clear(now);
        // A worker without definitions waits for no spread.
        self.noticed = self.noticed.map(|due| due.min(now));
        self.unpublished = false;
        if held_a_set {
            steps.push(Step::Clear);
        }
    }
}
