//! The figures of both fleets, side by side.

use std::fmt::Write;

use crate::figures::{Outcome, Shared, Unshared};

const LEGEND: &str = "
A tick is one load of each worker, once in a poll interval. A unit is what PostHog bills: 10 for a request answered
with definitions (200), 1 for one answered that nothing has changed (304).
";

pub(crate) fn render(outcome: &Outcome) -> String {
    let (unshared, shared) = (&outcome.unshared, &outcome.shared);
    let mut table = String::new();
    let workers = outcome.workers;
    row(&mut table, &format!("{workers} workers"), "each for itself", "one shared copy");
    row(&mut table, &"-".repeat(46), &"-".repeat(16), &"-".repeat(16));
    for (name, unshared, shared) in rows(unshared, shared) {
        row(&mut table, name, &unshared.unwrap_or_else(|| "-".into()), &shared.unwrap_or_else(|| "-".into()));
    }
    table.push_str(LEGEND);
    table
}

type Row = (&'static str, Option<String>, Option<String>);

fn rows(unshared: &Unshared, shared: &Shared) -> Vec<Row> {
    let (cold, cold_shared) = (unshared.cold_start, shared.cold_start);
    let (steady, steady_shared) = (unshared.steady, shared.steady);
    let per_tick = |requests: u64, ticks: u64| format!("{:.2}", requests as f64 / ticks.max(1) as f64);
    vec![
        ("cold start: requests", cold.map(|it| it.requests.to_string()), cold_shared.map(|it| it.requests.to_string())),
        ("cold start: units billed", cold.map(|it| it.units.to_string()), cold_shared.map(|it| it.units.to_string())),
        ("cold start: until all workers had flags", cold.map(|it| s(it.seconds)), cold_shared.map(|it| s(it.seconds))),
        (
            "nothing changes: requests a tick",
            steady.map(|it| per_tick(it.requests, it.ticks)),
            steady_shared.map(|it| per_tick(it.requests, it.ticks)),
        ),
        (
            "nothing changes: units a tick",
            steady.map(|it| per_tick(it.units, it.ticks)),
            steady_shared.map(|it| per_tick(it.units, it.ticks)),
        ),
        (
            "a flag changes: until the last worker has it",
            unshared.change.map(|it| s(it.api_to_last_ms / 1000.0)),
            shared.change.map(|it| s(it.api_to_last_ms / 1000.0)),
        ),
        (
            "  of it, from the leader's publish on",
            None,
            shared.change.and_then(|it| it.publish_to_last_ms).map(|it| s(it / 1000.0)),
        ),
        ("the leader is killed: until another leads", None, shared.failover.map(|it| s(it.seconds))),
        (
            "  its first request is answered",
            None,
            shared.failover.map(|it| it.first_status.map_or_else(|| "not".to_owned(), |status| status.to_string())),
        ),
        ("the copy is damaged: until it is repaired", None, shared.repair.map(|it| s(it.seconds))),
        ("  flags lost by workers", None, shared.repair.map(|it| it.flags_lost.to_string())),
        ("shutdown of all workers", unshared.shutdown.map(|it| s(it.seconds)), shared.shutdown.map(|it| s(it.seconds))),
    ]
}

fn row(table: &mut String, name: &str, unshared: &str, shared: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(table, "{name:<46}  {unshared:>16}  {shared:>16}");
}

fn s(seconds: f64) -> String {
    format!("{seconds:.3} s")
}
