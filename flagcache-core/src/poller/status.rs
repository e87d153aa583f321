//! What a poller tells about itself.

use std::fmt;
use std::time::Duration;

use crate::{DefinitionsOrigin, FetchErrorKind, Role};

/// How the definitions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PollerState {
    /// None were loaded yet.
    Starting,
    /// They are current, as far as this worker can know.
    Ready,
    /// They are served, but nobody has confirmed them for `max_staleness`, or they came from the store because the API
    /// could not be reached.
    Stale,
    /// The API refuses the keys (401, 403). What was loaded before is served, unless the policy is to clear.
    Unauthorized,
    /// The project's quota is used up (402), by this worker's own request or by the leader's word.
    QuotaLimited,
    /// The poller has been shut down. What was loaded can still be read.
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

/// What this worker asked of the API since it started, and what sharing has saved it.
///
/// *Units* are what PostHog bills for a request for definitions: 10 for a 200, 1 for a 304.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PollerCounters {
    /// Loads begun and ended.
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
    /// Units that a worker without a cache would have been billed for the ticks and changes that this one took from the
    /// store.
    pub units_saved: u64,
    /// Provider calls that failed, panicked or were cut.
    pub provider_faults: u64,
}

/// A poller at one moment, from [`status`](crate::FlagDefinitionPoller::status).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PollerStatus {
    /// How the definitions are.
    pub state: PollerState,
    /// Whether this worker leads, by its last decision.
    pub role: Role,
    /// Where the definitions in memory came from.
    pub source: Option<DefinitionsOrigin>,
    /// Changes applied so far; 0 before the first load.
    pub version: u64,
    /// Flags in memory; `None` without definitions, which is not the same as an empty set.
    pub flags: Option<usize>,
    /// How long ago the API last confirmed what is in memory, as far as this worker can know.
    pub confirmed_ago: Option<Duration>,
    /// How long ago the last load ended that met no failure.
    pub last_success_ago: Option<Duration>,
    /// The kind of the last request's failure; `None` once one succeeds.
    pub api_failure: Option<FetchErrorKind>,
    /// How much longer no request is sent because of it; zero if one may be sent.
    pub backoff: Duration,
    /// What went wrong last, in words; `None` once a load meets no failure. Never shows a key.
    pub last_error: Option<String>,
    /// Requests, units and faults so far.
    pub counters: PollerCounters,
}
