//! What happens when the leader ends.

use std::time::Duration;

use flagcache_test_support::SchedulingDelay;

use crate::fleet::{AMPLE, FLAGS, Fleet, NO_TICKS};
use crate::test_store::TestStore;
use crate::worker::Settings;

const WORKERS: usize = 6;

pub(crate) fn b8_60_a_killed_leader_is_replaced<P: TestStore>() {
    let mut fleet = Fleet::<P>::running(Settings::every(NO_TICKS).lock_ttl(P::LOCK_TTL), WORKERS);
    fleet.test_store.add_unrelated_data();
    let leader = fleet.leader();
    let (from, lost) = (fleet.api.count(), SchedulingDelay::begin());
    let killed = fleet.workers[leader].kill();
    let (next, took) = fleet.next_leader(leader, killed);
    its_first_get_is_conditional(&mut fleet, next, from);
    Fleet::<P>::promised(
        "a killed leader is replaced",
        took,
        P::LOCK_TTL + Duration::from_millis(300),
        lost,
    );
}

pub(crate) fn b8_60_a_leader_that_shuts_down_is_replaced_at_once<P: TestStore>() {
    let mut fleet = Fleet::<P>::running(Settings::every(NO_TICKS), WORKERS);
    fleet.test_store.add_unrelated_data();
    let leader = fleet.leader();
    let (from, lost) = (fleet.api.count(), SchedulingDelay::begin());
    let terminated = fleet.workers[leader].terminate();
    let (next, took) = fleet.next_leader(leader, terminated);
    its_first_get_is_conditional(&mut fleet, next, from);
    Fleet::<P>::promised(
        "a leader that shuts down is replaced",
        took,
        Duration::from_millis(200),
        lost,
    );
}

fn its_first_get_is_conditional<P: TestStore>(fleet: &mut Fleet<P>, leader: usize, from: usize) {
    let name = fleet.name(leader).to_owned();
    let mut first = None;
    // On a busy machine a follower whose call took too long may have helped itself meanwhile.
    fleet.wait(AMPLE, "the new leader has sent a request", |fleet| {
        first = fleet
            .api
            .gets_from(from)
            .into_iter()
            .find(|get| get.by == name && get.status.is_some());
        first.is_some()
    });
    let first = first.unwrap();
    assert_eq!(
        (first.conditional, first.status),
        (true, Some(304)),
        "{first:?}"
    );
    assert!(
        fleet
            .running_workers()
            .all(|worker| worker.flags() == FLAGS && worker.changes() == 1)
    );
}
