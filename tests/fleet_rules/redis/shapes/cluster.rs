//! Three nodes of a cluster, with and without a replica of the one that has the keys.

use std::thread::sleep;
use std::time::{Duration, Instant};

use flagcache_test_support::{RedisCluster, RedisServer, SchedulingDelay};

use crate::fleet::{AMPLE, FLAGS, Fleet};
use crate::redis::shapes::{DATA, LOCK, PrimaryServer, test_store};
use crate::rules::rules_for;
use crate::test_store::{Failing, Redundant};
use crate::worker::Settings;

rules_for!(Cluster, as another shape);
rules_for!(Replicated, with a replica);

/// The node that has the keys at the start, the `owner`, is the first in the workers' URL.
pub(crate) struct Nodes<const REPLICA: bool> {
    cluster: RedisCluster,
    owner: usize,
}

type Cluster = Nodes<false>;
type Replicated = Nodes<true>;

impl<const REPLICA: bool> Nodes<REPLICA> {
    fn start() -> Self {
        let mut cluster = RedisCluster::start();
        if REPLICA {
            cluster.add_replica(DATA, None);
        }
        Self {
            owner: cluster.owner(DATA),
            cluster,
        }
    }

    fn url(&self) -> String {
        self.cluster
            .url(&[self.owner, (self.owner + 1) % 3, (self.owner + 2) % 3])
    }
}

impl<const REPLICA: bool> PrimaryServer for Nodes<REPLICA> {
    fn primary(&self) -> Option<&RedisServer> {
        self.cluster.primary(DATA)
    }
}

test_store!(Cluster, "Cluster", Self::start(), |this| this.url(), "");
test_store!(Replicated, "Cluster", Self::start(), |this| this.url(), "");

impl Failing for Cluster {
    /// A node that was started again serves nothing for 2 s, and one that saw no majority waits for the node timeout of
    /// 1 s.
    const GATHERS_IN: Duration = Duration::from_secs(4);

    fn evict(&self) {
        self.expect_primary().run_args::<()>(&["DEL", DATA]);
    }

    fn flush(&self) {
        self.expect_primary().run("FLUSHALL")
    }

    fn restart(&mut self) {
        self.cluster.nodes[self.owner].kill();
        self.cluster.nodes[self.owner].start_again();
    }

    fn kill(&mut self) {
        self.cluster.nodes.iter_mut().for_each(RedisServer::kill);
    }

    fn start_again(&mut self) {
        self.cluster
            .nodes
            .iter_mut()
            .for_each(RedisServer::start_again);
    }

    fn hang(&mut self) {
        self.cluster.nodes.iter().for_each(RedisServer::hang);
    }

    fn resume(&mut self) {
        self.cluster.nodes.iter().for_each(RedisServer::resume);
    }
}

impl Redundant for Replicated {
    fn primary(&mut self) -> &mut RedisServer {
        &mut self.cluster.nodes[self.owner]
    }

    fn replica(&self) -> &RedisServer {
        &self.cluster.nodes[3]
    }
}

const INTERVAL: Duration = Duration::from_millis(300);
const FAIL_OPEN: Duration = Duration::from_secs(3);

#[test]
fn a_slot_migration_under_a_running_fleet_costs_no_flag() {
    let mut fleet =
        Fleet::<Cluster>::running(Settings::every(INTERVAL).fail_open(FAIL_OPEN).patient(), 6);
    let leader = fleet.leader();
    let from = fleet.api.count();
    let owner = fleet.test_store.owner;
    let (next, last) = ((owner + 1) % 3, (owner + 2) % 3);

    // The keys are at the next node, the slot is not yet: no call fails.
    move_slot(&mut fleet, owner, next, None);
    let gets = fleet.api.gets_from(from);
    assert!(
        gets.iter().all(|get| get.by == fleet.name(leader)),
        "a follower has fetched: {gets:?}"
    );
    a_change_reaches_all(&mut fleet, FLAGS + 1);
    assert_eq!(fleet.leader(), leader, "the lock has moved with its TTL");

    // The move takes so long that every worker meets it: calls fail, and have no other effect.
    let (from, begun) = (fleet.api.count(), Instant::now());
    move_slot(&mut fleet, next, last, Some(INTERVAL * 3));
    let gets = fleet.api.gets_from(from);
    let most = 1 + (begun.elapsed().as_secs_f64() / FAIL_OPEN.as_secs_f64()) as usize;
    for worker in (0..fleet.workers.len()).filter(|&worker| worker != leader) {
        let own = gets
            .iter()
            .filter(|get| get.by == fleet.name(worker))
            .count();
        assert!(
            own <= most,
            "{own} requests of a follower, {most} are allowed: {gets:?}"
        );
    }
    a_change_reaches_all(&mut fleet, FLAGS + 2);
    assert!(
        fleet.running_workers().all(|worker| worker.changes() == 3),
        "no other change was seen"
    );

    // The loss of a node without keys of the service has no effect, although it comes first in the workers' URL.
    assert_eq!(
        fleet.test_store.cluster.nodes[owner].run::<u64>("DBSIZE"),
        0
    );
    fleet.test_store.cluster.nodes[owner].kill();
    let from = fleet.api.count();
    let newcomer = fleet.start(1);
    a_change_reaches_all(&mut fleet, FLAGS + 3);
    assert_eq!(fleet.leader(), leader);
    let gets = fleet.api.gets_from(from);
    assert!(
        gets.iter().all(|get| get.by == fleet.name(leader)),
        "a follower has fetched: {gets:?}"
    );
    assert!(
        fleet.workers[newcomer].changes() <= 2,
        "it had the one before at most"
    );
}

/// Moves the slot while all load. For the time of `pause` only a part of the keys is there.
fn move_slot(fleet: &mut Fleet<Cluster>, from: usize, to: usize, pause: Option<Duration>) {
    let slot = fleet.test_store.cluster.begin_move(DATA, from, to);
    let (meta, patches) = (format!("{DATA}:meta"), format!("{DATA}:patches"));
    if let Some(pause) = pause {
        slot.keys_at_once(&[LOCK]);
        sleep(pause);
    }
    slot.keys_at_once(&[LOCK, DATA, &meta, &patches]);
    // All keys are moved now, but clients are still redirected.
    sleep(INTERVAL * 2);
    slot.end();
    let before = fleet.count();
    fleet.wait(AMPLE, "two more loads of each", |fleet| {
        fleet
            .count()
            .iter()
            .zip(&before)
            .all(|(now, before)| now.0 >= before.0 + 2)
    });
}

fn a_change_reaches_all(fleet: &mut Fleet<Cluster>, flags: usize) {
    let lost = SchedulingDelay::begin();
    fleet.api.serve(flags);
    let took = fleet.wait(AMPLE, "a change reaches all", |fleet| {
        fleet
            .running_workers()
            .all(|worker| worker.flags() == flags)
    });
    Fleet::<Cluster>::promised(
        "a change after a slot has moved reaches all",
        took,
        INTERVAL.mul_f64(1.1),
        lost,
    );
}
