//! The requests of a fleet: at a cold start, at a start on a filled store, and at each tick.

use std::thread::sleep;
use std::time::{Duration, Instant};

use flagcache_benches::{Chart, Section, Table, is_quick};

use crate::environment::{Environment, NO_TICKS, STORES, Store};
use crate::workers::{AMPLE, Position, Workers};

const PROCESSES: usize = 64;
/// The smaller fleets of the chart.
const SMALLER: [usize; 3] = [1, 4, 16];
const FLAGS: usize = 100;
const INTERVAL: Duration = Duration::from_secs(1);
const LOCK_TTL: Duration = Duration::from_secs(10);
/// Time for a request that no worker should send.
const A_WHILE: Duration = Duration::from_millis(500);

/// Requests and units.
#[derive(Clone, Copy, Default)]
struct Cost {
    requests: u64,
    units: u64,
}

struct Start {
    cost: Cost,
    took: Duration,
}

/// The cost of a fleet while nothing changes.
struct Steady {
    ticks: f64,
    cost: Cost,
}

pub(crate) fn run() -> Section {
    let mut section = Section::new("A fleet's requests");
    section.say(format!(
        "{PROCESSES} worker processes with a poll interval of {} s and an API on this machine. PostHog bills 10 units for a \
         200 and 1 for a 304. The peer is PostHog's own SDK for Rust, which has no shared cache.",
        INTERVAL.as_secs()
    ));
    let columns = [
        "",
        "cold start",
        "until all have flags",
        "on a filled cache",
        "a tick of the fleet",
        "ticks seen",
    ];
    let mut table = Table::new("requests and billed units", &columns);
    let mut shared = smaller(|| Store::open("redis"));
    let mut alone = smaller(|| Store::None);
    for store in STORES {
        let environment = Environment::new(Store::open(store), FLAGS);
        let cold = start(&environment, PROCESSES);
        let filled = start(&environment, PROCESSES);
        let steady = steady(&environment, PROCESSES);
        table.row([
            format!("flagcache, one copy in {store}"),
            cold.cost.to_string(),
            seconds(cold.took),
            filled.cost.to_string(),
            steady.per_tick(),
            format!("{:.1}", steady.ticks),
        ]);
        let (requests, units) = (cold.cost.requests, filled.cost.units);
        let met = requests == 1;
        section.judge(
            &format!("requests of a cold start of 64 processes: {store}"),
            "1",
            requests.to_string(),
            met,
        );
        section.judge(
            &format!("units of a start on a filled cache: {store}"),
            "≤ 1",
            units.to_string(),
            units <= 1,
        );
        let units = steady.units_per_tick();
        if store == "redis" {
            shared.push((PROCESSES, cold.cost.units, units));
        }
        section.judge(
            &format!("units of a tick of the whole fleet: {store}"),
            "1",
            format!("{units:.2}"),
            // A window begins and ends between two ticks.
            steady.cost.units as f64 <= steady.ticks + 1.0,
        );
    }
    let environment = Environment::new(Store::None, FLAGS);
    let cold = start(&environment, PROCESSES);
    let steady = steady(&environment, PROCESSES);
    table.row([
        "posthog_rs, each for itself".to_owned(),
        cold.cost.to_string(),
        seconds(cold.took),
        "no cache".to_owned(),
        steady.per_tick(),
        format!("{:.1}", steady.ticks),
    ]);
    section.tables.push(table);
    alone.push((PROCESSES, cold.cost.units, steady.units_per_tick()));
    section.charts.push(chart(shared, alone));
    section
}

/// The size of a fleet, and the units of its cold start and of its tick.
type Bill = (usize, u64, f64);

/// The bills of the smaller fleets.
fn smaller(store: impl Fn() -> Store) -> Vec<Bill> {
    let bill = |processes| {
        let environment = Environment::new(store(), FLAGS);
        let cold = start(&environment, processes);
        (
            processes,
            cold.cost.units,
            steady(&environment, processes).units_per_tick(),
        )
    };
    SMALLER.map(bill).into()
}

fn chart(shared: Vec<Bill>, alone: Vec<Bill>) -> Chart {
    let mut chart = Chart::new(
        "fleet_cost",
        "What a fleet is billed, with and without flagcache",
        "worker processes",
        "billed units",
    );
    chart.log = [true, true];
    for (name, bills) in [("without flagcache", alone), ("with flagcache", shared)] {
        let points =
            |units: fn(&Bill) -> f64| bills.iter().map(move |bill| (bill.0 as f64, units(bill)));
        chart.line(
            &format!("a cold start, {name}"),
            points(|bill| bill.1 as f64),
        );
        chart.line(
            &format!("a tick of the fleet, {name}"),
            points(|bill| bill.2),
        );
    }
    chart
}

/// Starts all processes at once, and ends them.
fn start(environment: &Environment, processes: usize) -> Start {
    let before = environment.asked();
    let begun = Instant::now();
    let mut workers = Workers::start(&environment.spec(NO_TICKS, LOCK_TTL), processes, processes);
    workers.all_have(Position::BEGINNING, None, AMPLE);
    let took = begun.elapsed();
    sleep(A_WHILE);
    let after = environment.asked();
    workers.stop();
    Start {
        cost: Cost {
            requests: after.requests - before.requests,
            units: after.units - before.units,
        },
        took,
    }
}

fn steady(environment: &Environment, processes: usize) -> Steady {
    let mut workers = Workers::start(&environment.spec(INTERVAL, LOCK_TTL), processes, processes);
    workers.all_have(Position::BEGINNING, None, AMPLE);
    // The peer's first tick has no ETag yet.
    sleep(INTERVAL * 2);
    let (before, loads) = (environment.asked(), workers.counts().loads);
    let begun = Instant::now();
    sleep(INTERVAL * if is_quick() { 5 } else { 15 });
    let (after, counts) = (environment.asked(), workers.counts());
    let took = begun.elapsed();
    workers.stop();
    let ticks = match &environment.store {
        // The peer counts no loads; its ticks follow the clock.
        Store::None => took.as_secs_f64() / INTERVAL.as_secs_f64(),
        _ => (counts.loads - loads) as f64 / processes as f64,
    };
    Steady {
        ticks,
        cost: Cost {
            requests: after.requests - before.requests,
            units: after.units - before.units,
        },
    }
}

impl Steady {
    fn units_per_tick(&self) -> f64 {
        self.cost.units as f64 / self.ticks
    }

    fn per_tick(&self) -> String {
        let [requests, units] =
            [self.cost.requests, self.cost.units].map(|count| count as f64 / self.ticks);
        format!("{requests:.2} requests, {units:.2} units")
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { requests, units } = self;
        write!(
            f,
            "{requests} {}, {units} {}",
            word(*requests, "request"),
            word(*units, "unit")
        )
    }
}

fn word(count: u64, one: &str) -> String {
    if count == 1 {
        one.to_owned()
    } else {
        format!("{one}s")
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}
