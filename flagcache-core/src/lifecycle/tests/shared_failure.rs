//! Fleet-wide failures: whole fleets over a store that records the failure, as memory, file and Redis do.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::harness::{DONE, INTERVAL, policy, set};
use crate::lifecycle::{Call, Event, Fetched, Machine, Policy, Reply, Role, Step};
use crate::{
    FetchErrorKind, FlagDefinitionCacheData, FleetFailure, FleetStatus, KeyFingerprint,
    OnUnauthorized,
};

/// What the API answers, by worker.
type Api = fn(&Fleet, usize) -> Option<FetchErrorKind>;

struct Worker {
    machine: Machine,
    key: Option<KeyFingerprint>,
    steps_down_until: Option<Instant>,
    warm: bool,
}

struct Fleet {
    now: Instant,
    workers: Vec<Worker>,
    leader: Option<usize>,
    copy: Option<FlagDefinitionCacheData>,
    confirmed_at: Option<Instant>,
    failure: Option<(FleetFailure, Instant)>,
    fault: Option<FetchErrorKind>,
    api: Api,
    requests: Vec<(Instant, usize)>,
    inbox: VecDeque<(usize, Event)>,
    rng: fastrand::Rng,
}

fn key(name: &str) -> KeyFingerprint {
    KeyFingerprint::of("phc_p", name)
}

/// The fault affects all workers.
fn seen_by_all(fleet: &Fleet, _worker: usize) -> Option<FetchErrorKind> {
    fleet.fault
}

