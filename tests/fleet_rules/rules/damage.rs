//! Foreign and damaged copies in the store.

use std::time::Duration;

use flagcache::FlagDefinitionCacheData;
use flagcache_test_support::SchedulingDelay;

use crate::fleet::{AMPLE, FLAGS, Fleet};
use crate::test_store::TestStore;
use crate::worker::Settings;

/// So long that a repair at the second tick is distinguishable from one at the first, on a busy machine too.
const INTERVAL: Duration = Duration::from_secs(1);
const FAIL_OPEN: Duration = Duration::from_secs(3);

pub(crate) fn b8_66_a_damaged_copy_costs_no_worker_a_flag<P: TestStore>() {
    let mut fleet = Fleet::<P>::running(Settings::every(INTERVAL).fail_open(FAIL_OPEN), 4);
    let leader = fleet.leader();
    let good = fleet.test_store.copy().unwrap();
    let set = FlagDefinitionCacheData::from_json(good.clone()).unwrap();
    let from = fleet.api.count();

    let garbage: [&[u8]; 9] = [
        b"garbage",
        b"",
        b"{}",
        b"[]",
        br#"{"flags":null}"#,
        br#"{"flags":"x"}"#,
        br#"{"flags":[1,2]}"#,
        &good[..good.len() / 2],
        br#"{"flags":[]}"#,
    ];
    for damage in garbage {
        let lost = SchedulingDelay::begin();
        fleet.test_store.put(damage);
        let shown = String::from_utf8_lossy(&damage[..damage.len().min(40)]).into_owned();
        let took = fleet.wait(
            AMPLE,
            &format!("the leader puts the copy back after {shown:?}"),
            |fleet| {
                // A store that reads during a foreign write may find nothing, or a part.
                let copy = fleet
                    .test_store
                    .copy()
                    .map(FlagDefinitionCacheData::from_json);
                copy.is_some_and(|copy| {
                    copy.is_ok_and(|copy| copy.same_content(&set) && copy.etag() == set.etag())
                })
            },
        );
        Fleet::<P>::promised(
            &format!("{shown:?} is repaired"),
            took,
            INTERVAL.mul_f64(1.1),
            lost,
        );
    }

    // All have seen the repaired copy, and have lost nothing meanwhile.
    let before = fleet.count();
    fleet.wait(AMPLE, "two more loads of each", |fleet| {
        fleet
            .count()
            .iter()
            .zip(&before)
            .all(|(now, before)| now.0 >= before.0 + 2)
    });
    assert!(
        fleet
            .running_workers()
            .all(|worker| worker.flags() == FLAGS && worker.changes() == 1)
    );

    let gets = fleet.api.gets_from(from);
    assert!(gets.iter().all(|get| get.status == Some(304)), "{gets:?}");
    for worker in (0..fleet.workers.len()).filter(|&worker| worker != leader) {
        let direct = gets
            .iter()
            .filter(|get| get.by == fleet.name(worker))
            .count();
        // Each damage is repaired before its third tick, but a busy machine can make it miss the repairs between three.
        assert!(
            direct <= 1,
            "a follower left the repair to the leader: {gets:?}"
        );
    }
}
