//! A file as fallback of Redis: workers that boot in the middle of an outage.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use flagcache_providers::testing::ApiReply;
use flagcache_test_support::{RedisServer, SchedulingDelay};
use tempfile::TempDir;

use crate::fleet::{AMPLE, FLAGS, Fleet};
use crate::process::Worker;
use crate::protocol::{Event, now};
use crate::redis::Server;
use crate::test_store::TestStore;
use crate::worker::{SERVICE, Settings, Store};

const INTERVAL: Duration = Duration::from_secs(1);
/// The longest tick.
const TICK: Duration = Duration::from_millis(1_100);

struct Tiers {
    first: Server,
    fallback: TempDir,
}

impl TestStore for Tiers {
    const NAME: &'static str = "Redis and a file";
    const LOCK_TTL: Duration = Server::LOCK_TTL;

    fn new() -> Self {
        Self {
            first: Server(RedisServer::start()),
            fallback: TempDir::new().unwrap(),
        }
    }

    fn store(&self, lock_ttl: Duration) -> Store {
        let folder = self.fallback.path().to_owned();
        Store::Tiered {
            url: self.first.0.url(),
            lock_ttl,
            folder,
        }
    }

    /// The fallback's copy.
    fn copy(&self) -> Option<Vec<u8>> {
        fs::read(self.fallback.path().join(format!("{SERVICE}.json"))).ok()
    }

    fn put(&self, copy: &[u8]) {
        self.first.put(copy);
    }

    fn take_leadership_away(&self) {
        self.first.take_leadership_away();
    }

    fn block_leadership(&self, leader: &mut Worker) {
        self.first.block_leadership(leader);
    }
}

/// Workers that ran before, then boot while Redis and the API are both away, for so long.
fn boots_in_an_outage(begin: fn(&mut RedisServer), end: fn(&mut RedisServer), lasts: Duration) {
    const WORKERS: usize = 3;
    let mut fleet =
        Fleet::<Tiers>::running(Settings::every(INTERVAL).lock_ttl(Tiers::LOCK_TTL), WORKERS);
    fleet.wait(AMPLE, "the file holds a copy", |fleet| {
        fleet.test_store.copy().is_some()
    });
    for worker in 0..WORKERS {
        fleet.workers[worker].terminate();
        fleet.workers[worker].wait_for_end(AMPLE);
    }

    begin(&mut fleet.test_store.first.0);
    fleet.api.always(ApiReply::reset());
    let (down, lost) = (now(), SchedulingDelay::begin());
    let first = fleet.start(WORKERS);
    fleet.wait_until_all_have(FLAGS);
    let boots = (first..first + WORKERS).map(|worker| {
        let worker = &mut fleet.workers[worker];
        let started = worker
            .first(down, |event| matches!(event, Event::Started))
            .unwrap();
        worker
            .first(started, |event| matches!(event, Event::Ready))
            .unwrap()
            - started
    });
    let slowest = boots.max().unwrap();
    Fleet::<Tiers>::promised(
        "a worker that boots in an outage has its flags",
        slowest,
        Duration::from_millis(1_500),
        lost,
    );
    fleet.wait(AMPLE, "all are stale", |fleet| all_are(fleet, "stale"));

    sleep(lasts);
    assert!(all_are(&mut fleet, "stale"), "the copy is unconfirmed");
    let lost = SchedulingDelay::begin();
    end(&mut fleet.test_store.first.0);
    fleet.api.recovers();
    let took = fleet.wait(AMPLE, "all are valid again", |fleet| {
        all_are(fleet, "ready")
    });
    Fleet::<Tiers>::promised(
        &format!("status is valid after {lasts:?} of outage"),
        took,
        TICK,
        lost,
    );
    assert!(
        fleet
            .running_workers()
            .all(|worker| worker.flags() == FLAGS)
    );
}

fn all_are(fleet: &mut Fleet<Tiers>, state: &str) -> bool {
    fleet
        .running_workers()
        .all(|worker| worker.state().as_deref() == Some(state))
}

#[test]
fn workers_boot_from_the_file_while_redis_and_the_api_are_down() {
    boots_in_an_outage(RedisServer::kill, RedisServer::start_again, Duration::ZERO);
}

#[test]
fn workers_boot_from_the_file_while_redis_hangs() {
    boots_in_an_outage(
        |server| server.hang(),
        |server| server.resume(),
        Duration::ZERO,
    );
}

#[test]
fn workers_boot_from_the_file_and_survive_a_long_outage() {
    boots_in_an_outage(
        RedisServer::kill,
        RedisServer::start_again,
        Duration::from_secs(5),
    );
}
