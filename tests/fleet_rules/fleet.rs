//! Worker processes that share a store, and the API that they ask.

use std::env;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use flagcache_providers::testing::ApiStub;
use flagcache_test_support::SchedulingDelay;

use crate::api::{Api, Get};
use crate::process::Worker;
use crate::protocol::{Event, Order, Report, now};
use crate::test_store::TestStore;
use crate::worker::{ASSIGNMENT, Assignment, Settings};

/// Ample for anything that does come.
pub(crate) const AMPLE: Duration = Duration::from_secs(30);
/// For what must *not* happen.
pub(crate) const A_WHILE: Duration = Duration::from_millis(500);
/// A poll interval beyond the end of any test: no tick causes what a test observes.
pub(crate) const NO_TICKS: Duration = Duration::from_secs(300);
/// The time that the tests themselves may add to a promised time, besides the delay of a busy machine. Without its rule each
/// promise would be missed by more.
const SLACK: Duration = Duration::from_millis(450);
/// The flags that a fleet starts with.
pub(crate) const FLAGS: usize = 50;

pub(crate) struct Fleet<P> {
    pub(crate) api: Api,
    pub(crate) test_store: P,
    pub(crate) workers: Vec<Worker>,
    pub(crate) settings: Settings,
}

impl<P: TestStore> Fleet<P> {
    /// An API that serves [`FLAGS`] flags, an empty store, and no worker yet.
    pub(crate) fn new(settings: Settings) -> Self {
        let api = Api::start();
        api.serve(FLAGS);
        Self {
            api,
            test_store: P::new(),
            workers: Vec::new(),
            settings,
        }
    }

    /// A fleet whose workers all have their flags.
    pub(crate) fn running(settings: Settings, workers: usize) -> Self {
        let mut fleet = Self::new(settings);
        fleet.start(workers);
        fleet.wait_until_all_have(FLAGS);
        fleet
    }

    /// A fleet of workers with these secret keys, all of which have their flags. The first leads.
    pub(crate) fn with_keys(settings: Settings, secret_keys: &[&str]) -> Self {
        let mut fleet = Self::new(settings);
        fleet.api.takes(secret_keys);
        for key in secret_keys {
            fleet.start_one(&fleet.api.url(), key);
            fleet.wait_until_all_have(FLAGS);
        }
        fleet
    }

    /// Starts that many more workers. Gives the index of the first.
    pub(crate) fn start(&mut self, workers: usize) -> usize {
        let first = self.workers.len();
        for _ in 0..workers {
            self.start_one(&self.api.url(), ApiStub::SECRET_KEY);
        }
        first
    }

    /// Starts a worker that finds the API here, and has this secret key.
    pub(crate) fn start_one(&mut self, api: &str, secret_key: &str) {
        let name = format!("worker-{}", self.workers.len());
        let assignment = Assignment {
            name: name.clone(),
            api: api.to_owned(),
            secret_key: secret_key.to_owned(),
            store: self.test_store.store(self.settings.lock_ttl),
            settings: self.settings.clone(),
        };
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", "a_worker", "--ignored", "--nocapture"])
            .env(ASSIGNMENT, serde_json::to_string(&assignment).unwrap());
        self.workers.push(Worker::start(&name, &mut command));
    }

    pub(crate) fn wait_until_all_have(&mut self, flags: usize) {
        self.wait(AMPLE, &format!("every worker has {flags} flags"), |fleet| {
            fleet
                .running_workers()
                .all(|worker| worker.flags() == flags)
        });
    }

    /// Waits until exactly one worker leads. Its index.
    pub(crate) fn leader(&mut self) -> usize {
        let mut leader = None;
        self.wait(AMPLE, "exactly one worker leads", |fleet| {
            let leading: Vec<_> = (0..fleet.workers.len())
                .filter(|&index| fleet.workers[index].leads())
                .collect();
            leader = leading.first().copied();
            leading.len() == 1
        });
        leader.unwrap()
    }

