//! What a fault that all workers see costs, and how soon its end is seen.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use flagcache_benches::{Section, Table, bodies, is_quick};
use flagcache_providers::testing::ApiReply;

use crate::environment::{Environment, Store};
use crate::protocol::{Moment, Report};
use crate::python::Pythons;
use crate::worker::SERVICE;
use crate::workers::{AMPLE, Position, Workers};

/// The most requests that any interval may see, whatever the number of workers, as in the property test of the lifecycle.
const MOST_REQUESTS: usize = 5;

const STORES: [&str; 3] = ["memory", "file", "redis"];
const WORKERS: [usize; 3] = [8, 32, 128];
const MOST_PROCESSES: usize = 32;
const PYTHONS: usize = 8;
const FLAGS: usize = 100;
const INTERVAL: Duration = Duration::from_secs(1);
const LOCK_TTL: Duration = Duration::from_secs(10);
/// The beginning of a fault, in which a fleet without a memory of it asks in a wave.
const AT_FIRST: Duration = Duration::from_millis(1_500);
/// A healthy fleet between two faults.
const REST: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    Unauthorized,
    Closed,
    Damage,
    Server,
}

impl Fault {
    const ALL: [Self; 4] = [Self::Unauthorized, Self::Closed, Self::Damage, Self::Server];

    fn title(self) -> &'static str {
        match self {
            Self::Unauthorized => "401 for all: a revoked key",
            Self::Closed => "the API closes every connection",
            Self::Damage => "garbage in the shared copy; the store and the API are well",
            Self::Server => "500 for all",
        }
    }

    fn short(self) -> &'static str {
        match self {
            Self::Unauthorized => "401",
            Self::Closed => "closed connections",
            Self::Damage => "garbage in the copy",
            Self::Server => "500",
        }
    }

    fn lasts(self) -> Duration {
        match self {
            _ if is_quick() => INTERVAL * 4,
            // It is repaired long before.
            Self::Damage => INTERVAL * 5,
            _ => INTERVAL * 12,
        }
    }

    fn begins(self, environment: &Environment) {
        match self {
            Self::Unauthorized => environment.api.always(ApiReply::status(401)),
            Self::Closed => environment.api.always(ApiReply::reset()),
            Self::Server => environment.api.always(ApiReply::status(500)),
            Self::Damage => match &environment.store {
                Store::File(folder) => {
                    fs::write(folder.path().join(format!("{SERVICE}.json")), b"{garbage").unwrap()
                }
                Store::Redis(server) | Store::WholeRedis(server) => {
                    let key = format!("posthog:flags:{SERVICE}");
                    server.run_args::<()>(&["SET", &key, "{garbage"]);
                }
                Store::Memory | Store::None => {
                    panic!("a copy in memory cannot be damaged from outside")
                }
            },
        }
    }
}

/// What one fault did to one fleet.
struct Found {
    fault: Fault,
    store: &'static str,
    workers: usize,
    who: String,
    per_interval: f64,
    at_first: usize,
    /// The most in any one interval.
    most: usize,
    recovery: Duration,
}

pub(crate) fn run() -> Section {
    let mut section = Section::new("A fault that all workers see");
    section.say(format!(
        "Fleets with a poll interval of {} s, in up to {MOST_PROCESSES} processes, several pollers in each beyond; those on \
         the memory store in one process. A healthy fleet sends one request an interval, whatever its size. A fault lasts \
         {} s (garbage is put into the copy once, and watched for {} s); then the flags change, at the moment when it ends. The \
         last column is from there until every worker has the change. Each row is one fleet, measured once. When connections \
         close, the client sends a request that a kept connection left unanswered once more, and up to three workers try before \
         one goes on alone: that is what the first 1.5 s show.",
        INTERVAL.as_secs(),
        Fault::Server.lasts().as_secs(),
        Fault::Damage.lasts().as_secs()
    ));
    let mut found = Vec::new();
    for store in STORES {
        for workers in WORKERS {
            eprintln!("  {workers} workers, {store} …");
            found.extend(of_ours(store, workers));
        }
    }
    match Pythons::interpreter() {
        Some(python) => found.extend(of_pythons(&python)),
        None => section.say("PostHog's Python SDK was not measured: scripts/peers installs it."),
    }
    let columns = [
        "",
        "workers",
        "requests an interval",
        "in the first 1.5 s",
        "most in an interval",
        "next change everywhere",
    ];
    for fault in Fault::ALL {
        let mut table = Table::new(fault.title(), &columns);
        for it in found.iter().filter(|it| it.fault == fault) {
            table.row([
                it.who.clone(),
                it.workers.to_string(),
                format!("{:.2}", it.per_interval),
                it.at_first.to_string(),
                it.most.to_string(),
                format!("{:.2} s", it.recovery.as_secs_f64()),
            ]);
        }
        section.tables.push(table);
    }
    for fault in Fault::ALL {
        judge(&mut section, fault, &found);
    }
    section
}

