//! The decision: whether this worker leads the load.

use std::mem;

use tokio::time::Instant;

use super::{
    Call, CallError, DefinitionsOrigin, FetchState, Fleet, LoadCause, Machine, Phase, Role, Step,
};
use crate::duration::clamped;
use crate::{FlagDefinitionCacheData, FleetStatus};

impl Machine {
    pub(super) fn ask(&mut self, now: Instant, steps: &mut Vec<Step>) {
        self.arm_hedge(now);
        self.phase = Phase::Deciding;
        steps.push(Step::Call(Call::Decide));
    }

    pub(super) fn reported(&mut self, now: Instant, report: FleetStatus) {
        self.fleet = Fleet {
            // `None` if it is longer ago than this machine's clock goes back.
            confirmed_at: report.confirmed_ago.and_then(|ago| now.checked_sub(ago)),
            lease_ends_at: report
                .lease_ends_in
                .map(|remaining| now + clamped(remaining)),
            quota_limited: report.quota_limited,
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
                let prompted = matches!(
                    self.load.cause,
                    LoadCause::Notification | LoadCause::LeaseEnd
                );
                let hedged = !matches!(self.load.get, FetchState::NotSent);
                if prompted && !newly && !hedged && !self.freshness.is_cold() {
                    // Notifications are for followers. A leader has nothing to do before its next tick.
                    self.end_before_tick(now, steps);
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
                // The new leader republishes; drop the pending publish.
                self.unpublished = false;
                self.follow(steps);
            }
            Err(_) => {
                self.role = Role::Undecided;
                self.load.leads = Some(false);
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

    pub(super) fn read_stored(&mut self, now: Instant, steps: &mut Vec<Step>) {
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
}
