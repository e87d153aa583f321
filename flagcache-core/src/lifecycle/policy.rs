//! [`Policy`]: the configuration of the state machine, and the options that users choose.

use std::time::Duration;

/// What to do when a worker *with* definitions cannot decide or read because its store fails.
///
/// A worker without definitions always fetches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadFailure {
    /// Fetch from the API: at a random moment within one poll interval after an outage begins, so that a fleet does not
    /// fetch all at once; then at most once per fail-open interval. A damaged copy in a reachable store is the leader's
    /// to repair; it causes a fetch only if it is still damaged after two ticks. The default, and the rule of PostHog's
    /// contract.
    #[default]
    Fetch,
    /// Keep the definitions in memory and send no request.
    Keep,
}

/// What to do with the definitions in memory when the API answers 401 or 403.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnUnauthorized {
    /// Keep serving them. The default.
    #[default]
    Keep,
    /// Drop them, so that revoking a key turns the flags off.
    Clear,
}

/// What to do with the definitions in memory when the API answers 402: the project's quota is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnQuotaLimited {
    /// Keep serving them. The default.
    #[default]
    Keep,
    /// Drop them, as some of the other SDKs do.
    Clear,
}

/// What to do when the API answers 200, which costs 10 units, with the definitions that are already held, twice in a row.
/// A server that has lost its ETags does so at every request, until it knows them again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnWastedUnits {
    /// Warn, and keep the poll interval: definitions stay as current as before, and cost ten times as much. The default.
    #[default]
    Keep,
    /// Warn, and send a request only every eight and a half poll intervals, or more often if `max_staleness` is shorter
    /// than ten of them, so that no copy counts as stale. The cost stays close to that of a server with ETags; a change may be seen that
    /// interval later. The next 304, or a change, ends it.
    Stretch,
}

/// The configuration of the state machine.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) poll_interval: Duration,
    pub(crate) cold_start_wait: Duration,
    pub(crate) hedge_after: Option<Duration>,
    pub(crate) fail_open_interval: Duration,
    pub(crate) max_staleness: Duration,
    pub(crate) notification_jitter: Duration,
    pub(crate) read_failure: ReadFailure,
    pub(crate) on_unauthorized: OnUnauthorized,
    pub(crate) on_quota_limited: OnQuotaLimited,
    pub(crate) on_wasted_units: OnWastedUnits,
    /// A change that removes more than this share of the flags is held back until the next tick.
    pub(crate) hold_back_removals: Option<f64>,
    /// No ticks: loads only on demand.
    pub(crate) manual: bool,
    pub(crate) has_provider: bool,
    /// There is a source with a secret key.
    pub(crate) can_fetch: bool,
}

impl Policy {
    /// The time between two requests while their answers are wasted; `None` to keep the poll interval.
    pub(crate) fn stretched_interval(&self) -> Option<Duration> {
        // A follower sees the confirmation at its next tick, an interval and its jitter later at most: before
        // `max_staleness`, so that it does not fetch because the copy seems old. The rest is for the load itself.
        let stretched = self.poll_interval.mul_f64(8.5).min(
            self.max_staleness
                .saturating_sub(self.poll_interval.mul_f64(1.5)),
        );
        (self.on_wasted_units == OnWastedUnits::Stretch && stretched > self.poll_interval)
            .then_some(stretched)
    }
}
