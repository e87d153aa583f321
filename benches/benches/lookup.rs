//! What reading a flag costs under 1 to N threads, while a writer swaps the set all the time; beside PostHog's own SDK.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a bench fails by panicking"
)]

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use flagcache_benches::{Chart, Section, Table, bodies, is_quick};
use flagcache_core::FlagDefinitionPoller;
use posthog_rs::{FeatureFlag, FlagCache, LocalEvaluationResponse};
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Runtime};

const FLAGS: usize = 1_000;
const THREADS: [usize; 4] = [1, 2, 4, 8];
/// From one swap to the next.
const SWAPS: Duration = Duration::from_millis(10);
/// Look-ups between two looks at the time.
const BATCH: usize = 1_000;
const LEAST_OF_PEER: f64 = 10.0;
/// How much more a look-up may cost beside other threads and still count as flat.
const FLAT: f64 = 1.5;

/// One way to read a flag, and to swap what it is read from.
struct Way<'a> {
    name: &'static str,
    read: &'a (dyn Fn(&str) + Sync),
    swap: &'a (dyn Fn() + Sync),
}

/// One run of a way.
#[derive(Clone, Copy)]
struct Run {
    /// Processor time of a look-up.
    nanos: f64,
    /// Look-ups of all threads in a second.
    rate: f64,
}

fn main() {
    let ours = Ours::new();
    let peer = Peer::new();
    let held = ours.poller.definitions().unwrap();
    let both = |key: &str| {
        black_box(
            ours.poller
                .definitions()
                .unwrap()
                .flag(key)
                .unwrap()
                .json()
                .len(),
        );
    };
    let on_a_set = |key: &str| {
        black_box(held.flag(key).unwrap().json().len());
    };
    let decoded = |key: &str| {
        black_box(
            ours.poller
                .definitions()
                .unwrap()
                .flag(key)
                .unwrap()
                .deserialize::<FeatureFlag>()
                .unwrap(),
        );
    };
    let by_peer = |key: &str| {
        black_box(peer.cache.get_flag(key).unwrap());
    };
    let (swap, swap_peer) = (|| ours.swap(), || peer.swap());
    let ways = [
        Way {
            name: "definitions() and flag(key)",
            read: &both,
            swap: &swap,
        },
        Way {
            name: "flag(key) on a set at hand",
            read: &on_a_set,
            swap: &swap,
        },
        Way {
            name: "definitions(), flag(key), and decoding the flag",
            read: &decoded,
            swap: &swap,
        },
        Way {
            name: "posthog_rs, FlagCache::get_flag",
            read: &by_peer,
            swap: &swap_peer,
        },
    ];
    let keys: Vec<String> = held.flags().map(|flag| flag.key().to_owned()).collect();

    let mut runs = vec![vec![Vec::new(); THREADS.len()]; ways.len()];
    // In turn, so that what else the machine does hits all of them.
    for _ in 0..if is_quick() { 3 } else { 9 } {
        for (at, threads) in THREADS.into_iter().enumerate() {
            for (way, runs) in ways.iter().zip(&mut runs) {
                runs[at].push(way.run(threads, &keys));
            }
        }
    }
    report(&ways.map(|way| way.name), &mut runs).finish("lookup");
}

