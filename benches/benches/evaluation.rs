//! What one evaluation costs, however many flags and cohorts the project has, beside PostHog's own SDK; under 1 to N
//! threads while a writer changes the definitions; and what a change of one flag costs.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a bench fails by panicking"
)]

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flagcache_benches::{Figure, Section, Table, bodies, criterion, is_quick, measure};
use flagcache_evaluation::{FlagSubject, LocalEvaluation, TestFlags};
use posthog_rs::{FlagCache, LocalEvaluator};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value, json};

const SIZES: [(usize, usize); 4] = [(50, 0), (200, 100), (1_000, 500), (1_000, 2_000)];
const THREADS: [usize; 4] = [1, 2, 4, 8];
const SWAPS: Duration = Duration::from_millis(10);
/// Flags of the definitions in which one changes.
const MANY: usize = 10_000;

/// The first flag has no cohort. Each of the others that has one has one of its own, of five properties.
fn definitions(flags: usize, cohorts: usize, percent: u8) -> Value {
    let flag = |index: usize| {
        let mut properties =
            vec![json!({ "key": "plan", "type": "person", "operator": "exact", "value": "pro" })];
        if index > 0 && cohorts > 0 {
            properties.push(json!({ "key": "id", "type": "cohort", "value": index % cohorts }));
        }
        let percent = if index == 0 { percent } else { 100 };
        let groups = json!([{ "properties": properties, "rollout_percentage": percent }]);
        json!({ "id": index, "key": format!("flag-{index}"), "active": true, "filters": { "groups": groups } })
    };
    let leaf = |index: usize| json!({ "key": "age", "type": "person", "operator": "gt", "value": index % 18 });
    let cohort = |id: usize| {
        let values: Vec<Value> = (0..5).map(|at| leaf(id + at)).collect();
        (
            id.to_string(),
            json!({ "type": "AND", "values": [{ "type": "AND", "values": values }] }),
        )
    };
    json!({
        "flags": (0..flags).map(flag).collect::<Vec<_>>(),
        "cohorts": (0..cohorts).map(cohort).collect::<Map<_, _>>(),
    })
}

fn subject() -> FlagSubject {
    FlagSubject::new("ada")
        .property("plan", "pro")
        .property("age", 30)
}

fn main() {
    let mut section = Section::new("Evaluating a flag");
    section.say(
        "One flag for one subject, with a property and a percentage; with a cohort of five properties besides. The peer is \
         posthog_rs's `LocalEvaluator::evaluate_flag`, which clones all cohorts of the project at each call.",
    );
    one_evaluation(&mut section);
    under_threads(&mut section);
    one_change(&mut section);
    section.finish("evaluation");
}

fn one_evaluation(section: &mut Section) {
    let mut criterion = criterion();
    let subject = subject();
    let none = HashMap::new();
    let columns = [
        "flags, cohorts",
        "without a cohort",
        "with one",
        "posthog_rs, without",
        "times faster",
    ];
    let mut table = Table::new("one evaluation", &columns);
    let (mut plain, mut member, mut at_500) = (Vec::new(), Vec::new(), f64::NAN);
    for (flags, cohorts) in SIZES {
        let body = definitions(flags, cohorts, 50).to_string();
        let ours = TestFlags::from_json(body.clone()).unwrap();
        let cache = FlagCache::new();
        cache.update(bodies::decoded_by_the_peer(body.as_bytes()));
        let peer = LocalEvaluator::new(cache);
        let mut run = |name: &str, run: &dyn Fn()| -> Option<Figure> {
            measure(
                &mut criterion,
                &format!("evaluation/{flags}, {cohorts}/{name}"),
                |times| (0..times).for_each(|_| run()),
            )
        };
        let without = run("without a cohort", &|| {
            drop(black_box(ours.evaluate("flag-0", &subject)))
        });
        let with = run("with a cohort", &|| {
            drop(black_box(ours.evaluate("flag-1", &subject)))
        });
        let theirs = run("posthog_rs", &|| {
            drop(black_box(peer.evaluate_flag(
                "flag-0",
                "ada",
                subject.properties(),
                &none,
                &HashMap::new(),
            )));
        });
        let (Some(without), Some(with), Some(theirs)) = (without, with, theirs) else {
            continue;
        };
        let faster = theirs.micros() / without.micros();
        if cohorts == 500 {
            at_500 = faster;
        }
        let size = format!("{flags}, {cohorts}");
        table.row([
            size,
            without.to_string(),
            with.to_string(),
            theirs.to_string(),
            format!("{faster:.0} ×"),
        ]);
        plain.push(without.micros());
        if cohorts > 0 {
            member.push(with.micros());
        }
    }
    section.tables.push(table);
    let most = |micros: &[f64]| micros.iter().copied().fold(0.0, f64::max);
    let least = |micros: &[f64]| micros.iter().copied().fold(f64::INFINITY, f64::min);
    section.judge(
        "a flag without cohorts",
        "≤ 2 µs",
        format!("{:.2} µs", most(&plain)),
        most(&plain) <= 2.0,
    );
    section.judge(
        "a flag with a cohort",
        "≤ 10 µs",
        format!("{:.2} µs", most(&member)),
        most(&member) <= 10.0,
    );
    let ratio = most(&plain) / least(&plain);
    section.judge(
        "from 0 to 2 000 cohorts",
        "≤ 1.5 ×",
        format!("{ratio:.2} ×"),
        ratio <= 1.5,
    );
    section.judge(
        "beside posthog_rs at 500 cohorts",
        "≥ 1 000 ×",
        format!("{at_500:.0} ×"),
        at_500 >= 1_000.0,
    );
}

