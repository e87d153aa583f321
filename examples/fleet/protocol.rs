//! The protocol between a worker process and its parent: reports, one JSON object a line, on the worker's standard output, and
//! orders, one word a line, on its standard input.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flagcache::PollerStatus;
use serde::{Deserialize, Serialize};

/// A time that two processes of one machine can compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct UnixMicros(u64);

impl UnixMicros {
    pub(crate) fn now() -> Self {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX))
    }

    /// Zero if `earlier` is the later one.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for UnixMicros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An order to a worker, which ends with its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Load now, not only at the next tick.
    Load,
}

impl Order {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
        }
    }

    pub(crate) fn parse(line: &str) -> Option<Self> {
        (line.trim_end() == Self::Load.as_str()).then_some(Self::Load)
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
    /// New definitions were installed. The first ones make the worker ready.
    Changed { version: u64, flags: Option<usize> },
    /// A decision that differs from the last one.
    Decided { leads: bool },
    /// A request was answered: `status` is 200 or 304, or none if it failed, and then `failure` is the reason.
    Fetched {
        status: Option<u16>,
        failure: Option<String>,
    },
    /// The new definitions are installed here and are published now.
    Publishing,
    /// A load has ended.
    Loaded(Load),
    /// A request handler found fewer flags than the one before it.
    Lost { before: usize, now: Option<usize> },
    /// The error of this worker's loads has changed.
    ErrorChanged { error: String },
    /// The poller was shut down. The last line of a worker that was not killed.
    Stopped {
        evaluations: u64,
        error: Option<String>,
    },
    /// Not sent: the worker's output has ended.
    #[serde(skip)]
    Gone,
}

/// A worker at the end of a load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Load {
    /// Its number.
    pub(crate) loads: u64,
    pub(crate) role: String,
    pub(crate) state: String,
    /// Where the definitions came from.
    pub(crate) origin: Option<String>,
    pub(crate) version: u64,
    pub(crate) flags: Option<usize>,
    /// How long ago the API had confirmed them.
    pub(crate) confirmed_ms: Option<u64>,
    /// Whether it failed.
    pub(crate) failed: bool,
}

impl From<&PollerStatus> for Load {
    fn from(status: &PollerStatus) -> Self {
        Self {
            loads: status.counters.loads,
            role: status.role.as_str().to_owned(),
            state: status.state.as_str().to_owned(),
            origin: status.origin.map(|origin| origin.as_str().to_owned()),
            version: status.version,
            flags: status.flags,
            confirmed_ms: status
                .confirmed_ago
                .map(|ago| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)),
            failed: status.last_error.is_some(),
        }
    }
}
