//! A leader that cannot fetch steps down.

use std::io::copy;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use flagcache_providers::testing::{ApiReply, ApiStub};
use flagcache_test_support::{FreePort, SchedulingDelay};

use crate::fleet::{AMPLE, FLAGS, Fleet, NO_TICKS};
use crate::protocol::now;
use crate::test_store::TestStore;
use crate::worker::Settings;

pub(crate) fn b8_61_a_leader_whose_key_is_refused_steps_down<P: TestStore>() {
    // The others have another key: with the refused one none would try.
    let mut fleet = Fleet::<P>::with_keys(
        Settings::every(NO_TICKS),
        &[ApiStub::SECRET_KEY, "phs_b", "phs_b", "phs_b"],
    );
    steps_down_after(&mut fleet, &ApiReply::status(401), 1, 0);
}

pub(crate) fn b8_61_a_leader_without_a_connection_steps_down_after_two_failures<P: TestStore>() {
    let mut fleet = Fleet::<P>::running(Settings::every(NO_TICKS), 4);
    // The first is on a connection that was kept, so the client sends it once more on a new one.
    steps_down_after(&mut fleet, &ApiReply::reset(), 2, 1);
}

/// The leader meets the failure `times` times and steps down; another worker leads at once and fetches. The first one does not
/// lead again. The client repeats `repeated` of the failed requests.
fn steps_down_after<P: TestStore>(
    fleet: &mut Fleet<P>,
    failure: &ApiReply,
    times: usize,
    repeated: usize,
) {
    let leader = fleet.leader();
    let name = fleet.name(leader).to_owned();
    let from = fleet.api.count();
    (0..repeated).for_each(|_| fleet.api.next(failure.clone()));
    for _ in 1..times {
        fleet.api.next(failure.clone());
        fleet.refresh(leader);
        assert!(fleet.workers[leader].leads(), "it stepped down too early");
    }
    fleet.api.next(failure.clone());
    let (ordered_at, lost) = (now(), SchedulingDelay::begin());
    fleet.refresh(leader);
    let (_, took) = fleet.next_leader(leader, ordered_at);
    let gets = fleet.wait_for_gets(from, times + repeated + 1);
    let (failed, others) = gets.split_at(times + repeated);
    assert!(
        failed
            .iter()
            .all(|get| get.by == name && get.status != Some(304)),
        "{gets:?}"
    );
    assert!(
        others
            .iter()
            .all(|get| get.by != name && get.status == Some(304)),
        "{gets:?}"
    );

    fleet.refresh(leader);
    assert!(
        !fleet.workers[leader].leads(),
        "it does not lead during its backoff"
    );
    // The new leader may not have written down yet that the API answers.
    fleet.wait(AMPLE, "what it reads is current", |fleet| {
        fleet.refresh(leader);
        fleet.workers[leader].state().as_deref() == Some("ready")
    });
    assert_eq!(fleet.api.count(), from + times + repeated + 1);
    assert!(
        fleet
            .running_workers()
            .all(|worker| worker.flags() == FLAGS && worker.changes() == 1)
    );
    Fleet::<P>::promised("the next one leads", took, Duration::from_millis(300), lost);
}

const TICK: Duration = Duration::from_secs(1);
const WORKERS: usize = 8;
const LASTS: Duration = Duration::from_secs(6);

pub(crate) fn b8_61_a_key_refused_for_all_workers_is_retried_by_one<P: TestStore>() {
    // At least one request in each interval, from any worker.
    all_see::<P>(&ApiReply::status(401), 1, Some("unauthorized"));
}

pub(crate) fn b8_61_a_connection_failure_of_all_workers_is_retried_by_three<P: TestStore>() {
    // The leader tries twice, two others once, and the last of them continues alone.
    all_see::<P>(&ApiReply::reset(), 4, None);
}

