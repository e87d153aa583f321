//! A leader that cannot fetch, while others may.

use std::time::Duration;

use flagcache_providers::testing::{ApiReply, LostTime};

use crate::fleet::{AMPLE, FLAGS, Fleet, NO_TICKS};
use crate::line::now;
use crate::place::Place;
use crate::worker::Settings;

pub(crate) fn b8_61_a_refused_leader_gives_up<P: Place>() {
    // The others have another key: with the refused one none would try.
    let mut fleet = Fleet::<P>::running_with(Settings::every(NO_TICKS), &[ApiStub::SECRET_KEY, "phs_b", "phs_b", "phs_b"]);
    gives_up_after(&mut fleet, &ApiReply::status(401), 1);
}

pub(crate) fn b8_61_an_unconnected_leader_gives_up_the_second_time<P: Place>() {
    let mut fleet = Fleet::<P>::running(Settings::every(NO_TICKS), 4);
    gives_up_after(&mut fleet, &ApiReply::reset(), 2);
}

/// The leader meets the failure that many times and gives up; another leads at once and fetches. The first stays out.
fn gives_up_after<P: Place>(fleet: &mut Fleet<P>, failure: &ApiReply, times: usize) {
    let leader = fleet.leader();
    let name = fleet.name(leader).to_owned();
    let from = fleet.api.count();
    for _ in 1..times {
        fleet.api.next(failure.clone());
        fleet.refresh(leader);
        assert!(fleet.workers[leader].leads(), "it gave up too early");
    }
    fleet.api.next(failure.clone());
    let (told, lost) = (now(), LostTime::begin());
    fleet.refresh(leader);
    let (_, took) = fleet.next_leader(leader, told);
    let gets = fleet.wait_for_gets(from, times + 1);
    let (failed, others) = gets.split_at(times);
    assert!(failed.iter().all(|get| get.by == name && get.status != Some(304)), "{gets:?}");
    assert!(others.iter().all(|get| get.by != name && get.status == Some(304)), "{gets:?}");

    fleet.refresh(leader);
    assert!(!fleet.workers[leader].leads(), "it stays out for its backoff");
    fleet.wait(AMPLE, "what it reads is current", |fleet| fleet.workers[leader].state().as_deref() == Some("ready"));
    assert_eq!(fleet.api.count(), from + times + 1);
    assert!(fleet.running_workers().all(|worker| worker.flags() == FLAGS && worker.changes() == 1));
    Fleet::<P>::promised("the next one leads", took, Duration::from_millis(300), lost);
}
