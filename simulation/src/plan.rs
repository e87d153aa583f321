//! [`Plan`]: one run.

use std::time::Duration;

use crate::plant::Plant;

/// One run: the fleet, how long, and what happens to it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) workers: usize,
    /// From the start of the last worker to the end.
    pub(crate) span: Duration,
    pub(crate) poll_interval: Duration,
    pub(crate) jitter: Duration,
    /// The stored copy's length.
    pub(crate) copy_bytes: u64,
    pub(crate) patches: bool,
    /// How many workers start in a second.
    pub(crate) starts: f64,
    /// How many times as fast as the measured Redis the modelled one is.
    pub(crate) speed: f64,
    /// How often the definitions change away from any fault. Each fault has changes of its own.
    pub(crate) changes: usize,
    /// How often leaders die, workers are cut off and Redis fails; at most eight times.
    pub(crate) faults: usize,
    /// Whether a webhook makes a worker request a refresh after each change.
    pub(crate) webhook: bool,
    pub(crate) seed: u64,
    pub(crate) plant: Option<Plant>,
}
