//! [`first`]: several attempts, each with a head start on the next.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

/// The first success of `attempts`. The next attempt starts when one has failed or `head_start` has passed, so that an
/// unresponsive server causes no delay; unfinished attempts are dropped.
///
/// If all fail, the failure with the highest `weight`, the last of several; `None` if there was no attempt.
pub(in crate::redis) async fn first<T, E, F: Future<Output = Result<T, E>>>(
    attempts: impl IntoIterator<Item = F>,
    head_start: Duration,
    weight: impl Fn(&E) -> u8,
) -> Result<T, Option<E>> {
    let mut waiting = attempts.into_iter();
    let mut running: FuturesUnordered<F> = waiting.next().into_iter().collect();
    let mut heaviest: Option<E> = None;
    while !running.is_empty() {
        match tokio::time::timeout(head_start, running.next()).await {
            Ok(Some(Ok(value))) => return Ok(value),
            Ok(Some(Err(error))) => {
                if heaviest
                    .as_ref()
                    .is_none_or(|known| weight(known) <= weight(&error))
                {
                    heaviest = Some(error);
                }
            }
            Ok(None) | Err(_) => {}
        }
        running.extend(waiting.next());
    }
    Err(heaviest)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::time::{Instant, sleep};

    use super::*;

    const HEAD_START: Duration = Duration::from_millis(100);

    /// One attempt for each (milliseconds until it ends, its result); counts those that were started.
    async fn run(attempts: &[(u64, Result<u8, u8>)]) -> (Result<u8, Option<u8>>, u64, u128) {
        let started = AtomicU64::new(0);
        let begun = Instant::now();
        let attempts = attempts.iter().map(async |&(takes, result)| {
            started.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(takes)).await;
            result
        });
        let result = first(attempts, HEAD_START, |&error| error).await;
        (
            result,
            started.load(Ordering::Relaxed),
            begun.elapsed().as_millis(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_quick_success_starts_no_other() {
        assert_eq!(run(&[(50, Ok(1)), (0, Ok(2))]).await, (Ok(1), 1, 50));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_one_costs_its_head_start_and_may_still_win() {
        assert_eq!(
            run(&[(10_000, Ok(1)), (50, Ok(2)), (0, Ok(3))]).await,
            (Ok(2), 2, 150)
        );
        assert_eq!(run(&[(250, Ok(1)), (10_000, Ok(2))]).await, (Ok(1), 2, 250));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_starts_the_next_at_once() {
        assert_eq!(run(&[(10, Err(1)), (10, Ok(2))]).await, (Ok(2), 2, 20));
    }

    #[tokio::test(start_paused = true)]
    async fn the_most_severe_failure_is_returned() {
        assert_eq!(
            run(&[(10, Err(1)), (10, Err(9)), (10, Err(2))]).await,
            (Err(Some(9)), 3, 30)
        );
        assert_eq!(run(&[]).await, (Err(None), 0, 0));
    }
}
