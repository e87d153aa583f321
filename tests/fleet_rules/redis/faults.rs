//! A server that forgets, dies or hangs.

use std::thread::sleep;
use std::time::{Duration, Instant};

use flagcache_providers::testing::{ApiReply, LostTime};

use crate::fleet::{AMPLE, FLAGS, Fleet};
use crate::line::{Event, now};
use crate::place::Place;
use crate::redis::{DATA, Server};
use crate::rules::late_leader::stored_flags;
use crate::worker::Settings;

/// So long that a repair at the second tick is told from one at the first, on a busy machine too.
const INTERVAL: Duration = Duration::from_secs(1);
const FAIL_OPEN: Duration = Duration::from_secs(3);
/// The longest tick.
const TICK: Duration = Duration::from_millis(1100);

type Loss = fn(&mut Server);

fn fleet(workers: usize) -> Fleet<Server> {
    let settings = Settings::every(INTERVAL).fail_open(FAIL_OPEN).lock_life(Server::LOCK_LIFE);
    let mut fleet = Fleet::running(settings, workers);
    fleet.leader();
    fleet
}

/// The server loses the copy, in each of the ways in which it can; the next tick brings it back, whatever the API says.
fn what_is_lost_comes_back(api: Option<u16>) {
    let mut fleet = fleet(4);
    if let Some(status) = api {
        fleet.api.always(ApiReply::status(status));
        fleet.wait_for_gets(fleet.api.count(), 1);
    }
    let (start, from) = (Instant::now(), fleet.api.count());
    let losses: [(&str, Loss); 3] = [
        ("the evicted copy", |server| server.0.run(&format!("DEL {DATA}"))),
        ("the flushed copy", |server| server.0.run("FLUSHALL")),
        ("the copy of a server that was restarted empty", |server| {
            server.0.kill();
            server.0.start_again();
        }),
    ];
    for (what, lose) in losses {
        let lost = LostTime::begin();
        lose(&mut fleet.place);
        let took = fleet.wait(AMPLE, &format!("{what} is back"), |fleet| fleet.place.copy().is_some());
        assert_eq!(stored_flags(&fleet), FLAGS);
        Fleet::<Server>::promised(&format!("{what} is back (API {})", api.unwrap_or(304)), took, TICK, lost);
    }
    let lasted = start.elapsed().as_secs_f64();
    assert!(fleet.running_workers().all(|worker| worker.flags() == FLAGS && worker.changes() == 1));
    let gets = fleet.api.gets_from(from);
    assert!(gets.iter().all(|get| get.status == Some(api.unwrap_or(304))), "{gets:?}");
    let most = 1 + (lasted / INTERVAL.as_secs_f64()) as usize + 4 * (1 + (lasted / FAIL_OPEN.as_secs_f64()) as usize);
    assert!(gets.len() <= most, "{} requests, {most} are allowed: {gets:?}", gets.len());
}

#[test]
fn b8_63_what_the_server_lost_comes_back() {
    what_is_lost_comes_back(None);
}

#[test]
fn b8_63_what_the_server_lost_comes_back_while_the_api_fails() {
    what_is_lost_comes_back(Some(500));
}

#[test]
fn b8_64_a_server_that_is_down() {
    outage(|server| server.0.kill(), |server| server.0.start_again(), TICK);
}

#[test]
fn b8_64_a_server_that_hangs() {
    // The bid of the worker that shuts down may still lie in the server's queue, and win: that is a leader that was killed.
    let recovery = Server::LOCK_LIFE + Duration::from_millis(300);
    outage(|server| server.0.hang(), |server| server.0.go_on(), recovery);
}

fn outage(begin: impl Fn(&mut Server), end: impl Fn(&mut Server), recovery: Duration) {
    const WORKERS: usize = 6;
    const LASTS: Duration = Duration::from_secs(4);
    let mut fleet = fleet(WORKERS);
    let from = fleet.api.count();
    begin(&mut fleet.place);
    let began = Instant::now();
    sleep(Duration::from_secs(1));

    let lost = LostTime::begin();
    let newcomer = fleet.start(1);
    fleet.wait(AMPLE, "a newcomer is ready", |fleet| fleet.workers[newcomer].is_ready());
    let started = fleet.workers[newcomer].first(Duration::ZERO, |event| matches!(event, Event::Started)).unwrap();
    let ready = fleet.workers[newcomer].first(started, |event| matches!(event, Event::Ready)).unwrap();
    Fleet::<Server>::promised("a newcomer is ready", ready - started, Duration::from_millis(1500), lost);

    let lost = LostTime::begin();
    let terminated = fleet.workers[0].terminate();
    fleet.workers[0].wait_for_end(AMPLE);
    Fleet::<Server>::promised("a worker has shut down", now() - terminated, Duration::from_secs(5), lost);

    sleep(LASTS.saturating_sub(began.elapsed()));
    let lasted = began.elapsed();
    let gets = fleet.api.gets_from(from);
    println!("Redis: {} requests of {WORKERS} workers and a newcomer in {lasted:.1?} of outage", gets.len());
    let most = 1 + (lasted.as_secs_f64() / FAIL_OPEN.as_secs_f64()) as usize;
    for worker in 0..fleet.workers.len() {
        // The leader may have sent one as such just before.
        let own = gets.iter().filter(|get| get.by == fleet.name(worker)).count();
        assert!(own <= most + 1, "{own} requests of one worker, {most} are allowed: {gets:?}");
    }
    assert!(fleet.running_workers().all(|worker| worker.flags() == FLAGS && worker.changes() == 1));

    let lost = LostTime::begin();
    // Before the end: a worker may lead by the time that the server has answered the test.
    let over = now();
    end(&mut fleet.place);
    let mut recovered = None;
    fleet.wait(AMPLE, "somebody leads", |fleet| {
        let leads = |event: &Event| matches!(event, Event::Status { role, .. } if role == "leader");
        recovered = fleet.running_workers().filter_map(|worker| worker.first(over, leads)).min();
        recovered.is_some()
    });
    let recovered = recovered.unwrap_or(over) - over;
    Fleet::<Server>::promised("somebody leads again", recovered, recovery, lost);
    let lost = LostTime::begin();
    fleet.api.serve(FLAGS + 1);
    let took = fleet
        .wait(AMPLE, "a change reaches all", |fleet| fleet.running_workers().all(|worker| worker.flags() == FLAGS + 1));
    Fleet::<Server>::promised("a change reaches all", took, TICK, lost);
}
