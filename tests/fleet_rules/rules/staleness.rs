//! A leader that holds the lock and does nothing.

use std::thread::sleep;
use std::time::{Duration, Instant};

use flagcache_test_support::SchedulingDelay;

use crate::fleet::{AMPLE, FLAGS, Fleet};
use crate::protocol::{Event, now};
use crate::test_store::TestStore;
use crate::worker::Settings;

const INTERVAL: Duration = Duration::from_millis(300);
const STALE: Duration = Duration::from_secs(1);
const FAIL_OPEN: Duration = Duration::from_secs(2);

pub(crate) fn b8_62_followers_of_a_paused_leader_fetch_for_themselves<P: TestStore>() {
    let settings = Settings::every(INTERVAL)
        .max_staleness(STALE)
        .fail_open(FAIL_OPEN);
    let mut fleet = Fleet::<P>::running(settings, 4);
    let leader = fleet.leader();
    let copy = fleet.test_store.copy().unwrap();
    fleet
        .test_store
        .block_leadership(&mut fleet.workers[leader]);
    let (blocked_at, since, lost) = (now(), Instant::now(), SchedulingDelay::begin());
    let from = fleet.api.count();
    fleet.api.serve(FLAGS + 1);

    let followers: Vec<_> = (0..fleet.workers.len())
        .filter(|&worker| worker != leader)
        .collect();
    fleet.wait(AMPLE, "every follower is stale, then has the new set", |fleet| {
        followers.iter().all(|&worker| {
            let worker = &mut fleet.workers[worker];
            let stale = |event: &Event| matches!(event, Event::Status { state, .. } if state == "stale");
            worker.first(blocked_at, stale).is_some() && worker.flags() == FLAGS + 1
        })
    });
    Fleet::<P>::promised(
        "every follower has the new set",
        since.elapsed(),
        STALE + INTERVAL.mul_f64(1.1),
        lost,
    );
    sleep(FAIL_OPEN);
    let most = 1 + (since.elapsed().as_secs_f64() / FAIL_OPEN.as_secs_f64()) as usize;
    for &follower in &followers {
        let gets = fleet.api.gets_from(from);
        let gets: Vec<_> = gets
            .iter()
            .filter(|get| get.by == fleet.name(follower))
            .collect();
        assert!(gets.len() <= most, "more than {most}: {gets:?}");
    }
    assert!(
        followers
            .iter()
            .all(|&follower| !fleet.workers[follower].leads())
    );
    assert_eq!(
        fleet.test_store.copy().unwrap(),
        copy,
        "only a leader replaces the copy"
    );
}
