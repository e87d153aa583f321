//! [`Clock`]: the server's clock, as far as a worker knows it.

use std::time::{Duration, Instant};

/// The time of the server's clock at a local instant.
///
/// Later times are extrapolated with the local monotonic clock. So it is wrong after either clock was set, the machine
/// was suspended, or another server answers; a worker notices none of these.
#[derive(Clone, Copy, Debug)]
pub(in crate::redis) struct Clock {
    millis: u64,
    sent: Instant,
}

impl Clock {
    /// The clock showed `millis` in the answer to a call that was sent at `sent`.
    pub(in crate::redis) fn shown(millis: u64, sent: Instant) -> Self {
        Self { millis, sent }
    }

    /// The server's time at `time`, or slightly later: counted from before the call that returned it.
    pub(in crate::redis) fn at(self, time: Instant) -> u64 {
        self.millis
            .saturating_add(millis(time.saturating_duration_since(self.sent)))
    }
}

/// Whole milliseconds, for scripts.
pub(in crate::redis) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_from_what_it_showed() {
        let sent = Instant::now();
        let clock = Clock::shown(1_000, sent);
        assert_eq!(clock.at(sent + Duration::from_millis(250)), 1_250);
        assert_eq!(clock.at(sent), 1_000);
        // Never before the time that it showed.
        assert_eq!(
            Clock::shown(1_000, sent + Duration::from_secs(1)).at(sent),
            1_000
        );
        assert_eq!(
            Clock::shown(u64::MAX, sent).at(sent + Duration::from_secs(1)),
            u64::MAX
        );
    }
}
