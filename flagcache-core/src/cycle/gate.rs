//! When a request may be sent: backoff after failures, and the fail-open limit.

use std::time::Duration;

use tokio::time::Instant;

use crate::FetchFailure;
use crate::bounded::bounded;

/// Backoff never grows beyond this, or eight intervals if they are longer.
const BACKOFF_CAP: Duration = Duration::from_secs(60);

/// Opens and closes the way to the API.
#[derive(Debug)]
pub(super) struct Gate {
    interval: Duration,
    fail_open_interval: Duration,
    failures_in_a_row: u32,
    /// How many of them, up to the last, were of its kind.
    of_last_kind: u32,
    last_failure: Option<FetchFailure>,
    closed_until: Option<Instant>,
    direct_closed_until: Option<Instant>,
}

impl Gate {
    pub(super) fn new(interval: Duration, fail_open_interval: Duration) -> Self {
        Self {
            interval,
            fail_open_interval,
            failures_in_a_row: 0,
            of_last_kind: 0,
            last_failure: None,
            closed_until: None,
            direct_closed_until: None,
        }
    }

    /// The failure because of which no request may be sent now.
    pub(super) fn closed_by(&self, now: Instant) -> Option<FetchFailure> {
        self.closed_until.filter(|until| now < *until).and(self.last_failure)
    }

    /// How much longer no request may be sent.
    pub(super) fn backoff(&self, now: Instant) -> Duration {
        self.closed_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    pub(super) fn closed_until(&self) -> Option<Instant> {
        self.closed_until
    }

    /// Whether a worker that is not the leader, and has definitions, may fetch.
    pub(super) fn allows_direct(&self, now: Instant) -> bool {
        self.closed_by(now).is_none() && self.direct_closed_until.is_none_or(|until| now >= until)
    }

    /// A worker that is not the leader sends a request: the next one is a fail-open interval away.
    pub(super) fn direct_sent(&mut self, now: Instant, rng: &mut fastrand::Rng) {
        self.direct_closed_until = Some(now + stretched(self.fail_open_interval, rng));
    }

    pub(super) fn last_failure(&self) -> Option<FetchFailure> {
        self.last_failure
    }

    /// How many times in a row the last failure has come.
    pub(super) fn times_of_last_failure(&self) -> u32 {
        self.of_last_kind
    }

    pub(super) fn succeeded(&mut self) {
        self.failures_in_a_row = 0;
        self.of_last_kind = 0;
        self.last_failure = None;
        self.closed_until = None;
    }

    pub(super) fn failed(
        &mut self,
        now: Instant,
        failure: FetchFailure,
        retry_after: Option<Duration>,
        rng: &mut fastrand::Rng,
    ) {
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        let repeated = self.last_failure.replace(failure) == Some(failure);
        self.of_last_kind = if repeated { self.of_last_kind.saturating_add(1) } else { 1 };
        // A passing fault is tried again at the next tick; what will not pass by itself, or costs units, is not.
        let doublings = match failure {
            FetchFailure::Unauthorized
            | FetchFailure::QuotaLimited
            | FetchFailure::RateLimited
            | FetchFailure::Unusable => self.failures_in_a_row,
            FetchFailure::Server | FetchFailure::Connect | FetchFailure::Timeout | FetchFailure::Rejected => {
                self.failures_in_a_row - 1
            }
        };
        let cap = BACKOFF_CAP.max(self.interval * 8);
        let backoff = self.interval.saturating_mul(1 << doublings.min(16)).min(cap);
        let asked = bounded(retry_after.unwrap_or_default());
        self.closed_until =
            if doublings == 0 && asked.is_zero() { None } else { Some(now + stretched(backoff, rng).max(asked)) };
    }
}

/// Up to a tenth longer, never shorter: a limit is a limit.
fn stretched(duration: Duration, rng: &mut fastrand::Rng) -> Duration {
    duration.mul_f64(1.0 + 0.1 * rng.f64())
}
