//! The request of a load: when it may be sent, and what its answer means.

use std::time::Duration;

use tokio::time::Instant;

use super::hold::Hold;
use super::{
    Call, DefinitionsOrigin, FetchState, Fetched, LoadCause, Machine, OnQuotaLimited,
    OnUnauthorized, Phase, ReadFailure, ReadReason, Step,
};
use crate::{FetchErrorKind, FlagDefinitionCacheData, FleetFailure};

/// How long a fleet-wide failure holds back the followers, beyond its window and one interval: the longest that the
/// leader's load may take.
const LONGEST_LOAD: Duration = Duration::from_secs(20);

impl Machine {
    /// A provider call of a worker with definitions failed.
    pub(super) fn fail_open(&mut self, now: Instant, steps: &mut Vec<Step>) {
        match self.load.get {
            FetchState::NotSent if self.load.cause == LoadCause::Notification => {
                self.end_before_tick(now, steps)
            }
            FetchState::NotSent if self.wants_direct_fetch(now) => {
                let at = self.outage_fetch_at(now);
                if now >= at {
                    self.send_get(now, steps);
                } else {
                    self.end(now, steps);
                    self.next_tick = self.next_tick.map(|tick| tick.min(at));
                }
            }
            FetchState::NotSent => self.end(now, steps),
            _ => self.continue_get(now, steps),
        }
    }

    /// When this worker first fetches in this outage: at a random moment within one poll interval, so that a fleet
    /// whose store fails does not fetch all at once. A requested load fetches at once.
    pub(super) fn outage_fetch_at(&mut self, now: Instant) -> Instant {
        if self.policy.manual || self.load.cause == LoadCause::Refresh {
            return now;
        }
        let delay = self.policy.poll_interval.mul_f64(self.rng.f64());
        *self.fetch_for_outage_at.get_or_insert(now + delay)
    }

    pub(super) fn wants_direct_fetch(&self, now: Instant) -> bool {
        self.policy.read_failure == ReadFailure::Fetch && self.may_fetch_directly(now)
    }

    pub(super) fn may_fetch_directly(&self, now: Instant) -> bool {
        self.policy.can_fetch
            && self.backoff.allows_direct(now)
            && self.fleet_failure(now).is_none()
    }

    /// No provider call is in progress: send the load's GET, wait for it, or process its result.
    pub(super) fn continue_get(&mut self, now: Instant, steps: &mut Vec<Step>) {
        match self.load.get {
            FetchState::NotSent if self.policy.can_fetch => self.send_get(now, steps),
            FetchState::NotSent => self.end(now, steps),
            FetchState::InFlight { .. } => self.phase = Phase::Fetching,
            FetchState::New
            | FetchState::HeldBack
            | FetchState::Unchanged
            | FetchState::Failed(_) => self.after_get(now, steps),
        }
    }

    /// Sends the load's GET and waits for it.
    pub(super) fn send_get(&mut self, now: Instant, steps: &mut Vec<Step>) {
        self.phase = Phase::Fetching;
        self.open_get(now, steps);
        if let FetchState::Failed(_) = self.load.get {
            self.after_get(now, steps);
        }
    }

    /// Limits how long a cold worker waits for its store before it fetches.
    pub(super) fn arm_hedge(&mut self, now: Instant) {
        if self.freshness.is_cold() && self.policy.can_fetch {
            self.load.hedge_at = self.policy.hedge_after.map(|after| now + after);
        }
    }

    /// Sends the load's GET while a provider call takes too long.
    pub(super) fn hedge(&mut self, now: Instant, steps: &mut Vec<Step>) {
        self.load.hedge_at = None;
        if let FetchState::NotSent = self.load.get {
            self.open_get(now, steps);
        }
    }

    pub(super) fn open_get(&mut self, now: Instant, steps: &mut Vec<Step>) {
        if let Some(failure) = self.backoff.blocked_by(now) {
            self.load.get = FetchState::Failed(failure);
            return;
        }
        if self.load.leads != Some(true) {
            if let Some((failure, _)) = self.fleet_failure(now) {
                self.load.get = FetchState::Failed(failure);
                return;
            }
            self.backoff.sent_direct(now, &mut self.rng);
        }
        if self.requests.due().is_some() {
            // Whatever the load was started for, its answer is as new as the one that was requested.
            self.load.requested = true;
            self.requests.sent(now);
        }
        // A 304 then confirms what is held back.
        let etag = match &self.hold {
            Some(hold) => hold.data.etag(),
            None => self.freshness.etag(),
        };
        let etag = etag.map(str::to_owned);
        self.load.get = FetchState::InFlight {
            etag: etag.clone(),
            sent_at: now,
            repeated: false,
        };
        steps.push(Step::Fetch {
            generation: self.generation,
            etag,
        });
    }

