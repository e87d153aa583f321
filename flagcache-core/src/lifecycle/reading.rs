//! Reading the stored copy, and what to do when it is missing.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Call, CallError, ColdWait, DefinitionsOrigin, FetchState, LoadCause, Machine, NOTIFICATION_GAP,
    OnQuotaLimited, OnUnauthorized, Phase, REPAIR_TICKS, ReadFailure, ReadReason, Step,
};
use crate::FlagDefinitionCacheData;

impl Machine {
    pub(super) fn follow(&mut self, steps: &mut Vec<Step>) {
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

    pub(super) fn followed(
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
    pub(super) fn apply_copy(
        &mut self,
        now: Instant,
        copy: FlagDefinitionCacheData,
        steps: &mut Vec<Step>,
    ) {
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

    /// The store and memory are empty: the leader is probably fetching right now.
    pub(super) fn wait_for_leader(&mut self, now: Instant, steps: &mut Vec<Step>) {
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

    pub(super) fn pause(&mut self, now: Instant, until: Instant) {
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
    fn outage_fetch_at(&mut self, now: Instant) -> Instant {
        if self.policy.manual || self.load.cause == LoadCause::Refresh {
            return now;
        }
        let delay = self.policy.poll_interval.mul_f64(self.rng.f64());
        *self.fetch_for_outage_at.get_or_insert(now + delay)
    }

    fn wants_direct_fetch(&self, now: Instant) -> bool {
        self.policy.read_failure == ReadFailure::Fetch && self.may_fetch_directly(now)
    }

    pub(super) fn may_fetch_directly(&self, now: Instant) -> bool {
        self.policy.can_fetch
            && self.backoff.allows_direct(now)
            && self.fleet_failure(now).is_none()
    }
}
