//! Many workers that start together.

use std::thread::sleep;
use std::time::Duration;

use crate::fleet::{A_WHILE, AMPLE, FLAGS, Fleet, NO_TICKS};
use crate::test_store::TestStore;
use crate::worker::Settings;

const WORKERS: usize = 16;

pub(crate) fn b8_58_a_cold_fleet_sends_one_get<P: TestStore>() {
    let mut fleet = Fleet::<P>::new(Settings::every(NO_TICKS).patient().waits_to_begin());
    // All of them find the store empty before the first answer.
    fleet.api.is_slow(Duration::from_millis(500));
    fleet.start(WORKERS);
    fleet.begin();
    fleet.wait_until_all_have(FLAGS);
    let leader = fleet.leader();
    sleep(A_WHILE);
    let gets = fleet.api.gets_from(0);
    assert_eq!(gets.len(), 1, "{gets:?}");
    assert_eq!(
        (gets[0].by.as_str(), gets[0].status),
        (fleet.name(leader), Some(200))
    );
}

pub(crate) fn b8_58_a_cold_fleet_with_a_filled_cache_sends_at_most_one_get<P: TestStore>() {
    let mut fleet = Fleet::<P>::running(Settings::every(NO_TICKS).patient(), 1);
    fleet.workers[0].terminate();
    fleet.workers[0].wait_for_end(AMPLE);
    let before = fleet.api.count();
    fleet.start(WORKERS);
    fleet.wait_until_all_have(FLAGS);
    fleet.leader();
    sleep(A_WHILE);
    let gets = fleet.api.gets_from(before);
    assert!(gets.len() <= 1, "{gets:?}");
    assert!(gets.iter().all(|get| get.status == Some(304)), "{gets:?}");
}
