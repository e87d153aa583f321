//! How changes reach the workers, and the cost of ticks without a change.

use std::thread::sleep;
use std::time::Duration;

use super::results::{Figure, seconds};
use super::sdk_fleet::{LIMIT, POLL, SdkFleet, WORKERS};
use crate::process::ProcessorTimes;
use crate::protocol::now;
use crate::redis::Server;
use crate::redis::peer::Sdk;
use crate::test_store::TestStore;
use crate::worker::Settings;

/// The API takes 0.3 s for an answer, so that all begin before the first of them has one.
pub(super) fn cold_start(sdk: Option<Sdk>) -> Vec<Figure> {
    let mut fleet = SdkFleet::new(sdk, Settings::every(POLL).lock_ttl(Server::LOCK_TTL));
    fleet.api.is_slow(Duration::from_millis(300));
    fleet.begin_all();
    fleet.wait(LIMIT, "all are ready", |fleet| {
        fleet.workers.iter_mut().all(|worker| worker.is_ready())
    });
    vec![Figure::requests(&fleet.api.gets_from(0))]
}

pub(super) fn change(sdk: Option<Sdk>) -> Vec<Figure> {
    let mut fleet = SdkFleet::running(sdk);
    let mut took: Vec<_> = (0..9)
        .map(|change| {
            // At any moment between two polls.
            sleep(POLL.mul_f64(0.5 + (f64::from(change) * 0.37).fract()));
            let changed = now();
            let flags = fleet.change();
            fleet.last_had(flags, changed)
        })
        .collect();
    took.sort();
    let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
    vec![Figure::new(
        format!("{}, {}", seconds(median), seconds(worst)),
        median.as_secs_f64(),
    )]
}

pub(super) fn unchanged_tick(sdk: Option<Sdk>) -> Vec<Figure> {
    const WATCHED: Duration = Duration::from_secs(20);
    // A lock that lasts, because the interpreters get late. A worker of ours that looks at its status 200 times a second
    // would be measured doing that.
    let settings = Settings::every(POLL)
        .lock_ttl(Duration::from_secs(60))
        .status_interval(POLL);
    let mut fleet = SdkFleet::new(sdk, settings);
    fleet.api.serve(10_000);
    fleet.begin_all();
    fleet.wait(LIMIT, "all are ready", |fleet| {
        fleet.workers.iter_mut().all(|worker| worker.is_ready())
    });
    let leader = fleet.leader();
    sleep(POLL * 3);

    let before = Moment::of(&mut fleet);
    sleep(WATCHED);
    let after = Moment::of(&mut fleet);
    let followers = (0..WORKERS).filter(|&worker| worker != leader);
    let ticks: u64 = followers
        .clone()
        .map(|worker| after.loads[worker] - before.loads[worker])
        .sum();
    let used: Duration = followers
        .map(|worker| after.processor[worker].since(&before.processor[worker]))
        .sum();
    // What the leader was sent is in it, and is little: it does not read.
    let bytes = (after.sent - before.sent) as f64 / ticks as f64;
    let used = used.as_secs_f64() * 1000.0 / ticks as f64;
    vec![
        Figure::new(amount(bytes), bytes),
        Figure::new(format!("{used:.1} ms"), used),
    ]
}

/// What was spent so far.
struct Moment {
    loads: Vec<u64>,
    processor: Vec<ProcessorTimes>,
    /// Bytes that the server has sent.
    sent: u64,
}

impl Moment {
    fn of(fleet: &mut SdkFleet) -> Self {
        let loads = fleet.count().into_iter().map(|(loads, _)| loads).collect();
        let processor = fleet
            .workers
            .iter()
            .map(|worker| worker.processor_times())
            .collect();
        let stats = fleet.test_store.0.run::<String>("INFO stats");
        let sent = stats
            .lines()
            .find_map(|line| line.strip_prefix("total_net_output_bytes:"))
            .unwrap();
        Self {
            loads,
            processor,
            sent: sent.trim().parse().unwrap(),
        }
    }
}

fn amount(bytes: f64) -> String {
    if bytes < 10_000.0 {
        format!("{bytes:.0}")
    } else {
        format!("{:.1} million", bytes / 1e6)
    }
}
