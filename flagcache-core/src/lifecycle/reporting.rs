//! Reporting the store what came of a leader's load.

use tokio::time::Instant;

use super::{Call, Failed, FetchState, Machine, Phase, Role, Step};
use crate::{FetchErrorKind, FlagDefinitionCacheData, FleetFailure};

/// After so many failures in a row of its own, a leader passes the lead on.
const LAST_TRY: u32 = 5;

impl Machine {
    pub(super) fn publish(&mut self, set: FlagDefinitionCacheData, steps: &mut Vec<Step>) {
        self.phase = Phase::Publishing;
        self.unpublished = self.load.leads == Some(true);
        steps.push(Step::Call(Call::Publish(set)));
    }

    pub(super) fn published(
        &mut self,
        now: Instant,
        answer: Result<(), Failed>,
        steps: &mut Vec<Step>,
    ) {
        if answer.is_ok() {
            self.unpublished = false;
        }
        self.tell_or_end(now, steps);
    }

    /// A leader's load that brought no new set is told to the store; any other is over.
    pub(super) fn tell_or_end(&mut self, now: Instant, steps: &mut Vec<Step>) {
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
            .map(|failure| self.shared(now, failure));
        // Another worker may have better keys or a better network; it would only repeat a 402, a 429 or a 5xx. When three
        // cannot connect, the last keeps the lead and goes on trying for all.
        let gives_up = match (failure, fleet_failure) {
            (Some(FetchErrorKind::Unauthorized), _) => true,
            (Some(FetchErrorKind::Connect), Some(shared)) => {
                (1..FleetFailure::TRIES).contains(&shared.tried_by()) || self.passes_on()
            }
            (
                Some(FetchErrorKind::Server | FetchErrorKind::Timeout | FetchErrorKind::Rejected),
                Some(_),
            ) => self.passes_on(),
            _ => false,
        };
        let step_down_for =
            gives_up.then(|| self.backoff.backoff(now).max(self.policy.poll_interval));
        if gives_up {
            self.led = false;
            self.role = Role::Follower;
        }
        self.phase = Phase::Reporting;
        let data = self.freshness.set().cloned();
        steps.push(Step::Call(Call::FetchWithoutUpdate {
            failure,
            data,
            step_down_for,
            fleet_failure,
        }));
    }

    /// Whether another worker is to try in the next window. The followers leave all requests to the leader, so its own
    /// route or proxy must not keep the fleet from the API for as long as that is broken. It costs no request more.
    fn passes_on(&self) -> bool {
        self.backoff
            .times_of_last_failure()
            .is_multiple_of(LAST_TRY)
    }

    /// What the fleet is to know of this load's failed request.
    fn shared(&mut self, now: Instant, failure: FetchErrorKind) -> FleetFailure {
        let earlier = self
            .fleet
            .failure
            .or(self.own_failure)
            .filter(|(earlier, _)| earlier.kind() == failure);
        // Refused keys are tried again in the next window; one of them may be good by then.
        let earlier = match failure {
            FetchErrorKind::Unauthorized => {
                earlier.filter(|(earlier, at)| now < *at + earlier.window())
            }
            _ => earlier,
        };
        let tried_by = earlier.map_or(0, |(earlier, _)| earlier.tried_by());
        // A connection may fail once by chance.
        let by_chance = failure == FetchErrorKind::Connect
            && tried_by == 0
            && self.backoff.times_of_last_failure() < 2;
        let tried_by = if by_chance {
            0
        } else {
            FleetFailure::TRIES.min(tried_by + 1)
        };
        if tried_by == FleetFailure::TRIES {
            self.backoff.probe(now, &mut self.rng);
        }
        let window = self.backoff.window(now);
        let mut shared = FleetFailure::new(failure, tried_by, window);
        if failure == FetchErrorKind::Unauthorized {
            shared = shared.refusing(earlier.as_ref().map(|(earlier, _)| earlier), self.key);
        }
        self.own_failure = Some((shared, now));
        shared
    }
}
