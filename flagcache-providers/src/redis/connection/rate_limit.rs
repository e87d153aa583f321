//! [`RateLimit`]: a token bucket.

use parking_lot::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// Allows a burst, and then one more per pause.
#[derive(Debug)]
pub(in crate::redis) struct RateLimit {
    most: u32,
    pause: Duration,
    /// The tokens left, and since when the next one is being refilled.
    left: Mutex<(u32, Instant)>,
}

impl RateLimit {
    pub(in crate::redis) fn new(most: u32, pause: Duration) -> Self {
        Self {
            most,
            pause,
            left: Mutex::new((most, Instant::now())),
        }
    }

    /// Takes a token, if there is one.
    pub(in crate::redis) fn take(&self) -> bool {
        let mut left = self.left.lock();
        let (count, since) = &mut *left;
        let now = Instant::now();
        while *count < self.most && now.saturating_duration_since(*since) >= self.pause {
            *count += 1;
            *since += self.pause;
        }
        if *count == self.most {
            *since = now;
        }
        let taken = *count > 0;
        *count -= u32::from(taken);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_at_once_and_then_one_for_each_pause() {
        let pause = Duration::from_secs(30);
        let allowance = RateLimit::new(3, pause);
        let taken = || (0..10).filter(|_| allowance.take()).count();
        assert_eq!(taken(), 3);
        tokio::time::advance(pause - Duration::from_millis(1)).await;
        assert_eq!(taken(), 0);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(taken(), 1);
        tokio::time::advance(pause * 20).await;
        assert_eq!(taken(), 3);
    }
}