    /// Waits until another worker than `old` reports that it leads. Its index, and how long after `since` that was.
    pub(crate) fn next_leader(&mut self, old: usize, since: Duration) -> (usize, Duration) {
        let mut next = None;
        self.wait(AMPLE, "another worker leads", |fleet| {
            next = (0..fleet.workers.len()).filter(|&index| index != old).find_map(|index| {
                let leads = |event: &Event| matches!(event, Event::Status { role, .. } if role == "leader");
                fleet.workers[index].first(since, leads).map(|at| (index, at - since))
            });
            next.is_some()
        });
        next.unwrap()
    }

    /// Starts the workers that wait for [`Order::Begin`], once all are prepared.
    pub(crate) fn begin(&mut self) {
        self.wait(AMPLE, "all are prepared", |fleet| {
            let mut workers = fleet.workers.iter_mut();
            workers.all(|worker| {
                worker
                    .reports()
                    .iter()
                    .any(|report| matches!(report.event, Event::Prepared))
            })
        });
        self.workers
            .iter_mut()
            .for_each(|worker| worker.send(Order::Begin));
    }

    /// The requests from `first` on, once there are `count`.
    pub(crate) fn wait_for_gets(&mut self, first: usize, count: usize) -> Vec<Get> {
        self.wait(AMPLE, &format!("{count} requests"), |fleet| {
            fleet.api.count() >= first + count
        });
        self.api.gets_from(first)
    }

    pub(crate) fn name(&self, worker: usize) -> &str {
        &self.workers[worker].name
    }

    /// Lets a worker load, and waits for the end of it.
    pub(crate) fn refresh(&mut self, worker: usize) {
        let ordered_at = now();
        self.workers[worker].send(Order::Refresh);
        self.wait(AMPLE, "a refresh", |fleet| {
            fleet.workers[worker]
                .first(ordered_at, |event| matches!(event, Event::Refreshed { .. }))
                .is_some()
        });
    }

    /// The loads and the requests of each running worker so far.
    pub(crate) fn count(&mut self) -> Vec<(u64, u64)> {
        let ordered_at = now();
        self.running_workers()
            .for_each(|worker| worker.send(Order::Count));
        let counted = |worker: &mut Worker| {
            worker
                .reports()
                .iter()
                .rev()
                .find_map(|Report { at, event }| match event {
                    Event::Counted { loads, requests } if *at >= ordered_at => {
                        Some((*loads, *requests))
                    }
                    _ => None,
                })
        };
        self.wait(AMPLE, "all counts", |fleet| {
            fleet
                .running_workers()
                .all(|worker| counted(worker).is_some())
        });
        self.running_workers().filter_map(counted).collect()
    }

    pub(crate) fn running_workers(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.workers
            .iter_mut()
            .filter_map(|worker| (!worker.has_ended()).then_some(worker))
    }

    /// Waits until `condition` holds. How long that took.
    pub(crate) fn wait(
        &mut self,
        timeout: Duration,
        what: &str,
        condition: impl FnMut(&mut Self) -> bool,
    ) -> Duration {
        self.within(timeout, condition).unwrap_or_else(|| {
            let gets = self.api.gets_from(0);
            let reports: Vec<_> = self
                .workers
                .iter_mut()
                .map(|worker| (worker.name.clone(), worker.reports().to_vec()))
                .collect();
            panic!("not within {timeout:?}: {what}\nrequests: {gets:#?}\nworkers: {reports:#?}");
        })
    }

    /// How long it took until `condition` held, if that was within `timeout`.
    pub(crate) fn within(
        &mut self,
        timeout: Duration,
        mut condition: impl FnMut(&mut Self) -> bool,
    ) -> Option<Duration> {
        let start = Instant::now();
        while !condition(self) {
            if start.elapsed() > timeout {
                return None;
            }
            sleep(Duration::from_millis(2));
        }
        Some(start.elapsed())
    }

    /// Prints a measured time beside the promised one, and asserts that it is kept. `lost` began with the measurement, or before.
    pub(crate) fn promised(what: &str, took: Duration, promised: Duration, lost: SchedulingDelay) {
        let lost = lost.so_far();
        println!(
            "{}: {what} after {} ms; promised {} ms; at most {} ms lost to others",
            P::NAME,
            took.as_millis(),
            promised.as_millis(),
            lost.as_millis()
        );
        assert!(
            took <= promised + SLACK + lost,
            "{}: {what} took {took:?} instead of {promised:?}; at most {lost:?} were lost to others",
            P::NAME
        );
    }
}
