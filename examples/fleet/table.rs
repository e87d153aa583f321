//! The figures of both fleets, side by side.

use std::fmt::Write;

use crate::figures::{Failover, Outcome, Shared, UnchangedTick, Unshared};
use crate::ticks::size;

const LEGEND: &str = "
A tick is one load of each worker, once in a poll interval, counted at one of them:
the intervals vary by a tenth, and so does what the others send. A unit is what
PostHog bills: 10 for a request answered with definitions (200), 1 for one
answered that nothing has changed (304).
";
const TICK_LEGEND: &str = "\
An unchanged tick is a follower's, by the counters of the Redis server: bytes in
both directions, messages received, commands run with those inside the script.
";

pub(crate) fn render(outcome: &Outcome) -> String {
    let (unshared, shared) = (&outcome.unshared, &outcome.shared);
    let mut table = String::new();
    let workers = outcome.workers;
    row(
        &mut table,
        &format!("{workers} workers"),
        "each for itself",
        "one shared copy",
    );
    row(
        &mut table,
        &"-".repeat(44),
        &"-".repeat(15),
        &"-".repeat(15),
    );
    for (name, unshared, shared) in rows(unshared, shared) {
        row(
            &mut table,
            &name,
            &unshared.unwrap_or_else(|| "-".into()),
            &shared.unwrap_or_else(|| "-".into()),
        );
    }
    table.push_str(LEGEND);
    if !shared.unchanged_tick.is_empty() {
        table.push_str(TICK_LEGEND);
    }
    table
}

type Row = (String, Option<String>, Option<String>);

fn rows(unshared: &Unshared, shared: &Shared) -> Vec<Row> {
    let (cold, cold_shared) = (unshared.cold_start, shared.cold_start);
    let (steady, steady_shared) = (unshared.steady, shared.steady);
    let per_tick = |count: u64, ticks: u64| format!("{:.2}", count as f64 / ticks.max(1) as f64);
    let first_status = |it: Failover| {
        it.first_status
            .map_or_else(|| "not".to_owned(), |status| status.to_string())
    };
    let both = |name: &str, unshared, shared| (name.to_owned(), unshared, shared);
    let only = |name: &str, shared| (name.to_owned(), None, shared);

    let mut rows = vec![
        both(
            "cold start: requests",
            cold.map(|it| it.requests.to_string()),
            cold_shared.map(|it| it.requests.to_string()),
        ),
        both(
            "cold start: units billed",
            cold.map(|it| it.units.to_string()),
            cold_shared.map(|it| it.units.to_string()),
        ),
        both(
            "cold start: until all workers had flags",
            cold.map(|it| s(it.seconds)),
            cold_shared.map(|it| s(it.seconds)),
        ),
        both(
            "nothing changes: requests a tick",
            steady.map(|it| per_tick(it.requests, it.ticks)),
            steady_shared.map(|it| per_tick(it.requests, it.ticks)),
        ),
        both(
            "nothing changes: units a tick",
            steady.map(|it| per_tick(it.units, it.ticks)),
            steady_shared.map(|it| per_tick(it.units, it.ticks)),
        ),
        both(
            "a flag changes: until the last worker has it",
            unshared.change.map(|it| s(it.api_to_last_ms / 1000.0)),
            shared.change.map(|it| s(it.api_to_last_ms / 1000.0)),
        ),
        only(
            "  of it, from the leader's publish on",
            shared
                .change
                .and_then(|it| it.publish_to_last_ms)
                .map(|it| s(it / 1000.0)),
        ),
    ];
    if let Some(changes) = shared.changes {
        rows.push(only(
            &format!("  the same in {} changes: the median", changes.count),
            Some(s(changes.median_ms / 1000.0)),
        ));
        rows.push(only(
            "  the 99th percentile",
            Some(s(changes.p99_ms / 1000.0)),
        ));
    }
    rows.extend([
        only(
            "the leader is killed: until another leads",
            shared.failover.map(|it| s(it.seconds)),
        ),
        only(
            "  its first request is answered",
            shared.failover.map(first_status),
        ),
        only(
            "the leader shuts down: until another leads",
            shared.handover.map(|it| s(it.seconds)),
        ),
        only(
            "the copy is damaged: until it is repaired",
            shared.repair.map(|it| s(it.seconds)),
        ),
        only(
            "  flags lost by workers",
            shared.repair.map(|it| it.flags_lost.to_string()),
        ),
        both(
            "shutdown of all workers",
            unshared.shutdown.map(|it| s(it.seconds)),
            shared.shutdown.map(|it| s(it.seconds)),
        ),
    ]);
    for UnchangedTick {
        definitions_bytes,
        bytes,
        messages,
        commands,
        ..
    } in &shared.unchanged_tick
    {
        let definitions = size(*definitions_bytes);
        rows.push(only(
            &format!("an unchanged tick, {definitions}: bytes"),
            Some(format!("{bytes:.0}")),
        ));
        rows.push(only(
            "  messages; commands",
            Some(format!("{messages:.2}; {commands:.2}")),
        ));
    }
    rows
}

fn row(table: &mut String, name: &str, unshared: &str, shared: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(table, "{name:<44}  {unshared:>15}  {shared:>15}");
}

fn s(seconds: f64) -> String {
    format!("{seconds:.3} s")
}
