//! What fleets of PostHog's Python and Node SDKs do in the situations of the rules, measured beside what ours does.

mod copy;
mod leader;
mod propagation;
mod results;
mod sdk_fleet;
mod server;

use std::env;

use results::{Figure, Table};

use crate::redis::peer::Sdk;

/// Ours first.
const KINDS: [Option<Sdk>; 3] = [None, Some(Sdk::Python), Some(Sdk::Node)];

/// Measures a fleet of one kind. A figure for each row.
type Measure = fn(Option<Sdk>) -> Vec<Figure>;

/// A situation, what is measured in it (a row of the table each), and how.
const SITUATIONS: [(&str, &[&str], Measure); 11] = [
    (
        "cold-start",
        &["Cold start: requests (units)"],
        propagation::cold_start,
    ),
    (
        "change",
        &["A change of the flags until the last worker has it: median, worst of 9"],
        propagation::change,
    ),
    (
        "tick",
        &[
            "Nothing changed, 10 000 flags: bytes from Redis per follower and tick",
            "Nothing changed, 10 000 flags: processor time per follower and tick",
        ],
        propagation::unchanged_tick,
    ),
    (
        "killed-leader",
        &[
            "Leader killed right after it renewed its lock, of 1 s here and 2 s there: next leader, worst of 3",
            "Leader killed: the next leader's first request",
        ],
        leader::killed,
    ),
    (
        "killed-leader-at-defaults",
        &[
            "Leader killed, all at the defaults (polls of 30 s, lock of 10 s here and 60 s there): next leader",
        ],
        leader::killed_at_defaults,
    ),
    (
        "late-leader",
        &["A late leader's old answer: workers on the old flags 5 polls later"],
        leader::late,
    ),
    (
        "roll-back",
        &["A roll-back over a change of leader: workers not rolled back 5 polls later"],
        leader::roll_back,
    ),
    (
        "damage",
        &[
            "A set without flags, `{\"flags\":[]}`, `{\"flags\":[1,2]}` or `[1,2]` put into the key: workers of 8 that lose \
           their flags",
        ],
        copy::damaged,
    ),
    (
        "lost-copy",
        &[
            "The copy evicted, nothing changed: it is back",
            "Redis restarted empty, nothing changed: the copy is back",
        ],
        copy::lost,
    ),
    (
        "down",
        &["Redis down for 5 s: requests (units) until 5 s after"],
        server::down,
    ),
    (
        "hanging",
        &[
            "Redis hangs: a new worker has its flags",
            "Redis hangs: a worker has ended after SIGTERM",
        ],
        server::hangs,
    ),
];

/// `FLAGCACHE_SITUATIONS="down hanging"` measures those alone.
#[test]
#[ignore = "takes minutes and measures other SDKs; scripts/compare-sdks runs it"]
fn compare() {
    let wanted = env::var("FLAGCACHE_SITUATIONS").unwrap_or_default();
    let is_wanted =
        |name: &str| wanted.is_empty() || wanted.split(' ').any(|wanted| wanted == name);
    let mut table = Table::default();
    for (name, rows, measure) in SITUATIONS.into_iter().filter(|(name, ..)| is_wanted(name)) {
        let columns = KINDS.map(|sdk| {
            let figures = measure(sdk);
            eprintln!("{name}: {}: {figures:?}", sdk_fleet::name(sdk));
            figures
        });
        table.add(rows, columns);
    }
    println!("\n{table}");
    let not_better = table.not_ahead();
    assert!(
        not_better.is_empty(),
        "ours is not ahead in: {not_better:#?}"
    );
}
