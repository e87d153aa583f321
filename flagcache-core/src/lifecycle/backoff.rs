//! [`Backoff`]: when a request may be sent, after failures and by the fail-open interval.

use std::time::Duration;

use tokio::time::Instant;

use crate::FetchErrorKind;
use crate::duration::clamped;

/// The longest backoff, or eight intervals if that is longer.
const BACKOFF_CAP: Duration = Duration::from_secs(60);

/// Suppresses requests after failures.
#[derive(Debug)]
pub(super) struct Backoff {
    interval: Duration,
    fail_open_interval: Duration,
    failures_in_a_row: u32,
    /// How many of them, counted from the last, were of the same kind.
    of_last_kind: u32,
    last_failure: Option<FetchErrorKind>,
    ends_at: Option<Instant>,
    direct_blocked_until: Option<Instant>,
}

impl Backoff {
    pub(super) fn new(interval: Duration, fail_open_interval: Duration) -> Self {
        Self {
            interval,
            fail_open_interval,
            failures_in_a_row: 0,
            of_last_kind: 0,
            last_failure: None,
            ends_at: None,
            direct_blocked_until: None,
        }
    }

    /// The kind of failure because of which no request may be sent now.
    pub(super) fn blocked_by(&self, now: Instant) -> Option<FetchErrorKind> {
        self.ends_at
            .filter(|until| now < *until)
            .and(self.last_failure)
    }

    /// How much longer no request may be sent.
    pub(super) fn backoff(&self, now: Instant) -> Duration {
        self.ends_at
            .map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    pub(super) fn ends_at(&self) -> Option<Instant> {
        self.ends_at
    }

    /// Whether a worker that is not the leader, and has definitions, may fetch.
    pub(super) fn allows_direct(&self, now: Instant) -> bool {
        self.blocked_by(now).is_none() && self.direct_blocked_until.is_none_or(|until| now >= until)
    }

    /// A worker that is not the leader sends a request: its next one must wait for the fail-open interval.
    pub(super) fn sent_direct(&mut self, now: Instant, rng: &mut fastrand::Rng) {
        self.direct_blocked_until = Some(now + stretched(self.fail_open_interval, rng));
    }

    pub(super) fn last_failure(&self) -> Option<FetchErrorKind> {
        self.last_failure
    }

    /// How many times in a row the last failure has occurred.
    pub(super) fn times_of_last_failure(&self) -> u32 {
        self.of_last_kind
    }

    pub(super) fn succeeded(&mut self) {
        self.failures_in_a_row = 0;
        self.of_last_kind = 0;
        self.last_failure = None;
        self.ends_at = None;
    }

    pub(super) fn failed(
        &mut self,
        now: Instant,
        failure: FetchErrorKind,
        retry_after: Option<Duration>,
        rng: &mut fastrand::Rng,
    ) {
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        let repeated = self.last_failure.replace(failure) == Some(failure);
        self.of_last_kind = if repeated {
            self.of_last_kind.saturating_add(1)
        } else {
            1
        };
        // Back off exponentially where a request is billed or rate limited. Other failures cost nothing.
        let backoff = match failure {
            FetchErrorKind::QuotaLimited
            | FetchErrorKind::RateLimited
            | FetchErrorKind::Unusable => {
                let cap = BACKOFF_CAP.max(self.interval * 8);
                stretched(
                    self.interval
                        .saturating_mul(1 << self.failures_in_a_row.min(16))
                        .min(cap),
                    rng,
                )
            }
            FetchErrorKind::Unauthorized => self.probe_pause(rng),
            FetchErrorKind::Server
            | FetchErrorKind::Connect
            | FetchErrorKind::Timeout
            | FetchErrorKind::Rejected => {
                if self.failures_in_a_row == 1 {
                    Duration::ZERO
                } else {
                    self.probe_pause(rng)
                }
            }
        };
        let pause = backoff.max(clamped(retry_after.unwrap_or_default()));
        self.ends_at = (!pause.is_zero()).then(|| now + pause);
    }

    /// The time until the next request after a failure that is not billed: little more than the poll interval, because
    /// one worker retries for the whole fleet, and recovery should be pending_notification soon.
    fn probe_pause(&self, rng: &mut fastrand::Rng) -> Duration {
        self.interval.mul_f64(1.05 + 0.4 * rng.f64())
    }

    /// For how long other workers need not try either. A little less than this worker's backoff, because the record is
    /// written after the backoff begins.
    pub(super) fn window(&self, now: Instant) -> Duration {
        self.backoff(now)
            .saturating_sub(self.interval.mul_f64(0.05))
    }

    /// From now on this worker retries for the whole fleet.
    pub(super) fn probe(&mut self, now: Instant, rng: &mut fastrand::Rng) {
        let until = now + self.probe_pause(rng);
        self.ends_at.get_or_insert(until);
    }

    /// Takes over the backoff of another worker's failed request.
    pub(super) fn adopt(&mut self, failure: FetchErrorKind, until: Instant) {
        if self.ends_at.is_none_or(|ours| ours < until) {
            self.ends_at = Some(until);
            self.last_failure = Some(failure);
        }
    }
}

/// Adds up to 10 %, so that the result is never below the minimum.
fn stretched(duration: Duration, rng: &mut fastrand::Rng) -> Duration {
    duration.mul_f64(1.0 + 0.1 * rng.f64())
}