/// Every worker meets the same failure. The requests do not grow with the workers, and its end is seen within two intervals.
fn all_see<P: TestStore>(failure: &ApiReply, at_first: usize, state: Option<&str>) {
    let mut fleet = Fleet::<P>::running(Settings::every(TICK), WORKERS);
    let from = fleet.api.count();
    fleet.api.always(failure.clone());
    thread::sleep(LASTS);
    let gets = fleet.api.gets_from(from);
    println!(
        "{}: {} requests of {WORKERS} workers in {LASTS:?} of {failure:?}",
        P::NAME,
        gets.len()
    );
    let most = at_first + LASTS.as_secs() as usize;
    assert!(
        !gets.is_empty() && gets.len() <= most,
        "{} requests, {most} are allowed: {gets:?}",
        gets.len()
    );
    if let Some(state) = state {
        fleet.wait(AMPLE, "all workers say so", |fleet| {
            fleet
                .running_workers()
                .all(|worker| worker.state().as_deref() == Some(state))
        });
    }
    assert!(
        fleet
            .running_workers()
            .all(|worker| worker.flags() == FLAGS && worker.changes() == 1)
    );

    let lost = SchedulingDelay::begin();
    fleet.api.serve(FLAGS + 1);
    fleet.api.recovers();
    let took = fleet.wait(AMPLE, "the next change is everywhere", |fleet| {
        fleet
            .running_workers()
            .all(|worker| worker.flags() == FLAGS + 1)
    });
    Fleet::<P>::promised("the change after it is everywhere", took, TICK * 2, lost);
    fleet.wait(AMPLE, "all are well", |fleet| {
        fleet
            .running_workers()
            .all(|worker| worker.state().as_deref() == Some("ready"))
    });
}

pub(crate) fn b8_61_a_key_replaced_in_half_of_the_workers_is_used_at_once<P: TestStore>() {
    let keys = [
        "phs_old", "phs_old", "phs_old", "phs_old", "phs_new", "phs_new", "phs_new", "phs_new",
    ];
    let mut fleet = Fleet::<P>::with_keys(Settings::every(TICK), &keys);
    let leader = fleet.leader();
    assert_eq!(keys[leader], "phs_old", "the first to start leads");
    let from = fleet.api.count();
    fleet.api.takes(&["phs_new"]);
    fleet.api.serve(FLAGS + 1);
    let (revoked, lost) = (now(), SchedulingDelay::begin());
    let (next, _) = fleet.next_leader(leader, revoked);
    assert_eq!(keys[next], "phs_new");
    let took = fleet.wait(AMPLE, "a change is everywhere", |fleet| {
        fleet
            .running_workers()
            .all(|worker| worker.flags() == FLAGS + 1)
    });
    Fleet::<P>::promised(
        "a change by the new key is everywhere",
        took,
        TICK.mul_f64(1.1) * 2,
        lost,
    );
    let refused = fleet
        .api
        .gets_from(from)
        .iter()
        .filter(|get| get.status == Some(401))
        .count();
    assert_eq!(refused, 1, "no other worker tries with the refused key");
}

pub(crate) fn b8_61_an_isolated_leader_is_replaced<P: TestStore>() {
    let mut fleet = Fleet::<P>::new(Settings::every(TICK));
    let api = fleet.api.url();
    let front = Front::before(api.trim_start_matches("http://").parse().unwrap());
    fleet.start_one(&front.url(), ApiStub::SECRET_KEY);
    fleet.wait_until_all_have(FLAGS);
    assert_eq!(fleet.leader(), 0);
    fleet.start(3);
    fleet.wait_until_all_have(FLAGS);
    let from = fleet.api.count();
    front.is_down();
    fleet.api.serve(FLAGS + 1);
    let (down, lost) = (now(), SchedulingDelay::begin());
    let (_, took) = fleet.next_leader(0, down);
    Fleet::<P>::promised(
        "another leads at its second failure",
        took,
        TICK.mul_f64(1.1) * 2,
        lost,
    );
    fleet.wait_until_all_have(FLAGS + 1);
    let gets = fleet.api.gets_from(from);
    assert!(
        gets.iter()
            .all(|get| get.by != fleet.name(0) || get.status != Some(200)),
        "{gets:?}"
    );
}

