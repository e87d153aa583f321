//! [`Clock`]: the server's clock, as far as a worker knows it.

use std::time::{Duration, Instant};

/// The time of the server's clock at a local instant.
///
/// Later times are extrapolated with the local monotonic clock. So it is wrong after either clock was set, the machine
/// was suspended, or another server answers; a worker notices none of these.
#[derive(Clone, Copy, Debug)]
pub(in crate::redis) struct Clock {
    millis: u64,
    received: Instant,
}

impl Clock {
    /// The clock showed `millis` in an answer that was received at `received`.
    pub(in crate::redis) fn shown(millis: u64, received: Instant) -> Self {
        Self { millis, received }
    }

    /// The server's time at `time`, or earlier by at most the duration of the call that returned it. So an attempt never
    /// expires after its worker has stopped waiting for the answer.
    pub(in crate::redis) fn at(self, time: Instant) -> u64 {
        self.millis
            .saturating_add(millis(time.saturating_duration_since(self.received)))
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
        let received = Instant::now();
        let clock = Clock::shown(1_000, received);
        assert_eq!(clock.at(received + Duration::from_millis(250)), 1_250);
        assert_eq!(clock.at(received), 1_000);
        // Never before the time that it showed.
        assert_eq!(
            Clock::shown(1_000, received + Duration::from_secs(1)).at(received),
            1_000
        );
        assert_eq!(
            Clock::shown(u64::MAX, received).at(received + Duration::from_secs(1)),
            u64::MAX
        );
    }
}