    /// The fleet-wide failure because of which this worker must not fetch now. A leader retries once the window is
    /// over; followers wait longer, until the leader had time to retry.
    pub(super) fn fleet_failure(&self, now: Instant) -> Option<(FetchErrorKind, Instant)> {
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

    pub(super) fn fetched(&mut self, now: Instant, fetched: Fetched, steps: &mut Vec<Step>) {
        let FetchState::InFlight {
            etag: sent,
            sent_at,
            repeated,
        } = self.load.get.clone()
        else {
            return;
        };
        self.load.get = match fetched {
            Fetched::New(data) => {
                self.get_succeeded();
                self.note_waste(now, &data, steps);
                if self.holds_back(now, &data, steps) {
                    FetchState::HeldBack
                } else {
                    self.take_over(now, sent_at, data, steps)
                }
            }
            Fetched::NotModified { etag } if self.is_of_hold(sent.as_deref()) => {
                self.get_succeeded();
                self.waste.recovered();
                match self.hold.take_if(|hold| now >= hold.until) {
                    Some(Hold { data, .. }) => {
                        let etag = etag.or(sent);
                        self.take_over(now, sent_at, data.with_etag(etag.as_deref()), steps)
                    }
                    None => FetchState::HeldBack,
                }
            }
            Fetched::NotModified { etag } => {
                let snapshot = self
                    .freshness
                    .snapshot()
                    .filter(|snapshot| sent.is_some() && snapshot.etag() == sent.as_deref())
                    .cloned();
                match snapshot {
                    Some(snapshot) => {
                        self.get_succeeded();
                        self.waste.recovered();
                        self.freshness.confirm(now);
                        if etag.is_some() && etag != sent {
                            let snapshot = snapshot.with_etag(etag.as_deref());
                            self.freshness.replace_etag(snapshot.clone());
                            steps.push(Step::Install {
                                data: snapshot,
                                origin: DefinitionsOrigin::Api,
                            });
                        }
                        FetchState::Unchanged
                    }
                    // The 304 does not refer to the definitions in memory. Fetch unconditionally, once.
                    None if !repeated => {
                        steps.push(Step::Fetch {
                            generation: self.generation,
                            etag: None,
                        });
                        self.load.get = FetchState::InFlight {
                            etag: None,
                            sent_at: now,
                            repeated: true,
                        };
                        return;
                    }
                    None => self.get_failed(now, FetchErrorKind::Rejected, None, steps),
                }
            }
            Fetched::Failed {
                failure,
                retry_after,
            } => self.get_failed(now, failure, retry_after, steps),
        };
        if let Phase::Fetching = self.phase {
            self.after_get(now, steps);
        }
    }

    /// Installs what the API answered to the request that was sent at that time.
    pub(super) fn take_over(
        &mut self,
        now: Instant,
        sent_at: Instant,
        data: FlagDefinitionCacheData,
        steps: &mut Vec<Step>,
    ) -> FetchState {
        if self.load.leads != Some(true) {
            self.freshness.supersede(sent_at);
        }
        self.install(data, DefinitionsOrigin::Api, false, steps);
        self.freshness.confirm(now);
        FetchState::New
    }

    pub(super) fn get_succeeded(&mut self) {
        self.backoff.succeeded();
        self.refusal = None;
        self.fleet.quota_limited = false;
        self.fleet.failure = None;
        self.own_failure = None;
    }

    pub(super) fn get_failed(
        &mut self,
        now: Instant,
        failure: FetchErrorKind,
        retry_after: Option<Duration>,
        steps: &mut Vec<Step>,
    ) -> FetchState {
        self.backoff
            .failed(now, failure, retry_after, &mut self.rng);
        self.load.request_failed = true;
        if let FetchErrorKind::Unauthorized | FetchErrorKind::QuotaLimited = failure {
            self.refusal = Some(failure);
        }
        match failure {
            FetchErrorKind::Unauthorized
                if self.policy.on_unauthorized == OnUnauthorized::Clear =>
            {
                self.clear(now, steps);
            }
            FetchErrorKind::QuotaLimited
                if self.policy.on_quota_limited == OnQuotaLimited::Clear =>
            {
                self.clear(now, steps);
            }
            _ => {}
        }
        FetchState::Failed(failure)
    }

    /// No provider call is in progress and the GET is over.
    pub(super) fn after_get(&mut self, now: Instant, steps: &mut Vec<Step>) {
        if !self.policy.has_provider {
            return self.end(now, steps);
        }
        let leads = self.load.leads == Some(true);
        let failed = matches!(self.load.get, FetchState::Failed(_));
        if failed && self.freshness.is_cold() && !self.freshness.is_cleared() {
            self.phase = Phase::Reading(ReadReason::LastResort);
            return steps.push(Step::Call(Call::Read));
        }
        match (&self.load.get, self.freshness.snapshot().cloned()) {
            (FetchState::New, Some(_)) if !leads => {
                self.phase = Phase::Reading(ReadReason::Recheck);
                steps.push(Step::Call(Call::Read));
            }
            // Or definitions of an earlier load whose publish failed.
            (get, Some(snapshot))
                if leads && (self.unpublished || matches!(get, FetchState::New)) =>
            {
                self.publish(snapshot, steps)
            }
            _ => self.report_or_end(now, steps),
        }
    }
}
