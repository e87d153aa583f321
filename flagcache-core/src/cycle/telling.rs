//! Telling the store what came of a leader's load.

use tokio::time::Instant;

use super::{Call, Cycle, Failed, Get, Phase, Role, Step};
use crate::{FetchFailure, FlagDefinitionCacheData};

impl Cycle {
    pub(super) fn publish(&mut self, set: FlagDefinitionCacheData, steps: &mut Vec<Step>) {
        self.phase = Phase::Publishing;
        self.unpublished = self.load.leads == Some(true);
        steps.push(Step::Call(Call::Publish(set)));
    }

    pub(super) fn published(&mut self, now: Instant, answer: Result<(), Failed>, steps: &mut Vec<Step>) {
        if answer.is_ok() {
            self.unpublished = false;
        }
        self.tell_or_end(now, steps);
    }

    /// A leader's load that brought no new set is told to the store; any other is over.
    pub(super) fn tell_or_end(&mut self, now: Instant, steps: &mut Vec<Step>) {
        let failure = match self.load.get {
            Get::Unchanged => None,
            Get::Failed(failure) => Some(failure),
            Get::NotSent | Get::InFlight { .. } | Get::New => return self.end(now, steps),
        };
        if self.load.leads != Some(true) {
            return self.end(now, steps);
        }
        // Another worker may have better keys or a better network; it would only repeat a 402, a 429 or a 5xx.
        let gives_up = match failure {
            Some(FetchFailure::Unauthorized) => true,
            Some(FetchFailure::Connect) => self.gate.times_of_last_failure() >= 2,
            _ => false,
        };
        let give_up_lead_for = gives_up.then(|| self.gate.backoff(now).max(self.policy.poll_interval));
        if gives_up {
            self.led = false;
            self.role = Role::Follower;
        }
        self.phase = Phase::Telling;
        let data = self.known.set().cloned();
        steps.push(Step::Call(Call::NotReceived { failure, data, give_up_lead_for }));
    }
}
