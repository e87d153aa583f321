//! A replica that takes over from the primary.

use std::time::Duration;

use flagcache::FlagDefinitionCacheData;
use flagcache_providers::testing::ApiReply;
use flagcache_test_support::{RedisServer, SchedulingDelay};

use crate::fleet::{AMPLE, FLAGS, Fleet};
use crate::protocol::{Event, now};
use crate::rules::late_leader::NEWER;
use crate::rules::loss::{FAIL_OPEN, INTERVAL, TICK};
use crate::test_store::Redundant;
use crate::worker::Settings;

const WORKERS: usize = 4;

fn fleet<P: Redundant>() -> Fleet<P> {
    let settings = Settings::every(INTERVAL)
        .fail_open(FAIL_OPEN)
        .lock_ttl(P::LOCK_TTL);
    let mut fleet = Fleet::running(settings, WORKERS);
    fleet.leader();
    fleet
}

pub(crate) fn b8_63_a_failover_that_loses_the_last_write_affects_workers_for_at_most_a_tick<
    P: Redundant,
>() {
    loses_the_last_write::<P>(None);
}

pub(crate) fn b8_63_a_failover_while_the_api_fails_affects_workers_for_at_most_a_tick<
    P: Redundant,
>() {
    loses_the_last_write::<P>(Some(500));
}

fn loses_the_last_write<P: Redundant>(api: Option<u16>) {
    let mut fleet = fleet::<P>();
    fleet.wait(AMPLE, "the replica has a copy", |fleet| {
        fleet.test_store.replica().run::<u64>("DBSIZE") >= 2
    });
    fleet.test_store.replica().hang();
    fleet
        .test_store
        .primary()
        .run::<u8>("CLIENT KILL TYPE replica");
    fleet.api.serve(NEWER);
    fleet.wait_until_all_have(NEWER);
    if let Some(status) = api {
        fleet.api.always(ApiReply::status(status));
    }
    let (gone, lost) = (now(), SchedulingDelay::begin());
    fleet.test_store.primary().kill();
    fleet.test_store.replica().resume();
    assert!(
        has_role(fleet.test_store.replica(), "slave"),
        "it has not taken over yet, so it has what it had"
    );

    let took = fleet.wait(AMPLE, "the copy that was lost is back", |fleet| {
        stored(fleet) == Some(NEWER)
    });
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
            .all(|worker| worker.flags() == NEWER)
    );

    let mut set_back = Vec::new();
    for worker in fleet.running_workers() {
        let mut since = None;
        for report in worker.reports().iter().filter(|report| report.at >= gone) {
            match report.event {
                Event::Change {
                    flags: Some(FLAGS), ..
                } => since = Some(report.at),
                Event::Change {
                    flags: Some(NEWER), ..
                } => set_back.extend(since.take().map(|since| report.at - since)),
                Event::Change { .. } => panic!("neither set: {report:?}"),
                _ => {}
            }
        }
    }
    println!(
        "{}: the copy was back {took:.1?} after the primary was lost; {set_back:.1?} with the older one",
        P::NAME
    );
    let longest = set_back.into_iter().max().unwrap_or_default();
    // Longer than that, and the leader has had a load that did not put it right.
    Fleet::<P>::promised("no worker is set back any more", longest, TICK, lost);
}

pub(crate) fn b8_64_a_primary_that_hangs_is_replaced<P: Redundant>() {
    let mut fleet = fleet::<P>();
    fleet.wait(AMPLE, "the replica has a copy", |fleet| {
        fleet.test_store.replica().run::<u64>("DBSIZE") >= 2
    });
    let from = fleet.api.count();
    fleet.test_store.primary().hang();
    let (began, hung) = (now(), SchedulingDelay::begin());

    let newcomer = fleet.start(1);
    fleet.wait(AMPLE, "a newcomer is ready", |fleet| {
        fleet.workers[newcomer].is_ready()
    });
    let started = fleet.workers[newcomer]
        .first(Duration::ZERO, |event| matches!(event, Event::Started))
        .unwrap();
    let ready = fleet.workers[newcomer]
        .first(started, |event| matches!(event, Event::Ready))
        .unwrap();
    Fleet::<P>::promised(
        "a newcomer is ready",
        ready - started,
        Duration::from_millis(1_500),
        hung,
    );

    // It still hangs.
    fleet.wait(AMPLE, "the replica has taken over", |fleet| {
        has_role(fleet.test_store.replica(), "master")
    });
    fleet.leader();
    let lasted = now() - began;
    let most = 1 + (lasted.as_secs_f64() / FAIL_OPEN.as_secs_f64()) as usize;
    let gets = fleet.api.gets_from(from);
    println!(
        "{}: {} requests of {} workers in {lasted:.1?} of failover",
        P::NAME,
        gets.len(),
        fleet.workers.len()
    );
    for worker in 0..fleet.workers.len() {
        // Beside these, a leader sends one in each of its loads.
        let led = fleet.workers[worker].first(
            began,
            |event| matches!(event, Event::Status { role, .. } if role == "leader"),
        );
        let own = gets
            .iter()
            .filter(|get| get.by == fleet.name(worker))
            .count();
        assert!(
            led.is_some() || own <= most,
            "{own} requests of a follower, {most} are allowed: {gets:?}"
        );
    }
    assert!(
        fleet
            .running_workers()
            .all(|worker| worker.flags() == FLAGS && worker.changes() == 1)
    );
    fleet.api.serve(NEWER);
    fleet.wait_until_all_have(NEWER);
    assert_eq!(stored(&fleet), Some(NEWER));

    // The old primary resumes, with its old data.
    fleet.test_store.primary().resume();
    fleet.wait(AMPLE, "it has become a replica", |fleet| {
        has_role(fleet.test_store.primary(), "slave")
    });
    fleet.api.serve(FLAGS);
    fleet.wait_until_all_have(FLAGS);
    assert_eq!(stored(&fleet), Some(FLAGS));
    assert!(
        fleet.running_workers().all(|worker| worker.changes() == 3),
        "no worker went back to the copy of the old one"
    );
}

/// A server that changes its role closes the connections that it has.
fn has_role(server: &RedisServer, role: &str) -> bool {
    let info = server.try_run::<String>(&["INFO", "replication"]);
    info.is_ok_and(|info| info.contains(&format!("role:{role}")))
}

/// How many flags the copy has, if there is one that is whole.
fn stored<P: Redundant>(fleet: &Fleet<P>) -> Option<usize> {
    Some(
        FlagDefinitionCacheData::from_json(fleet.test_store.copy()?)
            .ok()?
            .len(),
    )
}
