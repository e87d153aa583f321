//! Durations that the clock can hold.

use std::time::Duration;

/// Longer than any wait that is meant.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The duration, at most a year: `Duration::MAX` may well stand for "never", and a moment that far ahead is a panic.
pub(crate) fn clamped(duration: Duration) -> Duration {
    duration.min(LONGEST)
}
