//! The server's clock, as far as a worker can know it.

use std::time::{Duration, Instant};

/// What the server's clock showed at a time.
///
/// Only the time that has passed since is added to it, by the local monotonic clock. So it holds until either clock is
/// set, the machine sleeps, or another server answers, of all of which a worker knows nothing.
#[derive(Clone, Copy, Debug)]
pub(in crate::redis) struct Clock {
    millis: u64,
    sent: Instant,
}

impl Clock {
    /// It showed `millis` in the answer to a call that was sent at `sent`.
    pub(in crate::redis) fn shown(millis: u64, sent: Instant) -> Self {
        Self { millis, sent }
    }

    /// What it shows at `time`, or somewhat later: it is counted from before the call that brought the answer.
    pub(in crate::redis) fn at(self, time: Instant) -> u64 {
        self.millis
            .saturating_add(millis(time.saturating_duration_since(self.sent)))
    }
}

/// Whole milliseconds, as scripts take them.
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
        // Never before what it was seen to show.
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
