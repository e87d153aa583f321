//! What was measured, in the form in which `--json` prints it.

use std::time::Duration;

use serde::Serialize;

use crate::claims::Claim;

/// The last line of standard output.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    /// The story ran to its end and every claim held.
    pub(crate) ok: bool,
    pub(crate) workers: usize,
    pub(crate) poll_interval_seconds: f64,
    pub(crate) unshared: Unshared,
    pub(crate) shared: Shared,
    pub(crate) claims: Vec<Claim>,
    /// Why the story ended early, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// Workers that each poll the API.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Unshared {
    pub(crate) cold_start: Option<ColdStart>,
    pub(crate) steady: Option<Steady>,
    pub(crate) change: Option<Change>,
    pub(crate) shutdown: Option<Shutdown>,
}

/// Workers that share one copy.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Shared {
    pub(crate) cold_start: Option<ColdStart>,
    pub(crate) steady: Option<Steady>,
    pub(crate) change: Option<Change>,
    pub(crate) changes: Option<Changes>,
    pub(crate) failover: Option<Failover>,
    pub(crate) replacement: Option<Replacement>,
    pub(crate) handover: Option<Failover>,
    pub(crate) repair: Option<Repair>,
    /// One for each size of definitions; none of a store that is on no server.
    pub(crate) unchanged_tick: Vec<UnchangedTick>,
    pub(crate) shutdown: Option<Shutdown>,
}

/// From the start of the processes until all had flags.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ColdStart {
    pub(crate) requests: u64,
    pub(crate) units: u64,
    pub(crate) seconds: f64,
}

/// A time in which nothing changed.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Steady {
    /// Loads of the leader; without one, of the first worker.
    pub(crate) ticks: u64,
    /// From one of its loads to another.
    pub(crate) seconds: f64,
    pub(crate) requests: u64,
    pub(crate) units: u64,
}

/// One flag changed at the API.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Change {
    /// Until the last worker had it.
    pub(crate) api_to_last_ms: f64,
    /// From the moment when the leader had it and began to store it, until the last worker had it.
    pub(crate) publish_to_last_ms: Option<f64>,
}

/// Many flags changed, one after another: from the moment when the leader began to store one, until the last of the other
/// workers had it. The middle, the 99th in a hundred, the longest.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Changes {
    pub(crate) count: u32,
    pub(crate) median_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

/// A load of a follower in which nothing had changed, by the server's own counters: all that it counted while followers
/// loaded and nothing else ran, divided by their loads.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct UnchangedTick {
    /// What the fleet shared.
    pub(crate) definitions_bytes: usize,
    /// So many were counted.
    pub(crate) loads: u64,
    /// In both directions.
    pub(crate) bytes: f64,
    /// That the server received.
    pub(crate) messages: f64,
    pub(crate) scripts: f64,
    /// The scripts, and the commands that they run inside the server.
    pub(crate) commands: f64,
}

/// The leader was killed, or asked to end.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Failover {
    /// Until another worker led.
    pub(crate) seconds: f64,
    /// The status of its first answer; none if it failed.
    pub(crate) first_status: Option<u16>,
}

/// A process was started to replace the killed one.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Replacement {
    /// Its requests before it had flags.
    pub(crate) requests: u64,
    /// Until it had flags.
    pub(crate) seconds: f64,
}

/// The copy was damaged.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Repair {
    /// Until the copy was repaired, the longer of the two.
    pub(crate) seconds: f64,
    /// After garbage.
    pub(crate) garbage_seconds: f64,
    /// After a valid set without flags.
    pub(crate) empty_seconds: f64,
    /// The requests of all workers meanwhile.
    pub(crate) requests: u64,
    /// How often, in the whole story, a worker had fewer flags than before.
    pub(crate) flags_lost: u64,
}

/// SIGTERM to all workers at once.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Shutdown {
    /// Until the last process had ended.
    pub(crate) seconds: f64,
}

/// To a tenth of a millisecond.
pub(crate) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10_000.0
}

/// To a tenth of a millisecond.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}
