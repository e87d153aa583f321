//! [`State`]: what the pollers of one process share: the copy, the leader, and the pollers to notify. Plain data, time
//! as an argument.

use std::collections::HashMap;
use std::time::Duration;

use flagcache_core::{
    FetchErrorKind, FetchOutcome, FlagDefinitionCacheData, FleetFailure, FleetStatus, PollerContext,
};
use tokio::time::Instant;

use crate::restore;

pub(super) type MemberId = u64;

#[derive(Debug)]
pub(super) struct State {
    min_lease: Duration,
    copy: Option<FlagDefinitionCacheData>,
    confirmed_at: Option<Instant>,
    quota_limited: bool,
    /// A worker requested a refresh since the last decision of a leader.
    refresh_requested: bool,
    /// The fleet's failure, and when it was reported.
    failure: Option<(FleetFailure, Instant)>,
    lease: Option<Lease>,
    members: HashMap<MemberId, Member>,
    next_id: MemberId,
}

#[derive(Debug)]
struct Lease {
    leader: MemberId,
    ends_at: Instant,
}

#[derive(Debug, Default)]
struct Member {
    context: Option<PollerContext>,
    steps_down_until: Option<Instant>,
}

impl State {
    pub(super) fn new(min_lease: Duration) -> Self {
        Self {
            min_lease,
            copy: None,
            confirmed_at: None,
            quota_limited: false,
            refresh_requested: false,
            failure: None,
            lease: None,
            members: HashMap::new(),
            next_id: 0,
        }
    }

    pub(super) fn register(&mut self) -> MemberId {
        let id = self.next_id;
        self.next_id += 1;
        self.members.insert(id, Member::default());
        id
    }

    pub(super) fn attach(&mut self, id: MemberId, context: PollerContext) {
        if let Some(member) = self.members.get_mut(&id) {
            member.context = Some(context);
        }
    }

    /// Releases leadership if this poller has it. Idempotent.
    pub(super) fn unregister(&mut self, id: MemberId) {
        self.members.remove(&id);
        self.release(id);
    }

    pub(super) fn decide(&mut self, id: MemberId, now: Instant) -> bool {
        let Some(member) = self.members.get(&id) else {
            return false;
        };
        let taken = self
            .lease
            .as_ref()
            .is_some_and(|lease| lease.leader != id && lease.ends_at > now);
        let context = member.context.clone();
        let key = context
            .as_ref()
            .and_then(PollerContext::schedule)
            .and_then(|schedule| schedule.key);
        let barred = self.failure(now).is_some_and(|failure| failure.bars(key));
        let leads = !taken && !barred && member.steps_down_until.is_none_or(|until| until <= now);
        if leads {
            let ends_at = later(now, self.lease_of(context.as_ref()));
            self.lease = Some(Lease {
                leader: id,
                ends_at,
            });
        }
        self.report(id, now);
        if leads {
            self.refresh_requested = false;
        }
        leads
    }

    /// Keeps the request until the next decision of a leader, and wakes the current one.
    pub(super) fn request_refresh(&mut self, id: MemberId) {
        self.refresh_requested = true;
        let leader = self.lease.as_ref().map(|lease| lease.leader);
        let others = leader.filter(|leader| *leader != id);
        if let Some(context) = others
            .and_then(|leader| self.members.get(&leader))
            .and_then(|member| member.context.as_ref())
        {
            context.notify_refresh_requested();
        }
    }

    pub(super) fn read(&self, id: MemberId, now: Instant) -> Option<FlagDefinitionCacheData> {
        // Report here too: a poller that only reads never asks for a decision.
        self.report(id, now);
        self.copy.clone()
    }

    pub(super) fn publish(&mut self, id: MemberId, data: &FlagDefinitionCacheData, now: Instant) {
        if self.leads(id) {
            self.confirm(now);
            if !self
                .copy
                .as_ref()
                .is_some_and(|copy| restore::is_same_copy(copy, data))
            {
                self.put(id, data);
            }
        } else if self.copy.is_none() {
            self.confirm(now);
            self.put(id, data);
        }
    }

    pub(super) fn fetch_without_update(
        &mut self,
        id: MemberId,
        outcome: FetchOutcome,
        now: Instant,
    ) {
        let leads = self.leads(id);
        if let Some(data) = outcome.data() {
            let must_restore = match &self.copy {
                None => true,
                Some(copy) => leads && restore::must_replace(copy, data, outcome.is_unchanged()),
            };
            if must_restore {
                self.put(id, data);
            }
        }
        if leads {
            match (outcome.failure(), outcome.data()) {
                // A confirmation refers to the copy; without data there is none.
                (None, Some(_)) => self.confirm(now),
                (Some(FetchErrorKind::QuotaLimited), _) => self.quota_limited = true,
                _ => {}
            }
            if let Some(failure) = outcome.fleet_failure() {
                self.failure = Some((failure, now));
            }
        }
        if let Some(duration) = outcome.step_down_for() {
            if let Some(member) = self.members.get_mut(&id) {
                member.steps_down_until = Some(later(now, duration));
            }
            self.release(id);
        }
    }

    /// A lease that expired but was not acquired by another poller still proves that no other leader has written since.
    fn leads(&self, id: MemberId) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.leader == id)
    }

    /// The lease must last until the leader's next decision. In manual mode there is no next one to wait for.
    fn lease_of(&self, context: Option<&PollerContext>) -> Duration {
        let wait = match context.and_then(PollerContext::schedule) {
            Some(schedule) if !schedule.manual => schedule
                .poll_interval
                .saturating_mul(2)
                .saturating_add(schedule.fetch_backoff),
            _ => Duration::ZERO,
        };
        wait.max(self.min_lease)
    }

    fn report(&self, id: MemberId, now: Instant) {
        let Some(context) = self
            .members
            .get(&id)
            .and_then(|member| member.context.as_ref())
        else {
            return;
        };
        // Followers only: a leader's own lease ends only if it stops asking.
        let lease = self.lease.as_ref().filter(|lease| lease.leader != id);
        let report = FleetStatus::new()
            .confirmed_ago(
                self.confirmed_at
                    .map(|at| now.saturating_duration_since(at)),
            )
            .lease_ends_in(lease.map(|lease| lease.ends_at.saturating_duration_since(now)))
            .quota_limited(self.quota_limited)
            .refresh_requested(self.refresh_requested && self.leads(id))
            .fleet_failure(self.failure(now));
        context.report(report);
    }

    fn confirm(&mut self, now: Instant) {
        self.confirmed_at = Some(now);
        self.quota_limited = false;
        self.failure = None;
    }

    fn failure(&self, now: Instant) -> Option<FleetFailure> {
        self.failure
            .map(|(failure, at)| failure.with_age(now.saturating_duration_since(at)))
    }

    fn put(&mut self, id: MemberId, data: &FlagDefinitionCacheData) {
        self.copy = Some(data.clone());
        self.notify_others(id);
    }

    fn release(&mut self, id: MemberId) {
        if self.leads(id) {
            self.lease = None;
            self.notify_others(id);
        }
    }

    fn notify_others(&self, id: MemberId) {
        let others = self.members.iter().filter(|(other, _)| **other != id);
        others
            .filter_map(|(_, member)| member.context.as_ref())
            .for_each(PollerContext::notify_changed);
    }
}

/// Clamped to one year, because the clock cannot represent every duration.
fn later(now: Instant, duration: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    now + duration.min(YEAR)
}
