//! Servers that die or hang.

use std::thread::sleep;
use std::time::{Duration, Instant};

use flagcache_test_support::SchedulingDelay;

use crate::fleet::{AMPLE, FLAGS, Fleet};
use crate::protocol::{Event, now};
use crate::rules::loss::{FAIL_OPEN, TICK, fleet};
use crate::test_store::Failing;

pub(crate) fn b8_64_a_fleet_survives_a_server_that_is_down<P: Failing>() {
    outage(P::kill, P::start_again, TICK + P::GATHERS_IN);
}

pub(crate) fn b8_64_a_fleet_survives_a_server_that_hangs<P: Failing>() {
    // The attempts of the workers that shut down are in the server's queue. They must not acquire the lock.
    outage(P::hang, P::resume, TICK + P::GATHERS_IN);
}

fn outage<P: Failing>(begin: fn(&mut P), end: fn(&mut P), recovery: Duration) {
    const WORKERS: usize = 6;
    const ENDING: usize = 3;
    const LASTS: Duration = Duration::from_secs(4);
    let mut fleet = fleet::<P>(WORKERS);
    let from = fleet.api.count();
    begin(&mut fleet.test_store);
    let began = Instant::now();
    sleep(Duration::from_secs(1));

    let lost = SchedulingDelay::begin();
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
        Duration::from_millis(1500),
        lost,
    );

    let lost = SchedulingDelay::begin();
    let terminated: Vec<_> = fleet.workers[..ENDING]
        .iter_mut()
        .map(|worker| worker.terminate())
        .collect();
    for (worker, terminated) in fleet.workers.iter_mut().zip(terminated) {
        worker.wait_for_end(AMPLE);
        Fleet::<P>::promised(
            "a worker has shut down",
            now() - terminated,
            Duration::from_secs(5),
            lost,
        );
    }

    sleep(LASTS.saturating_sub(began.elapsed()));
    let lasted = began.elapsed();
    let gets = fleet.api.gets_from(from);
    println!(
        "{}: {} requests of {WORKERS} workers and a newcomer in {lasted:.1?} of outage",
        P::NAME,
        gets.len()
    );
    let most = 1 + (lasted.as_secs_f64() / FAIL_OPEN.as_secs_f64()) as usize;
    for worker in 0..fleet.workers.len() {
        // The leader may have sent one as such just before.
        let own = gets
            .iter()
            .filter(|get| get.by == fleet.name(worker))
            .count();
        assert!(
            own <= most + 1,
            "{own} requests of one worker, {most} are allowed: {gets:?}"
        );
    }
    assert!(
        fleet
            .running_workers()
            .all(|worker| worker.flags() == FLAGS && worker.changes() == 1)
    );

    let lost = SchedulingDelay::begin();
    // Before the end: a worker may lead by the time that the server has answered the test.
    let over = now();
    end(&mut fleet.test_store);
    let mut recovered = None;
    fleet.wait(AMPLE, "somebody leads", |fleet| {
        let leads = |event: &Event| matches!(event, Event::Status { role, .. } if role == "leader");
        recovered = fleet
            .running_workers()
            .filter_map(|worker| worker.first(over, leads))
            .min();
        recovered.is_some()
    });
    let recovered = recovered.unwrap_or(over) - over;
    Fleet::<P>::promised("a worker leads again", recovered, recovery, lost);
    let lost = SchedulingDelay::begin();
    fleet.api.serve(FLAGS + 1);
    let took = fleet.wait(AMPLE, "a change reaches all", |fleet| {
        fleet
            .running_workers()
            .all(|worker| worker.flags() == FLAGS + 1)
    });
    Fleet::<P>::promised("a change reaches all", took, TICK, lost);
}
