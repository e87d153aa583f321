//! What becomes of a fleet while its server is away.

use std::thread::sleep;
use std::time::Duration;

use super::figure::Figure;
use super::team::{Team, WORKERS};
use crate::line::{Event, now};
use crate::process::Worker;
use crate::redis::peer::Sdk;

pub(super) fn down(sdk: Option<Sdk>) -> Vec<Figure> {
    const LASTS: Duration = Duration::from_secs(5);
    let mut team = Team::running(sdk);
    team.change();
    let from = team.api.count();
    team.test_store.0.kill();
    sleep(LASTS);
    team.test_store.0.start_again();
    sleep(LASTS);
    vec![Figure::requests(&team.api.gets_from(from))]
}

pub(super) fn hangs(sdk: Option<Sdk>) -> Vec<Figure> {
    /// What Kubernetes gives a pod to end, by default.
    const LIMIT: Duration = Duration::from_secs(30);
    let mut team = Team::running(sdk);
    let leader = team.leader();
    let follower = (leader + 1) % WORKERS;
    team.test_store.0.hang();
    sleep(Duration::from_secs(2));

    let newcomer = team.start(1);
    let terminated_at = [leader, follower].map(|worker| (worker, team.workers[worker].terminate()));
    // The interpreter's own start does not count.
    let ready = |worker: &mut Worker| {
        let started = worker.first(Duration::ZERO, |event| matches!(event, Event::Started))?;
        Some(worker.first(started, |event| matches!(event, Event::Ready))? - started)
    };
    let mut ended = [None; 2];
    team.within(LIMIT + Duration::from_secs(2), |fleet| {
        for ((worker, terminated_at), ended) in terminated_at.into_iter().zip(&mut ended) {
            if ended.is_none() && fleet.workers[worker].has_ended() {
                *ended = Some(now() - terminated_at);
            }
        }
        ended.iter().all(Option::is_some) && ready(&mut fleet.workers[newcomer]).is_some()
    });
    let ready = ready(&mut team.workers[newcomer]);
    let slowest = ended
        .into_iter()
        .collect::<Option<Vec<_>>>()
        .and_then(|ended| ended.into_iter().max());
    vec![
        Figure::time_within(LIMIT, ready),
        Figure::time_within(LIMIT, slowest),
    ]
}
