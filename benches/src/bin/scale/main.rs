//! Fleets of real processes: what they cost the API and Redis, how soon they see a change, how soon a dead leader is
//! replaced, and how all that grows to thousands of connections. All of it on this machine.
//!
//! ```text
//! cargo run --release -p flagcache-benches --features redis --bin scale            # all scenarios
//! cargo run --release -p flagcache-benches --features redis --bin scale -- growth  # one of them
//! ```
//!
//! | module | what lives there |
//! |---|---|
//! | `cold_start`, `changes`, `failover`, `growth` | the scenarios |
//! | `crew`, `protocol`, `stage` | worker processes, what passes between them and us, and what they work with |
//! | `worker`, `watched`, `peer` | the other end: many pollers in one process, or PostHog's own SDK |
//! | `server`, `host` | what Redis and the kernel count |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a bench fails by panicking"
)]

mod changes;
mod cold_start;
mod crew;
mod failover;
mod growth;
mod host;
mod peer;
mod protocol;
mod server;
mod stage;
mod watched;
mod worker;

use flagcache_benches::Section;

type Scenario = fn() -> Section;

const SCENARIOS: [(&str, Scenario); 4] = [
    ("cold_start", cold_start::run),
    ("changes", changes::run),
    ("failover", failover::run),
    ("growth", growth::run),
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
