//! Growth: thousands of connections to one Redis.

use std::thread::sleep;
use std::time::{Duration, Instant};

use flagcache_benches::{Chart, Section, Table, bodies, is_quick};
use flagcache_test_support::RedisServer;

use crate::environment::{Environment, Store, millis, percentile};
use crate::host;
use crate::server::Info;
use crate::workers::{AMPLE, Position, Workers};

const SIZES: [usize; 3] = [100, 1_000, 5_000];
const PROCESSES: usize = 4;
const FLAGS: usize = 50;
const LOCK_TTL: Duration = Duration::from_secs(10);
/// Between the starts of two pollers: 400 a second.
const PAUSE: Duration = Duration::from_micros(2_500);
/// Keeps two cores idle most of the time at the largest size.
const INTERVAL: Duration = Duration::from_secs(10);
/// Upper bound of the bytes of an unchanged tick.
const MOST_BYTES: f64 = 700.0;

/// The figures of one size.
struct Found {
    pollers: usize,
    is_whole: bool,
    start: Duration,
    start_requests: u64,
    ticks: f64,
    requests: u64,
    scripts_per_tick: f64,
    reads: f64,
    bytes_per_tick: f64,
    /// Microseconds of processor time.
    worker_per_tick: f64,
    redis_per_tick: f64,
    redis_load: f64,
    bytes_per_connection: f64,
    /// From a publish to any follower, and to the last one of each change.
    any: Duration,
    last: Vec<Duration>,
    /// Bytes of a change.
    moved: f64,
    change_requests: f64,
    change_faults: f64,
    peak: f64,
}

pub(crate) fn run() -> Section {
    let files = host::allow_many_files();
    let mut section = Section::new("Thousands of connections");
    let body = bodies::body(FLAGS).len();
    section.say(format!(
        "Pollers in {PROCESSES} worker processes of one thread each, every poller with a connection of its own to one Redis; \
         {FLAGS} flags, {} KB; a poll interval of {} s, started at 400 a second. Bytes are those that Redis counts on all \
         connections, in both directions; processor time is the kernel's for the workers, and Redis's own. Workers, Redis \
         and the API share this machine's processors.",
        body / 1_000,
        INTERVAL.as_secs()
    ));
    let mut found = Vec::new();
    let mut redis = String::new();
    let sizes = &SIZES[..if is_quick() { 2 } else { SIZES.len() }];
    let with_patches = sizes.iter().map(|&size| (size, false));
    // The largest size again, where a change moves the whole copy.
    for (pollers, is_whole) in with_patches.chain(sizes.last().map(|&size| (size, true))) {
        if (pollers as u64) + 100 > files {
            section.say(format!(
                "{pollers} connections were not tried: this machine allows {files} open files."
            ));
            continue;
        }
        eprintln!("  {pollers} pollers …");
        let (of_this, version) = measure(pollers, is_whole);
        redis = version;
        found.push(of_this);
    }
    section.say(format!("Measured with {redis}."));
    steady_table(&mut section, &found);
    change_table(&mut section, &found);
    found.retain(|found| !found.is_whole);
    charts(&mut section, &found);
    if let (Some(first), Some(last)) = (found.first(), found.last()) {
        let most = found
            .iter()
            .map(|found| found.bytes_per_tick)
            .fold(0.0, f64::max);
        let figure = format!(
            "bytes of a follower's unchanged tick from Redis, up to {} workers",
            last.pollers
        );
        section.judge(&figure, "< 700", format!("{most:.0}"), most < MOST_BYTES);
        let scripts = last.scripts_per_tick;
        let figure = format!(
            "scripts of a worker's tick, {} workers on one Redis",
            last.pollers
        );
        section.judge(
            &figure,
            "1, and the leader's renewals",
            format!("{scripts:.3}"),
            scripts < 1.1,
        );
        let reads: f64 = found.iter().map(|found| found.reads).sum();
        section.judge(
            "bodies read while nothing changes",
            "0",
            format!("{reads:.0}"),
            reads == 0.0,
        );
        let (few, many) = (first.redis_per_tick, last.redis_per_tick);
        section.say(format!(
            "A tick costs Redis {few:.0} µs with {} workers and {many:.0} µs with {}.",
            first.pollers, last.pollers
        ));
    }
    section
}

