//! What a fleet costs while nothing changes.

use std::time::{Duration, Instant};

use crate::fleet::{AMPLE, Fleet};
use crate::test_store::TestStore;
use crate::worker::Settings;

const INTERVAL: Duration = Duration::from_millis(300);
const TICKS: usize = 10;

pub(crate) fn b8_59_a_tick_costs_the_fleet_one_get<P: TestStore>() {
    let mut fleet = Fleet::<P>::running(Settings::every(INTERVAL), 6);
    let first = fleet.leader();
    let (start, from) = (Instant::now(), fleet.api.count());
    let before = fleet.count();
    fleet.wait_for_gets(from, TICKS);
    let after = fleet.count();

    let name = fleet.name(first).to_owned();
    let gets = fleet.api.gets_from(from);
    assert!(
        gets.iter()
            .all(|get| get.status == Some(304) && get.by == name),
        "{gets:?}"
    );
    let did = |worker: usize| {
        (
            after[worker].0 - before[worker].0,
            after[worker].1 - before[worker].1,
        )
    };
    for worker in 0..fleet.workers.len() {
        let (loads, requests) = did(worker);
        // Ticks differ by a tenth between workers, and each count was taken a moment after the one before.
        assert!(
            loads >= TICKS as u64 / 2,
            "worker {worker} ran {loads} loads in {TICKS} ticks of the leader"
        );
        let expected = if worker == first { loads } else { 0 };
        assert!(
            requests.abs_diff(expected) <= 1,
            "worker {worker}: {requests} requests in {loads} loads"
        );
    }

    fleet.workers[first].terminate();
    fleet.workers[first].wait_for_end(AMPLE);
    fleet.leader();
    fleet.wait_for_gets(from, 2 * TICKS);
    let gets = fleet.api.gets_from(from);
    let (handovers, ticks) = (
        1.0,
        start.elapsed().as_secs_f64() / (INTERVAL.as_secs_f64() * 0.9),
    );
    println!(
        "{}: {} requests in at most {ticks:.1} ticks and one handover",
        P::NAME,
        gets.len()
    );
    assert!(gets.len() as f64 <= ticks + handovers + 1.0, "{gets:?}");
    assert!(gets.iter().all(|get| get.status == Some(304)), "{gets:?}");
}
