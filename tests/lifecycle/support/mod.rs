//! What the tests of all sections stand on.

mod logs;
mod rig;
mod sets;

pub(crate) use logs::Logs;
pub(crate) use rig::{Rig, Worker};
pub(crate) use sets::{body, foreign, set, stored};

use std::time::Duration;

/// One poll interval of a [`Rig`], and more than its jitter adds.
pub(crate) const TICK: Duration = Duration::from_secs(33);

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn millis(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
