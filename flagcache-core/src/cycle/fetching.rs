//! The load's GET: when it is sent, and what its answer means.

use std::time::Duration;

use tokio::time::Instant;

use super::{Call, Cycle, DefinitionsSource, Fetched, Get, OnQuotaLimited, OnUnauthorized, Phase, Step, Why};
use crate::FetchFailure;

impl Cycle {
    /// No call is under way: send the load's GET, wait for it, or deal with what it brought.
    pub(super) fn go_on_with_get(&mut self, now: Instant, steps: &mut Vec<Step>) {
        match self.load.get {
            Get::NotSent if self.policy.can_fetch => self.send_get(now, steps),
            Get::NotSent => self.end(now, steps),
            Get::InFlight { .. } => self.phase = Phase::Fetching,
            Get::New | Get::Unchanged | Get::Failed(_) => self.after_get(now, steps),
        }
    }

    /// Sends the load's GET and waits for it.
    pub(super) fn send_get(&mut self, now: Instant, steps: &mut Vec<Step>) {
        self.phase = Phase::Fetching;
        self.open_get(now, steps);
        if let Get::Failed(_) = self.load.get {
            self.after_get(now, steps);
        }
    }

    /// A worker without definitions does not wait long for its store.
    pub(super) fn arm_hedge(&mut self, now: Instant) {
        if self.known.is_cold() && self.policy.can_fetch {
            self.load.hedge_at = self.policy.hedge_after.map(|after| now + after);
        }
    }

    /// Sends the load's GET beside a provider call that takes too long.
    pub(super) fn hedge(&mut self, now: Instant, steps: &mut Vec<Step>) {
        self.load.hedge_at = None;
        if let Get::NotSent = self.load.get {
            self.open_get(now, steps);
        }
    }

    pub(super) fn open_get(&mut self, now: Instant, steps: &mut Vec<Step>) {
        if let Some(failure) = self.gate.closed_by(now) {
            self.load.get = Get::Failed(failure);
            return;
        }
        if self.load.leads != Some(true) {
            if let Some((failure, _)) = self.fleet_failure(now) {
                self.load.get = Get::Failed(failure);
                return;
            }
            self.gate.direct_sent(now, &mut self.rng);
        }
        let etag = self.known.etag().map(str::to_owned);
        self.load.get = Get::InFlight { etag: etag.clone(), repeated: false };
        steps.push(Step::Fetch { generation: self.generation, etag });
    }

    pub(super) fn fetched(&mut self, now: Instant, fetched: Fetched, steps: &mut Vec<Step>) {
        let Get::InFlight { etag: sent, repeated } = self.load.get.clone() else { return };
        self.load.get = match fetched {
            Fetched::New(data) => {
                self.get_succeeded();
                if self.load.leads != Some(true) {
                    self.known.supersede(now);
                }
                self.install(data, DefinitionsSource::Api, false, steps);
                self.known.confirm(now);
                Get::New
            }
            Fetched::NotModified { etag } => {
                let set = self.known.set().filter(|set| sent.is_some() && set.etag() == sent.as_deref()).cloned();
                match set {
                    Some(set) => {
                        self.get_succeeded();
                        self.known.confirm(now);
                        if etag.is_some() && etag != sent {
                            let set = set.with_etag(etag.as_deref());
                            self.known.replace_etag(set.clone());
                            steps.push(Step::Install { data: set, source: DefinitionsSource::Api });
                        }
                        Get::Unchanged
                    }
                    // It says nothing about what memory holds. Ask for the whole, once.
                    None if !repeated => {
                        steps.push(Step::Fetch { generation: self.generation, etag: None });
                        self.load.get = Get::InFlight { etag: None, repeated: true };
                        return;
                    }
                    None => self.get_failed(now, FetchFailure::Rejected, None, steps),
                }
            }
            Fetched::Failed { failure, retry_after } => self.get_failed(now, failure, retry_after, steps),
        };
        if let Phase::Fetching = self.phase {
            self.after_get(now, steps);
        }
    }

    pub(super) fn get_succeeded(&mut self) {
        self.gate.succeeded();
        self.refusal = None;
        self.fleet.quota_limited = false;
        self.fleet.failure = None;
        self.own_failure = None;
    }

    pub(super) fn get_failed(
        &mut self,
        now: Instant,
        failure: FetchFailure,
        retry_after: Option<Duration>,
        steps: &mut Vec<Step>,
    ) -> Get {
        self.gate.failed(now, failure, retry_after, &mut self.rng);
        self.load.request_failed = true;
        if let FetchFailure::Unauthorized | FetchFailure::QuotaLimited = failure {
            self.refusal = Some(failure);
        }
        match failure {
            FetchFailure::Unauthorized if self.policy.on_unauthorized == OnUnauthorized::Clear => {
                self.clear(now, steps);
            }
            FetchFailure::QuotaLimited if self.policy.on_quota_limited == OnQuotaLimited::Clear => {
                self.clear(now, steps);
            }
            _ => {}
        }
        Get::Failed(failure)
    }

    /// No call is under way and the GET is over.
    pub(super) fn after_get(&mut self, now: Instant, steps: &mut Vec<Step>) {
        if !self.policy.has_provider {
            return self.end(now, steps);
        }
        let leads = self.load.leads == Some(true);
        let failed = matches!(self.load.get, Get::Failed(_));
        if failed && self.known.is_cold() && !self.known.is_cleared() {
            self.phase = Phase::Reading(Why::LastResort);
            return steps.push(Step::Call(Call::Read));
        }
        match (&self.load.get, self.known.set().cloned()) {
            (Get::New, Some(_)) if !leads => {
                self.phase = Phase::Reading(Why::Recheck);
                steps.push(Step::Call(Call::Read));
            }
            // Also a set of an earlier load that the store did not take.
            (get, Some(set)) if leads && (self.unpublished || matches!(get, Get::New)) => self.publish(set, steps),
            _ => self.tell_or_end(now, steps),
        }
    }
}
