//! Simulates fleets of real pollers on a paused clock, on a modelled Redis and a modelled API.
//!
//! ```text
//! scripts/simulate            # all fleets, and the tables
//! scripts/simulate --quick    # a small one
//! ```
//!
//! | module | contents |
//! |---|---|
//! | `costs` | the time of each step, and the measurement that it comes from |
//! | `redis`, `link`, `provider` | the server, a worker's connection to it, and the store on it |
//! | `api`, `source` | PostHog's API, and a worker's access to it |
//! | `plan`, `world`, `fleet` | what is simulated, what the workers of a run share, and the pollers |
//! | `story` | what happens when: changes, deaths, partitions, outages |
//! | `checks` | the invariants, and the age of flags |
//! | `plant` | mistakes that the tests plant in the model |
//! | `run`, `report` | a run, and the tables |

mod api;
mod checks;
mod costs;
mod fleet;
mod link;
mod plan;
mod plant;
mod provider;
mod redis;
mod report;
mod run;
mod source;
mod story;
#[cfg(test)]
mod tests;
mod world;

use std::io;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use plan::Plan;
use run::Figures;

const SEED: u64 = 20;
const HOUR: Duration = Duration::from_secs(3_600);

/// Definitions of 50 and of 1 000 flags.
const SMALL_COPY: u64 = 40_000;
const LARGE_COPY: u64 = 770_000;

/// The plan that the others vary.
fn plan(workers: usize, span: Duration, changes: usize) -> Plan {
    Plan {
        workers,
        span,
        poll_interval: Duration::from_secs(30),
        jitter: Duration::ZERO,
        copy_bytes: SMALL_COPY,
        patches: false,
        starts: 1_000.0,
        speed: 1.0,
        changes,
        faults: 8,
        webhook: false,
        seed: SEED,
        plant: None,
    }
}

/// The same plan with whole copies, and with patches.
fn with_copies(plan: Plan) -> Vec<Plan> {
    vec![
        plan.clone(),
        Plan {
            patches: true,
            ..plan
        },
    ]
}

/// A day.
fn thousand() -> Vec<Plan> {
    with_copies(plan(1_000, HOUR * 24, 92))
}

/// An hour, with small definitions and with large ones.
fn ten_thousand() -> Vec<Plan> {
    let hour = plan(10_000, HOUR, 12);
    let large = Plan {
        copy_bytes: LARGE_COPY,
        ..hour.clone()
    };
    let mut plans = with_copies(hour);
    plans.push(large);
    plans
}

/// Two minutes, in which the definitions change once: a tick of a real poller takes about 20 µs here, and this fleet makes
/// twelve million in an hour. All at once, or with jitter; and at once on a server that would be fast enough.
fn hundred_thousand() -> Vec<Plan> {
    let at_once = Plan {
        faults: 0,
        starts: 3_000.0,
        ..plan(100_000, Duration::from_secs(90), 1)
    };
    let jitter = Duration::from_secs(30);
    let mut plans = with_copies(Plan {
        jitter,
        ..at_once.clone()
    });
    plans.extend(with_copies(at_once.clone()));
    plans.push(Plan {
        patches: true,
        speed: 4.0,
        ..at_once
    });
    plans
}

/// Ten minutes of the same fleet, in which a leader dies, workers are cut off and Redis fails.
fn hundred_thousand_with_faults() -> Vec<Plan> {
    let jitter = Duration::from_secs(30);
    let span = Duration::from_secs(600);
    with_copies(Plan {
        jitter,
        faults: 3,
        ..plan(100_000, span, 3)
    })
}

/// The fleets that were measured, as they were (BENCHMARKS.md, "Thousands of connections"), and the same with patches.
fn measured() -> Vec<Plan> {
    let as_measured = |workers| Plan {
        poll_interval: Duration::from_secs(10),
        starts: 400.0,
        faults: 0,
        ..plan(workers, Duration::from_secs(120), 5)
    };
    [100, 1_000, 5_000]
        .into_iter()
        .flat_map(|workers| with_copies(as_measured(workers)))
        .collect()
}

/// A month with a hundred changes: a poll interval of ten minutes with a webhook, and one of 30 s without.
fn months() -> Vec<Plan> {
    let month = Plan {
        faults: 0,
        starts: 10.0,
        ..plan(16, HOUR * 24 * 30, 100)
    };
    let rare = Plan {
        poll_interval: Duration::from_secs(600),
        webhook: true,
        ..month.clone()
    };
    vec![rare, month]
}

type Part = (&'static str, fn() -> Vec<Plan>);

fn main() -> io::Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let quick = || with_copies(plan(200, HOUR, 12));
    let parts: [Part; 7] = [
        ("--quick", quick),
        ("measured", measured),
        ("1000", thousand),
        ("10000", ten_thousand),
        ("100000", hundred_thousand),
        ("100000-faults", hundred_thousand_with_faults),
        ("months", months),
    ];
    if let Some(unknown) = args
        .iter()
        .find(|arg| !parts.iter().any(|(name, _)| name == arg))
    {
        let names = parts.map(|(name, _)| name).join(" | ");
        eprintln!("`{unknown}` is not a part; usage: simulate [{names}]…");
        return Ok(ExitCode::from(2));
    }
    let chosen = parts.into_iter().filter(|(name, _)| match args.is_empty() {
        true => *name != "--quick",
        false => args.iter().any(|arg| arg == name),
    });
    println!("seed {SEED}");
    let mut violations = 0;
    for (part, plans) in chosen {
        let figures = all(plans())?;
        println!("\n## {part}\n");
        report::tables(&figures);
        violations += figures.iter().map(Figures::count).sum::<u64>();
    }
    Ok(if violations == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs the plans, two at a time.
fn all(plans: Vec<Plan>) -> io::Result<Vec<Figures>> {
    let queue = Mutex::new(plans.into_iter().enumerate());
    let work = || -> io::Result<Vec<(usize, Figures)>> {
        let mut done = Vec::new();
        loop {
            let next = queue.lock().next();
            let Some((index, plan)) = next else {
                return Ok(done);
            };
            done.push((index, timed(plan)?));
        }
    };
    let mut figures = thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        let mut figures = Vec::new();
        for thread in threads {
            let done = thread
                .join()
                .map_err(|_| io::Error::other("a run panicked"))?;
            figures.extend(done?);
        }
        Ok::<_, io::Error>(figures)
    })?;
    figures.sort_by_key(|(index, _)| *index);
    Ok(figures.into_iter().map(|(_, figures)| figures).collect())
}

fn timed(plan: Plan) -> io::Result<Figures> {
    let begun = Instant::now();
    let figures = run::run(plan)?;
    eprintln!(
        "{} workers, {} simulated in {:.1} s",
        figures.plan.workers,
        report::duration(figures.simulated),
        begun.elapsed().as_secs_f64()
    );
    Ok(figures)
}
