//! [`wait_until`] and [`eventually`]: wait for a condition with a deadline.

use std::time::{Duration, Instant};

/// Waits until `condition` holds, and returns how long that took. Blocks the thread.
///
/// # Panics
///
/// If the condition does not hold within `timeout`.
#[track_caller]
pub fn wait_until(what: &str, timeout: Duration, mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < timeout, "not within {timeout:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
    start.elapsed()
}

/// Waits until `condition` holds, and returns how long that took.
///
/// # Panics
///
/// If the condition does not hold within `timeout`.
pub async fn eventually(
    what: &str,
    timeout: Duration,
    mut condition: impl AsyncFnMut() -> bool,
) -> Duration {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < timeout, "not within {timeout:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    start.elapsed()
}
