//! What a worker process tells the one that started it: one JSON object a line, on its standard output.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A moment that two processes of one machine can compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct UnixMicros(u64);

impl UnixMicros {
    pub(crate) fn now() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
    }

    /// Zero if `earlier` is the later one.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) at: UnixMicros,
    #[serde(flatten)]
    pub(crate) event: Event,
}

/// What happened in a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// Other definitions are in force. The first of these means that the worker is ready.
    Changed { version: u64, flags: Option<usize> },
    /// A decision that differs from the last one.
    Decided { leads: bool },
    /// A request was answered: `status` is 200 or 304, or none if it failed, and then `failure` says why.
    Fetched { status: Option<u16>, failure: Option<String> },
    /// The new definitions are in force here and go to the store now.
    Publishing,
    /// A load has ended, the `loads`th.
    Loaded { loads: u64 },
    /// A request handler found fewer flags than the one before it.
    Lost { before: usize, now: Option<usize> },
    /// What goes wrong in this worker's loads now differs from what did before.
    Troubled { error: String },
    /// The poller was shut down. The last line of a worker that was not killed.
    Stopped { evaluations: u64, error: Option<String> },
    /// Not sent: the worker's output has ended.
    #[serde(skip)]
    Gone,
}