fn measure(pollers: usize, is_whole: bool) -> (Found, String) {
    let server = RedisServer::start_with(&["--maxclients", "15000"]);
    let store = if is_whole {
        Store::WholeRedis(server)
    } else {
        Store::Redis(server)
    };
    let mut environment = Environment::new(store, FLAGS);
    let empty = info(&environment);
    let mut spec = environment.spec(INTERVAL, LOCK_TTL);
    spec.pause = PAUSE * PROCESSES as u32;

    let begun = Instant::now();
    let mut fleet = Workers::start(&spec, pollers, PROCESSES);
    fleet.all_have(Position::BEGINNING, None, AMPLE);
    let start = begun.elapsed();
    let start_requests = environment.asked().requests;
    sleep(INTERVAL);

    let (counts, asked) = (fleet.counts(), environment.asked().requests);
    let (before, worker_before, clock) =
        (info(&environment), fleet.processor_time(), Instant::now());
    sleep(INTERVAL * if is_quick() { 2 } else { 3 });
    let (after, worker_after, took) = (info(&environment), fleet.processor_time(), clock.elapsed());
    let requests = environment.asked().requests - asked;
    let ticks = (fleet.counts().loads - counts.loads) as f64;
    // Each script reads the lock once; all other reads are of the copy.
    let scripts = after.calls("evalsha") - before.calls("evalsha");
    let reads = after.calls("get") - before.calls("get") - scripts;
    let redis_time = after.processor_time() - before.processor_time();

    let mut any = Vec::new();
    let mut last = Vec::new();
    let (asked, faults) = (environment.asked().requests, fleet.counts().faults);
    let (before_changes, loads) = (info(&environment), fleet.counts().loads);
    let changes = if is_quick() { 2 } else { 5 };
    for _ in 0..changes {
        let took = environment.spread(&mut fleet, FLAGS);
        last.extend(took.last());
        any.extend(took);
        sleep(Duration::from_secs(2));
    }
    let bytes_per_tick = (after.traffic() - before.traffic()) / ticks;
    let moved = info(&environment).traffic() - before_changes.traffic();
    let moved = moved - (fleet.counts().loads - loads) as f64 * bytes_per_tick;
    // One request for each change, and those of the leader's ticks meanwhile.
    let change_requests = (environment.asked().requests - asked) as f64 / f64::from(changes);
    let change_faults = (fleet.counts().faults - faults) as f64 / f64::from(changes);
    let peak = info(&environment).number("used_memory_peak");
    fleet.stop();
    any.sort();
    last.sort();
    let found = Found {
        pollers,
        is_whole,
        start,
        start_requests,
        ticks,
        requests,
        scripts_per_tick: scripts / ticks,
        reads,
        bytes_per_tick,
        worker_per_tick: (worker_after - worker_before).as_secs_f64() * 1e6 / ticks,
        redis_per_tick: redis_time * 1e6 / ticks,
        redis_load: redis_time / took.as_secs_f64(),
        bytes_per_connection: (before.number("used_memory") - empty.number("used_memory"))
            / pollers as f64,
        any: percentile(&any, 50),
        last,
        moved: moved / f64::from(changes),
        change_requests,
        change_faults,
        peak: peak - before.number("used_memory"),
    };
    (found, after.version())
}

fn info(environment: &Environment) -> Info {
    match &environment.store {
        Store::Redis(server) | Store::WholeRedis(server) => Info::of(server),
        _ => panic!("not on Redis"),
    }
}

fn steady_table(section: &mut Section, found: &[Found]) {
    let columns = [
        "workers",
        "all started",
        "requests for it",
        "ticks seen",
        "requests",
        "scripts a tick",
        "bytes a tick",
        "worker's processor a tick",
        "Redis's processor a tick",
        "Redis, of one core",
        "Redis's memory a connection",
    ];
    let mut table = Table::new("while nothing changes", &columns);
    for it in found.iter().filter(|found| !found.is_whole) {
        table.row([
            it.pollers.to_string(),
            format!("{:.1} s", it.start.as_secs_f64()),
            it.start_requests.to_string(),
            format!("{:.0}", it.ticks),
            it.requests.to_string(),
            format!("{:.3}", it.scripts_per_tick),
            format!("{:.0}", it.bytes_per_tick),
            format!("{:.0} µs", it.worker_per_tick),
            format!("{:.1} µs", it.redis_per_tick),
            format!("{:.2} %", it.redis_load * 100.0),
            format!("{:.1} KB", it.bytes_per_connection / 1e3),
        ]);
    }
    section.tables.push(table);
}

fn change_table(section: &mut Section, found: &[Found]) {
    let columns = [
        "workers",
        "as",
        "moved, beside the ticks",
        "any follower, median",
        "the last follower, median",
        "worst",
        "requests a change",
        "failed calls a change",
        "Redis's memory at the peak",
    ];
    let mut table = Table::new("when a flag changes", &columns);
    for it in found {
        table.row([
            it.pollers.to_string(),
            if it.is_whole {
                "the whole copy"
            } else {
                "a patch"
            }
            .to_owned(),
            format!("{:.1} MB", it.moved / 1e6),
            millis(it.any),
            millis(percentile(&it.last, 50)),
            millis(percentile(&it.last, 100)),
            format!("{:.1}", it.change_requests),
            format!("{:.1}", it.change_faults),
            format!("+ {:.1} MB", it.peak / 1e6),
        ]);
    }
    section.tables.push(table);
}

fn charts(section: &mut Section, found: &[Found]) {
    let mut chart = Chart::new(
        "growth_cost",
        "Processor time of an unchanged tick",
        "workers",
        "microseconds",
    );
    chart.log = [true, true];
    chart.line(
        "the worker",
        found
            .iter()
            .map(|it| (it.pollers as f64, it.worker_per_tick)),
    );
    chart.line(
        "Redis",
        found
            .iter()
            .map(|it| (it.pollers as f64, it.redis_per_tick)),
    );
    section.charts.push(chart);
    let mut chart = Chart::new(
        "growth_change",
        "From a publish to the followers",
        "workers",
        "milliseconds",
    );
    chart.log = [true, true];
    let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
    chart.line(
        "the last follower",
        found
            .iter()
            .map(|it| (it.pollers as f64, millis(percentile(&it.last, 50)))),
    );
    chart.line(
        "half of the followers",
        found.iter().map(|it| (it.pollers as f64, millis(it.any))),
    );
    section.charts.push(chart);
}
