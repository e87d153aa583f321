//! [`FetchOutcome`]: the result of a leader's load that brought no new definitions, as its store receives it.

use std::fmt;
use std::time::Duration;

use crate::{FlagDefinitionCacheData, FleetFailure};

/// Why a request for definitions failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FetchErrorKind {
    /// 401 or 403: the keys are wrong or were revoked.
    Unauthorized,
    /// 402: the project's quota of feature-flag requests is used up.
    QuotaLimited,
    /// 429.
    RateLimited,
    /// 5xx.
    Server,
    /// No connection: DNS, refused, reset, TLS.
    Connect,
    /// No complete answer within the request timeout.
    Timeout,
    /// A 200 whose body is not valid flag definitions, or exceeds the maximum size. PostHog bills it all the same.
    Unusable,
    /// Any other answer: a redirect to another host, 404, 405, an unknown status.
    Rejected,
}

impl FetchErrorKind {
    /// The stable, lower-case name used in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::QuotaLimited => "quota_limited",
            Self::RateLimited => "rate_limited",
            Self::Server => "server",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Unusable => "unusable",
            Self::Rejected => "rejected",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let all = [
            Self::Unauthorized,
            Self::QuotaLimited,
            Self::RateLimited,
            Self::Server,
            Self::Connect,
            Self::Timeout,
            Self::Unusable,
            Self::Rejected,
        ];
        all.into_iter().find(|failure| failure.as_str() == name)
    }
}

impl fmt::Display for FetchErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The result of a leader's load that brought no new definitions; the argument of
/// [`on_fetch_without_update`](crate::FlagDefinitionCacheProvider::on_fetch_without_update).
#[derive(Clone, Debug)]
pub struct FetchOutcome {
    failure: Option<FetchErrorKind>,
    data: Option<FlagDefinitionCacheData>,
    step_down_for: Option<Duration>,
    fleet_failure: Option<FleetFailure>,
}

impl FetchOutcome {
    /// The API confirmed `data`: a 304.
    pub fn unchanged(data: &FlagDefinitionCacheData) -> Self {
        Self {
            failure: None,
            data: Some(data.clone()),
            step_down_for: None,
            fleet_failure: None,
        }
    }

    /// The request failed, or was not sent because of an earlier failure or a policy, or its answer is held back. `data` is
    /// what this worker still serves.
    pub fn failed(failure: FetchErrorKind, data: Option<&FlagDefinitionCacheData>) -> Self {
        Self {
            failure: Some(failure),
            data: data.cloned(),
            step_down_for: None,
            fleet_failure: None,
        }
    }

    /// Asks the store to release leadership and not to acquire it again for this long.
    #[must_use]
    pub fn with_step_down_for(mut self, duration: Option<Duration>) -> Self {
        self.step_down_for = duration;
        self
    }

    /// The failure that the store keeps beside the lock for the whole fleet, in place of an earlier one.
    #[must_use]
    pub fn with_fleet_failure(mut self, failure: Option<FleetFailure>) -> Self {
        self.fleet_failure = failure;
        self
    }

    /// Whether the API confirmed the current definitions.
    pub fn is_unchanged(&self) -> bool {
        self.failure.is_none()
    }

    /// The kind of failure; `None` if the definitions are unchanged.
    pub fn failure(&self) -> Option<FetchErrorKind> {
        self.failure
    }

    /// The definitions that this worker serves now, to restore a stored copy that is lost.
    pub fn data(&self) -> Option<&FlagDefinitionCacheData> {
        self.data.as_ref()
    }

    /// Set if another worker may succeed: release leadership now, and answer `false` to every decision for this long.
    pub fn step_down_for(&self) -> Option<Duration> {
        self.step_down_for
    }

    /// Set if this load's request failed: keep it beside the lock, write it before releasing leadership, and report it
    /// to every worker with [`FleetStatus::fleet_failure`](crate::FleetStatus::fleet_failure). Delete it after an
    /// unchanged answer, or a publish, by the leader.
    pub fn fleet_failure(&self) -> Option<FleetFailure> {
        self.fleet_failure
    }
}
