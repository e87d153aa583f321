//! What becomes of a fleet while its server is away.

use std::thread::sleep;
use std::time::Duration;

use super::results::Figure;
use super::sdk_fleet::{SdkFleet, WORKERS};
use crate::process::Worker;
use crate::protocol::{Event, now};
use crate::redis::peer::Sdk;

pub(super) fn down(sdk: Option<Sdk>) -> Vec<Figure> {
    const LASTS: Duration = Duration::from_secs(5);
    let mut fleet = SdkFleet::running(sdk);
    fleet.change();
    let from = fleet.api.count();
    fleet.test_store.0.kill();
    sleep(LASTS);
    fleet.test_store.0.start_again();
    sleep(LASTS);
    vec![Figure::requests(&fleet.api.gets_from(from))]
}

pub(super) fn hangs(sdk: Option<Sdk>) -> Vec<Figure> {
    /// What Kubernetes gives a pod to end, by default.
    const LIMIT: Duration = Duration::from_secs(30);
    let mut fleet = SdkFleet::running(sdk);
    let leader = fleet.leader();
    let follower = (leader + 1) % WORKERS;
    fleet.test_store.0.hang();
    sleep(Duration::from_secs(2));

    let newcomer = fleet.start(1);
    let terminated_at =
        [leader, follower].map(|worker| (worker, fleet.workers[worker].terminate()));
    // The interpreter's own start does not count.
    let ready = |worker: &mut Worker| {
        let started = worker.first(Duration::ZERO, |event| matches!(event, Event::Started))?;
        Some(worker.first(started, |event| matches!(event, Event::Ready))? - started)
    };
    let mut ended = [None; 2];
    fleet.within(LIMIT + Duration::from_secs(2), |fleet| {
        for ((worker, terminated_at), ended) in terminated_at.into_iter().zip(&mut ended) {
            if ended.is_none() && fleet.workers[worker].has_ended() {
                *ended = Some(now() - terminated_at);
            }
        }
        ended.iter().all(Option::is_some) && ready(&mut fleet.workers[newcomer]).is_some()
    });
    let ready = ready(&mut fleet.workers[newcomer]);
    let slowest = ended
        .into_iter()
        .collect::<Option<Vec<_>>>()
        .and_then(|ended| ended.into_iter().max());
    vec![
        Figure::time_within(LIMIT, ready),
        Figure::time_within(LIMIT, slowest),
    ]
}
