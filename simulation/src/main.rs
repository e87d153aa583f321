//! Simulates fleets of real pollers on a paused clock, on a modelled Redis and a modelled API.
//!
//! ```text
//! scripts/simulate            # all fleets, and the tables
//! scripts/simulate --quick    # a small one
//! ```
//!
//! | module | contents |
//! |---|---|
//! | `costs` | what each step takes, and the measurement that says so |
//! | `redis`, `link`, `provider` | the server, a worker's connection to it, and the store on it |
//! | `api` | PostHog's API |
//! | `world`, `fleet` | what the workers of a run share, and the pollers |
//! | `story` | what happens when: changes, deaths, partitions, outages |
//! | `checks` | the invariants, and how old flags were |
//! | `plant` | mistakes that the tests plant in the model |
//! | `run`, `report` | a run, and the tables |

mod api;
mod checks;
mod costs;
mod fleet;
mod link;
mod plant;
mod provider;
mod redis;
mod report;
mod run;
mod story;
#[cfg(test)]
mod tests;
mod world;

use std::io;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use run::Figures;
use world::Plan;

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
        faults: true,
        webhook: false,
        seed: SEED,
        plant: None,
    }
}

fn main() -> io::Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let quick = args.iter().any(|arg| arg == "--quick");
    let workers: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    println!("seed {SEED}\n");
    let mut plans = Vec::new();
    let sizes: &[(usize, Duration, usize)] = match (quick, workers.is_empty()) {
        (true, _) => &[(200, HOUR, 20)],
        _ => &[
            (1_000, HOUR.saturating_mul(24), 100),
            (10_000, HOUR.saturating_mul(3), 40),
            (100_000, Duration::from_secs(1_800), 16),
        ],
    };
    for &(size, span, changes) in sizes {
        if !workers.is_empty() && !workers.contains(&size) {
            continue;
        }
        for patches in [false, true] {
            for copy_bytes in [SMALL_COPY, LARGE_COPY] {
                plans.push(Plan {
                    patches,
                    copy_bytes,
                    ..plan(size, span, changes)
                });
            }
        }
    }
    let figures = all(plans)?;
    report::cost(&figures);
    report::age(&figures);
    report::violations(&figures);
    let violations: u64 = figures.iter().map(Figures::count).sum();
    Ok(if violations == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs the plans, two at a time, each on a thread of its own.
fn all(plans: Vec<Plan>) -> io::Result<Vec<Figures>> {
    let mut figures = Vec::new();
    for pair in plans.chunks(2) {
        let runs: Vec<_> = pair
            .iter()
            .cloned()
            .map(|plan| thread::spawn(move || timed(plan)))
            .collect();
        for run in runs {
            let result = run.join().map_err(|_| io::Error::other("a run panicked"))?;
            figures.push(result?);
        }
    }
    Ok(figures)
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
