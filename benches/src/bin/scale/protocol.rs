//! What passes between us and a worker process: orders one way, a JSON object a line the other.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What a worker process is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) kind: Kind,
    /// Where the API is.
    pub(crate) api: String,
    /// How many pollers it runs, each with a connection of its own, and the number of the first.
    pub(crate) pollers: usize,
    pub(crate) first: usize,
    pub(crate) interval: Duration,
    /// From the start of one poller to the next.
    pub(crate) pause: Duration,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Ours, on the store at this place.
    Sharing { place: String, lock_ttl: Duration },
    /// PostHog's own SDK, each for itself.
    Peer,
}

/// What a worker process is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// Its leader, if it has one, is to load now.
    Refresh,
    /// It is to tell its counts.
    Count,
    /// It is to shut down.
    Stop,
}

impl Order {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Refresh => "refresh",
            Self::Count => "count",
            Self::Stop => "stop",
        }
    }

    pub(crate) fn parse(line: &str) -> Self {
        match line {
            "refresh" => Self::Refresh,
            "count" => Self::Count,
            // The end of the input says so too.
            _ => Self::Stop,
        }
    }
}

/// What a worker process tells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Told {
    /// A poller has another set.
    Has {
        poller: usize,
        etag: Option<String>,
        at: Moment,
    },
    /// A poller has been told to fetch, and had not been before.
    Leads { poller: usize, at: Moment },
    /// The leader has a new set and begins to store it.
    Publishes {
        poller: usize,
        etag: Option<String>,
        at: Moment,
    },
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