/// `runs[way][threads]`; the peer is the last way.
fn report(names: &[&str], runs: &mut [Vec<Vec<Run>>]) -> Section {
    let mut section = Section::new("Reading a flag");
    section.say(format!(
        "Threads look up the keys of a set of {FLAGS} flags, while a writer takes in a changed set every {} ms. flagcache \
         lends the flag's JSON, the peer clones a decoded flag under a lock; the row with decoding makes the same struct \
         of ours at each look-up. Times are the threads' own processor time, so a peer that waits for its lock is not \
         charged for it. \"Of one thread\" says how much more a look-up costs beside others.",
        SWAPS.as_millis()
    ));
    let columns = [
        "",
        "threads",
        "median",
        "spread",
        "all threads",
        "of the peer",
        "of one thread",
    ];
    let mut table = Table::new("a look-up", &columns);
    let mut chart = Chart::new(
        "lookup",
        "A look-up under many threads",
        "threads",
        "nanoseconds of processor time",
    );
    chart.log = [true, true];
    let medians: Vec<Vec<f64>> = runs
        .iter_mut()
        .map(|way| way.iter_mut().map(|runs| median(runs).nanos).collect())
        .collect();
    let Some(peer) = medians.last() else {
        return section;
    };
    for ((name, way), runs) in names.iter().zip(&medians).zip(runs.iter()) {
        for (at, runs) in runs.iter().enumerate() {
            let [least, most] =
                [runs.first(), runs.last()].map(|run| run.map_or(f64::NAN, |run| run.nanos));
            let rate = runs.iter().map(|run| run.rate).sum::<f64>() / runs.len() as f64;
            let cells = [
                format!("{:.1} ns", way[at]),
                format!("{least:.1}–{most:.1} ns"),
                format!("{:.1} million/s", rate / 1e6),
                format!("{:.3} ×", way[at] / peer[at]),
                format!("{:.2} ×", way[at] / way[0]),
            ];
            table.row(
                [(*name).to_owned(), THREADS[at].to_string()]
                    .into_iter()
                    .chain(cells),
            );
        }
        chart.line(
            name,
            THREADS
                .iter()
                .zip(way)
                .map(|(threads, nanos)| (*threads as f64, *nanos)),
        );
    }
    section.tables.push(table);
    section.charts.push(chart);

    let ours = &medians[0];
    let least = ours
        .iter()
        .zip(peer)
        .map(|(ours, peer)| peer / ours)
        .fold(f64::INFINITY, f64::min);
    section.judge(
        "`definitions()` and `flag(key)`, faster than `posthog_rs::FlagCache::get_flag`",
        "≥ 10 ×",
        format!(
            "{least:.1} × at the least, under 1 to {} threads",
            THREADS[THREADS.len() - 1]
        ),
        least >= LEAST_OF_PEER,
    );
    let most = ours.iter().map(|nanos| nanos / ours[0]).fold(0.0, f64::max);
    section.judge(
        "the same, flat from 1 to N reader threads",
        "≤ 1.5 × of one thread",
        format!("{most:.2} × at the most"),
        most <= FLAT,
    );
    section
}

fn median(runs: &mut [Run]) -> Run {
    runs.sort_by(|a, b| a.nanos.total_cmp(&b.nanos));
    runs[runs.len() / 2]
}

impl Way<'_> {
    fn run(&self, threads: usize, keys: &[String]) -> Run {
        let span = Duration::from_millis(if is_quick() { 50 } else { 150 });
        let (start, stop) = (Barrier::new(threads + 1), AtomicBool::new(false));
        let (read, nanos) = (AtomicU64::new(0), AtomicU64::new(0));
        let took = thread::scope(|scope| {
            for thread in 0..threads {
                let (start, stop, read, nanos) = (&start, &stop, &read, &nanos);
                scope.spawn(move || {
                    // Each thread begins elsewhere, and none asks in the order of the list.
                    let order: Vec<&str> = (0..keys.len())
                        .map(|at| &*keys[(at * 389 + thread * 97) % keys.len()])
                        .collect();
                    let mut batches = 0;
                    start.wait();
                    let begun = processor_time();
                    while !stop.load(Ordering::Relaxed) {
                        order
                            .iter()
                            .cycle()
                            .take(BATCH)
                            .for_each(|key| (self.read)(key));
                        batches += 1;
                    }
                    nanos.fetch_add(
                        (processor_time() - begun).as_nanos() as u64,
                        Ordering::Relaxed,
                    );
                    read.fetch_add(batches * BATCH as u64, Ordering::Relaxed);
                });
            }
            start.wait();
            let begun = Instant::now();
            while begun.elapsed() < span {
                (self.swap)();
                thread::sleep(SWAPS);
            }
            stop.store(true, Ordering::Relaxed);
            begun.elapsed()
        });
        let read = read.into_inner() as f64;
        Run {
            nanos: nanos.into_inner() as f64 / read,
            rate: read / took.as_secs_f64(),
        }
    }
}

/// Of this thread.
fn processor_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// A poller whose source has another answer each time.
struct Ours {
    runtime: Runtime,
    poller: FlagDefinitionPoller,
}

impl Ours {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let bodies = [25.0, 75.0].map(|percent| bodies::changed_body(FLAGS, percent));
        let poller = runtime.block_on(bodies::poller(bodies));
        Self { runtime, poller }
    }

    fn swap(&self) {
        self.runtime.block_on(self.poller.refresh()).unwrap();
    }
}

/// The peer's cache, and two sets that it takes in by turns.
struct Peer {
    cache: FlagCache,
    sets: [LocalEvaluationResponse; 2],
    swaps: AtomicU64,
}

impl Peer {
    fn new() -> Self {
        let sets = [25.0, 75.0]
            .map(|percent| bodies::decoded_by_the_peer(&bodies::changed_body(FLAGS, percent)));
        let peer = Self {
            cache: FlagCache::new(),
            sets,
            swaps: AtomicU64::new(0),
        };
        peer.swap();
        peer
    }

    fn swap(&self) {
        let swaps = self.swaps.fetch_add(1, Ordering::Relaxed);
        self.cache.update(self.sets[swaps as usize % 2].clone());
    }
}
