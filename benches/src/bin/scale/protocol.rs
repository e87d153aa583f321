//! The protocol with a worker process: orders on its standard input, reports on its standard output, one JSON object a line.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// The settings of a worker process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) kind: Kind,
    /// The URL of the API.
    pub(crate) api: String,
    /// The number of pollers, each with its own connection, and the number of the first one.
    pub(crate) pollers: usize,
    pub(crate) first: usize,
    pub(crate) interval: Duration,
    /// From the start of one poller to the next.
    pub(crate) pause: Duration,
    /// Whether the followers decode each copy whole, as if they held none.
    pub(crate) decodes_whole: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Ours, on the store at this location.
    Sharing {
        location: String,
        lock_ttl: Duration,
    },
    /// PostHog's own SDK, each for itself.
    Peer,
}

/// An order to a worker process.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// Load now, if the process has the leader.
    Refresh,
    /// Request a refresh of the fleet, and report it.
    RequestRefresh,
    /// Report the counts.
    Count,
    /// Shut down.
    Stop,
}

impl Order {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::RequestRefresh => "request_refresh",
            Self::Count => "count",
            Self::Stop => "stop",
        }
    }

    pub(crate) fn parse(line: &str) -> Self {
        match line {
            "refresh" => Self::Refresh,
            "request_refresh" => Self::RequestRefresh,
            "count" => Self::Count,
            // The end of the input too.
            _ => Self::Stop,
        }
    }
}

/// A report of a worker process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// A poller has new definitions.
    Has {
        poller: usize,
        etag: Option<String>,
        at: Moment,
    },
    /// The decision of a poller became true.
    Leads { poller: usize, at: Moment },
    /// The leader has new definitions and begins to store them.
    Publishes {
        poller: usize,
        etag: Option<String>,
        at: Moment,
    },
    /// A worker called `request_refresh()`, which took so long.
    Requested { at: Moment, took: Duration },
    /// All pollers together.
    Counts(Counts),
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) loads: u64,
    pub(crate) faults: u64,
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            loads: self.loads + other.loads,
            faults: self.faults + other.faults,
        }
    }
}

/// A moment that the processes of one machine can compare, in nanoseconds of its monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Moment(u64);

impl Moment {
    pub(crate) fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        Self(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
    }

    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}
