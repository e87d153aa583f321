//! The load's GET: when to send it, and how to process its answer.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Call, DefinitionsOrigin, FetchState, Fetched, Machine, OnQuotaLimited, OnUnauthorized, Phase,
    ReadReason, Step,
};
use crate::FetchErrorKind;

impl Machine {
    /// No provider call is in progress: send the load's GET, wait for it, or process its result.
    pub(super) fn continue_get(&mut self, now: Instant, steps: &mut Vec<Step>) {
        match self.load.get {
            FetchState::NotSent if self.policy.can_fetch => self.send_get(now, steps),
            FetchState::NotSent => self.end(now, steps),
            FetchState::InFlight { .. } => self.phase = Phase::Fetching,
            FetchState::New | FetchState::Unchanged | FetchState::Failed(_) => {
                self.after_get(now, steps)
            }
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
        let etag = self.freshness.etag().map(str::to_owned);
        self.load.get = FetchState::InFlight {
            etag: etag.clone(),
            repeated: false,
        };
        steps.push(Step::Fetch {
            generation: self.generation,
            etag,
        });
    }

    pub(super) fn fetched(&mut self, now: Instant, fetched: Fetched, steps: &mut Vec<Step>) {
        let FetchState::InFlight {
            etag: sent,
            repeated,
        } = self.load.get.clone()
        else {
            return;
        };
        self.load.get = match fetched {
            Fetched::New(data) => {
                self.get_succeeded();
                if self.load.leads != Some(true) {
                    self.freshness.supersede(now);
                }
                self.install(data, DefinitionsOrigin::Api, false, steps);
                self.freshness.confirm(now);
                FetchState::New
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
