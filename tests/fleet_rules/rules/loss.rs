//! Servers that forget.

use std::time::{Duration, Instant};

use flagcache_providers::testing::ApiReply;
use flagcache_test_support::SchedulingDelay;

use crate::fleet::{AMPLE, FLAGS, Fleet};
use crate::rules::late_leader::stored_flags;
use crate::test_store::Failing;
use crate::worker::Settings;

/// So long that a repair at the second tick is distinguishable from one at the first, on a busy machine too.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
pub(crate) const FAIL_OPEN: Duration = Duration::from_secs(3);
/// The longest tick.
pub(crate) const TICK: Duration = Duration::from_millis(1100);

pub(crate) fn fleet<P: Failing>(workers: usize) -> Fleet<P> {
    let settings = Settings::every(INTERVAL)
        .fail_open(FAIL_OPEN)
        .lock_ttl(P::LOCK_TTL);
    let mut fleet = Fleet::running(settings, workers);
    fleet.leader();
    fleet
}

pub(crate) fn b8_63_a_lost_copy_is_restored<P: Failing>() {
    what_is_lost_comes_back::<P>(None);
}

pub(crate) fn b8_63_a_lost_copy_is_restored_while_the_api_fails<P: Failing>() {
    what_is_lost_comes_back::<P>(Some(500));
}

/// The server loses the copy in each possible way; the next tick restores it, whatever the API answers.
fn what_is_lost_comes_back<P: Failing>(api: Option<u16>) {
    let mut fleet = fleet::<P>(4);
    if let Some(status) = api {
        fleet.api.always(ApiReply::status(status));
        fleet.wait_for_gets(fleet.api.count(), 1);
    }
    let (start, from) = (Instant::now(), fleet.api.count());
    type Loss<P> = (&'static str, fn(&mut P), Duration);
    let losses: [Loss<P>; 3] = [
        (
            "the evicted copy",
            |test_store| test_store.evict(),
            Duration::ZERO,
        ),
        (
            "the flushed copy",
            |test_store| test_store.flush(),
            Duration::ZERO,
        ),
        (
            "the copy of a server that was restarted empty",
            P::restart,
            P::GATHERS_IN,
        ),
    ];
    for (what, lose, gathers) in losses {
        let lost = SchedulingDelay::begin();
        lose(&mut fleet.test_store);
        let took = fleet.wait(AMPLE, &format!("{what} is back"), |fleet| {
            fleet.test_store.copy().is_some()
        });
        assert_eq!(stored_flags(&fleet), FLAGS);
        Fleet::<P>::promised(
            &format!("{what} is back (API {})", api.unwrap_or(304)),
            took,
            TICK + gathers,
            lost,
        );
    }
    let lasted = start.elapsed().as_secs_f64();
    assert!(
        fleet
            .running_workers()
            .all(|worker| worker.flags() == FLAGS && worker.changes() == 1)
    );
    let gets = fleet.api.gets_from(from);
    assert!(
        gets.iter()
            .all(|get| get.status == Some(api.unwrap_or(304))),
        "{gets:?}"
    );
    let most = 1
        + (lasted / INTERVAL.as_secs_f64()) as usize
        + 4 * (1 + (lasted / FAIL_OPEN.as_secs_f64()) as usize);
    assert!(
        gets.len() <= most,
        "{} requests, {most} are allowed: {gets:?}",
        gets.len()
    );
}