impl Fleet {
    fn new(policy: &Policy, workers: usize, seed: u64) -> Self {
        let now = Instant::now() + Duration::from_secs(1_000_000);
        let worker = |n: usize| Worker {
            machine: Machine::new(
                policy.clone(),
                now,
                seed.wrapping_mul(1_000).wrapping_add(n as u64),
            ),
            key: Some(key("old")),
            steps_down_until: None,
            warm: false,
        };
        Self {
            now,
            workers: (0..workers).map(worker).collect(),
            leader: None,
            copy: None,
            confirmed_at: None,
            failure: None,
            fault: None,
            api: seen_by_all,
            requests: Vec::new(),
            inbox: VecDeque::new(),
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            while let Some((worker, event)) = self.inbox.pop_front() {
                self.handle(worker, event);
            }
            let next = (0..self.workers.len())
                .filter_map(|n| Some((self.workers[n].machine.deadline()?, n)))
                .min();
            match next {
                Some((at, worker)) if at <= end => {
                    self.now = self.now.max(at);
                    self.handle(worker, Event::Timer);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn handle(&mut self, n: usize, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let key = self.workers[n].key;
            self.workers[n].machine.set_key(key);
            for step in self.workers[n].machine.handle(self.now, event) {
                match step {
                    Step::Call(call) => {
                        events.push_back(Event::Reported(self.report()));
                        events.push_back(self.call(n, call));
                    }
                    Step::Fetch { generation, etag } => {
                        self.requests.push((self.now, n));
                        let fetched = match (self.api)(self, n) {
                            Some(failure) => Fetched::Failed {
                                failure,
                                retry_after: None,
                            },
                            None if etag.is_some() => Fetched::NotModified { etag: None },
                            None => Fetched::New(set("a", "1")),
                        };
                        events.push_back(Event::Fetched {
                            generation,
                            fetched,
                        });
                    }
                    Step::Install { .. } => self.workers[n].warm = true,
                    Step::Clear => self.workers[n].warm = false,
                    Step::CancelFetch | Step::Notice(_) | Step::LoadEnded { .. } | Step::Ended => {}
                }
            }
        }
    }

    fn report(&self) -> FleetStatus {
        FleetStatus::new()
            .confirmed_ago(self.confirmed_at.map(|at| self.now - at))
            .fleet_failure(
                self.failure
                    .map(|(failure, at)| failure.with_age(self.now - at)),
            )
    }

    fn call(&mut self, n: usize, call: Call) -> Event {
        match call {
            Call::Decide => {
                let worker = &self.workers[n];
                let barred = self
                    .report()
                    .fleet_failure
                    .is_some_and(|failure| failure.bars(worker.key));
                let out = worker
                    .steps_down_until
                    .is_some_and(|until| self.now < until);
                if self.leader.is_none() && !barred && !out {
                    self.leader = Some(n);
                }
                Event::Replied(Reply::Decision(Ok(self.leader == Some(n))))
            }
            Call::Stored => Event::Replied(Reply::Definitions(Ok(self.copy.clone()))),
            Call::Read => Event::Replied(Reply::Definitions(Ok(self.copy.clone()))),
            Call::Publish(data) => {
                if self.leader == Some(n) || self.copy.is_none() {
                    self.copy = Some(data);
                    self.confirm();
                    self.notify(n);
                }
                Event::Replied(Reply::Done(Ok(())))
            }
            Call::FetchWithoutUpdate(outcome) => {
                assert_eq!(self.leader, Some(n));
                if outcome.is_unchanged() {
                    self.confirm();
                }
                if let Some(failure) = outcome.fleet_failure() {
                    // As every store does.
                    let failure: FleetFailure = failure.to_string().parse().unwrap();
                    self.failure = Some((failure, self.now));
                }
                if let Some(time) = outcome.step_down_for() {
                    self.workers[n].steps_down_until = Some(self.now + time);
                    self.leader = None;
                    self.notify(n);
                }
                DONE
            }
            Call::Shutdown => DONE,
        }
    }

    fn confirm(&mut self) {
        self.confirmed_at = Some(self.now);
        self.failure = None;
    }

    fn notify(&mut self, by: usize) {
        // The workers learn of it in any order.
        let mut others: Vec<usize> = (0..self.workers.len()).filter(|n| *n != by).collect();
        self.rng.shuffle(&mut others);
        self.inbox
            .extend(others.into_iter().map(|n| (n, Event::Notification)));
    }

    /// The most requests in any interval since then.
    fn most_in_an_interval(&self, since: Instant) -> usize {
        let times: Vec<Instant> = self
            .requests
            .iter()
            .map(|(at, _)| *at)
            .filter(|at| *at >= since)
            .collect();
        let within = |from: &Instant| {
            times
                .iter()
                .filter(|at| **at >= *from && **at < *from + INTERVAL)
                .count()
        };
        times.iter().map(within).max().unwrap_or_default()
    }
}

const KINDS: [FetchErrorKind; 8] = [
    FetchErrorKind::Unauthorized,
    FetchErrorKind::QuotaLimited,
    FetchErrorKind::RateLimited,
    FetchErrorKind::Server,
    FetchErrorKind::Connect,
    FetchErrorKind::Timeout,
    FetchErrorKind::Unusable,
    FetchErrorKind::Rejected,
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn b8_61_a_failure_that_all_see_costs_the_same_whatever_the_number_of_workers(
        workers in 1..48usize,
        keys in 1..50u8,
        kind in 0..KINDS.len(),
        starts_with_it: bool,
        intervals in 1..25u32,
        seed: u64,
    ) {
        let mut fleet = Fleet::new(&policy(), workers, seed);
        for (n, worker) in fleet.workers.iter_mut().enumerate() {
            worker.key = Some(key(&format!("key {}", n % usize::from(keys))));
        }
        if !starts_with_it {
            fleet.run(INTERVAL * 3);
            prop_assert!(fleet.workers.iter().all(|worker| worker.warm));
        }
        let began = fleet.now;
        fleet.fault = Some(KINDS[kind]);
        fleet.run(INTERVAL * intervals);
        // The first leader tries twice, because a connection failure may be transient; then two more try; then the last
        // retries alone.
        let most = fleet.most_in_an_interval(began);
        prop_assert!(most <= 5, "{most} requests in an interval");
        if starts_with_it {
            prop_assert!(fleet.workers.iter().all(|worker| !worker.warm));
        } else {
            prop_assert!(fleet.workers.iter().all(|worker| worker.warm));
        }
        if intervals > 3 {
            prop_assert!(fleet.workers.iter().all(|worker| worker.machine.last_failure() == Some(KINDS[kind])));
        }

        // The end of a fault that is not billed is noticed within two intervals.
        let billed = [FetchErrorKind::QuotaLimited, FetchErrorKind::RateLimited, FetchErrorKind::Unusable];
        if !billed.contains(&KINDS[kind]) && !starts_with_it {
            let ended = fleet.now;
            fleet.fault = None;
            fleet.run(INTERVAL * 2);
            let first = fleet.requests.iter().find(|(at, _)| *at > ended);
            prop_assert!(first.is_some(), "no worker has tried again");
            prop_assert!(fleet.confirmed_at > Some(ended));
        }
    }
}

#[test]
fn b8_61_half_of_the_workers_with_a_new_key_lead_at_once_and_the_others_do_not_try() {
    for seed in 0..20 {
        let mut fleet = Fleet::new(&policy(), 32, seed);
        fleet.run(INTERVAL * 3);
        let old_leader = fleet.leader.unwrap();
        // The key is revoked, and replaced in the other half.
        for (n, worker) in fleet.workers.iter_mut().enumerate() {
            if n % 2 != old_leader % 2 {
                worker.key = Some(key("new"));
            }
        }
        fleet.api = |fleet, n| {
            (fleet.workers[n].key == Some(key("old"))).then_some(FetchErrorKind::Unauthorized)
        };
        let revoked = fleet.now;
        fleet.run(INTERVAL.mul_f64(1.2));
        let leader = fleet.leader.unwrap();
        assert_eq!(fleet.workers[leader].key, Some(key("new")));
        let requests: Vec<usize> = fleet
            .requests
            .iter()
            .filter(|(at, _)| *at >= revoked)
            .map(|(_, worker)| *worker)
            .collect();
        assert_eq!(
            requests[..2],
            [old_leader, leader],
            "one refusal, and the next has the new key"
        );
        assert!(requests[2..].iter().all(|worker| *worker == leader));
        fleet.run(INTERVAL * 2);
        assert!(
            fleet
                .workers
                .iter()
                .all(|worker| worker.warm && worker.machine.refusal().is_none())
        );
    }
}

#[test]
fn b2_28_every_worker_with_a_refused_key_reports_unauthorized() {
    let policy = Policy {
        on_unauthorized: OnUnauthorized::Clear,
        ..policy()
    };
    let mut fleet = Fleet::new(&policy, 8, 1);
    fleet.run(INTERVAL * 3);
    fleet.fault = Some(FetchErrorKind::Unauthorized);
    fleet.run(INTERVAL * 4);
    let refused = |worker: &Worker| worker.machine.refusal() == Some(FetchErrorKind::Unauthorized);
    assert!(
        fleet
            .workers
            .iter()
            .all(|worker| refused(worker) && !worker.warm),
        "the policy of each is to clear"
    );
    fleet.fault = None;
    fleet.run(INTERVAL * 4);
    assert!(
        fleet
            .workers
            .iter()
            .all(|worker| !refused(worker) && worker.warm)
    );
}

#[test]
fn b8_61_a_leader_that_alone_cannot_connect_is_replaced_at_its_second_failure() {
    let mut fleet = Fleet::new(&policy(), 8, 1);
    fleet.run(INTERVAL * 3);
    let leader = fleet.leader.unwrap();
    assert_eq!(leader, 0);
    let began = fleet.now;
    fleet.api = |_, n| (n == 0).then_some(FetchErrorKind::Connect);
    fleet.run(INTERVAL * 3);
    let requests: Vec<usize> = fleet
        .requests
        .iter()
        .filter(|(at, _)| *at >= began)
        .map(|(_, worker)| *worker)
        .collect();
    assert_eq!(requests[..2], [0, 0]);
    assert!(
        requests[2..].iter().all(|worker| *worker != 0),
        "{requests:?}"
    );
    assert_ne!(fleet.leader, Some(0));
    assert!(fleet.confirmed_at > Some(began));
}

#[test]
fn b8_61_the_third_worker_that_cannot_connect_stays_leader_and_tries_alone() {
    let mut fleet = Fleet::new(&policy(), 32, 1);
    fleet.run(INTERVAL * 3);
    let began = fleet.now;
    fleet.fault = Some(FetchErrorKind::Connect);
    fleet.run(INTERVAL * 4);
    let mut tried: Vec<usize> = fleet
        .requests
        .iter()
        .filter(|(at, _)| *at >= began)
        .map(|(_, worker)| *worker)
        .collect();
    let last = fleet.leader.unwrap();
    assert_eq!(fleet.workers[last].machine.role(), Role::Leader);
    assert!(
        tried.len() > 5 && tried[4..].iter().all(|worker| *worker == last),
        "{tried:?}"
    );
    tried.dedup();
    assert_eq!(tried.len(), 3);
}

/// How many workers, counted from the first, are cut off from the API.
const CUT_OFF: usize = 3;

#[test]
fn b8_61_isolated_workers_eventually_lose_leadership() {
    for kind in [
        FetchErrorKind::Connect,
        FetchErrorKind::Timeout,
        FetchErrorKind::Server,
        FetchErrorKind::Rejected,
    ] {
        let mut fleet = Fleet::new(&policy(), 32, 1);
        fleet.run(INTERVAL * 3);
        let began = fleet.now;
        fleet.requests.clear();
        fleet.fault = Some(kind);
        fleet.api = |fleet, n| {
            let mut tried: Vec<usize> = Vec::new();
            for (_, worker) in &fleet.requests {
                if !tried.contains(worker) {
                    tried.push(*worker);
                }
            }
            fleet
                .fault
                .filter(|_| tried.iter().position(|worker| *worker == n) < Some(CUT_OFF))
        };
        fleet.run(INTERVAL * 30);
        assert!(
            fleet.confirmed_at > Some(began),
            "{kind}: {:?}",
            fleet.requests
        );
        let leader = fleet.leader.unwrap();
        assert!(
            fleet
                .requests
                .iter()
                .rev()
                .take(3)
                .all(|(_, worker)| *worker == leader),
            "{kind}"
        );
    }
}

#[test]
fn b8_61_a_single_worker_that_stepped_down_sees_the_recovery_within_two_intervals() {
    for kind in [
        FetchErrorKind::Unauthorized,
        FetchErrorKind::Connect,
        FetchErrorKind::Server,
    ] {
        for intervals in 1..40u32 {
            let mut fleet = Fleet::new(&policy(), 1, u64::from(intervals));
            fleet.run(INTERVAL * 3);
            fleet.fault = Some(kind);
            fleet.run(INTERVAL.mul_f64(f64::from(intervals) * 0.7));
            let ended = fleet.now;
            fleet.fault = None;
            fleet.run(INTERVAL * 2);
            assert!(fleet.confirmed_at > Some(ended), "{kind}, {intervals}");
        }
    }
}

#[test]
fn b8_61_the_record_of_a_leader_of_an_older_version_is_harmless() {
    let mut fleet = Fleet::new(&policy(), 8, 1);
    fleet.run(INTERVAL * 3);
    fleet.fault = Some(FetchErrorKind::Unauthorized);
    fleet.run(INTERVAL * 3);
    let left_behind = fleet.failure;
    assert!(left_behind.is_some());
    fleet.fault = None;
    fleet.run(INTERVAL * 3);
    // It neither writes nor deletes a failure.
    fleet.failure = left_behind;
    fleet.run(INTERVAL * 3);
    fleet.failure = left_behind;
    let leader = fleet.leader;
    for (n, worker) in fleet
        .workers
        .iter()
        .enumerate()
        .filter(|(n, _)| Some(*n) != leader)
    {
        assert_eq!(
            (worker.machine.refusal(), worker.machine.last_failure()),
            (None, None),
            "{n}"
        );
    }
}

#[test]
fn b8_61_workers_that_start_again_in_the_window_do_not_try() {
    let mut fleet = Fleet::new(&policy(), 32, 1);
    fleet.run(INTERVAL * 3);
    fleet.fault = Some(FetchErrorKind::Unauthorized);
    let began = fleet.now;
    for round in 0..20 {
        fleet.run(INTERVAL.mul_f64(0.5));
        for n in 0..fleet.workers.len() {
            if fleet.leader == Some(n) {
                fleet.leader = None;
            }
            fleet.workers[n] = Worker {
                machine: Machine::new(policy(), fleet.now, round * 100 + n as u64),
                key: Some(key("old")),
                steps_down_until: None,
                warm: false,
            };
        }
    }
    assert!(fleet.workers.iter().all(|worker| worker.key.is_some()));
    let most = fleet.most_in_an_interval(began);
    assert!(most <= 2, "{most} requests in an interval");
    fleet.run(INTERVAL.mul_f64(0.5));
    assert!(
        fleet.workers.iter().all(|worker| worker.warm),
        "the copy serves them"
    );
}

#[test]
fn b8_61_refreshes_by_all_workers_do_not_cause_requests_by_all() {
    let mut fleet = Fleet::new(&policy(), 64, 1);
    fleet.run(INTERVAL * 3);
    for kind in KINDS {
        fleet.fault = Some(kind);
        fleet.run(INTERVAL * 3);
        let began = fleet.now;
        for _ in 0..50 {
            for n in 0..fleet.workers.len() {
                fleet.handle(n, Event::Refresh);
            }
            fleet.run(INTERVAL / 10);
        }
        let most = fleet.most_in_an_interval(began);
        assert!(most <= 3, "{kind}: {most} requests in an interval");
        fleet.fault = None;
        // The longest backoff.
        fleet.run(INTERVAL * 10);
    }
}

#[test]
fn b2_30_the_whole_fleet_backs_off_from_billed_or_limited_failures() {
    for kind in [
        FetchErrorKind::Unusable,
        FetchErrorKind::QuotaLimited,
        FetchErrorKind::RateLimited,
    ] {
        let mut fleet = Fleet::new(&policy(), 32, 1);
        fleet.run(INTERVAL * 3);
        let began = fleet.requests.len();
        fleet.fault = Some(kind);
        fleet.run(INTERVAL * 60);
        // After one interval, then 2, 4 and 8.
        let requests = fleet.requests.len() - began;
        assert!((6..=10).contains(&requests), "{kind}: {requests}");
    }
}

#[test]
fn b2_28_readers_without_a_key_report_the_leaders_refused_key() {
    let mut fleet = Fleet::new(&policy(), 8, 1);
    let reader = fleet.workers.len() - 1;
    let keyless = Policy {
        can_fetch: false,
        ..policy()
    };
    fleet.workers[reader].machine = Machine::new(keyless, fleet.now, 1);
    fleet.workers[reader].key = None;
    fleet.run(INTERVAL * 3);
    fleet.fault = Some(FetchErrorKind::Unauthorized);
    fleet.run(INTERVAL * 4);
    assert_eq!(
        fleet.workers[reader].machine.refusal(),
        Some(FetchErrorKind::Unauthorized)
    );
    fleet.fault = None;
    fleet.run(INTERVAL * 4);
    assert_eq!(fleet.workers[reader].machine.refusal(), None);
    assert!(fleet.requests.iter().all(|(_, worker)| *worker != reader));
}

#[test]
fn b8_61_in_manual_mode_a_refused_key_is_tried_once_in_a_window() {
    let manual = Policy {
        manual: true,
        ..policy()
    };
    let mut fleet = Fleet::new(&manual, 20, 1);
    let refresh_all = |fleet: &mut Fleet| {
        for n in 0..fleet.workers.len() {
            fleet.handle(n, Event::Refresh);
        }
        fleet.run(INTERVAL / 5);
    };
    (0..10).for_each(|_| refresh_all(&mut fleet));
    fleet.fault = Some(FetchErrorKind::Unauthorized);
    let began = fleet.now;
    (0..50).for_each(|_| refresh_all(&mut fleet));
    let most = fleet.most_in_an_interval(began);
    assert!(most <= 2, "{most} requests in an interval");
    assert!(fleet.workers.iter().all(|worker| worker.warm));
    fleet.fault = None;
    (0..10).for_each(|_| refresh_all(&mut fleet));
    assert!(
        fleet
            .workers
            .iter()
            .all(|worker| worker.machine.refusal().is_none())
    );
}
