//! Reporting the result of a leader's load to its store.

use tokio::time::Instant;

use super::{Call, CallError, FetchState, Machine, Phase, Role, Step};
use crate::{FetchErrorKind, FetchOutcome, FlagDefinitionCacheData, FleetFailure};

/// After this many failures in a row, a leader lets another worker try.
const LAST_TRY: u32 = 5;

impl Machine {
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
}
