//! The load, in the order in which it happens: the decision, then the read of a follower or the request of a leader, then
//! the publish or the report. The request is in `fetch.rs`.
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

use std::mem;
use std::time::Duration;

use tokio::time::Instant;

use super::{
    Call, CallError, ColdWait, DefinitionsOrigin, Fleet, Machine, NOTIFICATION_GAP, OnQuotaLimited,
    OnUnauthorized, Phase, Role, Step,
};
use crate::duration::clamped;
use crate::{FetchErrorKind, FetchOutcome, FlagDefinitionCacheData, FleetFailure, FleetStatus};

/// How many of its own ticks a follower waits for the leader to repair a damaged copy.
const REPAIR_TICKS: u32 = 2;

/// After this many failures in a row, a leader lets another worker try.
const LAST_TRY: u32 = 5;

/// Why a load was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoadCause {
    Tick,
    Refresh,
    Notification,
    /// The last reported lease of the leader ended.
    LeaseEnd,
    /// A worker requested a refresh.
    Request,
}

/// Why the store is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadReason {
    /// The decision was false.
    Follow,
    /// The worker has no definitions, and the GET failed.
    LastResort,
    /// A worker that is not the leader fetched: it publishes only if the store is still empty.
    Recheck,
}

/// The state of the load's GET. There is one at most, plus one repetition after a 304 that does not match.
#[derive(Clone, Debug)]
pub(super) enum FetchState {
    NotSent,
    InFlight {
        etag: Option<String>,
        sent_at: Instant,
        repeated: bool,
    },
    New,
    /// A change that is held back: neither in memory nor published.
    HeldBack,
    Unchanged,
    Failed(FetchErrorKind),
}

#[derive(Debug)]
pub(super) struct Load {
    pub(super) cause: LoadCause,
    /// Whether this worker leads the load; `None` until the decision returned.
    pub(super) leads: Option<bool>,
    pub(super) hedge_at: Option<Instant>,
    pub(super) get: FetchState,
    /// The load carries out requested refreshes.
    pub(super) requested: bool,
    /// The policy for wasted units lets this tick pass without a request.
    pub(super) skips_request: bool,
    /// The API answered 200 with the definitions that are held.
    pub(super) wasted: bool,
    /// A request of this load failed; not set if the request was suppressed by backoff.
    pub(super) request_failed: bool,
}

impl Load {
    pub(super) fn new(cause: LoadCause) -> Self {
        Self {
            cause,
            leads: None,
            hedge_at: None,
            get: FetchState::NotSent,
            requested: false,
            skips_request: false,
            wasted: false,
            request_failed: false,
        }
    }
}

impl Machine {
    // ---- The beginning -------------------------------------------------------------------------------------------------

