//! What a change of one flag moves and costs: as a patch, and as the whole copy.

use std::time::Duration;

use flagcache_benches::{Section, Table, is_quick};
use flagcache_test_support::RedisServer;

use crate::environment::{Environment, NO_TICKS, Store, millis, percentile};
use crate::server::Info;
use crate::workers::{AMPLE, Position, Workers};

const PROCESSES: usize = 16;
const FOLLOWERS: f64 = (PROCESSES - 1) as f64;
/// The sizes in flags, and what the last follower must have a change within.
const SIZES: [(usize, Duration); 2] = [
    (1_000, Duration::from_millis(50)),
    (10_000, Duration::from_millis(100)),
];
/// Ample for copies of 10 MB.
const LOCK_TTL: Duration = Duration::from_secs(60);
const MOST_BYTES: f64 = 4_096.0;
const LEAST_RATIO: f64 = 5.0;

/// The figures of one size.
struct Found {
    /// From Redis to a follower.
    bytes: f64,
    processor: Duration,
    /// From a publish to the last follower, of each change, in ascending order.
    last: Vec<Duration>,
}

pub(crate) fn run() -> Section {
    let changes = if is_quick() { 20 } else { 100 };
    let mut section = Section::new("What a change moves");
    section.say(format!(
        "{PROCESSES} worker processes on one Redis, of which one leads; {changes} changes of one flag, once where followers read \
         patches and once where they read whole copies. Bytes are those that Redis sends, per follower and change: the \
         notification, the tick and the read. Processor time is the kernel's, of the median process and per change. The delay is \
         from the moment when the leader begins to store the new set until the last follower has it in force."
    ));
    let columns = [
        "flags",
        "a change is",
        "bytes from Redis, a follower",
        "processor time, a follower",
        "the last, median",
        "99th percentile",
        "worst",
    ];
    let mut table = Table::new("until the last follower has the change", &columns);
    for (flags, most) in SIZES {
        let whole = measure(flags, changes, Store::WholeRedis(RedisServer::start()));
        let patched = measure(flags, changes, Store::Redis(RedisServer::start()));
        for (name, found) in [("the whole copy", &whole), ("a patch", &patched)] {
            let times = [50, 99, 100].map(|percent| millis(percentile(&found.last, percent)));
            let cells = [
                flags.to_string(),
                name.to_owned(),
                format!("{:.0}", found.bytes),
                millis(found.processor),
            ];
            table.row(cells.into_iter().chain(times));
        }
        let high = percentile(&patched.last, 99);
        let figure = format!(
            "a change of one flag reaches the last follower, 99th percentile: {flags} flags"
        );
        let bound = format!("≤ {} ms", most.as_millis());
        section.judge(&figure, &bound, millis(high), high <= most);
        let figure = format!("bytes from Redis to a follower when a flag of {flags} changes");
        let bytes = format!("{:.0}", patched.bytes);
        section.judge(&figure, "≤ 4 096", bytes, patched.bytes <= MOST_BYTES);
        let ratio = |percent| {
            percentile(&whole.last, percent).as_secs_f64()
                / percentile(&patched.last, percent).as_secs_f64()
        };
        section.say(format!(
            "With {flags} flags a patch reaches the last follower {:.1} × sooner than the whole copy (median; 99th percentile {:.1} ×), \
             for {:.1} × less processor time and {:.0} × fewer bytes.",
            ratio(50),
            ratio(99),
            whole.processor.as_secs_f64() / patched.processor.as_secs_f64().max(1e-6),
            whole.bytes / patched.bytes
        ));
        if flags == SIZES[1].0 {
            let figure = format!("sooner than the whole copy, median: {flags} flags");
            let ratio = ratio(50);
            section.judge(
                &figure,
                "≥ 5 ×",
                format!("{ratio:.1} ×"),
                ratio >= LEAST_RATIO,
            );
        }
    }
    section.tables.push(table);
    section
}

fn measure(flags: usize, changes: u32, store: Store) -> Found {
    let mut environment = Environment::new(store, flags);
    let mut workers = Workers::start(&environment.spec(NO_TICKS, LOCK_TTL), PROCESSES, PROCESSES);
    workers.all_have(Position::BEGINNING, None, AMPLE);
    // The first one needs connections and memory that later ones reuse.
    environment.spread(&mut workers, flags);
    let (bytes, processor) = (sent(&environment), workers.processor_times());
    let mut last = Vec::new();
    for _ in 0..changes {
        let took = environment.spread(&mut workers, flags);
        assert_eq!(took.len(), PROCESSES - 1, "one leads");
        last.extend(took.last());
    }
    let bytes = sent(&environment) - bytes;
    let times = workers.processor_times();
    let mut used: Vec<_> = times
        .iter()
        .zip(&processor)
        .map(|(after, before)| *after - *before)
        .collect();
    workers.stop();
    used.sort();
    last.sort();
    Found {
        bytes: bytes / FOLLOWERS / f64::from(changes),
        processor: percentile(&used, 50) / changes,
        last,
    }
}

/// Bytes that Redis has sent.
fn sent(environment: &Environment) -> f64 {
    match &environment.store {
        Store::Redis(server) | Store::WholeRedis(server) => {
            Info::of(server).number("total_net_output_bytes")
        }
        _ => panic!("not on Redis"),
    }
}