/// While a writer changes the definitions all the time.
fn under_threads(section: &mut Section) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let bodies = [25, 75].map(|percent| Bytes::from(definitions(1_000, 500, percent).to_string()));
    let poller = runtime.block_on(bodies::poller(bodies));
    let flags = LocalEvaluation::attach(&poller);
    runtime
        .block_on(flags.wait_ready(Duration::from_secs(60)))
        .unwrap();
    let columns = ["threads", "an evaluation", "all threads", "of one thread"];
    let mut table = Table::new(
        "with a cohort, while a writer changes the definitions",
        &columns,
    );
    let mut medians: Vec<f64> = Vec::new();
    for threads in THREADS {
        let mut runs: Vec<(f64, f64)> = (0..if is_quick() { 3 } else { 9 })
            .map(|_| {
                run(threads, &flags, &|| {
                    runtime.block_on(poller.refresh()).unwrap()
                })
            })
            .collect();
        runs.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (nanos, rate) = runs[runs.len() / 2];
        medians.push(nanos);
        let cells = [
            threads.to_string(),
            format!("{nanos:.0} ns"),
            format!("{:.2} million/s", rate / 1e6),
            format!("{:.2} ×", nanos / medians[0]),
        ];
        table.row(cells);
    }
    section.tables.push(table);
    let most = medians
        .iter()
        .map(|nanos| nanos / medians[0])
        .fold(0.0, f64::max);
    section.judge(
        "flat from 1 to 8 threads",
        "≤ 1.5 × of one thread",
        format!("{most:.2} ×"),
        most <= 1.5,
    );
}

/// The processor time of an evaluation in nanoseconds, and the evaluations of all threads in a second.
fn run(threads: usize, flags: &LocalEvaluation, swap: &dyn Fn()) -> (f64, f64) {
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
                    for _ in 0..100 {
                        drop(black_box(flags.evaluate("flag-1", &subject)));
                    }
                    evaluations += 100;
                }
                nanos.fetch_add(
                    (processor_time() - begun).as_nanos() as u64,
                    Ordering::Relaxed,
                );
                count.fetch_add(evaluations, Ordering::Relaxed);
            });
        }
        start.wait();
        let begun = Instant::now();
        while begun.elapsed() < span {
            swap();
            thread::sleep(SWAPS);
        }
        stop.store(true, Ordering::Relaxed);
        begun.elapsed()
    });
    let count = count.into_inner() as f64;
    (
        nanos.into_inner() as f64 / count,
        count / took.as_secs_f64(),
    )
}

/// Of this thread.
fn processor_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// Until the change of one flag of many is evaluated, from the poller's load on.
fn one_change(section: &mut Section) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let bodies = [25, 75].map(|percent| Bytes::from(definitions(MANY, 500, percent).to_string()));
    let poller = runtime.block_on(bodies::poller(bodies));
    let flags = LocalEvaluation::attach(&poller);
    runtime
        .block_on(flags.wait_ready(Duration::from_secs(60)))
        .unwrap();
    let figure = measure(&mut criterion(), "evaluation/one change", |times| {
        for _ in 0..times {
            runtime.block_on(async {
                poller.refresh().await.unwrap();
                flags.synced().await;
            });
        }
    });
    if let Some(figure) = figure {
        let mut table = Table::new(
            "a change of one flag, load and all",
            &["flags", "until it is evaluated"],
        );
        table.row([MANY.to_string(), figure.to_string()]);
        section.tables.push(table);
    }
}
