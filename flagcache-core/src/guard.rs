//! [`guarded`]: a timeout and a panic boundary around a call of foreign code.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, timeout};

/// Why a guarded call has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interrupted {
    /// It did not return in time.
    TimedOut,
    /// It panicked, with this message.
    Panicked(String),
}

/// Awaits what `make` returns, for at most `limit`. Catches panics in `make`, in the future and in its drop, also after
/// a timeout.
///
/// A future that blocks its thread past the limit and then returns counts as timed out.
pub async fn guarded<F: Future>(
    limit: Duration,
    make: impl FnOnce() -> F,
) -> Result<F::Output, Interrupted> {
    let begun = Instant::now();
    let mut future = Box::pin(AssertUnwindSafe(async { make().await }).catch_unwind());
    let result = timeout(limit, future.as_mut()).await;
    // The future may own a value whose `drop` panics.
    let dropped = catch_unwind(AssertUnwindSafe(move || drop(future)));
    match (result, dropped) {
        (Err(_), _) => Err(Interrupted::TimedOut),
        (Ok(Ok(_)), _) if begun.elapsed() > limit => Err(Interrupted::TimedOut),
        (Ok(Err(panic)), _) | (Ok(Ok(_)), Err(panic)) => {
            Err(Interrupted::Panicked(message(panic.as_ref())))
        }
        (Ok(Ok(output)), Ok(())) => Ok(output),
    }
}

/// The message of a panic.
pub(crate) fn message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is not text")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn b4_41_a_result_that_blocked_the_thread_past_the_timeout_is_ignored() {
        let block = |time| guarded(LIMIT, move || async move { std::thread::sleep(time) });
        assert_eq!(block(LIMIT * 2).await, Err(Interrupted::TimedOut));
        assert_eq!(block(Duration::ZERO).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn b4_41_a_call_that_hangs_is_cut_off() {
        assert_eq!(
            guarded(LIMIT, std::future::pending::<()>).await,
            Err(Interrupted::TimedOut)
        );
    }

    #[tokio::test]
    async fn b4_40_a_panic_before_in_and_after_the_future_is_caught() {
        struct PanicsOnDrop;
        impl Drop for PanicsOnDrop {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }
        let before = guarded(LIMIT, || -> std::future::Ready<()> { panic!("before") });
        assert_eq!(before.await, Err(Interrupted::Panicked("before".into())));
        let during = guarded(LIMIT, || async { panic!("{}", "during") });
        assert_eq!(during.await, Err(Interrupted::Panicked("during".into())));
        let cut = guarded(Duration::ZERO, || async {
            let _held = PanicsOnDrop;
            std::future::pending::<()>().await;
        });
        assert_eq!(cut.await, Err(Interrupted::TimedOut));
    }
}
