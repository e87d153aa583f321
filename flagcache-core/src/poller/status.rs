//! [`PollerStatus`]: the state and counters of a poller at one moment.

use std::fmt;
use std::time::Duration;

use crate::{DefinitionsOrigin, FetchErrorKind, LoadError, Role};

/// The state of the definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PollerState {
    /// Not loaded yet.
    Starting,
    /// Current, as far as this worker can know.
    Ready,
    /// Served, but not confirmed for `max_staleness`, or read from the store because the API was unreachable.
    Stale,
    /// The API refuses the keys (401, 403). Earlier definitions are served, unless the policy is to clear.
    Unauthorized,
    /// The project's quota is used up (402), by this worker's own request or as the leader reported it.
    QuotaLimited,
    /// The poller was shut down. Its definitions remain readable.
    Stopped,
}

impl PollerState {
    /// The stable, lower-case name used in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Stale => "stale",
            Self::Unauthorized => "unauthorized",
            Self::QuotaLimited => "quota_limited",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for PollerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The requests of this worker since it started, and what sharing has saved.
///
/// *Units* are what PostHog bills for a request for definitions: 10 for a 200, 1 for a 304.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PollerCounters {
    /// Loads that ended.
    pub loads: u64,
    /// Requests sent.
    pub requests: u64,
    /// Requests answered 200, usable or not.
    pub full_responses: u64,
    /// Requests answered 304.
    pub not_modified_responses: u64,
    /// Requests that failed, unusable 200s among them.
    pub failed_requests: u64,
    /// Units billed for the requests.
    pub units_spent: u64,
    /// Units that a worker without a cache would have been billed for the ticks and changes that this one read from the
    /// store.
    pub units_saved: u64,
    /// Units billed for 200s with the definitions that were already held, beyond the 1 unit of a 304 for each.
    pub units_wasted: u64,
    /// Changes that were [held back](crate::FlagDefinitionPollerBuilder::hold_back_removals).
    pub changes_held_back: u64,
    /// Provider calls that failed, panicked or timed out.
    pub provider_faults: u64,
    /// Requests for a refresh that this worker passed on, after merging.
    pub refresh_requests: u64,
}

/// A poller at one moment, from [`status`](crate::FlagDefinitionPoller::status).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PollerStatus {
    /// The state of the definitions.
    pub state: PollerState,
    /// Whether this worker leads, by its last decision.
    pub role: Role,
    /// The origin of the definitions in memory.
    pub origin: Option<DefinitionsOrigin>,
    /// Changes applied so far; 0 before the first load.
    pub version: u64,
    /// Flags in memory; `None` without definitions, in contrast to `Some(0)`.
    pub flags: Option<usize>,
    /// How long ago the API last confirmed the definitions in memory, as far as this worker can know.
    pub confirmed_ago: Option<Duration>,
    /// How long ago the last load without an error ended.
    pub last_success_ago: Option<Duration>,
    /// The kind of the last request's failure; `None` after a success.
    pub api_failure: Option<FetchErrorKind>,
    /// How much longer the backoff suppresses requests; zero if one may be sent.
    pub backoff: Duration,
    /// The last load's error; `None` if it had none. `{error:#}` prints it with its causes. Never shows a key.
    pub last_error: Option<LoadError>,
    /// Requests, units and faults so far.
    pub counters: PollerCounters,
    /// The units that this worker would be billed in a day at the rate of its last 64 requests, of which the oldest only
    /// marks the beginning; `None` until that one is a minute ago. The sum over the workers is the cost of the fleet.
    pub units_per_day: Option<u64>,
}