fn judge(section: &mut Section, fault: Fault, found: &[Found]) {
    let ours = || {
        found
            .iter()
            .filter(|it| it.fault == fault && STORES.contains(&it.store))
    };
    let most = ours().map(|it| it.most).max().unwrap_or_default();
    let figure = format!(
        "requests in any interval of a fault that up to {} workers see: {}",
        WORKERS[2],
        fault.short()
    );
    section.judge(
        &figure,
        &format!("≤ {}", MOST_REQUESTS),
        most.to_string(),
        most <= MOST_REQUESTS,
    );
    let slowest = ours().map(|it| it.recovery).max().unwrap_or_default();
    let figure = format!(
        "from its end until the next change is everywhere: {}",
        fault.short()
    );
    section.judge(
        &figure,
        "≤ 2 intervals",
        format!("{:.2} s", slowest.as_secs_f64()),
        slowest <= INTERVAL * 2,
    );
}

fn of_ours(store: &'static str, workers: usize) -> Vec<Found> {
    let environment = Environment::new(Store::open(store), FLAGS);
    let processes = if store == "memory" {
        1
    } else {
        workers.min(MOST_PROCESSES)
    };
    let mut fleet = Workers::start(&environment.spec(INTERVAL, LOCK_TTL), workers, processes);
    fleet.all_have(Position::BEGINNING, None, AMPLE);
    let faults = Fault::ALL
        .into_iter()
        .filter(|fault| store != "memory" || *fault != Fault::Damage);
    let found = faults.enumerate().map(|(nth, fault)| {
        let who = format!("flagcache, one copy in {store}");
        measure(&environment, fault, (store, workers, who), || {
            let position = fleet.position();
            let ended = ends(&environment, FLAGS + nth + 1);
            let etag = fleet.find(position, "a publish", AMPLE, |reports| {
                reports.iter().find_map(|report| match report {
                    Report::Publishes { etag, .. } => Some(etag.clone()),
                    _ => None,
                })
            });
            let having = fleet.all_have(position, etag.as_deref(), AMPLE);
            having
                .into_iter()
                .map(|(_, at)| at.since(ended))
                .max()
                .unwrap_or_default()
        })
    });
    let found = found.collect();
    fleet.stop();
    found
}

fn of_pythons(python: &std::path::Path) -> Vec<Found> {
    eprintln!("  {PYTHONS} workers of the Python SDK …");
    let environment = Environment::new(Store::open("redis"), FLAGS);
    let Store::Redis(server) = &environment.store else {
        panic!("not on Redis")
    };
    let mut pythons = Pythons::start(
        python,
        &environment.api.url(),
        &server.url(),
        INTERVAL,
        PYTHONS,
    );
    pythons.all_have(FLAGS as u64);
    let found = Fault::ALL.into_iter().enumerate().map(|(nth, fault)| {
        let who = "posthog (Python), one copy in redis".to_owned();
        measure(&environment, fault, ("python", PYTHONS, who), || {
            let flags = FLAGS + nth + 1;
            ends(&environment, flags);
            pythons.all_have(flags as u64)
        })
    });
    found.collect()
}

/// The fault ends, and so many flags are served.
fn ends(environment: &Environment, flags: usize) -> Moment {
    environment.api.set_definitions(bodies::body(flags));
    let ended = Moment::now();
    environment.api.clear();
    ended
}

/// `recover` ends the fault, and gives how long it took until all workers had the change.
fn measure(
    environment: &Environment,
    fault: Fault,
    (store, workers, who): (&'static str, usize, String),
    recover: impl FnOnce() -> Duration,
) -> Found {
    sleep(REST);
    let from = environment.api.requests().len();
    let begun = Instant::now();
    fault.begins(environment);
    sleep(fault.lasts().saturating_sub(begun.elapsed()));
    let lasted = begun.elapsed();
    let requests: Vec<Duration> = environment.api.requests()[from..]
        .iter()
        .map(|request| request.at.saturating_duration_since(begun))
        .filter(|at| *at < lasted)
        .collect();
    let recovery = recover();
    let within = |start: Duration| {
        requests
            .iter()
            .filter(|at| **at >= start && **at < start + INTERVAL)
            .count()
    };
    Found {
        fault,
        store,
        workers,
        who,
        per_interval: requests.len() as f64 / (lasted.as_secs_f64() / INTERVAL.as_secs_f64()),
        at_first: requests.iter().filter(|at| **at < AT_FIRST).count(),
        most: requests
            .iter()
            .map(|at| within(*at))
            .max()
            .unwrap_or_default(),
        recovery,
    }
}
