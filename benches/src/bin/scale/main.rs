//! Fleets of real processes on this machine: their cost for the API and Redis, the delay of a change, the time until a dead
//! leader is replaced, and how these figures grow up to thousands of connections.
//!
//! ```text
//! cargo run --release -p flagcache-benches --features redis --bin scale            # all scenarios
//! cargo run --release -p flagcache-benches --features redis --bin scale -- growth  # one of them
//! ```
//!
//! | module | contents |
//! |---|---|
//! | `cold_start`, `changes`, `patches`, `change_now`, `failover`, `shared_faults`, `growth`, `redis_costs` | the scenarios |
//! | `workers`, `environment` | the worker processes, and the API and the store that they use |
//! | `protocol` | orders to a worker process, and its reports |
//! | `worker`, `reporting`, `peer` | inside a worker process: many pollers, or PostHog's own SDK |
//! | `python` | workers of PostHog's Python SDK |
//! | `server`, `host` | the counters of Redis and of the kernel |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench fails by panicking"
)]

mod change_now;
mod changes;
mod cold_start;
mod environment;
mod failover;
mod growth;
mod host;
mod patches;
mod peer;
mod protocol;
mod python;
mod redis_costs;
mod reporting;
mod server;
mod shared_faults;
mod worker;
mod workers;

use flagcache_benches::Section;

type Scenario = fn() -> Section;

const SCENARIOS: [(&str, Scenario); 8] = [
    ("cold_start", cold_start::run),
    ("changes", changes::run),
    ("patches", patches::run),
    ("change_now", change_now::run),
    ("failover", failover::run),
    ("shared_faults", shared_faults::run),
    ("growth", growth::run),
    ("redis_costs", redis_costs::run),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [part, spec] = args.as_slice()
        && part == "worker"
    {
        return worker::run(&serde_json::from_str(spec).expect("a worker's spec"));
    }
    for (name, run) in SCENARIOS {
        if args.is_empty() || args.iter().any(|arg| arg == name) {
            eprintln!("{name} …");
            run().finish(name);
        }
    }
}
