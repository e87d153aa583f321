//! What one evaluation costs, however many flags and cohorts the project has, beside PostHog's own SDK; under 1 to N
//! threads while a writer changes the definitions; and what a change of one flag costs.
//!
//! ```text
//! cargo bench --package flagcache-benches --bench evaluation
//! ```
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a bench fails by panicking"
)]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flagcache_benches::{Figure, Section, Table, bodies, is_quick, ratio_in_turn};
use flagcache_evaluation::{FlagSubject, LocalEvaluation, TestFlags};
use posthog_rs::{FlagCache, LocalEvaluator};
use rustix::time::{ClockId, clock_gettime};

const SIZES: [(usize, usize); 4] = [(50, 0), (200, 100), (1_000, 500), (1_000, 2_000)];
const THREADS: [usize; 4] = [1, 2, 4, 8];
const SWAPS: Duration = Duration::from_millis(10);
/// Flags of the definitions in which one changes.
const MANY: usize = 10_000;
/// The flags without and with a cohort.
const PLAIN: &str = "flag-0";
const MEMBER: &str = "flag-1";
/// How much more an evaluation may cost in a large project, or beside other threads, and still count as flat.
const FLAT: f64 = 1.5;

fn subject() -> FlagSubject {
    FlagSubject::new("ada")
        .property("plan", "pro")
        .property("age", 30)
}

fn main() {
    let mut section = Section::new("Evaluating a flag");
    section.say(
        "One flag for one subject, with a property and a percentage; with a cohort of five properties besides. The peer is \
         posthog_rs's `LocalEvaluator::evaluate_flag`, which clones all cohorts of the project at each call. Times are \
         the thread's own processor time, so that other work on the machine is not counted. \
         `cargo bench --package flagcache-benches --bench evaluation` measures it.",
    );
    one_evaluation(&mut section);
    under_threads(&mut section);
    one_change(&mut section);
    section.finish("evaluation");
}

/// One project, evaluated by both.
struct Both {
    ours: LocalEvaluation,
    peer: Peer,
    subject: FlagSubject,
}

impl Both {
    fn new(flags: usize, cohorts: usize) -> Self {
        let body = bodies::with_cohorts(flags, cohorts, 50);
        Self {
            ours: TestFlags::from_json(String::from_utf8(body.to_vec()).unwrap()).unwrap(),
            peer: Peer::new([body]),
            subject: subject(),
        }
    }

    fn evaluate(&self, key: &str) {
        drop(black_box(self.ours.evaluate(key, &self.subject)));
    }

    fn evaluate_by_peer(&self, key: &str) {
        self.peer.evaluate(key, &self.subject);
    }
}

/// PostHog's own SDK.
struct Peer {
    cache: FlagCache,
    evaluator: LocalEvaluator,
    bodies: Vec<Bytes>,
    swaps: AtomicUsize,
    groups: HashMap<String, String>,
}

impl Peer {
    fn new(bodies: impl IntoIterator<Item = Bytes>) -> Self {
        let cache = FlagCache::new();
        let peer = Self {
            evaluator: LocalEvaluator::new(cache.clone()),
            cache,
            bodies: bodies.into_iter().collect(),
            swaps: AtomicUsize::new(0),
            groups: HashMap::new(),
        };
        peer.swap();
        peer
    }

    fn evaluate(&self, key: &str, subject: &FlagSubject) {
        let value = self.evaluator.evaluate_flag(
            key,
            subject.distinct_id(),
            subject.properties(),
            &self.groups,
            subject.group_properties(),
        );
        drop(black_box(value));
    }

    /// Takes up the next of the bodies.
    fn swap(&self) {
        let at = self.swaps.fetch_add(1, Ordering::Relaxed) % self.bodies.len();
        self.cache
            .update(bodies::decoded_by_the_peer(&self.bodies[at]));
    }
}

