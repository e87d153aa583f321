//! [`Checks`]: the invariants, their violations, and the age of the workers' flags.

use std::time::Duration;

use flagcache::{FlagDefinitionCacheData, FlagDefinitionPoller};
use tokio::time::Instant;

use crate::api::version_of;
use crate::link::Link;
use crate::plan::Plan;
use crate::redis::Process;

/// How long a worker may take to get its first definitions.
const START: Duration = Duration::from_secs(30);

/// A request of a worker that does not lead must follow a failed call of its store within this time: its timeout, and the
/// hedge of a worker without definitions.
const CAUSE: Duration = Duration::from_secs(10);

/// What must never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A worker sends a request as the leader while the lease of another one, by Redis's clock, has not ended. A lease that
    /// Redis lost with its memory does not count.
    OneLeader,
    /// A worker that had definitions has none, or a worker has none 30 s after its start.
    HasFlags,
    /// A process installs definitions that are older than those that it had.
    NeverBack,
    /// More requests than the rules allow. The leader: one in 0.9 poll intervals, and one when it begins to lead; its units: 1
    /// for each of these, and 9 more for each change and each beginning. Others: only within 10 s of a failed call of their
    /// store, or while it has no copy or an unconfirmed one, and at most one in a fail-open interval.
    Units,
    /// The flag has no value although the worker has definitions.
    Evaluates,
    /// A worker whose store did not fail, and that was running when a change was published, does not have it after one poll
    /// interval with its jitter, that of the notification and 10 s.
    SeesChange,
}

impl Rule {
    pub(crate) const ALL: [Self; 6] = [
        Self::OneLeader,
        Self::HasFlags,
        Self::NeverBack,
        Self::Units,
        Self::Evaluates,
        Self::SeesChange,
    ];
}

/// A change of the definitions at the API.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) at: Instant,
    pub(crate) published: Option<Instant>,
    /// When the last worker that was running had it.
    pub(crate) last: Option<Instant>,
    /// No fault was planned around it.
    pub(crate) quiet: bool,
}

#[derive(Clone, Copy, Debug)]
struct Worker {
    process: Process,
    started: Instant,
    ready: bool,
    version: u32,
    failed: Option<Instant>,
    asked_alone: Option<Instant>,
    asked_as_leader: Option<Instant>,
}

/// The invariants and the figures of one run.
#[derive(Debug)]
pub(crate) struct Checks {
    poll_interval: Duration,
    jitter: Duration,
    webhook: bool,
    violations: [u64; Rule::ALL.len()],
    /// The first violations, for people.
    pub(crate) examples: Vec<String>,
    workers: Vec<Worker>,
    leases: Vec<(Process, Instant)>,
    /// The change of each version from 2.
    pub(crate) changes: Vec<Change>,
    /// From a change at the API until each worker had it, in milliseconds.
    pub(crate) delays: Vec<u32>,
    pub(crate) acquisitions: u64,
    pub(crate) leader_requests: u64,
    pub(crate) other_requests: u64,
    pub(crate) failed_calls: u64,
    began: Instant,
}

