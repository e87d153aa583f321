//! A leader that is paused in the middle of a load, and resumes too late.

use std::time::Duration;

use flagcache::FlagDefinitionCacheData;
use flagcache_providers::testing::ApiReply;

use crate::fleet::{AMPLE, FLAGS, Fleet, NO_TICKS};
use crate::protocol::{Event, Order, now};
use crate::test_store::TestStore;
use crate::worker::Settings;

pub(crate) const LATE: usize = FLAGS + 1;
pub(crate) const NEWER: usize = FLAGS + 2;

pub(crate) fn b8_65_a_suspended_leader_that_resumes_overwrites_nothing<P: TestStore>() {
    let mut fleet = Fleet::<P>::running(Settings::every(NO_TICKS).lock_ttl(P::LOCK_TTL), 3);
    let leader = pause_leader_in_a_get(&mut fleet);
    fleet.api.serve(NEWER);
    fleet.test_store.take_leadership_away();
    fleet.wait(
        AMPLE,
        "another leads, and all but the paused one have what it published",
        |fleet| {
            (0..fleet.workers.len())
                .all(|worker| worker == leader || fleet.workers[worker].flags() == NEWER)
        },
    );

    let woken = now();
    fleet.workers[leader].resume();
    fleet.wait(
        AMPLE,
        "the late leader had its answer, and then read what is newer",
        |fleet| {
            assert_eq!(
                stored_flags(fleet),
                NEWER,
                "the late leader has overwritten the copy"
            );
            let late = &mut fleet.workers[leader];
            late.first(woken, has(LATE)).is_some() && late.flags() == NEWER
        },
    );
    assert_eq!(stored_flags(&fleet), NEWER);
    let paused = leader;
    assert_ne!(fleet.leader(), paused);
}

/// The leader is paused while the answer to its request, [`LATE`] flags, is on its way.
pub(crate) fn pause_leader_in_a_get<P: TestStore>(fleet: &mut Fleet<P>) -> usize {
    let leader = fleet.leader();
    // A refresh joins a load in progress, so the first load has to be over.
    fleet.refresh(leader);
    fleet.api.serve(LATE);
    // So long that it is still on its way when the leader is paused, on a busy machine too.
    fleet
        .api
        .next(ApiReply::usual().delay(Duration::from_secs(2)));
    let from = fleet.api.count();
    fleet.workers[leader].send(Order::Refresh);
    fleet.wait_for_gets(from, 1);
    fleet.workers[leader].pause();
    leader
}

pub(crate) fn has(flags: usize) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Change { flags: Some(has), .. } if *has == flags)
}

pub(crate) fn stored_flags<P: TestStore>(fleet: &Fleet<P>) -> usize {
    FlagDefinitionCacheData::from_json(fleet.test_store.copy().unwrap())
        .unwrap()
        .len()
}