fn one_evaluation(section: &mut Section) {
    let columns = [
        "flags, cohorts",
        "without a cohort",
        "posthog_rs",
        "with one",
        "posthog_rs",
        "times faster, without and with",
    ];
    let mut table = Table::new("one evaluation", &columns);
    let (mut plain, mut member) = (0.0_f64, 0.0_f64);
    let projects = SIZES.map(|(flags, cohorts)| Both::new(flags, cohorts));
    for ((flags, cohorts), both) in SIZES.into_iter().zip(&projects) {
        let ours = [PLAIN, MEMBER].map(|key| cost(&|| both.evaluate(key)));
        let theirs = [PLAIN, MEMBER].map(|key| cost(&|| both.evaluate_by_peer(key)));
        let faster = [0, 1].map(|at| theirs[at].micros() / ours[at].micros());
        let (with, faster) = if cohorts > 0 {
            member = member.max(ours[1].micros());
            let both = format!("{:.0} ×, {:.0} ×", faster[0], faster[1]);
            ([ours[1].to_string(), theirs[1].to_string()], both)
        } else {
            (["–", "–"].map(str::to_owned), format!("{:.1} ×", faster[0]))
        };
        plain = plain.max(ours[0].micros());
        let cells = [ours[0].to_string(), theirs[0].to_string()];
        let size = format!("{flags}, {cohorts}");
        table.row([size].into_iter().chain(cells).chain(with).chain([faster]));
    }
    section.tables.push(table);
    section.judge(
        "an evaluation of a flag without cohorts",
        "≤ 2 µs",
        format!("{plain:.2} µs at the most"),
        plain <= 2.0,
    );
    section.judge(
        "an evaluation of a flag with a cohort",
        "≤ 10 µs",
        format!("{member:.2} µs at the most"),
        member <= 10.0,
    );
    let [small, _, medium, large] = &projects;
    let repeat = |both: &Both, key: &str, times| (0..times).for_each(|_| both.evaluate(key));
    let least = cost(&|| small.evaluate(PLAIN));
    let ratio = ratio_in_turn(
        &least,
        |times| repeat(small, PLAIN, times),
        |times| repeat(large, PLAIN, times),
    );
    section.judge(
        "the same flag with 2 000 cohorts in the project, as a multiple of that with none",
        "≤ 1.5 ×",
        format!("{ratio:.2} ×"),
        ratio <= FLAT,
    );
    let ours = cost(&|| medium.evaluate(MEMBER));
    let theirs = cost(&|| medium.evaluate_by_peer(MEMBER));
    let faster = theirs.micros() / ours.micros();
    section.judge(
        "an evaluation at 500 cohorts, faster than posthog_rs",
        "≥ 1 000 ×",
        format!("{faster:.0} × with a cohort"),
        faster >= 1_000.0,
    );
}

/// The processor time of one run.
fn cost(run: &dyn Fn()) -> Figure {
    let timed = |times: u32| {
        let begun = processor_time();
        (0..times).for_each(|_| run());
        (processor_time() - begun) / times
    };
    timed(1);
    let once = timed(1).max(Duration::from_nanos(100));
    let times = (Duration::from_millis(5).as_nanos() / once.as_nanos()).max(1) as u32;
    let samples = if is_quick() { 10 } else { 50 };
    Figure::of((0..samples).map(|_| timed(times)).collect()).unwrap()
}

/// The processor time of one run in the whole process.
fn cost_of_all_threads(run: &dyn Fn()) -> Figure {
    let now = || Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap();
    let timed = || {
        let begun = now();
        run();
        now() - begun
    };
    timed();
    let samples = if is_quick() { 10 } else { 50 };
    Figure::of((0..samples).map(|_| timed()).collect()).unwrap()
}

/// One way to evaluate a flag, and to change the definitions meanwhile.
struct Way<'a> {
    name: &'static str,
    evaluate: &'a (dyn Fn(&FlagSubject) + Sync),
    swap: &'a (dyn Fn() + Sync),
    /// Evaluations between two looks at the time.
    batch: u64,
}

