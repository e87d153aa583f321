//! Clamps durations to a year.

use std::time::Duration;

/// Longer than any sensible interval or timeout.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The duration, clamped to one year: `Instant::now() + Duration::MAX` would panic.
pub(crate) fn clamped(duration: Duration) -> Duration {
    duration.min(LONGEST)
}