impl Checks {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            poll_interval: plan.poll_interval,
            jitter: plan.jitter,
            webhook: plan.webhook,
            violations: [0; Rule::ALL.len()],
            examples: Vec::new(),
            workers: Vec::new(),
            leases: Vec::new(),
            changes: Vec::new(),
            delays: Vec::new(),
            acquisitions: 0,
            leader_requests: 0,
            other_requests: 0,
            failed_calls: 0,
            began: Instant::now(),
        }
    }

    pub(crate) fn count(&self, rule: Rule) -> u64 {
        self.violations[rule as usize]
    }

    fn violated(&mut self, rule: Rule, what: impl FnOnce() -> String) {
        self.violations[rule as usize] += 1;
        if self.count(rule) <= 3 {
            let at = (Instant::now() - self.began).as_secs_f64();
            self.examples
                .push(format!("{rule:?} at {at:.3} s: {}", what()));
        }
    }

    // ---- The workers ---------------------------------------------------------------------------------------------------

    pub(crate) fn started(&mut self, slot: usize, process: Process) {
        let worker = Worker {
            process,
            started: Instant::now(),
            ready: false,
            version: 0,
            failed: None,
            asked_alone: None,
            asked_as_leader: None,
        };
        match self.workers.get_mut(slot) {
            Some(before) => *before = worker,
            None => self.workers.push(worker),
        }
    }

    pub(crate) fn call_failed(&mut self, slot: usize) {
        self.failed_calls += 1;
        self.workers[slot].failed = Some(Instant::now());
    }

    /// The definitions of a worker have changed.
    pub(crate) fn took_in(
        &mut self,
        slot: usize,
        process: Process,
        data: Option<&FlagDefinitionCacheData>,
    ) {
        if self.workers[slot].process != process {
            return;
        }
        let Some(data) = data else {
            return self.violated(Rule::HasFlags, || {
                format!("worker {slot} cleared its definitions")
            });
        };
        let Some(version) = version_of(data) else {
            return self.violated(Rule::Evaluates, || {
                format!("worker {slot} took in definitions without the flag")
            });
        };
        let now = Instant::now();
        let worker = &mut self.workers[slot];
        let before = std::mem::replace(&mut worker.version, version);
        worker.ready = true;
        let started = worker.started;
        if version < before {
            return self.violated(Rule::NeverBack, || {
                format!("worker {slot} went from {before} back to {version}")
            });
        }
        for version in before.max(1) + 1..=version {
            let Some(change) = self.changes.get_mut(version as usize - 2) else {
                continue;
            };
            if started < change.at {
                change.last = Some(now);
                self.delays.push((now - change.at).as_millis() as u32);
            }
        }
    }

    /// Evaluates the flag in a worker, as a user would.
    pub(crate) fn look(&mut self, slot: usize, poller: &FlagDefinitionPoller) {
        let now = Instant::now();
        let Worker {
            started,
            ready,
            failed,
            version: took_in,
            ..
        } = self.workers[slot];
        let Some(data) = poller.definitions() else {
            if ready || now > started + START {
                self.violated(Rule::HasFlags, || {
                    format!("worker {slot} has no definitions")
                });
            }
            return;
        };
        let Some(version) = version_of(&data) else {
            return self.violated(Rule::Evaluates, || {
                format!("worker {slot} cannot evaluate the flag")
            });
        };
        if version < took_in {
            self.violated(Rule::NeverBack, || {
                format!("worker {slot} has {version} after {took_in}")
            });
        }
        let next = self.changes.get(version as usize - 1);
        let due = self.poll_interval.mul_f64(1.1) + self.jitter + Duration::from_secs(10);
        let missed = next
            .and_then(|change| change.published)
            .is_some_and(|published| {
                now > published + due
                    && started < published
                    && failed.is_none_or(|failed| failed + due < published)
            });
        if missed {
            self.violated(Rule::SeesChange, || {
                format!("worker {slot} still has {version}")
            });
        }
    }

    // ---- The changes ---------------------------------------------------------------------------------------------------

    pub(crate) fn changed(&mut self, quiet: bool) {
        self.changes.push(Change {
            at: Instant::now(),
            published: None,
            last: None,
            quiet,
        });
    }

    pub(crate) fn published(&mut self, version: u32, at: Instant) {
        let change = (version as usize)
            .checked_sub(2)
            .and_then(|index| self.changes.get_mut(index));
        if let Some(change) = change {
            change.published.get_or_insert(at);
        }
    }

    // ---- The leases and the requests -------------------------------------------------------------------------------------

    pub(crate) fn lease(&mut self, process: Process, until: Instant) {
        self.lease_released(process);
        self.leases.push((process, until));
    }

    pub(crate) fn lease_released(&mut self, process: Process) {
        let now = Instant::now();
        self.leases
            .retain(|(holder, until)| *holder != process && *until > now);
    }

    pub(crate) fn leases_lost(&mut self) {
        self.leases.clear();
    }

    /// A worker begins to lead.
    pub(crate) fn acquired(&mut self, slot: usize) {
        self.acquisitions += 1;
        self.workers[slot].asked_as_leader = None;
    }

    /// A worker sends a request, while the store has a copy (or none: `true`) that was confirmed that long ago.
    pub(crate) fn request(
        &mut self,
        link: &Link,
        (empty, confirmed_ago): (bool, Option<Duration>),
        has_definitions: bool,
    ) {
        let slot = link.slot;
        if link.leads() {
            self.leader_request(slot, link.process);
        } else {
            let stale = confirmed_ago.is_none_or(|ago| ago >= max_staleness(self.poll_interval));
            self.other_request(slot, has_definitions, empty || stale);
        }
    }

    fn leader_request(&mut self, slot: usize, process: Process) {
        let now = Instant::now();
        self.leader_requests += 1;
        let other = self
            .leases
            .iter()
            .find(|(holder, until)| *holder != process && *until > now)
            .copied();
        if let Some((holder, until)) = other {
            let left = until - now;
            self.violated(Rule::OneLeader, || {
                format!("worker {slot} sends a request as the leader; the lease of process {holder} ends in {left:?}")
            });
        }
        let before = self.workers[slot].asked_as_leader.replace(now);
        if !self.webhook
            && let Some(before) = before
            && now - before < self.poll_interval.mul_f64(0.89)
        {
            let ago = now - before;
            self.violated(Rule::Units, || {
                format!("leader {slot} sent its last request only {ago:?} ago")
            });
        }
    }

    fn other_request(&mut self, slot: usize, has_definitions: bool, without_copy: bool) {
        let now = Instant::now();
        self.other_requests += 1;
        let worker = &mut self.workers[slot];
        let cause = worker.failed.is_some_and(|failed| now <= failed + CAUSE)
            || (!has_definitions && now >= worker.started + Duration::from_secs(1));
        let before = worker.asked_alone.replace(now);
        if !cause && !without_copy {
            self.violated(Rule::Units, || {
                format!("worker {slot} sends a request although its store works")
            });
        }
        if has_definitions
            && let Some(before) = before
            && now - before < self.poll_interval * 4
        {
            let ago = now - before;
            self.violated(Rule::Units, || {
                format!("worker {slot} sent its last request only {ago:?} ago")
            });
        }
    }

    /// The units that the leaders may cost, with a request for each change as often as a webhook sends one.
    pub(crate) fn bound(&self) -> u64 {
        let span = (Instant::now() - self.began).as_secs_f64();
        let ticks = (span / self.poll_interval.mul_f64(0.9).as_secs_f64()).ceil() as u64;
        let changes = self.changes.len() as u64;
        let webhooks = if self.webhook { 4 * changes } else { 0 };
        ticks + webhooks + self.acquisitions + 9 * (changes + self.acquisitions)
    }

    /// Compares the leaders' units with their bound, at the end.
    pub(crate) fn units(&mut self, of_leaders: u64) {
        let bound = self.bound();
        if of_leaders > bound {
            self.violated(Rule::Units, || {
                format!("the leaders cost {of_leaders} units, at most {bound} are allowed")
            });
        }
    }
}

/// The poller's default.
fn max_staleness(poll_interval: Duration) -> Duration {
    (poll_interval * 10).max(Duration::from_secs(300))
}