/// While a writer changes the definitions all the time.
fn under_threads(section: &mut Section) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let bodies = || [25, 75].map(|percent| bodies::with_cohorts(1_000, 500, percent));
    let poller = runtime.block_on(bodies::poller(bodies()));
    let flags = LocalEvaluation::attach(&poller);
    runtime
        .block_on(flags.wait_ready(Duration::from_secs(60)))
        .unwrap();
    let peer = Peer::new(bodies());
    let ways = [
        Way {
            name: "flagcache",
            evaluate: &|subject| drop(black_box(flags.evaluate(MEMBER, subject))),
            swap: &|| runtime.block_on(poller.refresh()).unwrap(),
            batch: 100,
        },
        Way {
            name: "posthog_rs",
            evaluate: &|subject| peer.evaluate(MEMBER, subject),
            swap: &|| peer.swap(),
            batch: 1,
        },
    ];
    let mut runs: Vec<Vec<Vec<(f64, f64)>>> = vec![vec![Vec::new(); THREADS.len()]; ways.len()];
    // In turn, so that what else the machine does hits all of them.
    for _ in 0..if is_quick() { 3 } else { 9 } {
        for (at, threads) in THREADS.into_iter().enumerate() {
            for (way, runs) in ways.iter().zip(&mut runs) {
                runs[at].push(way.run(threads));
            }
        }
    }
    let columns = [
        "",
        "threads",
        "an evaluation",
        "of one thread",
        "all threads",
    ];
    let title =
        "with a cohort, in a project of 1 000 flags and 500 cohorts whose definitions change";
    let mut table = Table::new(title, &columns);
    let mut most = 0.0_f64;
    for (way, runs) in ways.iter().zip(&mut runs) {
        let medians: Vec<(f64, f64)> = runs
            .iter_mut()
            .map(|runs| {
                runs.sort_by(|a, b| a.0.total_cmp(&b.0));
                runs[runs.len() / 2]
            })
            .collect();
        for ((nanos, rate), threads) in medians.iter().zip(THREADS) {
            let ratio = nanos / medians[0].0;
            if way.name == "flagcache" {
                most = most.max(ratio);
            }
            table.row([
                way.name.to_owned(),
                threads.to_string(),
                format!("{:.2} µs", nanos / 1e3),
                format!("{ratio:.2} ×"),
                format!("{rate:.0}/s"),
            ]);
        }
    }
    section.say(format!(
        "A writer changes the definitions every {} ms. \"Of one thread\" is flat if an evaluation takes the same processor \
         time beside any number of threads: then the cores alone bound what all threads do together.",
        SWAPS.as_millis()
    ));
    section.tables.push(table);
    section.judge(
        "processor time of an evaluation, flat from 1 to 8 threads while the definitions change",
        "≤ 1.5 × of one thread",
        format!("{most:.2} × at the most"),
        most <= FLAT,
    );
}

impl Way<'_> {
    /// The processor time of an evaluation in nanoseconds, and the evaluations of all threads in a second.
    fn run(&self, threads: usize) -> (f64, f64) {
        let span = Duration::from_millis(if is_quick() { 50 } else { 150 });
        let (start, stop) = (Barrier::new(threads + 1), AtomicBool::new(false));
        let (count, nanos) = (AtomicU64::new(0), AtomicU64::new(0));
        let took = thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let subject = subject();
                    let mut evaluations = 0;
                    start.wait();
                    let begun = processor_time();
                    while !stop.load(Ordering::Relaxed) {
                        (0..self.batch).for_each(|_| (self.evaluate)(&subject));
                        evaluations += self.batch;
                    }
                    let took = (processor_time() - begun).as_nanos() as u64;
                    nanos.fetch_add(took, Ordering::Relaxed);
                    count.fetch_add(evaluations, Ordering::Relaxed);
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
        let count = count.into_inner() as f64;
        let nanos = nanos.into_inner() as f64;
        (nanos / count, count / took.as_secs_f64())
    }
}

/// Of this thread.
fn processor_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// Until the change of one flag of many is evaluated.
fn one_change(section: &mut Section) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let bodies = || [25, 75].map(|percent| bodies::with_cohorts(MANY, 500, percent));
    let poller = runtime.block_on(bodies::poller(bodies()));
    let load = || runtime.block_on(poller.refresh()).unwrap();
    let only_loaded = cost_of_all_threads(&load);
    let flags = LocalEvaluation::attach(&poller);
    runtime
        .block_on(flags.wait_ready(Duration::from_secs(60)))
        .unwrap();
    let evaluated = cost_of_all_threads(&|| {
        load();
        runtime.block_on(flags.synced());
    });
    let peer = Peer::new(bodies());
    let theirs = cost_of_all_threads(&|| peer.swap());
    let title = format!("a change of one flag in {MANY}, of 500 cohorts");
    let mut table = Table::new(&title, &["", "processor time of all threads"]);
    for (name, figure) in [
        (
            "flagcache: the load of a poller, until the definitions are in memory",
            only_loaded,
        ),
        (
            "flagcache: the same, until the change is evaluated",
            evaluated,
        ),
        (
            "posthog_rs: decoding the body, and `FlagCache::update`",
            theirs,
        ),
    ] {
        table.row([name.to_owned(), figure.to_string()]);
    }
    section.tables.push(table);
}