    pub(super) fn begin(&mut self, now: Instant, cause: LoadCause, steps: &mut Vec<Step>) {
        self.pending_notification = None;
        self.lease_end = None;
        self.generation += 1;
        self.load = Load::new(cause);
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

    // ---- The decision --------------------------------------------------------------------------------------------------

    fn ask(&mut self, now: Instant, steps: &mut Vec<Step>) {
        self.arm_hedge(now);
        self.phase = Phase::Deciding;
        steps.push(Step::Call(Call::Decide));
    }

    pub(super) fn decided(
        &mut self,
        now: Instant,
        decision: Result<bool, CallError>,
        steps: &mut Vec<Step>,
    ) {
        match decision {
            Ok(true) => {
                self.fetch_for_outage_at = None;
                let newly = !mem::replace(&mut self.led, true);
                self.role = Role::Leader;
                self.load.leads = Some(true);
                if let Some((failure, until)) = self.fleet_failure(now) {
                    self.backoff.adopt(failure, until);
                }
                if newly {
                    self.requests.acquired(now);
                }
                self.take_request(now, newly);
                let prompted = matches!(
                    self.load.cause,
                    LoadCause::Notification | LoadCause::LeaseEnd
                );
                let hedged = !matches!(self.load.get, FetchState::NotSent);
                if prompted && !newly && !hedged && !self.freshness.is_cold() {
                    // Notifications are for followers. A leader has nothing to do before its next tick.
                    self.end_before_tick(now, steps);
                } else if self.load.cause == LoadCause::Tick
                    && !newly
                    && !hedged
                    && !self.freshness.is_cold()
                    && self.waste.next_request_at(now).is_some()
                    && self.requests.due().is_none()
                    && self.hold.is_none()
                {
                    self.load.skips_request = true;
                    self.after_get(now, steps);
                } else if self.freshness.is_cold() && !hedged {
                    self.read_stored(now, steps);
                } else {
                    self.continue_get(now, steps);
                }
            }
            Ok(false) => {
                self.led = false;
                self.role = Role::Follower;
                self.load.leads = Some(false);
                if self.requests.is_direct() {
                    return self.continue_get(now, steps);
                }
                self.drop_requests();
                // The new leader republishes; drop the pending publish.
                self.unpublished = false;
                self.hold = None;
                self.follow(steps);
            }
            Err(_) => {
                self.role = Role::Undecided;
                self.load.leads = Some(false);
                if self.requests.is_direct() && !self.freshness.is_cold() {
                    return self.continue_get(now, steps);
                }
                self.defer_requests(now);
                if !self.freshness.is_cold() {
                    self.fail_open(now, steps);
                } else if matches!(self.load.get, FetchState::NotSent) {
                    self.read_stored(now, steps);
                } else {
                    self.continue_get(now, steps);
                }
            }
        }
    }

    pub(super) fn reported(&mut self, now: Instant, report: FleetStatus) {
        self.fleet = Fleet {
            // `None` if it is longer ago than this machine's clock goes back.
            confirmed_at: report.confirmed_ago.and_then(|ago| now.checked_sub(ago)),
            lease_ends_at: report
                .lease_ends_in
                .map(|remaining| now + clamped(remaining)),
            quota_limited: report.quota_limited,
            refresh_requested: report.refresh_requested || self.fleet.refresh_requested,
            // A leader of an older version does not delete the failure when the API answers again.
            failure: report
                .fleet_failure
                .filter(|failure| {
                    report
                        .confirmed_ago
                        .is_none_or(|confirmed_ago| failure.age() <= confirmed_ago)
                })
                .map(|failure| (failure, now.checked_sub(failure.age()).unwrap_or(now))),
        };
    }

    fn read_stored(&mut self, now: Instant, steps: &mut Vec<Step>) {
        if self.freshness.is_cleared() {
            // The store still holds what the policy cleared; only the API can restore definitions.
            return self.continue_get(now, steps);
        }
        self.phase = Phase::ReadingStored;
        steps.push(Step::Call(Call::Stored));
    }

    pub(super) fn stored(
        &mut self,
        now: Instant,
        answer: Result<Option<FlagDefinitionCacheData>, CallError>,
        steps: &mut Vec<Step>,
    ) {
        if let Ok(Some(data)) = answer
            && self.freshness.is_cold()
        {
            self.install(data, DefinitionsOrigin::Cache, true, steps);
        }
        self.continue_get(now, steps);
    }

    // ---- The read of a follower ----------------------------------------------------------------------------------------

    fn follow(&mut self, steps: &mut Vec<Step>) {
        self.phase = Phase::Reading(ReadReason::Follow);
        steps.push(Step::Call(Call::Read));
    }

    pub(super) fn read(
        &mut self,
        now: Instant,
        reason: ReadReason,
        answer: Result<Option<FlagDefinitionCacheData>, CallError>,
        steps: &mut Vec<Step>,
    ) {
        match reason {
            ReadReason::Follow => self.followed(now, answer, steps),
            ReadReason::LastResort => {
                if let Ok(Some(data)) = answer {
                    self.install(data, DefinitionsOrigin::Cache, true, steps);
                }
                self.report_or_end(now, steps);
            }
            ReadReason::Recheck => match (answer, self.freshness.snapshot().cloned()) {
                (Ok(None), Some(snapshot)) => self.publish(snapshot, steps),
                _ => self.end(now, steps),
            },
        }
    }

    fn followed(
        &mut self,
        now: Instant,
        answer: Result<Option<FlagDefinitionCacheData>, CallError>,
        steps: &mut Vec<Step>,
    ) {
        if answer.is_ok() {
            self.fetch_for_outage_at = None;
            self.damaged_ticks = 0;
        }
        match answer {
            // The hedge returned first, and is at least as new.
            Ok(Some(_)) if matches!(self.load.get, FetchState::New) => self.end(now, steps),
            Ok(Some(copy)) => self.apply_copy(now, copy, steps),
            Ok(None) if self.freshness.is_cold() => self.wait_for_leader(now, steps),
            Ok(None) => match (&self.load.get, self.freshness.snapshot().cloned()) {
                // This read has shown that the store is empty.
                (FetchState::New, Some(snapshot)) => self.publish(snapshot, steps),
                _ => self.end(now, steps),
            },
            Err(_) if self.freshness.is_cold() => self.continue_get(now, steps),
            Err(CallError::Damaged) if self.waits_for_repair() => self.wait_for_repair(now, steps),
            Err(_) => self.fail_open(now, steps),
        }
    }

    /// Processes a copy that a follower read.
    fn apply_copy(&mut self, now: Instant, copy: FlagDefinitionCacheData, steps: &mut Vec<Step>) {
        let refused = self
            .fleet
            .failure
            .is_some_and(|(failure, _)| failure.refuses(self.key));
        let clears = self.fleet.quota_limited
            && self.policy.on_quota_limited == OnQuotaLimited::Clear
            || refused && self.policy.on_unauthorized == OnUnauthorized::Clear;
        if clears {
            self.clear(now, steps);
            return self.end(now, steps);
        }
        let confirmed_at = self.fleet.confirmed_at;
        if self
            .freshness
            .admits(&copy, now, confirmed_at, &self.policy)
        {
            if self
                .freshness
                .snapshot()
                .is_none_or(|snapshot| snapshot.copy_id() != copy.copy_id())
            {
                self.install(copy, DefinitionsOrigin::Cache, false, steps);
            }
            self.refusal = None;
            self.own_failure = None;
            // If the store does not know when its copy was confirmed, assume now.
            self.freshness.confirm(confirmed_at.unwrap_or(now));
        } else if self.freshness.is_cold() {
            return self.wait_for_leader(now, steps);
        }
        let stale = self.freshness.is_stale(now, self.policy.max_staleness);
        match self.load.get {
            _ if stale && self.load.cause == LoadCause::Notification => {
                self.end_before_tick(now, steps)
            }
            FetchState::InFlight { .. } if stale => self.phase = Phase::Fetching,
            FetchState::NotSent if stale && self.may_fetch_directly(now) => {
                self.send_get(now, steps)
            }
            _ => self.end(now, steps),
        }
    }

    /// The copy is unusable, but a live leader repairs it: whether to wait for that instead of failing open.
    fn waits_for_repair(&self) -> bool {
        // Manual mode has no ticks to wait for.
        !self.freshness.is_cold()
            && !self.policy.manual
            && self.load.leads == Some(false)
            && matches!(self.load.get, FetchState::NotSent)
    }

    fn wait_for_repair(&mut self, now: Instant, steps: &mut Vec<Step>) {
        self.fetch_for_outage_at = None;
        if self.load.cause != LoadCause::Tick && self.load.cause != LoadCause::Refresh {
            return self.end_before_tick(now, steps);
        }
        self.damaged_ticks += 1;
        if self.damaged_ticks > REPAIR_TICKS && self.wants_direct_fetch(now) {
            self.send_get(now, steps);
        } else {
            self.end(now, steps);
        }
    }

    /// The store and memory are empty: the leader is probably fetching right now.
    fn wait_for_leader(&mut self, now: Instant, steps: &mut Vec<Step>) {
        if !matches!(self.load.get, FetchState::NotSent) {
            return self.continue_get(now, steps);
        }
        if self.policy.cold_start_wait.is_zero() {
            self.cold_wait = ColdWait::Over;
        }
        if let ColdWait::NotBegun = self.cold_wait {
            let until = now + self.policy.cold_start_wait;
            // Jitter, so that a fleet whose leader hangs does not fetch in one burst.
            let last_read_at = until + Duration::from_millis(self.rng.u64(0..=1000));
            self.cold_wait = ColdWait::Waiting {
                until,
                last_read_at,
            };
        }
        match self.cold_wait {
            ColdWait::Waiting { until, .. } if now < until => {
                let until = now + Duration::from_millis(self.rng.u64(200..=400));
                self.pause(now, until);
            }
            ColdWait::Waiting { last_read_at, .. } if now < last_read_at => {
                self.pause(now, last_read_at)
            }
            _ => {
                self.cold_wait = ColdWait::Over;
                self.continue_get(now, steps);
            }
        }
    }

    fn pause(&mut self, now: Instant, until: Instant) {
        self.load.hedge_at = None;
        // A notification that came during the read may announce a newer copy.
        let until = if self.pending_notification.take().is_some() {
            until.min(now + NOTIFICATION_GAP)
        } else {
            until
        };
        self.phase = Phase::Pausing { since: now, until };
    }

    pub(super) fn after_pause(&mut self, now: Instant, steps: &mut Vec<Step>) {
        let last_read =
            matches!(self.cold_wait, ColdWait::Waiting { last_read_at, .. } if now >= last_read_at);
        if last_read || !self.policy.can_fetch {
            self.arm_hedge(now);
            self.follow(steps);
        } else {
            self.ask(now, steps);
        }
    }

    // ---- The definitions in memory -------------------------------------------------------------------------------------

    pub(super) fn install(
        &mut self,
        data: FlagDefinitionCacheData,
        origin: DefinitionsOrigin,
        unconfirmed: bool,
        steps: &mut Vec<Step>,
    ) {
        self.freshness.install(data.clone(), origin, unconfirmed);
        steps.push(Step::Install { data, origin });
    }

    pub(super) fn clear(&mut self, now: Instant, steps: &mut Vec<Step>) {
        let was_warm = !self.freshness.is_cold();
        self.hold = None;
        // Also for a cold worker, so that it does not take from the store what the policy forbids.
        self.freshness.clear(now);
        // A cold worker waits for no jitter.
        self.pending_notification = self.pending_notification.map(|due| due.min(now));
        self.unpublished = false;
        if was_warm {
            steps.push(Step::Clear);
        }
    }

    // ---- The publish, or the report of a load without an update --------------------------------------------------------

    pub(super) fn publish(&mut self, snapshot: FlagDefinitionCacheData, steps: &mut Vec<Step>) {
        self.phase = Phase::Publishing;
        self.unpublished = self.load.leads == Some(true);
        steps.push(Step::Call(Call::Publish(snapshot)));
    }

    pub(super) fn published(
        &mut self,
        now: Instant,
        answer: Result<(), CallError>,
        steps: &mut Vec<Step>,
    ) {
        if answer.is_ok() {
            self.unpublished = false;
        }
        self.report_or_end(now, steps);
    }

    /// Reports a leader's load without new definitions to the store; ends any other load.
    pub(super) fn report_or_end(&mut self, now: Instant, steps: &mut Vec<Step>) {
        let failure = match self.load.get {
            FetchState::Unchanged => None,
            FetchState::Failed(failure) => Some(failure),
            // The store keeps its copy, and nothing is confirmed, as after a failure.
            FetchState::HeldBack => Some(FetchErrorKind::Rejected),
            FetchState::NotSent if self.load.skips_request => Some(FetchErrorKind::RateLimited),
            FetchState::NotSent | FetchState::InFlight { .. } | FetchState::New => {
                return self.end(now, steps);
            }
        };
        if self.load.leads != Some(true) {
            return self.end(now, steps);
        }
        let fleet_failure = failure
            .filter(|_| self.load.request_failed)
            .map(|failure| self.record_failure(now, failure));
        // Another worker may have better keys or a better network, but would get the same 402, 429 or 5xx. If three
        // workers cannot connect, the last one stays leader and retries for all.
        let steps_down = match (failure, fleet_failure) {
            (Some(FetchErrorKind::Unauthorized), _) => true,
            (Some(FetchErrorKind::Connect), Some(record)) => {
                (1..FleetFailure::TRIES).contains(&record.tried_by()) || self.lets_another_try()
            }
            (
                Some(FetchErrorKind::Server | FetchErrorKind::Timeout | FetchErrorKind::Rejected),
                Some(_),
            ) => self.lets_another_try(),
            _ => false,
        };
        let step_down_for =
            steps_down.then(|| self.backoff.backoff(now).max(self.policy.poll_interval));
        if steps_down {
            self.led = false;
            self.role = Role::Follower;
        }
        self.phase = Phase::Reporting;
        let data = self.freshness.snapshot();
        let outcome = match (failure, data) {
            (None, Some(data)) => FetchOutcome::unchanged(data),
            // A 304 without definitions in memory confirms nothing.
            (failure, data) => {
                FetchOutcome::failed(failure.unwrap_or(FetchErrorKind::Rejected), data)
            }
        };
        steps.push(Step::Call(Call::FetchWithoutUpdate(
            outcome
                .with_step_down_for(step_down_for)
                .with_fleet_failure(fleet_failure),
        )));
    }

    /// Whether to let another worker lead for the next window. Followers send no requests, so a fault in the leader's
    /// own route or proxy must not cut the fleet off for as long as it lasts. Costs no additional request.
    fn lets_another_try(&self) -> bool {
        self.backoff
            .times_of_last_failure()
            .is_multiple_of(LAST_TRY)
    }

    /// The record of this load's failed request, for the whole fleet.
    fn record_failure(&mut self, now: Instant, failure: FetchErrorKind) -> FleetFailure {
        let earlier = self
            .fleet
            .failure
            .or(self.own_failure)
            .filter(|(earlier, _)| earlier.kind() == failure);
        // In each window the refused keys are tried again: one may be valid by then.
        let earlier = match failure {
            FetchErrorKind::Unauthorized => {
                earlier.filter(|(earlier, at)| now < *at + earlier.window())
            }
            _ => earlier,
        };
        let tried_by = earlier.map_or(0, |(earlier, _)| earlier.tried_by());
        // A single connection failure may be transient.
        let maybe_transient = failure == FetchErrorKind::Connect
            && tried_by == 0
            && self.backoff.times_of_last_failure() < 2;
        let tried_by = if maybe_transient {
            0
        } else {
            FleetFailure::TRIES.min(tried_by + 1)
        };
        if tried_by == FleetFailure::TRIES {
            self.backoff.probe(now, &mut self.rng);
        }
        let window = self.backoff.window(now);
        let mut record = FleetFailure::new(failure, tried_by, window);
        if failure == FetchErrorKind::Unauthorized {
            record = record.refusing(earlier.as_ref().map(|(earlier, _)| earlier), self.key);
        }
        self.own_failure = Some((record, now));
        record
    }

    // ---- The end -------------------------------------------------------------------------------------------------------

    /// Ends the load without rescheduling the next tick, so that frequent notifications can neither starve a leader's
    /// fetches nor delay a follower's fetch in an outage or with a stale copy.
    pub(super) fn end_before_tick(&mut self, now: Instant, steps: &mut Vec<Step>) {
        let tick = self.next_tick;
        self.end(now, steps);
        self.next_tick = tick;
    }

    pub(super) fn end(&mut self, now: Instant, steps: &mut Vec<Step>) {
        if let FetchState::InFlight { .. } = self.load.get {
            steps.push(Step::CancelFetch);
        }
        let unserved = matches!(self.load.get, FetchState::Failed(_))
            && (self.load.leads == Some(true) || self.freshness.is_cold());
        match (mem::take(&mut self.load.requested), &self.load.get) {
            (true, FetchState::New) if !self.load.wasted => self.requests.answered(),
            (true, _) => self.requests.unanswered(),
            // No GET was sent: try again, as after an answer with nothing new.
            (false, _) if matches!(self.load.cause, LoadCause::Request | LoadCause::Refresh) => {
                self.requests.failed(now);
            }
            (false, _) => {}
        }
        self.load.get = FetchState::NotSent;
        self.phase = Phase::Idle;
        self.last_load_ended = Some(now);
        if !self.policy.manual {
            self.next_tick = Some(self.tick_after(now));
            self.lease_end = self
                .fleet
                .lease_ends_at
                .filter(|_| self.role == Role::Follower)
                // If this load was for the lease's end and no worker acquired leadership, wait for the tick.
                .filter(|ends_at| *ends_at > now || self.load.cause != LoadCause::LeaseEnd)
                .map(|ends_at| ends_at.max(now) + Duration::from_millis(self.rng.u64(0..=200)));
        }
        steps.push(Step::LoadEnded {
            ticked: self.load.cause == LoadCause::Tick && !self.load.skips_request,
            unserved,
        });
    }
}
