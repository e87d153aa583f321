//! What becomes of a fleet when its leader dies, or comes too late.

use std::thread::sleep;
use std::time::Duration;

use super::results::Figure;
use super::sdk_fleet::{LIMIT, POLL, SdkFleet, WORKERS};
use crate::protocol::now;
use crate::redis::mixed::definitions;
use crate::redis::peer::{Sdk, pause_leader_in_a_get};
use crate::worker::Settings;

/// Ours renews its lock by itself, so the lock may be shorter than a poll. The others renew it when they poll; PostHog's
/// example gives it the time of two polls.
pub(super) fn killed(sdk: Option<Sdk>) -> Vec<Figure> {
    let lock_ttl = if sdk.is_none() {
        Duration::from_secs(1)
    } else {
        POLL * 2
    };
    let mut fleet = SdkFleet::running_with(sdk, Settings::every(POLL).lock_ttl(lock_ttl));
    let mut took = Vec::new();
    let mut first = None;
    for _ in 0..3 {
        fleet.change();
        let leader = fleet.leader();
        fleet.wait_for_a_renewal();
        let from = fleet.api.count();
        let killed = fleet.workers[leader].kill();
        took.push(fleet.next_leader(leader, killed).1);
        first = fleet.wait_for_gets(from, 1).into_iter().next();
    }
    vec![
        Figure::time(took.into_iter().max().unwrap()),
        Figure::request(&first.unwrap()),
    ]
}

pub(super) fn killed_at_defaults(sdk: Option<Sdk>) -> Vec<Figure> {
    let lock_ttl = Duration::from_secs(if sdk.is_none() { 10 } else { 60 });
    let mut fleet = SdkFleet::running_with(
        sdk,
        Settings::every(Duration::from_secs(30)).lock_ttl(lock_ttl),
    );
    let leader = fleet.leader();
    sleep(Duration::from_secs(3));
    let killed = fleet.workers[leader].kill();
    let mut next = None;
    fleet.within(LIMIT, |fleet| {
        next = (0..WORKERS)
            .filter(|&worker| worker != leader)
            .find(|&worker| fleet.workers[worker].leads());
        next.is_some()
    });
    vec![Figure::time_within(LIMIT, next.map(|_| now() - killed))]
}

/// The leader is paused while the answer to its request is on its way. Its lock ends, another worker leads and fetches newer
/// flags; then the first one resumes.
pub(super) fn late(sdk: Option<Sdk>) -> Vec<Figure> {
    let mut fleet = SdkFleet::running(sdk);
    let old = fleet.change();
    let leader = fleet.leader();
    pause_leader_in_a_get(&mut fleet, leader, definitions(old + 1).into());
    let newer = old + 2;
    fleet.serve(newer);
    fleet.end_lock();
    fleet.wait(LIMIT, "all others have the newer flags", |fleet| {
        (0..WORKERS).all(|worker| worker == leader || fleet.workers[worker].flags() == newer)
    });
    fleet.workers[leader].resume();
    // Its answer comes two seconds after its request at the latest.
    sleep(Duration::from_secs(2) + POLL * 5);
    vec![Figure::workers(fleet.others_than(newer), WORKERS)]
}

/// One leads, another takes over and publishes other flags, these are rolled back, the other dies before it sees that, and
/// the one leads again.
pub(super) fn roll_back(sdk: Option<Sdk>) -> Vec<Figure> {
    let mut fleet = SdkFleet::running(sdk);
    let flags = fleet.change();
    let one = fleet.leader();
    let other = fleet.move_leadership_from(one);
    fleet.change();

    // Only that one can lead next.
    for worker in (0..WORKERS).filter(|&worker| worker != one) {
        fleet.workers[worker].pause();
    }
    fleet.serve(flags);
    let killed = fleet.workers[other].kill();
    fleet.end_lock();
    fleet.next_leader(other, killed);
    for worker in (0..WORKERS).filter(|&worker| worker != one && worker != other) {
        fleet.workers[worker].resume();
    }
    sleep(POLL * 5);
    vec![Figure::workers(fleet.others_than(flags), WORKERS - 1)]
}