pub(crate) fn b8_61_a_closed_port_is_tried_by_three<P: TestStore>() {
    let mut fleet = Fleet::<P>::new(Settings::every(TICK));
    let api = fleet.api.url();
    let front = Front::before(api.trim_start_matches("http://").parse().unwrap());
    for _ in 0..WORKERS {
        fleet.start_one(&front.url(), ApiStub::SECRET_KEY);
    }
    fleet.wait_until_all_have(FLAGS);
    fleet.leader();
    let sent = |fleet: &mut Fleet<P>| {
        fleet
            .count()
            .into_iter()
            .map(|(_, requests)| requests)
            .sum::<u64>()
    };
    let before = sent(&mut fleet);
    front.stops_listening();
    thread::sleep(LASTS);
    // The leader tries twice, two others once, and the last of them continues alone.
    let (requests, most) = (sent(&mut fleet) - before, 4 + LASTS.as_secs());
    println!(
        "{}: {requests} requests of {WORKERS} workers in {LASTS:?} of refused connections",
        P::NAME
    );
    assert!(
        (3..=most).contains(&requests),
        "{requests} requests, {most} are allowed"
    );
    assert!(
        fleet
            .running_workers()
            .all(|worker| worker.flags() == FLAGS)
    );

    let lost = SchedulingDelay::begin();
    fleet.api.serve(FLAGS + 1);
    front.listens_again();
    let took = fleet.wait(AMPLE, "the next change is everywhere", |fleet| {
        fleet
            .running_workers()
            .all(|worker| worker.flags() == FLAGS + 1)
    });
    Fleet::<P>::promised("the change after it is everywhere", took, TICK * 2, lost);
}

/// A proxy to the API that can be closed.
struct Front {
    port: FreePort,
    state: Arc<Mutex<Way>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    /// Every connection is closed at once.
    Closing,
    /// No server listens.
    Closed,
}

impl Front {
    fn before(api: SocketAddr) -> Self {
        let (port, state) = (FreePort::find(), Arc::new(Mutex::new(Way::Open)));
        let (number, way) = (port.number(), Arc::clone(&state));
        let (ready, is_ready) = channel();
        thread::spawn(move || {
            loop {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, number)).unwrap();
                let _ = ready.send(());
                pass(&listener, api, &way);
                drop(listener);
                while *way.lock().unwrap() == Way::Closed {
                    thread::sleep(Duration::from_millis(5));
                }
            }
        });
        is_ready.recv().unwrap();
        Self { port, state }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number())
    }

    /// From now on it closes every connection, including the open ones.
    fn is_down(&self) {
        self.becomes(Way::Closing);
    }

    /// From now on every connection is refused; those that are open are closed.
    fn stops_listening(&self) {
        self.becomes(Way::Closed);
    }

    fn listens_again(&self) {
        *self.state.lock().unwrap() = Way::Open;
    }

    fn becomes(&self, way: Way) {
        *self.state.lock().unwrap() = way;
        // Wakes the accept loop.
        drop(TcpStream::connect((
            Ipv4Addr::LOCALHOST,
            self.port.number(),
        )));
    }
}

/// Forwards connections until the port is to be closed.
fn pass(listener: &TcpListener, api: SocketAddr, way: &Mutex<Way>) {
    let mut open: Vec<TcpStream> = Vec::new();
    for client in listener.incoming().flatten() {
        let now = *way.lock().unwrap();
        if now != Way::Open {
            open.drain(..)
                .for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
            if now == Way::Closed {
                return;
            }
            continue;
        }
        let Ok(server) = TcpStream::connect(api) else {
            continue;
        };
        open.extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
        for (mut from, mut to) in [
            (client.try_clone().unwrap(), server.try_clone().unwrap()),
            (server, client),
        ] {
            thread::spawn(move || copy(&mut from, &mut to));
        }
    }
}
